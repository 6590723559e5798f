#include "hello.h"

#include "wire.h"

#include <stdio.h>
#include <string.h>
#include <trunkline/base/list.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#define LINKS 8

/* A table, and what it has sent. */
static struct {
    struct hello_owner owner;
    struct hello *hello;
    mono_ms now;
    struct {
        int count;
        mono_ms last;
        char seen[64]; /* "A,B," of the last one */
    } sent[LINKS];
    char joined[64]; /* "A,B," */
    const char *banned;
} t;

static void on_send(struct hello_owner *o, uint64_t link, const char *const *seen, uint32_t n)
{
    (void)o;
    t.sent[link].count++;
    t.sent[link].last = t.now;
    t.sent[link].seen[0] = '\0';
    for (uint32_t i = 0; i < n; i++) {
        strcat(t.sent[link].seen, seen[i]);
        strcat(t.sent[link].seen, ",");
    }
}

static bool on_may_join(struct hello_owner *o, const char *id, struct start start)
{
    (void)o;
    (void)start;
    return t.banned == NULL || strcmp(id, t.banned) != 0;
}

static void on_joined(struct hello_owner *o, const struct neighbour *n)
{
    (void)o;
    strcat(t.joined, n->id);
    strcat(t.joined, ",");
}

static int set_up(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    t.now = 1000;
    t.owner = (struct hello_owner){on_send, on_may_join, on_joined};
    t.hello = hello_new(&(struct hello_conf){.id = "me",
                                             .start = {.instance = 7},
                                             .interval = 1000,
                                             .max_age = 3000,
                                             .fast_interval = 80,
                                             .fast_max_age = 260,
                                             .max_links = 4},
                        &t.owner);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hello_free(&t.hello);
    return 0;
}

static const struct hello_peer OLD = {.cost = 1}, OURS = {.cost = 1, .is_ours = true, .fast_interval = 80};

static void up(uint64_t link, struct hello_peer peer)
{
    assert_int_equal(hello_link_up(t.hello, link, &peer, t.now), OK);
}

/* A HELLO of router `id` that names `seen` (one router or none). */
static void hear_life(uint64_t link, const char *id, int64_t instance, int64_t life, const char *seen)
{
    uint8_t octets[64];
    struct amqp_writer w = amqp_writer(octets, sizeof octets);
    amqp_write_string_of(&w, seen ? seen : "nobody");
    struct amqp_compound list = {{octets, octets + w.len}, 1};
    struct slice name = {NULL, (const uint8_t *)id, strlen(id)};
    assert_int_equal(hello_receive(t.hello, link, name, (struct start){instance, life}, list, t.now), OK);
}

static void hear(uint64_t link, const char *id, int64_t instance, const char *seen)
{
    hear_life(link, id, instance, 0, seen);
}

/* Let time pass with a tick each time one is due, as a loop does it. */
static void pass(mono_ms ms)
{
    for (mono_ms end = t.now + ms; t.now < end;) {
        mono_ms due = hello_deadline(t.hello);
        t.now = due > end ? end : due > t.now ? due : t.now;
        hello_tick(t.hello, t.now);
    }
}

static const struct neighbour *find(const char *id)
{
    return hello_neighbour(t.hello, (struct slice){NULL, (const uint8_t *)id, strlen(id)});
}

static void test_hello_link_up_says_hello_at_once_and_each_second(void **state)
{
    (void)state;
    up(1, OLD);
    assert_int_equal(t.sent[1].count, 1);
    assert_string_equal(t.sent[1].seen, "");
    pass(10000);
    assert_int_equal(t.sent[1].count, 11);
    up(2, OURS);
    pass(800);
    assert_int_equal(t.sent[2].count, 11);
}

static void test_hello_both_ways_makes_a_neighbour(void **state)
{
    (void)state;
    up(1, OLD);
    hear(1, "A", 5, NULL);
    assert_null(find("A"));
    assert_string_equal(t.sent[1].seen, "A,"); /* named at once, not a second later */
    assert_false(hello_take_change(t.hello));
    hear(1, "A", 5, "me");
    assert_non_null(find("A"));
    assert_int_equal(find("A")->link, 1);
    assert_string_equal(t.joined, "A,");
    assert_true(hello_take_change(t.hello));
    assert_false(hello_take_change(t.hello));
}

static void test_hello_old_router_silent_lost_after_three_seconds(void **state)
{
    (void)state;
    up(1, OLD);
    hear(1, "A", 5, "me");
    pass(3000);
    assert_non_null(find("A"));
    pass(2);
    assert_null(find("A"));
    pass(100000);
    hear(1, "A", 5, "me"); /* on the same connection, as after a long stop */
    assert_non_null(find("A"));
}

