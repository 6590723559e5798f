#include <trunkline/amqp/annotations.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/message.h>
#include <cmocka.h>

static const struct slice nobody;

static struct slice text(const char *s)
{
    return (struct slice){NULL, (const uint8_t *)s, strlen(s)};
}

/* The section in memory of its exact size, so that AddressSanitizer sees each octet too many. */
static struct slice exactly(const void *octets, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n)
        memcpy(copy, octets, n);
    return (struct slice){NULL, copy, n};
}
static void drop(struct slice s)
{
    free((void *)(uintptr_t)s.data);
}

static uint8_t digit(char c)
{
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}
static struct slice of_hex(const char *hex)
{
    uint8_t octets[1024];
    size_t n = strlen(hex) / 2;
    assert_true(n <= sizeof octets);
    for (size_t i = 0; i < n; i++)
        octets[i] = (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    return exactly(octets, n);
}

static struct amqp_annotations read_well(struct slice section)
{
    struct amqp_annotations a;
    const char *why = "nothing";
    if (amqp_annotations_read(section, false, &a, &why) != OK)
        fail_msg("not read: %s", why);
    return a;
}

static void assert_refused(struct slice section, const char *expected)
{
    struct amqp_annotations a = {.phase = 99};
    const char *why = "nothing";
    assert_int_equal(amqp_annotations_read(section, false, &a, &why), ERR_INVALID);
    assert_string_equal(why, expected);
    assert_int_equal(a.phase, 99);
}

static struct slice written(const struct amqp_annotations *a, struct slice node_id)
{
    size_t n = amqp_annotations_write(NULL, 0, a, node_id);
    assert_true(n <= amqp_annotations_size_max(a, node_id));
    uint8_t *out = malloc(n ? n : 1);
    assert_non_null(out);
    if (n > 1) {
        out[0] = 0xa5;
        assert_int_equal(amqp_annotations_write(out, n - 1, a, node_id), n);
        assert_int_equal(out[0], 0xa5);
    }
    assert_int_equal(amqp_annotations_write(out, n, a, node_id), n);
    return (struct slice){NULL, out, n};
}

static void assert_same_octets(struct slice a, struct slice b)
{
    assert_int_equal(a.len, b.len);
    if (a.len)
        assert_memory_equal(a.data, b.data, a.len);
}

static bool is_text(struct slice s, const char *expected)
{
    return expected == NULL ? s.data == NULL : s.data != NULL && amqp_slice_is(s, expected);
}

/* ---- what routers of 1.19 have sent ---- */

struct recorded {
    const char *hex, *to, *ingress;
    const char *trace[3];
    uint8_t phase;
    uint32_t user_count;
};

#define TO "a30b782d6f70742d71642e746f"
#define INGRESS "a310782d6f70742d71642e696e6772657373"
#define TRACE "a30e782d6f70742d71642e7472616365"
#define PHASE "a30e782d6f70742d71642e7068617365"
#define STREAM "a30f782d6f70742d71642e73747265616d"

static const struct recorded recorded[] = {
    /* control messages, generated on the router that sends them; passed on by another; generated in an edge router */
    {"005372c13004" INGRESS "a103302f41" TRACE "c00601a103302f41", NULL, "0/A", {"0/A"}, 0, 0},
    {"005372c13504" INGRESS "a103302f43" TRACE "c00b02a103302f43a103302f42", NULL, "0/C", {"0/C", "0/B"}, 0, 0},
    {"005372c13804" INGRESS "a107302f4544474531" TRACE "c00a01a107302f4544474531", NULL, "0/EDGE1", {"0/EDGE1"}, 0, 0},
    /* a producer's link for closest/x, multicast/m, one to a router's management */
    {"005372c14806" TO "a109636c6f736573742f78" INGRESS "a103302f41" TRACE "c00601a103302f41",
     "closest/x",
     "0/A",
     {"0/A"},
     0,
     0},
    {"005372c14a06" TO "a10b6d756c7469636173742f6d" INGRESS "a103302f41" TRACE "c00601a103302f41",
     "multicast/m",
     "0/A",
     {"0/A"},
     0,
     0},
    {"005372c15406" TO "a1155f746f706f2f302f422f246d616e6167656d656e74" INGRESS "a103302f41" TRACE "c00601a103302f41",
     "_topo/0/B/$management",
     "0/A",
     {"0/A"},
     0,
     0},
    /* along a line of three, without and with entries of the user: x-opt-user = "u", a = 7 (long) */
    {"005372c14f06" TO "a10b636c6f736573742f666172" INGRESS "a103302f41" TRACE "c00b02a103302f41a103302f42",
     "closest/far",
     "0/A",
     {"0/A", "0/B"},
     0,
     0},
    {"005372c1630aa30a782d6f70742d75736572a10175a301615507" TO "a10b636c6f736573742f666172" INGRESS "a103302f41" TRACE
     "c00b02a103302f41a103302f42",
     "closest/far",
     "0/A",
     {"0/A", "0/B"},
     0,
     4},
    /* from an edge router */
    {"005372c11902" TO "a109636c6f736573742f69", "closest/i", NULL, {NULL}, 0, 0},
    /* out of a waypoint, and to a fallback consumer */
    {"005372c15508" PHASE "5401" TO "a10477702e71" INGRESS "a103302f42" TRACE "c00601a103302f42",
     "wp.q",
     "0/B",
     {"0/B"},
     1,
     0},
    {"005372c15508" PHASE "5416" TO "a10466622e71" INGRESS "a103302f41" TRACE "c00601a103302f41",
     "fb.q",
     "0/A",
     {"0/A"},
     22,
     0},
};
#define RECORDED (sizeof recorded / sizeof *recorded)

static void assert_trace(const struct amqp_annotations *a, const char *const ids[], uint32_t n)
{
    assert_int_equal(a->trace.count, n);
    struct amqp_reader r = amqp_slice_reader(a->trace.ids);
    for (uint32_t i = 0; i < n; i++) {
        struct slice id;
        assert_int_equal(amqp_read_string(&r, &id), OK);
        assert_true(amqp_slice_is(id, ids[i]));
        assert_true(amqp_annotations_have_passed(a, id));
    }
    assert_ptr_equal(r.at, r.end);
    assert_false(amqp_annotations_have_passed(a, text("0/nowhere")));
}

static void test_annotations_recorded_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < RECORDED; i++) {
        const struct recorded *rec = &recorded[i];
        struct slice section = of_hex(rec->hex);
        struct amqp_annotations a = read_well(section);
        assert_true(is_text(a.to, rec->to));
        assert_true(is_text(a.ingress, rec->ingress));
        uint32_t hops = 0;
        while (hops < 3 && rec->trace[hops])
            hops++;
        assert_trace(&a, rec->trace, hops);
        assert_int_equal(a.phase, rec->phase);
        assert_int_equal(a.user_count, rec->user_count);
        assert_false(a.stream);
        drop(section);
    }
}

