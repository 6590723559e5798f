/* incoming_priv.h -- what incoming.c shares with incoming_exchange.c. Thread: the link's worker. */
#ifndef TRUNKLINE_ROUTE_INCOMING_PRIV_H
#define TRUNKLINE_ROUTE_INCOMING_PRIV_H

#include <router/route/forward.h>
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

/* A frame of the delivery in progress. copies: of which it is one; 0: it is the only one. */
struct frame incoming_frame(struct link *l, const struct amqp_transfer *t, const struct slice *payload,
                            uint32_t copies);
/* Hold the frame back from the session window, if that is how it is with such ones. Result: whether it is. */
bool incoming_hold(struct link *l, const struct amqp_transfer *t);
struct copies *incoming_room_for_copies(struct link *l, uint32_t most);

/* Pass the message that begins on to wherever the exchange at `to` says. subject: data NULL: it has none.
 *   Result: false, there is nobody to have it. */
bool incoming_exchange(struct link *l, struct amqp_transfer *t, const struct slice *message, const struct address *to,
                       const struct slice *subject, const struct passage *p);

#endif
