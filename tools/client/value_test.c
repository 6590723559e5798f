#include "tools/client/value.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void check_formats_as(enum value_type type, const char *text, pn_type_t expected_type, const char *expected)
{
    pn_data_t *data = pn_data(1);
    struct fault why = {""};
    if (!value_put(data, type, text, &why))
        fail_msg("%s", why.text);
    pn_data_rewind(data);
    pn_data_next(data);
    assert_int_equal(pn_data_type(data), expected_type);
    char out[100];
    size_t size = sizeof out;
    assert_int_equal(pn_data_format(data, out, &size), 0);
    out[size] = '\0';
    assert_string_equal(out, expected);
    pn_data_free(data);
}

static void test_value_put_each_type_gives_that_type(void **state)
{
    (void)state;
    check_formats_as(VALUE_STRING, "01", PN_STRING, "\"01\"");
    check_formats_as(VALUE_NULL, "", PN_NULL, "null");
    check_formats_as(VALUE_BOOL, "true", PN_BOOL, "true");
    check_formats_as(VALUE_UBYTE, "255", PN_UBYTE, "255");
    check_formats_as(VALUE_BYTE, "-128", PN_BYTE, "-128");
    check_formats_as(VALUE_USHORT, "65535", PN_USHORT, "65535");
    check_formats_as(VALUE_SHORT, "-32768", PN_SHORT, "-32768");
    check_formats_as(VALUE_UINT, "4294967295", PN_UINT, "4294967295");
    check_formats_as(VALUE_INT, "-2147483648", PN_INT, "-2147483648");
    check_formats_as(VALUE_ULONG, "18446744073709551615", PN_ULONG, "18446744073709551615");
    check_formats_as(VALUE_LONG, "-9223372036854775808", PN_LONG, "-9223372036854775808");
    check_formats_as(VALUE_TIMESTAMP, "1700000000000", PN_TIMESTAMP, "1700000000000");
    check_formats_as(VALUE_DOUBLE, "1.5", PN_DOUBLE, "1.5");
    check_formats_as(VALUE_FLOAT, "0.25", PN_FLOAT, "0.25");
    check_formats_as(VALUE_SYMBOL, "s", PN_SYMBOL, ":s");
    check_formats_as(VALUE_BINARY, "0x00ff", PN_BINARY, "b\"\\x00\\xff\"");
    check_formats_as(VALUE_BINARY, "ab", PN_BINARY, "b\"ab\"");
    check_formats_as(VALUE_UUID, "00112233-4455-6677-8899-aabbccddeeff", PN_UUID,
                     "UUID(00112233-4455-6677-8899-aabbccddeeff)");
}

static void test_value_put_char_reads_utf8_and_code_point(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t code;
    } good[] = {
        {"x", 'x'}, {"\xc3\xa4", 0xe4}, {"\xe2\x82\xac", 0x20ac}, {"\xf0\x9f\x98\x80", 0x1f600}, {"U+1F600", 0x1f600}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        pn_data_t *data = pn_data(1);
        struct fault why;
        assert_true(value_put(data, VALUE_CHAR, good[i].text, &why));
        pn_data_rewind(data);
        pn_data_next(data);
        assert_int_equal(pn_data_get_char(data), good[i].code);
        pn_data_free(data);
    }
}

static void test_value_put_bad_text_is_refused(void **state)
{
    (void)state;
    static const struct {
        enum value_type type;
        const char *text;
    } bad[] = {
        {VALUE_UBYTE, "256"},  {VALUE_UBYTE, "-1"},       {VALUE_BYTE, "128"},  {VALUE_BYTE, "-129"},
        {VALUE_INT, ""},       {VALUE_INT, "1.5"},        {VALUE_INT, "-"},     {VALUE_ULONG, "18446744073709551616"},
        {VALUE_BOOL, "yes"},   {VALUE_DOUBLE, "x"},       {VALUE_CHAR, ""},     {VALUE_CHAR, "ab"},
        {VALUE_CHAR, "\xc3"},  {VALUE_CHAR, "U+110000"},  {VALUE_UUID, "0011"}, {VALUE_NULL, "x"},
        {VALUE_BINARY, "0xf"}, {VALUE_SYMBOL, "\xc3\xa4"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        pn_data_t *data = pn_data(1);
        struct fault why = {""};
        if (value_put(data, bad[i].type, bad[i].text, &why))
            fail_msg("'%s' was accepted", bad[i].text);
        assert_true(why.text[0] != '\0');
        assert_int_equal(pn_data_size(data), 0);
        pn_data_free(data);
    }
}

static void test_value_list_named_takes_name_type_and_text_apart(void **state)
{
    (void)state;
    struct value_list list = {0};
    struct fault why;
    assert_true(value_list_add_named(&list, "a=b=c", &why));
    assert_true(value_list_add_named(&list, "n:int=5", &why));
    assert_true(value_list_add_named(&list, "x:y:string=:=", &why));
    assert_true(value_list_add_named(&list, "i:int={n}", &why));
    assert_int_equal(list.count, 4);
    assert_string_equal(list.items[0].name, "a");
    assert_string_equal(list.items[0].text, "b=c");
    assert_int_equal(list.items[1].type, VALUE_INT);
    assert_string_equal(list.items[2].name, "x:y");
    assert_string_equal(list.items[2].text, ":=");
    assert_false(value_list_add_named(&list, "novalue", &why));
    assert_false(value_list_add_named(&list, "=x", &why));
    assert_false(value_list_add_named(&list, "a=again", &why));
    assert_false(value_list_add_named(&list, "m:int=x", &why));
    assert_false(value_list_add_named(&list, "m:itn=5", &why));
    assert_non_null(strstr(why.text, "unknown type 'itn'"));
    assert_int_equal(list.count, 4);
    value_list_fini(&list);
}

static void test_value_list_plain_only_a_type_name_is_a_prefix(void **state)
{
    (void)state;
    struct value_list list = {0};
    struct fault why;
    assert_true(value_list_add_plain(&list, "int:7", &why));
    assert_true(value_list_add_plain(&list, "http://x", &why));
    assert_int_equal(list.items[0].type, VALUE_INT);
    assert_string_equal(list.items[0].text, "7");
    assert_int_equal(list.items[1].type, VALUE_STRING);
    assert_string_equal(list.items[1].text, "http://x");
    assert_false(value_list_add_plain(&list, "int:x", &why));
    value_list_fini(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_value_put_each_type_gives_that_type),
        cmocka_unit_test(test_value_put_char_reads_utf8_and_code_point),
        cmocka_unit_test(test_value_put_bad_text_is_refused),
        cmocka_unit_test(test_value_list_named_takes_name_type_and_text_apart),
        cmocka_unit_test(test_value_list_plain_only_a_type_name_is_a_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
