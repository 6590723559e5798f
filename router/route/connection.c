#include <router/route/connection.h>

#include <router/route/edge_wire.h>
#include <router/route/here.h>
#include <router/route/incoming.h>
#include <router/route/message_log.h>
#include <router/route/outgoing.h>
#include <router/route/own_link.h>
#include <router/route/phase.h>
#include <router/route/registry.h>
#include <router/route/relay.h>
#include <router/route/routed_link.h>
#include <router/route/routed_session.h>
#include <router/route/stream.h>
#include <router/route/tenant.h>
#include <router/route/trunk.h>
#include <router/route/trunk_peer.h>
#include <stdlib.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/terminus.h>
#include <trunkline/amqp/print.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/log.h>
#include <trunkline/io/connector.h>
#include <trunkline/io/worker.h>
#include <unistd.h>

/* How long a connection may take to write its last words. */
enum { CLOSE_MS = 2000 };

/* What routers tell each other as their version: which language they speak. Old ones count theirs, so ours, which
 * begins anew, would pass for one older than all of them. */
#define SPOKEN_VERSION "1.19.0"

static _Atomic uint64_t last_id;  /* relaxed: only to be different */
static _Atomic uint32_t accepted; /* relaxed: only to be counted */

/* ---- the limit of connections ---- */

bool connection_admit(uint32_t max)
{
    if (atomic_fetch_add_explicit(&accepted, 1, memory_order_relaxed) < max)
        return true;
    atomic_fetch_sub_explicit(&accepted, 1, memory_order_relaxed);
    return false;
}

uint32_t connection_accepted_count(void)
{
    return atomic_load_explicit(&accepted, memory_order_relaxed);
}

static void make_room(const struct connector *connector)
{
    if (!connector)
        atomic_fetch_sub_explicit(&accepted, 1, memory_order_relaxed);
}

/* ---- letters ----
 *
 * A letter is on its way exactly while there are bits beside it: who sets the first posts it, and its delivery takes
 * them all. Were it posted for each, one might be left in the box whose bits have been taken with the one before, and
 * what they were about could be freed under it. */

static void log_failure(struct connection *c, const char *condition, const char *description);

static void tell_control(struct connection *c, uint32_t bit)
{
    if (!atomic_fetch_or(&c->control_bits, bit))
        registry_post(&c->to_control);
}

void connection_tell(struct connection *c, uint32_t bits)
{
    /* One count for each bit that is on its way: the letter gives them back. */
    uint32_t before = atomic_fetch_or(&c->worker_bits, bits);
    for (int n = __builtin_popcount(bits & ~before); n > 0; n--)
        connection_ref(c);
    if (!before)
        worker_post(c->io.worker, &c->to_worker);
}

/* Without a Close, as if the network had failed: that makes clients connect again, where a Close ends them (proton
 * without heartbeats). What was under way to it goes out before, the answer to whoever deletes its own connection among
 * it. */
static void connection_delete(struct connection *c)
{
    if (!c->deleted) {
        c->deleted = true;
        connection_tell(c, CONNECTION_DELETE);
        return;
    }
    static const char why[] = "Connection forced-closed by management request";
    log_failure(c, "amqp:connection:forced", why);
    io_conn_abort(&c->io, why);
}

static void connection_on_letter(struct letter *l)
{
    struct connection *c = container_of(l, struct connection, to_worker);
    uint32_t bits = atomic_exchange(&c->worker_bits, 0);
    if (!c->ended) {
        c->amqp.now = here_now();
        if (bits & CONNECTION_TRACE)
            c->amqp.trace = atomic_load_explicit(&c->tracing, memory_order_relaxed);
        if (bits & CONNECTION_DROP)
            io_conn_abort(&c->io, "no heartbeat");
        else if (bits & CONNECTION_DELETE)
            connection_delete(c);
        else if ((bits & CONNECTION_CLOSE) && c->container == NULL)
            io_conn_abort(&c->io, "The connector has been deleted by management request"); /* nobody is there to tell */
        else if (bits & CONNECTION_CLOSE) {
            struct amqp_error error = {.condition = "amqp:connection:forced",
                                       .description = "The connector has been deleted by management request"};
            amqp_conn_close(&c->amqp, &error);
            io_conn_close(&c->io, CLOSE_MS);
        }
    }
    for (int n = __builtin_popcount(bits); n > 0; n--)
        connection_unref(c);
}

