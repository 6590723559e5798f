#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/here.h>
#include <router/route/message_log.h>
#include "routed_link_priv.h"

/* ---- in place of the engine, of the other end and of management: all is written down ---- */

static struct route_here worker;
_Thread_local struct route_here *here = &worker;
const struct amqp_state state_none = {.code = AMQP_STATE_NONE}, state_accepted = {.code = AMQP_ACCEPTED},
                        state_released = {.code = AMQP_RELEASED}, state_failed = {.code = AMQP_MODIFIED};

static char said[4096];
#define say(...) snprintf(said + strlen(said), sizeof said - strlen(said), __VA_ARGS__)
#define assert_said(text)                                                                                              \
    do {                                                                                                               \
        assert_string_equal(said, text);                                                                               \
        said[0] = 0;                                                                                                   \
    } while (0)

static const char *name_of(const struct amqp_state *s)
{
    return s->code == AMQP_ACCEPTED   ? "accepted"
           : s->code == AMQP_RELEASED ? "released"
           : s->code == AMQP_MODIFIED ? "modified"
           : s->code == AMQP_RECEIVED ? "received"
                                      : "none";
}

static size_t room;     /* octets that the engine takes */
static uint32_t window; /* deliveries that may be begun, beside credit */
static struct amqp_delivery sent[16];
static uint32_t sent_count;

uint32_t amqp_link_sendable(struct amqp_link *lk)
{
    return room ? (lk->credit < window ? lk->credit : window) : 0;
}

enum err amqp_link_send(struct amqp_link *lk, const struct amqp_send *m, size_t *n, struct amqp_delivery **d)
{
    size_t len = m->parts->len;
    *n = len < room ? len : room;
    if (room != SIZE_MAX)
        room -= *n;
    if (*n < len && *n == 0)
        return ERR_AGAIN;
    bool first = !lk->in_delivery;
    if (first) {
        lk->credit--;
        lk->delivery_count++;
        if (!m->settled) {
            sent[sent_count] = (struct amqp_delivery){.id = sent_count, .link = lk};
            *d = &sent[sent_count++];
        }
    }
    lk->in_delivery = m->more || *n < len;
    say("%s%.*s", first ? "" : "+", (int)*n, (const char *)m->parts->data);
    if (first && m->tag)
        say("#%.*s", m->tag_len, (const char *)m->tag);
    say("%s%s; ", m->settled ? " settled" : "", lk->in_delivery ? " more" : "");
    return *n == len ? OK : ERR_AGAIN;
}

void amqp_link_abort(struct amqp_link *lk)
{
    lk->in_delivery = false;
    say("abort; ");
}

void amqp_link_drained(struct amqp_link *lk)
{
    if (lk->drain)
        say("drained; ");
    lk->drain = false;
}

void amqp_link_give_back(struct amqp_link *lk, uint32_t n)
{
    lk->credit -= n;
    lk->delivery_count += n;
    say("give back %u; ", n);
}

void amqp_link_set_credit(struct amqp_link *lk, uint32_t n)
{
    lk->credit = n;
    say("credit %u; ", n);
}

void amqp_link_drain(struct amqp_link *lk)
{
    lk->drain = true;
    say("drain; ");
}

void amqp_link_stop_drain(struct amqp_link *lk)
{
    if (lk->drain)
        say("drain no more; ");
    lk->drain = false;
}

void amqp_link_detach(struct amqp_link *lk, bool closed, const struct amqp_error *error)
{
    (void)lk;
    say("detach%s %s; ", closed ? " closed" : "", error ? error->condition : "-");
}

void amqp_transfer_hold(struct amqp_link *lk)
{
    (void)lk;
    say("hold; ");
}

void amqp_link_release_frames(struct amqp_link *lk, uint32_t n)
{
    (void)lk;
    say("release %u frames; ", n);
}

struct amqp_delivery *amqp_link_find(struct amqp_link *lk, const uint64_t token[2])
{
    for (uint32_t i = 0; i < sent_count; i++)
        if (sent[i].link == lk && memcmp(sent[i].token, token, sizeof sent[i].token) == 0)
            return &sent[i];
    return NULL;
}

void amqp_delivery_settle(struct amqp_delivery *d)
{
    say("settle %u; ", d->id);
    d->link = NULL;
}

struct amqp_delivery *amqp_link_delivery(struct amqp_link *lk, uint32_t id)
{
    static struct amqp_delivery d;
    (void)lk;
    (void)id;
    d = (struct amqp_delivery){0};
    return &d;
}

void amqp_link_settle(struct amqp_link *lk, uint32_t first, uint32_t last, const struct amqp_state *state)
{
    (void)lk;
    say("settle %u-%u %s; ", first, last, name_of(state));
}

