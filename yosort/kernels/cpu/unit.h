/* What multiplies words of int8 or bfloat16: a matrix unit, instructions for pairs of rows, or vectors,
 * whose tile is MR rows high. */
#ifndef YOSORT_UNIT_H
#define YOSORT_UNIT_H

#if defined(YOSORT_TILES) || defined(YOSORT_EMULATE_TILES)
#  include "tiles.h"
#  define YS_TILES
#  define UNIT_BEGIN ys_tiles_begin
#  define UNIT_END ys_tiles_end
#  define UNIT_LOST ys_product_lost     /* whether all of a product is to be computed again */
#  define UNIT_MR (2 * TILE_ROWS)
#  define UNIT_ROWS TILE_ROWS   /* that it takes at a time */
#  define UNIT_SPARE (TILE_ROWS - 1)    /* of them, that need not be there */
#  define UNIT_WORDS TILE_WORDS /* of the depth that it takes at a time */
#  define UNIT_RUN 1            /* of them, that lie together in a panel */
#elif defined(YS_PAIRS)
#  include "pairs.h"
#  define UNIT_BEGIN()
#  define UNIT_END()
#  define UNIT_LOST(t) 0
#  define UNIT_MR PAIRS_MR
#  define UNIT_ROWS 2
#  define UNIT_SPARE 0
#  define UNIT_WORDS RUN_WORDS
#  define UNIT_RUN RUN_WORDS
#else
#  include "gemm.h"
#  define UNIT_BEGIN()
#  define UNIT_END()
#  define UNIT_LOST(t) 0
#  define UNIT_MR MR
#  define UNIT_ROWS 1
#  define UNIT_SPARE 0
#  define UNIT_WORDS 1
#  define UNIT_RUN 1
#endif

#ifndef YS_PAIRS
/* Where byte `at` of row r of so many packed rows lies, if each has `stride` bytes. */
YS_INLINE ptrdiff_t ys_row_at(ptrdiff_t rows, ptrdiff_t r, ptrdiff_t stride, ptrdiff_t at) {
    (void)rows;
    return r * stride + at;
}
#endif

/* Words of a depth, of which each holds `values`. */
static int64_t ys_words_of(int64_t depth, int values) {
    return (depth + values * UNIT_WORDS - 1) / (values * UNIT_WORDS) * UNIT_WORDS;
}

#endif
