#include <trunkline/io/conn.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>

/* Turns of the worker, counted by a hook: the fake engine counts what one turn gave it. */
static unsigned long worker_turn_of_test;
#include "fake_engine_priv.h"

static struct loop_hook turn_hook;
static bool on_turn(struct loop_hook *h)
{
    (void)h;
    worker_turn_of_test++;
    return false;
}

static void on_started(struct worker *w)
{
    turn_hook = (struct loop_hook)LOOP_HOOK_INIT(on_turn);
    loop_hook_add(worker_loop(w), &turn_hook, LOOP_GATHER);
}

static void on_stopped(struct worker *w)
{
    (void)w;
    loop_hook_remove(&turn_hook);
}

static const struct worker_hooks hooks = {.started = on_started, .stopped = on_stopped};

static int begin(void **state)
{
    (void)state;
    return workers_start(1, &hooks) == OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    workers_stop();
    rcu_barrier_all();
    return 0;
}

static void on_ended(struct io_conn *c, const char *why)
{
    struct fake *f = container_of(c, struct fake, io);
    ASSERT(atomic_load(&f->eofs) == 1 && f->closed && c->transport == NULL);
    snprintf(f->ended_why, sizeof f->ended_why, "%s", why);
    fake_fini(f);
    atomic_fetch_add(&f->ended, 1);
}

/* ---- opening on the worker ---- */

struct opening {
    struct fake *fake;
    int fd;
};

static void open_it(void *arg)
{
    struct opening *o = arg;
    struct transport *t;
    ASSERT(tcp_transport_new(o->fd, &t) == OK);
    ASSERT(io_conn_open(&o->fake->io, worker_current(), t, &o->fake->amqp, on_ended) == OK);
}

/* Result: the peer's socket. */
static int open_fake(struct fake *f)
{
    int fds[2];
    tcp_pair(fds);
    fake_init(f);
    struct opening o = {f, fds[1]};
    on_worker(0, open_it, &o);
    return fds[0];
}

static void nothing(void *arg)
{
    (void)arg;
}

static void wait_ended(struct fake *f)
{
    WAIT_FOR(atomic_load(&f->ended) == 1);
    on_worker(0, nothing, NULL); /* the turn in which it ended is over */
    assert_int_equal(atomic_load(&f->ended), 1);
    assert_int_equal(worker_connections(worker_by_index(0)), 0);
}

/* ---- the peer's side ---- */

static size_t make_frame(uint8_t *to, char command, size_t size)
{
    put_u32(to, (uint32_t)size);
    to[4] = (uint8_t)command;
    fill_pattern(to + HEAD, size - HEAD);
    return size;
}

static void send_all(int fd, const uint8_t *p, size_t n)
{
    while (n) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        assert_true(sent > 0);
        p += sent;
        n -= (size_t)sent;
    }
}

static void send_frame(int fd, char command, size_t size)
{
    uint8_t *frame = xmalloc(size);
    send_all(fd, frame, make_frame(frame, command, size));
    free(frame);
}

static void receive_all(int fd, uint8_t *p, size_t n)
{
    while (n) {
        ssize_t got = recv(fd, p, n, 0);
        assert_true(got > 0);
        p += got;
        n -= (size_t)got;
    }
}

/* Result: size of the frame, which had the right contents. */
static size_t receive_frame(int fd, char command)
{
    uint8_t head[HEAD];
    receive_all(fd, head, HEAD);
    assert_int_equal(head[4], command);
    size_t size = get_u32(head);
    uint8_t *payload = xmalloc(size);
    receive_all(fd, payload, size - HEAD);
    assert_true(has_pattern(payload, size - HEAD));
    free(payload);
    return size;
}

static void expect_eof(int fd)
{
    char c;
    assert_int_equal(recv(fd, &c, 1, 0), 0);
}

/* ---- tests ---- */

