/* listener.h -- sockets that listen, and the connections that come in.
 *
 *   1. listener_open() on control: resolves, binds and listens; every worker polls the sockets (EPOLLEXCLUSIVE)
 *   2. a worker is woken and accepts a batch; for each connection the least loaded worker is chosen
 *   3. `accepted` runs on the chosen worker's thread and makes a transport and a connection of it
 *   4. listener_close(): no connection is accepted any more; when no callback can run any more `closed` runs where it
 *      was opened
 * Out of descriptors: says so once in the log, and tries again by timer.
 */
#ifndef TRUNKLINE_IO_LISTENER_H
#define TRUNKLINE_IO_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <trunkline/base/err.h>
#include <trunkline/io/address.h>
#include <trunkline/io/worker.h>

struct listener;

struct listener_ops {
    /* Ownership: fd (non-blocking, close-on-exec) becomes the callee's. Thread: w. */
    void (*accepted)(struct listener *l, struct worker *w, int fd, const struct sockaddr_storage *peer);
    /* Nothing runs any more: listener_free() it. Thread: the loop that opened it. NULL: not wanted, the listener frees
     * itself. */
    void (*closed)(struct listener *l);
};

struct listener_conf {
    const char *host;    /* address or name; NULL or "": all addresses, IPv4 and IPv6 */
    const char *service; /* port number or service name; "0": any free port */
    int family;          /* AF_UNSPEC, AF_INET or AF_INET6 */
    void *owner;         /* listener_owner() */
};

/* Listen. A name that stands for several addresses is listened on at all of them, with the same port.
 *   Thread:    one that runs a loop (control), with workers started. A host *name* is looked up here and now.
 *   Ownership: conf is borrowed for the call; ops as long as the listener lives.
 *   Errors:    ERR_INVALID, the service or host is unknown; ERR_SYSTEM, the address cannot be used. why gets a text for
 *              people. */
enum err listener_open(const struct listener_conf *conf, const struct listener_ops *ops, struct listener **out,
                       char *why, size_t why_size);
/* Stop listening, at once. Connections that were made stay. Thread: the one that opened it; once. */
void listener_close(struct listener *l);
/* After `closed`. */
void listener_free(struct listener **l);

/* Thread: any. */
void *listener_owner(const struct listener *l);
int listener_port(const struct listener *l);          /* the real one */
uint64_t listener_accepted(const struct listener *l); /* connections so far */

#endif
