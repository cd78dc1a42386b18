# cython: language_level=3
"""A pool of threads for one model (kernels/cpu/pool.h says how and why), and the memory it works in.

The system hands out fresh memory page by page, and the first touch of each 4 KB costs about a
microsecond: for a long text as much as a tenth of a forward. So while a call runs, the memory of
arrays that are gone serves the next array of the same size; when no call runs, nothing is kept.

The workspace is compiled, and not for speed: the end of an array is told to code that no signal
handler can interrupt. Python code in its place is where most of a call's Ctrl-C would be raised, and
there they would be ignored, as in any destructor. Nor can threads meet here: nothing below lets go of
the GIL, and there is no lock that a fork could leave held.
"""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo

import os
from math import prod

import numpy as np


cdef extern from "kernels/cpu/guard.h":
    Py_ssize_t YS_GUARD
    void ys_guard(const void *start, size_t size)


#: Bytes below which malloc keeps its memory by itself.
SMALL = 64 << 10
#: Blocks that are kept at most; a layer takes about eight.
KEPT = 16
cdef enum:
    CACHE_LINE = 64


cdef class Workspace:
    """Uninitialised arrays on cache lines, whose memory is used again within a call."""

    cdef list free
    cdef Py_ssize_t calls
    cdef object process
    cdef Py_ssize_t most

    def __cinit__(self):
        self.free = []
        self.process = os.getpid()
        self.most = KEPT

    def recycling(self):
        """Return a context that keeps what is freed until the last of the running calls ends."""
        return _Call(self)

    @property
    def kept(self):
        """Blocks of memory that nobody uses now."""
        return len(self.free)

    def empty(self, tuple shape, dtype=np.float32):
        """Return an uninitialised array; its memory comes back when it and its views are gone."""
        size = prod(shape) * np.dtype(dtype).itemsize
        if size < SMALL:
            return on_a_cache_line(size).view(dtype).reshape(shape)
        return np.ndarray(shape, dtype, buffer=self.block(size))

    def floats(self, count):
        """Return an uninitialised float32 vector [count]."""
        return self.empty((count,))

    cdef _Block block(self, Py_ssize_t size):
        cdef _Block block = _Block.__new__(_Block)
        cdef Py_ssize_t i
        block.workspace = self
        for i in range(len(self.free)):
            if len(self.free[i]) == size:
                block.memory = self.free.pop(i)
                break
        else:
            block.memory = on_a_cache_line(size)
        block.data = <char *><size_t>block.memory.ctypes.data
        block.size = size
        return block

    cdef int give_back(self, object memory) except -1:
        if self.calls:
            # Calls of many sizes that overlap without end must not pile up what nobody takes.
            if len(self.free) >= self.most:
                self.free.clear()
            self.free.append(memory)
        return 0


# Neither this nor what it refers to can be part of a cycle, and the collector must not take the
# workspace away before the memory has gone back to it.
@cython.final
@cython.no_gc
cdef class _Block:
    """What the views of an array refer to, and whose end is therefore theirs."""

    cdef Workspace workspace
    cdef object memory
    cdef char *data
    cdef Py_ssize_t size

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data, self.size, 0, flags)

    def __dealloc__(self):
        if self.memory is not None:
            self.workspace.give_back(self.memory)


@cython.final
cdef class _Call:
    """A running call; entered and left in one step each, so that no interrupt falls between."""

    cdef Workspace workspace
    cdef object process

    def __cinit__(self, Workspace workspace):
        self.workspace = workspace

    def __enter__(self):
        self.process = os.getpid()
        if self.workspace.process != self.process:
            # A forked child: the calls that other threads were in stayed behind with them.
            self.workspace.process = self.process
            self.workspace.calls = 0
        self.workspace.calls += 1

    def __exit__(self, *_):
        # A call that was running at a fork is none of the child's, though it may end there.
        if self.workspace.process == self.process and self.workspace.calls > 0:
            self.workspace.calls -= 1
        if self.workspace.calls == 0:
            self.workspace.free.clear()


def on_a_cache_line(Py_ssize_t size):
    """Return `size` uninitialised bytes that start on a cache line."""
    whole = np.empty(size + CACHE_LINE + YS_GUARD, np.uint8)
    # Asked for once: numpy makes an object for it each time, and small arrays are many.
    cdef size_t start = whole.ctypes.data
    cdef Py_ssize_t skip = <Py_ssize_t>(-start % CACHE_LINE)
    ys_guard(<void *>(start + skip + size), CACHE_LINE + YS_GUARD - skip)
    return whole[skip : skip + size]


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
