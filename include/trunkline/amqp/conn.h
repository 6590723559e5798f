/* conn.h -- one AMQP 1.0 connection as a container sees it: bytes in, events out. No sockets, no clock, no thread.
 *
 * Two parts make it. Proton, hidden in lib/amqp/endpoint, opens the connection: protocol headers, SASL, both Opens.
 * Then it is freed, and all that follows is ours: sessions, links, the flow of messages, close, idle time-outs,
 * splitting by frame size. docs/decisions/0001-where-proton-ends.md says why the line is there.
 *
 *   input:  until both Opens are exchanged: header or frame -> Proton -> event
 *           afterwards: frame -> session, link, delivery -> event
 *   output: frames join one queue in the order in which they were made; dispositions and credit wait for
 *           amqp_conn_flush()
 *
 * States of a connection:
 *   start -> opened (peer's Open is in; we answer or close) -> open -> closing (our Close is queued) -> closed
 * After `closed` there are no more events and no input is taken; output may remain to be written.
 *
 * Invariants
 *   C1  Every link that got `attached` gets exactly one `gone`, the last event about it.
 *   C2  Every unsettled outgoing delivery ends with exactly one `disposition` that is settled, or one `lost`, unless
 *       the owner itself ends it by amqp_link_abort() or amqp_delivery_settle().
 *   C3  What a peer sends grows memory only within the limits of struct amqp_conn_conf and the credit and windows we
 *       gave. Of deliveries on a link: an owner that grants only so much that those it keeps and the credit that is out
 *       are at most L together never keeps more than L + overdraft.
 *   C4  Events, but for `dirty`, are never delivered from within a call of the owner other than amqp_conn_input, _tick,
 *       _eof, _written and _fini. (_close, _detach and _send only change state; what follows from them is told in the
 *       next of those. Whatever needs telling also makes the connection dirty.) `lost`, `gone` and `closed` come after
 *       the frame that caused them has been handled, so an event's handler may detach, end or close anything.
 *
 * Thread: the connection's owner, for all functions.
 */
#ifndef TRUNKLINE_AMQP_CONN_H
#define TRUNKLINE_AMQP_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <trunkline/base/buffer.h>
#include <trunkline/base/clock.h>
#include <trunkline/base/err.h>
#include <trunkline/base/hash.h>
#include <trunkline/base/list.h>

struct amqp_conn;
struct amqp_session;
struct amqp_link;
struct amqp_endpoint; /* Proton's side, lib/amqp/endpoint.h */
struct amqp_link_priv;

/* An error condition (AMQP 1.0 part 2.8.14, Error). Strings are borrowed for the call. */
struct amqp_error {
    const char *condition;   /* symbol, e.g. "amqp:not-found" */
    const char *description; /* or NULL */
    struct slice info;       /* the encoded map, or empty */
};

/* A delivery state (AMQP 1.0 part 3.4, Delivery State; part 4.5 for the transactional ones). */
enum amqp_state_code {
    AMQP_STATE_NONE = 0,
    AMQP_RECEIVED = 0x23,
    AMQP_ACCEPTED = 0x24,
    AMQP_REJECTED = 0x25,
    AMQP_RELEASED = 0x26,
    AMQP_MODIFIED = 0x27,
    AMQP_DECLARED = 0x33,
    AMQP_TRANSACTIONAL = 0x34,
    AMQP_STATE_OTHER = 0xff /* a descriptor unknown to us; raw has it */
};
struct amqp_state {
    enum amqp_state_code code;
    /* The encoded described value with its fields, borrowed for the call; empty: the code without fields. */
    struct slice raw;
};
static inline bool amqp_state_is_terminal(enum amqp_state_code c)
{
    return c >= AMQP_ACCEPTED && c <= AMQP_MODIFIED;
}

/* An unsettled delivery in a session's map. Entries do not move: a pointer is good until the delivery is settled,
 * forgotten or lost. */
struct amqp_delivery {
    uint32_t id;      /* delivery-id, unique in the session and direction */
    uint32_t started; /* low 32 bits of the owner's milliseconds when its first frame came or went */
    struct amqp_link *link;
    uint8_t state; /* enum amqp_state_code: the last known */
    bool remote_settled;
    bool complete;     /* its last frame has come or gone */
    bool tracked;      /* incoming: amqp_delivery_track() was called, so only the owner removes it */
    uint64_t token[2]; /* the owner's: where it came from, or who has it */
};

