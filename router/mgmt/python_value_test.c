#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <router/mgmt/failure.h>
#include <router/mgmt/python_test.h>
#include <router/mgmt/python_value.h>
#include <string.h>
#include <trunkline/amqp/print.h>

/* The encoded value as logs show it. */
static void check_encoded(const char *expression, const char *expected)
{
    assert_on_control();
    PyObject *value = python_test_value(expression);
    struct slice encoded = python_value_encode(value);
    Py_DECREF(value);
    char text[512];
    amqp_value_print(encoded, text, sizeof text);
    struct amqp_reader r = amqp_slice_reader(encoded);
    assert_int_equal(amqp_check(&r), OK);
    assert_int_equal(amqp_left(&r), 0);
    free((uint8_t *)encoded.data);
    assert_string_equal(text, expected);
}

static void test_python_value_each_type_is_encoded(void **state)
{
    (void)state;
    check_encoded("None", "null");
    check_encoded("True", "true");
    check_encoded("-5", "-5");
    check_encoded("1 << 40", "1099511627776");
    check_encoded("'text'", "\"text\"");
    check_encoded("{'a': [1, 'b', {}], 'c': None}", "{:a=[1, \"b\", {}], :c=null}");
    check_encoded("['x' * 3] * 100 and ['y' * 300]",
                  "[\""
                  "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
                  "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
                  "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
                  "\"]");
}

static void test_python_value_smallest_int_type_that_holds_it_is_taken(void **state)
{
    (void)state;
    assert_on_control();
    PyObject *value = python_test_value("2**31 - 1");
    struct slice encoded = python_value_encode(value);
    assert_int_equal(encoded.data[0], AMQP_CODE_INT);
    free((uint8_t *)encoded.data);
    Py_DECREF(value);
    value = python_test_value("2**31");
    encoded = python_value_encode(value);
    assert_int_equal(encoded.data[0], AMQP_CODE_LONG);
    free((uint8_t *)encoded.data);
    Py_DECREF(value);
}

static void check_refused(const char *expression, const char *error_repr)
{
    assert_on_control();
    PyObject *value = python_test_value(expression);
    struct slice encoded = python_value_encode(value);
    Py_DECREF(value);
    assert_int_equal(encoded.len, 0);
    char why[256];
    failure_take("Error", why, sizeof why);
    assert_string_equal(why, error_repr);
}

static void test_python_value_what_amqp_cannot_hold_is_refused(void **state)
{
    (void)state;
    python_test_run("import _trunkline\n"
                    "deep = []\n"
                    "for i in range(100): deep = [deep]\n");
    check_refused("2**63", "('Value', 'a number beyond 64 bits has no AMQP type')");
    check_refused("deep", "('Value', 'values lie deeper in each other than 32')");
    check_refused("[object()]", "('Type', 'a text was expected, not object')");
    check_refused("{1: 2}", "('Type', 'a text was expected, not int')");
    check_refused("'\\ud800'", "('Type', 'a text was expected, not str')");
}

static void check_properties(const void *octets, size_t n, const char *expected)
{
    assert_on_control();
    PyObject *dict = python_value_properties((struct slice){.data = octets, .len = n});
    PyObject *repr = PyObject_Repr(dict);
    assert_string_equal(PyUnicode_AsUTF8(repr), expected);
    Py_DECREF(repr);
    Py_DECREF(dict);
}

static void test_python_value_properties_show_texts_and_numbers_that_are_not_zero(void **state)
{
    (void)state;
    uint8_t octets[256];
    struct amqp_writer w = amqp_writer(octets, sizeof octets);
    size_t mark = amqp_write_map_begin(&w);
    amqp_write_symbol_of(&w, "product");
    amqp_write_string_of(&w, "x");
    amqp_write_string_of(&w, "symbol");
    amqp_write_symbol_of(&w, "y");
    amqp_write_symbol_of(&w, "zero");
    amqp_write_int(&w, 0);
    amqp_write_symbol_of(&w, "int");
    amqp_write_int(&w, -7);
    amqp_write_symbol_of(&w, "list");
    amqp_write_list_end(&w, amqp_write_list_begin(&w), 0);
    amqp_write_symbol_of(&w, "long");
    amqp_write_long(&w, 1LL << 40);
    amqp_write_symbol_of(&w, "uint");
    amqp_write_uint(&w, 5);
    amqp_write_symbol_of(&w, "not utf-8");
    amqp_write_string(&w, "\xff", 1);
    amqp_write_map_end(&w, mark, 16);
    check_properties(octets, w.len,
                     "{'product': 'x', 'symbol': 'y', 'int': -7, 'long': 1099511627776, 'not utf-8': '\xef\xbf\xbd'}");
}

static void test_python_value_malformed_properties_end_early(void **state)
{
    (void)state;
    check_properties("", 0, "{}");
    check_properties("\x40", 1, "{}");
    check_properties("\xc1\x07\x04\xa3\x01k\xa1\x7fx", 9, "{}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_python_value_each_type_is_encoded),
        cmocka_unit_test(test_python_value_smallest_int_type_that_holds_it_is_taken),
        cmocka_unit_test(test_python_value_what_amqp_cannot_hold_is_refused),
        cmocka_unit_test(test_python_value_properties_show_texts_and_numbers_that_are_not_zero),
        cmocka_unit_test(test_python_value_malformed_properties_end_early),
    };
    return cmocka_run_group_tests(tests, python_test_start, python_test_stop);
}
