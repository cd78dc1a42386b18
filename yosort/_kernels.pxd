"""The kernel tables of kernels/cpu/kernels.h, for the compiled modules."""

from libc.stdint cimport int8_t, int32_t, int64_t, uint16_t

cdef extern from "kernels/cpu/kernels.h":
    struct ys_product:
        const char *name
        bint quantized, native
        int nr, kc, mc
        int64_t panel_bytes(int64_t) noexcept nogil
        void pack_weight(const void *, int64_t, int64_t, int64_t, void *) noexcept nogil
        void pack_values(const float *, int64_t, int64_t, int, void *) noexcept nogil
    struct ys_linear:
        const ys_product *product
        const void *panels
        const float *bias
        const float *scales
        int64_t depth, columns
    struct ys_norm:
        const float *scale
        const float *shift
        float eps
    struct ys_tail:
        ys_linear output, up, down, next
        ys_norm norm1, norm2
        int activation
        const float *context
        const float *x
        int64_t context_stride, x_stride
        float *out
        float *next_out
    struct ys_codes:
        const uint16_t *codes
        int64_t count, stride
    struct ys_sampling:
        const float *query
        const float *key
        const float *value
        int64_t query_stride, key_stride, value_stride, queries, keys
        int dim, value_dim
        const int32_t *signs
        int parts, width, num_hash, hash_code_len
        float *out
        int64_t out_stride
    struct ys_kernels:
        const char *name
        const ys_product *const *products
        const char *const *activations
        int slice
        float quantize_row(const float *, Py_ssize_t, int8_t *) noexcept nogil
        int64_t packed_rows(const ys_linear *, int64_t) noexcept nogil
        void linear_rows(const ys_linear *, const float *, int64_t, int64_t, int, int64_t, int64_t,
                         float *, int64_t, float *) noexcept nogil
        int64_t tail_scratch(const ys_tail *, int64_t) noexcept nogil
        void tail_rows(const ys_tail *, int64_t, int64_t, float *) noexcept nogil
        void layer_norm_row(const float *, const float *, const float *, const float *, float,
                            Py_ssize_t, float *) noexcept nogil
        void hash_tokens(const float *, Py_ssize_t, Py_ssize_t, int, const int32_t *, int, int, int,
                         int, uint16_t *, Py_ssize_t, float *) noexcept nogil
        void sign_codes(const float *, Py_ssize_t, Py_ssize_t, int, int, uint16_t *,
                        Py_ssize_t) noexcept nogil
        int64_t cumulate_scratch(int64_t, int64_t, int) noexcept nogil
        void cumulate_slice(ys_codes, ys_codes, int, int, const float *, int64_t, int, float,
                            float *, int64_t, float *) noexcept nogil
        int64_t sample_scratch(const ys_sampling *) noexcept nogil
        void sample_head(const ys_sampling *, float *) noexcept nogil
        int64_t packed_keys(const ys_product *, int64_t, int) noexcept nogil
        int64_t packed_values(const ys_product *, int64_t, int) noexcept nogil
        void pack_keys(const ys_product *, const float *, int64_t, int64_t, int, int,
                       float *) noexcept nogil
        int64_t expect_scratch(const ys_product *, int64_t, int, int) noexcept nogil
        void expect_rows(const ys_product *, const float *, int64_t, int64_t, const float *,
                         const float *, int64_t, int, int, int, int, float *, int64_t,
                         float *) noexcept nogil
        void normalize_row(float *, int) noexcept nogil
    const ys_kernels *ys_variant(int index) noexcept nogil
    int ys_request_tiles() noexcept nogil

cdef inline int64_t ceil_div(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b

cdef inline int64_t longest_of(const int64_t *offsets, int64_t texts) noexcept nogil:
    """Rows of the longest text."""
    cdef int64_t longest = 0, text
    for text in range(texts):
        longest = max(longest, offsets[text + 1] - offsets[text])
    return longest

cdef inline int64_t text_of(const int64_t *unit_offsets, int64_t texts, int64_t unit) noexcept nogil:
    """The text that a unit belongs to: the last whose first unit is at most `unit`."""
    cdef int64_t low = 0, high = texts, middle
    while high - low > 1:
        middle = (low + high) // 2
        if unit_offsets[middle] <= unit:
            low = middle
        else:
            high = middle
    return low

cdef inline int64_t round16(int64_t n) noexcept nogil:
    return (n + 15) // 16 * 16
