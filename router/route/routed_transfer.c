/* Flow, deliveries and outcomes of routed links. */
#include "routed_link_priv.h"

#include <router/route/here.h>
#include <router/route/message_log.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/buffer.h>

/* Small payloads are copied: keeping a whole input buffer for the sake of 100 octets would let what waits fill memory.
 */
enum { COPY_LIMIT = 8192 };

/* A transfer that waits, or credit to be given back behind those before it. */
struct piece {
    struct list node;
    uint32_t advance; /* credits to give back; 0: it is a transfer */
    bool held;        /* the origin waits to hear that it has left */
    bool first, more, settled, aborted;
    uint32_t message_format;
    struct origin origin;
    struct amqp_state state; /* raw, tag and payload lie in octets, or the payload in a counted buffer */
    struct slice tag, payload;
    uint8_t octets[];
};

void routed_transfer_init(struct link *l)
{
    struct routed_link *r = l->routed;
    r->first = l->amqp.delivery_count;
    if (l->amqp.is_sender)
        list_init(&r->tx.queue);
}

/* ---- counters for management ---- */

/* What waits and what is unsettled. ended: deliveries of these that the engine forgets after this event. */
static void note_tx(struct link *l, uint32_t ended)
{
    uint32_t queued = l->routed->tx.queued;
    atomic_store_explicit(&l->stats.queued, queued, memory_order_relaxed);
    link_stats_in_hand(&l->stats, here_now(), queued + amqp_link_unsettled(&l->amqp) - ended);
}

static void note_rx(struct link *l, uint32_t ended)
{
    link_stats_in_hand(&l->stats, here_now(), amqp_link_unsettled(&l->amqp) - ended);
}

static void count_delivery(struct link *l, bool settled)
{
    stat_add(&l->stats.deliveries, 1);
    if (settled)
        stat_add(&l->stats.presettled, 1);
    atomic_store_explicit(&l->stats.credit, l->amqp.credit, memory_order_relaxed);
    atomic_store_explicit(&l->conn->last_delivery, here_now(), memory_order_relaxed);
}

/* ---- credit ---- */

static uint32_t count_of(const struct link *l)
{
    return l->amqp.delivery_count - l->routed->first;
}

/* Tell the receiving end how far credit reaches now, when that has changed. */
static void tell_limit(struct link *l)
{
    struct routed_link *r = l->routed;
    uint32_t limit = count_of(l) + r->tx.skipped + l->amqp.credit;
    if (r->tx.has_told && r->tx.told_limit == limit && r->tx.told_drain == l->amqp.drain)
        return;
    r->tx.has_told = true;
    r->tx.told_limit = limit;
    r->tx.told_drain = l->amqp.drain;
    routed_tell(l, NOTE_LIMIT, limit, l->amqp.drain, NULL);
}

void routed_take_limit(struct link *l, uint32_t limit, bool drain)
{
    uint32_t left = limit - count_of(l);
    uint32_t credit = (int32_t)left > 0 ? left : 0;
    if (credit != l->amqp.credit)
        amqp_link_set_credit(&l->amqp, credit);
    if (drain)
        amqp_link_drain(&l->amqp);
    else
        amqp_link_stop_drain(&l->amqp);
    link_note_credit(l);
}

void routed_link_drained(struct link *l)
{
    struct routed_link *r = l->routed;
    uint32_t back = count_of(l) - r->rx.passed;
    r->rx.passed += back;
    if (back)
        routed_tell(l, NOTE_ADVANCE, back, false, NULL);
    link_note_credit(l);
}

/* ---- sending ---- */

/* The AMQP peer wants everything settled, whatever the other end sends: we settle on its behalf. */
static bool goes_settled(const struct link *l, bool settled)
{
    return settled || l->amqp.snd_settle_mode == 1;
}

/* Queue as much of the payload as the engine takes. Result: OK when it took all. */
static enum err send_part(struct link *l, const struct frame *f, size_t *sent)
{
    bool settled = goes_settled(l, f->settled), starts = !l->amqp.in_delivery;
    struct amqp_send s = {
        .parts = &f->payload,
        .part_count = 1,
        .tag = f->tag.data,
        .tag_len = (uint8_t)f->tag.len,
        .message_format = f->message_format,
        .state = f->state.code != AMQP_STATE_NONE ? &f->state : NULL,
        .settled = settled,
        .more = f->more,
    };
    struct amqp_delivery *d = NULL;
    enum err e = amqp_link_send(&l->amqp, &s, sent, &d);
    if (d)
        origin_to_words(&f->origin, d->token); /* outcomes go to where it came from */
    bool some = e == OK || *sent || l->amqp.in_delivery;
    if (starts && some)
        count_delivery(l, settled);
    if (some && message_log_is_on(l))
        message_log_piece(l, starts, e == OK && !f->more, f->payload.data, *sent);
    return e;
}

