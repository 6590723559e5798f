#include <trunkline/amqp/codec.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

/* Octets on the heap and of exact length, so that a sanitizer sees a step beyond the end. */
static struct amqp_reader exactly(const void *octets, size_t n, uint8_t **memory)
{
    *memory = malloc(n ? n : 1);
    assert_non_null(*memory);
    memcpy(*memory, octets, n);
    return amqp_reader(*memory, n);
}

/* One encoding of each type with octets that matter, and the sizes and counts in place. */
struct sample {
    const char *octets;
    size_t n;
};
#define S(text)                                                                                                        \
    {                                                                                                                  \
        text, sizeof text - 1                                                                                          \
    }
static const struct sample SAMPLES[] = {
    S("\x40"),
    S("\x41"),
    S("\x42"),
    S("\x56\x01"),
    S("\x50\x07"),
    S("\x60\x12\x34"),
    S("\x70\x12\x34\x56\x78"),
    S("\x52\xff"),
    S("\x43"),
    S("\x80\x12\x34\x56\x78\x9a\xbc\xde\xf0"),
    S("\x53\xff"),
    S("\x44"),
    S("\x51\x80"),
    S("\x61\x80\x00"),
    S("\x71\x80\x00\x00\x00"),
    S("\x54\x80"),
    S("\x81\x80\x00\x00\x00\x00\x00\x00\x00"),
    S("\x55\x80"),
    S("\x72\x3f\x80\x00\x00"),
    S("\x82\x3f\xf0\x00\x00\x00\x00\x00\x00"),
    S("\x74\x00\x00\x00\x01"),
    S("\x84\x00\x00\x00\x00\x00\x00\x00\x01"),
    S("\x94\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"),
    S("\x73\x00\x00\x00\x41"),
    S("\x83\x00\x00\x01\x75\x00\x00\x00\x00"),
    S("\x98\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"),
    S("\xa0\x02\x00\xff"),
    S("\xb0\x00\x00\x00\x02\x00\xff"),
    S("\xa1\x02hi"),
    S("\xb1\x00\x00\x00\x02hi"),
    S("\xa3\x02hi"),
    S("\xb3\x00\x00\x00\x02hi"),
    S("\x45"),
    S("\xc0\x03\x02\x41\x40"),
    S("\xd0\x00\x00\x00\x06\x00\x00\x00\x02\x41\x40"),
    S("\xc1\x06\x02\xa3\x01k\x52\x05"),
    S("\xd1\x00\x00\x00\x09\x00\x00\x00\x02\xa3\x01k\x52\x05"),
    S("\xe0\x06\x02\xa3\x01\x61\x01\x62"),
    S("\xf0\x00\x00\x00\x09\x00\x00\x00\x02\xa3\x01\x61\x01\x62"),
    S("\x00\x53\x24\x45"),
    S("\x00\xa3\x03x:y\xa1\x01z"),
};
#define SAMPLE_COUNT (sizeof SAMPLES / sizeof *SAMPLES)

typedef enum err step_fn(struct amqp_reader *r);

/* Every getter, as one that takes the type which it is for. */
#define STEP(name, type)                                                                                               \
    static enum err step_##name(struct amqp_reader *r)                                                                 \
    {                                                                                                                  \
        type v;                                                                                                        \
        return amqp_read_##name(r, &v);                                                                                \
    }
STEP(bool, bool)
STEP(ubyte, uint8_t)
STEP(ushort, uint16_t)
STEP(uint, uint32_t)
STEP(ulong, uint64_t)
STEP(byte, int8_t)
STEP(short, int16_t)
STEP(int, int32_t)
STEP(long, int64_t)
STEP(float, float)
STEP(double, double)
STEP(char, uint32_t)
STEP(timestamp, int64_t)
STEP(uuid, const uint8_t *)
STEP(binary, struct slice)
STEP(string, struct slice)
STEP(symbol, struct slice)

static enum err step_null(struct amqp_reader *r)
{
    if (amqp_peek(r) < 0)
        return ERR_TRUNCATED;
    return amqp_read_null(r) ? OK : ERR_INVALID;
}
static enum err step_list(struct amqp_reader *r)
{
    struct amqp_compound c = {0};
    return amqp_enter_list(r, &c);
}
static enum err step_map(struct amqp_reader *r)
{
    struct amqp_compound c = {0};
    return amqp_enter_map(r, &c);
}
static enum err step_array(struct amqp_reader *r)
{
    struct amqp_array a = {0};
    return amqp_enter_array(r, &a);
}

