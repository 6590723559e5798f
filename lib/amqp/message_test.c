#include <trunkline/amqp/message.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/codec.h>
#include <cmocka.h>

static uint8_t octets[4096];

static void write_section(struct amqp_writer *w, enum amqp_section section)
{
    amqp_write_descriptor(w, section);
    size_t mark = amqp_write_list_begin(w);
    switch (section) {
    case AMQP_SECTION_HEADER:
        amqp_write_bool(w, true);
        amqp_write_ubyte(w, 7);
        amqp_write_list_end(w, mark, 2);
        break;
    case AMQP_SECTION_PROPERTIES:
        amqp_write_string_of(w, "id");
        amqp_write_null(w);
        amqp_write_string_of(w, "closest/x");
        amqp_write_list_end(w, mark, 3);
        break;
    case AMQP_SECTION_DATA:
        w->len = mark;
        amqp_write_binary(w, "body", 4);
        break;
    case AMQP_SECTION_SEQUENCE:
        amqp_write_list_end(w, mark, 0);
        break;
    case AMQP_SECTION_VALUE:
        w->len = mark;
        amqp_write_string_of(w, "body");
        break;
    default:
        amqp_write_symbol_of(w, "x-opt-other");
        amqp_write_uint(w, 300);
        amqp_write_map_end(w, mark, 2);
        break;
    }
}

/* A message of these sections, each given by the last hex digit of its descriptor. */
static size_t write_message(const char *sections)
{
    struct amqp_writer w = amqp_writer(octets, sizeof octets);
    for (; *sections; sections++)
        write_section(&w, (enum amqp_section)(0x70 + *sections - '0'));
    assert_true(amqp_writer_fits(&w));
    return w.len;
}

static enum err scan(const char *sections, enum amqp_section depth)
{
    struct amqp_message_view v;
    return amqp_message_scan(octets, write_message(sections), depth, &v);
}

static void test_message_scan_whole_message_finds_each_section(void **state)
{
    (void)state;
    size_t n = write_message("01234558");
    struct amqp_message_view v;
    assert_int_equal(amqp_message_scan(octets, n, AMQP_SECTION_PROPERTIES, &v), OK);
    assert_int_equal(v.header.offset, 0);
    assert_int_equal(v.delivery_annotations.offset, v.header.length);
    assert_int_equal(v.message_annotations.offset, v.delivery_annotations.offset + v.delivery_annotations.length);
    assert_int_equal(v.properties.offset, v.message_annotations.offset + v.message_annotations.length);
    assert_int_equal(v.body, v.properties.offset + v.properties.length);
    assert_int_equal(octets[v.body + 2], AMQP_SECTION_APPLICATION_PROPERTIES);
    assert_int_equal(amqp_message_priority(octets, &v), 7);
    assert_true(amqp_slice_is(amqp_message_to(octets, &v), "closest/x"));
}

static void test_message_scan_absent_sections_have_no_length(void **state)
{
    (void)state;
    size_t n = write_message("7");
    struct amqp_message_view v;
    assert_int_equal(amqp_message_scan(octets, n, AMQP_SECTION_PROPERTIES, &v), OK);
    assert_int_equal(v.header.length, 0);
    assert_int_equal(v.message_annotations.length, 0);
    assert_int_equal(v.properties.length, 0);
    assert_int_equal(v.body, 0);
    assert_int_equal(amqp_message_priority(octets, &v), 4);
    assert_null(amqp_message_to(octets, &v).data);
    assert_false(amqp_message_has_router_annotations(octets, &v));
    assert_int_equal(amqp_message_strip_router_annotations(octets, &v, false, NULL), 0);
}

static void test_message_scan_cut_anywhere_asks_for_more(void **state)
{
    (void)state;
    size_t n = write_message("0237");
    struct amqp_message_view whole;
    assert_int_equal(amqp_message_scan(octets, n, AMQP_SECTION_PROPERTIES, &whole), OK);
    for (size_t cut = 0; cut < whole.body; cut++) {
        uint8_t *part = malloc(cut ? cut : 1);
        assert_non_null(part);
        memcpy(part, octets, cut);
        struct amqp_message_view v;
        assert_int_equal(amqp_message_scan(part, cut, AMQP_SECTION_PROPERTIES, &v), ERR_TRUNCATED);
        bool at_border = cut == 0 || cut == whole.header.length || cut == whole.properties.offset;
        assert_int_equal(v.body == cut, at_border);
        free(part);
    }
    struct amqp_message_view v;
    assert_int_equal(amqp_message_scan(octets, whole.body, AMQP_SECTION_PROPERTIES, &v), OK);
    assert_int_equal(v.body, whole.body);
}

