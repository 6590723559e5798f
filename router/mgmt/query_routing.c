/* The router itself, its connections, links and addresses. Objects belong to control; counters are the workers', read
 * as they are. */
#include "query_priv.h"

#include <router/mgmt/python_value.h>
#include <router/route/autolink.h>
#include <router/route/connection.h>
#include <router/route/here.h>
#include <router/route/link.h>
#include <router/route/link_route.h>
#include <router/route/topology.h>
#include <router/route/registry.h>
#include <router/route/routed_link.h>
#include <router/route/table.h>
#include <router/route/uplink.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The router index of the mesh has so many places; a lone router is the first. */
enum { HISTOGRAM_PLACES = 128, ENDPOINT_PRIORITY = 4 };

/* ---- shapes of columns ---- */

#define COLUMN(kind, type, column, expression)                                                                         \
    static PyObject *kind##_##column(const void *object, const struct asked *q)                                        \
    {                                                                                                                  \
        const type *o = object;                                                                                        \
        (void)o;                                                                                                       \
        (void)q;                                                                                                       \
        return expression;                                                                                             \
    }
#define ENTRY(kind, column) {#column, kind##_##column},

#define LOAD(member) atomic_load_explicit(&(member), memory_order_relaxed)

static PyObject *boolean(bool b)
{
    return PyBool_FromLong(b);
}

static const void *next_in_list(struct walk *w)
{
    w->at = w->at->next;
    return w->at == w->head ? NULL : w->at;
}

static void begin_list(struct walk *w, const struct list *head)
{
    w->head = w->at = head;
}

static uint64_t seconds_since(mono_ms then, mono_ms now)
{
    return now > then ? (uint64_t)(now - then) / 1000 : 0;
}

/* ---- links ---- */

static uint64_t link_queued(const struct link *l)
{
    return l->is_incoming ? 0 : LOAD(l->stats.queued);
}

static uint64_t link_unsettled(const struct link *l)
{
    /* Two counters read one after the other: what is being sent in between must not make it less than none. */
    uint64_t in_hand = LOAD(l->stats.in_hand), queued = link_queued(l);
    return in_hand > queued ? in_hand - queued : 0;
}

static uint64_t link_zero_credit(const struct link *l, mono_ms now)
{
    mono_ms since = LOAD(l->stats.zero_credit_since);
    return since == 0 ? 0 : seconds_since(since, now);
}

static const char *link_type(const struct link *l)
{
    static const char *const names[] = {
        [LINK_ENDPOINT] = "endpoint", [LINK_CONTROL] = "router-control", [LINK_DATA] = "inter-router"};
    return l->is_downlink ? "edge-downlink" : names[l->kind];
}

static uint64_t priority_of_link(const struct link *l)
{
    enum { CONTROL_PRIORITY = 9 };
    if (l->kind == LINK_CONTROL)
        return CONTROL_PRIORITY;
    return l->kind == LINK_DATA && l->priority < TRUNK_PRIORITIES ? l->priority : ENDPOINT_PRIORITY;
}

/* Deliveries by the router that they came in at: all of them here, while there is no other. */
static PyObject *link_histogram(const struct link *l)
{
    if (l->is_incoming || l->conn->settings->role != ROLE_NORMAL)
        return query_none();
    PyObject *list = PyList_New(HISTOGRAM_PLACES);
    for (Py_ssize_t i = 0; list != NULL && i < HISTOGRAM_PLACES; i++) {
        PyObject *n = query_number(i == 0 ? LOAD(l->stats.deliveries) : 0);
        if (n == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, n);
    }
    return list;
}

static const char *owning_address_of(const struct link *l)
{
    assert_on_control();
    if (l->routed)
        return routed_link_key(l);
    return l->address == NULL ? NULL : l->address->key;
}

/* The other end of a routed link. */
static PyObject *other_end_of(const struct link *l)
{
    assert_on_control();
    uint64_t peer = l->routed ? routed_link_peer(l) : 0;
    return peer ? query_decimal(peer) : query_none();
}

