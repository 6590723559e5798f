#include <router/route/word_tree.h>

#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/list.h>

/* A place in the tree: what comes next in the patterns that begin with the words on the way here. */
struct word_tree {
    struct counted counted;
    struct pmap *literals;       /* word to struct word_tree */
    struct word_tree *one, *any; /* counted; after `any` come literals only, see words_normalise() */
    struct counted *value;       /* counted; of the pattern that ends here */
    bool is_any;                 /* the last word on the way here is WORD_ANY: more words may be taken here */
    bool is_many_any; /* the way here has two of them or more, so it can be reached in several ways at once */
};

static const struct word any_word = {"#", 1, WORD_ANY};

/* In a run of wildcards only two things count: how many words it asks for, and whether it takes more. */
void words_normalise(struct words *w)
{
    size_t kept = 0;
    bool open = false; /* a WORD_ANY of this run waits for the run's end */
    for (size_t i = 0; i < w->count; i++) {
        if (w->word[i].kind == WORD_ANY) {
            open = true;
            continue;
        }
        if (open && w->word[i].kind == WORD_LITERAL) {
            w->word[kept++] = any_word;
            open = false;
        }
        w->word[kept++] = w->word[i];
    }
    if (open)
        w->word[kept++] = any_word;
    w->count = kept;
}

/* ---- the tree ---- */

void word_tree_unref(struct word_tree *n)
{
    if (n != NULL)
        counted_unref(&n->counted);
}

static struct word_tree *node_ref(struct word_tree *n)
{
    if (n != NULL)
        counted_ref(&n->counted);
    return n;
}

/* As deep as the longest pattern, WORDS_MAX. */
static void node_free(struct counted *c)
{
    struct word_tree *n = container_of(c, struct word_tree, counted);
    pmap_unref(n->literals);
    word_tree_unref(n->one);
    word_tree_unref(n->any);
    counted_unref(n->value);
    free(n);
}

struct word_tree *word_tree_new(void)
{
    struct word_tree *n = xcalloc(1, sizeof *n);
    counted_init(&n->counted, node_free);
    return n;
}

static struct word_tree *node_copy(const struct word_tree *n)
{
    struct word_tree *copy = word_tree_new();
    copy->literals = pmap_ref(n->literals);
    copy->one = node_ref(n->one);
    copy->any = node_ref(n->any);
    copy->value = n->value;
    if (copy->value != NULL)
        counted_ref(copy->value);
    copy->is_any = n->is_any;
    copy->is_many_any = n->is_many_any;
    return copy;
}

static struct word_tree *node_literal(const struct word_tree *n, const char *at, size_t len)
{
    struct counted *c = pmap_get(n->literals, at, len);
    return c == NULL ? NULL : container_of(c, struct word_tree, counted);
}

static struct word_tree *node_child(const struct word_tree *n, struct word w)
{
    return w.kind == WORD_ONE ? n->one : w.kind == WORD_ANY ? n->any : node_literal(n, w.at, w.len);
}

/* Put child, whose count is taken, in the place of what is there; NULL: take that out. */
static void node_set_child(struct word_tree *n, struct word w, struct word_tree *child)
{
    if (w.kind != WORD_LITERAL) {
        struct word_tree **place = w.kind == WORD_ONE ? &n->one : &n->any;
        word_tree_unref(*place);
        *place = child;
        return;
    }
    struct pmap *last = n->literals;
    n->literals = child == NULL ? pmap_without(last, w.at, w.len) : pmap_with(last, w.at, w.len, &child->counted);
    pmap_unref(last);
}

static bool node_is_empty(const struct word_tree *n)
{
    return n->value == NULL && n->literals == NULL && n->one == NULL && n->any == NULL;
}

static struct word_tree *node_below(const struct word_tree *parent, struct word w, bool has_any)
{
    const struct word_tree *old = node_child(parent, w);
    struct word_tree *n = old == NULL ? word_tree_new() : node_copy(old);
    n->is_any = w.kind == WORD_ANY;
    n->is_many_any = parent->is_many_any || (has_any && n->is_any);
    return n;
}

struct counted *word_tree_get(const struct word_tree *n, const struct words *w)
{
    for (size_t i = 0; i < w->count && n != NULL; i++)
        n = node_child(n, w->word[i]);
    return n == NULL ? NULL : n->value;
}

struct word_tree *word_tree_with(const struct word_tree *root, const struct words *w, struct counted *value)
{
    struct word_tree *top = node_copy(root), *at = top;
    bool has_any = false;
    for (size_t i = 0; i < w->count; i++) {
        struct word_tree *below = node_below(at, w->word[i], has_any);
        has_any = has_any || below->is_any;
        node_set_child(at, w->word[i], below);
        at = below;
    }
    counted_unref(at->value);
    at->value = value;
    return top;
}

