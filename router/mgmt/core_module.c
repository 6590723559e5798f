#include "core_module.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <router/mgmt/apply.h>
#include <router/mgmt/failure.h>
#include <router/mgmt/management.h>
#include <router/mgmt/query.h>
#include <router/route/request.h>
#include <stdint.h>
#include <trunkline/base/log.h>

/* ---- the log ---- */

static bool find_module(const char *name, enum log_module *m) ON_CONTROL
{
    if (log_module_by_name(name, m))
        return true;
    failure_raise(FAILURE_VALUE, "unknown log module '%s'", name);
    return false;
}

/* Python's levels are the bits of a mask. */
static bool find_level(int bit, enum log_level *l) ON_CONTROL
{
    for (int i = 0; i < LOG_LEVEL_COUNT; i++)
        if (bit == 1 << i) {
            *l = (enum log_level)i;
            return true;
        }
    failure_raise(FAILURE_VALUE, "unknown log level %d", bit);
    return false;
}

static PyObject *core_log(PyObject *self, PyObject *args)
{
    (void)self;
    assert_on_control();
    const char *module, *text, *file;
    int bit, line;
    enum log_module m;
    enum log_level l;
    if (!PyArg_ParseTuple(args, "siszi:log", &module, &bit, &text, &file, &line))
        return NULL;
    if (!find_module(module, &m) || !find_level(bit, &l))
        return NULL;
    log_write(m, l, file, line, "%s", text);
    Py_RETURN_NONE;
}

static PyObject *core_log_enabled(PyObject *self, PyObject *args)
{
    (void)self;
    assert_on_control();
    const char *module;
    int bit;
    enum log_module m;
    enum log_level l;
    if (!PyArg_ParseTuple(args, "si:log_enabled", &module, &bit))
        return NULL;
    if (!find_module(module, &m) || !find_level(bit, &l))
        return NULL;
    return PyBool_FromLong(log_enabled(m, l));
}

/* Texts of the log may hold what a peer sent, so not only UTF-8. */
static PyObject *lenient_text(const char *s)
{
    return PyUnicode_DecodeUTF8(s, (Py_ssize_t)strlen(s), "replace");
}

/* Append to the list arg; after a failure nothing more, and Python's exception stays. */
static void append_entry(const struct log_entry *e, void *arg)
{
    if (PyErr_Occurred())
        return;
    PyObject *text = lenient_text(e->text);
    PyObject *row = NULL;
    long long seconds = e->time / 1000000;
    if (text != NULL && e->file != NULL)
        row = Py_BuildValue("(ssOsiL)", log_module_name(e->module), log_level_name(e->level), text, e->file, e->line,
                            seconds);
    else if (text != NULL)
        row = Py_BuildValue("(ssOOOL)", log_module_name(e->module), log_level_name(e->level), text, Py_None, Py_None,
                            seconds);
    if (row != NULL)
        PyList_Append(arg, row);
    Py_XDECREF(row);
    Py_XDECREF(text);
}

static PyObject *core_log_entries(PyObject *self, PyObject *args)
{
    (void)self;
    Py_ssize_t limit;
    if (!PyArg_ParseTuple(args, "n:log_entries", &limit))
        return NULL;
    PyObject *list = PyList_New(0);
    if (list == NULL)
        return NULL;
    log_recent(limit < 0 ? 0 : (size_t)limit, append_entry, list);
    if (PyErr_Occurred())
        Py_CLEAR(list);
    return list;
}

/* ---- the router ---- */

static PyObject *core_apply(PyObject *self, PyObject *args)
{
    (void)self;
    assert_on_control();
    const char *kind, *op, *identity;
    PyObject *dict;
    if (!PyArg_ParseTuple(args, "sssO!:apply", &kind, &op, &identity, &PyDict_Type, &dict))
        return NULL;
    return apply(kind, op, identity, dict);
}

static PyObject *core_query(PyObject *self, PyObject *args)
{
    (void)self;
    assert_on_control();
    const char *kind;
    PyObject *columns;
    Py_ssize_t offset, count;
    unsigned long long connection;
    if (!PyArg_ParseTuple(args, "sO!nnK:query", &kind, &PyTuple_Type, &columns, &offset, &count, &connection))
        return NULL;
    if (offset < 0 || count < 0) {
        failure_raise(FAILURE_VALUE, "offset and count may not be negative");
        return NULL;
    }
    return query_rows(kind, columns, (size_t)offset, (size_t)count, connection);
}

static PyObject *core_query_page(PyObject *self, PyObject *args)
{
    (void)self;
    assert_on_control();
    const char *kind;
    PyObject *columns;
    Py_ssize_t offset, count;
    unsigned long long after, connection;
    if (!PyArg_ParseTuple(args, "sO!KnnK:query_page", &kind, &PyTuple_Type, &columns, &after, &offset, &count,
                          &connection))
        return NULL;
    if (offset < 0 || count < 0) {
        failure_raise(FAILURE_VALUE, "offset and count may not be negative");
        return NULL;
    }
    return query_page(kind, columns, after, (size_t)offset, (size_t)count, connection);
}

static PyObject *core_again(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    assert_on_control();
    management_again();
    Py_RETURN_NONE;
}

static PyObject *core_read(PyObject *self, PyObject *args)
{
    (void)self;
    assert_on_control();
    const char *kind, *identity;
    PyObject *columns;
    unsigned long long connection;
    if (!PyArg_ParseTuple(args, "ssO!K:read", &kind, &identity, &PyTuple_Type, &columns, &connection))
        return NULL;
    return query_read(kind, identity, columns, connection);
}

static PyObject *core_send(PyObject *self, PyObject *args)
{
    (void)self;
    assert_on_control();
    const char *to, *message;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "sy#:send", &to, &message, &size))
        return NULL;
    return PyBool_FromLong(request_answer(to, (const uint8_t *)message, (size_t)size));
}

static PyMethodDef methods[] = {
    {"log", core_log, METH_VARARGS, NULL},
    {"log_enabled", core_log_enabled, METH_VARARGS, NULL},
    {"log_entries", core_log_entries, METH_VARARGS, NULL},
    {"apply", core_apply, METH_VARARGS, NULL},
    {"query", core_query, METH_VARARGS, NULL},
    {"query_page", core_query_page, METH_VARARGS, NULL},
    {"again", core_again, METH_NOARGS, NULL},
    {"read", core_read, METH_VARARGS, NULL},
    {"send", core_send, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_trunkline",
    .m_doc = "What the router offers to its management; see trunkline.core.",
    .m_size = -1,
    .m_methods = methods,
};

static PyObject *module_init(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL)
        return NULL;
    failure_class = PyErr_NewException("_trunkline.Error", NULL, NULL);
    if (failure_class == NULL || PyModule_AddObjectRef(module, "Error", failure_class) < 0 ||
        PyModule_AddStringConstant(module, "VERSION", TRUNKLINE_VERSION) < 0)
        Py_CLEAR(module);
    return module;
}

bool core_module_register(void)
{
    return PyImport_AppendInittab("_trunkline", module_init) == 0;
}
