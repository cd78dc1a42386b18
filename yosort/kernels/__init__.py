"""The compiled loops of either processor: cpu/ in C, cuda/ in CUDA C++."""
