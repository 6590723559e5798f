#include <router/route/uplink.h>

#include <router/route/edge_lookup.h>
#include <router/route/edge_proxy.h>
#include <router/route/edge_routes.h>
#include <router/route/edge_wire.h>
#include <router/route/own_link.h>
#include <router/route/registry.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/log.h>
#include <trunkline/io/loop.h>

const char uplink_key[] = "L_edge";

enum { HEARTBEAT_MS = 2000, RETRY_MS = 5000 };
/* Heartbeats that the interior router has not taken yet, or, one of ours, not answered: more would only wait to be sent
 * all at once. When so many are under way for so long, it is silent. */
enum { HEARTBEATS_MAX = 2, SILENCE_MAX_MS = 4000 };

/* A connection of role edge that is open. */
struct candidate {
    struct list node;
    struct connection *conn; /* listed by the registry while it is here */
};

struct service {
    struct own_link_owner owner;
    struct own_link *link; /* NULL: not asked for, or it has ended */
    char *reply_address;   /* of a dynamic receiver that is attached */
};

static struct {
    struct loop *loop;
    struct route_world *world; /* NULL: this router is no edge */
    struct list candidates;    /* in the order in which they opened */
    struct connection *active; /* NULL: none */
    struct service services[UPLINK_LINKS];
    struct timer heartbeat, retry;
    int32_t beats;
    mono_ms last_beat; /* of our own, sent when fewer were under way */
} uplink;

static struct service *service_of(struct own_link_owner *o)
{
    return container_of(o, struct service, owner);
}

static enum uplink_link index_of(const struct service *s)
{
    return (enum uplink_link)(s - uplink.services);
}

/* ---- what comes in on them ---- */

static void on_tracking(struct own_link_owner *o, const uint8_t *message, size_t n)
{
    assert_on_control();
    (void)o;
    struct slice key;
    bool has_destinations;
    if (edge_wire_read_tracking(message, n, &key, &has_destinations) == OK)
        edge_proxy_told(key, has_destinations);
    else
        LOG_PEER(ROUTER_CORE, WARNING, "[C%llu] what the interior router tells of an address is not understood",
                 (unsigned long long)uplink.active->id);
}

static void on_lookup_reply(struct own_link_owner *o, const uint8_t *message, size_t n)
{
    assert_on_control();
    (void)o;
    edge_lookup_answered(message, n);
}

static void on_management_reply(struct own_link_owner *o, const uint8_t *message, size_t n)
{
    assert_on_control();
    (void)o;
    edge_routes_answered(message, n);
}

/* ---- the links ---- */

static const struct {
    const char *what;
    struct own_link_conf conf;
    void (*received)(struct own_link_owner *o, const uint8_t *message, size_t n);
} links[UPLINK_LINKS] = {
    [UPLINK_MESSAGES] = {.what = "messages", .conf = {.is_sender = true, .key = uplink_key}},
    [UPLINK_DOWNLINK] = {.what = "its own messages", .conf = {.capability = edge_wire_downlink}},
    [UPLINK_TRACKING] = {.what = "address tracking",
                         .conf = {.session = OWN_SESSION_SERVICES, .source = "_$qd.edge_addr_tracking", .capacity = 32},
                         .received = on_tracking},
    [UPLINK_MANAGEMENT] =
        {.what = "management",
         .conf = {.session = OWN_SESSION_SERVICES, .is_sender = true, .target = "$management", .no_source = true}},
    [UPLINK_MANAGEMENT_REPLIES] =
        {.what = "answers of management",
         .conf = {.session = OWN_SESSION_SERVICES, .dynamic = true, .no_target = true, .capacity = 100},
         .received = on_management_reply},
    [UPLINK_LOOKUP] =
        {.what = "look-ups of addresses",
         .conf = {.session = OWN_SESSION_SERVICES, .is_sender = true, .target = "_$qd.addr_lookup", .no_source = true}},
    [UPLINK_LOOKUP_REPLIES] =
        {.what = "answers to look-ups",
         .conf = {.session = OWN_SESSION_SERVICES, .dynamic = true, .no_target = true, .capacity = 250},
         .received = on_lookup_reply},
    [UPLINK_HEARTBEAT] = {.what = "heartbeats",
                          .conf = {.session = OWN_SESSION_SERVICES,
                                   .is_sender = true,
                                   .target = "_$qd.edge_heartbeat",
                                   .no_source = true}},
};

static void open_service(enum uplink_link which) ON_CONTROL
{
    struct service *s = &uplink.services[which];
    struct own_link_conf conf = links[which].conf;
    conf.conn = uplink.active;
    if (which == UPLINK_DOWNLINK)
        conf.source = uplink.world->identity.id;
    s->link = own_link_open(&conf, &s->owner);
}

static void close_service(struct service *s) ON_CONTROL
{
    own_link_close(&s->link);
    free(s->reply_address);
    s->reply_address = NULL;
}

static void on_attached(struct own_link_owner *o, const struct own_link_answer *a)
{
    assert_on_control();
    struct service *s = service_of(o);
    enum uplink_link which = index_of(s);
    if (links[which].conf.dynamic)
        s->reply_address = xstrdup(a->address);
    if (which == UPLINK_MANAGEMENT || which == UPLINK_MANAGEMENT_REPLIES)
        edge_routes_up();
    uplink.last_beat = loop_now(uplink.loop);
    if (which == UPLINK_HEARTBEAT)
        loop_timer_after(uplink.loop, &uplink.heartbeat, HEARTBEAT_MS);
}

