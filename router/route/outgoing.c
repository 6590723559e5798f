#include "outgoing_priv.h"

#include <router/route/connection.h>
#include <router/route/forward.h>
#include <router/route/here.h>
#include <router/route/message_log.h>
#include <router/route/patience.h>
#include <router/route/relay.h>
#include <router/route/stream.h>
#include <trunkline/base/buffer.h>

void outgoing_init(struct link *l)
{
    list_init(&l->out.queue);
    list_init(&l->out.gathering);
    list_init(&l->out.stream);
    patience_init(l);
}

/* ---- the queue ---- */

/* What waits and what is unsettled: both are in hand. */
static void note_in_hand(struct link *l)
{
    link_stats_in_hand(&l->stats, here_now(), l->out.queued + l->out.unsettled);
}

void outgoing_set_queued(struct link *l, uint32_t n)
{
    l->out.queued = n;
    atomic_store_explicit(&l->stats.queued, n, memory_order_relaxed);
    note_in_hand(l);
}

/* What the first message waits for. */
static void note_held(struct link *l)
{
    link_note_held(l, list_is_empty(&l->out.queue) ? AMQP_HINDRANCE_NONE : amqp_link_hindrance(&l->amqp));
}

static void dequeue(struct link *l, struct message *m)
{
    list_remove(&m->node);
    outgoing_set_queued(l, l->out.queued - 1);
    if (outgoing_is_unbound(m))
        patience_ends(l);
}

/* The credit that m holds comes back. It waits on, if it is not one too many. */
static void shed(struct link *l, struct message *m)
{
    if (m->started || !m->complete)
        return;
    uint32_t frames = message_held_frames(m);
    for (struct chunk *c = m->first; c; c = c->next)
        c->held = false;
    here_answer(&m->origin, frames, true, &state_none);
    m->origin.link = LINK_TOKEN_NONE;
    if (l->out.unbound <= l->capacity)
        return;
    stat_add(&l->stats.dropped_presettled, 1);
    outgoing_load_done(l);
    dequeue(l, m);
    message_free(m);
}

void outgoing_shed(struct link *l)
{
    /* From the youngest on: the oldest stay. */
    for (struct list *n = l->out.queue.prev, *before; n != &l->out.queue; n = before) {
        before = n->prev;
        struct message *m = list_entry(n, struct message, node);
        if (outgoing_is_unbound(m))
            shed(l, m);
    }
}

void outgoing_enqueue(struct link *l, struct message *m)
{
    list_append(&l->out.queue, &m->node);
    outgoing_set_queued(l, l->out.queued + 1);
    if (l->out.queued == 1)
        note_held(l);
    if (outgoing_is_unbound(m) && !patience_waits(l))
        shed(l, m);
}

/* ---- how it goes ---- */

/* Whether what goes out on l is settled in any case: the receiver asked for it, so we settle on its behalf. */
static bool link_wants_settled(const struct link *l)
{
    return l->amqp.snd_settle_mode == 1;
}

static bool leads_to_ours(const struct link *l)
{
    return l->kind == LINK_DATA && l->conn->is_of_ours;
}

/* Towards a router of ours a message that its sender has settled goes unsettled, with the state accepted as the mark of
 * it: that router answers when the message has left, and only then its sender gets credit for another. */
static bool link_answers_settled(const struct link *l)
{
    return leads_to_ours(l) || (l->is_edge && l->conn->is_of_ours);
}

/* Whether this one does. What holds credit of a link that routers share is not marked: it holds that of the next link,
 * too, until the last router has it (patience.h). */
static bool is_marked(const struct link *l, const struct origin *o, bool settled)
{
    return settled && link_answers_settled(l) && !(o->flags & ORIGIN_UNBOUND);
}

bool outgoing_goes_settled(const struct link *l, const struct origin *o, bool settled)
{
    return link_wants_settled(l) || (settled && !is_marked(l, o, settled));
}

/* The state beside its first frame; NULL: none. A sender's own `accepted` must not be taken for the mark. */
static const struct amqp_state *state_to_send(const struct link *l, const struct frame *f)
{
    if (link_answers_settled(l) && (f->settled || f->state.code == AMQP_ACCEPTED))
        return is_marked(l, &f->origin, f->settled) ? &state_accepted : NULL;
    return f->state.code != AMQP_STATE_NONE ? &f->state : NULL;
}

