#include "tools/client/value.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const type_names[] = {
#define X(name, type) name,
    VALUE_TYPES(X)
#undef X
};

const char value_type_names[] =
#define X(name, type) ", " name
    VALUE_TYPES(X)
#undef X
    ;

static bool type_lookup(const char *name, size_t length, enum value_type *out)
{
    for (int t = 0; t < VALUE_TYPE_COUNT; t++)
        if (strlen(type_names[t]) == length && strncmp(type_names[t], name, length) == 0) {
            *out = (enum value_type)t;
            return true;
        }
    return false;
}

bool value_type_parse(const char *name, enum value_type *out, struct fault *why)
{
    if (type_lookup(name, strlen(name), out))
        return true;
    return fault_set(why, "unknown type '%s': allowed are %s", name, value_type_names + 2);
}

static bool not_a(const char *text, enum value_type type, struct fault *why)
{
    return fault_set(why, "'%.200s' is not a %s", text, type_names[type]);
}

static bool parse_signed(const char *text, enum value_type type, unsigned bits, int64_t *out, struct fault *why)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 0);
    bool starts_well = isdigit((unsigned char)text[text[0] == '-']);
    int64_t limit = bits == 64 ? INT64_MAX : (INT64_C(1) << (bits - 1)) - 1;
    if (!starts_well || *end || errno || v > limit || v < -limit - 1)
        return not_a(text, type, why);
    *out = v;
    return true;
}

static bool parse_unsigned(const char *text, enum value_type type, unsigned bits, uint64_t *out, struct fault *why)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 0);
    if (!isdigit((unsigned char)text[0]) || *end || errno || (bits < 64 && v >> bits))
        return not_a(text, type, why);
    *out = v;
    return true;
}

static bool parse_bool(const char *text, bool *out, struct fault *why)
{
    *out = strcmp(text, "true") == 0;
    return *out || strcmp(text, "false") == 0 || fault_set(why, "'%.200s' is not a bool: write true or false", text);
}

static bool parse_double(const char *text, enum value_type type, double *out, struct fault *why)
{
    char *end;
    *out = strtod(text, &end);
    return (end != text && !*end && !isspace((unsigned char)text[0])) || not_a(text, type, why);
}

/* One Unicode character in UTF-8, or U+ and its number. */
static bool parse_char(const char *text, uint32_t *out, struct fault *why)
{
    if (strncmp(text, "U+", 2) == 0) {
        char *end;
        unsigned long v = strtoul(text + 2, &end, 16);
        *out = (uint32_t)v;
        return (isxdigit((unsigned char)text[2]) && !*end && v <= 0x10ffff) || not_a(text, VALUE_CHAR, why);
    }
    const unsigned char *p = (const unsigned char *)text;
    unsigned more = p[0] < 0x80 ? 0 : p[0] >= 0xf0 ? 3 : p[0] >= 0xe0 ? 2 : 1;
    uint32_t v = more ? p[0] & (0x3fu >> more) : p[0];
    for (unsigned i = 1; i <= more; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return not_a(text, VALUE_CHAR, why);
        v = v << 6 | (p[i] & 0x3fu);
    }
    *out = v;
    return (p[0] != '\0' && p[1 + more] == '\0') || not_a(text, VALUE_CHAR, why);
}

/* Hexadecimal digits, hyphens between bytes ignored: 8-4-4-4-12 of a UUID, or plain. At most max bytes. */
static bool parse_hex(const char *text, size_t max, uint8_t *out, size_t *count)
{
    *count = 0;
    while (*text) {
        if (*text == '-') {
            text++;
            continue;
        }
        if (*count == max || !isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]))
            return false;
        const char pair[] = {text[0], text[1], '\0'};
        out[(*count)++] = (uint8_t)strtoul(pair, NULL, 16);
        text += 2;
    }
    return true;
}

static bool put_binary(pn_data_t *data, const char *text, struct fault *why)
{
    if (strncmp(text, "0x", 2) != 0) {
        pn_data_put_binary(data, pn_bytes(strlen(text), text));
        return true;
    }
    size_t count;
    uint8_t *bytes = tool_alloc(strlen(text));
    bool ok = parse_hex(text + 2, strlen(text), bytes, &count);
    if (ok)
        pn_data_put_binary(data, pn_bytes(count, (const char *)bytes));
    free(bytes);
    return ok || fault_set(why, "'%.200s' is not a binary: after 0x write pairs of hexadecimal digits", text);
}

static bool put_uuid(pn_data_t *data, const char *text, struct fault *why)
{
    pn_uuid_t uuid;
    size_t count;
    if (!parse_hex(text, sizeof uuid.bytes, (uint8_t *)uuid.bytes, &count) || count != sizeof uuid.bytes)
        return not_a(text, VALUE_UUID, why);
    pn_data_put_uuid(data, uuid);
    return true;
}

static bool put_symbol(pn_data_t *data, const char *text, struct fault *why)
{
    /* Symbols are ASCII (AMQP 1.0 part 1.6.21, symbol). */
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p >= 0x80)
            return not_a(text, VALUE_SYMBOL, why);
    pn_data_put_symbol(data, pn_bytes(strlen(text), text));
    return true;
}

