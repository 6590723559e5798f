/* mesh_priv.h -- what the parts of mesh.c share.
 *
 *   mesh.c           from birth to death, time, own record and addresses, what callers ask
 *   mesh_send.c      messages out: to a link, to a router, to all
 *   mesh_receive.c   messages in
 *   mesh_route.c     from paths to the owner's routes
 */
#ifndef TRUNKLINE_MESH_MESH_PRIV_H
#define TRUNKLINE_MESH_MESH_PRIV_H

#include "flood.h"
#include "hello.h"
#include "lsdb.h"
#include "mesh.h"
#include "mobile.h"
#include "paths.h"
#include "wire.h"

/* Something that may come in bursts: each time soon after the last one it waits twice as long, up to a limit. */
struct throttle {
    mono_ms due; /* MONO_MS_NEVER: nothing is waiting */
    mono_ms last;
    uint32_t step;
};

/* A question to a router that is repeated until it is answered, more and more rarely. */
struct question {
    mono_ms due; /* MONO_MS_NEVER: not to be asked, or the router cannot be reached */
    uint32_t tries;
};

/* What the mesh keeps of a router beside its record. */
struct router_state {
    struct question record, addresses;
    int64_t addresses_wanted;     /* an update so far ahead has been seen */
    struct start addresses_start; /* as it was known when its addresses were told */
    bool is_duplicate_logged;
    mono_ms reachable_since;
    /* the route as the owner knows it */
    bool is_reachable;
    uint32_t first; /* index of the neighbour */
    uint64_t link, ways;
    int64_t cost;
    uint32_t hops;
};

struct mesh {
    struct mesh_conf conf;
    char *id;
    struct mesh_owner *owner;
    struct hello *hello;
    struct paths *paths;
    struct lsdb *lsdb;
    struct mobile *mobile;
    struct flood *flood;
    struct hello_owner hello_owner;
    struct mobile_owner mobile_owner;

    struct router_state *states; /* by index */
    uint32_t state_count;

    /* our record as it was numbered last; copies */
    int64_t ls_seq;
    struct wire_peer *announced;
    uint32_t announced_count;
    uint32_t jumps; /* how often an earlier life of ours made us count on from it */
    bool is_jump_logged;

    struct throttle record, routes, addresses;
    mono_ms last_ra, ra_due, flux_until, questions_due, age_due;
    mono_ms last_topology_change;
    uint64_t published_graph; /* fingerprint */
    uint64_t *joined;         /* links of neighbours that are to be told all records */
    uint32_t joined_count, joined_capacity;
    bool is_calling; /* the owner is being called */

    struct octets out;
    mono_ms now; /* of the present call */
};

enum {
    RECORD_STEP = 50, /* ms, see struct throttle */
    RECORD_STEP_MAX = 1000,
    RECORD_ROUTERS_PER_MS = 1, /* and no longer than a millisecond for so many routers */
    ROUTES_HOLD = 5,
    ROUTES_STEP_MAX = 200,
    ROUTES_PER_MS = 5, /* and no longer than a millisecond for so many routers */
    ADDRESSES_HOLD = 20,
    ADDRESSES_STEP = 100,      /* between updates at most, when only routers of ours are near */
    ADDRESSES_STEP_OLD = 1000, /* as old routers do it */
    QUESTION_STEP = 1000,
    QUESTION_STEP_MAX = 16000,
    QUESTION_MENTIONED = 100, /* a router that was only mentioned: its record may be on its way unasked */
    QUESTION_UPDATE = 50,     /* an RA may overtake the update that it speaks of */
    QUESTION_NO_RA = 1500,    /* a reachable router that has not sent an RA yet */
    JUMPS_MAX = 5,
    AGE_INTERVAL = 1000,
    FORGET_AFTER = 3000, /* three ticks of an old router; longer than routes may wait, see mesh_settle() */
};

/* ---- mesh.c ---- */
struct router_state *mesh_state(struct mesh *m, uint32_t router);
/* Wait `hold`, or what is left of the throttle's step. */
void throttle_ask(struct throttle *t, mono_ms now, uint32_t hold);
void throttle_fired(struct throttle *t, mono_ms now, uint32_t least, uint32_t most);
/* Ask a router for its record, or its addresses, after `delay`. */
void mesh_ask_record(struct mesh *m, uint32_t router, uint32_t delay);
void mesh_ask_addresses(struct mesh *m, uint32_t router, uint32_t delay);
/* Another life of a router has begun. */
void mesh_forget_life(struct mesh *m, uint32_t router);
/* The router has said which life it is of: addresses told before may be of another one. */
void mesh_check_life(struct mesh *m, uint32_t router);
/* The mesh holds a later state of ourselves than we know of. */
void mesh_outdo(struct mesh *m, const struct wire_message *claim);
/* Something has changed: RAs come at short intervals for a while. */
void mesh_be_in_flux(struct mesh *m);
/* Before the owner is called, and after. */
void mesh_call(struct mesh *m);
void mesh_called(struct mesh *m);
/* Do what a call has made due. */
void mesh_settle(struct mesh *m, mono_ms now);

/* ---- mesh_send.c: all write to m->out ---- */
void mesh_send_hello(struct mesh *m, uint64_t link, const char *const *seen, uint32_t n);
void mesh_send_ra(struct mesh *m);
/* Own record, newly numbered, to neighbours of ours. */
void mesh_send_record(struct mesh *m);
/* The record of another router to neighbours of ours, but not back (`except`, a link). */
void mesh_push_record(struct mesh *m, uint32_t router, uint64_t except);
/* All records to one. */
void mesh_push_all(struct mesh *m, uint64_t link);
/* Result: false, there is no way to the router. */
bool mesh_send_lsr(struct mesh *m, uint32_t router);
bool mesh_send_mar(struct mesh *m, uint32_t router);
/* Answers: by the way that the question came if none other is known. */
void mesh_send_lsu(struct mesh *m, struct slice to, uint64_t link);
void mesh_send_all_addresses(struct mesh *m, struct slice to, uint64_t link);
void mesh_send_update(struct mesh *m, const struct mobile_list *update);
/* Pass a message on, to all that have not had it or towards its target. */
void mesh_relay_to_all(struct mesh *m, const uint8_t *octets, size_t n, const struct wire_envelope *e,
                       struct slice origin, uint64_t from);
void mesh_relay_to_one(struct mesh *m, const uint8_t *octets, size_t n, const struct wire_envelope *e);

/* ---- mesh_route.c ---- */
/* Our neighbours have changed: take them into the graph. */
void mesh_take_neighbours(struct mesh *m);
/* Tell the owner what is new. */
void mesh_publish_routes(struct mesh *m);

#endif
