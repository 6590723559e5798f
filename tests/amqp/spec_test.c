/* The codec's tables and readers against the XML of the AMQP 1.0 specification: every encoding, descriptor and field.
 */
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/performative.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct spec_encoding {
    const char *type;
    uint8_t code;
    const char *category;
    unsigned width;
};
struct spec_descriptor {
    uint64_t code;
    const char *symbol;
};
struct spec_field {
    const char *composite;
    unsigned index;
    const char *name, *kind;
    bool mandatory;
    const char *initial;
};
#include "spec_table.h"
#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- encodings ---- */

static void test_spec_every_encoding_has_its_type_and_no_other_exists(void **state)
{
    (void)state;
    assert_int_equal(COUNT(SPEC_ENCODINGS), 39);
    bool known[256] = {[AMQP_CODE_DESCRIBED] = true};
    for (size_t i = 0; i < COUNT(SPEC_ENCODINGS); i++) {
        const struct spec_encoding *e = &SPEC_ENCODINGS[i];
        known[e->code] = true;
        assert_string_equal(amqp_type_name(amqp_type_of(e->code)), e->type);
    }
    for (int code = 0; code < 256; code++)
        assert_int_equal(amqp_type_of((uint8_t)code) != AMQP_TYPE_INVALID, known[code]);
}

/* A value of this encoding, with three octets where the width is free: the empty list or map as octets of zero. */
static size_t example(const struct spec_encoding *e, uint8_t *octets)
{
    size_t at = 0;
    octets[at++] = e->code;
    if (strcmp(e->category, "fixed") == 0) {
        for (unsigned i = 0; i < e->width; i++)
            octets[at++] = 0;
        return at;
    }
    bool variable = strcmp(e->category, "variable") == 0, array = strcmp(e->category, "array") == 0;
    size_t content = variable ? 3 : e->width + (array ? 1 : 2);
    for (unsigned i = 1; i < e->width; i++)
        octets[at++] = 0;
    octets[at++] = (uint8_t)content;
    if (variable) {
        memset(octets + at, 'x', 3);
        return at + 3;
    }
    for (unsigned i = 1; i < e->width; i++)
        octets[at++] = 0;
    octets[at++] = array ? 0 : 2;
    octets[at++] = array ? AMQP_CODE_UINT : AMQP_CODE_NULL;
    if (!array)
        octets[at++] = AMQP_CODE_NULL;
    return at;
}

static void test_spec_every_encoding_is_as_wide_as_its_category_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(SPEC_ENCODINGS); i++) {
        uint8_t octets[40];
        size_t n = example(&SPEC_ENCODINGS[i], octets);
        struct amqp_reader skip = amqp_reader(octets, sizeof octets), check = skip;
        assert_int_equal(amqp_skip(&skip), OK);
        assert_ptr_equal(skip.at, octets + n);
        assert_int_equal(amqp_check(&check), OK);
        assert_ptr_equal(check.at, octets + n);
        check = amqp_reader(octets, n - 1);
        assert_int_equal(amqp_check(&check), ERR_TRUNCATED);
    }
}

/* ---- descriptors ---- */

static void test_spec_every_descriptor_is_known_by_number_and_symbol(void **state)
{
    (void)state;
    size_t known = 0;
    for (uint64_t code = 0; code < 512; code++)
        known += amqp_composite_of(code) != NULL;
    assert_int_equal(known, COUNT(SPEC_DESCRIPTORS));
    assert_null(amqp_composite_of(AMQP_DESC_UNKNOWN));
    for (size_t i = 0; i < COUNT(SPEC_DESCRIPTORS); i++) {
        const struct spec_descriptor *d = &SPEC_DESCRIPTORS[i];
        const struct amqp_composite *type = amqp_composite_of(d->code);
        assert_non_null(type);
        assert_int_equal(type->descriptor, d->code);
        assert_string_equal(type->symbol, d->symbol);
        uint8_t octets[80] = {AMQP_CODE_DESCRIBED};
        struct amqp_writer w = amqp_writer(octets + 1, sizeof octets - 1);
        amqp_write_symbol_of(&w, d->symbol);
        struct amqp_reader r = amqp_reader(octets, w.len + 1);
        uint64_t code;
        assert_int_equal(amqp_read_descriptor(&r, &code), OK);
        assert_int_equal(code, d->code);
    }
}

