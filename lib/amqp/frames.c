#include "frames.h"

#include <trunkline/base/alloc.h>

/* Step to the next field of a list. Result: false, it is null or left out. */
static inline bool field(struct amqp_compound *l)
{
    if (l->count == 0)
        return false;
    l->count--;
    return !amqp_read_null(&l->in);
}

/* Read the next field, if there is one, into `to`. */
#define FIELD(l, read, to)                                                                                             \
    do {                                                                                                               \
        if (field(l)) {                                                                                                \
            enum err e_ = read(&(l)->in, to);                                                                          \
            if (e_ != OK)                                                                                              \
                return e_;                                                                                             \
        }                                                                                                              \
    } while (0)
#define FIELD_FLAGGED(l, read, to, flag)                                                                               \
    do {                                                                                                               \
        if (field(l)) {                                                                                                \
            enum err e_ = read(&(l)->in, to);                                                                          \
            if (e_ != OK)                                                                                              \
                return e_;                                                                                             \
            *(flag) = true;                                                                                            \
        }                                                                                                              \
    } while (0)
#define FIELD_MANDATORY(l, read, to)                                                                                   \
    do {                                                                                                               \
        if (!field(l))                                                                                                 \
            return ERR_INVALID;                                                                                        \
        enum err e_ = read(&(l)->in, to);                                                                              \
        if (e_ != OK)                                                                                                  \
            return e_;                                                                                                 \
    } while (0)
#define ENTER(body, l)                                                                                                 \
    do {                                                                                                               \
        enum err e_ = amqp_enter_list(body, l);                                                                        \
        if (e_ != OK)                                                                                                  \
            return e_;                                                                                                 \
    } while (0)

static struct slice slice_of(const char *text)
{
    return (struct slice){NULL, (const uint8_t *)text, strlen(text)};
}

/* ---- errors ---- */

enum err frame_read_error(struct slice encoded, struct amqp_error_fields *out)
{
    *out = (struct amqp_error_fields){0};
    if (encoded.len == 0)
        return OK;
    struct amqp_reader r = amqp_slice_reader(encoded);
    uint64_t descriptor;
    enum err e = amqp_read_descriptor(&r, &descriptor);
    if (e != OK)
        return e;
    return descriptor == AMQP_DESC_ERROR ? amqp_read_error(&r, out) : ERR_INVALID;
}

char *amqp_text_of(struct slice s)
{
    return s.len ? xstrndup((const char *)s.data, s.len) : xstrdup("");
}

static void write_error(struct amqp_writer *w, const struct amqp_error *e)
{
    struct amqp_error_fields f = {0};
    AMQP_SET(&f, condition, slice_of(e->condition));
    if (e->description)
        AMQP_SET(&f, description, slice_of(e->description));
    if (e->info.len)
        AMQP_SET(&f, info, e->info);
    amqp_write_error(w, &f);
}

void frame_write_ending(struct amqp_writer *w, const void *frame_ending)
{
    const struct frame_ending *f = frame_ending;
    amqp_write_descriptor(w, f->performative);
    size_t l = amqp_write_list_begin(w);
    uint32_t count = 0;
    if (f->performative == AMQP_DESC_DETACH) {
        amqp_write_uint(w, f->handle);
        amqp_write_bool(w, f->closed);
        count = 2;
    }
    if (f->error) {
        write_error(w, f->error);
        count++;
    }
    amqp_write_list_end(w, l, count);
}

void frame_write_begin(struct amqp_writer *w, const void *f)
{
    amqp_write_begin(w, f);
}

void frame_write_attach(struct amqp_writer *w, const void *f)
{
    amqp_write_attach(w, f);
}

void frame_write_flow(struct amqp_writer *w, const void *f)
{
    amqp_write_flow(w, f);
}

/* ---- states ---- */

