#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <router/route/address_name.h>
#include <string.h>

static const struct router_identity interior = {"A", ROUTER_INTERIOR};
static const struct router_identity standalone = {"A", ROUTER_STANDALONE};
static const struct router_identity edge = {"A", ROUTER_EDGE};

static void check_phase(const struct router_identity *me, const char *text, char phase, const char *expected)
{
    char key[128];
    size_t len = strlen(text);
    /* On the heap without a terminating zero, so that a sanitizer sees a read beyond it. */
    char *exact = malloc(len + 1);
    char *copy = len == 0 ? exact : realloc(exact, len);
    assert_non_null(copy);
    memcpy(copy, text, len);
    size_t n = address_name_key(me, copy, len, phase, key, sizeof key);
    free(copy);
    if (n != strlen(expected) || memcmp(key, expected, n) != 0)
        fail_msg("'%s' became '%.*s', not '%s'", text, (int)n, key, expected);
}

static void check(const struct router_identity *me, const char *text, const char *expected)
{
    check_phase(me, text, PHASE_DEFAULT, expected);
}

static void test_address_name_equal_forms_have_one_key(void **state)
{
    (void)state;
    static const char *const forms[] = {"foo/bar",         "/foo/bar",      "foo/bar/",
                                        "foo/bar.",        "amqp:/foo/bar", "amqp://h:1/foo/bar",
                                        "amqp:///foo/bar", "//x/foo/bar",   "http:/foo/bar"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        check(&interior, forms[i], "M0foo/bar");
}

static void test_address_name_other_forms_have_other_keys(void **state)
{
    (void)state;
    check(&interior, "foo.bar", "M0foo.bar");
    check(&interior, "amqp:foo/bar", "M0amqp:foo/bar");
    check(&interior, "mailto:foo/bar", "M0mailto:foo/bar");
    check(&interior, "foo/bar//", "M0foo/bar/");
    check(&interior, "/foo/bar//", "M0foo/bar/");
    check(&interior, "FOO/bar", "M0FOO/bar");
    check(&interior, "foo..", "M0foo.");
}

static void test_address_name_special_forms_have_their_class(void **state)
{
    (void)state;
    check(&interior, "_local/x", "Lx");
    check(&interior, "amqp:/_local/x/y", "Lx/y");
    check(&interior, "_topo/0/A/x", "Lx");
    check(&interior, "amqp:/_topo/0/A/$management", "L$management");
    check(&interior, "_topo/0/all/x", "Tx");
    check(&interior, "_topo/all/all/qdhello", "Tqdhello");
    check(&interior, "_topo/0/B/x/y", "RB");
    check(&interior, "_topo/0/B", "RB");
    check(&interior, "_topo/0/AB/x", "RAB");
    check(&interior, "_topo/1/A/x", "A1");
    check(&interior, "_edge/A/x", "Lx");
    check(&interior, "_edge/E/x", "HE");
    check(&interior, "_other/x", "M0_other/x");
    check(&interior, "_topology", "M0_topology");
}

static void test_address_name_standalone_reads_as_interior(void **state)
{
    (void)state;
    check(&standalone, "amqp:/_topo/0/A/temp.X", "Ltemp.X");
    check(&standalone, "_topo/0/B/temp.X", "RB");
    check(&standalone, "_topo/0/all/x", "Tx");
    check(&standalone, "_edge/E/x", "HE");
}

static void test_address_name_edge_sends_all_else_to_its_uplink(void **state)
{
    (void)state;
    check(&edge, "_edge/A/x", "Lx");
    check(&edge, "_topo/0/A/x", "Lx");
    check(&edge, "_topo/0/B/x", "L_edge");
    check(&edge, "_topo/7/B/x", "L_edge");
    check(&edge, "_edge/E/x", "L_edge");
    check(&edge, "x", "M0x");
}

static void test_address_name_nothing_left_has_no_key(void **state)
{
    (void)state;
    static const char *const forms[] = {"", "/", ".", "//h/", "amqp:/", "amqp://h/", "_local//", "_topo/0/A//"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        check(&interior, forms[i], "");
}

static void test_address_name_host_alone_is_a_name(void **state)
{
    (void)state;
    check(&interior, "amqp://h", "M0amqp://h");
    check(&interior, "//h", "M0//h");
    check(&interior, ":/x", "M0:/x");
    check(&interior, "a/b:/c", "M0a/b:/c");
}

static void test_address_name_phase_is_in_mobile_keys_only(void **state)
{
    (void)state;
    check_phase(&interior, "wp.q", '1', "M1wp.q");
    check_phase(&interior, "wp.q", PHASE_FALLBACK, "MFwp.q");
    check_phase(&interior, "_local/x", '1', "Lx");
}

static void test_address_name_too_small_a_buffer_is_refused(void **state)
{
    (void)state;
    char key[8];
    assert_int_equal(address_name_key(&interior, "123456", 6, '0', key, 8), 8);
    assert_int_equal(address_name_key(&interior, "1234567", 7, '0', key, 8), 0);
    assert_int_equal(address_name_key(&interior, "_local/1234567", 14, '0', key, 8), 8);
    assert_int_equal(address_name_key(&interior, "_local/12345678", 15, '0', key, 8), 0);
    assert_int_equal(address_name_key(&interior, "x", 1, '0', key, 0), 0);
    assert_int_equal(address_name_key(&interior, "_local/x", 8, '0', key, 0), 0);
}

static void test_address_name_node_id_is_a_router(void **state)
{
    (void)state;
    char key[8];
    assert_int_equal(address_name_node_key("0/A", 3, key, sizeof key), 2);
    assert_memory_equal(key, "RA", 2);
    assert_int_equal(address_name_node_key("A", 1, key, sizeof key), 0);
    assert_int_equal(address_name_node_key("0/", 2, key, sizeof key), 0);
}

static void test_address_name_of_key_gives_back_the_text(void **state)
{
    (void)state;
    size_t len;
    assert_memory_equal(address_name_of_key("M0a/b", 5, &len), "a/b", 3);
    assert_int_equal(len, 3);
    assert_memory_equal(address_name_of_key("Ltemp.x", 7, &len), "temp.x", 6);
    assert_int_equal(len, 6);
    assert_int_equal(address_name_class("RB"), ADDRESS_ROUTER);
}

static void test_address_name_temp_is_new_each_time_and_local(void **state)
{
    (void)state;
    char one[ADDRESS_TEMP_LEN + 1], two[ADDRESS_TEMP_LEN + 1], text[64], key[64];
    assert_int_equal(address_name_generate_temp(one), OK);
    assert_int_equal(address_name_generate_temp(two), OK);
    assert_string_not_equal(one, two);
    assert_int_equal(strlen(one), ADDRESS_TEMP_LEN);
    assert_int_equal(strspn(one + 5, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+_"), 15);
    const struct router_identity *modes[] = {&standalone, &interior, &edge};
    for (int i = 0; i < 3; i++) {
        size_t len = address_name_of_temp(modes[i], one, text, sizeof text);
        assert_int_equal(len, strlen(text));
        assert_int_equal(address_name_key(modes[i], text, len, '0', key, sizeof key), 1 + ADDRESS_TEMP_LEN);
        assert_int_equal(key[0], ADDRESS_LOCAL);
        assert_memory_equal(key + 1, one, ADDRESS_TEMP_LEN);
    }
    assert_int_equal(address_name_of_temp(&interior, one, text, 10), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_name_equal_forms_have_one_key),
        cmocka_unit_test(test_address_name_other_forms_have_other_keys),
        cmocka_unit_test(test_address_name_special_forms_have_their_class),
        cmocka_unit_test(test_address_name_standalone_reads_as_interior),
        cmocka_unit_test(test_address_name_edge_sends_all_else_to_its_uplink),
        cmocka_unit_test(test_address_name_nothing_left_has_no_key),
        cmocka_unit_test(test_address_name_host_alone_is_a_name),
        cmocka_unit_test(test_address_name_phase_is_in_mobile_keys_only),
        cmocka_unit_test(test_address_name_too_small_a_buffer_is_refused),
        cmocka_unit_test(test_address_name_node_id_is_a_router),
        cmocka_unit_test(test_address_name_of_key_gives_back_the_text),
        cmocka_unit_test(test_address_name_temp_is_new_each_time_and_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
