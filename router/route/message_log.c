#include <router/route/message_log.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/message_print.h>
#include <trunkline/amqp/terminus.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/log.h>

/* Of a link's name and termini so much is shown, lest they push the message out of the line. */
enum { LOG_TEXT_MAX = 2047, NAME_MAX_SHOWN = 240 };

/* The message in progress on a link. */
struct message_head {
    size_t len, size;
    bool whole; /* what follows is the body */
    bool oversize;
    uint8_t octets[];
};

/* Our own end of a dynamic link has the address that we gave it. */
static void print_terminus(const struct link *l, const struct amqp_terminus_view *t, char *out, size_t size)
{
    const char *address = t->dynamic && l->dynamic_address ? l->dynamic_address : t->address;
    amqp_name_print(address ? address : "<none>", out, size);
}

/* " on link '<name>' (<source> -> <target>)" */
static size_t print_link(const struct link *l, char *out, size_t size)
{
    char name[NAME_MAX_SHOWN], source[NAME_MAX_SHOWN], target[NAME_MAX_SHOWN];
    struct amqp_terminus_view s, t;
    amqp_link_peer_source(&l->amqp, &s);
    amqp_link_peer_target(&l->amqp, &t);
    amqp_name_print(l->name, name, sizeof name);
    print_terminus(l, &s, source, sizeof source);
    print_terminus(l, &t, target, sizeof target);
    return (size_t)snprintf(out, size, " on link '%s' (%s -> %s)", name, source, target);
}

static void write_line(const struct link *l, const char *message, const char *on_link)
{
    LOG(MESSAGE, TRACE, "[C%llu]: %s %s%s", (unsigned long long)l->conn->id, l->is_incoming ? "Received" : "Sent",
        message, on_link);
}

/* The message's text gets what room the rest of the line leaves. */
static void write_message(const struct link *l, const uint8_t *octets, size_t n)
{
    enum { START_MAX = sizeof "[C18446744073709551615]: Received " };
    char on_link[3 * NAME_MAX_SHOWN + 32], message[LOG_TEXT_MAX];
    size_t left = LOG_TEXT_MAX - START_MAX - print_link(l, on_link, sizeof on_link);
    amqp_message_print(octets, n, l->conn->message_parts, message, left);
    write_line(l, message, on_link);
}

static void write_instead(const struct link *l, const char *what)
{
    char on_link[3 * NAME_MAX_SHOWN + 32];
    print_link(l, on_link, sizeof on_link);
    write_line(l, what, on_link);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Keep what belongs to the head of a message's first octets. */
static struct message_head *head_new(const uint8_t *octets, size_t n)
{
    bool whole;
    n = amqp_message_head(octets, smaller(n, MESSAGE_LOG_HEAD_MAX), &whole);
    struct message_head *h = xmalloc(sizeof *h + n);
    *h = (struct message_head){.len = n, .size = n, .whole = whole};
    if (n)
        memcpy(h->octets, octets, n);
    return h;
}

/* And of those that follow. Result: h, perhaps elsewhere. */
static struct message_head *head_add(struct message_head *h, const uint8_t *octets, size_t n)
{
    n = smaller(n, MESSAGE_LOG_HEAD_MAX - h->len);
    if (h->len + n > h->size) {
        size_t size = smaller(h->len + n + h->size, MESSAGE_LOG_HEAD_MAX);
        h = xrealloc(h, sizeof *h + size);
        h->size = size;
    }
    if (n)
        memcpy(h->octets + h->len, octets, n);
    h->len = amqp_message_head(h->octets, h->len + n, &h->whole);
    return h;
}

void message_log_piece(struct link *l, bool first, bool last, const uint8_t *octets, size_t n)
{
    static const uint8_t nothing[1];
    octets = n ? octets : nothing;
    if (first) {
        if (!log_enabled(LOG_MESSAGE, LOG_LEVEL_TRACE))
            return;
        if (last) {
            write_message(l, octets, n);
            return;
        }
        message_log_forget(l);
        l->logged = head_new(octets, n);
        return;
    }
    if (!l->logged)
        return;
    if (!l->logged->whole)
        l->logged = head_add(l->logged, octets, n);
    if (!last)
        return;
    if (l->logged->oversize)
        write_instead(l, "oversize message");
    else
        write_message(l, l->logged->octets, l->logged->len);
    message_log_forget(l);
}

void message_log_oversize(struct link *l)
{
    if (l->logged)
        l->logged->oversize = true;
}

void message_log_aborted(struct link *l)
{
    if (log_enabled(LOG_MESSAGE, LOG_LEVEL_TRACE))
        write_instead(l, "aborted message");
    message_log_forget(l);
}

void message_log_forget(struct link *l)
{
    free(l->logged);
    l->logged = NULL;
}
