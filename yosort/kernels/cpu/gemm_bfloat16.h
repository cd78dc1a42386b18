/* The product of bfloat16, the upper halves of floats: see gemm.h. x and W are rounded to it; products
 * are exact, sums float32. Two neighbouring depths make a word, whose odd one is added first:
 *
 *     sum = (sum + x[2k + 1] w[2k + 1]) + x[2k] w[2k]
 *
 * as AVX-512's instruction has it. Without one, the float32 kernel meets the depths in that order: the
 * bits are the same. A matrix unit has another order: it sums the odd and the even depths of 16 words
 * apart, and then adds both to what was there. Arm's BFMMLA adds the products of a word to each other
 * first, and rounds each sum to odd: to the two nearest floats' one whose last bit is set.
 *
 * A panel is [depth / 2][NR] words, filled up with zeros to whole words, and to 16 of them for a
 * matrix unit; so are rows of x. For BFMMLA two words are a run, see pairs.h.
 */
#ifndef YOSORT_GEMM_BFLOAT16_H
#define YOSORT_GEMM_BFLOAT16_H

#include "bfloat16.h"
#include "gemm_widened.h"
#include "unit.h"

#ifdef YS_TILES
#  define BFLOAT16_KC 1024      /* the sums of a block go through memory: the fewer, the better */
#else
#  define BFLOAT16_KC KC
#endif
#define BFLOAT16_STRIDE (BFLOAT16_KC / 2 + CACHE_LINE)  /* words */
#define BFLOAT16_BYTES (BFLOAT16_STRIDE * (ptrdiff_t)sizeof(int32_t))
#if defined(YS_BFLOAT16_DOT) || defined(YS_PAIRS) || defined(YS_TILES)
#  define BFLOAT16_NATIVE
#endif

static int64_t ys_pairs(int64_t depth) { return ys_words_of(depth, 2); }

static int64_t ys_bfloat16_panel(int64_t depth) { return ys_pairs(depth) * NR * (int64_t)sizeof(int32_t); }

/* Where word k of column j of a panel lies. */
YS_INLINE int64_t ys_word_at(int64_t k, int64_t j) {
    return (k / UNIT_RUN * NR + j) * UNIT_RUN + k % UNIT_RUN;
}

static void ys_bfloat16_pack_weight(const void *weight, int64_t stride, int64_t count, int64_t depth,
                                    void *panels) {
    const int64_t words = ys_pairs(depth);
    for (int64_t at = 0; at < count; at += NR)
        for (int64_t begin = 0; begin < words; begin += PART / 2) {
            int32_t *to = (int32_t *)panels + (at * words + begin * NR);
            uint16_t part[PART];
            const int64_t here = words - begin < PART / 2 ? words - begin : PART / 2;
            for (int64_t j = 0; j < NR; j++) {
                const int64_t width = at + j < count ? depth - 2 * begin : 0;
                const float *row = (const float *)weight + (at + j) * stride + 2 * begin;
                for (int64_t k = 0; k < 2 * here; k += LANES)
                    ys_bfloat16_store(part + k, vf_load_part(row + k, width - k));
                for (int64_t k = 0; k < here; k++)
                    memcpy(to + ys_word_at(k, j), part + 2 * k, sizeof *to);
            }
        }
}

#ifdef BFLOAT16_NATIVE

static void ys_bfloat16_pack_values(const float *value, int64_t stride, int64_t keys, int value_dim,
                                    void *panels) {
    const int64_t words = ys_pairs(keys);
    for (int64_t first = 0; first < value_dim; first += NR)
        for (int64_t k = 0; k < words; k++) {
            const float *row = value + 2 * k * stride + first;
            int32_t *to = (int32_t *)panels + first * words;
            if (2 * k + AHEAD < keys) ys_prefetch(row + AHEAD * stride, NR);
            for (int64_t j = 0; j < NR; j += LANES) {
                const int64_t width = value_dim - first - j;
                int32_t word[LANES];
                vi_store(word, ys_bfloat16_words(vf_load_part(row + j, 2 * k < keys ? width : 0),
                                                 vf_load_part(row + stride + j,
                                                              2 * k + 1 < keys ? width : 0)));
                for (int i = 0; i < LANES; i++) to[ys_word_at(k, j + i)] = word[i];
            }
        }
}

