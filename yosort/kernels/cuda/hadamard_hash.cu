// The fast hash: H D3 H D2 H D1 x by Walsh-Hadamard transforms, code bits are the signs.
//
// LANES neighbouring lanes rotate one token of one head, each with PER_LANE neighbouring elements
// in registers: the short strides pair registers, only the few longest pair lanes by a shuffle.
// Stages go 1, 2, 4, ... as in ops/definitions.py and only add, so the codes are the same bits as
// every other backend's.
//
// WIDTH: of the transform, a power of two. CODE_LEN: bits a code. VECTOR: elements of a row that are
// loaded at once, 4 where dim, strides and addresses allow it, or 1. Loops that are not over registers
// stay rolled: copies of them cost more registers than they save steps.

#if WIDTH <= 16
#define PER_LANE WIDTH
#elif WIDTH <= 16 * WARP
#define PER_LANE 16
#else
#define PER_LANE (WIDTH / WARP)
#endif
#define LANES (WIDTH / PER_LANE)
// Tokens of a block, and its threads: the launcher's hash_shape says the same.
#define TOKENS (LANES <= 8 ? 32 : 256 / LANES)
#define WORDS ((WIDTH + WARP - 1) / WARP)
#define HALF_WORDS ((WIDTH + 15) / 16)
#define PER_PART (WIDTH / CODE_LEN)
// Codes wait in shared memory until neighbouring threads can write neighbouring tokens.
#define STAGED (PER_PART <= 256)

struct __align__(VECTOR * sizeof(real)) Loaded { real v[VECTOR]; };

// v = H D v, one lane's part of it; bit i of `signs` flips element i of the whole.
__device__ inline void rotate(exact *v, const unsigned *signs, int lane) {
    for (int e = 0; e < PER_LANE; e++) {
        const int i = lane * PER_LANE + e;
        if (signs[i / WARP] >> i % WARP & 1) v[e] = -v[e];
    }
    for (int stride = 1; stride < PER_LANE; stride *= 2)
        for (int e = 0; e < PER_LANE; e++)
            if (!(e & stride)) {
                const exact a = v[e], b = v[e + stride];
                v[e] = a + b;
                v[e + stride] = a - b;
            }
    for (int stride = 1; stride < LANES; stride *= 2)
        for (int e = 0; e < PER_LANE; e++) {
            const exact other = {__shfl_xor_sync(EVERY_LANE, v[e].value, stride)};
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
    // 16 bits a word, so that no two lanes share one, and a code never straddles more than two.
    __shared__ code_t bits[TOKENS][HALF_WORDS + 1];
#if STAGED
    __shared__ code_t staged[PER_PART][TOKENS + 2];
#endif
    const bool is_query = blockIdx.x < query_blocks;
    const int first = (is_query ? blockIdx.x : blockIdx.x - query_blocks) * TOKENS;
    const int rows = is_query ? queries : keys, head = blockIdx.y;
    const int64 stride = is_query ? query_stride : key_stride;
    code_t *codes = (is_query ? query_codes : key_codes) + (int64)head * num_hash * rows;
    const int lane = threadIdx.x % LANES, t = threadIdx.x / LANES;
    const bool there = first + t < rows;
    const real *row = (is_query ? query : key) + (first + t) * stride + head * dim;
    exact x[PER_LANE];
    for (int e = 0; e < PER_LANE; e += VECTOR) {
        const int d = lane * PER_LANE + e;
        Loaded some = {};
        if (there && d < dim) some = *(const Loaded *)(row + d);
        for (int i = 0; i < VECTOR; i++) x[e + i].value = load(some.v + i);
    }

    for (int part = 0; part < parts; part++) {
        const unsigned *sign = signs + ((int64)head * 3 * parts + part) * WORDS;
        const int left = num_hash - part * PER_PART, functions = left < PER_PART ? left : PER_PART;
        code_t *part_codes = codes + (int64)part * PER_PART * rows + first;
        exact v[PER_LANE];
        for (int e = 0; e < PER_LANE; e++) v[e] = x[e];
#pragma unroll 1
        for (int step = 0; step < 3; step++) rotate(v, sign + (int64)step * parts * WORDS, lane);
        for (int e = 0; e < PER_LANE; e += 16) {
            unsigned word = 0;
            for (int b = 0; b < 16 && b < PER_LANE; b++) word |= (unsigned)(v[e + b] > 0.0f) << b;
            bits[t][(lane * PER_LANE + e) / 16] = (code_t)word;
        }
        __syncwarp();
#pragma unroll 1
        for (int function = lane; function < functions; function += LANES) {
            const int at = function * CODE_LEN, shift = at % 16;
            unsigned code = bits[t][at / 16] >> shift;
            if (shift + CODE_LEN > 16) code |= (unsigned)bits[t][at / 16 + 1] << (16 - shift);
            code &= (1u << CODE_LEN) - 1;
#if STAGED
            staged[function][t] = (code_t)code;
#else
            if (there) part_codes[(int64)function * rows + t] = (code_t)code;
#endif
        }
#if STAGED
        __syncthreads();
#pragma unroll 1
        for (int i = threadIdx.x; i < functions * TOKENS; i += blockDim.x)
            if (first + i % TOKENS < rows)
                part_codes[(int64)(i / TOKENS) * rows + i % TOKENS] = staged[i / TOKENS][i % TOKENS];
        __syncthreads();
#else
        __syncwarp();  // the next part's bits replace these
#endif
    }
}
