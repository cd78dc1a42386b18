/* Rows of floats as 8-bit integers with a scale: x is about scale * q, q in [-127, 127].
 *
 *     scale = max |x| / 127,  q = x * (127 / max |x|) rounded to the nearest, ties to even
 *
 * The same bits on every instruction set: nothing here can be fused or summed in another order.
 */
#ifndef YOSORT_QUANTIZE_H
#define YOSORT_QUANTIZE_H

#include "simd.h"

/* A row below this is zero: 127 / max |x| would come near float's range. */
#define YS_NOTHING 1e-30f

/* max |x|. Magnitudes are compared as integers, which order as floats do and put NaN on top: a row
 * with a NaN gets a scale of NaN, and so do its products. */
static float ys_largest(const float *x, ptrdiff_t count) {
    const ptrdiff_t whole = count / (4 * LANES) * (4 * LANES);
    const vi magnitude = vi_set1(0x7fffffff);
    /* Four at a time: one comparison need not wait for the one before. */
    vi largest[4] = {vi_set1(0), vi_set1(0), vi_set1(0), vi_set1(0)};
    for (ptrdiff_t i = 0; i < whole; i += 4 * LANES)
        for (int j = 0; j < 4; j++)
            largest[j] = vi_max(largest[j], vi_bits(vf_load(x + i + j * LANES)) & magnitude);
    int32_t lane[LANES];
    vi_store(lane, vi_max(vi_max(largest[0], largest[1]), vi_max(largest[2], largest[3])));
    int32_t most = 0;
    for (int i = 0; i < LANES; i++) if (lane[i] > most) most = lane[i];
    for (ptrdiff_t i = whole; i < count; i++) {
        int32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7fffffff;
        if (bits > most) most = bits;
    }
    float result;
    memcpy(&result, &most, sizeof result);
    return result;
}

/* The scale of a row whose largest magnitude is given, and what to multiply by before rounding. */
YS_INLINE float ys_scale(float largest, float *inverse) {
    if (largest < YS_NOTHING) { *inverse = 0.0f; return 0.0f; }
    *inverse = 127.0f / largest;
    return largest / 127.0f;
}

/* One row of weights [count] as int8; returns its scale. */
static float ys_quantize_row(const float *x, ptrdiff_t count, int8_t *q) {
    float inverse;
    const float scale = ys_scale(ys_largest(x, count), &inverse);
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        int32_t lane[LANES];
        vi_store(lane, vi_round(vf_load_part(x + i, count - i) * vf_set1(inverse)));
        const ptrdiff_t here = count - i < LANES ? count - i : LANES;
        for (ptrdiff_t j = 0; j < here; j++) q[i + j] = (int8_t)lane[j];
    }
    return scale;
}

#endif
