/* AVX2 and FMA, with AVX-VNNI where the flags have it. */
#ifndef YOSORT_AVX2_H
#define YOSORT_AVX2_H

#include <immintrin.h>

#define LANES 8
#include "vector.h"

/* 12 accumulators of 16 registers. */
#define MR 6

YS_INLINE vi vi_round(vf x) { return (vi)_mm256_cvtps_epi32((__m256)x); }

#ifdef __AVXVNNI__
#  define INT8_PACK 4
#  define INT8_OFFSET 128
typedef uint8_t ys_int8_x;
YS_INLINE vi ys_int8_dot(vi sum, vi x, vi w) {
    return (vi)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)x, (__m256i)w);
}
YS_INLINE vi ys_int8_weights(const int8_t *p) { return vi_load((const int32_t *)p); }
#else
#  define INT8_PACK 2
typedef int16_t ys_int8_x;
YS_INLINE vi ys_int8_dot(vi sum, vi x, vi w) { return sum + (vi)_mm256_madd_epi16((__m256i)x, (__m256i)w); }
YS_INLINE vi ys_int8_weights(const int8_t *p) {
    return (vi)_mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)p));
}
#endif

#endif
