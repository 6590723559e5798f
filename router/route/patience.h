/* patience.h -- how long settled messages that came on a link that routers share may hold its credit.
 *
 * A client's settled messages are bounded by the credit of its own link, through the whole mesh, where all routers are
 * of ours (docs/decisions/0007). An old router, or an edge router, gives its client credit when it has passed a message
 * on. Its messages are bounded by the credit of the link that they come on, which all addresses share: each holds one
 * until it has left here. So a slow consumer slows their senders, and nothing is lost.
 *
 * One that has stopped must not stop everybody behind that link. When its queue has not moved for a second,
 *
 *   MOVING -- a second without a message that leaves --> STOPPED: the credit is given back; the oldest messages stay,
 *      ^                                                 |       as many as the link's capacity, the others are dropped
 *      `------------- a message leaves ------------------'       and counted (droppedPresettledDeliveries)
 *
 * and what comes while it is stopped is dealt with in the same way. The old router drops at the same bound, and at once
 * (wire-protocol reference 4.5). Towards another router such messages go settled, as they came, so that the next one
 * does all this in its turn.
 *
 * Thread: the link's worker.
 */
#ifndef TRUNKLINE_ROUTE_PATIENCE_H
#define TRUNKLINE_ROUTE_PATIENCE_H

#include <router/route/link.h>

enum { PATIENCE_MS = 1000 };

void patience_init(struct link *l);
/* A message that holds credit elsewhere has come to wait for l. Result: false, l has stopped: it is to be shed. */
bool patience_waits(struct link *l);
/* It has left the queue, in whatever way. */
void patience_ends(struct link *l);
/* A message has left by l. */
void patience_moved(struct link *l);
void patience_gone(struct link *l);

#endif
