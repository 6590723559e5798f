#include "apply.h"

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <router/mgmt/attrs.h>
#include <router/mgmt/autolink_conf.h>
#include <router/mgmt/connection_conf.h>
#include <router/mgmt/exchange_conf.h>
#include <router/mgmt/failure.h>
#include <router/mgmt/link_route_conf.h>
#include <router/mesh/mesh.h>
#include <router/route/connection.h>
#include <router/route/link_route.h>
#include <router/route/registry.h>
#include <router/route/router.h>
#include <router/route/rules.h>
#include <stdio.h>
#include <string.h>
#include <trunkline/base/log.h>

static struct {
    struct loop *loop;
    int worker_threads; /* 0: there is no router yet */
} state;

void apply_use_loop(struct loop *loop)
{
    state.loop = loop;
}

bool apply_has_router(void)
{
    return state.worker_threads > 0;
}

int apply_worker_threads(void)
{
    return state.worker_threads;
}

static PyObject *none_unless_raised(void) ON_CONTROL
{
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* ---- log ---- */

static PyObject *log_update(const char *identity, struct attrs *a)
{
    assert_on_control();
    (void)identity;
    const char *name = attrs_text(a, "module");
    struct log_setting setting = {
        .mask = attrs_int_or(a, "mask", 0, (1 << LOG_LEVEL_COUNT) - 1, -1),
        .include_timestamp = attrs_bool_or(a, "timestamp", -1),
        .include_source = attrs_bool_or(a, "source", -1),
        .output_file = attrs_text_or_null(a, "output"),
    };
    if (!attrs_ok(a))
        return NULL;
    enum log_module m;
    if (!log_module_by_name(name, &m)) {
        failure_raise(FAILURE_VALUE, "unknown log module '%s'", name);
        return NULL;
    }
    if (log_configure(m, &setting) != OK) {
        failure_raise(FAILURE_CONFIGURATION, "Failed to open log file '%s'", setting.output_file);
        return NULL;
    }
    return none_unless_raised();
}

/* ---- router ---- */

static enum distribution distribution_attr(struct attrs *a, const char *name) ON_CONTROL
{
    enum distribution d = DISTRIBUTION_BALANCED;
    const char *text = attrs_text(a, name);
    if (text != NULL && !distribution_by_text(text, &d))
        attrs_fail(a, name, "is no distribution");
    return d;
}

static enum router_mode mode_attr(struct attrs *a) ON_CONTROL
{
    static const char *const names[] = {
        [ROUTER_STANDALONE] = "standalone", [ROUTER_INTERIOR] = "interior", [ROUTER_EDGE] = "edge"};
    const char *text = attrs_text(a, "mode");
    for (int mode = 0; text && mode < (int)(sizeof names / sizeof *names); mode++)
        if (strcmp(text, names[mode]) == 0)
            return (enum router_mode)mode;
    if (text)
        attrs_fail(a, "mode", "is none of 'standalone', 'interior' and 'edge'");
    return ROUTER_STANDALONE;
}

static void log_mode(const struct router_conf *conf)
{
    if (conf->mode == ROUTER_INTERIOR)
        LOG(ROUTER, INFO, "Router started in Interior mode, area=0 id=%s", conf->id);
    else
        LOG(ROUTER, INFO, "Router started in %s mode", conf->mode == ROUTER_EDGE ? "Edge" : "Standalone");
}

static uint32_t seconds_attr(struct attrs *a, const char *name) ON_CONTROL
{
    return (uint32_t)attrs_int(a, name, 1, INT32_MAX / 1000) * 1000;
}

static void mesh_attrs(struct attrs *a, struct mesh_conf *m) ON_CONTROL
{
    mesh_conf_init(m);
    m->hello_interval = seconds_attr(a, "helloIntervalSeconds");
    m->hello_max_age = seconds_attr(a, "helloMaxAgeSeconds");
    m->ra_interval = seconds_attr(a, "raIntervalSeconds");
    m->ra_interval_flux = seconds_attr(a, "raIntervalFluxSeconds");
    m->remote_ls_max_age = seconds_attr(a, "remoteLsMaxAgeSeconds");
}

static PyObject *router_create(const char *identity, struct attrs *a)
{
    assert_on_control();
    (void)identity;
    struct router_conf conf = {
        .id = attrs_text(a, "id"),
        .mode = mode_attr(a),
        .default_distribution = distribution_attr(a, "defaultDistribution"),
        .worker_threads = (int)attrs_int(a, "workerThreads", 1, INT32_MAX),
    };
    struct mesh_conf mesh;
    if (conf.mode == ROUTER_INTERIOR) {
        mesh_attrs(a, &mesh);
        conf.mesh = &mesh;
    }
    bool utc = attrs_bool(a, "timestampsInUTC"), allows_resumable = attrs_bool(a, "allowResumableLinkRoute");
    const char *format = attrs_text_or_null(a, "timestampFormat");
    if (!attrs_ok(a))
        return NULL;
    log_set_timestamp(format, utc);
    enum err e = router_start(state.loop, &conf);
    if (e != OK) {
        failure_raise(FAILURE_SYSTEM, "Cannot start %d worker threads: %s", conf.worker_threads,
                      e == ERR_SYSTEM ? strerror(errno) : err_text(e));
        return NULL;
    }
    link_route_allow_resumable(allows_resumable);
    state.worker_threads = conf.worker_threads;
    LOG(SERVER, INFO, "Container Name: %s", conf.id);
    log_mode(&conf);
    LOG(ROUTER, INFO, "Version: %s", TRUNKLINE_VERSION);
    return none_unless_raised();
}

static PyObject *policy_create(const char *identity, struct attrs *a)
{
    assert_on_control();
    (void)identity;
    uint32_t max = (uint32_t)attrs_int(a, "maxConnections", 0, INT32_MAX);
    if (!attrs_ok(a))
        return NULL;
    router_limit_connections(max);
    return none_unless_raised();
}

/* ---- address rules ---- */

static PyObject *address_create(const char *identity, struct attrs *a)
{
    assert_on_control();
    (void)identity;
    const char *prefix = attrs_text_or_null(a, "prefix"), *pattern = attrs_text_or_null(a, "pattern");
    if (attrs_ok(a) && (prefix == NULL) == (pattern == NULL))
        attrs_fail(a, "pattern", "and prefix: one of them must be set");
    struct rule_conf conf = {
        .name = attrs_text_or_null(a, "name"),
        .text = prefix != NULL ? prefix : pattern,
        .is_prefix = prefix != NULL,
        .distribution = distribution_attr(a, "distribution"),
        .priority = (int8_t)attrs_int(a, "priority", PRIORITY_UNSET, 9),
        .ingress_phase = (uint8_t)attrs_int(a, "ingressPhase", 0, 9),
        .egress_phase = (uint8_t)attrs_int(a, "egressPhase", 0, 9),
        .fallback = attrs_bool(a, "fallback"),
    };
    if (!attrs_ok(a))
        return NULL;
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)registry_next_identity());
    conf.identity = number;
    enum err e = router_add_rule(&conf);
    if (e == OK)
        return PyUnicode_FromString(number);
    if (e == ERR_EXISTS)
        failure_raise(FAILURE_EXISTS, "Duplicate pattern '%s%s' not added to parse tree", conf.text,
                      conf.is_prefix ? "/#" : "");
    else if (e == ERR_LIMIT)
        failure_raise(FAILURE_VALUE, "'%s' has more than %d tokens", conf.text, RULE_TOKENS_MAX - 1);
    else
        failure_raise(FAILURE_VALUE, "'%s' has no token", conf.text);
    return NULL;
}