static void test_hello_ours_silent_lost_within_300_ms(void **state)
{
    (void)state;
    up(1, OURS);
    for (int i = 0; i < 100; i++) {
        hear(1, "A", 5, "me");
        pass(80);
        assert_non_null(find("A"));
    }
    mono_ms silent_since = t.now;
    while (find("A"))
        pass(1);
    assert_in_range(t.now - silent_since, 1, 299);
}

static void test_hello_interval_the_slower_of_both_counts(void **state)
{
    (void)state;
    up(1, (struct hello_peer){.cost = 1, .is_ours = true, .fast_interval = 400});
    hear(1, "A", 5, "me");
    pass(1250);
    assert_non_null(find("A")); /* three of its intervals and a bit */
    pass(60);
    assert_null(find("A"));
    up(2, (struct hello_peer){.cost = 1, .is_ours = true, .fast_interval = 0}); /* it does not want to */
    hear(2, "B", 5, "me");
    pass(3000);
    assert_non_null(find("B"));
}

static void test_hello_late_peer_is_given_more_time_and_less_again(void **state)
{
    (void)state;
    up(1, OURS);
    hear(1, "A", 5, "me");
    assert_int_equal(hello_link_age(t.hello, 1), 260);
    /* A machine on which each HELLO is a quarter of a second late. */
    for (int i = 0; i < 20; i++) {
        pass(250);
        hear(1, "A", 5, "me");
        assert_non_null(find("A"));
    }
    assert_int_equal(hello_link_age(t.hello, 1), 580);
    for (int i = 0; i < 200; i++) {
        pass(80);
        hear(1, "A", 5, "me");
    }
    assert_in_range(hello_link_age(t.hello, 1), 260, 299);
}

static void test_hello_lost_by_false_alarm_is_not_lost_so_again(void **state)
{
    (void)state;
    up(1, OURS);
    hear(1, "A", 5, "me");
    pass(700);
    assert_null(find("A"));
    hear(1, "A", 5, "me");
    assert_non_null(find("A"));
    pass(700);
    assert_non_null(find("A"));
}

/* How often and how late HELLOs came that nobody looked at is told before each tick. */
static void test_hello_repeated_unseen_keeps_the_neighbour_and_teaches_lateness(void **state)
{
    (void)state;
    up(1, OURS);
    assert_false(hello_link_is_steady(t.hello, 1));
    hear(1, "A", 5, "me");
    assert_true(hello_link_is_steady(t.hello, 1));
    for (int i = 0; i < 100; i++) {
        pass(80);
        hello_repeated(t.hello, 1, t.now - 20, 80);
    }
    assert_non_null(find("A"));
    assert_int_equal(hello_link_age(t.hello, 1), 260);
    hello_repeated(t.hello, 1, t.now - 10, 200);
    assert_int_equal(hello_link_age(t.hello, 1), 480);
    hello_repeated(t.hello, 1, t.now - 10, 250); /* has been told */
    assert_int_equal(hello_link_age(t.hello, 1), 480);
    pass(500);
    assert_null(find("A"));
    assert_false(hello_link_is_steady(t.hello, 1));
    hello_repeated(t.hello, 1, t.now, 80); /* what it says is not known: only a HELLO brings it back */
    assert_null(find("A"));
    hear(1, "A", 5, "me");
    assert_non_null(find("A"));
}

static void test_hello_repeated_by_an_old_router_is_to_be_looked_at(void **state)
{
    (void)state;
    up(1, OLD);
    hear(1, "A", 5, "me");
    assert_non_null(find("A"));
    assert_false(hello_link_is_steady(t.hello, 1));
}

/* A HELLO that waits behind many octets on a slow line. */
static void test_hello_of_whom_octets_come_is_waited_for_as_long_as_an_old_router(void **state)
{
    (void)state;
    up(1, OURS);
    hear(1, "A", 5, "me");
    for (int i = 0; i < 290; i++) {
        hello_link_received(t.hello, 1, t.now);
        pass(10);
        assert_non_null(find("A"));
    }
    hear(1, "A", 5, "me");
    assert_int_equal(hello_link_age(t.hello, 1), 260); /* of a HELLO that is as late as that nothing is learnt */
    for (int i = 0; i < 301; i++) {
        hello_link_received(t.hello, 1, t.now);
        pass(10);
    }
    assert_null(find("A"));
}

static void test_hello_of_whom_octets_came_is_lost_when_they_end(void **state)
{
    (void)state;
    up(1, OURS);
    hear(1, "A", 5, "me");
    pass(200);
    hello_link_received(t.hello, 1, t.now);
    pass(260);
    assert_non_null(find("A"));
    pass(1);
    assert_null(find("A"));
    hello_link_received(t.hello, 1, t.now); /* of what came before: only a HELLO brings it back */
    pass(10);
    assert_null(find("A"));
}

