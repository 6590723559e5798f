#include <trunkline/base/rcu.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <urcu-qsbr.h>

#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

/* liburcu is not instrumented, so ThreadSanitizer cannot see that what a reader did before its quiet point comes before
 * the end of the grace period. These two tell it, and do nothing in other builds. */
#if defined(__SANITIZE_THREAD__)
#define RCU_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RCU_TSAN 1
#endif
#endif
#ifdef RCU_TSAN
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
static char grace; /* its address stands for "a reader has passed a quiet point" */
static void tsan_reader_done(void)
{
    __tsan_release(&grace);
}
static void tsan_grace_period_over(void)
{
    __tsan_acquire(&grace);
}
#else
static void tsan_reader_done(void)
{
}
static void tsan_grace_period_over(void)
{
}
#endif

void rcu_reader_start(void)
{
    urcu_qsbr_register_thread();
}

void rcu_reader_stop(void)
{
    tsan_reader_done();
    urcu_qsbr_unregister_thread();
}

void rcu_quiet(void)
{
    tsan_reader_done();
    urcu_qsbr_quiescent_state();
}

void rcu_sleep(void)
{
    tsan_reader_done();
    urcu_qsbr_thread_offline();
}

void rcu_wake(void)
{
    urcu_qsbr_thread_online();
}

/* Deferred calls are run by one thread, which starts with the first of them and is joined by rcu_barrier_all().
 * (liburcu's own call_rcu thread would do, but it cannot be ended.) */
struct deferred {
    struct deferred *next;
    void *p;
    rcu_free_fn *fn;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct deferred *head, **tail;
    uint64_t added, done;
    bool running; /* there is a thread, not yet joined */
    bool ending;  /* somebody is going to join it */
    pthread_t thread;
} reclaimer = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .tail = &reclaimer.head};

static uint64_t run_batch(struct deferred *batch)
{
    uint64_t n = 0;
    urcu_qsbr_synchronize_rcu();
    tsan_grace_period_over();
    while (batch) {
        struct deferred *next = batch->next;
        batch->fn(batch->p);
        free(batch);
        batch = next;
        n++;
    }
    return n;
}

static void *reclaim(void *unused)
{
    pthread_mutex_lock(&reclaimer.lock);
    for (;;) {
        struct deferred *batch = reclaimer.head;
        if (batch) {
            reclaimer.head = NULL;
            reclaimer.tail = &reclaimer.head;
            pthread_mutex_unlock(&reclaimer.lock);
            uint64_t n = run_batch(batch);
            pthread_mutex_lock(&reclaimer.lock);
            reclaimer.done += n;
            pthread_cond_broadcast(&reclaimer.changed);
        } else if (reclaimer.ending) {
            break;
        } else {
            pthread_cond_wait(&reclaimer.changed, &reclaimer.lock);
        }
    }
    pthread_mutex_unlock(&reclaimer.lock);
    return unused;
}

/* Start the thread unless there is one. Call with the lock held. */
static void ensure_thread(void)
{
    if (reclaimer.running)
        return;
    int refused = pthread_create(&reclaimer.thread, NULL, reclaim, NULL);
    ASSERT(!refused);
    reclaimer.running = true;
}

void rcu_defer(void *p, rcu_free_fn *fn)
{
    struct deferred *d = xmalloc(sizeof *d);
    *d = (struct deferred){.p = p, .fn = fn};
    pthread_mutex_lock(&reclaimer.lock);
    *reclaimer.tail = d;
    reclaimer.tail = &d->next;
    reclaimer.added++;
    ensure_thread();
    pthread_cond_broadcast(&reclaimer.changed);
    pthread_mutex_unlock(&reclaimer.lock);
}

void rcu_barrier_all(void)
{
    pthread_mutex_lock(&reclaimer.lock);
    uint64_t wanted = reclaimer.added;
    while (reclaimer.done < wanted)
        pthread_cond_wait(&reclaimer.changed, &reclaimer.lock);
    if (reclaimer.running && !reclaimer.ending && reclaimer.head == NULL) {
        reclaimer.ending = true;
        pthread_cond_broadcast(&reclaimer.changed);
        pthread_t thread = reclaimer.thread;
        pthread_mutex_unlock(&reclaimer.lock);
        pthread_join(thread, NULL);
        pthread_mutex_lock(&reclaimer.lock);
        reclaimer.running = reclaimer.ending = false;
        /* What was deferred between the thread's last look and now. */
        if (reclaimer.head)
            ensure_thread();
        pthread_cond_broadcast(&reclaimer.changed);
    }
    pthread_mutex_unlock(&reclaimer.lock);
}
