/* What follows the attention in a layer, for one block of rows that stays in this core's cache:
 *
 *     y = norm1(x + context Wo + bo);  out = norm2(y + act(y W1 + b1) W2 + b2);  next = out Wn + bn
 *
 * The wide middle is never whole: a block (KC of W2's product) of its columns at a time is made,
 * activated and multiplied by its part of W2, which is also the order in which a whole product sums.
 */
#ifndef YOSORT_LAYER_H
#define YOSORT_LAYER_H

#include "gemm.h"
#include "layer_norm.h"

/* Floats between the rows of a block of the middle: as those of a packed block, see gemm.h. */
static int64_t ys_middle_stride(const struct ys_tail *t) { return t->down.product->kc + CACHE_LINE; }

/* Floats of space for packed rows of any of the maps from `hidden`. */
static int64_t ys_tail_packed(const struct ys_tail *t, int64_t rows) {
    const struct ys_linear *maps[] = {&t->output, &t->up, t->next.panels ? &t->next : &t->up};
    int64_t most = 0;
    for (int i = 0; i < 3; i++)
        if (ys_packed_rows(maps[i], rows) > most) most = ys_packed_rows(maps[i], rows);
    return most;
}

/* Floats of scratch that ys_tail_rows takes for a block of `rows`. */
static int64_t ys_tail_scratch(const struct ys_tail *t, int64_t rows) {
    return ys_tail_packed(t, rows) +
           ys_packed_space(t->down.product, rows) +
           rows * (ys_middle_stride(t) + 2 * t->output.columns);
}

/* out = activation(x W^T + bias), x [rows][stride], in one go. */
static void ys_linear_rows(const struct ys_linear *map, const float *x, int64_t stride, int64_t rows,
                           int activation, int64_t begin, int64_t end, float *out,
                           int64_t out_stride, float *scratch) {
    const void *packed = map->product->pack_rows(x, stride, rows, map->depth, scratch);
    ys_multiply(map, packed, rows, activation, begin, end, out, out_stride);
}

/* sum (+)= columns [at, at + width) of the middle times their rows of W2. packed: scratch. */
static void ys_down_block(const struct ys_linear *down, const float *middle, int64_t stride,
                          int64_t rows, int64_t at, int64_t width, float *packed, float *sum) {
    const float *bias = at + width == down->depth ? down->bias : NULL;
    const struct ys_epilogue e = {sum, down->columns, at > 0, bias, YS_LINEAR};
    const void *block = down->product->pack_rows(middle, stride, rows, width, packed);
    down->product->multiply(down, block, rows, at, width, 0, down->columns, &e);
}

static void ys_tail_rows(const struct ys_tail *t, int64_t first, int64_t rows, float *scratch) {
    const int64_t hidden = t->output.columns, stride = ys_middle_stride(t);
    const int64_t columns = t->up.columns, kc = t->down.product->kc;
    float *packed = scratch, *middle = packed + ys_tail_packed(t, rows);
    float *y = middle + rows * stride, *sum = y + rows * hidden, *block = sum + rows * hidden;
    float *out = t->out + first * hidden;

    ys_linear_rows(&t->output, t->context + first * t->context_stride, t->context_stride, rows,
                   YS_LINEAR, 0, hidden, y, hidden, packed);
    for (int64_t r = 0; r < rows; r++)
        ys_layer_norm_row(y + r * hidden, t->x + (first + r) * t->x_stride, t->norm1.scale,
                          t->norm1.shift, t->norm1.eps, hidden, y + r * hidden);

    const void *up = t->up.product->pack_rows(y, hidden, rows, hidden, packed);
    for (int64_t at = 0; at < columns; at += kc) {
        const int64_t width = columns - at < kc ? columns - at : kc;
        ys_multiply(&t->up, up, rows, t->activation, at, at + width, middle, stride);
        ys_down_block(&t->down, middle, stride, rows, at, width, block, sum);
    }
    for (int64_t r = 0; r < rows; r++)
        ys_layer_norm_row(sum + r * hidden, y + r * hidden, t->norm2.scale, t->norm2.shift,
                          t->norm2.eps, hidden, out + r * hidden);

    if (t->next.panels)
        ys_linear_rows(&t->next, out, hidden, rows, YS_LINEAR, 0, t->next.columns,
                       t->next_out + first * t->next.columns, t->next.columns, packed);
}

#endif
