/* amqload.c -- a lean AMQP 1.0 load generator: what it costs per message is far below what the process under test
 * costs, so that process is what a run measures.
 *
 * It speaks the wire protocol directly (AMQP 1.0 parts 1 and 2): no client library, one thread
 * per connection, whole batches of frames per system call. It is a measuring instrument, not a client:
 * it expects a well-behaved peer and ends with a message on anything else.
 *
 *   amqload -p PORT -A ADDRESS [-s SENDERS] [-r RECEIVERS] [-n MESSAGES per sender] [-b BODY bytes]
 *           [-u (unsettled)] [-c receiver CREDIT] [-P PID under test] [-R rate msgs/s per sender]
 *           [-q RECEIVER_PORT] [-k ADDRESSES, spreads links over ADDRESS/0..k-1] [-m (multicast: each
 *           receiver gets every message)] [-S (sink: play the server on RECEIVER_PORT, as many connections as senders)]
 *           [-d (durable messages)] [-D drop connection without close] [-T seconds to give up]
 *
 * Prints one JSON line: messages sent and received, seconds, msgs_per_s (received), cpu_us_per_msg of PID
 * (user and system, all threads), rss_kb of PID, and latency percentiles in microseconds
 * (send call to receive; only with -R are they free of queueing in the generator itself).
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define PROGRAM "amqload"
#include "amqwire.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FRAME = 65536, IN_SIZE = 1 << 20, OUT_SIZE = 1 << 18 };

static const char *g_host = "127.0.0.1", *g_address = "bench";
static int g_port, g_recv_port, g_senders = 1, g_receivers = 1, g_addresses = 0, g_timeout = 120;
static uint64_t g_count = 1000000;
static uint32_t g_body = 100, g_credit = 1000;
static bool g_unsettled, g_multicast, g_sink, g_drop, g_durable;
static double g_rate;
static int g_pid;

static _Atomic uint64_t g_received, g_sent, g_accepted, g_released, g_rejected, g_modified;
static _Atomic int g_ready;
static _Atomic bool g_go, g_done;
#define BUCKETS (64 * 32)
static _Atomic uint32_t g_hist[BUCKETS];

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- a connection ---- */
struct load_conn {
    int fd, index;
    bool sender;
    char address[128];
    uint8_t *in;
    size_t have, used;
    uint8_t *out, *message;
    struct enc e;
    uint32_t peer_max_frame;
    uint32_t credit, limit;           /* sender: how many it may still send; absolute limit */
    uint32_t delivery_count, next_id; /* of this side's link */
    uint32_t granted, next_incoming;
    uint64_t sent, settled;
    bool attached, closed, remote_open, remote_begin;
    int64_t first_unsettled, last_unsettled;
};

static void flush(struct load_conn *c)
{
    uint8_t *p = c->out;
    while (p < c->e.at) {
        ssize_t n = send(c->fd, p, (size_t)(c->e.at - p), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            c->closed = true;
            break;
        }
        p += n;
    }
    c->e.at = c->out;
}

