/* failover.h -- the other places that a peer names in its Open, for a connector that loses it.
 * Source: management reference 11, Connectors and failover; property failover-server-list of Open. */
#ifndef TRUNKLINE_ROUTE_FAILOVER_H
#define TRUNKLINE_ROUTE_FAILOVER_H

#include <stddef.h>
#include <trunkline/base/buffer.h>
#include <trunkline/io/connector.h>

enum { FAILOVER_MAX = 32 };

/* Read the list from the encoded map of Open's properties.
 *   Result: how many are in urls, whose strings are in `memory` (at least FAILOVER_TEXT_MAX octets); -1: the peer says
 *           nothing of it. Entries without network-host are left out. */
enum { FAILOVER_TEXT_MAX = 8192 };
int failover_read(struct slice properties, struct connector_url *urls, char *memory);

/* Tell the connector what the peer's Open says; nothing when it does not say. Thread: control. */
void failover_learn(struct connector *c, struct slice properties);

#endif
