/* What an address leads to beside links of its own: link routes, autoLinks, an exchange (query_explain.c). */
#include "query_explain_priv.h"

#include <router/route/address_name.h>
#include <router/route/autolink.h>
#include <router/route/connection.h>
#include <router/route/exchange.h>
#include <router/route/link.h>
#include <router/route/link_route.h>
#include <router/route/registry.h>
#include <router/route/routed_link.h>
#include <router/route/table.h>
#include <router/route/uplink.h>
#include <string.h>

/* ---- link routes ---- */

static PyObject *route_facts(const struct link_route *r, mono_ms now)
{
    const char *container = r->of_connection ? r->of_connection->container : r->container;
    return Py_BuildValue("{s:N,s:N,s:N,s:N,s:I,s:N}", "name", query_text(r->name), "identity", query_text(r->identity),
                         "connection", query_text(r->connection), "containerId", query_text(container), "connections",
                         r->ways, "sinceMs", explain_since(r->changed, now));
}

static PyObject *routes_facts(const struct address *a, mono_ms now) ON_CONTROL
{
    PyObject *out = PyList_New(0);
    list_for_each(n, link_routes())
    {
        const struct link_route *r = list_entry(n, struct link_route, node);
        if (out != NULL && link_route_is_of(r, a) && !explain_append(out, route_facts(r, now)))
            Py_CLEAR(out);
    }
    return out;
}

/* Clients' links, and those of other routers, that go to containers by this address. */
static uint32_t count_links(const struct address *a) ON_CONTROL
{
    uint32_t count = 0;
    list_for_each(n, registry_links())
    {
        const struct link *l = list_entry(n, struct link, node);
        const char *key = l->routed && !routed_link_is_far(l) ? routed_link_key(l) : NULL;
        count += key != NULL && strcmp(key, a->key) == 0;
    }
    return count;
}

static PyObject *routed_facts(const struct address *a, bool is_in, mono_ms now) ON_CONTROL
{
    return Py_BuildValue("{s:s,s:N,s:N,s:I,s:N}", "direction", is_in ? "in" : "out", "key", query_text(a->key),
                         "routes", routes_facts(a, now), "links", count_links(a), "routers", explain_routers(a));
}

PyObject *explain_link_routes(const void *object, const struct asked *q)
{
    assert_on_control();
    const struct explained *e = object;
    PyObject *out = PyList_New(0);
    for (int is_in = 1; out != NULL && is_in >= 0; is_in--) {
        const struct address *a = link_route_address_of(e->text, strlen(e->text), is_in);
        if (a != NULL && !explain_append(out, routed_facts(a, is_in, q->now)))
            Py_CLEAR(out);
    }
    return out;
}

/* ---- autoLinks ---- */

static PyObject *autolink_facts(const struct autolink *a, mono_ms now) ON_CONTROL
{
    const struct autolink_conf *c = autolink_conf(a);
    mono_ms retry = autolink_retry(a);
    return Py_BuildValue("{s:N,s:N,s:N,s:s,s:N,s:N,s:N,s:I,s:s,s:N,s:N}", "name", query_text(c->name), "identity",
                         query_decimal(autolink_identity(a)), "key", query_text(autolink_key(a)), "direction",
                         c->is_in ? "in" : "out", "externalAddress", query_text(c->external), "connection",
                         query_text(c->by == CONTAINER_BY_CONNECTION ? c->container : NULL), "containerId",
                         query_text(c->by == CONTAINER_BY_ID ? c->container : NULL), "connections",
                         autolink_connections(a), "operStatus", autolink_state_text(autolink_state(a)), "lastError",
                         query_text(autolink_last_error(a)), "retryMs",
                         retry == 0 ? query_none() : query_number(retry > now ? (uint64_t)(retry - now) : 0));
}

/* Those of any phase. */
PyObject *explain_auto_links(const void *object, const struct asked *q)
{
    assert_on_control();
    const struct explained *e = object;
    PyObject *out = PyList_New(0);
    list_for_each(n, autolinks())
    {
        const struct autolink *a = autolink_of_node(n);
        if (out != NULL && strcmp(autolink_key(a) + ADDRESS_KEY_EXTRA, e->text) == 0 &&
            !explain_append(out, autolink_facts(a, q->now)))
            Py_CLEAR(out);
    }
    return out;
}

/* ---- exchanges ---- */

static PyObject *binding_facts(const struct binding *b) ON_CONTROL
{
    const struct binding_conf *c = binding_conf(b);
    return Py_BuildValue("{s:N,s:N,s:i,s:N}", "bindingKey", query_text(c->key), "nextHopAddress",
                         query_text(c->next_hop), "nextHopPhase", c->next_hop_phase, "matchedCount",
                         query_number(binding_matched(b)));
}

/* Of many bindings the first ones. */
enum { BINDINGS_MAX = 200 };

static PyObject *bindings_facts(const struct exchange *e) ON_CONTROL
{
    PyObject *out = PyList_New(0);
    const char *name = exchange_conf(e)->name;
    list_for_each(n, bindings())
    {
        const struct binding *b = binding_of_node(n);
        if (out == NULL || PyList_GET_SIZE(out) == BINDINGS_MAX)
            break;
        if (strcmp(binding_conf(b)->exchange, name) == 0 && !explain_append(out, binding_facts(b)))
            Py_CLEAR(out);
    }
    return out;
}

static PyObject *exchange_facts(const struct exchange *e) ON_CONTROL
{
    const struct exchange_conf *c = exchange_conf(e);
    struct exchange_counts n;
    exchange_counts(e, &n);
    return Py_BuildValue("{s:N,s:i,s:N,s:N,s:N,s:N,s:N,s:N,s:N}", "name", query_text(c->name), "phase", c->phase,
                         "alternateAddress", query_text(c->alternate), "receivedCount", query_number(n.received),
                         "forwardedCount", query_number(n.forwarded), "divertedCount", query_number(n.diverted),
                         "droppedCount", query_number(n.dropped), "bindingCount", query_number(n.bindings), "bindings",
                         bindings_facts(e));
}

/* Those of any phase of the address. */
PyObject *explain_exchange(const void *object, const struct asked *q)
{
    assert_on_control();
    (void)q;
    const struct explained *e = object;
    PyObject *out = PyList_New(0);
    list_for_each(n, exchanges())
    {
        const struct exchange *x = exchange_of_node(n);
        const char *text = exchange_conf(x)->address;
        size_t len = strlen(text);
        address_name_strip(&text, &len);
        if (out != NULL && len == strlen(e->text) && memcmp(text, e->text, len) == 0 &&
            !explain_append(out, exchange_facts(x)))
            Py_CLEAR(out);
    }
    return out;
}

/* ---- an edge router's way to the others ---- */

PyObject *explain_interior(const void *object, const struct asked *q)
{
    assert_on_control();
    (void)object;
    (void)q;
    const struct connection *c = uplink_active();
    return query_text(c ? c->container : NULL);
}
