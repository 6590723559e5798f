#include <trunkline/amqp/conn.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

#include "conn_priv.h"
#include "trace.h"

#define CHANNEL_MAX 32767
#define FRAME_SIZE_MIN 512 /* AMQP 1.0 part 2.8, MIN-MAX-FRAME-SIZE */
/* What fits in any frame; longer descriptions of errors are cut. */
#define DESCRIPTION_MAX 256

/* ---- life ---- */

enum err amqp_conn_init(struct amqp_conn *c, const struct amqp_conn_conf *conf, const struct amqp_handler *h)
{
    if (conf->container_id == NULL || conf->max_frame_size < FRAME_SIZE_MIN || conf->session_window == 0)
        return ERR_INVALID;
    struct amqp_conn_priv *p = xcalloc(1, sizeof *p);
    p->server = conf->server;
    p->channel_max = conf->channel_max < CHANNEL_MAX ? conf->channel_max : CHANNEL_MAX;
    p->max_frame_size = conf->max_frame_size;
    p->max_links = conf->max_links;
    p->session_window = conf->session_window <= INT32_MAX ? conf->session_window : INT32_MAX;
    p->overdraft = conf->overdraft;
    p->idle_timeout_ms = conf->idle_timeout_ms;
    p->first_delivery_id = conf->first_delivery_id;
    p->first_transfer_id = conf->first_transfer_id;
    p->output_limit = conf->output_limit ? conf->output_limit : OUTPUT_LIMIT_DEFAULT;
    p->peer = (struct amqp_conn_peer){.container_id = "", .hostname = "", .max_frame_size = FRAME_SIZE_MIN};
    amqp_numbers_init(&p->channels);
    u32map_init(&p->by_remote_channel);
    struct list *lists[] = {&p->sessions,       &p->dirty_links, &p->dirty_sessions, &p->ready,
                            &p->waiting_output, &p->finished,    &p->ended};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        list_init(lists[i]);
    p->last_input = p->last_output = c->now;
    c->priv = p;
    c->handler = h;
    c->endpoint = endpoint_new(conf);
    /* A client's header is there at once; nobody waits for `dirty` during init. */
    p->told_dirty = true;
    for (struct slice s; (s = endpoint_output(c->endpoint)).len; endpoint_written(c->endpoint, s.len))
        outq_copy(&p->out.normal, s.data, s.len);
    p->told_dirty = false;
    return OK;
}

static void drop_sessions(struct amqp_conn *c)
{
    struct list *lists[] = {&c->priv->sessions, &c->priv->ended};
    for (int i = 0; i < 2; i++)
        while (!list_is_empty(lists[i])) {
            struct amqp_session *s = list_first(lists[i], struct amqp_session, node);
            amqp_session_drop_links(s);
            amqp_session_free(s);
        }
}

void amqp_conn_fini(struct amqp_conn *c)
{
    struct amqp_conn_priv *p = c->priv;
    if (p == NULL)
        return;
    p->state = CONN_CLOSED;
    p->told_closed = p->told_dirty = true;
    amqp_conn_run_deferred(c);
    drop_sessions(c);
    endpoint_free(&c->endpoint);
    output_fini(&p->out);
    amqp_numbers_fini(&p->channels);
    u32map_fini(&p->by_remote_channel);
    free(p->peer_block);
    free(p->error_condition);
    free(p->error_description);
    free(p);
    c->priv = NULL;
}

/* ---- output ---- */

void amqp_conn_mark_dirty(struct amqp_conn *c)
{
    if (c->priv->told_dirty)
        return;
    c->priv->told_dirty = true;
    c->handler->dirty(c);
}

