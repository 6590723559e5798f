#include "conn_test_owner.h"

struct pair {
    struct owner *client, *server;
    struct amqp_session *session;
    struct test_link *out, *in; /* the client's sender, the server's end of it */
};

static void pair_open(struct pair *p, struct amqp_conn_conf client, struct amqp_conn_conf server, unsigned seed)
{
    *p = (struct pair) { owner_new("client", &client), owner_new("server", &server), NULL, NULL, NULL };
    wire_run(p->client, p->server, seed);
    assert_int_equal(p->client->opened, 1);
    assert_int_equal(p->server->opened, 1);
}

static void pair_attach(struct pair *p, bool client_sends, unsigned seed)
{
    if (p->session == NULL)
        assert_int_equal(amqp_session_begin(&p->client->c, &p->session), OK);
    struct test_link *t = link_new(p->client), *before = p->server->links;
    struct amqp_attach a = { .name = client_sends ? "out" : "in",
                             .is_sender = client_sends,
                             .source = client_sends ? NULL : "a",
                             .target = client_sends ? "a" : NULL,
                             .snd_settle_mode = 2 };
    assert_int_equal(amqp_link_attach(p->session, &t->link, &a), OK);
    wire_run(p->client, p->server, seed);
    assert_int_equal(t->attached, 1);
    assert_ptr_not_equal(p->server->links, before);
    p->out = client_sends ? t : p->server->links;
    p->in = client_sends ? p->server->links : t;
}

static void pair_free(struct pair *p)
{
    owner_free(&p->client);
    owner_free(&p->server);
}

static void test_conn_messages_both_settlements_arrive(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 6; seed++)
        for (int settled = 0; settled < 2; settled++) {
            struct pair p;
            struct amqp_conn_conf client = test_conf(false), server = test_conf(true);
            client.first_delivery_id = client.first_transfer_id = UINT32_MAX - 20;
            server.first_delivery_id = server.first_transfer_id = UINT32_MAX - 3;
            pair_open(&p, client, server, seed);
            p.server->credit = 10;
            p.server->accept_deliveries = true;
            p.client->to_send = 100;
            p.client->send_settled = settled;
            pair_attach(&p, true, seed);
            assert_int_equal(p.in->messages, 100);
            assert_int_equal(p.in->octets, 100 * 100);
            assert_int_equal(p.client->settled, settled ? 0 : 100);
            assert_int_equal(p.client->last_state, settled ? 0 : AMQP_ACCEPTED);
            assert_int_equal(amqp_link_unsettled(&p.out->link), 0);
            assert_int_equal(p.out->link.credit, 10);
            pair_free(&p);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conn_messages_both_settlements_arrive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
