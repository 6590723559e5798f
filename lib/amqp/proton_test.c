/* The engine against an implementation that nobody here wrote: a Proton client in memory. */
#include "conn_test_owner.h"

#include <proton/condition.h>
#include <proton/connection.h>
#include <proton/connection_driver.h>
#include <proton/delivery.h>
#include <proton/disposition.h>
#include <proton/link.h>
#include <proton/sasl.h>
#include <proton/session.h>
#include <proton/terminus.h>
#include <proton/transport.h>

struct client {
    pn_connection_driver_t d;
    struct owner *server;
    uint32_t accepted, remote_closes, received;
    char text[64];
    bool second; /* settle only after the sender has */
};

static void on_delivery(struct client *p, pn_delivery_t *d)
{
    pn_link_t *l = pn_delivery_link(d);
    if (pn_link_is_sender(l)) {
        if (pn_delivery_remote_state(d) == PN_ACCEPTED)
            p->accepted++;
        if (pn_delivery_settled(d))
            pn_delivery_settle(d);
    } else if (pn_delivery_readable(d) && !pn_delivery_partial(d)) {
        ssize_t n = pn_link_recv(l, p->text, sizeof p->text);
        assert_true(n > 0);
        p->received++;
        pn_link_advance(l);
        pn_delivery_update(d, PN_ACCEPTED);
        if (!p->second)
            pn_delivery_settle(d);
    } else if (pn_delivery_settled(d)) {
        pn_delivery_settle(d);
    }
}

static void client_events(struct client *p)
{
    for (pn_event_t *e; (e = pn_connection_driver_next_event(&p->d));)
        switch (pn_event_type(e)) {
        case PN_DELIVERY:
            on_delivery(p, pn_event_delivery(e));
            break;
        case PN_LINK_REMOTE_CLOSE:
            p->remote_closes++;
            pn_link_close(pn_event_link(e));
            break;
        default:
            break;
        }
}

static void run(struct client *p)
{
    uint8_t octets[4096];
    for (int quiet = 0; quiet < 3;) {
        bool moved = false;
        client_events(p);
        pn_bytes_t out = pn_connection_driver_write_buffer(&p->d);
        if (out.size) {
            size_t n = out.size;
            owner_feed(p->server, out.start, n);
            pn_connection_driver_write_done(&p->d, n);
            moved = true;
        }
        size_t n = owner_take(p->server, octets, sizeof octets);
        for (size_t at = 0; at < n;) {
            pn_rwbytes_t room = pn_connection_driver_read_buffer(&p->d);
            if (room.size == 0)
                break;
            size_t some = n - at < room.size ? n - at : room.size;
            memcpy(room.start, octets + at, some);
            pn_connection_driver_read_done(&p->d, some);
            at += some;
            moved = true;
        }
        quiet = moved ? 0 : quiet + 1;
    }
}

static void client_open(struct client *p, struct amqp_conn_conf conf, bool sasl, const char *user, const char *password)
{
    memset(p, 0, sizeof *p);
    p->server = owner_new("server", &conf);
    assert_int_equal(pn_connection_driver_init(&p->d, NULL, NULL), 0);
    pn_connection_set_container(p->d.connection, "proton");
    pn_connection_set_hostname(p->d.connection, "some.host");
    if (sasl)
        pn_sasl_set_allow_insecure_mechs(pn_sasl(p->d.transport), true);
    if (user) {
        pn_connection_set_user(p->d.connection, user);
        pn_connection_set_password(p->d.connection, password);
    }
    pn_connection_open(p->d.connection);
    pn_connection_driver_bind(&p->d);
    run(p);
}

static void client_close(struct client *p)
{
    pn_connection_driver_destroy(&p->d);
    owner_free(&p->server);
}

static void send_one(pn_link_t *l, const char *text, int tag)
{
    pn_delivery(l, pn_dtag((const char *)&tag, sizeof tag));
    pn_link_send(l, text, strlen(text));
    pn_link_advance(l);
}

