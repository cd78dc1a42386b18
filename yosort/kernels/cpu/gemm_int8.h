/* Dense products y = x W^T of 8-bit integers: W has a scale for each output column, x one for each
 * row and SPAN of the depth. Sums of a span are exact int32, the same on every instruction set:
 *
 *     y[r][j] = sum over spans of  (scale of x[r] in the span * scale of W[j]) * sum_k qx qw
 *
 * A word is 32 bits of x: PACK values of neighbouring depths, which one instruction multiplies and
 * adds. No instruction used here saturates: bytes are multiplied into 32 bits (VNNI, Arm's dot
 * product), or widened to 16 bits first, whose pairs of products fit 32 bits.
 *
 * A panel: for each span, int32 [PANEL] where the sums start, then int8 [words][PANEL][PACK].
 * VNNI's left operand is unsigned: it gets qx + 128, and the sums start at -128 times the column's
 * sum of weights. 32 bits wrap around on the way, which the exact result does not see.
 */
#ifndef YOSORT_GEMM_INT8_H
#define YOSORT_GEMM_INT8_H

#include "gemm.h"
#include "quantize.h"

#if LANES == 16 && defined(__AVX512VNNI__)
#  define PACK 4
#  define OFFSET 128
typedef uint8_t ys_qx;
YS_INLINE vi ys_dot(vi sum, vi x, vi w) { return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)x, (__m512i)w); }
#elif LANES == 16
#  define PACK 2
typedef int16_t ys_qx;
YS_INLINE vi ys_dot(vi sum, vi x, vi w) { return sum + (vi)_mm512_madd_epi16((__m512i)x, (__m512i)w); }
YS_INLINE vi ys_weights(const int8_t *p) { return (vi)_mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)p)); }
#elif LANES == 8 && defined(__AVXVNNI__)
#  define PACK 4
#  define OFFSET 128
typedef uint8_t ys_qx;
YS_INLINE vi ys_dot(vi sum, vi x, vi w) { return (vi)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)x, (__m256i)w); }
#elif LANES == 8 && defined(__AVX2__)
#  define PACK 2
typedef int16_t ys_qx;
YS_INLINE vi ys_dot(vi sum, vi x, vi w) { return sum + (vi)_mm256_madd_epi16((__m256i)x, (__m256i)w); }
YS_INLINE vi ys_weights(const int8_t *p) { return (vi)_mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)p)); }
#elif LANES == 4 && defined(__SSE2__)
#  define PACK 2
typedef int16_t ys_qx;
YS_INLINE vi ys_dot(vi sum, vi x, vi w) { return sum + (vi)_mm_madd_epi16((__m128i)x, (__m128i)w); }
YS_INLINE vi ys_weights(const int8_t *p) {
    const __m128i bytes = _mm_loadl_epi64((const void *)p);
    return (vi)_mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
}
#elif LANES == 4 && defined(__ARM_FEATURE_DOTPROD)
#  define PACK 4
typedef int8_t ys_qx;
YS_INLINE vi ys_dot(vi sum, vi x, vi w) { return (vi)vdotq_s32((int32x4_t)sum, (int8x16_t)x, (int8x16_t)w); }
#else
#  define PACK 1
typedef int32_t ys_qx;
YS_INLINE vi ys_dot(vi sum, vi x, vi w) { return sum + x * w; }
YS_INLINE vi ys_weights(const int8_t *p) {
    int32_t lane[LANES];
    for (int i = 0; i < LANES; i++) lane[i] = p[i];
    return vi_load(lane);
}
#endif
#if PACK == 4
YS_INLINE vi ys_weights(const int8_t *p) { vi x; memcpy(&x, p, sizeof x); return x; }
#endif
#ifndef OFFSET
#  define OFFSET 0
#endif

#define SPAN 1024
#define WORDS (SPAN / PACK)
#define WORD_STRIDE (WORDS + 16)    /* an odd number of cache lines, as STRIDE is */

static int64_t ys_spans(int64_t depth) { return (depth + SPAN - 1) / SPAN; }
static int64_t ys_words(int64_t depth) { return (depth + PACK - 1) / PACK; }

