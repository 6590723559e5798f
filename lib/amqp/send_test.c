#include "conn_test_owner.h"

#include "raw_peer.h"

static struct raw *sender(uint32_t max_frame_size, uint32_t window, uint32_t credit)
{
    struct raw *r = raw_new(test_conf(true), max_frame_size, window);
    raw_attach(r, 3, true);
    raw_flow(r, 0, window, 3, 0, credit, false);
    return r;
}

static enum err send_text(struct raw *r, const char *text, bool settled, bool more, size_t *sent)
{
    struct slice part = slice_of_text(text);
    struct amqp_send m = {.parts = &part, .part_count = 1, .settled = settled, .more = more};
    return amqp_link_send(&r->o->links->link, &m, sent, NULL);
}

static void test_send_splits_by_the_peers_frame_size(void **state)
{
    (void)state;
    struct raw *r = sender(512, 100, 10);
    struct buffer *b = buffer_new(10000);
    for (int i = 0; i < 10000; i++)
        b->bytes[i] = (uint8_t)(i * 7);
    /* Small and large parts, one of them borrowed: some are copied, some are sent from where they lie. */
    struct slice parts[] = {
        {NULL, b->bytes, 100}, {b, b->bytes + 100, 5000}, {NULL, NULL, 0}, {b, b->bytes + 5100, 4900}};
    static const uint8_t tag[] = {1, 2, 3};
    struct amqp_send m = {.parts = parts, .part_count = 4, .tag = tag, .tag_len = 3, .message_format = 9};
    struct amqp_delivery *d = NULL;
    size_t sent;
    assert_int_equal(amqp_link_send(&r->o->links->link, &m, &sent, &d), OK);
    buffer_unref(b); /* the queue has its own counts */
    assert_int_equal(sent, 10000);
    assert_true(d->complete);
    size_t at = 0;
    for (bool more = true, first = true; more; first = false) {
        struct amqp_transfer_fields f;
        struct amqp_reader payload = raw_read_transfer(r, &f);
        assert_true(first == f.has.delivery_tag);
        assert_int_equal(f.delivery_id, 0);
        if (first) {
            assert_int_equal(f.delivery_tag.len, 3);
            assert_int_equal(f.message_format, 9);
        }
        more = f.more;
        for (; payload.at < payload.end; payload.at++, at++)
            assert_int_equal(*payload.at, (uint8_t)(at * 7));
    }
    assert_int_equal(at, 10000);
    assert_int_equal(r->o->links->link.credit, 9);
    raw_free(r);
}

static void test_send_stops_at_the_window_and_goes_on(void **state)
{
    (void)state;
    struct raw *r = sender(512, 3, 10);
    static char text[2000];
    memset(text, 'a', sizeof text - 1);
    size_t sent;
    assert_int_equal(send_text(r, text, true, false, &sent), ERR_AGAIN);
    assert_true(sent > 1000 && sent < 1536);
    assert_true(r->o->links->link.in_delivery);
    raw_take(r);
    assert_int_equal(r->o->links->sendable, 1); /* of the credit */
    raw_flow(r, 3, 3, 3, 1, 9, false);
    assert_int_equal(r->o->links->sendable, 2);
    size_t rest;
    assert_int_equal(send_text(r, text + sent, true, false, &rest), OK);
    assert_int_equal(sent + rest, sizeof text - 1);
    assert_false(r->o->links->link.in_delivery);
    raw_free(r);
}

static void test_send_window_wakes_those_who_asked(void **state)
{
    (void)state;
    struct raw *r = sender(512, 1, 10);
    size_t sent;
    assert_int_equal(send_text(r, "x", true, false, &sent), OK);
    assert_int_equal(amqp_link_sendable(&r->o->links->link), 0);
    r->o->links->sendable = 0;
    /* A flow for the session alone. */
    struct amqp_flow_fields f = {0};
    AMQP_SET(&f, next_incoming_id, 1);
    AMQP_SET(&f, incoming_window, 5);
    AMQP_SET(&f, next_outgoing_id, 0);
    AMQP_SET(&f, outgoing_window, 5);
    AMQP_SET(&f, echo, true);
    RAW_SEND(r, 0, flow, &f);
    assert_int_equal(r->o->links->sendable, 1);
    assert_int_equal(amqp_link_sendable(&r->o->links->link), 5);
    raw_expect(r, AMQP_DESC_TRANSFER);
    struct amqp_flow_fields answer = raw_read_flow(r);
    assert_false(answer.has.handle);
    assert_int_equal(answer.next_outgoing_id, 1);
    raw_free(r);
}

