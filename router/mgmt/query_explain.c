/* What this router knows of one address, for whoever asks why its messages do not move (docs/explain.md): read() of
 * kind `explain` by the address's text. Facts only; trunkline/diagnosis.py makes a sentence of those of all routers.
 * Objects are control's; counters are the workers', read as they are. */
#include "query_explain_priv.h"

#include <router/mesh/mesh.h>
#include <router/route/address_name.h>
#include <router/route/connection.h>
#include <router/route/here.h>
#include <router/route/link.h>
#include <router/route/network.h>
#include <router/route/registry.h>
#include <router/route/rules.h>
#include <router/route/table.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/alloc.h>

/* Of an address with more links than these, those in trouble are shown first. */
enum { LINKS_MAX = 200 };

#define LOAD(member) atomic_load_explicit(&(member), memory_order_relaxed)

static const char *const held_by[] = {
    [AMQP_HINDRANCE_NONE] = NULL,
    [AMQP_HINDRANCE_CREDIT] = "credit",
    [AMQP_HINDRANCE_WINDOW] = "window",
    [AMQP_HINDRANCE_OUTPUT] = "output",
};

static PyObject *boolean(bool b)
{
    return PyBool_FromLong(b);
}

PyObject *explain_since(mono_ms then, mono_ms now)
{
    return then == 0 ? query_none() : query_number(now > then ? (uint64_t)(now - then) : 0);
}

bool explain_append(PyObject *list, PyObject *value)
{
    bool done = value != NULL && PyList_Append(list, value) == 0;
    Py_XDECREF(value);
    return done;
}

/* ---- links ---- */

static uint32_t unsettled_of(const struct link *l)
{
    /* Two counters read one after the other: what is being sent in between must not make it less than none. */
    uint32_t in_hand = LOAD(l->stats.in_hand), queued = l->is_incoming ? 0 : LOAD(l->stats.queued);
    return in_hand > queued ? in_hand - queued : 0;
}

static PyObject *link_facts(const struct link *l, mono_ms now)
{
    uint32_t by = LOAD(l->stats.held_by);
    return Py_BuildValue(
        "{s:N,s:N,s:N,s:N,s:N,s:s,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N}", "identity", query_decimal(l->identity),
        "linkName", query_text(l->name), "connection", query_decimal(l->conn->id), "container",
        query_text(l->conn->container), "host", query_text(l->conn->host), "role",
        connection_role_name(l->conn->settings->role), "capacity", query_number(l->capacity), "credit",
        query_number(LOAD(l->stats.credit)), "noCreditMs", explain_since(LOAD(l->stats.zero_credit_since), now),
        "queued", query_number(l->is_incoming ? 0 : LOAD(l->stats.queued)), "unsettled", query_number(unsettled_of(l)),
        "waitingMs", explain_since(link_stats_waiting_since(&l->stats), now), "deliveries",
        query_number(LOAD(l->stats.deliveries)), "settleRate", query_number(link_stats_settle_rate(&l->stats, now)),
        "heldBy", query_text(held_by[by < sizeof held_by / sizeof *held_by ? by : AMQP_HINDRANCE_NONE]), "heldMs",
        explain_since(LOAD(l->stats.held_since), now));
}

static bool is_in_trouble(const struct link *l)
{
    return LOAD(l->stats.credit) == 0 || LOAD(l->stats.in_hand) > 0;
}

/* At most LINKS_MAX of them, those in trouble first. */
static PyObject *links_facts(const struct list *links, mono_ms now)
{
    PyObject *out = PyList_New(0);
    for (int trouble = 1; out != NULL && trouble >= 0; trouble--)
        list_for_each(n, links)
        {
            const struct link *l = list_entry(n, struct link, of_address);
            if (PyList_GET_SIZE(out) == LINKS_MAX)
                return out;
            if (is_in_trouble(l) != trouble)
                continue;
            if (!explain_append(out, link_facts(l, now))) {
                Py_DECREF(out);
                return NULL;
            }
        }
    return out;
}

