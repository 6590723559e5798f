#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/failover.h>
#include <trunkline/amqp/codec.h>

enum err connector_set_failover(struct connector *c, const struct connector_url *urls, size_t count)
{
    (void)c;
    (void)urls;
    (void)count;
    return OK;
}

static uint8_t octets[1024];
static struct connector_url urls[FAILOVER_MAX];
static char memory[FAILOVER_TEXT_MAX];

/* Open's properties with a list of `count` entries: host h0, h1..., port as a number or as text, in turn; every third
 * without a host. */
static struct slice properties(uint32_t count)
{
    struct amqp_writer w = amqp_writer(octets, sizeof octets);
    size_t map = amqp_write_map_begin(&w);
    amqp_write_symbol_of(&w, "product");
    amqp_write_string_of(&w, "x");
    amqp_write_symbol_of(&w, "failover-server-list");
    size_t list = amqp_write_list_begin(&w);
    for (uint32_t i = 0; i < count; i++) {
        char host[16];
        snprintf(host, sizeof host, "h%u", i);
        size_t entry = amqp_write_map_begin(&w);
        amqp_write_symbol_of(&w, i % 3 == 2 ? "scheme" : "network-host");
        amqp_write_string_of(&w, host);
        amqp_write_symbol_of(&w, "port");
        if (i % 2)
            amqp_write_uint(&w, 1000 + i);
        else
            amqp_write_string_of(&w, "amqps");
        amqp_write_map_end(&w, entry, 4);
    }
    amqp_write_list_end(&w, list, count);
    amqp_write_map_end(&w, map, 4);
    return (struct slice){.data = octets, .len = w.len};
}

static void test_failover_reads_hosts_and_ports_of_any_type(void **state)
{
    (void)state;
    assert_int_equal(failover_read(properties(4), urls, memory), 3);
    assert_string_equal(urls[0].host, "h0");
    assert_string_equal(urls[0].service, "amqps");
    assert_string_equal(urls[1].host, "h1");
    assert_string_equal(urls[1].service, "1001");
    assert_string_equal(urls[2].host, "h3");
}

static void test_failover_empty_list_is_not_silence(void **state)
{
    (void)state;
    assert_int_equal(failover_read(properties(0), urls, memory), 0);
    assert_int_equal(failover_read((struct slice){0}, urls, memory), -1);
    static const uint8_t empty_map[] = {0xc1, 0x01, 0x00};
    assert_int_equal(failover_read((struct slice){.data = empty_map, .len = 3}, urls, memory), -1);
}

/* A peer may send anything: cut and changed octets never lead out of the range, nor to more than there is room for. */
static void test_failover_hostile_octets_are_survived(void **state)
{
    (void)state;
    struct slice whole = properties(20);
    uint32_t seed = 1;
    for (int i = 0; i < 20000; i++) {
        uint8_t copy[sizeof octets];
        memcpy(copy, octets, whole.len);
        seed = seed * 1664525 + 1013904223;
        size_t len = seed % (whole.len + 1);
        for (int k = 0; k < 3 && len; k++) {
            seed = seed * 1664525 + 1013904223;
            copy[seed % len] = (uint8_t)(seed >> 24);
        }
        uint8_t *exact = malloc(len ? len : 1);
        memcpy(exact, copy, len);
        int n = failover_read((struct slice){.data = exact, .len = len}, urls, memory);
        assert_in_range(n + 1, 0, FAILOVER_MAX + 1);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failover_reads_hosts_and_ports_of_any_type),
        cmocka_unit_test(test_failover_empty_list_is_not_silence),
        cmocka_unit_test(test_failover_hostile_octets_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
