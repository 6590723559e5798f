#include <trunkline/amqp/annotations.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
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

/* ---- types ---- */

/* One entry, key and value in hex. */
static struct slice of_entry(const char *key, const char *value)
{
    char hex[600];
    size_t n = (strlen(key) + strlen(value)) / 2 + 1;
    assert_true(n <= 255);
    snprintf(hex, sizeof hex, "005372c1%02x02%s%s", (unsigned)n, key, value);
    return of_hex(hex);
}

static void assert_entry_refused(const char *key, const char *value, const char *why)
{
    struct slice section = of_entry(key, value);
    assert_refused(section, why);
    struct amqp_annotations a;
    const char *unsaid = "nothing";
    assert_int_equal(amqp_annotations_read(section, true, &a, &unsaid), OK);
    assert_int_equal(a.user_count, 0);
    drop(section);
}

static void test_annotations_of_another_type_are_refused_unless_a_client_says_them(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *why;
    } refused[] = {
        {TO, "a30161", "to-override not a valid string type"},              /* symbol */
        {TO, "40", "to-override not a valid string type"},                  /* null */
        {TO, "a00161", "to-override not a valid string type"},              /* binary */
        {INGRESS, "a30161", "ingress not a valid string type"},             /* symbol */
        {INGRESS, "5401", "ingress not a valid string type"},               /* int */
        {TRACE, "a103302f41", "trace not a valid list of strings"},         /* string */
        {TRACE, "c00401a30161", "trace not a valid list of strings"},       /* list of a symbol */
        {TRACE, "e00401a10161", "trace not a valid list of strings"},       /* array */
        {TRACE, "c00701a10161a10162", "trace not a valid list of strings"}, /* more than its count says */
        {TRACE, "c00402a10161", "trace not a valid list of strings"},       /* fewer */
        {PHASE, "a10131", "phase not a valid small integer"},               /* string */
        {PHASE, "54ff", "phase not a valid small integer"},                 /* -1 */
        {PHASE, "5280", "phase not a valid small integer"},                 /* uint 128 */
        {PHASE, "71000001ff", "phase not a valid small integer"},           /* int 511 */
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        assert_entry_refused(refused[i].key, refused[i].value, refused[i].why);
}

static void test_annotations_phase_is_any_small_integer(void **state)
{
    (void)state;
    static const char *const values[] = {"5416",       "7100000016", "5516", "810000000000000016",
                                         "5116",       "610016",     "5016", "600016",
                                         "7000000016", "5216",       "5316", "800000000000000016"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct slice section = of_entry(PHASE, values[i]);
        assert_int_equal(read_well(section).phase, 22);
        drop(section);
    }
    struct slice section = of_entry(PHASE, "43");
    struct amqp_annotations a = read_well(section);
    assert_int_equal(amqp_annotations_write(NULL, 0, &a, nobody), 0);
    drop(section);
}

static void test_annotations_stream_is_its_presence(void **state)
{
    (void)state;
    static const char *const values[] = {"5401", "5400", "40", "42", "a10161", "45"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct slice section = of_entry(STREAM, values[i]), expected = of_entry(STREAM, "5401");
        struct amqp_annotations a = read_well(section);
        assert_true(a.stream);
        struct slice out = written(&a, nobody);
        assert_same_octets(expected, out);
        drop(out);
        drop(expected);
        drop(section);
    }
}

static void test_annotations_keys_as_strings_and_of_32_bits_are_keys(void **state)
{
    (void)state;
    static const char *const keys[] = {"a10b782d6f70742d71642e746f", "b30000000b782d6f70742d71642e746f",
                                       "b10000000b782d6f70742d71642e746f"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct slice section = of_entry(keys[i], "b100000003782e71");
        assert_true(is_text(read_well(section).to, "x.q"));
        drop(section);
    }
}

static void test_annotations_empty_texts_are_there(void **state)
{
    (void)state;
    struct slice section = of_entry(TO, "a100");
    struct amqp_annotations a = read_well(section);
    assert_true(is_text(a.to, ""));
    struct slice out = written(&a, nobody);
    assert_same_octets(section, out);
    drop(out);
    drop(section);
    section = of_entry(TRACE, "45");
    a = read_well(section);
    assert_int_equal(amqp_annotations_write(NULL, 0, &a, nobody), 0);
    drop(section);
}

