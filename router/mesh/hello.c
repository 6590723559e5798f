#include "hello.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/list.h>
#include <trunkline/base/log.h>
#include <uthash.h>

/* Later than this, ms, is not a timer's usual inaccuracy. */
#define HELD_UP 50
/* And this is, a little, but may be nothing. */
#define LATE 5

enum link_state { LINK_SILENT, LINK_HEARD, LINK_UP, LINK_REFUSED };

struct hello_link {
    UT_hash_handle hh; /* in hello.links, by id */
    uint64_t id;
    struct hello_peer peer;
    uint32_t interval, base_age; /* ms */
    enum link_state state;
    bool is_active, was_told; /* was_told: our last HELLO named the peer */
    bool is_logged;           /* that it is refused */
    char *router;             /* HEARD, UP: who it is */
    struct start start;
    mono_ms heard, listed, next_send;
    mono_ms received;   /* octets of any kind, last */
    mono_ms refused;    /* since when */
    uint32_t worst_gap; /* ms between two HELLOs, the longest of late */
};

struct hello {
    struct hello_conf conf;
    struct hello_owner *owner;
    struct hello_link *links;
    struct neighbour *neighbours; /* made from the links when asked for */
    uint32_t neighbour_count;
    bool is_changed, is_outdated; /* outdated: neighbours[] */
    mono_ms deadline;
    uint32_t lateness; /* ms that we were late ourselves, of late the most */
};

struct hello *hello_new(const struct hello_conf *conf, struct hello_owner *owner)
{
    struct hello *h = xcalloc(1, sizeof *h);
    h->conf = *conf;
    h->owner = owner;
    h->deadline = MONO_MS_NEVER;
    return h;
}

static void link_free(struct hello *h, struct hello_link *l)
{
    HASH_DEL(h->links, l);
    free(l->router);
    free(l);
}

void hello_free(struct hello **hp)
{
    struct hello *h = *hp;
    if (h == NULL)
        return;
    struct hello_link *l, *next;
    HASH_ITER(hh, h->links, l, next)
    link_free(h, l);
    free(h->neighbours);
    free(h);
    *hp = NULL;
}

static struct hello_link *link_find(const struct hello *h, uint64_t id)
{
    struct hello_link *l;
    HASH_FIND(hh, h->links, &id, sizeof id, l);
    return l;
}

static void note_change(struct hello *h)
{
    h->is_changed = h->is_outdated = true;
}

static bool is_known(const struct hello_link *l)
{
    return l->state == LINK_HEARD || l->state == LINK_UP;
}

static uint32_t link_age(const struct hello *h, const struct hello_link *l)
{
    uint32_t age = 2 * l->worst_gap + l->interval, most = h->conf.max_age;
    uint32_t base = l->base_age + (h->lateness > LATE ? 2 * h->lateness : 0);
    if (l->base_age > most)
        most = l->base_age;
    age = age < base ? base : age;
    return age > most ? most : age;
}

/* ---- active links ---- */

static bool is_better(const struct hello_link *a, const struct hello_link *b)
{
    if (a->is_active != b->is_active && (!a->peer.is_ours || !b->peer.is_ours))
        return a->is_active; /* an old router stays where it is */
    return a->peer.cost != b->peer.cost ? a->peer.cost < b->peer.cost : a->id < b->id;
}

static struct hello_link *active_link(const struct hello *h, const char *router)
{
    for (struct hello_link *l = h->links; l; l = l->hh.next)
        if (l->is_active && strcmp(l->router, router) == 0)
            return l;
    return NULL;
}

/* Choose anew among the links to a router. */
static void choose_active(struct hello *h, const char *router)
{
    struct hello_link *before = active_link(h, router), *best = NULL;
    for (struct hello_link *l = h->links; l; l = l->hh.next)
        if (l->state == LINK_UP && strcmp(l->router, router) == 0 && (best == NULL || is_better(l, best)))
            best = l;
    if (before == best)
        return;
    if (before)
        before->is_active = false;
    if (best)
        best->is_active = true;
    note_change(h);
}

static struct neighbour neighbour_of(const struct hello_link *l)
{
    return (struct neighbour){l->router, l->start, l->id, l->peer.cost, l->peer.is_ours};
}

static int compare_neighbours(const void *a, const void *b)
{
    return strcmp(((const struct neighbour *)a)->id, ((const struct neighbour *)b)->id);
}

const struct neighbour *hello_neighbours(struct hello *h, uint32_t *n)
{
    if (h->is_outdated) {
        h->neighbours = xrealloc(h->neighbours, (HASH_COUNT(h->links) + 1) * sizeof *h->neighbours);
        h->neighbour_count = 0;
        for (struct hello_link *l = h->links; l; l = l->hh.next)
            if (l->is_active)
                h->neighbours[h->neighbour_count++] = neighbour_of(l);
        qsort(h->neighbours, h->neighbour_count, sizeof *h->neighbours, compare_neighbours);
        h->is_outdated = false;
    }
    *n = h->neighbour_count;
    return h->neighbours;
}

