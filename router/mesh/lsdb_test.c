#include "lsdb.h"

#include "paths.h"

#include <stdio.h>
#include <string.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

static struct paths *paths;
static struct lsdb *db;
static mono_ms now;

static int set_up(void **state)
{
    (void)state;
    now = 1000;
    paths = paths_new(8);
    db = lsdb_new(
        &(struct lsdb_conf){
            .id = "me", .max_routers = 8, .max_peers = 4, .max_age = 60000, .doubt = 3000, .forget_after = 3000},
        paths);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lsdb_free(&db);
    paths_free(&paths);
    return 0;
}

static struct slice text(const char *id)
{
    return (struct slice){NULL, (const uint8_t *)id, strlen(id)};
}

static uint32_t know(const char *id)
{
    uint32_t index = 0;
    assert_int_equal(lsdb_know(db, text(id), now, &index), OK);
    return index;
}

/* "B5 C1": router B at cost 5, C at cost 1. */
static enum err install(const char *id, int64_t instance, int64_t seq, const char *peers, uint32_t *news)
{
    uint8_t octets[256];
    struct amqp_writer w = amqp_writer(octets, sizeof octets);
    uint32_t count = 0;
    for (const char *p = peers; *p; p += p[2] ? 3 : 2, count += 2) {
        amqp_write_string(&w, p, 1);
        amqp_write_int(&w, p[1] - '0');
    }
    return lsdb_install(db, know(id), instance, seq, (struct amqp_compound){{octets, octets + w.len}, count}, now,
                        news);
}

static const struct lsdb_router *router(const char *id)
{
    uint32_t index;
    return lsdb_find(db, text(id), &index) ? lsdb_router(db, index) : NULL;
}

static void assert_peers(const char *id, const char *expected)
{
    char found[64] = "";
    const struct lsdb_router *r = router(id);
    for (uint32_t i = 0; i < r->peer_count; i++)
        sprintf(found + strlen(found), "%s%s%d", i ? " " : "", lsdb_router(db, r->peers[i].to)->id, r->peers[i].cost);
    assert_string_equal(found, expected);
}

static uint32_t hear(const char *id, int64_t instance, int64_t ls_seq, int64_t mobile_seq)
{
    uint32_t news;
    lsdb_hear(db, know(id), instance, ls_seq, mobile_seq, now, &news);
    return news;
}

static void test_lsdb_record_newer_replaces_whole(void **state)
{
    (void)state;
    uint32_t news;
    assert_int_equal(install("A", 5, 1, "B1 C2", &news), OK);
    assert_int_equal(news, LSDB_RECORD);
    assert_peers("A", "B1 C2");
    install("A", 5, 1, "D1", &news);
    assert_int_equal(news, LSDB_BEHIND);
    assert_peers("A", "B1 C2");
    install("A", 5, 2, "D1", &news);
    assert_int_equal(news, LSDB_RECORD);
    assert_peers("A", "D1");
    assert_int_equal(path_tree_node(paths_tree(paths, know("A")), know("D"))->cost, 1);
    assert_int_equal(path_tree_node(paths_tree(paths, know("A")), know("B"))->cost, -1);
}

static void test_lsdb_record_numbered_0_is_not_installed(void **state)
{
    (void)state;
    uint32_t news;
    install("A", 5, 0, "B1", &news);
    assert_int_equal(news & LSDB_RECORD, 0);
    assert_int_equal(router("A")->peer_count, 0);
}

static void test_lsdb_ra_tells_what_to_pull(void **state)
{
    (void)state;
    uint32_t news;
    assert_int_equal(hear("A", 5, 0, 0), 0);
    assert_int_equal(hear("A", 5, 1, 0), LSDB_LS_AHEAD);
    assert_int_equal(hear("A", 5, 1, 2), LSDB_LS_AHEAD | LSDB_MOBILE_AHEAD);
    install("A", 5, 1, "B1", &news);
    assert_int_equal(hear("A", 5, 1, 2), 0);
    assert_int_equal(hear("A", 0, 2, 2), LSDB_LS_AHEAD); /* a very old router says no instance */
}

static void test_lsdb_other_instance_all_is_forgotten(void **state)
{
    (void)state;
    uint32_t news;
    install("A", 5, 7, "B1", &news);
    hear("A", 5, 7, 3);
    assert_int_equal(hear("A", 6, 1, 1), LSDB_RESTARTED | LSDB_LS_AHEAD | LSDB_MOBILE_AHEAD);
    assert_int_equal(router("A")->peer_count, 0);
    install("A", 5, 8, "B1", &news); /* of the last life, late */
    assert_int_equal(news, LSDB_BEHIND);
    install("A", 7, 1, "C1", &news); /* and once more, the record comes first */
    assert_int_equal(news, LSDB_RESTARTED | LSDB_RECORD);
    assert_peers("A", "C1");
}

