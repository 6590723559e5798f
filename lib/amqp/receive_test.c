#include "conn_test_owner.h"

#include "raw_peer.h"

static struct raw *receiver(uint32_t credit, bool accept)
{
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    r->o->credit = credit;
    r->o->accept_deliveries = accept;
    raw_attach(r, 5, false);
    return r;
}

static void test_receive_continuation_without_id_belongs_to_the_delivery(void **state)
{
    (void)state;
    struct raw *r = receiver(10, true);
    raw_transfer(r, 5, 7, false, true, "one ");
    raw_transfer(r, 5, -1, false, true, "");
    raw_transfer(r, 5, -1, false, true, "two ");
    raw_transfer(r, 5, 7, false, false, "three");
    struct test_link *t = r->o->links;
    assert_int_equal(t->transfers, 4);
    assert_int_equal(t->messages, 1);
    assert_int_equal(t->last_id, 7);
    assert_memory_equal(t->text, "one two three", 13);
    struct amqp_disposition_fields d = raw_read_disposition(r);
    assert_true(d.role && d.settled);
    assert_int_equal(d.first, 7);
    assert_false(d.has.last);
    raw_free(r);
}

static void test_receive_empty_delivery_is_a_message(void **state)
{
    (void)state;
    struct raw *r = receiver(10, true);
    raw_transfer(r, 5, 0, true, false, "");
    assert_int_equal(r->o->links->messages, 1);
    assert_int_equal(r->o->links->octets, 0);
    assert_true(r->o->links->last_settled);
    raw_free(r);
}

static void test_receive_aborted_delivery_is_forgotten(void **state)
{
    (void)state;
    struct raw *r = receiver(10, true);
    raw_transfer(r, 5, 0, false, true, "half");
    assert_non_null(amqp_link_delivery(&r->o->links->link, 0));
    struct amqp_transfer_fields f = {0};
    AMQP_SET(&f, handle, 5);
    AMQP_SET(&f, aborted, true);
    AMQP_SET(&f, more, true);
    RAW_SEND(r, 0, transfer, &f);
    struct test_link *t = r->o->links;
    assert_int_equal(t->aborted, 1);
    assert_int_equal(t->messages, 0);
    assert_false(t->link.in_delivery);
    assert_null(amqp_link_delivery(&t->link, 0));
    assert_int_equal(amqp_link_unsettled(&t->link), 0);
    raw_transfer(r, 5, 1, true, false, "next");
    assert_int_equal(t->messages, 1);
    raw_free(r);
}

static void test_receive_settled_on_a_later_frame_needs_no_disposition(void **state)
{
    (void)state;
    struct raw *r = receiver(10, true);
    r->o->credit = 0;
    raw_transfer(r, 5, 0, false, true, "a");
    assert_false(r->o->links->last_settled);
    raw_transfer(r, 5, -1, true, false, "b");
    assert_true(r->o->links->last_settled);
    assert_int_equal(amqp_link_unsettled(&r->o->links->link), 0);
    raw_expect_nothing(r);
    raw_free(r);
}

static void expect_link_error(struct raw *r, const char *condition)
{
    raw_expect_error(r, AMQP_DESC_DETACH, condition);
    assert_string_equal(r->o->links->detach_error, condition);
    assert_int_equal(r->o->links->detached, 1);
    assert_int_equal(r->o->links->gone, 0);
    /* Under way when the detach was: no harm. */
    raw_transfer(r, 5, 77, false, false, "late");
    struct amqp_detach_fields f = {0};
    AMQP_SET(&f, handle, 5);
    AMQP_SET(&f, closed, true);
    RAW_SEND(r, 0, detach, &f);
    assert_int_equal(r->o->links->detached, 1);
    assert_int_equal(r->o->links->gone, 1);
    assert_int_equal(r->o->closed, 0);
    raw_expect_nothing(r);
    raw_free(r);
}

static void test_receive_beyond_credit_detaches(void **state)
{
    (void)state;
    struct raw *r = receiver(2, false);
    r->o->credit = 0;
    for (int i = 0; i < 3; i++)
        raw_transfer(r, 5, i, true, false, "x");
    assert_int_equal(r->o->links->messages, 2);
    expect_link_error(r, "amqp:link:transfer-limit-exceeded");
}

