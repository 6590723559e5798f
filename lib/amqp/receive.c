#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>

#include "conn_priv.h"

/* ---- the session window ---- */

/* Tell the peer of the window again before it stops for want of it. */
static void check_window(struct amqp_session *s)
{
    uint32_t window = s->conn->priv->session_window;
    if (s->incoming_left > window / 2)
        return;
    uint32_t gain = window - s->held - s->incoming_left;
    if (gain > window / 8 || (gain && s->incoming_left == 0))
        amqp_session_flow_due(s);
}

void amqp_transfer_hold(struct amqp_link *lk)
{
    lk->priv->held++;
    lk->session->held++;
}

void amqp_link_release_frames(struct amqp_link *lk, uint32_t n)
{
    n = n < lk->priv->held ? n : lk->priv->held;
    lk->priv->held -= n;
    lk->session->held -= n;
    if (amqp_session_is_up(lk->session))
        check_window(lk->session);
}

/* ---- transfer (AMQP 1.0 part 2.6.12, Transferring A Message) ---- */

static void end_delivery(struct amqp_link *lk, struct amqp_delivery *d)
{
    lk->in_delivery = false;
    if (d) {
        d->complete = true;
        if (d->remote_settled && !d->tracked) {
            lk->priv->unsettled--;
            deliveries_remove(&lk->session->incoming, d);
        }
    }
    if (lk->drain && lk->credit == 0) {
        lk->drain = false;
        lk->conn->handler->drained(lk);
    }
}

/* Take one credit; without any, overdraw. Credit stays at nothing then, and never below: the delivery-count goes on by
 * itself, so what is told later is what may be sent from there on.
 * Result: false, the link has overdrawn as often as it may. */
static bool use_credit(struct amqp_link *lk)
{
    if (lk->credit)
        lk->credit--;
    else if (SERIAL_BEFORE(lk->delivery_count, lk->priv->allowed_until))
        ; /* of credit that was taken back meanwhile */
    else if (lk->overdrawn < lk->conn->priv->overdraft)
        lk->overdrawn++;
    else
        return false;
    lk->delivery_count++;
    return true;
}

/* Result: false, the first frame of a delivery breaks a rule; the link has been detached, or the session ended. */
static bool begin_delivery(struct amqp_link *lk, const struct frame_transfer *f, struct amqp_delivery **d)
{
    struct amqp_session *s = lk->session;
    *d = NULL;
    if (!f->has_id || !f->has_tag || f->tag.len > FRAME_TAG_MAX) {
        amqp_link_fail(lk, "amqp:invalid-field",
                       f->has_id ? "the first transfer of a delivery needs a delivery-tag of at most 32 octets"
                                 : "the first transfer of a delivery needs a delivery-id");
        return false;
    }
    if (!use_credit(lk)) {
        amqp_link_fail(lk, "amqp:link:transfer-limit-exceeded", "a delivery was sent without credit");
        return false;
    }
    if (!f->settled) {
        *d = deliveries_add(&s->incoming, f->id);
        if (*d == NULL) {
            amqp_session_fail(s, "amqp:invalid-field", "this delivery-id is that of an unsettled delivery");
            return false;
        }
        (*d)->link = lk;
        (*d)->started = (uint32_t)lk->conn->now;
        (*d)->state = (uint8_t)f->state.code;
        lk->priv->unsettled++;
    }
    lk->current = f->id;
    lk->current_settled = f->settled;
    lk->in_delivery = true;
    lk->priv->current_size = 0;
    return true;
}

static bool continue_delivery(struct amqp_link *lk, const struct frame_transfer *f, struct amqp_delivery **d)
{
    if (f->has_id && f->id != lk->current) {
        amqp_link_fail(lk, "amqp:invalid-field", "invalid delivery-id for a continuation transfer");
        return false;
    }
    *d = deliveries_get(&lk->session->incoming, lk->current);
    if (*d && (*d)->link != lk)
        *d = NULL;
    if (f->settled && !lk->current_settled) {
        lk->current_settled = true;
        if (*d)
            (*d)->remote_settled = true;
    }
    return true;
}

static bool size_is_allowed(struct amqp_link *lk, size_t n)
{
    struct amqp_link_priv *p = lk->priv;
    p->current_size += n;
    if (p->max_message_size == 0 || p->current_size <= p->max_message_size)
        return true;
    amqp_link_fail(lk, "amqp:link:message-size-exceeded", "the message is larger than max-message-size");
    return false;
}

/* Result: NULL, the frame is at an end: its session or link is not to have it. */
static struct amqp_link *link_of_transfer(struct amqp_session *s, const struct frame_transfer *f)
{
    if (s->incoming_left == 0) {
        amqp_session_fail(s, "amqp:session:window-violation", "incoming session window exceeded");
        return NULL;
    }
    s->incoming_left--;
    s->next_incoming_id++;
    struct amqp_link *lk = amqp_link_by_remote(s, f->handle);
    if (lk == NULL)
        return NULL;
    if (lk->flags & (AMQP_LINK_DETACHED_LOCAL | LINK_REFUSED))
        return NULL; /* under way when our detach was */
    if (lk->is_sender) {
        amqp_link_fail(lk, "amqp:not-allowed", "a transfer came on a link whose role is receiver");
        return NULL;
    }
    return lk;
}

