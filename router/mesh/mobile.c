#include "mobile.h"

#include "wire.h"

#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/log.h>
#include <uthash.h>

enum own_state { OWN_NEW, OWN_ANNOUNCED, OWN_GONE };

struct own {
    UT_hash_handle hh; /* in mobile.own, by key, in the order of adding */
    enum own_state state;
    int hint;
    char key[];
};

struct theirs {
    UT_hash_handle hh; /* in remote.keys, by key */
    int hint;
    uint32_t mark; /* remote.mark of the last list of all that had it */
    char key[];
};

struct remote {
    struct theirs *keys;
    int64_t known;
    uint32_t mark;
    bool is_reachable;
    bool needs_all; /* updates are not believed: it was restarted */
};

struct mobile {
    struct mobile_owner *owner;
    uint32_t max_addresses;
    struct own *own;
    uint32_t new_count, gone_count;
    int64_t seq;
    struct remote *remotes; /* by router */
    uint32_t remote_count;
    /* lists that were handed out last */
    const char **add, **del;
    int32_t *hints;
    struct own **dropped; /* deleted by the last update: freed when the next call comes */
    uint32_t dropped_count;
};

struct mobile *mobile_new(uint32_t max_addresses, struct mobile_owner *owner)
{
    struct mobile *m = xcalloc(1, sizeof *m);
    m->max_addresses = max_addresses;
    m->owner = owner;
    return m;
}

static void release_lists(struct mobile *m)
{
    for (uint32_t i = 0; i < m->dropped_count; i++)
        free(m->dropped[i]);
    free(m->dropped);
    free(m->add);
    free(m->del);
    free(m->hints);
    m->dropped = NULL;
    m->dropped_count = 0;
    m->add = m->del = NULL;
    m->hints = NULL;
}

static void clear_remote(struct remote *r)
{
    struct theirs *t, *next;
    HASH_ITER(hh, r->keys, t, next)
    {
        HASH_DEL(r->keys, t);
        free(t);
    }
}

void mobile_free(struct mobile **mp)
{
    struct mobile *m = *mp;
    if (m == NULL)
        return;
    struct own *o, *next;
    HASH_ITER(hh, m->own, o, next)
    {
        HASH_DEL(m->own, o);
        free(o);
    }
    for (uint32_t i = 0; i < m->remote_count; i++)
        clear_remote(&m->remotes[i]);
    release_lists(m);
    free(m->remotes);
    free(m);
    *mp = NULL;
}

/* Only these classes are announced; with any other one a router could claim what is another one's own. */
static bool is_announced_key(const char *key, size_t n)
{
    if (n > WIRE_KEY_MAX || memchr(key, '\0', n))
        return false;
    if (n >= 3 && key[0] == 'M')
        return (key[1] >= '0' && key[1] <= '9') || key[1] == 'F';
    return n >= 2 && strchr("CDEFH", key[0]) != NULL;
}

/* ---- ours ---- */

static struct own *find_own(const struct mobile *m, const char *key)
{
    struct own *o;
    HASH_FIND(hh, m->own, key, strlen(key), o);
    return o;
}

enum err mobile_add(struct mobile *m, const char *key, int hint)
{
    size_t n = strlen(key);
    if (!is_announced_key(key, n))
        return ERR_INVALID;
    struct own *o = find_own(m, key);
    if (o && o->state == OWN_GONE) {
        o->state = OWN_ANNOUNCED;
        o->hint = hint;
        m->gone_count--;
        return OK;
    }
    if (o) {
        o->hint = hint;
        return ERR_EXISTS;
    }
    o = xcalloc(1, sizeof *o + n + 1);
    memcpy(o->key, key, n);
    o->hint = hint;
    o->state = OWN_NEW;
    m->new_count++;
    HASH_ADD_KEYPTR(hh, m->own, o->key, n, o);
    return OK;
}

