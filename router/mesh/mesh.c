#include "mesh.h"

#include "mesh_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/list.h>
#include <trunkline/base/log.h>

void mesh_conf_init(struct mesh_conf *conf)
{
    *conf = (struct mesh_conf){
        .hello_interval = 1000,
        .hello_max_age = 3000,
        .ra_interval = 30000,
        .ra_interval_flux = 4000,
        .remote_ls_max_age = 60000,
        .fast_hello_interval = 80,
        .fast_hello_max_age = 260,
        .max_links = 1000,
        .max_routers = 10000,
        .max_peers = 2000,
        .max_addresses = 1000000,
        .max_message = MESH_MESSAGE_MAX,
    };
}

/* ---- small things ---- */

void mesh_call(struct mesh *m)
{
    ASSERT(!m->is_calling);
    m->is_calling = true;
}

void mesh_called(struct mesh *m)
{
    m->is_calling = false;
}

struct router_state *mesh_state(struct mesh *m, uint32_t router)
{
    if (router >= m->state_count) {
        uint32_t count = router * 2 + 8;
        m->states = xrealloc(m->states, count * sizeof *m->states);
        for (uint32_t i = m->state_count; i < count; i++)
            m->states[i] = (struct router_state){.record.due = MONO_MS_NEVER, .addresses.due = MONO_MS_NEVER};
        m->state_count = count;
    }
    return &m->states[router];
}

void throttle_ask(struct throttle *t, mono_ms now, uint32_t hold)
{
    mono_ms due = now + hold;
    if (due < t->last + t->step)
        due = t->last + t->step;
    if (due < t->due)
        t->due = due;
}

void throttle_fired(struct throttle *t, mono_ms now, uint32_t least, uint32_t most)
{
    bool is_quiet = t->step == 0 || now - t->last > 8 * (mono_ms)t->step;
    t->step = is_quiet ? least : t->step * 2 < most ? t->step * 2 : most;
    t->last = now;
    t->due = MONO_MS_NEVER;
}

static void ask(struct mesh *m, struct question *q, uint32_t delay)
{
    mono_ms due = m->now + delay;
    if (due < q->due)
        q->due = due;
    q->tries = 0;
    if (q->due < m->questions_due)
        m->questions_due = q->due;
}

void mesh_ask_record(struct mesh *m, uint32_t router, uint32_t delay)
{
    if (router != LSDB_SELF)
        ask(m, &mesh_state(m, router)->record, delay);
}

void mesh_ask_addresses(struct mesh *m, uint32_t router, uint32_t delay)
{
    if (router != LSDB_SELF)
        ask(m, &mesh_state(m, router)->addresses, delay);
}

/* ---- owners of the parts ---- */

static void on_hello_send(struct hello_owner *o, uint64_t link, const char *const *seen, uint32_t n)
{
    mesh_send_hello(container_of(o, struct mesh, hello_owner), link, seen, n);
}

/* A router of which the mesh has heard lately, and which can be reached, is there: another one of its id, which another
 * start tells, is a second one or its next life. The next life gets in as soon as the mesh has noticed that the last
 * one has ended. */
static bool on_hello_may_join(struct hello_owner *o, const char *id, struct start start)
{
    struct mesh *m = container_of(o, struct mesh, hello_owner);
    uint32_t router;
    if (!lsdb_find(m->lsdb, (struct slice){NULL, (const uint8_t *)id, strlen(id)}, &router))
        return true;
    const struct lsdb_router *r = lsdb_router(m->lsdb, router);
    struct start known = {r->instance, r->life};
    if (r->instance == 0 || !start_is_other(known, start) || !mesh_state(m, router)->is_reachable)
        return true;
    return m->now - r->heard > m->conf.ra_interval + m->conf.ra_interval / 4;
}

static void on_hello_joined(struct hello_owner *o, const struct neighbour *n)
{
    struct mesh *m = container_of(o, struct mesh, hello_owner);
    if (m->joined_count == m->joined_capacity) {
        m->joined_capacity = m->joined_capacity ? m->joined_capacity * 2 : 8;
        m->joined = xrealloc(m->joined, m->joined_capacity * sizeof *m->joined);
    }
    m->joined[m->joined_count++] = n->link;
}

