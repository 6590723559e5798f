#include <trunkline/amqp/message.h>

#include <string.h>
#include <trunkline/amqp/annotations.h>
#include <trunkline/amqp/codec.h>

/* What a section's value must be (AMQP 1.0 part 3.2, Message Format). */
static bool is_section_type(uint64_t section, uint8_t code)
{
    switch (section) {
    case AMQP_SECTION_HEADER:
    case AMQP_SECTION_PROPERTIES:
    case AMQP_SECTION_SEQUENCE:
        return amqp_type_of(code) == AMQP_TYPE_LIST;
    case AMQP_SECTION_DATA:
        return amqp_type_of(code) == AMQP_TYPE_BINARY;
    case AMQP_SECTION_VALUE:
        return true;
    default:
        return amqp_type_of(code) == AMQP_TYPE_MAP;
    }
}

static bool is_body(uint64_t section)
{
    return section >= AMQP_SECTION_DATA && section <= AMQP_SECTION_VALUE;
}

/* Sections come in the order of their descriptors; data and sequence may repeat, and only one kind of body is there. */
static bool may_follow(uint64_t before, uint64_t section)
{
    if (section < AMQP_SECTION_HEADER || section > AMQP_SECTION_FOOTER)
        return false;
    if (is_body(before) && is_body(section))
        return before == section && section != AMQP_SECTION_VALUE;
    return section > before;
}

static void note_section(struct amqp_message_view *v, uint64_t section, uint32_t offset, uint32_t length)
{
    switch (section) {
    case AMQP_SECTION_HEADER:
        v->header.offset = offset;
        v->header.length = length;
        break;
    case AMQP_SECTION_DELIVERY_ANNOTATIONS:
        v->delivery_annotations.offset = offset;
        v->delivery_annotations.length = length;
        break;
    case AMQP_SECTION_MESSAGE_ANNOTATIONS:
        v->message_annotations.offset = offset;
        v->message_annotations.length = length;
        break;
    case AMQP_SECTION_PROPERTIES:
        v->properties.offset = offset;
        v->properties.length = length;
        break;
    default:
        return;
    }
    v->body = offset + length;
}

/* Step over the value of a section. Runs for each section of each message: most are lists and maps, whose head says
 * how long they are. */
static inline enum err skip_section(struct amqp_reader *r, uint64_t section)
{
    bool is_list = section == AMQP_SECTION_HEADER || section == AMQP_SECTION_PROPERTIES;
    uint8_t code = r->at[0];
    size_t left = amqp_left(r), n;
    if (is_list && code == AMQP_CODE_LIST0) {
        n = 1;
    } else if (code == (is_list ? AMQP_CODE_LIST8 : AMQP_CODE_MAP8) && !is_body(section)) {
        n = left < 2 ? SIZE_MAX : (size_t)2 + r->at[1];
    } else if (code == (is_list ? AMQP_CODE_LIST32 : AMQP_CODE_MAP32) && !is_body(section)) {
        n = left < 5 ? SIZE_MAX : (size_t)5 + amqp_get32(r->at + 1);
    } else {
        return is_section_type(section, code) ? amqp_skip(r) : ERR_INVALID;
    }
    if (left < n)
        return ERR_TRUNCATED;
    r->at += n;
    return OK;
}

enum err amqp_message_scan(const uint8_t *m, size_t n, enum amqp_section depth, struct amqp_message_view *v)
{
    /* Offsets have 32 bits; sections that matter lie far before that. */
    struct amqp_reader r = amqp_reader(m, n < UINT32_MAX ? n : UINT32_MAX);
    uint64_t before = 0;
    *v = (struct amqp_message_view){0};
    for (;;) {
        const uint8_t *from = r.at;
        uint64_t section;
        enum err e = amqp_read_descriptor(&r, &section);
        if (e != OK)
            return e;
        if (!may_follow(before, section))
            return ERR_INVALID;
        if (section > depth)
            return OK;
        if (r.at == r.end)
            return ERR_TRUNCATED;
        e = skip_section(&r, section);
        if (e != OK)
            return e;
        note_section(v, section, (uint32_t)(from - m), (uint32_t)(r.at - from));
        /* Each data section is a new chance to end: the footer is passed when it has been seen. */
        if (section == depth && (!is_body(section) || section == AMQP_SECTION_VALUE))
            return OK;
        before = section;
    }
}

