/* edge_routes.h -- an edge router's link routes, made known to its interior router, so that links of clients elsewhere
 * come here: each route that has a container here is one of the uplink's own, on the interior router, while it lasts.
 *
 *   happy path:  the first container of a route -> CREATE of a router.connection.linkRoute -> 201 and an identity
 *                the last one has gone -> DELETE -> it is forgotten
 *   the interior router refuses it:             it stays unknown there while this uplink lasts; the log says why
 *   no answer within TIME_MAX_MS:               asked again
 *   the uplink is lost:                         the interior router forgets all; all are made anew at the next one
 *
 * States of one:  unknown -CREATE-> creating -201-> known -DELETE-> deleting -answer-> unknown;
 *                 creating -refused-> refused
 * What has changed meanwhile is seen to when the answer comes.
 *
 * Source: wire-protocol reference 2.5.3, Link-route proxies. Thread: control.
 */
#ifndef TRUNKLINE_ROUTE_EDGE_ROUTES_H
#define TRUNKLINE_ROUTE_EDGE_ROUTES_H

#include <router/route/here.h>
#include <trunkline/base/lock.h>

struct loop;

void edge_routes_start(struct loop *loop, const struct route_world *world) ON_CONTROL;
void edge_routes_stop(void) ON_CONTROL;

/* The route with this key (address_name.h, class C to F) has a container here, or none any more. Nothing happens unless
 * the router is an edge. */
void edge_routes_changed(const char *key, bool is_active) ON_CONTROL;

/* What the uplink tells: its management links are there; it is lost; an answer has come. */
void edge_routes_up(void) ON_CONTROL;
void edge_routes_down(void) ON_CONTROL;
void edge_routes_answered(const uint8_t *message, size_t n) ON_CONTROL;

#endif
