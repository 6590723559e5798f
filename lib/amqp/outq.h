/* outq.h -- octets waiting to be written: small frames copied into buffers, large payloads counted where they lie.
 *
 * A queue that is empty holds no memory. Thread: the connection's owner.
 */
#ifndef TRUNKLINE_AMQP_OUTQ_H
#define TRUNKLINE_AMQP_OUTQ_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <trunkline/base/buffer.h>

struct outq_piece {
    struct buffer *buf; /* counted */
    const uint8_t *data;
    size_t len;
};

struct outq {
    struct outq_piece *pieces; /* a ring of `capacity`, a power of two; NULL while empty */
    uint32_t head, count, capacity;
    uint32_t tail_used;  /* octets of `tail` that are taken */
    struct buffer *tail; /* counted: the buffer that copies go to, or NULL */
    size_t pending;      /* octets in all pieces */
};

void outq_fini(struct outq *q);

/* Contiguous room for n octets at the end; what is written there counts from outq_commit() on. Good until the next
 * call. */
uint8_t *outq_room_slowly(struct outq *q, size_t n);
static inline uint8_t *outq_room(struct outq *q, size_t n)
{
    if (q->tail && q->tail->size - q->tail_used >= n)
        return q->tail->bytes + q->tail_used;
    return outq_room_slowly(q, n);
}
void outq_commit_slowly(struct outq *q, size_t n);
static inline void outq_commit(struct outq *q, size_t n)
{
    struct outq_piece *last = q->count ? &q->pieces[(q->head + q->count - 1) & (q->capacity - 1)] : NULL;
    if (last && last->data + last->len == q->tail->bytes + q->tail_used) {
        last->len += n;
        q->tail_used += (uint32_t)n;
        q->pending += n;
        return;
    }
    outq_commit_slowly(q, n);
}
/* Append octets by copy. */
void outq_copy(struct outq *q, const void *octets, size_t n);
/* Append octets of a counted buffer; takes a count of its own. */
void outq_share(struct outq *q, struct buffer *buf, const uint8_t *octets, size_t n);

/* The first pieces, up to max. Result: how many. */
int outq_peek(const struct outq *q, struct iovec *iov, int max);
/* Copy n octets that lie `at` octets into the queue. at + n is at most `pending`. */
void outq_copy_out(const struct outq *q, size_t at, uint8_t *to, size_t n);
/* The first n octets have left. n is at most `pending`. */
void outq_consume(struct outq *q, size_t n);

#endif
