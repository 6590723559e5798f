/* token.h -- how threads name links to each other: index plus generation, never a pointer, so a link that has ended
 * early is not touched late. A token whose generation has moved on finds nothing. */
#ifndef TRUNKLINE_ROUTE_TOKEN_H
#define TRUNKLINE_ROUTE_TOKEN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { WORKER_NONE = 0xff };

struct link_token {
    uint32_t index;
    uint32_t generation : 24, worker : 8;
};

#define LINK_TOKEN_NONE ((struct link_token){.index = 0, .generation = 0, .worker = WORKER_NONE})

static inline bool link_token_is_none(struct link_token t)
{
    return t.worker == WORKER_NONE;
}

static inline bool link_token_equal(struct link_token a, struct link_token b)
{
    return a.index == b.index && a.generation == b.generation && a.worker == b.worker;
}

/* Where a delivery came from: the incoming link and its delivery-id there. It fits the two words that the engine keeps
 * for us with each unsettled delivery. */
struct origin {
    struct link_token link;
    uint32_t delivery_id;
    uint32_t flags; /* enum origin_flags */
};

enum origin_flags {
    ORIGIN_COPY = 1,    /* one of several copies: the incoming side counts them */
    ORIGIN_SETTLED = 2, /* the sender has settled it: it wants credit back, not an outcome */
    ORIGIN_UNBOUND = 4, /* settled, and its sender's credit does not wait for it: it holds credit of the shared link
                         * that it came on, patience.h */
    ORIGIN_NOWHERE = 8, /* in an answer: the last destination has gone that could have had it */
    ORIGIN_COPIES_SHIFT = 8, /* above it: how many copies there are */
};

static inline bool origin_equal(const struct origin *a, const struct origin *b)
{
    return link_token_equal(a->link, b->link) && a->delivery_id == b->delivery_id;
}

static inline void origin_to_words(const struct origin *o, uint64_t words[2])
{
    _Static_assert(sizeof *o == 2 * sizeof(uint64_t), "an origin fits a delivery's token");
    memcpy(words, o, sizeof *o);
}

static inline struct origin origin_from_words(const uint64_t words[2])
{
    struct origin o;
    memcpy(&o, words, sizeof o);
    return o;
}

#endif
