#include "tools/client/print.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_LIMIT = 64 };

static void print_node(FILE *out, pn_data_t *data, enum print_style style, int depth);

/* Length of the UTF-8 character at p (RFC 3629 section 4, Syntax of UTF-8 Byte Sequences), 0 if there is none. */
static unsigned utf8_length(const unsigned char *p, size_t size)
{
    unsigned length = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (length == 0 || length > size)
        return 0;
    for (unsigned i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool surrogate = p[0] == 0xed && p[1] >= 0xa0;
    bool too_high = p[0] == 0xf4 && p[1] >= 0x90;
    return overlong || surrogate || too_high ? 0 : length;
}

static bool is_utf8(pn_bytes_t text)
{
    for (size_t i = 0; i < text.size;) {
        unsigned length = utf8_length((const unsigned char *)text.start + i, text.size - i);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

/* DEL and the C1 controls, U+0080 to U+009F, steer terminals as those below blank do. */
static bool is_control(const unsigned char *p, unsigned length)
{
    return (length == 1 && (p[0] < 0x20 || p[0] == 0x7f)) || (length == 2 && p[0] == 0xc2 && p[1] < 0xa0);
}

static void put_escaped(FILE *out, const unsigned char *p, unsigned length, enum print_style style)
{
    static const char named[] = "\b\f\n\r\t", letters[] = "bfnrt";
    const char *hit = length == 1 && p[0] ? strchr(named, p[0]) : NULL;
    /* Python has \b and \f too, and so may everyone. */
    if (hit)
        fprintf(out, "\\%c", letters[hit - named]);
    else
        fprintf(out, style == PRINT_JSON ? "\\u%04x" : "\\x%02x", length == 2 ? p[1] : p[0]);
}

/* Text between quotes, with nothing in it that the reader or a terminal would take for more than text. */
static void put_quoted(FILE *out, pn_bytes_t text, char quote, enum print_style style, bool bytes_only)
{
    const unsigned char *p = (const unsigned char *)text.start;
    fputc(quote, out);
    for (size_t i = 0; i < text.size;) {
        unsigned length = utf8_length(p + i, text.size - i);
        if (length == 0 || (bytes_only && length > 1)) {
            if (style == PRINT_JSON)
                fputs("\\ufffd", out);
            else
                fprintf(out, "\\x%02x", p[i]);
            i++;
            continue;
        }
        if (is_control(p + i, length)) {
            put_escaped(out, p + i, length, style);
        } else {
            if (p[i] == (unsigned char)quote || p[i] == '\\')
                fputc('\\', out);
            fwrite(p + i, 1, length, out);
        }
        i += length;
    }
    fputc(quote, out);
}

static void put_text(FILE *out, pn_bytes_t text, enum print_style style)
{
    put_quoted(out, text, style == PRINT_PYTHON ? '\'' : '"', style, false);
}

void print_json_text(FILE *out, const char *text)
{
    put_text(out, pn_bytes(strlen(text), text), PRINT_JSON);
}

static void put_base64(FILE *out, pn_bytes_t bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.size; i += 3) {
        uint32_t bits = 0;
        size_t have = bytes.size - i < 3 ? bytes.size - i : 3;
        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (k < have ? (unsigned char)bytes.start[i + k] : 0u);
        for (size_t k = 0; k < 4; k++)
            fputc(k <= have ? digits[bits >> (18 - 6 * k) & 63] : '=', out);
    }
}

static void put_binary(FILE *out, pn_bytes_t bytes, enum print_style style)
{
    if (style != PRINT_JSON) {
        fputc('b', out);
        put_quoted(out, bytes, style == PRINT_PYTHON ? '\'' : '"', style, true);
    } else if (is_utf8(bytes)) {
        put_text(out, bytes, style);
    } else {
        fputs("{\"base64\": \"", out);
        put_base64(out, bytes);
        fputs("\"}", out);
    }
}

static void put_real(FILE *out, double value, int digits, enum print_style style)
{
    if (isfinite(value)) {
        char text[40];
        snprintf(text, sizeof text, "%.*g", digits, value);
        fprintf(out, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
        return;
    }
    const char *name = isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
    if (style == PRINT_PYTHON)
        fprintf(out, "float('%s')", name);
    else
        fprintf(out, style == PRINT_JSON ? "\"%s\"" : "%s", name);
}

static void put_char(FILE *out, pn_char_t c, enum print_style style)
{
    unsigned char utf8[4];
    size_t length;
    if (c < 0x80) {
        utf8[0] = (unsigned char)c;
        length = 1;
    } else if (c < 0x800) {
        utf8[0] = (unsigned char)(0xc0 | c >> 6);
        length = 2;
    } else if (c < 0x10000) {
        utf8[0] = (unsigned char)(0xe0 | c >> 12);
        length = 3;
    } else {
        utf8[0] = (unsigned char)(0xf0 | (c >> 18 & 7));
        length = 4;
    }
    for (size_t i = 1; i < length; i++)
        utf8[i] = (unsigned char)(0x80 | (c >> 6 * (length - 1 - i) & 0x3f));
    put_text(out, pn_bytes(length, (const char *)utf8), style);
}

static void put_uuid(FILE *out, pn_uuid_t uuid, enum print_style style)
{
    char text[37], *to = text;
    for (int i = 0; i < 16; i++)
        to += sprintf(to, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", (unsigned char)uuid.bytes[i]);
    fprintf(out, style == PRINT_JSON ? "\"%s\"" : style == PRINT_PYTHON ? "UUID('%s')" : "%s", text);
}

/* Decimals have no text form of their own here: their bytes, as the standard encodes them. */
static void put_decimal(FILE *out, const char *bytes, size_t size, enum print_style style)
{
    if (style == PRINT_JSON) {
        fputs("{\"base64\": \"", out);
        put_base64(out, pn_bytes(size, bytes));
        fputs("\"}", out);
    } else {
        put_binary(out, pn_bytes(size, bytes), style);
    }
}

static void put_elements(FILE *out, pn_data_t *data, enum print_style style, int depth)
{
    fputc('[', out);
    pn_data_enter(data);
    for (bool first = true; pn_data_next(data); first = false) {
        fputs(first ? "" : ", ", out);
        print_node(out, data, style, depth);
    }
    pn_data_exit(data);
    fputc(']', out);
}

static bool is_text(pn_type_t type)
{
    return type == PN_STRING || type == PN_SYMBOL;
}

/* JSON has text keys only: another key is its own JSON text, as a string. */
static void put_json_key(FILE *out, pn_data_t *data, int depth)
{
    if (is_text(pn_data_type(data))) {
        print_node(out, data, PRINT_JSON, depth);
        return;
    }
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory) {
        fputs("\"?\"", out);
        return;
    }
    print_node(memory, data, PRINT_JSON, depth);
    fclose(memory);
    put_text(out, pn_bytes(size, text), PRINT_JSON);
    free(text);
}

static void put_map(FILE *out, pn_data_t *data, enum print_style style, int depth)
{
    fputc('{', out);
    pn_data_enter(data);
    for (bool first = true; pn_data_next(data); first = false) {
        fputs(first ? "" : ", ", out);
        if (style == PRINT_JSON)
            put_json_key(out, data, depth);
        else if (style == PRINT_HUMAN && is_text(pn_data_type(data)) && is_utf8(pn_data_get_bytes(data)))
            fwrite(pn_data_get_bytes(data).start, 1, pn_data_get_bytes(data).size, out);
        else
            print_node(out, data, style, depth);
        fputs(": ", out);
        /* A map of an odd number of items is malformed: the last key has no value. */
        if (!pn_data_next(data)) {
            fputs(style == PRINT_PYTHON ? "None" : "null", out);
            break;
        }
        print_node(out, data, style, depth);
    }
    pn_data_exit(data);
    fputc('}', out);
}

static void put_described(FILE *out, pn_data_t *data, enum print_style style, int depth)
{
    fputs(style == PRINT_JSON ? "{\"descriptor\": " : style == PRINT_PYTHON ? "Described(" : "@", out);
    pn_data_enter(data);
    if (pn_data_next(data))
        print_node(out, data, style, depth);
    fputs(style == PRINT_JSON ? ", \"value\": " : style == PRINT_PYTHON ? ", " : " ", out);
    if (pn_data_next(data))
        print_node(out, data, style, depth);
    pn_data_exit(data);
    fputs(style == PRINT_JSON ? "}" : style == PRINT_PYTHON ? ")" : "", out);
}

static void print_node(FILE *out, pn_data_t *data, enum print_style style, int depth)
{
    bool python = style == PRINT_PYTHON;
    if (depth >= DEPTH_LIMIT) {
        fputs(style == PRINT_HUMAN ? "..." : python ? "'...'" : "\"...\"", out);
        return;
    }
    depth++;
    switch (pn_data_type(data)) {
    case PN_BOOL:
        fputs(pn_data_get_bool(data) ? (python ? "True" : "true") : (python ? "False" : "false"), out);
        break;
    case PN_UBYTE:
        fprintf(out, "%u", pn_data_get_ubyte(data));
        break;
    case PN_BYTE:
        fprintf(out, "%d", pn_data_get_byte(data));
        break;
    case PN_USHORT:
        fprintf(out, "%u", pn_data_get_ushort(data));
        break;
    case PN_SHORT:
        fprintf(out, "%d", pn_data_get_short(data));
        break;
    case PN_UINT:
        fprintf(out, "%" PRIu32, pn_data_get_uint(data));
        break;
    case PN_INT:
        fprintf(out, "%" PRId32, pn_data_get_int(data));
        break;
    case PN_CHAR:
        put_char(out, pn_data_get_char(data), style);
        break;
    case PN_ULONG:
        fprintf(out, "%" PRIu64, pn_data_get_ulong(data));
        break;
    case PN_LONG:
        fprintf(out, "%" PRId64, pn_data_get_long(data));
        break;
    case PN_TIMESTAMP:
        fprintf(out, "%" PRId64, pn_data_get_timestamp(data));
        break;
    case PN_FLOAT:
        put_real(out, (double)pn_data_get_float(data), 9, style);
        break;
    case PN_DOUBLE:
        put_real(out, pn_data_get_double(data), 17, style);
        break;
    case PN_DECIMAL32: {
        pn_decimal32_t d = pn_data_get_decimal32(data);
        put_decimal(out, (const char *)&d, sizeof d, style);
        break;
    }
    case PN_DECIMAL64: {
        pn_decimal64_t d = pn_data_get_decimal64(data);
        put_decimal(out, (const char *)&d, sizeof d, style);
        break;
    }
    case PN_DECIMAL128: {
        pn_decimal128_t d = pn_data_get_decimal128(data);
        put_decimal(out, d.bytes, sizeof d.bytes, style);
        break;
    }
    case PN_UUID:
        put_uuid(out, pn_data_get_uuid(data), style);
        break;
    case PN_BINARY:
        put_binary(out, pn_data_get_binary(data), style);
        break;
    case PN_STRING:
    case PN_SYMBOL:
        put_text(out, pn_data_get_bytes(data), style);
        break;
    case PN_DESCRIBED:
        put_described(out, data, style, depth);
        break;
    case PN_ARRAY:
    case PN_LIST:
        put_elements(out, data, style, depth);
        break;
    case PN_MAP:
        put_map(out, data, style, depth);
        break;
    case PN_NULL:
    case PN_INVALID:
        fputs(python ? "None" : "null", out);
        break;
    }
}

void print_value(FILE *out, pn_data_t *data, enum print_style style)
{
    print_node(out, data, style, 0);
}

/* ---- messages: each style is a way to open, name and close fields ---- */

struct fields {
    FILE *out;
    enum print_style style;
    bool any;
};

static void field(struct fields *f, const char *name)
{
    switch (f->style) {
    case PRINT_HUMAN:
        fprintf(f->out, "\n  %s: ", name);
        break;
    case PRINT_JSON:
        fprintf(f->out, "%s\"%s\": ", f->any ? ", " : "", name);
        break;
    case PRINT_PYTHON:
        fprintf(f->out, "%s%s=", f->any ? ", " : "", name);
        break;
    }
    f->any = true;
}

static void text_field(struct fields *f, const char *name, const char *text)
{
    if (!text)
        return;
    field(f, name);
    put_text(f->out, pn_bytes(strlen(text), text), f->style);
}

static void number_field(struct fields *f, const char *name, int64_t value, int64_t unset)
{
    if (value == unset)
        return;
    field(f, name);
    fprintf(f->out, "%" PRId64, value);
}

static void true_field(struct fields *f, const char *name, bool value)
{
    if (!value)
        return;
    field(f, name);
    fputs(f->style == PRINT_PYTHON ? "True" : "true", f->out);
}

static void value_field(struct fields *f, const char *name, pn_data_t *data)
{
    pn_data_rewind(data);
    if (!pn_data_next(data) || pn_data_type(data) == PN_NULL)
        return;
    field(f, name);
    print_value(f->out, data, f->style);
}

static void head_fields(struct fields *f, pn_message_t *m)
{
    value_field(f, "id", pn_message_id(m));
    pn_bytes_t user_id = pn_message_get_user_id(m);
    if (user_id.size) {
        field(f, "user_id");
        put_text(f->out, user_id, f->style);
    }
    text_field(f, "address", pn_message_get_address(m));
    text_field(f, "subject", pn_message_get_subject(m));
    text_field(f, "reply_to", pn_message_get_reply_to(m));
    value_field(f, "correlation_id", pn_message_correlation_id(m));
    text_field(f, "content_type", pn_message_get_content_type(m));
    text_field(f, "content_encoding", pn_message_get_content_encoding(m));
    number_field(f, "expiry_time", pn_message_get_expiry_time(m), 0);
    number_field(f, "creation_time", pn_message_get_creation_time(m), 0);
    text_field(f, "group_id", pn_message_get_group_id(m));
    number_field(f, "group_sequence", (uint32_t)pn_message_get_group_sequence(m), 0);
    text_field(f, "reply_to_group_id", pn_message_get_reply_to_group_id(m));
    true_field(f, "durable", pn_message_is_durable(m));
    number_field(f, "priority", pn_message_get_priority(m), 4); /* the default, part 3.2.1, Header */
    number_field(f, "ttl", pn_message_get_ttl(m), 0);
    true_field(f, "first_acquirer", pn_message_is_first_acquirer(m));
    number_field(f, "delivery_count", pn_message_get_delivery_count(m), 0);
    value_field(f, "instructions", pn_message_instructions(m));
    value_field(f, "annotations", pn_message_annotations(m));
    value_field(f, "properties", pn_message_properties(m));
}

/* A message without a body printed '' in drain, too. */
static void put_content(FILE *out, const struct print_body *body, enum print_style style)
{
    switch (body->kind) {
    case PRINT_BODY_NONE:
        fputs(style == PRINT_HUMAN ? "" : style == PRINT_JSON ? "null" : "''", out);
        break;
    case PRINT_BODY_DATA:
        put_binary(out, body->bytes, style);
        break;
    case PRINT_BODY_VALUE:
        pn_data_rewind(body->values);
        pn_data_next(body->values);
        print_value(out, body->values, style);
        break;
    case PRINT_BODY_SEQUENCE: {
        pn_data_rewind(body->values);
        const char *separator = "";
        while (pn_data_next(body->values)) {
            fputs(separator, out);
            print_value(out, body->values, style);
            separator = style == PRINT_PYTHON ? " + " : ", ";
        }
        break;
    }
    }
}

void print_one_message(FILE *out, pn_message_t *head, const struct print_body *body, const struct print_origin *origin,
                       enum print_style style)
{
    static const char *const kinds[] = {"none", "data", "value", "sequence"};
    struct fields f = {.out = out, .style = style};
    switch (style) {
    case PRINT_HUMAN:
        fprintf(out, "message %" PRIu64, origin->number);
        if (origin->address) {
            fputs(" from ", out);
            put_text(out, pn_bytes(strlen(origin->address), origin->address), style);
        }
        break;
    case PRINT_JSON:
        fprintf(out, "{\"number\": %" PRIu64, origin->number);
        f.any = true;
        text_field(&f, "source", origin->address);
        break;
    case PRINT_PYTHON:
        fputs("Message(", out);
        break;
    }
    head_fields(&f, head);
    if (style == PRINT_JSON)
        text_field(&f, "body", kinds[body->kind]);
    field(&f, "content");
    /* Several sequence sections are several lists. */
    bool lists = style == PRINT_JSON && body->kind == PRINT_BODY_SEQUENCE;
    fputs(lists ? "[" : "", out);
    put_content(out, body, style);
    fputs(lists ? "]" : "", out);
    fputs(style == PRINT_JSON ? "}\n" : style == PRINT_PYTHON ? ")\n" : "\n", out);
}
