#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/table.h>

static struct table *t;

static int play_control(void **state) NO_THREAD_SAFETY
{
    (void)state;
    thread_become_control();
    return 0;
}

static int setup(void **state)
{
    (void)state;
    rcu_reader_start();
    t = table_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    table_free(&t);
    rcu_reader_stop();
    rcu_barrier_all();
    return 0;
}

static void test_table_get_twice_gives_the_same_address(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct address *a = table_get(t, "M0a", DISTRIBUTION_CLOSEST, 3);
    assert_ptr_equal(table_get(t, "M0a", DISTRIBUTION_MULTICAST, 5), a);
    assert_int_equal(a->distribution, DISTRIBUTION_CLOSEST);
    assert_int_equal(table_count(t), 1);
}

static void test_table_find_takes_length_not_terminator(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct address *a = table_get(t, "M0abc", DISTRIBUTION_CLOSEST, -1);
    assert_ptr_equal(table_find(t, "M0abcdef", 5), a);
    assert_null(table_find(t, "M0abc", 4));
    assert_null(table_find(t, "M0abcd", 6));
}

static void test_table_new_address_has_empty_routes(void **state) NO_THREAD_SAFETY
{
    (void)state;
    assert_int_equal(address_routes(table_get(t, "M0a", DISTRIBUTION_CLOSEST, -1))->count, 0);
}

/* More addresses than heads, so that chains form, and taken out in another order than put in. */
static void test_table_many_addresses_come_and_go(void **state) NO_THREAD_SAFETY
{
    (void)state;
    enum { N = 100000 };
    char key[32];
    struct address **all = calloc(N, sizeof *all);
    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, "M0q/%d", i);
        all[i] = table_get(t, key, DISTRIBUTION_BALANCED, -1);
    }
    assert_int_equal(table_count(t), N);
    assert_int_equal(table_removals(t), 0);
    for (int i = 0; i < N; i += 2)
        table_remove(t, all[i]);
    assert_int_equal(table_removals(t), N / 2);
    for (int i = 0; i < N; i++) {
        int n = snprintf(key, sizeof key, "M0q/%d", i);
        assert_ptr_equal(table_find(t, key, (size_t)n), i % 2 ? all[i] : NULL);
    }
    assert_int_equal(table_count(t), N / 2);
    free(all);
}

static void test_table_published_routes_replace_the_last(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct address *a = table_get(t, "M0a", DISTRIBUTION_CLOSEST, -1);
    for (uint32_t n = 1; n < 5; n++) {
        address_publish(a, routes_new(n, 0));
        assert_int_equal(address_routes(a)->count, n);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_table_get_twice_gives_the_same_address),  TEST(test_table_find_takes_length_not_terminator),
        TEST(test_table_new_address_has_empty_routes),      TEST(test_table_many_addresses_come_and_go),
        TEST(test_table_published_routes_replace_the_last),
    };
    return cmocka_run_group_tests(tests, play_control, NULL);
}
