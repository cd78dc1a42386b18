/* The product of int8 weights with floats: bit for bit that of a float32
 * map of the same values, and it reads a quarter of the memory. A panel is int8 [depth][NR]. */
#ifndef YOSORT_GEMM_NARROW_H
#define YOSORT_GEMM_NARROW_H

#include "gemm_widened.h"

static int64_t ys_narrow_panel(int64_t depth) { return depth * NR; }

static void ys_narrow_pack_weight(const void *weight, int64_t stride, int64_t count, int64_t depth,
                                  void *panels) {
    int8_t *to = (int8_t *)panels;
    for (int64_t at = 0; at < count; at += NR)
        for (int64_t k = 0; k < depth; k++)
            for (int64_t j = 0; j < NR; j++)
                *to++ = at + j < count ? ((const int8_t *)weight)[(at + j) * stride + k] : 0;
}

static void ys_narrow_widen(const struct ys_linear *map, int64_t column, int64_t at, int64_t depth,
                            float *panel) {
    const int8_t *from = (const int8_t *)map->panels + column * map->depth + at * NR;
    for (int64_t k = 0; k < depth; k++) {
        ys_prefetch_later(from + (depth + k) * NR);     /* the block that is next in memory */
        for (int64_t j = 0; j < NR; j++)
            panel[k * NR + j] = (float)from[k * NR + j] * map->scales[column + j];
    }
}

static void ys_narrow_multiply(const struct ys_linear *map, const void *block, int64_t rows,
                               int64_t at, int64_t depth, int64_t begin, int64_t end,
                               const struct ys_epilogue *e) {
    ys_multiply_widened(ys_narrow_widen, map, block, rows, at, depth, depth, begin, end, e);
}

static const struct ys_product ys_narrow = {
    .name = "narrow",
    .quantized = 1,
    .nr = NR,
    .kc = KC,
    .mc = 192,
    .nc = NR,       /* a tile's sums wait in the cache for the rest of the depth */
    .packed_row = STRIDE,
    .panel_bytes = ys_narrow_panel,
    .pack_weight = ys_narrow_pack_weight,
    .pack_rows = ys_float32_pack_rows,
    .multiply = ys_narrow_multiply,
};

#endif
