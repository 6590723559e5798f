#include "query.h"

#include <router/mgmt/query_priv.h>

#include <errno.h>
#include <router/mgmt/failure.h>
#include <router/mgmt/python_value.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct kind *const kinds[] = {
    &query_kind_router,
    &query_kind_connection,
    &query_kind_link,
    &query_kind_address,
    &query_kind_log,
    &query_kind_node,
    &query_kind_connector,
    &query_kind_policy,
    &query_kind_allocator,
    &query_kind_explain,
    &query_kind_autolink,
    &query_kind_link_route,
    &query_kind_connection_link_route,
    &query_kind_exchange,
    &query_kind_binding,
};

/* More than any kind has, asked for twice over. */
enum { COLUMNS_MAX = 128 };

struct query_conf query_settings = {.stuck_age = 10000};

void query_configure(const struct query_conf *conf)
{
    query_settings = *conf;
}

/* ---- values ---- */

PyObject *query_none(void)
{
    return Py_NewRef(Py_None);
}

PyObject *query_text(const char *s)
{
    return s == NULL ? query_none() : python_value_text(s, strlen(s));
}

PyObject *query_number(uint64_t n)
{
    return PyLong_FromUnsignedLongLong(n);
}

PyObject *query_decimal(uint64_t n)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%llu", (unsigned long long)n);
    return PyUnicode_FromStringAndSize(text, len);
}

bool query_identity_number(const char *identity, uint64_t *n)
{
    char *end;
    errno = 0;
    *n = strtoull(identity, &end, 10);
    return identity[0] >= '0' && identity[0] <= '9' && *end == '\0' && errno == 0;
}

/* ---- what is asked for ---- */

static const struct kind *find_kind(const char *name) ON_CONTROL
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i]->name, name) == 0)
            return kinds[i];
    failure_raise(FAILURE_VALUE, "unknown kind '%s'", name);
    return NULL;
}

static column_fn *find_column(const struct kind *k, const char *name)
{
    for (size_t i = 0; i < k->column_count; i++)
        if (strcmp(k->columns[i].name, name) == 0)
            return k->columns[i].value;
    return NULL;
}

/* The functions for the columns, in the order asked for. Result: false: raised. */
static bool find_columns(const struct kind *k, PyObject *names, column_fn **out) ON_CONTROL
{
    Py_ssize_t n = PyTuple_GET_SIZE(names);
    if (n > COLUMNS_MAX) {
        failure_raise(FAILURE_VALUE, "more than %d columns of %s", COLUMNS_MAX, k->name);
        return false;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *item = PyTuple_GET_ITEM(names, i);
        const char *name = PyUnicode_Check(item) ? PyUnicode_AsUTF8(item) : NULL;
        if (name == NULL)
            PyErr_Clear();
        out[i] = name == NULL ? NULL : find_column(k, name);
        if (out[i] == NULL) {
            failure_raise(FAILURE_VALUE, "unknown column '%s' of %s", name == NULL ? "?" : name, k->name);
            return false;
        }
    }
    return true;
}

/* ---- rows ---- */

static PyObject *make_row(const void *object, column_fn *const *columns, Py_ssize_t n, const struct asked *q)
{
    PyObject *row = PyTuple_New(n);
    for (Py_ssize_t i = 0; row != NULL && i < n; i++) {
        PyObject *value = columns[i](object, q);
        if (value == NULL)
            Py_CLEAR(row);
        else
            PyTuple_SET_ITEM(row, i, value);
    }
    return row;
}

static bool append_row(PyObject *rows, PyObject *row)
{
    bool done = row != NULL && PyList_Append(rows, row) == 0;
    Py_XDECREF(row);
    return done;
}

/* Which rows: those behind `after`, without the first `offset` of them, at most `count` (0: all). */
struct range {
    uint64_t after;
    size_t offset, count;
    uint64_t last; /* out, where there are positions: that of the last row */
};

static const void *first_of(const struct kind *k, struct walk *w, const struct range *range)
{
    k->begin(w);
    const void *object = k->next(w);
    while (range->after && object != NULL && k->position(object) <= range->after)
        object = k->next(w);
    for (size_t i = 0; object != NULL && i < range->offset; i++)
        object = k->next(w);
    return object;
}

static PyObject *make_rows(const struct kind *k, column_fn *const *columns, Py_ssize_t n, struct range *range,
                           const struct asked *q)
{
    PyObject *rows = PyList_New(0);
    struct walk w = {0};
    const void *object = first_of(k, &w, range);
    size_t left = range->count == 0 ? SIZE_MAX : range->count;
    for (; rows != NULL && object != NULL && left > 0; left--, object = k->next(&w)) {
        if (!append_row(rows, make_row(object, columns, n, q)))
            Py_CLEAR(rows);
        range->last = k->position ? k->position(object) : 0;
    }
    return rows;
}

static PyObject *rows_in(const struct kind *k, PyObject *columns, struct range *range, uint64_t connection) ON_CONTROL
{
    column_fn *functions[COLUMNS_MAX];
    if (!find_columns(k, columns, functions))
        return NULL;
    struct asked q = {.now = clock_mono_ms(), .connection = connection};
    /* Rows hold nothing that could form a cycle; looking for cycles every few hundred of them would take most of the
     * time. */
    int collects = PyGC_Disable();
    PyObject *rows = make_rows(k, functions, PyTuple_GET_SIZE(columns), range, &q);
    if (collects)
        PyGC_Enable();
    return rows;
}

PyObject *query_rows(const char *kind, PyObject *columns, size_t offset, size_t count, uint64_t connection)
{
    const struct kind *k = find_kind(kind);
    if (k != NULL && k->begin == NULL)
        failure_raise(FAILURE_VALUE, "%s can be read by identity only", kind);
    struct range range = {.offset = offset, .count = count};
    return k == NULL || k->begin == NULL ? NULL : rows_in(k, columns, &range, connection);
}

PyObject *query_page(const char *kind, PyObject *columns, uint64_t after, size_t offset, size_t count,
                     uint64_t connection)
{
    const struct kind *k = find_kind(kind);
    if (k != NULL && k->position == NULL)
        failure_raise(FAILURE_VALUE, "%s cannot be asked for in pages", kind);
    struct range range = {.after = after, .offset = offset, .count = count, .last = after};
    PyObject *rows = k == NULL || k->position == NULL ? NULL : rows_in(k, columns, &range, connection);
    return rows == NULL ? NULL : Py_BuildValue("(NK)", rows, (unsigned long long)range.last);
}

PyObject *query_read(const char *kind, const char *identity, PyObject *columns, uint64_t connection)
{
    column_fn *functions[COLUMNS_MAX];
    const struct kind *k = find_kind(kind);
    if (k == NULL || !find_columns(k, columns, functions))
        return NULL;
    const void *object = k->find(identity);
    if (object == NULL)
        return query_none();
    struct asked q = {.now = clock_mono_ms(), .connection = connection};
    return make_row(object, functions, PyTuple_GET_SIZE(columns), &q);
}