static void test_conn_frames_in_single_octets_are_put_together(void **state)
{
    (void)state;
    static struct fake f;
    int fd = open_fake(&f);
    uint8_t frame[64];
    for (size_t size = HEAD; size < HEAD + 20; size++) {
        make_frame(frame, 'E', size);
        for (size_t i = 0; i < size; i++)
            send_all(fd, frame + i, 1);
        assert_int_equal(receive_frame(fd, 'E'), size);
    }
    send_frame(fd, 'X', HEAD);
    expect_eof(fd);
    close(fd);
    wait_ended(&f);
    assert_string_equal(f.ended_why, "");
    assert_string_equal(f.eof_why, "");
}

/* Random frames in random pieces on several connections at once; replies are read by another thread of the peer. */
#define PEERS 4
/* The bound of one turn, what was left before it, and the last read that exceeds it. */
#define TURN_MAX (256 * 1024 + 2 * BUFFER_SIZE)
struct peer {
    struct fake fake;
    int fd, echoes, keeps;
    pthread_t sender;
    unsigned seed;
};

static size_t random_size(unsigned *seed)
{
    switch (rand_r(seed) % 20) {
    case 0:
        return HEAD + (size_t)rand_r(seed) % 300000; /* larger than any buffer of the worker */
    case 1:
    case 2:
        return BUFFER_SIZE - 10 + (size_t)rand_r(seed) % 20;
    case 3:
    case 4:
        return HEAD + (size_t)rand_r(seed) % 20000;
    default:
        return HEAD + (size_t)rand_r(seed) % 300;
    }
}

static void *send_random(void *arg)
{
    struct peer *p = arg;
    uint8_t *frame = xmalloc(FRAME_MAX);
    for (int i = 0; i < p->echoes + p->keeps; i++) {
        size_t size = make_frame(frame, i % 3 == 2 ? 'K' : 'E', random_size(&p->seed)), at = 0;
        while (at < size) {
            size_t most = rand_r(&p->seed) % 4 ? size - at : (size_t)rand_r(&p->seed) % (size - at) + 1;
            send_all(p->fd, frame + at, most);
            at += most;
        }
    }
    free(frame);
    return NULL;
}

static void test_conn_random_frames_survive_sharing_of_buffers(void **state)
{
    (void)state;
    static struct peer peers[PEERS];
    for (int i = 0; i < PEERS; i++) {
        peers[i].fd = open_fake(&peers[i].fake);
        peers[i].echoes = 400;
        peers[i].keeps = 200;
        peers[i].seed = (unsigned)i + 1;
        pthread_create(&peers[i].sender, NULL, send_random, &peers[i]);
    }
    for (int i = 0; i < PEERS; i++) {
        for (int n = 0; n < peers[i].echoes; n++)
            receive_frame(peers[i].fd, 'E');
        pthread_join(peers[i].sender, NULL);
        WAIT_FOR(atomic_load(&peers[i].fake.frames) == 600);
        send_frame(peers[i].fd, 'X', HEAD);
        expect_eof(peers[i].fd);
        close(peers[i].fd);
    }
    /* fake_fini() has looked whether the kept ones were left alone. */
    for (int i = 0; i < PEERS; i++)
        WAIT_FOR(atomic_load(&peers[i].fake.ended) == 1);
    wait_ended(&peers[0].fake);
}

static void look_at_rest(void *arg)
{
    struct fake *f = arg;
    ASSERT(f->io.rest == NULL || f->io.rest->size >= f->io.rest_len);
    f->in_turn = f->io.rest ? f->io.rest->size : 0;
}

static void test_conn_keeps_only_what_is_left_of_a_frame(void **state)
{
    (void)state;
    static struct fake f;
    int fd = open_fake(&f);
    uint8_t frame[1000];
    make_frame(frame, 'E', sizeof frame);
    send_all(fd, frame, 300);
    WAIT_FOR((on_worker(0, look_at_rest, &f), f.in_turn == 300)); /* not a buffer of 64 KiB */
    send_all(fd, frame + 300, 700);
    assert_int_equal(receive_frame(fd, 'E'), sizeof frame);
    on_worker(0, look_at_rest, &f);
    assert_int_equal(f.in_turn, 0);
    close(fd);
    wait_ended(&f);
    assert_string_equal(f.ended_why, "the peer closed the connection without an AMQP close");
}

