/* Dense products y = x W^T, W prepared once as panels.
 *
 * A panel holds PANEL = 2 * LANES output columns for all of the depth: [depth][PANEL], so the inner
 * loop reads it straight through. Rows of x go into chunks of at most CHUNK depth, [rows][STRIDE]:
 * the fixed stride makes every address of the inner loop a constant offset, and being an odd
 * number of cache lines, keeps rows of one tile out of each other's cache sets.
 *
 * Every sum runs over the depth in order, chunk by chunk, in one accumulator: the result of a row
 * does not depend on how many rows or threads there are.
 */
#ifndef YOSORT_GEMM_H
#define YOSORT_GEMM_H

#include "activation.h"
#include "simd.h"

#define PANEL (2 * LANES)
/* YS_CASE for each height of a tile. */
#define YS_CASES_4 YS_CASE(1) YS_CASE(2) YS_CASE(3) YS_CASE(4)
#define YS_CASES_6 YS_CASES_4 YS_CASE(5) YS_CASE(6)
#define YS_CASES_8 YS_CASES_6 YS_CASE(7) YS_CASE(8)
#if LANES == 16
#  define TILE 12               /* 24 accumulators, 2 of the panel, 1 broadcast: of 32 registers */
#  define YS_CASES YS_CASES_8 YS_CASE(9) YS_CASE(10) YS_CASE(11) YS_CASE(12)
#elif LANES == 8
#  define TILE 6                /* 12 accumulators of 16 registers */
#  define YS_CASES YS_CASES_6
#elif defined(__aarch64__)
#  define TILE 8                /* 16 accumulators of 32 registers */
#  define YS_CASES YS_CASES_8
#else
#  define TILE 4
#  define YS_CASES YS_CASES_4
#endif
#define CHUNK 256
#define STRIDE (CHUNK + 16)
#define STEPS 8                 /* of the depth, unrolled; a multiple of a cache line of any panel */

/* Lay out rows [first, first + count) of weight [out][depth] in panels; missing columns are 0.
 * first is a multiple of PANEL. */
static void ys_pack_panels(const float *YS_RESTRICT weight, ptrdiff_t first, ptrdiff_t count,
                           ptrdiff_t depth, float *YS_RESTRICT panels) {
    for (ptrdiff_t at = 0; at < count; at += PANEL) {
        float *panel = panels + (first + at) * depth;
        ptrdiff_t width = count - at < PANEL ? count - at : PANEL;
        for (ptrdiff_t k = 0; k < depth; k++) {
            for (ptrdiff_t j = 0; j < width; j++) panel[k * PANEL + j] = weight[(at + j) * depth + k];
            for (ptrdiff_t j = width; j < PANEL; j++) panel[k * PANEL + j] = 0.0f;
        }
    }
}

YS_INLINE void ys_step(int rows, const float *YS_RESTRICT x, const float *YS_RESTRICT panel,
                       vf (*YS_RESTRICT sum)[2]) {
    const vf w0 = vf_load(panel), w1 = vf_load(panel + LANES);
    for (int r = 0; r < rows; r++) {
        const vf a = vf_set1(x[r * STRIDE]);
        sum[r][0] += a * w0;
        sum[r][1] += a * w1;
    }
}

/* One tile: `rows` (a constant after inlining) x PANEL sums over `depth`. With every STEPS steps it
 * asks for `lines` cache lines of `ahead`, its share of the panel that comes next. */
YS_INLINE void ys_tile(int rows, const float *YS_RESTRICT x, const float *YS_RESTRICT panel,
                       ptrdiff_t depth, const float *ahead, int lines, vf (*YS_RESTRICT sum)[2]) {
    for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = vf_set1(0.0f);
    ptrdiff_t k = 0;
    for (; k + STEPS <= depth; k += STEPS) {
        for (int i = 0; i < lines; i++) ys_prefetch_later(ahead + k * PANEL + i * CACHE_LINE);
        for (int i = 0; i < STEPS; i++) ys_step(rows, x + k + i, panel + (k + i) * PANEL, sum);
    }
    for (; k < depth; k++) ys_step(rows, x + k, panel + k * PANEL, sum);
}

/* Where a product goes and what happens to it on the way. */
struct ys_epilogue {
    float *out;                 /* [rows][stride] */
    ptrdiff_t stride;
    int accumulate;             /* add to what is there: a further chunk of the depth */
    const float *bias;          /* [columns] or NULL; with the activation, after the last chunk */
    int activation;
};

