#include <router/route/container.h>

#include <router/route/connection.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <uthash.h>

enum { NAMINGS = 2 };

/* A name that somebody watches or a connection answers to. */
struct container_name {
    UT_hash_handle hh;
    struct list watches;     /* struct container_watch.of_name, the first that came first */
    struct list connections; /* struct answerer.of_name, likewise */
    size_t key_len;
    char key[]; /* a letter for the naming, then the text */
};

/* A connection under one of its names. */
struct answerer {
    struct list of_name;
    struct container_name *name; /* NULL: it has none of this kind */
    struct connection *conn;     /* borrowed until it is gone */
};

/* A connection that is open. */
struct container {
    UT_hash_handle hh;
    uint64_t connection;
    struct answerer by[NAMINGS];
};

static struct container_name *names; /* by key */
static struct container *containers; /* by connection */

static struct container_name *name_get(int by, const char *text)
{
    size_t len = 1 + strlen(text);
    struct container_name *n = xcalloc(1, sizeof *n + len + 1), *known;
    n->key[0] = (char)('a' + by);
    memcpy(n->key + 1, text, len);
    n->key_len = len;
    HASH_FIND(hh, names, n->key, n->key_len, known);
    if (known) {
        free(n);
        return known;
    }
    list_init(&n->watches);
    list_init(&n->connections);
    HASH_ADD_KEYPTR(hh, names, n->key, n->key_len, n);
    return n;
}

static void name_unused(struct container_name *n)
{
    if (!list_is_empty(&n->watches) || !list_is_empty(&n->connections))
        return;
    HASH_DELETE(hh, names, n);
    free(n);
}

void container_watch(struct container_watch *w, enum container_naming by, const char *name)
{
    struct container_name *n = name_get((int)by, name);
    w->name = n;
    list_append(&n->watches, &w->of_name);
    for (struct list *at = n->connections.next; w->name && at != &n->connections; at = at->next)
        w->opened(w, list_entry(at, struct answerer, of_name)->conn);
}

void container_unwatch(struct container_watch *w)
{
    if (!w->name)
        return;
    list_remove(&w->of_name);
    struct container_name *n = w->name;
    w->name = NULL;
    name_unused(n);
}

/* A listener or connector without a name of the user's is called "listener/host:port:n": that is not a name to be
 * found by (management reference 4.6, linkRoute). */
static const char *name_of(const struct connection *c, int by)
{
    if (by == CONTAINER_BY_ID)
        return c->container;
    const char *name = c->settings->name;
    bool by_user = name && strncmp(name, "listener/", 9) != 0 && strncmp(name, "connector/", 10) != 0;
    return by_user ? name : NULL;
}

void container_connection_opened(struct connection *c)
{
    if (c->settings->role != ROLE_ROUTE_CONTAINER)
        return;
    struct container *k = xcalloc(1, sizeof *k);
    k->connection = c->id;
    HASH_ADD(hh, containers, connection, sizeof k->connection, k);
    for (int by = 0; by < NAMINGS; by++) {
        const char *text = name_of(c, by);
        k->by[by].conn = c;
        list_init(&k->by[by].of_name);
        if (!text)
            continue;
        struct container_name *n = k->by[by].name = name_get(by, text);
        list_append(&n->connections, &k->by[by].of_name);
        list_for_each_safe(at, &n->watches)
        {
            struct container_watch *w = list_entry(at, struct container_watch, of_name);
            w->opened(w, c);
        }
    }
}

void container_connection_gone(struct connection *c)
{
    struct container *k;
    HASH_FIND(hh, containers, &c->id, sizeof c->id, k);
    if (!k)
        return;
    for (int by = 0; by < NAMINGS; by++) {
        struct container_name *n = k->by[by].name;
        if (!n)
            continue;
        list_for_each_safe(at, &n->watches)
        {
            struct container_watch *w = list_entry(at, struct container_watch, of_name);
            w->gone(w, c);
        }
        list_remove(&k->by[by].of_name);
        name_unused(n);
    }
    HASH_DELETE(hh, containers, k);
    free(k);
}
