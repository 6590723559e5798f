/* conn_priv.h -- what the sources of the connection engine share: conn.c, session.c, link.c, receive.c, send.c.
 *
 * Who frees what, and when. Handlers may call any function of conn.h from within an event, so nothing that an event may
 * be about is freed while a frame is handled: it is put on one of the lists below, and amqp_conn_run_deferred() tells
 * `lost`, `gone` and `closed` after the frame. Only amqp_conn_input, _eof, _tick, _written and _fini run it (C4).
 */
#ifndef TRUNKLINE_AMQP_CONN_PRIV_H
#define TRUNKLINE_AMQP_CONN_PRIV_H

#include <trunkline/amqp/conn.h>
#include <trunkline/amqp/terminus.h>

#include "deliveries.h"
#include "endpoint.h"
#include "frames.h"
#include "outcomes.h"
#include "output.h"

#define OUTPUT_LIMIT_DEFAULT (256 * 1024)
/* Answers that may wait beyond the limit on output for a peer that asks and does not read. */
#define ANSWERS_MAX (8 * 1024 * 1024)
/* How long a connection that has said Close waits for the peer's, and for its own last octets to leave. */
#define CLOSE_WAIT_MS 5000
#define SERIAL_BEFORE(a, b) ((int32_t)((a) - (b)) < 0)

/* Numbers given to things: the lowest on a fresh table, then what was freed last. */
struct numbers {
    void **at;                     /* a thing, or (next free number << 1 | 1) */
    uint32_t used, capacity, free; /* free: a number, or UINT32_MAX */
    uint32_t count;
};
void amqp_numbers_init(struct numbers *n);
void amqp_numbers_fini(struct numbers *n);
uint32_t amqp_numbers_take(struct numbers *n, void *thing);
void amqp_numbers_give(struct numbers *n, uint32_t number);
static inline void *amqp_numbers_get(const struct numbers *n, uint32_t number)
{
    return number < n->used && !((uintptr_t)n->at[number] & 1) ? n->at[number] : NULL;
}

/* Settled deliveries that are still to be said, in ranges (AMQP 1.0 part 2.7.6, Disposition). */
struct settled_range {
    uint32_t first, last;
    uint8_t state;
};
struct settled_batch {
    struct settled_range *at;
    uint32_t count, capacity;
    bool unsorted;
};

enum session_flags {
    SESSION_BEGUN_LOCAL = 1,
    SESSION_BEGUN_REMOTE = 2,
    SESSION_ENDED_LOCAL = 4,
    SESSION_ENDED_REMOTE = 8,
    SESSION_FLOW_DUE = 16,
    SESSION_OURS = 32,   /* the owner has a pointer to it */
    SESSION_URGENT = 64, /* its frames go before those of others */
};

struct amqp_session {
    struct amqp_conn *conn;
    struct list node;  /* in the connection's sessions */
    struct list dirty; /* in the connection's dirty_sessions */
    uint16_t local_channel, remote_channel;
    uint16_t flags;
    /* what we receive */
    uint32_t next_incoming_id; /* transfer-id of the next frame */
    uint32_t incoming_left;    /* frames the peer knows it may send */
    uint32_t held;             /* frames that the owner keeps */
    /* what we send */
    uint32_t first_outgoing_id, next_outgoing_id;
    uint32_t outgoing_left; /* frames the peer allows */
    uint32_t next_delivery_id;
    uint64_t next_tag;
    uint64_t urgent_from; /* output.h */
    /* links */
    struct numbers links; /* by local handle */
    struct u32map by_remote_handle;
    struct u32map by_name;  /* hash of name and direction; colliding links are chained */
    struct amqp_link *last; /* whose frame came last */
    uint32_t remote_handle_max;
    struct list waiting; /* outgoing links that the window stopped */
    /* unsettled deliveries, and what has been settled since the last flush */
    struct deliveries incoming, outgoing;
    struct settled_batch said_incoming, said_outgoing;
};

