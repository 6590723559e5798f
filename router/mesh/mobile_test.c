#include "mobile.h"

#include <string.h>
#include <trunkline/base/list.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

enum { R = 3 }; /* the router that the tests speak of */

static struct {
    struct mobile_owner owner;
    struct mobile *mobile;
    char log[256]; /* "+M0a2 -M0a": mapped with hint 2, unmapped */
} t;

static void on_mapped(struct mobile_owner *o, const char *key, uint32_t router, int hint)
{
    (void)o;
    assert_int_equal(router, R);
    sprintf(t.log + strlen(t.log), "+%s%d ", key, hint);
}

static void on_unmapped(struct mobile_owner *o, const char *key, uint32_t router)
{
    (void)o;
    assert_int_equal(router, R);
    sprintf(t.log + strlen(t.log), "-%s ", key);
}

static int set_up(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    t.owner = (struct mobile_owner){on_mapped, on_unmapped};
    t.mobile = mobile_new(3, &t.owner);
    mobile_set_reachable(t.mobile, R, true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mobile_free(&t.mobile);
    return 0;
}

static void assert_log(const char *expected)
{
    assert_string_equal(t.log, expected);
    t.log[0] = '\0';
}

struct list_of {
    uint8_t octets[256];
    struct amqp_compound list;
};

/* Keys separated by spaces. */
static struct amqp_compound keys(const char *text, struct list_of *l)
{
    struct amqp_writer w = amqp_writer(l->octets, sizeof l->octets);
    uint32_t n = 0;
    while (*text) {
        size_t len = strcspn(text, " ");
        amqp_write_string(&w, text, len);
        text += len + (text[len] == ' ');
        n++;
    }
    return (struct amqp_compound){{l->octets, l->octets + w.len}, n};
}

static struct amqp_compound hints(const char *digits, struct list_of *l)
{
    struct amqp_writer w = amqp_writer(l->octets, sizeof l->octets);
    for (const char *d = digits; *d; d++)
        amqp_write_int(&w, *d - '0');
    return (struct amqp_compound){{l->octets, l->octets + w.len}, (uint32_t)strlen(digits)};
}

static enum err update(int64_t seq, const char *add, const char *digits, const char *del)
{
    struct list_of a, h, d;
    return mobile_receive_update(t.mobile, R, seq, keys(add, &a), hints(digits, &h), keys(del, &d));
}

static enum err all(int64_t seq, const char *exist, const char *digits)
{
    struct list_of e, h;
    return mobile_receive_all(t.mobile, R, seq, keys(exist, &e), hints(digits, &h));
}

static void assert_update(const char *add, const char *del)
{
    struct mobile_list l;
    char text[64] = "";
    assert_true(mobile_update(t.mobile, &l));
    for (uint32_t i = 0; i < l.add_count; i++)
        sprintf(text + strlen(text), "%s%d ", l.add[i], l.hints[i]);
    assert_string_equal(text, add);
    text[0] = '\0';
    for (uint32_t i = 0; i < l.del_count; i++)
        sprintf(text + strlen(text), "%s ", l.del[i]);
    assert_string_equal(text, del);
}

static void test_mobile_own_changes_become_numbered_updates(void **state)
{
    (void)state;
    struct mobile_list l;
    assert_false(mobile_update(t.mobile, &l));
    assert_int_equal(mobile_seq(t.mobile), 0);
    assert_int_equal(mobile_add(t.mobile, "M0b", 2), OK);
    assert_int_equal(mobile_add(t.mobile, "M0a", 1), OK);
    assert_int_equal(mobile_add(t.mobile, "M0a", 1), ERR_EXISTS);
    assert_update("M0b2 M0a1 ", ""); /* in the order of adding */
    assert_int_equal(mobile_seq(t.mobile), 1);
    assert_int_equal(mobile_remove(t.mobile, "M0b"), OK);
    assert_int_equal(mobile_remove(t.mobile, "M0b"), ERR_NOT_FOUND);
    assert_int_equal(mobile_add(t.mobile, "Dlr", 4), OK);
    assert_update("Dlr4 ", "M0b ");
    assert_int_equal(mobile_seq(t.mobile), 2);
    mobile_all(t.mobile, &l);
    assert_int_equal(l.add_count, 2);
    assert_string_equal(l.add[0], "M0a");
    assert_string_equal(l.add[1], "Dlr");
}

static void test_mobile_added_and_removed_between_updates_says_nothing(void **state)
{
    (void)state;
    struct mobile_list l;
    mobile_add(t.mobile, "M0a", 2);
    mobile_remove(t.mobile, "M0a");
    assert_false(mobile_is_pending(t.mobile));
    assert_false(mobile_update(t.mobile, &l));
    mobile_add(t.mobile, "M0a", 2);
    assert_update("M0a2 ", "");
    mobile_remove(t.mobile, "M0a");
    mobile_add(t.mobile, "M0a", 3);
    assert_false(mobile_update(t.mobile, &l));
    assert_int_equal(mobile_seq(t.mobile), 1);
}

static void test_mobile_all_is_what_has_been_announced(void **state)
{
    (void)state;
    struct mobile_list l;
    mobile_add(t.mobile, "M0a", 2);
    assert_update("M0a2 ", "");
    mobile_add(t.mobile, "M0b", 2); /* not yet */
    mobile_remove(t.mobile, "M0a"); /* not yet either */
    mobile_all(t.mobile, &l);
    assert_int_equal(l.add_count, 1);
    assert_string_equal(l.add[0], "M0a");
}

static void test_mobile_keys_of_other_classes_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "M", "M0", "Mxa", "L$management", "Rx", "Tqdrouter", "H", "C"};
    static const char *const good[] = {"M0a", "M9a", "MFa", "Ca", "Da", "Ea", "Fa", "Hedge"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(mobile_add(t.mobile, bad[i], 2), ERR_INVALID);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(mobile_add(t.mobile, good[i], 2), OK);
    assert_int_equal(update(1, "L$management M0a Rx", "222", ""), OK);
    assert_log("+M0a2 ");
}