struct amqp_terminus_view; /* amqp/terminus.h: what a source or target says */
struct amqp_transfer;

/* What the owner provides; all run on the owner's thread. */
struct amqp_handler {
    /* The peer's Open is in (SASL, if any, is done): look at amqp_conn_peer(), then, now or later, amqp_conn_open() or
     * amqp_conn_close(). Until then a server takes no more input; who answers later calls amqp_conn_input() again with
     * what is left. */
    void (*opened)(struct amqp_conn *c);
    /* Nothing more will happen. error: the peer's Close, our own, or what went wrong (NULL: an orderly close without
     * error). by_peer: the peer began it. */
    void (*closed)(struct amqp_conn *c, const struct amqp_error *error, bool by_peer);
    /* There is something to flush or to write, for the first time since amqp_conn_flush(). */
    void (*dirty)(struct amqp_conn *c);
    /* The peer attaches a link. Allocate the link that the owner will use for it (struct amqp_link embedded); never
     * NULL. The link is then filled in and `attached` follows. */
    struct amqp_link *(*new_link)(struct amqp_conn *c);
    /* lk is attached from the other side: look at it with amqp_link_*, then (now or later) amqp_link_accept() or
     * amqp_link_refuse(). For links of our own (amqp_link_attach) it says that the answer has come; a refusal is
     * followed by `detached`. */
    void (*attached)(struct amqp_link *lk);
    /* The peer has detached: answer with amqp_link_detach() unless that was done. Also when the peer broke a rule of
     * the link and the engine has detached it: answering does no harm then. Comes at most once for a link. Strings are
     * good for the call. */
    void (*detached)(struct amqp_link *lk, bool closed, const struct amqp_error *error);
    /* The link is no more (detached both ways, or its session or connection ended): free it. */
    void (*gone)(struct amqp_link *lk);
    /* Outgoing link: something that stopped it has changed: credit, session window, room in the output queue, or the
     * peer asks to drain. Send what there is; when there is nothing left and lk->drain is set, call
     * amqp_link_drained(). Also when the peer has taken credit back. */
    void (*sendable)(struct amqp_link *lk);
    /* Incoming link: the peer has used up or given back all credit after amqp_link_drain(). Also when it gives credit
     * back though lk->drain is not set (any more): its answer has crossed amqp_link_stop_drain() and what was granted
     * then, so whoever wants messages looks at lk->credit and grants anew. */
    void (*drained)(struct amqp_link *lk);
    /* Incoming link: a frame of a delivery. */
    void (*transfer)(struct amqp_link *lk, struct amqp_transfer *t);
    /* Outgoing delivery: the receiver says its state; settled: it has forgotten it, and so have we after this call. */
    void (*disposition)(struct amqp_delivery *d, const struct amqp_state *state, bool settled);
    /* All outgoing deliveries that one frame of the receiver's speaks of have been told by `disposition`. May be NULL.
     */
    void (*disposed)(struct amqp_conn *c);
    /* Incoming unsettled delivery: the sender has settled it; the owner need not say anything more about it. */
    void (*peer_settled)(struct amqp_delivery *d, const struct amqp_state *state);
    /* Outgoing unsettled delivery: its link has ended before an outcome came. Comes before `gone` of its link.
     * d->complete is unset for one whose last frame was not sent. */
    void (*lost)(struct amqp_delivery *d);
    /* A session of ours (amqp_session_begin()) is no more, after `gone` of its last link: forget the pointer. May be
     * NULL. */
    void (*session_gone)(struct amqp_conn *c, struct amqp_session *s);
    /* The peer ends a session of ours; error: or NULL. Its links are told `gone` next. May be NULL. */
    void (*session_ended)(struct amqp_conn *c, struct amqp_session *s, const struct amqp_error *error);
};

/* One transfer frame as it came (AMQP 1.0 part 2.7.5, Transfer). */
struct amqp_transfer {
    uint32_t id; /* delivery-id, also for continuation frames that left it out */
    uint32_t message_format;
    struct slice tag; /* first frame only */
    struct amqp_state state;
    struct slice payload;           /* buf is the input buffer: buffer_ref() to keep it */
    struct amqp_delivery *delivery; /* NULL when presettled, or settled by us meanwhile; see amqp_delivery_track() */
    /* settled: as known by now, on this frame or an earlier one. more is unset when aborted is set. An aborted delivery
     * is forgotten by the engine; one that the peer settles before its last frame is, after that frame. */
    bool first, settled, more, aborted;
};

