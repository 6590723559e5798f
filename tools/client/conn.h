/* conn.h -- one AMQP connection of a client: connect, SASL and TLS, the loop, loss and reconnecting.
 *
 * The owner embeds a struct conn, gives it its functions, and calls conn_run(), which returns when all is over. Every
 * AMQP event goes to on_event; after the events of a turn comes on_turn, where the owner sends what it may.
 *
 *   connect -> on_start -> { events -> on_turn -> write -> wait }* -> conn_stop() -> close, peer's close -> return
 *   cannot connect, or connection lost:  on_lost; with --reconnect back off and connect again, else return the error
 *   refused for good (credentials, ...): return the error, whatever --reconnect says
 *   SIGINT, SIGTERM: on_interrupt, which usually stops; a second signal ends the process
 *
 * Nothing of Proton survives a loss: on_start creates all sessions and links anew.
 *
 * Thread: one; one conn_run() per process at a time, as signals belong to the process.
 */
#ifndef TRUNKLINE_TOOLS_CLIENT_CONN_H
#define TRUNKLINE_TOOLS_CLIENT_CONN_H

#include <proton/condition.h>
#include <proton/connection_driver.h>
#include <proton/event.h>
#include <proton/ssl.h>

#include "tools/client/tool.h"
#include "tools/client/url.h"

/* Texts are borrowed, NULL where not given. Durations are microseconds. */
struct conn_conf {
    const struct url *urls; /* tried in turn */
    size_t url_count;
    const char *container_id; /* NULL: made up */
    const char *vhost;        /* open's hostname; NULL: the URL's host */
    const char *sasl_mechanisms, *user, *password;
    bool no_sasl;
    const char *ssl_trustfile, *ssl_certificate, *ssl_key, *ssl_password;
    bool ssl_any_name;
    int64_t connect_timeout, idle_timeout; /* idle: 0 for none */
    uint32_t max_frame;                    /* 0 for no limit */
    bool reconnect;
    int64_t backoff_min, backoff_max;
    uint64_t reconnect_limit; /* attempts in a row, 0 for any number */
    bool verbose, quiet;
};

struct conn;

struct conn_ops {
    void (*on_start)(struct conn *c);                    /* create session and links on c->pn */
    void (*on_event)(struct conn *c, pn_event_t *event); /* link, delivery, session events */
    void (*on_turn)(struct conn *c);
    void (*on_lost)(struct conn *c); /* c->pn and all in it are about to go */
    void (*on_interrupt)(struct conn *c);
};

struct conn {
    /* set by the owner before conn_run() */
    const struct conn_ops *ops;
    const struct conn_conf *conf;

    /* for the owner to read */
    pn_connection_t *pn; /* NULL while there is none */
    uint64_t losses;     /* connections lost so far */
    bool is_stopping;    /* conn_stop() or conn_fail() was called */
    bool was_interrupted;

    /* for the owner to set in on_turn; forgotten each turn */
    int64_t wake_at; /* call on_turn at this time (monotonic us) even if nothing happens; 0 for never */
    bool has_more;   /* call on_turn again once what was sent has left */
    int watch_fd;    /* call on_turn when this is readable; -1 for none */

    /* private */
    pn_connection_driver_t driver;
    int fd;
    size_t url_index;
    char *made_up_id;
    pn_ssl_domain_t *ssl_domain;
    bool was_open;   /* this connection reached the peer's open */
    bool is_final;   /* the error is one that reconnecting cannot mend */
    bool has_failed; /* conn_fail() was called */
    bool is_ending;  /* this connection is being closed, by us or both */
    bool wants_write;
    int64_t answer_deadline; /* for the peer's open; then, while ending, for its close */
    struct fault fault;      /* why the connection was lost, or conn_fail()'s words */
};

/* Run until stopped, or lost for good.
 *   Result: true after conn_stop(). False after conn_fail() or a loss; *why says.
 */
bool conn_run(struct conn *c, struct fault *why);

/* Close in order; conn_run() returns when the peer has closed too, or does not within five seconds.
 *   Errors: the latter makes conn_run() return false, as what was sent last may not have arrived.
 */
void conn_stop(struct conn *c);

/* Close in order, and let conn_run() return false with these words. Of several calls the first counts. */
void conn_fail(struct conn *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Write an error condition as "name: description"; `otherwise` if it is not set.
 *   Ownership: into buffer, which is returned.
 */
const char *conn_condition_text(pn_condition_t *condition, const char *otherwise, char *buffer, size_t size);

/* The next back-off: twice the last, between min and max, min if last is 0. */
int64_t conn_next_backoff(int64_t last, int64_t min, int64_t max);

#endif
