/* daemon.h -- the process leaves its terminal: double fork, new session, stdio to /dev/null, umask 0, directory /, pid
 * file, user.
 *
 *   1. daemon_start() forks twice. The first process waits at a pipe; the second ends at once, so that the third can
 *      never get a terminal
 *   2. the third process goes on as the router; daemon_started() or daemon_failed() says how its start went
 *   3. the first process exits: status 0, or 1 with the text on stderr. If the third dies without a word, status 1 too.
 *
 * Thread: main, before any other thread is made.
 */
#ifndef TRUNKLINE_ROUTER_DAEMON_H
#define TRUNKLINE_ROUTER_DAEMON_H

struct daemon {
    int report; /* pipe to the process that waits; -1: not a daemon, or said already */
};

/* Returns in the daemon only; failures on the way are reported by the process that waits, which exits with 1.
 * program: for texts. pidfile: NULL: none; user: NULL: stay who we are (the group is not changed, as it never was). */
void daemon_start(struct daemon *d, const char *program, const char *pidfile, const char *user);

/* The configuration has been loaded: the process that waits exits with 0. Harmless when not a daemon. */
void daemon_started(struct daemon *d);
/* The start has failed: that process prints `<program>: <text>` and exits with 1. When not a daemon, prints it itself.
 */
void daemon_failed(struct daemon *d, const char *program, const char *text);

#endif