static void test_send_full_output_queue_stops_and_wakes(void **state)
{
    (void)state;
    struct amqp_conn_conf conf = test_conf(true);
    conf.output_limit = 1000;
    struct raw *r = raw_new(conf, 16384, 1000);
    raw_attach(r, 3, true);
    r->o->to_send = 50;
    r->o->send_settled = true;
    raw_flow(r, 0, 1000, 3, 0, 100, false);
    assert_true(amqp_conn_pending(&r->o->c) < 1000 + 200);
    assert_true(r->o->to_send > 30);
    raw_take(r);
    assert_int_equal(r->o->to_send, 0);
    for (int i = 0; i < 50; i++)
        raw_expect(r, AMQP_DESC_TRANSFER);
    raw_free(r);
}

/* Both wait for room; who is more urgent sends first, though it came last. */
static void test_send_full_output_queue_wakes_the_more_urgent_first(void **state)
{
    (void)state;
    struct amqp_conn_conf conf = test_conf(true);
    conf.output_limit = 1000;
    struct raw *r = raw_new(conf, 16384, 1000);
    raw_attach(r, 3, true);
    raw_attach(r, 4, true);
    struct amqp_link *urgent = &r->o->links->link, *other = &r->o->links->next->link;
    urgent->urgency = 7;
    other->urgency = 1;
    raw_flow(r, 0, 1000, 3, 0, 100, false);
    raw_flow(r, 0, 1000, 4, 0, 100, false);
    raw_take(r);
    r->at = r->len;
    struct slice part = slice_of_text("filling filling filling filling filling filling filling filling");
    struct amqp_send m = {.parts = &part, .part_count = 1, .settled = true};
    size_t sent;
    while (amqp_link_send(other, &m, &sent, NULL) == OK)
        ;
    assert_int_equal(amqp_link_sendable(urgent), 0);
    r->o->to_send = 1;
    r->o->send_settled = true;
    raw_take(r);
    assert_int_equal(r->o->to_send, 0);
    uint32_t last = UINT32_MAX;
    for (struct seen s; raw_next(r, &s);) {
        struct amqp_transfer_fields f;
        assert_int_equal(s.performative, AMQP_DESC_TRANSFER);
        assert_int_equal(amqp_read_transfer(&s.body, &f), OK);
        last = f.handle;
    }
    assert_int_equal(last, urgent->local_handle);
    raw_free(r);
}

/* Its frames overtake what waits for the others. */
static void test_send_urgent_session_goes_first_and_has_room_of_its_own(void **state)
{
    (void)state;
    struct amqp_conn_conf conf = test_conf(true);
    conf.output_limit = 1000;
    struct raw *r = raw_new(conf, 16384, 1000);
    raw_attach(r, 3, true);
    raw_flow(r, 0, 1000, 3, 0, 100, false);
    struct amqp_session *control;
    assert_int_equal(amqp_session_begin(&r->o->c, &control), OK);
    amqp_session_hurry(control);
    raw_take(r);
    r->at = r->len;
    struct slice part = slice_of_text("filling filling filling filling filling filling filling filling");
    struct amqp_send m = {.parts = &part, .part_count = 1, .settled = true};
    size_t sent;
    while (amqp_link_send(&r->o->links->link, &m, &sent, NULL) == OK)
        ;
    amqp_session_end(control, NULL);
    struct seen first = {0};
    assert_true(raw_next(r, &first));
    assert_int_equal(first.performative, AMQP_DESC_END);
    raw_expect(r, AMQP_DESC_TRANSFER);
    raw_free(r);
}

static void test_send_with_state_and_its_fields(void **state)
{
    (void)state;
    struct raw *r = sender(512, 100, 10);
    uint8_t raw[300] = {0, 0x53, 0x34, 0xd0, 0, 0, 0, 0, 0, 0, 0, 1, 0xb0};
    amqp_put32(raw + 4, sizeof raw - 8);
    amqp_put32(raw + 13, sizeof raw - 17);
    struct slice part = slice_of_text("body");
    struct amqp_state s = {.code = AMQP_TRANSACTIONAL, .raw = {NULL, raw, sizeof raw}};
    struct amqp_send m = {.parts = &part, .part_count = 1, .state = &s};
    size_t sent;
    assert_int_equal(amqp_link_send(&r->o->links->link, &m, &sent, NULL), OK);
    s = (struct amqp_state){.code = AMQP_ACCEPTED};
    assert_int_equal(amqp_link_send(&r->o->links->link, &m, &sent, NULL), OK);
    struct amqp_transfer_fields f;
    struct amqp_reader payload = raw_read_transfer(r, &f);
    assert_int_equal(f.state.len, sizeof raw);
    assert_memory_equal(f.state.data, raw, sizeof raw);
    assert_false(f.more);
    assert_int_equal(amqp_left(&payload), 4);
    payload = raw_read_transfer(r, &f);
    assert_int_equal(f.state.len, 4);
    assert_int_equal(f.state.data[2], AMQP_ACCEPTED);
    assert_memory_equal(payload.at, "body", 4);
    raw_free(r);
}

