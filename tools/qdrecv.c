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
#include <errno.h>
#include <inttypes.h>
#include <proton/connection.h>
#include <proton/delivery.h>
#include <proton/disposition.h>
#include <proton/link.h>
#include <proton/session.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "tools/client/conn.h"
#include "tools/client/incoming.h"
#include "tools/client/print.h"
#include "tools/client/report.h"
#include "tools/client/sequence.h"
#include "tools/qdrecv_options.h"

enum { REPLY_LINK_LIMIT = 1000, DRAIN_PATIENCE_US = 10000000 };

struct in_link {
    pn_link_t *pn;
    const char *address;
    char *source; /* the address that messages came from, as the peer named it */
    struct incoming *in;
    bool is_draining, is_drained;
    uint64_t granted, at_drain; /* credit given in all; messages when the drain began */
    uint64_t received;
};

/* A reply that waits for credit; its request is settled when it is sent. */
struct reply {
    struct reply *prev, *next;
    pn_delivery_t *request;
    char *address;
    pn_rwbytes_t encoded;
    size_t size;
};

/* Where replies go: one anonymous link if the peer relays, else one to each address. */
struct reply_link {
    char *address; /* key; "" for the anonymous one */
    pn_link_t *pn;
    struct reply *waiting;
    UT_hash_handle hh;
};

struct receiver {
    struct conn conn;
    const struct receive_options *set;
    pn_session_t *session;
    struct in_link *links;
    size_t link_count;
    struct incoming_conf in_conf;
    FILE *output; /* of all messages; NULL if none, or one file each */
    char *output_path;

    struct reply_link *reply_links;
    bool is_anonymous_relay;
    uint64_t reply_number;
    pn_message_t *reply_message;

    int64_t started, last_moved; /* last_moved 0: just now */
    int64_t last_message;        /* the end of what rates are measured over; silence after it is no work */
    uint64_t received_before;    /* this turn */
    uint64_t received, presettled, settled, aborted, bad, replies, replies_refused, requests_without_address, surplus;
    uint64_t bytes, unstamped, from_future, unnumbered;
    struct histogram latency;
    struct sequence sequence;
    struct progress progress;
};

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

static bool is_count_reached(const struct receiver *r)
{
    return r->set->count > 0 && r->received >= r->set->count;
}

/* ---- replies ---- */

static struct reply_link *reply_link_to(struct receiver *r, const char *address)
{
    const char *key = r->is_anonymous_relay ? "" : address;
    struct reply_link *l;
    HASH_FIND_STR(r->reply_links, key, l);
    if (l)
        return l;
    if (HASH_COUNT(r->reply_links) >= REPLY_LINK_LIMIT) {
        conn_fail(&r->conn, "requests name more than %d reply addresses, and the peer has no anonymous relay",
                  REPLY_LINK_LIMIT);
        return NULL;
    }
    char name[300];
    l = tool_alloc(sizeof *l);
    l->address = tool_dup(key);
    snprintf(name, sizeof name, "%.200s.reply.%u", pn_connection_get_container(r->conn.pn), HASH_COUNT(r->reply_links));
    l->pn = pn_sender(r->session, name);
    pn_terminus_set_address(pn_link_target(l->pn), *key ? key : NULL);
    pn_link_open(l->pn);
    HASH_ADD_KEYPTR(hh, r->reply_links, l->address, strlen(l->address), l);
    return l;
}

static void reply_free(struct reply *reply)
{
    free(reply->address);
    free(reply->encoded.start);
    free(reply);
}

static void settle(struct receiver *r, pn_delivery_t *d);

static void send_replies(struct receiver *r, struct reply_link *l)
{
    while (l->waiting && pn_link_credit(l->pn) > 0) {
        struct reply *reply = l->waiting;
        DL_DELETE(l->waiting, reply);
        uint64_t tag = ++r->reply_number;
        pn_delivery_t *d = pn_delivery(l->pn, pn_dtag((const char *)&tag, sizeof tag));
        pn_link_send(l->pn, reply->encoded.start, reply->size);
        pn_link_advance(l->pn);
        /* The requester knows itself if its answer does not come; the request is answered as far as we can tell. */
        if (r->set->presettled)
            pn_delivery_settle(d);
        r->replies++;
        settle(r, reply->request);
        reply_free(reply);
    }
}

static void on_reply_outcome(struct receiver *r, pn_delivery_t *d)
{
    if (!pn_delivery_remote_state(d) && !pn_delivery_settled(d))
        return;
    uint64_t state = pn_delivery_remote_state(d);
    r->replies_refused += state == PN_REJECTED || state == PN_RELEASED || state == PN_MODIFIED;
    pn_delivery_settle(d);
}

