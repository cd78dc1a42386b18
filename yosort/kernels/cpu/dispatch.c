/* Which of the compiled tables this processor can run, found out once per call: it is cheap. */
#include "kernels.h"

extern const struct ys_kernels ys_kernels_baseline;

#ifdef YOSORT_X86_VARIANTS
extern const struct ys_kernels ys_kernels_avx2, ys_kernels_avx512;
#  ifdef YOSORT_AVX512VNNI
extern const struct ys_kernels ys_kernels_avx512vnni;
#  endif
#  ifdef YOSORT_AVXVNNI
extern const struct ys_kernels ys_kernels_avxvnni;
#  endif
#endif
#ifdef YOSORT_DOTPROD
#  include <sys/auxv.h>
extern const struct ys_kernels ys_kernels_dotprod;
#  define YS_HWCAP_ASIMDDP (1ul << 20)
#endif

int ys_available_kernels(const struct ys_kernels *found[YS_MOST_KERNELS]) {
    int count = 0;
#ifdef YOSORT_X86_VARIANTS
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const int avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                       __builtin_cpu_supports("avx512vl");
#  ifdef YOSORT_AVX512VNNI
    if (avx512 && __builtin_cpu_supports("avx512vnni")) found[count++] = &ys_kernels_avx512vnni;
#  endif
    if (avx512) found[count++] = &ys_kernels_avx512;
#  ifdef YOSORT_AVXVNNI
    if (avx2 && __builtin_cpu_supports("avxvnni")) found[count++] = &ys_kernels_avxvnni;
#  endif
    if (avx2) found[count++] = &ys_kernels_avx2;
#endif
#ifdef YOSORT_DOTPROD
    if (getauxval(AT_HWCAP) & YS_HWCAP_ASIMDDP) found[count++] = &ys_kernels_dotprod;
#endif
    found[count++] = &ys_kernels_baseline;
    return count;
}
