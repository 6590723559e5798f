/* registry.h -- what control knows: connections, links, and which address each link uses. Resolves attaches, builds
 * routes.
 *
 *   attach:  a worker's letter -> which address? -> (receiver: its routes are to be built) -> at the end of the turn:
 *            routes are published, then the answers go out, so a receiver is answered only when messages find it
 *   gone:    a worker's letter -> out of the address -> routes built anew -> after every worker's quiet point: buried
 *            (link.h)
 *
 * Thread: control.
 */
#ifndef TRUNKLINE_ROUTE_REGISTRY_H
#define TRUNKLINE_ROUTE_REGISTRY_H

#include <router/route/connection.h>
#include <router/route/here.h>
#include <router/route/link.h>
#include <trunkline/base/list.h>
#include <trunkline/base/lock.h>

struct connector;
struct loop;

/* loop: control's. world: the table and rules are read and (the table) changed. */
void registry_init(struct loop *loop, struct route_world *world) ON_CONTROL;
/* Before workers stop: they are told nothing more, and hand every link back as they end. */
void registry_stopping(void) ON_CONTROL;
bool registry_is_stopping(void); /* any thread */
/* After all letters of the workers have been delivered. */
void registry_fini(void) ON_CONTROL;
/* An address that the router serves itself, or only shows (served false). */
void registry_add_own_address(const char *key, enum distribution d, bool served) ON_CONTROL;

/* An address that control itself uses, made by the rules if it is new: it stays until registry_leave_address(). */
struct address *registry_use_address(const char *key) ON_CONTROL;
void registry_leave_address(struct address *a) ON_CONTROL;

/* The router with this index (topology.h) has receivers of the address with this key, or has none any more. hint: the
 * treatment it wishes, as in mesh.h. */
void registry_map(const char *key, uint32_t router, int hint) ON_CONTROL;
void registry_unmap(const char *key, uint32_t router) ON_CONTROL;

/* From now on messages to a are passed on as v says, which is taken, and a is announced as one that has a receiver.
 * NULL: no longer. */
void registry_set_exchange(struct address *a, struct exchange_view *v) ON_CONTROL;

/* A link of ours that sends to its peer (own_link.h) receives from its address, or does not any more. */
void registry_set_receiving(struct link *l, bool receives) ON_CONTROL;
/* A link of ours that is about to be detached does not count among those of its address any more. */
void registry_part(struct link *l) ON_CONTROL;

/* The attach of l, which has waited for edge_lookup.h, is to be decided; refusal: why it is refused, else ATTACH_OK. */
void registry_attach_on(struct link *l, enum attach_refusal refusal) ON_CONTROL;

/* The router behind this control link is silent: once no worker chooses links of its connection any more by what was
 * published before, they give up what they have (trunk_silent()). To be called in the turn that publishes the way
 * around it, afterwards. */
void registry_link_silent(struct link *l) ON_CONTROL;

/* Call fn(p), on a thread of its own, once no worker uses any more what was published before this turn, and all that
 * they have sent by it is in the mailboxes. Embedded in *p, or near it. */
struct registry_quiet {
    struct list node;
    void (*fn)(void *p);
    void *p;
};
void registry_when_quiet(struct registry_quiet *q) ON_CONTROL;

/* Numbers of links, addresses and so on are from one counter. */
uint64_t registry_next_identity(void) ON_CONTROL;

struct list *registry_connections(void) ON_CONTROL; /* of struct connection.node, by id */
struct list *registry_links(void) ON_CONTROL;       /* of struct link.node, by identity */
uint32_t registry_connection_count(void) ON_CONTROL;
uint32_t registry_link_count(void) ON_CONTROL;
struct connection *registry_connection(uint64_t id) ON_CONTROL; /* NULL: none */
/* Ask those that a connector has made to close, also one that is not open yet. */
void registry_close_connections_of(const struct connector *connector) ON_CONTROL;
/* Drop it, once all that control sends in this turn is under way. */
void registry_delete_connection(struct connection *c) ON_CONTROL;

/* Counters of links that have ended, so that the router's totals do not shrink. */
struct registry_totals {
    uint64_t presettled, dropped_presettled, accepted, rejected, released, modified, delayed_1s, delayed_10s, ingress,
        egress, transit, redirected;
    uint64_t ingress_route_container, egress_route_container;
};
/* All that ever were, those attached now included. */
void registry_totals(struct registry_totals *out) ON_CONTROL;

/* Where workers post (embedded letters). Thread: any. */
void registry_post(struct letter *l);
letter_fn registry_on_link, registry_on_connection;

#endif
