#include "world.h"

#include "old_router.h"

#include <inttypes.h>
#include <router/mesh/mesh.h>
#include <router/mesh/paths.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/list.h>
#include <trunkline/base/lock.h>

/* ---- what there is ---- */

struct held {
    uint64_t link;
    uint8_t *octets;
    size_t n;
};

/* What our router has told its owner of another one. */
struct told {
    uint32_t node; /* UINT32_MAX: the index is unused */
    bool is_reachable;
    uint64_t link;
    int64_t cost;
    uint64_t addresses;
};

struct node {
    struct mesh_owner owner;
    struct world *world;
    uint32_t number;
    enum node_kind kind;
    bool is_alive, is_frozen;
    struct mesh *mesh;
    struct old_router *old;
    int64_t instance;
    uint64_t attached;
    mono_ms tick_at; /* of the event that is on its way; others are void */
    struct held *held;
    uint32_t held_count, held_capacity;
    struct told *told; /* by index */
    uint32_t told_count;
    uint32_t *index_of; /* by node, UINT32_MAX: not told of */
    uint32_t index_count;
};

enum wire_state { WIRE_CLOSED, WIRE_OPEN, WIRE_SILENT };

struct wire {
    uint32_t ends[2];
    int32_t cost;
    enum wire_state state;
    uint64_t id; /* of this connection: link number for both ends */
    bool is_up[2];
    mono_ms last[2]; /* when the last message towards each end arrives */
};

enum event_kind { EVENT_TICK, EVENT_MESSAGE };

struct event {
    mono_ms at;
    uint64_t order;
    enum event_kind kind;
    uint32_t node;
    uint64_t link;
    uint8_t *octets;
    size_t n;
};

struct world {
    unsigned seed;
    uint64_t random;
    mono_ms now;
    struct node **nodes;
    uint32_t node_count;
    struct wire *wires;
    uint32_t wire_count;
    uint64_t next_link; /* link number / 1024 is the wire, so that it is found at once */
    struct event *events;
    uint32_t event_count, event_capacity;
    uint64_t order;
    uint32_t delay, loss;
    mono_ms last_loss;
    uint64_t sent[WIRE_OP_COUNT];
    bool is_checking; /* someone published: look whether all agree */
    bool is_mixed;
};

struct world *world_new(unsigned seed)
{
    struct world *w = xcalloc(1, sizeof *w);
    w->seed = seed;
    w->random = seed * 0x9e3779b97f4a7c15u + 1;
    w->now = 100000;
    w->delay = 5;
    return w;
}

static void drop_held(struct node *n)
{
    for (uint32_t i = 0; i < n->held_count; i++)
        free(n->held[i].octets);
    n->held_count = 0;
}

static void stop_router(struct node *n)
{
    assert_on_control();
    mesh_free(&n->mesh);
    if (n->old)
        old_free(&n->old);
    drop_held(n);
    n->told_count = 0;
    for (uint32_t i = 0; i < n->index_count; i++)
        n->index_of[i] = UINT32_MAX;
    n->is_alive = n->is_frozen = false;
}

void world_free(struct world **wp)
{
    struct world *w = *wp;
    for (uint32_t i = 0; i < w->node_count; i++) {
        stop_router(w->nodes[i]);
        free(w->nodes[i]->held);
        free(w->nodes[i]->told);
        free(w->nodes[i]->index_of);
        free(w->nodes[i]);
    }
    for (uint32_t i = 0; i < w->event_count; i++)
        free(w->events[i].octets);
    free(w->events);
    free(w->nodes);
    free(w->wires);
    free(w);
    *wp = NULL;
}

unsigned world_seed(const struct world *w)
{
    return w->seed;
}

mono_ms world_now(const struct world *w)
{
    return w->now;
}

uint32_t world_nodes(const struct world *w)
{
    return w->node_count;
}

uint32_t world_links(const struct world *w)
{
    return w->wire_count;
}

bool world_is_joined(const struct world *w, uint32_t a, uint32_t b)
{
    for (uint32_t i = 0; i < w->wire_count; i++)
        if ((w->wires[i].ends[0] == a && w->wires[i].ends[1] == b) ||
            (w->wires[i].ends[0] == b && w->wires[i].ends[1] == a))
            return true;
    return false;
}

uint32_t world_random(struct world *w, uint32_t below)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(w->random >> 33) % below;
}

