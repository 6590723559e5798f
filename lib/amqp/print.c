#include <trunkline/amqp/print.h>

#include "print_priv.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/performative.h>
#include <trunkline/base/assert.h>

/* Octets of a transfer's payload that a trace shows. */
#define PAYLOAD_SHOWN 256

static void text_add_octets(struct text *t, const char *s, size_t n)
{
    if (t->cut)
        return;
    if ((size_t)(t->end - t->at) < n) {
        n = (size_t)(t->end - t->at);
        t->cut = true;
    }
    memcpy(t->at, s, n);
    t->at += n;
}

void text_add(struct text *t, const char *s)
{
    text_add_octets(t, s, strlen(s));
}

static void __attribute__((format(printf, 2, 3))) addf(struct text *t, const char *format, ...)
{
    char piece[128];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(piece, sizeof piece, format, args);
    va_end(args);
    ASSERT(n >= 0 && (size_t)n < sizeof piece);
    text_add_octets(t, piece, (size_t)n);
}

void text_add_escaped(struct text *t, struct slice s)
{
    for (size_t i = 0; i < s.len && !t->cut; i++) {
        uint8_t c = s.data[i];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
            text_add_octets(t, (const char *)&s.data[i], 1);
        else
            addf(t, t->notation == PRINT_MESSAGE ? "\\%02x" : "\\x%02x", c);
    }
}

static void add_quoted(struct text *t, struct slice s)
{
    text_add(t, "\"");
    text_add_escaped(t, s);
    text_add(t, "\"");
}

/* Proton quotes a symbol that is not made of letters alone. */
static bool is_word(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((s.data[i] < 'a' || s.data[i] > 'z') && (s.data[i] < 'A' || s.data[i] > 'Z'))
            return false;
    return true;
}

static void add_symbol(struct text *t, struct slice s)
{
    text_add(t, ":");
    if (is_word(s) && t->notation == PRINT_PROTON)
        text_add_octets(t, (const char *)s.data, s.len);
    else
        add_quoted(t, s);
}

static void add_uuid(struct text *t, const uint8_t *u)
{
    text_add(t, "UUID(");
    for (int i = 0; i < 16; i++)
        addf(t, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
    text_add(t, ")");
}

static void add_hex(struct text *t, const char *name, const uint8_t *octets, size_t n)
{
    addf(t, "%s(", name);
    for (size_t i = 0; i < n; i++)
        addf(t, "%02x", octets[i]);
    text_add(t, ")");
}

static void add_character(struct text *t, uint32_t c)
{
    if (c >= 0x20 && c < 0x7f)
        addf(t, "%c", (int)c);
    else
        addf(t, "U+%04" PRIX32, c);
}

/* As the log writes the time, but always in UTC. */
static void add_date(struct text *t, int64_t ms)
{
    int64_t second = ms / 1000 - (ms % 1000 < 0), rest = (ms % 1000 + 1000) % 1000;
    struct tm tm;
    char date[64];
    const struct tm *known = gmtime_r(&second, &tm);
    ASSERT(known); /* 64 bits of milliseconds stay within an int of years */
    strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &tm);
    addf(t, "\"%s.%03d000 +0000\"", date, (int)rest);
}