#define LINK_COLUMNS(X)                                                                                                \
    X(name, query_text(o->name))                                                                                       \
    X(identity, query_decimal(o->identity))                                                                            \
    X(linkName, query_text(o->name))                                                                                   \
    X(linkType, query_text(link_type(o)))                                                                              \
    X(linkDir, query_text(o->is_incoming ? "in" : "out"))                                                              \
    X(owningAddr, query_text(owning_address_of(o)))                                                                    \
    X(capacity, query_number(o->capacity))                                                                             \
    X(peer, other_end_of(o))                                                                                           \
    X(undeliveredCount, query_number(link_queued(o)))                                                                  \
    X(unsettledCount, query_number(link_unsettled(o)))                                                                 \
    X(deliveryCount, query_number(LOAD(o->stats.deliveries)))                                                          \
    X(connectionId, query_decimal(o->conn->id))                                                                        \
    X(adminStatus, query_text("enabled"))                                                                              \
    X(operStatus, query_text("up"))                                                                                    \
    X(presettledCount, query_number(LOAD(o->stats.presettled)))                                                        \
    X(droppedPresettledCount, query_number(LOAD(o->stats.dropped_presettled)))                                         \
    X(acceptedCount, query_number(LOAD(o->stats.accepted)))                                                            \
    X(rejectedCount, query_number(LOAD(o->stats.rejected)))                                                            \
    X(releasedCount, query_number(LOAD(o->stats.released)))                                                            \
    X(modifiedCount, query_number(LOAD(o->stats.modified)))                                                            \
    X(deliveriesDelayed1Sec, query_number(LOAD(o->stats.delayed_1s)))                                                  \
    X(deliveriesDelayed10Sec, query_number(LOAD(o->stats.delayed_10s)))                                                \
    X(deliveriesStuck, query_number(link_stats_stuck(&o->stats, q->now, query_settings.stuck_age)))                    \
    X(ingressHistogram, link_histogram(o))                                                                             \
    X(priority, query_number(priority_of_link(o)))                                                                     \
    X(settleRate, query_number(link_stats_settle_rate(&o->stats, q->now)))                                             \
    X(creditAvailable, query_number(LOAD(o->stats.credit)))                                                            \
    X(zeroCreditSeconds, query_number(link_zero_credit(o, q->now)))

#define X(column, expression) COLUMN(link, struct link, column, expression)
LINK_COLUMNS(X)
#undef X

static const struct column link_columns[] = {
#define X(column, expression) ENTRY(link, column)
    LINK_COLUMNS(X)
#undef X
};

static void link_begin(struct walk *w)
{
    assert_on_control();
    begin_list(w, registry_links());
}

static const void *link_next(struct walk *w)
{
    const struct list *n = next_in_list(w);
    return n == NULL ? NULL : list_entry(n, struct link, node);
}

static const void *link_find(const char *identity)
{
    uint64_t n;
    struct walk w;
    if (!query_identity_number(identity, &n))
        return NULL;
    link_begin(&w);
    const struct link *l = link_next(&w);
    while (l != NULL && l->identity != n)
        l = link_next(&w);
    return l;
}

static uint64_t link_position(const void *object)
{
    return ((const struct link *)object)->identity;
}

const struct kind query_kind_link = {"router.link",     COLUMNS(link_columns), .begin = link_begin,
                                     .next = link_next, .find = link_find,     .position = link_position};

/* ---- addresses ---- */

static uint64_t sum_of_links(const struct list *links, bool of_containers)
{
    uint64_t sum = 0;
    list_for_each(n, links)
    {
        const struct link *l = list_entry(n, struct link, of_address);
        bool is_container = l->conn->settings->role == ROLE_ROUTE_CONTAINER;
        sum += !of_containers || is_container ? LOAD(l->stats.deliveries) : 0;
    }
    return sum;
}

static uint64_t address_ingress(const struct address *a)
{
    return a->past_ingress + LOAD(a->anonymous_ingress) + sum_of_links(&a->senders, false);
}

static uint64_t address_egress(const struct address *a)
{
    return a->past_egress + sum_of_links(&a->receivers, false);
}

static uint64_t address_ingress_container(const struct address *a)
{
    return a->past_ingress_container + sum_of_links(&a->senders, true);
}

static uint64_t address_egress_container(const struct address *a)
{
    return a->past_egress_container + sum_of_links(&a->receivers, true);
}

static const char *distribution_of(const struct address *a)
{
    return link_route_is_key(a->key) ? "linkBalanced" : distribution_text(a->distribution);
}

static uint64_t containers_of(const struct address *a)
{
    assert_on_control();
    return link_route_containers(a);
}

static PyObject *remote_routers_of(const struct address *a)
{
    assert_on_control();
    return query_router_ids(a->remotes, a->remote_count);
}

