#include <router/route/here.h>

#include <router/route/incoming.h>
#include <router/route/outgoing.h>
#include <trunkline/io/worker.h>

_Thread_local struct route_here *here;

/* fixed before the workers start */
static const struct routed_arrivals *routed;
static void (*goes_on)(struct link *l);

void here_set_routed_arrivals(const struct routed_arrivals *a)
{
    routed = a;
}

void here_set_goes_on(void (*fn)(struct link *l))
{
    goes_on = fn;
}

const struct amqp_state state_none = {.code = AMQP_STATE_NONE};
const struct amqp_state state_accepted = {.code = AMQP_ACCEPTED};
const struct amqp_state state_released = {.code = AMQP_RELEASED};
/* modified(delivery-failed=true, undeliverable-here=false): AMQP 1.0 part 3.4.5, Modified */
static const uint8_t failed_octets[] = {0x00, 0x53, 0x27, 0xc0, 0x03, 0x02, 0x41, 0x42};
const struct amqp_state state_failed = {
    .code = AMQP_MODIFIED,
    .raw = {.data = failed_octets, .len = sizeof failed_octets},
};

static void frame_arrives(struct link_token to, const struct frame *f)
{
    struct link *l = link_slots_find(here->slots, to);
    if (l && link_is_routed(l))
        routed->frame(l, f);
    else if (l && !l->is_incoming)
        outgoing_deliver(l, f);
    else if (f->held) /* the rest of a message whose link is no more */
        here_answer(&f->origin, 1, false, &state_none);
}

static void answer_arrives(const struct answer *a)
{
    struct link *l = link_slots_find(here->slots, a->link);
    if (!l || !l->is_incoming || l->gone)
        return;
    if (link_is_routed(l))
        routed->answer(l, a);
    else
        incoming_answer(l, a);
    if (l->is_finishing)
        goes_on(l);
}

static void frame_from_afar(struct link_token to, const struct frame *f)
{
    if (!here->ending)
        frame_arrives(to, f);
}

static void answer_from_afar(const struct answer *a)
{
    if (!here->ending)
        answer_arrives(a);
}

static void note_from_afar(const struct link_note *n)
{
    if (!here->ending)
        routed->note(link_slots_find(here->slots, n->to), n);
}

static void post_to_worker(int worker, struct letter *l)
{
    worker_post(worker_by_index(worker), l);
}

const struct outbox_handler here_arrivals = {
    .post = post_to_worker, .frame = frame_from_afar, .answer = answer_from_afar, .note = note_from_afar};

void here_deliver(struct link_token to, const struct frame *f)
{
    if (to.worker == here->worker)
        frame_arrives(to, f);
    else
        outbox_put_frame(here->outboxes, to, f);
}

void here_note(const struct link_note *n)
{
    if (n->to.worker == here->worker)
        routed->note(link_slots_find(here->slots, n->to), n);
    else
        outbox_put_note(here->outboxes, n);
}

void here_send(struct link *to, const uint8_t *message, size_t n, bool settled)
{
    struct frame f = {
        .origin = {.link = LINK_TOKEN_NONE, .flags = settled ? ORIGIN_SETTLED : 0},
        .first = true,
        .settled = settled,
        .payload = {.data = message, .len = n},
    };
    atomic_fetch_add_explicit(&to->load.sent, 1, memory_order_relaxed);
    here_deliver(to->token, &f);
}

/* States with fields are borrowed, and a copy's answer is no one else's. */
static bool may_be_gathered(const struct answer *a)
{
    return here->gathers && a->done && !a->frames && !a->state.raw.len && !(a->flags & ORIGIN_COPY);
}

static bool continues(const struct answer *before, const struct answer *a)
{
    return a->first == before->last + 1 && link_token_equal(a->link, before->link) && a->flags == before->flags &&
           a->state.code == before->state.code;
}

static void pass_last(void)
{
    if (!here->has_gathered)
        return;
    here->has_gathered = false;
    struct answer a = here->gathered;
    answer_arrives(&a);
}

void here_pass_gathered(void)
{
    here->gathers = false;
    pass_last();
}

static void answer_here(const struct answer *a)
{
    bool is_gathered = may_be_gathered(a);
    if (is_gathered && here->has_gathered && continues(&here->gathered, a)) {
        here->gathered.last = a->last;
        return;
    }
    pass_last();
    if (is_gathered) {
        here->gathered = *a;
        here->has_gathered = true;
        return;
    }
    answer_arrives(a);
}

void here_answer(const struct origin *o, uint32_t frames, bool done, const struct amqp_state *state)
{
    if (link_token_is_none(o->link) || (!frames && !done && state->code == AMQP_STATE_NONE))
        return;
    struct answer a = {
        .link = o->link,
        .first = o->delivery_id,
        .last = o->delivery_id,
        .flags = o->flags,
        .frames = frames,
        .done = done,
        .state = *state,
    };
    if (o->link.worker == here->worker)
        answer_here(&a);
    else
        outbox_put_answer(here->outboxes, &a);
}
