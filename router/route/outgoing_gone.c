/* A link that has gone, or whose peer is silent: what waits on it, and what still comes, goes elsewhere (outgoing.h).
 */
#include "outgoing_priv.h"

#include <router/route/forward.h>
#include <router/route/here.h>
#include <router/route/patience.h>
#include <router/route/relay.h>
#include <router/route/stream.h>
#include <trunkline/base/buffer.h>

/* Where a message goes of which l has sent nothing and that it can no longer have; f: its first frame, which is told if
 * it is for another address then. */
static bool choose_other(const struct link *l, struct frame *f, struct link_token *to)
{
    if (l->kind != LINK_DATA)
        return forward_choose_other(l, &f->origin, to);
    struct named_address for_ = {f->to, f->phase};
    if (!forward_choose_again(l, &f->origin, &f->payload, &for_, to))
        return false;
    f->to = for_.text;
    f->phase = for_.phase;
    return true;
}

/* Whether l, which has gone and for which no other link was found, was the last destination of its address. Control's
 * new routes, which say so to the sender's worker, are still under way. */
static bool was_the_last(const struct link *l, const struct origin *o)
{
    return l->gone && l->kind == LINK_ENDPOINT && l->address && !(o->flags & ORIGIN_COPY) &&
           address_routes(l->address)->remote_count == 0;
}

/* A link between routers that has gone leaves messages behind that another way can take. The ways that are known here
 * lead over that very link, until control has heard of it: the new ones are there when the link is buried. */
static bool waits_for_burial(const struct link *l)
{
    return l->kind == LINK_DATA && !l->out.buried;
}

/* ---- what still comes ---- */

static void keep_for_burial(struct link *l, const struct frame *f)
{
    struct dressed d;
    const struct frame *g = outgoing_dress(l, f, &d);
    struct message *m = message_new(g);
    message_append(m, g, 0, g->held);
    list_append(&l->out.queue, &m->node);
    outgoing_set_queued(l, l->out.queued + 1);
    outgoing_undress(f, &d, g);
}

void outgoing_deliver_elsewhere(struct link *l, const struct frame *f)
{
    if (waits_for_burial(l) && f->first && !f->more) {
        keep_for_burial(l, f);
        return;
    }
    struct link_token to;
    struct frame other = *f;
    if (f->first)
        outgoing_load_done(l);
    if (f->first && choose_other(l, &other, &to)) {
        if (f->more)
            relay_begin(l, &f->origin, to);
        here_deliver(to, &other);
    } else if (f->first) {
        if (was_the_last(l, &other.origin))
            other.origin.flags |= ORIGIN_NOWHERE;
        outgoing_not_deliverable(l, &other.origin, f->settled, f->held);
    } else if (!relay_pass(l, f)) {
        here_answer(&f->origin, f->held, false, &state_none);
    } else if (l->out.buried && !relay_is_busy(l)) {
        link_bury(l);
    }
}

/* ---- what waits ---- */

/* A message that waited here goes to another destination, piece by piece. f: of its first piece. */
static void hand_on(struct link *l, const struct message *m, struct frame *f, struct link_token to)
{
    if (!m->complete)
        relay_begin(l, &m->origin, to);
    for (struct chunk *c = m->first; c; c = c->next) {
        f->more = c->next != NULL || !m->complete;
        f->held = c->held;
        f->payload = c->rest;
        here_deliver(to, f);
        f->first = false;
    }
}

static void turn_away(struct link *l, struct message *m)
{
    uint32_t frames = message_held_frames(m);
    if (m->started) {
        /* Unsettled: outgoing_lost() has answered. Presettled: what is out is out. */
        bool answered = !outgoing_goes_settled(l, &m->origin, m->settled);
        here_answer(&m->origin, frames, !answered, answered || m->settled ? &state_none : &state_failed);
        if (!answered)
            outgoing_load_done(l);
        return;
    }
    outgoing_load_done(l);
    struct link_token to;
    struct frame f = outgoing_frame_of(m);
    bool can_go = m->complete || l->gone; /* a link that stays does not pass on the rest */
    if (can_go)
        f.payload = m->first->rest;
    if (can_go && choose_other(l, &f, &to))
        hand_on(l, m, &f, to);
    else
        outgoing_not_deliverable(l, &m->origin, m->settled, frames);
}

/* All but what was settled and has not been begun. Result: how many are kept. */
static uint32_t turn_away_unsettled(struct link *l, struct list *messages)
{
    struct list kept, *n;
    uint32_t count = 0;
    list_init(&kept);
    while ((n = list_take_first(messages))) {
        struct message *m = list_entry(n, struct message, node);
        if (m->settled && !m->started) {
            list_append(&kept, n);
            count++;
            continue;
        }
        turn_away(l, m);
        if (outgoing_is_unbound(m)) /* begun, so it was counted in the queue */
            patience_ends(l);
        message_free(m);
    }
    list_splice(messages, &kept);
    return count;
}

void outgoing_silent(struct link *l)
{
    amqp_link_give_up(&l->amqp);
    turn_away_unsettled(l, &l->out.gathering);
    outgoing_set_queued(l, turn_away_unsettled(l, &l->out.queue));
    outgoing_sendable(l);
}

void outgoing_gone(struct link *l)
{
    struct list kept, *n;
    uint32_t count = 0;
    patience_gone(l);
    list_init(&kept);
    list_splice(&l->out.queue, &l->out.gathering);
    while ((n = list_take_first(&l->out.queue))) {
        struct message *m = list_entry(n, struct message, node);
        if (waits_for_burial(l) && m->complete && !m->started) {
            list_append(&kept, n);
            count++;
            continue;
        }
        turn_away(l, m);
        message_free(m);
    }
    list_splice(&l->out.queue, &kept);
    outgoing_set_queued(l, count);
    stream_gone(l);
}

void outgoing_buried(struct link *l)
{
    struct list *n;
    while ((n = list_take_first(&l->out.queue))) {
        struct message *m = list_entry(n, struct message, node);
        turn_away(l, m);
        message_free(m);
    }
    outgoing_set_queued(l, 0);
}

void outgoing_abandon(struct link *l)
{
    for (struct list *n; (n = list_take_first(&l->out.queue));)
        message_free(list_entry(n, struct message, node));
}