/* A receiving link whose peer begins to count deliveries at `count`. */
static struct raw *receiver_with_overdraft(uint32_t count, uint32_t credit, uint32_t overdraft)
{
    struct amqp_conn_conf conf = test_conf(true);
    conf.overdraft = overdraft;
    struct raw *r = raw_new(conf, 16384, 100);
    r->o->credit = credit;
    struct amqp_attach_fields f = {0};
    AMQP_SET(&f, name, slice_of_text("link"));
    AMQP_SET(&f, handle, 5);
    AMQP_SET(&f, role, false);
    AMQP_SET(&f, initial_delivery_count, count);
    RAW_SEND(r, 0, attach, &f);
    raw_expect(r, AMQP_DESC_ATTACH);
    if (credit)
        raw_expect(r, AMQP_DESC_FLOW);
    r->o->credit = 0;
    return r;
}

static void test_receive_overdraft_is_taken_and_one_more_detaches(void **state)
{
    (void)state;
    struct raw *r = receiver_with_overdraft(0, 2, 3);
    for (int i = 0; i < 6; i++)
        raw_transfer(r, 5, i, true, false, "x");
    assert_int_equal(r->o->links->messages, 5);
    expect_link_error(r, "amqp:link:transfer-limit-exceeded");
}

static void test_receive_overdraft_without_any_credit_is_taken(void **state)
{
    (void)state;
    struct raw *r = receiver_with_overdraft(7, 0, 1);
    raw_transfer(r, 5, 0, false, true, "in two");
    raw_transfer(r, 5, -1, false, false, " frames");
    assert_int_equal(r->o->links->messages, 1);
    assert_int_equal(r->o->links->link.overdrawn, 1);
    raw_transfer(r, 5, 1, true, false, "x");
    expect_link_error(r, "amqp:link:transfer-limit-exceeded");
}

static void test_receive_credit_after_an_overdraft_is_what_may_be_sent(void **state)
{
    (void)state;
    /* The delivery-count wraps amid the overdraft. */
    struct raw *r = receiver_with_overdraft(UINT32_MAX - 1, 1, 4);
    struct amqp_link *lk = &r->o->links->link;
    int id = 0;
    while (id < 4)
        raw_transfer(r, 5, id++, true, false, "x");
    assert_int_equal(lk->credit, 0);
    assert_int_equal(lk->overdrawn, 3);
    amqp_link_grant(lk, 5);
    struct amqp_flow_fields f = raw_read_flow(r);
    assert_int_equal(f.delivery_count, 2);
    assert_int_equal(f.link_credit, 5);
    assert_int_equal(lk->overdrawn, 0);
    while (id < 9)
        raw_transfer(r, 5, id++, true, false, "x");
    assert_int_equal(lk->credit, 0);
    assert_int_equal(lk->overdrawn, 0);
    while (id < 14)
        raw_transfer(r, 5, id++, true, false, "x");
    assert_int_equal(r->o->links->messages, 13);
    expect_link_error(r, "amqp:link:transfer-limit-exceeded");
}

static void test_receive_overdraft_under_way_when_credit_is_granted_uses_it(void **state)
{
    (void)state;
    struct raw *r = receiver_with_overdraft(UINT32_MAX, 0, 1);
    struct amqp_link *lk = &r->o->links->link;
    amqp_link_grant(lk, 3);
    assert_int_equal(raw_read_flow(r).delivery_count, UINT32_MAX);
    raw_transfer(r, 5, 0, true, false, "sent before the flow came");
    assert_int_equal(lk->overdrawn, 0);
    assert_int_equal(lk->credit, 2);
    assert_int_equal(lk->delivery_count, 0);
    raw_free(r);
}

/* Only what the owner grants is a reason to take more. */
static void test_receive_overdraft_is_not_renewed_by_the_peer(void **state)
{
    (void)state;
    struct raw *r = receiver_with_overdraft(UINT32_MAX - 1, 0, 3);
    struct amqp_link *lk = &r->o->links->link;
    for (int i = 0; i < 3; i++)
        raw_transfer(r, 5, i, true, false, "x");
    struct amqp_flow_fields ask = {0};
    AMQP_SET(&ask, next_incoming_id, 0);
    AMQP_SET(&ask, incoming_window, 100);
    AMQP_SET(&ask, next_outgoing_id, 3);
    AMQP_SET(&ask, outgoing_window, 100);
    AMQP_SET(&ask, handle, 5);
    AMQP_SET(&ask, delivery_count, UINT32_MAX); /* behind: it does not count what it overdraws */
    AMQP_SET(&ask, echo, true);
    RAW_SEND(r, 0, flow, &ask);
    struct amqp_flow_fields f = raw_read_flow(r);
    assert_int_equal(f.delivery_count, 1);
    assert_int_equal(f.link_credit, 0);
    assert_int_equal(lk->overdrawn, 3);
    raw_transfer(r, 5, 3, true, false, "x");
    assert_int_equal(r->o->links->messages, 3);
    expect_link_error(r, "amqp:link:transfer-limit-exceeded");
}

