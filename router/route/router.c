#include <router/route/router.h>

#include <router/route/autolink.h>
#include <router/route/connection.h>
#include <router/route/edge_lookup.h>
#include <router/route/edge_service.h>
#include <router/route/exchange.h>
#include <router/route/here.h>
#include <router/route/link_route.h>
#include <router/route/network.h>
#include <router/route/own_link.h>
#include <router/route/registry.h>
#include <router/route/routed_link.h>
#include <router/route/uplink.h>
#include <stdio.h>
#include <stdlib.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/log.h>
#include <trunkline/base/rcu.h>
#include <trunkline/io/listener.h>
#include <trunkline/io/worker.h>
#include <unistd.h>

struct router_listener {
    struct list node;
    char *identity;
    struct connection_settings *settings; /* counted */
    struct listener *listener;
};

struct router_connector {
    struct list node;
    char *identity, *at;
    struct connection_settings *settings; /* counted */
    struct connector *connector;
    char message[300];
};

/* A worker's own: what routing needs there, and the hook that sends its batches. */
struct worker_state {
    struct route_here here;
    struct loop_hook gather;
};

static struct {
    struct route_world world;
    char *id, *node_id;
    struct loop *loop;
    struct list listeners, connectors;
    uint32_t open; /* listeners and connectors that have not been released, those that are closing included */
    struct route_here control_here;
    _Atomic uint32_t max_connections;
    _Atomic uint64_t processed, denied;
} router;

/* ---- workers ---- */

static _Thread_local struct worker_state *state;

static bool worker_gather(struct loop_hook *h)
{
    (void)h;
    return outboxes_flush(here->outboxes);
}

static void worker_started(struct worker *w)
{
    state = xcalloc(1, sizeof *state);
    here = &state->here;
    here->worker = worker_index(w);
    here->slots = link_slots_new(here->worker);
    here->outboxes = outboxes_new(worker_count(), &here_arrivals);
    here->world = &router.world;
    here->loop = worker_loop(w);
    stamp_start(&here->last_stamp);
    state->gather.fn = worker_gather;
    loop_hook_add(worker_loop(w), &state->gather, LOOP_GATHER);
}

static void worker_stopped(struct worker *w)
{
    (void)w;
    loop_hook_remove(&state->gather);
    uint32_t at = 0;
    for (struct link *l; (l = link_slots_next(here->slots, &at));)
        link_abandon(l);
    outboxes_free(&here->outboxes);
    link_slots_free(&here->slots);
    here = NULL;
    free(state);
    state = NULL;
}

static void worker_ending(struct worker *w)
{
    (void)w;
    here->ending = true;
}

static const struct worker_hooks worker_hooks = {
    .started = worker_started, .stopped = worker_stopped, .ending = worker_ending};

/* ---- the whole ---- */

/* Addresses that every router has; scripts that count rows see them (management reference 4.12). */
static void add_own_addresses(void) ON_CONTROL
{
    registry_add_own_address("L$_management_internal", DISTRIBUTION_CLOSEST, true);
    registry_add_own_address("M0$management", DISTRIBUTION_CLOSEST, true);
    registry_add_own_address("L$management", DISTRIBUTION_CLOSEST, true);
}

enum err router_start(struct loop *loop, const struct router_conf *conf)
{
    router.id = xstrdup(conf->id);
    router.node_id = xasprintf("0/%s", conf->id);
    router.loop = loop;
    router.world.table = table_new();
    router.world.identity = (struct router_identity){.id = router.id, .mode = conf->mode};
    router.world.node_id = (struct slice){.data = (const uint8_t *)router.node_id, .len = strlen(router.node_id)};
    router.world.default_distribution = conf->default_distribution;
    router.world.stamps = conf->mesh ? stamps_new() : NULL;
    atomic_init(&router.world.rules, rules_new());
    list_init(&router.listeners);
    list_init(&router.connectors);
    atomic_init(&router.max_connections, UINT32_MAX);
    here_set_routed_arrivals(&routed_link_arrivals);
    here_set_goes_on(own_link_goes_on);
    edge_lookup_serve_routes(link_route_by_uplink);
    registry_init(loop, &router.world);
    add_own_addresses();
    edge_service_start(loop, &router.world);
    uplink_start(loop, &router.world);
    autolinks_start(loop, &router.world);
    exchanges_start(&router.world);
    enum err e = workers_start(conf->worker_threads, &worker_hooks);
    if (e != OK)
        return e;
    router.control_here = (struct route_here){
        .worker = WORKER_NONE,
        .outboxes = outboxes_new(worker_count(), &here_arrivals),
        .world = &router.world,
        .loop = loop,
    };
    here = &router.control_here;
    return conf->mesh ? network_start(loop, &router.world, conf->mesh) : OK;
}

