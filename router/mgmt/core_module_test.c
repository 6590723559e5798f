#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <router/mgmt/apply.h>
#include <router/mgmt/management.h>
#include <router/mgmt/python_test.h>
#include <router/route/router.h>
#include <string.h>
#include <trunkline/base/log.h>
#include <unistd.h>

static int start(void **state)
{
    log_init();
    /* Only what a test logs at error reaches the terminal. */
    log_configure(LOG_DEFAULT, &(struct log_setting){.mask = 1 << LOG_LEVEL_CRITICAL});
    int result = python_test_start(state);
    if (result == 0)
        python_test_run("import sys, _trunkline\n"
                        "from _trunkline import *\n"
                        "def refused(kind, text, function, *args):\n"
                        "    try: function(*args)\n"
                        "    except Error as e: assert e.args == (kind, text), e.args\n"
                        "    else: assert False, 'no error'\n");
    return result;
}

static int stop(void **state)
{
    python_test_stop(state);
    log_fini();
    return 0;
}

static void test_interpreter_takes_nothing_from_its_surroundings(void **state)
{
    (void)state;
    /* PYTHONHOME and PYTHONPATH are set to nonsense in main(). */
    python_test_run("assert len(sys.path) == 3, sys.path\n"
                    "assert '/nonsense' not in sys.path\n"
                    "assert 'site' not in sys.modules\n"
                    "assert sys.flags.dont_write_bytecode and sys.flags.ignore_environment\n"
                    "assert sys.version_info[:2] == (3, 11)\n"
                    "import json, trunkline.core\n");
}

static void test_core_module_version_is_the_routers(void **state)
{
    (void)state;
    PyObject *version = python_test_value("VERSION");
    assert_string_equal(PyUnicode_AsUTF8(version), TRUNKLINE_VERSION);
    Py_DECREF(version);
}

static void test_core_module_log_is_kept_and_counted(void **state)
{
    (void)state;
    python_test_run("apply('log', 'update', 'log/AGENT', dict(module='AGENT', mask=4 | 8, timestamp=None, source=None, "
                    "output='/dev/null'))\n"
                    "before = read('logStats', 'AGENT', ('infoCount', 'debugCount', 'name'), 0)\n"
                    "assert log_enabled('AGENT', 4) and not log_enabled('AGENT', 2)\n"
                    "log('AGENT', 4, 'one', None, 0)\n"
                    "log('AGENT', 2, 'not shown', None, 0)\n"
                    "log('AGENT', 8, 'two', 'file.py', 7)\n"
                    "one, two = log_entries(2)\n"
                    "assert one[:5] == ('AGENT', 'info', 'one', None, None), one\n"
                    "assert two[:5] == ('AGENT', 'notice', 'two', 'file.py', 7), two\n"
                    "assert type(two[5]) is int\n"
                    "after = read('logStats', 'AGENT', ('infoCount', 'debugCount', 'name'), 0)\n"
                    "assert after == (before[0] + 1, before[1] + 1, 'AGENT'), (before, after)\n");
}

static void test_core_module_log_refuses_unknown_modules_and_levels(void **state)
{
    (void)state;
    python_test_run("refused('Value', \"unknown log module 'X'\", log, 'X', 4, 't', None, 0)\n"
                    "refused('Value', 'unknown log level 3', log, 'AGENT', 3, 't', None, 0)\n"
                    "refused('Value', \"unknown log module 'X'\", log_enabled, 'X', 4)\n");
}

static void test_core_module_log_file_that_cannot_be_opened_changes_nothing(void **state)
{
    (void)state;
    python_test_run("settings = dict(module='AGENT', mask=1, timestamp=None, source=None, output='/no/such/file')\n"
                    "apply('log', 'update', 'log/AGENT', dict(settings, mask=4, output=None))\n"
                    "refused('Configuration', \"Failed to open log file '/no/such/file'\", apply, 'log', 'update', "
                    "'log/AGENT', settings)\n"
                    "assert log_enabled('AGENT', 4) and not log_enabled('AGENT', 1)\n");
}

static void test_core_module_missing_and_wrong_attributes_are_named(void **state)
{
    (void)state;
    python_test_run("good = dict(module='AGENT', mask=None, timestamp=None, source=None, output=None)\n"
                    "def wrong(text, **change):\n"
                    "    refused('Python', 'log: attribute ' + text, apply, 'log', 'update', '', {k: v for k, v in "
                    "dict(good, **change).items() if v != 'gone'})\n"
                    "wrong(\"'mask' is missing\", mask='gone')\n"
                    "wrong(\"'mask' is not a number\", mask='4')\n"
                    "wrong(\"'mask' is not a number\", mask=True)\n"
                    "wrong(\"'mask' is out of range\", mask=128)\n"
                    "wrong(\"'mask' is out of range\", mask=-1)\n"
                    "wrong(\"'mask' is out of range\", mask=1 << 70)\n"
                    "wrong(\"'module' is not a text\", module=5)\n"
                    "wrong(\"'source' is not a boolean\", source=1)\n");
}

