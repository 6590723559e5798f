#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/hash.h>

#include "conn_priv.h"
#include "termini.h"

/* Refused links that the peer has not yet detached, beyond the limit on links: one that never does is broken. */
#define REFUSED_MAX 4096
/* Part 2.7.3, Attach: modes. Whatever is asked for, we answer mixed and first, as the old router does. */
#define SND_MIXED 2
#define RCV_FIRST 0

static struct slice raw_source(const struct amqp_link *lk)
{
    return (struct slice){NULL, amqp_link_raw_source(lk->priv), lk->priv->source_len};
}

static struct slice raw_target(const struct amqp_link *lk)
{
    return (struct slice){NULL, amqp_link_raw_target(lk->priv), lk->priv->target_len};
}

void amqp_link_peer_source(const struct amqp_link *lk, struct amqp_terminus_view *out)
{
    struct slice address;
    enum err checked_at_attach = amqp_terminus_view_of(raw_source(lk), true, out, &address);
    ASSERT(checked_at_attach == OK);
    out->address = lk->priv->source_address;
}

void amqp_link_peer_target(const struct amqp_link *lk, struct amqp_terminus_view *out)
{
    struct slice address;
    enum err checked_at_attach = amqp_terminus_view_of(raw_target(lk), false, out, &address);
    ASSERT(checked_at_attach == OK);
    out->address = lk->priv->target_address;
}

void amqp_link_peer_terms(const struct amqp_link *lk, struct amqp_attach_terms *out)
{
    const struct amqp_link_priv *p = lk->priv;
    const uint8_t *offered = amqp_link_raw_target(p) + p->target_len, *desired = offered + p->offered_len;
    *out = (struct amqp_attach_terms){
        .source = raw_source(lk),
        .target = raw_target(lk),
        .snd_settle_mode = lk->snd_settle_mode,
        .rcv_settle_mode = lk->rcv_settle_mode,
        .max_message_size = p->peer_max_message_size,
        .offered_capabilities = {NULL, offered, p->offered_len},
        .desired_capabilities = {NULL, desired, p->desired_len},
        .properties = {NULL, desired + p->desired_len, p->properties_len},
    };
}

bool amqp_link_is_open(const struct amqp_link *lk)
{
    return !(lk->flags & (AMQP_LINK_DETACHED_LOCAL | AMQP_LINK_DETACHED_REMOTE)) && amqp_session_is_up(lk->session);
}

const char *amqp_link_name(const struct amqp_link *lk)
{
    return lk->priv->chars;
}

/* ---- the engine's part of a link ---- */

static char *lay(char *at, struct slice s, bool terminated)
{
    if (s.len)
        memcpy(at, s.data, s.len);
    at += s.len;
    if (terminated)
        *at++ = 0;
    return at;
}

struct attach_strings {
    struct slice name, source, target, offered, desired, properties, source_address, target_address;
};

static struct amqp_link_priv *priv_new(const struct attach_strings *t)
{
    size_t n = t->name.len + t->source.len + t->target.len + t->offered.len + t->desired.len + t->properties.len +
               t->source_address.len + t->target_address.len + 3;
    struct amqp_link_priv *p = xcalloc(1, sizeof *p + n);
    p->name_len = (uint16_t)t->name.len;
    p->source_len = (uint32_t)t->source.len;
    p->target_len = (uint32_t)t->target.len;
    p->offered_len = (uint32_t)t->offered.len;
    p->desired_len = (uint32_t)t->desired.len;
    p->properties_len = (uint32_t)t->properties.len;
    char *at = lay(lay(lay(p->chars, t->name, true), t->source, false), t->target, false);
    at = lay(lay(lay(at, t->offered, false), t->desired, false), t->properties, false);
    if (t->source_address.data) {
        p->source_address = at;
        at = lay(at, t->source_address, true);
    }
    if (t->target_address.data) {
        p->target_address = at;
        lay(at, t->target_address, true);
    }
    return p;
}

/* ---- names: unique in a session and direction ---- */

