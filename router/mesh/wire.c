#include "wire_priv.h"

#include <string.h>
#include <trunkline/amqp/message.h>
#include <trunkline/base/assert.h>

static const char *const op_names[] = {
#define X(op) [WIRE_##op] = #op,
    WIRE_OPS(X)
#undef X
};

const char *wire_op_name(enum wire_op op)
{
    return op_names[op];
}

static bool starts_with(struct slice s, const char *text)
{
    size_t n = strlen(text);
    return s.len >= n && memcmp(s.data, text, n) == 0;
}

static struct slice behind(struct slice s, size_t n)
{
    return (struct slice){NULL, s.data + n, s.len - n};
}

/* ---- where it goes ---- */

/* `scheme:/x`, `scheme://host/x`, `//host/x` and `/x` are x. */
static struct slice without_scheme(struct slice to)
{
    const uint8_t *colon = memchr(to.data, ':', to.len), *slash = memchr(to.data, '/', to.len);
    if (colon && slash == colon + 1)
        to = behind(to, (size_t)(slash - to.data));
    if (!starts_with(to, "/"))
        return to;
    if (!starts_with(to, "//"))
        return behind(to, 1);
    struct slice host = behind(to, 2);
    const uint8_t *end = memchr(host.data, '/', host.len);
    return end ? behind(host, (size_t)(end + 1 - host.data)) : (struct slice){NULL, host.data, 0};
}

static enum wire_scope scope_of(struct slice to, struct slice *target)
{
    if (to.len == 0)
        return WIRE_OTHER;
    struct slice text = without_scheme(to);
    if (amqp_slice_is(text, "_local/qdhello"))
        return WIRE_NEIGHBOUR;
    if (!starts_with(text, "_topo/0/"))
        return WIRE_OTHER;
    struct slice name = behind(text, strlen("_topo/0/"));
    const uint8_t *end = name.len ? memrchr(name.data, '/', name.len) : NULL;
    if (end == NULL)
        return WIRE_OTHER;
    struct slice node = behind(name, (size_t)(end + 1 - name.data));
    if (!amqp_slice_is(node, "qdrouter") && !amqp_slice_is(node, "qdrouter.ma"))
        return WIRE_OTHER;
    name.len = (size_t)(end - name.data);
    if (amqp_slice_is(name, "all"))
        return WIRE_ALL;
    *target = name;
    return name.len ? WIRE_ONE_ROUTER : WIRE_OTHER;
}

static bool check_texts(struct amqp_compound list)
{
    struct slice text;
    for (uint32_t i = 0; i < list.count; i++)
        if (amqp_read_text(&list.in, &text) != OK)
            return false;
    return list.in.at == list.in.end;
}

/* Entries of the user come first, unchanged; behind the first of a router's an unknown one is not carried on, as old
 * routers do it. */
static enum err open_annotations(struct slice section, struct wire_envelope *out, const char **why)
{
    struct amqp_reader r = amqp_slice_reader(section);
    uint64_t descriptor;
    struct amqp_compound map;
    enum err e = amqp_read_descriptor(&r, &descriptor);
    if (e == OK)
        e = amqp_enter_map(&r, &map);
    *why = "message annotations are malformed";
    if (e != OK)
        return e;
    out->user.data = map.in.at;
    bool in_user = true;
    for (uint32_t i = 0; i < map.count; i += 2) {
        struct slice key, raw;
        *why = "message annotations are malformed";
        bool is_text = amqp_read_text(&map.in, &key) == OK;
        if (!is_text && (e = amqp_read_raw(&map.in, &raw)) != OK)
            return e;
        if (is_text && amqp_slice_is(key, WIRE_INGRESS)) {
            *why = "ingress is no string";
            if ((e = amqp_read_string(&map.in, &out->ingress)) != OK)
                return e;
            in_user = false;
        } else if (is_text && amqp_slice_is(key, WIRE_TRACE)) {
            *why = "trace is no list of texts";
            if ((e = amqp_enter_list(&map.in, &out->trace)) != OK)
                return e;
            if (!check_texts(out->trace))
                return ERR_INVALID;
            in_user = false;
        } else {
            if ((e = amqp_read_raw(&map.in, &raw)) != OK)
                return e;
            if (is_text && starts_with(key, WIRE_PREFIX))
                in_user = false;
        }
        if (in_user) {
            out->user.len = (size_t)(map.in.at - out->user.data);
            out->user_count += 2;
        }
    }
    *why = "message annotations are malformed";
    return map.in.at == map.in.end ? OK : ERR_INVALID;
}

