#include "paths.h"

#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/hash.h>
#include <trunkline/base/list.h>

struct node {
    const char *id; /* borrowed; NULL: no such node */
    uint64_t hash;
    struct path_edge *edges; /* sorted by to */
    uint32_t edge_count;
};

struct path_tree {
    struct list node; /* in paths.trees, least recently asked for first */
    uint32_t root;
    bool is_stale;
    uint32_t size;           /* nodes[], order[] */
    struct path_node *nodes; /* by index */
    uint32_t *order;
    uint32_t reached;
    uint64_t *hops; /* first hops, or NULL: not asked for yet */
    uint32_t stride;
};

/* An entry of the work list: entries that a cheaper one has overtaken stay in it and are passed over. */
struct work {
    int64_t cost;
    uint32_t node;
};

struct paths {
    struct node *nodes;
    uint32_t size;
    struct u32map by_root;
    struct list trees;
    uint32_t tree_count, max_trees;
    struct work *heap; /* kept between computations */
    uint32_t heap_size, heap_capacity;
    uint64_t fingerprint, computed;
};

static const struct path_node unreached = {-1, PATH_NONE, PATH_NONE, 0};

struct paths *paths_new(uint32_t max_trees)
{
    struct paths *p = xcalloc(1, sizeof *p);
    u32map_init(&p->by_root);
    list_init(&p->trees);
    p->max_trees = max_trees ? max_trees : 1;
    return p;
}

static void tree_free(struct paths *p, struct path_tree *t)
{
    u32map_remove(&p->by_root, t->root);
    list_remove(&t->node);
    p->tree_count--;
    free(t->nodes);
    free(t->order);
    free(t->hops);
    free(t);
}

void paths_free(struct paths **pp)
{
    struct paths *p = *pp;
    if (p == NULL)
        return;
    list_for_each_safe(n, &p->trees) tree_free(p, list_entry(n, struct path_tree, node));
    for (uint32_t i = 0; i < p->size; i++)
        free(p->nodes[i].edges);
    u32map_fini(&p->by_root);
    free(p->nodes);
    free(p->heap);
    free(p);
    *pp = NULL;
}

void paths_add(struct paths *p, uint32_t node, const char *id)
{
    if (node >= p->size) {
        uint32_t size = p->size * 2 > node + 8 ? p->size * 2 : node + 8;
        p->nodes = xrealloc(p->nodes, size * sizeof *p->nodes);
        memset(p->nodes + p->size, 0, (size - p->size) * sizeof *p->nodes);
        p->size = size;
    }
    ASSERT(p->nodes[node].id == NULL);
    p->nodes[node].id = id;
    p->nodes[node].hash = hash_octets(id, strlen(id));
}

void paths_remove(struct paths *p, uint32_t node)
{
    paths_set_edges(p, node, NULL, 0);
    struct path_tree *t = u32map_get(&p->by_root, node);
    if (t)
        tree_free(p, t);
    free(p->nodes[node].edges);
    p->nodes[node] = (struct node){0};
}

const struct path_edge *paths_edges(const struct paths *p, uint32_t from, uint32_t *n)
{
    *n = p->nodes[from].edge_count;
    return p->nodes[from].edges;
}

/* ---- changes ---- */

static uint64_t edge_hash(const struct paths *p, uint32_t from, const struct path_edge *e)
{
    uint64_t parts[] = {p->nodes[from].hash, p->nodes[e->to].hash, (uint64_t)e->cost};
    return hash_octets(parts, sizeof parts);
}

/* Whether u goes before the present parent of v, both giving the same cost. */
static bool goes_before(const struct paths *p, const struct path_tree *t, uint32_t u, uint32_t v)
{
    uint32_t parent = path_tree_node(t, v)->parent;
    if (parent == PATH_NONE)
        return false; /* v is the root */
    int64_t cost = path_tree_node(t, u)->cost, parents = path_tree_node(t, parent)->cost;
    return cost != parents ? cost < parents : strcmp(p->nodes[u].id, p->nodes[parent].id) < 0;
}

/* Whether a tree is not what it was once the edge u to v costs `cost` (0: it is gone). */
static bool is_altered(const struct paths *p, const struct path_tree *t, uint32_t u, uint32_t v, int32_t before,
                       int32_t cost)
{
    const struct path_node *from = path_tree_node(t, u), *to = path_tree_node(t, v);
    if (from->cost < 0)
        return false;
    if (cost == 0 || (before > 0 && cost > before))
        /* One that is only as good as the tree's matters to the first hops of equal paths. */
        return t->hops ? to->cost == from->cost + before : to->parent == u;
    if (to->cost < 0 || from->cost + cost < to->cost)
        return true;
    return from->cost + cost == to->cost && (t->hops != NULL || goes_before(p, t, u, v));
}

