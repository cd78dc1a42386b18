/* Layer normalisation of rows, with the residual added first. */
#ifndef YOSORT_LAYER_NORM_H
#define YOSORT_LAYER_NORM_H

#include "simd.h"

/* out = (x + residual - mean) / sqrt(variance + eps) * scale + shift, one row [width].
 * residual may be NULL; out may be x. Two passes over a row that is in cache: exact variance. */
static void ys_layer_norm_row(const float *x, const float *residual, const float *scale,
                              const float *shift, float eps, ptrdiff_t width, float *out) {
    const ptrdiff_t whole = width / LANES * LANES;
    vf sums = vf_set1(0.0f);
    float sum = 0.0f;
    for (ptrdiff_t i = 0; i < whole; i += LANES) {
        vf v = vf_load(x + i);
        if (residual) v += vf_load(residual + i);
        vf_store(out + i, v);
        sums += v;
    }
    for (ptrdiff_t i = whole; i < width; i++) {
        out[i] = x[i] + (residual ? residual[i] : 0.0f);
        sum += out[i];
    }
    const float mean = (sum + vf_sum(sums)) / (float)width;
    vf squares = vf_set1(0.0f);
    float square = 0.0f;
    for (ptrdiff_t i = 0; i < whole; i += LANES) {
        const vf d = vf_load(out + i) - vf_set1(mean);
        squares += d * d;
    }
    for (ptrdiff_t i = whole; i < width; i++) square += (out[i] - mean) * (out[i] - mean);
    const float variance = (square + vf_sum(squares)) / (float)width;
    const float inverse = 1.0f / sqrtf(variance + eps);
    for (ptrdiff_t i = 0; i < whole; i += LANES) {
        const vf d = (vf_load(out + i) - vf_set1(mean)) * vf_set1(inverse);
        vf_store(out + i, d * vf_load(scale + i) + vf_load(shift + i));
    }
    for (ptrdiff_t i = whole; i < width; i++)
        out[i] = (out[i] - mean) * inverse * scale[i] + shift[i];
}

#endif
