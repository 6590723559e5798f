/* network.h -- joins the mesh (router/mesh) to connections and addresses: control's side of being one of several
 * routers.
 *
 *   trunk links attached -> mesh_link_up -> hello, records, paths -> topology published for workers
 *   an address gets its first receiver here -> mesh_address_added -> announced to the others
 *   another router announces an address -> registry_map -> its routes lead there
 *
 * Thread: control.
 */
#ifndef TRUNKLINE_ROUTE_NETWORK_H
#define TRUNKLINE_ROUTE_NETWORK_H

#include <router/mesh/mesh.h>
#include <router/route/here.h>
#include <router/route/link.h>
#include <trunkline/base/lock.h>

struct loop;

/* Join the mesh as world->identity says; conf's id and instance are filled in here. Not called: all else does nothing.
 *   Errors: as mesh_new(). */
enum err network_start(struct loop *loop, struct route_world *world, struct mesh_conf *conf) ON_CONTROL;
void network_stop(void) ON_CONTROL;

/* What the registry tells. */
void network_link_attached(struct link *l) ON_CONTROL;
void network_link_gone(struct link *l) ON_CONTROL;
void network_address_added(const struct address *a) ON_CONTROL;
void network_address_removed(const struct address *a) ON_CONTROL;
/* The connection to the first router on the way to that one; NULL: it cannot be reached. */
struct connection *network_next_hop(uint32_t router) ON_CONTROL;
/* Publish what has changed. Result: whether anything had. */
bool network_turn_ends(void) ON_CONTROL;

/* For management: the mesh, or NULL. */
struct mesh *network_mesh(void) ON_CONTROL;

#endif