YS_INLINE uint16_t *ys_bfloat16_at(char *block, int64_t rows, int64_t r, int64_t k) {
    return (uint16_t *)(block + ys_row_at(rows, r, BFLOAT16_BYTES, k * (int64_t)sizeof(uint16_t)));
}

static const void *ys_bfloat16_pack_rows(const float *x, int64_t stride, int64_t rows, int64_t depth,
                                         float *packed) {
    char *block = (char *)packed;
    for (int64_t at = 0; at < depth; at += BFLOAT16_KC, block += rows * BFLOAT16_BYTES) {
        const int64_t width = depth - at < BFLOAT16_KC ? depth - at : BFLOAT16_KC;
        for (int64_t r = 0; r < rows; r++) {
            const float *row = x + r * stride + at;
            int64_t k = 0;
            for (; k + LANES <= width; k += LANES)
                ys_bfloat16_store(ys_bfloat16_at(block, rows, r, k), vf_load(row + k));
            for (; k < 2 * ys_pairs(width); k += LANES) {
                const vf part = vf_load_part(row + k, k < width ? width - k : 0);
                ys_bfloat16_store(ys_bfloat16_at(block, rows, r, k), part);
            }
        }
    }
    return packed;
}

#ifdef YS_TILES

/* Whether sums may be stored where they belong: nothing is done to them, and they fill the unit's tiles. */
YS_INLINE int ys_plain(ptrdiff_t rows, const struct ys_tile *t) {
    return rows % TILE_ROWS == 0 && t->width == NR && !t->accumulate && !t->bias &&
           t->activation == YS_LINEAR;
}

static void ys_bfloat16_kernel(ptrdiff_t rows, const struct ys_tile *t) {
    _Alignas(64) vf sum[2 * TILE_ROWS][2];
    const int plain = ys_plain(rows, t);
    void *const to = plain ? (void *)t->out : (void *)sum;
    const ptrdiff_t to_stride = plain ? t->stride * (ptrdiff_t)sizeof(float) : (ptrdiff_t)sizeof *sum;
    do YS_TILE_SUMS(ys_tile_bfloat16, rows, t, BFLOAT16_BYTES, t->b, to, to_stride);
    while (YS_TILE_LOST(t));
    if (!plain) ys_finish_tile(rows, sum, t);
}

#else

#ifdef YS_PAIRS

YS_PAIR_SUMS(ys_bfloat16_pairs, vf, ys_bfloat16_pair)
YS_INLINE void ys_bfloat16_sums(int rows, const struct ys_tile *t, vf (*YS_RESTRICT sum)[2]) {
    ys_bfloat16_pairs(rows, t, BFLOAT16_BYTES, t->b, sum);
}

#else

YS_INLINE void ys_bfloat16_step(int rows, const int32_t *YS_RESTRICT a, const int32_t *YS_RESTRICT b,
                                vf (*YS_RESTRICT sum)[2]) {
    const vi b0 = vi_load(b), b1 = vi_load(b + LANES);
    for (int r = 0; r < rows; r++) {
        const vi x = vi_set1(a[r * BFLOAT16_STRIDE]);
        sum[r][0] = ys_bfloat16_dot(sum[r][0], x, b0);
        sum[r][1] = ys_bfloat16_dot(sum[r][1], x, b1);
    }
}

YS_INLINE void ys_bfloat16_sums(int rows, const struct ys_tile *t, vf (*YS_RESTRICT sum)[2]) {
    const int32_t *a = (const int32_t *)t->a, *b = (const int32_t *)t->b;
    const float *ahead = (const float *)t->ahead;
    const ptrdiff_t words = t->steps;
    const int lines = t->lines;
    ptrdiff_t k = 0;
    for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = vf_set1(0.0f);
    for (; k + STEPS <= words; k += STEPS) {
        for (int i = 0; i < lines; i++) ys_prefetch_later(ahead + k * NR + i * CACHE_LINE);
        for (int i = 0; i < STEPS; i++) ys_bfloat16_step(rows, a + k + i, b + (k + i) * NR, sum);
    }
    for (; k < words; k++) ys_bfloat16_step(rows, a + k, b + k * NR, sum);
}

#endif

