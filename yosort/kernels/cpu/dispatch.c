/* Which of the compiled variants this processor can run, found out once per call: it is cheap. */
#include "kernels.h"

#ifdef YOSORT_AVX2
static int ys_has_avx2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif
#ifdef YOSORT_AVX512
static int ys_has_avx512(void) {
    return ys_has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
#endif
#ifdef YOSORT_DOTPROD
#  include <sys/auxv.h>
#  define YS_HWCAP_ASIMDDP (1ul << 20)
#endif

#define X(name, runs) extern const struct ys_kernels ys_kernels_##name;
#include "variants.def"
#undef X

const struct ys_kernels *ys_variant(int index) {
#define X(name, runs) if ((runs) && index-- == 0) return &ys_kernels_##name;
#include "variants.def"
#undef X
    return NULL;
}
