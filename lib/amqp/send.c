#include <endian.h>
#include <string.h>
#include <trunkline/base/assert.h>

#include "conn_priv.h"
#include "trace.h"

/* Payloads from here on are sent from where they lie; below, copying costs less than another piece in the queue. */
#define SHARE_MIN 2048
/* Longest head of a transfer frame whose state has no fields. */
#define HEAD_MAX 96

/* ---- telling the owner ---- */

void amqp_send_ready(struct amqp_link *lk)
{
    if (lk->flags & (LINK_READY | LINK_FINISHED))
        return;
    list_remove(&lk->node);
    lk->flags = (uint16_t)((lk->flags & ~AMQP_LINK_WAITING) | LINK_READY);
    list_append(&lk->conn->priv->ready, &lk->node);
    amqp_conn_mark_dirty(lk->conn);
}

void amqp_send_tell(struct amqp_link *lk)
{
    lk->flags &= (uint16_t)~LINK_READY;
    if (!amqp_link_is_up(lk))
        return;
    if (lk->is_sender) {
        if (lk->flags & LINK_ABORTING)
            amqp_link_abort(lk);
        lk->conn->handler->sendable(lk);
        return;
    }
    if (lk->flags & AMQP_LINK_DIRTY)
        list_append(&lk->conn->priv->dirty_links, &lk->node);
    if (lk->drain && lk->credit == 0) {
        lk->drain = false;
        lk->conn->handler->drained(lk);
    }
}

void amqp_send_wake(struct amqp_conn *c, struct list *waiting)
{
    (void)c;
    while (!list_is_empty(waiting))
        amqp_send_ready(list_first(waiting, struct amqp_link, node));
}

static void wait_for(struct amqp_link *lk, struct list *waiting)
{
    if (lk->flags & (LINK_READY | LINK_FINISHED))
        return;
    list_remove(&lk->node);
    lk->flags |= AMQP_LINK_WAITING;
    /* Behind those that are as urgent. */
    struct list *before = waiting->prev;
    while (before != waiting && list_entry(before, struct amqp_link, node)->urgency < lk->urgency)
        before = before->prev;
    list_insert_before(before->next, &lk->node);
}

/* Whether a frame may go out now; else the link waits for what stops it. */
static bool may_send_frame(struct amqp_link *lk)
{
    struct amqp_conn_priv *p = lk->conn->priv;
    if (lk->session->outgoing_left == 0) {
        wait_for(lk, &lk->session->waiting);
        return false;
    }
    if (amqp_session_outq(lk->session)->pending >= p->output_limit) {
        wait_for(lk, &p->waiting_output);
        return false;
    }
    return true;
}

enum amqp_hindrance amqp_link_hindrance(const struct amqp_link *lk)
{
    const struct amqp_conn_priv *p = lk->conn->priv;
    if (!lk->is_sender || !amqp_link_is_up(lk))
        return AMQP_HINDRANCE_NONE;
    if (lk->credit == 0 && !lk->in_delivery)
        return AMQP_HINDRANCE_CREDIT;
    if (lk->session->outgoing_left == 0)
        return AMQP_HINDRANCE_WINDOW;
    return amqp_session_outq(lk->session)->pending >= p->output_limit ? AMQP_HINDRANCE_OUTPUT : AMQP_HINDRANCE_NONE;
}

uint32_t amqp_link_sendable(struct amqp_link *lk)
{
    if (!lk->is_sender || lk->credit == 0 || lk->in_delivery || !amqp_link_is_up(lk) || !may_send_frame(lk))
        return 0;
    return lk->credit < lk->session->outgoing_left ? lk->credit : lk->session->outgoing_left;
}

uint32_t amqp_link_unsettled(const struct amqp_link *lk)
{
    return lk->priv ? lk->priv->unsettled : 0;
}

/* ---- transfer frames (AMQP 1.0 part 2.7.5, Transfer) ---- */

static inline uint8_t *put_uint(uint8_t *p, uint32_t v)
{
    if (v == 0) {
        *p++ = AMQP_CODE_UINT0;
    } else if (v <= 255) {
        *p++ = AMQP_CODE_SMALLUINT;
        *p++ = (uint8_t)v;
    } else {
        *p = AMQP_CODE_UINT;
        amqp_put32(p + 1, v);
        p += 5;
    }
    return p;
}

/* What a frame's head says besides its payload. */
struct head {
    bool first, aborted;
    const struct amqp_send *m; /* first */
    const uint8_t *tag;
    uint8_t tag_len;
};

