#include "mesh_priv.h"

#include <inttypes.h>
#include <string.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/log.h>

/* A message while it is dealt with. */
struct incoming {
    uint64_t link;
    const uint8_t *octets;
    size_t n;
    struct wire_envelope envelope;
    struct wire_message body;
};

static bool is_own(const struct mesh *m, struct slice id)
{
    return amqp_slice_is(id, m->id);
}

/* Result: whether this is the first copy. */
static bool relay(struct mesh *m, const struct incoming *in, uint32_t router)
{
    struct flood_mark mark = {(int)in->body.op, in->body.instance, in->body.ls_seq, in->body.mobile_seq};
    bool is_first = flood_pass(m->flood, router, &mark, m->now);
    if (is_first)
        mesh_relay_to_all(m, in->octets, in->n, &in->envelope, in->body.id, in->link);
    return is_first;
}

/* What a living neighbour says of itself in its HELLO goes before what others have heard of a router of its name. */
static bool contradicts_neighbour(struct mesh *m, const struct wire_message *b, uint32_t router)
{
    const struct neighbour *n = hello_neighbour(m->hello, b->id);
    if (n == NULL || b->instance == 0 || !start_is_other(n->start, (struct start){b->instance, b->life}))
        return false;
    struct router_state *s = mesh_state(m, router);
    /* A later life of it may be heard of before its old link is found dead: that is no second router yet. */
    if (b->instance <= n->start.instance && !s->is_duplicate_logged) {
        s->is_duplicate_logged = true;
        LOG(ROUTER_LS, ERROR_LEVEL,
            "duplicate-router-id id=%s instance=%" PRId64 " other=%" PRId64
            ": two routers have this id, one is a neighbour; give one of them another id",
            n->id, n->start.instance, b->instance);
    }
    return true;
}

static void follow_news(struct mesh *m, uint32_t router, uint32_t news)
{
    if (news & LSDB_RESTARTED)
        mesh_forget_life(m, router);
    if (news & (LSDB_RESTARTED | LSDB_RECORD))
        throttle_ask(&m->routes, m->now, ROUTES_HOLD);
    if (news & LSDB_LS_AHEAD)
        mesh_ask_record(m, router, 0);
    if (news & LSDB_MOBILE_AHEAD)
        mesh_ask_addresses(m, router, mobile_known(m->mobile, router) ? QUESTION_UPDATE : 0);
}

static enum err on_ra(struct mesh *m, const struct incoming *in)
{
    const struct wire_message *b = &in->body;
    uint32_t router, news;
    enum err e = lsdb_know(m->lsdb, b->id, m->now, &router);
    if (e != OK)
        return e;
    if (contradicts_neighbour(m, b, router))
        return OK;
    lsdb_hear(m->lsdb, router, b->instance, b->ls_seq, b->mobile_seq, m->now, &news);
    mesh_check_life(m, router);
    follow_news(m, router, news);
    if (!(news & LSDB_BEHIND))
        mesh_state(m, router)->addresses_wanted = 0; /* what an update said is settled by this */
    bool is_first = relay(m, in, router);
    /* Each RA is a reason to ask again for what is still missing: a question or its answer was lost. */
    if (is_first && !(news & LSDB_BEHIND) && b->mobile_seq > mobile_known(m->mobile, router))
        mesh_ask_addresses(m, router, QUESTION_UPDATE);
    return OK;
}

/* A neighbour of ours passes on what it knows of another router: with its record, how far its addresses are. */
static void hear_through_neighbour(struct mesh *m, uint32_t router, const struct wire_message *b, uint32_t *news)
{
    const struct lsdb_router *r = lsdb_router(m->lsdb, router);
    if (b->instance != r->instance || b->mobile_seq <= r->mobile_seq)
        return;
    uint32_t more;
    int64_t ls_seq = b->ls_seq > r->announced ? b->ls_seq : r->announced;
    lsdb_hear(m->lsdb, router, b->instance, ls_seq, b->mobile_seq, m->now, &more);
    *news |= more;
}

/* A neighbour that was restarted within the second of its last start says so itself. (Others learn it from what it
 * numbers next, see mesh_outdo().) */
static void note_own_life(struct mesh *m, const struct incoming *in, uint32_t router)
{
    const struct lsdb_router *r = lsdb_router(m->lsdb, router);
    const char *peer = hello_link_peer(m->hello, in->link);
    if (in->body.life == 0 || r->life == 0 || in->body.life == r->life || in->body.instance != r->instance ||
        peer == NULL || strcmp(peer, r->id) != 0)
        return;
    lsdb_begin_life(m->lsdb, router, in->body.instance, m->now);
    follow_news(m, router, LSDB_RESTARTED);
}

static enum err on_lsu(struct mesh *m, const struct incoming *in)
{
    const struct wire_message *b = &in->body;
    uint32_t router, news;
    enum err e = lsdb_know(m->lsdb, b->id, m->now, &router);
    if (e != OK)
        return e;
    if (contradicts_neighbour(m, b, router))
        return OK;
    note_own_life(m, in, router);
    e = lsdb_install(m->lsdb, router, b->instance, b->ls_seq, b->peers, m->now, &news);
    if (e != OK)
        return e;
    if (b->has_mobile_seq)
        hear_through_neighbour(m, router, b, &news);
    if (news & LSDB_RECORD)
        lsdb_set_life(m->lsdb, router, b->life);
    mesh_check_life(m, router);
    follow_news(m, router, news);
    if (news & (LSDB_RECORD | LSDB_MOBILE_AHEAD))
        mesh_push_record(m, router, in->link);
    const struct lsdb_router *r = lsdb_router(m->lsdb, router);
    if (r->announced <= r->ls_seq)
        mesh_state(m, router)->record = (struct question){MONO_MS_NEVER, 0};
    return OK;
}

