/* options.h -- the command line of qdrouterd. Options are those of Qpid Dispatch 1.19, and --check. Thread: main,
 * before any other. */
#ifndef TRUNKLINE_ROUTER_OPTIONS_H
#define TRUNKLINE_ROUTER_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

/* Texts are borrowed from argv. */
struct options {
    const char *config;  /* NULL: the default one */
    const char *pidfile; /* NULL: none */
    const char *user;    /* NULL: stay who we are */
    bool check, daemon, test_hooks;
};

enum options_result {
    OPTIONS_RUN,   /* go on */
    OPTIONS_DONE,  /* all has been said: exit status 0 */
    OPTIONS_WRONG, /* what is wrong has been said: exit status 1 */
};

/* Read the command line. Usage and version go to `out`, complaints to `complaints` (those of getopt always to stderr).
 */
enum options_result options_parse(int argc, char **argv, struct options *o, FILE *out, FILE *complaints);

/* The configuration file to use, in memory that the caller frees: the named one, made absolute, whether it exists or
 * not; else the first that exists of <sysconfdir>/qpid-dispatch/qdrouterd.conf, /etc/qpid-dispatch/qdrouterd.conf,
 * <directory>/../etc/qpid-dispatch/qdrouterd.conf and <directory>/../etc/qdrouterd.conf, or the first of these if none
 * does. directory: of the executable. */
char *options_config_path(const struct options *o, const char *directory);

#endif