static void test_message_scan_stops_behind_depth(void **state)
{
    (void)state;
    size_t n = write_message("0237");
    struct amqp_message_view v;
    assert_int_equal(amqp_message_scan(octets, n, AMQP_SECTION_HEADER, &v), OK);
    assert_int_equal(v.message_annotations.length, 0);
    assert_int_equal(amqp_message_scan(octets, n, AMQP_SECTION_MESSAGE_ANNOTATIONS, &v), OK);
    assert_true(v.message_annotations.length > 0);
    assert_int_equal(v.properties.length, 0);
}

static void test_message_scan_order_of_sections_is_kept(void **state)
{
    (void)state;
    static const char *const good[] = {"0123478", "57", "58", "558", "668", "78", "8", "03558"};
    static const char *const bad[] = {"10", "00", "32", "22", "778", "5758", "6558", "7658", "8558", "884", "585"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (strcmp(good[i], "57") != 0)
            assert_int_equal(scan(good[i], AMQP_SECTION_FOOTER), OK);
    assert_int_equal(scan("57", AMQP_SECTION_FOOTER), ERR_INVALID);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        /* What comes behind the footer is behind the depth. */
        enum err e = scan(bad[i], AMQP_SECTION_FOOTER);
        assert_int_equal(e, bad[i][0] == '8' || strcmp(bad[i], "585") == 0 ? OK : ERR_INVALID);
    }
}

static void test_message_scan_wrong_values_are_invalid(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x00\x53\x70\xc1\x01\x00", /* a header that is a map */
        "\x00\x53\x72\xc0\x01\x00", /* annotations that are a list */
        "\x00\x53\x75\xa1\x01\x00", /* data that is a string */
        "\x00\x53\x24\x45\x40\x40", /* no section at all */
        "\x53\x70\x45\x40\x40\x40", /* not described */
        "\x00\x53\x70\x01\x40\x40", /* an unknown code */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct amqp_message_view v;
        assert_int_equal(amqp_message_scan((const uint8_t *)bad[i], 6, AMQP_SECTION_FOOTER, &v), ERR_INVALID);
    }
}

static void test_message_scan_takes_every_form_of_descriptor(void **state)
{
    (void)state;
    static const char message[] =
        "\x00\xa3\x10"
        "amqp:header:list"
        "\xc0\x04\x02\x40\x50\x09"
        "\x00\x80\x00\x00\x00\x00\x00\x00\x00\x73\xd0\x00\x00\x00\x0a\x00\x00\x00\x03\x40\x40\xa1\x02to"
        "\x00\x53\x77\x40";
    struct amqp_message_view v;
    const uint8_t *m = (const uint8_t *)message;
    assert_int_equal(amqp_message_scan(m, sizeof message - 1, AMQP_SECTION_PROPERTIES, &v), OK);
    assert_int_equal(amqp_message_priority(m, &v), 9);
    assert_true(amqp_slice_is(amqp_message_to(m, &v), "to"));
    assert_int_equal(v.body, sizeof message - 1 - 4);
}

static void test_message_fields_malformed_or_of_another_type_are_as_if_absent(void **state)
{
    (void)state;
    /* Priority of type uint; to of type ulong; then a list that says more than it holds. */
    static const char message[] =
        "\x00\x53\x70\xc0\x04\x02\x40\x52\x09\x00\x53\x73\xc0\x05\x03\x40\x40\x53\x09\x00\x53\x77\x40";
    struct amqp_message_view v;
    const uint8_t *m = (const uint8_t *)message;
    assert_int_equal(amqp_message_scan(m, sizeof message - 1, AMQP_SECTION_PROPERTIES, &v), OK);
    assert_int_equal(amqp_message_priority(m, &v), 4);
    assert_null(amqp_message_to(m, &v).data);

    static const char lying[] = "\x00\x53\x70\xc0\x03\x02\x41\xb0\x00\x53\x73\xc0\x04\x03\x40\x40\xa1\x00\x53\x77\x40";
    m = (const uint8_t *)lying;
    assert_int_equal(amqp_message_scan(m, sizeof lying - 1, AMQP_SECTION_PROPERTIES, &v), OK);
    assert_int_equal(amqp_message_priority(m, &v), 4);
    assert_null(amqp_message_to(m, &v).data);
}

/* ---- annotations ---- */

/* A message with annotations of these keys, each with its place as value. */
static struct amqp_message_view annotated(const char *const *keys, bool map32)
{
    struct amqp_writer w = amqp_writer(octets, sizeof octets);
    amqp_write_descriptor(&w, AMQP_SECTION_MESSAGE_ANNOTATIONS);
    size_t mark = amqp_write_map_begin(&w);
    uint32_t count = 0;
    for (; keys[count]; count++) {
        amqp_write_symbol_of(&w, keys[count]);
        amqp_write_uint(&w, count);
    }
    /* A map that takes more octets than it needs. */
    static const char filler[300];
    if (map32) {
        amqp_write_symbol_of(&w, "x-opt-qd.");
        amqp_write_binary(&w, filler, sizeof filler);
        count++;
    }
    amqp_write_map_end(&w, mark, count * 2);
    amqp_write_descriptor(&w, AMQP_SECTION_VALUE);
    amqp_write_null(&w);
    struct amqp_message_view v;
    assert_int_equal(amqp_message_scan(octets, w.len, AMQP_SECTION_PROPERTIES, &v), OK);
    return v;
}

