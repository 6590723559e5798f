/* link_route_conf.h -- link routes, as management makes and removes them. Thread: control. */
#ifndef TRUNKLINE_MGMT_LINK_ROUTE_CONF_H
#define TRUNKLINE_MGMT_LINK_ROUTE_CONF_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <trunkline/base/lock.h>

struct attrs;

/* Actions of apply(). Result: a new reference, of create the identity as text; NULL: Error is raised. */
PyObject *link_route_conf_create(const char *identity, struct attrs *a);
PyObject *link_route_conf_delete(const char *identity, struct attrs *a);
/* The same for routes that a connection makes for itself; attrs of both name it. */
PyObject *link_route_conf_create_scoped(const char *identity, struct attrs *a);
PyObject *link_route_conf_delete_scoped(const char *identity, struct attrs *a);

#endif
