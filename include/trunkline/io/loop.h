/* loop.h -- an event loop: file descriptors, letters, timers and end-of-turn hooks of one thread.
 *
 * Each worker has one and so has control. One turn:
 *   1. sleep until a descriptor is ready, a letter comes or a timer is due (not at all if somebody asked for another
 *      turn)
 *   2. read the clock, once
 *   3. descriptors, letters, timers
 *   4. hooks, in order; again from the first while one of them did something (bounded; those of phase GATHER come last)
 *   5. quiet point of RCU, if the loop is a reader
 *
 * Nothing is called from within another callback: removing a watch, timer or hook from anywhere on the loop's thread is
 * safe at any time, and after that its function does not run, even if its event has been read already.
 *
 * Thread: the loop's, except where said. Before loop_run() that is the thread that made it.
 */
#ifndef TRUNKLINE_IO_LOOP_H
#define TRUNKLINE_IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <trunkline/base/clock.h>
#include <trunkline/base/err.h>
#include <trunkline/base/list.h>
#include <trunkline/base/mailbox.h>
#include <trunkline/base/timer.h>

struct loop;

/* is_rcu_reader: the thread that runs it may use rcu_read() in callbacks.
 *   Thread: the one that will run it; one loop for each thread.
 *   Errors: ERR_SYSTEM, no descriptors left. */
enum err loop_new(bool is_rcu_reader, struct loop **out);
/* Letters and timers that are left are forgotten. */
void loop_free(struct loop **l);

/* Turn until loop_stop(). The loop can run again after that. */
void loop_run(struct loop *l);
/* Return from loop_run() at the end of the current turn. Thread: any. */
void loop_stop(struct loop *l);
/* The loop that the calling thread made, and so runs; NULL: none. Thread: any. */
struct loop *loop_current(void);

/* The time of this turn, monotonic milliseconds (same clock as clock_mono_ms()). */
mono_ms loop_now(const struct loop *l);
/* Queue a letter for the loop's thread (mailbox.h). Thread: any. */
void loop_post(struct loop *l, struct letter *letter);
/* Do not sleep before the next turn: somebody has work left. */
void loop_again(struct loop *l);

/* Fire t `delay` milliseconds after this turn's time, or at a time (timer.h); timer_cancel() undoes it. */
void loop_timer_after(struct loop *l, struct timer *t, mono_ms delay);
void loop_timer_at(struct loop *l, struct timer *t, mono_ms due);

/* ---- descriptors ---- */

struct loop_watch;
/* events: what is ready (EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, ...). */
typedef void loop_watch_fn(struct loop_watch *w, uint32_t events);
struct loop_watch {
    int fd; /* -1: not watched */
    uint32_t events;
    loop_watch_fn *fn;
};
#define LOOP_WATCH_INIT(f)                                                                                             \
    {                                                                                                                  \
        .fd = -1, .fn = (f)                                                                                            \
    }

/* Call w->fn while fd has one of `events` (epoll's; level-triggered unless EPOLLET is among them).
 *   Ownership: w is lent until loop_watch_remove(); fd stays the caller's.
 *   Errors:    ERR_SYSTEM. */
enum err loop_watch_add(struct loop *l, struct loop_watch *w, int fd, uint32_t events);
void loop_watch_change(struct loop *l, struct loop_watch *w, uint32_t events);
/* Before fd is closed. Harmless when not watched. */
void loop_watch_remove(struct loop *l, struct loop_watch *w);

/* ---- hooks ---- */

/* Runs at the end of each turn, once all events of it are through: the place to send on what was gathered for others.
 *   Result: whether it did something that may have given another hook work; then all run again, before the loop sleeps.
 */
struct loop_hook;
typedef bool loop_hook_fn(struct loop_hook *h);
struct loop_hook {
    struct list node; /* the loop's, as is the next */
    struct loop *loop;
    loop_hook_fn *fn;
};
#define LOOP_HOOK_INIT(f)                                                                                              \
    {                                                                                                                  \
        .fn = (f)                                                                                                      \
    }
/* First those of phase GATHER (batches to other workers), then FLUSH (output to sockets); within a phase in the order
 * of adding. IDLE: only once, when no event or letter has come for two seconds; the place to give memory back. */
enum loop_phase { LOOP_GATHER, LOOP_FLUSH, LOOP_IDLE, LOOP_PHASE_COUNT };
void loop_hook_add(struct loop *l, struct loop_hook *h, enum loop_phase phase);
void loop_hook_remove(struct loop_hook *h); /* harmless when not added */

#endif
