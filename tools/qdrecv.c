/* qdrecv -- receive messages from AMQP 1.0 addresses: print, count, measure or store them, or answer requests.
 *
 * The way of a message: arrives, maybe in pieces -> whole -> printed, checked, answered -> outcome given, settled. A
 * message that is not taken whole (connection lost, more than --count) is not settled, and the peer gives it to
 * another.
 *
 * How a run ends:
 *   --count N reached                      credit is never above what is still wanted, so nothing is left in flight
 *   --timeout SECS without a message       with --drain, only then: drain and end
 *   --drain                                all credit used or given back on all links, with nothing more to come
 *   SIGINT, SIGTERM                        a reader that waits for ever ends so; it is no failure
 *   detached or refused                    failure
 */
#include <inttypes.h>
#include <proton/connection.h>
#include <proton/delivery.h>
#include <proton/disposition.h>
#include <proton/link.h>
#include <proton/session.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "tools/qdrecv_priv.h"

enum { DRAIN_PATIENCE_US = 10000000 };

static struct receiver *receiver_of(struct conn *c)
{
    return (struct receiver *)((char *)c - offsetof(struct receiver, conn));
}

static struct in_link *in_link_of(struct receiver *r, pn_link_t *link)
{
    for (size_t i = 0; i < r->link_count; i++)
        if (r->links[i].pn == link)
            return &r->links[i];
    return NULL;
}

bool receiver_has_all(const struct receiver *r)
{
    return r->set->count > 0 && r->received >= r->set->count;
}

/* ---- deliveries ---- */

static void finish(struct in_link *l, pn_delivery_t *d)
{
    pn_link_advance(pn_delivery_link(d));
    incoming_reset(l->in);
}

static void on_whole(struct receiver *r, struct in_link *l, pn_delivery_t *d)
{
    /* More than --count, from another link that had credit, too: it is not ours any more. */
    if (receiver_has_all(r)) {
        r->surplus++;
        finish(l, d);
        pn_delivery_update(d, PN_RELEASED);
        pn_delivery_settle(d);
        return;
    }
    r->received++;
    r->presettled += pn_delivery_settled(d);
    /* Before it is used: answering may settle it, and settling the link's current delivery advances the link, too. */
    pn_link_advance(l->pn);
    bool is_later = receiver_use(r, l, d);
    incoming_reset(l->in);
    if (!is_later)
        receiver_settle(r, d);
}

static void on_bad(struct receiver *r, struct in_link *l, pn_delivery_t *d, const char *why)
{
    r->bad++;
    progress_end(&r->progress, stderr);
    fprintf(stderr, "qdrecv: message %" PRIu64 " on '%s': %s\n", r->received + 1, l->address ? l->address : "", why);
    if (r->set->output && r->output && ferror(r->output))
        conn_fail(&r->conn, "%s", why);
    pn_condition_set_name(pn_disposition_condition(pn_delivery_local(d)), "amqp:decode-error");
    pn_condition_set_description(pn_disposition_condition(pn_delivery_local(d)), why);
    pn_delivery_update(d, PN_REJECTED);
}

static void on_delivery(struct receiver *r, struct in_link *l, pn_delivery_t *d)
{
    struct fault why;
    if (r->started == 0)
        r->started = tool_mono_us();
    r->last_moved = 0;
    bool begins = r->output == NULL && r->set->output && strstr(r->set->output, "{n}");
    if (begins && !receiver_has_all(r) && !receiver_open_own_output(r, l))
        return;
    switch (incoming_receive(l->in, d, &r->bytes, &why)) {
    case INCOMING_BAD:
        on_bad(r, l, d, why.text);
        if (pn_delivery_partial(d))
            return;
        receiver_close_own_output(r, false);
        finish(l, d);
        pn_delivery_settle(d);
        return;
    case INCOMING_PARTIAL:
        if (pn_delivery_partial(d))
            return;
        /* The end of one that was bad. */
        receiver_close_own_output(r, false);
        finish(l, d);
        pn_delivery_settle(d);
        return;
    case INCOMING_ABORTED:
        r->aborted++;
        receiver_close_own_output(r, false);
        finish(l, d);
        pn_delivery_settle(d);
        return;
    case INCOMING_WHOLE:
        on_whole(r, l, d);
        receiver_close_own_output(r, true);
        return;
    }
}

/* ---- the connection's events ---- */

