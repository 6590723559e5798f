/* Credit of an incoming link, and what became of its deliveries (incoming.h). */
#include "incoming_priv.h"

#include <router/route/connection.h>
#include <router/route/here.h>
#include <string.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/log.h>

/* ---- credit ---- */

void incoming_tell_overdraw(struct link *l)
{
    if (l->in.overdraw_told)
        return;
    l->in.overdraw_told = true;
    LOG_PEER(
        ROUTER_CORE, WARNING,
        "[C%llu][L%llu] Link overdrawn: container_id=%s link=%s: its sender sends without credit; %u such deliveries "
        "are taken until it gets credit, one more detaches the link (amqp:link:transfer-limit-exceeded)",
        (unsigned long long)l->conn->id, (unsigned long long)l->identity, l->conn->container, l->name, l->capacity);
}

/* n deliveries are no longer in hand. Those that were overdrawn had no credit that could come back, as none has that a
 * link sends before its first credit. */
static void give_back(struct link *l, uint32_t n)
{
    if (link_replenishes_at_once(l))
        return; /* a link between routers got it back as the delivery came */
    n = n < l->in.in_hand ? n : l->in.in_hand;
    l->in.in_hand -= n;
    link_stats_in_hand(&l->stats, here_now(), l->in.in_hand);
    uint32_t have = l->in.in_hand + l->amqp.credit;
    uint32_t room = have < l->capacity ? l->capacity - have : 0;
    if (l->in.credited && !l->in.dry && !l->is_finishing && room)
        amqp_link_grant(&l->amqp, n < room ? n : room);
    link_note_credit(l);
}

void incoming_give_back_settled(struct link *l, uint32_t n, bool unbound)
{
    if (!unbound) {
        give_back(l, n);
        return;
    }
    n = n < l->in.in_hand ? n : l->in.in_hand;
    l->in.in_hand -= n;
    uint32_t have = l->in.in_hand + l->amqp.credit;
    if (have < l->capacity && !l->is_finishing)
        amqp_link_grant(&l->amqp, n < l->capacity - have ? n : l->capacity - have);
}

/* Bring credit to the link's capacity. */
static void top_up(struct link *l)
{
    uint32_t have = l->in.in_hand + l->amqp.credit;
    if (have < l->capacity)
        amqp_link_grant(&l->amqp, l->capacity - have);
    l->in.credited = true;
    link_note_credit(l);
}

/* Whether what l brings finds somebody. */
static bool has_use_for(const struct link *l, const struct address *a)
{
    return l->is_from_fallback ? !routes_are_empty(address_routes(a)) : address_leads_somewhere(a);
}

void incoming_start(struct link *l)
{
    const struct address *a = l->address;
    l->in.way = INCOMING_IDLE;
    if (l->kind != LINK_ENDPOINT) {
        amqp_link_grant(&l->amqp, l->capacity);
        return;
    }
    if (!a || a->in_process || has_use_for(l, a))
        top_up(l);
}

void incoming_reachable(struct link *l)
{
    if (l->in.dry) {
        l->in.dry = false;
        amqp_link_stop_drain(&l->amqp);
        top_up(l);
    } else if (!l->in.credited) {
        top_up(l);
    }
}

void incoming_drained(struct link *l)
{
    /* Credit that was asked back, but has a use again: the question crossed the answer. */
    if (!l->in.dry && l->in.credited)
        top_up(l);
    link_note_credit(l);
}

void incoming_run_dry(struct link *l)
{
    if (l->in.dry || l->is_edge) /* an edge router is told by a message: edge_service.h */
        return;
    l->in.dry = true;
    if (l->own) { /* a container is not asked for an answer: RabbitMQ 3 ends the session at a drain */
        amqp_link_set_credit(&l->amqp, 0);
        link_note_credit(l);
    } else {
        amqp_link_drain(&l->amqp);
    }
}

/* The same, before control's routes say so. Should another destination have come at the same time, control tells. */
static void run_dry_early(struct link *l)
{
    bool was_dry = l->in.dry;
    incoming_run_dry(l);
    if (l->in.dry && !was_dry)
        link_tell_control(l, LINK_DRY);
}

/* ---- outcomes ---- */

/* Count the deliveries that took longer than a second from arrival to settlement. Later ones are younger, so the first
 * that was quick ends the look. */
static void count_delays(struct link *l, uint32_t first, uint32_t last)
{
    for (uint32_t id = first; (int32_t)(last - id) >= 0; id++) {
        const struct amqp_delivery *d = amqp_link_delivery(&l->amqp, id);
        if (!d)
            continue;
        uint32_t age = (uint32_t)here_now() - d->started;
        if (age <= 1000)
            return;
        stat_add(age > 10000 ? &l->stats.delayed_10s : &l->stats.delayed_1s, 1);
    }
}