void world_set_delay(struct world *w, uint32_t most)
{
    w->delay = most;
}

void world_set_loss(struct world *w, uint32_t per_mille)
{
    w->loss = per_mille;
}

mono_ms world_last_loss(const struct world *w)
{
    return w->last_loss;
}

static void dump_ours(struct node *n)
{
    assert_on_control();
    fprintf(stderr, "r%u, ours\n", n->number);
    for (uint32_t i = 0; i < mesh_limit(n->mesh); i++) {
        struct mesh_row row, peer;
        if (!mesh_row(n->mesh, i, &row))
            continue;
        fprintf(stderr, "    %s%s%s cost %" PRId64 " instance %" PRId64 " addresses %u:", row.id,
                row.is_neighbour ? " neighbour" : "", row.is_reachable ? "" : " unreachable", row.cost, row.instance,
                row.address_count);
        for (uint32_t e = 0; e < row.peer_count; e++)
            if (mesh_row(n->mesh, row.peers[e].to, &peer))
                fprintf(stderr, " %s/%d", peer.id, row.peers[e].cost);
        fprintf(stderr, "\n");
    }
}

/* What there is, and what each router thinks there is. */
static void dump(const struct world *w)
{
    static const char *const states[] = {"closed", "open", "silent"};
    for (uint32_t i = 0; i < w->wire_count; i++)
        fprintf(stderr, "r%u - r%u cost %d %s\n", w->wires[i].ends[0], w->wires[i].ends[1], w->wires[i].cost,
                states[w->wires[i].state]);
    for (uint32_t i = 0; i < w->node_count && w->node_count <= 20; i++) {
        if (w->nodes[i]->mesh)
            dump_ours(w->nodes[i]);
        if (w->nodes[i]->old)
            old_dump(w->nodes[i]->old);
    }
}

void world_fail(struct world *w, const char *format, ...)
{
    dump(w);
    va_list args;
    va_start(args, format);
    fprintf(stderr, "seed %u, %.3f s: ", w->seed, (double)w->now / 1000);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    abort();
}

/* ---- events ---- */

static bool event_before(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void event_push(struct world *w, struct event e)
{
    if (w->event_count == w->event_capacity) {
        w->event_capacity = w->event_capacity ? w->event_capacity * 2 : 1024;
        w->events = xrealloc(w->events, w->event_capacity * sizeof *w->events);
    }
    e.order = w->order++;
    uint32_t i = w->event_count++;
    for (; i > 0 && event_before(&e, &w->events[(i - 1) / 2]); i = (i - 1) / 2)
        w->events[i] = w->events[(i - 1) / 2];
    w->events[i] = e;
}

static struct event event_pop(struct world *w)
{
    struct event top = w->events[0], last = w->events[--w->event_count];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= w->event_count)
            break;
        if (child + 1 < w->event_count && event_before(&w->events[child + 1], &w->events[child]))
            child++;
        if (!event_before(&w->events[child], &last))
            break;
        w->events[i] = w->events[child];
        i = child;
    }
    w->events[i] = last;
    return top;
}

/* A timer fires up to 3 ms late, as a busy machine's does. */
static void schedule(struct node *n, mono_ms due)
{
    struct world *w = n->world;
    if (due == MONO_MS_NEVER || due >= n->tick_at)
        return;
    n->tick_at = (due > w->now ? due : w->now) + world_random(w, 4);
    event_push(w, (struct event){.at = n->tick_at, .kind = EVENT_TICK, .node = n->number});
}

static void reschedule(struct node *n)
{
    assert_on_control();
    if (n->mesh)
        schedule(n, mesh_deadline(n->mesh));
}

/* ---- messages ---- */

static struct wire *wire_of(const struct world *w, uint64_t link)
{
    struct wire *wire = &w->wires[link / (1 << 20)];
    return wire->id == link ? wire : NULL;
}

static void count(struct world *w, const uint8_t *octets, size_t n)
{
    static const char *const marks[] = {"\xa1\x05HELLO", "\xa1\x02RA",  "\xa1\x03LSU",
                                        "\xa1\x03LSR",   "\xa1\x03MAU", "\xa1\x03MAR"};
    size_t head = n < 2000 ? n : 2000;
    for (int op = 0; op < WIRE_OP_COUNT; op++)
        if (memmem(octets, head, marks[op], strlen(marks[op]))) {
            w->sent[op]++;
            return;
        }
    world_fail(w, "a message without opcode");
}