static void test_receive_overdraft_amid_a_drain_ends_the_drain_once(void **state)
{
    (void)state;
    struct raw *r = receiver_with_overdraft(UINT32_MAX, 1, 3);
    struct test_link *t = r->o->links;
    amqp_link_drain(&t->link);
    assert_true(raw_read_flow(r).drain);
    for (int i = 0; i < 3; i++)
        raw_transfer(r, 5, i, true, false, "x");
    raw_flow(r, 0, 100, 5, 2, 0, true);
    assert_int_equal(t->drained, 1);
    assert_int_equal(t->link.delivery_count, 2);
    amqp_link_grant(&t->link, 4);
    struct amqp_flow_fields f = raw_read_flow(r);
    assert_false(f.drain);
    assert_int_equal(f.delivery_count, 2);
    assert_int_equal(f.link_credit, 4);
    raw_free(r);
}

static void test_receive_wrong_id_in_continuation_detaches(void **state)
{
    (void)state;
    struct raw *r = receiver(10, false);
    raw_transfer(r, 5, 0, false, true, "x");
    raw_transfer(r, 5, 1, false, false, "x");
    expect_link_error(r, "amqp:invalid-field");
}

static void test_receive_first_frame_without_id_or_tag_detaches(void **state)
{
    (void)state;
    struct raw *r = receiver(10, false);
    raw_transfer(r, 5, -1, false, false, "x");
    expect_link_error(r, "amqp:invalid-field");
    r = receiver(10, false);
    struct amqp_transfer_fields f = {0};
    AMQP_SET(&f, handle, 5);
    AMQP_SET(&f, delivery_id, 0);
    AMQP_SET(&f, delivery_tag, slice_of_text("a tag of more than thirty-two octets"));
    RAW_SEND(r, 0, transfer, &f);
    expect_link_error(r, "amqp:invalid-field");
}

static void test_receive_too_large_message_detaches(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    r->o->credit = 10;
    r->o->max_message_size = 10;
    raw_attach(r, 5, false);
    raw_transfer(r, 5, 0, false, false, "0123456789");
    raw_transfer(r, 5, 1, false, true, "01234");
    raw_transfer(r, 5, 1, false, false, "567890");
    assert_int_equal(r->o->links->messages, 1);
    raw_take(r);
    raw_expect(r, AMQP_DESC_DETACH);
    assert_string_equal(r->o->links->detach_error, "amqp:link:message-size-exceeded");
    raw_free(r);
}

static void test_receive_transfer_to_a_sender_detaches(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    raw_attach(r, 5, true);
    raw_transfer(r, 5, 0, false, false, "x");
    expect_link_error(r, "amqp:not-allowed");
}

static void expect_session_error(struct raw *r, const char *condition)
{
    raw_expect_error(r, AMQP_DESC_END, condition);
    assert_int_equal(r->o->links->gone, 1);
    assert_int_equal(r->o->closed, 0);
    /* What was under way is passed over until the peer's end. */
    raw_transfer(r, 99, 0, false, false, "x");
    struct amqp_end_fields f = {0};
    RAW_SEND(r, 0, end, &f);
    raw_expect_nothing(r);
    raw_begin(r, 0, 10);
    raw_expect(r, AMQP_DESC_BEGIN);
    raw_free(r);
}

static void test_receive_unattached_handle_ends_the_session(void **state)
{
    (void)state;
    struct raw *r = receiver(10, false);
    raw_transfer(r, 6, 0, false, false, "x");
    expect_session_error(r, "amqp:session:unattached-handle");
}

