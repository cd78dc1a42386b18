/* NEON of 64-bit Arm, with its dot product and its products of matrices of bfloat16 and int8 where the
 * flags have them. */
#ifndef YOSORT_NEON_H
#define YOSORT_NEON_H

#include <arm_neon.h>

#define LANES 4
#include "vector.h"

/* 16 accumulators of 32 registers. */
#define MR 8
#define MANY_REGISTERS

YS_INLINE vi vi_round(vf x) { return (vi)vcvtnq_s32_f32((float32x4_t)x); }

#ifdef __ARM_FEATURE_DOTPROD
#  define INT8_PACK 4
typedef int8_t ys_int8_x;
YS_INLINE vi ys_int8_dot(vi sum, vi x, vi w) {
    return (vi)vdotq_s32((int32x4_t)sum, (int8x16_t)x, (int8x16_t)w);
}
YS_INLINE vi ys_int8_weights(const int8_t *p) { return vi_load((const int32_t *)p); }
#endif

#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC) && defined(__ARM_FEATURE_MATMUL_INT8)
#  define YS_PAIRS
YS_INLINE vf ys_bfloat16_pair(vf sum, vi x, vi w) {
    return (vf)vbfmmlaq_f32((float32x4_t)sum, (bfloat16x8_t)x, (bfloat16x8_t)w);
}
YS_INLINE vi ys_int8_pair(vi sum, vi x, vi w) {
    return (vi)vmmlaq_s32((int32x4_t)sum, (int8x16_t)x, (int8x16_t)w);
}
YS_INLINE vi ys_lower_halves(vi a, vi b) { return (vi)vzip1q_s64((int64x2_t)a, (int64x2_t)b); }
YS_INLINE vi ys_upper_halves(vi a, vi b) { return (vi)vzip2q_s64((int64x2_t)a, (int64x2_t)b); }
YS_INLINE void ys_bfloat16_store(uint16_t *to, vf x) {
    const bfloat16x4_t half = vcvt_bf16_f32((float32x4_t)x);
    memcpy(to, &half, sizeof half);
}
#endif

#endif
