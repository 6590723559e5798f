/* word_tree.h -- patterns of words, with wildcards, and which of them match a text.
 *
 * A pattern is a row of words: literals, WORD_ONE for exactly one word, WORD_ANY for any number, none included. How a
 * text is cut into words is the caller's business: rules.h and exchange_keys.h differ there. A run of wildcards is put
 * in one form, its ones first, then one WORD_ANY if it had any: `#.#` becomes `#`, and `#.*` becomes `*.#`.
 *
 * A tree is immutable. Who changes it makes the next from the last; both share what they have in common. Matching walks
 * the tree word by word with all candidates side by side, in order of preference: of patterns that match, the leftmost
 * word in which they differ decides, literal before WORD_ONE before WORD_ANY, and WORD_ANY takes as few words as can
 * be. The cost is at most words of the text times nodes of the tree, without recursion, whatever the text.
 *
 * Thread: any may read a tree that stays; with and without by one thread at a time for each line of versions.
 */
#ifndef TRUNKLINE_ROUTE_WORD_TREE_H
#define TRUNKLINE_ROUTE_WORD_TREE_H

#include <router/route/pmap.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum word_kind { WORD_LITERAL, WORD_ONE, WORD_ANY };

struct word {
    const char *at;
    size_t len;
    enum word_kind kind;
};

/* More words a pattern cannot have: a tree is as deep. */
enum { WORDS_MAX = 256 };

struct words {
    struct word word[WORDS_MAX];
    size_t count;
};

/* Put runs of wildcards in their one form; patterns in other forms are not taken by what follows. */
void words_normalise(struct words *w);

struct word_tree;

struct word_tree *word_tree_new(void);
/* The last to let go frees it. NULL is harmless. */
void word_tree_unref(struct word_tree *t);

/* What stands at this very pattern, borrowed for as long as the tree; NULL: nothing. */
struct counted *word_tree_get(const struct word_tree *t, const struct words *w);
/* A tree with value at w, instead of what was there. Expected cost O(words * log(patterns)).
 *   Ownership: t stays the caller's; value's count is taken; the result is the caller's. */
struct word_tree *word_tree_with(const struct word_tree *t, const struct words *w, struct counted *value);
/* A tree without what is at w, where there is something. */
struct word_tree *word_tree_without(const struct word_tree *t, const struct words *w);

/* ---- matching ---- */

/* A walk along a text. */
struct word_walk {
    struct candidates {
        const struct word_tree **at;
        uint32_t count, capacity;
        bool closed;
        const struct word_tree *few[16];
    } sets[2], *now, *next;
    struct word_seen {
        struct word_seen_slot *slots; /* NULL until needed */
        uint32_t mask, used, turn;
    } seen;
    bool wants_all;
};

/* wants_all: all patterns that match; else only what is needed for the preferred one is kept.
 *   Ownership: w is the caller's, to end. It points into itself, and must not move. */
void word_walk_begin(struct word_walk *w, const struct word_tree *t, bool wants_all);
void word_walk_step(struct word_walk *w, const char *at, size_t len);
/* Whether further words change nothing. */
bool word_walk_is_decided(const struct word_walk *w);
/* What stands at the patterns that match the words so far, the preferred one first, borrowed for as long as the tree.
 *   at: 0 before the first call, moved on. Result: NULL, there is no other. */
struct counted *word_walk_match(const struct word_walk *w, uint32_t *at);
void word_walk_end(struct word_walk *w);

#endif
