/* Two engines that do at random whatever their owners may, over a wire that moves any number of octets at a time. What
 * must hold: links end once (C1), unsettled deliveries end once (C2), what arrives is what was sent, and all of it ends
 * in an orderly close. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/conn.h>
#include <trunkline/base/alloc.h>

#define SESSIONS 3
#define DELIVERIES 8192
#define DEBT 64

struct side;
struct end {
    struct amqp_link link;
    struct side *side;
    struct end *next;
    bool gone;
    uint32_t sending; /* number of the delivery under way */
    size_t left;      /* octets of it */
    uint8_t next_octet, expected_octet;
    uint32_t ids[DEBT], id_count; /* received and not yet settled */
    bool stopped_drain;           /* a drain was withdrawn before its answer came */
};

enum fate { UNUSED, UNDER_WAY, SETTLED, LOST, GIVEN_UP };

struct side {
    struct amqp_conn c;
    struct side *other;
    unsigned *seed;
    struct end *ends;
    struct amqp_session *sessions[SESSIONS];
    uint8_t fates[DELIVERIES]; /* of our unsettled deliveries, by token */
    uint32_t deliveries, names, received, closed, opened;
    uint8_t input[1 << 18];
    size_t input_len;
};

static unsigned chance(struct side *s, unsigned n)
{
    return (unsigned)rand_r(s->seed) % n;
}

static struct side *side_of(struct amqp_conn *c)
{
    return container_of(c, struct side, c);
}
static struct end *end_of(struct amqp_link *lk)
{
    return container_of(lk, struct end, link);
}

static struct end *end_new(struct side *s)
{
    struct end *e = xcalloc(1, sizeof *e);
    e->side = s;
    e->next = s->ends;
    s->ends = e;
    return e;
}

static void meet_fate(struct side *s, uint64_t token, enum fate f)
{
    assert_true(token < s->deliveries);
    assert_int_equal(s->fates[token], UNDER_WAY);
    s->fates[token] = (uint8_t)f;
}

/* ---- what an owner does of its own accord ---- */

static void do_send(struct end *e)
{
    struct side *s = e->side;
    static uint8_t octets[20000];
    bool fresh = !e->link.in_delivery;
    if (fresh) {
        if (!amqp_link_sendable(&e->link) || s->deliveries == DELIVERIES)
            return;
        e->left = chance(s, 4) ? chance(s, 300) : chance(s, (unsigned)sizeof octets);
    }
    size_t n = e->left && chance(s, 3) == 0 ? chance(s, (unsigned)e->left) : e->left;
    struct buffer *b = buffer_new(n + 1);
    for (size_t i = 0; i < n; i++)
        b->bytes[i] = (uint8_t)(e->next_octet + i);
    struct slice parts[2] = {{b, b->bytes, n / 3}, {b, b->bytes + n / 3, n - n / 3}};
    struct amqp_send m = {.parts = parts, .part_count = 2, .settled = chance(s, 2), .more = n < e->left};
    struct amqp_delivery *d = NULL;
    size_t sent;
    enum err r = amqp_link_send(&e->link, &m, &sent, &d);
    buffer_unref(b);
    assert_true(r == OK || r == ERR_AGAIN || r == ERR_CLOSED);
    e->next_octet = (uint8_t)(e->next_octet + sent);
    e->left -= sent;
    if (d) {
        assert_true(fresh);
        e->sending = s->deliveries;
        d->token[0] = s->deliveries;
        s->fates[s->deliveries++] = UNDER_WAY;
    } else if (fresh && e->link.in_delivery) {
        e->sending = UINT32_MAX;
    }
}

static void do_abort(struct end *e)
{
    if (!e->link.in_delivery)
        return;
    /* A delivery whose receiver has settled it early has met its fate already. */
    bool ends = e->sending != UINT32_MAX && e->side->fates[e->sending] == UNDER_WAY &&
                (e->link.flags & (AMQP_LINK_DETACHED_LOCAL | AMQP_LINK_DETACHED_REMOTE)) == 0;
    uint32_t before = amqp_link_unsettled(&e->link);
    amqp_link_abort(&e->link);
    if (ends && amqp_link_unsettled(&e->link) < before) {
        meet_fate(e->side, e->sending, GIVEN_UP);
        e->sending = UINT32_MAX;
    }
}

static void do_settle(struct end *e)
{
    static const enum amqp_state_code codes[] = {AMQP_ACCEPTED, AMQP_ACCEPTED, AMQP_RELEASED, AMQP_STATE_NONE};
    static const uint8_t modified[] = {0, 0x53, 0x27, 0xc0, 2, 1, 0x41};
    if (e->id_count == 0)
        return;
    uint32_t i = chance(e->side, e->id_count), id = e->ids[i];
    e->ids[i] = e->ids[--e->id_count];
    struct amqp_state st = {.code = codes[chance(e->side, 4)]};
    if (chance(e->side, 5) == 0)
        st = (struct amqp_state){.code = AMQP_MODIFIED, .raw = {NULL, modified, sizeof modified}};
    if (chance(e->side, 8) == 0)
        amqp_link_update(&e->link, id, &st);
    amqp_link_settle(&e->link, id, id + chance(e->side, 3), &st);
}

