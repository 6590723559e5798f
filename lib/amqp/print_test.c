#include <trunkline/amqp/print.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void assert_value(const char *octets, size_t n, const char *expected)
{
    char text[600];
    assert_int_equal(amqp_value_print((struct slice){NULL, (const uint8_t *)octets, n}, text, sizeof text),
                     strlen(expected));
    assert_string_equal(text, expected);
}
#define VALUE(octets, expected) assert_value(octets, sizeof octets - 1, expected)

static void test_print_values_are_in_protons_notation(void **state)
{
    (void)state;
    VALUE("", "");
    VALUE("\x40", "null");
    VALUE("\x56\x01", "true");
    VALUE("\xc1\x1b\x04\xa3\x07product\xa1\x01x\xa3\x0aqd.conn-id\x52\x01", "{:product=\"x\", :\"qd.conn-id\"=1}");
    VALUE("\xa1\x04\"\\\n\xff", "\"\\x22\\x5c\\x0a\\xff\"");
    VALUE("\xa0\x02\x00z", "b\"\\x00z\"");
    VALUE("\x00\x53\x24\x45", "@accepted(36) []");
    VALUE("\x00\x53\x27\xc0\x03\x02\x40\x41", "@modified(39) [undeliverable-here=true]");
    VALUE("\x00\x53\x1d\xc0\x0b\x02\xa3\x03x:y\xa1\x03no\x21", "@error(29) [condition=:\"x:y\", description=\"no!\"]");
    VALUE("\x00\xa3\x03x:y\x43", "@:\"x:y\" 0");
    VALUE("\x00\x53\xfe\x43", "@254 0");
    VALUE("\xe0\x07\x02\xa3\x01\x61\x02\x62\x63", "@PN_SYMBOL[:a, :bc]");
    VALUE("\xe0\x04\x02\x56\x01\x00", "@PN_BOOL[true, false]");
    VALUE("\xe0\x03\x01\x45", "<malformed>");
    VALUE("\xe0\x02\x01\x45", "@PN_LIST[<list of 0 octets>]");
    VALUE("\x73\x00\x00\x65\xe5", "U+65E5");
    VALUE("\x98\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f",
          "UUID(00010203-0405-0607-0809-0a0b0c0d0e0f)");
}

static void test_print_nonsense_is_told_where_it_begins(void **state)
{
    (void)state;
    VALUE("\xff", "<malformed>");
    VALUE("\xa1\x05x", "<malformed>");
    VALUE("\xc0\x04\x02\x43\xa1\x09", "[0, <malformed>");
    VALUE("\x00\x53", "<malformed>");
    char deep[200] = {0};
    char text[100];
    struct slice value = {NULL, (const uint8_t *)deep, sizeof deep};
    amqp_value_print(value, text, sizeof text);
    assert_non_null(strstr(text, "<malformed>"));
}

static void test_print_is_cut_to_the_memory_there_is(void **state)
{
    (void)state;
    /* An array of four thousand million that takes ten octets. */
    static const char octets[] = "\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x41";
    struct slice value = {NULL, (const uint8_t *)octets, sizeof octets - 1};
    for (size_t size = 4; size < 200; size++) {
        char text[256];
        memset(text, '#', sizeof text);
        assert_int_equal(amqp_value_print(value, text, size), size - 1);
        assert_int_equal(strlen(text), size - 1);
        assert_string_equal(text + size - 4, "...");
        assert_int_equal(text[size], '#');
    }
}

static void assert_frame(const char *octets, size_t n, const char *expected)
{
    char text[2048];
    /* On the heap, so that a sanitizer sees a step beyond the end. */
    uint8_t *frame = malloc(n ? n : 1);
    assert_non_null(frame);
    memcpy(frame, octets, n);
    assert_int_equal(amqp_frame_print(7, true, frame, n, text, sizeof text), strlen(expected));
    assert_string_equal(text, expected);
    free(frame);
}
#define FRAME(octets, expected) assert_frame(octets, sizeof octets - 1, expected)

static void test_print_frames_are_in_protons_notation(void **state)
{
    (void)state;
    FRAME("AMQP\x00\x01\x00\x00", "[C7]:  <- AMQP");
    FRAME("AMQP\x03\x01\x00\x00", "[C7]:  <- SASL");
    FRAME("\x00\x00\x00\x08\x02\x00\x00\x00", "[C7]:0 <- (EMPTY FRAME)");
    FRAME("\x00\x00\x00\x17\x02\x00\x00\x03\x00\x53\x14\xc0\x06\x03\x43\x43\xa0\x01\x31\x00\x53p\x45",
          "[C7]:3 <- @transfer(20) [handle=0, delivery-id=0, delivery-tag=b\"1\"] (4) \"\\x00SpE\"");
    /* Of extended header, and with the payload elsewhere. */
    FRAME("\x00\x00\x01\x18\x03\x00\x00\x00----\x00\x53\x14\xc0\x02\x01\x43",
          "[C7]:0 <- @transfer(20) [handle=0] (261) \"\"...");
    char text[200];
    assert_true(amqp_frame_print(12, false, (const uint8_t *)"\x00\x00\x00\x08\x02\x00\x00\x00", 8, text, sizeof text) >
                0);
    assert_string_equal(text, "[C12]:0 -> (EMPTY FRAME)");
}

static void test_print_frame_with_a_password_hides_it(void **state)
{
    (void)state;
    FRAME("\x00\x00\x00\x21\x02\x01\x00\x00\x00\x53\x41\xc0\x14\x02\xa3\x05PLAIN\xa0\x0a\x00user\x00pass",
          "[C7]:0 <- @sasl-init(65) [mechanism=:PLAIN, initial-response=<hidden>]");
    FRAME("\x00\x00\x00\x14\x02\x01\x00\x00\x00\x53\x43\xc0\x07\x01\xa0\x04pass",
          "[C7]:0 <- @sasl-response(67) [response=<hidden>]");
}

static void test_print_frames_of_nonsense_are_told(void **state)
{
    (void)state;
    FRAME("", "[C7]:  <- <malformed: 0 octets>");
    FRAME("\x00\x00\x00\x00\x00\x00\x00", "[C7]:  <- <malformed: 7 octets>");
    FRAME("\x00\x00\x00\x08\x00\x00\x00\x00", "[C7]:0 <- <malformed: size 8, data offset 0>");
    FRAME("\x00\x00\x00\x0c\xff\x00\x00\x00\x40\x40\x40\x40", "[C7]:0 <- <malformed: size 12, data offset 255>");
    FRAME("\x00\x00\x00\x02\x02\x00\x00\x00", "[C7]:0 <- <malformed: size 2, data offset 2>");
    FRAME("\x00\x00\x00\x09\x02\x00\x00\x00\xff", "[C7]:0 <- <malformed>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print_values_are_in_protons_notation),
        cmocka_unit_test(test_print_nonsense_is_told_where_it_begins),
        cmocka_unit_test(test_print_is_cut_to_the_memory_there_is),
        cmocka_unit_test(test_print_frames_are_in_protons_notation),
        cmocka_unit_test(test_print_frame_with_a_password_hides_it),
        cmocka_unit_test(test_print_frames_of_nonsense_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
