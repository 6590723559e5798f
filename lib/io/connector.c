#include <trunkline/io/connector.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/io/address.h>

#include "resolve_priv.h"
#include "worker_priv.h"

#define URLS_MAX 32
#define TRIES_EACH 2
#define DEFAULT_SERVICE "5672"
#define DEFAULT_SCHEME "amqp"

struct url {
    char *scheme, *host, *service, *hostname; /* hostname may be NULL */
};

/* TCP to one URL, on a worker: made and freed by home, the worker's between `start` and `done`.
 *   1. home posts start; the worker connects, address after address
 *   2. the worker calls `connected` or not, then posts done; home frees it
 * Giving up: home posts cancel. The worker gives up whatever it was doing and sends the same letter back, after done;
 * then home frees it.
 */
struct attempt {
    struct connector *connector;
    struct worker *worker;
    char *host, *service; /* the URL's, which may change meanwhile */
    struct addrinfo *found;
    mono_ms limit_ms;
    struct letter start, done, cancel;
    /* the worker's */
    const struct addrinfo *next; /* to be tried */
    struct loop_watch watch;
    struct timer timer;
    bool is_over;
    /* home's, once done */
    bool is_connected;
    char why[200];
    /* home's */
    bool is_done, is_cancelled;
};

struct connector {
    /* fixed at opening */
    const struct connector_ops *ops;
    struct connector_conf conf; /* its strings are not used */
    struct loop *home;
    /* home's */
    enum connector_state state;
    struct url urls[URLS_MAX];
    size_t url_count, current, tries; /* attempts of urls[current] since it became current, or was last up */
    struct resolution *resolution;    /* under way, or NULL */
    struct attempt *attempt;          /* likewise */
    bool has_connection;              /* connected, and not yet lost */
    bool lost_early;                  /* lost, but done has not come yet */
    struct timer retry;
    struct letter gone;
    /* the connection's owner, any thread: handed over by the letter, except up */
    _Atomic bool is_up; /* orders nothing: a loss comes by letter, after it */
    struct letter lost;
    char *lost_why;
};

static void begin_attempt(struct connector *c);

/* ---- URLs ---- */

static const char *or_default(const char *s, const char *otherwise)
{
    return s && *s ? s : otherwise;
}

static struct url url_copy(const struct connector_url *u)
{
    return (struct url){
        .scheme = xstrdup(or_default(u->scheme, DEFAULT_SCHEME)),
        .host = xstrdup(u->host),
        .service = xstrdup(or_default(u->service, DEFAULT_SERVICE)),
        .hostname = u->hostname ? xstrdup(u->hostname) : NULL,
    };
}

static void url_clear(struct url *u)
{
    free(u->scheme);
    free(u->host);
    free(u->service);
    free(u->hostname);
    *u = (struct url){0};
}

static bool is_known(const struct connector *c, const struct connector_url *u)
{
    for (size_t i = 0; i < c->url_count; i++)
        if (strcmp(c->urls[i].host, u->host) == 0 &&
            strcmp(c->urls[i].service, or_default(u->service, DEFAULT_SERVICE)) == 0)
            return true;
    return false;
}

/* Keep the configured URL and the one in use. */
static void drop_others(struct connector *c)
{
    size_t kept = 1;
    for (size_t i = 1; i < c->url_count; i++)
        if (i == c->current)
            c->urls[kept++] = c->urls[i];
        else
            url_clear(&c->urls[i]);
    c->current = c->current ? 1 : 0;
    c->url_count = kept;
}

enum err connector_set_failover(struct connector *c, const struct connector_url *urls, size_t count)
{
    drop_others(c);
    for (size_t i = 0; i < count; i++) {
        if (is_known(c, &urls[i]))
            continue;
        if (c->url_count == URLS_MAX)
            return ERR_LIMIT;
        c->urls[c->url_count++] = url_copy(&urls[i]);
    }
    return OK;
}

size_t connector_url_count(const struct connector *c)
{
    return c->url_count;
}

void connector_url_at(const struct connector *c, size_t i, struct connector_url *out)
{
    ASSERT(i < c->url_count);
    const struct url *u = &c->urls[(c->current + i) % c->url_count];
    *out = (struct connector_url){u->scheme, u->host, u->service, u->hostname};
}