static void put_reply_body(struct receiver *r, const struct print_body *body)
{
    pn_data_t *data = pn_message_body(r->reply_message);
    const char *text = r->set->reply_content;
    if (text) {
        pn_data_put_string(data, pn_bytes(strlen(text), text));
    } else if (body->kind == PRINT_BODY_DATA) {
        pn_message_set_inferred(r->reply_message, true);
        pn_data_put_binary(data, body->bytes);
    } else if (body->kind != PRINT_BODY_NONE) {
        pn_message_set_inferred(r->reply_message, body->kind == PRINT_BODY_SEQUENCE);
        pn_data_rewind(body->values);
        pn_data_appendn(data, body->values, 1);
    } else {
        pn_data_put_string(data, pn_bytes(0, ""));
    }
}

/* Answer to the request's reply-to, with its correlation-id or, if it has none, its message-id. */
static bool make_reply(struct receiver *r, pn_message_t *request, const struct print_body *body, struct reply *reply)
{
    pn_message_t *m = r->reply_message;
    pn_message_clear(m);
    pn_message_set_address(m, reply->address);
    pn_msgid_t id = pn_message_get_correlation_id(request);
    pn_message_set_correlation_id(m, id.type == PN_NULL ? pn_message_get_id(request) : id);
    pn_message_set_subject(m, pn_message_get_subject(request));
    pn_data_copy(pn_message_properties(m), pn_message_properties(request));
    put_reply_body(r, body);
    ssize_t size = pn_message_encode2(m, &reply->encoded);
    reply->size = size > 0 ? (size_t)size : 0;
    return size > 0;
}

/* True if the request will be settled later, with its reply. */
static bool answer(struct receiver *r, pn_delivery_t *request, pn_message_t *head, const struct print_body *body)
{
    const char *address = pn_message_get_reply_to(head);
    if (!address || !*address) {
        r->requests_without_address++;
        return false;
    }
    struct reply_link *l = reply_link_to(r, address);
    if (!l)
        return false;
    struct reply *reply = tool_alloc(sizeof *reply);
    reply->address = tool_dup(address);
    reply->request = request;
    if (!make_reply(r, head, body, reply)) {
        conn_fail(&r->conn, "cannot encode the reply to message %" PRIu64, r->received);
        reply_free(reply);
        return false;
    }
    DL_APPEND(l->waiting, reply);
    send_replies(r, l);
    return true;
}

static void free_reply_links(struct receiver *r)
{
    struct reply_link *l, *next_link;
    struct reply *reply, *next;
    HASH_ITER(hh, r->reply_links, l, next_link)
    {
        HASH_DELETE(hh, r->reply_links, l);
        DL_FOREACH_SAFE(l->waiting, reply, next)
        reply_free(reply);
        free(l->address);
        free(l);
    }
}

/* ---- what is done with a message ---- */

/* Go to the value of a property. */
static bool find_property(pn_data_t *data, const char *name)
{
    pn_data_rewind(data);
    return pn_data_next(data) && pn_data_get_map(data) > 0 && pn_data_enter(data) && pn_data_lookup(data, name);
}

static void measure(struct receiver *r, pn_message_t *head)
{
    pn_data_t *data = pn_message_properties(head);
    if (!find_property(data, "ts") || pn_data_type(data) != PN_LONG) {
        r->unstamped++;
        return;
    }
    int64_t latency = tool_epoch_ns() - pn_data_get_long(data);
    if (latency < 0)
        r->from_future++; /* the sender's clock is ahead of ours */
    histogram_add(&r->latency, latency < 0 ? 0 : (uint64_t)latency);
}

static void check_number(struct receiver *r, pn_message_t *head)
{
    pn_data_t *data = pn_message_properties(head);
    struct fault why;
    if (!find_property(data, "sn") || pn_data_type(data) != PN_ULONG)
        r->unnumbered++;
    else if (!sequence_add(&r->sequence, pn_data_get_ulong(data), &why))
        conn_fail(&r->conn, "--check-numbers: %s", why.text);
}

static void put_message(struct receiver *r, struct in_link *l, pn_message_t *head, const struct print_body *body)
{
    progress_end(&r->progress, stderr);
    print_one_message(stdout, head, body, &(struct print_origin){.number = r->received, .address = l->source},
                      r->set->print_style);
}

