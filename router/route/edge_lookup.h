/* edge_lookup.h -- an edge router asks its interior one whether the address that a client attaches belongs to a link
 * route. Until that is known the attach waits.
 *
 *   happy path:  attach -> question -> answer: not a link route's -> the attach is decided here, as of any address
 *   it is a link route's:        whoever serves link routes takes the attach over (edge_lookup_serve_routes());
 *                                nobody does, or it has no destination: refused qd:no-route-to-dest
 *   no answer within TIME_MAX_MS, the uplink is lost, no look-ups are served there: decided here
 *
 * Not asked about: attaches without an address, of the router's own addresses, and of topological ones. That of a
 * coordinator of transactions asks about the address of its link route.
 *
 * Source: wire-protocol reference 2.5.2, Address lookup. Thread: control.
 */
#ifndef TRUNKLINE_ROUTE_EDGE_LOOKUP_H
#define TRUNKLINE_ROUTE_EDGE_LOOKUP_H

#include <router/route/here.h>
#include <router/route/link.h>
#include <trunkline/base/lock.h>

struct loop;

void edge_lookup_start(struct loop *loop, const struct route_world *world) ON_CONTROL;
void edge_lookup_stop(void) ON_CONTROL;

/* Ask about the address that l attaches to. Result: true, registry_attach_on() is called when it is known; false: go on
 * at once. */
bool edge_lookup_ask(struct link *l) ON_CONTROL;
/* l has gone: nobody waits for the answer. */
void edge_lookup_forget(const struct link *l) ON_CONTROL;

/* What the uplink tells. */
void edge_lookup_answered(const uint8_t *message, size_t n) ON_CONTROL;
void edge_lookup_down(void) ON_CONTROL;

/* Who takes over an attach whose address is a link route's with destinations elsewhere: fn sees to the answer. Once, at
 * start. */
typedef void edge_lookup_routed_fn(struct link *l);
void edge_lookup_serve_routes(edge_lookup_routed_fn *fn) ON_CONTROL;

#endif
