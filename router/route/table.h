/* table.h -- the route table: every address that somebody uses, and where its messages go now.
 *
 * Control changes it; workers read it. An address stands still while links or the router itself use it; what changes is
 * its `routes`, an immutable array that is built anew and published (base/rcu.h). So forwarding reads one pointer and
 * takes no lock.
 *
 * Invariants
 *   T1  One address for each key.
 *   T2  `routes` is never NULL once the address can be found.
 *   T3  An address is freed only after every worker has passed a quiet point since it was taken out.
 *   T4  An address and its fallback are taken out together, when neither is used.
 *
 * Thread: control, except where said.
 */
#ifndef TRUNKLINE_ROUTE_TABLE_H
#define TRUNKLINE_ROUTE_TABLE_H

#include <router/route/rules.h>
#include <router/route/token.h>
#include <stdatomic.h>
#include <stddef.h>
#include <trunkline/base/list.h>
#include <trunkline/base/lock.h>
#include <trunkline/base/rcu.h>

/* How many deliveries a link has in hand: queued for it or unsettled. Senders of all workers add, the link's worker
 * ends. */
struct link_load {
    _Atomic uint32_t sent; /* relaxed: a number to choose by, it orders nothing */
    _Atomic uint32_t done; /* relaxed, written by the link's worker only */
};

static inline uint32_t link_load_outstanding(const struct link_load *l)
{
    uint32_t done = atomic_load_explicit(&l->done, memory_order_relaxed);
    return atomic_load_explicit(&l->sent, memory_order_relaxed) - done;
}

struct destination {
    struct link_token link;
    struct link_load *load; /* good as long as the routes are */
    uint32_t capacity;      /* deliveries in hand from which on it counts as full */
    uint64_t edge;          /* connection to an edge router that it belongs to; 0: none */
};

struct routes {
    uint32_t count;          /* of links here */
    uint32_t remote_count;   /* of other routers that have receivers: indices as in topology.h */
    const uint32_t *remotes; /* behind `to` */
    struct destination to[];
};

struct address {
    /* fixed */
    char *key; /* class letter, phase for mobile ones, text: "M0queue" */
    uint64_t hash;
    enum distribution distribution;
    int8_t priority; /* -1: none */
    bool in_process; /* the router itself receives */
    bool is_own;     /* made by the router: stays without users */
    /* any thread */
    _Atomic(struct address *) chain; /* next in the bucket */
    _Atomic(struct routes *) routes;
    _Atomic(struct address *) fallback;       /* where messages go that find nobody here; NULL: nowhere. See T4 */
    _Atomic(struct exchange_view *) exchange; /* passes its messages on by their subject, exchange.h; NULL: none does */
    _Atomic uint64_t redirected;              /* relaxed: deliveries that went there */
    _Atomic uint64_t anonymous_ingress;       /* relaxed: deliveries that came without a targeted link */
    _Atomic uint64_t transit;                 /* relaxed: copies that went on to other routers */
    _Atomic uint64_t in_process_count;        /* relaxed: deliveries to the router itself */
    /* control */
    struct list node;        /* in the table's order of creation */
    uint64_t number;         /* ascending in that order */
    struct list changed;     /* in the list of addresses whose routes are to be built */
    struct list senders;     /* links that send to it */
    struct list receivers;   /* links that receive from it */
    struct address *primary; /* whose fallback this is; NULL: it is none */
    uint32_t receiver_count, sender_count;
    uint32_t user_count; /* links that may still reach it, those that have gone and are not released included */
    uint32_t *remotes;   /* indices of other routers that have receivers */
    uint32_t remote_count;
    uint64_t past_ingress, past_egress;                     /* of links that have ended */
    uint64_t past_ingress_container, past_egress_container; /* of these, in connections to containers */
    struct edge_proxy *proxy;                               /* of an edge router, edge_proxy.h; NULL: none */
};

struct table;
struct edge_proxy;
struct exchange_view;

struct table *table_new(void);
void table_free(struct table **t);

/* Find the address with this key; NULL. Thread: any reader; good until its next quiet point, or while a link of the
 * caller's uses it. */
struct address *table_find(const struct table *t, const char *key, size_t len);
/* How many addresses have been taken out. As long as it is the same, what table_find() found earlier is still there.
 * Thread: any reader. */
uint64_t table_removals(const struct table *t);
/* Find or make it. */
struct address *table_get(struct table *t, const char *key, enum distribution d, int priority) ON_CONTROL;
/* Take out an address that nothing uses; it is freed when readers are done. */
void table_remove(struct table *t, struct address *a) ON_CONTROL;
/* Addresses in order of creation: a list of struct address.node. */
struct list *table_addresses(struct table *t) ON_CONTROL;
uint32_t table_count(const struct table *t) ON_CONTROL;

/* From now on what finds nobody at a goes to f; both stay as long as one is used. Nothing is done twice. */
void address_set_fallback(struct address *a, struct address *f) ON_CONTROL;
/* Publish r, which is taken, as where a's messages go. */
void address_publish(struct address *a, struct routes *r) ON_CONTROL;
/* With room for so many links and other routers. */
struct routes *routes_new(uint32_t count, uint32_t remote_count);
static inline uint32_t *routes_remotes(struct routes *r)
{
    return (uint32_t *)r->remotes;
}
static inline bool routes_are_empty(const struct routes *r)
{
    return r->count == 0 && r->remote_count == 0;
}
/* Thread: any reader. */
static inline const struct routes *address_routes(const struct address *a)
{
    return rcu_read(&a->routes);
}
static inline struct address *address_fallback(const struct address *a)
{
    return rcu_read(&a->fallback);
}
static inline const struct exchange_view *address_exchange(const struct address *a)
{
    return rcu_read(&a->exchange);
}
static inline void address_count_redirected(struct address *a)
{
    atomic_fetch_add_explicit(&a->redirected, 1, memory_order_relaxed);
}
/* Whether a message to it finds somebody, there or at its fallback, or an exchange that takes it. */
static inline bool address_leads_somewhere(const struct address *a)
{
    const struct address *f = address_fallback(a);
    return address_exchange(a) || !routes_are_empty(address_routes(a)) || (f && !routes_are_empty(address_routes(f)));
}

#endif
