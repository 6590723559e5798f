#include <router/route/registry.h>

#include <router/route/address_name.h>
#include <router/route/container.h>
#include <router/route/edge_lookup.h>
#include <router/route/edge_proxy.h>
#include <router/route/edge_service.h>
#include <router/route/failover.h>
#include <router/route/link_route.h>
#include <router/route/network.h>
#include <router/route/own_link.h>
#include <router/route/phase.h>
#include <router/route/routed_link.h>
#include <router/route/rules.h>
#include <router/route/uplink.h>
#include <stdio.h>
#include <stdlib.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/log.h>
#include <trunkline/io/connector.h>
#include <trunkline/io/loop.h>
#include <trunkline/io/worker.h>

static struct {
    struct loop *loop;
    struct route_world *world;
    struct list connections, links;
    struct list dialled; /* connections that connectors have made, also before they are open */
    uint32_t connection_count, link_count;
    uint64_t last_identity;
    struct list changed;  /* addresses whose routes are to be built at the end of the turn */
    struct list answered; /* links whose answer goes out then */
    struct list dry;      /* senders that have run dry early, and are to hear when they need not have */
    struct list deleted;  /* connections that are dropped then */
    struct list leaving;  /* links that have gone and that nobody can find any more when the routes are published */
    struct loop_hook hook;
    struct registry_totals past;
    _Atomic bool stopping; /* workers end: they are told nothing more, and let go of all links themselves */
} registry;

static bool registry_turn_ends(struct loop_hook *h);