/* Result: false, it goes as it came. */
static bool rewrite_for(const struct link *l, const struct frame *f, struct rewritten *w)
{
    const struct tidings tidings = {.for_ = {f->to, f->phase}, .exchanged = f->exchanged};
    bool is_own = link_token_is_none(f->origin.link);
    if (l->is_edge && here->world->identity.mode == ROUTER_EDGE && !is_own)
        return rewrite_for_interior(&f->payload, f->reading, &tidings, w);
    if (l->kind == LINK_DATA || l->is_edge)
        return rewrite_for_router(&f->payload, f->reading, &tidings, w);
    return f->annotated && l->conn->strip_out && rewrite_bare(&f->payload, f->reading, false, w);
}

const struct frame *outgoing_dress(struct link *l, const struct frame *f, struct dressed *d)
{
    if (!f->first || l->kind == LINK_CONTROL || !rewrite_for(l, f, &d->rewritten))
        return f;
    d->frame = *f;
    d->frame.front = d->rewritten.front;
    d->frame.payload.data += d->rewritten.replaced;
    d->frame.payload.len -= d->rewritten.replaced;
    d->frame.reading = NULL;
    d->frame.annotated = l->kind == LINK_DATA || l->is_edge;
    return &d->frame;
}

struct frame outgoing_frame_of(const struct message *m)
{
    return (struct frame){
        .origin = m->origin,
        .message_format = m->message_format,
        .settled = m->settled,
        .annotated = m->annotated,
        .state = m->state,
        .stamp = m->stamp,
        .needs_offer = m->needs_offer,
        .first = true,
        .more = !m->complete,
    };
}

/* ---- sending ---- */

static void count_sent(struct link *l, bool settled)
{
    stat_add(&l->stats.deliveries, 1);
    if (settled)
        stat_add(&l->stats.presettled, 1);
    atomic_store_explicit(&l->stats.credit, l->amqp.credit, memory_order_relaxed);
    if (l->amqp.credit == 0)
        link_note_credit(l);
    atomic_store_explicit(&l->conn->last_delivery, here_now(), memory_order_relaxed);
}

/* A line in the log for the first n octets of the two parts. */
static void log_sent(struct link *l, const struct slice parts[2], bool starts, bool ends, size_t n)
{
    size_t first = n < parts[0].len ? n : parts[0].len;
    if (first)
        message_log_piece(l, starts, ends && first == n, parts[0].data, first);
    if (!first || n > first)
        message_log_piece(l, starts && !first, ends, parts[1].data, n - first);
}

/* Queue as much of a part as the engine takes; of two, the first usually is empty. Result: OK when it took all. */
static enum err send_part(struct link *l, const struct frame *f, const struct slice parts[2], bool more, size_t *sent)
{
    bool settled = outgoing_goes_settled(l, &f->origin, f->settled);
    struct amqp_send s = {
        .parts = parts[0].len ? parts : parts + 1,
        .part_count = parts[0].len ? 2 : 1,
        .message_format = f->message_format,
        .state = state_to_send(l, f),
        .settled = settled,
        .more = more,
    };
    uint8_t tag[STAMP_TAG_LEN];
    if (f->stamp.number && leads_to_ours(l)) {
        stamp_to_tag(&f->stamp, tag);
        s.tag = tag;
        s.tag_len = sizeof tag;
    }
    struct amqp_delivery *d = NULL;
    bool starts = !l->amqp.in_delivery;
    enum err e = amqp_link_send(&l->amqp, &s, sent, &d);
    if (d) {
        origin_to_words(&f->origin, d->token);
        l->out.unsettled++;
        note_in_hand(l);
    }
    bool some = e == OK || *sent || l->amqp.in_delivery;
    if (starts && some)
        count_sent(l, settled || f->settled);
    if (some && message_log_is_on(l))
        log_sent(l, parts, starts, e == OK && !more, *sent);
    return e;
}

/* The last octet of a delivery is out. `frames` of it are to be given back with the news. */
static void sent_in_full(struct link *l, const struct origin *o, bool settled, uint32_t frames)
{
    if (outgoing_goes_settled(l, o, settled)) {
        outgoing_load_done(l);
        here_answer(o, frames, true, settled ? &state_none : &state_accepted);
    } else {
        here_answer(o, frames, false, &state_none);
    }
}

