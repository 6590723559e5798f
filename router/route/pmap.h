/* pmap.h -- persistent maps from octets to counted objects: a change makes a new version and leaves the old one whole.
 *
 * Versions share what they have in common, so a change costs O(log n), and a version may be read by workers while
 * control makes the next. A map is the pointer to its root; NULL is the empty map.
 *
 * It is a treap whose priorities are hashes of the keys: equal contents have equal shape whatever the order of changes,
 * and expected depth is logarithmic. Keys are names from configuration, not chosen by a peer.
 *
 * Thread: any may read a version it holds a count of; with/without by one thread at a time for each line of versions.
 */
#ifndef TRUNKLINE_ROUTE_PMAP_H
#define TRUNKLINE_ROUTE_PMAP_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded first in what several owners share. The last to let go frees it, on its own thread. */
struct counted;
typedef void counted_free_fn(struct counted *c);
struct counted {
    _Atomic uint32_t refs; /* down: release, so that what an owner did happens before the last one's acquire and free */
    counted_free_fn *free;
};

static inline void counted_init(struct counted *c, counted_free_fn *fn)
{
    atomic_init(&c->refs, 1);
    c->free = fn;
}

static inline void counted_ref(struct counted *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

static inline void counted_unref(struct counted *c)
{
    if (c != NULL && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
        c->free(c);
}

struct pmap;

/* The value at this key, borrowed for as long as the version; NULL: none. */
struct counted *pmap_get(const struct pmap *m, const char *key, size_t len);

/* A version of m that has value at key, replacing what was there.
 *   Ownership: the caller's count of value is taken; m stays the caller's; the result is the caller's. */
struct pmap *pmap_with(struct pmap *m, const char *key, size_t len, struct counted *value);

/* A version of m without that key (a count of m itself if there is none). */
struct pmap *pmap_without(struct pmap *m, const char *key, size_t len);

struct pmap *pmap_ref(struct pmap *m);
void pmap_unref(struct pmap *m);

#endif
