/* lsdb.h -- the link-state database: what each router has said about its own neighbours.
 *
 * One record per router, replaced whole when a higher sequence number arrives, and given to paths.h as the edges that
 * leave it. Records are pulled: an RA tells how far its sender is (ls_seq, mobile_seq), an LSR asks for the record, an
 * LSU brings it; mesh.h decides whom to ask and when. Routers are known by small indices; ours is 0.
 *
 *   absent --mentioned, RA or LSU--> known, no record --LSU--> live --no RA or LSU for max_age--> known, no record
 *   known, no record, nobody mentions it, for forget_after --> absent, its index is free again
 *
 * Invariants
 *   L1  At most one record per router id; none is larger than max_peers, there are no more routers than max_routers.
 *   L2  A record's (instance, sequence number) only grows, but for a restart: another instance, or the same one that
 *       has gone back and says so for `doubt` without its predecessor being heard in between (its clock went back, or
 *       it was restarted within the second that an instance lasts). So a copy that was long under way changes nothing.
 *   L3  Our own record is written by lsdb_originate() alone.
 *
 * Source: Qpid Dispatch 1.19 as observed (RA, LSU, LSR, node lifetime, restart). Thread: control; pure.
 */
#ifndef TRUNKLINE_MESH_LSDB_H
#define TRUNKLINE_MESH_LSDB_H

#include <stdbool.h>
#include <stdint.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/base/clock.h>
#include <trunkline/base/err.h>

struct lsdb;
struct paths;
struct path_edge;

enum { LSDB_SELF = 0 };

struct lsdb_conf {
    const char *id; /* ours; copied */
    uint32_t max_routers, max_peers;
    uint32_t max_age, doubt, forget_after; /* ms */
};

/* What is known of a router. Borrowed until the database changes. */
struct lsdb_router {
    const char *id; /* lives as long as the index is used */
    uint32_t index;
    int64_t instance;  /* 0: not known */
    int64_t ls_seq;    /* of its record; 0: there is none */
    int64_t announced; /* the highest that it or its record spoke of: above ls_seq, the record is to be pulled */
    int64_t mobile_seq;
    int64_t life;  /* of a router of ours: tells two starts within one second; 0: not known */
    bool is_heard; /* an RA, or a record, has come since it is known */
    mono_ms heard; /* when the last one did */
    const struct path_edge *peers;
    uint32_t peer_count;
};

/* What a message has changed. */
enum lsdb_news {
    LSDB_RESTARTED = 1,    /* another life of the router: forget what depends on the last */
    LSDB_LS_AHEAD = 2,     /* its record is newer than ours: pull it */
    LSDB_MOBILE_AHEAD = 4, /* its mobile_seq has grown */
    LSDB_RECORD = 8,       /* a record was installed */
    LSDB_BEHIND = 16,      /* the message is older than what we know */
};

/* Ownership: paths is lent for life; the database alone changes it. */
struct lsdb *lsdb_new(const struct lsdb_conf *conf, struct paths *paths);
void lsdb_free(struct lsdb **db);

/* Result: false, not known. */
bool lsdb_find(const struct lsdb *db, struct slice id, uint32_t *index);
const struct lsdb_router *lsdb_router(const struct lsdb *db, uint32_t index); /* NULL: the index is free */
uint32_t lsdb_count(const struct lsdb *db);
/* Indices are below this. */
uint32_t lsdb_limit(const struct lsdb *db);

/* Find a router, or make it known. ERR_LIMIT: there are too many. */
enum err lsdb_know(struct lsdb *db, struct slice id, mono_ms now, uint32_t *index);

/* A router has said how far it is (RA; an LSU between ours too).
 *   instance: 0, it did not say.
 *   Result:   *news, of LSDB_RESTARTED, _LS_AHEAD, _MOBILE_AHEAD, _BEHIND. */
void lsdb_hear(struct lsdb *db, uint32_t index, int64_t instance, int64_t ls_seq, int64_t mobile_seq, mono_ms now,
               uint32_t *news);
/* A record has come. peers: checked to be ids and costs; costs below 1 are left out.
 *   Result: *news, of LSDB_RESTARTED, _RECORD, _BEHIND (also when it is just not newer).
 *   Errors: ERR_LIMIT, more peers than max_peers: nothing is changed. */
enum err lsdb_install(struct lsdb *db, uint32_t index, int64_t instance, int64_t ls_seq, struct amqp_compound peers,
                      mono_ms now, uint32_t *news);
/* The life of which the record is. */
void lsdb_set_life(struct lsdb *db, uint32_t index, int64_t life);
/* The router itself says that its life is another one than the record's. */
void lsdb_begin_life(struct lsdb *db, uint32_t index, int64_t instance, mono_ms now);
/* Its neighbour has heard from another life of it: a HELLO, which nobody else passes on, is always right.
 *   Result: whether anything was forgotten. */
bool lsdb_restarted(struct lsdb *db, uint32_t index, int64_t instance, mono_ms now);
/* Write our own record: our neighbours now, each known before (lsdb_know()). */
void lsdb_originate(struct lsdb *db, const struct path_edge *peers, uint32_t n, mono_ms now);

/* Take the records of those from whom nothing was heard.
 *   Result: whether the graph has changed. */
bool lsdb_age(struct lsdb *db, mono_ms now);
/* A router that is to be forgotten: forget what depends on it, then lsdb_forget(). Result: false, none. */
bool lsdb_next_forgotten(const struct lsdb *db, mono_ms now, uint32_t *index);
void lsdb_forget(struct lsdb *db, uint32_t index);

#endif
