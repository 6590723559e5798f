/* fake_engine.h -- for the unit tests of incoming and outgoing links: an engine that writes down what it is asked, so
 * that one can play peer. Included by one test program at a time; it takes the place of lib/amqp's links, of workers
 * and of control. */
#ifndef TRUNKLINE_ROUTE_FAKE_ENGINE_H
#define TRUNKLINE_ROUTE_FAKE_ENGINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/connection.h>
#include <router/route/forward.h>
#include "incoming_priv.h"

#include <router/route/here.h>
#include <router/route/incoming.h>
#include <router/route/message_log.h>
#include <router/route/outgoing.h>
#include <router/route/request.h>
#include <router/route/stamp.h>
#include <router/route/stream.h>
#include <router/route/trunk.h>
#include <trunkline/amqp/terminus.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/rcu.h>
#include <trunkline/io/worker.h>

/* What the engine and control were asked, in words, since the last look. */
static char said[4096];

static void say(const char *format, ...)
{
    size_t n = strlen(said);
    va_list ap;
    va_start(ap, format);
    vsnprintf(said + n, sizeof said - n, format, ap);
    va_end(ap);
}

#define assert_said(text)                                                                                              \
    do {                                                                                                               \
        assert_string_equal(said, text);                                                                               \
        said[0] = 0;                                                                                                   \
    } while (0)

/* ---- the engine ---- */

enum { UNSETTLED_MAX = 64 };
static struct amqp_delivery unsettled_in[UNSETTLED_MAX], unsettled_out[UNSETTLED_MAX];
static uint32_t unsettled_out_count;
static size_t room = SIZE_MAX;  /* octets that the output queue takes */
static struct stamp sent_stamp; /* what the tag of the last transfer says */

static const char *name_of(struct amqp_link *a)
{
    return container_of(a, struct link, amqp)->wanted;
}

static const char *state_name(const struct amqp_state *s)
{
    switch (s ? s->code : AMQP_STATE_NONE) {
    case AMQP_ACCEPTED:
        return "accepted";
    case AMQP_REJECTED:
        return "rejected";
    case AMQP_RELEASED:
        return "released";
    case AMQP_MODIFIED:
        return "modified";
    case AMQP_RECEIVED:
        return "received";
    default:
        return "none";
    }
}

bool amqp_link_is_open(const struct amqp_link *lk)
{
    return !container_of(lk, struct link, amqp)->gone;
}

/* Exchanges are tested where they are: system tests, and exchange_test.c. */
bool incoming_exchange(struct link *l, struct amqp_transfer *t, const struct slice *message, struct address *to,
                       struct exchange_message *e, enum refusal *why)
{
    (void)l;
    (void)t;
    (void)message;
    (void)to;
    (void)e;
    (void)why;
    return false;
}

uint32_t amqp_link_sendable(struct amqp_link *lk)
{
    return room ? lk->credit : 0;
}

enum amqp_hindrance amqp_link_hindrance(const struct amqp_link *lk)
{
    if (lk->credit == 0 && !lk->in_delivery)
        return AMQP_HINDRANCE_CREDIT;
    return room == 0 ? AMQP_HINDRANCE_OUTPUT : AMQP_HINDRANCE_NONE;
}

enum err amqp_link_send(struct amqp_link *lk, const struct amqp_send *m, size_t *sent, struct amqp_delivery **d)
{
    size_t len = 0, n, first_part = m->parts[0].len;
    for (unsigned i = 0; i < m->part_count; i++)
        len += m->parts[i].len;
    n = len < room ? len : room;
    first_part = first_part < n ? first_part : n;
    *sent = n;
    if (n < len && n == 0)
        return ERR_AGAIN;
    if (room != SIZE_MAX)
        room -= n;
    bool first = !lk->in_delivery;
    if (first) {
        sent_stamp = stamp_from_tag((struct slice){.data = m->tag, .len = m->tag_len});
        lk->credit--;
        lk->current = unsettled_out_count;
        if (!m->settled) {
            struct amqp_delivery *u = &unsettled_out[unsettled_out_count];
            *u = (struct amqp_delivery){.id = unsettled_out_count, .link = lk};
            unsettled_out_count++;
            *d = u;
        }
    }
    lk->in_delivery = m->more || n < len;
    say("%s: %s%.*s%.*s%s%s; ", name_of(lk), first ? "" : "+", (int)first_part, (const char *)m->parts[0].data,
        (int)(n - first_part), m->part_count > 1 ? (const char *)m->parts[1].data : "", m->settled ? " settled" : "",
        lk->in_delivery ? " more" : "");
    return n == len ? OK : ERR_AGAIN;
}

