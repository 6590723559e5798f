#include <router/route/request.h>

#include <router/route/forward.h>
#include <router/route/here.h>
#include <router/route/own_link.h>
#include <router/route/registry.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/hash.h>
#include <trunkline/base/mailbox.h>

/* As of a message whose header says nothing (AMQP 1.0 part 3.2.1, Header). */
enum { PRIORITY_OF_REPLIES = 4 };

static request_fn *server, *routers_server;

/* Of the router's own addresses, those that are not management's. */
enum { SERVED_MAX = 4 };
static struct {
    const char *key;
    request_fn *fn;
} served[SERVED_MAX];
static int served_count;

void request_serve_address(const char *key, request_fn *fn)
{
    ASSERT(served_count < SERVED_MAX);
    served[served_count].key = key;
    served[served_count++].fn = fn;
}

static request_fn *server_of(const char *key)
{
    if (!key)
        return routers_server;
    for (int i = 0; i < served_count; i++)
        if (strcmp(served[i].key, key) == 0)
            return served[i].fn;
    return server;
}

void request_serve(request_fn *fn)
{
    server = fn;
}

void request_serve_routers(request_fn *fn)
{
    routers_server = fn;
}

/* The one that its server is called for; NULL: it has been seen to. */
static struct request *being_served;

static struct request *take_served(void) ON_CONTROL
{
    struct request *r = being_served;
    ASSERT(r != NULL);
    being_served = NULL;
    return r;
}

/* ---- those that are kept ---- */

/* Of links with the same index, which are few: one on each worker. */
struct kept_group {
    struct list requests; /* struct request.of_link */
};

static struct {
    struct u32map groups; /* by the link's index */
    size_t octets;
} kept;

static void kept_add(struct request *r) ON_CONTROL
{
    uint32_t index = r->origin.link.index;
    struct kept_group *g = u32map_get(&kept.groups, index);
    if (!g) {
        g = xcalloc(1, sizeof *g);
        list_init(&g->requests);
        u32map_put(&kept.groups, index, g);
    }
    list_append(&g->requests, &r->of_link);
    kept.octets += r->len;
}

static void kept_remove(struct request *r) ON_CONTROL
{
    uint32_t index = r->origin.link.index;
    if (!list_is_linked(&r->of_link))
        return;
    list_remove(&r->of_link);
    kept.octets -= r->len;
    struct kept_group *g = u32map_get(&kept.groups, index);
    if (list_is_empty(&g->requests))
        free(u32map_remove(&kept.groups, index));
    if (kept.groups.count == 0)
        u32map_fini(&kept.groups);
}

bool request_may_keep(void)
{
    return kept.octets + being_served->len <= REQUESTS_KEPT_OCTETS;
}

struct request *request_keep(void)
{
    struct request *r = take_served();
    list_init(&r->node);
    kept_add(r);
    return r;
}

void request_link_left(struct link_token t)
{
    struct kept_group *g = u32map_get(&kept.groups, t.index);
    struct list theirs, *n;
    if (!g)
        return;
    list_init(&theirs);
    list_for_each_safe(m, &g->requests)
    {
        struct request *r = list_entry(m, struct request, of_link);
        if (!link_token_equal(r->origin.link, t))
            continue;
        list_remove(&r->node);
        list_append(&theirs, &r->node);
    }
    while ((n = list_take_first(&theirs))) {
        struct request *r = list_entry(n, struct request, node);
        request_drop(&r);
    }
}

/* ---- serving ---- */

void request_drop(struct request **r)
{
    kept_remove(*r);
    if ((*r)->own)
        own_link_unref((*r)->own);
    free((*r)->key);
    free(*r);
    *r = NULL;
}

void request_done(struct request **r)
{
    /* The node accepts what it is sent, whatever the answer says (management reference 2.2). */
    const struct origin *o = &(*r)->origin;
    here_answer(o, 0, true, o->flags & ORIGIN_SETTLED ? &state_none : &state_accepted);
    request_drop(r);
}

void request_refuse(void)
{
    struct request *r = take_served();
    here_answer(&r->origin, 0, true, r->origin.flags & ORIGIN_SETTLED ? &state_none : &state_released);
    request_drop(&r);
}

static void serve(struct request *r) ON_CONTROL
{
    being_served = r;
    if (r->own) {
        own_link_take(r->own, r->message, r->len);
    } else {
        request_fn *take = server_of(r->key);
        take(r->message, r->len, r->connection_id, r->key);
    }
    if (being_served != NULL)
        request_done(&being_served);
}

static void request_deliver(struct letter *l)
{
    assert_on_control();
    struct request *r = container_of(l, struct request, letter);
    if (here->ending) /* there are no workers any more, and nobody to hear the answer */
        request_drop(&r);
    else
        serve(r);
}

static struct request *request_new(const struct origin *o, const uint8_t *message, size_t n)
{
    struct request *r = xcalloc(1, sizeof *r + n);
    r->letter = (struct letter)LETTER_INIT(request_deliver);
    list_init(&r->of_link);
    r->origin = *o;
    r->len = n;
    memcpy(r->message, message, n);
    return r;
}

void request_post_own(const struct origin *o, struct own_link *to, const uint8_t *message, size_t n)
{
    struct request *r = request_new(o, message, n);
    own_link_ref(to);
    r->own = to;
    registry_post(&r->letter);
}

void request_post(const struct origin *o, uint64_t connection_id, const char *key, const uint8_t *message, size_t n)
{
    struct request *r = request_new(o, message, n);
    r->connection_id = connection_id;
    r->key = key ? xstrdup(key) : NULL;
    registry_post(&r->letter);
}

bool request_answer(const char *to, const uint8_t *message, size_t n)
{
    enum refusal why;
    static uint32_t turn;
    const struct slice name = {.data = (const uint8_t *)to, .len = strlen(to)};
    struct address *a = forward_find_named(name, &why), *up = here->world->uplink;
    const struct passage p = {.priority = PRIORITY_OF_REPLIES};
    struct link_token link;
    if ((!a || !forward_choose(a, address_routes(a), &p, &turn, &link)) &&
        (!up || !forward_choose(up, address_routes(up), &p, &turn, &link)))
        return false;
    const struct named_address told = a ? forward_name_of(a) : (struct named_address){0};
    struct frame f = {
        .origin = {.link = LINK_TOKEN_NONE, .flags = ORIGIN_SETTLED},
        .first = true,
        .settled = true,
        .to = told.text,
        .phase = told.phase,
        .payload = {.data = message, .len = n},
    };
    here_deliver(link, &f);
    return true;
}
