/* A pool of threads that share out the units of a job. The caller works too, so a pool of one has
 * no threads at all. Several callers may use one pool at once: their jobs stand in a list, and idle
 * threads help the oldest that has units left. Which thread computes a unit is left to chance;
 * what a unit computes must not depend on it.
 *
 * Why not OpenMP: GNU's runtime hangs in a child forked after its first use, and lives on as
 * process-wide state that an embedding application shares. This pool belongs to one model, starts
 * on first use, and a forked child notices (by its process id) that the threads stayed behind.
 */
#ifndef YOSORT_POOL_H
#define YOSORT_POOL_H

#include <stddef.h>

#include "threads.h"

typedef void (*ys_unit_fn)(void *job, ptrdiff_t unit, int worker);

struct ys_job {
    ys_unit_fn fn;
    void *argument;
    int64_t units;
    volatile int64_t next;      /* first unit that nobody has claimed */
    volatile int64_t done;      /* units finished */
    int helpers;                /* pool threads inside this job (under the mutex) */
    struct ys_job *older;
};

struct ys_pool {
    int size;                   /* threads that may work on a job, the caller's included */
    int started;                /* threads that exist */
    volatile int64_t process_id; /* whose threads they are; negative while that one takes over */
    int closing;
    struct ys_job *newest;
    ys_mutex mutex;
    ys_cond work, finished;
    ys_thread *threads;
};

struct ys_worker { struct ys_pool *pool; int index; };

static void ys_work_on(struct ys_job *job, int worker) {
    for (;;) {
        int64_t unit = ys_fetch_add(&job->next, 1);
        if (unit >= job->units) return;
        job->fn(job->argument, (ptrdiff_t)unit, worker);
        ys_fetch_add(&job->done, 1);
    }
}

/* Under the mutex: the oldest job with units left, or NULL. */
static struct ys_job *ys_open_job(struct ys_pool *pool) {
    struct ys_job *found = NULL;
    for (struct ys_job *job = pool->newest; job; job = job->older)
        if (ys_load(&job->next) < job->units) found = job;
    return found;
}

static void ys_worker_main(void *argument) {
    struct ys_worker worker = *(struct ys_worker *)argument;
    struct ys_pool *pool = worker.pool;
    free(argument);
    ys_mutex_lock(&pool->mutex);
    while (!pool->closing) {
        struct ys_job *job = ys_open_job(pool);
        if (!job) {
            ys_cond_wait(&pool->work, &pool->mutex);
            continue;
        }
        job->helpers++;
        ys_mutex_unlock(&pool->mutex);
        ys_work_on(job, worker.index);
        ys_mutex_lock(&pool->mutex);
        /* The caller's frame holds the job: after this the job may be gone. */
        if (--job->helpers == 0) ys_cond_broadcast(&pool->finished);
    }
    ys_mutex_unlock(&pool->mutex);
}

/* Start what is not running yet. Threads that cannot be had are done without. */
static void ys_pool_start(struct ys_pool *pool) {
    while (pool->started < pool->size - 1) {
        struct ys_worker *worker = (struct ys_worker *)malloc(sizeof *worker);
        if (!worker) return;
        worker->pool = pool;
        worker->index = pool->started + 1;
        if (ys_thread_create(&pool->threads[pool->started], ys_worker_main, worker)) {
            free(worker);
            return;
        }
        pool->started++;
    }
}

static void ys_pool_clear(struct ys_pool *pool) {
    ys_mutex_init(&pool->mutex);
    ys_cond_init(&pool->work);
    ys_cond_init(&pool->finished);
    pool->started = 0;
    pool->closing = 0;
    pool->newest = NULL;
}

/* A fork copied this memory but no thread: start over (the mutex may be copied locked). The child's
 * first callers may come together: one of them does it, the others wait for the moment it takes. */
static void ys_pool_take_over(struct ys_pool *pool) {
    int64_t mine = ys_process_id(), owner;
    while ((owner = ys_load(&pool->process_id)) != mine) {
        if (owner != -mine && ys_swap_if(&pool->process_id, owner, -mine)) {
            ys_pool_clear(pool);
            ys_store(&pool->process_id, mine);
            return;
        }
        ys_pause();
    }
}

static int ys_pool_init(struct ys_pool *pool, int size) {
    pool->size = size;
    pool->threads = (ys_thread *)malloc(sizeof(ys_thread) * (size_t)(size > 1 ? size - 1 : 1));
    if (!pool->threads) return -1;
    ys_pool_clear(pool);
    pool->process_id = ys_process_id();
    return 0;
}

static void ys_pool_close(struct ys_pool *pool) {
    if (!pool->threads) return;
    if (ys_load(&pool->process_id) == ys_process_id()) {
        ys_mutex_lock(&pool->mutex);
        pool->closing = 1;
        ys_cond_broadcast(&pool->work);
        ys_mutex_unlock(&pool->mutex);
        for (int i = 0; i < pool->started; i++) ys_thread_join(pool->threads[i]);
    }
    free(pool->threads);
    pool->threads = NULL;
}

/* Run units 0 .. units - 1 and return when all are done. */
static void ys_pool_run(struct ys_pool *pool, ys_unit_fn fn, void *argument, ptrdiff_t units) {
    struct ys_job job = {fn, argument, (int64_t)units, 0, 0, 0, NULL};
    if (pool->size <= 1 || units <= 1) {
        ys_work_on(&job, 0);
        return;
    }
    ys_pool_take_over(pool);
    ys_mutex_lock(&pool->mutex);
    if (pool->started < pool->size - 1) ys_pool_start(pool);
    job.older = pool->newest;
    pool->newest = &job;
    ys_cond_broadcast(&pool->work);
    ys_mutex_unlock(&pool->mutex);

    ys_work_on(&job, 0);

    /* The others are in their last unit: usually a matter of microseconds, so look for a moment
     * before sleeping. */
    for (int i = 0; i < 2000 && ys_load(&job.done) < job.units; i++) ys_pause();
    ys_mutex_lock(&pool->mutex);
    while (job.helpers > 0) ys_cond_wait(&pool->finished, &pool->mutex);
    struct ys_job **link = &pool->newest;
    while (*link != &job) link = &(*link)->older;
    *link = job.older;
    ys_mutex_unlock(&pool->mutex);
}

#endif
