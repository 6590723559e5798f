#include <trunkline/amqp/terminus.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define ENCODED(text)                                                                                                  \
    {                                                                                                                  \
        NULL, (const uint8_t *)text, sizeof text - 1                                                                   \
    }

static void assert_prints(const struct amqp_terminus_view *t, const char *expected)
{
    char text[512];
    assert_int_equal(amqp_terminus_print(t, text, sizeof text), strlen(expected));
    assert_string_equal(text, expected);
}

static void test_terminus_capability_alone_or_in_an_array_is_found(void **state)
{
    (void)state;
    const struct amqp_terminus_view alone = {.capabilities = ENCODED("\xa3\x05queue")};
    const struct amqp_terminus_view array = {.capabilities = ENCODED("\xe0\x0e\x02\xa3\x05topic\x05queue")};
    const struct amqp_terminus_view wide = {
        .capabilities = ENCODED("\xf0\x00\x00\x00\x0e\x00\x00\x00\x01\xb3\x00\x00\x00\x05queue")};
    assert_true(amqp_terminus_has_capability(&alone, "queue"));
    assert_true(amqp_terminus_has_capability(&array, "queue"));
    assert_true(amqp_terminus_has_capability(&array, "topic"));
    assert_true(amqp_terminus_has_capability(&wide, "queue"));
    assert_false(amqp_terminus_has_capability(&alone, "que"));
    assert_false(amqp_terminus_has_capability(&alone, "queues"));
    assert_false(amqp_terminus_has_capability(&array, ""));
}

static void test_terminus_capability_of_no_symbols_is_not_found(void **state)
{
    (void)state;
    static const struct amqp_terminus_view views[] = {
        {.capabilities = {0}},
        {.capabilities = ENCODED("\x40")},
        {.capabilities = ENCODED("\xa1\x01q")},             /* a string */
        {.capabilities = ENCODED("\xe0\x04\x01\xa1\x01q")}, /* of strings */
        {.capabilities = ENCODED("\xe0\x04\x09\xa3\x01q")}, /* a count that lies */
        {.capabilities = ENCODED("\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x41")},
        {.capabilities = ENCODED("\xa3\x09q")},
    };
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        assert_false(amqp_terminus_has_capability(&views[i], "q"));
}

static void test_terminus_print_shows_what_applies(void **state)
{
    (void)state;
    assert_prints(&(struct amqp_terminus_view){.kind = AMQP_TERMINUS_NULL}, "{<none>}");
    assert_prints(&(struct amqp_terminus_view){.kind = AMQP_TERMINUS_COORDINATOR}, "{<coordinator>}");
    assert_prints(
        &(struct amqp_terminus_view){.kind = AMQP_TERMINUS_NODE, .dynamic = true, .expiry = AMQP_EXPIRE_SESSION_END},
        "{(dyn)<none> expire:sess}");
    assert_prints(
        &(struct amqp_terminus_view){.kind = AMQP_TERMINUS_NODE, .address = "a/b", .expiry = AMQP_EXPIRE_NEVER},
        "{a/b}");
    assert_prints(
        &(struct amqp_terminus_view){.kind = AMQP_TERMINUS_NODE,
                                     .address = "q",
                                     .copies = true,
                                     .durability = AMQP_DURABILITY_UNSETTLED,
                                     .expiry = AMQP_EXPIRE_CONNECTION_CLOSE,
                                     .timeout = 30,
                                     .capabilities = ENCODED("\xa3\x05queue"),
                                     .filter = ENCODED("\xc1\x07\x02\xa3\x01s\xa1\x01x"),
                                     .outcomes = ENCODED("\xe0\x04\x01\xa3\x01o")},
        "{q dur:deliveries expire:conn dist:copy timeout:30 caps::queue flt:{:s=\"x\"} outcomes:@PN_SYMBOL[:o]}");
    assert_prints(&(struct amqp_terminus_view){.kind = AMQP_TERMINUS_NODE,
                                               .address = "q",
                                               .durability = AMQP_DURABILITY_CONFIGURATION,
                                               .expiry = AMQP_EXPIRE_LINK_DETACH},
                  "{q dur:config expire:link}");
}

static void test_terminus_print_keeps_a_log_line_one_line(void **state)
{
    (void)state;
    assert_prints(&(struct amqp_terminus_view){.kind = AMQP_TERMINUS_NODE,
                                               .address = "a\n2026-11-20 ROUTER (info) forged\x7f",
                                               .expiry = AMQP_EXPIRE_NEVER},
                  "{a\\x0a2026-11-20 ROUTER (info) forged\\x7f}");
}

static void test_terminus_print_into_little_memory_is_cut_and_terminated(void **state)
{
    (void)state;
    const struct amqp_terminus_view t = {.kind = AMQP_TERMINUS_NODE, .address = "an/address/longer/than/that"};
    for (size_t size = 0; size < 50; size++) {
        char text[64];
        memset(text, '#', sizeof text);
        size_t n = amqp_terminus_print(&t, text, size);
        assert_true(size == 0 || n < size);
        assert_int_equal(text[size], '#');
        if (size)
            assert_int_equal(strlen(text), n);
        if (n)
            assert_int_equal(text[n - 1], '}');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_terminus_capability_alone_or_in_an_array_is_found),
        cmocka_unit_test(test_terminus_capability_of_no_symbols_is_not_found),
        cmocka_unit_test(test_terminus_print_shows_what_applies),
        cmocka_unit_test(test_terminus_print_keeps_a_log_line_one_line),
        cmocka_unit_test(test_terminus_print_into_little_memory_is_cut_and_terminated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
