#include <trunkline/io/connector.h>

#include <pthread.h>

#include <trunkline/base/assert.h>

static unsigned long worker_turn_of_test;
#include "fake_engine_priv.h"

static struct loop *control;
static _Atomic int connected, wrong;
static _Atomic int last_fd = -1;
static int failed, closed;
static char failures[32][16]; /* the service of each */
static enum connector_failure how_last;
static bool close_when_failed;
static char why_last[256];
static mono_ms failed_at, connected_at;

static void on_connected(struct connector *c, struct worker *w, int fd, const char *host, const char *service)
{
    if (worker_current() != w || connector_owner(c) != &control || !*host || !*service)
        atomic_fetch_add(&wrong, 1);
    connected_at = clock_mono_ms(); /* the test reads it after `connected` */
    atomic_store(&last_fd, fd);
    atomic_fetch_add(&connected, 1);
}

static void on_failed(struct connector *c, const char *host, const char *service, enum connector_failure how,
                      const char *why)
{
    assert_true(thread_is_control() && *host);
    assert_int_equal(connector_state(c), CONNECTOR_FAILED);
    if (failed < 32)
        snprintf(failures[failed], sizeof failures[0], "%s", service);
    failed++;
    how_last = how;
    failed_at = loop_now(control);
    snprintf(why_last, sizeof why_last, "%s", why);
    if (close_when_failed)
        connector_close(c);
}

static void on_closed(struct connector *c)
{
    closed++;
    connector_free(&c);
}

static const struct connector_ops ops = {on_connected, on_failed, on_closed};
static const struct worker_hooks no_hooks = {.started = NULL};

static int begin(void **state)
{
    (void)state;
    connected = wrong = failed = closed = 0;
    last_fd = -1;
    close_when_failed = false;
    return loop_new(false, &control) == OK && workers_start(2, &no_hooks) == OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    int bad = atomic_load(&wrong);
    workers_stop();
    loop_free(&control);
    rcu_barrier_all();
    return bad;
}

static bool is_connected(void)
{
    return atomic_load(&connected) >= 1;
}

static bool is_connected_again(void)
{
    return atomic_load(&connected) >= 2;
}

static bool has_failed(void)
{
    return failed >= 1;
}

static bool is_closed(void)
{
    return closed >= 1;
}

/* A listening socket of the test's own. */
static int listen_at_loopback(char port[8], int backlog)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t size = sizeof sa;
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    if (backlog >= 0)
        assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &size), 0);
    snprintf(port, 8, "%u", ntohs(sa.sin_port));
    return fd;
}

static struct connector *open_to(const char *host, const char *service)
{
    const struct connector_conf conf = {
        .url = {.host = host, .service = service},
        .attempt_ms = 60,
        .after_failure_ms = 80,
        .after_loss_ms = 40,
        .with_failover_ms = 5,
        .owner = &control,
    };
    struct connector *c = NULL;
    connector_open(&conf, &ops, &c);
    assert_int_equal(connector_state(c), CONNECTOR_INITIALIZING);
    return c;
}

static void close_and_wait(struct connector *c)
{
    connector_close(c);
    assert_int_equal(closed, 0); /* never from within */
    run_until(control, is_closed);
    assert_int_equal(closed, 1);
}

static void test_connector_connects_and_again_after_a_loss(void **state)
{
    (void)state;
    char port[8];
    int listening = listen_at_loopback(port, 5);
    struct connector *c = open_to("127.0.0.1", port);
    run_until(control, is_connected);
    close(atomic_load(&last_fd));
    connector_is_up(c);
    connector_lost(c, "it went away");
    run_until(control, is_connected_again);
    assert_int_equal(failed, 1);
    assert_int_equal(how_last, CONNECTOR_LOST);
    assert_string_equal(why_last, "it went away");
    assert_true(connected_at - failed_at >= 40);
    close(atomic_load(&last_fd));
    connector_lost(c, NULL);
    close_and_wait(c);
    close(listening);
}

