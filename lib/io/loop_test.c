#include <trunkline/io/loop.h>

#include <pthread.h>
#include <sys/epoll.h>

#include "harness_priv.h"

static struct loop *loop;

static int begin(void **state)
{
    (void)state;
    return loop_new(false, &loop) == OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    loop_free(&loop);
    return 0;
}

static int fired;
static void on_fire(struct timer *t)
{
    (void)t;
    fired++;
    loop_stop(loop);
}

static void test_loop_timer_fires_not_early(void **state)
{
    (void)state;
    struct timer t;
    timer_init(&t, on_fire);
    fired = 0;
    mono_ms start = clock_mono_ms();
    loop_timer_after(loop, &t, 30);
    loop_run(loop);
    assert_int_equal(fired, 1);
    assert_true(clock_mono_ms() - start >= 30);
    assert_ptr_equal(loop_current(), loop);
}

struct pipe_watch {
    struct loop_watch watch;
    struct pipe_watch *other;
    int got;
};
static void on_readable(struct loop_watch *w, uint32_t events)
{
    struct pipe_watch *p = container_of(w, struct pipe_watch, watch);
    assert_true(events & EPOLLIN);
    p->got++;
    if (p->other) /* its event has been read in the same turn: it must not be told any more */
        loop_watch_remove(loop, &p->other->watch);
    loop_stop(loop);
}

static void test_loop_watch_removed_in_the_same_turn_is_not_called(void **state)
{
    (void)state;
    int a[2], b[2];
    assert_int_equal(pipe(a), 0);
    assert_int_equal(pipe(b), 0);
    struct pipe_watch first = {LOOP_WATCH_INIT(on_readable), NULL, 0}, second = first;
    first.other = &second;
    second.other = &first;
    assert_int_equal(loop_watch_add(loop, &first.watch, a[0], EPOLLIN), OK);
    assert_int_equal(loop_watch_add(loop, &second.watch, b[0], EPOLLIN), OK);
    assert_int_equal(write(a[1], "x", 1), 1);
    assert_int_equal(write(b[1], "x", 1), 1);
    loop_run(loop);
    assert_int_equal(first.got + second.got, 1);
    loop_watch_remove(loop, &first.watch);
    loop_watch_remove(loop, &second.watch);
    assert_int_equal(first.watch.fd, -1);
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
}

static void test_loop_watch_on_bad_descriptor_is_an_error(void **state)
{
    (void)state;
    struct loop_watch w = LOOP_WATCH_INIT(on_readable);
    assert_int_equal(loop_watch_add(loop, &w, 9999, EPOLLIN), ERR_SYSTEM);
    assert_int_equal(w.fd, -1);
    loop_watch_remove(loop, &w);
}

static void *post_stop(void *arg)
{
    loop_stop(loop);
    return arg;
}

static void test_loop_stop_from_another_thread_wakes_it(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, post_stop, NULL);
        loop_run(loop);
        pthread_join(thread, NULL);
    }
}

static char order[64];
static int rounds;
struct named_hook {
    struct loop_hook hook;
    char name;
    int work;
};
static bool on_hook(struct loop_hook *h)
{
    struct named_hook *n = container_of(h, struct named_hook, hook);
    size_t len = strlen(order);
    if (len + 1 < sizeof order)
        order[len] = n->name;
    return n->work-- > 0;
}

static void test_loop_hooks_run_by_phase_and_again_while_one_works(void **state)
{
    (void)state;
    struct named_hook gather = {LOOP_HOOK_INIT(on_hook), 'g', 0}, flush = {LOOP_HOOK_INIT(on_hook), 'f', 2},
                      second = {LOOP_HOOK_INIT(on_hook), 'h', 0};
    memset(order, 0, sizeof order);
    loop_hook_add(loop, &flush.hook, LOOP_FLUSH);
    loop_hook_add(loop, &gather.hook, LOOP_GATHER);
    loop_hook_add(loop, &second.hook, LOOP_GATHER);
    loop_stop(loop);
    loop_run(loop);
    assert_string_equal(order, "ghfghfghf");
    loop_hook_remove(&gather.hook);
    loop_hook_remove(&flush.hook);
    loop_hook_remove(&second.hook);
    loop_hook_remove(&second.hook);
}

static struct named_hook *victim;
static bool on_killer(struct loop_hook *h)
{
    (void)h;
    rounds++;
    loop_hook_remove(&victim->hook);
    return false;
}

