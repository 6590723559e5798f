#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/autolink.h>
#include <router/route/connection.h>
#include <router/route/here.h>
#include <router/route/own_link.h>
#include <router/route/registry.h>
#include <trunkline/base/alloc.h>

/* In place of links of the router's own, containers and the loop: the test plays connections and peers. */
struct own_link {
    struct own_link_owner *owner; /* NULL: closed */
    struct own_link_conf conf;
    char at_container[32], key[32];
    struct link *link;
};
static struct own_link opened[16];
static int opened_count;
static struct link a_link = {.identity = 77};

struct own_link *own_link_open(const struct own_link_conf *conf, struct own_link_owner *owner)
{
    struct own_link *o = &opened[opened_count++];
    *o = (struct own_link){.owner = owner, .conf = *conf};
    snprintf(o->at_container, sizeof o->at_container, "%s", conf->is_sender ? conf->target : conf->source);
    snprintf(o->key, sizeof o->key, "%s", conf->key);
    return o;
}

void own_link_close(struct own_link **o)
{
    if (*o)
        (*o)->owner = NULL;
    *o = NULL;
}

struct link *own_link_link(const struct own_link *o)
{
    return o->link;
}

static struct container_watch *watched;
static char watched_name[32];
static enum container_naming watched_by;

void container_watch(struct container_watch *w, enum container_naming by, const char *name)
{
    watched = w;
    watched_by = by;
    snprintf(watched_name, sizeof watched_name, "%s", name);
}

void container_unwatch(struct container_watch *w)
{
    if (watched == w)
        watched = NULL;
}

static uint64_t last_identity;

uint64_t registry_next_identity(void)
{
    return ++last_identity;
}

static struct timer *timers[16];
static mono_ms delays[16];
static int timer_count;

void loop_timer_after(struct loop *l, struct timer *t, mono_ms delay)
{
    (void)l;
    timers[timer_count] = t;
    delays[timer_count++] = delay;
}

static struct route_world world = {.identity = {.id = "A"}};
static struct connection first, second;

static int setup(void **state) NO_THREAD_SAFETY
{
    (void)state;
    opened_count = timer_count = 0;
    watched = NULL;
    autolinks_start(NULL, &world);
    return 0;
}

static int play_control(void **state) NO_THREAD_SAFETY
{
    (void)state;
    thread_become_control();
    return 0;
}

static int teardown(void **state) NO_THREAD_SAFETY
{
    (void)state;
    autolinks_stop();
    assert_int_equal(autolink_count(), 0);
    assert_null(watched);
    return 0;
}

static struct autolink *add(const struct autolink_conf *conf) NO_THREAD_SAFETY
{
    struct autolink *a;
    assert_int_equal(autolink_add(conf, &a), OK);
    assert_ptr_equal(autolink_find(autolink_identity(a)), a);
    return a;
}

static const struct autolink_conf in = {
    .address = "q", .is_in = true, .phase = 1, .by = CONTAINER_BY_CONNECTION, .container = "broker"};

static void attached(struct own_link *o)
{
    o->link = &a_link;
    struct own_link_answer answer = {.address = o->at_container};
    o->owner->attached(o->owner, &answer);
}

static void ended(struct own_link *o, const char *condition, const char *description)
{
    bool was_attached = o->link;
    o->link = NULL;
    struct own_link_end e = {.was_attached = was_attached, .condition = condition, .description = description};
    o->owner->ended(o->owner, &e);
    assert_null(o->owner);
}

static void fire(int timer)
{
    timers[timer]->fire(timers[timer]);
}

static void test_autolink_attaches_as_soon_as_its_connection_opens(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct autolink *a = add(&in);
    assert_string_equal(watched_name, "broker");
    assert_int_equal(autolink_state(a), AUTOLINK_INACTIVE);
    watched->opened(watched, &first);
    assert_int_equal(opened_count, 1);
    assert_ptr_equal(opened[0].conf.conn, &first);
    assert_false(opened[0].conf.is_sender);
    assert_null(opened[0].conf.target);
    assert_string_equal(opened[0].at_container, "q");
    assert_string_equal(opened[0].key, "M1q");
    assert_int_equal(autolink_state(a), AUTOLINK_ATTACHING);
    assert_null(autolink_link(a));
    attached(&opened[0]);
    assert_int_equal(autolink_state(a), AUTOLINK_ACTIVE);
    assert_ptr_equal(autolink_link(a), &a_link);
    ended(&opened[0], NULL, NULL);
    watched->gone(watched, &first);
    assert_int_equal(autolink_state(a), AUTOLINK_INACTIVE);
    assert_null(autolink_last_error(a));
}

static void test_autolink_out_by_container_id_with_another_name_there(void **state) NO_THREAD_SAFETY
{
    (void)state;
    add(&(struct autolink_conf){
        .address = "amqp:/q", .phase = 3, .external = "their/q", .by = CONTAINER_BY_ID, .container = "them"});
    assert_int_equal(watched_by, CONTAINER_BY_ID);
    watched->opened(watched, &first);
    assert_true(opened[0].conf.is_sender);
    assert_null(opened[0].conf.source);
    assert_string_equal(opened[0].at_container, "their/q");
    assert_string_equal(opened[0].key, "M3q");
}