static void test_connector_loss_before_it_was_up_is_a_failed_attempt(void **state)
{
    (void)state;
    char port[8];
    int listening = listen_at_loopback(port, 5);
    struct connector *c = open_to("127.0.0.1", port);
    run_until(control, is_connected);
    close(atomic_load(&last_fd));
    connector_lost(c, "refused to talk");
    run_until(control, is_connected_again);
    assert_int_equal(how_last, CONNECTOR_NOT_UP);
    assert_true(connected_at - failed_at >= 80);
    close(atomic_load(&last_fd));
    connector_lost(c, NULL);
    close_and_wait(c);
    close(listening);
}

static bool has_failed_three_times(void)
{
    return failed >= 3;
}

static void test_connector_refused_port_is_tried_again_and_again(void **state)
{
    (void)state;
    char port[8];
    int bound = listen_at_loopback(port, -1); /* bound, so nobody else listens there */
    struct connector *c = open_to("127.0.0.1", port);
    mono_ms start = clock_mono_ms();
    run_until(control, has_failed_three_times);
    assert_true(clock_mono_ms() - start >= 160);
    char wanted[64];
    snprintf(wanted, sizeof wanted, "127.0.0.1:%s: Connection refused", port);
    assert_string_equal(why_last, wanted);
    assert_int_equal(connector_state(c), CONNECTOR_CONNECTING);
    assert_string_equal(connector_state_text(connector_state(c)), "CONNECTING");
    close_and_wait(c);
    assert_int_equal(atomic_load(&connected), 0);
    close(bound);
}

static void test_connector_name_is_looked_up_and_all_its_addresses_tried(void **state)
{
    (void)state;
    char port[8];
    int listening = listen_at_loopback(port, 5); /* IPv4 only: ::1, if localhost has it, refuses */
    struct connector *c = open_to("localhost", port);
    run_until(control, is_connected);
    close(atomic_load(&last_fd));
    connector_lost(c, NULL);
    close_and_wait(c);
    close(listening);
}

static void test_connector_unknown_name_or_service_is_told_in_words(void **state)
{
    (void)state;
    struct connector *c = open_to("bad..name", "5672");
    run_until(control, has_failed);
    assert_non_null(strstr(why_last, "cannot resolve bad..name: "));
    close_and_wait(c);
    failed = closed = 0;
    c = open_to("127.0.0.1", "no-such-service");
    run_until(control, has_failed);
    assert_string_equal(why_last, "'no-such-service' is neither a port number nor a known service name");
    close_and_wait(c);
}

static bool has_failed_nine_times(void)
{
    return failed >= 9;
}

static void test_connector_each_url_is_tried_twice_in_turn(void **state)
{
    (void)state;
    char ports[3][8];
    int bound[3];
    for (int i = 0; i < 3; i++)
        bound[i] = listen_at_loopback(ports[i], -1);
    struct connector *c = open_to("127.0.0.1", ports[0]);
    const struct connector_url others[] = {{.host = "127.0.0.1", .service = ports[1]},
                                           {.host = "127.0.0.1", .service = ports[2]}};
    assert_int_equal(connector_set_failover(c, others, 2), OK);
    run_until(control, has_failed_nine_times);
    const int order[] = {0, 0, 1, 1, 2, 2, 0, 0, 1};
    for (int i = 0; i < 9; i++)
        assert_string_equal(failures[i], ports[order[i]]);
    close_and_wait(c);
    for (int i = 0; i < 3; i++)
        close(bound[i]);
}

