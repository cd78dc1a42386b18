# cython: language_level=3
"""The choice of a kernel table."""


def available_instruction_sets():
    """Return the names of the kernel tables this processor can run, best first."""
    cdef const ys_kernels *table = ys_variant(0)
    names = []
    while table != NULL:
        names.append(table.name.decode())
        table = ys_variant(len(names))
    return names


cdef class Kernels:
    """One kernel table, by the name of its instruction set; None for the best."""

    def __cinit__(self, str name=None):
        names = available_instruction_sets()
        if name is not None and name not in names:
            raise ValueError(f"no kernels for {name!r}; there are {names}")
        self.table = ys_variant(0 if name is None else names.index(name))

    @property
    def name(self):
        """The instruction set."""
        return self.table.name.decode()

    @property
    def slice(self):
        """Value dims that one table of buckets holds."""
        return self.table.slice

    @property
    def products(self):
        """Names of the ways to multiply by a weight."""
        names = []
        while self.table.products[len(names)] != NULL:
            names.append(self.table.products[len(names)].name.decode())
        return names

    cdef const ys_product *product(self, str name) except NULL:
        names = self.products
        if name not in names:
            raise ValueError(f"no product {name!r}; there are {names}")
        return self.table.products[names.index(name)]
