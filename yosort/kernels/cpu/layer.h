/* What follows the attention in a layer, for one block of rows that stays in this core's cache:
 *
 *     y = norm1(x + context Wo + bo);  out = norm2(y + act(y W1 + b1) W2 + b2);  next = out Wn + bn
 *
 * The wide middle is never whole: a part of its columns at a time (CHUNK of them, or SPAN where W2 is
 * int8) is made, activated and folded into the second product, which is also the order in which a
 * whole product would sum.
 */
#ifndef YOSORT_LAYER_H
#define YOSORT_LAYER_H

#include "layer_norm.h"
#include "linear.h"

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

/* Columns of the middle that are made at a time, and how far apart its rows lie. */
static int64_t ys_part(const struct ys_tail *t) { return t->down.kind == YS_INT8 ? SPAN : CHUNK; }
static int64_t ys_part_stride(const struct ys_tail *t) {
    return t->down.kind == YS_INT8 ? SPAN + CACHE_LINE : STRIDE;
}

/* Floats in which rows are made ready for any of the maps from `hidden`. */
static int64_t ys_tail_ready(const struct ys_tail *t, int64_t rows) {
    int64_t most = ys_ready_size(&t->output, rows), other = ys_ready_size(&t->up, rows);
    if (other > most) most = other;
    other = t->next.panels ? ys_ready_size(&t->next, rows) : 0;
    return other > most ? other : most;
}

/* Floats of scratch that ys_tail_rows takes for a block of `rows`. */
static int64_t ys_tail_scratch(const struct ys_tail *t, int64_t rows) {
    const int64_t folded = t->down.kind == YS_INT8 ? ys_quantized_size(rows, SPAN) : 0;
    return ys_tail_ready(t, rows) + rows * ys_part_stride(t) + folded +
           2 * rows * t->output.columns;
}

/* sum (+)= the part [at, at + width) of the middle through its rows of W2. folded: scratch. */
static void ys_fold(const struct ys_linear *down, const float *part, ptrdiff_t stride,
                    ptrdiff_t rows, ptrdiff_t at, ptrdiff_t width, float *folded, float *sum) {
    const int last = at + width == down->depth;
    const struct ys_epilogue e = {sum, down->columns, at > 0, last ? down->bias : NULL, YS_LINEAR};
    if (down->kind != YS_INT8) {
        ys_product_chunk(part, rows, down->panels, down->depth, at, width, 0, down->columns, &e);
        return;
    }
    const struct ys_quantized q = ys_quantized_at(folded, rows, width);
    ys_quantize_rows(part, stride, rows, width, q);
    ys_int8_product_span(q.words, q.scales, rows, down->panels, down->scales, down->depth, at,
                          width, 0, down->columns, &e);
}

static void ys_tail_rows(const struct ys_tail *t, int64_t first, int64_t rows, float *scratch) {
    const int64_t hidden = t->output.columns, middle = t->up.columns;
    const int64_t part = ys_part(t), stride = ys_part_stride(t);
    float *ready = scratch, *mid = ready + ys_tail_ready(t, rows);
    float *y = mid + rows * stride, *sum = y + rows * hidden, *folded = sum + rows * hidden;
    float *out = t->out + first * hidden;

    ys_make_ready(&t->output, t->context + first * t->context_stride, t->context_stride, rows, ready);
    ys_map_ready(&t->output, ready, rows, YS_LINEAR, 0, hidden, y, hidden);
    for (int64_t r = 0; r < rows; r++)
        ys_layer_norm_row(y + r * hidden, t->x + (first + r) * t->x_stride, t->norm1.scale,
                          t->norm1.shift, t->norm1.eps, hidden, y + r * hidden);

    ys_make_ready(&t->up, y, hidden, rows, ready);
    for (int64_t at = 0; at < middle; at += part) {
        const int64_t width = middle - at < part ? middle - at : part;
        ys_map_ready(&t->up, ready, rows, t->activation, at, at + width, mid, stride);
        ys_fold(&t->down, mid, stride, rows, at, width, folded, sum);
    }
    for (int64_t r = 0; r < rows; r++)
        ys_layer_norm_row(sum + r * hidden, y + r * hidden, t->norm2.scale, t->norm2.shift,
                          t->norm2.eps, hidden, out + r * hidden);

    if (!t->next.panels) return;
    ys_make_ready(&t->next, out, hidden, rows, ready);
    ys_map_ready(&t->next, ready, rows, YS_LINEAR, 0, t->next.columns,
                 t->next_out + first * t->next.columns, t->next.columns);
}

#endif