struct amqp_property {
    const char *key;  /* symbol */
    const char *text; /* string value; or NULL and then */
    int32_t number;   /* int value */
    struct slice raw; /* or, when not empty, an encoded value */
};

/* What a server's SASL asks its owner: is this password right? Must not block. NULL in the configuration: PLAIN is not
 * offered. */
typedef bool amqp_check_password_fn(const char *user, const char *password);

/* How to be on this connection. Borrowed until amqp_conn_init() returns, except where said. */
struct amqp_conn_conf {
    bool server; /* accepted (or: connected) */
    const char *container_id;
    const char *hostname;    /* Open's hostname; NULL: absent */
    uint32_t max_frame_size; /* ours, at least 512 */
    uint16_t channel_max;    /* highest channel number the peer may use: sessions - 1 */
    uint32_t max_links; /* links in all sessions together; beyond: detach amqp:resource-limit-exceeded. Also announced
                           as handle-max (less 1). 0: no limit */
    uint32_t session_window; /* transfer frames the peer may have in flight in a session before we release them; at
                                least 1 */
    uint32_t overdraft; /* deliveries beyond its credit that a link takes between two grants; the next one detaches it.
                           0: none, as AMQP 1.0 part 2.6.7, Flow Control, has it. There are libraries that send a
                           message before they have credit, or one more than they have */
    uint32_t idle_timeout_ms; /* we give up after so long a silence; half of it is announced; 0: never */
    size_t output_limit;      /* octets queued to be written, above which links are not sendable; 0: a default */
    /* SASL (AMQP 1.0 part 5.3) */
    bool sasl;                   /* client: speak it. server: always understood */
    bool require_auth;           /* server: refuse a peer that does not authenticate */
    const char *sasl_mechanisms; /* blank-separated; NULL: all that can be offered */
    const char *user, *password; /* client */
    const char *external_id; /* server: identity that the transport vouches for (TLS); NULL: EXTERNAL is not offered */
    amqp_check_password_fn *check_password; /* server */
    /* Open */
    const struct amqp_property *properties;
    size_t property_count;
    const char *const *offered_capabilities; /* NULL-terminated; also sent as desired */
    /* For tests: where our own counters begin. */
    uint32_t first_delivery_id, first_transfer_id;
};

/* Embedded in the owner's connection; zero before amqp_conn_init(). Members are the engine's unless marked. */
struct amqp_conn {
    const struct amqp_handler *handler;
    struct amqp_endpoint *endpoint; /* NULL once both Opens are exchanged */
    struct amqp_conn_priv *priv;    /* framer, output queue, channel maps, limits */
    bool trace;                     /* owner may set: log each frame under PROTOCOL at trace */
    uint64_t id;                    /* owner sets: the [C<id>] of the log */
    mono_ms now;                    /* owner sets before init, input, written and flush; tick sets it */
};

struct amqp_conn_peer {
    const char *container_id, *hostname; /* "" when absent; good until the connection is freed */
    uint32_t max_frame_size, idle_timeout_ms;
    uint16_t channel_max;
    struct slice properties;           /* encoded map of Open, or empty */
    struct slice offered_capabilities; /* encoded symbol or array, or empty */
    const char *sasl_mechanism;        /* NULL: no SASL layer was used */
    const char *user;                  /* authenticated user, NULL */
};

/* Errors: ERR_INVALID, conf makes no sense. */
enum err amqp_conn_init(struct amqp_conn *c, const struct amqp_conn_conf *conf, const struct amqp_handler *h);
/* Free everything; links that are left get `lost`/`gone` first. */
void amqp_conn_fini(struct amqp_conn *c);

/* Take input: whole frames are handled, a part of a frame is left.
 *   Ownership: data lies inside buf, on which the engine and the handler take counts for what they keep.
 *   Result:    octets consumed. *need: octets of which the next frame (or header) consists, so the caller can make
 *              room; at least consumed + *need octets must be there before the next call makes progress. 0: unknown
 *              yet, more than is left.
 */
