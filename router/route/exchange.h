/* exchange.h -- an address whose messages are passed on by their subject: to the next hop of each binding whose key
 * matches it, and to the address's own receivers.
 *
 *   message to the exchange's address -> its own receivers, and each distinct next hop of the bindings that match
 *   next hop is an exchange's address here: -> likewise, from there on
 *   nobody has had it:                   the alternate address, if there is one; else released (settled: dropped)
 *   a message without a subject:         matches no binding, not even `#`
 *   it has been at this exchange:        nobody; released
 *
 * Copies are settled ones. The sender's delivery is accepted when all of them have left, and its credit comes back
 * then: a slow receiver of one next hop slows the senders, and nothing is queued without bound. A copy for a next hop
 * that goes to another router begins there anew, with this router as its ingress, and with a stamp of its own if it is
 * multicast; one for receivers of the address itself goes on as the message came, so that it goes to nobody twice. What
 * another router has sent here goes to the others' receivers only if it is multicast, or has receivers here, too: the
 * exchange is one that has it.
 *
 * Invariant: an exchange passes each message on once, however exchanges are bound to each other, and wherever they are.
 * All copies of a message carry the number that its first exchange gave it (lineage.h); that one knows its own numbers,
 * and the others remember those that have come. What a container sends is a new message.
 *
 * What keys are, is said in exchange_keys.h. The address exists, is announced to other routers, and gives its senders
 * credit, for as long as the exchange does.
 *
 * Source: management reference 4.8, exchange, binding; wire-protocol reference 5.8.
 * Thread: control, except where said.
 */
#ifndef TRUNKLINE_ROUTE_EXCHANGE_H
#define TRUNKLINE_ROUTE_EXCHANGE_H

#include <router/route/forward.h>
#include <router/route/lineage.h>
#include <router/route/table.h>
#include <stdbool.h>
#include <stdint.h>
#include <trunkline/base/err.h>
#include <trunkline/base/list.h>
#include <trunkline/base/lock.h>

struct exchange;
struct binding;
struct route_world;

struct exchange_conf {
    const char *name, *address;
    const char *alternate; /* address; NULL: none */
    uint8_t phase, alternate_phase;
    bool is_mqtt;
};

struct binding_conf {
    const char *name;     /* NULL: none */
    const char *exchange; /* name */
    const char *key;      /* NULL: `#` */
    const char *next_hop; /* address */
    uint8_t next_hop_phase;
};

void exchanges_start(struct route_world *world) ON_CONTROL;
/* Workers have stopped. */
void exchanges_stop(void) ON_CONTROL;

enum exchange_error {
    EXCHANGE_OK,
    EXCHANGE_NAME_TAKEN,
    EXCHANGE_ADDRESS_TAKEN,
    EXCHANGE_BAD_ADDRESS, /* it is none of messages: empty, or of a place */
    BINDING_NO_EXCHANGE,
    BINDING_BAD_KEY,
    BINDING_BAD_NEXT_HOP,
    BINDING_EXISTS, /* of that exchange, with that key and next hop */
};
/* What CREATE says of it (management reference 2.5). */
const char *exchange_error_text(enum exchange_error e);

enum exchange_error exchange_add(const struct exchange_conf *conf, struct exchange **out) ON_CONTROL;
/* With its bindings. Messages under way keep their course. */
void exchange_remove(struct exchange *e) ON_CONTROL;
enum exchange_error binding_add(const struct binding_conf *conf, struct binding **out) ON_CONTROL;
void binding_remove(struct binding *b) ON_CONTROL;

/* For management. */
struct exchange *exchange_find(uint64_t identity) ON_CONTROL; /* NULL: none */
struct binding *binding_find(uint64_t identity) ON_CONTROL;
struct list *exchanges(void) ON_CONTROL; /* of what exchange_of_node() takes */
struct list *bindings(void) ON_CONTROL;
struct exchange *exchange_of_node(struct list *n);
struct binding *binding_of_node(struct list *n);
const struct exchange_conf *exchange_conf(const struct exchange *e) ON_CONTROL;
const struct binding_conf *binding_conf(const struct binding *b) ON_CONTROL;
uint64_t exchange_identity(const struct exchange *e) ON_CONTROL;
uint64_t binding_identity(const struct binding *b) ON_CONTROL;
struct exchange_counts {
    uint64_t received, dropped, forwarded, diverted;
    uint32_t bindings;
};
void exchange_counts(const struct exchange *e, struct exchange_counts *out) ON_CONTROL;
uint64_t binding_matched(const struct binding *b) ON_CONTROL;

/* Free what routing threads have seen of an exchange. For rcu_defer(). Thread: any. */
void exchange_view_reclaim(void *view);

/* ---- what routing threads use ---- */

struct exchange_message {
    struct slice subject;          /* data NULL: none */
    const struct passage *passage; /* how it came */
    struct stamp stamp;            /* under which it goes on to receivers of its address; number 0: none */
    struct lineage lineage;        /* what it carries of exchanges; hops 0: it has been at none */
};

/* One copy of a message. */
struct exchange_copy {
    struct link_token to;
    struct named_address name; /* for the next router; good until the next quiet point */
    struct stamp stamp;        /* number 0: none */
    struct lineage lineage;
    bool is_own; /* for a receiver of the exchange's own address */
};

struct exchange_copies {
    struct exchange_copy *to; /* to free */
    uint32_t count;           /* 0: nobody can have it */
};

/* Where the copies of a message to a go, each counted as sent to its link.
 *   Ownership: *out is the caller's. Result: false, it has been here before, and goes nowhere. Thread: a routing
 * thread.
 */
bool exchange_copies(struct address *a, const struct exchange_message *m, uint32_t *round_robin,
                     struct exchange_copies *out);

#endif