void registry_init(struct loop *loop, struct route_world *world)
{
    registry.loop = loop;
    registry.world = world;
    list_init(&registry.connections);
    list_init(&registry.dialled);
    list_init(&registry.links);
    list_init(&registry.changed);
    list_init(&registry.answered);
    list_init(&registry.deleted);
    list_init(&registry.dry);
    list_init(&registry.leaving);
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

/* ---- addresses ---- */

static void address_changed(struct address *a)
{
    if (!list_is_linked(&a->changed))
        list_append(&registry.changed, &a->changed);
}

static void tell_link(struct link *l, uint32_t bits)
{
    if (atomic_load(&registry.stopping))
        return;
    if (!atomic_fetch_or(&l->worker_bits, bits))
        worker_post(worker_by_index(l->token.worker), &l->to_worker);
}

/* by_fallback: only there is somebody, which is of no use to what comes from there. */
static void tell_senders(const struct address *a, bool by_fallback) ON_CONTROL
{
    list_for_each(n, &a->senders)
    {
        struct link *l = list_entry(n, struct link, of_address);
        if (!by_fallback || !l->is_from_fallback)
            tell_link(l, LINK_REACHABLE);
    }
}

static void address_build_routes(struct address *a) ON_CONTROL
{
    struct address *primary = a->primary;
    bool was_empty = routes_are_empty(address_routes(a));
    bool primary_led = primary && address_leads_somewhere(primary);
    struct routes *r = routes_new(a->receiver_count, a->remote_count);
    uint32_t i = 0;
    list_for_each(n, &a->receivers)
    {
        struct link *l = list_entry(n, struct link, of_address);
        r->to[i++] = (struct destination){
            .link = l->token, .load = &l->load, .capacity = l->capacity, .edge = l->is_edge ? l->conn->id : 0};
    }
    ASSERT(i == a->receiver_count);
    for (i = 0; i < a->remote_count; i++)
        routes_remotes(r)[i] = a->remotes[i];
    address_publish(a, r);
    edge_service_routes_changed(a);
    if (was_empty && !routes_are_empty(address_routes(a)))
        tell_senders(a, false);
    if (primary && !primary_led && address_leads_somewhere(primary))
        tell_senders(primary, true);
}

static void link_after_quiet(void *p)
{
    tell_link(p, LINK_BURIED);
}

static void silent_after_quiet(void *p)
{
    tell_link(p, LINK_SILENT);
}

void registry_link_silent(struct link *l)
{
    /* Should it go meanwhile, it is buried behind this: deferred calls keep their order, and so do letters. */
    rcu_defer(l, silent_after_quiet);
}

static bool registry_turn_ends(struct loop_hook *h)
{
    assert_on_control();
    (void)h;
    bool any = false;
    struct list *n;
    any = network_turn_ends() || any;
    while ((n = list_take_first(&registry.changed))) {
        address_build_routes(list_entry(n, struct address, changed));
        any = true;
    }
    while ((n = list_take_first(&registry.dry))) {
        struct link *l = list_entry(n, struct link, answer_node);
        if (address_leads_somewhere(l->address))
            tell_link(l, LINK_REACHABLE);
        any = true;
    }
    while ((n = list_take_first(&registry.answered))) {
        tell_link(list_entry(n, struct link, answer_node), LINK_ANSWER);
        any = true;
    }
    /* Their routes are published, or the quiet period would not cover those who read the last ones. */
    while ((n = list_take_first(&registry.leaving))) {
        rcu_defer(list_entry(n, struct link, answer_node), link_after_quiet);
        any = true;
    }
    any = outboxes_flush(here->outboxes) || any;
    while ((n = list_take_first(&registry.deleted))) {
        connection_tell(list_entry(n, struct connection, delete_node), CONNECTION_DELETE);
        any = true;
    }
    return any;
}

void registry_add_own_address(const char *key, enum distribution d, bool served)
{
    struct address *a = table_get(registry.world->table, key, d, -1);
    a->in_process = served;
    a->is_own = true;
}

static bool is_used(const struct address *a)
{
    return a->is_own || a->user_count > 0 || a->remote_count > 0;
}

static void take_out(struct address *a) ON_CONTROL
{
    if (list_is_linked(&a->changed))
        list_remove(&a->changed);
    registry.past.redirected += atomic_load_explicit(&a->redirected, memory_order_relaxed);
    table_remove(registry.world->table, a);
}

/* One user less: it may be the last. */
static void address_unused(struct address *a) ON_CONTROL
{
    struct address *other = a->primary ? a->primary : address_fallback(a);
    if (is_used(a) || (other && is_used(other)))
        return;
    take_out(a);
    if (other)
        take_out(other);
}

/* What the rules say of an address. NULL: nothing, or it is none of those that they are for. */
static const struct rule *rule_of_key(const char *key, size_t len) ON_CONTROL
{
    if (key[0] != ADDRESS_MOBILE)
        return NULL;
    size_t text_len;
    const char *text = address_name_of_key(key, len, &text_len);
    return rules_match(rcu_read(&registry.world->rules), text, text_len);
}

/* The other of an address and its fallback destination: made if it is not there. */
static void pair_up(struct address *a, int priority, enum distribution d) ON_CONTROL
{
    bool is_fallback = a->key[1] == PHASE_FALLBACK;
    char *key = xstrdup(a->key);
    key[1] = is_fallback ? PHASE_DEFAULT : PHASE_FALLBACK;
    struct address *other = table_get(registry.world->table, key, is_fallback ? d : DISTRIBUTION_BALANCED, priority);
    free(key);
    if (is_fallback)
        address_set_fallback(other, a);
    else
        address_set_fallback(a, other);
}

/* Make the address with this key, which is not there, with what is told of it: its distribution is d, unless it is a
 * fallback destination. rule: NULL: none is for it. */
static struct address *address_make(const char *key, size_t len, const struct rule *rule,
                                    enum distribution d) ON_CONTROL
{
    int priority = rule ? rule_conf(rule)->priority : PRIORITY_UNSET;
    bool is_fallback = key[0] == ADDRESS_MOBILE && key[1] == PHASE_FALLBACK;
    char *text = xstrndup(key, len);
    struct address *a = table_get(registry.world->table, text, is_fallback ? DISTRIBUTION_BALANCED : d, priority);
    free(text);
    /* A rule for fallback has no phases: this is one of the pair. */
    if (rule && rule_conf(rule)->fallback && (is_fallback || key[1] == PHASE_DEFAULT))
        pair_up(a, priority, d);
    return a;
}

/* The address with this key, made by the rules if it is new. Errors: NULL, it is configured unavailable. */
static struct address *address_of_key(const char *key, size_t len) ON_CONTROL
{
    struct address *a = table_find(registry.world->table, key, len);
    if (a)
        return a;
    const struct rule *rule = rule_of_key(key, len);
    enum distribution d = DISTRIBUTION_BALANCED;
    if (key[0] == ADDRESS_MOBILE)
        d = rule ? rule_conf(rule)->distribution : registry.world->default_distribution;
    return d == DISTRIBUTION_UNAVAILABLE ? NULL : address_make(key, len, rule, d);
}

enum { NO_HINT = -1 };

/* The same for an address that another router announces: what is configured here counts before its hint, and a hint
 * before the default (wire-protocol reference 3.11). It is there, whatever that makes of it. */
static struct address *address_of_key_or_hint(const char *key, int hint) ON_CONTROL
{
    static const enum distribution of_hint[] = {DISTRIBUTION_MULTICAST, DISTRIBUTION_MULTICAST, DISTRIBUTION_CLOSEST,
                                                DISTRIBUTION_BALANCED};
    struct address *a = table_find(registry.world->table, key, strlen(key));
    if (a)
        return a;
    const struct rule *rule = rule_of_key(key, strlen(key));
    enum distribution d = DISTRIBUTION_CLOSEST;
    if (key[0] == ADDRESS_MOBILE)
        d = rule                                                          ? rule_conf(rule)->distribution
            : hint >= 0 && hint < (int)(sizeof of_hint / sizeof *of_hint) ? of_hint[hint]
                                                                          : registry.world->default_distribution;
    return address_make(key, strlen(key), rule, d == DISTRIBUTION_UNAVAILABLE ? DISTRIBUTION_BALANCED : d);
}

struct address *registry_use_address(const char *key)
{
    struct address *a = address_of_key_or_hint(key, -1);
    a->user_count++;
    return a;
}

void registry_leave_address(struct address *a)
{
    a->user_count--;
    address_unused(a);
}

/* ---- receivers at other routers ---- */

void registry_map(const char *key, uint32_t router, int hint)
{
    struct address *a = address_of_key_or_hint(key, hint);
    for (uint32_t i = 0; i < a->remote_count; i++)
        if (a->remotes[i] == router)
            return;
    a->remotes = xrealloc(a->remotes, (a->remote_count + 1) * sizeof *a->remotes);
    a->remotes[a->remote_count++] = router;
    address_changed(a);
    if (a->remote_count == 1 && link_route_is_key(key))
        link_route_mapped(a);
}

void registry_unmap(const char *key, uint32_t router)
{
    struct address *a = table_find(registry.world->table, key, strlen(key));
    for (uint32_t i = 0; a && i < a->remote_count; i++) {
        if (a->remotes[i] != router)
            continue;
        a->remotes[i] = a->remotes[--a->remote_count];
        address_changed(a);
        a->user_count++; /* it stays for the next two lines */
        if (a->remote_count == 0 && link_route_is_key(key))
            link_route_unmapped(a);
        registry_leave_address(a);
        return;
    }
}

/* ---- links ---- */

/* A name of our own making: a receiver's reply address, or a target that its sender is told. */
static enum attach_refusal resolve_dynamic(struct link *l) ON_CONTROL
{
    char temp[ADDRESS_TEMP_LEN + 1], text[ROUTER_ID_MAX + 64], key[ADDRESS_TEMP_LEN + 8];
    if (address_name_generate_temp(temp) != OK)
        return ATTACH_NO_ROUTE;
    enum distribution d = DISTRIBUTION_BALANCED;
    if (l->is_incoming) {
        snprintf(text, sizeof text, "amqp:/_$%s", temp);
        snprintf(key, sizeof key, "M0_$%s", temp);
    } else {
        if (!address_name_of_temp(&registry.world->identity, temp, text, sizeof text))
            return ATTACH_NO_ROUTE;
        snprintf(key, sizeof key, "L%s", temp);
    }
    l->dynamic_address = xstrdup(text);
    l->address = table_get(registry.world->table, key, d, -1);
    return ATTACH_OK;
}

/* Whether a client may receive from the address with this key. It may not take what leaves this router. */
static bool may_receive(const char *key, size_t n)
{
    bool is_uplink = registry.world->uplink && n == strlen(uplink_key) && memcmp(key, uplink_key, n) == 0;
    return (key[0] == ADDRESS_MOBILE || key[0] == ADDRESS_LOCAL) && !is_uplink;
}

static enum attach_refusal resolve_named(struct link *l) ON_CONTROL
{
    size_t len = strlen(l->wanted), size = len + ADDRESS_KEY_EXTRA + ROUTER_ID_MAX;
    char *key = xmalloc(size);
    size_t n = address_name_key(&registry.world->identity, l->wanted, len, PHASE_DEFAULT, key, size);
    if (n > 2 && key[0] == ADDRESS_MOBILE)
        key[1] = l->phase != PHASE_BY_RULES ? l->phase : phase_by_rule(rule_of_key(key, n), l->is_incoming);
    enum attach_refusal refusal = ATTACH_OK;
    if (n == 0)
        refusal = ATTACH_NO_ROUTE;
    else if (!l->is_incoming && !may_receive(key, n))
        refusal = ATTACH_NO_ROUTE;
    else if (!(l->address = address_of_key(key, n)))
        refusal = ATTACH_NOT_FOUND;
    free(key);
    return refusal;
}

/* An edge router itself, by the name that its connection has. */
static enum attach_refusal resolve_downlink(struct link *l) ON_CONTROL
{
    char key[ROUTER_ID_MAX + 2];
    int len = snprintf(key, sizeof key, "%c%s", ADDRESS_EDGE, l->conn->container);
    if (registry.world->identity.mode != ROUTER_INTERIOR || len < 2 || len >= (int)sizeof key)
        return ATTACH_NO_ROUTE;
    l->address = table_get(registry.world->table, key, DISTRIBUTION_CLOSEST, -1);
    return ATTACH_OK;
}

/* A link that control has asked for: it says where it belongs. */
static enum attach_refusal resolve_own(struct link *l) ON_CONTROL
{
    const char *key = own_link_key(l->own);
    if (!own_link_is_wanted(l->own))
        return ATTACH_SILENT;
    if (key && own_link_is_made_anyway(l->own))
        l->address = address_of_key_or_hint(key, NO_HINT);
    else if (key && !(l->address = address_of_key(key, strlen(key))))
        return ATTACH_NOT_FOUND;
    return ATTACH_OK;
}

static enum attach_refusal resolve(struct link *l) ON_CONTROL
{
    if (l->own)
        return resolve_own(l);
    if (l->is_ours || l->routed)
        return ATTACH_OK;
    enum attach_refusal refusal;
    bool has_address;
    if (l->refusal_by_worker != ATTACH_OK)
        return l->refusal_by_worker;
    if (l->is_downlink)
        return resolve_downlink(l);
    if (l->is_dynamic)
        return resolve_dynamic(l);
    if (!l->wanted)
        return l->is_incoming ? ATTACH_OK : ATTACH_NO_ROUTE;
    if (edge_service_resolve(l, &refusal, &has_address) && (refusal != ATTACH_OK || !has_address))
        return refusal;
    return resolve_named(l);
}

static void receivers_add(struct address *a, struct link *l) ON_CONTROL
{
    list_append(&a->receivers, &l->of_address);
    if (a->receiver_count++ == 0 && !address_exchange(a))
        network_address_added(a);
    address_changed(a);
}

static void receivers_remove(struct address *a, struct link *l) ON_CONTROL
{
    list_remove(&l->of_address);
    if (--a->receiver_count == 0 && !address_exchange(a))
        network_address_removed(a);
    address_changed(a);
}

void registry_set_receiving(struct link *l, bool receives)
{
    if (receives && !list_is_linked(&l->of_address))
        receivers_add(l->address, l);
    else if (!receives && list_is_linked(&l->of_address))
        receivers_remove(l->address, l);
}

struct address *registry_hold_address(const char *key)
{
    struct address *a = address_of_key_or_hint(key, NO_HINT);
    a->user_count++;
    return a;
}

void registry_let_address_go(struct address *a)
{
    a->user_count--;
    address_unused(a);
}

void registry_set_exchange(struct address *a, struct exchange_view *v)
{
    struct exchange_view *last = atomic_load_explicit(&a->exchange, memory_order_relaxed);
    rcu_publish(&a->exchange, v);
    if (last)
        rcu_defer(last, free);
    if (!last && v && a->receiver_count == 0)
        network_address_added(a);
    else if (last && !v && a->receiver_count == 0)
        network_address_removed(a);
    if (!last && v)
        tell_senders(a, false);
    address_changed(a);
}

static void senders_remove(struct address *a, struct link *l) ON_CONTROL
{
    list_remove(&l->of_address);
    a->sender_count--;
}

void registry_part(struct link *l)
{
    if (!list_is_linked(&l->of_address))
        return;
    if (l->is_incoming)
        senders_remove(l->address, l);
    else
        receivers_remove(l->address, l);
}

/* l uses its address from now on. */
static void join_address(struct link *l) ON_CONTROL
{
    struct address *a = l->address;
    a->user_count++;
    if (l->is_incoming) {
        list_append(&a->senders, &l->of_address);
        a->sender_count++;
    } else if (!l->own || own_link_is_bound(l->own)) {
        receivers_add(a, l);
    }
}

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
        join_address(l);
    edge_service_link_attached(l);
    if (l->own)
        own_link_registered(l);
    if (l->address)
        edge_proxy_address_changed(l->address);
}

