#include <router/route/link_route.h>

#include <router/route/address_name.h>
#include <router/route/connection.h>
#include <router/route/edge_routes.h>
#include <router/route/here.h>
#include <router/route/network.h>
#include <router/route/registry.h>
#include <router/route/routed_link.h>
#include <router/route/rules.h>
#include <router/route/uplink.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/log.h>

/* A connection here by which a route leads to a container. */
struct way {
    struct list node; /* in the address's ways: the one that was used last is the last */
    struct link_route *route;
    struct connection *conn; /* good while it is listed */
};

struct link_route_address {
    UT_hash_handle hh;
    struct address *address; /* in the route table, under the same key */
    bool is_in;
    uint32_t routes; /* that are configured here */
    struct list ways;
    uint32_t way_count;
    uint32_t turn; /* which of other routers is next */
    char key[];
};

static struct {
    struct list routes;
    struct link_route *by_identity;
    bool is_ready;
    bool refuses_resumable;
    uint32_t configured;
    struct link_route_address *addresses; /* by key */
    struct rules *rules[2];               /* by direction: out, in. A rule's identity is the key */
} state;

static void make_ready(void)
{
    if (state.is_ready)
        return;
    state.is_ready = true;
    list_init(&state.routes);
    state.rules[0] = rules_new();
    state.rules[1] = rules_new();
}

struct list *link_routes(void)
{
    make_ready();
    return &state.routes;
}

uint32_t link_route_count(void)
{
    return state.configured;
}

struct link_route *link_route_find(const char *identity)
{
    struct link_route *r;
    HASH_FIND_STR(state.by_identity, identity, r);
    return r;
}

/* ---- addresses ---- */

static struct link_route_address *find_address(const char *key)
{
    struct link_route_address *a;
    HASH_FIND_STR(state.addresses, key, a);
    return a;
}

uint32_t link_route_containers(const struct address *a)
{
    const struct link_route_address *at = find_address(a->key);
    return at ? at->way_count : 0;
}

static bool is_separator(char c)
{
    return c == '.' || c == '/';
}

/* The key of a route's address: a pattern whose only wildcard is a # at its end is a prefix (wire-protocol reference
 * 5.7). Ownership: the caller's. */
static char *key_of(const char *text, bool is_prefix, bool is_in)
{
    size_t len = strlen(text);
    const char *wildcard = strpbrk(text, "*#");
    if (!is_prefix && len > 1 && wildcard == text + len - 1 && *wildcard == '#' && is_separator(wildcard[-1])) {
        is_prefix = true;
        len--;
    }
    while (is_prefix && len > 1 && is_separator(text[len - 1]))
        len--;
    char letter = (char)(is_prefix ? is_in ? ADDRESS_LINK_ROUTE_PREFIX_IN : ADDRESS_LINK_ROUTE_PREFIX_OUT
                         : is_in   ? ADDRESS_LINK_ROUTE_PATTERN_IN
                                   : ADDRESS_LINK_ROUTE_PATTERN_OUT);
    return xasprintf("%c%.*s", letter, (int)len, text);
}

static bool key_is_in(const char *key)
{
    return key[0] == ADDRESS_LINK_ROUTE_PREFIX_IN || key[0] == ADDRESS_LINK_ROUTE_PATTERN_IN;
}

static bool key_is_prefix(const char *key)
{
    return key[0] == ADDRESS_LINK_ROUTE_PREFIX_IN || key[0] == ADDRESS_LINK_ROUTE_PREFIX_OUT;
}

/* The address with this key, made if it is new. Errors: as rules_with(). */
static enum err get_address(const char *key, struct link_route_address **out) ON_CONTROL
{
    make_ready();
    *out = find_address(key);
    if (*out)
        return OK;
    if (key[1 + strspn(key + 1, "./")] == '\0')
        return ERR_INVALID; /* a prefix without a token would be everybody's */
    struct rule_conf conf = {
        .identity = key, .text = key + 1, .is_prefix = key_is_prefix(key), .priority = PRIORITY_UNSET};
    struct rules **rules = &state.rules[key_is_in(key)], *next;
    enum err e = rules_with(*rules, &conf, &next);
    if (e != OK)
        return e;
    rules_free(rules);
    *rules = next;
    struct link_route_address *a = xcalloc(1, sizeof *a + strlen(key) + 1);
    strcpy(a->key, key);
    a->is_in = key_is_in(key);
    list_init(&a->ways);
    HASH_ADD_STR(state.addresses, key, a);
    a->address = registry_use_address(key);
    *out = a;
    return OK;
}

static void unused(struct link_route_address *a) ON_CONTROL
{
    if (a->routes > 0 || a->address->remote_count > 0)
        return;
    struct rules **rules = &state.rules[a->is_in], *next;
    if (rules_without(*rules, a->key, &next) == OK) {
        rules_free(rules);
        *rules = next;
    }
    HASH_DEL(state.addresses, a);
    registry_leave_address(a->address);
    free(a);
}

void link_route_mapped(struct address *a)
{
    struct link_route_address *unneeded;
    if (get_address(a->key, &unneeded) != OK)
        LOG_PEER(ROUTER, WARNING, "the link route '%s' of another router is not used: it cannot be told from one here",
                 a->key);
}

