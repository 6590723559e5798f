#include <trunkline/base/timer.h>

#include <stdlib.h>
#include <string.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#define TIMERS 300

/* What the model knows of each timer: when it is due, MONO_MS_NEVER when it is not armed. */
static struct model {
    struct timer timers[TIMERS];
    mono_ms due[TIMERS];
    struct timer_wheel *wheel;
    mono_ms now, last_due;
    int fired;
} model;
static unsigned seed;

static mono_ms random_delay(void)
{
    /* All levels: 1 ms to years, and the past. */
    int bits = rand_r(&seed) % 38;
    mono_ms delay = ((mono_ms)rand_r(&seed) << 16 ^ rand_r(&seed)) & (((mono_ms)1 << bits) - 1);
    return rand_r(&seed) % 10 == 0 ? -delay % 1000 : delay;
}

static void arm_random(int i)
{
    mono_ms due = model.now + random_delay();
    timer_arm(model.wheel, &model.timers[i], due);
    model.due[i] = due;
}

static void on_model_timer(struct timer *t)
{
    int i = (int)(t - model.timers);
    assert_false(timer_is_armed(t));
    assert_true(model.due[i] != MONO_MS_NEVER); /* neither cancelled nor fired before */
    assert_true(model.due[i] <= model.now);     /* never early */
    model.due[i] = MONO_MS_NEVER;
    model.fired++;
    if (rand_r(&seed) % 4 == 0)
        arm_random(i);
    if (rand_r(&seed) % 4 == 0)
        arm_random(rand_r(&seed) % TIMERS);
    if (rand_r(&seed) % 8 == 0) {
        int other = rand_r(&seed) % TIMERS;
        timer_cancel(&model.timers[other]);
        model.due[other] = MONO_MS_NEVER;
    }
}

static mono_ms model_next(void)
{
    mono_ms next = MONO_MS_NEVER;
    for (int i = 0; i < TIMERS; i++)
        next = model.due[i] < next ? model.due[i] : next;
    return next;
}

static void check_against_model(mono_ms before_run)
{
    for (int i = 0; i < TIMERS; i++) {
        assert_int_equal(timer_is_armed(&model.timers[i]), model.due[i] != MONO_MS_NEVER);
        /* What is left and due was armed for the past during this run; the next one has it. */
        if (model.due[i] <= before_run)
            assert_true(timer_wheel_next(model.wheel) <= model.now);
    }
    mono_ms next = model_next();
    if (next == MONO_MS_NEVER)
        assert_true(timer_wheel_next(model.wheel) == MONO_MS_NEVER);
    else
        assert_true(timer_wheel_next(model.wheel) <= (next > model.now ? next : model.now));
}

static void run_model(unsigned with_seed, mono_ms start)
{
    seed = with_seed;
    memset(&model, 0, sizeof model);
    model.now = start;
    model.wheel = timer_wheel_new(start);
    for (int i = 0; i < TIMERS; i++) {
        timer_init(&model.timers[i], on_model_timer);
        model.due[i] = MONO_MS_NEVER;
        arm_random(i);
    }
    for (int step = 0; step < 3000; step++) {
        mono_ms before = model.now, next = timer_wheel_next(model.wheel);
        /* Sometimes to the very time the wheel names, sometimes over several, sometimes not at all. */
        if (step % 3 == 0 && next != MONO_MS_NEVER && next > model.now)
            model.now = next;
        else if (step % 3 == 1)
            model.now += rand_r(&seed) % (1 << rand_r(&seed) % 20);
        timer_wheel_run(model.wheel, model.now);
        timer_wheel_run(model.wheel, model.now); /* those armed for the past in the first */
        check_against_model(before);
        if (step % 7 == 0)
            arm_random(rand_r(&seed) % TIMERS);
    }
    assert_true(model.fired > 500);
    timer_wheel_free(&model.wheel);
    for (int i = 0; i < TIMERS; i++)
        assert_false(timer_is_armed(&model.timers[i]));
}

static void test_timer_random_use_agrees_with_model(void **state)
{
    (void)state;
    run_model(1, 0);
    run_model(2, 123456789);
    run_model(3, ((mono_ms)1 << 36) - 500); /* over a change of the highest digits */
    run_model(4, ((mono_ms)1 << 24) - 1);
}

