#include <router/route/network.h>

#include <router/route/address_name.h>
#include <router/route/connection.h>
#include <router/route/link_route.h>
#include <router/route/registry.h>
#include <router/route/request.h>
#include <router/route/trunk_peer.h>
#include <stdio.h>
#include <stdlib.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/log.h>
#include <trunkline/io/loop.h>

/* A connection to a neighbour. */
struct trunk {
    struct list node;
    uint64_t connection_id;
    struct link *control_in, *control_out, *data_out[TRUNK_PRIORITIES];
    struct connection *conn; /* good while it has links */
    bool is_up;              /* the mesh knows it */
    bool is_heard;           /* ... and hears a router there */
    bool fell_silent;        /* and just now no longer does */
};

/* A router's route, as the mesh said last. */
struct known {
    char *id; /* NULL: nobody has this index */
    uint64_t link;
    uint32_t cost;
    bool is_reachable, is_shown; /* shown: there is an address for it */
    char *next_hop;
};

static struct {
    struct mesh *mesh; /* NULL: this router is alone */
    struct mesh_owner owner;
    struct loop *loop;
    struct route_world *world;
    struct list trunks;
    struct known *known;
    uint32_t known_count;
    struct timer timer;
    bool is_dirty; /* the topology is to be published */
} network;

static mono_ms now(void)
{
    return loop_now(network.loop);
}

struct mesh *network_mesh(void)
{
    return network.mesh;
}

static void set_timer(void) ON_CONTROL
{
    mono_ms due = mesh_deadline(network.mesh);
    if (due == MONO_MS_NEVER)
        timer_cancel(&network.timer);
    else
        loop_timer_at(network.loop, &network.timer, due);
}

/* Messages on their way to a router that is no longer heard must not wait for the connection's end, which may take as
 * long as its idle timeout. */
static void note_silence(void) ON_CONTROL
{
    list_for_each(n, &network.trunks)
    {
        struct trunk *t = list_entry(n, struct trunk, node);
        bool was_heard = t->is_heard;
        t->is_heard = mesh_link_is_heard(network.mesh, t->connection_id);
        if (was_heard && !t->is_heard)
            network.is_dirty = t->fell_silent = true;
    }
}

/* HELLOs that only say that a neighbour lives have not woken us: when were the last ones, and the last octets at all? */
static void note_hellos(void) ON_CONTROL
{
    list_for_each(n, &network.trunks)
    {
        struct trunk *t = list_entry(n, struct trunk, node);
        uint32_t gap;
        mono_ms heard = hello_watch_take(&t->conn->hello, &gap);
        if (heard)
            mesh_hello_repeated(network.mesh, t->connection_id, heard, gap);
        mesh_link_received(network.mesh, t->connection_id, io_conn_heard(&t->conn->io));
    }
}

static void watch_hellos(void) ON_CONTROL
{
    list_for_each(n, &network.trunks)
    {
        struct trunk *t = list_entry(n, struct trunk, node);
        hello_watch_set_steady(&t->conn->hello, mesh_link_is_steady(network.mesh, t->connection_id));
    }
}

static void on_timer(struct timer *t)
{
    assert_on_control();
    (void)t;
    note_hellos();
    mesh_tick(network.mesh, now());
    note_silence();
    watch_hellos();
    set_timer();
}

/* ---- trunks ---- */

static struct trunk *find_trunk(uint64_t connection_id)
{
    list_for_each(n, &network.trunks)
    {
        struct trunk *t = list_entry(n, struct trunk, node);
        if (t->connection_id == connection_id)
            return t;
    }
    return NULL;
}

static struct trunk *trunk_of(struct link *l)
{
    struct trunk *t = find_trunk(l->conn->id);
    if (t)
        return t;
    t = xcalloc(1, sizeof *t);
    t->connection_id = l->conn->id;
    t->conn = l->conn;
    list_append(&network.trunks, &t->node);
    return t;
}

static struct link **place_of(struct trunk *t, const struct link *l)
{
    if (l->kind == LINK_CONTROL)
        return l->is_incoming ? &t->control_in : &t->control_out;
    return !l->is_incoming && l->priority < TRUNK_PRIORITIES ? &t->data_out[l->priority] : NULL;
}

static void trunk_up(struct trunk *t) ON_CONTROL
{
    struct mesh_peer peer;
    trunk_peer_read(t->conn->properties, t->conn->settings->cost, &peer);
    enum err e = mesh_link_up(network.mesh, t->connection_id, &peer, now());
    t->is_up = e == OK;
    if (e != OK)
        LOG(ROUTER, ERROR_LEVEL, "[C%llu] the connection to router '%s' is not used: %s",
            (unsigned long long)t->connection_id, t->conn->container, err_text(e));
}