static void put_open(struct load_conn *c)
{
    char id[64];
    snprintf(id, sizeof id, "amqload-%d-%c%d", (int)getpid(), c->sender ? 's' : 'r', c->index);
    uint8_t *f = frame_begin(&c->e, 0), *l = list_begin(&c->e, OPEN, 4);
    estr(&c->e, id);
    enull(&c->e);
    euint(&c->e, MAX_FRAME);
    euint(&c->e, 1);
    list_end(&c->e, l);
    frame_end(&c->e, f);
}
static void put_begin(struct load_conn *c, int remote)
{
    uint8_t *f = frame_begin(&c->e, 0), *l = list_begin(&c->e, BEGIN, 4);
    if (remote < 0)
        enull(&c->e);
    else {
        e8(&c->e, 0x60);
        e8(&c->e, 0);
        e8(&c->e, 0);
    }
    euint(&c->e, 0);
    euint(&c->e, 0x7fffffff);
    euint(&c->e, 0x7fffffff);
    list_end(&c->e, l);
    frame_end(&c->e, f);
}
static void put_attach(struct load_conn *c, const char *name)
{
    uint8_t *f = frame_begin(&c->e, 0), *l = list_begin(&c->e, ATTACH, c->sender ? 10 : 7);
    estr(&c->e, name);
    euint(&c->e, 0);
    ebool(&c->e, !c->sender);
    eubyte(&c->e, g_unsettled ? 0 : 1);
    eubyte(&c->e, 0);
    uint8_t *t = list_begin(&c->e, 0x28, 1);
    estr(&c->e, c->address);
    list_end(&c->e, t);
    t = list_begin(&c->e, 0x29, 1);
    estr(&c->e, c->address);
    list_end(&c->e, t);
    if (c->sender) {
        enull(&c->e);
        enull(&c->e);
        euint(&c->e, 0);
    }
    list_end(&c->e, l);
    frame_end(&c->e, f);
}
static void put_flow(struct load_conn *c, uint32_t credit)
{
    uint8_t *f = frame_begin(&c->e, 0), *l = list_begin(&c->e, FLOW, 7);
    euint(&c->e, c->next_incoming);
    euint(&c->e, 0x7fffffff);
    euint(&c->e, 0);
    euint(&c->e, 0x7fffffff);
    euint(&c->e, 0);
    euint(&c->e, c->delivery_count);
    euint(&c->e, credit);
    list_end(&c->e, l);
    frame_end(&c->e, f);
    c->granted = credit;
}
static void put_disposition(struct load_conn *c, uint32_t first, uint32_t last)
{
    uint8_t *f = frame_begin(&c->e, 0), *l = list_begin(&c->e, DISPOSITION, 5);
    ebool(&c->e, true);
    euint(&c->e, first);
    euint(&c->e, last);
    ebool(&c->e, true);
    e8(&c->e, 0);
    e8(&c->e, 0x53);
    e8(&c->e, 0x24);
    e8(&c->e, 0x45);
    list_end(&c->e, l);
    frame_end(&c->e, f);
}
static void put_transfer(struct load_conn *c)
{
    struct enc m = {.at = c->message};
    e8(&m, 0);
    e8(&m, 0x53);
    e8(&m, 0x70); /* header: defaults, or durable */
    if (g_durable) {
        e8(&m, 0xc0);
        e8(&m, 2);
        e8(&m, 1);
        e8(&m, 0x41);
    } else
        e8(&m, 0x45);
    uint8_t *l = list_begin(&m, 0x73, 3); /* properties */
    e8(&m, 0x80);
    e32(&m, 0);
    e32(&m, c->next_id);
    enull(&m);
    estr(&m, c->address);
    list_end(&m, l);
    e8(&m, 0);
    e8(&m, 0x53);
    e8(&m, 0x75);
    e8(&m, 0xb0);
    e32(&m, g_body);
    uint64_t t = now_ns();
    memcpy(m.at, &t, 8);
    memset(m.at + 8, 'x', g_body - 8);
    m.at += g_body;
    /* as many frames as the peer's maximum asks for */
    size_t left = (size_t)(m.at - c->message), room = c->peer_max_frame - 64;
    uint8_t *from = c->message;
    for (bool first = true; left; first = false) {
        size_t k = left < room ? left : room;
        uint8_t *f = frame_begin(&c->e, 0);
        l = list_begin(&c->e, TRANSFER, 6);
        euint(&c->e, 0);
        if (first) {
            euint(&c->e, c->next_id);
            e8(&c->e, 0xa0);
            e8(&c->e, 4);
            e32(&c->e, c->next_id);
            euint(&c->e, 0);
        } else {
            enull(&c->e);
            enull(&c->e);
            enull(&c->e);
        }
        ebool(&c->e, !g_unsettled);
        ebool(&c->e, k < left);
        list_end(&c->e, l);
        memcpy(c->e.at, from, k);
        c->e.at += k;
        from += k;
        left -= k;
        frame_end(&c->e, f);
    }
    c->next_id++;
    c->delivery_count++;
    c->sent++;
}

