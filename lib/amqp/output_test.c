#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "output.h"

/* A frame: size, then what it is and its number, then filling. */
enum { HEAD = 12 };

static void put(struct outq *q, uint8_t kind, uint32_t number, size_t size, struct buffer *shared)
{
    uint8_t head[HEAD] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size, kind};
    memcpy(head + 8, &number, sizeof number);
    outq_copy(q, head, HEAD);
    if (shared)
        outq_share(q, shared, shared->bytes, size - HEAD);
    else
        for (size_t i = HEAD; i < size; i++)
            outq_copy(q, "x", 1);
}

/* Up to n octets leave; they are appended at `to`. Result: how many. */
static size_t leave(struct output *o, uint8_t *to, size_t n, int pieces)
{
    struct iovec iov[8];
    int count = output_peek(o, iov, pieces);
    size_t some = 0;
    for (int i = 0; i < count && some < n; i++) {
        size_t part = iov[i].iov_len < n - some ? iov[i].iov_len : n - some;
        memcpy(to + some, iov[i].iov_base, part);
        some += part;
    }
    output_consume(o, some);
    return some;
}

static uint8_t kind_of(const uint8_t *frame)
{
    return frame[4];
}

static size_t size_of(const uint8_t *frame)
{
    return (size_t)frame[2] << 8 | frame[3];
}

static void test_output_urgent_goes_at_the_next_border(void **state)
{
    (void)state;
    struct output o = {0};
    uint8_t out[4096];
    uint64_t from = output_hurry(&o);
    for (uint32_t i = 0; i < 4; i++)
        put(&o.normal, 'n', i, 100, NULL);
    size_t n = leave(&o, out, 150, 8);
    put(output_urgent_queue(&o, from), 'u', 0, 20, NULL);
    while (output_pending(&o))
        n += leave(&o, out + n, 33, 8);
    assert_int_equal(n, 420);
    assert_int_equal(kind_of(out + 100), 'n');
    assert_int_equal(kind_of(out + 200), 'u');
    assert_int_equal(kind_of(out + 220), 'n');
    assert_int_equal(kind_of(out + 320), 'n');
    output_fini(&o);
}

/* Where it became urgent has left, but what it said soon after that waits still. */
static void test_output_frames_of_an_urgent_session_stay_in_order(void **state)
{
    (void)state;
    struct output o = {0};
    uint8_t out[4096];
    put(&o.normal, 'n', 0, 100, NULL);
    uint64_t from = output_hurry(&o);
    put(&o.normal, 'n', 1, 100, NULL);
    size_t n = 0;
    for (uint32_t i = 0; i < 3; i++) {
        struct outq *q = output_urgent_queue(&o, from);
        put(q, 'u', i, 20, NULL);
        output_queued(&o, q, &from);
        n += leave(&o, out + n, 100, 8);
    }
    while (output_pending(&o))
        n += leave(&o, out + n, 100, 8);
    assert_int_equal(n, 260);
    uint32_t next = 0;
    for (size_t at = 0; at < n; at += size_of(out + at))
        if (kind_of(out + at) == 'u')
            assert_int_equal(out[at + 8], next++);
    assert_int_equal(next, 3);
    output_fini(&o);
}

static void test_output_at_a_border_urgent_goes_at_once(void **state)
{
    (void)state;
    struct output o = {0};
    uint8_t out[4096];
    uint64_t from = output_hurry(&o);
    put(&o.normal, 'n', 0, 100, NULL);
    put(&o.normal, 'n', 1, 100, NULL);
    size_t n = leave(&o, out, 100, 8);
    put(output_urgent_queue(&o, from), 'u', 0, 20, NULL);
    n += leave(&o, out + n, 20, 8);
    assert_int_equal(kind_of(out + 100), 'u');
    assert_int_equal(o.urgent.pending, 0);
    output_fini(&o);
}