void network_link_attached(struct link *l)
{
    if (!network.mesh)
        return;
    struct trunk *t = trunk_of(l);
    struct link **place = place_of(t, l);
    if (place)
        *place = l;
    if (!t->is_up && t->control_in && t->control_out)
        trunk_up(t);
    network.is_dirty = true;
    set_timer();
}

void network_link_gone(struct link *l)
{
    struct trunk *t = network.mesh ? find_trunk(l->conn->id) : NULL;
    struct link **place = t ? place_of(t, l) : NULL;
    if (place && *place == l)
        *place = NULL;
    if (!t)
        return;
    network.is_dirty = true;
    if (t->is_up && (!t->control_in || !t->control_out)) {
        t->is_up = false;
        mesh_link_down(network.mesh, t->connection_id, now());
        set_timer();
    }
    bool has_data = false;
    for (int p = 0; p < TRUNK_PRIORITIES; p++)
        has_data = has_data || t->data_out[p];
    if (t->control_in || t->control_out || has_data)
        return;
    list_remove(&t->node);
    free(t);
}

/* ---- what the mesh tells ---- */

static void on_send(struct mesh_owner *o, uint64_t link, const uint8_t *octets, size_t n)
{
    (void)o;
    struct trunk *t = find_trunk(link);
    /* As the router stops, links go one after the other, and the mesh would tell those left of it; no worker is left.
     */
    if (!t || !t->control_out || here->ending)
        return;
    here_send(t->control_out, octets, n, true);
}

static struct known *known_at(uint32_t index)
{
    if (index >= network.known_count) {
        uint32_t count = index + 16;
        network.known = xrealloc(network.known, count * sizeof *network.known);
        memset(network.known + network.known_count, 0, (count - network.known_count) * sizeof *network.known);
        network.known_count = count;
    }
    return &network.known[index];
}

static void set_text(char **at, const char *text)
{
    free(*at);
    *at = text ? xstrdup(text) : NULL;
}

/* The address under which a router itself is reached, R<id>: replies and management go by it. */
static void show_router(struct known *k, uint32_t index, bool is_shown) ON_CONTROL
{
    if (k->is_shown == is_shown)
        return;
    k->is_shown = is_shown;
    char key[ROUTER_ID_MAX + 2];
    snprintf(key, sizeof key, "R%s", k->id);
    if (is_shown)
        registry_map(key, index, -1);
    else
        registry_unmap(key, index);
}

static void on_route_changed(struct mesh_owner *o, const struct mesh_route *route)
{
    assert_on_control();
    (void)o;
    struct known *k = known_at(route->index);
    set_text(&k->id, route->router);
    k->is_reachable = route->is_reachable;
    set_text(&k->next_hop, route->is_reachable ? route->next_hop : NULL);
    k->link = route->is_reachable ? route->link : 0;
    k->cost = route->is_reachable ? (uint32_t)route->cost : 0;
    show_router(k, route->index, route->is_reachable);
    network.is_dirty = true;
}

static void on_router_forgotten(struct mesh_owner *o, uint32_t index)
{
    assert_on_control();
    (void)o;
    struct known *k = known_at(index);
    show_router(k, index, false);
    set_text(&k->id, NULL);
    set_text(&k->next_hop, NULL);
    k->is_reachable = false;
    network.is_dirty = true;
}

static void on_topology_changed(struct mesh_owner *o)
{
    (void)o;
    network.is_dirty = true;
}

static void on_mapped(struct mesh_owner *o, const char *key, uint32_t router, int hint)
{
    assert_on_control();
    (void)o;
    registry_map(key, router, hint);
}

static void on_unmapped(struct mesh_owner *o, const char *key, uint32_t router)
{
    assert_on_control();
    (void)o;
    registry_unmap(key, router);
}

/* ---- the topology that workers read ---- */

static struct trunk_view *view_of(struct topology *t, uint64_t connection_id)
{
    for (uint32_t i = 0; i < t->trunk_count; i++)
        if (t->trunks[i].connection_id == connection_id)
            return &t->trunks[i];
    return NULL;
}

static void fill_trunks(struct topology *t)
{
    uint32_t i = 0;
    list_for_each(n, &network.trunks)
    {
        struct trunk *trunk = list_entry(n, struct trunk, node);
        struct trunk_view *v = &t->trunks[i++];
        v->connection_id = trunk->connection_id;
        v->neighbour = FORWARD_TO_NOBODY;
        v->capacity = trunk->conn->settings->link_capacity;
        for (int p = 0; p < TRUNK_PRIORITIES; p++) {
            if (!trunk->data_out[p])
                continue;
            v->data[p] = trunk->data_out[p]->token;
            v->load[p] = &trunk->data_out[p]->load;
        }
    }
}