static void test_annotations_recorded_are_written_to_the_octet(void **state)
{
    (void)state;
    for (size_t i = 0; i < RECORDED; i++) {
        struct slice section = of_hex(recorded[i].hex);
        struct amqp_annotations a = read_well(section);
        struct slice again = written(&a, nobody);
        assert_same_octets(section, again);
        drop(again);
        drop(section);
    }
}

/* ---- the order of entries ---- */

/* A map put together from letters: t to="x.q", i ingress="0/X", r trace=["0/X"], p phase=3, s stream, c class, o bare
 * prefix; u and v entries of the user, w one whose key is a ulong; k a key "x-opt-qd.other"; T to as a symbol. */
static uint32_t write_entry(struct amqp_writer *w, char letter)
{
    static const char *const keys[128] = {
        ['t'] = "x-opt-qd.to",     ['i'] = "x-opt-qd.ingress", ['r'] = "x-opt-qd.trace", ['p'] = "x-opt-qd.phase",
        ['s'] = "x-opt-qd.stream", ['c'] = "x-opt-qd.class",   ['o'] = "x-opt-qd.",      ['u'] = "x-opt-user",
        ['v'] = "other",           ['k'] = "x-opt-qd.other",   ['T'] = "x-opt-qd.to"};
    if (letter == 'w')
        amqp_write_ulong(w, 70000);
    else
        amqp_write_symbol_of(w, keys[(unsigned char)letter]);
    switch (letter) {
    case 't':
        amqp_write_string_of(w, "x.q");
        break;
    case 'T':
        amqp_write_symbol_of(w, "x.q");
        break;
    case 'i':
        amqp_write_string_of(w, "0/X");
        break;
    case 'r': {
        size_t mark = amqp_write_list_begin(w);
        amqp_write_string_of(w, "0/X");
        amqp_write_list_end(w, mark, 1);
        break;
    }
    case 'p':
        amqp_write_int(w, 3);
        break;
    case 's':
        amqp_write_int(w, 1);
        break;
    default: {
        size_t mark = amqp_write_map_begin(w);
        amqp_write_string_of(w, "inside");
        amqp_write_double(w, 0.5);
        amqp_write_map_end(w, mark, 2);
        break;
    }
    }
    return 2;
}

static struct slice of_letters(const char *letters)
{
    uint8_t octets[4096];
    struct amqp_writer w = amqp_writer(octets, sizeof octets);
    amqp_write_descriptor(&w, AMQP_SECTION_MESSAGE_ANNOTATIONS);
    size_t mark = amqp_write_map_begin(&w);
    uint32_t count = 0;
    for (; *letters; letters++)
        count += write_entry(&w, *letters);
    amqp_write_map_end(&w, mark, count);
    assert_true(amqp_writer_fits(&w));
    return exactly(octets, w.len);
}

