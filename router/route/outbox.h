/* outbox.h -- frames and answers on their way from one thread to a worker, in batches.
 *
 * Each thread that routes has one outbox for each worker. What is put in is copied into a batch (payload that is large
 * is counted instead) and posted when the batch is full, else at the end of the loop turn: so a turn's traffic costs
 * one wake-up however many messages it moved. Answers for adjoining deliveries merge into one.
 *
 * Order: what one thread puts in for one worker arrives in that order.
 * Thread: the outboxes' owner; deliver functions run on the receiving worker.
 */
#ifndef TRUNKLINE_ROUTE_OUTBOX_H
#define TRUNKLINE_ROUTE_OUTBOX_H

#include <router/route/stamp.h>
#include <router/route/token.h>
#include <trunkline/amqp/conn.h>
#include <trunkline/base/buffer.h>
#include <trunkline/base/mailbox.h>

struct reading;

/* One transfer's worth of a message, on its way to a link. */
struct frame {
    struct origin origin;
    uint32_t message_format;
    bool first, more, settled, aborted;
    bool settles;            /* no payload: the sender has settled the delivery that it sent unsettled */
    bool annotated;          /* the message has annotations of routers: strip them towards a client */
    bool streams;            /* first frame: the message is large, or wanted as it comes: do not wait for its end */
    bool needs_offer;        /* first frame: towards another router, a link of its own only if that has offered them */
    bool held;               /* the origin waits to hear that its bytes have left */
    struct amqp_state state; /* of the sender, usually none */
    struct slice to; /* first frame, towards another router: the address it is for; empty: the message names it */
    uint8_t phase;   /* ... and its phase as a number, phase.h */
    const struct reading
        *reading;       /* first frame: what was read of the message, rewrite.h; NULL: it is to be read again.
                                    * Borrowed until the call returns. Between workers it goes with annotated ones */
    struct slice front; /* first frame that a link has rewritten: octets before those of the payload; its own
                                    * until it is sent or waits */
    struct slice payload;
    struct slice tag;       /* first frame on a routed link: the sender's delivery-tag; else empty */
    struct stamp stamp;     /* first frame of a multicast message that goes, or may go, to other routers */
    struct slice exchanged; /* first frame of what an exchange has passed on: lineage.h, as it goes to other routers */
};

/* What is said about a delivery to where it came from. */
struct answer {
    struct link_token link;
    uint32_t first, last; /* delivery ids; with copies one copy of each */
    uint32_t flags;       /* enum origin_flags */
    uint32_t frames;      /* frames whose bytes have left */
    bool done;            /* the deliveries are finished: with `state`, or presettled ones have left */
    struct amqp_state state;
};

/* What one end of a routed link tells the other, beside frames and answers (routed_link.h). */
struct link_note {
    struct link_token to, from;
    uint32_t number;
    uint8_t kind; /* enum routed_note */
    bool flag;
    struct slice octets;
};

struct outboxes;

/* How a batch travels, and what it does on arrival. */
struct outbox_handler {
    void (*post)(int worker, struct letter *l);
    void (*frame)(struct link_token to, const struct frame *f);
    void (*answer)(const struct answer *a);
    void (*note)(const struct link_note *n);
};

/* For workers 0..count-1. h is borrowed for life. Thread: any, before use. */
struct outboxes *outboxes_new(int count, const struct outbox_handler *h);
void outboxes_free(struct outboxes **o);
void outbox_put_frame(struct outboxes *o, struct link_token to, const struct frame *f);
void outbox_put_answer(struct outboxes *o, const struct answer *a);
void outbox_put_note(struct outboxes *o, const struct link_note *n);
/* Post what has been put in. At the end of each turn. Result: whether there was anything. */
bool outboxes_flush(struct outboxes *o);

#endif
