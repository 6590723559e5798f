#include <router/route/fake_engine.h>

static void test_incoming_start_without_destination_withholds_credit(void **state)
{
    (void)state;
    struct link *tx = new_link("tx", true, new_address("M0a", DISTRIBUTION_CLOSEST));
    incoming_start(tx);
    assert_said("");
}

static void test_incoming_start_with_destination_gives_capacity(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    route_to(a, &rx, 1);
    incoming_start(tx);
    assert_said("tx: credit +10; ");
}

static void test_incoming_anonymous_start_gives_capacity(void **state)
{
    (void)state;
    incoming_start(new_link("tx", true, NULL));
    assert_said("tx: credit +10; ");
}

static void test_incoming_reachable_gives_first_credit_once(void **state)
{
    (void)state;
    struct link *tx = new_link("tx", true, new_address("M0a", DISTRIBUTION_CLOSEST));
    incoming_start(tx);
    incoming_reachable(tx);
    assert_said("tx: credit +10; ");
    incoming_reachable(tx);
    assert_said("");
}

static void test_incoming_destination_lost_releases_and_drains_then_tops_up(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    route_to(a, &rx, 1);
    incoming_start(tx);
    route_to(a, NULL, 0);
    said[0] = 0;
    comes(tx, "x", false, true, false, false);
    assert_said("tx: drain; tx: #0 released; ");
    comes(tx, "x", false, true, false, false);
    assert_said("tx: #1 released; ");
    route_to(a, &rx, 1);
    incoming_reachable(tx);
    assert_said("tx: drain no more; tx: credit +2; ");
    assert_int_equal(tx->amqp.credit, 10);
}

/* It is a container that sends: not each can answer a drain. */
static void test_incoming_own_link_without_a_destination_takes_its_credit_back(void **state)
{
    (void)state;
    struct address *a = new_address("M1a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    struct own_link *any = (struct own_link *)tx; /* only looked at whether it is there */
    tx->own = any;
    route_to(a, &rx, 1);
    incoming_start(tx);
    assert_int_equal(tx->amqp.credit, 10);
    route_to(a, NULL, 0);
    said[0] = 0;
    incoming_run_dry(tx);
    assert_said("tx: credit is 0; ");
    route_to(a, &rx, 1);
    incoming_reachable(tx);
    assert_int_equal(tx->amqp.credit, 10);
    tx->own = NULL;
}

/* An address with a fallback destination, and a receiver of each. */
static void test_incoming_finds_the_fallback_only_while_the_address_has_nobody(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST), *f = new_address("MFa", DISTRIBUTION_BALANCED);
    struct link *rx = new_link("rx", false, a), *frx = new_link("frx", false, f), *tx = new_link("tx", true, a);
    address_set_fallback(a, f);
    rx->amqp.credit = frx->amqp.credit = 10;
    route_to(f, &frx, 1);
    incoming_start(tx);
    assert_said("tx: credit +10; ");
    comes(tx, "1", true, true, false, false);
    route_to(a, &rx, 1);
    comes(tx, "2", true, true, false, false);
    route_to(a, NULL, 0);
    comes(tx, "3", true, true, false, false);
    assert_non_null(strstr(said, "frx: "));
    char *first = strstr(said, "frx: "), *second = strstr(said, " rx: "), *third = strstr(second, "frx: ");
    assert_true(first < second && second && third);
    assert_null(strstr(said, "drain"));
    assert_int_equal(atomic_load(&a->redirected), 2);
    said[0] = 0;
    route_to(f, NULL, 0);
    comes(tx, "4", false, true, false, false);
    assert_said("tx: drain; tx: #3 released; ");
    assert_int_equal(atomic_load(&a->redirected), 2);
}

/* What a queue gives back is not to go round: it waits for a consumer. */
static void test_incoming_from_the_fallback_is_for_consumers_alone(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST), *f = new_address("MFa", DISTRIBUTION_BALANCED);
    struct link *rx = new_link("rx", false, a), *frx = new_link("frx", false, f), *tx = new_link("tx", true, a);
    tx->is_from_fallback = true;
    address_set_fallback(a, f);
    rx->amqp.credit = frx->amqp.credit = 10;
    route_to(f, &frx, 1);
    incoming_start(tx);
    assert_said("");
    route_to(a, &rx, 1);
    incoming_reachable(tx);
    said[0] = 0;
    comes(tx, "1", true, true, false, false);
    assert_non_null(strstr(said, "rx: "));
    route_to(a, NULL, 0);
    said[0] = 0;
    comes(tx, "2", false, true, false, false);
    assert_said("tx: drain; tx: #1 released; ");
}

