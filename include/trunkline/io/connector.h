/* connector.h -- makes a connection to a peer and, when it fails or is lost, makes it again.
 *
 *   1. control: look the host's name up (a helper thread does if it is not an address), choose a worker
 *   2. worker: connect without blocking, address after address; then `connected` makes a transport and a connection of
 *      it
 *   3. the connection's owner says connector_is_up() when the peer's Open is in, and connector_lost() when it has ended
 *   4. control: `failed` or `lost`; after a delay again from 1
 * Delays (management reference section 11): 5 s after a failed attempt, 2 s after the loss of a connection that was up,
 * 1 s whenever more than one URL is known. Each URL is tried twice before the next, round robin.
 *
 * States:  initializing -> connecting -TCP connected-> success -failure or loss-> failed -retry scheduled-> connecting;
 *          any -close-> closing
 *
 * Thread: control (the loop that opened it), except where said.
 */
#ifndef TRUNKLINE_IO_CONNECTOR_H
#define TRUNKLINE_IO_CONNECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trunkline/base/err.h>
#include <trunkline/io/worker.h>

struct connector;

/* Where to connect. Strings are copied when passed in, borrowed until the connector's next change when passed out. */
struct connector_url {
    const char *scheme; /* NULL: "amqp". Kept for display only */
    const char *host;
    const char *service;  /* port number or service name; NULL: "5672" */
    const char *hostname; /* what the peer wants to be called, or NULL. Kept, not used */
};

/* How far what has failed had come. */
enum connector_failure {
    CONNECTOR_UNREACHED, /* there was no connection: no such name, nobody listens, no answer */
    CONNECTOR_NOT_UP,    /* there was one, which ended before connector_is_up() */
    CONNECTOR_LOST       /* it was up */
};

struct connector_ops {
    /* TCP is connected. Make the connection; sooner or later call connector_lost() for it.
     *   Ownership: fd (non-blocking, close-on-exec) becomes the callee's. host, service: the URL in use, borrowed for
     * the call. Thread:    w. */
    void (*connected)(struct connector *c, struct worker *w, int fd, const char *host, const char *service);
    /* An attempt did not get as far as `connected` (why: for people, borrowed), or a connection was lost (why: what
     * connector_lost() said). For logs and status: the retry is scheduled by the connector, right after this. May be
     * NULL. */
    void (*failed)(struct connector *c, const char *host, const char *service, enum connector_failure how,
                   const char *why);
    /* Nothing runs any more: connector_free() it. NULL: not wanted, the connector frees itself. */
    void (*closed)(struct connector *c);
};

struct connector_conf {
    struct connector_url url;
    int64_t attempt_ms; /* how long TCP may take for each address; 0: 20 s */
    /* 0: as above. For tests and for settings that want them otherwise. */
    int64_t after_failure_ms, after_loss_ms, with_failover_ms;
    bool retry_off; /* one attempt only; for tests */
    void *owner;    /* connector_owner() */
};

enum connector_state {
    CONNECTOR_INITIALIZING,
    CONNECTOR_CONNECTING,
    CONNECTOR_SUCCESS,
    CONNECTOR_FAILED,
    CONNECTOR_CLOSING
};

/* Begin: the first attempt is made at once.
 *   Thread:    one that runs a loop (control), with workers started.
 *   Ownership: conf is copied; ops is borrowed as long as the connector lives. */
void connector_open(const struct connector_conf *conf, const struct connector_ops *ops, struct connector **out);
/* Make no more attempts. The connection, if there is one, is its owner's to close; `closed` comes after its
 * connector_lost(). Once. */
void connector_close(struct connector *c);
/* After `closed`. */
void connector_free(struct connector **c);
/* Tries at once instead of waiting for the delay, if it is waiting. */
void connector_retry_now(struct connector *c);

/* The connection is up: the peer's Open is in. Thread: any (the connection's worker). */
void connector_is_up(struct connector *c);
/* The connection made from `connected` has ended, with why (copied; may be NULL). The last call about it; the caller
 * forgets c. Thread: any. */
void connector_lost(struct connector *c, const char *why);

/* What the peer's Open says about failover: the list becomes the configured URL, the one in use, and these (same host
 * and service: once). count 0: only drops the others. At most 32 are kept; ERR_LIMIT says that some were not. */
enum err connector_set_failover(struct connector *c, const struct connector_url *urls, size_t count);

void *connector_owner(const struct connector *c); /* Thread: any */
enum connector_state connector_state(const struct connector *c);
const char *connector_state_text(enum connector_state s); /* "INITIALIZING", ... Thread: any */
size_t connector_url_count(const struct connector *c);
/* The i-th URL, 0 being the one in use or tried next. */
void connector_url_at(const struct connector *c, size_t i, struct connector_url *out);
/* "amqp://host:port, ..." from the one in use or tried next; free() it. */
char *connector_urls_text(const struct connector *c);

#endif
