#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/trunk_peer.h>
#include <trunkline/amqp/codec.h>

static uint8_t octets[256];

static struct slice properties(void (*write)(struct amqp_writer *w, uint32_t *count))
{
    struct amqp_writer w = amqp_writer(octets, sizeof octets);
    size_t map = amqp_write_map_begin(&w);
    uint32_t count = 2;
    amqp_write_symbol_of(&w, "product");
    amqp_write_string_of(&w, "qpid-dispatch-router");
    write(&w, &count);
    amqp_write_map_end(&w, map, count);
    return (struct slice){.data = octets, .len = w.len};
}

static void int_cost(struct amqp_writer *w, uint32_t *count)
{
    amqp_write_symbol_of(w, "qd.inter-router-cost");
    amqp_write_int(w, 5);
    *count += 2;
}

static void uint_cost(struct amqp_writer *w, uint32_t *count)
{
    amqp_write_symbol_of(w, "qd.inter-router-cost");
    amqp_write_uint(w, 5);
    *count += 2;
}

static void ours(struct amqp_writer *w, uint32_t *count)
{
    uint_cost(w, count);
    amqp_write_symbol_of(w, trunk_peer_hello_key);
    amqp_write_int(w, 40);
    *count += 2;
}

static void test_trunk_peer_greater_cost_counts(void **state)
{
    (void)state;
    struct mesh_peer p;
    trunk_peer_read(properties(int_cost), 2, &p);
    assert_int_equal(p.cost, 5);
    trunk_peer_read(properties(int_cost), 9, &p);
    assert_int_equal(p.cost, 9);
    assert_false(p.is_ours);
}

static void test_trunk_peer_cost_of_another_type_is_ignored(void **state)
{
    (void)state;
    struct mesh_peer p;
    trunk_peer_read(properties(uint_cost), 2, &p);
    assert_int_equal(p.cost, 2);
}

static void test_trunk_peer_of_ours_offers_a_fast_hello(void **state)
{
    (void)state;
    struct mesh_peer p;
    trunk_peer_read(properties(ours), 1, &p);
    assert_true(p.is_ours);
    assert_int_equal(p.fast_hello_interval, 40);
}

static void test_trunk_peer_without_properties_is_an_old_router_of_our_cost(void **state)
{
    (void)state;
    struct mesh_peer p;
    trunk_peer_read((struct slice){0}, 3, &p);
    assert_int_equal(p.cost, 3);
    assert_false(p.is_ours);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trunk_peer_greater_cost_counts),
        cmocka_unit_test(test_trunk_peer_cost_of_another_type_is_ignored),
        cmocka_unit_test(test_trunk_peer_of_ours_offers_a_fast_hello),
        cmocka_unit_test(test_trunk_peer_without_properties_is_an_old_router_of_our_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
