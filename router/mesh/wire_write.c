/* Writing what routers speak among themselves (wire.h). */
#include "wire_priv.h"

#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/message.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

void octets_fini(struct octets *o)
{
    free(o->data);
    *o = (struct octets){0};
}

static void octets_reserve(struct octets *o, size_t capacity)
{
    if (capacity <= o->capacity)
        return;
    size_t doubled = o->capacity * 2 > 256 ? o->capacity * 2 : 256;
    o->capacity = capacity > doubled ? capacity : doubled;
    o->data = xrealloc(o->data, o->capacity);
}

/* The old router writes its compounds with 32 bit sizes, also small ones. */
static size_t begin32(struct amqp_writer *w, uint8_t code, uint32_t count)
{
    size_t mark = w->len;
    uint8_t *p = amqp_writer_room(w, 9);
    if (p) {
        p[0] = code;
        amqp_put32(p + 5, count);
    }
    return mark;
}

static void end32(struct amqp_writer *w, size_t mark)
{
    if (mark + 5 <= w->capacity)
        amqp_put32(w->base + mark + 1, (uint32_t)(w->len - mark - 5));
}

/* ---- router annotations ---- */

static void write_node(struct amqp_writer *w, const char *id)
{
    char node[MESH_ID_MAX + 3] = "0/";
    size_t n = strlen(id);
    ASSERT(n <= MESH_ID_MAX);
    memcpy(node + 2, id, n);
    amqp_write_string(w, node, n + 2);
}

static void write_annotations(struct amqp_writer *w, const struct wire_envelope *e, const char *self)
{
    amqp_write_descriptor(w, AMQP_SECTION_MESSAGE_ANNOTATIONS);
    size_t map = amqp_write_map_begin(w);
    amqp_write_raw(w, e->user.data, e->user.len);
    amqp_write_symbol_of(w, WIRE_INGRESS);
    if (e->ingress.len)
        amqp_write_string(w, e->ingress.data, e->ingress.len);
    else
        write_node(w, self);
    amqp_write_symbol_of(w, WIRE_TRACE);
    size_t list = amqp_write_list_begin(w);
    amqp_write_raw(w, e->trace.in.at, amqp_left(&e->trace.in));
    write_node(w, self);
    amqp_write_list_end(w, list, e->trace.count + 1);
    amqp_write_map_end(w, map, e->user_count + 4);
}

static void write_relayed(struct amqp_writer *w, const uint8_t *m, size_t n, const struct wire_envelope *e,
                          const char *self)
{
    amqp_write_raw(w, m, e->before);
    write_annotations(w, e, self);
    amqp_write_raw(w, m + e->after, n - e->after);
}

void wire_relay(const uint8_t *m, size_t n, const struct wire_envelope *e, const char *self, struct octets *out)
{
    octets_reserve(out, 256);
    struct amqp_writer w = amqp_writer(out->data, out->capacity);
    write_relayed(&w, m, n, e, self);
    if (!amqp_writer_fits(&w)) {
        octets_reserve(out, w.len);
        w = amqp_writer(out->data, out->capacity);
        write_relayed(&w, m, n, e, self);
    }
    out->len = w.len;
}

/* ---- messages of our own ---- */

static bool is_mobile(enum wire_op op)
{
    return op == WIRE_MAU || op == WIRE_MAR;
}

static void write_to(struct amqp_writer *w, const struct wire_out *m)
{
    char to[sizeof "amqp:/_topo/0//qdrouter.ma" + MESH_ID_MAX];
    char *at = to;
    if (m->op == WIRE_HELLO) {
        at = stpcpy(at, "amqp:/_local/qdhello");
    } else {
        /* The old router's differential update has no scheme, all others have. */
        at = stpcpy(at, m->op == WIRE_MAU && m->target == NULL ? "_topo/0/" : "amqp:/_topo/0/");
        at = stpcpy(at, m->target ? m->target : "all");
        at = stpcpy(at, is_mobile(m->op) ? "/qdrouter.ma" : "/qdrouter");
    }
    amqp_write_string(w, to, (size_t)(at - to));
}

static void write_envelope(struct amqp_writer *w, const struct wire_out *m)
{
    amqp_write_descriptor(w, AMQP_SECTION_HEADER);
    size_t mark = begin32(w, AMQP_CODE_LIST32, 1);
    amqp_write_bool(w, false);
    end32(w, mark);
    write_annotations(w, &(struct wire_envelope){0}, m->self);
    amqp_write_descriptor(w, AMQP_SECTION_PROPERTIES);
    mark = begin32(w, AMQP_CODE_LIST32, is_mobile(m->op) ? 3 : 6);
    amqp_write_null(w);
    amqp_write_null(w);
    write_to(w, m);
    for (int i = 3; !is_mobile(m->op) && i < 6; i++)
        amqp_write_null(w);
    end32(w, mark);
    amqp_write_descriptor(w, AMQP_SECTION_APPLICATION_PROPERTIES);
    mark = begin32(w, AMQP_CODE_MAP32, 2);
    if (is_mobile(m->op))
        amqp_write_symbol_of(w, "opcode");
    else
        amqp_write_string_of(w, "opcode");
    amqp_write_string_of(w, wire_op_name(m->op));
    end32(w, mark);
}

static void write_int(struct amqp_writer *w, int64_t v)
{
    if (v >= INT32_MIN && v <= INT32_MAX)
        amqp_write_int(w, (int32_t)v);
    else
        amqp_write_long(w, v);
}