struct remainder {
    int fd;
    const uint8_t *octets;
    size_t len;
};

static void *send_remainder(void *arg)
{
    const struct remainder *r = arg;
    send_all(r->fd, r->octets, r->len);
    return NULL;
}

static void test_conn_peer_that_does_not_read_stops_being_read(void **state)
{
    (void)state;
    static struct fake f;
    static uint8_t frame[60000];
    int fd = open_fake(&f);
    size_t size = make_frame(frame, 'E', sizeof frame), frames = 0, at = 0;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    /* Send until nothing has gone for a while although everything that came was handled: then it has been stopped. */
    for (int stuck = 0; stuck < 200;) {
        ssize_t n = send(fd, frame + at, size - at, MSG_NOSIGNAL);
        if (n > 0) {
            stuck = 0;
            at = (at + (size_t)n) % size;
            frames += at == 0;
        } else {
            stuck++;
            poll(NULL, 0, 1);
        }
        assert_true(atomic_load(&f.pending_seen) < IO_CONN_OUTPUT_MAX + 1024 * 1024);
    }
    assert_true(atomic_load(&f.pending_seen) > IO_CONN_OUTPUT_MAX);
    fcntl(fd, F_SETFL, 0);
    /* Reading gets everything going again; nothing was lost. */
    struct remainder r = {fd, frame + at, at ? size - at : 0};
    pthread_t sender;
    pthread_create(&sender, NULL, send_remainder, &r);
    frames += at > 0;
    for (size_t i = 0; i < frames; i++)
        assert_int_equal(receive_frame(fd, 'E'), size);
    pthread_join(sender, NULL);
    close(fd);
    wait_ended(&f);
}

static void close_in_order(void *arg)
{
    struct fake *f = arg;
    fake_send_large(f, 3000000);
    fake_close(f);
    io_conn_close(&f->io, 20000);
    io_conn_close(&f->io, 1); /* harmless: the first limit stays */
}

static void test_conn_close_writes_what_is_pending(void **state)
{
    (void)state;
    static struct fake f;
    int fd = open_fake(&f);
    on_worker(0, close_in_order, &f);
    assert_int_equal(receive_frame(fd, 'M'), 3000000);
    expect_eof(fd);
    assert_int_equal(atomic_load(&f.ended), 0); /* it waits for our end of the stream */
    close(fd);
    wait_ended(&f);
    assert_string_equal(f.ended_why, "");
}

static void close_with_limit(void *arg)
{
    struct fake *f = arg;
    fake_send_large(f, 100000000);
    fake_close(f);
    io_conn_close(&f->io, 50);
}

static void test_conn_close_gives_up_on_a_peer_that_does_not_read(void **state)
{
    (void)state;
    static struct fake f;
    int fd = open_fake(&f);
    mono_ms start = clock_mono_ms();
    on_worker(0, close_with_limit, &f);
    wait_ended(&f);
    assert_true(clock_mono_ms() - start >= 50);
    assert_string_equal(f.ended_why, "the connection did not close in time");
    close(fd);
}

static void test_conn_engine_that_gives_up_on_a_peer_that_does_not_read_ends_it(void **state)
{
    (void)state;
    static struct fake f;
    int fd = open_fake(&f);
    /* More than sockets take, and less than what stops input. */
    uint8_t frames[2 * HEAD + 4];
    put_u32(frames, HEAD + 4);
    frames[4] = 'M';
    put_u32(frames + HEAD, IO_CONN_OUTPUT_MAX - 1);
    make_frame(frames + HEAD + 4, 'G', HEAD);
    send_all(fd, frames, sizeof frames);
    wait_ended(&f);
    assert_true(atomic_load(&f.pending_seen) > 0);
    assert_string_equal(f.ended_why, "the peer did not read what it was sent");
    close(fd);
}