/* A transfer is out in full. */
static void sent_in_full(const struct link *l, const struct origin *o, bool settled, bool more, bool held)
{
    bool on_behalf = !more && !settled && goes_settled(l, false);
    here_answer(o, held, on_behalf, on_behalf ? &state_accepted : &state_none);
}

static struct piece *piece_new(const struct frame *f, size_t sent)
{
    bool counted = f->payload.buf && f->payload.len - sent >= COPY_LIMIT;
    size_t left = f->payload.len - sent;
    struct piece *p = xmalloc(sizeof *p + f->state.raw.len + f->tag.len + (counted ? 0 : left));
    *p = (struct piece){
        .held = f->held,
        .first = f->first && sent == 0,
        .more = f->more,
        .settled = f->settled,
        .aborted = f->aborted,
        .message_format = f->message_format,
        .origin = f->origin,
        .state.code = f->state.code,
    };
    list_init(&p->node);
    uint8_t *at = p->octets;
    if (f->state.raw.len)
        memcpy(at, f->state.raw.data, f->state.raw.len);
    p->state.raw = (struct slice){.data = at, .len = f->state.raw.len};
    at += f->state.raw.len;
    if (f->tag.len)
        memcpy(at, f->tag.data, f->tag.len);
    p->tag = (struct slice){.data = f->tag.data ? at : NULL, .len = f->tag.len};
    at += f->tag.len;
    p->payload = (struct slice){.data = at, .len = left};
    if (counted) {
        p->payload.buf = buffer_ref(f->payload.buf);
        p->payload.data = f->payload.data + sent;
    } else if (left) {
        memcpy(at, f->payload.data + sent, left);
    }
    return p;
}

static void piece_free(struct piece *p)
{
    if (p->payload.buf)
        buffer_unref(p->payload.buf);
    free(p);
}

static void enqueue(struct link *l, struct piece *p)
{
    list_append(&l->routed->tx.queue, &p->node);
    if (p->first) {
        l->routed->tx.queued++;
        note_tx(l, 0);
    }
}

static void dequeue(struct link *l, struct piece *p)
{
    list_remove(&p->node);
    if (p->first)
        l->routed->tx.queued--;
    piece_free(p);
}

/* The delivery in progress is given up by its sender. */
static void abort_current(struct link *l)
{
    amqp_link_abort(&l->amqp);
    if (message_log_is_on(l))
        message_log_aborted(l);
}

/* Send what waits of the first piece. Result: whether it is done with. */
static bool send_piece(struct link *l, struct piece *p)
{
    if (p->advance) {
        amqp_link_give_back(&l->amqp, p->advance);
        return true;
    }
    if (p->aborted) {
        if (l->amqp.in_delivery)
            abort_current(l);
        here_answer(&p->origin, p->held, false, &state_none);
        return true;
    }
    if (!l->amqp.in_delivery && amqp_link_sendable(&l->amqp) == 0)
        return false;
    struct frame f = {
        .origin = p->origin,
        .message_format = p->message_format,
        .first = p->first,
        .more = p->more,
        .settled = p->settled,
        .state = p->state,
        .tag = p->tag,
        .payload = p->payload,
    };
    size_t sent;
    if (send_part(l, &f, &sent) != OK) {
        if (p->first && l->amqp.in_delivery) {
            p->first = false;
            l->routed->tx.queued--;
        }
        p->payload.data += sent;
        p->payload.len -= sent;
        return false;
    }
    sent_in_full(l, &p->origin, p->settled, p->more, p->held);
    return true;
}

/* Waits for credit that may never come, as no other reason can. */
static bool lacks_credit(const struct link *l)
{
    return !l->amqp.in_delivery && l->amqp.credit == 0;
}

static void end_if_due(struct link *l)
{
    struct routed_link *r = l->routed;
    if (!r->tx.ending.is_due || (!list_is_empty(&r->tx.queue) && !lacks_credit(l)))
        return;
    routed_give_up_queue(l);
    struct slice error = r->tx.ending.error;
    r->tx.ending = (struct routed_ending){.closed = r->tx.ending.closed};
    routed_detach(l, r->tx.ending.closed, &error);
    free((void *)error.data);
}

