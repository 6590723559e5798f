/* query_explain_priv.h -- what query_explain.c shares with query_explain_ways.c. Thread: control. */
#ifndef TRUNKLINE_MGMT_QUERY_EXPLAIN_PRIV_H
#define TRUNKLINE_MGMT_QUERY_EXPLAIN_PRIV_H

#include "query_priv.h"

#include <trunkline/base/clock.h>
#include <trunkline/base/lock.h>

struct address;
struct rule;

/* The address that is asked for; good for one row. */
struct explained {
    char *given; /* as it was asked for */
    char *text;  /* without scheme, host and last separator */
    const struct rule *rule;
};

/* Milliseconds since then, None if there is no then. */
PyObject *explain_since(mono_ms then, mono_ms now);
/* Append, taking the value, which may be NULL after a failure. Result: false: raised. */
bool explain_append(PyObject *list, PyObject *value);
/* Other routers that have it: id, reachable, nextHop, cost. */
PyObject *explain_routers(const struct address *a) ON_CONTROL;

/* ---- columns: what else than its own links an address leads to ---- */

PyObject *explain_link_routes(const void *explained, const struct asked *q);
PyObject *explain_auto_links(const void *explained, const struct asked *q);
PyObject *explain_exchange(const void *explained, const struct asked *q);
/* The id of the interior router that an edge router has its uplink to; None: it is no edge router, or has none. */
PyObject *explain_interior(const void *explained, const struct asked *q);

#endif
