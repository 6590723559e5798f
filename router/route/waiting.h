/* waiting.h -- a message that waits for its link, or that is partly sent and whose rest is still to come. Large payload
 * is counted and not copied. Thread: the link's worker. */
#ifndef TRUNKLINE_ROUTE_WAITING_H
#define TRUNKLINE_ROUTE_WAITING_H

#include <router/route/outbox.h>
#include <trunkline/base/list.h>

/* A piece of payload that waits. */
struct chunk {
    struct chunk *next;
    struct slice rest; /* not sent yet; buf counted, NULL: the octets are below */
    bool held;         /* the origin waits to hear that it has left */
    uint8_t octets[];
};

/* A message that waits, or that is partly sent and whose rest is still to come. */
struct message {
    struct list node;
    struct origin origin;
    uint32_t message_format;
    bool settled;  /* by its sender */
    bool started;  /* some of it is sent */
    bool complete; /* its last frame is here */
    bool answered; /* its outcome came before its last frame: it is no longer in hand */
    bool annotated;
    bool needs_offer;
    struct amqp_state state; /* raw is ours */
    size_t size;             /* octets that have been appended */
    struct stamp stamp;
    struct chunk *first, **tail;
};

/* Without payload: its first frame's is appended. */
struct message *message_new(const struct frame *f);
/* Append what a frame brings, but for the first `sent` octets. held: its origin waits to hear that it has left. */
void message_append(struct message *m, const struct frame *f, size_t sent, bool held);
void message_free(struct message *m);
void chunk_free(struct chunk *c);
/* Frames that wait in m and whose origin wants to hear of them. */
uint32_t message_held_frames(const struct message *m);

#endif
