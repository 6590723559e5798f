/* failure.h -- trouble between C and Python: raising what core.py calls `Error`, and telling an exception in one line.
 * Thread: control. */
#ifndef TRUNKLINE_MGMT_FAILURE_H
#define TRUNKLINE_MGMT_FAILURE_H

#include <stddef.h>
#include <trunkline/base/lock.h>

/* X(name, text): kinds of failure as clients of the management node see them. */
#define FAILURE_KINDS(X)                                                                                               \
    X(FAILURE_NOT_FOUND, "Not found")                                                                                  \
    X(FAILURE_EXISTS, "Already exists")                                                                                \
    X(FAILURE_ALLOCATION, "Allocation")                                                                                \
    X(FAILURE_MESSAGE, "Invalid message")                                                                              \
    X(FAILURE_PYTHON, "Python")                                                                                        \
    X(FAILURE_CONFIGURATION, "Configuration")                                                                          \
    X(FAILURE_TYPE, "Type")                                                                                            \
    X(FAILURE_VALUE, "Value")                                                                                          \
    X(FAILURE_RUNTIME, "Run Time")                                                                                     \
    X(FAILURE_SYSTEM, "System")

enum failure_kind {
#define X(name, text) name,
    FAILURE_KINDS(X)
#undef X
};

/* The class `_trunkline.Error`, made by core_module. */
extern struct _object *failure_class;

/* Raise Error(kind, text). */
void failure_raise(enum failure_kind kind, const char *format, ...) ON_CONTROL __attribute__((format(printf, 2, 3)));

/* Take the exception that has been raised and say it in a line: its text alone if its class has that name
 * (`plain_class`, may be NULL), else `Python: <class>: <text> (<file>:<line>)`. */
void failure_take(const char *plain_class, char *out, size_t size) ON_CONTROL;

#endif
