/* The product of 8-bit integers: see gemm.h. W has a scale for each output column, x one for each row
 * and SPAN (KC) of the depth. Sums of a span are exact int32, the same on every instruction set:
 *
 *     y[r][j] = sum over spans of  (scale of x[r] in the span * scale of W[j]) * sum_k qx qw
 *
 * A word is 32 bits of x: INT8_PACK values of neighbouring depths, which one instruction multiplies
 * and adds. No instruction used here saturates: bytes are multiplied into 32 bits (VNNI, Arm's dot
 * product), or widened to 16 bits first, whose pairs of products fit 32 bits.
 *
 * A panel: for each span, int32 [NR] where the sums start, then int8 [words][NR][INT8_PACK].
 * VNNI's left operand is unsigned: it gets qx + 128, and the sums start at -128 times the column's
 * sum of weights. 32 bits wrap around on the way, which the exact result does not see.
 * A packed row: its words, and where SPAN of the depth would end, its scale.
 * Where an instruction takes runs of words (pairs.h), they lie so, in panels and rows.
 */
#ifndef YOSORT_GEMM_INT8_H
#define YOSORT_GEMM_INT8_H

#include "quantize.h"
#include "unit.h"

/* What an instruction set has for it: values in a word; what is added to those of x; their type; the
 * products of a word added to sums; the weights of LANES words. A matrix unit takes signed bytes. */
#ifdef YS_TILES
#  undef INT8_PACK
#  undef INT8_OFFSET
#  define INT8_PACK 4
#  define ys_int8_x int8_t
#endif
#ifndef INT8_PACK
#  define INT8_PACK 1
typedef int32_t ys_int8_x;
YS_INLINE vi ys_int8_dot(vi sum, vi x, vi w) { return sum + x * w; }
YS_INLINE vi ys_int8_weights(const int8_t *p) {
    int32_t lane[LANES];
    for (int i = 0; i < LANES; i++) lane[i] = p[i];
    return vi_load(lane);
}
#endif
#ifndef INT8_OFFSET
#  define INT8_OFFSET 0
#endif

#define SPAN 1024
#define WORDS (SPAN / INT8_PACK)
#define WORD_STRIDE (WORDS + CACHE_LINE)
#define INT8_BYTES (WORD_STRIDE * (ptrdiff_t)sizeof(int32_t))
#define SCALE_AT (WORDS * (ptrdiff_t)sizeof(int32_t))
#define INT8_RUN (INT8_PACK * UNIT_RUN)

static int64_t ys_words(int64_t depth) { return ys_words_of(depth, INT8_PACK); }

/* Bytes of a panel, and where a span of it starts. */
static int64_t ys_int8_panel(int64_t depth) {
    const int64_t spans = (depth + SPAN - 1) / SPAN;
    return spans * NR * (int64_t)sizeof(int32_t) + ys_words(depth) * NR * INT8_PACK;
}
static int64_t ys_int8_span(int64_t span) { return span * NR * ((int64_t)sizeof(int32_t) + SPAN); }

static void ys_int8_pack_weight(const void *weight, int64_t stride, int64_t count, int64_t depth,
                                void *panels) {
    for (int64_t at = 0; at < count; at += NR) {
        int8_t *panel = (int8_t *)panels + at / NR * ys_int8_panel(depth);
        for (int64_t begin = 0; begin < depth; begin += SPAN) {
            const int64_t width = depth - begin < SPAN ? depth - begin : SPAN;
            int8_t *to = panel + ys_int8_span(begin / SPAN) + NR * sizeof(int32_t);
            int32_t start[NR];
            memset(to, 0, (size_t)(ys_words(width) * NR * INT8_PACK));
            for (int64_t j = 0; j < NR; j++) {
                start[j] = 0;
                if (at + j >= count) continue;
                const int8_t *row = (const int8_t *)weight + (at + j) * stride + begin;
                for (int64_t k = 0; k < width; k++) {
                    to[(k / INT8_RUN * NR + j) * INT8_RUN + k % INT8_RUN] = row[k];
                    start[j] -= INT8_OFFSET * row[k];
                }
            }
            memcpy(to - sizeof start, start, sizeof start);
        }
    }
}

