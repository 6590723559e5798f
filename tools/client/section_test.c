#include "tools/client/section.h"

#include <proton/message.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* What a scan of a message says, as text: one entry per piece run, content in full. */
static bool scan(const uint8_t *bytes, size_t size, size_t step, char *out, struct fault *why)
{
    struct section_scan s = {0};
    int last = 0;
    char *to = out;
    for (size_t at = 0; at < size; at += step) {
        const uint8_t *p = bytes + at;
        size_t n = size - at < step ? size - at : step;
        struct section_piece piece;
        enum section_result r;
        while ((r = section_next(&s, &p, &n, &piece, why)) == SECTION_PIECE) {
            int tag = (int)piece.section << 1 | piece.is_preamble;
            if (tag != last || piece.is_preamble)
                to += sprintf(to, "%s%02x/%02x%s:", to == out ? "" : " ", piece.section, piece.constructor,
                              piece.is_preamble ? "p" : "");
            last = tag;
            for (size_t i = 0; i < piece.size; i++)
                to += sprintf(to, "%02x", piece.bytes[i]);
        }
        if (r == SECTION_MALFORMED)
            return false;
        assert_int_equal(n, 0);
    }
    *to = '\0';
    return section_is_complete(&s) || fault_set(why, "cut off");
}

static void check_any_split(const uint8_t *bytes, size_t size, const char *expected)
{
    for (size_t step = 1; step <= size; step++) {
        char out[4096];
        struct fault why = {""};
        if (!scan(bytes, size, step, out, &why))
            fail_msg("step %zu: %s", step, why.text);
        assert_string_equal(out, expected);
    }
}

static void test_section_data_sections_any_split_gives_the_same_pieces(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x00, 0x53, 0x70, 0xc0, 0x02, 0x01, 0x41, /* header: list8 {true} */
                                    0x00, 0x53, 0x75, 0xa0, 0x02, 'a',  'b',  /* data vbin8 */
                                    0x00, 0x53, 0x75, 0xb0, 0x00, 0x00, 0x00, 0x03,
                                    'c',  'd',  'e',  0x00, 0x53, 0x75, 0xa0, 0x00}; /* an empty one */
    check_any_split(bytes, sizeof bytes,
                    "70/c0p:005370c002 70/c0:0141 75/a0p:005375a002 75/a0:6162 75/b0p:005375b000000003 75/b0:636465 "
                    "75/a0p:005375a000");
}

static void test_section_symbolic_and_wide_descriptors_are_known(void **state)
{
    (void)state;
    uint8_t bytes[64] = {0x00, 0xa3, 17};
    memcpy(bytes + 3, "amqp:amqp-value:*", 17);
    memcpy(bytes + 20, "\x40", 1);
    memcpy(bytes + 21, "\x00\x80\x00\x00\x00\x00\x00\x00\x00\x78\x45", 11);
    check_any_split(bytes, 32,
                    "77/40p:00a311616d71703a616d71702d76616c75653a2a40 78/45p:00800000000000000078"
                    "45");
}

static void test_section_described_value_is_content_to_its_end(void **state)
{
    (void)state;
    /* amqp-value of described(symbol "x", described(5, string "hi")), then a footer list0 */
    static const uint8_t bytes[] = {0x00, 0x53, 0x77, 0x00, 0xa3, 0x01, 'x',  0x00, 0x53,
                                    0x05, 0xa1, 0x02, 'h',  'i',  0x00, 0x53, 0x78, 0x45};
    check_any_split(bytes, sizeof bytes,
                    "77/00p:00537700 77/00:a3017800"
                    "5305a1026869 78/45p:00537845");
}

static void test_section_message_by_proton_is_taken_apart(void **state)
{
    (void)state;
    pn_message_t *m = pn_message();
    pn_message_set_durable(m, true);
    pn_message_set_subject(m, "s");
    pn_data_put_map(pn_message_properties(m));
    pn_data_put_map(pn_message_body(m));
    pn_rwbytes_t buffer = {0};
    ssize_t size = pn_message_encode2(m, &buffer);
    assert_true(size > 0);
    char out[4096];
    struct fault why = {""};
    assert_true(scan((uint8_t *)buffer.start, (size_t)size, (size_t)size, out, &why));
    assert_non_null(strstr(out, "70/"));
    assert_non_null(strstr(out, "73/"));
    assert_non_null(strstr(out, "77/"));
    free(buffer.start);
    pn_message_free(m);
}

static void test_section_malformed_or_cut_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *says;
    } bad[] = {
        {"\x01", 1, "should begin"},
        {"\x00\x54", 2, "descriptor"},
        {"\x00\x53\x79", 3, "unknown section 0x79"},
        {"\x00\x80\x00\x00\x00\x01\x00\x00\x00\x75", 10, "unknown section 0x100000075"},
        {"\x00\xa3\x03xyz", 6, "unknown section 'xyz'"},
        {"\x00\xa3\xffxyz", 6, "255 bytes"},
        {"\x00\xb3\xff\xff\xff\xff", 6, "4294967295 bytes"},
        {"\x00\x53\x75\x10", 4, "constructor"},
        {"\x00\x53\x75\xa0\x05xyz", 8, "cut off"},
        {"\x00\x53\x75", 3, "cut off"},
        {"\x00\x53\x77\x00\x53\x05", 6, "cut off"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (size_t step = 1; step <= bad[i].size; step++) {
            char out[4096];
            struct fault why = {""};
            assert_false(scan((const uint8_t *)bad[i].bytes, bad[i].size, step, out, &why));
            assert_non_null(strstr(why.text, bad[i].says));
        }
}

static void test_section_endless_descriptors_are_refused(void **state)
{
    (void)state;
    uint8_t bytes[5000] = {0x00, 0x53, 0x77};
    char *out = malloc(3 * sizeof bytes);
    struct fault why = {""};
    assert_false(scan(bytes, sizeof bytes, 100, out, &why));
    assert_non_null(strstr(why.text, "descriptors in a row"));
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_section_data_sections_any_split_gives_the_same_pieces),
        cmocka_unit_test(test_section_symbolic_and_wide_descriptors_are_known),
        cmocka_unit_test(test_section_described_value_is_content_to_its_end),
        cmocka_unit_test(test_section_message_by_proton_is_taken_apart),
        cmocka_unit_test(test_section_malformed_or_cut_is_told),
        cmocka_unit_test(test_section_endless_descriptors_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
