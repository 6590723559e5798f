#include <router/route/phase.h>

#include <string.h>
#include <trunkline/amqp/codec.h>

static const char fallback_capability[] = "qd.fallback", waypoint_capability[] = "qd.waypoint";

bool phase_of_number(uint8_t number, char *phase)
{
    if (number > 9 && number != PHASE_FALLBACK_NUMBER)
        return false;
    *phase = (char)('0' + number);
    return true;
}

/* The N of a symbol `qd.waypoint.N`; 0: it is another one. */
static char waypoint_of(struct slice symbol)
{
    size_t len = sizeof waypoint_capability - 1;
    if (symbol.len < len || memcmp(symbol.data, waypoint_capability, len) != 0)
        return 0;
    if (symbol.len == len)
        return '1';
    char n = symbol.len == len + 2 && symbol.data[len] == '.' ? (char)symbol.data[len + 1] : '0';
    return n >= '1' && n <= '9' ? n : 0;
}

static char waypoint_asked(const struct amqp_terminus_view *local)
{
    struct amqp_reader r = amqp_slice_reader(local->capabilities);
    struct slice one;
    if (amqp_read_symbol(&r, &one) == OK)
        return waypoint_of(one);
    struct amqp_array array;
    char found = 0;
    if (amqp_enter_array(&r, &array) != OK || amqp_type_of(array.code) != AMQP_TYPE_SYMBOL)
        return 0;
    while (!found && amqp_array_next(&array, &one) == OK)
        found = waypoint_of(one);
    return found;
}

char phase_asked(const struct amqp_terminus_view *local, bool is_producer, bool may_give_to_fallback)
{
    if ((!is_producer || may_give_to_fallback) && amqp_terminus_has_capability(local, fallback_capability))
        return PHASE_FALLBACK;
    char n = waypoint_asked(local);
    if (!n)
        return PHASE_BY_RULES;
    return is_producer ? n : (char)(n - 1);
}
