#include "tools/client/print.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char *value_text(pn_data_t *data, enum print_style style)
{
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    pn_data_rewind(data);
    pn_data_next(data);
    print_value(f, data, style);
    fclose(f);
    return text;
}

static void check(pn_data_t *data, const char *human, const char *json, const char *python)
{
    const char *expected[] = {human, json, python};
    for (int style = PRINT_HUMAN; style <= PRINT_PYTHON; style++) {
        char *text = value_text(data, style);
        assert_string_equal(text, expected[style]);
        free(text);
    }
    pn_data_clear(data);
}

static void put_text(pn_data_t *data, const char *text)
{
    pn_data_put_string(data, pn_bytes(strlen(text), text));
}

static void test_print_scalars_in_each_style(void **state)
{
    (void)state;
    pn_data_t *d = pn_data(4);
    pn_data_put_null(d);
    check(d, "null", "null", "None");
    pn_data_put_bool(d, true);
    check(d, "true", "true", "True");
    pn_data_put_long(d, INT64_MIN);
    check(d, "-9223372036854775808", "-9223372036854775808", "-9223372036854775808");
    pn_data_put_double(d, 3);
    check(d, "3.0", "3.0", "3.0");
    pn_data_put_float(d, 0.1f);
    check(d, "0.100000001", "0.100000001", "0.100000001");
    pn_data_put_double(d, -HUGE_VAL);
    check(d, "-inf", "\"-inf\"", "float('-inf')");
    pn_data_put_char(d, 0x1f600);
    check(d, "\"\xf0\x9f\x98\x80\"", "\"\xf0\x9f\x98\x80\"", "'\xf0\x9f\x98\x80'");
    pn_data_put_uuid(d, (pn_uuid_t){"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"});
    check(d, "00112233-4455-6677-8899-aabbccddeeff", "\"00112233-4455-6677-8899-aabbccddeeff\"",
          "UUID('00112233-4455-6677-8899-aabbccddeeff')");
    pn_data_free(d);
}

static void test_print_text_of_a_peer_cannot_steer_the_terminal(void **state)
{
    (void)state;
    pn_data_t *d = pn_data(4);
    put_text(d, "a'b\"c\\\n\x1b[2J\x7f\xc2\x9b\xc3\xa4");
    check(d, "\"a'b\\\"c\\\\\\n\\x1b[2J\\x7f\\x9b\xc3\xa4\"", "\"a'b\\\"c\\\\\\n\\u001b[2J\\u007f\\u009b\xc3\xa4\"",
          "'a\\'b\"c\\\\\\n\\x1b[2J\\x7f\\x9b\xc3\xa4'");
    /* Not UTF-8: a lone continuation, an overlong form, a surrogate. */
    put_text(d, "\x80\xc0\xaf\xed\xa0\x80");
    check(d, "\"\\x80\\xc0\\xaf\\xed\\xa0\\x80\"", "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\"",
          "'\\x80\\xc0\\xaf\\xed\\xa0\\x80'");
    pn_data_free(d);
}

static void test_print_binary_is_text_in_json_only_if_utf8(void **state)
{
    (void)state;
    pn_data_t *d = pn_data(4);
    pn_data_put_binary(d, pn_bytes(3, "\xc3\xa4x"));
    check(d, "b\"\\xc3\\xa4x\"", "\"\xc3\xa4x\"", "b'\\xc3\\xa4x'");
    pn_data_put_binary(d, pn_bytes(4, "\xff\x00\x01\x02"));
    check(d, "b\"\\xff\\x00\\x01\\x02\"", "{\"base64\": \"/wABAg==\"}", "b'\\xff\\x00\\x01\\x02'");
    pn_data_put_binary(d, pn_bytes(3, "\xff\xfe\xfd"));
    check(d, "b\"\\xff\\xfe\\xfd\"", "{\"base64\": \"//79\"}", "b'\\xff\\xfe\\xfd'");
    pn_data_free(d);
}

