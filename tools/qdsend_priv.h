/* qdsend_priv.h -- what the parts of qdsend share: the sender. Thread: the only one.
 *
 *   qdsend.c          the connection, time-outs, when it is over
 *   qdsend_sending.c  which message goes next, when, and on which link
 *   qdsend_pending.c  messages that may be needed again, and their outcomes
 *   qdsend_reply.c    replies to requests
 */
#ifndef TRUNKLINE_TOOLS_QDSEND_PRIV_H
#define TRUNKLINE_TOOLS_QDSEND_PRIV_H

#include <uthash.h>

#include "tools/client/conn.h"
#include "tools/client/incoming.h"
#include "tools/client/report.h"
#include "tools/client/source.h"
#include "tools/qdsend_options.h"

struct pending {
    struct pending *prev, *next; /* in one of the sender's lists */
    UT_hash_handle hh;           /* in waiting_replies, by number */
    uint64_t number, attempts;
    int64_t sent_us, due;
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

/* Whether there are messages that have not been sent once. */
bool sender_has_new(const struct sender *s);

/* ---- qdsend_sending.c ---- */

/* Send what may go now, and note when to come back for the rest. */
void sender_send(struct sender *s);

/* ---- qdsend_pending.c ---- */

struct pending *pending_new(uint64_t number);
void pending_free(struct pending *p);
void pending_free_all(struct sender *s);
/* It has been sent. Ownership: the sender's, until it is done. */
void pending_add(struct sender *s, struct pending *p);
void pending_expect_reply(struct sender *s, struct pending *p);
void pending_forget_reply(struct sender *s, struct pending *p);
/* It is done, and freed, once nothing is awaited any more. */
void pending_maybe_done(struct sender *s, struct pending *p);
/* The connection is lost: everything sent and not settled is to be sent again, in its order and before what is new. */
void pending_all_again(struct sender *s);
/* How many are without an outcome, or a reply that they wait for. */
uint64_t pending_count(const struct sender *s);
void pending_on_outcome(struct sender *s, pn_delivery_t *d);
/* How long ago it was sent last, nanoseconds. */
uint64_t pending_age(const struct pending *p);

/* ---- qdsend_reply.c ---- */

/* Ask for an address that replies come to. */
void sender_open_reply_link(struct sender *s);
/* The peer has answered, with the address. */
void sender_on_reply_address(struct sender *s);
void sender_on_reply(struct sender *s, pn_delivery_t *d);

#endif
