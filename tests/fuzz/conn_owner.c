#include "conn_owner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/performative.h>
#include <trunkline/amqp/terminus.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

#define TOKEN 0x746f6b656eull
#define MAX_FRAME 4096

/* ---- dice ---- */

uint8_t dice_octet(struct dice *d)
{
    return d->at == d->end ? 0 : *d->at++;
}

uint16_t dice_16(struct dice *d)
{
    uint8_t high = dice_octet(d);
    return (uint16_t)(high << 8 | dice_octet(d));
}

uint32_t dice_32(struct dice *d)
{
    uint32_t high = dice_16(d);
    return high << 16 | dice_16(d);
}

uint32_t dice_number(struct dice *d)
{
    uint8_t x = dice_octet(d);
    return x < 240 ? x & 15 : x < 248 ? dice_octet(d) : dice_32(d);
}

/* ---- events ---- */

static struct owner *owner_of(struct amqp_conn *c)
{
    return (struct owner *)c;
}

static struct owner_link *link_of(struct amqp_link *lk)
{
    return (struct owner_link *)lk;
}

/* The next habit: small and fixed, so that runs repeat. */
static bool chance(struct owner_link *l, unsigned of)
{
    l->habit = (uint8_t)(l->habit * 5 + 77);
    return (l->habit >> 2) % of == 0;
}

static struct owner_link *link_new(struct owner *o)
{
    struct owner_link *l = xcalloc(1, sizeof *l);
    l->owner = o;
    l->habit = o->habit++;
    l->next = o->links;
    o->links = l;
    return l;
}

static void link_free(struct owner_link *l)
{
    struct owner_link **p = &l->owner->links;
    while (*p != l)
        p = &(*p)->next;
    *p = l->next;
    free(l);
}

static void on_opened(struct amqp_conn *c)
{
    struct owner *o = owner_of(c);
    ASSERT(!o->opened && !o->closed);
    o->opened = true;
    const struct amqp_conn_peer *peer = amqp_conn_peer(c);
    ASSERT(peer->container_id && peer->hostname);
    o->frame_limit = peer->max_frame_size;
    if (o->habit % 16 == 5)
        amqp_conn_close(c, &(struct amqp_error){.condition = "amqp:unauthorized-access"});
    else if (o->habit % 16 == 6)
        o->defer_open = true;
    else
        amqp_conn_open(c);
}

static void on_closed(struct amqp_conn *c, const struct amqp_error *error, bool by_peer)
{
    struct owner *o = owner_of(c);
    (void)by_peer;
    ASSERT(!o->closed);
    if (error)
        ASSERT(error->condition);
    o->closed = true;
    for (struct owner_link *l = o->links; l; l = l->next)
        ASSERT(!l->attached); /* C1: `gone` came before */
}

static void on_dirty(struct amqp_conn *c)
{
    (void)c;
}

static struct amqp_link *on_new_link(struct amqp_conn *c)
{
    ASSERT(!owner_of(c)->closed);
    return &link_new(owner_of(c))->link;
}

static void look_at(struct amqp_link *lk)
{
    struct amqp_terminus_view source, target;
    char text[200];
    ASSERT(amqp_link_name(lk));
    amqp_link_peer_source(lk, &source);
    amqp_link_peer_target(lk, &target);
    amqp_terminus_print(&source, text, sizeof text);
    amqp_terminus_print(&target, text, sizeof text);
    amqp_terminus_has_capability(&target, "queue");
}

static void answer(struct owner_link *l)
{
    l->answered = true;
    if (chance(l, 8)) {
        amqp_link_refuse(&l->link, &(struct amqp_error){.condition = "amqp:not-found", .description = "no such node"});
        return;
    }
    amqp_link_accept(&l->link, chance(l, 2) ? "temp.a" : NULL, chance(l, 3) ? 600 : 0);
    if (!l->link.is_sender)
        amqp_link_grant(&l->link, 1 + l->habit % 20);
}