const struct neighbour *hello_neighbour(struct hello *h, struct slice id)
{
    uint32_t n;
    const struct neighbour *all = hello_neighbours(h, &n);
    for (uint32_t i = 0; i < n; i++)
        if (amqp_slice_is(id, all[i].id))
            return &all[i];
    return NULL;
}

bool hello_take_change(struct hello *h)
{
    bool changed = h->is_changed;
    h->is_changed = false;
    return changed;
}

const char *hello_link_peer(const struct hello *h, uint64_t link)
{
    const struct hello_link *l = link_find(h, link);
    return l && is_known(l) ? l->router : NULL;
}

bool hello_link_is_ours(const struct hello *h, uint64_t link)
{
    const struct hello_link *l = link_find(h, link);
    return l && l->peer.is_ours;
}

bool hello_link_exists(const struct hello *h, uint64_t link)
{
    return link_find(h, link) != NULL;
}

uint32_t hello_link_age(const struct hello *h, uint64_t link)
{
    const struct hello_link *l = link_find(h, link);
    return l ? link_age(h, l) : 0;
}

/* ---- states ---- */

static const char *const state_names[] = {"silent", "heard", "up", "refused"};

/* The only place where a link's state changes. */
static void link_become(struct hello *h, struct hello_link *l, enum link_state to)
{
    static const uint32_t legal[] = {
        [LINK_SILENT] = 1 << LINK_HEARD | 1 << LINK_REFUSED,
        [LINK_HEARD] = 1 << LINK_UP | 1 << LINK_SILENT | 1 << LINK_REFUSED,
        [LINK_UP] = 1 << LINK_HEARD | 1 << LINK_SILENT | 1 << LINK_REFUSED,
        [LINK_REFUSED] = 1 << LINK_HEARD | 1 << LINK_SILENT,
    };
    if (l->state == to)
        return;
    ASSERT(legal[l->state] >> to & 1);
    bool was_up = l->state == LINK_UP;
    l->state = to;
    LOG_IF(ROUTER_HELLO, TRACE, "link-%s link=%" PRIu64 " router=%s", state_names[to], l->id,
           l->router ? l->router : "-");
    if (!was_up && to != LINK_UP)
        return;
    bool was_neighbour = active_link(h, l->router) != NULL;
    choose_active(h, l->router);
    struct hello_link *now_active = active_link(h, l->router);
    if (was_neighbour && now_active == NULL)
        LOG(ROUTER_HELLO, INFO, "neighbour-lost router=%s link=%" PRIu64, l->router, l->id);
    if (!was_neighbour && now_active) {
        LOG(ROUTER_HELLO, INFO, "neighbour-found router=%s link=%" PRIu64 " cost=%" PRId32 " hello=%ums", l->router,
            l->id, l->peer.cost, l->interval);
        struct neighbour n = neighbour_of(now_active);
        h->owner->joined(h->owner, &n);
    }
}

/* ---- sending ---- */

/* An old router takes the link where it is named for the one to use. */
static bool is_named_on(const struct hello *h, const struct hello_link *peer, const struct hello_link *on)
{
    if (peer->peer.is_ours || strcmp(peer->router, on->router ? on->router : "") != 0)
        return true;
    for (const struct hello_link *l = h->links; l; l = l->hh.next)
        if (l != on && is_known(l) && strcmp(l->router, peer->router) == 0 &&
            (l->is_active || (!on->is_active && l->id < on->id)))
            return false;
    return true;
}

/* Ours are told what concerns them; old routers everybody we hear, as they do it. Who is not known, or refused, is told
 * of nobody: it might be a second router of an id that we hear elsewhere, and take that for itself. */
static void link_send(struct hello *h, struct hello_link *l, mono_ms now)
{
    const char **seen = xcalloc(HASH_COUNT(h->links) + 1, sizeof *seen);
    uint32_t n = 0;
    l->was_told = false;
    for (const struct hello_link *other = h->links; other && is_known(l); other = other->hh.next) {
        bool is_same = is_known(other) && strcmp(other->router, l->router) == 0;
        if (!is_known(other) || (l->peer.is_ours && other != l) || (is_same && other != l) || !is_named_on(h, other, l))
            continue;
        bool is_double = false;
        for (uint32_t i = 0; i < n && !is_double; i++)
            is_double = strcmp(seen[i], other->router) == 0;
        if (is_double)
            continue;
        seen[n++] = other->router;
        l->was_told |= other == l;
    }
    l->next_send = (now / l->interval + 1) * l->interval;
    h->owner->send(h->owner, l->id, seen, n);
    free(seen);
}

