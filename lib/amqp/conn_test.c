#include "conn_test_owner.h"

#include <trunkline/base/log.h>

#include "raw_peer.h"

struct pair {
    struct owner *client, *server;
    struct amqp_session *session;
    struct test_link *out, *in; /* the client's sender, the server's end of it */
};

static void pair_open(struct pair *p, struct amqp_conn_conf client, struct amqp_conn_conf server, unsigned seed)
{
    *p = (struct pair){owner_new("client", &client), owner_new("server", &server), NULL, NULL, NULL};
    wire_run(p->client, p->server, seed);
    assert_int_equal(p->client->opened, 1);
    assert_int_equal(p->server->opened, 1);
}

static void pair_attach(struct pair *p, bool client_sends, unsigned seed)
{
    if (p->session == NULL)
        assert_int_equal(amqp_session_begin(&p->client->c, &p->session), OK);
    struct test_link *t = link_new(p->client), *before = p->server->links;
    struct amqp_attach a = {.name = client_sends ? "out" : "in",
                            .is_sender = client_sends,
                            .source = client_sends ? NULL : "a",
                            .target = client_sends ? "a" : NULL,
                            .snd_settle_mode = 2};
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

static bool check(const char *user, const char *password)
{
    return strcmp(user, "eve") == 0 && strcmp(password, "secret") == 0;
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

static void test_conn_large_messages_both_ways_at_random_splits(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 4; seed++) {
        struct pair p;
        struct amqp_conn_conf client = test_conf(false), server = test_conf(true);
        client.max_frame_size = 512;
        server.max_frame_size = 1000;
        server.session_window = 5;
        client.output_limit = 3000;
        pair_open(&p, client, server, seed);
        p.server->credit = 3;
        p.server->accept_deliveries = true;
        p.server->message_size = p.client->message_size = 2000;
        pair_attach(&p, true, seed);
        struct test_link *up = p.in;
        p.client->to_send = 20;
        link_pump(p.out);
        wire_run(p.client, p.server, seed);
        assert_int_equal(up->messages, 20);
        assert_int_equal(up->octets, 40000);
        assert_true(up->transfers >= 60);
        assert_int_equal(p.client->settled, 20);
        p.client->credit = 3;
        p.server->to_send = 20;
        pair_attach(&p, false, seed);
        assert_int_equal(p.in->messages, 20);
        assert_true(p.in->transfers >= 100);
        amqp_conn_close(&p.client->c, NULL);
        wire_run(p.client, p.server, seed);
        assert_int_equal(p.client->closed, 1);
        assert_false(p.client->closed_by_peer);
        assert_int_equal(p.server->closed, 1);
        assert_true(p.server->closed_by_peer);
        assert_int_equal(p.server->lost, 20); /* the client never settled */
        assert_true(amqp_conn_is_finished(&p.client->c) && amqp_conn_is_finished(&p.server->c));
        pair_free(&p);
    }
}

static void test_conn_endpoint_is_freed_once_open(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, test_conf(false), test_conf(true), 0);
    assert_null(p.client->c.endpoint);
    assert_null(p.server->c.endpoint);
    assert_string_equal(amqp_conn_peer(&p.server->c)->hostname, "host.example");
    assert_string_equal(amqp_conn_peer(&p.server->c)->sasl_mechanism, "ANONYMOUS");
    assert_string_equal(amqp_conn_peer(&p.client->c)->container_id, "server");
    assert_int_equal(amqp_conn_peer(&p.client->c)->max_frame_size, 16384);
    assert_int_equal(amqp_conn_peer(&p.client->c)->channel_max, 32767);
    pair_free(&p);
}

