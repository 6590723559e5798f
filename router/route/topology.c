#include <router/route/topology.h>

#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/hash.h>

struct topology_id {
    char *id; /* NULL: free */
    size_t len;
    uint32_t index;
};

struct topology *topology_new(uint32_t limit, uint32_t trunks)
{
    struct topology *t = xcalloc(1, sizeof *t);
    t->limit = limit;
    t->words = (limit + 63) / 64;
    t->paths = xcalloc(limit, sizeof *t->paths);
    t->forwards = xcalloc((size_t)limit * t->words, sizeof *t->forwards);
    t->trunks = xcalloc(trunks ? trunks : 1, sizeof *t->trunks);
    t->trunk_count = trunks;
    for (uint32_t i = 0; i < trunks; i++)
        for (int p = 0; p < TRUNK_PRIORITIES; p++)
            t->trunks[i].data[p] = LINK_TOKEN_NONE;
    uint32_t size = 8;
    while (size < 2 * limit)
        size *= 2;
    t->ids = xcalloc(size, sizeof *t->ids);
    t->id_mask = size - 1;
    return t;
}

void topology_free(void *p)
{
    struct topology *t = p;
    if (!t)
        return;
    for (uint32_t i = 0; i <= t->id_mask; i++)
        free(t->ids[i].id);
    free(t->ids);
    free(t->paths);
    free(t->forwards);
    free(t->trunks);
    free(t);
}

static struct topology_id *slot_of(const struct topology *t, const char *id, size_t len)
{
    uint32_t at = (uint32_t)hash_octets(id, len) & t->id_mask;
    while (t->ids[at].id && (t->ids[at].len != len || memcmp(t->ids[at].id, id, len) != 0))
        at = (at + 1) & t->id_mask;
    return &t->ids[at];
}

void topology_set_id(struct topology *t, uint32_t index, const char *id)
{
    ASSERT(index < t->limit);
    size_t len = strlen(id);
    struct topology_id *s = slot_of(t, id, len);
    ASSERT(!s->id);
    *s = (struct topology_id){.id = xstrdup(id), .len = len, .index = index};
}

void topology_set_forwards(struct topology *t, uint32_t origin, uint32_t destination)
{
    ASSERT(origin < t->limit && destination < t->limit);
    t->forwards[(size_t)origin * t->words + destination / 64] |= UINT64_C(1) << (destination % 64);
}

bool topology_index(const struct topology *t, const char *id, size_t len, uint32_t *index)
{
    const struct topology_id *s = slot_of(t, id, len);
    if (s->id)
        *index = s->index;
    return s->id != NULL;
}

bool topology_node_index(const struct topology *t, struct slice node_id, uint32_t *index)
{
    return node_id.len > 2 && memcmp(node_id.data, "0/", 2) == 0 &&
           topology_index(t, (const char *)node_id.data + 2, node_id.len - 2, index);
}

struct link_token trunk_link(const struct trunk_view *t, unsigned priority, struct link_load **load)
{
    unsigned p = priority < TRUNK_PRIORITIES ? priority : TRUNK_PRIORITIES - 1;
    while (link_token_is_none(t->data[p]) && p > 0)
        p--;
    *load = t->load[p];
    return t->data[p];
}