/* ---- links ---- */

static struct connection *connection_of(struct amqp_conn *a)
{
    return container_of(a, struct connection, amqp);
}

static struct link *link_of(struct amqp_link *a)
{
    return container_of(a, struct link, amqp);
}

void link_tell_control(struct link *l, uint32_t bit)
{
    if (!atomic_fetch_or(&l->control_bits, bit))
        registry_post(&l->to_control);
}

void link_bury(struct link *l)
{
    link_slots_remove(here->slots, l);
    link_tell_control(l, LINK_RELEASED);
}

void link_abandon(struct link *l)
{
    if (!l->is_incoming && l->out.queue.next)
        outgoing_abandon(l);
    if (!l->is_incoming)
        relay_end_all(l);
    link_tell_control(l, LINK_RELEASED);
}

static void link_on_letter(struct letter *letter);

struct link *connection_new_link(struct connection *c)
{
    struct link *l = xcalloc(1, sizeof *l);
    connection_ref(c);
    l->conn = c;
    l->capacity = c->settings->link_capacity;
    l->is_edge = c->settings->role == ROLE_EDGE;
    l->to_control = (struct letter)LETTER_INIT(registry_on_link);
    l->to_worker = (struct letter)LETTER_INIT(link_on_letter);
    list_init(&l->node);
    list_init(&l->of_address);
    list_init(&l->answer_node);
    link_slots_add(here->slots, l);
    return l;
}

void connection_drop_link(struct link *l)
{
    link_slots_remove(here->slots, l);
    connection_unref(l->conn);
    free(l->name);
    free(l->wanted);
    free(l->maker);
    free(l);
}

void connection_register_link(struct link *l)
{
    link_tell_control(l, LINK_ATTACH);
}

static struct amqp_link *on_new_link(struct amqp_conn *a)
{
    return &connection_new_link(connection_of(a))->amqp;
}

/* What control need not be asked. */
static enum attach_refusal refusal_of(const struct link *l, const struct amqp_terminus_view *t)
{
    if (l->conn->settings->role == ROLE_INTER_ROUTER && !l->conn->is_trunk)
        return ATTACH_NO_ROUTER;
    if (l->is_downlink)
        return ATTACH_OK;
    if (t->kind == AMQP_TERMINUS_COORDINATOR)
        return ATTACH_NO_COORDINATOR;
    static const char *const between_routers[] = {"qd.router", "qd.router-data", edge_wire_downlink};
    for (size_t i = 0; i < sizeof between_routers / sizeof between_routers[0]; i++)
        if (amqp_terminus_has_capability(t, between_routers[i]))
            return ATTACH_FORBIDDEN;
    return ATTACH_OK;
}

/* What the peer calls by this address, in the network. Ownership: the caller's. */
static char *name_in_network(const struct connection *c, const char *address, size_t len)
{
    if (!c->tenant || !tenant_owns(address, len))
        return xstrndup(address, len);
    char *name = xmalloc(strlen(c->tenant) + len + 1);
    tenant_write(c->tenant, address, len, name);
    return name;
}

/* Whose link route makes a dynamic node: what the first of its properties says, if it is about that (wire-protocol
 * reference 2.7, Client links). Ownership: the caller's. Result: NULL, none. */
static char *maker_of_node(const struct connection *c, struct slice properties)
{
    struct amqp_reader r = amqp_slice_reader(properties);
    struct amqp_compound map;
    struct slice key, address;
    if (!properties.len || amqp_enter_map(&r, &map) != OK || map.count < 2 || amqp_read_symbol(&map.in, &key) != OK ||
        !amqp_slice_is(key, "x-opt-qd.address") || amqp_read_string(&map.in, &address) != OK || !address.len)
        return NULL;
    return name_in_network(c, (const char *)address.data, address.len);
}

