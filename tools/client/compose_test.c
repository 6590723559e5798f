#include "tools/client/compose.h"

#include <proton/message.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static pn_message_t *made(struct compose *c, uint64_t n, const pn_bytes_t *content)
{
    pn_bytes_t bytes;
    struct fault why = {""};
    if (!compose_message(c, n, content, &bytes, &why))
        fail_msg("%s", why.text);
    pn_message_t *m = pn_message();
    assert_int_equal(pn_message_decode(m, bytes.start, bytes.size), 0);
    return m;
}

static void check_data(pn_data_t *data, const char *expected)
{
    char out[500];
    size_t size = sizeof out - 1;
    pn_data_rewind(data);
    assert_int_equal(pn_data_format(data, out, &size), 0);
    out[size] = '\0';
    assert_string_equal(out, expected);
}

static struct compose *composer(const struct compose_conf *conf, const char *to)
{
    struct compose *c;
    struct fault why = {""};
    if (!compose_new(conf, to, &c, &why))
        fail_msg("%s", why.text);
    return c;
}

static void test_compose_number_and_stamp_are_each_messages_own(void **state)
{
    (void)state;
    struct compose_conf conf = {.priority = -1,
                                .number = true,
                                .stamp = true,
                                .request = true,
                                .body = COMPOSE_STRING,
                                .content = pn_bytes(2, "hi")};
    struct compose *c = composer(&conf, NULL);
    static const uint64_t numbers[] = {1, 2, 300, UINT64_MAX};
    for (size_t i = 0; i < 4; i++) {
        int64_t before = tool_epoch_ns();
        pn_message_t *m = made(c, numbers[i], NULL);
        int64_t after = tool_epoch_ns();
        assert_true(pn_message_get_id(m).u.as_ulong == numbers[i]);
        assert_true(pn_message_get_correlation_id(m).u.as_ulong == numbers[i]);
        check_data(pn_message_body(m), "\"hi\"");
        pn_data_t *p = pn_message_properties(m);
        pn_data_rewind(p);
        pn_data_next(p);
        assert_int_equal(pn_data_get_map(p), 4);
        pn_data_enter(p);
        pn_data_next(p);
        pn_data_next(p);
        assert_true(pn_data_get_ulong(p) == numbers[i]);
        pn_data_next(p);
        pn_data_next(p);
        assert_int_equal(pn_data_type(p), PN_LONG);
        assert_true(pn_data_get_long(p) >= before && pn_data_get_long(p) <= after);
        pn_message_free(m);
    }
    compose_free(&c);
    assert_null(c);
}

static void test_compose_every_field_is_set(void **state)
{
    (void)state;
    struct fault why;
    struct compose_conf conf = {.id = "m-{n}",
                                .correlation_id = "c{n}{n}",
                                .user_id = "u",
                                .subject = "s{n}",
                                .reply_to = "r",
                                .content_type = "t/x",
                                .content_encoding = "gzip",
                                .group_id = "g",
                                .to = "to{n}",
                                .priority = 7,
                                .ttl_ms = 1500,
                                .durable = true,
                                .body = COMPOSE_MAP};
    assert_true(value_list_add_named(&conf.properties, "i:int={n}", &why));
    assert_true(value_list_add_named(&conf.annotations, "x-opt-a=b", &why));
    assert_true(value_list_add_named(&conf.items, "k:ubyte=1", &why));
    struct compose *c = composer(&conf, NULL);
    pn_message_t *m = made(c, 1234567, NULL);
    check_data(pn_message_id(m), "\"m-1234567\"");
    check_data(pn_message_correlation_id(m), "\"c12345671234567\"");
    assert_int_equal(pn_message_get_user_id(m).size, 1);
    assert_string_equal(pn_message_get_subject(m), "s1234567");
    assert_string_equal(pn_message_get_reply_to(m), "r");
    assert_string_equal(pn_message_get_content_type(m), "t/x");
    assert_string_equal(pn_message_get_content_encoding(m), "gzip");
    assert_string_equal(pn_message_get_group_id(m), "g");
    assert_string_equal(pn_message_get_address(m), "to1234567");
    assert_int_equal(pn_message_get_priority(m), 7);
    assert_int_equal(pn_message_get_ttl(m), 1500);
    assert_true(pn_message_is_durable(m));
    check_data(pn_message_properties(m), "{\"i\"=1234567}");
    check_data(pn_message_annotations(m), "{:\"x-opt-a\"=\"b\"}");
    check_data(pn_message_body(m), "{\"k\"=1}");
    pn_message_free(m);
    compose_free(&c);
    value_list_fini(&conf.properties);
    value_list_fini(&conf.annotations);
    value_list_fini(&conf.items);
}

