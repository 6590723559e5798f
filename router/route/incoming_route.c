/* Where a message goes that comes in: what it says itself, who there is, and its first frame (incoming.h). */
#include "incoming_priv.h"

#include <router/route/connection.h>
#include <router/route/exchange.h>
#include <router/route/here.h>
#include <router/route/phase.h>
#include <router/route/rewrite.h>
#include <router/route/tenant.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/annotations.h>
#include <trunkline/amqp/message.h>
#include <trunkline/base/alloc.h>

/* A message head that does not come within so much is not one. */
enum { HEAD_MAX = 64 * 1024 };

/* ---- frames ---- */

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
                                   uint32_t copies, const struct address *to, const struct passage *p)
{
    struct frame f = incoming_frame(l, t, payload, copies);
    struct named_address name = name_to_tell(l, to);
    f.to = name.text;
    f.phase = name.phase;
    f.reading = p->reading;
    return f;
}

/* With an unsettled delivery that went to one link, the engine keeps which link that is. */
static void remember_destination(struct amqp_delivery *d, struct link_token to)
{
    struct origin o = {.link = to, .flags = 1};
    origin_to_words(&o, d->token);
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

/* ---- destinations ---- */

static void forward_one(struct link *l, const struct amqp_transfer *t, struct frame *f, struct link_token to)
{
    if (t->delivery)
        remember_destination(t->delivery, to);
    l->in.to = to;
    l->in.way = t->more ? INCOMING_FORWARD : INCOMING_IDLE;
    f->held = incoming_hold(l, t);
    here_deliver(to, f);
}

void incoming_copies_deliver(const struct copies *c, const struct frame *f)
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

void incoming_untrack(struct link *l, struct amqp_transfer *t, struct amqp_delivery *d)
{
    d->tracked = false;
    if (t->settled) {
        t->delivery = NULL;
        amqp_link_forget(&l->amqp, t->id);
    }
}

struct stamp incoming_stamp(const struct link *l)
{
    return l->kind == LINK_ENDPOINT && here->world->stamps ? here_next_stamp() : l->in.stamp;
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
        incoming_untrack(l, t, d);
        return false;
    }
    _Static_assert(sizeof c == sizeof d->token, "the count of copies fits a delivery's token");
    memcpy(d->token, &c, sizeof c);
    struct frame f = first_frame_of(l, t, payload, c.waiting, a, p);
    f.stamp = incoming_stamp(l);
    l->in.way = t->more ? INCOMING_COPIES : INCOMING_IDLE;
    f.held = incoming_hold(l, t);
    incoming_copies_deliver(l->in.copies, &f);
    return true;
}