void world_send(struct world *w, uint32_t node, uint64_t link, const uint8_t *octets, size_t n)
{
    struct wire *wire = wire_of(w, link);
    count(w, octets, n);
    if (wire == NULL)
        return;
    int to = wire->ends[0] == node ? 1 : 0;
    if (!wire->is_up[!to])
        world_fail(w, "r%u sends on link %" PRIu64 ", which it was told is down", node, link);
    if (wire->state == WIRE_SILENT)
        return;
    if (w->loss && world_random(w, 1000) < w->loss) {
        w->last_loss = w->now;
        return;
    }
    mono_ms at = w->now + 1 + world_random(w, w->delay);
    if (at < wire->last[to])
        at = wire->last[to];
    wire->last[to] = at;
    struct event e = {.at = at, .kind = EVENT_MESSAGE, .node = wire->ends[to], .link = link, .n = n};
    e.octets = xmalloc(n);
    memcpy(e.octets, octets, n);
    event_push(w, e);
}

uint64_t world_sent(const struct world *w, enum wire_op op)
{
    return w->sent[op];
}

uint64_t world_sent_all(const struct world *w)
{
    uint64_t all = 0;
    for (int op = 0; op < WIRE_OP_COUNT; op++)
        all += w->sent[op];
    return all;
}

/* ---- what our routers call ---- */

static struct node *node_of(struct mesh_owner *o)
{
    return container_of(o, struct node, owner);
}

static void on_send(struct mesh_owner *o, uint64_t link, const uint8_t *octets, size_t n)
{
    struct node *node = node_of(o);
    world_send(node->world, node->number, link, octets, n);
}

static struct told *told_of(struct node *n, uint32_t index)
{
    if (index >= n->told_count) {
        uint32_t count = index + 1;
        n->told = xrealloc(n->told, count * sizeof *n->told);
        for (uint32_t i = n->told_count; i < count; i++)
            n->told[i] = (struct told){.node = UINT32_MAX};
        n->told_count = count;
    }
    return &n->told[index];
}

static void check_link(struct node *n, uint64_t link)
{
    struct wire *wire = wire_of(n->world, link);
    if (wire == NULL || !wire->is_up[wire->ends[0] == n->number ? 0 : 1])
        world_fail(n->world, "r%u is told to use link %" PRIu64 ", which is down", n->number, link);
}

static void on_route_changed(struct mesh_owner *o, const struct mesh_route *r)
{
    struct node *n = node_of(o);
    struct told *t = told_of(n, r->index);
    uint32_t node = (uint32_t)atoi(r->router + 1);
    if (t->node != UINT32_MAX && t->node != node)
        world_fail(n->world, "r%u: index %u is r%u and becomes %s without being forgotten", n->number, r->index,
                   t->node, r->router);
    t->node = node;
    if (node < n->index_count)
        n->index_of[node] = r->index;
    if (!r->is_reachable && !t->is_reachable)
        world_fail(n->world, "r%u is told twice that %s cannot be reached", n->number, r->router);
    t->is_reachable = r->is_reachable;
    n->world->is_checking = true;
    if (!r->is_reachable)
        return;
    bool is_among = false;
    for (uint32_t i = 0; i < r->link_count; i++) {
        check_link(n, r->links[i]);
        is_among |= r->links[i] == r->link;
    }
    if (!is_among || r->cost < 1 || r->hops < 1)
        world_fail(n->world, "r%u: the route to %s is unsound", n->number, r->router);
    t->link = r->link;
    t->cost = r->cost;
}

static void on_router_forgotten(struct mesh_owner *o, uint32_t index)
{
    struct node *n = node_of(o);
    struct told *t = told_of(n, index);
    if (t->is_reachable || t->addresses)
        world_fail(n->world, "r%u forgets r%u, which has a route or addresses", n->number, t->node);
    if (t->node != UINT32_MAX && t->node < n->index_count)
        n->index_of[t->node] = UINT32_MAX;
    t->node = UINT32_MAX;
}

static void on_topology_changed(struct mesh_owner *o)
{
    node_of(o)->world->is_checking = true;
}

static uint64_t bit_of(struct node *n, const char *key)
{
    if (strncmp(key, "M0a", 3) != 0)
        world_fail(n->world, "r%u: unexpected key %s", n->number, key);
    return (uint64_t)1 << atoi(key + 3);
}

