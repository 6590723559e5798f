#include "tools/client/conn.h"

#include <proton/condition.h>
#include <proton/connection.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

static void test_conn_backoff_doubles_up_to_its_bound(void **state)
{
    (void)state;
    int64_t delay = 0;
    static const int64_t expected[] = {100, 200, 400, 800, 1000, 1000};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        delay = conn_next_backoff(delay, 100, 1000);
        assert_int_equal(delay, expected[i]);
    }
    assert_int_equal(conn_next_backoff(INT64_MAX, 1, INT64_MAX), INT64_MAX);
    assert_int_equal(conn_next_backoff(0, 500, 500), 500);
}

static void test_conn_condition_text_has_name_and_description(void **state)
{
    (void)state;
    pn_connection_t *pn = pn_connection();
    pn_condition_t *condition = pn_connection_condition(pn);
    char text[100];
    assert_string_equal(conn_condition_text(condition, "none", text, sizeof text), "none");
    assert_string_equal(conn_condition_text(NULL, "none", text, sizeof text), "none");
    pn_condition_set_name(condition, "amqp:x");
    assert_string_equal(conn_condition_text(condition, "none", text, sizeof text), "amqp:x");
    pn_condition_set_description(condition, "why so");
    assert_string_equal(conn_condition_text(condition, "none", text, sizeof text), "amqp:x: why so");
    assert_string_equal(conn_condition_text(condition, "none", text, 8), "amqp:x:");
    pn_connection_free(pn);
}

struct refused {
    struct conn conn;
    int losses, interrupts;
};

static void never(struct conn *c)
{
    (void)c;
    fail_msg("there is no connection");
}

static void never_event(struct conn *c, pn_event_t *event)
{
    (void)event;
    never(c);
}

static const struct conn_ops refused_ops = {never, never_event, never, never, never};

/* A port that nobody listens on: 1 needs a privilege and has no program here. */
static void test_conn_refused_gives_up_after_its_limit(void **state)
{
    (void)state;
    struct url url;
    struct fault why = {""};
    assert_true(url_parse_bus("127.0.0.1:1", &url, &why));
    struct conn_conf conf = {.urls = &url,
                             .url_count = 1,
                             .connect_timeout = 1000000,
                             .reconnect = true,
                             .backoff_min = 1000,
                             .backoff_max = 2000,
                             .reconnect_limit = 3,
                             .quiet = true};
    struct conn c = {.ops = &refused_ops, .conf = &conf};
    assert_false(conn_run(&c, &why));
    assert_string_equal(why.text, "cannot connect to 127.0.0.1:1: Connection refused");
    assert_int_equal(c.losses, 0);
    url_fini(&url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conn_backoff_doubles_up_to_its_bound),
        cmocka_unit_test(test_conn_condition_text_has_name_and_description),
        cmocka_unit_test(test_conn_refused_gives_up_after_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