/* A multicast address whose copies have nobody: one delivery to the fallback, with its own outcome. */
static void test_incoming_multicast_without_receivers_goes_to_the_fallback_once(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_MULTICAST), *f = new_address("MFa", DISTRIBUTION_BALANCED);
    struct link *frx = new_link("frx", false, f), *tx = new_link("tx", true, a);
    struct routes *nobody_reachable = routes_new(0, 1);
    address_publish(a, nobody_reachable);
    address_set_fallback(a, f);
    frx->amqp.credit = 10;
    route_to(f, &frx, 1);
    incoming_start(tx);
    said[0] = 0;
    comes(tx, "x", true, true, false, false);
    assert_non_null(strstr(said, "frx: "));
    said[0] = 0;
    comes(tx, "y", false, true, false, false);
    assert_non_null(strstr(said, "frx: "));
    said[0] = 0;
    outgoing_disposition(frx, &unsettled_out[0], &state_released, true);
    assert_said("tx: #1 released; tx: credit +1; ");
}

static void test_incoming_outcome_settles_and_gives_credit_back(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    rx->amqp.credit = 10;
    route_to(a, &rx, 1);
    incoming_start(tx);
    comes(tx, "x", false, true, false, false);
    said[0] = 0;
    outgoing_disposition(rx, &unsettled_out[0], &state_accepted, true);
    assert_said("tx: #0 accepted; tx: credit +1; ");
    assert_int_equal(atomic_load(&tx->stats.accepted), 1);
    assert_int_equal(link_load_outstanding(&rx->load), 0);
}

static void test_incoming_presettled_gives_credit_back_when_it_has_left(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    route_to(a, &rx, 1);
    incoming_start(tx);
    said[0] = 0;
    comes(tx, "x", true, true, false, false);
    assert_said(""); /* no credit there: it waits, and so does the sender's credit */
    assert_int_equal(rx->out.queued, 1);
    rx->amqp.credit = 1;
    outgoing_sendable(rx);
    assert_non_null(strstr(said, "settled; tx: credit +1; "));
}

/* Three more than it may send are in hand: their credit was never given. */
static void test_incoming_overdrawn_gets_no_credit_back_until_below_capacity(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    rx->amqp.credit = 20;
    route_to(a, &rx, 1);
    incoming_start(tx);
    for (int i = 0; i < 13; i++)
        comes(tx, "x", false, true, false, false);
    assert_int_equal(tx->in.in_hand, 13);
    assert_true(tx->in.overdraw_told);
    said[0] = 0;
    for (int i = 0; i < 3; i++)
        outgoing_disposition(rx, &unsettled_out[i], &state_accepted, true);
    assert_said("tx: #0 accepted; tx: #1 accepted; tx: #2 accepted; ");
    outgoing_disposition(rx, &unsettled_out[3], &state_accepted, true);
    assert_said("tx: #3 accepted; tx: credit +1; ");
    for (int i = 4; i < 13; i++)
        outgoing_disposition(rx, &unsettled_out[i], &state_accepted, true);
    assert_int_equal(tx->in.in_hand, 0);
    assert_int_equal(tx->amqp.credit, tx->capacity);
}

static void test_incoming_presettled_overdrawn_gets_capacity_back_and_no_more(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    route_to(a, &rx, 1);
    incoming_start(tx);
    for (int i = 0; i < 15; i++)
        comes(tx, "x", true, true, false, false);
    assert_int_equal(tx->in.in_hand, 15);
    rx->amqp.credit = 20;
    outgoing_sendable(rx);
    assert_int_equal(tx->in.in_hand, 0);
    assert_int_equal(tx->amqp.credit, tx->capacity);
}