static void test_conn_properties_and_capabilities_arrive(void **state)
{
    (void)state;
    static const uint8_t list[] = {0xc0, 3, 1, 0xa1, 0};
    const struct amqp_property properties[] = {{.key = "product", .text = "trunkline"},
                                               {.key = "qd.conn-id", .number = 7},
                                               {.key = "failover", .raw = {NULL, list, sizeof list}}};
    static const char *const capabilities[] = {"ANONYMOUS-RELAY", "qd.streaming-links", NULL};
    struct amqp_conn_conf server = test_conf(true);
    server.properties = properties;
    server.property_count = 3;
    server.offered_capabilities = capabilities;
    server.idle_timeout_ms = 16000;
    struct pair p;
    pair_open(&p, test_conf(false), server, 3);
    const struct amqp_conn_peer *peer = amqp_conn_peer(&p.client->c);
    assert_int_equal(peer->idle_timeout_ms, 8000);
    struct amqp_reader r = amqp_slice_reader(peer->properties);
    struct amqp_compound map;
    struct slice key = {0}, value = {0};
    int32_t number = 0;
    assert_int_equal(amqp_enter_map(&r, &map), OK);
    assert_int_equal(map.count, 6);
    assert_int_equal(amqp_read_symbol(&map.in, &key), OK);
    assert_true(amqp_slice_is(key, "product"));
    assert_int_equal(amqp_read_string(&map.in, &value), OK);
    assert_true(amqp_slice_is(value, "trunkline"));
    assert_int_equal(amqp_read_symbol(&map.in, &key), OK);
    assert_int_equal(amqp_read_int(&map.in, &number), OK);
    assert_int_equal(number, 7);
    assert_int_equal(amqp_read_symbol(&map.in, &key), OK);
    assert_int_equal(amqp_read_raw(&map.in, &value), OK);
    assert_int_equal(amqp_type_of(value.data[0]), AMQP_TYPE_LIST);
    struct amqp_terminus_view v = {.capabilities = peer->offered_capabilities};
    assert_true(amqp_terminus_has_capability(&v, "qd.streaming-links"));
    pair_free(&p);
}

static void test_conn_answer_to_open_may_come_later(void **state)
{
    (void)state;
    struct raw *r = xcalloc(1, sizeof *r);
    struct amqp_conn_conf conf = test_conf(true);
    r->o = owner_new("server", &conf);
    r->o->defer_open = true;
    owner_feed(r->o, "AMQP\0\1\0\0", 8);
    struct amqp_open_fields f = {0};
    AMQP_SET(&f, container_id, slice_of_text("raw"));
    RAW_SEND(r, 0, open, &f);
    raw_begin(r, 0, 10);
    raw_attach_frame(r, 0, "early", true);
    assert_int_equal(r->o->opened, 1);
    assert_null(r->o->links);
    raw_expect_nothing(r);
    amqp_conn_open(&r->o->c);
    owner_feed(r->o, "", 0);
    raw_expect(r, AMQP_DESC_OPEN);
    raw_expect(r, AMQP_DESC_BEGIN);
    raw_expect(r, AMQP_DESC_ATTACH);
    raw_free(r);
}

static void test_conn_refused_at_open_says_open_and_close(void **state)
{
    (void)state;
    struct raw *r = xcalloc(1, sizeof *r);
    struct amqp_conn_conf conf = test_conf(true);
    r->o = owner_new("server", &conf);
    r->o->defer_open = true;
    owner_feed(r->o, "AMQP\0\1\0\0", 8);
    struct amqp_open_fields f = {0};
    AMQP_SET(&f, container_id, slice_of_text("raw"));
    RAW_SEND(r, 0, open, &f);
    amqp_conn_close(&r->o->c, &(struct amqp_error){.condition = "amqp:unauthorized-access", .description = "no"});
    raw_begin(r, 0, 10);
    raw_attach_frame(r, 0, "early", true);
    assert_null(r->o->links);
    raw_expect(r, AMQP_DESC_OPEN);
    raw_expect_error(r, AMQP_DESC_CLOSE, "amqp:unauthorized-access");
    assert_int_equal(r->o->closed, 0);
    struct amqp_close_fields c = {0};
    RAW_SEND(r, 0, close, &c);
    assert_int_equal(r->o->closed, 1);
    assert_string_equal(r->o->error, "amqp:unauthorized-access: no");
    assert_false(r->o->closed_by_peer);
    raw_free(r);
}

