#include <router/route/fake_engine.h>

#include <router/route/message_log.c>

static char lines[8192];

static void add_line(const struct log_entry *e, void *arg)
{
    (void)arg;
    assert_int_equal(e->module, LOG_MESSAGE);
    assert_int_equal(e->level, LOG_LEVEL_TRACE);
    size_t n = strlen(lines);
    snprintf(lines + n, sizeof lines - n, "%s\n", e->text);
}

/* What was logged since the last look. */
#define assert_logged(text)                                                                                            \
    do {                                                                                                               \
        lines[0] = 0;                                                                                                  \
        log_recent(0, add_line, NULL);                                                                                 \
        assert_string_equal(lines, text);                                                                              \
        log_fini();                                                                                                    \
        trace_messages(true);                                                                                          \
    } while (0)

static void trace_messages(bool on)
{
    log_init();
    struct log_setting s = {.mask = on ? 1 << LOG_LEVEL_TRACE : 0,
                            .include_timestamp = -1,
                            .include_source = -1,
                            .output_file = "/dev/null"};
    assert_int_equal(log_configure(LOG_MESSAGE, &s), OK);
}

static int log_setup(void **state)
{
    setup(state);
    trace_messages(true);
    conn.id = 7;
    conn.message_parts = UINT32_MAX;
    return 0;
}

static int log_teardown(void **state)
{
    log_fini();
    return teardown(state);
}

static struct link *named_link(const char *name, bool is_incoming)
{
    struct link *l = new_link(name, is_incoming, NULL);
    l->name = l->wanted;
    return l;
}

/* Properties with message-id 42, then two application properties, then a body. */
static const uint8_t MESSAGE[] = "\x00\x53\x73\xc0\x03\x01\x53\x2a\x00\x53\x74\xc1\x0b\x04\xa1\x01"
                                 "a\x54\x01\xa1\x01"
                                 "b\x54\x02\x00\x53\x77\xa1\x06secret";
enum { MESSAGE_LEN = sizeof MESSAGE - 1, HEAD_LEN = MESSAGE_LEN - 11 };
#define SHOWN "Message{message-id=42, app-properties={\"a\"=1, \"b\"=2}}"

static void piece(struct link *l, size_t from, size_t to)
{
    message_log_piece(l, from == 0, to == MESSAGE_LEN, MESSAGE + from, to - from);
}

static void test_message_log_whole_message_is_one_line(void **state)
{
    (void)state;
    struct link *tx = named_link("tx", true), *rx = named_link("rx", false);
    piece(tx, 0, MESSAGE_LEN);
    piece(rx, 0, MESSAGE_LEN);
    assert_logged("[C7]: Received " SHOWN " on link 'tx' (there -> here)\n"
                  "[C7]: Sent " SHOWN " on link 'rx' (here -> there)\n");
}

static void test_message_log_pieces_are_one_line_at_the_end(void **state)
{
    (void)state;
    struct link *tx = named_link("tx", true);
    for (size_t i = 1; i < MESSAGE_LEN - 1; i++) {
        piece(tx, 0, i);
        piece(tx, i, i + 1);
        assert_true(tx->logged->len <= HEAD_LEN);
        assert_logged("");
        piece(tx, i + 1, MESSAGE_LEN);
        assert_null(tx->logged);
        assert_logged("[C7]: Received " SHOWN " on link 'tx' (there -> here)\n");
    }
}

static void test_message_log_other_levels_write_nothing(void **state)
{
    (void)state;
    struct link *tx = named_link("tx", true);
    log_fini();
    trace_messages(false);
    piece(tx, 0, MESSAGE_LEN);
    piece(tx, 0, 10);
    assert_null(tx->logged);
    message_log_aborted(tx);
    assert_logged("");
    /* Begun before anybody asked: not known well enough to be told of. */
    piece(tx, 10, MESSAGE_LEN);
    assert_logged("");
}

static void test_message_log_level_that_ends_half_way_leaves_nothing(void **state)
{
    (void)state;
    struct link *tx = named_link("tx", true);
    piece(tx, 0, 10);
    log_fini();
    trace_messages(false);
    piece(tx, 10, MESSAGE_LEN);
    assert_null(tx->logged);
    assert_logged("");
}

static void test_message_log_aborted_message_is_told_as_such(void **state)
{
    (void)state;
    struct link *tx = named_link("tx", true), *rx = named_link("rx", false);
    piece(tx, 0, 10);
    message_log_aborted(tx);
    message_log_aborted(rx);
    assert_null(tx->logged);
    assert_logged("[C7]: Received aborted message on link 'tx' (there -> here)\n"
                  "[C7]: Sent aborted message on link 'rx' (here -> there)\n");
}

static void test_message_log_oversize_message_is_told_as_such(void **state)
{
    (void)state;
    struct link *tx = named_link("tx", true);
    piece(tx, 0, 10);
    message_log_oversize(tx);
    piece(tx, 10, MESSAGE_LEN);
    piece(tx, 0, MESSAGE_LEN);
    assert_logged("[C7]: Received oversize message on link 'tx' (there -> here)\n"
                  "[C7]: Received " SHOWN " on link 'tx' (there -> here)\n");
}

static void test_message_log_head_without_end_is_bounded(void **state)
{
    (void)state;
    struct link *tx = named_link("tx", true);
    static uint8_t endless[100000] = "\x00\x53\x73\xc0\x03\x01\x53\x2a\x00\x53\x74\xd1\x7f\xff\xff\xff";
    message_log_piece(tx, true, false, endless, 500);
    for (int i = 0; i < 1000; i++)
        message_log_piece(tx, false, false, endless + 500, 700);
    assert_true(tx->logged->size <= MESSAGE_LOG_HEAD_MAX);
    assert_int_equal(tx->logged->len, MESSAGE_LOG_HEAD_MAX);
    message_log_piece(tx, false, true, endless, sizeof endless);
    message_log_piece(tx, true, false, endless, sizeof endless);
    assert_true(tx->logged->size <= MESSAGE_LOG_HEAD_MAX);
    message_log_piece(tx, false, true, NULL, 0);
    assert_logged("[C7]: Received Message{message-id=42, ...} on link 'tx' (there -> here)\n"
                  "[C7]: Received Message{message-id=42, ...} on link 'tx' (there -> here)\n");
}