size_t amqp_conn_input(struct amqp_conn *c, struct buffer *buf, const uint8_t *data, size_t len, size_t *need);
/* The peer's stream has ended, or the transport failed with `why`. */
void amqp_conn_eof(struct amqp_conn *c, const char *why);

/* Turn what has been batched (dispositions, credit) into frames. Call at the end of a loop turn, before
 * amqp_conn_output(). */
void amqp_conn_flush(struct amqp_conn *c);
/* Octets waiting to be written. */
size_t amqp_conn_pending(const struct amqp_conn *c);
/* Fill iov with up to max pieces of the output queue; they stay good until amqp_conn_written(). Result: how many. */
int amqp_conn_output(struct amqp_conn *c, struct iovec *iov, int max);
void amqp_conn_written(struct amqp_conn *c, size_t n);
/* Whether the stream can be shut: closed, and everything is written, or a peer that does not read has been waited for
 * long enough (five seconds from Close on; amqp_conn_next_deadline() tells when). */
bool amqp_conn_is_finished(const struct amqp_conn *c);
/* Whether the Close handshake, an error or the end of the stream has come. */
bool amqp_conn_is_closed(const struct amqp_conn *c);

/* Idle time-out and heartbeat (AMQP 1.0 part 2.4.5, Idle Time Out Of A Connection). */
mono_ms amqp_conn_next_deadline(const struct amqp_conn *c);
void amqp_conn_tick(struct amqp_conn *c, mono_ms now);

const struct amqp_conn_peer *amqp_conn_peer(const struct amqp_conn *c);
/* Answer the peer's Open, or (client) send ours: done by init for a client. */
void amqp_conn_open(struct amqp_conn *c);
/* Close, with an error or without (NULL); sends Open before it if that was not sent. */
void amqp_conn_close(struct amqp_conn *c, const struct amqp_error *error);

/* Sessions of peers are answered by the engine. This begins one of ours, good until `session_gone`.
 * Errors: ERR_AGAIN, before both Opens. ERR_LIMIT, the peer allows no more. ERR_CLOSED. */
enum err amqp_session_begin(struct amqp_conn *c, struct amqp_session **out);
/* From now on its frames go before all that waits to be written for other sessions, at the next border between frames.
 * For little that must not be late. */
void amqp_session_hurry(struct amqp_session *s);
/* End it; its links are told `lost` and `gone` in the next event. */
void amqp_session_end(struct amqp_session *s, const struct amqp_error *error);
/* Whether neither end has ended it, and its connection is up: links can be attached in it. */
bool amqp_session_is_open(const struct amqp_session *s);
/* Its number, which no other session of its connection has while it is there: our channel. */
uint16_t amqp_session_number(const struct amqp_session *s);
/* Walk over its links that the owner knows of: position from 0; NULL at the end. None may come or go meanwhile. */
struct amqp_link *amqp_session_next_link(const struct amqp_session *s, uint32_t *position);

/* ---- links ---- */

enum amqp_link_flags {
    AMQP_LINK_ATTACHED_LOCAL = 1,
    AMQP_LINK_ATTACHED_REMOTE = 2,
    AMQP_LINK_DETACHED_LOCAL = 4,
    AMQP_LINK_DETACHED_REMOTE = 8,
    AMQP_LINK_WAITING = 16, /* outgoing: wants `sendable` */
    AMQP_LINK_DIRTY = 32,   /* incoming: a flow is to be sent at flush */
    /* further ones are the engine's own */
};

/* Embedded in the owner's link. Members are the engine's unless marked (read). */
struct amqp_link {
    struct amqp_session *session;
    struct amqp_conn *conn;      /* (read) */
    struct amqp_link_priv *priv; /* names, termini, limits */
    struct list node;            /* in the session's, waiting or dirty list */
    uint32_t local_handle, remote_handle;
    uint32_t delivery_count;
    uint32_t credit;    /* (read) sender: deliveries that may be started; receiver: what the peer holds */
    uint32_t overdrawn; /* (read) receiver: deliveries that came without credit since the last grant */
    uint32_t current;   /* delivery-id of the delivery in progress */
    uint16_t flags;
    bool is_sender;          /* (read) our end sends */
    bool in_delivery;        /* (read) a delivery is under way: its last frame has not come or gone */
    bool drain;              /* (read) sender: the peer asks to drain; receiver: we do */
    uint8_t snd_settle_mode; /* (read) what the peer asked for: 0 unsettled, 1 settled, 2 mixed */
    uint8_t rcv_settle_mode; /* (read) likewise: 0 first, 1 second */
    bool current_settled;
    /* Of the owner: links that wait for room in the output queue get it in this order, highest first. */
    uint8_t urgency;
};