static void test_send_abort_ends_the_delivery(void **state)
{
    (void)state;
    struct raw *r = sender(512, 100, 10);
    size_t sent;
    assert_int_equal(send_text(r, "one", false, true, &sent), OK);
    assert_int_equal(send_text(r, "", false, true, &sent), OK); /* says nothing */
    assert_int_equal(amqp_link_unsettled(&r->o->links->link), 1);
    amqp_link_abort(&r->o->links->link);
    assert_int_equal(amqp_link_unsettled(&r->o->links->link), 0);
    struct amqp_transfer_fields f;
    raw_read_transfer(r, &f);
    assert_true(f.more && !f.settled);
    raw_read_transfer(r, &f);
    assert_true(f.aborted && f.settled && !f.more);
    raw_expect_nothing(r);
    assert_int_equal(send_text(r, "two", true, false, &sent), OK);
    raw_read_transfer(r, &f);
    assert_int_equal(f.delivery_id, 1);
    raw_free(r);
}

static void test_send_abort_without_window_goes_out_later(void **state)
{
    (void)state;
    struct raw *r = sender(512, 1, 10);
    size_t sent;
    assert_int_equal(send_text(r, "one", false, true, &sent), OK);
    amqp_link_abort(&r->o->links->link);
    raw_expect(r, AMQP_DESC_TRANSFER);
    raw_expect_nothing(r);
    assert_int_equal(send_text(r, "more", false, false, &sent), ERR_AGAIN);
    raw_flow(r, 1, 10, 3, 1, 9, false);
    struct amqp_transfer_fields f;
    raw_read_transfer(r, &f);
    assert_true(f.aborted);
    assert_int_equal(amqp_link_sendable(&r->o->links->link), 9);
    raw_free(r);
}

static void test_send_detach_in_mid_delivery_aborts_first(void **state)
{
    (void)state;
    struct raw *r = sender(512, 100, 10);
    size_t sent;
    assert_int_equal(send_text(r, "whole", false, false, &sent), OK);
    assert_int_equal(send_text(r, "half", false, true, &sent), OK);
    amqp_link_detach(&r->o->links->link, false, NULL);
    struct amqp_transfer_fields f;
    raw_read_transfer(r, &f);
    raw_read_transfer(r, &f);
    raw_read_transfer(r, &f);
    assert_true(f.aborted);
    struct seen s = raw_expect(r, AMQP_DESC_DETACH);
    struct amqp_detach_fields d;
    assert_int_equal(amqp_read_detach(&s.body, &d), OK);
    assert_false(d.closed);
    assert_int_equal(send_text(r, "late", false, false, &sent), ERR_CLOSED);
    assert_int_equal(r->o->lost, 0);
    struct amqp_detach_fields answer = {0};
    AMQP_SET(&answer, handle, 3);
    RAW_SEND(r, 0, detach, &answer);
    assert_int_equal(r->o->lost, 2); /* the whole one, and the half one */
    assert_int_equal(r->o->links->gone, 1);
    assert_false(r->o->links->detached_closed);
    raw_free(r);
}

static void test_send_drain_uses_up_the_credit(void **state)
{
    (void)state;
    struct raw *r = sender(512, 100, 0);
    r->o->to_send = 3;
    raw_flow(r, 0, 100, 3, 0, 10, true);
    for (int i = 0; i < 3; i++)
        raw_expect(r, AMQP_DESC_TRANSFER);
    struct amqp_flow_fields f = raw_read_flow(r);
    assert_int_equal(f.handle, 0);
    assert_int_equal(f.delivery_count, 10);
    assert_int_equal(f.link_credit, 0);
    assert_true(f.drain);
    assert_int_equal(amqp_link_sendable(&r->o->links->link), 0);
    /* The receiver's next credit counts from there. */
    raw_flow(r, 3, 100, 3, 10, 2, false);
    assert_int_equal(amqp_link_sendable(&r->o->links->link), 2);
    raw_free(r);
}

static void test_send_credit_counts_what_is_under_way(void **state)
{
    (void)state;
    struct raw *r = sender(512, 100, 5);
    size_t sent;
    for (int i = 0; i < 4; i++)
        assert_int_equal(send_text(r, "x", true, false, &sent), OK);
    raw_flow(r, 1, 100, 3, 1, 5, false); /* said when one had arrived */
    assert_int_equal(r->o->links->link.credit, 2);
    raw_flow(r, 1, 100, 3, 1, 2, false); /* taken back beneath what has been used */
    assert_int_equal(r->o->links->link.credit, 0);
    assert_int_equal(send_text(r, "x", true, false, &sent), ERR_AGAIN);
    raw_flow(r, 90, 100, 3, 900, 5, false); /* more than was sent: nonsense, and it does no harm */
    assert_int_equal(r->o->links->link.credit, 5);
    raw_flow(r, 4, UINT32_MAX, 3, 4, UINT32_MAX, false);
    assert_int_equal(r->o->links->link.credit, UINT32_MAX);
    raw_free(r);
}

