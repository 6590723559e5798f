#include "outcomes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <trunkline/amqp/performative.h>

static struct slice encoded(const char *text, size_t n)
{
    return (struct slice){NULL, (const uint8_t *)text, n};
}
#define ENCODED(text) encoded(text, sizeof text - 1)

/* A source with these outcomes, and this default; empty: without. */
static struct amqp_outcomes outcomes(struct slice list, struct slice otherwise)
{
    static uint8_t memory[256];
    struct amqp_source_fields f = {0};
    if (list.len)
        AMQP_SET(&f, outcomes, list);
    if (otherwise.len)
        AMQP_SET(&f, default_outcome, otherwise);
    struct amqp_writer w = amqp_writer(memory, sizeof memory);
    amqp_write_source(&w, &f);
    struct amqp_outcomes o;
    amqp_outcomes_of((struct slice){NULL, memory, w.len}, &o);
    return o;
}

#define ACCEPTED_SYMBOL                                                                                                \
    "\x12"                                                                                                             \
    "amqp:accepted:list"
#define REJECTED_SYMBOL                                                                                                \
    "\x12"                                                                                                             \
    "amqp:rejected:list"
#define RELEASED_SYMBOL                                                                                                \
    "\x12"                                                                                                             \
    "amqp:released:list"
#define MODIFIED_SYMBOL                                                                                                \
    "\x12"                                                                                                             \
    "amqp:modified:list"
/* Arrays of symbols. */
static const char rabbitmq[] = "\xe0\x3b\x03\xa3" ACCEPTED_SYMBOL REJECTED_SYMBOL RELEASED_SYMBOL;
static const char without_released[] = "\xe0\x28\x02\xa3" ACCEPTED_SYMBOL MODIFIED_SYMBOL;
static const char two[] = "\xe0\x28\x02\xa3" ACCEPTED_SYMBOL REJECTED_SYMBOL;
static const char none[] = "";

static enum amqp_state_code said(const struct amqp_outcomes *o, enum amqp_state_code code)
{
    const struct amqp_state s = {.code = code}, *got = amqp_outcomes_state(o, &s);
    assert_true(code != got->code || got == &s); /* with its fields */
    return got->code;
}

static void test_outcomes_of_a_source_that_lists_none_are_all_fine(void **state)
{
    (void)state;
    struct amqp_outcomes o = outcomes(ENCODED(none), ENCODED("\x00\x53\x26\x45"));
    assert_int_equal(said(&o, AMQP_MODIFIED), AMQP_MODIFIED);
    assert_null(amqp_outcomes_state(&o, NULL));
    amqp_outcomes_of((struct slice){0}, &o);
    assert_int_equal(said(&o, AMQP_MODIFIED), AMQP_MODIFIED);
}

static void test_outcomes_that_are_not_listed_are_the_default_or_released(void **state)
{
    (void)state;
    struct amqp_outcomes o = outcomes(ENCODED(rabbitmq), ENCODED("\x00\x53\x26\x45"));
    assert_int_equal(said(&o, AMQP_ACCEPTED), AMQP_ACCEPTED);
    assert_int_equal(said(&o, AMQP_REJECTED), AMQP_REJECTED);
    assert_int_equal(said(&o, AMQP_MODIFIED), AMQP_RELEASED);
    o = outcomes(ENCODED(rabbitmq), ENCODED("\x00\x53\x25\x45"));
    assert_int_equal(said(&o, AMQP_MODIFIED), AMQP_REJECTED);
    o = outcomes(ENCODED(rabbitmq), ENCODED("\x00\x53\x27\x45")); /* which it does not list */
    assert_int_equal(said(&o, AMQP_MODIFIED), AMQP_RELEASED);
    o = outcomes(ENCODED(without_released), ENCODED(none));
    assert_int_equal(said(&o, AMQP_RELEASED), AMQP_MODIFIED);
    o = outcomes(ENCODED("\xa3" RELEASED_SYMBOL), ENCODED(none));
    assert_int_equal(said(&o, AMQP_ACCEPTED), AMQP_RELEASED);
}

static void test_outcomes_settled_without_a_state_is_the_default_where_one_is_named(void **state)
{
    (void)state;
    struct amqp_outcomes o = outcomes(ENCODED(rabbitmq), ENCODED("\x00\x53\x26\x45"));
    assert_int_equal(amqp_outcomes_state(&o, NULL)->code, AMQP_RELEASED);
    assert_int_equal(said(&o, AMQP_STATE_NONE), AMQP_RELEASED);
    o = outcomes(ENCODED(rabbitmq), ENCODED("\x00\x53\x27\x45")); /* which it does not list */
    assert_int_equal(said(&o, AMQP_STATE_NONE), AMQP_STATE_NONE);
    o = outcomes(ENCODED(rabbitmq), ENCODED(none));
    assert_null(amqp_outcomes_state(&o, NULL));
    assert_int_equal(said(&o, AMQP_STATE_NONE), AMQP_STATE_NONE);
}

static void test_outcomes_with_nothing_to_stand_for_another_stay(void **state)
{
    (void)state;
    struct amqp_outcomes o = outcomes(ENCODED(two), ENCODED(none));
    assert_int_equal(said(&o, AMQP_RELEASED), AMQP_RELEASED);
    o = outcomes(ENCODED("\xa3\x03"
                         "a:b"),
                 ENCODED("\x00\x53\x26\x45"));
    assert_int_equal(said(&o, AMQP_MODIFIED), AMQP_MODIFIED);
}

static void test_outcomes_states_that_are_none_stay(void **state)
{
    (void)state;
    struct amqp_outcomes o = outcomes(ENCODED(rabbitmq), ENCODED(none));
    static const enum amqp_state_code kept[] = {AMQP_RECEIVED, AMQP_TRANSACTIONAL, AMQP_DECLARED, AMQP_STATE_OTHER};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        assert_int_equal(said(&o, kept[i]), kept[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes_of_a_source_that_lists_none_are_all_fine),
        cmocka_unit_test(test_outcomes_that_are_not_listed_are_the_default_or_released),
        cmocka_unit_test(test_outcomes_settled_without_a_state_is_the_default_where_one_is_named),
        cmocka_unit_test(test_outcomes_with_nothing_to_stand_for_another_stay),
        cmocka_unit_test(test_outcomes_states_that_are_none_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