static PyObject *address_delete(const char *identity, struct attrs *a)
{
    assert_on_control();
    (void)a;
    if (router_remove_rule(identity) != OK)
        failure_raise(FAILURE_NOT_FOUND, "There is no address with identity '%s'", identity);
    return none_unless_raised();
}

/* ---- listeners and connectors ---- */

static PyObject *listener_create(const char *identity, struct attrs *a)
{
    assert_on_control();
    struct connection_settings *settings = connection_conf_listener(a);
    if (settings == NULL)
        return NULL;
    const char *host = attrs_text(a, "host"), *port = attrs_text(a, "port");
    char why[512] = "";
    enum err e = router_add_listener(identity, host, port, attrs_bool(a, "named"), settings, why, sizeof why);
    connection_settings_unref(settings);
    if (e == ERR_EXISTS)
        failure_raise(FAILURE_EXISTS, "There is a listener '%s' already", identity);
    else if (e != OK)
        failure_raise(FAILURE_SYSTEM, "Listener error on %s:%s: %s", host, port, why);
    return none_unless_raised();
}

static PyObject *listener_delete(const char *identity, struct attrs *a)
{
    assert_on_control();
    (void)a;
    if (router_remove_listener(identity) != OK)
        failure_raise(FAILURE_NOT_FOUND, "There is no listener '%s'", identity);
    return none_unless_raised();
}

