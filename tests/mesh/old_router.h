/* old_router.h -- a Qpid Dispatch 1.19 interior router as far as its control messages go, from what is known of it: all
 * logic on a tick of one second, records pulled, floods passed on to every next hop that the trace does not name, MAR
 * for each update out of sequence but only one at a time, addresses of unreachable routers kept. Written apart from
 * router/mesh, which it is to test; only the codec is shared. */
#ifndef TRUNKLINE_TESTS_MESH_OLD_ROUTER_H
#define TRUNKLINE_TESTS_MESH_OLD_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trunkline/base/clock.h>

struct world;
struct old_router;

/* Routers are called r<number>. */
struct old_router *old_new(struct world *w, uint32_t node, int64_t instance, mono_ms now);
void old_free(struct old_router **r);
void old_link_up(struct old_router *r, uint64_t link, int32_t cost);
void old_link_down(struct old_router *r, uint64_t link);
void old_receive(struct old_router *r, uint64_t link, const uint8_t *octets, size_t n, mono_ms now);
/* Result: when to call again. */
mono_ms old_tick(struct old_router *r, mono_ms now);
void old_attach(struct old_router *r, uint32_t address);
void old_detach(struct old_router *r, uint32_t address);
/* The link towards a router. Result: false, none. */
bool old_route(const struct old_router *r, uint32_t to, uint64_t *link);
/* Print what it knows on stderr. */
void old_dump(const struct old_router *r);
uint64_t old_addresses(const struct old_router *r, uint32_t of);

#endif
