# cython: language_level=3
"""Attention on the CPU: hash, cumulation, both as one, and convolution over packed texts.

Heads stand side by side in the columns of q, k and v; `offsets` cut the rows into texts. Work is
shared out over texts and heads, and most of it over blocks of rows or value dims, too, so that one
long text and many short ones both fill the threads; no sum depends on how. Arguments are checked by
the callers in ops/cpu/, and the loops run without the GIL.
"""

from libc.stdint cimport int32_t, int64_t, uint16_t

from yosort._dense cimport Kernels, PackedLinear
from yosort._kernels cimport (
    ceil_div, longest_of, round16, text_of, ys_codes, ys_kernels, ys_linear, ys_sampling,
)
from yosort._threads cimport ThreadPool, ys_pool_run

# Tokens that one unit hashes.
cdef int64_t HASH_ROWS = 256
cdef int64_t PLAIN_ROWS = 64


cdef struct HashJob:
    const ys_kernels *kernels
    const float *x
    int64_t stride, rows, blocks
    int dim, parts, width, num_hash, hash_code_len
    const int32_t *signs
    uint16_t *codes
    float *scratch
    int64_t scratch_size


cdef void hash_unit(void *argument, Py_ssize_t unit, int worker) noexcept nogil:
    cdef HashJob *job = <HashJob *>argument
    cdef int64_t head = unit // job.blocks, first = unit % job.blocks * HASH_ROWS
    job.kernels.hash_tokens(
        job.x + first * job.stride + head * job.dim, job.stride, min(HASH_ROWS, job.rows - first),
        job.dim, job.signs + head * 3 * job.parts * job.width, job.parts, job.width, job.num_hash,
        job.hash_code_len, job.codes + head * job.num_hash * job.rows + first, job.rows,
        job.scratch + worker * job.scratch_size,
    )


def hash_tokens(Kernels kernels, ThreadPool pool, const float[:, :] x,
                const int32_t[:, :, :, ::1] sign_bits, int hash_code_len,
                uint16_t[:, :, ::1] codes):
    """Hash every row of every head by random rotations.

    x [rows, heads * dim]; sign_bits int32 [heads, 3, parts, width], 0 or the sign bit;
    codes uint16 [heads, num_hash, rows].
    """
    cdef HashJob job
    cdef int64_t heads = sign_bits.shape[0]
    cdef float[::1] scratch
    job.kernels, job.rows, job.blocks = kernels.table, x.shape[0], ceil_div(x.shape[0], HASH_ROWS)
    if job.rows == 0 or heads == 0:
        return
    job.x, job.stride = &x[0, 0], x.strides[0] // <Py_ssize_t>sizeof(float)
    job.dim, job.parts, job.width = x.shape[1] // heads, sign_bits.shape[2], sign_bits.shape[3]
    job.num_hash, job.hash_code_len = codes.shape[1], hash_code_len
    job.signs, job.codes = &sign_bits[0, 0, 0, 0], &codes[0, 0, 0]
    job.scratch_size = 2 * job.width * 16
    scratch = pool.workspace.floats(pool.pool.size * job.scratch_size)
    job.scratch = &scratch[0]
    with nogil:
        ys_pool_run(&pool.pool, hash_unit, &job, heads * job.blocks)


cdef struct ProjectJob:
    const ys_kernels *kernels
    const float *x
    const ys_linear *map
    int64_t stride, rows, columns
    int num_hash, hash_code_len
    uint16_t *codes
    float *scratch
    int64_t scratch_size


cdef void project_unit(void *argument, Py_ssize_t unit, int worker) noexcept nogil:
    cdef ProjectJob *job = <ProjectJob *>argument
    cdef int64_t first = unit * PLAIN_ROWS, rows = min(PLAIN_ROWS, job.rows - unit * PLAIN_ROWS)
    cdef float *projected = job.scratch + worker * job.scratch_size
    job.kernels.linear_rows(
        job.map, job.x + first * job.stride, job.stride, rows, 0, 0, job.columns, projected,
        job.columns, projected + round16(PLAIN_ROWS * job.columns),
    )
    job.kernels.sign_codes(
        projected, job.columns, rows, job.num_hash, job.hash_code_len, job.codes + first, job.rows
    )


