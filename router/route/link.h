/* link.h -- a link of this router: the engine's link, and what routing keeps with it.
 *
 * Life, and who says so:
 *   new       worker: the peer attaches; the link gets a slot in its worker's table, a letter asks control (registry.h)
 *   answered  worker: control's answer has come; accepted or refused
 *   gone      worker: the engine has forgotten it. The slot stays: others may name it; what arrives is turned away
 *   buried    worker: control has unpublished it and every worker has passed a quiet point: nobody can name it. The
 *             slot is given up
 *   released  control: the worker has let go; the memory is freed, and the address too if this was its last user
 *
 * Members are banded by owner. The worker is that of the link's connection.
 */
#ifndef TRUNKLINE_ROUTE_LINK_H
#define TRUNKLINE_ROUTE_LINK_H

#include <router/route/table.h>
#include <router/route/stamp.h>
#include <router/route/token.h>
#include <trunkline/amqp/conn.h>
#include <trunkline/base/list.h>
#include <trunkline/base/mailbox.h>
#include <trunkline/base/timer.h>

struct connection;
struct copies;
struct assembly;
struct message_head;
struct own_link;
struct recent;
struct relay;
struct routed_link;

enum { LINK_RATE_SECONDS = 5 };

/* Counters that control reads while the worker writes them: relaxed loads and stores, no read-modify-write. */
struct link_stats {
    _Atomic uint64_t deliveries, presettled, dropped_presettled, accepted, rejected, released, modified, delayed_1s,
        delayed_10s;
    _Atomic uint32_t credit;                        /* available now */
    _Atomic uint32_t queued;                        /* outgoing: messages that wait */
    _Atomic uint32_t in_hand;                       /* unsettled; outgoing: and those that wait */
    _Atomic uint32_t held_by;                       /* outgoing: enum amqp_hindrance that what waits waits for */
    _Atomic int64_t held_since;                     /* monotonic ms; 0: not held */
    _Atomic int64_t zero_credit_since;              /* monotonic ms; 0: has credit */
    _Atomic int64_t busy_since;                     /* monotonic ms since it has deliveries in hand; 0: none */
    _Atomic int64_t last_settled;                   /* monotonic ms */
    _Atomic uint32_t settled_in[LINK_RATE_SECONDS]; /* by second, modulo */
    _Atomic int64_t rate_second;                    /* the last second that is counted in */
};

static inline void stat_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline uint64_t stat_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Count n settlements at `now`. Thread: the link's worker. */
void link_stats_settled(struct link_stats *s, mono_ms now, uint32_t n);
/* Count n deliveries by their outcome; other states are not counted. Thread: the link's worker. */
void link_stats_outcomes(struct link_stats *s, enum amqp_state_code code, uint64_t n);
/* Note how many deliveries are in hand, and since when there are any. Thread: the link's worker. */
void link_stats_in_hand(struct link_stats *s, mono_ms now, uint32_t n);
/* Since when a link has deliveries in hand and has settled none of them, monotonic ms; 0: it has none. Thread: any. */
mono_ms link_stats_waiting_since(const struct link_stats *s);
/* Deliveries in hand of a link that has not settled any for `age` ms, else 0. Thread: any. */
uint32_t link_stats_stuck(const struct link_stats *s, mono_ms now, mono_ms age);
/* Settlements in a second, over the last five. Thread: any. */
uint32_t link_stats_settle_rate(const struct link_stats *s, mono_ms now);

/* What a link is for. Those between routers carry every address, by priority. */
enum link_kind { LINK_ENDPOINT, LINK_CONTROL, LINK_DATA };

/* What becomes of the frames of the delivery that an incoming link is in the middle of. */
enum incoming_way {
    INCOMING_IDLE,
    INCOMING_HEAD,     /* not enough of it is here to tell where it goes: kept in `assembly` */
    INCOMING_FORWARD,  /* to one link */
    INCOMING_COPIES,   /* to several */
    INCOMING_EXCHANGE, /* to several, settled, whatever it is itself */
    INCOMING_ASSEMBLE, /* to the router itself, which wants it whole: kept in `assembly` */
    INCOMING_DISCARD,  /* nowhere: its outcome is said when it has come in full */
};

struct incoming {
    enum incoming_way way;
    uint8_t discard_reason;   /* enum refusal, forward.h */
    const char *discard_text; /* static, of what is malformed; NULL: that of the reason */
    bool dry;           /* its address had no destination: we asked to drain; credit comes with the next destination */
    bool credited;      /* has got its first credit */
    bool overdraw_told; /* in the log */
    bool current_settled, current_annotated;
    bool current_unbound;  /* it holds credit, patience.h */
    bool current_streams;  /* it is known to be large, or is wanted as it comes */
    size_t current_octets; /* of it have come */
    bool current_answered; /* its outcome came before its last frame: it is no longer in hand */
    uint32_t in_hand;      /* deliveries begun whose credit has not been given back */
    uint32_t round_robin;  /* which of equal destinations is next */
    uint32_t delivery_id;
    uint32_t message_format;
    uint64_t copy_frames; /* frames given back by single copies, in 2^-40 of a frame: see give_back_frames() */
    struct link_token to;
    struct stamp stamp; /* of the message in progress, when a router of ours has sent it with one */
    char *named; /* of a tenant's anonymous sender: the address in the network that the message names; tenant.h */
    uint32_t named_len, named_size;
    struct copies *copies;
    struct recent *recent; /* of a link between routers: the address that a router named last; NULL: none yet */
    struct assembly *assembly;
    struct address *assembling_for; /* served by the router itself, so it stays */
};

