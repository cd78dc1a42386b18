/* Activations over vectors, each within 1e-6 of its formula relative to the largest magnitude. */
#ifndef YOSORT_ACTIVATION_H
#define YOSORT_ACTIVATION_H

#include "simd.h"

/* NaN passes through both: a comparison with it is false, and then x itself is taken. */
YS_INLINE vf ys_at_most(vf x, float limit) { return vf_select(x > vf_set1(limit), vf_set1(limit), x); }
YS_INLINE vf ys_at_least(vf x, float limit) { return vf_select(x < vf_set1(limit), vf_set1(limit), x); }

/* erf(x) = x P(x^2) / Q(x^2) on |x| <= 3.92, where it reaches 1 in float32. Our own weighted
 * least-squares fit; within 3.4e-7 after rounding. */
YS_INLINE vf ys_erf(vf x) {
    const vf c = ys_at_least(ys_at_most(x, 3.92f), -3.92f), t = c * c;
    vf p = t * vf_set1(1.9895631808708458e-08f) + vf_set1(-1.971685833268566e-06f);
    p = p * t + vf_set1(0.00014487396401818842f);
    p = p * t + vf_set1(0.0038204584270715714f);
    p = p * t + vf_set1(0.05094103142619133f);
    p = p * t + vf_set1(0.2026546150445938f);
    p = p * t + vf_set1(1.1283791065216064f);
    vf q = t * vf_set1(0.0009854610543698072f) + vf_set1(0.014590918086469173f);
    q = q * t + vf_set1(0.11613309383392334f);
    q = q * t + vf_set1(0.5129289627075195f);
    q = q * t + vf_set1(1.0f);
    const vf one = vf_set1(1.0f), r = c * p / q;
    return vf_select(x > vf_set1(3.92f), one, vf_select(x < vf_set1(-3.92f), -one, r));
}

/* exp(x) = 2^n 2^f, n the nearest integer of x / ln 2: adding 1.5 * 2^23 rounds to it and leaves
 * it in the low bits. The polynomial of 2^f is within 2e-9; x is clamped to the finite range. */
YS_INLINE vf ys_exp(vf x) {
    const vf y = ys_at_least(ys_at_most(x, 88.0f), -87.0f) * vf_set1(1.44269504f);
    const vf shifted = y + vf_set1(12582912.0f);
    const vf f = y - (shifted - vf_set1(12582912.0f));
    vf p = f * vf_set1(0.00015478019486181438f) + vf_set1(0.001340043148957193f);
    p = p * f + vf_set1(0.009617994539439678f);
    p = p * f + vf_set1(0.05550327152013779f);
    p = p * f + vf_set1(0.24022652208805084f);
    p = p * f + vf_set1(0.6931471824645996f);
    p = p * f + vf_set1(1.0f);
    const vf scale = vf_from_bits((vi)((vu)vi_bits(shifted) << 23) + vi_set1(0x3f800000));
    return p * scale;
}

YS_INLINE vf ys_sigmoid(vf x) { return vf_set1(1.0f) / (vf_set1(1.0f) + ys_exp(-x)); }

/* Below 0.625 an odd polynomial, where 1 - 2 / (exp(2x) + 1) would cancel. */
YS_INLINE vf ys_tanh(vf x) {
    const vf t = x * x;
    vf p = t * vf_set1(-0.006117971148341894f) + vf_set1(0.02101423777639866f);
    p = p * t + vf_set1(-0.05385527387261391f);
    p = p * t + vf_set1(0.13332808017730713f);
    p = p * t + vf_set1(-0.333333283662796f);
    const vf large = vf_set1(1.0f) - vf_set1(2.0f) / (ys_exp(x + x) + vf_set1(1.0f));
    return vf_select(t < vf_set1(0.390625f), x + x * t * p, large);
}

YS_INLINE vf ys_gelu(vf x) {
    return vf_set1(0.5f) * x * (vf_set1(1.0f) + ys_erf(x * vf_set1(0.70710678f)));
}

/* x tanh(log(1 + e)), e = exp(x), is x (e^2 + 2e) / (e^2 + 2e + 2); from 20 on it is x. */
YS_INLINE vf ys_mish(vf x) {
    const vf e = ys_exp(ys_at_most(x, 20.0f)), n = e * e + vf_set1(2.0f) * e;
    return x * (n / (n + vf_set1(2.0f)));
}

YS_INLINE vf ys_gelu_tanh(vf x) {
    /* 0.5 (1 + tanh u) is sigmoid(2u); 2 sqrt(2 / pi) = 1.5957691 */
    return x * ys_sigmoid(vf_set1(1.5957691f) * (x + vf_set1(0.044715f) * x * x * x));
}

/* X(number, name, formula) for each, in the order of the numbers. */
#define YS_ACTIVATIONS(X)                                                                  \
    X(YS_LINEAR, "linear", x)                                                              \
    X(YS_GELU, "gelu", ys_gelu(x))                                                         \
    X(YS_GELU_10, "gelu_10", ys_at_least(ys_at_most(ys_gelu(x), 10.0f), -10.0f))           \
    X(YS_GELU_TANH, "gelu_tanh", ys_gelu_tanh(x))                                          \
    X(YS_QUICK_GELU, "quick_gelu", x * ys_sigmoid(vf_set1(1.702f) * x))                    \
    X(YS_RELU, "relu", ys_at_least(x, 0.0f))                                               \
    X(YS_SILU, "silu", x * ys_sigmoid(x))                                                  \
    X(YS_TANH, "tanh", ys_tanh(x))                                                         \
    X(YS_SIGMOID, "sigmoid", ys_sigmoid(x))                                                \
    X(YS_MISH, "mish", ys_mish(x))

#define X(number, name, formula) number,
enum ys_activation { YS_ACTIVATIONS(X) };
#undef X

#define X(number, name, formula) name,
static const char *const ys_activation_names[] = {YS_ACTIVATIONS(X) NULL};
#undef X

YS_INLINE vf ys_activate(vf x, int activation) {
#define X(number, name, formula) case number: return formula;
    switch (activation) { YS_ACTIVATIONS(X) default: return x; }
#undef X
}

#endif
