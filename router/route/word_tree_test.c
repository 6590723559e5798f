#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <router/route/word_tree.h>
#include <stdio.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/list.h>

struct named {
    struct counted counted;
    char name[16];
};

static int living;

static void named_free(struct counted *c)
{
    living--;
    free(container_of(c, struct named, counted));
}

static struct counted *named(const char *name)
{
    struct named *n = xcalloc(1, sizeof *n);
    counted_init(&n->counted, named_free);
    snprintf(n->name, sizeof n->name, "%s", name);
    living++;
    return &n->counted;
}

/* Each letter is a word, `*` and `#` are wildcards. */
static struct words words_of(const char *text)
{
    struct words w = {.count = 0};
    for (; *text; text++)
        w.word[w.count++] = (struct word){text, 1, *text == '*' ? WORD_ONE : *text == '#' ? WORD_ANY : WORD_LITERAL};
    words_normalise(&w);
    return w;
}

static void add(struct word_tree **t, const char *pattern)
{
    struct words w = words_of(pattern);
    struct word_tree *next = word_tree_with(*t, &w, named(pattern));
    word_tree_unref(*t);
    *t = next;
}

static void take_out(struct word_tree **t, const char *pattern)
{
    struct words w = words_of(pattern);
    struct word_tree *next = word_tree_without(*t, &w);
    word_tree_unref(*t);
    *t = next;
}

/* Names of those that match, the preferred one first, in `out`. */
static const char *matching(const struct word_tree *t, const char *text, bool wants_all)
{
    static char out[256];
    struct word_walk walk;
    uint32_t at = 0;
    out[0] = '\0';
    word_walk_begin(&walk, t, wants_all);
    for (; *text; text++)
        word_walk_step(&walk, text, 1);
    for (struct counted *c; (c = word_walk_match(&walk, &at));)
        snprintf(out + strlen(out), sizeof out - strlen(out), "%s ", container_of(c, struct named, counted)->name);
    word_walk_end(&walk);
    return out;
}

static void test_word_tree_all_that_match_come_in_order_of_preference(void **state)
{
    (void)state;
    struct word_tree *t = word_tree_new();
    static const char *const patterns[] = {"#", "ab", "*b", "a*", "a#", "#b", "a#b", "abc", "b"};
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++)
        add(&t, patterns[i]);
    assert_string_equal(matching(t, "ab", true), "ab a* a#b a# *b #b # ");
    assert_string_equal(matching(t, "", true), "# ");
    assert_string_equal(matching(t, "axxb", true), "a#b a# #b # ");
    assert_string_equal(matching(t, "xyz", true), "# ");
    word_tree_unref(t);
    assert_int_equal(living, 0);
}

static void test_word_tree_one_that_can_be_reached_in_many_ways_comes_once(void **state)
{
    (void)state;
    struct word_tree *t = word_tree_new();
    add(&t, "#a#a#");
    assert_string_equal(matching(t, "aaaaaaaa", true), "#a#a# ");
    assert_string_equal(matching(t, "ab", true), "");
    word_tree_unref(t);
}

static void test_word_tree_wildcards_in_a_row_have_one_form(void **state)
{
    (void)state;
    struct word_tree *t = word_tree_new();
    add(&t, "#*a");
    struct words same = words_of("*#a");
    assert_non_null(word_tree_get(t, &same));
    assert_string_equal(matching(t, "xa", true), "#*a ");
    assert_string_equal(matching(t, "a", true), "");
    struct words other = words_of("#a");
    assert_null(word_tree_get(t, &other));
    word_tree_unref(t);
}

static void test_word_tree_a_version_stays_as_it_was(void **state)
{
    (void)state;
    struct word_tree *t = word_tree_new();
    add(&t, "ab");
    add(&t, "ac");
    struct words w = words_of("ab");
    struct word_tree *without = word_tree_without(t, &w);
    add(&t, "a#");
    assert_string_equal(matching(without, "ab", true), "");
    assert_string_equal(matching(without, "ac", true), "ac ");
    assert_string_equal(matching(t, "ab", true), "ab a# ");
    take_out(&t, "ac");
    take_out(&t, "a#");
    assert_string_equal(matching(without, "ac", true), "ac ");
    assert_string_equal(matching(t, "ac", true), "");
    word_tree_unref(t);
    word_tree_unref(without);
    assert_int_equal(living, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_word_tree_all_that_match_come_in_order_of_preference),
        cmocka_unit_test(test_word_tree_one_that_can_be_reached_in_many_ways_comes_once),
        cmocka_unit_test(test_word_tree_wildcards_in_a_row_have_one_form),
        cmocka_unit_test(test_word_tree_a_version_stays_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
