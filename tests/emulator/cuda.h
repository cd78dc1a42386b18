/* What a .cu file may use of CUDA, for g++ or clang++: the kernel's own text follows this one.
 *
 * The file is compiled with -fsanitize=thread, whose hooks runtime.cpp defines, so every access to
 * memory is seen. Each CUDA thread is a fiber; barriers and warp operations switch between them.
 */
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

struct emu_dim3 { unsigned x, y, z; };
enum emu_warp_op { EMU_SYNC, EMU_BALLOT, EMU_SHFL, EMU_XOR, EMU_DOWN };

extern "C" {
extern emu_dim3 emu_thread_index, emu_block_index, emu_block_dim, emu_grid_dim;
void emu_barrier(int line);
uint64_t emu_rendezvous(int op, unsigned mask, uint64_t value, int argument, int line);
void *emu_dynamic_shared();
void emu_atomic(void *address, int size);
void emu_flush(int on);
}

#define threadIdx emu_thread_index
#define blockIdx emu_block_index
#define blockDim emu_block_dim
#define gridDim emu_grid_dim
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
/* Not inlined into the unchecked wrapper that calls it. */
#define __global__ __attribute__((noinline))
/* Blocks run one after another, so a static array is a block's own; the section tells its range. */
#define __shared__ static __attribute__((section("emu_shared")))
#define DYNAMIC_SHARED(name) float *const name = (float *)emu_dynamic_shared()
#define EMU_UNCHECKED __attribute__((no_sanitize_thread))
#define EMU_LINE int line = __builtin_LINE()

EMU_UNCHECKED inline void __syncthreads(EMU_LINE) { emu_barrier(line); }
EMU_UNCHECKED inline void __syncwarp(unsigned mask = 0xffffffffu, EMU_LINE) {
    emu_rendezvous(EMU_SYNC, mask, 0, 0, line);
}
EMU_UNCHECKED inline unsigned __ballot_sync(unsigned mask, int predicate, EMU_LINE) {
    return (unsigned)emu_rendezvous(EMU_BALLOT, mask, predicate != 0, 0, line);
}

template <class T>
EMU_UNCHECKED T emu_exchange(int op, unsigned mask, T value, int argument, int line) {
    uint64_t bits = 0;
    static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    std::memcpy(&bits, &value, sizeof(T));
    bits = emu_rendezvous(op, mask, bits, argument, line);
    std::memcpy(&value, &bits, sizeof(T));
    return value;
}
template <class T> T __shfl_sync(unsigned mask, T value, int lane, EMU_LINE) {
    return emu_exchange(EMU_SHFL, mask, value, lane, line);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int lanes, EMU_LINE) {
    return emu_exchange(EMU_XOR, mask, value, lanes, line);
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned by, EMU_LINE) {
    return emu_exchange(EMU_DOWN, mask, value, (int)by, line);
}
template <class T> EMU_UNCHECKED T atomicAdd(T *address, T value) {
    emu_atomic(address, sizeof(T));
    const T old = *address;
    *address = old + value;
    return old;
}

/* The device's instructions that CuPy's -ftz=true leaves alone, beside all that it changes. */
#define EXACT_FLOATS
struct exact { float value; };
struct emu_every_number { emu_every_number() { emu_flush(0); } ~emu_every_number() { emu_flush(1); } };
EMU_UNCHECKED inline exact operator+(exact a, exact b) {
    const emu_every_number counts;
    volatile float sum = a.value;
    sum = sum + b.value;
    return exact{sum};
}
EMU_UNCHECKED inline exact operator-(exact x) { return exact{-x.value}; }
EMU_UNCHECKED inline exact operator-(exact a, exact b) { return a + -b; }
EMU_UNCHECKED inline bool operator>(exact a, float b) {
    const emu_every_number counts;
    volatile float x = a.value;
    return x > b;
}

/* Each look is a cycle that never ends a wait too early. */
EMU_UNCHECKED inline long long clock64() { static long long now; return now += 1LL << 40; }

#define HALF_CONVERSIONS
EMU_UNCHECKED inline float half_to_float(unsigned short bits) {
    _Float16 half;
    std::memcpy(&half, &bits, 2);
    return (float)half;
}
EMU_UNCHECKED inline unsigned short float_to_half(float x) {
    const _Float16 half = (_Float16)x;
    unsigned short bits;
    std::memcpy(&bits, &half, 2);
    return bits;
}

/* What mma.sync multiplies, lane by lane: each sum in the order of the inner index. The hardware's
 * own order is its maker's secret. */
#define TENSOR_CORES
EMU_UNCHECKED inline void multiply_add(float c[4], const unsigned a[4], const unsigned b[2], EMU_LINE) {
    const int lane = (int)(emu_thread_index.x % 32), g = lane / 4, t = lane % 4;
    for (int half = 0; half < 2; half++)
        for (int pair = 0; pair < 4; pair++) {
            unsigned rows[2], columns[2];
            for (int i = 0; i < 2; i++) {
                rows[i] = emu_exchange(EMU_SHFL, ~0u, a[i + 2 * half], 4 * g + pair, line);
                columns[i] = emu_exchange(EMU_SHFL, ~0u, b[half], 4 * (2 * t + i) + pair, line);
            }
            for (int shift = 0; shift < 32; shift += 16)
                for (int i = 0; i < 4; i++)
                    c[i] += half_to_float((unsigned short)(rows[i / 2] >> shift)) *
                            half_to_float((unsigned short)(columns[i % 2] >> shift));
        }
}

/* Calling a kernel of any signature with an array of pointers to its arguments. */
template <class... A, std::size_t... I>
EMU_UNCHECKED void emu_apply(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*(std::remove_reference_t<A> *)arguments[I]...);
}
template <class... A> EMU_UNCHECKED void emu_call(void (*kernel)(A...), void **arguments) {
    emu_apply(kernel, arguments, std::index_sequence_for<A...>{});
}
/* One letter and one digit an argument: p8 pointer, c8 pointer to what is only read, i4 or i8
 * integer, f4 or f8 floating. */
template <class... A> EMU_UNCHECKED void emu_kinds(void (*)(A...), char *out) {
    ((*out++ = std::is_pointer_v<A> ? std::is_const_v<std::remove_pointer_t<A>> ? 'c' : 'p'
               : std::is_floating_point_v<A> ? 'f' : 'i',
      *out++ = (char)('0' + sizeof(A))), ...);
    *out = 0;
}
#define EMU_EXPORT(kernel)                                                                        \
    extern "C" EMU_UNCHECKED void emu_call_##kernel(void **a) { emu_call(kernel, a); }            \
    extern "C" EMU_UNCHECKED void emu_kinds_##kernel(char *out) { emu_kinds(kernel, out); }
