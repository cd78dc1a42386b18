"""The GPU backend: host code over the kernels of kernels/*.cu."""