enum err wire_open(const uint8_t *m, size_t n, struct wire_envelope *out, const char **why)
{
    struct amqp_message_view v;
    *out = (struct wire_envelope){.scope = WIRE_OTHER};
    *why = "not a message";
    enum err e = amqp_message_scan(m, n, AMQP_SECTION_PROPERTIES, &v);
    if (e == ERR_TRUNCATED && v.body == n)
        return OK; /* no properties: nothing says that it is a control message */
    if (e != OK)
        return e;
    struct slice to = amqp_message_to(m, &v);
    if (to.data)
        out->scope = scope_of(to, &out->target);
    out->before = v.message_annotations.length    ? v.message_annotations.offset
                  : v.delivery_annotations.length ? v.delivery_annotations.offset + v.delivery_annotations.length
                                                  : v.header.offset + v.header.length;
    out->after = out->before + v.message_annotations.length;
    out->rest = v.body;
    if (out->scope == WIRE_OTHER || v.message_annotations.length == 0)
        return OK;
    struct slice section = {NULL, m + v.message_annotations.offset, v.message_annotations.length};
    return open_annotations(section, out, why);
}

static bool router_of_node(struct slice node, struct slice *id)
{
    if (!starts_with(node, "0/"))
        return false;
    *id = behind(node, 2);
    return true;
}

bool wire_trace_has(const struct wire_envelope *e, const char *id)
{
    struct amqp_compound trace = e->trace;
    struct slice node, router;
    while (wire_next_text(&trace, &node))
        if (router_of_node(node, &router) && amqp_slice_is(router, id))
            return true;
    return false;
}

bool wire_trace_last(const struct wire_envelope *e, struct slice *id)
{
    struct amqp_compound trace = e->trace;
    struct slice node;
    bool found = false;
    while (wire_next_text(&trace, &node))
        found = router_of_node(node, id);
    return found;
}

/* ---- decoding the body ---- */

bool wire_next_text(struct amqp_compound *list, struct slice *text)
{
    if (list->count == 0)
        return false;
    list->count--;
    enum err e = amqp_read_text(&list->in, text);
    ASSERT(e == OK); /* checked while decoding */
    return true;
}

bool wire_next_integer(struct amqp_compound *list, int64_t *v)
{
    if (list->count == 0)
        return false;
    list->count--;
    enum err e = amqp_read_integer(&list->in, v);
    ASSERT(e == OK);
    return true;
}

bool wire_next_peer(struct amqp_compound *peers, struct slice *id, int64_t *cost)
{
    return wire_next_text(peers, id) && wire_next_integer(peers, cost);
}

/* Ids end up in logs, in addresses and in node ids. */
static bool is_router_id(struct slice id)
{
    if (id.len == 0 || id.len > MESH_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++)
        if (id.data[i] < 0x20 || id.data[i] == 0x7f)
            return false;
    return true;
}

static enum err read_ids(struct amqp_reader *r, struct amqp_compound *list)
{
    enum err e = amqp_enter_list(r, list);
    if (e != OK)
        return e;
    struct amqp_compound check = *list;
    struct slice id;
    for (uint32_t i = 0; i < list->count; i++)
        if (amqp_read_text(&check.in, &id) != OK || !is_router_id(id))
            return ERR_INVALID;
    return check.in.at == check.in.end ? OK : ERR_INVALID;
}

static enum err read_keys(struct amqp_reader *r, struct amqp_compound *list)
{
    enum err e = amqp_enter_list(r, list);
    if (e != OK)
        return e;
    return check_texts(*list) ? OK : ERR_INVALID;
}

