#include <trunkline/io/listener.h>

#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>

#include <trunkline/base/log.h>

static unsigned long worker_turn_of_test;
#include "fake_engine_priv.h"

#define WORKERS 3

static struct loop *control;
static _Atomic int accepted, ended, closed_count, late;
static _Atomic int per_worker[WORKERS];

static void on_ended(struct io_conn *c, const char *why)
{
    (void)why;
    struct fake *f = container_of(c, struct fake, io);
    fake_fini(f);
    free(f);
    atomic_fetch_add(&ended, 1);
}

static void on_accepted(struct listener *l, struct worker *w, int fd, const struct sockaddr_storage *peer)
{
    ASSERT(worker_current() == w && listener_owner(l) == &control);
    ASSERT(peer->ss_family == AF_INET || peer->ss_family == AF_INET6);
    ASSERT(fcntl(fd, F_GETFL) & O_NONBLOCK);
    if (atomic_load(&closed_count))
        atomic_fetch_add(&late, 1);
    struct fake *f = xmalloc(sizeof *f);
    struct transport *t;
    fake_init(f);
    if (tcp_transport_new(fd, &t) != OK) { /* the peer is gone already */
        close(fd);
        free(f);
        atomic_fetch_add(&ended, 1);
    } else {
        ASSERT(io_conn_open(&f->io, w, t, &f->amqp, on_ended) == OK);
        atomic_fetch_add(&per_worker[worker_index(w)], 1);
    }
    atomic_fetch_add(&accepted, 1);
}

static void on_closed(struct listener *l)
{
    ASSERT(thread_is_control());
    atomic_fetch_add(&closed_count, 1);
    listener_free(&l);
}

static const struct listener_ops ops = {on_accepted, on_closed};
static const struct worker_hooks no_hooks = {.started = NULL};

static int begin(void **state)
{
    (void)state;
    accepted = ended = closed_count = late = 0;
    for (int i = 0; i < WORKERS; i++)
        per_worker[i] = 0;
    return loop_new(false, &control) == OK && workers_start(WORKERS, &no_hooks) == OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    workers_stop();
    loop_free(&control);
    rcu_barrier_all();
    return 0;
}

static struct listener *open_at(const char *host, const char *service)
{
    const struct listener_conf conf = {.host = host, .service = service, .owner = &control};
    struct listener *l = NULL;
    char why[200] = "";
    enum err e = listener_open(&conf, &ops, &l, why, sizeof why);
    if (e != OK)
        fail_msg("%s", why);
    return l;
}

static bool is_closed(void)
{
    return atomic_load(&closed_count) > 0;
}

static void close_and_wait(struct listener *l)
{
    listener_close(l);
    run_until(control, is_closed);
    assert_int_equal(atomic_load(&closed_count), 1);
}

static int connect_at(int family, int port)
{
    if (family == AF_INET)
        return connect_loopback(port);
    struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    sa.sin6_addr = in6addr_loopback;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 sa = {.sin6_family = AF_INET6};
    sa.sin6_addr = in6addr_loopback;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0;
    close(fd);
    return ok;
}

static void test_listener_port_0_is_a_real_port_on_all_addresses(void **state)
{
    (void)state;
    const char *const hosts[] = {"", NULL, "127.0.0.1"};
    for (int i = 0; i < 3; i++) {
        atomic_store(&closed_count, 0);
        atomic_store(&accepted, 0);
        struct listener *l = open_at(hosts[i], "0");
        assert_true(listener_port(l) > 0);
        int expected = 1, fd = connect_at(AF_INET, listener_port(l));
        assert_true(fd >= 0);
        close(fd);
        if (i < 2 && has_ipv6()) {
            fd = connect_at(AF_INET6, listener_port(l));
            assert_true(fd >= 0);
            close(fd);
            expected = 2;
        }
        WAIT_FOR(atomic_load(&accepted) == expected);
        assert_int_equal(listener_accepted(l), expected);
        close_and_wait(l);
    }
    WAIT_FOR(worker_connections(worker_by_index(0)) == 0);
}

static void test_listener_connections_are_spread_evenly(void **state)
{
    (void)state;
    struct listener *l = open_at("127.0.0.1", "0");
    int fds[60];
    for (int i = 0; i < 60; i++)
        assert_true((fds[i] = connect_loopback(listener_port(l))) >= 0);
    WAIT_FOR(atomic_load(&accepted) == 60);
    for (int i = 0; i < WORKERS; i++) /* two that choose at the same time may choose the same */
        assert_in_range(atomic_load(&per_worker[i]), 15, 25);
    for (int i = 0; i < 60; i++)
        close(fds[i]);
    WAIT_FOR(atomic_load(&ended) == 60);
    close_and_wait(l);
}

#define STORM 2000
static void test_listener_storm_of_connects_needs_no_syn_retries(void **state)
{
    (void)state;
    struct rlimit before, limit;
    getrlimit(RLIMIT_NOFILE, &before);
    limit = before;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 2 * STORM + 100)
        skip();
    struct listener *l = open_at("127.0.0.1", "0");
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)listener_port(l))};
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    static int fds[STORM];
    for (int i = 0; i < STORM; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_true(connect(fds[i], (struct sockaddr *)&sa, sizeof sa) == 0 || errno == EINPROGRESS);
    }
    WAIT_FOR(atomic_load(&accepted) == STORM);
    for (int i = 0; i < STORM; i++) {
        struct tcp_info info;
        socklen_t size = sizeof info;
        assert_int_equal(getsockopt(fds[i], IPPROTO_TCP, TCP_INFO, &info, &size), 0);
        assert_int_equal(info.tcpi_state, TCP_ESTABLISHED);
        assert_int_equal(info.tcpi_total_retrans, 0);
        close(fds[i]);
    }
    WAIT_FOR(atomic_load(&ended) == STORM);
    close_and_wait(l);
    setrlimit(RLIMIT_NOFILE, &before);
}

