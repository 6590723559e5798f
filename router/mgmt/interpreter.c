#include "interpreter.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <router/mgmt/core_module.h>
#include <stdio.h>
#include <unistd.h>

/* Where Debian keeps the modules written in C that are not part of the interpreter itself. */
#define EXTENSIONS TRUNKLINE_PYTHON_STDLIB "/lib-dynload"

static enum err library_check(const char *library, char *why, size_t why_size)
{
    char path[4096];
    /* Without its encodings the interpreter ends with a page of text; say it in a line instead. */
    if (access(TRUNKLINE_PYTHON_STDLIB "/encodings/__init__.py", R_OK) != 0) {
        snprintf(why, why_size, "Python's standard library is not in %s: install libpython3-stdlib",
                 TRUNKLINE_PYTHON_STDLIB);
        return ERR_NOT_FOUND;
    }
    int len = snprintf(path, sizeof path, "%s/trunkline", library);
    if (len < 0 || (size_t)len >= sizeof path || access(path, R_OK | X_OK) != 0) {
        snprintf(why, why_size, "The router's Python package is not in %s: install the router again", library);
        return ERR_NOT_FOUND;
    }
    return OK;
}

struct setting {
    wchar_t **place;
    const char *value;
};

static PyStatus set_paths(PyConfig *c, const char *program, const char *library)
{
    /* With all of these given, Python looks for nothing by itself. */
    const struct setting settings[] = {
        {&c->program_name, program},    {&c->executable, program},
        {&c->base_executable, program}, {&c->prefix, "/usr"},
        {&c->base_prefix, "/usr"},      {&c->exec_prefix, "/usr"},
        {&c->base_exec_prefix, "/usr"}, {&c->stdlib_dir, TRUNKLINE_PYTHON_STDLIB},
    };
    PyStatus status = PyStatus_Ok();
    for (size_t i = 0; i < sizeof settings / sizeof *settings && !PyStatus_Exception(status); i++)
        status = PyConfig_SetBytesString(c, settings[i].place, settings[i].value);
    const char *search[] = {library, TRUNKLINE_PYTHON_STDLIB, EXTENSIONS};
    for (size_t i = 0; i < sizeof search / sizeof *search && !PyStatus_Exception(status); i++) {
        wchar_t *wide = Py_DecodeLocale(search[i], NULL);
        if (wide == NULL)
            return PyStatus_NoMemory();
        status = PyWideStringList_Append(&c->module_search_paths, wide);
        PyMem_RawFree(wide);
    }
    c->module_search_paths_set = 1;
    return status;
}

/* The interpreter does not free everything at its end, so LeakSanitizer would report it, and to suppress that by the
 * name of its library would hide what our own code loses when Python calls it. So in such a build its memory, and that
 * alone, is marked as not to be reported. Small objects lie in maps of its own that LeakSanitizer does not look at. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MARK_PYTHON_MEMORY 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define MARK_PYTHON_MEMORY 1
#endif
#ifdef MARK_PYTHON_MEMORY
#include <sanitizer/lsan_interface.h>

static PyMemAllocatorEx raw;

static void *marked(void *p)
{
    if (p != NULL)
        __lsan_ignore_object(p);
    return p;
}

static void *marked_malloc(void *unused, size_t size)
{
    (void)unused;
    return marked(raw.malloc(raw.ctx, size));
}

static void *marked_calloc(void *unused, size_t count, size_t size)
{
    (void)unused;
    return marked(raw.calloc(raw.ctx, count, size));
}

static void *marked_realloc(void *unused, void *p, size_t size)
{
    (void)unused;
    return marked(raw.realloc(raw.ctx, p, size));
}

static void marked_free(void *unused, void *p)
{
    (void)unused;
    raw.free(raw.ctx, p);
}

static void mark_python_memory(void)
{
    if (raw.malloc != NULL)
        return;
    PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &raw);
    PyMemAllocatorEx all = {NULL, marked_malloc, marked_calloc, marked_realloc, marked_free};
    PyMem_SetAllocator(PYMEM_DOMAIN_RAW, &all);
}
#else
static void mark_python_memory(void)
{
}
#endif

static PyStatus preinitialise(void)
{
    PyPreConfig pre;
    PyPreConfig_InitIsolatedConfig(&pre);
    pre.utf8_mode = 1; /* files are UTF-8 whatever the locale of whoever starts us */
    PyStatus status = Py_PreInitialize(&pre);
    mark_python_memory();
    return status;
}

static PyStatus initialise(const char *program, const char *library)
{
    PyConfig c;
    PyConfig_InitIsolatedConfig(&c);
    c.site_import = 0;
    c.write_bytecode = 0;
    c.install_signal_handlers = 0;
    c.pathconfig_warnings = 0;
    c.use_frozen_modules = 1;
    PyStatus status = set_paths(&c, program, library);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&c);
    PyConfig_Clear(&c);
    return status;
}

enum err interpreter_start(const char *program, const char *library, char *why, size_t why_size)
{
    enum err e = library_check(library, why, why_size);
    if (e != OK)
        return e;
    if (!core_module_register()) {
        snprintf(why, why_size, "Python cannot start: out of memory");
        return ERR_SYSTEM;
    }
    PyStatus status = preinitialise();
    if (!PyStatus_Exception(status))
        status = initialise(program, library);
    if (PyStatus_Exception(status)) {
        snprintf(why, why_size, "Python cannot start: %s", status.err_msg == NULL ? "no reason given" : status.err_msg);
        return ERR_SYSTEM;
    }
    return OK;
}

void interpreter_stop(void)
{
    if (Py_IsInitialized())
        Py_FinalizeEx();
}