void amqp_link_abort(struct amqp_link *lk)
{
    lk->in_delivery = false;
    say("%s: abort; ", name_of(lk));
}

void amqp_link_drained(struct amqp_link *lk)
{
    lk->credit = 0;
    say("%s: drained; ", name_of(lk));
}

struct amqp_delivery *amqp_link_find(struct amqp_link *lk, const uint64_t token[2])
{
    for (uint32_t i = 0; i < unsettled_out_count; i++)
        if (unsettled_out[i].link == lk && memcmp(unsettled_out[i].token, token, sizeof unsettled_out[i].token) == 0)
            return &unsettled_out[i];
    return NULL;
}

void amqp_link_give_up(struct amqp_link *lk)
{
    for (uint32_t i = 0; i < unsettled_out_count; i++) {
        if (unsettled_out[i].link != lk)
            continue;
        outgoing_lost(container_of(lk, struct link, amqp), &unsettled_out[i]);
        unsettled_out[i].link = NULL;
    }
    if (lk->in_delivery)
        amqp_link_abort(lk);
}

void amqp_delivery_settle(struct amqp_delivery *d)
{
    say("%s: settle #%u; ", name_of(d->link), d->id);
}

void amqp_link_grant(struct amqp_link *lk, uint32_t n)
{
    lk->credit += n;
    if (n)
        lk->overdrawn = 0;
    say("%s: credit +%u; ", name_of(lk), n);
}

void amqp_link_set_credit(struct amqp_link *lk, uint32_t n)
{
    lk->credit = n;
    say("%s: credit is %u; ", name_of(lk), n);
}

void amqp_link_drain(struct amqp_link *lk)
{
    say("%s: drain; ", name_of(lk));
}

void amqp_link_stop_drain(struct amqp_link *lk)
{
    say("%s: drain no more; ", name_of(lk));
}

enum err amqp_session_begin(struct amqp_conn *c, struct amqp_session **out)
{
    (void)c;
    static int some[8], next;
    *out = (struct amqp_session *)&some[next++ % 8];
    say("begin; ");
    return OK;
}

void amqp_session_end(struct amqp_session *s, const struct amqp_error *error)
{
    (void)s;
    (void)error;
}

void amqp_link_detach(struct amqp_link *lk, bool closed, const struct amqp_error *error)
{
    (void)closed;
    (void)error;
    say("%s: detach; ", name_of(lk));
}

static uint32_t held;

void amqp_transfer_hold(struct amqp_link *lk)
{
    (void)lk;
    held++;
}

void amqp_link_release_frames(struct amqp_link *lk, uint32_t n)
{
    (void)lk;
    assert_true(n <= held);
    held -= n;
}

struct amqp_delivery *amqp_link_delivery(struct amqp_link *lk, uint32_t id)
{
    struct amqp_delivery *d = &unsettled_in[id % UNSETTLED_MAX];
    return d->link == lk && d->id == id ? d : NULL;
}

struct amqp_delivery *amqp_delivery_track(struct amqp_link *lk, struct amqp_transfer *t)
{
    if (!amqp_link_delivery(lk, t->id))
        unsettled_in[t->id % UNSETTLED_MAX] = (struct amqp_delivery){.id = t->id, .link = lk};
    return amqp_link_delivery(lk, t->id);
}