/* ---- links ---- */

static void update_deadline(struct hello *h);

enum err hello_link_up(struct hello *h, uint64_t link, const struct hello_peer *peer, mono_ms now)
{
    if (link_find(h, link))
        return ERR_EXISTS;
    if (HASH_COUNT(h->links) >= h->conf.max_links) {
        LOG_PEER(ROUTER_HELLO, ERROR_LEVEL,
                 "too-many-links link=%" PRIu64 " max=%u: raise it, or connect fewer routers", link, h->conf.max_links);
        return ERR_LIMIT;
    }
    struct hello_link *l = xcalloc(1, sizeof *l);
    l->id = link;
    l->peer = *peer;
    l->interval = h->conf.interval;
    l->base_age = h->conf.max_age;
    if (peer->is_ours && peer->fast_interval && h->conf.fast_interval) {
        l->interval = peer->fast_interval > h->conf.fast_interval ? peer->fast_interval : h->conf.fast_interval;
        l->base_age = l->interval / 4 * 13 > h->conf.fast_max_age ? l->interval / 4 * 13 : h->conf.fast_max_age;
    }
    HASH_ADD(hh, h->links, id, sizeof l->id, l);
    link_send(h, l, now);
    update_deadline(h);
    return OK;
}

enum err hello_link_down(struct hello *h, uint64_t link, mono_ms now)
{
    struct hello_link *l = link_find(h, link);
    if (l == NULL)
        return ERR_NOT_FOUND;
    char *router = l->router ? xstrdup(l->router) : NULL;
    link_become(h, l, LINK_SILENT);
    link_free(h, l);
    h->is_outdated = true;
    /* Another link to it takes over: an old router must hear at once that it is named there. */
    for (l = h->links; router && l; l = l->hh.next)
        if (is_known(l) && !l->peer.is_ours && strcmp(l->router, router) == 0)
            link_send(h, l, now);
    free(router);
    update_deadline(h);
    return OK;
}

/* ---- receiving ---- */

static void log_refused(struct hello *h, struct hello_link *l, struct slice id, struct start start, mono_ms now)
{
    bool is_own = amqp_slice_is(id, h->conf.id);
    if (l->is_logged || (!is_own && now - l->refused < h->conf.max_age))
        return;
    l->is_logged = true;
    if (is_own && !start_is_other(start, h->conf.start))
        LOG(ROUTER_HELLO, ERROR_LEVEL, "link-to-itself link=%" PRIu64 ": a connector of this router leads back to it",
            l->id);
    else
        LOG(ROUTER_HELLO, ERROR_LEVEL,
            "duplicate-router-id id=%.*s link=%" PRIu64 " instance=%" PRId64
            ": another router has this id; it is refused until one of them goes or is given another id",
            (int)id.len, (const char *)id.data, l->id, start.instance);
}

static bool is_elsewhere(const struct hello *h, const struct hello_link *l, struct slice id, struct start start)
{
    for (const struct hello_link *other = h->links; other; other = other->hh.next)
        if (other != l && is_known(other) && amqp_slice_is(id, other->router) && start_is_other(other->start, start))
            return true;
    return false;
}

static bool may_join(struct hello *h, const struct hello_link *l, struct slice id, struct start start)
{
    if (amqp_slice_is(id, h->conf.id) || is_elsewhere(h, l, id, start))
        return false;
    char *name = xstrndup((const char *)id.data, id.len);
    bool may = h->owner->may_join(h->owner, name, start);
    free(name);
    return may;
}

static void link_refuse(struct hello *h, struct hello_link *l, struct slice id, struct start start, mono_ms now)
{
    if (l->state != LINK_REFUSED) {
        link_become(h, l, LINK_REFUSED);
        l->refused = now;
        free(l->router);
        l->router = NULL;
    }
    log_refused(h, l, id, start, now);
}

/* A neighbour that was lost and yet comes again soon was late, not dead: it gets more time. One that was stopped for
 * long has nothing to teach. */
static void learn_gap(const struct hello *h, struct hello_link *l, mono_ms gap)
{
    if (l->heard == 0 || gap > 4 * (mono_ms)l->base_age || gap > h->conf.max_age)
        return;
    if (gap >= l->worst_gap)
        l->worst_gap = (uint32_t)gap;
    else
        l->worst_gap -= (l->worst_gap - (uint32_t)gap + 63) / 64;
}

static void link_meet(struct hello *h, struct hello_link *l, struct slice id, struct start start)
{
    if (is_known(l) && (!amqp_slice_is(id, l->router) || start_is_other(start, l->start)))
        link_become(h, l, LINK_SILENT); /* another one behind the same link: as if it had been restarted */
    if (is_known(l))
        return;
    if (l->router == NULL || !amqp_slice_is(id, l->router) || start_is_other(start, l->start)) {
        free(l->router);
        l->router = xstrndup((const char *)id.data, id.len);
        l->worst_gap = 0;
        l->heard = 0;
    }
    l->start = start;
    l->is_logged = false;
    link_become(h, l, LINK_HEARD);
}