static void assert_stripped(const char *const *keys, bool map32, bool cut, const char *expected)
{
    struct amqp_message_view v = annotated(keys, map32);
    uint8_t *out = malloc(v.message_annotations.length);
    assert_non_null(out);
    uint32_t n = amqp_message_strip_router_annotations(octets, &v, cut, out);
    char got[200] = "";
    if (n) {
        struct amqp_reader r = amqp_reader(out, n), check = r;
        uint64_t descriptor;
        struct amqp_compound map = {0};
        assert_int_equal(amqp_check(&check), OK);
        assert_int_equal(amqp_left(&check), 0);
        assert_int_equal(amqp_read_descriptor(&r, &descriptor), OK);
        assert_int_equal(descriptor, AMQP_SECTION_MESSAGE_ANNOTATIONS);
        assert_int_equal(amqp_enter_map(&r, &map), OK);
        for (uint32_t i = 0; i < map.count; i += 2) {
            struct slice key = {0};
            uint32_t place = 0;
            assert_int_equal(amqp_read_symbol(&map.in, &key), OK);
            assert_int_equal(amqp_read_uint(&map.in, &place), OK);
            strncat(got, (const char *)key.data, key.len);
            strcat(got, " ");
            assert_memory_equal(keys[place], key.data, key.len);
        }
    }
    assert_string_equal(got, expected);
    free(out);
}

static void test_message_router_annotations_are_found_by_key(void **state)
{
    (void)state;
    const char *const with[] = {"x-opt-a", "x-opt-qd.trace", NULL},
                      *const without[] = {"x-opt-qd", "x-opt-qdx.to", NULL}, *const none[] = {NULL};
    struct amqp_message_view v = annotated(with, false);
    assert_true(amqp_message_has_router_annotations(octets, &v));
    v = annotated(without, false);
    assert_false(amqp_message_has_router_annotations(octets, &v));
    v = annotated(none, false);
    assert_false(amqp_message_has_router_annotations(octets, &v));
}

static void test_message_strip_leaves_the_other_annotations(void **state)
{
    (void)state;
    const char *const mixed[] = {"a", "x-opt-qd.ingress", "b", "x-opt-qd.trace", "c", NULL};
    const char *const unknown[] = {"x-opt-qd.other", "x-opt-qd.to", "b", NULL};
    const char *const ours[] = {"x-opt-qd.ingress", "x-opt-qd.trace", NULL}, *const none[] = {NULL};
    for (int map32 = 0; map32 < 2; map32++) {
        assert_stripped(mixed, map32, false, "a b c ");
        assert_stripped(mixed, map32, true, "a ");
        assert_stripped(unknown, map32, false, "x-opt-qd.other b ");
        assert_stripped(unknown, map32, true, "x-opt-qd.other ");
        assert_stripped(ours, map32, false, "");
        assert_stripped(ours, map32, true, "");
        assert_stripped(none, map32, false, "");
    }
}

static void test_message_strip_malformed_annotations_keeps_what_made_sense(void **state)
{
    (void)state;
    /* Two pairs, the second of which reaches out of the map. */
    static const char message[] = "\x00\x53\x72\xc1\x0a\x04\xa3\x01k\x52\x01\xa3\x01j\xb0\x00\x53\x77\x40";
    const uint8_t *m = (const uint8_t *)message;
    struct amqp_message_view v;
    assert_int_equal(amqp_message_scan(m, sizeof message - 1, AMQP_SECTION_PROPERTIES, &v), OK);
    uint8_t out[sizeof message];
    uint32_t n = amqp_message_strip_router_annotations(m, &v, false, out);
    assert_int_equal(n, 11);
    assert_memory_equal(out, "\x00\x53\x72\xc1\x06\x02\xa3\x01k\x52\x01", 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message_scan_whole_message_finds_each_section),
        cmocka_unit_test(test_message_scan_absent_sections_have_no_length),
        cmocka_unit_test(test_message_scan_cut_anywhere_asks_for_more),
        cmocka_unit_test(test_message_scan_stops_behind_depth),
        cmocka_unit_test(test_message_scan_order_of_sections_is_kept),
        cmocka_unit_test(test_message_scan_wrong_values_are_invalid),
        cmocka_unit_test(test_message_scan_takes_every_form_of_descriptor),
        cmocka_unit_test(test_message_fields_malformed_or_of_another_type_are_as_if_absent),
        cmocka_unit_test(test_message_router_annotations_are_found_by_key),
        cmocka_unit_test(test_message_strip_leaves_the_other_annotations),
        cmocka_unit_test(test_message_strip_malformed_annotations_keeps_what_made_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
