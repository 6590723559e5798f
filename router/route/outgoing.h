/* outgoing.h -- a link on which the router sends: what arrives for it, what waits for credit, what is unsettled.
 *
 * A message goes out at once when the link has credit and nothing waits before it; else it is queued, its large payload
 * counted and not copied. How much can wait is bounded by the credit of the links that it came from. A message that is
 * still coming in goes out as it comes.
 *
 *   happy path:  deliver -> (queue -> sendable) -> sent -> disposition -> answer to the origin
 *   towards another router, its end is to come:  gathered until it is here, and goes with the others then; more than
 *                128 KiB, or wanted as it comes: on a link of its own (stream.h)
 *   the link ends:  what was sent and is unsettled is answered modified(delivery-failed); what was not sent goes to
 *                another destination of the address, else it is answered released (presettled: dropped and counted)
 *
 * Thread: the link's worker.
 */
#ifndef TRUNKLINE_ROUTE_OUTGOING_H
#define TRUNKLINE_ROUTE_OUTGOING_H

#include <router/route/link.h>
#include <router/route/outbox.h>

void outgoing_init(struct link *l);
/* A frame of a message for l, which may have gone meanwhile. Ownership: borrowed; payload is counted or copied. */
void outgoing_deliver(struct link *l, const struct frame *f);
/* Credit, window or room has come: send what waits; answer a drain. */
void outgoing_sendable(struct link *l);
/* The receiver has said a state of d. */
void outgoing_disposition(struct link *l, struct amqp_delivery *d, const struct amqp_state *state, bool settled);
/* l ends with d unsettled. */
void outgoing_lost(struct link *l, struct amqp_delivery *d);
/* The router at the other end is silent, though the connection stands: answer as if l had gone, so that senders can try
 * another way at once. What was settled and has not been begun stays: it may still get through. */
void outgoing_silent(struct link *l);
/* l has not moved for too long: of what waits and holds credit elsewhere, give that back; drop and count what is more
 * than l's capacity (patience.h). */
void outgoing_shed(struct link *l);
/* l has gone: turn away what waits. Whole messages on a link between routers stay until it is buried, when the ways
 * that lead around it are known. */
void outgoing_gone(struct link *l);
void outgoing_buried(struct link *l);
/* The router stops: nobody is to have what is left. */
void outgoing_abandon(struct link *l);

#endif