enum {
    LINK_ABORTING = 256, /* an abort waits for the session window */
    LINK_FINISHED = 512, /* in the connection's finished list */
    LINK_REFUSED = 1024, /* the engine's own, of an attach that the owner never saw */
    LINK_OURS = 2048,    /* we attached first */
    LINK_READY = 4096,   /* in the connection's ready list */
    LINK_TOLD = 8192,    /* the owner knows that it is detached */
};

/* What only the engine needs of a link. One block of memory with the strings behind it. */
struct amqp_link_priv {
    struct amqp_link *same_hash; /* chain in by_name */
    uint32_t hash;
    uint32_t held;                  /* frames of the session window that the owner keeps */
    uint32_t unsettled;             /* entries in the session's map */
    uint64_t max_message_size;      /* ours for what we receive; 0: none */
    uint64_t current_size;          /* octets of the delivery in progress */
    uint64_t peer_max_message_size; /* as its attach says; 0: none */
    uint32_t allowed_until; /* receiver: delivery-count up to which credit that was taken back may still be used */
    struct amqp_outcomes outcomes; /* receiver: that the peer's source has */
    uint16_t name_len;
    uint32_t source_len, target_len; /* encoded, of the peer's attach; 0: null */
    uint32_t offered_len, desired_len, properties_len;
    const char *source_address, *target_address; /* into chars, or NULL */
    char chars[]; /* name NUL, source, target, capabilities offered and desired, properties, addresses NUL */
};
static inline const uint8_t *amqp_link_raw_source(const struct amqp_link_priv *p)
{
    return (const uint8_t *)p->chars + p->name_len + 1;
}
static inline const uint8_t *amqp_link_raw_target(const struct amqp_link_priv *p)
{
    return amqp_link_raw_source(p) + p->source_len;
}

/* start -> opened -> open -> closing -> closed, see conn.h. */
enum conn_state { CONN_START, CONN_OPENED, CONN_OPEN, CONN_CLOSING, CONN_CLOSED };

struct amqp_conn_priv {
    /* fixed at init */
    bool server;
    uint16_t channel_max;
    uint32_t max_frame_size, max_links, session_window, overdraft, idle_timeout_ms;
    uint32_t first_delivery_id, first_transfer_id;
    size_t output_limit;
    /* state */
    uint8_t state; /* enum conn_state */
    bool by_peer, told_closed, told_dirty, deferring, end_sessions;
    char *error_condition, *error_description; /* why it closed; NULL: no error */
    struct output out;
    struct numbers channels; /* sessions by local channel */
    struct u32map by_remote_channel;
    struct amqp_session *last; /* whose frame came last */
    struct list sessions;
    struct list dirty_links, dirty_sessions;
    struct list ready;          /* outgoing links to be told `sendable` */
    struct list waiting_output; /* outgoing links that the output queue stopped */
    struct list finished;       /* links that are no more */
    struct list ended;          /* sessions that are no more, or whose links are not */
    uint32_t links, refused;
    struct buffer *input; /* of the current amqp_conn_input() */
    mono_ms last_input, last_output;
    mono_ms close_due; /* in closing and closed: when waiting ends */
    struct amqp_conn_peer peer;
    void *peer_block;
};

/* ---- conn.c ---- */
/* Where the frames of a session go. */
static inline struct outq *amqp_session_outq(struct amqp_session *s)
{
    struct output *o = &s->conn->priv->out;
    return s->flags & SESSION_URGENT ? output_urgent_queue(o, s->urgent_from) : &o->normal;
}
/* A frame of the session has been queued there. */
static inline void amqp_session_queued(struct amqp_session *s, const struct outq *q)
{
    if (s->flags & SESSION_URGENT)
        output_queued(&s->conn->priv->out, q, &s->urgent_from);
}
/* Queue a frame of the session. Result: as amqp_conn_emit(). */
bool amqp_session_emit(struct amqp_session *s, frame_writer_fn *fn, const void *what);
/* Queue a frame of the connection itself, on channel 0. Result: false, it is larger than the peer takes; nothing was
 * queued. */