static enum err on_mau(struct mesh *m, const struct incoming *in)
{
    const struct wire_message *b = &in->body;
    uint32_t router;
    if (!lsdb_find(m->lsdb, b->id, &router)) {
        LOG_PEER(ROUTER_MA, WARNING, "update-of-unknown-router id=%.*s: ignored until it has announced itself",
                 (int)b->id.len, (const char *)b->id.data);
        return OK;
    }
    struct router_state *s = mesh_state(m, router);
    enum err e;
    if (b->is_absolute)
        e = mobile_receive_all(m->mobile, router, b->mobile_seq, b->exist, b->hints);
    else
        e = mobile_receive_update(m->mobile, router, b->mobile_seq, b->add, b->hints, b->del);
    if (e == ERR_AGAIN && b->mobile_seq > s->addresses_wanted) {
        s->addresses_wanted = b->mobile_seq;
        mesh_ask_addresses(m, router, 0);
    }
    if (e == OK) {
        s->addresses = (struct question){MONO_MS_NEVER, 0};
        const struct lsdb_router *r = lsdb_router(m->lsdb, router);
        s->addresses_start = (struct start){r->instance, r->life};
    }
    int64_t known = mobile_known(m->mobile, router);
    if (e == OK && (known < lsdb_router(m->lsdb, router)->mobile_seq || known < s->addresses_wanted))
        mesh_ask_addresses(m, router, QUESTION_UPDATE);
    if (in->envelope.scope == WIRE_ALL)
        (void)relay(m, in, router);
    return OK;
}

static void on_mar(struct mesh *m, const struct incoming *in)
{
    if (in->body.have_seq < mobile_seq(m->mobile))
        mesh_send_all_addresses(m, in->body.id, in->link);
}

static enum err dispatch(struct mesh *m, const struct incoming *in)
{
    const struct wire_message *b = &in->body;
    if (b->op == WIRE_HELLO)
        return hello_receive(m->hello, in->link, b->id, (struct start){b->instance, b->life}, b->seen, m->now);
    if (is_own(m, b->id)) {
        /* Ours come back by neighbours that do not look at the trace; or they are of an earlier life. */
        if (b->op == WIRE_RA || b->op == WIRE_LSU)
            mesh_outdo(m, b);
        return OK;
    }
    switch (b->op) {
    case WIRE_RA:
        return on_ra(m, in);
    case WIRE_LSU:
        return on_lsu(m, in);
    case WIRE_LSR:
        mesh_send_lsu(m, b->id, in->link);
        return OK;
    case WIRE_MAU:
        return on_mau(m, in);
    default:
        on_mar(m, in);
        return OK;
    }
}

static void log_dropped(const struct mesh *m, uint64_t link, const char *why)
{
    const char *peer = hello_link_peer(m->hello, link);
    LOG_PEER(ROUTER, WARNING, "control-message-dropped link=%" PRIu64 " from=%s: %s", link, peer ? peer : "unknown",
             why);
}

/* HELLO only from the link itself; the others to us or to all. */
static bool is_in_place(const struct incoming *in, const char **why)
{
    bool is_hello = in->body.op == WIRE_HELLO, is_at_hello = in->envelope.scope == WIRE_NEIGHBOUR;
    *why = "its address is not one for its opcode";
    return is_hello == is_at_hello;
}

static enum err receive(struct mesh *m, struct incoming *in)
{
    const char *why;
    if (in->n > m->conf.max_message) {
        log_dropped(m, in->link, "it is larger than the limit");
        return ERR_LIMIT;
    }
    enum err e = wire_open(in->octets, in->n, &in->envelope, &why);
    if (e == OK && in->envelope.scope == WIRE_OTHER)
        return ERR_NOT_FOUND;
    if (e == OK && in->envelope.scope == WIRE_ONE_ROUTER && !is_own(m, in->envelope.target)) {
        if (!wire_trace_has(&in->envelope, m->id))
            mesh_relay_to_one(m, in->octets, in->n, &in->envelope);
        return OK;
    }
    if (e == OK)
        e = wire_read(in->octets, in->n, &in->envelope, &in->body, &why);
    if (e == OK && !is_in_place(in, &why))
        e = ERR_INVALID;
    if (e != OK) {
        log_dropped(m, in->link, why);
        return ERR_INVALID;
    }
    if (in->body.version > WIRE_VERSION) {
        LOG_PEER(ROUTER, WARNING, "later-protocol-version router=%.*s version=%" PRId64 ": its messages are ignored",
                 (int)in->body.id.len, (const char *)in->body.id.data, in->body.version);
        return OK;
    }
    /* A copy that has been here and found its way back: an old router sent it round in a circle. */
    if (in->envelope.scope == WIRE_ALL && !is_own(m, in->body.id) && wire_trace_has(&in->envelope, m->id))
        return OK;
    return dispatch(m, in);
}

enum err mesh_receive(struct mesh *m, uint64_t link, const uint8_t *octets, size_t n, mono_ms now)
{
    ASSERT(!m->is_calling);
    if (!hello_link_exists(m->hello, link))
        return ERR_NOT_FOUND;
    struct incoming in = {.link = link, .octets = octets, .n = n};
    m->now = now;
    enum err e = receive(m, &in);
    mesh_settle(m, now);
    return e;
}