static void test_incoming_overdrawn_without_destination_is_released_then_gets_capacity(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    incoming_start(tx);
    comes(tx, "x", false, true, false, false);
    assert_said("tx: drain; tx: #0 released; ");
    comes(tx, "x", false, true, false, false);
    assert_said("tx: #1 released; ");
    assert_int_equal(tx->amqp.credit, 0);
    route_to(a, &rx, 1);
    /* It is there before the sender has been told. */
    rx->amqp.credit = 1;
    comes(tx, "x", false, true, false, false);
    said[0] = 0;
    incoming_reachable(tx);
    assert_said("tx: drain no more; tx: credit +9; ");
    outgoing_disposition(rx, &unsettled_out[0], &state_accepted, true);
    assert_said("tx: #2 accepted; tx: credit +1; ");
    assert_int_equal(tx->amqp.credit, tx->capacity);
}

static void test_incoming_garbage_before_any_credit_earns_none(void **state)
{
    (void)state;
    struct link *tx = new_link("tx", true, new_address("M0a", DISTRIBUTION_CLOSEST));
    incoming_start(tx);
    struct amqp_transfer t = {.payload = {.data = (const uint8_t *)"garbage", .len = 7}, .first = true};
    unsettled_in[0] = (struct amqp_delivery){.id = 0, .link = &tx->amqp};
    tx->amqp.overdrawn++;
    incoming_transfer(tx, &t);
    assert_said("tx: #0 rejected; ");
    incoming_reachable(tx);
    assert_said("tx: credit +10; ");
}

static void test_incoming_within_its_credit_is_not_told_to_overdraw(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    route_to(a, &rx, 1);
    incoming_start(tx);
    for (int i = 0; i < 10; i++)
        comes(tx, "x", true, true, false, false);
    assert_int_equal(tx->amqp.credit, 0);
    assert_false(tx->in.overdraw_told);
}

static void test_incoming_multicast_best_outcome_wins_when_all_are_in(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_MULTICAST);
    struct link *rx[3] = {new_link("r0", false, a), new_link("r1", false, a), new_link("r2", false, a)};
    struct link *tx = new_link("tx", true, a);
    for (int i = 0; i < 3; i++)
        rx[i]->amqp.credit = 1;
    route_to(a, rx, 3);
    incoming_start(tx);
    comes(tx, "x", false, true, false, false);
    said[0] = 0;
    outgoing_disposition(rx[0], &unsettled_out[0], &state_released, true);
    outgoing_disposition(rx[1], &unsettled_out[1], &state_accepted, true);
    assert_said("");
    outgoing_lost(rx[2], &unsettled_out[2]);
    assert_said("tx: #0 accepted; tx: credit +1; ");
}

static void test_incoming_abort_half_way_aborts_where_it_went(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    rx->amqp.credit = 2;
    route_to(a, &rx, 1);
    incoming_start(tx);
    comes(tx, "first", false, true, true, false);
    said[0] = 0;
    comes(tx, "", false, false, false, true);
    assert_said("rx: abort; tx: credit +1; ");
    assert_int_equal(rx->out.queued, 0);
    assert_int_equal(link_load_outstanding(&rx->load), 0);
}

static void test_incoming_link_gone_half_way_aborts_where_it_went(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    rx->amqp.credit = 2;
    route_to(a, &rx, 1);
    incoming_start(tx);
    comes(tx, "first", false, true, true, false);
    said[0] = 0;
    tx->gone = true;
    incoming_gone(tx);
    assert_said("rx: abort; ");
}

/* The sender's answer to a drain comes when its address has a receiver again. */
static void test_incoming_credit_given_back_too_late_is_granted_anew(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    route_to(a, &rx, 1);
    incoming_start(tx);
    route_to(a, NULL, 0);
    comes(tx, "x", false, true, false, false);
    route_to(a, &rx, 1);
    incoming_reachable(tx);
    said[0] = 0;
    tx->amqp.credit = 0;
    incoming_drained(tx);
    assert_said("tx: credit +10; ");
    route_to(a, NULL, 0);
    comes(tx, "x", false, true, false, false);
    said[0] = 0;
    tx->amqp.credit = 0;
    incoming_drained(tx);
    assert_said("");
}

/* The receiver goes half way, then the sender gives up: that is one credit. */
static void test_incoming_presettled_cut_then_aborted_gives_credit_back_once(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    rx->amqp.credit = 2;
    route_to(a, &rx, 1);
    incoming_start(tx);
    comes(tx, "waits", true, true, false, false);
    comes(tx, "first", true, true, true, false);
    said[0] = 0;
    rx->gone = true;
    outgoing_gone(rx);
    assert_said("tx: credit +1; ");
    comes(tx, "", true, false, false, true);
    assert_said("");
    assert_int_equal(tx->in.in_hand + tx->amqp.credit, tx->capacity);
}