bool hello_link_is_steady(const struct hello *h, uint64_t link)
{
    const struct hello_link *l = link_find(h, link);
    return l && l->state == LINK_UP && l->peer.is_ours;
}

void hello_repeated(struct hello *h, uint64_t link, mono_ms heard, uint32_t gap)
{
    struct hello_link *l = link_find(h, link);
    if (!l || l->state != LINK_UP || heard <= l->heard)
        return;
    learn_gap(h, l, gap);
    l->heard = l->listed = heard;
}

void hello_link_received(struct hello *h, uint64_t link, mono_ms at)
{
    struct hello_link *l = link_find(h, link);
    if (l)
        l->received = at;
}

/* How late we are tells how loaded the machine is. Half a second is no load any more, but a stop. */
static void learn_lateness(struct hello *h, mono_ms now)
{
    if (h->deadline == MONO_MS_NEVER || now < h->deadline || now - h->deadline > 500)
        return;
    uint32_t late = (uint32_t)(now - h->deadline);
    if (late >= h->lateness)
        h->lateness = late;
    else
        h->lateness -= (h->lateness - late + 31) / 32;
}

/* If we have been held up, the time did not pass for anybody: what the others sent may still be waiting to be read. */
static void notice_delay(struct hello *h, mono_ms now)
{
    if (h->deadline == MONO_MS_NEVER || now - h->deadline < HELD_UP)
        return;
    mono_ms late = now - h->deadline + HELD_UP; /* and time to read it */
    for (struct hello_link *l = h->links; l; l = l->hh.next) {
        l->heard = l->heard == 0 ? 0 : l->heard + late < now ? l->heard + late : now;
        l->listed = l->listed + late < now ? l->listed + late : now;
    }
    h->deadline = now;
}

enum err hello_receive(struct hello *h, uint64_t link, struct slice id, struct start start, struct amqp_compound seen,
                       mono_ms now)
{
    struct hello_link *l = link_find(h, link);
    if (l == NULL)
        return ERR_NOT_FOUND;
    notice_delay(h, now);
    if (!may_join(h, l, id, start)) {
        link_refuse(h, l, id, start, now);
        update_deadline(h);
        return OK;
    }
    link_meet(h, l, id, start);
    learn_gap(h, l, now - l->heard);
    l->heard = now;
    bool names_us = false;
    for (uint32_t i = 0; i < seen.count && !names_us; i++) {
        struct slice name = {0};
        enum err e = amqp_read_text(&seen.in, &name);
        ASSERT(e == OK); /* checked while decoding */
        names_us = amqp_slice_is(name, h->conf.id);
    }
    if (names_us) {
        l->listed = now;
        link_become(h, l, LINK_UP);
    } else if (l->state == LINK_UP) {
        link_become(h, l, LINK_HEARD); /* it has lost us: what we send that way is not taken for a neighbour's */
    }
    if (!l->was_told && is_named_on(h, l, l))
        link_send(h, l, now); /* it need not wait for our next one */
    update_deadline(h);
    return OK;
}

/* ---- time ---- */

static mono_ms silent_at(const struct hello *h, const struct hello_link *l)
{
    if (!is_known(l))
        return MONO_MS_NEVER;
    mono_ms heard = l->state == LINK_UP ? l->listed : l->heard, age = link_age(h, l);
    mono_ms latest = heard + (age > h->conf.max_age ? age : h->conf.max_age);
    mono_ms silent = (l->received > heard ? l->received : heard) + age;
    return (silent < latest ? silent : latest) + 1;
}

static void update_deadline(struct hello *h)
{
    h->deadline = MONO_MS_NEVER;
    for (struct hello_link *l = h->links; l; l = l->hh.next) {
        mono_ms silent = silent_at(h, l);
        if (l->next_send < h->deadline)
            h->deadline = l->next_send;
        if (silent < h->deadline)
            h->deadline = silent;
    }
}

mono_ms hello_deadline(const struct hello *h)
{
    return h->deadline;
}

mono_ms hello_tick(struct hello *h, mono_ms now)
{
    if (now < h->deadline)
        return h->deadline;
    learn_lateness(h, now);
    notice_delay(h, now);
    for (struct hello_link *l = h->links; l; l = l->hh.next) {
        if (silent_at(h, l) <= now)
            link_become(h, l, now - l->heard > link_age(h, l) ? LINK_SILENT : LINK_HEARD);
        if (l->next_send <= now)
            link_send(h, l, now);
    }
    update_deadline(h);
    return h->deadline;
}
