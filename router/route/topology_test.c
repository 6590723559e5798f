#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/topology.h>

static void test_topology_finds_routers_by_id_and_by_node_id(void **state)
{
    (void)state;
    enum { ROUTERS = 500 };
    struct topology *t = topology_new(ROUTERS, 0);
    char id[32];
    for (uint32_t i = 0; i < ROUTERS; i++) {
        snprintf(id, sizeof id, "router-%u", i);
        topology_set_id(t, i, id);
    }
    uint32_t index;
    for (uint32_t i = 0; i < ROUTERS; i++) {
        int n = snprintf(id, sizeof id, "0/router-%u", i);
        struct slice node = {.data = (const uint8_t *)id, .len = (size_t)n};
        assert_true(topology_index(t, id + 2, (size_t)n - 2, &index));
        assert_int_equal(index, i);
        assert_true(topology_node_index(t, node, &index));
        assert_int_equal(index, i);
    }
    assert_false(topology_index(t, "router-500", 10, &index));
    static const char *const odd[] = {"", "0", "0/", "1/router-1", "router-1", "0/router-1x"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        assert_false(
            topology_node_index(t, (struct slice){.data = (const uint8_t *)odd[i], .len = strlen(odd[i])}, &index));
    topology_free(t);
}

static void test_topology_nothing_is_reachable_at_first(void **state)
{
    (void)state;
    struct topology *t = topology_new(3, 1);
    for (uint32_t i = 0; i < 5; i++)
        assert_false(topology_is_reachable(t, i));
    t->paths[2] = (struct remote_path){.trunk = &t->trunks[0], .cost = 4};
    assert_true(topology_is_reachable(t, 2));
    assert_false(topology_is_reachable(NULL, 2));
    topology_free(t);
}

static void test_topology_forwards_are_kept_for_each_origin(void **state)
{
    (void)state;
    struct topology *t = topology_new(130, 0);
    topology_set_forwards(t, 0, 129);
    topology_set_forwards(t, 129, 64);
    assert_true(topology_forwards(t, 0, 129));
    assert_true(topology_forwards(t, 129, 64));
    assert_false(topology_forwards(t, 129, 129));
    assert_false(topology_forwards(t, 0, 64));
    topology_free(t);
}

static void test_topology_trunk_link_falls_back_to_lower_priorities(void **state)
{
    (void)state;
    struct topology *t = topology_new(1, 1);
    struct link_load loads[TRUNK_PRIORITIES], *load;
    struct trunk_view *v = &t->trunks[0];
    assert_true(link_token_is_none(trunk_link(v, 4, &load)));
    static const unsigned there[] = {0, 4};
    for (size_t i = 0; i < 2; i++) {
        v->data[there[i]] = (struct link_token){.index = there[i]};
        v->load[there[i]] = &loads[there[i]];
    }
    static const struct {
        unsigned priority, link;
    } cases[] = {{0, 0}, {3, 0}, {4, 4}, {9, 4}, {200, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(trunk_link(v, cases[i].priority, &load).index, cases[i].link);
        assert_ptr_equal(load, &loads[cases[i].link]);
    }
    topology_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_topology_finds_routers_by_id_and_by_node_id),
        cmocka_unit_test(test_topology_nothing_is_reachable_at_first),
        cmocka_unit_test(test_topology_forwards_are_kept_for_each_origin),
        cmocka_unit_test(test_topology_trunk_link_falls_back_to_lower_priorities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
