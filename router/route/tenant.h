/* tenant.h -- the name space of a connection to a listener with `multiTenant`: what its client calls `q` is
 * `<vhost>/q` in the network. The vhost is the listener's `policyVhost`, else the hostname of the client's Open.
 *
 *   q  /q  amqp:/q  amqp://host/q      <vhost>/q
 *   $management                        <vhost>/$management
 *   _local/x  _topo/x  _edge/x         as they are: they name places, and addresses that routers have made
 *
 * A client that names no vhost has no name space: its addresses are those of the network.
 *
 * Source: wire-protocol reference 1.3, Hostname / vhost, and 5.6, Multi-tenant prefix. Thread: any; pure.
 */
#ifndef TRUNKLINE_ROUTE_TENANT_H
#define TRUNKLINE_ROUTE_TENANT_H

#include <stdbool.h>
#include <stddef.h>

/* Whether addresses below it are what they seem: it has no `/`, is no scheme, and none of the words that name places.
 * The empty name is good, and means none. */
bool tenant_vhost_is_good(const char *vhost);
/* "<vhost>/", which the caller frees; NULL for the empty one. */
char *tenant_prefix(const char *vhost);

/* Whether the prefix goes before this address. */
bool tenant_owns(const char *text, size_t len);
/* Write the address in the network, and a terminating zero, for one that tenant_owns().
 *   Result: its length. out: room for the prefix, len octets and the zero. */
size_t tenant_write(const char *prefix, const char *text, size_t len, char *out);

#endif
