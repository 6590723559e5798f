#include <trunkline/io/conn.h>

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <trunkline/amqp/conn.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/io/worker.h>

#include "worker_priv.h"

/* Octets of one connection in one turn; after that it is the others' turn. */
#define INPUT_BUDGET (256 * 1024)
#define OUTPUT_BUDGET (1024 * 1024)
/* With less room than this it is better to begin a new buffer than to make many small reads. */
#define ROOM_MIN (16 * 1024)
#define IOV_COUNT 64
/* How long the peer may take to end its stream after us, or to take our last words after it has ended its own. */
#define LINGER_MS 2000

static void mark_dirty(struct io_conn *c)
{
    if (c->state != IO_CONN_ENDED && !list_is_linked(&c->work_node))
        list_append(&c->worker->dirty, &c->work_node);
}

void io_conn_dirty(struct io_conn *c)
{
    mark_dirty(c);
}

static void set_why(struct io_conn *c, const char *why)
{
    if (c->why == NULL) /* the first cause counts */
        c->why = xstrdup(why && *why ? why : "connection failed");
}

/* The engine shall know that nothing more comes; error: NULL for an end of the stream in order. */
static void tell_eof(struct io_conn *c, const char *error)
{
    if (c->eof_told)
        return;
    c->eof_told = true;
    c->amqp->now = loop_now(c->worker->loop);
    amqp_conn_eof(c->amqp, error);
}

/* ---- time ---- */

static mono_ms deadline(const struct io_conn *c)
{
    mono_ms due = c->state == IO_CONN_SHUT ? MONO_MS_NEVER : amqp_conn_next_deadline(c->amqp);
    return due < c->time_limit ? due : c->time_limit;
}

/* The engine's deadline moves on with almost every frame. So the timer is left alone while it is armed early enough,
 * and looks for itself when it fires. */
static void arm_timer(struct io_conn *c)
{
    mono_ms due = deadline(c);
    if (due < c->timer.due)
        loop_timer_at(c->worker->loop, &c->timer, due);
}

static void limit_time(struct io_conn *c, mono_ms limit_ms)
{
    mono_ms limit = loop_now(c->worker->loop) + limit_ms;
    if (limit < c->time_limit)
        c->time_limit = limit;
    arm_timer(c);
}

static void abort_at(struct io_conn *c, const char *why)
{
    set_why(c, why);
    c->aborting = true;
    mark_dirty(c);
}

static void on_timer(struct timer *t)
{
    struct io_conn *c = container_of(t, struct io_conn, timer);
    mono_ms now = loop_now(c->worker->loop);
    if (now >= c->time_limit) {
        /* In state shut all was written and only the peer's end is missing: that is no failure. */
        if (c->state != IO_CONN_SHUT)
            set_why(c, "the connection did not close in time");
        c->aborting = true;
        mark_dirty(c);
        return;
    }
    if (c->state != IO_CONN_SHUT && now >= amqp_conn_next_deadline(c->amqp)) {
        c->amqp->now = now;
        amqp_conn_tick(c->amqp, now);
        mark_dirty(c);
    }
    arm_timer(c);
}

/* ---- input ---- */

/* Where input stands while it is being read: octets start..fill of buf have not been consumed. */
struct input {
    struct buffer *buf;
    size_t start, fill;
    bool is_private; /* a buffer for one large frame, not the worker's */
};

/* A buffer of the worker with at least `room` octets (at most BUFFER_SIZE) that nobody has kept. */
static void in_ensure(struct worker *w, size_t room)
{
    if (w->in && buffer_is_unshared(w->in))
        w->in_used = 0;
    if (w->in && w->in->size - w->in_used >= room)
        return;
    if (w->in)
        buffer_unref(w->in);
    w->in = buffer_new(BUFFER_SIZE);
    w->in_used = 0;
}

/* Go on in the worker's buffer, with the left-over octets at `rest` in front. */
static void input_in_worker(struct worker *w, struct input *in, const uint8_t *rest, size_t rest_len)
{
    size_t room = rest_len + ROOM_MIN;
    in_ensure(w, room < BUFFER_SIZE ? room : BUFFER_SIZE);
    memmove(w->in->bytes + w->in_used, rest, rest_len);
    *in = (struct input){.buf = w->in, .start = w->in_used, .fill = w->in_used + rest_len};
}

