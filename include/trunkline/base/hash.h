/* hash.h -- small maps used on busy paths: uint32 keys to pointers, open addressing with linear probing, so that
 * contiguous keys (handles, channels, delivery ids) lie beside each other as in a ring. Thread: the owner. */
#ifndef TRUNKLINE_BASE_HASH_H
#define TRUNKLINE_BASE_HASH_H

#include <stdbool.h>
#include <stdint.h>

struct u32map_slot {
    void *value; /* NULL: empty */
    uint32_t key;
};
struct u32map {
    /* NULL until the first put; after that at least 8, so that one key coming and going is cheap. */
    struct u32map_slot *slots;
    uint32_t mask, count;
};

void u32map_init(struct u32map *m);
void u32map_fini(struct u32map *m);                           /* values are not touched */
void *u32map_get(const struct u32map *m, uint32_t key);       /* NULL: none */
void u32map_put(struct u32map *m, uint32_t key, void *value); /* value not NULL; replaces */
void *u32map_remove(struct u32map *m, uint32_t key);          /* what was there, or NULL; shrinks when mostly empty */
/* Walk in no particular order: `for (uint32_t i = 0; u32map_next(m, &i, &key, &value);)`; no change meanwhile. */
bool u32map_next(const struct u32map *m, uint32_t *position, uint32_t *key, void **value);

/* Hash of octets, for tables of names (not for keys an attacker picks without bound: bound the table). */
uint64_t hash_octets(const void *p, unsigned long n);

#endif