static void note_edge(struct paths *p, uint32_t u, uint32_t v, int32_t before, int32_t cost)
{
    list_for_each(n, &p->trees)
    {
        struct path_tree *t = list_entry(n, struct path_tree, node);
        if (!t->is_stale && is_altered(p, t, u, v, before, cost))
            t->is_stale = true;
        if (t->root == u) { /* its edges have other numbers now */
            free(t->hops);
            t->hops = NULL;
        }
    }
    if (before)
        p->fingerprint ^= edge_hash(p, u, &(struct path_edge){v, before});
    if (cost)
        p->fingerprint ^= edge_hash(p, u, &(struct path_edge){v, cost});
}

static int compare_edges(const void *a, const void *b)
{
    const struct path_edge *x = a, *y = b;
    return x->to < y->to ? -1 : x->to > y->to;
}

/* Sorted, each node once, without the node itself. */
static struct path_edge *tidy_edges(uint32_t from, const struct path_edge *edges, uint32_t n, uint32_t *count)
{
    struct path_edge *sorted = xcalloc(n ? n : 1, sizeof *sorted);
    uint32_t m = 0;
    for (uint32_t i = 0; i < n; i++) {
        ASSERT(edges[i].cost >= 1);
        if (edges[i].to != from)
            sorted[m++] = edges[i];
    }
    if (m > 1)
        qsort(sorted, m, sizeof *sorted, compare_edges);
    *count = 0;
    for (uint32_t i = 0; i < m; i++)
        if (*count == 0 || sorted[*count - 1].to != sorted[i].to)
            sorted[(*count)++] = sorted[i];
    return sorted;
}

bool paths_set_edges(struct paths *p, uint32_t from, const struct path_edge *edges, uint32_t n)
{
    struct node *node = &p->nodes[from];
    ASSERT(node->id != NULL);
    uint32_t count;
    struct path_edge *new = tidy_edges(from, edges, n, &count);
    bool changed = false;
    for (uint32_t i = 0, j = 0; i < node->edge_count || j < count;) {
        uint32_t old_to = i < node->edge_count ? node->edges[i].to : PATH_NONE;
        uint32_t new_to = j < count ? new[j].to : PATH_NONE;
        uint32_t to = old_to < new_to ? old_to : new_to;
        int32_t before = old_to == to ? node->edges[i++].cost : 0;
        int32_t cost = new_to == to ? new[j++].cost : 0;
        if (before != cost) {
            note_edge(p, from, to, before, cost);
            changed = true;
        }
    }
    free(node->edges);
    node->edges = new;
    node->edge_count = count;
    return changed;
}

uint64_t paths_fingerprint(const struct paths *p)
{
    return p->fingerprint;
}

uint64_t paths_computed(const struct paths *p)
{
    return p->computed;
}

/* ---- Dijkstra ---- */

static bool work_before(const struct paths *p, struct work a, struct work b)
{
    return a.cost != b.cost ? a.cost < b.cost : strcmp(p->nodes[a.node].id, p->nodes[b.node].id) < 0;
}

static void work_push(struct paths *p, struct work w)
{
    if (p->heap_size == p->heap_capacity) {
        p->heap_capacity = p->heap_capacity ? p->heap_capacity * 2 : 64;
        p->heap = xrealloc(p->heap, p->heap_capacity * sizeof *p->heap);
    }
    uint32_t i = p->heap_size++;
    for (; i > 0 && work_before(p, w, p->heap[(i - 1) / 2]); i = (i - 1) / 2)
        p->heap[i] = p->heap[(i - 1) / 2];
    p->heap[i] = w;
}

static struct work work_pop(struct paths *p)
{
    struct work top = p->heap[0], last = p->heap[--p->heap_size];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= p->heap_size)
            break;
        if (child + 1 < p->heap_size && work_before(p, p->heap[child + 1], p->heap[child]))
            child++;
        if (!work_before(p, p->heap[child], last))
            break;
        p->heap[i] = p->heap[child];
        i = child;
    }
    p->heap[i] = last;
    return top;
}

static void tree_clear(struct paths *p, struct path_tree *t)
{
    if (t->size != p->size) {
        t->size = p->size;
        t->nodes = xrealloc(t->nodes, t->size * sizeof *t->nodes);
        t->order = xrealloc(t->order, t->size * sizeof *t->order);
    }
    for (uint32_t i = 0; i < t->size; i++)
        t->nodes[i] = unreached;
    free(t->hops);
    t->hops = NULL;
    t->reached = 0;
}