/* Take up what the last turn left. */
static void input_begin(struct io_conn *c, struct input *in)
{
    struct buffer *rest = c->rest;
    c->rest = NULL;
    if (rest == NULL) {
        input_in_worker(c->worker, in, (const uint8_t *)"", 0);
    } else if (rest->size > c->rest_len) { /* made for a large frame */
        *in = (struct input){.buf = rest, .fill = c->rest_len, .is_private = true};
    } else {
        input_in_worker(c->worker, in, rest->bytes, c->rest_len);
        buffer_unref(rest);
    }
}

/* Go on in another buffer, large enough for a frame of `need` octets, of which start..fill are there. */
static void input_move(struct worker *w, struct input *in, size_t need)
{
    struct input old = *in;
    size_t left = old.fill - old.start;
    if (!old.is_private)
        w->in_used = (uint32_t)old.start;
    if (need > BUFFER_SIZE) {
        *in = (struct input){.buf = buffer_new(need), .fill = left, .is_private = true};
        memcpy(in->buf->bytes, old.buf->bytes + old.start, left);
        if (old.is_private)
            buffer_unref(old.buf);
        return;
    }
    if (!old.is_private) { /* its count was the worker's: ours until the left-over has been copied */
        w->in = NULL;
        w->in_used = 0;
    }
    input_in_worker(w, in, old.buf->bytes + old.start, left);
    buffer_unref(old.buf);
}

/* Make room for more: a frame of `need` octets begins at start (0: not known yet). */
static void input_make_room(struct worker *w, struct input *in, size_t need)
{
    size_t left = in->fill - in->start, room = in->buf->size - in->fill;
    if (!in->is_private && left == 0 && buffer_is_unshared(in->buf)) {
        in->start = in->fill = 0;
        return;
    }
    bool frame_fits = in->start + need <= in->buf->size;
    bool is_full = in->is_private ? left == 0 || room == 0 : room < ROOM_MIN;
    if (is_full || !frame_fits)
        input_move(w, in, need);
}

/* Keep what is left for the next turn, in no more memory than it needs. */
static void input_end(struct io_conn *c, struct input *in, size_t need)
{
    size_t left = in->fill - in->start;
    if (in->is_private && left && in->start == 0 && in->fill < in->buf->size) {
        c->rest = in->buf;
        c->rest_len = (uint32_t)left;
        return;
    }
    if (left) {
        c->rest = buffer_new(need > BUFFER_SIZE ? need : left);
        c->rest_len = (uint32_t)left;
        memcpy(c->rest->bytes, in->buf->bytes + in->start, left);
    }
    if (in->is_private)
        buffer_unref(in->buf);
    else
        c->worker->in_used = (uint32_t)in->start;
}

/* Give the engine what there is. Result: octets of the frame that is not complete, 0: unknown. */
static size_t input_feed(struct io_conn *c, struct input *in)
{
    size_t need = 0;
    if (c->state != IO_CONN_SHUT && !amqp_conn_is_closed(c->amqp)) {
        c->amqp->now = loop_now(c->worker->loop);
        in->start += amqp_conn_input(c->amqp, in->buf, in->buf->bytes + in->start, in->fill - in->start, &need);
        ASSERT(in->start <= in->fill);
    }
    if (c->state == IO_CONN_SHUT || amqp_conn_is_closed(c->amqp)) { /* takes no more: thrown away */
        in->start = in->fill;
        need = 0;
    }
    return need;
}

static void stream_has_ended(struct io_conn *c, enum err e)
{
    c->input_ended = true;
    if (e == ERR_SYSTEM) {
        const char *why = c->transport->ops->why(c->transport);
        tell_eof(c, why);
        abort_at(c, why);
        return;
    }
    if (c->state != IO_CONN_SHUT && !amqp_conn_is_closed(c->amqp))
        set_why(c, "the peer closed the connection without an AMQP close");
    tell_eof(c, NULL);
    if (c->state == IO_CONN_LIVE)
        c->state = IO_CONN_CLOSING;
    limit_time(c, LINGER_MS);
    mark_dirty(c);
}

static void hold_input(struct io_conn *c)
{
    const struct transport_ops *ops = c->transport->ops;
    if (ops->holds_input && ops->holds_input(c->transport) && !list_is_linked(&c->input_node))
        list_append(&c->worker->input_held, &c->input_node);
}

static bool may_read(const struct io_conn *c)
{
    return !c->input_ended && !c->input_stopped && !c->aborting;
}

