#include "failure.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

PyObject *failure_class;

static const char *const kind_texts[] = {
#define X(name, text) text,
    FAILURE_KINDS(X)
#undef X
};

void failure_raise(enum failure_kind kind, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    /* The text may be cut within a character, or quote an octet string that is not UTF-8. */
    PyObject *message = PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
    PyObject *arguments = message == NULL ? NULL : Py_BuildValue("(sN)", kind_texts[kind], message);
    if (arguments == NULL)
        return; /* MemoryError has been raised instead */
    PyErr_SetObject(failure_class, arguments);
    Py_DECREF(arguments);
}

/* Text of any object, on one line. */
static void put_text(PyObject *o, char *out, size_t size)
{
    PyObject *text = o == NULL ? NULL : PyObject_Str(o);
    const char *utf8 = text == NULL ? NULL : PyUnicode_AsUTF8(text);
    snprintf(out, size, "%s", utf8 == NULL ? "(no text)" : utf8);
    PyErr_Clear();
    Py_XDECREF(text);
    for (char *c = out; *c != '\0'; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
}

/* Where it was raised: the innermost frame. */
static void put_place(PyObject *traceback, char *out, size_t size)
{
    PyTracebackObject *t = (PyTracebackObject *)traceback;
    out[0] = '\0';
    if (t == NULL)
        return;
    while (t->tb_next != NULL)
        t = t->tb_next;
    PyCodeObject *code = PyFrame_GetCode(t->tb_frame);
    char file[256];
    put_text(code->co_filename, file, sizeof file);
    Py_DECREF(code);
    const char *slash = strrchr(file, '/');
    snprintf(out, size, " (%s:%d)", slash == NULL ? file : slash + 1, t->tb_lineno);
}

void failure_take(const char *plain_class, char *out, size_t size)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    const char *name = type == NULL ? "none" : ((PyTypeObject *)type)->tp_name;
    const char *dot = strrchr(name, '.');
    name = dot == NULL ? name : dot + 1;
    char text[2048], place[512];
    put_text(value, text, sizeof text);
    put_place(traceback, place, sizeof place);
    if (plain_class != NULL && strcmp(name, plain_class) == 0)
        snprintf(out, size, "%s", text);
    else
        snprintf(out, size, "Python: %s: %s%s", name, text, place);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
}
