"""Runs the project's .cu files on the CPU, thread by thread, and checks what a GPU would not."""