static void test_incoming_garbage_is_rejected(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    route_to(a, &rx, 1);
    incoming_start(tx);
    said[0] = 0;
    struct amqp_transfer t = {
        .id = next_id++, .payload = {.data = (const uint8_t *)"garbage", .len = 7}, .first = true};
    unsettled_in[0] = (struct amqp_delivery){.id = 0, .link = &tx->amqp};
    tx->amqp.credit--;
    incoming_transfer(tx, &t);
    assert_said("tx: #0 rejected; tx: credit +1; ");
}

static void test_incoming_anonymous_without_address_is_rejected(void **state)
{
    (void)state;
    struct link *tx = new_link("tx", true, NULL);
    incoming_start(tx);
    said[0] = 0;
    comes(tx, "x", false, true, false, false);
    assert_said("tx: #0 rejected; tx: credit +1; ");
}

static void test_incoming_streams_hold_frames_until_they_have_left(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    route_to(a, &rx, 1);
    incoming_start(tx);
    comes(tx, "one", false, true, true, false);
    comes(tx, "two", false, false, true, false);
    assert_int_equal(held, 2);
    rx->amqp.credit = 1;
    outgoing_sendable(rx);
    assert_int_equal(held, 0);
    comes(tx, "three", false, false, false, false);
    assert_int_equal(held, 0);
    assert_int_equal(rx->out.queued, 0);
}

static void test_incoming_closest_takes_turns_and_passes_over_full_ones(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx[2] = {new_link("r0", false, a), new_link("r1", false, a)}, *tx = new_link("tx", true, a);
    rx[0]->capacity = 1;
    route_to(a, rx, 2);
    incoming_start(tx);
    for (int i = 0; i < 6; i++)
        comes(tx, "x", false, true, false, false);
    assert_int_equal(rx[0]->out.queued, 1);
    assert_int_equal(rx[1]->out.queued, 5);
}

static void test_incoming_settled_by_its_sender_is_settled_for_the_receiver(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a), *tx = new_link("tx", true, a);
    rx->amqp.credit = 1;
    route_to(a, &rx, 1);
    incoming_start(tx);
    comes(tx, "sent", false, true, false, false);
    comes(tx, "waits", false, true, false, false);
    said[0] = 0;
    incoming_peer_settled(tx, &unsettled_in[0]);
    assert_said("rx: settle #0; tx: credit +1; ");
    incoming_peer_settled(tx, &unsettled_in[1]);
    assert_said("");
    rx->amqp.credit = 1;
    outgoing_sendable(rx);
    assert_non_null(strstr(said, "settled; tx: credit +1; "));
}

static struct link *new_trunk_in(void)
{
    struct link *in = new_link("in", true, NULL);
    in->kind = LINK_DATA;
    conn.is_of_ours = true;
    conn.strip_in = false;
    return in;
}

/* properties(to="a"), value "x" */
static const uint8_t message_to_a[] = {0x00, 0x53, 0x73, 0xc0, 0x06, 0x03, 0x40, 0x40, 0xa1,
                                       0x01, 'a',  0x00, 0x53, 0x77, 0xa1, 0x01, 'x'};

/* A message to the address "a" comes from another router, unsettled, with a state. */
static void comes_to_a(struct link *in, const struct amqp_state *state)
{
    uint32_t id = next_id++;
    unsettled_in[id] = (struct amqp_delivery){.id = id, .link = &in->amqp, .started = (uint32_t)fake_now};
    struct amqp_transfer t = {.id = id, .payload = {.data = message_to_a, .len = sizeof message_to_a}, .first = true};
    t.delivery = &unsettled_in[id];
    t.state = *state;
    incoming_transfer(in, &t);
}

/* HELLOs of a router of ours come twelve times in a second, each wanting one credit. */
static void test_incoming_credit_of_control_messages_goes_back_for_many_to_a_router_of_ours(void **state)
{
    (void)state;
    struct link *in = new_link("in", true, NULL);
    in->kind = LINK_CONTROL;
    in->capacity = 250;
    incoming_start(in);
    conn.is_of_ours = true;
    said[0] = 0;
    for (int i = 0; i < 31; i++)
        comes(in, "hello", true, true, false, false);
    assert_null(strstr(said, "credit"));
    comes(in, "hello", true, true, false, false);
    assert_non_null(strstr(said, "credit +32"));
    /* An old router sees it come back for each, as it is used to. */
    conn.is_of_ours = false;
    said[0] = 0;
    comes(in, "hello", true, true, false, false);
    assert_non_null(strstr(said, "credit +1; "));
}

