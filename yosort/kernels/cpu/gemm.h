/* Dense products y = x W^T, W prepared once: what all of them share. The words are those of Goto and
 * van de Geijn ("Anatomy of high-performance matrix multiplication") and of BLIS, for A = x, B = W^T:
 *
 *     MR x NR    rows and columns of a tile of y, which one call of a micro-kernel computes
 *     KC         depth of a block: the sums of a tile over KC stay in registers
 *     packed A   blocks [depth / KC][rows], each row's KC values together, at a fixed stride: every
 *                address of the inner loop is a constant offset, and the stride, an odd number of
 *                cache lines, keeps rows of one tile out of each other's cache sets
 *     packed B   panels [columns / NR], each [depth][NR], which the inner loop reads straight through
 *     MC, NC     rows and columns that a thread takes at a time
 *
 * NR is two vectors everywhere; MR is the instruction set's; the others are each product's own.
 *
 * Every sum runs over the depth in an order that is its product's, block by block: the result of a row
 * does not depend on how many rows or threads there are.
 */
#ifndef YOSORT_GEMM_H
#define YOSORT_GEMM_H

#include "activation.h"
#include "kernels.h"
#include "simd.h"

#define NR (2 * LANES)
#define STEPS 8                 /* of the inner loop, unrolled; a multiple of a cache line of a panel */
#define PART 64                 /* depth that is packed of a column at once */
#define ALL_COLUMNS ((int64_t)1 << 48)  /* an NC without end */
#define LINE_BYTES (CACHE_LINE * (ptrdiff_t)sizeof(float))

/* X for each height that a tile may have, as a constant. */
#define YS_HEIGHTS_4(X) X(1) X(2) X(3) X(4)
#define YS_HEIGHTS_6(X) YS_HEIGHTS_4(X) X(5) X(6)
#define YS_HEIGHTS_8(X) YS_HEIGHTS_6(X) X(7) X(8)
#define YS_HEIGHTS_12(X) YS_HEIGHTS_8(X) X(9) X(10) X(11) X(12)
#define YS_HEIGHTS_OF(mr, X) YS_HEIGHTS_##mr(X)
#define YS_HEIGHTS(mr, X) YS_HEIGHTS_OF(mr, X)

/* What one call of a micro-kernel computes: a tile of y over one block of the depth. */
struct ys_tile {
    const char *a, *b;          /* packed rows of the block, and the block of a panel */
    ptrdiff_t steps;            /* of the inner loop */
    const char *ahead;          /* where the panel that comes next is fetched from: with every STEPS */
    int lines;                  /* steps so many cache lines, the tile's share */
    const float *scales;        /* of the panel's columns, where the product has them */
    float *out;
    ptrdiff_t stride, width;    /* of out: floats between rows, columns that exist (NR at most) */
    const float *bias;          /* of the panel's columns, or NULL */
    int accumulate, activation;
    int asks;                   /* a matrix unit, after each tile, whether its sums were kept */
};

typedef void ys_micro_kernel(ptrdiff_t rows, const struct ys_tile *tile);

/* The tile of the panel that starts at `column`, `begin` being the first that was asked for. */
YS_INLINE void ys_start_panel(struct ys_tile *t, const struct ys_epilogue *e, ptrdiff_t begin,
                              ptrdiff_t column, ptrdiff_t end) {
    t->out = e->out + (column - begin);
    t->stride = e->stride;
    t->width = end - column < NR ? end - column : NR;
    t->bias = e->bias ? e->bias + column : NULL;
    t->accumulate = e->accumulate;
    t->activation = e->activation;
}

/* All tiles of a panel, `mr` rows at most in multiples of `granule`. Bytes: between packed rows; between
 * steps of a panel, 0 to fetch none ahead. */
YS_INLINE void ys_panel_tiles(ys_micro_kernel *kernel, ptrdiff_t rows, ptrdiff_t mr, ptrdiff_t granule,
                              ptrdiff_t row_bytes, ptrdiff_t step_bytes, struct ys_tile t) {
    const ptrdiff_t tiles = (rows + mr - 1) / mr;
    /* Weights come from far: the tiles of a panel fetch the next one together, a share each. */
    t.lines = (int)((STEPS * step_bytes / LINE_BYTES + tiles - 1) / tiles);
    for (ptrdiff_t left = tiles; left; left--) {
        /* Tiles of nearly equal height: a last one of a single row would waste the panel. */
        const ptrdiff_t share = ((rows + left - 1) / left + granule - 1) / granule * granule;
        const ptrdiff_t height = share < rows ? share : rows;
        kernel(height, &t);
        rows -= height;
        t.a += height * row_bytes;
        t.out += height * t.stride;
        t.ahead += t.lines * LINE_BYTES;
    }
}

/* Finish one row of a tile, its sums in two vectors: add, activate, store. */
YS_INLINE void ys_finish_row(vf sum0, vf sum1, float *row, const struct ys_tile *t) {
    float edge[NR];
    float *to = t->width == NR ? row : edge;
    if (t->accumulate) {
        if (to == edge) memcpy(edge, row, (size_t)t->width * sizeof(float));
        sum0 += vf_load(to);
        sum1 += vf_load(to + LANES);
    }
    if (t->bias) {
        sum0 += vf_load(t->bias);
        sum1 += vf_load(t->bias + LANES);
    }
    vf_store(to, ys_activate(sum0, t->activation));
    vf_store(to + LANES, ys_activate(sum1, t->activation));
    if (to == edge) memcpy(row, edge, (size_t)t->width * sizeof(float));
}

/* Finish a tile: in registers, where `rows` is a constant after inlining, or in memory, which is where
 * a matrix unit leaves its sums. */
YS_INLINE void ys_finish_tile(ptrdiff_t rows, vf (*sum)[2], const struct ys_tile *t) {
    for (ptrdiff_t r = 0; r < rows; r++) ys_finish_row(sum[r][0], sum[r][1], t->out + r * t->stride, t);
}

static int64_t ys_panels_of(int64_t columns) { return (columns + NR - 1) / NR; }

/* Floats of space for so many packed rows, and for those of a map. */
static int64_t ys_packed_space(const struct ys_product *p, int64_t rows) {
    return (rows + p->spare_rows) * p->packed_row;
}
static int64_t ys_packed_rows(const struct ys_linear *map, int64_t rows) {
    const struct ys_product *p = map->product;
    return ys_packed_space(p, (map->depth + p->kc - 1) / p->kc * rows);
}

/* out [rows][stride], from column `begin` on: activation(x W^T + bias) of packed rows. */
static void ys_multiply(const struct ys_linear *map, const void *packed, int64_t rows, int activation,
                        int64_t begin, int64_t end, float *out, int64_t stride) {
    const struct ys_product *p = map->product;
    for (int64_t first = begin; first < end; first += p->nc) {
        const int64_t last = end - first < p->nc ? end : first + p->nc;
        const float *block = (const float *)packed;
        for (int64_t at = 0; at < map->depth; at += p->kc) {
            const int64_t left = map->depth - at;
            const struct ys_epilogue e = {out + (first - begin), stride, at > 0,
                                          left <= p->kc ? map->bias : NULL,
                                          left <= p->kc ? activation : YS_LINEAR};
            p->multiply(map, block, rows, at, left < p->kc ? left : p->kc, first, last, &e);
            block += rows * p->packed_row;
        }
    }
}

#endif
