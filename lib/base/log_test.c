#include <trunkline/base/log.h>

#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <trunkline/base/alloc.h>

static char path[64];
static const struct log_setting to_path = {
    .mask = -1, .include_timestamp = -1, .include_source = -1, .output_file = path};

static int begin(void **state)
{
    (void)state;
    strcpy(path, "/tmp/trunkline-log-XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    close(fd);
    log_init();
    return log_configure(LOG_DEFAULT, &to_path) == OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    log_fini();
    return unlink(path);
}

/* All that was written so far; free() it. */
static char *contents(void)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char *text = NULL;
    size_t size = 0;
    if (getdelim(&text, &size, '\0', f) < 0) {
        free(text);
        text = xstrdup("");
    }
    fclose(f);
    return text;
}

static void assert_contents_match(const char *pattern)
{
    regex_t re;
    assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    char *text = contents();
    if (regexec(&re, text, 0, NULL, 0) != 0)
        fail_msg("'%s' does not match '%s'", text, pattern);
    free(text);
    regfree(&re);
}

static void assert_contents(const char *wanted)
{
    char *text = contents();
    assert_string_equal(text, wanted);
    free(text);
}

static void test_log_default_line_has_the_known_format(void **state)
{
    (void)state;
    LOG(SERVER, NOTICE, "Listening on %s:%d", "0.0.0.0", 5672);
    assert_contents_match("^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6} [+-][0-9]{4} "
                          "SERVER \\(notice\\) Listening on 0\\.0\\.0\\.0:5672\n$");
}

static void test_log_levels_below_the_mask_are_counted_not_written(void **state)
{
    (void)state;
    uint64_t debug = log_count(LOG_ROUTER, LOG_LEVEL_DEBUG), info = log_count(LOG_ROUTER, LOG_LEVEL_INFO);
    log_set_timestamp("T", true);
    LOG(ROUTER, DEBUG, "not seen");
    LOG(ROUTER, INFO, "seen");
    assert_contents("T ROUTER (info) seen\n");
    assert_true(log_count(LOG_ROUTER, LOG_LEVEL_DEBUG) == debug + 1);
    assert_true(log_count(LOG_ROUTER, LOG_LEVEL_INFO) == info + 1);
    assert_false(log_enabled(LOG_ROUTER, LOG_LEVEL_DEBUG));
    assert_true(log_enabled(LOG_ROUTER, LOG_LEVEL_CRITICAL));
}

static void test_log_module_inherits_from_default_what_it_leaves_unset(void **state)
{
    (void)state;
    struct log_setting s = {.mask = -1, .include_timestamp = 0, .include_source = -1};
    assert_int_equal(log_configure(LOG_POLICY, &s), OK);
    s = (struct log_setting){.mask = 1 << LOG_LEVEL_TRACE, .include_timestamp = -1, .include_source = 1};
    assert_int_equal(log_configure(LOG_DEFAULT, &s), OK);
    log_set_timestamp("T", true);
    log_write(LOG_POLICY, LOG_LEVEL_TRACE, "a.py", 7, "own timestamp switch");
    log_write(LOG_AGENT, LOG_LEVEL_TRACE, NULL, 0, "no source known");
    log_write(LOG_AGENT, LOG_LEVEL_INFO, "a.py", 8, "trace alone shows only trace");
    s = (struct log_setting){.mask = 0, .include_timestamp = -1, .include_source = 0};
    assert_int_equal(log_configure(LOG_AGENT, &s), OK);
    log_write(LOG_AGENT, LOG_LEVEL_TRACE, NULL, 0, "switched off");
    assert_contents("POLICY (trace) own timestamp switch (a.py:7)\nT AGENT (trace) no source known\n");
    /* Unset again: as DEFAULT has it. */
    s = (struct log_setting){.mask = -1, .include_timestamp = -1, .include_source = -1};
    assert_int_equal(log_configure(LOG_AGENT, &s), OK);
    assert_true(log_enabled(LOG_AGENT, LOG_LEVEL_TRACE));
}