void amqp_link_update(struct amqp_link *lk, uint32_t id, const struct amqp_state *state)
{
    (void)lk;
    say("update %u %s; ", id, name_of(state));
}

uint32_t amqp_link_unsettled(const struct amqp_link *lk)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < sent_count; i++)
        n += sent[i].link == lk;
    return n;
}

void here_answer(const struct origin *o, uint32_t frames, bool done, const struct amqp_state *state)
{
    say("answer %u%s%s %s; ", o->delivery_id, frames ? " left" : "", done ? " done" : "", name_of(state));
}

void here_deliver(struct link_token to, const struct frame *f)
{
    assert_int_equal(to.index, 5);
    if (f->settles)
        say("settles %u %s; ", f->origin.delivery_id, name_of(&f->state));
    else
        say("pass %s%u %.*s%s%s%s; ", f->first ? "" : "+", f->origin.delivery_id, (int)f->payload.len,
            (const char *)f->payload.data, f->settled ? " settled" : "", f->more ? " more" : "",
            f->aborted ? " aborted" : "");
}

void routed_tell(struct link *l, enum routed_note kind, uint32_t number, bool flag, const struct slice *octets)
{
    (void)l;
    assert_null(octets);
    say("%s %u%s; ", kind == NOTE_LIMIT ? "limit" : "advance", number, flag ? " drain" : "");
}

void routed_detach(struct link *l, bool closed, const struct slice *error)
{
    l->routed->was_detached = true;
    say("detach now%s %.*s; ", closed ? " closed" : "", (int)error->len, (const char *)error->data);
}

mono_ms loop_now(const struct loop *l)
{
    (void)l;
    return 5000;
}

void message_log_piece(struct link *link, bool first, bool last, const uint8_t *octets, size_t n)
{
    (void)link, (void)octets;
    say("log %s%zu%s; ", first ? "" : "+", n, last ? "" : " more");
}

void message_log_aborted(struct link *link)
{
    (void)link;
    say("log abort; ");
}

/* ---- an end that sends, an end that receives ---- */

static struct connection conn;
static struct connection_settings settings;
static struct routed_link routed;
static struct link l;

static void link_start(bool sends)
{
    l = (struct link){.conn = &conn, .is_incoming = !sends, .routed = &routed, .token = {.index = 1}};
    l.amqp.is_sender = sends;
    l.amqp.snd_settle_mode = 2;
    l.amqp.delivery_count = 100; /* whatever the peer begins with */
    routed = (struct routed_link){.peer = {.index = 5, .worker = 0}};
    routed_transfer_init(&l);
}

