/* SSE2, which every x86-64 has. */
#ifndef YOSORT_SSE2_H
#define YOSORT_SSE2_H

#include <immintrin.h>

#define LANES 4
#include "vector.h"

/* 8 accumulators of 16 registers. */
#define MR 4

YS_INLINE vi vi_round(vf x) { return (vi)_mm_cvtps_epi32((__m128)x); }

#define INT8_PACK 2
typedef int16_t ys_int8_x;
YS_INLINE vi ys_int8_dot(vi sum, vi x, vi w) { return sum + (vi)_mm_madd_epi16((__m128i)x, (__m128i)w); }
YS_INLINE vi ys_int8_weights(const int8_t *p) {
    const __m128i bytes = _mm_loadl_epi64((const void *)p);
    return (vi)_mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
}

#endif