static void test_annotations_key_of_each_name_has_its_meaning_and_none_by_its_beginning(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        enum amqp_annotation what;
    } keys[] = {{"x-opt-qd.to", AMQP_ANNOTATION_TO},
                {"x-opt-qd.ingress", AMQP_ANNOTATION_INGRESS},
                {"x-opt-qd.trace", AMQP_ANNOTATION_TRACE},
                {"x-opt-qd.phase", AMQP_ANNOTATION_PHASE},
                {"x-opt-qd.stream", AMQP_ANNOTATION_STREAM},
                {"x-opt-qd.class", AMQP_ANNOTATION_OBSOLETE},
                {"x-opt-qd.", AMQP_ANNOTATION_OBSOLETE},
                {"x-opt-qd.t", AMQP_ANNOTATION_UNKNOWN},
                {"x-opt-qd.tu", AMQP_ANNOTATION_UNKNOWN},
                {"x-opt-qd.top", AMQP_ANNOTATION_UNKNOWN},
                {"x-opt-qd.tracf", AMQP_ANNOTATION_UNKNOWN},
                {"x-opt-qd.traces", AMQP_ANNOTATION_UNKNOWN},
                {"x-opt-qd.ingresX", AMQP_ANNOTATION_UNKNOWN},
                {"x-opt-qd.ingress2", AMQP_ANNOTATION_UNKNOWN},
                {"x-opt-qd", AMQP_ANNOTATION_OTHER},
                {"x-opt-qe.to", AMQP_ANNOTATION_OTHER},
                {"", AMQP_ANNOTATION_OTHER}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_int_equal(amqp_annotation_of(text(keys[i].key)), keys[i].what);
    assert_int_equal(amqp_annotation_of(nobody), AMQP_ANNOTATION_OTHER);
}

/* ---- sizes ---- */

static uint8_t letters[1024];

/* What a router had from outside, encoded by the general writer: the section expected. */
struct model {
    unsigned user_entries, user_value; /* how many, octets of each value */
    unsigned hops, id;                 /* likewise */
    unsigned to;                       /* octets */
    bool has_own, has_to, is_long_form, has_phase;
};

static uint32_t model_user(struct amqp_writer *w, const struct model *m)
{
    for (unsigned i = 0; i < m->user_entries; i++) {
        char key[32];
        snprintf(key, sizeof key, "x-opt-user-%u", i);
        amqp_write_symbol_of(w, key);
        amqp_write_binary(w, letters, m->user_value);
    }
    return 2 * m->user_entries;
}

static void model_ids(struct amqp_writer *w, const struct model *m, bool is_long_form)
{
    for (unsigned i = 0; i < m->hops; i++) {
        letters[0] = (uint8_t)i;
        if (is_long_form) {
            amqp_write_code32(w, AMQP_CODE_STR32, m->id);
            amqp_write_raw(w, letters, m->id);
        } else {
            amqp_write_string(w, letters, m->id);
        }
    }
}

static size_t model_section(uint8_t *out, size_t capacity, const struct model *m, bool is_arriving)
{
    struct amqp_writer w = amqp_writer(out, capacity);
    amqp_write_descriptor(&w, AMQP_SECTION_MESSAGE_ANNOTATIONS);
    size_t map = amqp_write_map_begin(&w);
    uint32_t count = model_user(&w, m);
    if (m->has_phase) {
        amqp_write_symbol_of(&w, "x-opt-qd.phase");
        amqp_write_int(&w, 1);
        count += 2;
    }
    if (m->has_to) {
        amqp_write_symbol_of(&w, "x-opt-qd.to");
        amqp_write_string(&w, letters + 1, m->to);
        count += 2;
    }
    uint32_t hops = m->hops + (m->has_own && !is_arriving);
    if (hops || is_arriving) {
        amqp_write_symbol_of(&w, "x-opt-qd.trace");
        size_t list = amqp_write_list_begin(&w);
        model_ids(&w, m, is_arriving && m->is_long_form);
        if (hops > m->hops)
            amqp_write_string_of(&w, "0/own");
        amqp_write_list_end(&w, list, hops);
        count += 2;
    }
    amqp_write_map_end(&w, map, count);
    assert_true(amqp_writer_fits(&w));
    return count ? w.len : 0;
}

static uint8_t arriving[256 * 1024], expected[256 * 1024];