static const struct {
    enum amqp_type type;
    step_fn *step;
} GETTERS[] = {
    {AMQP_TYPE_NULL, step_null},     {AMQP_TYPE_BOOLEAN, step_bool},
    {AMQP_TYPE_UBYTE, step_ubyte},   {AMQP_TYPE_USHORT, step_ushort},
    {AMQP_TYPE_UINT, step_uint},     {AMQP_TYPE_ULONG, step_ulong},
    {AMQP_TYPE_BYTE, step_byte},     {AMQP_TYPE_SHORT, step_short},
    {AMQP_TYPE_INT, step_int},       {AMQP_TYPE_LONG, step_long},
    {AMQP_TYPE_FLOAT, step_float},   {AMQP_TYPE_DOUBLE, step_double},
    {AMQP_TYPE_CHAR, step_char},     {AMQP_TYPE_TIMESTAMP, step_timestamp},
    {AMQP_TYPE_UUID, step_uuid},     {AMQP_TYPE_BINARY, step_binary},
    {AMQP_TYPE_STRING, step_string}, {AMQP_TYPE_SYMBOL, step_symbol},
    {AMQP_TYPE_LIST, step_list},     {AMQP_TYPE_MAP, step_map},
    {AMQP_TYPE_ARRAY, step_array},
};
#define GETTER_COUNT (sizeof GETTERS / sizeof *GETTERS)

static void test_codec_samples_cover_every_encoding(void **state)
{
    (void)state;
    static const uint8_t codes[] = {
#define X(name, type, code) code,
        AMQP_ENCODINGS(X)
#undef X
    };
    for (size_t i = 0; i < sizeof codes; i++) {
        bool found = false;
        for (size_t j = 0; j < SAMPLE_COUNT; j++)
            found |= (uint8_t)SAMPLES[j].octets[0] == codes[i];
        assert_true(found);
    }
}

static void test_codec_every_getter_takes_exactly_the_encodings_of_its_type(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        for (size_t g = 0; g < GETTER_COUNT; g++) {
            uint8_t *memory;
            struct amqp_reader r = exactly(SAMPLES[i].octets, SAMPLES[i].n, &memory);
            const uint8_t *from = r.at;
            enum err e = GETTERS[g].step(&r);
            if (amqp_type_of(memory[0]) == GETTERS[g].type) {
                assert_int_equal(e, OK);
                assert_ptr_equal(r.at, r.end);
            } else {
                assert_int_equal(e, ERR_INVALID);
                assert_ptr_equal(r.at, from);
            }
            free(memory);
        }
    }
}

static void test_codec_cut_at_every_octet_says_truncated_and_stays(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        for (size_t n = 0; n < SAMPLES[i].n; n++) {
            uint8_t *memory;
            struct amqp_reader r = exactly(SAMPLES[i].octets, n, &memory);
            assert_int_equal(amqp_skip(&r), ERR_TRUNCATED);
            assert_int_equal(amqp_check(&r), ERR_TRUNCATED);
            for (size_t g = 0; g < GETTER_COUNT; g++)
                if (amqp_type_of((uint8_t)SAMPLES[i].octets[0]) == GETTERS[g].type)
                    assert_int_equal(GETTERS[g].step(&r), ERR_TRUNCATED);
            assert_ptr_equal(r.at, memory);
            free(memory);
        }
    }
}

static void test_codec_skip_and_check_step_over_one_value(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        uint8_t octets[64];
        memcpy(octets, SAMPLES[i].octets, SAMPLES[i].n);
        octets[SAMPLES[i].n] = AMQP_CODE_TRUE;
        struct amqp_reader a = amqp_reader(octets, SAMPLES[i].n + 1), b = a;
        assert_int_equal(amqp_skip(&a), OK);
        assert_int_equal(amqp_left(&a), 1);
        assert_int_equal(amqp_check(&b), OK);
        assert_int_equal(amqp_left(&b), 1);
    }
}