/* Try to send a whole frame directly. Result: false: it has to be queued, *sent octets of it are out. */
static bool send_at_once(struct link *l, const struct frame *f, size_t *sent)
{
    *sent = 0;
    if (f->first && amqp_link_sendable(&l->amqp) == 0)
        return false;
    if (send_part(l, f, (const struct slice[]){f->front, f->payload}, f->more, sent) != OK)
        return false;
    if (!f->more)
        sent_in_full(l, &f->origin, f->settled, f->held);
    else
        here_answer(&f->origin, f->held, false, &state_none);
    return true;
}

static void begin_message(struct link *l, const struct frame *f)
{
    size_t sent = 0;
    bool alone = list_is_empty(&l->out.queue);
    bool done = alone && send_at_once(l, f, &sent);
    if (done && !f->more)
        return;
    struct message *m = message_new(f);
    m->started = done || sent > 0 || (alone && l->amqp.in_delivery);
    if (!done)
        message_append(m, f, sent, f->held);
    outgoing_enqueue(l, m);
}

struct message *outgoing_find_incomplete(struct list *messages, const struct origin *o)
{
    for (struct list *n = messages->prev; n != messages; n = n->prev) {
        struct message *m = list_entry(n, struct message, node);
        if (!m->complete && origin_equal(&m->origin, o))
            return m;
    }
    return NULL;
}

void outgoing_no_longer_unsettled(struct link *l)
{
    l->out.unsettled--;
    note_in_hand(l);
}

/* The sender has given its message up: so do we. */
static void abort_message(struct link *l, struct message *m)
{
    uint32_t frames = message_held_frames(m);
    if (m->started) {
        amqp_link_abort(&l->amqp);
        if (message_log_is_on(l))
            message_log_aborted(l);
        if (!outgoing_goes_settled(l, &m->origin, m->settled) && !m->answered)
            outgoing_no_longer_unsettled(l);
    }
    here_answer(&m->origin, frames, false, &state_none);
    if (!m->answered)
        outgoing_load_done(l);
    dequeue(l, m);
    message_free(m);
    outgoing_sendable(l);
}

void outgoing_continue(struct link *l, const struct frame *f)
{
    struct message *m = outgoing_find_incomplete(&l->out.queue, &f->origin);
    if (!m) {
        here_answer(&f->origin, f->held, false, &state_none);
        return;
    }
    if (f->aborted) {
        here_answer(&f->origin, f->held, false, &state_none);
        abort_message(l, m);
        return;
    }
    m->complete = !f->more;
    bool is_next = m->started && !m->first && l->out.queue.next == &m->node;
    size_t sent = 0;
    if (is_next && send_at_once(l, f, &sent)) {
        if (m->complete) {
            dequeue(l, m);
            message_free(m);
            outgoing_sendable(l);
        }
        return;
    }
    message_append(m, f, sent, f->held);
    if (is_next) /* so far nothing of it waited but for its sender */
        note_held(l);
}

void outgoing_not_deliverable(struct link *l, const struct origin *o, bool settled, uint32_t frames)
{
    if (settled)
        stat_add(&l->stats.dropped_presettled, 1);
    here_answer(o, frames, true, settled ? &state_none : &state_released);
}

/* The sender has settled what it sent unsettled: nobody waits for an outcome any more. What is partly sent keeps its
 * course. */
static void settle_for_sender(struct link *l, const struct origin *o)
{
    struct origin settled = *o;
    settled.flags |= ORIGIN_SETTLED;
    list_for_each(n, &l->out.queue)
    {
        struct message *m = list_entry(n, struct message, node);
        if (!origin_equal(&m->origin, o))
            continue;
        if (!m->started) {
            m->settled = true;
            m->origin = settled;
        }
        return;
    }
    uint64_t token[2];
    origin_to_words(o, token);
    struct amqp_delivery *d = amqp_link_find(&l->amqp, token);
    if (!d && outgoing_is_shared(l))
        d = stream_find(l->conn, token);
    if (!d)
        return;
    l = container_of(d->link, struct link, amqp);
    if (link_answers_settled(l)) {
        /* The sender's credit comes back with the outcome: what it settles early is no less under way. */
        origin_to_words(&settled, d->token);
        return;
    }
    amqp_delivery_settle(d);
    outgoing_no_longer_unsettled(l);
    outgoing_load_done(l);
    here_answer(&settled, 0, true, &state_none);
}