void link_route_unmapped(struct address *a)
{
    struct link_route_address *at = find_address(a->key);
    if (at)
        unused(at);
}

/* ---- ways to containers ---- */

static void log_change(const struct link_route *r, const char *what)
{
    LOG(ROUTER_CORE, INFO, "Link Route %s '%s' on %s %s", what, r->name ? r->name : r->identity,
        r->container ? "container" : "connection",
        r->container    ? r->container
        : r->connection ? r->connection
                        : r->of_connection->container);
}

/* It has a container here, or none any more: other routers are told. */
static void became_active(const struct link_route_address *a, bool is_active) ON_CONTROL
{
    if (is_active)
        network_address_added(a->address);
    else
        network_address_removed(a->address);
    edge_routes_changed(a->key, is_active);
}

static void add_way(struct link_route *r, struct connection *c) ON_CONTROL
{
    struct link_route_address *a = r->address;
    struct way *w = xcalloc(1, sizeof *w);
    w->route = r;
    w->conn = c;
    list_append(&a->ways, &w->node);
    if (a->way_count++ == 0)
        became_active(a, true);
    if (r->ways++ == 0) {
        r->changed = clock_mono_ms();
        log_change(r, "Activated");
    }
}

static void remove_way(struct way *w) ON_CONTROL
{
    struct link_route *r = w->route;
    list_remove(&w->node);
    free(w);
    if (--r->address->way_count == 0)
        became_active(r->address, false);
    if (--r->ways == 0) {
        r->changed = clock_mono_ms();
        log_change(r, "Deactivated");
    }
}

/* Those of r to this connection, or (NULL) all. */
static void remove_ways(struct link_route *r, const struct connection *c) ON_CONTROL
{
    list_for_each_safe(n, &r->address->ways)
    {
        struct way *w = list_entry(n, struct way, node);
        if (w->route == r && (!c || w->conn == c))
            remove_way(w);
    }
}

static void on_opened(struct container_watch *w, struct connection *c)
{
    assert_on_control();
    add_way(container_of(w, struct link_route, watch), c);
}

static void on_gone(struct container_watch *w, struct connection *c)
{
    assert_on_control();
    remove_ways(container_of(w, struct link_route, watch), c);
}

/* ---- routes ---- */

static char *copy_or_null(const char *s)
{
    return s && s[0] ? xstrdup(s) : NULL;
}

static struct link_route *route_new(const struct link_route_conf *conf)
{
    struct link_route *r = xcalloc(1, sizeof *r);
    r->identity = xstrdup(conf->identity);
    r->changed = clock_mono_ms();
    r->name = copy_or_null(conf->name);
    r->text = xstrdup(conf->text);
    r->is_prefix = conf->is_prefix;
    r->is_in = conf->is_in;
    r->connection = copy_or_null(conf->connection);
    r->container = copy_or_null(conf->container);
    r->added = copy_or_null(conf->added);
    r->removed = copy_or_null(conf->removed);
    r->of_connection = conf->of_connection;
    r->watch = (struct container_watch){.opened = on_opened, .gone = on_gone};
    return r;
}

static void start(struct link_route *r) ON_CONTROL
{
    if (r->of_connection)
        add_way(r, r->of_connection);
    else if (r->container)
        container_watch(&r->watch, CONTAINER_BY_ID, r->container);
    else if (r->connection)
        container_watch(&r->watch, CONTAINER_BY_CONNECTION, r->connection);
}

enum err link_route_add(const struct link_route_conf *conf)
{
    if (link_route_find(conf->identity))
        return ERR_EXISTS;
    char *key = key_of(conf->text, conf->is_prefix, conf->is_in);
    struct link_route_address *a;
    enum err e = get_address(key, &a);
    free(key);
    if (e != OK)
        return e;
    struct link_route *r = route_new(conf);
    r->address = a;
    a->routes++;
    list_append(&state.routes, &r->node);
    HASH_ADD_KEYPTR(hh, state.by_identity, r->identity, strlen(r->identity), r);
    state.configured += !r->of_connection;
    start(r);
    return OK;
}

static void route_end(struct link_route *r) ON_CONTROL
{
    container_unwatch(&r->watch);
    remove_ways(r, NULL);
    r->address->routes--;
    unused(r->address);
    list_remove(&r->node);
    HASH_DEL(state.by_identity, r);
    state.configured -= !r->of_connection;
    free(r->identity);
    free(r->name);
    free(r->text);
    free(r->connection);
    free(r->container);
    free(r->added);
    free(r->removed);
    free(r);
}

enum err link_route_remove(const char *identity)
{
    struct link_route *r = link_route_find(identity);
    if (!r)
        return ERR_NOT_FOUND;
    route_end(r);
    return OK;
}

void link_route_connection_gone(struct connection *c)
{
    list_for_each_safe(n, link_routes())
    {
        struct link_route *r = list_entry(n, struct link_route, node);
        if (r->of_connection == c)
            route_end(r);
    }
}

