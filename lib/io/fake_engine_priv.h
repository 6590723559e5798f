/* fake_engine_priv.h -- an engine for the unit tests of io, in place of lib/amqp's: so they depend on its contract
 * alone and can see what it was given. Included by one file of each test.
 *
 * A frame is its length (4 octets, big-endian, itself included), a command and a payload:
 *   'E'  echo the frame; the payload is written from the buffer in which it came
 *   'K'  keep the frame until the engine is finished, and check then that nobody has written to it
 *   'X'  close, in order: nothing is taken after it
 *   'A'  call io_conn_abort()
 *   'M'  answer with a large frame: the payload is its size (4 octets)
 *   'G'  close, and give up the peer at the next tick (in 50 ms) if it has not read everything by then
 * Payloads of E and K are made by fill_pattern(), so that torn frames are seen at once.
 */
#ifndef TRUNKLINE_IO_FAKE_ENGINE_PRIV_H
#define TRUNKLINE_IO_FAKE_ENGINE_PRIV_H

#include <trunkline/amqp/conn.h>
#include <trunkline/base/assert.h>
#include <trunkline/io/conn.h>

#include "harness_priv.h"

#define FRAME_MAX (1024 * 1024)
#define HEAD 5 /* length and command */

struct piece {
    struct list node;
    struct slice slice; /* counted */
};

struct fake {
    struct io_conn io;
    struct amqp_conn amqp;
    struct list output, kept;
    size_t pending, skip; /* octets to be written; of those, written of the first piece */
    bool dirty, closed, gives_up, gave_up;
    mono_ms deadline;
    /* for the test's thread */
    _Atomic int frames, kept_count, ticks, eofs, ended, closed_events;
    _Atomic size_t octets_in, most_in_turn, pending_seen;
    size_t in_turn;
    mono_ms turn;
    char eof_why[64], ended_why[64];
};

static inline struct fake *fake_of(const struct amqp_conn *c)
{
    return container_of(c, struct fake, amqp);
}

static inline void fill_pattern(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(n * 7 + i * 13 + (i >> 8));
}

static inline bool has_pattern(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != (uint8_t)(n * 7 + i * 13 + (i >> 8)))
            return false;
    return true;
}

static inline void put_u32(uint8_t *p, uint32_t n)
{
    n = htonl(n);
    memcpy(p, &n, sizeof n);
}

static inline uint32_t get_u32(const uint8_t *p)
{
    uint32_t n;
    memcpy(&n, p, sizeof n);
    return ntohl(n);
}

static inline void fake_add(struct list *l, struct buffer *buf, const uint8_t *data, size_t len)
{
    struct piece *p = xmalloc(sizeof *p);
    p->slice = (struct slice){buffer_ref(buf), data, len};
    list_append(l, &p->node);
}

static inline void fake_drop(struct list *n)
{
    struct piece *p = list_entry(n, struct piece, node);
    buffer_unref(p->slice.buf);
    free(p);
}

static inline void fake_set_dirty(struct fake *f)
{
    if (!f->dirty) {
        f->dirty = true;
        io_conn_dirty(&f->io);
    }
}

static inline void fake_send(struct fake *f, struct buffer *buf, const uint8_t *data, size_t len)
{
    fake_add(&f->output, buf, data, len);
    f->pending += len;
    atomic_store(&f->pending_seen, f->pending);
    fake_set_dirty(f);
}

static inline void fake_send_large(struct fake *f, uint32_t size)
{
    struct buffer *b = buffer_new(size);
    put_u32(b->bytes, size);
    b->bytes[4] = 'M';
    fill_pattern(b->bytes + HEAD, size - HEAD);
    fake_send(f, b, b->bytes, size);
    buffer_unref(b);
}

static inline void fake_close(struct fake *f)
{
    if (f->closed)
        return;
    f->closed = true;
    atomic_fetch_add(&f->closed_events, 1);
}

static inline void fake_frame(struct fake *f, struct buffer *buf, const uint8_t *frame, size_t size)
{
    atomic_fetch_add(&f->frames, 1);
    switch (frame[4]) {
    case 'E':
        ASSERT(has_pattern(frame + HEAD, size - HEAD));
        fake_send(f, buf, frame, size);
        break;
    case 'K':
        ASSERT(has_pattern(frame + HEAD, size - HEAD));
        fake_add(&f->kept, buf, frame, size);
        atomic_fetch_add(&f->kept_count, 1);
        break;
    case 'X':
        fake_close(f);
        fake_set_dirty(f);
        break;
    case 'A':
        io_conn_abort(&f->io, "asked to");
        break;
    case 'M':
        fake_send_large(f, get_u32(frame + HEAD));
        break;
    case 'G':
        fake_close(f);
        f->gives_up = true;
        f->deadline = f->amqp.now + 50;
        fake_set_dirty(f);
        break;
    default:
        ASSERT(!"a frame was torn");
    }
}

