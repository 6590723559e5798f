#include <trunkline/io/worker.h>

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/io/conn.h>

#include "worker_priv.h"

/* Fixed while workers run; written by control before the threads start and after they are joined. */
static struct worker *workers;
static int count;
static const struct worker_hooks *hooks;

/* Start goes in two steps, so that all loops are there before the first callback runs:
 *   1. each thread makes its loop and reports; control waits for every report
 *   2. control lets them go; each runs its `started` hook and reports again
 * If step 1 fails anywhere, control lets them go with start_errno set, and they end. */
static sem_t reported, may_go;
static int start_errno; /* written by one thread at a time in step 1, read after that */

static _Thread_local struct worker *current;

int worker_count(void)
{
    return count;
}

struct worker *worker_by_index(int index)
{
    ASSERT(index >= 0 && index < count);
    return &workers[index];
}

struct worker *worker_current(void)
{
    return current;
}

int worker_index(const struct worker *w)
{
    return w->index;
}

struct loop *worker_loop(struct worker *w)
{
    return w->loop;
}

void worker_post(struct worker *w, struct letter *l)
{
    loop_post(w->loop, l);
}

uint32_t worker_connections(const struct worker *w)
{
    return atomic_load_explicit(&w->load, memory_order_relaxed);
}

void worker_reserve(struct worker *w)
{
    atomic_fetch_add_explicit(&w->load, 1, memory_order_relaxed);
}

void worker_release(struct worker *w)
{
    uint32_t before = atomic_fetch_sub_explicit(&w->load, 1, memory_order_relaxed);
    ASSERT(before > 0);
}

/* Whether a worker with `load` connections is to have the next one rather than one with `other`. Connections come in
 * pairs: the second of a pair joins the first. Between pairs the emptier worker is better. */
static bool is_better(uint32_t load, uint32_t other)
{
    uint32_t pairs = load / 2, other_pairs = other / 2;
    return pairs != other_pairs ? pairs < other_pairs : load > other;
}

struct worker *worker_choose(struct worker *preferred)
{
    struct worker *best = preferred ? preferred : &workers[0];
    uint32_t best_load = worker_connections(best);
    for (int i = 0; i < count; i++) {
        uint32_t load = worker_connections(&workers[i]);
        if (is_better(load, best_load)) {
            best = &workers[i];
            best_load = load;
        }
    }
    return best;
}

void worker_each_conn(struct worker *w, void (*fn)(struct io_conn *c, void *arg), void *arg)
{
    list_for_each_safe(n, &w->conns)
    {
        fn(list_entry(n, struct io_conn, node), arg);
    }
}

static void abort_for_stop(struct io_conn *c, void *unused)
{
    (void)unused;
    io_conn_abort(c, "the process is stopping");
}

static void on_stop(struct letter *l)
{
    struct worker *w = container_of(l, struct worker, stop);
    w->stopping = true;
    worker_each_conn(w, abort_for_stop, NULL);
    loop_stop(w->loop);
}

/* Connections end in the hooks of the turn in which they were aborted; what ends one may have opened another. */
static void end_connections(struct worker *w)
{
    while (!list_is_empty(&w->conns)) {
        worker_each_conn(w, abort_for_stop, NULL);
        loop_stop(w->loop);
        loop_run(w->loop);
    }
}

static void report(void)
{
    sem_post(&reported);
}

static void wait_for(sem_t *sem)
{
    while (sem_wait(sem) != 0)
        ASSERT(errno == EINTR);
}

/* The end goes in two steps as well, so that no letter is left in a box, nor posted to a loop that is no more:
 *   1. each worker ends its connections and reports; what that tells other workers is in their boxes then
 *   2. control lets them go; each delivers what is in its box */
static void deliver_the_last_letters(struct worker *w)
{
    if (hooks->ending)
        hooks->ending(w);
    report();
    wait_for(&may_go);
    loop_stop(w->loop);
    loop_run(w->loop);
    ASSERT(list_is_empty(&w->conns));
}

static void live(struct worker *w)
{
    io_conn_worker_init(w);
    if (hooks->started)
        hooks->started(w);
    report();
    loop_run(w->loop);
    end_connections(w);
    deliver_the_last_letters(w);
    if (hooks->stopped)
        hooks->stopped(w);
    io_conn_worker_fini(w);
}

static void *worker_main(void *arg)
{
    struct worker *w = current = arg;
    char name[16];
    snprintf(name, sizeof name, "worker-%d", w->index);
    pthread_setname_np(pthread_self(), name);
    thread_become_worker(w->index);
    if (loop_new(true, &w->loop) != OK)
        start_errno = errno;
    report();
    wait_for(&may_go);
    if (start_errno == 0)
        live(w);
    thread_leave_worker();
    return NULL;
}

/* Start one thread and wait for its first report. Result: whether there is a thread; start_errno: 0 if all is well. */
static bool start_one(struct worker *w, int index)
{
    *w = (struct worker){.index = index, .stop = LETTER_INIT(on_stop)};
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int refused = pthread_create(&w->thread, NULL, worker_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (refused) {
        start_errno = refused;
        return false;
    }
    wait_for(&reported);
    return true;
}

static void join_all(int n)
{
    for (int i = 0; i < n; i++)
        pthread_join(workers[i].thread, NULL);
    for (int i = 0; i < n; i++)
        loop_free(&workers[i].loop);
    free(workers);
    workers = NULL;
    count = 0;
    sem_destroy(&reported);
    sem_destroy(&may_go);
}

enum err workers_start(int n, const struct worker_hooks *h)
{
    ASSERT(count == 0);
    if (n < 1 || n > WORKERS_MAX)
        return ERR_INVALID;
    hooks = h;
    workers = xcalloc((size_t)n, sizeof *workers);
    sem_init(&reported, 0, 0);
    sem_init(&may_go, 0, 0);
    start_errno = 0;
    int threads = 0;
    while (threads < n && start_errno == 0)
        threads += start_one(&workers[threads], threads);
    if (start_errno == 0)
        count = n;
    for (int i = 0; i < threads; i++)
        sem_post(&may_go);
    if (start_errno != 0) {
        join_all(threads);
        errno = start_errno;
        return ERR_SYSTEM;
    }
    for (int i = 0; i < n; i++)
        wait_for(&reported);
    return OK;
}

void workers_stop(void)
{
    for (int i = 0; i < count; i++)
        worker_post(&workers[i], &workers[i].stop);
    for (int i = 0; i < count; i++)
        wait_for(&reported);
    for (int i = 0; i < count; i++)
        sem_post(&may_go);
    if (count > 0)
        join_all(count);
}
