/* qdrouterd: options, and the order of start and stop.
 *
 *   1. options; signals are blocked, to be read from the loop later; a daemon leaves its terminal
 *   2. log, Python
 *   3. --check: the file is checked, and that is all
 *   4. the control loop turns. In its first turn the configuration is carried out (management_start), which makes the
 *      router, its workers, rules, connectors and listeners, in this order
 *   5. SIGTERM, SIGQUIT or SIGINT: the loop ends; listeners, connections, workers, in this order; then Python, the log
 * If anything up to 4 fails: one line on stderr, the same in the log, status 1.
 */
#include <errno.h>
#include <limits.h>
#include <router/daemon.h>
#include <router/mgmt/apply.h>
#include <router/mgmt/interpreter.h>
#include <router/mgmt/management.h>
#include <router/mgmt/query.h>
#include <router/options.h>
#include <router/route/request.h>
#include <router/route/router.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/clock.h>
#include <trunkline/base/lock.h>
#include <trunkline/base/log.h>
#include <trunkline/base/memory.h>
#include <trunkline/base/timer.h>
#include <trunkline/io/loop.h>
#include <unistd.h>

enum { STUCK_AFTER_MS = 10000, STUCK_AFTER_MS_TEST_HOOKS = 3000 };

/* The process. Control's. */
static struct {
    const char *program; /* argv[0] */
    char *executable;    /* where it is */
    char *directory;     /* and in which directory */
    char *config;        /* path of the file */
    struct options options;
    struct daemon daemon;
    struct loop *loop;
    struct letter start;
    struct loop_watch signals;
    struct timer trim;
    int end_signal; /* what ended it; 0: nothing yet */
    bool failed;
} process = {.daemon = {.report = -1}};

/* ---- failure ---- */

static void fail(const char *text)
{
    process.failed = true;
    LOG(ERROR, ERROR_LEVEL, "%s", text);
    LOG(MAIN, CRITICAL, "Router start-up failed: %s", text);
    daemon_failed(&process.daemon, process.program, text);
}

/* ---- signals ---- */

static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGQUIT);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    /* A peer that has gone is an error of write(), nothing more. */
    signal(SIGPIPE, SIG_IGN);
}

/* The first signal that ends us is the last one read: the others stay blocked. */
static void on_signal(struct loop_watch *w, uint32_t events)
{
    (void)events;
    struct signalfd_siginfo got;
    if (read(w->fd, &got, sizeof got) != (ssize_t)sizeof got)
        return;
    if (got.ssi_signo == SIGHUP) {
        LOG(SERVER, NOTICE, "SIGHUP is ignored: there is no reload; logs and configuration change by management");
        return;
    }
    process.end_signal = (int)got.ssi_signo;
    loop_watch_remove(process.loop, w);
    loop_stop(process.loop);
}

static enum err watch_signals(const sigset_t *set)
{
    int fd = signalfd(-1, set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        return ERR_SYSTEM;
    process.signals = (struct loop_watch)LOOP_WATCH_INIT(on_signal);
    return loop_watch_add(process.loop, &process.signals, fd, EPOLLIN);
}

/* ---- what the log says at start ---- */

static void put_size(double octets, char *out, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t i = 0;
    while (octets >= 1024 && i < sizeof units / sizeof *units - 1) {
        octets /= 1024;
        i++;
    }
    snprintf(out, size, "%.2f %s", octets, units[i]);
}

/* Virtual size in pages; 0: the system does not say. */
static unsigned long long virtual_pages(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f != NULL && fscanf(f, "%llu", &pages) != 1)
        pages = 0;
    if (f != NULL)
        fclose(f);
    return pages;
}

static void log_operational(void) ON_CONTROL
{
    char used[32], available[32];
    double page = (double)sysconf(_SC_PAGESIZE);
    put_size((double)virtual_pages() * page, used, sizeof used);
    put_size((double)sysconf(_SC_PHYS_PAGES) * page, available, sizeof available);
    LOG(SERVER, NOTICE, "Operational, %d Threads Running (process ID %d)", apply_worker_threads(), (int)getpid());
    LOG(SERVER, NOTICE, "Process VmSize %s (%s available memory)", used, available);
}

