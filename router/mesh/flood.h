/* flood.h -- whether a message for all routers is to be passed on once more.
 *
 * An old router passes on each copy that reaches it, to every neighbour that the copy's trace does not name: in a mesh
 * with many ways between two routers the copies multiply. We pass on the first one: a message is known by its router
 * and its numbers, and what was passed on within the last `hold` is not passed on again. RAs repeat themselves, so a
 * copy must be forgotten before the next one of its kind is due.
 *
 * Thread: control; pure. Memory: for each router the last few messages.
 */
#ifndef TRUNKLINE_MESH_FLOOD_H
#define TRUNKLINE_MESH_FLOOD_H

#include <stdbool.h>
#include <stdint.h>
#include <trunkline/base/clock.h>

struct flood;

/* What tells one flooded message of a router from another. */
struct flood_mark {
    int op;
    int64_t instance, ls_seq, mobile_seq;
};

struct flood *flood_new(uint32_t hold);
void flood_free(struct flood **f);

/* Whether this message of a router, by its index, is to be passed on; if so it is remembered. */
bool flood_pass(struct flood *f, uint32_t router, const struct flood_mark *mark, mono_ms now);
/* The index has another meaning from now on, or the router begins its numbers anew. */
void flood_forget(struct flood *f, uint32_t router);

#endif
