/* worker_priv.h -- a worker as the connections on it see it: included by worker.c and conn.c, and by those that hand
 * over sockets. */
#ifndef TRUNKLINE_IO_WORKER_PRIV_H
#define TRUNKLINE_IO_WORKER_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <trunkline/base/buffer.h>
#include <trunkline/io/worker.h>

struct worker {
    /* fixed at start */
    int index;
    struct loop *loop;
    pthread_t thread;
    /* any thread; relaxed: a count for choosing, it orders nothing */
    _Atomic uint32_t load; /* connections, and sockets on their way to become one */
    /* the worker's */
    struct list conns;        /* io_conn.node */
    struct list dirty;        /* io_conn.work_node: to be written, shut or ended at the end of the turn */
    struct list input_held;   /* io_conn.input_node: their transport holds input that polling does not tell of */
    struct timer input_timer; /* for input_held, next turn */
    struct buffer *in;        /* where input is received; NULL until needed */
    uint32_t in_used;         /* octets of it that somebody may have kept: not to be written again */
    bool stopping;
    struct loop_hook flush_hook, idle_hook;
    struct letter stop;
};

/* Count a socket that is on its way to w, until `accepted` or `connected` has made a connection of it. Thread: any. */
void worker_reserve(struct worker *w);
void worker_release(struct worker *w);

/* conn.c: what its worker's hooks do. */
void io_conn_worker_init(struct worker *w);
void io_conn_worker_fini(struct worker *w);

#endif
