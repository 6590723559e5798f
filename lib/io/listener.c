#include <trunkline/io/listener.h>

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/log.h>

#include "worker_priv.h"

#define SOCKETS_MAX 16
/* Connections taken at one go, before the connections that are there get their turn. */
#define ACCEPT_BATCH 64
#define STARVED_MS 200
/* Attempts to find a port that is free at all addresses. */
#define PORT_TRIES 32

/* One worker's share: it polls all sockets of the listener. */
struct watcher {
    struct listener *listener;
    struct worker *worker;
    struct letter begin, end;
    struct timer starved; /* armed: the sockets are not watched for a while */
    struct socket_watch {
        struct loop_watch watch;
        struct watcher *watcher;
    } sockets[SOCKETS_MAX];
};

struct listener {
    /* fixed at opening */
    const struct listener_ops *ops;
    void *owner;
    struct loop *home;
    char name[280]; /* host:port, for the log */
    int port;
    int fds[SOCKETS_MAX], fd_count;
    struct watcher *watchers;
    int watcher_count;
    /* any thread */
    _Atomic uint32_t refs; /* open; each watcher; each socket on its way. The last one posts `gone` */
    _Atomic bool closing;  /* set before the letters that end the watchers: only a hint */
    _Atomic bool is_starved;
    _Atomic uint64_t accepted;
    struct letter gone;
};

/* A connection on its way to its worker. */
struct arrival {
    struct letter letter;
    struct listener *listener; /* counted */
    struct worker *worker;     /* reserved */
    int fd;
    struct sockaddr_storage peer;
};

static void listener_ref(struct listener *l)
{
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
}

static void listener_unref(struct listener *l)
{
    /* Acquire and release: all that was done by those who gave up comes before `closed`. */
    if (atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) == 1)
        loop_post(l->home, &l->gone);
}

/* ---- taking connections, on workers ---- */

static void deliver(struct listener *l, struct worker *w, int fd, const struct sockaddr_storage *peer)
{
    if (atomic_load_explicit(&l->closing, memory_order_relaxed))
        close(fd);
    else
        l->ops->accepted(l, w, fd, peer);
    worker_release(w);
}

static void on_arrival(struct letter *letter)
{
    struct arrival *a = container_of(letter, struct arrival, letter);
    deliver(a->listener, a->worker, a->fd, &a->peer);
    listener_unref(a->listener);
    free(a);
}

static void hand_over(struct listener *l, struct worker *here, int fd, const struct sockaddr_storage *peer)
{
    struct worker *w = worker_choose(here);
    worker_reserve(w);
    if (w == here) {
        deliver(l, w, fd, peer);
        return;
    }
    struct arrival *a = xmalloc(sizeof *a);
    *a = (struct arrival){LETTER_INIT(on_arrival), l, w, fd, *peer};
    listener_ref(l);
    worker_post(w, &a->letter);
}

static void unwatch_all(struct watcher *wt)
{
    for (int i = 0; i < wt->listener->fd_count; i++)
        loop_watch_remove(worker_loop(wt->worker), &wt->sockets[i].watch);
}

static void rest_a_while(struct watcher *wt, int error)
{
    unwatch_all(wt);
    loop_timer_after(worker_loop(wt->worker), &wt->starved, STARVED_MS);
    if (!atomic_exchange(&wt->listener->is_starved, true))
        LOG(SERVER, ERROR_LEVEL,
            "Cannot accept connections on %s: %s. Raise the limit of open files; trying again meanwhile",
            wt->listener->name, strerror(error));
}

static bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void took_one(struct listener *l)
{
    atomic_fetch_add_explicit(&l->accepted, 1, memory_order_relaxed);
    if (atomic_load_explicit(&l->is_starved, memory_order_relaxed) && atomic_exchange(&l->is_starved, false))
        LOG(SERVER, NOTICE, "Accepting connections on %s again", l->name);
}

