#include "registry_priv.h"

#include <router/route/container.h>
#include <router/route/edge_lookup.h>
#include <router/route/edge_proxy.h>
#include <router/route/edge_service.h>
#include <router/route/failover.h>
#include <router/route/link_route.h>
#include <router/route/network.h>
#include <router/route/own_link.h>
#include <router/route/phase.h>
#include <router/route/request.h>
#include <router/route/routed_link.h>
#include <router/route/uplink.h>
#include <stdlib.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/log.h>
#include <trunkline/io/connector.h>
#include <trunkline/io/loop.h>
#include <trunkline/io/worker.h>

static struct {
    struct loop *loop;
    struct list connections, links;
    struct list dialled; /* connections that connectors have made, also before they are open */
    uint32_t connection_count, link_count;
    uint64_t last_identity;
    struct list answered; /* links whose answer goes out then */
    struct list dry;      /* senders that have run dry early, and are to hear when they need not have */
    struct list deleted;  /* connections that are dropped then */
    struct list quiet;    /* struct registry_quiet, from then on */
    struct list leaving;  /* links that have gone and that nobody can find any more when the routes are published */
    struct loop_hook hook;
    struct registry_totals past;
    _Atomic bool stopping; /* workers end: they are told nothing more, and let go of all links themselves */
} registry;

static bool registry_turn_ends(struct loop_hook *h);

void registry_init(struct loop *loop, struct route_world *world)
{
    registry.loop = loop;
    registry_addresses_init(world);
    list_init(&registry.connections);
    list_init(&registry.dialled);
    list_init(&registry.links);
    list_init(&registry.answered);
    list_init(&registry.deleted);
    list_init(&registry.dry);
    list_init(&registry.leaving);
    list_init(&registry.quiet);
    registry.hook.fn = registry_turn_ends;
    loop_hook_add(loop, &registry.hook, LOOP_GATHER);
}

void registry_stopping(void)
{
    atomic_store(&registry.stopping, true);
    /* What was under way to workers when the mark was set has been posted after this. */
    rcu_barrier_all();
}

bool registry_is_stopping(void)
{
    return atomic_load(&registry.stopping);
}

void registry_fini(void)
{
    ASSERT(list_is_empty(&registry.connections) && list_is_empty(&registry.links) && list_is_empty(&registry.dialled));
    loop_hook_remove(&registry.hook);
}

void registry_post(struct letter *l)
{
    loop_post(registry.loop, l);
}

uint64_t registry_next_identity(void)
{
    return ++registry.last_identity;
}

struct list *registry_connections(void)
{
    return &registry.connections;
}

struct list *registry_links(void)
{
    return &registry.links;
}

uint32_t registry_connection_count(void)
{
    return registry.connection_count;
}

uint32_t registry_link_count(void)
{
    return registry.link_count;
}

struct connection *registry_connection(uint64_t id)
{
    list_for_each(n, &registry.connections)
    {
        struct connection *c = list_entry(n, struct connection, node);
        if (c->id == id)
            return c;
    }
    return NULL;
}

/* ---- connections ---- */

void registry_delete_connection(struct connection *c)
{
    if (!c->closing)
        list_append(&registry.deleted, &c->delete_node);
    c->closing = true;
}

void registry_close_connections_of(const struct connector *connector)
{
    list_for_each(n, &registry.dialled)
    {
        struct connection *c = list_entry(n, struct connection, dialled_node);
        if (c->connector == connector)
            connection_tell(c, CONNECTION_CLOSE);
    }
}

/* One of our connectors has made a connection. */
static void connection_made(struct connection *c) ON_CONTROL
{
    list_append(&registry.dialled, &c->dialled_node);
    /* The connector was removed while it connected: nobody could tell the connection so until now. */
    if (connector_state(c->connector) == CONNECTOR_CLOSING)
        connection_tell(c, CONNECTION_CLOSE);
}

