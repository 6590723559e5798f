/* raw_peer.h -- a peer made of single frames, for what no decent implementation sends. Include after conn_test_owner.h.
 */
#ifndef TRUNKLINE_AMQP_RAW_PEER_H
#define TRUNKLINE_AMQP_RAW_PEER_H

#include <trunkline/amqp/performative.h>

struct raw {
    struct owner *o;
    uint8_t out[1 << 20];
    size_t at, len; /* what the engine has written and nobody has looked at */
};

/* A frame the engine has written. */
struct seen {
    uint16_t channel;
    uint64_t performative; /* 0: a heartbeat */
    struct amqp_reader body;
};

static inline struct slice slice_of_text(const char *text)
{
    return (struct slice){NULL, (const uint8_t *)text, strlen(text)};
}

static inline void raw_take(struct raw *r)
{
    if (r->at == r->len)
        r->at = r->len = 0;
    for (size_t n; (n = owner_take(r->o, r->out + r->len, sizeof r->out - r->len)); r->len += n)
        ;
}

/* The next frame that the engine has written, headers left out. Result: false, there is none. */
static inline bool raw_next(struct raw *r, struct seen *s)
{
    raw_take(r);
    while (r->len - r->at >= 8 && memcmp(r->out + r->at, "AMQP", 4) == 0)
        r->at += 8;
    if (r->at == r->len)
        return false;
    assert_true(r->len - r->at >= 8);
    uint8_t *f = r->out + r->at;
    uint32_t size = amqp_get32(f);
    assert_true(size >= 8 && size <= r->len - r->at);
    r->at += size;
    *s = (struct seen){.channel = amqp_get16(f + 6), .body = amqp_reader(f + 8, size - 8)};
    if (size > 8)
        assert_int_equal(amqp_read_descriptor(&s->body, &s->performative), OK);
    return true;
}

/* The next frame must be of this performative. */
static inline struct seen raw_expect(struct raw *r, uint64_t performative)
{
    struct seen s = {0};
    assert_true(raw_next(r, &s));
    assert_int_equal(s.performative, performative);
    return s;
}

static inline void raw_expect_nothing(struct raw *r)
{
    struct seen s;
    assert_false(raw_next(r, &s));
}

/* End, Detach and Close end in an error field. */
static inline void raw_expect_error(struct raw *r, uint64_t performative, const char *condition)
{
    struct seen s = raw_expect(r, performative);
    struct slice error;
    if (performative == AMQP_DESC_DETACH) {
        struct amqp_detach_fields f;
        assert_int_equal(amqp_read_detach(&s.body, &f), OK);
        assert_true(f.closed);
        error = f.error;
    } else {
        struct amqp_close_fields f;
        assert_int_equal(amqp_read_close(&s.body, &f), OK);
        error = f.error;
    }
    struct amqp_reader e = amqp_slice_reader(error);
    uint64_t descriptor;
    struct amqp_error_fields f;
    assert_int_equal(amqp_read_descriptor(&e, &descriptor), OK);
    assert_int_equal(descriptor, AMQP_DESC_ERROR);
    assert_int_equal(amqp_read_error(&e, &f), OK);
    if (!amqp_slice_is(f.condition, condition))
        fail_msg("condition is %.*s (%.*s), not %s", (int)f.condition.len, (const char *)f.condition.data,
                 (int)f.description.len, (const char *)f.description.data, condition);
}

#define RAW_SEND(r, on_channel, type, fields) RAW_SEND_WITH(r, on_channel, type, fields, "", 0)
#define RAW_SEND_WITH(r, on_channel, type, fields, payload, payload_len)                                               \
    do {                                                                                                               \
        uint8_t frame_[70000];                                                                                         \
        struct amqp_writer w_ = amqp_writer(frame_, sizeof frame_);                                                    \
        size_t mark_ = amqp_write_frame_begin(&w_, 0, on_channel);                                                     \
        amqp_write_##type(&w_, fields);                                                                                \
        amqp_write_raw(&w_, payload, payload_len);                                                                     \
        amqp_write_frame_end(&w_, mark_, 0);                                                                           \
        assert_true(amqp_writer_fits(&w_));                                                                            \
        owner_feed((r)->o, frame_, w_.len);                                                                            \
    } while (0)

static inline void raw_begin(struct raw *r, uint16_t channel, uint32_t window)
{
    struct amqp_begin_fields f = {0};
    AMQP_SET(&f, next_outgoing_id, 0);
    AMQP_SET(&f, incoming_window, window);
    AMQP_SET(&f, outgoing_window, 1000);
    RAW_SEND(r, channel, begin, &f);
}

