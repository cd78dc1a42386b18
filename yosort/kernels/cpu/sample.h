/* Sampled attention of one head of one text, from its tokens to its context, by one thread: its codes
 * are read while they lie in a near cache, where they fit one. Hashing all heads before cumulating any
 * of them takes the codes to memory and back.
 */
#ifndef YOSORT_SAMPLE_H
#define YOSORT_SAMPLE_H

#include "cumulation.h"
#include "expectation.h"
#include "hash.h"

/* Codes between functions' rows: an odd number of cache lines, so that the rows of a group do not all
 * fall into one set. */
static int64_t ys_code_stride(int64_t tokens) {
    const int64_t line = LINE_BYTES / sizeof(uint16_t);
    return ((tokens + line - 1) / line | 1) * line;
}

/* Floats that codes of so many tokens take. */
static int64_t ys_code_space(const struct ys_sampling *s, int64_t tokens) {
    return ys_code_stride(tokens) * s->num_hash / 2;
}

/* Floats of scratch that ys_sample_head takes. */
static int64_t ys_sample_scratch(const struct ys_sampling *s) {
    return 2 * (int64_t)s->width * LANES + ys_code_space(s, s->queries) + ys_code_space(s, s->keys) +
           ys_cumulate_scratch(s->queries, s->keys, s->hash_code_len);
}

/* Hash a head's tokens into `codes`; returns where they are. */
static struct ys_codes ys_hash_head(const struct ys_sampling *s, const float *x, int64_t stride,
                                    int64_t tokens, float *codes, float *scratch) {
    const int64_t row = ys_code_stride(tokens);
    ys_hash_tokens(x, stride, tokens, s->dim, s->signs, s->parts, s->width, s->num_hash,
                   s->hash_code_len, (uint16_t *)codes, row, scratch);
    return (struct ys_codes){(const uint16_t *)codes, tokens, row};
}

static void ys_sample_head(const struct ys_sampling *s, float *scratch) {
    if (s->queries == 0) return;
    float *query_codes = scratch + 2 * (int64_t)s->width * LANES;
    float *key_codes = query_codes + ys_code_space(s, s->queries);
    float *tables = key_codes + ys_code_space(s, s->keys);
    const struct ys_codes queries =
        ys_hash_head(s, s->query, s->query_stride, s->queries, query_codes, scratch);
    const struct ys_codes keys = ys_hash_head(s, s->key, s->key_stride, s->keys, key_codes, scratch);
    for (int d = 0; d < s->value_dim; d += SLICE) {
        const int dims = s->value_dim - d < SLICE ? s->value_dim - d : SLICE;
        ys_cumulate_slice(queries, keys, s->num_hash, s->hash_code_len, s->value + d, s->value_stride,
                          dims, (float)(1.0 / s->num_hash), s->out + d, s->out_stride, tables);
    }
    for (int64_t i = 0; i < s->queries; i++) ys_normalize_row(s->out + i * s->out_stride, s->value_dim);
}

#endif
