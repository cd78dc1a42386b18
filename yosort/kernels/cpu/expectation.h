/* YOSO-E: out_i = sum_j (1 - acos(q_i . k_j) / pi)^L v_j, without an n x n array.
 *
 * Two products with a function between them: the keys of a head are the panels of the first, its
 * values those of the second. The first is float32's, since the function is steep where a cosine is 1;
 * the second may be any that has pack_values. A block of query rows meets a block (KC of the second
 * product) of keys at a time; their weights stay in the caches.
 */
#ifndef YOSORT_EXPECTATION_H
#define YOSORT_EXPECTATION_H

#include "gemm_float32.h"

#define YS_NORM_EPS 1e-12f

YS_INLINE float ys_inverse_norm(const float *x, int dim) {
    const int whole = dim / LANES * LANES;
    vf squares = vf_set1(0.0f);
    float square = 0.0f;
    for (int d = 0; d < whole; d += LANES) squares += vf_load(x + d) * vf_load(x + d);
    for (int d = whole; d < dim; d++) square += x[d] * x[d];
    const float norm = sqrtf(square + vf_sum(squares));
    return 1.0f / (norm < YS_NORM_EPS ? YS_NORM_EPS : norm); /* NaN stays NaN */
}

/* Divide a row by its length (or by 1e-12). */
static void ys_normalize_row(float *x, int dim) {
    const float inverse = ys_inverse_norm(x, dim);
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

YS_INLINE void ys_collisions(float *weights, int64_t stride, int64_t rows, int64_t columns,
                             int hash_code_len) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < columns; j += LANES) {  /* the stride leaves room for whole vectors */
            float *at = weights + r * stride + j;
            vf_store(at, ys_collision(vf_load(at), hash_code_len));
        }
}

/* Constants in place of the usual exponents take the loop out of ys_power. */
static void ys_weigh(float *weights, int64_t stride, int64_t rows, int64_t columns,
                     int hash_code_len) {
    switch (hash_code_len) {
    case 8: ys_collisions(weights, stride, rows, columns, 8); break;
    case 9: ys_collisions(weights, stride, rows, columns, 9); break;
    default: ys_collisions(weights, stride, rows, columns, hash_code_len);
    }
}

static int64_t ys_round_up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }

/* Floats of a head's packed keys and values. */
static int64_t ys_packed_keys(int64_t keys, int dim) { return ys_round_up(keys, NR) * dim; }
static int64_t ys_packed_values(const struct ys_product *product, int64_t keys, int value_dim) {
    return ys_round_up(value_dim, NR) / NR * product->panel_bytes(keys) / (int64_t)sizeof(float);
}

/* Pack the keys of one text and head, [keys] rows, `stride` apart, as [keys / NR][dim][NR]. */
static void ys_pack_keys(const float *key, int64_t stride, int64_t keys, int dim, int normalize,
                         float *packed_keys) {
    for (int64_t first = 0; first < keys; first += NR) {
        float *panel = packed_keys + first * dim;
        const int64_t here = keys - first < NR ? keys - first : NR;
        for (int64_t j = 0; j < here; j++) {
            const float *row = key + (first + j) * stride;
            if (first + j + AHEAD < keys) ys_prefetch(row + AHEAD * stride, dim);
            const float scale = normalize ? ys_inverse_norm(row, dim) : 1.0f;
            for (int d = 0; d < dim; d++) panel[d * NR + j] = row[d] * scale;
        }
        for (int64_t j = here; j < NR; j++)
            for (int d = 0; d < dim; d++) panel[d * NR + j] = 0.0f;
    }
}

/* Floats between the rows of a block of weights: as those of a packed block, see gemm.h. */
static int64_t ys_weights_stride(const struct ys_product *product) { return product->kc + CACHE_LINE; }

/* Floats of scratch for a block of query rows: packed, their weights of a block of keys as they are
 * made and as the product takes them, and sums. */
static int64_t ys_expect_scratch(const struct ys_product *product, int64_t rows, int dim,
                                 int value_dim) {
    return rows * (ys_round_up(dim, KC) / KC * STRIDE + ys_weights_stride(product) + value_dim) +
           ys_packed_space(product, rows);
}

/* One block of query rows of one text and head. query: [rows] rows, query_stride apart; out
 * likewise. */
static void ys_expect_rows(const struct ys_product *product, const float *query,
                           int64_t query_stride, int64_t rows, const float *packed_keys,
                           const float *packed_values, int64_t keys, int dim, int value_dim,
                           int hash_code_len, int normalize, float *out, int64_t out_stride,
                           float *scratch) {
    const struct ys_linear key_map = {&ys_float32, packed_keys, NULL, NULL, dim, keys};
    const struct ys_linear value_map = {product, packed_values, NULL, NULL, keys, value_dim};
    const int64_t stride = ys_weights_stride(product);
    float *packed = scratch, *weights = packed + ys_packed_rows(&key_map, rows);
    float *block = weights + rows * stride, *sums = block + ys_packed_space(product, rows);
    for (int64_t r = 0; r < rows; r++) {
        const float *row = query + r * query_stride;
        const float scale = normalize ? ys_inverse_norm(row, dim) : 1.0f;
        for (int at = 0; at < dim; at += KC) {
            float *to = packed + (at / KC * rows + r) * STRIDE;
            const int here = dim - at < KC ? dim - at : KC;
            for (int d = 0; d < here; d++) to[d] = row[at + d] * scale;
        }
    }
    if (keys == 0) memset(sums, 0, (size_t)(rows * value_dim) * sizeof(float));
    for (int64_t at = 0; at < keys; at += product->kc) {
        const int64_t here = keys - at < product->kc ? keys - at : product->kc;
        const struct ys_epilogue e = {sums, value_dim, at > 0, NULL, YS_LINEAR};
        ys_multiply(&key_map, packed, rows, YS_LINEAR, at, at + here, weights, stride);
        ys_weigh(weights, stride, rows, here, hash_code_len);
        product->multiply(&value_map, product->pack_rows(weights, stride, rows, here, block), rows,
                          at, here, 0, value_dim, &e);
    }
    for (int64_t r = 0; r < rows; r++) {
        if (normalize) ys_normalize_row(sums + r * value_dim, value_dim);
        memcpy(out + r * out_stride, sums + r * value_dim, (size_t)value_dim * sizeof(float));
    }
}

#endif
