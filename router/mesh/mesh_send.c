#include "mesh_priv.h"

#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

static struct slice text_slice(const char *text)
{
    return (struct slice){NULL, (const uint8_t *)text, strlen(text)};
}

static void send_out(struct mesh *m, uint64_t link)
{
    mesh_call(m);
    m->owner->send(m->owner, link, m->out.data, m->out.len);
    mesh_called(m);
}

/* The link to use towards a router. A neighbour is always told directly: that path is the one that surely exists. */
static bool link_to(struct mesh *m, struct slice id, uint64_t *link)
{
    const struct neighbour *n = hello_neighbour(m->hello, id);
    if (n) {
        *link = n->link;
        return true;
    }
    uint32_t index;
    if (!lsdb_find(m->lsdb, id, &index) || index == LSDB_SELF || !mesh_state(m, index)->is_reachable)
        return false;
    *link = mesh_state(m, index)->link;
    return true;
}

static bool send_to(struct mesh *m, const char *id)
{
    uint64_t link;
    if (!link_to(m, text_slice(id), &link))
        return false;
    send_out(m, link);
    return true;
}

static void send_to_all(struct mesh *m)
{
    uint32_t n;
    const struct neighbour *all = hello_neighbours(m->hello, &n);
    for (uint32_t i = 0; i < n; i++)
        send_out(m, all[i].link);
}

void mesh_send_hello(struct mesh *m, uint64_t link, const char *const *seen, uint32_t n)
{
    wire_encode(&(struct wire_out){.op = WIRE_HELLO,
                                   .self = m->id,
                                   .instance = m->conf.instance,
                                   .life = m->conf.life,
                                   .seen = seen,
                                   .seen_count = n,
                                   .is_among_ours = hello_link_is_ours(m->hello, link)},
                &m->out);
    send_out(m, link);
}

void mesh_send_ra(struct mesh *m)
{
    m->last_ra = m->now;
    m->ra_due = m->now + (m->now < m->flux_until ? m->conf.ra_interval_flux : m->conf.ra_interval);
    wire_encode(&(struct wire_out){.op = WIRE_RA,
                                   .self = m->id,
                                   .instance = m->conf.instance,
                                   .ls_seq = m->ls_seq,
                                   .mobile_seq = mobile_seq(m->mobile)},
                &m->out);
    send_to_all(m);
}

/* ---- records ---- */

static struct wire_out own_record(const struct mesh *m)
{
    return (struct wire_out){.op = WIRE_LSU,
                             .self = m->id,
                             .instance = m->conf.instance,
                             .ls_seq = m->ls_seq,
                             .mobile_seq = mobile_seq(m->mobile),
                             .life = m->conf.life,
                             .peers = m->announced,
                             .peer_count = m->announced_count};
}

/* A router of ours is told more than an old one would understand. */
static void send_record_to(struct mesh *m, struct wire_out *record, const struct neighbour *n)
{
    record->target = n->id;
    record->is_among_ours = true;
    wire_encode(record, &m->out);
    send_out(m, n->link);
}

void mesh_send_record(struct mesh *m)
{
    uint32_t n;
    const struct neighbour *all = hello_neighbours(m->hello, &n);
    struct wire_out record = own_record(m);
    for (uint32_t i = 0; i < n; i++)
        if (all[i].is_ours)
            send_record_to(m, &record, &all[i]);
}

/* Ownership: the caller frees *peers. */
static struct wire_out record_of(struct mesh *m, const struct lsdb_router *r, struct wire_peer **peers)
{
    *peers = xcalloc(r->peer_count + 1, sizeof **peers);
    for (uint32_t i = 0; i < r->peer_count; i++)
        (*peers)[i] = (struct wire_peer){lsdb_router(m->lsdb, r->peers[i].to)->id, r->peers[i].cost};
    return (struct wire_out){.op = WIRE_LSU,
                             .self = m->id,
                             .id = r->id,
                             .instance = r->instance,
                             .ls_seq = r->ls_seq,
                             .mobile_seq = r->mobile_seq,
                             .life = r->life,
                             .peers = *peers,
                             .peer_count = r->peer_count};
}

void mesh_push_record(struct mesh *m, uint32_t router, uint64_t except)
{
    const struct lsdb_router *r = lsdb_router(m->lsdb, router);
    uint32_t n;
    const struct neighbour *all = hello_neighbours(m->hello, &n);
    struct wire_peer *peers;
    struct wire_out record = record_of(m, r, &peers);
    for (uint32_t i = 0; i < n; i++)
        if (all[i].is_ours && all[i].link != except && strcmp(all[i].id, r->id) != 0)
            send_record_to(m, &record, &all[i]);
    free(peers);
}