static void test_connector_fails_over_and_stays_there_while_up(void **state)
{
    (void)state;
    char ports[2][8];
    int bound = listen_at_loopback(ports[0], -1), listening = listen_at_loopback(ports[1], 5);
    struct connector *c = open_to("127.0.0.1", ports[0]);
    const struct connector_url other = {.host = "127.0.0.1", .service = ports[1]};
    assert_int_equal(connector_set_failover(c, &other, 1), OK);
    run_until(control, is_connected);
    assert_int_equal(failed, 2);
    connector_is_up(c);
    struct connector_url now;
    connector_url_at(c, 0, &now);
    assert_string_equal(now.service, ports[1]);
    /* What its Open says: nothing. The one in use stays, whatever the list. */
    assert_int_equal(connector_set_failover(c, NULL, 0), OK);
    assert_int_equal(connector_url_count(c), 2);
    close(atomic_load(&last_fd));
    connector_lost(c, "x");
    run_until(control, is_connected_again);
    assert_int_equal(failed, 3);
    close(atomic_load(&last_fd));
    connector_lost(c, NULL);
    close_and_wait(c);
    close(bound);
    close(listening);
}

static void test_connector_failover_list_has_no_duplicates_and_a_limit(void **state)
{
    (void)state;
    struct connector *c = open_to("127.0.0.1", NULL);
    const struct connector_url list[] = {
        {.host = "127.0.0.1", .service = "5672"}, /* the configured one */
        {.host = "b", .service = NULL},
        {.host = "b", .service = "5672", .scheme = "amqps"},
        {.host = "c", .service = "amqps", .scheme = "amqps", .hostname = "see"},
    };
    assert_int_equal(connector_set_failover(c, list, 4), OK);
    char *text = connector_urls_text(c);
    assert_string_equal(text, "amqp://127.0.0.1:5672, amqp://b:5672, amqps://c:amqps");
    free(text);
    struct connector_url u;
    connector_url_at(c, 2, &u);
    assert_string_equal(u.hostname, "see");
    assert_int_equal(connector_set_failover(c, list, 2), OK); /* leftovers are gone */
    assert_int_equal(connector_url_count(c), 2);
    struct connector_url many[100];
    char services[100][8];
    for (int i = 0; i < 100; i++) {
        snprintf(services[i], sizeof services[i], "%d", 1000 + i);
        many[i] = (struct connector_url){.host = "d", .service = services[i]};
    }
    assert_int_equal(connector_set_failover(c, many, 100), ERR_LIMIT);
    assert_int_equal(connector_url_count(c), 32);
    close_and_wait(c);
}

/* A port at which connects get no answer: its backlog is full. */
struct black_hole {
    char port[8];
    int listening, fillers[64], count;
};

static void black_hole_open(struct black_hole *b)
{
    b->listening = listen_at_loopback(b->port, 0);
    for (b->count = 0; b->count < 64;) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct timeval limit = {.tv_usec = 100000};
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(b->port))};
        sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        b->fillers[b->count++] = fd;
        if (connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0)
            return; /* it hangs now */
    }
    fail_msg("64 connections fit into a backlog of 0");
}

static void black_hole_close(struct black_hole *b)
{
    while (b->count)
        close(b->fillers[--b->count]);
    close(b->listening);
}

static void test_connector_silent_peer_is_given_up_in_time(void **state)
{
    (void)state;
    struct black_hole hole;
    black_hole_open(&hole);
    struct connector *c = open_to("127.0.0.1", hole.port);
    mono_ms start = clock_mono_ms();
    run_until(control, has_failed);
    assert_true(clock_mono_ms() - start >= 60);
    assert_non_null(strstr(why_last, "no answer in time"));
    close_and_wait(c);
    black_hole_close(&hole);
}

static int looks;
static bool has_looked_often(void)
{
    return ++looks > 10;
}

static void test_connector_closed_while_connecting_does_not_wait(void **state)
{
    (void)state;
    struct black_hole hole;
    black_hole_open(&hole);
    const struct connector_conf conf = {.url = {.host = "127.0.0.1", .service = hole.port}, .owner = &control};
    for (int i = 0; i < 20; i++) {
        struct connector *c;
        connector_open(&conf, &ops, &c);
        looks = i % 4 == 0 ? 10 : 0; /* sometimes before the first turn's work is done */
        run_until(control, has_looked_often);
        closed = 0;
        mono_ms start = clock_mono_ms();
        close_and_wait(c);
        assert_true(clock_mono_ms() - start < 5000); /* the attempt would take 20 s */
    }
    assert_int_equal(failed, 0);
    assert_int_equal(worker_connections(worker_by_index(0)) + worker_connections(worker_by_index(1)), 0);
    black_hole_close(&hole);
}