enum err mobile_remove(struct mobile *m, const char *key)
{
    struct own *o = find_own(m, key);
    if (o == NULL || o->state == OWN_GONE)
        return ERR_NOT_FOUND;
    if (o->state == OWN_ANNOUNCED) {
        o->state = OWN_GONE;
        m->gone_count++;
        return OK;
    }
    m->new_count--;
    HASH_DEL(m->own, o);
    free(o);
    return OK;
}

bool mobile_is_pending(const struct mobile *m)
{
    return m->new_count || m->gone_count;
}

int64_t mobile_seq(const struct mobile *m)
{
    return m->seq;
}

void mobile_skip_to(struct mobile *m, int64_t seq)
{
    ASSERT(seq >= m->seq);
    m->seq = seq;
}

static void make_lists(struct mobile *m, uint32_t adds, uint32_t dels)
{
    release_lists(m);
    m->add = xcalloc(adds + 1, sizeof *m->add);
    m->hints = xcalloc(adds + 1, sizeof *m->hints);
    m->del = xcalloc(dels + 1, sizeof *m->del);
    m->dropped = xcalloc(dels + 1, sizeof *m->dropped);
}

bool mobile_update(struct mobile *m, struct mobile_list *out)
{
    if (!mobile_is_pending(m))
        return false;
    make_lists(m, m->new_count, m->gone_count);
    uint32_t adds = 0, dels = 0;
    struct own *o, *next;
    HASH_ITER(hh, m->own, o, next)
    {
        if (o->state == OWN_NEW) {
            o->state = OWN_ANNOUNCED;
            m->add[adds] = o->key;
            m->hints[adds++] = o->hint;
        } else if (o->state == OWN_GONE) {
            HASH_DEL(m->own, o);
            m->dropped[dels] = o;
            m->del[dels++] = o->key;
        }
    }
    m->dropped_count = dels;
    m->new_count = m->gone_count = 0;
    m->seq++;
    *out = (struct mobile_list){m->add, m->hints, adds, m->del, dels};
    return true;
}

void mobile_all(struct mobile *m, struct mobile_list *out)
{
    make_lists(m, HASH_COUNT(m->own), 0);
    uint32_t n = 0;
    for (struct own *o = m->own; o; o = o->hh.next)
        if (o->state != OWN_NEW) {
            m->add[n] = o->key;
            m->hints[n++] = o->hint;
        }
    *out = (struct mobile_list){m->add, m->hints, n, NULL, 0};
}

/* ---- theirs ---- */

static struct remote *remote_of(struct mobile *m, uint32_t router)
{
    if (router >= m->remote_count) {
        uint32_t n = router * 2 + 8;
        m->remotes = xrealloc(m->remotes, n * sizeof *m->remotes);
        memset(m->remotes + m->remote_count, 0, (n - m->remote_count) * sizeof *m->remotes);
        m->remote_count = n;
    }
    return &m->remotes[router];
}

static void map(struct mobile *m, uint32_t router, const struct remote *r, const struct theirs *t)
{
    if (r->is_reachable)
        m->owner->mapped(m->owner, t->key, router, t->hint);
}

static void unmap(struct mobile *m, uint32_t router, const struct remote *r, const struct theirs *t)
{
    if (r->is_reachable)
        m->owner->unmapped(m->owner, t->key, router);
}

static struct theirs *find_theirs(const struct remote *r, struct slice key)
{
    struct theirs *t;
    HASH_FIND(hh, r->keys, key.data, key.len, t);
    return t;
}

