/* rules.h -- the configured rules for addresses, and the best one for an address.
 *
 * A rule has a pattern of tokens, separated by `.` or `/`, which are the same here. `*` stands for exactly one token,
 * `#` for any number, none included; a wildcard is a whole token. `prefix: p` is the pattern `p/#`. In rules and in
 * addresses separators at either end do not count, and several in a row are one.
 *
 * Of the rules that match, the leftmost token of the pattern in which they differ decides: literal before `*` before
 * `#`. Where a `#` can take more or fewer tokens it takes as few as can be. On entry a run of wildcards is put in one
 * form, its stars first, then one `#` if it had any: `#.#` becomes `#`, and `#.*` becomes `*.#`.
 *
 * A set of rules is immutable. Control makes the next from the last and publishes it (base/rcu.h); both share what they
 * have in common. What matching costs is said in word_tree.h.
 *
 * Source: Qpid Dispatch 1.19, configuration of `address` and `linkRoute`.
 * Thread: any may read a set it got from rcu_read(), until its next quiet point.
 */
#ifndef TRUNKLINE_ROUTE_RULES_H
#define TRUNKLINE_ROUTE_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trunkline/base/err.h>

/* X(name, text): how messages of an address are spread over its consumers. */
#define DISTRIBUTIONS(X)                                                                                               \
    X(DISTRIBUTION_MULTICAST, "multicast")                                                                             \
    X(DISTRIBUTION_CLOSEST, "closest")                                                                                 \
    X(DISTRIBUTION_BALANCED, "balanced")                                                                               \
    X(DISTRIBUTION_UNAVAILABLE, "unavailable") /* nobody may use it: attaching to it is refused */

enum distribution {
#define X(name, text) name,
    DISTRIBUTIONS(X)
#undef X
};

const char *distribution_text(enum distribution d);
bool distribution_by_text(const char *text, enum distribution *d);

enum {
    PRIORITY_UNSET = -1,
    RULE_TOKENS_MAX = 256,
};

/* As configured. */
struct rule_conf {
    const char *name;     /* NULL: the user gave none */
    const char *identity; /* unique in the set */
    const char *text;     /* of the prefix or pattern */
    bool is_prefix;
    enum distribution distribution;
    int8_t priority;       /* 0 to 9, PRIORITY_UNSET */
    uint8_t ingress_phase; /* 0 to 9: phase of producers' addresses, of consumers' */
    uint8_t egress_phase;
    bool fallback; /* what finds no consumer goes to the fallback destination */
};

struct rule;                                             /* counted; immutable */
const struct rule_conf *rule_conf(const struct rule *r); /* good as long as the rule */
/* Messages pass through a queue on their way: phase 0 before, phase 1 after. */
bool rule_is_waypoint(const struct rule *r);
const struct rule *rule_ref(const struct rule *r);
void rule_unref(const struct rule *r); /* NULL is harmless */

struct rules;

struct rules *rules_new(void);
void rules_free(struct rules **r);
/* rules_free() as a function for rcu_defer(). */
void rules_reclaim(void *r);

/* Make a set that has conf too. Expected cost O(tokens * log(rules)).
 *   Ownership: r stays as it is, the caller's; *next is the caller's; conf and its strings are copied.
 *   Errors:    ERR_EXISTS, another rule has that pattern (`a/#` and prefix `a` are the same) or that identity.
 *              ERR_INVALID, a pattern without a token. ERR_LIMIT, more than RULE_TOKENS_MAX tokens.
 */
enum err rules_with(const struct rules *r, const struct rule_conf *conf, struct rules **next);

/* Make a set without the rule of that identity. Ownership as above. Errors: ERR_NOT_FOUND. */
enum err rules_without(const struct rules *r, const char *identity, struct rules **next);

/* The best rule for an address, the text as address_name_strip() leaves it; NULL: none.
 * Borrowed for as long as the set; take a count to keep it. */
const struct rule *rules_match(const struct rules *r, const char *text, size_t len);

const struct rule *rules_find(const struct rules *r, const char *identity); /* borrowed likewise; NULL: none */
uint32_t rules_count(const struct rules *r);
/* Whether producers of any rule enter at another phase than 0: else nobody need match a rule for that. */
bool rules_have_later_ingress(const struct rules *r);

#endif
