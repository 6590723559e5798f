/* One router of ours, with the test as its neighbours: what it says in which order, and to whom. Meshes of many routers
 * are in tests/mesh. */
#include "mesh.h"

#include "paths.h"
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

enum { SENT_MAX = 400 };

struct sent {
    uint64_t link;
    uint8_t *octets;
    size_t n;
    mono_ms at;
    struct wire_envelope envelope;
    struct wire_message body;
};

static struct {
    struct mesh_owner owner;
    struct mesh *mesh;
    mono_ms now;
    struct sent sent[SENT_MAX];
    int count;
    char log[2048]; /* what the owner was told */
} t;

static void on_send(struct mesh_owner *o, uint64_t link, const uint8_t *octets, size_t n)
{
    (void)o;
    const char *why;
    assert_true(t.count < SENT_MAX);
    struct sent *s = &t.sent[t.count++];
    *s = (struct sent){.link = link, .octets = xmalloc(n), .n = n, .at = t.now};
    memcpy(s->octets, octets, n);
    assert_int_equal(wire_open(s->octets, n, &s->envelope, &why), OK);
    assert_int_equal(wire_read(s->octets, n, &s->envelope, &s->body, &why), OK);
    struct slice last;
    assert_true(wire_trace_last(&s->envelope, &last)); /* each message carries a trace that ends with us */
    assert_true(amqp_slice_is(last, "me"));
}

static void note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t n = strlen(t.log);
    vsnprintf(t.log + n, sizeof t.log - n, format, args);
    va_end(args);
}

static void on_route(struct mesh_owner *o, const struct mesh_route *r)
{
    (void)o;
    if (r->is_reachable)
        note("%s:via %s link %d cost %d ways %d; ", r->router, r->next_hop, (int)r->link, (int)r->cost,
             (int)r->link_count);
    else
        note("%s:gone; ", r->router);
}

static void on_forgotten(struct mesh_owner *o, uint32_t index)
{
    (void)o;
    note("%u:forgotten; ", index);
}

static void on_topology(struct mesh_owner *o)
{
    (void)o;
}

static void on_mapped(struct mesh_owner *o, const char *key, uint32_t router, int hint)
{
    (void)o;
    note("+%s@%u hint %d; ", key, router, hint);
}

static void on_unmapped(struct mesh_owner *o, const char *key, uint32_t router)
{
    (void)o;
    note("-%s@%u; ", key, router);
}

static void forget_sent(void)
{
    for (int i = 0; i < t.count; i++)
        free(t.sent[i].octets);
    t.count = 0;
}

static struct mesh_conf conf;

