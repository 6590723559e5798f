#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/connection.h>
#include <router/route/container.h>
#include <trunkline/base/lock.h>

static struct connection_settings settings[] = {
    {.name = (char *)"brokerConnector", .role = ROLE_ROUTE_CONTAINER},
    {.name = (char *)"listener/0.0.0.0:5673", .role = ROLE_ROUTE_CONTAINER},
    {.name = (char *)"brokerConnector", .role = ROLE_NORMAL},
    {.name = (char *)"connector/127.0.0.1:5672", .role = ROLE_ROUTE_CONTAINER},
};

static struct connection make(uint64_t id, const struct connection_settings *s, const char *container)
{
    return (struct connection){.id = id, .settings = (struct connection_settings *)s, .container = (char *)container};
}

/* One who waits, and what it was told: "+3 -3 ". */
struct waiter {
    struct container_watch watch;
    char told[128];
    bool once;
};

static void tell(struct waiter *w, char sign, const struct connection *c)
{
    char word[16];
    snprintf(word, sizeof word, "%c%d ", sign, (int)c->id);
    strcat(w->told, word);
}

static void on_opened(struct container_watch *cw, struct connection *c) NO_THREAD_SAFETY
{
    struct waiter *w = container_of(cw, struct waiter, watch);
    tell(w, '+', c);
    if (w->once)
        container_unwatch(cw);
}

static void on_gone(struct container_watch *cw, struct connection *c) NO_THREAD_SAFETY
{
    struct waiter *w = container_of(cw, struct waiter, watch);
    tell(w, '-', c);
    if (w->once)
        container_unwatch(cw);
}

#define WAITER                                                                                                         \
    {                                                                                                                  \
        .watch = {.opened = on_opened, .gone = on_gone }                                                               \
    }

static void test_container_is_told_by_either_name(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct waiter by_name = WAITER, by_id = WAITER, other = WAITER;
    container_watch(&by_name.watch, CONTAINER_BY_CONNECTION, "brokerConnector");
    container_watch(&by_id.watch, CONTAINER_BY_ID, "broker");
    container_watch(&other.watch, CONTAINER_BY_ID, "brokerConnector");
    struct connection c = make(3, &settings[0], "broker");
    container_connection_opened(&c);
    assert_string_equal(by_name.told, "+3 ");
    assert_string_equal(by_id.told, "+3 ");
    container_connection_gone(&c);
    assert_string_equal(by_name.told, "+3 -3 ");
    assert_string_equal(by_id.told, "+3 -3 ");
    assert_string_equal(other.told, "");
    container_unwatch(&by_name.watch);
    container_unwatch(&by_id.watch);
    container_unwatch(&other.watch);
}

static void test_container_of_another_role_is_none(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct waiter w = WAITER, v = WAITER;
    container_watch(&w.watch, CONTAINER_BY_CONNECTION, "brokerConnector");
    container_watch(&v.watch, CONTAINER_BY_ID, "broker");
    struct connection c = make(3, &settings[2], "broker");
    container_connection_opened(&c);
    container_connection_gone(&c);
    assert_string_equal(w.told, "");
    assert_string_equal(v.told, "");
    container_unwatch(&w.watch);
    container_unwatch(&v.watch);
}

static void test_container_default_names_are_not_names(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct waiter listener = WAITER, connector = WAITER;
    container_watch(&listener.watch, CONTAINER_BY_CONNECTION, settings[1].name);
    container_watch(&connector.watch, CONTAINER_BY_CONNECTION, settings[3].name);
    struct connection c = make(3, &settings[1], "broker"), d = make(4, &settings[3], "broker");
    container_connection_opened(&c);
    container_connection_opened(&d);
    container_connection_gone(&c);
    container_connection_gone(&d);
    assert_string_equal(listener.told, "");
    assert_string_equal(connector.told, "");
    container_unwatch(&listener.watch);
    container_unwatch(&connector.watch);
}

static void test_container_open_before_is_told_at_once(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct connection c = make(3, &settings[0], "x"), d = make(4, &settings[0], "y");
    container_connection_opened(&c);
    container_connection_opened(&d);
    struct waiter w = WAITER, once = WAITER;
    once.once = true;
    container_watch(&w.watch, CONTAINER_BY_CONNECTION, "brokerConnector");
    container_watch(&once.watch, CONTAINER_BY_CONNECTION, "brokerConnector");
    assert_string_equal(w.told, "+3 +4 ");
    assert_string_equal(once.told, "+3 "); /* it had taken itself off */
    container_connection_gone(&c);
    container_unwatch(&w.watch);
    container_connection_gone(&d);
    assert_string_equal(w.told, "+3 +4 -3 ");
}

static void test_container_one_who_leaves_while_told_does_not_hide_others(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct connection c = make(3, &settings[0], "x");
    struct waiter a = WAITER, once = WAITER, b = WAITER;
    container_watch(&a.watch, CONTAINER_BY_CONNECTION, "brokerConnector");
    container_watch(&once.watch, CONTAINER_BY_CONNECTION, "brokerConnector");
    container_watch(&b.watch, CONTAINER_BY_CONNECTION, "brokerConnector");
    container_connection_opened(&c);
    once.once = true;
    container_connection_gone(&c);
    assert_string_equal(a.told, "+3 -3 ");
    assert_string_equal(once.told, "+3 -3 ");
    assert_string_equal(b.told, "+3 -3 ");
    container_connection_opened(&c);
    assert_string_equal(b.told, "+3 -3 +3 ");
    assert_string_equal(once.told, "+3 -3 ");
    container_unwatch(&a.watch);
    container_unwatch(&b.watch);
    container_connection_gone(&c);
}

static void test_container_unwatch_twice_is_harmless(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct waiter w = WAITER;
    container_unwatch(&w.watch);
    container_watch(&w.watch, CONTAINER_BY_ID, "x");
    container_unwatch(&w.watch);
    container_unwatch(&w.watch);
}

int main(void)
{

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_container_is_told_by_either_name),
        cmocka_unit_test(test_container_of_another_role_is_none),
        cmocka_unit_test(test_container_default_names_are_not_names),
        cmocka_unit_test(test_container_open_before_is_told_at_once),
        cmocka_unit_test(test_container_one_who_leaves_while_told_does_not_hide_others),
        cmocka_unit_test(test_container_unwatch_twice_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