static void feed_expect_close(const void *octets, size_t n, const char *condition)
{
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    raw_attach(r, 0, true);
    owner_feed(r->o, octets, n);
    raw_expect_error(r, AMQP_DESC_CLOSE, condition);
    assert_int_equal(r->o->closed, 1);
    assert_true(strncmp(r->o->error, condition, strlen(condition)) == 0);
    assert_int_equal(r->o->links->gone, 1);
    owner_feed(r->o, "anything at all", 15); /* is not looked at */
    assert_int_equal(r->o->input_len, 0);
    raw_expect_nothing(r);
    assert_int_equal(r->o->closed, 1);
    raw_free(r);
}

static void test_conn_frames_that_may_not_be_close_it(void **state)
{
    (void)state;
    const struct {
        const char *octets;
        size_t n;
        const char *condition;
    } bad[] = {
        {"\0\0\0\7\2\0\0\0", 8, "amqp:connection:framing-error"},   /* shorter than its head */
        {"\0\0\x40\1\2\0\0\0", 8, "amqp:connection:framing-error"}, /* above max-frame-size */
        {"\xff\xff\xff\xff\2\0\0\0", 8, "amqp:connection:framing-error"},
        {"\0\0\0\x0c\1\0\0\0\0\0\0\0", 12, "amqp:connection:framing-error"},       /* data offset in the head */
        {"\0\0\0\x0c\4\0\0\0\0\0\0\0", 12, "amqp:connection:framing-error"},       /* data offset beyond the end */
        {"\0\0\0\x0c\2\1\0\0\0\x53\x41\x45", 12, "amqp:connection:framing-error"}, /* SASL again */
        {"\0\0\0\x0c\2\0\0\0\xa1\2hi", 12, "amqp:decode-error"},                   /* no performative */
        {"\0\0\0\x0c\2\0\0\0\0\x53\x99\x45", 12, "amqp:decode-error"},             /* an unknown one */
        {"\0\0\0\x0a\2\0\0\0\0\x53", 10, "amqp:decode-error"},                     /* half of one */
        {"\0\0\0\x0d\2\0\0\0\0\x53\x14\xc0\x09", 13, "amqp:decode-error"},         /* a list longer than the frame */
        {"\0\0\0\x0c\2\0\0\0\0\x53\x14\x45", 12, "amqp:decode-error"},             /* nothing in it */
        {"\0\0\0\x0c\2\0\0\0\0\x53\x13\x45", 12, "amqp:decode-error"},
        {"\0\0\0\x0c\2\0\0\0\0\x53\x15\x45", 12, "amqp:decode-error"},
        {"\0\0\0\x0c\2\0\0\0\0\x53\x16\x45", 12, "amqp:decode-error"},
        {"\0\0\0\x0c\2\0\0\7\0\x53\x11\x45", 12, "amqp:decode-error"},
        {"\0\0\0\x10\2\0\0\0\0\x53\x17\xc0\3\1\xa1\0", 16, "amqp:decode-error"}, /* an error that is none */
        {"\0\0\0\x10\2\0\0\0\0\x53\x18\xc0\3\1\xa1\0", 16, "amqp:decode-error"},
        {"\0\0\0\x0c\2\0\0\0\0\x53\x10\x45", 12, "amqp:not-allowed"}, /* open again */
        {"\0\0\0\x0c\2\0\0\5\0\x53\x17\x45", 12, "amqp:not-allowed"}, /* no such channel */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        feed_expect_close(bad[i].octets, bad[i].n, bad[i].condition);
}

static void test_conn_begin_on_a_wrong_channel_closes(void **state)
{
    (void)state;
    struct amqp_conn_conf conf = test_conf(true);
    conf.channel_max = 3;
    struct raw *r = raw_new(conf, 16384, 100);
    raw_begin(r, 3, 10);
    raw_expect(r, AMQP_DESC_BEGIN);
    raw_begin(r, 4, 10);
    raw_expect_error(r, AMQP_DESC_CLOSE, "amqp:connection:framing-error");
    raw_free(r);
    r = raw_new(conf, 16384, 100);
    raw_begin(r, 0, 10);
    raw_expect_error(r, AMQP_DESC_CLOSE, "amqp:not-allowed");
    raw_free(r);
    r = raw_new(conf, 16384, 100);
    struct amqp_begin_fields b = {0};
    AMQP_SET(&b, remote_channel, 2);
    AMQP_SET(&b, next_outgoing_id, 0);
    AMQP_SET(&b, incoming_window, 1);
    AMQP_SET(&b, outgoing_window, 1);
    RAW_SEND(r, 1, begin, &b);
    raw_expect_error(r, AMQP_DESC_CLOSE, "amqp:invalid-field");
    raw_free(r);
}

static void test_conn_other_protocols_are_told_at_once(void **state)
{
    (void)state;
    static const char *const greetings[] = {"GET / HTTP/1.1\r\n\r\n", "\x16\3\1\2", "AMQP\0\0\x09\x01", "AMQP\7\1\0\0",
                                            "x"};
    for (size_t i = 0; i < sizeof greetings / sizeof *greetings; i++) {
        struct amqp_conn_conf conf = test_conf(true);
        struct owner *o = owner_new("server", &conf);
        owner_feed(o, greetings[i], i == 2 || i == 3 ? 8 : strlen(greetings[i]));
        if (!o->closed)
            amqp_conn_eof(&o->c, NULL);
        assert_int_equal(o->closed, 1);
        assert_true(strncmp(o->error, "amqp:connection:framing-error", 29) == 0);
        owner_free(&o);
    }
}

static void test_conn_stream_ends_anywhere(void **state)
{
    (void)state;
    /* What a client says from the header to its first message, cut at each octet. */
    static uint8_t said[4096];
    size_t n = 0;
    struct amqp_conn_conf client_conf = test_conf(false), server_conf = test_conf(true);
    struct owner *client = owner_new("client", &client_conf), *server = owner_new("server", &server_conf);
    server->credit = 5;
    client->to_send = 1;
    struct amqp_session *s = NULL;
    for (int i = 0; i < 20; i++) {
        size_t some = owner_take(client, said + n, sizeof said - n);
        owner_feed(server, said + n, some);
        n += some;
        uint8_t answer[4096];
        some = owner_take(server, answer, sizeof answer);
        owner_feed(client, answer, some);
        if (client->opened && s == NULL) {
            struct amqp_attach a = {.name = "out", .is_sender = true, .target = "a", .snd_settle_mode = 2};
            assert_int_equal(amqp_session_begin(&client->c, &s), OK);
            assert_int_equal(amqp_link_attach(s, &link_new(client)->link, &a), OK);
        }
    }
    assert_int_equal(server->links->messages, 1);
    owner_free(&client);
    owner_free(&server);
    for (size_t cut = 0; cut <= n; cut++) {
        server = owner_new("server", &server_conf);
        server->credit = 5;
        owner_feed(server, said, cut);
        uint8_t answer[4096];
        owner_take(server, answer, sizeof answer);
        amqp_conn_eof(&server->c, NULL);
        amqp_conn_eof(&server->c, NULL);
        assert_int_equal(server->closed, 1);
        assert_true(amqp_conn_is_closed(&server->c));
        owner_free(&server);
    }
}

static void test_conn_noise_in_any_octet_does_no_harm(void **state)
{
    (void)state;
    unsigned seed = 20;
    for (int round = 0; round < 4000; round++) {
        struct raw *r = raw_new(test_conf(true), 16384, 100);
        r->o->credit = 20;
        r->o->to_send = 3;
        r->o->accept_deliveries = true;
        uint8_t frames[1024];
        struct amqp_writer w = amqp_writer(frames, sizeof frames);
        struct amqp_attach_fields a = {0};
        AMQP_SET(&a, name, slice_of_text("n"));
        AMQP_SET(&a, handle, 0);
        AMQP_SET(&a, role, round % 2);
        size_t mark = amqp_write_frame_begin(&w, 0, 0);
        amqp_write_attach(&w, &a);
        amqp_write_frame_end(&w, mark, 0);
        struct amqp_flow_fields f = {0};
        AMQP_SET(&f, next_incoming_id, 0);
        AMQP_SET(&f, incoming_window, 5);
        AMQP_SET(&f, next_outgoing_id, 0);
        AMQP_SET(&f, outgoing_window, 5);
        AMQP_SET(&f, handle, 0);
        AMQP_SET(&f, link_credit, 3);
        mark = amqp_write_frame_begin(&w, 0, 0);
        amqp_write_flow(&w, &f);
        amqp_write_frame_end(&w, mark, 0);
        struct amqp_transfer_fields t = {0};
        AMQP_SET(&t, handle, 0);
        AMQP_SET(&t, delivery_id, 0);
        AMQP_SET(&t, delivery_tag, slice_of_text("t"));
        mark = amqp_write_frame_begin(&w, 0, 0);
        amqp_write_transfer(&w, &t);
        amqp_write_raw(&w, "payload", 7);
        amqp_write_frame_end(&w, mark, 0);
        struct amqp_disposition_fields d = {0};
        AMQP_SET(&d, role, round % 2);
        AMQP_SET(&d, first, 0);
        AMQP_SET(&d, last, 2);
        AMQP_SET(&d, settled, true);
        mark = amqp_write_frame_begin(&w, 0, 0);
        amqp_write_disposition(&w, &d);
        amqp_write_frame_end(&w, mark, 0);
        struct amqp_detach_fields x = {0};
        AMQP_SET(&x, handle, 0);
        mark = amqp_write_frame_begin(&w, 0, 0);
        amqp_write_detach(&w, &x);
        amqp_write_frame_end(&w, mark, 0);
        for (int i = rand_r(&seed) % 3; i >= 0; i--)
            frames[(size_t)rand_r(&seed) % w.len] = (uint8_t)rand_r(&seed);
        for (size_t at = 0; at < w.len;) {
            size_t n = 1 + (size_t)rand_r(&seed) % (w.len - at);
            owner_feed(r->o, frames + at, n);
            raw_take(r);
            at += n;
        }
        raw_free(r); /* checks that every link is gone */
    }
}

static void test_conn_idle_timeouts_both_ways(void **state)
{
    (void)state;
    struct amqp_conn_conf client = test_conf(false), server = test_conf(true);
    client.idle_timeout_ms = 10000;
    server.idle_timeout_ms = 16000;
    struct pair p;
    pair_open(&p, client, server, 0);
    /* The server has been told 5000 and beats at half of that. */
    assert_int_equal(amqp_conn_next_deadline(&p.server->c), 1000 + 2500);
    amqp_conn_tick(&p.server->c, 3499);
    assert_int_equal(amqp_conn_pending(&p.server->c), 0);
    amqp_conn_tick(&p.server->c, 3500);
    assert_int_equal(amqp_conn_pending(&p.server->c), 8);
    assert_int_equal(amqp_conn_next_deadline(&p.server->c), 3500 + 2500);
    uint8_t beat[64];
    assert_int_equal(owner_take(p.server, beat, sizeof beat), 8);
    assert_memory_equal(beat, "\0\0\0\x08\2\0\0\0", 8);
    p.client->c.now = 9000;
    owner_feed(p.client, beat, 8);
    amqp_conn_tick(&p.client->c, 18999);
    assert_int_equal(p.client->closed, 0);
    amqp_conn_tick(&p.client->c, 19000);
    assert_int_equal(p.client->closed, 1);
    assert_string_equal(p.client->error, "amqp:resource-limit-exceeded: local-idle-timeout expired");
    assert_int_equal(amqp_conn_next_deadline(&p.client->c), 19000 + 5000);
    assert_true(amqp_conn_pending(&p.client->c) > 8);
    pair_free(&p);
}

static void test_conn_session_end_loses_its_links_only(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, test_conf(false), test_conf(true), 0);
    p.server->credit = 10;
    p.client->to_send = 4;
    pair_attach(&p, true, 0);
    struct amqp_session *first = p.session;
    struct test_link *lost = p.out;
    p.session = NULL;
    pair_attach(&p, true, 0); /* the same name in another session is fine */
    assert_int_equal(amqp_link_unsettled(&lost->link), 4);
    amqp_session_end(first, NULL);
    assert_int_equal(lost->gone, 0);
    struct slice none = {0};
    struct amqp_send m = {.parts = &none, .part_count = 1};
    size_t sent;
    assert_int_equal(amqp_link_send(&lost->link, &m, &sent, NULL), ERR_CLOSED);
    wire_run(p.client, p.server, 0);
    assert_int_equal(lost->gone, 1);
    assert_int_equal(p.client->lost, 4);
    assert_int_equal(p.client->sessions_gone, 1);
    assert_int_equal(p.server->sessions_gone, 0); /* it began none */
    p.client->to_send = 2;
    link_pump(p.out);
    wire_run(p.client, p.server, 0);
    assert_int_equal(p.in->messages, 2);
    pair_free(&p);
}

