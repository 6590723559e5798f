#include <stdlib.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

#include "conn_priv.h"

/* We hold no outgoing frames back for the peer's sake, so this says nothing but "many" (AMQP 1.0 part 2.5.6, Session
 * Flow Control). */
#define OUTGOING_WINDOW INT32_MAX

static struct amqp_session *session_new(struct amqp_conn *c)
{
    struct amqp_conn_priv *p = c->priv;
    struct amqp_session *s = xcalloc(1, sizeof *s);
    s->conn = c;
    list_init(&s->node);
    list_init(&s->dirty);
    list_init(&s->waiting);
    amqp_numbers_init(&s->links);
    u32map_init(&s->by_remote_handle);
    u32map_init(&s->by_name);
    s->incoming_left = p->session_window;
    s->first_outgoing_id = s->next_outgoing_id = p->first_transfer_id;
    s->next_delivery_id = p->first_delivery_id;
    s->local_channel = (uint16_t)amqp_numbers_take(&p->channels, s);
    list_append(&p->sessions, &s->node);
    return s;
}

void amqp_session_free(struct amqp_session *s)
{
    struct amqp_conn_priv *p = s->conn->priv;
    ASSERT(s->links.count == 0);
    if ((s->flags & SESSION_OURS) && s->conn->handler->session_gone)
        s->conn->handler->session_gone(s->conn, s);
    if (p->last == s)
        p->last = NULL;
    if ((s->flags & SESSION_BEGUN_REMOTE) && !(s->flags & SESSION_ENDED_REMOTE))
        u32map_remove(&p->by_remote_channel, s->remote_channel);
    amqp_numbers_give(&p->channels, s->local_channel);
    list_remove(&s->node);
    list_remove(&s->dirty);
    amqp_numbers_fini(&s->links);
    u32map_fini(&s->by_remote_handle);
    u32map_fini(&s->by_name);
    deliveries_fini(&s->incoming);
    deliveries_fini(&s->outgoing);
    free(s->said_incoming.at);
    free(s->said_outgoing.at);
    free(s);
}

static bool channel_is_allowed(const struct amqp_session *s)
{
    const struct amqp_conn_priv *p = s->conn->priv;
    return s->local_channel <= p->peer.channel_max;
}

static void emit_begin(struct amqp_session *s)
{
    struct amqp_conn_priv *p = s->conn->priv;
    struct amqp_begin_fields f = {0};
    if (s->flags & SESSION_BEGUN_REMOTE)
        AMQP_SET(&f, remote_channel, s->remote_channel);
    AMQP_SET(&f, next_outgoing_id, s->next_outgoing_id);
    AMQP_SET(&f, incoming_window, p->session_window);
    AMQP_SET(&f, outgoing_window, OUTGOING_WINDOW);
    if (p->max_links)
        AMQP_SET(&f, handle_max, p->max_links - 1);
    amqp_session_emit(s, frame_write_begin, &f);
    s->flags |= SESSION_BEGUN_LOCAL;
}

enum err amqp_session_begin(struct amqp_conn *c, struct amqp_session **out)
{
    if (c->priv->state < CONN_OPEN)
        return ERR_AGAIN;
    if (!amqp_conn_is_up(c))
        return ERR_CLOSED;
    struct amqp_session *s = session_new(c);
    if (!channel_is_allowed(s)) {
        amqp_session_free(s);
        return ERR_LIMIT;
    }
    emit_begin(s);
    s->flags |= SESSION_OURS;
    *out = s;
    return OK;
}

void amqp_session_hurry(struct amqp_session *s)
{
    if (s->flags & SESSION_URGENT)
        return;
    s->flags |= SESSION_URGENT;
    s->urgent_from = output_hurry(&s->conn->priv->out);
}

/* The session that a begin is about: a new one, or ours that is answered. NULL: the connection has been closed for it.
 */