static void record_latency(uint64_t ns)
{
    uint64_t us = ns / 1000;
    int b = us < 32 ? (int)us : 0;
    if (us >= 32) {
        int top = 63 - __builtin_clzll(us);
        b = (top - 4) * 32 + (int)((us >> (top - 5)) & 31);
    }
    if (b >= BUCKETS)
        b = BUCKETS - 1;
    atomic_fetch_add_explicit(&g_hist[b], 1, memory_order_relaxed);
}
static double bucket_us(int b)
{
    if (b < 32)
        return b;
    int top = b / 32 + 4;
    return (double)((1ull << top) + ((uint64_t)(b % 32) << (top - 5)));
}

static void on_frame(struct load_conn *c, const uint8_t *f, size_t size)
{
    const uint8_t *p = f + f[4] * 4, *end = f + size;
    if (p >= end)
        return; /* heartbeat */
    size_t dsize = value_size(p + 1);
    uint8_t code = p[1] == 0x53 ? p[2] : p[1 + dsize - 1];
    const uint8_t *list = p + 1 + dsize;
    const uint8_t *body = list + value_size(list);
    uint32_t n;
    const uint8_t *v = list_fields(list, &n);
    switch (code) {
    case OPEN:
        c->remote_open = true;
        for (uint32_t i = 0; i < n; i++, v += value_size(v))
            if (i == 2 && v[0] != 0x40 && as_uint(v) >= 512 && as_uint(v) < MAX_FRAME)
                c->peer_max_frame = as_uint(v);
        break;
    case BEGIN:
        c->remote_begin = true;
        break;
    case ATTACH:
        c->attached = true;
        break;
    case FLOW: {
        uint32_t dc = 0, credit = 0;
        bool has = false;
        for (uint32_t i = 0; i < n; i++, v += value_size(v)) {
            if (i == 4 && v[0] != 0x40)
                has = true;
            if (i == 5)
                dc = as_uint(v);
            if (i == 6)
                credit = as_uint(v);
        }
        if (has && c->sender)
            c->limit = dc + credit;
        break;
    }
    case TRANSFER: {
        uint32_t id = 0;
        bool settled = false, more = false, has_id = false;
        for (uint32_t i = 0; i < n; i++, v += value_size(v)) {
            if (i == 1 && v[0] != 0x40) {
                id = as_uint(v);
                has_id = true;
            }
            if (i == 4)
                settled = as_bool(v, false);
            if (i == 5)
                more = as_bool(v, false);
        }
        c->next_incoming++;
        if (has_id && !settled) {
            if (c->first_unsettled < 0)
                c->first_unsettled = id;
            c->last_unsettled = id;
        }
        if (more)
            break;
        c->delivery_count++;
        c->granted--;
        atomic_fetch_add_explicit(&g_received, 1, memory_order_relaxed);
        /* the body's first 8 bytes are the send time when the data section is in this frame */
        while (body + 8 < end) {
            if (body[0] == 0 && body[1] == 0x53 && body[2] == 0x75) {
                const uint8_t *d = body + 3;
                uint64_t t;
                d += d[0] == 0xa0 ? 2 : 5;
                if (d + 8 <= end) {
                    memcpy(&t, d, 8);
                    record_latency(now_ns() - t);
                }
                break;
            }
            body += value_size(body);
        }
        break;
    }
    case DISPOSITION: {
        uint32_t first = 0, last = 0;
        bool settled = false;
        uint8_t state = 0;
        for (uint32_t i = 0; i < n; i++, v += value_size(v)) {
            if (i == 1)
                last = first = as_uint(v);
            if (i == 2 && v[0] != 0x40)
                last = as_uint(v);
            if (i == 3)
                settled = as_bool(v, false);
            if (i == 4 && v[0] == 0)
                state = v[2];
        }
        if (c->sender && settled) {
            uint32_t k = last - first + 1;
            c->settled += k;
            atomic_fetch_add(state == 0x26   ? &g_released
                             : state == 0x25 ? &g_rejected
                             : state == 0x27 ? &g_modified
                                             : &g_accepted,
                             k);
        }
        break;
    }
    case DETACH:
    case END:
    case CLOSE: {
        char text[512];
        size_t m = 0;
        for (const uint8_t *q = f + 8; q < end && m < sizeof text - 1; q++)
            if (*q >= 32 && *q < 127)
                text[m++] = (char)*q;
        text[m] = 0;
        if (!atomic_load(&g_done))
            die("peer ended the %s link (0x%02x): %s", c->sender ? "sender" : "receiver", code, text);
        c->closed = true;
        break;
    }
    }
}