static void test_compose_literal_leaves_braces(void **state)
{
    (void)state;
    struct compose_conf conf = {.subject = "{n}", .priority = -1, .literal = true, .body = COMPOSE_LIST};
    struct fault why;
    assert_true(value_list_add_plain(&conf.items, "{n}", &why));
    struct compose *c = composer(&conf, NULL);
    pn_message_t *m = made(c, 5, NULL);
    assert_string_equal(pn_message_get_subject(m), "{n}");
    check_data(pn_message_body(m), "[\"{n}\"]");
    pn_message_free(m);
    compose_free(&c);
    value_list_fini(&conf.items);
}

static void test_compose_own_content_does_not_stay_for_the_next(void **state)
{
    (void)state;
    struct compose_conf conf = {.priority = -1, .body = COMPOSE_DATA, .content = pn_bytes(1, "x")};
    struct compose *c = composer(&conf, "q");
    pn_bytes_t own = pn_bytes(3, "own");
    pn_message_t *first = made(c, 1, &own), *second = made(c, 2, NULL);
    assert_true(pn_message_is_inferred(first));
    check_data(pn_message_body(first), "b\"own\"");
    check_data(pn_message_body(second), "b\"x\"");
    assert_string_equal(pn_message_get_address(second), "q");
    pn_message_free(first);
    pn_message_free(second);
    compose_free(&c);
}

static void test_compose_reply_to_is_replaced(void **state)
{
    (void)state;
    struct compose_conf conf = {.priority = -1, .reply_to = "old"};
    struct compose *c = composer(&conf, NULL);
    struct fault why;
    assert_true(compose_set_reply_to(c, "a-longer-new-one", &why));
    pn_message_t *m = made(c, 1, NULL);
    assert_string_equal(pn_message_get_reply_to(m), "a-longer-new-one");
    pn_message_free(m);
    compose_free(&c);
}

static void test_compose_head_ends_before_any_body(void **state)
{
    (void)state;
    for (int body = COMPOSE_NOTHING; body <= COMPOSE_LIST; body++) {
        struct compose_conf conf = {.priority = -1, .subject = "s", .number = true, .body = (enum compose_body)body};
        struct compose *c = composer(&conf, NULL);
        pn_bytes_t head;
        struct fault why;
        assert_true(compose_head(c, 7, &head, &why));
        char whole[200];
        assert_true(head.size > 0 && head.size + 7 < sizeof whole);
        memcpy(whole, head.start, head.size);
        memcpy(whole + head.size, "\0\x53\x75\xa0\x02hi", 7);
        pn_message_t *m = pn_message();
        assert_int_equal(pn_message_decode(m, whole, head.size + 7), 0);
        assert_string_equal(pn_message_get_subject(m), "s");
        check_data(pn_message_properties(m), "{\"sn\"=7}");
        check_data(pn_message_body(m), "b\"hi\"");
        pn_message_free(m);
        compose_free(&c);
    }
}

static void test_compose_number_too_large_for_its_type_is_told(void **state)
{
    (void)state;
    struct compose_conf conf = {.priority = -1};
    struct fault why;
    assert_true(value_list_add_named(&conf.properties, "i:ubyte={n}", &why));
    struct compose *c = composer(&conf, NULL);
    pn_bytes_t bytes;
    assert_true(compose_message(c, 255, NULL, &bytes, &why));
    assert_false(compose_message(c, 256, NULL, &bytes, &why));
    assert_string_equal(why.text, "'256' is not a ubyte");
    compose_free(&c);
    value_list_fini(&conf.properties);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compose_number_and_stamp_are_each_messages_own),
        cmocka_unit_test(test_compose_every_field_is_set),
        cmocka_unit_test(test_compose_literal_leaves_braces),
        cmocka_unit_test(test_compose_own_content_does_not_stay_for_the_next),
        cmocka_unit_test(test_compose_reply_to_is_replaced),
        cmocka_unit_test(test_compose_head_ends_before_any_body),
        cmocka_unit_test(test_compose_number_too_large_for_its_type_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
