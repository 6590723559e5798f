#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/edge_wire.h>
#include <trunkline/amqp/codec.h>

/* What an old edge router asked for the sender of closest/i (exchange 07c, frame 42), and what its interior router
 * answered (44) and told later (50, 68), without the transfer and the annotations of routers. */
static const uint8_t asked[] = {
    0x00, 0x53, 0x70, 0xd0, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x01, 0x42, 0x00, 0x53, 0x72, 0xc1, 0x38, 0x04,
    0xa3, 0x10, 'x',  '-',  'o',  'p',  't',  '-',  'q',  'd',  '.',  'i',  'n',  'g',  'r',  'e',  's',  's',  0xa1,
    0x07, '0',  '/',  'E',  'D',  'G',  'E',  '1',  0xa3, 0x0e, 'x',  '-',  'o',  'p',  't',  '-',  'q',  'd',  '.',
    't',  'r',  'a',  'c',  'e',  0xc0, 0x0a, 0x01, 0xa1, 0x07, '0',  '/',  'E',  'D',  'G',  'E',  '1',  0x00, 0x53,
    0x73, 0xd0, 0x00, 0x00, 0x00, 0x4f, 0x00, 0x00, 0x00, 0x06, 0x40, 0x40, 0x40, 0x40, 0xa1, 0x24, 'a',  'm',  'q',
    'p',  ':',  '/',  '_',  't',  'o',  'p',  'o',  '/',  '0',  '/',  'A',  '/',  't',  'e',  'm',  'p',  '.',  'N',
    'd',  '_',  '_',  'r',  'n',  'c',  'A',  '0',  'g',  'q',  'V',  'h',  'W',  'D',  0xa1, 0x1f, 'c',  'l',  'i',
    'e',  'n',  't',  '-',  '0',  '0',  '0',  '0',  '0',  '0',  '0',  '0',  '6',  'b',  '0',  '0',  '2',  '3',  '7',
    '2',  '3',  '8',  '7',  'e',  '7',  '4',  'b',  'f',  0x00, 0x53, 0x74, 0xd1, 0x00, 0x00, 0x00, 0x19, 0x00, 0x00,
    0x00, 0x04, 0xa1, 0x07, 'v',  'e',  'r',  's',  'i',  'o',  'n',  0x52, 0x01, 0xa1, 0x06, 'o',  'p',  'c',  'o',
    'd',  'e',  0x52, 0x01, 0x00, 0x53, 0x77, 0xd0, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x02, 0xa1, 0x09, 'c',
    'l',  'o',  's',  'e',  's',  't',  '/',  'i',  0x41,
};
static const uint8_t answered[] = {
    0x00, 0x53, 0x70, 0xd0, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x01, 0x42, 0x00, 0x53, 0x73, 0xd0, 0x00,
    0x00, 0x00, 0x4f, 0x00, 0x00, 0x00, 0x06, 0x40, 0x40, 0xa1, 0x24, 'a',  'm',  'q',  'p',  ':',  '/',  '_',
    't',  'o',  'p',  'o',  '/',  '0',  '/',  'A',  '/',  't',  'e',  'm',  'p',  '.',  'N',  'd',  '_',  '_',
    'r',  'n',  'c',  'A',  '0',  'g',  'q',  'V',  'h',  'W',  'D',  0x40, 0x40, 0xa1, 0x1f, 'c',  'l',  'i',
    'e',  'n',  't',  '-',  '0',  '0',  '0',  '0',  '0',  '0',  '0',  '0',  '6',  'b',  '0',  '0',  '2',  '3',
    '7',  '2',  '3',  '8',  '7',  'e',  '7',  '4',  'b',  'f',  0x00, 0x53, 0x74, 0xd1, 0x00, 0x00, 0x00, 0x23,
    0x00, 0x00, 0x00, 0x06, 0xa1, 0x07, 'v',  'e',  'r',  's',  'i',  'o',  'n',  0x52, 0x01, 0xa1, 0x06, 'o',
    'p',  'c',  'o',  'd',  'e',  0x52, 0x01, 0xa1, 0x06, 's',  't',  'a',  't',  'u',  's',  0x52, 0x03, 0x00,
    0x53, 0x77, 0xd0, 0x00, 0x00, 0x00, 0x06, 0x00, 0x00, 0x00, 0x02, 0x42, 0x42,
};
static const uint8_t told[] = {
    0x00, 0x53, 0x70, 0xd0, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x01, 0x42,
    0x00, 0x53, 0x77, 0xd0, 0x00, 0x00, 0x00, 0x12, 0x00, 0x00, 0x00, 0x02, 0xa1,
    0x0b, 'M',  '0',  'c',  'l',  'o',  's',  'e',  's',  't',  '/',  'i',  0x41,
};

