#include <router/route/fake_engine.h>
#include <router/route/relay.h>

static struct frame frame(const char *text, uint32_t id, bool settled)
{
    return (struct frame){
        .origin = {.link = LINK_TOKEN_NONE, .delivery_id = id, .flags = settled ? ORIGIN_SETTLED : 0},
        .first = true,
        .settled = settled,
        .payload = {.data = (const uint8_t *)text, .len = strlen(text)},
    };
}

static void test_outgoing_with_credit_goes_at_once(void **state)
{
    (void)state;
    struct link *rx = new_link("rx", false, NULL);
    rx->amqp.credit = 1;
    struct frame f = frame("hello", 0, false);
    outgoing_deliver(rx, &f);
    assert_said("rx: hello; ");
    assert_int_equal(rx->out.queued, 0);
    assert_int_equal(rx->out.unsettled, 1);
}

static void test_outgoing_without_credit_waits_in_order(void **state)
{
    (void)state;
    struct link *rx = new_link("rx", false, NULL);
    struct frame f = frame("one", 0, true), g = frame("two", 1, true);
    outgoing_deliver(rx, &f);
    outgoing_deliver(rx, &g);
    assert_int_equal(rx->out.queued, 2);
    rx->amqp.credit = 1;
    outgoing_sendable(rx);
    assert_said("rx: one settled; ");
    rx->amqp.credit = 5;
    outgoing_sendable(rx);
    assert_said("rx: two settled; ");
}

static void test_outgoing_output_full_sends_the_rest_later(void **state)
{
    (void)state;
    struct link *rx = new_link("rx", false, NULL);
    rx->amqp.credit = 1;
    room = 4;
    struct frame f = frame("abcdefgh", 0, true);
    outgoing_deliver(rx, &f);
    assert_said("rx: abcd settled more; ");
    assert_int_equal(rx->out.queued, 1);
    room = SIZE_MAX;
    outgoing_sendable(rx);
    assert_said("rx: +efgh settled; ");
    assert_int_equal(rx->out.queued, 0);
}

/* The first part of a message went at once: what hinders the second is told as what hinders the first is. */
static void test_outgoing_output_full_in_the_middle_of_a_message_is_told(void **state)
{
    (void)state;
    struct link *rx = new_link("rx", false, NULL);
    rx->amqp.credit = 2;
    struct frame f = frame("one", 0, true);
    f.more = true;
    outgoing_deliver(rx, &f);
    assert_int_equal(atomic_load(&rx->stats.held_by), AMQP_HINDRANCE_NONE);
    room = 0;
    f = frame("two", 0, true);
    f.first = false;
    outgoing_deliver(rx, &f);
    assert_int_equal(atomic_load(&rx->stats.held_by), AMQP_HINDRANCE_OUTPUT);
    room = SIZE_MAX;
    outgoing_sendable(rx);
    assert_int_equal(atomic_load(&rx->stats.held_by), AMQP_HINDRANCE_NONE);
}

static void test_outgoing_streams_of_two_senders_do_not_mix(void **state)
{
    (void)state;
    struct link *rx = new_link("rx", false, NULL);
    rx->amqp.credit = 2;
    struct frame a = frame("a1", 1, true), b = frame("b1", 2, true);
    a.more = b.more = true;
    outgoing_deliver(rx, &a);
    outgoing_deliver(rx, &b);
    b = frame("b2", 2, true);
    b.first = false;
    outgoing_deliver(rx, &b);
    assert_said("rx: a1 settled more; ");
    a = frame("a2", 1, true);
    a.first = false;
    outgoing_deliver(rx, &a);
    assert_said("rx: +a2 settled; rx: b1 settled more; rx: +b2 settled; ");
}

static void test_outgoing_abort_of_what_waits_leaves_no_trace(void **state)
{
    (void)state;
    struct link *rx = new_link("rx", false, NULL);
    struct frame f = frame("part", 0, false);
    f.more = true;
    outgoing_deliver(rx, &f);
    f = frame("", 0, false);
    f.first = false;
    f.aborted = true;
    outgoing_deliver(rx, &f);
    assert_said("");
    assert_int_equal(rx->out.queued, 0);
}