static void test_receive_id_of_an_unsettled_delivery_ends_the_session(void **state)
{
    (void)state;
    struct raw *r = receiver(10, false);
    r->o->credit = 0;
    raw_transfer(r, 5, 3, false, false, "x");
    raw_transfer(r, 5, 3, false, false, "x");
    expect_session_error(r, "amqp:invalid-field");
}

static void test_receive_beyond_the_window_ends_the_session(void **state)
{
    (void)state;
    struct amqp_conn_conf conf = test_conf(true);
    conf.session_window = 4;
    struct raw *r = raw_new(conf, 16384, 100);
    r->o->credit = 100;
    r->o->hold_frames = true;
    raw_attach(r, 5, false);
    r->o->credit = 0;
    for (int i = 0; i < 5; i++)
        raw_transfer(r, 5, i, true, false, "x");
    assert_int_equal(r->o->links->messages, 4);
    expect_session_error(r, "amqp:session:window-violation");
}

static void test_receive_held_frames_come_back_into_the_window(void **state)
{
    (void)state;
    struct amqp_conn_conf conf = test_conf(true);
    conf.session_window = 4;
    struct raw *r = raw_new(conf, 16384, 100);
    r->o->credit = 1000;
    r->o->hold_frames = true;
    raw_attach(r, 5, false);
    r->o->credit = 0;
    for (int i = 0; i < 4; i++)
        raw_transfer(r, 5, i, true, false, "x");
    raw_expect_nothing(r);
    amqp_link_release_frames(&r->o->links->link, 3);
    assert_int_equal(raw_read_flow(r).incoming_window, 3);
    r->o->hold_frames = false;
    for (int i = 4; i < 40; i++) {
        raw_transfer(r, 5, i, true, false, "x");
        raw_take(r);
    }
    assert_int_equal(r->o->links->messages, 40);
    raw_free(r);
}

static void test_receive_settled_out_of_order_is_said_in_one_range(void **state)
{
    (void)state;
    struct raw *r = receiver(100, false);
    r->o->credit = 0;
    for (int i = 0; i < 8; i++)
        raw_transfer(r, 5, i, false, false, "x");
    static const uint32_t order[] = {3, 1, 0, 2, 7, 6, 4};
    const struct amqp_state accepted = {.code = AMQP_ACCEPTED}, released = {.code = AMQP_RELEASED};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        amqp_link_settle(&r->o->links->link, order[i], order[i], &accepted);
    amqp_link_settle(&r->o->links->link, 5, 5, &released);
    amqp_link_settle(&r->o->links->link, 5, 900, &released);
    struct amqp_disposition_fields d = raw_read_disposition(r);
    assert_int_equal(d.first, 0);
    assert_int_equal(d.last, 4);
    assert_int_equal(d.state.data[2], AMQP_ACCEPTED);
    d = raw_read_disposition(r);
    assert_int_equal(d.first, 5);
    assert_int_equal(d.state.data[2], AMQP_RELEASED);
    d = raw_read_disposition(r);
    assert_int_equal(d.first, 6);
    assert_int_equal(d.last, 7);
    raw_expect_nothing(r);
    assert_int_equal(amqp_link_unsettled(&r->o->links->link), 0);
    raw_free(r);
}

/* A peer gives up what is unsettled when the link ends, so what was settled just before must come before. */
static void test_receive_settled_is_said_before_detach_end_and_close(void **state)
{
    (void)state;
    static const uint64_t endings[] = {AMQP_DESC_DETACH, AMQP_DESC_END, AMQP_DESC_CLOSE};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        struct raw *r = receiver(100, false);
        r->o->credit = 0;
        raw_transfer(r, 5, 0, false, false, "x");
        raw_transfer(r, 5, 1, false, false, "x");
        struct amqp_link *lk = &r->o->links->link;
        amqp_link_settle(lk, 0, 1, &(struct amqp_state){.code = AMQP_ACCEPTED});
        if (endings[i] == AMQP_DESC_DETACH)
            amqp_link_detach(lk, true, NULL);
        else if (endings[i] == AMQP_DESC_END)
            amqp_session_end(lk->session, NULL);
        else
            amqp_conn_close(lk->conn, NULL);
        struct amqp_disposition_fields d = raw_read_disposition(r);
        assert_true(d.role && d.settled);
        assert_int_equal(d.last, 1);
        raw_expect(r, endings[i]);
        raw_expect_nothing(r);
        raw_free(r);
    }
}

