/* A prepared linear map, whichever way its weights are held, applied to blocks of rows:
 *
 *     FLOAT32   float panels (gemm.h)
 *     INT8      int8 panels, rows quantised on the way, sums in int32 (gemm_int8.h)
 *     NARROW    int8 panels, which become floats panel by panel: a float32 product, bit for bit that
 *               of a FLOAT32 map of the same values, which reads a quarter of the memory
 */
#ifndef YOSORT_LINEAR_H
#define YOSORT_LINEAR_H

#include "gemm.h"
#include "gemm_int8.h"

enum ys_kind { YS_FLOAT32, YS_INT8, YS_NARROW };

/* panels: as `kind` says; bias and scales (of the int8 kinds) padded like the panels' columns. */
struct ys_linear {
    const void *panels;
    const float *bias, *scales;
    int64_t depth, columns;
    int kind;
};

/* Bytes of the panels of a map. */
static int64_t ys_panels_size(int kind, int64_t depth, int64_t columns) {
    const int64_t panels = (columns + PANEL - 1) / PANEL;
    if (kind == YS_INT8) return panels * ys_int8_panel(depth);
    return panels * PANEL * depth * (kind == YS_NARROW ? 1 : (int64_t)sizeof(float));
}

/* Lay out rows [first, first + count) of int8 weights [out][depth] for an int8 kind; first is a
 * multiple of PANEL. */
static void ys_pack_integers(int kind, const int8_t *weight, ptrdiff_t first, ptrdiff_t count,
                             ptrdiff_t depth, int8_t *panels) {
    if (kind == YS_INT8) {
        ys_pack_int8(weight, first, count, depth, panels);
        return;
    }
    for (ptrdiff_t at = 0; at < count; at += PANEL)
        for (ptrdiff_t k = 0; k < depth; k++)
            for (ptrdiff_t j = 0; j < PANEL; j++)
                panels[(first + at) * depth + k * PANEL + j] =
                    at + j < count ? weight[(at + j) * depth + k] : 0;
}

/* Floats of scratch in which rows are made ready for a map. */
static int64_t ys_ready_size(const struct ys_linear *map, int64_t rows) {
    if (map->kind == YS_INT8) return ys_quantized_size(rows, map->depth);
    const int64_t panel = map->kind == YS_NARROW ? map->depth * PANEL : 0;
    return ys_chunks_size(rows, map->depth) + panel;
}

/* Copy or quantise rows of x [rows][stride] into `ready`, as the map's product reads them. */
static void ys_make_ready(const struct ys_linear *map, const float *x, ptrdiff_t stride,
                          ptrdiff_t rows, float *ready) {
    if (map->kind == YS_INT8)
        ys_quantize_rows(x, stride, rows, map->depth, ys_quantized_at(ready, rows, map->depth));
    else
        ys_fill_chunks(x, stride, rows, map->depth, ready);
}

/* out [rows][stride], from column `begin` on: activation(x W^T + bias) of rows made ready. */
static void ys_map_ready(const struct ys_linear *map, float *ready, ptrdiff_t rows, int activation,
                         ptrdiff_t begin, ptrdiff_t end, float *out, ptrdiff_t stride) {
    const ptrdiff_t depth = map->depth;
    if (map->kind == YS_FLOAT32) {
        ys_product(ready, rows, depth, map->panels, map->bias, activation, begin, end, out, stride);
    } else if (map->kind == YS_INT8) {
        const struct ys_quantized q = ys_quantized_at(ready, rows, depth);
        for (ptrdiff_t at = 0; at < depth; at += SPAN) {
            const ptrdiff_t width = depth - at < SPAN ? depth - at : SPAN;
            const int last = at + width == depth;
            const struct ys_epilogue e = {out, stride, at > 0, last ? map->bias : NULL,
                                          last ? activation : YS_LINEAR};
            const ptrdiff_t g = at / SPAN * rows;
            ys_int8_product_span(q.words + g * WORD_STRIDE, q.scales + g, rows, map->panels,
                                  map->scales, depth, at, width, begin, end, &e);
        }
    } else {
        float *panel = ready + ys_chunks_size(rows, depth);
        for (ptrdiff_t column = begin; column < end; column += PANEL) {
            const int8_t *from = (const int8_t *)map->panels + column * depth;
            const float *scales = map->scales + column;
            for (ptrdiff_t k = 0; k < depth; k++)
                for (ptrdiff_t j = 0; j < PANEL; j++)
                    panel[k * PANEL + j] = (float)from[k * PANEL + j] * scales[j];
            const ptrdiff_t width = end - column < PANEL ? end - column : PANEL;
            ys_product(ready, rows, depth, panel, map->bias + column, activation, 0, width,
                       out + (column - begin), stride);
        }
    }
}

#endif
