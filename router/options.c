#include "options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <trunkline/base/alloc.h>
#include <unistd.h>

enum { OPTION_CHECK = 256 };

/* One table, from which getopt's and the usage are made. X(letter or number, long name, argument or NULL, text) */
#define OPTIONS(X)                                                                                                     \
    X('c', "config", "PATH", "Load configuration from file at PATH")                                                   \
    X('I', "include", "PATH", "Accepted for compatibility, without effect; PATH must be a directory")                  \
    X('d', "daemon", NULL, "Run process as a SysV-style daemon")                                                       \
    X('P', "pidfile", "FILE", "If daemon, the file for the process id")                                                \
    X('U', "user", "NAME", "If daemon, the user to become")                                                            \
    X('T', "test-hooks", NULL, "Enable internal test features")                                                        \
    X(OPTION_CHECK, "check", NULL, "Check the configuration file, start nothing; exit status 0 if it is right")        \
    X('v', "version", NULL, "Print the version and exit")                                                              \
    X('h', "help", NULL, "Print this help")

static const struct option long_options[] = {
#define X(value, name, argument, text) {name, argument == NULL ? no_argument : required_argument, NULL, value},
    OPTIONS(X)
#undef X
        {NULL, 0, NULL, 0},
};

static void print_option(FILE *out, int letter, const char *name, const char *argument, const char *text)
{
    char names[64];
    bool has = argument != NULL;
    if (letter < OPTION_CHECK)
        snprintf(names, sizeof names, "-%c%s%s, --%s%s%s", letter, has ? " " : "", has ? argument : "", name,
                 has ? "=" : "", has ? argument : "");
    else
        snprintf(names, sizeof names, "--%s%s%s", name, has ? "=" : "", has ? argument : "");
    fprintf(out, "  %-30s %s\n", names, text);
}

static void print_usage(FILE *out, const char *program)
{
    fprintf(out, "Usage: %s [OPTIONS]\n\n", program);
#define X(value, name, argument, text) print_option(out, value, name, argument, text);
    OPTIONS(X)
#undef X
}

static bool is_directory(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

/* Result: OPTIONS_RUN: go on with the next one. */
static enum options_result take(int value, char **argv, struct options *o, FILE *out, FILE *complaints)
{
    switch (value) {
    case 'c':
        o->config = optarg;
        return OPTIONS_RUN;
    case 'I':
        if (is_directory(optarg))
            return OPTIONS_RUN;
        fprintf(complaints, "%s: --include: '%s' is not a directory\n", argv[0], optarg);
        return OPTIONS_WRONG;
    case 'd':
        o->daemon = true;
        return OPTIONS_RUN;
    case 'P':
        o->pidfile = optarg;
        return OPTIONS_RUN;
    case 'U':
        o->user = optarg;
        return OPTIONS_RUN;
    case 'T':
        o->test_hooks = true;
        return OPTIONS_RUN;
    case OPTION_CHECK:
        o->check = true;
        return OPTIONS_RUN;
    case 'v':
        fprintf(out, "%s\n", TRUNKLINE_VERSION);
        return OPTIONS_DONE;
    case 'h':
        print_usage(out, argv[0]);
        return OPTIONS_DONE;
    default: /* getopt has said what is wrong */
        print_usage(out, argv[0]);
        return OPTIONS_WRONG;
    }
}

static enum options_result refuse_extra(int argc, char **argv, FILE *out, FILE *complaints)
{
    fprintf(complaints, "Unexpected arguments:");
    for (int i = optind; i < argc; i++)
        fprintf(complaints, " %s", argv[i]);
    fprintf(complaints, "\n\n");
    print_usage(out, argv[0]);
    return OPTIONS_WRONG;
}

enum options_result options_parse(int argc, char **argv, struct options *o, FILE *out, FILE *complaints)
{
    *o = (struct options){0};
    optind = 0; /* glibc: begin anew, for whoever parses twice */
    int value;
    while ((value = getopt_long(argc, argv, "c:I:dP:U:Tvh", long_options, NULL)) != -1) {
        enum options_result result = take(value, argv, o, out, complaints);
        if (result != OPTIONS_RUN)
            return result;
    }
    return optind == argc ? OPTIONS_RUN : refuse_extra(argc, argv, out, complaints);
}

/* A daemon changes its directory before it opens files. */
static char *absolute(const char *path)
{
    char *directory = path[0] == '/' ? NULL : get_current_dir_name();
    char *result = directory == NULL ? xstrdup(path) : xasprintf("%s/%s", directory, path);
    free(directory);
    return result;
}

char *options_config_path(const struct options *o, const char *directory)
{
    static const char *const installed[] = {TRUNKLINE_SYSCONFDIR "/qpid-dispatch/qdrouterd.conf",
                                            "/etc/qpid-dispatch/qdrouterd.conf"};
    if (o->config != NULL)
        return absolute(o->config);
    for (size_t i = 0; i < sizeof installed / sizeof *installed; i++)
        if (access(installed[i], F_OK) == 0)
            return xstrdup(installed[i]);
    /* Installed somewhere else than was said when it was built; in a build tree. */
    static const char *const beside[] = {"../etc/qpid-dispatch/qdrouterd.conf", "../etc/qdrouterd.conf"};
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        char *path = xasprintf("%s/%s", directory, beside[i]);
        if (access(path, F_OK) == 0)
            return path;
        free(path);
    }
    return xstrdup(installed[0]);
}