static void on_mapped(struct mesh_owner *o, const char *key, uint32_t router, int hint)
{
    struct node *n = node_of(o);
    struct told *t = told_of(n, router);
    uint64_t bit = bit_of(n, key);
    if (!t->is_reachable || t->addresses & bit || hint != 3)
        world_fail(n->world, "r%u: %s of r%u is mapped (hint %d): %s", n->number, key, t->node, hint,
                   t->is_reachable ? "twice, or its hint is wrong" : "and the router cannot be reached");
    t->addresses |= bit;
}

static void on_unmapped(struct mesh_owner *o, const char *key, uint32_t router)
{
    struct node *n = node_of(o);
    struct told *t = told_of(n, router);
    if (!(t->addresses & bit_of(n, key)))
        world_fail(n->world, "r%u: %s of r%u is unmapped and was not mapped", n->number, key, t->node);
    t->addresses &= ~bit_of(n, key);
}

/* ---- routers ---- */

static void key_of(uint32_t address, char *key)
{
    snprintf(key, 8, "M0a%u", address % 64);
}

static void start_router(struct node *n)
{
    assert_on_control();
    struct world *w = n->world;
    int64_t instance = 1795171000 + w->now / 1000;
    /* Old routers do not notice a restart within one second; nobody can help them there. */
    if (w->is_mixed && instance <= n->instance)
        instance = n->instance + 1;
    n->instance = instance;
    n->is_alive = true;
    n->tick_at = MONO_MS_NEVER;
    if (n->kind == NODE_OLD) {
        n->old = old_new(w, n->number, instance, w->now);
        schedule(n, old_tick(n->old, w->now - 1));
    } else {
        char id[16];
        struct mesh_conf conf;
        mesh_conf_init(&conf);
        snprintf(id, sizeof id, "r%u", n->number);
        conf.id = id;
        conf.instance = instance;
        conf.life = 1 + w->now;
        if (mesh_new(&conf, &n->owner, w->now, &n->mesh) != OK)
            world_fail(w, "a router cannot be made");
    }
    for (uint32_t a = 0; a < 64; a++)
        if (n->attached >> a & 1) {
            n->attached &= ~((uint64_t)1 << a);
            world_attach(w, n->number, a);
        }
    reschedule(n);
}

uint32_t world_add(struct world *w, enum node_kind kind)
{
    struct node *n = xcalloc(1, sizeof *n);
    n->owner = (struct mesh_owner){.send = on_send,
                                   .route_changed = on_route_changed,
                                   .router_forgotten = on_router_forgotten,
                                   .topology_changed = on_topology_changed,
                                   .mapped = on_mapped,
                                   .unmapped = on_unmapped};
    n->world = w;
    n->number = w->node_count;
    n->kind = kind;
    n->index_count = 2048;
    n->index_of = xmalloc(n->index_count * sizeof *n->index_of);
    memset(n->index_of, 0xff, n->index_count * sizeof *n->index_of);
    w->is_mixed |= kind == NODE_OLD;
    w->nodes = xrealloc(w->nodes, (w->node_count + 1) * sizeof *w->nodes);
    w->nodes[w->node_count] = n;
    w->node_count++;
    start_router(n);
    return n->number;
}

bool world_is_mixed(const struct world *w)
{
    return w->is_mixed;
}

bool world_is_alive(const struct world *w, uint32_t node)
{
    return w->nodes[node]->is_alive;
}

void world_attach(struct world *w, uint32_t node, uint32_t address)
{
    assert_on_control();
    struct node *n = w->nodes[node];
    char key[8];
    if (n->attached >> address & 1)
        return;
    n->attached |= (uint64_t)1 << address;
    key_of(address, key);
    if (n->old)
        old_attach(n->old, address);
    if (n->mesh && mesh_address_added(n->mesh, key, 3, w->now) != OK)
        world_fail(w, "r%u refuses %s", node, key);
    reschedule(n);
}

void world_detach(struct world *w, uint32_t node, uint32_t address)
{
    assert_on_control();
    struct node *n = w->nodes[node];
    char key[8];
    if (!(n->attached >> address & 1))
        return;
    n->attached &= ~((uint64_t)1 << address);
    key_of(address, key);
    if (n->old)
        old_detach(n->old, address);
    if (n->mesh && mesh_address_removed(n->mesh, key, w->now) != OK)
        world_fail(w, "r%u does not know %s any more", node, key);
    reschedule(n);
}