static void on_mapped(struct mobile_owner *o, const char *key, uint32_t router, int hint)
{
    struct mesh *m = container_of(o, struct mesh, mobile_owner);
    mesh_call(m);
    m->owner->mapped(m->owner, key, router, hint);
    mesh_called(m);
}

static void on_unmapped(struct mobile_owner *o, const char *key, uint32_t router)
{
    struct mesh *m = container_of(o, struct mesh, mobile_owner);
    mesh_call(m);
    m->owner->unmapped(m->owner, key, router);
    mesh_called(m);
}

/* ---- birth and death ---- */

static bool is_sound(const struct mesh_conf *c)
{
    size_t n = strlen(c->id);
    return n >= 1 && n <= MESH_ID_MAX && c->hello_interval && c->hello_max_age && c->ra_interval &&
           c->ra_interval_flux && c->remote_ls_max_age && c->max_links && c->max_routers && c->max_peers &&
           c->max_addresses && c->max_message;
}

static void make_parts(struct mesh *m)
{
    const struct mesh_conf *c = &m->conf;
    m->hello_owner =
        (struct hello_owner){.send = on_hello_send, .may_join = on_hello_may_join, .joined = on_hello_joined};
    m->mobile_owner = (struct mobile_owner){.mapped = on_mapped, .unmapped = on_unmapped};
    m->hello = hello_new(&(struct hello_conf){.id = m->id,
                                              .start = {c->instance, c->life},
                                              .interval = c->hello_interval,
                                              .max_age = c->hello_max_age,
                                              .fast_interval = c->fast_hello_interval,
                                              .fast_max_age = c->fast_hello_max_age,
                                              .max_links = c->max_links},
                         &m->hello_owner);
    m->paths = paths_new(c->max_routers < 1024 ? c->max_routers : 1024);
    m->lsdb = lsdb_new(&(struct lsdb_conf){.id = m->id,
                                           .max_routers = c->max_routers,
                                           .max_peers = c->max_peers,
                                           .max_age = c->remote_ls_max_age,
                                           .doubt = c->ra_interval_flux * 3 / 4,
                                           .forget_after = FORGET_AFTER},
                       m->paths);
    m->mobile = mobile_new(c->max_addresses, &m->mobile_owner);
    uint32_t hold = c->ra_interval_flux / 2;
    m->flood = flood_new(hold < 2000 ? hold : 2000);
}

enum err mesh_new(const struct mesh_conf *conf, struct mesh_owner *owner, mono_ms now, struct mesh **out)
{
    if (!is_sound(conf))
        return ERR_INVALID;
    struct mesh *m = xcalloc(1, sizeof *m);
    m->conf = *conf;
    m->id = xstrdup(conf->id);
    m->conf.id = m->id;
    m->owner = owner;
    m->now = now;
    m->ls_seq = 1; /* a record numbered 0 is never installed by anybody */
    m->record.due = m->routes.due = m->addresses.due = m->questions_due = MONO_MS_NEVER;
    m->age_due = now + AGE_INTERVAL;
    m->last_ra = now;
    m->ra_due = now + conf->ra_interval_flux;
    m->last_topology_change = now;
    make_parts(m);
    m->published_graph = paths_fingerprint(m->paths);
    *out = m;
    return OK;
}

static void free_announced(struct mesh *m)
{
    for (uint32_t i = 0; i < m->announced_count; i++)
        free((char *)m->announced[i].id);
    free(m->announced);
    m->announced = NULL;
    m->announced_count = 0;
}

void mesh_free(struct mesh **mp)
{
    struct mesh *m = *mp;
    if (m == NULL)
        return;
    hello_free(&m->hello);
    lsdb_free(&m->lsdb);
    paths_free(&m->paths);
    mobile_free(&m->mobile);
    flood_free(&m->flood);
    free_announced(m);
    octets_fini(&m->out);
    free(m->joined);
    free(m->states);
    free(m->id);
    free(m);
    *mp = NULL;
}

/* ---- our own record ---- */