static void tree_settle(struct path_tree *t, uint32_t node)
{
    struct path_node *n = &t->nodes[node];
    if (n->parent != PATH_NONE) {
        n->hops = t->nodes[n->parent].hops + 1;
        n->first = n->parent == t->root ? node : t->nodes[n->parent].first;
    }
    t->order[t->reached++] = node;
}

static void tree_compute(struct paths *p, struct path_tree *t)
{
    tree_clear(p, t);
    p->heap_size = 0;
    t->nodes[t->root].cost = 0;
    work_push(p, (struct work){0, t->root});
    while (p->heap_size) {
        struct work w = work_pop(p);
        if (t->nodes[w.node].cost != w.cost || (w.node != t->root && t->nodes[w.node].hops))
            continue; /* overtaken, or settled before */
        tree_settle(t, w.node);
        const struct node *u = &p->nodes[w.node];
        for (uint32_t i = 0; i < u->edge_count; i++) {
            struct path_node *v = &t->nodes[u->edges[i].to];
            int64_t cost = w.cost + u->edges[i].cost;
            if (v->cost >= 0 && v->cost <= cost)
                continue;
            v->cost = cost;
            v->parent = w.node;
            work_push(p, (struct work){cost, u->edges[i].to});
        }
    }
    t->is_stale = false;
    p->computed++;
}

static struct path_tree *tree_get(struct paths *p, uint32_t root)
{
    ASSERT(root < p->size && p->nodes[root].id != NULL);
    struct path_tree *t = u32map_get(&p->by_root, root);
    if (t == NULL) {
        if (p->tree_count >= p->max_trees)
            tree_free(p, list_first(&p->trees, struct path_tree, node));
        t = xcalloc(1, sizeof *t);
        list_init(&t->node);
        t->root = root;
        t->is_stale = true;
        u32map_put(&p->by_root, root, t);
        p->tree_count++;
    } else {
        list_remove(&t->node);
    }
    list_append(&p->trees, &t->node);
    if (t->is_stale)
        tree_compute(p, t);
    return t;
}

const struct path_tree *paths_tree(struct paths *p, uint32_t root)
{
    return tree_get(p, root);
}

const struct path_node *path_tree_node(const struct path_tree *t, uint32_t node)
{
    return node < t->size ? &t->nodes[node] : &unreached;
}

const uint32_t *path_tree_order(const struct path_tree *t, uint32_t *n)
{
    *n = t->reached;
    return t->order;
}

/* ---- equal paths ---- */

/* Nodes come in the order of their cost, so all that is known of a node is complete before it passes it on. */
static void compute_first_hops(struct paths *p, struct path_tree *t)
{
    uint32_t edges = p->nodes[t->root].edge_count;
    t->stride = edges / 64 + 1;
    t->hops = xcalloc((size_t)t->size * t->stride, sizeof *t->hops);
    for (uint32_t i = 0; i < t->reached; i++) {
        uint32_t u = t->order[i];
        for (uint32_t e = 0; e < p->nodes[u].edge_count; e++) {
            uint32_t v = p->nodes[u].edges[e].to;
            if (t->nodes[v].cost != t->nodes[u].cost + p->nodes[u].edges[e].cost)
                continue;
            uint64_t *to = t->hops + (size_t)v * t->stride, *from = t->hops + (size_t)u * t->stride;
            if (u == t->root)
                to[e / 64] |= (uint64_t)1 << e % 64;
            for (uint32_t w = 0; u != t->root && w < t->stride; w++)
                to[w] |= from[w];
        }
    }
}

const uint64_t *paths_first_hops(struct paths *p, uint32_t root, uint32_t *stride, uint32_t *count)
{
    struct path_tree *t = tree_get(p, root);
    if (t->hops == NULL)
        compute_first_hops(p, t);
    *stride = t->stride;
    *count = t->size;
    return t->hops;
}

bool paths_is_on_way(struct paths *p, uint32_t origin, uint32_t via, uint32_t destination)
{
    const struct path_tree *t = paths_tree(p, origin);
    if (origin == destination || path_tree_node(t, destination)->cost < 0)
        return false;
    for (uint32_t at = path_tree_node(t, destination)->parent; at != PATH_NONE; at = path_tree_node(t, at)->parent)
        if (at == via)
            return true;
    return false;
}

void paths_on_way_to(struct paths *p, uint32_t origin, uint32_t via, bool *below, uint32_t n)
{
    const struct path_tree *t = paths_tree(p, origin);
    memset(below, 0, n * sizeof *below);
    for (uint32_t i = 1; i < t->reached; i++) {
        uint32_t node = t->order[i], parent = t->nodes[node].parent;
        if (node < n)
            below[node] = parent == via || (parent < n && below[parent]);
    }
}
