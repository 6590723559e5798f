#include <router/route/waiting.h>

#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>

void chunk_free(struct chunk *c)
{
    if (c->rest.buf)
        buffer_unref(c->rest.buf);
    free(c);
}

/* Small pieces are copied: keeping 64 KiB of buffer for the sake of 100 octets would let waiting messages fill memory.
 */
enum { COPY_LIMIT = 8192 };

static void append(struct message *m, struct chunk *c, bool held)
{
    m->size += c->rest.len;
    c->next = NULL;
    c->held = held;
    *m->tail = c;
    m->tail = &c->next;
}

/* Both in one piece: who looks at a message again finds its head whole. */
static void append_copy(struct message *m, struct slice front, struct slice payload, bool held)
{
    struct chunk *c = xmalloc(sizeof *c + front.len + payload.len);
    if (front.len)
        memcpy(c->octets, front.data, front.len);
    if (payload.len)
        memcpy(c->octets + front.len, payload.data, payload.len);
    c->rest = (struct slice){.data = c->octets, .len = front.len + payload.len};
    append(m, c, held);
}

/* What is left of s behind n octets. */
static struct slice rest_of(struct slice s, size_t n)
{
    return n ? (struct slice){.buf = s.buf, .data = s.data + n, .len = s.len - n} : s;
}

void message_append(struct message *m, const struct frame *f, size_t sent, bool held)
{
    size_t of_front = sent < f->front.len ? sent : f->front.len;
    struct slice front = rest_of(f->front, of_front), payload = rest_of(f->payload, sent - of_front);
    if (front.len || !payload.buf || payload.len < COPY_LIMIT) {
        append_copy(m, front, payload, held);
        return;
    }
    struct chunk *c = xmalloc(sizeof *c);
    c->rest = payload;
    buffer_ref(payload.buf);
    append(m, c, held);
}

struct message *message_new(const struct frame *f)
{
    struct message *m = xcalloc(1, sizeof *m);
    m->origin = f->origin;
    m->message_format = f->message_format;
    m->settled = f->settled;
    m->annotated = f->annotated;
    m->complete = !f->more;
    m->stamp = f->stamp;
    m->needs_offer = f->needs_offer;
    m->state.code = f->state.code;
    if (f->state.raw.len) {
        uint8_t *raw = xmalloc(f->state.raw.len);
        memcpy(raw, f->state.raw.data, f->state.raw.len);
        m->state.raw = (struct slice){.data = raw, .len = f->state.raw.len};
    }
    m->tail = &m->first;
    return m;
}

void message_free(struct message *m)
{
    for (struct chunk *c = m->first, *next; c; c = next) {
        next = c->next;
        chunk_free(c);
    }
    free((void *)m->state.raw.data);
    free(m);
}

uint32_t message_held_frames(const struct message *m)
{
    uint32_t n = 0;
    for (const struct chunk *c = m->first; c; c = c->next)
        n += c->held;
    return n;
}
