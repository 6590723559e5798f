/* query_priv.h -- how a kind of object is shown: its columns, and how to walk over its objects or find one.
 * Shared by query.c and query_*.c alone. Thread: control. */
#ifndef TRUNKLINE_MGMT_QUERY_PRIV_H
#define TRUNKLINE_MGMT_QUERY_PRIV_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <router/mgmt/query.h>
#include <trunkline/base/clock.h>
#include <trunkline/base/list.h>
#include <trunkline/base/lock.h>

/* What one question has at hand. */
struct asked {
    mono_ms now;
    uint64_t connection; /* of the client that asks; 0: none */
};

/* A new reference; NULL: no memory, raised. */
typedef PyObject *column_fn(const void *object, const struct asked *q);
struct column {
    const char *name;
    column_fn *value;
};

/* Where a walk is: of a list, or of numbered things. */
struct walk {
    const struct list *head, *at;
    unsigned index;
};

struct kind {
    const char *name;
    const struct column *columns;
    size_t column_count;
    void (*begin)(struct walk *w);             /* NULL: it can only be read by identity */
    const void *(*next)(struct walk *w);       /* NULL at the end */
    const void *(*find)(const char *identity); /* NULL: none. Good for one row */
    /* A number of the object, from 1, ascending in the order of the walk; NULL: it is not asked for in pages. */
    uint64_t (*position)(const void *object);
};

#define COLUMNS(array) .columns = array, .column_count = sizeof array / sizeof *array

extern const struct kind query_kind_router, query_kind_connection, query_kind_link,
    query_kind_address;                                                           /* query_routing.c */
extern const struct kind query_kind_log, query_kind_connector, query_kind_policy; /* query_service.c */
extern const struct kind query_kind_exchange, query_kind_binding;                 /* query_exchange.c */
extern const struct kind query_kind_node, query_kind_allocator, query_kind_explain;
extern const struct kind query_kind_autolink;                                     /* query_autolink.c */
extern const struct kind query_kind_link_route, query_kind_connection_link_route; /* query_link_route.c */

extern struct query_conf query_settings;

/* Values. */
PyObject *query_none(void);
PyObject *query_text(const char *s); /* NULL: None; need not be UTF-8 */
PyObject *query_number(uint64_t n);
PyObject *query_decimal(uint64_t n); /* as text, as identities are */
/* The ids of routers that the mesh knows by these indices, a list. */
PyObject *query_router_ids(const uint32_t *indices, uint32_t count) ON_CONTROL;

/* Whether an identity is a decimal number, as those of links and connections are. */
bool query_identity_number(const char *identity, uint64_t *n);

#endif
