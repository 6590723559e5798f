/* codec.h -- AMQP 1.0 encoded values, read and written in place (AMQP 1.0 part 1, Types).
 *
 * A reader walks over a range of octets that somebody else owns; it allocates nothing and never looks beyond its end. A
 * writer fills the caller's memory and goes on counting when that is too small, so that one run with no memory tells
 * the size.
 *
 * An encoded value is a constructor octet (its "code") and, by the code's high four bits (part 1.2, Type Encodings):
 *   4x 5x 6x 7x 8x 9x   0, 1, 2, 4, 8, 16 octets
 *   ax bx               size (1, 4 octets), then so many octets
 *   cx dx               size, count (1, 4 octets each), then count values; size counts from after itself
 *   ex fx               size, count, one constructor, then count values without constructors
 *   00                  a described value: the descriptor, any value (for us: ulong or symbol), then the value itself
 *
 * Results of all readers:
 *   OK             the reader has moved past the value.
 *   ERR_TRUNCATED  the range ends within the value. In a whole frame this is the peer's fault (amqp:decode-error).
 *   ERR_INVALID    another type, an unknown code, or a size that does not fit what it encloses.
 * On an error the reader stands where it stood, and out-parameters are not set. Slices that come out are borrowed from
 * the range: their `buf` is NULL.
 *
 * Thread: any; no state but what the caller holds.
 */
#ifndef TRUNKLINE_AMQP_CODEC_H
#define TRUNKLINE_AMQP_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <trunkline/base/buffer.h>
#include <trunkline/base/err.h>

/* X(name, type, code): all encodings of all primitive types (part 1.6, Primitive Type Definitions).
 * Category and width follow from the code, see above. */
#define AMQP_ENCODINGS(X)                                                                                              \
    X(NULL, NULL, 0x40)                                                                                                \
    X(TRUE, BOOLEAN, 0x41)                                                                                             \
    X(FALSE, BOOLEAN, 0x42)                                                                                            \
    X(BOOLEAN, BOOLEAN, 0x56)                                                                                          \
    X(UBYTE, UBYTE, 0x50)                                                                                              \
    X(USHORT, USHORT, 0x60)                                                                                            \
    X(UINT, UINT, 0x70)                                                                                                \
    X(SMALLUINT, UINT, 0x52)                                                                                           \
    X(UINT0, UINT, 0x43)                                                                                               \
    X(ULONG, ULONG, 0x80)                                                                                              \
    X(SMALLULONG, ULONG, 0x53)                                                                                         \
    X(ULONG0, ULONG, 0x44)                                                                                             \
    X(BYTE, BYTE, 0x51)                                                                                                \
    X(SHORT, SHORT, 0x61)                                                                                              \
    X(INT, INT, 0x71)                                                                                                  \
    X(SMALLINT, INT, 0x54)                                                                                             \
    X(LONG, LONG, 0x81)                                                                                                \
    X(SMALLLONG, LONG, 0x55)                                                                                           \
    X(FLOAT, FLOAT, 0x72)                                                                                              \
    X(DOUBLE, DOUBLE, 0x82)                                                                                            \
    X(DECIMAL32, DECIMAL32, 0x74)                                                                                      \
    X(DECIMAL64, DECIMAL64, 0x84)                                                                                      \
    X(DECIMAL128, DECIMAL128, 0x94)                                                                                    \
    X(CHAR, CHAR, 0x73)                                                                                                \
    X(TIMESTAMP, TIMESTAMP, 0x83)                                                                                      \
    X(UUID, UUID, 0x98)                                                                                                \
    X(VBIN8, BINARY, 0xa0)                                                                                             \
    X(VBIN32, BINARY, 0xb0)                                                                                            \
    X(STR8, STRING, 0xa1)                                                                                              \
    X(STR32, STRING, 0xb1)                                                                                             \
    X(SYM8, SYMBOL, 0xa3)                                                                                              \
    X(SYM32, SYMBOL, 0xb3)                                                                                             \
    X(LIST0, LIST, 0x45)                                                                                               \
    X(LIST8, LIST, 0xc0)                                                                                               \
    X(LIST32, LIST, 0xd0)                                                                                              \
    X(MAP8, MAP, 0xc1)                                                                                                 \
    X(MAP32, MAP, 0xd1)                                                                                                \
    X(ARRAY8, ARRAY, 0xe0)                                                                                             \
    X(ARRAY32, ARRAY, 0xf0)

