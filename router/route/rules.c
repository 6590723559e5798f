#include "rules.h"

#include <router/route/pmap.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/list.h>

struct rule {
    struct counted counted;
    struct rule_conf conf; /* strings are ours */
};

/* A place in the trie: what comes next in the patterns that begin with the tokens on the way here. */
struct node {
    struct counted counted;
    struct pmap *literals;    /* token to struct node */
    struct node *star, *hash; /* counted; after `#` come literals only, see normalise() */
    struct rule *rule;        /* counted; of the pattern that ends here */
    bool is_hash;             /* the last token on the way here is `#`: more tokens may be taken here */
    bool is_many_hashed;      /* the way here has two `#` or more, so it can be reached in several ways at once */
};

struct rules {
    struct node *root;
    struct pmap *by_identity; /* to struct rule */
    uint32_t count;
    uint32_t entering_later; /* so many have an ingress phase other than 0 */
};

struct token {
    const char *at;
    size_t len;
};

struct tokens {
    struct token token[RULE_TOKENS_MAX];
    size_t count;
};

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
static struct token next_token(const char **at, const char *end)
{
    const char *start = *at, *stop = start;
    while (stop < end && !is_separator(*stop))
        stop++;
    const char *next = stop;
    while (next < end && is_separator(*next))
        next++;
    *at = next == end ? NULL : next;
    return (struct token){start, (size_t)(stop - start)};
}

static bool is_star(struct token t)
{
    return t.len == 1 && t.at[0] == '*';
}

static bool is_hash(struct token t)
{
    return t.len == 1 && t.at[0] == '#';
}

static const struct token hash_token = {"#", 1};

/* In a run of wildcards only two things count: how many tokens it asks for, and whether it takes more. Stars first,
 * then one `#`. */
static void normalise(struct tokens *t)
{
    size_t kept = 0;
    bool open = false; /* a `#` of this run waits for the run's end */
    for (size_t i = 0; i < t->count; i++) {
        if (is_hash(t->token[i])) {
            open = true;
            continue;
        }
        if (open && !is_star(t->token[i])) {
            t->token[kept++] = hash_token;
            open = false;
        }
        t->token[kept++] = t->token[i];
    }
    if (open)
        t->token[kept++] = hash_token;
    t->count = kept;
}

static enum err tokens_of(const struct rule_conf *conf, struct tokens *t)
{
    const char *at = conf->text, *end = at + strlen(at);
    strip_separators(&at, &end);
    t->count = 0;
    for (at = at == end ? NULL : at; at != NULL;) {
        if (t->count == RULE_TOKENS_MAX - 1)
            return ERR_LIMIT;
        t->token[t->count++] = next_token(&at, end);
    }
    if (conf->is_prefix)
        t->token[t->count++] = hash_token;
    normalise(t);
    return t->count == 0 ? ERR_INVALID : OK;
}

/* ---- the trie ---- */

static void node_unref(struct node *n)
{
    if (n != NULL)
        counted_unref(&n->counted);
}

static struct node *node_ref(struct node *n)
{
    if (n != NULL)
        counted_ref(&n->counted);
    return n;
}

/* As deep as the longest pattern, RULE_TOKENS_MAX. */
static void node_free(struct counted *c)
{
    struct node *n = container_of(c, struct node, counted);
    pmap_unref(n->literals);
    node_unref(n->star);
    node_unref(n->hash);
    rule_unref(n->rule);
    free(n);
}

static struct node *node_new(void)
{
    struct node *n = xcalloc(1, sizeof *n);
    counted_init(&n->counted, node_free);
    return n;
}

static struct node *node_copy(const struct node *n)
{
    struct node *copy = node_new();
    copy->literals = pmap_ref(n->literals);
    copy->star = node_ref(n->star);
    copy->hash = node_ref(n->hash);
    copy->rule = n->rule == NULL ? NULL : (struct rule *)rule_ref(n->rule);
    copy->is_hash = n->is_hash;
    copy->is_many_hashed = n->is_many_hashed;
    return copy;
}

static struct node *node_literal(const struct node *n, struct token t)
{
    struct counted *c = pmap_get(n->literals, t.at, t.len);
    return c == NULL ? NULL : container_of(c, struct node, counted);
}

static struct node *node_child(const struct node *n, struct token t)
{
    return is_star(t) ? n->star : is_hash(t) ? n->hash : node_literal(n, t);
}

