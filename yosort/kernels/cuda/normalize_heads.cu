// Finish an attention: add the groups' sums in order, scale, and L2-normalise each head's row.
//
// A warp a row and head. partial: [groups][rows][heads * dim]; out: [rows][heads * dim]. which: [count]
// rows to finish, NULL where all are.
extern "C" __global__ void normalize_heads(const float *partial, int groups, int rows,
                                           const int *which, int count, int heads, int dim,
                                           float scale, int normalize, real *out) {
    const int64 warp = (int64)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    const int64 step = (int64)rows * heads * dim;
    const int lane = threadIdx.x % WARP;
    if (warp >= (int64)count * heads) return;  // a whole warp at a time
    const int64 unit = which ? which[warp / heads] * (int64)heads + warp % heads : warp;
    auto total = [&](int d) {
        float sum = 0.0f;
        for (int g = 0; g < groups; g++) sum += partial[g * step + unit * dim + d];
        return sum;
    };
    float squares = 0.0f;
    for (int d = lane; d < dim; d += WARP) {
        const float scaled = total(d) * scale;
        squares += scaled * scaled;
    }
    const float norm = sqrtf(warp_sum(squares));
    const float factor = normalize ? scale / divisor(norm) : scale;
    for (int d = lane; d < dim; d += WARP) store(out + unit * dim + d, total(d) * factor);
}
