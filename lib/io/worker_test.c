#include <trunkline/io/worker.h>

#include <sched.h>
#include <signal.h>

static unsigned long worker_turn_of_test;
#include "fake_engine_priv.h"
#include "worker_priv.h"

static _Atomic int started, stopped, wrong;

static void on_started(struct worker *w)
{
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    /* All loops are there: a hook may write to any worker. */
    bool all_there = worker_count() == 3 && worker_loop(worker_by_index(2)) != NULL;
    if (worker_current() != w || thread_worker_index() != worker_index(w) || loop_current() != worker_loop(w) ||
        !sigismember(&blocked, SIGTERM) || !all_there)
        atomic_fetch_add(&wrong, 1);
    atomic_fetch_add(&started, 1);
}

static void on_stopped(struct worker *w)
{
    if (worker_current() != w)
        atomic_fetch_add(&wrong, 1);
    atomic_fetch_add(&stopped, 1);
}

static const struct worker_hooks hooks = {.started = on_started, .stopped = on_stopped};

static void test_worker_hooks_run_on_each_thread_at_start_and_stop(void **state)
{
    (void)state;
    for (int round = 1; round <= 3; round++) {
        assert_int_equal(workers_start(3, &hooks), OK);
        assert_int_equal(atomic_load(&started), 3 * round);
        assert_int_equal(worker_count(), 3);
        workers_stop();
        assert_int_equal(atomic_load(&stopped), 3 * round);
        assert_int_equal(worker_count(), 0);
    }
    assert_int_equal(atomic_load(&wrong), 0);
    assert_null(worker_current());
}

static void test_worker_senseless_numbers_are_refused(void **state)
{
    (void)state;
    assert_int_equal(workers_start(0, &hooks), ERR_INVALID);
    assert_int_equal(workers_start(-1, &hooks), ERR_INVALID);
    assert_int_equal(workers_start(WORKERS_MAX + 1, &hooks), ERR_INVALID);
    workers_stop(); /* nothing to stop */
}

static void test_worker_without_hooks_and_stop_twice(void **state)
{
    (void)state;
    const struct worker_hooks none = {.started = NULL};
    assert_int_equal(workers_start(2, &none), OK);
    workers_stop();
    workers_stop();
}

/* Worker 0 posts to worker 1 when that has ended its connections already. */
static _Atomic bool one_is_ending, last_is_delivered;

static void on_ending(struct worker *w)
{
    if (worker_index(w) == 1)
        atomic_store(&one_is_ending, true);
}

static void on_last(struct letter *l)
{
    (void)l;
    atomic_store(&last_is_delivered, thread_worker_index() == 1);
}

static struct letter last_letter = LETTER_INIT(on_last);

static void on_relay(struct letter *l)
{
    (void)l;
    while (!atomic_load(&one_is_ending))
        sched_yield();
    worker_post(worker_by_index(1), &last_letter);
}

static void test_worker_stop_delivers_letters_from_those_that_end_later(void **state)
{
    (void)state;
    const struct worker_hooks ending = {.ending = on_ending};
    struct letter relay = LETTER_INIT(on_relay);
    assert_int_equal(workers_start(2, &ending), OK);
    worker_post(worker_by_index(0), &relay);
    workers_stop();
    assert_true(atomic_load(&last_is_delivered));
}

/* Place the next connection. Result: the index of its worker. */
static int place(struct worker *preferred)
{
    struct worker *w = worker_choose(preferred);
    worker_reserve(w);
    return worker_index(w);
}

static void test_worker_choose_fills_pairs_and_prefers_its_own(void **state)
{
    (void)state;
    assert_int_equal(workers_start(3, &hooks), OK);
    struct worker *last = worker_by_index(2);
    assert_int_equal(place(last), 2);
    assert_int_equal(place(NULL), 2); /* the second of a pair joins the first */
    assert_int_equal(place(last), 0); /* its own has more */
    assert_int_equal(place(last), 0);
    assert_int_equal(place(last), 1);
    assert_int_equal(place(NULL), 1);
    assert_int_equal(place(last), 2); /* all the same again */
    worker_release(worker_by_index(0));
    worker_release(worker_by_index(0));
    assert_int_equal(place(last), 0);
    const uint32_t want[] = {1, 2, 3};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(worker_connections(worker_by_index(i)), want[i]);
        while (worker_connections(worker_by_index(i)))
            worker_release(worker_by_index(i));
    }
    workers_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worker_hooks_run_on_each_thread_at_start_and_stop),
        cmocka_unit_test(test_worker_senseless_numbers_are_refused),
        cmocka_unit_test(test_worker_without_hooks_and_stop_twice),
        cmocka_unit_test(test_worker_stop_delivers_letters_from_those_that_end_later),
        cmocka_unit_test(test_worker_choose_fills_pairs_and_prefers_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
