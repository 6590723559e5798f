/* deliveries.h -- a session's unsettled deliveries in one direction, by delivery-id (AMQP 1.0 part 2.6.12, Transferring
 * A Message).
 *
 * Entries live in pages of eight contiguous ids; pages are chained from a table that block numbers index like a ring.
 * So contiguous ids cost one look-up for eight entries, a straggler that stays behind costs its page and nothing else,
 * ids may wrap, and an entry never moves: it is good until it is removed, whatever else is added. Thread: the
 * connection's owner.
 */
#ifndef TRUNKLINE_AMQP_DELIVERIES_H
#define TRUNKLINE_AMQP_DELIVERIES_H

#include <stdbool.h>
#include <stdint.h>
#include <trunkline/amqp/conn.h>

#define DELIVERIES_PAGE 8

struct delivery_page {
    struct delivery_page *next; /* in its chain, or the next spare one */
    uint32_t block;             /* id / DELIVERIES_PAGE */
    uint32_t used;              /* bit i: at[i] is an entry */
    struct amqp_delivery at[DELIVERIES_PAGE];
};

struct deliveries {
    struct delivery_page **chains; /* mask + 1 of them; NULL while nothing was ever added */
    struct delivery_page *spare;   /* a few emptied pages */
    uint32_t mask, pages, spares;
    uint32_t count;
    uint32_t removals; /* counts pages taken out, so that a walk knows when to look again */
};

void deliveries_fini(struct deliveries *m);

/* A new entry, zero but for its id; NULL: there is one already. */
struct amqp_delivery *deliveries_add(struct deliveries *m, uint32_t id);
struct amqp_delivery *deliveries_get(const struct deliveries *m, uint32_t id);
void deliveries_remove(struct deliveries *m, struct amqp_delivery *d);

/* Call fn for the entries with ids first..last (serial numbers, AMQP 1.0 part 1.6 by RFC 1982), in that order. Takes
 * time by the entries there are, not by the width of the range. fn may add and remove entries, the one it is given
 * included; false ends the walk. */
typedef bool deliveries_fn(struct amqp_delivery *d, void *arg);
void deliveries_walk(struct deliveries *m, uint32_t first, uint32_t last, deliveries_fn *fn, void *arg);
/* The same for all entries. */
void deliveries_walk_all(struct deliveries *m, deliveries_fn *fn, void *arg);

#endif
