/* rcu.h -- read-mostly data: build the next version, publish the pointer, free the last one after every worker has
 * passed a quiet point. A thin layer on liburcu (QSBR flavour) that also tells ThreadSanitizer what liburcu orders,
 * since the library itself is not instrumented.
 */
#ifndef TRUNKLINE_BASE_RCU_H
#define TRUNKLINE_BASE_RCU_H

#include <stdatomic.h>

/* Publish p / read what was published. A reader's pointer is good until its next quiet point. */
#define rcu_publish(slot, p) atomic_store_explicit((slot), (p), memory_order_release)
#define rcu_read(slot) atomic_load_explicit((slot), memory_order_acquire)

void rcu_reader_start(void); /* first thing on a reading thread */
void rcu_reader_stop(void);
void rcu_quiet(void); /* the thread holds no pointer that it read: once each loop turn */
void rcu_sleep(void); /* before blocking: counts as one long quiet point */
void rcu_wake(void);  /* after blocking */

typedef void rcu_free_fn(void *p);
/* Call fn(p) after every reader has passed a quiet point. Thread: any; fn runs on a thread of the library. */
void rcu_defer(void *p, rcu_free_fn *fn);
/* Wait until all deferred calls so far have run, and end the library's thread (the next rcu_defer() starts it again).
 * The last thing before the process ends, and in tests. Thread: not a reader, or one that sleeps. */
void rcu_barrier_all(void);

#endif
