#include <router/route/routed_session.h>

#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/hash.h>
#include <trunkline/base/list.h>

struct routed_session {
    struct list node; /* in the connection's busy or idle ones; in none once it is over */
    struct amqp_session *engine;
    struct routed_session_key key;    /* of those that share it; while it has links */
    struct routed_session *same_hash; /* chain in by_key */
    uint32_t links;
    bool is_over; /* one side has ended it: no link is to come any more */
};

struct routed_sessions {
    struct list busy, idle;
    uint32_t idle_count;
    struct u32map by_key;    /* of those busy; colliding ones are chained */
    struct u32map by_number; /* of the engine's session; also those that are over */
    struct u32map by_name;   /* struct routed_name; colliding ones are chained */
};

static struct routed_sessions *sessions_of(struct connection *c)
{
    if (!c->routed_sessions) {
        struct routed_sessions *all = c->routed_sessions = xcalloc(1, sizeof *all);
        list_init(&all->busy);
        list_init(&all->idle);
        u32map_init(&all->by_key);
        u32map_init(&all->by_number);
        u32map_init(&all->by_name);
    }
    return c->routed_sessions;
}

static uint32_t hash_of_key(const struct routed_session_key *key)
{
    uint64_t words[2] = {key->connection, key->number};
    return (uint32_t)hash_octets(words, sizeof words);
}

static bool key_equal(const struct routed_session_key *a, const struct routed_session_key *b)
{
    return a->connection == b->connection && a->number == b->number;
}

static struct routed_session *find(const struct routed_sessions *all, const struct routed_session_key *key)
{
    struct routed_session *s = u32map_get(&all->by_key, hash_of_key(key));
    while (s && !key_equal(&s->key, key))
        s = s->same_hash;
    return s;
}

/* The links of this near session are to find it. */
static void make_known(struct routed_sessions *all, struct routed_session *s, const struct routed_session_key *key)
{
    s->key = *key;
    uint32_t hash = hash_of_key(key);
    s->same_hash = u32map_get(&all->by_key, hash);
    u32map_put(&all->by_key, hash, s);
}

static void forget(struct routed_sessions *all, struct routed_session *s)
{
    uint32_t hash = hash_of_key(&s->key);
    struct routed_session *first = u32map_get(&all->by_key, hash), **at = &first;
    while (*at && *at != s)
        at = &(*at)->same_hash;
    if (!*at)
        return;
    *at = s->same_hash;
    if (first)
        u32map_put(&all->by_key, hash, first);
    else
        u32map_remove(&all->by_key, hash);
}

static struct routed_session *session_new(struct routed_sessions *all, struct amqp_session *engine)
{
    struct routed_session *s = xcalloc(1, sizeof *s);
    s->engine = engine;
    list_append(&all->busy, &s->node);
    u32map_put(&all->by_number, amqp_session_number(engine), s);
    return s;
}

/* No link takes part in it any more that does not yet. */
static void retire(struct routed_sessions *all, struct routed_session *s)
{
    if (s->is_over)
        return;
    s->is_over = true;
    list_remove(&s->node);
    if (s->links)
        forget(all, s);
    else
        all->idle_count--;
}

/* The engine ends a session whose peer breaks its rules, and tells nobody until the peer has ended it, too. */
static bool is_open(const struct routed_session *s)
{
    return amqp_session_is_open(s->engine);
}

/* The first one of these that links can come into; NULL: none. Others are retired. */
static struct routed_session *first_open(struct routed_sessions *all, struct list *sessions)
{
    list_for_each_safe(n, sessions)
    {
        struct routed_session *s = list_entry(n, struct routed_session, node);
        if (is_open(s))
            return s;
        retire(all, s);
    }
    return NULL;
}

/* One for the links of another near session. */
static enum err session_for(struct connection *c, struct routed_sessions *all, const struct routed_session_key *key,
                            struct routed_session **out)
{
    struct amqp_session *engine;
    if ((*out = first_open(all, &all->idle))) {
        all->idle_count--;
        list_remove(&(*out)->node);
        list_append(&all->busy, &(*out)->node);
    } else {
        enum err e = amqp_session_begin(&c->amqp, &engine);
        if (e == ERR_LIMIT && (*out = first_open(all, &all->busy)))
            return OK;
        if (e != OK)
            return e;
        *out = session_new(all, engine);
    }
    make_known(all, *out, key);
    return OK;
}

