#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <router/route/stamp.h>
#include <stdatomic.h>

static bool passes(struct stamps *all, uint64_t source, uint64_t number)
{
    return stamps_pass(all, &(struct stamp){source, number});
}

static void test_stamp_tag_there_and_back_is_the_same(void **state)
{
    (void)state;
    uint8_t tag[STAMP_TAG_LEN];
    struct stamp s = {.source = 0x1122334455667788, .number = 0x99aabbccddeeff00};
    stamp_to_tag(&s, tag);
    assert_int_equal(tag[0], 'm');
    assert_int_equal(tag[1], 0x88);
    struct stamp back = stamp_from_tag((struct slice){.data = tag, .len = sizeof tag});
    assert_true(back.source == s.source && back.number == s.number);
}

static void test_stamp_other_tags_are_none(void **state)
{
    (void)state;
    uint8_t tag[STAMP_TAG_LEN + 1] = {'m', 1};
    assert_int_equal(stamp_from_tag((struct slice){.data = tag, .len = 8}).number, 0);
    assert_int_equal(stamp_from_tag((struct slice){.data = tag, .len = sizeof tag}).number, 0);
    assert_int_equal(stamp_from_tag((struct slice){0}).number, 0);
    memset(tag, 'x', sizeof tag);
    assert_int_equal(stamp_from_tag((struct slice){.data = tag, .len = STAMP_TAG_LEN}).number, 0);
}

static void test_stamps_first_passes_and_no_second_in_any_order(void **state)
{
    (void)state;
    struct stamps *all = stamps_new();
    const uint64_t order[] = {3, 1, 2, 200, 70, 5, 64, 63, 65, 128};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        assert_true(passes(all, 7, order[i]));
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        assert_false(passes(all, 7, order[i]));
    assert_true(passes(all, 7, 4));
    stamps_free(&all);
    assert_null(all);
}

static void test_stamps_sources_are_apart(void **state)
{
    (void)state;
    struct stamps *all = stamps_new();
    assert_true(passes(all, 1, 1));
    assert_true(passes(all, 2, 1));
    assert_false(passes(all, 1, 1));
    assert_false(passes(all, 2, 1));
    stamps_free(&all);
}

static void test_stamps_window_moves_and_what_is_older_passes(void **state)
{
    (void)state;
    struct stamps *all = stamps_new();
    assert_true(passes(all, 1, 1));
    assert_true(passes(all, 1, 2));
    assert_true(passes(all, 1, STAMP_WINDOW + 1)); /* 2 is the oldest that is remembered */
    assert_false(passes(all, 1, 2));
    assert_true(passes(all, 1, 1));
    assert_true(passes(all, 1, 3));
    assert_false(passes(all, 1, 3));
    assert_true(passes(all, 1, UINT64_MAX)); /* far ahead: nothing is known of any other */
    assert_false(passes(all, 1, UINT64_MAX));
    assert_true(passes(all, 1, UINT64_MAX - 1));
    assert_false(passes(all, 1, UINT64_MAX - 1));
    stamps_free(&all);
}

/* Each number in turn, each twice, through several windows. */
static void test_stamps_long_row_passes_once_each(void **state)
{
    (void)state;
    struct stamps *all = stamps_new();
    for (uint64_t n = 1; n <= 5 * STAMP_WINDOW; n++) {
        assert_true(passes(all, 1, n));
        assert_false(passes(all, 1, n > 500 ? n - 500 : n));
    }
    stamps_free(&all);
}

static void test_stamps_too_many_sources_forget_the_one_silent_for_longest(void **state)
{
    (void)state;
    struct stamps *all = stamps_new();
    for (uint64_t source = 1; source <= STAMP_SOURCES_MAX; source++)
        assert_true(passes(all, source, 1));
    assert_false(passes(all, 1, 1)); /* has spoken again: 2 is the oldest */
    assert_true(passes(all, STAMP_SOURCES_MAX + 1, 1));
    assert_false(passes(all, 1, 1));
    assert_true(passes(all, 2, 1));
    stamps_free(&all);
}

static struct stamps *shared;
static _Atomic uint32_t shared_passed;

static void *pass_all(void *unused)
{
    for (uint64_t n = 1; n <= 20000; n++)
        if (passes(shared, 1, n))
            atomic_fetch_add(&shared_passed, 1);
    return unused;
}

static void test_stamps_two_threads_pass_each_once(void **state)
{
    (void)state;
    pthread_t other;
    shared = stamps_new();
    assert_int_equal(pthread_create(&other, NULL, pass_all, NULL), 0);
    pass_all(NULL);
    pthread_join(other, NULL);
    assert_int_equal(shared_passed, 20000);
    stamps_free(&shared);
}

static void test_stamp_start_draws_different_sources(void **state)
{
    (void)state;
    struct stamp a, b;
    stamp_start(&a);
    stamp_start(&b);
    assert_true(a.source != b.source);
    assert_int_equal(a.number, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stamp_tag_there_and_back_is_the_same),
        cmocka_unit_test(test_stamp_other_tags_are_none),
        cmocka_unit_test(test_stamps_first_passes_and_no_second_in_any_order),
        cmocka_unit_test(test_stamps_sources_are_apart),
        cmocka_unit_test(test_stamps_window_moves_and_what_is_older_passes),
        cmocka_unit_test(test_stamps_long_row_passes_once_each),
        cmocka_unit_test(test_stamps_too_many_sources_forget_the_one_silent_for_longest),
        cmocka_unit_test(test_stamps_two_threads_pass_each_once),
        cmocka_unit_test(test_stamp_start_draws_different_sources),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
