/* python_value.h -- between Python's values and AMQP's encoded ones. Thread: control. */
#ifndef TRUNKLINE_MGMT_PYTHON_VALUE_H
#define TRUNKLINE_MGMT_PYTHON_VALUE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/base/buffer.h>
#include <trunkline/base/lock.h>

/* Write None, bool, int, float, str, list or dict (keys: symbols), as the smallest type that holds it: int, then long.
 *   Result: false: another type, an int beyond 64 bits, or deeper nested than AMQP_DEPTH_MAX; Error 'Type' or 'Value'
 *           is raised. */
bool python_value_write(PyObject *value, struct amqp_writer *w) ON_CONTROL;

/* The same in memory of its own, which the caller frees; an empty slice after failure. */
struct slice python_value_encode(PyObject *value) ON_CONTROL;

/* A connection's properties as management shows them: keys as str; only values that are string, symbol, or a number of
 * type int or long that is not 0. Result: new reference to a dict; NULL: no memory. What is malformed ends it. */
PyObject *python_value_properties(struct slice map) ON_CONTROL;

/* str of octets that may not be UTF-8. New reference. */
PyObject *python_value_text(const char *s, size_t n);

#endif