static bool emit(struct amqp_conn *c, struct outq *q, uint16_t channel, frame_writer_fn *fn, const void *what)
{
    size_t room = 128;
    for (;;) {
        struct amqp_writer w = amqp_writer(outq_room(q, room), room);
        size_t mark = amqp_write_frame_begin(&w, FRAME_TYPE_AMQP, channel);
        if (fn)
            fn(&w, what);
        amqp_write_frame_end(&w, mark, 0);
        if (w.len > c->priv->peer.max_frame_size)
            return false;
        if (amqp_writer_fits(&w)) {
            amqp_trace(c, true, w.base, w.len);
            outq_commit(q, w.len);
            amqp_conn_mark_dirty(c);
            return true;
        }
        room = w.len;
    }
}

bool amqp_conn_emit(struct amqp_conn *c, frame_writer_fn *fn, const void *what)
{
    return emit(c, &c->priv->out.normal, 0, fn, what);
}

bool amqp_session_emit(struct amqp_session *s, frame_writer_fn *fn, const void *what)
{
    struct outq *q = amqp_session_outq(s);
    bool fits = emit(s->conn, q, s->local_channel, fn, what);
    if (fits)
        amqp_session_queued(s, q);
    return fits;
}

size_t amqp_conn_pending(const struct amqp_conn *c)
{
    return output_pending(&c->priv->out);
}

int amqp_conn_output(struct amqp_conn *c, struct iovec *iov, int max)
{
    return output_peek(&c->priv->out, iov, max);
}

void amqp_conn_written(struct amqp_conn *c, size_t n)
{
    struct amqp_conn_priv *p = c->priv;
    if (n)
        p->last_output = c->now;
    output_consume(&p->out, n);
    if (p->out.normal.pending <= p->output_limit / 2 || (p->out.has_urgent && !p->out.urgent.pending))
        amqp_send_wake(c, &p->waiting_output);
    amqp_conn_run_deferred(c);
}

void amqp_conn_flush(struct amqp_conn *c)
{
    struct amqp_conn_priv *p = c->priv;
    for (struct list *n; (n = list_take_first(&p->dirty_sessions));)
        amqp_session_flush(list_entry(n, struct amqp_session, dirty));
    for (struct list *n; (n = list_take_first(&p->dirty_links));) {
        struct amqp_link *lk = list_entry(n, struct amqp_link, node);
        lk->flags &= ~AMQP_LINK_DIRTY;
        if (amqp_link_is_up(lk))
            amqp_link_send_flow(lk);
    }
    p->told_dirty = false;
}

bool amqp_conn_is_closed(const struct amqp_conn *c)
{
    return c->priv->state == CONN_CLOSED;
}

bool amqp_conn_is_finished(const struct amqp_conn *c)
{
    const struct amqp_conn_priv *p = c->priv;
    return p->state == CONN_CLOSED && (output_pending(&p->out) == 0 || c->now >= p->close_due);
}

/* ---- the end ---- */

static void remember_error(struct amqp_conn_priv *p, const char *condition, const char *description)
{
    if (p->error_condition || condition == NULL)
        return;
    p->error_condition = xstrdup(condition);
    p->error_description = description ? xstrdup(description) : NULL;
}

/* The only place where the state changes. */
static void enter_state(struct amqp_conn *c, enum conn_state s)
{
    ASSERT(s > c->priv->state);
    c->priv->state = (uint8_t)s;
    if (s < CONN_CLOSING)
        return;
    c->priv->end_sessions = true;
    if (c->priv->close_due == 0)
        c->priv->close_due = c->now + CLOSE_WAIT_MS;
}

static void pump_endpoint(struct amqp_conn *c)
{
    bool some = false;
    for (struct slice s; (s = endpoint_output(c->endpoint)).len; some = true) {
        amqp_trace_stream(c, true, s.data, s.len);
        outq_copy(&c->priv->out.normal, s.data, s.len);
        endpoint_written(c->endpoint, s.len);
    }
    if (some)
        amqp_conn_mark_dirty(c);
}

