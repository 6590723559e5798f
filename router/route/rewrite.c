#include <router/route/rewrite.h>

#include <router/route/forward.h>
#include <router/route/here.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/base/alloc.h>

/* Where the message annotations are, or belong: behind the header and the delivery annotations. */
static uint32_t annotations_place(const struct amqp_message_view *v)
{
    if (v->message_annotations.length)
        return v->message_annotations.offset;
    if (v->delivery_annotations.length)
        return v->delivery_annotations.offset + v->delivery_annotations.length;
    return v->header.offset + v->header.length;
}

enum err reading_init(struct reading *r, const uint8_t *m, const struct amqp_message_view *v, const char **why)
{
    r->at = annotations_place(v);
    r->len = v->message_annotations.length;
    if (r->len)
        return amqp_annotations_read((struct slice){.data = m + r->at, .len = r->len}, false, &r->annotations, why);
    r->annotations = (struct amqp_annotations){0}; /* as of most clients' messages */
    return OK;
}

static void move(struct slice *s, const uint8_t *from, const uint8_t *to)
{
    if (s->data)
        s->data = to + (s->data - from);
}

void reading_move(struct reading *r, const uint8_t *from, const uint8_t *to)
{
    struct amqp_annotations *a = &r->annotations;
    move(&a->user, from, to);
    move(&a->exchanged, from, to);
    move(&a->to, from, to);
    move(&a->ingress, from, to);
    move(&a->trace.ids, from, to);
}

/* Result: false, it could not be read. Annotations that are malformed count as none. */
static bool read_message(const struct slice *message, struct reading *r)
{
    struct amqp_message_view v;
    const char *why;
    if (amqp_message_scan(message->data, message->len, AMQP_SECTION_MESSAGE_ANNOTATIONS, &v) == ERR_INVALID)
        return false;
    if (reading_init(r, message->data, &v, &why) != OK)
        r->annotations = (struct amqp_annotations){0};
    return true;
}

/* Room for n octets. */
static uint8_t *front_room(struct rewritten *w, size_t n)
{
    w->large = n > sizeof w->usual ? xmalloc(n) : NULL;
    return w->large ? w->large : w->usual;
}

void rewritten_fini(struct rewritten *w)
{
    free(w->large);
    w->large = NULL;
}

struct slice rewritten_whole(const struct slice *message, const struct rewritten *w)
{
    size_t rest = message->len - w->replaced;
    struct buffer *b = buffer_new(w->front.len + rest);
    if (w->front.len)
        memcpy(b->bytes, w->front.data, w->front.len);
    memcpy(b->bytes + w->front.len, message->data + w->replaced, rest);
    return (struct slice){.buf = b, .data = b->bytes, .len = w->front.len + rest};
}

/* Whether this router is the last that a message has passed: it has been written for the next one already. */
static bool is_last_of_trace(const struct amqp_annotations *a, struct slice node)
{
    /* The last string ends where all end; what stands before it decides little, so it is looked for only then. */
    if (a->trace.ids.len < node.len ||
        memcmp(a->trace.ids.data + a->trace.ids.len - node.len, node.data, node.len) != 0)
        return false;
    struct amqp_reader ids = amqp_slice_reader(a->trace.ids);
    struct slice id = {0};
    while (amqp_left(&ids))
        if (amqp_read_string(&ids, &id) != OK)
            return false;
    return id.len == node.len;
}

/* These annotations in the place of those that were read. */
static void write_front(const struct slice *message, const struct reading *r, const struct amqp_annotations *a,
                        struct slice next, struct rewritten *w)
{
    size_t room = amqp_annotations_size_max(a, next);
    uint8_t *front = front_room(w, r->at + room);
    memcpy(front, message->data, r->at);
    w->front = (struct slice){.data = front, .len = r->at + amqp_annotations_write(front + r->at, room, a, next)};
    w->replaced = (size_t)r->at + r->len;
}

/* The annotations that were read, with the tidings. */
static struct amqp_annotations told(const struct reading *r, const struct tidings *tidings)
{
    struct amqp_annotations a = r->annotations;
    if (tidings->for_.text.len) {
        a.to = tidings->for_.text;
        a.phase = tidings->for_.phase;
    }
    if (tidings->exchanged.len)
        a.exchanged = tidings->exchanged;
    return a;
}

bool rewrite_for_router(const struct slice *message, const struct reading *known, const struct tidings *tidings,
                        struct rewritten *w)
{
    struct reading read;
    if (!known && !read_message(message, &read))
        return false;
    const struct reading *r = known ? known : &read;
    struct amqp_annotations a = told(r, tidings);
    const struct slice me = here->world->node_id;
    if (!a.ingress.data)
        a.ingress = me;
    write_front(message, r, &a, a.trace.count && is_last_of_trace(&a, me) ? (struct slice){0} : me, w);
    return true;
}

bool rewrite_for_interior(const struct slice *message, const struct reading *known, const struct tidings *tidings,
                          struct rewritten *w)
{
    struct reading read;
    const struct slice nobody = {0};
    if (!known && !read_message(message, &read))
        return false;
    const struct reading *r = known ? known : &read;
    if (!tidings->for_.text.len && !tidings->exchanged.len && !r->annotations.ingress.data &&
        !r->annotations.trace.count)
        return false;
    struct amqp_annotations a = told(r, tidings);
    a.ingress = nobody;
    memset(&a.trace, 0, sizeof a.trace);
    write_front(message, r, &a, nobody, w);
    return true;
}

/* The user's entries alone: nothing of them stands behind those of routers. */
static void write_users(const struct slice *message, const struct reading *r, struct rewritten *w)
{
    const struct amqp_annotations a = {.user = r->annotations.user, .user_count = r->annotations.user_count};
    write_front(message, r, &a, (struct slice){0}, w);
}

bool rewrite_bare(const struct slice *message, const struct reading *known, bool cut, struct rewritten *w)
{
    if (known && (cut || !known->annotations.is_mixed)) {
        write_users(message, known, w);
        return true;
    }
    struct amqp_message_view v;
    const uint8_t *m = message->data;
    if (amqp_message_scan(m, message->len, AMQP_SECTION_MESSAGE_ANNOTATIONS, &v) == ERR_INVALID)
        return false;
    uint32_t at = v.message_annotations.offset, len = v.message_annotations.length;
    uint8_t *front = front_room(w, (size_t)at + len);
    memcpy(front, m, at);
    w->front = (struct slice){.data = front, .len = at + amqp_message_strip_router_annotations(m, &v, cut, front + at)};
    w->replaced = (size_t)at + len;
    return true;
}
