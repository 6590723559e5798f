/* conn_test_owner.h -- the functions of conn_test.h. Each test program includes it once. */
#include "conn_test.h"

static struct owner *owner_of(struct amqp_conn *c)
{
    return container_of(c, struct owner, c);
}

static struct test_link *test_link_of(struct amqp_link *lk)
{
    return container_of(lk, struct test_link, link);
}

struct test_link *link_new(struct owner *o)
{
    struct test_link *t = xcalloc(1, sizeof *t);
    t->owner = o;
    t->next = o->links;
    o->links = t;
    return t;
}

static void keep_error(char *out, size_t size, const struct amqp_error *e)
{
    if (e)
        snprintf(out, size, "%s%s%s", e->condition, e->description ? ": " : "", e->description ? e->description : "");
}

static void on_opened(struct amqp_conn *c)
{
    struct owner *o = owner_of(c);
    o->opened++;
    if (!o->defer_open)
        amqp_conn_open(c);
}

static void on_closed(struct amqp_conn *c, const struct amqp_error *error, bool by_peer)
{
    struct owner *o = owner_of(c);
    o->closed++;
    o->closed_by_peer = by_peer;
    keep_error(o->error, sizeof o->error, error);
    for (struct test_link *t = o->links; t; t = t->next)
        assert_int_equal(t->gone, t->link.conn ? 1 : 0);
}

static void on_dirty(struct amqp_conn *c)
{
    (void)c;
}

static struct amqp_link *on_new_link(struct amqp_conn *c)
{
    return &link_new(owner_of(c))->link;
}

static void on_attached(struct amqp_link *lk)
{
    struct test_link *t = test_link_of(lk);
    struct owner *o = t->owner;
    t->attached++;
    if (lk->flags & AMQP_LINK_ATTACHED_LOCAL) {
        if (!lk->is_sender && o->credit)
            amqp_link_grant(lk, o->credit);
        return;
    }
    if (o->defer_attach)
        return;
    if (o->refuse_links) {
        amqp_link_refuse(lk, &(struct amqp_error){.condition = "amqp:not-found", .description = "Node not found"});
        return;
    }
    struct amqp_terminus_view source;
    amqp_link_peer_source(lk, &source);
    amqp_link_accept(lk, lk->is_sender && source.dynamic ? "temp.1" : NULL, o->max_message_size);
    if (!lk->is_sender && o->credit)
        amqp_link_grant(lk, o->credit);
}

static void on_detached(struct amqp_link *lk, bool closed, const struct amqp_error *error)
{
    struct test_link *t = test_link_of(lk);
    t->detached++;
    t->detached_closed = closed;
    if (error)
        snprintf(t->detach_error, sizeof t->detach_error, "%s", error->condition);
    if (!t->owner->defer_detach)
        amqp_link_detach(lk, closed, NULL);
}

static void on_gone(struct amqp_link *lk)
{
    struct test_link *t = test_link_of(lk);
    assert_int_equal(t->gone, 0);
    t->gone++;
}

void link_pump(struct test_link *t)
{
    struct owner *o = t->owner;
    static uint8_t body[256 * 1024];
    while (o->to_send && (t->link.in_delivery || amqp_link_sendable(&t->link))) {
        memset(body, 'a' + (int)(o->to_send % 26), o->message_size);
        struct slice part = {NULL, body + t->sent, o->message_size - t->sent};
        struct amqp_send m = {.parts = &part, .part_count = 1, .settled = o->send_settled};
        size_t sent;
        enum err e = amqp_link_send(&t->link, &m, &sent, NULL);
        t->sent += sent;
        if (e == ERR_AGAIN)
            return;
        assert_int_equal(e, OK);
        assert_int_equal(t->sent, o->message_size);
        t->sent = 0;
        o->to_send--;
    }
}

static void on_sendable(struct amqp_link *lk)
{
    struct test_link *t = test_link_of(lk);
    assert_int_equal(t->gone, 0);
    t->sendable++;
    link_pump(t);
    if (lk->drain && t->owner->to_send == 0)
        amqp_link_drained(lk);
}

static void on_drained(struct amqp_link *lk)
{
    test_link_of(lk)->drained++;
}

