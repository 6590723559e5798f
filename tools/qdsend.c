/* qdsend -- send messages to an AMQP 1.0 address, tell what became of them, and wait for replies if asked to.
 *
 * The way of a message, unsettled: new -> sent -> outcome. Each that may be needed again is a struct pending:
 *
 *   new ---send---> sent ---accepted, rejected---> done            (a request: accepted, and then waits for its reply)
 *    ^               |  `--released, modified----> done, or, with --resend, waiting -> sent ...
 *    |               `-- connection lost --------> to send again, first of all: so it may arrive twice, but it arrives
 *    `-- not enough credit: stays
 *
 * A presettled message is done when it is written. When all are done the connection is closed, and the peer's answer to
 * that shows that it has read everything.
 */
#include <errno.h>
#include <inttypes.h>
#include <proton/connection.h>
#include <proton/delivery.h>
#include <proton/link.h>
#include <proton/session.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>
#include <utlist.h>

#include "tools/client/conn.h"
#include "tools/client/incoming.h"
#include "tools/client/print.h"
#include "tools/client/report.h"
#include "tools/client/source.h"
#include "tools/qdsend_options.h"

enum {
    OUT_LIMIT = 256 << 10, /* bytes that may wait in Proton for the socket */
    CHUNK = 64 << 10,
    REPLY_CREDIT = 500,
    REPLY_LIMIT = 64 << 20,
    BURST_US = 10000, /* a paced sender that was held up catches up this much, no more */
};

struct pending {
    struct pending *prev, *next; /* in one of the sender's lists */
    UT_hash_handle hh;           /* in waiting_replies, by number */
    uint64_t number, attempts;
    int64_t sent_ns, due;
    bool awaits_outcome, awaits_reply;
    char *line; /* its content if it came from a line; owned */
    size_t line_size;
};

struct out_link {
    pn_link_t *pn; /* NULL while not connected */
    const char *address;
    struct compose *compose;
};

struct sender {
    struct conn conn;
    const struct send_options *set;
    pn_session_t *session;
    struct out_link *links;
    size_t link_count, next_link;
    uint64_t next_number;
    bool no_more; /* input is at its end */

    struct pending *unsettled; /* sent, outcome or reply outstanding */
    struct pending *again;     /* to be sent again; in order of due */
    struct pending *waiting_replies;
    uint64_t outstanding; /* in unsettled */

    struct source *source; /* streamed content, or NULL */
    struct lines *lines;
    struct pending *streamed; /* the message whose body is being sent */
    pn_delivery_t *stream_delivery;

    pn_link_t *reply_link;
    char *reply_address;
    struct incoming *reply_in;
    struct incoming_conf reply_conf;

    int64_t started, last_moved, next_send;
    uint64_t sent, presettled, accepted, rejected, released, modified, resent, unanswered, replies, strange_replies,
        bytes;
    struct histogram latency;
    struct progress progress;
    char last_refusal[300]; /* what the last rejected or released message was told */
};

static struct sender *sender_of(struct conn *c)
{
    return (struct sender *)((char *)c - offsetof(struct sender, conn));
}

static int64_t now_ns(void)
{
    return tool_mono_us() * 1000;
}

/* ---- messages that may be needed again ---- */

static struct pending *pending_new(uint64_t number)
{
    struct pending *p = tool_alloc(sizeof *p);
    p->number = number;
    return p;
}

static void pending_free(struct pending *p)
{
    free(p->line);
    free(p);
}

static void expect_reply(struct sender *s, struct pending *p)
{
    p->awaits_reply = true;
    HASH_ADD(hh, s->waiting_replies, number, sizeof p->number, p);
}

static void forget_reply(struct sender *s, struct pending *p)
{
    if (!p->awaits_reply)
        return;
    p->awaits_reply = false;
    HASH_DELETE(hh, s->waiting_replies, p);
}

static void add_unsettled(struct sender *s, struct pending *p)
{
    DL_APPEND(s->unsettled, p);
    s->outstanding++;
}