static void on_attached(struct amqp_link *lk)
{
    struct owner_link *l = link_of(lk);
    ASSERT(!l->owner->closed);
    look_at(lk);
    if (l->answered) { /* ours: the peer has answered */
        ASSERT(l->attached);
        return;
    }
    ASSERT(!l->attached);
    l->attached = true;
    if (!chance(l, 9))
        answer(l);
}

static void on_detached(struct amqp_link *lk, bool closed, const struct amqp_error *error)
{
    struct owner_link *l = link_of(lk);
    ASSERT(l->attached && !l->detached);
    if (error)
        ASSERT(error->condition);
    l->detached = true;
    if (!chance(l, 7))
        amqp_link_detach(lk, closed, NULL);
}

static void on_gone(struct amqp_link *lk)
{
    struct owner_link *l = link_of(lk);
    ASSERT(l->attached);
    ASSERT(l->unsettled == 0); /* C2: each was settled or lost */
    link_free(l);
}

static void send_some(struct owner_link *l)
{
    struct amqp_link *lk = &l->link;
    static const uint8_t body[256];
    for (int turns = 0; turns < 6 && amqp_link_sendable(lk); turns++) {
        /* Large parts of a buffer are sent from there, and may outlive our count. */
        struct buffer *shared = chance(l, 4) ? buffer_new(3000) : NULL;
        if (shared)
            memset(shared->bytes, 's', 3000);
        struct slice parts[2] = {{NULL, body, l->habit}, {shared, shared ? shared->bytes : NULL, shared ? 3000 : 0}};
        struct amqp_delivery *d = NULL;
        bool fresh = !lk->in_delivery;
        size_t sent = 0;
        struct amqp_send m = {.parts = parts,
                              .part_count = 2,
                              .tag = chance(l, 2) ? body : NULL,
                              .tag_len = 8,
                              .settled = chance(l, 3),
                              .more = chance(l, 5)};
        enum err e = amqp_link_send(lk, &m, &sent, &d);
        if (shared)
            buffer_unref(shared);
        if (e == ERR_CLOSED)
            return;
        ASSERT(e == OK || e == ERR_AGAIN);
        ASSERT(sent <= parts[0].len + parts[1].len);
        ASSERT(e == ERR_AGAIN || sent == parts[0].len + parts[1].len);
        if (d && fresh) {
            ASSERT(!m.settled);
            d->token[0] = TOKEN;
            d->token[1] = d->id;
            l->unsettled++;
        }
        if (e == ERR_AGAIN)
            return;
    }
}

static void abort_current(struct owner_link *l)
{
    struct amqp_link *lk = &l->link;
    if (!lk->in_delivery || !lk->is_sender)
        return;
    /* By C2 the owner ends it itself; an abort that waits for the window was ended before. */
    uint32_t before = amqp_link_unsettled(lk);
    amqp_link_abort(lk);
    uint32_t after = amqp_link_unsettled(lk);
    ASSERT(after == before || after + 1 == before);
    l->unsettled -= before - after;
}

static void on_sendable(struct amqp_link *lk)
{
    struct owner_link *l = link_of(lk);
    ASSERT(l->attached && lk->is_sender);
    if (chance(l, 12))
        abort_current(l);
    if (!chance(l, 6))
        send_some(l);
    if (lk->drain && !lk->in_delivery)
        amqp_link_drained(lk);
}

static void on_drained(struct amqp_link *lk)
{
    ASSERT(link_of(lk)->attached && !lk->is_sender);
}

static const struct amqp_state *some_state(struct owner_link *l, struct amqp_state *s)
{
    static const uint8_t rejected[] = "\x00\x53\x25\xc0\x0c\x01\x00\x53\x1d\xc0\x06\x01\xa3\x03x:y";
    *s = (struct amqp_state){.code = AMQP_ACCEPTED};
    switch (l->habit % 7) {
    case 0:
        return NULL;
    case 1:
        s->code = AMQP_RELEASED;
        return s;
    case 2:
        s->code = AMQP_REJECTED;
        s->raw = (struct slice){NULL, rejected, sizeof rejected - 1};
        return s;
    case 3:
        s->code = AMQP_MODIFIED;
        return s;
    default:
        return s;
    }
}

