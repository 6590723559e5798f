#include "flood.h"

#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/hash.h>

enum { REMEMBERED = 8 };

struct passed {
    uint64_t mark; /* a hash: thousands of routers are remembered by each of thousands */
    mono_ms at;
    bool is_used;
};

struct origin {
    struct passed passed[REMEMBERED];
    uint32_t next; /* the oldest, to be overwritten */
};

struct flood {
    uint32_t hold;
    struct origin **origins; /* by router; NULL: nothing passed on */
    uint32_t count;
};

struct flood *flood_new(uint32_t hold)
{
    struct flood *f = xcalloc(1, sizeof *f);
    f->hold = hold;
    return f;
}

void flood_free(struct flood **fp)
{
    struct flood *f = *fp;
    if (f == NULL)
        return;
    for (uint32_t i = 0; i < f->count; i++)
        free(f->origins[i]);
    free(f->origins);
    free(f);
    *fp = NULL;
}

static struct origin *origin_of(struct flood *f, uint32_t router)
{
    if (router >= f->count) {
        uint32_t count = router * 2 + 8;
        f->origins = xrealloc(f->origins, count * sizeof *f->origins);
        memset(f->origins + f->count, 0, (count - f->count) * sizeof *f->origins);
        f->count = count;
    }
    if (f->origins[router] == NULL)
        f->origins[router] = xcalloc(1, sizeof *f->origins[router]);
    return f->origins[router];
}

bool flood_pass(struct flood *f, uint32_t router, const struct flood_mark *mark, mono_ms now)
{
    struct origin *o = origin_of(f, router);
    int64_t parts[] = {mark->op, mark->instance, mark->ls_seq, mark->mobile_seq};
    uint64_t hash = hash_octets(parts, sizeof parts);
    for (uint32_t i = 0; i < REMEMBERED; i++) {
        struct passed *p = &o->passed[i];
        if (!p->is_used || p->mark != hash)
            continue;
        if (now - p->at < f->hold)
            return false;
        p->at = now;
        return true;
    }
    o->passed[o->next] = (struct passed){hash, now, true};
    o->next = (o->next + 1) % REMEMBERED;
    return true;
}

void flood_forget(struct flood *f, uint32_t router)
{
    if (router < f->count) {
        free(f->origins[router]);
        f->origins[router] = NULL;
    }
}