static void test_loop_hook_may_remove_the_next_and_itself(void **state)
{
    (void)state;
    struct loop_hook killer = LOOP_HOOK_INIT(on_killer);
    struct named_hook next = {LOOP_HOOK_INIT(on_hook), 'n', 0}, last = {LOOP_HOOK_INIT(on_hook), 'l', 0};
    memset(order, 0, sizeof order);
    victim = &next;
    rounds = 0;
    loop_hook_add(loop, &killer, LOOP_GATHER);
    loop_hook_add(loop, &next.hook, LOOP_GATHER);
    loop_hook_add(loop, &last.hook, LOOP_GATHER);
    loop_stop(loop);
    loop_run(loop);
    assert_string_equal(order, "l");
    assert_int_equal(rounds, 1);
    loop_hook_remove(&killer);
    loop_hook_remove(&last.hook);
}

static bool on_busy_hook(struct loop_hook *h)
{
    (void)h;
    rounds++;
    return true;
}

static void test_loop_hook_that_always_works_does_not_stop_the_turn(void **state)
{
    (void)state;
    struct loop_hook busy = LOOP_HOOK_INIT(on_busy_hook);
    struct timer t;
    timer_init(&t, on_fire);
    rounds = 0;
    loop_hook_add(loop, &busy, LOOP_GATHER);
    loop_timer_after(loop, &t, 20);
    loop_run(loop);
    assert_true(rounds > 2); /* it asked for another turn instead of sleeping */
    loop_hook_remove(&busy);
}

static bool gathered;
static bool on_gather(struct loop_hook *h)
{
    (void)h;
    gathered = true;
    return false;
}

static bool on_busy_flush(struct loop_hook *h)
{
    (void)h;
    gathered = false;
    return true;
}

static void test_loop_what_a_busy_flush_leaves_is_gathered_in_the_same_turn(void **state)
{
    (void)state;
    struct loop_hook gather = LOOP_HOOK_INIT(on_gather), flush = LOOP_HOOK_INIT(on_busy_flush);
    loop_hook_add(loop, &gather, LOOP_GATHER);
    loop_hook_add(loop, &flush, LOOP_FLUSH);
    loop_stop(loop);
    loop_run(loop);
    assert_true(gathered);
    loop_hook_remove(&gather);
    loop_hook_remove(&flush);
}

static int idled;
static bool on_idle(struct loop_hook *h)
{
    (void)h;
    idled++;
    return false;
}

static bool timed_out(void)
{
    return idled > 0;
}

static void test_loop_idle_hook_runs_once_after_silence(void **state)
{
    (void)state;
    struct loop_hook idle = LOOP_HOOK_INIT(on_idle);
    idled = 0;
    mono_ms start = clock_mono_ms();
    loop_hook_add(loop, &idle, LOOP_IDLE);
    run_until(loop, timed_out);
    assert_true(clock_mono_ms() - start >= 1900);
    struct timer t;
    timer_init(&t, on_fire);
    loop_timer_after(loop, &t, 50);
    loop_run(loop);
    assert_int_equal(idled, 1);
    loop_hook_remove(&idle);
}

/* ---- the turn and RCU ---- */

struct reader {
    pthread_t thread;
    struct loop *_Atomic loop;
};

static void *read_main(void *arg)
{
    struct reader *r = arg;
    struct loop *mine;
    if (loop_new(true, &mine) != OK)
        return NULL;
    atomic_store(&r->loop, mine);
    loop_run(mine);
    loop_free(&mine);
    return arg;
}

static _Atomic int freed;
static void on_freed(void *p)
{
    (void)p;
    atomic_fetch_add(&freed, 1);
}

static void on_again(struct letter *l)
{
    loop_again(loop_current());
    loop_post(loop_current(), l);
}

static void test_loop_reader_lets_grace_periods_pass_asleep_and_busy(void **state)
{
    (void)state;
    struct reader r = {0};
    pthread_create(&r.thread, NULL, read_main, &r);
    WAIT_FOR(atomic_load(&r.loop));
    rcu_defer(NULL, on_freed); /* it sleeps */
    WAIT_FOR(atomic_load(&freed) == 1);
    struct letter busy = LETTER_INIT(on_again);
    loop_post(atomic_load(&r.loop), &busy); /* from now on it never sleeps */
    rcu_defer(NULL, on_freed);
    WAIT_FOR(atomic_load(&freed) == 2);
    loop_stop(atomic_load(&r.loop));
    void *result;
    pthread_join(r.thread, &result);
    assert_non_null(result);
    rcu_barrier_all();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(test_loop_timer_fires_not_early),
        T(test_loop_watch_removed_in_the_same_turn_is_not_called),
        T(test_loop_watch_on_bad_descriptor_is_an_error),
        T(test_loop_stop_from_another_thread_wakes_it),
        T(test_loop_hooks_run_by_phase_and_again_while_one_works),
        T(test_loop_hook_may_remove_the_next_and_itself),
        T(test_loop_hook_that_always_works_does_not_stop_the_turn),
        T(test_loop_what_a_busy_flush_leaves_is_gathered_in_the_same_turn),
        T(test_loop_idle_hook_runs_once_after_silence),
        T(test_loop_reader_lets_grace_periods_pass_asleep_and_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
