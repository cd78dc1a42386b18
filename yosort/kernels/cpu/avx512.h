/* AVX-512 (F and BW), with its VNNI and BF16 where the flags have them. */
#ifndef YOSORT_AVX512_H
#define YOSORT_AVX512_H

#include <immintrin.h>

#define LANES 16
#include "vector.h"

/* 24 accumulators, 2 of the panel, 1 broadcast: of 32 registers. */
#define MR 12
#define MANY_REGISTERS

YS_INLINE vi vi_round(vf x) { return (vi)_mm512_cvtps_epi32((__m512)x); }

/* A mask picks the lanes: no vector of bits has to be made and cut. */
#define YS_OR_WHERE_POSITIVE
YS_INLINE vi vi_or_where_positive(vi code, vf x, vi bits) {
    const __mmask16 positive = _mm512_cmp_ps_mask((__m512)x, _mm512_setzero_ps(), _CMP_GT_OQ);
    return (vi)_mm512_mask_or_epi32((__m512i)code, positive, (__m512i)code, (__m512i)bits);
}

#ifdef __AVX512VNNI__
#  define INT8_PACK 4
#  define INT8_OFFSET 128
typedef uint8_t ys_int8_x;
YS_INLINE vi ys_int8_dot(vi sum, vi x, vi w) {
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)x, (__m512i)w);
}
YS_INLINE vi ys_int8_weights(const int8_t *p) { return vi_load((const int32_t *)p); }
#else
#  define INT8_PACK 2
typedef int16_t ys_int8_x;
YS_INLINE vi ys_int8_dot(vi sum, vi x, vi w) { return sum + (vi)_mm512_madd_epi16((__m512i)x, (__m512i)w); }
YS_INLINE vi ys_int8_weights(const int8_t *p) {
    return (vi)_mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)p));
}
#endif

#ifdef __AVX512BF16__
#  define YS_BFLOAT16_DOT
YS_INLINE vf ys_bfloat16_dot(vf sum, vi x, vi w) {
    return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)x, (__m512bh)w);
}
YS_INLINE void ys_bfloat16_store(uint16_t *to, vf x) {
    const __m256bh half = _mm512_cvtneps_pbh((__m512)x);
    memcpy(to, &half, sizeof half);
}
#endif

#endif
