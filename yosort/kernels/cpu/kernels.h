/* What kernels.c exports for each instruction set: a table of kernels, and the structures they take. */
#ifndef YOSORT_KERNELS_H
#define YOSORT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* A linear map y = activation(x W^T + bias), prepared for a product. */
struct ys_linear {
    const struct ys_product *product;
    const void *panels;             /* of W, as product->pack_weight laid them out */
    const float *bias;              /* NULL, or padded with zeros to whole panels */
    const float *scales;            /* of a quantised W's columns, padded alike */
    int64_t depth, columns;
};

/* What happens to a product on its way out; see gemm.h. */
struct ys_epilogue {
    float *out;                     /* [rows][stride], from the first column asked for on */
    ptrdiff_t stride;
    int accumulate;                 /* add to what is there: a further block of the depth */
    const float *bias;              /* [columns] or NULL */
    int activation;                 /* after the bias */
};

/* A way to multiply: how weights and rows of x are laid out, and their product. gemm.h has the words;
 * a product is one file beside it, and one line of the list in kernels.c. */
struct ys_product {
    const char *name;
    int quantized;                  /* W comes as int8 with a scale a column, else as float32 */
    int native;                     /* an instruction multiplies just these; else float32's does */
    int nr;                         /* columns of a panel */
    int kc;                         /* depth of a block: what one call of `multiply` takes at most */
    int mc;                         /* rows that a thread best carries through a layer together */
    int64_t nc;                     /* columns that meet all of the depth before the next do */
    int64_t packed_row;             /* floats of space for one row of a packed block */
    int64_t spare_rows;             /* that are read, and come to nothing, behind the last block's */

    /* Bytes of one panel over all of the depth. */
    int64_t (*panel_bytes)(int64_t depth);
    /* Lay out rows of W, `weight` [count][stride], of which `depth` count, in panels. Missing columns of
     * the last panel are 0. */
    void (*pack_weight)(const void *weight, int64_t stride, int64_t count, int64_t depth,
                        void *panels);
    /* Where attention may multiply so, else NULL: lay out W^T, `value` [keys][stride], so that a head's
     * values are a map of depth `keys`; and the squared length of a row, as it is when multiplied. */
    void (*pack_values)(const float *value, int64_t stride, int64_t keys, int value_dim,
                        void *panels);
    float (*square)(const float *x, int64_t width);
    /* Lay out rows of x [rows][stride] as blocks [depth / kc][rows][packed_row]. Returns where they
     * are: in `packed`, or in x itself where it is laid out so already. */
    const void *(*pack_rows)(const float *x, int64_t stride, int64_t rows, int64_t depth,
                             float *packed);
    /* One block of packed rows, of depth [at, at + depth), times columns [begin, end) of the map;
     * at is a multiple of kc, begin of nr. */
    void (*multiply)(const struct ys_linear *map, const void *block, int64_t rows, int64_t at,
                     int64_t depth, int64_t begin, int64_t end, const struct ys_epilogue *epilogue);
};

struct ys_norm {
    const float *scale, *shift;
    float eps;
};

/* What follows the attention in a layer; see layer.h. */
struct ys_tail {
    struct ys_linear output, up, down, next;    /* next.panels is NULL after the last layer */
    struct ys_norm norm1, norm2;
    int activation;
    const float *context, *x;                   /* [rows][*_stride] */
    int64_t context_stride, x_stride;
    float *out, *next_out;                      /* [rows][hidden], [rows][next.columns] */
};

/* Hash codes [num_hash] of a text's tokens: [count] each, `stride` apart. */
struct ys_codes {
    const uint16_t *codes;
    int64_t count, stride;
};

/* What sampled attention of one head of one text takes; see sample.h. */
struct ys_sampling {
    const float *query, *key, *value;           /* [queries or keys] rows, their strides apart */
    int64_t query_stride, key_stride, value_stride, queries, keys;
    int dim, value_dim;
    const int32_t *signs;                       /* of the head, see ys_hash_tokens */
    int parts, width, num_hash, hash_code_len;
    float *out;                                 /* [queries] rows of value_dim floats */
    int64_t out_stride;
};

struct ys_kernels {
    const char *name;               /* of the instruction set, such as "avx2" */
    const struct ys_product *const *products;   /* NULL after the last */
    const char *const *activations; /* their names, by number; NULL after the last */

    /* quantize.h and layer.h */
    float (*quantize_row)(const float *x, ptrdiff_t count, int8_t *q);
    int64_t (*packed_rows)(const struct ys_linear *map, int64_t rows);
    void (*linear_rows)(const struct ys_linear *map, const float *x, int64_t stride, int64_t rows,
                        int activation, int64_t begin, int64_t end, float *out, int64_t out_stride,
                        float *scratch);

    /* layer.h and layer_norm.h */
    int64_t (*tail_scratch)(const struct ys_tail *tail, int64_t rows);
    void (*tail_rows)(const struct ys_tail *tail, int64_t first, int64_t rows, float *scratch);
    void (*layer_norm_row)(const float *x, const float *residual, const float *scale,
                           const float *shift, float eps, ptrdiff_t width, float *out);

    /* hash.h */
    void (*hash_tokens)(const float *x, ptrdiff_t stride, ptrdiff_t count, int dim,
                        const int32_t *signs, int parts, int width, int num_hash,
                        int hash_code_len, uint16_t *codes, ptrdiff_t codes_stride,
                        float *scratch);
    void (*sign_codes)(const float *projected, ptrdiff_t stride, ptrdiff_t count, int num_hash,
                       int hash_code_len, uint16_t *codes, ptrdiff_t codes_stride);

    /* cumulation.h */
    int slice;                      /* value dims that one call of cumulate_slice takes at most */
    int64_t (*cumulate_scratch)(int64_t queries, int64_t keys, int hash_code_len);
    void (*cumulate_slice)(struct ys_codes queries, struct ys_codes keys, int num_hash,
                           int hash_code_len, const float *value, int64_t value_stride, int dims,
                           float scale, float *out, int64_t out_stride, float *scratch);

    /* sample.h */
    int64_t (*sample_scratch)(const struct ys_sampling *sampling);
    void (*sample_head)(const struct ys_sampling *sampling, float *scratch);

    /* expectation.h */
    int64_t (*packed_keys)(const struct ys_product *product, int64_t keys, int dim);
    int64_t (*packed_values)(const struct ys_product *product, int64_t keys, int value_dim);
    void (*pack_keys)(const struct ys_product *product, const float *key, int64_t stride, int64_t keys,
                      int dim, int normalize, float *packed_keys);
    int64_t (*expect_scratch)(const struct ys_product *product, int64_t rows, int dim,
                              int value_dim);
    void (*expect_rows)(const struct ys_product *product, const float *query, int64_t query_stride,
                        int64_t rows, const float *packed_keys, const float *packed_values,
                        int64_t keys, int dim, int value_dim, int hash_code_len, int normalize,
                        float *out, int64_t out_stride, float *scratch);
    void (*normalize_row)(float *x, int dim);
};

/* Ask the system for the matrix unit, on behalf of the process; returns whether it is granted, or -1
 * where the processor has none or its table is not compiled in. Only when granted is that among the
 * variants. It is asked for by types that it multiplies alone: a process that has it cannot give a thread
 * a small stack for signals, and one that has such a stack is refused. */
int ys_request_tiles(void);

/* The table that is `index`-th best of those this processor can run; NULL past the last of them. */
const struct ys_kernels *ys_variant(int index);

#endif
