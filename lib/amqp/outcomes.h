/* outcomes.h -- which outcomes a peer that sends has for its deliveries, and what it is told in place of another one:
 * its source's default outcome, else released or modified, whichever it has. A peer that is told one that it does not
 * know may end the session, with all its links (RabbitMQ 3 and `modified`, or a settlement without a state).
 *
 * Source: AMQP 1.0 part 3.5.3, Source (default-outcome, outcomes). Thread: any; pure.
 */
#ifndef TRUNKLINE_AMQP_OUTCOMES_H
#define TRUNKLINE_AMQP_OUTCOMES_H

#include <trunkline/amqp/conn.h>

struct amqp_outcomes {
    uint8_t listed;     /* a bit for each, accepted the lowest; 0: the source lists none, and so all are fine */
    uint8_t by_default; /* enum amqp_state_code, one of those listed; none: the source names no default */
    uint8_t otherwise;  /* enum amqp_state_code; none: it has nothing that could stand for another */
};

/* source: as it came in an attach, checked; empty: null. */
void amqp_outcomes_of(struct slice source, struct amqp_outcomes *out);
/* What is said for a state: itself, or a static one in place of an outcome that is not listed, or of none at all (NULL,
 * or code none), which means the default, where the source names one. */
const struct amqp_state *amqp_outcomes_state(const struct amqp_outcomes *o, const struct amqp_state *state);

#endif
