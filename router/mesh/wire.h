/* wire.h -- the messages that routers speak among themselves, octet for octet as Qpid Dispatch 1.19 writes them.
 *
 *   section                  content
 *   header                   list32 [durable=false]
 *   message-annotations      map8/32 {x-opt-qd.ingress: "0/<first router>", x-opt-qd.trace: [node ids, oldest first]}
 *   properties               list32 [null, null, to] and, for HELLO RA LSU LSR, three more nulls
 *   application-properties   map32 {opcode: "<op>"}, the key a string; for MAU and MAR a symbol
 *   amqp-value               map32, the keys strings; for MAU and MAR symbols
 *
 *   op     to                                   body, in this order
 *   HELLO  amqp:/_local/qdhello                 id pv area instance seen=[ids]
 *   RA     amqp:/_topo/0/all/qdrouter           id pv area instance ls_seq mobile_seq
 *   LSU    amqp:/_topo/0/<router>/qdrouter      id pv area instance ls_seq ls={id area ls_seq peers={id: cost}}
 *   LSR    amqp:/_topo/0/<router>/qdrouter      id pv area
 *   MAU    _topo/0/all/qdrouter.ma              id pv area mobile_seq hints add del      (what changed)
 *   MAU    amqp:/_topo/0/<router>/qdrouter.ma   id pv area mobile_seq exist hints        (all there is)
 *   MAR    amqp:/_topo/0/<router>/qdrouter.ma   id pv area have_seq
 *
 * Integers are int (long beyond 32 bits) in the first four and long in MAU and MAR, hints are int. Between two routers
 * of ours an LSU also says `mobile_seq` and `life` at its end, and a HELLO `life` (wire_out.is_among_ours); others are
 * never sent that.
 *
 * Receiving is lenient where the old router is: string or symbol keys and texts, any integer type, unknown keys. Fields
 * of a wrong container type, or missing ones, make the message worthless as a whole (ERR_INVALID).
 *
 * Thread: any; pure. Nothing allocates but wire_encode() and wire_relay(), for the caller.
 */
#ifndef TRUNKLINE_MESH_WIRE_H
#define TRUNKLINE_MESH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/base/buffer.h>
#include <trunkline/base/err.h>

enum {
    MESH_ID_MAX = 127,        /* octets of a router id */
    WIRE_KEY_MAX = 32 * 1024, /* octets of an address key */
    WIRE_VERSION = 1,
};

#define WIRE_OPS(X) X(HELLO) X(RA) X(LSU) X(LSR) X(MAU) X(MAR)
enum wire_op {
#define X(op) WIRE_##op,
    WIRE_OPS(X)
#undef X
        WIRE_OP_COUNT
};
const char *wire_op_name(enum wire_op op);

/* Where a message is to go, by its `to`. */
enum wire_scope {
    WIRE_OTHER,      /* not a control message */
    WIRE_NEIGHBOUR,  /* qdhello: never relayed */
    WIRE_ALL,        /* all routers: to be flooded */
    WIRE_ONE_ROUTER, /* the router `target` */
};

/* What relaying needs; slices lie in the message. */
struct wire_envelope {
    enum wire_scope scope;
    struct slice target;        /* WIRE_ONE_ROUTER: its id */
    struct slice ingress;       /* node id; empty: the sender did not say */
    struct amqp_compound trace; /* node ids, checked to be texts */
    struct slice user;          /* annotations before the router's, encoded pairs */
    uint32_t user_count;        /* values in them */
    /* [0, before) comes before the annotations, [after, n) behind them, [rest, n) behind the properties. */
    uint32_t before, after, rest;
};

/* Find out where a message goes and where it has been.
 *   Result: OK also for WIRE_OTHER.
 *   Errors: ERR_INVALID, ERR_TRUNCATED: no message, or router annotations of wrong types; drop it, *why says what is
 *           wrong (static text).
 */
enum err wire_open(const uint8_t *m, size_t n, struct wire_envelope *out, const char **why);

/* Whether the trace names this router. */
bool wire_trace_has(const struct wire_envelope *e, const char *id);
/* The router that sent it on to us: the last of the trace. Result: false, no trace or not of our area. */
bool wire_trace_last(const struct wire_envelope *e, struct slice *id);

/* Append the message to *out as router `self` passes it on: its node id at the end of the trace, ingress set if absent.
 */
struct octets;
void wire_relay(const uint8_t *m, size_t n, const struct wire_envelope *e, const char *self, struct octets *out);

/* A decoded body. Lists were checked while decoding: wire_next_*() cannot fail on them. Slices lie in the message. */
struct wire_message {
    enum wire_op op;
    struct slice id;  /* 1 to MESH_ID_MAX octets, printable */
    int64_t version;  /* 0 when absent; the other fields are read only up to WIRE_VERSION */
    int64_t instance; /* 0 when absent */
    int64_t ls_seq;   /* RA; LSU: that of the record */
    int64_t mobile_seq;
    int64_t have_seq;
    int64_t life;               /* LSU and HELLO between ours: tells two starts within the same second; 0 when absent */
    bool has_mobile_seq;        /* LSU between ours */
    bool is_absolute;           /* MAU: exist, not add and del */
    struct amqp_compound seen;  /* HELLO: ids */
    struct slice owner;         /* LSU: whose record it is: always id */
    struct amqp_compound peers; /* LSU: ids and costs by turns */
    struct amqp_compound add, del, exist; /* MAU: keys */
    struct amqp_compound hints;           /* MAU: integers, as many as add or exist; count 0 when absent or ignored */
};

/* Decode the rest of an opened message.
 *   Errors: ERR_INVALID, ERR_TRUNCATED: drop it, *why says what is wrong (static text). A version above WIRE_VERSION is
 *           no error: only op, id and version are set then.
 */
enum err wire_read(const uint8_t *m, size_t n, const struct wire_envelope *e, struct wire_message *out,
                   const char **why);

/* Walk a checked list. Result: false at its end. */
bool wire_next_text(struct amqp_compound *list, struct slice *text);
bool wire_next_integer(struct amqp_compound *list, int64_t *v);
/* Both of a map's pair; false at its end. */
bool wire_next_peer(struct amqp_compound *peers, struct slice *id, int64_t *cost);

/* ---- writing ---- */

/* Octets that grow. */
struct octets {
    uint8_t *data;
    size_t len, capacity;
};
void octets_fini(struct octets *o);

struct wire_peer {
    const char *id;
    int32_t cost;
};

/* What to write. Only what the op has is looked at. */
struct wire_out {
    enum wire_op op;
    const char *self;   /* ingress and trace */
    const char *id;     /* in the body; NULL: self. Another one when an LSU is passed on between routers of ours */
    const char *target; /* router; NULL: all, or the neighbour */
    int64_t instance, ls_seq, mobile_seq, have_seq, life;
    bool is_among_ours; /* LSU: with mobile_seq and life; HELLO: with life */
    bool is_absolute;
    const char *const *seen;
    uint32_t seen_count;
    const struct wire_peer *peers;
    uint32_t peer_count;
    const char *const *add; /* MAU: also `exist` */
    const int32_t *hints;   /* as many */
    uint32_t add_count;
    const char *const *del;
    uint32_t del_count;
};

/* Replace *out by the message. */
void wire_encode(const struct wire_out *m, struct octets *out);

#endif
