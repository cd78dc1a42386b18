# cython: language_level=3
"""The choice of a kernel table, and the memory that kernels like."""

import numpy as np


def available_instruction_sets():
    """Return the names of the kernel tables this processor can run, best first."""
    cdef const ys_kernels *const *table = ys_available_kernels()
    names = []
    while table[0] != NULL:
        names.append(table[0].name.decode())
        table += 1
    return names


cdef class Kernels:
    """One kernel table, by the name of its instruction set; None for the best."""

    def __cinit__(self, str name=None):
        cdef const ys_kernels *const *table = ys_available_kernels()
        while table[0] != NULL:
            if name is None or table[0].name.decode() == name:
                self.table = table[0]
                return
            table += 1
        raise ValueError(f"no kernels for {name!r}; there are {available_instruction_sets()}")

    @property
    def name(self):
        """The instruction set."""
        return self.table.name.decode()

    @property
    def slice(self):
        """Value dims that one table of buckets holds."""
        return self.table.slice


def aligned(Py_ssize_t count):
    """Return an uninitialised float32 vector that starts on a cache line."""
    whole = np.empty(count + 16, np.float32)
    skip = (-whole.ctypes.data % 64) // 4
    return whole[skip : skip + count]
