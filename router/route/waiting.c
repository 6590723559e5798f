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

void message_append(struct message *m, const struct slice *payload, bool held)
{
    bool counted = payload->buf && payload->len >= COPY_LIMIT;
    struct chunk *c = xmalloc(sizeof *c + (counted ? 0 : payload->len));
    m->size += payload->len;
    c->next = NULL;
    c->held = held;
    c->rest = *payload;
    if (counted) {
        buffer_ref(payload->buf);
    } else {
        if (payload->len)
            memcpy(c->octets, payload->data, payload->len);
        c->rest = (struct slice){.data = c->octets, .len = payload->len};
    }
    *m->tail = c;
    m->tail = &c->next;
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
