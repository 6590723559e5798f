/* incoming.h -- a link on which messages come in: where each goes, and its credit.
 *
 *   happy path:  transfer -> where to? (targeted: the link's address; anonymous: the message's `to`) -> deliver
 *                answer (outcome, or: it has left) -> settle -> credit back
 *   nobody there:       released; a targeted link is drained until somebody comes (reachable)
 *   not a message:      rejected amqp:decode-error
 *   the link ends half way through a message: that is aborted where it went
 *
 * Credit is end to end: a link may have `capacity` deliveries in hand, and gets one back when one has left (presettled)
 * or is settled. A sender that sends beyond its credit is tolerated, up to `capacity` deliveries between two grants
 * (the engine counts them); it gets no more until it has fewer than `capacity` in hand. Thread: the link's worker.
 */
#ifndef TRUNKLINE_ROUTE_INCOMING_H
#define TRUNKLINE_ROUTE_INCOMING_H

#include <router/route/link.h>
#include <router/route/outbox.h>

/* The attach is accepted: give credit if messages can go anywhere. */
void incoming_start(struct link *l);
void incoming_transfer(struct link *l, struct amqp_transfer *t);
/* What became of deliveries of l. */
void incoming_answer(struct link *l, const struct answer *a);
/* The sender does not wait for the outcome of d: whoever has it hears so. */
void incoming_peer_settled(struct link *l, const struct amqp_delivery *d);
/* Its address has a destination again. */
void incoming_reachable(struct link *l);
/* The sender has given credit back. */
void incoming_drained(struct link *l);
void incoming_gone(struct link *l);

#endif
