#include "conn_test_owner.h"

#include "raw_peer.h"

static void attach_with(struct raw *r, uint32_t handle, const char *name, bool receiver, struct slice source,
                        struct slice target)
{
    struct amqp_attach_fields f = {0};
    AMQP_SET(&f, name, slice_of_text(name));
    AMQP_SET(&f, handle, handle);
    AMQP_SET(&f, role, receiver);
    if (source.len)
        AMQP_SET(&f, source, source);
    if (target.len)
        AMQP_SET(&f, target, target);
    RAW_SEND(r, 0, attach, &f);
}

static struct amqp_attach_fields read_attach(struct raw *r)
{
    struct seen s = raw_expect(r, AMQP_DESC_ATTACH);
    struct amqp_attach_fields f;
    assert_int_equal(amqp_read_attach(&s.body, &f), OK);
    return f;
}

static void detach(struct raw *r, uint32_t handle, bool closed)
{
    struct amqp_detach_fields f = {0};
    AMQP_SET(&f, handle, handle);
    if (closed)
        AMQP_SET(&f, closed, true);
    RAW_SEND(r, 0, detach, &f);
}

#define BYTES(...) ((struct slice){NULL, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})})

static void test_link_termini_are_seen_and_echoed(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    struct amqp_source_fields wanted = {0};
    AMQP_SET(&wanted, durable, 2);
    AMQP_SET(&wanted, expiry_policy, slice_of_text("never"));
    AMQP_SET(&wanted, timeout, 60);
    AMQP_SET(&wanted, dynamic, true);
    AMQP_SET(&wanted, distribution_mode, slice_of_text("copy"));
    AMQP_SET(&wanted, filter, BYTES(0xc1, 5, 2, 0xa3, 1, 'f', 0x41));
    AMQP_SET(&wanted, outcomes, BYTES(0xa3, 2, 'o', 'k'));
    AMQP_SET(&wanted, capabilities, BYTES(0xe0, 7, 2, 0xa3, 1, 'a', 2, 'b', 'c'));
    uint8_t encoded[128];
    struct amqp_writer w = amqp_writer(encoded, sizeof encoded);
    amqp_write_source(&w, &wanted);
    struct slice source = {NULL, encoded, w.len};
    attach_with(r, 0, "one", true, source, (struct slice){0});
    struct amqp_terminus_view v;
    amqp_link_peer_source(&r->o->links->link, &v);
    assert_int_equal(v.kind, AMQP_TERMINUS_NODE);
    assert_null(v.address);
    assert_true(v.dynamic && v.copies);
    assert_int_equal(v.durability, AMQP_DURABILITY_UNSETTLED);
    assert_int_equal(v.expiry, AMQP_EXPIRE_NEVER);
    assert_int_equal(v.timeout, 60);
    assert_int_equal(v.filter.len, 7);
    assert_int_equal(v.outcomes.len, 4);
    assert_true(amqp_terminus_has_capability(&v, "a"));
    assert_true(amqp_terminus_has_capability(&v, "bc"));
    amqp_link_peer_target(&r->o->links->link, &v);
    assert_int_equal(v.kind, AMQP_TERMINUS_NULL);
    assert_string_equal(amqp_link_name(&r->o->links->link), "one");

    struct amqp_attach_fields a = read_attach(r);
    assert_true(amqp_slice_is(a.name, "one"));
    assert_false(a.role);
    assert_int_equal(a.snd_settle_mode, 2);
    assert_int_equal(a.rcv_settle_mode, 0);
    assert_false(a.has.target);
    struct amqp_reader in = amqp_slice_reader(a.source);
    uint64_t descriptor;
    struct amqp_source_fields s;
    assert_int_equal(amqp_read_descriptor(&in, &descriptor), OK);
    assert_int_equal(amqp_read_source(&in, &s), OK);
    in = amqp_slice_reader(s.address);
    struct slice address = {0};
    assert_int_equal(amqp_read_string(&in, &address), OK);
    assert_true(amqp_slice_is(address, "temp.1"));
    assert_true(s.dynamic && s.has.filter && s.has.capabilities);
    assert_int_equal(s.timeout, 60);
    raw_free(r);
}

