/* here.h -- what a routing thread has at hand: its links, its outboxes, the route table. Set once for each worker, and
 * for control, which routes the router's own messages but has no links. Thread: each its own. */
#ifndef TRUNKLINE_ROUTE_HERE_H
#define TRUNKLINE_ROUTE_HERE_H

#include <router/route/identity.h>
#include <router/route/link.h>
#include <router/route/outbox.h>
#include <router/route/table.h>
#include <router/route/topology.h>
#include <trunkline/base/clock.h>
#include <trunkline/io/loop.h>

/* What all threads read. */
struct route_world {
    struct table *table;
    struct router_identity identity;
    struct slice node_id;                /* "0/<id>": this router in annotations */
    _Atomic(struct rules *) rules;       /* rcu */
    _Atomic(struct topology *) topology; /* rcu; NULL: there are no other routers */
    struct stamps *stamps;               /* of multicast messages that have passed; NULL: there are no other routers */
    enum distribution default_distribution;
    struct address *uplink; /* of an edge router: where what is not here goes, uplink.h; NULL of others. Fixed */
};

struct route_here {
    int worker;               /* WORKER_NONE on control */
    struct link_slots *slots; /* NULL on control */
    struct outboxes *outboxes;
    const struct route_world *world;
    struct loop *loop;
    struct stamp last_stamp; /* of this worker's */
    bool ending;             /* the router stops and all connections have ended: what still comes is only given up */
    bool gathers, has_gathered;
    struct answer gathered; /* for a link of this worker; it has not been told yet */
};

/* The calling thread's. */
extern _Thread_local struct route_here *here;

/* Another message of this worker's. */
static inline struct stamp here_next_stamp(void)
{
    here->last_stamp.number++;
    return here->last_stamp;
}

/* The time of this loop turn. */
static inline mono_ms here_now(void)
{
    return loop_now(here->loop);
}

/* What takes things that come for routed links (routed_link.h). */
struct routed_arrivals {
    void (*frame)(struct link *l, const struct frame *f);
    void (*answer)(struct link *l, const struct answer *a);
    void (*note)(struct link *l, const struct link_note *n); /* l NULL: it is no more */
};
/* Borrowed for life. Thread: control, before the workers start. */
void here_set_routed_arrivals(const struct routed_arrivals *a);
/* What is to hear that an answer has come to a link that is finishing (own_link.h). Thread: as above. */
void here_set_goes_on(void (*fn)(struct link *l));

/* Bring a frame to the link that it is for, on whichever worker that is. */
void here_deliver(struct link_token to, const struct frame *f);
/* Say to where a delivery came from that so many of its frames have left, and, with done, what became of it; without
 * done a state is passed on that settles nothing (received). */
void here_answer(const struct origin *o, uint32_t frames, bool done, const struct amqp_state *state);
/* From here on, until here_pass_gathered(), answers for adjoining deliveries of one link here are kept to be one, as
 * those for other workers are anyway (outbox.h). Between the two nothing but answers is to be said. */
static inline void here_gather_answers(void)
{
    here->gathers = true;
}
void here_pass_gathered(void);
/* Tell the other end of a routed link. */
void here_note(const struct link_note *n);
/* Send a message of the router's own on this link. */
void here_send(struct link *to, const uint8_t *message, size_t n, bool settled);
/* What the outboxes call on arrival. */
extern const struct outbox_handler here_arrivals;

/* States without fields. */
extern const struct amqp_state state_none, state_accepted, state_released;
extern const struct amqp_state state_failed; /* modified, delivery-failed=true */

#endif