static void put_selector(pn_link_t *link, const char *selector)
{
    /* The filter that brokers know for JMS selectors, by its registered descriptor. */
    static const char name[] = "apache.org:selector-filter:string", key[] = "selector";
    pn_data_t *filter = pn_terminus_filter(pn_link_source(link));
    pn_data_put_map(filter);
    pn_data_enter(filter);
    pn_data_put_symbol(filter, pn_bytes(sizeof key - 1, key));
    pn_data_put_described(filter);
    pn_data_enter(filter);
    pn_data_put_symbol(filter, pn_bytes(sizeof name - 1, name));
    pn_data_put_string(filter, pn_bytes(strlen(selector), selector));
    pn_data_exit(filter);
    pn_data_exit(filter);
}

static void open_link(struct receiver *r, size_t index)
{
    struct in_link *l = &r->links[index];
    char *name = options_link_name(&r->set->common, r->conn.pn, "receiver", index);
    l->pn = pn_receiver(r->session, name);
    free(name);
    pn_terminus_t *source = pn_link_source(l->pn);
    if (r->set->dynamic)
        pn_terminus_set_dynamic(source, true);
    else
        pn_terminus_set_address(source, l->address);
    if (r->set->browse)
        pn_terminus_set_distribution_mode(source, PN_DIST_MODE_COPY);
    if (r->set->selector)
        put_selector(l->pn, r->set->selector);
    options_put_capabilities(&r->set->common, source);
    pn_link_set_snd_settle_mode(l->pn, r->set->presettled  ? PN_SND_SETTLED
                                       : r->set->unsettled ? PN_SND_UNSETTLED
                                                           : PN_SND_MIXED);
    pn_link_set_rcv_settle_mode(l->pn, PN_RCV_FIRST);
    pn_link_open(l->pn);
}

static void on_start(struct conn *c)
{
    struct receiver *r = receiver_of(c);
    r->session = pn_session(c->pn);
    pn_session_open(r->session);
    for (size_t i = 0; i < r->link_count; i++)
        open_link(r, i);
    r->last_moved = tool_mono_us();
}

static void on_lost(struct conn *c)
{
    struct receiver *r = receiver_of(c);
    r->session = NULL;
    receiver_close_own_output(r, false);
    for (size_t i = 0; i < r->link_count; i++) {
        struct in_link *l = &r->links[i];
        l->pn = NULL;
        l->is_draining = l->is_drained = false;
        l->granted = 0;
        incoming_reset(l->in);
    }
    receiver_free_replies(r);
}

static void on_remote_open(struct receiver *r, pn_link_t *link)
{
    struct in_link *l = in_link_of(r, link);
    const char *address = pn_terminus_get_address(pn_link_remote_source(link));
    if (!l)
        return;
    r->last_moved = 0;
    free(l->source);
    l->source = tool_dup(address ? address : l->address);
    if (r->set->dynamic && address)
        fprintf(stderr, "qdrecv: address is '%s'\n", address);
    /* An attach without a source is a refusal, whose reason comes with the detach. */
    if (r->set->common.conn.verbose && address)
        fprintf(stderr, "qdrecv: attached to '%s'\n", address);
}

static void on_link_closed(struct receiver *r, pn_link_t *link)
{
    char text[400];
    struct in_link *l = in_link_of(r, link);
    const char *address = l ? l->address : pn_terminus_get_address(pn_link_target(link));
    if (r->conn.is_stopping || r->conn.is_ending)
        return;
    conn_fail(&r->conn, "%s '%s' was detached by the peer: %s", l ? "link from" : "reply link to",
              address ? address
              : l     ? "(dynamic)"
                      : "(anonymous)",
              conn_condition_text(pn_link_remote_condition(link), "without a reason", text, sizeof text));
}

/* Whether the peer relays by `to`, as its open says. */
static bool offers_anonymous_relay(pn_connection_t *pn)
{
    static const char name[] = "ANONYMOUS-RELAY";
    pn_data_t *data = pn_connection_remote_offered_capabilities(pn);
    pn_data_rewind(data);
    if (!pn_data_next(data))
        return false;
    bool is_array = pn_data_type(data) == PN_ARRAY && pn_data_enter(data) && pn_data_next(data);
    do {
        pn_bytes_t symbol = pn_data_type(data) == PN_SYMBOL ? pn_data_get_symbol(data) : pn_bytes(0, NULL);
        if (symbol.size == sizeof name - 1 && memcmp(symbol.start, name, symbol.size) == 0)
            return true;
    } while (is_array && pn_data_next(data));
    return false;
}

