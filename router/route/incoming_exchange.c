/* A message that comes to an exchange (exchange.h): settled copies of it to everyone who is to have one. */
#include "incoming_priv.h"

#include <router/route/exchange.h>
#include <router/route/here.h>
#include <router/route/rewrite.h>
#include <stdlib.h>
#include <string.h>

/* The exchange takes the message, so that it is accepted, when its copies have left, is known from the start. */
static bool track(struct link *l, struct amqp_transfer *t, uint32_t copies)
{
    struct amqp_delivery *d = amqp_delivery_track(&l->amqp, t);
    if (!d) /* settled, but under the delivery-id of one that is not */
        return false;
    struct copy_count c = {.waiting = copies, .best = AMQP_ACCEPTED};
    memcpy(d->token, &c, sizeof c);
    return true;
}

/* The first frame, to each under the name of its own address; those that follow need none (incoming.c). bare: without
 * what routers have written, for copies that go to other addresses: they begin here. */
static void send_copies(struct link *l, const struct amqp_transfer *t, const struct slice *message,
                        const struct slice *bare, const struct exchange_copy *to, uint32_t count)
{
    struct copies *copies = incoming_room_for_copies(l, count);
    struct frame f = incoming_frame(l, t, message, count);
    f.settled = true;
    f.held = incoming_hold(l, t);
    copies->count = count;
    l->in.way = t->more ? INCOMING_EXCHANGE : INCOMING_IDLE;
    for (uint32_t i = 0; i < count; i++)
        copies->to[i] = to[i].to;
    for (uint32_t i = 0; i < count; i++) {
        f.payload = to[i].is_own ? *message : *bare;
        f.annotated = to[i].is_own && l->in.current_annotated;
        f.to = to[i].name.text;
        f.phase = to[i].name.phase;
        here_deliver(to[i].to, &f);
    }
}

bool incoming_exchange(struct link *l, struct amqp_transfer *t, const struct slice *message, const struct address *to,
                       const struct slice *subject, const struct passage *p)
{
    struct exchange_copy *copies;
    uint32_t count = exchange_copies(to, subject, p, &l->in.round_robin, &copies);
    bool is_sent = count && track(l, t, count);
    if (is_sent) {
        struct slice bare = {0};
        struct rewritten w;
        if (l->in.current_annotated && rewrite_bare(message, p->reading, false, &w)) {
            bare = rewritten_whole(message, &w);
            rewritten_fini(&w);
        }
        send_copies(l, t, message, bare.buf ? &bare : message, copies, count);
        l->in.current_annotated = false;
        if (bare.buf)
            buffer_unref(bare.buf);
    }
    free(copies);
    return is_sent;
}
