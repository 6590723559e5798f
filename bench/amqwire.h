/* amqwire.h -- just enough of AMQP 1.0 for the bench's instruments: frames and values written and read in place, no
 * more. Each instrument is one file with this beside it; it expects a well-behaved peer and ends with a message on
 * anything else. A program defines PROGRAM before. */
#ifndef BENCH_AMQWIRE_H
#define BENCH_AMQWIRE_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { OPEN = 0x10, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE };

static inline void die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs(PROGRAM ": ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

/* ---- encoding ---- */
struct enc {
    uint8_t *at;
};
static inline void e8(struct enc *e, uint8_t v)
{
    *e->at++ = v;
}
static inline void e32(struct enc *e, uint32_t v)
{
    v = htonl(v);
    memcpy(e->at, &v, 4);
    e->at += 4;
}
static inline void euint(struct enc *e, uint32_t v)
{
    e8(e, 0x70);
    e32(e, v);
}
static inline void enull(struct enc *e)
{
    e8(e, 0x40);
}
static inline void ebool(struct enc *e, bool v)
{
    e8(e, v ? 0x41 : 0x42);
}
static inline void eubyte(struct enc *e, uint8_t v)
{
    e8(e, 0x50);
    e8(e, v);
}
static inline void estr(struct enc *e, const char *s)
{
    size_t n = strlen(s);
    e8(e, 0xa1);
    e8(e, (uint8_t)n);
    memcpy(e->at, s, n);
    e->at += n;
}
static inline uint8_t *frame_begin(struct enc *e, uint16_t channel)
{
    uint8_t *start = e->at;
    e32(e, 0);
    e8(e, 2);
    e8(e, 0);
    e8(e, (uint8_t)(channel >> 8));
    e8(e, (uint8_t)channel);
    return start;
}
static inline void frame_end(struct enc *e, uint8_t *start)
{
    uint32_t n = htonl((uint32_t)(e->at - start));
    memcpy(start, &n, 4);
}
static inline uint8_t *list_begin(struct enc *e, uint8_t code, uint32_t fields)
{
    e8(e, 0);
    e8(e, 0x53);
    e8(e, code);
    e8(e, 0xd0);
    uint8_t *size = e->at;
    e32(e, 0);
    e32(e, fields);
    return size;
}
static inline void list_end(struct enc *e, uint8_t *size)
{
    uint32_t n = htonl((uint32_t)(e->at - size - 4));
    memcpy(size, &n, 4);
}

/* ---- decoding: only what the instruments need ---- */
static inline uint32_t rd32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return ntohl(v);
}
/* size of the value at p */
static inline size_t value_size(const uint8_t *p)
{
    switch (p[0] >> 4) {
    case 0x4:
        return 1;
    case 0x5:
        return 2;
    case 0x6:
        return 3;
    case 0x7:
        return 5;
    case 0x8:
        return 9;
    case 0x9:
        return 17;
    case 0xa:
    case 0xc:
    case 0xe:
        return 2 + (size_t)p[1];
    case 0xb:
    case 0xd:
    case 0xf:
        return 5 + (size_t)rd32(p + 1);
    case 0x0: {
        size_t d = value_size(p + 1);
        return 1 + d + value_size(p + 1 + d);
    }
    default:
        die("bad type code 0x%02x", p[0]);
        return 0;
    }
}
static inline uint32_t as_uint(const uint8_t *p)
{
    if (p[0] == 0x43)
        return 0;
    if (p[0] == 0x52)
        return p[1];
    if (p[0] == 0x70)
        return rd32(p + 1);
    return 0;
}
static inline bool as_bool(const uint8_t *p, bool dflt)
{
    if (p[0] == 0x41)
        return true;
    if (p[0] == 0x42)
        return false;
    if (p[0] == 0x56)
        return p[1];
    return dflt;
}
static inline const uint8_t *list_fields(const uint8_t *p, uint32_t *n)
{ /* p at the list constructor */
    if (p[0] == 0x45) {
        *n = 0;
        return p + 1;
    }
    if (p[0] == 0xc0) {
        *n = p[2];
        return p + 3;
    }
    if (p[0] == 0xd0) {
        *n = rd32(p + 5);
        return p + 9;
    }
    die("list expected, got 0x%02x", p[0]);
    return NULL;
}

#endif
