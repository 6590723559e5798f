/* worker.h -- the I/O threads: each is a thread, its loop, and the connections it owns for life. */
#ifndef TRUNKLINE_IO_WORKER_H
#define TRUNKLINE_IO_WORKER_H

#include <stdint.h>
#include <trunkline/base/err.h>
#include <trunkline/base/list.h>
#include <trunkline/base/lock.h>
#include <trunkline/base/mailbox.h>
#include <trunkline/io/loop.h>

#define WORKERS_MAX 1024

struct worker;

struct worker_hooks {
    /* First and last thing on the worker's thread, where its loop can be used, but not rcu_read(): the loop does not
     * turn yet, or any more. All loops are there by then. Either may be NULL. Before `stopped` all connections of the
     * worker have ended. */
    void (*started)(struct worker *w);
    void (*stopped)(struct worker *w);
    /* The worker's connections have ended. Letters that come between this and `stopped` were under way then, and are
     * delivered for the sake of what they carry. They must not post to workers: some may have had their last turn. May
     * be NULL. */
    void (*ending)(struct worker *w);
};

/* Start n threads (role worker, RCU readers, all signals blocked); returns when all of them run.
 *   Thread:    control, once until workers_stop().
 *   Ownership: hooks is borrowed until workers_stop() returns.
 *   Errors:    ERR_INVALID, n is not in 1..WORKERS_MAX; ERR_SYSTEM, errno says why; nothing is left running. */
enum err workers_start(int n, const struct worker_hooks *hooks);
/* End connections that are left (their `ended` runs), then the loops, and join the threads. Listeners and connectors
 * must be closed before. Letters that are in the boxes when the last connection has ended are delivered, so nothing
 * that they carry is lost. Thread: control. */
void workers_stop(void);

/* Thread: any, between start and stop. */
int worker_count(void); /* 0 when not started */
struct worker *worker_by_index(int index);
struct worker *worker_current(void); /* NULL: the caller is not one */
int worker_index(const struct worker *w);
/* Queue a letter for the worker. */
void worker_post(struct worker *w, struct letter *l);
/* The worker for a new connection: the one with the fewest, counted in pairs; of equals `preferred` (may be NULL), else
 * the lowest index. In pairs, because connections that come one after the other often talk to each other, and on one
 * worker that costs half (docs/decisions/0006-connections-in-pairs.md). Numbers differ by one at most from an even
 * spread. */
struct worker *worker_choose(struct worker *preferred);
uint32_t worker_connections(const struct worker *w);

/* Thread: the worker. */
struct loop *worker_loop(struct worker *w);
/* Call fn for each connection of the worker; it may close but not free the one it is given. */
struct io_conn;
void worker_each_conn(struct worker *w, void (*fn)(struct io_conn *c, void *arg), void *arg);

#endif
