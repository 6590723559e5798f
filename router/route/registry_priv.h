/* registry_priv.h -- what the parts of registry.h share. Thread: control.
 *
 *   registry.c          connections, links, the end of a turn
 *   registry_resolve.c  which address an attach is for
 *   registry_address.c  addresses: who uses each, and its routes
 */
#ifndef TRUNKLINE_ROUTE_REGISTRY_PRIV_H
#define TRUNKLINE_ROUTE_REGISTRY_PRIV_H

#include <router/route/registry.h>

struct rule;

/* ---- registry.c ---- */

/* Tell the worker of l (enum link_to_worker). Thread: any. */
void registry_tell_link(struct link *l, uint32_t bits);

/* ---- registry_resolve.c ---- */

/* Find the address that the attach of l is for, as l->address, or make it; a name for it, if it is to have one. */
enum attach_refusal registry_resolve(struct link *l) ON_CONTROL;

/* ---- registry_address.c ---- */

void registry_addresses_init(struct route_world *world) ON_CONTROL;
struct route_world *registry_world(void) ON_CONTROL;
/* Messages that have gone to fallback destinations, of all addresses that ever were. */
uint64_t registry_redirected(void) ON_CONTROL;

/* Its routes are to be built at the end of the turn. */
void registry_address_changed(struct address *a) ON_CONTROL;
/* Build and publish those of all that have changed, and tell senders of what they can reach now. Result: whether there
 * were any. */
bool registry_build_routes(void) ON_CONTROL;

/* What the rules say of an address. NULL: nothing, or it is none of those that they are for. */
const struct rule *registry_rule_of_key(const char *key, size_t len) ON_CONTROL;
/* The address with this key, made by the rules if it is new. Errors: NULL, it is configured unavailable. */
struct address *registry_address_of_key(const char *key, size_t len) ON_CONTROL;
/* The same where the rules do not decide whether it is there: what is configured here counts before a hint (mesh.h),
 * and a hint before the default (wire-protocol reference 3.11). */
enum { REGISTRY_NO_HINT = -1 };
struct address *registry_address_or_hint(const char *key, int hint) ON_CONTROL;

/* l, which is accepted, uses its address from now on. */
void registry_link_joins(struct link *l) ON_CONTROL;
/* l has gone: it is no longer among those of its address, which keeps its counters. */
void registry_link_leaves(struct link *l) ON_CONTROL;

#endif