struct outgoing {
    struct list queue;     /* struct message, in order; the first may be partly sent */
    struct list gathering; /* of a link that routers share: struct message, whose last frame is to come */
    struct list stream;    /* of a streaming link of ours: in the list of those busy or idle, stream.h */
    struct relay *relays;  /* of a link that has gone: messages that it still passes on, relay.h */
    uint32_t queued, unsettled;
    uint32_t unbound;      /* of those queued: messages that hold credit elsewhere, or have held it, patience.h */
    struct timer patience; /* armed while there are any */
    mono_ms moved;         /* when a message last left the queue, or came to wait in an empty one */
    bool has_stopped;      /* it has not moved for too long */
    bool pumping;
    bool buried;  /* when the last relay ends, that is */
    bool is_idle; /* a streaming link that carries nothing */
};

/* What control tells a link's worker, and the other way, as bits beside a letter, which is posted with the first of
 * them (connection.c). */
enum link_to_control { LINK_ATTACH = 1, LINK_GONE = 2, LINK_RELEASED = 4, LINK_DRY = 8 };
enum link_to_worker { LINK_ANSWER = 1, LINK_REACHABLE = 2, LINK_BURIED = 4, LINK_SILENT = 8 };

/* Why an attach is refused; the table of conditions is in connection.c. */
enum attach_refusal {
    ATTACH_OK,
    ATTACH_NOT_FOUND,
    ATTACH_NO_ROUTE,
    ATTACH_FORBIDDEN,
    ATTACH_NO_ROUTER, /* between routers, and the peer has not shown itself to be one */
    ATTACH_NO_COORDINATOR,
    ATTACH_EXPIRATION,
    ATTACH_SILENT, /* detached without error */
};

struct link {
    struct amqp_link amqp;
    struct connection *conn; /* counted */
    struct link_token token;
    /* fixed before the first letter */
    char *name;   /* the peer's */
    char *wanted; /* address text of the local terminus; NULL: none */
    char *maker;  /* of a dynamic terminus: address whose link route is asked to make the node; NULL: none */
    uint32_t wanted_len;
    uint8_t refusal_by_worker;
    uint8_t kind;          /* enum link_kind */
    char phase;            /* that its capabilities ask for, phase.h; PHASE_BY_RULES */
    uint8_t priority;      /* of a link between routers: 0 to 9 */
    bool is_ours;          /* we attached it */
    struct own_link *own;  /* counted; what control attached it for, own_link.h; NULL: control did not ask */
    bool is_served;        /* of these, one whose messages are for the router itself */
    bool is_edge;          /* of a connection between an edge router and an interior one */
    bool is_downlink;      /* of these, the one by which the edge router itself is reached */
    bool is_incoming;      /* messages come to us on it */
    bool is_from_fallback; /* incoming: what a fallback destination gives back, for consumers of the address alone */
    bool is_dynamic;
    bool is_coordinator;
    bool is_resumable; /* its terminus may outlive it */
    /* control writes before LINK_ANSWER, fixed then */
    uint32_t capacity;       /* deliveries an incoming link may have in hand */
    struct address *address; /* NULL: anonymous, or refused */
    char *dynamic_address;   /* text for the answer */
    uint8_t refusal;
    _Atomic uint64_t identity;  /* 0: not known yet, which for a far end of a routed link may last a while */
    struct routed_link *routed; /* its other end and what goes there, routed_link.h; of a far end made by the worker */
    /* worker */
    bool answered, gone;
    bool
        is_finishing; /* of those with `own`: detached as soon as nothing it carries is left, and gets no more credit */
    struct message_head *logged; /* of the message in progress, message_log.h; NULL: none is to be logged */
    union {
        struct incoming in;
        struct outgoing out;
    };
    /* any */
    struct link_stats stats;
    struct link_load load;
    struct letter to_control, to_worker;
    _Atomic uint32_t control_bits, worker_bits;
    /* control */
    struct list node;        /* in the registry, in order of attaching */
    struct list of_address;  /* in the address's senders or receivers */
    struct list answer_node; /* in the list of answers that go out at the end of the turn, or of those that leave */
    bool registered;
    bool edge_told; /* the edge router knows that its address has destinations elsewhere, edge_service.h */
};

/* Whether credit comes back as a delivery begins, not as it is settled: between routers, where the first one has seen
 * to it (wire-protocol reference 6.1, Credit on incoming client links). Not that of settled messages of an old router,
 * patience.h. What is for the router itself waits for its turn: control must not be swamped. */
static inline bool link_replenishes_at_once(const struct link *l)
{
    return (l->kind != LINK_ENDPOINT || l->is_edge) && !l->is_served;
}

/* Whether l is one of a link route, as its worker sees it: until control's answer it has no end at the other side. */
static inline bool link_is_routed(const struct link *l)
{
    return l->answered && l->routed;
}

/* Note credit and its absence for management, after either has changed. Thread: the link's worker. */
void link_note_credit(struct link *l);
/* Note what keeps its first message from being sent; nothing, when none waits. Thread: the link's worker. */
void link_note_held(struct link *l, enum amqp_hindrance by);

/* ---- a worker's table of links. Thread: that worker. ---- */

struct link_slots;
struct link_slots *link_slots_new(int worker_index);
void link_slots_free(struct link_slots **s);
/* Give l a token. */
void link_slots_add(struct link_slots *s, struct link *l);
void link_slots_remove(struct link_slots *s, struct link *l);
/* The link that t names; NULL: it is no more. */
struct link *link_slots_find(const struct link_slots *s, struct link_token t);
/* Walk: position from 0; NULL at the end. */
struct link *link_slots_next(const struct link_slots *s, uint32_t *position);

#endif
