#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/exchange.h>

static bool amqp(const char *key, const char *subject)
{
    return exchange_key_matches(key, subject, strlen(subject), false);
}

static bool mqtt(const char *key, const char *subject)
{
    return exchange_key_matches(key, subject, strlen(subject), true);
}

static void test_exchange_amqp_words(void **state)
{
    (void)state;
    assert_true(amqp("a.b", "a.b"));
    assert_false(amqp("a.b", "a"));
    assert_false(amqp("a", "a.b"));
    assert_false(amqp("a", "A"));
    assert_true(amqp("*", "a"));
    assert_true(amqp("*.b", "x.b"));
    assert_false(amqp("*", "a.b"));
    assert_false(amqp("*.*", "a"));
    /* A wildcard is a whole word. */
    assert_false(amqp("a*", "ab"));
    assert_true(amqp("a*", "a*"));
    /* An empty text is one empty word, and so is what stands between two separators. */
    assert_true(amqp("*", ""));
    assert_true(amqp("a.*.b", "a..b"));
    assert_false(amqp("a.b", "a..b"));
}

static void test_exchange_any_number_of_words(void **state)
{
    (void)state;
    static const char *const all[] = {"", "a", "a.b", "a.b.c"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        assert_true(amqp("#", all[i]));
    assert_true(amqp("a.#", "a"));
    assert_true(amqp("#.a", "a"));
    assert_true(amqp("#.a", "a.b.a"));
    assert_false(amqp("#.a", "a.b"));
    assert_true(amqp("a.#.b", "a.b"));
    assert_true(amqp("a.#.b", "a.b.b"));
    assert_false(amqp("a.#.b", "a"));
    assert_true(amqp("#.b.#.d.#", "a.b.c.d.e"));
    assert_false(amqp("#.d.#.b.#", "a.b.c.d.e"));
    assert_true(amqp("#.#", "a"));
    assert_true(amqp("#.*", "a"));
    assert_true(amqp("#.*.*", "a.b.c"));
    assert_false(amqp("#.*.*", "a"));
}

static void test_exchange_mqtt_levels(void **state)
{
    (void)state;
    assert_true(mqtt("a/+/c", "a/b/c"));
    assert_false(mqtt("a/+/c", "a/b.c"));
    assert_true(mqtt("a/#", "a"));
    assert_true(mqtt("a/#", "a/b/c"));
    assert_false(mqtt("a/*", "a/b"));
    assert_true(mqtt("+", ""));
}

/* Many `#` and a text that nearly matches: the cost is the product of the lengths, not a power. */
static void test_exchange_hostile_keys_are_soon_decided(void **state)
{
    (void)state;
    char key[4008] = "", subject[4008] = ""; /* room for a last word */
    for (size_t i = 0; i < 4000; i += 4)
        memcpy(key + i, "#.a.", 5);
    memcpy(key + strlen(key), "z", 2);
    for (size_t i = 0; i < 4000; i += 2)
        memcpy(subject + i, "a.", 3);
    memcpy(subject + strlen(subject), "b", 2);
    assert_false(amqp(key, subject));
}

static void test_exchange_keys_that_are_good(void **state)
{
    (void)state;
    assert_false(exchange_key_is_good("", false));
    assert_true(exchange_key_is_good("a.#.b", false));
    static const char *const bad[] = {"", "a/#/b", "a#", "#/a", "a+", "+a", "a/b+/c"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(exchange_key_is_good(bad[i], true));
    static const char *const good[] = {"#", "a/#", "+", "+/a/+", "a.b", "a/*"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(exchange_key_is_good(good[i], true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exchange_amqp_words),
        cmocka_unit_test(test_exchange_any_number_of_words),
        cmocka_unit_test(test_exchange_mqtt_levels),
        cmocka_unit_test(test_exchange_hostile_keys_are_soon_decided),
        cmocka_unit_test(test_exchange_keys_that_are_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
