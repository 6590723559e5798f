#include <router/route/routed_link.h>

#include <router/route/address_name.h>
#include <router/route/here.h>
#include <router/route/registry.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/performative.h>
#include <trunkline/amqp/terminus.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/log.h>
#include <trunkline/io/worker.h>

#include "routed_link_priv.h"

/* What is said of an attach between two workers: a letter with a copy of everything. */
struct routed_request {
    struct letter letter;
    struct connection *to;    /* counted */
    struct routed_pair *pair; /* counted */
    struct link_token near;
    struct routed_session_key session; /* the near end's */
    bool far_sends;
    char *name, *other_name;
    struct amqp_attach_terms terms; /* in memory */
    void *memory;
};

struct routed_answer {
    struct letter letter;
    struct link_token near, far;
    struct amqp_attach_terms terms; /* in memory */
    void *memory;
};

/* ---- notes ---- */

void routed_tell(struct link *l, enum routed_note kind, uint32_t number, bool flag, const struct slice *octets)
{
    struct routed_link *r = l->routed;
    if (link_token_is_none(r->peer) || r->told)
        return;
    struct link_note n = {.to = r->peer, .from = l->token, .number = number, .kind = (uint8_t)kind, .flag = flag};
    if (octets)
        n.octets = *octets;
    here_note(&n);
}

/* The last that this end says. */
static void tell_end(struct link *l, enum routed_note kind, bool closed, const struct slice *error)
{
    routed_tell(l, kind, 0, closed, error);
    l->routed->told = true;
}

/* An error as octets. Ownership: the caller frees out->data. */
static void error_encode(const struct amqp_error *e, struct slice *out)
{
    *out = (struct slice){0};
    if (!e || !e->condition)
        return;
    struct amqp_error_fields f = {0};
    struct slice condition = {.data = (const uint8_t *)e->condition, .len = strlen(e->condition)};
    AMQP_SET(&f, condition, condition);
    if (e->description) {
        struct slice description = {.data = (const uint8_t *)e->description, .len = strlen(e->description)};
        AMQP_SET(&f, description, description);
    }
    if (e->info.len)
        AMQP_SET(&f, info, e->info);
    size_t room = condition.len + (e->description ? strlen(e->description) : 0) + e->info.len + 64;
    uint8_t *memory = xmalloc(room);
    struct amqp_writer w = amqp_writer(memory, room);
    amqp_write_error(&w, &f);
    *out = (struct slice){.data = memory, .len = w.len};
}

void routed_detach(struct link *l, bool closed, const struct slice *error)
{
    l->routed->was_detached = true;
    /* Whoever closes a link gets no other answer (AMQP 1.0 part 2.6.6, Closing A Link). RabbitMQ 3 answers without it.
     */
    closed = closed || l->routed->was_closed;
    l->amqp.conn->now = here_now();
    struct amqp_error_fields f;
    struct amqp_reader in = amqp_slice_reader(*error);
    uint64_t descriptor;
    bool has_error = error->len && amqp_read_descriptor(&in, &descriptor) == OK && amqp_read_error(&in, &f) == OK;
    if (!has_error) {
        amqp_link_detach(&l->amqp, closed, NULL);
        return;
    }
    char *condition = xstrndup((const char *)f.condition.data, f.condition.len);
    char *description = f.has.description ? xstrndup((const char *)f.description.data, f.description.len) : NULL;
    struct amqp_error e = {.condition = condition, .description = description, .info = f.info};
    if (!l->is_ours && !(l->amqp.flags & AMQP_LINK_ATTACHED_LOCAL))
        connection_log_refused(l, condition, description);
    amqp_link_detach(&l->amqp, closed, &e);
    free(condition);
    free(description);
}

static void refuse(struct link_token near, const struct amqp_error *error)
{
    struct slice octets;
    error_encode(error, &octets);
    here_note(
        &(struct link_note){.to = near, .from = LINK_TOKEN_NONE, .kind = NOTE_DETACH, .flag = true, .octets = octets});
    free((void *)octets.data);
}

/* Deliver a letter to a worker. Notes to ends on this one come at once, so a letter must not come later than those that
 * are said after it. */
static void post(struct worker *w, int index, struct letter *letter)
{
    if (index == here->worker)
        letter->deliver(letter);
    else
        worker_post(w, letter);
}