static void test_link_kinds_of_termini_are_told_apart(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    struct amqp_terminus_view v;
    attach_with(r, 0, "anonymous", false, BYTES(0, 0x53, 0x28, 0x45), BYTES(0, 0x53, 0x29, 0x45));
    amqp_link_peer_target(&r->o->links->link, &v);
    assert_int_equal(v.kind, AMQP_TERMINUS_NODE);
    assert_null(v.address);
    assert_int_equal(v.expiry, AMQP_EXPIRE_SESSION_END);
    attach_with(r, 1, "coordinator", false, BYTES(0, 0x53, 0x28, 0x45),
                BYTES(0, 0x53, 0x30, 0xc0, 18, 1, 0xa3, 15, 'a', 'm', 'q', 'p', ':', 'l', 'o', 'c', 'a', 'l', '-', 't',
                      'r', 'a', 'n'));
    amqp_link_peer_target(&r->o->links->link, &v);
    assert_int_equal(v.kind, AMQP_TERMINUS_COORDINATOR);
    assert_true(amqp_terminus_has_capability(&v, "amqp:local-tran"));
    raw_free(r);
}

static void test_link_refused_has_no_local_terminus(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    r->o->refuse_links = true;
    for (uint32_t receiver = 0; receiver < 2; receiver++) {
        raw_attach_frame(r, receiver, "link", receiver);
        struct amqp_attach_fields a = read_attach(r);
        assert_int_equal(a.has.source, !receiver);
        assert_int_equal(a.has.target, receiver);
        raw_expect_error(r, AMQP_DESC_DETACH, "amqp:not-found");
        assert_int_equal(r->o->links->gone, 0);
        detach(r, receiver, true);
        assert_int_equal(r->o->links->gone, 1);
    }
    raw_free(r);
}

static void test_link_refused_sender_without_source_address_gets_both_termini_null(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    r->o->refuse_links = true;
    struct amqp_attach_fields f = {0};
    static const uint8_t source[] = {0, 0x53, 0x28, 0x45}, target[] = {0, 0x53, 0x29, 0xc0, 4, 1, 0xa1, 1, 'q'};
    AMQP_SET(&f, name, slice_of_text("link"));
    AMQP_SET(&f, handle, 0);
    AMQP_SET(&f, role, false);
    AMQP_SET(&f, source, ((struct slice){NULL, source, sizeof source}));
    AMQP_SET(&f, target, ((struct slice){NULL, target, sizeof target}));
    AMQP_SET(&f, initial_delivery_count, 0);
    RAW_SEND(r, 0, attach, &f);
    struct amqp_attach_fields a = read_attach(r);
    assert_false(a.has.source);
    assert_false(a.has.target);
    raw_expect_error(r, AMQP_DESC_DETACH, "amqp:not-found");
    raw_free(r);
}

static void test_link_detach_of_the_peer_is_answered_in_kind(void **state)
{
    (void)state;
    for (int closed = 0; closed < 2; closed++) {
        struct raw *r = raw_new(test_conf(true), 16384, 100);
        raw_attach(r, 9, true);
        detach(r, 9, closed);
        struct seen s = raw_expect(r, AMQP_DESC_DETACH);
        struct amqp_detach_fields f;
        assert_int_equal(amqp_read_detach(&s.body, &f), OK);
        assert_int_equal(f.closed, closed);
        assert_int_equal(r->o->links->detached_closed, closed);
        assert_int_equal(r->o->links->gone, 1);
        /* Name and handle are free again. */
        raw_attach(r, 9, true);
        assert_int_equal(r->o->links->gone, 0);
        raw_free(r);
    }
}

