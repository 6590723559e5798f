/* connection.h -- a connection of this router: transport, engine and links on one worker, and what control knows of it.
 *
 *   new      worker: accepted, or connected by a connector
 *   opened   worker: the peer's Open is in; we answer, and tell control
 *   ended    worker: the stream is closed and the engine finished; links have gone before
 *   freed    when the last count is given back: the worker's, control's while it lists it, and one of each link and
 *            letter
 */
#ifndef TRUNKLINE_ROUTE_CONNECTION_H
#define TRUNKLINE_ROUTE_CONNECTION_H

#include <router/route/hello_watch.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <trunkline/amqp/conn.h>
#include <trunkline/base/list.h>
#include <trunkline/base/mailbox.h>
#include <trunkline/io/conn.h>

struct worker;
struct connector;
struct link;
struct routed_sessions;
struct streams;
struct amqp_session;

enum connection_role { ROLE_NORMAL, ROLE_INTER_ROUTER, ROLE_ROUTE_CONTAINER, ROLE_EDGE };
const char *connection_role_name(enum connection_role r);

/* How connections of one listener or connector are. Immutable and counted: they outlive it. */
struct connection_settings {
    _Atomic uint32_t refs;
    char *name; /* of the listener or connector */
    char *at;   /* its configured "host:port" */
    enum connection_role role;
    bool strip_in, strip_out;
    uint32_t message_parts; /* what the log shows of messages (amqp/message_print.h); 0: it shows no messages */
    uint32_t link_capacity;
    int32_t cost; /* between routers; at least 1 */
    uint32_t max_frame_size, max_sessions, session_window;
    uint32_t idle_timeout_ms, handshake_timeout_ms;
    char *sasl_mechanisms; /* NULL: all */
    bool require_auth;
    bool is_multi_tenant;                  /* of a listener: tenant.h */
    char *policy_vhost;                    /* NULL: the one that the peer names */
    char *user, *password;                 /* of a connector */
    struct amqp_property *open_properties; /* more of Open's properties; keys, texts and raw octets are ours */
    size_t open_property_count;
};
/* A new one, count 1, all else zero: the caller fills it in. */
struct connection_settings *connection_settings_new(void);
void connection_settings_ref(struct connection_settings *s);
void connection_settings_unref(struct connection_settings *s);

/* Sessions that the router begins for links of its own (own_link.h), by what they carry. */
enum own_session {
    OWN_SESSION_MESSAGES,
    OWN_SESSION_SERVICES, /* of an edge router: what it asks the interior for */
    OWN_SESSION_COUNT,
    OWN_SESSION_ALONE = OWN_SESSION_COUNT /* one for this link only */
};

enum connection_to_control { CONNECTION_OPENED = 1, CONNECTION_GONE = 2, CONNECTION_MADE = 4 /* by a connector */ };
enum connection_to_worker { CONNECTION_CLOSE = 1, CONNECTION_TRACE = 2, CONNECTION_DROP = 4, CONNECTION_DELETE = 8 };

struct connection {
    struct amqp_conn amqp;
    struct io_conn io;
    _Atomic uint32_t refs;
    /* fixed */
    uint64_t id;
    struct connection_settings *settings; /* counted */
    struct connector *connector;          /* NULL: it was accepted */
    bool strip_in, strip_out;
    uint32_t message_parts;
    char *host; /* peer's "ip:port", or the connector's "host:port" */
    mono_ms made;
    /* worker */
    struct timer handshake;
    bool ended, failure_told;
    char *failure;                           /* what was told of it last, for its connector; NULL: nothing */
    bool deleted;                            /* by management: dropped in the next turn */
    uint8_t trunk_in, trunk_out;             /* links between routers for messages, by direction */
    bool is_of_ours;                         /* the peer is a router of ours (trunk_peer.h) */
    bool is_trunk;                           /* has had a control link towards the peer: that is a router */
    bool offers_streams;                     /* qd.streaming-links is among what it offers */
    struct streams *streams;                 /* to the peer, stream.h; NULL: there have been none */
    struct routed_sessions *routed_sessions; /* routed_session.h; NULL: there have been none */
    struct amqp_session *own_sessions[OWN_SESSION_COUNT]; /* NULL: not begun */
    /* fixed when control hears of it */
    char *container, *user, *mechanism;
    char *tenant;            /* "<vhost>/", tenant.h; NULL: none */
    struct slice properties; /* the peer's, encoded; our copy */
    mono_ms opened;          /* monotonic */
    char *opened_text;       /* the log line's text after "[C<n>] " */
    size_t opened_short;     /* so much of it comes before the peer's properties */
    /* worker writes, control reads; relaxed */
    _Atomic int64_t last_delivery; /* monotonic ms; 0: none yet */
    struct hello_watch hello;      /* of a connection between routers */
    _Atomic bool tracing;          /* control writes, the worker takes it over with CONNECTION_TRACE */
    /* both ways */
    struct letter to_control, to_worker;
    _Atomic uint32_t control_bits, worker_bits;
    /* control */
    struct list node;
    uint64_t listed_as; /* ascending in the registry's list */
    bool listed, closing;
    struct list dialled_node;   /* in the registry's list of those that connectors have made */
    struct list delete_node;    /* in the list of those to be deleted at the end of the turn */
    struct link *edge_tracking; /* by which an edge router is told of destinations, edge_service.h; NULL: none */
};

/* Whether one more connection may be accepted when there may be `max`. It is counted then, until the connection that is
 * made of it by connection_new() has ended. Thread: any. */
bool connection_admit(uint32_t max);
/* How many there are now; those of connectors do not count. Thread: any. */
uint32_t connection_accepted_count(void);

/* A TCP connection that was accepted (connector NULL), after connection_admit(), or made; host and service are where a
 * connector has connected to.
 *   Thread: w. Ownership: takes fd, counts settings; host and service are lent for the call. */
void connection_new(struct worker *w, int fd, struct connection_settings *settings, struct connector *connector,
                    const char *host, const char *service);
/* A link of c with its slot, not attached yet. drop: it never was. register: control is to hear of it. Thread: c's
 * worker. */
struct link *connection_new_link(struct connection *c);
void connection_drop_link(struct link *l);
void connection_register_link(struct link *l);
/* Log that the peer's attach is refused. description NULL: none. Thread: its worker. */
void connection_log_refused(struct link *l, const char *condition, const char *description);
void connection_ref(struct connection *c);
void connection_unref(struct connection *c);
/* Tell control of l (enum link_to_control). Thread: the link's worker. */
void link_tell_control(struct link *l, uint32_t bit);
/* Nobody can name l any more: give up its slot, and say so. Thread: the link's worker. */
void link_bury(struct link *l);
/* The worker ends and lets go of l, which has gone. Thread: the link's worker. */
void link_abandon(struct link *l);
/* Ask its worker for something (enum connection_to_worker). Thread: any. */
void connection_tell(struct connection *c, uint32_t bits);

#endif
