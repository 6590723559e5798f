#include "tools/client/tool.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void test_tool_number_rejects_sign_blank_rest_and_range(void **state)
{
    (void)state;
    struct fault why;
    uint64_t v = 7;
    const char *bad[] = {"", "-1", "+1", " 1", "1x", "0x10", "18446744073709551616", "11", "1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(tool_number(bad[i], 2, 10, &v, &why));
    assert_int_equal(v, 7);
    assert_string_equal(why.text, "'1' is out of range: allowed are 2 to 10");
    assert_true(tool_number("10", 2, 10, &v, &why));
    assert_int_equal(v, 10);
    assert_true(tool_number("18446744073709551615", 0, UINT64_MAX, &v, &why));
    assert_true(v == UINT64_MAX);
}

static void test_tool_size_with_suffix_multiplies(void **state)
{
    (void)state;
    struct fault why;
    uint64_t v;
    assert_true(tool_size("12", UINT64_MAX, &v, &why));
    assert_int_equal(v, 12);
    assert_true(tool_size("3k", UINT64_MAX, &v, &why));
    assert_int_equal(v, 3072);
    assert_true(tool_size("10G", UINT64_MAX, &v, &why));
    assert_true(v == 10ull << 30);
    assert_false(tool_size("G", UINT64_MAX, &v, &why));
    assert_false(tool_size("1T", UINT64_MAX, &v, &why));
    assert_false(tool_size("2M", 1 << 20, &v, &why));
    assert_false(tool_size("17179869184G", UINT64_MAX, &v, &why));
}

static void test_tool_seconds_fraction_becomes_microseconds(void **state)
{
    (void)state;
    struct fault why;
    int64_t us;
    assert_true(tool_seconds("0.25", &us, &why));
    assert_int_equal(us, 250000);
    assert_false(tool_seconds("-1", &us, &why));
    assert_false(tool_seconds("nan", &us, &why));
    assert_false(tool_seconds("1s", &us, &why));
    assert_false(tool_seconds("", &us, &why));
}

static void test_tool_earlier_of_two_times_where_0_is_none(void **state)
{
    (void)state;
    assert_int_equal(tool_earlier(3, 5), 3);
    assert_int_equal(tool_earlier(5, 3), 3);
    assert_int_equal(tool_earlier(0, 5), 5);
    assert_int_equal(tool_earlier(5, 0), 5);
    assert_int_equal(tool_earlier(0, 0), 0);
}

static void test_tool_secret_file_strips_blanks_at_both_ends(void **state)
{
    (void)state;
    char path[] = "/tmp/tool_test.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    static const char text[] = "\n  se cret \r\n";
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    struct fault why;
    char *secret = NULL;
    assert_true(tool_secret_file(path, &secret, &why));
    assert_string_equal(secret, "se cret");
    free(secret);
    unlink(path);
    assert_false(tool_secret_file(path, &secret, &why));
    assert_non_null(strstr(why.text, path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tool_number_rejects_sign_blank_rest_and_range),
        cmocka_unit_test(test_tool_size_with_suffix_multiplies),
        cmocka_unit_test(test_tool_seconds_fraction_becomes_microseconds),
        cmocka_unit_test(test_tool_earlier_of_two_times_where_0_is_none),
        cmocka_unit_test(test_tool_secret_file_strips_blanks_at_both_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