static void test_receive_peer_that_lists_its_outcomes_hears_those_alone(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    static const uint8_t released[] = "\xa3\x12"
                                      "amqp:released:list";
    uint8_t memory[64];
    struct amqp_writer w = amqp_writer(memory, sizeof memory);
    struct amqp_source_fields source = {0};
    AMQP_SET(&source, outcomes, ((struct slice){NULL, released, sizeof released - 1}));
    amqp_write_source(&w, &source);
    struct amqp_attach_fields f = {0};
    AMQP_SET(&f, name, slice_of_text("link"));
    AMQP_SET(&f, handle, 5);
    AMQP_SET(&f, role, false);
    AMQP_SET(&f, initial_delivery_count, 0);
    AMQP_SET(&f, source, ((struct slice){NULL, memory, w.len}));
    r->o->credit = 5;
    RAW_SEND(r, 0, attach, &f);
    raw_expect(r, AMQP_DESC_ATTACH);
    raw_expect(r, AMQP_DESC_FLOW);
    r->o->credit = 0;
    raw_transfer(r, 5, 0, false, false, "x");
    struct amqp_state modified = {.code = AMQP_MODIFIED};
    amqp_link_update(&r->o->links->link, 0, &modified);
    amqp_link_settle(&r->o->links->link, 0, 0, &modified);
    for (int settled = 0; settled < 2; settled++) {
        struct amqp_disposition_fields d = raw_read_disposition(r);
        assert_int_equal(d.settled, settled);
        assert_int_equal(d.state.data[2], AMQP_RELEASED);
    }
    raw_free(r);
}

static void test_receive_state_with_fields_is_said_as_it_is(void **state)
{
    (void)state;
    struct raw *r = receiver(100, false);
    r->o->credit = 0;
    raw_transfer(r, 5, 0, false, false, "x");
    raw_transfer(r, 5, 1, false, false, "x");
    static const uint8_t modified[] = {0, 0x53, 0x27, 0xc0, 3, 2, 0x41, 0x41};
    struct amqp_state s = {.code = AMQP_MODIFIED, .raw = {NULL, modified, sizeof modified}};
    amqp_link_update(&r->o->links->link, 0, &s);
    struct amqp_disposition_fields d = raw_read_disposition(r);
    assert_false(d.settled);
    amqp_link_settle(&r->o->links->link, 0, 1, &s);
    d = raw_read_disposition(r);
    assert_true(d.settled);
    assert_int_equal(d.last, 1);
    assert_int_equal(d.state.len, sizeof modified);
    assert_memory_equal(d.state.data, modified, sizeof modified);
    raw_free(r);
}

static void test_receive_peer_settles_first_and_nothing_is_said(void **state)
{
    (void)state;
    struct raw *r = receiver(100, false);
    r->o->credit = 0;
    for (int i = 0; i < 4; i++)
        raw_transfer(r, 5, i, false, i == 3, "x");
    struct amqp_disposition_fields f = {0};
    AMQP_SET(&f, role, false);
    AMQP_SET(&f, first, 1);
    AMQP_SET(&f, last, 3);
    AMQP_SET(&f, settled, true);
    RAW_SEND(r, 0, disposition, &f);
    assert_int_equal(r->o->peer_settled, 3);
    assert_null(amqp_link_delivery(&r->o->links->link, 1));
    assert_true(amqp_link_delivery(&r->o->links->link, 3)->remote_settled);
    amqp_link_settle(&r->o->links->link, 1, 3, &(struct amqp_state){.code = AMQP_ACCEPTED});
    raw_expect_nothing(r);
    raw_transfer(r, 5, -1, false, false, "end");
    assert_int_equal(r->o->links->messages, 4);
    assert_int_equal(amqp_link_unsettled(&r->o->links->link), 1);
    raw_free(r);
}

static void test_receive_tracked_delivery_stays_until_forgotten(void **state)
{
    (void)state;
    struct raw *r = receiver(100, false);
    r->o->track = true;
    raw_transfer(r, 5, 0, true, false, "x");
    struct amqp_delivery *d = amqp_link_delivery(&r->o->links->link, 0);
    assert_non_null(d);
    assert_true(d->remote_settled && d->complete && d->tracked);
    amqp_link_forget(&r->o->links->link, 0);
    assert_null(amqp_link_delivery(&r->o->links->link, 0));
    raw_free(r);
}

