/* annotations_bench.c -- what one hop costs for router annotations: read those of a message that came from a router,
 * and write them for the next with the own node id appended.
 *
 *   annotations_bench [messages]   CPU time per message, of several kinds of sections
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <trunkline/amqp/annotations.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/base/assert.h>

static struct slice text(const char *s)
{
    return (struct slice){NULL, (const uint8_t *)s, strlen(s)};
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Keeps the compiler from leaving out what nobody reads. */
static void is_used(const void *p)
{
    __asm__ volatile("" : : "r"(p) : "memory");
}

static size_t make_section(uint8_t *out, size_t capacity, unsigned user_entries, unsigned hops)
{
    uint8_t user[16384], ids[4096];
    struct amqp_writer u = amqp_writer(user, sizeof user), t = amqp_writer(ids, sizeof ids);
    for (unsigned i = 0; i < user_entries; i++) {
        amqp_write_symbol_of(&u, "x-opt-user-entry");
        amqp_write_string_of(&u, "its value");
    }
    for (unsigned i = 0; i < hops; i++)
        amqp_write_string_of(&t, "0/router-10");
    struct amqp_annotations a = {
        .user = {NULL, user, u.len}, .user_count = 2 * user_entries, .to = text("closest/orders")};
    if (hops) {
        a.ingress = text("0/router-10");
        a.trace.ids = (struct slice){NULL, ids, t.len};
        a.trace.count = hops;
    }
    size_t n = amqp_annotations_write(out, capacity, &a, (struct slice){0});
    ASSERT(n <= capacity);
    return n;
}

static void measure(const char *what, unsigned user_entries, unsigned hops, unsigned messages)
{
    static uint8_t section[32768], out[65536];
    size_t n = make_section(section, sizeof section, user_entries, hops);
    struct slice in = {NULL, section, n}, own = text("0/router-11");
    double began = cpu_seconds(), read_only;
    struct amqp_annotations a;
    const char *why;
    for (unsigned i = 0; i < messages; i++) {
        enum err e = amqp_annotations_read(in, false, &a, &why);
        ASSERT(e == OK);
        is_used(&a);
    }
    read_only = cpu_seconds() - began;
    began = cpu_seconds();
    for (unsigned i = 0; i < messages; i++) {
        enum err e = amqp_annotations_read(in, false, &a, &why);
        ASSERT(e == OK);
        if (!a.ingress.data)
            a.ingress = own;
        n = amqp_annotations_write(out, sizeof out, &a, own);
        ASSERT(n != 0);
        is_used(out);
    }
    double both = cpu_seconds() - began;
    printf("%-40s read %6.1f ns, read and write %6.1f ns\n", what, read_only / messages * 1e9, both / messages * 1e9);
}

int main(int argc, char **argv)
{
    unsigned messages = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 10000000;
    if (messages == 0) {
        fprintf(stderr, "usage: annotations_bench [messages]\n");
        return 2;
    }
    measure("from an edge router: to", 0, 0, messages);
    measure("to, ingress, trace of 1", 0, 1, messages);
    measure("to, ingress, trace of 3", 0, 3, messages);
    measure("2 user entries, to, ingress, trace of 2", 2, 2, messages);
    measure("300 user entries, to, ingress, trace", 300, 2, messages / 100 + 1);
    return 0;
}