/* What the session has said before is still on its way. */
static void test_output_session_that_becomes_urgent_keeps_its_order(void **state)
{
    (void)state;
    struct output o = {0};
    uint8_t out[4096];
    outq_copy(&o.normal, "AMQP\0\1\0\0", 8);
    put(&o.normal, 's', 0, 50, NULL);
    size_t n = leave(&o, out, 30, 8);
    uint64_t from = output_hurry(&o);
    put(&o.normal, 'n', 0, 100, NULL);
    assert_ptr_equal(output_urgent_queue(&o, from), &o.normal);
    put(output_urgent_queue(&o, from), 's', 1, 20, NULL);
    n += leave(&o, out + n, 28, 8); /* the first of it has left */
    put(output_urgent_queue(&o, from), 's', 2, 20, NULL);
    assert_int_equal(o.urgent.pending, 20);
    output_fini(&o);
}

static void test_output_protocol_header_is_stepped_over(void **state)
{
    (void)state;
    struct output o = {0};
    uint8_t out[4096];
    uint64_t from = output_hurry(&o);
    outq_copy(&o.normal, "AMQP\0\1\0\0", 8);
    put(&o.normal, 'n', 0, 50, NULL);
    put(&o.normal, 'n', 1, 50, NULL);
    size_t n = leave(&o, out, 20, 8);
    put(output_urgent_queue(&o, from), 'u', 0, 20, NULL);
    while (output_pending(&o))
        n += leave(&o, out + n, 7, 8);
    assert_int_equal(kind_of(out + 8), 'n');
    assert_int_equal(kind_of(out + 58), 'u');
    assert_int_equal(kind_of(out + 78), 'n');
    output_fini(&o);
}

/* Frames of all sizes, some with shared payload, in pieces of all sizes: the stream is whole frames, each queue's in
 * order, and between an urgent frame's coming and its going at most one normal frame ends. */
static void test_output_any_pieces_frames_stay_whole_and_in_order(void **state)
{
    (void)state;
    unsigned seed = 5;
    struct output o = {0};
    struct buffer *shared = buffer_new(4096);
    memset(shared->bytes, 'y', 4096);
    enum { TOTAL = 4 << 20 };
    uint8_t *out = malloc(TOTAL + 65536);
    assert_non_null(out);
    size_t n = 0, at = 0;
    uint32_t put_normal = 0, put_urgent = 0, seen_normal = 0, seen_urgent = 0;
    uint64_t from = output_hurry(&o);
    while (n < TOTAL) {
        int what = rand_r(&seed) % 8;
        size_t size = HEAD + (size_t)rand_r(&seed) % 3000;
        if (what < 3 && o.normal.pending < 100000)
            put(&o.normal, 'n', put_normal++, size, what ? NULL : shared);
        else if (what == 3)
            put(output_urgent_queue(&o, from), 'u', put_urgent++, HEAD + size % 50, NULL);
        bool has_urgent = o.urgent.pending;
        n += leave(&o, out + n, (size_t)rand_r(&seed) % 2000, 1 + rand_r(&seed) % 8);
        int ended = 0;
        while (at + HEAD <= n && at + size_of(out + at) <= n) {
            uint32_t number;
            memcpy(&number, out + at + 8, sizeof number);
            if (kind_of(out + at) == 'n') {
                assert_int_equal(number, seen_normal++);
                ended++;
            } else {
                assert_int_equal(kind_of(out + at), 'u');
                assert_int_equal(number, seen_urgent++);
            }
            at += size_of(out + at);
        }
        assert_true(!has_urgent || ended <= 1);
    }
    assert_true(seen_urgent > 500);
    output_fini(&o);
    assert_true(buffer_is_unshared(shared));
    buffer_unref(shared);
    free(out);
}

static void test_output_without_urgent_sessions_follows_no_borders(void **state)
{
    (void)state;
    struct output o = {0};
    uint8_t out[64];
    outq_copy(&o.normal, "no frames at all", 16);
    assert_int_equal(leave(&o, out, 5, 8), 5);
    assert_int_equal(leave(&o, out, 50, 8), 11);
    assert_int_equal(output_pending(&o), 0);
    output_fini(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output_urgent_goes_at_the_next_border),
        cmocka_unit_test(test_output_frames_of_an_urgent_session_stay_in_order),
        cmocka_unit_test(test_output_at_a_border_urgent_goes_at_once),
        cmocka_unit_test(test_output_session_that_becomes_urgent_keeps_its_order),
        cmocka_unit_test(test_output_protocol_header_is_stepped_over),
        cmocka_unit_test(test_output_any_pieces_frames_stay_whole_and_in_order),
        cmocka_unit_test(test_output_without_urgent_sessions_follows_no_borders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