enum amqp_code {
    AMQP_CODE_DESCRIBED = 0x00,
#define X(name, type, code) AMQP_CODE_##name = code,
    AMQP_ENCODINGS(X)
#undef X
};

/* X(name, text) */
#define AMQP_TYPES(X)                                                                                                  \
    X(NULL, "null")                                                                                                    \
    X(BOOLEAN, "boolean")                                                                                              \
    X(UBYTE, "ubyte")                                                                                                  \
    X(USHORT, "ushort")                                                                                                \
    X(UINT, "uint")                                                                                                    \
    X(ULONG, "ulong")                                                                                                  \
    X(BYTE, "byte")                                                                                                    \
    X(SHORT, "short")                                                                                                  \
    X(INT, "int")                                                                                                      \
    X(LONG, "long")                                                                                                    \
    X(FLOAT, "float")                                                                                                  \
    X(DOUBLE, "double")                                                                                                \
    X(DECIMAL32, "decimal32")                                                                                          \
    X(DECIMAL64, "decimal64")                                                                                          \
    X(DECIMAL128, "decimal128")                                                                                        \
    X(CHAR, "char")                                                                                                    \
    X(TIMESTAMP, "timestamp")                                                                                          \
    X(UUID, "uuid")                                                                                                    \
    X(BINARY, "binary")                                                                                                \
    X(STRING, "string")                                                                                                \
    X(SYMBOL, "symbol")                                                                                                \
    X(LIST, "list")                                                                                                    \
    X(MAP, "map")                                                                                                      \
    X(ARRAY, "array")                                                                                                  \
    X(DESCRIBED, "described")

enum amqp_type {
    AMQP_TYPE_INVALID, /* no encoding has this code */
#define X(name, text) AMQP_TYPE_##name,
    AMQP_TYPES(X)
#undef X
};

/* How deep values may lie in each other: far beyond what anybody means. */
#define AMQP_DEPTH_MAX 32

/* The type whose encoding has this code. */
enum amqp_type amqp_type_of(uint8_t code);
/* Its name; never NULL. */
const char *amqp_type_name(enum amqp_type t);

/* ---- big-endian numbers ---- */

static inline uint16_t amqp_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t amqp_get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return __builtin_bswap32(v);
}
static inline uint64_t amqp_get64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return __builtin_bswap64(v);
}
static inline void amqp_put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void amqp_put32(uint8_t *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, 4);
}
static inline void amqp_put64(uint8_t *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, 8);
}

/* ---- reading ---- */

struct amqp_reader {
    const uint8_t *at, *end;
};

static inline struct amqp_reader amqp_reader(const void *octets, size_t n)
{
    return (struct amqp_reader){octets, n ? (const uint8_t *)octets + n : octets};
}
static inline struct amqp_reader amqp_slice_reader(struct slice s)
{
    return amqp_reader(s.data, s.len);
}
static inline size_t amqp_left(const struct amqp_reader *r)
{
    return (size_t)(r->end - r->at);
}
/* The code of the next value, or -1 at the end. */
static inline int amqp_peek(const struct amqp_reader *r)
{
    return r->at == r->end ? -1 : *r->at;
}

/* Whether the next value is null; if so, step over it. */
static inline bool amqp_read_null(struct amqp_reader *r)
{
    if (amqp_peek(r) != AMQP_CODE_NULL)
        return false;
    r->at++;
    return true;
}

static inline enum err amqp_read_bool(struct amqp_reader *r, bool *v)
{
    size_t left = amqp_left(r);
    if (left == 0)
        return ERR_TRUNCATED;
    switch (r->at[0]) {
    case AMQP_CODE_TRUE:
    case AMQP_CODE_FALSE:
        *v = r->at[0] == AMQP_CODE_TRUE;
        r->at += 1;
        return OK;
    case AMQP_CODE_BOOLEAN:
        if (left < 2)
            return ERR_TRUNCATED;
        if (r->at[1] > 1)
            return ERR_INVALID;
        *v = r->at[1];
        r->at += 2;
        return OK;
    default:
        return ERR_INVALID;
    }
}