static void test_outgoing_drain_without_messages_gives_credit_up(void **state)
{
    (void)state;
    struct link *rx = new_link("rx", false, NULL);
    rx->amqp.credit = 7;
    rx->amqp.drain = true;
    outgoing_sendable(rx);
    assert_said("rx: drained; ");
}

static void test_outgoing_drain_sends_what_waits_first(void **state)
{
    (void)state;
    struct link *rx = new_link("rx", false, NULL);
    struct frame f = frame("one", 0, true);
    outgoing_deliver(rx, &f);
    rx->amqp.credit = 7;
    rx->amqp.drain = true;
    outgoing_sendable(rx);
    assert_said("rx: one settled; rx: drained; ");
}

static void test_outgoing_receiver_that_wants_settled_gets_settled(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    rx->amqp.credit = 1;
    rx->amqp.snd_settle_mode = 1;
    route_to(a, &rx, 1);
    incoming_start(tx);
    said[0] = 0;
    comes(tx, "x", false, true, false, false);
    assert_non_null(strstr(said, "settled; tx: #0 accepted; tx: credit +1; "));
}

static void test_outgoing_link_gone_hands_waiting_messages_to_another(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx[2] = {new_link("r0", false, a), new_link("r1", false, a)};
    route_to(a, rx, 2);
    rx[1]->amqp.credit = 5;
    struct frame f = frame("waits", 0, true);
    outgoing_deliver(rx[0], &f);
    rx[0]->gone = true;
    outgoing_gone(rx[0]);
    assert_said("r1: waits settled; ");
    /* and so does what was under way to it from another thread */
    f = frame("late", 1, true);
    outgoing_deliver(rx[0], &f);
    assert_said("r1: late settled; ");
}

/* A connection with several consumers of one address ends: its links go one after the other, and the routes still name
 * them all. */
static void test_outgoing_all_links_gone_at_once_release_what_waits(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx[3] = {new_link("r0", false, a), new_link("r1", false, a), new_link("r2", false, a)};
    struct link *tx = new_link("tx", true, a);
    route_to(a, rx, 3);
    incoming_start(tx);
    for (int i = 0; i < 6; i++)
        comes(tx, "x", i % 2, true, false, false);
    for (int i = 0; i < 3; i++) {
        rx[i]->gone = true;
        outgoing_gone(rx[i]);
    }
    assert_int_equal(tx->in.in_hand, 0);
    assert_int_equal(tx->amqp.credit, 10);
    uint64_t dropped = 0;
    for (int i = 0; i < 3; i++)
        dropped += atomic_load(&rx[i]->stats.dropped_presettled);
    assert_int_equal(dropped, 3);
}

static void test_outgoing_outcome_before_the_last_frame_then_abort_counts_once(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    rx->amqp.credit = 5;
    route_to(a, &rx, 1);
    incoming_start(tx);
    comes(tx, "first", false, true, true, false);
    said[0] = 0;
    outgoing_disposition(rx, &unsettled_out[0], &state_accepted, true);
    assert_said("tx: #0 accepted; tx: credit +1; ");
    comes(tx, "", false, false, false, true);
    assert_said("rx: abort; ");
    assert_int_equal(rx->out.unsettled, 0);
    assert_int_equal(link_load_outstanding(&rx->load), 0);
}

/* What one disposition of the receiver says of several deliveries is one answer to their sender, as far as they adjoin
 * and fare alike. */
static void test_outgoing_outcomes_of_one_disposition_go_back_in_ranges(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    rx->amqp.credit = 6;
    route_to(a, &rx, 1);
    incoming_start(tx);
    for (int i = 0; i < 6; i++)
        comes(tx, "x", false, true, false, false);
    said[0] = 0;
    here_gather_answers();
    for (int i = 0; i < 5; i++)
        outgoing_disposition(rx, &unsettled_out[i], i < 3 ? &state_accepted : &state_released, true);
    here_pass_gathered();
    assert_said("tx: #0-2 accepted; tx: credit +3; tx: #3-4 released; tx: credit +2; ");
    /* Afterwards each is said as it comes. */
    outgoing_disposition(rx, &unsettled_out[5], &state_accepted, true);
    assert_said("tx: #5 accepted; tx: credit +1; ");
    assert_int_equal(tx->in.in_hand, 0);
}

