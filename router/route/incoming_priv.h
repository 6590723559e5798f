/* incoming_priv.h -- what the parts of incoming.h share. Thread: the link's worker.
 *
 *   incoming.c           frames as they come, up to the end of their message
 *   incoming_route.c     where a message goes, when its head is here
 *   incoming_exchange.c  the same at an exchange
 *   incoming_credit.c    credit, and outcomes, which give it back
 */
#ifndef TRUNKLINE_ROUTE_INCOMING_PRIV_H
#define TRUNKLINE_ROUTE_INCOMING_PRIV_H

#include <router/route/connection.h>
#include <router/route/forward.h>
#include <router/route/here.h>
#include <router/route/incoming.h>

/* The links that copies of the message in progress go to. */
struct copies {
    uint32_t count, size;
    struct link_token to[];
};

/* What the incoming side keeps with a delivery of which there are several copies, in the engine's two words. */
struct copy_count {
    uint32_t waiting;
    uint32_t best; /* enum amqp_state_code with the highest rank so far */
    uint64_t unused;
};

/* ---- incoming.c ---- */

/* Keep the message that begins for the address that the router serves itself, until all of it is here. */
void incoming_assemble_for(struct link *l, const struct slice *payload, struct address *to);

/* ---- incoming_route.c ---- */

/* Look for the head of the message in what is here of it, and send that on its way, or discard it.
 *   Result: false: more of it has to come. */
bool incoming_look_at_head(struct link *l, struct amqp_transfer *t, const struct slice *payload);
/* A frame of the delivery in progress. copies: of which it is one; 0: it is the only one. */
struct frame incoming_frame(struct link *l, const struct amqp_transfer *t, const struct slice *payload,
                            uint32_t copies);
/* Hold the frame back from the session window, if that is how it is with such ones. Result: whether it is. */
bool incoming_hold(struct link *l, const struct amqp_transfer *t);
struct copies *incoming_room_for_copies(struct link *l, uint32_t most);
/* There is nobody to have a copy: t is no longer tracked as d. */
void incoming_untrack(struct link *l, struct amqp_transfer *t, struct amqp_delivery *d);
void incoming_copies_deliver(const struct copies *c, const struct frame *f);

/* ---- incoming_exchange.c ---- */

/* Under which a multicast message goes on. One that enters the network here gets a stamp, if there is a network. */
struct stamp incoming_stamp(const struct link *l);

/* Pass the message that begins on to wherever the exchange at `to` says. e: all but its stamp.
 *   Result: false, there is nobody to have it, or it has been here; *why says what to tell the sender. */
struct exchange_message;
bool incoming_exchange(struct link *l, struct amqp_transfer *t, const struct slice *message, struct address *to,
                       struct exchange_message *e, enum refusal *why);

/* ---- incoming_credit.c ---- */

/* Whose sender overdraws should know: beyond a bound it costs the link. */
void incoming_tell_overdraw(struct link *l);
/* n settled deliveries are no longer in hand. unbound: they hold credit of a link that routers share (patience.h). */
void incoming_give_back_settled(struct link *l, uint32_t n, bool unbound);
/* Settle first..last towards the sender and give their credit back. */
void incoming_settle(struct link *l, uint32_t first, uint32_t last, const struct amqp_state *state);
/* Presettled deliveries have left: give their credit back. A router of ours waits to hear of it, too (outgoing.c). */
void incoming_finish_settled(struct link *l, uint32_t first, uint32_t last, bool unbound);
/* The delivery goes nowhere: its outcome is said when all of it has come. */
void incoming_discard(struct link *l, const struct amqp_transfer *t, enum refusal why);
/* Its address has lost its last destination: credit that is out is asked back, more comes when there is one again. */
void incoming_run_dry(struct link *l);

/* A router of ours at the other end, of the mesh or an edge, waits to hear of what its senders have settled. */
static inline bool incoming_answers_settled(const struct link *l)
{
    return (l->kind == LINK_DATA || l->is_edge) && l->conn->is_of_ours;
}

/* HELLOs come all the time: between routers of ours credit for control messages goes back for so many at once, so that
 * each is not answered. It is no more than an eighth of what the sender has (linkCapacity), or that would starve. */
enum { CONTROL_OWED_MAX = 32 };

/* The credit of a control message. */
static inline void incoming_replenish(struct link *l)
{
    if (++l->in.in_hand < CONTROL_OWED_MAX && l->in.in_hand <= l->capacity / 8 && l->conn->is_of_ours)
        return;
    amqp_link_grant(&l->amqp, l->in.in_hand);
    l->in.in_hand = 0;
}

/* A delivery has begun. Here, as each message comes by. */
static inline void incoming_take_in_hand(struct link *l)
{
    if (l->amqp.overdrawn)
        incoming_tell_overdraw(l);
    if (link_replenishes_at_once(l)) {
        if (l->in.current_unbound)
            l->in.in_hand++;
        else if (l->kind == LINK_CONTROL)
            incoming_replenish(l);
        else if (!l->is_finishing)
            amqp_link_grant(&l->amqp, 1);
        return;
    }
    l->in.in_hand++;
    link_stats_in_hand(&l->stats, here_now(), l->in.in_hand);
    link_note_credit(l);
}

#endif