#define ADDRESS_COLUMNS(X)                                                                                             \
    X(key, query_text(o->key))                                                                                         \
    X(distribution, query_text(distribution_of(o)))                                                                    \
    X(inProcess, query_number(o->in_process))                                                                          \
    X(subscriberCount, query_number(o->receiver_count))                                                                \
    X(remoteCount, query_number(o->remote_count))                                                                      \
    X(containerCount, query_number(containers_of(o)))                                                                  \
    X(remoteHostRouters, remote_routers_of(o))                                                                         \
    X(deliveriesIngress, query_number(address_ingress(o)))                                                             \
    X(deliveriesEgress, query_number(address_egress(o)))                                                               \
    X(deliveriesTransit, query_number(LOAD(o->transit)))                                                               \
    X(deliveriesToContainer, query_number(LOAD(o->in_process_count)))                                                  \
    X(deliveriesFromContainer, query_number(0))                                                                        \
    X(deliveriesEgressRouteContainer, query_number(address_egress_container(o)))                                       \
    X(deliveriesIngressRouteContainer, query_number(address_ingress_container(o)))                                     \
    X(transitOutstanding, query_none()) /* under way to other routers: counted for each link, not for each address */  \
    X(trackedDeliveries, query_none())                                                                                 \
    X(priority, PyLong_FromLong(o->priority))                                                                          \
    X(deliveriesRedirectedToFallback, query_number(LOAD(o->redirected)))

#define X(column, expression) COLUMN(address, struct address, column, expression)
ADDRESS_COLUMNS(X)
#undef X

static const struct column address_columns[] = {
#define X(column, expression) ENTRY(address, column)
    ADDRESS_COLUMNS(X)
#undef X
};

static void address_begin(struct walk *w)
{
    assert_on_control();
    begin_list(w, table_addresses(here->world->table));
}

static const void *address_next(struct walk *w)
{
    const struct list *n = next_in_list(w);
    return n == NULL ? NULL : list_entry(n, struct address, node);
}

static const void *address_find(const char *key)
{
    return table_find(here->world->table, key, strlen(key));
}

static uint64_t address_position(const void *object)
{
    return ((const struct address *)object)->number;
}

const struct kind query_kind_address = {"router.address",     COLUMNS(address_columns), .begin = address_begin,
                                        .next = address_next, .find = address_find,     .position = address_position};

/* ---- connections ---- */

static PyObject *connection_idle(const struct connection *c, mono_ms now)
{
    mono_ms last = LOAD(c->last_delivery);
    return last == 0 ? query_none() : query_number(seconds_since(last, now));
}

static bool connection_is_reserve(const struct connection *c)
{
    assert_on_control();
    return uplink_is_reserve(c);
}

#define CONNECTION_COLUMNS(X)                                                                                          \
    X(identity, query_decimal(o->id))                                                                                  \
    X(host, query_text(o->host))                                                                                       \
    X(role, query_text(connection_role_name(o->settings->role)))                                                       \
    X(protocol, query_text("amqp"))                                                                                    \
    X(dir, query_text(o->connector != NULL ? "out" : "in"))                                                            \
    X(container, query_text(o->container))                                                                             \
    X(sasl, query_text(o->mechanism))                                                                                  \
    X(isAuthenticated, boolean(o->mechanism != NULL))                                                                  \
    X(user, query_text(o->user))                                                                                       \
    X(isEncrypted, boolean(false))                                                                                     \
    X(sslProto, query_none())                                                                                          \
    X(sslCipher, query_none())                                                                                         \
    X(properties, connection_peer_properties(o))                                                                       \
    X(sslSsf, query_number(0))                                                                                         \
    X(tenant, query_text(o->tenant))                                                                                   \
    X(ssl, boolean(false))                                                                                             \
    X(opened, boolean(true))                                                                                           \
    X(active, boolean(!connection_is_reserve(o)))                                                                      \
    X(adminStatus, query_text(o->closing ? "deleted" : "enabled"))                                                     \
    X(operStatus, query_text(o->closing ? "closing" : "up"))                                                           \
    X(uptimeSeconds, query_number(seconds_since(o->opened, q->now)))                                                   \
    X(lastDlvSeconds, connection_idle(o, q->now))                                                                      \
    X(enableProtocolTrace, boolean(LOAD(o->tracing)))

static PyObject *connection_peer_properties(const struct connection *c)
{
    assert_on_control();
    return python_value_properties(c->properties);
}

#define X(column, expression) COLUMN(connection, struct connection, column, expression)
CONNECTION_COLUMNS(X)
#undef X

static const struct column connection_columns[] = {
#define X(column, expression) ENTRY(connection, column)
    CONNECTION_COLUMNS(X)
#undef X
};

static void connection_begin(struct walk *w)
{
    assert_on_control();
    begin_list(w, registry_connections());
}

static const void *connection_next(struct walk *w)
{
    const struct list *n = next_in_list(w);
    return n == NULL ? NULL : list_entry(n, struct connection, node);
}

static const void *connection_find(const char *identity)
{
    assert_on_control();
    uint64_t n;
    return query_identity_number(identity, &n) ? registry_connection(n) : NULL;
}

static uint64_t connection_position(const void *object)
{
    return ((const struct connection *)object)->listed_as;
}

