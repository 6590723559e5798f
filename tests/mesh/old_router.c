#include "old_router.h"

#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>

enum { MOST = 64, LINKS = 64, TICK = 1000 };

struct link {
    bool is_used;
    uint64_t id;
    int32_t cost;
};

struct heard {
    bool is_neighbour, is_known, is_requested; /* a node; a MAR is out */
    bool wants_record, wants_addresses;
    mono_ms hello, listed; /* 0: never */
    uint64_t link;
    int32_t cost; /* of the link, fixed when it became a neighbour */
    int64_t instance, ls_seq, ra_mobile_seq, have_seq;
    mono_ms record_heard;
    int32_t peers[MOST]; /* 0: none */
    uint64_t addresses;
    uint32_t ticks_unwanted;
};

struct old_router {
    struct world *world;
    uint32_t self;
    char id[16];
    int64_t instance, ls_seq, mobile_seq;
    struct link links[LINKS];
    struct heard nodes[MOST];
    bool own_changed, graph_changed, just_sent;
    uint64_t own, announced;
    mono_ms last_ra, last_change, next_tick;
    /* paths */
    int64_t cost[MOST];
    uint32_t next[MOST], hops[MOST], radius;
    struct octets out;
};

static bool number_of(struct slice id, uint32_t *n)
{
    char text[16] = "";
    if (id.len < 2 || id.len > 5 || id.data[0] != 'r')
        return false;
    memcpy(text, id.data + 1, id.len - 1);
    *n = (uint32_t)atoi(text);
    return *n < MOST;
}

static void id_of(uint32_t n, char *id)
{
    snprintf(id, 16, "r%u", n % 1000);
}

struct old_router *old_new(struct world *w, uint32_t node, int64_t instance, mono_ms now)
{
    struct old_router *r = xcalloc(1, sizeof *r);
    r->world = w;
    r->self = node;
    id_of(node, r->id);
    r->instance = instance;
    r->next_tick = now + world_random(w, TICK);
    r->last_ra = now;
    for (uint32_t i = 0; i < MOST; i++)
        r->cost[i] = -1;
    return r;
}

void old_free(struct old_router **rp)
{
    octets_fini(&(*rp)->out);
    free(*rp);
    *rp = NULL;
}

void old_link_up(struct old_router *r, uint64_t link, int32_t cost)
{
    for (int i = 0; i < LINKS; i++)
        if (!r->links[i].is_used) {
            r->links[i] = (struct link){true, link, cost};
            return;
        }
    world_fail(r->world, "the old router has too many links");
}

static void lose_neighbour(struct old_router *r, struct heard *h)
{
    h->is_neighbour = false;
    h->listed = 0;
    r->own_changed = r->graph_changed = true;
}

void old_link_down(struct old_router *r, uint64_t link)
{
    for (int i = 0; i < LINKS; i++)
        if (r->links[i].is_used && r->links[i].id == link)
            r->links[i].is_used = false;
    for (uint32_t i = 0; i < MOST; i++)
        if (r->nodes[i].is_neighbour && r->nodes[i].link == link)
            lose_neighbour(r, &r->nodes[i]);
}

/* ---- paths, the slow way ---- */

static int32_t edge(const struct old_router *r, uint32_t u, uint32_t v)
{
    if (u == r->self)
        return r->nodes[v].is_neighbour ? r->nodes[v].cost : 0;
    return r->nodes[u].peers[v];
}

static bool is_first(uint32_t a, uint32_t b)
{
    char x[16], y[16];
    id_of(a, x);
    id_of(b, y);
    return strcmp(x, y) < 0;
}

