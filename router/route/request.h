/* request.h -- messages to the router itself, from workers to control, and its own messages back. */
#ifndef TRUNKLINE_ROUTE_REQUEST_H
#define TRUNKLINE_ROUTE_REQUEST_H

#include <router/route/token.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trunkline/base/list.h>
#include <trunkline/base/lock.h>
#include <trunkline/base/mailbox.h>

struct own_link;

/* A request on its way through control. */
struct request {
    struct letter letter;
    struct origin origin;
    struct own_link *own; /* counted; NULL: it is for the address */
    struct list of_link;  /* while it is kept: among those of its link */
    /* for who keeps it */
    struct list node;
    uint64_t connection_id;
    char *key; /* of the address it came to; NULL: a control link */
    size_t len;
    uint8_t message[];
};

/* Who serves them. message: n octets, borrowed for the call; key: of the address it came to. Thread: control. */
typedef void request_fn(const uint8_t *message, size_t n, uint64_t connection_id, const char *key);
/* Thread: control, before the first connection. */
void request_serve(request_fn *fn);

/* Who takes what comes on control links of other routers (key NULL). Thread: control, before the first connection. */
void request_serve_routers(request_fn *fn);

/* Who serves what comes to the router's own address with this key, in place of the one above. key: static.
 * Thread: control, before the first connection. */
void request_serve_address(const char *key, request_fn *fn);

/* Hand a whole message to control; key NULL: it came on a control link. Its delivery is accepted when it has been
 * served. Thread: worker. */
void request_post(const struct origin *o, uint64_t connection_id, const char *key, const uint8_t *message, size_t n);

/* The same for a message that has come in on a link of ours (own_link.h): its owner takes it. Thread: worker. */
void request_post_own(const struct origin *o, struct own_link *to, const uint8_t *message, size_t n);

/* So much of what is kept may be there in all. */
enum { REQUESTS_KEPT_OCTETS = 64 * 1024 * 1024 };

/* Within a request_fn: keep the request that it is called for, to serve it later. Its delivery is accepted, and the
 * credit for it given back, only with request_done(). When its link goes before that, nobody is left to hear the answer:
 * it is dropped, and leaves the list that its node is in. */
struct request *request_keep(void) ON_CONTROL;
/* Whether it may be kept: else more would be there than REQUESTS_KEPT_OCTETS. */
bool request_may_keep(void) ON_CONTROL;
/* Within a request_fn: its delivery is released, for its sender to try again. */
void request_refuse(void) ON_CONTROL;
void request_done(struct request **r) ON_CONTROL;
/* The router stops: it is not served, and nothing is said. */
void request_drop(struct request **r) ON_CONTROL;

/* Its link has left (registry.h): drop what is kept of it. */
void request_link_left(struct link_token t) ON_CONTROL;

/* Send a message of the router's own, presettled, to `to` in any form of an address, which its properties name, too: as with
 * an anonymous sender's, routers on the way are told it beside only if it has a phase.
 *   Result: false: nobody receives there.
 *   Thread: control. */
bool request_answer(const char *to, const uint8_t *message, size_t n) ON_CONTROL;

#endif
