/* forward.h -- which destination a message takes, what is said when there is none, and what is changed on its way.
 * Thread: a routing thread (here.h). */
#ifndef TRUNKLINE_ROUTE_FORWARD_H
#define TRUNKLINE_ROUTE_FORWARD_H

#include <router/route/link.h>
#include <router/route/outbox.h>

struct amqp_annotations;
struct reading;

/* How a message came this far, which decides to which other routers it may go. */
struct passage {
    /* Index of the router where it entered the mesh; FORWARD_NOWHERE: not known, so no copy goes to other routers. */
    uint32_t ingress;
    uint8_t priority;                           /* 0 to 9: which link between routers it takes */
    const struct amqp_annotations *annotations; /* NULL: it came from a client */
    const struct reading *reading;              /* of the message as it goes on; NULL: it is to be read again */
    const struct routes *up; /* of an edge router's uplink, to which a copy goes, too; NULL: none does */
    uint64_t edge;           /* connection to an edge router that it came on, and does not go back on; 0: none */
};
enum { FORWARD_NOWHERE = UINT32_MAX };

/* Pick one destination of an anycast address and count the delivery to it.
 *   closest:   a receiver here, in turn, passing over those that have as much in hand as their link may have; else the
 *              router of least cost, in turn among equals
 *   balanced:  the receiver with the least in hand; of many, the best of a few, in turn. A router counts with what is
 *              in hand on the way to it, and its cost
 * round_robin: the caller's place in the turn.
 *   Result: false, there is none.
 *   Source: wire-protocol reference 6.3, Distributions. There `closest` does not pass over full ones. */
bool forward_choose(struct address *a, const struct routes *r, const struct passage *p, uint32_t *round_robin,
                    struct link_token *to);
/* All destinations of a multicast address, each counted: receivers here, the uplink if it is to have one and no
 * receiver stands for it, and one link towards other routers for each neighbour that leads to any for which the ingress
 * router is a valid origin, and that the message has not passed.
 *   to: room for r->count links and as many as there are neighbours (forward_copies_max()).
 *   Result: how many. */
uint32_t forward_copies(struct address *a, const struct routes *r, const struct passage *p, struct link_token *to);
uint32_t forward_copies_max(const struct routes *r);

/* Pick another one than `gone`, for a message that it can no longer have. Result: false: none, or the message is one
 * copy of several. */
bool forward_choose_other(const struct link *gone, const struct origin *o, struct link_token *to);

/* Which address a message is for, as a router tells the next one. */
struct named_address {
    struct slice text; /* empty: the message names it */
    uint8_t phase;     /* phase.h */
};

/* The same for a link towards another router, which is of no single address: the message is looked at again. Its own
 * annotations hold, if it has been written for that router already.
 *   message: what is here of it, from its start. *for_ may change: then it is told so. */
bool forward_choose_again(const struct link *gone, const struct origin *o, const struct slice *message,
                          struct named_address *for_, struct link_token *to);

/* Why a delivery goes nowhere; each has its outcome. */
#define REFUSALS(X)                                                                                                    \
    X(REFUSAL_RELEASED, NULL, NULL)                                                                                    \
    X(REFUSAL_PASSED, NULL, NULL) /* a second copy: whoever is to have it has it */                                    \
    X(REFUSAL_UNAVAILABLE, "amqp:not-found", "Deliveries cannot be sent to an unavailable address")                    \
    X(REFUSAL_NO_ADDRESS, "amqp:precondition-failed", "Routing failure: no address present")                           \
    X(REFUSAL_NOT_A_MESSAGE, "amqp:decode-error", "invalid message format")                                            \
    X(REFUSAL_TOO_LARGE, "amqp:link:message-size-exceeded", "Message size exceeded")                                   \
    X(REFUSAL_ANNOTATIONS, "amqp:invalid-field", "router annotations are malformed")
enum refusal {
#define X(name, condition, description) name,
    REFUSALS(X)
#undef X
};
/* The outcome for it, released or rejected with an error. Good until the next init of the same. text: a description
 * that says more, or NULL. */
struct refusal_state {
    struct amqp_state state;
    uint8_t octets[256];
};
void refusal_state_init(struct refusal_state *r, enum refusal why, const char *text);

/* Find the address that a router or the link names, with its phase (phase.h). Errors: NULL, *why says what to tell the
 * sender. */
struct address *forward_find(const struct named_address *n, enum refusal *why);
/* Find the address that a message names itself, at the phase where its producers enter. Errors: as above. */
struct address *forward_find_named(struct slice text, enum refusal *why);
/* How a next router is told of an address that is not the one that a message's own words lead it to: of another phase
 * than 0; else it need not be told. Borrowed from a. */
struct named_address forward_name_of(const struct address *a);

/* What the next router is to hear of a message beside what is written on it. */
struct tidings {
    struct named_address for_; /* of length 0: as it came */
    struct slice exchanged;    /* likewise */
};

/* A consumer's outcome as it is passed on: modified always says delivery-failed (wire-protocol reference 4.5). */
struct relayed_state {
    struct amqp_state state;
    uint8_t *octets;
};
void relayed_state_init(struct relayed_state *r, const struct amqp_state *said);
void relayed_state_fini(struct relayed_state *r);

#endif
