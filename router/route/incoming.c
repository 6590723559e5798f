#include "incoming_priv.h"

#include <router/route/connection.h>
#include <router/route/forward.h>
#include <router/route/here.h>
#include <router/route/message_log.h>
#include <router/route/phase.h>
#include <router/route/request.h>
#include <router/route/tenant.h>
#include <stdlib.h>
#include <trunkline/amqp/annotations.h>
#include <trunkline/amqp/message.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/log.h>

/* A message head that does not come within so much is not one; a message to the router itself is not larger. */
enum { HEAD_MAX = 64 * 1024, REQUEST_MAX = 4 * 1024 * 1024 };

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

/* ---- credit ---- */

/* Whose sender overdraws should know: beyond a bound it costs the link. */
static void tell_overdraw(struct link *l)
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
    if (l->in.credited && !l->in.dry && room)
        amqp_link_grant(&l->amqp, n < room ? n : room);
    link_note_credit(l);
}

/* The same for settled ones that have left. */
static void give_back_settled(struct link *l, uint32_t n, bool unbound)
{
    if (!unbound) {
        give_back(l, n);
        return;
    }
    n = n < l->in.in_hand ? n : l->in.in_hand;
    l->in.in_hand -= n;
    uint32_t have = l->in.in_hand + l->amqp.credit;
    if (have < l->capacity)
        amqp_link_grant(&l->amqp, n < l->capacity - have ? n : l->capacity - have);
}