bool amqp_conn_emit(struct amqp_conn *c, frame_writer_fn *fn, const void *what);
void amqp_conn_mark_dirty(struct amqp_conn *c);
/* Break off with Close. */
void amqp_conn_fail(struct amqp_conn *c, const char *condition, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void amqp_conn_run_deferred(struct amqp_conn *c);
static inline bool amqp_conn_is_up(const struct amqp_conn *c)
{
    return c->priv->state == CONN_OPEN;
}

/* ---- session.c ---- */
void amqp_session_frame_begin(struct amqp_conn *c, uint16_t channel, struct amqp_reader body);
void amqp_session_frame_end(struct amqp_session *s, struct amqp_reader body);
void amqp_session_frame_flow(struct amqp_session *s, struct amqp_reader body);
/* The peer broke the session's rules: End with the error; its links are gone after this frame. */
void amqp_session_fail(struct amqp_session *s, const char *condition, const char *description);
static inline bool amqp_session_is_up(const struct amqp_session *s)
{
    return !(s->flags & (SESSION_ENDED_LOCAL | SESSION_ENDED_REMOTE)) && amqp_conn_is_up(s->conn);
}
/* Fill in the session's part of a flow, by which the peer knows the whole window again. */
void amqp_session_fill_flow(struct amqp_session *s, struct amqp_flow_fields *f);
void amqp_session_flow_due(struct amqp_session *s);
/* Tell `lost` and `gone` of all links. */
void amqp_session_drop_links(struct amqp_session *s);
void amqp_session_free(struct amqp_session *s);

/* ---- link.c ---- */
void amqp_link_frame_attach(struct amqp_session *s, struct amqp_reader body);
void amqp_link_frame_detach(struct amqp_session *s, struct amqp_reader body);
void amqp_link_frame_flow(struct amqp_link *lk, const struct amqp_flow_fields *f);
/* The peer broke the link's rules: detach it with the error; the owner is told `detached`. */
void amqp_link_fail(struct amqp_link *lk, const char *condition, const char *description);
/* The link whose handle the peer's frame names; NULL: none, and the session has been ended for it. */
struct amqp_link *amqp_link_by_remote(struct amqp_session *s, uint32_t handle);
/* Tell `lost` and `gone`, and forget it. */
void amqp_link_drop(struct amqp_link *lk);
void amqp_link_finish_if_done(struct amqp_link *lk);
void amqp_link_send_flow(struct amqp_link *lk);
static inline bool amqp_link_is_up(const struct amqp_link *lk)
{
    return (lk->flags & (AMQP_LINK_ATTACHED_LOCAL | AMQP_LINK_ATTACHED_REMOTE | AMQP_LINK_DETACHED_LOCAL |
                         AMQP_LINK_DETACHED_REMOTE)) == (AMQP_LINK_ATTACHED_LOCAL | AMQP_LINK_ATTACHED_REMOTE) &&
           amqp_session_is_up(lk->session);
}

/* ---- receive.c ---- */
void amqp_receive_transfer(struct amqp_session *s, struct amqp_reader body);
void amqp_receive_disposition(struct amqp_session *s, struct amqp_reader body);
/* Turn the session's batches into frames. */
void amqp_session_flush(struct amqp_session *s);
/* Of these, what has been settled: it is said before what ends the link, the session or the connection, because the
 * peer gives up what is unsettled then. The session is up. */
void amqp_session_say_settled(struct amqp_session *s);
/* Remember to say that deliveries first..last are settled. */
void amqp_settled_later(struct amqp_session *s, struct settled_batch *b, uint32_t first, uint32_t last, uint8_t state);

/* ---- send.c ---- */
/* Tell those that waited: for the window of s, or (s NULL) for room in the output queue. */
void amqp_send_wake(struct amqp_conn *c, struct list *waiting);
/* Put a link on the list of those to be told `sendable`, or if it receives, `drained`. */
void amqp_send_ready(struct amqp_link *lk);
/* Tell the peer that the delivery in progress is given up, now or when the window allows; its entry stays. */
void amqp_send_abort(struct amqp_link *lk);
/* Tell it; it is off the list. */
void amqp_send_tell(struct amqp_link *lk);

#endif
