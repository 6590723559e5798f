/* Keys of bindings against subjects: a match with two wildcards, by words instead of characters. After a `#` the last
 * one is the only one that has to be tried again, so there is no recursion. */
#include <router/route/exchange.h>

#include <string.h>

struct words {
    const char *at, *end;
    char separator;
    bool over; /* no word is left; an empty text is one empty word */
};

static struct words words_of(const char *text, size_t len, char separator)
{
    return (struct words){.at = text, .end = text + len, .separator = separator};
}

static size_t word_len(const struct words *w)
{
    const char *stop = memchr(w->at, w->separator, (size_t)(w->end - w->at));
    return (size_t)((stop ? stop : w->end) - w->at);
}

static void step(struct words *w)
{
    const char *stop = w->at + word_len(w);
    if (stop == w->end)
        w->over = true;
    else
        w->at = stop + 1;
}

static bool is_word(const struct words *w, char c)
{
    return !w->over && word_len(w) == 1 && *w->at == c;
}

static bool is_same(const struct words *a, const struct words *b)
{
    size_t n = word_len(a);
    return n == word_len(b) && memcmp(a->at, b->at, n) == 0;
}

bool exchange_key_matches(const char *key, const char *subject, size_t len, bool is_mqtt)
{
    char separator = is_mqtt ? '/' : '.', one = is_mqtt ? '+' : '*';
    struct words k = words_of(key, strlen(key), separator), s = words_of(subject, len, separator);
    struct words after_any = {.over = true}, tried = s; /* the key after its last `#`; what that one leaves */
    bool has_any = false;
    for (;;) {
        if (is_word(&k, '#')) {
            step(&k);
            after_any = k;
            tried = s;
            has_any = true;
            if (k.over)
                return true;
            continue;
        }
        if (s.over && k.over)
            return true;
        if (!s.over && !k.over && (is_word(&k, one) || is_same(&k, &s))) {
            step(&k);
            step(&s);
            continue;
        }
        if (!has_any || tried.over)
            return false;
        step(&tried); /* `#` takes one word more */
        s = tried;
        k = after_any;
    }
}

bool exchange_key_is_good(const char *key, bool is_mqtt)
{
    if (key[0] == '\0')
        return false;
    if (!is_mqtt)
        return true;
    const char *any = strchr(key, '#');
    if (any && (any[1] != '\0' || (any != key && any[-1] != '/')))
        return false;
    for (const char *one = strchr(key, '+'); one; one = strchr(one + 1, '+'))
        if ((one != key && one[-1] != '/') || (one[1] != '\0' && one[1] != '/'))
            return false;
    return true;
}
