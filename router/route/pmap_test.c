#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <router/route/pmap.h>
#include <stdbool.h>
#include <stdio.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/list.h>

static int alive;

struct number {
    struct counted counted;
    int n;
};

static void number_free(struct counted *c)
{
    alive--;
    free(container_of(c, struct number, counted));
}

static struct counted *number(int n)
{
    struct number *made = xcalloc(1, sizeof *made);
    counted_init(&made->counted, number_free);
    made->n = n;
    alive++;
    return &made->counted;
}

static int get(struct pmap *m, int key)
{
    char text[16];
    size_t len = (size_t)snprintf(text, sizeof text, "k%d", key);
    struct counted *c = pmap_get(m, text, len);
    return c == NULL ? -1 : container_of(c, struct number, counted)->n;
}

static struct pmap *with(struct pmap *m, int key, int n)
{
    char text[16];
    size_t len = (size_t)snprintf(text, sizeof text, "k%d", key);
    struct pmap *next = pmap_with(m, text, len, number(n));
    return next;
}

static struct pmap *without(struct pmap *m, int key)
{
    char text[16];
    size_t len = (size_t)snprintf(text, sizeof text, "k%d", key);
    return pmap_without(m, text, len);
}

static void test_pmap_random_changes_equal_an_array(void **state)
{
    (void)state;
    enum { KEYS = 200, STEPS = 5000 };
    int model[KEYS], old_model[KEYS] = {0};
    struct pmap *m = NULL, *old = NULL;
    for (int i = 0; i < KEYS; i++)
        model[i] = -1;
    srand(7);
    for (int step = 0; step < STEPS; step++) {
        int key = rand() % KEYS;
        bool remove = rand() % 3 == 0;
        model[key] = remove ? -1 : step;
        struct pmap *next = remove ? without(m, key) : with(m, key, step);
        pmap_unref(m);
        m = next;
        if (step == STEPS / 2) {
            old = pmap_ref(m);
            for (int i = 0; i < KEYS; i++)
                old_model[i] = model[i];
        }
        if (step % 100 == 0)
            for (int i = 0; i < KEYS; i++)
                assert_int_equal(get(m, i), model[i]);
    }
    for (int i = 0; i < KEYS; i++) {
        assert_int_equal(get(m, i), model[i]);
        assert_int_equal(get(old, i), old_model[i]);
    }
    pmap_unref(m);
    pmap_unref(old);
    assert_int_equal(alive, 0);
}

static void test_pmap_prefix_of_a_key_is_another_key(void **state)
{
    (void)state;
    struct pmap *m = pmap_with(NULL, "ab", 2, number(1));
    assert_null(pmap_get(m, "a", 1));
    assert_null(pmap_get(m, "abc", 3));
    assert_null(pmap_get(m, "", 0));
    struct pmap *next = pmap_with(m, "", 0, number(2));
    assert_non_null(pmap_get(next, "", 0));
    assert_non_null(pmap_get(next, "ab", 2));
    pmap_unref(m);
    pmap_unref(next);
    assert_int_equal(alive, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pmap_random_changes_equal_an_array),
        cmocka_unit_test(test_pmap_prefix_of_a_key_is_another_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