static void write_texts(struct amqp_writer *w, const char *const *texts, uint32_t n)
{
    size_t mark = begin32(w, AMQP_CODE_LIST32, n);
    for (uint32_t i = 0; i < n; i++)
        amqp_write_string_of(w, texts[i]);
    end32(w, mark);
}

static void write_seen(struct amqp_writer *w, const struct wire_out *m)
{
    amqp_write_string_of(w, "seen");
    if (m->seen_count == 0)
        amqp_write_octet(w, AMQP_CODE_LIST0);
    else
        write_texts(w, m->seen, m->seen_count);
}

static void write_record(struct amqp_writer *w, const struct wire_out *m)
{
    amqp_write_string_of(w, "ls");
    size_t record = begin32(w, AMQP_CODE_MAP32, 8);
    amqp_write_string_of(w, "id");
    amqp_write_string_of(w, m->id ? m->id : m->self);
    amqp_write_string_of(w, "area");
    amqp_write_string_of(w, "0");
    amqp_write_string_of(w, "ls_seq");
    write_int(w, m->ls_seq);
    amqp_write_string_of(w, "peers");
    size_t peers = begin32(w, AMQP_CODE_MAP32, 2 * m->peer_count);
    for (uint32_t i = 0; i < m->peer_count; i++) {
        amqp_write_string_of(w, m->peers[i].id);
        amqp_write_int(w, m->peers[i].cost);
    }
    end32(w, peers);
    end32(w, record);
}

static bool is_with_life(const struct wire_out *m)
{
    return m->is_among_ours && (m->op == WIRE_LSU || m->op == WIRE_HELLO);
}

static void write_link_state_body(struct amqp_writer *w, const struct wire_out *m)
{
    static const uint32_t counts[] = {[WIRE_HELLO] = 10, [WIRE_RA] = 12, [WIRE_LSU] = 12, [WIRE_LSR] = 6};
    size_t mark = begin32(w, AMQP_CODE_MAP32,
                          counts[m->op] + (m->op == WIRE_LSU && m->is_among_ours ? 2 : 0) + (is_with_life(m) ? 2 : 0));
    amqp_write_string_of(w, "id");
    amqp_write_string_of(w, m->id ? m->id : m->self);
    amqp_write_string_of(w, "pv");
    amqp_write_int(w, WIRE_VERSION);
    amqp_write_string_of(w, "area");
    amqp_write_string_of(w, "0");
    if (m->op != WIRE_LSR) {
        amqp_write_string_of(w, "instance");
        write_int(w, m->instance);
    }
    if (m->op == WIRE_HELLO)
        write_seen(w, m);
    if (m->op == WIRE_RA || m->op == WIRE_LSU) {
        amqp_write_string_of(w, "ls_seq");
        write_int(w, m->ls_seq);
    }
    if (m->op == WIRE_LSU)
        write_record(w, m);
    if (m->op == WIRE_RA || (m->op == WIRE_LSU && m->is_among_ours)) {
        amqp_write_string_of(w, "mobile_seq");
        write_int(w, m->mobile_seq);
    }
    if (is_with_life(m)) {
        amqp_write_string_of(w, "life");
        amqp_write_long(w, m->life);
    }
    end32(w, mark);
}

static void write_hints(struct amqp_writer *w, const struct wire_out *m)
{
    amqp_write_symbol_of(w, "hints");
    size_t mark = begin32(w, AMQP_CODE_LIST32, m->add_count);
    for (uint32_t i = 0; i < m->add_count; i++)
        amqp_write_int(w, m->hints[i]);
    end32(w, mark);
}

static void write_mobile_body(struct amqp_writer *w, const struct wire_out *m)
{
    uint32_t count = m->op == WIRE_MAR ? 8 : m->is_absolute ? 12 : 14;
    size_t mark = begin32(w, AMQP_CODE_MAP32, count);
    amqp_write_symbol_of(w, "id");
    amqp_write_string_of(w, m->id ? m->id : m->self);
    amqp_write_symbol_of(w, "pv");
    amqp_write_long(w, WIRE_VERSION);
    amqp_write_symbol_of(w, "area");
    amqp_write_string_of(w, "0");
    amqp_write_symbol_of(w, m->op == WIRE_MAR ? "have_seq" : "mobile_seq");
    amqp_write_long(w, m->op == WIRE_MAR ? m->have_seq : m->mobile_seq);
    if (m->op == WIRE_MAU && m->is_absolute) {
        amqp_write_symbol_of(w, "exist");
        write_texts(w, m->add, m->add_count);
        write_hints(w, m);
    } else if (m->op == WIRE_MAU) {
        write_hints(w, m);
        amqp_write_symbol_of(w, "add");
        write_texts(w, m->add, m->add_count);
        amqp_write_symbol_of(w, "del");
        write_texts(w, m->del, m->del_count);
    }
    end32(w, mark);
}

static void write_message(struct amqp_writer *w, const struct wire_out *m)
{
    write_envelope(w, m);
    amqp_write_descriptor(w, AMQP_SECTION_VALUE);
    if (is_mobile(m->op))
        write_mobile_body(w, m);
    else
        write_link_state_body(w, m);
}

void wire_encode(const struct wire_out *m, struct octets *out)
{
    octets_reserve(out, 256);
    struct amqp_writer w = amqp_writer(out->data, out->capacity);
    write_message(&w, m);
    if (!amqp_writer_fits(&w)) {
        octets_reserve(out, w.len);
        w = amqp_writer(out->data, out->capacity);
        write_message(&w, m);
    }
    out->len = w.len;
}
