/* relay.h -- what a link that has gone still does for messages whose beginning it has handed to another link: it passes
 * on the rest, frame by frame, for their sender knows of no other link. All of a message takes the same way through the
 * same threads, so its frames stay in order.
 *
 *   handed on, its end is to come -> relay_begin -> relay_pass for each frame -> the last one, or an abort: over
 * While there is one, the link is not buried: its slot is what frames find (link.h).
 *
 * Thread: the link's worker.
 */
#ifndef TRUNKLINE_ROUTE_RELAY_H
#define TRUNKLINE_ROUTE_RELAY_H

#include <router/route/link.h>
#include <router/route/outbox.h>

/* The rest of the message that came as o says goes to `to`. */
void relay_begin(struct link *l, const struct origin *o, struct link_token to);
/* Pass f on, if it belongs to such a message. Result: false: it does not. */
bool relay_pass(struct link *l, const struct frame *f);
bool relay_is_busy(const struct link *l);
/* Nothing comes any more. */
void relay_end_all(struct link *l);

#endif
