#include <router/route/edge_routes.h>

#include <router/route/edge_wire.h>
#include <router/route/uplink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/clock.h>
#include <trunkline/base/list.h>
#include <trunkline/base/log.h>
#include <trunkline/io/loop.h>

enum { TIME_MAX_MS = 10000 };
enum { CORRELATION_LEN = 7 + 16 + 8 };
enum { CREATED = 201 };

enum proxy_state { UNKNOWN, CREATING, KNOWN, DELETING, REFUSED };

struct route_proxy {
    struct list node;
    bool is_wanted;
    enum proxy_state state;
    mono_ms asked;
    char correlation[CORRELATION_LEN + 1];
    char *identity; /* at the interior router; NULL: not known there */
    char key[];
};

static struct {
    struct loop *loop;
    const struct route_world *world; /* NULL: this router is no edge */
    struct list proxies;
    struct timer timer;
    uint64_t start;
    uint32_t count;
} routes;

/* ---- one route ---- */

static void proxy_free(struct route_proxy *p)
{
    list_remove(&p->node);
    free(p->identity);
    free(p);
}

static void forget_identity(struct route_proxy *p)
{
    free(p->identity);
    p->identity = NULL;
}

/* Ask for it to be made there, or, with an identity, deleted. Result: false, there is nobody to ask. */
static bool ask(struct route_proxy *p) ON_CONTROL
{
    const char *reply_to = uplink_reply_address(UPLINK_MANAGEMENT_REPLIES);
    if (!reply_to)
        return false;
    snprintf(p->correlation, sizeof p->correlation, "client-%016llx%08x", (unsigned long long)routes.start,
             routes.count++);
    char *name = xasprintf("%s/proxyLinkRoute/%s", routes.world->identity.id, p->key);
    const struct edge_route_request r = {
        .reply_to = reply_to, .correlation = p->correlation, .name = name, .key = p->key, .identity = p->identity};
    size_t n = edge_wire_write_route(NULL, 0, &r);
    uint8_t *message = xmalloc(n);
    edge_wire_write_route(message, n, &r);
    bool is_sent = uplink_send(UPLINK_MANAGEMENT, message, n, false);
    free(message);
    free(name);
    p->asked = loop_now(routes.loop);
    if (is_sent && !list_is_linked(&routes.timer.node))
        loop_timer_after(routes.loop, &routes.timer, TIME_MAX_MS);
    return is_sent;
}

/* Do what is to be done next, if it need not wait. p may be freed. */
static void advance(struct route_proxy *p) ON_CONTROL
{
    bool is_settled = p->state == UNKNOWN || p->state == REFUSED;
    if (is_settled && !p->is_wanted)
        proxy_free(p);
    else if (p->state == UNKNOWN && ask(p))
        p->state = CREATING;
    else if (p->state == KNOWN && !p->is_wanted && ask(p))
        p->state = DELETING;
}

static struct route_proxy *find(const char *key)
{
    list_for_each(n, &routes.proxies)
    {
        struct route_proxy *p = list_entry(n, struct route_proxy, node);
        if (strcmp(p->key, key) == 0)
            return p;
    }
    return NULL;
}

void edge_routes_changed(const char *key, bool is_active)
{
    if (!routes.world)
        return;
    struct route_proxy *p = find(key);
    if (!p && !is_active)
        return;
    if (!p) {
        p = xcalloc(1, sizeof *p + strlen(key) + 1);
        strcpy(p->key, key);
        list_append(&routes.proxies, &p->node);
    }
    p->is_wanted = is_active;
    advance(p);
}

/* ---- answers ---- */

static void created(struct route_proxy *p, const struct edge_route_answer *a)
{
    if (a->status == CREATED && a->identity.len) {
        p->state = KNOWN;
        p->identity = xstrndup((const char *)a->identity.data, a->identity.len);
        return;
    }
    p->state = REFUSED;
    LOG(ROUTER_CORE, WARNING, "the interior router does not take the link route '%s' of this edge router: %d %.*s",
        p->key + 1, (int)a->status, (int)a->description.len, (const char *)a->description.data);
}

void edge_routes_answered(const uint8_t *message, size_t n)
{
    struct edge_route_answer a;
    if (edge_wire_read_route_answer(message, n, &a) != OK) {
        LOG_PEER(ROUTER_CORE, WARNING, "an answer of the interior router's management is not understood");
        return;
    }
    list_for_each(node, &routes.proxies)
    {
        struct route_proxy *p = list_entry(node, struct route_proxy, node);
        bool is_waiting = p->state == CREATING || p->state == DELETING;
        if (!is_waiting || !amqp_slice_is(a.correlation, p->correlation))
            continue;
        if (p->state == CREATING) {
            created(p, &a);
        } else {
            forget_identity(p); /* whatever it says: it is not there */
            p->state = UNKNOWN;
        }
        advance(p);
        return;
    }
}

/* Those that have waited too long are asked for again. */
static void on_timer(struct timer *t)
{
    assert_on_control();
    bool any = false;
    list_for_each_safe(n, &routes.proxies)
    {
        struct route_proxy *p = list_entry(n, struct route_proxy, node);
        if (p->state != CREATING && p->state != DELETING)
            continue;
        any = true;
        if (loop_now(routes.loop) - p->asked < TIME_MAX_MS)
            continue;
        p->state = p->state == CREATING ? UNKNOWN : KNOWN;
        advance(p);
    }
    if (any)
        loop_timer_after(routes.loop, t, TIME_MAX_MS / 4);
}

/* ---- the uplink ---- */

void edge_routes_up(void)
{
    list_for_each_safe(n, &routes.proxies) advance(list_entry(n, struct route_proxy, node));
}

void edge_routes_down(void)
{
    timer_cancel(&routes.timer);
    list_for_each_safe(n, &routes.proxies)
    {
        struct route_proxy *p = list_entry(n, struct route_proxy, node);
        forget_identity(p);
        p->state = UNKNOWN;
        if (!p->is_wanted)
            proxy_free(p);
    }
}

void edge_routes_start(struct loop *loop, const struct route_world *world)
{
    routes.loop = loop;
    routes.world = world;
    routes.start = (uint64_t)(clock_wall_us() / 1000000);
    list_init(&routes.proxies);
    timer_init(&routes.timer, on_timer);
}

void edge_routes_stop(void)
{
    if (!routes.world)
        return;
    timer_cancel(&routes.timer);
    list_for_each_safe(n, &routes.proxies) proxy_free(list_entry(n, struct route_proxy, node));
    routes.world = NULL;
}