static void send_disposition(struct raw *r, uint32_t first, uint32_t last)
{
    static const uint8_t accepted[] = {0, 0x53, 0x24, 0x45};
    struct amqp_disposition_fields f = {0};
    AMQP_SET(&f, role, true);
    AMQP_SET(&f, first, first);
    AMQP_SET(&f, last, last);
    AMQP_SET(&f, settled, true);
    AMQP_SET(&f, state, ((struct slice){NULL, accepted, sizeof accepted}));
    RAW_SEND(r, 0, disposition, &f);
}

static void test_receive_disposition_of_two_thousand_million_takes_no_time(void **state)
{
    (void)state;
    struct amqp_conn_conf conf = test_conf(true);
    conf.first_delivery_id = UINT32_MAX - 9;
    struct raw *r = raw_new(conf, 16384, 1000);
    r->o->to_send = 20;
    raw_attach(r, 0, true);
    raw_flow(r, 0, 1000, 0, UINT32_MAX - 9, 20, false);
    assert_int_equal(amqp_link_unsettled(&r->o->links->link), 20);
    send_disposition(r, 1000, 2000); /* unknown ids */
    assert_int_equal(r->o->dispositions, 0);
    for (int i = 0; i < 200; i++) {
        send_disposition(r, 10, 10u + INT32_MAX);
        send_disposition(r, 0x80000000u - 10, UINT32_MAX - 10);
    }
    assert_int_equal(r->o->dispositions, 0);
    send_disposition(r, UINT32_MAX - 4, 3);
    assert_int_equal(r->o->settled, 9);
    send_disposition(r, UINT32_MAX - 0x70000000u, 0x0ffffffe);
    assert_int_equal(r->o->settled, 20);
    assert_int_equal(amqp_link_unsettled(&r->o->links->link), 0);
    send_disposition(r, 5, 4);
    struct seen s;
    while (raw_next(r, &s) && s.performative != AMQP_DESC_END)
        ;
    assert_int_equal(s.performative, AMQP_DESC_END);
    raw_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_receive_continuation_without_id_belongs_to_the_delivery),
        cmocka_unit_test(test_receive_empty_delivery_is_a_message),
        cmocka_unit_test(test_receive_aborted_delivery_is_forgotten),
        cmocka_unit_test(test_receive_settled_on_a_later_frame_needs_no_disposition),
        cmocka_unit_test(test_receive_beyond_credit_detaches),
        cmocka_unit_test(test_receive_overdraft_is_taken_and_one_more_detaches),
        cmocka_unit_test(test_receive_overdraft_without_any_credit_is_taken),
        cmocka_unit_test(test_receive_credit_after_an_overdraft_is_what_may_be_sent),
        cmocka_unit_test(test_receive_overdraft_under_way_when_credit_is_granted_uses_it),
        cmocka_unit_test(test_receive_overdraft_is_not_renewed_by_the_peer),
        cmocka_unit_test(test_receive_overdraft_amid_a_drain_ends_the_drain_once),
        cmocka_unit_test(test_receive_wrong_id_in_continuation_detaches),
        cmocka_unit_test(test_receive_first_frame_without_id_or_tag_detaches),
        cmocka_unit_test(test_receive_too_large_message_detaches),
        cmocka_unit_test(test_receive_transfer_to_a_sender_detaches),
        cmocka_unit_test(test_receive_unattached_handle_ends_the_session),
        cmocka_unit_test(test_receive_id_of_an_unsettled_delivery_ends_the_session),
        cmocka_unit_test(test_receive_beyond_the_window_ends_the_session),
        cmocka_unit_test(test_receive_held_frames_come_back_into_the_window),
        cmocka_unit_test(test_receive_settled_out_of_order_is_said_in_one_range),
        cmocka_unit_test(test_receive_settled_is_said_before_detach_end_and_close),
        cmocka_unit_test(test_receive_peer_that_lists_its_outcomes_hears_those_alone),
        cmocka_unit_test(test_receive_state_with_fields_is_said_as_it_is),
        cmocka_unit_test(test_receive_peer_settles_first_and_nothing_is_said),
        cmocka_unit_test(test_receive_tracked_delivery_stays_until_forgotten),
        cmocka_unit_test(test_receive_disposition_of_two_thousand_million_takes_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
