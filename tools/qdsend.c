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
#include <inttypes.h>
#include <proton/connection.h>
#include <proton/delivery.h>
#include <proton/link.h>
#include <proton/session.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#include "tools/qdsend_priv.h"

enum { REPLY_LIMIT = 64 << 20 }; /* bytes of a reply that may be kept in memory */

static struct sender *sender_of(struct conn *c)
{
    return (struct sender *)((char *)c - offsetof(struct sender, conn));
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

static void on_start(struct conn *c)
{
    struct sender *s = sender_of(c);
    s->session = pn_session(c->pn);
    pn_session_open(s->session);
    if (s->set->request)
        sender_open_reply_link(s);
    open_links(s);
    s->last_moved = tool_mono_us();
}

static void on_lost(struct conn *c)
{
    struct sender *s = sender_of(c);
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
        return; /* what is pending stays where it is, and is counted as unsettled */
    pending_all_again(s);
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
            sender_on_reply_address(s);
        break;
    case PN_LINK_REMOTE_CLOSE:
    case PN_LINK_REMOTE_DETACH:
        on_link_closed(s, link);
        break;
    case PN_DELIVERY:
        if (pn_link_is_sender(link))
            pending_on_outcome(s, pn_event_delivery(event));
        else if (pn_delivery_readable(pn_event_delivery(event)))
            sender_on_reply(s, pn_event_delivery(event));
        break;
    default:
        break;
    }
}

/* ---- turns ---- */

enum { COUNTS = 16 };

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
    counts[n++] = (struct report_count){"unsettled", pending_count(s), false};
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

static void show_progress(struct sender *s, int64_t now)
{
    if (s->progress.interval == 0 || (now < s->progress.next && s->progress.last_time)) {
        s->conn.wake_at = tool_earlier(s->conn.wake_at, s->progress.interval ? s->progress.next : 0);
        return;
    }
    struct report r;
    struct report_count counts[COUNTS];
    describe(s, &r, counts);
    s->conn.wake_at = tool_earlier(s->conn.wake_at, progress_show(&s->progress, stderr, now, &r));
}

static bool all_done(const struct sender *s)
{
    return !sender_has_new(s) && !s->again && s->outstanding == 0 && !s->stream_delivery;
}

/* A receiver that drains must hear that there is nothing, or it waits (AMQP 1.0 part 2.6.7, Flow Control). */
static void answer_drains(struct sender *s)
{
    for (size_t i = 0; i < s->link_count; i++)
        if (pn_link_get_drain(s->links[i].pn) && pn_link_credit(s->links[i].pn) > 0 && !s->stream_delivery)
            pn_link_drained(s->links[i].pn);
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
        conn_fail(&s->conn, "%s: the peer gives no credit to send on '%s'; a router says why: qdstat --explain",
                  seconds, s->links[0].address);
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
        s->conn.wake_at = tool_earlier(s->conn.wake_at, limit);
}

static void on_turn(struct conn *c)
{
    struct sender *s = sender_of(c);
    if (!s->session || (s->set->request && !s->reply_address)) {
        check_timeout(s, tool_mono_us());
        return;
    }
    sender_send(s);
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
    pending_free_all(s);
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
    uint64_t unsettled = pending_count(s);
    if (s->conn.was_interrupted && (unsettled > 0 || (!endless && sender_has_new(s)))) {
        fault_set(why, "interrupted with %" PRIu64 " messages without an outcome%s", unsettled,
                  !endless && sender_has_new(s) ? ", before all were sent" : "");
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
    int status = report_end(&s->progress, stderr, set->common.summary, &r);
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
