/* stream.h -- the links of a connection between routers that carry one large message each, so that it never blocks a
 * link that all share.
 *
 *   none -> (take: attached in a session of its own) busy -> (its message is out) idle -> (take) busy ...
 *   idle, and STREAMS_IDLE_MAX others are: detached, its session ended
 *   the peer allows no more sessions: the link joins the first streaming session
 *   the peer has not offered them, and the address is balanced: none is taken (outgoing_shared.c)
 *
 * The side that sends opens them; the peer may answer later, the message waits in the link's queue until credit comes.
 * A session each, because frames of a message that stalls stay in the session's window.
 *
 * Source: wire-protocol reference 2.3, Streaming links; there all share one session, and the pool is trimmed every 30
 * seconds. Thread: the connection's worker.
 */
#ifndef TRUNKLINE_ROUTE_STREAM_H
#define TRUNKLINE_ROUTE_STREAM_H

#include <router/route/link.h>

/* So many links are kept for later use. */
enum { STREAMS_IDLE_MAX = 128 };

struct streams; /* of one connection; NULL: it has had none */

/* A link of c that carries nothing, now busy. Errors: NULL, the peer allows no more links. */
struct link *stream_take(struct connection *c);
/* l, outgoing, carries nothing any more. Nothing happens if it is not a busy streaming link. */
void stream_idle(struct link *l);
/* l has gone. */
void stream_gone(struct link *l);
/* A session of c has gone. */
void stream_session_gone(struct connection *c, const struct amqp_session *s);
/* Walk over the busy links of c: first with last NULL; NULL at the end. */
struct link *stream_next_busy(const struct connection *c, const struct link *last);
/* The one among all links of c that has an unsettled delivery with this token. */
struct amqp_delivery *stream_find(const struct connection *c, const uint64_t token[2]);

#endif