char *connector_urls_text(const struct connector *c)
{
    char *text = xstrdup("");
    for (size_t i = 0; i < c->url_count; i++) {
        struct connector_url u;
        connector_url_at(c, i, &u);
        char *longer = xasprintf("%s%s%s://%s:%s", text, i ? ", " : "", u.scheme, u.host, u.service);
        free(text);
        text = longer;
    }
    return text;
}

/* Count the attempt that has ended; after two it is the next one's turn. */
static void move_on(struct connector *c)
{
    if (c->tries < TRIES_EACH)
        return;
    c->current = (c->current + 1) % c->url_count;
    c->tries = 0;
}

/* ---- an attempt, on its worker ---- */

static void attempt_over(struct attempt *a)
{
    a->is_over = true;
    timer_cancel(&a->timer);
    loop_post(a->connector->home, &a->done);
}

static void attempt_connected(struct attempt *a, int fd)
{
    a->is_connected = true;
    a->connector->ops->connected(a->connector, a->worker, fd, a->host, a->service);
    worker_release(a->worker);
    attempt_over(a);
}

static void attempt_failed(struct attempt *a)
{
    worker_release(a->worker);
    attempt_over(a);
}

static void note_failure(struct attempt *a, const struct addrinfo *ai, const char *text)
{
    char address[80];
    sockaddr_text(ai->ai_addr, address, sizeof address);
    snprintf(a->why, sizeof a->why, "%s: %s", address, text);
}

/* Stop waiting for the connect under way. Result: its socket. */
static int take_socket(struct attempt *a)
{
    int fd = a->watch.fd;
    timer_cancel(&a->timer);
    loop_watch_remove(worker_loop(a->worker), &a->watch);
    return fd;
}

/* Begin to connect to one address. Result: false, it has failed. */
static bool try_address(struct attempt *a, const struct addrinfo *ai)
{
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        note_failure(a, ai, strerror(errno));
        return false;
    }
    int refused = connect(fd, ai->ai_addr, ai->ai_addrlen);
    /* Connected at once or later: the socket becomes writable. */
    if ((refused && errno != EINPROGRESS) || loop_watch_add(worker_loop(a->worker), &a->watch, fd, EPOLLOUT) != OK) {
        note_failure(a, ai, strerror(errno));
        close(fd);
        return false;
    }
    loop_timer_after(worker_loop(a->worker), &a->timer, a->limit_ms);
    return true;
}

static void try_next(struct attempt *a)
{
    while (a->next) {
        const struct addrinfo *ai = a->next;
        a->next = ai->ai_next;
        if (try_address(a, ai))
            return;
    }
    attempt_failed(a);
}

/* The address that is being tried: the one before next. */
static const struct addrinfo *address_under_way(const struct attempt *a)
{
    const struct addrinfo *ai = a->found;
    while (ai->ai_next != a->next)
        ai = ai->ai_next;
    return ai;
}

/* Connecting to a port of this machine on which nobody listens can, when the kernel picks that very port for our end,
 * connect the socket with itself (RFC 9293 section 3.5, simultaneous open). */
static bool is_connected_to_itself(int fd)
{
    struct sockaddr_storage local, peer;
    socklen_t local_size = sizeof local, peer_size = sizeof peer;
    memset(&local, 0, sizeof local);
    memset(&peer, 0, sizeof peer);
    return getsockname(fd, (struct sockaddr *)&local, &local_size) == 0 &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_size) == 0 && local_size == peer_size &&
           memcmp(&local, &peer, local_size) == 0;
}

static void on_attempt_ready(struct loop_watch *w, uint32_t events)
{
    (void)events;
    struct attempt *a = container_of(w, struct attempt, watch);
    int fd = take_socket(a), error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error == 0 && is_connected_to_itself(fd))
        error = ECONNREFUSED;
    if (error == 0) {
        attempt_connected(a, fd);
        return;
    }
    close(fd);
    note_failure(a, address_under_way(a), strerror(error));
    try_next(a);
}

static void on_attempt_late(struct timer *t)
{
    struct attempt *a = container_of(t, struct attempt, timer);
    close(take_socket(a));
    note_failure(a, address_under_way(a), "no answer in time");
    try_next(a);
}

static void on_attempt_start(struct letter *l)
{
    struct attempt *a = container_of(l, struct attempt, start);
    a->next = a->found;
    try_next(a);
}

static void on_cancel_back(struct letter *l);