static void on_attached(struct amqp_link *a)
{
    struct link *l = link_of(a);
    struct amqp_terminus_view local;
    if (l->own) {
        own_link_answered(l);
        return;
    }
    if (l->is_ours && l->routed) {
        routed_link_answered(l);
        return;
    }
    if (l->is_ours) {
        trunk_link_attached(l);
        return;
    }
    l->is_incoming = !a->is_sender;
    if (l->is_incoming) {
        amqp_link_peer_target(a, &local);
        l->in.round_robin = l->token.index;
    } else {
        amqp_link_peer_source(a, &local);
        outgoing_init(l);
    }
    l->name = xstrdup(amqp_link_name(a));
    l->kind = (uint8_t)trunk_link_kind(l->conn, &local);
    if (l->kind != LINK_ENDPOINT) {
        trunk_link_attached(l);
        return;
    }
    l->is_dynamic = local.dynamic;
    l->is_coordinator = local.kind == AMQP_TERMINUS_COORDINATOR;
    l->is_resumable = local.timeout > 0 || local.expiry == AMQP_EXPIRE_NEVER;
    l->is_downlink = l->is_edge && !l->is_incoming && amqp_terminus_has_capability(&local, edge_wire_downlink);
    l->refusal_by_worker = refusal_of(l, &local);
    l->phase = phase_asked(&local, l->is_incoming, l->is_edge);
    if (local.dynamic)
        l->maker = maker_of_node(l->conn, local.dynamic_properties);
    else if (local.address && local.address[0])
        l->wanted = name_in_network(l->conn, local.address, strlen(local.address));
    l->wanted_len = l->wanted ? (uint32_t)strlen(l->wanted) : 0;
    link_tell_control(l, LINK_ATTACH);
}

static const struct {
    const char *condition, *description;
} attach_refusals[] = {
    [ATTACH_NOT_FOUND] = {"amqp:not-found", "Node not found"},
    [ATTACH_NO_ROUTE] = {"qd:no-route-to-dest", "No route to the destination node"},
    [ATTACH_FORBIDDEN] = {"qd:forbidden", "Connectivity to the node is forbidden"},
    [ATTACH_NO_ROUTER] = {"qd:connection-role", "Link attach forbidden on inter-router connection"},
    [ATTACH_NO_COORDINATOR] = {"amqp:precondition-failed",
                               "The router can't coordinate transactions by itself, a linkRoute to a coordinator must "
                               "be configured to use transactions."},
    [ATTACH_EXPIRATION] = {"qd:link-expiration", "Requested link expiration not allowed"},
    [ATTACH_SILENT] = {NULL, NULL},
};

/* Of the link, for the log. */
struct termini_text {
    char source[512], target[512];
};

static void print_termini(const struct link *l, struct termini_text *out)
{
    struct amqp_terminus_view s, t;
    amqp_link_peer_source(&l->amqp, &s);
    amqp_link_peer_target(&l->amqp, &t);
    amqp_terminus_print(&s, out->source, sizeof out->source);
    amqp_terminus_print(&t, out->target, sizeof out->target);
}

static void log_attached(struct link *l)
{
    struct termini_text t;
    print_termini(l, &t);
    LOG(ROUTER_CORE, INFO, "[C%llu][L%llu] Link attached: dir=%s source=%s target=%s", (unsigned long long)l->conn->id,
        (unsigned long long)l->identity, l->is_incoming ? "in" : "out", t.source, t.target);
}

void connection_log_refused(struct link *l, const char *condition, const char *description)
{
    if (!log_enabled(LOG_ROUTER_CORE, LOG_LEVEL_INFO))
        return;
    struct termini_text t;
    print_termini(l, &t);
    LOG_PEER(ROUTER_CORE, INFO, "[C%llu] Link refused: dir=%s source=%s target=%s: %s %s",
             (unsigned long long)l->conn->id, l->is_incoming ? "in" : "out", t.source, t.target, condition,
             description ? description : "");
}