def project_tokens(Kernels kernels, ThreadPool pool, const float[:, :] x, PackedLinear projection,
                   int hash_code_len, uint16_t[:, ::1] codes):
    """Hash every row of one head by hyperplanes: x [rows, dim], codes uint16 [num_hash, rows]."""
    cdef ProjectJob job
    cdef float[::1] scratch
    job.kernels, job.rows = kernels.table, x.shape[0]
    if job.rows == 0:
        return
    job.x, job.stride = &x[0, 0], x.strides[0] // <Py_ssize_t>sizeof(float)
    job.map, job.columns = &projection.map, projection.map.columns
    job.num_hash, job.hash_code_len, job.codes = codes.shape[0], hash_code_len, &codes[0, 0]
    job.scratch_size = round16(PLAIN_ROWS * job.columns) + round16(
        kernels.table.packed_rows(job.map, PLAIN_ROWS)
    )
    scratch = pool.workspace.floats(pool.pool.size * job.scratch_size)
    job.scratch = &scratch[0]
    with nogil:
        ys_pool_run(&pool.pool, project_unit, &job, ceil_div(job.rows, PLAIN_ROWS))


cdef struct CumulateJob:
    const ys_kernels *kernels
    ys_codes queries, keys              # of all texts, by the first head's first function
    const int64_t *query_offsets
    const int64_t *offsets
    int64_t texts, heads, slices, value_stride, out_stride
    int dim, num_hash, hash_code_len
    const float *value
    float *out
    float *scratch
    int64_t scratch_size


cdef void cumulate_unit(void *argument, Py_ssize_t unit, int worker) noexcept nogil:
    cdef CumulateJob *job = <CumulateJob *>argument
    cdef int64_t text = unit // (job.heads * job.slices)
    cdef int64_t head = unit // job.slices % job.heads
    cdef int64_t slice_width = job.kernels.slice, column = unit % job.slices * slice_width
    cdef int64_t q = job.query_offsets[text], k = job.offsets[text]
    cdef int64_t at = head * job.dim + column
    cdef ys_codes queries = job.queries, keys = job.keys
    queries.codes += head * job.num_hash * queries.stride + q
    keys.codes += head * job.num_hash * keys.stride + k
    queries.count, keys.count = job.query_offsets[text + 1] - q, job.offsets[text + 1] - k
    job.kernels.cumulate_slice(
        queries, keys, job.num_hash, job.hash_code_len, job.value + k * job.value_stride + at,
        job.value_stride, <int>min(slice_width, job.dim - column), <float>(1.0 / job.num_hash),
        job.out + q * job.out_stride + at, job.out_stride, job.scratch + worker * job.scratch_size,
    )


def cumulate(Kernels kernels, ThreadPool pool, const uint16_t[:, :, ::1] query_codes,
             const uint16_t[:, :, ::1] key_codes, const float[:, :] value,
             const int64_t[::1] query_offsets, const int64_t[::1] offsets, int hash_code_len,
             float[:, :] out):
    """Average over hashes the values that share a query's bucket.

    Codes uint16 [heads, num_hash, rows]; value [keys, heads * dim]; out [queries, heads * dim].
    """
    cdef CumulateJob job
    cdef float[::1] scratch
    job.texts = offsets.shape[0] - 1
    job.heads, job.num_hash = query_codes.shape[0], query_codes.shape[1]
    job.queries.stride, job.keys.stride = query_codes.shape[2], key_codes.shape[2]
    if job.texts < 1 or job.queries.stride == 0 or job.heads == 0 or out.shape[1] == 0:
        return
    if job.keys.stride == 0:
        out[:, :] = 0.0
        return
    job.kernels, job.hash_code_len = kernels.table, hash_code_len
    job.queries.codes, job.keys.codes = &query_codes[0, 0, 0], &key_codes[0, 0, 0]
    job.query_offsets, job.offsets = &query_offsets[0], &offsets[0]
    job.dim = out.shape[1] // job.heads
    job.slices = ceil_div(job.dim, kernels.table.slice)
    job.value, job.value_stride = &value[0, 0], value.strides[0] // <Py_ssize_t>sizeof(float)
    job.out, job.out_stride = &out[0, 0], out.strides[0] // <Py_ssize_t>sizeof(float)
    job.scratch_size = round16(kernels.table.cumulate_scratch(
        longest_of(&query_offsets[0], job.texts), longest_of(&offsets[0], job.texts), hash_code_len
    ))
    scratch = pool.workspace.floats(pool.pool.size * job.scratch_size)
    job.scratch = &scratch[0]
    with nogil:
        ys_pool_run(&pool.pool, cumulate_unit, &job, job.texts * job.heads * job.slices)