static void read_input(struct io_conn *c)
{
    struct input in;
    size_t need = 0, budget = INPUT_BUDGET;
    enum err e = OK;
    list_remove(&c->input_node);
    input_begin(c, &in);
    while (may_read(c)) {
        size_t room = in.buf->size - in.fill, got = 0;
        ASSERT(room > 0);
        e = c->transport->ops->receive(c->transport, in.buf->bytes + in.fill, room, &got);
        if (e != OK)
            break;
        in.fill += got;
        c->octets_in += got;
        atomic_store_explicit(&c->heard, loop_now(c->worker->loop), memory_order_relaxed);
        need = input_feed(c, &in);
        if (got < room || got >= budget)
            break;
        budget -= got;
        input_make_room(c->worker, &in, need);
    }
    input_end(c, &in, need);
    if (e == ERR_CLOSED || e == ERR_SYSTEM)
        stream_has_ended(c, e);
    else
        hold_input(c);
    mark_dirty(c); /* deadlines and interest have changed; the engine may be finished */
}

static void on_input_timer(struct timer *t)
{
    struct worker *w = container_of(t, struct worker, input_timer);
    struct list held;
    list_init(&held);
    list_splice(&held, &w->input_held);
    for (struct list *n; (n = list_take_first(&held));)
        read_input(list_entry(n, struct io_conn, input_node));
}

/* ---- events of the transport ---- */

/* Trouble is told again and again until somebody looks at it. Nobody reads; if there is output, writing it fails. */
static void look_at_trouble(struct io_conn *c)
{
    if (c->input_ended || amqp_conn_pending(c->amqp) == 0)
        abort_at(c, "the peer has closed the connection");
    else
        mark_dirty(c);
}

static void on_ready(struct io_conn *c, uint32_t events)
{
    const uint32_t trouble = EPOLLHUP | EPOLLERR;
    const struct transport *t = c->transport;
    if (c->output_blocked && (events & (trouble | t->ops->wants(t, false, true)))) {
        c->output_blocked = false;
        mark_dirty(c);
    }
    if (may_read(c) && (events & (trouble | t->ops->wants(t, true, false))))
        read_input(c);
    else if (events & trouble)
        look_at_trouble(c);
}

static void on_watch(struct loop_watch *w, uint32_t events)
{
    on_ready(container_of(w, struct io_conn, watch), events);
}

static void on_transport_ready(struct transport *t, uint32_t events)
{
    on_ready(t->conn, events);
}

static void update_interest(struct io_conn *c)
{
    if (c->watch.fd >= 0)
        loop_watch_change(c->worker->loop, &c->watch,
                          c->transport->ops->wants(c->transport, may_read(c), c->output_blocked));
}

/* ---- output, and the end ---- */

static size_t total(const struct iovec *iov, int n)
{
    size_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += iov[i].iov_len;
    return sum;
}

static void write_output(struct io_conn *c)
{
    struct iovec iov[IOV_COUNT];
    size_t budget = OUTPUT_BUDGET;
    while (!c->output_blocked) {
        int n = amqp_conn_output(c->amqp, iov, IOV_COUNT);
        if (n == 0)
            return;
        size_t sent = 0, offered = total(iov, n);
        enum err e = c->transport->ops->send(c->transport, iov, n, &sent);
        if (e == ERR_SYSTEM) {
            const char *why = c->transport->ops->why(c->transport);
            set_why(c, why);
            c->aborting = true;
            tell_eof(c, why);
            return;
        }
        c->output_blocked = e == ERR_AGAIN || sent < offered;
        c->octets_out += sent;
        if (sent)
            amqp_conn_written(c->amqp, sent);
        if (sent >= budget) {
            mark_dirty(c); /* the rest after the others */
            return;
        }
        budget -= sent;
    }
}

static void bound_output(struct io_conn *c)
{
    size_t pending = amqp_conn_pending(c->amqp);
    if (pending > IO_CONN_OUTPUT_MAX)
        c->input_stopped = true;
    else if (pending < IO_CONN_OUTPUT_MAX / 2)
        c->input_stopped = false;
}

/* Close the socket and say the last word. */
static void end(struct io_conn *c)
{
    struct worker *w = c->worker;
    tell_eof(c, c->why);
    c->state = IO_CONN_ENDED;
    timer_cancel(&c->timer);
    loop_watch_remove(w->loop, &c->watch);
    list_remove(&c->node);
    list_remove(&c->work_node);
    list_remove(&c->input_node);
    c->transport->ops->free(c->transport);
    c->transport = NULL;
    if (c->rest)
        buffer_unref(c->rest);
    c->rest = NULL;
    worker_release(w);
    char *why = c->why;
    c->why = NULL;
    c->ended(c, why ? why : "");
    free(why);
}