static int set_up(void **state)
{
    (void)state;
    assert_on_control();
    memset(&t, 0, sizeof t);
    t.now = 1000;
    t.owner = (struct mesh_owner){on_send, on_route, on_forgotten, on_topology, on_mapped, on_unmapped};
    mesh_conf_init(&conf);
    conf.id = "me";
    conf.instance = 1795171000;
    conf.life = 77;
    assert_int_equal(mesh_new(&conf, &t.owner, t.now, &t.mesh), OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_on_control();
    mesh_free(&t.mesh);
    forget_sent();
    return 0;
}

static void pass(mono_ms ms)
{
    assert_on_control();
    for (mono_ms end = t.now + ms; t.now < end;) {
        mono_ms due = mesh_deadline(t.mesh);
        t.now = due > end ? end : due > t.now ? due : t.now;
        mesh_tick(t.mesh, t.now);
    }
}

static const struct mesh_peer OLD = {.cost = 1}, OURS = {.cost = 1, .is_ours = true, .fast_hello_interval = 80};

static void up(uint64_t link, struct mesh_peer peer)
{
    assert_on_control();
    assert_int_equal(mesh_link_up(t.mesh, link, &peer, t.now), OK);
}

static void down(uint64_t link)
{
    assert_on_control();
    assert_int_equal(mesh_link_down(t.mesh, link, t.now), OK);
}

static enum err give_octets(uint64_t link, const uint8_t *octets, size_t n)
{
    assert_on_control();
    return mesh_receive(t.mesh, link, octets, n, t.now);
}

static void give(uint64_t link, struct wire_out m)
{
    struct octets o = {0};
    wire_encode(&m, &o);
    assert_int_equal(give_octets(link, o.data, o.len), OK);
    octets_fini(&o);
}

/* The message as `relay` passes it on. */
static void give_relayed(uint64_t link, struct wire_out m, const char *relay)
{
    struct octets o = {0}, r = {0};
    struct wire_envelope e;
    const char *why;
    wire_encode(&m, &o);
    assert_int_equal(wire_open(o.data, o.len, &e, &why), OK);
    wire_relay(o.data, o.len, &e, relay, &r);
    assert_int_equal(give_octets(link, r.data, r.len), OK);
    octets_fini(&o);
    octets_fini(&r);
}

static void hello(uint64_t link, const char *id, int64_t instance)
{
    const char *seen[] = {"me"};
    give(link, (struct wire_out){.op = WIRE_HELLO, .self = id, .instance = instance, .seen = seen, .seen_count = 1});
}

/* peers: NULL-terminated ids, each at cost 1 */
static void record(uint64_t link, const char *id, int64_t instance, int64_t seq, const char *a, const char *b)
{
    struct wire_peer peers[] = {{a, 1}, {b, 1}};
    give(link, (struct wire_out){.op = WIRE_LSU,
                                 .self = id,
                                 .target = "me",
                                 .instance = instance,
                                 .ls_seq = seq,
                                 .peers = peers,
                                 .peer_count = b ? 2 : 1});
}

static void ra(uint64_t link, const char *id, int64_t instance, int64_t ls_seq, int64_t mobile_seq)
{
    give(link, (struct wire_out){
                   .op = WIRE_RA, .self = id, .instance = instance, .ls_seq = ls_seq, .mobile_seq = mobile_seq});
}

/* The i-th of what was sent since forget_sent(), HELLO left out. NULL: there are not so many. */
static const struct sent *sent(int i)
{
    for (int k = 0; k < t.count; k++)
        if (t.sent[k].body.op != WIRE_HELLO && i-- == 0)
            return &t.sent[k];
    return NULL;
}

static void assert_sent(int i, enum wire_op op, uint64_t link, const char *target)
{
    const struct sent *s = sent(i);
    assert_non_null(s);
    assert_string_equal(wire_op_name(s->body.op), wire_op_name(op));
    assert_int_equal(s->link, link);
    if (target)
        assert_true(amqp_slice_is(s->envelope.target, target));
    else
        assert_int_equal(s->envelope.scope, WIRE_ALL);
}

static void assert_log(const char *expected)
{
    assert_string_equal(t.log, expected);
    t.log[0] = '\0';
}

static int count_op(enum wire_op op)
{
    int n = 0;
    for (int i = 0; i < t.count; i++)
        n += t.sent[i].body.op == op;
    return n;
}

/* ---- what an old neighbour sees ---- */

static void test_mesh_old_neighbour_start_up_as_recorded(void **state)
{
    (void)state;
    up(1, OLD);
    assert_int_equal(t.count, 1);
    assert_int_equal(t.sent[0].body.op, WIRE_HELLO);
    assert_int_equal(t.sent[0].body.seen.count, 0);
    forget_sent();
    hello(1, "B", 5);
    assert_log("B:via B link 1 cost 1 ways 1; ");
    assert_int_equal(t.sent[0].body.seen.count, 1); /* HELLO that names it, at once */
    assert_sent(0, WIRE_RA, 1, NULL);
    assert_true(sent(0)->body.ls_seq >= 1);
    assert_int_equal(sent(0)->body.mobile_seq, 0);
    forget_sent();
    /* It asks for our record, and we for its. */
    give(1, (struct wire_out){.op = WIRE_LSR, .self = "B", .target = "me"});
    assert_sent(0, WIRE_LSU, 1, "B");
    assert_false(sent(0)->body.has_mobile_seq);
    struct amqp_compound peers = sent(0)->body.peers;
    struct slice id;
    int64_t cost;
    assert_true(wire_next_peer(&peers, &id, &cost) && amqp_slice_is(id, "B") && cost == 1);
    forget_sent();
    ra(1, "B", 5, 1, 0);
    assert_sent(0, WIRE_LSR, 1, "B");
    assert_null(sent(1)); /* nobody to pass its RA on to */
    record(1, "B", 5, 1, "me", NULL);
    /* RAs at short intervals while things are new, then each half minute; no more questions. */
    forget_sent();
    mono_ms begin = t.now;
    for (int i = 0; i < 45; i++) {
        pass(1000);
        hello(1, "B", 5);
    }
    static const mono_ms expected[] = {4000, 8000, 38000};
    for (int i = 0; i < 3; i++) {
        assert_sent(i, WIRE_RA, 1, NULL);
        assert_in_range(sent(i)->at - begin, expected[i] - 200, expected[i] + 200);
    }
    assert_null(sent(3));
}

static void test_mesh_old_neighbour_hello_once_a_second(void **state)
{
    (void)state;
    up(1, OLD);
    forget_sent();
    for (int i = 0; i < 10; i++) {
        hello(1, "B", 5);
        pass(1000);
    }
    assert_in_range(count_op(WIRE_HELLO), 10, 11);
}

static void test_mesh_addresses_of_ours_update_then_ra_once_a_second(void **state)
{
    (void)state;
    assert_on_control();
    up(1, OLD);
    hello(1, "B", 5);
    forget_sent();
    assert_int_equal(mesh_address_added(t.mesh, "M0a", 2, t.now), OK);
    assert_int_equal(mesh_address_added(t.mesh, "M0b", 1, t.now), OK);
    assert_null(sent(0));
    pass(100);
    assert_sent(0, WIRE_MAU, 1, NULL);
    assert_int_equal(sent(0)->body.mobile_seq, 1);
    assert_int_equal(sent(0)->body.add.count, 2);
    assert_int_equal(sent(0)->body.hints.count, 2);
    assert_sent(1, WIRE_RA, 1, NULL);
    assert_int_equal(sent(1)->body.mobile_seq, 1);
    forget_sent();
    assert_int_equal(mesh_address_removed(t.mesh, "M0a", t.now), OK);
    pass(800);
    assert_int_equal(count_op(WIRE_MAU), 0);
    hello(1, "B", 5);
    pass(200);
    assert_int_equal(count_op(WIRE_MAU), 1);
    forget_sent();
    /* It has missed something, and gets all. */
    give(1, (struct wire_out){.op = WIRE_MAR, .self = "B", .target = "me", .have_seq = 1});
    assert_sent(0, WIRE_MAU, 1, "B");
    assert_true(sent(0)->body.is_absolute);
    assert_int_equal(sent(0)->body.mobile_seq, 2);
    assert_int_equal(sent(0)->body.exist.count, 1);
    forget_sent();
    give(1, (struct wire_out){.op = WIRE_MAR, .self = "B", .target = "me", .have_seq = 2});
    assert_null(sent(0)); /* it has all: no answer */
}

static void test_mesh_address_added_and_removed_at_once_no_update(void **state)
{
    (void)state;
    assert_on_control();
    up(1, OLD);
    hello(1, "B", 5);
    forget_sent();
    mesh_address_added(t.mesh, "M0a", 2, t.now);
    mesh_address_removed(t.mesh, "M0a", t.now);
    pass(2000);
    assert_int_equal(count_op(WIRE_MAU), 0);
}

static void test_mesh_addresses_of_others_by_ra_mar_and_mau(void **state)
{
    (void)state;
    up(1, OLD);
    hello(1, "B", 5);
    record(1, "B", 5, 1, "me", NULL);
    pass(10);
    t.log[0] = '\0';
    forget_sent();
    ra(1, "B", 5, 1, 3);
    pass(10);
    assert_sent(0, WIRE_MAR, 1, "B");
    assert_int_equal(sent(0)->body.have_seq, 0);
    const char *keys[] = {"M0a", "Clr"};
    int32_t hints[] = {2, 4};
    struct wire_out mau = {.op = WIRE_MAU,
                           .self = "B",
                           .target = "me",
                           .mobile_seq = 3,
                           .is_absolute = true,
                           .add = keys,
                           .hints = hints,
                           .add_count = 2};
    give(1, mau);
    assert_log("+M0a@1 hint 2; +Clr@1 hint 4; ");
    /* The next one is missed, the one after asks for all again; asked once, not for each copy. */
    forget_sent();
    const char *more[] = {"M0b"};
    struct wire_out update = {
        .op = WIRE_MAU, .self = "B", .mobile_seq = 5, .add = more, .hints = hints, .add_count = 1};
    give(1, update);
    give(1, update);
    assert_int_equal(count_op(WIRE_MAR), 1);
    assert_int_equal(sent(0)->body.have_seq, 3);
    assert_log("");
    mau.mobile_seq = 5;
    mau.add = more;
    mau.add_count = 1;
    give(1, mau);
    assert_log("-M0a@1; -Clr@1; +M0b@1 hint 2; ");
    down(1);
    assert_log("B:gone; -M0b@1; "); /* at once */
}

static void test_mesh_flood_passed_on_once_and_not_back(void **state)
{
    (void)state;
    up(1, OLD);
    up(2, OLD);
    up(3, OLD);
    hello(1, "B", 5);
    hello(2, "C", 5);
    hello(3, "D", 5);
    forget_sent();
    struct wire_out m = {.op = WIRE_RA, .self = "X", .instance = 9};
    give_relayed(1, m, "B");
    assert_sent(0, WIRE_RA, 2, NULL);
    assert_sent(1, WIRE_RA, 3, NULL);
    assert_null(sent(2));
    assert_int_equal(sent(0)->envelope.trace.count, 3);
    assert_true(wire_trace_has(&sent(0)->envelope, "X"));
    assert_true(amqp_slice_is(sent(0)->envelope.ingress, "0/X"));
    give_relayed(2, m, "C"); /* the copy that came another way */
    assert_null(sent(2));
    m.self = "me"; /* our own one comes back */
    m.instance = conf.instance;
    give_relayed(2, m, "C");
    assert_null(sent(2));
}

static void test_mesh_message_for_another_router_passed_on(void **state)
{
    (void)state;
    up(1, OLD);
    up(2, OLD);
    hello(1, "B", 5);
    hello(2, "C", 5);
    record(2, "C", 5, 1, "me", "D");
    pass(10);
    forget_sent();
    give(1, (struct wire_out){.op = WIRE_LSR, .self = "B", .target = "D"});
    assert_sent(0, WIRE_LSR, 2, "D");
    assert_int_equal(sent(0)->envelope.trace.count, 2);
    forget_sent();
    give(2, (struct wire_out){.op = WIRE_LSR, .self = "C", .target = "D"}); /* it would go back to where it is from */
    give(1, (struct wire_out){.op = WIRE_LSR, .self = "B", .target = "nobody"});
    assert_null(sent(0));
}

static void test_mesh_router_restarted_addresses_forgotten_and_asked_for(void **state)
{
    (void)state;
    up(1, OLD);
    up(2, OLD);
    hello(1, "B", 5);
    hello(2, "C", 5);
    record(1, "B", 5, 1, "me", "D");
    record(1, "D", 6, 1, "B", NULL);
    ra(1, "D", 6, 1, 0);
    pass(10);
    const char *keys[] = {"M0a"};
    int32_t hints[] = {2};
    struct wire_out mau = {.op = WIRE_MAU, .self = "D", .mobile_seq = 1, .add = keys, .hints = hints, .add_count = 1};
    t.log[0] = '\0';
    give(1, mau);
    assert_log("+M0a@3 hint 2; ");
    forget_sent();
    ra(1, "D", 7, 1, 1);
    assert_log("-M0a@3; ");
    give(1, mau); /* of which life? */
    assert_log("");
    pass(60);
    assert_int_equal(count_op(WIRE_LSR), 1);
    assert_true(count_op(WIRE_MAR) >= 1);
}

/* D's addresses of some life are told before anything says which, D is restarted, and its new numbers go as far as the
 * old ones. */
static void test_mesh_addresses_told_before_the_life_was_known_asked_for_anew(void **state)
{
    (void)state;
    up(1, OLD);
    hello(1, "B", 5);
    record(1, "B", 5, 1, "me", "D");
    pass(10);
    const char *keys[] = {"M0a"}, *new_keys[] = {"M0b"};
    int32_t hints[] = {2};
    struct wire_out mau = {.op = WIRE_MAU,
                           .self = "D",
                           .target = "me",
                           .is_absolute = true,
                           .mobile_seq = 2,
                           .add = keys,
                           .hints = hints,
                           .add_count = 1};
    t.log[0] = '\0';
    give(1, mau);
    assert_log("+M0a@2 hint 2; ");
    forget_sent();
    record(1, "D", 7, 1, "B", NULL);
    assert_log("-M0a@2; ");
    assert_int_equal(count_op(WIRE_MAR), 1);
    assert_int_equal(sent(0)->body.have_seq, 0);
    mau.add = new_keys;
    give(1, mau);
    assert_log("+M0b@2 hint 2; ");
    forget_sent();
    ra(1, "D", 7, 1, 2);
    pass(100);
    assert_log("");
    assert_int_equal(count_op(WIRE_MAR), 0); /* now it is known of which life they are */
}

static void give_record_through_ours(int64_t seq, int64_t life)
{
    struct wire_peer peers[] = {{"B", 1}};
    give(1, (struct wire_out){.op = WIRE_LSU,
                              .self = "B",
                              .id = "D",
                              .target = "me",
                              .instance = 6,
                              .ls_seq = seq,
                              .mobile_seq = 1,
                              .life = life,
                              .is_among_ours = true,
                              .peers = peers,
                              .peer_count = 1});
}

/* D, one of ours and no neighbour, is restarted within the second, and its new record is numbered on from the old one. */
static void test_mesh_other_life_within_the_second_elsewhere_addresses_asked_for_anew(void **state)
{
    (void)state;
    up(1, OURS);
    hello(1, "B", 5);
    record(1, "B", 5, 1, "me", "D");
    give_record_through_ours(1, 70);
    pass(10);
    const char *keys[] = {"M0a"};
    int32_t hints[] = {2};
    give(1,
         (struct wire_out){.op = WIRE_MAU, .self = "D", .mobile_seq = 1, .add = keys, .hints = hints, .add_count = 1});
    t.log[0] = '\0';
    give_record_through_ours(2, 70);
    pass(10);
    assert_log("");
    forget_sent();
    give_record_through_ours(3, 71);
    assert_log("-M0a@2; ");
    assert_int_equal(count_op(WIRE_MAR), 1);
}

/* D is not heard for so long that its record is dropped, and is then in another life, or in the same. */
static void hear_again_after_long(int64_t instance)
{
    up(1, OLD);
    hello(1, "B", 5);
    record(1, "B", 5, 1, "me", "D");
    record(1, "D", 6, 1, "B", NULL);
    ra(1, "D", 6, 1, 1);
    const char *keys[] = {"M0a"};
    int32_t hints[] = {2};
    give(1,
         (struct wire_out){.op = WIRE_MAU, .self = "D", .mobile_seq = 1, .add = keys, .hints = hints, .add_count = 1});
    for (int i = 0; i < 63; i++) {
        pass(1000);
        hello(1, "B", 5);
        ra(1, "B", 5, 1, 0);
        forget_sent();
    }
    t.log[0] = '\0';
    ra(1, "D", instance, 1, 1);
    pass(60);
}

static void test_mesh_restarted_while_its_record_was_dropped_addresses_asked_for_anew(void **state)
{
    (void)state;
    hear_again_after_long(7);
    assert_log("-M0a@2; ");
    assert_int_equal(count_op(WIRE_MAR), 1);
}

static void test_mesh_same_life_after_its_record_was_dropped_addresses_kept(void **state)
{
    (void)state;
    hear_again_after_long(6);
    assert_log("");
    assert_int_equal(count_op(WIRE_MAR), 0);
}

static void test_mesh_unreachable_router_record_kept_addresses_unmapped(void **state)
{
    (void)state;
    up(1, OLD);
    hello(1, "B", 5);
    record(1, "B", 5, 1, "me", "D");
    pass(20);
    assert_log("B:via B link 1 cost 1 ways 1; D:via B link 1 cost 2 ways 1; ");
    record(1, "B", 5, 2, "me", NULL);
    pass(300);
    assert_log("D:gone; ");
    hello(1, "B", 5);
    for (int i = 0; i < 4; i++) {
        pass(1000);
        hello(1, "B", 5);
    }
    assert_log("2:forgotten; ");
}

static void test_mesh_equal_paths_both_links_told(void **state)
{
    (void)state;
    up(1, OLD);
    up(2, OLD);
    hello(1, "C", 5);
    hello(2, "B", 5);
    record(1, "C", 5, 1, "me", "D");
    record(2, "B", 5, 1, "me", "D");
    pass(300);
    assert_non_null(strstr(t.log, "D:via B link 2 cost 2 ways 2; ")); /* B before C */
}

/* ---- among ours ---- */

static void test_mesh_ours_told_all_records_at_once(void **state)
{
    (void)state;
    up(1, OLD);
    hello(1, "B", 5);
    ra(1, "B", 5, 1, 4);
    record(1, "B", 5, 1, "me", NULL);
    pass(50);
    forget_sent();
    up(2, OURS);
    hello(2, "C", 5);
    /* Our own record, and B's, to C alone; B is told only what old routers understand. */
    bool is_b_told = false;
    for (int i = 0; sent(i); i++) {
        const struct sent *s = sent(i);
        if (s->link == 1)
            assert_int_equal(s->body.op, WIRE_RA);
        if (s->body.op == WIRE_LSU && amqp_slice_is(s->body.id, "B")) {
            is_b_told = true;
            assert_true(s->body.has_mobile_seq);
            assert_int_equal(s->body.mobile_seq, 4);
            assert_true(amqp_slice_is(s->envelope.ingress, "0/me"));
        }
    }
    assert_true(is_b_told);
    /* What is new comes to C as it comes to us. */
    forget_sent();
    record(1, "B", 5, 2, "me", "D");
    bool is_pushed = false;
    for (int i = 0; sent(i); i++) {
        assert_int_equal(sent(i)->link, 2);
        is_pushed |= sent(i)->body.op == WIRE_LSU && sent(i)->body.ls_seq == 2;
    }
    assert_true(is_pushed);
}

static void test_mesh_ours_silent_noticed_within_300_ms(void **state)
{
    (void)state;
    up(1, OURS);
    for (int i = 0; i < 50; i++) {
        hello(1, "B", 5);
        pass(80);
    }
    t.log[0] = '\0';
    hello(1, "B", 5);
    mono_ms since = t.now;
    while (t.log[0] == '\0' && t.now < since + 1000)
        pass(1);
    assert_log("B:gone; ");
    assert_in_range(t.now - since, 100, 299);
}

/* A link that stood still for a while, or a machine: all neighbours were lost one after the other, and are heard again.
 * Nobody sends anything by way of us until we have said so. */
static void test_mesh_ours_all_late_and_heard_again_announced_soon(void **state)
{
    (void)state;
    const char *const ids[] = {"B", "C", "D", "E"};
    for (uint64_t i = 0; i < 4; i++) {
        up(i + 1, OURS);
        hello(i + 1, ids[i], 5);
        pass(30);
    }
    for (int i = 0; i < 20; i++) {
        for (uint64_t k = 0; k < 4; k++)
            hello(k + 1, ids[k], 5);
        pass(80);
    }
    for (uint64_t i = 0; i < 4; i++) { /* one later than the other */
        pass(5);
        hello(i + 1, ids[i], 5);
    }
    t.log[0] = '\0';
    pass(1000);
    assert_non_null(strstr(t.log, "B:gone; "));
    assert_non_null(strstr(t.log, "E:gone; "));
    mono_ms since = t.now;
    hello(1, "B", 5);
    forget_sent();
    for (uint64_t i = 1; i < 4; i++) {
        pass(5);
        hello(i + 1, ids[i], 5);
    }
    pass(50);
    const struct sent *last = NULL;
    for (int i = 0; sent(i); i++)
        if (sent(i)->body.op == WIRE_LSU)
            last = sent(i);
    assert_non_null(last);
    assert_int_equal(last->body.peers.count / 2, 4);
    assert_in_range(last->at - since, 0, 65);
}

/* A neighbour that comes and goes: that it is here again is said more and more rarely, that it is gone at once. */
static void test_mesh_ours_loss_is_announced_at_once_even_after_many_changes(void **state)
{
    (void)state;
    up(1, OURS);
    hello(1, "B", 5);
    pass(20);
    int said = 0;
    for (int i = 0; i < 30; i++) {
        up(2, OURS);
        hello(2, "C", 5);
        forget_sent();
        while (count_op(WIRE_LSU) == 0) {
            pass(10);
            hello(1, "B", 5);
            hello(2, "C", 5);
        }
        forget_sent();
        down(2);
        said += count_op(WIRE_LSU);
        pass(30);
        hello(1, "B", 5);
    }
    assert_int_equal(said, 30);
}

static void test_mesh_earlier_life_within_the_second_counted_on(void **state)
{
    (void)state;
    assert_on_control();
    up(1, OURS);
    mesh_address_added(t.mesh, "M0a", 2, t.now);
    pass(100);
    forget_sent();
    hello(1, "B", 5);
    struct wire_peer peers[] = {{"B", 1}};
    give(1, (struct wire_out){.op = WIRE_LSU,
                              .self = "B",
                              .id = "me",
                              .target = "me",
                              .instance = conf.instance,
                              .ls_seq = 9,
                              .mobile_seq = 4,
                              .life = 76,
                              .is_among_ours = true,
                              .peers = peers,
                              .peer_count = 1});
    pass(100);
    const struct sent *last = NULL;
    for (int i = 0; sent(i); i++)
        if (sent(i)->body.op == WIRE_RA)
            last = sent(i);
    assert_non_null(last);
    assert_true(last->body.ls_seq > 9);
    assert_true(last->body.mobile_seq > 5); /* a gap, so that all ask for all */
}

/* ---- two of one id ---- */

static void test_mesh_second_router_of_an_id_elsewhere_refused(void **state)
{
    (void)state;
    up(1, OURS);
    hello(1, "B", 5);
    record(1, "B", 5, 1, "me", "X");
    record(1, "X", 8, 1, "B", NULL);
    pass(20);
    forget_sent();
    up(2, OLD);
    for (int i = 0; i < 20; i++) {
        hello(2, "X", 9);
        hello(1, "B", 5);
        pass(80);
    }
    assert_null(strstr(t.log, "X:via X"));
    for (int i = 0; i < t.count; i++)
        if (t.sent[i].link == 2)
            assert_int_equal(t.sent[i].body.seen.count, 0);
    /* The first one has gone: B says so. */
    record(1, "B", 5, 2, "me", NULL);
    pass(20);
    hello(2, "X", 9);
    pass(20);
    assert_non_null(strstr(t.log, "X:gone; X:via X link 2 cost 1"));
}

/* Two that started within one second: their instance is the same, and only their life tells them apart. */
static void test_mesh_second_router_of_an_id_and_second_elsewhere_refused(void **state)
{
    (void)state;
    struct wire_peer peers[] = {{"B", 1}};
    struct wire_out of_x = {.op = WIRE_LSU,
                            .self = "B",
                            .id = "X",
                            .target = "me",
                            .instance = 9,
                            .ls_seq = 3,
                            .life = 41,
                            .is_among_ours = true,
                            .peers = peers,
                            .peer_count = 1};
    const char *seen[] = {"me"};
    struct wire_out second = {
        .op = WIRE_HELLO, .self = "X", .instance = 9, .life = 42, .is_among_ours = true, .seen = seen, .seen_count = 1};
    up(1, OURS);
    hello(1, "B", 5);
    record(1, "B", 5, 1, "me", "X");
    give(1, of_x);
    pass(20);
    up(2, OURS);
    for (int i = 0; i < 20; i++) {
        give(2, second);
        hello(1, "B", 5);
        pass(80);
    }
    assert_null(strstr(t.log, "X:via X"));
    assert_non_null(strstr(t.log, "X:via B"));
    record(1, "B", 5, 2, "me", NULL);
    pass(20);
    give(2, second);
    pass(20);
    assert_non_null(strstr(t.log, "X:gone; X:via X link 2 cost 1"));
}

static void test_mesh_other_life_of_a_living_neighbour_not_believed(void **state)
{
    (void)state;
    up(1, OLD);
    up(2, OLD);
    hello(1, "B", 5);
    hello(2, "X", 8);
    record(2, "X", 8, 3, "me", NULL);
    pass(20);
    t.log[0] = '\0';
    for (int i = 0; i < 10; i++) {
        struct wire_out m = {.op = WIRE_RA, .self = "X", .instance = 7, .ls_seq = 9, .mobile_seq = 9};
        give_relayed(1, m, "B");
        m.instance = 9;
        give_relayed(1, m, "B");
        hello(1, "B", 5);
        hello(2, "X", 8);
        pass(1000);
    }
    assert_log("");
}

/* ---- what others may send ---- */

static void test_mesh_useless_messages_dropped_link_stays(void **state)
{
    (void)state;
    up(1, OLD);
    hello(1, "B", 5);
    static const uint8_t nonsense[] = {0x00, 0x53, 0x70, 0xff};
    assert_int_equal(give_octets(1, nonsense, sizeof nonsense), ERR_INVALID);
    assert_int_equal(give_octets(1, NULL, 0), ERR_NOT_FOUND);
    assert_int_equal(give_octets(9, nonsense, sizeof nonsense), ERR_NOT_FOUND);
    /* A message for a client's address: the caller's. */
    uint8_t m[64];
    struct amqp_writer w = amqp_writer(m, sizeof m);
    amqp_write_descriptor(&w, 0x73);
    size_t list = amqp_write_list_begin(&w);
    amqp_write_null(&w);
    amqp_write_null(&w);
    amqp_write_string_of(&w, "queue");
    amqp_write_list_end(&w, list, 3);
    assert_int_equal(give_octets(1, m, w.len), ERR_NOT_FOUND);
    /* RA at the address of HELLO */
    struct octets o = {0};
    wire_encode(&(struct wire_out){.op = WIRE_HELLO, .self = "B", .instance = 5}, &o);
    uint8_t *op = memmem(o.data, o.len, "\xa1\x05HELLO", 7);
    memcpy(op, "\xa1\x05HELLX", 7);
    assert_int_equal(give_octets(1, o.data, o.len), ERR_INVALID);
    octets_fini(&o);
    t.log[0] = '\0';
    pass(2000);
    assert_log(""); /* B is still a neighbour */
}

static void test_mesh_message_larger_than_the_limit_dropped(void **state)
{
    (void)state;
    assert_on_control();
    mesh_free(&t.mesh);
    conf.max_message = 200;
    assert_int_equal(mesh_new(&conf, &t.owner, t.now, &t.mesh), OK);
    up(1, OLD);
    struct octets o = {0};
    const char *keys[] = {"M0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    int32_t hints[] = {1};
    wire_encode(
        &(struct wire_out){.op = WIRE_MAU, .self = "B", .mobile_seq = 1, .add = keys, .hints = hints, .add_count = 1},
        &o);
    assert_int_equal(give_octets(1, o.data, o.len), ERR_LIMIT);
    octets_fini(&o);
}

static void test_mesh_wrong_configuration_refused(void **state)
{
    (void)state;
    assert_on_control();
    struct mesh *m = NULL;
    struct mesh_conf bad = conf;
    bad.id = "";
    assert_int_equal(mesh_new(&bad, &t.owner, 0, &m), ERR_INVALID);
    char id[200];
    memset(id, 'x', sizeof id);
    id[128] = '\0';
    bad.id = id;
    assert_int_equal(mesh_new(&bad, &t.owner, 0, &m), ERR_INVALID);
    bad = conf;
    bad.max_routers = 0;
    assert_int_equal(mesh_new(&bad, &t.owner, 0, &m), ERR_INVALID);
    struct mesh_peer free_of_charge = {.cost = 0};
    assert_int_equal(mesh_link_up(t.mesh, 1, &free_of_charge, t.now), ERR_INVALID);
}

static void test_mesh_rows_for_management(void **state)
{
    (void)state;
    assert_on_control();
    up(7, OLD);
    hello(7, "B", 5);
    record(7, "B", 5, 1, "me", "D");
    pass(20);
    struct mesh_row row;
    assert_true(mesh_row(t.mesh, 0, &row));
    assert_true(row.is_self && row.peer_count == 1 && row.instance == conf.instance && row.next_hop == NULL);
    assert_true(row.last_topology_change > 1000 - 1);
    assert_true(mesh_row(t.mesh, 1, &row));
    assert_string_equal(row.id, "B");
    assert_true(row.is_neighbour && row.link == 7 && row.next_hop == NULL && row.cost == 1 && row.peer_count == 2);
    assert_true(mesh_row(t.mesh, 2, &row));
    assert_true(!row.is_neighbour && row.is_reachable && row.cost == 2 && row.instance == 0);
    assert_string_equal(row.next_hop, "B");
    assert_false(mesh_row(t.mesh, 3, &row));
    assert_int_equal(mesh_most_hops(t.mesh), 2);
    bool to[3];
    uint32_t b, d;
    assert_true(mesh_index(t.mesh, "B", &b) && mesh_index(t.mesh, "D", &d));
    mesh_forwards(t.mesh, 0, to, 3);
    assert_true(!to[0] && to[b] && to[d]); /* what enters here goes on to all */
    mesh_forwards(t.mesh, b, to, 3);
    assert_true(!to[0] && !to[b] && !to[d]); /* what enters at B does not pass here */
}

static void test_mesh_most_hops_of_a_ring_are_those_of_the_way_round(void **state)
{
    (void)state;
    assert_on_control();
    assert_int_equal(mesh_most_hops(t.mesh), 0);
    up(7, OLD);
    up(8, OLD);
    hello(7, "B", 5);
    hello(8, "C", 5);
    record(7, "B", 5, 1, "me", "C");
    record(8, "C", 5, 1, "me", "B");
    pass(20);
    assert_int_equal(mesh_most_hops(t.mesh), 2); /* in the tree one */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_mesh_old_neighbour_start_up_as_recorded),
        TEST(test_mesh_old_neighbour_hello_once_a_second),
        TEST(test_mesh_addresses_of_ours_update_then_ra_once_a_second),
        TEST(test_mesh_address_added_and_removed_at_once_no_update),
        TEST(test_mesh_addresses_of_others_by_ra_mar_and_mau),
        TEST(test_mesh_flood_passed_on_once_and_not_back),
        TEST(test_mesh_message_for_another_router_passed_on),
        TEST(test_mesh_router_restarted_addresses_forgotten_and_asked_for),
        TEST(test_mesh_addresses_told_before_the_life_was_known_asked_for_anew),
        TEST(test_mesh_other_life_within_the_second_elsewhere_addresses_asked_for_anew),
        TEST(test_mesh_restarted_while_its_record_was_dropped_addresses_asked_for_anew),
        TEST(test_mesh_same_life_after_its_record_was_dropped_addresses_kept),
        TEST(test_mesh_unreachable_router_record_kept_addresses_unmapped),
        TEST(test_mesh_equal_paths_both_links_told),
        TEST(test_mesh_ours_told_all_records_at_once),
        TEST(test_mesh_ours_silent_noticed_within_300_ms),
        TEST(test_mesh_ours_all_late_and_heard_again_announced_soon),
        TEST(test_mesh_ours_loss_is_announced_at_once_even_after_many_changes),
        TEST(test_mesh_earlier_life_within_the_second_counted_on),
        TEST(test_mesh_second_router_of_an_id_elsewhere_refused),
        TEST(test_mesh_second_router_of_an_id_and_second_elsewhere_refused),
        TEST(test_mesh_other_life_of_a_living_neighbour_not_believed),
        TEST(test_mesh_useless_messages_dropped_link_stays),
        TEST(test_mesh_message_larger_than_the_limit_dropped),
        TEST(test_mesh_wrong_configuration_refused),
        TEST(test_mesh_rows_for_management),
        TEST(test_mesh_most_hops_of_a_ring_are_those_of_the_way_round),
    };
    thread_become_control();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    thread_leave_control();
    return failed;
}