void outgoing_deliver(struct link *l, const struct frame *f)
{
    if (l->gone && !f->settles) {
        outgoing_deliver_elsewhere(l, f);
        return;
    }
    if (f->settles) {
        if (!l->gone)
            settle_for_sender(l, &f->origin);
        else
            relay_pass(l, f);
        return;
    }
    if (!f->first) {
        if (outgoing_is_shared(l))
            outgoing_continue_shared(l, f);
        else
            outgoing_continue(l, f);
        return;
    }
    struct dressed d;
    const struct frame *g = outgoing_dress(l, f, &d);
    if (outgoing_is_shared(l) && g->more)
        outgoing_gather(l, g);
    else
        begin_message(l, g);
    outgoing_undress(f, &d, g);
}

/* Send what is here of m. Result: whether m is out in full. */
static bool pump_message(struct link *l, struct message *m)
{
    struct frame f = outgoing_frame_of(m);
    uint32_t frames = 0;
    while (m->first) {
        struct chunk *c = m->first;
        size_t sent = 0;
        bool more = c->next || !m->complete;
        enum err e = send_part(l, &f, (const struct slice[]){{0}, c->rest}, more, &sent);
        m->started = m->started || sent > 0 || l->amqp.in_delivery || e == OK;
        if (e != OK) {
            c->rest.data += sent;
            c->rest.len -= sent;
            break;
        }
        frames += c->held;
        m->first = c->next;
        if (!m->first)
            m->tail = &m->first;
        chunk_free(c);
    }
    if (!m->first && m->complete) {
        sent_in_full(l, &m->origin, m->settled, frames);
        return true;
    }
    here_answer(&m->origin, frames, false, &state_none);
    return false;
}

void outgoing_sendable(struct link *l)
{
    /* Answers may bring new frames for this very link; they join the queue and this loop finds them. */
    if (l->out.pumping)
        return;
    l->out.pumping = true;
    while (!list_is_empty(&l->out.queue)) {
        struct message *m = list_first(&l->out.queue, struct message, node);
        if (!m->started && amqp_link_sendable(&l->amqp) == 0)
            break;
        if (!pump_message(l, m))
            break;
        dequeue(l, m);
        message_free(m);
        patience_moved(l);
    }
    l->out.pumping = false;
    if (list_is_empty(&l->out.queue) && l->amqp.drain)
        amqp_link_drained(&l->amqp);
    link_note_credit(l);
    note_held(l);
    if (list_is_empty(&l->out.queue))
        stream_idle(l);
}

/* ---- outcomes ---- */

/* The receiver has decided before it had all of the message in progress, which is the first of the queue. */
static void note_early_outcome(struct link *l, const struct origin *o)
{
    if (list_is_empty(&l->out.queue))
        return;
    struct message *m = list_first(&l->out.queue, struct message, node);
    if (m->started && origin_equal(&m->origin, o))
        m->answered = true;
}

void outgoing_disposition(struct link *l, struct amqp_delivery *d, const struct amqp_state *state, bool settled)
{
    struct origin o = origin_from_words(d->token);
    if (!settled && !amqp_state_is_terminal(state->code)) {
        here_answer(&o, 0, false, state);
        return;
    }
    if (!d->complete)
        note_early_outcome(l, &o);
    link_stats_outcomes(&l->stats, state->code, 1);
    link_stats_settled(&l->stats, here_now(), 1);
    outgoing_no_longer_unsettled(l);
    outgoing_load_done(l);
    /* An outcome said without settling: attaches are answered with rcv-settle-mode first, so there is nothing to wait
     * for. */
    if (!settled)
        amqp_delivery_settle(d);
    struct relayed_state relayed;
    relayed_state_init(&relayed, state);
    here_answer(&o, 0, true, &relayed.state);
    relayed_state_fini(&relayed);
}

void outgoing_lost(struct link *l, struct amqp_delivery *d)
{
    struct origin o = origin_from_words(d->token);
    outgoing_no_longer_unsettled(l);
    outgoing_load_done(l);
    if (o.flags & ORIGIN_SETTLED)
        stat_add(&l->stats.dropped_presettled, 1);
    here_answer(&o, 0, true, &state_failed);
}
