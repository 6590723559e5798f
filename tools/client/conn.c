#include "tools/client/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <proton/connection.h>
#include <proton/sasl.h>
#include <proton/session.h>
#include <proton/transport.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 64 << 10, STOP_TIMEOUT_US = 5000000 };

static int interrupt_fd = -1; /* an eventfd: a signal between a check and a poll is not missed */

static void on_signal(int number)
{
    (void)number;
    int saved = errno;
    uint64_t one = 1;
    if (write(interrupt_fd, &one, sizeof one) < 0)
        _exit(TOOL_EXIT_FAILED);
    errno = saved;
}

static void catch_signals(void)
{
    interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* Once only: a second signal ends the process, also if it hangs in a write to a full pipe. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND | SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void take_interrupt(struct conn *c)
{
    uint64_t count;
    if (read(interrupt_fd, &count, sizeof count) != sizeof count)
        return;
    c->was_interrupted = true;
    c->ops->on_interrupt(c);
}

const char *conn_condition_text(pn_condition_t *condition, const char *otherwise, char *buffer, size_t size)
{
    if (!condition || !pn_condition_is_set(condition)) {
        snprintf(buffer, size, "%s", otherwise);
        return buffer;
    }
    const char *description = pn_condition_get_description(condition);
    snprintf(buffer, size, "%s%s%s", pn_condition_get_name(condition), description ? ": " : "",
             description ? description : "");
    return buffer;
}

int64_t conn_next_backoff(int64_t last, int64_t min, int64_t max)
{
    int64_t next = last == 0 ? min : last > max / 2 ? max : last * 2;
    return next < min ? min : next > max ? max : next;
}

static void note(const struct conn *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(const struct conn *c, const char *format, ...)
{
    if (c->conf->quiet)
        return;
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

static const struct url *place(const struct conn *c)
{
    return &c->conf->urls[c->url_index];
}

/* ---- waiting ---- */

/* Poll with microseconds. Deadline 0: for ever. */
static int wait_for(struct pollfd *fds, nfds_t count, int64_t deadline)
{
    struct timespec timeout = {0};
    if (deadline) {
        int64_t left = deadline - tool_mono_us();
        if (left > 0)
            timeout = (struct timespec){.tv_sec = left / 1000000, .tv_nsec = left % 1000000 * 1000};
    }
    int n = ppoll(fds, count, deadline ? &timeout : NULL, NULL);
    return n < 0 && errno == EINTR ? 0 : n;
}

/* ---- connecting ---- */

/* Wait until the socket is connected. False: errno says why, EINTR for a stop. */
static bool await_connected(struct conn *c, int fd, int64_t deadline)
{
    struct pollfd fds[] = {{.fd = fd, .events = POLLOUT}, {.fd = interrupt_fd, .events = POLLIN}};
    for (;;) {
        wait_for(fds, 2, deadline);
        if (fds[1].revents)
            take_interrupt(c);
        int error = 0;
        socklen_t size = sizeof error;
        if (fds[0].revents) {
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
            errno = error;
            return error == 0;
        }
        if (c->is_stopping) {
            errno = EINTR;
            return false;
        }
        if (tool_mono_us() >= deadline) {
            errno = ETIMEDOUT;
            return false;
        }
    }
}

static int connect_one(struct conn *c, const struct addrinfo *a, int64_t deadline)
{
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0)
        return -1;
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0 || (errno == EINPROGRESS && await_connected(c, fd, deadline))) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        return fd;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* Connect to the place whose turn it is. Sets c->fd, or c->fault. */
static bool connect_socket(struct conn *c)
{
    const struct url *url = place(c);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int error = getaddrinfo(url->host, url_port(url), &hints, &found);
    if (error)
        return fault_set(&c->fault, "cannot resolve %s:%s: %s", url->host, url_port(url), gai_strerror(error));
    int64_t deadline = tool_mono_us() + c->conf->connect_timeout;
    c->fd = -1;
    for (const struct addrinfo *a = found; a && c->fd < 0 && !c->is_stopping; a = a->ai_next)
        c->fd = connect_one(c, a, deadline);
    int saved = errno;
    freeaddrinfo(found);
    if (c->fd < 0)
        return fault_set(&c->fault, "cannot connect to %s:%s: %s", url->host, url_port(url), strerror(saved));
    return true;
}

/* ---- the driver of one connection ---- */

static const char *container_id(struct conn *c)
{
    if (c->conf->container_id)
        return c->conf->container_id;
    if (!c->made_up_id) {
        uint64_t random;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            random = (uint64_t)tool_epoch_ns() ^ (uint64_t)getpid() << 32;
        if (asprintf(&c->made_up_id, "%s-%016" PRIx64, program_invocation_short_name, random) < 0)
            abort();
    }
    return c->made_up_id;
}

static bool set_up_tls_domain(struct conn *c)
{
    const struct conn_conf *conf = c->conf;
    pn_ssl_domain_t *d = pn_ssl_domain(PN_SSL_MODE_CLIENT);
    if (!d)
        return fault_set(&c->fault, "this build of Proton has no TLS");
    c->ssl_domain = d;
    if (conf->ssl_trustfile && pn_ssl_domain_set_trusted_ca_db(d, conf->ssl_trustfile))
        return fault_set(&c->fault, "cannot use --ssl-trustfile %s: not a readable file of PEM certificates",
                         conf->ssl_trustfile);
    if (conf->ssl_certificate &&
        pn_ssl_domain_set_credentials(d, conf->ssl_certificate, conf->ssl_key ? conf->ssl_key : conf->ssl_certificate,
                                      conf->ssl_password))
        return fault_set(&c->fault,
                         "cannot use certificate %s with key %s: not readable PEM, wrong password, or no pair",
                         conf->ssl_certificate, conf->ssl_key ? conf->ssl_key : conf->ssl_certificate);
    if (pn_ssl_domain_set_peer_authentication(d, conf->ssl_any_name ? PN_SSL_VERIFY_PEER : PN_SSL_VERIFY_PEER_NAME,
                                              conf->ssl_trustfile))
        return fault_set(&c->fault, "cannot verify the peer's certificate: %s",
                         conf->ssl_trustfile ? conf->ssl_trustfile : "give the trusted authorities by --ssl-trustfile");
    return true;
}

static bool set_up_tls(struct conn *c, pn_transport_t *t)
{
    if (!place(c)->tls)
        return true;
    pn_ssl_t *ssl = pn_ssl(t);
    if (!ssl || pn_ssl_set_peer_hostname(ssl, place(c)->host) || pn_ssl_init(ssl, c->ssl_domain, NULL))
        return fault_set(&c->fault, "cannot set up TLS");
    return true;
}

static void set_up_sasl(struct conn *c, pn_transport_t *t)
{
    const struct conn_conf *conf = c->conf;
    if (conf->no_sasl)
        return;
    pn_sasl_t *sasl = pn_sasl(t);
    const char *user = conf->user ? conf->user : place(c)->user;
    const char *password = conf->password ? conf->password : place(c)->password;
    if (user) {
        pn_connection_set_user(c->pn, user);
        pn_connection_set_password(c->pn, password ? password : "");
        /* A password was given for this host, with or without TLS: that is the person's decision. */
        pn_sasl_set_allow_insecure_mechs(sasl, true);
    }
    if (conf->sasl_mechanisms)
        pn_sasl_allowed_mechs(sasl, conf->sasl_mechanisms);
    else if (!user && !conf->ssl_certificate)
        pn_sasl_allowed_mechs(sasl, "ANONYMOUS");
}

/* Make the driver of a fresh connection and let the owner create its links. */
static bool start(struct conn *c)
{
    pn_transport_t *t = pn_transport();
    c->pn = pn_connection();
    if (!t || !c->pn || pn_connection_driver_init(&c->driver, c->pn, t))
        return fault_set(&c->fault, "out of memory");
    c->was_open = c->is_final = c->is_ending = false;
    c->wants_write = true;
    if (!set_up_tls(c, t))
        return false;
    set_up_sasl(c, t);
    if (c->conf->max_frame)
        pn_transport_set_max_frame(t, c->conf->max_frame);
    pn_transport_set_idle_timeout(t, (pn_millis_t)(c->conf->idle_timeout / 1000));
    pn_connection_set_container(c->pn, container_id(c));
    pn_connection_set_hostname(c->pn, c->conf->vhost ? c->conf->vhost : place(c)->host);
    pn_connection_open(c->pn);
    pn_connection_driver_bind(&c->driver);
    c->ops->on_start(c);
    return true;
}

static void end(struct conn *c)
{
    if (c->pn)
        pn_connection_driver_destroy(&c->driver);
    c->pn = NULL;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

/* Errors that the next attempt would meet again. */
static bool is_final(pn_condition_t *condition)
{
    static const char *const names[] = {"amqp:unauthorized-access", "amqp:not-allowed", "amqp:not-found",
                                        "amqp:invalid-field", "amqp:not-implemented"};
    const char *name = pn_condition_get_name(condition);
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* The connection ends by this condition; the first one told is the cause, what follows comes of it. */
static void set_cause(struct conn *c, const char *what, pn_condition_t *condition, const char *otherwise)
{
    char text[400];
    if (c->fault.text[0])
        return;
    fault_set(&c->fault, "%s %s:%s: %s", what, place(c)->host, url_port(place(c)),
              conn_condition_text(condition, otherwise, text, sizeof text));
    c->is_final = is_final(condition);
}

/* Close this connection, and wait only so long for the peer to do the same. */
static void end_in_order(struct conn *c)
{
    if (c->is_ending)
        return;
    c->is_ending = true;
    c->answer_deadline = tool_mono_us() + STOP_TIMEOUT_US;
    pn_connection_close(c->pn);
}

static void on_driver_event(struct conn *c, pn_event_t *event)
{
    switch (pn_event_type(event)) {
    case PN_CONNECTION_REMOTE_OPEN:
        c->was_open = true;
        if (c->conf->verbose)
            note(c, "connected to %s:%s, container '%s'", place(c)->host, url_port(place(c)),
                 pn_connection_remote_container(c->pn) ? pn_connection_remote_container(c->pn) : "");
        break;
    case PN_CONNECTION_REMOTE_CLOSE:
        if (!c->is_stopping)
            set_cause(c, "connection closed by", pn_connection_remote_condition(c->pn), "without a reason");
        end_in_order(c);
        break;
    case PN_SESSION_REMOTE_CLOSE:
        if (!c->is_stopping)
            set_cause(c, "session ended by", pn_session_remote_condition(pn_event_session(event)), "without a reason");
        end_in_order(c);
        break;
    case PN_TRANSPORT_ERROR:
        set_cause(c, c->was_open ? "connection lost to" : "cannot open a connection to",
                  pn_transport_condition(pn_event_transport(event)), "no reason known");
        break;
    default:
        break;
    }
    c->ops->on_event(c, event);
}

static void dispatch(struct conn *c)
{
    pn_event_t *event;
    while ((event = pn_connection_driver_next_event(&c->driver)) != NULL)
        on_driver_event(c, event);
}

/* What may be the reason when the peer ends the stream without a word. */
static const char *guess(const struct conn *c)
{
    if (c->was_open)
        return "";
    if (place(c)->tls)
        return " before it answered: does it speak TLS at this port?";
    return c->conf->no_sasl ? " before it answered: it may refuse those who do without SASL" : " before it answered";
}

static void read_socket(struct conn *c)
{
    pn_rwbytes_t room = pn_connection_driver_read_buffer_sized(&c->driver, READ_SIZE);
    if (room.size == 0)
        return;
    ssize_t got = read(c->fd, room.start, room.size);
    if (got > 0) {
        pn_connection_driver_read_done(&c->driver, (size_t)got);
    } else if (got == 0) {
        if (!c->fault.text[0] && !pn_transport_tail_closed(c->driver.transport) && !c->is_stopping)
            fault_set(&c->fault, "connection lost to %s:%s: the peer closed the socket%s", place(c)->host,
                      url_port(place(c)), guess(c));
        pn_connection_driver_read_close(&c->driver);
    } else if (errno != EAGAIN && errno != EINTR) {
        if (!c->fault.text[0])
            fault_set(&c->fault, "connection lost to %s:%s: %s", place(c)->host, url_port(place(c)), strerror(errno));
        pn_connection_driver_close(&c->driver);
    }
}

static void write_socket(struct conn *c)
{
    c->wants_write = false;
    for (;;) {
        pn_bytes_t bytes = pn_connection_driver_write_buffer(&c->driver);
        if (bytes.size == 0)
            break;
        ssize_t sent = send(c->fd, bytes.start, bytes.size, MSG_NOSIGNAL);
        if (sent >= 0) {
            pn_connection_driver_write_done(&c->driver, (size_t)sent);
        } else if (errno == EAGAIN || errno == EINTR) {
            c->wants_write = true;
            break;
        } else {
            /* What the peer said before it went may still be readable and says more: stop writing only. */
            pn_connection_driver_write_close(&c->driver);
            break;
        }
    }
    if (pn_connection_driver_write_closed(&c->driver))
        shutdown(c->fd, SHUT_WR);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a == 0 ? b : b == 0 || a < b ? a : b;
}

/* Send heartbeats and notice the peer's absence (AMQP 1.0 part 2.4.5, Idle Timeout Of A Connection). */
static int64_t tick(struct conn *c)
{
    return pn_transport_tick(c->driver.transport, tool_mono_us() / 1000) * 1000;
}

/* One turn of the loop. False when the connection is over. */
static bool turn(struct conn *c)
{
    dispatch(c);
    c->wake_at = 0;
    c->has_more = false;
    c->watch_fd = -1;
    if (!c->is_ending)
        c->ops->on_turn(c);
    int64_t deadline = earlier(tick(c), c->is_ending ? 0 : c->wake_at);
    if (!c->was_open || c->is_ending)
        deadline = earlier(deadline, c->answer_deadline);
    write_socket(c);
    dispatch(c);
    if (pn_connection_driver_finished(&c->driver))
        return false;
    /* The peer may have sent, and be gone, what it takes no more input for: its words are read first. */
    struct pollfd fds[] = {
        {.fd = c->fd, .events = (short)(POLLIN | (c->wants_write ? POLLOUT : 0))},
        {.fd = interrupt_fd, .events = POLLIN},
        {.fd = c->watch_fd, .events = POLLIN},
    };
    if (pn_transport_tail_closed(c->driver.transport))
        fds[0].events = c->wants_write ? POLLOUT : 0;
    if (c->has_more && !c->wants_write)
        deadline = 1; /* long past: only look */
    wait_for(fds, 3, deadline);
    if (fds[1].revents)
        take_interrupt(c);
    if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
        read_socket(c);
    return true;
}

/* The peer did not answer our open or our close in time. */
static bool is_overdue(struct conn *c)
{
    if ((c->was_open && !c->is_ending) || tool_mono_us() < c->answer_deadline)
        return false;
    if (!c->fault.text[0])
        fault_set(&c->fault, "%s:%s did not answer the %s in time", place(c)->host, url_port(place(c)),
                  c->was_open ? "close" : "open");
    return true;
}

/* Run one connection to its end. True if that end was orderly and wanted. */
static bool run_connection(struct conn *c)
{
    c->answer_deadline = tool_mono_us() + c->conf->connect_timeout;
    while (turn(c) && !is_overdue(c)) {
    }
    pn_transport_t *t = c->driver.transport;
    pn_condition_t *condition = pn_transport_condition(t);
    if (pn_condition_is_set(condition))
        set_cause(c, "connection lost to", condition, "");
    bool peer_closed = pn_connection_state(c->pn) & PN_REMOTE_CLOSED;
    if (c->is_stopping && !c->has_failed && !peer_closed && !c->fault.text[0])
        fault_set(&c->fault, "connection lost to %s:%s before it was closed in order", place(c)->host,
                  url_port(place(c)));
    return c->is_stopping && !c->has_failed && peer_closed && !c->fault.text[0];
}

/* Sleep until it is time to try again; less if stopped. */
static void back_off(struct conn *c, int64_t delay)
{
    /* Up to a quarter more, at random: clients that lost the same router should not come back as one. */
    int64_t deadline = tool_mono_us() + delay + delay / 4 * (tool_epoch_ns() % 1000) / 1000;
    struct pollfd fd = {.fd = interrupt_fd, .events = POLLIN};
    while (!c->is_stopping && tool_mono_us() < deadline) {
        wait_for(&fd, 1, deadline);
        if (fd.revents)
            take_interrupt(c);
    }
}

static bool wants_tls(const struct conn_conf *conf)
{
    for (size_t i = 0; i < conf->url_count; i++)
        if (conf->urls[i].tls)
            return true;
    return false;
}

bool conn_run(struct conn *c, struct fault *why)
{
    /* A matter of files, not of peers: told before anything is tried. */
    if (wants_tls(c->conf) && !set_up_tls_domain(c)) {
        *why = c->fault;
        if (c->ssl_domain)
            pn_ssl_domain_free(c->ssl_domain);
        return false;
    }
    catch_signals();
    c->fd = -1;
    int64_t delay = 0;
    uint64_t attempts = 0;
    bool ok = false;
    while (!c->is_stopping) {
        c->fault.text[0] = '\0';
        c->is_final = false;
        bool started = connect_socket(c) && start(c);
        ok = started && run_connection(c);
        if (started && c->was_open) {
            delay = 0;
            attempts = 0;
        }
        if (c->is_stopping || !c->conf->reconnect || c->is_final ||
            (c->conf->reconnect_limit && ++attempts > c->conf->reconnect_limit))
            break;
        c->losses += started && c->was_open;
        if (started)
            c->ops->on_lost(c);
        end(c);
        c->url_index = (c->url_index + 1) % c->conf->url_count;
        delay = conn_next_backoff(delay, c->conf->backoff_min, c->conf->backoff_max);
        note(c, "%s; trying %s:%s in %.3g s", c->fault.text, place(c)->host, url_port(place(c)), (double)delay / 1e6);
        back_off(c, delay);
    }
    if (c->pn)
        c->ops->on_lost(c);
    end(c);
    if (c->ssl_domain)
        pn_ssl_domain_free(c->ssl_domain);
    free(c->made_up_id);
    /* Stopped while there was no connection: nothing was left to close. */
    if (c->is_stopping && !c->has_failed && !c->was_open)
        ok = true;
    if (!ok)
        *why = c->fault;
    return ok;
}

static void stop(struct conn *c)
{
    c->is_stopping = true;
    if (c->pn)
        end_in_order(c);
}

void conn_stop(struct conn *c)
{
    if (!c->is_stopping)
        stop(c);
}

void conn_fail(struct conn *c, const char *format, ...)
{
    if (c->has_failed)
        return;
    c->has_failed = true;
    va_list args;
    va_start(args, format);
    fault_vset(&c->fault, format, args);
    va_end(args);
    if (!c->is_stopping)
        stop(c);
}