static void do_attach(struct side *s)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    uint32_t i = chance(s, SESSIONS);
    if (s->sessions[i] == NULL && amqp_session_begin(&s->c, &s->sessions[i]) != OK)
        return;
    struct end *e = end_new(s);
    struct amqp_attach a = {.name = names[chance(s, 8)], .is_sender = chance(s, 2), .source = "x", .target = "y"};
    if (amqp_link_attach(s->sessions[i], &e->link, &a) != OK) {
        s->ends = e->next;
        free(e);
    }
}

static struct end *some_end(struct side *s)
{
    uint32_t n = 0;
    for (struct end *e = s->ends; e; e = e->next)
        n += !e->gone;
    if (n == 0)
        return NULL;
    n = chance(s, n);
    struct end *e = s->ends;
    for (; e->gone || n--; e = e->next)
        ;
    return e;
}

static void act(struct side *s)
{
    unsigned what = chance(s, 400);
    if (what == 0)
        for (uint32_t i = 0; i < SESSIONS; i++)
            if (s->sessions[i] && chance(s, 2))
                amqp_session_end(s->sessions[i], NULL);
    if (what < 20)
        do_attach(s);
    struct end *e = some_end(s);
    if (e == NULL)
        return;
    if (what >= 20 && what < 24)
        amqp_link_detach(&e->link, chance(s, 2),
                         chance(s, 2) ? NULL : &(struct amqp_error){.condition = "amqp:internal-error"});
    else if (e->link.is_sender)
        what < 30 ? do_abort(e) : do_send(e);
    else if (what < 200)
        do_settle(e);
    else if (what < 330)
        amqp_link_grant(&e->link, chance(s, 20));
    else if (what < 340)
        amqp_link_drain(&e->link);
    else if (what < 345) {
        e->stopped_drain |= e->link.drain;
        amqp_link_stop_drain(&e->link);
    } else
        amqp_link_release_frames(&e->link, chance(s, 20));
}

/* ---- events ---- */

static void on_opened(struct amqp_conn *c)
{
    side_of(c)->opened++;
    amqp_conn_open(c);
}
static void on_closed(struct amqp_conn *c, const struct amqp_error *error, bool by_peer)
{
    (void)by_peer;
    if (error)
        fail_msg("closed by %s %s", error->condition, error->description ? error->description : "");
    side_of(c)->closed++;
}
static void on_dirty(struct amqp_conn *c)
{
    (void)c;
}
static struct amqp_link *on_new_link(struct amqp_conn *c)
{
    return &end_new(side_of(c))->link;
}
static void on_attached(struct amqp_link *lk)
{
    struct end *e = end_of(lk);
    assert_false(e->gone);
    if (lk->flags & AMQP_LINK_ATTACHED_LOCAL)
        return;
    if (chance(e->side, 10) == 0)
        amqp_link_refuse(lk, &(struct amqp_error){.condition = "amqp:not-found"});
    else
        amqp_link_accept(lk, NULL, 0);
}
static void on_detached(struct amqp_link *lk, bool closed, const struct amqp_error *error)
{
    if (error && strcmp(error->condition, "amqp:internal-error") != 0 &&
        strcmp(error->condition, "amqp:not-found") != 0)
        fail_msg("detached by %s %s", error->condition, error->description ? error->description : "");
    amqp_link_detach(lk, closed, NULL);
}
static void on_gone(struct amqp_link *lk)
{
    assert_false(end_of(lk)->gone);
    end_of(lk)->gone = true;
}
static void on_sendable(struct amqp_link *lk)
{
    struct end *e = end_of(lk);
    assert_false(e->gone);
    for (int i = 0; i < 3; i++)
        do_send(e);
    if (lk->drain && !lk->in_delivery)
        amqp_link_drained(lk);
}
static void on_drained(struct amqp_link *lk)
{
    /* Credit that is given back after the question was withdrawn may be a part of what there is. */
    assert_true(lk->credit == 0 || end_of(lk)->stopped_drain);
}
static void on_transfer(struct amqp_link *lk, struct amqp_transfer *t)
{
    struct end *e = end_of(lk);
    struct side *s = e->side;
    assert_false(e->gone);
    s->received++;
    if (t->first)
        e->expected_octet = t->payload.len ? t->payload.data[0] : e->expected_octet;
    for (size_t i = 0; i < t->payload.len; i++)
        assert_int_equal(t->payload.data[i], e->expected_octet++);
    if (chance(s, 8) == 0)
        amqp_transfer_hold(lk);
    if (t->delivery && !t->more && !t->aborted) {
        assert_int_equal(t->delivery->id, t->id);
        if (e->id_count == DEBT)
            do_settle(e);
        e->ids[e->id_count++] = t->id;
    }
    if (chance(s, 100) == 0)
        act(s);
}
static void on_disposition(struct amqp_delivery *d, const struct amqp_state *state, bool settled)
{
    (void)state;
    struct side *s = end_of(d->link)->side;
    if (settled) {
        meet_fate(s, d->token[0], SETTLED);
    } else if (d->complete && chance(s, 2)) {
        meet_fate(s, d->token[0], GIVEN_UP);
        amqp_delivery_settle(d);
    }
}
static void on_peer_settled(struct amqp_delivery *d, const struct amqp_state *state)
{
    (void)state;
    assert_true(d->remote_settled);
}
static void on_lost(struct amqp_delivery *d)
{
    assert_false(end_of(d->link)->gone);
    meet_fate(end_of(d->link)->side, d->token[0], LOST);
}
static void on_session_gone(struct amqp_conn *c, struct amqp_session *x)
{
    struct side *s = side_of(c);
    for (uint32_t i = 0; i < SESSIONS; i++)
        if (s->sessions[i] == x)
            s->sessions[i] = NULL;
}

