#include "lsdb.h"

#include "paths.h"
#include "wire.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/log.h>
#include <uthash.h>

/* How far a router says it is. */
struct claim {
    int64_t instance, ls_seq, mobile_seq;
};

struct router {
    UT_hash_handle hh; /* in lsdb.by_id */
    struct lsdb_router view;
    char *id;
    struct path_edge *peers;
    uint32_t mentions; /* records that name it */
    mono_ms unwanted;  /* since when nobody names it and it has no record */
    /* An older life, or an earlier state, claims to be the present one. */
    bool is_doubted;
    mono_ms doubted_since;
    struct claim doubted; /* what was known when that began */
};

struct lsdb {
    struct lsdb_conf conf;
    struct paths *paths;
    struct router *by_id;
    struct router **by_index;
    uint32_t limit, capacity;
};

static struct router *get(const struct lsdb *db, uint32_t index)
{
    ASSERT(index < db->limit && db->by_index[index] != NULL);
    return db->by_index[index];
}

static struct router *find(const struct lsdb *db, struct slice id)
{
    struct router *r;
    HASH_FIND(hh, db->by_id, id.data, id.len, r);
    return r;
}

static uint32_t free_index(struct lsdb *db)
{
    uint32_t i = 0;
    while (i < db->limit && db->by_index[i])
        i++;
    if (i == db->capacity) {
        db->capacity = db->capacity ? db->capacity * 2 : 16;
        db->by_index = xrealloc(db->by_index, db->capacity * sizeof *db->by_index);
    }
    if (i == db->limit)
        db->limit++;
    return i;
}

static struct router *add(struct lsdb *db, struct slice id, mono_ms now)
{
    struct router *r = xcalloc(1, sizeof *r);
    r->id = xstrndup((const char *)id.data, id.len);
    r->view.id = r->id;
    r->view.index = free_index(db);
    r->view.heard = now;
    r->unwanted = now;
    db->by_index[r->view.index] = r;
    HASH_ADD_KEYPTR(hh, db->by_id, r->id, id.len, r);
    paths_add(db->paths, r->view.index, r->id);
    return r;
}

struct lsdb *lsdb_new(const struct lsdb_conf *conf, struct paths *paths)
{
    struct lsdb *db = xcalloc(1, sizeof *db);
    db->conf = *conf;
    db->paths = paths;
    struct router *self = add(db, (struct slice){NULL, (const uint8_t *)conf->id, strlen(conf->id)}, 0);
    ASSERT(self->view.index == LSDB_SELF);
    db->conf.id = self->id;
    return db;
}

static void router_free(struct lsdb *db, struct router *r)
{
    HASH_DEL(db->by_id, r);
    db->by_index[r->view.index] = NULL;
    free(r->peers);
    free(r->id);
    free(r);
}

void lsdb_free(struct lsdb **dbp)
{
    struct lsdb *db = *dbp;
    if (db == NULL)
        return;
    for (uint32_t i = 0; i < db->limit; i++)
        if (db->by_index[i])
            router_free(db, db->by_index[i]);
    free(db->by_index);
    free(db);
    *dbp = NULL;
}

bool lsdb_find(const struct lsdb *db, struct slice id, uint32_t *index)
{
    struct router *r = find(db, id);
    if (r == NULL)
        return false;
    *index = r->view.index;
    return true;
}

const struct lsdb_router *lsdb_router(const struct lsdb *db, uint32_t index)
{
    return index < db->limit && db->by_index[index] ? &db->by_index[index]->view : NULL;
}

uint32_t lsdb_count(const struct lsdb *db)
{
    return HASH_COUNT(db->by_id);
}

uint32_t lsdb_limit(const struct lsdb *db)
{
    return db->limit;
}

enum err lsdb_know(struct lsdb *db, struct slice id, mono_ms now, uint32_t *index)
{
    struct router *r = find(db, id);
    if (r == NULL && HASH_COUNT(db->by_id) >= db->conf.max_routers) {
        LOG_PEER(ROUTER_LS, ERROR_LEVEL, "too-many-routers id=%.*s max=%u: it stays unknown; raise the limit",
                 (int)id.len, (const char *)id.data, db->conf.max_routers);
        return ERR_LIMIT;
    }
    if (r == NULL)
        r = add(db, id, now);
    *index = r->view.index;
    return OK;
}