static void on_transfer(struct amqp_link *lk, struct amqp_transfer *t)
{
    struct owner_link *l = link_of(lk);
    struct amqp_state state;
    ASSERT(l->attached && !lk->is_sender);
    ASSERT(t->payload.len <= MAX_FRAME);
    ASSERT(lk->overdrawn <= 3 && (lk->overdrawn == 0 || lk->credit == 0));
    if (t->first)
        ASSERT(t->tag.len <= 255 || !t->tag.data);
    if (t->delivery)
        ASSERT(t->delivery->id == t->id && t->delivery->link == lk);
    if (chance(l, 3)) {
        amqp_transfer_hold(lk);
        l->held++;
    }
    if (t->first && !t->aborted && chance(l, 6)) {
        struct amqp_delivery *d = amqp_delivery_track(lk, t);
        ASSERT(!d || d->id == t->id);
    }
    if (t->more || t->aborted)
        return;
    if (chance(l, 3))
        amqp_link_update(lk, t->id, some_state(l, &state) ? &state : &(struct amqp_state){.code = AMQP_ACCEPTED});
    if (!chance(l, 4))
        amqp_link_settle(lk, t->id - l->habit % 3, t->id, some_state(l, &state));
    if (chance(l, 8))
        amqp_link_forget(lk, t->id);
    if (chance(l, 3))
        amqp_link_grant(lk, 1 + l->habit % 5);
    if (l->held && chance(l, 2)) {
        amqp_link_release_frames(lk, l->held);
        l->held = 0;
    }
    if (chance(l, 30))
        amqp_link_detach(lk, true, NULL);
}

static void on_disposition(struct amqp_delivery *d, const struct amqp_state *state, bool settled)
{
    struct owner_link *l = link_of(d->link);
    ASSERT(d->token[0] == TOKEN && d->token[1] == d->id);
    ASSERT(l->unsettled > 0);
    if (state && state->raw.len) {
        struct amqp_reader r = amqp_slice_reader(state->raw);
        ASSERT(amqp_check(&r) == OK && r.at == r.end);
    }
    if (settled) {
        l->unsettled--;
    } else if (d->complete && chance(l, 2)) {
        l->unsettled--;
        amqp_delivery_settle(d);
    }
}

static void on_peer_settled(struct amqp_delivery *d, const struct amqp_state *state)
{
    (void)state;
    ASSERT(link_of(d->link)->attached);
}

static void on_lost(struct amqp_delivery *d)
{
    struct owner_link *l = link_of(d->link);
    ASSERT(d->token[0] == TOKEN && d->token[1] == d->id);
    ASSERT(l->unsettled > 0);
    l->unsettled--;
}

static const struct amqp_handler HANDLER = {
    .opened = on_opened,
    .closed = on_closed,
    .dirty = on_dirty,
    .new_link = on_new_link,
    .attached = on_attached,
    .detached = on_detached,
    .gone = on_gone,
    .sendable = on_sendable,
    .drained = on_drained,
    .transfer = on_transfer,
    .disposition = on_disposition,
    .peer_settled = on_peer_settled,
    .lost = on_lost,
};

/* ---- what comes out ---- */

static bool begun(const struct owner *o, uint16_t channel)
{
    return o->begun[channel / 64] >> channel % 64 & 1;
}