/* A frozen router can be told nothing: it goes on first. */
static void link_up(struct world *w, struct wire *wire, int end)
{
    assert_on_control();
    struct node *n = w->nodes[wire->ends[end]];
    world_thaw(w, n->number);
    bool is_ours = w->nodes[wire->ends[!end]]->kind == NODE_OURS;
    wire->is_up[end] = true;
    if (n->old)
        old_link_up(n->old, wire->id, wire->cost);
    if (n->mesh && mesh_link_up(n->mesh, wire->id,
                                &(struct mesh_peer){
                                    .cost = wire->cost, .is_ours = is_ours, .fast_hello_interval = is_ours ? 80 : 0},
                                w->now) != OK)
        world_fail(w, "r%u refuses a link", n->number);
    reschedule(n);
}

static void link_down(struct world *w, struct wire *wire, int end)
{
    assert_on_control();
    struct node *n = w->nodes[wire->ends[end]];
    if (!wire->is_up[end])
        return;
    world_thaw(w, n->number);
    wire->is_up[end] = false;
    if (n->old)
        old_link_down(n->old, wire->id);
    if (n->mesh && mesh_link_down(n->mesh, wire->id, w->now) != OK)
        world_fail(w, "r%u does not know its link", n->number);
    reschedule(n);
}

static void open_wire(struct world *w, uint32_t link)
{
    struct wire *wire = &w->wires[link];
    if (!w->nodes[wire->ends[0]]->is_alive || !w->nodes[wire->ends[1]]->is_alive)
        return;
    wire->id = (uint64_t)link << 20 | (++w->next_link & 0xfffff);
    wire->state = WIRE_OPEN;
    wire->last[0] = wire->last[1] = w->now;
    link_up(w, wire, 0);
    link_up(w, wire, 1);
}

uint32_t world_connect(struct world *w, uint32_t a, uint32_t b, int32_t cost)
{
    w->wires = xrealloc(w->wires, (w->wire_count + 1) * sizeof *w->wires);
    w->wires[w->wire_count] = (struct wire){.ends = {a, b}, .cost = cost};
    open_wire(w, w->wire_count);
    return w->wire_count++;
}

void world_cut(struct world *w, uint32_t link)
{
    struct wire *wire = &w->wires[link];
    if (wire->state == WIRE_CLOSED)
        return;
    wire->state = WIRE_CLOSED;
    link_down(w, wire, 0);
    link_down(w, wire, 1);
}

void world_heal(struct world *w, uint32_t link)
{
    if (w->wires[link].state == WIRE_OPEN)
        return;
    world_cut(w, link);
    open_wire(w, link);
}

void world_silence(struct world *w, uint32_t link)
{
    if (w->wires[link].state == WIRE_OPEN)
        w->wires[link].state = WIRE_SILENT;
}

bool world_is_open(const struct world *w, uint32_t link)
{
    return w->wires[link].state == WIRE_OPEN;
}

void world_freeze(struct world *w, uint32_t node)
{
    if (w->nodes[node]->is_alive)
        w->nodes[node]->is_frozen = true;
}

void world_kill(struct world *w, uint32_t node)
{
    struct node *n = w->nodes[node];
    if (!n->is_alive)
        return;
    for (uint32_t i = 0; i < w->wire_count; i++)
        if (w->wires[i].ends[0] == node || w->wires[i].ends[1] == node) {
            w->wires[i].is_up[w->wires[i].ends[0] == node ? 0 : 1] = false; /* a killed one is told nothing */
            world_cut(w, i);
        }
    stop_router(n);
}

void world_start(struct world *w, uint32_t node)
{
    struct node *n = w->nodes[node];
    if (n->is_alive)
        return;
    start_router(n);
    for (uint32_t i = 0; i < w->wire_count; i++)
        if (w->wires[i].ends[0] == node || w->wires[i].ends[1] == node)
            world_heal(w, i);
}

/* ---- time ---- */

static void deliver(struct node *n, uint64_t link, const uint8_t *octets, size_t size)
{
    assert_on_control();
    struct world *w = n->world;
    struct wire *wire = wire_of(w, link);
    if (wire == NULL || !wire->is_up[wire->ends[0] == n->number ? 0 : 1])
        return; /* it was cut meanwhile */
    if (n->old)
        old_receive(n->old, link, octets, size, w->now);
    if (n->mesh && mesh_receive(n->mesh, link, octets, size, w->now) != OK)
        world_fail(w, "r%u refuses a message", n->number);
    reschedule(n);
}