static void test_conn_shut_ends_although_the_peer_keeps_its_stream_open(void **state)
{
    (void)state;
    static struct fake f;
    int fd = open_fake(&f);
    uint8_t junk[1000] = {0};
    send_frame(fd, 'X', HEAD);
    send_all(fd, junk, sizeof junk); /* no frame at all: nobody may look at it */
    expect_eof(fd);
    send_all(fd, junk, sizeof junk);
    wait_ended(&f);
    assert_string_equal(f.ended_why, "");
    close(fd);
}

static void test_conn_reset_ends_it_with_the_reason(void **state)
{
    (void)state;
    static struct fake f;
    int fd = open_fake(&f);
    uint8_t frame[100];
    make_frame(frame, 'E', sizeof frame);
    send_all(fd, frame, 50);
    WAIT_FOR((on_worker(0, look_at_rest, &f), f.in_turn == 50));
    struct linger reset = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    wait_ended(&f);
    assert_string_equal(f.ended_why, "Connection reset by peer");
    assert_string_equal(f.eof_why, "Connection reset by peer");
    assert_int_equal(atomic_load(&f.frames), 0);
}

static void test_conn_abort_from_within_the_engine_ends_it_once(void **state)
{
    (void)state;
    static struct fake f;
    int fd = open_fake(&f);
    uint8_t frames[HEAD * 2];
    make_frame(frames, 'A', HEAD);
    make_frame(frames + HEAD, 'A', HEAD);
    send_all(fd, frames, sizeof frames);
    wait_ended(&f);
    assert_string_equal(f.ended_why, "asked to");
    close(fd);
}

static void set_deadline(void *arg)
{
    struct fake *f = arg;
    f->deadline = loop_now(worker_loop(worker_current())) + 10;
    io_conn_dirty(&f->io);
}

static void test_conn_deadlines_tick_the_engine(void **state)
{
    (void)state;
    static struct fake f;
    int fd = open_fake(&f);
    mono_ms start = clock_mono_ms();
    on_worker(0, set_deadline, &f);
    WAIT_FOR(atomic_load(&f.ticks) >= 5);
    assert_true(clock_mono_ms() - start >= 45);
    close(fd);
    wait_ended(&f);
}

static void *flood(void *arg)
{
    int fd = *(int *)arg;
    uint8_t *frame = xmalloc(60000);
    make_frame(frame, 'K', 60000);
    for (int i = 0; i < 300; i++)
        send_all(fd, frame, 60000);
    free(frame);
    return NULL;
}

static void test_conn_one_turn_takes_a_bounded_share(void **state)
{
    (void)state;
    static struct fake f;
    int fd = open_fake(&f);
    pthread_t sender;
    pthread_create(&sender, NULL, flood, &fd);
    pthread_join(sender, NULL);
    WAIT_FOR(atomic_load(&f.kept_count) == 300);
    assert_true(atomic_load(&f.most_in_turn) <= TURN_MAX);
    close(fd);
    wait_ended(&f);
}

/* ---- a transport without a descriptor, which holds input that polling would not tell of ---- */

struct memory_transport {
    struct transport base;
    uint8_t *input;
    size_t size, at;
    size_t written;
    bool is_shut, is_freed;
};
static struct memory_transport memory;

static enum err memory_receive(struct transport *t, uint8_t *to, size_t room, size_t *got)
{
    struct memory_transport *m = container_of(t, struct memory_transport, base);
    size_t n = m->size - m->at < room ? m->size - m->at : room;
    if (n == 0)
        return m->is_shut ? ERR_CLOSED : ERR_AGAIN;
    memcpy(to, m->input + m->at, n);
    m->at += n;
    *got = n;
    return OK;
}

static enum err memory_send(struct transport *t, const struct iovec *pieces, int count, size_t *sent)
{
    struct memory_transport *m = container_of(t, struct memory_transport, base);
    for (int i = 0; i < count; i++)
        *sent += pieces[i].iov_len;
    m->written += *sent;
    return OK;
}