/* Bytes of a panel over all of the depth, and where a span of it starts. */
static int64_t ys_int8_panel(int64_t depth) {
    return ys_spans(depth) * PANEL * (int64_t)sizeof(int32_t) + ys_words(depth) * PANEL * PACK;
}
static int64_t ys_int8_span(int64_t span) {
    return span * PANEL * ((int64_t)sizeof(int32_t) + SPAN);
}

/* Lay out rows [first, first + count) of weight [out][depth] in panels; missing ones are 0. */
static void ys_pack_int8(const int8_t *weight, ptrdiff_t first, ptrdiff_t count, ptrdiff_t depth,
                         int8_t *panels) {
    for (ptrdiff_t at = 0; at < count; at += PANEL) {
        int8_t *panel = panels + (first + at) / PANEL * ys_int8_panel(depth);
        for (ptrdiff_t begin = 0; begin < depth; begin += SPAN) {
            const ptrdiff_t width = depth - begin < SPAN ? depth - begin : SPAN;
            int8_t *to = panel + ys_int8_span(begin / SPAN) + PANEL * sizeof(int32_t);
            int32_t start[PANEL];
            memset(to, 0, (size_t)(ys_words(width) * PANEL * PACK));
            for (ptrdiff_t j = 0; j < PANEL; j++) {
                start[j] = 0;
                if (at + j >= count) continue;
                const int8_t *row = weight + (at + j) * depth + begin;
                for (ptrdiff_t k = 0; k < width; k++) {
                    to[(k / PACK * PANEL + j) * PACK + k % PACK] = row[k];
                    start[j] -= OFFSET * row[k];
                }
            }
            memcpy(to - sizeof start, start, sizeof start);
        }
    }
}

/* What ys_quantize_rows fills: words [spans][rows][WORD_STRIDE], scales [spans][rows]. */
struct ys_quantized {
    int32_t *words;
    float *scales;
};

/* 32-bit words that the quantised rows take, their scales included. */
static int64_t ys_quantized_size(int64_t rows, int64_t depth) {
    return ys_spans(depth) * rows * (WORD_STRIDE + 1);
}

static struct ys_quantized ys_quantized_at(float *scratch, int64_t rows, int64_t depth) {
    const struct ys_quantized q = {(int32_t *)scratch, scratch + ys_spans(depth) * rows * WORD_STRIDE};
    return q;
}

YS_INLINE void ys_store_quantized(ys_qx *to, vi q) {
#if LANES == 1
    *to = (ys_qx)(q + OFFSET);
#else
    typedef ys_qx narrow __attribute__((vector_size(LANES * sizeof(ys_qx))));
    const narrow n = __builtin_convertvector(q + vi_set1(OFFSET), narrow);
    memcpy(to, &n, sizeof n);
#endif
}

/* Quantise rows of x [rows][stride], each span of the depth by itself. */
static void ys_quantize_rows(const float *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t depth,
                             struct ys_quantized to) {
    for (ptrdiff_t at = 0; at < depth; at += SPAN) {
        const ptrdiff_t width = depth - at < SPAN ? depth - at : SPAN;
        for (ptrdiff_t r = 0; r < rows; r++) {
            const float *row = x + r * stride + at;
            ys_qx *q = (ys_qx *)(to.words + r * WORD_STRIDE);
            float inverse;
            to.scales[r] = ys_scale(ys_largest(row, width), &inverse);
            ptrdiff_t i = 0;
            for (; i + LANES <= width; i += LANES)
                ys_store_quantized(q + i, vi_round(vf_load(row + i) * vf_set1(inverse)));
            if (i < width)
                ys_store_quantized(q + i, vi_round(ys_load_some(row + i, width - i) * vf_set1(inverse)));
        }
        to.words += rows * WORD_STRIDE;
        to.scales += rows;
    }
}

YS_INLINE void ys_word(int rows, const int32_t *YS_RESTRICT x, const int8_t *YS_RESTRICT panel,
                       vi (*YS_RESTRICT sum)[2]) {
    const vi w0 = ys_weights(panel), w1 = ys_weights(panel + LANES * PACK);
    for (int r = 0; r < rows; r++) {
        const vi a = vi_set1(x[r * WORD_STRIDE]);
        sum[r][0] = ys_dot(sum[r][0], a, w0);
        sum[r][1] = ys_dot(sum[r][1], a, w1);
    }
}

