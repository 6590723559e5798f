#include "python_value.h"

#include <router/mgmt/failure.h>
#include <trunkline/base/alloc.h>

static bool write_value(PyObject *value, struct amqp_writer *w, int depth) ON_CONTROL;

static bool write_int(PyObject *value, struct amqp_writer *w) ON_CONTROL
{
    int overflow;
    long long n = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow != 0) {
        failure_raise(FAILURE_VALUE, "a number beyond 64 bits has no AMQP type");
        return false;
    }
    if (n >= INT32_MIN && n <= INT32_MAX)
        amqp_write_int(w, (int32_t)n);
    else
        amqp_write_long(w, n);
    return true;
}

static bool write_text(PyObject *value, struct amqp_writer *w, bool is_symbol) ON_CONTROL
{
    Py_ssize_t n;
    const char *text = PyUnicode_Check(value) ? PyUnicode_AsUTF8AndSize(value, &n) : NULL;
    if (text == NULL) {
        PyErr_Clear();
        failure_raise(FAILURE_TYPE, "a text was expected, not %.80s", Py_TYPE(value)->tp_name);
        return false;
    }
    if (is_symbol)
        amqp_write_symbol(w, text, (size_t)n);
    else
        amqp_write_string(w, text, (size_t)n);
    return true;
}

static bool write_list(PyObject *list, struct amqp_writer *w, int depth) ON_CONTROL
{
    size_t mark = amqp_write_list_begin(w);
    Py_ssize_t n = PyList_GET_SIZE(list);
    for (Py_ssize_t i = 0; i < n; i++)
        if (!write_value(PyList_GET_ITEM(list, i), w, depth + 1))
            return false;
    amqp_write_list_end(w, mark, (uint32_t)n);
    return true;
}

static bool write_map(PyObject *dict, struct amqp_writer *w, int depth) ON_CONTROL
{
    size_t mark = amqp_write_map_begin(w);
    PyObject *key, *value;
    Py_ssize_t position = 0;
    while (PyDict_Next(dict, &position, &key, &value))
        if (!write_text(key, w, true) || !write_value(value, w, depth + 1))
            return false;
    amqp_write_map_end(w, mark, 2 * (uint32_t)PyDict_GET_SIZE(dict));
    return true;
}

static bool write_value(PyObject *value, struct amqp_writer *w, int depth)
{
    if (depth >= AMQP_DEPTH_MAX) {
        failure_raise(FAILURE_VALUE, "values lie deeper in each other than %d", AMQP_DEPTH_MAX);
        return false;
    }
    if (value == Py_None)
        amqp_write_null(w);
    else if (PyBool_Check(value))
        amqp_write_bool(w, value == Py_True);
    else if (PyLong_Check(value))
        return write_int(value, w);
    else if (PyFloat_Check(value))
        amqp_write_double(w, PyFloat_AS_DOUBLE(value));
    else if (PyList_Check(value))
        return write_list(value, w, depth);
    else if (PyDict_Check(value))
        return write_map(value, w, depth);
    else
        return write_text(value, w, false);
    return true;
}

bool python_value_write(PyObject *value, struct amqp_writer *w)
{
    return write_value(value, w, 0);
}

struct slice python_value_encode(PyObject *value)
{
    struct amqp_writer measure = amqp_writer(NULL, 0);
    if (!python_value_write(value, &measure))
        return (struct slice){0};
    uint8_t *octets = xmalloc(measure.len);
    struct amqp_writer w = amqp_writer(octets, measure.len);
    python_value_write(value, &w);
    return (struct slice){.data = octets, .len = w.len};
}

PyObject *python_value_text(const char *s, size_t n)
{
    return PyUnicode_DecodeUTF8(s, (Py_ssize_t)n, "replace");
}

/* The next value if it is shown; *shown NULL if not. Result: false: malformed. */
static bool read_property(struct amqp_reader *r, PyObject **shown) ON_CONTROL
{
    struct slice text;
    int32_t i = 0;
    int64_t l = 0;
    *shown = NULL;
    if (amqp_read_text(r, &text) == OK)
        *shown = python_value_text((const char *)text.data, text.len);
    else if (amqp_read_int(r, &i) == OK)
        *shown = i == 0 ? NULL : PyLong_FromLong(i);
    else if (amqp_read_long(r, &l) == OK)
        *shown = l == 0 ? NULL : PyLong_FromLongLong(l);
    else
        return amqp_skip(r) == OK;
    return true;
}

PyObject *python_value_properties(struct slice map)
{
    PyObject *dict = PyDict_New();
    struct amqp_reader r = amqp_slice_reader(map);
    struct amqp_compound c;
    if (dict == NULL || amqp_enter_map(&r, &c) != OK)
        return dict;
    struct slice key;
    PyObject *value;
    while (amqp_left(&c.in) > 0 && amqp_read_text(&c.in, &key) == OK && read_property(&c.in, &value)) {
        PyObject *name = value == NULL ? NULL : python_value_text((const char *)key.data, key.len);
        if (name != NULL)
            PyDict_SetItem(dict, name, value);
        Py_XDECREF(name);
        Py_XDECREF(value);
    }
    if (PyErr_Occurred())
        Py_CLEAR(dict);
    return dict;
}
