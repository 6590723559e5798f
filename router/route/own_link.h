/* own_link.h -- a link that this router attaches by itself on a connection that is there, because control wants it:
 * those of an edge router to the interior, autoLinks, and what else is not asked for by a peer.
 *
 *   happy path:  open -> (letter to the connection's worker) attach -> the peer's answer -> (letter to control) the
 *                link is bound to its address: a receiver of it when we send, else a sender to it -> attached -> credit
 *   the peer refuses, or detaches it later:                        ended, with the peer's error
 *   its session or connection ends, or ended before the letter:    ended
 *   the answer has no address where one was named or asked for:    detached by us, ended
 *   the address is configured unavailable:                         detached by us, ended amqp:not-found
 *   the peer allows no more sessions or links:                     ended amqp:resource-limit-exceeded
 *   close:                                                         the link is detached (closed), whatever it has come
 *                                                                  to; its owner is told nothing more
 *
 * States, as control sees them:  attaching -attached-> attached -ended-> ended;  attaching -ended-> ended
 * Whoever opened it closes it once, in any state.
 *
 * A peer that refuses answers without a terminus and detaches the link at once (AMQP 1.0 part 2.6.3, Establishing Or
 * Resuming A Link). One that forgets the second is asked for it after OWN_LINK_REFUSAL_MS, and the owner told: refused.
 *
 * Invariants
 *   O1  `ended` comes exactly once, `attached` or `refused` at most once and before it; none comes from within
 *       own_link_open() or own_link_close(), nor after the latter.
 *   O2  The record lives until the last of those who know it has let go: its owner, letters, the link. So a worker that
 *       is late touches nothing that has been freed.
 *
 * Thread: control, except where said.
 */
#ifndef TRUNKLINE_ROUTE_OWN_LINK_H
#define TRUNKLINE_ROUTE_OWN_LINK_H

#include <router/route/connection.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trunkline/base/lock.h>

enum { OWN_LINK_REFUSAL_MS = 1000, OWN_LINK_FINISH_MS = 5000 };

struct own_link;
struct amqp_error;
struct amqp_link;

/* What the peer answered. */
struct own_link_answer {
    const char *address; /* of the terminus at the peer, made by it if that was asked; NULL: none. Good for the call */
};

/* Why it has ended. Texts are good for the call. */
struct own_link_end {
    bool was_attached;
    bool with_session;       /* the peer has ended the session, with all links in it */
    const char *condition;   /* "amqp:not-found"; NULL: ended without an error */
    const char *description; /* or NULL */
};

/* Embedded in whoever opens it. `refused` may be NULL. */
struct own_link_owner {
    /* What comes in on it is for the owner, whole message by whole message; each is accepted afterwards, and its credit
     * given back. NULL: it goes to the address of the key, or where the messages say. */
    void (*received)(struct own_link_owner *o, const uint8_t *message, size_t n);
    void (*attached)(struct own_link_owner *o, const struct own_link_answer *a);
    /* The peer has answered as one does that refuses, but the detach that belongs to it has not come in time. We have
     * detached the link; `ended` comes when the peer has answered that. */
    void (*refused)(struct own_link_owner *o, const struct own_link_end *e);
    void (*ended)(struct own_link_owner *o, const struct own_link_end *e);
};

/* Texts are copied. */
struct own_link_conf {
    struct connection *conn; /* open; a count is taken */
    enum own_session session;
    bool is_sender;
    const char *source, *target; /* addresses; NULL: a terminus without one */
    bool no_source, no_target;   /* that terminus is null */
    bool dynamic;                /* the peer makes the address of its terminus */
    const char *capability;      /* one bare symbol on both termini; NULL: none */
    /* Key of the address here (address_name.h) that the link belongs to; NULL: none. What comes in goes to it. */
    const char *key;
    bool is_unbound;       /* a sender that does not receive from its address, until own_link_bind() */
    bool is_made_anyway;   /* the address is there, balanced, even where a rule says unavailable */
    bool is_from_fallback; /* link.h */
    bool is_finished;      /* own_link_close() waits for what it carries */
    uint32_t capacity;     /* deliveries that may be in hand; 0: the connection's linkCapacity */
};

/* Attach a link. The owner is borrowed until own_link_close(), which is the caller's to do. */
struct own_link *own_link_open(const struct own_link_conf *conf, struct own_link_owner *owner) ON_CONTROL;
/* Detach it, unless it has ended, and let go of it. At once it is no receiver of its address or sender to it any more.
 * *o becomes NULL; a NULL one is harmless.
 * With is_finished its worker first has what is under way to it from others, and detaches when what waits is sent and
 * what is unsettled is settled, or when that has not gone on for OWN_LINK_FINISH_MS: else what was accepted would come
 * back to its sender as modified, and what was sent settled would be lost. */
void own_link_close(struct own_link **o) ON_CONTROL;
/* A sender is to receive from its address, or not any more; it stays attached. May be said before it is attached. */
void own_link_bind(struct own_link *o, bool receives) ON_CONTROL;
bool own_link_is_bound(const struct own_link *o) ON_CONTROL;
/* Send a message of the router's own, a sender that is attached. Without credit it waits.
 *   Result: false, the link is not attached. */
bool own_link_send(struct own_link *o, const uint8_t *message, size_t n, bool settled) ON_CONTROL;
/* Messages sent on it that wait or are unsettled; 0 if it is not attached. */
uint32_t own_link_outstanding(const struct own_link *o) ON_CONTROL;
/* The link while it is attached, else NULL. */
struct link *own_link_link(const struct own_link *o) ON_CONTROL;

/* ---- what the registry calls ---- */

/* Whether the owner still wants it, and the key of its address, borrowed; NULL: none. */
bool own_link_is_wanted(const struct own_link *o) ON_CONTROL;
const char *own_link_key(const struct own_link *o) ON_CONTROL;
bool own_link_is_made_anyway(const struct own_link *o) ON_CONTROL;
void own_link_registered(struct link *l) ON_CONTROL;
void own_link_left(struct link *l) ON_CONTROL;
/* Counts of the link and of letters about it. Thread: any. */
void own_link_ref(struct own_link *o);
void own_link_unref(struct own_link *o);
/* A message has come in on it (request.h). */
void own_link_take(struct own_link *o, const uint8_t *message, size_t n) ON_CONTROL;

/* ---- what the connection calls. Thread: its worker ---- */

void own_link_answered(struct link *l);
/* Control wants it no more, or has no place for it. */
void own_link_refuse(struct link *l, const struct amqp_error *error);
void own_link_detached(struct link *l, const struct amqp_error *error);
void own_link_gone(struct link *l);
/* Something that l carries is done; l->is_finishing. May detach it. */
void own_link_goes_on(struct link *l);
void own_link_session_gone(struct connection *c, const struct amqp_session *s);
/* The peer has ended a session of ours; error: or NULL. */
void own_link_session_ended(const struct amqp_session *s, const struct amqp_error *error);

#endif