static void on_attempt_cancel(struct letter *l)
{
    struct attempt *a = container_of(l, struct attempt, cancel);
    if (!a->is_over) {
        close(take_socket(a));
        snprintf(a->why, sizeof a->why, "the connector was closed");
        attempt_failed(a);
    }
    a->cancel.deliver = on_cancel_back;
    loop_post(a->connector->home, &a->cancel);
}

/* ---- home: one attempt after another ---- */

static void on_gone(struct letter *l)
{
    struct connector *c = container_of(l, struct connector, gone);
    if (c->ops->closed)
        c->ops->closed(c);
    else
        connector_free(&c);
}

/* Closing: `closed` comes when nothing is under way. By letter, so never from within connector_close(). */
static void look_if_gone(struct connector *c)
{
    if (c->state == CONNECTOR_CLOSING && !c->resolution && !c->attempt && !c->has_connection)
        loop_post(c->home, &c->gone);
}

static int64_t or_default_ms(int64_t configured, int64_t otherwise)
{
    return configured ? configured : otherwise;
}

static mono_ms delay_after(const struct connector *c, enum connector_failure how)
{
    if (c->url_count > 1)
        return or_default_ms(c->conf.with_failover_ms, 1000);
    return how == CONNECTOR_LOST ? or_default_ms(c->conf.after_loss_ms, 2000)
                                 : or_default_ms(c->conf.after_failure_ms, 5000);
}

/* An attempt has failed, or the connection was lost. */
static void has_failed(struct connector *c, const char *host, const char *service, enum connector_failure how,
                       const char *why)
{
    if (c->state == CONNECTOR_CLOSING) {
        look_if_gone(c);
        return;
    }
    c->state = CONNECTOR_FAILED;
    move_on(c);
    if (c->ops->failed)
        c->ops->failed(c, host, service, how, why);
    if (c->state == CONNECTOR_CLOSING || c->conf.retry_off) /* `failed` may close */
        return;
    c->state = CONNECTOR_CONNECTING;
    loop_timer_after(c->home, &c->retry, delay_after(c, how));
}

/* has_failed() with strings that do not depend on the list of URLs, which `failed` may change. */
static void url_has_failed(struct connector *c, size_t index, enum connector_failure how, const char *why)
{
    char *host = xstrdup(c->urls[index].host), *service = xstrdup(c->urls[index].service);
    has_failed(c, host, service, how, why);
    free(host);
    free(service);
}

static void connection_lost(struct connector *c)
{
    bool was_up = atomic_exchange(&c->is_up, false);
    char *why = c->lost_why;
    c->lost_why = NULL;
    c->has_connection = c->lost_early = false;
    if (was_up)
        c->tries = 0;
    url_has_failed(c, c->current, was_up ? CONNECTOR_LOST : CONNECTOR_NOT_UP, why ? why : "connection closed");
    free(why);
}

static void on_lost(struct letter *l)
{
    struct connector *c = container_of(l, struct connector, lost);
    if (c->has_connection)
        connection_lost(c);
    else
        c->lost_early = true;
}

static void attempt_free(struct attempt *a)
{
    freeaddrinfo(a->found);
    free(a->host);
    free(a->service);
    free(a);
}

/* The worker is through with it. */
static void attempt_ended(struct attempt *a)
{
    struct connector *c = a->connector;
    c->attempt = NULL;
    if (a->is_connected) {
        c->has_connection = true;
        if (c->state != CONNECTOR_CLOSING)
            c->state = CONNECTOR_SUCCESS;
        if (c->lost_early)
            connection_lost(c);
    } else {
        has_failed(c, a->host, a->service, CONNECTOR_UNREACHED, a->why);
    }
    attempt_free(a);
}

static void on_attempt_done(struct letter *l)
{
    struct attempt *a = container_of(l, struct attempt, done);
    a->is_done = true;
    if (!a->is_cancelled)
        attempt_ended(a);
}

static void on_cancel_back(struct letter *l)
{
    struct attempt *a = container_of(l, struct attempt, cancel);
    ASSERT(a->is_done); /* posted before it */
    attempt_ended(a);
}

