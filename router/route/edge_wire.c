#include <router/route/edge_wire.h>

#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/message.h>

enum { LOOKUP_VERSION = 1, LOOKUP_OPCODE = 1 };

/* Lists and maps are written in their long form, as routers before this one write them here. */
static size_t begin(struct amqp_writer *w, uint8_t code, uint32_t count)
{
    uint8_t size_and_count[8] = {0};
    amqp_put32(size_and_count + 4, count);
    amqp_write_octet(w, code);
    size_t mark = w->len;
    amqp_write_raw(w, size_and_count, sizeof size_and_count);
    return mark;
}

static void end(struct amqp_writer *w, size_t mark)
{
    if (w->len <= w->capacity)
        amqp_put32(w->base + mark, (uint32_t)(w->len - mark - 4));
}

/* header(durable=false): AMQP 1.0 part 3.2.1, Header */
static void write_header(struct amqp_writer *w)
{
    amqp_write_descriptor(w, AMQP_SECTION_HEADER);
    size_t header = begin(w, AMQP_CODE_LIST32, 1);
    amqp_write_bool(w, false);
    end(w, header);
}

size_t edge_wire_write_tracking(uint8_t *out, size_t size, const char *key, bool has_destinations)
{
    struct amqp_writer w = amqp_writer(out, size);
    write_header(&w);
    amqp_write_descriptor(&w, AMQP_SECTION_VALUE);
    size_t body = begin(&w, AMQP_CODE_LIST32, 2);
    amqp_write_string_of(&w, key);
    amqp_write_bool(&w, has_destinations);
    end(&w, body);
    return w.len;
}

/* properties(message-id, user-id, to, subject, reply-to, correlation-id, ...): AMQP 1.0 part 3.2.4, Properties */
static enum err read_properties(struct amqp_reader *r, struct edge_lookup *out)
{
    enum { REPLY_TO = 4, CORRELATION = 5 };
    uint64_t code;
    struct amqp_compound fields;
    if (amqp_read_descriptor(r, &code) != OK || code != AMQP_SECTION_PROPERTIES || amqp_enter_list(r, &fields) != OK ||
        fields.count <= REPLY_TO)
        return ERR_INVALID;
    for (int i = 0; i < REPLY_TO; i++)
        if (amqp_skip(&fields.in) != OK)
            return ERR_INVALID;
    if (amqp_read_string(&fields.in, &out->reply_to) != OK)
        return ERR_INVALID;
    const uint8_t *correlation = fields.in.at;
    if (fields.count <= CORRELATION || amqp_read_null(&fields.in))
        return OK;
    if (amqp_skip(&fields.in) != OK)
        return ERR_INVALID;
    out->correlation = (struct slice){.data = correlation, .len = (size_t)(fields.in.at - correlation)};
    return OK;
}

static enum err read_application_properties(struct amqp_reader *r)
{
    uint64_t code;
    struct amqp_compound map;
    uint32_t version = 0, opcode = 0;
    if (amqp_read_descriptor(r, &code) != OK || code != AMQP_SECTION_APPLICATION_PROPERTIES ||
        amqp_enter_map(r, &map) != OK)
        return ERR_INVALID;
    for (uint32_t i = 0; i + 1 < map.count; i += 2) {
        struct slice key;
        uint32_t number;
        if (amqp_read_text(&map.in, &key) != OK)
            return ERR_INVALID;
        if (amqp_read_uint(&map.in, &number) != OK) {
            if (amqp_skip(&map.in) != OK)
                return ERR_INVALID;
        } else if (amqp_slice_is(key, "version")) {
            version = number;
        } else if (amqp_slice_is(key, "opcode")) {
            opcode = number;
        }
    }
    return version == LOOKUP_VERSION && opcode == LOOKUP_OPCODE ? OK : ERR_INVALID;
}

static enum err read_body(struct amqp_reader *r, struct edge_lookup *out)
{
    uint64_t code;
    struct amqp_compound list;
    if (amqp_read_descriptor(r, &code) != OK || code != AMQP_SECTION_VALUE || amqp_enter_list(r, &list) != OK ||
        list.count < 2 || amqp_read_string(&list.in, &out->address) != OK ||
        amqp_read_bool(&list.in, &out->is_sender) != OK)
        return ERR_INVALID;
    return OK;
}

enum err edge_wire_read_lookup(const uint8_t *message, size_t n, struct edge_lookup *out)
{
    struct amqp_message_view v;
    struct edge_lookup found = {0};
    if (amqp_message_scan(message, n, AMQP_SECTION_PROPERTIES, &v) != OK || !v.properties.length)
        return ERR_INVALID;
    struct amqp_reader r = amqp_reader(message + v.properties.offset, n - v.properties.offset);
    if (read_properties(&r, &found) != OK || read_application_properties(&r) != OK || read_body(&r, &found) != OK)
        return ERR_INVALID;
    *out = found;
    return OK;
}

static void write_number(struct amqp_writer *w, const char *key, uint32_t number)
{
    amqp_write_string_of(w, key);
    amqp_write_uint(w, number);
}

size_t edge_wire_write_answer(uint8_t *out, size_t size, const struct edge_lookup *to,
                              const struct edge_lookup_answer *a)
{
    struct amqp_writer w = amqp_writer(out, size);
    write_header(&w);
    amqp_write_descriptor(&w, AMQP_SECTION_PROPERTIES);
    size_t properties = begin(&w, AMQP_CODE_LIST32, 6);
    amqp_write_null(&w);
    amqp_write_null(&w);
    amqp_write_string(&w, to->reply_to.data, to->reply_to.len);
    amqp_write_null(&w);
    amqp_write_null(&w);
    if (to->correlation.len)
        amqp_write_raw(&w, to->correlation.data, to->correlation.len);
    else
        amqp_write_null(&w);
    end(&w, properties);
    amqp_write_descriptor(&w, AMQP_SECTION_APPLICATION_PROPERTIES);
    size_t map = begin(&w, AMQP_CODE_MAP32, 6);
    write_number(&w, "version", LOOKUP_VERSION);
    write_number(&w, "opcode", LOOKUP_OPCODE);
    write_number(&w, "status", a->status);
    end(&w, map);
    amqp_write_descriptor(&w, AMQP_SECTION_VALUE);
    size_t body = begin(&w, AMQP_CODE_LIST32, 2);
    amqp_write_bool(&w, a->is_link_route);
    amqp_write_bool(&w, a->has_destinations);
    end(&w, body);
    return w.len;
}