/* Without what leads to it alone, too. */
struct word_tree *word_tree_without(const struct word_tree *root, const struct words *w)
{
    struct word_tree *way[WORDS_MAX + 1];
    way[0] = node_copy(root);
    for (size_t i = 0; i < w->count; i++) {
        way[i + 1] = node_copy(node_child(way[i], w->word[i]));
        node_set_child(way[i], w->word[i], way[i + 1]);
    }
    struct word_tree *last = way[w->count];
    counted_unref(last->value);
    last->value = NULL;
    for (size_t i = w->count; i > 0 && node_is_empty(way[i]); i--)
        node_set_child(way[i - 1], w->word[i - 1], NULL);
    return way[0];
}

/* ---- nodes that are candidates already ---- */

/* Only nodes behind two WORD_ANY or more can come up twice, so this is mostly never filled. */
struct word_seen_slot {
    const struct word_tree *node;
    uint32_t turn;
};

static uint32_t seen_slot(const struct word_seen *s, const struct word_tree *n)
{
    uint32_t i = (uint32_t)(((uintptr_t)n >> 4) * 0x9E3779B97F4A7C15u >> 32) & s->mask;
    while (s->slots[i].turn == s->turn && s->slots[i].node != n)
        i = (i + 1) & s->mask;
    return i;
}

static void seen_grow(struct word_seen *s)
{
    struct word_seen old = *s;
    s->mask = old.slots == NULL ? 63 : old.mask * 2 + 1;
    s->slots = xcalloc((size_t)s->mask + 1, sizeof *s->slots);
    for (uint32_t i = 0; old.slots != NULL && i <= old.mask; i++)
        if (old.slots[i].turn == s->turn)
            s->slots[seen_slot(s, old.slots[i].node)] = old.slots[i];
    free(old.slots);
}

/* Whether n is there already; it is afterwards. */
static bool seen_add(struct word_seen *s, const struct word_tree *n)
{
    if (s->slots == NULL || s->used * 2 > s->mask)
        seen_grow(s);
    struct word_seen_slot *slot = &s->slots[seen_slot(s, n)];
    if (slot->turn == s->turn)
        return true;
    *slot = (struct word_seen_slot){n, s->turn};
    s->used++;
    return false;
}

/* A new turn makes all slots empty. Turns do not wrap: there are fewer than words in a text. */
static void seen_clear(struct word_seen *s)
{
    s->turn++;
    s->used = 0;
}

/* ---- candidates: nodes that the words so far can lead to, the preferred one first ---- */

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

static void candidates_push(struct candidates *c, const struct word_tree *n)
{
    if (c->count == c->capacity) {
        const struct word_tree **old = c->at == c->few ? NULL : c->at;
        const struct word_tree **more = xrealloc(old, (size_t)c->capacity * 2 * sizeof *more);
        if (old == NULL)
            memcpy(more, c->few, sizeof c->few);
        c->at = more;
        c->capacity *= 2;
    }
    c->at[c->count++] = n;
}

static bool node_takes_all(const struct word_tree *n)
{
    return n->is_any && n->literals == NULL;
}

/* n, and the WORD_ANY that follows it, which may take no word. Where one takes all that may come, what is less
 * preferred cannot win: nothing is added behind it, unless all are wanted. */
static void add(struct word_walk *w, struct candidates *c, const struct word_tree *n)
{
    for (; n != NULL && !c->closed; n = n->any) {
        if (n->is_many_any && seen_add(&w->seen, n))
            return;
        candidates_push(c, n);
        c->closed = !w->wants_all && node_takes_all(n);
    }
}

/* ---- a walk ---- */

void word_walk_begin(struct word_walk *w, const struct word_tree *t, bool wants_all)
{
    w->wants_all = wants_all;
    w->seen = (struct word_seen){.turn = 1};
    w->now = &w->sets[0];
    w->next = &w->sets[1];
    candidates_init(w->now);
    candidates_init(w->next);
    add(w, w->now, t);
}

void word_walk_step(struct word_walk *w, const char *at, size_t len)
{
    struct candidates *now = w->now, *next = w->next;
    next->count = 0;
    next->closed = false;
    seen_clear(&w->seen);
    for (uint32_t i = 0; i < now->count; i++) {
        const struct word_tree *n = now->at[i];
        add(w, next, node_literal(n, at, len));
        add(w, next, n->one);
        if (n->is_any)
            add(w, next, n);
    }
    w->now = next;
    w->next = now;
}

bool word_walk_is_decided(const struct word_walk *w)
{
    if (w->now->count == 0)
        return true;
    return node_takes_all(w->now->at[0]) && (!w->wants_all || w->now->count == 1);
}

struct counted *word_walk_match(const struct word_walk *w, uint32_t *at)
{
    while (*at < w->now->count) {
        struct counted *value = w->now->at[(*at)++]->value;
        if (value != NULL)
            return value;
    }
    return NULL;
}

void word_walk_end(struct word_walk *w)
{
    candidates_fini(&w->sets[0]);
    candidates_fini(&w->sets[1]);
    free(w->seen.slots);
}
