/* YOSO-E: out_i = sum_j (1 - acos(cosine of q_i and k_j) / pi)^L v_j, without an n x n array.
 *
 * Two products with a function between them: the keys of a head are the panels of the first, its
 * values those of the second. Both may be any that has pack_values. A block of query rows meets a block
 * (KC of the product) of keys at a time; their weights stay in the caches.
 *
 * The function is steep where a cosine is 1: one that is off by 2^-8 moves the angle by 5 degrees. So
 * lengths are taken of rows as they are multiplied, and cosines scaled after the product. Rounding then
 * only turns the vectors, by 2^-8 radians at most, and moves angles by what both turn. Rows
 * so long that float32 has not the square of their length are not expected.
 */
#ifndef YOSORT_EXPECTATION_H
#define YOSORT_EXPECTATION_H

#include "gemm_float32.h"

#define YS_NORM_EPS 1e-12f

/* length / norm, or length / 1e-12 where the norm is less; NaN stays NaN. */
YS_INLINE float ys_over_norm(float length, float square) {
    const float norm = sqrtf(square);
    return length / (norm < YS_NORM_EPS ? YS_NORM_EPS : norm);
}

/* The factor for products of a row: 1 over its length as it is multiplied; or, if lengths are to stay,
 * the length that it had over that. */
YS_INLINE float ys_row_scale(const struct ys_product *product, const float *x, int dim, int normalize) {
    return ys_over_norm(normalize ? 1.0f : sqrtf(ys_float32_square(x, dim)), product->square(x, dim));
}

/* Divide a row by its length (or by 1e-12). */
static void ys_normalize_row(float *x, int dim) {
    const float inverse = ys_over_norm(1.0f, ys_float32_square(x, dim));
    for (int d = 0; d < dim; d++) x[d] *= inverse;
}

YS_INLINE vf ys_power(vf p, int exponent) {
    vf result = exponent & 1 ? p : vf_set1(1.0f);
    for (exponent >>= 1; exponent; exponent >>= 1) {
        p *= p;
        if (exponent & 1) result *= p;
    }
    return result;
}

/* (1 - acos(s) / pi)^L. With a = |s| clamped to 1, acos(a) / pi = sqrt(1 - a) P(a); our own fit of
 * degree 6, within 1.1e-7 after rounding. For s < 0 the angle is reflected: 1 - acos(s) / pi =
 * acos(a) / pi. */
YS_INLINE vf ys_collision(vf s, int hash_code_len) {
    const vf one = vf_set1(1.0f);
    const vf a = ys_at_most(vf_from_bits(vi_bits(s) & vi_set1(0x7fffffff)), 1.0f);
    vf p = a * vf_set1(0.0007830648100934923f) + vf_set1(-0.0036960234865546227f);
    p = p * a + vf_set1(0.00871834997087717f);
    p = p * a + vf_set1(-0.015608951449394226f);
    p = p * a + vf_set1(0.02826768346130848f);
    p = p * a + vf_set1(-0.06830582022666931f);
    p = p * a + vf_set1(0.4999999701976776f);
    const vf angle = vf_sqrt(one - a) * p;
    return ys_power(vf_select(s < vf_set1(0.0f), angle, one - angle), hash_code_len);
}

/* Weights in place of products, which the scales of their rows and columns make cosines. */
YS_INLINE void ys_collisions(float *weights, int64_t stride, int64_t rows, int64_t columns,
                             const float *row_scales, const float *column_scales, int hash_code_len) {
    for (int64_t r = 0; r < rows; r++)
        /* The stride leaves room for whole vectors; what comes of columns past the last is not read. */
        for (int64_t j = 0; j < columns; j += LANES) {
            float *at = weights + r * stride + j;
            const vf scale = vf_set1(row_scales[r]) * vf_load(column_scales + j);
            vf_store(at, ys_collision(vf_load(at) * scale, hash_code_len));
        }
}

/* Constants in place of the usual exponents take the loop out of ys_power. */
static void ys_weigh(float *weights, int64_t stride, int64_t rows, int64_t columns,
                     const float *row_scales, const float *column_scales, int hash_code_len) {
#define X(n) ys_collisions(weights, stride, rows, columns, row_scales, column_scales, n)
    switch (hash_code_len) {
    case 8: X(8); break;
    case 9: X(9); break;
    default: X(hash_code_len);
    }
#undef X
}

