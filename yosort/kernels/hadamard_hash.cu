// The fast hash: H D3 H D2 H D1 x by Walsh-Hadamard transforms, code bits are the signs.
//
// A warp rotates one token of one head: element i sits in lane i % 32, register i / 32. Strides
// below 32 pair lanes by a shuffle, the others pair registers. Stages go 1, 2, 4, ... as in
// ops/reference.py and only add, so the codes are the same bits as every other backend's.
//
// WIDTH: of the transform, a power of two. CODE_LEN: bits a code.

#define WORDS ((WIDTH + WARP - 1) / WARP)
#define PER_PART (WIDTH / CODE_LEN)
#define TOKENS 32
#define WARPS 8  // of a block
#define STAGED (PER_PART <= 256)

// v = H D v; bit i of `signs` flips element i.
__device__ inline void rotate(float *v, const unsigned *signs, int lane) {
    for (int e = 0; e < WORDS; e++)
        if (signs[e] >> lane & 1) v[e] = -v[e];
    for (int stride = 1; stride < WIDTH && stride < WARP; stride *= 2)
        for (int e = 0; e < WORDS; e++) {
            const float other = __shfl_xor_sync(EVERY_LANE, v[e], stride);
            v[e] = lane & stride ? other - v[e] : v[e] + other;
        }
    for (int stride = 1; stride < WORDS; stride *= 2)
        for (int e = 0; e < WORDS; e++)
            if (!(e & stride)) {
                const float a = v[e], b = v[e + stride];
                v[e] = a + b;
                v[e + stride] = a - b;
            }
}

// Queries and keys in one launch: the first `query_blocks` blocks of grid.x hash queries, the
// others keys; grid.y: heads. query, key: [rows] rows of heads * dim, *_stride apart.
// signs: [heads][3][parts][WORDS], a bit an element. codes: [heads][num_hash][rows].
extern "C" __global__ void hadamard_hash(const real *query, int64 query_stride, int queries,
                                         int query_blocks, const real *key, int64 key_stride,
                                         int keys, int dim, const unsigned *signs, int parts,
                                         int num_hash, code_t *query_codes, code_t *key_codes) {
    __shared__ unsigned words[WARPS][WORDS + 1];
#if STAGED
    __shared__ code_t staged[PER_PART][TOKENS + 2];
#endif
    const bool is_query = blockIdx.x < query_blocks;
    const int first = (is_query ? blockIdx.x : blockIdx.x - query_blocks) * TOKENS;
    const int rows = is_query ? queries : keys, head = blockIdx.y;
    const real *x = is_query ? query : key;
    const int64 stride = is_query ? query_stride : key_stride;
    code_t *codes = (is_query ? query_codes : key_codes) + (int64)head * num_hash * rows;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;

    for (int part = 0; part < parts; part++) {
        const unsigned *sign = signs + ((int64)head * 3 * parts + part) * WORDS;
        const int left = num_hash - part * PER_PART, functions = left < PER_PART ? left : PER_PART;
        code_t *part_codes = codes + (int64)part * PER_PART * rows;
        for (int t = warp; t < TOKENS && first + t < rows; t += WARPS) {
            const real *row = x + (first + t) * stride + head * dim;
            float v[WORDS];
            for (int e = 0; e < WORDS; e++) {
                const int d = e * WARP + lane;
                v[e] = d < dim ? load(row + d) : 0.0f;
            }
            for (int step = 0; step < 3; step++) rotate(v, sign + (int64)step * parts * WORDS, lane);
            for (int e = 0; e < WORDS; e++) {
                const unsigned bits = __ballot_sync(EVERY_LANE, v[e] > 0.0f);
                if (lane == 0) words[warp][e] = bits;
            }
            __syncwarp();
            for (int function = lane; function < functions; function += WARP) {
                // A function's bits may straddle two words.
                const int at = function * CODE_LEN, word = at / WARP, shift = at % WARP;
                unsigned bits = words[warp][word] >> shift;
                if (shift + CODE_LEN > WARP) bits |= words[warp][word + 1] << (WARP - shift);
                const code_t code = (code_t)(bits & ((1u << CODE_LEN) - 1));
#if STAGED
                staged[function][t] = code;
#else
                part_codes[(int64)function * rows + first + t] = code;
#endif
            }
            __syncwarp();  // the next token's words replace these
        }
#if STAGED
        __syncthreads();
        // Hash by hash, so that neighbouring threads write neighbouring tokens.
        for (int i = threadIdx.x; i < functions * TOKENS; i += blockDim.x) {
            const int function = i / TOKENS, t = i % TOKENS;
            if (first + t < rows) part_codes[(int64)function * rows + first + t] = staged[function][t];
        }
        __syncthreads();
#endif
    }
}