static inline enum err amqp_read_ubyte(struct amqp_reader *r, uint8_t *v)
{
    size_t left = amqp_left(r);
    if (left == 0)
        return ERR_TRUNCATED;
    if (r->at[0] != AMQP_CODE_UBYTE)
        return ERR_INVALID;
    if (left < 2)
        return ERR_TRUNCATED;
    *v = r->at[1];
    r->at += 2;
    return OK;
}

static inline enum err amqp_read_ushort(struct amqp_reader *r, uint16_t *v)
{
    size_t left = amqp_left(r);
    if (left == 0)
        return ERR_TRUNCATED;
    if (r->at[0] != AMQP_CODE_USHORT)
        return ERR_INVALID;
    if (left < 3)
        return ERR_TRUNCATED;
    *v = amqp_get16(r->at + 1);
    r->at += 3;
    return OK;
}

static inline enum err amqp_read_uint(struct amqp_reader *r, uint32_t *v)
{
    size_t left = amqp_left(r);
    if (left == 0)
        return ERR_TRUNCATED;
    switch (r->at[0]) {
    case AMQP_CODE_SMALLUINT:
        if (left < 2)
            return ERR_TRUNCATED;
        *v = r->at[1];
        r->at += 2;
        return OK;
    case AMQP_CODE_UINT0:
        *v = 0;
        r->at += 1;
        return OK;
    case AMQP_CODE_UINT:
        if (left < 5)
            return ERR_TRUNCATED;
        *v = amqp_get32(r->at + 1);
        r->at += 5;
        return OK;
    default:
        return ERR_INVALID;
    }
}

static inline enum err amqp_read_ulong(struct amqp_reader *r, uint64_t *v)
{
    size_t left = amqp_left(r);
    if (left == 0)
        return ERR_TRUNCATED;
    switch (r->at[0]) {
    case AMQP_CODE_SMALLULONG:
        if (left < 2)
            return ERR_TRUNCATED;
        *v = r->at[1];
        r->at += 2;
        return OK;
    case AMQP_CODE_ULONG0:
        *v = 0;
        r->at += 1;
        return OK;
    case AMQP_CODE_ULONG:
        if (left < 9)
            return ERR_TRUNCATED;
        *v = amqp_get64(r->at + 1);
        r->at += 9;
        return OK;
    default:
        return ERR_INVALID;
    }
}

enum err amqp_read_byte(struct amqp_reader *r, int8_t *v);
enum err amqp_read_short(struct amqp_reader *r, int16_t *v);
enum err amqp_read_int(struct amqp_reader *r, int32_t *v);
enum err amqp_read_long(struct amqp_reader *r, int64_t *v);
enum err amqp_read_float(struct amqp_reader *r, float *v);
enum err amqp_read_double(struct amqp_reader *r, double *v);
/* A UTF-32 character. ERR_INVALID: beyond U+10FFFF or a surrogate. */
enum err amqp_read_char(struct amqp_reader *r, uint32_t *v);
/* Units: milliseconds since 1970-01-01 UTC. */
enum err amqp_read_timestamp(struct amqp_reader *r, int64_t *v);
/* Result: 16 octets inside the range. */
enum err amqp_read_uuid(struct amqp_reader *r, const uint8_t **v);
/* An integer of any signed or unsigned type whose value fits; for maps whose writers choose types loosely. */
enum err amqp_read_integer(struct amqp_reader *r, int64_t *v);