static void on_readable(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct socket_watch *sw = container_of(watch, struct socket_watch, watch);
    struct watcher *wt = sw->watcher;
    for (int i = 0; i < ACCEPT_BATCH && watch->fd >= 0; i++) {
        struct sockaddr_storage peer;
        socklen_t size = sizeof peer;
        memset(&peer, 0, sizeof peer);
        int fd = accept4(watch->fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            took_one(wt->listener);
            hand_over(wt->listener, wt->worker, fd, &peer);
        } else if (is_shortage(errno)) {
            rest_a_while(wt, errno);
        } else if (errno == EINVAL) { /* closed meanwhile: the letter that ends us is coming */
            loop_watch_remove(worker_loop(wt->worker), watch);
        } else if (errno == EAGAIN) {
            return;
        } /* else that one connection failed (accept(2), Error handling): on to the next */
    }
}

static void watch_all(struct watcher *wt)
{
    struct listener *l = wt->listener;
    for (int i = 0; i < l->fd_count; i++) {
        struct loop_watch *w = &wt->sockets[i].watch;
        /* Exclusive: a connection wakes one of the workers and not all. */
        if (loop_watch_add(worker_loop(wt->worker), w, l->fds[i], EPOLLIN | EPOLLEXCLUSIVE) != OK) {
            rest_a_while(wt, errno);
            return;
        }
    }
}

static void on_starved(struct timer *t)
{
    watch_all(container_of(t, struct watcher, starved));
}

static void on_begin(struct letter *letter)
{
    watch_all(container_of(letter, struct watcher, begin));
}

static void on_end(struct letter *letter)
{
    struct watcher *wt = container_of(letter, struct watcher, end);
    timer_cancel(&wt->starved);
    unwatch_all(wt);
    listener_unref(wt->listener);
}

/* ---- opening ---- */

static void listener_destroy(struct listener *l)
{
    for (int i = 0; i < l->fd_count; i++)
        close(l->fds[i]);
    free(l->watchers);
    free(l);
}

static void set_port(struct sockaddr *sa, uint16_t port)
{
    if (sa->sa_family == AF_INET)
        ((struct sockaddr_in *)sa)->sin_port = htons(port);
    else if (sa->sa_family == AF_INET6)
        ((struct sockaddr_in6 *)sa)->sin6_port = htons(port);
}

static int port_of(int fd)
{
    struct sockaddr_storage sa;
    socklen_t size = sizeof sa;
    if (getsockname(fd, (struct sockaddr *)&sa, &size) != 0)
        return 0;
    return ntohs(sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port
                                          : ((struct sockaddr_in *)&sa)->sin_port);
}