static void test_core_module_unknown_actions_and_kinds_are_refused(void **state)
{
    (void)state;
    python_test_run(
        "refused('Python', 'there is no way to create nonsense', apply, 'nonsense', 'create', '', {})\n"
        "refused('Python', 'create listener before the router is created', apply, 'listener', 'create', '', {})\n"
        "refused('Value', \"unknown kind 'nonsense'\", query, 'nonsense', ('a',), 0, 0, 0)\n"
        "refused('Value', \"unknown column 'nonsense' of logStats\", query, 'logStats', ('name', 'nonsense'), 0, 0, "
        "0)\n"
        "refused('Value', \"unknown column '?' of logStats\", query, 'logStats', (1,), 0, 0, 0)\n"
        "refused('Value', 'offset and count may not be negative', query, 'logStats', ('name',), -1, 0, 0)\n"
        "refused('Value', 'connector can be read by identity only', query, 'connector', ('connectionMsg',), 0, 0, 0)\n"
        "refused('Value', 'more than 128 columns of logStats', query, 'logStats', ('name',) * 129, 0, 0, 0)\n");
}

static void test_core_module_rows_come_by_offset_and_count(void **state)
{
    (void)state;
    python_test_run("names = [row[0] for row in query('logStats', ('name',), 0, 0, 0)]\n"
                    "assert names[0] == 'ROUTER' and names[-1] == 'DEFAULT', names\n"
                    "assert query('logStats', ('name', 'name'), 3, 2, 0) == [(n, n) for n in names[3:5]]\n"
                    "assert query('logStats', ('name',), len(names) - 1, 5, 0) == [('DEFAULT',)]\n"
                    "assert query('logStats', ('name',), len(names) + 5, 0, 0) == []\n"
                    "assert query('logStats', (), 0, 2, 0) == [(), ()]\n"
                    "assert read('logStats', 'nonsense', ('name',), 0) is None\n"
                    "assert query('router.node', ('id', 'cost'), 0, 0, 0) == []\n"
                    "assert query('allocator', ('typeName',), 0, 0, 0) == []\n");
}

static void test_management_check_prints_a_line_for_each_error(void **state)
{
    (void)state;
    assert_on_control();
    char path[] = "/tmp/checkXXXXXX", *said;
    int fd = mkstemp(path);
    static const char wrong[] =
        "router {\n    mode: nonsense\n}\nlistener {\n    port: none-such\n    nonsense: 1\n}\n";
    assert_int_equal(write(fd, wrong, sizeof wrong - 1), sizeof wrong - 1);
    close(fd);
    size_t size;
    FILE *out = open_memstream(&said, &size);
    enum err e = management_check(path, out);
    fclose(out);
    unlink(path);
    assert_int_equal(e, ERR_INVALID);
    size_t lines = 0;
    for (const char *c = said; (c = strchr(c, '\n')) != NULL; c++)
        lines++;
    assert_int_equal(lines, 3);
    assert_memory_equal(said, path, strlen(path));
    free(said);
}

static void test_management_start_of_a_missing_file_says_so(void **state)
{
    (void)state;
    assert_on_control();
    char why[256];
    assert_int_equal(management_start("/no/such/file", why, sizeof why), ERR_INVALID);
    assert_string_equal(why,
                        "Not found: Configuration file could not be opened: /no/such/file: No such file or directory");
    assert_false(apply_has_router());
}

int main(void)
{
    setenv("PYTHONHOME", "/nonsense", 1);
    setenv("PYTHONPATH", "/nonsense", 1);
    setenv("PATH", "/nonsense", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interpreter_takes_nothing_from_its_surroundings),
        cmocka_unit_test(test_core_module_version_is_the_routers),
        cmocka_unit_test(test_core_module_log_is_kept_and_counted),
        cmocka_unit_test(test_core_module_log_refuses_unknown_modules_and_levels),
        cmocka_unit_test(test_core_module_log_file_that_cannot_be_opened_changes_nothing),
        cmocka_unit_test(test_core_module_missing_and_wrong_attributes_are_named),
        cmocka_unit_test(test_core_module_unknown_actions_and_kinds_are_refused),
        cmocka_unit_test(test_core_module_rows_come_by_offset_and_count),
        cmocka_unit_test(test_management_check_prints_a_line_for_each_error),
        cmocka_unit_test(test_management_start_of_a_missing_file_says_so),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