void registry_on_connection(struct letter *l)
{
    assert_on_control();
    struct connection *c = container_of(l, struct connection, to_control);
    uint32_t bits = atomic_exchange(&c->control_bits, 0);
    if ((bits & CONNECTION_MADE) && !(bits & CONNECTION_GONE))
        connection_made(c);
    if (bits & CONNECTION_OPENED) {
        list_append(&registry.connections, &c->node);
        c->listed_as = registry_next_identity();
        registry.connection_count++;
        c->listed = true;
        if (c->connector)
            failover_learn(c->connector, c->properties); /* also of a peer that has gone at once */
        if (c->connector && !(bits & CONNECTION_GONE))
            uplink_connection_opened(c);
        LOG_IF(ROUTER_CORE, INFO, "[C%llu] %s", (unsigned long long)c->id, c->opened_text);
        if (!(bits & CONNECTION_GONE))
            container_connection_opened(c);
    }
    if (!(bits & CONNECTION_GONE))
        return;
    list_remove(&c->dialled_node);
    if (c->listed) {
        container_connection_gone(c);
        link_route_connection_gone(c);
        list_remove(&c->delete_node);
        list_remove(&c->node);
        registry.connection_count--;
        c->listed = false;
        uplink_connection_gone(c);
        LOG_IF(ROUTER_CORE, INFO, "[C%llu] Connection Closed", (unsigned long long)c->id);
    }
    connection_unref(c);
}

/* ---- the end of a turn ---- */

void registry_tell_link(struct link *l, uint32_t bits)
{
    if (atomic_load(&registry.stopping))
        return;
    if (!atomic_fetch_or(&l->worker_bits, bits))
        worker_post(worker_by_index(l->token.worker), &l->to_worker);
}

static void link_after_quiet(void *p)
{
    registry_tell_link(p, LINK_BURIED);
}

static void silent_after_quiet(void *p)
{
    registry_tell_link(p, LINK_SILENT);
}

void registry_link_silent(struct link *l)
{
    /* Should it go meanwhile, it is buried behind this: deferred calls keep their order, and so do letters. */
    rcu_defer(l, silent_after_quiet);
}

void registry_when_quiet(struct registry_quiet *q)
{
    list_append(&registry.quiet, &q->node);
}

static bool registry_turn_ends(struct loop_hook *h)
{
    assert_on_control();
    (void)h;
    bool any = false;
    struct list *n;
    any = network_turn_ends() || any;
    any = registry_build_routes() || any;
    while ((n = list_take_first(&registry.dry))) {
        struct link *l = list_entry(n, struct link, answer_node);
        if (address_leads_somewhere(l->address))
            registry_tell_link(l, LINK_REACHABLE);
        any = true;
    }
    while ((n = list_take_first(&registry.answered))) {
        registry_tell_link(list_entry(n, struct link, answer_node), LINK_ANSWER);
        any = true;
    }
    /* Their routes are published, or the quiet period would not cover those who read the last ones. */
    while ((n = list_take_first(&registry.leaving))) {
        rcu_defer(list_entry(n, struct link, answer_node), link_after_quiet);
        any = true;
    }
    while ((n = list_take_first(&registry.quiet))) {
        struct registry_quiet *q = list_entry(n, struct registry_quiet, node);
        rcu_defer(q->p, q->fn);
        any = true;
    }
    any = outboxes_flush(here->outboxes) || any;
    while ((n = list_take_first(&registry.deleted))) {
        connection_tell(list_entry(n, struct connection, delete_node), CONNECTION_DELETE);
        any = true;
    }
    return any;
}

/* ---- links ---- */

/* Whether it is for control to say what becomes of an attach. */
static bool link_asks(const struct link *l) ON_CONTROL
{
    return l->kind == LINK_ENDPOINT && !(l->routed && routed_link_is_far(l));
}

/* The attach is decided: l is one of its address, or refused. */
static void link_join(struct link *l) ON_CONTROL
{
    if (link_asks(l))
        list_append(&registry.answered, &l->answer_node);
    if (l->refusal != ATTACH_OK)
        return;
    l->identity = registry_next_identity();
    list_append(&registry.links, &l->node);
    registry.link_count++;
    l->registered = true;
    if (l->kind != LINK_ENDPOINT)
        network_link_attached(l);
    if (l->routed) {
        routed_link_registered(l);
        return;
    }
    if (l->address)
        registry_link_joins(l);
    edge_service_link_attached(l);
    if (l->own)
        own_link_registered(l);
    if (l->address)
        edge_proxy_address_changed(l->address);
}

void registry_attach_on(struct link *l, enum attach_refusal refusal)
{
    l->refusal = refusal != ATTACH_OK ? refusal : registry_resolve(l);
    link_join(l);
}

