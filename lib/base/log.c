#include <trunkline/base/log.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/lock.h>

/* One line goes like this: the text is made on the stack; under the lock the entry is kept, and target and switches are
 * read; outside it the line goes out as a single write(2). A file opened for append takes each write whole, so threads
 * that log at the same time need no lock of ours, and a slow disk holds up only those that write to it.
 */

#define TEXT_MAX 2047
#define KEPT_MAX 1000
#define DEFAULT_TIMESTAMP "%Y-%m-%d %H:%M:%S.%%06lu %z"

/* Where lines go; shared by all modules that name it. */
struct sink {
    struct sink *next;
    char *name;
    int fd; /* -1: syslog */
    bool owns_fd;
    unsigned refs; /* under the lock: settings and lines being written */
};

/* An entry of the ring; counted under the lock, never changed. */
struct kept {
    unsigned refs;
    enum log_module module;
    enum log_level level;
    int line; /* -1 and file_at 0: without source */
    wall_us time;
    size_t file_at; /* in chars */
    char chars[];   /* text, then file */
};

struct setting {
    int64_t mask;
    int include_timestamp, include_source;
    struct sink *sink; /* counted */
};

_Atomic uint32_t log_masks[LOG_MODULE_COUNT];
static _Atomic uint64_t counts[LOG_MODULE_COUNT][LOG_LEVEL_COUNT];

static struct lock lock = LOCK_INIT;
/* Under the lock. A setting of another module than DEFAULT has -1 or NULL where it inherits. */
static struct setting settings[LOG_MODULE_COUNT];
static struct sink *sinks;
static struct kept *ring[KEPT_MAX];
static size_t ring_next, ring_count;
static char *timestamp_format; /* NULL: the default */
static bool timestamp_utc;

static const char *const module_names[] = {
#define X(m) [LOG_##m] = #m,
    LOG_MODULES(X)
#undef X
};
static const char *const level_names[] = {
#define X(l, text) [LOG_LEVEL_##l] = text,
    LOG_LEVELS(X)
#undef X
};
static const int syslog_levels[] = {
    [LOG_LEVEL_TRACE] = LOG_DEBUG,   [LOG_LEVEL_DEBUG] = LOG_DEBUG,     [LOG_LEVEL_INFO] = LOG_INFO,
    [LOG_LEVEL_NOTICE] = LOG_NOTICE, [LOG_LEVEL_WARNING] = LOG_WARNING, [LOG_LEVEL_ERROR_LEVEL] = LOG_ERR,
    [LOG_LEVEL_CRITICAL] = LOG_CRIT,
};

const char *log_module_name(enum log_module m)
{
    return module_names[m];
}

const char *log_level_name(enum log_level l)
{
    return level_names[l];
}

bool log_module_by_name(const char *name, enum log_module *m)
{
    for (int i = 0; i < LOG_MODULE_COUNT; i++)
        if (strcmp(name, module_names[i]) == 0) {
            *m = i;
            return true;
        }
    return false;
}

uint64_t log_count(enum log_module m, enum log_level l)
{
    return atomic_load_explicit(&counts[m][l], memory_order_relaxed);
}

/* --- targets --- */

/* A new target, count 1, not yet in the list. Errors: ERR_SYSTEM, the file cannot be opened. */
static enum err sink_open(const char *name, struct sink **out)
{
    struct sink s = {.fd = -1, .refs = 1};
    if (strcmp(name, "stderr") == 0) {
        s.fd = STDERR_FILENO;
    } else if (strcmp(name, "stdout") == 0) {
        s.fd = STDOUT_FILENO;
    } else if (strcmp(name, "syslog") == 0) {
        openlog(NULL, 0, LOG_DAEMON);
    } else {
        s.fd = open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
        s.owns_fd = true;
        if (s.fd < 0)
            return ERR_SYSTEM;
    }
    s.name = xstrdup(name);
    *out = xmalloc(sizeof s);
    **out = s;
    return OK;
}

static void sink_free(struct sink *s)
{
    if (s == NULL)
        return;
    if (s->owns_fd)
        close(s->fd);
    free(s->name);
    free(s);
}

/* Put a new target into the list, or take the one of that name that is there.
 *   Result: the one to use, counted; *unused: the other, to be freed, or NULL. */
