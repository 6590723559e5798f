#include <router/route/hello_watch.h>

#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/message.h>
#include <trunkline/base/alloc.h>

/* Larger ones, of old routers that name hundreds, are not kept. */
enum { HELLO_MAX = 2048 };

static bool is_hello(const uint8_t *message, size_t n)
{
    struct amqp_message_view v;
    return n <= HELLO_MAX && amqp_message_scan(message, n, AMQP_SECTION_PROPERTIES, &v) == OK &&
           amqp_slice_is(amqp_message_to(message, &v), "amqp:/_local/qdhello");
}

static void note(struct hello_watch *w, mono_ms now)
{
    mono_ms before = atomic_load_explicit(&w->heard, memory_order_relaxed);
    uint32_t gap = before && now > before ? (uint32_t)(now - before) : 0;
    if (gap > atomic_load_explicit(&w->gap, memory_order_relaxed))
        atomic_store_explicit(&w->gap, gap, memory_order_relaxed);
    atomic_store_explicit(&w->heard, now, memory_order_relaxed);
}

bool hello_watch_repeats(struct hello_watch *w, const uint8_t *message, size_t n, mono_ms now)
{
    if (w->last && w->len == n && memcmp(w->last, message, n) == 0) {
        note(w, now);
        return atomic_load_explicit(&w->is_steady, memory_order_relaxed);
    }
    if (!is_hello(message, n))
        return false;
    note(w, now);
    w->last = xrealloc(w->last, n);
    w->len = n;
    memcpy(w->last, message, n);
    return false;
}

void hello_watch_fini(struct hello_watch *w)
{
    free(w->last);
    w->last = NULL;
}