static void test_conn_close_with_an_error_is_told_to_the_other(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, test_conf(false), test_conf(true), 0);
    pair_attach(&p, true, 0);
    char long_text[2000];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    amqp_conn_close(&p.server->c, &(struct amqp_error){.condition = "amqp:connection:forced", .description = "bye"});
    amqp_conn_close(&p.server->c, &(struct amqp_error){.condition = "amqp:internal-error", .description = long_text});
    wire_run(p.client, p.server, 0);
    assert_int_equal(p.client->closed, 1);
    assert_string_equal(p.client->error, "amqp:connection:forced: bye");
    assert_true(p.client->closed_by_peer);
    assert_int_equal(p.server->closed, 1);
    assert_false(p.server->closed_by_peer);
    assert_int_equal(p.out->gone, 1);
    pair_free(&p);
}

static void test_conn_configuration_without_sense_is_refused(void **state)
{
    (void)state;
    struct amqp_conn c = {0};
    struct amqp_conn_conf conf = test_conf(true);
    conf.max_frame_size = 511;
    assert_int_equal(amqp_conn_init(&c, &conf, &test_handler), ERR_INVALID);
    conf = test_conf(true);
    conf.container_id = NULL;
    assert_int_equal(amqp_conn_init(&c, &conf, &test_handler), ERR_INVALID);
    conf = test_conf(true);
    conf.session_window = 0;
    assert_int_equal(amqp_conn_init(&c, &conf, &test_handler), ERR_INVALID);
}