static void test_edge_wire_recorded_lookup_is_read(void **state)
{
    (void)state;
    struct edge_lookup l;
    assert_int_equal(edge_wire_read_lookup(asked, sizeof asked, &l), OK);
    assert_true(amqp_slice_is(l.reply_to, "amqp:/_topo/0/A/temp.Nd__rncA0gqVhWD"));
    assert_true(amqp_slice_is(l.address, "closest/i"));
    assert_true(l.is_sender);
    assert_int_equal(l.correlation.len, 33); /* with its constructor and size */
}

static void test_edge_wire_answer_is_the_recorded_one(void **state)
{
    (void)state;
    struct edge_lookup l;
    const struct edge_lookup_answer not_found = {.status = EDGE_LOOKUP_NOT_FOUND};
    uint8_t out[512];
    assert_int_equal(edge_wire_read_lookup(asked, sizeof asked, &l), OK);
    assert_int_equal(edge_wire_write_answer(out, sizeof out, &l, &not_found), sizeof answered);
    assert_memory_equal(out, answered, sizeof answered);
}

static void test_edge_wire_tracking_is_the_recorded_one(void **state)
{
    (void)state;
    uint8_t out[128];
    assert_int_equal(edge_wire_write_tracking(NULL, 0, "M0closest/i", true), sizeof told);
    assert_int_equal(edge_wire_write_tracking(out, sizeof out, "M0closest/i", true), sizeof told);
    assert_memory_equal(out, told, sizeof told);
    edge_wire_write_tracking(out, sizeof out, "M0closest/i", false);
    assert_int_equal(out[sizeof told - 1], AMQP_CODE_FALSE);
}

static void test_edge_wire_lookup_cut_anywhere_is_refused(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof asked; n++) {
        struct edge_lookup l;
        uint8_t *part = malloc(n ? n : 1); /* of this size, so that a look beyond its end is seen by sanitizers */
        memcpy(part, asked, n);
        assert_int_equal(edge_wire_read_lookup(part, n, &l), ERR_INVALID);
        free(part);
    }
}

static void test_edge_wire_lookup_of_another_version_or_opcode_is_refused(void **state)
{
    (void)state;
    static const char *const keys[] = {"version", "opcode"};
    for (int i = 0; i < 2; i++) {
        uint8_t other[sizeof asked];
        struct edge_lookup l;
        memcpy(other, asked, sizeof asked);
        uint8_t *key = memmem(other, sizeof other, keys[i], strlen(keys[i]));
        assert_non_null(key);
        key[strlen(keys[i]) + 1] = 2;
        assert_int_equal(edge_wire_read_lookup(other, sizeof other, &l), ERR_INVALID);
    }
}

static void test_edge_wire_lookup_is_the_recorded_one(void **state)
{
    (void)state;
    struct edge_lookup l;
    uint8_t out[512];
    assert_int_equal(edge_wire_read_lookup(asked, sizeof asked, &l), OK);
    size_t n = edge_wire_write_lookup(out, sizeof out, &l);
    /* Without the annotations of routers, which come as the message leaves. */
    const size_t header = 15, annotations = 5 + 0x38;
    assert_int_equal(n, sizeof asked - annotations);
    assert_memory_equal(out, asked, header);
    assert_memory_equal(out + header, asked + header + annotations, n - header);
}

static void test_edge_wire_recorded_answer_is_read(void **state)
{
    (void)state;
    struct slice correlation;
    struct edge_lookup_answer a = {.is_link_route = true, .has_destinations = true};
    assert_int_equal(edge_wire_read_answer(answered, sizeof answered, &correlation, &a), OK);
    assert_true(amqp_slice_is(correlation, "client-000000006b002372387e74bf"));
    assert_int_equal(a.status, EDGE_LOOKUP_NOT_FOUND);
    assert_false(a.is_link_route || a.has_destinations);
}

