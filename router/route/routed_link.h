/* routed_link.h -- a link that a client attaches to an address of a link route: its attach travels on to a container,
 * and from then on the two exchange flow, deliveries and outcomes with each other; the router passes them on as they
 * are.
 *
 * It has two ends here, each a struct link on its own connection and worker: the near one, which the client (or the
 * router before us) has attached, and the far one, which we attach on the connection to the container (or to the next
 * router). They name each other by token and talk through the outboxes, so what one says arrives in order.
 * Far ends share a session where their near ends do (routed_session.h).
 *
 *   happy path:
 *     near attached -> control: a link route, and a connection for it (link_route.h) -> near: request (a letter to the
 *     far worker) -> far: attach as it came, but for name and address; MADE -> the container answers -> near: answer
 *     (a letter) -> the client gets what the container said
 *     flow:      the sending end has got credit -> LIMIT -> the receiving end grants so much
 *     delivery:  the receiving end gets a transfer -> frame (outbox.h), with its tag -> the sending end sends it
 *     outcome:   the sending end hears a disposition -> answer -> the receiving end says it; settled likewise
 *     drain:     LIMIT with drain -> the receiving end asks; what it is given back: ADVANCE -> the sending end gives
 *                back as much, behind the deliveries that came before
 *     detach:    one end is detached by its peer -> DETACH -> the other detaches likewise, behind what it has to send
 *                -> its peer answers -> DETACH -> the first end answers
 *   the far end cannot be attached:      DETACH with an error; the client's attach is refused
 *   the container refuses:               its answer, then its detach, as they are
 *   an end goes without a detach:        LOST; the other is detached with qd:routed-link-lost; unsettled deliveries
 *                                        are modified (delivery-failed) before
 *   the near end goes before the answer: MADE is turned back with LOST
 *
 * Counting. On each end a link's deliveries are counted from its attach on, those given back included; the n-th on one
 * end is the n-th on the other. LIMIT tells the count up to which the sending end has credit. So credit never drifts,
 * and many changes are one note.
 *
 * Invariants
 *   R1  No delivery and no credit is ours: what an end may send or be sent is what the other's peer has granted.
 *   R2  A frame is held in its session's window until the other end has sent it: what waits is bounded by the window.
 *   R3  Each end tells the other of its end once, by DETACH or LOST, as the last thing it says.
 *
 * Source: wire-protocol reference 2.8, Link route. Thread: the worker of the link, except where said.
 */
#ifndef TRUNKLINE_ROUTE_ROUTED_LINK_H
#define TRUNKLINE_ROUTE_ROUTED_LINK_H

#include <router/route/here.h>
#include <router/route/link.h>
#include <stdbool.h>
#include <stdint.h>
#include <trunkline/amqp/conn.h>
#include <trunkline/base/lock.h>

struct routed_link;

/* How an attach goes on. Texts are copied. */
struct routed_way {
    struct connection *to;       /* open; a count is taken */
    const char *key;             /* of the link route's address */
    bool keeps_name;             /* it is named there as here, unless that name is taken; else "<name>@<container>" */
    const char *removed, *added; /* from the start of the terminus' address, to it; NULL: nothing */
    const char *text;            /* the address, without scheme and host; NULL: it has none */
};

/* The near end's part, for l->routed, before LINK_ANSWER. Thread: control. */
struct routed_link *routed_link_new(const struct link *l, const struct routed_way *way) ON_CONTROL;
/* Nobody knows the link any more. *r becomes NULL; a NULL one is harmless. Thread: control. */
void routed_link_free(struct routed_link **r) ON_CONTROL;
/* Control lists l, or no longer. */
void routed_link_registered(struct link *l) ON_CONTROL;
void routed_link_left(struct link *l) ON_CONTROL;
/* Whether l is a far end, which control need not answer. */
bool routed_link_is_far(const struct link *l) ON_CONTROL;
/* For management: identity of the other end, 0: none; key of the address. */
uint64_t routed_link_peer(const struct link *l) ON_CONTROL;
const char *routed_link_key(const struct link *l) ON_CONTROL;

/* ---- what the connection calls ---- */

/* Control has said where l's attach goes. */
void routed_link_forward(struct link *l);
/* The container has answered a far end's attach. */
void routed_link_answered(struct link *l);
void routed_link_detached(struct link *l, bool closed, const struct amqp_error *error);
void routed_link_gone(struct link *l);
void routed_link_sendable(struct link *l);
void routed_link_drained(struct link *l);
void routed_link_transfer(struct link *l, struct amqp_transfer *t);
void routed_link_disposition(struct link *l, struct amqp_delivery *d, const struct amqp_state *state, bool settled);
void routed_link_peer_settled(struct link *l, struct amqp_delivery *d, const struct amqp_state *state);
void routed_link_lost(struct link *l, struct amqp_delivery *d);

/* What arrives from the other end. */
extern const struct routed_arrivals routed_link_arrivals;

#endif