static void emit_close(struct amqp_conn *c, const struct amqp_error *error)
{
    struct frame_ending f = {.performative = AMQP_DESC_CLOSE, .error = error};
    if (amqp_conn_emit(c, frame_write_ending, &f))
        return;
    struct amqp_error bare = {.condition = error->condition};
    f.error = &bare;
    amqp_conn_emit(c, frame_write_ending, &f);
}

void amqp_conn_fail(struct amqp_conn *c, const char *condition, const char *format, ...)
{
    struct amqp_conn_priv *p = c->priv;
    if (p->state == CONN_CLOSED)
        return;
    char text[DESCRIPTION_MAX];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    remember_error(p, condition, text);
    if (c->endpoint) {
        endpoint_fail(c->endpoint, condition, text);
        pump_endpoint(c);
    } else if (p->state < CONN_CLOSING) {
        emit_close(c, &(struct amqp_error){.condition = condition, .description = text});
    }
    enter_state(c, CONN_CLOSED);
}

static void say_settled(struct amqp_conn *c)
{
    list_for_each(n, &c->priv->dirty_sessions)
    {
        struct amqp_session *s = list_entry(n, struct amqp_session, dirty);
        if (amqp_session_is_up(s))
            amqp_session_say_settled(s);
    }
}

void amqp_conn_close(struct amqp_conn *c, const struct amqp_error *error)
{
    struct amqp_conn_priv *p = c->priv;
    if (p->state >= CONN_CLOSING)
        return;
    say_settled(c);
    if (error)
        remember_error(p, error->condition, error->description);
    enter_state(c, CONN_CLOSING);
    if (c->endpoint) {
        endpoint_close(c->endpoint, error);
        pump_endpoint(c);
    } else {
        emit_close(c, error);
    }
}

void amqp_conn_eof(struct amqp_conn *c, const char *why)
{
    struct amqp_conn_priv *p = c->priv;
    if (p->state == CONN_CLOSED)
        return;
    if (p->state == CONN_CLOSING) {
        enter_state(c, CONN_CLOSED);
    } else {
        p->by_peer = true;
        amqp_conn_fail(c, "amqp:connection:framing-error", "%s", why ? why : "connection aborted");
    }
    amqp_conn_run_deferred(c);
}

static void tell_closed(struct amqp_conn *c)
{
    struct amqp_conn_priv *p = c->priv;
    p->told_closed = true;
    endpoint_free(&c->endpoint);
    struct amqp_error error = {.condition = p->error_condition, .description = p->error_description};
    c->handler->closed(c, p->error_condition ? &error : NULL, p->by_peer);
}

/* The links that were ready when this began; each may become ready again. */
static void tell_ready(struct amqp_conn *c)
{
    struct list now;
    list_init(&now);
    list_splice(&now, &c->priv->ready);
    for (struct list *n; (n = list_take_first(&now));) {
        struct amqp_link *lk = list_entry(n, struct amqp_link, node);
        amqp_send_tell(lk);
    }
}

static void end_session(struct amqp_conn *c, struct amqp_session *s)
{
    amqp_session_drop_links(s);
    if ((s->flags & SESSION_ENDED_LOCAL) && (s->flags & SESSION_ENDED_REMOTE))
        amqp_session_free(s);
    else
        list_append(&c->priv->sessions, &s->node);
}

void amqp_conn_run_deferred(struct amqp_conn *c)
{
    struct amqp_conn_priv *p = c->priv;
    if (p->deferring)
        return;
    p->deferring = true;
    for (;;) {
        struct list *n;
        if (p->end_sessions) {
            p->end_sessions = false;
            drop_sessions(c);
        } else if ((n = list_take_first(&p->ended))) {
            end_session(c, list_entry(n, struct amqp_session, node));
        } else if ((n = list_take_first(&p->finished))) {
            amqp_link_drop(list_entry(n, struct amqp_link, node));
        } else if (!list_is_empty(&p->ready)) {
            tell_ready(c);
        } else {
            break;
        }
    }
    if (p->state == CONN_CLOSED && !p->told_closed)
        tell_closed(c);
    p->deferring = false;
}