static void test_codec_unknown_codes_are_invalid(void **state)
{
    (void)state;
    for (int code = 0; code < 256; code++) {
        if (amqp_type_of((uint8_t)code) != AMQP_TYPE_INVALID)
            continue;
        uint8_t octets[32] = {(uint8_t)code};
        struct amqp_reader r = amqp_reader(octets, sizeof octets);
        assert_int_equal(amqp_skip(&r), ERR_INVALID);
        assert_int_equal(amqp_check(&r), ERR_INVALID);
        uint8_t list[] = {0xc0, 0x02, 0x01, (uint8_t)code};
        r = amqp_reader(list, sizeof list);
        assert_int_equal(amqp_check(&r), ERR_INVALID);
        uint8_t array[] = {0xe0, 0x02, 0x00, (uint8_t)code};
        r = amqp_reader(array, sizeof array);
        assert_int_equal(amqp_check(&r), ERR_INVALID);
    }
}

static void assert_reads_as(const char *octets, size_t n, int64_t expected)
{
    struct amqp_reader r = amqp_reader(octets, n);
    int64_t v;
    assert_int_equal(amqp_read_integer(&r, &v), OK);
    assert_true(v == expected);
    assert_int_equal(amqp_left(&r), 0);
}

static void test_codec_integers_of_every_width_have_their_value(void **state)
{
    (void)state;
#define READS(text, v) assert_reads_as(text, sizeof text - 1, v)
    READS("\x50\xff", 255);
    READS("\x60\xff\xfe", 65534);
    READS("\x70\xff\xff\xff\xfe", 4294967294);
    READS("\x52\x80", 128);
    READS("\x43", 0);
    READS("\x80\x7f\xff\xff\xff\xff\xff\xff\xff", INT64_MAX);
    READS("\x53\x80", 128);
    READS("\x44", 0);
    READS("\x51\x80", -128);
    READS("\x61\x80\x00", -32768);
    READS("\x71\x80\x00\x00\x00", INT32_MIN);
    READS("\x54\xff", -1);
    READS("\x81\x80\x00\x00\x00\x00\x00\x00\x00", INT64_MIN);
    READS("\x55\xff", -1);
#undef READS
    struct amqp_reader r = amqp_reader("\x80\x80\x00\x00\x00\x00\x00\x00\x00", 9);
    int64_t v;
    assert_int_equal(amqp_read_integer(&r, &v), ERR_INVALID);
    uint64_t u;
    assert_int_equal(amqp_read_ulong(&r, &u), OK);
    assert_true(u == 1ull << 63);
}

static void test_codec_boolean_octet_other_than_0_and_1_is_invalid(void **state)
{
    (void)state;
    struct amqp_reader r = amqp_reader("\x56\x02", 2);
    bool v;
    assert_int_equal(amqp_read_bool(&r, &v), ERR_INVALID);
    assert_int_equal(amqp_check(&r), ERR_INVALID);
}

static void test_codec_char_outside_unicode_is_invalid(void **state)
{
    (void)state;
    uint32_t v;
    struct amqp_reader r = amqp_reader("\x73\x00\x11\x00\x00", 5);
    assert_int_equal(amqp_read_char(&r, &v), ERR_INVALID);
    r = amqp_reader("\x73\x00\x00\xd8\x00", 5);
    assert_int_equal(amqp_read_char(&r, &v), ERR_INVALID);
    r = amqp_reader("\x73\x00\x10\xff\xff", 5);
    assert_int_equal(amqp_read_char(&r, &v), OK);
    assert_int_equal(v, 0x10ffff);
}