/* Whether an attach belongs to a link route that is known here: its refusal, or where it goes on, is set then. */
static bool resolve_routed(struct link *l) ON_CONTROL
{
    enum attach_refusal refusal;
    bool may_be_routed = l->refusal_by_worker == ATTACH_OK || l->refusal_by_worker == ATTACH_NO_COORDINATOR;
    if (l->own || l->is_ours || l->is_downlink || !may_be_routed || !link_route_resolve(l, &refusal))
        return false;
    l->refusal = refusal;
    return true;
}

static void link_attach(struct link *l) ON_CONTROL
{
    if (!link_asks(l) || resolve_routed(l))
        link_join(l);
    else if (!edge_lookup_ask(l))
        registry_attach_on(l, ATTACH_OK);
}

static void totals_add(struct registry_totals *t, const struct link *l)
{
    const struct link_stats *s = &l->stats;
    bool container = l->conn->settings->role == ROLE_ROUTE_CONTAINER;
    /* What goes by a fallback destination counts as redirected alone. */
    bool is_fallback = l->is_from_fallback || (l->address && phase_of_key(l->address->key) == PHASE_FALLBACK);
    uint64_t deliveries = is_fallback ? 0 : stat_get(&s->deliveries);
    t->dropped_presettled += stat_get(&s->dropped_presettled);
    /* Between routers messages neither enter nor leave the network, and control does not count. */
    bool is_between_routers = l->kind == LINK_CONTROL || l->kind == LINK_DATA;
    if (!l->is_incoming && is_between_routers) {
        t->transit += l->kind == LINK_DATA ? deliveries : 0;
        return;
    }
    if (!l->is_incoming) {
        t->egress += deliveries;
        t->egress_route_container += container ? deliveries : 0;
        return;
    }
    t->presettled += stat_get(&s->presettled);
    t->accepted += stat_get(&s->accepted);
    t->rejected += stat_get(&s->rejected);
    t->released += stat_get(&s->released);
    t->modified += stat_get(&s->modified);
    t->delayed_1s += stat_get(&s->delayed_1s);
    t->delayed_10s += stat_get(&s->delayed_10s);
    t->ingress += is_between_routers ? 0 : deliveries;
    t->ingress_route_container += container ? deliveries : 0;
}

void registry_totals(struct registry_totals *out)
{
    *out = registry.past;
    list_for_each(n, &registry.links) totals_add(out, list_entry(n, struct link, node));
    out->redirected = registry_redirected();
}

static void link_leave(struct link *l) ON_CONTROL
{
    bool was_registered = l->registered;
    if (list_is_linked(&l->answer_node))
        list_remove(&l->answer_node);
    if (l->registered) {
        totals_add(&registry.past, l);
        list_remove(&l->node);
        registry.link_count--;
        l->registered = false;
        if (l->kind != LINK_ENDPOINT)
            network_link_gone(l);
        if (l->routed)
            routed_link_left(l);
        else
            edge_service_link_gone(l);
        if (l->address)
            registry_link_leaves(l);
    } else {
        edge_lookup_forget(l);
    }
    if (l->is_incoming)
        request_link_left(l->token);
    if (!atomic_load(&registry.stopping))
        list_append(&registry.leaving, &l->answer_node);
    if (l->own)
        own_link_left(l);
    if (was_registered && l->address)
        edge_proxy_address_changed(l->address);
}

static void link_release(struct link *l) ON_CONTROL
{
    if (l->refusal == ATTACH_OK && l->address)
        registry_leave_address(l->address);
    if (l->own)
        own_link_unref(l->own);
    routed_link_free(&l->routed);
    connection_unref(l->conn);
    free(l->name);
    free(l->wanted);
    free(l->maker);
    free(l->dynamic_address);
    free(l);
}

void registry_on_link(struct letter *letter)
{
    assert_on_control();
    struct link *l = container_of(letter, struct link, to_control);
    uint32_t bits = atomic_exchange(&l->control_bits, 0);
    if (bits & LINK_ATTACH)
        link_attach(l);
    if ((bits & LINK_DRY) && l->registered && l->address)
        list_append(&registry.dry, &l->answer_node);
    if (bits & LINK_GONE)
        link_leave(l);
    if (bits & LINK_RELEASED)
        link_release(l);
}
