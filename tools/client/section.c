#include "tools/client/section.h"

#include <string.h>

/* step:  MARK -0x00-> DESCRIPTOR -ulong-> CODE --------------> CONSTRUCTOR -> SIZE -> CONTENT -> MARK
 *                                -symbol-> LENGTH -> NAME --^      ^-- described: 2 more values --'
 */
enum { MARK, DESCRIPTOR, CODE, LENGTH, NAME, CONSTRUCTOR, SIZE, CONTENT };

static const struct {
    const char *name;
    enum section section;
} names[] = {
    {"amqp:header:list", SECTION_HEADER},
    {"amqp:delivery-annotations:map", SECTION_DELIVERY_ANNOTATIONS},
    {"amqp:message-annotations:map", SECTION_MESSAGE_ANNOTATIONS},
    {"amqp:properties:list", SECTION_PROPERTIES},
    {"amqp:application-properties:map", SECTION_APPLICATION_PROPERTIES},
    {"amqp:data:binary", SECTION_DATA},
    {"amqp:amqp-sequence:list", SECTION_SEQUENCE},
    {"amqp:amqp-value:*", SECTION_VALUE},
    {"amqp:footer:map", SECTION_FOOTER},
};

bool section_is_bytes(uint8_t constructor)
{
    switch (constructor) {
    case 0xa0:
    case 0xb0:
    case 0xa1:
    case 0xb1:
    case 0xa3:
    case 0xb3:
        return true;
    default:
        return false;
    }
}

bool section_is_complete(const struct section_scan *s)
{
    return s->step == MARK;
}

static bool known_code(uint64_t code, enum section *out)
{
    *out = (enum section)code;
    return code >= SECTION_HEADER && code <= SECTION_FOOTER;
}

static bool known_name(const uint8_t *name, size_t length, enum section *out)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i].name) == length && memcmp(names[i].name, name, length) == 0) {
            *out = names[i].section;
            return true;
        }
    return false;
}

/* Width of what follows a constructor (AMQP 1.0 part 1.2.1 to 1.2.4): fixed content, or a size field. */
static bool widths_of(uint8_t constructor, unsigned *size_width, unsigned *fixed)
{
    *size_width = *fixed = 0;
    switch (constructor >> 4) {
    case 0x4:
        return true;
    case 0x5:
        *fixed = 1;
        return true;
    case 0x6:
        *fixed = 2;
        return true;
    case 0x7:
        *fixed = 4;
        return true;
    case 0x8:
        *fixed = 8;
        return true;
    case 0x9:
        *fixed = 16;
        return true;
    case 0xa:
    case 0xc:
    case 0xe:
        *size_width = 1;
        return true;
    case 0xb:
    case 0xd:
    case 0xf:
        *size_width = 4;
        return true;
    default:
        return false;
    }
}

/* Begin the content of one value; a value without any is over at once. */
static void start_content(struct section_scan *s)
{
    s->step = CONTENT;
    if (s->value_size > 0)
        return;
    s->values_left--;
    s->step = s->values_left ? CONSTRUCTOR : MARK;
}

static bool take_constructor(struct section_scan *s, uint8_t byte, struct fault *why)
{
    if (!s->in_content)
        s->constructor = byte;
    if (byte == 0x00) {
        /* A described value is two values, descriptor and value, in the place of one. The bound is far above sense. */
        if (s->values_left > 1000)
            return fault_set(why, "more than 1000 descriptors in a row");
        s->values_left++;
        s->step = CONSTRUCTOR;
        return true;
    }
    unsigned size_width, fixed;
    if (!widths_of(byte, &size_width, &fixed))
        return fault_set(why, "0x%02x where a type's constructor should stand", byte);
    s->size_left = size_width;
    s->value_size = fixed;
    if (size_width)
        s->step = SIZE;
    else
        start_content(s);
    return true;
}

static bool take_descriptor(struct section_scan *s, uint8_t byte, struct fault *why)
{
    switch (byte) {
    case 0x53: /* smallulong */
        s->size_left = 1;
        s->step = CODE;
        break;
    case 0x80: /* ulong */
        s->size_left = 8;
        s->step = CODE;
        break;
    case 0xa3: /* sym8 */
        s->size_left = 1;
        s->step = LENGTH;
        break;
    case 0xb3: /* sym32 */
        s->size_left = 4;
        s->step = LENGTH;
        break;
    default:
        return fault_set(why, "0x%02x where a section's descriptor should stand", byte);
    }
    s->value_size = 0;
    return true;
}

