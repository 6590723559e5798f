#include <trunkline/base/lock.h>

#include <trunkline/base/assert.h>

void lock_init(struct lock *l)
{
    int refused = pthread_mutex_init(&l->m, NULL);
    ASSERT(!refused);
}

void lock_fini(struct lock *l)
{
    int refused = pthread_mutex_destroy(&l->m);
    ASSERT(!refused);
}

void lock_take(struct lock *l) NO_THREAD_SAFETY
{
    int refused = pthread_mutex_lock(&l->m);
    ASSERT(!refused);
}

void lock_drop(struct lock *l) NO_THREAD_SAFETY
{
    int refused = pthread_mutex_unlock(&l->m);
    ASSERT(!refused);
}

struct thread_role control_role, worker_role;

/* The calling thread's role; a thread without one is a helper. */
enum role { ROLE_NONE, ROLE_CONTROL, ROLE_WORKER };
static _Thread_local enum role role;
static _Thread_local int worker_index = -1;

void thread_become_control(void) NO_THREAD_SAFETY
{
    ASSERT(role == ROLE_NONE);
    role = ROLE_CONTROL;
}

void thread_become_worker(int index) NO_THREAD_SAFETY
{
    ASSERT(role == ROLE_NONE && index >= 0);
    role = ROLE_WORKER;
    worker_index = index;
}

void thread_leave_control(void) NO_THREAD_SAFETY
{
    ASSERT(role == ROLE_CONTROL);
    role = ROLE_NONE;
}

void thread_leave_worker(void) NO_THREAD_SAFETY
{
    ASSERT(role == ROLE_WORKER);
    role = ROLE_NONE;
    worker_index = -1;
}

void assert_on_control(void)
{
    ASSERT(role == ROLE_CONTROL);
}

void assert_on_worker(void)
{
    ASSERT(role == ROLE_WORKER);
}

bool thread_is_control(void)
{
    return role == ROLE_CONTROL;
}

int thread_worker_index(void)
{
    return worker_index;
}