static void remove_unsettled(struct sender *s, struct pending *p)
{
    DL_DELETE(s->unsettled, p);
    s->outstanding--;
}

/* Done once nothing is awaited any more. */
static void maybe_done(struct sender *s, struct pending *p)
{
    if (p->awaits_outcome || p->awaits_reply)
        return;
    remove_unsettled(s, p);
    pending_free(p);
}

/* ---- outcomes ---- */

static void remember_refusal(struct sender *s, const char *outcome, pn_disposition_t *remote)
{
    char text[250];
    snprintf(s->last_refusal, sizeof s->last_refusal, "%s (%s)", outcome,
             conn_condition_text(pn_disposition_condition(remote), "no reason given", text, sizeof text));
}

static bool may_resend(const struct sender *s, const struct pending *p)
{
    return s->set->resend && (s->set->resend_limit == 0 || p->attempts <= s->set->resend_limit);
}

static void send_again(struct sender *s, struct pending *p, int64_t due)
{
    forget_reply(s, p);
    remove_unsettled(s, p);
    p->due = due;
    DL_APPEND(s->again, p);
}

/* It was not taken: send it again if that was asked, else it stays untaken and is counted so. */
static void not_taken(struct sender *s, struct pending *p, uint64_t *counter)
{
    if (may_resend(s, p)) {
        s->resent++;
        send_again(s, p, tool_mono_us() + s->set->resend_delay);
        return;
    }
    (*counter)++;
    forget_reply(s, p); /* nobody got the request, nobody will answer */
    maybe_done(s, p);
}

static void on_outcome(struct sender *s, pn_delivery_t *d)
{
    struct pending *p = pn_delivery_get_context(d);
    uint64_t state = pn_delivery_remote_state(d);
    pn_disposition_t *remote = pn_delivery_remote(d);
    bool is_terminal = state == PN_ACCEPTED || state == PN_REJECTED || state == PN_RELEASED || state == PN_MODIFIED;
    if (!p || !(is_terminal || pn_delivery_settled(d)))
        return;
    bool is_early = d == s->stream_delivery;
    if (is_early) {
        s->sent += p->attempts == 1;
        s->stream_delivery = NULL;
        s->streamed = NULL;
    }
    p->awaits_outcome = false;
    s->last_moved = tool_mono_us();
    if (s->set->latency && !s->set->request)
        histogram_add(&s->latency, (uint64_t)(now_ns() - p->sent_ns));
    switch (state) {
    case PN_ACCEPTED:
        s->accepted++;
        maybe_done(s, p);
        break;
    case PN_REJECTED:
        s->rejected++;
        remember_refusal(s, "rejected", remote);
        forget_reply(s, p);
        maybe_done(s, p);
        break;
    case PN_MODIFIED:
        remember_refusal(s, pn_disposition_is_undeliverable(remote) ? "modified, undeliverable here" : "modified",
                         remote);
        not_taken(s, p, &s->modified);
        break;
    case PN_RELEASED:
        remember_refusal(s, "released", remote);
        not_taken(s, p, &s->released);
        break;
    default:
        /* Settled without an outcome: the link's default outcome, which senders here leave at accepted. */
        s->accepted++;
        maybe_done(s, p);
    }
    /* Decided while its body is still being sent: the rest goes nowhere. */
    if (is_early)
        pn_delivery_abort(d);
    else
        pn_delivery_settle(d);
}

/* ---- replies ---- */

static void print_reply(struct sender *s, pn_message_t *head, const struct print_body *body)
{
    if (!s->set->print)
        return;
    progress_end(&s->progress, stderr);
    print_one_message(stdout, head, body, &(struct print_origin){.number = s->replies}, s->set->print_style);
    if (fflush(stdout) != 0)
        conn_fail(&s->conn, "cannot write to stdout: %s", strerror(errno));
}