static uint32_t name_hash(struct slice name, bool is_sender)
{
    uint64_t h = hash_octets(name.data, name.len);
    return (uint32_t)(h ^ h >> 32) * 2 + is_sender;
}

static struct amqp_link *find_name(struct amqp_session *s, struct slice name, bool is_sender)
{
    struct amqp_link *lk = u32map_get(&s->by_name, name_hash(name, is_sender));
    while (lk && (lk->is_sender != is_sender || lk->priv->name_len != name.len ||
                  memcmp(lk->priv->chars, name.data, name.len) != 0))
        lk = lk->priv->same_hash;
    return lk;
}

static void add_name(struct amqp_link *lk)
{
    struct u32map *m = &lk->session->by_name;
    struct slice name = {NULL, (const uint8_t *)lk->priv->chars, lk->priv->name_len};
    lk->priv->hash = name_hash(name, lk->is_sender);
    lk->priv->same_hash = u32map_get(m, lk->priv->hash);
    u32map_put(m, lk->priv->hash, lk);
}

static void remove_name(struct amqp_link *lk)
{
    struct u32map *m = &lk->session->by_name;
    struct amqp_link *first = u32map_get(m, lk->priv->hash);
    if (first == lk) {
        if (lk->priv->same_hash)
            u32map_put(m, lk->priv->hash, lk->priv->same_hash);
        else
            u32map_remove(m, lk->priv->hash);
        return;
    }
    while (first && first->priv->same_hash != lk)
        first = first->priv->same_hash;
    if (first)
        first->priv->same_hash = lk->priv->same_hash;
}

/* ---- life ---- */

/* Enter the link into its session. */
static void link_init(struct amqp_link *lk, struct amqp_session *s, bool is_sender, struct amqp_link_priv *priv,
                      uint16_t flags)
{
    struct amqp_conn_priv *p = s->conn->priv;
    lk->session = s;
    lk->conn = s->conn;
    lk->priv = priv;
    list_init(&lk->node);
    lk->local_handle = amqp_numbers_take(&s->links, lk);
    lk->remote_handle = 0;
    lk->delivery_count = is_sender ? p->first_delivery_id : 0;
    lk->credit = 0;
    lk->overdrawn = 0;
    lk->current = 0;
    lk->flags = flags;
    lk->is_sender = is_sender;
    lk->in_delivery = lk->drain = lk->current_settled = false;
    lk->snd_settle_mode = SND_MIXED;
    lk->rcv_settle_mode = RCV_FIRST;
    add_name(lk);
    if (flags & LINK_REFUSED)
        p->refused++;
    else
        p->links++;
}

/* The peer's attach is in, whoever was first. */
static void take_attach(struct amqp_link *lk, const struct amqp_attach_fields *f)
{
    lk->flags |= AMQP_LINK_ATTACHED_REMOTE;
    lk->remote_handle = f->handle;
    lk->snd_settle_mode = f->snd_settle_mode;
    lk->rcv_settle_mode = f->rcv_settle_mode;
    lk->priv->peer_max_message_size = f->max_message_size;
    if (!lk->is_sender) {
        lk->delivery_count = f->initial_delivery_count;
        amqp_outcomes_of(raw_source(lk), &lk->priv->outcomes);
    }
    lk->priv->allowed_until = lk->delivery_count;
    u32map_put(&lk->session->by_remote_handle, f->handle, lk);
}

static void forget_remote(struct amqp_link *lk)
{
    struct amqp_session *s = lk->session;
    if (!(lk->flags & AMQP_LINK_DETACHED_REMOTE)) {
        remove_name(lk);
        if (lk->flags & AMQP_LINK_ATTACHED_REMOTE)
            u32map_remove(&s->by_remote_handle, lk->remote_handle);
    }
    if (s->last == lk)
        s->last = NULL;
}

static bool drop_outgoing(struct amqp_delivery *d, void *arg)
{
    struct amqp_link *lk = arg;
    if (d->link != lk)
        return true;
    lk->conn->handler->lost(d);
    deliveries_remove(&lk->session->outgoing, d);
    return --lk->priv->unsettled > 0;
}