static enum err read_hints(struct amqp_reader *r, struct amqp_compound *list)
{
    enum err e = amqp_enter_list(r, list);
    if (e != OK)
        return e;
    struct amqp_compound check = *list;
    int64_t hint;
    for (uint32_t i = 0; i < list->count; i++)
        if (amqp_read_integer(&check.in, &hint) != OK)
            return ERR_INVALID;
    return check.in.at == check.in.end ? OK : ERR_INVALID;
}

static enum err read_peers(struct amqp_reader *r, struct amqp_compound *map)
{
    enum err e = amqp_enter_map(r, map);
    if (e != OK)
        return e;
    struct amqp_compound check = *map;
    struct slice id;
    int64_t cost;
    for (uint32_t i = 0; i < map->count; i += 2)
        if (amqp_read_text(&check.in, &id) != OK || !is_router_id(id) || amqp_read_integer(&check.in, &cost) != OK)
            return ERR_INVALID;
    return check.in.at == check.in.end ? OK : ERR_INVALID;
}

/* Sequence numbers count up from 0; what would overflow soon is no such number. */
static enum err read_seq(struct amqp_reader *r, int64_t *v)
{
    int64_t seq;
    enum err e = amqp_read_integer(r, &seq);
    if (e != OK)
        return e;
    if (seq < 0 || seq > INT64_MAX / 2)
        return ERR_INVALID;
    *v = seq;
    return OK;
}

#define FIELDS(X)                                                                                                      \
    X(ID, "id")                                                                                                        \
    X(VERSION, "pv")                                                                                                   \
    X(INSTANCE, "instance")                                                                                            \
    X(SEEN, "seen")                                                                                                    \
    X(LS_SEQ, "ls_seq")                                                                                                \
    X(MOBILE_SEQ, "mobile_seq")                                                                                        \
    X(LS, "ls")                                                                                                        \
    X(PEERS, "peers")                                                                                                  \
    X(LIFE, "life")                                                                                                    \
    X(HAVE_SEQ, "have_seq")                                                                                            \
    X(HINTS, "hints")                                                                                                  \
    X(ADD, "add")                                                                                                      \
    X(DEL, "del")                                                                                                      \
    X(EXIST, "exist")

enum field {
#define X(name, text) FIELD_##name,
    FIELDS(X)
#undef X
        FIELD_COUNT
};
static const char *const field_names[] = {
#define X(name, text) text,
    FIELDS(X)
#undef X
};
static const char *const field_faults[] = {
#define X(name, text) "field '" text "' is of a wrong type or out of range",
    FIELDS(X)
#undef X
};
static const char *const field_gaps[] = {
#define X(name, text) "field '" text "' is missing",
    FIELDS(X)
#undef X
};

#define BIT(field) (1u << FIELD_##field)
/* What each op must have, and what is looked at. */
static const uint32_t needed[] = {
    [WIRE_HELLO] = BIT(ID) | BIT(INSTANCE) | BIT(SEEN),
    [WIRE_RA] = BIT(ID) | BIT(LS_SEQ) | BIT(MOBILE_SEQ),
    [WIRE_LSU] = BIT(ID) | BIT(LS),
    [WIRE_LSR] = BIT(ID),
    [WIRE_MAU] = BIT(ID) | BIT(MOBILE_SEQ),
    [WIRE_MAR] = BIT(ID) | BIT(HAVE_SEQ),
};
static const uint32_t looked_at[] = {
    [WIRE_HELLO] = BIT(ID) | BIT(VERSION) | BIT(INSTANCE) | BIT(SEEN) | BIT(LIFE),
    [WIRE_RA] = BIT(ID) | BIT(VERSION) | BIT(INSTANCE) | BIT(LS_SEQ) | BIT(MOBILE_SEQ),
    [WIRE_LSU] = BIT(ID) | BIT(VERSION) | BIT(INSTANCE) | BIT(LS) | BIT(MOBILE_SEQ) | BIT(LIFE),
    [WIRE_LSR] = BIT(ID) | BIT(VERSION),
    [WIRE_MAU] = BIT(ID) | BIT(VERSION) | BIT(MOBILE_SEQ) | BIT(HINTS) | BIT(ADD) | BIT(DEL) | BIT(EXIST),
    [WIRE_MAR] = BIT(ID) | BIT(VERSION) | BIT(HAVE_SEQ),
};
static const uint32_t record_fields = BIT(ID) | BIT(LS_SEQ) | BIT(PEERS);

