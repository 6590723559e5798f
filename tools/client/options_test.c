#include "tools/client/options.h"

#include <proton/connection.h>
#include <proton/link.h>
#include <proton/session.h>
#include <proton/terminus.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct parsed {
    struct options o;
    char *argv[20]; /* what the options borrow */
};

static error_t parse_top(int key, char *text, struct argp_state *state)
{
    struct parsed *p = state->input;
    (void)text;
    if (key == ARGP_KEY_INIT)
        state->child_inputs[0] = &p->o;
    else if (key == ARGP_KEY_END)
        options_finish(&p->o, state);
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

/* argp calls exit() on usage errors; parse in the test's own process only what is right. */
static void parse(struct parsed *p, const char *const *words)
{
    static const struct argp_child children[] = {{&options_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {.parser = parse_top, .children = children};
    *p = (struct parsed){.argv = {tool_dup("test")}};
    int argc = 1;
    for (; words[argc - 1]; argc++)
        p->argv[argc] = tool_dup(words[argc - 1]);
    options_init(&p->o);
    assert_int_equal(argp_parse(&argp, argc, p->argv, ARGP_NO_EXIT, NULL, p), 0);
}

static void parsed_fini(struct parsed *p)
{
    options_fini(&p->o);
    for (int i = 0; i < 20; i++)
        free(p->argv[i]);
}

#define PARSE(p, ...) parse(p, (const char *const[]){__VA_ARGS__, NULL})

static void test_options_operand_names_the_host(void **state)
{
    (void)state;
    struct parsed p;
    PARSE(&p, "h:5673/a", "b/c", "amqp://h:5673/d");
    assert_int_equal(p.o.conn.url_count, 1);
    assert_string_equal(p.o.conn.urls[0].host, "h");
    assert_int_equal(p.o.address_count, 3);
    assert_string_equal(p.o.addresses[0], "a");
    assert_string_equal(p.o.addresses[1], "b/c");
    assert_string_equal(p.o.addresses[2], "d");
    parsed_fini(&p);
}

static void test_options_with_bus_addresses_stay_as_they_are(void **state)
{
    (void)state;
    struct parsed p;
    PARSE(&p, "-b", "one:1", "--bus=amqps://two", "h:5673/a", "amqp://x/y");
    assert_int_equal(p.o.conn.url_count, 2);
    assert_true(p.o.conn.urls[1].tls);
    assert_string_equal(p.o.addresses[0], "h:5673/a");
    assert_string_equal(p.o.addresses[1], "amqp://x/y");
    parsed_fini(&p);
}

static void test_options_defaults_and_address_from_bus(void **state)
{
    (void)state;
    struct parsed p;
    PARSE(&p, "-b", "amqp://h/q");
    assert_int_equal(p.o.address_count, 1);
    assert_string_equal(p.o.addresses[0], "q");
    parsed_fini(&p);
    PARSE(&p, "q");
    assert_string_equal(p.o.conn.urls[0].host, "127.0.0.1");
    assert_false(p.o.conn.urls[0].tls);
    parsed_fini(&p);
    PARSE(&p, "q", "--ssl-trustfile", "ca.pem");
    assert_true(p.o.conn.urls[0].tls);
    parsed_fini(&p);
}

static void test_options_reconnect_interval_sets_both_bounds(void **state)
{
    (void)state;
    struct parsed p;
    PARSE(&p, "q", "--reconnect-interval", "0.5:4", "--reconnect-limit=3");
    assert_true(p.o.conn.reconnect);
    assert_int_equal(p.o.conn.backoff_min, 500000);
    assert_int_equal(p.o.conn.backoff_max, 4000000);
    assert_int_equal(p.o.conn.reconnect_limit, 3);
    parsed_fini(&p);
    PARSE(&p, "q", "--reconnect-interval=60");
    assert_int_equal(p.o.conn.backoff_max, 60000000);
    parsed_fini(&p);
}

static void test_options_links_and_capabilities_reach_the_link(void **state)
{
    (void)state;
    struct parsed p;
    PARSE(&p, "q", "--capability=qd.waypoint", "--capability", "queue", "--links=2", "--link-name=L");
    pn_connection_t *pn = pn_connection();
    pn_connection_set_container(pn, "c");
    pn_link_t *link = pn_sender(pn_session(pn), "x");
    options_put_capabilities(&p.o, pn_link_target(link));
    char text[100];
    size_t size = sizeof text - 1;
    assert_int_equal(pn_data_format(pn_terminus_capabilities(pn_link_target(link)), text, &size), 0);
    text[size] = '\0';
    assert_string_equal(text, "@PN_SYMBOL[:\"qd.waypoint\", :queue]");
    char *name = options_link_name(&p.o, pn, "s", 1);
    assert_string_equal(name, "L.1");
    free(name);
    p.o.links = 1;
    name = options_link_name(&p.o, pn, "s", 0);
    assert_string_equal(name, "L");
    free(name);
    p.o.link_name = NULL;
    name = options_link_name(&p.o, pn, "s", 0);
    assert_string_equal(name, "c.s.0");
    free(name);
    pn_connection_free(pn);
    parsed_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_operand_names_the_host),
        cmocka_unit_test(test_options_with_bus_addresses_stay_as_they_are),
        cmocka_unit_test(test_options_defaults_and_address_from_bus),
        cmocka_unit_test(test_options_reconnect_interval_sets_both_bounds),
        cmocka_unit_test(test_options_links_and_capabilities_reach_the_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