static void compute(struct old_router *r)
{
    bool done[MOST] = {false};
    for (uint32_t i = 0; i < MOST; i++)
        r->cost[i] = -1;
    r->cost[r->self] = 0;
    r->hops[r->self] = r->radius = 0;
    for (;;) {
        uint32_t u = MOST;
        for (uint32_t i = 0; i < MOST; i++)
            if (!done[i] && r->cost[i] >= 0 &&
                (u == MOST || r->cost[i] < r->cost[u] || (r->cost[i] == r->cost[u] && is_first(i, u))))
                u = i;
        if (u == MOST)
            return;
        done[u] = true;
        if (r->hops[u] > r->radius)
            r->radius = r->hops[u];
        for (uint32_t v = 0; v < MOST; v++) {
            int32_t c = edge(r, u, v);
            if (c && (r->cost[v] < 0 || r->cost[u] + c < r->cost[v])) {
                r->cost[v] = r->cost[u] + c;
                r->next[v] = u == r->self ? v : r->next[u];
                r->hops[v] = r->hops[u] + 1;
            }
        }
    }
}

bool old_route(const struct old_router *r, uint32_t to, uint64_t *link)
{
    if (r->cost[to] < 0 || !r->nodes[r->next[to]].is_neighbour)
        return false;
    *link = r->nodes[r->next[to]].link;
    return true;
}

uint64_t old_addresses(const struct old_router *r, uint32_t of)
{
    return r->nodes[of].addresses;
}

/* ---- sending ---- */

static bool link_to(const struct old_router *r, uint32_t to, uint64_t *link)
{
    if (old_route(r, to, link))
        return true;
    *link = r->nodes[to].link;
    return r->nodes[to].is_neighbour;
}

static void send_to(struct old_router *r, uint32_t to)
{
    uint64_t link;
    if (link_to(r, to, &link))
        world_send(r->world, r->self, link, r->out.data, r->out.len);
}

/* One copy for each next hop towards a known router, but those whose neighbour the trace names. */
static void flood(struct old_router *r, const struct wire_envelope *e)
{
    uint64_t links[MOST];
    uint32_t n = 0;
    for (uint32_t i = 0; i < MOST; i++) {
        uint64_t link;
        if (i == r->self || !r->nodes[i].is_known || !link_to(r, i, &link))
            continue;
        bool is_excluded = false;
        for (uint32_t k = 0; k < n; k++)
            is_excluded |= links[k] == link;
        for (uint32_t k = 0; k < MOST && e; k++) {
            char id[16];
            id_of(k, id);
            is_excluded |= r->nodes[k].is_neighbour && r->nodes[k].link == link && wire_trace_has(e, id);
        }
        if (!is_excluded)
            links[n++] = link;
    }
    for (uint32_t k = 0; k < n; k++)
        world_send(r->world, r->self, links[k], r->out.data, r->out.len);
}

static void send_ra(struct old_router *r, mono_ms now)
{
    r->last_ra = now;
    wire_encode(
        &(struct wire_out){
            .op = WIRE_RA, .self = r->id, .instance = r->instance, .ls_seq = r->ls_seq, .mobile_seq = r->mobile_seq},
        &r->out);
    flood(r, NULL);
}

static void send_hello(struct old_router *r, mono_ms now)
{
    char ids[MOST][16];
    const char *seen[MOST];
    uint32_t n = 0;
    for (uint32_t i = 0; i < MOST; i++)
        if (r->nodes[i].hello && now - r->nodes[i].hello <= 3000) {
            id_of(i, ids[n]);
            seen[n] = ids[n];
            n++;
        }
    wire_encode(
        &(struct wire_out){.op = WIRE_HELLO, .self = r->id, .instance = r->instance, .seen = seen, .seen_count = n},
        &r->out);
    for (int i = 0; i < LINKS; i++)
        if (r->links[i].is_used)
            world_send(r->world, r->self, r->links[i].id, r->out.data, r->out.len);
}

static void send_lsr(struct old_router *r, uint32_t to)
{
    char id[16];
    id_of(to, id);
    wire_encode(&(struct wire_out){.op = WIRE_LSR, .self = r->id, .target = id}, &r->out);
    send_to(r, to);
}

