#include <router/route/outbox.h>

#include <router/route/rewrite.h>
#include <stdlib.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/list.h>

/* A batch is one counted buffer: this head, then records one behind the other, each aligned to 8. */
struct batch {
    struct letter letter;
    struct buffer *self;
    const struct outbox_handler *handler;
    uint32_t used;        /* of the buffer's bytes */
    uint32_t last_answer; /* offset of the last record when it is an answer that could grow; 0 */
};

enum record_kind { RECORD_FRAME = 1, RECORD_ANSWER, RECORD_NOTE };

struct record {
    uint32_t size; /* with head and padding */
    uint32_t kind;
};

struct frame_record {
    struct record head;
    struct link_token to;
    struct origin origin;
    struct stamp stamp;
    uint32_t message_format;
    uint8_t first, more, settled, aborted, settles, annotated, streams, needs_offer, held, phase, state_code;
    uint8_t exchanged_len, has_reading;
    uint32_t state_len, to_len, tag_len, payload_len;
    struct buffer *buf;  /* counted; NULL: payload follows in line */
    const uint8_t *data; /* in buf */
    /* a struct reading, if it has one; state_len, to_len, tag_len and exchanged_len octets; then payload_len octets when
     * in line */
};

_Static_assert(sizeof(struct frame_record) % _Alignof(struct reading) == 0, "a reading can stand behind it");

struct answer_record {
    struct record head;
    struct link_token link;
    uint32_t first, last, flags, frames;
    uint8_t done, state_code;
    uint32_t state_len;
    /* state_len octets */
};

struct note_record {
    struct record head;
    struct link_token to, from;
    uint32_t number, octet_count;
    uint8_t kind, flag;
    /* octet_count octets */
};

/* Payload from here on is counted instead of copied: about where touching another cache line of the count costs less.
 */
enum { COPY_LIMIT = 2048 };

struct outboxes {
    const struct outbox_handler *handler;
    int count;
    struct batch *batches[]; /* being filled; NULL: empty */
};

static uint32_t align8(size_t n)
{
    return (uint32_t)((n + 7) & ~(size_t)7);
}

struct outboxes *outboxes_new(int count, const struct outbox_handler *h)
{
    struct outboxes *o = xcalloc(1, sizeof *o + (size_t)count * sizeof o->batches[0]);
    o->handler = h;
    o->count = count;
    return o;
}

void outboxes_free(struct outboxes **o)
{
    if (*o)
        outboxes_flush(*o);
    free(*o);
    *o = NULL;
}

static void deliver_frame_record(const struct outbox_handler *h, const struct frame_record *r)
{
    const uint8_t *tail = (const uint8_t *)(r + 1) + (r->has_reading ? sizeof(struct reading) : 0);
    const uint8_t *tag = tail + r->state_len + r->to_len, *exchanged = tag + r->tag_len;
    struct frame f = {
        .origin = r->origin,
        .message_format = r->message_format,
        .first = r->first,
        .more = r->more,
        .settled = r->settled,
        .aborted = r->aborted,
        .settles = r->settles,
        .annotated = r->annotated,
        .streams = r->streams,
        .needs_offer = r->needs_offer,
        .held = r->held,
        .state = {.code = r->state_code, .raw = {.data = tail, .len = r->state_len}},
        .to = {.data = tail + r->state_len, .len = r->to_len},
        .phase = r->phase,
        .tag = {.data = tag, .len = r->tag_len},
        .payload = {.buf = r->buf, .data = r->buf ? r->data : exchanged + r->exchanged_len, .len = r->payload_len},
        .stamp = r->stamp,
        .exchanged = {.data = exchanged, .len = r->exchanged_len},
        .reading = r->has_reading ? (const struct reading *)(r + 1) : NULL,
    };
    h->frame(r->to, &f);
    if (r->buf)
        buffer_unref(r->buf);
}

static void deliver_answer_record(const struct outbox_handler *h, const struct answer_record *r)
{
    struct answer a = {
        .link = r->link,
        .first = r->first,
        .last = r->last,
        .flags = r->flags,
        .frames = r->frames,
        .done = r->done,
        .state = {.code = r->state_code, .raw = {.data = (const uint8_t *)(r + 1), .len = r->state_len}},
    };
    h->answer(&a);
}

static void deliver_note_record(const struct outbox_handler *h, const struct note_record *r)
{
    struct link_note n = {
        .to = r->to,
        .from = r->from,
        .number = r->number,
        .kind = r->kind,
        .flag = r->flag,
        .octets = {.data = (const uint8_t *)(r + 1), .len = r->octet_count},
    };
    h->note(&n);
}

static void batch_deliver(struct letter *l)
{
    struct batch *b = container_of(l, struct batch, letter);
    const uint8_t *bytes = b->self->bytes;
    for (uint32_t at = align8(sizeof *b); at < b->used;) {
        const struct record *r = (const struct record *)(bytes + at);
        if (r->kind == RECORD_FRAME)
            deliver_frame_record(b->handler, (const struct frame_record *)r);
        else if (r->kind == RECORD_ANSWER)
            deliver_answer_record(b->handler, (const struct answer_record *)r);
        else
            deliver_note_record(b->handler, (const struct note_record *)r);
        at += r->size;
    }
    buffer_unref(b->self);
}