static void assert_passes_on(const struct model *m)
{
    struct slice in = exactly(arriving, model_section(arriving, sizeof arriving, m, true));
    struct slice wanted = {NULL, expected, model_section(expected, sizeof expected, m, false)};
    struct amqp_annotations a = read_well(in);
    assert_int_equal(a.user_count, 2 * m->user_entries);
    assert_int_equal(a.trace.count, m->hops);
    assert_int_equal(a.to.len, m->to);
    struct slice own = m->has_own ? text("0/own") : nobody;
    assert_false(amqp_annotations_have_passed(&a, text("0/own")));
    struct slice out = written(&a, own);
    assert_same_octets(wanted, out);
    /* What we wrote is read the same again. */
    if (out.len) {
        struct amqp_annotations b = read_well(out);
        assert_int_equal(amqp_annotations_have_passed(&b, text("0/own")), m->has_own);
        assert_int_equal(b.trace.count, m->hops + m->has_own);
        assert_same_octets(a.user, b.user);
        assert_same_octets(a.to, b.to);
    }
    drop(out);
    drop(in);
}

static void test_annotations_any_number_of_user_entries_passes_unchanged(void **state)
{
    (void)state;
    static const unsigned numbers[] = {0, 1, 2, 7, 8, 9, 10, 123, 124, 125, 126, 127, 128, 300};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        for (unsigned own = 0; own < 2; own++)
            assert_passes_on(&(struct model){
                .user_entries = numbers[i], .user_value = 3, .hops = own, .id = 3, .has_own = own, .has_to = own});
    assert_passes_on(&(struct model){.user_entries = 300, .user_value = 600, .has_own = true});
}

static void test_annotations_of_each_size_take_the_smallest_map_and_strings(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 300; n++) {
        assert_passes_on(&(struct model){.has_to = true, .to = n, .hops = 1, .id = 3, .has_own = true});
        assert_passes_on(&(struct model){.has_to = true, .to = n, .has_phase = true});
        assert_passes_on(&(struct model){.user_entries = 1, .user_value = n, .has_own = true});
        assert_passes_on(&(struct model){.hops = 2, .id = n, .has_own = n % 2});
    }
}

static void test_annotations_trace_grows_by_one_hop_each_time(void **state)
{
    (void)state;
    for (unsigned hops = 0; hops <= 300; hops++)
        for (unsigned own = 0; own < 2; own++)
            assert_passes_on(&(struct model){.hops = hops, .id = 3, .has_own = own, .has_to = true, .to = 4});
}

static void test_annotations_along_200_routers_each_is_in_the_trace_once(void **state)
{
    (void)state;
    struct amqp_annotations a = {.to = text("far"), .ingress = text("0/R0")};
    char id[16];
    struct slice section = written(&a, text("0/R0"));
    for (unsigned hop = 1; hop < 200; hop++) {
        snprintf(id, sizeof id, "0/R%u", hop);
        a = read_well(section);
        assert_int_equal(a.trace.count, hop);
        assert_false(amqp_annotations_have_passed(&a, text(id)));
        struct slice next = written(&a, text(id));
        drop(section);
        section = next;
    }
    a = read_well(section);
    assert_int_equal(a.trace.count, 200);
    assert_true(is_text(a.ingress, "0/R0"));
    struct amqp_reader r = amqp_slice_reader(a.trace.ids);
    for (unsigned hop = 0; hop < 200; hop++) {
        struct slice passed = {0};
        snprintf(id, sizeof id, "0/R%u", hop);
        assert_int_equal(amqp_read_string(&r, &passed), OK);
        assert_true(amqp_slice_is(passed, id));
    }
    assert_ptr_equal(r.at, r.end);
    drop(section);
}

static void test_annotations_long_forms_that_need_not_be_are_written_short(void **state)
{
    (void)state;
    static const unsigned ids[] = {0, 3, 200, 255, 256, 300};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        for (unsigned hops = 1; hops < 90; hops += 4)
            assert_passes_on(
                &(struct model){.hops = hops, .id = ids[i], .is_long_form = true, .has_own = hops % 8 == 1});
}

static void test_annotations_section_with_a_long_head_is_read(void **state)
{
    (void)state;
    /* Descriptor as ulong, map32 although map8 would do. */
    struct slice section = of_hex("00800000000000000072d10000001400000002" TO "a10161");
    assert_true(is_text(read_well(section).to, "a"));
    drop(section);
}

/* ---- octets of somebody who means harm ---- */

static void test_annotations_cut_anywhere_are_refused(void **state)
{
    (void)state;
    struct slice whole = of_letters("uwkpstircou");
    for (size_t n = 1; n < whole.len; n++) {
        struct slice part = exactly(whole.data, n);
        assert_refused(part, "message annotations are malformed");
        drop(part);
    }
    drop(whole);
}

