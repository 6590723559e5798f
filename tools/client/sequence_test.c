#include "tools/client/sequence.h"

#include <setjmp.h>
#include <cmocka.h>

static void test_sequence_tells_missing_repeated_and_late(void **state)
{
    (void)state;
    struct sequence s = {0};
    struct fault why;
    static const uint64_t numbers[] = {1, 2, 5, 4, 5, 1, 200, 64};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_true(sequence_add(&s, numbers[i], &why));
    assert_int_equal(s.highest, 200);
    assert_int_equal(s.distinct, 6);
    assert_int_equal(s.repeated, 2);
    assert_int_equal(s.late, 2);
    assert_int_equal(sequence_missing(&s), 194);
    sequence_fini(&s);
}

static void test_sequence_absurd_number_is_refused(void **state)
{
    (void)state;
    struct sequence s = {0};
    struct fault why;
    assert_false(sequence_add(&s, 0, &why));
    assert_false(sequence_add(&s, SEQUENCE_LIMIT + 1, &why));
    assert_false(sequence_add(&s, UINT64_MAX, &why));
    assert_int_equal(s.words, 0);
    sequence_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequence_tells_missing_repeated_and_late),
        cmocka_unit_test(test_sequence_absurd_number_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