static void send_mar(struct old_router *r, uint32_t to)
{
    char id[16];
    id_of(to, id);
    r->nodes[to].is_requested = true;
    wire_encode(&(struct wire_out){.op = WIRE_MAR, .self = r->id, .target = id, .have_seq = r->nodes[to].have_seq},
                &r->out);
    send_to(r, to);
}

static void send_lsu(struct old_router *r, uint32_t to)
{
    char target[16], ids[MOST][16];
    struct wire_peer peers[MOST];
    uint32_t n = 0;
    id_of(to, target);
    for (uint32_t i = 0; i < MOST; i++)
        if (r->nodes[i].is_neighbour) {
            id_of(i, ids[n]);
            peers[n] = (struct wire_peer){ids[n], r->nodes[i].cost};
            n++;
        }
    wire_encode(&(struct wire_out){.op = WIRE_LSU,
                                   .self = r->id,
                                   .target = target,
                                   .instance = r->instance,
                                   .ls_seq = r->ls_seq,
                                   .peers = peers,
                                   .peer_count = n},
                &r->out);
    send_to(r, to);
}

static uint32_t list_addresses(uint64_t set, char keys[64][8], const char **list)
{
    uint32_t n = 0;
    for (uint32_t a = 0; a < 64; a++)
        if (set >> a & 1) {
            snprintf(keys[n], 8, "M0a%u", a);
            list[n] = keys[n];
            n++;
        }
    return n;
}

static void send_mau(struct old_router *r, uint64_t add, uint64_t del, const char *target)
{
    char add_keys[64][8], del_keys[64][8];
    const char *adds[64], *dels[64];
    int32_t hints[64];
    for (int i = 0; i < 64; i++)
        hints[i] = 3;
    struct wire_out m = {.op = WIRE_MAU,
                         .self = r->id,
                         .target = target,
                         .mobile_seq = r->mobile_seq,
                         .is_absolute = target != NULL,
                         .add = adds,
                         .hints = hints,
                         .del = dels};
    m.add_count = list_addresses(add, add_keys, adds);
    m.del_count = list_addresses(del, del_keys, dels);
    wire_encode(&m, &r->out);
}

/* ---- receiving ---- */

static void forget_life(struct old_router *r, struct heard *h)
{
    h->ls_seq = h->have_seq = h->ra_mobile_seq = 0;
    h->addresses = 0;
    memset(h->peers, 0, sizeof h->peers);
    h->is_requested = false;
    h->wants_record = true;
    r->graph_changed = true;
}

static void on_hello(struct old_router *r, uint64_t link, const struct wire_message *b, uint32_t from, mono_ms now)
{
    struct heard *h = &r->nodes[from];
    h->is_known = true;
    h->hello = now;
    if (h->instance && h->instance != b->instance)
        forget_life(r, h);
    h->instance = b->instance;
    struct amqp_compound seen = b->seen;
    struct slice id;
    while (wire_next_text(&seen, &id)) {
        if (!amqp_slice_is(id, r->id))
            continue;
        h->listed = now;
        if (h->is_neighbour && h->link == link)
            return;
        for (int i = 0; i < LINKS; i++)
            if (r->links[i].is_used && r->links[i].id == link && !h->is_neighbour)
                h->cost = r->links[i].cost;
        h->is_neighbour = true;
        h->link = link;
        h->wants_record = true;
        r->own_changed = r->graph_changed = true;
    }
}

static void on_ra(struct old_router *r, const struct wire_message *b, uint32_t from, mono_ms now)
{
    struct heard *h = &r->nodes[from];
    h->is_known = true;
    h->record_heard = now;
    if (h->instance && b->instance && h->instance != b->instance)
        forget_life(r, h);
    if (b->instance)
        h->instance = b->instance;
    h->ra_mobile_seq = b->mobile_seq;
    if (b->ls_seq > h->ls_seq)
        send_lsr(r, from);
    if (b->mobile_seq > h->have_seq)
        h->wants_addresses = true;
}