static void test_codec_sizes_that_lie_are_invalid(void **state)
{
    (void)state;
    static const struct sample lies[] = {
        S("\xc0\x00\x00"),                                 /* a list's size that leaves no place for the count */
        S("\xd0\x00\x00\x00\x03\x00\x00\x00"),             /* the same of 32 bits */
        S("\xc0\x02\x02\x40\x40"),                         /* size ends before its values do */
        S("\xc0\x02\x00\x40"),                             /* more octets than values */
        S("\xc0\x02\x05\x40"),                             /* more values than octets */
        S("\xc1\x02\x01\x40"),                             /* a key without a value */
        S("\xc0\x04\x01\xa1\x09x"),                        /* a string that reaches out of its list */
        S("\xd0\x00\x00\x00\x06\x00\x00\x00\x01\xa1\x09"), /* the same of 32 bits */
        S("\xc0\x05\x01\xc0\x09\x01\x40"),                 /* a list that reaches out of its list */
        S("\xe0\x01\x01"),                                 /* an array without its constructor */
        S("\xe0\x03\x02\x50\x01"),                         /* fewer octets than elements */
        S("\xe0\x05\x02\x50\x01\x02\x03"),                 /* more */
        S("\xe0\x04\x01\xa3\x05\x61"),                     /* an element that reaches out of its array */
        S("\xe0\x05\x01\xa3\x01\x61\x61"),                 /* octets behind the last element */
        S("\xe0\x03\x01\x00\xa3"),                         /* a constructor that is described and then ends */
        S("\xe0\x05\x01\x00\x44\x00\x44"),                 /* described twice */
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        uint8_t *memory;
        struct amqp_reader r = exactly(lies[i].octets, lies[i].n, &memory);
        assert_int_equal(amqp_check(&r), ERR_INVALID);
        assert_ptr_equal(r.at, memory);
        /* And inside something, where to go on reading would be wrong. */
        uint8_t list[64] = {0xc0, (uint8_t)(lies[i].n + 1), 1};
        memcpy(list + 3, lies[i].octets, lies[i].n);
        r = amqp_reader(list, sizeof list);
        assert_int_equal(amqp_check(&r), ERR_INVALID);
        free(memory);
    }
}

static void test_codec_depth_is_limited(void **state)
{
    (void)state;
    /* Lists in lists, arrays in arrays, descriptors of descriptors: a million of each must neither pass nor exhaust the
     * stack. */
    size_t n = 1 << 20;
    uint8_t *octets = malloc(n);
    assert_non_null(octets);
    memset(octets, AMQP_CODE_DESCRIBED, n);
    struct amqp_reader r = amqp_reader(octets, n);
    uint64_t descriptor;
    assert_int_equal(amqp_skip(&r), ERR_INVALID);
    assert_int_equal(amqp_check(&r), ERR_INVALID);
    assert_int_equal(amqp_read_descriptor(&r, &descriptor), ERR_INVALID);

    for (size_t at = 0; at + 9 <= n; at += 9) {
        octets[at] = AMQP_CODE_LIST32;
        amqp_put32(octets + at + 1, (uint32_t)(n - at - 5));
        amqp_put32(octets + at + 5, 1);
    }
    r = amqp_reader(octets, n);
    assert_int_equal(amqp_check(&r), ERR_INVALID);

    octets[0] = AMQP_CODE_ARRAY32;
    for (size_t at = 1; at + 9 <= n; at += 9) {
        amqp_put32(octets + at, (uint32_t)(n - at - 4));
        amqp_put32(octets + at + 4, 1);
        octets[at + 8] = AMQP_CODE_ARRAY32;
    }
    r = amqp_reader(octets, n);
    assert_int_equal(amqp_check(&r), ERR_INVALID);
    free(octets);
}

static enum err check_nested_lists(unsigned depth)
{
    uint8_t octets[256];
    struct amqp_writer w = amqp_writer(octets, sizeof octets);
    size_t marks[64];
    for (unsigned i = 0; i < depth; i++)
        marks[i] = amqp_write_list_begin(&w);
    amqp_write_null(&w);
    for (unsigned i = depth; i--;)
        amqp_write_list_end(&w, marks[i], 1);
    assert_true(amqp_writer_fits(&w));
    struct amqp_reader r = amqp_reader(octets, w.len);
    return amqp_check(&r);
}

static void test_codec_depth_up_to_the_limit_passes(void **state)
{
    (void)state;
    assert_int_equal(check_nested_lists(AMQP_DEPTH_MAX), OK);
    assert_int_equal(check_nested_lists(AMQP_DEPTH_MAX + 1), ERR_INVALID);
}

static void test_codec_array_of_no_width_may_count_four_thousand_million(void **state)
{
    (void)state;
    struct amqp_reader r = amqp_reader("\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x41", 10), check = r;
    assert_int_equal(amqp_check(&check), OK); /* and at once */
    struct amqp_array a = {0};
    assert_int_equal(amqp_enter_array(&r, &a), OK);
    assert_int_equal(a.count, UINT32_MAX);
    assert_int_equal(a.code, AMQP_CODE_TRUE);
}