static void hold(struct node *n, const struct event *e)
{
    if (n->held_count == n->held_capacity) {
        n->held_capacity = n->held_capacity ? n->held_capacity * 2 : 64;
        n->held = xrealloc(n->held, n->held_capacity * sizeof *n->held);
    }
    n->held[n->held_count++] = (struct held){e->link, e->octets, e->n};
}

static void tick(struct node *n)
{
    assert_on_control();
    n->tick_at = MONO_MS_NEVER;
    if (n->old)
        schedule(n, old_tick(n->old, n->world->now));
    if (n->mesh) {
        mesh_tick(n->mesh, n->world->now);
        reschedule(n);
    }
}

void world_thaw(struct world *w, uint32_t node)
{
    struct node *n = w->nodes[node];
    if (!n->is_frozen)
        return;
    n->is_frozen = false;
    tick(n);
    uint32_t count = n->held_count;
    struct held *held = n->held;
    n->held = NULL;
    n->held_count = n->held_capacity = 0;
    for (uint32_t i = 0; i < count; i++) {
        deliver(n, held[i].link, held[i].octets, held[i].n);
        free(held[i].octets);
    }
    free(held);
}

static void happen(struct world *w, struct event *e)
{
    struct node *n = w->nodes[e->node];
    if (e->kind == EVENT_TICK) {
        if (n->is_alive && !n->is_frozen && n->tick_at == e->at)
            tick(n);
        return;
    }
    if (n->is_alive && n->is_frozen) {
        hold(n, e);
        return;
    }
    if (n->is_alive)
        deliver(n, e->link, e->octets, e->n);
    free(e->octets);
}

/* ---- the truth ---- */

/* Whether two routers are connected now, and at what cost: all by Floyd and Warshall. */
struct truth {
    uint32_t n;
    int64_t *cost; /* -1: no way */
};

static bool counts(const struct world *w, const struct wire *wire)
{
    const struct node *a = w->nodes[wire->ends[0]], *b = w->nodes[wire->ends[1]];
    return wire->state == WIRE_OPEN && a->is_alive && b->is_alive && !a->is_frozen && !b->is_frozen;
}

/* Dijkstra from each router without ties: only costs are of interest. */
static struct truth truth_new(const struct world *w)
{
    struct truth t = {w->node_count, xmalloc((size_t)w->node_count * w->node_count * sizeof *t.cost)};
    uint32_t *queue = xmalloc((w->node_count + 1) * sizeof *queue);
    bool *is_queued = xcalloc(w->node_count, sizeof *is_queued);
    uint32_t *degree = xcalloc(w->node_count + 1, sizeof *degree),
             *wires = xcalloc(2 * (size_t)w->wire_count + 1, sizeof *wires);
    for (uint32_t i = 0; i < w->wire_count; i++)
        for (int end = 0; end < 2 && counts(w, &w->wires[i]); end++)
            degree[w->wires[i].ends[end] + 1]++;
    for (uint32_t i = 0; i < w->node_count; i++)
        degree[i + 1] += degree[i];
    uint32_t *fill = xcalloc(w->node_count, sizeof *fill);
    for (uint32_t i = 0; i < w->wire_count; i++)
        for (int end = 0; end < 2 && counts(w, &w->wires[i]); end++)
            wires[degree[w->wires[i].ends[end]] + fill[w->wires[i].ends[end]]++] = i;
    for (uint32_t root = 0; root < w->node_count; root++) {
        int64_t *cost = t.cost + (size_t)root * t.n;
        for (uint32_t i = 0; i < t.n; i++)
            cost[i] = -1;
        cost[root] = 0;
        uint32_t head = 0, tail = 0;
        queue[tail++] = root;
        while (head != tail) { /* Bellman and Ford with a ring as queue */
            uint32_t u = queue[head];
            head = (head + 1) % (t.n + 1);
            is_queued[u] = false;
            for (uint32_t k = degree[u]; k < degree[u + 1]; k++) {
                const struct wire *wire = &w->wires[wires[k]];
                uint32_t v = wire->ends[0] == u ? wire->ends[1] : wire->ends[0];
                if (cost[v] >= 0 && cost[v] <= cost[u] + wire->cost)
                    continue;
                cost[v] = cost[u] + wire->cost;
                if (!is_queued[v]) {
                    is_queued[v] = true;
                    queue[tail] = v;
                    tail = (tail + 1) % (t.n + 1);
                }
            }
        }
    }
    free(queue);
    free(is_queued);
    free(degree);
    free(wires);
    free(fill);
    return t;
}

