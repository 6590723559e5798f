#include <router/route/fake_engine.h>
#include <router/route/rewrite.h>
#include <trunkline/amqp/codec.h>

/* header(), properties() */
static const uint8_t plain[] = {0x00, 0x53, 0x70, 0x45, 0x00, 0x53, 0x73, 0x45};
static const struct slice plain_message = {.data = plain, .len = sizeof plain};
static const struct tidings nowhere;

static struct slice node(const char *id)
{
    return (struct slice){.data = (const uint8_t *)id, .len = strlen(id)};
}

static int setup_here(void **state)
{
    setup(state);
    world.node_id = node("0/A");
    return 0;
}

static struct reading read_well(const struct slice *message)
{
    struct amqp_message_view v;
    struct reading r;
    const char *why;
    assert_int_not_equal(amqp_message_scan(message->data, message->len, AMQP_SECTION_MESSAGE_ANNOTATIONS, &v),
                         ERR_INVALID);
    assert_int_equal(reading_init(&r, message->data, &v, &why), OK);
    return r;
}

/* What it is when it is read as a whole, which a reading that is known must not change. */
static struct slice for_router(const struct slice *message, const struct tidings *tidings)
{
    struct rewritten w, x;
    struct reading known = read_well(message);
    assert_true(rewrite_for_router(message, NULL, tidings, &w));
    assert_true(rewrite_for_router(message, &known, tidings, &x));
    assert_int_equal(w.replaced, x.replaced);
    assert_int_equal(w.front.len, x.front.len);
    assert_memory_equal(w.front.data, x.front.data, w.front.len);
    struct slice whole = rewritten_whole(message, &w);
    rewritten_fini(&w);
    rewritten_fini(&x);
    return whole;
}

static void test_rewrite_for_router_writes_ingress_trace_and_destination(void **state)
{
    (void)state;
    const struct tidings to = {.for_ = {.text = node("q"), .phase = 3}, .exchanged = node("it")};
    struct slice sent = for_router(&plain_message, &to);
    /* The section stands behind the header, and the rest behind it. */
    assert_memory_equal(sent.data, plain, 4);
    assert_memory_equal(sent.data + sent.len - 4, plain + 4, 4);
    struct amqp_annotations a = read_well(&sent).annotations;
    assert_true(a.by_router);
    assert_true(amqp_slice_is(a.to, "q"));
    assert_true(amqp_slice_is(a.exchanged, "it"));
    assert_int_equal(a.phase, 3);
    assert_true(amqp_slice_is(a.ingress, "0/A"));
    assert_int_equal(a.trace.count, 1);
    /* The next router keeps both and adds itself. */
    world.node_id = node("0/B");
    struct slice on = for_router(&sent, &nowhere);
    struct amqp_annotations b = read_well(&on).annotations;
    assert_true(amqp_slice_is(b.ingress, "0/A"));
    assert_true(amqp_slice_is(b.to, "q"));
    assert_true(amqp_slice_is(b.exchanged, "it"));
    assert_int_equal(b.phase, 3);
    assert_int_equal(b.trace.count, 2);
    buffer_unref(sent.buf);
    buffer_unref(on.buf);
}

static void test_rewrite_for_router_writes_this_one_once_where_it_was_the_last(void **state)
{
    (void)state;
    struct slice once = for_router(&plain_message, &nowhere), twice = for_router(&once, &nowhere);
    assert_int_equal(read_well(&twice).annotations.trace.count, 1);
    /* The end of another's id is not this one. */
    world.node_id = node("0/00/A");
    struct slice other = for_router(&plain_message, &nowhere);
    world.node_id = node("0/A");
    struct slice both = for_router(&other, &nowhere);
    assert_int_equal(read_well(&both).annotations.trace.count, 2);
    buffer_unref(once.buf);
    buffer_unref(twice.buf);
    buffer_unref(other.buf);
    buffer_unref(both.buf);
}

static void test_rewrite_for_router_of_a_long_address_needs_more_room(void **state)
{
    (void)state;
    static char text[2000];
    memset(text, 'x', sizeof text);
    const struct tidings to = {.for_ = {.text = {.data = (const uint8_t *)text, .len = sizeof text}}};
    struct slice sent = for_router(&plain_message, &to);
    assert_int_equal(read_well(&sent).annotations.to.len, sizeof text);
    buffer_unref(sent.buf);
}

