// The slow hash's codes from its projections: bit b of function h is
// projected[head][row][h * code_len + b] > 0. A thread a code, neighbours on neighbouring rows.
//
// projected: [heads][rows][num_hash * code_len]. codes: [heads][num_hash][rows].
extern "C" __global__ void sign_codes(const float *projected, int rows, int heads, int num_hash,
                                      int code_len, code_t *codes) {
    const int64 at = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= (int64)heads * num_hash * rows) return;
    const int row = at % rows, function = at / rows % num_hash, head = at / rows / num_hash;
    const float *bits = projected + (((int64)head * rows + row) * num_hash + function) * code_len;
    unsigned code = 0;
    for (int b = 0; b < code_len; b++)
        if (exact{bits[b]} > 0.0f) code |= 1u << b;
    codes[at] = (code_t)code;
}