static int64_t truth_cost(const struct truth *t, uint32_t a, uint32_t b)
{
    return t->cost[(size_t)a * t->n + b];
}

/* ---- what the routers do ---- */

static struct told *route_of(struct node *n, uint32_t to)
{
    uint32_t index = n->index_of[to];
    return index == UINT32_MAX || !n->told[index].is_reachable ? NULL : &n->told[index];
}

static bool next_link(struct world *w, uint32_t at, uint32_t to, uint64_t *link)
{
    struct node *n = w->nodes[at];
    if (n->old)
        return old_route(n->old, to, link);
    struct told *t = n->mesh ? route_of(n, to) : NULL;
    if (t)
        *link = t->link;
    return t != NULL;
}

bool world_has_route(struct world *w, uint32_t node, uint32_t to)
{
    uint64_t link;
    return next_link(w, node, to, &link);
}

static uint32_t across(const struct world *w, uint32_t at, uint64_t link)
{
    const struct wire *wire = wire_of(w, link);
    return wire == NULL ? UINT32_MAX : wire->ends[0] == at ? wire->ends[1] : wire->ends[0];
}

/* Follow the routes. Result: the hops; -1, it ends on the way; -2, it goes on for ever. */
static int follow(struct world *w, uint32_t from, uint32_t to)
{
    int hops = 0;
    for (uint32_t at = from; at != to; hops++) {
        uint64_t link;
        if (hops > (int)w->node_count)
            return -2;
        if (!next_link(w, at, to, &link) || across(w, at, link) == UINT32_MAX)
            return -1;
        at = across(w, at, link);
    }
    return hops;
}

/* Every router that lives has published the same graph. */
static bool do_agree(const struct world *w)
{
    assert_on_control();
    uint64_t graph = 0;
    bool is_first = true;
    for (uint32_t i = 0; i < w->node_count; i++) {
        if (w->nodes[i]->mesh == NULL)
            continue;
        uint64_t its = mesh_fingerprint(w->nodes[i]->mesh);
        if (!is_first && its != graph)
            return false;
        is_first = false;
        graph = its;
    }
    return true;
}

/* When all have published the same graph, whatever it is, nothing may loop, and what is given to a route must come out.
 */
static void check_agreed(struct world *w)
{
    if (w->is_mixed || w->node_count < 2 || !do_agree(w))
        return;
    for (int i = 0; i < 10; i++) {
        uint32_t from = world_random(w, w->node_count), to = world_random(w, w->node_count);
        uint64_t link;
        if (from == to || !w->nodes[from]->mesh || !next_link(w, from, to, &link))
            continue;
        int hops = follow(w, from, to);
        if (hops == -2)
            world_fail(w, "all agree, and what r%u sends to r%u goes round and round", from, to);
        /* A router that has just died is in the graph and leads nowhere. */
        bool has_dead = !w->nodes[to]->is_alive;
        for (uint32_t at = from; hops == -1 && at != UINT32_MAX && at != to && !has_dead;) {
            has_dead = !w->nodes[at]->is_alive;
            at = next_link(w, at, to, &link) ? across(w, at, link) : UINT32_MAX;
        }
        if (hops == -1 && !has_dead)
            world_fail(w, "all agree, and what r%u sends to r%u disappears", from, to);
    }
}

void world_run(struct world *w, mono_ms until)
{
    while (w->event_count && w->events[0].at <= until) {
        struct event e = event_pop(w);
        w->now = e.at;
        happen(w, &e);
        if (w->is_checking) {
            w->is_checking = false;
            check_agreed(w);
        }
    }
    w->now = until;
}

/* All routes cost what they must. */
static bool is_true(struct world *w, const struct truth *t)
{
    for (uint32_t i = 0; i < w->node_count; i++) {
        struct node *n = w->nodes[i];
        for (uint32_t to = 0; n->mesh && to < w->node_count; to++) {
            if (to == i)
                continue;
            struct told *told = route_of(n, to);
            if ((told ? told->cost : -1) != truth_cost(t, i, to))
                return false;
        }
    }
    return true;
}

