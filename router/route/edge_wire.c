#include <router/route/edge_wire.h>

#include <router/route/address_name.h>
#include <string.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/message.h>

const char edge_wire_downlink[] = "qd.router-edge-downlink";

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

/* Whole messages of few sections: those before the body are skipped. */
static enum err find_body(const uint8_t *message, size_t n, struct amqp_reader *r)
{
    struct amqp_message_view v;
    if (amqp_message_scan(message, n, AMQP_SECTION_PROPERTIES, &v) != OK)
        return ERR_INVALID;
    *r = amqp_reader(message + v.body, n - v.body);
    return OK;
}

/* A boolean, or an octet that says the same: older routers read either. */
static enum err read_flag(struct amqp_reader *r, bool *flag)
{
    int8_t octet;
    if (amqp_read_bool(r, flag) == OK)
        return OK;
    if (amqp_read_byte(r, &octet) != OK)
        return ERR_INVALID;
    *flag = octet != 0;
    return OK;
}

enum err edge_wire_read_tracking(const uint8_t *message, size_t n, struct slice *key, bool *has_destinations)
{
    struct amqp_reader r;
    uint64_t code;
    struct amqp_compound list;
    if (find_body(message, n, &r) != OK || amqp_read_descriptor(&r, &code) != OK || code != AMQP_SECTION_VALUE ||
        amqp_enter_list(&r, &list) != OK || list.count < 2 || amqp_read_string(&list.in, key) != OK)
        return ERR_INVALID;
    return read_flag(&list.in, has_destinations);
}