static void fill_paths(struct topology *t)
{
    for (uint32_t i = 1; i < t->limit && i < network.known_count; i++) {
        const struct known *k = &network.known[i];
        if (!k->id)
            continue;
        topology_set_id(t, i, k->id);
        if (!k->is_reachable)
            continue;
        struct trunk_view *v = view_of(t, k->link);
        t->paths[i] = (struct remote_path){.trunk = v, .cost = k->cost};
        if (v && strcmp(k->id, k->next_hop) == 0)
            v->neighbour = i;
    }
}

static void fill_forwards(struct topology *t) ON_CONTROL
{
    bool *to = xcalloc(t->limit, sizeof *to);
    for (uint32_t origin = 0; origin < t->limit; origin++) {
        if (origin && (origin >= network.known_count || !network.known[origin].is_reachable))
            continue;
        mesh_forwards(network.mesh, origin, to, t->limit);
        for (uint32_t d = 1; d < t->limit; d++)
            if (to[d])
                topology_set_forwards(t, origin, d);
    }
    free(to);
}

/* The topology that leads around them is published. */
static void give_up_silent(void) ON_CONTROL
{
    list_for_each(n, &network.trunks)
    {
        struct trunk *t = list_entry(n, struct trunk, node);
        if (t->fell_silent && t->control_out)
            registry_link_silent(t->control_out);
        t->fell_silent = false;
    }
}

bool network_turn_ends(void)
{
    if (!network.is_dirty)
        return false;
    network.is_dirty = false;
    uint32_t trunks = 0;
    list_for_each(n, &network.trunks)
    {
        trunks++;
    }
    struct topology *t = topology_new(mesh_limit(network.mesh), trunks);
    t->most_hops = mesh_most_hops(network.mesh);
    topology_set_id(t, 0, network.world->identity.id);
    fill_trunks(t);
    fill_paths(t);
    fill_forwards(t);
    struct topology *last = rcu_read(&network.world->topology);
    rcu_publish(&network.world->topology, t);
    rcu_defer(last, topology_free);
    give_up_silent();
    return true;
}

struct connection *network_next_hop(uint32_t router)
{
    struct known *k = router < network.known_count ? &network.known[router] : NULL;
    struct trunk *t = k && k->is_reachable ? find_trunk(k->link) : NULL;
    return t && t->is_up ? t->conn : NULL;
}

/* ---- addresses ---- */

static bool is_announced(const struct address *a)
{
    bool is_class = a->key[0] == ADDRESS_MOBILE || a->key[0] == ADDRESS_EDGE || link_route_is_key(a->key);
    return network.mesh && is_class && !a->is_own;
}

enum { HINT_LINK_BALANCED = 4 };

static int hint_of(const struct address *a)
{
    enum distribution d = a->distribution;
    if (link_route_is_key(a->key))
        return HINT_LINK_BALANCED;
    return d == DISTRIBUTION_MULTICAST ? 1 : d == DISTRIBUTION_CLOSEST ? 2 : 3;
}

void network_address_added(const struct address *a)
{
    if (!is_announced(a))
        return;
    mesh_address_added(network.mesh, a->key, hint_of(a), now());
    set_timer();
}

void network_address_removed(const struct address *a)
{
    if (!is_announced(a))
        return;
    mesh_address_removed(network.mesh, a->key, now());
    set_timer();
}

/* ---- start and stop ---- */

static void on_control_message(const uint8_t *message, size_t n, uint64_t connection_id, const char *key)
{
    assert_on_control();
    (void)key;
    if (!network.mesh)
        return;
    mesh_receive(network.mesh, connection_id, message, n, now());
    set_timer();
}

enum err network_start(struct loop *loop, struct route_world *world, struct mesh_conf *conf)
{
    network.loop = loop;
    network.world = world;
    list_init(&network.trunks);
    timer_init(&network.timer, on_timer);
    network.owner = (struct mesh_owner){
        .send = on_send,
        .route_changed = on_route_changed,
        .router_forgotten = on_router_forgotten,
        .topology_changed = on_topology_changed,
        .mapped = on_mapped,
        .unmapped = on_unmapped,
    };
    conf->id = world->identity.id;
    wall_us start = clock_wall_us();
    conf->instance = start / 1000000;
    conf->life = start % 1000000; /* two starts within a second differ */
    enum err e = mesh_new(conf, &network.owner, now(), &network.mesh);
    if (e != OK)
        return e;
    request_serve_routers(on_control_message);
    network.is_dirty = true;
    set_timer();
    return OK;
}

void network_stop(void)
{
    if (!network.mesh)
        return;
    timer_cancel(&network.timer);
    mesh_free(&network.mesh);
    for (uint32_t i = 0; i < network.known_count; i++) {
        free(network.known[i].id);
        free(network.known[i].next_hop);
    }
    free(network.known);
    struct list *n;
    while ((n = list_take_first(&network.trunks)))
        free(list_entry(n, struct trunk, node));
    topology_free(rcu_read(&network.world->topology));
}