static void on_event(struct conn *c, pn_event_t *event)
{
    struct receiver *r = receiver_of(c);
    pn_link_t *link = pn_event_link(event);
    switch (pn_event_type(event)) {
    case PN_CONNECTION_REMOTE_OPEN:
        r->is_anonymous_relay = offers_anonymous_relay(c->pn);
        break;
    case PN_LINK_REMOTE_OPEN:
        on_remote_open(r, link);
        break;
    case PN_LINK_REMOTE_CLOSE:
    case PN_LINK_REMOTE_DETACH:
        on_link_closed(r, link);
        break;
    case PN_LINK_FLOW:
        receiver_on_reply_credit(r, link);
        break;
    case PN_DELIVERY:
        if (pn_link_is_sender(link))
            receiver_on_reply_outcome(r, pn_event_delivery(event));
        else if (pn_delivery_readable(pn_event_delivery(event)) || pn_delivery_aborted(pn_event_delivery(event)))
            on_delivery(r, in_link_of(r, link), pn_event_delivery(event));
        break;
    default:
        break;
    }
}

/* ---- turns ---- */

enum { COUNTS = 24 };

static void describe(const struct receiver *r, struct report *out, struct report_count *counts)
{
    size_t n = 0;
    counts[n++] = (struct report_count){"received", r->received, true};
    counts[n++] = (struct report_count){"presettled", r->presettled, false};
    counts[n++] = (struct report_count){"settled", r->settled, false};
    counts[n++] = (struct report_count){"replies", r->replies, r->set->reply};
    counts[n++] = (struct report_count){"replies_refused", r->replies_refused, false};
    counts[n++] = (struct report_count){"without_reply_to", r->requests_without_address, false};
    counts[n++] = (struct report_count){"missing", sequence_missing(&r->sequence), r->set->check};
    counts[n++] = (struct report_count){"repeated", r->sequence.repeated, r->set->check};
    counts[n++] = (struct report_count){"late", r->sequence.late, r->set->check};
    counts[n++] = (struct report_count){"unnumbered", r->unnumbered, false};
    counts[n++] = (struct report_count){"unstamped", r->unstamped, false};
    counts[n++] = (struct report_count){"from_future", r->from_future, false};
    counts[n++] = (struct report_count){"aborted", r->aborted, false};
    counts[n++] = (struct report_count){"bad", r->bad, false};
    counts[n++] = (struct report_count){"surplus", r->surplus, false};
    counts[n++] = (struct report_count){"reconnects", r->conn.losses, false};
    *out = (struct report){.tool = "qdrecv",
                           .counts = counts,
                           .count_count = n,
                           .messages = r->received,
                           .bytes = r->bytes,
                           .elapsed = r->last_message > r->started ? r->last_message - r->started : 0,
                           .latency_name = "message",
                           .latency = &r->latency};
}

static void show_progress(struct receiver *r, int64_t now)
{
    struct report report;
    struct report_count counts[COUNTS];
    if (r->progress.interval == 0)
        return;
    describe(r, &report, counts);
    r->conn.wake_at = tool_earlier(r->conn.wake_at, progress_show(&r->progress, stderr, now, &report));
}

/* How long a drain may stay without an answer: there are peers that do not know drains. */
static int64_t patience(const struct receiver *r)
{
    return r->set->common.timeout ? r->set->common.timeout : DRAIN_PATIENCE_US;
}

static void begin_all_drains(struct receiver *r)
{
    bool any = false;
    for (size_t i = 0; i < r->link_count; i++) {
        if (r->links[i].is_draining)
            continue;
        receiver_begin_drain(r, &r->links[i]);
        any = true;
    }
    if (!any)
        conn_fail(&r->conn, "the peer has not answered the drain for %g s", (double)patience(r) / 1e6);
    r->last_moved = 0;
}

/* Silence: the end of a drain's patience, or of the run. */
static void on_silence(struct receiver *r)
{
    if (r->set->drain) {
        begin_all_drains(r);
    } else if (r->set->count) {
        conn_fail(&r->conn, "no message for %g s: %" PRIu64 " of %" PRIu64 " received",
                  (double)r->set->common.timeout / 1e6, r->received, r->set->count);
    } else {
        conn_stop(&r->conn);
    }
}

static void check_silence(struct receiver *r, int64_t now)
{
    if (r->last_moved == 0)
        r->last_moved = now;
    if (r->set->common.timeout == 0 && !r->set->drain)
        return;
    int64_t limit = r->last_moved + (r->links[0].is_draining ? patience(r) : r->set->common.timeout);
    if (now >= limit)
        on_silence(r);
    else
        r->conn.wake_at = tool_earlier(r->conn.wake_at, limit);
}

static bool is_attached(const struct receiver *r)
{
    for (size_t i = 0; i < r->link_count; i++)
        if (!(pn_link_state(r->links[i].pn) & PN_REMOTE_ACTIVE))
            return false;
    return true;
}

static void check_attach(struct receiver *r, int64_t now)
{
    int64_t limit = r->last_moved + r->set->common.timeout;
    if (r->set->common.timeout == 0)
        return;
    if (now >= limit)
        conn_fail(&r->conn, "the peer has not answered the attach for %g s", (double)r->set->common.timeout / 1e6);
    else
        r->conn.wake_at = tool_earlier(r->conn.wake_at, limit);
}

