/* edge_service.h -- what an interior router does for the edge routers that are connected to it.
 *
 * An edge opens its links; most are ordinary ones here: its anonymous uplink, a receiver for each address that its
 * clients receive from, a sender for each that they send to, dynamic receivers for replies. These are not:
 *
 *   downlink     our sender, capability qd.router-edge-downlink -> receives H<edge id>, which the mesh announces
 *   tracking     our sender of _$qd.edge_addr_tracking -> an address that the edge sends to has gained its first
 *                destination elsewhere, or lost the last one: so it is told. Its own receiver is not elsewhere.
 *   look-up      _$qd.addr_lookup -> a question about link routes is answered
 *   heartbeat    _$qd.edge_heartbeat -> from its attach on a connection that says nothing there for more than 8 s is
 *                dropped; looked at every 2 s, whoever attaches
 *
 * Source: wire-protocol reference 2.4 to 2.6. Thread: control.
 */
#ifndef TRUNKLINE_ROUTE_EDGE_SERVICE_H
#define TRUNKLINE_ROUTE_EDGE_SERVICE_H

#include <router/route/here.h>
#include <router/route/link.h>
#include <trunkline/base/lock.h>

struct loop;

/* Before the first connection. Any mode: but for the heartbeat, only an interior router serves edges. */
void edge_service_start(struct loop *loop, const struct route_world *world) ON_CONTROL;
void edge_service_stop(void) ON_CONTROL;

/* Whether the attach of l is for one of these services, and whether that is refused. ATTACH_OK: the caller goes on
 * with the address, if *has_address. */
bool edge_service_resolve(struct link *l, enum attach_refusal *refusal, bool *has_address) ON_CONTROL;

/* What the registry tells. */
void edge_service_link_attached(struct link *l) ON_CONTROL;
void edge_service_link_gone(struct link *l) ON_CONTROL;
/* New routes of a are published. */
void edge_service_routes_changed(struct address *a) ON_CONTROL;

#endif
