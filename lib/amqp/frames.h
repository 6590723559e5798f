/* frames.h -- the performatives on busy paths, read and written by hand, and what performative.h leaves as encoded
 * values: delivery states and errors. Pure: any thread.
 *
 * Readers take the list after the descriptor. Results: OK; ERR_TRUNCATED, ERR_INVALID: Close with amqp:decode-error.
 * Slices are borrowed from the frame. What is handed on to other peers is checked to be well-formed throughout.
 */
#ifndef TRUNKLINE_AMQP_FRAMES_H
#define TRUNKLINE_AMQP_FRAMES_H

#include <stdbool.h>
#include <stdint.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/conn.h>
#include <trunkline/amqp/performative.h>

#define FRAME_TYPE_AMQP 0
#define FRAME_TYPE_SASL 1
/* AMQP 1.0 part 2.8.7, Delivery Tag. */
#define FRAME_TAG_MAX 32

/* AMQP 1.0 part 2.7.5, Transfer. Afterwards body->at is where the payload starts. */
struct frame_transfer {
    uint32_t handle, id, message_format;
    bool has_id, has_tag, has_settled, settled, more, aborted;
    struct slice tag;
    struct amqp_state state;
};
enum err frame_read_transfer(struct amqp_reader *body, struct frame_transfer *f);

/* AMQP 1.0 part 2.7.6, Disposition. role: true, from the receiver. */
struct frame_disposition {
    bool role, settled;
    uint32_t first, last;
    struct amqp_state state;
};
enum err frame_read_disposition(struct amqp_reader *body, struct frame_disposition *f);

/* A delivery state as described value, into and out of the form that handlers see. */
enum err frame_read_state(struct amqp_reader *r, struct amqp_state *s);
void frame_write_state(struct amqp_writer *w, const struct amqp_state *s);

/* The error field of Detach, End and Close (empty: none, all of *out empty).
 * AMQP 1.0 part 2.8.14, Error. */
enum err frame_read_error(struct slice field, struct amqp_error_fields *out);
/* Octets as terminated text. Ownership: the caller's. */
char *amqp_text_of(struct slice s);

/* AMQP 1.0 part 2.7.7, Detach; 2.7.8, End; 2.7.9, Close. */
struct frame_ending {
    uint8_t performative;           /* AMQP_DESC_DETACH, _END or _CLOSE */
    bool closed;                    /* detach */
    uint32_t handle;                /* detach */
    const struct amqp_error *error; /* NULL: none */
};

/* Writers of one signature, for amqp_conn_emit(). */
typedef void frame_writer_fn(struct amqp_writer *w, const void *what);
void frame_write_begin(struct amqp_writer *w, const void *amqp_begin_fields);
void frame_write_attach(struct amqp_writer *w, const void *amqp_attach_fields);
void frame_write_flow(struct amqp_writer *w, const void *amqp_flow_fields);
void frame_write_disposition(struct amqp_writer *w, const void *frame_disposition);
void frame_write_ending(struct amqp_writer *w, const void *frame_ending);

#endif
