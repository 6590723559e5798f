#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/outbox.h>
#include <router/route/rewrite.h>

static char said[1 << 16];
static struct letter *posted[1024];
static int posted_to[1024], posted_count;

static void on_post(int worker, struct letter *l)
{
    posted_to[posted_count] = worker;
    posted[posted_count++] = l;
}

static int readings;

static void on_frame(struct link_token to, const struct frame *f)
{
    if (f->reading) {
        readings++;
        assert_ptr_equal(f->reading->annotations.to.data, f->payload.data + 5);
        assert_memory_equal(f->reading->annotations.to.data, "there", f->reading->annotations.to.len);
    }
    snprintf(said + strlen(said), sizeof said - strlen(said), "frame to %u: %.*s%s; ", to.index, (int)f->payload.len,
             (const char *)f->payload.data, f->more ? " more" : "");
}

static void on_answer(const struct answer *a)
{
    snprintf(said + strlen(said), sizeof said - strlen(said), "link %u: %u-%u %u frames%s %x; ", a->link.index,
             a->first, a->last, a->frames, a->done ? " done" : "", a->state.code);
}

static void on_note(const struct link_note *n)
{
    snprintf(said + strlen(said), sizeof said - strlen(said), "note %u to %u from %u: %u%s %.*s; ", n->kind,
             n->to.index, n->from.index, n->number, n->flag ? " flag" : "", (int)n->octets.len,
             (const char *)n->octets.data);
}

static const struct outbox_handler handler = {.post = on_post, .frame = on_frame, .answer = on_answer, .note = on_note};

static struct outboxes *o;

static int setup(void **state)
{
    (void)state;
    o = outboxes_new(3, &handler);
    posted_count = 0;
    said[0] = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    outboxes_free(&o);
    return 0;
}

static void deliver_all(void)
{
    for (int i = 0; i < posted_count; i++)
        posted[i]->deliver(posted[i]);
    posted_count = 0;
}

static struct link_token token(uint32_t index, uint8_t worker)
{
    return (struct link_token){.index = index, .worker = worker};
}

static void put_frame(uint32_t index, const char *text)
{
    struct frame f = {.first = true, .payload = {.data = (const uint8_t *)text, .len = strlen(text)}};
    outbox_put_frame(o, token(index, 1), &f);
}

static void test_outbox_one_turn_is_one_letter_in_order(void **state)
{
    (void)state;
    put_frame(7, "one");
    put_frame(8, "two");
    assert_int_equal(posted_count, 0);
    assert_true(outboxes_flush(o));
    assert_int_equal(posted_count, 1);
    assert_int_equal(posted_to[0], 1);
    deliver_all();
    assert_string_equal(said, "frame to 7: one; frame to 8: two; ");
    assert_false(outboxes_flush(o));
}

static void test_outbox_notes_keep_their_place_between_frames(void **state)
{
    (void)state;
    put_frame(7, "one");
    struct link_note n = {.to = token(7, 1),
                          .from = token(3, 0),
                          .number = 9,
                          .kind = 4,
                          .flag = true,
                          .octets = {.data = (const uint8_t *)"abc", .len = 3}};
    outbox_put_note(o, &n);
    put_frame(7, "two");
    outboxes_flush(o);
    deliver_all();
    assert_string_equal(said, "frame to 7: one; note 4 to 7 from 3: 9 flag abc; frame to 7: two; ");
}

static void test_outbox_answers_that_adjoin_merge(void **state)
{
    (void)state;
    for (uint32_t id = 0xfffffffe; id != 3; id++) {
        struct answer a = {
            .link = token(4, 2), .first = id, .last = id, .done = true, .state = {.code = AMQP_ACCEPTED}};
        outbox_put_answer(o, &a);
    }
    outboxes_flush(o);
    deliver_all();
    assert_string_equal(said, "link 4: 4294967294-2 0 frames done 24; ");
}

static void test_outbox_answers_of_copies_do_not_merge(void **state)
{
    (void)state;
    for (uint32_t id = 1; id < 3; id++) {
        struct answer a = {.link = token(4, 2), .first = id, .last = id, .done = true, .flags = ORIGIN_COPY};
        outbox_put_answer(o, &a);
    }
    outboxes_flush(o);
    deliver_all();
    assert_string_equal(said, "link 4: 1-1 0 frames done 0; link 4: 2-2 0 frames done 0; ");
}

static void test_outbox_frames_left_of_one_delivery_merge(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct answer a = {.link = token(4, 2), .first = 9, .last = 9, .frames = 1};
        outbox_put_answer(o, &a);
    }
    outboxes_flush(o);
    deliver_all();
    assert_string_equal(said, "link 4: 9-9 5 frames 0; ");
}

static void test_outbox_large_payload_is_counted_and_given_back(void **state)
{
    (void)state;
    struct buffer *b = buffer_new(10000);
    memset(b->bytes, 'x', 10000);
    struct frame f = {.first = true, .payload = {.buf = b, .data = b->bytes, .len = 10000}};
    outbox_put_frame(o, token(1, 1), &f);
    assert_false(buffer_is_unshared(b));
    outboxes_flush(o);
    deliver_all();
    assert_true(buffer_is_unshared(b));
    buffer_unref(b);
}

/* What was read of a message is found in its copy, wherever that is. */
static void test_outbox_annotated_message_keeps_what_was_read_of_it(void **state)
{
    (void)state;
    struct buffer *b = buffer_new(10000);
    memset(b->bytes, 'x', 10000);
    memcpy(b->bytes + 5, "there", 5);
    const struct reading r = {.at = 3, .annotations = {.to = {.data = b->bytes + 5, .len = 5}}};
    /* In line, and counted. */
    for (size_t len = 10; len <= 10000; len += 9990) {
        struct frame f = {.first = true, .annotated = true, .reading = &r, .payload = {b, b->bytes, len}};
        outbox_put_frame(o, token(1, 1), &f);
        f.annotated = false; /* a client's is read again */
        outbox_put_frame(o, token(2, 1), &f);
    }
    outboxes_flush(o);
    readings = 0;
    deliver_all();
    assert_int_equal(readings, 2);
    buffer_unref(b);
}

static void test_outbox_more_than_a_batch_is_posted_early(void **state)
{
    (void)state;
    char text[1000];
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = 0;
    for (int i = 0; i < 50; i++)
        put_frame((uint32_t)i, text);
    assert_int_equal(posted_count, 0);
    for (int i = 0; i < 50; i++)
        put_frame((uint32_t)i, text);
    assert_true(posted_count >= 1);
    outboxes_flush(o);
    deliver_all();
    assert_non_null(strstr(said, "frame to 49: "));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_outbox_one_turn_is_one_letter_in_order),
        TEST(test_outbox_answers_that_adjoin_merge),
        TEST(test_outbox_answers_of_copies_do_not_merge),
        TEST(test_outbox_frames_left_of_one_delivery_merge),
        TEST(test_outbox_large_payload_is_counted_and_given_back),
        TEST(test_outbox_more_than_a_batch_is_posted_early),
        TEST(test_outbox_annotated_message_keeps_what_was_read_of_it),
        TEST(test_outbox_notes_keep_their_place_between_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
