#include "deliveries.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

struct seen {
    struct deliveries *m;
    uint32_t ids[4096], count;
    bool remove;
    uint32_t stop_at;
};

static bool see(struct amqp_delivery *d, void *arg)
{
    struct seen *s = arg;
    s->ids[s->count++] = d->id;
    if (s->remove)
        deliveries_remove(s->m, d);
    return s->count != s->stop_at;
}

static void test_deliveries_ids_wrap(void **state)
{
    (void)state;
    struct deliveries m = {0};
    for (uint32_t id = UINT32_MAX - 99; id != 100; id++)
        assert_int_equal(deliveries_add(&m, id)->id, id);
    assert_null(deliveries_add(&m, 3));
    assert_int_equal(m.count, 200);
    struct seen s = {.m = &m};
    deliveries_walk(&m, UINT32_MAX - 1, 2, see, &s);
    static const uint32_t around[] = {UINT32_MAX - 1, UINT32_MAX, 0, 1, 2};
    assert_int_equal(s.count, 5);
    assert_memory_equal(s.ids, around, sizeof around);
    s = (struct seen){.m = &m};
    deliveries_walk(&m, UINT32_MAX - 1000000000u, 1000000000u, see, &s);
    assert_int_equal(s.count, 200);
    for (uint32_t i = 0; i < 200; i++)
        assert_int_equal(s.ids[i], UINT32_MAX - 99 + i);
    deliveries_fini(&m);
}

static void test_deliveries_entries_do_not_move(void **state)
{
    (void)state;
    struct deliveries m = {0};
    struct amqp_delivery *kept = deliveries_add(&m, 12);
    kept->token[0] = 42;
    for (uint32_t id = 13; id < 5000; id++)
        deliveries_add(&m, id);
    for (uint32_t id = 13; id < 5000; id++)
        deliveries_remove(&m, deliveries_get(&m, id));
    assert_ptr_equal(deliveries_get(&m, 12), kept);
    assert_int_equal(kept->token[0], 42);
    assert_int_equal(m.count, 1);
    assert_true(m.mask < 256); /* the table has shrunk */
    deliveries_fini(&m);
}

static void test_deliveries_walk_survives_removal_and_stops(void **state)
{
    (void)state;
    struct deliveries m = {0};
    for (uint32_t id = 0; id < 100; id++)
        deliveries_add(&m, id * 3);
    struct seen s = {.m = &m, .remove = true, .stop_at = 10};
    deliveries_walk(&m, 0, 400, see, &s);
    assert_int_equal(s.count, 10);
    assert_int_equal(m.count, 90);
    s = (struct seen){.m = &m, .remove = true};
    deliveries_walk_all(&m, see, &s);
    assert_int_equal(s.count, 90);
    assert_int_equal(m.count, 0);
    assert_int_equal(m.pages, 0);
    deliveries_walk(&m, 0, 400, see, &s);
    assert_int_equal(s.count, 90);
    deliveries_fini(&m);
}

/* Against the simplest thing that can be right: a bit for each id. */
static void test_deliveries_random_work_agrees_with_a_bitmap(void **state)
{
    (void)state;
    struct deliveries m = {0};
    static bool there[4096];
    unsigned seed = 7;
    const uint32_t base = UINT32_MAX - 2000;
    for (int i = 0; i < 200000; i++) {
        uint32_t k = (uint32_t)rand_r(&seed) % 4096, id = base + k;
        switch (rand_r(&seed) % 8) {
        case 0:
        case 1:
        case 2:
            assert_int_equal(deliveries_add(&m, id) == NULL, there[k]);
            there[k] = true;
            break;
        case 7: {
            uint32_t n = (uint32_t)rand_r(&seed) % 64, last = k + n < 4096 ? k + n : 4095;
            struct seen s = {.m = &m, .remove = true};
            deliveries_walk(&m, id, base + last, see, &s);
            uint32_t expected = 0;
            for (uint32_t j = k; j <= last; j++) {
                if (there[j])
                    assert_int_equal(s.ids[expected++], base + j);
                there[j] = false;
            }
            assert_int_equal(s.count, expected);
            break;
        }
        default: {
            struct amqp_delivery *d = deliveries_get(&m, id);
            assert_int_equal(d != NULL, there[k]);
            if (d)
                deliveries_remove(&m, d);
            there[k] = false;
        }
        }
    }
    deliveries_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deliveries_ids_wrap),
        cmocka_unit_test(test_deliveries_entries_do_not_move),
        cmocka_unit_test(test_deliveries_walk_survives_removal_and_stops),
        cmocka_unit_test(test_deliveries_random_work_agrees_with_a_bitmap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
