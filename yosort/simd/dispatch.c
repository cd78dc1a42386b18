/* Which of the compiled tables this processor can run, found out once per call: it is cheap. */
#include "kernels.h"

extern const struct ys_kernels ys_kernels_baseline;
#ifdef YOSORT_X86_VARIANTS
extern const struct ys_kernels ys_kernels_avx2, ys_kernels_avx512;
#endif

const struct ys_kernels *const *ys_available_kernels(void) {
#ifdef YOSORT_X86_VARIANTS
    static const struct ys_kernels *const all[] = {
        &ys_kernels_avx512, &ys_kernels_avx2, &ys_kernels_baseline, NULL};
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const int avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                       __builtin_cpu_supports("avx512vl");
    return avx512 ? all : avx2 ? all + 1 : all + 2;
#else
    static const struct ys_kernels *const all[] = {&ys_kernels_baseline, NULL};
    return all;
#endif
}
