#include <router/route/request.h>

#include <router/route/address_name.h>
#include <router/route/forward.h>
#include <router/route/here.h>
#include <router/route/registry.h>
#include <stdlib.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/mailbox.h>

struct request {
    struct letter letter;
    struct origin origin;
    uint64_t connection_id;
    char *key;
    size_t len;
    uint8_t message[];
};

static request_fn *server;

void request_serve(request_fn *fn)
{
    server = fn;
}

static void serve(const struct request *r)
{
    server(r->message, r->len, r->connection_id, r->key);
    /* The node accepts what it is sent, whatever the answer says (management reference 2.2). */
    here_answer(&r->origin, 0, true, r->origin.flags & ORIGIN_SETTLED ? &state_none : &state_accepted);
}

static void request_deliver(struct letter *l)
{
    struct request *r = container_of(l, struct request, letter);
    if (!here->ending) /* else there are no workers any more, and nobody to hear the answer */
        serve(r);
    free(r->key);
    free(r);
}

void request_post(const struct origin *o, uint64_t connection_id, const char *key, const uint8_t *message, size_t n)
{
    struct request *r = xmalloc(sizeof *r + n);
    r->letter = (struct letter)LETTER_INIT(request_deliver);
    r->origin = *o;
    r->connection_id = connection_id;
    r->key = xstrdup(key);
    r->len = n;
    memcpy(r->message, message, n);
    registry_post(&r->letter);
}

bool request_send(const char *to, const uint8_t *message, size_t n)
{
    enum refusal why;
    static uint32_t turn;
    struct address *a = forward_find(to, strlen(to), &why);
    const struct routes *r = a ? address_routes(a) : NULL;
    if (!r || r->count == 0)
        return false;
    struct frame f = {
        .origin = {.link = LINK_TOKEN_NONE, .flags = ORIGIN_SETTLED},
        .first = true,
        .settled = true,
        .payload = {.data = message, .len = n},
    };
    here_deliver(forward_choose(a, r, &turn)->link, &f);
    return true;
}
