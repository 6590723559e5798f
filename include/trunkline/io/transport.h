/* transport.h -- a byte stream to a peer, whatever carries it. TCP is here; TLS, WebSocket and RDMA have the same
 * contract.
 *
 * Nothing blocks. What a transport must do before bytes can flow (a handshake) it does inside receive and send, and
 * answers ERR_AGAIN until that is through; `wants` says at any time what it waits for. A transport without a descriptor
 * (fd -1) is driven by somebody else's loop and calls `ready` instead, on the owner's thread and not from within
 * receive, send or shut.
 *
 * Thread: the owner's, after it was made.
 */
#ifndef TRUNKLINE_IO_TRANSPORT_H
#define TRUNKLINE_IO_TRANSPORT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <trunkline/base/err.h>
#include <trunkline/io/address.h>

struct transport;

/* What protects the stream; all NULL or 0: nothing. Strings live as long as the transport. */
struct transport_security {
    const char *protocol; /* "TLSv1.3" */
    const char *cipher;
    int strength;        /* key bits */
    const char *peer_id; /* identity proven by the peer's certificate, for SASL EXTERNAL */
};

struct transport_ops {
    const char *scheme; /* "tcp" */
    /* Read `room` octets to `to`; fewer only if there are no more now.
     *   Result: *got, more than 0, on OK.
     *   Errors: ERR_AGAIN, none now; ERR_CLOSED, the peer has ended its stream in order; ERR_SYSTEM, it failed: see
     * `why`. */
    enum err (*receive)(struct transport *t, uint8_t *to, size_t room, size_t *got);
    /* Write count pieces; less than all only if the rest must wait.
     *   Result: *sent, more than 0, on OK.
     *   Errors: ERR_AGAIN, ERR_SYSTEM as above. */
    enum err (*send)(struct transport *t, const struct iovec *pieces, int count, size_t *sent);
    /* Say that nothing more will be sent. What was sent is still delivered. Errors: ERR_AGAIN, call again when ready.
     */
    enum err (*shut)(struct transport *t);
    /* Events (EPOLLIN, EPOLLOUT) that it waits for, when the owner would read, and would write, or not. */
    uint32_t (*wants)(const struct transport *t, bool to_read, bool to_write);
    /* Whether it has read octets from the descriptor that it has not given yet, so that polling would not tell of them.
     * NULL: never. */
    bool (*holds_input)(const struct transport *t);
    /* Text of what failed last; "" when nothing did. */
    const char *(*why)(const struct transport *t);
    /* NULL: never protected. Valid once bytes have flowed. */
    void (*security)(const struct transport *t, struct transport_security *out);
    /* Close at once and free. */
    void (*free)(struct transport *t);
};

/* Embedded as the first thing in each kind of transport. */
struct transport {
    const struct transport_ops *ops;
    int fd; /* to be polled for wants(); -1: the transport calls ready */
    /* Set by the connection that owns it; for transports with fd -1. events: EPOLLIN, EPOLLOUT, EPOLLHUP. */
    void (*ready)(struct transport *t, uint32_t events);
    struct io_conn *conn;
    /* "127.0.0.1:5672", "[::1]:5672" */
    char local[INET6_ADDRSTRLEN + 10], peer[INET6_ADDRSTRLEN + 10];
};

/* A TCP stream on a connected socket: makes it non-blocking, without delay (TCP_NODELAY) and kept alive.
 *   Thread:    any.
 *   Ownership: takes fd on OK.
 *   Errors:    ERR_SYSTEM, the socket is not connected (any more). */
enum err tcp_transport_new(int fd, struct transport **out);
/* Let the system keep no more than so many octets that it has not begun to send (TCP_NOTSENT_LOWAT, Linux tcp(7)): what
 * waits here can still be overtaken, what waits there cannot. Nothing happens where fd is no TCP socket. */
void tcp_limit_unsent(int fd, unsigned octets);

#endif