size_t edge_wire_write_heartbeat(uint8_t *out, size_t size, int32_t count)
{
    struct amqp_writer w = amqp_writer(out, size);
    amqp_write_descriptor(&w, AMQP_SECTION_VALUE);
    amqp_write_int(&w, count);
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

struct numbers {
    uint32_t version, opcode, status;
};

/* Version, opcode and, in an answer, status. Result: false, malformed. */
static bool read_numbers(struct amqp_reader *r, struct numbers *out)
{
    uint64_t code;
    struct amqp_compound map;
    if (amqp_read_descriptor(r, &code) != OK || code != AMQP_SECTION_APPLICATION_PROPERTIES ||
        amqp_enter_map(r, &map) != OK)
        return false;
    for (uint32_t i = 0; i + 1 < map.count; i += 2) {
        struct slice key;
        uint32_t number;
        if (amqp_read_text(&map.in, &key) != OK)
            return false;
        if (amqp_read_uint(&map.in, &number) != OK) {
            if (amqp_skip(&map.in) != OK)
                return false;
        } else if (amqp_slice_is(key, "version")) {
            out->version = number;
        } else if (amqp_slice_is(key, "opcode")) {
            out->opcode = number;
        } else if (amqp_slice_is(key, "status")) {
            out->status = number;
        }
    }
    return out->version == LOOKUP_VERSION && out->opcode == LOOKUP_OPCODE;
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
    struct numbers numbers = {0};
    if (read_properties(&r, &found) != OK || !read_numbers(&r, &numbers) || read_body(&r, &found) != OK)
        return ERR_INVALID;
    *out = found;
    return OK;
}

static void write_number(struct amqp_writer *w, const char *key, uint32_t number)
{
    amqp_write_string_of(w, key);
    amqp_write_uint(w, number);
}

/* The properties that both kinds have, five or six fields: to or reply-to, and correlation-id. */
static void write_properties(struct amqp_writer *w, const struct edge_lookup *l, bool is_answer)
{
    amqp_write_descriptor(w, AMQP_SECTION_PROPERTIES);
    size_t properties = begin(w, AMQP_CODE_LIST32, 6);
    amqp_write_null(w);
    amqp_write_null(w);
    if (is_answer)
        amqp_write_string(w, l->reply_to.data, l->reply_to.len);
    else
        amqp_write_null(w);
    amqp_write_null(w);
    if (is_answer)
        amqp_write_null(w);
    else
        amqp_write_string(w, l->reply_to.data, l->reply_to.len);
    if (l->correlation.len)
        amqp_write_raw(w, l->correlation.data, l->correlation.len);
    else
        amqp_write_null(w);
    end(w, properties);
}

size_t edge_wire_write_lookup(uint8_t *out, size_t size, const struct edge_lookup *l)
{
    struct amqp_writer w = amqp_writer(out, size);
    write_header(&w);
    write_properties(&w, l, false);
    amqp_write_descriptor(&w, AMQP_SECTION_APPLICATION_PROPERTIES);
    size_t map = begin(&w, AMQP_CODE_MAP32, 4);
    write_number(&w, "version", LOOKUP_VERSION);
    write_number(&w, "opcode", LOOKUP_OPCODE);
    end(&w, map);
    amqp_write_descriptor(&w, AMQP_SECTION_VALUE);
    size_t body = begin(&w, AMQP_CODE_LIST32, 2);
    amqp_write_string(&w, l->address.data, l->address.len);
    amqp_write_bool(&w, l->is_sender);
    end(&w, body);
    return w.len;
}

size_t edge_wire_write_answer(uint8_t *out, size_t size, const struct edge_lookup *to,
                              const struct edge_lookup_answer *a)
{
    struct amqp_writer w = amqp_writer(out, size);
    write_header(&w);
    write_properties(&w, to, true);
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

static enum err read_correlation(struct amqp_reader *r, struct slice *out)
{
    enum { CORRELATION = 5 };
    uint64_t code;
    struct amqp_compound fields;
    if (amqp_read_descriptor(r, &code) != OK || code != AMQP_SECTION_PROPERTIES || amqp_enter_list(r, &fields) != OK ||
        fields.count <= CORRELATION)
        return ERR_INVALID;
    for (int i = 0; i < CORRELATION; i++)
        if (amqp_skip(&fields.in) != OK)
            return ERR_INVALID;
    return amqp_read_string(&fields.in, out);
}

enum err edge_wire_read_answer(const uint8_t *message, size_t n, struct slice *correlation,
                               struct edge_lookup_answer *a)
{
    struct amqp_message_view v;
    uint64_t code;
    struct amqp_compound list;
    struct numbers numbers = {.status = EDGE_LOOKUP_NOT_FOUND};
    if (amqp_message_scan(message, n, AMQP_SECTION_PROPERTIES, &v) != OK || !v.properties.length)
        return ERR_INVALID;
    struct amqp_reader r = amqp_reader(message + v.properties.offset, n - v.properties.offset);
    if (read_correlation(&r, correlation) != OK || !read_numbers(&r, &numbers) ||
        amqp_read_descriptor(&r, &code) != OK || code != AMQP_SECTION_VALUE || amqp_enter_list(&r, &list) != OK ||
        list.count < 2 || read_flag(&list.in, &a->is_link_route) != OK ||
        read_flag(&list.in, &a->has_destinations) != OK)
        return ERR_INVALID;
    a->status = numbers.status;
    return OK;
}

/* ---- link routes ---- */

static const char route_type[] = "org.apache.qpid.dispatch.router.connection.linkRoute";

static void write_text(struct amqp_writer *w, const char *key, const char *text)
{
    amqp_write_string_of(w, key);
    amqp_write_string_of(w, text);
}

static bool key_is_prefix(const char *key)
{
    return key[0] == ADDRESS_LINK_ROUTE_PREFIX_IN || key[0] == ADDRESS_LINK_ROUTE_PREFIX_OUT;
}

static bool key_is_in(const char *key)
{
    return key[0] == ADDRESS_LINK_ROUTE_PREFIX_IN || key[0] == ADDRESS_LINK_ROUTE_PATTERN_IN;
}

/* A prefix p is the pattern p/#. */
static void write_pattern(struct amqp_writer *w, const char *key)
{
    static const char any[] = "/#";
    size_t len = strlen(key + 1), more = key_is_prefix(key) ? sizeof any - 1 : 0;
    bool is_long = len + more > UINT8_MAX;
    amqp_write_string_of(w, "pattern");
    amqp_write_octet(w, is_long ? AMQP_CODE_STR32 : AMQP_CODE_STR8);
    uint8_t size[4];
    amqp_put32(size, (uint32_t)(len + more));
    amqp_write_raw(w, is_long ? size : size + 3, is_long ? 4 : 1);
    amqp_write_raw(w, key + 1, len);
    amqp_write_raw(w, any, more);
}

size_t edge_wire_write_route(uint8_t *out, size_t size, const struct edge_route_request *r)
{
    struct amqp_writer w = amqp_writer(out, size);
    write_header(&w);
    amqp_write_descriptor(&w, AMQP_SECTION_PROPERTIES);
    size_t properties = begin(&w, AMQP_CODE_LIST32, 6);
    for (int i = 0; i < 4; i++)
        amqp_write_null(&w);
    amqp_write_string_of(&w, r->reply_to);
    amqp_write_string_of(&w, r->correlation);
    end(&w, properties);
    amqp_write_descriptor(&w, AMQP_SECTION_APPLICATION_PROPERTIES);
    size_t map = begin(&w, AMQP_CODE_MAP32, r->identity ? 8 : 6);
    write_text(&w, "operation", r->identity ? "DELETE" : "CREATE");
    write_text(&w, "type", route_type);
    if (r->identity)
        write_text(&w, "identity", r->identity);
    write_text(&w, "name", r->name);
    end(&w, map);
    amqp_write_descriptor(&w, AMQP_SECTION_VALUE);
    size_t body = begin(&w, AMQP_CODE_MAP32, r->identity ? 0 : 8);
    if (!r->identity) {
        write_text(&w, "type", route_type);
        write_pattern(&w, r->key);
        write_text(&w, "direction", key_is_in(r->key) ? "in" : "out");
        write_text(&w, "name", r->name);
    }
    end(&w, body);
    return w.len;
}

static enum err read_status(struct amqp_reader *r, struct edge_route_answer *a)
{
    uint64_t code;
    struct amqp_compound map;
    bool has_status = false;
    if (amqp_read_descriptor(r, &code) != OK || code != AMQP_SECTION_APPLICATION_PROPERTIES ||
        amqp_enter_map(r, &map) != OK)
        return ERR_INVALID;
    for (uint32_t i = 0; i + 1 < map.count; i += 2) {
        struct slice key;
        if (amqp_read_text(&map.in, &key) != OK)
            return ERR_INVALID;
        if (amqp_slice_is(key, "statusCode") && amqp_read_int(&map.in, &a->status) == OK)
            has_status = true;
        else if ((!amqp_slice_is(key, "statusDescription") || amqp_read_string(&map.in, &a->description) != OK) &&
                 amqp_skip(&map.in) != OK)
            return ERR_INVALID;
    }
    return has_status ? OK : ERR_INVALID;
}

/* Whatever the body is: it need not have an identity. */
static void find_identity(struct amqp_reader *r, struct slice *identity)
{
    uint64_t code;
    struct amqp_compound map;
    if (amqp_read_descriptor(r, &code) != OK || code != AMQP_SECTION_VALUE || amqp_enter_map(r, &map) != OK)
        return;
    for (uint32_t i = 0; i + 1 < map.count; i += 2) {
        struct slice key;
        if (amqp_read_text(&map.in, &key) != OK)
            return;
        if (amqp_slice_is(key, "identity") && amqp_read_string(&map.in, identity) == OK)
            return;
        if (amqp_skip(&map.in) != OK)
            return;
    }
}

enum err edge_wire_read_route_answer(const uint8_t *message, size_t n, struct edge_route_answer *a)
{
    struct amqp_message_view v;
    struct edge_route_answer found = {0};
    if (amqp_message_scan(message, n, AMQP_SECTION_PROPERTIES, &v) != OK || !v.properties.length)
        return ERR_INVALID;
    struct amqp_reader r = amqp_reader(message + v.properties.offset, n - v.properties.offset);
    if (read_correlation(&r, &found.correlation) != OK || read_status(&r, &found) != OK)
        return ERR_INVALID;
    find_identity(&r, &found.identity);
    *a = found;
    return OK;
}