cdef struct SampleJob:
    const ys_kernels *kernels
    ys_sampling all                     # of text 0 and head 0; as many rows as the longest has
    int64_t heads
    const int64_t *query_offsets
    const int64_t *offsets
    float *scratch
    int64_t scratch_size


cdef void sample_unit(void *argument, Py_ssize_t unit, int worker) noexcept nogil:
    cdef SampleJob *job = <SampleJob *>argument
    cdef int64_t text = unit // job.heads, head = unit % job.heads
    cdef int64_t q = job.query_offsets[text], k = job.offsets[text]
    cdef ys_sampling one = job.all
    one.queries, one.keys = job.query_offsets[text + 1] - q, job.offsets[text + 1] - k
    one.query += q * one.query_stride + head * one.dim
    one.key += k * one.key_stride + head * one.dim
    one.value += k * one.value_stride + head * one.value_dim
    one.signs += head * 3 * one.parts * one.width
    one.out += q * one.out_stride + head * one.value_dim
    job.kernels.sample_head(&one, job.scratch + worker * job.scratch_size)


def sampled_attention(Kernels kernels, ThreadPool pool, const float[:, :] query,
                      const float[:, :] key, const float[:, :] value,
                      const int64_t[::1] query_offsets, const int64_t[::1] offsets,
                      const int32_t[:, :, :, ::1] sign_bits, int num_hash, int hash_code_len,
                      float[:, :] out):
    """Hash, cumulate and normalise, a head of a text at a time.

    query [queries, heads * dim], key alike, value [keys, heads * value_dim]; sign_bits as of
    hash_tokens; out [queries, heads * value_dim].
    """
    cdef SampleJob job
    cdef int64_t texts = offsets.shape[0] - 1
    cdef float[::1] scratch
    job.heads = sign_bits.shape[0]
    if texts < 1 or query.shape[0] == 0 or job.heads == 0 or out.shape[1] == 0:
        return
    if key.shape[0] == 0:
        out[:, :] = 0.0
        return
    job.kernels, job.query_offsets, job.offsets = kernels.table, &query_offsets[0], &offsets[0]
    job.all.query, job.all.query_stride = &query[0, 0], query.strides[0] // <Py_ssize_t>sizeof(float)
    job.all.key, job.all.key_stride = &key[0, 0], key.strides[0] // <Py_ssize_t>sizeof(float)
    job.all.value, job.all.value_stride = &value[0, 0], value.strides[0] // <Py_ssize_t>sizeof(float)
    job.all.out, job.all.out_stride = &out[0, 0], out.strides[0] // <Py_ssize_t>sizeof(float)
    job.all.dim, job.all.value_dim = query.shape[1] // job.heads, out.shape[1] // job.heads
    job.all.signs, job.all.parts = &sign_bits[0, 0, 0, 0], sign_bits.shape[2]
    job.all.width, job.all.num_hash = sign_bits.shape[3], num_hash
    job.all.hash_code_len = hash_code_len
    job.all.queries, job.all.keys = longest_of(&query_offsets[0], texts), longest_of(&offsets[0], texts)
    job.scratch_size = round16(kernels.table.sample_scratch(&job.all))
    scratch = pool.workspace.floats(pool.pool.size * job.scratch_size)
    job.scratch = &scratch[0]
    with nogil:
        ys_pool_run(&pool.pool, sample_unit, &job, texts * job.heads)


cdef struct NormalizeJob:
    const ys_kernels *kernels
    float *x
    int64_t rows, heads, stride
    int dim