static float float_of(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static double double_of(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* A value that is neither described nor made of values, as the octets that follow its code (and size). */
static void add_scalar(struct text *t, uint8_t code, const uint8_t *p, size_t n)
{
    struct slice s = {NULL, p, n};
    switch (code) {
    case AMQP_CODE_NULL:
        text_add(t, "null");
        break;
    case AMQP_CODE_TRUE:
        text_add(t, "true");
        break;
    case AMQP_CODE_FALSE:
        text_add(t, "false");
        break;
    case AMQP_CODE_BOOLEAN:
        text_add(t, p[0] ? "true" : "false");
        break;
    case AMQP_CODE_UINT0:
    case AMQP_CODE_ULONG0:
        text_add(t, "0");
        break;
    case AMQP_CODE_UBYTE:
    case AMQP_CODE_SMALLUINT:
    case AMQP_CODE_SMALLULONG:
        addf(t, "%u", p[0]);
        break;
    case AMQP_CODE_BYTE:
    case AMQP_CODE_SMALLINT:
    case AMQP_CODE_SMALLLONG:
        addf(t, "%d", (int8_t)p[0]);
        break;
    case AMQP_CODE_USHORT:
        addf(t, "%u", amqp_get16(p));
        break;
    case AMQP_CODE_SHORT:
        addf(t, "%d", (int16_t)amqp_get16(p));
        break;
    case AMQP_CODE_UINT:
        addf(t, "%" PRIu32, amqp_get32(p));
        break;
    case AMQP_CODE_INT:
        addf(t, "%" PRId32, (int32_t)amqp_get32(p));
        break;
    case AMQP_CODE_ULONG:
        addf(t, "%" PRIu64, amqp_get64(p));
        break;
    case AMQP_CODE_TIMESTAMP:
        if (t->notation == PRINT_MESSAGE) {
            add_date(t, (int64_t)amqp_get64(p));
            break;
        }
        __attribute__((fallthrough));
    case AMQP_CODE_LONG:
        addf(t, "%" PRId64, (int64_t)amqp_get64(p));
        break;
    case AMQP_CODE_FLOAT:
        addf(t, "%g", (double)float_of(amqp_get32(p)));
        break;
    case AMQP_CODE_DOUBLE:
        addf(t, "%g", double_of(amqp_get64(p)));
        break;
    case AMQP_CODE_CHAR:
        add_character(t, amqp_get32(p));
        break;
    case AMQP_CODE_DECIMAL32:
        addf(t, "D32(%" PRIu32 ")", amqp_get32(p));
        break;
    case AMQP_CODE_DECIMAL64:
        addf(t, "D64(%" PRIu64 ")", amqp_get64(p));
        break;
    case AMQP_CODE_DECIMAL128:
        add_hex(t, "D128", p, n);
        break;
    case AMQP_CODE_UUID:
        add_uuid(t, p);
        break;
    case AMQP_CODE_VBIN8:
    case AMQP_CODE_VBIN32:
        text_add(t, "b");
        add_quoted(t, s);
        break;
    case AMQP_CODE_STR8:
    case AMQP_CODE_STR32:
        add_quoted(t, s);
        break;
    default: /* the symbols are left */
        add_symbol(t, s);
        break;
    }
}

/* Fields that hold passwords. */
static bool is_secret(const struct amqp_composite *type, uint32_t field)
{
    return (type->descriptor == AMQP_DESC_SASL_INIT && field == 1) ||
           (type->descriptor == AMQP_DESC_SASL_RESPONSE && field == 0);
}

void text_add_field_name(struct text *t, const char *name)
{
    for (; *name; name++)
        text_add_octets(t, *name == '_' ? "-" : name, 1);
    text_add(t, "=");
}

/* Add list or map items. Result: whether they made sense. */
static bool add_items(struct text *t, struct amqp_compound c, const struct amqp_composite *type, bool map,
                      unsigned depth)
{
    bool first = true;
    text_add(t, map ? "{" : "[");
    for (uint32_t i = 0; i < c.count && !t->cut; i++) {
        if (type && amqp_read_null(&c.in))
            continue;
        if (!first)
            text_add(t, map && i % 2 ? "=" : ", ");
        first = false;
        if (type && i < type->field_count)
            text_add_field_name(t, type->fields[i]);
        bool secret = type && is_secret(type, i);
        if (secret)
            text_add(t, "<hidden>");
        if (secret ? amqp_skip(&c.in) != OK : !text_add_value(t, &c.in, depth + 1))
            return false;
    }
    text_add(t, map ? "}" : "]");
    return true;
}

/* Proton's name of a type. */
static void add_type(struct text *t, enum amqp_type type)
{
    static const char *const names[] = {
#define X(name, text) [AMQP_TYPE_##name] = #name,
        AMQP_TYPES(X)
#undef X
    };
    text_add(t, "@PN_");
    text_add(t, type == AMQP_TYPE_BOOLEAN ? "BOOL" : names[type]);
    text_add(t, "[");
}

static bool add_array_element(struct text *t, struct amqp_array *a)
{
    struct slice element;
    if (amqp_array_next(a, &element) != OK)
        return false;
    enum amqp_type type = amqp_type_of(a->code);
    /* Nobody sends arrays of these; their size will do. */
    if (type == AMQP_TYPE_LIST || type == AMQP_TYPE_MAP || type == AMQP_TYPE_ARRAY)
        addf(t, "<%s of %zu octets>", amqp_type_name(type), element.len);
    else
        add_scalar(t, a->code, element.data, element.len);
    return true;
}

static bool add_array(struct text *t, struct amqp_reader *r, unsigned depth)
{
    struct amqp_array a;
    if (amqp_enter_array(r, &a) != OK)
        return false;
    add_type(t, amqp_type_of(a.code));
    bool first = true;
    if (a.descriptor.len) {
        struct amqp_reader d = amqp_slice_reader(a.descriptor);
        if (!text_add_value(t, &d, depth + 1))
            return false;
        first = false;
    }
    while (a.count && !t->cut) {
        if (!first)
            text_add(t, ", ");
        first = false;
        if (!add_array_element(t, &a))
            return false;
    }
    text_add(t, "]");
    return true;
}

/* "amqp:transfer:list" is shown as "transfer". */
static void add_composite_name(struct text *t, const struct amqp_composite *type)
{
    const char *from = strchr(type->symbol, ':') + 1;
    text_add(t, "@");
    text_add_octets(t, from, (size_t)(strrchr(type->symbol, ':') - from));
    addf(t, "(%" PRIu64 ") ", type->descriptor);
}

static bool add_described(struct text *t, struct amqp_reader *r, unsigned depth)
{
    struct amqp_reader descriptor = {r->at + 1, r->end};
    uint64_t code;
    if (amqp_read_descriptor(r, &code) != OK)
        return false;
    const struct amqp_composite *type = code == AMQP_DESC_UNKNOWN ? NULL : amqp_composite_of(code);
    if (!type) {
        text_add(t, "@");
        if (!text_add_value(t, &descriptor, depth + 1))
            return false;
        text_add(t, " ");
        return text_add_value(t, r, depth + 1);
    }
    add_composite_name(t, type);
    struct amqp_compound list;
    if (amqp_enter_list(r, &list) == OK)
        return add_items(t, list, type->field_count ? type : NULL, false, depth + 1);
    return text_add_value(t, r, depth + 1);
}

/* Add one value and step over it. Result: whether it made sense. */
bool text_add_value(struct text *t, struct amqp_reader *r, unsigned depth)
{
    int code = amqp_peek(r);
    if (code < 0 || depth > AMQP_DEPTH_MAX)
        return false;
    struct amqp_compound c;
    switch (amqp_type_of((uint8_t)code)) {
    case AMQP_TYPE_INVALID:
        return false;
    case AMQP_TYPE_DESCRIBED:
        return add_described(t, r, depth);
    case AMQP_TYPE_LIST:
        return amqp_enter_list(r, &c) == OK && add_items(t, c, NULL, false, depth);
    case AMQP_TYPE_MAP:
        return amqp_enter_map(r, &c) == OK && add_items(t, c, NULL, true, depth);
    case AMQP_TYPE_ARRAY:
        return add_array(t, r, depth);
    case AMQP_TYPE_BINARY:
    case AMQP_TYPE_STRING:
    case AMQP_TYPE_SYMBOL: {
        struct slice s;
        if (amqp_read_variable(r, (uint8_t)(code & ~0x10), (uint8_t)(code | 0x10), &s) != OK)
            return false;
        add_scalar(t, (uint8_t)code, s.data, s.len);
        return true;
    }
    default: {
        const uint8_t *from = r->at + 1;
        if (amqp_skip(r) != OK)
            return false;
        add_scalar(t, (uint8_t)code, from, (size_t)(r->at - from));
        return true;
    }
    }
}

struct text text_begin(char *out, size_t size, enum print_notation notation)
{
    ASSERT(size >= 4);
    return (struct text){out, out + size - 1, false, notation};
}

size_t text_finish(struct text *t, const char *out)
{
    if (t->cut)
        memcpy(t->at - 3, "...", 3);
    *t->at = 0;
    return (size_t)(t->at - out);
}

static void add_sensible(struct text *t, struct amqp_reader *r)
{
    if (!text_add_value(t, r, 0))
        text_add(t, "<malformed>");
}

size_t amqp_value_print(struct slice value, char *out, size_t size)
{
    struct text t = text_begin(out, size, PRINT_PROTON);
    struct amqp_reader r = amqp_slice_reader(value);
    if (value.len)
        add_sensible(&t, &r);
    return text_finish(&t, out);
}

static void add_payload(struct text *t, const struct amqp_reader *there, size_t whole)
{
    size_t n = amqp_left(there) < PAYLOAD_SHOWN ? amqp_left(there) : PAYLOAD_SHOWN;
    addf(t, " (%zu) ", whole);
    add_quoted(t, (struct slice){NULL, there->at, n});
    if (n < whole)
        text_add(t, "...");
}

static void add_frame(struct text *t, const char *arrow, const uint8_t *frame, size_t n)
{
    size_t size = amqp_get32(frame), body = frame[4] * 4u;
    addf(t, "%u %s ", amqp_get16(frame + 6), arrow);
    if (body < AMQP_FRAME_HEAD || body > size || body > n) {
        addf(t, "<malformed: size %zu, data offset %u>", size, frame[4]);
        return;
    }
    if (body == size) {
        text_add(t, "(EMPTY FRAME)");
        return;
    }
    struct amqp_reader r = amqp_reader(frame + body, (n < size ? n : size) - body);
    if (!text_add_value(t, &r, 0))
        text_add(t, "<malformed>");
    else if ((size_t)(r.at - frame) < size)
        add_payload(t, &r, size - (size_t)(r.at - frame));
}

size_t amqp_frame_print(uint64_t conn, bool incoming, const uint8_t *frame, size_t n, char *out, size_t size)
{
    struct text t = text_begin(out, size, PRINT_PROTON);
    const char *arrow = incoming ? "<-" : "->";
    addf(&t, "[C%" PRIu64 "]:", conn);
    if (n >= AMQP_FRAME_HEAD && memcmp(frame, "AMQP", 4) == 0) {
        static const char *const protocols[] = {"AMQP", "?", "TLS", "SASL"};
        addf(&t, "  %s %s", arrow, protocols[frame[4] < 4 ? frame[4] : 1]);
    } else if (n < AMQP_FRAME_HEAD) {
        addf(&t, "  %s <malformed: %zu octets>", arrow, n);
    } else {
        add_frame(&t, arrow, frame, n);
    }
    return text_finish(&t, out);
}