static void check_performative(struct owner *o, uint16_t channel, uint64_t performative, struct amqp_reader *r)
{
    ASSERT(channel < 256);
    switch (performative) {
    case AMQP_DESC_OPEN: {
        struct amqp_open_fields f;
        ASSERT(amqp_read_open(r, &f) == OK && !o->out_amqp);
        o->out_amqp = true;
        return;
    }
    case AMQP_DESC_BEGIN: {
        struct amqp_begin_fields f;
        ASSERT(amqp_read_begin(r, &f) == OK && !begun(o, channel));
        o->begun[channel / 64] |= 1ull << channel % 64;
        if (!f.has.remote_channel) {
            o->begin_waits = true;
            o->begin_channel = channel;
        }
        return;
    }
    case AMQP_DESC_END: {
        struct amqp_end_fields f;
        ASSERT(amqp_read_end(r, &f) == OK && begun(o, channel));
        o->begun[channel / 64] &= ~(1ull << channel % 64);
        return;
    }
    case AMQP_DESC_CLOSE: {
        struct amqp_close_fields f;
        ASSERT(amqp_read_close(r, &f) == OK);
        o->out_closed = true;
        return;
    }
    case AMQP_DESC_ATTACH: {
        struct amqp_attach_fields f;
        ASSERT(amqp_read_attach(r, &f) == OK && begun(o, channel));
        if (f.name.len < sizeof o->attach_name && f.name.len > 4 && memcmp(f.name.data, OWNER_LINK, 4) == 0) {
            o->attach_waits = true;
            o->attach_channel = channel;
            o->attach_role = f.role;
            snprintf(o->attach_name, sizeof o->attach_name, "%.*s", (int)f.name.len, (const char *)f.name.data);
        }
        return;
    }
    case AMQP_DESC_FLOW: {
        struct amqp_flow_fields f;
        ASSERT(amqp_read_flow(r, &f) == OK && begun(o, channel));
        ASSERT(f.has.handle || !(f.has.delivery_count || f.has.link_credit));
        return;
    }
    case AMQP_DESC_TRANSFER: {
        struct amqp_transfer_fields f;
        ASSERT(amqp_read_transfer(r, &f) == OK && begun(o, channel));
        o->transfers++;
        return;
    }
    case AMQP_DESC_DISPOSITION: {
        struct amqp_disposition_fields f;
        ASSERT(amqp_read_disposition(r, &f) == OK && begun(o, channel));
        ASSERT(!f.has.last || (int32_t)(f.last - f.first) >= 0);
        return;
    }
    case AMQP_DESC_DETACH: {
        struct amqp_detach_fields f;
        ASSERT(amqp_read_detach(r, &f) == OK && begun(o, channel));
        return;
    }
    default:
        ASSERT(!"a performative of AMQP");
    }
}

static void check_frame(struct owner *o, const uint8_t *frame, size_t n)
{
    ASSERT(frame[4] == 2);
    /* Before the peer's Open is in, frames are small. */
    ASSERT(n <= (o->opened && o->frame_limit > 512 ? o->frame_limit : 512));
    struct amqp_reader r = amqp_reader(frame + AMQP_FRAME_HEAD, n - AMQP_FRAME_HEAD);
    if (frame[5] == 1) {
        ASSERT(amqp_check(&r) == OK && r.at == r.end && !o->out_amqp);
        return;
    }
    ASSERT(frame[5] == 0);
    ASSERT(!o->out_closed);
    if (n == AMQP_FRAME_HEAD)
        return;
    uint64_t performative;
    ASSERT(amqp_read_descriptor(&r, &performative) == OK);
    check_performative(o, amqp_get16(frame + 6), performative, &r);
    ASSERT(r.at == r.end || performative == AMQP_DESC_TRANSFER);
}

static void check_output(struct owner *o, const uint8_t *octets, size_t n)
{
    o->frame = xrealloc(o->frame, o->frame_len + n + 1);
    memcpy(o->frame + o->frame_len, octets, n);
    o->frame_len += n;
    size_t at = 0;
    while (o->frame_len - at >= AMQP_FRAME_HEAD) {
        const uint8_t *p = o->frame + at;
        if (memcmp(p, "AMQP", 4) == 0) {
            ASSERT(!o->out_amqp);
            at += AMQP_FRAME_HEAD;
            continue;
        }
        size_t size = amqp_get32(p);
        ASSERT(size >= AMQP_FRAME_HEAD);
        if (size > o->frame_len - at)
            break;
        check_frame(o, p, size);
        at += size;
    }
    o->frame_len -= at;
    memmove(o->frame, o->frame + at, o->frame_len);
}