/* Bodies on stdout end with a newline each, so that texts are lines; a value that is not text is printed as one. */
static void put_body(const struct print_body *body)
{
    if (body->kind == PRINT_BODY_DATA) {
        fwrite(body->bytes.start, 1, body->bytes.size, stdout);
    } else if (body->kind != PRINT_BODY_NONE) {
        pn_data_rewind(body->values);
        while (pn_data_next(body->values)) {
            pn_type_t type = pn_data_type(body->values);
            pn_bytes_t bytes = pn_data_get_bytes(body->values);
            if (type == PN_STRING || type == PN_SYMBOL || type == PN_BINARY)
                fwrite(bytes.start, 1, bytes.size, stdout);
            else
                print_value(stdout, body->values, PRINT_HUMAN);
        }
    }
    fputc('\n', stdout);
}

static bool wants_message(const struct receiver *r)
{
    return r->in_conf.want_head || r->in_conf.want_body || r->set->output;
}

/* Bytes and text went to the file as they came; a map or list follows here, as text. */
static void put_kept_values(struct receiver *r, const struct print_body *body)
{
    if (body->kind != PRINT_BODY_VALUE && body->kind != PRINT_BODY_SEQUENCE)
        return;
    pn_data_rewind(body->values);
    while (pn_data_next(body->values))
        print_value(r->output, body->values, PRINT_HUMAN);
}

/* Do with a whole message what was asked. True if it will be settled later. */
static bool use(struct receiver *r, struct in_link *l, pn_delivery_t *d)
{
    pn_message_t *head;
    struct print_body body;
    struct fault why;
    if (!wants_message(r))
        return false;
    if (!incoming_message(l->in, &head, &body, &why)) {
        r->bad++;
        progress_end(&r->progress, stderr);
        fprintf(stderr, "qdrecv: message %" PRIu64 ": %s\n", r->received, why.text);
        return false;
    }
    if (r->set->latency)
        measure(r, head);
    if (r->set->check)
        check_number(r, head);
    if (r->set->output)
        put_kept_values(r, &body);
    if (r->set->print == PRINT_MESSAGES)
        put_message(r, l, head, &body);
    else if (r->set->print == PRINT_BODY)
        put_body(&body);
    return r->set->reply && answer(r, d, head, &body);
}

static void settle_with(struct receiver *r, pn_delivery_t *d, enum outcome outcome)
{
    pn_disposition_t *local = pn_delivery_local(d);
    switch (outcome) {
    case OUTCOME_ACCEPT:
        pn_delivery_update(d, PN_ACCEPTED);
        break;
    case OUTCOME_REJECT:
        pn_condition_set_name(pn_disposition_condition(local), "qdrecv:rejected");
        pn_condition_set_description(pn_disposition_condition(local), "rejected as asked by --outcome");
        pn_delivery_update(d, PN_REJECTED);
        break;
    case OUTCOME_RELEASE:
        pn_delivery_update(d, PN_RELEASED);
        break;
    case OUTCOME_MODIFY_FAILED:
    case OUTCOME_MODIFY_HERE:
        pn_disposition_set_failed(local, outcome == OUTCOME_MODIFY_FAILED);
        pn_disposition_set_undeliverable(local, outcome == OUTCOME_MODIFY_HERE);
        pn_delivery_update(d, PN_MODIFIED);
        break;
    case OUTCOME_MODIFY:
        pn_delivery_update(d, PN_MODIFIED);
        break;
    case OUTCOME_NONE:
        return; /* stays unsettled; the peer takes it back when we go */
    }
    r->settled++;
    pn_delivery_settle(d);
}

static void settle(struct receiver *r, pn_delivery_t *d)
{
    if (pn_delivery_settled(d))
        pn_delivery_settle(d); /* sent so: there is nothing to say */
    else
        settle_with(r, d, r->set->outcome);
}

/* ---- output files ---- */

/* Open the file of message n where --output holds {n}. */
static bool open_own_output(struct receiver *r, struct in_link *l)
{
    const char *hit = r->set->output ? strstr(r->set->output, "{n}") : NULL;
    if (!hit)
        return true;
    char *path;
    if (asprintf(&path, "%.*s%" PRIu64 "%s", (int)(hit - r->set->output), r->set->output, r->received + 1, hit + 3) < 0)
        abort();
    FILE *f = fopen(path, "we");
    if (!f)
        conn_fail(&r->conn, "cannot create %s: %s", path, strerror(errno));
    r->output = f;
    free(r->output_path);
    r->output_path = path;
    incoming_set_content(l->in, f);
    return f != NULL;
}

