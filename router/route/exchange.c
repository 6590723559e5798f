#include <router/route/exchange.h>

#include <router/route/address_name.h>
#include <router/route/here.h>
#include <router/route/phase.h>
#include <router/route/registry.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/annotations.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/rcu.h>

/* Relaxed: they order nothing. */
struct counters {
    _Atomic uint64_t received, dropped, forwarded, diverted;
};

/* Where a copy goes. Immutable. */
struct hop {
    char *key; /* in the table: "M0queue" */
    uint8_t phase;
};

struct binding {
    struct list node, of_exchange;
    uint64_t identity;
    struct exchange *exchange;
    struct binding_conf conf; /* texts are ours */
    struct hop hop;
    _Atomic uint64_t matched; /* relaxed */
};

struct exchange {
    struct list node;
    uint64_t identity;
    struct exchange_conf conf; /* texts are ours */
    struct hop alternate;      /* key NULL: none */
    struct address *address;
    struct list bindings; /* of struct binding.of_exchange */
    uint32_t binding_count;
    struct counters counters;
};

/* What routing threads see of an exchange: replaced whole when a binding comes or goes. The exchange and its bindings
 * outlive it: they are freed by deferred calls behind its own. */
struct exchange_view {
    struct exchange *exchange; /* its configuration and counters */
    uint32_t count;
    struct binding *bindings[];
};

static struct {
    struct route_world *world;
    struct list exchanges, bindings;
} all;

void exchanges_start(struct route_world *world)
{
    all.world = world;
    list_init(&all.exchanges);
    list_init(&all.bindings);
}

const char *exchange_error_text(enum exchange_error e)
{
    static const char *const texts[] = {
        [EXCHANGE_OK] = "",
        [EXCHANGE_NAME_TAKEN] = "duplicate exchange name",
        [EXCHANGE_ADDRESS_TAKEN] = "duplicate exchange address",
        [EXCHANGE_BAD_ADDRESS] = "exchange address is mandatory",
        [BINDING_NO_EXCHANGE] = "Named exchange does not exist",
        [BINDING_BAD_KEY] = "The binding key pattern is invalid",
        [BINDING_BAD_NEXT_HOP] = "No next hop specified",
        [BINDING_EXISTS] = "Next hop for key already exists",
    };
    return texts[e];
}

/* ---- what routing threads see ---- */

static void publish(struct exchange *e) ON_CONTROL
{
    struct exchange_view *v = xcalloc(1, sizeof *v + e->binding_count * sizeof v->bindings[0]);
    v->exchange = e;
    list_for_each(n, &e->bindings)
    {
        v->bindings[v->count++] = list_entry(n, struct binding, of_exchange);
    }
    registry_set_exchange(e->address, v);
}

