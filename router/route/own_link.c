#include <router/route/own_link.h>

#include <router/route/address_name.h>
#include <router/route/edge_wire.h>
#include <router/route/here.h>
#include <router/route/outgoing.h>
#include <router/route/registry.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/terminus.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/timer.h>
#include <trunkline/io/loop.h>
#include <trunkline/io/worker.h>

struct own_link {
    _Atomic uint32_t refs; /* of the owner, of each letter on its way, of the link */
    /* fixed at creation */
    struct connection *conn; /* counted */
    enum own_session session;
    bool is_sender, no_source, no_target, dynamic, is_served;
    char *source, *target, *capability, *key;
    uint32_t capacity;
    /* both ways */
    struct letter attach, detach, to_control; /* each is posted once at most */
    _Atomic bool is_closed; /* relaxed: spares the worker an attach that is taken back by the next letter */
    /* worker, until its letter is posted; then control */
    char *address;                 /* the peer's answer */
    char *condition, *description; /* why it has ended; the first that is said counts, but the peer's word more */
    /* worker */
    struct link *made;          /* NULL: none yet, or it has gone */
    struct amqp_session *alone; /* that it has for itself; NULL: it shares one */
    bool with_session;          /* ended so; for control when its letter is posted */
    struct timer finish;        /* armed while it is finishing */
    uint32_t left;              /* what it carried when the timer was armed last */
    struct timer refusal;       /* armed: the peer has refused it, and is to detach it */
    bool is_refused;            /* fixed once the letter to control is posted */
    /* control */
    struct own_link_owner *owner; /* NULL: closed */
    struct link *link;            /* NULL: not attached */
    bool is_bound;
    bool is_made_anyway, is_from_fallback, is_finished; /* fixed */
    struct registry_quiet quiet;                        /* before `detach` is posted, if it is finished */
};

void own_link_ref(struct own_link *o)
{
    atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
}

void own_link_unref(struct own_link *o)
{
    if (atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) != 1)
        return;
    connection_unref(o->conn);
    free(o->source);
    free(o->target);
    free(o->capability);
    free(o->key);
    free(o->address);
    free(o->condition);
    free(o->description);
    free(o);
}

