#include <router/route/table.h>

#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/hash.h>

/* One writer and readers under RCU need no more than this: chains of fixed heads. Untouched heads cost no memory. */
enum { BUCKETS = 1 << 16 };

struct table {
    struct list addresses;
    uint32_t count;
    uint64_t last_number;       /* of an address */
    _Atomic(uint64_t) removals; /* up after an address is out, and before its grace period: who reads the old number in
                                 * a turn has the address until the end of it */
    _Atomic(struct address *) *heads;
};

struct table *table_new(void)
{
    struct table *t = xcalloc(1, sizeof *t);
    list_init(&t->addresses);
    t->heads = xcalloc(BUCKETS, sizeof *t->heads);
    return t;
}

static void address_free(void *p)
{
    struct address *a = p;
    free(atomic_load_explicit(&a->routes, memory_order_relaxed));
    ASSERT(!atomic_load_explicit(&a->exchange, memory_order_relaxed)); /* it holds the address */
    free(a->remotes);
    free(a->key);
    free(a);
}

void table_free(struct table **tp)
{
    struct table *t = *tp;
    *tp = NULL;
    list_for_each_safe(n, &t->addresses) address_free(list_entry(n, struct address, node));
    free(t->heads);
    free(t);
}

static _Atomic(struct address *) *bucket(const struct table *t, uint64_t hash)
{
    return &t->heads[hash & (BUCKETS - 1)];
}

struct address *table_find(const struct table *t, const char *key, size_t len)
{
    uint64_t hash = hash_octets(key, len);
    struct address *a = rcu_read(bucket(t, hash));
    while (a && (a->hash != hash || strncmp(a->key, key, len) != 0 || a->key[len]))
        a = rcu_read(&a->chain);
    return a;
}

struct address *table_get(struct table *t, const char *key, enum distribution d, int priority)
{
    struct address *a = table_find(t, key, strlen(key));
    if (a)
        return a;
    a = xcalloc(1, sizeof *a);
    a->key = xstrdup(key);
    a->hash = hash_octets(key, strlen(key));
    a->distribution = d;
    a->priority = (int8_t)priority;
    list_init(&a->changed);
    list_init(&a->senders);
    list_init(&a->receivers);
    atomic_init(&a->routes, routes_new(0, 0));
    list_append(&t->addresses, &a->node);
    a->number = ++t->last_number;
    t->count++;
    _Atomic(struct address *) *head = bucket(t, a->hash);
    atomic_init(&a->chain, atomic_load_explicit(head, memory_order_relaxed));
    rcu_publish(head, a);
    return a;
}

void table_remove(struct table *t, struct address *a)
{
    ASSERT(list_is_empty(&a->senders) && list_is_empty(&a->receivers) && !list_is_linked(&a->changed));
    _Atomic(struct address *) *at = bucket(t, a->hash);
    for (;;) {
        struct address *here = atomic_load_explicit(at, memory_order_relaxed);
        if (here == a)
            break;
        at = &here->chain;
    }
    rcu_publish(at, atomic_load_explicit(&a->chain, memory_order_relaxed));
    atomic_fetch_add_explicit(&t->removals, 1, memory_order_release);
    list_remove(&a->node);
    t->count--;
    rcu_defer(a, address_free);
}

uint64_t table_removals(const struct table *t)
{
    return atomic_load_explicit(&t->removals, memory_order_acquire);
}

struct list *table_addresses(struct table *t)
{
    return &t->addresses;
}

uint32_t table_count(const struct table *t)
{
    return t->count;
}

struct routes *routes_new(uint32_t count, uint32_t remote_count)
{
    struct routes *r = xcalloc(1, sizeof *r + count * sizeof r->to[0] + remote_count * sizeof(uint32_t));
    r->count = count;
    r->remote_count = remote_count;
    r->remotes = (const uint32_t *)&r->to[count];
    return r;
}

void address_set_fallback(struct address *a, struct address *f)
{
    ASSERT((!f->primary || f->primary == a) && (!address_fallback(a) || address_fallback(a) == f));
    f->primary = a;
    rcu_publish(&a->fallback, f);
}

void address_publish(struct address *a, struct routes *r)
{
    struct routes *last = atomic_load_explicit(&a->routes, memory_order_relaxed);
    rcu_publish(&a->routes, r);
    rcu_defer(last, free);
}