/* What the next hop gets, by the same letters, is written in the order of a 1.19 router. */
static void assert_becomes(const char *letters, bool only_user, const char *expected)
{
    struct slice section = of_letters(letters), again = of_letters(expected);
    struct amqp_annotations a;
    const char *why = "nothing";
    if (amqp_annotations_read(section, only_user, &a, &why) != OK)
        fail_msg("%s: %s", letters, why);
    struct slice out = written(&a, nobody);
    if (*expected)
        assert_same_octets(again, out);
    else
        assert_int_equal(out.len, 0);
    drop(out);
    drop(again);
    drop(section);
}

static void test_annotations_user_entries_before_the_routers_are_kept_and_come_first(void **state)
{
    (void)state;
    assert_becomes("tir", false, "tir");
    assert_becomes("utir", false, "utir");
    assert_becomes("vwutir", false, "vwutir");
    assert_becomes("u", false, "u");
}

static void test_annotations_unknown_key_before_the_routers_is_the_users(void **state)
{
    (void)state;
    assert_becomes("ktir", false, "ktir");
    assert_becomes("ukvtir", false, "ukvtir");
    assert_becomes("k", false, "k");
}

static void test_annotations_unknown_key_among_the_routers_costs_the_last_entry(void **state)
{
    (void)state;
    assert_becomes("tkir", false, "ti");
    assert_becomes("tuir", false, "ti");
    assert_becomes("ukvtuir", false, "ukvti");
    assert_becomes("tkkir", false, "t");
    assert_becomes("tkkkkir", false, "t");
    assert_becomes("tikr", false, "ti");
}

static void test_annotations_late_entries_are_dropped(void **state)
{
    (void)state;
    assert_becomes("tirk", false, "tir");
    assert_becomes("tiru", false, "tir");
    assert_becomes("utirw", false, "utir");
    assert_becomes("tiruv", false, "tir");
}

static void test_annotations_obsolete_entries_are_router_entries_and_dropped(void **state)
{
    (void)state;
    assert_becomes("ctir", false, "tir");
    assert_becomes("tcir", false, "tir");
    assert_becomes("uotir", false, "utir");
    assert_becomes("ocu", false, "");
    assert_becomes("tirc", false, "tir");
}

static void test_annotations_padded_form_of_older_routers_is_read(void **state)
{
    (void)state;
    assert_becomes("trips", false, "pstir");
    assert_becomes("uvtrips", false, "uvpstir");
    assert_becomes("utrioo", false, "utir");
    assert_becomes("riooo", false, "ir");
    assert_becomes("ootri", false, "tir");
    assert_becomes("uooooo", false, "u");
}

static void test_annotations_none_is_nothing_found_and_nothing_written(void **state)
{
    (void)state;
    struct amqp_annotations a = read_well(nobody);
    assert_int_equal(amqp_annotations_write(NULL, 0, &a, nobody), 0);
    assert_becomes("", false, "");
    struct slice section = of_hex("005372c10100");
    a = read_well(section);
    assert_int_equal(amqp_annotations_write(NULL, 0, &a, nobody), 0);
    drop(section);
}

static void test_annotations_first_router_becomes_ingress_and_begins_the_trace(void **state)
{
    (void)state;
    struct amqp_annotations a = read_well(nobody);
    a.ingress = text("0/X");
    struct slice out = written(&a, text("0/X")), expected = of_letters("ir");
    assert_same_octets(out, expected);
    drop(out);
    drop(expected);
}

static void test_annotations_of_a_client_only_the_users_are_taken(void **state)
{
    (void)state;
    assert_becomes("utir", true, "u");
    assert_becomes("ukTu", true, "uk");
    assert_becomes("ustir", true, "u");
    assert_becomes("ovu", true, "");
    assert_becomes("uvw", true, "uvw");
}

static void test_annotations_destination_as_symbol_is_refused(void **state)
{
    (void)state;
    struct slice section = of_letters("uTir");
    assert_refused(section, "to-override not a valid string type");
    drop(section);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_annotations_recorded_are_read),
        cmocka_unit_test(test_annotations_recorded_are_written_to_the_octet),
        cmocka_unit_test(test_annotations_user_entries_before_the_routers_are_kept_and_come_first),
        cmocka_unit_test(test_annotations_unknown_key_before_the_routers_is_the_users),
        cmocka_unit_test(test_annotations_unknown_key_among_the_routers_costs_the_last_entry),
        cmocka_unit_test(test_annotations_late_entries_are_dropped),
        cmocka_unit_test(test_annotations_obsolete_entries_are_router_entries_and_dropped),
        cmocka_unit_test(test_annotations_padded_form_of_older_routers_is_read),
        cmocka_unit_test(test_annotations_none_is_nothing_found_and_nothing_written),
        cmocka_unit_test(test_annotations_first_router_becomes_ingress_and_begins_the_trace),
        cmocka_unit_test(test_annotations_of_a_client_only_the_users_are_taken),
        cmocka_unit_test(test_annotations_destination_as_symbol_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
