/* A message that comes to an exchange (exchange.h): settled copies of it to everyone who is to have one. */
#include "incoming_priv.h"

#include <router/route/exchange.h>
#include <router/route/here.h>
#include <router/route/rewrite.h>
#include <stdlib.h>
#include <string.h>

/* The exchange takes the message, so that it is accepted, when its copies have left, is known from the start. */
static void expect_copies(struct amqp_delivery *d, uint32_t copies)
{
    struct copy_count c = {.waiting = copies, .best = AMQP_ACCEPTED};
    memcpy(d->token, &c, sizeof c);
}

static void send_copy(struct frame f, const struct exchange_copy *to)
{
    uint8_t lineage[LINEAGE_LEN];
    lineage_write(&to->lineage, lineage);
    f.to = to->name.text;
    f.phase = to->name.phase;
    f.stamp = to->stamp;
    f.exchanged = (struct slice){.data = lineage, .len = to->lineage.hops ? sizeof lineage : 0};
    here_deliver(to->to, &f);
}

/* The first frame, to each under the name of its own address; those that follow need none (incoming.c). bare: without
 * what routers have written, for copies that go to other addresses: they begin here. */
static void send_copies(struct link *l, const struct amqp_transfer *t, const struct slice *message,
                        const struct slice *bare, const struct exchange_copies *to)
{
    struct copies *copies = incoming_room_for_copies(l, to->count);
    struct frame f = incoming_frame(l, t, message, to->count);
    f.settled = true;
    f.held = incoming_hold(l, t);
    copies->count = to->count;
    l->in.way = t->more ? INCOMING_EXCHANGE : INCOMING_IDLE;
    for (uint32_t i = 0; i < to->count; i++)
        copies->to[i] = to->to[i].to;
    for (uint32_t i = 0; i < to->count; i++) {
        f.payload = to->to[i].is_own ? *message : *bare;
        f.annotated = to->to[i].is_own && l->in.current_annotated;
        send_copy(f, &to->to[i]);
    }
}

/* Of what an edge router's anonymous sender sends to a multicast address, a copy goes to its interior router, too. */
static void add_uplink(const struct link *l, const struct address *to, struct passage *p)
{
    const struct address *up = here->world->uplink;
    if (up && !l->address && !p->edge && to->distribution == DISTRIBUTION_MULTICAST)
        p->up = address_routes(up);
}

bool incoming_exchange(struct link *l, struct amqp_transfer *t, const struct slice *message, struct address *to,
                       struct exchange_message *e, enum refusal *why)
{
    struct exchange_copies copies;
    struct amqp_delivery *d = amqp_delivery_track(&l->amqp, t);
    *why = REFUSAL_RELEASED;
    if (!d) /* settled, but under the delivery-id of one that is not */
        return false;
    struct passage p = *e->passage;
    add_uplink(l, to, &p);
    e->passage = &p;
    e->stamp = incoming_stamp(l);
    if (!exchange_copies(to, e, &l->in.round_robin, &copies))
        *why = REFUSAL_PASSED;
    if (copies.count) {
        struct slice bare = {0};
        struct rewritten w;
        expect_copies(d, copies.count);
        if (l->in.current_annotated && rewrite_bare(message, p.reading, false, &w)) {
            bare = rewritten_whole(message, &w);
            rewritten_fini(&w);
        }
        send_copies(l, t, message, bare.buf ? &bare : message, &copies);
        l->in.current_annotated = false;
        if (bare.buf)
            buffer_unref(bare.buf);
    } else {
        incoming_untrack(l, t, d);
    }
    free(copies.to);
    return copies.count > 0;
}
