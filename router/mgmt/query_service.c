/* What serves the router beside its messages: the log's counters, connectors, policy; and kinds without objects. */
#include "query_priv.h"

#include <router/route/router.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/log.h>

/* ---- logStats ---- */

/* The object of a row is the module's place in this array. */
static const char log_modules[LOG_MODULE_COUNT];

static enum log_module log_module_of(const void *object)
{
    return (enum log_module)((const char *)object - log_modules);
}

static PyObject *log_name(const void *object, const struct asked *q)
{
    (void)q;
    return query_text(log_module_name(log_module_of(object)));
}

#define LOG_COLUMNS(X)                                                                                                 \
    X(traceCount, LOG_LEVEL_TRACE)                                                                                     \
    X(debugCount, LOG_LEVEL_DEBUG)                                                                                     \
    X(infoCount, LOG_LEVEL_INFO)                                                                                       \
    X(noticeCount, LOG_LEVEL_NOTICE)                                                                                   \
    X(warningCount, LOG_LEVEL_WARNING)                                                                                 \
    X(errorCount, LOG_LEVEL_ERROR_LEVEL)                                                                               \
    X(criticalCount, LOG_LEVEL_CRITICAL)

#define X(column, level)                                                                                               \
    static PyObject *log_##column(const void *object, const struct asked *q)                                           \
    {                                                                                                                  \
        (void)q;                                                                                                       \
        return query_number(log_count(log_module_of(object), level));                                                  \
    }
LOG_COLUMNS(X)
#undef X

static const struct column log_columns[] = {{"name", log_name},
#define X(column, level) {#column, log_##column},
                                            LOG_COLUMNS(X)
#undef X
};

static void begin_at_zero(struct walk *w)
{
    w->index = 0;
}

static const void *log_next(struct walk *w)
{
    return w->index < LOG_MODULE_COUNT ? &log_modules[w->index++] : NULL;
}

static const void *log_find(const char *identity)
{
    enum log_module m;
    return log_module_by_name(identity, &m) ? &log_modules[m] : NULL;
}

const struct kind query_kind_log = {"logStats", COLUMNS(log_columns), .begin = begin_at_zero, .next = log_next,
                                    .find = log_find};

/* ---- connectors: what Python does not know of them ---- */

static struct {
    struct connector_status now; /* of the one that find() found last */
} connector;

static const void *connector_find(const char *identity)
{
    assert_on_control();
    free(connector.now.urls);
    connector.now.urls = NULL;
    return router_connector_status(identity, &connector.now) == OK ? &connector.now : NULL;
}

static PyObject *connector_urls(const void *object, const struct asked *q)
{
    (void)q;
    return query_text(((const struct connector_status *)object)->urls);
}

static PyObject *connector_status_text(const void *object, const struct asked *q)
{
    (void)q;
    return query_text(((const struct connector_status *)object)->status);
}

static PyObject *connector_message(const void *object, const struct asked *q)
{
    (void)q;
    return query_text(((const struct connector_status *)object)->message);
}

static const struct column connector_columns[] = {
    {"failoverUrls", connector_urls},
    {"connectionStatus", connector_status_text},
    {"connectionMsg", connector_message},
};

const struct kind query_kind_connector = {"connector", COLUMNS(connector_columns), .find = connector_find};

/* ---- policy: the one limit of this version is that of connections ---- */

static struct router_connection_counts policy_counts;

static const void *policy_find(const char *identity)
{
    assert_on_control();
    if (strcmp(identity, "policy/None") != 0)
        return NULL;
    router_connection_counts(&policy_counts);
    return &policy_counts;
}

#define POLICY_COLUMNS(X)                                                                                              \
    X(connectionsProcessed, o->processed)                                                                              \
    X(connectionsDenied, o->denied)                                                                                    \
    X(connectionsCurrent, o->current)                                                                                  \
    X(linksDenied, 0)                                                                                                  \
    X(maxMessageSizeDenied, 0)                                                                                         \
    X(totalDenials, o->denied)

#define X(column, count)                                                                                               \
    static PyObject *policy_##column(const void *object, const struct asked *q)                                        \
    {                                                                                                                  \
        (void)q;                                                                                                       \
        const struct router_connection_counts *o = object;                                                             \
        (void)o;                                                                                                       \
        return query_number(count);                                                                                    \
    }
POLICY_COLUMNS(X)
#undef X

static const struct column policy_columns[] = {
#define X(column, count) {#column, policy_##column},
    POLICY_COLUMNS(X)
#undef X
};

const struct kind query_kind_policy = {"policy", COLUMNS(policy_columns), .find = policy_find};

/* ---- kinds that have no objects on this router ---- */

static const void *nothing_next(struct walk *w)
{
    (void)w;
    return NULL;
}

static const void *nothing_find(const char *identity)
{
    (void)identity;
    return NULL;
}

static PyObject *never(const void *object, const struct asked *q)
{
    (void)object;
    (void)q;
    return query_none();
}

/* Memory comes from the system's allocator: there are no pools to show. */
static const struct column allocator_columns[] = {
    {"typeName", never},
    {"typeSize", never},
    {"transferBatchSize", never},
    {"localFreeListMax", never},
    {"globalFreeListMax", never},
    {"totalAllocFromHeap", never},
    {"totalFreeToHeap", never},
    {"heldByThreads", never},
    {"batchesRebalancedToThreads", never},
    {"batchesRebalancedToGlobal", never},
};
const struct kind query_kind_allocator = {"allocator", COLUMNS(allocator_columns), .begin = begin_at_zero,
                                          .next = nothing_next, .find = nothing_find};
