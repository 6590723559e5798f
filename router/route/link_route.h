/* link_route.h -- link routes: addresses whose links go to a container instead of into the router's own queues of
 * messages; which they are, and where the next attach goes.
 *
 *   configured here: prefix or pattern, direction, and the name of the connections to the container (container.h)
 *   of a connection: the same, made by the peer at its end for as long as the connection lasts; it leads back there
 *   of other routers: an address of class C to F in the mesh, while they have a container for it
 *
 * All routes with one direction and pattern are one address, key C<prefix> or E<pattern> for those of clients that send
 * ("in"), D or F for those that receive. The best address for a link is that of the best pattern, by the order of
 * rules.h. A link goes to a container here if there is one, each in turn; else to another router that has one, each in
 * turn, whatever the distance.
 *
 * Source: wire-protocol reference 2.8, Link route; 3.7; 5.7. Thread: control.
 */
#ifndef TRUNKLINE_ROUTE_LINK_ROUTE_H
#define TRUNKLINE_ROUTE_LINK_ROUTE_H

#include <router/route/container.h>
#include <router/route/link.h>
#include <stdbool.h>
#include <trunkline/base/clock.h>
#include <trunkline/base/err.h>
#include <trunkline/base/list.h>
#include <trunkline/base/lock.h>
#include <uthash.h>

/* The address by which the route to a coordinator of transactions is looked up: its target has none. */
#define LINK_ROUTE_COORDINATOR "$coordinator"

struct address;
struct connection;
struct link_route_address;

/* As configured. Texts are copied. */
struct link_route_conf {
    const char *identity; /* unique */
    const char *name;     /* NULL: none */
    const char *text;     /* of the prefix or pattern */
    bool is_prefix;
    bool is_in;                         /* links of clients that send */
    const char *connection, *container; /* who the containers are: at most one of them is set */
    const char *added, *removed;        /* addExternalPrefix, delExternalPrefix; NULL: none */
    struct connection *of_connection;   /* whose route it is; NULL: it is configured */
};

/* One route. Fixed, but for ways: read by management. */
struct link_route {
    struct list node; /* in link_routes() */
    char *identity, *name, *text, *connection, *container, *added, *removed;
    bool is_prefix, is_in;
    struct connection *of_connection; /* good as long as the route */
    uint32_t ways;                    /* open connections that it leads to */
    mono_ms changed;                  /* when the first of them came, or the last went; at first: when it was made */
    /* the module's */
    UT_hash_handle hh; /* by identity */
    struct link_route_address *address;
    struct container_watch watch;
};

/* Errors: ERR_EXISTS, this identity, or another spelling of a pattern that is there. ERR_INVALID, a pattern without a
 * token. ERR_LIMIT, too many tokens. */
enum err link_route_add(const struct link_route_conf *conf) ON_CONTROL;
/* Links that it has made stay. Errors: ERR_NOT_FOUND. */
enum err link_route_remove(const char *identity) ON_CONTROL;
/* Of struct link_route.node, in order of creation; those of connections too. */
struct list *link_routes(void) ON_CONTROL;
struct link_route *link_route_find(const char *identity) ON_CONTROL; /* NULL: none */
uint32_t link_route_count(void) ON_CONTROL;                          /* configured ones */
/* Connections here that lead to containers of this address, of class C to F. */
uint32_t link_route_containers(const struct address *a) ON_CONTROL;

/* Whether an address is link-routed, for clients that send (is_in) or receive, and whether that leads anywhere. */
bool link_route_lookup(const char *address, size_t len, bool is_in, bool *has_destinations) ON_CONTROL;

/* The address of link routes that a link with this text goes to, and whether a route is of that one. NULL: none. */
const struct address *link_route_address_of(const char *text, size_t len, bool is_in) ON_CONTROL;
bool link_route_is_of(const struct link_route *r, const struct address *a) ON_CONTROL;

/* The attach of a client of this edge router, whose address is a link route's elsewhere: it goes on by the uplink
 * (edge_lookup.h). */
void link_route_by_uplink(struct link *l) ON_CONTROL;

/* Whether links may be routed whose terminus may outlive them (AMQP 1.0 part 3.5.3, Source). At first: yes. */
void link_route_allow_resumable(bool allowed) ON_CONTROL;

/* All routes are forgotten, at the end. */
void link_route_stop(void) ON_CONTROL;

/* ---- what the registry calls ---- */

/* Whether the link is for a link route; l->routed is set then, or *refusal says why not. */
bool link_route_resolve(struct link *l, enum attach_refusal *refusal) ON_CONTROL;
/* Another router has got a container for this address, or none has one any more. */
void link_route_mapped(struct address *a) ON_CONTROL;
void link_route_unmapped(struct address *a) ON_CONTROL;
/* The connection's own routes end. */
void link_route_connection_gone(struct connection *c) ON_CONTROL;

static inline bool link_route_is_key(const char *key)
{
    return key[0] >= 'C' && key[0] <= 'F';
}

#endif