/* Put child, whose count is taken, in the place of what is there; NULL: take that out. */
static void node_set_child(struct node *n, struct token t, struct node *child)
{
    if (is_star(t) || is_hash(t)) {
        struct node **place = is_star(t) ? &n->star : &n->hash;
        node_unref(*place);
        *place = child;
        return;
    }
    struct pmap *last = n->literals;
    n->literals = child == NULL ? pmap_without(last, t.at, t.len) : pmap_with(last, t.at, t.len, &child->counted);
    pmap_unref(last);
}

static bool node_is_empty(const struct node *n)
{
    return n->rule == NULL && n->literals == NULL && n->star == NULL && n->hash == NULL;
}

static struct node *node_below(const struct node *parent, struct token t, bool has_hash)
{
    const struct node *old = node_child(parent, t);
    struct node *n = old == NULL ? node_new() : node_copy(old);
    n->is_hash = is_hash(t);
    n->is_many_hashed = parent->is_many_hashed || (has_hash && n->is_hash);
    return n;
}

/* A trie that shares all with `root` but the way along t, at whose end it has `rule`, whose count is taken. */
static struct node *trie_with(const struct node *root, const struct tokens *t, struct rule *rule)
{
    struct node *top = node_copy(root), *at = top;
    bool has_hash = false;
    for (size_t i = 0; i < t->count; i++) {
        struct node *below = node_below(at, t->token[i], has_hash);
        has_hash = has_hash || below->is_hash;
        node_set_child(at, t->token[i], below);
        at = below;
    }
    at->rule = rule;
    return top;
}

/* The same without the rule at the end of t, and without what leads to it alone. */
static struct node *trie_without(const struct node *root, const struct tokens *t)
{
    struct node *way[RULE_TOKENS_MAX + 1];
    way[0] = node_copy(root);
    for (size_t i = 0; i < t->count; i++) {
        way[i + 1] = node_copy(node_child(way[i], t->token[i]));
        node_set_child(way[i], t->token[i], way[i + 1]);
    }
    struct node *last = way[t->count];
    rule_unref(last->rule);
    last->rule = NULL;
    for (size_t i = t->count; i > 0 && node_is_empty(way[i]); i--)
        node_set_child(way[i - 1], t->token[i - 1], NULL);
    return way[0];
}

static const struct rule *trie_rule(const struct node *n, const struct tokens *t)
{
    for (size_t i = 0; i < t->count && n != NULL; i++)
        n = node_child(n, t->token[i]);
    return n == NULL ? NULL : n->rule;
}

/* ---- sets ---- */

struct rules *rules_new(void)
{
    struct rules *r = xcalloc(1, sizeof *r);
    r->root = node_new();
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
    node_unref(r->root);
    pmap_unref(r->by_identity);
    free(r);
}

static struct rules *set_new(struct node *root, struct pmap *by_identity)
{
    struct rules *r = xcalloc(1, sizeof *r);
    r->root = root;
    r->by_identity = by_identity;
    return r;
}

static uint32_t enters_later(const struct rule *rule)
{
    return rule->conf.ingress_phase > 0;
}

enum err rules_with(const struct rules *r, const struct rule_conf *conf, struct rules **next)
{
    struct tokens t;
    enum err e = tokens_of(conf, &t);
    if (e != OK)
        return e;
    if (trie_rule(r->root, &t) != NULL || rules_find(r, conf->identity) != NULL)
        return ERR_EXISTS;
    struct rule *rule = rule_new(conf);
    rule_ref(rule);
    struct pmap *by_identity =
        pmap_with(r->by_identity, rule->conf.identity, strlen(rule->conf.identity), &rule->counted);
    *next = set_new(trie_with(r->root, &t, rule), by_identity);
    (*next)->count = r->count + 1;
    (*next)->entering_later = r->entering_later + enters_later(rule);
    return OK;
}

enum err rules_without(const struct rules *r, const char *identity, struct rules **next)
{
    const struct rule *rule = rules_find(r, identity);
    if (rule == NULL)
        return ERR_NOT_FOUND;
    struct tokens t;
    enum err e = tokens_of(&rule->conf, &t);
    if (e != OK)
        return e;
    struct pmap *by_identity = pmap_without(r->by_identity, identity, strlen(identity));
    *next = set_new(trie_without(r->root, &t), by_identity);
    (*next)->count = r->count - 1;
    (*next)->entering_later = r->entering_later - enters_later(rule);
    return OK;
}

