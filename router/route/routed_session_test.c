#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/routed_session.h>

/* ---- in place of the engine: sessions are numbers ---- */

enum { SESSIONS_MAX = 100 };
static uint16_t numbers[SESSIONS_MAX];
static uint32_t begun, limit, ended;
static bool has_failed[SESSIONS_MAX];
static struct connection conn;

enum err amqp_session_begin(struct amqp_conn *c, struct amqp_session **out)
{
    assert_ptr_equal(c, &conn.amqp);
    if (begun == limit)
        return ERR_LIMIT;
    numbers[begun] = (uint16_t)begun;
    *out = (struct amqp_session *)&numbers[begun++];
    return OK;
}

bool amqp_session_is_open(const struct amqp_session *s)
{
    return !has_failed[*(const uint16_t *)s];
}

uint16_t amqp_session_number(const struct amqp_session *s)
{
    return *(const uint16_t *)s;
}

void amqp_session_end(struct amqp_session *s, const struct amqp_error *error)
{
    assert_null(error);
    ended++;
    routed_session_gone(&conn, s); /* no longer one of these */
}

static int setup(void **state)
{
    (void)state;
    begun = ended = 0;
    memset(has_failed, 0, sizeof has_failed);
    limit = SESSIONS_MAX;
    conn.routed_sessions = NULL;
    return 0;
}

/* The connection's end, where all links have gone. */
static int teardown(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < begun; i++)
        routed_session_gone(&conn, (struct amqp_session *)&numbers[i]);
    routed_sessions_free(&conn.routed_sessions);
    return 0;
}

static struct routed_session *take(uint64_t connection, uint32_t number)
{
    struct routed_session *s = NULL;
    assert_int_equal(routed_session_take(&conn, &(struct routed_session_key){connection, number}, &s), OK);
    return s;
}

static void give(struct routed_session *s)
{
    routed_session_give(&conn, &s);
    assert_null(s);
}

static void test_routed_session_is_shared_by_the_links_of_a_near_session_alone(void **state)
{
    (void)state;
    struct routed_session *a = take(1, 0), *b = take(1, 1), *c = take(2, 0);
    assert_ptr_equal(take(1, 0), a);
    assert_ptr_equal(take(2, 0), c);
    assert_true(a != b && b != c && a != c);
    assert_int_equal(begun, 3);
    assert_ptr_equal(routed_session_engine(b), &numbers[1]);
    give(a);
    assert_ptr_equal(take(1, 0), a);
    for (int i = 0; i < 2; i++) {
        give(a);
        give(c);
    }
    give(b);
    assert_int_equal(ended, 0);
}

static void test_routed_session_without_links_is_used_again_for_whoever_comes(void **state)
{
    (void)state;
    struct routed_session *a = take(1, 0);
    give(a);
    assert_ptr_equal(take(7, 3), a);
    struct routed_session *b = take(1, 0);
    assert_ptr_not_equal(b, a);
    assert_int_equal(begun, 2);
    give(a);
    give(b);
}

static void test_routed_session_beyond_those_kept_is_ended(void **state)
{
    (void)state;
    struct routed_session *all[ROUTED_SESSIONS_IDLE_MAX + 2];
    for (uint32_t i = 0; i < ROUTED_SESSIONS_IDLE_MAX + 2; i++)
        all[i] = take(i, 0);
    for (uint32_t i = 0; i < ROUTED_SESSIONS_IDLE_MAX + 2; i++)
        give(all[i]);
    assert_int_equal(ended, 2);
    for (uint32_t i = 0; i < ROUTED_SESSIONS_IDLE_MAX; i++)
        all[i] = take(i, 0);
    assert_int_equal(begun, ROUTED_SESSIONS_IDLE_MAX + 2);
    for (uint32_t i = 0; i < ROUTED_SESSIONS_IDLE_MAX; i++)
        give(all[i]);
}

static void test_routed_session_is_shared_where_the_peer_allows_no_more(void **state)
{
    (void)state;
    struct routed_session *s = NULL;
    limit = 0;
    assert_int_equal(routed_session_take(&conn, &(struct routed_session_key){1, 0}, &s), ERR_LIMIT);
    assert_null(s);
    limit = 2;
    struct routed_session *a = take(1, 0), *b = take(2, 0), *c = take(3, 0);
    assert_true(c == a || c == b);
    give(a);
    give(b);
    give(c); /* the last of those that share it */
    assert_int_equal(ended, 0);
    a = take(1, 0);
    b = take(2, 0);
    assert_ptr_not_equal(a, b);
    give(a);
    give(b);
}

