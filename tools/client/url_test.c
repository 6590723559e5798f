#include "tools/client/url.h"

#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static void check(const char *part, const char *expected)
{
    if (expected)
        assert_string_equal(part, expected);
    else
        assert_null(part);
}

struct example {
    const char *text;
    bool tls;
    const char *user, *password, *host, *port, *address;
};

static void check_example(const struct example *e, bool (*parse)(const char *, struct url *, struct fault *))
{
    struct url u;
    struct fault why = {""};
    if (!parse(e->text, &u, &why))
        fail_msg("%s: %s", e->text, why.text);
    assert_int_equal(u.tls, e->tls);
    check(u.user, e->user);
    check(u.password, e->password);
    check(u.host, e->host);
    check(u.port, e->port);
    check(u.address, e->address);
    url_fini(&u);
}

static void test_url_bus_forms_are_taken_apart(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"localhost", false, NULL, NULL, "localhost", NULL, NULL},
        {"0.0.0.0:2009", false, NULL, NULL, "0.0.0.0", "2009", NULL},
        {"amqp://h", false, NULL, NULL, "h", NULL, NULL},
        {"amqps://u:p@h:5671/q", true, "u", "p", "h", "5671", "q"},
        {"u@h:amqp", false, "u", NULL, "h", "amqp", NULL},
        {"amqp://us%40er:p%3A%25@h", false, "us@er", "p:%", "h", NULL, NULL},
        {"amqp://u:p@ss@h", false, "u", "p@ss", "h", NULL, NULL},
        {"amqp://[::1]:5673/a/b?c", false, NULL, NULL, "::1", "5673", "a/b?c"},
        {"[fe80::1%eth0]", false, NULL, NULL, "fe80::1%eth0", NULL, NULL},
        {"amqp://h/", false, NULL, NULL, "h", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
        check_example(&examples[i], url_parse_bus);
}

static void test_url_operand_forms_tell_address_from_host(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"examples", false, NULL, NULL, NULL, NULL, "examples"},
        {"a/b.c", false, NULL, NULL, NULL, NULL, "a/b.c"},
        {"/queues/my%20q", false, NULL, NULL, NULL, NULL, "/queues/my%20q"},
        {"h:5672/a", false, NULL, NULL, "h", "5672", "a"},
        {"[::1]:5672/a", false, NULL, NULL, "::1", "5672", "a"},
        {"user:pw@h:1/a/b", false, "user", "pw", "h", "1", "a/b"},
        {"amqp://h/a", false, NULL, NULL, "h", NULL, "a"},
        /* No port in digits, so these are addresses. */
        {"amqp:/a", false, NULL, NULL, NULL, NULL, "amqp:/a"},
        {"h:p/a", false, NULL, NULL, NULL, NULL, "h:p/a"},
        {"urn:x:1", false, NULL, NULL, NULL, NULL, "urn:x:1"},
        {"_topo/0/all/x:1/y", false, NULL, NULL, NULL, NULL, "_topo/0/all/x:1/y"},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
        check_example(&examples[i], url_parse_operand);
}

static void test_url_malformed_is_refused_with_its_text(void **state)
{
    (void)state;
    static const char *const bus[] = {"",        "amqp://", "amqp://:5672",  "http://h",        "h:0",
                                      "h:65536", "h:",      "amqp://u%zz@h", "amqp://u%4@h",    "amqp://u%00@h",
                                      "[::1",    "::1",     "amqp://@h",     "amqp://[::1]x/a", "h:12 3"};
    for (size_t i = 0; i < sizeof bus / sizeof *bus; i++) {
        struct url u;
        struct fault why = {""};
        if (url_parse_bus(bus[i], &u, &why))
            fail_msg("'%s' was accepted", bus[i]);
        assert_non_null(strstr(why.text, bus[i]));
    }
    static const char *const operand[] = {"", "amqp://h", "amqp://h/", "h:5672/"};
    for (size_t i = 0; i < sizeof operand / sizeof *operand; i++) {
        struct url u;
        struct fault why = {""};
        if (url_parse_operand(operand[i], &u, &why))
            fail_msg("'%s' was accepted", operand[i]);
        assert_true(why.text[0] != '\0');
    }
}

static void test_url_same_place_default_port_equals_explicit(void **state)
{
    (void)state;
    struct url a, b, c;
    struct fault why;
    assert_true(url_parse_bus("amqp://h/x", &a, &why));
    assert_true(url_parse_bus("h:5672/y", &b, &why));
    assert_true(url_parse_bus("amqps://h", &c, &why));
    assert_true(url_same_place(&a, &b));
    assert_false(url_same_place(&a, &c));
    assert_string_equal(url_port(&c), "5671");
    url_fini(&a);
    url_fini(&b);
    url_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url_bus_forms_are_taken_apart),
        cmocka_unit_test(test_url_operand_forms_tell_address_from_host),
        cmocka_unit_test(test_url_malformed_is_refused_with_its_text),
        cmocka_unit_test(test_url_same_place_default_port_equals_explicit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
