#include "outq.h"

#include <stdlib.h>
#include <string.h>

#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

/* What an almost idle connection writes in a turn fits here; a busy one goes on with buffers of BUFFER_SIZE. */
#define FIRST_SIZE (4096 - sizeof(struct buffer))

static struct outq_piece *piece_at(const struct outq *q, uint32_t i)
{
    return &q->pieces[(q->head + i) & (q->capacity - 1)];
}

static void append(struct outq *q, struct buffer *buf, const uint8_t *octets, size_t n)
{
    if (q->count == q->capacity) {
        uint32_t capacity = q->capacity ? q->capacity * 2 : 4;
        struct outq_piece *bigger = xmalloc(capacity * sizeof *bigger);
        for (uint32_t i = 0; i < q->count; i++)
            bigger[i] = *piece_at(q, i);
        free(q->pieces);
        q->pieces = bigger;
        q->capacity = capacity;
        q->head = 0;
    }
    q->count++;
    *piece_at(q, q->count - 1) = (struct outq_piece){buffer_ref(buf), octets, n};
    q->pending += n;
}

static void release_all(struct outq *q)
{
    for (uint32_t i = 0; i < q->count; i++)
        buffer_unref(piece_at(q, i)->buf);
    if (q->tail)
        buffer_unref(q->tail);
    free(q->pieces);
    *q = (struct outq){0};
}

void outq_fini(struct outq *q)
{
    release_all(q);
}

uint8_t *outq_room_slowly(struct outq *q, size_t n)
{
    size_t size = q->pending == 0 && n <= FIRST_SIZE ? FIRST_SIZE : n > BUFFER_SIZE ? n : BUFFER_SIZE;
    if (q->tail)
        buffer_unref(q->tail);
    q->tail = buffer_new(size);
    q->tail_used = 0;
    return q->tail->bytes;
}

void outq_commit_slowly(struct outq *q, size_t n)
{
    ASSERT(q->tail && q->tail->size - q->tail_used >= n);
    if (n == 0)
        return;
    append(q, q->tail, q->tail->bytes + q->tail_used, n);
    q->tail_used += (uint32_t)n;
}

void outq_copy(struct outq *q, const void *octets, size_t n)
{
    if (n == 0)
        return;
    memcpy(outq_room(q, n), octets, n);
    outq_commit(q, n);
}

void outq_share(struct outq *q, struct buffer *buf, const uint8_t *octets, size_t n)
{
    if (n)
        append(q, buf, octets, n);
}

int outq_peek(const struct outq *q, struct iovec *iov, int max)
{
    int n = 0;
    for (; n < max && (uint32_t)n < q->count; n++) {
        const struct outq_piece *p = piece_at(q, (uint32_t)n);
        iov[n] = (struct iovec){(void *)p->data, p->len};
    }
    return n;
}

void outq_copy_out(const struct outq *q, size_t at, uint8_t *to, size_t n)
{
    ASSERT(at + n <= q->pending);
    for (uint32_t i = 0; n; i++) {
        const struct outq_piece *p = piece_at(q, i);
        if (at >= p->len) {
            at -= p->len;
            continue;
        }
        size_t some = p->len - at < n ? p->len - at : n;
        memcpy(to, p->data + at, some);
        to += some;
        n -= some;
        at = 0;
    }
}

void outq_consume(struct outq *q, size_t n)
{
    ASSERT(n <= q->pending);
    q->pending -= n;
    if (q->pending == 0) {
        release_all(q);
        return;
    }
    while (n) {
        struct outq_piece *p = piece_at(q, 0);
        if (n < p->len) {
            p->data += n;
            p->len -= n;
            return;
        }
        n -= p->len;
        buffer_unref(p->buf);
        q->head = (q->head + 1) & (q->capacity - 1);
        q->count--;
    }
}