static char *copy_or_null(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

/* Result: false, the text is no address of messages. */
static bool hop_init(struct hop *h, const char *text, uint8_t phase)
{
    size_t len = strlen(text), size = len + ADDRESS_KEY_EXTRA + ROUTER_ID_MAX;
    char *key = xmalloc(size + 1);
    size_t n = address_name_key(&all.world->identity, text, len, (char)('0' + phase), key, size);
    key[n] = '\0';
    *h = (struct hop){.key = key, .phase = phase};
    if (n > 2 && key[0] == ADDRESS_MOBILE)
        return true;
    free(key);
    h->key = NULL;
    return false;
}

/* ---- exchanges ---- */

static struct exchange *find_named(const char *name) ON_CONTROL
{
    list_for_each(n, &all.exchanges)
    {
        struct exchange *e = list_entry(n, struct exchange, node);
        if (strcmp(e->conf.name, name) == 0)
            return e;
    }
    return NULL;
}

static void exchange_free(void *p)
{
    struct exchange *e = p;
    free((char *)e->conf.name);
    free((char *)e->conf.address);
    free((char *)e->conf.alternate);
    free(e->alternate.key);
    free(e);
}

static void binding_free(void *p)
{
    struct binding *b = p;
    free((char *)b->conf.name);
    free((char *)b->conf.exchange);
    free((char *)b->conf.key);
    free((char *)b->conf.next_hop);
    free(b->hop.key);
    free(b);
}

enum exchange_error exchange_add(const struct exchange_conf *conf, struct exchange **out)
{
    struct hop own, alternate = {0};
    if (find_named(conf->name))
        return EXCHANGE_NAME_TAKEN;
    if (!hop_init(&own, conf->address, conf->phase))
        return EXCHANGE_BAD_ADDRESS;
    struct address *a = table_find(all.world->table, own.key, strlen(own.key));
    enum exchange_error error = a && address_exchange(a)                                        ? EXCHANGE_ADDRESS_TAKEN
                                : a && a->in_process                                            ? EXCHANGE_BAD_ADDRESS
                                : !conf->alternate                                              ? EXCHANGE_OK
                                : !hop_init(&alternate, conf->alternate, conf->alternate_phase) ? EXCHANGE_BAD_ADDRESS
                                                                                                : EXCHANGE_OK;
    if (error != EXCHANGE_OK) {
        free(own.key);
        return error;
    }
    struct exchange *e = xcalloc(1, sizeof *e);
    e->identity = registry_next_identity();
    e->conf = *conf;
    e->conf.name = xstrdup(conf->name);
    e->conf.address = xstrdup(conf->address);
    e->conf.alternate = copy_or_null(conf->alternate);
    e->alternate = alternate;
    list_init(&e->bindings);
    list_append(&all.exchanges, &e->node);
    e->address = registry_use_address(own.key);
    free(own.key);
    publish(e);
    *out = e;
    return EXCHANGE_OK;
}

static void binding_leave(struct binding *b) ON_CONTROL
{
    list_remove(&b->node);
    list_remove(&b->of_exchange);
    b->exchange->binding_count--;
}

void exchange_remove(struct exchange *e)
{
    struct list gone;
    list_init(&gone);
    registry_set_exchange(e->address, NULL);
    registry_leave_address(e->address);
    list_remove(&e->node);
    list_for_each_safe(n, &e->bindings)
    {
        struct binding *b = list_entry(n, struct binding, of_exchange);
        binding_leave(b);
        rcu_defer(b, binding_free);
    }
    rcu_defer(e, exchange_free);
}

void exchanges_stop(void)
{
    list_for_each_safe(n, &all.exchanges) exchange_remove(list_entry(n, struct exchange, node));
}

/* ---- bindings ---- */

static bool is_there(const struct exchange *e, const char *key, const struct hop *h) ON_CONTROL
{
    list_for_each(n, &e->bindings)
    {
        const struct binding *b = list_entry(n, struct binding, of_exchange);
        if (strcmp(b->conf.key, key) == 0 && strcmp(b->hop.key, h->key) == 0)
            return true;
    }
    return false;
}

enum exchange_error binding_add(const struct binding_conf *conf, struct binding **out)
{
    struct exchange *e = find_named(conf->exchange);
    const char *key = conf->key ? conf->key : "#";
    struct hop hop;
    if (!e)
        return BINDING_NO_EXCHANGE;
    if (!exchange_key_is_good(key, e->conf.is_mqtt))
        return BINDING_BAD_KEY;
    if (!hop_init(&hop, conf->next_hop, conf->next_hop_phase))
        return BINDING_BAD_NEXT_HOP;
    if (is_there(e, key, &hop)) {
        free(hop.key);
        return BINDING_EXISTS;
    }
    struct binding *b = xcalloc(1, sizeof *b);
    b->identity = registry_next_identity();
    b->exchange = e;
    b->conf = *conf;
    b->conf.name = copy_or_null(conf->name);
    b->conf.exchange = xstrdup(conf->exchange);
    b->conf.key = xstrdup(key);
    b->conf.next_hop = xstrdup(conf->next_hop);
    b->hop = hop;
    list_append(&all.bindings, &b->node);
    list_append(&e->bindings, &b->of_exchange);
    e->binding_count++;
    publish(e);
    *out = b;
    return EXCHANGE_OK;
}

void binding_remove(struct binding *b)
{
    struct exchange *e = b->exchange;
    binding_leave(b);
    publish(e);
    rcu_defer(b, binding_free);
}

/* ---- for management ---- */

struct list *exchanges(void)
{
    return &all.exchanges;
}

struct list *bindings(void)
{
    return &all.bindings;
}

struct exchange *exchange_of_node(struct list *n)
{
    return list_entry(n, struct exchange, node);
}

struct binding *binding_of_node(struct list *n)
{
    return list_entry(n, struct binding, node);
}

struct exchange *exchange_find(uint64_t identity)
{
    list_for_each(n, &all.exchanges)
    {
        if (exchange_of_node(n)->identity == identity)
            return exchange_of_node(n);
    }
    return NULL;
}

struct binding *binding_find(uint64_t identity)
{
    list_for_each(n, &all.bindings)
    {
        if (binding_of_node(n)->identity == identity)
            return binding_of_node(n);
    }
    return NULL;
}

const struct exchange_conf *exchange_conf(const struct exchange *e)
{
    return &e->conf;
}

const struct binding_conf *binding_conf(const struct binding *b)
{
    return &b->conf;
}

uint64_t exchange_identity(const struct exchange *e)
{
    return e->identity;
}

uint64_t binding_identity(const struct binding *b)
{
    return b->identity;
}

static uint64_t count_of(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void exchange_counts(const struct exchange *e, struct exchange_counts *out)
{
    *out = (struct exchange_counts){.received = count_of(&e->counters.received),
                                    .dropped = count_of(&e->counters.dropped),
                                    .forwarded = count_of(&e->counters.forwarded),
                                    .diverted = count_of(&e->counters.diverted),
                                    .bindings = e->binding_count};
}

uint64_t binding_matched(const struct binding *b)
{
    return count_of(&b->matched);
}

/* ---- a message ---- */

/* The copies so far. */
struct choice {
    struct exchange_copy *to;
    uint32_t count, size;
    const struct passage *passage;
    uint32_t *round_robin;
};

static void count_one(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static struct exchange_copy *next_copy(struct choice *c)
{
    if (c->count == c->size) {
        c->size = 2 * c->size + 1;
        c->to = xrealloc(c->to, c->size * sizeof *c->to);
    }
    return &c->to[c->count++];
}

static struct named_address name_of(const struct address *a)
{
    const char *text = a->key + 2;
    return (struct named_address){.text = {.data = (const uint8_t *)text, .len = strlen(text)},
                                  .phase = phase_number(phase_of_key(a->key))};
}

static void add_all(struct choice *c, struct address *a, const struct routes *r)
{
    uint32_t most = forward_copies_max(r);
    struct link_token *to = xmalloc(most * sizeof *to + 1);
    uint32_t n = forward_copies(a, r, c->passage, to);
    for (uint32_t i = 0; i < n; i++)
        *next_copy(c) = (struct exchange_copy){.to = to[i], .name = name_of(a)};
    free(to);
}

static bool add_one(struct choice *c, struct address *a)
{
    struct link_token to;
    if (!forward_choose(a, address_routes(a), c->passage, c->round_robin, &to))
        return false;
    *next_copy(c) = (struct exchange_copy){.to = to, .name = name_of(a)};
    return true;
}

/* Whoever takes messages of a, as its distribution says. */
static void add_receivers(struct choice *c, struct address *a)
{
    uint32_t before = c->count;
    if (a->distribution == DISTRIBUTION_MULTICAST)
        add_all(c, a, address_routes(a));
    else
        add_one(c, a);
    struct address *fallback = address_fallback(a);
    if (c->count == before && fallback && add_one(c, fallback))
        address_count_redirected(a);
}

/* An edge router knows receivers elsewhere only of addresses that its clients send to. */
static void add_uplink(struct choice *c, const struct hop *h)
{
    struct address *up = here->world->uplink;
    if (!up || !add_one(c, up))
        return;
    c->to[c->count - 1].name = (struct named_address){
        .text = {.data = (const uint8_t *)h->key + 2, .len = strlen(h->key) - 2}, .phase = h->phase};
}

static void add_hop(struct choice *c, const struct hop *h)
{
    struct address *a = table_find(here->world->table, h->key, strlen(h->key));
    uint32_t before = c->count;
    if (a && !a->in_process)
        add_receivers(c, a);
    if (c->count == before)
        add_uplink(c, h);
}

/* Whether an earlier binding that matches leads there too: one copy for each next hop. */
static bool is_repeated(const struct exchange_view *v, const bool *matched, uint32_t i)
{
    for (uint32_t k = 0; k < i; k++)
        if (matched[k] && strcmp(v->bindings[k]->hop.key, v->bindings[i]->hop.key) == 0)
            return true;
    return false;
}

static void add_matching(struct choice *c, const struct exchange_view *v, const struct slice *subject)
{
    bool *matched = xcalloc(v->count + 1, sizeof *matched);
    for (uint32_t i = 0; i < v->count; i++) {
        struct binding *b = v->bindings[i];
        matched[i] =
            exchange_key_matches(b->conf.key, (const char *)subject->data, subject->len, v->exchange->conf.is_mqtt);
        if (!matched[i])
            continue;
        count_one(&b->matched);
        if (!is_repeated(v, matched, i))
            add_hop(c, &b->hop);
    }
    free(matched);
}

/* Receivers of the exchange's own address. */
static void add_own(struct choice *c, struct address *a)
{
    const struct passage *p = c->passage;
    bool is_from_router = p->annotations && p->annotations->trace.count;
    if (is_from_router && a->distribution != DISTRIBUTION_MULTICAST && address_routes(a)->count == 0)
        return;
    add_receivers(c, a);
    for (uint32_t i = 0; i < c->count; i++)
        c->to[i].is_own = true;
}

/* Those that the bindings say, or the alternate address. */
static void add_hops(struct choice *c, const struct exchange_view *v, const struct slice *subject)
{
    struct exchange *e = v->exchange;
    count_one(&e->counters.received);
    if (subject->data)
        add_matching(c, v, subject);
    if (c->count == 0 && e->alternate.key) {
        add_hop(c, &e->alternate);
        if (c->count)
            count_one(&e->counters.diverted);
    }
    count_one(c->count ? &e->counters.forwarded : &e->counters.dropped);
}

uint32_t exchange_copies(const struct address *a, const struct slice *subject, const struct passage *p,
                         uint32_t *round_robin, struct exchange_copy **out)
{
    const struct exchange_view *v = address_exchange(a);
    const struct passage anew = {.priority = p->priority};
    struct choice c = {.passage = p, .round_robin = round_robin};
    add_own(&c, (struct address *)a);
    c.passage = &anew;
    if (v) /* it may have been removed since the caller looked */
        add_hops(&c, v, subject);
    *out = c.to;
    return c.count;
}
