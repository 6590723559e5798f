/* python_test.h -- an interpreter for unit tests, and scripts to run in it. */
#ifndef TRUNKLINE_MGMT_PYTHON_TEST_H
#define TRUNKLINE_MGMT_PYTHON_TEST_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <router/mgmt/interpreter.h>

/* Group set-up and tear-down of cmocka; in between the thread is control. */
static inline int python_test_start(void **state) NO_THREAD_SAFETY
{
    (void)state;
    char why[1024];
    thread_become_control();
    if (interpreter_start("/proc/self/exe", TRUNKLINE_PYTHON_LIBRARY, why, sizeof why) == OK)
        return 0;
    print_error("%s\n", why);
    return -1;
}

static inline int python_test_stop(void **state) NO_THREAD_SAFETY
{
    (void)state;
    interpreter_stop();
    thread_leave_control();
    return 0;
}

/* Run statements, which assert. A failure is the test's; Python prints where. */
static inline void python_test_run(const char *script)
{
    PyObject *main_module = PyImport_AddModule("__main__");
    PyObject *names = PyModule_GetDict(main_module);
    PyObject *result = PyRun_String(script, Py_file_input, names, names);
    if (result == NULL)
        PyErr_Print();
    assert_non_null(result);
    Py_DECREF(result);
}

/* The value of an expression; new reference. */
static inline PyObject *python_test_value(const char *expression)
{
    PyObject *names = PyModule_GetDict(PyImport_AddModule("__main__"));
    PyObject *result = PyRun_String(expression, Py_eval_input, names, names);
    if (result == NULL)
        PyErr_Print();
    assert_non_null(result);
    return result;
}

#endif
