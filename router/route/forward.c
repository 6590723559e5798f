#include <router/route/forward.h>

#include <router/route/address_name.h>
#include <router/route/here.h>
#include <router/route/rules.h>
#include <stdlib.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/message.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

/* Of so many destinations the best is looked for; it keeps the cost of a message even where thousands receive. */
enum { LOOK_AT_MOST = 16 };

static bool is_full(const struct destination *d)
{
    return link_load_outstanding(d->load) >= d->capacity;
}

/* In turn; the least loaded when all that were looked at are full. */
static const struct destination *choose_closest(const struct routes *r, uint32_t start)
{
    uint32_t look = r->count < LOOK_AT_MOST ? r->count : LOOK_AT_MOST;
    const struct destination *best = NULL;
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < look; i++) {
        const struct destination *d = &r->to[(start + i) % r->count];
        uint32_t n = link_load_outstanding(d->load);
        if (n < d->capacity)
            return d;
        if (n < least || !best) {
            least = n;
            best = d;
        }
    }
    return best;
}

static const struct destination *choose_balanced(const struct routes *r, uint32_t start)
{
    uint32_t look = r->count < LOOK_AT_MOST ? r->count : LOOK_AT_MOST;
    const struct destination *best = NULL;
    uint32_t least = UINT32_MAX;
    bool best_full = true;
    for (uint32_t i = 0; i < look; i++) {
        const struct destination *d = &r->to[(start + i) % r->count];
        uint32_t n = link_load_outstanding(d->load);
        bool full = is_full(d);
        if (!best || (best_full && !full) || (full == best_full && n < least)) {
            least = n;
            best = d;
            best_full = full;
        }
        if (n == 0)
            break;
    }
    return best;
}

const struct destination *forward_choose(const struct address *a, const struct routes *r, uint32_t *round_robin)
{
    const struct destination *d = &r->to[0];
    if (r->count > 1) {
        uint32_t start = (*round_robin)++ % r->count;
        d = a->distribution == DISTRIBUTION_CLOSEST ? choose_closest(r, start) : choose_balanced(r, start);
    }
    atomic_fetch_add_explicit(&d->load->sent, 1, memory_order_relaxed);
    return d;
}

/* Whether a link of this worker has gone, or goes with its session or connection, though the routes do not say so yet:
 * several may end in one turn, and must not hand messages to each other in a circle, nor all of them from one to the
 * next. Those of other workers turn away what they get, until the routes are new. */
static bool has_gone(struct link_token t)
{
    if (t.worker != here->worker)
        return false;
    const struct link *l = link_slots_find(here->slots, t);
    return !l || l->gone || !amqp_link_is_open(&l->amqp);
}

bool forward_choose_other(const struct link *gone, const struct origin *o, struct link_token *to)
{
    if ((o->flags & ORIGIN_COPY) || !gone->address)
        return false;
    const struct routes *r = address_routes(gone->address);
    for (uint32_t i = 0; i < r->count; i++) {
        uint32_t at = (o->delivery_id + i) % r->count;
        if (link_token_equal(r->to[at].link, gone->token) || has_gone(r->to[at].link))
            continue;
        atomic_fetch_add_explicit(&r->to[at].load->sent, 1, memory_order_relaxed);
        *to = r->to[at].link;
        return true;
    }
    return false;
}

static const struct {
    const char *condition, *description;
} refusals[] = {
#define X(name, condition, description) {condition, description},
    REFUSALS(X)
#undef X
};

void refusal_state_init(struct refusal_state *r, enum refusal why)
{
    if (!refusals[why].condition) {
        r->state = state_released;
        return;
    }
    /* rejected(error(condition, description)): AMQP 1.0 part 3.4.3, Rejected */
    struct amqp_writer w = amqp_writer(r->octets, sizeof r->octets);
    amqp_write_descriptor(&w, AMQP_REJECTED);
    size_t rejected = amqp_write_list_begin(&w);
    amqp_write_descriptor(&w, 0x1d);
    size_t error = amqp_write_list_begin(&w);
    amqp_write_symbol_of(&w, refusals[why].condition);
    amqp_write_string_of(&w, refusals[why].description);
    amqp_write_list_end(&w, error, 2);
    amqp_write_list_end(&w, rejected, 1);
    ASSERT(w.len <= sizeof r->octets);
    r->state = (struct amqp_state){.code = AMQP_REJECTED, .raw = {.data = r->octets, .len = w.len}};
}

struct address *forward_find(const char *text, size_t len, enum refusal *why)
{
    char key[1024];
    size_t n = address_name_key(&here->world->identity, text, len, '0', key, sizeof key);
    struct address *a = n ? table_find(here->world->table, key, n) : NULL;
    if (a)
        return a;
    *why = REFUSAL_RELEASED;
    if (n > 2 && key[0] == 'M') {
        const struct rule *rule = rules_match(rcu_read(&here->world->rules), key + 2, n - 2);
        enum distribution d = rule ? rule_conf(rule)->distribution : here->world->default_distribution;
        if (d == DISTRIBUTION_UNAVAILABLE)
            *why = REFUSAL_UNAVAILABLE;
    }
    return NULL;
}

struct slice forward_strip_annotations(const struct slice *message, bool cut)
{
    struct amqp_message_view v;
    const uint8_t *m = message->data;
    enum err e = amqp_message_scan(m, message->len, AMQP_SECTION_MESSAGE_ANNOTATIONS, &v);
    if (e == ERR_INVALID)
        return (struct slice){0};
    uint32_t at = v.message_annotations.offset, end = at + v.message_annotations.length;
    struct buffer *b = buffer_new(message->len);
    memcpy(b->bytes, m, at);
    uint32_t kept = amqp_message_strip_router_annotations(m, &v, cut, b->bytes + at);
    memcpy(b->bytes + at + kept, m + end, message->len - end);
    return (struct slice){.buf = b, .data = b->bytes, .len = at + kept + message->len - end};
}

void relayed_state_init(struct relayed_state *r, const struct amqp_state *said)
{
    r->state = *said;
    r->octets = NULL;
    if (said->code != AMQP_MODIFIED)
        return;
    if (!said->raw.len) {
        r->state = state_failed;
        return;
    }
    struct amqp_reader in = amqp_slice_reader(said->raw);
    struct amqp_compound fields = {0};
    uint64_t code;
    bool undeliverable_here = false;
    if (amqp_read_descriptor(&in, &code) != OK || amqp_enter_list(&in, &fields) != OK)
        return;
    if (fields.count >= 1)
        amqp_skip(&fields.in);
    if (fields.count >= 2 && !amqp_read_null(&fields.in) && amqp_read_bool(&fields.in, &undeliverable_here) != OK)
        return;
    size_t rest = fields.count >= 3 ? amqp_left(&fields.in) : 0;
    r->octets = xmalloc(rest + 32);
    struct amqp_writer w = amqp_writer(r->octets, rest + 32);
    amqp_write_descriptor(&w, AMQP_MODIFIED);
    size_t list = amqp_write_list_begin(&w);
    amqp_write_bool(&w, true);
    amqp_write_bool(&w, undeliverable_here);
    amqp_write_raw(&w, fields.in.at, rest);
    amqp_write_list_end(&w, list, fields.count >= 3 ? fields.count : 2);
    ASSERT(w.len <= rest + 32);
    r->state.raw = (struct slice){.data = r->octets, .len = w.len};
}

void relayed_state_fini(struct relayed_state *r)
{
    free(r->octets);
    r->octets = NULL;
}
