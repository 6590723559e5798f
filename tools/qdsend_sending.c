/* Which message goes next, when, and on which link (qdsend_priv.h). */
#include <inttypes.h>
#include <proton/delivery.h>
#include <proton/link.h>
#include <proton/session.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "tools/qdsend_priv.h"

enum {
    OUT_LIMIT = 256 << 10, /* bytes that may wait in Proton for the socket */
    CHUNK = 64 << 10,
    BURST_US = 10000, /* a paced sender that was held up catches up this much, no more */
};

static bool in_window(const struct sender *s)
{
    return s->outstanding < s->set->in_flight;
}

static struct out_link *link_with_credit(struct sender *s)
{
    for (size_t i = 0; i < s->link_count; i++) {
        struct out_link *l = &s->links[s->next_link];
        s->next_link = (s->next_link + 1) % s->link_count;
        if (pn_link_credit(l->pn) > 0)
            return l;
    }
    return NULL;
}

static pn_delivery_t *new_delivery(struct sender *s, struct out_link *l, struct pending *p, uint64_t number)
{
    uint64_t tag = number;
    pn_delivery_t *d = pn_delivery(l->pn, pn_dtag((const char *)&tag, sizeof tag));
    if (p) {
        p->awaits_outcome = !s->set->presettled;
        p->attempts++;
        p->sent_us = tool_mono_us();
        pending_add(s, p);
        if (s->set->request)
            pending_expect_reply(s, p);
        if (!s->set->presettled)
            pn_delivery_set_context(d, p);
    }
    return d;
}

/* All of the delivery's bytes are Proton's: count it, and let go of what is settled already. */
static void delivery_written(struct sender *s, pn_link_t *link, pn_delivery_t *d, bool is_first)
{
    pn_link_advance(link);
    s->sent += is_first;
    if (!s->set->presettled)
        return;
    pn_delivery_settle(d);
    s->presettled += is_first;
}

/* ---- bodies that are streamed ---- */

static void start_stream(struct sender *s, struct pending *p, pn_delivery_t *d)
{
    struct fault why;
    if (!source_restart(s->source, &why)) {
        conn_fail(&s->conn, "%s", why.text);
        return;
    }
    s->streamed = p;
    s->stream_delivery = d;
}

/* Send as much of the body as Proton should hold now. */
static void go_on_streaming(struct sender *s)
{
    static uint8_t chunk[CHUNK];
    struct fault why;
    pn_delivery_t *d = s->stream_delivery;
    pn_link_t *link = pn_delivery_link(d);
    while (pn_session_outgoing_bytes(s->session) < OUT_LIMIT) {
        size_t size;
        switch (source_next(s->source, chunk, sizeof chunk, &size, &why)) {
        case SOURCE_BYTES:
            pn_link_send(link, (const char *)chunk, size);
            s->bytes += size;
            s->last_moved = tool_mono_us();
            break;
        case SOURCE_WAIT:
            s->conn.watch_fd = source_fd(s->source);
            return;
        case SOURCE_END: {
            struct pending *p = s->streamed;
            s->stream_delivery = NULL;
            s->streamed = NULL;
            delivery_written(s, link, d, p->attempts == 1);
            if (s->set->presettled)
                pending_maybe_done(s, p);
            return;
        }
        case SOURCE_FAILED:
            s->stream_delivery = NULL;
            pn_delivery_abort(d);
            conn_fail(&s->conn, "%s", why.text);
            return;
        }
    }
    s->conn.has_more = true;
}

/* ---- which and when ---- */

