#include <router/route/autolink.h>

#include <router/route/address_name.h>
#include <router/route/connection.h>
#include <router/route/here.h>
#include <router/route/own_link.h>
#include <router/route/phase.h>
#include <router/route/registry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/log.h>
#include <trunkline/io/loop.h>
#include <uthash.h>

/* After a failure, and after each that follows it (wire-protocol reference 2.8). */
enum { RETRY_FIRST_MS = 3000, RETRY_AGAIN_MS = 6000 };

struct autolink {
    struct list node;
    UT_hash_handle hh; /* by identity */
    uint64_t identity;
    struct autolink_conf conf; /* texts are ours */
    char *key;                 /* of the address here */
    struct container_watch watch;
    struct list places; /* struct place, of each open connection */
    char *last_error;
};

/* An autoLink on one connection. */
struct place {
    struct list node;
    struct autolink *autolink;
    struct connection *conn; /* good until it is told gone */
    enum autolink_state state;
    struct own_link *link; /* NULL: failed */
    struct own_link_owner owner;
    struct timer retry;
    bool has_failed; /* since it was attached last */
    bool is_alone;   /* the container ends sessions: one queue that it does not have must not take others with it */
};

static struct {
    struct loop *loop;
    const struct route_world *world;
    struct list all;
    struct autolink *by_identity;
    uint32_t count;
} module;

const char *autolink_state_text(enum autolink_state s)
{
    static const char *const texts[] = {[AUTOLINK_INACTIVE] = "inactive",
                                        [AUTOLINK_ATTACHING] = "attaching",
                                        [AUTOLINK_FAILED] = "failed",
                                        [AUTOLINK_ACTIVE] = "active"};
    return texts[s];
}

static void log_change(const struct autolink *a, const char *what, const char *error)
{
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)a->identity);
    LOG_IF(ROUTER_CORE, INFO, "Auto Link %s%s%s '%s' on %s %s", what, error ? " " : "", error ? error : "",
           a->conf.name ? a->conf.name : number, a->conf.by == CONTAINER_BY_ID ? "container" : "connection",
           a->conf.container);
}

/* ---- one place ---- */

static void place_attach(struct place *p) ON_CONTROL
{
    const struct autolink *a = p->autolink;
    const char *at_container = a->conf.external ? a->conf.external : a->conf.address;
    const struct own_link_conf conf = {
        .conn = p->conn,
        .session = p->is_alone ? OWN_SESSION_ALONE : OWN_SESSION_MESSAGES,
        .is_sender = !a->conf.is_in,
        .source = a->conf.is_in ? at_container : NULL,
        .target = a->conf.is_in ? NULL : at_container,
        .key = a->key,
        .is_made_anyway = true,
        .is_from_fallback = a->conf.is_in && a->conf.is_fallback,
    };
    p->state = AUTOLINK_ATTACHING;
    p->link = own_link_open(&conf, &p->owner);
}

static void on_retry(struct timer *t)
{
    assert_on_control();
    place_attach(container_of(t, struct place, retry));
}

static void on_attached(struct own_link_owner *o, const struct own_link_answer *answer)
{
    assert_on_control();
    (void)answer;
    struct place *p = container_of(o, struct place, owner);
    p->state = AUTOLINK_ACTIVE;
    p->has_failed = false;
    free(p->autolink->last_error);
    p->autolink->last_error = NULL;
    log_change(p->autolink, "Activated", NULL);
}

static const char *error_of(const struct own_link_end *e)
{
    if (e->description)
        return e->description;
    return e->condition ? e->condition : "the container detached the link without an error";
}

static bool is_same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* The place is not attached any more, or was refused: note why. */
static void place_fail(struct place *p, const struct own_link_end *e) ON_CONTROL
{
    struct autolink *a = p->autolink;
    bool is_known = p->state == AUTOLINK_FAILED && is_same(a->last_error, error_of(e));
    p->state = AUTOLINK_FAILED;
    free(a->last_error);
    a->last_error = xstrdup(error_of(e));
    if (!is_known && (e->condition || !e->was_attached))
        log_change(a, e->was_attached ? "Deactivated." : "Activation Failed.", a->last_error);
}

static void on_refused(struct own_link_owner *o, const struct own_link_end *e)
{
    assert_on_control();
    place_fail(container_of(o, struct place, owner), e);
}

/* Also when its connection has gone: then that is told next, and the place with its timer goes. */
static void on_ended(struct own_link_owner *o, const struct own_link_end *e)
{
    assert_on_control();
    struct place *p = container_of(o, struct place, owner);
    own_link_close(&p->link);
    p->is_alone = p->is_alone || e->with_session;
    place_fail(p, e);
    loop_timer_after(module.loop, &p->retry, p->has_failed ? RETRY_AGAIN_MS : RETRY_FIRST_MS);
    p->has_failed = true;
}

static void place_free(struct place *p) ON_CONTROL
{
    own_link_close(&p->link);
    timer_cancel(&p->retry);
    list_remove(&p->node);
    free(p);
}

/* ---- connections ---- */

