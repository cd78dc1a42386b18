"""Packed linear maps, for the other compiled modules."""

from yosort._kernels cimport Kernels, ys_linear

cdef class PackedLinear:
    cdef readonly Py_ssize_t in_features, out_features
    cdef Py_ssize_t panel_width
    cdef readonly object panels, padded_bias, scales
    cdef readonly str kind
    cdef ys_linear map
    cdef _pack_floats(self, Kernels kernels, weights, step)
    cdef _pack_integers(self, Kernels kernels, weights, step)
