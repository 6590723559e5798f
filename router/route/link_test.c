#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/link.h>

static struct link_slots *slots;

static int setup(void **state)
{
    (void)state;
    slots = link_slots_new(3);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    link_slots_free(&slots);
    return 0;
}

static void test_link_slots_find_by_token(void **state)
{
    (void)state;
    struct link a, b;
    link_slots_add(slots, &a);
    link_slots_add(slots, &b);
    assert_int_equal(a.token.worker, 3);
    assert_ptr_equal(link_slots_find(slots, a.token), &a);
    assert_ptr_equal(link_slots_find(slots, b.token), &b);
}

static void test_link_slots_old_token_of_a_used_again_slot_finds_nothing(void **state)
{
    (void)state;
    struct link a, b;
    link_slots_add(slots, &a);
    struct link_token old = a.token;
    link_slots_remove(slots, &a);
    assert_null(link_slots_find(slots, old));
    link_slots_add(slots, &b);
    assert_int_equal(b.token.index, old.index);
    assert_null(link_slots_find(slots, old));
    assert_ptr_equal(link_slots_find(slots, b.token), &b);
}

static void test_link_slots_index_out_of_range_finds_nothing(void **state)
{
    (void)state;
    assert_null(link_slots_find(slots, (struct link_token){.index = 1000000}));
}

static void test_link_slots_walk_sees_each_once(void **state)
{
    (void)state;
    static struct link all[100];
    for (int i = 0; i < 100; i++)
        link_slots_add(slots, &all[i]);
    for (int i = 0; i < 100; i += 3)
        link_slots_remove(slots, &all[i]);
    uint32_t at = 0;
    int n = 0;
    for (struct link *l; (l = link_slots_next(slots, &at)); n++)
        assert_true((l - all) % 3 != 0);
    assert_int_equal(n, 66);
}

static void test_link_stats_rate_counts_five_seconds(void **state)
{
    (void)state;
    struct link_stats s;
    memset(&s, 0, sizeof s);
    for (int second = 100; second < 110; second++)
        link_stats_settled(&s, second * 1000, 50);
    assert_int_equal(link_stats_settle_rate(&s, 109 * 1000), 50);
    assert_int_equal(link_stats_settle_rate(&s, 111 * 1000), 30);
    assert_int_equal(link_stats_settle_rate(&s, 200 * 1000), 0);
    link_stats_settled(&s, 200 * 1000, 10);
    assert_int_equal(link_stats_settle_rate(&s, 200 * 1000), 2);
}

static void test_link_stats_stuck_only_without_settlement(void **state)
{
    (void)state;
    struct link_stats s;
    memset(&s, 0, sizeof s);
    assert_int_equal(link_stats_stuck(&s, 1000000, 10000), 0);
    link_stats_in_hand(&s, 1000, 3);
    assert_int_equal(link_stats_stuck(&s, 5000, 10000), 0);
    assert_int_equal(link_stats_stuck(&s, 11000, 10000), 3);
    link_stats_settled(&s, 11000, 1);
    link_stats_in_hand(&s, 11000, 2);
    assert_int_equal(link_stats_stuck(&s, 12000, 10000), 0);
    assert_int_equal(link_stats_stuck(&s, 21000, 10000), 2);
    link_stats_in_hand(&s, 22000, 0);
    assert_int_equal(link_stats_stuck(&s, 99000, 10000), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_link_slots_find_by_token),
        TEST(test_link_slots_old_token_of_a_used_again_slot_finds_nothing),
        TEST(test_link_slots_index_out_of_range_finds_nothing),
        TEST(test_link_slots_walk_sees_each_once),
        TEST(test_link_stats_rate_counts_five_seconds),
        TEST(test_link_stats_stuck_only_without_settlement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
