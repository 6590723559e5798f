/* Messages on a link that routers share: a large one goes on a link of its own (outgoing.h, stream.h). */
#include "outgoing_priv.h"

#include <router/route/connection.h>
#include <router/route/here.h>
#include <router/route/stream.h>
#include <trunkline/base/log.h>

/* From so many octets on a message whose end has not come does not wait for it (wire-protocol reference 2.3). */
enum { GATHER_MAX = 128 * 1024 };

/* m goes on a link of its own. An old router sends a message to a balanced address so only to whom has offered such
 * links, any other one to everybody (wire-protocol reference 2.3); the link that all share has to do, then. */
static void send_as_stream(struct link *l, struct message *m)
{
    if (m->needs_offer && !l->conn->offers_streams) {
        outgoing_enqueue(l, m);
        outgoing_sendable(l);
        return;
    }
    outgoing_load_done(l);
    struct link *s = stream_take(l->conn);
    if (!s) {
        LOG_PEER(ROUTER_CORE, WARNING,
                 "[C%llu] the peer allows no link more: a large message is released instead of sent",
                 (unsigned long long)l->conn->id);
        outgoing_not_deliverable(l, &m->origin, m->settled, 0);
        message_free(m);
        return;
    }
    atomic_fetch_add_explicit(&s->load.sent, 1, memory_order_relaxed);
    outgoing_enqueue(s, m);
    outgoing_sendable(s);
}

/* What is gathered is bounded, so the sender need not wait for it to leave. */
static void gather_frame(struct message *m, const struct frame *f)
{
    here_answer(&f->origin, f->held, false, &state_none);
    message_append(m, f, 0, false);
    m->complete = !f->more;
}

void outgoing_gather(struct link *l, const struct frame *f)
{
    struct message *m = message_new(f);
    gather_frame(m, f);
    if (f->streams)
        send_as_stream(l, m);
    else
        list_append(&l->out.gathering, &m->node);
}

static void gather_more(struct link *l, struct message *m, const struct frame *f)
{
    if (!f->aborted)
        gather_frame(m, f);
    if (f->more && m->size < GATHER_MAX)
        return;
    list_remove(&m->node);
    if (f->aborted) {
        here_answer(&f->origin, f->held, false, &state_none);
        outgoing_load_done(l);
        message_free(m);
    } else if (m->complete) {
        outgoing_enqueue(l, m);
        outgoing_sendable(l);
    } else {
        send_as_stream(l, m);
    }
}

void outgoing_continue_shared(struct link *l, const struct frame *f)
{
    struct message *m = outgoing_find_incomplete(&l->out.gathering, &f->origin);
    if (m) {
        gather_more(l, m, f);
        return;
    }
    if (outgoing_find_incomplete(&l->out.queue, &f->origin)) {
        outgoing_continue(l, f);
        return;
    }
    struct link *s = stream_next_busy(l->conn, NULL);
    while (s && !outgoing_find_incomplete(&s->out.queue, &f->origin))
        s = stream_next_busy(l->conn, s);
    if (s)
        outgoing_continue(s, f);
    else
        here_answer(&f->origin, f->held, false, &state_none);
}
