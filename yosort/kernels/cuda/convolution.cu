// out = context + the depthwise convolution of the values along a text; a thread an output element.
//
// slots: each token's place in its text before packing (ascending); a window covers the slots
// within window / 2, and tokens that a mask took out leave holes. weight: [heads][window]. keep:
// [keys], a factor of each value, or null.
extern "C" __global__ void add_convolution(const real *context, const real *value, int64 value_stride,
                                           const float *weight, int window, const int *query_text,
                                           const int *query_slots, const int *offsets,
                                           const int *slots, const float *keep, int queries,
                                           int heads, int dim, real *out) {
    const int64 at = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    const int64 width = (int64)heads * dim;
    if (at >= queries * width) return;
    const int row = at / width, column = at % width, head = column / dim, reach = window / 2;
    const int slot = query_slots[row], end = offsets[query_text[row] + 1];
    // The first token of the text inside the window.
    int low = offsets[query_text[row]], high = end;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (slots[middle] < slot - reach) low = middle + 1;
        else high = middle;
    }
    float sum = 0.0f;
    for (int j = low; j < end && slots[j] <= slot + reach; j++) {
        const float kept = keep ? keep[j] : 1.0f;
        sum += weight[head * window + slots[j] - slot + reach] * kept * load(value + j * value_stride + column);
    }
    store(out + at, load(context + at) + sum);
}