/* A value of variable width, by its 8 and 32 bit codes. */
static inline enum err amqp_read_variable(struct amqp_reader *r, uint8_t code8, uint8_t code32, struct slice *v)
{
    size_t left = amqp_left(r);
    if (left == 0)
        return ERR_TRUNCATED;
    size_t head, n;
    if (r->at[0] == code8) {
        if (left < 2)
            return ERR_TRUNCATED;
        head = 2;
        n = r->at[1];
    } else if (r->at[0] == code32) {
        if (left < 5)
            return ERR_TRUNCATED;
        head = 5;
        n = amqp_get32(r->at + 1);
    } else {
        return ERR_INVALID;
    }
    if (left - head < n)
        return ERR_TRUNCATED;
    *v = (struct slice){NULL, r->at + head, n};
    r->at += head + n;
    return OK;
}
static inline enum err amqp_read_binary(struct amqp_reader *r, struct slice *v)
{
    return amqp_read_variable(r, AMQP_CODE_VBIN8, AMQP_CODE_VBIN32, v);
}
/* The octets are not checked to be UTF-8 (they are passed on as they came) and may contain NUL. */
static inline enum err amqp_read_string(struct amqp_reader *r, struct slice *v)
{
    return amqp_read_variable(r, AMQP_CODE_STR8, AMQP_CODE_STR32, v);
}
static inline enum err amqp_read_symbol(struct amqp_reader *r, struct slice *v)
{
    return amqp_read_variable(r, AMQP_CODE_SYM8, AMQP_CODE_SYM32, v);
}
/* A string or a symbol: map keys and addresses come as either. */
enum err amqp_read_text(struct amqp_reader *r, struct slice *v);
/* Whether the octets are exactly this text. */
static inline bool amqp_slice_is(struct slice s, const char *text)
{
    size_t n = strlen(text);
    return s.len == n && (n == 0 || memcmp(s.data, text, n) == 0);
}

/* A list's or map's content. Its reader ends where the content ends, so that nothing inside can reach out. */
struct amqp_compound {
    struct amqp_reader in;
    uint32_t count; /* values inside; of a map, keys and values together: always even */
};

/* Step over a list or map by its codes and size, and look inside. ERR_INVALID also: more values than octets. */
static inline enum err amqp_enter_compound(struct amqp_reader *r, uint8_t code8, uint8_t code32,
                                           struct amqp_compound *c)
{
    size_t left = amqp_left(r);
    if (left == 0)
        return ERR_TRUNCATED;
    size_t head, n;
    uint32_t count;
    if (r->at[0] == code8) {
        if (left < 3)
            return ERR_TRUNCATED;
        if (r->at[1] < 1)
            return ERR_INVALID;
        head = 3;
        n = r->at[1] - 1u;
        count = r->at[2];
    } else if (r->at[0] == code32) {
        if (left < 9)
            return ERR_TRUNCATED;
        n = amqp_get32(r->at + 1);
        if (n < 4)
            return ERR_INVALID;
        head = 9;
        n -= 4;
        count = amqp_get32(r->at + 5);
    } else {
        return ERR_INVALID;
    }
    /* Each value has at least its code. */
    if (count > n)
        return ERR_INVALID;
    if (left - head < n)
        return ERR_TRUNCATED;
    *c = (struct amqp_compound){{r->at + head, r->at + head + n}, count};
    r->at += head + n;
    return OK;
}
static inline enum err amqp_enter_list(struct amqp_reader *r, struct amqp_compound *c)
{
    if (amqp_peek(r) == AMQP_CODE_LIST0) {
        r->at++;
        *c = (struct amqp_compound){{r->at, r->at}, 0};
        return OK;
    }
    return amqp_enter_compound(r, AMQP_CODE_LIST8, AMQP_CODE_LIST32, c);
}
static inline enum err amqp_enter_map(struct amqp_reader *r, struct amqp_compound *c)
{
    struct amqp_reader copy = *r;
    struct amqp_compound m;
    enum err e = amqp_enter_compound(&copy, AMQP_CODE_MAP8, AMQP_CODE_MAP32, &m);
    if (e != OK)
        return e;
    if (m.count % 2)
        return ERR_INVALID;
    *r = copy;
    *c = m;
    return OK;
}