static void test_lsdb_late_copy_of_an_ra_changes_nothing(void **state)
{
    (void)state;
    uint32_t news;
    install("A", 5, 7, "B1", &news);
    hear("A", 5, 7, 3);
    for (int i = 0; i < 10; i++) {
        now += 1000;
        assert_int_equal(hear("A", 5, 7, 2), LSDB_BEHIND); /* a copy that was long under way */
        assert_int_equal(hear("A", 4, 9, 9), LSDB_BEHIND);
        assert_int_equal(hear("A", 5, 7, 3), 0); /* the present one is heard as well */
    }
    assert_peers("A", "B1");
}

static void test_lsdb_gone_back_for_long_is_a_restart(void **state)
{
    (void)state;
    uint32_t news;
    install("A", 5, 7, "B1", &news);
    hear("A", 5, 7, 3);
    assert_int_equal(hear("A", 5, 1, 0), LSDB_BEHIND); /* restarted within its second */
    now += 4000;
    assert_int_equal(hear("A", 5, 2, 0), LSDB_RESTARTED | LSDB_LS_AHEAD);
    assert_int_equal(hear("A", 3, 1, 0), LSDB_BEHIND); /* its clock goes back */
    now += 4000;
    assert_int_equal(hear("A", 3, 1, 0), LSDB_RESTARTED | LSDB_LS_AHEAD);
    assert_int_equal(router("A")->instance, 3);
}

static void test_lsdb_two_late_copies_far_apart_are_no_restart(void **state)
{
    (void)state;
    hear("A", 5, 7, 0);
    assert_int_equal(hear("A", 5, 6, 0), LSDB_BEHIND);
    now += 30000;
    hear("A", 5, 8, 0);
    assert_int_equal(hear("A", 5, 7, 0), LSDB_BEHIND);
}

static void test_lsdb_neighbour_says_another_instance_believed_at_once(void **state)
{
    (void)state;
    uint32_t news;
    install("A", 5, 7, "B1", &news);
    assert_false(lsdb_restarted(db, know("A"), 5, now));
    assert_true(lsdb_restarted(db, know("A"), 4, now));
    assert_int_equal(router("A")->peer_count, 0);
}

static void test_lsdb_silent_router_record_taken_then_forgotten(void **state)
{
    (void)state;
    uint32_t news, index;
    install("A", 5, 1, "B1", &news);
    now += 60000;
    assert_false(lsdb_age(db, now));
    now += 1;
    assert_true(lsdb_age(db, now));
    assert_int_equal(router("A")->ls_seq, 0);
    assert_false(lsdb_next_forgotten(db, now, &index));
    now += 3000;
    while (lsdb_next_forgotten(db, now, &index))
        lsdb_forget(db, index);
    assert_null(router("A"));
    assert_null(router("B"));
    assert_int_equal(lsdb_count(db), 1);
    assert_int_equal(lsdb_limit(db), 1);
    assert_int_equal(know("C"), 1); /* the index is used again */
}

static void test_lsdb_mentioned_router_is_kept(void **state)
{
    (void)state;
    uint32_t index;
    struct path_edge edge = {know("A"), 1};
    lsdb_originate(db, &edge, 1, now);
    now += 100000;
    lsdb_age(db, now);
    assert_false(lsdb_next_forgotten(db, now, &index));
    lsdb_originate(db, NULL, 0, now);
    assert_false(lsdb_next_forgotten(db, now, &index));
    now += 3000;
    assert_true(lsdb_next_forgotten(db, now, &index));
}

static void test_lsdb_limits_held(void **state)
{
    (void)state;
    uint32_t news, index;
    assert_int_equal(install("A", 5, 1, "B1 C1 D1 E1 F1", &news), ERR_LIMIT);
    assert_int_equal(router("A")->peer_count, 0);
    assert_int_equal(install("A", 5, 1, "B1 C1 D1 E1", &news), OK);
    assert_int_equal(install("B", 5, 1, "F1 G1 H1 I1", &news), OK); /* H and I are too many to be known */
    assert_peers("B", "F1 G1");
    assert_int_equal(lsdb_count(db), 8);
    assert_int_equal(lsdb_know(db, text("Z"), now, &index), ERR_LIMIT);
}

static void test_lsdb_costs_below_1_and_itself_left_out(void **state)
{
    (void)state;
    uint32_t news;
    install("A", 5, 1, "B0 C1 A1", &news);
    assert_int_equal(path_tree_node(paths_tree(paths, know("A")), know("C"))->cost, 1);
    assert_null(router("B"));
    uint32_t n;
    paths_edges(paths, know("A"), &n);
    assert_int_equal(n, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lsdb_record_newer_replaces_whole),
        TEST(test_lsdb_record_numbered_0_is_not_installed),
        TEST(test_lsdb_ra_tells_what_to_pull),
        TEST(test_lsdb_other_instance_all_is_forgotten),
        TEST(test_lsdb_late_copy_of_an_ra_changes_nothing),
        TEST(test_lsdb_gone_back_for_long_is_a_restart),
        TEST(test_lsdb_two_late_copies_far_apart_are_no_restart),
        TEST(test_lsdb_neighbour_says_another_instance_believed_at_once),
        TEST(test_lsdb_silent_router_record_taken_then_forgotten),
        TEST(test_lsdb_mentioned_router_is_kept),
        TEST(test_lsdb_limits_held),
        TEST(test_lsdb_costs_below_1_and_itself_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
