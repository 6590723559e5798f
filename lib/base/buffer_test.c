#include <trunkline/base/buffer.h>

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <trunkline/base/assert.h>

static void test_buffer_counts_keep_it(void **state)
{
    (void)state;
    struct buffer *b = buffer_new(BUFFER_SIZE);
    assert_true(b->size >= BUFFER_SIZE);
    assert_true(buffer_is_unshared(b));
    assert_ptr_equal(buffer_ref(b), b);
    assert_false(buffer_is_unshared(b));
    memset(b->bytes, 7, b->size);
    buffer_unref(b);
    assert_true(buffer_is_unshared(b));
    assert_int_equal(b->bytes[b->size - 1], 7);
    buffer_unref(b);
    buffer_cache_trim();
}

static void test_buffer_odd_sizes_have_room(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 100, BUFFER_SIZE - 1, BUFFER_SIZE + 1, 3 * BUFFER_SIZE};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct buffer *b = buffer_new(sizes[i]);
        assert_true(b->size >= sizes[i]);
        memset(b->bytes, 1, b->size);
        buffer_unref(b);
    }
}

static void test_buffer_many_freed_at_once_are_reused_or_given_back(void **state)
{
    (void)state;
    struct buffer *many[200];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 200; i++) {
            many[i] = buffer_new(BUFFER_SIZE);
            many[i]->bytes[0] = (uint8_t)i;
            many[i]->bytes[BUFFER_SIZE - 1] = (uint8_t)i;
        }
        for (int i = 0; i < 200; i++) {
            assert_true(many[i]->bytes[0] == (uint8_t)i && many[i]->bytes[BUFFER_SIZE - 1] == (uint8_t)i);
            buffer_unref(many[i]);
        }
    }
    buffer_cache_trim();
}

/* Each thread reads, then gives up its count; the last one writes. ThreadSanitizer checks the order. */
static void *read_and_unref(void *arg)
{
    struct buffer *b = arg;
    unsigned sum = 0;
    for (int i = 0; i < 1000; i++)
        sum += b->bytes[i];
    ASSERT(sum == 1000);
    buffer_unref(b);
    return NULL;
}

static void test_buffer_shared_by_threads_is_writable_after_the_last(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct buffer *b = buffer_new(BUFFER_SIZE);
        memset(b->bytes, 1, 1000);
        pthread_t threads[4];
        for (int t = 0; t < 4; t++)
            pthread_create(&threads[t], NULL, read_and_unref, buffer_ref(b));
        while (!buffer_is_unshared(b))
            sched_yield();
        memset(b->bytes, 2, 1000);
        buffer_unref(b);
        for (int t = 0; t < 4; t++)
            pthread_join(threads[t], NULL);
    }
    buffer_cache_trim();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buffer_counts_keep_it),
        cmocka_unit_test(test_buffer_odd_sizes_have_room),
        cmocka_unit_test(test_buffer_many_freed_at_once_are_reused_or_given_back),
        cmocka_unit_test(test_buffer_shared_by_threads_is_writable_after_the_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