static bool forward_to_one(struct link *l, struct amqp_transfer *t, const struct slice *payload, struct address *a,
                           const struct routes *r, const struct passage *p)
{
    struct link_token to;
    if (!forward_choose(a, r, p, &l->in.round_robin, &to))
        return false;
    struct frame f = first_frame_of(l, t, payload, 0, a, p);
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

/* Whether it is a second copy of a multicast message. */
static bool has_passed(const struct link *l, const struct address *a)
{
    return !a->in_process && a->distribution == DISTRIBUTION_MULTICAST && l->in.stamp.number &&
           !stamps_pass(here->world->stamps, &l->in.stamp);
}

static void forward(struct link *l, struct amqp_transfer *t, const struct slice *payload, struct address *a,
                    struct passage *p)
{
    if (a->in_process) {
        incoming_assemble_for(l, payload, a);
        return;
    }
    if (l->address ? deliver(l, t, payload, a, p) : deliver_anonymous(l, t, payload, a, p))
        return;
    if (l->address)
        incoming_run_dry(l);
    incoming_discard(l, t, REFUSAL_RELEASED);
}

/* ---- what the message says ---- */

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

/* Read what routers have written on the message, when it comes from one or its client is trusted to say such things.
 * Result: false, it is malformed: discarded. */
static bool read_annotations(struct link *l, struct amqp_transfer *t, const uint8_t *m,
                             const struct amqp_message_view *v, struct reading *r)
{
    const char *why;
    if (reading_init(r, m, v, &why) == OK) {
        l->in.current_annotated = r->annotations.by_router;
        return true;
    }
    r->annotations = (struct amqp_annotations){0};
    /* A client's own annotations are nobody's business here. */
    l->in.current_annotated = amqp_message_has_router_annotations(m, v);
    if (!l->in.current_annotated)
        return true;
    l->in.discard_text = why;
    incoming_discard(l, t, REFUSAL_ANNOTATIONS);
    return false;
}

/* Whether it matters to where messages for `to` go on where they came in: of all but the closest. */
static bool is_ingress_asked(const struct address *to)
{
    return !to || to->distribution != DISTRIBUTION_CLOSEST || address_fallback(to) || address_exchange(to);
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
    if (a->ingress.data && is_ingress_asked(to) && !topology_node_index(topology, a->ingress, &p->ingress))
        p->ingress = FORWARD_NOWHERE;
    return a->trace.count <= topology->most_hops + 1;
}

/* What a name was found to be, on a link between routers: many messages in a row are for one address. */
struct recent {
    uint64_t removals; /* good as long as the table counts so many */
    struct address *address;
    uint8_t phase, len;
    uint8_t text[126];
};

static bool is_recent(const struct recent *r, const struct named_address *n, uint64_t removals)
{
    return r && r->removals == removals && r->phase == n->phase && r->len == n->text.len &&
           memcmp(r->text, n->text.data, r->len) == 0;
}

static void remember(struct link *l, const struct named_address *n, uint64_t removals, struct address *a)
{
    struct recent *r = l->in.recent;
    if (n->text.len > sizeof r->text)
        return;
    if (!r)
        r = l->in.recent = xmalloc(sizeof *r);
    r->removals = removals;
    r->address = a;
    r->phase = n->phase;
    r->len = (uint8_t)n->text.len;
    memcpy(r->text, n->text.data, r->len);
}

/* The address that a router has named. Result: NULL, and why. */
static struct address *address_told(struct link *l, const struct amqp_annotations *a, enum refusal *why)
{
    const struct named_address n = {name_of_tenant(l, a->to), a->phase};
    uint64_t removals = table_removals(here->world->table);
    if (is_recent(l->in.recent, &n, removals))
        return l->in.recent->address;
    struct address *found = forward_find(&n, why);
    if (found && l->kind == LINK_DATA && n.text.len)
        remember(l, &n, removals, found);
    return found;
}

/* Where the message goes: its link's address, else what the routers before said, else what it says itself. */
static struct address *destination_of(struct link *l, const uint8_t *m, const struct amqp_message_view *v,
                                      const struct amqp_annotations *a, enum refusal *why)
{
    if (l->address)
        return l->address;
    l->in.named_len = 0;
    struct address *found = a->to.data ? address_told(l, a, why) : address_in_message(l, m, v, why);
    if (!found && *why == REFUSAL_RELEASED && !l->is_edge)
        found = here->world->uplink;
    if (found && l->kind == LINK_ENDPOINT)
        atomic_fetch_add_explicit(&found->anonymous_ingress, 1, memory_order_relaxed);
    return found;
}

/* The head of a message is here, and what is to be read of it has been: find its way. */
static void send_on(struct link *l, struct amqp_transfer *t, const struct slice *message, const uint8_t *m,
                    const struct amqp_message_view *v, const struct reading *r, struct passage *p)
{
    enum refusal why = REFUSAL_RELEASED;
    const struct amqp_annotations *a = &r->annotations;
    l->in.current_streams = l->in.current_streams || a->stream;
    struct address *to = destination_of(l, m, v, a, &why);
    if (!to || !passage_of(l, m, v, a, to, p)) {
        incoming_discard(l, t, why);
    } else if (has_passed(l, to)) {
        incoming_discard(l, t, REFUSAL_PASSED);
    } else if (address_exchange(to)) {
        struct exchange_message e = {
            .subject = amqp_message_subject(m, v), .passage = p, .lineage = lineage_read(a->exchanged)};
        if (!incoming_exchange(l, t, message, to, &e, &why))
            incoming_discard(l, t, why);
    } else {
        forward(l, t, message, to, p);
    }
}

/* What its client has no right to say does not go on. */
static void send_on_stripped(struct link *l, struct amqp_transfer *t, const struct slice *payload,
                             const struct amqp_message_view *v)
{
    struct rewritten w;
    struct passage p = {0};
    const struct reading nothing = {0};
    l->in.current_annotated = false;
    if (!rewrite_bare(payload, NULL, true, &w)) {
        send_on(l, t, payload, payload->data, v, &nothing, &p);
        return;
    }
    struct slice stripped = rewritten_whole(payload, &w);
    send_on(l, t, &stripped, payload->data, v, &nothing, &p);
    buffer_unref(stripped.buf);
    rewritten_fini(&w);
}

/* `payload` begins with the message. */
static void set_out(struct link *l, struct amqp_transfer *t, const struct slice *payload,
                    const struct amqp_message_view *v)
{
    const uint8_t *m = payload->data;
    struct reading r;
    struct passage p = {.reading = &r};
    if (l->conn->strip_in && amqp_message_has_router_annotations(m, v))
        send_on_stripped(l, t, payload, v);
    else if (read_annotations(l, t, m, v, &r))
        send_on(l, t, payload, m, v, &r, &p);
}

bool incoming_look_at_head(struct link *l, struct amqp_transfer *t, const struct slice *payload)
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
        incoming_discard(l, t, REFUSAL_NOT_A_MESSAGE);
    return true;
}