/* ---- records ---- */

static bool is_unwanted(const struct router *r)
{
    return r->view.index != LSDB_SELF && r->mentions == 0 && r->view.peer_count == 0 && r->view.ls_seq == 0;
}

/* The only place where a router's peers change. Ownership: takes peers. */
static bool set_peers(struct lsdb *db, struct router *r, struct path_edge *peers, uint32_t n, mono_ms now)
{
    for (uint32_t i = 0; i < n; i++)
        get(db, peers[i].to)->mentions++;
    for (uint32_t i = 0; i < r->view.peer_count; i++) {
        struct router *peer = get(db, r->peers[i].to);
        peer->mentions--;
        if (is_unwanted(peer))
            peer->unwanted = now;
    }
    bool changed = paths_set_edges(db->paths, r->view.index, peers, n);
    free(r->peers);
    r->peers = peers;
    r->view.peers = peers;
    r->view.peer_count = n;
    return changed;
}

/* Nothing is known any more but that there is such a router. */
static bool clear(struct lsdb *db, struct router *r, mono_ms now)
{
    r->view.ls_seq = r->view.announced = r->view.mobile_seq = r->view.instance = r->view.life = 0;
    r->is_doubted = false;
    r->unwanted = now;
    return set_peers(db, r, NULL, 0, now);
}

static void become_heard(struct router *r, mono_ms now)
{
    r->view.heard = now;
    r->view.is_heard = true;
    r->unwanted = now;
}

static void begin_life(struct lsdb *db, struct router *r, int64_t instance, mono_ms now)
{
    LOG(ROUTER_LS, INFO, "router-restarted id=%s instance=%" PRId64 " before=%" PRId64, r->id, instance,
        r->view.instance);
    clear(db, r, now);
    r->view.instance = instance;
}

static bool is_before(struct claim a, struct claim b)
{
    if (a.instance && b.instance && a.instance != b.instance)
        return a.instance < b.instance;
    return a.ls_seq < b.ls_seq || a.mobile_seq < b.mobile_seq;
}

/* Whether a claim that lies before what is known is to be believed: when it was made before, `doubt` ago, and lay
 * before what was known then too, while nobody said otherwise. */
static bool is_convincing(const struct lsdb *db, struct router *r, struct claim claim, struct claim known, mono_ms now)
{
    if (r->is_doubted && is_before(claim, r->doubted))
        return now - r->doubted_since >= db->conf.doubt;
    r->is_doubted = true;
    r->doubted = known;
    r->doubted_since = now;
    return false;
}

void lsdb_hear(struct lsdb *db, uint32_t index, int64_t instance, int64_t ls_seq, int64_t mobile_seq, mono_ms now,
               uint32_t *news)
{
    struct router *r = get(db, index);
    struct claim claim = {instance, ls_seq, mobile_seq};
    struct claim known = {r->view.instance, r->view.announced, r->view.mobile_seq};
    bool is_older = is_before(claim, known);
    *news = 0;
    if (is_older && !is_convincing(db, r, claim, known, now)) {
        *news = LSDB_BEHIND;
        return;
    }
    if (is_older || (instance && r->view.instance && instance != r->view.instance)) {
        begin_life(db, r, instance, now);
        *news = LSDB_RESTARTED;
    }
    r->is_doubted = false;
    if (instance)
        r->view.instance = instance;
    become_heard(r, now);
    r->view.announced = ls_seq;
    if (r->view.announced > r->view.ls_seq)
        *news |= LSDB_LS_AHEAD;
    if (mobile_seq > r->view.mobile_seq)
        *news |= LSDB_MOBILE_AHEAD;
    r->view.mobile_seq = mobile_seq;
}

/* Peers that are too many to be known are left out: the others are still to be reached. */
static struct path_edge *resolve(struct lsdb *db, struct amqp_compound peers, mono_ms now, uint32_t *n)
{
    struct path_edge *edges = xcalloc(peers.count / 2 + 1, sizeof *edges);
    struct slice id;
    int64_t cost;
    *n = 0;
    while (wire_next_peer(&peers, &id, &cost)) {
        uint32_t index;
        if (cost < 1 || cost > PATH_COST_MAX)
            LOG_PEER(ROUTER_LS, WARNING, "peer-left-out id=%.*s cost=%" PRId64 ": a cost is from 1 to %d", (int)id.len,
                     (const char *)id.data, cost, PATH_COST_MAX);
        else if (lsdb_know(db, id, now, &index) == OK)
            edges[(*n)++] = (struct path_edge){index, (int32_t)cost};
    }
    return edges;
}