/* One more byte of a number in network order; true at its last. */
static bool take_digit(struct section_scan *s, uint8_t byte)
{
    s->value_size = s->value_size << 8 | byte;
    return --s->size_left == 0;
}

static void descriptor_done(struct section_scan *s)
{
    s->step = CONSTRUCTOR;
    s->values_left = 1;
    s->descriptor_size = s->held_size;
}

/* Take one byte that is not content. */
static bool take(struct section_scan *s, uint8_t byte, struct fault *why)
{
    switch (s->step) {
    case MARK:
        s->step = DESCRIPTOR;
        return byte == 0x00 || fault_set(why, "0x%02x where a section should begin with 0x00", byte);
    case DESCRIPTOR:
        return take_descriptor(s, byte, why);
    case CODE:
        if (take_digit(s, byte)) {
            if (!known_code(s->value_size, &s->section))
                return fault_set(why, "unknown section 0x%llx", (unsigned long long)s->value_size);
            descriptor_done(s);
        }
        return true;
    case LENGTH:
        if (take_digit(s, byte)) {
            if (s->value_size == 0 || s->value_size > 40)
                return fault_set(why, "section name of %llu bytes", (unsigned long long)s->value_size);
            s->size_left = (unsigned)s->value_size;
            s->step = NAME;
        }
        return true;
    case NAME:
        if (--s->size_left == 0) {
            if (!known_name(s->held + s->held_size - s->value_size, s->value_size, &s->section))
                return fault_set(why, "unknown section '%.*s'", (int)s->value_size,
                                 (const char *)s->held + s->held_size - s->value_size);
            descriptor_done(s);
        }
        return true;
    case CONSTRUCTOR:
        return take_constructor(s, byte, why);
    default: /* SIZE */
        if (take_digit(s, byte))
            start_content(s);
        return true;
    }
}

/* The preamble ends where the section's value begins; of a described value, at its 0x00. */
static bool preamble_is_over(const struct section_scan *s)
{
    return s->step == CONTENT || s->step == MARK || (s->step == CONSTRUCTOR && s->values_left > 1);
}

static enum section_result give(struct section_scan *s, struct section_piece *out, bool is_preamble,
                                const uint8_t *bytes, size_t size)
{
    *out = (struct section_piece){.section = s->section,
                                  .is_preamble = is_preamble,
                                  .descriptor = is_preamble ? s->descriptor_size : 0,
                                  .constructor = s->constructor,
                                  .bytes = bytes,
                                  .size = size};
    return SECTION_PIECE;
}

static enum section_result next_of_preamble(struct section_scan *s, const uint8_t **bytes, size_t *size,
                                            struct section_piece *out, struct fault *why)
{
    if (s->step == MARK)
        s->held_size = 0;
    while (*size > 0) {
        uint8_t byte = **bytes;
        s->held[s->held_size++] = byte;
        (*bytes)++;
        (*size)--;
        if (!take(s, byte, why))
            return SECTION_MALFORMED;
        if (preamble_is_over(s)) {
            s->in_content = s->step != MARK;
            return give(s, out, true, s->held, s->held_size);
        }
    }
    return SECTION_NEED_MORE;
}

static enum section_result next_of_content(struct section_scan *s, const uint8_t **bytes, size_t *size,
                                           struct section_piece *out, struct fault *why)
{
    if (*size == 0)
        return SECTION_NEED_MORE;
    const uint8_t *start = *bytes;
    size_t used = 1;
    if (s->step != CONTENT) {
        /* Constructors and sizes within a described value, byte by byte: rare and short. */
        if (!take(s, *start, why))
            return SECTION_MALFORMED;
    } else {
        used = *size < s->value_size ? *size : (size_t)s->value_size;
        s->value_size -= used;
        start_content(s);
    }
    *bytes += used;
    *size -= used;
    s->in_content = s->step != MARK;
    return give(s, out, false, start, used);
}

enum section_result section_next(struct section_scan *s, const uint8_t **bytes, size_t *size, struct section_piece *out,
                                 struct fault *why)
{
    return s->in_content ? next_of_content(s, bytes, size, out, why) : next_of_preamble(s, bytes, size, out, why);
}
