/* NEON of 64-bit Arm, with its dot product where the flags have it. */
#ifndef YOSORT_NEON_H
#define YOSORT_NEON_H

#include <arm_neon.h>

#define LANES 4
#include "vector.h"

/* 16 accumulators of 32 registers. */
#define MR 8

YS_INLINE vi vi_round(vf x) { return (vi)vcvtnq_s32_f32((float32x4_t)x); }

#ifdef __ARM_FEATURE_DOTPROD
#  define INT8_PACK 4
typedef int8_t ys_int8_x;
YS_INLINE vi ys_int8_dot(vi sum, vi x, vi w) {
    return (vi)vdotq_s32((int32x4_t)sum, (int8x16_t)x, (int8x16_t)w);
}
YS_INLINE vi ys_int8_weights(const int8_t *p) { return vi_load((const int32_t *)p); }
#endif

#endif