/* One tile over one span, as ys_tile of gemm.h: int32 sums, then their floats. */
YS_INLINE void ys_tile_int8(int rows, const int32_t *YS_RESTRICT x, const float *x_scales,
                            const int8_t *YS_RESTRICT panel, ptrdiff_t words, const int8_t *ahead,
                            int lines, const float *scales, vf (*YS_RESTRICT out)[2]) {
    vi sum[TILE][2];
    const vi start0 = vi_load((const int32_t *)panel);
    const vi start1 = vi_load((const int32_t *)panel + LANES);
    panel += PANEL * sizeof(int32_t);
    for (int r = 0; r < rows; r++) sum[r][0] = start0, sum[r][1] = start1;
    ptrdiff_t k = 0;
    for (; k + STEPS <= words; k += STEPS) {
        for (int i = 0; i < lines; i++) ys_prefetch_later((const float *)(ahead + k * PANEL * PACK) + i * CACHE_LINE);
        for (int i = 0; i < STEPS; i++) ys_word(rows, x + k + i, panel + (k + i) * PANEL * PACK, sum);
    }
    for (; k < words; k++) ys_word(rows, x + k, panel + k * PANEL * PACK, sum);
    const vf s0 = vf_load(scales), s1 = vf_load(scales + LANES);
    for (int r = 0; r < rows; r++) {
        const vf s = vf_set1(x_scales[r]);
        out[r][0] = vf_of(sum[r][0]) * (s * s0);
        out[r][1] = vf_of(sum[r][1]) * (s * s1);
    }
}

/* One copy in the object file: cloned for one caller, it might fuse a multiplication with an addition
 * that it leaves apart for another, and a row's bits would depend on the way it came. */
#if defined(__clang__)
__attribute__((noinline))
#elif defined(__GNUC__)
__attribute__((noinline, noclone))
#endif
static void ys_tile_int8_of(ptrdiff_t rows, const int32_t *x, const float *x_scales,
                            const int8_t *panel, ptrdiff_t words, const int8_t *ahead, int lines,
                            const float *scales, const struct ys_epilogue *e, float *out,
                            const float *bias, ptrdiff_t width) {
    vf sum[TILE][2];
    switch (rows) {
#define YS_CASE(n)                                                                  \
    case n:                                                                         \
        ys_tile_int8(n, x, x_scales, panel, words, ahead, lines, scales, sum);      \
        ys_store_tile(n, sum, e, out, bias, width);                                 \
        break;
    YS_CASES
#undef YS_CASE
    }
}

/* One span of a product, for some columns: out[rows][begin..end) from quantised rows of the span.
 * panels: of the whole matrix over full_depth; the span starts at depth `at`. */
static void ys_int8_product_span(const int32_t *x, const float *x_scales, ptrdiff_t rows,
                                  const int8_t *panels, const float *scales, ptrdiff_t full_depth,
                                  ptrdiff_t at, ptrdiff_t depth, ptrdiff_t begin, ptrdiff_t end,
                                  const struct ys_epilogue *e) {
    const ptrdiff_t tiles = (rows + TILE - 1) / TILE;
    const int64_t panel_bytes = ys_int8_panel(full_depth);
    const int line = CACHE_LINE * (int)sizeof(float);
    const int lines = (int)((STEPS * PANEL * PACK / line + tiles - 1) / tiles);
    for (ptrdiff_t column = begin; column < end; column += PANEL) {
        const int8_t *panel = panels + column / PANEL * panel_bytes + ys_int8_span(at / SPAN);
        const ptrdiff_t width = end - column < PANEL ? end - column : PANEL;
        const float *bias = e->bias ? e->bias + column : NULL;
        for (ptrdiff_t t = 0, row = 0; t < tiles; t++) {
            const ptrdiff_t height = rows / tiles + (t < rows % tiles);
            ys_tile_int8_of(height, x + row * WORD_STRIDE, x_scales + row, panel, ys_words(depth),
                            panel + panel_bytes + t * lines * line, lines, scales + column, e,
                            e->out + row * e->stride + (column - begin), bias, width);
            row += height;
        }
    }
}

#endif