/* With a small linkCapacity it must not wait for more than the sender may send. */
static void test_incoming_credit_of_control_messages_never_waits_for_more_than_there_is(void **state)
{
    (void)state;
    conn.is_of_ours = true;
    struct link *in = new_link("in", true, NULL);
    in->kind = LINK_CONTROL;
    for (uint32_t capacity = 1; capacity <= 300; capacity++) {
        in->capacity = capacity;
        in->amqp.credit = in->in.in_hand = 0;
        incoming_start(in);
        for (int i = 0; i < 100; i++) {
            said[0] = 0;
            assert_true(in->amqp.credit > 0 && in->amqp.credit >= capacity - capacity / 8);
            comes(in, "hello", true, true, false, false);
        }
    }
    conn.is_of_ours = false;
}

/* A message with x-opt-qd.to of one letter comes from another router. */
static void comes_for(struct link *in, char letter)
{
    uint8_t message[] = {0,   0x53, 0x72, 0xc1, 17,  2,   0xa3, 11, 'x', '-', 'o',  'p',  't',
                         '-', 'q',  'd',  '.',  't', 'o', 0xa1, 1,  0,   0,   0x53, 0x77, 0x40};
    message[21] = (uint8_t)letter;
    uint32_t id = next_id++;
    unsettled_in[id] = (struct amqp_delivery){.id = id, .link = &in->amqp, .started = (uint32_t)fake_now};
    struct amqp_transfer t = {
        .id = id, .payload = {.data = message, .len = sizeof message}, .first = true, .delivery = &unsettled_in[id]};
    incoming_transfer(in, &t);
}

/* Names are kept from one message to the next, but not beyond the life of an address. */
static void test_incoming_name_told_by_a_router_is_found_anew_when_its_address_has_gone(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST), *b = new_address("M0b", DISTRIBUTION_CLOSEST);
    struct link *in = new_trunk_in(), *to_a = new_link("to_a", false, a), *to_b = new_link("to_b", false, b);
    to_a->amqp.credit = to_b->amqp.credit = 10;
    route_to(a, &to_a, 1);
    route_to(b, &to_b, 1);
    for (const char *at = "aaba"; *at; at++)
        comes_for(in, *at);
    assert_int_equal(to_a->out.unsettled, 3);
    assert_int_equal(to_b->out.unsettled, 1);
    table_remove(world.table, a);
    said[0] = 0;
    comes_for(in, 'a');
    assert_non_null(strstr(said, "released"));
    assert_int_equal(to_a->out.unsettled, 3);
}

static void test_incoming_marked_by_a_router_of_ours_is_answered_when_it_has_left(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *in = new_trunk_in(), *rx = new_link("rx", false, a);
    route_to(a, &rx, 1);
    comes_to_a(in, &state_accepted);
    assert_null(strstr(said, "#0"));
    said[0] = 0;
    rx->amqp.credit = 1;
    outgoing_sendable(rx);
    assert_non_null(strstr(said, " settled; in: #0 accepted; "));
    assert_int_equal(rx->out.unsettled, 0);
}

static void test_incoming_unmarked_from_a_router_waits_for_the_consumer(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *in = new_trunk_in(), *rx = new_link("rx", false, a);
    route_to(a, &rx, 1);
    rx->amqp.credit = 1;
    comes_to_a(in, &state_none);
    assert_null(strstr(said, "#0"));
    assert_int_equal(rx->out.unsettled, 1);
}

static void test_incoming_marked_that_nobody_wants_is_answered_and_counted(void **state)
{
    (void)state;
    struct link *in = new_trunk_in();
    comes_to_a(in, &state_accepted);
    assert_non_null(strstr(said, "in: #0 accepted; "));
    assert_int_equal(atomic_load(&in->stats.dropped_presettled), 1);
}

static struct link *new_old_trunk_in(void)
{
    struct link *in = new_trunk_in();
    conn.is_of_ours = false;
    return in;
}

