/* sequence.h -- which of the numbers 1, 2, 3, ... have come: what is missing, came twice, or came late.
 *
 * Thread: one at a time.
 */
#ifndef TRUNKLINE_TOOLS_CLIENT_SEQUENCE_H
#define TRUNKLINE_TOOLS_CLIENT_SEQUENCE_H

#include "tools/client/tool.h"

/* One bit per number: 128 MiB at most, whatever number a peer sends. */
#define SEQUENCE_LIMIT (UINT64_C(1) << 30)

/* All zero bytes is an empty sequence. */
struct sequence {
    uint64_t highest, distinct;
    uint64_t repeated, late; /* late: a lower number after a higher one, not counting repeated ones */
    uint64_t *seen;
    size_t words;
};

/* Note a number.
 *   Errors: 0 or above SEQUENCE_LIMIT.
 */
bool sequence_add(struct sequence *s, uint64_t number, struct fault *why);

/* Numbers below the highest that did not come. */
uint64_t sequence_missing(const struct sequence *s);

void sequence_fini(struct sequence *s);

#endif
