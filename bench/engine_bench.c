/* engine_bench.c -- what the AMQP engine itself costs: two engines back to back in memory, no sockets.
 *
 *   engine_bench [messages [octets]]   CPU per message, presettled and unsettled: both engines, the copy between
 *   engine_bench links N               memory and time of N links on one connection
 *   engine_bench connections N         memory of N open connections with a session and a link each
 */
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/conn.h>
#include <trunkline/amqp/performative.h>
#include <trunkline/base/alloc.h>
#include <unistd.h>

struct side {
    struct amqp_conn c;
    struct amqp_link link;
    struct buffer *input;
    size_t input_len;
    uint64_t to_send, received, settled;
    size_t octets, sent; /* of each message; of the one under way */
    bool presettled, server;
    uint32_t ungranted;
};

#define CREDIT 1000

static struct side *side_of(struct amqp_conn *c)
{
    return container_of(c, struct side, c);
}

#define OCTETS_MAX (1 << 20)
static struct buffer *body;

static void pump(struct side *s)
{
    while (s->to_send && (s->link.in_delivery || amqp_link_sendable(&s->link))) {
        struct slice part = {body, body->bytes + s->sent, s->octets - s->sent};
        struct amqp_send m = {.parts = &part, .part_count = 1, .settled = s->presettled};
        size_t sent;
        enum err e = amqp_link_send(&s->link, &m, &sent, NULL);
        s->sent += sent;
        if (e != OK)
            return;
        s->sent = 0;
        s->to_send--;
    }
}

static void on_opened(struct amqp_conn *c)
{
    amqp_conn_open(c);
}
static void on_closed(struct amqp_conn *c, const struct amqp_error *e, bool by_peer)
{
    (void)c;
    (void)by_peer;
    if (e) {
        fprintf(stderr, "closed: %s %s\n", e->condition, e->description);
        exit(1);
    }
}
static void on_conn(struct amqp_conn *c)
{
    (void)c;
}
static struct amqp_link *on_new_link(struct amqp_conn *c)
{
    (void)c;
    return xcalloc(1, sizeof(struct amqp_link));
}
static void on_attached(struct amqp_link *lk)
{
    if (!(lk->flags & AMQP_LINK_ATTACHED_LOCAL))
        amqp_link_accept(lk, NULL, 0);
    if (!lk->is_sender)
        amqp_link_grant(lk, CREDIT);
}
static void on_detached(struct amqp_link *lk, bool closed, const struct amqp_error *e)
{
    fprintf(stderr, "detached: %s %s\n", e ? e->condition : "", e && e->description ? e->description : "");
    amqp_link_detach(lk, closed, NULL);
}
static void on_link(struct amqp_link *lk)
{
    (void)lk;
}
static void on_gone(struct amqp_link *lk)
{
    if (side_of(lk->conn)->server)
        free(lk);
}
static void on_sendable(struct amqp_link *lk)
{
    pump(side_of(lk->conn));
}
static void on_transfer(struct amqp_link *lk, struct amqp_transfer *t)
{
    struct side *s = side_of(lk->conn);
    static const struct amqp_state accepted = {.code = AMQP_ACCEPTED};
    if (t->more)
        return;
    s->received++;
    if (t->delivery)
        amqp_link_settle(lk, t->id, t->id, &accepted);
    if (++s->ungranted == CREDIT / 4) {
        amqp_link_grant(lk, s->ungranted);
        s->ungranted = 0;
    }
}
static void on_disposition(struct amqp_delivery *d, const struct amqp_state *state, bool settled)
{
    (void)state;
    side_of(d->link->conn)->settled += settled;
}
static void on_peer_settled(struct amqp_delivery *d, const struct amqp_state *state)
{
    (void)d;
    (void)state;
}
static void on_lost(struct amqp_delivery *d)
{
    (void)d;
}

static const struct amqp_handler handler = {
    .opened = on_opened,
    .closed = on_closed,
    .dirty = on_conn,
    .new_link = on_new_link,
    .attached = on_attached,
    .detached = on_detached,
    .gone = on_gone,
    .sendable = on_sendable,
    .drained = on_link,
    .transfer = on_transfer,
    .disposition = on_disposition,
    .peer_settled = on_peer_settled,
    .lost = on_lost,
};

static struct side *side_new(bool server)
{
    struct side *s = xcalloc(1, sizeof *s);
    s->server = server;
    struct amqp_conn_conf conf = {
        .server = server,
        .container_id = server ? "server" : "client",
        .max_frame_size = 16384,
        .channel_max = 32767,
        .max_links = 100000,
        .session_window = INT32_MAX,
        .idle_timeout_ms = 16000,
        .sasl = !server,
    };
    if (amqp_conn_init(&s->c, &conf, &handler) != OK)
        abort();
    return s;
}

static void side_free(struct side *s)
{
    amqp_conn_fini(&s->c);
    free(s);
}

/* As a transport would: one turn's output, read into a buffer of the other side. */
static bool move(struct side *from, struct side *to)
{
    struct iovec iov[16];
    bool some = false;
    amqp_conn_flush(&from->c);
    for (;;) {
        struct buffer *b = buffer_new(BUFFER_SIZE);
        size_t have = to->input_len, moved = 0;
        if (have)
            memcpy(b->bytes, to->input->bytes, have);
        if (to->input)
            buffer_unref(to->input);
        to->input = NULL;
        int n = amqp_conn_output(&from->c, iov, 16);
        for (int i = 0; i < n && have < b->size; i++) {
            size_t part = iov[i].iov_len < b->size - have ? iov[i].iov_len : b->size - have;
            memcpy(b->bytes + have, iov[i].iov_base, part);
            have += part;
            moved += part;
        }
        size_t need, used = 0;
        if (moved) {
            amqp_conn_written(&from->c, moved);
            used = amqp_conn_input(&to->c, b, b->bytes, have, &need);
        }
        to->input_len = have - used;
        if (to->input_len) {
            to->input = buffer_new(BUFFER_SIZE);
            memcpy(to->input->bytes, b->bytes + used, to->input_len);
        }
        buffer_unref(b);
        if (!moved)
            return some;
        some = true;
    }
}

