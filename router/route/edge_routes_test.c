#include <router/route/fake_control.h>

#include <router/route/edge_routes.h>
#include <router/route/edge_wire.h>
#include <router/route/uplink.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/message.h>
#include <trunkline/io/loop.h>

/* ---- in place of the uplink ---- */

static const char *reply_address;
static char correlation[8][64]; /* of each request, in order */
static int asked;

const char *uplink_reply_address(enum uplink_link which)
{
    assert_int_equal(which, UPLINK_MANAGEMENT_REPLIES);
    return reply_address;
}

static bool has(const uint8_t *message, size_t n, const char *text)
{
    return memmem(message, n, text, strlen(text)) != NULL;
}

bool uplink_send(enum uplink_link which, const uint8_t *message, size_t n, bool settled)
{
    assert_int_equal(which, UPLINK_MANAGEMENT);
    assert_false(settled);
    const uint8_t *at = memmem(message, n, "client-", 7);
    const uint8_t *name = memmem(message, n, "E/proxyLinkRoute/", 17);
    assert_true(at && name);
    memcpy(correlation[asked++], at, 31);
    bool is_delete = has(message, n, "DELETE");
    assert_int_equal(is_delete, has(message, n, "identity"));
    say("%s %.*s; ", is_delete ? "DELETE" : "CREATE", (int)name[-1] - 17, (const char *)name + 17);
    return true;
}

/* The interior router's answer to the request number i. */
static void answer(int i, int status, const char *identity) NO_THREAD_SAFETY
{
    uint8_t out[512];
    struct amqp_writer w = amqp_writer(out, sizeof out);
    amqp_write_descriptor(&w, AMQP_SECTION_PROPERTIES);
    size_t list = amqp_write_list_begin(&w);
    for (int k = 0; k < 5; k++)
        amqp_write_null(&w);
    amqp_write_string_of(&w, correlation[i]);
    amqp_write_list_end(&w, list, 6);
    amqp_write_descriptor(&w, AMQP_SECTION_APPLICATION_PROPERTIES);
    size_t map = amqp_write_map_begin(&w);
    amqp_write_string_of(&w, "statusDescription");
    amqp_write_string_of(&w, "so it is");
    amqp_write_string_of(&w, "statusCode");
    amqp_write_int(&w, status);
    amqp_write_map_end(&w, map, 4);
    amqp_write_descriptor(&w, AMQP_SECTION_VALUE);
    map = amqp_write_map_begin(&w);
    if (identity) {
        amqp_write_string_of(&w, "identity");
        amqp_write_string_of(&w, identity);
    }
    amqp_write_map_end(&w, map, identity ? 2 : 0);
    edge_routes_answered(out, w.len);
}

static int setup(void **state) NO_THREAD_SAFETY
{
    (void)state;
    reply_address = "amqp:/_topo/0/A/temp.x";
    asked = 0;
    control_setup();
    edge_routes_start(NULL, &world);
    return 0;
}

static int teardown(void **state) NO_THREAD_SAFETY
{
    (void)state;
    edge_routes_stop();
    control_teardown();
    return 0;
}

static void test_edge_routes_are_made_and_deleted_with_their_containers(void **state) NO_THREAD_SAFETY
{
    (void)state;
    edge_routes_changed("Celr", true);
    assert_said("CREATE Celr; ");
    answer(0, 201, "13");
    edge_routes_changed("Celr", false);
    assert_said("DELETE Celr; ");
    answer(1, 204, NULL);
    edge_routes_changed("Celr", true);
    assert_said("CREATE Celr; ");
}

static void test_edge_routes_changes_before_an_answer_are_seen_to_then(void **state) NO_THREAD_SAFETY
{
    (void)state;
    edge_routes_changed("Da", true);
    edge_routes_changed("Da", false);
    assert_said("CREATE Da; ");
    answer(0, 201, "1");
    assert_said("DELETE Da; ");
    edge_routes_changed("Da", true);
    answer(1, 204, NULL);
    assert_said("CREATE Da; ");
}

static void test_edge_routes_wait_for_the_uplink_and_are_made_again_at_the_next(void **state) NO_THREAD_SAFETY
{
    (void)state;
    reply_address = NULL;
    edge_routes_changed("Ea.*", true);
    edge_routes_changed("Fb.#.c", true);
    assert_said("");
    reply_address = "amqp:/_topo/0/A/temp.x";
    edge_routes_up();
    edge_routes_up();
    assert_said("CREATE Ea.*; CREATE Fb.#.c; ");
    answer(0, 201, "1");
    edge_routes_down();
    answer(1, 201, "2"); /* of the last one */
    edge_routes_changed("Ea.*", false);
    edge_routes_up();
    assert_said("CREATE Fb.#.c; ");
}

static void test_edge_routes_refused_stays_so_until_the_next_uplink(void **state) NO_THREAD_SAFETY
{
    (void)state;
    edge_routes_changed("Ca", true);
    answer(0, 400, NULL);
    edge_routes_up();
    assert_said("CREATE Ca; ");
    edge_routes_down();
    edge_routes_up();
    assert_said("CREATE Ca; ");
    answer(1, 201, NULL); /* without an identity it could not be deleted */
    edge_routes_changed("Ca", false);
    assert_said("");
}

static void test_edge_routes_without_an_answer_are_asked_for_again(void **state) NO_THREAD_SAFETY
{
    (void)state;
    edge_routes_changed("Ca", true);
    said[0] = 0;
    pass(9999);
    assert_said("");
    pass(2500);
    assert_said("CREATE Ca; ");
    answer(0, 201, "1"); /* too late */
    edge_routes_changed("Ca", false);
    assert_said("");
    answer(1, 201, "2");
    assert_said("DELETE Ca; ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_edge_routes_are_made_and_deleted_with_their_containers),
        TEST(test_edge_routes_changes_before_an_answer_are_seen_to_then),
        TEST(test_edge_routes_wait_for_the_uplink_and_are_made_again_at_the_next),
        TEST(test_edge_routes_refused_stays_so_until_the_next_uplink),
        TEST(test_edge_routes_without_an_answer_are_asked_for_again),
    };
    return cmocka_run_group_tests(tests, play_control, NULL);
}