static void test_link_owner_that_answers_late_keeps_it(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    r->o->defer_attach = r->o->defer_detach = true;
    raw_attach_frame(r, 2, "late", true);
    raw_expect_nothing(r);
    raw_flow(r, 0, 100, 2, 0, 4, false);
    detach(r, 2, true);
    struct test_link *t = r->o->links;
    assert_int_equal(t->detached, 1);
    assert_int_equal(t->gone, 0);
    amqp_link_accept(&t->link, NULL, 0);
    amqp_link_detach(&t->link, true, NULL);
    amqp_link_detach(&t->link, true, NULL);
    assert_int_equal(t->gone, 0); /* not from within the owner's own call */
    raw_expect(r, AMQP_DESC_ATTACH);
    raw_expect(r, AMQP_DESC_DETACH);
    assert_int_equal(t->gone, 1);
    raw_free(r);
}

static void test_link_credit_before_the_answer_makes_it_sendable(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    r->o->defer_attach = true;
    raw_attach_frame(r, 2, "late", true);
    raw_flow(r, 0, 100, 2, 0, 4, false);
    assert_int_equal(r->o->links->sendable, 0);
    r->o->to_send = 10;
    amqp_link_accept(&r->o->links->link, NULL, 0);
    raw_expect(r, AMQP_DESC_ATTACH);
    for (int i = 0; i < 4; i++)
        raw_expect(r, AMQP_DESC_TRANSFER);
    assert_int_equal(r->o->to_send, 6);
    raw_free(r);
}

static void test_link_handle_in_use_ends_the_session(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    raw_attach(r, 4, true);
    raw_attach_frame(r, 4, "other", true);
    raw_expect_error(r, AMQP_DESC_END, "amqp:session:handle-in-use");
    assert_int_equal(r->o->links->gone, 1);
    raw_free(r);
}

static void test_link_same_name_twice_closes_the_connection(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    raw_attach_frame(r, 0, "same", true);
    raw_attach_frame(r, 1, "same", false); /* another direction is another link */
    assert_int_equal(r->o->closed, 0);
    raw_expect(r, AMQP_DESC_ATTACH);
    raw_expect(r, AMQP_DESC_ATTACH);
    raw_attach_frame(r, 2, "same", true);
    raw_expect_error(r, AMQP_DESC_CLOSE, "amqp:invalid-field");
    assert_int_equal(r->o->closed, 1);
    raw_free(r);
}

static void test_link_limits_are_kept(void **state)
{
    (void)state;
    struct amqp_conn_conf conf = test_conf(true);
    conf.max_links = 3;
    struct raw *r = raw_new(conf, 16384, 100);
    raw_begin(r, 1, 100);
    struct seen s = raw_expect(r, AMQP_DESC_BEGIN);
    struct amqp_begin_fields b;
    assert_int_equal(amqp_read_begin(&s.body, &b), OK);
    assert_int_equal(b.handle_max, 2);
    for (uint32_t i = 0; i < 2; i++)
        raw_attach(r, i, true);
    struct amqp_attach_fields f = {0};
    AMQP_SET(&f, name, slice_of_text("elsewhere"));
    AMQP_SET(&f, handle, 0);
    AMQP_SET(&f, role, true);
    RAW_SEND(r, 1, attach, &f);
    raw_expect(r, AMQP_DESC_ATTACH);
    struct test_link *newest = r->o->links;
    raw_attach_frame(r, 2, "beyond", true);
    raw_expect(r, AMQP_DESC_ATTACH);
    raw_expect_error(r, AMQP_DESC_DETACH, "amqp:resource-limit-exceeded");
    assert_ptr_equal(r->o->links, newest); /* the owner was not asked */
    raw_flow(r, 0, 100, 2, 0, 5, false);
    raw_transfer(r, 2, 0, true, false, "x");
    detach(r, 2, true);
    raw_expect_nothing(r);
    detach(r, 0, true);
    raw_expect(r, AMQP_DESC_DETACH);
    raw_attach(r, 2, true);
    assert_int_equal(r->o->closed, 0);
    raw_attach_frame(r, 3, "handle", true);
    raw_expect_error(r, AMQP_DESC_CLOSE, "amqp:connection:framing-error");
    raw_free(r);
}

