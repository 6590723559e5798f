/* mesh.h -- a router's part in the mesh: what it says to the others, and what it learns from them.
 *
 * The router opens control links and gives their messages; it is given messages to send, routes to the other routers,
 * and addresses that they have. Everything between is here:
 *
 *   hello.h   who is at the other end of each link         paths.h    least-cost paths through what lsdb.h holds
 *   lsdb.h    what each router says of its neighbours      mobile.h   which router has which addresses
 *   flood.h   whether a message for all is passed on       wire.h     messages, octet for octet
 *
 * A link comes up, and what follows:
 *
 *   mesh_link_up() -- HELLO to and fro --> neighbour -- own record numbered anew, RA --> all ask for it (LSR, LSU)
 *                                             |
 *                                             `-- is it one of ours: each tells the other all records it holds (LSU)
 *   records --> paths --> route_changed() for each router whose route is another, then mapped() for its addresses
 *   a router's RA says that it has addresses which we do not know: MAR, and all of them come in a MAU
 *
 * and when it goes (mesh_link_down(), or the neighbour is silent): paths without it at once, route_changed(),
 * unmapped() for the addresses of whoever cannot be reached any more, then own record and RA. Our own changes take no
 * longer than that; others' changes take their RA or record to travel here. Bursts of good news are met by waiting
 * twice as long each time, from 50 ms up to one for each router known, and a second.
 *
 * With old routers (Qpid Dispatch 1.19) records are pulled, as they do it. Between routers of ours a record that is new
 * to one is sent on to the others unasked, one hop at a time, so that learning it depends on no path but the link it
 * comes by. No message of ours leaves the form that old routers know; what is only between ours goes over links that
 * have said so.
 *
 * Bounds: routers, peers of a record, addresses of a router, links, octets of a message: conf. Old routers know at most
 * 128 routers; there is no such limit here, and a mesh with old ones in it should heed it.
 *
 * Time is passed in, and nothing is read or written but through the owner's functions, so a test can run a thousand
 * routers in one process. Thread: control.
 */
#ifndef TRUNKLINE_MESH_MESH_H
#define TRUNKLINE_MESH_MESH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trunkline/base/clock.h>
#include <trunkline/base/err.h>
#include <trunkline/base/lock.h>

struct mesh;
struct path_edge;

/* Octets of a control message, by default. All addresses of a router come in one. */
enum { MESH_MESSAGE_MAX = 128 << 20 };

struct mesh_conf {
    const char *id;   /* 1 to 127 octets; copied */
    int64_t instance; /* another one at each start: seconds since 1970 */
    int64_t life;     /* tells two starts within that second: microseconds, or a random number */
    /* ms. The first five are as old routers have them. */
    uint32_t hello_interval, hello_max_age;
    uint32_t ra_interval, ra_interval_flux;
    uint32_t remote_ls_max_age;
    uint32_t fast_hello_interval; /* between routers of ours; 0: as with old ones */
    uint32_t fast_hello_max_age;
    /* Limits against what others send. */
    uint32_t max_links, max_routers, max_peers, max_addresses;
    uint32_t max_message; /* octets */
};
/* The defaults; id and instance are to be set. */
void mesh_conf_init(struct mesh_conf *conf);

/* What is known of a link's other end, from its open frame. */
struct mesh_peer {
    int32_t cost;                 /* the larger of both ends' (at least 1) */
    bool is_ours;                 /* it has said that it is not an old router */
    uint32_t fast_hello_interval; /* ms, what it offers; 0: none */
};

/* The way to a router. Borrowed for the call. */
struct mesh_route {
    const char *router;
    uint32_t index;       /* small, kept while the router is known; ours is 0 */
    bool is_reachable;    /* the rest is set only if so */
    const char *next_hop; /* the neighbour; the router itself when it is one and the way is direct */
    uint64_t link;        /* to that neighbour; all routers agree on it, so multicast and balanced go by it */
    int64_t cost;
    uint32_t hops;
    const uint64_t *links; /* of all ways that cost as little, `link` among them: anycast may share them */
    uint32_t link_count;
};

/* Who uses the mesh embeds this. The functions must not call back into the mesh, but for mesh_row(), mesh_most_hops() and
 * mesh_forwards(). */
struct mesh_owner {
    /* Send a message, presettled, on a control link, before all data. The octets are borrowed for the call. */
    void (*send)(struct mesh_owner *o, uint64_t link, const uint8_t *octets, size_t n);
    void (*route_changed)(struct mesh_owner *o, const struct mesh_route *route);
    /* The router is no longer known: its index will be another's. It was unreachable before. */
    void (*router_forgotten)(struct mesh_owner *o, uint32_t index);
    /* After all route_changed() of one computation: what mesh_most_hops() and mesh_forwards() say is new. */
    void (*topology_changed)(struct mesh_owner *o);
    /* A reachable router has an address; hint: the treatment it wishes, 0 to 5 as in a MAU, -1 none. */
    void (*mapped)(struct mesh_owner *o, const char *key, uint32_t router, int hint);
    /* It has it no longer, or cannot be reached. */
    void (*unmapped)(struct mesh_owner *o, const char *key, uint32_t router);
};