const struct kind query_kind_connection = {"connection",
                                           COLUMNS(connection_columns),
                                           .begin = connection_begin,
                                           .next = connection_next,
                                           .find = connection_find,
                                           .position = connection_position};

/* ---- the router ---- */

/* Sums over all links, made once for a row. */
struct router_row {
    struct registry_totals totals;
    uint64_t stuck, blocked;
    uint64_t uptime_s;
};

enum { BLOCKED_AFTER_S = 10 };

static void add_states(struct router_row *r, mono_ms now)
{
    struct walk w;
    link_begin(&w);
    for (const struct link *l = link_next(&w); l != NULL; l = link_next(&w)) {
        r->stuck += link_stats_stuck(&l->stats, now, query_settings.stuck_age);
        r->blocked += link_zero_credit(l, now) > BLOCKED_AFTER_S;
    }
}

static const struct router_row *router_row(void)
{
    static struct router_row row; /* control's; good for one row */
    assert_on_control();
    row = (struct router_row){0};
    mono_ms now = clock_mono_ms();
    registry_totals(&row.totals);
    add_states(&row, now);
    row.uptime_s = seconds_since(query_settings.started, now);
    return &row;
}

/* The virtual size in octets; None where the system does not say. */
static PyObject *router_virtual_size(void)
{
    unsigned long long pages;
    FILE *f = fopen("/proc/self/statm", "re");
    bool known = f != NULL && fscanf(f, "%llu", &pages) == 1;
    if (f != NULL)
        fclose(f);
    return known ? query_number(pages * (uint64_t)sysconf(_SC_PAGESIZE)) : query_none();
}

static uint64_t router_addresses(void)
{
    assert_on_control();
    return table_count(here->world->table);
}

static uint64_t router_autolinks(void)
{
    assert_on_control();
    return autolink_count();
}

static uint64_t router_link_routes(void)
{
    assert_on_control();
    return link_route_count();
}

static uint64_t router_links(void)
{
    assert_on_control();
    return registry_link_count();
}

static uint64_t router_connections(void)
{
    assert_on_control();
    return registry_connection_count();
}

#define ROUTER_COLUMNS(X)                                                                                              \
    X(addrCount, query_number(router_addresses()))                                                                     \
    X(linkCount, query_number(router_links()))                                                                         \
    X(nodeCount, query_number(0))                                                                                      \
    X(linkRouteCount, query_number(router_link_routes()))                                                              \
    X(autoLinkCount, query_number(router_autolinks()))                                                                 \
    X(connectionCount, query_number(router_connections()))                                                             \
    X(presettledDeliveries, query_number(o->totals.presettled))                                                        \
    X(droppedPresettledDeliveries, query_number(o->totals.dropped_presettled))                                         \
    X(acceptedDeliveries, query_number(o->totals.accepted))                                                            \
    X(rejectedDeliveries, query_number(o->totals.rejected))                                                            \
    X(releasedDeliveries, query_number(o->totals.released))                                                            \
    X(modifiedDeliveries, query_number(o->totals.modified))                                                            \
    X(deliveriesDelayed1Sec, query_number(o->totals.delayed_1s))                                                       \
    X(deliveriesDelayed10Sec, query_number(o->totals.delayed_10s))                                                     \
    X(deliveriesStuck, query_number(o->stuck))                                                                         \
    X(deliveriesIngress, query_number(o->totals.ingress))                                                              \
    X(deliveriesEgress, query_number(o->totals.egress))                                                                \
    X(deliveriesTransit, query_number(o->totals.transit))                                                              \
    X(deliveriesIngressRouteContainer, query_number(o->totals.ingress_route_container))                                \
    X(deliveriesEgressRouteContainer, query_number(o->totals.egress_route_container))                                  \
    X(deliveriesRedirectedToFallback, query_number(o->totals.redirected))                                              \
    X(linksBlocked, query_number(o->blocked))                                                                          \
    X(uptimeSeconds, query_number(o->uptime_s))                                                                        \
    X(memoryUsage, router_virtual_size())

#define X(column, expression) COLUMN(router, struct router_row, column, expression)
ROUTER_COLUMNS(X)
#undef X

static const struct column router_columns[] = {
#define X(column, expression) ENTRY(router, column)
    ROUTER_COLUMNS(X)
#undef X
};

static void router_begin(struct walk *w)
{
    w->index = 0;
}

static const void *router_next(struct walk *w)
{
    return w->index++ == 0 ? router_row() : NULL;
}

static const void *router_find(const char *identity)
{
    return strcmp(identity, "1") == 0 ? router_row() : NULL;
}

const struct kind query_kind_router = {"router", COLUMNS(router_columns), .begin = router_begin, .next = router_next,
                                       .find = router_find};
