/* container.h -- connections of role route-container: brokers and the like, and who waits for them.
 *
 * Such a connection answers to two names: that of its listener or connector, if the user gave it one, and the peer's
 * container-id. Link routes and autoLinks watch a name and are told of each connection that answers to it. Several
 * connections may answer to one name, and many may watch it.
 *
 * Invariants
 *   C1  For each watch and connection `opened` comes once, then `gone` once; a watch that is taken off is told nothing
 *       more. What was open before is told from within container_watch().
 *   C2  In both calls the connection is good, and while it is open it is on registry_connections().
 *
 * Thread: control.
 */
#ifndef TRUNKLINE_ROUTE_CONTAINER_H
#define TRUNKLINE_ROUTE_CONTAINER_H

#include <trunkline/base/list.h>
#include <trunkline/base/lock.h>

struct connection;
struct container_name;

enum container_naming {
    CONTAINER_BY_CONNECTION, /* name of the listener or connector */
    CONTAINER_BY_ID,         /* the peer's container-id */
};

/* Embedded in whoever waits. A call may take its own watch off, and no other. */
struct container_watch {
    void (*opened)(struct container_watch *w, struct connection *c);
    void (*gone)(struct container_watch *w, struct connection *c);
    /* the module's */
    struct list of_name;
    struct container_name *name;
};

/* Tell w, whose calls are set, of connections with this name. The text is copied. */
void container_watch(struct container_watch *w, enum container_naming by, const char *name) ON_CONTROL;
/* Tell it no more, not even that what is open is gone. Harmless for one that does not watch but was zeroed. */
void container_unwatch(struct container_watch *w) ON_CONTROL;

/* ---- what the registry calls, for connections of every role ---- */

void container_connection_opened(struct connection *c) ON_CONTROL;
void container_connection_gone(struct connection *c) ON_CONTROL;

#endif
