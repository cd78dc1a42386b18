/* A product without Python: product NAME ROWS DEPTH COLUMNS reads floats x [rows][depth], weight
 * [columns][depth] and bias [columns] and writes [rows][columns], all as they are in memory.
 *
 * Compiled together with yosort/kernels/cpu/kernels.c, YOSORT_ISA=baseline. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

extern const struct ys_kernels ys_kernels_baseline;

static void *space(int64_t bytes) {
    void *p = NULL;
    if (posix_memalign(&p, 64, (size_t)bytes + 64)) abort();
    return memset(p, 0, (size_t)bytes + 64);
}

static float *floats(int64_t count, int64_t with) {
    float *x = space(with * (int64_t)sizeof(float));
    if (fread(x, sizeof(float), (size_t)count, stdin) != (size_t)count) abort();
    return x;
}

int main(int argc, char **argv) {
    const struct ys_kernels *kernels = &ys_kernels_baseline;
    const struct ys_product *const *products = kernels->products, *product;
    if (argc != 5) return 2;
    while ((product = *products++) && strcmp(product->name, argv[1])) {}
    if (!product) return 2;
    const int64_t rows = atoi(argv[2]), depth = atoi(argv[3]), columns = atoi(argv[4]);
    const int64_t panels = (columns + product->nr - 1) / product->nr, padded = panels * product->nr;
    const float *x = floats(rows * depth, rows * depth);
    const float *weight = floats(columns * depth, columns * depth), *bias = floats(columns, padded);
    float *scales = space(padded * (int64_t)sizeof(float));
    float *out = space(rows * columns * (int64_t)sizeof(float));
    int8_t *q = space(columns * depth);
    void *packed = space(panels * product->panel_bytes(depth));
    const struct ys_linear map = {product, packed, bias, scales, depth, columns};
    for (int64_t c = 0; c < columns && product->quantized; c++)
        scales[c] = kernels->quantize_row(weight + c * depth, depth, q + c * depth);
    product->pack_weight(product->quantized ? (const void *)q : weight, depth, columns, depth, packed);
    kernels->linear_rows(&map, x, depth, rows, 0, 0, columns, out, columns,
                         space(kernels->packed_rows(&map, rows) * (int64_t)sizeof(float)));
    return fwrite(out, sizeof(float), (size_t)(rows * columns), stdout) != (size_t)(rows * columns);
}