/* What an attach says beside name and role, for owners that pass attaches on as they are: encoded values, empty when
 * absent; a terminus that is absent is null. */
struct amqp_attach_terms {
    struct slice source, target;
    uint8_t snd_settle_mode, rcv_settle_mode;
    uint64_t max_message_size; /* 0: none */
    struct slice offered_capabilities, desired_capabilities, properties;
};

/* Ours to the peer: attach with these termini. */
struct amqp_attach {
    const char *name;
    bool is_sender;
    const char *source, *target;                       /* addresses or NULL */
    bool no_source, no_target;                         /* that terminus is null */
    bool dynamic;                                      /* the remote terminus is to be made by the peer */
    const char *source_capability, *target_capability; /* one bare symbol each, or NULL */
    uint8_t snd_settle_mode;
    const struct amqp_attach_terms *terms; /* in place of all but name and is_sender; NULL: those above */
};
/* Attach; lk is the owner's, zero or used before, and taken on OK only. Credit granted before the answer goes out with
 * it. Errors: ERR_CLOSED, the session or connection is ending. ERR_EXISTS, the session has a link of this name and
 * direction. ERR_LIMIT, the peer's handle-max or max-frame-size does not allow it. ERR_INVALID, the name is too long.
 */
enum err amqp_link_attach(struct amqp_session *s, struct amqp_link *lk, const struct amqp_attach *a);

/* What the peer's attach says; good until gone. */
void amqp_link_peer_terms(const struct amqp_link *lk, struct amqp_attach_terms *out);

/* Whether neither end has detached it, and its session and connection are up. */
bool amqp_link_is_open(const struct amqp_link *lk);
const char *amqp_link_name(const struct amqp_link *lk); /* good until gone */
/* What the peer's attach says of its source and target (amqp/terminus.h). Strings are good until gone. */
void amqp_link_peer_source(const struct amqp_link *lk, struct amqp_terminus_view *out);
void amqp_link_peer_target(const struct amqp_link *lk, struct amqp_terminus_view *out);

/* Answer an attach by echoing its termini; `address` replaces that of a dynamic local terminus (NULL: as it came).
 * max_message_size 0: none. */
void amqp_link_accept(struct amqp_link *lk, const char *address, uint64_t max_message_size);
/* Answer an attach with these terms, which are sent as they are. Errors: as amqp_link_attach(); nothing was sent then.
 */
enum err amqp_link_accept_with(struct amqp_link *lk, const struct amqp_attach_terms *terms);
/* Answer an attach with the local terminus null, then detach closed with the error (NULL: none).
 * Source: AMQP 1.0 part 2.6.3, Establishing Or Resuming A Link. */
void amqp_link_refuse(struct amqp_link *lk, const struct amqp_error *error);
/* Detach, or answer a detach. An incomplete outgoing delivery is aborted first; it is told `lost` like the other
 * unsettled ones. */
void amqp_link_detach(struct amqp_link *lk, bool closed, const struct amqp_error *error);

/* ---- receiving ---- */

/* Give the peer n more credits. Sent as one flow for each link at flush. What it has overdrawn is not taken off: the
 * flow tells the delivery-count with those deliveries in it, so the peer may really send n. */
void amqp_link_grant(struct amqp_link *lk, uint32_t n);
/* Make the credit n, more or less than it is. What the peer sends of credit that is taken back counts as sent with
 * credit, for it cannot have known. */
void amqp_link_set_credit(struct amqp_link *lk, uint32_t n);
/* Ask the peer to use its credit now or give it up; `drained` tells when, and drain is over then. */
void amqp_link_drain(struct amqp_link *lk);
void amqp_link_stop_drain(struct amqp_link *lk);
/* Frames of the session window are given back by the engine at once, unless the owner holds the frame of the transfer
 * it is being told of: then it gives them back itself, when their bytes have left. So bytes in flight are bounded by
 * the window. */
void amqp_transfer_hold(struct amqp_link *lk);
void amqp_link_release_frames(struct amqp_link *lk, uint32_t n);
/* Keep an entry for a presettled delivery too, during `transfer` of its first frame; the owner ends it with
 * amqp_link_forget(). */