/* Errors: ERR_SYSTEM, errno. */
static enum err listen_at(const struct addrinfo *ai, int *out)
{
    const int on = 1;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ERR_SYSTEM;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0
        /* Each family has a socket of its own, whatever the system's default is. */
        && (ai->ai_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
        bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0) {
        *out = fd;
        return OK;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return ERR_SYSTEM;
}

/* A machine may have names for addresses of a family that it does not speak. */
static bool is_absent_family(int error)
{
    return error == EAFNOSUPPORT || error == EADDRNOTAVAIL || error == EPROTONOSUPPORT;
}

static void close_sockets(struct listener *l)
{
    int saved = errno;
    while (l->fd_count)
        close(l->fds[--l->fd_count]);
    errno = saved;
}

/* Listen at all addresses; with port 0 at the port that the first one gets.
 *   Errors: ERR_SYSTEM, errno, and nothing is open. */
static enum err listen_at_all(struct listener *l, const struct addrinfo *list, uint16_t port)
{
    int absent = EADDRNOTAVAIL;
    for (const struct addrinfo *ai = list; ai && l->fd_count < SOCKETS_MAX; ai = ai->ai_next) {
        set_port(ai->ai_addr, port);
        if (listen_at(ai, &l->fds[l->fd_count]) == OK) {
            port = (uint16_t)port_of(l->fds[l->fd_count++]);
        } else if (is_absent_family(errno)) {
            absent = errno;
        } else {
            close_sockets(l);
            return ERR_SYSTEM;
        }
    }
    l->port = port;
    errno = absent;
    return l->fd_count ? OK : ERR_SYSTEM;
}

static enum err open_sockets(struct listener *l, const struct addrinfo *list, uint16_t port)
{
    for (int try = 1;; try++) {
        enum err e = listen_at_all(l, list, port);
        /* The port that was free at the first address is taken at another: try one more. */
        bool try_another = e != OK && port == 0 && errno == EADDRINUSE && try < PORT_TRIES;
        if (!try_another)
            return e;
    }
}

static void on_gone(struct letter *letter)
{
    struct listener *l = container_of(letter, struct listener, gone);
    if (l->ops->closed)
        l->ops->closed(l);
    else
        listener_free(&l);
}

static void start_watchers(struct listener *l)
{
    l->watcher_count = worker_count();
    l->watchers = xcalloc((size_t)l->watcher_count, sizeof *l->watchers);
    atomic_store(&l->refs, 1 + (uint32_t)l->watcher_count);
    for (int i = 0; i < l->watcher_count; i++) {
        struct watcher *wt = &l->watchers[i];
        wt->listener = l;
        wt->worker = worker_by_index(i);
        wt->begin = (struct letter)LETTER_INIT(on_begin);
        wt->end = (struct letter)LETTER_INIT(on_end);
        timer_init(&wt->starved, on_starved);
        for (int s = 0; s < l->fd_count; s++) {
            wt->sockets[s].watch = (struct loop_watch)LOOP_WATCH_INIT(on_readable);
            wt->sockets[s].watcher = wt;
        }
        worker_post(wt->worker, &wt->begin);
    }
}

enum err listener_open(const struct listener_conf *conf, const struct listener_ops *ops, struct listener **out,
                       char *why, size_t why_size)
{
    ASSERT(loop_current() && worker_count() > 0);
    const char *host = conf->host && *conf->host ? conf->host : NULL;
    uint16_t port;
    if (service_port(conf->service, &port) != OK) {
        snprintf(why, why_size, "'%s' is neither a port number nor a known service name", conf->service);
        return ERR_INVALID;
    }
    struct addrinfo hints = {.ai_family = conf->family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list;
    int code = getaddrinfo(host, "0", &hints, &list);
    if (code != 0) {
        snprintf(why, why_size, "cannot resolve %s: %s", host ? host : "any address",
                 code == EAI_SYSTEM ? strerror(errno) : gai_strerror(code));
        return ERR_INVALID;
    }
    struct listener *l = xcalloc(1, sizeof *l);
    l->ops = ops;
    l->owner = conf->owner;
    l->home = loop_current();
    l->gone = (struct letter)LETTER_INIT(on_gone);
    enum err e = open_sockets(l, list, port);
    freeaddrinfo(list);
    if (e != OK) {
        snprintf(why, why_size, "cannot listen on %s:%s: %s", host ? host : "", conf->service, strerror(errno));
        listener_destroy(l);
        return e;
    }
    snprintf(l->name, sizeof l->name, "%s:%d", host ? host : "", l->port);
    start_watchers(l);
    *out = l;
    return OK;
}

void listener_close(struct listener *l)
{
    bool was_closing = atomic_exchange(&l->closing, true);
    ASSERT(!was_closing);
    /* Now, not when the last worker lets go: no connection is made that nobody would serve. */
    for (int i = 0; i < l->fd_count; i++)
        shutdown(l->fds[i], SHUT_RDWR);
    for (int i = 0; i < l->watcher_count; i++)
        worker_post(l->watchers[i].worker, &l->watchers[i].end);
    listener_unref(l);
}

void listener_free(struct listener **l)
{
    if (*l == NULL)
        return;
    ASSERT(atomic_load(&(*l)->refs) == 0);
    listener_destroy(*l);
    *l = NULL;
}

void *listener_owner(const struct listener *l)
{
    return l->owner;
}

int listener_port(const struct listener *l)
{
    return l->port;
}

uint64_t listener_accepted(const struct listener *l)
{
    return atomic_load_explicit(&l->accepted, memory_order_relaxed);
}
