#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/connection.h>
#include <router/route/here.h>
#include <router/route/edge_routes.h>
#include <router/route/link_route.h>
#include <router/route/network.h>
#include <router/route/registry.h>
#include <router/route/routed_link.h>
#include <router/route/table.h>
#include <router/route/uplink.h>
#include <trunkline/base/alloc.h>

/* In place of the registry, the mesh and the ends of links: what they were told is written down. */
static struct route_world world;
static struct route_here control = {.worker = WORKER_NONE, .world = &world};
_Thread_local struct route_here *here = &control;
static char told[1024];
static struct connection *next_hops[8];
static struct routed_way way;
static char way_text[64], way_removed[64], way_added[64];
const char uplink_key[] = "L_edge";

struct address *registry_use_address(const char *key)
{
    struct address *a = table_get(world.table, key, DISTRIBUTION_BALANCED, -1);
    a->user_count++;
    return a;
}

void registry_leave_address(struct address *a)
{
    if (--a->user_count == 0)
        table_remove(world.table, a);
}

void registry_attach_on(struct link *l, enum attach_refusal refusal)
{
    (void)l;
    (void)refusal;
}

void network_address_added(const struct address *a)
{
    strcat(strcat(strcat(told, "+"), a->key), " ");
}

void edge_routes_changed(const char *key, bool is_active)
{
    (void)key;
    (void)is_active;
}

void network_address_removed(const struct address *a)
{
    strcat(strcat(strcat(told, "-"), a->key), " ");
}

struct connection *network_next_hop(uint32_t router)
{
    return next_hops[router];
}

struct connection *uplink_active(void)
{
    return NULL;
}

struct routed_link *routed_link_new(const struct link *l, const struct routed_way *w)
{
    (void)l;
    way = *w;
    snprintf(way_text, sizeof way_text, "%s", w->text ? w->text : "(none)");
    snprintf(way_removed, sizeof way_removed, "%s", w->removed ? w->removed : "");
    snprintf(way_added, sizeof way_added, "%s", w->added ? w->added : "");
    return (struct routed_link *)&way;
}

static struct connection_settings container = {.name = (char *)"broker", .role = ROLE_ROUTE_CONTAINER},
                                  router = {.name = (char *)"mesh", .role = ROLE_INTER_ROUTER},
                                  normal = {.name = (char *)"clients", .role = ROLE_NORMAL};

static struct connection make(uint64_t id, struct connection_settings *s, const char *name)
{
    return (struct connection){.id = id, .settings = s, .container = (char *)name};
}

static int setup(void **state)
{
    (void)state;
    world = (struct route_world){.table = table_new(), .identity = {.id = "X", .mode = ROUTER_INTERIOR}};
    told[0] = 0;
    memset(next_hops, 0, sizeof next_hops);
    return 0;
}

static int teardown(void **state) NO_THREAD_SAFETY
{
    (void)state;
    link_route_stop();
    table_free(&world.table);
    return 0;
}

static enum err add(const char *identity, const char *prefix, const char *pattern, bool is_in) NO_THREAD_SAFETY
{
    struct link_route_conf conf = {.identity = identity,
                                   .text = prefix ? prefix : pattern,
                                   .is_prefix = prefix != NULL,
                                   .is_in = is_in,
                                   .connection = "broker"};
    return link_route_add(&conf);
}

/* Where a client's link to this address goes: the connection, or why not; NULL: it is no link route's. */
static const char *resolve(struct connection *from, const char *address, bool sends) NO_THREAD_SAFETY
{
    static char out[64];
    struct link l = {.conn = from, .wanted = (char *)address, .is_incoming = sends};
    enum attach_refusal refusal;
    if (!link_route_resolve(&l, &refusal))
        return NULL;
    snprintf(out, sizeof out, refusal == ATTACH_OK ? "%d" : "refused", refusal == ATTACH_OK ? (int)way.to->id : 0);
    return out;
}

static void test_link_route_best_pattern_decides_by_direction(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct connection c = make(3, &container, "b"), client = make(9, &normal, "c");
    add("1", "a", NULL, true);
    add("2", NULL, "a.*.c", true);
    container_connection_opened(&c);
    assert_string_equal(told, "+Ca +Ea.*.c ");
    assert_string_equal(resolve(&client, "amqp:/a/b", true), "3");
    assert_string_equal(way.key, "Ca");
    assert_string_equal(way_text, "a/b");
    resolve(&client, "a.b.c", true);
    assert_string_equal(way.key, "Ea.*.c");
    assert_null(resolve(&client, "a.b", false));
    assert_null(resolve(&client, "ab", true));
    assert_null(resolve(&client, "_topo/0/Y/a", true));
    container_connection_gone(&c);
    assert_string_equal(told, "+Ca +Ea.*.c -Ca -Ea.*.c ");
    assert_string_equal(resolve(&client, "a", true), "refused");
}

static void test_link_route_pattern_with_one_wildcard_at_its_end_is_a_prefix(void **state) NO_THREAD_SAFETY
{
    (void)state;
    assert_int_equal(add("1", "a.b.", NULL, false), OK);
    assert_int_equal(add("2", NULL, "a.b/#", false), OK);
    assert_non_null(table_find(world.table, "Da.b", 4));
    assert_int_equal(table_count(world.table), 1);
    assert_int_equal(add("3", NULL, "a/b/#", false), ERR_EXISTS); /* the same, spelt otherwise */
    assert_int_equal(add("1", "x", NULL, false), ERR_EXISTS);
    assert_int_equal(add("4", "./.", NULL, false), ERR_INVALID);
    assert_int_equal(link_route_remove("1"), OK);
    assert_non_null(table_find(world.table, "Da.b", 4));
    assert_int_equal(link_route_remove("2"), OK);
    assert_null(table_find(world.table, "Da.b", 4));
    assert_int_equal(link_route_remove("2"), ERR_NOT_FOUND);
    assert_int_equal(link_route_count(), 0);
}

