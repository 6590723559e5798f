/* lineage.h -- what a message that an exchange has passed on carries with it, so that none goes round for ever.
 *
 * Exchanges that are bound to each other, over one router or several, would send a message in a circle. The first
 * exchange that it comes to therefore numbers it (stamp.h), and all copies keep the number: an exchange passes each
 * number on once (exchange.h). And a copy counts the exchanges of its way, which ends after LINEAGE_MAX: this holds
 * even where an exchange has forgotten the number.
 *
 *   in annotation x-opt-trunkline.exchanged, binary:
 *   01              form
 *   hops            octet, 1 to LINEAGE_MAX
 *   source, number  8 octets each, least first
 *
 * Thread: any; pure.
 */
#ifndef TRUNKLINE_ROUTE_LINEAGE_H
#define TRUNKLINE_ROUTE_LINEAGE_H

#include <router/route/stamp.h>
#include <stdbool.h>
#include <stdint.h>
#include <trunkline/base/buffer.h>

struct lineage {
    struct stamp original;
    uint8_t hops; /* exchanges that have passed it on; 0: none has, and there is no number */
};

enum { LINEAGE_LEN = 18, LINEAGE_MAX = 16 };

void lineage_write(const struct lineage *l, uint8_t out[LINEAGE_LEN]);
/* octets: empty: there is none. Result: hops 0, if they are none. */
struct lineage lineage_read(struct slice octets);

#endif