static void test_routed_session_that_the_peer_has_ended_is_not_taken(void **state)
{
    (void)state;
    struct routed_session *a = take(1, 0), *kept = take(2, 0);
    give(kept);
    routed_session_ended(&conn, (struct amqp_session *)&numbers[1]);
    routed_session_ended(&conn, (struct amqp_session *)&numbers[0]);
    routed_session_gone(&conn, (struct amqp_session *)&numbers[1]);
    struct routed_session *b = take(1, 0);
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(routed_session_engine(b), &numbers[2]);
    give(a);
    routed_session_gone(&conn, (struct amqp_session *)&numbers[0]);
    assert_ptr_equal(take(1, 0), b);
    give(b);
    give(b);
    assert_int_equal(ended, 0);
}

/* The peer has broken a rule; that it ends the session, too, is still to come. */
static void test_routed_session_that_the_engine_has_ended_is_not_taken(void **state)
{
    (void)state;
    struct routed_session *a = take(1, 0), *b = take(2, 0), *c = take(3, 0);
    has_failed[0] = has_failed[1] = true;
    give(a); /* its links have gone */
    struct routed_session *other = take(2, 0);
    assert_ptr_equal(routed_session_engine(other), &numbers[3]);
    give(b);
    give(c);
    has_failed[2] = true; /* while nobody used it */
    a = take(1, 0);
    assert_ptr_equal(routed_session_engine(a), &numbers[4]);
    limit = begun;
    has_failed[3] = true;
    assert_ptr_equal(take(4, 0), a);
    has_failed[4] = true;
    struct routed_session *none = NULL;
    assert_int_equal(routed_session_take(&conn, &(struct routed_session_key){5, 0}, &none), ERR_LIMIT);
    give(other);
    give(a);
    give(a);
    assert_int_equal(ended, 0);
}

static void test_routed_session_events_of_other_sessions_are_none_of_its_business(void **state)
{
    (void)state;
    struct amqp_session *other = NULL;
    amqp_session_begin(&conn.amqp, &other);
    routed_session_ended(&conn, other);
    routed_session_gone(&conn, other);
    struct routed_session *a = take(1, 0);
    routed_session_ended(&conn, other);
    assert_ptr_equal(take(1, 0), a);
    give(a);
    give(a);
}

static void test_routed_session_names_are_the_connections(void **state)
{
    (void)state;
    struct routed_name one, two, three, none = {0};
    assert_true(routed_session_claim(&conn, &one, "x", true));
    assert_true(routed_session_claim(&conn, &two, "x", false));
    assert_false(routed_session_claim(&conn, &three, "x", true));
    assert_true(routed_session_claim(&conn, &three, "y", true));
    routed_session_release(&conn, &one);
    routed_session_release(&conn, &one);
    assert_true(routed_session_claim(&conn, &one, "x", true));
    routed_session_release(&conn, &three);
    routed_session_release(&conn, &two);
    routed_session_release(&conn, &one);
    routed_session_release(&conn, &none);
}

static void test_routed_session_of_many_each_is_found(void **state)
{
    (void)state;
    enum { MANY = SESSIONS_MAX };
    struct routed_session *all[MANY];
    for (uint32_t i = 0; i < MANY; i++)
        all[i] = take(i / 7, i % 7);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_ptr_equal(take(i / 7, i % 7), all[i]);
        give(all[i]);
    }
    for (uint32_t i = 0; i < MANY; i++)
        give(all[i]);
    assert_int_equal(ended, MANY - ROUTED_SESSIONS_IDLE_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_routed_session_is_shared_by_the_links_of_a_near_session_alone),
        TEST(test_routed_session_without_links_is_used_again_for_whoever_comes),
        TEST(test_routed_session_beyond_those_kept_is_ended),
        TEST(test_routed_session_is_shared_where_the_peer_allows_no_more),
        TEST(test_routed_session_that_the_peer_has_ended_is_not_taken),
        TEST(test_routed_session_that_the_engine_has_ended_is_not_taken),
        TEST(test_routed_session_events_of_other_sessions_are_none_of_its_business),
        TEST(test_routed_session_names_are_the_connections),
        TEST(test_routed_session_of_many_each_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
