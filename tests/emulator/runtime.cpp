/* Runs the blocks of a launch, one fiber a CUDA thread, and judges every access to memory.
 *
 * One block after another, in an order drawn from the seed; within a block the next fiber to run is
 * drawn too, so code that depends on an order of threads shows. The first fault ends the launch.
 */
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <tuple>
#include <vector>

/* A switch in assembly takes 30 ns; the portable one makes a system call. */
#if !defined(__x86_64__) && !defined(__aarch64__) && !defined(EMU_UCONTEXT)
#  define EMU_UCONTEXT
#endif
#ifdef EMU_UCONTEXT
#  include <ucontext.h>
#endif

struct dim3 { unsigned x, y, z; };
enum { EMU_SYNC, EMU_BALLOT, EMU_SHFL, EMU_XOR, EMU_DOWN };  /* as in cuda.h */

/* Global memory that a launch may touch: an allocation. written: a flag a byte. */
struct Region {
    uintptr_t base;
    uint64_t size;
    uint8_t *written;
    uint64_t item;      /* bytes of an element: what a flag at its first byte stands for */
};

/* The last six are counted where a launch asks for it: what a warp's lanes access together. */
struct Counters {
    uint64_t read_bytes, written_bytes, shared_accesses, barriers, warp_ops, atomics;
    uint64_t shared_loads, shared_load_wavefronts, shared_stores, shared_store_wavefronts;
    uint64_t global_instructions, global_sectors;
};

struct Launch {
    void (*call)(void **);
    void **arguments;
    dim3 grid, block;
    uint64_t shared_bytes, seed;
    Region *regions;
    uint64_t region_count;
    uint64_t by_warps;  /* whether accesses are counted by warps */
    Counters counters;
    uint64_t fault_pc;
    char error[400];
};

extern "C" {
dim3 emu_thread_index, emu_block_index, emu_block_dim, emu_grid_dim;
extern char __start_emu_shared[] __attribute__((weak)), __stop_emu_shared[] __attribute__((weak));
extern char __ehdr_start[], _end[];
}