/* Errors: ERR_INVALID, the id or a limit is out of range. */
enum err mesh_new(const struct mesh_conf *conf, struct mesh_owner *owner, mono_ms now, struct mesh **out) ON_CONTROL;
void mesh_free(struct mesh **m) ON_CONTROL;

/* Both control links of a connection are attached. link: the caller's number of it.
 *   Errors: ERR_EXISTS; ERR_LIMIT, too many links; ERR_INVALID, the cost. The link is not used. */
enum err mesh_link_up(struct mesh *m, uint64_t link, const struct mesh_peer *peer, mono_ms now) ON_CONTROL;
/* One of them, or the connection, is gone. ERR_NOT_FOUND. */
enum err mesh_link_down(struct mesh *m, uint64_t link, mono_ms now) ON_CONTROL;
/* Whether the router at the other end of a link is heard there; false, too, for a link that is not known. */
bool mesh_link_is_heard(const struct mesh *m, uint64_t link) ON_CONTROL;
/* Whether the router at the other end is one of ours and a neighbour, so that a HELLO of it that is the same as its
 * last one, octet for octet, need not be given to mesh_receive(). Then mesh_hello_repeated(), before the next
 * mesh_tick(), says when the last one came, and the longest time between two since it last said so, in ms. */
bool mesh_link_is_steady(const struct mesh *m, uint64_t link) ON_CONTROL;
void mesh_hello_repeated(struct mesh *m, uint64_t link, mono_ms heard, uint32_t gap) ON_CONTROL;
/* When octets of whatever came last on the connection of a control link. To be said before mesh_tick(), too. */
void mesh_link_received(struct mesh *m, uint64_t link, mono_ms at) ON_CONTROL;
/* A whole message has come on a control link.
 *   Errors: ERR_NOT_FOUND, not a control message, or no such link: it is the caller's; ERR_INVALID, ERR_LIMIT: dropped
 *           and logged. Whatever the result, the link stays usable. */
enum err mesh_receive(struct mesh *m, uint64_t link, const uint8_t *octets, size_t n, mono_ms now) ON_CONTROL;
/* Do what is due. Result: when to call again; earlier if mesh_deadline() says so after another call. */
mono_ms mesh_tick(struct mesh *m, mono_ms now) ON_CONTROL;
mono_ms mesh_deadline(const struct mesh *m) ON_CONTROL;

/* An address has its first receiver here, or has lost its last one. key: class, phase and text, as "M0queue".
 *   hint: its treatment, 0 to 5.
 *   Errors: ERR_EXISTS, ERR_NOT_FOUND; ERR_INVALID, of a class that is not announced. */
enum err mesh_address_added(struct mesh *m, const char *key, int hint, mono_ms now) ON_CONTROL;
enum err mesh_address_removed(struct mesh *m, const char *key, mono_ms now) ON_CONTROL;

/* A message that has come further is in a loop: no way passes a router twice. How far the tree reaches does not tell (to
 * 1.19 it does), for of equally cheap ways each message may take another, and some have more hops than the tree's. */
uint32_t mesh_most_hops(struct mesh *m) ON_CONTROL;
/* Result: false, not known. */
bool mesh_index(const struct mesh *m, const char *id, uint32_t *index) ON_CONTROL;
/* Indices are below this. */
uint32_t mesh_limit(const struct mesh *m) ON_CONTROL;
/* Whether `origin` is a valid origin for each destination: to[index], for indices below n, says whether this router
 * passes on there what enters the mesh at `origin`. For multicast: towards each receiver so marked, by mesh_route.link,
 * one copy for each link; then everybody gets exactly one. Costs a computation the first time that an origin is asked
 * for. */
void mesh_forwards(struct mesh *m, uint32_t origin, bool *to, uint32_t n) ON_CONTROL;

/* What management shows of a router (router.node). Borrowed until the mesh changes. */
struct mesh_row {
    const char *id;
    uint32_t index;
    int64_t instance; /* 0: not known yet */
    bool is_self, is_neighbour, is_reachable;
    const char *next_hop; /* NULL: a neighbour reached directly, or none */
    uint64_t link;        /* if is_neighbour */
    int64_t cost;         /* if is_reachable and not self */
    const struct path_edge *peers;
    uint32_t peer_count; /* linkState: mesh_row() of each has its id */
    uint32_t address_count;
    mono_ms last_topology_change; /* self: when this router's paths last changed */
};
/* Result: false, nobody has this index. */
bool mesh_row(struct mesh *m, uint32_t index, struct mesh_row *row) ON_CONTROL;
/* Two routers whose numbers are equal have their routes from the same graph. */
uint64_t mesh_fingerprint(const struct mesh *m) ON_CONTROL;

#endif