/* ---- fields ---- */

struct our_field {
    const char *name, *kind;
    bool mandatory;
    const char *initial;
};
#define ROW(kind, name, need, initial) {#name, #kind, AMQP_FIELD_IS_##need, #initial},
#define TABLE(NAME, name) static const struct our_field name##_table[] = {AMQP_FIELDS_##NAME(ROW)};
AMQP_COMPOSITES(TABLE)

/* Read a list and write what was read. Result: of the reader. */
typedef enum err copy_fn(struct amqp_reader *r, struct amqp_writer *w);
#define COPY(NAME, name)                                                                                               \
    static enum err copy_##name(struct amqp_reader *r, struct amqp_writer *w)                                          \
    {                                                                                                                  \
        struct amqp_##name##_fields f;                                                                                 \
        enum err e = amqp_read_##name(r, &f);                                                                          \
        if (e == OK)                                                                                                   \
            amqp_write_##name(w, &f);                                                                                  \
        return e;                                                                                                      \
    }
AMQP_COMPOSITES(COPY)

static const struct our_composite {
    const char *name;
    uint64_t descriptor;
    const struct our_field *fields;
    unsigned count;
    copy_fn *copy;
} OURS[] = {
#define X(NAME, name) {#name, AMQP_DESC_##NAME, name##_table, COUNT(name##_table), copy_##name},
    AMQP_COMPOSITES(X)
#undef X
};

static bool same_name(const char *ours, const char *spec)
{
    for (; *ours && *spec; ours++, spec++)
        if (*ours != *spec && !(*ours == '_' && *spec == '-'))
            return false;
    return *ours == *spec;
}

static const struct our_composite *ours_of(const char *composite)
{
    for (size_t i = 0; i < COUNT(OURS); i++)
        if (same_name(OURS[i].name, composite))
            return &OURS[i];
    fail_msg("no table for %s", composite);
    return NULL;
}

/* Defaults of variable width are empty in our tables; a header's priority has its 4 in the text of part 3.2.1, Header,
 * only. */
static const char *expected_initial(const struct spec_field *f)
{
    if (same_name("header", f->composite) && same_name("priority", f->name))
        return "4";
    if (!f->initial || strcmp(f->kind, "SYMBOL") == 0)
        return "0";
    return f->initial;
}

static void test_spec_every_field_is_in_its_place(void **state)
{
    (void)state;
    unsigned fields = 0;
    for (size_t i = 0; i < COUNT(OURS); i++)
        fields += OURS[i].count;
    assert_int_equal(fields, COUNT(SPEC_FIELDS));
    for (size_t i = 0; i < COUNT(SPEC_FIELDS); i++) {
        const struct spec_field *f = &SPEC_FIELDS[i];
        const struct our_composite *c = ours_of(f->composite);
        assert_true(f->index < c->count);
        const struct our_field *ours = &c->fields[f->index];
        assert_true(same_name(ours->name, f->name));
        assert_string_equal(ours->kind, f->kind);
        assert_int_equal(ours->mandatory, f->mandatory);
        assert_string_equal(ours->initial, expected_initial(f));
    }
}

/* ---- readers and writers ---- */

static const struct value {
    const char *kind, *octets;
    size_t n;
} VALUES[] = {
#define V(kind, text)                                                                                                  \
    {                                                                                                                  \
        kind, text, sizeof text - 1                                                                                    \
    }
    V("BOOL", "\x41"),
    V("BOOL", "\x42"),
    V("BOOL", "\x56\x01"),
    V("UBYTE", "\x50\x02"),
    V("USHORT", "\x60\x01\x02"),
    V("UINT", "\x70\x01\x02\x03\x04"),
    V("UINT", "\x52\x09"),
    V("UINT", "\x43"),
    V("ULONG", "\x80\x01\x02\x03\x04\x05\x06\x07\x08"),
    V("ULONG", "\x53\x09"),
    V("ULONG", "\x44"),
    V("TIMESTAMP", "\x83\x00\x00\x01\x02\x03\x04\x05\x06"),
    V("BINARY", "\xa0\x01\x00"),
    V("BINARY", "\xb0\x00\x00\x00\x01\x00"),
    V("STRING", "\xa1\x01s"),
    V("STRING", "\xb1\x00\x00\x00\x01s"),
    V("SYMBOL", "\xa3\x01s"),
    V("SYMBOL", "\xb3\x00\x00\x00\x01s"),
    V("SYMBOLS", "\xa3\x01s"),
    V("SYMBOLS", "\xb3\x00\x00\x00\x01s"),
    V("SYMBOLS", "\xe0\x04\x01\xa3\x01s"),
    V("SYMBOLS", "\xf0\x00\x00\x00\x0a\x00\x00\x00\x01\xb3\x00\x00\x00\x01s"),
    V("SYMBOLS", "\xe0\x02\x00\x40"),
    V("MAP", "\xc1\x01\x00"),
    V("MAP", "\xd1\x00\x00\x00\x06\x00\x00\x00\x02\x40\x40"),
    V("ANY", "\x00\x53\x24\x45"),
    V("ANY", "\x00\x53\x24\xc0\x01\x00"),
    V("ANY", "\x43"),
#undef V
};