/* ---- opening ---- */

const struct amqp_conn_peer *amqp_conn_peer(const struct amqp_conn *c)
{
    return &c->priv->peer;
}

static void take_peer(struct amqp_conn *c)
{
    struct amqp_conn_peer *peer = &c->priv->peer;
    endpoint_peer(c->endpoint, peer, &c->priv->peer_block);
    if (peer->max_frame_size == 0)
        peer->max_frame_size = UINT32_MAX;
    if (peer->max_frame_size < FRAME_SIZE_MIN)
        peer->max_frame_size = FRAME_SIZE_MIN;
}

void amqp_conn_open(struct amqp_conn *c)
{
    if (c->priv->state != CONN_OPENED)
        return;
    endpoint_open(c->endpoint);
    pump_endpoint(c);
    endpoint_free(&c->endpoint);
    enter_state(c, CONN_OPEN);
}

/* Act on what the endpoint has become. */
static void follow_endpoint(struct amqp_conn *c)
{
    struct amqp_conn_priv *p = c->priv;
    pump_endpoint(c);
    struct amqp_error error;
    switch (endpoint_state(c->endpoint)) {
    case ENDPOINT_START:
        return;
    case ENDPOINT_OPENED:
        if (p->state != CONN_START)
            return;
        take_peer(c);
        enter_state(c, CONN_OPENED);
        if (!p->server)
            amqp_conn_open(c);
        c->handler->opened(c);
        return;
    case ENDPOINT_CLOSED:
        endpoint_error(c->endpoint, &error);
        p->by_peer = p->state < CONN_CLOSING;
        remember_error(p, error.condition, error.description);
        endpoint_close(c->endpoint, NULL);
        pump_endpoint(c);
        enter_state(c, CONN_CLOSED);
        return;
    case ENDPOINT_FAILED:
        endpoint_error(c->endpoint, &error);
        remember_error(p, error.condition, error.description);
        enter_state(c, CONN_CLOSED);
        return;
    }
}

/* After our Close only the peer's counts; its pipelined begins and attaches would just grow Proton. */
static bool endpoint_needs(const struct amqp_conn *c, const uint8_t *frame, size_t n)
{
    if (c->priv->state < CONN_CLOSING || n < AMQP_FRAME_HEAD || frame[5] != FRAME_TYPE_AMQP || frame[4] * 4u > n)
        return true;
    struct amqp_reader r = amqp_reader(frame + frame[4] * 4u, n - frame[4] * 4u);
    uint64_t performative;
    return amqp_read_descriptor(&r, &performative) == OK &&
           (performative == AMQP_DESC_OPEN || performative == AMQP_DESC_CLOSE);
}

/* ---- input ---- */

static void frame_close(struct amqp_conn *c, struct amqp_reader body)
{
    struct amqp_conn_priv *p = c->priv;
    struct amqp_close_fields f;
    struct amqp_error_fields error;
    if (amqp_read_close(&body, &f) != OK || frame_read_error(f.error, &error) != OK) {
        amqp_conn_fail(c, "amqp:decode-error", "malformed close");
        return;
    }
    if (p->state < CONN_CLOSING) {
        p->by_peer = true;
        struct frame_ending answer = {.performative = AMQP_DESC_CLOSE};
        amqp_conn_emit(c, frame_write_ending, &answer);
    }
    if (f.has.error && p->error_condition == NULL) {
        p->error_condition = amqp_text_of(error.condition);
        p->error_description = error.has.description ? amqp_text_of(error.description) : NULL;
    }
    enter_state(c, CONN_CLOSED);
}

static struct amqp_session *session_of(struct amqp_conn *c, uint16_t channel)
{
    struct amqp_conn_priv *p = c->priv;
    if (p->last && p->last->remote_channel == channel)
        return p->last;
    struct amqp_session *s = u32map_get(&p->by_remote_channel, channel);
    if (s == NULL)
        amqp_conn_fail(c, "amqp:not-allowed", "no such channel: %u", channel);
    else
        p->last = s;
    return s;
}

