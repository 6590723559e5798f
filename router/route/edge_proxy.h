/* edge_proxy.h -- the links by which an edge router shares in the network's addresses, one or two for each of its own.
 *
 *   inlink    our receiver of an address that has receivers here, or an exchange: the interior router sees one receiver
 *   outlink   our sender to an address that targeted senders here use: it receives from the address here only while the
 *             interior router says by a tracking message that there is somebody elsewhere, so senders have no credit
 *             before
 *
 *   first receiver here -> inlink attached;  last one gone -> detached.  First and last targeted sender: the outlink
 *   likewise. Neither counts the other of the two. An exchange is a receiver, whoever has attached.
 *   the uplink changes: all are attached anew there
 *   the interior router ends or refuses one:  tried again, while it is wanted, RETRY_MS after the first that was ended
 *
 * Addresses that the router itself serves take no part, and only mobile ones do; of others the messages go by the
 * anonymous uplink. Termini carry the plain text of the address; its phase is told by a capability.
 *
 * Source: wire-protocol reference 2.4, Edge to interior connection; 2.5.1, Address tracking. Thread: control.
 */
#ifndef TRUNKLINE_ROUTE_EDGE_PROXY_H
#define TRUNKLINE_ROUTE_EDGE_PROXY_H

#include <router/route/here.h>
#include <trunkline/base/buffer.h>
#include <trunkline/base/lock.h>

struct loop;
struct connection;

void edge_proxy_start(struct loop *loop, const struct route_world *world) ON_CONTROL;
void edge_proxy_stop(void) ON_CONTROL;
/* The uplink is c now; there is none any more. */
void edge_proxy_up(struct connection *c) ON_CONTROL;
void edge_proxy_down(void) ON_CONTROL;
/* A link of a has come or gone. */
void edge_proxy_address_changed(struct address *a) ON_CONTROL;
/* The address with this key has destinations elsewhere, or none any more. */
void edge_proxy_told(struct slice key, bool has_destinations) ON_CONTROL;
/* The capability on termini of a proxy for the address with this key; NULL: none. configured: the address's ingress and
 * egress phases, 0 to 9. Pure. */
const char *edge_proxy_capability(const char *key, int ingress_phase, int egress_phase, bool is_inlink);

#endif
