#include <trunkline/base/list.h>

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

struct item {
    int value;
    struct list node;
};

static void test_list_take_first_keeps_order(void **state)
{
    (void)state;
    struct list l = LIST_INIT(l);
    struct item items[3] = {{.value = 1}, {.value = 2}, {.value = 0}};
    list_append(&l, &items[0].node);
    list_append(&l, &items[1].node);
    list_prepend(&l, &items[2].node);
    for (int want = 0; want < 3; want++)
        assert_int_equal(list_entry(list_take_first(&l), struct item, node)->value, want);
    assert_null(list_take_first(&l));
    assert_true(list_is_empty(&l));
}

static void test_list_removed_node_can_be_removed_again(void **state)
{
    (void)state;
    struct list l = LIST_INIT(l);
    struct item a = {0}, b = {0};
    list_append(&l, &a.node);
    list_append(&l, &b.node);
    list_remove(&a.node);
    list_remove(&a.node);
    assert_false(list_is_linked(&a.node));
    assert_ptr_equal(list_first(&l, struct item, node), &b);
}

static void test_list_splice_moves_all_to_the_end(void **state)
{
    (void)state;
    struct list to = LIST_INIT(to), from = LIST_INIT(from);
    struct item items[4] = {{.value = 0}, {.value = 1}, {.value = 2}, {.value = 3}};
    list_splice(&to, &from); /* nothing to nothing */
    assert_true(list_is_empty(&to));
    list_append(&to, &items[0].node);
    list_append(&to, &items[1].node);
    list_append(&from, &items[2].node);
    list_append(&from, &items[3].node);
    list_splice(&to, &from);
    assert_true(list_is_empty(&from));
    int want = 0;
    list_for_each(n, &to) assert_int_equal(list_entry(n, struct item, node)->value, want++);
    assert_int_equal(want, 4);
}

static void test_list_walk_survives_removal_of_the_current(void **state)
{
    (void)state;
    struct list l = LIST_INIT(l);
    struct item items[4] = {0};
    for (int i = 0; i < 4; i++)
        list_append(&l, &items[i].node);
    int seen = 0;
    list_for_each_safe(n, &l)
    {
        list_remove(n);
        seen++;
    }
    assert_int_equal(seen, 4);
    assert_true(list_is_empty(&l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_take_first_keeps_order),
        cmocka_unit_test(test_list_removed_node_can_be_removed_again),
        cmocka_unit_test(test_list_splice_moves_all_to_the_end),
        cmocka_unit_test(test_list_walk_survives_removal_of_the_current),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