static void on_turn(struct conn *c)
{
    struct receiver *r = receiver_of(c);
    int64_t now = tool_mono_us();
    if (r->received > r->received_before)
        r->last_message = now;
    r->received_before = r->received;
    receiver_flush_outputs(r);
    if (!r->session || !is_attached(r)) {
        check_attach(r, now);
        return;
    }
    for (size_t i = 0; i < r->link_count && !receiver_has_all(r); i++) {
        receiver_check_drained(r, &r->links[i]);
        if (!r->links[i].is_draining)
            receiver_give_credit(r, &r->links[i], now);
    }
    bool is_over = receiver_has_all(r) || (r->set->drain && receiver_is_drained(r));
    if (is_over && !receiver_has_waiting_replies(r)) {
        conn_stop(c);
        return;
    }
    check_silence(r, now);
    show_progress(r, now);
}

static void on_interrupt(struct conn *c)
{
    conn_stop(c);
}

static const struct conn_ops receiver_ops = {on_start, on_event, on_turn, on_lost, on_interrupt};

/* ---- start and end ---- */

static bool prepare(struct receiver *r, struct fault *why)
{
    const struct receive_options *set = r->set;
    const struct options *o = &set->common;
    if (!receiver_open_output(r, why))
        return false;
    bool whole = set->print == PRINT_MESSAGES || set->reply;
    r->in_conf = (struct incoming_conf){.want_head = whole || set->latency || set->check,
                                        .want_body = whole || set->print == PRINT_BODY,
                                        .content = r->output,
                                        .limit = set->limit};
    r->link_count = (set->dynamic ? 1 : o->address_count) * o->links;
    r->links = tool_alloc(r->link_count * sizeof *r->links);
    for (size_t i = 0; i < r->link_count; i++) {
        r->links[i].address = set->dynamic ? NULL : o->addresses[i % o->address_count];
        r->links[i].in = incoming_new(&r->in_conf);
    }
    r->reply_message = pn_message();
    progress_init(&r->progress, o->progress_interval, stderr);
    return true;
}

static void clean_up(struct receiver *r)
{
    for (size_t i = 0; i < r->link_count; i++) {
        incoming_free(&r->links[i].in);
        free(r->links[i].source);
    }
    free(r->links);
    receiver_free_replies(r);
    if (r->reply_message)
        pn_message_free(r->reply_message);
    sequence_fini(&r->sequence);
    free(r->output_path);
}

static const char *shortcoming(struct receiver *r, bool ok, struct fault *why)
{
    if (ok && r->set->count && r->received < r->set->count)
        ok = fault_set(why, "%s: %" PRIu64 " of %" PRIu64 " messages received",
                       r->conn.was_interrupted ? "interrupted" : "there are no more", r->received, r->set->count);
    if (ok && r->bad)
        ok = fault_set(why, "%" PRIu64 " messages could not be read", r->bad);
    if (ok && r->set->check && (sequence_missing(&r->sequence) || r->sequence.repeated || r->unnumbered))
        ok = fault_set(why, "%" PRIu64 " messages missing, %" PRIu64 " repeated, %" PRIu64 " without a number",
                       sequence_missing(&r->sequence), r->sequence.repeated, r->unnumbered);
    if (ok && r->replies_refused)
        ok = fault_set(why, "%" PRIu64 " replies were not accepted", r->replies_refused);
    return ok ? NULL : why->text;
}

static int run(struct receive_options *set)
{
    struct receiver *r = tool_alloc(sizeof *r);
    struct fault why;
    r->set = set;
    r->conn.ops = &receiver_ops;
    r->conn.conf = &set->common.conn;
    int status = TOOL_EXIT_FAILED;
    if (!prepare(r, &why)) {
        fprintf(stderr, "qdrecv: %s\n", why.text);
    } else {
        bool ok = conn_run(&r->conn, &why);
        struct fault output_why;
        struct report report;
        struct report_count counts[COUNTS];
        describe(r, &report, counts);
        if (!receiver_close_output(r, &output_why) && ok) {
            ok = false;
            why = output_why;
        }
        report.error = shortcoming(r, ok, &why);
        status = report_end(&r->progress, stderr, set->common.summary, &report);
    }
    clean_up(r);
    free(r);
    return status;
}

int main(int argc, char **argv)
{
    struct receive_options set;
    /* Whole lines: another client often writes to the same terminal. */
    setvbuf(stderr, NULL, _IOLBF, BUFSIZ);
    receive_options_parse(&set, argc, argv);
    int status = run(&set);
    receive_options_fini(&set);
    return status;
}