/* ---- the request, from the near worker to the far one ---- */

/* A copy of all that t points to in one block, which the caller frees. */
static void *terms_copy(const struct amqp_attach_terms *t, struct amqp_attach_terms *out)
{
    *out = *t;
    struct slice *parts[] = {&out->source, &out->target, &out->offered_capabilities, &out->desired_capabilities,
                             &out->properties};
    size_t size = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        size += parts[i]->len;
    uint8_t *memory = xmalloc(size + 1), *at = memory;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i]->len)
            memcpy(at, parts[i]->data, parts[i]->len);
        *parts[i] = (struct slice){.data = at, .len = parts[i]->len};
        at += parts[i]->len;
    }
    return memory;
}

static void request_free(struct routed_request *q)
{
    connection_unref(q->to);
    routed_pair_unref(q->pair);
    free(q->name);
    free(q->other_name);
    free(q->memory);
    free(q);
}

static const struct amqp_error no_route = {.condition = "qd:no-route-to-dest",
                                           .description = "No route to the destination node"};
static const struct amqp_error same_name = {.condition = "amqp:resource-locked",
                                            .description = "a link of this name and container is attached already"};
static const struct amqp_error no_room = {
    .condition = "amqp:resource-limit-exceeded",
    .description = "the connection to the container allows no more links, or none with so large an attach"};

/* Attach under the first of the names that is free. l->name is the one. */
static enum err far_attach(struct link *l, struct routed_link *r, const struct routed_request *q)
{
    const char *names[] = {q->name, q->other_name};
    for (size_t i = 0; i < sizeof names / sizeof *names && names[i]; i++) {
        l->name = xstrdup(names[i]);
        if (routed_session_claim(l->conn, &r->claimed, l->name, q->far_sends)) {
            struct amqp_attach a = {.name = l->name, .is_sender = q->far_sends, .terms = &q->terms};
            return amqp_link_attach(routed_session_engine(r->session), &l->amqp, &a);
        }
        free(l->name);
        l->name = NULL;
    }
    return ERR_EXISTS;
}

static struct routed_link *far_new(const struct routed_request *q)
{
    struct routed_link *r = xcalloc(1, sizeof *r);
    r->is_far = true;
    r->pair = routed_pair_ref(q->pair);
    r->peer = q->near;
    return r;
}

/* Its part in the connection to the container. */
static void far_leave(struct connection *c, struct routed_link *r)
{
    routed_session_release(c, &r->claimed);
    routed_session_give(c, &r->session);
}

/* Make the far end. */
static enum err far_make(struct routed_request *q)
{
    if (here->ending || q->to->ended)
        return ERR_CLOSED;
    q->to->amqp.now = here_now();
    struct link *l = connection_new_link(q->to);
    struct routed_link *r = far_new(q);
    enum err e = routed_session_take(q->to, &q->session, &r->session);
    if (e == OK)
        e = far_attach(l, r, q);
    if (e != OK) {
        far_leave(q->to, r);
        routed_pair_unref(r->pair);
        free(r);
        connection_drop_link(l);
        return e;
    }
    l->is_ours = l->answered = true;
    l->is_incoming = !q->far_sends;
    l->routed = r;
    routed_transfer_init(l);
    connection_register_link(l);
    routed_tell(l, NOTE_MADE, 0, false, NULL);
    return OK;
}

static void on_request(struct letter *letter)
{
    struct routed_request *q = container_of(letter, struct routed_request, letter);
    enum err e = far_make(q);
    if (e != OK && !here->ending)
        refuse(q->near, e == ERR_EXISTS ? &same_name : e == ERR_LIMIT || e == ERR_INVALID ? &no_room : &no_route);
    request_free(q);
}

/* The far end's terms: the near peer's, with the address that the link route makes of it. */
static void *terms_to_send(const struct link *l, struct amqp_attach_terms *out)
{
    struct amqp_attach_terms t;
    amqp_link_peer_terms(&l->amqp, &t);
    struct slice *local = l->is_incoming ? &t.target : &t.source;
    void *readdressed =
        l->routed->address ? amqp_terminus_readdress(*local, !l->is_incoming, l->routed->address, local) : NULL;
    void *memory = terms_copy(&t, out);
    free(readdressed);
    return memory;
}