static void run(struct side *a, struct side *b)
{
    for (bool some = true; some;) {
        some = move(a, b);
        some |= move(b, a);
    }
}

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Instructions of this process; -1 where the machine does not count them. */
static int counter_open(void)
{
    struct perf_event_attr a = {.type = PERF_TYPE_HARDWARE,
                                .size = sizeof a,
                                .config = PERF_COUNT_HW_INSTRUCTIONS,
                                .exclude_kernel = 1,
                                .exclude_hv = 1};
    return (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
}

static uint64_t counter_read(int fd)
{
    uint64_t v = 0;
    return fd >= 0 && read(fd, &v, sizeof v) == (ssize_t)sizeof v ? v : 0;
}

static long resident(void)
{
    long size, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%ld %ld", &size, &pages) != 2) {
        perror("/proc/self/statm");
        exit(1);
    }
    fclose(f);
    return pages * 4096;
}

static void connect_sides(struct side **client, struct side **server, struct amqp_session **session)
{
    *client = side_new(false);
    *server = side_new(true);
    run(*client, *server);
    if (amqp_session_begin(&(*client)->c, session) != OK)
        abort();
}

static void bench_messages(uint64_t messages, size_t octets, bool presettled)
{
    struct side *client, *server;
    struct amqp_session *session;
    connect_sides(&client, &server, &session);
    client->presettled = presettled;
    client->octets = octets;
    struct amqp_attach a = {.name = "bench", .is_sender = true, .target = "q", .snd_settle_mode = 2};
    if (amqp_link_attach(session, &client->link, &a) != OK)
        abort();
    run(client, server);
    int counter = counter_open();
    uint64_t instructions = counter_read(counter);
    double start = cpu_ns();
    client->to_send = messages;
    pump(client);
    run(client, server);
    double ns = (cpu_ns() - start) / (double)messages;
    instructions = counter_read(counter) - instructions;
    if (counter >= 0)
        close(counter);
    if (server->received != messages || (!presettled && client->settled != messages)) {
        fprintf(stderr, "%llu received, %llu settled of %llu\n", (unsigned long long)server->received,
                (unsigned long long)client->settled, (unsigned long long)messages);
        exit(1);
    }
    printf("%-10s %7zu octets: %7.1f ns", presettled ? "presettled" : "unsettled", octets, ns);
    if (instructions)
        printf(", %6.0f instructions", (double)instructions / (double)messages);
    printf(" for each message\n");
    side_free(client);
    side_free(server);
}

static void bench_links(uint32_t links)
{
    struct side *client, *server;
    struct amqp_session *session;
    connect_sides(&client, &server, &session);
    struct amqp_link *ours = xcalloc(links, sizeof *ours);
    run(client, server);
    long before = resident();
    double start = cpu_ns();
    for (uint32_t i = 0; i < links; i++) {
        char name[32], address[32];
        snprintf(name, sizeof name, "link-%u", i);
        snprintf(address, sizeof address, "address/%u", i);
        struct amqp_attach a = {.name = name, .source = address, .snd_settle_mode = 2};
        if (amqp_link_attach(session, &ours[i], &a) != OK)
            abort();
        if (i % 64 == 63)
            run(client, server);
    }
    run(client, server);
    printf("%u links: %.1f us and %.0f octets for each, both sides together\n", links, (cpu_ns() - start) / 1e3 / links,
           (double)(resident() - before) / links);
    start = cpu_ns();
    amqp_session_end(session, NULL);
    run(client, server);
    printf("end of their session: %.2f us for each\n", (cpu_ns() - start) / 1e3 / links);
    free(ours);
}

static void bench_connections(uint32_t connections)
{
    long before = resident();
    for (uint32_t i = 0; i < connections; i++) {
        struct side *client, *server;
        struct amqp_session *session;
        connect_sides(&client, &server, &session);
        struct amqp_attach a = {.name = "bench", .source = "q", .snd_settle_mode = 2};
        if (amqp_link_attach(session, &client->link, &a) != OK)
            abort();
        run(client, server);
    }
    printf("%u connections with a link: %.0f octets for each side\n", connections,
           (double)(resident() - before) / connections / 2);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "links") == 0) {
        bench_links((uint32_t)strtoul(argv[2], NULL, 10));
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "connections") == 0) {
        bench_connections((uint32_t)strtoul(argv[2], NULL, 10));
        return 0;
    }
    uint64_t messages = argc > 1 ? strtoull(argv[1], NULL, 10) : 5000000;
    size_t octets = argc > 2 ? strtoull(argv[2], NULL, 10) : 100;
    if (messages == 0 || octets > OCTETS_MAX) {
        fprintf(stderr, "usage: %s [messages [octets]] | links N | connections N\n", argv[0]);
        return 2;
    }
    body = buffer_new(OCTETS_MAX);
    memset(body->bytes, 'x', OCTETS_MAX);
    bench_messages(messages, octets, true);
    bench_messages(messages, octets, false);
    return 0;
}
