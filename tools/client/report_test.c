#include "tools/client/report.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char *summary(enum report_style style, const struct report *r)
{
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    report_summary(f, style, r);
    fclose(f);
    return text;
}

static void check(enum report_style style, const struct report *r, const char *expected)
{
    char *text = summary(style, r);
    assert_string_equal(text, expected);
    free(text);
}

static const struct report_count counts[] = {{"sent", 1234567, true}, {"rejected", 0, true}, {"resent", 0, false}};

static void test_report_text_leaves_out_unusual_zeros(void **state)
{
    (void)state;
    struct report r = {
        .tool = "t", .counts = counts, .count_count = 3, .messages = 1234567, .bytes = 5000000, .elapsed = 2000000};
    check(REPORT_TEXT, &r, "t: sent 1,234,567, rejected 0 in 2.000 s (617,283/s, 2.50 MB/s)\n");
    check(REPORT_NONE, &r, "");
    r.elapsed = 0;
    check(REPORT_TEXT, &r, "t: sent 1,234,567, rejected 0 in 0.000 s (0/s, 0.00 MB/s)\n");
}

static void test_report_json_has_all_and_escapes_the_error(void **state)
{
    (void)state;
    struct histogram *h = calloc(1, sizeof *h);
    histogram_add(h, 1000);
    struct report r = {.tool = "t",
                       .counts = counts,
                       .count_count = 3,
                       .messages = 10,
                       .elapsed = 1000000,
                       .latency = h,
                       .latency_name = "x",
                       .error = "a \"b\"\n"};
    check(REPORT_JSON, &r,
          "{\"tool\": \"t\", \"sent\": 1234567, \"rejected\": 0, \"resent\": 0, \"bytes\": 0, \"seconds\": 1.000000, "
          "\"rate\": 10.0, \"latency_us\": {\"count\": 1, \"min\": 1.000, \"p50\": 1.000, \"p90\": 1.000, \"p99\": "
          "1.000, "
          "\"p99.9\": 1.000, \"max\": 1.000, \"mean\": 1.000}, \"error\": \"a \\\"b\\\"\\n\"}\n");
    free(h);
}

static void check_end(const struct report *r, int status, const char *expected)
{
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    struct progress p = {.is_shown = true};
    assert_int_equal(report_end(&p, f, REPORT_TEXT, r), status);
    assert_false(p.is_shown);
    fclose(f);
    assert_string_equal(text, expected);
    free(text);
}

static void test_report_end_tells_the_error_before_the_summary_and_in_the_status(void **state)
{
    (void)state;
    struct report r = {.tool = "t", .counts = counts, .count_count = 1, .elapsed = 1000000};
    check_end(&r, TOOL_EXIT_OK, "\nt: sent 1,234,567 in 1.000 s (0/s, 0.00 MB/s)\n");
    r.error = "no luck";
    check_end(&r, TOOL_EXIT_FAILED, "\nt: no luck\nt: sent 1,234,567 in 1.000 s (0/s, 0.00 MB/s)\n");
}

static void test_report_commas_at_each_length(void **state)
{
    (void)state;
    char b[32];
    assert_string_equal(report_commas(0, b), "0");
    assert_string_equal(report_commas(999, b), "999");
    assert_string_equal(report_commas(1000, b), "1,000");
    assert_string_equal(report_commas(123456, b), "123,456");
    assert_string_equal(report_commas(UINT64_MAX, b), "18,446,744,073,709,551,615");
}

static void test_progress_shows_the_rate_since_the_last_line(void **state)
{
    (void)state;
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    struct progress p = {.interval = 1000000};
    struct report r = {.tool = "t", .counts = counts, .count_count = 1};
    assert_int_equal(progress_show(&p, f, 5000000, &r), 6000000);
    r.messages = 100;
    assert_int_equal(progress_show(&p, f, 5500000, &r), 6000000);
    assert_int_equal(progress_show(&p, f, 7000000, &r), 8000000);
    fclose(f);
    assert_string_equal(text, "t: sent 1,234,567 (now 50/s)\n");
    free(text);
    struct progress off = {0};
    assert_int_equal(progress_show(&off, stderr, 1, &r), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report_text_leaves_out_unusual_zeros),
        cmocka_unit_test(test_report_json_has_all_and_escapes_the_error),
        cmocka_unit_test(test_report_end_tells_the_error_before_the_summary_and_in_the_status),
        cmocka_unit_test(test_report_commas_at_each_length),
        cmocka_unit_test(test_progress_shows_the_rate_since_the_last_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