/* An array's content: `count` values of one constructor, without their codes. */
struct amqp_array {
    struct amqp_reader in;
    struct slice descriptor; /* of the constructor, encoded; empty: elements are not described */
    uint8_t code;            /* of the elements, never AMQP_CODE_DESCRIBED */
    uint32_t count;          /* fits the octets, but for codes of width 0: any 32 bit number, so loop with care */
};
enum err amqp_enter_array(struct amqp_reader *r, struct amqp_array *a);
/* The next element, as the octets after its code. ERR_NOT_FOUND: there is none left. Variable-width elements: without
 * the size. */
enum err amqp_array_next(struct amqp_array *a, struct slice *element);

/* Step over one value, whatever it is. Sizes are held against the range, the inside of lists, maps and arrays is not
 * looked at. */
enum err amqp_skip(struct amqp_reader *r);

/* Step over one value that is well-formed throughout: every value inside has a known code and lies inside what encloses
 * it, sizes and counts are exact. What is passed on to another peer must be, or one client could break the connection
 * of another. Errors: ERR_INVALID also when values lie deeper in each other than AMQP_DEPTH_MAX. */
enum err amqp_check(struct amqp_reader *r);
/* The same for a value that lies so deep in another, for one that takes them one by one. */
enum err amqp_check_inside(struct amqp_reader *r, unsigned depth);

/* amqp_check() whose octets come out. */
static inline enum err amqp_read_raw(struct amqp_reader *r, struct slice *v)
{
    const uint8_t *from = r->at;
    enum err e = OK;
    /* A described empty list: what nearly every disposition carries. */
    if (amqp_left(r) >= 4 && from[0] == AMQP_CODE_DESCRIBED && from[1] == AMQP_CODE_SMALLULONG &&
        from[3] == AMQP_CODE_LIST0)
        r->at += 4;
    else
        e = amqp_check(r);
    if (e == OK)
        *v = (struct slice){NULL, from, (size_t)(r->at - from)};
    return e;
}

/* ---- described values ---- */

/* X(name, code, symbol): the descriptors of the specification, all of domain 0. */
#define AMQP_DESCRIPTORS(X)                                                                                            \
    X(OPEN, 0x10, "amqp:open:list")                                                                                    \
    X(BEGIN, 0x11, "amqp:begin:list")                                                                                  \
    X(ATTACH, 0x12, "amqp:attach:list")                                                                                \
    X(FLOW, 0x13, "amqp:flow:list")                                                                                    \
    X(TRANSFER, 0x14, "amqp:transfer:list")                                                                            \
    X(DISPOSITION, 0x15, "amqp:disposition:list")                                                                      \
    X(DETACH, 0x16, "amqp:detach:list")                                                                                \
    X(END, 0x17, "amqp:end:list")                                                                                      \
    X(CLOSE, 0x18, "amqp:close:list")                                                                                  \
    X(ERROR, 0x1d, "amqp:error:list")                                                                                  \
    X(RECEIVED, 0x23, "amqp:received:list")                                                                            \
    X(ACCEPTED, 0x24, "amqp:accepted:list")                                                                            \
    X(REJECTED, 0x25, "amqp:rejected:list")                                                                            \
    X(RELEASED, 0x26, "amqp:released:list")                                                                            \
    X(MODIFIED, 0x27, "amqp:modified:list")                                                                            \
    X(SOURCE, 0x28, "amqp:source:list")                                                                                \
    X(TARGET, 0x29, "amqp:target:list")                                                                                \
    X(DELETE_ON_CLOSE, 0x2b, "amqp:delete-on-close:list")                                                              \
    X(DELETE_ON_NO_LINKS, 0x2c, "amqp:delete-on-no-links:list")                                                        \
    X(DELETE_ON_NO_MESSAGES, 0x2d, "amqp:delete-on-no-messages:list")                                                  \
    X(DELETE_ON_NO_LINKS_OR_MESSAGES, 0x2e, "amqp:delete-on-no-links-or-messages:list")                                \
    X(COORDINATOR, 0x30, "amqp:coordinator:list")                                                                      \
    X(DECLARE, 0x31, "amqp:declare:list")                                                                              \
    X(DISCHARGE, 0x32, "amqp:discharge:list")                                                                          \
    X(DECLARED, 0x33, "amqp:declared:list")                                                                            \
    X(TRANSACTIONAL_STATE, 0x34, "amqp:transactional-state:list")                                                      \
    X(SASL_MECHANISMS, 0x40, "amqp:sasl-mechanisms:list")                                                              \
    X(SASL_INIT, 0x41, "amqp:sasl-init:list")                                                                          \
    X(SASL_CHALLENGE, 0x42, "amqp:sasl-challenge:list")                                                                \
    X(SASL_RESPONSE, 0x43, "amqp:sasl-response:list")                                                                  \
    X(SASL_OUTCOME, 0x44, "amqp:sasl-outcome:list")                                                                    \
    X(HEADER, 0x70, "amqp:header:list")                                                                                \
    X(DELIVERY_ANNOTATIONS, 0x71, "amqp:delivery-annotations:map")                                                     \
    X(MESSAGE_ANNOTATIONS, 0x72, "amqp:message-annotations:map")                                                       \
    X(PROPERTIES, 0x73, "amqp:properties:list")                                                                        \
    X(APPLICATION_PROPERTIES, 0x74, "amqp:application-properties:map")                                                 \
    X(DATA, 0x75, "amqp:data:binary")                                                                                  \
    X(AMQP_SEQUENCE, 0x76, "amqp:amqp-sequence:list")                                                                  \
    X(AMQP_VALUE, 0x77, "amqp:amqp-value:*")                                                                           \
    X(FOOTER, 0x78, "amqp:footer:map")