static void test_print_nested_map_list_and_described(void **state)
{
    (void)state;
    pn_data_t *d = pn_data(4);
    pn_data_put_map(d);
    pn_data_enter(d);
    put_text(d, "a");
    pn_data_put_list(d);
    pn_data_enter(d);
    pn_data_put_int(d, 1);
    pn_data_put_described(d);
    pn_data_enter(d);
    pn_data_put_ulong(d, 7);
    put_text(d, "x");
    pn_data_exit(d);
    pn_data_exit(d);
    pn_data_put_int(d, 2);
    put_text(d, "int key");
    pn_data_exit(d);
    check(d, "{a: [1, @7 \"x\"], 2: \"int key\"}",
          "{\"a\": [1, {\"descriptor\": 7, \"value\": \"x\"}], \"2\": \"int key\"}",
          "{'a': [1, Described(7, 'x')], 2: 'int key'}");
    pn_data_free(d);
}

static void test_print_value_nested_too_deep_is_cut(void **state)
{
    (void)state;
    pn_data_t *d = pn_data(4);
    for (int i = 0; i < 5000; i++) {
        pn_data_put_list(d);
        pn_data_enter(d);
    }
    char *text = value_text(d, PRINT_HUMAN);
    assert_int_equal(strlen(text), 64 + 3 + 64);
    free(text);
    pn_data_free(d);
}

static void check_message(pn_message_t *m, const struct print_body *body, enum print_style style, const char *expected)
{
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    print_one_message(f, m, body, &(struct print_origin){.number = 3, .address = "q"}, style);
    fclose(f);
    assert_string_equal(text, expected);
    free(text);
}

static void test_print_message_shows_what_is_set(void **state)
{
    (void)state;
    pn_message_t *m = pn_message();
    pn_message_set_subject(m, "s");
    pn_message_set_durable(m, true);
    pn_message_set_priority(m, 9);
    pn_data_put_ulong(pn_message_correlation_id(m), 5);
    pn_data_t *p = pn_message_properties(m);
    pn_data_put_map(p);
    pn_data_enter(p);
    put_text(p, "k");
    pn_data_put_int(p, 1);
    pn_data_exit(p);
    struct print_body data = {.kind = PRINT_BODY_DATA, .bytes = pn_bytes(2, "hi")};
    check_message(m, &data, PRINT_HUMAN,
                  "message 3 from \"q\"\n  subject: \"s\"\n  correlation_id: 5\n  durable: true\n  priority: 9\n"
                  "  properties: {k: 1}\n  content: b\"hi\"\n");
    check_message(m, &data, PRINT_JSON,
                  "{\"number\": 3, \"source\": \"q\", \"subject\": \"s\", \"correlation_id\": 5, \"durable\": true, "
                  "\"priority\": 9, \"properties\": {\"k\": 1}, \"body\": \"data\", \"content\": \"hi\"}\n");
    check_message(m, &data, PRINT_PYTHON,
                  "Message(subject='s', correlation_id=5, durable=True, priority=9, properties={'k': 1}, "
                  "content=b'hi')\n");
    pn_message_free(m);
}

static void test_print_message_sequence_sections_are_lists(void **state)
{
    (void)state;
    pn_message_t *m = pn_message();
    struct print_body body = {.kind = PRINT_BODY_SEQUENCE, .values = pn_data(4)};
    for (int i = 1; i <= 2; i++) {
        pn_data_put_list(body.values);
        pn_data_enter(body.values);
        pn_data_put_int(body.values, i);
        pn_data_exit(body.values);
    }
    check_message(m, &body, PRINT_JSON,
                  "{\"number\": 3, \"source\": \"q\", \"body\": \"sequence\", \"content\": [[1], [2]]}\n");
    check_message(m, &body, PRINT_PYTHON, "Message(content=[1] + [2])\n");
    pn_data_free(body.values);
    pn_message_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print_scalars_in_each_style),
        cmocka_unit_test(test_print_text_of_a_peer_cannot_steer_the_terminal),
        cmocka_unit_test(test_print_binary_is_text_in_json_only_if_utf8),
        cmocka_unit_test(test_print_nested_map_list_and_described),
        cmocka_unit_test(test_print_value_nested_too_deep_is_cut),
        cmocka_unit_test(test_print_message_shows_what_is_set),
        cmocka_unit_test(test_print_message_sequence_sections_are_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