static void test_outgoing_link_gone_without_another_releases(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    route_to(a, &rx, 1);
    incoming_start(tx);
    comes(tx, "x", false, true, false, false);
    route_to(a, NULL, 0);
    said[0] = 0;
    rx->gone = true;
    outgoing_gone(rx);
    assert_said("tx: #0 released; tx: credit +1; ");
    assert_int_equal(told_control, 0);
}

/* As a message does that finds no routes: the sender's worker does not have the new ones yet. */
static void test_outgoing_message_that_comes_to_the_last_link_gone_drains_its_sender(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    route_to(a, &rx, 1);
    incoming_start(tx);
    rx->gone = true;
    outgoing_gone(rx);
    said[0] = 0;
    comes(tx, "x", false, true, false, false);
    assert_said("tx: drain; tx: #0 released; ");
    assert_int_equal(told_control, LINK_DRY);
    comes(tx, "x", true, true, false, false);
    assert_said("");
    assert_int_equal(tx->in.in_hand, 0);
}

/* Other routers have receivers: the sender tries again, and gets there. */
static void test_outgoing_link_gone_with_receivers_elsewhere_releases_without_drain(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    route_to(a, &rx, 1);
    incoming_start(tx);
    struct routes *r = routes_new(0, 1);
    routes_remotes(r)[0] = 7;
    address_publish(a, r);
    rx->gone = true;
    outgoing_gone(rx);
    said[0] = 0;
    struct frame f = frame("x", 0, false);
    f.origin.link = tx->token;
    tx->in.in_hand = 1;
    outgoing_deliver(rx, &f);
    assert_said("tx: #0 released; ");
}

static void test_outgoing_link_gone_passes_on_the_rest_of_what_it_has_not_begun(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx[2] = {new_link("r0", false, a), new_link("r1", false, a)};
    struct link *tx = new_link("tx", true, a), *other = new_link("other", true, a);
    route_to(a, rx, 1);
    incoming_start(tx);
    incoming_start(other);
    comes(tx, "begins ", true, true, true, false);
    comes(other, "given up", true, true, true, false);
    route_to(a, rx, 2);
    rx[1]->amqp.credit = 5;
    said[0] = 0;
    rx[0]->gone = true;
    outgoing_gone(rx[0]);
    assert_null(strstr(said, "released"));
    assert_int_equal(atomic_load(&rx[0]->stats.dropped_presettled), 0);
    assert_true(relay_is_busy(rx[0]));
    rx[0]->out.buried = true;
    comes(tx, "goes on ", true, false, true, false);
    comes(tx, "ends", true, false, false, false);
    assert_non_null(strstr(said, " settled more; r1: +goes on  settled more; r1: +ends settled; "));
    assert_null(buried);
    comes(other, "", true, false, false, true);
    assert_false(relay_is_busy(rx[0]));
    assert_ptr_equal(buried, rx[0]);
    assert_int_equal(link_load_outstanding(&rx[0]->load), 0);
    assert_int_equal(link_load_outstanding(&rx[1]->load), 0);
}

static void test_outgoing_message_of_several_frames_that_comes_to_a_gone_link_goes_elsewhere(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx[2] = {new_link("r0", false, a), new_link("r1", false, a)};
    route_to(a, rx, 2);
    rx[0]->gone = true;
    outgoing_gone(rx[0]);
    rx[1]->amqp.credit = 5;
    said[0] = 0;
    struct frame f = frame("begins ", 0, true);
    f.more = true;
    outgoing_deliver(rx[0], &f);
    f = frame("ends", 0, true);
    f.first = false;
    outgoing_deliver(rx[0], &f);
    assert_non_null(strstr(said, "r1: begins"));
    assert_non_null(strstr(said, "ends settled"));
    assert_false(relay_is_busy(rx[0]));
}

static void test_outgoing_link_gone_with_unsettled_says_modified(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    rx->amqp.credit = 1;
    route_to(a, &rx, 1);
    incoming_start(tx);
    comes(tx, "x", false, true, false, false);
    said[0] = 0;
    outgoing_lost(rx, &unsettled_out[0]);
    rx->gone = true;
    outgoing_gone(rx);
    assert_said("tx: #0 modified; tx: credit +1; ");
}