static void test_hello_late_ourselves_everybody_is_given_more_time(void **state)
{
    (void)state;
    up(1, OURS);
    hear(1, "A", 5, "me");
    t.now = hello_deadline(t.hello) + 40;
    hello_tick(t.hello, t.now);
    assert_int_equal(hello_link_age(t.hello, 1), 340);
    for (int i = 0; i < 100; i++) {
        pass(80);
        hear(1, "A", 5, "me");
    }
    assert_int_equal(hello_link_age(t.hello, 1), 260);
}

static void test_hello_all_links_are_said_hello_at_the_same_moments(void **state)
{
    (void)state;
    up(1, OURS);
    pass(33);
    up(2, OURS);
    pass(400);
    assert_int_equal(t.sent[1].last, t.sent[2].last);
    assert_int_equal(t.sent[1].last % 80, 0);
}

static void test_hello_we_were_held_up_nobody_is_lost_for_it(void **state)
{
    (void)state;
    up(1, OURS);
    up(2, OLD);
    hear(1, "A", 5, "me");
    hear(2, "B", 5, "me");
    pass(200);
    t.now += 20000; /* not run for so long; what they sent has not been read yet */
    hello_tick(t.hello, t.now);
    assert_non_null(find("A"));
    assert_non_null(find("B"));
    pass(300); /* they are silent indeed */
    assert_null(find("A"));
    assert_non_null(find("B"));
    pass(3000);
    assert_null(find("B"));
}

static void test_hello_no_longer_named_lost_at_once(void **state)
{
    (void)state;
    up(1, OLD);
    hear(1, "A", 5, "me");
    pass(1000);
    hear(1, "A", 5, NULL);
    assert_null(find("A"));
    pass(1000);
    assert_string_equal(t.sent[1].seen, "A,"); /* we do hear it */
}

static void test_hello_link_down_lost_at_once(void **state)
{
    (void)state;
    up(1, OLD);
    hear(1, "A", 5, "me");
    assert_int_equal(hello_link_down(t.hello, 1, t.now), OK);
    assert_null(find("A"));
    assert_int_equal(hello_link_down(t.hello, 1, t.now), ERR_NOT_FOUND);
    assert_true(hello_deadline(t.hello) == MONO_MS_NEVER);
}

static void test_hello_two_old_routers_each_named_to_both(void **state)
{
    (void)state;
    up(1, OLD);
    up(2, OLD);
    hear(1, "A", 5, "me");
    hear(2, "B", 5, "me");
    pass(1000);
    assert_string_equal(t.sent[1].seen, "A,B,");
    assert_string_equal(t.sent[2].seen, "A,B,");
}

static void test_hello_second_router_of_that_id_refused_until_the_first_goes(void **state)
{
    (void)state;
    up(1, OLD);
    up(2, OLD);
    hear(1, "A", 5, "me");
    for (int i = 0; i < 10; i++) {
        pass(1000);
        hear(1, "A", 5, "me");
        hear(2, "A", 6, "me");
        assert_int_equal(find("A")->link, 1);
        assert_int_equal(find("A")->start.instance, 5);
        assert_string_equal(t.sent[2].seen, ""); /* so it does not take us for a neighbour */
    }
    assert_string_equal(t.joined, "A,");
    pass(3100); /* the first one is silent */
    hear(2, "A", 6, "me");
    assert_int_equal(find("A")->link, 2);
    assert_int_equal(find("A")->start.instance, 6);
}

/* Both have started within the same second, so that their instance is the same. */
static void test_hello_second_router_of_that_id_and_second_refused(void **state)
{
    (void)state;
    up(1, OURS);
    up(2, OURS);
    for (int i = 0; i < 10; i++) {
        hear_life(1, "A", 5, 71, "me");
        hear_life(2, "A", 5, 72, "me");
        assert_int_equal(find("A")->link, 1);
        assert_string_equal(t.sent[2].seen, "");
        pass(80);
    }
    assert_string_equal(t.joined, "A,");
    assert_int_equal(hello_link_down(t.hello, 1, t.now), OK);
    hear_life(2, "A", 5, 72, "me");
    assert_int_equal(find("A")->link, 2);
}

/* A second connection to the same router is no second router, also when one of the two says less. */
static void test_hello_same_start_on_two_links_is_one_router(void **state)
{
    (void)state;
    up(1, OURS);
    up(2, OURS);
    hear_life(1, "A", 5, 71, "me");
    hear_life(2, "A", 5, 71, "me");
    assert_string_equal(t.sent[2].seen, "A,");
    hear_life(2, "A", 5, 0, "me");
    assert_non_null(hello_link_peer(t.hello, 2));
}

static void test_hello_own_id_refused(void **state)
{
    (void)state;
    up(1, OLD);
    hear(1, "me", 6, "me");
    hear(1, "me", 7, "me");
    uint32_t n;
    hello_neighbours(t.hello, &n);
    assert_int_equal(n, 0);
    pass(1000);
    assert_string_equal(t.sent[1].seen, "");
    assert_null(hello_link_peer(t.hello, 1));
}