/* reads what is there (waits up to timeout_ms for something) and handles whole frames */
static bool pump(struct load_conn *c, int timeout_ms)
{
    struct pollfd pf = {.fd = c->fd, .events = POLLIN};
    int r = poll(&pf, 1, timeout_ms);
    if (r <= 0)
        return false;
    if (c->used) {
        memmove(c->in, c->in + c->used, c->have - c->used);
        c->have -= c->used;
        c->used = 0;
    }
    ssize_t n = recv(c->fd, c->in + c->have, IN_SIZE - c->have, 0);
    if (n <= 0) {
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return false;
        if (!atomic_load(&g_done))
            die("peer closed the %s connection: %s", c->sender ? "sender" : "receiver",
                n ? strerror(errno) : "end of stream");
        c->closed = true;
        return false;
    }
    c->have += (size_t)n;
    c->first_unsettled = -1;
    while (c->have - c->used >= 8) {
        const uint8_t *f = c->in + c->used;
        if (!memcmp(f, "AMQP", 4)) {
            if (f[4] != 0)
                die("peer asks for protocol %d", f[4]);
            c->used += 8;
            continue;
        }
        size_t size = rd32(f);
        if (c->have - c->used < size)
            break;
        on_frame(c, f, size);
        c->used += size;
    }
    return true;
}

static void connect_to(struct load_conn *c, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, g_host, &a.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (struct sockaddr *)&a, sizeof a))
        die("connect to %s:%d: %s", g_host, port, strerror(errno));
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}
static void conn_init(struct load_conn *c, int index, bool sender)
{
    memset(c, 0, sizeof *c);
    c->index = index;
    c->sender = sender;
    c->first_unsettled = -1;
    c->in = malloc(IN_SIZE);
    c->out = malloc(OUT_SIZE + 2 * MAX_FRAME + 2 * (size_t)g_body);
    c->e.at = c->out;
    c->message = malloc(1024 + (size_t)g_body);
    c->peer_max_frame = MAX_FRAME;
    if (g_addresses)
        snprintf(c->address, sizeof c->address, "%s/%d", g_address, index % g_addresses);
    else
        snprintf(c->address, sizeof c->address, "%s", g_address);
}
static void handshake(struct load_conn *c)
{
    char name[64];
    snprintf(name, sizeof name, "l-%d-%c-%d", (int)getpid(), c->sender ? 's' : 'r', c->index);
    memcpy(c->e.at, "AMQP\0\1\0\0", 8);
    c->e.at += 8;
    put_open(c);
    put_begin(c, -1);
    put_attach(c, name);
    if (!c->sender)
        put_flow(c, g_credit);
    flush(c);
    uint64_t give_up = now_ns() + 10000000000ull;
    while (!c->attached) {
        if (now_ns() > give_up)
            die("no attach in 10 s");
        pump(c, 100);
    }
}
static void conn_fini(struct load_conn *c)
{
    close(c->fd);
    free(c->in);
    free(c->out);
    free(c->message);
}
static void say_close(struct load_conn *c)
{
    if (g_drop) {
        conn_fini(c);
        return;
    }
    uint8_t *f = frame_begin(&c->e, 0);
    list_end(&c->e, list_begin(&c->e, CLOSE, 0));
    frame_end(&c->e, f);
    flush(c);
    for (int i = 0; i < 20 && !c->closed; i++)
        pump(c, 50);
    conn_fini(c);
}

/* How late a connection without traffic sees that the run is over. Scenarios that time whole runs have no finer clock. */
enum { END_NOTICE_MS = 5 };