namespace {

struct Access { uint32_t block, thread, barrier, warp_epoch; bool atomic; };
/* The last write and two readers of two bytes of memory; stale unless its stamp is the launch's
 * (global memory) or the block's (shared memory). */
struct Cell { uint64_t stamp; Access write, read[2]; uint8_t writes, reads; };

enum State { READY, AT_BARRIER, AT_WARP, FINISHED };

struct Fiber {
    void *stack;            /* top of its stack while it does not run */
    State state;
    int line;
    uint64_t result;
#ifdef EMU_UCONTEXT
    ucontext_t context;
#endif
};

struct Warp {
    unsigned live, arrived, mask, epoch;
    int op, line;
    uint64_t value[32];
    int argument[32];
};

constexpr size_t STACK = 1 << 16;

Launch *launch;
std::vector<Fiber> fibers;
std::vector<Warp> warps;
std::vector<unsigned> ready;
std::vector<std::vector<Cell>> global_cells;
std::vector<Cell> shared_cells;
std::vector<uint8_t> shared_written, dynamic_shared;
char *stacks;
unsigned current, block_serial, barrier_count;
uint64_t launch_stamp, block_stamp, random_state;
bool faulty;
Fiber scheduler;

uint64_t draw() {           /* xorshift64* */
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545F4914F6CDD1DULL;
}

void run_fiber();

#ifdef EMU_UCONTEXT
void prepare(Fiber &f, char *stack) {
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = stack;
    f.context.uc_stack.ss_size = STACK;
    makecontext(&f.context, run_fiber, 0);
}
void switch_fibers(Fiber &from, Fiber &to) { swapcontext(&from.context, &to.context); }
#elif defined(__x86_64__)
extern "C" void emu_switch(void **from, void *to);
asm(R"(
.text
.globl emu_switch
emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
void prepare(Fiber &f, char *stack) {
    void **top = (void **)(stack + STACK);
    *--top = nullptr;               /* keeps the entry's stack aligned as after a call */
    *--top = (void *)run_fiber;
    top -= 6;
    f.stack = top;
}
void switch_fibers(Fiber &from, Fiber &to) { emu_switch(&from.stack, to.stack); }
#else
extern "C" void emu_switch(void **from, void *to);
asm(R"(
.text
.globl emu_switch
emu_switch:
    sub sp, sp, #160
    stp x19, x20, [sp]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
)");
void prepare(Fiber &f, char *stack) {
    char *top = stack + STACK - 160;
    memset(top, 0, 160);
    *(void **)(top + 88) = (void *)run_fiber;
    f.stack = top;
}
void switch_fibers(Fiber &from, Fiber &to) { emu_switch(&from.stack, to.stack); }
#endif

void park(State state, int line) {
    fibers[current].state = state;
    fibers[current].line = line;
    switch_fibers(fibers[current], scheduler);
}

/* Record the first fault and leave the fiber for good. */
__attribute__((format(printf, 2, 3))) void fault(void *pc, const char *format, ...) {
    if (!faulty) {
        faulty = true;
        int at = snprintf(launch->error, sizeof launch->error, "block (%u, %u, %u), thread %u: ",
                          emu_block_index.x, emu_block_index.y, emu_block_index.z, current);
        va_list rest;
        va_start(rest, format);
        vsnprintf(launch->error + at, sizeof launch->error - (size_t)at, format, rest);
        va_end(rest);
        launch->fault_pc = pc ? (uintptr_t)pc - (uintptr_t)__ehdr_start : 0;
    }
    park(FINISHED, 0);
}

/* Complete a warp's operation if every live lane that its mask names has come. */
void complete_warp(unsigned index) {
    Warp &w = warps[index];
    const unsigned expected = w.mask & w.live;
    if (!w.arrived || w.arrived != expected) return;
    unsigned ballot = 0;
    for (int lane = 0; lane < 32; lane++)
        if (w.arrived >> lane & 1) ballot |= (unsigned)(w.value[lane] & 1) << lane;
    for (int lane = 0; lane < 32; lane++) {
        if (!(w.arrived >> lane & 1)) continue;
        const unsigned thread = index * 32 + (unsigned)lane;
        int source = lane;
        if (w.op == EMU_SHFL) source = w.argument[lane] & 31;
        if (w.op == EMU_XOR) source = (lane ^ w.argument[lane]) & 31;
        if (w.op == EMU_DOWN && lane + w.argument[lane] < 32) source = lane + w.argument[lane];
        if (!(w.arrived >> source & 1)) {
            fibers[thread].line = -source - 1;      /* it faults when it wakes up */
        } else {
            fibers[thread].result = w.op == EMU_BALLOT ? ballot : w.value[source];
        }
        fibers[thread].state = READY;
        ready.push_back(thread);
    }
    w.arrived = 0;
    w.epoch += w.op == EMU_SYNC;    /* shuffles and ballots promise no order of memory */
}

void finish_fiber() {
    Warp &w = warps[current / 32];
    w.live &= ~(1u << current % 32);
    complete_warp(current / 32);
    fibers[current].state = FINISHED;
}

void run_fiber() {
    launch->call(launch->arguments);
    finish_fiber();
    switch_fibers(fibers[current], scheduler);
    abort();
}

/* All that live wait: at one barrier they go on, anywhere else they wait for good. */
bool release_barrier() {
    int line = 0;
    unsigned waiting = 0;
    for (unsigned t = 0; t < fibers.size(); t++) {
        Fiber &f = fibers[t];
        if (f.state == FINISHED) continue;
        current = t;
        if (f.state == AT_WARP || (waiting && f.line != line)) {
            unsigned at = 0;
            while (fibers[at].state == FINISHED) at++;
            if (!faulty) {
                faulty = true;
                snprintf(launch->error, sizeof launch->error,
                         "block (%u, %u, %u): divergent: thread %u waits at %s of line %d, thread %u at "
                         "%s of line %d", emu_block_index.x, emu_block_index.y, emu_block_index.z, at,
                         fibers[at].state == AT_WARP ? "a warp operation" : "the barrier", fibers[at].line,
                         t, f.state == AT_WARP ? "a warp operation" : "the barrier", f.line);
            }
            return false;
        }
        line = f.line;
        waiting++;
    }
    if (!waiting) return false;
    for (unsigned t = 0; t < fibers.size(); t++)
        if (fibers[t].state == AT_BARRIER) {
            fibers[t].state = READY;
            ready.push_back(t);
        }
    barrier_count++;
    launch->counters.barriers++;
    return true;
}

void run_block(unsigned x, unsigned y, unsigned z) {
    const dim3 b = launch->block;
    const unsigned threads = b.x * b.y * b.z;
    emu_block_index = {x, y, z};
    block_serial++;
    block_stamp++;
    barrier_count = 0;
    fibers.assign(threads, Fiber());
    warps.assign((threads + 31) / 32, Warp());
    ready.clear();
    /* Shared memory starts as garbage. */
    if (__start_emu_shared) memset(__start_emu_shared, 0xA5, (size_t)(__stop_emu_shared - __start_emu_shared));
    memset(dynamic_shared.data(), 0xA5, dynamic_shared.size());
    memset(shared_written.data(), 0, shared_written.size());
    for (unsigned t = 0; t < threads; t++) {
        prepare(fibers[t], stacks + t * STACK);
        warps[t / 32].live |= 1u << t % 32;
        ready.push_back(t);
    }
    while (!faulty) {
        if (ready.empty() && !release_barrier()) return;
        const size_t at = launch->seed ? draw() % ready.size() : 0;
        current = ready[at];
        ready.erase(ready.begin() + (std::ptrdiff_t)at);
        emu_thread_index = {current % b.x, current / b.x % b.y, current / b.x / b.y};
        switch_fibers(scheduler, fibers[current]);
    }
}

/* The words of 4 bytes that a warp's lanes touch in one instruction: lanes that come to the same
 * place of the code for the same time. */
struct Together { bool shared, writes; std::vector<uint64_t> words; };
std::map<std::tuple<unsigned, void *, bool, unsigned>, Together> together;
std::map<std::tuple<unsigned, void *, bool>, unsigned> times;

void note_words(uintptr_t address, unsigned size, bool shared, bool writes, void *pc) {
    if (!launch->by_warps) return;
    Together &t = together[{current / 32, pc, writes, times[{current, pc, writes}]++}];
    t.shared = shared;
    t.writes = writes;
    for (uintptr_t word = address / 4; word <= (address + size - 1) / 4; word++) t.words.push_back(word);
}

/* Shared memory has 32 banks, each of which hands out one word a wavefront; global memory comes in
 * sectors of 32 bytes. */
void count_words() {
    for (auto &entry : together) {
        Together &t = entry.second;
        std::sort(t.words.begin(), t.words.end());
        t.words.erase(std::unique(t.words.begin(), t.words.end()), t.words.end());
        if (t.shared) {
            unsigned banks[32] = {}, most = 0;
            for (uint64_t word : t.words) most = std::max(most, ++banks[word % 32]);
            Counters &c = launch->counters;
            (t.writes ? c.shared_stores : c.shared_loads)++;
            (t.writes ? c.shared_store_wavefronts : c.shared_load_wavefronts) += most;
        } else {
            for (uint64_t &word : t.words) word /= 8;
            t.words.erase(std::unique(t.words.begin(), t.words.end()), t.words.end());
            launch->counters.global_instructions++;
            launch->counters.global_sectors += t.words.size();
        }
    }
    together.clear();
    times.clear();
}

bool conflict(const Access &a, const Access &me) {
    if (a.atomic && me.atomic) return false;
    if (a.block != me.block) return true;
    if (a.thread == me.thread || a.barrier != me.barrier) return false;
    return a.thread / 32 != me.thread / 32 || a.warp_epoch == me.warp_epoch;
}

void judge(Cell &cell, uint64_t stamp, const Access &me, bool writes, void *pc, const char *where) {
    if (cell.stamp != stamp) cell = Cell{stamp, {}, {}, 0, 0};
    if (cell.writes && conflict(cell.write, me)) {
        fault(pc, "race in %s memory: it %s what thread %u of block %u wrote, with no barrier between",
              where, writes ? "overwrites" : "reads", cell.write.thread, cell.write.block);
    }
    if (writes) {
        for (int i = 0; i < cell.reads; i++)
            if (conflict(cell.read[i], me))
                fault(pc, "race in %s memory: it overwrites what thread %u of block %u read, with no "
                      "barrier between", where, cell.read[i].thread, cell.read[i].block);
        cell.write = me;
        cell.writes = 1;
        cell.reads = 0;
        return;
    }
    for (int i = 0; i < cell.reads; i++)
        if (cell.read[i].thread == me.thread && cell.read[i].block == me.block) {
            cell.read[i] = me;
            return;
        }
    if (cell.reads < 2) cell.read[cell.reads++] = me;
    else cell.read[1] = me;
}

void access(void *pointer, unsigned size, bool writes, bool atomic, bool aligned, void *pc) {
    const uintptr_t address = (uintptr_t)pointer;
    if (!launch || faulty) return;
    if (address >= (uintptr_t)stacks && address < (uintptr_t)stacks + 1024 * STACK) return;
    const Access me = {block_serial, current, barrier_count, warps[current / 32].epoch, atomic};
    if (aligned && address % size)
        return fault(pc, "misaligned: %u bytes at an address that is %u modulo %u", size,
                     (unsigned)(address % size), size);
    /* Shared memory: the kernel's own arrays, then the dynamic one. */
    const uintptr_t first = (uintptr_t)__start_emu_shared, last = (uintptr_t)__stop_emu_shared;
    const uintptr_t dynamic = (uintptr_t)dynamic_shared.data();
    uint64_t offset = UINT64_MAX;
    if (first && address >= first && address + size <= last) offset = address - first;
    else if (address >= dynamic && address + size <= dynamic + launch->shared_bytes)
        offset = last - first + (address - dynamic);
    if (offset != UINT64_MAX) {
        launch->counters.shared_accesses++;
        note_words(address, size, true, writes, pc);
        for (unsigned i = 0; i < size; i++) {
            if (!writes && !shared_written[offset + i])
                return fault(pc, "reads shared memory that nobody wrote, byte %lu", (unsigned long)(offset + i));
            if (writes) shared_written[offset + i] = 1;
        }
        for (unsigned i = 0; i < size; i += 2)
            judge(shared_cells[(offset + i) / 2], block_stamp, me, writes, pc, "shared");
        return;
    }
    for (uint64_t r = 0; r < launch->region_count; r++) {
        const Region &region = launch->regions[r];
        if (address < region.base || address + size > region.base + region.size) continue;
        const uint64_t at = address - region.base;
        (writes ? launch->counters.written_bytes : launch->counters.read_bytes) += size;
        note_words(address, size, false, writes, pc);
        if (writes) memset(region.written + at, 1, size);
        else
            for (uint64_t i = 0; i < size; i += region.item)
                if (!region.written[at + i])
                    return fault(pc, "reads global memory that nobody wrote, byte %lu of array %lu",
                                 (unsigned long)(at + i), (unsigned long)r);
        for (unsigned i = 0; i < size; i += 2)
            judge(global_cells[r][(at + i) / 2], launch_stamp, me, writes, pc, "global");
        return;
    }
    /* Constants and the emulator's own variables lie in the library's image, outside shared memory. */
    const bool in_image = address >= (uintptr_t)__ehdr_start && address < (uintptr_t)_end;
    if (in_image && !writes && !(first && address + size > first && address < last)) return;
    /* Name the array that it just misses. */
    for (uint64_t r = 0; r < launch->region_count; r++) {
        const Region &region = launch->regions[r];
        if (address + 256 >= region.base && address < region.base + region.size + 256)
            return fault(pc, "out of bounds: %s byte %ld of array %lu, which has %lu", writes ? "writes" : "reads",
                         (long)(address - region.base), (unsigned long)r, (unsigned long)region.size);
    }
    fault(pc, "out of bounds: %s %u bytes where no array of the launch and no shared memory is",
          writes ? "writes" : "reads", size);
}

}  // namespace

extern "C" {

void emu_barrier(int line) { park(AT_BARRIER, line); }

uint64_t emu_rendezvous(int op, unsigned mask, uint64_t value, int argument, int line) {
    Warp &w = warps[current / 32];
    const unsigned lane = current % 32;
    launch->counters.warp_ops++;
    if (!(mask >> lane & 1)) fault(nullptr, "line %d: its mask %08x leaves out lane %u itself", line, mask, lane);
    if (w.arrived && (w.mask != mask || w.op != op || w.line != line))
        fault(nullptr, "line %d: the warp's other lanes are at line %d (mask %08x, here %08x)", line, w.line,
              w.mask, mask);
    w.mask = mask;
    w.op = op;
    w.line = line;
    w.arrived |= 1u << lane;
    w.value[lane] = value;
    w.argument[lane] = argument;
    Fiber &f = fibers[current];
    f.state = AT_WARP;
    f.line = line;
    complete_warp(current / 32);
    switch_fibers(f, scheduler);
    if (f.line < 0) fault(nullptr, "line %d: it reads lane %d, which takes no part", line, -f.line - 1);
    return f.result;
}

void *emu_dynamic_shared() { return dynamic_shared.data(); }

void emu_atomic(void *address, int size) {
    launch->counters.atomics++;
    access(address, (unsigned)size, false, true, true, __builtin_return_address(0));
    access(address, (unsigned)size, true, true, true, __builtin_return_address(0));
}

/* Whether subnormal numbers count as zero, as CuPy's -ftz=true has it on the device. */
void emu_flush(int on) {
#if defined(__x86_64__)
    const unsigned flags = 0x8040;  /* flush to zero, denormals are zero */
    __builtin_ia32_ldmxcsr(on ? __builtin_ia32_stmxcsr() | flags : __builtin_ia32_stmxcsr() & ~flags);
#elif defined(__aarch64__)
    uint64_t control;
    asm volatile("mrs %0, fpcr" : "=r"(control));
    control = on ? control | 1u << 24 : control & ~(uint64_t)(1u << 24);
    asm volatile("msr fpcr, %0" : : "r"(control));
#endif
}

int emu_launch(Launch *wanted) {
    launch = wanted;
    faulty = false;
    launch->error[0] = 0;
    launch->fault_pc = 0;
    launch->counters = Counters();
    random_state = launch->seed * 2 + 1;
    if (!stacks)
        stacks = (char *)mmap(nullptr, 1024 * STACK, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    launch_stamp++;
    const size_t fixed = __start_emu_shared ? (size_t)(__stop_emu_shared - __start_emu_shared) : 0;
    dynamic_shared.assign(launch->shared_bytes, 0);
    shared_written.assign(fixed + launch->shared_bytes, 0);
    shared_cells.assign((fixed + launch->shared_bytes) / 2 + 1, Cell());
    global_cells.resize(launch->region_count);
    for (uint64_t r = 0; r < launch->region_count; r++)
        global_cells[r].assign(launch->regions[r].size / 2 + 1, Cell());
    emu_block_dim = launch->block;
    emu_grid_dim = launch->grid;
    const uint64_t blocks = (uint64_t)launch->grid.x * launch->grid.y * launch->grid.z;
    std::vector<uint64_t> order(blocks);
    for (uint64_t i = 0; i < blocks; i++) order[i] = i;
    for (uint64_t i = blocks; launch->seed && i > 1; i--) std::swap(order[i - 1], order[draw() % i]);
    emu_flush(1);
    for (uint64_t i = 0; i < blocks && !faulty; i++) {
        const uint64_t b = order[i];
        run_block((unsigned)(b % launch->grid.x), (unsigned)(b / launch->grid.x % launch->grid.y),
                  (unsigned)(b / launch->grid.x / launch->grid.y));
        count_words();
    }
    emu_flush(0);
    launch = nullptr;
    return faulty;
}

uint64_t emu_static_shared() {
    return __start_emu_shared ? (uint64_t)(__stop_emu_shared - __start_emu_shared) : 0;
}

/* The hooks that -fsanitize=thread calls before each access. */
#define PC __builtin_return_address(0)
#define HOOKS(n)                                                                                  \
    void __tsan_read##n(void *p) { access(p, n, false, false, true, PC); }                        \
    void __tsan_write##n(void *p) { access(p, n, true, false, true, PC); }                        \
    void __tsan_unaligned_read##n(void *p) { access(p, n, false, false, false, PC); }             \
    void __tsan_unaligned_write##n(void *p) { access(p, n, true, false, false, PC); }             \
    void __tsan_read_write##n(void *p) {                                                          \
        access(p, n, false, false, true, PC);                                                     \
        access(p, n, true, false, true, PC);                                                      \
    }
HOOKS(1) HOOKS(2) HOOKS(4) HOOKS(8) HOOKS(16)
void __tsan_read_range(void *p, uint64_t n) { access(p, (unsigned)n, false, false, false, PC); }
void __tsan_write_range(void *p, uint64_t n) { access(p, (unsigned)n, true, false, false, PC); }
void *__tsan_memcpy(void *to, const void *from, uint64_t n) {
    access((void *)from, (unsigned)n, false, false, false, PC);
    access(to, (unsigned)n, true, false, false, PC);
    return memcpy(to, from, n);
}
void *__tsan_memset(void *to, int value, uint64_t n) {
    access(to, (unsigned)n, true, false, false, PC);
    return memset(to, value, n);
}
/* The hooks of -fsanitize=bounds, shift and integer-divide-by-zero. An array's index past its end
 * may hit the next one; a shift by 32 gives 0 on a GPU and anything here. */
void __ubsan_handle_out_of_bounds(void *, void *index) {
    if (launch) fault(PC, "out of bounds: index %ld of an array", (long)index);
}
void __ubsan_handle_shift_out_of_bounds(void *, void *, void *by) {
    if (launch) fault(PC, "a shift by %ld bits", (long)by);
}
void __ubsan_handle_divrem_overflow(void *, void *, void *) {
    if (launch) fault(PC, "a division by zero");
}
void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}
}
