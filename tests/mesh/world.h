/* world.h -- a mesh in one process: routers and links on virtual time, with faults from a seeded generator.
 *
 * Routers are ours (router/mesh) or old ones (old_router.h). Links deliver in order, each message some milliseconds
 * late, and can be cut (both ends are told), silenced (nobody is told: what is sent vanishes), and made to lose some of
 * the messages. Routers can be frozen (what arrives waits for them), killed and started again. Addresses come and go at
 * them.
 *
 * What must hold at every step is checked as it happens, by world.c's owner functions and world_check_agreed(): routes
 * lead over links that are open, addresses are mapped once and only of routers that can be reached, and as soon as all
 * routers have published the same graph nothing loops and nothing disappears. world_check_converged() is for when it
 * should be quiet. A check that fails prints seed, time and reason, and ends the process.
 */
#ifndef TRUNKLINE_TESTS_MESH_WORLD_H
#define TRUNKLINE_TESTS_MESH_WORLD_H

#include <router/mesh/wire.h>
#include <stdbool.h>
#include <stdint.h>
#include <trunkline/base/clock.h>

struct world;

enum node_kind { NODE_OURS, NODE_OLD };

/* A world whose time starts at some second. */
struct world *world_new(unsigned seed);
void world_free(struct world **w);
unsigned world_seed(const struct world *w);
mono_ms world_now(const struct world *w);
uint32_t world_random(struct world *w, uint32_t below);

uint32_t world_add(struct world *w, enum node_kind kind);
uint32_t world_nodes(const struct world *w);
/* Result: the link, open. */
uint32_t world_connect(struct world *w, uint32_t a, uint32_t b, int32_t cost);
uint32_t world_links(const struct world *w);
/* Whether there is a link between two routers, open or not. */
bool world_is_joined(const struct world *w, uint32_t a, uint32_t b);
/* Messages take from 1 ms to so many; per mille of them are lost. */
void world_set_delay(struct world *w, uint32_t most);
void world_set_loss(struct world *w, uint32_t per_mille);
mono_ms world_last_loss(const struct world *w); /* of a link that was not silent */

void world_cut(struct world *w, uint32_t link);
void world_heal(struct world *w, uint32_t link); /* also what was silent: as a connection made anew */
void world_silence(struct world *w, uint32_t link);
bool world_is_open(const struct world *w, uint32_t link); /* and not silent */
void world_freeze(struct world *w, uint32_t node);
void world_thaw(struct world *w, uint32_t node);
void world_kill(struct world *w, uint32_t node);
void world_start(struct world *w, uint32_t node); /* its links come up again; addresses as they were */
bool world_is_mixed(const struct world *w);
bool world_is_alive(const struct world *w, uint32_t node);
/* Addresses are numbers below 64. */
void world_attach(struct world *w, uint32_t node, uint32_t address);
void world_detach(struct world *w, uint32_t node, uint32_t address);

void world_run(struct world *w, mono_ms until);
/* Run until everybody agrees on the true graph. Result: when that was; -1, not before `until`. */
mono_ms world_run_until_agreed(struct world *w, mono_ms until);
/* Routes of all pairs, addresses of all routers, and, if all are ours, multicast from each origin: they are as they
 * must be with the links and routers that there are. */
void world_check_converged(struct world *w);
/* Messages sent so far, of an op. */
uint64_t world_sent(const struct world *w, enum wire_op op);
uint64_t world_sent_all(const struct world *w);

/* The neighbour is not a neighbour any more, in the eyes of `node`. */
bool world_has_route(struct world *w, uint32_t node, uint32_t to);

/* ---- what kinds of routers call ---- */
void world_send(struct world *w, uint32_t node, uint64_t link, const uint8_t *octets, size_t n);
_Noreturn void world_fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