static const struct value *value_of(const char *kind, bool the_kind)
{
    for (size_t i = 0; i < COUNT(VALUES); i++)
        if ((strcmp(VALUES[i].kind, kind) == 0) == the_kind)
            return &VALUES[i];
    fail_msg("no value of kind %s", kind);
    return NULL;
}

/* The list of a composite up to and including `upto`: required fields have a value, the others are null, but field
 * `chosen` (if any) has `value`, or is null without one. */
static size_t build(const struct our_composite *c, unsigned upto, unsigned chosen, const struct value *value,
                    uint8_t *octets, size_t size)
{
    struct amqp_writer w = amqp_writer(octets, size);
    size_t mark = amqp_write_list_begin(&w);
    for (unsigned i = 0; i < upto; i++) {
        const struct value *v = c->fields[i].mandatory ? value_of(c->fields[i].kind, true) : NULL;
        if (i == chosen)
            v = value;
        if (v)
            amqp_write_raw(&w, v->octets, v->n);
        else
            amqp_write_null(&w);
    }
    amqp_write_list_end(&w, mark, upto);
    assert_true(amqp_writer_fits(&w));
    return w.len;
}

static unsigned last_mandatory(const struct our_composite *c)
{
    unsigned last = 0;
    for (unsigned i = 0; i < c->count; i++)
        if (c->fields[i].mandatory)
            last = i + 1;
    return last;
}

static void assert_field_survives(const struct our_composite *c, unsigned field, const struct value *v)
{
    uint8_t list[256], copy[256];
    size_t n = build(c, c->count, field, v, list, sizeof list);
    struct amqp_reader r = amqp_reader(list, n);
    struct amqp_writer w = amqp_writer(copy, sizeof copy);
    assert_int_equal(c->copy(&r, &w), OK);
    assert_int_equal(amqp_left(&r), 0);

    r = amqp_reader(copy, w.len);
    struct amqp_reader check = r;
    uint64_t descriptor;
    struct amqp_compound out = {0};
    assert_int_equal(amqp_check(&check), OK);
    assert_int_equal(amqp_left(&check), 0);
    assert_int_equal(amqp_read_descriptor(&r, &descriptor), OK);
    assert_int_equal(descriptor, c->descriptor);
    assert_int_equal(amqp_enter_list(&r, &out), OK);
    /* Nothing behind the last field that is there. */
    unsigned last = last_mandatory(c);
    assert_int_equal(out.count, last > field + 1 ? last : field + 1);
    for (unsigned i = 0; i < field; i++)
        assert_int_equal(amqp_skip(&out.in), OK);
    assert_int_equal(amqp_type_of((uint8_t)amqp_peek(&out.in)), amqp_type_of((uint8_t)v->octets[0]));
}

static void test_spec_every_field_takes_each_encoding_of_its_type(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(OURS); i++)
        for (unsigned field = 0; field < OURS[i].count; field++)
            for (size_t v = 0; v < COUNT(VALUES); v++)
                if (strcmp(VALUES[v].kind, OURS[i].fields[field].kind) == 0)
                    assert_field_survives(&OURS[i], field, &VALUES[v]);
}

static enum err try(const struct our_composite *c, unsigned upto, unsigned chosen, const struct value *v)
{
    uint8_t list[256];
    struct amqp_reader r = amqp_reader(list, build(c, upto, chosen, v, list, sizeof list));
    struct amqp_writer w = amqp_writer(NULL, 0);
    return c->copy(&r, &w);
}