static bool drop_incoming(struct amqp_delivery *d, void *arg)
{
    struct amqp_link *lk = arg;
    if (d->link != lk)
        return true;
    deliveries_remove(&lk->session->incoming, d);
    return --lk->priv->unsettled > 0;
}

void amqp_link_drop(struct amqp_link *lk)
{
    struct amqp_session *s = lk->session;
    struct amqp_conn *c = lk->conn;
    if (lk->priv->unsettled)
        deliveries_walk_all(lk->is_sender ? &s->outgoing : &s->incoming, lk->is_sender ? drop_outgoing : drop_incoming,
                            lk);
    if (lk->priv->held)
        amqp_link_release_frames(lk, lk->priv->held);
    forget_remote(lk);
    list_remove(&lk->node);
    amqp_numbers_give(&s->links, lk->local_handle);
    bool refused = lk->flags & LINK_REFUSED;
    if (refused)
        c->priv->refused--;
    else
        c->priv->links--;
    free(lk->priv);
    lk->priv = NULL;
    if (refused)
        free(lk);
    else
        c->handler->gone(lk);
}

void amqp_link_finish_if_done(struct amqp_link *lk)
{
    const uint16_t both = AMQP_LINK_DETACHED_LOCAL | AMQP_LINK_DETACHED_REMOTE;
    if ((lk->flags & both) != both || (lk->flags & LINK_FINISHED))
        return;
    lk->flags |= LINK_FINISHED;
    list_remove(&lk->node);
    list_append(&lk->conn->priv->finished, &lk->node);
}

struct amqp_link *amqp_link_by_remote(struct amqp_session *s, uint32_t handle)
{
    if (s->last && s->last->remote_handle == handle)
        return s->last;
    struct amqp_link *lk = u32map_get(&s->by_remote_handle, handle);
    if (lk == NULL)
        amqp_session_fail(s, "amqp:session:unattached-handle", "no link is attached to this handle");
    else
        s->last = lk;
    return lk;
}

/* ---- attach from the peer ---- */

/* Refuse an attach without asking the owner. The link is remembered until the peer has detached it too. */
static void refuse_attach(struct amqp_session *s, const struct amqp_attach_fields *f, const struct attach_strings *t,
                          const char *condition, const char *description)
{
    struct amqp_conn_priv *p = s->conn->priv;
    if (p->refused >= REFUSED_MAX) {
        amqp_conn_fail(s->conn, "amqp:resource-limit-exceeded", "%u refused links wait to be detached", p->refused);
        return;
    }
    struct amqp_link *lk = xcalloc(1, sizeof *lk);
    link_init(lk, s, f->role, priv_new(t), LINK_REFUSED);
    take_attach(lk, f);
    amqp_link_refuse(lk, &(struct amqp_error){.condition = condition, .description = description});
}

static bool has_nul(struct slice s)
{
    return s.len && memchr(s.data, 0, s.len);
}

/* What makes an attach impossible for the owner to look at; NULL: nothing. */
static const char *unacceptable(const struct attach_strings *t)
{
    if (has_nul(t->name))
        return "the link's name contains NUL";
    if (t->name.len > UINT16_MAX)
        return "the link's name is too long";
    if (has_nul(t->source_address) || has_nul(t->target_address))
        return "an address contains NUL";
    return NULL;
}

static void attach_ours(struct amqp_link *lk, const struct amqp_attach_fields *f, const struct attach_strings *t)
{
    struct amqp_link_priv *old = lk->priv, *new = priv_new(t);
    new->same_hash = old->same_hash;
    new->hash = old->hash;
    lk->priv = new;
    free(old);
    take_attach(lk, f);
    if (lk->credit)
        amqp_link_grant(lk, 0);
    lk->conn->handler->attached(lk);
}

