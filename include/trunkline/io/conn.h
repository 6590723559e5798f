/* conn.h -- joins a transport, an AMQP engine (amqp/conn.h) and a worker's loop.
 *
 * Input: when the transport is readable, bytes go into the worker's buffer of 64 KiB and from there to the engine, up
 * to a bound for each connection and turn. An idle connection holds no buffer; of a frame that has come in part, only
 * that part is kept.
 * Output: the engine's `dirty` event is passed on to io_conn_dirty(); at the end of the turn, after
 * all hooks of phase LOOP_GATHER, dirty connections are flushed and written. Time: engine deadlines run on the worker's
 * timer wheel.
 *
 * States:  live -io_conn_close-> closing -written, or time is up-> shut -peer's end of stream, or time is up-> ended
 *          live, closing -engine finished-> shut, or ended if the peer has not read all it was sent by then
 *          any -failure, io_conn_abort, workers_stop-> ended
 *   closing: what the engine has to say is written, no input is taken to heart except by the engine (Close handshake)
 *   shut:    our stream has been ended; input is thrown away, so that no reset overtakes the last frames
 *
 * The peer's stream: its end is told to the engine as amqp_conn_eof(c, NULL), a failure with its reason. After an end
 * without an AMQP close the engine has two seconds to get rid of its last words.
 *
 * `ended` is called from the loop, never from within a function of this header.
 *
 * Thread: the worker that owns the connection, for everything.
 */
#ifndef TRUNKLINE_IO_CONN_H
#define TRUNKLINE_IO_CONN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trunkline/base/buffer.h>
#include <trunkline/base/clock.h>
#include <trunkline/base/list.h>
#include <trunkline/base/timer.h>
#include <trunkline/io/loop.h>
#include <trunkline/io/transport.h>

struct amqp_conn;
struct worker;

/* Stop reading from a peer for which this much waits to be written; read on at half of it. */
#define IO_CONN_OUTPUT_MAX (16 * 1024 * 1024)

struct io_conn;
/* Exactly once; nothing touches c, its engine or transport after it: finish the engine and free c here. The transport
 * has been freed. The engine has been told the end of the stream (amqp_conn_eof), so its `closed` event came before.
 * why: "" after an orderly close, else what failed, borrowed for the call. */
typedef void io_conn_ended_fn(struct io_conn *c, const char *why);

enum io_conn_state { IO_CONN_LIVE, IO_CONN_CLOSING, IO_CONN_SHUT, IO_CONN_ENDED };

/* Embedded in the owner's connection. Members are io's unless marked (read). */
struct io_conn {
    struct worker *worker;       /* (read) */
    struct transport *transport; /* (read) NULL once ended */
    struct amqp_conn *amqp;      /* (read) */
    io_conn_ended_fn *ended;
    struct list node;       /* in the worker's connections */
    struct list work_node;  /* in the worker's list of dirty ones */
    struct list input_node; /* in the worker's list of those with input left over from this turn */
    struct loop_watch watch;
    struct timer timer;  /* engine's deadline, or that of closing; lazily armed */
    mono_ms time_limit;  /* of closing or shut */
    struct buffer *rest; /* part of a frame, or NULL */
    uint32_t rest_len;
    uint8_t state;                  /* (read) enum io_conn_state */
    bool output_blocked;            /* the transport took no more: wait for it */
    bool aborting;                  /* end at the end of this turn */
    bool eof_told;                  /* the engine knows that nothing more comes */
    bool input_stopped;             /* too much output waits */
    bool input_ended;               /* the peer's stream has ended, or failed */
    char *why;                      /* what failed, or NULL */
    uint64_t octets_in, octets_out; /* (read) */
    _Atomic int64_t heard;          /* when octets came last, monotonic ms; relaxed: it is true by itself */
};

/* Begin: watch the transport and write what the engine has to say.
 *   Ownership: takes t on OK; amqp (initialised) is borrowed until `ended`.
 *   Errors:    ERR_SYSTEM. */
enum err io_conn_open(struct io_conn *c, struct worker *w, struct transport *t, struct amqp_conn *amqp,
                      io_conn_ended_fn *ended);

/* The engine has something to flush or to write: what amqp_handler.dirty calls. */
void io_conn_dirty(struct io_conn *c);

/* When octets came last; 0: never. Thread: any, as long as c lives. */
static inline mono_ms io_conn_heard(const struct io_conn *c)
{
    return atomic_load_explicit(&c->heard, memory_order_relaxed);
}

/* Call amqp_conn_close() first if the peer shall be told. Writes what is pending, waits for the engine to be finished,
 * shuts the stream and waits for the peer to do so; all that at most for limit_ms, then ends it anyway. Harmless when
 * closing already. */
void io_conn_close(struct io_conn *c, mono_ms limit_ms);
/* End at the end of this turn, without writing anything more. why: text for `ended`. */
void io_conn_abort(struct io_conn *c, const char *why);

#endif
