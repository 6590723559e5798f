/* Rows of router.node: the routers of the network, this one first. None on a router that is alone. */
#include "query_priv.h"

#include <router/mesh/mesh.h>
#include <router/mesh/paths.h>
#include <router/route/network.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/clock.h>

/* A copy, good for one row: the mesh lends its own only until it changes. */
static struct mesh_row current;

static const void *node_at(uint32_t index) ON_CONTROL
{
    struct mesh *m = network_mesh();
    return m && mesh_row(m, index, &current) ? &current : NULL;
}

static void begin(struct walk *w)
{
    w->index = 0;
}

static const void *next(struct walk *w)
{
    assert_on_control();
    struct mesh *m = network_mesh();
    while (m && w->index < mesh_limit(m)) {
        const void *row = node_at(w->index++);
        if (row)
            return row;
    }
    return NULL;
}

static const void *find(const char *identity)
{
    assert_on_control();
    struct mesh *m = network_mesh();
    uint32_t index;
    return m && mesh_index(m, identity, &index) ? node_at(index) : NULL;
}

PyObject *query_router_ids(const uint32_t *indices, uint32_t count)
{
    PyObject *list = PyList_New(0);
    struct mesh *m = network_mesh();
    for (uint32_t i = 0; m && list && i < count; i++) {
        struct mesh_row row;
        if (!mesh_row(m, indices[i], &row))
            continue;
        PyObject *id = query_text(row.id);
        if (!id || PyList_Append(list, id) != 0)
            Py_CLEAR(list);
        Py_XDECREF(id);
    }
    return list;
}

static PyObject *link_state(const struct mesh_row *r)
{
    assert_on_control();
    uint32_t *peers = xcalloc(r->peer_count + 1, sizeof *peers);
    for (uint32_t i = 0; i < r->peer_count; i++)
        peers[i] = r->peers[i].to;
    PyObject *list = query_router_ids(peers, r->peer_count);
    free(peers);
    return list;
}

/* The routers from which a message to this one comes through here. */
static PyObject *valid_origins(const struct mesh_row *r)
{
    assert_on_control();
    struct mesh *m = network_mesh();
    uint32_t limit = mesh_limit(m), count = 0;
    uint32_t *origins = xcalloc(limit, sizeof *origins);
    bool *to = xcalloc(limit, sizeof *to);
    for (uint32_t origin = 1; origin < limit && !r->is_self; origin++) {
        struct mesh_row row;
        if (!mesh_row(m, origin, &row) || !row.is_reachable)
            continue;
        mesh_forwards(m, origin, to, limit);
        if (to[r->index])
            origins[count++] = origin;
    }
    PyObject *list = query_router_ids(origins, count);
    free(origins);
    free(to);
    return list;
}

static PyObject *address(const struct mesh_row *r)
{
    return PyUnicode_FromFormat("amqp:/_topo/0/%s", r->id);
}

static PyObject *next_hop(const struct mesh_row *r)
{
    return query_text(r->is_self ? "(self)" : r->next_hop);
}

/* Seconds since the epoch, of a time of the monotonic clock. */
static PyObject *epoch_seconds(mono_ms t)
{
    return PyLong_FromLongLong((clock_wall_us() / 1000 - (clock_mono_ms() - t)) / 1000);
}

#define NODE_COLUMNS(X)                                                                                                \
    X(id, query_text(r->id))                                                                                           \
    X(protocolVersion, query_number(1))                                                                                \
    X(instance, PyLong_FromLongLong(r->instance))                                                                      \
    X(linkState, link_state(r))                                                                                        \
    X(nextHop, next_hop(r))                                                                                            \
    X(validOrigins, valid_origins(r))                                                                                  \
    X(address, address(r))                                                                                             \
    X(routerLink, r->is_neighbour ? query_number(r->link) : query_none())                                              \
    X(cost, r->is_self || !r->is_reachable ? query_none() : PyLong_FromLongLong(r->cost))                              \
    X(lastTopoChange, r->is_self ? epoch_seconds(r->last_topology_change) : query_none())                              \
    X(index, query_number(r->index))

#define X(column, value)                                                                                               \
    static PyObject *column_##column(const void *object, const struct asked *q)                                        \
    {                                                                                                                  \
        const struct mesh_row *r = object;                                                                             \
        (void)q;                                                                                                       \
        (void)r;                                                                                                       \
        return value;                                                                                                  \
    }
NODE_COLUMNS(X)
#undef X

static const struct column columns[] = {
#define X(column, value) {#column, column_##column},
    NODE_COLUMNS(X)
#undef X
};
const struct kind query_kind_node = {"router.node", COLUMNS(columns), .begin = begin, .next = next, .find = find};
