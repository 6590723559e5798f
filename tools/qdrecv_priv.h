/* qdrecv_priv.h -- what the parts of qdrecv share: the receiver. Thread: the only one.
 *
 *   qdrecv.c          the connection, deliveries, when it is over
 *   qdrecv_message.c  what is done with a message, its outcome, the files it goes to
 *   qdrecv_reply.c    answers to requests
 *   qdrecv_credit.c   credit and drains
 */
#ifndef TRUNKLINE_TOOLS_QDRECV_PRIV_H
#define TRUNKLINE_TOOLS_QDRECV_PRIV_H

#include <stdio.h>

#include "tools/client/conn.h"
#include "tools/client/incoming.h"
#include "tools/client/report.h"
#include "tools/client/sequence.h"
#include "tools/qdrecv_options.h"

struct in_link {
    pn_link_t *pn;
    const char *address;
    char *source; /* the address that messages came from, as the peer named it */
    struct incoming *in;
    bool is_draining, is_drained;
    uint64_t granted; /* credit, in all */
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

/* Whether --count is reached. */
bool receiver_has_all(const struct receiver *r);

/* ---- qdrecv_message.c ---- */

/* Do with a whole message what was asked.
 *   Result: whether it will be settled later, with its reply. */
bool receiver_use(struct receiver *r, struct in_link *l, pn_delivery_t *d);
/* Give it the outcome that was asked for. */
void receiver_settle(struct receiver *r, pn_delivery_t *d);
/* The file of --output, unless each message has its own. Errors: cannot be created. */
bool receiver_open_output(struct receiver *r, struct fault *why);
/* Close what was written, and print the count. Errors: the last bytes may fail only now. */
bool receiver_close_output(struct receiver *r, struct fault *why);
/* Open the file of the message that begins, where --output holds {n}. Result: false, the run has failed. */
bool receiver_open_own_output(struct receiver *r, struct in_link *l);
/* Close it; a message that is not whole leaves no file behind. */
void receiver_close_own_output(struct receiver *r, bool is_whole);
void receiver_flush_outputs(struct receiver *r);

/* ---- qdrecv_reply.c ---- */

/* Answer a request, when there is credit.
 *   Result: whether the request will be settled later, when that is done. */
bool receiver_answer(struct receiver *r, pn_delivery_t *request, pn_message_t *head, const struct print_body *body);
/* A link has got credit, which may be one of those that replies go to. */
void receiver_on_reply_credit(struct receiver *r, pn_link_t *link);
void receiver_on_reply_outcome(struct receiver *r, pn_delivery_t *d);
bool receiver_has_waiting_replies(const struct receiver *r);
void receiver_free_replies(struct receiver *r);

/* ---- qdrecv_credit.c ---- */

/* Top up when half is used, so that a flow frame serves many messages. */
void receiver_give_credit(struct receiver *r, struct in_link *l, int64_t now);
/* Ask for what there is; the peer uses the credit up or gives it back (AMQP 1.0 part 2.6.7, Flow Control). */
void receiver_begin_drain(struct receiver *r, struct in_link *l);
/* All credit is gone: given back, so there is no more; or used, so there may be. */
void receiver_check_drained(struct receiver *r, struct in_link *l);
/* Whether all links are drained. */
bool receiver_is_drained(const struct receiver *r);

#endif