static void test_outgoing_silent_gives_up_all_but_what_was_settled(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    rx->amqp.credit = 1;
    route_to(a, &rx, 1);
    incoming_start(tx);
    comes(tx, "sent", false, true, false, false);
    comes(tx, "waits", false, true, false, false);
    comes(tx, "settled", true, true, false, false);
    said[0] = 0;
    outgoing_silent(rx);
    assert_said("tx: #0 modified; tx: credit +1; tx: #1 released; tx: credit +1; ");
    assert_int_equal(rx->out.unsettled, 0);
    assert_int_equal(rx->out.queued, 1);
    assert_int_equal(link_load_outstanding(&rx->load), 1);
    rx->amqp.credit = 1;
    outgoing_sendable(rx);
    assert_said("rx:  settled; tx: credit +1; ");
}

static void test_outgoing_silent_aborts_what_is_under_way(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    rx->amqp.credit = 5;
    route_to(a, &rx, 1);
    incoming_start(tx);
    comes(tx, "first", false, true, true, false);
    said[0] = 0;
    outgoing_silent(rx);
    assert_said("tx: #0 modified; tx: credit +1; rx: abort; ");
    comes(tx, "last", false, false, false, false);
    assert_said("");
    assert_int_equal(rx->out.queued, 0);
    assert_int_equal(link_load_outstanding(&rx->load), 0);
}

static void test_outgoing_modified_is_relayed_with_delivery_failed(void **state)
{
    (void)state;
    /* modified(delivery-failed=false, undeliverable-here=true) */
    static const uint8_t said_by_consumer[] = {0x00, 0x53, 0x27, 0xc0, 0x03, 0x02, 0x42, 0x41};
    static const uint8_t wanted[] = {0x00, 0x53, 0x27, 0xc0, 0x03, 0x02, 0x41, 0x41};
    struct amqp_state s = {.code = AMQP_MODIFIED, .raw = {.data = said_by_consumer, .len = sizeof said_by_consumer}};
    struct relayed_state r;
    relayed_state_init(&r, &s);
    assert_int_equal(r.state.raw.len, sizeof wanted);
    assert_memory_equal(r.state.raw.data, wanted, sizeof wanted);
    relayed_state_fini(&r);
}

/* ---- between routers ---- */

static struct link *new_shared_link(uint32_t credit)
{
    struct link *l = new_link("shared", false, NULL);
    l->kind = LINK_DATA;
    l->amqp.credit = credit;
    return l;
}

/* A frame of `len` octets that is no readable message, so that nothing is written into it. */
static struct frame part(uint32_t id, size_t len, bool first, bool more)
{
    static const uint8_t octets[256 * 1024];
    struct frame f = frame("", id, false);
    f.payload = (struct slice){.data = octets, .len = len};
    f.first = first;
    f.more = more;
    return f;
}

static void test_outgoing_small_message_in_parts_lets_others_pass_on_a_shared_link(void **state)
{
    (void)state;
    struct link *shared = new_shared_link(5);
    struct frame f = part(1, 3, true, true), g = frame("other", 2, false);
    outgoing_deliver(shared, &f);
    assert_said("");
    outgoing_deliver(shared, &g);
    assert_null(strstr(said, "more"));
    said[0] = 0;
    f = part(1, 0, false, false);
    outgoing_deliver(shared, &f);
    assert_int_equal(shared->out.queued, 0);
    assert_true(list_is_empty(&shared->out.gathering));
    assert_int_equal(shared->out.unsettled, 2);
    assert_null(conn.streams);
}

static void test_outgoing_large_message_gets_a_link_of_its_own_that_is_used_again(void **state)
{
    (void)state;
    struct link *shared = new_shared_link(5);
    for (uint32_t id = 1; id <= 2; id++) {
        struct frame f = part(id, 64 * 1024, true, true);
        outgoing_deliver(shared, &f);
        f = part(id, 64 * 1024, false, true);
        outgoing_deliver(shared, &f);
        struct link *stream = stream_next_busy(&conn, NULL);
        assert_non_null(stream);
        assert_int_equal(link_load_outstanding(&stream->load), 1);
        assert_int_equal(stream->out.queued, 1);
        stream->amqp.credit = 1;
        outgoing_sendable(stream);
        f = part(id, 10, false, false);
        outgoing_deliver(shared, &f);
        assert_int_equal(stream->out.queued, 0);
        assert_null(stream_next_busy(&conn, NULL));
        outgoing_disposition(stream, &unsettled_out[id - 1], &state_accepted, true);
        assert_int_equal(stream->out.unsettled, 0);
    }
    assert_int_equal(link_count, 2);
    assert_int_equal(shared->out.unsettled, 0);
}

