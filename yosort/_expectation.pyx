# cython: language_level=3
"""The expectation of sampled attention on the CPU, YOSO-E, over packed texts.

Work is shared out over texts, heads and blocks of query rows. See _cpu.pyx for the rest.
"""

from libc.stdint cimport int64_t

import numpy as np

from yosort._dense cimport Kernels
from yosort._kernels cimport ceil_div, round16, text_of, ys_kernels, ys_product
from yosort._threads cimport ThreadPool, ys_pool_run

# Query rows that one unit of the expectation answers: enough to reuse keys, few enough that their
# weights stay in a core's caches.
cdef int64_t EXPECT_ROWS = 48


cdef struct ExpectJob:
    const ys_kernels *kernels
    const ys_product *product           # of queries and keys, and of weights and values
    const float *query
    const float *key
    const float *value
    int64_t query_stride, key_stride, value_stride, out_stride, texts, heads
    int dim, value_dim, hash_code_len, normalize
    const int64_t *query_offsets
    const int64_t *offsets
    const int64_t *unit_offsets         # [texts + 1] units before each text
    const int64_t *packed_offsets       # [texts + 1] floats of a head's packed rows before it
    float *packed
    float *out
    float *scratch
    int64_t scratch_size


cdef void pack_unit(void *argument, Py_ssize_t unit, int worker) noexcept nogil:
    cdef ExpectJob *job = <ExpectJob *>argument
    cdef int64_t text = unit // job.heads, head = unit % job.heads
    cdef int64_t first = job.offsets[text], keys = job.offsets[text + 1] - first
    cdef int64_t size = job.packed_offsets[text + 1] - job.packed_offsets[text]
    cdef float *packed = job.packed + job.heads * job.packed_offsets[text] + head * size
    job.kernels.pack_keys(
        job.product, job.key + first * job.key_stride + head * job.dim, job.key_stride, keys,
        job.dim, job.normalize, packed,
    )
    job.product.pack_values(
        job.value + first * job.value_stride + head * job.value_dim, job.value_stride, keys,
        job.value_dim, packed + round16(job.kernels.packed_keys(job.product, keys, job.dim)),
    )


cdef void expect_unit(void *argument, Py_ssize_t unit, int worker) noexcept nogil:
    cdef ExpectJob *job = <ExpectJob *>argument
    cdef int64_t text = text_of(job.unit_offsets, job.texts, unit)
    cdef int64_t blocks = (job.unit_offsets[text + 1] - job.unit_offsets[text]) // job.heads
    cdef int64_t head = (unit - job.unit_offsets[text]) // blocks
    cdef int64_t block = (unit - job.unit_offsets[text]) % blocks
    cdef int64_t first = job.query_offsets[text] + block * EXPECT_ROWS
    cdef int64_t keys = job.offsets[text + 1] - job.offsets[text]
    cdef int64_t size = job.packed_offsets[text + 1] - job.packed_offsets[text]
    cdef float *packed = job.packed + job.heads * job.packed_offsets[text] + head * size
    job.kernels.expect_rows(
        job.product, job.query + first * job.query_stride + head * job.dim, job.query_stride,
        min(EXPECT_ROWS, job.query_offsets[text + 1] - first), packed,
        packed + round16(job.kernels.packed_keys(job.product, keys, job.dim)), keys, job.dim,
        job.value_dim, job.hash_code_len, job.normalize,
        job.out + first * job.out_stride + head * job.value_dim, job.out_stride,
        job.scratch + worker * job.scratch_size,
    )


def expected_attention(Kernels kernels, ThreadPool pool, const float[:, :] query,
                       const float[:, :] key, const float[:, :] value,
                       const int64_t[::1] query_offsets, const int64_t[::1] offsets, int heads,
                       int hash_code_len, bint normalize, float[:, :] out, str kind="float32"):
    """Compute YOSO-E: query [queries, heads * dim], key alike, value [keys, heads * value_dim].

    normalize: L2-normalise queries and keys first, and each head's output rows last.
    kind: both products; "bfloat16" where an instruction has it, else "rounded" for its numbers.
    """
    cdef ExpectJob job
    cdef int64_t texts = offsets.shape[0] - 1, text, rows, keys
    cdef int64_t[::1] unit_offsets, packed_offsets
    cdef float[::1] packed, scratch
    if texts < 1 or query.shape[0] == 0:
        return
    if key.shape[0] == 0:
        out[:, :] = 0.0
        return
    job.kernels, job.texts, job.heads = kernels.table, texts, heads
    job.product = kernels.product(kind)
    if job.product.pack_values == NULL:
        raise ValueError(f"no product of attention: {kind}")
    job.query, job.query_stride = &query[0, 0], query.strides[0] // <Py_ssize_t>sizeof(float)
    job.key, job.key_stride = &key[0, 0], key.strides[0] // <Py_ssize_t>sizeof(float)
    job.value, job.value_stride = &value[0, 0], value.strides[0] // <Py_ssize_t>sizeof(float)
    job.out, job.out_stride = &out[0, 0], out.strides[0] // <Py_ssize_t>sizeof(float)
    job.dim, job.value_dim = query.shape[1] // heads, value.shape[1] // heads
    job.hash_code_len, job.normalize = hash_code_len, normalize
    job.query_offsets, job.offsets = &query_offsets[0], &offsets[0]
    unit_offsets = np.zeros(texts + 1, np.int64)
    packed_offsets = np.zeros(texts + 1, np.int64)
    for text in range(texts):
        rows = query_offsets[text + 1] - query_offsets[text]
        keys = offsets[text + 1] - offsets[text]
        unit_offsets[text + 1] = unit_offsets[text] + heads * ceil_div(rows, EXPECT_ROWS)
        packed_offsets[text + 1] = (
            packed_offsets[text]
            + round16(kernels.table.packed_keys(job.product, keys, job.dim))
            + round16(kernels.table.packed_values(job.product, keys, job.value_dim))
        )
    job.unit_offsets, job.packed_offsets = &unit_offsets[0], &packed_offsets[0]
    packed = pool.workspace.floats(heads * packed_offsets[texts] + 1)
    job.scratch_size = round16(
        kernels.table.expect_scratch(job.product, EXPECT_ROWS, job.dim, job.value_dim)
    )
    scratch = pool.workspace.floats(pool.pool.size * job.scratch_size)
    job.packed, job.scratch = &packed[0], &scratch[0]
    with nogil:
        ys_pool_run(&pool.pool, pack_unit, &job, texts * heads)
        ys_pool_run(&pool.pool, expect_unit, &job, unit_offsets[texts])