bool value_put(pn_data_t *data, enum value_type type, const char *text, struct fault *why)
{
    int64_t i = 0;
    uint64_t u = 0;
    double d = 0;
    uint32_t c = 0;
    bool b = false;
    switch (type) {
    case VALUE_STRING:
        return pn_data_put_string(data, pn_bytes(strlen(text), text)) == 0;
    case VALUE_NULL:
        return text[0] ? fault_set(why, "a null has no text, but '%.200s' was given", text) : !pn_data_put_null(data);
    case VALUE_BOOL:
        return parse_bool(text, &b, why) && !pn_data_put_bool(data, b);
    case VALUE_UBYTE:
        return parse_unsigned(text, type, 8, &u, why) && !pn_data_put_ubyte(data, (uint8_t)u);
    case VALUE_USHORT:
        return parse_unsigned(text, type, 16, &u, why) && !pn_data_put_ushort(data, (uint16_t)u);
    case VALUE_UINT:
        return parse_unsigned(text, type, 32, &u, why) && !pn_data_put_uint(data, (uint32_t)u);
    case VALUE_ULONG:
        return parse_unsigned(text, type, 64, &u, why) && !pn_data_put_ulong(data, u);
    case VALUE_BYTE:
        return parse_signed(text, type, 8, &i, why) && !pn_data_put_byte(data, (int8_t)i);
    case VALUE_SHORT:
        return parse_signed(text, type, 16, &i, why) && !pn_data_put_short(data, (int16_t)i);
    case VALUE_INT:
        return parse_signed(text, type, 32, &i, why) && !pn_data_put_int(data, (int32_t)i);
    case VALUE_LONG:
        return parse_signed(text, type, 64, &i, why) && !pn_data_put_long(data, i);
    case VALUE_TIMESTAMP:
        return parse_signed(text, type, 64, &i, why) && !pn_data_put_timestamp(data, i);
    case VALUE_FLOAT:
        return parse_double(text, type, &d, why) && !pn_data_put_float(data, (float)d);
    case VALUE_DOUBLE:
        return parse_double(text, type, &d, why) && !pn_data_put_double(data, d);
    case VALUE_CHAR:
        return parse_char(text, &c, why) && !pn_data_put_char(data, c);
    case VALUE_UUID:
        return put_uuid(data, text, why);
    case VALUE_SYMBOL:
        return put_symbol(data, text, why);
    case VALUE_BINARY:
        return put_binary(data, text, why);
    case VALUE_TYPE_COUNT:
        break;
    }
    abort();
}

/* A text that holds {n} is a value only once the number stands there; it is then checked when the message is made. */
static bool check_text(enum value_type type, const char *text, struct fault *why)
{
    if (strstr(text, "{n}"))
        return true;
    pn_data_t *scratch = pn_data(1);
    bool ok = value_put(scratch, type, text, why);
    pn_data_free(scratch);
    return ok;
}

static bool append(struct value_list *list, char *name, enum value_type type, const char *text, struct fault *why)
{
    if (!check_text(type, text, why)) {
        free(name);
        return false;
    }
    list->items = tool_grow(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] = (struct value){.name = name, .type = type, .text = tool_dup(text)};
    return true;
}

static bool has_name(const struct value_list *list, const char *name, size_t length)
{
    for (size_t i = 0; i < list->count; i++)
        if (strlen(list->items[i].name) == length && memcmp(list->items[i].name, name, length) == 0)
            return true;
    return false;
}

bool value_list_add_named(struct value_list *list, const char *text, struct fault *why)
{
    size_t length = strcspn(text, "=");
    if (text[length] == '\0')
        return fault_set(why, "'%s' has no '=': write NAME=TEXT or NAME:TYPE=TEXT", text);
    const char *colon = memrchr(text, ':', length);
    size_t name_length = colon ? (size_t)(colon - text) : length;
    enum value_type type = VALUE_STRING;
    if (colon && !type_lookup(colon + 1, length - name_length - 1, &type))
        return fault_set(
            why, "unknown type '%.*s' in '%s': allowed are %s; a name with a colon needs its type: %.*s:string=...",
            (int)(length - name_length - 1), colon + 1, text, value_type_names + 2, (int)length, text);
    if (name_length == 0)
        return fault_set(why, "'%s' has no name before the '='", text);
    if (has_name(list, text, name_length))
        return fault_set(why, "'%.*s' is given twice", (int)name_length, text);
    return append(list, tool_dup_n(text, name_length), type, text + length + 1, why);
}

bool value_list_add_plain(struct value_list *list, const char *text, struct fault *why)
{
    enum value_type type = VALUE_STRING;
    const char *colon = strchr(text, ':');
    if (colon && type_lookup(text, (size_t)(colon - text), &type))
        text = colon + 1;
    return append(list, NULL, type, text, why);
}

void value_list_fini(struct value_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].name);
        free(list->items[i].text);
    }
    free(list->items);
    *list = (struct value_list){0};
}
