#include "pmap.h"

#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/hash.h>
#include <trunkline/base/list.h>

struct pmap {
    struct counted counted;
    struct pmap *left, *right; /* counted; keys less, keys greater; neither's priority is higher than ours */
    struct counted *value;     /* counted */
    uint64_t priority;
    uint32_t len;
    char key[];
};

static int compare(const char *key, size_t len, const struct pmap *m)
{
    int c = memcmp(key, m->key, len < m->len ? len : m->len);
    return c != 0 ? c : (len > m->len) - (len < m->len);
}

static void pmap_free(struct counted *c)
{
    struct pmap *m = container_of(c, struct pmap, counted);
    pmap_unref(m->left);
    pmap_unref(m->right);
    counted_unref(m->value);
    free(m);
}

struct pmap *pmap_ref(struct pmap *m)
{
    if (m != NULL)
        counted_ref(&m->counted);
    return m;
}

void pmap_unref(struct pmap *m)
{
    if (m != NULL)
        counted_unref(&m->counted);
}

/* Takes the counts of value, left and right. */
static struct pmap *node_new(const char *key, size_t len, struct counted *value, struct pmap *left, struct pmap *right)
{
    struct pmap *m = xmalloc(sizeof *m + len);
    counted_init(&m->counted, pmap_free);
    m->left = left;
    m->right = right;
    m->value = value;
    m->priority = hash_octets(key, len);
    m->len = (uint32_t)len;
    memcpy(m->key, key, len);
    return m;
}

/* The same entry with other subtrees, whose counts are taken. */
static struct pmap *node_like(const struct pmap *m, struct pmap *left, struct pmap *right)
{
    counted_ref(m->value);
    return node_new(m->key, m->len, m->value, left, right);
}

struct counted *pmap_get(const struct pmap *m, const char *key, size_t len)
{
    while (m != NULL) {
        int c = compare(key, len, m);
        if (c == 0)
            return m->value;
        m = c < 0 ? m->left : m->right;
    }
    return NULL;
}

/* All of m that is less than key, and all that is greater. */
static void split(struct pmap *m, const char *key, size_t len, struct pmap **less, struct pmap **greater)
{
    struct pmap *inner;
    if (m == NULL) {
        *less = *greater = NULL;
    } else if (compare(key, len, m) < 0) {
        split(m->left, key, len, less, &inner);
        *greater = node_like(m, inner, pmap_ref(m->right));
    } else {
        split(m->right, key, len, &inner, greater);
        *less = node_like(m, pmap_ref(m->left), inner);
    }
}

/* Every key of l is less than every key of r. */
static struct pmap *merge(struct pmap *l, struct pmap *r)
{
    if (l == NULL || r == NULL)
        return pmap_ref(l == NULL ? r : l);
    if (l->priority >= r->priority)
        return node_like(l, pmap_ref(l->left), merge(l->right, r));
    return node_like(r, merge(l, r->left), pmap_ref(r->right));
}

struct pmap *pmap_with(struct pmap *m, const char *key, size_t len, struct counted *value)
{
    if (m == NULL)
        return node_new(key, len, value, NULL, NULL);
    int c = compare(key, len, m);
    if (c == 0)
        return node_new(key, len, value, pmap_ref(m->left), pmap_ref(m->right));
    /* Equal keys have equal priorities, so a key above m is not below it. */
    if (hash_octets(key, len) > m->priority) {
        struct pmap *less, *greater;
        split(m, key, len, &less, &greater);
        return node_new(key, len, value, less, greater);
    }
    if (c < 0)
        return node_like(m, pmap_with(m->left, key, len, value), pmap_ref(m->right));
    return node_like(m, pmap_ref(m->left), pmap_with(m->right, key, len, value));
}

static struct pmap *without_existing(struct pmap *m, const char *key, size_t len)
{
    int c = compare(key, len, m);
    if (c == 0)
        return merge(m->left, m->right);
    if (c < 0)
        return node_like(m, without_existing(m->left, key, len), pmap_ref(m->right));
    return node_like(m, pmap_ref(m->left), without_existing(m->right, key, len));
}

struct pmap *pmap_without(struct pmap *m, const char *key, size_t len)
{
    if (pmap_get(m, key, len) == NULL)
        return pmap_ref(m);
    return without_existing(m, key, len);
}
