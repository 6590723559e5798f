/* harness_priv.h -- what the unit tests of io share: the test's thread is control, conditions have deadlines. */
#ifndef TRUNKLINE_IO_HARNESS_PRIV_H
#define TRUNKLINE_IO_HARNESS_PRIV_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <trunkline/base/alloc.h>
#include <trunkline/base/clock.h>
#include <trunkline/base/rcu.h>
#include <trunkline/io/loop.h>
#include <trunkline/io/worker.h>

#define DEADLINE_MS 30000

/* Wait for a condition that other threads bring about. */
#define WAIT_FOR(condition)                                                                                            \
    do {                                                                                                               \
        mono_ms until_here = clock_mono_ms() + DEADLINE_MS;                                                            \
        while (!(condition)) {                                                                                         \
            if (clock_mono_ms() > until_here)                                                                          \
                fail_msg("not within the deadline: %s", #condition);                                                   \
            nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);                                                    \
        }                                                                                                              \
    } while (0)

/* Run the loop of this thread until a condition holds. */
struct runner {
    struct timer timer;
    struct loop *loop;
    bool (*done)(void);
    mono_ms until;
};

static inline void runner_look(struct timer *t)
{
    struct runner *r = container_of(t, struct runner, timer);
    if (r->done() || loop_now(r->loop) > r->until)
        loop_stop(r->loop);
    else
        loop_timer_after(r->loop, t, 1);
}

static inline void run_until(struct loop *l, bool (*done)(void))
{
    struct runner r = {.loop = l, .done = done, .until = clock_mono_ms() + DEADLINE_MS};
    timer_init(&r.timer, runner_look);
    loop_timer_after(l, &r.timer, 0);
    loop_run(l);
    timer_cancel(&r.timer);
    assert_true(done());
}

/* Call fn on a worker's thread and wait for it. */
struct errand {
    struct letter letter;
    void (*fn)(void *arg);
    void *arg;
    _Atomic bool done;
};

static inline void errand_run(struct letter *l)
{
    struct errand *e = container_of(l, struct errand, letter);
    e->fn(e->arg);
    atomic_store(&e->done, true);
}

static inline void on_worker(int index, void (*fn)(void *arg), void *arg)
{
    struct errand e = {.letter = LETTER_INIT(errand_run), .fn = fn, .arg = arg};
    worker_post(worker_by_index(index), &e.letter);
    WAIT_FOR(atomic_load(&e.done));
}

/* A socket whose blocking calls fail after the deadline instead of hanging. */
static inline void bound_waiting(int fd)
{
    struct timeval limit = {.tv_sec = DEADLINE_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static inline int connect_loopback(int port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bound_waiting(fd);
    if (connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Two ends of one TCP connection. */
static inline void tcp_pair(int fds[2])
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t size = sizeof sa;
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&sa, &size), 0);
    fds[0] = connect_loopback(ntohs(sa.sin_port));
    assert_true(fds[0] >= 0);
    fds[1] = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fds[1] >= 0);
    close(listening);
}

#endif
