#include <trunkline/amqp/annotations.h>

#include <string.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/message.h>
#include <trunkline/base/assert.h>

#define PREFIX "x-opt-qd."
#define PREFIX_LENGTH (sizeof PREFIX - 1)
#define EXCHANGED "x-opt-trunkline.exchanged"
#define EXCHANGED_LENGTH (sizeof EXCHANGED - 1)

/* A value of the section lies in a map, and that in a described value: it is to be readable there (AMQP_DEPTH_MAX). */
enum { DEPTH = 2 };

static const char MALFORMED[] = "message annotations are malformed";

/* ---- keys ---- */

/* Runs for each entry of each message: a slice as argument would go through memory. */
static inline enum amqp_annotation meaning(const uint8_t *key, size_t n)
{
    if (n < PREFIX_LENGTH || memcmp(key, PREFIX, PREFIX_LENGTH) != 0)
        return n == EXCHANGED_LENGTH && memcmp(key, EXCHANGED, n) == 0 ? AMQP_ANNOTATION_EXCHANGED
                                                                       : AMQP_ANNOTATION_OTHER;
    const uint8_t *name = key + PREFIX_LENGTH;
    switch (n - PREFIX_LENGTH) {
    case 0:
        return AMQP_ANNOTATION_OBSOLETE;
    case 2:
        return memcmp(name, "to", 2) == 0 ? AMQP_ANNOTATION_TO : AMQP_ANNOTATION_UNKNOWN;
    case 5:
        if (memcmp(name, "trace", 5) == 0)
            return AMQP_ANNOTATION_TRACE;
        if (memcmp(name, "phase", 5) == 0)
            return AMQP_ANNOTATION_PHASE;
        return memcmp(name, "class", 5) == 0 ? AMQP_ANNOTATION_OBSOLETE : AMQP_ANNOTATION_UNKNOWN;
    case 6:
        return memcmp(name, "stream", 6) == 0 ? AMQP_ANNOTATION_STREAM : AMQP_ANNOTATION_UNKNOWN;
    case 7:
        return memcmp(name, "ingress", 7) == 0 ? AMQP_ANNOTATION_INGRESS : AMQP_ANNOTATION_UNKNOWN;
    default:
        return AMQP_ANNOTATION_UNKNOWN;
    }
}

enum amqp_annotation amqp_annotation_of(struct slice key)
{
    return meaning(key.data, key.len);
}

/* ---- reading ---- */

static enum err read_phase(struct amqp_reader *r, struct amqp_annotations *a)
{
    int64_t phase;
    enum err e = amqp_read_integer(r, &phase);
    if (e == OK && (phase < 0 || phase > AMQP_PHASE_MAX))
        e = ERR_INVALID;
    if (e == OK)
        a->phase = (uint8_t)phase;
    return e;
}

static enum err read_trace(struct amqp_reader *r, struct amqp_annotations *a)
{
    struct amqp_compound list;
    enum err e = amqp_enter_list(r, &list);
    if (e != OK)
        return e;
    const uint8_t *from = list.in.at;
    bool is_long_form = false;
    for (uint32_t i = 0; i < list.count; i++) {
        bool is_long = amqp_peek(&list.in) == AMQP_CODE_STR32;
        struct slice id;
        if ((e = amqp_read_string(&list.in, &id)) != OK)
            return e;
        is_long_form |= is_long && id.len <= 255;
    }
    if (list.in.at != list.in.end)
        return ERR_INVALID;
    a->trace.ids = (struct slice){NULL, from, (size_t)(list.in.end - from)};
    a->trace.count = list.count;
    a->trace.is_long_form = is_long_form;
    return OK;
}

