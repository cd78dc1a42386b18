/* What multiplies words of int8 or bfloat16: vectors, whose tile is MR rows high, or a matrix unit. */
#ifndef YOSORT_UNIT_H
#define YOSORT_UNIT_H

#if defined(YOSORT_TILES) || defined(YOSORT_EMULATE_TILES)
#  include "tiles.h"
#  define YS_TILES
#  define UNIT_BEGIN ys_tiles_begin
#  define UNIT_END ys_tiles_end
#  define UNIT_MR (2 * TILE_ROWS)
#  define UNIT_ROWS TILE_ROWS   /* that it takes at a time */
#  define UNIT_WORDS TILE_WORDS /* of the depth, likewise */
#else
#  include "gemm.h"
#  define UNIT_BEGIN()
#  define UNIT_END()
#  define UNIT_MR MR
#  define UNIT_ROWS 1
#  define UNIT_WORDS 1
#endif

/* Words of a depth, of which each holds `values`. */
static int64_t ys_words_of(int64_t depth, int values) {
    return (depth + values * UNIT_WORDS - 1) / (values * UNIT_WORDS) * UNIT_WORDS;
}

#endif
