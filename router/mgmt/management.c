#include "management.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <router/mgmt/failure.h>
#include <router/route/address_name.h>
#include <router/route/request.h>
#include <stdbool.h>
#include <string.h>
#include <trunkline/base/list.h>
#include <trunkline/base/log.h>
#include <trunkline/base/mailbox.h>
#include <trunkline/io/loop.h>

/* Larger ones are no requests: the agent's MAX_REQUEST. */
enum { REQUEST_MAX = 1 << 20 };

/* A function of ours in Python, by module and name. New reference; NULL: raised. */
static PyObject *find_function(const char *module, const char *name) ON_CONTROL
{
    PyObject *m = PyImport_ImportModule(module);
    PyObject *function = m == NULL ? NULL : PyObject_GetAttrString(m, name);
    Py_XDECREF(m);
    return function;
}

/* function(path), as PyObject_CallFunction has it. */
static PyObject *call_with_path(const char *function_name, const char *path) ON_CONTROL
{
    PyObject *function = find_function("trunkline.boot", function_name);
    /* Paths are octets; Python's file functions turn the text back into the same ones. */
    PyObject *text = function == NULL ? NULL : PyUnicode_DecodeFSDefault(path);
    PyObject *result = text == NULL ? NULL : PyObject_CallOneArg(function, text);
    Py_XDECREF(function);
    Py_XDECREF(text);
    return result;
}

/* A line of the list, in octets that a terminal takes, even where the file is not UTF-8. */
static bool print_line(PyObject *line, FILE *out) ON_CONTROL
{
    PyObject *octets = PyUnicode_Check(line) ? PyUnicode_AsEncodedString(line, "utf-8", "surrogateescape") : NULL;
    if (octets == NULL)
        return false;
    fprintf(out, "%s\n", PyBytes_AS_STRING(octets));
    Py_DECREF(octets);
    return true;
}

enum err management_check(const char *path, FILE *out)
{
    char why[4096];
    PyObject *lines = call_with_path("check", path);
    if (lines == NULL) {
        failure_take(NULL, why, sizeof why);
        fprintf(out, "%s: %s\n", path, why);
        return ERR_INVALID;
    }
    Py_ssize_t n = PyList_Check(lines) ? PyList_GET_SIZE(lines) : -1;
    bool printed = n >= 0;
    for (Py_ssize_t i = 0; i < n && printed; i++)
        printed = print_line(PyList_GET_ITEM(lines, i), out);
    Py_DECREF(lines);
    PyErr_Clear();
    if (!printed)
        fprintf(out, "%s: the check did not answer with lines of text\n", path);
    return n == 0 ? OK : ERR_INVALID;
}

enum err management_start(const char *path, char *why, size_t why_size)
{
    PyObject *result = call_with_path("start", path);
    if (result == NULL) {
        failure_take("StartError", why, why_size);
        return ERR_INVALID;
    }
    Py_DECREF(result);
    return OK;
}

/* The agent's functions; NULL: raised. Borrowed for good. */
static PyObject *agent_function(void) ON_CONTROL
{
    static PyObject *on_request;
    if (on_request == NULL)
        on_request = find_function("trunkline.agent", "on_request");
    return on_request;
}

static PyObject *agent_go_on(void) ON_CONTROL
{
    static PyObject *go_on;
    if (go_on == NULL)
        go_on = find_function("trunkline.agent", "go_on");
    return go_on;
}

static PyObject *agent_is_full(void) ON_CONTROL
{
    static PyObject *is_full;
    if (is_full == NULL)
        is_full = find_function("trunkline.agent", "is_full");
    return is_full;
}

static void log_failure(const char *what) ON_CONTROL
{
    char why[2048];
    failure_take(NULL, why, sizeof why);
    LOG(AGENT, ERROR_LEVEL, "%s: %s", what, why);
}

/* ---- requests ---- */

/* Those that wait until the agent takes another: struct request.node. */
static struct list waiting = LIST_INIT(waiting);

static bool is_full(void) ON_CONTROL
{
    PyObject *function = agent_is_full();
    PyObject *result = function == NULL ? NULL : PyObject_CallNoArgs(function);
    if (result == NULL)
        log_failure("Management is not available");
    bool full = result == Py_True;
    Py_XDECREF(result);
    return full;
}

static void serve(const uint8_t *message, size_t n, uint64_t connection_id, const char *key) ON_CONTROL
{
    size_t to_len;
    const char *to = address_name_of_key(key, strlen(key), &to_len);
    PyObject *function = agent_function();
    PyObject *result = function == NULL
                           ? NULL
                           : PyObject_CallFunction(function, "y#Ks#", message, (Py_ssize_t)n,
                                                   (unsigned long long)connection_id, to, (Py_ssize_t)to_len);
    if (result == NULL)
        log_failure("A management request was lost");
    Py_XDECREF(result);
}

static void serve_waiting(void) ON_CONTROL
{
    while (!list_is_empty(&waiting) && !is_full()) {
        struct request *r = list_entry(list_take_first(&waiting), struct request, node);
        serve(r->message, r->len, r->connection_id, r->key);
        request_done(&r);
    }
}

static void go_on(struct letter *l)
{
    assert_on_control();
    (void)l;
    PyObject *function = agent_go_on();
    PyObject *result = function == NULL ? NULL : PyObject_CallNoArgs(function);
    if (result == NULL)
        log_failure("The answer to a management request was lost");
    Py_XDECREF(result);
    serve_waiting();
}

void management_again(void)
{
    static struct letter letter = LETTER_INIT(go_on);
    loop_post(loop_current(), &letter);
}

void management_warm_up(void)
{
    if (agent_function() == NULL)
        log_failure("Management is not available");
}

void management_on_request(const uint8_t *message, size_t n, uint64_t connection_id, const char *key)
{
    assert_on_control();
    if (n > REQUEST_MAX) {
        LOG_PEER(AGENT, WARNING, "[C%llu] Management request of %zu octets dropped: at most %d are read",
                 (unsigned long long)connection_id, n, REQUEST_MAX);
        return;
    }
    if (list_is_empty(&waiting) && !is_full()) {
        serve(message, n, connection_id, key);
    } else if (request_may_keep()) {
        list_append(&waiting, &request_keep()->node);
    } else {
        LOG_PEER(AGENT, WARNING, "[C%llu] Management request released: requests of more than %d octets wait already",
                 (unsigned long long)connection_id, REQUESTS_KEPT_OCTETS);
        request_refuse();
    }
}

void management_stop(void)
{
    while (!list_is_empty(&waiting)) {
        struct request *r = list_entry(list_take_first(&waiting), struct request, node);
        request_drop(&r);
    }
}