static void test_autolink_out_goes_to_the_fallback_and_in_comes_from_it(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct autolink_conf fallback = {
        .address = "q", .is_fallback = true, .by = CONTAINER_BY_CONNECTION, .container = "broker"};
    add(&fallback);
    watched->opened(watched, &first);
    assert_string_equal(opened[0].key, "MFq");
    assert_false(opened[0].conf.is_from_fallback);
    fallback.is_in = true;
    add(&fallback);
    watched->opened(watched, &first);
    assert_string_equal(opened[1].key, "M0q");
    assert_true(opened[1].conf.is_from_fallback);
}

static void test_autolink_tries_again_after_three_seconds_then_each_six(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct autolink *a = add(&in);
    watched->opened(watched, &first);
    ended(&opened[0], "amqp:not-found", "no queue");
    assert_int_equal(autolink_state(a), AUTOLINK_FAILED);
    assert_string_equal(autolink_last_error(a), "no queue");
    assert_int_equal(delays[0], 3000);
    fire(0);
    assert_int_equal(opened_count, 2);
    assert_int_equal(autolink_state(a), AUTOLINK_ATTACHING);
    ended(&opened[1], "amqp:not-found", NULL);
    assert_string_equal(autolink_last_error(a), "amqp:not-found");
    assert_int_equal(delays[1], 6000);
    fire(1);
    ended(&opened[2], "amqp:not-found", NULL);
    assert_int_equal(delays[2], 6000);
    fire(2);
    attached(&opened[3]);
    assert_null(autolink_last_error(a));
    /* Detached after it has worked: soon again. */
    ended(&opened[3], "amqp:resource-deleted", "deleted");
    assert_string_equal(autolink_last_error(a), "deleted");
    assert_int_equal(delays[3], 3000);
    watched->gone(watched, &first);
    assert_int_equal(autolink_state(a), AUTOLINK_INACTIVE);
}

static void test_autolink_refused_without_a_detach_is_tried_again_after_that(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct autolink *a = add(&in);
    watched->opened(watched, &first);
    struct own_link_end e = {.condition = "amqp:illegal-state", .description = "not detached"};
    opened[0].owner->refused(opened[0].owner, &e);
    assert_int_equal(autolink_state(a), AUTOLINK_FAILED);
    assert_string_equal(autolink_last_error(a), "not detached");
    assert_int_equal(timer_count, 0);
    ended(&opened[0], "amqp:not-found", "no queue");
    assert_string_equal(autolink_last_error(a), "no queue");
    assert_int_equal(delays[0], 3000);
    fire(0);
    attached(&opened[1]);
    assert_int_equal(autolink_state(a), AUTOLINK_ACTIVE);
    assert_null(autolink_last_error(a));
}

static void test_autolink_whose_session_was_ended_has_one_of_its_own(void **state) NO_THREAD_SAFETY
{
    (void)state;
    add(&in);
    watched->opened(watched, &first);
    assert_int_equal(opened[0].conf.session, OWN_SESSION_MESSAGES);
    struct own_link_end e = {.with_session = true, .condition = "amqp:not-found"};
    opened[0].owner->ended(opened[0].owner, &e);
    fire(0);
    assert_int_equal(opened[1].conf.session, OWN_SESSION_ALONE);
    attached(&opened[1]);
    ended(&opened[1], "amqp:resource-deleted", NULL);
    fire(1);
    assert_int_equal(opened[2].conf.session, OWN_SESSION_ALONE);
}

static void test_autolink_has_a_link_on_each_connection_of_the_name(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct autolink *a = add(&in);
    watched->opened(watched, &first);
    watched->opened(watched, &second);
    attached(&opened[0]);
    ended(&opened[1], "amqp:not-found", "not here");
    assert_int_equal(autolink_state(a), AUTOLINK_ACTIVE);
    watched->gone(watched, &first);
    assert_null(opened[0].owner);
    assert_int_equal(autolink_state(a), AUTOLINK_FAILED);
    fire(0);
    assert_ptr_equal(opened[2].conf.conn, &second);
}

static void test_autolink_removed_detaches_its_links(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct autolink *a = add(&in);
    uint64_t identity = autolink_identity(a);
    watched->opened(watched, &first);
    watched->opened(watched, &second);
    attached(&opened[0]);
    autolink_remove(a);
    assert_null(watched);
    assert_null(opened[0].owner);
    assert_null(opened[1].owner);
    assert_null(autolink_find(identity));
}

static void test_autolink_without_a_container_or_an_address(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct autolink *a = add(&(struct autolink_conf){.address = "q"});
    assert_null(watched);
    assert_int_equal(autolink_state(a), AUTOLINK_INACTIVE);
    assert_int_equal(autolink_add(&(struct autolink_conf){.address = "amqp:/"}, &a), ERR_INVALID);
    assert_int_equal(autolink_count(), 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_autolink_attaches_as_soon_as_its_connection_opens),
        TEST(test_autolink_out_by_container_id_with_another_name_there),
        TEST(test_autolink_out_goes_to_the_fallback_and_in_comes_from_it),
        TEST(test_autolink_tries_again_after_three_seconds_then_each_six),
        TEST(test_autolink_refused_without_a_detach_is_tried_again_after_that),
        TEST(test_autolink_whose_session_was_ended_has_one_of_its_own),
        TEST(test_autolink_has_a_link_on_each_connection_of_the_name),
        TEST(test_autolink_removed_detaches_its_links),
        TEST(test_autolink_without_a_container_or_an_address),
    };
    return cmocka_run_group_tests(tests, play_control, NULL);
}