static void number_record(struct mesh *m)
{
    free_announced(m);
    uint32_t n;
    const struct neighbour *all = hello_neighbours(m->hello, &n);
    m->announced = xcalloc(n + 1, sizeof *m->announced);
    for (uint32_t i = 0; i < n; i++)
        m->announced[i] = (struct wire_peer){xstrdup(all[i].id), all[i].cost};
    m->announced_count = n;
    m->ls_seq++;
}

static bool has_announced(const struct mesh *m, struct slice id, int64_t cost)
{
    for (uint32_t i = 0; i < m->announced_count; i++)
        if (amqp_slice_is(id, m->announced[i].id))
            return m->announced[i].cost == cost;
    return false;
}

/* Whether our record would name a neighbour, or a cost, that it did not name when it was numbered last. */
static bool has_good_news(const struct mesh *m)
{
    uint32_t n;
    const struct neighbour *all = hello_neighbours(m->hello, &n);
    for (uint32_t i = 0; i < n; i++)
        if (!has_announced(m, (struct slice){NULL, (const uint8_t *)all[i].id, strlen(all[i].id)}, all[i].cost))
            return true;
    return false;
}

/* What a record costs all who pass it on grows with the mesh, and so does how long it may have to wait for its turn. */
static uint32_t record_step_max(const struct mesh *m)
{
    uint32_t step = lsdb_limit(m->lsdb) / RECORD_ROUTERS_PER_MS;
    return step < RECORD_STEP ? RECORD_STEP : step < RECORD_STEP_MAX ? step : RECORD_STEP_MAX;
}

/* Bad news alone do not make good ones wait the longer: when all neighbours were late at once and are heard again,
 * nobody can send anything by way of us until that is said. */
static void announce_record(struct mesh *m)
{
    if (has_good_news(m))
        throttle_fired(&m->record, m->now, RECORD_STEP, record_step_max(m));
    m->record.due = MONO_MS_NEVER;
    number_record(m);
    mesh_send_record(m);
    mesh_send_ra(m);
}

/* Whether a record of ours is of an earlier life: it says so, or is not what we have announced under its number. */
static bool is_foreign(const struct mesh *m, const struct wire_message *claim)
{
    if (claim->op != WIRE_LSU)
        return false;
    if (claim->life)
        return claim->life != m->conf.life;
    if (claim->ls_seq != m->ls_seq)
        return false;
    struct amqp_compound peers = claim->peers;
    struct slice id;
    int64_t cost;
    bool is_same = peers.count / 2 == m->announced_count;
    while (is_same && wire_next_peer(&peers, &id, &cost))
        is_same = has_announced(m, id, cost);
    return !is_same;
}

static void log_later_life(struct mesh *m, int64_t instance)
{
    if (m->is_jump_logged)
        return;
    m->is_jump_logged = true;
    LOG(ROUTER_LS, ERROR_LEVEL,
        "duplicate-router-id id=%s instance=%" PRId64 " other=%" PRId64
        ": another router has our id, or our clock went back between two starts; in the first case give one of them "
        "another "
        "id, in the second the mesh finds out by itself",
        m->id, m->conf.instance, instance);
}

void mesh_outdo(struct mesh *m, const struct wire_message *claim)
{
    bool is_later = claim->instance > m->conf.instance, is_same = claim->instance == m->conf.instance;
    bool is_ahead = claim->ls_seq > m->ls_seq || claim->mobile_seq > mobile_seq(m->mobile) || is_foreign(m, claim);
    if (!is_later && !(is_same && is_ahead))
        return;
    if (is_later || m->jumps >= JUMPS_MAX) {
        log_later_life(m, claim->instance);
        return;
    }
    /* An earlier life within the same second: count on from where it was. Of addresses leave a number out, so that the
     * others ask for all of them. */
    m->jumps++;
    if (claim->ls_seq > m->ls_seq)
        m->ls_seq = claim->ls_seq;
    int64_t mobile = mobile_seq(m->mobile);
    mobile_skip_to(m->mobile, (claim->mobile_seq > mobile ? claim->mobile_seq : mobile) + 2);
    throttle_ask(&m->record, m->now, 0);
}

