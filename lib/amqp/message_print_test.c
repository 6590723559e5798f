#include <trunkline/amqp/message_print.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/message.h>
#include <trunkline/amqp/performative.h>

#define ALL UINT32_MAX

static uint32_t part(const char *name)
{
    uint32_t p;
    assert_true(amqp_message_part_by_name(name, &p));
    return p;
}

/* On the heap, so that a sanitizer sees a step beyond the end. */
static void assert_message(const void *octets, size_t n, uint32_t parts, const char *expected)
{
    uint8_t *m = malloc(n ? n : 1);
    assert_non_null(m);
    memcpy(m, octets, n);
    char text[1000];
    size_t len = amqp_message_print(m, n, parts, text, sizeof text);
    assert_string_equal(text, expected);
    assert_int_equal(len, strlen(expected));
    free(m);
}
#define MESSAGE(octets, parts, expected) assert_message(octets, sizeof octets - 1, parts, expected)

static struct slice text_slice(const char *s)
{
    return (struct slice){NULL, (const uint8_t *)s, strlen(s)};
}

static struct slice string_value(uint8_t *memory, const char *s)
{
    struct amqp_writer w = amqp_writer(memory, 64);
    amqp_write_string_of(&w, s);
    return (struct slice){NULL, memory, w.len};
}

/* Header, annotations, all properties, application properties of several types, body. Result: its length. */
static size_t full_message(uint8_t *m, size_t size)
{
    uint8_t id[64], to[64], reply_to[64], correlation[64];
    struct amqp_writer w = amqp_writer(m, size);
    amqp_write_raw(&w, (const uint8_t *)"\x00\x53\x70\xc0\x02\x01\x41", 7);
    amqp_write_raw(&w, (const uint8_t *)"\x00\x53\x72\xc1\x06\x02\xa3\x01x\x54\x01", 11);
    struct amqp_properties_fields p = {0};
    AMQP_SET(&p, message_id, string_value(id, "m1"));
    AMQP_SET(&p, user_id, text_slice("me"));
    AMQP_SET(&p, to, string_value(to, "foo"));
    AMQP_SET(&p, subject, text_slice("a \"b\"\n"));
    AMQP_SET(&p, reply_to, string_value(reply_to, "back"));
    AMQP_SET(&p, correlation_id, string_value(correlation, "c9"));
    AMQP_SET(&p, content_type, text_slice("text"));
    AMQP_SET(&p, content_encoding, text_slice("gzip"));
    AMQP_SET(&p, absolute_expiry_time, 1795167376347);
    AMQP_SET(&p, creation_time, 0);
    AMQP_SET(&p, group_id, text_slice("g"));
    AMQP_SET(&p, group_sequence, 7);
    AMQP_SET(&p, reply_to_group_id, text_slice("rg"));
    amqp_write_properties(&w, &p);
    static const uint8_t app[] = "\x00\x53\x74\xc1\x18\x08\xa1\x01"
                                 "a\x54\x01\xa1\x01"
                                 "b\xa1\x01x\xa1\x01"
                                 "c\xa3\x01y\xa1\x01"
                                 "d\xa0\x01\xff";
    amqp_write_raw(&w, app, sizeof app - 1);
    amqp_write_raw(&w, (const uint8_t *)"\x00\x53\x77\xa1\x06secret", 11);
    assert_true(w.len <= size);
    return w.len;
}

static const char FULL[] =
    "Message{message-id=\"m1\", user-id=b\"me\", to=\"foo\", subject=\"a \\22b\\22\\0a\", reply-to=\"back\", "
    "correlation-id=\"c9\", content-type=:\"text\", content-encoding=:\"gzip\", "
    "absolute-expiry-time=\"2026-11-20 09:36:16.347000 +0000\", creation-time=\"1970-01-01 00:00:00.000000 +0000\", "
    "group-id=\"g\", group-sequence=7, reply-to-group-id=\"rg\", "
    "app-properties={\"a\"=1, \"b\"=\"x\", \"c\"=:\"y\", \"d\"=b\"\\ff\"}}";

static void test_message_print_all_parts_are_in_their_order(void **state)
{
    (void)state;
    uint8_t m[600];
    assert_message(m, full_message(m, sizeof m), ALL, FULL);
}