/* ---- other routers ---- */

static PyObject *router_facts(uint32_t index) ON_CONTROL
{
    struct mesh_row r;
    if (!network_mesh() || !mesh_row(network_mesh(), index, &r))
        return query_none();
    return Py_BuildValue("{s:N,s:N,s:N,s:N}", "id", query_text(r.id), "reachable", boolean(r.is_reachable), "nextHop",
                         r.is_reachable ? query_text(r.next_hop ? r.next_hop : r.id) : query_none(), "cost",
                         r.is_reachable ? PyLong_FromLongLong(r.cost) : query_none());
}

PyObject *explain_routers(const struct address *a)
{
    PyObject *out = PyList_New(0);
    for (uint32_t i = 0; out != NULL && i < a->remote_count; i++)
        if (!explain_append(out, router_facts(a->remotes[i])))
            Py_CLEAR(out);
    return out;
}

/* ---- columns ---- */

static PyObject *column_address(const void *object, const struct asked *q)
{
    (void)q;
    return query_text(((const struct explained *)object)->text);
}

static PyObject *column_rule(const void *object, const struct asked *q)
{
    (void)q;
    const struct explained *e = object;
    if (e->rule == NULL)
        return query_none();
    const struct rule_conf *c = rule_conf(e->rule);
    return Py_BuildValue("{s:N,s:N,s:s,s:i,s:i,s:i,s:N}", "name", query_text(c->name),
                         c->is_prefix ? "prefix" : "pattern", query_text(c->text), "distribution",
                         distribution_text(c->distribution), "priority", c->priority, "ingressPhase", c->ingress_phase,
                         "egressPhase", c->egress_phase, "fallback", boolean(c->fallback));
}

static uint64_t sum_of_deliveries(const struct list *links)
{
    uint64_t sum = 0;
    list_for_each(n, links)
    {
        sum += LOAD(list_entry(n, struct link, of_address)->stats.deliveries);
    }
    return sum;
}

static PyObject *use_facts(const struct address *a, mono_ms now) ON_CONTROL
{
    uint64_t ingress = a->past_ingress + LOAD(a->anonymous_ingress) + sum_of_deliveries(&a->senders);
    uint64_t egress = a->past_egress + sum_of_deliveries(&a->receivers) + LOAD(a->in_process_count);
    return Py_BuildValue("{s:N,s:s,s:i,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N}", "key", query_text(a->key), "distribution",
                         distribution_text(a->distribution), "priority", (int)a->priority, "inProcess",
                         boolean(a->in_process), "deliveriesIngress", query_number(ingress), "deliveriesEgress",
                         query_number(egress), "senderCount", query_number(a->sender_count), "receiverCount",
                         query_number(a->receiver_count), "senders", links_facts(&a->senders, now), "receivers",
                         links_facts(&a->receivers, now), "routers", explain_routers(a));
}

/* The address of each phase, of those that somebody uses. */
static PyObject *column_uses(const void *object, const struct asked *q)
{
    assert_on_control();
    static const char phases[] = "0123456789F";
    const struct explained *e = object;
    size_t len = strlen(e->given), size = len + ADDRESS_KEY_EXTRA + ROUTER_ID_MAX;
    char *key = xmalloc(size);
    PyObject *out = PyList_New(0);
    for (size_t i = 0; out != NULL && phases[i]; i++) {
        size_t n = address_name_key(&here->world->identity, e->given, len, phases[i], key, size);
        const struct address *a = n == 0 ? NULL : table_find(here->world->table, key, n);
        if (a != NULL && !explain_append(out, use_facts(a, q->now)))
            Py_CLEAR(out);
        if (n != 0 && key[0] != ADDRESS_MOBILE)
            break; /* it has no phases */
    }
    free(key);
    return out;
}