static struct batch *batch_new(struct outboxes *o, size_t room)
{
    size_t size = align8(sizeof(struct batch)) + room;
    struct buffer *buf = buffer_new(size > BUFFER_SIZE ? size : BUFFER_SIZE);
    _Static_assert(offsetof(struct buffer, bytes) % 8 == 0, "records are aligned to 8");
    struct batch *b = (struct batch *)buf->bytes;
    *b = (struct batch){.letter = LETTER_INIT(batch_deliver), .self = buf, .handler = o->handler};
    b->used = align8(sizeof *b);
    return b;
}

static void post(struct outboxes *o, int worker)
{
    struct batch *b = o->batches[worker];
    o->batches[worker] = NULL;
    o->handler->post(worker, &b->letter);
}

/* Room for a record of `size` octets for that worker. */
static void *record_new(struct outboxes *o, int worker, size_t size, enum record_kind kind)
{
    uint32_t need = align8(size);
    struct batch *b = o->batches[worker];
    if (b && b->used + need > b->self->size) {
        post(o, worker);
        b = NULL;
    }
    if (!b)
        b = o->batches[worker] = batch_new(o, need);
    struct record *r = (struct record *)(b->self->bytes + b->used);
    r->size = need;
    r->kind = kind;
    b->last_answer = kind == RECORD_ANSWER ? b->used : 0;
    b->used += need;
    return r;
}

static uint8_t *append(uint8_t *at, const struct slice *s)
{
    if (s->len)
        memcpy(at, s->data, s->len);
    return at + s->len;
}

void outbox_put_frame(struct outboxes *o, struct link_token to, const struct frame *f)
{
    ASSERT(to.worker < o->count);
    bool counted = f->payload.buf && f->payload.len >= COPY_LIMIT;
    size_t inline_len = f->state.raw.len + f->to.len + f->tag.len + f->exchanged.len + (counted ? 0 : f->payload.len);
    /* Of a client's message there is little to read again. */
    const struct reading *reading = f->annotated ? f->reading : NULL;
    inline_len += reading ? sizeof *reading : 0;
    struct frame_record *r = record_new(o, to.worker, sizeof *r + inline_len, RECORD_FRAME);
    r->to = to;
    r->origin = f->origin;
    r->stamp = f->stamp;
    r->message_format = f->message_format;
    r->first = f->first;
    r->more = f->more;
    r->settled = f->settled;
    r->aborted = f->aborted;
    r->settles = f->settles;
    r->annotated = f->annotated;
    r->streams = f->streams;
    r->needs_offer = f->needs_offer;
    r->held = f->held;
    r->phase = f->phase;
    r->state_code = f->state.code;
    r->state_len = (uint32_t)f->state.raw.len;
    r->to_len = (uint32_t)f->to.len;
    r->tag_len = (uint32_t)f->tag.len;
    r->exchanged_len = (uint8_t)f->exchanged.len;
    r->payload_len = (uint32_t)f->payload.len;
    r->buf = counted ? buffer_ref(f->payload.buf) : NULL;
    r->data = f->payload.data;
    r->has_reading = reading != NULL;
    uint8_t *tail = append((uint8_t *)(r + 1) + (reading ? sizeof *reading : 0), &f->state.raw);
    tail = append(append(append(tail, &f->to), &f->tag), &f->exchanged);
    if (!counted)
        append(tail, &f->payload);
    if (reading) {
        struct reading *copy = (struct reading *)(r + 1);
        *copy = *reading;
        reading_move(copy, f->payload.data, counted ? f->payload.data : tail);
    }
}

/* Whether a continues what r says, so that both are one. */
static bool answers_adjoin(const struct answer_record *r, const struct answer *a)
{
    if (!link_token_equal(r->link, a->link) || r->flags != a->flags || r->done != a->done || r->state_len ||
        a->state.raw.len || r->state_code != a->state.code)
        return false;
    if (!a->done)
        return a->first == r->first;
    return !(a->flags & ORIGIN_COPY) && a->first == r->last + 1;
}

void outbox_put_answer(struct outboxes *o, const struct answer *a)
{
    ASSERT(a->link.worker < o->count);
    struct batch *b = o->batches[a->link.worker];
    if (b && b->last_answer) {
        struct answer_record *last = (struct answer_record *)(b->self->bytes + b->last_answer);
        if (answers_adjoin(last, a)) {
            last->last = a->last;
            last->frames += a->frames;
            return;
        }
    }
    struct answer_record *r = record_new(o, a->link.worker, sizeof *r + a->state.raw.len, RECORD_ANSWER);
    r->link = a->link;
    r->first = a->first;
    r->last = a->last;
    r->flags = a->flags;
    r->frames = a->frames;
    r->done = a->done;
    r->state_code = a->state.code;
    r->state_len = (uint32_t)a->state.raw.len;
    if (a->state.raw.len)
        memcpy(r + 1, a->state.raw.data, a->state.raw.len);
}

void outbox_put_note(struct outboxes *o, const struct link_note *n)
{
    ASSERT(n->to.worker < o->count);
    struct note_record *r = record_new(o, n->to.worker, sizeof *r + n->octets.len, RECORD_NOTE);
    r->to = n->to;
    r->from = n->from;
    r->number = n->number;
    r->octet_count = (uint32_t)n->octets.len;
    r->kind = n->kind;
    r->flag = n->flag;
    append((uint8_t *)(r + 1), &n->octets);
}

bool outboxes_flush(struct outboxes *o)
{
    bool any = false;
    for (int i = 0; i < o->count; i++) {
        if (!o->batches[i])
            continue;
        post(o, i);
        any = true;
    }
    return any;
}