static void test_codec_array_gives_its_elements(void **state)
{
    (void)state;
    struct amqp_reader r = amqp_reader("\xe0\x08\x03\xa3\x01\x61\x00\x02\x62\x63", 10);
    struct amqp_array a = {0};
    struct slice s;
    assert_int_equal(amqp_enter_array(&r, &a), OK);
    assert_int_equal(a.count, 3);
    assert_int_equal(a.descriptor.len, 0);
    assert_int_equal(amqp_array_next(&a, &s), OK);
    assert_true(amqp_slice_is(s, "a"));
    assert_int_equal(amqp_array_next(&a, &s), OK);
    assert_true(amqp_slice_is(s, ""));
    assert_int_equal(amqp_array_next(&a, &s), OK);
    assert_true(amqp_slice_is(s, "bc"));
    assert_int_equal(amqp_array_next(&a, &s), ERR_NOT_FOUND);

    r = amqp_reader("\xe0\x08\x02\x00\x53\x07\x60\x00\x01\x00\x02", 11);
    assert_int_equal(amqp_enter_array(&r, &a), ERR_INVALID);
    r = amqp_reader("\xe0\x09\x02\x00\x53\x07\x60\x00\x01\x00\x02", 11);
    assert_int_equal(amqp_enter_array(&r, &a), OK);
    assert_int_equal(a.descriptor.len, 2);
    assert_int_equal(a.code, AMQP_CODE_USHORT);
    assert_int_equal(amqp_array_next(&a, &s), OK);
    assert_int_equal(amqp_get16(s.data), 1);
    assert_int_equal(amqp_array_next(&a, &s), OK);
    assert_int_equal(amqp_get16(s.data), 2);
}

static void test_codec_list_reader_cannot_leave_the_list(void **state)
{
    (void)state;
    struct amqp_reader r = amqp_reader("\xc0\x03\x01\x70\x00\x00\x00\x00", 8);
    struct amqp_compound c = {0};
    uint32_t v;
    assert_int_equal(amqp_enter_list(&r, &c), OK);
    assert_int_equal(amqp_read_uint(&c.in, &v), ERR_TRUNCATED);
    assert_int_equal(amqp_left(&r), 3);
}

static void test_codec_descriptor_in_every_form_is_the_same(void **state)
{
    (void)state;
    static const struct sample forms[] = {
        S("\x00\x53\x14"),
        S("\x00\x80\x00\x00\x00\x00\x00\x00\x00\x14"),
        S("\x00\xa3\x12"
          "amqp:transfer:list"),
        S("\x00\xb3\x00\x00\x00\x12"
          "amqp:transfer:list"),
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        uint8_t *memory;
        struct amqp_reader r = exactly(forms[i].octets, forms[i].n, &memory);
        uint64_t d;
        assert_int_equal(amqp_read_descriptor(&r, &d), OK);
        assert_int_equal(d, AMQP_DESC_TRANSFER);
        assert_int_equal(amqp_left(&r), 0);
        for (size_t n = 0; n < forms[i].n; n++) {
            r = amqp_reader(memory, n);
            assert_int_equal(amqp_read_descriptor(&r, &d), ERR_TRUNCATED);
        }
        free(memory);
    }
    struct amqp_reader r = amqp_reader("\x00\xa3\x03x:y\x40", 7);
    uint64_t d;
    assert_int_equal(amqp_read_descriptor(&r, &d), OK);
    assert_true(d == AMQP_DESC_UNKNOWN);
    assert_int_equal(amqp_left(&r), 1);
    r = amqp_reader("\x00\x44\x40", 3);
    assert_int_equal(amqp_read_descriptor(&r, &d), OK);
    assert_int_equal(d, 0);
    r = amqp_reader("\x53\x14\x40", 3);
    assert_int_equal(amqp_read_descriptor(&r, &d), ERR_INVALID);
}

/* ---- writing ---- */

static void assert_writes(const struct amqp_writer *w, const char *octets, size_t n)
{
    assert_true(amqp_writer_fits(w));
    assert_int_equal(w->len, n);
    assert_memory_equal(w->base, octets, n);
}
#define WRITES(call, text)                                                                                             \
    do {                                                                                                               \
        uint8_t octets[64];                                                                                            \
        struct amqp_writer w = amqp_writer(octets, sizeof octets);                                                     \
        call;                                                                                                          \
        assert_writes(&w, text, sizeof text - 1);                                                                      \
    } while (0)