/* A delivery has begun. */
static void take_in_hand(struct link *l)
{
    if (link_replenishes_at_once(l)) {
        if (l->in.current_unbound)
            l->in.in_hand++;
        else
            amqp_link_grant(&l->amqp, 1);
        return;
    }
    l->in.in_hand++;
    link_stats_in_hand(&l->stats, here_now(), l->in.in_hand);
    link_note_credit(l);
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

/* Its address has lost its last destination: credit that is out is asked back, more comes when there is one again. */
static void run_dry(struct link *l)
{
    if (l->in.dry || l->is_edge) /* an edge router is told by a message: edge_service.h */
        return;
    l->in.dry = true;
    amqp_link_drain(&l->amqp);
}

/* The same, before control's routes say so. Should another destination have come at the same time, control tells. */
static void run_dry_early(struct link *l)
{
    bool was_dry = l->in.dry;
    run_dry(l);
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

/* Settle first..last towards the sender and give their credit back. */
static void settle(struct link *l, uint32_t first, uint32_t last, const struct amqp_state *state)
{
    uint32_t n = last - first + 1;
    link_stats_outcomes(&l->stats, state->code, n);
    count_delays(l, first, last);
    amqp_link_settle(&l->amqp, first, last, state);
    link_stats_settled(&l->stats, here_now(), n);
    give_back(l, n);
}

static bool is_from_ours(const struct link *l)
{
    return l->kind == LINK_DATA && l->conn->is_of_ours;
}

/* A router of ours at the other end, of the mesh or an edge, waits to hear of what its senders have settled. */
static bool answers_settled(const struct link *l)
{
    return (l->kind == LINK_DATA || l->is_edge) && l->conn->is_of_ours;
}

/* Presettled deliveries have left: give their credit back. A router of ours waits to hear of it, too (outgoing.c). */
static void finish_settled(struct link *l, uint32_t first, uint32_t last, bool unbound)
{
    uint32_t n = last - first + 1;
    if (answers_settled(l) && !unbound) {
        amqp_link_settle(&l->amqp, first, last, &state_accepted);
        link_stats_settled(&l->stats, here_now(), n);
    }
    give_back_settled(l, n, unbound);
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
        finish_settled(l, a->first, a->first, a->flags & ORIGIN_UNBOUND);
        amqp_link_forget(&l->amqp, a->first);
        return;
    }
    struct amqp_state outcome = {.code = (enum amqp_state_code)c.best};
    settle(l, a->first, a->first, outcome.code == AMQP_MODIFIED ? &state_failed : &outcome);
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
        finish_settled(l, a->first, a->last, a->flags & ORIGIN_UNBOUND);
    else
        settle(l, a->first, a->last, &a->state);
}

/* ---- messages ---- */

/* The delivery goes nowhere: its outcome is said when all of it has come. */
static void discard(struct link *l, const struct amqp_transfer *t, enum refusal why)
{
    l->in.discard_reason = why;
    if (t->more) {
        l->in.way = INCOMING_DISCARD;
        return;
    }
    l->in.way = INCOMING_IDLE;
    if (l->in.current_settled) {
        stat_add(&l->stats.dropped_presettled, why != REFUSAL_PASSED);
        finish_settled(l, t->id, t->id, l->in.current_unbound);
        return;
    }
    struct refusal_state state;
    refusal_state_init(&state, why, l->in.discard_text);
    settle(l, t->id, t->id, &state.state);
}

/* What the next router is told of where a message goes. to: its address here. */
static struct named_address name_to_tell(const struct link *l, const struct address *to)
{
    if (to == l->address && l->wanted)
        return (struct named_address){.text = {.data = (const uint8_t *)l->wanted, .len = l->wanted_len},
                                      .phase = phase_number(phase_of_key(to->key))};
    if (l->in.named_len)
        return (struct named_address){.text = {.data = (const uint8_t *)l->in.named, .len = l->in.named_len},
                                      .phase = phase_number(phase_of_key(to->key))};
    return forward_name_of(to);
}

struct frame incoming_frame(struct link *l, const struct amqp_transfer *t, const struct slice *payload, uint32_t copies)
{
    return (struct frame){
        .origin = {.link = l->token,
                   .delivery_id = l->in.delivery_id,
                   .flags = (l->in.current_settled ? ORIGIN_SETTLED : 0) |
                            (l->in.current_unbound ? ORIGIN_UNBOUND : 0) |
                            (copies ? ORIGIN_COPY | copies << ORIGIN_COPIES_SHIFT : 0)},
        .message_format = l->in.message_format,
        .first = t->first,
        .more = t->more,
        .settled = l->in.current_settled,
        .aborted = t->aborted,
        .annotated = l->in.current_annotated,
        .streams = l->in.current_streams,
        .state = t->state,
        .payload = *payload,
    };
}

/* The first frame of a message to `to`. */
static struct frame first_frame_of(struct link *l, const struct amqp_transfer *t, const struct slice *payload,
                                   uint32_t copies, const struct address *to)
{
    struct frame f = incoming_frame(l, t, payload, copies);
    struct named_address name = name_to_tell(l, to);
    f.to = name.text;
    f.phase = name.phase;
    return f;
}

/* With an unsettled delivery that went to one link, the engine keeps which link that is. */
static void remember_destination(struct amqp_delivery *d, struct link_token to)
{
    struct origin o = {.link = to, .flags = 1};
    origin_to_words(&o, d->token);
}

void incoming_peer_settled(struct link *l, const struct amqp_delivery *d)
{
    struct origin to = origin_from_words(d->token);
    if (d->tracked || !to.flags)
        return;
    struct frame f = {.origin = {.link = l->token, .delivery_id = d->id}, .settles = true};
    here_deliver(to.link, &f);
}

/* What a message on a link that routers share may have without holding its frames: the other router gathers 128 KiB
 * before a message gets a link of its own. */
enum { SHARED_MAX = 256 * 1024 };

/* Frames of a message in several frames are held back from the session window until they have left. Not on a link that
 * routers share: one consumer that stalls would close the window for all; what it carries are small messages, whose
 * number is bounded by the credit of their senders. */
bool incoming_hold(struct link *l, const struct amqp_transfer *t)
{
    if (t->first && !t->more)
        return false;
    bool is_shared = (l->kind == LINK_DATA && l->priority != TRUNK_STREAMING) || l->is_edge;
    if (is_shared && l->in.current_octets <= SHARED_MAX)
        return false;
    amqp_transfer_hold(&l->amqp);
    return true;
}

static void forward_one(struct link *l, const struct amqp_transfer *t, struct frame *f, struct link_token to)
{
    if (t->delivery)
        remember_destination(t->delivery, to);
    l->in.to = to;
    l->in.way = t->more ? INCOMING_FORWARD : INCOMING_IDLE;
    f->held = incoming_hold(l, t);
    here_deliver(to, f);
}

static void copies_deliver(const struct copies *c, const struct frame *f)
{
    for (uint32_t i = 0; i < c->count; i++)
        here_deliver(c->to[i], f);
}

struct copies *incoming_room_for_copies(struct link *l, uint32_t most)
{
    struct copies *c = l->in.copies;
    if (!c || c->size < most) {
        free(c);
        c = xmalloc(sizeof *c + most * sizeof c->to[0]);
        c->size = most;
        l->in.copies = c;
    }
    return c;
}

/* Where the copies of the message in progress go. Result: how many. */
static uint32_t choose_copies(struct link *l, struct address *a, const struct routes *r, const struct passage *p)
{
    struct copies *c = incoming_room_for_copies(l, forward_copies_max(r));
    return c->count = forward_copies(a, r, p, c->to);
}

/* A message that enters the network here gets a stamp, if there is a network. */
static struct stamp stamp_of(const struct link *l)
{
    if (l->kind != LINK_ENDPOINT || !here->world->stamps)
        return l->in.stamp;
    here->last_stamp.number++;
    return here->last_stamp;
}

/* Result: false, there is nobody to have it. */
static bool forward_to_all(struct link *l, struct amqp_transfer *t, const struct slice *payload, struct address *a,
                           const struct routes *r, const struct passage *p)
{
    struct amqp_delivery *d = amqp_delivery_track(&l->amqp, t);
    if (!d) /* settled, but under the delivery-id of one that is not */
        return false;
    struct copy_count c = {.waiting = choose_copies(l, a, r, p)};
    if (c.waiting == 0) {
        d->tracked = false;
        if (t->settled) {
            t->delivery = NULL;
            amqp_link_forget(&l->amqp, t->id);
        }
        return false;
    }
    _Static_assert(sizeof c == sizeof d->token, "the count of copies fits a delivery's token");
    memcpy(d->token, &c, sizeof c);
    struct frame f = first_frame_of(l, t, payload, c.waiting, a);
    f.stamp = stamp_of(l);
    l->in.way = t->more ? INCOMING_COPIES : INCOMING_IDLE;
    f.held = incoming_hold(l, t);
    copies_deliver(l->in.copies, &f);
    return true;
}

static bool forward_to_one(struct link *l, struct amqp_transfer *t, const struct slice *payload, struct address *a,
                           const struct routes *r, const struct passage *p)
{
    struct link_token to;
    if (!forward_choose(a, r, p, &l->in.round_robin, &to))
        return false;
    struct frame f = first_frame_of(l, t, payload, 0, a);
    f.needs_offer = a->distribution == DISTRIBUTION_BALANCED;
    forward_one(l, t, &f, to);
    return true;
}

/* It has found nobody at a. Result: false, nor at its fallback. */
static bool forward_to_fallback(struct link *l, struct amqp_transfer *t, const struct slice *payload, struct address *a,
                                const struct passage *p)
{
    struct address *f = address_fallback(a);
    /* A copy from another router: others may have theirs, so nobody here is not nobody anywhere. */
    if (l->kind != LINK_ENDPOINT && a->distribution == DISTRIBUTION_MULTICAST)
        return false;
    if (l->is_from_fallback) /* it would go round for ever */
        return false;
    if (!f || !forward_to_one(l, t, payload, f, address_routes(f), p))
        return false;
    address_count_redirected(a);
    return true;
}

/* Result: false, nobody can have it. */
static bool deliver(struct link *l, struct amqp_transfer *t, const struct slice *payload, struct address *a,
                    const struct passage *p)
{
    const struct routes *r = address_routes(a);
    bool copies = a->distribution == DISTRIBUTION_MULTICAST && (r->count > 1 || r->remote_count > 0 || p->up);
    if (copies ? forward_to_all(l, t, payload, a, r, p) : forward_to_one(l, t, payload, a, r, p))
        return true;
    return forward_to_fallback(l, t, payload, a, p);
}

/* What an edge router makes of a message that says itself where it goes: there may be receivers elsewhere, of which it
 * hears only when a sender is attached to their address (wire-protocol reference 7, Edge summary). A copy of a
 * multicast message goes up, too; another, what nobody here can have. */
static bool deliver_anonymous(struct link *l, struct amqp_transfer *t, const struct slice *payload, struct address *a,
                              struct passage *p)
{
    struct address *up = p->edge ? NULL : here->world->uplink;
    if (up && a != up && a->distribution == DISTRIBUTION_MULTICAST)
        p->up = address_routes(up);
    return deliver(l, t, payload, a, p) || (up && a != up && deliver(l, t, payload, up, p));
}

static void forward(struct link *l, struct amqp_transfer *t, const struct slice *payload, struct address *a,
                    struct passage *p)
{
    if (a->in_process) {
        l->in.assembly = assembly_add(NULL, payload);
        l->in.assembling_for = a;
        l->in.way = INCOMING_ASSEMBLE;
        return;
    }
    if (a->distribution == DISTRIBUTION_MULTICAST && l->in.stamp.number &&
        !stamps_pass(here->world->stamps, &l->in.stamp)) {
        discard(l, t, REFUSAL_PASSED);
        return;
    }
    if (l->address ? deliver(l, t, payload, a, p) : deliver_anonymous(l, t, payload, a, p))
        return;
    if (l->address)
        run_dry(l);
    discard(l, t, REFUSAL_RELEASED);
}

/* Whether what comes on l is for the router itself, whatever it says. */
static bool is_for_router(const struct link *l)
{
    return l->kind == LINK_CONTROL || l->is_served;
}

/* What a tenant's client calls so, in the network. */
static struct slice name_of_tenant(struct link *l, struct slice text)
{
    const char *tenant = l->conn->tenant;
    if (!tenant || !tenant_owns((const char *)text.data, text.len))
        return text;
    size_t size = strlen(tenant) + text.len + 1;
    if (l->in.named_size < size) {
        l->in.named = xrealloc(l->in.named, size);
        l->in.named_size = (uint32_t)size;
    }
    l->in.named_len = (uint32_t)tenant_write(tenant, (const char *)text.data, text.len, l->in.named);
    return (struct slice){.data = (const uint8_t *)l->in.named, .len = l->in.named_len};
}

/* The address that the message itself names. Result: NULL, and why. */
static struct address *address_in_message(struct link *l, const uint8_t *m, const struct amqp_message_view *v,
                                          enum refusal *why)
{
    struct slice to = amqp_message_to(m, v);
    *why = REFUSAL_NO_ADDRESS;
    if (!to.data || !to.len)
        return NULL;
    return forward_find_named(name_of_tenant(l, to), why);
}

/* What routers have written on the message, when it comes from one or its client is trusted to say such things.
 * Result: false, it is malformed: discarded. */
static bool read_annotations(struct link *l, struct amqp_transfer *t, const uint8_t *m,
                             const struct amqp_message_view *v, struct amqp_annotations *a)
{
    struct slice section = {.data = m + v->message_annotations.offset, .len = v->message_annotations.length};
    const char *why;
    if (amqp_annotations_read(section, false, a, &why) == OK)
        return true;
    l->in.discard_text = why;
    discard(l, t, REFUSAL_ANNOTATIONS);
    return false;
}

/* How the message came here. Result: false, it has gone further than any way in the mesh is long: it is in a loop. */
static bool passage_of(const struct link *l, const uint8_t *m, const struct amqp_message_view *v,
                       const struct amqp_annotations *a, const struct address *to, struct passage *p)
{
    const struct topology *topology = rcu_read(&here->world->topology);
    p->edge = l->is_edge ? l->conn->id : 0;
    if (!topology)
        return true;
    p->priority = to && to->priority >= 0 ? (uint8_t)to->priority : amqp_message_priority(m, v);
    if (!l->in.current_annotated)
        return true;
    p->annotations = a;
    if (a->ingress.data && !topology_node_index(topology, a->ingress, &p->ingress))
        p->ingress = FORWARD_NOWHERE;
    return a->trace.count <= topology->radius + 1;
}

/* Where the message goes: its link's address, else what the routers before said, else what it says itself. */
static struct address *destination_of(struct link *l, const uint8_t *m, const struct amqp_message_view *v,
                                      const struct amqp_annotations *a, enum refusal *why)
{
    if (l->address)
        return l->address;
    l->in.named_len = 0;
    struct address *found = a->to.data ? forward_find(&(struct named_address){name_of_tenant(l, a->to), a->phase}, why)
                                       : address_in_message(l, m, v, why);
    if (!found && *why == REFUSAL_RELEASED && !l->is_edge)
        found = here->world->uplink;
    if (found && l->kind == LINK_ENDPOINT)
        atomic_fetch_add_explicit(&found->anonymous_ingress, 1, memory_order_relaxed);
    return found;
}

/* The head of a message is here: find its way. `payload` begins with the message. */
static void set_out(struct link *l, struct amqp_transfer *t, const struct slice *payload,
                    const struct amqp_message_view *v)
{
    const uint8_t *m = payload->data;
    struct slice stripped = {0};
    struct amqp_annotations a = {0};
    struct passage p = {0};
    enum refusal why = REFUSAL_RELEASED;
    l->in.current_annotated = amqp_message_has_router_annotations(m, v);
    if (l->in.current_annotated && l->conn->strip_in) {
        stripped = forward_strip_annotations(payload, true);
        l->in.current_annotated = false;
    } else if (l->in.current_annotated && !read_annotations(l, t, m, v, &a)) {
        return;
    }
    l->in.current_streams = l->in.current_streams || a.stream;
    struct address *to = destination_of(l, m, v, &a, &why);
    const struct slice *message = stripped.buf ? &stripped : payload;
    if (!to || !passage_of(l, m, v, &a, to, &p)) {
        discard(l, t, why);
    } else if (address_exchange(to)) {
        struct slice subject = amqp_message_subject(m, v);
        if (!incoming_exchange(l, t, message, to, &subject, &p))
            discard(l, t, REFUSAL_RELEASED);
    } else {
        forward(l, t, message, to, &p);
    }
    if (stripped.buf)
        buffer_unref(stripped.buf);
}

/* Look for the head of the message in what is here of it. Result: false: more of it has to come. */
static bool look_at_head(struct link *l, struct amqp_transfer *t, const struct slice *payload)
{
    struct amqp_message_view v;
    bool is_looked_into = !l->address || address_exchange(l->address);
    enum amqp_section depth = is_looked_into ? AMQP_SECTION_PROPERTIES : AMQP_SECTION_MESSAGE_ANNOTATIONS;
    enum err e = amqp_message_scan(payload->data, payload->len, depth, &v);
    if (e == ERR_TRUNCATED && t->more && payload->len < HEAD_MAX)
        return false;
    /* A message that ends after a section has no body: odd, but not ours to refuse. */
    if (e == ERR_TRUNCATED && !t->more && v.body == payload->len)
        e = OK;
    if (e == OK)
        set_out(l, t, payload, &v);
    else
        discard(l, t, REFUSAL_NOT_A_MESSAGE);
    return true;
}

/* A router of ours sends unsettled what its sender has settled, and marks it so (outgoing.c). */
static bool take_mark(const struct link *l, struct amqp_transfer *t)
{
    if (!answers_settled(l) || t->settled || t->state.code != AMQP_ACCEPTED)
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
    if (l->amqp.overdrawn)
        tell_overdraw(l);
    take_in_hand(l);
    stat_add(&l->stats.deliveries, 1);
    if (l->in.current_settled)
        stat_add(&l->stats.presettled, 1);
    atomic_store_explicit(&l->conn->last_delivery, here_now(), memory_order_relaxed);
    if (t->aborted) {
        give_back_settled(l, 1, l->in.current_unbound);
        return;
    }
    l->in.discard_text = NULL;
    if (is_for_router(l)) {
        l->in.assembly = assembly_add(NULL, &t->payload);
        l->in.way = INCOMING_ASSEMBLE;
    } else if (!look_at_head(l, t, &t->payload)) {
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
        copies_deliver(l->in.copies, &f);
    }
}

/* A message on the control link need not be looked at: accepted. */
static void accept_unseen(struct link *l)
{
    if (l->in.current_settled)
        finish_settled(l, l->in.delivery_id, l->in.delivery_id, false);
    else
        settle(l, l->in.delivery_id, l->in.delivery_id, &state_accepted);
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
        if (look_at_head(l, &whole, &payload)) {
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
            copies_deliver(l->in.copies, &f);
        else
            here_deliver(l->in.to, &f);
        break;
    }
    case INCOMING_ASSEMBLE:
        l->in.assembly = assembly_add(l->in.assembly, &t->payload);
        break;
    case INCOMING_DISCARD:
        discard(l, t, (enum refusal)l->in.discard_reason);
        break;
    }
}

static void log_received(struct link *l, const struct amqp_transfer *t)
{
    if (t->aborted) {
        message_log_aborted(l);
        return;
    }
    if (l->in.way == INCOMING_ASSEMBLE && l->in.assembly->len + t->payload.len > REQUEST_MAX)
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
            give_back_settled(l, 1, l->in.current_unbound);
        return;
    } else {
        l->in.current_settled = l->in.current_settled || t->settled;
        continue_delivery(l, t);
    }
    if (l->in.way != INCOMING_ASSEMBLE)
        return;
    if (l->in.assembly->len > REQUEST_MAX) {
        assembly_drop(l);
        discard(l, t, REFUSAL_TOO_LARGE);
    } else if (!t->more) {
        complete_request(l, t);
    }
}

void incoming_gone(struct link *l)
{
    if (l->in.way != INCOMING_IDLE)
        abort_delivery(l);
    assembly_drop(l);
    free(l->in.copies);
    l->in.copies = NULL;
    free(l->in.named);
    l->in.named = NULL;
    l->in.named_len = l->in.named_size = 0;
}