struct amqp_delivery *amqp_delivery_track(struct amqp_link *lk, struct amqp_transfer *t);
/* The entry of an incoming delivery; NULL: settled or unknown. */
struct amqp_delivery *amqp_link_delivery(struct amqp_link *lk, uint32_t id);
/* Settle incoming deliveries first..last (serial numbers) of this link with the state (NULL: none): one disposition
 * where ids adjoin, at flush (states with fields: at once). Deliveries that are unknown are skipped; those the peer has
 * settled are forgotten without a word. An outcome that the peer's source does not list is said as its default one, or
 * as released (AMQP 1.0 part 3.5.3, Source); so it is with amqp_link_update(). */
void amqp_link_settle(struct amqp_link *lk, uint32_t first, uint32_t last, const struct amqp_state *state);
/* Say a state without settling. */
void amqp_link_update(struct amqp_link *lk, uint32_t id, const struct amqp_state *state);
/* Remove an entry without a word: one that is tracked, or that the owner does not care for. */
void amqp_link_forget(struct amqp_link *lk, uint32_t id);

/* ---- sending ---- */

struct amqp_send {
    const struct slice *parts; /* payload: what is large and lies in a buffer is sent from there, the rest copied */
    unsigned part_count;
    const uint8_t *tag;
    uint8_t tag_len; /* NULL: the engine makes one */
    uint32_t message_format;
    const struct amqp_state *state; /* sender's state or NULL; first frame */
    bool settled;
    bool more; /* more payload of this delivery will follow in another call */
};

/* What keeps an outgoing link from sending what it is given, the first of these that does. */
enum amqp_hindrance {
    AMQP_HINDRANCE_NONE,
    AMQP_HINDRANCE_CREDIT, /* no credit for another delivery */
    AMQP_HINDRANCE_WINDOW, /* the session's window is full: the peer must say that it has taken frames */
    AMQP_HINDRANCE_OUTPUT, /* what has been sent before is not taken off the connection */
};
enum amqp_hindrance amqp_link_hindrance(const struct amqp_link *lk);

/* Deliveries that could be started now; 0 when credit, window or output queue say no, and then `sendable` tells when
 * that has changed. */
uint32_t amqp_link_sendable(struct amqp_link *lk);
/* Start a delivery, or continue the one in progress (parts and more count then). Split by the peer's max-frame-size.
 *   Result: *sent: octets of the parts that were queued, from the start. *d (may be NULL): on the first call of an
 *           unsettled delivery its entry, whose token the caller fills in.
 *   Errors: ERR_AGAIN: not all could be queued; call again with the rest after `sendable`. If *sent is 0 and the link
 *           is not in_delivery nothing was started, and *d is not set.
 *           ERR_CLOSED: the link is detached, or not yet attached both ways.
 */
enum err amqp_link_send(struct amqp_link *lk, const struct amqp_send *m, size_t *sent, struct amqp_delivery **d);
/* Abort the delivery in progress (AMQP 1.0 part 2.7.5, aborted). Its entry is forgotten. Without session window the
 * frame goes out later; until then the link stays in_delivery and takes no other. */
void amqp_link_abort(struct amqp_link *lk);
/* There is nothing to send: a drained link uses up its credit (AMQP 1.0 part 2.6.7, Flow Control). */
void amqp_link_drained(struct amqp_link *lk);
/* Give n credits back: there will be nothing to send for them. Together with the last one a drain is answered. */
void amqp_link_give_back(struct amqp_link *lk, uint32_t n);
/* Settle an outgoing delivery of our own accord (the receiver said a state without settling). The entry is gone after
 * it. */
void amqp_delivery_settle(struct amqp_delivery *d);
/* Wait for no outcome any more: each unsettled outgoing delivery of this link is told as `lost` and settled towards the
 * receiver; the one in progress is aborted as by amqp_link_abort(). The link stays. */
void amqp_link_give_up(struct amqp_link *lk);
/* The unsettled outgoing delivery of this link whose token is this; NULL. Looks at all that are unsettled in the
 * session: for rare cases. */
struct amqp_delivery *amqp_link_find(struct amqp_link *lk, const uint64_t token[2]);
/* Unsettled outgoing deliveries of this link. */
uint32_t amqp_link_unsettled(const struct amqp_link *lk);

#endif