/* The value of a router entry. */
static enum err read_value(struct amqp_reader *r, enum amqp_annotation what, struct amqp_annotations *a,
                           const char **why)
{
    switch (what) {
    case AMQP_ANNOTATION_EXCHANGED:
        *why = "exchanged not a valid binary";
        return amqp_read_binary(r, &a->exchanged);
    case AMQP_ANNOTATION_TO:
        *why = "to-override not a valid string type";
        return amqp_read_string(r, &a->to);
    case AMQP_ANNOTATION_INGRESS:
        *why = "ingress not a valid string type";
        return amqp_read_string(r, &a->ingress);
    case AMQP_ANNOTATION_TRACE:
        *why = "trace not a valid list of strings";
        return read_trace(r, a);
    case AMQP_ANNOTATION_PHASE:
        *why = "phase not a valid small integer";
        return read_phase(r, a);
    case AMQP_ANNOTATION_STREAM:
        a->stream = true;
        break;
    default:
        break;
    }
    *why = MALFORMED;
    return amqp_skip(r);
}

/* A key, of whatever type: keys that are no text are nobody's we know. */
static enum err read_unusual_key(struct amqp_reader *r, enum amqp_annotation *what)
{
    struct slice text;
    *what = AMQP_ANNOTATION_OTHER;
    if (amqp_read_text(r, &text) != OK)
        return amqp_check_inside(r, DEPTH);
    *what = amqp_annotation_of(text);
    return OK;
}

static inline enum err read_key(struct amqp_reader *r, enum amqp_annotation *what)
{
    const uint8_t *at = r->at;
    size_t left = amqp_left(r);
    if (left < 2 || at[0] != AMQP_CODE_SYM8 || left - 2 < at[1])
        return read_unusual_key(r, what);
    *what = meaning(at + 2, at[1]);
    r->at = at + 2 + at[1];
    return OK;
}

/* A value of the user goes to another peer, who must be able to read it: well-formed throughout. */
static inline enum err pass_user_value(struct amqp_reader *r)
{
    struct slice text;
    if (amqp_peek(r) == AMQP_CODE_STR8)
        return amqp_read_string(r, &text);
    return amqp_check_inside(r, DEPTH);
}

/* The user's entries, up to the first that is a router's. Result: *what is its meaning and r stands at its value;
 * AMQP_ANNOTATION_OTHER: the map has ended. */
static enum err read_user_entries(struct amqp_compound *map, struct amqp_annotations *a, enum amqp_annotation *what)
{
    a->user.data = map->in.at;
    while (a->user_count < map->count) {
        enum err e = read_key(&map->in, what);
        if (e != OK || amqp_annotation_is_of_router(*what))
            return e;
        if ((e = pass_user_value(&map->in)) != OK)
            return e;
        a->user.len = (size_t)(map->in.at - a->user.data);
        a->user_count += 2;
    }
    *what = AMQP_ANNOTATION_OTHER;
    return OK;
}

/* From the first router entry on: its value comes next. */
static enum err read_router_entries(struct amqp_compound *map, enum amqp_annotation what, struct amqp_annotations *a,
                                    const char **why)
{
    /* How many entries follow. */
    uint32_t left = (map->count - a->user_count) / 2 - 1, unread = 0;
    for (;;) {
        enum err e = read_value(&map->in, what, a, why);
        if (e != OK)
            return e;
        if (!amqp_annotation_is_of_router(what)) {
            a->is_mixed = true;
            unread += left > 0;
            left -= left > 0;
        }
        *why = MALFORMED;
        if (left == 0)
            return unread || map->in.at == map->in.end ? OK : ERR_INVALID;
        left--;
        if ((e = read_key(&map->in, &what)) != OK)
            return e;
    }
}

