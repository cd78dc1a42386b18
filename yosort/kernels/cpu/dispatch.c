/* Which of the compiled variants this processor can run, found out once per call: it is cheap. */
#define _GNU_SOURCE     /* for syscall */
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
#ifdef YOSORT_AVX512BF16
static int ys_has_avx512bf16(void) {
    return ys_has_avx512() && __builtin_cpu_supports("avx512vnni") &&
           __builtin_cpu_supports("avx512bf16");
}
#endif
#ifdef YOSORT_AMX
#  include <cpuid.h>
#  include <sys/syscall.h>
#  include <unistd.h>
#  define YS_AMX (1u << 22 | 1u << 24 | 1u << 25)    /* bfloat16, tiles, int8 */
#  define YS_REQUEST 0x1023     /* ARCH_REQ_XCOMP_PERM, in Linux from 5.16 on, */
#  define YS_TILE_DATA 18       /* for this part of a thread's state */
static int ys_tiles_granted;
int ys_request_tiles(void) {
    unsigned a, b, c, d;
    if (!ys_has_avx512bf16() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & YS_AMX) != YS_AMX)
        return -1;
    if (!ys_tiles_granted)      /* once granted, for good: a sandbox may forbid to ask again */
        ys_tiles_granted = syscall(SYS_arch_prctl, YS_REQUEST, YS_TILE_DATA) == 0;
    return ys_tiles_granted;
}
#else
int ys_request_tiles(void) { return -1; }
#endif
#if defined(YOSORT_DOTPROD) || defined(YOSORT_MMLA)
#  include <sys/auxv.h>
#  define YS_HWCAP_ASIMDDP (1ul << 20)
#  define YS_HWCAP2_MMLA (1ul << 13 | 1ul << 14)     /* I8MM and BF16: its products of matrices */
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