static void test_conn_peer_that_asks_and_does_not_read_is_closed(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    struct amqp_flow_fields f = {0};
    AMQP_SET(&f, incoming_window, 5);
    AMQP_SET(&f, next_outgoing_id, 0);
    AMQP_SET(&f, outgoing_window, 5);
    AMQP_SET(&f, handle, 3);
    AMQP_SET(&f, link_credit, 1);
    AMQP_SET(&f, echo, true);
    raw_attach(r, 3, true);
    uint8_t frames[60000];
    struct amqp_writer w = amqp_writer(frames, sizeof frames);
    while (w.len < sizeof frames - 100) {
        size_t mark = amqp_write_frame_begin(&w, 0, 0);
        amqp_write_flow(&w, &f);
        amqp_write_frame_end(&w, mark, 0);
    }
    for (int i = 0; i < 1000 && !r->o->closed; i++)
        owner_feed(r->o, frames, w.len);
    assert_int_equal(r->o->closed, 1);
    assert_true(amqp_conn_pending(&r->o->c) < 10 << 20);
    assert_non_null(strstr(r->o->error, "amqp:resource-limit-exceeded"));
    /* Nor is it waited for. */
    assert_false(amqp_conn_is_finished(&r->o->c));
    mono_ms due = amqp_conn_next_deadline(&r->o->c);
    assert_true(due > r->o->c.now && due <= r->o->c.now + 10000);
    amqp_conn_tick(&r->o->c, due);
    assert_true(amqp_conn_is_finished(&r->o->c));
    raw_free(r);
}