static void test_spec_every_field_of_the_wrong_type_is_invalid(void **state)
{
    (void)state;
    static const struct value wrong = {"FLOAT", "\x72\x00\x00\x00\x00", 5};
    for (size_t i = 0; i < COUNT(OURS); i++)
        for (unsigned field = 0; field < OURS[i].count; field++)
            if (strcmp(OURS[i].fields[field].kind, "ANY") != 0)
                assert_int_equal(try(&OURS[i], OURS[i].count, field, &wrong), ERR_INVALID);
}

static void test_spec_every_malformed_field_is_invalid(void **state)
{
    (void)state;
    /* A list whose size lies, where any value may be; a map with a key and no value. */
    static const struct value list = {"ANY", "\xc0\x02\x00\x40", 4}, map = {"MAP", "\xc1\x02\x01\x40", 4};
    for (size_t i = 0; i < COUNT(OURS); i++)
        for (unsigned field = 0; field < OURS[i].count; field++) {
            const char *kind = OURS[i].fields[field].kind;
            const struct value *bad = strcmp(kind, "MAP") == 0 ? &map : &list;
            assert_int_equal(try(&OURS[i], OURS[i].count, field, bad), ERR_INVALID);
        }
}

static void test_spec_required_fields_are_required_and_others_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(OURS); i++) {
        const struct our_composite *c = &OURS[i];
        for (unsigned field = 0; field < c->count; field++)
            assert_int_equal(try(c, c->count, field, NULL), c->fields[field].mandatory ? ERR_INVALID : OK);
        for (unsigned upto = 0; upto <= c->count; upto++)
            assert_int_equal(try(c, upto, c->count, NULL), upto < last_mandatory(c) ? ERR_INVALID : OK);
    }
}

static void test_spec_fields_beyond_the_table_are_passed_over_if_they_are_values(void **state)
{
    (void)state;
    const struct our_composite *c = ours_of("transfer");
    uint8_t list[256];
    size_t n = build(c, c->count, c->count, NULL, list, sizeof list);
    list[n] = AMQP_CODE_TRUE;
    list[1] += 1; /* size */
    list[2] += 1; /* count */
    struct amqp_writer w = amqp_writer(NULL, 0);
    struct amqp_reader r = amqp_reader(list, n + 1);
    assert_int_equal(c->copy(&r, &w), OK);
    list[n] = 0xff;
    r = amqp_reader(list, n + 1);
    assert_int_equal(c->copy(&r, &w), ERR_INVALID);
    list[n] = AMQP_CODE_TRUE;
    list[2] -= 1; /* an octet that no value claims */
    r = amqp_reader(list, n + 1);
    assert_int_equal(c->copy(&r, &w), ERR_INVALID);
}

static void test_spec_absent_fields_hold_their_default(void **state)
{
    (void)state;
    struct amqp_writer w = amqp_writer((uint8_t[64]){0}, 64);
    struct amqp_open_fields open = {0};
    AMQP_SET(&open, container_id, ((struct slice){NULL, (const uint8_t *)"c", 1}));
    amqp_write_open(&w, &open);
    struct amqp_reader r = amqp_reader(w.base + 3, w.len - 3);
    assert_int_equal(amqp_read_open(&r, &open), OK);
    assert_true(open.has.container_id);
    assert_false(open.has.max_frame_size);
    assert_int_equal(open.max_frame_size, UINT32_MAX);
    assert_int_equal(open.channel_max, 65535);
    assert_false(open.has.properties);
    assert_int_equal(open.properties.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spec_every_encoding_has_its_type_and_no_other_exists),
        cmocka_unit_test(test_spec_every_encoding_is_as_wide_as_its_category_says),
        cmocka_unit_test(test_spec_every_descriptor_is_known_by_number_and_symbol),
        cmocka_unit_test(test_spec_every_field_is_in_its_place),
        cmocka_unit_test(test_spec_every_field_takes_each_encoding_of_its_type),
        cmocka_unit_test(test_spec_every_field_of_the_wrong_type_is_invalid),
        cmocka_unit_test(test_spec_every_malformed_field_is_invalid),
        cmocka_unit_test(test_spec_required_fields_are_required_and_others_not),
        cmocka_unit_test(test_spec_fields_beyond_the_table_are_passed_over_if_they_are_values),
        cmocka_unit_test(test_spec_absent_fields_hold_their_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