static void link_answer(struct link *l)
{
    l->answered = true;
    if (l->gone)
        return;
    l->amqp.conn->now = here_now();
    if (l->refusal != ATTACH_OK) {
        struct amqp_error error = {.condition = attach_refusals[l->refusal].condition,
                                   .description = attach_refusals[l->refusal].description};
        if (!l->own && error.condition)
            connection_log_refused(l, error.condition, error.description);
        if (l->own)
            own_link_refuse(l, error.condition ? &error : NULL);
        else
            amqp_link_refuse(&l->amqp, error.condition ? &error : NULL);
        return;
    }
    if (l->routed) {
        routed_link_forward(l);
        return;
    }
    if (log_enabled(LOG_ROUTER_CORE, LOG_LEVEL_INFO))
        log_attached(l);
    if (!l->is_ours)
        amqp_link_accept(&l->amqp, l->dynamic_address, 0);
    if (l->is_incoming)
        incoming_start(l);
    link_note_credit(l);
}

static void link_on_letter(struct letter *letter)
{
    struct link *l = container_of(letter, struct link, to_worker);
    uint32_t bits = atomic_exchange(&l->worker_bits, 0);
    if (bits & LINK_ANSWER)
        link_answer(l);
    if ((bits & LINK_REACHABLE) && !l->gone && l->answered && l->is_incoming && !l->is_finishing)
        incoming_reachable(l);
    if (bits & LINK_SILENT)
        trunk_silent(l->conn);
    if (bits & LINK_BURIED) {
        if (!l->is_incoming && l->out.queue.next) {
            l->out.buried = true;
            outgoing_buried(l);
        }
        if (l->is_incoming || !relay_is_busy(l))
            link_bury(l);
    }
}

static void on_detached(struct amqp_link *a, bool closed, const struct amqp_error *error)
{
    struct link *l = link_of(a);
    if (link_is_routed(l)) {
        routed_link_detached(l, closed, error);
        return;
    }
    if (l->own)
        own_link_detached(l, error);
    amqp_link_detach(a, closed, NULL);
}