/* Close it; a message that is not whole leaves no file behind. */
static void close_own_output(struct receiver *r, bool is_whole)
{
    if (!r->output_path || !r->output)
        return;
    if (fclose(r->output) != 0)
        conn_fail(&r->conn, "cannot write %s: %s", r->output_path, strerror(errno));
    r->output = NULL;
    if (!is_whole)
        remove(r->output_path);
}

static void flush_outputs(struct receiver *r)
{
    if (fflush(stdout) != 0)
        conn_fail(&r->conn, "cannot write to stdout: %s", strerror(errno));
    if (r->output && r->output != stdout && fflush(r->output) != 0)
        conn_fail(&r->conn, "cannot write %s: %s", r->output_path ? r->output_path : r->set->output, strerror(errno));
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
    if (is_count_reached(r)) {
        r->surplus++;
        finish(l, d);
        pn_delivery_update(d, PN_RELEASED);
        pn_delivery_settle(d);
        return;
    }
    r->received++;
    l->received++;
    r->presettled += pn_delivery_settled(d);
    /* Before it is used: answering may settle it, and settling the link's current delivery advances the link, too. */
    pn_link_advance(l->pn);
    bool is_later = use(r, l, d);
    incoming_reset(l->in);
    if (!is_later)
        settle(r, d);
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
    if (begins && !is_count_reached(r) && !open_own_output(r, l))
        return;
    switch (incoming_receive(l->in, d, &r->bytes, &why)) {
    case INCOMING_BAD:
        on_bad(r, l, d, why.text);
        if (pn_delivery_partial(d))
            return;
        close_own_output(r, false);
        finish(l, d);
        pn_delivery_settle(d);
        return;
    case INCOMING_PARTIAL:
        if (pn_delivery_partial(d))
            return;
        /* The end of one that was bad. */
        close_own_output(r, false);
        finish(l, d);
        pn_delivery_settle(d);
        return;
    case INCOMING_ABORTED:
        r->aborted++;
        close_own_output(r, false);
        finish(l, d);
        pn_delivery_settle(d);
        return;
    case INCOMING_WHOLE:
        on_whole(r, l, d);
        close_own_output(r, true);
        return;
    }
}

/* ---- credit ---- */

static uint64_t still_wanted(const struct receiver *r)
{
    return r->set->count ? r->set->count - r->received : UINT64_MAX;
}

/* Credit that --rate allows by now, in all. */
static uint64_t allowed_by_rate(struct receiver *r, int64_t now)
{
    if (r->set->rate == 0)
        return UINT64_MAX;
    if (r->started == 0)
        r->started = now;
    return 1 + (uint64_t)((double)(now - r->started) / 1e6 * r->set->rate);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a == 0 ? b : b == 0 || a < b ? a : b;
}

/* How much credit the link may get now. */
static uint64_t affordable(struct receiver *r, struct in_link *l, int64_t now)
{
    uint64_t credit = (uint64_t)pn_link_credit(l->pn), target = r->set->credit;
    uint64_t wanted = still_wanted(r), allowed = allowed_by_rate(r, now);
    if (wanted < target)
        target = wanted;
    if (target <= credit)
        return 0;
    uint64_t more = target - credit;
    if (r->set->rate == 0)
        return more;
    uint64_t granted = 0;
    for (size_t i = 0; i < r->link_count; i++)
        granted += r->links[i].granted;
    if (granted >= allowed) {
        r->conn.wake_at = earlier(r->conn.wake_at, r->started + (int64_t)((double)granted * 1e6 / r->set->rate) + 1);
        return 0;
    }
    return more < allowed - granted ? more : allowed - granted;
}

/* Top up when half is used, so that a flow frame serves many messages. */
static void give_credit(struct receiver *r, struct in_link *l, int64_t now)
{
    uint64_t credit = (uint64_t)pn_link_credit(l->pn);
    bool is_low = credit <= r->set->credit / 2 || r->set->rate > 0;
    uint64_t more = is_low ? affordable(r, l, now) : 0;
    if (more == 0)
        return;
    l->granted += more;
    if (l->is_draining)
        pn_link_drain(l->pn, (int)more);
    else
        pn_link_flow(l->pn, (int)more);
}

/* Ask for what there is; the peer uses the credit up or gives it back (AMQP 1.0 part 2.6.7, Flow Control). */
static void begin_drain(struct receiver *r, struct in_link *l)
{
    l->is_draining = true;
    l->at_drain = l->received;
    uint64_t credit = (uint64_t)pn_link_credit(l->pn), target = r->set->credit;
    if (still_wanted(r) < target)
        target = still_wanted(r);
    uint64_t more = target > credit ? target - credit : 0;
    l->granted += more;
    pn_link_drain(l->pn, (int)more);
}