static void on_ended(struct own_link_owner *o, const struct own_link_end *e)
{
    assert_on_control();
    struct service *s = service_of(o);
    /* Usually the connection goes, and says so next. */
    if (e->condition)
        LOG_PEER(ROUTER_CORE, WARNING, "[C%llu] the interior router '%s' takes no link for %s: %s %s",
                 (unsigned long long)uplink.active->id, uplink.active->container, links[index_of(s)].what, e->condition,
                 e->description ? e->description : "");
    close_service(s);
    if (!timer_is_armed(&uplink.retry)) /* one that has waited does not wait longer for another */
        loop_timer_after(uplink.loop, &uplink.retry, RETRY_MS);
}

static void on_retry(struct timer *t)
{
    assert_on_control();
    (void)t;
    for (int i = 0; uplink.active && i < UPLINK_LINKS; i++)
        if (!uplink.services[i].link)
            open_service((enum uplink_link)i);
}

/* ---- heartbeat ---- */

/* Its host may be gone, or the process stands: the idle time-out would take longer to see it. */
static void drop_silent(void) ON_CONTROL
{
    LOG_PEER(ROUTER_CORE, WARNING, "[C%llu] the interior router '%s' takes no heartbeats: the connection is dropped",
             (unsigned long long)uplink.active->id, uplink.active->container);
    connection_tell(uplink.active, CONNECTION_DROP);
    uplink.last_beat = loop_now(uplink.loop); /* it goes once */
}

static void on_heartbeat(struct timer *t)
{
    assert_on_control();
    struct own_link *l = uplink.services[UPLINK_HEARTBEAT].link;
    uint8_t message[16];
    if (!l)
        return;
    size_t n = edge_wire_write_heartbeat(message, sizeof message, uplink.beats);
    if (own_link_outstanding(l) < HEARTBEATS_MAX && own_link_send(l, message, n, true)) {
        uplink.beats++;
        uplink.last_beat = loop_now(uplink.loop);
    } else if (loop_now(uplink.loop) - uplink.last_beat >= SILENCE_MAX_MS) {
        drop_silent();
    }
    loop_timer_after(uplink.loop, t, HEARTBEAT_MS);
}

/* ---- connections ---- */

static void activate(struct connection *c) ON_CONTROL
{
    uplink.active = c;
    uplink.beats = 0;
    LOG(ROUTER_CORE, INFO, "[C%llu] the connection to interior router '%s' is this edge router's uplink",
        (unsigned long long)c->id, c->container);
    for (int i = 0; i < UPLINK_LINKS; i++)
        open_service((enum uplink_link)i);
    edge_proxy_up(c);
}

static void deactivate(void) ON_CONTROL
{
    timer_cancel(&uplink.heartbeat);
    timer_cancel(&uplink.retry);
    for (int i = 0; i < UPLINK_LINKS; i++)
        close_service(&uplink.services[i]);
    uplink.active = NULL;
    edge_proxy_down();
    edge_lookup_down();
    edge_routes_down();
}

void uplink_connection_opened(struct connection *c)
{
    if (!uplink.world || c->settings->role != ROLE_EDGE || !c->connector)
        return;
    struct candidate *k = xcalloc(1, sizeof *k);
    k->conn = c;
    list_append(&uplink.candidates, &k->node);
    if (!uplink.active)
        activate(c);
    else
        LOG(ROUTER_CORE, INFO, "[C%llu] the connection to interior router '%s' is in reserve",
            (unsigned long long)c->id, c->container);
}

static void forget(const struct connection *c) ON_CONTROL
{
    list_for_each(n, &uplink.candidates)
    {
        struct candidate *k = list_entry(n, struct candidate, node);
        if (k->conn != c)
            continue;
        list_remove(&k->node);
        free(k);
        return;
    }
}

void uplink_connection_gone(struct connection *c)
{
    if (!uplink.world)
        return;
    forget(c);
    if (uplink.active != c)
        return;
    deactivate();
    if (list_is_empty(&uplink.candidates))
        LOG(ROUTER_CORE, WARNING, "this edge router has no uplink: only what is attached here can be reached");
    else if (!registry_is_stopping())
        activate(list_first(&uplink.candidates, struct candidate, node)->conn);
}

struct connection *uplink_active(void)
{
    return uplink.active;
}

bool uplink_is_reserve(const struct connection *c)
{
    return uplink.world && c->settings->role == ROLE_EDGE && c->connector && c != uplink.active;
}

bool uplink_send(enum uplink_link which, const uint8_t *message, size_t n, bool settled)
{
    struct own_link *l = uplink.services[which].link;
    return l && own_link_send(l, message, n, settled);
}

const char *uplink_reply_address(enum uplink_link which)
{
    return uplink.services[which].reply_address;
}

/* ---- start and stop ---- */

void uplink_start(struct loop *loop, struct route_world *world)
{
    if (world->identity.mode != ROUTER_EDGE)
        return;
    uplink.loop = loop;
    uplink.world = world;
    list_init(&uplink.candidates);
    timer_init(&uplink.heartbeat, on_heartbeat);
    timer_init(&uplink.retry, on_retry);
    for (int i = 0; i < UPLINK_LINKS; i++)
        uplink.services[i].owner =
            (struct own_link_owner){.attached = on_attached, .ended = on_ended, .received = links[i].received};
    registry_add_own_address(uplink_key, DISTRIBUTION_CLOSEST, false);
    world->uplink = table_find(world->table, uplink_key, strlen(uplink_key));
    edge_proxy_start(loop, world);
    edge_lookup_start(loop, world);
    edge_routes_start(loop, world);
}

void uplink_stop(void)
{
    if (!uplink.world)
        return;
    deactivate();
    edge_proxy_stop();
    edge_lookup_stop();
    edge_routes_stop();
    ASSERT(list_is_empty(&uplink.candidates));
    uplink.world = NULL;
}