static int setup(void **state)
{
    (void)state;
    conn.settings = &settings;
    said[0] = 0;
    room = SIZE_MAX;
    window = UINT32_MAX;
    sent_count = 0;
    link_start(true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (l.amqp.is_sender)
        routed_give_up_queue(&l);
    free((void *)routed.tx.ending.error.data);
    return 0;
}

static struct slice text(const char *s)
{
    return (struct slice){.data = (const uint8_t *)s, .len = strlen(s)};
}

/* A transfer of delivery `id` from the receiving end. */
static void take(uint32_t id, const char *payload, bool first, bool more)
{
    struct frame f = {.origin = {.link = {.index = 5}, .delivery_id = id},
                      .first = first,
                      .more = more,
                      .held = true,
                      .tag = first ? text("tag") : (struct slice){0},
                      .payload = text(payload)};
    routed_take_frame(&l, &f);
}

static void take_abort(uint32_t id)
{
    struct frame f = {.origin = {.link = {.index = 5}, .delivery_id = id}, .aborted = true, .held = true};
    routed_take_frame(&l, &f);
}

static void take_settles(uint32_t id)
{
    struct frame f = {.origin = {.link = {.index = 5}, .delivery_id = id}, .settles = true};
    routed_take_frame(&l, &f);
}

static void credit(uint32_t n)
{
    l.amqp.credit = n;
    routed_link_sendable(&l);
}

static void test_routed_transfer_credit_is_told_by_count(void **state)
{
    (void)state;
    credit(3);
    assert_said("limit 3; ");
    routed_link_sendable(&l);
    assert_said("");
    take(1, "a", true, false);
    assert_said("a#tag; answer 1 left none; ");
    routed_link_sendable(&l); /* what was used changes nothing: the count has moved with it */
    assert_said("");
    l.amqp.drain = true;
    routed_link_sendable(&l);
    assert_said("limit 3 drain; ");
}

static void test_routed_transfer_limit_gives_the_sender_as_much(void **state)
{
    (void)state;
    link_start(false);
    routed_take_limit(&l, 4, false);
    assert_said("credit 4; ");
    routed_take_limit(&l, 4, false);
    assert_said("");
    l.amqp.delivery_count += 3; /* it has sent three */
    l.amqp.credit = 1;
    routed_take_limit(&l, 4, true);
    assert_said("drain; ");
    routed_take_limit(&l, 2, false); /* taken back what is used already */
    assert_said("credit 0; drain no more; ");
}

static void test_routed_transfer_credit_given_back_passes_on_behind_what_came_before(void **state)
{
    (void)state;
    credit(5);
    said[0] = 0;
    routed_take_advance(&l, 1);
    assert_said("give back 1; ");
    room = 0;
    take(1, "a", true, false);
    routed_take_advance(&l, 3);
    assert_said("");
    room = SIZE_MAX;
    routed_link_sendable(&l);
    assert_said("a#tag; answer 1 left none; give back 3; ");
    link_start(false);
    l.amqp.delivery_count += 2;
    routed_link_drained(&l);
    routed_link_drained(&l);
    assert_said("advance 2; ");
}

static void test_routed_transfer_waits_for_credit_in_order(void **state)
{
    (void)state;
    take(1, "a", true, false);
    take(2, "b", true, false);
    assert_said("");
    assert_int_equal(l.stats.queued, 2);
    credit(1);
    assert_said("a#tag; answer 1 left none; limit 1; ");
    take(3, "c", true, false);
    credit(2);
    assert_said("b#tag; answer 2 left none; c#tag; answer 3 left none; limit 3; ");
    assert_int_equal(l.stats.queued, 0);
}

static void test_routed_transfer_goes_out_as_it_comes_and_in_parts(void **state)
{
    (void)state;
    credit(2);
    said[0] = 0;
    take(1, "one", true, true);
    assert_said("one#tag more; answer 1 left none; ");
    room = 2;
    take(1, "two", false, false);
    assert_said("+tw more; ");
    take(2, "x", true, false);
    assert_said("");
    room = SIZE_MAX;
    routed_link_sendable(&l);
    assert_said("+o; answer 1 left none; x#tag; answer 2 left none; ");
}

static void test_routed_transfer_aborted_before_it_began_leaves_its_credit(void **state)
{
    (void)state;
    take(1, "one", true, true);
    take_abort(1);
    /* Its frames have left, and the count says that one more may come in its place. */
    assert_said("answer 1 left none; answer 1 left none; limit 1; ");
    assert_int_equal(l.stats.queued, 0);
}

static void test_routed_transfer_aborted_on_its_way_is_aborted(void **state)
{
    (void)state;
    credit(1);
    said[0] = 0;
    take(1, "one", true, true);
    take_abort(1);
    assert_said("one#tag more; answer 1 left none; abort; answer 1 left none; ");
}

static void test_routed_transfer_settled_by_its_sender(void **state)
{
    (void)state;
    credit(1);
    said[0] = 0;
    take(1, "a", true, false);
    take(2, "b", true, false);
    said[0] = 0;
    take_settles(1);
    assert_said("settle 0; ");
    take_settles(2); /* still waits: it goes out settled */
    take_settles(3); /* is no more */
    assert_said("");
    credit(1);
    assert_said("b#tag settled; answer 2 left none; limit 2; ");
}

static void test_routed_transfer_to_who_wants_all_settled_is_accepted_on_its_behalf(void **state)
{
    (void)state;
    l.amqp.snd_settle_mode = 1;
    credit(1);
    said[0] = 0;
    take(1, "a", true, false);
    assert_said("a#tag settled; answer 1 left done accepted; ");
}

static void test_routed_transfer_outcomes_go_where_deliveries_came_from(void **state)
{
    (void)state;
    credit(1);
    take(7, "a", true, false);
    said[0] = 0;
    routed_link_disposition(&l, &sent[0], &(struct amqp_state){.code = AMQP_RECEIVED}, false);
    routed_link_disposition(&l, &sent[0], &state_released, true);
    assert_said("answer 7 received; answer 7 done released; ");
    assert_int_equal(l.stats.released, 1);
}

static void test_routed_transfer_of_a_link_that_is_lost_is_modified_but_not_after_a_detach(void **state)
{
    (void)state;
    credit(1);
    take(7, "a", true, false);
    said[0] = 0;
    routed_link_lost(&l, &sent[0]);
    assert_said("answer 7 done modified; ");
    routed.was_detached = true;
    routed_link_lost(&l, &sent[0]);
    assert_said("");
}

static void test_routed_transfer_answers_settle_and_give_the_window_back(void **state)
{
    (void)state;
    link_start(false);
    routed_take_answer(&l, &(struct answer){.first = 3, .last = 3, .frames = 2});
    assert_said("release 2 frames; ");
    routed_take_answer(&l, &(struct answer){.first = 3, .last = 3, .state.code = AMQP_RECEIVED});
    assert_said("update 3 received; ");
    routed_take_answer(&l, &(struct answer){.first = 3, .last = 5, .done = true, .state.code = AMQP_ACCEPTED});
    assert_said("settle 3-5 accepted; ");
    assert_int_equal(l.stats.accepted, 3);
}

static void test_routed_transfer_received_is_held_and_passed_on(void **state)
{
    (void)state;
    link_start(false);
    struct amqp_transfer t = {.id = 1, .first = true, .more = true, .payload = text("a")};
    routed_link_transfer(&l, &t);
    t = (struct amqp_transfer){.id = 1, .settled = true, .payload = text("b")};
    routed_link_transfer(&l, &t);
    /* Settled only by its last frame: the other end has sent it unsettled. */
    assert_said("hold; pass 1 a more; hold; pass +1 b settled; settles 1 none; ");
    t = (struct amqp_transfer){.id = 2, .first = true, .settled = true, .payload = text("c")};
    routed_link_transfer(&l, &t);
    assert_said("hold; pass 2 c settled; ");
    struct amqp_delivery d = {.id = 2};
    routed_link_peer_settled(&l, &d, &state_accepted);
    assert_said("settles 2 accepted; ");
    assert_int_equal(l.stats.deliveries, 2);
    assert_int_equal(l.stats.presettled, 1);
}

static void test_routed_transfer_before_the_other_end_is_there_ends_the_link(void **state)
{
    (void)state;
    link_start(false);
    routed.peer = LINK_TOKEN_NONE;
    struct amqp_transfer t = {.id = 1, .first = true, .payload = text("a")};
    routed_link_transfer(&l, &t);
    assert_said("detach closed amqp:link:transfer-limit-exceeded; ");
    routed.peer_ended = true; /* it was there: this link is about to end for that */
    routed_link_transfer(&l, &t);
    assert_said("");
}

static void test_routed_transfer_detach_waits_for_what_can_go_before_it(void **state)
{
    (void)state;
    struct slice error = text("x:y"), none = {0};
    credit(1);
    room = 0;
    take(1, "a", true, false);
    said[0] = 0;
    routed_detach_in_order(&l, true, &error);
    routed_detach_in_order(&l, false, &none); /* it has been said */
    assert_said("");
    room = SIZE_MAX;
    routed_link_sendable(&l);
    assert_said("a#tag; answer 1 left none; detach now closed x:y; ");
}

static void test_routed_transfer_detach_does_not_wait_for_credit_that_may_never_come(void **state)
{
    (void)state;
    struct slice none = {0};
    take(1, "a", true, false);
    take(2, "b", true, true);
    routed_detach_in_order(&l, false, &none);
    assert_said("answer 1 left done released; answer 2 left done released; detach now ; ");
    take(3, "c", true, false); /* too late */
    assert_said("answer 3 left none; ");
}

static void test_routed_transfer_large_payload_is_counted_and_not_copied(void **state)
{
    (void)state;
    enum { LARGE = 100000 };
    struct buffer *b = buffer_new(LARGE);
    memset(b->bytes, 'x', LARGE);
    struct frame f = {.origin = {.link = {.index = 5}, .delivery_id = 1},
                      .first = true,
                      .held = true,
                      .payload = {.buf = b, .data = b->bytes, .len = LARGE}};
    routed_take_frame(&l, &f);
    assert_int_equal(atomic_load(&b->refs), 2);
    routed_give_up_queue(&l);
    assert_int_equal(atomic_load(&b->refs), 1);
    buffer_unref(b);
    assert_said("answer 1 left done released; ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_routed_transfer_credit_is_told_by_count),
        TEST(test_routed_transfer_limit_gives_the_sender_as_much),
        TEST(test_routed_transfer_credit_given_back_passes_on_behind_what_came_before),
        TEST(test_routed_transfer_waits_for_credit_in_order),
        TEST(test_routed_transfer_goes_out_as_it_comes_and_in_parts),
        TEST(test_routed_transfer_aborted_before_it_began_leaves_its_credit),
        TEST(test_routed_transfer_aborted_on_its_way_is_aborted),
        TEST(test_routed_transfer_settled_by_its_sender),
        TEST(test_routed_transfer_to_who_wants_all_settled_is_accepted_on_its_behalf),
        TEST(test_routed_transfer_outcomes_go_where_deliveries_came_from),
        TEST(test_routed_transfer_of_a_link_that_is_lost_is_modified_but_not_after_a_detach),
        TEST(test_routed_transfer_answers_settle_and_give_the_window_back),
        TEST(test_routed_transfer_received_is_held_and_passed_on),
        TEST(test_routed_transfer_before_the_other_end_is_there_ends_the_link),
        TEST(test_routed_transfer_detach_waits_for_what_can_go_before_it),
        TEST(test_routed_transfer_detach_does_not_wait_for_credit_that_may_never_come),
        TEST(test_routed_transfer_large_payload_is_counted_and_not_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