static const struct amqp_handler handler = {
    .opened = on_opened,
    .closed = on_closed,
    .dirty = on_dirty,
    .new_link = on_new_link,
    .attached = on_attached,
    .detached = on_detached,
    .gone = on_gone,
    .sendable = on_sendable,
    .drained = on_drained,
    .transfer = on_transfer,
    .disposition = on_disposition,
    .peer_settled = on_peer_settled,
    .lost = on_lost,
    .session_gone = on_session_gone,
};

/* ---- the wire ---- */

static size_t move(struct side *from, struct side *to, size_t max)
{
    struct iovec iov[4];
    if (chance(from, 2))
        amqp_conn_flush(&from->c);
    int n = amqp_conn_output(&from->c, iov, 4);
    size_t moved = 0;
    for (int i = 0; i < n && moved < max; i++) {
        size_t some = iov[i].iov_len < max - moved ? iov[i].iov_len : max - moved;
        some = some < sizeof to->input - to->input_len ? some : sizeof to->input - to->input_len;
        memcpy(to->input + to->input_len, iov[i].iov_base, some);
        to->input_len += some;
        moved += some;
    }
    amqp_conn_written(&from->c, moved);
    struct buffer *b = buffer_new(to->input_len + 1);
    memcpy(b->bytes, to->input, to->input_len);
    size_t need, used = amqp_conn_input(&to->c, b, b->bytes, to->input_len, &need);
    buffer_unref(b);
    to->input_len -= used;
    memmove(to->input, to->input + used, to->input_len);
    return moved;
}

static void settle_down(struct side *a, struct side *b)
{
    for (int quiet = 0; quiet < 8;) {
        size_t moved = move(a, b, 100000) + move(b, a, 100000);
        quiet = moved ? 0 : quiet + 1;
    }
}

static struct side *side_new(bool server, unsigned *seed)
{
    struct side *s = xcalloc(1, sizeof *s);
    s->seed = seed;
    struct amqp_conn_conf conf = {
        .server = server,
        .container_id = "x",
        .max_frame_size = 512 + chance(s, 2000),
        .channel_max = 100,
        .max_links = 1000,
        .session_window = 1 + chance(s, 40),
        .output_limit = 1000 + chance(s, 20000),
        .first_delivery_id = (uint32_t)rand_r(seed) % 2 ? UINT32_MAX - chance(s, 100) : chance(s, 10),
        .first_transfer_id = UINT32_MAX - chance(s, 100),
    };
    assert_int_equal(amqp_conn_init(&s->c, &conf, &handler), OK);
    return s;
}

static void side_free(struct side *s)
{
    for (uint32_t i = 0; i < s->deliveries; i++)
        assert_true(s->fates[i] > UNDER_WAY);
    for (struct end *e = s->ends, *next; e; e = next) {
        next = e->next;
        assert_true(e->gone);
        free(e);
    }
    free(s);
}

static uint32_t run(unsigned seed)
{
    struct side *a = side_new(false, &seed), *b = side_new(true, &seed);
    a->other = b;
    b->other = a;
    settle_down(a, b);
    assert_true(a->opened && b->opened);
    for (int i = 0; i < 3000; i++) {
        act(chance(a, 2) ? a : b);
        if (chance(a, 4) == 0) {
            move(a, b, 1 + chance(a, 5000));
            move(b, a, 1 + chance(b, 5000));
        }
    }
    unsigned ending = chance(a, 3);
    if (ending < 2) {
        amqp_conn_close(ending ? &a->c : &b->c, NULL);
        settle_down(a, b);
        assert_int_equal(a->closed, 1);
        assert_int_equal(b->closed, 1);
    }
    amqp_conn_fini(&a->c);
    amqp_conn_fini(&b->c);
    uint32_t received = a->received + b->received;
    side_free(a);
    side_free(b);
    return received;
}

static void test_random_work_keeps_the_invariants(void **state)
{
    (void)state;
    uint32_t received = 0;
    for (unsigned seed = 1; seed <= 150; seed++)
        received += run(seed);
    assert_true(received > 20000); /* there was something to go wrong */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_work_keeps_the_invariants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