/* ---- start ---- */

/* The first turn of the loop. */
static void on_start(struct letter *l)
{
    (void)l;
    assert_on_control();
    char why[4096];
    request_serve(management_on_request);
    if (management_start(process.config, why, sizeof why) != OK) {
        fail(why);
        loop_stop(process.loop);
        return;
    }
    log_operational();
    daemon_started(&process.daemon);
    management_warm_up();
}

/* What bursts of clients have left free. */
static void on_trim(struct timer *t)
{
    enum { TRIM_EACH_MS = 10000 };
    memory_trim();
    loop_timer_after(process.loop, t, TRIM_EACH_MS);
}

/* As many descriptors as we may have: each connection is one. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            LOG(MAIN, WARNING, "Cannot raise the limit of open files: %s", strerror(errno));
    }
}

/* What only a daemon does with its options. */
static void warn_of_idle_options(void)
{
    if (!process.options.daemon && (process.options.pidfile != NULL || process.options.user != NULL))
        LOG(MAIN, WARNING, "--pidfile and --user have no effect without --daemon");
}

static void run(const sigset_t *signals) ON_CONTROL
{
    if (loop_new(true, &process.loop) != OK || watch_signals(signals) != OK) {
        fail("System: no descriptors left for the event loop");
        return;
    }
    query_configure(&(struct query_conf){
        .started = clock_mono_ms(),
        .stuck_age = process.options.test_hooks ? STUCK_AFTER_MS_TEST_HOOKS : STUCK_AFTER_MS,
    });
    apply_use_loop(process.loop);
    process.start = (struct letter)LETTER_INIT(on_start);
    loop_post(process.loop, &process.start);
    timer_init(&process.trim, on_trim);
    on_trim(&process.trim);
    loop_run(process.loop);
    timer_cancel(&process.trim);
    management_stop();
    if (apply_has_router())
        router_stop();
    loop_watch_remove(process.loop, &process.signals);
    loop_free(&process.loop);
    if (!process.failed)
        LOG(SERVER, NOTICE, "Shut Down");
}

static bool start_python(void) ON_CONTROL
{
    char why[1024];
    char *library = xasprintf("%s/../lib/trunkline/python", process.directory);
    enum err e = interpreter_start(process.executable, library, why, sizeof why);
    free(library);
    if (e != OK)
        fail(why);
    return e == OK;
}

static int control(const sigset_t *signals)
{
    thread_become_control();
    bool valid = true;
    if (start_python()) {
        if (process.options.check)
            valid = management_check(process.config, stderr) == OK;
        else
            run(signals);
    }
    interpreter_stop();
    thread_leave_control();
    return process.failed || !valid ? 1 : 0;
}

static void find_executable(void)
{
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    path[len < 0 ? 0 : len] = '\0';
    process.executable = xstrdup(path);
    char *slash = strrchr(path, '/');
    process.directory = slash == NULL ? xstrdup(".") : xstrndup(path, (size_t)(slash - path));
}

/* Die of the signal that ended us, so that a shell that waits sees it. */
static void end_by_signal(int number)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    signal(number, SIG_DFL);
    raise(number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
    switch (options_parse(argc, argv, &process.options, stdout, stderr)) {
    case OPTIONS_DONE:
        return 0;
    case OPTIONS_WRONG:
        return 1;
    case OPTIONS_RUN:
        break;
    }
    process.program = argv[0];
    find_executable();
    process.config = options_config_path(&process.options, process.directory);
    sigset_t signals;
    block_signals(&signals);
    if (process.options.daemon && !process.options.check)
        daemon_start(&process.daemon, process.program, process.options.pidfile, process.options.user);
    log_init();
    warn_of_idle_options();
    raise_file_limit();
    int status = control(&signals);
    log_fini();
    free(process.config);
    free(process.directory);
    free(process.executable);
    if (process.end_signal == SIGINT)
        end_by_signal(SIGINT);
    return status;
}
