#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <router/route/rules.h>
#include <stdio.h>
#include <string.h>
#include <trunkline/base/clock.h>

static enum err add_text(struct rules **r, const char *identity, const char *text, bool is_prefix)
{
    struct rule_conf conf = {.identity = identity,
                             .text = text,
                             .is_prefix = is_prefix,
                             .distribution = DISTRIBUTION_CLOSEST,
                             .priority = PRIORITY_UNSET};
    struct rules *next;
    enum err e = rules_with(*r, &conf, &next);
    if (e != OK)
        return e;
    rules_free(r);
    *r = next;
    return OK;
}

/* A pattern, which is also its identity. */
static void add(struct rules **r, const char *pattern)
{
    assert_int_equal(add_text(r, pattern, pattern, false), OK);
}

static void remove_rule(struct rules **r, const char *identity)
{
    struct rules *next;
    assert_int_equal(rules_without(*r, identity, &next), OK);
    rules_free(r);
    *r = next;
}

static const char *best(const struct rules *r, const char *text)
{
    const struct rule *rule = rules_match(r, text, strlen(text));
    return rule == NULL ? "none" : rule_conf(rule)->identity;
}

static void test_rules_prefix_matches_itself_and_what_is_below(void **state)
{
    (void)state;
    struct rules *r = rules_new();
    assert_int_equal(add_text(&r, "1", "/a.", true), OK);
    assert_string_equal(best(r, "a"), "1");
    assert_string_equal(best(r, "a/b"), "1");
    assert_string_equal(best(r, "a.b/c"), "1");
    assert_string_equal(best(r, "ab"), "none");
    assert_string_equal(best(r, ""), "none");
    assert_string_equal(best(r, "b/a"), "none");
    rules_free(&r);
    assert_null(r);
}

static void test_rules_leftmost_token_decides(void **state)
{
    (void)state;
    struct rules *r = rules_new();
    add(&r, "#");
    add(&r, "a/#");
    add(&r, "*/b/c");
    add(&r, "a/*/c");
    add(&r, "a/b/#");
    add(&r, "a/b");
    add(&r, "#/z");
    assert_string_equal(best(r, "x"), "#");
    assert_string_equal(best(r, ""), "#");
    assert_string_equal(best(r, "a"), "a/#");
    assert_string_equal(best(r, "a/b"), "a/b");
    assert_string_equal(best(r, "a.b.c"), "a/b/#");
    assert_string_equal(best(r, "a/x/c"), "a/*/c");
    assert_string_equal(best(r, "a/x/d"), "a/#");
    assert_string_equal(best(r, "x/b/c"), "*/b/c");
    assert_string_equal(best(r, "x/y/z"), "#/z");
    assert_string_equal(best(r, "a/y/z"), "a/#");
    rules_free(&r);
}

static void test_rules_separators_are_equal_and_do_not_count_at_the_ends(void **state)
{
    (void)state;
    struct rules *r = rules_new();
    add(&r, "./a.b/*/");
    assert_string_equal(best(r, "a/b.c"), "./a.b/*/");
    assert_string_equal(best(r, "//a.b.c."), "./a.b/*/");
    assert_string_equal(best(r, "a//b./c"), "./a.b/*/");
    assert_int_equal(add_text(&r, "other", "a...b//*", false), ERR_EXISTS);
    rules_free(&r);
}

static void test_rules_wildcard_is_a_whole_token(void **state)
{
    (void)state;
    struct rules *r = rules_new();
    add(&r, "a*/b");
    assert_string_equal(best(r, "a*/b"), "a*/b");
    assert_string_equal(best(r, "ax/b"), "none");
    rules_free(&r);
}

static void test_rules_wildcards_of_an_address_are_plain_tokens(void **state)
{
    (void)state;
    struct rules *r = rules_new();
    add(&r, "a/*");
    add(&r, "b/c");
    assert_string_equal(best(r, "a/#"), "a/*");
    assert_string_equal(best(r, "b/*"), "none");
    rules_free(&r);
}

static void test_rules_same_pattern_in_other_words_is_refused(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {"a/#", "a.#"}, {"#/*", "*/#"}, {"#/#", "#"}, {"a/b", "/a/b/"}, {"#/*/#/*/x", "*/*/#/x"}};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct rules *r = rules_new();
        add(&r, same[i][0]);
        assert_int_equal(add_text(&r, "other", same[i][1], false), ERR_EXISTS);
        assert_int_equal(rules_count(r), 1);
        rules_free(&r);
    }
    struct rules *r = rules_new();
    add(&r, "a/#");
    assert_int_equal(add_text(&r, "other", "a", true), ERR_EXISTS);
    assert_int_equal(add_text(&r, "a/#", "b", true), ERR_EXISTS);
    rules_free(&r);
}