void mesh_be_in_flux(struct mesh *m)
{
    /* Two of them, as old routers do it, and no third because of some milliseconds. */
    m->flux_until = m->now + 2 * (mono_ms)m->conf.ra_interval_flux - m->conf.ra_interval_flux / 4;
    if (m->ra_due > m->last_ra + m->conf.ra_interval_flux)
        m->ra_due = m->last_ra + m->conf.ra_interval_flux;
}

/* ---- addresses of ours ---- */

static bool is_old_router_near(struct mesh *m)
{
    uint32_t n;
    const struct neighbour *all = hello_neighbours(m->hello, &n);
    for (uint32_t i = 0; i < n; i++)
        if (!all[i].is_ours)
            return true;
    return false;
}

static void send_update(struct mesh *m)
{
    if (is_old_router_near(m))
        m->addresses = (struct throttle){MONO_MS_NEVER, m->now, ADDRESSES_STEP_OLD};
    else
        throttle_fired(&m->addresses, m->now, ADDRESSES_HOLD, ADDRESSES_STEP);
    struct mobile_list update;
    if (!mobile_update(m->mobile, &update))
        return; /* what was added has been removed again */
    LOG(ROUTER_MA, DEBUG, "addresses-told seq=%" PRId64 " add=%u del=%u", mobile_seq(m->mobile), update.add_count,
        update.del_count);
    mesh_send_update(m, &update);
    mesh_be_in_flux(m); /* whoever has missed it hears of it soon again */
    mesh_send_ra(m);
}

enum err mesh_address_added(struct mesh *m, const char *key, int hint, mono_ms now)
{
    ASSERT(!m->is_calling);
    m->now = now;
    enum err e = mobile_add(m->mobile, key, hint);
    if (e == OK)
        throttle_ask(&m->addresses, now, ADDRESSES_HOLD);
    return e;
}

enum err mesh_address_removed(struct mesh *m, const char *key, mono_ms now)
{
    ASSERT(!m->is_calling);
    m->now = now;
    enum err e = mobile_remove(m->mobile, key);
    if (e == OK)
        throttle_ask(&m->addresses, now, ADDRESSES_HOLD);
    return e;
}

/* ---- questions ---- */

static mono_ms next_try(const struct mesh *m, struct question *q)
{
    uint32_t wait = QUESTION_STEP;
    for (uint32_t i = 0; i < q->tries && wait < QUESTION_STEP_MAX; i++)
        wait *= 2;
    q->tries++;
    return m->now + wait;
}

/* Record and addresses are asked for until they are there; addresses of a router that never spoke of any, three times.
 */
static void put_questions(struct mesh *m, uint32_t router)
{
    struct router_state *s = mesh_state(m, router);
    const struct lsdb_router *r = lsdb_router(m->lsdb, router);
    int64_t known = mobile_known(m->mobile, router);
    if (s->record.due <= m->now) {
        bool is_wanted = r->announced > r->ls_seq || r->ls_seq == 0;
        s->record.due = is_wanted && mesh_send_lsr(m, router) ? next_try(m, &s->record) : MONO_MS_NEVER;
    }
    if (s->addresses.due <= m->now) {
        bool is_behind = r->mobile_seq > known || s->addresses_wanted > known;
        bool is_wanted = is_behind || (!r->is_heard && s->addresses.tries < 3);
        s->addresses.due = is_wanted && mesh_send_mar(m, router) ? next_try(m, &s->addresses) : MONO_MS_NEVER;
    }
}

static void ask_questions(struct mesh *m)
{
    m->questions_due = MONO_MS_NEVER;
    for (uint32_t i = 1; i < lsdb_limit(m->lsdb); i++) {
        if (lsdb_router(m->lsdb, i) == NULL)
            continue;
        put_questions(m, i);
        struct router_state *s = mesh_state(m, i);
        mono_ms due = s->record.due < s->addresses.due ? s->record.due : s->addresses.due;
        if (due < m->questions_due)
            m->questions_due = due;
    }
}

/* ---- routers that come and go ---- */

