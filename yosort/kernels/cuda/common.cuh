// What every kernel builds on. The launcher puts this text before each source; nothing is included,
// so that NVRTC alone compiles it. HALF: activations are float16; sums and codes never are.

typedef unsigned short code_t;
typedef long long int64;

#define WARP 32
#define EVERY_LANE 0xffffffffu

#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(name) extern __shared__ float name[]
#endif

#ifdef HALF
struct real { unsigned short bits; };
#ifndef HALF_CONVERSIONS
// The two instructions behind cuda_fp16.h, which NVRTC does not bring along.
__device__ inline float half_to_float(unsigned short bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}
__device__ inline unsigned short float_to_half(float x) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
#endif
__device__ inline float load(const real *p) { return half_to_float(p->bits); }
__device__ inline void store(real *p, float x) { p->bits = float_to_half(x); }
#else
typedef float real;
__device__ inline float load(const real *p) { return *p; }
__device__ inline void store(real *p, float x) { *p = x; }
#endif

#ifndef EXACT_FLOATS
// A float that is never flushed to zero. CuPy compiles with -ftz=true, which takes subnormal numbers
// for zero, and nothing overrides it; but code bits are the signs of sums, of the smallest as well.
struct exact { float value; };
__device__ inline exact operator+(exact a, exact b) {
    exact sum;
    asm("add.rn.f32 %0, %1, %2;" : "=f"(sum.value) : "f"(a.value), "f"(b.value));
    return sum;
}
__device__ inline exact operator-(exact a, exact b) {
    exact difference;
    asm("sub.rn.f32 %0, %1, %2;" : "=f"(difference.value) : "f"(a.value), "f"(b.value));
    return difference;
}
__device__ inline exact operator-(exact x) {
    exact negative;
    asm("neg.f32 %0, %1;" : "=f"(negative.value) : "f"(x.value));
    return negative;
}
__device__ inline bool operator>(exact a, float b) {
    int greater;
    asm("{ .reg .pred p; setp.gt.f32 p, %1, %2; selp.s32 %0, 1, 0, p; }"
        : "=r"(greater) : "f"(a.value), "f"(b));
    return greater;
}
#endif

// What a vector of this norm is divided by: torch.nn.functional.normalize's max(norm, 1e-12).
// NaN stays NaN, so that an overflow shows.
__device__ inline float divisor(float norm) { return norm < 1e-12f ? 1e-12f : norm; }

// The sum over a warp, in a fixed order; every lane gets it.
__device__ inline float warp_sum(float x) {
    for (int step = WARP / 2; step; step /= 2) x += __shfl_xor_sync(EVERY_LANE, x, step);
    return x;
}

// The sum over a block of whole warps. `scratch` holds a float a warp.
__device__ inline float block_sum(float x, float *scratch) {
    const int warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    x = warp_sum(x);
    __syncthreads();  // scratch may still be read from the last sum
    if (threadIdx.x % WARP == 0) scratch[warp] = x;
    __syncthreads();
    float sum = 0.0f;
    for (int w = 0; w < warps; w++) sum += scratch[w];
    return sum;
}

#ifdef CODE_LEN
// How probable it is that two vectors of this cosine share a code of CODE_LEN bits.
__device__ inline float collision(float cosine) {
    // Rounding can push a cosine past 1, where acos is undefined. NaN stays NaN, so that an
    // overflow shows.
    const float inside = cosine > 1.0f ? 1.0f : cosine < -1.0f ? -1.0f : cosine;
    const float p = 1.0f - acosf(inside) * 0.318309886f;
    float power = CODE_LEN & 1 ? p : 1.0f, square = p;
#pragma unroll
    for (int bit = 2; bit <= CODE_LEN; bit *= 2) {
        square *= square;
        if (CODE_LEN & bit) power *= square;
    }
    return power;
}
#endif
