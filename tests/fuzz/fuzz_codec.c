/* Any octets as an encoded value. What must hold: no reader leaves the range; what amqp_check() accepts, amqp_skip()
 * steps over as far; such a value can be written anew from its parts, is then no longer, passes again, and prints the
 * same text. */
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/print.h>
#include <trunkline/base/assert.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n);

static void copy_value(struct amqp_reader *r, struct amqp_writer *w);

static void copy_compound(struct amqp_compound c, struct amqp_writer *w, bool map)
{
    size_t mark = amqp_write_list_begin(w);
    for (uint32_t i = 0; i < c.count; i++)
        copy_value(&c.in, w);
    ASSERT(c.in.at == c.in.end);
    if (map)
        amqp_write_map_end(w, mark, c.count);
    else
        amqp_write_list_end(w, mark, c.count);
}

#define COPY_NUMBER(type, name)                                                                                        \
    do {                                                                                                               \
        type v;                                                                                                        \
        ASSERT(amqp_read_##name(r, &v) == OK);                                                                         \
        amqp_write_##name(w, v);                                                                                       \
    } while (0)
#define COPY_OCTETS(name)                                                                                              \
    do {                                                                                                               \
        struct slice v;                                                                                                \
        ASSERT(amqp_read_##name(r, &v) == OK);                                                                         \
        amqp_write_##name(w, v.data, v.len);                                                                           \
    } while (0)

/* As it is: for what has no writer of its own. */
static void copy_raw(struct amqp_reader *r, struct amqp_writer *w)
{
    struct slice raw;
    ASSERT(amqp_read_raw(r, &raw) == OK);
    amqp_write_raw(w, raw.data, raw.len);
}

static void copy_char(struct amqp_reader *r, struct amqp_writer *w)
{
    uint32_t c;
    if (amqp_read_char(r, &c) == OK)
        amqp_write_char(w, c);
    else
        copy_raw(r, w); /* no character, but well-formed */
}

static void copy_described(struct amqp_reader *r, struct amqp_writer *w)
{
    struct amqp_reader descriptor = {r->at + 1, r->end};
    uint64_t code;
    ASSERT(amqp_read_descriptor(r, &code) == OK);
    amqp_write_octet(w, AMQP_CODE_DESCRIBED);
    copy_value(&descriptor, w);
    ASSERT(descriptor.at == r->at);
    copy_value(r, w);
}

static void copy_value(struct amqp_reader *r, struct amqp_writer *w)
{
    struct amqp_compound c;
    struct amqp_array a;
    struct amqp_reader again = *r;
    const uint8_t *uuid;
    ASSERT(r->at != r->end);
    switch (amqp_type_of(*r->at)) {
    case AMQP_TYPE_NULL:
        ASSERT(amqp_read_null(r));
        amqp_write_null(w);
        break;
    case AMQP_TYPE_BOOLEAN:
        COPY_NUMBER(bool, bool);
        break;
    case AMQP_TYPE_UBYTE:
        COPY_NUMBER(uint8_t, ubyte);
        break;
    case AMQP_TYPE_USHORT:
        COPY_NUMBER(uint16_t, ushort);
        break;
    case AMQP_TYPE_UINT:
        COPY_NUMBER(uint32_t, uint);
        break;
    case AMQP_TYPE_ULONG:
        COPY_NUMBER(uint64_t, ulong);
        break;
    case AMQP_TYPE_BYTE:
        COPY_NUMBER(int8_t, byte);
        break;
    case AMQP_TYPE_SHORT:
        COPY_NUMBER(int16_t, short);
        break;
    case AMQP_TYPE_INT:
        COPY_NUMBER(int32_t, int);
        break;
    case AMQP_TYPE_LONG:
        COPY_NUMBER(int64_t, long);
        break;
    case AMQP_TYPE_FLOAT:
        COPY_NUMBER(float, float);
        break;
    case AMQP_TYPE_DOUBLE:
        COPY_NUMBER(double, double);
        break;
    case AMQP_TYPE_TIMESTAMP:
        COPY_NUMBER(int64_t, timestamp);
        break;
    case AMQP_TYPE_CHAR:
        copy_char(r, w);
        break;
    case AMQP_TYPE_UUID:
        ASSERT(amqp_read_uuid(r, &uuid) == OK);
        amqp_write_uuid(w, uuid);
        break;
    case AMQP_TYPE_BINARY:
        COPY_OCTETS(binary);
        break;
    case AMQP_TYPE_STRING:
        COPY_OCTETS(string);
        break;
    case AMQP_TYPE_SYMBOL:
        COPY_OCTETS(symbol);
        break;
    case AMQP_TYPE_LIST:
        ASSERT(amqp_enter_list(r, &c) == OK);
        copy_compound(c, w, false);
        break;
    case AMQP_TYPE_MAP:
        ASSERT(amqp_enter_map(r, &c) == OK);
        copy_compound(c, w, true);
        break;
    case AMQP_TYPE_ARRAY:
        ASSERT(amqp_enter_array(&again, &a) == OK);
        copy_raw(r, w);
        ASSERT(again.at == r->at);
        break;
    case AMQP_TYPE_DESCRIBED:
        copy_described(r, w);
        break;
    default:
        copy_raw(r, w);
        break;
    }
}

static void assert_copy_is_equal(struct slice value)
{
    static char before[8192], after[8192];
    uint8_t *memory = malloc(value.len);
    ASSERT(memory);
    struct amqp_writer w = amqp_writer(memory, value.len);
    struct amqp_reader r = amqp_slice_reader(value);
    copy_value(&r, &w);
    ASSERT(r.at == r.end && amqp_writer_fits(&w));

    r = amqp_reader(memory, w.len);
    ASSERT(amqp_check(&r) == OK && r.at == r.end);
    amqp_value_print(value, before, sizeof before);
    amqp_value_print((struct slice){NULL, memory, w.len}, after, sizeof after);
    ASSERT(strcmp(before, after) == 0);
    /* The words themselves may be in it. */
    if (!memchr(value.data, '<', value.len))
        ASSERT(!strstr(before, "<malformed>"));
    free(memory);
}

static void try_all_readers(struct amqp_reader r)
{
    struct amqp_reader copy = r;
    struct amqp_compound c;
    struct amqp_array a;
    struct slice s;
    int64_t i;
    uint64_t u;
    if (amqp_enter_list(&copy, &c) == OK)
        ASSERT(c.in.end <= r.end);
    copy = r;
    if (amqp_enter_map(&copy, &c) == OK)
        ASSERT(c.in.end <= r.end);
    copy = r;
    if (amqp_enter_array(&copy, &a) == OK)
        for (int left = 1000; left && amqp_array_next(&a, &s) == OK; left--)
            ASSERT(s.data + s.len <= r.end);
    copy = r;
    if (amqp_read_text(&copy, &s) == OK)
        ASSERT(s.data + s.len <= r.end);
    copy = r;
    if (amqp_read_integer(&copy, &i) == OK)
        ASSERT(copy.at > r.at);
    copy = r;
    if (amqp_read_descriptor(&copy, &u) == OK)
        ASSERT(copy.at > r.at && copy.at <= r.end);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n)
{
    struct amqp_reader r = amqp_reader(octets, n);
    while (r.at != r.end) {
        struct amqp_reader skipped = r, checked = r;
        char text[64];
        try_all_readers(r);
        amqp_value_print((struct slice){NULL, r.at, amqp_left(&r)}, text, sizeof text);
        enum err skip = amqp_skip(&skipped), check = amqp_check(&checked);
        ASSERT(check != OK || (skip == OK && skipped.at == checked.at));
        ASSERT(check != ERR_TRUNCATED || skip == ERR_TRUNCATED);
        if (skip != OK)
            break;
        if (check == OK)
            assert_copy_is_equal((struct slice){NULL, r.at, (size_t)(checked.at - r.at)});
        r = skipped;
    }
    return 0;
}