static void test_log_two_modules_can_share_a_file_and_part_again(void **state)
{
    (void)state;
    struct log_setting s = {.mask = -1, .include_timestamp = 0, .include_source = 0, .output_file = path};
    assert_int_equal(log_configure(LOG_HTTP, &s), OK);
    LOG(HTTP, INFO, "one");
    s.output_file = "/dev/null";
    assert_int_equal(log_configure(LOG_HTTP, &s), OK);
    LOG(HTTP, INFO, "gone");
    s.output_file = path;
    assert_int_equal(log_configure(LOG_MAIN, &s), OK);
    LOG(MAIN, INFO, "two");
    assert_contents("HTTP (info) one\nMAIN (info) two\n");
}

static void test_log_unwritable_path_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    log_set_timestamp("T", true);
    struct log_setting s = {.mask = 0, .include_timestamp = -1, .include_source = -1, .output_file = "/nowhere/at/all"};
    assert_int_equal(log_configure(LOG_DEFAULT, &s), ERR_SYSTEM);
    LOG(MAIN, INFO, "still here");
    assert_contents("T MAIN (info) still here\n");
}

static void test_log_user_timestamp_never_reaches_printf(void **state)
{
    (void)state;
    const struct {
        const char *format, *pattern;
    } cases[] = {
        {"%%06lu", "^[0-9]{6} MAIN"},
        {"%%lu", "^[0-9]{1,6} MAIN"},
        {"%%9d|%%i", "^ {3,8}[0-9]{1,6}\\|[0-9]{1,6} MAIN"},
        {"%%s%%n%%p", "^%s%n%p MAIN"},
        {"%%999999999d", "^ {14,19}[0-9]{1,6} MAIN"},
        {"%%%%x", "^%x MAIN"},
        {"end%%", "^end% MAIN"},
        {"end%%0", "^end%0 MAIN"},
        {"", "^MAIN"},
        {"%Y", "^[0-9]{4} MAIN"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(truncate(path, 0), 0);
        log_set_timestamp(cases[i].format, true);
        LOG(MAIN, INFO, "x");
        assert_contents_match(cases[i].pattern);
    }
    char *longest = xmalloc(5001);
    memset(longest, 'a', 5000);
    longest[5000] = '\0';
    assert_int_equal(truncate(path, 0), 0);
    log_set_timestamp(longest, true);
    free(longest);
    LOG(MAIN, INFO, "x");
    assert_contents_match("^MAIN");
}

static void test_log_long_text_is_cut_at_2047(void **state)
{
    (void)state;
    char text[5000];
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_set_timestamp("", true);
    LOG(MAIN, INFO, "%s", text);
    char *written = contents();
    assert_int_equal(strlen(written), strlen("MAIN (info) ") + 2047 + 1);
    free(written);
}

struct seen {
    size_t count;
    int first, last;
};
static void on_entry(const struct log_entry *e, void *arg)
{
    struct seen *seen = arg;
    int n = -1;
    assert_int_equal(sscanf(e->text, "line %d", &n), 1);
    assert_string_equal(e->file, "f.c");
    assert_int_equal(e->line, n);
    assert_int_equal(e->module, LOG_AGENT);
    if (seen->count++ == 0)
        seen->first = n;
    else
        assert_int_equal(n, seen->last + 1);
    seen->last = n;
    LOG(AGENT, DEBUG, "a callback may log"); /* and must not wait for itself */
}

static void test_log_recent_gives_the_last_oldest_first(void **state)
{
    (void)state;
    struct seen seen = {0};
    log_recent(0, on_entry, &seen);
    assert_int_equal(seen.count, 0);
    for (int i = 0; i < 2500; i++)
        log_write(LOG_AGENT, LOG_LEVEL_INFO, "f.c", i, "line %d", i);
    log_recent(10, on_entry, &seen);
    assert_true(seen.count == 10 && seen.first == 2490 && seen.last == 2499);
    seen = (struct seen){0};
    log_recent(0, on_entry, &seen);
    assert_true(seen.count == 1000 && seen.first == 1500 && seen.last == 2499);
    seen = (struct seen){0};
    log_recent(99999, on_entry, &seen);
    assert_int_equal(seen.count, 1000);
}

static void *write_lines(void *arg)
{
    for (int i = 0; i < 500; i++)
        LOG(ROUTER_CORE, INFO, "%s %d of a line that is long enough to be torn if it could be", (const char *)arg, i);
    return NULL;
}

static void count_entry(const struct log_entry *e, void *arg)
{
    (void)e;
    ++*(int *)arg;
}

static void test_log_threads_write_whole_lines_while_settings_change(void **state)
{
    (void)state;
    log_set_timestamp("T", true);
    pthread_t threads[3];
    char names[3][8] = {"one", "two", "three"};
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, write_lines, names[i]);
    for (int i = 0; i < 200; i++) {
        struct log_setting s = to_path;
        s.include_source = i % 2;
        log_configure(LOG_ROUTER_CORE, &s);
        int kept = 0;
        log_recent(20, count_entry, &kept);
        assert_true(kept <= 20);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    char *text = contents(), *rest = text;
    int lines = 0, next[3] = {0};
    for (char *line; (line = strsep(&rest, "\n")) && *line; lines++) {
        char name[16];
        int n;
        assert_int_equal(sscanf(line, "T ROUTER_CORE (info) %15s %d of a line that is long", name, &n), 2);
        int who = name[0] == 'o' ? 0 : name[1] == 'w' ? 1 : 2;
        assert_int_equal(n, next[who]++); /* each thread's lines in its order */
    }
    assert_int_equal(lines, 1500);
    free(text);
}

static void test_log_failed_write_ends_the_process_with_1(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        struct log_setting s = {.mask = -1, .include_timestamp = -1, .include_source = -1, .output_file = "/dev/full"};
        if (log_configure(LOG_MAIN, &s) != OK)
            _exit(3);
        LOG(MAIN, INFO, "no room");
        _exit(2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

static void test_log_limit_lets_a_burst_pass_and_counts_the_rest(void **state)
{
    (void)state;
    struct log_limit limit = {0};
    uint32_t left_out, passed = 0;
    wall_us start = clock_mono_ms();
    int tries = 0;
    for (; tries < 1000; tries++)
        passed += log_limit_pass(&limit, 20, &left_out);
    wall_us seconds = (clock_mono_ms() - start) / 1000 + 1;
    assert_true(passed >= 20 && passed <= 20 * (seconds + 1));
    /* As if a second had passed. */
    uint32_t suppressed = atomic_load(&limit.count) - 20;
    atomic_store(&limit.second, atomic_load(&limit.second) - 1);
    assert_true(log_limit_pass(&limit, 20, &left_out));
    assert_int_equal(left_out, suppressed);
}

static void test_log_names_are_those_of_the_reference(void **state)
{
    (void)state;
    enum log_module m;
    assert_true(log_module_by_name("ROUTER_HELLO", &m));
    assert_int_equal(m, LOG_ROUTER_HELLO);
    assert_false(log_module_by_name("router_hello", &m));
    assert_string_equal(log_module_name(LOG_CONN_MGR), "CONN_MGR");
    assert_string_equal(log_level_name(LOG_LEVEL_ERROR_LEVEL), "error");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        T(test_log_default_line_has_the_known_format),
        T(test_log_levels_below_the_mask_are_counted_not_written),
        T(test_log_module_inherits_from_default_what_it_leaves_unset),
        T(test_log_two_modules_can_share_a_file_and_part_again),
        T(test_log_unwritable_path_is_refused_and_changes_nothing),
        T(test_log_user_timestamp_never_reaches_printf),
        T(test_log_long_text_is_cut_at_2047),
        T(test_log_recent_gives_the_last_oldest_first),
        T(test_log_threads_write_whole_lines_while_settings_change),
        T(test_log_failed_write_ends_the_process_with_1),
        T(test_log_limit_lets_a_burst_pass_and_counts_the_rest),
        T(test_log_names_are_those_of_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