void amqp_link_forget(struct amqp_link *lk, uint32_t id)
{
    (void)lk;
    unsettled_in[id % UNSETTLED_MAX].link = NULL;
}

void amqp_link_settle(struct amqp_link *lk, uint32_t first, uint32_t last, const struct amqp_state *state)
{
    for (uint32_t id = first; id != last + 1; id++)
        unsettled_in[id % UNSETTLED_MAX].link = NULL;
    if (first == last)
        say("%s: #%u %s; ", name_of(lk), first, state_name(state));
    else
        say("%s: #%u-%u %s; ", name_of(lk), first, last, state_name(state));
}

void amqp_link_update(struct amqp_link *lk, uint32_t id, const struct amqp_state *state)
{
    say("%s: #%u is %s; ", name_of(lk), id, state_name(state));
}

/* What the peer says of the terminus at its end. */
static struct amqp_terminus_view there = {.kind = AMQP_TERMINUS_NODE, .address = "there"};
static const struct amqp_terminus_view at_ours = {.kind = AMQP_TERMINUS_NODE, .address = "here"};

void amqp_link_peer_source(const struct amqp_link *lk, struct amqp_terminus_view *out)
{
    *out = lk->is_sender ? at_ours : there;
}

void amqp_link_peer_target(const struct amqp_link *lk, struct amqp_terminus_view *out)
{
    *out = lk->is_sender ? there : at_ours;
}

/* ---- threads ---- */

static mono_ms fake_now = 1000;

mono_ms loop_now(const struct loop *l)
{
    (void)l;
    return fake_now;
}

void loop_timer_after(struct loop *l, struct timer *t, mono_ms delay)
{
    loop_timer_at(l, t, fake_now + delay);
}

static struct timer_wheel *fake_wheel;

void loop_timer_at(struct loop *l, struct timer *t, mono_ms due)
{
    (void)l;
    timer_arm(fake_wheel, t, due);
}

__attribute__((unused)) static void pass_time(mono_ms ms)
{
    fake_now += ms;
    timer_wheel_run(fake_wheel, fake_now);
}

static struct letter *letters[64];
static int letter_count;

struct worker *worker_by_index(int index)
{
    (void)index;
    return NULL;
}

void worker_post(struct worker *w, struct letter *l)
{
    (void)w;
    letters[letter_count++] = l;
}

uint32_t told_control;
void link_tell_control(struct link *l, uint32_t bit)
{
    (void)l;
    told_control |= bit;
}

struct link *buried;
void link_bury(struct link *l)
{
    buried = l;
}

void request_post(const struct origin *o, uint64_t connection_id, const char *key, const uint8_t *message, size_t n)
{
    (void)connection_id;
    (void)message;
    say("request #%u of %zu octets to %s; ", o->delivery_id, n, key);
}

void request_post_own(const struct origin *o, struct own_link *to, const uint8_t *message, size_t n)
{
    (void)to;
    (void)message;
    say("request #%u of %zu octets to its owner; ", o->delivery_id, n);
}

/* ---- a router of one worker ---- */

static struct route_world world;
static struct route_here fake_here;
static struct connection conn;
static char peer_container[] = "peer";
static struct link *links[16];
static int link_count;
static uint32_t next_id;

/* The test's thread plays control and worker. */
static int play_control(void **state) NO_THREAD_SAFETY
{
    (void)state;
    thread_become_control();
    return 0;
}