static void ys_bfloat16_kernel(ptrdiff_t rows, const struct ys_tile *t) {
    vf sum[UNIT_MR][2];
#define X(n) case n: ys_bfloat16_sums(n, t, sum); ys_finish_tile(n, sum, t); break;
    switch (rows) { YS_HEIGHTS(UNIT_MR, X) }
#undef X
}

#endif

static void ys_bfloat16_multiply(const struct ys_linear *map, const void *block, int64_t rows,
                                 int64_t at, int64_t depth, int64_t begin, int64_t end,
                                 const struct ys_epilogue *e) {
    const int64_t panel_bytes = ys_bfloat16_panel(map->depth), step = NR * (int64_t)sizeof(int32_t);
    const char *panels = (const char *)map->panels + at / 2 * step;
    struct ys_tile t = {.a = (const char *)block, .steps = ys_pairs(depth), .asks = e->accumulate};
    UNIT_BEGIN();
    do
        for (int64_t column = begin; column < end; column += NR) {
            t.b = panels + column / NR * panel_bytes;
            t.ahead = t.b + panel_bytes;
            ys_start_panel(&t, e, begin, column, end);
            ys_panel_tiles(ys_bfloat16_kernel, rows, UNIT_MR, UNIT_ROWS, BFLOAT16_BYTES, step, t);
        }
    while (UNIT_LOST(&t));
    UNIT_END();
}

#else

/* Rows as floats that bfloat16 has, the two of a word exchanged. */
static const void *ys_bfloat16_pack_rows(const float *x, int64_t stride, int64_t rows, int64_t depth,
                                         float *packed) {
    float *to = packed;
    for (int64_t at = 0; at < depth; at += KC) {
        const int64_t width = depth - at < KC ? depth - at : KC;
        for (int64_t r = 0; r < rows; r++, to += STRIDE) {
            const float *row = x + r * stride + at;
            for (int64_t k = 0; k < width; k += 2) {
                to[k] = k + 1 < width ? ys_bfloat16_round(row[k + 1]) : 0.0f;
                to[k + 1] = ys_bfloat16_round(row[k]);
            }
        }
    }
    return packed;
}

static void ys_bfloat16_widen(const struct ys_linear *map, int64_t column, int64_t at, int64_t depth,
                              float *panel) {
    const int64_t panel_bytes = ys_bfloat16_panel(map->depth);
    const int32_t *words = (const int32_t *)((const char *)map->panels + column / NR * panel_bytes);
    words += at / 2 * NR;
    for (int64_t k = 0; k < ys_pairs(depth); k++)
        for (int64_t j = 0; j < NR; j += LANES) {
            const vi word = vi_load(words + k * NR + j);
            ys_prefetch_later(words + (k + ys_pairs(depth)) * NR + j);  /* what is next in memory */
            vf_store(panel + 2 * k * NR + j, ys_bfloat16_odd(word));
            vf_store(panel + (2 * k + 1) * NR + j, ys_bfloat16_even(word));
        }
}

static void ys_bfloat16_multiply(const struct ys_linear *map, const void *block, int64_t rows,
                                 int64_t at, int64_t depth, int64_t begin, int64_t end,
                                 const struct ys_epilogue *e) {
    ys_multiply_widened(ys_bfloat16_widen, map, block, rows, at, depth, 2 * ys_pairs(depth), begin,
                        end, e);
}

#endif

static const struct ys_product ys_bfloat16 = {
    .name = "bfloat16",
    .nr = NR,
    .kc = BFLOAT16_KC,
    .mc = 192,
#ifdef BFLOAT16_NATIVE
    .native = 1,
    .nc = ALL_COLUMNS,
    .pack_values = ys_bfloat16_pack_values,
    .square = ys_bfloat16_square,
    .packed_row = BFLOAT16_STRIDE,
    .spare_rows = UNIT_SPARE,
#else
    .nc = NR,       /* a tile's sums wait in the cache for the rest of the depth */
    .packed_row = STRIDE,
#endif
    .panel_bytes = ys_bfloat16_panel,
    .pack_weight = ys_bfloat16_pack_weight,
    .pack_rows = ys_bfloat16_pack_rows,
    .multiply = ys_bfloat16_multiply,
};

#endif
