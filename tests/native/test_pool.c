/* The thread pool without Python: callers from many threads at once, pools that come and go, and
 * children forked in the midst of calls, whose threads make their first calls together. Also run
 * under ThreadSanitizer (without the forks, which it does not follow).
 *
 * Exits 0 and prints "N passed, 0 failed", or prints each failure and exits 1. A deadlock ends in
 * SIGALRM. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "pool.h"

#define UNITS 64
#define CALLERS 4

static int64_t passed, failed;

struct task { int64_t unit_sums[UNITS]; int64_t seed; };

static void add_up(void *argument, ptrdiff_t unit, int worker) {
    struct task *task = (struct task *)argument;
    int64_t sum = 0;
    (void)worker;
    for (int64_t i = 0; i < 200; i++) sum += task->seed * i + unit;
    task->unit_sums[unit] += sum; /* a unit done twice, or by two threads, shows */
}

/* Calls of `units` from one thread; 0 if every unit was done once. */
static int call_often(struct ys_pool *pool, int calls, int64_t seed) {
    struct task task;
    int wrong = 0;
    for (int call = 0; call < calls; call++) {
        int units = 1 + (call * 7 + (int)seed) % UNITS;
        memset(&task, 0, sizeof task);
        task.seed = seed;
        ys_pool_run(pool, add_up, &task, units);
        for (int unit = 0; unit < UNITS; unit++)
            wrong |= task.unit_sums[unit] != (unit < units ? seed * 19900 + 200 * unit : 0);
    }
    return wrong;
}

struct caller { struct ys_pool *pool; int calls; int64_t seed; int wrong; pthread_barrier_t *gate; };

static void *caller_main(void *argument) {
    struct caller *caller = (struct caller *)argument;
    pthread_barrier_wait(caller->gate);
    caller->wrong = call_often(caller->pool, caller->calls, caller->seed);
    return NULL;
}

/* CALLERS threads call at once; how many got a wrong sum. */
static int call_from_threads(struct ys_pool *pool, int calls) {
    struct caller callers[CALLERS];
    pthread_t threads[CALLERS];
    pthread_barrier_t gate;
    int wrong = 0;
    pthread_barrier_init(&gate, NULL, CALLERS);
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){pool, calls, i + 1, 0, &gate};
        pthread_create(&threads[i], NULL, caller_main, &callers[i]);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        wrong += callers[i].wrong;
    }
    pthread_barrier_destroy(&gate);
    return wrong;
}

static void check(const char *what, int bad) {
    if (!bad) { passed++; return; }
    failed++;
    printf("%s: %d wrong\n", what, bad);
}

static int64_t stop;
static void *call_on(void *argument) {
    while (!ys_load(&stop)) call_often((struct ys_pool *)argument, 3, 5);
    return NULL;
}

static void fork_amid_calls(int forks) {
    struct ys_pool pool;
    pthread_t threads[2];
    ys_pool_init(&pool, 3);
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, call_on, &pool);
    for (int i = 0; i < forks; i++) {
        int status;
        pid_t child = fork();
        if (!child) {
            alarm(20);
            _exit(call_from_threads(&pool, 2) ? 1 : 0);
        }
        waitpid(child, &status, 0);
        check("a forked child", status);
    }
    ys_fetch_add(&stop, 1);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    ys_pool_close(&pool);
}

int main(int count, char **arguments) {
    int forks = count > 1 ? atoi(arguments[1]) : 0;
    alarm(120);
    for (int size = 1; size <= 5; size++) {
        struct ys_pool pool;
        ys_pool_init(&pool, size);
        check("callers at once", call_from_threads(&pool, 300));
        ys_pool_close(&pool);
    }
    for (int i = 0; i < 100; i++) { /* closed at once, unused, or after a call */
        struct ys_pool pool;
        ys_pool_init(&pool, 4);
        if (i % 3) check("a pool of one call", call_often(&pool, i % 3, 2));
        ys_pool_close(&pool);
    }
    for (int i = 0; i < 200; i++) { /* what a forked child sees: a pool of another process */
        struct ys_pool pool;
        ys_pool_init(&pool, 3);
        pool.process_id = 1;
        check("first calls in a child", call_from_threads(&pool, 1));
        ys_pool_close(&pool);
    }
    fork_amid_calls(forks);
    printf("%lld passed, %lld failed\n", (long long)passed, (long long)failed);
    return failed != 0;
}
