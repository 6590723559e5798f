#include "deliveries.h"

#include <stdlib.h>
#include <string.h>

#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

#define SPARES_MAX 4
#define SMALLEST 8
/* Block numbers are serial numbers of this many bits less. */
#define BLOCK_MASK (UINT32_MAX / DELIVERIES_PAGE)

void deliveries_fini(struct deliveries *m)
{
    if (m->chains)
        for (uint32_t i = 0; i <= m->mask; i++)
            for (struct delivery_page *p = m->chains[i], *next; p; p = next) {
                next = p->next;
                free(p);
            }
    for (struct delivery_page *p = m->spare, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    free(m->chains);
    *m = (struct deliveries){0};
}

static struct delivery_page *page_of(const struct deliveries *m, uint32_t block)
{
    if (m->chains == NULL)
        return NULL;
    struct delivery_page *p = m->chains[block & m->mask];
    while (p && p->block != block)
        p = p->next;
    return p;
}

static void resize(struct deliveries *m, uint32_t size)
{
    struct delivery_page **chains = xcalloc(size, sizeof *chains);
    if (m->chains)
        for (uint32_t i = 0; i <= m->mask; i++)
            for (struct delivery_page *p = m->chains[i], *next; p; p = next) {
                next = p->next;
                p->next = chains[p->block & (size - 1)];
                chains[p->block & (size - 1)] = p;
            }
    free(m->chains);
    m->chains = chains;
    m->mask = size - 1;
}

static struct delivery_page *page_new(struct deliveries *m, uint32_t block)
{
    if (m->chains == NULL)
        resize(m, SMALLEST);
    else if (m->pages > m->mask)
        resize(m, (m->mask + 1) * 2);
    struct delivery_page *p = m->spare;
    if (p) {
        m->spare = p->next;
        m->spares--;
    } else {
        p = xmalloc(sizeof *p);
    }
    p->block = block;
    p->used = 0;
    /* At the front: the newest ids are looked for most, stragglers least. */
    p->next = m->chains[block & m->mask];
    m->chains[block & m->mask] = p;
    m->pages++;
    return p;
}

static void page_free(struct deliveries *m, struct delivery_page *p)
{
    struct delivery_page **at = &m->chains[p->block & m->mask];
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    m->pages--;
    m->removals++;
    if (m->spares < SPARES_MAX) {
        p->next = m->spare;
        m->spare = p;
        m->spares++;
    } else {
        free(p);
    }
    if (m->mask >= SMALLEST * 8 && m->pages < (m->mask + 1) / 8)
        resize(m, (m->mask + 1) / 2);
}

struct amqp_delivery *deliveries_add(struct deliveries *m, uint32_t id)
{
    uint32_t block = id / DELIVERIES_PAGE, bit = 1u << id % DELIVERIES_PAGE;
    struct delivery_page *p = page_of(m, block);
    if (p == NULL)
        p = page_new(m, block);
    else if (p->used & bit)
        return NULL;
    p->used |= bit;
    m->count++;
    struct amqp_delivery *d = &p->at[id % DELIVERIES_PAGE];
    memset(d, 0, sizeof *d);
    d->id = id;
    return d;
}

struct amqp_delivery *deliveries_get(const struct deliveries *m, uint32_t id)
{
    if (m->count == 0)
        return NULL;
    struct delivery_page *p = page_of(m, id / DELIVERIES_PAGE);
    return p && (p->used >> id % DELIVERIES_PAGE & 1) ? &p->at[id % DELIVERIES_PAGE] : NULL;
}

void deliveries_remove(struct deliveries *m, struct amqp_delivery *d)
{
    uint32_t i = d->id % DELIVERIES_PAGE;
    struct delivery_page *p = container_of(d - i, struct delivery_page, at[0]);
    ASSERT(p->used >> i & 1);
    p->used &= ~(1u << i);
    m->count--;
    if (p->used == 0)
        page_free(m, p);
}

/* Entries of one page whose number in the page is from..to. Result: false, the walk was ended. */
static bool walk_page(struct deliveries *m, uint32_t block, uint32_t from, uint32_t to, deliveries_fn *fn, void *arg)
{
    struct delivery_page *p = page_of(m, block);
    uint32_t removals = m->removals;
    for (uint32_t i = from; p && i <= to; i++) {
        if (!(p->used >> i & 1))
            continue;
        if (!fn(&p->at[i], arg))
            return false;
        if (removals != m->removals) {
            p = page_of(m, block);
            removals = m->removals;
        }
    }
    return true;
}

static int nearer(const void *a, const void *b, void *from)
{
    uint32_t base = *(const uint32_t *)from;
    uint32_t x = (*(const uint32_t *)a - base) & BLOCK_MASK, y = (*(const uint32_t *)b - base) & BLOCK_MASK;
    return x < y ? -1 : x > y;
}

/* A range wider than what there is: take the blocks that exist, in order. */
static void walk_sparse(struct deliveries *m, uint32_t first, uint32_t blocks, uint32_t last, deliveries_fn *fn,
                        void *arg)
{
    uint32_t base = first / DELIVERIES_PAGE, n = 0;
    uint32_t *found = xmalloc(m->pages * sizeof *found);
    for (uint32_t i = 0; i <= m->mask; i++)
        for (struct delivery_page *p = m->chains[i]; p; p = p->next)
            if (((p->block - base) & BLOCK_MASK) < blocks)
                found[n++] = p->block;
    qsort_r(found, n, sizeof *found, nearer, &base);
    for (uint32_t i = 0; i < n; i++)
        if (!walk_page(m, found[i], found[i] == base ? first % DELIVERIES_PAGE : 0,
                       found[i] == last / DELIVERIES_PAGE ? last % DELIVERIES_PAGE : DELIVERIES_PAGE - 1, fn, arg))
            break;
    free(found);
}

void deliveries_walk(struct deliveries *m, uint32_t first, uint32_t last, deliveries_fn *fn, void *arg)
{
    if (m->count == 0)
        return;
    uint32_t block = first / DELIVERIES_PAGE, end = last / DELIVERIES_PAGE;
    uint32_t blocks = ((end - block) & BLOCK_MASK) + 1;
    if (blocks > m->pages + SMALLEST) {
        walk_sparse(m, first, blocks, last, fn, arg);
        return;
    }
    for (uint32_t from = first % DELIVERIES_PAGE;; block = (block + 1) & BLOCK_MASK, from = 0) {
        if (!walk_page(m, block, from, block == end ? last % DELIVERIES_PAGE : DELIVERIES_PAGE - 1, fn, arg))
            return;
        if (block == end)
            return;
    }
}

void deliveries_walk_all(struct deliveries *m, deliveries_fn *fn, void *arg)
{
    /* From block 0 all round: entries that straddle the wrap come in two parts, which matters to nobody who wants them
     * all. */
    if (m->count)
        walk_sparse(m, 0, BLOCK_MASK + 1, UINT32_MAX, fn, arg);
}
