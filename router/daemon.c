#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <trunkline/base/alloc.h>
#include <unistd.h>

static const char all_is_well[] = "ok";

/* The pipe holds a whole message (PIPE_BUF), so one write is enough; if the reader has died nobody can be told. */
static void report(struct daemon *d, const char *text)
{
    ssize_t written = write(d->report, text, strlen(text));
    (void)written;
    close(d->report);
    d->report = -1;
}

void daemon_started(struct daemon *d)
{
    if (d->report >= 0)
        report(d, all_is_well);
}

void daemon_failed(struct daemon *d, const char *program, const char *text)
{
    if (d->report >= 0)
        report(d, text);
    else
        fprintf(stderr, "%s: %s\n", program, text);
}

/* All that comes through the pipe until its other end is closed. */
static size_t read_report(int fd, char *text, size_t size)
{
    size_t len = 0;
    ssize_t n;
    while (len < size - 1 && ((n = read(fd, text + len, size - 1 - len)) > 0 || (n < 0 && errno == EINTR)))
        len += n > 0 ? (size_t)n : 0;
    text[len] = '\0';
    return len;
}

_Noreturn static void wait_for_report(int fd, pid_t child, const char *program)
{
    char text[4096];
    size_t len = read_report(fd, text, sizeof text);
    /* It ended as soon as it had forked. */
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (strcmp(text, all_is_well) == 0)
        _exit(0);
    fprintf(stderr, "%s: %s\n", program, len > 0 ? text : "the daemon ended before it had started");
    _exit(1);
}

/* Why the daemon cannot be; said, and the end of it. */
_Noreturn static void give_up_because(struct daemon *d, const char *program, const char *what, const char *which,
                                      const char *why)
{
    char *text = xasprintf("Cannot %s%s: %s", what, which, why);
    daemon_failed(d, program, text);
    _exit(1);
}

_Noreturn static void give_up(struct daemon *d, const char *program, const char *what, const char *which)
{
    give_up_because(d, program, what, which, strerror(errno));
}

static void leave_terminal(struct daemon *d, const char *program)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        give_up(d, program, "open ", "/dev/null");
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (dup2(null, fd) < 0)
            give_up(d, program, "redirect standard input and output", "");
    if (null > STDERR_FILENO)
        close(null);
    umask(0);
    if (chdir("/") < 0)
        give_up(d, program, "change to directory ", "/");
}

static void write_pid(struct daemon *d, const char *program, const char *path)
{
    FILE *f = fopen(path, "we");
    if (f == NULL)
        give_up(d, program, "write pid file ", path);
    bool written = fprintf(f, "%d\n", (int)getpid()) > 0;
    if (fclose(f) != 0 || !written)
        give_up(d, program, "write pid file ", path);
}

static void become(struct daemon *d, const char *program, const char *user)
{
    errno = 0;
    const struct passwd *entry = getpwnam(user);
    if (entry == NULL && errno == 0)
        give_up_because(d, program, "become user ", user, "there is no such user");
    if (entry == NULL || setuid(entry->pw_uid) < 0)
        give_up(d, program, "become user ", user);
}

/* The child of fork(), or the end of the parent. */
static void fork_and_end_parent(struct daemon *d, const char *program)
{
    pid_t child = fork();
    if (child < 0)
        give_up(d, program, "fork", "");
    if (child > 0)
        _exit(0);
}

void daemon_start(struct daemon *d, const char *program, const char *pidfile, const char *user)
{
    int ends[2];
    d->report = -1;
    if (pipe2(ends, O_CLOEXEC) < 0)
        give_up(d, program, "make a pipe", "");
    pid_t child = fork();
    if (child < 0)
        give_up(d, program, "fork", "");
    if (child > 0) {
        close(ends[1]);
        wait_for_report(ends[0], child, program);
    }
    close(ends[0]);
    d->report = ends[1];
    if (setsid() < 0)
        give_up(d, program, "begin a session", "");
    fork_and_end_parent(d, program);
    leave_terminal(d, program);
    if (pidfile != NULL)
        write_pid(d, program, pidfile);
    if (user != NULL)
        become(d, program, user);
}
