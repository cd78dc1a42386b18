// expected_attention on tensor cores, for float16: both products by mma.sync, sums in float32.
//
// A block answers TILE queries of one text and head, for COLUMNS value dims, meeting TILE keys at a
// time; a warp owns 16 of the queries and keeps them in registers. Products take q, k and v as they
// are: a product of two float16 numbers is exact in float32, and what normalises q and k follows.
// Cosines come out in the lanes that the second product wants their weights in, which therefore
// never leave the registers; they are rounded to float16, times LARGE, so that small ones, too, have
// all their bits.
//
// DIM: of q and k, rounded up to 16, at most 128. COLUMNS: a multiple of 8, at most 64.

#ifndef HALF
#error "tensor cores multiply float16"
#endif

#define TILE 64
#define LARGE 32768.0f  // the largest power of two of float16: no weight is above 1

#ifndef TENSOR_CORES
// c += a b, of a [16][16], b [16][8] and c [16][8]. As the PTX manual lays out m16n8k16, with lane
// 4 g + t: a[0] holds row g, columns 2 t and 2 t + 1; a[1] row g + 8; a[2], a[3] the same rows eight
// columns on. b[0] holds column g, rows 2 t and 2 t + 1; b[1] eight rows on. c[0], c[1] are row g,
// columns 2 t and 2 t + 1; c[2], c[3] row g + 8.
__device__ inline void multiply_add(float c[4], const unsigned a[4], const unsigned b[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

// Two numbers side by side, as products take them.
__device__ inline unsigned pair(unsigned short first, unsigned short second) {
    return first | (unsigned)second << 16;
}

// Elements d and d + 1 of a row; zeros past its end.
__device__ inline unsigned neighbours(const real *row, int d, int dim) {
    return pair(d < dim ? row[d].bits : 0, d + 1 < dim ? row[d + 1].bits : 0);
}

// Arguments are those of expected_attention.
extern "C" __global__ void tensor_attention(const real *query, int64 query_stride,
                                            const float *query_scale, const real *key,
                                            int64 key_stride, const float *key_scale,
                                            const real *value, int64 value_stride,
                                            const int *block_text, const int *block_row,
                                            const int *query_offsets, const int *offsets, int dim,
                                            int value_dim, float *out) {
    // Pairs of dims of each key; pairs of keys of each value dim. Four words more a row put what the
    // lanes of a product read on different banks.
    __shared__ unsigned keys[TILE][DIM / 2 + 4], values[COLUMNS][TILE / 2 + 4];
    __shared__ float scales[TILE];
    const int thread = threadIdx.x, lane = thread % WARP, g = lane / 4, t = lane % 4;
    const int head = blockIdx.y, heads = gridDim.y, first_column = blockIdx.z * COLUMNS;
    const int text = block_text[blockIdx.x], last_row = query_offsets[text + 1], end = offsets[text + 1];
    const int first_row = block_row[blockIdx.x] + thread / WARP * 16 + g;
    const int rows[2] = {first_row, first_row + 8};
    query += head * dim;
    key += head * dim;
    value += head * value_dim + first_column;
    const int columns = value_dim - first_column;

    unsigned left[DIM / 16][4];
    float row_scale[2];
    for (int i = 0; i < 2; i++) {
        const bool is_row = rows[i] < last_row;
        row_scale[i] = is_row ? query_scale[(int64)rows[i] * heads + head] : 0.0f;
        for (int step = 0; step < DIM / 16; step++)
            for (int half = 0; half < 2; half++)
                left[step][i + 2 * half] =
                    is_row ? neighbours(query + rows[i] * query_stride, 16 * step + 8 * half + 2 * t, dim) : 0;
    }
    float sum[COLUMNS / 8][4] = {};

    for (int first_key = offsets[text]; first_key < end; first_key += TILE) {
        for (int i = thread; i < TILE * (DIM / 2); i += blockDim.x) {
            const int at = i / (DIM / 2), word = i % (DIM / 2), row = first_key + at;
            keys[at][word] = row < end ? neighbours(key + row * key_stride, 2 * word, dim) : 0;
        }
        for (int i = thread; i < COLUMNS * (TILE / 2); i += blockDim.x) {
            // A warp takes 8 dims, a sector of half of memory's, of 4 pairs of keys: a bank a store.
            const int patch = i / WARP, d = patch % (COLUMNS / 8) * 8 + i % WARP / 4;
            const int word = patch / (COLUMNS / 8) * 4 + i % 4, row = first_key + 2 * word;
            const real *at = value + row * value_stride + d;
            values[d][word] = pair(row < end && d < columns ? at->bits : 0,
                                   row + 1 < end && d < columns ? at[value_stride].bits : 0);
        }
        for (int i = thread; i < TILE; i += blockDim.x)
            scales[i] = first_key + i < end ? key_scale[(int64)(first_key + i) * heads + head] : 0.0f;
        __syncthreads();

        for (int step = 0; step < TILE / 16; step++) {
            unsigned weights[4];
            for (int half = 0; half < 2; half++) {
                const int at = 16 * step + 8 * half;
                float score[4] = {};
                for (int i = 0; i < DIM / 16; i++) {
                    const unsigned right[2] = {keys[at + g][8 * i + t], keys[at + g][8 * i + t + 4]};
                    multiply_add(score, left[i], right);
                }
                for (int i = 0; i < 2; i++) {
                    unsigned short rounded[2];
                    for (int j = 0; j < 2; j++) {
                        const float cosine = score[2 * i + j] * row_scale[i] * scales[at + 2 * t + j];
                        rounded[j] = float_to_half(collision(cosine) * LARGE);
                    }
                    weights[i + 2 * half] = pair(rounded[0], rounded[1]);
                }
            }
            for (int c = 0; c < COLUMNS / 8; c++) {
                const unsigned right[2] = {values[8 * c + g][8 * step + t], values[8 * c + g][8 * step + t + 4]};
                multiply_add(sum[c], weights, right);
            }
        }
        __syncthreads();
    }
    for (int c = 0; c < COLUMNS / 8; c++)
        for (int i = 0; i < 4; i++) {
            const int row = rows[i / 2], d = 8 * c + 2 * t + i % 2;
            if (row < last_row && d < columns)
                out[((int64)row * heads + head) * value_dim + first_column + d] = sum[c][i] * (1.0f / LARGE);
        }
}
