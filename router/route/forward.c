#include <router/route/forward.h>

#include <router/route/address_name.h>
#include <router/route/here.h>
#include <router/route/phase.h>
#include <router/route/rules.h>
#include <stdlib.h>
#include <trunkline/amqp/annotations.h>
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

/* It came from this edge router, which has looked among its own receivers. */
static bool is_echo(const struct destination *d, const struct passage *p)
{
    return p->edge && d->edge == p->edge;
}

/* In turn; the least loaded when all that were looked at are full. */
static const struct destination *choose_closest(const struct routes *r, const struct passage *p, uint32_t start)
{
    uint32_t look = r->count < LOOK_AT_MOST ? r->count : LOOK_AT_MOST;
    const struct destination *best = NULL;
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < look; i++) {
        const struct destination *d = &r->to[(start + i) % r->count];
        if (is_echo(d, p))
            continue;
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

static const struct destination *choose_balanced(const struct routes *r, const struct passage *p, uint32_t start)
{
    uint32_t look = r->count < LOOK_AT_MOST ? r->count : LOOK_AT_MOST;
    const struct destination *best = NULL;
    uint32_t least = UINT32_MAX;
    bool best_full = true;
    for (uint32_t i = 0; i < look; i++) {
        const struct destination *d = &r->to[(start + i) % r->count];
        if (is_echo(d, p))
            continue;
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

static const struct topology *topology_now(void)
{
    return rcu_read(&here->world->topology);
}

/* The link towards another router, when it can be reached. Result: false, it can not. */
static bool link_towards(const struct topology *t, uint32_t router, uint8_t priority, struct link_token *to,
                         struct link_load **load)
{
    if (!topology_is_reachable(t, router))
        return false;
    *to = trunk_link(t->paths[router].trunk, priority, load);
    return !link_token_is_none(*to);
}

static void count_sent(struct link_load *l)
{
    atomic_fetch_add_explicit(&l->sent, 1, memory_order_relaxed);
}

static void count_transit(struct address *a, uint32_t copies)
{
    if (copies)
        atomic_fetch_add_explicit(&a->transit, copies, memory_order_relaxed);
}

/* The router of least cost, in turn among equals. */
static bool choose_closest_remote(const struct routes *r, const struct passage *p, uint32_t start,
                                  struct link_token *to)
{
    const struct topology *t = topology_now();
    struct link_load *best_load = NULL;
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < r->remote_count; i++) {
        uint32_t router = r->remotes[(start + i) % r->remote_count];
        struct link_token link;
        struct link_load *load;
        if (!link_towards(t, router, p->priority, &link, &load) || t->paths[router].cost >= least)
            continue;
        least = t->paths[router].cost;
        best_load = load;
        *to = link;
    }
    if (best_load)
        count_sent(best_load);
    return best_load != NULL;
}

/* Compare what is in hand on the way to other routers, their cost added, with `local`, the value of the best receiver
 * here (NULL: none). */
static bool choose_balanced_remote(const struct routes *r, const struct passage *p, const struct destination *local,
                                   struct link_token *to)
{
    const struct topology *t = topology_now();
    bool best_full = local ? is_full(local) : true;
    uint32_t least = local ? link_load_outstanding(local->load) : UINT32_MAX;
    struct link_load *best_load = NULL;
    for (uint32_t i = 0; i < r->remote_count; i++) {
        uint32_t router = r->remotes[i];
        struct link_token link;
        struct link_load *load;
        if (p->ingress == FORWARD_NOWHERE || !link_towards(t, router, p->priority, &link, &load) ||
            !topology_forwards(t, p->ingress, router))
            continue;
        uint32_t outstanding = link_load_outstanding(load);
        bool full = outstanding >= t->paths[router].trunk->capacity;
        uint32_t value = outstanding + t->paths[router].cost;
        if ((best_full && !full) || (full == best_full && value < least)) {
            least = value;
            best_full = full;
            best_load = load;
            *to = link;
        }
    }
    if (best_load)
        count_sent(best_load);
    return best_load != NULL;
}

bool forward_choose(struct address *a, const struct routes *r, const struct passage *p, uint32_t *round_robin,
                    struct link_token *to)
{
    const struct destination *d = r->count == 1 && !is_echo(&r->to[0], p) ? &r->to[0] : NULL;
    uint32_t start = (*round_robin)++;
    if (r->count > 1)
        d = a->distribution == DISTRIBUTION_CLOSEST ? choose_closest(r, p, start % r->count)
                                                    : choose_balanced(r, p, start % r->count);
    bool is_closest = a->distribution == DISTRIBUTION_CLOSEST;
    if (r->remote_count && !is_closest && choose_balanced_remote(r, p, d, to)) {
        count_transit(a, 1);
        return true;
    }
    if (!d) {
        bool is_remote = is_closest && r->remote_count && choose_closest_remote(r, p, start, to);
        count_transit(a, is_remote);
        return is_remote;
    }
    count_sent(d->load);
    *to = d->link;
    return true;
}

/* ---- multicast ---- */

uint32_t forward_copies_max(const struct routes *r)
{
    const struct topology *t = r->remote_count ? topology_now() : NULL;
    return r->count + (here->world->uplink ? 1 : 0) + (t ? t->trunk_count : 0);
}

/* Whether the message has been at the router with this index. */
static bool has_passed(const struct topology *t, const struct passage *p, uint32_t router)
{
    if (!p->annotations)
        return false;
    struct amqp_reader ids = amqp_slice_reader(p->annotations->trace.ids);
    struct slice id;
    uint32_t index;
    while (amqp_left(&ids) && amqp_read_string(&ids, &id) == OK)
        if (topology_node_index(t, id, &index) && index == router)
            return true;
    return false;
}

/* Whether this neighbour already gets a copy. */
static bool is_among(const struct link_token *to, uint32_t n, struct link_token link)
{
    for (uint32_t i = 0; i < n; i++)
        if (link_token_equal(to[i], link))
            return true;
    return false;
}

uint32_t forward_copies(struct address *a, const struct routes *r, const struct passage *p, struct link_token *to)
{
    uint32_t n = 0;
    bool goes_up = p->up && p->up->count;
    for (uint32_t i = 0; i < r->count; i++) {
        if (is_echo(&r->to[i], p))
            continue;
        goes_up = goes_up && !r->to[i].edge;
        to[n++] = r->to[i].link;
        count_sent(r->to[i].load);
    }
    if (goes_up) {
        to[n++] = p->up->to[0].link;
        count_sent(p->up->to[0].load);
    }
    uint32_t local = n;
    const struct topology *t = r->remote_count && p->ingress != FORWARD_NOWHERE ? topology_now() : NULL;
    for (uint32_t i = 0; t && i < r->remote_count; i++) {
        uint32_t router = r->remotes[i];
        struct link_token link;
        struct link_load *load;
        if (!link_towards(t, router, p->priority, &link, &load) || !topology_forwards(t, p->ingress, router) ||
            is_among(to + local, n - local, link) || has_passed(t, p, t->paths[router].trunk->neighbour))
            continue;
        to[n++] = link;
        count_sent(load);
    }
    count_transit(a, n - local);
    return n;
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

/* Result: false, none of a's receivers here can have it. */
static bool choose_other_here(const struct address *a, const struct link *gone, uint32_t turn, struct link_token *to)
{
    const struct routes *r = address_routes(a);
    for (uint32_t i = 0; i < r->count; i++) {
        uint32_t at = (turn + i) % r->count;
        if (link_token_equal(r->to[at].link, gone->token) || has_gone(r->to[at].link))
            continue;
        count_sent(r->to[at].load);
        *to = r->to[at].link;
        return true;
    }
    return false;
}

bool forward_choose_other(const struct link *gone, const struct origin *o, struct link_token *to)
{
    struct address *a = gone->address;
    if ((o->flags & ORIGIN_COPY) || !a)
        return false;
    if (choose_other_here(a, gone, o->delivery_id, to))
        return true;
    /* Other routers may have receivers: then the sender tries again, and gets there. */
    struct address *fallback = address_routes(a)->remote_count ? NULL : address_fallback(a);
    if (!fallback || !choose_other_here(fallback, gone, o->delivery_id, to))
        return false;
    address_count_redirected(a);
    return true;
}

/* What is known of a message that is looked at again. */
struct second_look {
    struct amqp_message_view view;
    struct amqp_annotations annotations;
};

/* Result: false, it can not be read, or has gone too far already. */
static bool look_again(const struct slice *message, const struct topology *t, struct second_look *l)
{
    const char *why;
    const uint8_t *m = message->data;
    if (amqp_message_scan(m, message->len, AMQP_SECTION_PROPERTIES, &l->view) == ERR_INVALID)
        return false;
    struct slice section = {.data = m + l->view.message_annotations.offset, .len = l->view.message_annotations.length};
    return amqp_annotations_read(section, false, &l->annotations, &why) == OK &&
           l->annotations.trace.count <= t->most_hops + 1;
}

/* The address that for_, or the message, names. */
static struct address *find_again(const struct slice *message, const struct second_look *l,
                                  const struct named_address *for_)
{
    enum refusal why;
    if (for_->text.len)
        return forward_find(for_, &why);
    if (l->annotations.to.data)
        return forward_find(&(struct named_address){l->annotations.to, l->annotations.phase}, &why);
    struct slice text = amqp_message_to(message->data, &l->view);
    return text.len ? forward_find_named(text, &why) : NULL;
}

static bool choose_again_among(struct address *a, const struct link *gone, const struct passage *p, uint32_t turn,
                               struct link_token *to)
{
    return !a->in_process && a->distribution != DISTRIBUTION_MULTICAST &&
           forward_choose(a, address_routes(a), p, &turn, to) && !link_token_equal(*to, gone->token) && !has_gone(*to);
}

bool forward_choose_again(const struct link *gone, const struct origin *o, const struct slice *message,
                          struct named_address *for_, struct link_token *to)
{
    const struct topology *t = topology_now();
    struct second_look l;
    if ((o->flags & ORIGIN_COPY) || !t || !look_again(message, t, &l))
        return false;
    struct address *a = find_again(message, &l, for_);
    if (!a)
        return false;
    struct passage p = {.priority =
                            a->priority >= 0 ? (uint8_t)a->priority : amqp_message_priority(message->data, &l.view),
                        .annotations = &l.annotations};
    if (l.annotations.ingress.data && !topology_node_index(t, l.annotations.ingress, &p.ingress))
        p.ingress = FORWARD_NOWHERE;
    if (choose_again_among(a, gone, &p, o->delivery_id, to))
        return true;
    struct address *fallback = a->distribution == DISTRIBUTION_MULTICAST ? NULL : address_fallback(a);
    if (!fallback || !choose_again_among(fallback, gone, &p, o->delivery_id, to))
        return false;
    address_count_redirected(a);
    *for_ = forward_name_of(fallback);
    return true;
}

static const struct {
    const char *condition, *description;
} refusals[] = {
#define X(name, condition, description) {condition, description},
    REFUSALS(X)
#undef X
};

void refusal_state_init(struct refusal_state *r, enum refusal why, const char *text)
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
    amqp_write_string_of(&w, text ? text : refusals[why].description);
    amqp_write_list_end(&w, error, 2);
    amqp_write_list_end(&w, rejected, 1);
    ASSERT(w.len <= sizeof r->octets);
    r->state = (struct amqp_state){.code = AMQP_REJECTED, .raw = {.data = r->octets, .len = w.len}};
}

static bool is_unavailable(const char *key, size_t len)
{
    if (len <= 2 || key[0] != ADDRESS_MOBILE)
        return false;
    const struct rule *rule = rules_match(rcu_read(&here->world->rules), key + 2, len - 2);
    enum distribution d = rule ? rule_conf(rule)->distribution : here->world->default_distribution;
    return d == DISTRIBUTION_UNAVAILABLE;
}

/* The key of the text of an address, in `usual` if it has the room. */
static char *make_key(const char *text, size_t len, char phase, char *usual, size_t usual_size, size_t *n)
{
    size_t size = len + ADDRESS_KEY_EXTRA + ROUTER_ID_MAX;
    char *key = usual;
    if (size > usual_size)
        key = xmalloc(size);
    else
        size = usual_size;
    *n = address_name_key(&here->world->identity, text, len, phase, key, size);
    return key;
}

static struct address *find_key(const char *key, size_t n, enum refusal *why)
{
    struct address *a = n ? table_find(here->world->table, key, n) : NULL;
    if (!a)
        *why = is_unavailable(key, n) ? REFUSAL_UNAVAILABLE : REFUSAL_RELEASED;
    return a;
}

enum { KEY_USUAL_MAX = 512 };

struct address *forward_find(const struct named_address *name, enum refusal *why)
{
    char usual[KEY_USUAL_MAX], phase;
    size_t n;
    *why = REFUSAL_RELEASED;
    if (!phase_of_number(name->phase, &phase))
        return NULL;
    char *key = make_key((const char *)name->text.data, name->text.len, phase, usual, sizeof usual, &n);
    struct address *a = find_key(key, n, why);
    if (key != usual)
        free(key);
    return a;
}

struct address *forward_find_named(struct slice text, enum refusal *why)
{
    char usual[KEY_USUAL_MAX];
    size_t n;
    char *key = make_key((const char *)text.data, text.len, PHASE_DEFAULT, usual, sizeof usual, &n);
    const struct rules *rules = rcu_read(&here->world->rules);
    if (n > 2 && key[0] == ADDRESS_MOBILE && rules_have_later_ingress(rules))
        key[1] = phase_by_rule(rules_match(rules, key + 2, n - 2), true);
    struct address *a = find_key(key, n, why);
    if (key != usual)
        free(key);
    return a;
}

struct named_address forward_name_of(const struct address *a)
{
    char phase = phase_of_key(a->key);
    if (phase == PHASE_DEFAULT)
        return (struct named_address){0};
    const char *text = a->key + 2;
    return (struct named_address){.text = {.data = (const uint8_t *)text, .len = strlen(text)},
                                  .phase = phase_number(phase)};
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