static void test_edge_wire_recorded_tracking_is_read(void **state)
{
    (void)state;
    struct slice key;
    bool has = false;
    assert_int_equal(edge_wire_read_tracking(told, sizeof told, &key, &has), OK);
    assert_true(amqp_slice_is(key, "M0closest/i"));
    assert_true(has);
}

static void test_edge_wire_answer_and_tracking_cut_anywhere_are_refused(void **state)
{
    (void)state;
    struct slice s;
    struct edge_lookup_answer a;
    bool has;
    for (size_t n = 0; n < sizeof answered; n++) {
        uint8_t *part = malloc(n ? n : 1);
        memcpy(part, answered, n);
        assert_int_equal(edge_wire_read_answer(part, n, &s, &a), ERR_INVALID);
        free(part);
    }
    for (size_t n = 0; n < sizeof told; n++) {
        uint8_t *part = malloc(n ? n : 1);
        memcpy(part, told, n);
        assert_int_equal(edge_wire_read_tracking(part, n, &s, &has), ERR_INVALID);
        free(part);
    }
}

/* 07e, frame 38, without the annotations of routers. */
static const uint8_t created[] = {
    0x00, 0x53, 0x70, 0xd0, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x01, 0x42, 0x00, 0x53, 0x73, 0xd0, 0x00, 0x00,
    0x00, 0x4f, 0x00, 0x00, 0x00, 0x06, 0x40, 0x40, 0x40, 0x40, 0xa1, 0x24, 0x61, 0x6d, 0x71, 0x70, 0x3a, 0x2f, 0x5f,
    0x74, 0x6f, 0x70, 0x6f, 0x2f, 0x30, 0x2f, 0x41, 0x2f, 0x74, 0x65, 0x6d, 0x70, 0x2e, 0x42, 0x49, 0x30, 0x78, 0x6c,
    0x79, 0x53, 0x4e, 0x76, 0x51, 0x74, 0x4f, 0x59, 0x76, 0x47, 0xa1, 0x1f, 0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74, 0x2d,
    0x30, 0x30, 0x30, 0x30, 0x30, 0x30, 0x30, 0x30, 0x36, 0x62, 0x30, 0x30, 0x32, 0x33, 0x37, 0x66, 0x32, 0x36, 0x66,
    0x39, 0x64, 0x30, 0x35, 0x39, 0x00, 0x53, 0x74, 0xd1, 0x00, 0x00, 0x00, 0x74, 0x00, 0x00, 0x00, 0x06, 0xa1, 0x09,
    0x6f, 0x70, 0x65, 0x72, 0x61, 0x74, 0x69, 0x6f, 0x6e, 0xa1, 0x06, 0x43, 0x52, 0x45, 0x41, 0x54, 0x45, 0xa1, 0x04,
    0x74, 0x79, 0x70, 0x65, 0xa1, 0x34, 0x6f, 0x72, 0x67, 0x2e, 0x61, 0x70, 0x61, 0x63, 0x68, 0x65, 0x2e, 0x71, 0x70,
    0x69, 0x64, 0x2e, 0x64, 0x69, 0x73, 0x70, 0x61, 0x74, 0x63, 0x68, 0x2e, 0x72, 0x6f, 0x75, 0x74, 0x65, 0x72, 0x2e,
    0x63, 0x6f, 0x6e, 0x6e, 0x65, 0x63, 0x74, 0x69, 0x6f, 0x6e, 0x2e, 0x6c, 0x69, 0x6e, 0x6b, 0x52, 0x6f, 0x75, 0x74,
    0x65, 0xa1, 0x04, 0x6e, 0x61, 0x6d, 0x65, 0xa1, 0x19, 0x45, 0x44, 0x47, 0x45, 0x31, 0x2f, 0x70, 0x72, 0x6f, 0x78,
    0x79, 0x4c, 0x69, 0x6e, 0x6b, 0x52, 0x6f, 0x75, 0x74, 0x65, 0x2f, 0x43, 0x65, 0x6c, 0x72, 0x00, 0x53, 0x77, 0xd1,
    0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x08, 0xa1, 0x04, 0x74, 0x79, 0x70, 0x65, 0xa1, 0x34, 0x6f, 0x72, 0x67,
    0x2e, 0x61, 0x70, 0x61, 0x63, 0x68, 0x65, 0x2e, 0x71, 0x70, 0x69, 0x64, 0x2e, 0x64, 0x69, 0x73, 0x70, 0x61, 0x74,
    0x63, 0x68, 0x2e, 0x72, 0x6f, 0x75, 0x74, 0x65, 0x72, 0x2e, 0x63, 0x6f, 0x6e, 0x6e, 0x65, 0x63, 0x74, 0x69, 0x6f,
    0x6e, 0x2e, 0x6c, 0x69, 0x6e, 0x6b, 0x52, 0x6f, 0x75, 0x74, 0x65, 0xa1, 0x07, 0x70, 0x61, 0x74, 0x74, 0x65, 0x72,
    0x6e, 0xa1, 0x05, 0x65, 0x6c, 0x72, 0x2f, 0x23, 0xa1, 0x09, 0x64, 0x69, 0x72, 0x65, 0x63, 0x74, 0x69, 0x6f, 0x6e,
    0xa1, 0x02, 0x69, 0x6e, 0xa1, 0x04, 0x6e, 0x61, 0x6d, 0x65, 0xa1, 0x19, 0x45, 0x44, 0x47, 0x45, 0x31, 0x2f, 0x70,
    0x72, 0x6f, 0x78, 0x79, 0x4c, 0x69, 0x6e, 0x6b, 0x52, 0x6f, 0x75, 0x74, 0x65, 0x2f, 0x43, 0x65, 0x6c, 0x72};