static void test_conn_close_that_is_not_answered_ends_in_time(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    amqp_conn_close(&r->o->c, NULL);
    raw_expect(r, AMQP_DESC_CLOSE);
    mono_ms due = amqp_conn_next_deadline(&r->o->c);
    owner_feed(r->o, "\0\0\0\x08\2\0\0\0", 8);
    amqp_conn_tick(&r->o->c, due - 1);
    assert_int_equal(r->o->closed, 0);
    amqp_conn_tick(&r->o->c, due);
    assert_int_equal(r->o->closed, 1);
    assert_string_equal(r->o->error, "");
    assert_true(amqp_conn_is_finished(&r->o->c));
    raw_free(r);
}

struct lines {
    uint32_t count, transfers, sasl;
};

static void count_line(const struct log_entry *e, void *arg)
{
    struct lines *l = arg;
    l->count++;
    l->transfers += strstr(e->text, "[C77]") && strstr(e->text, "@transfer");
    l->sasl += strstr(e->text, "@sasl") != NULL;
    assert_null(strstr(e->text, "secret"));
}

static void test_conn_trace_has_a_line_for_each_frame_and_no_password(void **state)
{
    (void)state;
    log_init();
    struct log_setting setting = {
        .mask = UINT32_MAX, .include_timestamp = -1, .include_source = -1, .output_file = "/dev/null"};
    assert_int_equal(log_configure(LOG_PROTOCOL, &setting), OK);
    struct amqp_conn_conf client = test_conf(false), server = test_conf(true);
    server.check_password = check;
    client.user = "eve";
    client.password = "secret";
    struct pair p = {.client = owner_new("client", &client), .server = owner_new("server", &server)};
    p.server->c.trace = true;
    p.server->c.id = 77;
    p.server->credit = 10;
    wire_run(p.client, p.server, 0);
    p.client->to_send = 5;
    pair_attach(&p, true, 0);
    struct lines l = {0};
    log_recent(0, count_line, &l);
    assert_int_equal(l.transfers, 5);
    assert_true(l.sasl >= 2);
    assert_true(l.count >= 5 + 2 + 2 + 2 + 2);
    pair_free(&p);
    log_fini();
}