static void test_link_walk_over_a_session_has_its_links_that_the_owner_knows(void **state)
{
    (void)state;
    struct amqp_conn_conf conf = test_conf(true);
    conf.max_links = 3;
    struct raw *r = raw_new(conf, 16384, 100);
    raw_begin(r, 1, 100);
    raw_expect(r, AMQP_DESC_BEGIN);
    struct test_link *made[3];
    for (uint32_t i = 0; i < 2; i++) {
        raw_attach(r, i, true);
        made[i] = r->o->links;
    }
    struct amqp_attach_fields f = {0};
    AMQP_SET(&f, name, slice_of_text("elsewhere"));
    AMQP_SET(&f, handle, 0);
    AMQP_SET(&f, role, true);
    RAW_SEND(r, 1, attach, &f);
    raw_expect(r, AMQP_DESC_ATTACH);
    raw_attach_frame(r, 2, "beyond", true); /* refused by the engine */
    raw_expect(r, AMQP_DESC_ATTACH);
    uint32_t at = 0;
    const struct amqp_session *s = made[0]->link.session;
    assert_ptr_equal(amqp_session_next_link(s, &at), &made[0]->link);
    assert_ptr_equal(amqp_session_next_link(s, &at), &made[1]->link);
    assert_null(amqp_session_next_link(s, &at));
    raw_free(r);
}

static void test_link_refusals_that_are_never_detached_end_the_connection(void **state)
{
    (void)state;
    struct amqp_conn_conf conf = test_conf(true);
    conf.max_links = 100000;
    struct raw *r = raw_new(conf, 16384, 100);
    struct amqp_attach_fields f = {0};
    for (uint32_t i = 0; i < 5000 && !r->o->closed; i++) {
        char name[16];
        memset(name, 0, sizeof name);
        snprintf(name + 1, 15, "%u", i); /* the name begins with NUL */
        AMQP_SET(&f, name, ((struct slice){NULL, (uint8_t *)name, 8}));
        AMQP_SET(&f, handle, i);
        AMQP_SET(&f, role, true);
        RAW_SEND(r, 0, attach, &f);
        raw_take(r);
    }
    assert_int_equal(r->o->closed, 1);
    assert_null(r->o->links);
    raw_free(r);
}

static void test_link_malformed_attach_closes(void **state)
{
    (void)state;
    const struct slice bad[] = {
        BYTES(0, 0x53, 0x28, 0xc0, 2, 2, 0x40),          /* a list that lacks a value */
        BYTES(0, 0x53, 0x77, 0x45),                      /* no terminus */
        BYTES(0, 0x53, 0x28, 0xc0, 4, 2, 0x40, 0x52, 9), /* no such durability */
        BYTES(0x45),                                     /* not described */
        BYTES(0, 0x53, 0x29, 0x45),                      /* a target as the source */
        BYTES(0, 0x53, 0x30, 0xc0, 3, 1, 0xa1, 0),       /* a coordinator as the source */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct raw *r = raw_new(test_conf(true), 16384, 100);
        attach_with(r, 0, "x", true, bad[i], (struct slice){0});
        raw_expect_error(r, AMQP_DESC_CLOSE, "amqp:decode-error");
        assert_int_equal(r->o->closed, 1);
        raw_free(r);
    }
}

static void test_link_answer_too_large_for_the_peer_is_refused(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 512, 100);
    uint8_t source[600] = {0, 0x53, 0x28, 0xd0};
    amqp_put32(source + 4, sizeof source - 8);
    amqp_put32(source + 8, 1);
    source[12] = 0xb1;
    amqp_put32(source + 13, sizeof source - 17);
    memset(source + 17, 'a', sizeof source - 17);
    attach_with(r, 0, "x", true, (struct slice){NULL, source, sizeof source}, (struct slice){0});
    struct amqp_attach_fields a = read_attach(r);
    assert_false(a.has.source);
    raw_expect_error(r, AMQP_DESC_DETACH, "amqp:frame-size-too-small");
    raw_free(r);
}

