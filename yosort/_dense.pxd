"""The choice of kernels, and packed linear maps, for the other compiled modules."""

from yosort._kernels cimport ys_kernels, ys_linear, ys_product

cdef class Kernels:
    cdef const ys_kernels *table
    cdef const ys_product *product(self, str name) except NULL

cdef class PackedLinear:
    cdef readonly Py_ssize_t in_features, out_features
    cdef readonly object panels, padded_bias, scales
    cdef ys_linear map