static void test_annotations_that_are_no_map_are_refused(void **state)
{
    (void)state;
    static const char *const sections[] = {
        "005371c10100",           /* delivery annotations */
        "00537240",               /* null */
        "005372c00145",           /* a list */
        "005372c1010000",         /* an octet behind the map */
        "005372d100000003000000", /* a size without room for the count */
        "005372d1ffffffffffffffff",
    };
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        struct slice section = of_hex(sections[i]);
        assert_refused(section, "message annotations are malformed");
        drop(section);
    }
}

/* A map whose size is right: count and values in hex. */
static struct slice of_values(unsigned count, const char *values)
{
    char hex[600];
    snprintf(hex, sizeof hex, "005372c1%02x%02x%s", (unsigned)strlen(values) / 2 + 1, count, values);
    return of_hex(hex);
}

/* What is taken can be taken by the next router, too, which sees the value inside of the section. */
static void test_annotations_that_nest_too_deep_in_their_section_are_refused(void **state)
{
    (void)state;
    for (unsigned depth = AMQP_DEPTH_MAX - 4; depth <= AMQP_DEPTH_MAX; depth++) {
        char values[16 + 4 * AMQP_DEPTH_MAX + 1] = "a30161";
        for (unsigned i = 0; i < depth; i++)
            strcat(values, "0040");
        strcat(values, "40");
        struct slice section = of_values(2, values);
        if (depth + 2 > AMQP_DEPTH_MAX)
            assert_refused(section, "message annotations are malformed");
        else
            read_well(section);
        drop(section);
    }
}

static void test_annotations_whose_entries_are_malformed_are_refused(void **state)
{
    (void)state;
    static const char malformed[] = "message annotations are malformed";
    static const struct {
        unsigned count;
        const char *values, *why; /* why NULL: well-formed, a step away from the one before */
    } maps[] = {
        {0, "40", malformed},         /* behind its values */
        {1, "a30161", malformed},     /* a key without a value */
        {2, "a3016140", NULL},        /* now with one */
        {4, "a3016140", malformed},   /* fewer entries than the count says */
        {2, "a30161c101", malformed}, /* a map that ends before its last value */
        {2, "a30161c10100", NULL},
        {2, "a30161c00101", malformed}, /* a value that is not well-formed inside */
        {2, "a30161c0020140", NULL},
        {2, "a301610f", malformed}, /* a value of no type */
        {2, "a30261", malformed},   /* a key that ends behind the map */
        {2, "0f40", malformed},     /* a key of no type */
        {2, TO "a10561", "to-override not a valid string type"},
        {2, TO "a10161", NULL},
        {2, TO "a10161540140", malformed}, /* values behind the last entry */
        {4, TO "a10161540140", NULL},
        {2, STREAM "0f", malformed},
        {2, STREAM "b1ffffffff", malformed},
        {2, STREAM "b100000000", NULL},
        {4, TO "a10161a3016bb1ffffffff", malformed}, /* an entry that would be dropped */
        {4, TO "a10161a3016bb100000000", NULL},
        {4, TO "a10161a3", malformed}, /* ends within a key */
    };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        struct slice section = of_values(maps[i].count, maps[i].values);
        if (maps[i].why)
            assert_refused(section, maps[i].why);
        else
            read_well(section);
        drop(section);
    }
}

static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void change_somewhere(uint8_t *octets, size_t n, uint32_t *seed)
{
    static const uint8_t likely[] = {0x00, 0x01, 0x40, 0x45, 0x53, 0x54, 0x72, 0x7f, 0x80, 0xa1,
                                     0xa3, 0xb1, 0xb3, 0xc0, 0xc1, 0xd0, 0xd1, 0xe0, 0xf0, 0xff};
    uint32_t x = next_random(seed), y = next_random(seed);
    octets[x % n] = y % 3 ? likely[y / 3 % sizeof likely] : (uint8_t)(y >> 8);
}

/* Whatever was taken can be written, and what was written is taken and says the same. */
static bool assert_taken_is_passed_on(struct slice section, bool only_user)
{
    struct amqp_annotations a, b;
    const char *why;
    if (amqp_annotations_read(section, only_user, &a, &why) != OK)
        return false;
    struct slice out = written(&a, text("0/own")), again;
    assert_true(out.len > 0);
    b = read_well(out);
    assert_int_equal(b.trace.count, a.trace.count + 1);
    assert_int_equal(b.user_count, a.user_count);
    assert_same_octets(a.user, b.user);
    assert_int_equal(b.phase, a.phase);
    assert_int_equal(b.stream, a.stream);
    assert_same_octets(a.to, b.to);
    assert_same_octets(a.ingress, b.ingress);
    again = written(&b, nobody);
    assert_same_octets(out, again);
    drop(again);
    drop(out);
    return true;
}