static void test_codec_writer_takes_the_smallest_encoding(void **state)
{
    (void)state;
    WRITES(amqp_write_null(&w), "\x40");
    WRITES(amqp_write_bool(&w, true), "\x41");
    WRITES(amqp_write_bool(&w, false), "\x42");
    WRITES(amqp_write_ubyte(&w, 0), "\x50\x00");
    WRITES(amqp_write_ushort(&w, 0x1234), "\x60\x12\x34");
    WRITES(amqp_write_uint(&w, 0), "\x43");
    WRITES(amqp_write_uint(&w, 1), "\x52\x01");
    WRITES(amqp_write_uint(&w, 255), "\x52\xff");
    WRITES(amqp_write_uint(&w, 256), "\x70\x00\x00\x01\x00");
    WRITES(amqp_write_uint(&w, UINT32_MAX), "\x70\xff\xff\xff\xff");
    WRITES(amqp_write_ulong(&w, 0), "\x44");
    WRITES(amqp_write_ulong(&w, 255), "\x53\xff");
    WRITES(amqp_write_ulong(&w, 256), "\x80\x00\x00\x00\x00\x00\x00\x01\x00");
    WRITES(amqp_write_byte(&w, -1), "\x51\xff");
    WRITES(amqp_write_short(&w, -2), "\x61\xff\xfe");
    WRITES(amqp_write_int(&w, -128), "\x54\x80");
    WRITES(amqp_write_int(&w, 127), "\x54\x7f");
    WRITES(amqp_write_int(&w, 128), "\x71\x00\x00\x00\x80");
    WRITES(amqp_write_int(&w, -129), "\x71\xff\xff\xff\x7f");
    WRITES(amqp_write_long(&w, -128), "\x55\x80");
    WRITES(amqp_write_long(&w, 128), "\x81\x00\x00\x00\x00\x00\x00\x00\x80");
    WRITES(amqp_write_float(&w, 1), "\x72\x3f\x80\x00\x00");
    WRITES(amqp_write_double(&w, 1), "\x82\x3f\xf0\x00\x00\x00\x00\x00\x00");
    WRITES(amqp_write_char(&w, 'A'), "\x73\x00\x00\x00\x41");
    WRITES(amqp_write_timestamp(&w, -1), "\x83\xff\xff\xff\xff\xff\xff\xff\xff");
    WRITES(amqp_write_uuid(&w, (const uint8_t *)"0123456789abcdef"), "\x98"
                                                                     "0123456789abcdef");
    WRITES(amqp_write_binary(&w, "\0", 1), "\xa0\x01\x00");
    WRITES(amqp_write_string_of(&w, "hi"), "\xa1\x02hi");
    WRITES(amqp_write_string_of(&w, NULL), "\x40");
    WRITES(amqp_write_symbol_of(&w, "hi"), "\xa3\x02hi");
    WRITES(amqp_write_descriptor(&w, AMQP_DESC_TRANSFER), "\x00\x53\x14");
}

static void test_codec_writer_lists_take_the_smallest_head(void **state)
{
    (void)state;
    WRITES(amqp_write_list_end(&w, amqp_write_list_begin(&w), 0), "\x45");
    WRITES(amqp_write_map_end(&w, amqp_write_map_begin(&w), 0), "\xc1\x01\x00");

    /* 254 octets of values still fit a list8, 255 do not; 255 values do, 256 do not. */
    for (unsigned values = 250; values < 300; values++) {
        for (int as_map = 0; as_map < 2; as_map++) {
            if (as_map && values % 2)
                continue;
            uint8_t octets[400];
            struct amqp_writer w = amqp_writer(octets, sizeof octets);
            size_t mark = amqp_write_list_begin(&w);
            for (unsigned i = 0; i < values; i++)
                amqp_write_bool(&w, i % 3);
            if (as_map)
                amqp_write_map_end(&w, mark, values);
            else
                amqp_write_list_end(&w, mark, values);
            bool small = values <= 254;
            assert_int_equal(w.len, values + (small ? 3 : 9));
            assert_int_equal(octets[0], (small ? 0xc0 : 0xd0) + as_map);
            struct amqp_reader r = amqp_reader(octets, w.len), check = r;
            assert_int_equal(amqp_check(&check), OK);
            struct amqp_compound c = {0};
            assert_int_equal(as_map ? amqp_enter_map(&r, &c) : amqp_enter_list(&r, &c), OK);
            assert_int_equal(c.count, values);
            for (unsigned i = 0; i < values; i++) {
                bool v;
                assert_int_equal(amqp_read_bool(&c.in, &v), OK);
                assert_int_equal(v, i % 3 != 0);
            }
        }
    }
}

