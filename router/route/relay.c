#include <router/route/relay.h>

#include <router/route/here.h>
#include <stdlib.h>
#include <trunkline/base/alloc.h>

struct relay {
    struct relay *next;
    struct origin origin;
    struct link_token to;
};

void relay_begin(struct link *l, const struct origin *o, struct link_token to)
{
    struct relay *r = xmalloc(sizeof *r);
    *r = (struct relay){.next = l->out.relays, .origin = *o, .to = to};
    l->out.relays = r;
}

static struct relay **find(struct link *l, const struct origin *o)
{
    struct relay **at = &l->out.relays;
    while (*at && !origin_equal(&(*at)->origin, o))
        at = &(*at)->next;
    return at;
}

bool relay_pass(struct link *l, const struct frame *f)
{
    struct relay **at = find(l, &f->origin), *r = *at;
    if (!r)
        return false;
    struct link_token to = r->to;
    if (!f->settles && (!f->more || f->aborted)) {
        *at = r->next;
        free(r);
    }
    here_deliver(to, f);
    return true;
}

bool relay_is_busy(const struct link *l)
{
    return l->out.relays != NULL;
}

void relay_end_all(struct link *l)
{
    for (struct relay *r; (r = l->out.relays);) {
        l->out.relays = r->next;
        free(r);
    }
}