static enum err read_section(struct slice section, bool only_user, struct amqp_annotations *a, const char **why)
{
    struct amqp_reader r = amqp_slice_reader(section);
    uint64_t descriptor;
    struct amqp_compound map;
    enum amqp_annotation what;
    *why = MALFORMED;
    if (amqp_read_descriptor(&r, &descriptor) != OK || descriptor != AMQP_SECTION_MESSAGE_ANNOTATIONS ||
        amqp_enter_map(&r, &map) != OK || r.at != r.end)
        return ERR_INVALID;
    enum err e = read_user_entries(&map, a, &what);
    if (e != OK)
        return e;
    if (what == AMQP_ANNOTATION_OTHER)
        return map.in.at == map.in.end ? OK : ERR_INVALID;
    a->by_router = !only_user;
    return only_user ? OK : read_router_entries(&map, what, a, why);
}

enum err amqp_annotations_read(struct slice section, bool only_user, struct amqp_annotations *a, const char **why)
{
    struct amqp_annotations found = {0};
    /* What ends too early inside a whole section is as wrong as anything else there. */
    if (section.len && read_section(section, only_user, &found, why) != OK)
        return ERR_INVALID;
    *a = found;
    return OK;
}

bool amqp_annotations_have_passed(const struct amqp_annotations *a, struct slice node_id)
{
    struct amqp_reader r = amqp_slice_reader(a->trace.ids);
    for (struct slice id; amqp_read_string(&r, &id) == OK;)
        if (id.len == node_id.len && (id.len == 0 || memcmp(id.data, node_id.data, id.len) == 0))
            return true;
    return false;
}

/* ---- writing ---- */

/* Keys, encoded: sym8. */
#define KEY(length, name) "\xa3" length PREFIX name
static const char KEY_EXCHANGED[] = "\xa3\x19" EXCHANGED;
static const char KEY_PHASE[] = KEY("\x0e", "phase") "\x54", KEY_STREAM[] = KEY("\x0f", "stream") "\x54\x01",
                  KEY_TO[] = KEY("\x0b", "to"), KEY_INGRESS[] = KEY("\x10", "ingress"),
                  KEY_TRACE[] = KEY("\x0e", "trace");
#define LENGTH(key) (sizeof(key) - 1)

/* What a section will hold. */
struct plan {
    size_t ids;   /* octets of the trace's strings */
    size_t map;   /* octets of all entries */
    size_t total; /* octets of the section */
    uint32_t hops, count;
    bool has_long_list, has_long_map;
};

static size_t string_size(size_t n)
{
    return (n <= 255 ? 2 : 5) + n;
}

static size_t short_ids_size(const struct amqp_annotations *a)
{
    struct amqp_reader r = amqp_slice_reader(a->trace.ids);
    size_t n = 0;
    for (struct slice id; amqp_read_string(&r, &id) == OK;)
        n += string_size(id.len);
    return n;
}

/* Size and count are octets of their own in the short forms of lists and maps; the size counts the count. */
static bool needs_long_form(size_t n, uint32_t count)
{
    return n + 1 > 255 || count > 255;
}

static struct plan plan_section(const struct amqp_annotations *a, struct slice node_id)
{
    struct plan p = {.map = a->user.len, .count = a->user_count};
    if (a->exchanged.data) {
        p.map += LENGTH(KEY_EXCHANGED) + string_size(a->exchanged.len);
        p.count += 2;
    }
    if (a->phase) {
        p.map += LENGTH(KEY_PHASE) + 1;
        p.count += 2;
    }
    if (a->stream) {
        p.map += LENGTH(KEY_STREAM);
        p.count += 2;
    }
    if (a->to.data) {
        p.map += LENGTH(KEY_TO) + string_size(a->to.len);
        p.count += 2;
    }
    if (a->ingress.data) {
        p.map += LENGTH(KEY_INGRESS) + string_size(a->ingress.len);
        p.count += 2;
    }
    p.hops = a->trace.count + (node_id.len > 0);
    if (p.hops) {
        p.ids = a->trace.is_long_form ? short_ids_size(a) : a->trace.ids.len;
        p.ids += node_id.len ? string_size(node_id.len) : 0;
        p.has_long_list = needs_long_form(p.ids, p.hops);
        p.map += LENGTH(KEY_TRACE) + (p.has_long_list ? 9 : 3) + p.ids;
        p.count += 2;
    }
    p.has_long_map = needs_long_form(p.map, p.count);
    p.total = p.count ? 3 + (p.has_long_map ? 9 : 3) + p.map : 0;
    /* Messages are far from that: what the sizes say has 32 bits. */
    ASSERT(p.total <= UINT32_MAX);
    return p;
}