static void take_transfer(struct amqp_link *lk, const struct frame_transfer *f, struct amqp_reader payload)
{
    struct amqp_delivery *d = NULL;
    bool first = !lk->in_delivery;
    if (!(first ? begin_delivery(lk, f, &d) : continue_delivery(lk, f, &d)))
        return;
    size_t n = amqp_left(&payload);
    if (!size_is_allowed(lk, n))
        return;
    struct amqp_transfer t;
    t.id = lk->current;
    t.message_format = f->message_format;
    t.tag = f->tag;
    t.state = f->state;
    t.payload = (struct slice){lk->conn->priv->input, payload.at, n};
    t.delivery = d;
    t.first = first;
    t.settled = lk->current_settled;
    t.more = f->more && !f->aborted;
    t.aborted = f->aborted;
    if (f->aborted && d)
        d->remote_settled = true; /* aborted deliveries are settled by that */
    lk->conn->handler->transfer(lk, &t);
    if (!t.more) {
        /* The handler may have settled it, or begun to track it. */
        d = deliveries_get(&lk->session->incoming, lk->current);
        end_delivery(lk, d && d->link == lk ? d : NULL);
    }
}

void amqp_receive_transfer(struct amqp_session *s, struct amqp_reader body)
{
    struct frame_transfer f;
    if (frame_read_transfer(&body, &f) != OK) {
        amqp_conn_fail(s->conn, "amqp:decode-error", "malformed transfer");
        return;
    }
    struct amqp_link *lk = link_of_transfer(s, &f);
    if (lk)
        take_transfer(lk, &f, body);
    if (!(s->flags & SESSION_ENDED_LOCAL))
        check_window(s);
}

struct amqp_delivery *amqp_delivery_track(struct amqp_link *lk, struct amqp_transfer *t)
{
    if (t->delivery == NULL) {
        t->delivery = deliveries_add(&lk->session->incoming, t->id);
        if (t->delivery == NULL)
            return NULL;
        t->delivery->link = lk;
        t->delivery->started = (uint32_t)lk->conn->now;
        t->delivery->remote_settled = true;
        lk->priv->unsettled++;
    }
    t->delivery->tracked = true;
    return t->delivery;
}

struct amqp_delivery *amqp_link_delivery(struct amqp_link *lk, uint32_t id)
{
    struct amqp_delivery *d = deliveries_get(&lk->session->incoming, id);
    return d && d->link == lk ? d : NULL;
}

static void forget(struct amqp_link *lk, struct amqp_delivery *d)
{
    lk->priv->unsettled--;
    deliveries_remove(&lk->session->incoming, d);
}

void amqp_link_forget(struct amqp_link *lk, uint32_t id)
{
    struct amqp_delivery *d = amqp_link_delivery(lk, id);
    if (d)
        forget(lk, d);
}

/* ---- saying dispositions (AMQP 1.0 part 2.7.6, Disposition) ---- */

void amqp_settled_later(struct amqp_session *s, struct settled_batch *b, uint32_t first, uint32_t last, uint8_t state)
{
    struct settled_range *tail = b->count ? &b->at[b->count - 1] : NULL;
    if (tail && tail->state == state && tail->last + 1 == first) {
        tail->last = last;
        return;
    }
    if (tail && SERIAL_BEFORE(first, tail->last))
        b->unsorted = true;
    if (b->count == b->capacity) {
        b->capacity = b->capacity ? b->capacity * 2 : 4;
        b->at = xrealloc(b->at, b->capacity * sizeof *b->at);
    }
    b->at[b->count++] = (struct settled_range){first, last, state};
    if (!list_is_linked(&s->dirty))
        list_append(&s->conn->priv->dirty_sessions, &s->dirty);
    amqp_conn_mark_dirty(s->conn);
}

static void say(struct amqp_session *s, bool as_receiver, bool settled, uint32_t first, uint32_t last,
                const struct amqp_state *state)
{
    struct frame_disposition f = {.role = as_receiver, .settled = settled, .first = first, .last = last};
    if (state)
        f.state = *state;
    if (amqp_session_emit(s, frame_write_disposition, &f))
        return;
    /* The fields do not fit the peer's frames; that the outcome arrives matters more. */
    f.state.raw = (struct slice){0};
    amqp_session_emit(s, frame_write_disposition, &f);
}

static int by_first(const void *a, const void *b)
{
    const struct settled_range *x = a, *y = b;
    return SERIAL_BEFORE(x->first, y->first) ? -1 : x->first != y->first;
}

static void flush_batch(struct amqp_session *s, struct settled_batch *b, bool as_receiver)
{
    if (b->unsorted)
        qsort(b->at, b->count, sizeof *b->at, by_first);
    for (uint32_t i = 0; i < b->count;) {
        struct settled_range r = b->at[i++];
        while (i < b->count && b->at[i].state == r.state && b->at[i].first == r.last + 1)
            r.last = b->at[i++].last;
        say(s, as_receiver, true, r.first, r.last, &(struct amqp_state){.code = r.state});
    }
    b->count = 0;
    b->unsorted = false;
    if (b->capacity > 64) {
        free(b->at);
        *b = (struct settled_batch){0};
    }
}

