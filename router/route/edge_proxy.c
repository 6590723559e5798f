#include <router/route/edge_proxy.h>

#include <router/route/address_name.h>
#include <router/route/own_link.h>
#include <router/route/rules.h>
#include <router/route/table.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/log.h>
#include <trunkline/base/rcu.h>
#include <trunkline/io/loop.h>

enum { RETRY_MS = 5000 };

/* One of the two links. */
struct proxy_link {
    struct own_link_owner owner;
    struct own_link *link; /* NULL: not wanted, or waiting */
    bool waits;            /* it has ended, and is not tried again until the time for that has come */
};

struct edge_proxy {
    struct address *address; /* it stays while there is a proxy: its links here use it */
    struct proxy_link in, out;
};

static struct {
    struct loop *loop;
    const struct route_world *world; /* NULL: this router is no edge */
    struct connection *conn;         /* NULL: there is no uplink */
    struct timer retry;
} proxies;

/* ---- termini ---- */

const char *edge_proxy_capability(const char *key, int ingress_phase, int egress_phase, bool is_inlink)
{
    static const char *const waypoints[] = {NULL,
                                            "qd.waypoint.1",
                                            "qd.waypoint.2",
                                            "qd.waypoint.3",
                                            "qd.waypoint.4",
                                            "qd.waypoint.5",
                                            "qd.waypoint.6",
                                            "qd.waypoint.7",
                                            "qd.waypoint.8",
                                            "qd.waypoint.9"};
    if (key[1] == PHASE_FALLBACK)
        return "qd.fallback";
    int phase = key[1] - '0';
    if (phase < 0 || phase > 9 || egress_phase == 0)
        return NULL;
    if (is_inlink)
        return phase == egress_phase || phase == 9 ? NULL : waypoints[phase + 1];
    return phase == ingress_phase ? NULL : waypoints[phase];
}

static const char *capability_of(const struct address *a, const char *text, bool is_inlink)
{
    const struct rule *rule = rules_match(rcu_read(&proxies.world->rules), text, strlen(text));
    const struct rule_conf *conf = rule ? rule_conf(rule) : NULL;
    return edge_proxy_capability(a->key, conf ? conf->ingress_phase : 0, conf ? conf->egress_phase : 0, is_inlink);
}

static void open_link(struct edge_proxy *p, struct proxy_link *l) ON_CONTROL
{
    size_t len;
    const char *text = address_name_of_key(p->address->key, strlen(p->address->key), &len);
    bool is_inlink = l == &p->in;
    struct own_link_conf conf = {
        .conn = proxies.conn,
        .is_sender = !is_inlink,
        .source = is_inlink ? text : NULL,
        .target = is_inlink ? NULL : text,
        .capability = capability_of(p->address, text, is_inlink),
        .key = p->address->key,
        .is_unbound = true,
        .is_finished = true,
    };
    l->link = own_link_open(&conf, &l->owner);
}

/* ---- which are wanted ---- */

static bool is_proxied(const struct address *a)
{
    return a->key[0] == ADDRESS_MOBILE && !a->is_own && !a->in_process;
}

/* Receivers and targeted senders of a's that are not our proxies. */
static uint32_t receivers_here(const struct address *a) ON_CONTROL
{
    const struct own_link *out = a->proxy ? a->proxy->out.link : NULL;
    return a->receiver_count + (address_exchange(a) ? 1 : 0) -
           (out && own_link_link(out) && own_link_is_bound(out) ? 1 : 0);
}

static uint32_t senders_of(const struct address *a) ON_CONTROL
{
    const struct own_link *in = a->proxy ? a->proxy->in.link : NULL;
    return a->sender_count - (in && own_link_link(in) ? 1 : 0);
}

/* Who sends to an address sends to its fallback destination, too, when nobody else is there. */
static uint32_t senders_here(const struct address *a) ON_CONTROL
{
    return senders_of(a) + (a->primary ? senders_of(a->primary) : 0);
}

static void want(struct edge_proxy *p, struct proxy_link *l, bool is_wanted) ON_CONTROL
{
    if (is_wanted && !l->link && !l->waits)
        open_link(p, l);
    else if (!is_wanted)
        own_link_close(&l->link);
}

static void proxy_free(struct address *a) ON_CONTROL
{
    own_link_close(&a->proxy->in.link);
    own_link_close(&a->proxy->out.link);
    free(a->proxy);
    a->proxy = NULL;
}

static void on_attached(struct own_link_owner *o, const struct own_link_answer *a)
{
    (void)o;
    (void)a;
}

static void on_ended(struct own_link_owner *o, const struct own_link_end *e)
{
    assert_on_control();
    struct proxy_link *l = container_of(o, struct proxy_link, owner);
    if (e->condition)
        LOG_PEER(ROUTER_CORE, WARNING, "the interior router takes no link for an address of this edge router: %s %s",
                 e->condition, e->description ? e->description : "");
    own_link_close(&l->link);
    l->waits = true;
    if (!timer_is_armed(&proxies.retry))
        loop_timer_after(proxies.loop, &proxies.retry, RETRY_MS);
}

static struct edge_proxy *proxy_new(struct address *a)
{
    struct edge_proxy *p = xcalloc(1, sizeof *p);
    p->address = a;
    p->in.owner = p->out.owner = (struct own_link_owner){.attached = on_attached, .ended = on_ended};
    return p;
}

static void look_at(struct address *a) ON_CONTROL
{
    if (!is_proxied(a))
        return;
    uint32_t receivers = receivers_here(a), senders = senders_here(a);
    if (!a->proxy && (receivers || senders))
        a->proxy = proxy_new(a);
    if (!a->proxy)
        return;
    want(a->proxy, &a->proxy->in, receivers > 0);
    want(a->proxy, &a->proxy->out, senders > 0);
    if (!receivers && !senders)
        proxy_free(a);
}

void edge_proxy_address_changed(struct address *a)
{
    if (!proxies.conn)
        return;
    look_at(a);
    struct address *f = address_fallback(a);
    if (f)
        look_at(f);
}

/* None of them waits any more. */
static void look_at_all(void) ON_CONTROL
{
    list_for_each(n, table_addresses(proxies.world->table))
    {
        struct address *a = list_entry(n, struct address, node);
        if (a->proxy)
            a->proxy->in.waits = a->proxy->out.waits = false;
        look_at(a);
    }
}

static void on_retry(struct timer *t)
{
    assert_on_control();
    (void)t;
    look_at_all();
}

void edge_proxy_told(struct slice key, bool has_destinations)
{
    struct address *a = table_find(proxies.world->table, (const char *)key.data, key.len);
    if (a && a->proxy && a->proxy->out.link)
        own_link_bind(a->proxy->out.link, has_destinations);
}

/* ---- the uplink ---- */

void edge_proxy_up(struct connection *c)
{
    proxies.conn = c;
    look_at_all();
}

void edge_proxy_down(void)
{
    proxies.conn = NULL;
    timer_cancel(&proxies.retry);
    list_for_each(n, table_addresses(proxies.world->table))
    {
        struct address *a = list_entry(n, struct address, node);
        if (a->proxy)
            proxy_free(a);
    }
}

void edge_proxy_start(struct loop *loop, const struct route_world *world)
{
    proxies.loop = loop;
    proxies.world = world;
    timer_init(&proxies.retry, on_retry);
}

void edge_proxy_stop(void)
{
    proxies.world = NULL;
}