static void test_link_route_containers_take_turns_before_routers(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct connection one = make(1, &container, "x"), two = make(2, &container, "y"), client = make(9, &normal, "c"),
                      b = make(5, &router, "B"), c = make(6, &router, "C");
    add("1", "a", NULL, true);
    container_connection_opened(&one);
    container_connection_opened(&two);
    uint32_t remotes[] = {1, 2};
    struct address *a = table_find(world.table, "Ca", 2);
    a->remotes = remotes;
    a->remote_count = 2;
    next_hops[1] = &b;
    next_hops[2] = &c;
    const char *expected[] = {"1", "2", "1"};
    for (int i = 0; i < 3; i++)
        assert_string_equal(resolve(&client, "a", true), expected[i]);
    container_connection_gone(&one);
    container_connection_gone(&two);
    const char *then[] = {"5", "6", "5"};
    for (int i = 0; i < 3; i++)
        assert_string_equal(resolve(&client, "a", true), then[i]);
    /* Not back to the router that it came from, nor to one that cannot be reached. */
    assert_string_equal(resolve(&b, "a", true), "6");
    next_hops[2] = NULL;
    assert_string_equal(resolve(&b, "a", true), "refused");
    a->remotes = NULL;
    a->remote_count = 0;
}

static void test_link_route_of_another_router_lives_as_long_as_it_is_mapped(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct connection client = make(9, &normal, "c"), b = make(5, &router, "B");
    struct address *a = table_get(world.table, "Dr.q", DISTRIBUTION_BALANCED, -1);
    a->user_count = 1;
    uint32_t remotes[] = {1};
    a->remotes = remotes;
    a->remote_count = 1;
    next_hops[1] = &b;
    link_route_mapped(a);
    bool has;
    assert_true(link_route_lookup("amqp:/r.q.x", 11, false, &has) && has);
    assert_false(link_route_lookup("r.q.x", 5, true, &has));
    assert_string_equal(resolve(&client, "r/q", false), "5");
    assert_string_equal(way_removed, "");
    a->remote_count = 0;
    link_route_unmapped(a);
    assert_null(resolve(&client, "r/q", false));
    a->remotes = NULL;
    registry_leave_address(a);
}

static void test_link_route_of_a_connection_ends_with_it(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct connection c = make(3, &normal, "edge"), client = make(9, &normal, "c");
    struct link_route_conf conf = {
        .identity = "1", .text = "p.#", .is_in = true, .added = "x.", .removed = "p.", .of_connection = &c};
    assert_int_equal(link_route_add(&conf), OK);
    assert_int_equal(link_route_count(), 0);
    assert_string_equal(resolve(&client, "p.q", true), "3");
    assert_string_equal(way_removed, "p.");
    assert_string_equal(way_added, "x.");
    link_route_connection_gone(&c);
    assert_string_equal(told, "+Cp -Cp ");
    assert_null(resolve(&client, "p.q", true));
    assert_null(link_route_find("1"));
}

static void test_link_route_resumable_links_are_refused_when_not_allowed(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct connection c = make(3, &container, "b"), client = make(9, &normal, "c");
    add("1", "a", NULL, false);
    container_connection_opened(&c);
    link_route_allow_resumable(false);
    struct link l = {.conn = &client, .wanted = (char *)"a", .is_resumable = true};
    enum attach_refusal refusal;
    assert_true(link_route_resolve(&l, &refusal));
    assert_int_equal(refusal, ATTACH_EXPIRATION);
    assert_null(l.routed);
    link_route_allow_resumable(true);
    assert_true(link_route_resolve(&l, &refusal));
    assert_int_equal(refusal, ATTACH_OK);
    container_connection_gone(&c);
}

static void test_link_route_own_addresses_and_coordinators(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct connection c = make(3, &container, "b"), client = make(9, &normal, "c");
    add("1", NULL, "#", true);
    add("2", "$coordinator", NULL, true);
    container_connection_opened(&c);
    struct address *own = table_get(world.table, "M0$management", DISTRIBUTION_CLOSEST, -1);
    own->is_own = true;
    assert_null(resolve(&client, "$management", true));
    assert_string_equal(resolve(&client, "anything", true), "3");
    struct link l = {.conn = &client, .is_coordinator = true, .is_incoming = true};
    enum attach_refusal refusal;
    assert_true(link_route_resolve(&l, &refusal));
    assert_string_equal(way.key, "C$coordinator");
    assert_string_equal(way_text, "(none)");
    container_connection_gone(&c);
}

int main(void) NO_THREAD_SAFETY
{
    thread_become_control();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_link_route_best_pattern_decides_by_direction, setup, teardown),
        cmocka_unit_test_setup_teardown(test_link_route_pattern_with_one_wildcard_at_its_end_is_a_prefix, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_link_route_containers_take_turns_before_routers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_link_route_of_another_router_lives_as_long_as_it_is_mapped, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_link_route_of_a_connection_ends_with_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_link_route_resumable_links_are_refused_when_not_allowed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_link_route_own_addresses_and_coordinators, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