void mesh_forget_life(struct mesh *m, uint32_t router)
{
    struct router_state *s = mesh_state(m, router);
    mobile_restarted(m->mobile, router);
    flood_forget(m->flood, router);
    s->addresses_wanted = 0;
    s->addresses = (struct question){MONO_MS_NEVER, 0};
    s->record = (struct question){MONO_MS_NEVER, 0};
    if (s->is_reachable || lsdb_router(m->lsdb, router)->is_heard)
        mesh_ask_record(m, router, QUESTION_MENTIONED);
}

/* An update does not say of which life it is. What came while that was not known, or before it was forgotten, may be of
 * an earlier one, whose numbers go as far: then no number would ever tell. So all is asked for anew. */
void mesh_check_life(struct mesh *m, uint32_t router)
{
    struct router_state *s = mesh_state(m, router);
    const struct lsdb_router *r = lsdb_router(m->lsdb, router);
    bool is_other = start_is_other(s->addresses_start, (struct start){r->instance, r->life});
    if (r->instance == 0 || !is_other || mobile_known(m->mobile, router) == 0)
        return;
    mobile_restarted(m->mobile, router);
    s->addresses_wanted = 1; /* whatever there is */
    mesh_ask_addresses(m, router, 0);
}

static void age(struct mesh *m)
{
    uint32_t router;
    m->age_due = m->now + AGE_INTERVAL;
    if (lsdb_age(m->lsdb, m->now))
        throttle_ask(&m->routes, m->now, 0);
    while (lsdb_next_forgotten(m->lsdb, m->now, &router)) {
        /* Nobody names it: the route, if there was one, has gone when the last one ceased to. */
        ASSERT(!mesh_state(m, router)->is_reachable);
        mobile_forget(m->mobile, router);
        flood_forget(m->flood, router);
        *mesh_state(m, router) = (struct router_state){.record.due = MONO_MS_NEVER, .addresses.due = MONO_MS_NEVER};
        lsdb_forget(m->lsdb, router);
        mesh_call(m);
        m->owner->router_forgotten(m->owner, router);
        mesh_called(m);
    }
}

/* ---- what is due ---- */

/* Whether what we have announced names a router that is a neighbour no more: others send messages by a way that is
 * gone.
 */
static bool has_lost_announced(struct mesh *m)
{
    for (uint32_t i = 0; i < m->announced_count; i++) {
        const char *id = m->announced[i].id;
        if (!hello_neighbour(m->hello, (struct slice){NULL, (const uint8_t *)id, strlen(id)}))
            return true;
    }
    return false;
}

/* Good news wait their turn when neighbours come and go; bad news do not. They are no more than the good ones, for a
 * neighbour must have been announced to be taken back. */
static void announce_soon(struct mesh *m)
{
    if (has_lost_announced(m))
        m->record.due = m->now;
    else
        throttle_ask(&m->record, m->now, 0);
}

/* Computing takes longer the more routers there are, so they are computed more rarely. */
static uint32_t routes_step_max(const struct mesh *m)
{
    uint32_t step = lsdb_limit(m->lsdb) / ROUTES_PER_MS;
    return step < ROUTES_HOLD ? ROUTES_HOLD : step < ROUTES_STEP_MAX ? step : ROUTES_STEP_MAX;
}

/* The neighbourhood first, then paths with it, then what we say: so a message that says that a link is gone does not
 * take that link. */
void mesh_settle(struct mesh *m, mono_ms now)
{
    m->now = now;
    if (hello_take_change(m->hello)) {
        mesh_take_neighbours(m);
        m->routes.due = now; /* our own links are never waited for */
        announce_soon(m);
    }
    if (m->routes.due <= now) {
        throttle_fired(&m->routes, now, ROUTES_HOLD, routes_step_max(m));
        mesh_publish_routes(m);
    }
    if (m->record.due <= now)
        announce_record(m);
    for (uint32_t i = 0; i < m->joined_count; i++)
        mesh_push_all(m, m->joined[i]);
    m->joined_count = 0;
    if (m->addresses.due <= now)
        send_update(m);
    if (m->ra_due <= now)
        mesh_send_ra(m);
    if (m->questions_due <= now)
        ask_questions(m);
}