static void *sender_main(void *arg)
{
    struct load_conn c;
    conn_init(&c, (int)(intptr_t)arg, true);
    connect_to(&c, g_port);
    handshake(&c);
    while (c.limit == 0 && !c.closed)
        pump(&c, 100);
    atomic_fetch_add(&g_ready, 1);
    while (!atomic_load(&g_go))
        usleep(200);
    uint64_t start = now_ns();
    while (c.sent < g_count && !c.closed && !atomic_load(&g_done)) {
        uint32_t can = c.limit - c.delivery_count;
        if ((int32_t)can <= 0) {
            pump(&c, 1000);
            continue;
        }
        if (g_rate > 0) {
            uint64_t due = (uint64_t)((double)(now_ns() - start) * g_rate / 1e9);
            if (due <= c.sent) {
                pump(&c, 0);
                if (due <= c.sent)
                    usleep(50);
                continue;
            }
            if (can > due - c.sent)
                can = (uint32_t)(due - c.sent);
        }
        if (can > g_count - c.sent)
            can = (uint32_t)(g_count - c.sent);
        uint32_t k = 0;
        while (k < can) {
            put_transfer(&c);
            k++;
            if ((size_t)(c.e.at - c.out) >= 65536)
                break;
        }
        atomic_fetch_add_explicit(&g_sent, k, memory_order_relaxed);
        flush(&c);
        pump(&c, 0);
    }
    while (!atomic_load(&g_done) && !c.closed)
        pump(&c, END_NOTICE_MS);
    say_close(&c);
    return NULL;
}

static void receive_until_done(struct load_conn *c)
{
    while (!atomic_load(&g_done) && !c->closed) {
        pump(c, END_NOTICE_MS);
        if (c->first_unsettled >= 0) {
            put_disposition(c, (uint32_t)c->first_unsettled, (uint32_t)c->last_unsettled);
            c->first_unsettled = -1;
        }
        if (c->granted <= g_credit / 2)
            put_flow(c, g_credit);
        if (c->e.at != c->out)
            flush(c);
    }
}
static void *receiver_main(void *arg)
{
    struct load_conn c;
    conn_init(&c, (int)(intptr_t)arg, false);
    connect_to(&c, g_recv_port);
    handshake(&c);
    atomic_fetch_add(&g_ready, 1);
    receive_until_done(&c);
    say_close(&c);
    return NULL;
}
static int g_listen_fd;
static void *sink_main(void *arg)
{ /* plays the server to one sender */
    struct load_conn c;
    conn_init(&c, (int)(intptr_t)arg, false);
    c.fd = accept(g_listen_fd, NULL, NULL);
    memcpy(c.e.at, "AMQP\0\1\0\0", 8);
    c.e.at += 8;
    put_open(&c);
    put_begin(&c, 0);
    put_attach(&c, "sink");
    put_flow(&c, g_credit);
    flush(&c);
    receive_until_done(&c);
    conn_fini(&c);
    return NULL;
}

/* CPU time of all threads of a process, exact: the ticks of /proc/PID/stat are ten milliseconds each. */
static double cpu_seconds(int pid)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
        die("no process %d to measure", pid);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
static long rss_kb(int pid)
{
    char path[64], line[256];
    long kb = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "VmRSS: %ld", &kb) == 1)
            break;
    fclose(f);
    return kb;
}

