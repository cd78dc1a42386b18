/* What this machine can do: multiply-adds a second and bytes read a second, by some threads.
 * usage: peak THREADS; prints "GFLOP/s GB/s". Needs GCC or Clang: -O3 -march=native -pthread. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__AVX512F__)
#  define LANES 16
#elif defined(__AVX__)
#  define LANES 8
#else
#  define LANES 4
#endif
typedef float vf __attribute__((vector_size(4 * LANES)));

#define CHAINS 12           /* more than latency times units on any core so far */
#define STEPS 40000000L
#define BYTES (256L << 20)
#define PASSES 4

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void *multiply_add(void *sink) {
    vf a[CHAINS], m, c;
    for (int i = 0; i < LANES; i++) m[i] = 0.999f, c[i] = 0.001f;
    for (int i = 0; i < CHAINS; i++) a[i] = m * (float)i;
    for (long k = 0; k < STEPS; k++)
        for (int i = 0; i < CHAINS; i++) a[i] = a[i] * m + c;
    for (int i = 1; i < CHAINS; i++) a[0] += a[i];
    *(float *)sink = a[0][0];
    return NULL;
}

static void *read_all(void *data) {
    const vf *x = data;
    vf sum[4] = {0};
    for (int pass = 0; pass < PASSES; pass++)
        for (long i = 0; i < BYTES / (long)sizeof(vf); i += 4)
            for (int j = 0; j < 4; j++) sum[j] += x[i + j];
    sum[0] += sum[1] + sum[2] + sum[3];
    *(float *)data = sum[0][0] * 1e-30f;
    return NULL;
}

static double run(int threads, void *(*work)(void *), void **arguments) {
    pthread_t thread[256];
    const double start = now();
    for (int i = 0; i < threads; i++) pthread_create(&thread[i], NULL, work, arguments[i]);
    for (int i = 0; i < threads; i++) pthread_join(thread[i], NULL);
    return now() - start;
}

int main(int count, char **argument) {
    const int threads = count > 1 ? atoi(argument[1]) : 1;
    void *data[256];
    for (int i = 0; i < threads; i++) {
        data[i] = aligned_alloc(64, BYTES);
        for (long j = 0; j < BYTES / 4; j++) ((float *)data[i])[j] = 1.0f;
    }
    const double flops = 2.0 * LANES * CHAINS * STEPS * threads;
    printf("%.1f ", flops / run(threads, multiply_add, data) * 1e-9);
    printf("%.1f\n", (double)BYTES * PASSES * threads / run(threads, read_all, data) * 1e-9);
    return 0;
}