/* ---- SASL ---- */

static void sasl_pair(struct pair *p, struct amqp_conn_conf client, struct amqp_conn_conf server)
{
    *p = (struct pair){.client = owner_new("client", &client), .server = owner_new("server", &server)};
    wire_run(p->client, p->server, 0);
}

static void test_conn_sasl_plain_checks_the_password(void **state)
{
    (void)state;
    struct amqp_conn_conf client = test_conf(false), server = test_conf(true);
    server.check_password = check;
    server.require_auth = true;
    client.user = "eve";
    client.password = "secret";
    struct pair p;
    sasl_pair(&p, client, server);
    assert_int_equal(p.server->opened, 1);
    assert_string_equal(amqp_conn_peer(&p.server->c)->user, "eve");
    assert_string_equal(amqp_conn_peer(&p.server->c)->sasl_mechanism, "PLAIN");
    pair_free(&p);
    client.password = "wrong";
    sasl_pair(&p, client, server);
    assert_int_equal(p.server->opened, 0);
    assert_int_equal(p.server->closed, 1);
    assert_int_equal(p.client->closed, 1);
    assert_non_null(strstr(p.client->error, "amqp:unauthorized-access"));
    assert_non_null(strstr(p.server->error, "amqp:unauthorized-access"));
    pair_free(&p);
}

static void test_conn_sasl_external_takes_the_transports_identity(void **state)
{
    (void)state;
    struct amqp_conn_conf client = test_conf(false), server = test_conf(true);
    server.external_id = "CN=eve";
    struct pair p;
    sasl_pair(&p, client, server);
    assert_string_equal(amqp_conn_peer(&p.server->c)->user, "CN=eve");
    assert_string_equal(amqp_conn_peer(&p.server->c)->sasl_mechanism, "EXTERNAL");
    pair_free(&p);
    client.sasl_mechanisms = "ANONYMOUS";
    sasl_pair(&p, client, server);
    assert_string_equal(amqp_conn_peer(&p.server->c)->user, "anonymous");
    pair_free(&p);
}

