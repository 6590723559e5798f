/* autolink.h -- links to containers (queues of brokers, say) that the router attaches because configuration says so.
 *
 *   configured -> (a connection of that name is open) attaching -> active -> (the connection goes) inactive
 *   refused, or detached by the container: failed -> after 3 s attaching again, then each 6 s, until that goes
 *
 *   refused, and not detached by the container: failed; attaching again likewise, once the container has detached it
 *
 *   the container ends the session, and so all links in it: likewise, each in a session of its own from then on
 *
 *   several connections have the name: a link on each: a queue that is spread over them
 *
 * direction in: the router receives, and what comes is for the address at its phase; out: it sends what is for it.
 * Credit, load and settlement are those of any link (incoming.h, outgoing.h): a receiver gets credit while messages can
 * go somewhere.
 *
 * Invariants
 *   A1  On each open connection that answers to an autoLink's name there is one link of it, or one is being attached,
 *       or a timer runs that attaches one.
 *   A2  A link belongs to one autoLink, and ends with it.
 *
 * Source: wire-protocol reference 2.8, Route-container connections; there several connections of one name are not
 * thought of. Management reference 4.7, autoLink. Thread: control.
 */
#ifndef TRUNKLINE_ROUTE_AUTOLINK_H
#define TRUNKLINE_ROUTE_AUTOLINK_H

#include <router/route/container.h>
#include <stdbool.h>
#include <stdint.h>
#include <trunkline/base/clock.h>
#include <trunkline/base/err.h>
#include <trunkline/base/list.h>
#include <trunkline/base/lock.h>

struct loop;
struct route_world;
struct link;

enum autolink_state { AUTOLINK_INACTIVE, AUTOLINK_ATTACHING, AUTOLINK_FAILED, AUTOLINK_ACTIVE };
/* As management shows it: "inactive". */
const char *autolink_state_text(enum autolink_state s);

/* Texts are copied. */
struct autolink_conf {
    const char *name;    /* NULL: the user gave none */
    const char *address; /* in any form */
    bool is_in;
    uint8_t phase;    /* 0 to 9; out with is_fallback: of no weight */
    bool is_fallback; /* out: to the address's fallback destination; in: what that gives back, for consumers alone */
    const char *external; /* address at the container; NULL: the same */
    enum container_naming by;
    const char *container; /* name of a connection, or container-id; NULL: never active */
};

struct autolink;

/* loop: control's, lent until autolinks_stop(). */
void autolinks_start(struct loop *loop, const struct route_world *world) ON_CONTROL;
/* After workers have stopped. */
void autolinks_stop(void) ON_CONTROL;

/* Attach wherever it is due, now and later.
 *   Result: *out, borrowed, good until it is removed; it has a number from registry_next_identity().
 *   Errors: ERR_INVALID, no address can be made of the text. */
enum err autolink_add(const struct autolink_conf *conf, struct autolink **out) ON_CONTROL;
/* Its links are detached. */
void autolink_remove(struct autolink *a) ON_CONTROL;

struct autolink *autolink_find(uint64_t identity) ON_CONTROL; /* NULL: none */
/* All of them, in order of creation: autolink_of_node() of each node. */
struct list *autolinks(void) ON_CONTROL;
const struct autolink *autolink_of_node(const struct list *node) ON_CONTROL;
uint32_t autolink_count(void) ON_CONTROL;

const struct autolink_conf *autolink_conf(const struct autolink *a) ON_CONTROL;
uint64_t autolink_identity(const struct autolink *a) ON_CONTROL;
/* The best of its links' states. */
enum autolink_state autolink_state(const struct autolink *a) ON_CONTROL;
/* The first link that is attached; NULL: none. */
const struct link *autolink_link(const struct autolink *a) ON_CONTROL;
/* The key of its address here: "M1queue". */
const char *autolink_key(const struct autolink *a) ON_CONTROL;
/* Open connections that it is for, attached or not. */
uint32_t autolink_connections(const struct autolink *a) ON_CONTROL;
/* When the next attempt is due, of those that have failed; 0: none is. */
mono_ms autolink_retry(const struct autolink *a) ON_CONTROL;
/* Why a link of it has ended last, when none has been attached since; NULL: there is nothing to say. */
const char *autolink_last_error(const struct autolink *a) ON_CONTROL;

#endif