/* All credit is gone: given back, so there is no more; or used, so there may be. */
static void check_drained(struct receiver *r, struct in_link *l)
{
    if (!l->is_draining || l->is_drained || pn_link_credit(l->pn) > 0)
        return;
    if (pn_link_drained(l->pn) > 0 || is_count_reached(r))
        l->is_drained = true;
    else
        begin_drain(r, l);
}

static bool is_all_drained(const struct receiver *r)
{
    for (size_t i = 0; i < r->link_count; i++)
        if (!r->links[i].is_drained)
            return false;
    return true;
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
    close_own_output(r, false);
    for (size_t i = 0; i < r->link_count; i++) {
        struct in_link *l = &r->links[i];
        l->pn = NULL;
        l->is_draining = l->is_drained = false;
        l->granted = 0;
        incoming_reset(l->in);
    }
    free_reply_links(r);
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
    struct reply_link *l, *next;
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
        HASH_ITER(hh, r->reply_links, l, next)
        if (l->pn == link)
            send_replies(r, l);
        break;
    case PN_DELIVERY:
        if (pn_link_is_sender(link))
            on_reply_outcome(r, pn_event_delivery(event));
        else if (pn_delivery_readable(pn_event_delivery(event)) || pn_delivery_aborted(pn_event_delivery(event)))
            on_delivery(r, in_link_of(r, link), pn_event_delivery(event));
        break;
    default:
        break;
    }
}

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
    r->conn.wake_at = earlier(r->conn.wake_at, progress_show(&r->progress, stderr, now, &report));
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
        begin_drain(r, &r->links[i]);
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
        r->conn.wake_at = earlier(r->conn.wake_at, limit);
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
        r->conn.wake_at = earlier(r->conn.wake_at, limit);
}

static bool has_waiting_replies(const struct receiver *r)
{
    const struct reply_link *l;
    for (l = r->reply_links; l; l = l->hh.next)
        if (l->waiting)
            return true;
    return false;
}

static void on_turn(struct conn *c)
{
    struct receiver *r = receiver_of(c);
    int64_t now = tool_mono_us();
    if (r->received > r->received_before)
        r->last_message = now;
    r->received_before = r->received;
    flush_outputs(r);
    if (!r->session || !is_attached(r)) {
        check_attach(r, now);
        return;
    }
    for (size_t i = 0; i < r->link_count && !is_count_reached(r); i++) {
        check_drained(r, &r->links[i]);
        if (!r->links[i].is_draining)
            give_credit(r, &r->links[i], now);
    }
    bool is_over = is_count_reached(r) || (r->set->drain && is_all_drained(r));
    if (is_over && !has_waiting_replies(r)) {
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

static bool open_output(struct receiver *r, struct fault *why)
{
    const char *path = r->set->output;
    if (!path || strstr(path, "{n}"))
        return true;
    r->output = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
    return r->output || fault_set(why, "cannot create %s: %s", path, strerror(errno));
}

static bool prepare(struct receiver *r, struct fault *why)
{
    const struct receive_options *set = r->set;
    const struct options *o = &set->common;
    if (!open_output(r, why))
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
    free_reply_links(r);
    if (r->reply_message)
        pn_message_free(r->reply_message);
    sequence_fini(&r->sequence);
    free(r->output_path);
}

/* Close what was written; the last bytes may fail only now. */
static bool close_output(struct receiver *r, struct fault *why)
{
    bool ok = true;
    if (r->output && r->output != stdout)
        ok = fclose(r->output) == 0 || fault_set(why, "cannot write %s: %s", r->set->output, strerror(errno));
    r->output = NULL;
    if (r->set->print == PRINT_COUNT)
        printf("%" PRIu64 "\n", r->received);
    if (fflush(stdout) != 0 || ferror(stdout))
        ok = fault_set(why, "cannot write to stdout: %s", strerror(errno));
    return ok;
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
        if (!close_output(r, &output_why) && ok) {
            ok = false;
            why = output_why;
        }
        report.error = shortcoming(r, ok, &why);
        progress_end(&r->progress, stderr);
        if (report.error)
            fprintf(stderr, "qdrecv: %s\n", report.error);
        report_summary(stderr, set->common.summary, &report);
        status = report.error ? TOOL_EXIT_FAILED : TOOL_EXIT_OK;
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
