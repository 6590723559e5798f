#include <router/route/exchange.h>

#include <router/route/address_name.h>
#include <router/route/exchange_keys.h>
#include <router/route/here.h>
#include <router/route/phase.h>
#include <router/route/registry.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/annotations.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/log.h>
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
    uint64_t source;         /* of the numbers that it gives to messages, which are those of counters.received */
    struct stamps *passed;   /* messages that have come from other exchanges */
    _Atomic bool has_warned; /* that one has come again; orders nothing */
};

/* What routing threads see of an exchange: replaced whole when a binding comes or goes. The exchange and its bindings
 * outlive it: they are freed by deferred calls behind its own. */
struct exchange_view {
    struct exchange *exchange; /* its configuration and counters */
    struct exchange_keys *keys;
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

void exchange_view_reclaim(void *p)
{
    struct exchange_view *v = p;
    exchange_keys_free(&v->keys);
    free(v);
}

static const struct exchange_keys *keys_of(const struct exchange *e) ON_CONTROL
{
    return address_exchange(e->address)->keys;
}

/* keys: taken. */
static void publish(struct exchange *e, struct exchange_keys *keys) ON_CONTROL
{
    struct exchange_view *v = xcalloc(1, sizeof *v);
    v->exchange = e;
    v->keys = keys;
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
    stamps_free(&e->passed);
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
    struct stamp first;
    stamp_start(&first);
    e->source = first.source;
    e->passed = stamps_new();
    list_init(&e->bindings);
    list_append(&all.exchanges, &e->node);
    e->address = registry_use_address(own.key);
    free(own.key);
    publish(e, exchange_keys_new(conf->is_mqtt));
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
    struct binding_list like;
    bool found = false;
    binding_list_init(&like);
    exchange_keys_like(keys_of(e), key, &like);
    for (uint32_t i = 0; i < like.count && !found; i++)
        found = strcmp(like.at[i]->conf.key, key) == 0 && strcmp(like.at[i]->hop.key, h->key) == 0;
    binding_list_fini(&like);
    return found;
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
    publish(e, exchange_keys_with(keys_of(e), key, b));
    *out = b;
    return EXCHANGE_OK;
}

void binding_remove(struct binding *b)
{
    struct exchange *e = b->exchange;
    binding_leave(b);
    publish(e, exchange_keys_without(keys_of(e), b->conf.key, b));
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
    const struct exchange_message *message;
    const struct passage *passage; /* as those that are being added see it */
    struct stamp stamp;            /* which those of a multicast address carry */
    uint8_t hops;                  /* exchanges on the way to those */
    struct stamp original;
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
    struct exchange_copy *copy = &c->to[c->count++];
    *copy = (struct exchange_copy){.lineage = {.original = c->original, .hops = c->hops}};
    return copy;
}

static struct named_address name_of(const char *key)
{
    const char *text = key + 2;
    return (struct named_address){.text = {.data = (const uint8_t *)text, .len = strlen(text)},
                                  .phase = phase_number(phase_of_key(key))};
}

static void add_all(struct choice *c, struct address *a, const struct routes *r)
{
    uint32_t most = forward_copies_max(r);
    struct link_token *to = xmalloc(most * sizeof *to + 1);
    uint32_t n = forward_copies(a, r, c->passage, to);
    for (uint32_t i = 0; i < n; i++) {
        struct exchange_copy *copy = next_copy(c);
        copy->to = to[i];
        copy->name = name_of(a->key);
        copy->stamp = c->stamp;
    }
    free(to);
}

static bool add_one(struct choice *c, struct address *a)
{
    struct link_token to;
    if (!forward_choose(a, address_routes(a), c->passage, c->round_robin, &to))
        return false;
    struct exchange_copy *copy = next_copy(c);
    copy->to = to;
    copy->name = name_of(a->key);
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
    if (up && add_one(c, up))
        c->to[c->count - 1].name = name_of(h->key);
}

static void tell_of_circle(struct exchange *e)
{
    if (!atomic_exchange_explicit(&e->has_warned, true, memory_order_relaxed))
        LOG(ROUTER_CORE, INFO,
            "Exchange '%s' is in a circle of exchanges: a message that comes to it again is not passed on again",
            e->conf.name);
}

/* The message is at e. Result: false, it has been here before, or comes from too far. */
static bool enter(struct choice *c, struct exchange *e)
{
    if (c->hops &&
        (c->hops >= LINEAGE_MAX || c->original.source == e->source || !stamps_pass(e->passed, &c->original))) {
        tell_of_circle(e);
        return false;
    }
    uint64_t number = atomic_fetch_add_explicit(&e->counters.received, 1, memory_order_relaxed) + 1;
    if (c->hops == 0)
        c->original = (struct stamp){.source = e->source, .number = number};
    c->hops++;
    return true;
}

static void add_hops(struct choice *c, const struct exchange_view *v, uint32_t before);

/* Result: false, the message has been at the exchange that stands there. */
static bool add_at(struct choice *c, struct address *a)
{
    const struct exchange_view *v = address_exchange(a);
    uint32_t before = c->count;
    if (v && !enter(c, v->exchange))
        return false;
    add_receivers(c, a);
    if (v) {
        add_hops(c, v, before);
        c->hops--;
    }
    return true;
}

/* Copies for a next hop begin here: their ways are those of a message that a client has sent. */
static void add_hop(struct choice *c, const struct hop *h)
{
    struct address *a = table_find(here->world->table, h->key, strlen(h->key));
    struct address *up = here->world->uplink;
    struct passage anew = {.priority = c->message->passage->priority};
    const struct passage *last = c->passage;
    struct stamp last_stamp = c->stamp;
    uint32_t before = c->count;
    if (up && a && a->distribution == DISTRIBUTION_MULTICAST)
        anew.up = address_routes(up);
    c->passage = &anew;
    c->stamp = here->world->stamps ? here_next_stamp() : (struct stamp){0};
    if (!a || a->in_process || add_at(c, a))
        if (c->count == before)
            add_uplink(c, h);
    c->passage = last;
    c->stamp = last_stamp;
}

static int compare_hops(const void *a, const void *b)
{
    return strcmp((*(struct binding *const *)a)->hop.key, (*(struct binding *const *)b)->hop.key);
}

/* One copy for each next hop, however many of the bindings lead there. */
static void add_matching(struct choice *c, const struct exchange_view *v, const struct slice *subject)
{
    struct binding_list matched;
    binding_list_init(&matched);
    exchange_keys_match(v->keys, (const char *)subject->data, subject->len, &matched);
    if (matched.count > 1)
        qsort(matched.at, matched.count, sizeof *matched.at, compare_hops);
    for (uint32_t i = 0; i < matched.count; i++) {
        count_one(&matched.at[i]->matched);
        if (i == 0 || compare_hops(&matched.at[i - 1], &matched.at[i]) != 0)
            add_hop(c, &matched.at[i]->hop);
    }
    binding_list_fini(&matched);
}

/* Those that the bindings say, or the alternate address. before: the copies there were when the message came to it. */
static void add_hops(struct choice *c, const struct exchange_view *v, uint32_t before)
{
    struct exchange *e = v->exchange;
    const struct slice *subject = &c->message->subject;
    if (subject->data)
        add_matching(c, v, subject);
    if (c->count == before && e->alternate.key) {
        add_hop(c, &e->alternate);
        if (c->count != before)
            count_one(&e->counters.diverted);
    }
    count_one(c->count != before ? &e->counters.forwarded : &e->counters.dropped);
}

/* Receivers of the address that the message came to. */
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

bool exchange_copies(struct address *a, const struct exchange_message *m, uint32_t *round_robin,
                     struct exchange_copies *out)
{
    const struct exchange_view *v = address_exchange(a);
    struct choice c = {.message = m,
                       .passage = m->passage,
                       .stamp = m->stamp,
                       .hops = m->lineage.hops,
                       .original = m->lineage.original,
                       .round_robin = round_robin};
    *out = (struct exchange_copies){0};
    if (v && !enter(&c, v->exchange)) /* NULL: it has been removed since the caller looked */
        return false;
    add_own(&c, a);
    if (v)
        add_hops(&c, v, 0);
    *out = (struct exchange_copies){.to = c.to, .count = c.count};
    return true;
}