static void test_hello_owner_says_no_refused_and_let_in_later(void **state)
{
    (void)state;
    up(1, OURS);
    t.banned = "A";
    hear(1, "A", 5, "me");
    assert_null(find("A"));
    t.banned = NULL;
    hear(1, "A", 5, "me");
    assert_non_null(find("A"));
}

static void test_hello_restarted_on_the_same_link_joins_anew(void **state)
{
    (void)state;
    up(1, OURS);
    hear(1, "A", 5, "me");
    hear(1, "A", 6, "me");
    assert_int_equal(find("A")->start.instance, 6);
    assert_string_equal(t.joined, "A,A,");
}

static void test_hello_two_links_to_ours_the_cheaper_is_used(void **state)
{
    (void)state;
    struct hello_peer dear = OURS;
    dear.cost = 9;
    up(1, dear);
    up(2, OURS);
    hear(1, "A", 5, "me");
    hear(2, "A", 5, "me");
    assert_int_equal(find("A")->link, 2);
    assert_string_equal(t.joined, "A,");
    (void)hello_take_change(t.hello);
    hello_link_down(t.hello, 2, t.now);
    assert_int_equal(find("A")->link, 1);
    assert_int_equal(find("A")->cost, 9);
    assert_true(hello_take_change(t.hello));
    assert_string_equal(t.joined, "A,"); /* it was a neighbour all the time */
}

static void test_hello_two_links_to_an_old_router_it_is_named_on_one(void **state)
{
    (void)state;
    up(1, OLD);
    up(2, OLD);
    hear(1, "A", 5, NULL);
    hear(2, "A", 5, NULL);
    for (int i = 0; i < 3; i++) {
        pass(1000);
        hear(1, "A", 5, "me");
        hear(2, "A", 5, "me");
        assert_int_equal(find("A")->link, 1);
        assert_string_equal(t.sent[1].seen, "A,");
        assert_string_equal(t.sent[2].seen, ""); /* or it would move us to and fro */
    }
    hello_link_down(t.hello, 1, t.now);
    assert_int_equal(find("A")->link, 2);
    assert_string_equal(t.sent[2].seen, "A,");
    assert_int_equal(t.sent[2].last, t.now);
}

static void test_hello_links_bounded(void **state)
{
    (void)state;
    for (uint64_t link = 0; link < 4; link++)
        up(link, OLD);
    assert_int_equal(hello_link_up(t.hello, 3, &OLD, t.now), ERR_EXISTS);
    assert_int_equal(hello_link_up(t.hello, 4, &OLD, t.now), ERR_LIMIT);
    struct amqp_compound none = {0};
    struct slice id = {NULL, (const uint8_t *)"A", 1};
    assert_int_equal(hello_receive(t.hello, 4, id, (struct start){.instance = 1}, none, t.now), ERR_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hello_link_up_says_hello_at_once_and_each_second),
        TEST(test_hello_both_ways_makes_a_neighbour),
        TEST(test_hello_old_router_silent_lost_after_three_seconds),
        TEST(test_hello_ours_silent_lost_within_300_ms),
        TEST(test_hello_interval_the_slower_of_both_counts),
        TEST(test_hello_late_peer_is_given_more_time_and_less_again),
        TEST(test_hello_lost_by_false_alarm_is_not_lost_so_again),
        TEST(test_hello_repeated_unseen_keeps_the_neighbour_and_teaches_lateness),
        TEST(test_hello_repeated_by_an_old_router_is_to_be_looked_at),
        TEST(test_hello_of_whom_octets_come_is_waited_for_as_long_as_an_old_router),
        TEST(test_hello_of_whom_octets_came_is_lost_when_they_end),
        TEST(test_hello_late_ourselves_everybody_is_given_more_time),
        TEST(test_hello_all_links_are_said_hello_at_the_same_moments),
        TEST(test_hello_we_were_held_up_nobody_is_lost_for_it),
        TEST(test_hello_no_longer_named_lost_at_once),
        TEST(test_hello_link_down_lost_at_once),
        TEST(test_hello_two_old_routers_each_named_to_both),
        TEST(test_hello_second_router_of_that_id_refused_until_the_first_goes),
        TEST(test_hello_second_router_of_that_id_and_second_refused),
        TEST(test_hello_same_start_on_two_links_is_one_router),
        TEST(test_hello_own_id_refused),
        TEST(test_hello_owner_says_no_refused_and_let_in_later),
        TEST(test_hello_restarted_on_the_same_link_joins_anew),
        TEST(test_hello_two_links_to_ours_the_cheaper_is_used),
        TEST(test_hello_two_links_to_an_old_router_it_is_named_on_one),
        TEST(test_hello_links_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