void routed_link_forward(struct link *l)
{
    struct routed_link *r = l->routed;
    routed_transfer_init(l);
    struct routed_request *q = xcalloc(1, sizeof *q);
    q->letter = (struct letter)LETTER_INIT(on_request);
    q->to = r->to;
    r->to = NULL;
    q->pair = routed_pair_ref(r->pair);
    q->near = l->token;
    q->session = (struct routed_session_key){.connection = l->conn->id, .number = amqp_session_number(l->amqp.session)};
    q->far_sends = l->is_incoming;
    q->name = r->name;
    q->other_name = r->other_name;
    r->name = r->other_name = NULL;
    q->memory = terms_to_send(l, &q->terms);
    struct worker *w = q->to->io.worker;
    post(w, worker_index(w), &q->letter);
}

/* ---- the answer, from the far worker to the near one ---- */

/* What the client has called it. */
static const char *address_of_client(const struct link *l)
{
    struct amqp_terminus_view t;
    if (l->is_incoming)
        amqp_link_peer_target(&l->amqp, &t);
    else
        amqp_link_peer_source(&l->amqp, &t);
    return t.address;
}

/* The address as the client knows it: what was added is taken off, and what was removed put back. NULL: as it came.
 * Ownership: the caller's. */
static char *address_for_client(const struct link *l, const char *address)
{
    const struct routed_link *r = l->routed;
    if (!r->address || !address)
        return NULL;
    if (strcmp(address, r->address) == 0)
        return xstrdup(address_of_client(l));
    const char *rest = routed_without_prefix(address, r->added);
    if (r->added && rest == address)
        return NULL;
    char *whole = routed_with_prefix(r->removed, rest), *own = xstrdup(routed_without_prefix(whole, l->conn->tenant));
    free(whole);
    return own;
}

/* An address in an encoded terminus, as text; NULL: none. Ownership: the caller's. */
static char *address_in(struct slice terminus, bool is_source)
{
    struct amqp_reader in = amqp_slice_reader(terminus), value;
    uint64_t descriptor;
    struct slice text, address = {0};
    if (!terminus.len || amqp_read_descriptor(&in, &descriptor) != OK)
        return NULL;
    if (is_source) {
        struct amqp_source_fields f;
        if (amqp_read_source(&in, &f) == OK)
            address = f.address;
    } else if (descriptor == AMQP_DESC_TARGET) {
        struct amqp_target_fields f;
        if (amqp_read_target(&in, &f) == OK)
            address = f.address;
    }
    value = amqp_slice_reader(address);
    return address.len && amqp_read_text(&value, &text) == OK ? xstrndup((const char *)text.data, text.len) : NULL;
}

static void log_answered(const struct link *l)
{
    LOG(ROUTER_CORE, INFO, "[C%llu][L%llu] Link attached: dir=%s routed by %s", (unsigned long long)l->conn->id,
        (unsigned long long)l->identity, l->is_incoming ? "in" : "out", l->routed->pair->key);
}

static void near_accept(struct link *l, const struct amqp_attach_terms *answer)
{
    struct amqp_attach_terms t = *answer;
    struct slice *local = l->is_incoming ? &t.target : &t.source;
    char *sent = address_in(*local, !l->is_incoming), *address = address_for_client(l, sent);
    void *memory = address ? amqp_terminus_readdress(*local, !l->is_incoming, address, local) : NULL;
    l->amqp.conn->now = here_now();
    if (amqp_link_accept_with(&l->amqp, &t) == OK) {
        if (log_enabled(LOG_ROUTER_CORE, LOG_LEVEL_INFO))
            log_answered(l);
    } else {
        struct slice octets;
        error_encode(&(struct amqp_error){.condition = "amqp:frame-size-too-small",
                                          .description = "the answer does not fit your max-frame-size"},
                     &octets);
        tell_end(l, NOTE_DETACH, true, &octets);
        routed_detach(l, true, &octets);
        free((void *)octets.data);
    }
    free(memory);
    free(sent);
    free(address);
}

static void on_answer(struct letter *letter)
{
    struct routed_answer *a = container_of(letter, struct routed_answer, letter);
    struct link *l = here->ending ? NULL : link_slots_find(here->slots, a->near);
    if (l && !l->gone && !l->routed->told)
        near_accept(l, &a->terms);
    free(a->memory);
    free(a);
}

