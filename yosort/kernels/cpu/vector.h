/* One vector type for every loop: `vf`, LANES floats wide, and `vi`, as many int32. An instruction set's
 * file says how many LANES; GCC and Clang take the loops as vector extensions, which lower to its
 * instructions. LANES == 1 is the same source as plain scalar C.
 */
#ifndef YOSORT_VECTOR_H
#define YOSORT_VECTOR_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if LANES > 1
#  define YS_INLINE static inline __attribute__((always_inline))
#  define YS_RESTRICT __restrict__
typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * LANES)));
#else
#  define YS_INLINE static __inline
#  define YS_RESTRICT __restrict
typedef float vf;
typedef int32_t vi;
typedef uint32_t vu;
#endif

/* memcpy is how C spells an unaligned load or store: one instruction, no aliasing promise broken. */
YS_INLINE vf vf_load(const float *p) { vf x; memcpy(&x, p, sizeof x); return x; }
YS_INLINE void vf_store(float *p, vf x) { memcpy(p, &x, sizeof x); }
YS_INLINE vi vi_load(const int32_t *p) { vi x; memcpy(&x, p, sizeof x); return x; }
YS_INLINE void vi_store(int32_t *p, vi x) { memcpy(p, &x, sizeof x); }
YS_INLINE vi vi_bits(vf x) { vi y; memcpy(&y, &x, sizeof y); return y; }
YS_INLINE vf vf_from_bits(vi x) { vf y; memcpy(&y, &x, sizeof y); return y; }

#if LANES == 1
YS_INLINE vf vf_set1(float x) { return x; }
YS_INLINE vi vi_set1(int32_t x) { return x; }
/* mask ? a : b, lane by lane; mask is what comparing two vf gives. */
YS_INLINE vf vf_select(int mask, vf a, vf b) { return mask ? a : b; }
/* All bits set where x > 0, none elsewhere (NaN included). */
YS_INLINE vi vi_positive(vf x) { return -(x > 0.0f); }
YS_INLINE vi vi_max(vi a, vi b) { return a > b ? a : b; }
YS_INLINE vf vf_of(vi x) { return (float)x; }
YS_INLINE vf vf_sqrt(vf x) { return sqrtf(x); }
#else
YS_INLINE vf vf_set1(float x) { return x - (vf){0}; }
YS_INLINE vi vi_set1(int32_t x) { return x - (vi){0}; }
YS_INLINE vf vf_select(vi mask, vf a, vf b) {
    return vf_from_bits((mask & vi_bits(a)) | (~mask & vi_bits(b)));
}
YS_INLINE vi vi_positive(vf x) { return x > vf_set1(0.0f); }
YS_INLINE vi vi_max(vi a, vi b) { const vi m = a > b; return (m & a) | (~m & b); }
YS_INLINE vf vf_of(vi x) { return __builtin_convertvector(x, vf); }
/* Lanes of a and b in turn, a's first: those of their lower halves, and of their upper ones. */
#if LANES == 4
#  define YS_LOWER 0, 4, 1, 5
#  define YS_UPPER 2, 6, 3, 7
#elif LANES == 8
#  define YS_LOWER 0, 8, 1, 9, 2, 10, 3, 11
#  define YS_UPPER 4, 12, 5, 13, 6, 14, 7, 15
#else
#  define YS_LOWER 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#  define YS_UPPER 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#endif
#ifdef __clang__
YS_INLINE vf vf_lower(vf a, vf b) { return __builtin_shufflevector(a, b, YS_LOWER); }
YS_INLINE vf vf_upper(vf a, vf b) { return __builtin_shufflevector(a, b, YS_UPPER); }
#else
YS_INLINE vf vf_lower(vf a, vf b) { return __builtin_shuffle(a, b, (vi){YS_LOWER}); }
YS_INLINE vf vf_upper(vf a, vf b) { return __builtin_shuffle(a, b, (vi){YS_UPPER}); }
#endif
/* There is no vector operator for it; compilers make one instruction of this loop. */
YS_INLINE vf vf_sqrt(vf x) {
    float lane[LANES];
    memcpy(lane, &x, sizeof lane);
    for (int i = 0; i < LANES; i++) lane[i] = sqrtf(lane[i]);
    memcpy(&x, lane, sizeof x);
    return x;
}
#endif

/* A vector of `count` values, LANES at most, zeros behind them. */
YS_INLINE vf vf_load_part(const float *x, ptrdiff_t count) {
    if (count >= LANES) return vf_load(x);
    float part[LANES] = {0};
    if (count > 0) memcpy(part, x, (size_t)count * sizeof(float));
    return vf_load(part);
}

/* Store the first `count` lanes, LANES at most. */
YS_INLINE void vf_store_part(float *to, vf x, ptrdiff_t count) {
    if (count >= LANES) {
        vf_store(to, x);
    } else if (count > 0) {
        float part[LANES];
        vf_store(part, x);
        memcpy(to, part, (size_t)count * sizeof(float));
    }
}

#ifdef __GNUC__
#  define YS_PREFETCH(address, level) __builtin_prefetch(address, 0, level)
#else
#  define YS_PREFETCH(address, level) (void)(address)
#endif
#define AHEAD 8         /* rows to be ahead by */
#define CACHE_LINE 16   /* floats */

/* Ask for `count` floats of a row that will be read soon. Rows of one head lie a whole hidden state
 * apart, on pages of their own, where no hardware prefetcher follows. */
YS_INLINE void ys_prefetch(const float *row, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i += CACHE_LINE) YS_PREFETCH(row + i, 3);
}

/* Ask for one cache line that will be read after much else: into the second-level cache only. */
YS_INLINE void ys_prefetch_later(const void *line) { YS_PREFETCH(line, 2); }

/* The sum of all lanes, by halves: a short chain and a fixed order. */
YS_INLINE float vf_sum(vf x) {
    float lane[LANES];
    vf_store(lane, x);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

#endif