/* Most tags are ours, of eight octets; of a length that is only known at run time, gcc would make a slow string
 * instruction. */
static inline uint8_t *put_tag(uint8_t *p, const struct head *h)
{
    if (h->tag_len == 8) {
        memcpy(p, h->tag, 8);
        return p + 8;
    }
    for (unsigned i = 0; i < h->tag_len; i++)
        p[i] = h->tag[i];
    return p + h->tag_len;
}

/* Write a head whose list is shorter than 256 octets, with `more` unset; set_more() turns it on. Result: its length. */
static size_t write_head(struct amqp_link *lk, uint8_t *at, const struct head *h, uint8_t **more)
{
    uint8_t *p = at + AMQP_FRAME_HEAD;
    at[4] = 2;
    at[5] = FRAME_TYPE_AMQP;
    amqp_put16(at + 6, lk->session->local_channel);
    memcpy(p, (const uint8_t[]){0, AMQP_CODE_SMALLULONG, AMQP_DESC_TRANSFER, AMQP_CODE_LIST8, 0, 0}, 6);
    uint8_t *list = p + 4;
    p = put_uint(p + 6, lk->local_handle);
    p = put_uint(p, lk->current);
    if (h->first) {
        *p++ = AMQP_CODE_VBIN8;
        *p++ = h->tag_len;
        p = put_uint(put_tag(p, h), h->m->message_format);
    } else {
        *p++ = AMQP_CODE_NULL;
        *p++ = AMQP_CODE_NULL;
    }
    *p++ = lk->current_settled || h->aborted ? AMQP_CODE_TRUE : AMQP_CODE_FALSE;
    *more = p;
    *p++ = AMQP_CODE_FALSE;
    uint8_t count = 6;
    if (h->first && h->m->state && h->m->state->code != AMQP_STATE_NONE && h->m->state->raw.len == 0) {
        memcpy(p,
               (const uint8_t[]){AMQP_CODE_NULL, 0, AMQP_CODE_SMALLULONG, (uint8_t)h->m->state->code, AMQP_CODE_LIST0},
               5);
        p += 5;
        count = 8;
    } else if (h->aborted) {
        memcpy(p, (const uint8_t[]){AMQP_CODE_NULL, AMQP_CODE_NULL, AMQP_CODE_NULL, AMQP_CODE_TRUE}, 4);
        p += 4;
        count = 10;
    }
    list[0] = (uint8_t)(p - list - 1);
    list[1] = count;
    return (size_t)(p - at);
}

/* The same for a state with fields, of any size. Result: length; 0: it does not fit `room`. */
static size_t write_head_with_fields(struct amqp_link *lk, uint8_t *at, size_t room, const struct head *h,
                                     uint8_t **more)
{
    struct amqp_writer w = amqp_writer(at, room);
    amqp_write_frame_begin(&w, FRAME_TYPE_AMQP, lk->session->local_channel);
    amqp_write_descriptor(&w, AMQP_DESC_TRANSFER);
    size_t l = amqp_write_list_begin(&w);
    amqp_write_uint(&w, lk->local_handle);
    amqp_write_uint(&w, lk->current);
    amqp_write_binary(&w, h->tag, h->tag_len);
    amqp_write_uint(&w, h->m->message_format);
    amqp_write_bool(&w, lk->current_settled);
    size_t before_end = w.len, more_at = w.len;
    amqp_write_bool(&w, false);
    amqp_write_null(&w);
    amqp_write_raw(&w, h->m->state->raw.data, h->m->state->raw.len);
    size_t inside = w.len - before_end;
    amqp_write_list_end(&w, l, 8);
    if (!amqp_writer_fits(&w))
        return 0;
    more_at = w.len - inside; /* closing a list32 moves what is inside */
    *more = at + more_at;
    return w.len;
}

/* Reading position in the parts of a payload. */
struct cursor {
    const struct slice *part;
    size_t offset;
};

static void copy_payload(struct cursor *c, uint8_t *to, size_t n)
{
    while (n) {
        size_t some = c->part->len - c->offset;
        some = some < n ? some : n;
        if (some)
            memcpy(to, c->part->data + c->offset, some);
        to += some;
        n -= some;
        c->offset += some;
        if (c->offset == c->part->len) {
            c->part++;
            c->offset = 0;
        }
    }
}

