#include <trunkline/base/rcu.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

struct version {
    int number, copy;
};
static struct version *_Atomic published;
static _Atomic int stop, freed, ready;

static void version_free(void *p)
{
    struct version *v = p;
    v->number = v->copy = -1; /* a reader that still had it would see this, and the sanitizers more */
    free(v);
    atomic_fetch_add(&freed, 1);
}

static struct version *version_new(int n)
{
    struct version *v = xmalloc(sizeof *v);
    v->number = v->copy = n;
    return v;
}

static void *read_versions(void *arg)
{
    int last = -1;
    rcu_reader_start();
    atomic_fetch_add(&ready, 1);
    for (unsigned turn = 0; !atomic_load(&stop); turn++) {
        const struct version *v = rcu_read(&published);
        for (int i = 0; i < 20; i++) {
            ASSERT(v->number == v->copy && v->number >= last);
            if (i == 10 && turn % 4 == 0)
                sched_yield(); /* time for whoever would free it too early */
        }
        last = v->number;
        if (turn % 16 == 0) {
            rcu_sleep();
            sched_yield();
            rcu_wake();
        } else {
            rcu_quiet();
        }
    }
    rcu_reader_stop();
    return arg;
}

static void test_rcu_readers_never_see_a_freed_version(void **state)
{
    (void)state;
    rcu_publish(&published, version_new(0));
    pthread_t readers[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&readers[i], NULL, read_versions, NULL);
    while (atomic_load(&ready) < 3)
        sched_yield();
    for (int n = 1; n <= 3000; n++) {
        struct version *old = rcu_read(&published);
        rcu_publish(&published, version_new(n));
        rcu_defer(old, version_free);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 3; i++)
        pthread_join(readers[i], NULL);
    rcu_barrier_all();
    assert_int_equal(atomic_load(&freed), 3000);
    version_free(rcu_read(&published));
}

static _Atomic int called;
static void count_call(void *p)
{
    (void)p;
    atomic_fetch_add(&called, 1);
}

static void *defer_and_wait(void *arg)
{
    for (int i = 0; i < 100; i++) {
        int before = atomic_load(&called);
        rcu_defer(NULL, count_call);
        rcu_barrier_all();
        ASSERT(atomic_load(&called) > before);
    }
    return arg;
}

static void test_rcu_barrier_from_several_threads_waits_for_own_calls(void **state)
{
    (void)state;
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, defer_and_wait, NULL);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    rcu_barrier_all();
    assert_int_equal(atomic_load(&called), 300);
    rcu_barrier_all(); /* nothing to wait for */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rcu_readers_never_see_a_freed_version),
        cmocka_unit_test(test_rcu_barrier_from_several_threads_waits_for_own_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