/* To a balanced address, towards a router that has not offered links for large messages: it takes its turn. */
static void test_outgoing_large_message_not_offered_a_link_goes_on_the_shared_one(void **state)
{
    (void)state;
    struct link *shared = new_shared_link(5);
    struct frame f = part(1, 64 * 1024, true, true), small = part(2, 3, true, false);
    f.needs_offer = true;
    outgoing_deliver(shared, &f);
    f = part(1, 64 * 1024, false, true);
    outgoing_deliver(shared, &f);
    assert_null(stream_next_busy(&conn, NULL));
    assert_int_equal(shared->out.unsettled, 1);
    assert_non_null(strstr(said, "shared: "));
    outgoing_deliver(shared, &small);
    assert_int_equal(shared->out.unsettled, 1); /* behind it */
    f = part(1, 10, false, false);
    outgoing_deliver(shared, &f);
    assert_int_equal(shared->out.unsettled, 2);
    assert_int_equal(shared->out.queued, 0);
    conn.offers_streams = true;
    f = part(3, 128 * 1024, true, true);
    f.needs_offer = f.streams = true;
    outgoing_deliver(shared, &f);
    assert_non_null(stream_next_busy(&conn, NULL));
}

static void test_outgoing_message_wanted_as_it_comes_streams_at_once(void **state)
{
    (void)state;
    struct link *shared = new_shared_link(5);
    struct frame f = part(1, 10, true, true);
    f.streams = true;
    outgoing_deliver(shared, &f);
    assert_non_null(stream_next_busy(&conn, NULL));
}

static void test_outgoing_abort_of_what_is_gathered_leaves_no_trace(void **state)
{
    (void)state;
    struct link *shared = new_shared_link(5);
    struct frame f = part(1, 10, true, true);
    outgoing_deliver(shared, &f);
    f = part(1, 0, false, false);
    f.aborted = true;
    outgoing_deliver(shared, &f);
    assert_said("");
    assert_true(list_is_empty(&shared->out.gathering));
}

static void test_outgoing_abort_on_a_streaming_link_frees_it(void **state)
{
    (void)state;
    struct link *shared = new_shared_link(5);
    struct frame f = part(1, 10, true, true);
    f.streams = true;
    outgoing_deliver(shared, &f);
    struct link *stream = stream_next_busy(&conn, NULL);
    stream->amqp.credit = 1;
    outgoing_sendable(stream);
    said[0] = 0;
    f = part(1, 0, false, false);
    f.aborted = true;
    outgoing_deliver(shared, &f);
    assert_said("stream: abort; ");
    assert_null(stream_next_busy(&conn, NULL));
}

static void test_outgoing_settled_by_its_sender_waits_for_the_next_router_of_ours(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *shared = new_shared_link(5), *tx = new_link("tx", true, a);
    conn.is_of_ours = true;
    route_to(a, &shared, 1);
    incoming_start(tx);
    comes(tx, "x", true, true, false, false);
    assert_null(strstr(said, "settled"));
    assert_int_equal(tx->in.in_hand, 1);
    assert_int_equal(shared->out.unsettled, 1);
    said[0] = 0;
    outgoing_disposition(shared, &unsettled_out[0], &state_accepted, true);
    assert_said("tx: credit +1; ");
    assert_int_equal(tx->in.in_hand, 0);
}

static void test_outgoing_settled_by_its_sender_goes_settled_to_an_old_router(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *shared = new_shared_link(5), *tx = new_link("tx", true, a);
    route_to(a, &shared, 1);
    incoming_start(tx);
    comes(tx, "x", true, true, false, false);
    assert_non_null(strstr(said, " settled; "));
    assert_int_equal(tx->in.in_hand, 0);
}