/* A message that is settled as it comes on a trunk. */
static void settled_comes_to_a(struct link *in)
{
    struct amqp_transfer t = {
        .id = next_id++, .first = true, .settled = true, .payload = {.data = message_to_a, .len = sizeof message_to_a}};
    assert_true(in->amqp.credit > 0);
    in->amqp.credit--;
    incoming_transfer(in, &t);
}

static void test_incoming_settled_from_an_old_router_holds_its_credit_until_it_has_left(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *in = new_old_trunk_in(), *rx = new_link("rx", false, a);
    route_to(a, &rx, 1);
    rx->amqp.credit = 2;
    incoming_start(in);
    settled_comes_to_a(in);
    assert_int_equal(in->amqp.credit, 10); /* gone at once */
    for (int i = 0; i < 5; i++)
        settled_comes_to_a(in);
    assert_int_equal(in->amqp.credit, 6);
    comes_to_a(in, &state_none);
    assert_int_equal(in->amqp.credit, 7); /* unsettled: as before, the fake takes none */
    in->amqp.credit = 6;
    rx->amqp.credit = 10;
    outgoing_sendable(rx);
    assert_int_equal(in->amqp.credit, 10);
    assert_int_equal(in->in.in_hand, 0);
}

static void test_incoming_consumer_that_has_stopped_keeps_so_many_and_holds_no_credit(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *in = new_old_trunk_in(), *rx = new_link("rx", false, a);
    rx->capacity = 4;
    route_to(a, &rx, 1);
    incoming_start(in);
    for (int i = 0; i < 8; i++)
        settled_comes_to_a(in);
    assert_int_equal(in->amqp.credit, 2);
    pass_time(900);
    assert_int_equal(in->amqp.credit, 2);
    pass_time(200);
    assert_int_equal(in->amqp.credit, 10);
    assert_int_equal(rx->out.queued, 4);
    assert_int_equal(atomic_load(&rx->stats.dropped_presettled), 4);
    /* What comes meanwhile neither stays nor holds anybody up. */
    for (int i = 0; i < 8; i++)
        settled_comes_to_a(in);
    assert_int_equal(in->amqp.credit, 10);
    assert_int_equal(rx->out.queued, 4);
    assert_int_equal(atomic_load(&rx->stats.dropped_presettled), 12);
    /* It goes on: the oldest are there still, and nothing is dropped any more. */
    said[0] = 0;
    rx->amqp.credit = 4;
    outgoing_sendable(rx);
    assert_int_equal(rx->out.queued, 0);
    assert_int_equal(in->amqp.credit, 10);
    for (int i = 0; i < 8; i++)
        settled_comes_to_a(in);
    assert_int_equal(in->amqp.credit, 2);
    assert_int_equal(rx->out.queued, 8);
    assert_int_equal(link_load_outstanding(&rx->load), 8);
}

static void test_incoming_slow_consumer_loses_nothing(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *in = new_old_trunk_in(), *rx = new_link("rx", false, a);
    rx->capacity = 4;
    route_to(a, &rx, 1);
    incoming_start(in);
    for (int i = 0; i < 60; i++) {
        while (in->amqp.credit)
            settled_comes_to_a(in);
        pass_time(900);
        rx->amqp.credit = 1;
        outgoing_sendable(rx);
    }
    assert_int_equal(atomic_load(&rx->stats.dropped_presettled), 0);
}

static void test_incoming_consumer_that_leaves_gives_held_credit_back(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *in = new_old_trunk_in(), *rx = new_link("rx", false, a);
    route_to(a, &rx, 1);
    incoming_start(in);
    for (int i = 0; i < 8; i++)
        settled_comes_to_a(in);
    route_to(a, NULL, 0);
    rx->gone = true;
    outgoing_gone(rx);
    assert_int_equal(in->amqp.credit, 10);
    settled_comes_to_a(in); /* to nobody */
    assert_int_equal(in->amqp.credit, 10);
}

/* A multicast message to "a" from a router of ours, with the stamp 5/number. */
static void stamped_comes_to_a(struct link *in, uint64_t number)
{
    uint8_t tag[STAMP_TAG_LEN];
    stamp_to_tag(&(struct stamp){5, number}, tag);
    struct amqp_transfer t = {.id = next_id++,
                              .tag = {.data = tag, .len = sizeof tag},
                              .first = true,
                              .payload = {.data = message_to_a, .len = sizeof message_to_a}};
    unsettled_in[t.id % UNSETTLED_MAX] = (struct amqp_delivery){.id = t.id, .link = &in->amqp};
    t.delivery = amqp_link_delivery(&in->amqp, t.id);
    incoming_transfer(in, &t);
}