static enum field field_of(struct slice key)
{
    enum field f = 0;
    while (f < FIELD_COUNT && !amqp_slice_is(key, field_names[f]))
        f++;
    return f;
}

static enum err read_record(struct amqp_reader *r, struct wire_message *out, const char **why);

static enum err read_field(enum field f, struct amqp_reader *r, struct wire_message *out, const char **why)
{
    switch (f) {
    case FIELD_ID:
        return amqp_read_text(r, &out->id) == OK && is_router_id(out->id) ? OK : ERR_INVALID;
    case FIELD_VERSION:
        return amqp_read_integer(r, &out->version);
    case FIELD_INSTANCE:
        return amqp_read_integer(r, &out->instance);
    case FIELD_SEEN:
        return read_ids(r, &out->seen);
    case FIELD_LS_SEQ:
        return read_seq(r, &out->ls_seq);
    case FIELD_MOBILE_SEQ:
        out->has_mobile_seq = true;
        return read_seq(r, &out->mobile_seq);
    case FIELD_LIFE:
        return amqp_read_integer(r, &out->life);
    case FIELD_LS:
        return read_record(r, out, why);
    case FIELD_PEERS:
        return read_peers(r, &out->peers);
    case FIELD_HAVE_SEQ:
        return read_seq(r, &out->have_seq);
    case FIELD_HINTS:
        return read_hints(r, &out->hints);
    case FIELD_ADD:
        return read_keys(r, &out->add);
    case FIELD_DEL:
        return read_keys(r, &out->del);
    case FIELD_EXIST:
        return read_keys(r, &out->exist);
    default:
        return ERR_INVALID;
    }
}

/* Read the fields in `wanted` of a map; the first of a name counts. */
static enum err read_map(struct amqp_reader *r, uint32_t wanted, uint32_t *found, struct wire_message *out,
                         const char **why)
{
    struct amqp_compound map;
    *why = "not a map";
    enum err e = amqp_enter_map(r, &map);
    if (e != OK)
        return e;
    for (uint32_t i = 0; i < map.count; i += 2) {
        struct slice key, raw;
        *why = "a map's key is malformed";
        bool is_text = amqp_read_text(&map.in, &key) == OK;
        if (!is_text && (e = amqp_read_raw(&map.in, &raw)) != OK)
            return e;
        enum field f = is_text ? field_of(key) : FIELD_COUNT;
        if (f == FIELD_COUNT || (wanted & ~*found & (1u << f)) == 0) {
            *why = "a value is malformed";
            if ((e = amqp_read_raw(&map.in, &raw)) != OK)
                return e;
            continue;
        }
        *why = field_faults[f];
        if ((e = read_field(f, &map.in, out, why)) != OK)
            return e;
        *found |= 1u << f;
    }
    *why = "a map is longer than its values";
    return map.in.at == map.in.end ? OK : ERR_INVALID;
}

static enum err check_needed(uint32_t need, uint32_t found, const char **why)
{
    for (int f = 0; f < FIELD_COUNT; f++)
        if ((need & ~found) >> f & 1) {
            *why = field_gaps[f];
            return ERR_INVALID;
        }
    return OK;
}

static enum err read_record(struct amqp_reader *r, struct wire_message *out, const char **why)
{
    struct wire_message record = {0};
    uint32_t found = 0;
    enum err e = read_map(r, record_fields, &found, &record, why);
    if (e == OK)
        e = check_needed(record_fields, found, why);
    if (e != OK)
        return e;
    out->peers = record.peers;
    out->ls_seq = record.ls_seq;
    out->owner = record.id;
    return OK;
}