/* Make message number n and hand it to the link. p is NULL if it will not be needed again. */
static bool send_on(struct sender *s, struct out_link *l, struct pending *p, uint64_t number, const pn_bytes_t *content)
{
    pn_bytes_t bytes;
    struct fault why;
    bool ok = s->source ? compose_head(l->compose, number, &bytes, &why)
                        : compose_message(l->compose, number, content, &bytes, &why);
    if (!ok) {
        conn_fail(&s->conn, "message %" PRIu64 ": %s", number, why.text);
        if (p)
            pending_free(p);
        return false;
    }
    pn_delivery_t *d = new_delivery(s, l, p, number);
    pn_link_send(l->pn, bytes.start, bytes.size);
    s->bytes += bytes.size;
    if (s->source)
        start_stream(s, p, d);
    else
        delivery_written(s, l->pn, d, !p || p->attempts == 1);
    return true;
}

/* Find the content of the next new message. False: there is none now, or no more at all. */
static bool next_content(struct sender *s, pn_bytes_t *content)
{
    const char *line;
    size_t size;
    struct fault why;
    if (!s->lines)
        return true;
    switch (lines_next(s->lines, &line, &size, &why)) {
    case SOURCE_BYTES:
        *content = pn_bytes(size, line);
        return true;
    case SOURCE_WAIT:
        s->conn.watch_fd = STDIN_FILENO;
        return false;
    case SOURCE_END:
        s->no_more = true;
        return false;
    case SOURCE_FAILED:
        conn_fail(&s->conn, "%s", why.text);
        return false;
    }
    return false;
}

static bool may_need_again(const struct sender *s)
{
    return !s->set->presettled || s->set->request || s->source;
}

static bool send_new(struct sender *s, struct out_link *l)
{
    pn_bytes_t content;
    if (!next_content(s, &content))
        return false;
    uint64_t number = s->next_number++;
    struct pending *p = may_need_again(s) ? pending_new(number) : NULL;
    if (p && s->lines) {
        p->line = tool_grow(NULL, content.size);
        memcpy(p->line, content.start, content.size);
        p->line_size = content.size;
    }
    return send_on(s, l, p, number, s->lines ? &content : NULL);
}

static bool resend_first(struct sender *s, struct out_link *l)
{
    struct pending *p = s->again;
    DL_DELETE(s->again, p);
    pn_bytes_t content = pn_bytes(p->line_size, p->line);
    return send_on(s, l, p, p->number, p->line ? &content : NULL);
}

bool sender_has_new(const struct sender *s)
{
    return !s->no_more && (s->set->count == 0 || s->next_number <= s->set->count);
}

/* Whether the next new message's time has come, with --rate. */
static bool is_time(struct sender *s, int64_t now)
{
    if (s->set->rate == 0)
        return true;
    if (s->next_send < now - BURST_US)
        s->next_send = now - BURST_US;
    if (s->next_send <= now)
        return true;
    s->conn.wake_at = s->next_send;
    return false;
}

/* Send one message if one may go now. */
static bool send_one(struct sender *s, int64_t now)
{
    bool again = s->again && s->again->due <= now;
    if (s->again && !again)
        s->conn.wake_at = tool_earlier(s->conn.wake_at, s->again->due);
    if (!in_window(s) || !(again || (sender_has_new(s) && is_time(s, now))))
        return false;
    struct out_link *l = link_with_credit(s);
    if (!l)
        return false;
    if (s->started == 0)
        s->started = now;
    s->last_moved = now;
    if (again)
        return resend_first(s, l);
    if (!send_new(s, l))
        return false;
    s->next_send += s->set->rate ? (int64_t)(1e6 / s->set->rate) : 0;
    return true;
}

void sender_send(struct sender *s)
{
    /* The time of one turn serves all its messages unless they are paced or measured. */
    int64_t now = tool_mono_us();
    for (;;) {
        if (s->conn.is_stopping)
            return;
        if (s->stream_delivery) {
            go_on_streaming(s);
            if (s->stream_delivery)
                return;
        }
        if (pn_session_outgoing_bytes(s->session) >= OUT_LIMIT) {
            s->conn.has_more = true;
            return;
        }
        if (!send_one(s, now))
            return;
    }
}
