/* exchange_conf.h -- exchanges and bindings, as management makes and removes them. Thread: control. */
#ifndef TRUNKLINE_MGMT_EXCHANGE_CONF_H
#define TRUNKLINE_MGMT_EXCHANGE_CONF_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <trunkline/base/lock.h>

struct attrs;

/* Actions of apply(). Result: a new reference, of create the identity as text; NULL: Error is raised. */
PyObject *exchange_conf_create(const char *identity, struct attrs *a);
PyObject *exchange_conf_delete(const char *identity, struct attrs *a);
PyObject *binding_conf_create(const char *identity, struct attrs *a);
PyObject *binding_conf_delete(const char *identity, struct attrs *a);

#endif
