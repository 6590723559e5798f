#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/exchange_keys.h>
#include <router/route/key_model.h>

/* Only their places are of interest here. */
struct binding {
    char key[64];
};

/* The set with one key more; the last one goes. */
static void add(struct exchange_keys **k, const char *key, struct binding *b)
{
    assert_true(exchange_key_is_good(key, false));
    struct exchange_keys *next = exchange_keys_with(*k, key, b);
    exchange_keys_free(k);
    *k = next;
}

static void take_out(struct exchange_keys **k, const char *key, struct binding *b)
{
    struct exchange_keys *next = exchange_keys_without(*k, key, b);
    exchange_keys_free(k);
    *k = next;
}

static uint32_t count_matches(const struct exchange_keys *k, const char *subject)
{
    struct binding_list found;
    binding_list_init(&found);
    exchange_keys_match(k, subject, strlen(subject), &found);
    uint32_t n = found.count;
    binding_list_fini(&found);
    return n;
}

static uint32_t count_like(const struct exchange_keys *k, const char *key)
{
    struct binding_list found;
    binding_list_init(&found);
    exchange_keys_like(k, key, &found);
    uint32_t n = found.count;
    binding_list_fini(&found);
    return n;
}

/* The set and the model agree. */
static bool matches(const char *key, const char *subject, bool is_mqtt)
{
    struct binding b;
    struct exchange_keys *none = exchange_keys_new(is_mqtt), *k = exchange_keys_with(none, key, &b);
    uint32_t n = count_matches(k, subject);
    assert_int_equal(n, key_model_matches(key, subject, strlen(subject), is_mqtt));
    exchange_keys_free(&none);
    exchange_keys_free(&k);
    return n == 1;
}

static bool amqp(const char *key, const char *subject)
{
    return matches(key, subject, false);
}

static bool mqtt(const char *key, const char *subject)
{
    return matches(key, subject, true);
}

static void test_exchange_keys_amqp_words(void **state)
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

static void test_exchange_keys_any_number_of_words(void **state)
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

static void test_exchange_keys_mqtt_levels(void **state)
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
static void test_exchange_keys_hostile_ones_are_soon_decided(void **state)
{
    (void)state;
    char key[1000] = "", subject[40000] = "";
    for (size_t i = 0; i < 4 * 120; i += 4)
        memcpy(key + i, "#.a.", 5);
    memcpy(key + strlen(key), "z", 2);
    for (size_t i = 0; i < 30000; i += 2)
        memcpy(subject + i, "a.", 3);
    memcpy(subject + strlen(subject), "b", 2);
    assert_true(exchange_key_is_good(key, false));
    assert_false(amqp(key, subject));
}

/* Random keys over three words, added and taken out: at each step the set gives what the model does for each key. */
static void test_exchange_keys_of_a_set_match_as_each_does_alone(void **state)
{
    (void)state;
    enum { KEYS = 40, STEPS = 3000 };
    static const char *const words[] = {"a", "b", "", "*", "#"};
    static struct binding bindings[KEYS];
    bool is_in[KEYS] = {false};
    uint32_t random = 1;
    struct exchange_keys *k = exchange_keys_new(false);
    for (int step = 0; step < STEPS; step++) {
        random = random * 1103515245 + 12345;
        uint32_t r = random >> 8, i = r % KEYS;
        struct binding *b = &bindings[i];
        if (is_in[i]) {
            take_out(&k, b->key, b);
        } else {
            b->key[0] = '\0';
            for (uint32_t n = 0; n <= r / KEYS % 5; n++)
                snprintf(b->key + strlen(b->key), sizeof b->key - strlen(b->key), "%s%s", n ? "." : "",
                         words[(r >> (n + 3)) % 5]);
            if (b->key[0] == '\0')
                strcpy(b->key, "a");
            add(&k, b->key, b);
        }
        is_in[i] = !is_in[i];
        static const char *const subjects[] = {"", "a", "b", "a.b", "a..b", "a.a.b.a", "b.b.b", "."};
        const char *subject = subjects[r % 8];
        uint32_t expected = 0;
        for (uint32_t n = 0; n < KEYS; n++)
            expected += is_in[n] && key_model_matches(bindings[n].key, subject, strlen(subject), false);
        assert_int_equal(count_matches(k, subject), expected);
    }
    exchange_keys_free(&k);
}

static void test_exchange_keys_one_key_may_have_many_bindings(void **state)
{
    (void)state;
    static struct binding b[40];
    struct exchange_keys *k = exchange_keys_new(false);
    for (size_t i = 0; i < 40; i++)
        add(&k, i % 2 ? "#.*" : "*.#", &b[i]); /* the same, said in two ways */
    assert_int_equal(count_matches(k, "a.b"), 40);
    assert_int_equal(count_like(k, "*.#"), 40);
    assert_int_equal(count_like(k, "#"), 0);
    for (size_t i = 0; i < 39; i++)
        take_out(&k, "*.#", &b[i]);
    assert_int_equal(count_matches(k, "a"), 1);
    take_out(&k, "#.*", &b[39]);
    assert_int_equal(count_matches(k, "a"), 0);
    exchange_keys_free(&k);
}

static void test_exchange_keys_that_are_good(void **state)
{
    (void)state;
    assert_false(exchange_key_is_good("", false));
    assert_true(exchange_key_is_good("a.#.b", false));
    char long_key[2 * EXCHANGE_KEY_WORDS_MAX + 2] = "";
    for (int i = 0; i < EXCHANGE_KEY_WORDS_MAX; i++)
        memcpy(long_key + 2 * i, "a.", 3);
    assert_false(exchange_key_is_good(long_key, false)); /* one empty word too many */
    long_key[2 * EXCHANGE_KEY_WORDS_MAX - 1] = '\0';
    assert_true(exchange_key_is_good(long_key, false));
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
        cmocka_unit_test(test_exchange_keys_amqp_words),
        cmocka_unit_test(test_exchange_keys_any_number_of_words),
        cmocka_unit_test(test_exchange_keys_mqtt_levels),
        cmocka_unit_test(test_exchange_keys_hostile_ones_are_soon_decided),
        cmocka_unit_test(test_exchange_keys_of_a_set_match_as_each_does_alone),
        cmocka_unit_test(test_exchange_keys_one_key_may_have_many_bindings),
        cmocka_unit_test(test_exchange_keys_that_are_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
