#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/address_name.h>
#include <router/route/tenant.h>

static const struct router_identity me = {.id = "A", .mode = ROUTER_INTERIOR};

/* The key that a client's address has in the table. */
static const char *key_of(const char *prefix, const char *text)
{
    static char name[256], key[256];
    size_t len = strlen(text);
    snprintf(name, sizeof name, "%s", text);
    if (tenant_owns(text, len))
        len = tenant_write(prefix, text, len, name);
    assert_int_equal(len, strlen(name));
    size_t n = address_name_key(&me, name, len, '0', key, sizeof key - 1);
    key[n] = '\0';
    return key;
}

static void test_tenant_addresses_stand_below_the_vhost(void **state)
{
    (void)state;
    static const char *const forms[] = {"q", "/q", "amqp:/q", "amqp://host:1/q", "//host/q", "q/", "q."};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        assert_string_equal(key_of("ten1/", forms[i]), "M0ten1/q");
    assert_string_equal(key_of("ten1/", "q//"), "M0ten1/q/");
    assert_string_equal(key_of("ten1/", "$management"), "M0ten1/$management");
    assert_string_equal(key_of("ten1/", "_$temp.x"), "M0ten1/_$temp.x");
    assert_string_equal(key_of("ten1/", "ten2/q"), "M0ten1/ten2/q");
}

static void test_tenant_places_have_no_tenant(void **state)
{
    (void)state;
    assert_string_equal(key_of("ten1/", "_local/x"), "Lx");
    assert_string_equal(key_of("ten1/", "amqp:/_topo/0/A/temp.1"), "Ltemp.1");
    assert_string_equal(key_of("ten1/", "_topo/0/B/$management"), "RB");
    assert_string_equal(key_of("ten1/", "/_edge/E/x"), "HE");
    assert_string_equal(key_of("ten1/", "_topox/q"), "M0ten1/_topox/q");
    assert_false(tenant_owns("", 0));
    assert_false(tenant_owns("/", 1));
}

static void test_tenant_vhosts_that_would_leave_their_name_space_are_bad(void **state)
{
    (void)state;
    static const char *const bad[] = {"_local", "_topo", "_edge", "a/b", "/", "_topo/0/B", "amqp:", "http:"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(tenant_vhost_is_good(bad[i]));
    static const char *const good[] = {"", "ten1", "a.example.com", "::1", "_x", "localhost:5672", "_topology"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(tenant_vhost_is_good(good[i]));
}

static void test_tenant_without_a_vhost_has_no_prefix(void **state)
{
    (void)state;
    assert_null(tenant_prefix(""));
    char *prefix = tenant_prefix("ten1");
    assert_string_equal(prefix, "ten1/");
    free(prefix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tenant_addresses_stand_below_the_vhost),
        cmocka_unit_test(test_tenant_places_have_no_tenant),
        cmocka_unit_test(test_tenant_vhosts_that_would_leave_their_name_space_are_bad),
        cmocka_unit_test(test_tenant_without_a_vhost_has_no_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
