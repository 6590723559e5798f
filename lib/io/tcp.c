#include <trunkline/io/transport.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <trunkline/base/alloc.h>
#include <trunkline/base/list.h>

struct tcp {
    struct transport base;
    int error; /* errno of what failed last, or 0 */
    char why[64];
};

static struct tcp *tcp_of(const struct transport *t)
{
    return container_of(t, struct tcp, base);
}

static bool must_wait(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK;
}

static enum err has_failed(struct tcp *t)
{
    t->error = errno;
    return ERR_SYSTEM;
}

static enum err tcp_receive(struct transport *base, uint8_t *to, size_t room, size_t *got)
{
    ssize_t n;
    do
        n = recv(base->fd, to, room, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return ERR_CLOSED;
    if (n < 0)
        return must_wait(errno) ? ERR_AGAIN : has_failed(tcp_of(base));
    *got = (size_t)n;
    return OK;
}

static enum err tcp_send(struct transport *base, const struct iovec *pieces, int count, size_t *sent)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)pieces, .msg_iovlen = (size_t)count};
    ssize_t n;
    do
        n = sendmsg(base->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return must_wait(errno) ? ERR_AGAIN : has_failed(tcp_of(base));
    *sent = (size_t)n;
    return OK;
}

static enum err tcp_shut(struct transport *base)
{
    return shutdown(base->fd, SHUT_WR) == 0 ? OK : has_failed(tcp_of(base));
}

static uint32_t tcp_wants(const struct transport *base, bool to_read, bool to_write)
{
    (void)base;
    return (to_read ? EPOLLIN : 0u) | (to_write ? EPOLLOUT : 0u);
}

static const char *tcp_why(const struct transport *base)
{
    struct tcp *t = tcp_of(base);
    if (t->error == 0)
        return "";
    const char *text = strerror_r(t->error, t->why, sizeof t->why);
    if (text != t->why) /* GNU's may answer with a text of its own */
        snprintf(t->why, sizeof t->why, "%s", text);
    return t->why;
}

static void tcp_free(struct transport *base)
{
    close(base->fd);
    free(tcp_of(base));
}

static const struct transport_ops ops = {
    .scheme = "tcp",
    .receive = tcp_receive,
    .send = tcp_send,
    .shut = tcp_shut,
    .wants = tcp_wants,
    .why = tcp_why,
    .free = tcp_free,
};

static void set_option(int fd, int level, int name)
{
    int on = 1;
    /* Refused only by sockets that are not TCP (a socket pair): those have no such delay and need no probes. */
    (void)setsockopt(fd, level, name, &on, sizeof on);
}

void tcp_limit_unsent(int fd, unsigned octets)
{
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &octets, sizeof octets);
}

enum err tcp_transport_new(int fd, struct transport **out)
{
    struct sockaddr_storage local, peer;
    socklen_t local_size = sizeof local, peer_size = sizeof peer;
    memset(&local, 0, sizeof local);
    memset(&peer, 0, sizeof peer);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        getsockname(fd, (struct sockaddr *)&local, &local_size) != 0 ||
        getpeername(fd, (struct sockaddr *)&peer, &peer_size) != 0)
        return ERR_SYSTEM;
    set_option(fd, IPPROTO_TCP, TCP_NODELAY);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE);
    struct tcp *t = xcalloc(1, sizeof *t);
    t->base.ops = &ops;
    t->base.fd = fd;
    sockaddr_text((struct sockaddr *)&local, t->base.local, sizeof t->base.local);
    sockaddr_text((struct sockaddr *)&peer, t->base.peer, sizeof t->base.peer);
    *out = &t->base;
    return OK;
}
