/* Any other processor: vector extensions where the compiler has them, else plain scalar C. */
#ifndef YOSORT_GENERIC_H
#define YOSORT_GENERIC_H

#if (defined(__GNUC__) || defined(__clang__)) && !defined(YOSORT_SCALAR)
#  define LANES 4
#else
#  define LANES 1
#endif
#include "vector.h"

#define MR 4

YS_INLINE vi vi_round(vf x) {
    float lane[LANES];
    int32_t rounded[LANES];
    vf_store(lane, x);
    for (int i = 0; i < LANES; i++) rounded[i] = (int32_t)lrintf(lane[i]);
    return vi_load(rounded);
}

#endif
