// YOSO-E: out_i = sum_j (1 - acos(q_i . k_j) / pi)^CODE_LEN v_j, without an n x n array.
//
// A block answers ROWS queries of one text and head, for COLUMNS value dims, meeting KEYS keys at a
// time: scores of the pair of tiles, then their product with the values. Tiles lie in shared memory
// with the summed axis first, so that a thread reads four numbers at once for sixteen products.
//
// CODE_LEN: the exponent. CHUNK: dims of q and k in shared memory at once. DIM_CHUNKS: how many of
// them a head has.

#define ROWS 64
#define KEYS 32
#define COLUMNS 64
#define SIDE 16
#define THREADS (SIDE * SIDE)  // each with 4 rows, and 2 keys or 4 columns
#define PAD 4                  // keeps rows on 16 bytes and off each other's banks

__device__ inline float collision(float cosine) {
    // Rounding can push a cosine past 1, where acos is undefined.
    const float p = 1.0f - acosf(fminf(fmaxf(cosine, -1.0f), 1.0f)) * 0.318309886f;
    float power = 1.0f;
#pragma unroll
    for (int i = 0; i < CODE_LEN; i++) power *= p;
    return power;
}

// to[d][i] = x[first + i][d] * scale, for `count` rows and CHUNK dims; zeros past `end` and `dims`.
__device__ inline void fetch(float *to, int pitch, const real *x, int64 stride, const float *scale,
                             int heads, int first, int count, int end, int dims) {
    for (int i = threadIdx.x; i < count * CHUNK; i += THREADS) {
        const int row = first + i / CHUNK, d = i % CHUNK;
        to[d * pitch + i / CHUNK] =
            row < end && d < dims ? load(x + row * stride + d) * scale[(int64)row * heads] : 0.0f;
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
    __shared__ __align__(16) float q[CHUNK][ROWS + PAD], k[CHUNK][KEYS + PAD];
    __shared__ __align__(16) float weight[KEYS][ROWS + PAD], v[KEYS][COLUMNS];
    const int x = threadIdx.x % SIDE, y = threadIdx.x / SIDE;
    const int head = blockIdx.y, heads = gridDim.y, first_column = blockIdx.z * COLUMNS;
    const int text = block_text[blockIdx.x], first_row = block_row[blockIdx.x];
    const int last_row = query_offsets[text + 1], end = offsets[text + 1];
    query += head * dim;
    key += head * dim;
    value += head * value_dim + first_column;
    float sum[4][4] = {};

    for (int first_key = offsets[text]; first_key < end; first_key += KEYS) {
        float score[4][2] = {};
        for (int chunk = 0; chunk < DIM_CHUNKS; chunk++) {
            const int at = chunk * CHUNK;
            // One chunk of queries serves all keys.
            if (DIM_CHUNKS > 1 || first_key == offsets[text])
                fetch(q[0], ROWS + PAD, query + at, query_stride, query_scale + head, heads, first_row,
                      ROWS, last_row, dim - at);
            fetch(k[0], KEYS + PAD, key + at, key_stride, key_scale + head, heads, first_key, KEYS, end,
                  dim - at);
            __syncthreads();
#pragma unroll 8
            for (int d = 0; d < CHUNK; d++) {
                const float4 a = *(const float4 *)&q[d][4 * y];
                const float2 b = *(const float2 *)&k[d][2 * x];
                const float rows[4] = {a.x, a.y, a.z, a.w}, keys[2] = {b.x, b.y};
#pragma unroll
                for (int r = 0; r < 4; r++)
#pragma unroll
                    for (int c = 0; c < 2; c++) score[r][c] += rows[r] * keys[c];
            }
            if (DIM_CHUNKS > 1) __syncthreads();
        }
#pragma unroll
        for (int r = 0; r < 4; r++)
#pragma unroll
            for (int c = 0; c < 2; c++) weight[2 * x + c][4 * y + r] = collision(score[r][c]);
        for (int i = threadIdx.x; i < KEYS * COLUMNS; i += THREADS) {
            const int row = first_key + i / COLUMNS, d = i % COLUMNS;
            // Zeros past the end: a missing key's weight is that of a cosine of 0.
            const bool there = row < end && first_column + d < value_dim;
            v[i / COLUMNS][d] = there ? load(value + row * value_stride + d) : 0.0f;
        }
        __syncthreads();
#pragma unroll 8
        for (int j = 0; j < KEYS; j++) {
            const float4 a = *(const float4 *)&weight[j][4 * y], b = *(const float4 *)&v[j][4 * x];
            const float rows[4] = {a.x, a.y, a.z, a.w}, columns[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
            for (int r = 0; r < 4; r++)
#pragma unroll
                for (int c = 0; c < 4; c++) sum[r][c] += rows[r] * columns[c];
        }
        __syncthreads();
    }
    for (int r = 0; r < 4; r++)
        for (int c = 0; c < 4; c++) {
            const int row = first_row + 4 * y + r, d = first_column + 4 * x + c;
            if (row < last_row && d < value_dim)
                out[((int64)row * heads + head) * value_dim + d] = sum[r][c];
        }
}

// scale[row][head] = 1 / max(|x|, 1e-12): what normalises a head's row. A warp a row and head.
extern "C" __global__ void inverse_norms(const real *x, int64 stride, int rows, int heads, int dim,
                                         float *scale) {
    const int64 unit = (int64)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    if (unit >= (int64)rows * heads) return;
    const real *row = x + unit / heads * stride + unit % heads * dim;
    float squares = 0.0f;
    for (int d = threadIdx.x % WARP; d < dim; d += WARP) squares += load(row + d) * load(row + d);
    const float norm = sqrtf(warp_sum(squares));
    if (threadIdx.x % WARP == 0) scale[unit] = 1.0f / fmaxf(norm, 1e-12f);
}
