/* routed_session.h -- the sessions by which the far ends of routed links (routed_link.h) share a connection.
 *
 * Links that share a session at the near side share one at the far side too, and no others do. So what a client grants
 * credit for and does not read fills the window of its own session at the container, and stops nobody else; and what
 * has to be in one session stays there: the links of a transaction and that to its coordinator.
 *
 *   the first link of a near session:      a session that nobody uses, else a new one
 *   the peer allows no more sessions:      one that others use, too
 *   the last link of a session has gone:   it is kept for the next one, up to ROUTED_SESSIONS_IDLE_MAX; else ended
 *   the peer ends it, or the engine does:  it is used no more; its links go, and then it
 *
 * All links of a connection have names of their own, in whichever session they are: to a container a second one of the
 * same name would be the first again (AMQP 1.0 part 2.6.1, Naming A Link).
 *
 * Source: wire-protocol reference 2.8, Link route; there all share one session. Thread: the connection's worker.
 */
#ifndef TRUNKLINE_ROUTE_ROUTED_SESSION_H
#define TRUNKLINE_ROUTE_ROUTED_SESSION_H

#include <router/route/connection.h>
#include <stdbool.h>
#include <stdint.h>

enum { ROUTED_SESSIONS_IDLE_MAX = 16 };

struct routed_sessions; /* of one connection; NULL: it has had none */
struct routed_session;

/* Which session at the near side: of the connection with this id, its number there. */
struct routed_session_key {
    uint64_t connection;
    uint32_t number;
};

/* Take part in the session of c for those of this near session.
 *   Errors: as amqp_session_begin(), when there is none at all. */
enum err routed_session_take(struct connection *c, const struct routed_session_key *key, struct routed_session **out);
/* A link less. *s becomes NULL; a NULL one is harmless. */
void routed_session_give(struct connection *c, struct routed_session **s);
struct amqp_session *routed_session_engine(const struct routed_session *s);
/* The peer has ended a session of c, which may be one of these; or it has gone. */
void routed_session_ended(struct connection *c, const struct amqp_session *s);
void routed_session_gone(struct connection *c, const struct amqp_session *s);

/* The name of a link, embedded in it. */
struct routed_name {
    struct routed_name *same_hash;
    const char *text; /* borrowed, until it is released; NULL: not claimed */
    bool is_sender;
};
/* Result: false, another link of c of this direction has the name. */
bool routed_session_claim(struct connection *c, struct routed_name *n, const char *name, bool is_sender);
/* Harmless when it was not claimed. */
void routed_session_release(struct connection *c, struct routed_name *n);

/* With the connection. */
void routed_sessions_free(struct routed_sessions **s);

#endif
