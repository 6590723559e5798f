/* outgoing_priv.h -- what the parts of outgoing.h share. Thread: the link's worker.
 *
 *   outgoing.c         the queue, sending, outcomes
 *   outgoing_shared.c  messages in several frames on a link that routers share
 *   outgoing_gone.c    a link that has gone, or whose peer is silent
 */
#ifndef TRUNKLINE_ROUTE_OUTGOING_PRIV_H
#define TRUNKLINE_ROUTE_OUTGOING_PRIV_H

#include <router/route/connection.h>
#include <router/route/outgoing.h>
#include <router/route/rewrite.h>
#include <router/route/topology.h>
#include <router/route/waiting.h>

/* Whether m holds credit of a link that routers share, or has held it. */
static inline bool outgoing_is_unbound(const struct message *m)
{
    return m->settled && m->origin.flags & ORIGIN_UNBOUND;
}

/* Whether messages of all senders take turns on l. What it sends begins when all of it is here. */
static inline bool outgoing_is_shared(const struct link *l)
{
    bool is_of_many = l->kind == LINK_DATA || (l->is_edge && l->conn->offers_streams);
    return is_of_many && l->priority != TRUNK_STREAMING;
}

/* One delivery less in hand. */
static inline void outgoing_load_done(struct link *l)
{
    uint32_t done = atomic_load_explicit(&l->load.done, memory_order_relaxed);
    atomic_store_explicit(&l->load.done, done + 1, memory_order_relaxed);
}

/* ---- outgoing.c ---- */

/* So many messages are in the queue now. */
void outgoing_set_queued(struct link *l, uint32_t n);
/* m waits; where l has stopped it may be too much, and is no more then. Ownership: takes m. */
void outgoing_enqueue(struct link *l, struct message *m);
/* A delivery of l that was sent unsettled is no longer so. */
void outgoing_no_longer_unsettled(struct link *l);
/* Whether a message goes out settled, so that nothing is heard of it again. */
bool outgoing_goes_settled(const struct link *l, const struct origin *o, bool settled);
/* A frame as it goes out on a link, with what it is made of. */
struct dressed {
    struct frame frame;
    struct rewritten rewritten;
};
/* Towards a client the annotations of routers are removed, when its listener says so; towards another router they are
 * written. Result: f as it is, or d->frame, until outgoing_undress(f, d, result). */
const struct frame *outgoing_dress(struct link *l, const struct frame *f, struct dressed *d);
static inline void outgoing_undress(const struct frame *f, struct dressed *d, const struct frame *result)
{
    if (result != f)
        rewritten_fini(&d->rewritten);
}
/* The first frame of a message that has waited, but for its payload. */
struct frame outgoing_frame_of(const struct message *m);
/* The message in the list whose end is to come and that came as o says; NULL. Usually the last or the first. */
struct message *outgoing_find_incomplete(struct list *messages, const struct origin *o);
/* A frame but the first of a message that is in the queue of l, if it is. */
void outgoing_continue(struct link *l, const struct frame *f);
/* There is nobody who could have it: the sender hears so, or, when it has settled already, the counter tells. */
void outgoing_not_deliverable(struct link *l, const struct origin *o, bool settled, uint32_t frames);

/* ---- outgoing_shared.c ---- */

/* The first of several frames of a message for l. */
void outgoing_gather(struct link *l, const struct frame *f);
/* A frame but the first of a message that began on l. */
void outgoing_continue_shared(struct link *l, const struct frame *f);

/* ---- outgoing_gone.c ---- */

/* l has gone, but the sender's worker did not know yet. */
void outgoing_deliver_elsewhere(struct link *l, const struct frame *f);

#endif
