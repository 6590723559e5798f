/* apply.h -- carrying out configuration: from the dicts that Python checked to the router's own structures and calls.
 * Kinds and attributes: python/trunkline/core.py, "Kinds for apply". Thread: control. */
#ifndef TRUNKLINE_MGMT_APPLY_H
#define TRUNKLINE_MGMT_APPLY_H

#include <stdbool.h>
#include <trunkline/base/lock.h>

struct _object;
struct loop;

/* The loop that the router runs on once it is created; before the first apply(). Lent for as long as the router is. */
void apply_use_loop(struct loop *loop) ON_CONTROL;

/* Result: new reference, None or what the kind says; NULL: raised, and nothing has changed. */
struct _object *apply(const char *kind, const char *op, const char *identity, struct _object *dict) ON_CONTROL;

/* Whether `router` has been created, so that router_stop() is due. */
bool apply_has_router(void) ON_CONTROL;
int apply_worker_threads(void) ON_CONTROL; /* as configured, for the log; 0 without a router */

#endif