static void pump(struct link *l)
{
    struct routed_link *r = l->routed;
    if (r->tx.pumping)
        return;
    r->tx.pumping = true;
    while (!list_is_empty(&r->tx.queue)) {
        struct piece *p = list_first(&r->tx.queue, struct piece, node);
        if (!send_piece(l, p))
            break;
        dequeue(l, p);
    }
    r->tx.pumping = false;
    if (list_is_empty(&r->tx.queue) && l->amqp.credit == 0)
        amqp_link_drained(&l->amqp);
    note_tx(l, 0);
    link_note_credit(l);
}

void routed_link_sendable(struct link *l)
{
    pump(l);
    tell_limit(l);
    end_if_due(l);
}

void routed_detach_in_order(struct link *l, bool closed, const struct slice *error)
{
    struct routed_ending *e = &l->routed->tx.ending;
    if (e->is_due)
        return;
    *e = (struct routed_ending){.is_due = true, .closed = closed};
    if (error->len) {
        uint8_t *copy = xmalloc(error->len);
        memcpy(copy, error->data, error->len);
        e->error = (struct slice){.data = copy, .len = error->len};
    }
    end_if_due(l);
}

void routed_take_advance(struct link *l, uint32_t n)
{
    struct routed_link *r = l->routed;
    if (list_is_empty(&r->tx.queue) && !l->amqp.in_delivery) {
        amqp_link_give_back(&l->amqp, n);
    } else {
        struct piece *p = xmalloc(sizeof *p);
        *p = (struct piece){.advance = n};
        enqueue(l, p);
    }
    link_note_credit(l);
}

/* ---- frames from the receiving end ---- */

/* A delivery that has not begun is taken out again, and its credit is there for another. */
static bool take_out_unbegun(struct link *l, const struct origin *o)
{
    struct routed_link *r = l->routed;
    bool found = false;
    list_for_each_safe(n, &r->tx.queue)
    {
        struct piece *p = list_entry(n, struct piece, node);
        if (p->advance || !origin_equal(&p->origin, o) || (!found && !p->first))
            continue;
        found = true;
        here_answer(&p->origin, p->held, false, &state_none);
        dequeue(l, p);
    }
    r->tx.skipped += found;
    return found;
}

/* Its sender has settled a delivery. One that has not begun goes out settled. */
static void settle_for_sender(struct link *l, const struct frame *f)
{
    uint64_t token[2];
    list_for_each(n, &l->routed->tx.queue)
    {
        struct piece *p = list_entry(n, struct piece, node);
        if (!p->advance && p->first && origin_equal(&p->origin, &f->origin)) {
            p->settled = true;
            return;
        }
    }
    origin_to_words(&f->origin, token);
    struct amqp_delivery *d = amqp_link_find(&l->amqp, token);
    if (!d)
        return;
    if (f->state.code != AMQP_STATE_NONE)
        d->state = (uint8_t)f->state.code;
    amqp_delivery_settle(d);
    note_tx(l, 0);
}

void routed_take_frame(struct link *l, const struct frame *f)
{
    struct routed_link *r = l->routed;
    if (l->gone || l->routed->was_detached || !l->amqp.is_sender) {
        here_answer(&f->origin, f->held, false, &state_none);
        return;
    }
    if (f->settles) {
        settle_for_sender(l, f);
        return;
    }
    if (f->aborted && take_out_unbegun(l, &f->origin)) {
        note_tx(l, 0);
        here_answer(&f->origin, f->held, false, &state_none);
        tell_limit(l);
        return;
    }
    size_t sent = 0;
    bool is_next = list_is_empty(&r->tx.queue) && !f->aborted;
    if (is_next && (l->amqp.in_delivery || amqp_link_sendable(&l->amqp) > 0)) {
        if (send_part(l, f, &sent) == OK) {
            sent_in_full(l, &f->origin, f->settled, f->more, f->held);
            note_tx(l, 0);
            return;
        }
    }
    struct piece *p = piece_new(f, sent);
    p->first = p->first && !l->amqp.in_delivery;
    enqueue(l, p);
    pump(l);
}

void routed_give_up_queue(struct link *l)
{
    struct list *n;
    while ((n = list_take_first(&l->routed->tx.queue))) {
        struct piece *p = list_entry(n, struct piece, node);
        if (!p->advance) {
            bool never_sent = p->first && !p->settled;
            here_answer(&p->origin, p->held, never_sent, never_sent ? &state_released : &state_none);
        }
        piece_free(p);
    }
    l->routed->tx.queued = 0;
    note_tx(l, 0);
}

