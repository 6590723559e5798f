/* The addresses of the registry: who uses each, and its routes (registry.h). */
#include "registry_priv.h"

#include <router/route/address_name.h>
#include <router/route/edge_proxy.h>
#include <router/route/edge_service.h>
#include <router/route/exchange.h>
#include <router/route/link_route.h>
#include <router/route/network.h>
#include <router/route/own_link.h>
#include <router/route/phase.h>
#include <router/route/rules.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

static struct {
    struct route_world *world;
    struct list changed;      /* addresses whose routes are to be built at the end of the turn */
    uint64_t past_redirected; /* of addresses that are no more */
} addresses;

void registry_addresses_init(struct route_world *world)
{
    addresses.world = world;
    list_init(&addresses.changed);
}

struct route_world *registry_world(void)
{
    return addresses.world;
}

uint64_t registry_redirected(void)
{
    uint64_t n = addresses.past_redirected;
    list_for_each(i, table_addresses(addresses.world->table))
    {
        const struct address *a = list_entry(i, struct address, node);
        n += stat_get(&a->redirected);
    }
    return n;
}

/* ---- routes ---- */

void registry_address_changed(struct address *a)
{
    if (!list_is_linked(&a->changed))
        list_append(&addresses.changed, &a->changed);
}

/* by_fallback: only there is somebody, which is of no use to what comes from there. */
static void tell_senders(const struct address *a, bool by_fallback) ON_CONTROL
{
    list_for_each(n, &a->senders)
    {
        struct link *l = list_entry(n, struct link, of_address);
        if (!by_fallback || !l->is_from_fallback)
            registry_tell_link(l, LINK_REACHABLE);
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

bool registry_build_routes(void)
{
    struct list *n;
    bool any = false;
    while ((n = list_take_first(&addresses.changed))) {
        address_build_routes(list_entry(n, struct address, changed));
        any = true;
    }
    return any;
}

/* ---- making and dropping ---- */

void registry_add_own_address(const char *key, enum distribution d, bool served)
{
    struct address *a = table_get(addresses.world->table, key, d, -1);
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
    addresses.past_redirected += stat_get(&a->redirected);
    table_remove(addresses.world->table, a);
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

const struct rule *registry_rule_of_key(const char *key, size_t len)
{
    if (key[0] != ADDRESS_MOBILE)
        return NULL;
    size_t text_len;
    const char *text = address_name_of_key(key, len, &text_len);
    return rules_match(rcu_read(&addresses.world->rules), text, text_len);
}

/* The other of an address and its fallback destination: made if it is not there. */
static void pair_up(struct address *a, int priority, enum distribution d) ON_CONTROL
{
    bool is_fallback = a->key[1] == PHASE_FALLBACK;
    char *key = xstrdup(a->key);
    key[1] = is_fallback ? PHASE_DEFAULT : PHASE_FALLBACK;
    struct address *other = table_get(addresses.world->table, key, is_fallback ? d : DISTRIBUTION_BALANCED, priority);
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
    struct address *a = table_get(addresses.world->table, text, is_fallback ? DISTRIBUTION_BALANCED : d, priority);
    free(text);
    /* A rule for fallback has no phases: this is one of the pair. */
    if (rule && rule_conf(rule)->fallback && (is_fallback || key[1] == PHASE_DEFAULT))
        pair_up(a, priority, d);
    return a;
}

struct address *registry_address_of_key(const char *key, size_t len)
{
    struct address *a = table_find(addresses.world->table, key, len);
    if (a)
        return a;
    const struct rule *rule = registry_rule_of_key(key, len);
    enum distribution d = DISTRIBUTION_BALANCED;
    if (key[0] == ADDRESS_MOBILE)
        d = rule ? rule_conf(rule)->distribution : addresses.world->default_distribution;
    return d == DISTRIBUTION_UNAVAILABLE ? NULL : address_make(key, len, rule, d);
}

struct address *registry_address_or_hint(const char *key, int hint)
{
    static const enum distribution of_hint[] = {DISTRIBUTION_MULTICAST, DISTRIBUTION_MULTICAST, DISTRIBUTION_CLOSEST,
                                                DISTRIBUTION_BALANCED};
    struct address *a = table_find(addresses.world->table, key, strlen(key));
    if (a)
        return a;
    const struct rule *rule = registry_rule_of_key(key, strlen(key));
    enum distribution d = DISTRIBUTION_CLOSEST;
    if (key[0] == ADDRESS_MOBILE)
        d = rule                                                          ? rule_conf(rule)->distribution
            : hint >= 0 && hint < (int)(sizeof of_hint / sizeof *of_hint) ? of_hint[hint]
                                                                          : addresses.world->default_distribution;
    return address_make(key, strlen(key), rule, d == DISTRIBUTION_UNAVAILABLE ? DISTRIBUTION_BALANCED : d);
}

struct address *registry_use_address(const char *key)
{
    struct address *a = registry_address_or_hint(key, REGISTRY_NO_HINT);
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
    struct address *a = registry_address_or_hint(key, hint);
    for (uint32_t i = 0; i < a->remote_count; i++)
        if (a->remotes[i] == router)
            return;
    a->remotes = xrealloc(a->remotes, (a->remote_count + 1) * sizeof *a->remotes);
    a->remotes[a->remote_count++] = router;
    registry_address_changed(a);
    if (a->remote_count == 1 && link_route_is_key(key))
        link_route_mapped(a);
}

void registry_unmap(const char *key, uint32_t router)
{
    struct address *a = table_find(addresses.world->table, key, strlen(key));
    for (uint32_t i = 0; a && i < a->remote_count; i++) {
        if (a->remotes[i] != router)
            continue;
        a->remotes[i] = a->remotes[--a->remote_count];
        registry_address_changed(a);
        a->user_count++; /* it stays for the next two lines */
        if (a->remote_count == 0 && link_route_is_key(key))
            link_route_unmapped(a);
        registry_leave_address(a);
        return;
    }
}

/* ---- links and exchanges ---- */

static void receivers_add(struct address *a, struct link *l) ON_CONTROL
{
    list_append(&a->receivers, &l->of_address);
    if (a->receiver_count++ == 0 && !address_exchange(a))
        network_address_added(a);
    registry_address_changed(a);
}

static void receivers_remove(struct address *a, struct link *l) ON_CONTROL
{
    list_remove(&l->of_address);
    if (--a->receiver_count == 0 && !address_exchange(a))
        network_address_removed(a);
    registry_address_changed(a);
}

void registry_set_receiving(struct link *l, bool receives)
{
    if (receives && !list_is_linked(&l->of_address))
        receivers_add(l->address, l);
    else if (!receives && list_is_linked(&l->of_address))
        receivers_remove(l->address, l);
}

void registry_set_exchange(struct address *a, struct exchange_view *v)
{
    struct exchange_view *last = atomic_load_explicit(&a->exchange, memory_order_relaxed);
    rcu_publish(&a->exchange, v);
    if (last)
        rcu_defer(last, exchange_view_reclaim);
    if (!last && v && a->receiver_count == 0)
        network_address_added(a);
    else if (last && !v && a->receiver_count == 0)
        network_address_removed(a);
    if (!last && v)
        tell_senders(a, false);
    if (!last != !v)
        edge_proxy_address_changed(a);
    registry_address_changed(a);
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

void registry_link_joins(struct link *l)
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

void registry_link_leaves(struct link *l)
{
    struct address *a = l->address;
    uint64_t deliveries = stat_get(&l->stats.deliveries);
    bool is_container = l->conn->settings->role == ROLE_ROUTE_CONTAINER;
    *(l->is_incoming ? &a->past_ingress : &a->past_egress) += deliveries;
    if (is_container)
        *(l->is_incoming ? &a->past_ingress_container : &a->past_egress_container) += deliveries;
    registry_part(l);
}