static void session_frame(struct amqp_conn *c, uint16_t channel, uint64_t performative, struct amqp_reader body)
{
    struct amqp_session *s = session_of(c, channel);
    if (s == NULL)
        return;
    if (performative == AMQP_DESC_END) {
        amqp_session_frame_end(s, body);
        return;
    }
    if (s->flags & SESSION_ENDED_LOCAL)
        return; /* under way when our End was: AMQP 1.0 part 2.5.2, Ending A Session */
    switch (performative) {
    case AMQP_DESC_TRANSFER:
        amqp_receive_transfer(s, body);
        return;
    case AMQP_DESC_DISPOSITION:
        amqp_receive_disposition(s, body);
        return;
    case AMQP_DESC_FLOW:
        amqp_session_frame_flow(s, body);
        return;
    case AMQP_DESC_ATTACH:
        amqp_link_frame_attach(s, body);
        return;
    case AMQP_DESC_DETACH:
        amqp_link_frame_detach(s, body);
        return;
    }
}

static void frame(struct amqp_conn *c, const uint8_t *f, size_t size)
{
    uint16_t channel = amqp_get16(f + 6);
    size_t offset = f[4] * 4u;
    amqp_trace(c, false, f, size);
    if (f[5] != FRAME_TYPE_AMQP) {
        amqp_conn_fail(c, "amqp:connection:framing-error", "frame of type %u after the open", f[5]);
        return;
    }
    if (offset == size)
        return; /* a heartbeat */
    struct amqp_reader body = amqp_reader(f + offset, size - offset);
    uint64_t performative;
    if (amqp_read_descriptor(&body, &performative) != OK) {
        amqp_conn_fail(c, "amqp:decode-error", "a frame without a performative");
        return;
    }
    if (c->priv->state == CONN_CLOSING && performative != AMQP_DESC_CLOSE)
        return;
    switch (performative) {
    case AMQP_DESC_TRANSFER:
    case AMQP_DESC_DISPOSITION:
    case AMQP_DESC_FLOW:
    case AMQP_DESC_ATTACH:
    case AMQP_DESC_DETACH:
    case AMQP_DESC_END:
        session_frame(c, channel, performative, body);
        return;
    case AMQP_DESC_BEGIN:
        amqp_session_frame_begin(c, channel, body);
        return;
    case AMQP_DESC_CLOSE:
        frame_close(c, body);
        return;
    case AMQP_DESC_OPEN:
        amqp_conn_fail(c, "amqp:not-allowed", "a second open");
        return;
    default:
        amqp_conn_fail(c, "amqp:decode-error", "unknown performative 0x%llx", (unsigned long long)performative);
        return;
    }
}

/* Size of what comes next; 0: too little is there to tell, UINT32_MAX: it is no frame that may be. */
static size_t next_size(const struct amqp_conn *c, const uint8_t *at, size_t left)
{
    if (c->endpoint && endpoint_expects_header(c->endpoint)) {
        size_t n = left < 4 ? left : 4;
        /* Whoever speaks another protocol should be told at once, not when it has said eight octets. */
        return memcmp(at, "AMQP", n) == 0 ? 8 : left < 8 ? left : 8;
    }
    if (left < AMQP_FRAME_HEAD)
        return 0;
    uint32_t size = amqp_get32(at);
    bool fits = size >= AMQP_FRAME_HEAD && size <= c->priv->max_frame_size && at[4] >= 2 && at[4] * 4u <= size;
    return fits ? size : UINT32_MAX;
}

