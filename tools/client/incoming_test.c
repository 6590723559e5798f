#include "tools/client/incoming.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define FEED(in, literal) feed(in, literal, sizeof(literal) - 1)

static void feed(struct incoming *in, const char *bytes, size_t size)
{
    struct fault why = {""};
    if (!incoming_feed(in, (const uint8_t *)bytes, size, &why))
        fail_msg("%s", why.text);
}

static char *printed(struct incoming *in, enum print_style style)
{
    pn_message_t *head;
    struct print_body body;
    struct fault why = {""};
    if (!incoming_message(in, &head, &body, &why))
        fail_msg("%s", why.text);
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    print_one_message(f, head, &body, &(struct print_origin){.number = 1}, style);
    fclose(f);
    return text;
}

static void check_prints(struct incoming *in, const char *expected)
{
    char *text = printed(in, PRINT_PYTHON);
    assert_string_equal(text, expected);
    free(text);
    incoming_reset(in);
}

static const struct incoming_conf whole = {.want_head = true, .want_body = true, .limit = 1000};

static void test_incoming_data_sections_are_joined(void **state)
{
    (void)state;
    struct incoming *in = incoming_new(&whole);
    FEED(in, "\0\x53\x70\xc0\x02\x01\x41\0\x53\x75\xa0\x02"
             "ab\0\x53\x75\xb0\0\0");
    FEED(in, "\0\x01"
             "c\0\x53\x78\xc1\x01\0");
    check_prints(in, "Message(durable=True, content=b'abc')\n");
    FEED(in, "\0\x53\x75\xa0\0");
    check_prints(in, "Message(content=b'')\n");
    incoming_free(&in);
}

static void test_incoming_values_and_sequences_are_decoded(void **state)
{
    (void)state;
    struct incoming *in = incoming_new(&whole);
    FEED(in, "\0\x53\x77\xc1\x06\x02\xa1\x01k\x54\x05");
    check_prints(in, "Message(content={'k': 5})\n");
    FEED(in, "\0\x53\x77\0\xa3\x01x\x41");
    check_prints(in, "Message(content=Described('x', True))\n");
    FEED(in, "\0\x53\x77\x40");
    check_prints(in, "Message(content=None)\n");
    FEED(in, "\0\x53\x76\xc0\x03\x01\x54\x01\0\x80\0\0\0\0\0\0\0\x76\xc0\x03\x01\x54\x02");
    check_prints(in, "Message(content=[1] + [2])\n");
    check_prints(in, "Message(content='')\n");
    incoming_free(&in);
}

static void test_incoming_content_passes_through_and_other_values_as_kept(void **state)
{
    (void)state;
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    struct incoming_conf conf = {.content = f, .limit = 4};
    struct incoming *in = incoming_new(&conf);
    /* Longer than what may be kept: it passes. */
    FEED(in, "\0\x53\x75\xa0\x08"
             "longdata");
    incoming_reset(in);
    FEED(in, "\0\x53\x77\xa1\x05hello");
    incoming_reset(in);
    struct fault why = {""};
    assert_false(incoming_feed(in, (const uint8_t *)"\0\x53\x77\xc0\x05\x01\xa1\x02hi", 11, &why));
    assert_non_null(strstr(why.text, "larger than the 4 bytes"));
    incoming_free(&in);
    fclose(f);
    assert_string_equal(text, "longdatahello");
    free(text);
}

static void test_incoming_more_than_the_limit_is_refused(void **state)
{
    (void)state;
    struct incoming *in = incoming_new(&whole);
    char data[2000] = "\0\x53\x75\xb0\0\0\x07\xc8";
    struct fault why = {""};
    assert_false(incoming_feed(in, (const uint8_t *)data, sizeof data, &why));
    assert_non_null(strstr(why.text, "larger than the 1000 bytes"));
    incoming_reset(in);
    FEED(in, "\0\x53\x75\xa0\x01x");
    check_prints(in, "Message(content=b'x')\n");
    incoming_free(&in);
}

static void test_incoming_sections_that_do_not_decode_are_told(void **state)
{
    (void)state;
    struct incoming *torn = incoming_new(&whole);
    FEED(torn, "\0\x53\x77\xc1\x03\x02\xa1\x7f"); /* a map whose key is longer than the map */
    pn_message_t *head;
    struct print_body body;
    struct fault reason = {""};
    assert_false(incoming_message(torn, &head, &body, &reason));
    assert_non_null(strstr(reason.text, "decode"));
    incoming_free(&torn);
    struct incoming *in = incoming_new(&whole);
    struct fault why = {""};
    assert_false(incoming_feed(in, (const uint8_t *)"\0\x53\x75\x45", 4, &why));
    assert_non_null(strstr(why.text, "instead of binary"));
    incoming_free(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_incoming_data_sections_are_joined),
        cmocka_unit_test(test_incoming_values_and_sequences_are_decoded),
        cmocka_unit_test(test_incoming_content_passes_through_and_other_values_as_kept),
        cmocka_unit_test(test_incoming_more_than_the_limit_is_refused),
        cmocka_unit_test(test_incoming_sections_that_do_not_decode_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
