# cython: language_level=3
"""The choice of a kernel table."""


def available_instruction_sets():
    """Return the names of the kernel tables this processor can run, best first."""
    cdef const ys_kernels *tables[YS_MOST_KERNELS]
    cdef int count = ys_available_kernels(tables)
    return [tables[i].name.decode() for i in range(count)]


cdef class Kernels:
    """One kernel table, by the name of its instruction set; None for the best."""

    def __cinit__(self, str name=None):
        cdef const ys_kernels *tables[YS_MOST_KERNELS]
        cdef int i
        for i in range(ys_available_kernels(tables)):
            if name is None or tables[i].name.decode() == name:
                self.table = tables[i]
                return
        raise ValueError(f"no kernels for {name!r}; there are {available_instruction_sets()}")

    @property
    def name(self):
        """The instruction set."""
        return self.table.name.decode()

    @property
    def slice(self):
        """Value dims that one table of buckets holds."""
        return self.table.slice