/* Where it can go now is known when the link is buried; nobody is told anything before. */
static void test_outgoing_link_to_a_router_gone_keeps_whole_messages_until_it_is_buried(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *shared = new_shared_link(0), *tx = new_link("tx", true, a);
    route_to(a, &shared, 1);
    incoming_start(tx);
    comes(tx, "waits", false, true, false, false);
    comes(tx, "halfway", false, true, true, false);
    said[0] = 0;
    shared->gone = true;
    outgoing_gone(shared);
    assert_null(strstr(said, "#0"));
    assert_int_equal(shared->out.queued, 1);
    comes(tx, "late", false, true, false, false); /* its sender has not heard of it */
    assert_int_equal(shared->out.queued, 2);
    said[0] = 0;
    shared->out.buried = true;
    outgoing_buried(shared);
    assert_int_equal(shared->out.queued, 0);
    assert_non_null(strstr(said, "tx: #0 released"));
    assert_int_equal(link_load_outstanding(&shared->load), 0);
}

/* At once, and after it has waited. */
static void test_outgoing_stamp_goes_to_routers_of_ours_alone(void **state)
{
    (void)state;
    struct link *shared = new_shared_link(1);
    struct frame f = part(1, 3, true, false), g = part(2, 3, true, false);
    f.stamp = (struct stamp){5, 8};
    g.stamp = (struct stamp){5, 9};
    outgoing_deliver(shared, &f);
    assert_int_equal(sent_stamp.number, 0);
    shared->amqp.credit = 1;
    conn.is_of_ours = true;
    outgoing_deliver(shared, &f);
    assert_true(sent_stamp.source == 5 && sent_stamp.number == 8);
    outgoing_deliver(shared, &g);
    assert_int_equal(sent_stamp.number, 8);
    shared->amqp.credit = 1;
    outgoing_sendable(shared);
    assert_true(sent_stamp.source == 5 && sent_stamp.number == 9);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_outgoing_with_credit_goes_at_once),
        TEST(test_outgoing_without_credit_waits_in_order),
        TEST(test_outgoing_output_full_sends_the_rest_later),
        TEST(test_outgoing_output_full_in_the_middle_of_a_message_is_told),
        TEST(test_outgoing_streams_of_two_senders_do_not_mix),
        TEST(test_outgoing_abort_of_what_waits_leaves_no_trace),
        TEST(test_outgoing_drain_without_messages_gives_credit_up),
        TEST(test_outgoing_drain_sends_what_waits_first),
        TEST(test_outgoing_receiver_that_wants_settled_gets_settled),
        TEST(test_outgoing_link_gone_hands_waiting_messages_to_another),
        TEST(test_outgoing_all_links_gone_at_once_release_what_waits),
        TEST(test_outgoing_outcome_before_the_last_frame_then_abort_counts_once),
        TEST(test_outgoing_outcomes_of_one_disposition_go_back_in_ranges),
        TEST(test_outgoing_link_gone_without_another_releases),
        TEST(test_outgoing_message_that_comes_to_the_last_link_gone_drains_its_sender),
        TEST(test_outgoing_link_gone_with_receivers_elsewhere_releases_without_drain),
        TEST(test_outgoing_link_gone_passes_on_the_rest_of_what_it_has_not_begun),
        TEST(test_outgoing_message_of_several_frames_that_comes_to_a_gone_link_goes_elsewhere),
        TEST(test_outgoing_link_gone_with_unsettled_says_modified),
        TEST(test_outgoing_silent_gives_up_all_but_what_was_settled),
        TEST(test_outgoing_silent_aborts_what_is_under_way),
        TEST(test_outgoing_modified_is_relayed_with_delivery_failed),
        TEST(test_outgoing_small_message_in_parts_lets_others_pass_on_a_shared_link),
        TEST(test_outgoing_large_message_gets_a_link_of_its_own_that_is_used_again),
        TEST(test_outgoing_large_message_not_offered_a_link_goes_on_the_shared_one),
        TEST(test_outgoing_message_wanted_as_it_comes_streams_at_once),
        TEST(test_outgoing_abort_of_what_is_gathered_leaves_no_trace),
        TEST(test_outgoing_abort_on_a_streaming_link_frees_it),
        TEST(test_outgoing_settled_by_its_sender_waits_for_the_next_router_of_ours),
        TEST(test_outgoing_settled_by_its_sender_goes_settled_to_an_old_router),
        TEST(test_outgoing_link_to_a_router_gone_keeps_whole_messages_until_it_is_buried),
        TEST(test_outgoing_stamp_goes_to_routers_of_ours_alone),
    };
    return cmocka_run_group_tests(tests, play_control, NULL);
}