static void attach_theirs(struct amqp_session *s, const struct amqp_attach_fields *f, const struct attach_strings *t)
{
    struct amqp_conn *c = s->conn;
    const char *why = unacceptable(t);
    if (why) {
        struct attach_strings nameless = *t;
        nameless.source_address = nameless.target_address = (struct slice){0};
        if (nameless.name.len > UINT16_MAX)
            nameless.name.len = UINT16_MAX;
        refuse_attach(s, f, &nameless, "amqp:invalid-field", why);
        return;
    }
    if (c->priv->max_links && c->priv->links >= c->priv->max_links) {
        refuse_attach(s, f, t, "amqp:resource-limit-exceeded", "no more links are allowed on this connection");
        return;
    }
    struct amqp_link *lk = c->handler->new_link(c);
    link_init(lk, s, f->role, priv_new(t), 0);
    take_attach(lk, f);
    c->handler->attached(lk);
}

void amqp_link_frame_attach(struct amqp_session *s, struct amqp_reader body)
{
    struct amqp_conn *c = s->conn;
    struct amqp_attach_fields f;
    struct attach_strings t;
    struct amqp_terminus_view view;
    if (amqp_read_attach(&body, &f) != OK || f.snd_settle_mode > 2 || f.rcv_settle_mode > 1 ||
        amqp_terminus_view_of(f.source, true, &view, &t.source_address) != OK ||
        amqp_terminus_view_of(f.target, false, &view, &t.target_address) != OK) {
        amqp_conn_fail(c, "amqp:decode-error", "malformed attach");
        return;
    }
    t.name = f.name;
    t.source = f.source;
    t.target = f.target;
    t.offered = f.offered_capabilities;
    t.desired = f.desired_capabilities;
    t.properties = f.properties;
    if (c->priv->max_links && f.handle > c->priv->max_links - 1) {
        amqp_conn_fail(c, "amqp:connection:framing-error", "handle %u is above handle-max %u", f.handle,
                       c->priv->max_links - 1);
        return;
    }
    if (u32map_get(&s->by_remote_handle, f.handle)) {
        amqp_session_fail(s, "amqp:session:handle-in-use", "a link is attached to this handle already");
        return;
    }
    if (s->links.count > s->remote_handle_max) {
        amqp_session_fail(s, "amqp:resource-limit-exceeded", "your handle-max leaves no handle to answer on");
        return;
    }
    /* role says what the peer is: a receiver's other end sends. */
    struct amqp_link *same = find_name(s, f.name, f.role);
    if (same == NULL)
        attach_theirs(s, &f, &t);
    else if ((same->flags & LINK_OURS) && !(same->flags & AMQP_LINK_ATTACHED_REMOTE))
        attach_ours(same, &f, &t);
    else
        amqp_conn_fail(c, "amqp:invalid-field", "link name already attached: %.*s",
                       (int)(f.name.len < 200 ? f.name.len : 200), (const char *)f.name.data);
}

/* ---- our attach ---- */

static bool emit_attach_with(struct amqp_link *lk, const struct amqp_attach_terms *t)
{
    struct amqp_attach_fields f = {0};
    AMQP_SET(&f, name, ((struct slice){NULL, (const uint8_t *)lk->priv->chars, lk->priv->name_len}));
    AMQP_SET(&f, handle, lk->local_handle);
    AMQP_SET(&f, role, !lk->is_sender);
    AMQP_SET(&f, snd_settle_mode, t->snd_settle_mode);
    AMQP_SET(&f, rcv_settle_mode, t->rcv_settle_mode);
    if (t->source.len)
        AMQP_SET(&f, source, t->source);
    if (t->target.len)
        AMQP_SET(&f, target, t->target);
    AMQP_SET(&f, initial_delivery_count, lk->is_sender ? lk->delivery_count : 0);
    AMQP_SET(&f, max_message_size, t->max_message_size);
    if (t->offered_capabilities.len)
        AMQP_SET(&f, offered_capabilities, t->offered_capabilities);
    if (t->desired_capabilities.len)
        AMQP_SET(&f, desired_capabilities, t->desired_capabilities);
    if (t->properties.len)
        AMQP_SET(&f, properties, t->properties);
    if (!amqp_session_emit(lk->session, frame_write_attach, &f))
        return false;
    lk->flags |= AMQP_LINK_ATTACHED_LOCAL;
    return true;
}