static char *copy_or_null(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

/* ---- worker ---- */

static void note_end(struct own_link *o, const char *condition, const char *description)
{
    if (o->condition)
        return;
    o->condition = copy_or_null(condition);
    o->description = copy_or_null(description);
}

/* What is said where the peer does not say it: of a link that it has refused, and not detached. */
static const struct amqp_error refused = {.condition = "amqp:illegal-state",
                                          .description = "the link was refused without an error, and not detached"};

/* There is no link that could tell it. */
static void fail(struct own_link *o, const char *condition, const char *description)
{
    note_end(o, condition, description);
    own_link_ref(o);
    registry_post(&o->to_control);
}

/* Where the peer allows no more sessions it shares one after all. */
static enum err begin_alone(struct own_link *o)
{
    enum err e = amqp_session_begin(&o->conn->amqp, &o->alone);
    if (e == ERR_LIMIT)
        o->session = OWN_SESSION_MESSAGES;
    return e;
}

static void end_alone(struct own_link *o)
{
    if (o->alone)
        amqp_session_end(o->alone, NULL);
    o->alone = NULL;
}

/* The session of c for links of this kind, begun if it is not there. */
static enum err shared_session(struct connection *c, enum own_session which, struct amqp_session **out)
{
    struct amqp_session **s = &c->own_sessions[which];
    enum err e = *s ? OK : amqp_session_begin(&c->amqp, s);
    *out = *s;
    return e;
}

/* An edge router begins the session of its services along with the first one, as old ones do. */
static enum err begin_sessions(struct own_link *o)
{
    if (o->session == OWN_SESSION_ALONE && begin_alone(o) != ERR_LIMIT)
        return o->alone ? OK : ERR_CLOSED;
    struct amqp_session *s;
    enum err e = shared_session(o->conn, o->session, &s);
    if (e == OK && o->conn->settings->role == ROLE_EDGE && o->conn->connector)
        e = shared_session(o->conn, OWN_SESSION_SERVICES, &s);
    return e;
}

static enum err attach(struct own_link *o, struct link *l)
{
    char name[LINK_NAME_LEN + 1];
    enum err e = address_name_generate_link(name);
    if (e != OK)
        return e;
    struct amqp_attach a = {
        .name = name,
        .is_sender = o->is_sender,
        .source = o->source,
        .target = o->target,
        .no_source = o->no_source,
        .no_target = o->no_target,
        .dynamic = o->dynamic,
        .source_capability = o->capability,
        .target_capability = o->capability,
        .snd_settle_mode = 2,
    };
    e = amqp_link_attach(o->alone ? o->alone : o->conn->own_sessions[o->session], &l->amqp, &a);
    if (e == OK)
        l->name = xstrdup(name);
    return e;
}

/* The text of the address here, as a peer would have written it: messages that come in are for it. */
static void set_wanted(struct link *l, const char *key)
{
    size_t len;
    const char *text = address_name_of_key(key, strlen(key), &len);
    l->wanted = xstrndup(text, len);
    l->wanted_len = (uint32_t)len;
}

static enum err make_link(struct own_link *o)
{
    enum err e = begin_sessions(o);
    if (e != OK)
        return e;
    struct link *l = connection_new_link(o->conn);
    l->is_ours = true;
    l->is_incoming = !o->is_sender;
    l->is_from_fallback = o->is_from_fallback;
    l->is_served = o->is_served;
    l->is_downlink = o->capability && strcmp(o->capability, edge_wire_downlink) == 0;
    if (o->capacity)
        l->capacity = o->capacity;
    if (o->key)
        set_wanted(l, o->key);
    if (o->is_sender)
        outgoing_init(l);
    else
        l->in.round_robin = l->token.index;
    e = attach(o, l);
    if (e != OK) {
        connection_drop_link(l);
        end_alone(o);
        return e;
    }
    own_link_ref(o);
    l->own = o;
    o->made = l;
    return OK;
}

static void start(struct own_link *o)
{
    if (o->conn->ended) {
        fail(o, NULL, NULL);
        return;
    }
    o->conn->amqp.now = here_now();
    enum err e = make_link(o);
    if (e == ERR_LIMIT)
        fail(o, "amqp:resource-limit-exceeded", "the peer allows no more sessions or links");
    else if (e != OK)
        fail(o, NULL, NULL);
}

static void detach(struct own_link *o, const struct amqp_error *error)
{
    o->conn->amqp.now = here_now();
    amqp_link_detach(&o->made->amqp, true, error);
}

static void on_attach_letter(struct letter *letter)
{
    struct own_link *o = container_of(letter, struct own_link, attach);
    if (!atomic_load_explicit(&o->is_closed, memory_order_relaxed))
        start(o);
    own_link_unref(o);
}

/* Deliveries that wait on it or are unsettled. */
static uint32_t carried(const struct link *l)
{
    return l->is_incoming ? amqp_link_unsettled(&l->amqp) : l->out.queued + l->out.unsettled;
}

static void finish(struct own_link *o)
{
    struct link *l = o->made;
    o->left = carried(l);
    if (!o->left) {
        detach(o, NULL);
        return;
    }
    l->is_finishing = true;
    if (l->is_incoming)
        amqp_link_set_credit(&l->amqp, 0);
    loop_timer_after(here->loop, &o->finish, OWN_LINK_FINISH_MS);
}

void own_link_goes_on(struct link *l)
{
    struct own_link *o = l->own;
    if (carried(l) || !timer_is_armed(&o->finish))
        return;
    timer_cancel(&o->finish);
    detach(o, NULL);
}

static void on_finish_late(struct timer *t)
{
    struct own_link *o = container_of(t, struct own_link, finish);
    uint32_t left = carried(o->made);
    if (left >= o->left) {
        detach(o, NULL);
        return;
    }
    o->left = left;
    loop_timer_after(here->loop, &o->finish, OWN_LINK_FINISH_MS);
}

static void on_detach_letter(struct letter *letter)
{
    struct own_link *o = container_of(letter, struct own_link, detach);
    if (o->made && o->is_finished && o->made->answered)
        finish(o);
    else if (o->made)
        detach(o, NULL);
    own_link_unref(o);
}

/* The terminus at the peer is what was asked for. */
static bool is_usable(const struct own_link *o, const struct amqp_terminus_view *t)
{
    bool needs_address = o->dynamic || (o->is_sender ? o->target : o->source);
    return t->kind != AMQP_TERMINUS_NULL && (!needs_address || (t->address && t->address[0]));
}

static void on_refusal_late(struct timer *t)
{
    struct own_link *o = container_of(t, struct own_link, refusal);
    note_end(o, refused.condition, refused.description);
    detach(o, &refused);
    o->is_refused = true;
    own_link_ref(o);
    registry_post(&o->to_control);
}

void own_link_answered(struct link *l)
{
    struct own_link *o = l->own;
    struct amqp_terminus_view t;
    if (o->is_sender)
        amqp_link_peer_target(&l->amqp, &t);
    else
        amqp_link_peer_source(&l->amqp, &t);
    if (is_usable(o, &t)) {
        o->address = copy_or_null(t.address);
        connection_register_link(l);
    } else if (t.kind != AMQP_TERMINUS_NULL) {
        note_end(o, "amqp:invalid-field", "the answer to the attach has no address");
        detach(o, &(struct amqp_error){.condition = o->condition, .description = o->description});
    } else {
        loop_timer_after(here->loop, &o->refusal, OWN_LINK_REFUSAL_MS);
    }
}

void own_link_refuse(struct link *l, const struct amqp_error *error)
{
    own_link_detached(l, error);
    detach(l->own, error);
}

void own_link_detached(struct link *l, const struct amqp_error *error)
{
    struct own_link *o = l->own;
    if (!error)
        return;
    free(o->condition);
    free(o->description);
    o->condition = o->description = NULL;
    note_end(o, error->condition, error->description);
}

void own_link_gone(struct link *l)
{
    l->own->made = NULL;
    timer_cancel(&l->own->refusal);
    timer_cancel(&l->own->finish);
    end_alone(l->own);
}

/* Such as RabbitMQ does when there is no queue of the name: it takes all links of the session with it. */
void own_link_session_ended(const struct amqp_session *s, const struct amqp_error *error)
{
    uint32_t at = 0;
    for (struct amqp_link *lk; (lk = amqp_session_next_link(s, &at));) {
        struct link *l = container_of(lk, struct link, amqp);
        if (!l->own || l->gone)
            continue;
        l->own->with_session = true;
        own_link_detached(l, error);
    }
}

void own_link_session_gone(struct connection *c, const struct amqp_session *s)
{
    for (int i = 0; i < OWN_SESSION_COUNT; i++)
        if (c->own_sessions[i] == s)
            c->own_sessions[i] = NULL;
}

/* ---- control ---- */

/* The letter has a count of its own. */
static void tell_worker(struct own_link *o, struct letter *letter) ON_CONTROL
{
    if (registry_is_stopping())
        return;
    own_link_ref(o);
    worker_post(o->conn->io.worker, letter);
}

static void tell_ended(struct own_link *o, bool was_attached) ON_CONTROL
{
    struct own_link_owner *owner = o->owner;
    if (!owner)
        return;
    struct own_link_end e = {.was_attached = was_attached,
                             .with_session = o->with_session,
                             .condition = o->condition,
                             .description = o->description};
    owner->ended(owner, &e);
}

/* What the worker has noted is still its own. */
static void tell_refused(struct own_link *o) ON_CONTROL
{
    struct own_link_owner *owner = o->owner;
    struct own_link_end e = {.condition = refused.condition, .description = refused.description};
    if (owner && owner->refused)
        owner->refused(owner, &e);
}

static void on_control_letter(struct letter *letter)
{
    assert_on_control();
    struct own_link *o = container_of(letter, struct own_link, to_control);
    if (o->is_refused)
        tell_refused(o);
    else
        tell_ended(o, false);
    own_link_unref(o);
}

/* Any thread. It has a count. */
static void after_quiet(void *p)
{
    struct own_link *o = p;
    if (registry_is_stopping())
        own_link_unref(o);
    else
        worker_post(o->conn->io.worker, &o->detach);
}

/* What others have sent it before they heard that it is no more has to come first. */
static void tell_worker_when_quiet(struct own_link *o) ON_CONTROL
{
    if (registry_is_stopping())
        return;
    own_link_ref(o);
    registry_when_quiet(&o->quiet);
}

struct own_link *own_link_open(const struct own_link_conf *conf, struct own_link_owner *owner)
{
    struct own_link *o = xcalloc(1, sizeof *o);
    atomic_init(&o->refs, 1);
    connection_ref(conf->conn);
    o->conn = conf->conn;
    o->session = conf->session;
    o->is_sender = conf->is_sender;
    o->is_served = owner->received && !conf->is_sender;
    o->no_source = conf->no_source;
    o->no_target = conf->no_target;
    o->dynamic = conf->dynamic;
    o->source = copy_or_null(conf->source);
    o->target = copy_or_null(conf->target);
    o->capability = copy_or_null(conf->capability);
    o->key = copy_or_null(conf->key);
    o->capacity = conf->capacity;
    o->is_bound = conf->is_sender && conf->key && !conf->is_unbound;
    o->is_made_anyway = conf->is_made_anyway;
    o->is_from_fallback = conf->is_from_fallback;
    o->is_finished = conf->is_finished;
    o->quiet = (struct registry_quiet){.fn = after_quiet, .p = o};
    list_init(&o->quiet.node);
    o->attach = (struct letter)LETTER_INIT(on_attach_letter);
    o->detach = (struct letter)LETTER_INIT(on_detach_letter);
    o->to_control = (struct letter)LETTER_INIT(on_control_letter);
    timer_init(&o->refusal, on_refusal_late);
    timer_init(&o->finish, on_finish_late);
    o->owner = owner;
    tell_worker(o, &o->attach);
    return o;
}

void own_link_close(struct own_link **at)
{
    struct own_link *o = *at;
    if (!o)
        return;
    *at = NULL;
    o->owner = NULL;
    /* It no longer counts while the letter is on its way. */
    o->is_bound = false;
    if (o->link)
        registry_part(o->link);
    atomic_store_explicit(&o->is_closed, true, memory_order_relaxed);
    if (o->link && o->is_finished)
        tell_worker_when_quiet(o);
    else
        tell_worker(o, &o->detach);
    own_link_unref(o);
}

void own_link_bind(struct own_link *o, bool receives)
{
    receives = receives && o->is_sender && o->key;
    if (o->is_bound == receives)
        return;
    o->is_bound = receives;
    if (o->link)
        registry_set_receiving(o->link, receives);
}

bool own_link_is_bound(const struct own_link *o)
{
    return o->is_bound;
}

bool own_link_is_wanted(const struct own_link *o)
{
    return o->owner != NULL;
}

const char *own_link_key(const struct own_link *o)
{
    return o->key;
}

bool own_link_is_made_anyway(const struct own_link *o)
{
    return o->is_made_anyway;
}

struct link *own_link_link(const struct own_link *o)
{
    return o->link;
}

bool own_link_send(struct own_link *o, const uint8_t *message, size_t n, bool settled)
{
    if (!o->link || !o->is_sender)
        return false;
    here_send(o->link, message, n, settled);
    return true;
}

uint32_t own_link_outstanding(const struct own_link *o)
{
    return o->link ? link_load_outstanding(&o->link->load) : 0;
}

void own_link_take(struct own_link *o, const uint8_t *message, size_t n)
{
    if (o->owner)
        o->owner->received(o->owner, message, n);
}

void own_link_registered(struct link *l)
{
    struct own_link *o = l->own;
    o->link = l;
    struct own_link_answer a = {.address = o->address};
    if (o->owner)
        o->owner->attached(o->owner, &a);
}

void own_link_left(struct link *l)
{
    bool was_attached = l->own->link != NULL;
    l->own->link = NULL;
    tell_ended(l->own, was_attached);
}
