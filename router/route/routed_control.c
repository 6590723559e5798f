/* What control knows of routed links. */
#include "routed_link_priv.h"

#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>

/* ---- pairs ---- */

static struct routed_pair *pair_new(const char *key)
{
    struct routed_pair *p = xcalloc(1, sizeof *p);
    atomic_init(&p->refs, 1);
    p->key = xstrdup(key);
    return p;
}

struct routed_pair *routed_pair_ref(struct routed_pair *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void routed_pair_unref(struct routed_pair *p)
{
    if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(p->key);
    free(p);
}

static char *copy_or_null(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

char *routed_with_prefix(const char *prefix, const char *rest)
{
    return xasprintf("%s%s", prefix ? prefix : "", rest);
}

/* text without `removed` in front, if it begins so. */
const char *routed_without_prefix(const char *text, const char *removed)
{
    size_t n = removed ? strlen(removed) : 0;
    return strncmp(text, removed ? removed : "", n) == 0 ? text + n : text;
}

/* A client's link is known to a container by a name of its own; routers pass that on. */
static char *name_at_far_end(const struct link *l)
{
    if (l->conn->settings->role == ROLE_INTER_ROUTER)
        return xstrdup(l->name);
    return xasprintf("%s@%s", l->name, l->conn->container);
}

struct routed_link *routed_link_new(const struct link *l, const struct routed_way *way)
{
    struct routed_link *r = xcalloc(1, sizeof *r);
    r->pair = pair_new(way->key);
    connection_ref(way->to);
    r->to = way->to;
    if (way->keeps_name)
        r->name = xstrdup(l->name);
    *(way->keeps_name ? &r->other_name : &r->name) = name_at_far_end(l);
    r->removed = copy_or_null(way->removed);
    r->added = copy_or_null(way->added);
    if (way->text && (way->removed || way->added || l->conn->tenant))
        r->address = routed_with_prefix(way->added, routed_without_prefix(way->text, way->removed));
    r->peer = LINK_TOKEN_NONE;
    return r;
}

void routed_link_free(struct routed_link **at)
{
    struct routed_link *r = *at;
    *at = NULL;
    if (!r)
        return;
    routed_pair_unref(r->pair);
    if (r->to)
        connection_unref(r->to);
    free(r->name);
    free(r->other_name);
    free(r->address);
    free(r->removed);
    free(r->added);
    free(r);
}

void routed_link_registered(struct link *l)
{
    l->routed->pair->identity[l->routed->is_far] = l->identity;
}

void routed_link_left(struct link *l)
{
    l->routed->pair->identity[l->routed->is_far] = 0;
}

bool routed_link_is_far(const struct link *l)
{
    return l->routed->is_far;
}

uint64_t routed_link_peer(const struct link *l)
{
    return l->routed->pair->identity[!l->routed->is_far];
}

const char *routed_link_key(const struct link *l)
{
    return l->routed->pair->key;
}