YS_INLINE void ys_int8_store(ys_int8_x *to, vi q) {
#if LANES == 1
    *to = (ys_int8_x)(q + INT8_OFFSET);
#else
    typedef ys_int8_x narrow __attribute__((vector_size(LANES * sizeof(ys_int8_x))));
    const narrow n = __builtin_convertvector(q + vi_set1(INT8_OFFSET), narrow);
    memcpy(to, &n, sizeof n);
#endif
}

YS_INLINE ys_int8_x *ys_int8_at(char *block, int64_t rows, int64_t r, int64_t k) {
    return (ys_int8_x *)(block + ys_row_at(rows, r, INT8_BYTES, k * (int64_t)sizeof(ys_int8_x)));
}

/* Quantise rows of x, each span of the depth by itself. */
static const void *ys_int8_pack_rows(const float *x, int64_t stride, int64_t rows, int64_t depth,
                                     float *packed) {
    char *block = (char *)packed;
    for (int64_t at = 0; at < depth; at += SPAN, block += rows * INT8_BYTES) {
        const int64_t width = depth - at < SPAN ? depth - at : SPAN;
        for (int64_t r = 0; r < rows; r++) {
            const float *row = x + r * stride + at;
            float inverse;
            const float scale = ys_scale(ys_largest(row, width), &inverse);
            memcpy(block + ys_row_at(rows, r, INT8_BYTES, SCALE_AT), &scale, sizeof scale);
            int64_t i = 0;
            for (; i + LANES <= width; i += LANES)
                ys_int8_store(ys_int8_at(block, rows, r, i),
                              vi_round(vf_load(row + i) * vf_set1(inverse)));
            for (; i < ys_words(width) * INT8_PACK; i += LANES) {
                const vf part = vf_load_part(row + i, i < width ? width - i : 0);
                ys_int8_store(ys_int8_at(block, rows, r, i), vi_round(part * vf_set1(inverse)));
            }
        }
    }
    return packed;
}

#ifdef YS_PAIRS

YS_PAIR_SUMS(ys_int8_pairs, vi, ys_int8_pair)
YS_INLINE void ys_int8_sums(int rows, const struct ys_tile *t, vi (*YS_RESTRICT sum)[2]) {
    ys_int8_pairs(rows, t, INT8_BYTES, t->b + NR * sizeof(int32_t), sum);
}

#elif !defined(YS_TILES)

YS_INLINE void ys_int8_step(int rows, const int32_t *YS_RESTRICT a, const int8_t *YS_RESTRICT b,
                            vi (*YS_RESTRICT sum)[2]) {
    const vi b0 = ys_int8_weights(b), b1 = ys_int8_weights(b + LANES * INT8_PACK);
    for (int r = 0; r < rows; r++) {
        const vi x = vi_set1(a[r * WORD_STRIDE]);
        sum[r][0] = ys_int8_dot(sum[r][0], x, b0);
        sum[r][1] = ys_int8_dot(sum[r][1], x, b1);
    }
}

YS_INLINE void ys_int8_sums(int rows, const struct ys_tile *t, vi (*YS_RESTRICT sum)[2]) {
    const int32_t *a = (const int32_t *)t->a;
    const int8_t *b = (const int8_t *)t->b, *ahead = (const int8_t *)t->ahead;
    const ptrdiff_t words = t->steps;
    const int lines = t->lines;
    const vi start0 = vi_load((const int32_t *)b), start1 = vi_load((const int32_t *)b + LANES);
    ptrdiff_t k = 0;
    b += NR * sizeof(int32_t);
    for (int r = 0; r < rows; r++) sum[r][0] = start0, sum[r][1] = start1;
    for (; k + STEPS <= words; k += STEPS) {
        for (int i = 0; i < lines; i++) ys_prefetch_later(ahead + k * NR * INT8_PACK + i * LINE_BYTES);
        for (int i = 0; i < STEPS; i++) ys_int8_step(rows, a + k + i, b + (k + i) * NR * INT8_PACK, sum);
    }
    for (; k < words; k++) ys_int8_step(rows, a + k, b + k * NR * INT8_PACK, sum);
}

