/* buffer.h -- counted byte buffers, and slices of them.
 *
 * Received bytes stay where the socket put them; who keeps a part of them holds a count. The count is atomic because a
 * slice may travel to another worker. An octet is written before anybody is given it and never after; behind what has
 * been given away a receiver may go on writing, so that small messages of many connections share a buffer.
 */
#ifndef TRUNKLINE_BASE_BUFFER_H
#define TRUNKLINE_BASE_BUFFER_H

#include <stddef.h>
#include <stdint.h>

struct buffer {
    _Atomic uint32_t refs;
    uint32_t size; /* octets at bytes[] */
    uint8_t bytes[];
};

/* A new buffer of at least `size` octets, count 1. Buffers of BUFFER_SIZE come from a cache of the calling thread.
 * Thread: any. Never fails. */
#define BUFFER_SIZE (64 * 1024)
struct buffer *buffer_new(size_t size);
struct buffer *buffer_ref(struct buffer *b);
void buffer_unref(struct buffer *b); /* the last one frees it, on any thread */
/* Whether the caller's count is the only one, so that the buffer can be written again. */
int buffer_is_unshared(const struct buffer *b);
/* Give the calling thread's cache back to the system (a loop does so when it has been idle). */
void buffer_cache_trim(void);

/* Octets at `data`, inside `buf` (counted by whoever says so) or, with buf NULL, borrowed for the call. */
struct slice {
    struct buffer *buf;
    const uint8_t *data;
    size_t len;
};

#endif