static struct amqp_session *session_of_begin(struct amqp_conn *c, uint16_t channel, const struct amqp_begin_fields *f)
{
    struct amqp_conn_priv *p = c->priv;
    if (channel > p->channel_max) {
        amqp_conn_fail(c, "amqp:connection:framing-error", "remote channel %u is above negotiated channel_max %u.",
                       channel, p->channel_max);
        return NULL;
    }
    if (u32map_get(&p->by_remote_channel, channel)) {
        amqp_conn_fail(c, "amqp:not-allowed", "channel %u has a session already", channel);
        return NULL;
    }
    struct amqp_session *s;
    if (f->has.remote_channel) {
        s = amqp_numbers_get(&p->channels, f->remote_channel);
        if (s && !(s->flags & SESSION_BEGUN_REMOTE))
            return s;
        amqp_conn_fail(c, "amqp:invalid-field", "begin reply to unknown channel %u.", f->remote_channel);
        return NULL;
    }
    s = session_new(c);
    if (channel_is_allowed(s))
        return s;
    amqp_session_free(s);
    amqp_conn_fail(c, "amqp:resource-limit-exceeded", "your channel-max %u leaves no channel to answer on",
                   p->peer.channel_max);
    return NULL;
}

void amqp_session_frame_begin(struct amqp_conn *c, uint16_t channel, struct amqp_reader body)
{
    struct amqp_begin_fields f;
    if (amqp_read_begin(&body, &f) != OK) {
        amqp_conn_fail(c, "amqp:decode-error", "malformed begin");
        return;
    }
    struct amqp_session *s = session_of_begin(c, channel, &f);
    if (s == NULL)
        return;
    s->flags |= SESSION_BEGUN_REMOTE;
    s->remote_channel = channel;
    u32map_put(&c->priv->by_remote_channel, channel, s);
    s->next_incoming_id = f.next_outgoing_id;
    s->outgoing_left = f.incoming_window;
    s->remote_handle_max = f.handle_max;
    if (!(s->flags & SESSION_BEGUN_LOCAL))
        emit_begin(s);
    else
        amqp_send_wake(c, &s->waiting);
}

static void emit_end(struct amqp_session *s, const struct amqp_error *error)
{
    struct frame_ending f = {.performative = AMQP_DESC_END, .error = error};
    if (!amqp_session_emit(s, frame_write_ending, &f)) {
        struct amqp_error bare = {.condition = error->condition};
        f.error = &bare;
        amqp_session_emit(s, frame_write_ending, &f);
    }
    s->flags |= SESSION_ENDED_LOCAL;
}

/* Its links are told at the next chance, and it goes when both sides have ended. */
static void session_is_over(struct amqp_session *s)
{
    list_remove(&s->node);
    list_append(&s->conn->priv->ended, &s->node);
}

void amqp_session_end(struct amqp_session *s, const struct amqp_error *error)
{
    if (!amqp_session_is_up(s))
        return;
    amqp_session_say_settled(s);
    emit_end(s, error);
    session_is_over(s);
}

void amqp_session_fail(struct amqp_session *s, const char *condition, const char *description)
{
    amqp_session_end(s, &(struct amqp_error){.condition = condition, .description = description});
}

static void tell_ended(struct amqp_session *s, const struct amqp_error_fields *f)
{
    if (!(s->flags & SESSION_OURS) || !s->conn->handler->session_ended)
        return;
    if (!f->condition.len) {
        s->conn->handler->session_ended(s->conn, s, NULL);
        return;
    }
    char *condition = amqp_text_of(f->condition);
    char *description = f->has.description ? amqp_text_of(f->description) : NULL;
    struct amqp_error error = {.condition = condition, .description = description, .info = f->info};
    s->conn->handler->session_ended(s->conn, s, &error);
    free(condition);
    free(description);
}