enum err routed_session_take(struct connection *c, const struct routed_session_key *key, struct routed_session **out)
{
    struct routed_sessions *all = sessions_of(c);
    struct routed_session *s = find(all, key);
    if (s && !is_open(s)) {
        retire(all, s);
        s = NULL;
    }
    enum err e = s ? OK : session_for(c, all, key, &s);
    if (e != OK)
        return e;
    s->links++;
    *out = s;
    return OK;
}

void routed_session_give(struct connection *c, struct routed_session **at)
{
    struct routed_session *s = *at;
    *at = NULL;
    if (!s)
        return;
    ASSERT(s->links > 0);
    if (--s->links || s->is_over)
        return;
    struct routed_sessions *all = c->routed_sessions;
    forget(all, s);
    list_remove(&s->node);
    if (!is_open(s)) {
        s->is_over = true;
        return;
    }
    if (all->idle_count < ROUTED_SESSIONS_IDLE_MAX) {
        list_append(&all->idle, &s->node);
        all->idle_count++;
        return;
    }
    u32map_remove(&all->by_number, amqp_session_number(s->engine));
    amqp_session_end(s->engine, NULL);
    free(s);
}

struct amqp_session *routed_session_engine(const struct routed_session *s)
{
    return s->engine;
}

/* The one that is this engine's; NULL: none. */
static struct routed_session *find_engine(const struct connection *c, const struct amqp_session *engine)
{
    const struct routed_sessions *all = c->routed_sessions;
    struct routed_session *s = all ? u32map_get(&all->by_number, amqp_session_number(engine)) : NULL;
    return s && s->engine == engine ? s : NULL;
}

void routed_session_ended(struct connection *c, const struct amqp_session *engine)
{
    struct routed_session *s = find_engine(c, engine);
    if (s)
        retire(c->routed_sessions, s);
}

void routed_session_gone(struct connection *c, const struct amqp_session *engine)
{
    struct routed_session *s = find_engine(c, engine);
    if (!s)
        return;
    ASSERT(s->links == 0);
    retire(c->routed_sessions, s);
    u32map_remove(&c->routed_sessions->by_number, amqp_session_number(engine));
    free(s);
}

/* ---- names ---- */

static uint32_t hash_of_name(const char *name, bool is_sender)
{
    return (uint32_t)hash_octets(name, strlen(name)) ^ is_sender;
}

bool routed_session_claim(struct connection *c, struct routed_name *n, const char *name, bool is_sender)
{
    struct routed_sessions *all = sessions_of(c);
    uint32_t hash = hash_of_name(name, is_sender);
    struct routed_name *first = u32map_get(&all->by_name, hash);
    for (const struct routed_name *other = first; other; other = other->same_hash)
        if (other->is_sender == is_sender && strcmp(other->text, name) == 0)
            return false;
    *n = (struct routed_name){.same_hash = first, .text = name, .is_sender = is_sender};
    u32map_put(&all->by_name, hash, n);
    return true;
}

void routed_session_release(struct connection *c, struct routed_name *n)
{
    if (!n->text)
        return;
    struct u32map *names = &c->routed_sessions->by_name;
    uint32_t hash = hash_of_name(n->text, n->is_sender);
    struct routed_name *first = u32map_get(names, hash), **at = &first;
    while (*at != n)
        at = &(*at)->same_hash;
    *at = n->same_hash;
    if (first)
        u32map_put(names, hash, first);
    else
        u32map_remove(names, hash);
    n->text = NULL;
}

void routed_sessions_free(struct routed_sessions **at)
{
    struct routed_sessions *all = *at;
    *at = NULL;
    if (!all)
        return;
    ASSERT(all->by_number.count == 0 && all->by_name.count == 0);
    u32map_fini(&all->by_key);
    u32map_fini(&all->by_number);
    u32map_fini(&all->by_name);
    free(all);
}
