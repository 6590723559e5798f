/* amqbroker.c -- a container with queues, for the bench: what it costs per message is far below what the router costs.
 *
 *   amqbroker -p PORT [-n CONTAINER-ID] [-l LINKS]
 *
 * It connects to a listener of role route-container and answers what the router asks: each link that is attached to it
 * puts messages into the queue of its target's address, or takes them from that of its source's. A message is accepted
 * when it is in the queue; what becomes of it behind that is not followed. Queues live in memory, and their senders get
 * no more credit than QUEUE_MAX allows. One thread, one connection, whole batches of frames per system call.
 *
 * "ready" on standard output says that the router has answered Open; with -l, that it has attached so many links. It
 * ends when the connection does.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define PROGRAM "amqbroker"
#include "amqwire.h"

#include <poll.h>
#include <unistd.h>

enum { MAX_FRAME = 65536, IN_SIZE = 1 << 20, OUT_FLUSH = 1 << 17, QUEUE_MAX = 1000, CHANNELS = 64, BUCKETS = 1 << 14 };

struct queue {
    struct queue *chain;
    char *address;
    uint8_t *octets; /* messages, each behind its length */
    size_t from, to, size;
    uint32_t count;
    struct link *takers, *next_taker; /* in a ring */
};

struct link {
    struct queue *queue;
    struct link *next, *before; /* of those that take from the queue */
    struct link *changed;       /* in the list of those that credit may be due to */
    struct session *session;
    uint32_t handle, delivery_count, credit; /* credit: what the sender has left */
    uint32_t part;                           /* octets of a message whose end is to come */
    bool gives;                              /* messages come to us on it */
    bool settled, in_delivery, is_changed;
};

struct session {
    uint16_t channel;
    uint32_t next_incoming, next_outgoing, next_delivery, window; /* window: transfers that the peer still takes */
    int64_t first, last;                                          /* deliveries to accept; first -1: none */
    struct link **links;                                          /* by handle */
    uint32_t link_count;
};

static int g_fd, g_wanted, g_attached;
static const char *g_id = "amqbroker";
static uint8_t *g_in, *g_out;
static size_t g_have, g_used, g_out_size;
static struct enc g_e;
static uint32_t g_peer_max_frame = 512;
static struct session g_sessions[CHANNELS];
static struct queue *g_queues[BUCKETS];
static struct link *g_changed;
static bool g_open;

