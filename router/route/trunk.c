#include <router/route/trunk.h>

#include <router/route/address_name.h>
#include <router/route/connection.h>
#include <router/route/here.h>
#include <router/route/incoming.h>
#include <router/route/outgoing.h>
#include <router/route/topology.h>
#include <trunkline/amqp/terminus.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/log.h>

/* A large message has the priority that most have (wire-protocol reference 2.3). */
enum { STREAM_URGENCY = 4 };

static const char control_capability[] = "qd.router", data_capability[] = "qd.router-data";

static struct link *attach(struct connection *c, struct amqp_session *s, bool is_sender, enum link_kind kind)
{
    const char *capability = kind == LINK_CONTROL ? control_capability : kind == LINK_DATA ? data_capability : NULL;
    char name[LINK_NAME_LEN + 1];
    if (address_name_generate_link(name) != OK)
        return NULL;
    struct amqp_attach a = {
        .name = name,
        .is_sender = is_sender,
        .source_capability = capability,
        .target_capability = capability,
        .snd_settle_mode = 2,
    };
    struct link *l = connection_new_link(c);
    l->kind = (uint8_t)kind;
    l->is_ours = true;
    l->is_incoming = !is_sender;
    if (is_sender)
        outgoing_init(l);
    if (amqp_link_attach(s, &l->amqp, &a) == OK)
        return l;
    connection_drop_link(l);
    return NULL;
}

struct link *trunk_attach_stream(struct connection *c, struct amqp_session *s)
{
    struct link *l = attach(c, s, true, c->settings->role == ROLE_EDGE ? LINK_ENDPOINT : LINK_DATA);
    if (l)
        l->priority = TRUNK_STREAMING;
    return l;
}

void trunk_open(struct connection *c)
{
    struct amqp_session *sessions[1 + TRUNK_PRIORITIES];
    for (int i = 0; i <= TRUNK_PRIORITIES; i++)
        if (amqp_session_begin(&c->amqp, &sessions[i]) != OK) {
            LOG_PEER(ROUTER_CORE, ERROR_LEVEL,
                     "[C%llu] the peer allows only %d sessions, a connection between routers needs %d",
                     (unsigned long long)c->id, i, 1 + TRUNK_PRIORITIES);
            struct amqp_error error = {.condition = "amqp:resource-limit-exceeded",
                                       .description = "a connection between routers needs 11 sessions"};
            amqp_conn_close(&c->amqp, &error);
            return;
        }
    for (int i = 0; i <= TRUNK_PRIORITIES; i++) {
        enum link_kind kind = i == 0 ? LINK_CONTROL : LINK_DATA;
        if (!attach(c, sessions[i], false, kind) || !attach(c, sessions[i], true, kind))
            return;
    }
}

enum link_kind trunk_link_kind(const struct connection *c, const struct amqp_terminus_view *local)
{
    if (c->settings->role != ROLE_INTER_ROUTER)
        return LINK_ENDPOINT;
    if (amqp_terminus_has_capability(local, control_capability))
        return LINK_CONTROL;
    return amqp_terminus_has_capability(local, data_capability) ? LINK_DATA : LINK_ENDPOINT;
}

void trunk_link_attached(struct link *l)
{
    struct connection *c = l->conn;
    l->answered = true;
    if (!l->name)
        l->name = xstrdup(amqp_link_name(&l->amqp));
    if (l->kind == LINK_DATA && l->priority != TRUNK_STREAMING) {
        uint8_t *next = l->is_incoming ? &c->trunk_in : &c->trunk_out;
        l->priority = *next < TRUNK_PRIORITIES ? *next : TRUNK_STREAMING;
        if (*next < TRUNK_PRIORITIES)
            (*next)++;
    }
    if (l->kind == LINK_CONTROL)
        amqp_session_hurry(l->amqp.session);
    if (l->kind == LINK_CONTROL && !l->is_incoming)
        c->is_trunk = true;
    l->amqp.urgency = l->priority == TRUNK_STREAMING ? STREAM_URGENCY : l->priority;
    if (!l->is_ours)
        amqp_link_accept(&l->amqp, NULL, 0);
    if (l->is_incoming)
        incoming_start(l);
    connection_register_link(l);
}

void trunk_silent(struct connection *c)
{
    struct link *l;
    uint32_t at = 0;
    while ((l = link_slots_next(here->slots, &at)))
        if (l->conn == c && l->kind == LINK_DATA && !l->is_incoming && l->answered && !l->gone)
            outgoing_silent(l);
}