static void on_transfer(struct amqp_link *lk, struct amqp_transfer *x)
{
    struct test_link *t = test_link_of(lk);
    struct owner *o = t->owner;
    assert_int_equal(t->gone, 0);
    assert_true(!x->settled || x->delivery == NULL || x->delivery->remote_settled);
    t->transfers++;
    t->octets += x->payload.len;
    t->last_id = x->id;
    t->last_settled = x->settled;
    t->last_state = x->state.code;
    if (x->first)
        t->text_len = 0;
    size_t room = sizeof t->text - t->text_len, n = x->payload.len < room ? x->payload.len : room;
    if (n)
        memcpy(t->text + t->text_len, x->payload.data, n);
    t->text_len += n;
    if (o->hold_frames)
        amqp_transfer_hold(lk);
    if (o->track && x->first)
        assert_non_null(amqp_delivery_track(lk, x));
    if (x->aborted) {
        t->aborted++;
        return;
    }
    if (x->more)
        return;
    t->messages++;
    if (o->accept_deliveries && x->delivery)
        amqp_link_settle(lk, x->id, x->id, &(struct amqp_state){.code = AMQP_ACCEPTED});
    if (o->credit)
        amqp_link_grant(lk, 1);
}

static void on_disposition(struct amqp_delivery *d, const struct amqp_state *state, bool settled)
{
    struct owner *o = test_link_of(d->link)->owner;
    o->dispositions++;
    o->settled += settled;
    o->last_state = state->code;
    o->last_delivery = *d;
}

static void on_peer_settled(struct amqp_delivery *d, const struct amqp_state *state)
{
    struct owner *o = test_link_of(d->link)->owner;
    o->peer_settled++;
    o->last_state = state->code;
}

static void on_lost(struct amqp_delivery *d)
{
    struct test_link *t = test_link_of(d->link);
    assert_int_equal(t->gone, 0);
    t->owner->lost++;
}

static void on_session_gone(struct amqp_conn *c, struct amqp_session *s)
{
    assert_non_null(s);
    owner_of(c)->sessions_gone++;
}

const struct amqp_handler test_handler = {
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
    .session_gone = on_session_gone,
};

struct amqp_conn_conf test_conf(bool server)
{
    return (struct amqp_conn_conf){
        .server = server,
        .container_id = server ? "server" : "client",
        .hostname = server ? NULL : "host.example",
        .max_frame_size = 16384,
        .channel_max = 32767,
        .max_links = 1000,
        .session_window = INT32_MAX,
        .sasl = !server,
    };
}

void owner_init(struct owner *o, const char *name, const struct amqp_conn_conf *conf)
{
    memset(o, 0, sizeof *o);
    o->name = name;
    o->message_size = 100;
    o->c.now = 1000;
    assert_int_equal(amqp_conn_init(&o->c, conf, &test_handler), OK);
}

struct owner *owner_new(const char *name, const struct amqp_conn_conf *conf)
{
    struct owner *o = xmalloc(sizeof *o);
    owner_init(o, name, conf);
    return o;
}

void owner_free(struct owner **op)
{
    struct owner *o = *op;
    *op = NULL;
    amqp_conn_fini(&o->c);
    for (struct test_link *t = o->links, *next; t; t = next) {
        next = t->next;
        assert_true(t->gone || t->link.conn == NULL || t->link.priv == NULL);
        free(t);
    }
    free(o);
}

void owner_feed(struct owner *o, const void *octets, size_t n)
{
    assert_true(o->input_len + n <= sizeof o->input);
    memcpy(o->input + o->input_len, octets, n);
    o->input_len += n;
    struct buffer *b = buffer_new(o->input_len + 1);
    memcpy(b->bytes, o->input, o->input_len);
    size_t need, used = amqp_conn_input(&o->c, b, b->bytes, o->input_len, &need);
    assert_true(used <= o->input_len);
    if (used < o->input_len && need)
        assert_true(need > o->input_len - used);
    buffer_unref(b);
    o->input_len -= used;
    memmove(o->input, o->input + used, o->input_len);
}

size_t owner_take(struct owner *o, void *to, size_t max)
{
    struct iovec iov[8];
    amqp_conn_flush(&o->c);
    int n = amqp_conn_output(&o->c, iov, 8);
    size_t taken = 0;
    for (int i = 0; i < n && taken < max; i++) {
        size_t some = iov[i].iov_len < max - taken ? iov[i].iov_len : max - taken;
        memcpy((char *)to + taken, iov[i].iov_base, some);
        taken += some;
    }
    amqp_conn_written(&o->c, taken);
    return taken;
}

void wire_run(struct owner *a, struct owner *b, unsigned seed)
{
    static uint8_t octets[65536];
    for (int quiet = 0; quiet < 2;) {
        size_t moved = 0;
        struct owner *pair[2] = {a, b};
        for (int i = 0; i < 2; i++) {
            size_t max = seed ? 1 + (size_t)rand_r(&seed) % 97 : sizeof octets;
            size_t n = owner_take(pair[i], octets, max);
            if (n)
                owner_feed(pair[1 - i], octets, n);
            moved += n;
        }
        quiet = moved ? 0 : quiet + 1;
    }
}
