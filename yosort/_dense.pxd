"""Packed linear maps, for the other compiled modules."""

from yosort._kernels cimport Kernels, ys_linear

cdef class PackedLinear:
    cdef readonly Py_ssize_t in_features, out_features
    cdef readonly object panels, padded_bias, scales
    cdef ys_linear map
