# cython: language_level=3
"""A pool of threads for one model, and the memory it works in; see kernels/cpu/pool.h for how and why."""

from yosort._workspace import Workspace


cdef class ThreadPool:
    """`num_threads` workers, the calling thread among them; started on first use."""

    def __cinit__(self, int num_threads):
        if num_threads < 1:
            raise ValueError(f"num_threads: wanted at least 1, got {num_threads}")
        if ys_pool_init(&self.pool, num_threads):
            raise MemoryError
        self.workspace = Workspace()

    def __dealloc__(self):
        # Joining needs no GIL: the workers never take it.
        with nogil:
            ys_pool_close(&self.pool)

    @property
    def num_threads(self):
        """Threads that a call may use."""
        return self.pool.size