static void on_opened(struct container_watch *w, struct connection *c)
{
    assert_on_control();
    struct autolink *a = container_of(w, struct autolink, watch);
    struct place *p = xcalloc(1, sizeof *p);
    p->autolink = a;
    p->conn = c;
    p->owner = (struct own_link_owner){.attached = on_attached, .refused = on_refused, .ended = on_ended};
    timer_init(&p->retry, on_retry);
    list_append(&a->places, &p->node);
    place_attach(p);
}

static void on_gone(struct container_watch *w, struct connection *c)
{
    assert_on_control();
    struct autolink *a = container_of(w, struct autolink, watch);
    list_for_each_safe(n, &a->places)
    {
        struct place *p = list_entry(n, struct place, node);
        if (p->conn == c)
            place_free(p);
    }
    if (!list_is_empty(&a->places))
        return;
    free(a->last_error);
    a->last_error = NULL;
    log_change(a, "Deactivated", NULL);
}

/* ---- all of them ---- */

void autolinks_start(struct loop *loop, const struct route_world *world)
{
    module.loop = loop;
    module.world = world;
    list_init(&module.all);
}

static char *key_of(const struct autolink_conf *conf) ON_CONTROL
{
    size_t len = strlen(conf->address), size = len + ADDRESS_KEY_EXTRA + ROUTER_ID_MAX + 1;
    char *key = xmalloc(size);
    bool to_fallback = conf->is_fallback && !conf->is_in;
    char phase = to_fallback ? PHASE_FALLBACK : (char)('0' + conf->phase);
    size_t n = address_name_key(&module.world->identity, conf->address, len, phase, key, size - 1);
    key[n] = '\0';
    if (n)
        return key;
    free(key);
    return NULL;
}

static char *copy_or_null(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

enum err autolink_add(const struct autolink_conf *conf, struct autolink **out)
{
    char *key = key_of(conf);
    if (!key)
        return ERR_INVALID;
    struct autolink *a = xcalloc(1, sizeof *a);
    a->identity = registry_next_identity();
    a->key = key;
    a->conf = *conf;
    a->conf.name = copy_or_null(conf->name);
    a->conf.address = xstrdup(conf->address);
    a->conf.external = copy_or_null(conf->external);
    a->conf.container = copy_or_null(conf->container);
    list_init(&a->places);
    list_append(&module.all, &a->node);
    HASH_ADD(hh, module.by_identity, identity, sizeof a->identity, a);
    module.count++;
    a->watch.opened = on_opened;
    a->watch.gone = on_gone;
    *out = a;
    if (conf->container)
        container_watch(&a->watch, conf->by, conf->container);
    return OK;
}

void autolink_remove(struct autolink *a)
{
    container_unwatch(&a->watch);
    list_for_each_safe(n, &a->places) place_free(list_entry(n, struct place, node));
    list_remove(&a->node);
    HASH_DELETE(hh, module.by_identity, a);
    module.count--;
    free((char *)a->conf.name);
    free((char *)a->conf.address);
    free((char *)a->conf.external);
    free((char *)a->conf.container);
    free(a->key);
    free(a->last_error);
    free(a);
}

void autolinks_stop(void)
{
    list_for_each_safe(n, &module.all) autolink_remove(list_entry(n, struct autolink, node));
}

struct autolink *autolink_find(uint64_t identity)
{
    struct autolink *a;
    HASH_FIND(hh, module.by_identity, &identity, sizeof identity, a);
    return a;
}

struct list *autolinks(void)
{
    return &module.all;
}

const struct autolink *autolink_of_node(const struct list *node)
{
    return list_entry(node, struct autolink, node);
}

uint32_t autolink_count(void)
{
    return module.count;
}

const struct autolink_conf *autolink_conf(const struct autolink *a)
{
    return &a->conf;
}

uint64_t autolink_identity(const struct autolink *a)
{
    return a->identity;
}

enum autolink_state autolink_state(const struct autolink *a)
{
    static const int rank[] = {
        [AUTOLINK_INACTIVE] = 0, [AUTOLINK_FAILED] = 1, [AUTOLINK_ATTACHING] = 2, [AUTOLINK_ACTIVE] = 3};
    enum autolink_state best = AUTOLINK_INACTIVE;
    list_for_each(n, &a->places)
    {
        const struct place *p = list_entry(n, struct place, node);
        if (rank[p->state] > rank[best])
            best = p->state;
    }
    return best;
}

const struct link *autolink_link(const struct autolink *a)
{
    list_for_each(n, &a->places)
    {
        const struct place *p = list_entry(n, struct place, node);
        if (p->state == AUTOLINK_ACTIVE && own_link_link(p->link))
            return own_link_link(p->link);
    }
    return NULL;
}

const char *autolink_key(const struct autolink *a)
{
    return a->key;
}

uint32_t autolink_connections(const struct autolink *a)
{
    uint32_t count = 0;
    list_for_each(n, &a->places)
    {
        count++;
    }
    return count;
}

mono_ms autolink_retry(const struct autolink *a)
{
    mono_ms first = 0;
    list_for_each(n, &a->places)
    {
        const struct place *p = list_entry(n, struct place, node);
        if (timer_is_armed(&p->retry) && (first == 0 || p->retry.due < first))
            first = p->retry.due;
    }
    return first;
}

const char *autolink_last_error(const struct autolink *a)
{
    return a->last_error;
}
