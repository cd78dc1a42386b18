// YOSO-E: out_i = sum_j (1 - acos(q_i . k_j) / pi)^CODE_LEN v_j, without an n x n array.
//
// A block answers TILE queries of one text and head, for TILE value dims, meeting TILE keys at a
// time: scores of the pair of tiles, then their product with the values, both from shared memory.
// Of each product a thread has an EACH x EACH square, four quarters of it SIDE * 4 rows and columns
// apart: vectors of four feed it, and neighbours read neighbouring ones.
//
// CODE_LEN: the exponent. CHUNK: dims of q and k in shared memory at once, at most TILE.

#define TILE 64
#define EACH 8
#define SIDE (TILE / EACH)  // SIDE * SIDE threads

// Where column `at` of row i of `left` stands: vectors of four change places by eighths of the rows,
// so that what eight lanes write down a column has a bank each.
__device__ inline int place(int i, int at) { return at ^ i / 8 * 4; }

// Where row or column i of the square of thread row or column `at` stands, and its vector of four.
__device__ inline int quarter(int at, int i) { return i / 4 * 4 * SIDE + 4 * at; }
__device__ inline int spot(int at, int i) { return quarter(at, i) + i % 4; }

// square[r][c] += sum_i left[i][spot(y, r)] * right[i][spot(x, c)]. Rows of four floats more
// than they need keep vector loads aligned and spread their stores over the banks.
__device__ inline void multiply(float square[EACH][EACH], float left[TILE][TILE + 4],
                                float right[TILE][TILE + 4], int depth, int x, int y) {
    for (int i = 0; i < depth; i++) {
        float a[EACH], b[EACH];
        for (int r = 0; r < EACH; r++) a[r] = left[i][place(i, quarter(y, r)) + r % 4];
        for (int c = 0; c < EACH; c++) b[c] = right[i][spot(x, c)];
        for (int r = 0; r < EACH; r++)
            for (int c = 0; c < EACH; c++) square[r][c] += a[r] * b[c];
    }
}

// grid.x: row blocks of all texts, block_text and block_row say which; grid.y: heads; grid.z: value
// columns. query, key, value: rows of heads * dim, *_stride apart. query_scale, key_scale:
// [rows][heads], what normalises a row. out: [queries][heads * value_dim].
extern "C" __global__ void expected_attention(const real *query, int64 query_stride,
                                              const float *query_scale, const real *key,
                                              int64 key_stride, const float *key_scale,
                                              const real *value, int64 value_stride,
                                              const int *block_text, const int *block_row,
                                              const int *query_offsets, const int *offsets, int dim,
                                              int value_dim, float *out) {
    // Queries, then weights; keys, then values.
    __shared__ __align__(16) float left[TILE][TILE + 4], right[TILE][TILE + 4];
    const int thread = threadIdx.x, x = thread % SIDE, y = thread / SIDE;
    const int head = blockIdx.y, heads = gridDim.y, first_column = blockIdx.z * TILE;
    const int text = block_text[blockIdx.x], first_row = block_row[blockIdx.x];
    const int last_row = query_offsets[text + 1], end = offsets[text + 1];
    float sum[EACH][EACH] = {};

    for (int first_key = offsets[text]; first_key < end; first_key += TILE) {
        float score[EACH][EACH] = {};
        for (int chunk = 0; chunk < dim; chunk += CHUNK) {
            for (int i = thread; i < TILE * CHUNK; i += blockDim.x) {
                // A warp takes 8 dims, a sector of memory, of 4 rows: each store has its own bank.
                const int lane = i % WARP, patch = i / WARP;
                const int at = patch / (CHUNK / 8) * 4 + lane % 4, d = patch % (CHUNK / 8) * 8 + lane / 4;
                const int row = first_row + at, other = first_key + at;
                left[d][place(d, at)] = row < last_row && chunk + d < dim
                    ? load(query + row * query_stride + head * dim + chunk + d) * query_scale[(int64)row * heads + head]
                    : 0.0f;
                right[d][at] = other < end && chunk + d < dim
                    ? load(key + other * key_stride + head * dim + chunk + d) * key_scale[(int64)other * heads + head]
                    : 0.0f;
            }
            __syncthreads();
            multiply(score, left, right, CHUNK, x, y);
            __syncthreads();
        }
        for (int c = 0; c < EACH; c++)
            for (int r = 0; r < EACH; r++)
                left[spot(x, c)][place(spot(x, c), quarter(y, r)) + r % 4] = collision(score[r][c]);
        for (int i = thread; i < TILE * TILE; i += blockDim.x) {
            const int at = i / TILE, row = first_key + at, d = first_column + i % TILE;
            // Zeros past the end: a missing key's weight is that of a cosine of 0.
            right[at][i % TILE] =
                row < end && d < value_dim ? load(value + row * value_stride + head * value_dim + d) : 0.0f;
        }
        __syncthreads();
        multiply(sum, left, right, TILE, x, y);
        __syncthreads();
    }
    for (int r = 0; r < EACH; r++)
        for (int c = 0; c < EACH; c++) {
            const int row = first_row + spot(y, r), d = first_column + spot(x, c);
            if (row < last_row && d < value_dim)
                out[((int64)row * heads + head) * value_dim + d] = sum[r][c];
        }
}

// query_scale, key_scale: [rows][heads], what normalises a head's row. A warp a row and head, the
// queries' first.
extern "C" __global__ void inverse_norms(const real *query, int64 query_stride, int queries,
                                         const real *key, int64 key_stride, int keys, int heads,
                                         int dim, float *query_scale, float *key_scale) {
    const int64 warp = (int64)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    const int64 of_queries = (int64)queries * heads, of_keys = (int64)keys * heads;
    if (warp >= of_queries + of_keys) return;
    const bool is_query = warp < of_queries;
    const int64 unit = is_query ? warp : warp - of_queries;
    const real *row = (is_query ? query : key) + unit % heads * dim;
    row += unit / heads * (is_query ? query_stride : key_stride);
    float squares = 0.0f;
    for (int d = threadIdx.x % WARP; d < dim; d += WARP) squares += load(row + d) * load(row + d);
    const float norm = sqrtf(warp_sum(squares));
    if (threadIdx.x % WARP == 0) (is_query ? query_scale : key_scale)[unit] = 1.0f / divisor(norm);
}