static int order[16], order_count;
struct numbered {
    struct timer timer;
    int number;
};
static void on_numbered(struct timer *t)
{
    order[order_count++] = list_entry(t, struct numbered, timer)->number;
}

static void test_timer_one_run_fires_in_order_of_time(void **state)
{
    (void)state;
    struct timer_wheel *w = timer_wheel_new(1000);
    const mono_ms due[] = {70000, 1001, 1064, 5000, 1002, 300000, 1063};
    const int want[] = {1, 4, 6, 2, 3, 0, 5};
    struct numbered timers[7];
    order_count = 0;
    for (int i = 0; i < 7; i++) {
        timer_init(&timers[i].timer, on_numbered);
        timers[i].number = i;
        timer_arm(w, &timers[i].timer, due[i]);
    }
    timer_wheel_run(w, 1000);
    assert_int_equal(order_count, 0);
    timer_wheel_run(w, 1000000);
    assert_int_equal(order_count, 7);
    assert_memory_equal(order, want, sizeof want);
    timer_wheel_free(&w);
}

static void test_timer_next_is_exact_near_and_never_late(void **state)
{
    (void)state;
    struct timer_wheel *w = timer_wheel_new(100);
    struct numbered t = {.number = 1};
    timer_init(&t.timer, on_numbered);
    assert_true(timer_wheel_next(w) == MONO_MS_NEVER);
    timer_arm(w, &t.timer, 120);
    assert_true(timer_wheel_next(w) == 120);
    /* Far away, so that it stands in a slot of many milliseconds. */
    timer_arm(w, &t.timer, 100000);
    assert_true(timer_wheel_next(w) == 100000);
    struct numbered crowd[20];
    for (int i = 0; i < 20; i++) {
        timer_init(&crowd[i].timer, on_numbered);
        timer_arm(w, &crowd[i].timer, 100001 + i);
    }
    assert_true(timer_wheel_next(w) <= 100000 && timer_wheel_next(w) > 60000);
    for (int i = 0; i < 20; i++)
        timer_cancel(&crowd[i].timer);
    timer_arm(w, &t.timer, 50);
    assert_true(timer_wheel_next(w) <= 100);
    timer_cancel(&t.timer);
    assert_true(timer_wheel_next(w) == MONO_MS_NEVER);
    timer_arm(w, &t.timer, MONO_MS_NEVER);
    assert_false(timer_is_armed(&t.timer));
    timer_wheel_free(&w);
}

static struct timer_wheel *rearm_wheel;
static int rearm_count;
static void on_rearm(struct timer *t)
{
    rearm_count++;
    timer_arm(rearm_wheel, t, 0); /* in the past: must wait for the next run, or the run would never end */
}

static void test_timer_rearmed_for_the_past_fires_once_each_run(void **state)
{
    (void)state;
    rearm_wheel = timer_wheel_new(10);
    rearm_count = 0;
    struct timer t;
    timer_init(&t, on_rearm);
    timer_arm(rearm_wheel, &t, 11);
    for (int run = 1; run <= 5; run++) {
        timer_wheel_run(rearm_wheel, 20);
        assert_int_equal(rearm_count, run);
    }
    timer_wheel_free(&rearm_wheel);
}

static struct numbered victim;
static void on_killer(struct timer *t)
{
    (void)t;
    timer_cancel(&victim.timer);
}

static void test_timer_cancelled_by_another_of_the_same_time_does_not_fire(void **state)
{
    (void)state;
    struct timer_wheel *w = timer_wheel_new(0);
    struct timer killer;
    timer_init(&killer, on_killer);
    timer_init(&victim.timer, on_numbered);
    order_count = 0;
    timer_arm(w, &killer, 5);
    timer_arm(w, &victim.timer, 5);
    timer_wheel_run(w, 5);
    assert_int_equal(order_count, 0);
    timer_wheel_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timer_random_use_agrees_with_model),
        cmocka_unit_test(test_timer_one_run_fires_in_order_of_time),
        cmocka_unit_test(test_timer_next_is_exact_near_and_never_late),
        cmocka_unit_test(test_timer_rearmed_for_the_past_fires_once_each_run),
        cmocka_unit_test(test_timer_cancelled_by_another_of_the_same_time_does_not_fire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