enum err lsdb_install(struct lsdb *db, uint32_t index, int64_t instance, int64_t ls_seq, struct amqp_compound peers,
                      mono_ms now, uint32_t *news)
{
    struct router *r = get(db, index);
    *news = 0;
    if (peers.count / 2 > db->conf.max_peers) {
        LOG_PEER(ROUTER_LS, ERROR_LEVEL, "record-too-large router=%s peers=%u max=%u: it is not used; raise the limit",
                 r->id, peers.count / 2, db->conf.max_peers);
        return ERR_LIMIT;
    }
    bool is_other = instance && r->view.instance && instance != r->view.instance;
    /* A record that is not newer is common (asked for twice, sent by two neighbours), and no sign of a restart. */
    if (is_other ? instance < r->view.instance : ls_seq <= r->view.ls_seq) {
        if (!is_other && ls_seq == r->view.ls_seq)
            become_heard(r, now);
        *news = LSDB_BEHIND;
        return OK;
    }
    if (is_other) {
        begin_life(db, r, instance, now);
        *news = LSDB_RESTARTED;
    }
    if (instance)
        r->view.instance = instance;
    become_heard(r, now);
    if (ls_seq == 0) /* of a router that has no neighbour yet: there is nothing in it that will not come again */
        return OK;
    uint32_t n;
    struct path_edge *edges = resolve(db, peers, now, &n);
    r->view.ls_seq = ls_seq;
    if (ls_seq > r->view.announced)
        r->view.announced = ls_seq;
    set_peers(db, r, edges, n, now);
    *news |= LSDB_RECORD;
    return OK;
}

void lsdb_set_life(struct lsdb *db, uint32_t index, int64_t life)
{
    get(db, index)->view.life = life;
}

void lsdb_begin_life(struct lsdb *db, uint32_t index, int64_t instance, mono_ms now)
{
    begin_life(db, get(db, index), instance, now);
}

bool lsdb_restarted(struct lsdb *db, uint32_t index, int64_t instance, mono_ms now)
{
    struct router *r = get(db, index);
    bool is_other = r->view.instance && r->view.instance != instance;
    if (is_other)
        begin_life(db, r, instance, now);
    r->view.instance = instance;
    return is_other;
}

void lsdb_originate(struct lsdb *db, const struct path_edge *peers, uint32_t n, mono_ms now)
{
    struct path_edge *copy = xcalloc(n + 1, sizeof *copy);
    if (n)
        memcpy(copy, peers, n * sizeof *copy);
    set_peers(db, get(db, LSDB_SELF), copy, n, now);
}

/* ---- ageing ---- */

bool lsdb_age(struct lsdb *db, mono_ms now)
{
    bool changed = false;
    for (uint32_t i = 1; i < db->limit; i++) {
        struct router *r = db->by_index[i];
        if (r == NULL || r->view.ls_seq == 0 || now - r->view.heard <= db->conf.max_age)
            continue;
        LOG(ROUTER_LS, INFO, "record-aged router=%s", r->id);
        r->view.is_heard = false;
        changed |= clear(db, r, now);
    }
    return changed;
}

bool lsdb_next_forgotten(const struct lsdb *db, mono_ms now, uint32_t *index)
{
    for (uint32_t i = 1; i < db->limit; i++) {
        const struct router *r = db->by_index[i];
        if (r && is_unwanted(r) && now - r->unwanted >= db->conf.forget_after) {
            *index = i;
            return true;
        }
    }
    return false;
}

void lsdb_forget(struct lsdb *db, uint32_t index)
{
    struct router *r = get(db, index);
    ASSERT(is_unwanted(r));
    paths_remove(db->paths, index);
    router_free(db, r);
    while (db->limit > 1 && db->by_index[db->limit - 1] == NULL)
        db->limit--;
}
