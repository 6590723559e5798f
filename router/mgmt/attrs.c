#include "attrs.h"

#include <router/mgmt/failure.h>

/* Python checked all values, so this is a defect of ours, and says where. */
void attrs_fail(struct attrs *a, const char *name, const char *what)
{
    if (a->failed)
        return;
    a->failed = true;
    failure_raise(FAILURE_PYTHON, "%s: attribute '%s' %s", a->kind, name, what);
}

static PyObject *get(struct attrs *a, const char *name) ON_CONTROL
{
    if (a->failed)
        return NULL;
    PyObject *value = PyDict_GetItemString(a->dict, name);
    if (value == NULL)
        attrs_fail(a, name, "is missing");
    return value;
}

bool attrs_has(struct attrs *a, const char *name)
{
    return !a->failed && PyDict_GetItemString(a->dict, name) != NULL;
}

static const char *text_of(struct attrs *a, const char *name, PyObject *value) ON_CONTROL
{
    const char *text = PyUnicode_Check(value) ? PyUnicode_AsUTF8(value) : NULL;
    if (text == NULL) {
        PyErr_Clear();
        attrs_fail(a, name, "is not a text");
    }
    return text;
}

const char *attrs_text(struct attrs *a, const char *name)
{
    PyObject *value = get(a, name);
    return value == NULL ? NULL : text_of(a, name, value);
}

const char *attrs_text_or_null(struct attrs *a, const char *name)
{
    PyObject *value = get(a, name);
    return value == NULL || value == Py_None ? NULL : text_of(a, name, value);
}

static bool bool_of(struct attrs *a, const char *name, PyObject *value) ON_CONTROL
{
    if (!PyBool_Check(value))
        attrs_fail(a, name, "is not a boolean");
    return value == Py_True;
}

bool attrs_bool(struct attrs *a, const char *name)
{
    PyObject *value = get(a, name);
    return value != NULL && bool_of(a, name, value);
}

int attrs_bool_or(struct attrs *a, const char *name, int none)
{
    PyObject *value = get(a, name);
    if (value == NULL || value == Py_None)
        return none;
    return bool_of(a, name, value);
}

static int64_t int_of(struct attrs *a, const char *name, PyObject *value, int64_t low, int64_t high) ON_CONTROL
{
    int overflow = 0;
    bool is_int = PyLong_Check(value) && !PyBool_Check(value);
    int64_t n = is_int ? PyLong_AsLongLongAndOverflow(value, &overflow) : 0;
    if (is_int && overflow == 0 && n >= low && n <= high)
        return n;
    attrs_fail(a, name, is_int ? "is out of range" : "is not a number");
    return low;
}

int64_t attrs_int(struct attrs *a, const char *name, int64_t low, int64_t high)
{
    PyObject *value = get(a, name);
    return value == NULL ? low : int_of(a, name, value, low, high);
}

int64_t attrs_int_or(struct attrs *a, const char *name, int64_t low, int64_t high, int64_t none)
{
    PyObject *value = get(a, name);
    if (value == NULL)
        return low;
    return value == Py_None ? none : int_of(a, name, value, low, high);
}

PyObject *attrs_list(struct attrs *a, const char *name)
{
    PyObject *value = get(a, name);
    if (value == NULL || PyList_Check(value))
        return value;
    attrs_fail(a, name, "is not a list");
    return NULL;
}

PyObject *attrs_dict(struct attrs *a, const char *name)
{
    PyObject *value = get(a, name);
    if (value == NULL || PyDict_Check(value))
        return value;
    attrs_fail(a, name, "is not a dict");
    return NULL;
}