static void test_link_drain_gives_credit_back(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    r->o->credit = 10;
    struct test_link *t = raw_attach(r, 0, false);
    r->o->credit = 0;
    raw_transfer(r, 0, 0, true, false, "x");
    amqp_link_drain(&t->link);
    struct amqp_flow_fields f = raw_read_flow(r);
    assert_true(f.drain);
    assert_int_equal(f.link_credit, 9);
    assert_int_equal(f.delivery_count, 1);
    raw_transfer(r, 0, 1, true, false, "x");
    assert_int_equal(t->drained, 0);
    raw_flow(r, 0, 100, 0, 10, 0, true);
    assert_int_equal(t->drained, 1);
    assert_int_equal(t->link.credit, 0);
    assert_int_equal(t->link.delivery_count, 10);
    /* Drained already: told without asking the peer. */
    amqp_link_drain(&t->link);
    assert_int_equal(t->drained, 1);
    raw_expect_nothing(r);
    assert_int_equal(t->drained, 2);
    /* Used up by messages. */
    amqp_link_grant(&t->link, 1);
    amqp_link_drain(&t->link);
    assert_true(raw_read_flow(r).drain);
    raw_transfer(r, 0, 2, true, false, "x");
    assert_int_equal(t->drained, 3);
    amqp_link_grant(&t->link, 5);
    f = raw_read_flow(r);
    assert_false(f.drain);
    assert_int_equal(f.link_credit, 5);
    amqp_link_drain(&t->link);
    amqp_link_stop_drain(&t->link);
    assert_false(raw_read_flow(r).drain);
    raw_free(r);
}

/* The peer gives its credit back, but we have stopped draining and granted meanwhile: it has none now, and the owner
 * must hear so, or the link stands still for ever. */
static void test_link_credit_given_back_after_stop_drain_is_told(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    r->o->credit = 10;
    struct test_link *t = raw_attach(r, 0, false);
    r->o->credit = 0;
    amqp_link_drain(&t->link);
    assert_true(raw_read_flow(r).drain);
    amqp_link_stop_drain(&t->link);
    assert_false(raw_read_flow(r).drain);
    raw_flow(r, 0, 100, 0, 10, 0, true);
    assert_int_equal(t->drained, 1);
    assert_int_equal(t->link.credit, 0);
    raw_free(r);
}

/* Credit that is taken back: what the peer has sent of it meanwhile is taken, and what it sends beyond is not. */
static void test_link_credit_taken_back_may_still_be_used(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    r->o->credit = 3;
    struct test_link *t = raw_attach(r, 0, false);
    r->o->credit = 0;
    amqp_link_set_credit(&t->link, 1);
    assert_int_equal(raw_read_flow(r).link_credit, 1);
    for (uint32_t id = 0; id < 3; id++)
        raw_transfer(r, 0, id, true, false, "x");
    assert_int_equal(t->link.delivery_count, 3);
    assert_int_equal(t->link.credit, 0);
    assert_int_equal(t->link.overdrawn, 0);
    amqp_link_set_credit(&t->link, 2);
    struct amqp_flow_fields f = raw_read_flow(r);
    assert_int_equal(f.delivery_count, 3);
    assert_int_equal(f.link_credit, 2);
    for (uint32_t id = 3; id < 6; id++)
        raw_transfer(r, 0, id, true, false, "x");
    assert_int_equal(t->link.delivery_count, 5); /* the sixth had no credit, ever: the link is detached */
    raw_expect(r, AMQP_DESC_DETACH);
    raw_free(r);
}

static struct slice symbol_at(uint8_t *at, size_t size, const char *text)
{
    struct amqp_writer w = amqp_writer(at, size);
    amqp_write_symbol_of(&w, text);
    return (struct slice){NULL, at, w.len};
}

