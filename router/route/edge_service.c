#include <router/route/edge_service.h>

#include <router/route/address_name.h>
#include <router/route/connection.h>
#include <router/route/edge_wire.h>
#include <router/route/forward.h>
#include <router/route/link_route.h>
#include <router/route/registry.h>
#include <router/route/request.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/log.h>
#include <trunkline/io/loop.h>

static const char tracking_address[] = "_$qd.edge_addr_tracking", lookup_address[] = "_$qd.addr_lookup",
                  heartbeat_address[] = "_$qd.edge_heartbeat";

/* Deliveries that the services' senders may have in hand (wire-protocol reference 2.4). */
enum { LOOKUP_CREDIT = 32, HEARTBEAT_CREDIT = 2 };
enum { WATCH_MS = 2000, SILENCE_MAX_MS = 8000 };

/* A connection whose heartbeat is watched. */
struct watch {
    struct list node;
    struct link *link;
    mono_ms last;
};

static struct {
    struct loop *loop;
    const struct route_world *world;
    struct list watches;
    struct timer timer;
} service;

static bool serves_edges(void)
{
    return service.world && service.world->identity.mode == ROUTER_INTERIOR;
}

/* ---- which links are special ---- */

static bool names(const struct link *l, const char *service_address)
{
    const char *text = l->wanted;
    size_t len = text ? strlen(text) : 0;
    if (text)
        address_name_strip(&text, &len);
    return text && len == strlen(service_address) && memcmp(text, service_address, len) == 0;
}

bool edge_service_resolve(struct link *l, enum attach_refusal *refusal, bool *has_address)
{
    bool by_edge = serves_edges() && l->is_edge;
    *refusal = ATTACH_OK;
    *has_address = true;
    if (names(l, tracking_address)) {
        /* It receives what this module sends it, and nothing that others send to the name. */
        *has_address = false;
        *refusal = by_edge && !l->is_incoming ? ATTACH_OK : ATTACH_SILENT;
    } else if (names(l, lookup_address)) {
        *refusal = by_edge && l->is_incoming ? ATTACH_OK : ATTACH_SILENT;
        l->capacity = LOOKUP_CREDIT;
    } else if (names(l, heartbeat_address) && l->is_incoming) {
        l->capacity = HEARTBEAT_CREDIT;
    } else {
        return false;
    }
    return true;
}

/* ---- tracking ---- */

static bool is_tracked(const struct link *l)
{
    return l->is_edge && l->is_incoming && l->address && l->address->key[0] == ADDRESS_MOBILE &&
           !l->address->in_process;
}

static bool has_destinations_elsewhere(const struct address *a, uint64_t edge)
{
    const struct routes *r = address_routes(a);
    for (uint32_t i = 0; i < r->count; i++)
        if (r->to[i].edge != edge)
            return true;
    return r->remote_count > 0 || address_exchange(a);
}

static void send_tracking(struct link *to, const char *key, bool has_destinations)
{
    size_t n = edge_wire_write_tracking(NULL, 0, key, has_destinations);
    uint8_t *message = xmalloc(n);
    edge_wire_write_tracking(message, n, key, has_destinations);
    here_send(to, message, n, true);
    free(message);
}

/* Tell the edge about the address that l sends to, unless that is what it knows. */
static void track(struct link *l)
{
    struct link *to = l->conn->edge_tracking;
    if (!to || !is_tracked(l))
        return;
    bool has = has_destinations_elsewhere(l->address, l->conn->id);
    if (has == l->edge_told)
        return;
    l->edge_told = has;
    send_tracking(to, l->address->key, has);
}

void edge_service_routes_changed(struct address *a)
{
    list_for_each(n, &a->senders)
    {
        track(list_entry(n, struct link, of_address));
    }
}

/* What the edge attached before it could be told, or was told by a link that has gone. */
static void track_all_of(const struct connection *c) ON_CONTROL
{
    list_for_each(n, registry_links())
    {
        struct link *l = list_entry(n, struct link, node);
        if (l->conn != c)
            continue;
        l->edge_told = false;
        track(l);
    }
}

/* ---- look-up ---- */

