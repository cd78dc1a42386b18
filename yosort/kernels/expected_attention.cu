// YOSO-E: out_i = sum_j (1 - acos(q_i . k_j) / pi)^CODE_LEN v_j, without an n x n array.
//
// A block answers ROWS queries of one text and head, for COLUMNS value dims, meeting KEYS keys at a
// time: scores of the pair of tiles, then their product with the values, both from shared memory.
//
// CODE_LEN: the exponent. CHUNK: dims of q and k in shared memory at once.

#define ROWS 64
#define KEYS 32
#define COLUMNS 64
#define SIDE 16  // 256 threads, each with ROWS / SIDE rows

__device__ inline float collision(float cosine) {
    // Rounding can push a cosine past 1, where acos is undefined.
    const float p = 1.0f - acosf(fminf(fmaxf(cosine, -1.0f), 1.0f)) * 0.318309886f;
    float power = 1.0f;
    for (int i = 0; i < CODE_LEN; i++) power *= p;
    return power;
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
    __shared__ float q[ROWS][CHUNK + 1], k[KEYS][CHUNK + 1];
    __shared__ float weight[ROWS][KEYS + 1], v[KEYS][COLUMNS];
    const int thread = threadIdx.x, x = thread % SIDE, y = thread / SIDE;
    const int head = blockIdx.y, heads = gridDim.y, first_column = blockIdx.z * COLUMNS;
    const int text = block_text[blockIdx.x], first_row = block_row[blockIdx.x];
    const int last_row = query_offsets[text + 1], end = offsets[text + 1];
    float sum[ROWS / SIDE][COLUMNS / SIDE] = {};

    for (int first_key = offsets[text]; first_key < end; first_key += KEYS) {
        float score[ROWS / SIDE][KEYS / SIDE] = {};
        for (int chunk = 0; chunk < dim; chunk += CHUNK) {
            for (int i = thread; i < ROWS * CHUNK; i += blockDim.x) {
                const int row = first_row + i / CHUNK, d = chunk + i % CHUNK;
                const bool there = row < last_row && d < dim;
                q[i / CHUNK][i % CHUNK] =
                    there ? load(query + row * query_stride + head * dim + d) * query_scale[(int64)row * heads + head] : 0.0f;
            }
            for (int i = thread; i < KEYS * CHUNK; i += blockDim.x) {
                const int row = first_key + i / CHUNK, d = chunk + i % CHUNK;
                const bool there = row < end && d < dim;
                k[i / CHUNK][i % CHUNK] =
                    there ? load(key + row * key_stride + head * dim + d) * key_scale[(int64)row * heads + head] : 0.0f;
            }
            __syncthreads();
            for (int d = 0; d < CHUNK; d++)
                for (int r = 0; r < ROWS / SIDE; r++)
                    for (int c = 0; c < KEYS / SIDE; c++)
                        score[r][c] += q[y + r * SIDE][d] * k[x + c * SIDE][d];
            __syncthreads();
        }
        for (int r = 0; r < ROWS / SIDE; r++)
            for (int c = 0; c < KEYS / SIDE; c++) weight[y + r * SIDE][x + c * SIDE] = collision(score[r][c]);
        for (int i = thread; i < KEYS * COLUMNS; i += blockDim.x) {
            const int row = first_key + i / COLUMNS, d = first_column + i % COLUMNS;
            // Zeros past the end: a missing key's weight is that of a cosine of 0.
            const bool there = row < end && d < value_dim;
            v[i / COLUMNS][i % COLUMNS] = there ? load(value + row * value_stride + head * value_dim + d) : 0.0f;
        }
        __syncthreads();
        for (int j = 0; j < KEYS; j++)
            for (int r = 0; r < ROWS / SIDE; r++)
                for (int c = 0; c < COLUMNS / SIDE; c++)
                    sum[r][c] += weight[y + r * SIDE][j] * v[j][x + c * SIDE];
        __syncthreads();
    }
    for (int r = 0; r < ROWS / SIDE; r++)
        for (int c = 0; c < COLUMNS / SIDE; c++) {
            const int row = first_row + y + r * SIDE, d = first_column + x + c * SIDE;
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