static void share_payload(struct outq *q, struct cursor *c, size_t n)
{
    while (n) {
        size_t some = c->part->len - c->offset;
        some = some < n ? some : n;
        if (c->part->buf && some >= SHARE_MIN)
            outq_share(q, c->part->buf, c->part->data + c->offset, some);
        else if (some)
            outq_copy(q, c->part->data + c->offset, some);
        n -= some;
        c->offset += some;
        if (c->offset == c->part->len) {
            c->part++;
            c->offset = 0;
        }
    }
}

/* The head of a first frame whose state has fields. */
static __attribute__((noinline)) size_t write_large_head(struct amqp_link *lk, uint8_t *at, size_t room,
                                                         const struct head *h, uint8_t **more)
{
    size_t n = write_head_with_fields(lk, at, room, h, more);
    if (n && n < lk->conn->priv->peer.max_frame_size)
        return n;
    /* They do not fit the peer's frames. */
    struct amqp_state bare = {.code = h->m->state->code};
    struct amqp_send m = *h->m;
    struct head smaller = *h;
    m.state = &bare;
    smaller.m = &m;
    return write_head(lk, at, &smaller, more);
}

/* Queue one frame with as much of the payload as it can hold. Result: octets of payload in it. */
static size_t send_frame(struct amqp_link *lk, const struct head *h, struct cursor *payload, size_t left,
                         bool more_follows)
{
    struct amqp_conn *c = lk->conn;
    struct outq *q = amqp_session_outq(lk->session);
    size_t fields = h->first && h->m->state ? h->m->state->raw.len : 0, head_room = HEAD_MAX + fields;
    bool copy = left < SHARE_MIN;
    uint8_t *at = outq_room(q, head_room + (copy ? left : 0)), *more;
    size_t head = fields ? write_large_head(lk, at, head_room, h, &more) : write_head(lk, at, h, &more);
    size_t n = left <= c->priv->peer.max_frame_size - head ? left : c->priv->peer.max_frame_size - head;
    if (n < left || more_follows)
        *more = AMQP_CODE_TRUE;
    amqp_put32(at, (uint32_t)(head + n));
    if (copy) {
        copy_payload(payload, at + head, n);
        amqp_trace(c, true, at, head + n);
        outq_commit(q, head + n);
    } else {
        amqp_trace(c, true, at, head);
        outq_commit(q, head);
        share_payload(q, payload, n);
    }
    amqp_session_queued(lk->session, q);
    lk->session->next_outgoing_id++;
    lk->session->outgoing_left--;
    return n;
}

static struct amqp_delivery *start_delivery(struct amqp_link *lk, const struct amqp_send *m)
{
    struct amqp_session *s = lk->session;
    struct amqp_delivery *d = NULL;
    if (!m->settled) {
        /* After the wrap a delivery may still be there that nobody has settled for 2^32 others. */
        while ((d = deliveries_add(&s->outgoing, s->next_delivery_id)) == NULL)
            s->next_delivery_id++;
        d->link = lk;
        d->started = (uint32_t)lk->conn->now;
        lk->priv->unsettled++;
    }
    lk->current = s->next_delivery_id++;
    lk->current_settled = m->settled;
    lk->in_delivery = true;
    lk->credit--;
    lk->delivery_count++;
    return d;
}

static void finish_delivery(struct amqp_link *lk)
{
    lk->in_delivery = false;
    if (lk->current_settled)
        return;
    struct amqp_delivery *d = deliveries_get(&lk->session->outgoing, lk->current);
    if (d && d->link == lk)
        d->complete = true;
}

enum err amqp_link_send(struct amqp_link *lk, const struct amqp_send *m, size_t *sent, struct amqp_delivery **d)
{
    ASSERT(m->tag_len <= FRAME_TAG_MAX);
    *sent = 0;
    if (!amqp_link_is_up(lk))
        return ERR_CLOSED;
    if (lk->flags & LINK_ABORTING)
        amqp_link_abort(lk);
    if (!may_send_frame(lk) || (lk->flags & LINK_ABORTING) || (!lk->in_delivery && lk->credit == 0))
        return ERR_AGAIN;
    size_t left = 0;
    for (unsigned i = 0; i < m->part_count; i++)
        left += m->parts[i].len;
    uint64_t own_tag;
    struct head h = {.m = m};
    if (!lk->in_delivery) {
        struct amqp_delivery *entry = start_delivery(lk, m);
        if (d)
            *d = entry;
        own_tag = htole64(lk->session->next_tag);
        h.first = true;
        h.tag = m->tag ? m->tag : (const uint8_t *)&own_tag;
        h.tag_len = m->tag ? m->tag_len : sizeof own_tag;
        lk->session->next_tag += m->tag == NULL;
    } else if (left == 0 && m->more) {
        return OK;
    }
    struct cursor payload = {m->parts, 0};
    while (m->part_count && payload.part < m->parts + m->part_count && payload.part->len == 0)
        payload.part++;
    for (;;) {
        size_t n = send_frame(lk, &h, &payload, left, m->more);
        h.first = false;
        *sent += n;
        left -= n;
        if (left == 0)
            break;
        if (!may_send_frame(lk)) {
            amqp_conn_mark_dirty(lk->conn);
            return ERR_AGAIN;
        }
    }
    if (!m->more)
        finish_delivery(lk);
    amqp_conn_mark_dirty(lk->conn);
    return OK;
}

