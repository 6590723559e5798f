/* timer.h -- a hierarchical timer wheel, one for each loop; no thread, no clock of its own.
 * Arming, re-arming and cancelling cost O(1); resolution one millisecond, never early. Thread: the wheel's owner. */
#ifndef TRUNKLINE_BASE_TIMER_H
#define TRUNKLINE_BASE_TIMER_H

#include <stdbool.h>
#include <trunkline/base/clock.h>
#include <trunkline/base/list.h>

struct timer;
typedef void timer_fn(struct timer *t);

struct timer {
    struct list node;
    mono_ms due;
    timer_fn *fire;
};

struct timer_wheel;

struct timer_wheel *timer_wheel_new(mono_ms now);
void timer_wheel_free(struct timer_wheel **w); /* timers still armed are forgotten, not fired */

static inline void timer_init(struct timer *t, timer_fn *fire)
{
    list_init(&t->node);
    t->fire = fire;
    t->due = MONO_MS_NEVER;
}

/* Fire t at `due` (at once in the next run if that has passed). An armed timer moves. */
void timer_arm(struct timer_wheel *w, struct timer *t, mono_ms due);
void timer_cancel(struct timer *t);
static inline bool timer_is_armed(const struct timer *t)
{
    return list_is_linked(&t->node);
}

/* Fire everything due by now; a timer may arm or cancel any timer, itself included. */
void timer_wheel_run(struct timer_wheel *w, mono_ms now);
/* When the first one is due, or, where many are due at about that time, somewhat earlier; MONO_MS_NEVER when none is
 * armed. */
mono_ms timer_wheel_next(const struct timer_wheel *w);

#endif