const struct rule *rules_find(const struct rules *r, const char *identity)
{
    struct counted *c = pmap_get(r->by_identity, identity, strlen(identity));
    return c == NULL ? NULL : container_of(c, struct rule, counted);
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

/* Nodes already among the candidates. Only nodes behind two `#` or more can come up twice, so it is mostly never
 * filled. */
struct seen {
    struct seen_slot {
        const struct node *node;
        uint32_t turn;
    } * slots; /* NULL until needed */
    uint32_t mask, used, turn;
};

static uint32_t seen_slot(const struct seen *s, const struct node *n)
{
    uint32_t i = (uint32_t)(((uintptr_t)n >> 4) * 0x9E3779B97F4A7C15u >> 32) & s->mask;
    while (s->slots[i].turn == s->turn && s->slots[i].node != n)
        i = (i + 1) & s->mask;
    return i;
}

static void seen_grow(struct seen *s)
{
    struct seen old = *s;
    s->mask = old.slots == NULL ? 63 : old.mask * 2 + 1;
    s->slots = xcalloc((size_t)s->mask + 1, sizeof *s->slots);
    for (uint32_t i = 0; old.slots != NULL && i <= old.mask; i++)
        if (old.slots[i].turn == s->turn)
            s->slots[seen_slot(s, old.slots[i].node)] = old.slots[i];
    free(old.slots);
}

/* Whether n is there already; it is afterwards. */
static bool seen_add(struct seen *s, const struct node *n)
{
    if (s->slots == NULL || s->used * 2 > s->mask)
        seen_grow(s);
    struct seen_slot *slot = &s->slots[seen_slot(s, n)];
    if (slot->turn == s->turn)
        return true;
    *slot = (struct seen_slot){n, s->turn};
    s->used++;
    return false;
}

/* A new turn makes all slots empty. Turns do not wrap: there are fewer than tokens in an address. */
static void seen_clear(struct seen *s)
{
    s->turn++;
    s->used = 0;
}

/* The nodes that the tokens so far can lead to, the preferred one first. */
struct candidates {
    const struct node **at;
    uint32_t count, capacity;
    bool closed; /* the last one takes all that may come: what is less preferred cannot win */
    const struct node *few[16];
};

static void candidates_push(struct candidates *c, const struct node *n)
{
    if (c->count == c->capacity) {
        const struct node **old = c->at == c->few ? NULL : c->at;
        const struct node **more = xrealloc(old, (size_t)c->capacity * 2 * sizeof *more);
        if (old == NULL)
            memcpy(more, c->few, sizeof c->few);
        c->at = more;
        c->capacity *= 2;
    }
    c->at[c->count++] = n;
}

static bool node_takes_all(const struct node *n)
{
    return n->is_hash && n->literals == NULL;
}

/* n, and the `#` that follows it, which may take no token. */
static void candidates_add(struct candidates *c, struct seen *seen, const struct node *n)
{
    for (; n != NULL && !c->closed; n = n->hash) {
        if (n->is_many_hashed && seen_add(seen, n))
            return;
        candidates_push(c, n);
        c->closed = node_takes_all(n);
    }
}

static void candidates_step(const struct candidates *now, struct token t, struct candidates *next, struct seen *seen)
{
    next->count = 0;
    next->closed = false;
    seen_clear(seen);
    for (uint32_t i = 0; i < now->count; i++) {
        const struct node *n = now->at[i];
        candidates_add(next, seen, node_literal(n, t));
        candidates_add(next, seen, n->star);
        if (n->is_hash)
            candidates_add(next, seen, n);
    }
}

static const struct rule *candidates_winner(const struct candidates *c)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (c->at[i]->rule != NULL)
            return c->at[i]->rule;
    return NULL;
}

static void candidates_init(struct candidates *c)
{
    c->at = c->few;
    c->count = 0;
    c->capacity = sizeof c->few / sizeof *c->few;
    c->closed = false;
}

static void candidates_fini(struct candidates *c)
{
    if (c->at != c->few)
        free(c->at);
}

const struct rule *rules_match(const struct rules *r, const char *text, size_t len)
{
    struct candidates sets[2], *now = &sets[0], *next = &sets[1];
    struct seen seen = {.turn = 1};
    candidates_init(now);
    candidates_init(next);
    candidates_add(now, &seen, r->root);
    const char *at = text, *end = text + len;
    strip_separators(&at, &end);
    for (at = at == end ? NULL : at; at != NULL && now->count > 0 && !node_takes_all(now->at[0]);) {
        candidates_step(now, next_token(&at, end), next, &seen);
        struct candidates *swap = now;
        now = next;
        next = swap;
    }
    const struct rule *winner = candidates_winner(now);
    candidates_fini(&sets[0]);
    candidates_fini(&sets[1]);
    free(seen.slots);
    return winner;
}
