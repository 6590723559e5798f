/* attrs.h -- reading the dict of attributes that Python passes to apply().
 *
 * After the first attribute that is missing or of the wrong type the rest read as nothing and attrs_ok() is false, with
 * Error 'Python' raised: so a whole structure is read first and then judged once.
 *
 * Thread: control. Strings are borrowed from the dict.
 */
#ifndef TRUNKLINE_MGMT_ATTRS_H
#define TRUNKLINE_MGMT_ATTRS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <trunkline/base/lock.h>

struct attrs {
    PyObject *dict;   /* borrowed */
    const char *kind; /* for the text of errors */
    bool failed;
};

static inline bool attrs_ok(const struct attrs *a)
{
    return !a->failed;
}

/* Fail because of what only the caller can see: `what` goes on from "attribute '<name>' ". */
void attrs_fail(struct attrs *a, const char *name, const char *what) ON_CONTROL;

bool attrs_has(struct attrs *a, const char *name) ON_CONTROL; /* the key is there, whatever its value */
const char *attrs_text(struct attrs *a, const char *name) ON_CONTROL;
const char *attrs_text_or_null(struct attrs *a, const char *name) ON_CONTROL; /* NULL: None */
bool attrs_bool(struct attrs *a, const char *name) ON_CONTROL;
int attrs_bool_or(struct attrs *a, const char *name, int none) ON_CONTROL; /* `none` for None */
/* A number in low..high. */
int64_t attrs_int(struct attrs *a, const char *name, int64_t low, int64_t high) ON_CONTROL;
int64_t attrs_int_or(struct attrs *a, const char *name, int64_t low, int64_t high, int64_t none) ON_CONTROL;
/* A list or dict, borrowed; NULL after failure. */
PyObject *attrs_list(struct attrs *a, const char *name) ON_CONTROL;
PyObject *attrs_dict(struct attrs *a, const char *name) ON_CONTROL;

#endif