static void test_incoming_second_copy_by_another_way_is_released_and_goes_nowhere(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_MULTICAST);
    struct link *one = new_trunk_in(), *other = new_trunk_in(),
                *rx[] = {new_link("rx", false, a), new_link("ry", false, a)};
    world.stamps = stamps_new();
    route_to(a, rx, 2);
    rx[0]->amqp.credit = rx[1]->amqp.credit = 10;
    stamped_comes_to_a(one, 1);
    assert_int_equal(rx[0]->out.unsettled + rx[1]->out.unsettled, 2);
    said[0] = 0;
    stamped_comes_to_a(other, 1);
    assert_non_null(strstr(said, "in: #1 released; "));
    assert_null(strstr(said, "rx"));
    stamped_comes_to_a(other, 2);
    assert_int_equal(rx[0]->out.unsettled + rx[1]->out.unsettled, 4);
    stamps_free(&world.stamps);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_incoming_start_without_destination_withholds_credit),
        TEST(test_incoming_start_with_destination_gives_capacity),
        TEST(test_incoming_anonymous_start_gives_capacity),
        TEST(test_incoming_reachable_gives_first_credit_once),
        TEST(test_incoming_destination_lost_releases_and_drains_then_tops_up),
        TEST(test_incoming_own_link_without_a_destination_takes_its_credit_back),
        TEST(test_incoming_finds_the_fallback_only_while_the_address_has_nobody),
        TEST(test_incoming_from_the_fallback_is_for_consumers_alone),
        TEST(test_incoming_multicast_without_receivers_goes_to_the_fallback_once),
        TEST(test_incoming_outcome_settles_and_gives_credit_back),
        TEST(test_incoming_presettled_gives_credit_back_when_it_has_left),
        TEST(test_incoming_overdrawn_gets_no_credit_back_until_below_capacity),
        TEST(test_incoming_presettled_overdrawn_gets_capacity_back_and_no_more),
        TEST(test_incoming_overdrawn_without_destination_is_released_then_gets_capacity),
        TEST(test_incoming_garbage_before_any_credit_earns_none),
        TEST(test_incoming_within_its_credit_is_not_told_to_overdraw),
        TEST(test_incoming_multicast_best_outcome_wins_when_all_are_in),
        TEST(test_incoming_abort_half_way_aborts_where_it_went),
        TEST(test_incoming_link_gone_half_way_aborts_where_it_went),
        TEST(test_incoming_credit_given_back_too_late_is_granted_anew),
        TEST(test_incoming_presettled_cut_then_aborted_gives_credit_back_once),
        TEST(test_incoming_garbage_is_rejected),
        TEST(test_incoming_settled_by_its_sender_is_settled_for_the_receiver),
        TEST(test_incoming_anonymous_without_address_is_rejected),
        TEST(test_incoming_streams_hold_frames_until_they_have_left),
        TEST(test_incoming_closest_takes_turns_and_passes_over_full_ones),
        TEST(test_incoming_credit_of_control_messages_goes_back_for_many_to_a_router_of_ours),
        TEST(test_incoming_credit_of_control_messages_never_waits_for_more_than_there_is),
        TEST(test_incoming_name_told_by_a_router_is_found_anew_when_its_address_has_gone),
        TEST(test_incoming_marked_by_a_router_of_ours_is_answered_when_it_has_left),
        TEST(test_incoming_unmarked_from_a_router_waits_for_the_consumer),
        TEST(test_incoming_marked_that_nobody_wants_is_answered_and_counted),
        TEST(test_incoming_settled_from_an_old_router_holds_its_credit_until_it_has_left),
        TEST(test_incoming_consumer_that_has_stopped_keeps_so_many_and_holds_no_credit),
        TEST(test_incoming_slow_consumer_loses_nothing),
        TEST(test_incoming_consumer_that_leaves_gives_held_credit_back),
        TEST(test_incoming_second_copy_by_another_way_is_released_and_goes_nowhere),
    };
    return cmocka_run_group_tests(tests, play_control, NULL);
}