mono_ms world_run_until_agreed(struct world *w, mono_ms until)
{
    struct truth t = truth_new(w);
    mono_ms when = -1;
    for (mono_ms at = w->now; at <= until && when < 0; at += 20) {
        world_run(w, at);
        if (is_true(w, &t))
            when = at;
    }
    free(t.cost);
    return when;
}

/* ---- converged ---- */

static void check_pair(struct world *w, const struct truth *t, uint32_t a, uint32_t b)
{
    struct node *n = w->nodes[a];
    int64_t cost = truth_cost(t, a, b);
    uint64_t link, mapped = 0;
    bool has_route = next_link(w, a, b, &link);
    if (has_route != (cost >= 0))
        world_fail(w, "r%u %s to r%u", a, has_route ? "has a route that cannot be" : "has no route", b);
    if (!has_route) {
        uint32_t index = n->mesh ? n->index_of[b] : UINT32_MAX;
        if (index != UINT32_MAX && n->told[index].addresses)
            world_fail(w, "r%u maps addresses of r%u, which is gone", a, b);
        return;
    }
    if (follow(w, a, b) < 0)
        world_fail(w, "what r%u sends to r%u does not arrive", a, b);
    if (n->mesh && route_of(n, b)->cost != cost)
        world_fail(w, "r%u thinks that r%u costs %" PRId64 ", but it is %" PRId64, a, b, route_of(n, b)->cost, cost);
    mapped = n->mesh ? route_of(n, b)->addresses : old_addresses(n->old, b);
    if (mapped != w->nodes[b]->attached)
        world_fail(w, "r%u has addresses %" PRIx64 " of r%u, which has %" PRIx64, a, mapped, b, w->nodes[b]->attached);
}

/* Pass on what entered at `origin` as each router thinks right. Result: false, a copy too many. */
static void spread(struct world *w, uint32_t origin, const bool *receives, uint32_t *copies)
{
    assert_on_control();
    uint32_t *queue = xcalloc(w->node_count + 1, sizeof *queue), head = 0, tail = 0;
    queue[tail++] = origin;
    copies[origin] = 1;
    while (head < tail) {
        struct node *n = w->nodes[queue[head++]];
        uint32_t limit = mesh_limit(n->mesh), index = n->number == origin ? 0 : n->index_of[origin];
        bool *to = xcalloc(limit + 1, sizeof *to);
        uint64_t links[64];
        uint32_t link_count = 0;
        mesh_forwards(n->mesh, index, to, limit);
        for (uint32_t d = 0; d < w->node_count; d++) {
            if (!receives[d] || d == n->number || n->index_of[d] == UINT32_MAX || !to[n->index_of[d]])
                continue;
            struct told *t = route_of(n, d);
            bool is_sent = false;
            for (uint32_t k = 0; k < link_count; k++)
                is_sent |= links[k] == t->link;
            if (!is_sent && link_count < 64)
                links[link_count++] = t->link;
        }
        for (uint32_t k = 0; k < link_count; k++) {
            uint32_t next = across(w, n->number, links[k]);
            if (++copies[next] > 1)
                world_fail(w, "r%u gets a second copy of what entered at r%u", next, origin);
            queue[tail++] = next;
        }
        free(to);
    }
    free(queue);
}

static void check_multicast(struct world *w, const struct truth *t, uint32_t origin)
{
    bool *receives = xcalloc(w->node_count, sizeof *receives);
    uint32_t *copies = xcalloc(w->node_count, sizeof *copies);
    for (uint32_t i = 0; i < w->node_count; i++)
        receives[i] = world_random(w, 2);
    spread(w, origin, receives, copies);
    for (uint32_t i = 0; i < w->node_count; i++)
        if (receives[i] && truth_cost(t, origin, i) >= 0 && copies[i] != 1)
            world_fail(w, "r%u gets %u copies of what entered at r%u", i, copies[i], origin);
    free(receives);
    free(copies);
}

void world_check_converged(struct world *w)
{
    struct truth t = truth_new(w);
    for (uint32_t a = 0; a < w->node_count; a++) {
        if (!w->nodes[a]->is_alive || w->nodes[a]->is_frozen)
            continue;
        for (uint32_t b = 0; b < w->node_count; b++)
            if (a != b)
                check_pair(w, &t, a, b);
        if (!w->is_mixed && (w->node_count <= 64 || world_random(w, w->node_count) < 16))
            check_multicast(w, &t, a);
    }
    free(t.cost);
}
