/* conn_test.h -- what the engine's tests share: an owner that remembers what it is told, and a wire between two of
 * them. */
#ifndef TRUNKLINE_AMQP_CONN_TEST_H
#define TRUNKLINE_AMQP_CONN_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/conn.h>
#include <trunkline/amqp/terminus.h>
#include <trunkline/base/alloc.h>

struct owner;
struct test_link {
    struct amqp_link link;
    struct owner *owner;
    struct test_link *next;
    uint32_t attached, detached, gone, sendable, drained, transfers, messages, aborted;
    bool detached_closed;
    char detach_error[64];
    size_t octets;
    size_t sent; /* of the message under way */
    uint32_t last_id;
    bool last_settled;
    enum amqp_state_code last_state;
    char text[256]; /* the payload of the last delivery, its start */
    size_t text_len;
};

/* An owner. What it does of its own accord is set by flags. */
struct owner {
    struct amqp_conn c;
    const char *name;
    struct test_link *links; /* newest first, also those that are gone */
    uint32_t opened, closed, dispositions, settled, peer_settled, lost, sessions_gone;
    enum amqp_state_code last_state;
    struct amqp_delivery last_delivery;
    bool closed_by_peer;
    char error[256]; /* condition "text" */
    /* behaviour */
    bool defer_open, refuse_links, defer_attach, defer_detach, accept_deliveries, hold_frames, track;
    uint32_t credit;  /* granted to each incoming link, and again for each message */
    uint32_t to_send; /* messages that `sendable` sends */
    uint64_t max_message_size;
    bool send_settled;
    size_t message_size;
    uint8_t input[1 << 20];
    size_t input_len;
};

extern const struct amqp_handler test_handler;
struct amqp_conn_conf test_conf(bool server);
void owner_init(struct owner *o, const char *name, const struct amqp_conn_conf *conf);
struct owner *owner_new(const char *name, const struct amqp_conn_conf *conf);
void owner_free(struct owner **o);
/* Octets for o, to be handled whole frames at a time. */
void owner_feed(struct owner *o, const void *octets, size_t n);
/* What o wants to write, moved to `to` (at most max octets). */
size_t owner_take(struct owner *o, void *to, size_t max);
/* Move octets both ways until nothing moves; in pieces of random size when seed is not 0. */
void wire_run(struct owner *a, struct owner *b, unsigned seed);
struct test_link *link_new(struct owner *o);
/* Send as many of o->to_send as may be sent. */
void link_pump(struct test_link *t);

#endif