static void test_annotations_changed_at_random_are_refused_or_passed_on_well(void **state)
{
    (void)state;
    static const char *const seeds[] = {"tir", "uwkpstir", "tkir", "tiru", "uvtrips", "utrioo"};
    unsigned taken = 0, refused = 0;
    for (uint32_t seed = 1; seed <= 20000; seed++) {
        struct slice section = of_letters(seeds[seed % (sizeof seeds / sizeof *seeds)]);
        uint32_t x = seed * 2654435761u;
        for (uint32_t changes = 1 + next_random(&x) % 3; changes; changes--)
            change_somewhere((uint8_t *)(uintptr_t)section.data, section.len, &x);
        if (assert_taken_is_passed_on(section, seed % 4 == 0))
            taken++;
        else
            refused++;
        drop(section);
    }
    assert_true(taken > 1000 && refused > 1000);
}

/* ---- what exchanges write ---- */

/* x-opt-trunkline.exchanged: binary of three octets */
#define EXCHANGED "a319782d6f70742d7472756e6b6c696e652e65786368616e676564"

/* Old routers take it for an entry of the user, and write those first: so it stands between the user's and theirs. */
static void test_annotations_of_an_exchange_stand_where_an_old_router_keeps_them(void **state)
{
    (void)state;
    static const uint8_t user[] = {0xa3, 1, 'u', 0x54, 7}, octets[] = {1, 2, 3};
    const struct amqp_annotations a = {.user = {NULL, user, sizeof user},
                                       .user_count = 2,
                                       .exchanged = {NULL, octets, sizeof octets},
                                       .to = text("q"),
                                       .ingress = text("0/A")};
    struct slice section = written(&a, text("0/A"));
    struct slice hoped =
        of_hex("005372c1650a"
               "a301755407" EXCHANGED "a003010203" TO "a10171" INGRESS "a103302f41" TRACE "c00601a103302f41");
    assert_same_octets(section, hoped);
    struct amqp_annotations b = read_well(section);
    assert_int_equal(b.user_count, 2);
    assert_int_equal(b.exchanged.len, 3);
    assert_memory_equal(b.exchanged.data, octets, 3);
    assert_true(is_text(b.to, "q"));
    assert_int_equal(b.trace.count, 1);
    drop(section);
    drop(hoped);
}

static void test_annotations_of_an_exchange_of_another_type_are_refused(void **state)
{
    (void)state;
    struct slice section = of_hex("005372c12102" EXCHANGED "a103010203");
    assert_refused(section, "exchanged not a valid binary");
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
        cmocka_unit_test(test_annotations_of_another_type_are_refused_unless_a_client_says_them),
        cmocka_unit_test(test_annotations_phase_is_any_small_integer),
        cmocka_unit_test(test_annotations_stream_is_its_presence),
        cmocka_unit_test(test_annotations_keys_as_strings_and_of_32_bits_are_keys),
        cmocka_unit_test(test_annotations_empty_texts_are_there),
        cmocka_unit_test(test_annotations_key_of_each_name_has_its_meaning_and_none_by_its_beginning),
        cmocka_unit_test(test_annotations_any_number_of_user_entries_passes_unchanged),
        cmocka_unit_test(test_annotations_of_each_size_take_the_smallest_map_and_strings),
        cmocka_unit_test(test_annotations_trace_grows_by_one_hop_each_time),
        cmocka_unit_test(test_annotations_along_200_routers_each_is_in_the_trace_once),
        cmocka_unit_test(test_annotations_long_forms_that_need_not_be_are_written_short),
        cmocka_unit_test(test_annotations_section_with_a_long_head_is_read),
        cmocka_unit_test(test_annotations_cut_anywhere_are_refused),
        cmocka_unit_test(test_annotations_that_are_no_map_are_refused),
        cmocka_unit_test(test_annotations_whose_entries_are_malformed_are_refused),
        cmocka_unit_test(test_annotations_that_nest_too_deep_in_their_section_are_refused),
        cmocka_unit_test(test_annotations_of_an_exchange_stand_where_an_old_router_keeps_them),
        cmocka_unit_test(test_annotations_of_an_exchange_of_another_type_are_refused),
        cmocka_unit_test(test_annotations_changed_at_random_are_refused_or_passed_on_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
