/* hello.h -- neighbours: who is at the other end of each control link, and whether both ends hear each other.
 *
 *            a HELLO                the HELLO names us
 *   SILENT ------------> HEARD --------------------------> UP
 *      ^                 |  ^                              |
 *      `---- silence ----'  `--- silence, or it no longer names us (it has lost us)
 *
 *   any of them -- a HELLO of a router that may not be there --> REFUSED -- one that may --> HEARD
 *
 * Refused is a router with our own id, one whose id another living link has with another start, and one that the mesh
 * knows, with another start, at another place (the owner says so). The first comer stays. A refused router is
 * not named in our HELLOs on that link, so it does not take us for a neighbour either; nothing is closed, and as soon
 * as the other one is gone it is let in. A router that has been restarted is told from a second one by just that: its
 * predecessor goes silent.
 *
 * Several links to one router: one is active, the cheapest. An old router moves a neighbour to the link that it last
 * heard from, so it is named on one link only and that one is kept as long as it lives.
 *
 * Timing. Old routers: a HELLO each second, lost after three. Between two of ours: the longer of both intervals (80 ms
 * by default), lost after 260 ms. A link that has been late lately is given twice its latest lateness and one interval,
 * so that a loaded machine does not lose its neighbours time and again; that is forgotten within some seconds. When we
 * come late ourselves, by more than 5 ms, the machine is loaded: everybody is given twice that. When we have been held
 * up for longer, nobody grows older by that time. All links are said HELLO at the same moments, multiples of their
 * interval, so that a router wakes up once for all of them.
 * On a line that is slow a HELLO comes late behind the octets that the system has taken before it. While any octets come
 * from a neighbour its silence does not begin; but who says no HELLO for as long as an old router may be silent is lost.
 *
 * Invariants
 *   H1  A neighbour has exactly one active link, and it is UP.
 *   H2  What a HELLO of ours names, was heard within its age.
 *
 * Source: Qpid Dispatch 1.19 as observed (HELLO, neighbours, timing). Thread: control; pure, the time is passed in.
 */
#ifndef TRUNKLINE_MESH_HELLO_H
#define TRUNKLINE_MESH_HELLO_H

#include <stdbool.h>
#include <stdint.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/base/clock.h>
#include <trunkline/base/err.h>

struct hello;

/* One start of a router. Old ones tell the second; ours, to each other, also what differs between two within it. */
struct start {
    int64_t instance, life; /* life 0: not told */
};
static inline bool start_is_other(struct start a, struct start b)
{
    return a.instance != b.instance || (a.life && b.life && a.life != b.life);
}

struct hello_conf {
    const char *id; /* borrowed, as long as the table lives */
    struct start start;
    uint32_t interval, max_age;           /* ms, towards old routers */
    uint32_t fast_interval, fast_max_age; /* ms, between routers of ours */
    uint32_t max_links;
};

/* What is known of a link when it comes up. */
struct hello_peer {
    int32_t cost;           /* at least 1 */
    bool is_ours;           /* not an old router */
    uint32_t fast_interval; /* ms: what it offers; 0: as old routers do it */
};

struct neighbour {
    const char *id; /* borrowed until the neighbour is lost */
    struct start start;
    uint64_t link; /* the active one */
    int32_t cost;
    bool is_ours;
};

/* Who uses the table embeds this. The functions must not call back into the table, but to read neighbours. */
struct hello_owner {
    /* Send a HELLO that names these routers. */
    void (*send)(struct hello_owner *o, uint64_t link, const char *const *seen, uint32_t n);
    /* Whether a router may be a neighbour, as far as the owner knows. */
    bool (*may_join)(struct hello_owner *o, const char *id, struct start start);
    /* A neighbour is there that was not there before. */
    void (*joined)(struct hello_owner *o, const struct neighbour *n);
};

/* Ownership: conf is copied, owner lent for life. */
struct hello *hello_new(const struct hello_conf *conf, struct hello_owner *owner);
void hello_free(struct hello **h);

/* A control link is open both ways; a HELLO goes out on it at once.
 *   Errors: ERR_EXISTS, there is such a link; ERR_LIMIT, more than configured: do not use it. */
enum err hello_link_up(struct hello *h, uint64_t link, const struct hello_peer *peer, mono_ms now);
/* It is gone: its neighbour is lost at once, or goes on with another link. ERR_NOT_FOUND. */
enum err hello_link_down(struct hello *h, uint64_t link, mono_ms now);
/* A HELLO has come. seen: checked to be ids. ERR_NOT_FOUND: no such link. */
enum err hello_receive(struct hello *h, uint64_t link, struct slice id, struct start start, struct amqp_compound seen,
                       mono_ms now);
/* Whether this is a link to a neighbour of ours: a HELLO that says the same as its last one need not be received, then,
 * but counts with this: the last of them came at `heard`, and between two there were at most `gap` ms. To be said
 * before hello_tick(). */
bool hello_link_is_steady(const struct hello *h, uint64_t link);
void hello_repeated(struct hello *h, uint64_t link, mono_ms heard, uint32_t gap);
/* Octets, of whatever, came on the link's connection last at `at`: behind them a HELLO may be on its way. To be said
 * before hello_tick(), too. */
void hello_link_received(struct hello *h, uint64_t link, mono_ms at);
/* Send what is due, drop who is silent. Result: when to call again. */
mono_ms hello_tick(struct hello *h, mono_ms now);
/* When hello_tick() is due. */
mono_ms hello_deadline(const struct hello *h);

/* Whether neighbours, their costs or links have changed since it was last asked. */
bool hello_take_change(struct hello *h);
/* Neighbours, by id. Borrowed until the table changes. */
const struct neighbour *hello_neighbours(struct hello *h, uint32_t *n);
const struct neighbour *hello_neighbour(struct hello *h, struct slice id); /* NULL: none */
/* The router at the other end, NULL while none is known; also of a link that is not active. */
const char *hello_link_peer(const struct hello *h, uint64_t link);
/* Whether a router of ours is at the other end of a link. */
bool hello_link_is_ours(const struct hello *h, uint64_t link);
bool hello_link_exists(const struct hello *h, uint64_t link);
/* How long a neighbour may be silent on this link now, ms; 0: no such link. */
uint32_t hello_link_age(const struct hello *h, uint64_t link);

#endif
