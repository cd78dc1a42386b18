/* bfloat16's numbers in float32's product: for attention, whose operands are packed anew for each call
 * and so need not be small, where nothing multiplies bfloat16. */
#ifndef YOSORT_GEMM_ROUNDED_H
#define YOSORT_GEMM_ROUNDED_H

#include "bfloat16.h"
#include "gemm_float32.h"

static void ys_round_panels(float *panels, int64_t bytes) {
    for (int64_t i = 0; i < bytes / (int64_t)sizeof(float); i += LANES)
        vf_store(panels + i, ys_bfloat16_rounded(vf_load(panels + i)));
}

static void ys_rounded_pack_weight(const void *weight, int64_t stride, int64_t count, int64_t depth,
                                   void *panels) {
    ys_float32_pack_weight(weight, stride, count, depth, panels);
    ys_round_panels((float *)panels, ys_panels_of(count) * ys_float32_panel(depth));
}

static void ys_rounded_pack_values(const float *value, int64_t stride, int64_t keys, int value_dim,
                                   void *panels) {
    ys_float32_pack_values(value, stride, keys, value_dim, panels);
    ys_round_panels((float *)panels, ys_panels_of(value_dim) * ys_float32_panel(keys));
}

static const void *ys_rounded_pack_rows(const float *x, int64_t stride, int64_t rows, int64_t depth,
                                        float *packed) {
    float *to = packed;
    for (int64_t at = 0; at < depth; at += KC) {
        const int64_t width = depth - at < KC ? depth - at : KC;
        for (int64_t r = 0; r < rows; r++, to += STRIDE)
            for (int64_t k = 0; k < width; k += LANES)  /* a row has room for whole vectors */
                vf_store(to + k, ys_bfloat16_rounded(vf_load_part(x + r * stride + at + k, width - k)));
    }
    return packed;
}

static const struct ys_product ys_rounded = {
    .name = "rounded",
    .nr = NR,
    .kc = KC,
    .mc = 192,
    .nc = ALL_COLUMNS,
    .packed_row = STRIDE,
    .panel_bytes = ys_float32_panel,
    .pack_weight = ys_rounded_pack_weight,
    .pack_values = ys_rounded_pack_values,
    .square = ys_bfloat16_square,
    .pack_rows = ys_rounded_pack_rows,
    .multiply = ys_float32_multiply,
};

#endif
