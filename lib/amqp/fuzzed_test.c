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

/* ---- SASL out of order ---- */

#define SASL_HEADER "AMQP\3\1\0\0"
#define AMQP_HEADER "AMQP\0\1\0\0"
#define OPEN_OF_TYPE(type) "\0\0\0\x11\2" type "\0\0\0\x53\x10\xc0\4\1\xa1\1x"
#define PLAIN_WRONG "\0\0\0\x1b\2\1\0\0\0\x53\x41\xc0\x0e\2\xa3\5PLAIN\xa0\4\0u\0w"
#define PLAIN_EMPTY "\0\0\0\x16\2\1\0\0\0\x53\x41\xc0\x09\2\xa3\5PLAIN\x40"
#define ANONYMOUS                                                                                                      \
    "\0\0\0\x1a\2\1\0\0\0\x53\x41\xc0\x0d\2\xa3\x09"                                                                   \
    "ANONYMOUS\x40"

#define OUTCOME_OK "\0\0\0\x10\2\1\0\0\0\x53\x44\xc0\3\1\x50\0"

static bool no_password(const char *user, const char *password)
{
    (void)user;
    (void)password;
    return false;
}

/* What a server that requires PLAIN, or takes anybody, makes of these octets. */
static void assert_not_opened(bool anybody, const char *octets, size_t n)
{
    struct amqp_conn_conf conf = test_conf(true);
    conf.require_auth = true;
    conf.check_password = no_password;
    conf.sasl_mechanisms = anybody ? "ANONYMOUS" : "PLAIN";
    struct owner *o = owner_new("server", &conf);
    uint8_t out[1024];
    owner_feed(o, octets, n);
    while (owner_take(o, out, sizeof out))
        ;
    assert_int_equal(o->opened, 0);
    assert_int_equal(o->closed, 1);
    owner_free(&o);
}
#define NOT_OPENED(anybody, octets) assert_not_opened(anybody, octets, sizeof octets - 1)

static void test_conn_open_before_authentication_is_never_told(void **state)
{
    (void)state;
    NOT_OPENED(false, SASL_HEADER OPEN_OF_TYPE("\0"));
    NOT_OPENED(false, SASL_HEADER OPEN_OF_TYPE("\1"));
    NOT_OPENED(false, SASL_HEADER PLAIN_WRONG OPEN_OF_TYPE("\0"));
    NOT_OPENED(false, SASL_HEADER PLAIN_WRONG AMQP_HEADER OPEN_OF_TYPE("\0"));
    NOT_OPENED(false, SASL_HEADER ANONYMOUS AMQP_HEADER OPEN_OF_TYPE("\0"));
    NOT_OPENED(false, SASL_HEADER OUTCOME_OK AMQP_HEADER OPEN_OF_TYPE("\0"));
    NOT_OPENED(false, AMQP_HEADER OPEN_OF_TYPE("\0"));
}

/* A client is told the mechanisms again: Proton would keep no track of the memory of its first choice. */
static void test_conn_sasl_mechanisms_said_twice_are_refused(void **state)
{
    (void)state;
    static const char mechanisms[] = "\0\0\0\x1c\2\1\0\0\0\x53\x40\xc0\x0f\1\xe0\x0c\1\xa3\x08"
                                     "EXTERNAL\0";
    struct amqp_conn_conf conf = test_conf(false);
    struct owner *o = owner_new("client", &conf);
    uint8_t out[1024];
    owner_feed(o, SASL_HEADER, sizeof SASL_HEADER - 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(o->closed, 0);
        owner_feed(o, mechanisms, sizeof mechanisms - 1);
        while (owner_take(o, out, sizeof out))
            ;
    }
    assert_int_equal(o->closed, 1);
    assert_non_null(strstr(o->error, "amqp:connection:framing-error"));
    owner_free(&o);
}

/* The initial response is absent: there is nothing to point into. */
static void test_conn_sasl_plain_without_a_response_is_refused(void **state)
{
    (void)state;
    NOT_OPENED(false, SASL_HEADER PLAIN_EMPTY);
}

static void test_conn_sasl_frames_behind_the_sasl_layer_are_refused(void **state)
{
    (void)state;
    /* Proton takes each for a new beginning, and keeps no track of the memory of the last. */
    NOT_OPENED(true, SASL_HEADER ANONYMOUS AMQP_HEADER ANONYMOUS);
    NOT_OPENED(true, SASL_HEADER ANONYMOUS AMQP_HEADER OPEN_OF_TYPE("\1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_link_settle_many_ranges_out_of_order_in_one_turn_says_each),
        cmocka_unit_test(test_link_detach_amid_a_delivery_tells_it_lost),
        cmocka_unit_test(test_conn_open_before_authentication_is_never_told),
        cmocka_unit_test(test_conn_sasl_mechanisms_said_twice_are_refused),
        cmocka_unit_test(test_conn_sasl_plain_without_a_response_is_refused),
        cmocka_unit_test(test_conn_sasl_frames_behind_the_sasl_layer_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