static void test_codec_writer_long_text_takes_32_bits(void **state)
{
    (void)state;
    char text[300];
    memset(text, 'x', sizeof text);
    for (size_t n = 254; n < 258; n++) {
        uint8_t octets[400];
        struct amqp_writer w = amqp_writer(octets, sizeof octets);
        amqp_write_string(&w, text, n);
        assert_int_equal(w.len, n + (n <= 255 ? 2 : 5));
        struct amqp_reader r = amqp_reader(octets, w.len);
        struct slice s;
        assert_int_equal(amqp_read_string(&r, &s), OK);
        assert_int_equal(s.len, n);
        assert_int_equal(amqp_left(&r), 0);
    }
}

static void test_codec_writer_symbols_are_an_array(void **state)
{
    (void)state;
    const char *const none[] = {NULL}, *const one[] = {"a", NULL}, *const two[] = {"a", "bc", NULL};
    WRITES(amqp_write_symbols(&w, NULL, false), "\x40");
    WRITES(amqp_write_symbols(&w, none, true), "\x40");
    WRITES(amqp_write_symbols(&w, one, true), "\xa3\x01\x61");
    WRITES(amqp_write_symbols(&w, one, false), "\xe0\x04\x01\xa3\x01\x61");
    WRITES(amqp_write_symbols(&w, two, true), "\xe0\x07\x02\xa3\x01\x61\x02\x62\x63");
    /* Large in sum, and large alone. */
    char text[300] = {0};
    for (size_t n = 120; n < 299; n += 13) {
        memset(text, 's', n);
        const char *const large[] = {text, "t", text, NULL};
        uint8_t octets[1200];
        struct amqp_writer w = amqp_writer(octets, sizeof octets);
        amqp_write_symbols(&w, large, false);
        struct amqp_reader r = amqp_reader(octets, w.len), check = r;
        assert_int_equal(amqp_check(&check), OK);
        assert_int_equal(amqp_left(&check), 0);
        struct amqp_array a = {0};
        struct slice s;
        assert_int_equal(amqp_enter_array(&r, &a), OK);
        assert_int_equal(a.count, 3);
        assert_int_equal(amqp_array_next(&a, &s), OK);
        assert_int_equal(s.len, n);
        assert_int_equal(amqp_array_next(&a, &s), OK);
        assert_true(amqp_slice_is(s, "t"));
    }
}

static void test_codec_writer_frame_head_counts_the_payload_elsewhere(void **state)
{
    (void)state;
    uint8_t octets[64];
    struct amqp_writer w = amqp_writer(octets, sizeof octets);
    amqp_write_null(&w); /* what was queued before */
    size_t mark = amqp_write_frame_begin(&w, 0, 0x1234);
    amqp_write_descriptor(&w, AMQP_DESC_TRANSFER);
    amqp_write_frame_end(&w, mark, 1000);
    assert_writes(&w, "\x40\x00\x00\x03\xf3\x02\x00\x12\x34\x00\x53\x14", 12);
}