static inline void fake_count(struct fake *f, size_t n)
{
    atomic_fetch_add(&f->octets_in, n);
    mono_ms turn = (mono_ms)worker_turn_of_test;
    if (f->turn != turn)
        f->in_turn = 0;
    f->turn = turn;
    f->in_turn += n;
    if (f->in_turn > atomic_load(&f->most_in_turn))
        atomic_store(&f->most_in_turn, f->in_turn);
}

size_t amqp_conn_input(struct amqp_conn *c, struct buffer *buf, const uint8_t *data, size_t len, size_t *need)
{
    struct fake *f = fake_of(c);
    size_t at = 0;
    ASSERT(data >= buf->bytes && data + len <= buf->bytes + buf->size);
    ASSERT(!f->closed && atomic_load(&f->eofs) == 0 && c->now > 0);
    *need = 0;
    while (len - at >= 4 && !f->closed) {
        size_t size = get_u32(data + at);
        ASSERT(size >= HEAD && size <= FRAME_MAX);
        *need = size;
        if (len - at < size)
            break;
        *need = 0;
        fake_frame(f, buf, data + at, size);
        at += size;
    }
    fake_count(f, at);
    return at;
}

void amqp_conn_eof(struct amqp_conn *c, const char *why)
{
    struct fake *f = fake_of(c);
    ASSERT(atomic_load(&f->ended) == 0);
    snprintf(f->eof_why, sizeof f->eof_why, "%s", why ? why : "");
    atomic_fetch_add(&f->eofs, 1);
    fake_close(f);
}

void amqp_conn_flush(struct amqp_conn *c)
{
    fake_of(c)->dirty = false;
}

size_t amqp_conn_pending(const struct amqp_conn *c)
{
    return fake_of(c)->pending;
}

int amqp_conn_output(struct amqp_conn *c, struct iovec *iov, int max)
{
    struct fake *f = fake_of(c);
    int n = 0;
    size_t skip = f->skip;
    list_for_each(at, &f->output)
    {
        if (n == max)
            break;
        const struct slice *s = &list_entry(at, struct piece, node)->slice;
        iov[n++] = (struct iovec){(uint8_t *)(uintptr_t)s->data + skip, s->len - skip};
        skip = 0;
    }
    return n;
}

void amqp_conn_written(struct amqp_conn *c, size_t n)
{
    struct fake *f = fake_of(c);
    ASSERT(n > 0 && n <= f->pending);
    f->pending -= n;
    atomic_store(&f->pending_seen, f->pending);
    f->skip += n;
    while (!list_is_empty(&f->output) && f->skip >= list_first(&f->output, struct piece, node)->slice.len) {
        f->skip -= list_first(&f->output, struct piece, node)->slice.len;
        fake_drop(list_take_first(&f->output));
    }
}

bool amqp_conn_is_finished(const struct amqp_conn *c)
{
    const struct fake *f = fake_of(c);
    return f->closed && (f->pending == 0 || f->gave_up);
}

bool amqp_conn_is_closed(const struct amqp_conn *c)
{
    return fake_of(c)->closed;
}

mono_ms amqp_conn_next_deadline(const struct amqp_conn *c)
{
    return fake_of(c)->deadline;
}

void amqp_conn_tick(struct amqp_conn *c, mono_ms now)
{
    struct fake *f = fake_of(c);
    ASSERT(now >= f->deadline && c->now == now);
    atomic_fetch_add(&f->ticks, 1);
    f->deadline = now + 10;
    f->gave_up = f->gives_up;
}

static inline void fake_init(struct fake *f)
{
    memset(f, 0, sizeof *f);
    list_init(&f->output);
    list_init(&f->kept);
    f->deadline = MONO_MS_NEVER;
}

/* After `ended`. */
static inline void fake_fini(struct fake *f)
{
    for (struct list *n; (n = list_take_first(&f->kept));) {
        const struct slice *s = &list_entry(n, struct piece, node)->slice;
        ASSERT(has_pattern(s->data + HEAD, s->len - HEAD));
        fake_drop(n);
    }
    for (struct list *n; (n = list_take_first(&f->output));)
        fake_drop(n);
}

#endif