/* Of the neighbour itself too: if it has been restarted within the second that an instance lasts, it sees by that how
 * far its earlier life was. Of the others only of who can be reached: what nobody hears of any more is not to live on
 * by being passed around. */
void mesh_push_all(struct mesh *m, uint64_t link)
{
    uint32_t n;
    const struct neighbour *all = hello_neighbours(m->hello, &n), *to = NULL;
    for (uint32_t i = 0; i < n; i++)
        if (all[i].link == link)
            to = &all[i];
    if (to == NULL || !to->is_ours)
        return;
    struct wire_out own = own_record(m);
    send_record_to(m, &own, to);
    for (uint32_t i = 1; i < lsdb_limit(m->lsdb); i++) {
        const struct lsdb_router *r = lsdb_router(m->lsdb, i);
        if (r == NULL || r->ls_seq == 0 || (!mesh_state(m, i)->is_reachable && strcmp(r->id, to->id) != 0))
            continue;
        struct wire_peer *peers;
        struct wire_out record = record_of(m, r, &peers);
        send_record_to(m, &record, to);
        free(peers);
    }
}

bool mesh_send_lsr(struct mesh *m, uint32_t router)
{
    const char *id = lsdb_router(m->lsdb, router)->id;
    wire_encode(&(struct wire_out){.op = WIRE_LSR, .self = m->id, .target = id}, &m->out);
    return send_to(m, id);
}

static void answer(struct mesh *m, struct slice to, uint64_t link)
{
    (void)link_to(m, to, &link);
    send_out(m, link);
}

void mesh_send_lsu(struct mesh *m, struct slice to, uint64_t link)
{
    char target[MESH_ID_MAX + 1] = "";
    memcpy(target, to.data, to.len);
    struct wire_out record = own_record(m);
    record.target = target;
    wire_encode(&record, &m->out);
    answer(m, to, link);
}

/* ---- addresses ---- */

bool mesh_send_mar(struct mesh *m, uint32_t router)
{
    const char *id = lsdb_router(m->lsdb, router)->id;
    wire_encode(
        &(struct wire_out){.op = WIRE_MAR, .self = m->id, .target = id, .have_seq = mobile_known(m->mobile, router)},
        &m->out);
    return send_to(m, id);
}

void mesh_send_all_addresses(struct mesh *m, struct slice to, uint64_t link)
{
    char target[MESH_ID_MAX + 1] = "";
    memcpy(target, to.data, to.len);
    struct mobile_list all;
    mobile_all(m->mobile, &all);
    wire_encode(&(struct wire_out){.op = WIRE_MAU,
                                   .self = m->id,
                                   .target = target,
                                   .is_absolute = true,
                                   .mobile_seq = mobile_seq(m->mobile),
                                   .add = all.add,
                                   .hints = all.hints,
                                   .add_count = all.add_count},
                &m->out);
    answer(m, to, link);
}

void mesh_send_update(struct mesh *m, const struct mobile_list *update)
{
    wire_encode(&(struct wire_out){.op = WIRE_MAU,
                                   .self = m->id,
                                   .mobile_seq = mobile_seq(m->mobile),
                                   .add = update->add,
                                   .hints = update->hints,
                                   .add_count = update->add_count,
                                   .del = update->del,
                                   .del_count = update->del_count},
                &m->out);
    send_to_all(m);
}

/* ---- passing on ---- */

void mesh_relay_to_all(struct mesh *m, const uint8_t *octets, size_t n, const struct wire_envelope *e,
                       struct slice origin, uint64_t from)
{
    bool is_made = false;
    uint32_t count;
    const struct neighbour *all = hello_neighbours(m->hello, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (all[i].link == from || amqp_slice_is(origin, all[i].id) || wire_trace_has(e, all[i].id))
            continue;
        if (!is_made)
            wire_relay(octets, n, e, m->id, &m->out);
        is_made = true;
        send_out(m, all[i].link);
    }
}

/* While paths differ among routers a message may be sent round in a circle. One that has been at the next hop ends
 * here: whoever asked asks again. */
void mesh_relay_to_one(struct mesh *m, const uint8_t *octets, size_t n, const struct wire_envelope *e)
{
    uint64_t link;
    if (!link_to(m, e->target, &link))
        return;
    const char *next = hello_link_peer(m->hello, link);
    if (next == NULL || wire_trace_has(e, next))
        return;
    wire_relay(octets, n, e, m->id, &m->out);
    send_out(m, link);
}
