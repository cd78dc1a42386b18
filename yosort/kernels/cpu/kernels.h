/* The table of kernels that each instruction set exports, and the choice among them. */
#ifndef YOSORT_KERNELS_H
#define YOSORT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

struct ys_linear;
struct ys_tail;

struct ys_kernels {
    const char *name;           /* of the instruction set, such as "avx2" */
    int panel;                  /* output columns of a weight panel; weights are packed for it */

    /* gemm.h */
    void (*pack_panels)(const float *weight, ptrdiff_t first, ptrdiff_t count, ptrdiff_t depth,
                        float *panels);

    /* quantize.h and linear.h */
    float (*quantize_row)(const float *x, ptrdiff_t count, int8_t *q);
    int64_t (*panels_size)(int kind, int64_t depth, int64_t columns);
    void (*pack_integers)(int kind, const int8_t *weight, ptrdiff_t first, ptrdiff_t count,
                          ptrdiff_t depth, int8_t *panels);
    int64_t (*ready_size)(const struct ys_linear *map, int64_t rows);
    void (*linear_rows)(const struct ys_linear *map, const float *x, int64_t stride, int64_t rows,
                        int activation, int64_t begin, int64_t end, float *out, int64_t out_stride,
                        float *scratch);

    /* layer.h */
    int64_t (*tail_scratch)(const struct ys_tail *tail, int64_t rows);
    void (*tail_rows)(const struct ys_tail *tail, int64_t first, int64_t rows, float *scratch);
    void (*normalize_row)(float *x, int dim);

    /* hash.h */
    int lanes;
    void (*hash_tokens)(const float *x, ptrdiff_t stride, ptrdiff_t count, int dim,
                        const int32_t *signs, int parts, int width, int num_hash,
                        int hash_code_len, uint16_t *codes, ptrdiff_t codes_stride,
                        float *scratch);
    void (*sign_codes)(const float *projected, ptrdiff_t stride, ptrdiff_t count, int num_hash,
                       int hash_code_len, uint16_t *codes, ptrdiff_t codes_stride);

    /* cumulation.h */
    int slice;                  /* value dims that one call of cumulate_slice takes at most */
    int64_t (*cumulate_scratch)(int64_t queries, int64_t keys, int hash_code_len);
    void (*cumulate_slice)(const uint16_t *query_codes, int64_t queries, int64_t query_stride,
                           const uint16_t *key_codes, int64_t keys, int64_t key_stride,
                           int num_hash, int hash_code_len, const float *value,
                           int64_t value_stride, int dims, float scale, float *out,
                           int64_t out_stride, float *scratch);

    /* expectation.h */
    int64_t (*packed_keys)(int64_t keys, int dim);
    int64_t (*packed_values)(int64_t keys, int value_dim);
    void (*pack_head)(const float *key, int64_t key_stride, const float *value,
                      int64_t value_stride, int64_t keys, int dim, int value_dim, int normalize,
                      float *packed_keys, float *packed_values);
    int64_t (*expect_scratch)(int64_t rows, int dim, int value_dim);
    void (*expect_rows)(const float *query, int64_t query_stride, int64_t rows,
                        const float *packed_keys, const float *packed_values, int64_t keys,
                        int dim, int value_dim, int hash_code_len, int normalize, float *out,
                        int64_t out_stride, float *scratch);

    /* layer.h and layer_norm.h */
    void (*layer_norm_row)(const float *x, const float *residual, const float *scale,
                           const float *shift, float eps, ptrdiff_t width, float *out);
};

/* The table that is `index`-th best of those this processor can run; NULL past the last of them. */
const struct ys_kernels *ys_variant(int index);

#endif
