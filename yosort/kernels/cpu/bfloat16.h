/* bfloat16: the upper half of a float, rounded to the nearest, ties to even; NaN stays NaN. */
#ifndef YOSORT_BFLOAT16_H
#define YOSORT_BFLOAT16_H

#include "simd.h"

static uint32_t ys_bfloat16_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (x != x) return bits >> 16 | 0x40;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

YS_INLINE float ys_bfloat16_round(float x) {
    const uint32_t bits = ys_bfloat16_bits(x) << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
}

YS_INLINE vf ys_bfloat16_rounded(vf x) {
    const vu bits = (vu)vi_bits(x);
    const vu up = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000, quiet = (bits | 0x400000) & 0xffff0000;
    return vf_select(x == x, vf_from_bits((vi)up), vf_from_bits((vi)quiet));
}

/* The squared length of a row that is rounded. */
static float ys_bfloat16_square(const float *x, int64_t width) {
    vf squares = vf_set1(0.0f);
    for (int64_t k = 0; k < width; k += LANES) {
        const vf part = ys_bfloat16_rounded(vf_load_part(x + k, width - k));
        squares += part * part;
    }
    return vf_sum(squares);
}

/* Two neighbouring values as a word, the first in its lower half; and back, LANES words at once. */
YS_INLINE vi ys_bfloat16_words(vf even, vf odd) {
    return (vi)((vu)vi_bits(ys_bfloat16_rounded(even)) >> 16) | vi_bits(ys_bfloat16_rounded(odd));
}
YS_INLINE vf ys_bfloat16_even(vi word) { return vf_from_bits((vi)((vu)word << 16)); }
YS_INLINE vf ys_bfloat16_odd(vi word) { return vf_from_bits(word & vi_set1((int32_t)0xffff0000)); }

#if !defined(YS_BFLOAT16_DOT) && !defined(YS_PAIRS)
YS_INLINE void ys_bfloat16_store(uint16_t *to, vf x) {
    float lane[LANES];
    vf_store(lane, x);
    for (int i = 0; i < LANES; i++) to[i] = (uint16_t)ys_bfloat16_bits(lane[i]);
}
#endif

#endif
