// What surrounds the dense products of a layer: embeddings, bias, activation, residual and
// normalisation. ACTIVATION: the formula's function below, such as activate_gelu.

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

__device__ inline float activate_linear(float x) { return x; }

__device__ inline float activate_gelu(float x) {
    return 0.5f * x * (1.0f + erff(x * 0.70710678f));
}

// Clipped at 10; -10 is never reached. NaN stays NaN.
__device__ inline float activate_gelu_10(float x) {
    const float y = activate_gelu(x);
    return y > 10.0f ? 10.0f : y;
}

// 0.5 (1 + tanh u) = sigmoid(2u)
__device__ inline float activate_gelu_tanh(float x) {
    return x * sigmoid(1.5957691f * (x + 0.044715f * x * x * x));
}

__device__ inline float activate_quick_gelu(float x) { return x * sigmoid(1.702f * x); }

__device__ inline float activate_relu(float x) { return x < 0.0f ? 0.0f : x; }

__device__ inline float activate_silu(float x) { return x * sigmoid(x); }

__device__ inline float activate_tanh(float x) { return tanhf(x); }

__device__ inline float activate_sigmoid(float x) { return sigmoid(x); }

__device__ inline float activate_mish(float x) {
    return x * tanhf(x > 20.0f ? x : log1pf(expf(x)));
}

// x = activation(x + bias), in place: x [rows][columns], bias [columns]. A thread an element.
extern "C" __global__ void bias_activation(real *x, const float *bias, int64 size, int columns) {
    const int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < size) store(x + i, ACTIVATION(load(x + i) + bias[i % columns]));
}

// Normalise one row that the block holds in registers: PER_THREAD elements a thread, strided.
// PER_THREAD * blockDim.x covers `width`.
__device__ inline void normalize_row(float *v, const float *scale, const float *shift, float eps,
                                     int width, float *scratch, real *out) {
    float sum = 0.0f;
    for (int e = 0; e < PER_THREAD; e++) sum += v[e];
    const float mean = block_sum(sum, scratch) / width;
    float squares = 0.0f;
    for (int e = 0; e < PER_THREAD; e++)
        if (threadIdx.x + e * blockDim.x < width) squares += (v[e] - mean) * (v[e] - mean);
    const float inverse = 1.0f / sqrtf(block_sum(squares, scratch) / width + eps);
    for (int e = 0; e < PER_THREAD; e++) {
        const int d = threadIdx.x + e * blockDim.x;
        if (d < width) store(out + d, (v[e] - mean) * inverse * scale[d] + shift[d]);
    }
}

// out = norm(x + bias + residual); a block a row. bias and residual may be null.
extern "C" __global__ void residual_norm(const real *x, const float *bias, const real *residual,
                                         const float *scale, const float *shift, float eps,
                                         int width, real *out) {
    __shared__ float scratch[WARP];
    const int64 row = (int64)blockIdx.x * width;
    float v[PER_THREAD];
    for (int e = 0; e < PER_THREAD; e++) {
        const int d = threadIdx.x + e * blockDim.x;
        v[e] = 0.0f;
        if (d >= width) continue;
        v[e] = load(x + row + d);
        if (bias) v[e] += bias[d];
        if (residual) v[e] += load(residual + row + d);
    }
    normalize_row(v, scale, shift, eps, width, scratch, out + row);
}

// out = norm(word + token type + position); a block a token. ids select rows of the tables; with
// `rows` [tokens][width] in place of word ids, those take the words' part.
extern "C" __global__ void embed(const real *words, const int64 *ids, const real *rows,
                                 const real *positions, const int64 *position_ids,
                                 const real *types, const int64 *type_ids, const float *scale,
                                 const float *shift, float eps, int width, real *out) {
    __shared__ float scratch[WARP];
    const int64 token = blockIdx.x;
    const real *word = rows ? rows + token * width : words + ids[token] * width;
    const real *position = positions + position_ids[token] * width;
    const real *type = types + type_ids[token] * width;
    float v[PER_THREAD];
    for (int e = 0; e < PER_THREAD; e++) {
        const int d = threadIdx.x + e * blockDim.x;
        v[e] = d < width ? load(word + d) + load(type + d) + load(position + d) : 0.0f;
    }
    normalize_row(v, scale, shift, eps, width, scratch, out + token * width);
}