static void on_lookup(const uint8_t *message, size_t n, uint64_t connection_id, const char *key)
{
    assert_on_control();
    (void)key;
    struct edge_lookup request;
    if (edge_wire_read_lookup(message, n, &request) != OK) {
        LOG_PEER(ROUTER_CORE, WARNING, "[C%llu] a look-up of an address is not understood, and not answered",
                 (unsigned long long)connection_id);
        return;
    }
    struct edge_lookup_answer found = {.status = EDGE_LOOKUP_NOT_FOUND};
    found.is_link_route = link_route_lookup((const char *)request.address.data, request.address.len, request.is_sender,
                                            &found.has_destinations);
    if (found.is_link_route)
        found.status = EDGE_LOOKUP_FOUND;
    size_t size = edge_wire_write_answer(NULL, 0, &request, &found);
    uint8_t *answer = xmalloc(size);
    edge_wire_write_answer(answer, size, &request, &found);
    char *to = xstrndup((const char *)request.reply_to.data, request.reply_to.len);
    if (!request_answer(to, answer, size))
        LOG_IF(ROUTER_CORE, DEBUG, "[C%llu] nobody waits for the answer to a look-up",
               (unsigned long long)connection_id);
    free(to);
    free(answer);
}

/* ---- heartbeat ---- */

static void on_heartbeat(const uint8_t *message, size_t n, uint64_t connection_id, const char *key)
{
    assert_on_control();
    (void)message;
    (void)n;
    (void)key;
    list_for_each(node, &service.watches)
    {
        struct watch *w = list_entry(node, struct watch, node);
        if (w->link->conn->id == connection_id)
            w->last = loop_now(service.loop);
    }
}

static void on_timer(struct timer *t)
{
    assert_on_control();
    mono_ms now = loop_now(service.loop);
    list_for_each(n, &service.watches)
    {
        struct watch *w = list_entry(n, struct watch, node);
        if (now - w->last <= SILENCE_MAX_MS)
            continue;
        LOG_PEER(ROUTER_CORE, WARNING, "[C%llu] no heartbeat from %s for %lld ms: the connection is dropped",
                 (unsigned long long)w->link->conn->id, w->link->conn->container, (long long)(now - w->last));
        connection_tell(w->link->conn, CONNECTION_DROP);
        w->last = now; /* it goes once */
    }
    if (!list_is_empty(&service.watches))
        loop_timer_after(service.loop, t, WATCH_MS);
}

static void watch(struct link *l)
{
    struct watch *w = xcalloc(1, sizeof *w);
    w->link = l;
    w->last = loop_now(service.loop);
    if (list_is_empty(&service.watches))
        loop_timer_after(service.loop, &service.timer, WATCH_MS);
    list_append(&service.watches, &w->node);
}

static void unwatch(const struct link *l)
{
    list_for_each(n, &service.watches)
    {
        struct watch *w = list_entry(n, struct watch, node);
        if (w->link != l)
            continue;
        list_remove(&w->node);
        free(w);
        break;
    }
    if (list_is_empty(&service.watches))
        timer_cancel(&service.timer);
}

/* ---- what the registry tells ---- */

void edge_service_link_attached(struct link *l)
{
    if (l->is_incoming) {
        if (names(l, heartbeat_address))
            watch(l);
        else
            track(l);
    } else if (l->is_edge && names(l, tracking_address)) {
        l->conn->edge_tracking = l;
        track_all_of(l->conn);
    }
}

void edge_service_link_gone(struct link *l)
{
    if (l->is_incoming && names(l, heartbeat_address))
        unwatch(l);
    else if (l->conn->edge_tracking == l)
        l->conn->edge_tracking = NULL;
}

void edge_service_start(struct loop *loop, const struct route_world *world)
{
    service.loop = loop;
    service.world = world;
    list_init(&service.watches);
    timer_init(&service.timer, on_timer);
    registry_add_own_address("M0_$qd.edge_heartbeat", DISTRIBUTION_CLOSEST, true);
    request_serve_address("M0_$qd.edge_heartbeat", on_heartbeat);
    if (!serves_edges())
        return;
    registry_add_own_address("M0_$qd.addr_lookup", DISTRIBUTION_CLOSEST, true);
    registry_add_own_address("M0_$qd.edge_addr_tracking", DISTRIBUTION_CLOSEST, false);
    request_serve_address("M0_$qd.addr_lookup", on_lookup);
}

void edge_service_stop(void)
{
    timer_cancel(&service.timer);
    struct list *n;
    while ((n = list_take_first(&service.watches)))
        free(list_entry(n, struct watch, node));
}
