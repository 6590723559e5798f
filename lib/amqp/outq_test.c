#include "outq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static void test_outq_order_is_kept_at_any_consumption(void **state)
{
    (void)state;
    struct outq q = {0};
    struct buffer *shared = buffer_new(10000);
    uint8_t next = 0, expected = 0;
    for (int i = 0; i < 10000; i++)
        shared->bytes[i] = (uint8_t)i;
    unsigned seed = 3;
    size_t in = 0, out = 0;
    for (int i = 0; i < 20000; i++) {
        size_t n = (size_t)rand_r(&seed) % 700;
        if (rand_r(&seed) % 3 == 0) {
            /* a part of the shared octets that goes on where the last piece ended */
            outq_share(&q, shared, shared->bytes + next, n);
        } else {
            uint8_t *at = outq_room(&q, n + 50);
            for (size_t j = 0; j < n; j++)
                at[j] = (uint8_t)(next + j);
            outq_commit(&q, n);
        }
        next = (uint8_t)(next + n);
        in += n;
        assert_int_equal(q.pending, in - out);
        size_t eat = (size_t)rand_r(&seed) % 800;
        eat = eat < q.pending ? eat : q.pending;
        struct iovec iov[4];
        int pieces = outq_peek(&q, iov, 4);
        size_t seen = 0;
        for (int p = 0; p < pieces; p++)
            for (size_t j = 0; j < iov[p].iov_len && seen < eat; j++, seen++)
                assert_int_equal(((uint8_t *)iov[p].iov_base)[j], expected++);
        outq_consume(&q, seen);
        out += seen;
    }
    outq_fini(&q);
    assert_true(buffer_is_unshared(shared));
    buffer_unref(shared);
}

static void test_outq_empty_holds_nothing(void **state)
{
    (void)state;
    struct outq q = {0};
    outq_copy(&q, "hello", 5);
    outq_copy(&q, "", 0);
    assert_int_equal(q.count, 1);
    outq_consume(&q, 5);
    assert_null(q.tail);
    assert_null(q.pieces);
    assert_int_equal(q.pending, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outq_order_is_kept_at_any_consumption),
        cmocka_unit_test(test_outq_empty_holds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
