/* Compiled once per instruction set: YOSORT_ISA names the table that this object exports. */
#include "kernels.h"

#include "cumulation.h"
#include "expectation.h"
#include "hash.h"
#include "layer.h"

static void linear_rows(const struct ys_linear *map, const float *x, int64_t stride, int64_t rows,
                        int activation, int64_t begin, int64_t end, float *out, int64_t out_stride,
                        float *scratch) {
    ys_make_ready(map, x, stride, rows, scratch);
    ys_map_ready(map, scratch, rows, activation, begin, end, out, out_stride);
}

#define YS_PASTE(a, b) a##b
#define YS_TABLE(isa) YS_PASTE(ys_kernels_, isa)
#define YS_STRING(x) #x
#define YS_NAME(isa) YS_STRING(isa)

extern const struct ys_kernels YS_TABLE(YOSORT_ISA);
const struct ys_kernels YS_TABLE(YOSORT_ISA) = {
    .name = YS_NAME(YOSORT_ISA),
    .panel = PANEL,
    .pack_panels = ys_pack_panels,
    .panels_size = ys_panels_size,
    .pack_integers = ys_pack_integers,
    .quantize_row = ys_quantize_row,
    .ready_size = ys_ready_size,
    .linear_rows = linear_rows,
    .tail_scratch = ys_tail_scratch,
    .tail_rows = ys_tail_rows,
    .layer_norm_row = ys_layer_norm_row,
    .normalize_row = ys_normalize_row,
    .lanes = LANES,
    .hash_tokens = ys_hash_tokens,
    .sign_codes = ys_sign_codes,
    .slice = SLICE,
    .cumulate_scratch = ys_cumulate_scratch,
    .cumulate_slice = ys_cumulate_slice,
    .packed_keys = ys_packed_keys,
    .packed_values = ys_packed_values,
    .pack_head = ys_pack_head,
    .expect_scratch = ys_expect_scratch,
    .expect_rows = ys_expect_rows,
};