static void on_lsu(struct old_router *r, const struct wire_message *b, uint32_t from, mono_ms now)
{
    struct heard *h = &r->nodes[from];
    h->is_known = true;
    h->record_heard = now;
    if (h->instance == 0)
        h->instance = b->instance;
    if (b->ls_seq <= h->ls_seq)
        return;
    h->ls_seq = b->ls_seq;
    memset(h->peers, 0, sizeof h->peers);
    struct amqp_compound peers = b->peers;
    struct slice id;
    int64_t cost;
    uint32_t peer;
    while (wire_next_peer(&peers, &id, &cost)) {
        if (!number_of(id, &peer) || peer == from)
            continue;
        h->peers[peer] = (int32_t)cost;
        if (peer != r->self && !r->nodes[peer].is_known) {
            r->nodes[peer].is_known = true;
            r->nodes[peer].wants_record = true;
            r->nodes[peer].record_heard = now;
        }
    }
    r->graph_changed = true;
}

static uint64_t set_of(struct amqp_compound list)
{
    uint64_t set = 0;
    struct slice key;
    while (wire_next_text(&list, &key)) {
        char text[8] = "";
        memcpy(text, key.data, key.len < 7 ? key.len : 7);
        set |= (uint64_t)1 << (atoi(text + 3) & 63);
    }
    return set;
}

static void on_mau(struct old_router *r, const struct wire_message *b, uint32_t from)
{
    struct heard *h = &r->nodes[from];
    if (!h->is_known)
        return;
    if (b->is_absolute) {
        h->addresses = set_of(b->exist);
    } else if (b->mobile_seq == h->have_seq + 1) {
        h->addresses = (h->addresses | set_of(b->add)) & ~set_of(b->del);
    } else {
        if (!h->is_requested)
            send_mar(r, from);
        return;
    }
    h->have_seq = b->mobile_seq;
    h->is_requested = false;
}

static void on_body(struct old_router *r, uint64_t link, const struct wire_message *b, mono_ms now)
{
    uint32_t from;
    if (!number_of(b->id, &from) || from == r->self)
        return;
    switch (b->op) {
    case WIRE_HELLO:
        on_hello(r, link, b, from, now);
        break;
    case WIRE_RA:
        on_ra(r, b, from, now);
        break;
    case WIRE_LSU:
        on_lsu(r, b, from, now);
        break;
    case WIRE_LSR:
        send_lsu(r, from);
        break;
    case WIRE_MAU:
        on_mau(r, b, from);
        break;
    default:
        if (b->have_seq < r->mobile_seq) {
            char id[16];
            id_of(from, id);
            send_mau(r, r->announced, 0, id);
            send_to(r, from);
        }
    }
}

void old_receive(struct old_router *r, uint64_t link, const uint8_t *octets, size_t n, mono_ms now)
{
    struct wire_envelope e;
    struct wire_message b;
    const char *why;
    if (wire_open(octets, n, &e, &why) != OK)
        world_fail(r->world, "an old router cannot open a message: %s", why);
    if (e.scope == WIRE_OTHER)
        world_fail(r->world, "a message on a control link is none");
    if (e.trace.count == 0 || e.ingress.len == 0)
        world_fail(r->world, "a control message without ingress or trace");
    if (e.scope != WIRE_NEIGHBOUR && e.trace.count > r->radius + 1)
        return; /* released */
    uint32_t target;
    bool is_here = e.scope != WIRE_ONE_ROUTER || amqp_slice_is(e.target, r->id);
    if (e.scope == WIRE_ALL) {
        wire_relay(octets, n, &e, r->id, &r->out);
        flood(r, &e);
    } else if (!is_here && number_of(e.target, &target)) {
        wire_relay(octets, n, &e, r->id, &r->out);
        send_to(r, target);
    }
    if (!is_here)
        return;
    if (wire_read(octets, n, &e, &b, &why) != OK)
        world_fail(r->world, "an old router cannot read a message: %s", why);
    if (b.op == WIRE_LSU && (b.has_mobile_seq || b.life))
        world_fail(r->world, "an old router was sent what is only between ours");
    on_body(r, link, &b, now);
}

