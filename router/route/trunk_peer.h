/* trunk_peer.h -- what the Open of a router's peer says of it as a router. Pure. Thread: any.
 * Source: wire-protocol reference 1.2, Open performative. */
#ifndef TRUNKLINE_ROUTE_TRUNK_PEER_H
#define TRUNKLINE_ROUTE_TRUNK_PEER_H

#include <router/mesh/mesh.h>
#include <trunkline/base/buffer.h>

/* A property of our Open that old routers ignore: it tells a router of ours, and how often it would say hello, in
 * milliseconds (between an edge router and an interior one, only the former). */
extern const char trunk_peer_hello_key[];
enum { TRUNK_PEER_HELLO_MS = 60 };

/* Read the encoded map of Open's properties; own_cost: what our side has configured. */
void trunk_peer_read(struct slice properties, int32_t own_cost, struct mesh_peer *out);

#endif
