#include <router/route/fake_control.h>

#include <router/route/edge_lookup.h>
#include <router/route/edge_wire.h>
#include <router/route/link_route.h>
#include <router/route/registry.h>
#include <router/route/uplink.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/rcu.h>
#include <trunkline/io/loop.h>

/* ---- in place of the uplink and the registry ---- */

static const char *reply_address;
static bool is_sendable;
static uint8_t sent[8][512];
static size_t sent_len[8];
static int sent_count;

static struct {
    struct link *link;
    int refusal; /* -1: whoever serves link routes has it */
} decided[8];
static int decided_count;

const char *uplink_reply_address(enum uplink_link which)
{
    assert_int_equal(which, UPLINK_LOOKUP_REPLIES);
    return reply_address;
}

bool uplink_send(enum uplink_link which, const uint8_t *message, size_t n, bool settled)
{
    assert_int_equal(which, UPLINK_LOOKUP);
    assert_true(settled);
    if (!is_sendable)
        return false;
    memcpy(sent[sent_count], message, n);
    sent_len[sent_count++] = n;
    return true;
}

static void note(struct link *l, int refusal)
{
    decided[decided_count].link = l;
    decided[decided_count++].refusal = refusal;
}

void registry_attach_on(struct link *l, enum attach_refusal refusal)
{
    note(l, refusal);
}

static void on_routed(struct link *l)
{
    note(l, -1);
}

/* ---- an edge router and its clients ---- */

static struct connection conn;

static int setup(void **state) NO_THREAD_SAFETY
{
    (void)state;
    control_setup();
    reply_address = "amqp:/_topo/0/A/temp.Nd__rncA0gqVhWD";
    is_sendable = true;
    sent_count = decided_count = 0;
    edge_lookup_start(NULL, &world);
    edge_lookup_serve_routes(on_routed);
    return 0;
}

static int teardown(void **state) NO_THREAD_SAFETY
{
    (void)state;
    edge_lookup_down();
    edge_lookup_stop();
    control_teardown();
    return 0;
}

static struct link client(const char *address, bool is_incoming)
{
    return (struct link){.conn = &conn,
                         .wanted = (char *)address,
                         .wanted_len = address ? (uint32_t)strlen(address) : 0,
                         .is_incoming = is_incoming};
}

/* The interior router answers the question number i. */
static void answer(int i, const struct edge_lookup_answer *a) NO_THREAD_SAFETY
{
    uint8_t out[512];
    struct edge_lookup asked;
    assert_int_equal(edge_wire_read_lookup(sent[i], sent_len[i], &asked), OK);
    edge_lookup_answered(out, edge_wire_write_answer(out, sizeof out, &asked, a));
}

static void test_edge_lookup_attach_waits_for_its_own_answer(void **state) NO_THREAD_SAFETY
{
    (void)state;
    const struct edge_lookup_answer not_found = {.status = EDGE_LOOKUP_NOT_FOUND};
    struct link one = client("a", true), two = client("b", false);
    assert_true(edge_lookup_ask(&one));
    assert_true(edge_lookup_ask(&two));
    struct edge_lookup asked;
    assert_int_equal(edge_wire_read_lookup(sent[1], sent_len[1], &asked), OK);
    assert_int_equal(asked.address.data[0], 'b');
    assert_false(asked.is_sender);
    answer(1, &not_found);
    assert_int_equal(decided_count, 1);
    assert_ptr_equal(decided[0].link, &two);
    assert_int_equal(decided[0].refusal, ATTACH_OK);
    answer(1, &not_found);
    assert_int_equal(decided_count, 1);
    answer(0, &not_found);
    assert_ptr_equal(decided[1].link, &one);
}

static void test_edge_lookup_of_a_link_route(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct link one = client("lr/a", true), two = client("lr/b", true), three = client("c", true);
    assert_true(edge_lookup_ask(&one) && edge_lookup_ask(&two) && edge_lookup_ask(&three));
    answer(0, &(struct edge_lookup_answer){.is_link_route = true, .has_destinations = true});
    answer(1, &(struct edge_lookup_answer){.is_link_route = true});
    answer(2, &(struct edge_lookup_answer){.has_destinations = true});
    assert_int_equal(decided[0].refusal, -1);
    assert_int_equal(decided[1].refusal, ATTACH_NO_ROUTE);
    assert_int_equal(decided[2].refusal, ATTACH_OK);
    edge_lookup_serve_routes(NULL);
    assert_true(edge_lookup_ask(&one));
    answer(3, &(struct edge_lookup_answer){.is_link_route = true, .has_destinations = true});
    assert_int_equal(decided[3].refusal, ATTACH_NO_ROUTE);
}

