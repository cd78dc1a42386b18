/* The product of float32: see gemm.h. A packed row is KC floats, and room to its stride. */
#ifndef YOSORT_GEMM_FLOAT32_H
#define YOSORT_GEMM_FLOAT32_H

#include "gemm.h"

#define KC 384
#define STRIDE (KC + CACHE_LINE)

static int64_t ys_float32_panel(int64_t depth) { return depth * NR * (int64_t)sizeof(float); }

static void ys_float32_pack_weight(const void *weight, int64_t stride, int64_t count, int64_t depth,
                                   void *panels) {
    for (int64_t at = 0; at < count; at += NR)
        for (int64_t begin = 0; begin < depth; begin += PART) {
            const int64_t width = depth - begin < PART ? depth - begin : PART;
            float *YS_RESTRICT to = (float *)panels + at * depth + begin * NR;
            for (int64_t j = 0; j < NR; j++) {
                const float *YS_RESTRICT row = (const float *)weight + (at + j) * stride + begin;
                for (int64_t k = 0; k < width; k++) to[k * NR + j] = at + j < count ? row[k] : 0.0f;
            }
        }
}

static void ys_float32_pack_values(const float *value, int64_t stride, int64_t keys, int value_dim,
                                   void *panels) {
    for (int first = 0; first < value_dim; first += NR) {
        const int here = value_dim - first < NR ? value_dim - first : NR;
        for (int64_t j = 0; j < keys; j++) {
            float *to = (float *)panels + first * keys + j * NR;
            if (j + AHEAD < keys) ys_prefetch(value + (j + AHEAD) * stride + first, here);
            memcpy(to, value + j * stride + first, (size_t)here * sizeof(float));
            memset(to + here, 0, (size_t)(NR - here) * sizeof(float));
        }
    }
}

static float ys_float32_square(const float *x, int64_t width) {
    const int64_t whole = width / LANES * LANES;
    vf squares = vf_set1(0.0f);
    float square = 0.0f;
    for (int64_t k = 0; k < whole; k += LANES) squares += vf_load(x + k) * vf_load(x + k);
    for (int64_t k = whole; k < width; k++) square += x[k] * x[k];
    return square + vf_sum(squares);
}

static const void *ys_float32_pack_rows(const float *x, int64_t stride, int64_t rows, int64_t depth,
                                        float *packed) {
    if (stride == STRIDE && depth <= KC) return x;
    float *block = packed;
    for (int64_t at = 0; at < depth; at += KC) {
        const int64_t width = depth - at < KC ? depth - at : KC;
        for (int64_t r = 0; r < rows; r++)
            memcpy(block + r * STRIDE, x + r * stride + at, (size_t)width * sizeof(float));
        block += rows * STRIDE;
    }
    return packed;
}

YS_INLINE void ys_float32_step(int rows, const float *YS_RESTRICT a, const float *YS_RESTRICT b,
                               vf (*YS_RESTRICT sum)[2]) {
    const vf b0 = vf_load(b), b1 = vf_load(b + LANES);
    for (int r = 0; r < rows; r++) {
        const vf x = vf_set1(a[r * STRIDE]);
        sum[r][0] += x * b0;
        sum[r][1] += x * b1;
    }
}

YS_INLINE void ys_float32_sums(int rows, const struct ys_tile *t, vf (*YS_RESTRICT sum)[2]) {
    const float *a = (const float *)t->a, *b = (const float *)t->b, *ahead = (const float *)t->ahead;
    const ptrdiff_t depth = t->steps;
    const int lines = t->lines;
    ptrdiff_t k = 0;
    for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = vf_set1(0.0f);
    for (; k + STEPS <= depth; k += STEPS) {
        for (int i = 0; i < lines; i++) ys_prefetch_later(ahead + k * NR + i * CACHE_LINE);
        for (int i = 0; i < STEPS; i++) ys_float32_step(rows, a + k + i, b + (k + i) * NR, sum);
    }
    for (; k < depth; k++) ys_float32_step(rows, a + k, b + k * NR, sum);
}

static void ys_float32_kernel(ptrdiff_t rows, const struct ys_tile *t) {
    vf sum[MR][2];
#define X(n) case n: ys_float32_sums(n, t, sum); ys_finish_tile(n, sum, t); break;
    switch (rows) { YS_HEIGHTS(MR, X) }
#undef X
}

static void ys_float32_multiply(const struct ys_linear *map, const void *block, int64_t rows,
                                int64_t at, int64_t depth, int64_t begin, int64_t end,
                                const struct ys_epilogue *e) {
    const char *panels = (const char *)map->panels;
    const int64_t panel_bytes = ys_float32_panel(map->depth), step = NR * (int64_t)sizeof(float);
    struct ys_tile t = {.a = (const char *)block, .steps = depth};
    for (int64_t column = begin; column < end; column += NR) {
        t.b = panels + column / NR * panel_bytes + at * step;
        t.ahead = t.b + panel_bytes;
        ys_start_panel(&t, e, begin, column, end);
        ys_panel_tiles(ys_float32_kernel, rows, MR, 1, STRIDE * sizeof(float), step, t);
    }
}

static const struct ys_product ys_float32 = {
    .name = "float32",
    .native = 1,
    .nr = NR,
    .kc = KC,
    /* Their buffers fit a core's second-level cache, and reading all weights once for so many rows
     * costs less than computing with them. */
    .mc = 192,
    .nc = ALL_COLUMNS,
    .packed_row = STRIDE,
    .panel_bytes = ys_float32_panel,
    .pack_weight = ys_float32_pack_weight,
    .pack_values = ys_float32_pack_values,
    .square = ys_float32_square,
    .pack_rows = ys_float32_pack_rows,
    .multiply = ys_float32_multiply,
};

#endif