#endif

/* Finish a tile of int32 sums, in registers or in memory. */
YS_INLINE void ys_int8_finish(ptrdiff_t rows, vi (*sum)[2], const struct ys_tile *t) {
    const vf s0 = vf_load(t->scales), s1 = vf_load(t->scales + LANES);
    for (ptrdiff_t r = 0; r < rows; r++) {
        const vf s = vf_set1(*(const float *)(t->a + ys_row_at(rows, r, INT8_BYTES, SCALE_AT)));
        ys_finish_row(vf_of(sum[r][0]) * (s * s0), vf_of(sum[r][1]) * (s * s1),
                      t->out + r * t->stride, t);
    }
}

/* One copy in the object file: cloned for one caller, it might fuse a multiplication with an addition
 * that it leaves apart for another, and a row's bits would depend on the way it came. */
#if defined(__clang__)
__attribute__((noinline))
#elif defined(__GNUC__)
__attribute__((noinline, noclone))
#endif
static void ys_int8_kernel(ptrdiff_t rows, const struct ys_tile *t) {
#ifdef YS_TILES
    _Alignas(64) vi sum[2 * TILE_ROWS][2];
    do YS_TILE_SUMS(ys_tile_int8, rows, t, INT8_BYTES, t->b + NR * sizeof(int32_t), sum, sizeof *sum);
    while (YS_TILE_LOST(t));
    ys_int8_finish(rows, sum, t);
#else
    vi sum[UNIT_MR][2];
#define X(n) case n: ys_int8_sums(n, t, sum); ys_int8_finish(n, sum, t); break;
    switch (rows) { YS_HEIGHTS(UNIT_MR, X) }
#undef X
#endif
}

static void ys_int8_multiply(const struct ys_linear *map, const void *block, int64_t rows, int64_t at,
                             int64_t depth, int64_t begin, int64_t end, const struct ys_epilogue *e) {
    const char *panels = (const char *)map->panels + ys_int8_span(at / SPAN);
    const int64_t panel_bytes = ys_int8_panel(map->depth);
    struct ys_tile t = {.a = (const char *)block, .steps = ys_words(depth), .asks = e->accumulate};
    UNIT_BEGIN();
    do
        for (int64_t column = begin; column < end; column += NR) {
            t.b = panels + column / NR * panel_bytes;
            t.ahead = t.b + panel_bytes;
            t.scales = map->scales + column;
            ys_start_panel(&t, e, begin, column, end);
            ys_panel_tiles(ys_int8_kernel, rows, UNIT_MR, UNIT_ROWS, INT8_BYTES, NR * INT8_PACK, t);
        }
    while (UNIT_LOST(&t));
    UNIT_END();
}

static const struct ys_product ys_int8 = {
    .name = "int8",
    .quantized = 1,
    .native = INT8_PACK == 4,
    .nr = NR,
    .kc = SPAN,
    /* Weights are read in a quarter of float32's time, so that blocks may be smaller; and a layer's
     * middle is wider. */
    .mc = 96,
    .nc = ALL_COLUMNS,
    .packed_row = WORD_STRIDE,
    .spare_rows = UNIT_SPARE,
    .panel_bytes = ys_int8_panel,
    .pack_weight = ys_int8_pack_weight,
    .pack_rows = ys_int8_pack_rows,
    .multiply = ys_int8_multiply,
};

#endif