enum amqp_descriptor {
#define X(name, code, symbol) AMQP_DESC_##name = code,
    AMQP_DESCRIPTORS(X)
#undef X
};
/* A descriptor that is no number and no symbol of the table. */
#define AMQP_DESC_UNKNOWN UINT64_MAX

/* amqp_read_descriptor() for what is not the usual three octets. */
enum err amqp_read_descriptor_slowly(struct amqp_reader *r, uint64_t *descriptor);

/* Step over the 00 and descriptor of a described value, onto the value itself. Symbols of the table come out as its
 * numbers. Errors: ERR_INVALID, the next value is not a described one. */
static inline enum err amqp_read_descriptor(struct amqp_reader *r, uint64_t *descriptor)
{
    if (amqp_left(r) >= 3 && r->at[0] == AMQP_CODE_DESCRIBED && r->at[1] == AMQP_CODE_SMALLULONG) {
        *descriptor = r->at[2];
        r->at += 3;
        return OK;
    }
    return amqp_read_descriptor_slowly(r, descriptor);
}

/* ---- writing ---- */

/* Octets beyond `capacity` are counted and not stored. With capacity 0 a run measures; memory of the measured length
 * then suffices. */
struct amqp_writer {
    uint8_t *base;
    size_t capacity;
    size_t len; /* octets needed so far */
};

static inline struct amqp_writer amqp_writer(void *memory, size_t capacity)
{
    return (struct amqp_writer){memory, capacity, 0};
}
/* Whether all of it was stored. */
static inline bool amqp_writer_fits(const struct amqp_writer *w)
{
    return w->len <= w->capacity;
}

/* Room for n octets at the end, or NULL when they only count, as all do in a writer without memory. */
static inline uint8_t *amqp_writer_room(struct amqp_writer *w, size_t n)
{
    uint8_t *p = w->base && w->len + n <= w->capacity ? w->base + w->len : NULL;
    w->len += n;
    return p;
}
static inline void amqp_write_octet(struct amqp_writer *w, uint8_t v)
{
    uint8_t *p = amqp_writer_room(w, 1);
    if (p)
        p[0] = v;
}
static inline void amqp_write_octet2(struct amqp_writer *w, uint8_t code, uint8_t v)
{
    uint8_t *p = amqp_writer_room(w, 2);
    if (p) {
        p[0] = code;
        p[1] = v;
    }
}
static inline void amqp_write_code16(struct amqp_writer *w, uint8_t code, uint16_t v)
{
    uint8_t *p = amqp_writer_room(w, 3);
    if (p) {
        p[0] = code;
        amqp_put16(p + 1, v);
    }
}
static inline void amqp_write_code32(struct amqp_writer *w, uint8_t code, uint32_t v)
{
    uint8_t *p = amqp_writer_room(w, 5);
    if (p) {
        p[0] = code;
        amqp_put32(p + 1, v);
    }
}
static inline void amqp_write_code64(struct amqp_writer *w, uint8_t code, uint64_t v)
{
    uint8_t *p = amqp_writer_room(w, 9);
    if (p) {
        p[0] = code;
        amqp_put64(p + 1, v);
    }
}
/* Octets as they are: values encoded elsewhere. */
static inline void amqp_write_raw(struct amqp_writer *w, const void *octets, size_t n)
{
    uint8_t *p = amqp_writer_room(w, n);
    if (p && n)
        memcpy(p, octets, n);
}