/* The links to a neighbour that carry messages, together. */
struct trunk_sum {
    const struct connection *conn;
    uint64_t queued, unsettled;
    mono_ms waiting_since, held_since;
    uint32_t held_by;
};

static void add_link(struct trunk_sum *t, const struct link *l)
{
    mono_ms waiting = link_stats_waiting_since(&l->stats), held = LOAD(l->stats.held_since);
    t->queued += LOAD(l->stats.queued);
    t->unsettled += unsettled_of(l);
    if (waiting != 0 && (t->waiting_since == 0 || waiting < t->waiting_since))
        t->waiting_since = waiting;
    if (held == 0 || (t->held_since != 0 && held >= t->held_since))
        return;
    t->held_since = held;
    t->held_by = LOAD(l->stats.held_by);
}

static PyObject *trunk_facts(const struct trunk_sum *t, mono_ms now)
{
    uint32_t by = t->held_by < sizeof held_by / sizeof *held_by ? t->held_by : AMQP_HINDRANCE_NONE;
    return Py_BuildValue("{s:N,s:N,s:N,s:N,s:N,s:N,s:N}", "router", query_text(t->conn->container), "connection",
                         query_decimal(t->conn->id), "queued", query_number(t->queued), "unsettled",
                         query_number(t->unsettled), "waitingMs", explain_since(t->waiting_since, now), "heldBy",
                         query_text(held_by[by]), "heldMs", explain_since(t->held_since, now));
}

/* Neighbours, and what is on its way to each, of all addresses. */
static PyObject *column_trunks(const void *object, const struct asked *q)
{
    assert_on_control();
    (void)object;
    size_t count = 0, size = 0;
    struct trunk_sum *sums = NULL;
    list_for_each(n, registry_links())
    {
        const struct link *l = list_entry(n, struct link, node);
        if (l->kind != LINK_DATA || l->is_incoming)
            continue;
        size_t i = 0;
        while (i < count && sums[i].conn != l->conn)
            i++;
        if (i == size) {
            size = 2 * size + 8;
            sums = xrealloc(sums, size * sizeof *sums);
        }
        if (i == count)
            sums[count++] = (struct trunk_sum){.conn = l->conn};
        add_link(&sums[i], l);
    }
    PyObject *out = PyList_New(0);
    for (size_t i = 0; out != NULL && i < count; i++)
        if (!explain_append(out, trunk_facts(&sums[i], q->now)))
            Py_CLEAR(out);
    free(sums);
    return out;
}

/* Edge routers that are connected here: they can be asked, too. */
static PyObject *column_edges(const void *object, const struct asked *q)
{
    assert_on_control();
    (void)object;
    (void)q;
    PyObject *out = PyList_New(0);
    list_for_each(n, registry_connections())
    {
        const struct connection *c = list_entry(n, struct connection, node);
        if (c->settings->role == ROLE_EDGE && c->connector == NULL && !explain_append(out, query_text(c->container))) {
            Py_DECREF(out);
            return NULL;
        }
    }
    return out;
}

static const struct column columns[] = {
    {"address", column_address},       {"rule", column_rule},           {"uses", column_uses},
    {"trunks", column_trunks},         {"edges", column_edges},         {"linkRoutes", explain_link_routes},
    {"autoLinks", explain_auto_links}, {"exchanges", explain_exchange}, {"interior", explain_interior},
};

static const void *find(const char *identity)
{
    assert_on_control();
    static struct explained current; /* control's; good for one row */
    size_t len = strlen(identity);
    free(current.given);
    free(current.text);
    current.given = xstrdup(identity);
    address_name_strip(&identity, &len);
    current.text = xstrndup(identity, len);
    current.rule = rules_match(rcu_read(&here->world->rules), identity, len);
    return len == 0 ? NULL : &current;
}

const struct kind query_kind_explain = {"explain", COLUMNS(columns), .find = find};