static void test_link_terms_are_seen_and_answered_as_they_are(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    r->o->defer_attach = true;
    uint8_t offered[16], desired[16], other[16];
    struct amqp_attach_fields f = {0};
    AMQP_SET(&f, name, slice_of_text("one"));
    AMQP_SET(&f, handle, 0);
    AMQP_SET(&f, role, true);
    AMQP_SET(&f, snd_settle_mode, 0);
    AMQP_SET(&f, rcv_settle_mode, 1);
    AMQP_SET(&f, max_message_size, 77);
    AMQP_SET(&f, offered_capabilities, symbol_at(offered, sizeof offered, "o"));
    AMQP_SET(&f, desired_capabilities, symbol_at(desired, sizeof desired, "dd"));
    AMQP_SET(&f, properties, BYTES(0xc1, 5, 2, 0xa3, 1, 'p', 0x41));
    RAW_SEND(r, 0, attach, &f);
    struct amqp_attach_terms t;
    amqp_link_peer_terms(&r->o->links->link, &t);
    assert_int_equal(t.source.len, 0);
    assert_int_equal(t.snd_settle_mode, 0);
    assert_int_equal(t.rcv_settle_mode, 1);
    assert_int_equal(t.max_message_size, 77);
    assert_memory_equal(t.offered_capabilities.data, offered, 3);
    assert_memory_equal(t.desired_capabilities.data, desired, 4);
    assert_int_equal(t.properties.len, 7);
    t.offered_capabilities = symbol_at(other, sizeof other, "mine");
    t.desired_capabilities.len = 0;
    assert_int_equal(amqp_link_accept_with(&r->o->links->link, &t), OK);
    struct amqp_attach_fields said = read_attach(r);
    assert_int_equal(said.snd_settle_mode, 0);
    assert_int_equal(said.rcv_settle_mode, 1);
    assert_int_equal(said.max_message_size, 77);
    assert_int_equal(said.offered_capabilities.len, 6);
    assert_false(said.has.desired_capabilities);
    assert_int_equal(said.properties.len, 7);
    assert_int_equal(amqp_link_accept_with(&r->o->links->link, &t), ERR_CLOSED); /* once */
    raw_free(r);
}

static void test_link_ours_is_attached_and_refused(void **state)
{
    (void)state;
    struct raw *r = raw_new(test_conf(true), 16384, 100);
    struct amqp_session *s;
    assert_int_equal(amqp_session_begin(&r->o->c, &s), OK);
    struct test_link *t = link_new(r->o);
    struct amqp_attach a = {.name = "ours",
                            .source = "there",
                            .source_capability = "qd.router",
                            .target_capability = "qd.router",
                            .snd_settle_mode = 2};
    assert_int_equal(amqp_link_attach(s, &t->link, &a), OK);
    struct test_link twin = {.owner = r->o};
    assert_int_equal(amqp_link_attach(s, &twin.link, &a), ERR_EXISTS);
    amqp_link_grant(&t->link, 7);
    struct seen begin = raw_expect(r, AMQP_DESC_BEGIN);
    assert_int_equal(begin.channel, 1);
    struct amqp_attach_fields f = read_attach(r);
    assert_true(f.role);
    struct amqp_reader in = amqp_slice_reader(f.source);
    uint64_t descriptor;
    struct amqp_source_fields source;
    assert_int_equal(amqp_read_descriptor(&in, &descriptor), OK);
    assert_int_equal(amqp_read_source(&in, &source), OK);
    assert_int_equal(source.capabilities.data[0], AMQP_CODE_SYM8); /* bare, not an array */
    assert_true(amqp_slice_is(source.expiry_policy, "link-detach"));
    raw_expect_nothing(r);
    /* The peer answers on a channel and a handle of its own. */
    struct amqp_begin_fields b = {0};
    AMQP_SET(&b, remote_channel, 1);
    AMQP_SET(&b, next_outgoing_id, 77);
    AMQP_SET(&b, incoming_window, 10);
    AMQP_SET(&b, outgoing_window, 10);
    RAW_SEND(r, 300, begin, &b);
    struct amqp_attach_fields answer = {0};
    AMQP_SET(&answer, name, slice_of_text("ours"));
    AMQP_SET(&answer, handle, 30);
    AMQP_SET(&answer, role, false);
    AMQP_SET(&answer, initial_delivery_count, UINT32_MAX);
    RAW_SEND(r, 300, attach, &answer);
    assert_int_equal(t->attached, 1);
    struct amqp_flow_fields flow = raw_read_flow(r);
    assert_int_equal(flow.link_credit, 7);
    assert_int_equal(flow.delivery_count, UINT32_MAX);
    assert_int_equal(flow.next_incoming_id, 77);
    struct amqp_terminus_view v;
    amqp_link_peer_source(&t->link, &v);
    assert_int_equal(v.kind, AMQP_TERMINUS_NULL);
    struct amqp_detach_fields d = {0};
    AMQP_SET(&d, handle, 30);
    AMQP_SET(&d, closed, true);
    RAW_SEND(r, 300, detach, &d);
    assert_int_equal(t->detached, 1);
    assert_int_equal(t->gone, 1);
    struct seen answered = raw_expect(r, AMQP_DESC_DETACH);
    assert_int_equal(answered.channel, 1);
    raw_free(r);
}

