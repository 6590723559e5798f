#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/hello_watch.h>
#include <trunkline/amqp/codec.h>

/* properties(to), value: a text. Result: its length. */
static size_t make(uint8_t out[256], const char *to, const char *body)
{
    struct amqp_writer w = amqp_writer(out, 256);
    amqp_write_descriptor(&w, 0x73);
    size_t list = amqp_write_list_begin(&w);
    amqp_write_null(&w);
    amqp_write_null(&w);
    amqp_write_string_of(&w, to);
    amqp_write_list_end(&w, list, 3);
    amqp_write_descriptor(&w, 0x77);
    amqp_write_string_of(&w, body);
    return w.len;
}

static bool comes(struct hello_watch *w, const char *to, const char *body, mono_ms now)
{
    uint8_t octets[256];
    size_t n = make(octets, to, body);
    return hello_watch_repeats(w, octets, n, now);
}

static const char hello[] = "amqp:/_local/qdhello";

static void test_hello_watch_steady_repeats_need_no_look(void **state)
{
    (void)state;
    struct hello_watch w = {0};
    uint32_t gap;
    assert_false(comes(&w, hello, "A", 1000));
    assert_false(comes(&w, hello, "A", 1080)); /* control has not said that it knows */
    hello_watch_set_steady(&w, true);
    assert_true(comes(&w, hello, "A", 1160));
    assert_true(comes(&w, hello, "A", 1290));
    assert_int_equal(hello_watch_take(&w, &gap), 1290);
    assert_int_equal(gap, 130);
    assert_true(comes(&w, hello, "A", 1370));
    assert_int_equal(hello_watch_take(&w, &gap), 1370);
    assert_int_equal(gap, 80);
    assert_int_equal(hello_watch_take(&w, &gap), 1370);
    assert_int_equal(gap, 0);
    hello_watch_set_steady(&w, false);
    assert_false(comes(&w, hello, "A", 1450));
    hello_watch_fini(&w);
}

static void test_hello_watch_another_hello_is_looked_at_once(void **state)
{
    (void)state;
    struct hello_watch w = {0};
    hello_watch_set_steady(&w, true);
    assert_false(comes(&w, hello, "A", 1));
    assert_true(comes(&w, hello, "A", 2));
    assert_false(comes(&w, hello, "A, which hears nobody", 3));
    assert_true(comes(&w, hello, "A, which hears nobody", 4));
    assert_false(comes(&w, hello, "A", 5));
    hello_watch_fini(&w);
}

static void test_hello_watch_other_messages_are_always_looked_at(void **state)
{
    (void)state;
    struct hello_watch w = {0};
    uint32_t gap;
    hello_watch_set_steady(&w, true);
    for (int i = 0; i < 3; i++)
        assert_false(comes(&w, "amqp:/_topo/0/all/qdrouter", "A", 10 + i));
    assert_false(hello_watch_repeats(&w, (const uint8_t *)"garbage", 7, 20));
    assert_false(hello_watch_repeats(&w, (const uint8_t *)"", 0, 20));
    assert_int_equal(hello_watch_take(&w, &gap), 0);
    assert_null(w.last);
    hello_watch_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_watch_steady_repeats_need_no_look),
        cmocka_unit_test(test_hello_watch_another_hello_is_looked_at_once),
        cmocka_unit_test(test_hello_watch_other_messages_are_always_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
