#include "output.h"

#include <string.h>

#include <trunkline/base/assert.h>

void output_fini(struct output *o)
{
    outq_fini(&o->normal);
    outq_fini(&o->urgent);
}

uint64_t output_hurry(struct output *o)
{
    uint64_t end = o->written + o->normal.pending;
    if (!o->has_urgent) {
        o->has_urgent = true;
        o->border = end; /* frames are queued whole */
    }
    return end;
}

static size_t left_of_frame(const struct output *o)
{
    return o->border > o->written ? (size_t)(o->border - o->written) : 0;
}

/* As many of the pieces as make up n octets. */
static int cut(struct iovec *iov, int count, size_t n)
{
    int i = 0;
    for (; i < count && n; i++) {
        if (iov[i].iov_len > n)
            iov[i].iov_len = n;
        n -= iov[i].iov_len;
    }
    return i;
}

int output_peek(const struct output *o, struct iovec *iov, int max)
{
    if (!o->urgent.pending)
        return outq_peek(&o->normal, iov, max);
    size_t rest = left_of_frame(o), shown = 0;
    int n = cut(iov, outq_peek(&o->normal, iov, max), rest);
    for (int i = 0; i < n; i++)
        shown += iov[i].iov_len;
    /* A frame in more pieces than there is room for: the rest of it first. */
    return shown < rest ? n : n + outq_peek(&o->urgent, iov + n, max - n);
}

/* The size of the frame, or protocol header, that begins `at` octets into q. */
static size_t frame_size(const struct outq *q, size_t at)
{
    uint8_t head[4];
    outq_copy_out(q, at, head, sizeof head);
    if (memcmp(head, "AMQP", 4) == 0)
        return 8;
    size_t size = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    ASSERT(size >= 8);
    return size;
}

/* n octets of `normal` are about to leave. */
static void follow_border(struct output *o, size_t n)
{
    uint64_t end = o->written + n;
    if (n == o->normal.pending)
        o->border = end;
    while (o->border < end)
        o->border += frame_size(&o->normal, (size_t)(o->border - o->written));
}

static void consume_normal(struct output *o, size_t n)
{
    if (o->has_urgent)
        follow_border(o, n);
    o->written += n;
    outq_consume(&o->normal, n);
}

void output_consume(struct output *o, size_t n)
{
    if (o->urgent.pending) {
        size_t rest = left_of_frame(o), first = n < rest ? n : rest;
        consume_normal(o, first);
        outq_consume(&o->urgent, n - first);
        return;
    }
    consume_normal(o, n);
}