static void match_reply(struct sender *s, pn_message_t *head)
{
    pn_msgid_t id = pn_message_get_correlation_id(head);
    struct pending *p = NULL;
    if (id.type == PN_ULONG)
        HASH_FIND(hh, s->waiting_replies, &id.u.as_ulong, sizeof id.u.as_ulong, p);
    if (!p) {
        /* Also a second reply, to a request that was sent again after a loss. */
        s->strange_replies++;
        return;
    }
    s->replies++;
    s->last_moved = tool_mono_us();
    if (s->set->latency)
        histogram_add(&s->latency, (uint64_t)(now_ns() - p->sent_ns));
    forget_reply(s, p);
    maybe_done(s, p);
}

static void take_reply(struct sender *s)
{
    pn_message_t *head;
    struct print_body body;
    struct fault why;
    if (!incoming_message(s->reply_in, &head, &body, &why)) {
        conn_fail(&s->conn, "bad reply: %s", why.text);
        return;
    }
    uint64_t before = s->replies;
    match_reply(s, head);
    if (s->replies > before)
        print_reply(s, head, &body);
}

static void on_reply(struct sender *s, pn_delivery_t *d)
{
    uint64_t bytes = 0;
    struct fault why;
    enum incoming_result result = incoming_receive(s->reply_in, d, &bytes, &why);
    if (result == INCOMING_PARTIAL)
        return;
    if (result == INCOMING_BAD)
        conn_fail(&s->conn, "bad reply: %s", why.text);
    else if (result == INCOMING_WHOLE)
        take_reply(s);
    incoming_reset(s->reply_in);
    pn_delivery_update(d, PN_ACCEPTED);
    pn_link_advance(s->reply_link);
    pn_delivery_settle(d);
    if (pn_link_credit(s->reply_link) < REPLY_CREDIT / 2)
        pn_link_flow(s->reply_link, REPLY_CREDIT - pn_link_credit(s->reply_link));
}

static void on_reply_address(struct sender *s)
{
    const char *address = pn_terminus_get_address(pn_link_remote_source(s->reply_link));
    if (!address || !*address)
        return; /* refused: the detach that follows says why */
    free(s->reply_address);
    s->reply_address = tool_dup(address);
    struct fault why;
    for (size_t i = 0; i < s->link_count; i++)
        if (!compose_set_reply_to(s->links[i].compose, s->reply_address, &why))
            conn_fail(&s->conn, "%s", why.text);
    if (s->set->common.conn.verbose)
        fprintf(stderr, "qdsend: replies come to '%s'\n", s->reply_address);
}

/* ---- sending ---- */

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
        p->sent_ns = now_ns();
        add_unsettled(s, p);
        if (s->set->request)
            expect_reply(s, p);
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
                maybe_done(s, p);
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

static bool has_new(const struct sender *s)
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

static int64_t earlier(int64_t a, int64_t b)
{
    return a == 0 ? b : b == 0 || a < b ? a : b;
}