/* A reader on the value of a section, behind its descriptor. */
static bool enter_section(const uint8_t *m, uint32_t offset, uint32_t length, struct amqp_reader *r)
{
    uint64_t descriptor;
    *r = amqp_reader(m + offset, length);
    return length && amqp_read_descriptor(r, &descriptor) == OK;
}

/* The n-th field of a list section. Result: false, it is not there. */
static bool seek_field(const uint8_t *m, uint32_t offset, uint32_t length, uint32_t n, struct amqp_reader *field)
{
    struct amqp_reader r;
    struct amqp_compound list;
    if (!enter_section(m, offset, length, &r) || amqp_enter_list(&r, &list) != OK || list.count <= n)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (amqp_skip(&list.in) != OK)
            return false;
    *field = list.in;
    return true;
}

uint8_t amqp_message_priority(const uint8_t *m, const struct amqp_message_view *v)
{
    struct amqp_reader field;
    uint8_t priority = 4;
    if (seek_field(m, v->header.offset, v->header.length, 1, &field) && amqp_read_ubyte(&field, &priority) != OK)
        return 4;
    return priority;
}

/* A field of the properties that is a string. */
static struct slice text_of_properties(const uint8_t *m, const struct amqp_message_view *v, uint32_t index)
{
    struct amqp_reader field;
    struct slice text = {0};
    if (seek_field(m, v->properties.offset, v->properties.length, index, &field) &&
        amqp_read_string(&field, &text) != OK)
        return (struct slice){0};
    return text;
}

struct slice amqp_message_to(const uint8_t *m, const struct amqp_message_view *v)
{
    enum { TO = 2 };
    return text_of_properties(m, v, TO);
}

struct slice amqp_message_subject(const uint8_t *m, const struct amqp_message_view *v)
{
    enum { SUBJECT = 3 };
    return text_of_properties(m, v, SUBJECT);
}

/* ---- message annotations ---- */

struct annotation {
    struct slice pair; /* key and value, encoded */
    bool router;       /* it is a router's */
};

static bool enter_annotations(const uint8_t *m, const struct amqp_message_view *v, struct amqp_compound *map)
{
    struct amqp_reader r;
    return enter_section(m, v->message_annotations.offset, v->message_annotations.length, &r) &&
           amqp_enter_map(&r, map) == OK;
}

/* Result: false, there is no other, or it is malformed. */
static bool next_annotation(struct amqp_compound *map, struct annotation *a)
{
    if (map->count < 2)
        return false;
    map->count -= 2;
    const uint8_t *from = map->in.at;
    struct amqp_reader key_reader = map->in;
    struct slice key;
    bool text = amqp_read_text(&key_reader, &key) == OK;
    if (amqp_skip(&map->in) != OK || amqp_skip(&map->in) != OK)
        return false;
    *a = (struct annotation){{NULL, from, (size_t)(map->in.at - from)},
                             text && amqp_annotation_is_of_router(amqp_annotation_of(key))};
    return true;
}

bool amqp_message_has_router_annotations(const uint8_t *m, const struct amqp_message_view *v)
{
    struct amqp_compound map;
    struct annotation a;
    if (!enter_annotations(m, v, &map))
        return false;
    while (next_annotation(&map, &a))
        if (a.router)
            return true;
    return false;
}

uint32_t amqp_message_strip_router_annotations(const uint8_t *m, const struct amqp_message_view *v, bool cut,
                                               uint8_t *out)
{
    struct amqp_compound map;
    if (!enter_annotations(m, v, &map))
        return 0;
    /* Never longer than what was read: the heads written are the smallest there are, and pairs only go. */
    struct amqp_writer w = amqp_writer(out, v->message_annotations.length);
    amqp_write_descriptor(&w, AMQP_SECTION_MESSAGE_ANNOTATIONS);
    size_t mark = amqp_write_map_begin(&w);
    uint32_t count = 0;
    for (struct annotation a; next_annotation(&map, &a);) {
        if (a.router && cut)
            break;
        if (a.router)
            continue;
        amqp_write_raw(&w, a.pair.data, a.pair.len);
        count += 2;
    }
    amqp_write_map_end(&w, mark, count);
    return count ? (uint32_t)w.len : 0;
}
