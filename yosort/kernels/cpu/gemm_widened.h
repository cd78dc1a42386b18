/* Float32 products of weights that are held narrower, and made floats block by block. */
#ifndef YOSORT_GEMM_WIDENED_H
#define YOSORT_GEMM_WIDENED_H

#include "gemm_float32.h"

/* Make floats [steps][NR], as float32's panels are, of depth [at, at + depth) of the panel at `column`. */
typedef void ys_widen(const struct ys_linear *map, int64_t column, int64_t at, int64_t depth,
                      float *panel);

/* See ys_product's multiply; `steps` of the inner loop, KC at most. */
YS_INLINE void ys_multiply_widened(ys_widen *widen, const struct ys_linear *map, const void *block,
                                   int64_t rows, int64_t at, int64_t depth, int64_t steps,
                                   int64_t begin, int64_t end, const struct ys_epilogue *e) {
    _Alignas(64) float panel[KC * NR];
    struct ys_tile t = {.a = (const char *)block, .b = (const char *)panel, .steps = steps};
    t.ahead = t.b;
    for (int64_t column = begin; column < end; column += NR) {
        widen(map, column, at, depth, panel);
        ys_start_panel(&t, e, begin, column, end);
        ys_panel_tiles(ys_float32_kernel, rows, MR, 1, STRIDE * sizeof(float), 0, t);
    }
}

#endif