/* All is said: end our stream, so that the peer gets it whole even if it is still sending. */
static void begin_shut(struct io_conn *c)
{
    limit_time(c, LINGER_MS);
    enum err e = c->transport->ops->shut(c->transport);
    c->output_blocked = e == ERR_AGAIN;
    if (e == ERR_AGAIN)
        return;
    c->state = IO_CONN_SHUT;
    c->input_stopped = false;
    if (e != OK) /* the peer is gone, and we had nothing more to say */
        c->aborting = true;
}

/* The engine is finished. If it leaves octets behind it is because the peer does not take them: whoever waits until the
 * transport takes output again would wait for that peer for ever. */
static void finish(struct io_conn *c)
{
    if (amqp_conn_pending(c->amqp)) {
        set_why(c, "the peer did not read what it was sent");
        c->aborting = true;
    } else if (!c->output_blocked) {
        begin_shut(c);
    }
}

/* What one connection has to do at the end of a turn. */
static void work(struct io_conn *c)
{
    if (!c->aborting && c->state != IO_CONN_SHUT) {
        c->amqp->now = loop_now(c->worker->loop);
        amqp_conn_flush(c->amqp);
        write_output(c);
        bound_output(c);
        if (!c->aborting && amqp_conn_is_finished(c->amqp))
            finish(c);
    }
    bool all_is_said = c->state == IO_CONN_SHUT && c->input_ended;
    if (c->aborting || all_is_said) {
        end(c);
        return;
    }
    update_interest(c);
    arm_timer(c);
}

/* Result: whether there was anything: what was told to owners may have given others work. */
static bool on_flush(struct loop_hook *h)
{
    struct worker *w = container_of(h, struct worker, flush_hook);
    struct list now;
    list_init(&now);
    list_splice(&now, &w->dirty); /* those that get dirty meanwhile: next round */
    bool did_something = !list_is_empty(&now);
    for (struct list *n; (n = list_take_first(&now));)
        work(list_entry(n, struct io_conn, work_node));
    if (!list_is_empty(&w->input_held)) /* timers of this turn have run: it fires in the next */
        loop_timer_after(w->loop, &w->input_timer, 0);
    return did_something;
}

/* ---- for the owner ---- */

enum err io_conn_open(struct io_conn *c, struct worker *w, struct transport *t, struct amqp_conn *amqp,
                      io_conn_ended_fn *ended)
{
    *c = (struct io_conn){
        .worker = w,
        .transport = t,
        .amqp = amqp,
        .ended = ended,
        .watch = LOOP_WATCH_INIT(on_watch),
        .time_limit = MONO_MS_NEVER,
        .state = IO_CONN_LIVE,
    };
    list_init(&c->work_node);
    list_init(&c->input_node);
    timer_init(&c->timer, on_timer);
    if (t->fd >= 0) {
        enum err e = loop_watch_add(w->loop, &c->watch, t->fd, t->ops->wants(t, true, false));
        if (e != OK)
            return e;
    }
    t->conn = c;
    t->ready = on_transport_ready;
    list_append(&w->conns, &c->node);
    worker_reserve(w);
    mark_dirty(c);
    return OK;
}

void io_conn_close(struct io_conn *c, mono_ms limit_ms)
{
    if (c->state != IO_CONN_LIVE)
        return;
    c->state = IO_CONN_CLOSING;
    limit_time(c, limit_ms);
    mark_dirty(c);
}

void io_conn_abort(struct io_conn *c, const char *why)
{
    if (c->state != IO_CONN_ENDED)
        abort_at(c, why);
}

/* ---- for the worker ---- */

static bool on_idle(struct loop_hook *h)
{
    struct worker *w = container_of(h, struct worker, idle_hook);
    if (w->in)
        buffer_unref(w->in);
    w->in = NULL;
    return false;
}

void io_conn_worker_init(struct worker *w)
{
    list_init(&w->conns);
    list_init(&w->dirty);
    list_init(&w->input_held);
    timer_init(&w->input_timer, on_input_timer);
    w->flush_hook = (struct loop_hook)LOOP_HOOK_INIT(on_flush);
    w->idle_hook = (struct loop_hook)LOOP_HOOK_INIT(on_idle);
    loop_hook_add(w->loop, &w->flush_hook, LOOP_FLUSH);
    loop_hook_add(w->loop, &w->idle_hook, LOOP_IDLE);
}

void io_conn_worker_fini(struct worker *w)
{
    ASSERT(list_is_empty(&w->conns));
    loop_hook_remove(&w->flush_hook);
    loop_hook_remove(&w->idle_hook);
    timer_cancel(&w->input_timer);
    if (w->in)
        buffer_unref(w->in);
    w->in = NULL;
}