static struct sink *sink_share(struct sink *fresh, struct sink **unused) REQUIRES(lock)
{
    *unused = NULL;
    if (fresh == NULL)
        return NULL;
    for (struct sink *s = sinks; s; s = s->next)
        if (strcmp(s->name, fresh->name) == 0) {
            s->refs++;
            *unused = fresh;
            return s;
        }
    fresh->next = sinks;
    sinks = fresh;
    return fresh;
}

/* Result: to be freed outside the lock, or NULL. */
static struct sink *sink_put(struct sink *s) REQUIRES(lock)
{
    if (s == NULL || --s->refs > 0)
        return NULL;
    struct sink **at = &sinks;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    return s;
}

/* A log that loses lines misleads whoever reads it later, so the process ends, as it always has. Without exit handlers:
 * other threads are running. */
_Noreturn static void sink_has_failed(const struct sink *s)
{
    char line[512];
    int n = snprintf(line, sizeof line, "Cannot write log output to %s: %s\n", s->name, strerror(errno));
    if (n > 0 && write(STDERR_FILENO, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1) < 0)
        _exit(1);
    _exit(1);
}

/* Write all of it. Somebody may have made our terminal or pipe non-blocking: then wait for it. */
static void sink_write(const struct sink *s, const char *line, size_t n)
{
    while (n) {
        ssize_t written = write(s->fd, line, n);
        if (written >= 0) {
            line += written;
            n -= (size_t)written;
        } else if (errno == EAGAIN) {
            struct pollfd pfd = {.fd = s->fd, .events = POLLOUT};
            poll(&pfd, 1, -1);
        } else if (errno != EINTR) {
            sink_has_failed(s);
        }
    }
}

/* --- timestamps --- */

/* Copy the conversion that begins at `%` in `from`, with us in place of its argument. The format is the user's, so it
 * never reaches printf: an integer conversion is taken apart here, and anything else is copied as it stands. Result:
 * octets of `from` used. */
static size_t expand_conversion(const char *from, unsigned long us, char *out, size_t room, size_t *len)
{
    size_t i = 1;
    if (from[i] == '%') {
        *len = (size_t)snprintf(out, room, "%%");
        return 2;
    }
    bool zero = false;
    for (; from[i] && strchr("0-+ #'", from[i]); i++)
        zero |= from[i] == '0';
    unsigned width = 0;
    for (; from[i] >= '0' && from[i] <= '9'; i++)
        width = width < 20 ? width * 10 + (unsigned)(from[i] - '0') : width;
    width = width < 20 ? width : 20;
    while (from[i] && strchr("lhzjt", from[i]))
        i++;
    if (from[i] == '\0' || strchr("diu", from[i]) == NULL) {
        *len = (size_t)snprintf(out, room, "%%");
        return 1;
    }
    *len = (size_t)snprintf(out, room, zero ? "%0*lu" : "%*lu", (int)width, us);
    return i + 1;
}

/* What printf(format, us) would print. */
static void expand_microseconds(const char *format, unsigned long us, char *out, size_t size)
{
    size_t used = 0;
    while (*format && used + 1 < size) {
        if (*format != '%') {
            out[used++] = *format++;
            continue;
        }
        size_t len;
        format += expand_conversion(format, us, out + used, size - used, &len);
        used += len;
    }
    out[used < size ? used : size - 1] = '\0';
}

static void format_timestamp(wall_us now, char *out, size_t size) REQUIRES(lock)
{
    time_t second = now / 1000000;
    struct tm tm;
    if (timestamp_utc)
        gmtime_r(&second, &tm);
    else
        localtime_r(&second, &tm);
    char expanded[256];
    const char *format = timestamp_format ? timestamp_format : DEFAULT_TIMESTAMP;
    /* 0: nothing to print, or more than has room; neither is a reason to lose the line. */
    if (strftime(expanded, sizeof expanded, format, &tm) == 0)
        expanded[0] = '\0';
    expand_microseconds(expanded, (unsigned long)(now % 1000000), out, size);
}

void log_set_timestamp(const char *format, bool utc)
{
    char *copy = format ? xstrdup(format) : NULL;
    lock_take(&lock);
    char *old = timestamp_format;
    timestamp_format = copy;
    timestamp_utc = utc;
    lock_drop(&lock);
    free(old);
}

/* --- the kept entries --- */