void incoming_settle(struct link *l, uint32_t first, uint32_t last, const struct amqp_state *state)
{
    uint32_t n = last - first + 1;
    link_stats_outcomes(&l->stats, state->code, n);
    count_delays(l, first, last);
    amqp_link_settle(&l->amqp, first, last, state);
    link_stats_settled(&l->stats, here_now(), n);
    give_back(l, n);
}

void incoming_finish_settled(struct link *l, uint32_t first, uint32_t last, bool unbound)
{
    uint32_t n = last - first + 1;
    if (incoming_answers_settled(l) && !unbound) {
        amqp_link_settle(&l->amqp, first, last, &state_accepted);
        link_stats_settled(&l->stats, here_now(), n);
    }
    incoming_give_back_settled(l, n, unbound);
}

void incoming_discard(struct link *l, const struct amqp_transfer *t, enum refusal why)
{
    l->in.discard_reason = why;
    if (t->more) {
        l->in.way = INCOMING_DISCARD;
        return;
    }
    l->in.way = INCOMING_IDLE;
    if (l->in.current_settled) {
        stat_add(&l->stats.dropped_presettled, why != REFUSAL_PASSED);
        incoming_finish_settled(l, t->id, t->id, l->in.current_unbound);
        return;
    }
    struct refusal_state state;
    refusal_state_init(&state, why, l->in.discard_text);
    incoming_settle(l, t->id, t->id, &state.state);
}

static int rank(enum amqp_state_code c)
{
    switch (c) {
    case AMQP_REJECTED:
        return 4;
    case AMQP_ACCEPTED:
        return 3;
    case AMQP_MODIFIED:
        return 2;
    case AMQP_RELEASED:
        return 1;
    default:
        return 0;
    }
}

/* What an abort of the delivery in progress must know. */
static void note_early_answer(struct link *l, uint32_t first, uint32_t last)
{
    if (l->in.delivery_id - first <= last - first)
        l->in.current_answered = true;
}

/* One copy of a delivery is done: the last one decides, with the outcome of the highest rank. */
static void copy_done(struct link *l, const struct answer *a)
{
    struct amqp_delivery *d = amqp_link_delivery(&l->amqp, a->first);
    if (!d)
        return;
    struct copy_count c;
    memcpy(&c, d->token, sizeof c);
    ASSERT(c.waiting > 0);
    c.waiting--;
    if (rank(a->state.code) > rank((enum amqp_state_code)c.best))
        c.best = a->state.code;
    memcpy(d->token, &c, sizeof c);
    if (c.waiting)
        return;
    note_early_answer(l, a->first, a->first);
    if (a->flags & ORIGIN_SETTLED) {
        incoming_finish_settled(l, a->first, a->first, a->flags & ORIGIN_UNBOUND);
        amqp_link_forget(&l->amqp, a->first);
        return;
    }
    struct amqp_state outcome = {.code = (enum amqp_state_code)c.best};
    incoming_settle(l, a->first, a->first, outcome.code == AMQP_MODIFIED ? &state_failed : &outcome);
}

static void give_back_frames(struct link *l, const struct answer *a)
{
    if (!(a->flags & ORIGIN_COPY)) {
        amqp_link_release_frames(&l->amqp, a->frames);
        return;
    }
    /* Each copy of a frame is worth its share of it. Rounded up, so that a window never shrinks; the engine gives back
     * no more than is held. */
    uint64_t copies = a->flags >> ORIGIN_COPIES_SHIFT, whole = UINT64_C(1) << 40;
    l->in.copy_frames += a->frames * ((whole + copies - 1) / copies);
    amqp_link_release_frames(&l->amqp, (uint32_t)(l->in.copy_frames >> 40));
    l->in.copy_frames &= whole - 1;
}

void incoming_answer(struct link *l, const struct answer *a)
{
    if (a->frames)
        give_back_frames(l, a);
    if (!a->done) {
        if (a->state.code != AMQP_STATE_NONE && !(a->flags & (ORIGIN_COPY | ORIGIN_SETTLED)))
            amqp_link_update(&l->amqp, a->first, &a->state);
        return;
    }
    if (a->flags & ORIGIN_COPY) {
        copy_done(l, a);
        return;
    }
    note_early_answer(l, a->first, a->last);
    if ((a->flags & ORIGIN_NOWHERE) && l->address)
        run_dry_early(l);
    if (a->flags & ORIGIN_SETTLED)
        incoming_finish_settled(l, a->first, a->last, a->flags & ORIGIN_UNBOUND);
    else
        incoming_settle(l, a->first, a->last, &a->state);
}