cdef void normalize_unit(void *argument, Py_ssize_t unit, int worker) noexcept nogil:
    cdef NormalizeJob *job = <NormalizeJob *>argument
    cdef int64_t row, head
    for row in range(unit * PLAIN_ROWS, min((unit + 1) * PLAIN_ROWS, job.rows)):
        for head in range(job.heads):
            job.kernels.normalize_row(job.x + row * job.stride + head * job.dim, job.dim)


def normalize_heads(Kernels kernels, ThreadPool pool, float[:, :] x, int heads):
    """L2-normalise each head's part of each row of x [rows, heads * dim], in place."""
    cdef NormalizeJob job
    job.kernels, job.rows, job.heads, job.dim = kernels.table, x.shape[0], heads, x.shape[1] // heads
    if job.rows == 0:
        return
    job.x, job.stride = &x[0, 0], x.strides[0] // <Py_ssize_t>sizeof(float)
    with nogil:
        ys_pool_run(&pool.pool, normalize_unit, &job, ceil_div(job.rows, PLAIN_ROWS))


cdef struct ConvolveJob:
    const float *value
    const float *weight
    const float *keep
    const int32_t *query_slots
    const int32_t *slots
    const int64_t *query_offsets
    const int64_t *offsets
    int64_t texts, rows, value_stride, out_stride, heads, dim, window
    float *out


cdef void convolve_unit(void *argument, Py_ssize_t unit, int worker) noexcept nogil:
    cdef ConvolveJob *job = <ConvolveJob *>argument
    cdef int64_t reach = job.window // 2, row, text, u, low, high, middle, head, d
    cdef int32_t slot
    cdef float tap
    cdef float *to
    cdef const float *source
    for row in range(unit * PLAIN_ROWS, min((unit + 1) * PLAIN_ROWS, job.rows)):
        text = text_of(job.query_offsets, job.texts, row)
        slot = job.query_slots[row]
        # The first token of the text inside the window.
        low, high = job.offsets[text], job.offsets[text + 1]
        while low < high:
            middle = (low + high) // 2
            if job.slots[middle] < slot - reach:
                low = middle + 1
            else:
                high = middle
        u = low
        while u < job.offsets[text + 1] and job.slots[u] <= slot + reach:
            for head in range(job.heads):
                tap = job.weight[head * job.window + job.slots[u] - slot + reach]
                if job.keep != NULL:
                    tap = tap * job.keep[u]
                to = job.out + row * job.out_stride + head * job.dim
                source = job.value + u * job.value_stride + head * job.dim
                for d in range(job.dim):
                    to[d] = to[d] + tap * source[d]
            u = u + 1


def add_convolution(ThreadPool pool, const float[:, :] value, const float[:, ::1] weight,
                    const int64_t[::1] query_offsets, const int64_t[::1] offsets,
                    const int32_t[::1] query_slots, const int32_t[::1] slots, keep,
                    float[:, :] out):
    """Add to out [queries, heads * dim] the depthwise convolution of value * keep.

    weight [heads, window]; slots int32 [keys] and query_slots [queries] say where tokens stand;
    keep float32 [keys] or None.
    """
    cdef ConvolveJob job
    cdef const float[::1] keep_view
    job.rows = out.shape[0]
    if job.rows == 0:
        return
    job.keep = NULL
    if keep is not None:
        keep_view = keep
        job.keep = &keep_view[0]
    job.texts, job.heads, job.window = offsets.shape[0] - 1, weight.shape[0], weight.shape[1]
    job.dim = out.shape[1] // job.heads
    job.value, job.value_stride = &value[0, 0], value.strides[0] // <Py_ssize_t>sizeof(float)
    job.out, job.out_stride = &out[0, 0], out.strides[0] // <Py_ssize_t>sizeof(float)
    job.weight, job.query_slots, job.slots = &weight[0, 0], &query_slots[0], &slots[0]
    job.query_offsets, job.offsets = &query_offsets[0], &offsets[0]
    with nogil:
        ys_pool_run(&pool.pool, convolve_unit, &job, ceil_div(job.rows, PLAIN_ROWS))
