/* exchange_keys.h -- keys of an exchange's bindings, and which of them match a subject.
 *
 *   amqp:  words separated by `.`;   `*` is one of them, `#` any number, none included
 *   mqtt:  levels separated by `/`;  `+` is one of them, `#`, last only, any number, none included
 *
 * A wildcard is a whole word. An empty text is one empty word, and one stands between two separators.
 *
 * A set is immutable; control makes the next from the last and publishes it. The cost of a match is that of
 * word_tree.h: it does not grow with the number of keys that do not match, but for the logarithm of it.
 *
 * Source: management reference 4.8, exchange, binding.
 * Thread: any may read a set that stays; changes by one thread at a time.
 */
#ifndef TRUNKLINE_ROUTE_EXCHANGE_KEYS_H
#define TRUNKLINE_ROUTE_EXCHANGE_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct binding; /* whoever has a key */
struct exchange_keys;

/* Whether it can be a key: of EXCHANGE_KEY_WORDS_MAX words at most. Thread: any. */
enum { EXCHANGE_KEY_WORDS_MAX = 255 };
bool exchange_key_is_good(const char *key, bool is_mqtt);

struct exchange_keys *exchange_keys_new(bool is_mqtt);
void exchange_keys_free(struct exchange_keys **k);

/* A set in which b has this key, too, which is good; the same may have several keys, and a key several bindings.
 *   Ownership: k stays the caller's; the result is the caller's; b is lent for as long as a set has it. */
struct exchange_keys *exchange_keys_with(const struct exchange_keys *k, const char *key, struct binding *b);
/* A set in which b does not have this key, which it has in k. Ownership as above. */
struct exchange_keys *exchange_keys_without(const struct exchange_keys *k, const char *key, struct binding *b);

/* Bindings: those with a key that matches, or with the same key. */
struct binding_list {
    struct binding **at;
    uint32_t count, capacity;
    struct binding *few[16];
};
void binding_list_init(struct binding_list *l);
void binding_list_fini(struct binding_list *l);

/* Add those with a key that matches the subject, each once for each such key. */
void exchange_keys_match(const struct exchange_keys *k, const char *subject, size_t len, struct binding_list *out);
/* Add those whose key matches the very same subjects as this one. */
void exchange_keys_like(const struct exchange_keys *k, const char *key, struct binding_list *out);

#endif