/* Floats of a head's packed values; and of its packed keys, which are their scales and then panels. */
static int64_t ys_packed_values(const struct ys_product *product, int64_t keys, int value_dim) {
    return ys_panels_of(value_dim) * product->panel_bytes(keys) / (int64_t)sizeof(float);
}
static int64_t ys_packed_keys(const struct ys_product *product, int64_t keys, int dim) {
    return ys_panels_of(keys) * (NR + product->panel_bytes(dim) / (int64_t)sizeof(float));
}

/* Pack the keys of one text and head, [keys] rows, `stride` apart. */
static void ys_pack_keys(const struct ys_product *product, const float *key, int64_t stride,
                         int64_t keys, int dim, int normalize, float *packed_keys) {
    float *scales = packed_keys;
    char *panel = (char *)(scales + ys_panels_of(keys) * NR);
    for (int64_t first = 0; first < keys; first += NR, panel += product->panel_bytes(dim)) {
        const float *rows = key + first * stride;
        const int64_t here = keys - first < NR ? keys - first : NR;
        for (int64_t j = 0; j < here; j++) {
            if (first + j + AHEAD < keys) ys_prefetch(rows + (j + AHEAD) * stride, dim);
            scales[first + j] = ys_row_scale(product, rows + j * stride, dim, normalize);
        }
        for (int64_t j = here; j < NR; j++) scales[first + j] = 0.0f;
        product->pack_weight(rows, stride, here, dim, panel);
    }
}

/* Floats between the rows of a block of weights: as those of a packed block, see gemm.h. */
static int64_t ys_weights_stride(const struct ys_product *product) { return product->kc + CACHE_LINE; }

/* Floats of scratch for a block of query rows: packed, their weights of a block of keys as they are
 * made and as the product takes them, sums, and scales. */
static int64_t ys_expect_scratch(const struct ys_product *product, int64_t rows, int dim,
                                 int value_dim) {
    const struct ys_linear key_map = {product, NULL, NULL, NULL, dim, 0};
    return ys_packed_rows(&key_map, rows) + ys_packed_space(product, rows) +
           rows * (ys_weights_stride(product) + value_dim + 1);
}

/* One block of query rows of one text and head. query: [rows] rows, query_stride apart; out
 * likewise. */
static void ys_expect_rows(const struct ys_product *product, const float *query,
                           int64_t query_stride, int64_t rows, const float *packed_keys,
                           const float *packed_values, int64_t keys, int dim, int value_dim,
                           int hash_code_len, int normalize, float *out, int64_t out_stride,
                           float *scratch) {
    const float *key_scales = packed_keys, *panels = key_scales + ys_panels_of(keys) * NR;
    const struct ys_linear key_map = {product, panels, NULL, NULL, dim, keys};
    const struct ys_linear value_map = {product, packed_values, NULL, NULL, keys, value_dim};
    const int64_t stride = ys_weights_stride(product);
    const void *packed = product->pack_rows(query, query_stride, rows, dim, scratch);
    float *weights = scratch + ys_packed_rows(&key_map, rows);
    float *block = weights + rows * stride, *sums = block + ys_packed_space(product, rows);
    float *row_scales = sums + rows * value_dim;
    for (int64_t r = 0; r < rows; r++)
        row_scales[r] = ys_row_scale(product, query + r * query_stride, dim, normalize);
    if (keys == 0) memset(sums, 0, (size_t)(rows * value_dim) * sizeof(float));
    for (int64_t at = 0; at < keys; at += product->kc) {
        const int64_t here = keys - at < product->kc ? keys - at : product->kc;
        const struct ys_epilogue e = {sums, value_dim, at > 0, NULL, YS_LINEAR};
        ys_multiply(&key_map, packed, rows, YS_LINEAR, at, at + here, weights, stride);
        ys_weigh(weights, stride, rows, here, row_scales, key_scales + at, hash_code_len);
        product->multiply(&value_map, product->pack_rows(weights, stride, rows, here, block), rows,
                          at, here, 0, value_dim, &e);
    }
    for (int64_t r = 0; r < rows; r++) {
        if (normalize) ys_normalize_row(sums + r * value_dim, value_dim);
        memcpy(out + r * out_stride, sums + r * value_dim, (size_t)value_dim * sizeof(float));
    }
}

#endif