/* Takes found. */
static void connect_to(struct connector *c, struct addrinfo *found)
{
    const struct url *u = &c->urls[c->current];
    struct attempt *a = xmalloc(sizeof *a);
    *a = (struct attempt){
        .connector = c,
        .worker = worker_choose(NULL),
        .host = xstrdup(u->host),
        .service = xstrdup(u->service),
        .found = found,
        .limit_ms = or_default_ms(c->conf.attempt_ms, 20000),
        .start = LETTER_INIT(on_attempt_start),
        .done = LETTER_INIT(on_attempt_done),
        .cancel = LETTER_INIT(on_attempt_cancel),
        .watch = LOOP_WATCH_INIT(on_attempt_ready),
    };
    timer_init(&a->timer, on_attempt_late);
    c->attempt = a;
    worker_reserve(a->worker);
    worker_post(a->worker, &a->start);
}

static void on_resolved(struct resolution *r, struct addrinfo *found, const char *why)
{
    struct connector *c = resolve_owner(r);
    c->resolution = NULL;
    if (found && c->state != CONNECTOR_CLOSING) {
        connect_to(c, found);
        return;
    }
    if (found)
        freeaddrinfo(found);
    url_has_failed(c, c->current, CONNECTOR_UNREACHED, why);
}

static void begin_attempt(struct connector *c)
{
    const struct url *u = &c->urls[c->current];
    struct addrinfo *found;
    uint16_t port;
    c->state = CONNECTOR_CONNECTING;
    c->tries++;
    if (service_port(u->service, &port) != OK) {
        char *why = xasprintf("'%s' is neither a port number nor a known service name", u->service);
        url_has_failed(c, c->current, CONNECTOR_UNREACHED, why);
        free(why);
    } else if (resolve_number(u->host, port, &found) == OK) {
        connect_to(c, found);
    } else {
        c->resolution = resolve_start(u->host, port, c->home, on_resolved, c);
    }
}

static void on_retry(struct timer *t)
{
    begin_attempt(container_of(t, struct connector, retry));
}

void connector_open(const struct connector_conf *conf, const struct connector_ops *ops, struct connector **out)
{
    ASSERT(loop_current() && worker_count() > 0);
    struct connector *c = xcalloc(1, sizeof *c);
    c->ops = ops;
    c->conf = *conf;
    c->home = loop_current();
    c->gone = (struct letter)LETTER_INIT(on_gone);
    c->lost = (struct letter)LETTER_INIT(on_lost);
    timer_init(&c->retry, on_retry);
    c->urls[0] = url_copy(&conf->url);
    c->url_count = 1;
    c->state = CONNECTOR_INITIALIZING;
    /* From the loop, so that no callback runs before the caller has *out. */
    loop_timer_after(c->home, &c->retry, 0);
    *out = c;
}

void connector_close(struct connector *c)
{
    ASSERT(c->state != CONNECTOR_CLOSING);
    c->state = CONNECTOR_CLOSING;
    timer_cancel(&c->retry);
    if (c->resolution && resolve_cancel(c->resolution))
        c->resolution = NULL;
    if (c->attempt) {
        c->attempt->is_cancelled = true;
        worker_post(c->attempt->worker, &c->attempt->cancel);
    }
    look_if_gone(c);
}

void connector_free(struct connector **c)
{
    if (*c == NULL)
        return;
    ASSERT((*c)->state == CONNECTOR_CLOSING && !(*c)->attempt && !(*c)->resolution && !(*c)->has_connection);
    for (size_t i = 0; i < (*c)->url_count; i++)
        url_clear(&(*c)->urls[i]);
    free((*c)->lost_why);
    free(*c);
    *c = NULL;
}

void connector_retry_now(struct connector *c)
{
    if (timer_is_armed(&c->retry))
        loop_timer_after(c->home, &c->retry, 0);
}

void connector_is_up(struct connector *c)
{
    atomic_store(&c->is_up, true);
}

void connector_lost(struct connector *c, const char *why)
{
    c->lost_why = why ? xstrdup(why) : NULL;
    loop_post(c->home, &c->lost);
}

void *connector_owner(const struct connector *c)
{
    return c->conf.owner;
}

enum connector_state connector_state(const struct connector *c)
{
    return c->state;
}

const char *connector_state_text(enum connector_state s)
{
    static const char *const texts[] = {
        [CONNECTOR_INITIALIZING] = "INITIALIZING", [CONNECTOR_CONNECTING] = "CONNECTING",
        [CONNECTOR_SUCCESS] = "SUCCESS",           [CONNECTOR_FAILED] = "FAILED",
        [CONNECTOR_CLOSING] = "CLOSING",
    };
    return texts[s];
}
