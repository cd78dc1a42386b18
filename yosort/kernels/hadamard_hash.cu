// The fast hash: H D3 H D2 H D1 x by Walsh-Hadamard transforms, code bits are the signs.
//
// LANES neighbouring lanes rotate one token of one head, each with EACH elements in registers: lane
// l holds elements l * EACH and on. Strides below EACH pair registers, the others pair lanes by a
// shuffle; heads of up to 64 dims take one lane a token and no shuffle at all. Stages go 1, 2, 4,
// ... as in ops/reference.py and only add, so the codes are every other backend's, bit for bit.
//
// WIDTH: of the transform, a power of two. CODE_LEN: bits a code.

#define LANES (WIDTH <= 64 ? 1 : WIDTH <= 2048 ? WIDTH / 64 : WARP)
#define EACH (WIDTH / LANES)
#define PER_PART (WIDTH / CODE_LEN)
#define THREADS (WIDTH <= 2048 ? 128 : WARP)
#define TOKENS (THREADS / LANES)  // of a block
#define WORDS ((WIDTH + 31) / 32)

// v = H D v; bit i % 32 of signs[i / 32] flips element i.
__device__ inline void rotate(float *v, const unsigned *signs, int lane) {
#pragma unroll
    for (int e = 0; e < EACH; e++) {
        const int i = lane * EACH + e;
        if (signs[i / 32] >> i % 32 & 1) v[e] = -v[e];
    }
#pragma unroll
    for (int stride = 1; stride < EACH; stride *= 2)
#pragma unroll
        for (int e = 0; e < EACH; e++)
            if (!(e & stride)) {
                const float a = v[e], b = v[e + stride];
                v[e] = a + b;
                v[e + stride] = a - b;
            }
#pragma unroll
    for (int stride = 1; stride < LANES; stride *= 2)
#pragma unroll
        for (int e = 0; e < EACH; e++) {
            const float other = __shfl_xor_sync(EVERY_LANE, v[e], stride);
            v[e] = lane & stride ? other - v[e] : v[e] + other;
        }
}

// Queries and keys in one launch: the first `query_blocks` blocks of grid.x hash queries, the
// others keys; grid.y: heads. query, key: [rows] rows of heads * dim, *_stride apart.
// signs: [heads][3][parts][WORDS], a bit an element. codes: [heads][num_hash][rows].
extern "C" __global__ void hadamard_hash(const real *query, int64 query_stride, int queries,
                                         int query_blocks, const real *key, int64 key_stride,
                                         int keys, int dim, const unsigned *signs, int parts,
                                         int num_hash, code_t *query_codes, code_t *key_codes) {
    __shared__ float x[TOKENS][WIDTH + 1];   // the odd width keeps lanes on banks of their own
    __shared__ unsigned words[TOKENS][WORDS + 1];
    const bool is_query = blockIdx.x < query_blocks;
    const int first = (is_query ? blockIdx.x : blockIdx.x - query_blocks) * TOKENS;
    const int rows = is_query ? queries : keys, head = blockIdx.y;
    const real *from = (is_query ? query : key) + head * dim;
    const int64 stride = is_query ? query_stride : key_stride;
    code_t *codes = (is_query ? query_codes : key_codes) + (int64)head * num_hash * rows;

    for (int i = threadIdx.x; i < TOKENS * WIDTH; i += THREADS) {
        const int row = first + i / WIDTH, d = i % WIDTH;
        x[i / WIDTH][d] = row < rows && d < dim ? load(from + row * stride + d) : 0.0f;
    }
    __syncthreads();

    const int token = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    for (int part = 0; part < parts; part++) {
        const unsigned *sign = signs + ((int64)head * 3 * parts + part) * WORDS;
        float v[EACH];
#pragma unroll
        for (int e = 0; e < EACH; e++) v[e] = x[token][lane * EACH + e];
#pragma unroll 1
        for (int step = 0; step < 3; step++) rotate(v, sign + (int64)step * parts * WORDS, lane);
        // The signs as words: EACH is under 32 only where one lane holds all.
#pragma unroll
        for (int base = 0; base < EACH; base += 32) {
            unsigned bits = 0;
#pragma unroll
            for (int e = base; e < EACH && e < base + 32; e++) bits |= (unsigned)(v[e] > 0.0f) << (e - base);
            words[token][(lane * EACH + base) / 32] = bits;
        }
        __syncwarp();
        const int left = num_hash - part * PER_PART, functions = left < PER_PART ? left : PER_PART;
        for (int function = lane; function < functions; function += LANES) {
            // A function's bits may straddle two words.
            const int at = function * CODE_LEN, word = at / 32, shift = at % 32;
            unsigned bits = words[token][word] >> shift;
            if (shift + CODE_LEN > 32) bits |= words[token][word + 1] << (32 - shift);
            if (first + token < rows)
                codes[(int64)(part * PER_PART + function) * rows + first + token] =
                    (code_t)(bits & ((1u << CODE_LEN) - 1));
        }
        __syncwarp();  // the next part's words replace these
    }
}