/* ---- receiving ---- */

static struct frame frame_of(struct link *l, const struct amqp_transfer *t)
{
    return (struct frame){
        .origin = {.link = l->token, .delivery_id = t->id},
        .message_format = t->message_format,
        .first = t->first,
        .more = t->more,
        .settled = t->settled,
        .aborted = t->aborted,
        .held = true,
        .state = t->first ? t->state : state_none,
        .tag = t->first ? t->tag : (struct slice){0},
        .payload = t->payload,
    };
}

static void settles(struct link *l, uint32_t id, const struct amqp_state *state)
{
    struct frame f = {.origin = {.link = l->token, .delivery_id = id}, .settles = true, .state = {.code = state->code}};
    here_deliver(l->routed->peer, &f);
}

/* The other end is not there (yet), so nobody has granted credit for a message. */
static void refuse_early(struct link *l)
{
    if (l->routed->peer_ended)
        return; /* it was, and this link is about to end for that */
    amqp_link_detach(&l->amqp, true,
                     &(struct amqp_error){.condition = "amqp:link:transfer-limit-exceeded",
                                          .description = "a message came before the first credit"});
}

void routed_link_transfer(struct link *l, struct amqp_transfer *t)
{
    struct routed_link *r = l->routed;
    if (message_log_is_on(l)) {
        if (t->aborted)
            message_log_aborted(l);
        else
            message_log_piece(l, t->first, !t->more, t->payload.data, t->payload.len);
    }
    if (t->first) {
        r->rx.passed++;
        r->rx.began_settled = t->settled;
        count_delivery(l, t->settled);
        if (!t->settled)
            note_rx(l, 0);
    }
    if (link_token_is_none(r->peer)) {
        refuse_early(l);
        return;
    }
    struct frame f = frame_of(l, t);
    amqp_transfer_hold(&l->amqp);
    here_deliver(r->peer, &f);
    if (t->more || r->rx.began_settled)
        return;
    if (t->aborted || t->settled)
        note_rx(l, 1);
    if (t->settled && !t->aborted)
        settles(l, t->id, &state_none); /* said with a later frame than the first */
}

void routed_link_peer_settled(struct link *l, struct amqp_delivery *d, const struct amqp_state *state)
{
    note_rx(l, 1);
    if (!link_token_is_none(l->routed->peer))
        settles(l, d->id, state);
}

/* ---- outcomes ---- */

static void count_outcomes(struct link *l, enum amqp_state_code code, uint32_t n)
{
    link_stats_settled(&l->stats, here_now(), n);
    link_stats_outcomes(&l->stats, code, n);
}

void routed_link_disposition(struct link *l, struct amqp_delivery *d, const struct amqp_state *state, bool settled)
{
    struct origin o = origin_from_words(d->token);
    if (settled) {
        count_outcomes(l, state->code, 1);
        note_tx(l, 1);
    }
    here_answer(&o, 0, settled, state);
}

void routed_link_lost(struct link *l, struct amqp_delivery *d)
{
    struct origin o = origin_from_words(d->token);
    /* After an orderly detach what is unsettled stays so: who sent it hears of the detach, and decides. */
    if (!l->routed->was_detached)
        here_answer(&o, 0, true, &state_failed);
}

/* Deliveries first..last are settled: those that are still open here. */
static void settle(struct link *l, const struct answer *a)
{
    uint32_t n = 0;
    for (uint32_t id = a->first; (int32_t)(a->last - id) >= 0; id++) {
        const struct amqp_delivery *d = amqp_link_delivery(&l->amqp, id);
        if (!d)
            continue;
        n += !d->remote_settled;
        uint32_t age = (uint32_t)here_now() - d->started;
        if (age > 1000)
            stat_add(age > 10000 ? &l->stats.delayed_10s : &l->stats.delayed_1s, 1);
    }
    count_outcomes(l, a->state.code, n);
    amqp_link_settle(&l->amqp, a->first, a->last, &a->state);
    note_rx(l, 0);
}

void routed_take_answer(struct link *l, const struct answer *a)
{
    if (a->frames)
        amqp_link_release_frames(&l->amqp, a->frames);
    if (a->done)
        settle(l, a);
    else if (a->state.code != AMQP_STATE_NONE)
        amqp_link_update(&l->amqp, a->first, &a->state);
}