static void test_edge_wire_link_route_is_made_as_recorded(void **state)
{
    (void)state;
    struct edge_route_request r = {.reply_to = "amqp:/_topo/0/A/temp.BI0xlySNvQtOYvG",
                                   .correlation = "client-000000006b00237f26f9d059",
                                   .name = "EDGE1/proxyLinkRoute/Celr",
                                   .key = "Celr"};
    uint8_t out[512];
    assert_int_equal(edge_wire_write_route(NULL, 0, &r), sizeof created);
    assert_int_equal(edge_wire_write_route(out, sizeof out, &r), sizeof created);
    assert_memory_equal(out, created, sizeof created);
    /* A long prefix needs the long form. */
    char key[400];
    memset(key, 'x', sizeof key);
    key[0] = 'C';
    key[sizeof key - 1] = 0;
    r.key = key;
    uint8_t large[1024];
    size_t n = edge_wire_write_route(large, sizeof large, &r);
    assert_int_equal(n, sizeof created + 395 + 3);
}

static void test_edge_wire_heartbeat_is_the_recorded_one(void **state)
{
    (void)state;
    static const uint8_t beat[] = {0x00, 0x53, 0x77, 0x54, 0x03}; /* 07a, frame 45 */
    uint8_t out[16];
    assert_int_equal(edge_wire_write_heartbeat(out, sizeof out, 3), sizeof beat);
    assert_memory_equal(out, beat, sizeof beat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edge_wire_recorded_lookup_is_read),
        cmocka_unit_test(test_edge_wire_answer_is_the_recorded_one),
        cmocka_unit_test(test_edge_wire_tracking_is_the_recorded_one),
        cmocka_unit_test(test_edge_wire_lookup_is_the_recorded_one),
        cmocka_unit_test(test_edge_wire_recorded_answer_is_read),
        cmocka_unit_test(test_edge_wire_recorded_tracking_is_read),
        cmocka_unit_test(test_edge_wire_answer_and_tracking_cut_anywhere_are_refused),
        cmocka_unit_test(test_edge_wire_link_route_is_made_as_recorded),
        cmocka_unit_test(test_edge_wire_heartbeat_is_the_recorded_one),
        cmocka_unit_test(test_edge_wire_lookup_cut_anywhere_is_refused),
        cmocka_unit_test(test_edge_wire_lookup_of_another_version_or_opcode_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
