/* trunk.h -- the links of a connection between two routers: one pair for control, ten for messages, by priority.
 *
 * The side that dialled opens them all, each pair in a session of its own: 11 begins, then 22 attaches, control first,
 * the receiver before the sender, without waiting for answers. The other side answers, and opens none. A link for
 * messages is numbered by the order in which attaches (or their answers) come, for each direction: that is its
 * priority.
 *
 * Source: wire-protocol reference 2.2, Inter-router connection. Thread: the connection's worker.
 */
#ifndef TRUNKLINE_ROUTE_TRUNK_H
#define TRUNKLINE_ROUTE_TRUNK_H

#include <router/route/link.h>

struct amqp_session;
struct amqp_terminus_view;

/* Control, and messages of higher priority, overtake what waits here, but not what the system has taken to send: that
 * is no more than this. */
enum { TRUNK_UNSENT_MAX = 128 * 1024 };

/* We dialled, and the peer's Open is in: attach everything. */
void trunk_open(struct connection *c);
/* Attach a link for one large message after the other (stream.h); to and from an edge router it is one without address
 * or capability. Errors: NULL, s takes no more links. */
struct link *trunk_attach_stream(struct connection *c, struct amqp_session *s);
/* What a link that the peer attaches is for, by its local terminus. */
enum link_kind trunk_link_kind(const struct connection *c, const struct amqp_terminus_view *local);
/* A link of a trunk is attached on both sides, or the peer attaches it: number it, accept it, give credit, tell
 * control. */
void trunk_link_attached(struct link *l);

/* The router at the other end is silent: all links for messages towards it give up what they have (outgoing_silent()).
 */
void trunk_silent(struct connection *c);

#endif