/* ---- the tick ---- */

static void expire(struct old_router *r, mono_ms now)
{
    for (uint32_t i = 0; i < MOST; i++) {
        struct heard *h = &r->nodes[i];
        if (h->is_neighbour && now - h->listed > 3000)
            lose_neighbour(r, h);
        if (h->ls_seq && now - h->record_heard > 60000) {
            h->ls_seq = 0;
            memset(h->peers, 0, sizeof h->peers);
            r->graph_changed = true;
        }
        bool is_wanted = h->is_neighbour || h->ls_seq;
        for (uint32_t k = 0; k < MOST && !is_wanted; k++)
            is_wanted = r->nodes[k].peers[i] != 0;
        h->ticks_unwanted = is_wanted ? 0 : h->ticks_unwanted + 1;
        if (h->is_known && h->ticks_unwanted > 3) {
            uint64_t link = h->link;
            mono_ms hello = h->hello;
            *h = (struct heard){.link = link, .hello = hello};
        }
    }
}

static void sync_addresses(struct old_router *r, mono_ms now)
{
    uint64_t add = r->own & ~r->announced, del = r->announced & ~r->own;
    if (!add && !del)
        return;
    r->mobile_seq++;
    r->announced = r->own;
    send_mau(r, add, del, NULL);
    flood(r, NULL);
    send_ra(r, now);
}

mono_ms old_tick(struct old_router *r, mono_ms now)
{
    if (now < r->next_tick)
        return r->next_tick;
    send_hello(r, now);
    if (now - r->last_ra >= (now - r->last_change <= 8000 ? 4000 : 30000))
        send_ra(r, now);
    expire(r, now);
    if (r->graph_changed) {
        compute(r);
        r->last_change = now;
        r->graph_changed = false;
    }
    for (uint32_t i = 0; i < MOST; i++) {
        struct heard *h = &r->nodes[i];
        if (h->wants_record && h->is_known)
            send_lsr(r, i);
        if (h->wants_addresses && h->is_known && r->cost[i] >= 0)
            send_mar(r, i);
        h->wants_record = h->wants_addresses = false;
    }
    if (r->own_changed) {
        r->ls_seq++;
        r->own_changed = false;
        send_ra(r, now);
    }
    sync_addresses(r, now);
    r->next_tick = now + TICK;
    return r->next_tick;
}

void old_attach(struct old_router *r, uint32_t address)
{
    r->own |= (uint64_t)1 << address;
}

void old_detach(struct old_router *r, uint32_t address)
{
    r->own &= ~((uint64_t)1 << address);
}

void old_dump(const struct old_router *r)
{
    fprintf(stderr, "r%u, old, ls_seq %ld, radius %u\n", r->self, (long)r->ls_seq, r->radius);
    for (uint32_t i = 0; i < MOST; i++) {
        const struct heard *h = &r->nodes[i];
        if (!h->is_known && !h->ls_seq)
            continue;
        fprintf(stderr, "    r%u%s cost %ld instance %ld ls_seq %ld have_seq %ld of %ld heard %ld:", i,
                h->is_neighbour ? " neighbour" : "", (long)r->cost[i], (long)h->instance, (long)h->ls_seq,
                (long)h->have_seq, (long)h->ra_mobile_seq, (long)h->record_heard);
        for (uint32_t k = 0; k < MOST; k++)
            if (h->peers[k])
                fprintf(stderr, " r%u/%d", k, h->peers[k]);
        fprintf(stderr, "\n");
    }
}