void owner_turn(struct owner *o)
{
    amqp_conn_flush(&o->conn);
    for (int turns = 0; turns < 100 && amqp_conn_pending(&o->conn); turns++) {
        struct iovec iov[8];
        int count = amqp_conn_output(&o->conn, iov, 8);
        ASSERT(count > 0 && count <= 8);
        /* The last piece in two, as a socket may. */
        size_t n = 0;
        for (int i = 0; i < count; i++) {
            size_t len = iov[i].iov_len;
            if (i == count - 1 && len > 1)
                len -= len / 2;
            check_output(o, iov[i].iov_base, len);
            n += len;
        }
        amqp_conn_written(&o->conn, n);
        amqp_conn_flush(&o->conn);
    }
}

/* ---- what goes in ---- */

static void feed(struct owner *o)
{
    while (o->input_len) {
        /* Of just this size, so that a sanitizer sees a step beyond the end. */
        struct buffer *b = buffer_new(o->input_len);
        memcpy(b->bytes, o->input, o->input_len);
        size_t need = 0;
        size_t taken = amqp_conn_input(&o->conn, b, b->bytes, o->input_len, &need);
        ASSERT(taken <= o->input_len);
        buffer_unref(b);
        memmove(o->input, o->input + taken, o->input_len - taken);
        o->input_len -= taken;
        if (taken == 0)
            return;
    }
}

void owner_input(struct owner *o, const uint8_t *octets, size_t n, size_t piece)
{
    while (n && !amqp_conn_is_closed(&o->conn)) {
        size_t part = piece && piece < n ? piece : n;
        o->input = xrealloc(o->input, o->input_len + part);
        memcpy(o->input + o->input_len, octets, part);
        o->input_len += part;
        octets += part;
        n -= part;
        feed(o);
    }
}

/* ---- what we do ourselves ---- */

static struct owner_link *some_link(struct owner *o, uint8_t which)
{
    unsigned n = 0;
    for (struct owner_link *l = o->links; l; l = l->next)
        n += l->attached;
    if (n == 0)
        return NULL;
    which %= n;
    for (struct owner_link *l = o->links; l; l = l->next)
        if (l->attached && which-- == 0)
            return l;
    return NULL;
}

static void attach(struct owner *o, struct dice *d)
{
    /* A session of ours may end at any time, so it is used at once. */
    struct amqp_session *s;
    if (amqp_session_begin(&o->conn, &s) != OK)
        return;
    unsigned count = dice_octet(d) % 3;
    for (unsigned i = 0; i < count; i++) {
        uint8_t x = dice_octet(d);
        char name[16];
        snprintf(name, sizeof name, OWNER_LINK "%u", x % 4);
        struct amqp_attach a = {.name = name,
                                .is_sender = x & 16,
                                .source = x & 32 ? "a" : NULL,
                                .target = "b",
                                .dynamic = x & 64,
                                .source_capability = x & 128 ? "queue" : NULL,
                                .snd_settle_mode = 2};
        struct owner_link *l = link_new(o);
        l->answered = true;
        if (amqp_link_attach(s, &l->link, &a) != OK) {
            link_free(l);
            continue;
        }
        l->attached = true;
        if (!a.is_sender)
            amqp_link_grant(&l->link, x % 20);
    }
    if (dice_octet(d) % 8 == 1)
        amqp_session_end(s, NULL);
}