static void test_proton_client_sends_and_hears_accepted(void **state)
{
    (void)state;
    struct client p;
    client_open(&p, test_conf(true), true, NULL, NULL);
    assert_string_equal(amqp_conn_peer(&p.server->c)->container_id, "proton");
    assert_string_equal(amqp_conn_peer(&p.server->c)->hostname, "some.host");
    assert_string_equal(amqp_conn_peer(&p.server->c)->sasl_mechanism, "ANONYMOUS");
    assert_string_equal(amqp_conn_peer(&p.server->c)->user, "anonymous");
    p.server->credit = 20;
    p.server->accept_deliveries = true;
    pn_session_t *s = pn_session(p.d.connection);
    pn_session_open(s);
    pn_link_t *l = pn_sender(s, "up");
    pn_terminus_set_address(pn_link_target(l), "some.address");
    pn_link_open(l);
    run(&p);
    assert_true(pn_link_state(l) & PN_REMOTE_ACTIVE);
    assert_string_equal(pn_terminus_get_address(pn_link_remote_target(l)), "some.address");
    assert_int_equal(pn_link_credit(l), 20);
    struct amqp_terminus_view target;
    amqp_link_peer_target(&p.server->links->link, &target);
    assert_string_equal(target.address, "some.address");
    for (int i = 0; i < 15; i++)
        send_one(l, "hello", i);
    run(&p);
    assert_int_equal(p.server->links->messages, 15);
    assert_memory_equal(p.server->links->text, "hello", 5);
    assert_int_equal(p.accepted, 15);
    assert_int_equal(pn_link_credit(l), 20);
    pn_link_close(l);
    run(&p);
    assert_int_equal(p.server->links->gone, 1);
    pn_connection_close(p.d.connection);
    run(&p);
    assert_int_equal(p.server->closed, 1);
    assert_true(p.server->closed_by_peer);
    assert_string_equal(p.server->error, "");
    assert_true(pn_connection_state(p.d.connection) & PN_REMOTE_CLOSED);
    client_close(&p);
}

static void receive_some(bool second)
{
    struct client p;
    client_open(&p, test_conf(true), false, NULL, NULL);
    p.second = second;
    p.server->to_send = 30;
    p.server->message_size = 50;
    pn_session_t *s = pn_session(p.d.connection);
    pn_session_open(s);
    pn_link_t *l = pn_receiver(s, "down");
    pn_terminus_set_dynamic(pn_link_source(l), true);
    pn_link_set_rcv_settle_mode(l, second ? PN_RCV_SECOND : PN_RCV_FIRST);
    pn_link_open(l);
    pn_link_flow(l, 12);
    run(&p);
    assert_string_equal(pn_terminus_get_address(pn_link_remote_source(l)), "temp.1");
    assert_int_equal(p.received, 12);
    assert_int_equal(p.server->dispositions, 12);
    assert_int_equal(p.server->settled, second ? 0 : 12);
    assert_int_equal(amqp_link_unsettled(&p.server->links->link), second ? 12 : 0);
    pn_link_drain(l, 30);
    run(&p);
    assert_int_equal(p.received, 30);
    assert_int_equal(pn_link_credit(l), 0);
    assert_false(pn_link_draining(l));
    pn_connection_driver_read_close(&p.d);
    amqp_conn_eof(&p.server->c, NULL);
    assert_int_equal(p.server->closed, 1);
    assert_string_equal(p.server->error, "amqp:connection:framing-error: connection aborted");
    assert_int_equal(p.server->lost, second ? 30 : 0);
    client_close(&p);
}

static void test_proton_client_receives_and_drains(void **state)
{
    (void)state;
    receive_some(false);
    receive_some(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proton_client_sends_and_hears_accepted),
        cmocka_unit_test(test_proton_client_receives_and_drains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
