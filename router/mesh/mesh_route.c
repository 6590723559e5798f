#include "mesh_priv.h"

#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/hash.h>

/* What is known of a neighbour may be of another start of it. */
static void take_start(struct mesh *m, uint32_t router, struct start start)
{
    bool is_other = lsdb_restarted(m->lsdb, router, start.instance, m->now);
    int64_t life = lsdb_router(m->lsdb, router)->life;
    if (!is_other && start_is_other((struct start){start.instance, life}, start)) {
        lsdb_begin_life(m->lsdb, router, start.instance, m->now);
        is_other = true;
    }
    if (is_other)
        mesh_forget_life(m, router);
    if (start.life)
        lsdb_set_life(m->lsdb, router, start.life);
    mesh_check_life(m, router);
}

void mesh_take_neighbours(struct mesh *m)
{
    uint32_t n, count = 0;
    const struct neighbour *all = hello_neighbours(m->hello, &n);
    struct path_edge *edges = xcalloc(n + 1, sizeof *edges);
    for (uint32_t i = 0; i < n; i++) {
        struct slice id = {NULL, (const uint8_t *)all[i].id, strlen(all[i].id)};
        uint32_t index;
        if (lsdb_know(m->lsdb, id, m->now, &index) != OK)
            continue; /* one router too many: logged */
        take_start(m, index, all[i].start);
        edges[count++] = (struct path_edge){index, all[i].cost};
    }
    lsdb_originate(m->lsdb, edges, count, m->now);
    free(edges);
}

/* ---- what a route is now ---- */

struct ways {
    const struct path_edge *edges; /* ours */
    uint32_t edge_count;
    const uint64_t *words; /* paths_first_hops() */
    uint32_t stride, count;
    uint64_t *link_of_edge;
    uint64_t *links; /* room for a route's */
};

static uint64_t link_of(struct mesh *m, uint32_t neighbour)
{
    const char *id = lsdb_router(m->lsdb, neighbour)->id;
    const struct neighbour *n = hello_neighbour(m->hello, (struct slice){NULL, (const uint8_t *)id, strlen(id)});
    ASSERT(n != NULL); /* our edges are our neighbours */
    return n->link;
}

static void ways_init(struct mesh *m, struct ways *w)
{
    w->words = paths_first_hops(m->paths, LSDB_SELF, &w->stride, &w->count);
    w->edges = paths_edges(m->paths, LSDB_SELF, &w->edge_count);
    w->link_of_edge = xcalloc(w->edge_count + 1, sizeof *w->link_of_edge);
    w->links = xcalloc(w->edge_count + 1, sizeof *w->links);
    for (uint32_t i = 0; i < w->edge_count; i++)
        w->link_of_edge[i] = link_of(m, w->edges[i].to);
}

static void ways_fini(struct ways *w)
{
    free(w->link_of_edge);
    free(w->links);
}

/* The links by which a router is reached at its least cost. */
static uint32_t ways_to(const struct ways *w, uint32_t router)
{
    uint32_t n = 0;
    for (uint32_t e = 0; router < w->count && e < w->edge_count; e++)
        if (w->words[(size_t)router * w->stride + e / 64] >> e % 64 & 1)
            w->links[n++] = w->link_of_edge[e];
    return n;
}

static void call_route_changed(struct mesh *m, const struct mesh_route *route)
{
    mesh_call(m);
    m->owner->route_changed(m->owner, route);
    mesh_called(m);
}

static void lose_route(struct mesh *m, const struct lsdb_router *r, struct router_state *s)
{
    s->is_reachable = false;
    s->record.due = s->addresses.due = MONO_MS_NEVER;
    call_route_changed(m, &(struct mesh_route){.router = r->id, .index = r->index});
    mobile_set_reachable(m->mobile, r->index, false);
}

/* What we want to know of a router that can be asked now. */
static void ask_anew(struct mesh *m, const struct lsdb_router *r)
{
    struct router_state *s = mesh_state(m, r->index);
    int64_t known = mobile_known(m->mobile, r->index);
    if (r->announced > r->ls_seq)
        mesh_ask_record(m, r->index, 0);
    else if (r->ls_seq == 0)
        mesh_ask_record(m, r->index, QUESTION_MENTIONED);
    if (r->mobile_seq > known || s->addresses_wanted > known)
        mesh_ask_addresses(m, r->index, 0);
    else if (!r->is_heard)
        mesh_ask_addresses(m, r->index, QUESTION_NO_RA);
}

static void publish_route(struct mesh *m, const struct lsdb_router *r, const struct path_node *node,
                          const struct ways *w)
{
    struct router_state *s = mesh_state(m, r->index);
    uint32_t link_count = ways_to(w, r->index);
    uint64_t ways = hash_octets(w->links, link_count * sizeof *w->links), link = link_of(m, node->first);
    bool was_reachable = s->is_reachable;
    if (was_reachable && s->first == node->first && s->link == link && s->cost == node->cost && s->hops == node->hops &&
        s->ways == ways)
        return;
    s->is_reachable = true;
    s->first = node->first;
    s->link = link;
    s->cost = node->cost;
    s->hops = node->hops;
    s->ways = ways;
    call_route_changed(m, &(struct mesh_route){.router = r->id,
                                               .index = r->index,
                                               .is_reachable = true,
                                               .next_hop = lsdb_router(m->lsdb, node->first)->id,
                                               .link = link,
                                               .cost = node->cost,
                                               .hops = node->hops,
                                               .links = w->links,
                                               .link_count = link_count});
    if (!was_reachable) {
        s->reachable_since = m->now;
        mobile_set_reachable(m->mobile, r->index, true);
        ask_anew(m, r);
    }
}

static void topology_changed(struct mesh *m)
{
    m->last_topology_change = m->now;
    mesh_be_in_flux(m);
    mesh_call(m);
    m->owner->topology_changed(m->owner);
    mesh_called(m);
}

void mesh_publish_routes(struct mesh *m)
{
    struct ways w;
    ways_init(m, &w);
    const struct path_tree *t = paths_tree(m->paths, LSDB_SELF);
    /* Routes that are gone go first: no moment at which a route leads over a link that has been given up. */
    for (uint32_t i = 1; i < lsdb_limit(m->lsdb); i++) {
        const struct lsdb_router *r = lsdb_router(m->lsdb, i);
        if (r && path_tree_node(t, i)->cost < 0 && mesh_state(m, i)->is_reachable)
            lose_route(m, r, mesh_state(m, i));
    }
    uint32_t n;
    const uint32_t *order = path_tree_order(t, &n);
    for (uint32_t i = 1; i < n; i++)
        publish_route(m, lsdb_router(m->lsdb, order[i]), path_tree_node(t, order[i]), &w);
    ways_fini(&w);
    uint64_t graph = paths_fingerprint(m->paths);
    bool is_other = graph != m->published_graph;
    m->published_graph = graph;
    if (is_other)
        topology_changed(m);
}