static void test_listener_port_in_use_is_told_in_words(void **state)
{
    (void)state;
    struct listener *l = open_at("127.0.0.1", "0"), *other = NULL;
    char port[8], why[200];
    snprintf(port, sizeof port, "%d", listener_port(l));
    const struct listener_conf conf = {.host = "127.0.0.1", .service = port};
    assert_int_equal(listener_open(&conf, &ops, &other, why, sizeof why), ERR_SYSTEM);
    char wanted[200];
    snprintf(wanted, sizeof wanted, "cannot listen on 127.0.0.1:%s: Address already in use", port);
    assert_string_equal(why, wanted);
    assert_null(other);
    close_and_wait(l);
}

static void test_listener_unknown_service_or_host_is_refused(void **state)
{
    (void)state;
    struct listener *l = NULL;
    char why[200];
    struct listener_conf conf = {.host = "127.0.0.1", .service = "no-such-service"};
    assert_int_equal(listener_open(&conf, &ops, &l, why, sizeof why), ERR_INVALID);
    assert_string_equal(why, "'no-such-service' is neither a port number nor a known service name");
    conf = (struct listener_conf){.host = "bad..name", .service = "0"};
    assert_int_equal(listener_open(&conf, &ops, &l, why, sizeof why), ERR_INVALID);
    assert_non_null(strstr(why, "cannot resolve bad..name"));
    conf = (struct listener_conf){.host = "192.0.2.1", .service = "0"}; /* RFC 5737: not ours */
    assert_int_equal(listener_open(&conf, &ops, &l, why, sizeof why), ERR_SYSTEM);
    assert_null(l);
}

static void test_listener_closed_refuses_at_once_and_keeps_connections(void **state)
{
    (void)state;
    struct listener *l = open_at("127.0.0.1", "0");
    int port = listener_port(l), fd = connect_loopback(port);
    WAIT_FOR(atomic_load(&accepted) == 1);
    listener_close(l);
    assert_int_equal(connect_loopback(port), -1);
    run_until(control, is_closed);
    uint8_t frame[HEAD];
    put_u32(frame, HEAD);
    frame[4] = 'E';
    assert_int_equal(send(fd, frame, HEAD, 0), HEAD);
    assert_int_equal(recv(fd, frame, HEAD, MSG_WAITALL), HEAD);
    close(fd);
    WAIT_FOR(atomic_load(&ended) == 1);
}

static _Atomic bool storm_over;
static void *connect_without_end(void *arg)
{
    int port = *(int *)arg;
    while (!atomic_load(&storm_over)) {
        int fd = connect_loopback(port);
        if (fd >= 0)
            close(fd);
    }
    return NULL;
}

static void test_listener_closed_in_a_storm_calls_nothing_afterwards(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        atomic_store(&closed_count, 0);
        atomic_store(&accepted, 0);
        atomic_store(&storm_over, false);
        struct listener *l = open_at("127.0.0.1", "0");
        int port = listener_port(l);
        pthread_t threads[2];
        for (int i = 0; i < 2; i++)
            pthread_create(&threads[i], NULL, connect_without_end, &port);
        WAIT_FOR(atomic_load(&accepted) > 5);
        close_and_wait(l);
        atomic_store(&storm_over, true);
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&late), 0);
}

static int64_t cpu_ms(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
}

static void test_listener_out_of_descriptors_waits_without_spinning(void **state)
{
    (void)state;
    struct listener *l = open_at("127.0.0.1", "0");
    uint64_t errors = log_count(LOG_SERVER, LOG_LEVEL_ERROR_LEVEL);
    struct rlimit before, none;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bound_waiting(fd);
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 0; /* those that are open stay, none can be added */
    setrlimit(RLIMIT_NOFILE, &none);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)listener_port(l))};
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0); /* the kernel does that much */
    WAIT_FOR(log_count(LOG_SERVER, LOG_LEVEL_ERROR_LEVEL) == errors + 1);
    int64_t cpu = cpu_ms();
    poll(NULL, 0, 700);
    assert_true(cpu_ms() - cpu < 200);
    assert_int_equal(atomic_load(&accepted), 0);
    assert_int_equal(log_count(LOG_SERVER, LOG_LEVEL_ERROR_LEVEL), errors + 1); /* once, however often it tried */
    setrlimit(RLIMIT_NOFILE, &before);
    WAIT_FOR(atomic_load(&accepted) == 1);
    close(fd);
    close_and_wait(l);
}

static void test_listener_closed_right_after_opening(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        atomic_store(&closed_count, 0);
        close_and_wait(open_at("127.0.0.1", "0"));
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(test_listener_port_0_is_a_real_port_on_all_addresses),
        T(test_listener_connections_are_spread_evenly),
        T(test_listener_storm_of_connects_needs_no_syn_retries),
        T(test_listener_port_in_use_is_told_in_words),
        T(test_listener_unknown_service_or_host_is_refused),
        T(test_listener_closed_refuses_at_once_and_keeps_connections),
        T(test_listener_closed_in_a_storm_calls_nothing_afterwards),
        T(test_listener_out_of_descriptors_waits_without_spinning),
        T(test_listener_closed_right_after_opening),
    };
    thread_become_control();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    thread_leave_control();
    return failed;
}