static bool emit_attach(struct amqp_link *lk, struct slice source, struct slice target, uint64_t max_message_size,
                        uint8_t snd_settle_mode)
{
    struct amqp_attach_terms t = {.source = source,
                                  .target = target,
                                  .snd_settle_mode = snd_settle_mode,
                                  .rcv_settle_mode = RCV_FIRST,
                                  .max_message_size = max_message_size};
    return emit_attach_with(lk, &t);
}

static void mark_link_dirty(struct amqp_link *lk)
{
    if (lk->flags & AMQP_LINK_DIRTY)
        return;
    lk->flags |= AMQP_LINK_DIRTY;
    if (!(lk->flags & (LINK_READY | LINK_FINISHED)))
        list_append(&lk->conn->priv->dirty_links, &lk->node);
    amqp_conn_mark_dirty(lk->conn);
}

static bool may_answer(const struct amqp_link *lk)
{
    return !(lk->flags & AMQP_LINK_ATTACHED_LOCAL) && amqp_session_is_up(lk->session);
}

/* Both attaches are out: what has come and what was granted before counts. */
static void answered(struct amqp_link *lk, uint64_t max_message_size)
{
    lk->priv->max_message_size = lk->is_sender ? 0 : max_message_size;
    if (lk->credit == 0)
        return;
    if (lk->is_sender)
        amqp_send_ready(lk);
    else
        mark_link_dirty(lk);
}

void amqp_link_accept(struct amqp_link *lk, const char *address, uint64_t max_message_size)
{
    if (!may_answer(lk))
        return;
    struct slice source = raw_source(lk), target = raw_target(lk);
    void *memory = address ? amqp_terminus_readdress(lk->is_sender ? source : target, lk->is_sender, address,
                                                     lk->is_sender ? &source : &target)
                           : NULL;
    bool fits = emit_attach(lk, source, target, max_message_size, SND_MIXED);
    free(memory);
    if (!fits) {
        amqp_link_fail(lk, "amqp:frame-size-too-small", "the answer does not fit your max-frame-size");
        return;
    }
    answered(lk, max_message_size);
}

enum err amqp_link_accept_with(struct amqp_link *lk, const struct amqp_attach_terms *terms)
{
    if (!may_answer(lk))
        return ERR_CLOSED;
    if (!emit_attach_with(lk, terms))
        return ERR_LIMIT;
    answered(lk, terms->max_message_size);
    return OK;
}

static void emit_detach(struct amqp_link *lk, bool closed, const struct amqp_error *error)
{
    amqp_session_say_settled(lk->session);
    struct frame_ending f = {
        .performative = AMQP_DESC_DETACH, .handle = lk->local_handle, .closed = closed, .error = error};
    if (!amqp_session_emit(lk->session, frame_write_ending, &f)) {
        struct amqp_error bare = {.condition = error->condition};
        f.error = &bare;
        amqp_session_emit(lk->session, frame_write_ending, &f);
    }
    lk->flags |= AMQP_LINK_DETACHED_LOCAL;
    amqp_link_finish_if_done(lk);
}

void amqp_link_refuse(struct amqp_link *lk, const struct amqp_error *error)
{
    if (!may_answer(lk))
        return;
    const struct slice none = {0};
    /* The null local terminus says that there will be no link; the other is an echo, for which there may be no room.
     * As 1.19 has it, a source without an address is not echoed. */
    struct slice source = lk->is_sender || lk->priv->source_address == NULL ? none : raw_source(lk);
    struct slice target = lk->is_sender ? raw_target(lk) : none;
    if (!emit_attach(lk, source, target, 0, SND_MIXED) && !emit_attach(lk, none, none, 0, SND_MIXED)) {
        amqp_session_fail(lk->session, "amqp:frame-size-too-small", "a link's name does not fit your max-frame-size");
        return;
    }
    emit_detach(lk, true, error);
}