void amqp_send_abort(struct amqp_link *lk)
{
    struct amqp_session *s = lk->session;
    lk->current_settled = true;
    if (s->outgoing_left == 0) {
        lk->flags |= LINK_ABORTING;
        wait_for(lk, &s->waiting);
        return;
    }
    lk->flags &= (uint16_t)~LINK_ABORTING;
    struct cursor nothing = {0};
    struct head h = {.aborted = true};
    send_frame(lk, &h, &nothing, 0, false);
    lk->in_delivery = false;
    amqp_conn_mark_dirty(lk->conn);
}

void amqp_link_abort(struct amqp_link *lk)
{
    if (!lk->is_sender || !lk->in_delivery || !amqp_link_is_up(lk))
        return;
    struct amqp_session *s = lk->session;
    struct amqp_delivery *d = lk->current_settled ? NULL : deliveries_get(&s->outgoing, lk->current);
    if (d && d->link == lk) {
        lk->priv->unsettled--;
        deliveries_remove(&s->outgoing, d);
    }
    amqp_send_abort(lk);
}

void amqp_link_drained(struct amqp_link *lk)
{
    if (!lk->is_sender || !lk->drain || lk->in_delivery || !amqp_link_is_up(lk))
        return;
    lk->delivery_count += lk->credit;
    lk->credit = 0;
    amqp_link_send_flow(lk); /* still with drain set: it answers that flow */
    lk->drain = false;
}

void amqp_link_give_back(struct amqp_link *lk, uint32_t n)
{
    if (!lk->is_sender || !amqp_link_is_up(lk))
        return;
    n = n < lk->credit ? n : lk->credit;
    lk->delivery_count += n;
    lk->credit -= n;
    bool answers_drain = lk->drain && lk->credit == 0;
    if (n || answers_drain)
        amqp_link_send_flow(lk);
    if (answers_drain)
        lk->drain = false;
}

struct search {
    const struct amqp_link *link;
    const uint64_t *token;
    struct amqp_delivery *found;
};

static bool is_sought(struct amqp_delivery *d, void *arg)
{
    struct search *s = arg;
    if (d->link != s->link || d->token[0] != s->token[0] || d->token[1] != s->token[1])
        return true;
    s->found = d;
    return false;
}

struct amqp_delivery *amqp_link_find(struct amqp_link *lk, const uint64_t token[2])
{
    struct search s = {.link = lk, .token = token};
    if (lk->priv && lk->priv->unsettled)
        deliveries_walk_all(&lk->session->outgoing, is_sought, &s);
    return s.found;
}

static bool give_up(struct amqp_delivery *d, void *arg)
{
    struct amqp_link *lk = arg;
    if (d->link != lk)
        return true;
    lk->conn->handler->lost(d);
    if (d->complete) {
        amqp_delivery_settle(d);
    } else {
        lk->priv->unsettled--;
        deliveries_remove(&lk->session->outgoing, d);
    }
    return lk->priv->unsettled > 0;
}

void amqp_link_give_up(struct amqp_link *lk)
{
    if (!lk->priv)
        return;
    if (lk->priv->unsettled)
        deliveries_walk_all(&lk->session->outgoing, give_up, lk);
    if (lk->in_delivery)
        amqp_link_abort(lk);
}

void amqp_delivery_settle(struct amqp_delivery *d)
{
    struct amqp_session *s = d->link->session;
    d->link->priv->unsettled--;
    if (amqp_session_is_up(s) && !d->remote_settled)
        amqp_settled_later(s, &s->said_outgoing, d->id, d->id, d->state);
    deliveries_remove(&s->outgoing, d);
}
