/* fake_control.h -- for the unit tests of what control does for an edge router: what was asked for is written down, in
 * words; timers fire when the test lets time pass. Included by one test program at a time; it takes the place of
 * control's loop. */
#ifndef TRUNKLINE_ROUTE_FAKE_CONTROL_H
#define TRUNKLINE_ROUTE_FAKE_CONTROL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/here.h>
#include <trunkline/base/lock.h>
#include <trunkline/base/rcu.h>
#include <trunkline/base/timer.h>
#include <trunkline/io/loop.h>

/* What was asked for, since the last look. */
static char said[2048];

#define say(...) snprintf(said + strlen(said), sizeof said - strlen(said), __VA_ARGS__)

#define assert_said(text)                                                                                              \
    do {                                                                                                               \
        assert_string_equal(said, text);                                                                               \
        said[0] = 0;                                                                                                   \
    } while (0)

/* ---- the loop ---- */

static mono_ms now;
static struct timer_wheel *wheel;

mono_ms loop_now(const struct loop *l)
{
    (void)l;
    return now;
}

void loop_timer_at(struct loop *l, struct timer *t, mono_ms due)
{
    (void)l;
    timer_arm(wheel, t, due);
}

void loop_timer_after(struct loop *l, struct timer *t, mono_ms delay)
{
    loop_timer_at(l, t, now + delay);
}

/* Let so much time pass; what is due meanwhile fires when it is. */
static inline void pass(mono_ms time)
{
    for (mono_ms end = now + time; now < end;) {
        mono_ms next = timer_wheel_next(wheel);
        now = next < end ? (next > now ? next : now + 1) : end;
        timer_wheel_run(wheel, now);
    }
}

/* ---- the edge router E ---- */

static struct route_world world;

static int play_control(void **state) NO_THREAD_SAFETY
{
    (void)state;
    thread_become_control();
    return 0;
}

static void control_setup(void) NO_THREAD_SAFETY
{
    rcu_reader_start();
    world = (struct route_world){.table = table_new(), .identity = {.id = "E", .mode = ROUTER_EDGE}};
    now = 1000;
    wheel = timer_wheel_new(now);
    said[0] = 0;
}

static void control_teardown(void) NO_THREAD_SAFETY
{
    rcu_reader_stop();
    rcu_barrier_all();
    table_free(&world.table);
    timer_wheel_free(&wheel);
}

#endif
