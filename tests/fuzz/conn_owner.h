/* conn_owner.h -- an owner of one connection for fuzz targets: takes its events, decides by dice, and holds the engine
 * to its contract (C1, C2 of conn.h) and its output to the protocol. */
#ifndef TESTS_FUZZ_CONN_OWNER_H
#define TESTS_FUZZ_CONN_OWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trunkline/amqp/conn.h>

/* Octets that decide; zeros after the last. */
struct dice {
    const uint8_t *at, *end;
};
uint8_t dice_octet(struct dice *d);
uint16_t dice_16(struct dice *d);
uint32_t dice_32(struct dice *d);
/* Mostly small numbers, sometimes any. */
uint32_t dice_number(struct dice *d);

struct owner_link {
    struct amqp_link link; /* first member, see new_link */
    struct owner_link *next;
    struct owner *owner;
    bool attached, answered, detached;
    uint32_t unsettled; /* outgoing deliveries of which we wait to hear */
    uint32_t held;      /* incoming frames that we keep */
    uint32_t partial;   /* messages whose rest is to be sent */
    uint8_t habit;      /* decides what it does in events */
};

#define OWNER_SESSIONS 4
struct owner {
    struct amqp_conn conn; /* first member */
    struct owner_link *links;
    uint8_t habit;
    bool opened, closed, defer_open;
    /* input not yet consumed */
    uint8_t *input;
    size_t input_len, need;
    /* what came out, by the checker */
    size_t head_len;
    uint8_t head[8]; /* of the frame or header that is coming out */
    uint8_t *frame;
    size_t frame_len, frame_size;
    uint32_t frame_limit; /* what the peer said it takes */
    bool out_closed, out_amqp;
    uint64_t begun[4]; /* channels 0..255 on which we are between begin and end */
    uint32_t transfers;
    /* what of ours waits for the peer's answer, for those who play the peer */
    bool begin_waits, attach_waits;
    uint16_t begin_channel, attach_channel;
    char attach_name[16];
    bool attach_role;
};
/* Names of links that we attach first begin so. */
#define OWNER_LINK "ours"

/* conf by dice; server or client. */
void owner_init(struct owner *o, struct dice *d, bool server, bool sasl);
void owner_fini(struct owner *o);
/* Give octets of the peer, in pieces of `piece` octets (0: at once). */
void owner_input(struct owner *o, const uint8_t *octets, size_t n, size_t piece);
/* Do what an owner does at the end of a loop turn: flush, and take the output. */
void owner_turn(struct owner *o);
/* One thing an owner may do of its own accord. */
void owner_act(struct owner *o, struct dice *d);

#endif
