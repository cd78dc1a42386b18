/* Mutexes, condition variables, threads and atomics, the same on POSIX and Windows. */
#ifndef YOSORT_THREADS_H
#define YOSORT_THREADS_H

#include <stdint.h>
#include <stdlib.h>

struct ys_thread_start { void (*fn)(void *); void *argument; };

#ifdef _WIN32

#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#include <process.h>

typedef SRWLOCK ys_mutex;
typedef CONDITION_VARIABLE ys_cond;
typedef HANDLE ys_thread;

static inline void ys_mutex_init(ys_mutex *m) { InitializeSRWLock(m); }
static inline void ys_mutex_lock(ys_mutex *m) { AcquireSRWLockExclusive(m); }
static inline void ys_mutex_unlock(ys_mutex *m) { ReleaseSRWLockExclusive(m); }
static inline void ys_cond_init(ys_cond *c) { InitializeConditionVariable(c); }
static inline void ys_cond_wait(ys_cond *c, ys_mutex *m) { SleepConditionVariableSRW(c, m, INFINITE, 0); }
static inline void ys_cond_broadcast(ys_cond *c) { WakeAllConditionVariable(c); }
static inline int64_t ys_fetch_add(volatile int64_t *p, int64_t n) { return InterlockedExchangeAdd64(p, n); }
static inline int64_t ys_load(volatile int64_t *p) { return InterlockedExchangeAdd64(p, 0); }
static inline void ys_store(volatile int64_t *p, int64_t n) { InterlockedExchange64(p, n); }
static inline int ys_swap_if(volatile int64_t *p, int64_t old, int64_t n) { return InterlockedCompareExchange64(p, n, old) == old; }
static inline int64_t ys_process_id(void) { return (int64_t)GetCurrentProcessId(); }
static inline void ys_pause(void) { YieldProcessor(); }

static unsigned __stdcall ys_thread_main(void *p) {
    struct ys_thread_start start = *(struct ys_thread_start *)p;
    free(p);
    start.fn(start.argument);
    return 0;
}
static inline int ys_thread_create(ys_thread *t, void (*fn)(void *), void *argument) {
    struct ys_thread_start *start = (struct ys_thread_start *)malloc(sizeof *start);
    if (!start) return -1;
    start->fn = fn;
    start->argument = argument;
    *t = (HANDLE)_beginthreadex(NULL, 0, ys_thread_main, start, 0, NULL);
    if (*t) return 0;
    free(start);
    return -1;
}
static inline void ys_thread_join(ys_thread t) { WaitForSingleObject(t, INFINITE); CloseHandle(t); }

#else

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

typedef pthread_mutex_t ys_mutex;
typedef pthread_cond_t ys_cond;
typedef pthread_t ys_thread;

static inline void ys_mutex_init(ys_mutex *m) { pthread_mutex_init(m, NULL); }
static inline void ys_mutex_lock(ys_mutex *m) { pthread_mutex_lock(m); }
static inline void ys_mutex_unlock(ys_mutex *m) { pthread_mutex_unlock(m); }
static inline void ys_cond_init(ys_cond *c) { pthread_cond_init(c, NULL); }
static inline void ys_cond_wait(ys_cond *c, ys_mutex *m) { pthread_cond_wait(c, m); }
static inline void ys_cond_broadcast(ys_cond *c) { pthread_cond_broadcast(c); }
static inline int64_t ys_fetch_add(volatile int64_t *p, int64_t n) { return __atomic_fetch_add(p, n, __ATOMIC_ACQ_REL); }
static inline int64_t ys_load(volatile int64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static inline void ys_store(volatile int64_t *p, int64_t n) { __atomic_store_n(p, n, __ATOMIC_RELEASE); }
static inline int ys_swap_if(volatile int64_t *p, int64_t old, int64_t n) {
    return __atomic_compare_exchange_n(p, &old, n, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
static inline int64_t ys_process_id(void) { return (int64_t)getpid(); }
static inline void ys_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void *ys_thread_main(void *p) {
    struct ys_thread_start start = *(struct ys_thread_start *)p;
    free(p);
    start.fn(start.argument);
    return NULL;
}
static inline int ys_thread_create(ys_thread *t, void (*fn)(void *), void *argument) {
    struct ys_thread_start *start = (struct ys_thread_start *)malloc(sizeof *start);
    if (!start) return -1;
    start->fn = fn;
    start->argument = argument;
    /* Signals belong to the application's threads: ours must never run its handlers. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(t, NULL, ys_thread_main, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) free(start);
    return failed ? -1 : 0;
}
static inline void ys_thread_join(ys_thread t) { pthread_join(t, NULL); }

#endif

#endif
