#include "rules.h"

#include <router/route/pmap.h>
#include <router/route/word_tree.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/list.h>

struct rule {
    struct counted counted;
    struct rule_conf conf; /* strings are ours */
};

struct rules {
    struct word_tree *patterns; /* to struct rule */
    struct pmap *by_identity;   /* to struct rule */
    uint32_t count;
    uint32_t entering_later; /* so many have an ingress phase other than 0 */
};

_Static_assert((int)RULE_TOKENS_MAX == WORDS_MAX, "a pattern of that many tokens has a place in the tree");

/* ---- distributions ---- */

static const char *const distribution_texts[] = {
#define X(name, text) text,
    DISTRIBUTIONS(X)
#undef X
};

const char *distribution_text(enum distribution d)
{
    return distribution_texts[d];
}

bool distribution_by_text(const char *text, enum distribution *d)
{
    for (size_t i = 0; i < sizeof distribution_texts / sizeof *distribution_texts; i++)
        if (strcmp(text, distribution_texts[i]) == 0) {
            *d = (enum distribution)i;
            return true;
        }
    return false;
}

/* ---- one rule ---- */

static void rule_free(struct counted *c)
{
    struct rule *r = container_of(c, struct rule, counted);
    free((char *)r->conf.name);
    free((char *)r->conf.identity);
    free((char *)r->conf.text);
    free(r);
}

static struct rule *rule_new(const struct rule_conf *conf)
{
    struct rule *r = xcalloc(1, sizeof *r);
    counted_init(&r->counted, rule_free);
    r->conf = *conf;
    r->conf.name = conf->name == NULL ? NULL : xstrdup(conf->name);
    r->conf.identity = xstrdup(conf->identity);
    r->conf.text = xstrdup(conf->text);
    return r;
}

static const struct rule *rule_of(struct counted *c)
{
    return c == NULL ? NULL : container_of(c, struct rule, counted);
}

const struct rule_conf *rule_conf(const struct rule *r)
{
    return &r->conf;
}

bool rule_is_waypoint(const struct rule *r)
{
    return r->conf.ingress_phase == 0 && r->conf.egress_phase == 1;
}

const struct rule *rule_ref(const struct rule *r)
{
    counted_ref(&((struct rule *)r)->counted);
    return r;
}

void rule_unref(const struct rule *r)
{
    if (r != NULL)
        counted_unref(&((struct rule *)r)->counted);
}

/* ---- tokens ---- */

static bool is_separator(char c)
{
    return c == '.' || c == '/';
}

static void strip_separators(const char **at, const char **end)
{
    while (*at < *end && is_separator(**at))
        ++*at;
    while (*at < *end && is_separator((*end)[-1]))
        --*end;
}

/* The token that starts at *at; *at moves to the next one, or becomes NULL after the last. Between two tokens any
 * number of separators counts as one. */
static struct word next_token(const char **at, const char *end)
{
    const char *start = *at, *stop = start;
    while (stop < end && !is_separator(*stop))
        stop++;
    const char *next = stop;
    while (next < end && is_separator(*next))
        next++;
    *at = next == end ? NULL : next;
    return (struct word){start, (size_t)(stop - start), WORD_LITERAL};
}

static enum word_kind kind_of(struct word w)
{
    return w.len != 1 ? WORD_LITERAL : w.at[0] == '*' ? WORD_ONE : w.at[0] == '#' ? WORD_ANY : WORD_LITERAL;
}

static enum err tokens_of(const struct rule_conf *conf, struct words *t)
{
    const char *at = conf->text, *end = at + strlen(at);
    strip_separators(&at, &end);
    t->count = 0;
    for (at = at == end ? NULL : at; at != NULL; t->count++) {
        if (t->count == WORDS_MAX - 1)
            return ERR_LIMIT;
        t->word[t->count] = next_token(&at, end);
        t->word[t->count].kind = kind_of(t->word[t->count]);
    }
    if (conf->is_prefix)
        t->word[t->count++] = (struct word){"#", 1, WORD_ANY};
    words_normalise(t);
    return t->count == 0 ? ERR_INVALID : OK;
}

/* ---- sets ---- */

struct rules *rules_new(void)
{
    struct rules *r = xcalloc(1, sizeof *r);
    r->patterns = word_tree_new();
    return r;
}

void rules_free(struct rules **r)
{
    rules_reclaim(*r);
    *r = NULL;
}

void rules_reclaim(void *p)
{
    struct rules *r = p;
    if (r == NULL)
        return;
    word_tree_unref(r->patterns);
    pmap_unref(r->by_identity);
    free(r);
}

static struct rules *set_new(struct word_tree *patterns, struct pmap *by_identity)
{
    struct rules *r = xcalloc(1, sizeof *r);
    r->patterns = patterns;
    r->by_identity = by_identity;
    return r;
}

static uint32_t enters_later(const struct rule *rule)
{
    return rule->conf.ingress_phase > 0;
}

enum err rules_with(const struct rules *r, const struct rule_conf *conf, struct rules **next)
{
    struct words t;
    enum err e = tokens_of(conf, &t);
    if (e != OK)
        return e;
    if (word_tree_get(r->patterns, &t) != NULL || rules_find(r, conf->identity) != NULL)
        return ERR_EXISTS;
    struct rule *rule = rule_new(conf);
    rule_ref(rule);
    struct pmap *by_identity =
        pmap_with(r->by_identity, rule->conf.identity, strlen(rule->conf.identity), &rule->counted);
    *next = set_new(word_tree_with(r->patterns, &t, &rule->counted), by_identity);
    (*next)->count = r->count + 1;
    (*next)->entering_later = r->entering_later + enters_later(rule);
    return OK;
}

enum err rules_without(const struct rules *r, const char *identity, struct rules **next)
{
    const struct rule *rule = rules_find(r, identity);
    if (rule == NULL)
        return ERR_NOT_FOUND;
    struct words t;
    enum err e = tokens_of(&rule->conf, &t);
    if (e != OK)
        return e;
    struct pmap *by_identity = pmap_without(r->by_identity, identity, strlen(identity));
    *next = set_new(word_tree_without(r->patterns, &t), by_identity);
    (*next)->count = r->count - 1;
    (*next)->entering_later = r->entering_later - enters_later(rule);
    return OK;
}

const struct rule *rules_find(const struct rules *r, const char *identity)
{
    return rule_of(pmap_get(r->by_identity, identity, strlen(identity)));
}

uint32_t rules_count(const struct rules *r)
{
    return r->count;
}

bool rules_have_later_ingress(const struct rules *r)
{
    return r->entering_later > 0;
}

/* ---- matching ---- */

const struct rule *rules_match(const struct rules *r, const char *text, size_t len)
{
    struct word_walk walk;
    word_walk_begin(&walk, r->patterns, false);
    const char *at = text, *end = text + len;
    strip_separators(&at, &end);
    for (at = at == end ? NULL : at; at != NULL && !word_walk_is_decided(&walk);) {
        struct word t = next_token(&at, end);
        word_walk_step(&walk, t.at, t.len);
    }
    uint32_t first = 0;
    struct counted *winner = word_walk_match(&walk, &first);
    word_walk_end(&walk);
    return rule_of(winner);
}
