/* output.h -- what a connection has to write: frames in the order in which they were made, and urgent ones, which go
 * before all that waits, at the next border between frames.
 *
 *   normal   | rest of a frame that is partly written | frame | frame | ...
 *   urgent   | frame | frame                                               order: the rest, urgent, normal
 *
 * A session is urgent or not, and its own frames stay in order: `from` is where the normal queue ended when it became
 * so, or behind the last frame that it has there since, and its frames are urgent once all before that has left.
 *
 * Thread: the connection's owner.
 */
#ifndef TRUNKLINE_AMQP_OUTPUT_H
#define TRUNKLINE_AMQP_OUTPUT_H

#include <stdbool.h>

#include "outq.h"

struct output {
    struct outq normal, urgent;
    bool has_urgent;  /* there is an urgent session: borders are followed */
    uint64_t written; /* octets of `normal` that have left, ever */
    uint64_t border;  /* has_urgent: where the frame that is being written ends, counted like `written` */
};

void output_fini(struct output *o);
static inline size_t output_pending(const struct output *o)
{
    return o->normal.pending + o->urgent.pending;
}
/* A session becomes urgent. Result: its `from`. */
uint64_t output_hurry(struct output *o);
/* Where the frames of an urgent session go. */
static inline struct outq *output_urgent_queue(struct output *o, uint64_t from)
{
    return o->written >= from ? &o->urgent : &o->normal;
}
/* A frame of an urgent session has been queued in q: what it says next does not overtake it. */
static inline void output_queued(const struct output *o, const struct outq *q, uint64_t *from)
{
    if (q == &o->normal)
        *from = o->written + o->normal.pending;
}
/* The first octets to be written, in up to max pieces. Result: how many pieces. */
int output_peek(const struct output *o, struct iovec *iov, int max);
/* The first n octets have left; so many at most as output_peek() has shown since the last change. */
void output_consume(struct output *o, size_t n);

#endif