static void test_edge_lookup_of_a_coordinator_asks_about_its_link_route(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct link one = client(NULL, true);
    one.is_coordinator = true;
    one.refusal_by_worker = ATTACH_NO_COORDINATOR;
    assert_true(edge_lookup_ask(&one));
    struct edge_lookup asked;
    assert_int_equal(edge_wire_read_lookup(sent[0], sent_len[0], &asked), OK);
    assert_memory_equal(asked.address.data, LINK_ROUTE_COORDINATOR, asked.address.len);
    assert_int_equal(asked.address.len, strlen(LINK_ROUTE_COORDINATOR));
    assert_true(asked.is_sender);
    answer(0, &(struct edge_lookup_answer){.is_link_route = true, .has_destinations = true});
    assert_int_equal(decided[0].refusal, -1);
    assert_true(edge_lookup_ask(&one));
    pass(3000);
    assert_int_equal(decided[1].refusal, ATTACH_OK);
}

static void test_edge_lookup_of_a_dynamic_node_asks_about_who_makes_it(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct link one = client(NULL, false), nobody = client(NULL, false);
    one.is_dynamic = nobody.is_dynamic = true;
    char maker[] = "lr.new";
    one.maker = maker;
    assert_false(edge_lookup_ask(&nobody));
    assert_true(edge_lookup_ask(&one));
    struct edge_lookup asked;
    assert_int_equal(edge_wire_read_lookup(sent[0], sent_len[0], &asked), OK);
    assert_true(amqp_slice_is(asked.address, "lr.new"));
    assert_false(asked.is_sender);
}

static void test_edge_lookup_without_an_answer_is_decided_after_three_seconds(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct link one = client("a", true), two = client("b", true);
    assert_true(edge_lookup_ask(&one));
    pass(1000);
    assert_true(edge_lookup_ask(&two));
    pass(1999);
    assert_int_equal(decided_count, 0);
    pass(1);
    assert_int_equal(decided_count, 1);
    assert_ptr_equal(decided[0].link, &one);
    assert_int_equal(decided[0].refusal, ATTACH_OK);
    answer(0, &(struct edge_lookup_answer){.is_link_route = true}); /* too late */
    pass(999);
    assert_int_equal(decided_count, 1);
    pass(1);
    assert_int_equal(decided_count, 2);
    assert_ptr_equal(decided[1].link, &two);
}

static void test_edge_lookup_uplink_lost_decides_all_that_wait(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct link one = client("a", true), two = client("b", true);
    assert_true(edge_lookup_ask(&one) && edge_lookup_ask(&two));
    edge_lookup_down();
    assert_int_equal(decided_count, 2);
    reply_address = NULL;
    assert_false(edge_lookup_ask(&one));
    reply_address = "amqp:/_topo/0/A/temp.x";
    is_sendable = false;
    assert_false(edge_lookup_ask(&one));
}

static void test_edge_lookup_of_a_link_that_has_gone_is_forgotten(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct link one = client("a", true);
    assert_true(edge_lookup_ask(&one));
    edge_lookup_forget(&one);
    answer(0, &(struct edge_lookup_answer){0});
    assert_int_equal(decided_count, 0);
}

static void test_edge_lookup_asks_only_where_a_link_route_may_be(void **state) NO_THREAD_SAFETY
{
    (void)state;
    table_get(world.table, "M0$management", DISTRIBUTION_CLOSEST, -1)->is_own = true;
    static const char *const not_asked[] = {"$management", "_topo/0/A/x", "_edge/F/x", "_local/x", NULL};
    for (size_t i = 0; i < sizeof not_asked / sizeof *not_asked; i++) {
        struct link l = client(not_asked[i], true);
        assert_false(edge_lookup_ask(&l));
    }
    struct link refused = client("a", true), of_edge = client("a", true), dynamic = client(NULL, false);
    refused.refusal_by_worker = ATTACH_FORBIDDEN;
    of_edge.is_edge = true;
    dynamic.is_dynamic = true;
    assert_false(edge_lookup_ask(&refused) || edge_lookup_ask(&of_edge) || edge_lookup_ask(&dynamic));
    assert_int_equal(sent_count, 0);
}

static void test_edge_lookup_answer_that_makes_no_sense_is_passed_over(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct link one = client("a", true);
    assert_true(edge_lookup_ask(&one));
    edge_lookup_answered((const uint8_t *)"\x00Sw@", 4);
    edge_lookup_answered(sent[0], sent_len[0]);
    assert_int_equal(decided_count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_edge_lookup_attach_waits_for_its_own_answer),
        TEST(test_edge_lookup_of_a_link_route),
        TEST(test_edge_lookup_of_a_coordinator_asks_about_its_link_route),
        TEST(test_edge_lookup_of_a_dynamic_node_asks_about_who_makes_it),
        TEST(test_edge_lookup_without_an_answer_is_decided_after_three_seconds),
        TEST(test_edge_lookup_uplink_lost_decides_all_that_wait),
        TEST(test_edge_lookup_of_a_link_that_has_gone_is_forgotten),
        TEST(test_edge_lookup_asks_only_where_a_link_route_may_be),
        TEST(test_edge_lookup_answer_that_makes_no_sense_is_passed_over),
    };
    return cmocka_run_group_tests(tests, play_control, NULL);
}