void registry_attach_on(struct link *l, enum attach_refusal refusal)
{
    l->refusal = refusal != ATTACH_OK ? refusal : resolve(l);
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

static uint64_t stat_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
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
    list_for_each(n, table_addresses(registry.world->table))
    {
        const struct address *a = list_entry(n, struct address, node);
        out->redirected += stat_get(&a->redirected);
    }
}

static void leave_address(struct link *l, struct address *a) ON_CONTROL
{
    uint64_t deliveries = stat_get(&l->stats.deliveries);
    bool is_container = l->conn->settings->role == ROLE_ROUTE_CONTAINER;
    *(l->is_incoming ? &a->past_ingress : &a->past_egress) += deliveries;
    if (is_container)
        *(l->is_incoming ? &a->past_ingress_container : &a->past_egress_container) += deliveries;
    registry_part(l);
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
            leave_address(l, l->address);
    } else {
        edge_lookup_forget(l);
    }
    if (!atomic_load(&registry.stopping))
        list_append(&registry.leaving, &l->answer_node);
    if (l->own)
        own_link_left(l);
    if (was_registered && l->address)
        edge_proxy_address_changed(l->address);
}

static void link_release(struct link *l) ON_CONTROL
{
    if (l->refusal == ATTACH_OK && l->address) {
        l->address->user_count--;
        address_unused(l->address);
    }
    if (l->own)
        own_link_unref(l->own);
    routed_link_free(&l->routed);
    connection_unref(l->conn);
    free(l->name);
    free(l->wanted);
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
