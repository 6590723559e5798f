/* topology.h -- the other routers as a worker sees them: which are reachable, by which connection, at what cost, and
 * which of them a message that entered the mesh elsewhere is to be passed on to.
 *
 * Immutable: control builds the next one whenever the mesh or the links to a neighbour change, and publishes it
 * (base/rcu.h). Routers are named by the small index that the mesh gives them (mesh.h); ours is 0.
 *
 * Thread: control builds; any routing thread reads, until its next quiet point.
 */
#ifndef TRUNKLINE_ROUTE_TOPOLOGY_H
#define TRUNKLINE_ROUTE_TOPOLOGY_H

#include <router/route/table.h>
#include <router/route/token.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trunkline/base/buffer.h>

enum {
    TRUNK_PRIORITIES = 10,
    TRUNK_STREAMING = 10, /* priority of links beyond the ten: for single large messages */
};

enum { FORWARD_TO_NOBODY = UINT32_MAX };

/* The links to a neighbour that carry messages, by priority. */
struct trunk_view {
    uint64_t connection_id;
    uint32_t neighbour; /* index; FORWARD_TO_NOBODY: not known yet */
    struct link_token data[TRUNK_PRIORITIES];
    struct link_load *load[TRUNK_PRIORITIES];
    uint32_t capacity;
};

struct remote_path {
    const struct trunk_view *trunk; /* NULL: unreachable */
    uint32_t cost;
};

struct topology {
    uint32_t limit;            /* indices are below this */
    uint32_t most_hops;        /* what has come further, but by an edge router, is in a loop */
    struct remote_path *paths; /* by index */
    struct trunk_view *trunks;
    uint32_t trunk_count;
    uint64_t *forwards; /* limit rows of `words`: row o, bit d: what entered at o goes on towards d from here */
    uint32_t words;
    struct topology_id *ids; /* open addressing by hash of the id */
    uint32_t id_mask;
};

/* For `limit` routers and `trunks` neighbours, nothing reachable. */
struct topology *topology_new(uint32_t limit, uint32_t trunks);
void topology_free(void *t); /* for rcu_defer(), too */

void topology_set_id(struct topology *t, uint32_t index, const char *id); /* copied */
void topology_set_forwards(struct topology *t, uint32_t origin, uint32_t destination);

/* The index of the router with this id. Result: false, not known. */
bool topology_index(const struct topology *t, const char *id, size_t len, uint32_t *index);
/* The same by node id, "0/<router id>". */
bool topology_node_index(const struct topology *t, struct slice node_id, uint32_t *index);
static inline bool topology_is_reachable(const struct topology *t, uint32_t index)
{
    return t && index < t->limit && t->paths[index].trunk;
}
static inline bool topology_forwards(const struct topology *t, uint32_t origin, uint32_t destination)
{
    return t->forwards[(size_t)origin * t->words + destination / 64] >> (destination % 64) & 1;
}

/* The link for messages of this priority: that of the next lower priority if it is not there; token none: there is no
 * link. */
struct link_token trunk_link(const struct trunk_view *t, unsigned priority, struct link_load **load);

#endif
