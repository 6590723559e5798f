#include "incoming_priv.h"

#include <router/mesh/mesh.h>
#include <router/route/connection.h>
#include <router/route/here.h>
#include <router/route/message_log.h>
#include <router/route/request.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/log.h>

/* A client's message to the router itself is not larger. */
enum { REQUEST_MAX = 4 * 1024 * 1024 };

/* Octets of a message to the router itself that comes on l. */
static size_t assembly_max(const struct link *l)
{
    return l->kind == LINK_CONTROL ? MESH_MESSAGE_MAX : REQUEST_MAX;
}

/* Octets gathered over several frames. */
struct assembly {
    size_t len, size;
    uint8_t octets[];
};

static struct assembly *assembly_add(struct assembly *a, const struct slice *s)
{
    size_t len = a ? a->len : 0, need = len + s->len;
    if (!a || need > a->size) {
        size_t size = a ? 2 * a->size : 4096;
        while (size < need)
            size *= 2;
        a = xrealloc(a, sizeof *a + size);
        a->size = size;
    }
    if (s->len)
        memcpy(a->octets + len, s->data, s->len);
    a->len = need;
    return a;
}

static void assembly_drop(struct link *l)
{
    free(l->in.assembly);
    l->in.assembly = NULL;
}

void incoming_assemble_for(struct link *l, const struct slice *payload, struct address *to)
{
    l->in.assembly = assembly_add(NULL, payload);
    l->in.assembling_for = to;
    l->in.way = INCOMING_ASSEMBLE;
}

/* Whether what comes on l is for the router itself, whatever it says. */
static bool is_for_router(const struct link *l)
{
    return l->kind == LINK_CONTROL || l->is_served;
}

static bool is_from_ours(const struct link *l)
{
    return l->kind == LINK_DATA && l->conn->is_of_ours;
}

/* A router of ours sends unsettled what its sender has settled, and marks it so (outgoing.c). */
static bool take_mark(const struct link *l, struct amqp_transfer *t)
{
    if (!incoming_answers_settled(l) || t->settled || t->state.code != AMQP_ACCEPTED)
        return false;
    t->state = state_none;
    return true;
}

static void begin(struct link *l, struct amqp_transfer *t)
{
    l->in.delivery_id = t->id;
    l->in.message_format = t->message_format;
    bool is_marked = take_mark(l, t);
    l->in.current_settled = is_marked || t->settled;
    l->in.current_unbound = t->settled && link_replenishes_at_once(l) && l->kind != LINK_CONTROL;
    l->in.current_answered = false;
    l->in.stamp = is_from_ours(l) && here->world->stamps ? stamp_from_tag(t->tag) : (struct stamp){0};
    l->in.current_streams = l->kind == LINK_DATA && l->priority == TRUNK_STREAMING;
    incoming_take_in_hand(l);
    stat_add(&l->stats.deliveries, 1);
    if (l->in.current_settled)
        stat_add(&l->stats.presettled, 1);
    atomic_store_explicit(&l->conn->last_delivery, here_now(), memory_order_relaxed);
    if (t->aborted) {
        incoming_give_back_settled(l, 1, l->in.current_unbound);
        return;
    }
    l->in.discard_text = NULL;
    if (is_for_router(l)) {
        l->in.assembly = assembly_add(NULL, &t->payload);
        l->in.way = INCOMING_ASSEMBLE;
    } else if (!incoming_look_at_head(l, t, &t->payload)) {
        l->in.assembly = assembly_add(NULL, &t->payload);
        l->in.way = INCOMING_HEAD;
    }
}

/* The sender gives up the message in progress. */
static void abort_delivery(struct link *l)
{
    struct amqp_transfer t = {.id = l->in.delivery_id, .aborted = true, .settled = l->in.current_settled};
    struct slice nothing = {0};
    enum incoming_way way = l->in.way;
    l->in.way = INCOMING_IDLE;
    assembly_drop(l);
    if (way == INCOMING_FORWARD) {
        struct frame f = incoming_frame(l, &t, &nothing, 0);
        here_deliver(l->in.to, &f);
    } else if (way == INCOMING_COPIES || way == INCOMING_EXCHANGE) {
        struct frame f = incoming_frame(l, &t, &nothing, l->in.copies->count);
        f.settled = f.settled || way == INCOMING_EXCHANGE;
        incoming_copies_deliver(l->in.copies, &f);
    }
}

/* A message on the control link need not be looked at: accepted. */
static void accept_unseen(struct link *l)
{
    if (l->in.current_settled)
        incoming_finish_settled(l, l->in.delivery_id, l->in.delivery_id, false);
    else
        incoming_settle(l, l->in.delivery_id, l->in.delivery_id, &state_accepted);
}

