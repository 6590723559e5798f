/* key_model.h -- for tests: whether one key matches a subject, found by looking at no other. A match with two
 * wildcards, by words instead of characters. After a `#` the last one is the only one that has to be tried again, so
 * there is no recursion, and the cost is at most the product of the lengths. What exchange_keys.h gives must be the
 * same. */
#ifndef TRUNKLINE_ROUTE_KEY_MODEL_H
#define TRUNKLINE_ROUTE_KEY_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct key_words {
    const char *at, *end;
    char separator;
    bool over; /* no word is left; an empty text is one empty word */
};

static inline struct key_words key_words_of(const char *text, size_t len, char separator)
{
    return (struct key_words){.at = text, .end = text + len, .separator = separator};
}

static inline size_t key_word_len(const struct key_words *w)
{
    const char *stop = memchr(w->at, w->separator, (size_t)(w->end - w->at));
    return (size_t)((stop ? stop : w->end) - w->at);
}

static inline void key_step(struct key_words *w)
{
    const char *stop = w->at + key_word_len(w);
    if (stop == w->end)
        w->over = true;
    else
        w->at = stop + 1;
}

static inline bool key_is_word(const struct key_words *w, char c)
{
    return !w->over && key_word_len(w) == 1 && *w->at == c;
}

static inline bool key_is_same(const struct key_words *a, const struct key_words *b)
{
    size_t n = key_word_len(a);
    return n == key_word_len(b) && memcmp(a->at, b->at, n) == 0;
}

static inline bool key_model_matches(const char *key, const char *subject, size_t len, bool is_mqtt)
{
    char separator = is_mqtt ? '/' : '.', one = is_mqtt ? '+' : '*';
    struct key_words k = key_words_of(key, strlen(key), separator), s = key_words_of(subject, len, separator);
    struct key_words after_any = {.over = true}, tried = s; /* the key after its last `#`; what that one leaves */
    bool has_any = false;
    for (;;) {
        if (key_is_word(&k, '#')) {
            key_step(&k);
            after_any = k;
            tried = s;
            has_any = true;
            if (k.over)
                return true;
            continue;
        }
        if (s.over && k.over)
            return true;
        if (!s.over && !k.over && (key_is_word(&k, one) || key_is_same(&k, &s))) {
            key_step(&k);
            key_step(&s);
            continue;
        }
        if (!has_any || tried.over)
            return false;
        key_step(&tried); /* `#` takes one word more */
        s = tried;
        k = after_any;
    }
}

#endif
