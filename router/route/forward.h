/* forward.h -- which destination a message takes, what is said when there is none, and what is changed on its way.
 * Thread: a routing thread (here.h). */
#ifndef TRUNKLINE_ROUTE_FORWARD_H
#define TRUNKLINE_ROUTE_FORWARD_H

#include <router/route/link.h>
#include <router/route/outbox.h>

/* Pick one destination of an anycast address and count the delivery to it. r is not empty.
 *   closest:  in turn, passing over those that have as much in hand as their link may have
 *   balanced: the one with the least in hand; of many, the best of a few, in turn
 * round_robin: the caller's place in the turn.
 * Source: wire-protocol reference 6.3, Distributions. There `closest` does not pass over full ones. */
const struct destination *forward_choose(const struct address *a, const struct routes *r, uint32_t *round_robin);
/* Pick another one than `gone`, for a message that it can no longer have. Result: false: none, or the message is one
 * copy of several. */
bool forward_choose_other(const struct link *gone, const struct origin *o, struct link_token *to);

/* Why a delivery goes nowhere; each has its outcome. */
#define REFUSALS(X)                                                                                                    \
    X(REFUSAL_RELEASED, NULL, NULL)                                                                                    \
    X(REFUSAL_UNAVAILABLE, "amqp:not-found", "Deliveries cannot be sent to an unavailable address")                    \
    X(REFUSAL_NO_ADDRESS, "amqp:precondition-failed", "Routing failure: no address present")                           \
    X(REFUSAL_NOT_A_MESSAGE, "amqp:decode-error", "invalid message format")                                            \
    X(REFUSAL_TOO_LARGE, "amqp:link:message-size-exceeded", "Message size exceeded")
enum refusal {
#define X(name, condition, description) name,
    REFUSALS(X)
#undef X
};
/* The outcome for it, released or rejected with an error. Good until the next init of the same. */
struct refusal_state {
    struct amqp_state state;
    uint8_t octets[256];
};
void refusal_state_init(struct refusal_state *r, enum refusal why);

/* Find the address that a message names. Errors: NULL, *why says what to tell the sender. */
struct address *forward_find(const char *text, size_t len, enum refusal *why);

/* The message without the annotations of routers, in a new buffer (count 1) that the caller gives up; buf NULL: it
 * could not be read. */
struct slice forward_strip_annotations(const struct slice *message, bool cut);

/* A consumer's outcome as it is passed on: modified always says delivery-failed (wire-protocol reference 4.5). */
struct relayed_state {
    struct amqp_state state;
    uint8_t *octets;
};
void relayed_state_init(struct relayed_state *r, const struct amqp_state *said);
void relayed_state_fini(struct relayed_state *r);

#endif