/* A random value tree, the same for the same seed. */
static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void write_random(struct amqp_writer *w, uint32_t *seed, unsigned depth)
{
    static const char text[400] = "any octets will do";
    uint32_t x = next_random(seed);
    switch (x % (depth < 6 ? 17 : 13)) {
    case 0:
        amqp_write_null(w);
        break;
    case 1:
        amqp_write_bool(w, x & 1024);
        break;
    case 2:
        amqp_write_ubyte(w, (uint8_t)(x >> 8));
        break;
    case 3:
        amqp_write_ushort(w, (uint16_t)(x >> 8));
        break;
    case 4:
        amqp_write_uint(w, x >> (x % 31));
        break;
    case 5:
        amqp_write_ulong(w, (uint64_t)x << (x % 33));
        break;
    case 6:
        amqp_write_int(w, (int32_t)x >> (x % 31));
        break;
    case 7:
        amqp_write_long(w, (int64_t)(int32_t)x * 77);
        break;
    case 8:
        amqp_write_double(w, x);
        break;
    case 9:
        amqp_write_timestamp(w, x);
        break;
    case 10:
        amqp_write_binary(w, text, x >> 8 & 0x1f);
        break;
    case 11:
        amqp_write_string(w, text, x >> 8 & 0x17f);
        break;
    case 12:
        amqp_write_symbol(w, text, x >> 8 & 0x0f);
        break;
    case 13:
        amqp_write_descriptor(w, x >> 20);
        write_random(w, seed, depth + 1);
        break;
    default: {
        size_t mark = amqp_write_list_begin(w);
        uint32_t count = (x >> 8) % 10 * 2;
        for (uint32_t i = 0; i < count; i++)
            write_random(w, seed, depth + 1);
        if (x & 0x100000)
            amqp_write_map_end(w, mark, count);
        else
            amqp_write_list_end(w, mark, count);
    }
    }
}

static void test_codec_writer_measured_memory_suffices_and_less_is_told(void **state)
{
    (void)state;
    size_t largest = 0;
    for (uint32_t round = 1; round <= 3000; round++) {
        uint32_t seed = round * 2654435761u;
        struct amqp_writer measure = amqp_writer(NULL, 0);
        write_random(&measure, &seed, 0);
        largest = measure.len > largest ? measure.len : largest;

        seed = round * 2654435761u;
        uint8_t *memory = malloc(measure.len);
        assert_non_null(memory);
        struct amqp_writer w = amqp_writer(memory, measure.len);
        write_random(&w, &seed, 0);
        assert_int_equal(w.len, measure.len);
        struct amqp_reader r = amqp_reader(memory, w.len), skip = r;
        assert_int_equal(amqp_check(&r), OK);
        assert_int_equal(amqp_left(&r), 0);
        assert_int_equal(amqp_skip(&skip), OK);
        assert_int_equal(amqp_left(&skip), 0);
        free(memory);

        size_t less = measure.len - 1 - seed % measure.len;
        seed = round * 2654435761u;
        memory = malloc(less + 1);
        assert_non_null(memory);
        memory[less] = 0xa5;
        w = amqp_writer(memory, less);
        write_random(&w, &seed, 0);
        assert_false(amqp_writer_fits(&w));
        assert_int_equal(w.len, measure.len);
        assert_int_equal(memory[less], 0xa5);
        free(memory);
    }
    assert_true(largest > 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codec_samples_cover_every_encoding),
        cmocka_unit_test(test_codec_every_getter_takes_exactly_the_encodings_of_its_type),
        cmocka_unit_test(test_codec_cut_at_every_octet_says_truncated_and_stays),
        cmocka_unit_test(test_codec_skip_and_check_step_over_one_value),
        cmocka_unit_test(test_codec_unknown_codes_are_invalid),
        cmocka_unit_test(test_codec_integers_of_every_width_have_their_value),
        cmocka_unit_test(test_codec_boolean_octet_other_than_0_and_1_is_invalid),
        cmocka_unit_test(test_codec_char_outside_unicode_is_invalid),
        cmocka_unit_test(test_codec_sizes_that_lie_are_invalid),
        cmocka_unit_test(test_codec_depth_is_limited),
        cmocka_unit_test(test_codec_depth_up_to_the_limit_passes),
        cmocka_unit_test(test_codec_array_of_no_width_may_count_four_thousand_million),
        cmocka_unit_test(test_codec_array_gives_its_elements),
        cmocka_unit_test(test_codec_list_reader_cannot_leave_the_list),
        cmocka_unit_test(test_codec_descriptor_in_every_form_is_the_same),
        cmocka_unit_test(test_codec_writer_takes_the_smallest_encoding),
        cmocka_unit_test(test_codec_writer_lists_take_the_smallest_head),
        cmocka_unit_test(test_codec_writer_long_text_takes_32_bits),
        cmocka_unit_test(test_codec_writer_symbols_are_an_array),
        cmocka_unit_test(test_codec_writer_frame_head_counts_the_payload_elsewhere),
        cmocka_unit_test(test_codec_writer_measured_memory_suffices_and_less_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
