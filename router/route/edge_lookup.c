#include <router/route/edge_lookup.h>

#include <router/route/address_name.h>
#include <router/route/edge_wire.h>
#include <router/route/link_route.h>
#include <router/route/registry.h>
#include <router/route/uplink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/clock.h>
#include <trunkline/base/log.h>
#include <trunkline/io/loop.h>

enum { TIME_MAX_MS = 3000 };
/* "client-", the time of start and a count, in hexadecimal digits. */
enum { CORRELATION_LEN = 7 + 16 + 8 };

/* An attach that waits. */
struct question {
    struct list node; /* in the order of asking, which is that of the deadlines */
    struct link *link;
    mono_ms deadline;
    char correlation[CORRELATION_LEN + 1];
};

static struct {
    struct loop *loop;
    const struct route_world *world; /* NULL: this router is no edge */
    struct list questions;
    struct timer timer;
    uint32_t count;
    uint64_t start;
    edge_lookup_routed_fn *on_routed;
} lookup;

void edge_lookup_serve_routes(edge_lookup_routed_fn *fn)
{
    lookup.on_routed = fn;
}

/* What the interior router is asked about for l; NULL: nothing. */
static const char *address_of(const struct link *l)
{
    return l->is_coordinator ? LINK_ROUTE_COORDINATOR : l->is_dynamic ? l->maker : l->wanted;
}

/* ---- answers ---- */

/* Take the question out. */
static struct link *settle(struct question *q)
{
    struct link *l = q->link;
    list_remove(&q->node);
    free(q);
    return l;
}

static void decide(struct question *q, const struct edge_lookup_answer *a) ON_CONTROL
{
    struct link *l = settle(q);
    if (a->status != EDGE_LOOKUP_FOUND || !a->is_link_route)
        registry_attach_on(l, ATTACH_OK);
    else if (a->has_destinations && lookup.on_routed)
        lookup.on_routed(l);
    else
        registry_attach_on(l, ATTACH_NO_ROUTE);
}

static struct question *find(struct slice correlation)
{
    list_for_each(n, &lookup.questions)
    {
        struct question *q = list_entry(n, struct question, node);
        if (amqp_slice_is(correlation, q->correlation))
            return q;
    }
    return NULL;
}

void edge_lookup_answered(const uint8_t *message, size_t n)
{
    struct slice correlation;
    struct edge_lookup_answer a;
    if (edge_wire_read_answer(message, n, &correlation, &a) != OK) {
        LOG_PEER(ROUTER_CORE, WARNING, "the answer to a look-up of an address is not understood");
        return;
    }
    struct question *q = find(correlation);
    if (q)
        decide(q, &a);
}

/* ---- no answer ---- */

static void give_up(struct question *q) ON_CONTROL
{
    registry_attach_on(settle(q), ATTACH_OK);
}

static void set_timer(void) ON_CONTROL
{
    if (!list_is_empty(&lookup.questions))
        loop_timer_at(lookup.loop, &lookup.timer, list_first(&lookup.questions, struct question, node)->deadline);
}

static void on_timer(struct timer *t)
{
    assert_on_control();
    (void)t;
    while (!list_is_empty(&lookup.questions)) {
        struct question *q = list_first(&lookup.questions, struct question, node);
        if (q->deadline > loop_now(lookup.loop))
            break;
        LOG_PEER(ROUTER_CORE, WARNING, "[C%llu] no answer to the look-up of '%s': it is taken for no link route's",
                 (unsigned long long)q->link->conn->id, address_of(q->link));
        give_up(q);
    }
    set_timer();
}

void edge_lookup_down(void)
{
    while (!list_is_empty(&lookup.questions))
        give_up(list_first(&lookup.questions, struct question, node));
    timer_cancel(&lookup.timer);
}

void edge_lookup_forget(const struct link *l)
{
    if (!lookup.world)
        return;
    list_for_each(n, &lookup.questions)
    {
        struct question *q = list_entry(n, struct question, node);
        if (q->link == l) {
            settle(q);
            return;
        }
    }
}

/* ---- questions ---- */

static bool send_question(const struct question *q, const char *reply_to) ON_CONTROL
{
    const char *address = address_of(q->link);
    uint8_t correlation[CORRELATION_LEN + 2];
    struct amqp_writer w = amqp_writer(correlation, sizeof correlation);
    amqp_write_string_of(&w, q->correlation);
    const struct edge_lookup asked = {
        .reply_to = {.data = (const uint8_t *)reply_to, .len = strlen(reply_to)},
        .address = {.data = (const uint8_t *)address, .len = strlen(address)},
        .correlation = {.data = correlation, .len = w.len},
        .is_sender = q->link->is_incoming,
    };
    size_t n = edge_wire_write_lookup(NULL, 0, &asked);
    uint8_t *message = xmalloc(n);
    edge_wire_write_lookup(message, n, &asked);
    bool is_sent = uplink_send(UPLINK_LOOKUP, message, n, true);
    free(message);
    return is_sent;
}

/* Whether its address may be a link route's. */
static bool is_asked_about(const struct link *l)
{
    const char *address = address_of(l);
    enum attach_refusal expected = l->is_coordinator ? ATTACH_NO_COORDINATOR : ATTACH_OK;
    if (l->own || l->is_ours || l->is_edge || !address || l->refusal_by_worker != expected)
        return false;
    size_t len = strlen(address), size = len + ADDRESS_KEY_EXTRA + ROUTER_ID_MAX;
    char *key = xmalloc(size);
    size_t n = address_name_key(&lookup.world->identity, address, len, PHASE_DEFAULT, key, size);
    const struct address *a = n ? table_find(lookup.world->table, key, n) : NULL;
    bool is_asked = n && key[0] == ADDRESS_MOBILE && !(a && a->is_own);
    free(key);
    return is_asked;
}

bool edge_lookup_ask(struct link *l)
{
    const char *reply_to = lookup.world ? uplink_reply_address(UPLINK_LOOKUP_REPLIES) : NULL;
    if (!reply_to || !is_asked_about(l))
        return false;
    struct question *q = xcalloc(1, sizeof *q);
    q->link = l;
    q->deadline = loop_now(lookup.loop) + TIME_MAX_MS;
    snprintf(q->correlation, sizeof q->correlation, "client-%016llx%08x", (unsigned long long)lookup.start,
             lookup.count++);
    list_append(&lookup.questions, &q->node);
    if (!send_question(q, reply_to)) {
        settle(q);
        return false;
    }
    set_timer();
    return true;
}

/* ---- start and stop ---- */

void edge_lookup_start(struct loop *loop, const struct route_world *world)
{
    lookup.loop = loop;
    lookup.world = world;
    lookup.start = (uint64_t)(clock_wall_us() / 1000000);
    list_init(&lookup.questions);
    timer_init(&lookup.timer, on_timer);
}

void edge_lookup_stop(void)
{
    lookup.world = NULL;
}
