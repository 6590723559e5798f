/* log.h -- the log: modules, levels, targets and line format of Qpid Dispatch (management reference section 8).
 *
 * Lines:  <timestamp> <MODULE> (<level>) <text>[ (<file>:<line>)]
 * The last 1000 entries are kept for GET-LOG. A level test is one relaxed load, so disabled lines cost nothing.
 * Thread: any; settings change at run time from control.
 */
#ifndef TRUNKLINE_BASE_LOG_H
#define TRUNKLINE_BASE_LOG_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trunkline/base/clock.h>
#include <trunkline/base/err.h>

/* clang-format off */
#define LOG_MODULES(X) \
    X(ROUTER) X(ROUTER_CORE) X(ROUTER_HELLO) X(ROUTER_LS) X(ROUTER_MA) X(MESSAGE) \
    X(SERVER) X(AGENT) X(AUTHSERVICE) X(CONTAINER) X(ERROR) X(POLICY) \
    X(HTTP) X(CONN_MGR) X(PYTHON) X(PROTOCOL) X(MAIN) X(DISPLAYNAME) \
    X(DEFAULT)
/* clang-format on */

enum log_module {
#define X(m) LOG_##m,
    LOG_MODULES(X)
#undef X
        LOG_MODULE_COUNT
};

/* Levels from low to high; a mask has bit 1 << level. */
/* clang-format off */
#define LOG_LEVELS(X)                                                                                                  \
    X(TRACE, "trace")                                                                                                  \
    X(DEBUG, "debug")                                                                                                  \
    X(INFO, "info")                                                                                                    \
    X(NOTICE, "notice")                                                                                                \
    X(WARNING, "warning")                                                                                              \
    X(ERROR_LEVEL, "error")                                                                                            \
    X(CRITICAL, "critical")
/* clang-format on */

enum log_level {
#define X(l, text) LOG_LEVEL_##l,
    LOG_LEVELS(X)
#undef X
        LOG_LEVEL_COUNT
};

extern _Atomic uint32_t log_masks[LOG_MODULE_COUNT]; /* effective masks; relaxed: a late change costs a line, no more */

static inline bool log_enabled(enum log_module m, enum log_level l)
{
    return (atomic_load_explicit(&log_masks[m], memory_order_relaxed) >> l) & 1;
}

/* Write one line if enabled; counts it either way (logStats). Text is cut at 2047 octets.
 * Ends the process with status 1 when a log file cannot be written (reference 8.3). */
void log_write(enum log_module m, enum log_level l, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* The same whatever the module's levels are: for what somebody asked to see. */
void log_write_anyway(enum log_module m, enum log_level l, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#define LOG(module, level, ...) log_write(LOG_##module, LOG_LEVEL_##level, __FILE__, __LINE__, __VA_ARGS__)
/* For lines whose arguments cost something, or on busy paths. */
#define LOG_IF(module, level, ...)                                                                                     \
    do {                                                                                                               \
        if (log_enabled(LOG_##module, LOG_LEVEL_##level))                                                              \
            LOG(module, level, __VA_ARGS__);                                                                           \
    } while (0)

/* What a peer can provoke is logged at most `burst` times a second for each place in the code; the next line says how
 * many were left out. */
struct log_limit {
    _Atomic int64_t second;
    _Atomic uint32_t count;
};
bool log_limit_pass(struct log_limit *limit, uint32_t burst, uint32_t *left_out);
#define LOG_PEER(module, level, ...)                                                                                   \
    do {                                                                                                               \
        static struct log_limit limit_here;                                                                            \
        uint32_t left_out_here = 0;                                                                                    \
        if (log_limit_pass(&limit_here, 20, &left_out_here)) {                                                         \
            if (left_out_here)                                                                                         \
                LOG(module, level, "%u similar lines were left out in the last second", left_out_here);                \
            LOG(module, level, __VA_ARGS__);                                                                           \
        }                                                                                                              \
    } while (0)

/* Settings of one module; a negative or NULL member means: as DEFAULT has it. */
struct log_setting {
    int64_t mask;            /* levels, or -1 */
    int include_timestamp;   /* 0, 1, -1 */
    int include_source;      /* 0, 1, -1 */
    const char *output_file; /* "stderr", "stdout", "syslog" or a path; NULL */
};

/* Start with DEFAULT at info+ to stderr. Call once, before any thread. */
void log_init(void);
void log_fini(void);

/* Apply s to module m and, for DEFAULT, to all that inherit.
 *   Errors: ERR_SYSTEM, the file cannot be opened (nothing changes). */
enum err log_configure(enum log_module m, const struct log_setting *s);

/* strftime format with %%06lu for microseconds, NULL for the default; utc: gmtime instead of local time. */
void log_set_timestamp(const char *format, bool utc);

const char *log_module_name(enum log_module m);
const char *log_level_name(enum log_level l);
bool log_module_by_name(const char *name, enum log_module *m);

/* One kept entry; strings are copies that the callback may use until it returns. */
struct log_entry {
    enum log_module module;
    enum log_level level;
    const char *text, *file;
    int line;
    wall_us time;
};
typedef void log_entry_fn(const struct log_entry *e, void *arg);
/* Call fn for the `limit` most recent entries (0: all), oldest first. */
void log_recent(size_t limit, log_entry_fn *fn, void *arg);

/* Lines counted for module m at level l, written or suppressed. */
uint64_t log_count(enum log_module m, enum log_level l);

#endif