void amqp_link_detach(struct amqp_link *lk, bool closed, const struct amqp_error *error)
{
    if (!amqp_session_is_up(lk->session) || (lk->flags & AMQP_LINK_DETACHED_LOCAL))
        return;
    if (!(lk->flags & AMQP_LINK_ATTACHED_LOCAL)) {
        amqp_link_refuse(lk, error);
        return;
    }
    /* Whoever waits for an outcome of it learns by `lost` that there is none. */
    if (lk->is_sender && lk->in_delivery && amqp_link_is_up(lk))
        amqp_send_abort(lk);
    list_remove(&lk->node);
    lk->flags &= (uint16_t) ~(AMQP_LINK_WAITING | AMQP_LINK_DIRTY | LINK_READY);
    emit_detach(lk, closed, error);
}

void amqp_link_fail(struct amqp_link *lk, const char *condition, const char *description)
{
    struct amqp_error error = {.condition = condition, .description = description};
    amqp_link_detach(lk, true, &error);
    if (lk->flags & (LINK_TOLD | LINK_REFUSED))
        return;
    lk->flags |= LINK_TOLD;
    lk->conn->handler->detached(lk, true, &error);
}

/* With termini of our own making. */
static bool emit_own_attach(struct amqp_link *lk, const struct amqp_attach *a)
{
    size_t room = (a->source ? strlen(a->source) : 0) + (a->target ? strlen(a->target) : 0) + 256 +
                  (a->source_capability ? strlen(a->source_capability) : 0) +
                  (a->target_capability ? strlen(a->target_capability) : 0);
    uint8_t *memory = xmalloc(room);
    struct amqp_writer w = amqp_writer(memory, room);
    if (!a->no_source)
        amqp_terminus_write(&w, true, a->source, a->dynamic && !a->is_sender, a->source_capability);
    size_t source_len = w.len;
    if (!a->no_target)
        amqp_terminus_write(&w, false, a->target, a->dynamic && a->is_sender, a->target_capability);
    ASSERT(amqp_writer_fits(&w));
    bool fits = emit_attach(lk, (struct slice){NULL, memory, source_len},
                            (struct slice){NULL, memory + source_len, w.len - source_len}, 0, a->snd_settle_mode);
    free(memory);
    return fits;
}

enum err amqp_link_attach(struct amqp_session *s, struct amqp_link *lk, const struct amqp_attach *a)
{
    if (!amqp_session_is_up(s))
        return ERR_CLOSED;
    struct attach_strings t = {.name = {NULL, (const uint8_t *)a->name, strlen(a->name)}};
    if (t.name.len > UINT16_MAX)
        return ERR_INVALID;
    if (find_name(s, t.name, a->is_sender))
        return ERR_EXISTS;
    if ((s->flags & SESSION_BEGUN_REMOTE) && s->links.count > s->remote_handle_max)
        return ERR_LIMIT;
    link_init(lk, s, a->is_sender, priv_new(&t), LINK_OURS);
    bool fits = a->terms ? emit_attach_with(lk, a->terms) : emit_own_attach(lk, a);
    if (fits)
        return OK;
    forget_remote(lk);
    amqp_numbers_give(&s->links, lk->local_handle);
    s->conn->priv->links--;
    free(lk->priv);
    lk->priv = NULL;
    return ERR_LIMIT;
}

/* ---- detach from the peer ---- */

static void tell_detached(struct amqp_link *lk, bool closed, const struct amqp_error_fields *f)
{
    lk->flags |= LINK_TOLD;
    if (f == NULL) {
        lk->conn->handler->detached(lk, closed, NULL);
        return;
    }
    char *condition = amqp_text_of(f->condition);
    char *description = f->has.description ? amqp_text_of(f->description) : NULL;
    struct amqp_error error = {.condition = condition, .description = description, .info = f->info};
    lk->conn->handler->detached(lk, closed, &error);
    free(condition);
    free(description);
}

void amqp_link_frame_detach(struct amqp_session *s, struct amqp_reader body)
{
    struct amqp_detach_fields f;
    struct amqp_error_fields fields;
    if (amqp_read_detach(&body, &f) != OK || frame_read_error(f.error, &fields) != OK) {
        amqp_conn_fail(s->conn, "amqp:decode-error", "malformed detach");
        return;
    }
    struct amqp_link *lk = amqp_link_by_remote(s, f.handle);
    if (lk == NULL)
        return;
    forget_remote(lk);
    lk->flags |= AMQP_LINK_DETACHED_REMOTE;
    if (!(lk->flags & (LINK_TOLD | LINK_REFUSED)))
        tell_detached(lk, f.closed, f.has.error ? &fields : NULL);
    amqp_link_finish_if_done(lk);
}