void router_limit_connections(uint32_t max)
{
    atomic_store_explicit(&router.max_connections, max, memory_order_relaxed);
}

void router_connection_counts(struct router_connection_counts *out)
{
    out->processed = atomic_load_explicit(&router.processed, memory_order_relaxed);
    out->denied = atomic_load_explicit(&router.denied, memory_order_relaxed);
    out->current = connection_accepted_count();
}

/* ---- rules ---- */

static void publish_rules(struct rules *next) ON_CONTROL
{
    struct rules *last = rcu_read(&router.world.rules);
    rcu_publish(&router.world.rules, next);
    rcu_defer(last, rules_reclaim);
}

enum err router_add_rule(const struct rule_conf *conf)
{
    struct rules *next;
    enum err e = rules_with(rcu_read(&router.world.rules), conf, &next);
    if (e == OK)
        publish_rules(next);
    return e;
}

enum err router_remove_rule(const char *identity)
{
    struct rules *next;
    enum err e = rules_without(rcu_read(&router.world.rules), identity, &next);
    if (e == OK)
        publish_rules(next);
    return e;
}

/* ---- listeners ---- */

static void on_accepted(struct listener *l, struct worker *w, int fd, const struct sockaddr_storage *peer)
{
    struct router_listener *rl = listener_owner(l);
    atomic_fetch_add_explicit(&router.processed, 1, memory_order_relaxed);
    uint32_t max = atomic_load_explicit(&router.max_connections, memory_order_relaxed);
    if (!connection_admit(max)) {
        atomic_fetch_add_explicit(&router.denied, 1, memory_order_relaxed);
        char text[INET6_ADDRSTRLEN + 10];
        sockaddr_text((const struct sockaddr *)peer, text, sizeof text);
        LOG_PEER(POLICY, INFO, "DENY Connection '%s' based on global connection count. nConnections= %u", text, max);
        close(fd);
        return;
    }
    connection_new(w, fd, rl->settings, NULL, NULL, NULL);
}

static void listener_release(struct router_listener *rl) ON_CONTROL
{
    router.open--;
    connection_settings_unref(rl->settings);
    free(rl->identity);
    free(rl);
}

static void on_listener_closed(struct listener *l)
{
    assert_on_control();
    struct router_listener *rl = listener_owner(l);
    listener_free(&rl->listener);
    listener_release(rl);
}

static const struct listener_ops listener_ops = {.accepted = on_accepted, .closed = on_listener_closed};

static struct router_listener *find_listener(const char *identity)
{
    list_for_each(n, &router.listeners)
    {
        struct router_listener *rl = list_entry(n, struct router_listener, node);
        if (strcmp(rl->identity, identity) == 0)
            return rl;
    }
    return NULL;
}

static void log_listening(const struct router_listener *rl, const char *host, const char *port, bool named)
{
    if (strcmp(port, "0") == 0)
        LOG(SERVER, NOTICE, "Listening on %s:%d%s%s%s", host, listener_port(rl->listener), named ? " (" : "",
            named ? rl->settings->name : "", named ? ")" : "");
    else
        LOG(SERVER, NOTICE, "Listening on %s:%s", host, port);
}

enum err router_add_listener(const char *identity, const char *host, const char *port, bool named,
                             struct connection_settings *settings, char *why, size_t why_size)
{
    if (find_listener(identity))
        return ERR_EXISTS;
    struct router_listener *rl = xcalloc(1, sizeof *rl);
    router.open++;
    rl->identity = xstrdup(identity);
    connection_settings_ref(settings);
    rl->settings = settings;
    struct listener_conf conf = {.host = host, .service = port, .family = AF_UNSPEC, .owner = rl};
    enum err e = listener_open(&conf, &listener_ops, &rl->listener, why, why_size);
    if (e != OK) {
        listener_release(rl);
        return e;
    }
    list_append(&router.listeners, &rl->node);
    log_listening(rl, host, port, named);
    return OK;
}

