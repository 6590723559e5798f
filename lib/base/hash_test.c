#include <trunkline/base/hash.h>

#include <stdlib.h>
#include <string.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#define KEYS 512

static void check_equal(struct u32map *m, void *const *model, uint32_t spread)
{
    uint32_t count = 0, found = 0;
    for (uint32_t k = 0; k < KEYS; k++) {
        assert_ptr_equal(u32map_get(m, k * spread), model[k]);
        count += model[k] != NULL;
    }
    assert_int_equal(m->count, count);
    uint32_t key;
    void *value;
    for (uint32_t i = 0; u32map_next(m, &i, &key, &value); found++)
        assert_ptr_equal(value, model[key / spread]);
    assert_int_equal(found, count);
}

/* Random puts and removals against a plain array; spread makes keys collide. */
static void run_against_model(uint32_t spread, unsigned seed)
{
    struct u32map m;
    u32map_init(&m);
    void *model[KEYS] = {0};
    for (int step = 0; step < 20000; step++) {
        uint32_t k = (uint32_t)rand_r(&seed) % KEYS;
        /* Waves, so that the map grows and shrinks. */
        if (rand_r(&seed) % 100 < (step / 2000 % 2 ? 20 : 80)) {
            void *value = &model[(uint32_t)rand_r(&seed) % KEYS];
            u32map_put(&m, k * spread, value);
            model[k] = value;
        } else {
            assert_ptr_equal(u32map_remove(&m, k * spread), model[k]);
            model[k] = NULL;
        }
        if (step % 500 == 0)
            check_equal(&m, model, spread);
    }
    check_equal(&m, model, spread);
    u32map_fini(&m);
}

static void test_u32map_random_changes_agree_with_model(void **state)
{
    (void)state;
    run_against_model(1, 1);
    run_against_model(64, 2);
    run_against_model(0x01000000 / KEYS * 8 + 1, 3);
    run_against_model(8388608, 4);
}

static void test_u32map_empty_has_no_memory(void **state)
{
    (void)state;
    struct u32map m;
    u32map_init(&m);
    assert_null(m.slots);
    assert_null(u32map_get(&m, 7));
    assert_null(u32map_remove(&m, 7));
    uint32_t i = 0, key;
    void *value;
    assert_false(u32map_next(&m, &i, &key, &value));
    u32map_fini(&m);
}

static void test_u32map_sliding_window_stays_small(void **state)
{
    (void)state;
    struct u32map m;
    u32map_init(&m);
    /* Delivery ids in flight, over the wrap of the serial number. */
    const uint32_t first = UINT32_MAX - 1000, window = 100;
    for (uint32_t i = 0; i < 100000; i++) {
        u32map_put(&m, first + i, &m);
        if (i >= window)
            assert_ptr_equal(u32map_remove(&m, first + i - window), &m);
        assert_true(m.mask < 256);
    }
    assert_int_equal(m.count, window);
    u32map_fini(&m);
}

static void test_u32map_shrinks_when_mostly_empty(void **state)
{
    (void)state;
    struct u32map m;
    u32map_init(&m);
    for (uint32_t i = 0; i < 10000; i++)
        u32map_put(&m, i, &m);
    uint32_t most = m.mask;
    for (uint32_t i = 0; i < 10000; i++)
        u32map_remove(&m, i);
    assert_true(most >= 10000 && m.mask < 16);
    u32map_fini(&m);
}

static void test_hash_octets_each_octet_counts(void **state)
{
    (void)state;
    unsigned char text[40];
    for (size_t n = 0; n <= sizeof text; n++) {
        memset(text, 'a', sizeof text);
        uint64_t plain = hash_octets(text, n);
        assert_true(plain == hash_octets(text, n));
        for (size_t i = 0; i < n; i++) {
            text[i] ^= 1;
            assert_true(plain != hash_octets(text, n));
            text[i] ^= 1;
        }
        /* Neither trailing zeros nor the length are lost. */
        memset(text, 0, sizeof text);
        if (n < sizeof text)
            assert_true(hash_octets(text, n) != hash_octets(text, n + 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_u32map_random_changes_agree_with_model),
        cmocka_unit_test(test_u32map_empty_has_no_memory),
        cmocka_unit_test(test_u32map_sliding_window_stays_small),
        cmocka_unit_test(test_u32map_shrinks_when_mostly_empty),
        cmocka_unit_test(test_hash_octets_each_octet_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
