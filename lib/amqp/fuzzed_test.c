/* What fuzzing found in the connection engine, each in words; the inputs themselves are in tests/fuzz/corpus. */
#include "conn_test_owner.h"

struct wire {
    struct owner *client, *server;
    struct test_link *out, *in; /* the client's sender, the server's end of it */
};

static struct wire wire_open(uint32_t credit)
{
    struct amqp_conn_conf client = test_conf(false), server = test_conf(true);
    struct wire w = {.client = owner_new("client", &client), .server = owner_new("server", &server)};
    wire_run(w.client, w.server, 0);
    w.server->credit = credit;
    struct amqp_session *s = NULL;
    assert_int_equal(amqp_session_begin(&w.client->c, &s), OK);
    w.out = link_new(w.client);
    struct amqp_attach a = {.name = "out", .is_sender = true, .target = "a", .snd_settle_mode = 2};
    assert_int_equal(amqp_link_attach(s, &w.out->link, &a), OK);
    wire_run(w.client, w.server, 0);
    w.in = w.server->links;
    return w;
}

static void wire_close(struct wire *w)
{
    owner_free(&w->client);
    owner_free(&w->server);
}

static void test_link_settle_many_ranges_out_of_order_in_one_turn_says_each(void **state)
{
    (void)state;
    struct wire w = wire_open(100);
    w.client->to_send = 60;
    link_pump(w.out);
    wire_run(w.client, w.server, 0);
    assert_int_equal(w.in->messages, 60);
    /* Every other one, from the last to the first: thirty ranges. */
    for (uint32_t id = w.in->last_id; id + 60 > w.in->last_id; id -= 2)
        amqp_link_settle(&w.in->link, id, id, &(struct amqp_state){.code = AMQP_RELEASED});
    wire_run(w.client, w.server, 0);
    assert_int_equal(w.client->settled, 30);
    assert_int_equal(amqp_link_unsettled(&w.out->link), 30);
    wire_close(&w);
}

static void test_link_detach_amid_a_delivery_tells_it_lost(void **state)
{
    (void)state;
    struct wire w = wire_open(10);
    struct slice part = {NULL, (const uint8_t *)"the first half", 14};
    struct amqp_send m = {.parts = &part, .part_count = 1, .more = true};
    struct amqp_delivery *d = NULL;
    size_t sent;
    assert_int_equal(amqp_link_send(&w.out->link, &m, &sent, &d), OK);
    assert_non_null(d);
    amqp_link_detach(&w.out->link, true, NULL);
    wire_run(w.client, w.server, 0);
    assert_int_equal(w.in->aborted, 1);
    assert_int_equal(w.client->lost, 1);
    assert_int_equal(w.out->gone, 1);
    wire_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_link_settle_many_ranges_out_of_order_in_one_turn_says_each),
        cmocka_unit_test(test_link_detach_amid_a_delivery_tells_it_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
