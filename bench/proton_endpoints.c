/* proton_endpoints.c -- what Proton's own endpoints cost, the ground of docs/decisions/0001-where-proton-ends.md.
 *
 *   proton_endpoints memory    octets of RSS for a server connection with one session and one link
 *   proton_endpoints attach N  microseconds of CPU for each attach, up to N links in one session
 */
#include <proton/connection.h>
#include <proton/connection_driver.h>
#include <proton/link.h>
#include <proton/session.h>
#include <proton/terminus.h>
#include <proton/transport.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/performative.h>

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

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* A server that answers everything. */
static void answer(pn_connection_driver_t *d)
{
    for (pn_event_t *e; (e = pn_connection_driver_next_event(d));)
        switch (pn_event_type(e)) {
        case PN_CONNECTION_REMOTE_OPEN:
            pn_connection_open(pn_event_connection(e));
            break;
        case PN_SESSION_REMOTE_OPEN:
            pn_session_open(pn_event_session(e));
            break;
        case PN_LINK_REMOTE_OPEN: {
            pn_link_t *l = pn_event_link(e);
            if (pn_link_state(l) & PN_LOCAL_ACTIVE)
                break;
            pn_terminus_copy(pn_link_source(l), pn_link_remote_source(l));
            pn_terminus_copy(pn_link_target(l), pn_link_remote_target(l));
            pn_link_open(l);
            break;
        }
        default:
            break;
        }
}

static void move(pn_connection_driver_t *from, pn_connection_driver_t *to)
{
    for (pn_bytes_t out; (out = pn_connection_driver_write_buffer(from)).size;) {
        pn_rwbytes_t room = pn_connection_driver_read_buffer(to);
        size_t n = out.size < room.size ? out.size : room.size;
        memcpy(room.start, out.start, n);
        pn_connection_driver_write_done(from, n);
        pn_connection_driver_read_done(to, n);
        answer(to);
    }
}

static pn_session_t *connect_pair(pn_connection_driver_t *client, pn_connection_driver_t *server)
{
    pn_connection_driver_init(server, NULL, NULL);
    pn_transport_set_server(server->transport);
    pn_connection_driver_init(client, NULL, NULL);
    pn_connection_open(client->connection);
    pn_session_t *s = pn_session(client->connection);
    pn_session_open(s);
    return s;
}

static void exchange(pn_connection_driver_t *a, pn_connection_driver_t *b)
{
    for (int i = 0; i < 5; i++) {
        move(a, b);
        move(b, a);
    }
}

static void measure_memory(void)
{
    enum { CONNECTIONS = 2000 };
    long before = resident();
    for (int i = 0; i < CONNECTIONS; i++) {
        pn_connection_driver_t client, *server = malloc(sizeof *server);
        pn_link_t *l = pn_receiver(connect_pair(&client, server), "x");
        pn_terminus_set_address(pn_link_source(l), "a");
        pn_link_open(l);
        exchange(&client, server);
        pn_connection_driver_destroy(&client);
    }
    printf("connection with session and link: %ld octets\n", (resident() - before) / CONNECTIONS);
}

static size_t attach_frame(uint8_t *out, size_t room, uint32_t i)
{
    char name[32], address[32];
    uint8_t source[64];
    struct amqp_source_fields from = {0};
    struct amqp_writer s = amqp_writer(source, sizeof source), w = amqp_writer(out, room);
    uint8_t text[40];
    struct amqp_writer t = amqp_writer(text, sizeof text);
    amqp_write_string(&t, address, (size_t)snprintf(address, sizeof address, "addr/%u", i));
    AMQP_SET(&from, address, ((struct slice){NULL, text, t.len}));
    amqp_write_source(&s, &from);
    size_t mark = amqp_write_frame_begin(&w, 0, 0);
    struct amqp_attach_fields f = {0};
    AMQP_SET(&f, name, ((struct slice){NULL, (uint8_t *)name, (size_t)snprintf(name, sizeof name, "link-%u", i)}));
    AMQP_SET(&f, handle, i);
    AMQP_SET(&f, role, true);
    AMQP_SET(&f, source, ((struct slice){NULL, source, s.len}));
    amqp_write_attach(&w, &f);
    amqp_write_frame_end(&w, mark, 0);
    return w.len;
}

static void measure_attach(uint32_t links)
{
    enum { STEP = 2000 };
    pn_connection_driver_t client, server;
    connect_pair(&client, &server);
    exchange(&client, &server);
    double last = cpu_us();
    for (uint32_t i = 0; i < links; i++) {
        uint8_t frame[256];
        size_t n = attach_frame(frame, sizeof frame, i);
        pn_rwbytes_t room = pn_connection_driver_read_buffer(&server);
        memcpy(room.start, frame, n);
        pn_connection_driver_read_done(&server, n);
        answer(&server);
        for (pn_bytes_t out; (out = pn_connection_driver_write_buffer(&server)).size;)
            pn_connection_driver_write_done(&server, out.size);
        if ((i + 1) % STEP == 0) {
            double now = cpu_us();
            printf("%6u links: %6.1f us for each of the last %d\n", i + 1, (now - last) / STEP, STEP);
            last = now;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "memory") == 0)
        measure_memory();
    else if (argc == 3 && strcmp(argv[1], "attach") == 0)
        measure_attach((uint32_t)strtoul(argv[2], NULL, 10));
    else {
        fprintf(stderr, "usage: %s memory | attach LINKS\n", argv[0]);
        return 2;
    }
    return 0;
}
