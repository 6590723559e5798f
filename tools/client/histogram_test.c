#include "tools/client/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct histogram h;

static void test_histogram_small_values_are_exact(void **state)
{
    (void)state;
    memset(&h, 0, sizeof h);
    assert_int_equal(histogram_percentile(&h, 50), 0);
    for (uint64_t v = 1; v <= 100; v++)
        histogram_add(&h, v);
    assert_int_equal(histogram_percentile(&h, 0), 1);
    assert_int_equal(histogram_percentile(&h, 50), 50);
    assert_int_equal(histogram_percentile(&h, 99), 99);
    assert_int_equal(histogram_percentile(&h, 100), 100);
    assert_int_equal(h.min, 1);
    assert_true(histogram_mean(&h) == 50.5);
}

static void test_histogram_any_value_is_read_back_within_its_bucket(void **state)
{
    (void)state;
    uint64_t seed = 88172645463325252u;
    for (int i = 0; i < 100000; i++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        uint64_t v = seed >> (i % 64);
        memset(&h, 0, sizeof h);
        histogram_add(&h, v);
        histogram_add(&h, UINT64_MAX);
        uint64_t read = histogram_percentile(&h, 50);
        assert_true(read >= v);
        assert_true(read - v <= v / 64);
        if (i > 2000)
            i += 97;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histogram_small_values_are_exact),
        cmocka_unit_test(test_histogram_any_value_is_read_back_within_its_bucket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
