/* Compiled once per instruction set: YOSORT_ISA names the table that this object exports. */
#include "kernels.h"

#include "cumulation.h"
#include "expectation.h"
#include "gemm_bfloat16.h"
#include "gemm_float32.h"
#include "gemm_int8.h"
#include "gemm_narrow.h"
#include "gemm_rounded.h"
#include "hash.h"
#include "layer.h"
#include "sample.h"

#define YS_PASTE(a, b) a##b
#define YS_TABLE(isa) YS_PASTE(ys_kernels_, isa)
#define YS_STRING(x) #x
#define YS_NAME(isa) YS_STRING(isa)

static const struct ys_product *const products[] = {&ys_float32, &ys_bfloat16, &ys_rounded,
                                                    &ys_int8, &ys_narrow, NULL};

extern const struct ys_kernels YS_TABLE(YOSORT_ISA);
const struct ys_kernels YS_TABLE(YOSORT_ISA) = {
    .name = YS_NAME(YOSORT_ISA),
    .products = products,
    .activations = ys_activation_names,
    .quantize_row = ys_quantize_row,
    .packed_rows = ys_packed_rows,
    .linear_rows = ys_linear_rows,
    .tail_scratch = ys_tail_scratch,
    .tail_rows = ys_tail_rows,
    .layer_norm_row = ys_layer_norm_row,
    .hash_tokens = ys_hash_tokens,
    .sign_codes = ys_sign_codes,
    .slice = SLICE,
    .cumulate_scratch = ys_cumulate_scratch,
    .cumulate_slice = ys_cumulate_slice,
    .sample_scratch = ys_sample_scratch,
    .sample_head = ys_sample_head,
    .packed_keys = ys_packed_keys,
    .packed_values = ys_packed_values,
    .pack_keys = ys_pack_keys,
    .expect_scratch = ys_expect_scratch,
    .expect_rows = ys_expect_rows,
    .normalize_row = ys_normalize_row,
};