static inline void amqp_write_null(struct amqp_writer *w)
{
    amqp_write_octet(w, AMQP_CODE_NULL);
}
static inline void amqp_write_bool(struct amqp_writer *w, bool v)
{
    amqp_write_octet(w, v ? AMQP_CODE_TRUE : AMQP_CODE_FALSE);
}
static inline void amqp_write_ubyte(struct amqp_writer *w, uint8_t v)
{
    amqp_write_octet2(w, AMQP_CODE_UBYTE, v);
}
static inline void amqp_write_ushort(struct amqp_writer *w, uint16_t v)
{
    amqp_write_code16(w, AMQP_CODE_USHORT, v);
}
static inline void amqp_write_uint(struct amqp_writer *w, uint32_t v)
{
    if (v == 0)
        amqp_write_octet(w, AMQP_CODE_UINT0);
    else if (v <= 255)
        amqp_write_octet2(w, AMQP_CODE_SMALLUINT, (uint8_t)v);
    else
        amqp_write_code32(w, AMQP_CODE_UINT, v);
}
static inline void amqp_write_ulong(struct amqp_writer *w, uint64_t v)
{
    if (v == 0)
        amqp_write_octet(w, AMQP_CODE_ULONG0);
    else if (v <= 255)
        amqp_write_octet2(w, AMQP_CODE_SMALLULONG, (uint8_t)v);
    else
        amqp_write_code64(w, AMQP_CODE_ULONG, v);
}
static inline void amqp_write_byte(struct amqp_writer *w, int8_t v)
{
    amqp_write_octet2(w, AMQP_CODE_BYTE, (uint8_t)v);
}
static inline void amqp_write_short(struct amqp_writer *w, int16_t v)
{
    amqp_write_code16(w, AMQP_CODE_SHORT, (uint16_t)v);
}
static inline void amqp_write_int(struct amqp_writer *w, int32_t v)
{
    if (v >= -128 && v <= 127)
        amqp_write_octet2(w, AMQP_CODE_SMALLINT, (uint8_t)v);
    else
        amqp_write_code32(w, AMQP_CODE_INT, (uint32_t)v);
}
static inline void amqp_write_long(struct amqp_writer *w, int64_t v)
{
    if (v >= -128 && v <= 127)
        amqp_write_octet2(w, AMQP_CODE_SMALLLONG, (uint8_t)v);
    else
        amqp_write_code64(w, AMQP_CODE_LONG, (uint64_t)v);
}
static inline void amqp_write_timestamp(struct amqp_writer *w, int64_t ms)
{
    amqp_write_code64(w, AMQP_CODE_TIMESTAMP, (uint64_t)ms);
}
static inline void amqp_write_char(struct amqp_writer *w, uint32_t v)
{
    amqp_write_code32(w, AMQP_CODE_CHAR, v);
}
void amqp_write_float(struct amqp_writer *w, float v);
void amqp_write_double(struct amqp_writer *w, double v);
void amqp_write_uuid(struct amqp_writer *w, const uint8_t v[16]);

