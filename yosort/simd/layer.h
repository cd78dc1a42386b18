/* What follows the attention in a layer, for one block of rows that stays in this core's cache:
 *
 *     y = norm1(x + context Wo + bo);  out = norm2(y + act(y W1 + b1) W2 + b2);  next = out Wn + bn
 *
 * The wide middle is never whole: CHUNK of its columns at a time are made, activated and folded
 * into the second product, which is also the order in which a whole product would sum.
 */
#ifndef YOSORT_LAYER_H
#define YOSORT_LAYER_H

#include "gemm.h"
#include "layer_norm.h"

/* A prepared linear map. panels: [columns / PANEL][depth][PANEL]; bias padded like the columns. */
struct ys_linear {
    const float *panels, *bias;
    int64_t depth, columns;
};

struct ys_norm {
    const float *scale, *shift;
    float eps;
};

struct ys_tail {
    struct ys_linear output, up, down, next;    /* next.panels is NULL after the last layer */
    struct ys_norm norm1, norm2;
    int activation;
    const float *context, *x;                   /* [rows][*_stride] */
    int64_t context_stride, x_stride;
    float *out, *next_out;                      /* [rows][hidden], [rows][next.columns] */
};

/* Floats of scratch that ys_tail_rows takes for a block of `rows`. */
static int64_t ys_tail_scratch(const struct ys_tail *t, int64_t rows) {
    const int64_t hidden = t->output.columns;
    return ys_chunks_size(rows, hidden) + rows * STRIDE + 2 * rows * hidden;
}

static void ys_tail_rows(const struct ys_tail *t, int64_t first, int64_t rows, float *scratch) {
    const int64_t hidden = t->output.columns, middle = t->up.columns;
    float *chunks = scratch;
    float *mid = chunks + ys_chunks_size(rows, hidden);
    float *y = mid + rows * STRIDE, *sum = y + rows * hidden;
    float *out = t->out + first * hidden;

    ys_fill_chunks(t->context + first * t->context_stride, t->context_stride, rows, hidden, chunks);
    ys_product(chunks, rows, hidden, t->output.panels, t->output.bias, YS_LINEAR, 0, hidden, y, hidden);
    for (int64_t r = 0; r < rows; r++)
        ys_layer_norm_row(y + r * hidden, t->x + (first + r) * t->x_stride, t->norm1.scale,
                          t->norm1.shift, t->norm1.eps, hidden, y + r * hidden);

    ys_fill_chunks(y, hidden, rows, hidden, chunks);
    for (int64_t at = 0; at < middle; at += CHUNK) {
        const int64_t width = middle - at < CHUNK ? middle - at : CHUNK;
        const int last = at + width == middle;
        ys_product(chunks, rows, hidden, t->up.panels, t->up.bias, t->activation, at, at + width,
                   mid, STRIDE);
        const struct ys_epilogue e = {sum, hidden, at > 0, last ? t->down.bias : NULL, YS_LINEAR};
        ys_product_chunk(mid, rows, t->down.panels, middle, at, width, 0, hidden, &e);
    }
    for (int64_t r = 0; r < rows; r++)
        ys_layer_norm_row(sum + r * hidden, y + r * hidden, t->norm2.scale, t->norm2.shift,
                          t->norm2.eps, hidden, out + r * hidden);

    if (!t->next.panels) return;
    ys_fill_chunks(out, hidden, rows, hidden, chunks);
    ys_product(chunks, rows, hidden, t->next.panels, t->next.bias, YS_LINEAR, 0, t->next.columns,
               t->next_out + first * t->next.columns, t->next.columns);
}

#endif
