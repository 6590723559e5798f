#include "outcomes.h"

#include <trunkline/amqp/performative.h>

enum { FIRST = AMQP_ACCEPTED, COUNT = AMQP_MODIFIED - AMQP_ACCEPTED + 1 };

static uint8_t bit(enum amqp_state_code code)
{
    return amqp_state_is_terminal(code) ? (uint8_t)(1 << (code - FIRST)) : 0;
}

static uint8_t bit_of_symbol(struct slice symbol)
{
    static const char *const names[COUNT] = {"amqp:accepted:list", "amqp:rejected:list", "amqp:released:list",
                                             "amqp:modified:list"};
    for (int i = 0; i < COUNT; i++)
        if (amqp_slice_is(symbol, names[i]))
            return (uint8_t)(1 << i);
    return 0;
}

/* One symbol, or an array of them. */
static uint8_t bits_of(struct slice symbols)
{
    struct amqp_reader r = amqp_slice_reader(symbols);
    struct slice one;
    if (amqp_read_symbol(&r, &one) == OK)
        return bit_of_symbol(one);
    struct amqp_array array;
    uint8_t bits = 0;
    if (amqp_enter_array(&r, &array) == OK && amqp_type_of(array.code) == AMQP_TYPE_SYMBOL)
        while (amqp_array_next(&array, &one) == OK)
            bits |= bit_of_symbol(one);
    return bits;
}

/* The descriptor of a default outcome, if it is one of the four. */
static enum amqp_state_code code_of(struct slice outcome)
{
    struct amqp_reader r = amqp_slice_reader(outcome);
    uint64_t descriptor;
    bool is_known = outcome.len && amqp_read_descriptor(&r, &descriptor) == OK && descriptor >= AMQP_ACCEPTED &&
                    descriptor <= AMQP_MODIFIED;
    return is_known ? (enum amqp_state_code)descriptor : AMQP_STATE_NONE;
}

void amqp_outcomes_of(struct slice source, struct amqp_outcomes *out)
{
    *out = (struct amqp_outcomes){0};
    struct amqp_reader r = amqp_slice_reader(source);
    uint64_t descriptor;
    struct amqp_source_fields f;
    if (!source.len || amqp_read_descriptor(&r, &descriptor) != OK || amqp_read_source(&r, &f) != OK)
        return;
    out->listed = bits_of(f.outcomes);
    enum amqp_state_code by_default = code_of(f.default_outcome);
    if (out->listed & bit(by_default))
        out->by_default = (uint8_t)by_default;
    const enum amqp_state_code choice[] = {by_default, AMQP_RELEASED, AMQP_MODIFIED};
    for (size_t i = 0; i < sizeof choice / sizeof *choice && !out->otherwise; i++)
        if (out->listed & bit(choice[i]))
            out->otherwise = (uint8_t)choice[i];
}

const struct amqp_state *amqp_outcomes_state(const struct amqp_outcomes *o, const struct amqp_state *state)
{
    static const struct amqp_state bare[COUNT] = {
        {.code = AMQP_ACCEPTED}, {.code = AMQP_REJECTED}, {.code = AMQP_RELEASED}, {.code = AMQP_MODIFIED}};
    enum amqp_state_code code = state ? state->code : AMQP_STATE_NONE, said = AMQP_STATE_NONE;
    if (code == AMQP_STATE_NONE)
        said = o->by_default;
    else if (o->listed && bit(code) && !(o->listed & bit(code)))
        said = o->otherwise;
    return said == AMQP_STATE_NONE ? state : &bare[said - FIRST];
}