/* n is below 4 GiB. */
static inline void amqp_write_variable(struct amqp_writer *w, uint8_t code8, uint8_t code32, const void *v, size_t n)
{
    if (n <= 255)
        amqp_write_octet2(w, code8, (uint8_t)n);
    else
        amqp_write_code32(w, code32, (uint32_t)n);
    amqp_write_raw(w, v, n);
}
static inline void amqp_write_binary(struct amqp_writer *w, const void *v, size_t n)
{
    amqp_write_variable(w, AMQP_CODE_VBIN8, AMQP_CODE_VBIN32, v, n);
}
static inline void amqp_write_string(struct amqp_writer *w, const void *v, size_t n)
{
    amqp_write_variable(w, AMQP_CODE_STR8, AMQP_CODE_STR32, v, n);
}
static inline void amqp_write_symbol(struct amqp_writer *w, const void *v, size_t n)
{
    amqp_write_variable(w, AMQP_CODE_SYM8, AMQP_CODE_SYM32, v, n);
}
/* The same of terminated text; NULL writes null. */
static inline void amqp_write_string_of(struct amqp_writer *w, const char *text)
{
    if (text)
        amqp_write_string(w, text, strlen(text));
    else
        amqp_write_null(w);
}
static inline void amqp_write_symbol_of(struct amqp_writer *w, const char *text)
{
    if (text)
        amqp_write_symbol(w, text, strlen(text));
    else
        amqp_write_null(w);
}

/* 00 and the descriptor; the value follows. */
static inline void amqp_write_descriptor(struct amqp_writer *w, uint64_t descriptor)
{
    amqp_write_octet(w, AMQP_CODE_DESCRIBED);
    amqp_write_ulong(w, descriptor);
}

/* Begin a list or map; its values follow, then amqp_write_list_end() or _map_end() with what this returned and how many
 * values were written (of a map: keys and values together). Lists become list0, list8 or list32, as small as can be.
 * Begin and end nest. */
static inline size_t amqp_write_list_begin(struct amqp_writer *w)
{
    size_t mark = w->len;
    amqp_writer_room(w, 3);
    return mark;
}
static inline size_t amqp_write_map_begin(struct amqp_writer *w)
{
    return amqp_write_list_begin(w);
}
void amqp_write_compound_end(struct amqp_writer *w, size_t mark, uint8_t code8, uint8_t code32, uint32_t count);
static inline void amqp_write_list_end(struct amqp_writer *w, size_t mark, uint32_t count)
{
    size_t n = w->len - mark - 2;
    if (count > 0 && count <= 255 && n <= 255) {
        if (mark + 3 <= w->capacity) {
            w->base[mark] = AMQP_CODE_LIST8;
            w->base[mark + 1] = (uint8_t)n;
            w->base[mark + 2] = (uint8_t)count;
        }
        return;
    }
    amqp_write_compound_end(w, mark, AMQP_CODE_LIST8, AMQP_CODE_LIST32, count);
}
static inline void amqp_write_map_end(struct amqp_writer *w, size_t mark, uint32_t count)
{
    amqp_write_compound_end(w, mark, AMQP_CODE_MAP8, AMQP_CODE_MAP32, count);
}

/* An array of symbols, NULL-terminated. None: null; a single one: bare when `bare` is set (part 1.4, Composite Type
 * Representation: a multiple field with one value). */
void amqp_write_symbols(struct amqp_writer *w, const char *const *symbols, bool bare);

/* A frame's head (AMQP 1.0 part 2.3.1, Frame Layout): size, data offset, type, channel.
 *   Result: the mark that amqp_write_frame_end() needs, which fills in the size: all that was written since, plus
 *           `payload` octets that the caller sends after them from elsewhere. */
#define AMQP_FRAME_HEAD 8
static inline size_t amqp_write_frame_begin(struct amqp_writer *w, uint8_t type, uint16_t channel)
{
    size_t mark = w->len;
    uint8_t *p = amqp_writer_room(w, AMQP_FRAME_HEAD);
    if (p) {
        p[4] = 2;
        p[5] = type;
        amqp_put16(p + 6, channel);
    }
    return mark;
}
static inline void amqp_write_frame_end(struct amqp_writer *w, size_t mark, size_t payload)
{
    if (mark + 4 <= w->capacity)
        amqp_put32(w->base + mark, (uint32_t)(w->len - mark + payload));
}

#endif