static PyObject *connector_create(const char *identity, struct attrs *a)
{
    assert_on_control();
    struct connection_settings *settings = connection_conf_connector(a);
    if (settings == NULL)
        return NULL;
    enum err e = router_add_connector(identity, attrs_text(a, "host"), attrs_text(a, "port"), settings);
    connection_settings_unref(settings);
    if (e != OK)
        failure_raise(FAILURE_EXISTS, "There is a connector '%s' already", identity);
    return none_unless_raised();
}

static PyObject *connector_delete(const char *identity, struct attrs *a)
{
    assert_on_control();
    (void)a;
    if (router_remove_connector(identity) != OK)
        failure_raise(FAILURE_NOT_FOUND, "There is no connector '%s'", identity);
    return none_unless_raised();
}

/* ---- connections ---- */

static PyObject *connection_update(const char *identity, struct attrs *a)
{
    assert_on_control();
    bool is_deleted = false, is_traced = false, trace = false;
    if (attrs_has(a, "adminStatus")) {
        const char *status = attrs_text(a, "adminStatus");
        if (status != NULL && strcmp(status, "deleted") != 0)
            attrs_fail(a, "adminStatus", "is not 'deleted'");
        is_deleted = true;
    }
    if (attrs_has(a, "enableProtocolTrace")) {
        trace = attrs_bool(a, "enableProtocolTrace");
        is_traced = true;
    }
    if (!attrs_ok(a))
        return NULL;
    struct connection *c = connection_conf_find(identity);
    if (c == NULL) {
        failure_raise(FAILURE_NOT_FOUND, "There is no connection with identity '%s'", identity);
        return NULL;
    }
    if (is_traced) {
        atomic_store_explicit(&c->tracing, trace, memory_order_relaxed);
        connection_tell(c, CONNECTION_TRACE);
    }
    if (is_deleted)
        registry_delete_connection(c);
    return none_unless_raised();
}

/* ---- all ---- */

struct action {
    const char *kind, *op;
    PyObject *(*run)(const char *identity, struct attrs *a);
    bool needs_router;
};

static const struct action actions[] = {
    {"log", "update", log_update, false},
    {"router", "create", router_create, false},
    {"policy", "create", policy_create, true},
    {"address", "create", address_create, true},
    {"address", "delete", address_delete, true},
    {"linkRoute", "create", link_route_conf_create, true},
    {"linkRoute", "delete", link_route_conf_delete, true},
    {"connection.linkRoute", "create", link_route_conf_create_scoped, true},
    {"connection.linkRoute", "delete", link_route_conf_delete_scoped, true},
    {"autoLink", "create", autolink_conf_create, true},
    {"autoLink", "delete", autolink_conf_delete, true},
    {"exchange", "create", exchange_conf_create, true},
    {"exchange", "delete", exchange_conf_delete, true},
    {"binding", "create", binding_conf_create, true},
    {"binding", "delete", binding_conf_delete, true},
    {"listener", "create", listener_create, true},
    {"listener", "delete", listener_delete, true},
    {"connector", "create", connector_create, true},
    {"connector", "delete", connector_delete, true},
    {"connection", "update", connection_update, true},
};

PyObject *apply(const char *kind, const char *op, const char *identity, PyObject *dict)
{
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        const struct action *action = &actions[i];
        if (strcmp(action->kind, kind) != 0 || strcmp(action->op, op) != 0)
            continue;
        if (action->needs_router && !apply_has_router()) {
            failure_raise(FAILURE_PYTHON, "%s %s before the router is created", op, kind);
            return NULL;
        }
        struct attrs a = {.dict = dict, .kind = kind};
        return action->run(identity, &a);
    }
    failure_raise(FAILURE_PYTHON, "there is no way to %s %s", op, kind);
    return NULL;
}