static struct kept *kept_new(enum log_module m, enum log_level l, const char *text, const char *file, int line,
                             wall_us now)
{
    size_t text_size = strlen(text) + 1, file_size = file ? strlen(file) + 1 : 0;
    struct kept *k = xmalloc(sizeof *k + text_size + file_size);
    *k = (struct kept){.refs = 1, .module = m, .level = l, .line = line, .time = now, .file_at = file ? text_size : 0};
    memcpy(k->chars, text, text_size);
    if (file)
        memcpy(k->chars + text_size, file, file_size);
    return k;
}

/* Result: to be freed outside the lock, or NULL. */
static struct kept *kept_put(struct kept *k) REQUIRES(lock)
{
    return k && --k->refs == 0 ? k : NULL;
}

/* Result: the entry that fell out, to be freed. */
static struct kept *ring_add(struct kept *k) REQUIRES(lock)
{
    struct kept *old = kept_put(ring[ring_next]);
    ring[ring_next] = k;
    ring_next = (ring_next + 1) % KEPT_MAX;
    if (ring_count < KEPT_MAX)
        ring_count++;
    return old;
}

static void kept_show(const struct kept *k, log_entry_fn *fn, void *arg)
{
    struct log_entry e = {
        .module = k->module,
        .level = k->level,
        .text = k->chars,
        .file = k->file_at ? k->chars + k->file_at : NULL,
        .line = k->line,
        .time = k->time,
    };
    fn(&e, arg);
}

void log_recent(size_t limit, log_entry_fn *fn, void *arg)
{
    struct kept *found[KEPT_MAX];
    lock_take(&lock);
    size_t n = limit && limit < ring_count ? limit : ring_count;
    for (size_t i = 0; i < n; i++) {
        found[i] = ring[(ring_next + KEPT_MAX - n + i) % KEPT_MAX];
        found[i]->refs++;
    }
    lock_drop(&lock);
    for (size_t i = 0; i < n; i++) {
        kept_show(found[i], fn, arg);
        lock_take(&lock);
        struct kept *unused = kept_put(found[i]);
        lock_drop(&lock);
        free(unused);
    }
}

/* --- writing --- */

struct route {
    struct sink *sink; /* counted */
    bool source;
    char timestamp[256]; /* empty: none */
};

static void route_find(struct route *r, enum log_module m, wall_us now) REQUIRES(lock)
{
    const struct setting *own = &settings[m], *base = &settings[LOG_DEFAULT];
    int wants_time = own->include_timestamp >= 0 ? own->include_timestamp : base->include_timestamp;
    r->source = (own->include_source >= 0 ? own->include_source : base->include_source) > 0;
    r->sink = own->sink ? own->sink : base->sink;
    if (r->sink)
        r->sink->refs++;
    r->timestamp[0] = '\0';
    if (wants_time > 0 && r->sink && r->sink->fd >= 0)
        format_timestamp(now, r->timestamp, sizeof r->timestamp);
}

static void write_line(const struct route *r, enum log_module m, enum log_level l, const char *text, const char *file,
                       int line)
{
    char source[512] = "", out[sizeof r->timestamp + sizeof source + TEXT_MAX + 64];
    if (r->source && file)
        snprintf(source, sizeof source, " (%s:%d)", file, line);
    int n = snprintf(out, sizeof out, "%s%s%s (%s) %s%s\n", r->timestamp, r->timestamp[0] ? " " : "", module_names[m],
                     level_names[l], text, source);
    ASSERT(n > 0 && (size_t)n < sizeof out);
    if (r->sink->fd < 0)
        syslog(syslog_levels[l], "%.*s", n - 1, out);
    else
        sink_write(r->sink, out, (size_t)n);
}

static void write_enabled(enum log_module m, enum log_level l, const char *file, int line, const char *format,
                          va_list args) __attribute__((format(printf, 5, 0)));

static void write_enabled(enum log_module m, enum log_level l, const char *file, int line, const char *format,
                          va_list args)
{
    int saved_errno = errno;
    char text[TEXT_MAX + 1];
    if (vsnprintf(text, sizeof text, format, args) < 0)
        text[0] = '\0';
    wall_us now = clock_wall_us();
    struct kept *k = kept_new(m, l, text, file, line, now);
    struct route r;
    lock_take(&lock);
    route_find(&r, m, now);
    struct kept *old = ring_add(k);
    lock_drop(&lock);
    free(old);
    if (r.sink) {
        write_line(&r, m, l, text, file, line);
        lock_take(&lock);
        struct sink *unused = sink_put(r.sink);
        lock_drop(&lock);
        sink_free(unused);
    }
    errno = saved_errno;
}

