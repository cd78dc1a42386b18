"""The thread pool, for the other compiled modules."""

cdef extern from "kernels/cpu/pool.h":
    ctypedef void (*ys_unit_fn)(void *job, Py_ssize_t unit, int worker) noexcept nogil
    struct ys_pool:
        int size
    int ys_pool_init(ys_pool *pool, int size)
    void ys_pool_close(ys_pool *pool) nogil
    void ys_pool_run(ys_pool *pool, ys_unit_fn fn, void *argument, Py_ssize_t units) noexcept nogil

cdef class ThreadPool:
    cdef ys_pool pool
    cdef readonly object workspace
