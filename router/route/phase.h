/* phase.h -- the leg of its way that a message is on: an address whose messages pass through a container (a queue, a
 * filter) is one address for each leg, its phases, and what leaves the container enters at the next one.
 *
 *   producer --> "wp.q" phase 0 --> queue --> "wp.q" phase 1 --> consumer
 *   producer --> phase 0 --> container --> phase 1 --> container --> phase 2 --> consumer
 *
 * A rule says at which phase producers enter and from which one consumers take. A container says by its capability that
 * it is the N-th on the way: `qd.waypoint.N`, N 1 to 9, `qd.waypoint` for 1; it takes from phase N-1 and gives to phase
 * N. The fallback destination of an address is one more phase, that of receivers with capability `qd.fallback`.
 *
 * In a key (address_name.h) a phase is a character; between routers a number, the character less '0': 22 for fallback.
 *
 * Source: wire-protocol reference 5.4, Phases and waypoints, and 5.5, Fallback. Thread: any; pure.
 */
#ifndef TRUNKLINE_ROUTE_PHASE_H
#define TRUNKLINE_ROUTE_PHASE_H

#include <router/route/address_name.h>
#include <router/route/rules.h>
#include <stdbool.h>
#include <stdint.h>
#include <trunkline/amqp/terminus.h>

/* No phase: the rules decide. */
enum { PHASE_BY_RULES = 0 };

enum { PHASE_FALLBACK_NUMBER = PHASE_FALLBACK - '0' };

/* As it goes between routers. */
static inline uint8_t phase_number(char phase)
{
    return (uint8_t)(phase - '0');
}

/* Result: false, no message address has it. */
bool phase_of_number(uint8_t number, char *phase);

/* What the capabilities of the local terminus ask for, or PHASE_BY_RULES.
 *   is_producer: messages come in on the link. may_give_to_fallback: a producer may name the fallback destination: an
 *   edge router's link may, a client's may not. */
char phase_asked(const struct amqp_terminus_view *local, bool is_producer, bool may_give_to_fallback);

/* Where producers (consumers) without such a capability are. rule: the address's; NULL: none. */
static inline char phase_by_rule(const struct rule *rule, bool is_producer)
{
    if (!rule)
        return PHASE_DEFAULT;
    const struct rule_conf *conf = rule_conf(rule);
    return (char)('0' + (is_producer ? conf->ingress_phase : conf->egress_phase));
}

/* The phase that a key has; that of an address which is not mobile is none: '0'. */
static inline char phase_of_key(const char *key)
{
    return key[0] == ADDRESS_MOBILE ? key[1] : PHASE_DEFAULT;
}

#endif
