/* LSH cumulation: keys add their values into buckets, queries read theirs.
 *
 * One slice of SLICE value dims at a time, so that the tables of GROUP hash functions sit in the
 * second-level cache together: a value is loaded once for all of them, and a query's sum stays in
 * registers over them. A bucket sums its keys in order, a query its hashes in order: the result
 * does not depend on slices, threads or what else is in the batch.
 */
#ifndef YOSORT_CUMULATION_H
#define YOSORT_CUMULATION_H

#include "kernels.h"
#include "simd.h"

#define SLICE (2 * LANES)
#define GROUP 4

/* Tables of long codes fill the cache alone. */
YS_INLINE int ys_group_of(int hash_code_len) { return hash_code_len <= 11 ? GROUP : 1; }

/* Floats of scratch: the tables, and the packed values and sums of a slice. */
static int64_t ys_cumulate_scratch(int64_t queries, int64_t keys, int hash_code_len) {
    return (((int64_t)ys_group_of(hash_code_len) << hash_code_len) + queries + keys) * SLICE;
}

/* Code of token i by function h, times what a bucket takes. */
YS_INLINE size_t ys_bucket(struct ys_codes c, int h, int64_t i) {
    return (size_t)c.codes[h * c.stride + i] * SLICE;
}

/* Empty the buckets that this group will touch: all of them, unless few tokens touch fewer. */
static void ys_clear_tables(float *tables, int functions, int hash_code_len, struct ys_codes queries,
                            struct ys_codes keys) {
    const size_t table = (size_t)SLICE << hash_code_len, bucket = SLICE * sizeof(float);
    if (queries.count + keys.count > (int64_t)1 << hash_code_len) {
        memset(tables, 0, (size_t)functions * table * sizeof(float));
        return;
    }
    for (int h = 0; h < functions; h++) {
        float *to = tables + h * table;
        for (int64_t i = 0; i < queries.count; i++) memset(to + ys_bucket(queries, h, i), 0, bucket);
        for (int64_t j = 0; j < keys.count; j++) memset(to + ys_bucket(keys, h, j), 0, bucket);
    }
}

/* All keys into, then all queries out of, the tables of `functions` hashes (a constant). */
YS_INLINE void ys_cumulate_group(int functions, float *tables, int hash_code_len,
                                 struct ys_codes queries, struct ys_codes keys, const float *values,
                                 float *sums) {
    const size_t table = (size_t)SLICE << hash_code_len;
    for (int64_t j = 0; j < keys.count; j++) {
        const vf v0 = vf_load(values + j * SLICE), v1 = vf_load(values + j * SLICE + LANES);
        float *bucket[GROUP];
        vf s[GROUP][2];
        /* All loads before all stores: no load waits to learn that a store went to another table. */
        for (int h = 0; h < functions; h++) {
            bucket[h] = tables + h * table + ys_bucket(keys, h, j);
            s[h][0] = vf_load(bucket[h]) + v0;
            s[h][1] = vf_load(bucket[h] + LANES) + v1;
        }
        for (int h = 0; h < functions; h++) {
            vf_store(bucket[h], s[h][0]);
            vf_store(bucket[h] + LANES, s[h][1]);
        }
    }
    for (int64_t i = 0; i < queries.count; i++) {
        vf s0 = vf_load(sums + i * SLICE), s1 = vf_load(sums + i * SLICE + LANES);
        for (int h = 0; h < functions; h++) {
            const float *bucket = tables + h * table + ys_bucket(queries, h, i);
            s0 += vf_load(bucket);
            s1 += vf_load(bucket + LANES);
        }
        vf_store(sums + i * SLICE, s0);
        vf_store(sums + i * SLICE + LANES, s1);
    }
}

/* One slice of one text and head: out[i][0 .. dims) = scale * sum over hashes and matching keys.
 *
 * value: [keys] rows, value_stride apart, of which `dims` <= SLICE floats count. out: [queries] rows,
 * out_stride apart. */
static void ys_cumulate_slice(struct ys_codes queries, struct ys_codes keys, int num_hash,
                              int hash_code_len, const float *value, int64_t value_stride, int dims,
                              float scale, float *out, int64_t out_stride, float *scratch) {
    const int group = ys_group_of(hash_code_len);
    float *tables = scratch, *values = tables + ((size_t)(group * SLICE) << hash_code_len);
    float *sums = values + keys.count * SLICE;
    for (int64_t j = 0; j < keys.count; j++) {
        if (j + AHEAD < keys.count) ys_prefetch(value + (j + AHEAD) * value_stride, dims);
        for (int d = 0; d < SLICE; d += LANES)
            vf_store(values + j * SLICE + d, vf_load_part(value + j * value_stride + d, dims - d));
    }
    memset(sums, 0, (size_t)(queries.count * SLICE) * sizeof(float));
    for (int h = 0, functions; h < num_hash; h += functions) {
        functions = group == GROUP && num_hash - h >= GROUP ? GROUP : 1;
        ys_clear_tables(tables, functions, hash_code_len, queries, keys);
        if (functions == GROUP)
            ys_cumulate_group(GROUP, tables, hash_code_len, queries, keys, values, sums);
        else
            ys_cumulate_group(1, tables, hash_code_len, queries, keys, values, sums);
        queries.codes += functions * queries.stride;
        keys.codes += functions * keys.stride;
    }
    for (int64_t i = 0; i < queries.count; i++)
        for (int d = 0; d < SLICE; d += LANES)
            vf_store_part(out + i * out_stride + d, vf_load(sums + i * SLICE + d) * vf_set1(scale), dims - d);
}

#endif