static void test_mobile_updates_in_order_applied(void **state)
{
    (void)state;
    assert_int_equal(update(1, "M0a M0b", "12", ""), OK);
    assert_log("+M0a1 +M0b2 ");
    assert_int_equal(update(1, "M0a M0b", "12", ""), ERR_EXISTS);
    assert_int_equal(update(2, "", "", "M0a M0x"), OK);
    assert_log("-M0a ");
    assert_int_equal(update(4, "M0c", "1", ""), ERR_AGAIN);
    assert_log("");
    assert_int_equal(mobile_known(t.mobile, R), 2);
}

static void test_mobile_all_replaces(void **state)
{
    (void)state;
    update(1, "M0a M0b", "11", "");
    assert_log("+M0a1 +M0b1 ");
    assert_int_equal(all(7, "M0b M0c", "11"), OK);
    assert_log("-M0a +M0c1 ");
    assert_int_equal(mobile_known(t.mobile, R), 7);
    assert_int_equal(all(6, "M0z", "1"), ERR_EXISTS);
    assert_log("");
    assert_int_equal(all(7, "", ""), OK);
    assert_log("-M0b -M0c ");
}

static void test_mobile_hints_absent_or_out_of_range_are_none(void **state)
{
    (void)state;
    update(1, "M0a M0b", "", "");
    assert_log("+M0a-1 +M0b-1 ");
    update(2, "M0c", "6", "");
    assert_log("+M0c-1 ");
}

static void test_mobile_unreachable_unmapped_at_once_and_mapped_again(void **state)
{
    (void)state;
    update(1, "M0a M0b", "11", "");
    assert_log("+M0a1 +M0b1 ");
    mobile_set_reachable(t.mobile, R, false);
    assert_log("-M0a -M0b ");
    assert_int_equal(update(2, "M0c", "1", "M0a"), OK);
    assert_log("");
    mobile_set_reachable(t.mobile, R, true);
    assert_log("+M0b1 +M0c1 ");
    mobile_set_reachable(t.mobile, R, true);
    assert_log("");
}

static void test_mobile_restarted_updates_wait_for_all(void **state)
{
    (void)state;
    update(1, "M0a", "1", "");
    assert_log("+M0a1 ");
    mobile_restarted(t.mobile, R);
    assert_log("-M0a ");
    assert_int_equal(update(1, "M0old", "1", ""), ERR_AGAIN); /* of which life? */
    assert_int_equal(all(1, "M0new", "1"), OK);
    assert_log("+M0new1 ");
    assert_int_equal(update(2, "M0more", "1", ""), OK);
    assert_log("+M0more1 ");
    mobile_forget(t.mobile, R);
    assert_log("-M0new -M0more ");
    assert_int_equal(update(1, "M0b", "1", ""), OK); /* the number is another router's now */
    assert_log("+M0b1 ");
}

static void test_mobile_addresses_of_a_router_bounded(void **state)
{
    (void)state;
    assert_int_equal(update(1, "M0a M0b M0c M0d", "1111", ""), OK);
    assert_log("+M0a1 +M0b1 +M0c1 ");
    assert_int_equal(mobile_count(t.mobile, R), 3);
    assert_int_equal(all(2, "M0d M0e", "11"), OK); /* those that go make room */
    assert_log("-M0a -M0b -M0c +M0d1 +M0e1 ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_mobile_own_changes_become_numbered_updates),
        TEST(test_mobile_added_and_removed_between_updates_says_nothing),
        TEST(test_mobile_all_is_what_has_been_announced),
        TEST(test_mobile_keys_of_other_classes_refused),
        TEST(test_mobile_updates_in_order_applied),
        TEST(test_mobile_all_replaces),
        TEST(test_mobile_hints_absent_or_out_of_range_are_none),
        TEST(test_mobile_unreachable_unmapped_at_once_and_mapped_again),
        TEST(test_mobile_restarted_updates_wait_for_all),
        TEST(test_mobile_addresses_of_a_router_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