static void add_theirs(struct mobile *m, uint32_t router, struct remote *r, struct slice key, int hint)
{
    struct theirs *t = find_theirs(r, key);
    if (t == NULL && !is_announced_key((const char *)key.data, key.len)) {
        LOG_PEER(ROUTER_MA, WARNING, "address-ignored router=%u: not a key that routers announce", router);
        return;
    }
    if (t == NULL && HASH_COUNT(r->keys) >= m->max_addresses) {
        LOG_PEER(ROUTER_MA, ERROR_LEVEL, "too-many-addresses router=%u max=%u: more are ignored; raise the limit",
                 router, m->max_addresses);
        return;
    }
    if (t == NULL) {
        t = xcalloc(1, sizeof *t + key.len + 1);
        memcpy(t->key, key.data, key.len);
        t->hint = hint;
        HASH_ADD_KEYPTR(hh, r->keys, t->key, key.len, t);
        map(m, router, r, t);
    }
    t->mark = r->mark;
}

static void drop_theirs(struct mobile *m, uint32_t router, struct remote *r, struct theirs *t)
{
    unmap(m, router, r, t);
    HASH_DEL(r->keys, t);
    free(t);
}

/* Hints come as many as keys, or not at all. */
static int next_hint(struct amqp_compound *hints)
{
    int64_t hint;
    if (!wire_next_integer(hints, &hint) || hint < 0 || hint > MOBILE_HINT_LAST)
        return MOBILE_HINT_NONE;
    return (int)hint;
}

enum err mobile_receive_update(struct mobile *m, uint32_t router, int64_t seq, struct amqp_compound add,
                               struct amqp_compound hints, struct amqp_compound del)
{
    struct remote *r = remote_of(m, router);
    if (seq <= r->known)
        return ERR_EXISTS;
    if (seq != r->known + 1 || r->needs_all)
        return ERR_AGAIN;
    struct slice key;
    while (wire_next_text(&add, &key))
        add_theirs(m, router, r, key, next_hint(&hints));
    while (wire_next_text(&del, &key)) {
        struct theirs *t = find_theirs(r, key);
        if (t)
            drop_theirs(m, router, r, t);
    }
    r->known = seq;
    return OK;
}

enum err mobile_receive_all(struct mobile *m, uint32_t router, int64_t seq, struct amqp_compound exist,
                            struct amqp_compound hints)
{
    struct remote *r = remote_of(m, router);
    if (seq < r->known)
        return ERR_EXISTS;
    r->mark++;
    /* Deleted ones go first, so that the limit counts what is there now. */
    struct amqp_compound keys = exist;
    struct slice key;
    while (wire_next_text(&keys, &key)) {
        struct theirs *t = find_theirs(r, key);
        if (t)
            t->mark = r->mark;
    }
    struct theirs *t, *next;
    HASH_ITER(hh, r->keys, t, next)
    if (t->mark != r->mark)
        drop_theirs(m, router, r, t);
    while (wire_next_text(&exist, &key))
        add_theirs(m, router, r, key, next_hint(&hints));
    r->known = seq;
    r->needs_all = false;
    return OK;
}

int64_t mobile_known(const struct mobile *m, uint32_t router)
{
    return router < m->remote_count ? m->remotes[router].known : 0;
}

uint32_t mobile_count(const struct mobile *m, uint32_t router)
{
    return router < m->remote_count ? HASH_COUNT(m->remotes[router].keys) : 0;
}

void mobile_set_reachable(struct mobile *m, uint32_t router, bool reachable)
{
    struct remote *r = remote_of(m, router);
    if (r->is_reachable == reachable)
        return;
    for (struct theirs *t = r->keys; t && !reachable; t = t->hh.next)
        unmap(m, router, r, t);
    r->is_reachable = reachable;
    for (struct theirs *t = r->keys; t && reachable; t = t->hh.next)
        map(m, router, r, t);
}

void mobile_restarted(struct mobile *m, uint32_t router)
{
    mobile_forget(m, router);
    remote_of(m, router)->needs_all = true;
}

void mobile_forget(struct mobile *m, uint32_t router)
{
    struct remote *r = remote_of(m, router);
    for (struct theirs *t = r->keys; t; t = t->hh.next)
        unmap(m, router, r, t);
    clear_remote(r);
    r->known = 0;
    r->needs_all = false;
}