enum err frame_read_state(struct amqp_reader *r, struct amqp_state *s)
{
    /* accepted and released, as everybody sends them: 00 53 24 45 */
    if (amqp_left(r) >= 4 && r->at[0] == 0 && r->at[1] == AMQP_CODE_SMALLULONG && r->at[3] == AMQP_CODE_LIST0 &&
        r->at[2] >= AMQP_RECEIVED && r->at[2] <= AMQP_MODIFIED) {
        *s = (struct amqp_state){.code = r->at[2]};
        r->at += 4;
        return OK;
    }
    struct slice raw;
    uint64_t descriptor;
    enum err e = amqp_read_raw(r, &raw);
    if (e != OK)
        return e;
    struct amqp_reader inside = amqp_slice_reader(raw);
    e = amqp_read_descriptor(&inside, &descriptor);
    if (e != OK)
        return e;
    struct amqp_compound fields;
    bool empty = amqp_enter_list(&inside, &fields) == OK && fields.count == 0;
    bool known = (descriptor >= AMQP_RECEIVED && descriptor <= AMQP_MODIFIED) || descriptor == AMQP_DECLARED ||
                 descriptor == AMQP_TRANSACTIONAL;
    s->code = known ? (enum amqp_state_code)descriptor : AMQP_STATE_OTHER;
    s->raw = known && empty ? (struct slice){0} : raw;
    return OK;
}

void frame_write_state(struct amqp_writer *w, const struct amqp_state *s)
{
    if (s->code == AMQP_STATE_NONE) {
        amqp_write_null(w);
    } else if (s->raw.len) {
        amqp_write_raw(w, s->raw.data, s->raw.len);
    } else {
        amqp_write_descriptor(w, s->code);
        amqp_write_octet(w, AMQP_CODE_LIST0);
    }
}

/* ---- disposition, transfer ---- */

enum err frame_read_disposition(struct amqp_reader *body, struct frame_disposition *f)
{
    struct amqp_compound l;
    bool has_last = false;
    *f = (struct frame_disposition){0};
    ENTER(body, &l);
    FIELD_MANDATORY(&l, amqp_read_bool, &f->role);
    FIELD_MANDATORY(&l, amqp_read_uint, &f->first);
    FIELD_FLAGGED(&l, amqp_read_uint, &f->last, &has_last);
    FIELD(&l, amqp_read_bool, &f->settled);
    FIELD(&l, frame_read_state, &f->state);
    if (!has_last)
        f->last = f->first;
    return OK;
}

void frame_write_disposition(struct amqp_writer *w, const void *frame_disposition)
{
    const struct frame_disposition *f = frame_disposition;
    amqp_write_descriptor(w, AMQP_DESC_DISPOSITION);
    size_t l = amqp_write_list_begin(w);
    amqp_write_bool(w, f->role);
    amqp_write_uint(w, f->first);
    if (f->last != f->first)
        amqp_write_uint(w, f->last);
    else
        amqp_write_null(w);
    amqp_write_bool(w, f->settled);
    frame_write_state(w, &f->state);
    amqp_write_list_end(w, l, 5);
}

enum err frame_read_transfer(struct amqp_reader *body, struct frame_transfer *f)
{
    struct amqp_compound l;
    *f = (struct frame_transfer){0};
    ENTER(body, &l);
    FIELD_MANDATORY(&l, amqp_read_uint, &f->handle);
    FIELD_FLAGGED(&l, amqp_read_uint, &f->id, &f->has_id);
    FIELD_FLAGGED(&l, amqp_read_binary, &f->tag, &f->has_tag);
    FIELD(&l, amqp_read_uint, &f->message_format);
    FIELD_FLAGGED(&l, amqp_read_bool, &f->settled, &f->has_settled);
    FIELD(&l, amqp_read_bool, &f->more);
    if (l.count == 0)
        return OK;
    uint8_t mode;
    bool resume;
    FIELD(&l, amqp_read_ubyte, &mode);
    FIELD(&l, frame_read_state, &f->state);
    FIELD(&l, amqp_read_bool, &resume);
    FIELD(&l, amqp_read_bool, &f->aborted);
    /* resume says nothing to us: no delivery outlives its link here (AMQP 1.0 part 2.6.13, Resuming Deliveries). */
    return OK;
}