void link_route_stop(void)
{
    list_for_each_safe(n, link_routes()) route_end(list_entry(n, struct link_route, node));
    struct link_route_address *a, *next;
    HASH_ITER(hh, state.addresses, a, next) /* those of other routers */
    {
        HASH_DEL(state.addresses, a);
        free(a);
    }
    rules_free(&state.rules[0]);
    rules_free(&state.rules[1]);
    state.is_ready = false;
}

/* ---- attaches ---- */

static struct link_route_address *match(const char *text, size_t len, bool is_in) ON_CONTROL
{
    make_ready();
    const struct rule *rule = rules_match(state.rules[is_in], text, len);
    return rule ? find_address(rule_conf(rule)->identity) : NULL;
}

/* A link does not go back to the router that it came from. */
static bool may_go_to(const struct link *l, const struct connection *c)
{
    enum connection_role role = c->settings->role;
    return c != l->conn || (role != ROLE_EDGE && role != ROLE_INTER_ROUTER);
}

/* A container here, each in turn; NULL: none. */
static const struct way *choose_way(struct link_route_address *a, const struct link *l)
{
    list_for_each(n, &a->ways)
    {
        struct way *w = list_entry(n, struct way, node);
        if (!may_go_to(l, w->conn))
            continue;
        list_remove(&w->node);
        list_append(&a->ways, &w->node);
        return w;
    }
    return NULL;
}

/* The connection towards another router that has one, each in turn; NULL: none can be reached. */
static struct connection *choose_router(struct link_route_address *a, const struct link *l) ON_CONTROL
{
    const struct address *at = a->address;
    for (uint32_t i = 0; i < at->remote_count; i++) {
        struct connection *c = network_next_hop(at->remotes[a->turn++ % at->remote_count]);
        if (c && may_go_to(l, c))
            return c;
    }
    return NULL;
}

static bool choose(struct link_route_address *a, const struct link *l, struct routed_way *out) ON_CONTROL
{
    const struct way *w = choose_way(a, l);
    *out = (struct routed_way){.to = w ? w->conn : choose_router(a, l), .key = a->key};
    if (w) {
        out->removed = w->route->removed;
        out->added = w->route->added;
    }
    return out->to != NULL;
}

/* The text by which a link's address is looked up; NULL: it has none, or one that is never link-routed: those that name
 * a router, and what this router serves itself. Ownership: the caller's. */
static char *text_of(const struct link *l) ON_CONTROL
{
    if (l->is_coordinator)
        return xstrdup(LINK_ROUTE_COORDINATOR);
    const char *name = l->is_dynamic ? l->maker : l->wanted;
    if (!name)
        return NULL;
    size_t len = strlen(name), size = len + ADDRESS_KEY_EXTRA + ROUTER_ID_MAX;
    char *key = xmalloc(size), *text = NULL;
    size_t n = address_name_key(&here->world->identity, name, len, PHASE_DEFAULT, key, size);
    if (n > ADDRESS_KEY_EXTRA && key[0] == ADDRESS_MOBILE) {
        const struct address *known = table_find(here->world->table, key, n);
        if (!known || !known->is_own)
            text = xstrndup(key + ADDRESS_KEY_EXTRA, n - ADDRESS_KEY_EXTRA);
    }
    free(key);
    return text;
}

bool link_route_resolve(struct link *l, enum attach_refusal *refusal)
{
    if (!state.addresses)
        return false;
    char *text = text_of(l);
    struct link_route_address *a = text ? match(text, strlen(text), l->is_incoming) : NULL;
    if (a) {
        struct routed_way way;
        bool found = choose(a, l, &way), is_allowed = !l->is_resumable || !state.refuses_resumable;
        *refusal = !is_allowed ? ATTACH_EXPIRATION : found ? ATTACH_OK : ATTACH_NO_ROUTE;
        way.text = l->is_coordinator || l->is_dynamic ? NULL : text; /* the container names what it makes */
        if (*refusal == ATTACH_OK)
            l->routed = routed_link_new(l, &way);
    }
    free(text);
    return a != NULL;
}

void link_route_by_uplink(struct link *l)
{
    struct routed_way way = {.to = uplink_active(), .key = uplink_key, .text = l->wanted, .keeps_name = true};
    if (way.to)
        l->routed = routed_link_new(l, &way);
    registry_attach_on(l, way.to ? ATTACH_OK : ATTACH_NO_ROUTE);
}

void link_route_allow_resumable(bool allowed)
{
    state.refuses_resumable = !allowed;
}

bool link_route_lookup(const char *address, size_t len, bool is_in, bool *has_destinations)
{
    address_name_strip(&address, &len);
    const struct link_route_address *a = match(address, len, is_in);
    *has_destinations = a && (a->way_count > 0 || a->address->remote_count > 0);
    return a != NULL;
}

const struct address *link_route_address_of(const char *text, size_t len, bool is_in)
{
    address_name_strip(&text, &len);
    const struct link_route_address *a = match(text, len, is_in);
    return a ? a->address : NULL;
}

bool link_route_is_of(const struct link_route *r, const struct address *a)
{
    return r->address->address == a;
}
