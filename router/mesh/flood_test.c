#include "flood.h"

#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

static void test_flood_copies_within_hold_not_passed_on(void **state)
{
    (void)state;
    struct flood *f = flood_new(2000);
    struct flood_mark ra = {1, 5, 2, 3}, mau = {4, 0, 0, 3};
    assert_true(flood_pass(f, 9, &ra, 100));
    assert_false(flood_pass(f, 9, &ra, 101));
    assert_false(flood_pass(f, 9, &ra, 2099));
    assert_true(flood_pass(f, 9, &mau, 101));
    assert_true(flood_pass(f, 8, &ra, 101)); /* another router's */
    assert_true(flood_pass(f, 9, &ra, 2100));
    assert_false(flood_pass(f, 9, &ra, 4099));
    flood_forget(f, 9);
    assert_true(flood_pass(f, 9, &ra, 4099));
    flood_forget(f, 1000); /* never heard of */
    flood_free(&f);
}

static void test_flood_several_at_a_time_remembered(void **state)
{
    (void)state;
    struct flood *f = flood_new(2000);
    for (int64_t seq = 1; seq <= 8; seq++)
        assert_true(flood_pass(f, 1, &(struct flood_mark){4, 0, 0, seq}, 100));
    for (int64_t seq = 1; seq <= 8; seq++)
        assert_false(flood_pass(f, 1, &(struct flood_mark){4, 0, 0, seq}, 200));
    flood_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flood_copies_within_hold_not_passed_on),
        cmocka_unit_test(test_flood_several_at_a_time_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
