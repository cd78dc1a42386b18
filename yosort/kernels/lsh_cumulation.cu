// LSH cumulation: keys add their values into buckets, queries read theirs, without atomics.
//
// A block owns SLICE value dims of one text and head, and a group of hash functions. TABLES of them
// have their tables in shared memory at once. Each (table, dim) belongs to one thread of the first
// OWNERS, which adds the keys in order: no two threads write one address, and the sums are the same
// bits every time. The other threads fetch the next keys meanwhile. Then all read for the queries.
// Groups write partial sums, which normalize_heads adds in order.
//
// TABLES, SLICE, BUCKETS (of a table, a power of two): longer codes take several passes over the
// keys, each for one range of codes. FETCHED: keys fetched at once.

#define PIPELINE 4
#define OWNERS (TABLES * SLICE)  // whole warps, so that the others run beside them
#define THREADS 256

struct keys_t {
    float value[FETCHED][SLICE];
    unsigned bucket[FETCHED][TABLES];
};

// Fetch keys first .. first + FETCHED - 1 of a text that ends at `end`, by the threads from `from`
// on. A key or function that is not there falls into no bucket.
__device__ inline void fetch(keys_t *to, int from, int first, int end, const code_t *codes, int keys,
                             int functions, unsigned base, const real *value, int64 stride, int dims) {
    for (int i = threadIdx.x - from; i < FETCHED * SLICE; i += THREADS - from) {
        const int j = first + i / SLICE, d = i % SLICE;
        to->value[i / SLICE][d] = j < end && d < dims ? load(value + j * stride + d) : 0.0f;
    }
    // Neighbouring threads on neighbouring keys: codes lie [function][key].
    for (int i = threadIdx.x - from; i < FETCHED * TABLES; i += THREADS - from) {
        const int j = first + i % FETCHED, t = i / FETCHED;
        // Outside the pass's range the difference wraps past BUCKETS.
        to->bucket[i % FETCHED][t] = j < end && t < functions ? codes[(int64)t * keys + j] - base : BUCKETS;
    }
}

// Add PIPELINE keys to one column in order. All buckets are read before any is written, so that
// the reads overlap; a key whose bucket came earlier among them takes the newer sum.
__device__ inline void insert(float *column, const keys_t *from, int first, int table, int d) {
    unsigned bucket[PIPELINE];
    float sum[PIPELINE];
#pragma unroll
    for (int i = 0; i < PIPELINE; i++) {
        bucket[i] = from->bucket[first + i][table];
        sum[i] = bucket[i] < BUCKETS ? column[bucket[i] * SLICE] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < PIPELINE; i++) {
#pragma unroll
        for (int j = 0; j < i; j++)
            if (bucket[j] == bucket[i]) sum[i] = sum[j];
        sum[i] += from->value[first + i][d];
    }
#pragma unroll
    for (int i = 0; i < PIPELINE; i++)
        if (bucket[i] < BUCKETS) column[bucket[i] * SLICE] = sum[i];
}

// grid.x: texts * slices; grid.y: heads; grid.z: groups of `per_group` hash functions.
// codes: [heads][num_hash][rows of all texts]. value: [rows] rows of heads * dim, value_stride
// apart. offsets: [texts + 1]. partial: [groups][queries][heads * dim].
extern "C" __global__ void lsh_cumulation(const code_t *query_codes, int queries,
                                          const code_t *key_codes, int keys,
                                          const real *value, int64 value_stride,
                                          const int *query_offsets, const int *offsets, int slices,
                                          int dim, int num_hash, int per_group, int code_len,
                                          float *partial) {
    DYNAMIC_SHARED(tables);  // [TABLES][BUCKETS][SLICE]
    __shared__ keys_t fetched[2];
    const int text = blockIdx.x / slices, head = blockIdx.y, heads = gridDim.y;
    const int first_dim = blockIdx.x % slices * SLICE, thread = threadIdx.x;
    const int dims = dim - first_dim < SLICE ? dim - first_dim : SLICE;
    const int begin = offsets[text], end = offsets[text + 1];
    const int query_begin = query_offsets[text], query_end = query_offsets[text + 1];
    const int first_hash = blockIdx.z * per_group;
    const int last_hash = first_hash + per_group < num_hash ? first_hash + per_group : num_hash;
    partial += (int64)blockIdx.z * queries * heads * dim + head * dim + first_dim;
    value += head * dim + first_dim;

    for (int hash = first_hash; hash < last_hash; hash += TABLES)
        for (unsigned base = 0; base < 1u << code_len; base += BUCKETS) {
            const int functions = last_hash - hash < TABLES ? last_hash - hash : TABLES;
            const code_t *codes = key_codes + ((int64)head * num_hash + hash) * keys;
            for (int i = thread; i < TABLES * BUCKETS * SLICE; i += THREADS) tables[i] = 0.0f;
            fetch(&fetched[0], 0, begin, end, codes, keys, functions, base, value, value_stride, dims);
            __syncthreads();
            for (int first = begin, turn = 0; first < end; first += FETCHED, turn ^= 1) {
                if (thread < OWNERS) {
                    const int table = thread / SLICE, d = thread % SLICE;
                    float *column = tables + table * BUCKETS * SLICE + d;
                    for (int i = 0; i < FETCHED; i += PIPELINE)
                        insert(column, &fetched[turn], i, table, d);
                } else if (first + FETCHED < end) {
                    fetch(&fetched[turn ^ 1], OWNERS, first + FETCHED, end, codes, keys, functions,
                          base, value, value_stride, dims);
                }
                __syncthreads();
            }

            const bool is_first = hash == first_hash && base == 0;
            codes = query_codes + ((int64)head * num_hash + hash) * queries;
            for (int i = thread; i < (query_end - query_begin) * SLICE; i += THREADS) {
                const int row = query_begin + i / SLICE, d = i % SLICE;
                if (d >= dims) continue;
                float *to = partial + (int64)row * heads * dim + d;
                float sum = is_first ? 0.0f : *to;
#pragma unroll
                for (int t = 0; t < TABLES; t++) {
                    const unsigned bucket = t < functions ? codes[(int64)t * queries + row] - base : BUCKETS;
                    if (bucket < BUCKETS) sum += tables[(t * BUCKETS + bucket) * SLICE + d];
                }
                *to = sum;
            }
            __syncthreads();
        }
}
