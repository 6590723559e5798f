/* uplink.h -- the connections of an edge router to interior ones, and the links it keeps on the active one.
 *
 * An edge router takes no part in the mesh. Of its open connections of role edge one is active, the others are in
 * reserve. On the active one it attaches, in this order:
 *
 *   messages     our sender without an address: takes everything that is not known here (address L_edge)
 *   downlink     our receiver, source the router's id, capability qd.router-edge-downlink: what is for this router
 *   tracking     our receiver of _$qd.edge_addr_tracking: which addresses have receivers elsewhere (edge_proxy.h)
 *   management   our sender to $management, and a receiver with a dynamic source for its answers (edge_routes.h)
 *   look-up      our sender to _$qd.addr_lookup, and a receiver for its answers (edge_lookup.h)
 *   heartbeat    our sender to _$qd.edge_heartbeat: an int every two seconds, the first after two
 *
 * States of a connection:  reserve -the active one is lost, it is the first in order-> active -lost-> gone;
 *                          reserve -lost-> gone;  opened when none is active -> active
 *
 *   the peer ends or refuses one of these links, and the connection stands:  attached again after RETRY_MS
 *   the active connection is lost: the next is active at once, and everything is attached there; what was under way is
 *                                  answered released or modified, as of any link that is lost
 *   the interior router takes no heartbeats:  8 to 14 s after it fell silent the connection is dropped
 *
 * Source: wire-protocol reference 2.4, Edge to interior connection. Thread: control.
 */
#ifndef TRUNKLINE_ROUTE_UPLINK_H
#define TRUNKLINE_ROUTE_UPLINK_H

#include <router/route/connection.h>
#include <router/route/here.h>
#include <trunkline/base/lock.h>

struct loop;

enum uplink_link {
    UPLINK_MESSAGES,
    UPLINK_DOWNLINK,
    UPLINK_TRACKING,
    UPLINK_MANAGEMENT,
    UPLINK_MANAGEMENT_REPLIES,
    UPLINK_LOOKUP,
    UPLINK_LOOKUP_REPLIES,
    UPLINK_HEARTBEAT,
    UPLINK_LINKS
};

/* Key of the address that stands for all that is not here. */
extern const char uplink_key[];

/* Before the first connection; sets world->uplink. Nothing happens unless the router is an edge. */
void uplink_start(struct loop *loop, struct route_world *world) ON_CONTROL;
void uplink_stop(void) ON_CONTROL;

/* What the registry tells. */
void uplink_connection_opened(struct connection *c) ON_CONTROL;
void uplink_connection_gone(struct connection *c) ON_CONTROL;

/* The connection in use; NULL: there is none, or this is no edge router. */
struct connection *uplink_active(void) ON_CONTROL;
/* Whether c is not in use: it waits for the active one to be lost. */
bool uplink_is_reserve(const struct connection *c) ON_CONTROL;
/* Send a message on one of our senders. Result: false, it is not attached. */
bool uplink_send(enum uplink_link which, const uint8_t *message, size_t n, bool settled) ON_CONTROL;
/* The address that the interior router has made for one of the receivers of answers; NULL: it is not attached. */
const char *uplink_reply_address(enum uplink_link which) ON_CONTROL;

#endif