static void test_send_echo_is_answered(void **state)
{
    (void)state;
    struct raw *r = sender(512, 100, 5);
    struct amqp_flow_fields f = {0};
    AMQP_SET(&f, next_incoming_id, 0);
    AMQP_SET(&f, incoming_window, 100);
    AMQP_SET(&f, next_outgoing_id, 0);
    AMQP_SET(&f, outgoing_window, 5);
    AMQP_SET(&f, handle, 3);
    AMQP_SET(&f, delivery_count, 0);
    AMQP_SET(&f, link_credit, 7);
    AMQP_SET(&f, echo, true);
    RAW_SEND(r, 0, flow, &f);
    struct amqp_flow_fields answer = raw_read_flow(r);
    assert_int_equal(answer.handle, 0);
    assert_int_equal(answer.link_credit, 7);
    raw_free(r);
}

static void test_send_receiver_settles_second(void **state)
{
    (void)state;
    struct raw *r = sender(512, 100, 5);
    r->o->send_settled = false;
    struct amqp_delivery *d;
    struct slice part = slice_of_text("x");
    struct amqp_send m = {.parts = &part, .part_count = 1};
    size_t sent;
    assert_int_equal(amqp_link_send(&r->o->links->link, &m, &sent, &d), OK);
    d->token[0] = 4711;
    raw_expect(r, AMQP_DESC_TRANSFER);
    static const uint8_t accepted[] = {0, 0x53, 0x24, 0x45};
    struct amqp_disposition_fields f = {0};
    AMQP_SET(&f, role, true);
    AMQP_SET(&f, first, d->id);
    AMQP_SET(&f, state, ((struct slice){NULL, accepted, sizeof accepted}));
    RAW_SEND(r, 0, disposition, &f);
    assert_int_equal(r->o->dispositions, 1);
    assert_int_equal(r->o->settled, 0);
    assert_int_equal(r->o->last_delivery.token[0], 4711);
    amqp_delivery_settle(d);
    struct amqp_disposition_fields said = raw_read_disposition(r);
    assert_false(said.role);
    assert_true(said.settled);
    assert_int_equal(said.state.data[2], AMQP_ACCEPTED);
    assert_int_equal(amqp_link_unsettled(&r->o->links->link), 0);
    raw_free(r);
}

static void test_send_give_up_settles_and_aborts(void **state)
{
    (void)state;
    struct raw *r = sender(512, 100, 5);
    r->o->send_settled = false;
    size_t sent;
    assert_int_equal(send_text(r, "whole", false, false, &sent), OK);
    assert_int_equal(send_text(r, "half", false, true, &sent), OK);
    raw_expect(r, AMQP_DESC_TRANSFER);
    raw_expect(r, AMQP_DESC_TRANSFER);
    amqp_link_give_up(&r->o->links->link);
    assert_int_equal(r->o->lost, 2);
    assert_int_equal(amqp_link_unsettled(&r->o->links->link), 0);
    assert_false(r->o->links->link.in_delivery);
    amqp_link_give_up(&r->o->links->link);
    assert_int_equal(r->o->lost, 2);
    raw_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_send_splits_by_the_peers_frame_size),
        cmocka_unit_test(test_send_stops_at_the_window_and_goes_on),
        cmocka_unit_test(test_send_window_wakes_those_who_asked),
        cmocka_unit_test(test_send_full_output_queue_stops_and_wakes),
        cmocka_unit_test(test_send_full_output_queue_wakes_the_more_urgent_first),
        cmocka_unit_test(test_send_urgent_session_goes_first_and_has_room_of_its_own),
        cmocka_unit_test(test_send_with_state_and_its_fields),
        cmocka_unit_test(test_send_abort_ends_the_delivery),
        cmocka_unit_test(test_send_abort_without_window_goes_out_later),
        cmocka_unit_test(test_send_detach_in_mid_delivery_aborts_first),
        cmocka_unit_test(test_send_drain_uses_up_the_credit),
        cmocka_unit_test(test_send_credit_counts_what_is_under_way),
        cmocka_unit_test(test_send_echo_is_answered),
        cmocka_unit_test(test_send_receiver_settles_second),
        cmocka_unit_test(test_send_give_up_settles_and_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