/* A record is its sender's own: anything else would let one router speak for another. */
static enum err check_record(const struct wire_message *m, const char **why)
{
    *why = "the record is another router's than the message";
    return m->owner.len == m->id.len && memcmp(m->owner.data, m->id.data, m->id.len) == 0 ? OK : ERR_INVALID;
}

static enum err check_update(struct wire_message *out, uint32_t found, const char **why)
{
    out->is_absolute = found & BIT(EXIST);
    *why = "exist together with add or del";
    if (out->is_absolute && found & (BIT(ADD) | BIT(DEL)))
        return ERR_INVALID;
    *why = "neither exist nor both add and del";
    if (!out->is_absolute && (~found & (BIT(ADD) | BIT(DEL))))
        return ERR_INVALID;
    uint32_t keys = out->is_absolute ? out->exist.count : out->add.count;
    if (out->hints.count != keys)
        out->hints = (struct amqp_compound){0};
    return OK;
}

/* {opcode: op} */
static enum err read_op(struct amqp_reader *r, enum wire_op *op, const char **why)
{
    struct amqp_compound map;
    struct slice key, value, raw;
    *why = "no opcode";
    enum err e = amqp_enter_map(r, &map);
    if (e != OK)
        return e;
    for (uint32_t i = 0; i < map.count; i += 2) {
        bool is_text = amqp_read_text(&map.in, &key) == OK;
        if (!is_text && amqp_read_raw(&map.in, &raw) != OK)
            return ERR_INVALID;
        if (is_text && amqp_slice_is(key, "opcode")) {
            if (amqp_read_text(&map.in, &value) != OK)
                return ERR_INVALID;
            *why = "unknown opcode";
            for (int o = 0; o < WIRE_OP_COUNT; o++)
                if (amqp_slice_is(value, op_names[o])) {
                    *op = (enum wire_op)o;
                    return OK;
                }
            return ERR_INVALID;
        }
        if (amqp_read_raw(&map.in, &raw) != OK)
            return ERR_INVALID;
    }
    return ERR_INVALID;
}

/* Onto the value of a section. */
static enum err enter(struct amqp_reader *r, uint64_t section)
{
    struct amqp_reader at = *r;
    uint64_t descriptor;
    enum err e = amqp_read_descriptor(&at, &descriptor);
    if (e != OK)
        return e;
    if (descriptor != section)
        return ERR_INVALID;
    *r = at;
    return OK;
}

enum err wire_read(const uint8_t *m, size_t n, const struct wire_envelope *e, struct wire_message *out,
                   const char **why)
{
    struct amqp_reader r = amqp_reader(m + e->rest, n - e->rest);
    struct wire_message v = {0};
    *why = "no application properties";
    enum err err = enter(&r, AMQP_SECTION_APPLICATION_PROPERTIES);
    if (err == OK)
        err = read_op(&r, &v.op, why);
    if (err != OK)
        return err;
    *why = "no value as body";
    if ((err = enter(&r, AMQP_SECTION_VALUE)) != OK)
        return err;
    /* A later version may have other fields, or the same with other types. */
    struct amqp_reader again = r;
    uint32_t found = 0;
    if ((err = read_map(&again, BIT(ID) | BIT(VERSION), &found, &v, why)) != OK)
        return err;
    if (v.version <= WIRE_VERSION) {
        found = 0;
        if ((err = read_map(&r, looked_at[v.op], &found, &v, why)) != OK ||
            (err = check_needed(needed[v.op], found, why)) != OK)
            return err;
        if (v.op == WIRE_LSU && (err = check_record(&v, why)) != OK)
            return err;
        if (v.op == WIRE_MAU && (err = check_update(&v, found, why)) != OK)
            return err;
    } else if ((err = check_needed(BIT(ID), found, why)) != OK) {
        return err;
    }
    *out = v;
    return OK;
}
