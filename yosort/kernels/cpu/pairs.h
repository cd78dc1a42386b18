/* Instructions that multiply two rows by two columns, a run of two words of each (4 values of bfloat16,
 * 8 of int8), and add to 2 x 2 sums: Arm's BFMMLA and SMMLA. A vector is two such runs, so that
 *
 *     a panel         is [depth / run][NR] runs: two columns in a vector
 *     two packed rows lie run by run beside each other; the last of an odd number is alone and whole,
 *                     and zeros are the second row of its vectors
 *
 * What a row comes to depends on no other.
 */
#ifndef YOSORT_PAIRS_H
#define YOSORT_PAIRS_H

#include "gemm.h"

#define PAIRS_MR 12             /* 24 accumulators, 4 of the panel, 1 of the rows: of 32 registers */
#define RUN_WORDS 2
#define RUN_BYTES 8

/* Where byte `at` of row r of so many packed rows lies, if each has `stride` bytes. */
YS_INLINE ptrdiff_t ys_row_at(ptrdiff_t rows, ptrdiff_t r, ptrdiff_t stride, ptrdiff_t at) {
    const ptrdiff_t second = r % 2;
    if (r + 1 - second >= rows) return r * stride + at;
    return (r - second) * stride + (at / RUN_BYTES * 2 + second) * RUN_BYTES + at % RUN_BYTES;
}

/* Run `run` of rows r and r + 1 of a tile. */
YS_INLINE vi ys_pair_load(int rows, int r, const struct ys_tile *t, ptrdiff_t stride, ptrdiff_t run) {
    vi x = vi_set1(0);
    memcpy(&x, t->a + ys_row_at(rows, r, stride, run * RUN_BYTES), r + 1 < rows ? sizeof x : RUN_BYTES);
    return x;
}

/* NAME(rows, t, stride, from, sum): sum [rows, to the next even number][2], vectors of VECTOR, = the
 * rows of a tile of y, see gemm.h, `stride` bytes apart, times a panel at `from`. DOT(sum, x, w) adds
 * the products of two rows and two columns. On the way sum[r] and sum[r + 1] hold those of rows r and
 * r + 1, sum[r] for the first half of the columns. The barrier keeps compilers from loading more than
 * the registers hold. */
#define YS_PAIR_SUMS(NAME, VECTOR, DOT)                                                           \
    YS_INLINE void NAME##_step(int rows, const struct ys_tile *t, ptrdiff_t stride, ptrdiff_t k,  \
                               const int32_t *b, VECTOR (*YS_RESTRICT sum)[2]) {                  \
        const vi w0 = vi_load(b), w1 = vi_load(b + LANES);                                        \
        const vi w2 = vi_load(b + 2 * LANES), w3 = vi_load(b + 3 * LANES);                        \
        for (int r = 0; r < rows; r += 2) {                                                       \
            __asm__ volatile("");                                                                 \
            const vi x = ys_pair_load(rows, r, t, stride, k / RUN_WORDS);                         \
            sum[r][0] = DOT(sum[r][0], x, w0);                                                    \
            sum[r][1] = DOT(sum[r][1], x, w1);                                                    \
            sum[r + 1][0] = DOT(sum[r + 1][0], x, w2);                                            \
            sum[r + 1][1] = DOT(sum[r + 1][1], x, w3);                                            \
        }                                                                                         \
    }                                                                                             \
    YS_INLINE void NAME(int rows, const struct ys_tile *t, ptrdiff_t stride, const char *from,    \
                        VECTOR (*YS_RESTRICT sum)[2]) {                                           \
        const int32_t *b = (const int32_t *)from, *ahead = (const int32_t *)t->ahead;             \
        const ptrdiff_t words = t->steps;                                                         \
        const int lines = t->lines;                                                               \
        ptrdiff_t k = 0;                                                                          \
        for (int r = 0; r < rows; r += 2)                                                         \
            for (int i = 0; i < 4; i++) sum[r + i / 2][i % 2] = (VECTOR){0};                      \
        for (; k + STEPS <= words; k += STEPS) {                                                  \
            for (int i = 0; i < lines; i++) ys_prefetch_later(ahead + k * NR + i * CACHE_LINE);   \
            for (int i = 0; i < STEPS; i += RUN_WORDS)                                            \
                NAME##_step(rows, t, stride, k + i, b + (k + i) * NR, sum);                       \
        }                                                                                         \
        for (; k < words; k += RUN_WORDS) NAME##_step(rows, t, stride, k, b + k * NR, sum);       \
        for (int r = 0; r < rows; r += 2) {                                                       \
            const vi left[2] = {(vi)sum[r][0], (vi)sum[r][1]};                                    \
            const vi right[2] = {(vi)sum[r + 1][0], (vi)sum[r + 1][1]};                           \
            sum[r][0] = (VECTOR)ys_lower_halves(left[0], left[1]);                                \
            sum[r][1] = (VECTOR)ys_lower_halves(right[0], right[1]);                              \
            sum[r + 1][0] = (VECTOR)ys_upper_halves(left[0], left[1]);                            \
            sum[r + 1][1] = (VECTOR)ys_upper_halves(right[0], right[1]);                          \
        }                                                                                         \
    }

#endif