static enum err memory_shut(struct transport *t)
{
    container_of(t, struct memory_transport, base)->is_shut = true;
    return OK;
}

static uint32_t memory_wants(const struct transport *t, bool to_read, bool to_write)
{
    (void)t;
    return (to_read ? EPOLLIN : 0u) | (to_write ? EPOLLOUT : 0u);
}

static bool memory_holds_input(const struct transport *t)
{
    const struct memory_transport *m = container_of(t, struct memory_transport, base);
    return m->at < m->size;
}

static const char *memory_why(const struct transport *t)
{
    (void)t;
    return "";
}

static void memory_free(struct transport *t)
{
    container_of(t, struct memory_transport, base)->is_freed = true;
}

static const struct transport_ops memory_ops = {
    .scheme = "memory",
    .receive = memory_receive,
    .send = memory_send,
    .shut = memory_shut,
    .wants = memory_wants,
    .holds_input = memory_holds_input,
    .why = memory_why,
    .free = memory_free,
};

static void open_memory(void *arg)
{
    struct fake *f = arg;
    ASSERT(io_conn_open(&f->io, worker_current(), &memory.base, &f->amqp, on_ended) == OK);
    memory.base.ready(&memory.base, EPOLLIN); /* once; the rest must be asked for */
}

static void memory_ready(void *arg)
{
    (void)arg;
    memory.base.ready(&memory.base, EPOLLIN);
}

static void test_conn_input_held_by_the_transport_is_taken_in_later_turns(void **state)
{
    (void)state;
    const size_t frame = 50000, count = 100;
    static struct fake f;
    fake_init(&f);
    memory = (struct memory_transport){.base = {.ops = &memory_ops, .fd = -1}, .size = frame * count + HEAD};
    memory.input = xmalloc(memory.size);
    for (size_t i = 0; i < count; i++)
        make_frame(memory.input + i * frame, 'E', frame);
    make_frame(memory.input + count * frame, 'X', HEAD);
    on_worker(0, open_memory, &f);
    WAIT_FOR(atomic_load(&f.frames) == (int)count + 1);
    assert_true(atomic_load(&f.most_in_turn) <= TURN_MAX);
    on_worker(0, memory_ready, &f); /* the end of the stream */
    wait_ended(&f);
    assert_int_equal(memory.written, frame * count);
    assert_true(memory.is_freed);
    free(memory.input);
}

static void test_conn_left_when_workers_stop_is_ended(void **state)
{
    (void)state;
    static struct fake f[3];
    int fds[3];
    assert_int_equal(workers_start(1, &hooks), OK);
    for (int i = 0; i < 3; i++)
        fds[i] = open_fake(&f[i]);
    workers_stop();
    rcu_barrier_all();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(atomic_load(&f[i].ended), 1);
        assert_string_equal(f[i].ended_why, "the process is stopping");
        expect_eof(fds[i]);
        close(fds[i]);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(test_conn_frames_in_single_octets_are_put_together),
        T(test_conn_random_frames_survive_sharing_of_buffers),
        T(test_conn_keeps_only_what_is_left_of_a_frame),
        T(test_conn_peer_that_does_not_read_stops_being_read),
        T(test_conn_close_writes_what_is_pending),
        T(test_conn_close_gives_up_on_a_peer_that_does_not_read),
        T(test_conn_engine_that_gives_up_on_a_peer_that_does_not_read_ends_it),
        T(test_conn_shut_ends_although_the_peer_keeps_its_stream_open),
        T(test_conn_reset_ends_it_with_the_reason),
        T(test_conn_abort_from_within_the_engine_ends_it_once),
        T(test_conn_deadlines_tick_the_engine),
        T(test_conn_one_turn_takes_a_bounded_share),
        T(test_conn_input_held_by_the_transport_is_taken_in_later_turns),
        cmocka_unit_test(test_conn_left_when_workers_stop_is_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