static int setup(void **state)
{
    (void)state;
    rcu_reader_start();
    world.table = table_new();
    world.identity = (struct router_identity){.id = "A"};
    world.node_id = (struct slice){.data = (const uint8_t *)"0/A", .len = 3};
    world.default_distribution = DISTRIBUTION_BALANCED;
    atomic_init(&world.rules, rules_new());
    fake_here =
        (struct route_here){.slots = link_slots_new(0), .outboxes = outboxes_new(2, &here_arrivals), .world = &world};
    here = &fake_here;
    fake_wheel = timer_wheel_new(fake_now);
    memset(&conn, 0, sizeof conn);
    conn.strip_in = conn.strip_out = true;
    conn.container = peer_container;
    memset(unsettled_in, 0, sizeof unsettled_in);
    unsettled_out_count = held = next_id = 0;
    told_control = 0;
    buried = NULL;
    room = SIZE_MAX;
    said[0] = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    /* They may still name each other: first all go, then they are freed. */
    for (int i = 0; i < link_count; i++) {
        bool was_gone = links[i]->gone;
        links[i]->gone = true;
        message_log_forget(links[i]);
        if (links[i]->is_incoming)
            incoming_gone(links[i]);
        else if (!was_gone)
            outgoing_gone(links[i]);
        if (!links[i]->is_incoming)
            outgoing_abandon(links[i]);
    }
    for (int i = 0; i < link_count; i++) {
        free(links[i]->wanted);
        free(links[i]);
    }
    link_count = 0;
    free(conn.streams);
    conn.streams = NULL;
    timer_wheel_free(&fake_wheel);
    outboxes_free(&fake_here.outboxes);
    link_slots_free(&fake_here.slots);
    table_free(&world.table);
    struct rules *r = rcu_read(&world.rules);
    rules_free(&r);
    rcu_reader_stop();
    rcu_barrier_all();
    here = NULL;
    return 0;
}

static struct link *new_link(const char *name, bool is_incoming, struct address *a)
{
    struct link *l = xcalloc(1, sizeof *l);
    l->conn = &conn;
    l->wanted = xstrdup(name);
    l->name = l->wanted;
    l->is_incoming = is_incoming;
    l->amqp.is_sender = !is_incoming;
    l->address = a;
    l->capacity = 10;
    link_slots_add(here->slots, l);
    if (!is_incoming)
        outgoing_init(l);
    links[link_count++] = l;
    return l;
}

/* A streaming link that the router attaches. */
struct link *trunk_attach_stream(struct connection *c, struct amqp_session *s)
{
    (void)c;
    struct link *l = new_link("stream", false, NULL);
    l->amqp.session = s;
    l->is_ours = true;
    l->kind = LINK_DATA;
    l->priority = TRUNK_STREAMING;
    return l;
}

__attribute__((unused)) static struct address *new_address(const char *key, enum distribution d) NO_THREAD_SAFETY
{
    return table_get(world.table, key, d, -1);
}

/* Publish these receivers as where a's messages go. */
__attribute__((unused)) static void route_to(struct address *a, struct link **to, uint32_t n) NO_THREAD_SAFETY
{
    struct routes *r = routes_new(n, 0);
    for (uint32_t i = 0; i < n; i++)
        r->to[i] = (struct destination){.link = to[i]->token, .load = &to[i]->load, .capacity = to[i]->capacity};
    address_publish(a, r);
}

/* A frame comes in on l: text becomes a message's amqp-value section if first, else just octets. */
__attribute__((unused)) static void comes(struct link *l, const char *text, bool settled, bool first, bool more,
                                          bool aborted)
{
    uint8_t octets[512];
    size_t n = 0;
    if (first) {
        static const uint8_t section[] = {0x00, 0x53, 0x77, 0xa1};
        memcpy(octets, section, sizeof section);
        octets[4] = (uint8_t)strlen(text);
        n = 5;
    }
    memcpy(octets + n, text, strlen(text));
    n += strlen(text);
    struct amqp_transfer t = {.id = first ? next_id++ : next_id - 1,
                              .payload = {.data = octets, .len = n},
                              .first = first,
                              .settled = settled,
                              .more = more,
                              .aborted = aborted};
    if (first) {
        if (l->amqp.credit)
            l->amqp.credit--;
        else
            l->amqp.overdrawn++;
        if (!settled)
            unsettled_in[t.id % UNSETTLED_MAX] =
                (struct amqp_delivery){.id = t.id, .link = &l->amqp, .started = (uint32_t)fake_now};
    }
    t.delivery = amqp_link_delivery(&l->amqp, t.id);
    incoming_transfer(l, &t);
}

#endif