static void test_rules_pattern_without_or_with_too_many_tokens_is_refused(void **state)
{
    (void)state;
    struct rules *r = rules_new();
    assert_int_equal(add_text(&r, "1", "", false), ERR_INVALID);
    assert_int_equal(add_text(&r, "1", "./.", false), ERR_INVALID);
    char longest[2 * RULE_TOKENS_MAX + 8] = "";
    for (int i = 0; i < RULE_TOKENS_MAX - 1; i++)
        strcat(longest, "a/");
    assert_int_equal(add_text(&r, "1", longest, true), OK);
    assert_string_equal(best(r, longest), "1");
    strcat(longest, "b");
    assert_int_equal(add_text(&r, "2", longest, true), ERR_LIMIT);
    remove_rule(&r, "1");
    assert_int_equal(rules_count(r), 0);
    rules_free(&r);
}

static void test_rules_removed_rule_leaves_the_others(void **state)
{
    (void)state;
    struct rules *r = rules_new();
    struct rules *next;
    add(&r, "a/b/c");
    add(&r, "a/b");
    add(&r, "a/#");
    remove_rule(&r, "a/b/c");
    assert_string_equal(best(r, "a/b/c"), "a/#");
    assert_string_equal(best(r, "a/b"), "a/b");
    remove_rule(&r, "a/#");
    assert_string_equal(best(r, "a/b/c"), "none");
    assert_int_equal(rules_without(r, "a/#", &next), ERR_NOT_FOUND);
    assert_null(rules_find(r, "a/#"));
    assert_non_null(rules_find(r, "a/b"));
    assert_int_equal(rules_count(r), 1);
    add(&r, "a/#");
    assert_string_equal(best(r, "a/b/c"), "a/#");
    rules_free(&r);
}

static void test_rules_old_set_stays_as_it_was(void **state)
{
    (void)state;
    struct rules *r = rules_new(), *with, *without;
    add(&r, "a/b");
    struct rule_conf conf = {.identity = "new", .text = "a/*", .priority = 9, .egress_phase = 1, .name = "n"};
    assert_int_equal(rules_with(r, &conf, &with), OK);
    assert_int_equal(rules_without(with, "a/b", &without), OK);
    assert_string_equal(best(r, "a/c"), "none");
    assert_string_equal(best(with, "a/c"), "new");
    assert_string_equal(best(with, "a/b"), "a/b");
    assert_string_equal(best(without, "a/b"), "new");
    const struct rule *kept = rule_ref(rules_find(without, "new"));
    rules_free(&r);
    rules_free(&with);
    rules_free(&without);
    assert_int_equal(rule_conf(kept)->priority, 9);
    assert_string_equal(rule_conf(kept)->name, "n");
    assert_true(rule_is_waypoint(kept));
    rule_unref(kept);
}

static void test_rules_distribution_words_go_both_ways(void **state)
{
    (void)state;
    enum distribution d;
    assert_true(distribution_by_text("multicast", &d));
    assert_string_equal(distribution_text(d), "multicast");
    assert_true(distribution_by_text("unavailable", &d));
    assert_int_equal(d, DISTRIBUTION_UNAVAILABLE);
    assert_false(distribution_by_text("Closest", &d));
}

/* ---- against a matcher that tries everything ---- */

/* How one pattern matches a text, as a string in which a smaller one is preferred; written from the header's words
 * alone. */
static void try_all(const char *pattern, const char *text, bool in_hash, char *way, size_t n, char *best_way)
{
    if (*pattern == '#') {
        way[n] = '3';
        try_all(pattern + 1, text, true, way, n + 1, best_way);
        return;
    }
    if (*text == '\0' && *pattern == '\0') {
        way[n] = '2';
        way[n + 1] = '\0';
        if (*best_way == '\0' || strcmp(way, best_way) < 0)
            strcpy(best_way, way);
        return;
    }
    if (*text == '\0')
        return;
    if (*pattern == *text || *pattern == '*') {
        way[n] = *pattern == '*' ? '1' : '0';
        try_all(pattern + 1, text + 1, false, way, n + 1, best_way);
    }
    if (in_hash) {
        way[n] = '4';
        try_all(pattern, text + 1, true, way, n + 1, best_way);
    }
}

static void random_word(char *out, const char *alphabet, int max)
{
    int len = rand() % (max + 1);
    for (int i = 0; i < len; i++)
        out[i] = alphabet[(size_t)rand() % strlen(alphabet)];
    out[len] = '\0';
}

/* Tokens of one letter, without separators. */
static void with_separators(const char *word, char *out)
{
    for (; *word != '\0'; word++) {
        *out++ = *word;
        *out++ = rand() % 2 ? '.' : '/';
    }
    *out = '\0';
}

