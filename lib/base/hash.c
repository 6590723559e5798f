#include <trunkline/base/hash.h>

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

/* Linear probing from slot `key & mask`. Robin Hood order: of two keys the one farther from its home slot goes first,
 * so a search ends at the first slot whose key is nearer to its home than the one looked for, and a removal moves back
 * only what was displaced. A run of contiguous keys has no displaced ones: every operation touches one slot. */
#define SMALLEST 8

void u32map_init(struct u32map *m)
{
    *m = (struct u32map){0};
}

void u32map_fini(struct u32map *m)
{
    free(m->slots);
    *m = (struct u32map){0};
}

/* How far slot i is from the home of the key in it. */
static uint32_t distance(const struct u32map *m, uint32_t i)
{
    return (i - m->slots[i].key) & m->mask;
}

/* Slot of the key, or UINT32_MAX. */
static uint32_t find(const struct u32map *m, uint32_t key)
{
    if (m->slots == NULL)
        return UINT32_MAX;
    uint32_t i = key & m->mask;
    for (uint32_t d = 0; m->slots[i].value && distance(m, i) >= d; d++) {
        if (m->slots[i].key == key)
            return i;
        i = (i + 1) & m->mask;
    }
    return UINT32_MAX;
}

void *u32map_get(const struct u32map *m, uint32_t key)
{
    uint32_t i = find(m, key);
    return i == UINT32_MAX ? NULL : m->slots[i].value;
}

/* Insert a key that is not there into a table that has room. */
static void insert(struct u32map *m, struct u32map_slot new)
{
    uint32_t i = new.key & m->mask;
    for (uint32_t d = 0; m->slots[i].value; d++) {
        uint32_t theirs = distance(m, i);
        if (theirs < d) {
            struct u32map_slot displaced = m->slots[i];
            m->slots[i] = new;
            new = displaced;
            d = theirs;
        }
        i = (i + 1) & m->mask;
    }
    m->slots[i] = new;
    m->count++;
}

static void resize(struct u32map *m, uint32_t size)
{
    struct u32map old = *m;
    m->slots = xcalloc(size, sizeof *m->slots);
    m->mask = size - 1;
    m->count = 0;
    if (old.slots)
        for (uint32_t i = 0; i <= old.mask; i++)
            if (old.slots[i].value)
                insert(m, old.slots[i]);
    free(old.slots);
}

void u32map_put(struct u32map *m, uint32_t key, void *value)
{
    ASSERT(value != NULL);
    uint32_t i = find(m, key);
    if (i != UINT32_MAX) {
        m->slots[i].value = value;
        return;
    }
    if (m->slots == NULL)
        resize(m, SMALLEST);
    else if (m->count >= m->mask - m->mask / 4)
        resize(m, (m->mask + 1) * 2);
    insert(m, (struct u32map_slot){.key = key, .value = value});
}

void *u32map_remove(struct u32map *m, uint32_t key)
{
    uint32_t i = find(m, key);
    if (i == UINT32_MAX)
        return NULL;
    void *value = m->slots[i].value;
    for (;;) {
        uint32_t after = (i + 1) & m->mask;
        if (m->slots[after].value == NULL || distance(m, after) == 0)
            break;
        m->slots[i] = m->slots[after];
        i = after;
    }
    m->slots[i].value = NULL;
    m->count--;
    /* Growing waits for three quarters, so a map does not swing between two sizes. */
    if (m->mask >= SMALLEST && m->count < (m->mask + 1) / 8)
        resize(m, (m->mask + 1) / 2);
    return value;
}

bool u32map_next(const struct u32map *m, uint32_t *position, uint32_t *key, void **value)
{
    if (m->slots == NULL)
        return false;
    for (uint32_t i = *position; i <= m->mask; i++)
        if (m->slots[i].value) {
            *position = i + 1;
            *key = m->slots[i].key;
            *value = m->slots[i].value;
            return true;
        }
    return false;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t hash_octets(const void *p, unsigned long n)
{
    const uint64_t k0 = 0x9e3779b97f4a7c15, k1 = 0xd6e8feb86659fd93;
    const unsigned char *at = p;
    uint64_t h = k0 ^ n, word;
    for (; n >= sizeof word; n -= sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        h = mix(h ^ word, k1);
    }
    word = 0;
    if (n)
        memcpy(&word, at, n);
    return mix(h ^ word ^ k1, k0);
}