void routed_link_answered(struct link *l)
{
    struct routed_link *r = l->routed;
    r->first = l->amqp.is_sender ? r->first : l->amqp.delivery_count;
    if (r->peer_ended)
        return;
    struct routed_answer *a = xcalloc(1, sizeof *a);
    a->letter = (struct letter)LETTER_INIT(on_answer);
    a->near = r->peer;
    a->far = l->token;
    struct amqp_attach_terms t;
    amqp_link_peer_terms(&l->amqp, &t);
    a->memory = terms_copy(&t, &a->terms);
    post(worker_by_index(a->near.worker), a->near.worker, &a->letter);
}

/* ---- the end ---- */

static void lost_error(struct slice *octets)
{
    error_encode(&(struct amqp_error){.condition = "qd:routed-link-lost",
                                      .description = "Connectivity to the peer container was lost"},
                 octets);
}

/* What a terminus says of outliving its link. */
static bool terminus_lasts(const struct amqp_terminus_view *t)
{
    return t->durability != AMQP_DURABILITY_NONE || t->expiry == AMQP_EXPIRE_NEVER || t->timeout > 0;
}

/* A client that has vanished has not closed its link: what is to outlive it does. */
static bool closes_when_lost(const struct link *l)
{
    struct amqp_terminus_view t;
    if (!l->routed->is_far)
        return true;
    if (l->is_incoming)
        amqp_link_peer_source(&l->amqp, &t);
    else
        amqp_link_peer_target(&l->amqp, &t);
    return !terminus_lasts(&t);
}

void routed_link_detached(struct link *l, bool closed, const struct amqp_error *error)
{
    struct routed_link *r = l->routed;
    r->was_detached = true;
    r->was_closed = closed;
    if (!l->is_incoming)
        routed_give_up_queue(l);
    bool was_told = r->told;
    struct slice octets;
    error_encode(error, &octets);
    tell_end(l, NOTE_DETACH, closed, &octets);
    free((void *)octets.data);
    /* Else its answer is ours. */
    if (r->peer_ended || was_told || link_token_is_none(r->peer)) /* nobody is there to wait for */
        amqp_link_detach(&l->amqp, closed, NULL);
}

void routed_link_gone(struct link *l)
{
    struct routed_link *r = l->routed;
    if (!l->is_incoming) {
        routed_give_up_queue(l);
        free((void *)r->tx.ending.error.data);
        r->tx.ending = (struct routed_ending){0};
    }
    far_leave(l->conn, r);
    if (!r->told)
        tell_end(l, NOTE_LOST, true, NULL);
}

static void end_with_peer(struct link *l, bool closed, const struct slice *error)
{
    l->routed->peer_ended = true;
    if (l->is_incoming || l->routed->was_detached)
        routed_detach(l, closed, error);
    else
        routed_detach_in_order(l, closed, error);
}

static void take_end(struct link *l, const struct link_note *n)
{
    struct slice error = n->octets;
    if (n->kind == NOTE_DETACH) {
        end_with_peer(l, n->flag, &error);
        return;
    }
    lost_error(&error);
    end_with_peer(l, closes_when_lost(l), &error);
    free((void *)error.data);
}

/* The other end, that it names a link which is no more. */
static void turn_back(const struct link_note *n)
{
    if (n->kind == NOTE_MADE)
        here_note(&(struct link_note){.to = n->from, .from = LINK_TOKEN_NONE, .kind = NOTE_LOST});
}

static void take_note(struct link *l, const struct link_note *n)
{
    if (!l || l->gone || l->routed->told) {
        bool answers = l && !l->gone && n->kind >= NOTE_DETACH;
        if (answers)
            take_end(l, n);
        else
            turn_back(n);
        return;
    }
    l->amqp.conn->now = here_now();
    switch ((enum routed_note)n->kind) {
    case NOTE_MADE:
        l->routed->peer = n->from;
        break;
    case NOTE_LIMIT:
        routed_take_limit(l, n->number, n->flag);
        break;
    case NOTE_ADVANCE:
        routed_take_advance(l, n->number);
        break;
    case NOTE_DETACH:
    case NOTE_LOST:
        take_end(l, n);
        break;
    }
}

const struct routed_arrivals routed_link_arrivals = {
    .frame = routed_take_frame, .answer = routed_take_answer, .note = take_note};