/* Send one message if one may go now. */
static bool send_one(struct sender *s, int64_t now)
{
    bool again = s->again && s->again->due <= now;
    if (s->again && !again)
        s->conn.wake_at = earlier(s->conn.wake_at, s->again->due);
    if (!in_window(s) || !(again || (has_new(s) && is_time(s, now))))
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

static void send_what_may_go(struct sender *s)
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

static bool all_done(const struct sender *s)
{
    return !has_new(s) && !s->again && s->outstanding == 0 && !s->stream_delivery;
}

/* A receiver that drains must hear that there is nothing, or it waits (AMQP 1.0 part 2.6.7, Flow Control). */
static void answer_drains(struct sender *s)
{
    for (size_t i = 0; i < s->link_count; i++)
        if (pn_link_get_drain(s->links[i].pn) && pn_link_credit(s->links[i].pn) > 0 && !s->stream_delivery)
            pn_link_drained(s->links[i].pn);
}

/* ---- the connection's events ---- */

static void open_links(struct sender *s)
{
    for (size_t i = 0; i < s->link_count; i++) {
        char *name = options_link_name(&s->set->common, s->conn.pn, "sender", i);
        pn_link_t *link = pn_sender(s->session, name);
        free(name);
        pn_terminus_set_address(pn_link_target(link), s->set->anonymous ? NULL : s->links[i].address);
        options_put_capabilities(&s->set->common, pn_link_target(link));
        pn_link_set_snd_settle_mode(link, s->set->presettled ? PN_SND_SETTLED : PN_SND_UNSETTLED);
        pn_link_set_rcv_settle_mode(link, PN_RCV_FIRST);
        pn_link_open(link);
        s->links[i].pn = link;
    }
}

static void open_reply_link(struct sender *s)
{
    char name[200];
    snprintf(name, sizeof name, "%.180s.replies", pn_connection_get_container(s->conn.pn));
    s->reply_link = pn_receiver(s->session, name);
    pn_terminus_set_dynamic(pn_link_source(s->reply_link), true);
    pn_link_open(s->reply_link);
    pn_link_flow(s->reply_link, REPLY_CREDIT);
}

static void on_start(struct conn *c)
{
    struct sender *s = sender_of(c);
    s->session = pn_session(c->pn);
    pn_session_open(s->session);
    if (s->set->request)
        open_reply_link(s);
    open_links(s);
    s->last_moved = tool_mono_us();
}

/* Everything sent and not settled is to be sent again, in its order and before what is new. */
static void on_lost(struct conn *c)
{
    struct sender *s = sender_of(c);
    struct pending *p, *next, *first = NULL;
    s->session = NULL;
    s->reply_link = NULL;
    free(s->reply_address);
    s->reply_address = NULL;
    s->stream_delivery = NULL;
    s->streamed = NULL;
    for (size_t i = 0; i < s->link_count; i++)
        s->links[i].pn = NULL;
    if (s->reply_in)
        incoming_reset(s->reply_in);
    if (c->is_stopping)
        return; /* they stay where they are, and are counted as unsettled */
    DL_FOREACH_SAFE(s->unsettled, p, next)
    {
        forget_reply(s, p);
        remove_unsettled(s, p);
        p->due = 0;
        s->resent++;
        DL_APPEND(first, p);
    }
    DL_CONCAT(first, s->again);
    s->again = first;
}

static void on_link_closed(struct sender *s, pn_link_t *link)
{
    char text[400];
    const char *address = pn_terminus_get_address(pn_link_target(link));
    if (s->conn.is_stopping || s->conn.is_ending)
        return;
    conn_fail(&s->conn, "%s '%s' was detached by the peer: %s", link == s->reply_link ? "reply link" : "link to",
              link == s->reply_link ? pn_link_name(link)
              : address             ? address
                                    : "(anonymous)",
              conn_condition_text(pn_link_remote_condition(link), "without a reason", text, sizeof text));
}

static void on_event(struct conn *c, pn_event_t *event)
{
    struct sender *s = sender_of(c);
    pn_link_t *link = pn_event_link(event);
    switch (pn_event_type(event)) {
    case PN_LINK_REMOTE_OPEN:
        if (link == s->reply_link)
            on_reply_address(s);
        break;
    case PN_LINK_REMOTE_CLOSE:
    case PN_LINK_REMOTE_DETACH:
        on_link_closed(s, link);
        break;
    case PN_DELIVERY:
        if (pn_link_is_sender(link))
            on_outcome(s, pn_event_delivery(event));
        else if (pn_delivery_readable(pn_event_delivery(event)))
            on_reply(s, pn_event_delivery(event));
        break;
    default:
        break;
    }
}

static uint64_t still_unsettled(const struct sender *s)
{
    uint64_t n = s->outstanding;
    struct pending *p;
    DL_FOREACH(s->again, p)
    n++;
    return n;
}

static void describe(const struct sender *s, struct report *r, struct report_count *counts)
{
    size_t n = 0;
    bool unsettled = !s->set->presettled;
    counts[n++] = (struct report_count){"sent", s->sent, true};
    counts[n++] = (struct report_count){"presettled", s->presettled, s->set->presettled};
    counts[n++] = (struct report_count){"accepted", s->accepted, unsettled};
    counts[n++] = (struct report_count){"rejected", s->rejected, unsettled};
    counts[n++] = (struct report_count){"released", s->released, unsettled};
    counts[n++] = (struct report_count){"modified", s->modified, unsettled};
    counts[n++] = (struct report_count){"replies", s->replies, s->set->request};
    counts[n++] = (struct report_count){"strange_replies", s->strange_replies, false};
    counts[n++] = (struct report_count){"unsettled", still_unsettled(s), false};
    counts[n++] = (struct report_count){"resent", s->resent, false};
    counts[n++] = (struct report_count){"reconnects", s->conn.losses, false};
    *r = (struct report){.tool = "qdsend",
                         .counts = counts,
                         .count_count = n,
                         .messages = s->set->request ? s->replies : s->sent,
                         .bytes = s->bytes,
                         .elapsed = s->started ? tool_mono_us() - s->started : 0,
                         .latency_name = s->set->request ? "reply" : "settlement",
                         .latency = &s->latency};
}

enum { COUNTS = 16 };

static void show_progress(struct sender *s, int64_t now)
{
    if (s->progress.interval == 0 || (now < s->progress.next && s->progress.last_time)) {
        s->conn.wake_at = earlier(s->conn.wake_at, s->progress.interval ? s->progress.next : 0);
        return;
    }
    struct report r;
    struct report_count counts[COUNTS];
    describe(s, &r, counts);
    s->conn.wake_at = earlier(s->conn.wake_at, progress_show(&s->progress, stderr, now, &r));
}

/* Say what is missing, as that is where to look. */
static void time_out(struct sender *s)
{
    char seconds[40];
    snprintf(seconds, sizeof seconds, "nothing has moved for %g s", (double)s->set->common.timeout / 1e6);
    if (s->set->request && !s->reply_address)
        conn_fail(&s->conn, "%s: the peer has given no reply address", seconds);
    else if (s->outstanding)
        conn_fail(&s->conn, "%s: %" PRIu64 " sent messages have no outcome%s yet", seconds, s->outstanding,
                  s->set->request ? " or reply" : "");
    else
        conn_fail(&s->conn, "%s: the peer gives no credit to send on '%s'", seconds, s->links[0].address);
}

/* Waiting for input, for the time of the next message or to send one again, is not being stuck. */
static bool waits_by_choice(const struct sender *s)
{
    if (s->outstanding > 0 || !s->session || (s->conn.watch_fd < 0 && s->conn.wake_at == 0))
        return false;
    for (size_t i = 0; i < s->link_count; i++)
        if (pn_link_credit(s->links[i].pn) > 0)
            return true;
    return false;
}

static void check_timeout(struct sender *s, int64_t now)
{
    if (s->set->common.timeout == 0)
        return;
    if (waits_by_choice(s))
        s->last_moved = now;
    int64_t limit = s->last_moved + s->set->common.timeout;
    if (now >= limit)
        time_out(s);
    else
        s->conn.wake_at = earlier(s->conn.wake_at, limit);
}

static void on_turn(struct conn *c)
{
    struct sender *s = sender_of(c);
    if (!s->session || (s->set->request && !s->reply_address)) {
        check_timeout(s, tool_mono_us());
        return;
    }
    send_what_may_go(s);
    if (!c->is_stopping && all_done(s)) {
        conn_stop(c);
        return;
    }
    answer_drains(s);
    if (s->set->common.timeout || s->progress.interval) {
        int64_t now = tool_mono_us();
        check_timeout(s, now);
        show_progress(s, now);
    }
}

static void on_interrupt(struct conn *c)
{
    conn_stop(c);
}

static const struct conn_ops sender_ops = {on_start, on_event, on_turn, on_lost, on_interrupt};

/* ---- start and end ---- */

/* Read a small regular file whole; leave a large one, or a pipe, to be streamed. */
static bool open_content(struct sender *s, struct send_options *set, struct fault *why)
{
    if (set->size_given && set->size > SEND_OPTIONS_IN_MEMORY) {
        s->source = source_generate(set->size);
        return true;
    }
    if (!set->file)
        return true;
    return source_open(set->file, &s->source, why);
}

static void make_links(struct sender *s)
{
    const struct options *o = &s->set->common;
    s->link_count = o->address_count * o->links;
    s->links = tool_alloc(s->link_count * sizeof *s->links);
    for (size_t i = 0; i < s->link_count; i++)
        s->links[i].address = o->addresses[i % o->address_count];
}

static bool prepare(struct sender *s, struct send_options *set, struct fault *why)
{
    if (!open_content(s, set, why))
        return false;
    if (s->source && !source_is_repeatable(s->source) && set->count != 1)
        return fault_set(why,
                         "a pipe is one message and cannot be sent %s times; for a message from each line use --lines",
                         set->count ? "several" : "endless");
    if (set->lines)
        s->lines = lines_new(STDIN_FILENO);
    make_links(s);
    for (size_t i = 0; i < s->link_count; i++)
        if (!compose_new(&set->compose, set->anonymous ? s->links[i].address : NULL, &s->links[i].compose, why))
            return false;
    s->reply_conf = (struct incoming_conf){.want_head = true, .want_body = set->print, .limit = REPLY_LIMIT};
    if (set->request)
        s->reply_in = incoming_new(&s->reply_conf);
    s->next_number = 1;
    progress_init(&s->progress, set->common.progress_interval, stderr);
    return true;
}

static void clean_up(struct sender *s)
{
    struct pending *p, *next;
    HASH_CLEAR(hh, s->waiting_replies);
    DL_FOREACH_SAFE(s->unsettled, p, next)
    pending_free(p);
    DL_FOREACH_SAFE(s->again, p, next)
    pending_free(p);
    for (size_t i = 0; i < s->link_count; i++)
        compose_free(&s->links[i].compose);
    free(s->links);
    source_close(&s->source);
    lines_free(&s->lines);
    incoming_free(&s->reply_in);
    free(s->reply_address);
}

/* What stands between this run and success; NULL if nothing. */
static const char *shortcoming(struct sender *s, bool ok, struct fault *why)
{
    if (!ok)
        return why->text;
    if (s->rejected + s->released + s->modified > 0) {
        fault_set(why, "%" PRIu64 " of %" PRIu64 " messages were not accepted; the last of them: %s",
                  s->rejected + s->released + s->modified, s->sent, s->last_refusal);
        return why->text;
    }
    bool endless = s->set->count == 0 && !s->set->lines;
    uint64_t unsettled = still_unsettled(s);
    if (s->conn.was_interrupted && (unsettled > 0 || (!endless && has_new(s)))) {
        fault_set(why, "interrupted with %" PRIu64 " messages without an outcome%s", unsettled,
                  !endless && has_new(s) ? ", before all were sent" : "");
        return why->text;
    }
    return NULL;
}

static int run(struct send_options *set)
{
    struct sender *s = tool_alloc(sizeof *s);
    struct fault why;
    s->set = set;
    s->conn.ops = &sender_ops;
    s->conn.conf = &set->common.conn;
    if (!prepare(s, set, &why)) {
        fprintf(stderr, "qdsend: %s\n", why.text);
        clean_up(s);
        free(s);
        return TOOL_EXIT_FAILED;
    }
    bool ok = conn_run(&s->conn, &why);
    struct report r;
    struct report_count counts[COUNTS];
    describe(s, &r, counts);
    r.error = shortcoming(s, ok, &why);
    progress_end(&s->progress, stderr);
    if (r.error)
        fprintf(stderr, "qdsend: %s\n", r.error);
    report_summary(stderr, set->common.summary, &r);
    int status = r.error ? TOOL_EXIT_FAILED : TOOL_EXIT_OK;
    clean_up(s);
    free(s);
    return status;
}

int main(int argc, char **argv)
{
    struct send_options set;
    /* Whole lines: another client often writes to the same terminal. */
    setvbuf(stderr, NULL, _IOLBF, BUFSIZ);
    send_options_parse(&set, argc, argv);
    int status = run(&set);
    send_options_fini(&set);
    return status;
}