static void test_message_log_large_body_is_not_kept(void **state)
{
    (void)state;
    struct link *tx = named_link("tx", true);
    static uint8_t large[50000];
    memcpy(large, MESSAGE, HEAD_LEN);
    memcpy(large + HEAD_LEN, "\x00\x53\x75\xb0\x00\x01\x00\x00", 8);
    message_log_piece(tx, true, false, large, sizeof large);
    assert_int_equal(tx->logged->size, HEAD_LEN);
    message_log_forget(tx);
    assert_logged("");
}

static void test_message_log_line_is_whole_however_long_its_parts(void **state)
{
    (void)state;
    char name[1000];
    memset(name, '\n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    struct link *tx = named_link("tx", true);
    tx->name = name;
    static uint8_t long_id[9000] = "\x00\x53\x73\xc0\x03\x01\x53\x2a";
    memcpy(long_id, "\x00\x53\x73\xd0\x00\x00\x20\x0a\x00\x00\x00\x01\xb1\x00\x00\x20\x01", 17);
    memset(long_id + 17, 'x', 8193);
    message_log_piece(tx, true, true, long_id, 17 + 8193);
    lines[0] = 0;
    log_recent(0, add_line, NULL);
    assert_true(strlen(lines) > 1900);
    assert_true(strlen(lines) <= LOG_TEXT_MAX + 1);
    assert_non_null(strstr(lines, "xxx... on link '\\0a\\0a"));
    assert_string_equal(lines + strlen(lines) - 20, "..' (there -> here)\n");
}

static void test_message_log_message_without_octets_is_a_line(void **state)
{
    (void)state;
    struct link *tx = named_link("tx", true);
    message_log_piece(tx, true, true, NULL, 0);
    assert_logged("[C7]: Received Message{} on link 'tx' (there -> here)\n");
}

/* Where incoming and outgoing links call it. */

static void test_message_log_of_links_that_forward_tells_both_ways(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    rx->name = rx->wanted;
    tx->name = tx->wanted;
    rx->amqp.credit = 3;
    route_to(a, &rx, 1);
    incoming_start(tx);
    comes(tx, "one", true, true, false, false);
    assert_logged("[C7]: Received Message{} on link 'tx' (there -> here)\n"
                  "[C7]: Sent Message{} on link 'rx' (here -> there)\n");
    comes(tx, "part", true, true, true, false);
    comes(tx, "more", true, false, true, false);
    assert_logged("");
    comes(tx, "end", true, false, false, false);
    assert_logged("[C7]: Received Message{} on link 'tx' (there -> here)\n"
                  "[C7]: Sent Message{} on link 'rx' (here -> there)\n");
    comes(tx, "part", true, true, true, false);
    comes(tx, "", true, false, false, true);
    assert_logged("[C7]: Received aborted message on link 'tx' (there -> here)\n"
                  "[C7]: Sent aborted message on link 'rx' (here -> there)\n");
    conn.message_parts = 0;
    comes(tx, "one", true, true, false, false);
    assert_logged("");
}

static void test_message_log_of_a_slow_receiver_tells_when_all_is_out(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    rx->name = rx->wanted;
    tx->name = tx->wanted;
    route_to(a, &rx, 1);
    incoming_start(tx);
    comes(tx, "one", true, true, false, false);
    assert_logged("[C7]: Received Message{} on link 'tx' (there -> here)\n");
    rx->amqp.credit = 1;
    room = 2;
    outgoing_sendable(rx);
    assert_logged("");
    room = SIZE_MAX;
    outgoing_sendable(rx);
    assert_logged("[C7]: Sent Message{} on link 'rx' (here -> there)\n");
}

static void test_message_log_of_requests_tells_those_too_large(void **state)
{
    (void)state;
    struct address *a = new_address("M0$management", DISTRIBUTION_CLOSEST);
    a->in_process = true;
    struct link *tx = new_link("tx", true, a);
    tx->name = tx->wanted;
    static char octets[400];
    memset(octets, 'x', sizeof octets - 1);
    incoming_start(tx);
    comes(tx, "part", true, true, true, false);
    for (int sent = 0; sent <= 4 * 1024 * 1024; sent += (int)sizeof octets - 1)
        comes(tx, octets, true, false, true, false);
    comes(tx, "end", true, false, false, false);
    assert_logged("[C7]: Received oversize message on link 'tx' (there -> here)\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_message_log_##name, log_setup, log_teardown)
    const struct CMUnitTest tests[] = {
        TEST(whole_message_is_one_line),
        TEST(pieces_are_one_line_at_the_end),
        TEST(other_levels_write_nothing),
        TEST(level_that_ends_half_way_leaves_nothing),
        TEST(aborted_message_is_told_as_such),
        TEST(oversize_message_is_told_as_such),
        TEST(head_without_end_is_bounded),
        TEST(large_body_is_not_kept),
        TEST(line_is_whole_however_long_its_parts),
        TEST(message_without_octets_is_a_line),
        TEST(of_links_that_forward_tells_both_ways),
        TEST(of_a_slow_receiver_tells_when_all_is_out),
        TEST(of_requests_tells_those_too_large),
    };
#undef TEST
    return cmocka_run_group_tests(tests, play_control, NULL);
}