void amqp_session_say_settled(struct amqp_session *s)
{
    flush_batch(s, &s->said_incoming, true);
    flush_batch(s, &s->said_outgoing, false);
}

void amqp_session_flush(struct amqp_session *s)
{
    if (!amqp_session_is_up(s)) {
        s->said_incoming.count = s->said_outgoing.count = 0;
        return;
    }
    amqp_session_say_settled(s);
    if (s->flags & SESSION_FLOW_DUE) {
        struct amqp_flow_fields f;
        amqp_session_fill_flow(s, &f);
        amqp_session_emit(s, frame_write_flow, &f);
    }
}

/* Adjoining deliveries that are being settled with one state. */
struct run {
    struct amqp_link *link;
    const struct amqp_state *state;
    bool any;
    uint32_t first, last;
};

static void end_run(struct run *r)
{
    struct amqp_session *s = r->link->session;
    if (!r->any)
        return;
    r->any = false;
    if (r->state && r->state->raw.len)
        say(s, true, true, r->first, r->last, r->state);
    else
        amqp_settled_later(s, &s->said_incoming, r->first, r->last,
                           r->state ? (uint8_t)r->state->code : AMQP_STATE_NONE);
}

static bool settle_one(struct amqp_delivery *d, void *arg)
{
    struct run *r = arg;
    if (d->link != r->link)
        return true;
    if (!d->remote_settled) {
        if (r->any && r->last + 1 != d->id)
            end_run(r);
        if (!r->any)
            r->first = d->id;
        r->any = true;
        r->last = d->id;
    }
    forget(r->link, d);
    return true;
}

void amqp_link_settle(struct amqp_link *lk, uint32_t first, uint32_t last, const struct amqp_state *state)
{
    if (!amqp_session_is_up(lk->session))
        return;
    struct run r = {.link = lk, .state = amqp_outcomes_state(&lk->priv->outcomes, state)};
    if (first == last) {
        struct amqp_delivery *d = deliveries_get(&lk->session->incoming, first);
        if (d)
            settle_one(d, &r);
    } else {
        deliveries_walk(&lk->session->incoming, first, last, settle_one, &r);
    }
    end_run(&r);
}

void amqp_link_update(struct amqp_link *lk, uint32_t id, const struct amqp_state *state)
{
    struct amqp_delivery *d = amqp_link_delivery(lk, id);
    if (d && !d->remote_settled && amqp_session_is_up(lk->session))
        say(lk->session, true, false, id, id, amqp_outcomes_state(&lk->priv->outcomes, state));
}

/* ---- hearing dispositions ---- */

struct heard {
    struct amqp_session *session;
    const struct frame_disposition *f;
};

/* A receiver says something about what we have sent. */
static bool hear_receiver(struct amqp_delivery *d, void *arg)
{
    const struct heard *h = arg;
    struct amqp_session *s = h->session;
    uint32_t id = d->id;
    d->state = (uint8_t)h->f->state.code;
    d->remote_settled = h->f->settled;
    s->conn->handler->disposition(d, &h->f->state, h->f->settled);
    /* The handler may have settled it itself. */
    if (h->f->settled && (d = deliveries_get(&s->outgoing, id))) {
        d->link->priv->unsettled--;
        deliveries_remove(&s->outgoing, d);
    }
    return true;
}

/* A sender says something about what we have received. */
static bool hear_sender(struct amqp_delivery *d, void *arg)
{
    const struct heard *h = arg;
    struct amqp_session *s = h->session;
    uint32_t id = d->id;
    if (h->f->state.code != AMQP_STATE_NONE)
        d->state = (uint8_t)h->f->state.code;
    if (!h->f->settled || d->remote_settled)
        return true;
    d->remote_settled = true;
    s->conn->handler->peer_settled(d, &h->f->state);
    /* One that is still coming in stays until its last frame. */
    if ((d = deliveries_get(&s->incoming, id)) && d->complete && !d->tracked)
        forget(d->link, d);
    return true;
}

void amqp_receive_disposition(struct amqp_session *s, struct amqp_reader body)
{
    struct frame_disposition f;
    if (frame_read_disposition(&body, &f) != OK) {
        amqp_conn_fail(s->conn, "amqp:decode-error", "malformed disposition");
        return;
    }
    if (SERIAL_BEFORE(f.last, f.first)) {
        amqp_session_fail(s, "amqp:invalid-field", "disposition: last comes before first");
        return;
    }
    struct heard h = {s, &f};
    if (!f.role) {
        deliveries_walk(&s->incoming, f.first, f.last, hear_sender, &h);
        return;
    }
    deliveries_walk(&s->outgoing, f.first, f.last, hear_receiver, &h);
    if (s->conn->handler->disposed)
        s->conn->handler->disposed(s->conn);
}
