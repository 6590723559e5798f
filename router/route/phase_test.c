#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <router/route/phase.h>
#include <string.h>

#define ENCODED(text)                                                                                                  \
    {                                                                                                                  \
        NULL, (const uint8_t *)text, sizeof text - 1                                                                   \
    }

static char asked(const char *symbol, bool is_producer, bool by_edge)
{
    uint8_t octets[64] = {0xa3, (uint8_t)strlen(symbol)};
    memcpy(octets + 2, symbol, strlen(symbol));
    const struct amqp_terminus_view t = {.capabilities = {.data = octets, .len = 2 + strlen(symbol)}};
    return phase_asked(&t, is_producer, by_edge);
}

static void test_phase_container_takes_from_one_phase_and_gives_to_the_next(void **state)
{
    (void)state;
    assert_int_equal(asked("qd.waypoint", true, false), '1');
    assert_int_equal(asked("qd.waypoint", false, false), '0');
    assert_int_equal(asked("qd.waypoint.1", true, false), '1');
    assert_int_equal(asked("qd.waypoint.9", true, false), '9');
    assert_int_equal(asked("qd.waypoint.9", false, false), '8');
}

static void test_phase_of_other_capabilities_is_for_the_rules(void **state)
{
    (void)state;
    static const char *const others[] = {"queue",         "qd.waypoint.", "qd.waypoint.0", "qd.waypoint.10",
                                         "qd.waypoint.a", "qd.waypoints", "qd.waypoint1",  "qd.way"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(asked(others[i], true, false), PHASE_BY_RULES);
        assert_int_equal(asked(others[i], false, true), PHASE_BY_RULES);
    }
    const struct amqp_terminus_view none = {.capabilities = {0}}, no_symbol = {.capabilities = ENCODED("\xa1\x01q")};
    assert_int_equal(phase_asked(&none, true, true), PHASE_BY_RULES);
    assert_int_equal(phase_asked(&no_symbol, true, true), PHASE_BY_RULES);
}

static void test_phase_is_found_inside_an_array(void **state)
{
    (void)state;
    const struct amqp_terminus_view t = {.capabilities = ENCODED("\xe0\x16\x02\xa3\x05queue\x0dqd.waypoint.3")};
    assert_int_equal(phase_asked(&t, true, false), '3');
    assert_int_equal(phase_asked(&t, false, false), '2');
}

static void test_phase_fallback_is_for_receivers_and_for_links_of_edges(void **state)
{
    (void)state;
    assert_int_equal(asked("qd.fallback", false, false), PHASE_FALLBACK);
    assert_int_equal(asked("qd.fallback", false, true), PHASE_FALLBACK);
    assert_int_equal(asked("qd.fallback", true, true), PHASE_FALLBACK);
    assert_int_equal(asked("qd.fallback", true, false), PHASE_BY_RULES);
}

static void test_phase_numbers_go_both_ways(void **state)
{
    (void)state;
    char phase;
    for (int n = 0; n < 256; n++) {
        bool is_one = n <= 9 || n == 22;
        assert_int_equal(phase_of_number((uint8_t)n, &phase), is_one);
        if (is_one)
            assert_int_equal(phase_number(phase), n);
    }
    assert_true(phase_of_number(22, &phase));
    assert_int_equal(phase, 'F');
    assert_int_equal(phase_of_key("M1q"), '1');
    assert_int_equal(phase_of_key("L1q"), '0');
}

static void test_phase_by_rule_is_that_of_the_side(void **state)
{
    (void)state;
    struct rules *none = rules_new(), *r;
    const struct rule_conf conf = {
        .identity = "1", .text = "q", .is_prefix = true, .ingress_phase = 2, .egress_phase = 5};
    assert_false(rules_have_later_ingress(none));
    assert_int_equal(rules_with(none, &conf, &r), OK);
    assert_true(rules_have_later_ingress(r));
    const struct rule *rule = rules_match(r, "q", 1);
    assert_int_equal(phase_by_rule(rule, true), '2');
    assert_int_equal(phase_by_rule(rule, false), '5');
    assert_int_equal(phase_by_rule(NULL, true), '0');
    struct rules *again;
    assert_int_equal(rules_without(r, "1", &again), OK);
    assert_false(rules_have_later_ingress(again));
    rules_free(&again);
    rules_free(&r);
    rules_free(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_phase_container_takes_from_one_phase_and_gives_to_the_next),
        cmocka_unit_test(test_phase_of_other_capabilities_is_for_the_rules),
        cmocka_unit_test(test_phase_is_found_inside_an_array),
        cmocka_unit_test(test_phase_fallback_is_for_receivers_and_for_links_of_edges),
        cmocka_unit_test(test_phase_numbers_go_both_ways),
        cmocka_unit_test(test_phase_by_rule_is_that_of_the_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