int main(int argc, char **argv)
{
    int o;
    while ((o = getopt(argc, argv, "h:p:q:A:s:r:n:b:udc:P:R:k:mSDT:")) != -1)
        switch (o) {
        case 'h':
            g_host = optarg;
            break;
        case 'p':
            g_port = atoi(optarg);
            break;
        case 'q':
            g_recv_port = atoi(optarg);
            break;
        case 'A':
            g_address = optarg;
            break;
        case 's':
            g_senders = atoi(optarg);
            break;
        case 'r':
            g_receivers = atoi(optarg);
            break;
        case 'n':
            g_count = strtoull(optarg, NULL, 10);
            break;
        case 'b':
            g_body = (uint32_t)atoi(optarg);
            break;
        case 'u':
            g_unsettled = true;
            break;
        case 'd':
            g_durable = true;
            break;
        case 'c':
            g_credit = (uint32_t)atoi(optarg);
            break;
        case 'P':
            g_pid = atoi(optarg);
            break;
        case 'R':
            g_rate = atof(optarg);
            break;
        case 'k':
            g_addresses = atoi(optarg);
            break;
        case 'm':
            g_multicast = true;
            break;
        case 'S':
            g_sink = true;
            break;
        case 'D':
            g_drop = true;
            break;
        case 'T':
            g_timeout = atoi(optarg);
            break;
        default:
            die("see the top of amqload.c for its options");
        }
    if (!g_port)
        die("-p PORT is needed");
    if (g_body < 8)
        g_body = 8;
    if (!g_recv_port)
        g_recv_port = g_port;
    if (g_sink) {
        int one = 1;
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)g_recv_port)};
        inet_pton(AF_INET, g_host, &a.sin_addr);
        g_listen_fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(g_listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(g_listen_fd, (struct sockaddr *)&a, sizeof a) || listen(g_listen_fd, 64))
            die("listen: %s", strerror(errno));
        g_receivers = g_senders;
    }
    pthread_t t[4096];
    int n = 0;
    for (int i = 0; i < g_receivers; i++)
        pthread_create(&t[n++], NULL, g_sink ? sink_main : receiver_main, (void *)(intptr_t)i);
    if (!g_sink)
        while (atomic_load(&g_ready) < g_receivers)
            usleep(1000);
    for (int i = 0; i < g_senders; i++)
        pthread_create(&t[n++], NULL, sender_main, (void *)(intptr_t)i);
    while (atomic_load(&g_ready) < (g_sink ? g_senders : g_receivers + g_senders))
        usleep(1000);
    uint64_t want = g_count * (uint64_t)g_senders * (g_multicast ? (uint64_t)g_receivers : 1);
    double cpu0 = g_pid ? cpu_seconds(g_pid) : 0;
    uint64_t t0 = now_ns(), last = t0, seen = 0;
    atomic_store(&g_go, true);
    for (;;) {
        usleep(1000);
        uint64_t r =
            atomic_load(&g_received) + atomic_load(&g_released) + atomic_load(&g_rejected) + atomic_load(&g_modified);
        if (r != seen) {
            seen = r;
            last = now_ns();
        }
        if (r >= want) {
            if (!g_unsettled)
                break;
            uint64_t ends = atomic_load(&g_accepted) + atomic_load(&g_released) + atomic_load(&g_rejected) +
                            atomic_load(&g_modified);
            if (ends >= g_count * (uint64_t)g_senders)
                break;
        }
        if (now_ns() - last > 3000000000ull || now_ns() - t0 > (uint64_t)g_timeout * 1000000000ull)
            break;
    }
    double secs = (double)(last - t0) / 1e9, cpu = g_pid ? cpu_seconds(g_pid) - cpu0 : 0;
    long rss = g_pid ? rss_kb(g_pid) : 0;
    uint64_t got = atomic_load(&g_received);
    atomic_store(&g_done, true);
    for (int i = 0; i < n; i++)
        pthread_join(t[i], NULL);
    uint64_t total = 0, acc = 0;
    double pct[4] = {50, 99, 99.9, 100}, val[4] = {0};
    for (int b = 0; b < BUCKETS; b++)
        total += g_hist[b];
    for (int b = 0, k = 0; b < BUCKETS && k < 4; b++) {
        acc += g_hist[b];
        while (k < 4 && total && (double)acc >= (double)total * pct[k] / 100.0)
            val[k++] = bucket_us(b);
    }
    printf("{\"sent\": %llu, \"received\": %llu, \"seconds\": %.3f, \"msgs_per_s\": %.0f, \"cpu_us_per_msg\": %.3f, "
           "\"cpus_used\": %.2f, \"rss_kb\": %ld, "
           "\"accepted\": %llu, \"released\": %llu, \"rejected\": %llu, \"modified\": %llu, \"p50_us\": %.0f, "
           "\"p99_us\": %.0f, \"p999_us\": %.0f, \"max_us\": %.0f}\n",
           (unsigned long long)g_sent, (unsigned long long)got, secs, secs > 0 ? (double)got / secs : 0,
           got ? cpu * 1e6 / (double)got : 0, secs > 0 ? cpu / secs : 0, rss, (unsigned long long)g_accepted,
           (unsigned long long)g_released, (unsigned long long)g_rejected, (unsigned long long)g_modified, val[0],
           val[1], val[2], val[3]);
    return got >= want ? 0 : 3;
}