YS_INLINE void ys_store_tile(int rows, vf (*sum)[2], const struct ys_epilogue *e, float *out,
                             const float *bias, ptrdiff_t width) {
    float edge[PANEL];
    for (int r = 0; r < rows; r++) {
        float *row = out + r * e->stride;
        float *to = width == PANEL ? row : edge;
        if (e->accumulate) {
            if (to == edge) memcpy(edge, row, (size_t)width * sizeof(float));
            sum[r][0] += vf_load(to);
            sum[r][1] += vf_load(to + LANES);
        }
        if (bias) {
            sum[r][0] += vf_load(bias);
            sum[r][1] += vf_load(bias + LANES);
        }
        vf_store(to, ys_activate(sum[r][0], e->activation));
        vf_store(to + LANES, ys_activate(sum[r][1], e->activation));
        if (to == edge) memcpy(row, edge, (size_t)width * sizeof(float));
    }
}

/* One tile of any height: the switch turns the height into a constant. */
static void ys_tile_of(ptrdiff_t rows, const float *x, const float *panel, ptrdiff_t depth,
                       const float *ahead, int lines, const struct ys_epilogue *e, float *out,
                       const float *bias, ptrdiff_t width) {
    vf sum[TILE][2];
    switch (rows) {
#define YS_CASE(n)                                                \
    case n:                                                       \
        ys_tile(n, x, panel, depth, ahead, lines, sum);           \
        ys_store_tile(n, sum, e, out, bias, width);               \
        break;
    YS_CASES
#undef YS_CASE
    }
}

/* One chunk of a product, for some columns: out[rows][begin..end) from x [rows][STRIDE].
 * panels: of the whole matrix, [columns / PANEL][full_depth][PANEL]; the chunk starts at `at`. */
static void ys_product_chunk(const float *x, ptrdiff_t rows, const float *panels,
                             ptrdiff_t full_depth, ptrdiff_t at, ptrdiff_t depth,
                             ptrdiff_t begin, ptrdiff_t end, const struct ys_epilogue *e) {
    const ptrdiff_t tiles = (rows + TILE - 1) / TILE;
    /* Weights come from far: the tiles of a panel fetch the next one together, a share each. */
    const int lines = (int)((STEPS * PANEL / CACHE_LINE + tiles - 1) / tiles);
    for (ptrdiff_t column = begin; column < end; column += PANEL) {
        const float *panel = panels + (column * full_depth + at * PANEL);
        const ptrdiff_t width = end - column < PANEL ? end - column : PANEL;
        const float *bias = e->bias ? e->bias + column : NULL;
        for (ptrdiff_t t = 0, row = 0; t < tiles; t++) {
            /* Tiles of nearly equal height: a last one of a single row would waste the panel. */
            const ptrdiff_t height = rows / tiles + (t < rows % tiles);
            ys_tile_of(height, x + row * STRIDE, panel, depth,
                       panel + full_depth * PANEL + t * lines * CACHE_LINE, lines, e,
                       e->out + row * e->stride + (column - begin), bias, width);
            row += height;
        }
    }
}

/* How many floats the chunks of `rows` rows take. */
static ptrdiff_t ys_chunks_size(ptrdiff_t rows, ptrdiff_t depth) {
    return (depth + CHUNK - 1) / CHUNK * rows * STRIDE;
}

/* Copy rows of x [rows][stride] into chunks [depth / CHUNK][rows][STRIDE]. */
static void ys_fill_chunks(const float *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t depth,
                           float *chunks) {
    for (ptrdiff_t at = 0; at < depth; at += CHUNK) {
        const ptrdiff_t width = depth - at < CHUNK ? depth - at : CHUNK;
        for (ptrdiff_t r = 0; r < rows; r++)
            memcpy(chunks + r * STRIDE, x + r * stride + at, (size_t)width * sizeof(float));
        chunks += rows * STRIDE;
    }
}

/* A whole product for some columns, out [rows][stride] starting at column `begin`. bias is padded
 * to a multiple of PANEL. */
static void ys_product(const float *chunks, ptrdiff_t rows, ptrdiff_t depth, const float *panels,
                       const float *bias, int activation, ptrdiff_t begin, ptrdiff_t end,
                       float *out, ptrdiff_t stride) {
    for (ptrdiff_t at = 0; at < depth; at += CHUNK) {
        const ptrdiff_t width = depth - at < CHUNK ? depth - at : CHUNK;
        const int last = at + width == depth;
        const struct ys_epilogue e = {out, stride, at > 0, last ? bias : NULL,
                                      last ? activation : YS_LINEAR};
        ys_product_chunk(chunks, rows, panels, depth, at, width, begin, end, &e);
        chunks += rows * STRIDE;
    }
}

#endif
