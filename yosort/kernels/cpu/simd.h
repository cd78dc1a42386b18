/* The instruction set that the flags of this compilation allow: kernels.c is compiled once for each
 * (see meson.build), and dispatch.c picks at run time, so no file needs -march=native. Its file has
 *
 *     LANES                            floats in a vector, see vector.h
 *     MR                               rows of a tile, see gemm.h: as many as the registers hold
 *     MANY_REGISTERS                   if there are 32 of them
 *     vi_round                         float to int32, to the nearest, ties to even
 *     YS_OR_WHERE_POSITIVE, ...        its way to set bits where a vector is positive, if it has one: hash.h
 *     INT8_PACK, ys_int8_x, ...        its dot product of 8-bit integers, if it has one: gemm_int8.h
 *     YS_BFLOAT16_DOT, ...             its dot product of bfloat16, if it has one: gemm_bfloat16.h
 *     YS_PAIRS, ...                    its products of two rows by two columns, if it has them: pairs.h
 */
#ifndef YOSORT_SIMD_H
#define YOSORT_SIMD_H

#if !(defined(__GNUC__) || defined(__clang__)) || defined(YOSORT_SCALAR)
#  include "generic.h"
#elif defined(__AVX512F__) && defined(__AVX512BW__)
#  include "avx512.h"
#elif defined(__AVX2__)
#  include "avx2.h"
#elif defined(__SSE2__)
#  include "sse2.h"
#elif defined(__aarch64__)
#  include "neon.h"
#else
#  include "generic.h"
#endif

#endif