/* ---- flow (AMQP 1.0 part 2.6.7, Flow Control) ---- */

void amqp_link_send_flow(struct amqp_link *lk)
{
    struct amqp_flow_fields f;
    amqp_session_fill_flow(lk->session, &f);
    AMQP_SET(&f, handle, lk->local_handle);
    AMQP_SET(&f, delivery_count, lk->delivery_count);
    AMQP_SET(&f, link_credit, lk->credit);
    AMQP_SET(&f, available, 0);
    AMQP_SET(&f, drain, lk->drain);
    amqp_session_emit(lk->session, frame_write_flow, &f);
}

static void sender_takes_flow(struct amqp_link *lk, const struct amqp_flow_fields *f)
{
    uint32_t had = lk->credit;
    if (f->has.link_credit) {
        uint32_t known = f->has.delivery_count ? f->delivery_count : lk->conn->priv->first_delivery_id;
        uint32_t under_way = lk->delivery_count - known;
        if ((int32_t)under_way < 0)
            under_way = 0; /* it claims deliveries that we have not sent */
        lk->credit = f->link_credit > under_way ? f->link_credit - under_way : 0;
        lk->drain = f->drain;
    }
    if (!amqp_link_is_up(lk))
        return;
    if (f->echo)
        amqp_link_send_flow(lk);
    if (lk->credit || lk->drain || had)
        amqp_send_ready(lk);
}

static void receiver_takes_flow(struct amqp_link *lk, const struct amqp_flow_fields *f)
{
    bool gave_back = false;
    if (f->has.delivery_count && SERIAL_BEFORE(lk->delivery_count, f->delivery_count)) {
        uint32_t given_up = f->delivery_count - lk->delivery_count;
        lk->credit = given_up < lk->credit ? lk->credit - given_up : 0;
        lk->delivery_count = f->delivery_count;
        gave_back = true;
    }
    if (f->echo)
        mark_link_dirty(lk);
    if (lk->drain ? lk->credit == 0 : gave_back) {
        lk->drain = false;
        lk->conn->handler->drained(lk);
    }
}

void amqp_link_frame_flow(struct amqp_link *lk, const struct amqp_flow_fields *f)
{
    if (lk->flags & (AMQP_LINK_DETACHED_LOCAL | LINK_REFUSED))
        return;
    if (lk->is_sender)
        sender_takes_flow(lk, f);
    else
        receiver_takes_flow(lk, f);
}

void amqp_link_grant(struct amqp_link *lk, uint32_t n)
{
    lk->credit = n > INT32_MAX - lk->credit ? INT32_MAX : lk->credit + n;
    if (n)
        lk->overdrawn = 0;
    if (lk->priv && SERIAL_BEFORE(lk->priv->allowed_until, lk->delivery_count))
        lk->priv->allowed_until = lk->delivery_count; /* it must not fall behind by half of all numbers */
    mark_link_dirty(lk);
}

void amqp_link_set_credit(struct amqp_link *lk, uint32_t n)
{
    if (n >= lk->credit) {
        amqp_link_grant(lk, n - lk->credit);
        return;
    }
    uint32_t until = lk->delivery_count + lk->credit;
    if (SERIAL_BEFORE(lk->priv->allowed_until, until))
        lk->priv->allowed_until = until;
    lk->credit = n;
    mark_link_dirty(lk);
}

void amqp_link_drain(struct amqp_link *lk)
{
    lk->drain = true;
    /* Without credit there is nothing to give back, and a sender need not answer: it is drained already. */
    if (lk->credit == 0)
        amqp_send_ready(lk);
    else
        mark_link_dirty(lk);
}

void amqp_link_stop_drain(struct amqp_link *lk)
{
    if (!lk->drain)
        return;
    lk->drain = false;
    mark_link_dirty(lk);
}
