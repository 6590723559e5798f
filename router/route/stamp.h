/* stamp.h -- the number under which a multicast message goes through the network, so that its second copy is known for
 * what it is.
 *
 * Routers learn of a change one after the other. Until all have, they think of different trees, and a message can come
 * by two ways. The router where a message enters therefore numbers it: `source`, drawn at random by each of its workers
 * at its start, and `number`, one more for each message. Among routers of ours the stamp travels as the delivery-tag of
 * the transfer, which old routers choose and read as they like; they send none on. Each router lets the first copy
 * pass, to its own receivers and on to others, and no second one, whatever it believes of the network.
 *
 *   tag:  'm', source (8 octets, least first), number (8 octets, least first)
 *
 * Of each source the newest 65,536 numbers are remembered. Of one that is older it cannot be said whether it has been
 * here: it passes, since it may be a first copy that was held up. Of 2,048 sources the one that was silent for longest
 * is forgotten for a new one.
 *
 * Thread: any; one leaf lock.
 */
#ifndef TRUNKLINE_ROUTE_STAMP_H
#define TRUNKLINE_ROUTE_STAMP_H

#include <stdbool.h>
#include <stdint.h>
#include <trunkline/base/buffer.h>

struct stamp {
    uint64_t source, number; /* number 0: none */
};

enum { STAMP_TAG_LEN = 17, STAMP_WINDOW = 65536, STAMP_SOURCES_MAX = 2048 };

/* A source of its own for the calling worker; the first number is 1. */
void stamp_start(struct stamp *last);
void stamp_to_tag(const struct stamp *s, uint8_t tag[STAMP_TAG_LEN]);
/* Result: none, if the tag is not one. */
struct stamp stamp_from_tag(struct slice tag);

struct stamps; /* that have passed */
struct stamps *stamps_new(void);
void stamps_free(struct stamps **all);
/* Result: whether s may pass: it has not yet, or nobody can tell. */
bool stamps_pass(struct stamps *all, const struct stamp *s);

#endif