static void act_on_link(struct owner_link *l, struct dice *d)
{
    struct amqp_link *lk = &l->link;
    struct amqp_state state;
    uint8_t x = dice_octet(d);
    if (!l->answered) {
        answer(l);
        return;
    }
    switch (x % 12) {
    case 0:
        amqp_link_detach(lk, x & 16, NULL);
        return;
    case 1:
        if (!lk->is_sender)
            amqp_link_drain(lk);
        return;
    case 2:
        if (!lk->is_sender)
            amqp_link_stop_drain(lk);
        return;
    case 3:
        if (!lk->is_sender)
            amqp_link_grant(lk, dice_number(d));
        return;
    case 4:
        if (!lk->is_sender && l->held) {
            amqp_link_release_frames(lk, l->held);
            l->held = 0;
        }
        return;
    case 5:
        if (lk->is_sender)
            abort_current(l);
        return;
    case 6:
        if (!lk->is_sender) {
            uint32_t first = lk->current - dice_octet(d) % 8;
            amqp_link_settle(lk, first, first + dice_octet(d) % 16, some_state(l, &state));
        }
        return;
    case 7:
        if (!lk->is_sender)
            amqp_link_forget(lk, lk->current - dice_octet(d) % 8);
        return;
    case 8:
        amqp_session_end(lk->session, NULL);
        return;
    default:
        if (lk->is_sender)
            send_some(l);
        return;
    }
}

void owner_act(struct owner *o, struct dice *d)
{
    uint8_t x = dice_octet(d);
    if (o->defer_open) {
        o->defer_open = false;
        amqp_conn_open(&o->conn);
        feed(o);
        return;
    }
    struct owner_link *l;
    switch (x % 8) {
    case 0:
        o->conn.now += dice_16(d);
        amqp_conn_tick(&o->conn, o->conn.now);
        /* Or its loop would turn without end. */
        ASSERT(amqp_conn_next_deadline(&o->conn) > o->conn.now || amqp_conn_is_closed(&o->conn));
        return;
    case 1:
        attach(o, d);
        return;
    case 2:
        if (x == 250)
            amqp_conn_close(&o->conn, x & 8 ? &(struct amqp_error){.condition = "amqp:connection:forced"} : NULL);
        return;
    default:
        l = some_link(o, x >> 3);
        if (l)
            act_on_link(l, d);
        return;
    }
}

/* ---- life ---- */

static bool check_password(const char *user, const char *password)
{
    return strcmp(user, "u") == 0 && strcmp(password, "p") == 0;
}

void owner_init(struct owner *o, struct dice *d, bool server, bool sasl)
{
    memset(o, 0, sizeof *o);
    uint8_t x = dice_octet(d);
    o->habit = dice_octet(d);
    const struct amqp_property properties[] = {{.key = "product", .text = "fuzz"}, {.key = "n", .number = -5}};
    const char *const capabilities[] = {"ANONYMOUS-RELAY", NULL};
    struct amqp_conn_conf conf = {
        .server = server,
        .container_id = "fuzz",
        .hostname = x & 1 ? "host" : NULL,
        .max_frame_size = x & 2 ? MAX_FRAME : 512,
        .channel_max = x & 4 ? 3 : 200,
        .max_links = x & 8 ? 3 : 30,
        .session_window = x & 16 ? 3 : 100,
        .overdraft = x & 16 ? 3 : 0,
        .idle_timeout_ms = x & 32 ? 8000 : 0,
        .output_limit = x & 64 ? 2000 : 0,
        .sasl = sasl,
        .require_auth = server && sasl,
        .user = "u",
        .password = "p",
        .external_id = x & 128 ? "external" : NULL,
        .check_password = check_password,
        .properties = properties,
        .property_count = 2,
        .offered_capabilities = capabilities,
        .first_delivery_id = x & 1 ? UINT32_MAX - 2 : 0,
        .first_transfer_id = x & 2 ? UINT32_MAX - 3 : 0,
    };
    ASSERT(amqp_conn_init(&o->conn, &conf, &HANDLER) == OK);
}

void owner_fini(struct owner *o)
{
    owner_turn(o);
    amqp_conn_eof(&o->conn, NULL);
    owner_turn(o);
    ASSERT(o->closed);
    ASSERT(amqp_conn_is_finished(&o->conn) == (amqp_conn_pending(&o->conn) == 0));
    amqp_conn_fini(&o->conn);
    for (struct owner_link *l = o->links; l; l = l->next)
        ASSERT(!l->attached);
    while (o->links)
        link_free(o->links);
    free(o->input);
    free(o->frame);
}
