#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <router/route/lineage.h>
#include <string.h>

static struct slice of(const uint8_t *octets, size_t n)
{
    return (struct slice){.data = octets, .len = n};
}

static void test_lineage_read_is_what_was_written(void **state)
{
    (void)state;
    const struct lineage l = {{.source = 0x8877665544332211, .number = 300}, .hops = 7};
    uint8_t octets[LINEAGE_LEN];
    lineage_write(&l, octets);
    static const uint8_t expected[LINEAGE_LEN] = "\1\7\x11\x22\x33\x44\x55\x66\x77\x88\x2c\1\0\0\0\0\0";
    assert_memory_equal(octets, expected, sizeof octets);
    struct lineage read = lineage_read(of(octets, sizeof octets));
    assert_int_equal(read.original.source, l.original.source);
    assert_int_equal(read.original.number, l.original.number);
    assert_int_equal(read.hops, 7);
}

static void test_lineage_other_octets_are_none(void **state)
{
    (void)state;
    const struct lineage l = {{.source = 1, .number = 2}, .hops = 3};
    uint8_t octets[LINEAGE_LEN + 1];
    lineage_write(&l, octets);
    assert_int_equal(lineage_read(of(NULL, 0)).hops, 0);
    assert_int_equal(lineage_read(of(octets, LINEAGE_LEN - 1)).hops, 0);
    assert_int_equal(lineage_read(of(octets, LINEAGE_LEN + 1)).hops, 0);
    octets[0] = 2;
    assert_int_equal(lineage_read(of(octets, LINEAGE_LEN)).hops, 0);
    octets[0] = 1;
    memset(octets + 10, 0, 8);
    assert_int_equal(lineage_read(of(octets, LINEAGE_LEN)).hops, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lineage_read_is_what_was_written),
        cmocka_unit_test(test_lineage_other_octets_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