static unsigned long long stat(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void log_gone(struct link *l, bool lost)
{
    const struct link_stats *s = &l->stats;
    LOG(ROUTER_CORE, INFO,
        "[C%llu][L%llu] Link %s: del=%llu presett=%llu psdrop=%llu acc=%llu rej=%llu rel=%llu mod=%llu delay1=%llu "
        "delay10=%llu blocked=%s",
        (unsigned long long)l->conn->id, (unsigned long long)l->identity, lost ? "lost" : "detached",
        stat(&s->deliveries), stat(&s->presettled), stat(&s->dropped_presettled), stat(&s->accepted),
        stat(&s->rejected), stat(&s->released), stat(&s->modified), stat(&s->delayed_1s), stat(&s->delayed_10s),
        atomic_load_explicit(&s->zero_credit_since, memory_order_relaxed) ? "yes" : "no");
}

static void on_gone(struct amqp_link *a)
{
    struct link *l = link_of(a);
    l->gone = true;
    message_log_forget(l);
    if (l->own)
        own_link_gone(l);
    if (l->answered && l->refusal == ATTACH_OK && log_enabled(LOG_ROUTER_CORE, LOG_LEVEL_INFO))
        log_gone(l, !(a->flags & AMQP_LINK_DETACHED_REMOTE));
    if (link_is_routed(l))
        routed_link_gone(l);
    else if (l->is_incoming)
        incoming_gone(l);
    else if (l->out.queue.next)
        outgoing_gone(l);
    link_tell_control(l, LINK_GONE);
}

static void on_session_gone(struct amqp_conn *a, struct amqp_session *s)
{
    stream_session_gone(connection_of(a), s);
    own_link_session_gone(connection_of(a), s);
    routed_session_gone(connection_of(a), s);
}

static void on_session_ended(struct amqp_conn *a, struct amqp_session *s, const struct amqp_error *error)
{
    own_link_session_ended(s, error);
    routed_session_ended(connection_of(a), s);
}

static void on_sendable(struct amqp_link *a)
{
    struct link *l = link_of(a);
    if (link_is_routed(l))
        routed_link_sendable(l);
    else
        outgoing_sendable(l);
    if (l->is_finishing)
        own_link_goes_on(l);
}

static void on_drained(struct amqp_link *a)
{
    struct link *l = link_of(a);
    if (link_is_routed(l))
        routed_link_drained(l);
    else
        incoming_drained(l);
}

static void on_transfer(struct amqp_link *a, struct amqp_transfer *t)
{
    struct link *l = link_of(a);
    if (link_is_routed(l)) {
        routed_link_transfer(l, t);
        return;
    }
    if (l->own && !l->answered) {
        /* Control has not said yet what it is for, so it has had no credit. */
        struct amqp_error error = {.condition = "amqp:link:transfer-limit-exceeded",
                                   .description = "a message came before the first credit"};
        own_link_refuse(l, &error);
        return;
    }
    incoming_transfer(l, t);
    if (l->is_finishing)
        own_link_goes_on(l);
}

/* The deliveries of one disposition are one answer, if they came from one link in this order. */
static void on_disposition(struct amqp_delivery *d, const struct amqp_state *state, bool settled)
{
    struct link *l = link_of(d->link);
    here_gather_answers();
    if (link_is_routed(l))
        routed_link_disposition(l, d, state, settled);
    else
        outgoing_disposition(l, d, state, settled);
    if (l->is_finishing)
        own_link_goes_on(l);
}

static void on_disposed(struct amqp_conn *c)
{
    (void)c;
    here_pass_gathered();
}

static void on_peer_settled(struct amqp_delivery *d, const struct amqp_state *state)
{
    struct link *l = link_of(d->link);
    if (link_is_routed(l))
        routed_link_peer_settled(l, d, state);
    else
        incoming_peer_settled(l, d);
}

static void on_lost(struct amqp_delivery *d)
{
    struct link *l = link_of(d->link);
    if (link_is_routed(l))
        routed_link_lost(l, d);
    else
        outgoing_lost(l, d);
}

/* ---- the connection ---- */

static void log_failure(struct connection *c, const char *condition, const char *description)
{
    c->failure_told = true;
    if (c->connector) {
        free(c->failure);
        c->failure = xasprintf("[C%llu] Connection to %s failed: %s %s", (unsigned long long)c->id, c->host, condition,
                               description);
        LOG_PEER(SERVER, INFO, "%s", c->failure);
    } else
        LOG_PEER(SERVER, INFO, "[C%llu] Connection from %s (to %s) failed: %s %s", (unsigned long long)c->id, c->host,
                 c->settings->at, condition, description);
}

static char *text_or_none(const char *s)
{
    return s && s[0] ? xstrdup(s) : NULL;
}

static void remember_peer(struct connection *c)
{
    const struct amqp_conn_peer *p = amqp_conn_peer(&c->amqp);
    c->container = xstrdup(p->container_id);
    c->mechanism = text_or_none(p->sasl_mechanism);
    c->user = text_or_none(p->user);
    if (c->user == NULL && c->mechanism == NULL)
        c->user =
            xstrdup("anonymous"); /* without a SASL layer: not authenticated, and yet a name for policy and views */
    if (p->properties.len) {
        uint8_t *copy = xmalloc(p->properties.len);
        memcpy(copy, p->properties.data, p->properties.len);
        c->properties = (struct slice){.data = copy, .len = p->properties.len};
    }
    struct mesh_peer peer;
    trunk_peer_read(c->properties, c->settings->cost, &peer);
    c->offers_streams = amqp_has_capability(p->offered_capabilities, "qd.streaming-links");
    bool is_router = c->settings->role == ROLE_INTER_ROUTER || c->settings->role == ROLE_EDGE;
    c->is_of_ours = is_router && peer.is_ours;
    char props[1024] = "{}";
    if (c->properties.len)
        amqp_value_print(c->properties, props, sizeof props);
    c->opened = here_now();
    char *head = xasprintf("Connection Opened: dir=%s host=%s vhost=%s encrypted=no auth=%s user=%s container_id=%s",
                           c->connector ? "out" : "in", c->host, p->hostname, c->mechanism ? c->mechanism : "no",
                           c->user ? c->user : "(null)", c->container);
    c->opened_short = strlen(head);
    c->opened_text = xasprintf("%s props=%s", head, props);
    free(head);
}

/* The name space of the peer's addresses. Result: false, what it calls its vhost can be none: it is told so. */
static bool set_tenant(struct connection *c)
{
    const struct connection_settings *s = c->settings;
    if (!s->is_multi_tenant)
        return true;
    const char *vhost = s->policy_vhost ? s->policy_vhost : amqp_conn_peer(&c->amqp)->hostname;
    if (tenant_vhost_is_good(vhost)) {
        c->tenant = tenant_prefix(vhost);
        return true;
    }
    char *text = xasprintf("'%.200s' cannot be a tenant's name: it holds a '/', or stands for something else", vhost);
    struct amqp_error error = {.condition = "amqp:invalid-field", .description = text};
    log_failure(c, error.condition, error.description);
    amqp_conn_open(&c->amqp);
    amqp_conn_close(&c->amqp, &error);
    io_conn_close(&c->io, CLOSE_MS);
    free(text);
    return false;
}

static void on_opened(struct amqp_conn *a)
{
    struct connection *c = connection_of(a);
    timer_cancel(&c->handshake);
    remember_peer(c);
    if (!set_tenant(c))
        return;
    if (c->connector)
        connector_is_up(c->connector);
    else
        amqp_conn_open(a);
    tell_control(c, CONNECTION_OPENED);
    if (c->connector && c->settings->role == ROLE_INTER_ROUTER)
        trunk_open(c);
}

static void on_closed(struct amqp_conn *a, const struct amqp_error *error, bool by_peer)
{
    (void)by_peer;
    struct connection *c = connection_of(a);
    if (error && !c->failure_told)
        log_failure(c, error->condition, error->description ? error->description : "");
}

static void on_dirty(struct amqp_conn *a)
{
    io_conn_dirty(&connection_of(a)->io);
}

static const struct amqp_handler handler = {
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
    .disposed = on_disposed,
    .peer_settled = on_peer_settled,
    .lost = on_lost,
    .session_gone = on_session_gone,
    .session_ended = on_session_ended,
};

/* Why the connector's connection has ended; free() it. */
static char *last_words(const struct connection *c)
{
    return c->failure ? xstrdup(c->failure)
                      : xasprintf("[C%llu] Connection to %s closed", (unsigned long long)c->id, c->host);
}

/* To control, and to the connector: in this order, so that the connector is still there when control hears of it. */
static void tell_gone(struct connection *c)
{
    struct connector *connector = c->connector;
    char *why = connector ? last_words(c) : NULL;
    tell_control(c, CONNECTION_GONE); /* which may let c go */
    if (connector)
        connector_lost(connector, why);
    free(why);
}

static void on_ended(struct io_conn *io, const char *why)
{
    struct connection *c = container_of(io, struct connection, io);
    if (why[0] && !c->failure_told)
        log_failure(c, "amqp:connection:framing-error", why);
    timer_cancel(&c->handshake);
    amqp_conn_fini(&c->amqp);
    routed_sessions_free(&c->routed_sessions);
    c->ended = true;
    make_room(c->connector);
    tell_gone(c);
}

static void on_handshake_late(struct timer *t)
{
    struct connection *c = container_of(t, struct connection, handshake);
    struct amqp_error error = {.condition = "amqp:not-allowed", .description = "Timeout waiting for initial handshake"};
    log_failure(c, error.condition, error.description);
    c->amqp.now = here_now();
    io_conn_abort(&c->io, error.description);
}

static enum err start_engine(struct connection *c, const char *hostname)
{
    const struct connection_settings *s = c->settings;
    bool is_between_routers = s->role == ROLE_INTER_ROUTER || s->role == ROLE_EDGE;
    enum { OWN_MAX = 6 };
    struct amqp_property *properties = xcalloc(OWN_MAX + s->open_property_count, sizeof *properties);
    size_t count = 3;
    properties[0] = (struct amqp_property){.key = "product", .text = "qpid-dispatch-router"};
    properties[1] =
        (struct amqp_property){.key = "version", .text = is_between_routers ? SPOKEN_VERSION : TRUNKLINE_VERSION};
    properties[2] = (struct amqp_property){.key = "qd.conn-id", .number = (int32_t)c->id};
    if (is_between_routers)
        properties[count++] = (struct amqp_property){.key = "qd.annotations-version", .number = 1};
    if (s->cost > 1) /* whatever the role, as 1.19 does; only routers look at it */
        properties[count++] = (struct amqp_property){.key = "qd.inter-router-cost", .number = s->cost};
    if (is_between_routers)
        properties[count++] = (struct amqp_property){.key = trunk_peer_hello_key, .number = TRUNK_PEER_HELLO_MS};
    ASSERT(count <= OWN_MAX);
    for (size_t i = 0; i < s->open_property_count; i++)
        properties[count++] = s->open_properties[i];
    /* Only between routers are there links for large messages: an old router that were offered them elsewhere would
     * release each large message instead of sending it (wire-protocol reference 2.3, Streaming links). */
    static const char *const of_all[] = {"ANONYMOUS-RELAY", NULL};
    static const char *const of_routers[] = {"ANONYMOUS-RELAY", "qd.streaming-links", NULL};
    struct amqp_conn_conf conf = {
        .server = c->connector == NULL,
        .container_id = here->world->identity.id,
        .hostname = hostname,
        .max_frame_size = s->max_frame_size,
        .channel_max = (uint16_t)(s->max_sessions - 1),
        .max_links = 65536,
        .session_window = s->session_window,
        .overdraft = s->link_capacity,
        .idle_timeout_ms = s->idle_timeout_ms,
        .sasl = c->connector != NULL,
        .require_auth = s->require_auth,
        .sasl_mechanisms = s->sasl_mechanisms,
        .user = s->user,
        .password = s->password,
        .properties = properties,
        .property_count = count,
        .offered_capabilities = is_between_routers ? of_routers : of_all,
    };
    c->amqp.id = c->id;
    c->amqp.now = here_now();
    enum err e = amqp_conn_init(&c->amqp, &conf, &handler);
    free(properties);
    return e;
}

/* The peer of a connector was gone before there was a connection to give a number to. */
static void tell_reset(struct connector *connector, const char *host, const char *service)
{
    char *why = xasprintf("Connection to %s:%s failed: connection reset", host, service);
    LOG_PEER(SERVER, INFO, "%s", why);
    connector_lost(connector, why);
    free(why);
}

void connection_new(struct worker *w, int fd, struct connection_settings *settings, struct connector *connector,
                    const char *host, const char *service)
{
    struct transport *t;
    if (settings->role == ROLE_INTER_ROUTER)
        tcp_limit_unsent(fd, TRUNK_UNSENT_MAX);
    if (tcp_transport_new(fd, &t) != OK) {
        /* The peer was gone before we came to it. */
        close(fd);
        make_room(connector);
        if (connector)
            tell_reset(connector, host, service);
        return;
    }
    struct connection *c = xcalloc(1, sizeof *c);
    atomic_init(&c->refs, 1);
    c->id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
    connection_settings_ref(settings);
    c->settings = settings;
    c->connector = connector;
    c->strip_in = settings->strip_in;
    c->strip_out = settings->strip_out;
    c->message_parts = settings->message_parts;
    c->host = connector ? xasprintf("%s:%s", host, service) : xstrdup(t->peer);
    c->made = here_now();
    c->to_control = (struct letter)LETTER_INIT(registry_on_connection);
    c->to_worker = (struct letter)LETTER_INIT(connection_on_letter);
    timer_init(&c->handshake, on_handshake_late);
    list_init(&c->node);
    list_init(&c->dialled_node);
    list_init(&c->delete_node);
    enum err e = start_engine(c, host);
    ASSERT(e == OK); /* settings were checked when they were made */
    if (!connector)
        LOG_IF(SERVER, INFO, "[C%llu] Accepted connection to %s from %s", (unsigned long long)c->id, settings->at,
               t->peer);
    e = io_conn_open(&c->io, w, t, &c->amqp, on_ended);
    if (e != OK) {
        log_failure(c, "amqp:internal-error", err_text(e));
        t->ops->free(t);
        amqp_conn_fini(&c->amqp);
        make_room(connector);
        if (connector)
            connector_lost(connector, c->failure);
        connection_unref(c);
        return;
    }
    if (connector)
        tell_control(c, CONNECTION_MADE);
    if (settings->handshake_timeout_ms)
        loop_timer_after(worker_loop(w), &c->handshake, settings->handshake_timeout_ms);
}