static void test_connector_closed_while_looking_up_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        closed = 0;
        struct connector *c = open_to("localhost", "1");
        looks = 10 - i % 4;
        run_until(control, has_looked_often);
        close_and_wait(c);
    }
}

static void test_connector_closed_waits_for_its_connection(void **state)
{
    (void)state;
    char port[8];
    int listening = listen_at_loopback(port, 5);
    struct connector *c = open_to("127.0.0.1", port);
    run_until(control, is_connected);
    connector_close(c);
    looks = 0;
    run_until(control, has_looked_often);
    assert_int_equal(closed, 0);
    close(atomic_load(&last_fd));
    connector_lost(c, "closed by us");
    run_until(control, is_closed);
    assert_int_equal(failed, 0); /* that was wanted */
    close(listening);
}

static void test_connector_may_be_closed_by_the_failed_callback(void **state)
{
    (void)state;
    char port[8];
    int bound = listen_at_loopback(port, -1);
    close_when_failed = true;
    open_to("127.0.0.1", port);
    run_until(control, is_closed);
    assert_int_equal(failed, 1);
    close(bound);
}

/* The owner of the connection may lose it before control has heard that there is one. */
static void on_connected_and_lost(struct connector *c, struct worker *w, int fd, const char *host, const char *service)
{
    on_connected(c, w, fd, host, service);
    close(fd);
    connector_lost(c, "at once");
}

static void test_connector_lost_at_once_is_told_once_each_time(void **state)
{
    (void)state;
    const struct connector_ops hasty = {on_connected_and_lost, on_failed, on_closed};
    char port[8];
    int listening = listen_at_loopback(port, 100);
    const struct connector_conf conf = {
        .url = {.host = "127.0.0.1", .service = port}, .after_failure_ms = 1, .owner = &control};
    struct connector *c;
    connector_open(&conf, &hasty, &c);
    run_until(control, has_failed_nine_times);
    assert_in_range(atomic_load(&connected), failed, failed + 1);
    close_and_wait(c);
    close(listening);
}

static void test_connector_retry_now_does_not_wait(void **state)
{
    (void)state;
    char port[8];
    int bound = listen_at_loopback(port, -1);
    const struct connector_conf conf = {
        .url = {.host = "127.0.0.1", .service = port}, .after_failure_ms = 1000000, .owner = &control};
    struct connector *c;
    connector_open(&conf, &ops, &c);
    run_until(control, has_failed);
    assert_int_equal(listen(bound, 5), 0);
    connector_retry_now(c);
    run_until(control, is_connected);
    close(atomic_load(&last_fd));
    connector_lost(c, NULL);
    close_and_wait(c);
    close(bound);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(test_connector_connects_and_again_after_a_loss),
        T(test_connector_loss_before_it_was_up_is_a_failed_attempt),
        T(test_connector_refused_port_is_tried_again_and_again),
        T(test_connector_name_is_looked_up_and_all_its_addresses_tried),
        T(test_connector_unknown_name_or_service_is_told_in_words),
        T(test_connector_each_url_is_tried_twice_in_turn),
        T(test_connector_fails_over_and_stays_there_while_up),
        T(test_connector_failover_list_has_no_duplicates_and_a_limit),
        T(test_connector_silent_peer_is_given_up_in_time),
        T(test_connector_closed_while_connecting_does_not_wait),
        T(test_connector_closed_while_looking_up_a_name),
        T(test_connector_closed_waits_for_its_connection),
        T(test_connector_may_be_closed_by_the_failed_callback),
        T(test_connector_lost_at_once_is_told_once_each_time),
        T(test_connector_retry_now_does_not_wait),
    };
    thread_become_control();
    int bad = cmocka_run_group_tests(tests, NULL, NULL);
    thread_leave_control();
    return bad;
}