mono_ms mesh_deadline(const struct mesh *m)
{
    mono_ms all[] = {m->routes.due, m->record.due,    m->addresses.due,        m->ra_due,
                     m->age_due,    m->questions_due, hello_deadline(m->hello)};
    mono_ms first = MONO_MS_NEVER;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] < first)
            first = all[i];
    return first;
}

mono_ms mesh_tick(struct mesh *m, mono_ms now)
{
    ASSERT(!m->is_calling);
    m->now = now;
    hello_tick(m->hello, now);
    mesh_settle(m, now);
    if (m->age_due <= now) {
        age(m);
        mesh_settle(m, now);
    }
    return mesh_deadline(m);
}

enum err mesh_link_up(struct mesh *m, uint64_t link, const struct mesh_peer *peer, mono_ms now)
{
    ASSERT(!m->is_calling);
    m->now = now;
    if (peer->cost < 1)
        return ERR_INVALID;
    enum err e = hello_link_up(
        m->hello, link,
        &(struct hello_peer){.cost = peer->cost, .is_ours = peer->is_ours, .fast_interval = peer->fast_hello_interval},
        now);
    mesh_settle(m, now);
    return e;
}

enum err mesh_link_down(struct mesh *m, uint64_t link, mono_ms now)
{
    ASSERT(!m->is_calling);
    m->now = now;
    enum err e = hello_link_down(m->hello, link, now);
    mesh_settle(m, now);
    return e;
}

bool mesh_link_is_steady(const struct mesh *m, uint64_t link)
{
    return hello_link_is_steady(m->hello, link);
}

void mesh_hello_repeated(struct mesh *m, uint64_t link, mono_ms heard, uint32_t gap)
{
    hello_repeated(m->hello, link, heard, gap);
}

void mesh_link_received(struct mesh *m, uint64_t link, mono_ms at)
{
    hello_link_received(m->hello, link, at);
}

bool mesh_link_is_heard(const struct mesh *m, uint64_t link)
{
    return hello_link_peer(m->hello, link) != NULL;
}

/* ---- what callers ask ---- */

uint32_t mesh_most_hops(struct mesh *m)
{
    uint32_t n;
    (void)path_tree_order(paths_tree(m->paths, LSDB_SELF), &n);
    return n - 1; /* the tree's root is one of them */
}

bool mesh_index(const struct mesh *m, const char *id, uint32_t *index)
{
    return lsdb_find(m->lsdb, (struct slice){NULL, (const uint8_t *)id, strlen(id)}, index);
}

uint32_t mesh_limit(const struct mesh *m)
{
    return lsdb_limit(m->lsdb);
}

void mesh_forwards(struct mesh *m, uint32_t origin, bool *to, uint32_t n)
{
    if (lsdb_router(m->lsdb, origin) == NULL)
        memset(to, 0, n * sizeof *to);
    else
        paths_on_way_to(m->paths, origin, LSDB_SELF, to, n);
}

bool mesh_row(struct mesh *m, uint32_t index, struct mesh_row *row)
{
    const struct lsdb_router *r = lsdb_router(m->lsdb, index);
    if (r == NULL)
        return false;
    const struct router_state *s = mesh_state(m, index);
    const struct neighbour *n = hello_neighbour(m->hello, (struct slice){NULL, (const uint8_t *)r->id, strlen(r->id)});
    bool is_self = index == LSDB_SELF;
    *row = (struct mesh_row){
        .id = r->id,
        .index = index,
        .instance = is_self ? m->conf.instance : r->instance,
        .is_self = is_self,
        .is_neighbour = n != NULL,
        .is_reachable = is_self || s->is_reachable,
        .next_hop = s->is_reachable && s->first != index ? lsdb_router(m->lsdb, s->first)->id : NULL,
        .link = n ? n->link : 0,
        .cost = s->is_reachable ? s->cost : 0,
        .peers = r->peers,
        .peer_count = r->peer_count,
        .address_count = mobile_count(m->mobile, index),
        .last_topology_change = m->last_topology_change,
    };
    return true;
}

uint64_t mesh_fingerprint(const struct mesh *m)
{
    return m->published_graph;
}
