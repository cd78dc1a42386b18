// LSH cumulation: keys add their values into buckets, queries read theirs, without atomics.
//
// A block owns SLICE value dims of one text and head, and a group of hash functions. TABLES of them
// have their tables in shared memory at once. Each (table, dim) belongs to one thread of the first
// warp, which adds the keys in order: no two threads write one address, and the sums are the same
// bits every time. The other warps meanwhile fetch the next tile of keys, so that nobody waits for
// global memory. Then all threads read for the queries. Groups write partial sums, which
// normalize_heads adds in order.
//
// TABLES, SLICE, BUCKETS (of a table, a power of two): longer codes take several passes over the
// keys, each for one range of codes.

#define PIPELINE 4
#define TILE 64
// Of a table: one more, for keys of no bucket, which nobody reads.
#define ROWS (BUCKETS + 1)

#if TABLES * SLICE != WARP
#error "a warp owns the tables: a lane a table and dim"
#endif

// Keys first, first + 1, ... of a text, as far as `end`, for one head's slice of dims: where their
// buckets begin in the tables, and their values. PIPELINE neighbours are one load of a lane; as many
// more than they need keep these loads aligned and put a warp's on different banks.
struct __align__(16) Tile {
    int bucket[TABLES][TILE + PIPELINE];
    float value[SLICE][TILE + PIPELINE];
};

// PIPELINE of them, of a lane's table and dim.
struct Keys {
    int bucket[PIPELINE];
    float value[PIPELINE];
};

__device__ inline Keys take(const Tile &tile, int first, int table, int dim) {
    Keys keys;
    for (int i = 0; i < PIPELINE; i++) keys.bucket[i] = tile.bucket[table][first + i];
    for (int i = 0; i < PIPELINE; i++) keys.value[i] = tile.value[dim][first + i];
    return keys;
}

// Add a tile's keys to one column of the tables in order, PIPELINE at a time. Their sums are all read
// before any is written, and the next keys before these: so that the reads overlap, and a step waits
// for shared memory once. A key whose bucket came earlier in a step takes the newer sum.
__device__ inline void insert(float *column, const Tile &tile, int table, int dim) {
    Keys keys = take(tile, 0, table, dim);
#pragma unroll 2
    for (int j = 0; j < TILE; j += PIPELINE) {
        const Keys next = take(tile, (j + PIPELINE) % TILE, table, dim);  // after the last: nobody's
        float sum[PIPELINE];
        for (int i = 0; i < PIPELINE; i++) sum[i] = column[keys.bucket[i]];
        for (int i = 0; i < PIPELINE; i++) {
            for (int k = 0; k < i; k++)
                if (keys.bucket[k] == keys.bucket[i]) sum[i] = sum[k];
            sum[i] += keys.value[i];
        }
        for (int i = 0; i < PIPELINE; i++) column[keys.bucket[i]] = sum[i];
        keys = next;
    }
}

// grid.x: sampled texts * slices, `texts` says which; grid.y: heads; grid.z: groups of `per_group`
// hash functions.
// codes: [heads][num_hash][rows of all texts]. value: [rows] rows of heads * dim, value_stride
// apart. offsets: [texts + 1]. partial: [groups][queries][heads * dim].
extern "C" __global__ void lsh_cumulation(const code_t *__restrict__ query_codes, int queries,
                                          const code_t *__restrict__ key_codes, int keys,
                                          const real *__restrict__ value, int64 value_stride,
                                          const int *__restrict__ texts,
                                          const int *__restrict__ query_offsets,
                                          const int *__restrict__ offsets, int slices, int dim,
                                          int num_hash, int per_group, int code_len,
                                          float *__restrict__ partial) {
    DYNAMIC_SHARED(tables);  // [TABLES][ROWS][SLICE]
    __shared__ Tile tiles[2];
    const int text = texts[blockIdx.x / slices], head = blockIdx.y, heads = gridDim.y;
    const int first_dim = blockIdx.x % slices * SLICE, thread = threadIdx.x;
    const int begin = offsets[text], end = offsets[text + 1];
    const int query_begin = query_offsets[text], query_end = query_offsets[text + 1];
    const int first_hash = blockIdx.z * per_group;
    const int last_hash = first_hash + per_group < num_hash ? first_hash + per_group : num_hash;
    const int table = thread / SLICE, column = thread % SLICE;  // of the first warp's lanes
    partial += (int64)blockIdx.z * queries * heads * dim;
    query_codes += (int64)head * num_hash * queries;
    key_codes += (int64)head * num_hash * keys;

    for (int hash = first_hash; hash < last_hash; hash += TABLES)
        for (unsigned base = 0; base < 1u << code_len; base += BUCKETS) {
            // Past the last dim a tile holds what nobody reads, past the last key or function keys of no
            // bucket, as of codes before `base`, whose difference wraps, and past its buckets.
            auto fetch = [&](Tile &tile, int first, int worker, int workers) {
                for (int i = worker; i < TILE * SLICE; i += workers) {
                    const int key = first + i / SLICE, d = first_dim + i % SLICE;
                    tile.value[i % SLICE][i / SLICE] =
                        key < end && d < dim ? load(value + key * value_stride + head * dim + d) : 0.0f;
                }
                for (int i = worker; i < TABLES * TILE; i += workers) {
                    const int key = first + i % TILE, function = hash + i / TILE;
                    unsigned bucket = BUCKETS;
                    if (key < end && function < last_hash) {
                        const unsigned inside = key_codes[(int64)function * keys + key] - base;
                        if (inside < BUCKETS) bucket = inside;
                    }
                    tile.bucket[i / TILE][i % TILE] = (i / TILE * ROWS + bucket) * SLICE;
                }
            };
            for (int i = thread; i < TABLES * ROWS * SLICE; i += blockDim.x) tables[i] = 0.0f;
            fetch(tiles[0], begin, thread, blockDim.x);
            __syncthreads();

            for (int first = begin, now = 0; first < end; first += TILE, now ^= 1) {
                if (thread >= WARP) {
                    if (first + TILE < end) fetch(tiles[now ^ 1], first + TILE, thread - WARP, blockDim.x - WARP);
                } else {
                    insert(tables + column, tiles[now], table, column);
                }
                __syncthreads();
            }

            const bool is_first = hash == first_hash && base == 0;
#pragma unroll 4
            for (int i = query_begin * SLICE + thread; i < query_end * SLICE; i += blockDim.x) {
                const int row = i / SLICE, dim_in_slice = i % SLICE;
                if (first_dim + dim_in_slice >= dim) continue;
                float *to = partial + ((int64)row * heads + head) * dim + first_dim + dim_in_slice;
                float sum = is_first ? 0.0f : *to;
                for (int t = 0; t < TABLES && hash + t < last_hash; t++) {
                    const unsigned bucket = query_codes[(int64)(hash + t) * queries + row] - base;
                    if (bucket < BUCKETS) sum += tables[(t * ROWS + bucket) * SLICE + dim_in_slice];
                }
                *to = sum;
            }
            __syncthreads();
        }
}
