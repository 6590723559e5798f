#include <router/route/exchange_keys.h>

#include <router/route/word_tree.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/list.h>

/* What stands at a pattern of the tree. Immutable. */
struct holders {
    struct counted counted;
    uint32_t count;
    struct binding *binding[]; /* lent */
};

struct exchange_keys {
    bool is_mqtt;
    struct word_tree *tree; /* to struct holders */
};

/* ---- words ---- */

static char separator_of(bool is_mqtt)
{
    return is_mqtt ? '/' : '.';
}

/* The word that starts at *at; *at moves to the next one, or becomes NULL after the last. */
static struct word next_word(const char **at, const char *end, char separator)
{
    const char *start = *at, *stop = memchr(start, separator, (size_t)(end - start));
    *at = stop ? stop + 1 : NULL;
    return (struct word){start, (size_t)((stop ? stop : end) - start), WORD_LITERAL};
}

static enum word_kind kind_of(struct word w, bool is_mqtt)
{
    if (w.len != 1)
        return WORD_LITERAL;
    return w.at[0] == '#' ? WORD_ANY : w.at[0] == (is_mqtt ? '+' : '*') ? WORD_ONE : WORD_LITERAL;
}

/* Result: false, it has too many. */
static bool words_of(const char *key, bool is_mqtt, struct words *w)
{
    const char *end = key + strlen(key);
    w->count = 0;
    for (const char *at = key; at; w->count++) {
        if (w->count == EXCHANGE_KEY_WORDS_MAX)
            return false;
        w->word[w->count] = next_word(&at, end, separator_of(is_mqtt));
        w->word[w->count].kind = kind_of(w->word[w->count], is_mqtt);
    }
    words_normalise(w);
    return true;
}

/* Wildcards are whole levels, and `#` is the last one. */
static bool is_good_for_mqtt(const char *key)
{
    const char *any = strchr(key, '#');
    if (any && (any[1] != '\0' || (any != key && any[-1] != '/')))
        return false;
    for (const char *one = strchr(key, '+'); one; one = strchr(one + 1, '+'))
        if ((one != key && one[-1] != '/') || (one[1] != '\0' && one[1] != '/'))
            return false;
    return true;
}

bool exchange_key_is_good(const char *key, bool is_mqtt)
{
    struct words w;
    return key[0] != '\0' && words_of(key, is_mqtt, &w) && (!is_mqtt || is_good_for_mqtt(key));
}

/* ---- sets ---- */

static void holders_free(struct counted *c)
{
    free(container_of(c, struct holders, counted));
}

static struct holders *holders_new(uint32_t room)
{
    struct holders *h = xcalloc(1, sizeof *h + room * sizeof h->binding[0]);
    counted_init(&h->counted, holders_free);
    return h;
}

static struct holders *holders_of(struct counted *c)
{
    return c ? container_of(c, struct holders, counted) : NULL;
}

static struct exchange_keys *set_of(const struct exchange_keys *last, struct word_tree *tree)
{
    struct exchange_keys *k = xcalloc(1, sizeof *k);
    k->is_mqtt = last->is_mqtt;
    k->tree = tree;
    return k;
}

struct exchange_keys *exchange_keys_new(bool is_mqtt)
{
    return set_of(&(struct exchange_keys){.is_mqtt = is_mqtt}, word_tree_new());
}

void exchange_keys_free(struct exchange_keys **k)
{
    if (*k)
        word_tree_unref((*k)->tree);
    free(*k);
    *k = NULL;
}

/* Those at w, without b. */
static struct holders *copy_without(const struct exchange_keys *k, const struct words *w, const struct binding *b)
{
    const struct holders *old = holders_of(word_tree_get(k->tree, w));
    struct holders *h = holders_new(old ? old->count + 1 : 1);
    for (uint32_t i = 0; old && i < old->count; i++)
        if (old->binding[i] != b)
            h->binding[h->count++] = old->binding[i];
    return h;
}

struct exchange_keys *exchange_keys_with(const struct exchange_keys *k, const char *key, struct binding *b)
{
    struct words w;
    bool is_good = words_of(key, k->is_mqtt, &w);
    ASSERT(is_good);
    struct holders *h = copy_without(k, &w, b);
    h->binding[h->count++] = b;
    return set_of(k, word_tree_with(k->tree, &w, &h->counted));
}

struct exchange_keys *exchange_keys_without(const struct exchange_keys *k, const char *key, struct binding *b)
{
    struct words w;
    bool is_good = words_of(key, k->is_mqtt, &w);
    ASSERT(is_good);
    struct holders *h = copy_without(k, &w, b);
    if (h->count)
        return set_of(k, word_tree_with(k->tree, &w, &h->counted));
    counted_unref(&h->counted);
    return set_of(k, word_tree_without(k->tree, &w));
}

/* ---- lists ---- */

void binding_list_init(struct binding_list *l)
{
    l->at = l->few;
    l->count = 0;
    l->capacity = sizeof l->few / sizeof l->few[0];
}

void binding_list_fini(struct binding_list *l)
{
    if (l->at != l->few)
        free(l->at);
}

static void list_push(struct binding_list *l, struct binding *b)
{
    if (l->count == l->capacity) {
        struct binding **old = l->at == l->few ? NULL : l->at;
        l->capacity *= 2;
        l->at = xrealloc(old, l->capacity * sizeof *l->at);
        if (!old)
            memcpy(l->at, l->few, sizeof l->few);
    }
    l->at[l->count++] = b;
}

static void list_push_all(struct binding_list *l, const struct holders *h)
{
    for (uint32_t i = 0; h && i < h->count; i++)
        list_push(l, h->binding[i]);
}

/* ---- matching ---- */

void exchange_keys_match(const struct exchange_keys *k, const char *subject, size_t len, struct binding_list *out)
{
    struct word_walk walk;
    word_walk_begin(&walk, k->tree, true);
    for (const char *at = len ? subject : "", *end = at + len; at && !word_walk_is_decided(&walk);) {
        struct word w = next_word(&at, end, separator_of(k->is_mqtt));
        word_walk_step(&walk, w.at, w.len);
    }
    uint32_t at = 0;
    for (struct counted *c; (c = word_walk_match(&walk, &at));)
        list_push_all(out, holders_of(c));
    word_walk_end(&walk);
}

void exchange_keys_like(const struct exchange_keys *k, const char *key, struct binding_list *out)
{
    struct words w;
    if (words_of(key, k->is_mqtt, &w))
        list_push_all(out, holders_of(word_tree_get(k->tree, &w)));
}