void amqp_session_frame_end(struct amqp_session *s, struct amqp_reader body)
{
    struct amqp_end_fields f;
    struct amqp_error_fields error;
    if (amqp_read_end(&body, &f) != OK || frame_read_error(f.error, &error) != OK) {
        amqp_conn_fail(s->conn, "amqp:decode-error", "malformed end");
        return;
    }
    struct amqp_conn_priv *p = s->conn->priv;
    s->flags |= SESSION_ENDED_REMOTE;
    u32map_remove(&p->by_remote_channel, s->remote_channel);
    p->last = NULL;
    if (!(s->flags & SESSION_ENDED_LOCAL)) {
        tell_ended(s, &error);
        emit_end(s, NULL);
    }
    session_is_over(s);
}

/* ---- links ---- */

bool amqp_session_is_open(const struct amqp_session *s)
{
    return amqp_session_is_up(s);
}

uint16_t amqp_session_number(const struct amqp_session *s)
{
    return s->local_channel;
}

struct amqp_link *amqp_session_next_link(const struct amqp_session *s, uint32_t *position)
{
    while (*position < s->links.used) {
        struct amqp_link *lk = amqp_numbers_get(&s->links, (*position)++);
        if (lk && !(lk->flags & LINK_REFUSED))
            return lk;
    }
    return NULL;
}

static bool tell_lost(struct amqp_delivery *d, void *arg)
{
    struct amqp_session *s = arg;
    d->link->priv->unsettled--;
    s->conn->handler->lost(d);
    deliveries_remove(&s->outgoing, d);
    return true;
}

void amqp_session_drop_links(struct amqp_session *s)
{
    /* In one walk for all links, rather than one for each. */
    deliveries_walk_all(&s->outgoing, tell_lost, s);
    for (uint32_t i = 0; s->links.count; i++) {
        struct amqp_link *lk = amqp_numbers_get(&s->links, i);
        if (lk)
            amqp_link_drop(lk);
    }
}

/* ---- flow ---- */

void amqp_session_flow_due(struct amqp_session *s)
{
    if (s->flags & SESSION_FLOW_DUE)
        return;
    s->flags |= SESSION_FLOW_DUE;
    if (!list_is_linked(&s->dirty))
        list_append(&s->conn->priv->dirty_sessions, &s->dirty);
    amqp_conn_mark_dirty(s->conn);
}

void amqp_session_fill_flow(struct amqp_session *s, struct amqp_flow_fields *f)
{
    *f = (struct amqp_flow_fields){0};
    s->incoming_left = s->conn->priv->session_window - s->held;
    s->flags &= (uint16_t)~SESSION_FLOW_DUE;
    if (s->flags & SESSION_BEGUN_REMOTE)
        AMQP_SET(f, next_incoming_id, s->next_incoming_id);
    AMQP_SET(f, incoming_window, s->incoming_left);
    AMQP_SET(f, next_outgoing_id, s->next_outgoing_id);
    AMQP_SET(f, outgoing_window, OUTGOING_WINDOW);
}

/* AMQP 1.0 part 2.5.6, Session Flow Control: remote-incoming-window. */
static void take_window(struct amqp_session *s, const struct amqp_flow_fields *f)
{
    uint32_t known = f->has.next_incoming_id ? f->next_incoming_id : s->first_outgoing_id;
    uint32_t under_way = s->next_outgoing_id - known;
    if ((int32_t)under_way < 0)
        under_way = 0; /* it claims frames that we have not sent */
    s->outgoing_left = f->incoming_window > under_way ? f->incoming_window - under_way : 0;
    if (s->outgoing_left)
        amqp_send_wake(s->conn, &s->waiting);
}

void amqp_session_frame_flow(struct amqp_session *s, struct amqp_reader body)
{
    struct amqp_flow_fields f;
    if (amqp_read_flow(&body, &f) != OK) {
        amqp_conn_fail(s->conn, "amqp:decode-error", "malformed flow");
        return;
    }
    take_window(s, &f);
    if (f.has.handle) {
        struct amqp_link *lk = amqp_link_by_remote(s, f.handle);
        if (lk)
            amqp_link_frame_flow(lk, &f);
    } else if (f.echo) {
        amqp_session_flow_due(s);
    }
}
