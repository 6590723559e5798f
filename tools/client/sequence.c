#include "tools/client/sequence.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void make_room(struct sequence *s, size_t word)
{
    if (word < s->words)
        return;
    size_t words = word + 1 > 2 * s->words ? word + 1 : 2 * s->words;
    s->seen = tool_grow(s->seen, words * sizeof *s->seen);
    memset(s->seen + s->words, 0, (words - s->words) * sizeof *s->seen);
    s->words = words;
}

bool sequence_add(struct sequence *s, uint64_t number, struct fault *why)
{
    if (number == 0 || number > SEQUENCE_LIMIT)
        return fault_set(why, "sequence number %" PRIu64 " is not between 1 and %" PRIu64, number, SEQUENCE_LIMIT);
    size_t word = (size_t)(number / 64);
    uint64_t bit = UINT64_C(1) << number % 64;
    make_room(s, word);
    if (s->seen[word] & bit) {
        s->repeated++;
        return true;
    }
    s->seen[word] |= bit;
    s->distinct++;
    if (number > s->highest)
        s->highest = number;
    else
        s->late++;
    return true;
}

uint64_t sequence_missing(const struct sequence *s)
{
    return s->highest - s->distinct;
}

void sequence_fini(struct sequence *s)
{
    free(s->seen);
    *s = (struct sequence){0};
}