static void test_link_ours_may_have_null_termini(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        struct raw *r = raw_new(test_conf(true), 16384, 100);
        struct amqp_session *s;
        assert_int_equal(amqp_session_begin(&r->o->c, &s), OK);
        struct amqp_attach a = {.name = "ours",
                                .is_sender = which == 0,
                                .target = which == 0 ? "there" : NULL,
                                .no_source = which == 0,
                                .no_target = which == 1,
                                .dynamic = which == 1,
                                .snd_settle_mode = 2};
        assert_int_equal(amqp_link_attach(s, &link_new(r->o)->link, &a), OK);
        raw_expect(r, AMQP_DESC_BEGIN);
        struct amqp_attach_fields f = read_attach(r);
        assert_int_equal(f.has.source, which == 1);
        assert_int_equal(f.has.target, which == 0);
        raw_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_link_termini_are_seen_and_echoed),
        cmocka_unit_test(test_link_kinds_of_termini_are_told_apart),
        cmocka_unit_test(test_link_refused_has_no_local_terminus),
        cmocka_unit_test(test_link_refused_sender_without_source_address_gets_both_termini_null),
        cmocka_unit_test(test_link_detach_of_the_peer_is_answered_in_kind),
        cmocka_unit_test(test_link_owner_that_answers_late_keeps_it),
        cmocka_unit_test(test_link_credit_before_the_answer_makes_it_sendable),
        cmocka_unit_test(test_link_handle_in_use_ends_the_session),
        cmocka_unit_test(test_link_same_name_twice_closes_the_connection),
        cmocka_unit_test(test_link_limits_are_kept),
        cmocka_unit_test(test_link_walk_over_a_session_has_its_links_that_the_owner_knows),
        cmocka_unit_test(test_link_refusals_that_are_never_detached_end_the_connection),
        cmocka_unit_test(test_link_malformed_attach_closes),
        cmocka_unit_test(test_link_answer_too_large_for_the_peer_is_refused),
        cmocka_unit_test(test_link_drain_gives_credit_back),
        cmocka_unit_test(test_link_credit_given_back_after_stop_drain_is_told),
        cmocka_unit_test(test_link_credit_taken_back_may_still_be_used),
        cmocka_unit_test(test_link_terms_are_seen_and_answered_as_they_are),
        cmocka_unit_test(test_link_ours_is_attached_and_refused),
        cmocka_unit_test(test_link_ours_may_have_null_termini),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
