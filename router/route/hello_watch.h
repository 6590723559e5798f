/* hello_watch.h -- the HELLOs that come on a connection again and again, octet for octet the same.
 *
 * Between two routers of ours that is twelve in a second, and nothing follows from one but that the neighbour lives. So
 * the worker compares each with the last one, notes when it came, and does not wake control; control looks at the note
 * when it sends its own. Any other message on the control link goes to control, and all do while the watch is not
 * steady: as long as the router at the other end is not a neighbour that hears us.
 */
#ifndef TRUNKLINE_ROUTE_HELLO_WATCH_H
#define TRUNKLINE_ROUTE_HELLO_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trunkline/base/clock.h>

/* Embedded in a connection. All zero to begin with. */
struct hello_watch {
    /* worker */
    uint8_t *last; /* the last HELLO; NULL: none yet */
    size_t len;
    /* control writes, the worker reads */
    _Atomic bool is_steady;
    /* The worker writes; relaxed: neither orders anything, and each is true by itself. Control takes the gap away. */
    _Atomic int64_t heard; /* when the last HELLO came, monotonic ms */
    _Atomic uint32_t gap;  /* the longest time between two, ms, since control looked */
};

/* A whole message has come on the control link. Result: whether it need not be looked at. Thread: the worker. */
bool hello_watch_repeats(struct hello_watch *w, const uint8_t *message, size_t n, mono_ms now);
void hello_watch_fini(struct hello_watch *w);

/* Thread: control. */
static inline void hello_watch_set_steady(struct hello_watch *w, bool is_steady)
{
    if (atomic_load_explicit(&w->is_steady, memory_order_relaxed) != is_steady)
        atomic_store_explicit(&w->is_steady, is_steady, memory_order_relaxed);
}
static inline mono_ms hello_watch_take(struct hello_watch *w, uint32_t *gap)
{
    *gap = atomic_exchange_explicit(&w->gap, 0, memory_order_relaxed);
    return atomic_load_explicit(&w->heard, memory_order_relaxed);
}

#endif
