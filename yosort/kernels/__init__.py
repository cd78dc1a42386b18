"""The CUDA kernels, and the launcher that compiles and checks them."""
