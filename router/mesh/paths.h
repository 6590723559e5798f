/* paths.h -- the graph of routers, and trees of least-cost paths through it.
 *
 * Edges are what each router says itself: the edge from u to v has the cost that u claims, whether or not v claims one
 * back, as in Qpid Dispatch 1.19. All routers must break ties alike, or multicast and balanced decisions disagree:
 *
 *   Dijkstra's work list is ordered by (cost, id), ids octet by octet; a path is replaced only by a strictly cheaper
 *   one. So of all predecessors that give the least cost, the one with the smallest (own cost, own id) is the parent.
 *
 * From this follows what multicast stands on: let S lie on the tree path of origin O to D. Then the tree of S continues
 * to D just as the tree of O does. (The predecessors that S finds best are among those that O finds best, in the same
 * order.)
 *
 *   tree of O:   O ---- S ---- T ---- D1        S is a valid origin's next router for D1, D2 and T, so one copy goes
 *                 \      \      `---- D2        from S to T and there becomes two; U gets its copy from O. Nobody gets
 *                  U      V                     a second one, because each router has one parent in the tree of O.
 *
 * A tree is computed when it is asked for and kept. When edges change, each kept tree is tested against just these: it
 * stays if none of its own edges got dearer or went, and none of the new ones leads anywhere cheaper, or equally cheap
 * through a predecessor that goes first. So a change costs little more than the trees that it really alters, and those
 * only when somebody wants them again.
 *
 * Nodes are indices, given out by the caller and small. Thread: the owner; pure.
 */
#ifndef TRUNKLINE_MESH_PATHS_H
#define TRUNKLINE_MESH_PATHS_H

#include <stdbool.h>
#include <stdint.h>

struct paths;

#define PATH_NONE UINT32_MAX
enum { PATH_COST_MAX = INT32_MAX };

struct path_edge {
    uint32_t to;
    int32_t cost; /* at least 1 */
};

/* max_trees: how many trees are kept at most; the one least recently asked for goes first. */
struct paths *paths_new(uint32_t max_trees);
void paths_free(struct paths **p);

/* A node without edges. id: borrowed until paths_remove(). */
void paths_add(struct paths *p, uint32_t node, const char *id);
/* Ownership: no edge may lead to it any more; its own are dropped. */
void paths_remove(struct paths *p, uint32_t node);

/* Replace the edges that leave a node. Of several to one node the first counts; those to itself do not.
 *   Result: whether anything changed. */
bool paths_set_edges(struct paths *p, uint32_t from, const struct path_edge *edges, uint32_t n);
/* Its edges, sorted by node. Borrowed until they change. */
const struct path_edge *paths_edges(const struct paths *p, uint32_t from, uint32_t *n);

/* One node in the tree of a root. */
struct path_node {
    int64_t cost;    /* -1: not reachable */
    uint32_t parent; /* the node before it; PATH_NONE for the root and what is not reachable */
    uint32_t first;  /* the first node on the way from the root; PATH_NONE likewise */
    uint32_t hops;
};

struct path_tree;
/* The tree of a root. Borrowed until edges or nodes change or another tree is asked for. */
const struct path_tree *paths_tree(struct paths *p, uint32_t root);
const struct path_node *path_tree_node(const struct path_tree *t, uint32_t node);
/* Nodes that the root reaches, itself first, by (cost, id). */
const uint32_t *path_tree_order(const struct path_tree *t, uint32_t *n);

/* First hops of all least-cost paths, not only of those in the tree: node's bit b in words[node * stride + b / 64] is
 * set if one of them begins with the root's b-th edge (paths_edges()). For traffic that may be shared among equal
 * paths.
 *   Result:    stride, 64-bit words for each node; nodes beyond *count are not reachable.
 *   Ownership: borrowed as the tree is.
 */
const uint64_t *paths_first_hops(struct paths *p, uint32_t root, uint32_t *stride, uint32_t *count);

/* Whether `via` forwards what enters the mesh at `origin` and goes to `destination`: it is the origin, or lies strictly
 * inside the origin's path to it. */
bool paths_is_on_way(struct paths *p, uint32_t origin, uint32_t via, uint32_t destination);

/* The same for all destinations at once: below[node] for all nodes under `n`. */
void paths_on_way_to(struct paths *p, uint32_t origin, uint32_t via, bool *below, uint32_t n);

/* A number that two routers have in common when their graphs are the same. */
uint64_t paths_fingerprint(const struct paths *p);
/* How many trees have been computed so far. */
uint64_t paths_computed(const struct paths *p);

#endif