static void test_conn_sasl_only_configured_mechanisms_are_offered(void **state)
{
    (void)state;
    struct amqp_conn_conf client = test_conf(false), server = test_conf(true);
    server.sasl_mechanisms = "PLAIN EXTERNAL";
    server.check_password = check;
    struct pair p;
    sasl_pair(&p, client, server); /* has no password */
    assert_int_equal(p.client->closed, 1);
    assert_int_equal(p.client->opened, 0);
    pair_free(&p);
    /* One that takes what was not offered. */
    struct owner *o = owner_new("server", &server);
    static const char init[] = "AMQP\3\1\0\0\0\0\0\x1a\2\1\0\0\0\x53\x41\xc0\x0d\2\xa3\x09"
                               "ANONYMOUS\x40";
    uint8_t out[256];
    owner_feed(o, init, 8);
    owner_feed(o, init + 8, 26);
    size_t n = owner_take(o, out, sizeof out);
    assert_true(n > 0);
    assert_int_equal(o->closed, 1);
    assert_int_equal(o->opened, 0);
    owner_free(&o);
}

static void test_conn_without_sasl_only_where_it_is_not_required(void **state)
{
    (void)state;
    struct amqp_conn_conf client = test_conf(false), server = test_conf(true);
    client.sasl = false;
    struct pair p;
    sasl_pair(&p, client, server);
    assert_int_equal(p.server->opened, 1);
    assert_null(amqp_conn_peer(&p.server->c)->sasl_mechanism);
    assert_null(amqp_conn_peer(&p.server->c)->user);
    pair_free(&p);
    server.require_auth = true;
    sasl_pair(&p, client, server);
    assert_int_equal(p.server->opened, 0);
    assert_int_equal(p.server->closed, 1);
    assert_true(amqp_conn_is_finished(&p.server->c)); /* without a word: the transport ends */
    assert_non_null(strstr(p.server->error, "amqp:connection:policy-error"));
    pair_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conn_messages_both_settlements_arrive),
        cmocka_unit_test(test_conn_large_messages_both_ways_at_random_splits),
        cmocka_unit_test(test_conn_endpoint_is_freed_once_open),
        cmocka_unit_test(test_conn_properties_and_capabilities_arrive),
        cmocka_unit_test(test_conn_answer_to_open_may_come_later),
        cmocka_unit_test(test_conn_refused_at_open_says_open_and_close),
        cmocka_unit_test(test_conn_frames_that_may_not_be_close_it),
        cmocka_unit_test(test_conn_begin_on_a_wrong_channel_closes),
        cmocka_unit_test(test_conn_other_protocols_are_told_at_once),
        cmocka_unit_test(test_conn_stream_ends_anywhere),
        cmocka_unit_test(test_conn_noise_in_any_octet_does_no_harm),
        cmocka_unit_test(test_conn_idle_timeouts_both_ways),
        cmocka_unit_test(test_conn_session_end_loses_its_links_only),
        cmocka_unit_test(test_conn_close_with_an_error_is_told_to_the_other),
        cmocka_unit_test(test_conn_configuration_without_sense_is_refused),
        cmocka_unit_test(test_conn_peer_that_asks_and_does_not_read_is_closed),
        cmocka_unit_test(test_conn_close_that_is_not_answered_ends_in_time),
        cmocka_unit_test(test_conn_trace_has_a_line_for_each_frame_and_no_password),
        cmocka_unit_test(test_conn_sasl_plain_checks_the_password),
        cmocka_unit_test(test_conn_sasl_external_takes_the_transports_identity),
        cmocka_unit_test(test_conn_sasl_only_configured_mechanisms_are_offered),
        cmocka_unit_test(test_conn_without_sasl_only_where_it_is_not_required),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