/* "##" and "#*" do not stay so. */
static bool is_normal(const char *pattern)
{
    return strstr(pattern, "##") == NULL && strstr(pattern, "#*") == NULL;
}

static const char *naive_best(char patterns[][8], const bool *present, int count, const char *text)
{
    char best_way[32] = "";
    const char *winner = "none";
    for (int i = 0; i < count; i++) {
        char way[32], this_way[32] = "";
        if (!present[i])
            continue;
        try_all(patterns[i], text, false, way, 0, this_way);
        if (this_way[0] != '\0' && (best_way[0] == '\0' || strcmp(this_way, best_way) < 0)) {
            strcpy(best_way, this_way);
            winner = patterns[i];
        }
    }
    return winner;
}

static int random_patterns(char patterns[][8], int wanted)
{
    int count = 0;
    while (count < wanted) {
        random_word(patterns[count], "ab*#", 6);
        bool is_new = patterns[count][0] != '\0' && is_normal(patterns[count]);
        for (int i = 0; i < count; i++)
            is_new = is_new && strcmp(patterns[i], patterns[count]) != 0;
        count += is_new;
    }
    return count;
}

static void test_rules_random_sets_match_as_trying_everything_does(void **state)
{
    (void)state;
    srand(1);
    for (int round = 0; round < 300; round++) {
        char patterns[24][8], text[8], separated[32];
        bool present[24] = {false};
        int count = random_patterns(patterns, 1 + rand() % 24);
        struct rules *r = rules_new();
        for (int step = 0; step < 2 * count; step++) {
            int i = rand() % count;
            with_separators(patterns[i], separated);
            if (present[i])
                remove_rule(&r, patterns[i]);
            else
                assert_int_equal(add_text(&r, patterns[i], separated, false), OK);
            present[i] = !present[i];
            for (int probe = 0; probe < 20; probe++) {
                random_word(text, "abc", 7);
                with_separators(text, separated);
                const char *expected = naive_best(patterns, present, count, text);
                if (strcmp(best(r, separated), expected) != 0)
                    fail_msg("'%s': %s, not %s", text, best(r, separated), expected);
            }
        }
        rules_free(&r);
    }
}

static void test_rules_hostile_address_costs_little(void **state)
{
    (void)state;
    struct rules *r = rules_new();
    char pattern[64];
    for (int i = 0; i < 40; i++) {
        snprintf(pattern, sizeof pattern, "#/a/#/a/#/a/#/a/#/a/#/a/#/b%d", i);
        add(&r, pattern);
    }
    enum { LEN = 64 * 1024 };
    char *text = malloc(LEN);
    for (int i = 0; i < LEN; i++)
        text[i] = i % 2 ? '/' : 'a';
    mono_ms start = clock_mono_ms();
    assert_null(rules_match(r, text, LEN));
    /* Trying all ways takes longer than the universe has lasted; this takes milliseconds. */
    assert_true(clock_mono_ms() - start < 10000);
    free(text);
    rules_free(&r);
}

static void test_rules_thousands_are_found_and_shared(void **state)
{
    (void)state;
    enum { RULES = 5000 };
    struct rules *r = rules_new();
    char text[64];
    for (int i = 0; i < RULES; i++) {
        snprintf(text, sizeof text, "customer%d/*/orders/#", i);
        add(&r, text);
    }
    assert_int_equal(rules_count(r), RULES);
    for (int i = 0; i < RULES; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "customer%d/*/orders/#", i);
        snprintf(text, sizeof text, "customer%d.eu.orders.new", i);
        assert_string_equal(best(r, text), expected);
    }
    assert_string_equal(best(r, "customer5000/eu/orders"), "none");
    rules_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules_prefix_matches_itself_and_what_is_below),
        cmocka_unit_test(test_rules_leftmost_token_decides),
        cmocka_unit_test(test_rules_separators_are_equal_and_do_not_count_at_the_ends),
        cmocka_unit_test(test_rules_wildcard_is_a_whole_token),
        cmocka_unit_test(test_rules_wildcards_of_an_address_are_plain_tokens),
        cmocka_unit_test(test_rules_same_pattern_in_other_words_is_refused),
        cmocka_unit_test(test_rules_pattern_without_or_with_too_many_tokens_is_refused),
        cmocka_unit_test(test_rules_removed_rule_leaves_the_others),
        cmocka_unit_test(test_rules_old_set_stays_as_it_was),
        cmocka_unit_test(test_rules_distribution_words_go_both_ways),
        cmocka_unit_test(test_rules_random_sets_match_as_trying_everything_does),
        cmocka_unit_test(test_rules_hostile_address_costs_little),
        cmocka_unit_test(test_rules_thousands_are_found_and_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