static void complete_request(struct link *l, const struct amqp_transfer *t)
{
    struct assembly *a = l->in.assembly;
    struct slice none = {0};
    struct frame f = incoming_frame(l, t, &none, 0);
    if (l->kind == LINK_CONTROL && hello_watch_repeats(&l->conn->hello, a->octets, a->len, here_now())) {
        accept_unseen(l);
    } else if (l->kind == LINK_CONTROL) {
        request_post(&f.origin, l->conn->id, NULL, a->octets, a->len);
    } else if (l->is_served) {
        request_post_own(&f.origin, l->own, a->octets, a->len);
    } else {
        atomic_fetch_add_explicit(&l->in.assembling_for->in_process_count, 1, memory_order_relaxed);
        uint64_t client = l->kind == LINK_DATA ? 0 : l->conn->id;
        request_post(&f.origin, client, l->in.assembling_for->key, a->octets, a->len);
    }
    assembly_drop(l);
    l->in.way = INCOMING_IDLE;
}

static void continue_delivery(struct link *l, struct amqp_transfer *t)
{
    switch (l->in.way) {
    case INCOMING_IDLE:
        break;
    case INCOMING_HEAD: {
        struct assembly *a = l->in.assembly = assembly_add(l->in.assembly, &t->payload);
        struct amqp_transfer whole = *t;
        whole.first = true;
        struct slice payload = {.data = a->octets, .len = a->len};
        if (incoming_look_at_head(l, &whole, &payload)) {
            if (l->in.way != INCOMING_ASSEMBLE)
                l->in.assembly = NULL;
            free(a);
        }
        break;
    }
    case INCOMING_FORWARD:
    case INCOMING_COPIES:
    case INCOMING_EXCHANGE: {
        bool copies = l->in.way != INCOMING_FORWARD;
        struct frame f = incoming_frame(l, t, &t->payload, copies ? l->in.copies->count : 0);
        f.settled = f.settled || l->in.way == INCOMING_EXCHANGE;
        f.held = incoming_hold(l, t);
        if (!t->more)
            l->in.way = INCOMING_IDLE;
        if (copies)
            incoming_copies_deliver(l->in.copies, &f);
        else
            here_deliver(l->in.to, &f);
        break;
    }
    case INCOMING_ASSEMBLE:
        l->in.assembly = assembly_add(l->in.assembly, &t->payload);
        break;
    case INCOMING_DISCARD:
        incoming_discard(l, t, (enum refusal)l->in.discard_reason);
        break;
    }
}

static void log_received(struct link *l, const struct amqp_transfer *t)
{
    if (t->aborted) {
        message_log_aborted(l);
        return;
    }
    if (l->in.way == INCOMING_ASSEMBLE && l->in.assembly->len + t->payload.len > assembly_max(l))
        message_log_oversize(l);
    message_log_piece(l, t->first, !t->more, t->payload.data, t->payload.len);
}

void incoming_transfer(struct link *l, struct amqp_transfer *t)
{
    if (message_log_is_on(l))
        log_received(l, t);
    if (t->first)
        l->in.current_octets = 0;
    l->in.current_octets += t->payload.len;
    if (t->first) {
        begin(l, t);
    } else if (t->aborted) {
        abort_delivery(l);
        amqp_link_forget(&l->amqp, l->in.delivery_id);
        /* An outcome that came early has given the credit back already. */
        if (!l->in.current_answered)
            incoming_give_back_settled(l, 1, l->in.current_unbound);
        return;
    } else {
        l->in.current_settled = l->in.current_settled || t->settled;
        continue_delivery(l, t);
    }
    if (l->in.way != INCOMING_ASSEMBLE)
        return;
    if (l->in.assembly->len > assembly_max(l)) {
        if (l->kind == LINK_CONTROL) /* it is settled, so nobody is told */
            LOG_PEER(ROUTER, WARNING, "[C%llu] a control message of more than %zu octets is not read",
                     (unsigned long long)l->conn->id, assembly_max(l));
        assembly_drop(l);
        incoming_discard(l, t, REFUSAL_TOO_LARGE);
    } else if (!t->more) {
        complete_request(l, t);
    }
}

void incoming_peer_settled(struct link *l, const struct amqp_delivery *d)
{
    struct origin to = origin_from_words(d->token);
    if (d->tracked || !to.flags)
        return;
    struct frame f = {.origin = {.link = l->token, .delivery_id = d->id}, .settles = true};
    here_deliver(to.link, &f);
}

void incoming_gone(struct link *l)
{
    if (l->in.way != INCOMING_IDLE)
        abort_delivery(l);
    assembly_drop(l);
    free(l->in.copies);
    l->in.copies = NULL;
    free(l->in.recent);
    l->in.recent = NULL;
    free(l->in.named);
    l->in.named = NULL;
    l->in.named_len = l->in.named_size = 0;
}