static void test_rewrite_for_interior_says_only_where_it_goes(void **state)
{
    (void)state;
    struct rewritten w;
    struct reading known = read_well(&plain_message);
    assert_false(rewrite_for_interior(&plain_message, &known, &nowhere, &w));
    const struct tidings to = {.for_ = {.text = node("q")}};
    struct slice sent = for_router(&plain_message, &to);
    assert_true(rewrite_for_interior(&sent, NULL, &nowhere, &w));
    struct slice up = rewritten_whole(&sent, &w);
    struct amqp_annotations a = read_well(&up).annotations;
    assert_true(amqp_slice_is(a.to, "q"));
    assert_null(a.ingress.data);
    assert_int_equal(a.trace.count, 0);
    rewritten_fini(&w);
    buffer_unref(sent.buf);
    buffer_unref(up.buf);
}

static struct slice bare_of(const struct slice *message, const struct reading *known)
{
    struct rewritten w;
    assert_true(rewrite_bare(message, known, false, &w));
    struct slice bare = rewritten_whole(message, &w);
    rewritten_fini(&w);
    return bare;
}

/* Both ways, by what is known and by looking at the message, it is `wanted`. */
static void assert_bare(const struct slice *message, const uint8_t *wanted, size_t n)
{
    struct reading known = read_well(message);
    struct slice bare = bare_of(message, NULL), quick = bare_of(message, &known);
    assert_int_equal(bare.len, n);
    assert_memory_equal(bare.data, wanted, n);
    assert_int_equal(quick.len, n);
    assert_memory_equal(quick.data, wanted, n);
    buffer_unref(bare.buf);
    buffer_unref(quick.buf);
}

static void test_rewrite_bare_is_what_the_client_sent(void **state)
{
    (void)state;
    struct slice sent = for_router(&plain_message, &nowhere);
    assert_bare(&sent, plain, sizeof plain);
    buffer_unref(sent.buf);
    /* header(), {b: "c"} */
    static const uint8_t with_own[] = {0, 0x53, 0x70, 0x45, 0, 0x53, 0x72, 0xc1, 7, 2, 0xa3, 1, 'b', 0xa1, 1, 'c'};
    const struct slice message = {.data = with_own, .len = sizeof with_own};
    sent = for_router(&message, &nowhere);
    assert_bare(&sent, with_own, sizeof with_own);
    buffer_unref(sent.buf);
}

static void test_rewrite_bare_keeps_what_stands_behind_the_entries_of_routers(void **state)
{
    (void)state;
    /* {x-opt-qd.to: "q", b: "c"} and {b: "c"} */
    static const uint8_t mixed[] = {0,   0x53, 0x72, 0xc1, 23,  4,    0xa3, 11,  'x',  '-', 'o', 'p',  't', '-',
                                    'q', 'd',  '.',  't',  'o', 0xa1, 1,    'q', 0xa3, 1,   'b', 0xa1, 1,   'c'};
    static const uint8_t wanted[] = {0, 0x53, 0x72, 0xc1, 7, 2, 0xa3, 1, 'b', 0xa1, 1, 'c'};
    const struct slice message = {.data = mixed, .len = sizeof mixed};
    assert_true(read_well(&message).annotations.is_mixed);
    assert_bare(&message, wanted, sizeof wanted);
}

static void test_rewrite_of_what_is_no_message_fails(void **state)
{
    (void)state;
    struct rewritten w;
    const struct slice garbage = {.data = (const uint8_t *)"garbage", .len = 7};
    assert_false(rewrite_for_router(&garbage, NULL, &nowhere, &w));
    assert_false(rewrite_for_interior(&garbage, NULL, &nowhere, &w));
    assert_false(rewrite_bare(&garbage, NULL, false, &w));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_here, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_rewrite_for_router_writes_ingress_trace_and_destination),
        TEST(test_rewrite_for_router_writes_this_one_once_where_it_was_the_last),
        TEST(test_rewrite_for_router_of_a_long_address_needs_more_room),
        TEST(test_rewrite_for_interior_says_only_where_it_goes),
        TEST(test_rewrite_bare_is_what_the_client_sent),
        TEST(test_rewrite_bare_keeps_what_stands_behind_the_entries_of_routers),
        TEST(test_rewrite_of_what_is_no_message_fails),
    };
    return cmocka_run_group_tests(tests, play_control, NULL);
}
