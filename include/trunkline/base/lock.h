/* lock.h -- leaf locks and thread roles, both checked by clang's -Wthread-safety.
 *
 * A lock is held for a few lines, never across a callback, and never two at once. A role is a capability that the
 * thread's main function acquires for life: functions marked ON_CONTROL or ON_WORKER cannot be called from elsewhere.
 */
#ifndef TRUNKLINE_BASE_LOCK_H
#define TRUNKLINE_BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>

#if defined(__clang__)
#define TS(x) __attribute__((x))
#else
#define TS(x)
#endif
#define CAPABILITY(name) TS(capability(name))
#define ACQUIRES(...) TS(acquire_capability(__VA_ARGS__))
#define RELEASES(...) TS(release_capability(__VA_ARGS__))
#define REQUIRES(...) TS(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) TS(locks_excluded(__VA_ARGS__))
#define ASSERTS(...) TS(assert_capability(__VA_ARGS__))
#define NO_THREAD_SAFETY TS(no_thread_safety_analysis)

struct CAPABILITY("mutex") lock {
    pthread_mutex_t m;
};

/* For a lock with static storage. */
#define LOCK_INIT                                                                                                      \
    {                                                                                                                  \
        PTHREAD_MUTEX_INITIALIZER                                                                                      \
    }

void lock_init(struct lock *l);
void lock_fini(struct lock *l);
void lock_take(struct lock *l) ACQUIRES(*l);
void lock_drop(struct lock *l) RELEASES(*l);

/* Roles. Each thread has at most one; the assert_ functions check at run time and tell the analysis. */
struct CAPABILITY("role") thread_role {
    char unused;
};
extern struct thread_role control_role, worker_role;
#define ON_CONTROL REQUIRES(control_role)
#define ON_WORKER REQUIRES(worker_role)

void thread_become_control(void) ACQUIRES(control_role); /* first thing in the control thread */
void thread_become_worker(int index) ACQUIRES(worker_role);
void thread_leave_control(void) RELEASES(control_role); /* last thing in it */
void thread_leave_worker(void) RELEASES(worker_role);
void assert_on_control(void) ASSERTS(control_role);
void assert_on_worker(void) ASSERTS(worker_role);
bool thread_is_control(void);
int thread_worker_index(void); /* -1 when not a worker */

#endif