enum err router_remove_listener(const char *identity)
{
    struct router_listener *rl = find_listener(identity);
    if (!rl)
        return ERR_NOT_FOUND;
    list_remove(&rl->node);
    listener_close(rl->listener);
    return OK;
}

/* ---- connectors ---- */

static void on_connected(struct connector *c, struct worker *w, int fd, const char *host, const char *service)
{
    struct router_connector *rc = connector_owner(c);
    connection_new(w, fd, rc->settings, c, host, service);
}

/* What a connection ended of it has logged itself, and says in the same words. */
static void on_connect_failed(struct connector *c, const char *host, const char *service, enum connector_failure how,
                              const char *why)
{
    struct router_connector *rc = connector_owner(c);
    if (how != CONNECTOR_UNREACHED) {
        snprintf(rc->message, sizeof rc->message, "%s", why);
        return;
    }
    snprintf(rc->message, sizeof rc->message, "Connection to %s:%s failed: %s", host, service, why);
    LOG_PEER(SERVER, INFO, "%s", rc->message);
}

static void connector_release(struct router_connector *rc) ON_CONTROL
{
    router.open--;
    connection_settings_unref(rc->settings);
    free(rc->identity);
    free(rc->at);
    free(rc);
}

static void on_connector_closed(struct connector *c)
{
    assert_on_control();
    struct router_connector *rc = connector_owner(c);
    connector_free(&rc->connector);
    connector_release(rc);
}

static const struct connector_ops connector_ops = {
    .connected = on_connected, .failed = on_connect_failed, .closed = on_connector_closed};

static struct router_connector *find_connector(const char *identity)
{
    list_for_each(n, &router.connectors)
    {
        struct router_connector *rc = list_entry(n, struct router_connector, node);
        if (strcmp(rc->identity, identity) == 0)
            return rc;
    }
    return NULL;
}

enum err router_add_connector(const char *identity, const char *host, const char *port,
                              struct connection_settings *settings)
{
    if (find_connector(identity))
        return ERR_EXISTS;
    struct router_connector *rc = xcalloc(1, sizeof *rc);
    router.open++;
    rc->identity = xstrdup(identity);
    rc->at = xasprintf("%s:%s", host, port);
    connection_settings_ref(settings);
    rc->settings = settings;
    list_append(&router.connectors, &rc->node);
    struct connector_conf conf = {.url = {.host = host, .service = port}, .owner = rc};
    connector_open(&conf, &connector_ops, &rc->connector);
    return OK;
}

enum err router_remove_connector(const char *identity)
{
    struct router_connector *rc = find_connector(identity);
    if (!rc)
        return ERR_NOT_FOUND;
    list_remove(&rc->node);
    registry_close_connections_of(rc->connector);
    connector_close(rc->connector);
    return OK;
}

enum err router_connector_status(const char *identity, struct connector_status *out)
{
    struct router_connector *rc = find_connector(identity);
    if (!rc)
        return ERR_NOT_FOUND;
    out->status = connector_state_text(connector_state(rc->connector));
    snprintf(out->message, sizeof out->message, "%s", rc->message);
    list_for_each(n, registry_connections())
    {
        const struct connection *c = list_entry(n, struct connection, node);
        if (c->connector == rc->connector)
            snprintf(out->message, sizeof out->message, "[C%llu] %.*s", (unsigned long long)c->id, (int)c->opened_short,
                     c->opened_text);
    }
    out->urls = connector_urls_text(rc->connector);
    return OK;
}

void router_stop(void)
{
    struct list *n;
    while ((n = list_take_first(&router.listeners)))
        listener_close(list_entry(n, struct router_listener, node)->listener);
    while ((n = list_take_first(&router.connectors)))
        connector_close(list_entry(n, struct router_connector, node)->connector);
    registry_stopping();
    workers_stop();
    router.control_here.ending = true;
    /* For what they have posted: the first turn finds all of it, and then it is the listeners' and connectors' turn. */
    do {
        loop_stop(router.loop);
        loop_run(router.loop);
    } while (router.open);
    exchanges_stop();
    registry_fini();
    edge_service_stop();
    uplink_stop();
    autolinks_stop();
    network_stop();
    link_route_stop();
    rcu_barrier_all();
    outboxes_free(&router.control_here.outboxes);
    here = NULL;
    table_free(&router.world.table);
    stamps_free(&router.world.stamps);
    struct rules *rules = rcu_read(&router.world.rules);
    rules_free(&rules);
    free(router.id);
    free(router.node_id);
}
