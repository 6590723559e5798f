#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <fcntl.h>
#include <router/options.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a command line came to. */
static struct options options;
static char *said, *complained;

/* argv ends with NULL. */
static enum options_result parse(char **argv)
{
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    free(said);
    free(complained);
    size_t size;
    FILE *out = open_memstream(&said, &size), *complaints = open_memstream(&complained, &size);
    enum options_result result = options_parse(argc, argv, &options, out, complaints);
    fclose(out);
    fclose(complaints);
    return result;
}

#define PARSE(...) parse((char *[]){(char[]){"qdrouterd"}, __VA_ARGS__, NULL})
#define ARGUMENT(text) ((char[]){text})

static void test_options_short_and_long_forms_are_the_same(void **state)
{
    (void)state;
    assert_int_equal(PARSE(ARGUMENT("-c"), ARGUMENT("f"), ARGUMENT("-d"), ARGUMENT("-P"), ARGUMENT("p"), ARGUMENT("-U"),
                           ARGUMENT("u"), ARGUMENT("-T"), ARGUMENT("-I"), ARGUMENT("/")),
                     OPTIONS_RUN);
    struct options by_letter = options;
    assert_string_equal(by_letter.config, "f");
    assert_int_equal(PARSE(ARGUMENT("--config=f"), ARGUMENT("--daemon"), ARGUMENT("--pidfile=p"), ARGUMENT("--user"),
                           ARGUMENT("u"), ARGUMENT("--test-hooks"), ARGUMENT("--include=/")),
                     OPTIONS_RUN);
    assert_string_equal(options.config, "f");
    assert_string_equal(options.pidfile, by_letter.pidfile);
    assert_string_equal(options.user, by_letter.user);
    assert_true(options.daemon && by_letter.daemon);
    assert_true(options.test_hooks && by_letter.test_hooks);
    assert_false(options.check);
    assert_string_equal(said, "");
    assert_string_equal(complained, "");
}

static void test_options_version_is_alone_on_its_line(void **state)
{
    (void)state;
    assert_int_equal(PARSE(ARGUMENT("-v")), OPTIONS_DONE);
    assert_string_equal(said, TRUNKLINE_VERSION "\n");
}

static void test_options_help_is_on_stdout(void **state)
{
    (void)state;
    assert_int_equal(PARSE(ARGUMENT("-h")), OPTIONS_DONE);
    assert_memory_equal(said, "Usage: qdrouterd [OPTIONS]\n\n", 28);
    assert_non_null(strstr(said, "-c PATH, --config=PATH"));
    assert_non_null(strstr(said, "  --check "));
    assert_string_equal(complained, "");
}

static void test_options_unknown_option_shows_usage(void **state)
{
    (void)state;
    assert_int_equal(PARSE(ARGUMENT("--nonsense")), OPTIONS_WRONG);
    assert_memory_equal(said, "Usage: ", 7);
}

static void test_options_extra_arguments_are_named(void **state)
{
    (void)state;
    assert_int_equal(PARSE(ARGUMENT("a"), ARGUMENT("--check"), ARGUMENT("b")), OPTIONS_WRONG);
    assert_string_equal(complained, "Unexpected arguments: a b\n\n");
}

static void test_options_include_must_be_a_directory(void **state)
{
    (void)state;
    assert_int_equal(PARSE(ARGUMENT("-I"), ARGUMENT("/no/such/place")), OPTIONS_WRONG);
    assert_string_equal(complained, "qdrouterd: --include: '/no/such/place' is not a directory\n");
}

static void test_options_named_config_becomes_absolute(void **state)
{
    (void)state;
    char directory[4096];
    assert_non_null(getcwd(directory, sizeof directory));
    options = (struct options){.config = "missing.conf"};
    char *path = options_config_path(&options, "/usr/sbin");
    assert_memory_equal(path, directory, strlen(directory));
    assert_string_equal(path + strlen(directory), "/missing.conf");
    free(path);
    options.config = "/a/b.conf";
    path = options_config_path(&options, "/usr/sbin");
    assert_string_equal(path, "/a/b.conf");
    free(path);
}

/* Where a router is installed its file comes first, so this says what a build tree without one sees. */
static void test_options_build_tree_has_its_own_config(void **state)
{
    (void)state;
    if (access("/etc/qpid-dispatch/qdrouterd.conf", F_OK) == 0)
        skip();
    char root[] = "/tmp/optionsXXXXXX", bin[64], etc[64], file[96], expected[96];
    assert_non_null(mkdtemp(root));
    snprintf(bin, sizeof bin, "%s/bin", root);
    snprintf(etc, sizeof etc, "%s/etc", root);
    snprintf(file, sizeof file, "%s/qdrouterd.conf", etc);
    snprintf(expected, sizeof expected, "%s/../etc/qdrouterd.conf", bin);
    assert_int_equal(mkdir(bin, 0700), 0);
    assert_int_equal(mkdir(etc, 0700), 0);
    options = (struct options){0};
    char *without = options_config_path(&options, bin);
    close(open(file, O_CREAT | O_WRONLY, 0600));
    char *with = options_config_path(&options, bin);
    unlink(file);
    rmdir(etc);
    rmdir(bin);
    rmdir(root);
    assert_string_equal(with, expected);
    assert_string_not_equal(without, expected);
    assert_non_null(strstr(without, "/qpid-dispatch/qdrouterd.conf"));
    free(with);
    free(without);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_short_and_long_forms_are_the_same),
        cmocka_unit_test(test_options_version_is_alone_on_its_line),
        cmocka_unit_test(test_options_help_is_on_stdout),
        cmocka_unit_test(test_options_unknown_option_shows_usage),
        cmocka_unit_test(test_options_extra_arguments_are_named),
        cmocka_unit_test(test_options_include_must_be_a_directory),
        cmocka_unit_test(test_options_named_config_becomes_absolute),
        cmocka_unit_test(test_options_build_tree_has_its_own_config),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(said);
    free(complained);
    return failed;
}