static void refuse_frame(struct amqp_conn *c, const uint8_t *at)
{
    uint32_t size = amqp_get32(at);
    if (size > c->priv->max_frame_size)
        amqp_conn_fail(c, "amqp:connection:framing-error", "frame of %u octets is above max-frame-size %u", size,
                       c->priv->max_frame_size);
    else
        amqp_conn_fail(c, "amqp:connection:framing-error", "malformed frame header: size %u, data offset %u", size,
                       at[4]);
}

static void take(struct amqp_conn *c, const uint8_t *at, size_t size)
{
    if (c->endpoint == NULL) {
        frame(c, at, size);
    } else if (endpoint_needs(c, at, size)) {
        amqp_trace_stream(c, false, at, size);
        endpoint_input(c->endpoint, at, size);
        follow_endpoint(c);
    }
}

size_t amqp_conn_input(struct amqp_conn *c, struct buffer *buf, const uint8_t *data, size_t len, size_t *need)
{
    struct amqp_conn_priv *p = c->priv;
    size_t done = 0;
    *need = 0;
    p->input = buf;
    if (len)
        p->last_input = c->now;
    while (done < len && p->state != CONN_CLOSED && p->state != CONN_OPENED) {
        size_t size = next_size(c, data + done, len - done);
        if (size == UINT32_MAX) {
            refuse_frame(c, data + done);
            break;
        }
        if (size == 0 || size > len - done) {
            *need = size ? size : AMQP_FRAME_HEAD;
            break;
        }
        take(c, data + done, size);
        done += size;
        if (output_pending(&p->out) > p->output_limit + ANSWERS_MAX)
            amqp_conn_fail(c, "amqp:resource-limit-exceeded", "too many answers wait to be read");
        if (p->end_sessions || !list_is_empty(&p->ended) || !list_is_empty(&p->finished) || !list_is_empty(&p->ready))
            amqp_conn_run_deferred(c);
    }
    p->input = NULL;
    amqp_conn_run_deferred(c);
    return p->state == CONN_CLOSED ? len : done;
}

/* ---- time ---- */

/* Half of what the peer allows: AMQP 1.0 part 2.4.5, Idle Time Out Of A Connection. A peer that allows one millisecond
 * gets one each millisecond, and not as many as a core can send. */
static mono_ms heartbeat_interval(const struct amqp_conn_priv *p)
{
    return p->peer.idle_timeout_ms > 1 ? p->peer.idle_timeout_ms / 2 : 1;
}

mono_ms amqp_conn_next_deadline(const struct amqp_conn *c)
{
    const struct amqp_conn_priv *p = c->priv;
    mono_ms due = MONO_MS_NEVER;
    if (p->state >= CONN_CLOSING)
        return p->state == CONN_CLOSED && output_pending(&p->out) == 0 ? due : p->close_due;
    if (p->idle_timeout_ms)
        due = p->last_input + p->idle_timeout_ms;
    if (p->state == CONN_OPEN && p->peer.idle_timeout_ms) {
        mono_ms heartbeat = p->last_output + heartbeat_interval(p);
        if (heartbeat < due)
            due = heartbeat;
    }
    return due;
}

void amqp_conn_tick(struct amqp_conn *c, mono_ms now)
{
    struct amqp_conn_priv *p = c->priv;
    c->now = now;
    if (p->state == CONN_CLOSED)
        return;
    if (p->state == CONN_CLOSING) {
        if (now >= p->close_due)
            enter_state(c, CONN_CLOSED);
    } else if (p->idle_timeout_ms && now - p->last_input >= p->idle_timeout_ms) {
        amqp_conn_fail(c, "amqp:resource-limit-exceeded", "local-idle-timeout expired");
    } else if (p->state == CONN_OPEN && p->peer.idle_timeout_ms && now - p->last_output >= heartbeat_interval(p)) {
        /* What waits to be written will do as a heartbeat when it leaves. */
        if (output_pending(&p->out) == 0)
            amqp_conn_emit(c, NULL, NULL);
        p->last_output = now;
    }
    amqp_conn_run_deferred(c);
}