void log_write(enum log_module m, enum log_level l, const char *file, int line, const char *format, ...)
{
    /* Relaxed: statistics. */
    atomic_fetch_add_explicit(&counts[m][l], 1, memory_order_relaxed);
    if (!log_enabled(m, l))
        return;
    va_list args;
    va_start(args, format);
    write_enabled(m, l, file, line, format, args);
    va_end(args);
}

void log_write_anyway(enum log_module m, enum log_level l, const char *file, int line, const char *format, ...)
{
    atomic_fetch_add_explicit(&counts[m][l], 1, memory_order_relaxed);
    va_list args;
    va_start(args, format);
    write_enabled(m, l, file, line, format, args);
    va_end(args);
}

bool log_limit_pass(struct log_limit *limit, uint32_t burst, uint32_t *left_out)
{
    *left_out = 0;
    int64_t now = clock_mono_ms() / 1000;
    /* Relaxed: two threads at the turn of a second may let a line more pass, no more than that. */
    int64_t then = atomic_load_explicit(&limit->second, memory_order_relaxed);
    if (then != now && atomic_compare_exchange_strong_explicit(&limit->second, &then, now, memory_order_relaxed,
                                                               memory_order_relaxed)) {
        uint32_t seen = atomic_exchange_explicit(&limit->count, 1, memory_order_relaxed);
        *left_out = seen > burst ? seen - burst : 0;
        return true;
    }
    return atomic_fetch_add_explicit(&limit->count, 1, memory_order_relaxed) < burst;
}

/* --- settings --- */

static void refresh_masks(void) REQUIRES(lock)
{
    for (int i = 0; i < LOG_MODULE_COUNT; i++) {
        int64_t mask = settings[i].mask >= 0 ? settings[i].mask : settings[LOG_DEFAULT].mask;
        atomic_store_explicit(&log_masks[i], (uint32_t)mask, memory_order_relaxed);
    }
}

static const struct setting inherit_all = {.mask = -1, .include_timestamp = -1, .include_source = -1};

/* What DEFAULT leaves unset has nobody to inherit from: it stays as it is. */
static void keep_unset(struct setting *new, const struct setting *old) REQUIRES(lock)
{
    if (new->mask < 0)
        new->mask = old->mask;
    if (new->include_timestamp < 0)
        new->include_timestamp = old->include_timestamp;
    if (new->include_source < 0)
        new->include_source = old->include_source;
    if (new->sink == NULL && old->sink) {
        new->sink = old->sink;
        new->sink->refs++;
    }
}

enum err log_configure(enum log_module m, const struct log_setting *s)
{
    struct sink *fresh = NULL, *unused, *unused_too;
    if (s->output_file) {
        enum err e = sink_open(s->output_file, &fresh);
        if (e != OK)
            return e;
    }
    lock_take(&lock);
    struct setting new = {s->mask, s->include_timestamp, s->include_source, sink_share(fresh, &unused)};
    if (m == LOG_DEFAULT)
        keep_unset(&new, &settings[m]);
    struct sink *old = settings[m].sink;
    settings[m] = new;
    unused_too = sink_put(old);
    refresh_masks();
    lock_drop(&lock);
    sink_free(unused);
    sink_free(unused_too);
    return OK;
}

void log_init(void)
{
    struct sink *fresh, *unused;
    enum err e = sink_open("stderr", &fresh);
    ASSERT(e == OK);
    const uint32_t info_and_higher = (1u << LOG_LEVEL_COUNT) - (1u << LOG_LEVEL_INFO);
    lock_take(&lock);
    for (int i = 0; i < LOG_MODULE_COUNT; i++)
        settings[i] = inherit_all;
    settings[LOG_DEFAULT] = (struct setting){.mask = info_and_higher, .include_timestamp = 1, .include_source = 0};
    settings[LOG_DEFAULT].sink = sink_share(fresh, &unused);
    refresh_masks();
    lock_drop(&lock);
    sink_free(unused);
}

void log_fini(void)
{
    log_set_timestamp(NULL, false);
    lock_take(&lock);
    for (int i = 0; i < LOG_MODULE_COUNT; i++) {
        sink_free(sink_put(settings[i].sink));
        settings[i] = (struct setting){0};
    }
    refresh_masks();
    for (size_t i = 0; i < KEPT_MAX; i++) {
        free(kept_put(ring[i]));
        ring[i] = NULL;
    }
    ring_next = ring_count = 0;
    lock_drop(&lock);
}