static void flush_output(void)
{
    for (uint8_t *p = g_out; p < g_e.at;) {
        ssize_t n = send(g_fd, p, (size_t)(g_e.at - p), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            exit(0);
        p += n;
    }
    g_e.at = g_out;
}

/* Room for a frame with n octets of payload. */
static void make_room(size_t n)
{
    size_t used = (size_t)(g_e.at - g_out);
    if (used > OUT_FLUSH) {
        flush_output();
        used = 0;
    }
    if (g_out_size - used >= n + 1024)
        return;
    g_out_size = used + n + 1024 + OUT_FLUSH;
    g_out = realloc(g_out, g_out_size);
    if (!g_out)
        die("out of memory");
    g_e.at = g_out + used;
}

/* ---- what is said ---- */

static void put_open(void)
{
    uint8_t *f = frame_begin(&g_e, 0), *l = list_begin(&g_e, OPEN, 4);
    estr(&g_e, g_id);
    enull(&g_e);
    euint(&g_e, MAX_FRAME);
    euint(&g_e, CHANNELS - 1);
    list_end(&g_e, l);
    frame_end(&g_e, f);
}

static void put_begin(uint16_t channel)
{
    uint8_t *f = frame_begin(&g_e, channel), *l = list_begin(&g_e, BEGIN, 4);
    e8(&g_e, 0x60);
    e8(&g_e, (uint8_t)(channel >> 8));
    e8(&g_e, (uint8_t)channel);
    euint(&g_e, 0);
    euint(&g_e, 0x7fffffff);
    euint(&g_e, 0x7fffffff);
    list_end(&g_e, l);
    frame_end(&g_e, f);
}

static void put_value(const uint8_t *v)
{
    size_t n = value_size(v);
    memcpy(g_e.at, v, n);
    g_e.at += n;
}

/* An attach is answered as it came; v: its fields. */
static void put_attach(const struct link *lk, const uint8_t *const *v)
{
    make_room(value_size(v[0]) + value_size(v[5]) + value_size(v[6]));
    uint8_t *f = frame_begin(&g_e, lk->session->channel), *l = list_begin(&g_e, ATTACH, lk->gives ? 7 : 10);
    put_value(v[0]);
    euint(&g_e, lk->handle);
    ebool(&g_e, lk->gives);
    put_value(v[3]);
    eubyte(&g_e, 0);
    put_value(v[5]);
    put_value(v[6]);
    if (!lk->gives) {
        enull(&g_e);
        enull(&g_e);
        euint(&g_e, 0);
    }
    list_end(&g_e, l);
    frame_end(&g_e, f);
}

static void put_flow(const struct link *lk, bool drain)
{
    make_room(0);
    uint8_t *f = frame_begin(&g_e, lk->session->channel), *l = list_begin(&g_e, FLOW, 9);
    euint(&g_e, lk->session->next_incoming);
    euint(&g_e, 0x7fffffff);
    euint(&g_e, lk->session->next_outgoing);
    euint(&g_e, 0x7fffffff);
    euint(&g_e, lk->handle);
    euint(&g_e, lk->delivery_count);
    euint(&g_e, lk->credit);
    enull(&g_e);
    ebool(&g_e, drain);
    list_end(&g_e, l);
    frame_end(&g_e, f);
}

static void put_accepted(struct session *s)
{
    if (s->first < 0)
        return;
    make_room(0);
    uint8_t *f = frame_begin(&g_e, s->channel), *l = list_begin(&g_e, DISPOSITION, 5);
    ebool(&g_e, true);
    euint(&g_e, (uint32_t)s->first);
    euint(&g_e, (uint32_t)s->last);
    ebool(&g_e, true);
    memcpy(g_e.at, "\0\x53\x24\x45", 4);
    g_e.at += 4;
    list_end(&g_e, l);
    frame_end(&g_e, f);
    s->first = -1;
}

static void put_detach(const struct link *lk)
{
    make_room(0);
    uint8_t *f = frame_begin(&g_e, lk->session->channel), *l = list_begin(&g_e, DETACH, 2);
    euint(&g_e, lk->handle);
    ebool(&g_e, true);
    list_end(&g_e, l);
    frame_end(&g_e, f);
}

/* One message, in one frame. */
static void put_transfer(struct link *lk, const uint8_t *message, uint32_t n)
{
    struct session *s = lk->session;
    if (n + 64 > g_peer_max_frame)
        die("a message of %u octets does not fit a frame", n);
    make_room(n);
    uint8_t *f = frame_begin(&g_e, s->channel), *l = list_begin(&g_e, TRANSFER, 5);
    euint(&g_e, lk->handle);
    euint(&g_e, s->next_delivery);
    e8(&g_e, 0xa0);
    e8(&g_e, 4);
    e32(&g_e, s->next_delivery++);
    euint(&g_e, 0);
    ebool(&g_e, lk->settled);
    list_end(&g_e, l);
    memcpy(g_e.at, message, n);
    g_e.at += n;
    frame_end(&g_e, f);
    s->next_outgoing++;
    s->window--;
    lk->delivery_count++;
    lk->credit--;
}

/* ---- queues ---- */

static struct queue *queue_of(const uint8_t *terminus)
{
    uint32_t n;
    const uint8_t *v = list_fields(terminus + 1 + value_size(terminus + 1), &n);
    if (n == 0 || v[0] != 0xa1)
        die("a terminus without an address");
    uint32_t hash = 0;
    for (size_t i = 0; i < v[1]; i++)
        hash = hash * 31 + v[2 + i];
    struct queue **at = &g_queues[hash % BUCKETS];
    for (struct queue *q = *at; q; q = q->chain)
        if (strlen(q->address) == v[1] && memcmp(q->address, v + 2, v[1]) == 0)
            return q;
    struct queue *q = calloc(1, sizeof *q);
    q->address = strndup((const char *)v + 2, v[1]);
    q->chain = *at;
    return *at = q;
}

/* Room for n octets at the end. */
static uint8_t *queue_room(struct queue *q, size_t n)
{
    if (q->from > q->size / 2 && q->size - q->to < n) {
        memmove(q->octets, q->octets + q->from, q->to - q->from);
        q->to -= q->from;
        q->from = 0;
    }
    if (q->size - q->to < n) {
        q->size = 2 * (q->size + n);
        q->octets = realloc(q->octets, q->size);
        if (!q->octets)
            die("out of memory");
    }
    return q->octets + q->to;
}

static void changed(struct link *lk)
{
    if (lk->is_changed)
        return;
    lk->is_changed = true;
    lk->changed = g_changed;
    g_changed = lk;
}

/* Give what is in the queue to those that have credit, in turn. */
static void deal(struct queue *q)
{
    for (struct link *at = q->next_taker, *end = at; at && q->count;) {
        if (!at->credit || !at->session->window) {
            if ((at = at->next) == end)
                break;
            continue;
        }
        uint32_t n;
        memcpy(&n, q->octets + q->from, sizeof n);
        put_transfer(at, q->octets + q->from + sizeof n, n);
        q->from += sizeof n + n;
        q->count--;
        at = end = at->next;
    }
    if (q->next_taker)
        q->next_taker = q->next_taker->next;
    if (q->count == 0 && q->from == q->to)
        q->from = q->to = 0;
}

static void add_taker(struct link *lk)
{
    struct queue *q = lk->queue;
    if (!q->takers) {
        q->takers = q->next_taker = lk->next = lk->before = lk;
        return;
    }
    lk->next = q->takers;
    lk->before = q->takers->before;
    lk->before->next = q->takers->before = lk;
}

static void drop_taker(struct link *lk)
{
    struct queue *q = lk->queue;
    lk->before->next = lk->next;
    lk->next->before = lk->before;
    if (q->takers == lk)
        q->takers = lk->next == lk ? NULL : lk->next;
    if (q->next_taker == lk)
        q->next_taker = q->takers;
}

/* ---- what is heard ---- */

static struct link *link_of(struct session *s, uint32_t handle)
{
    struct link *lk = handle < s->link_count ? s->links[handle] : NULL;
    if (!lk)
        die("no link has handle %u", handle);
    return lk;
}

/* The fields of a list, as far as they are there: null otherwise. */
static void fields_of(const uint8_t *v, uint32_t n, const uint8_t **fields, uint32_t max)
{
    static const uint8_t null = 0x40;
    for (uint32_t i = 0; i < max; i++) {
        fields[i] = i < n ? v : &null;
        if (i < n)
            v += value_size(v);
    }
}

static void on_attach(struct session *s, const uint8_t *const *v)
{
    struct link *lk = calloc(1, sizeof *lk);
    lk->session = s;
    lk->handle = as_uint(v[1]);
    lk->gives = !as_bool(v[2], false);
    lk->settled = v[3][0] == 0x50 && v[3][1] == 1;
    lk->queue = queue_of(lk->gives ? v[6] : v[5]);
    if (lk->handle >= s->link_count) {
        uint32_t count = 2 * lk->handle + 8;
        s->links = realloc(s->links, count * sizeof(struct link *));
        memset(s->links + s->link_count, 0, (count - s->link_count) * sizeof(struct link *));
        s->link_count = count;
    }
    s->links[lk->handle] = lk;
    put_attach(lk, v);
    if (lk->gives)
        changed(lk);
    else
        add_taker(lk);
    g_attached++;
}

static void on_detach(struct session *s, uint32_t handle)
{
    struct link *lk = link_of(s, handle);
    put_detach(lk);
    if (!lk->gives)
        drop_taker(lk);
    for (struct link **at = &g_changed; *at; at = &(*at)->changed)
        if (*at == lk) {
            *at = lk->changed;
            break;
        }
    s->links[handle] = NULL;
    free(lk);
}

static void on_flow(struct session *s, const uint8_t *const *v)
{
    uint32_t next = v[0][0] == 0x40 ? 0 : as_uint(v[0]);
    s->window = next + as_uint(v[1]) - s->next_outgoing;
    if (v[4][0] == 0x40) {
        for (uint32_t i = 0; i < s->link_count; i++)
            if (s->links[i] && !s->links[i]->gives && s->links[i]->queue->count)
                deal(s->links[i]->queue);
        return;
    }
    struct link *lk = link_of(s, as_uint(v[4]));
    if (lk->gives)
        return;
    lk->credit = as_uint(v[5]) + as_uint(v[6]) - lk->delivery_count;
    deal(lk->queue);
    if (as_bool(v[8], false) && lk->credit) {
        lk->delivery_count += lk->credit;
        lk->credit = 0;
        put_flow(lk, true);
    }
}

static void on_transfer(struct session *s, const uint8_t *const *v, const uint8_t *payload, size_t n)
{
    struct link *lk = link_of(s, as_uint(v[0]));
    struct queue *q = lk->queue;
    bool more = as_bool(v[5], false);
    uint32_t head = 0;
    s->next_incoming++;
    if (!lk->in_delivery) {
        if (v[1][0] != 0x40 && !as_bool(v[4], false)) {
            s->last = as_uint(v[1]);
            if (s->first < 0)
                s->first = s->last;
        }
        lk->part = 0;
        lk->credit--;
        lk->delivery_count++;
        head = sizeof lk->part;
    }
    /* Messages of several frames of two links would mix in one queue: such loads are not for this broker. */
    uint8_t *at = queue_room(q, head + n);
    memcpy(at + head, payload, n);
    q->to += head + n;
    lk->part += (uint32_t)n;
    lk->in_delivery = more;
    if (more)
        return;
    memcpy(q->octets + q->to - lk->part - sizeof lk->part, &lk->part, sizeof lk->part);
    q->count++;
    changed(lk);
}

static void on_frame(const uint8_t *f, size_t size)
{
    const uint8_t *p = f + f[4] * 4, *end = f + size;
    if (p >= end)
        return; /* heartbeat */
    uint16_t channel = (uint16_t)(f[6] << 8 | f[7]);
    if (channel >= CHANNELS)
        die("channel %d", channel);
    struct session *s = &g_sessions[channel];
    const uint8_t *list = p + 1 + value_size(p + 1), *v[10];
    uint32_t n;
    const uint8_t *first = list_fields(list, &n);
    fields_of(first, n, v, 10);
    switch (p[2]) {
    case OPEN:
        g_open = true;
        if (v[2][0] != 0x40)
            g_peer_max_frame = as_uint(v[2]);
        break;
    case BEGIN:
        *s = (struct session){.channel = channel, .first = -1, .window = as_uint(v[2])};
        s->next_incoming = as_uint(v[1]);
        put_begin(channel);
        break;
    case ATTACH:
        on_attach(s, v);
        break;
    case FLOW:
        on_flow(s, v);
        break;
    case TRANSFER:
        on_transfer(s, v, list + value_size(list), (size_t)(end - list) - value_size(list));
        break;
    case DETACH:
        on_detach(s, as_uint(v[0]));
        break;
    case CLOSE:
        exit(0);
    default:
        break;
    }
}

/* ---- the connection ---- */

/* What the frames of a read have changed: outcomes, messages to deal out, credit. */
static void settle_turn(void)
{
    for (int i = 0; i < CHANNELS; i++)
        if (g_sessions[i].links)
            put_accepted(&g_sessions[i]);
    struct link *lk = g_changed;
    g_changed = NULL;
    for (struct link *next; lk; lk = next) {
        next = lk->changed;
        lk->is_changed = false;
        deal(lk->queue);
        uint32_t room = lk->queue->count < QUEUE_MAX ? QUEUE_MAX - lk->queue->count : 0;
        if (lk->credit < room / 2) {
            lk->credit = room;
            put_flow(lk, false);
        } else if (!room) {
            changed(lk); /* until there is */
        }
    }
}

static bool read_some(void)
{
    struct pollfd pf = {.fd = g_fd, .events = POLLIN};
    if (poll(&pf, 1, 1000) <= 0)
        return false;
    memmove(g_in, g_in + g_used, g_have - g_used);
    g_have -= g_used;
    g_used = 0;
    ssize_t n = recv(g_fd, g_in + g_have, IN_SIZE - g_have, 0);
    if (n <= 0)
        exit(0);
    g_have += (size_t)n;
    while (g_have - g_used >= 8) {
        const uint8_t *f = g_in + g_used;
        size_t size = memcmp(f, "AMQP", 4) == 0 ? 8 : rd32(f);
        if (g_have - g_used < size)
            break;
        if (memcmp(f, "AMQP", 4) != 0)
            on_frame(f, size);
        g_used += size;
    }
    return true;
}

static void connect_to(const char *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
    g_fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(g_fd, (struct sockaddr *)&a, sizeof a))
        die("connect to port %s: %s", port, strerror(errno));
    int one = 1;
    setsockopt(g_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

int main(int argc, char **argv)
{
    const char *port = NULL;
    bool told = false;
    for (int o; (o = getopt(argc, argv, "p:n:l:")) != -1;)
        switch (o) {
        case 'p':
            port = optarg;
            break;
        case 'n':
            g_id = optarg;
            break;
        case 'l':
            g_wanted = atoi(optarg);
            break;
        default:
            die("see the top of amqbroker.c for its options");
        }
    if (!port)
        die("-p PORT is needed");
    connect_to(port);
    g_in = malloc(IN_SIZE);
    make_room(0);
    memcpy(g_e.at, "AMQP\0\1\0\0", 8);
    g_e.at += 8;
    put_open();
    for (;;) {
        flush_output();
        if (!read_some())
            frame_end(&g_e, frame_begin(&g_e, 0)); /* a heartbeat */
        settle_turn();
        if (!told && g_open && g_attached >= g_wanted) {
            puts("ready");
            fflush(stdout);
            told = true;
        }
    }
}