static inline void raw_open(struct raw *r, struct amqp_conn_conf conf, uint32_t max_frame_size)
{
    r->o = owner_new("server", &conf);
    r->at = r->len = 0;
    owner_feed(r->o, "AMQP\0\1\0\0", 8);
    struct amqp_open_fields f = {0};
    AMQP_SET(&f, container_id, slice_of_text("raw"));
    AMQP_SET(&f, max_frame_size, max_frame_size);
    RAW_SEND(r, 0, open, &f);
    raw_expect(r, AMQP_DESC_OPEN);
}

/* As above, with a session on channel 0. */
static inline struct raw *raw_new(struct amqp_conn_conf conf, uint32_t max_frame_size, uint32_t window)
{
    struct raw *r = xcalloc(1, sizeof *r);
    raw_open(r, conf, max_frame_size);
    raw_begin(r, 0, window);
    raw_expect(r, AMQP_DESC_BEGIN);
    return r;
}

static inline void raw_free(struct raw *r)
{
    owner_free(&r->o);
    free(r);
}

/* Attach; `receiver`: the peer receives. */
static inline void raw_attach_frame(struct raw *r, uint32_t handle, const char *name, bool receiver)
{
    struct amqp_attach_fields f = {0};
    static const uint8_t source[] = {0, 0x53, 0x28, 0xc0, 4, 1, 0xa1, 1, 'q'};
    static const uint8_t target[] = {0, 0x53, 0x29, 0xc0, 4, 1, 0xa1, 1, 'q'};
    AMQP_SET(&f, name, slice_of_text(name));
    AMQP_SET(&f, handle, handle);
    AMQP_SET(&f, role, receiver);
    AMQP_SET(&f, source, ((struct slice){NULL, source, sizeof source}));
    AMQP_SET(&f, target, ((struct slice){NULL, target, sizeof target}));
    if (!receiver)
        AMQP_SET(&f, initial_delivery_count, 0);
    RAW_SEND(r, 0, attach, &f);
}

static inline struct test_link *raw_attach(struct raw *r, uint32_t handle, bool receiver)
{
    char name[32];
    snprintf(name, sizeof name, "link-%u", handle);
    raw_attach_frame(r, handle, name, receiver);
    raw_expect(r, AMQP_DESC_ATTACH);
    if (!receiver && r->o->credit)
        raw_expect(r, AMQP_DESC_FLOW);
    return r->o->links;
}

/* A receiver's flow. */
static inline void raw_flow(struct raw *r, uint32_t next_incoming_id, uint32_t window, uint32_t handle,
                            uint32_t delivery_count, uint32_t credit, bool drain)
{
    struct amqp_flow_fields f = {0};
    AMQP_SET(&f, next_incoming_id, next_incoming_id);
    AMQP_SET(&f, incoming_window, window);
    AMQP_SET(&f, next_outgoing_id, 0);
    AMQP_SET(&f, outgoing_window, 1000);
    AMQP_SET(&f, handle, handle);
    AMQP_SET(&f, delivery_count, delivery_count);
    AMQP_SET(&f, link_credit, credit);
    AMQP_SET(&f, drain, drain);
    RAW_SEND(r, 0, flow, &f);
}

/* A transfer frame; id < 0: left out with the tag. */
static inline void raw_transfer(struct raw *r, uint32_t handle, int64_t id, bool settled, bool more,
                                const char *payload)
{
    struct amqp_transfer_fields f = {0};
    AMQP_SET(&f, handle, handle);
    if (id >= 0) {
        AMQP_SET(&f, delivery_id, (uint32_t)id);
        AMQP_SET(&f, delivery_tag, slice_of_text("tag"));
    }
    if (settled)
        AMQP_SET(&f, settled, true);
    if (more)
        AMQP_SET(&f, more, true);
    RAW_SEND_WITH(r, 0, transfer, &f, payload, strlen(payload));
}

static inline struct amqp_disposition_fields raw_read_disposition(struct raw *r)
{
    struct seen s = raw_expect(r, AMQP_DESC_DISPOSITION);
    struct amqp_disposition_fields f;
    assert_int_equal(amqp_read_disposition(&s.body, &f), OK);
    return f;
}

static inline struct amqp_flow_fields raw_read_flow(struct raw *r)
{
    struct seen s = raw_expect(r, AMQP_DESC_FLOW);
    struct amqp_flow_fields f;
    assert_int_equal(amqp_read_flow(&s.body, &f), OK);
    return f;
}

/* A transfer the engine has sent, with the state of its list in *f; the payload is what is left of the reader. */
static inline struct amqp_reader raw_read_transfer(struct raw *r, struct amqp_transfer_fields *f)
{
    struct seen s = raw_expect(r, AMQP_DESC_TRANSFER);
    assert_int_equal(amqp_read_transfer(&s.body, f), OK);
    return s.body;
}

#endif