static void test_message_print_only_the_parts_asked_for(void **state)
{
    (void)state;
    uint8_t m[600];
    size_t n = full_message(m, sizeof m);
    assert_message(m, n, part("subject") | part("message-id"),
                   "Message{message-id=\"m1\", subject=\"a \\22b\\22\\0a\"}");
    assert_message(m, n, part("app-properties"),
                   "Message{app-properties={\"a\"=1, \"b\"=\"x\", \"c\"=:\"y\", \"d\"=b\"\\ff\"}}");
    assert_message(m, n, part("reply-to-group-id"), "Message{reply-to-group-id=\"rg\"}");
    assert_message(m, n, 0, "Message{}");
}

static void test_message_print_each_part_has_its_name(void **state)
{
    (void)state;
    static const char *const names[] = {"message-id",        "user-id",          "to",
                                        "subject",           "reply-to",         "correlation-id",
                                        "content-type",      "content-encoding", "absolute-expiry-time",
                                        "creation-time",     "group-id",         "group-sequence",
                                        "reply-to-group-id", "app-properties"};
    for (uint32_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(part(names[i]), 1u << i);
    uint32_t none;
    static const char *const unknown[] = {"", "message_id", "message-i", "message-id-", "body", "all"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_false(amqp_message_part_by_name(unknown[i], &none));
}

static void test_message_print_ids_have_any_type(void **state)
{
    (void)state;
    MESSAGE("\x00\x53\x73\xc0\x04\x01\x80\x00\x00", part("to"), "Message{<malformed>}");
    MESSAGE("\x00\x53\x73\xc0\x03\x01\x53\x2a", ALL, "Message{message-id=42}");
    MESSAGE("\x00\x53\x73\xc0\x12\x01\x98\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f", ALL,
            "Message{message-id=UUID(00010203-0405-0607-0809-0a0b0c0d0e0f)}");
    MESSAGE("\x00\x53\x73\xc0\x04\x01\xa0\x01\x00", ALL, "Message{message-id=b\"\\00\"}");
}

static void test_message_print_times_go_to_the_ends_of_their_range(void **state)
{
    (void)state;
    MESSAGE("\x00\x53\x73\xd0\x00\x00\x00\x16\x00\x00\x00\x0a\x40\x40\x40\x40\x40\x40\x40\x40\x40\x83\xff\xff\xff\xff"
            "\xff\xff\xff\xff",
            ALL, "Message{creation-time=\"1969-12-31 23:59:59.999000 +0000\"}");
    MESSAGE("\x00\x53\x74\xc1\x17\x04\xa1\x00\x83\x7f\xff\xff\xff\xff\xff\xff\xff\xa1\x00\x83\x80\x00\x00\x00\x00\x00"
            "\x00\x00",
            ALL,
            "Message{app-properties={\"\"=\"292278994-08-17 07:12:55.807000 +0000\", "
            "\"\"=\"-292275055-05-16 16:47:04.192000 +0000\"}}");
}

static void test_message_print_without_properties_is_empty(void **state)
{
    (void)state;
    MESSAGE("", ALL, "Message{}");
    MESSAGE("\x00\x53\x77\x43", ALL, "Message{}");
    MESSAGE("\x00\x53\x73\x45", ALL, "Message{}");
    MESSAGE("\x00\x53\x73\xc0\x03\x02\x40\x40\x00\x53\x74\xc1\x01\x00", ALL, "Message{app-properties={}}");
}

static void test_message_print_sections_may_be_named_by_symbols(void **state)
{
    (void)state;
    MESSAGE("\x00\xa3\x14"
            "amqp:properties:list\xc0\x03\x01\x53\x2a\x00\xa3\x1f"
            "amqp:application-properties:map\xc1\x01\x00",
            ALL, "Message{message-id=42, app-properties={}}");
}

static void test_message_print_nonsense_is_told(void **state)
{
    (void)state;
    MESSAGE("hello", ALL, "Message{<malformed>}");
    MESSAGE("\x00\x53\x73\xa1\x01x", ALL, "Message{<malformed>}");
    MESSAGE("\x00\x53\x73\xc0\x03\x01\x53\x2aHTTP", ALL, "Message{message-id=42, <malformed>}");
    /* More fields than octets; a field that reaches out of the list; a map without a value. */
    MESSAGE("\x00\x53\x73\xc0\x01\xff", ALL, "Message{<malformed>}");
    MESSAGE("\x00\x53\x73\xc0\x04\x01\xa1\x09x", ALL, "Message{message-id=<malformed>}");
    MESSAGE("\x00\x53\x74\xc1\x02\x01\x43", ALL, "Message{<malformed>}");
    MESSAGE("\x00\x53\x74\x43", ALL, "Message{<malformed>}");
    MESSAGE("\x00\x53\x74\xc1\x06\x02\xa1\x01x\xa1\x09", ALL, "Message{app-properties={\"x\"=<malformed>}");
    /* Nobody asked for what is nonsense. */
    MESSAGE("\x00\x53\x74\xc1\x06\x02\xa1\x01x\xa1\x09", part("to"), "Message{}");
}

static void test_message_print_octets_that_end_early_show_dots(void **state)
{
    (void)state;
    uint8_t m[600];
    size_t n = full_message(m, sizeof m), whole_from = 0;
    for (size_t i = 0; i <= n; i++) {
        char text[600];
        uint8_t *part_of = malloc(i ? i : 1);
        assert_non_null(part_of);
        memcpy(part_of, m, i);
        amqp_message_print(part_of, i, ALL, text, sizeof text);
        bool whole;
        size_t head = amqp_message_head(part_of, i, &whole);
        assert_true(head <= i);
        if (strcmp(text, FULL) == 0) {
            whole_from = whole_from ? whole_from : i;
            /* The body changes nothing, and is not kept. */
            assert_int_equal(head, whole_from);
            assert_true(whole);
        } else {
            assert_false(whole_from);
            assert_false(whole);
            assert_int_equal(head, i);
            assert_null(strstr(text, "malformed"));
        }
        free(part_of);
    }
    assert_int_equal(whole_from, n - 11);
    MESSAGE("\x00\x53\x73\xc0\x03\x01\x53\x2a\x00\x53\x74\xc1\x06\x02\xa1", ALL, "Message{message-id=42, ...}");
}

static void test_message_print_is_cut_to_the_memory_there_is(void **state)
{
    (void)state;
    uint8_t m[600];
    size_t n = full_message(m, sizeof m);
    for (size_t size = 4; size < sizeof FULL; size++) {
        char text[600];
        memset(text, '#', sizeof text);
        assert_int_equal(amqp_message_print(m, n, ALL, text, size), size - 1);
        assert_string_equal(text + size - 4, "...");
        assert_int_equal(text[size], '#');
    }
}

static void test_message_print_deep_values_end(void **state)
{
    (void)state;
    /* Lists within lists as the value of an application property. */
    uint8_t m[400];
    size_t depth = 60, n = 0;
    memcpy(m, "\x00\x53\x74\xd1\x00\x00\x00\x00\x00\x00\x00\x02\xa1\x00", n = 14);
    for (size_t i = 0; i < depth; i++, n += 3)
        memcpy(m + n, (uint8_t[]){0xc0, (uint8_t)(1 + 3 * (depth - i - 1)), i + 1 < depth}, 3);
    amqp_put32(m + 4, (uint32_t)(n - 8));
    char text[600];
    amqp_message_print(m, n, ALL, text, sizeof text);
    assert_non_null(strstr(text, "<malformed>"));
}

static void test_message_print_names_cannot_break_a_line(void **state)
{
    (void)state;
    char text[40];
    assert_int_equal(amqp_name_print("l\xc3\xa4nk'\n\"", text, sizeof text), strlen("l\\c3\\a4nk'\\0a\\22"));
    assert_string_equal(text, "l\\c3\\a4nk'\\0a\\22");
    assert_int_equal(amqp_name_print("abcdefgh", text, 6), 5);
    assert_string_equal(text, "ab...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message_print_all_parts_are_in_their_order),
        cmocka_unit_test(test_message_print_only_the_parts_asked_for),
        cmocka_unit_test(test_message_print_each_part_has_its_name),
        cmocka_unit_test(test_message_print_ids_have_any_type),
        cmocka_unit_test(test_message_print_times_go_to_the_ends_of_their_range),
        cmocka_unit_test(test_message_print_without_properties_is_empty),
        cmocka_unit_test(test_message_print_sections_may_be_named_by_symbols),
        cmocka_unit_test(test_message_print_nonsense_is_told),
        cmocka_unit_test(test_message_print_octets_that_end_early_show_dots),
        cmocka_unit_test(test_message_print_is_cut_to_the_memory_there_is),
        cmocka_unit_test(test_message_print_deep_values_end),
        cmocka_unit_test(test_message_print_names_cannot_break_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