/* Each of these writes at `at` and returns where it has ended. */

static uint8_t *put(uint8_t *at, const void *octets, size_t n)
{
    memcpy(at, octets, n);
    return at + n;
}
#define PUT_KEY(at, key) put(at, key, LENGTH(key))

static uint8_t *put_head(uint8_t *at, bool is_long, uint8_t code8, uint8_t code32, size_t n, uint32_t count)
{
    if (is_long) {
        at[0] = code32;
        amqp_put32(at + 1, (uint32_t)n + 4);
        amqp_put32(at + 5, count);
        return at + 9;
    }
    at[0] = code8;
    at[1] = (uint8_t)(n + 1);
    at[2] = (uint8_t)count;
    return at + 3;
}

/* Octets behind their length, in the shorter of two forms. */
static uint8_t *put_octets(uint8_t *at, uint8_t code8, uint8_t code32, struct slice s)
{
    if (s.len > 255) {
        at[0] = code32;
        amqp_put32(at + 1, (uint32_t)s.len);
        return put(at + 5, s.data, s.len);
    }
    at[0] = code8;
    at[1] = (uint8_t)s.len;
    return put(at + 2, s.data, s.len);
}

static uint8_t *put_string(uint8_t *at, struct slice s)
{
    return put_octets(at, AMQP_CODE_STR8, AMQP_CODE_STR32, s);
}

static uint8_t *put_short_ids(uint8_t *at, const struct amqp_annotations *a)
{
    struct amqp_reader r = amqp_slice_reader(a->trace.ids);
    for (struct slice id; amqp_read_string(&r, &id) == OK;)
        at = put_string(at, id);
    return at;
}

static uint8_t *put_trace(uint8_t *at, const struct amqp_annotations *a, struct slice node_id, const struct plan *p)
{
    at = PUT_KEY(at, KEY_TRACE);
    at = put_head(at, p->has_long_list, AMQP_CODE_LIST8, AMQP_CODE_LIST32, p->ids, p->hops);
    if (a->trace.is_long_form)
        at = put_short_ids(at, a);
    else if (a->trace.count)
        at = put(at, a->trace.ids.data, a->trace.ids.len);
    return node_id.len ? put_string(at, node_id) : at;
}

size_t amqp_annotations_write(void *out, size_t capacity, const struct amqp_annotations *a, struct slice node_id)
{
    struct plan p = plan_section(a, node_id);
    if (p.total == 0 || p.total > capacity)
        return p.total;
    uint8_t *at = put(out, "\0\x53\x72", 3);
    at = put_head(at, p.has_long_map, AMQP_CODE_MAP8, AMQP_CODE_MAP32, p.map, p.count);
    if (a->user_count)
        at = put(at, a->user.data, a->user.len);
    if (a->exchanged.data)
        at = put_octets(PUT_KEY(at, KEY_EXCHANGED), AMQP_CODE_VBIN8, AMQP_CODE_VBIN32, a->exchanged);
    if (a->phase) {
        at = PUT_KEY(at, KEY_PHASE);
        *at++ = a->phase;
    }
    if (a->stream)
        at = PUT_KEY(at, KEY_STREAM);
    if (a->to.data)
        at = put_string(PUT_KEY(at, KEY_TO), a->to);
    if (a->ingress.data)
        at = put_string(PUT_KEY(at, KEY_INGRESS), a->ingress);
    if (p.hops)
        at = put_trace(at, a, node_id, &p);
    ASSERT((size_t)(at - (uint8_t *)out) == p.total);
    return p.total;
}
