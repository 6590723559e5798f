#include "connection_conf.h"

#include <errno.h>
#include <router/mgmt/attrs.h>
#include <router/mgmt/failure.h>
#include <router/mgmt/python_value.h>
#include <router/route/connection.h>
#include <router/route/registry.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/message_print.h>
#include <trunkline/base/alloc.h>

/* Without maxSessionFrames: octets of large messages that a session may have on their way through the router, so that
 * memory stays bounded when their receivers stop. At least so many frames, lest small frames wait for the window. */
#define WINDOW_OCTETS (16 * 1024 * 1024)
#define WINDOW_FRAMES_MIN 64
#define WINDOW_FRAMES_MAX 4096

static int64_t default_window(uint32_t max_frame_size)
{
    int64_t frames = WINDOW_OCTETS / max_frame_size;
    return frames < WINDOW_FRAMES_MIN ? WINDOW_FRAMES_MIN : frames > WINDOW_FRAMES_MAX ? WINDOW_FRAMES_MAX : frames;
}

static char *copy_or_null(const char *text)
{
    return text == NULL ? NULL : xstrdup(text);
}

/* Seconds that overflow when they become milliseconds mean a time beyond anybody's patience. */
static uint32_t milliseconds(int64_t seconds)
{
    return seconds > INT32_MAX / 1000 ? INT32_MAX : (uint32_t)(seconds * 1000);
}

static enum connection_role role_attr(struct attrs *a) ON_CONTROL
{
    const char *text = attrs_text(a, "role");
    for (int role = ROLE_NORMAL; text != NULL && role <= ROLE_EDGE; role++)
        if (strcmp(connection_role_name(role), text) == 0)
            return role;
    if (text != NULL)
        attrs_fail(a, "role", "is no role");
    return ROLE_NORMAL;
}

/* ---- more of Open's properties ---- */

/* `value` under `key`; one more of the settings' properties. Result: false: raised. */
static bool property_add(struct connection_settings *s, const char *key, PyObject *value) ON_CONTROL
{
    struct amqp_property p = {.raw = python_value_encode(value)};
    if (p.raw.len == 0)
        return false;
    p.key = xstrdup(key);
    s->open_properties = xrealloc(s->open_properties, (s->open_property_count + 1) * sizeof p);
    s->open_properties[s->open_property_count++] = p;
    return true;
}

static void properties_add(struct connection_settings *s, struct attrs *a) ON_CONTROL
{
    PyObject *dict = attrs_dict(a, "openProperties"), *key, *value;
    Py_ssize_t position = 0;
    while (attrs_ok(a) && PyDict_Next(dict, &position, &key, &value)) {
        const char *text = PyUnicode_Check(key) ? PyUnicode_AsUTF8(key) : NULL;
        if (text == NULL)
            attrs_fail(a, "openProperties", "has a key that is not a text");
        else if (!property_add(s, text, value))
            a->failed = true;
    }
}

/* One router to turn to when this one is lost: a map of symbols to strings (management reference 4.2, listener). */
static PyObject *failover_entry(PyObject *from, struct attrs *a) ON_CONTROL
{
    static const char *const names[][2] = {{"scheme", "scheme"}, {"host", "network-host"}, {"port", "port"}};
    PyObject *to = PyDict_New();
    for (size_t i = 0; to != NULL && i < sizeof names / sizeof *names; i++) {
        PyObject *value = PyDict_Check(from) ? PyDict_GetItemString(from, names[i][0]) : NULL;
        if (value == NULL)
            attrs_fail(a, "failover", "has an entry without scheme, host or port");
        else if (value != Py_None)
            PyDict_SetItemString(to, names[i][1], value);
    }
    return to;
}

static void failover_add(struct connection_settings *s, struct attrs *a) ON_CONTROL
{
    PyObject *list = attrs_list(a, "failover");
    PyObject *entries = list == NULL || PyList_GET_SIZE(list) == 0 ? NULL : PyList_New(0);
    if (entries == NULL)
        return;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list) && attrs_ok(a); i++) {
        PyObject *entry = failover_entry(PyList_GET_ITEM(list, i), a);
        if (entry == NULL || PyList_Append(entries, entry) < 0)
            a->failed = true;
        Py_XDECREF(entry);
    }
    if (attrs_ok(a) && !property_add(s, "failover-server-list", entries))
        a->failed = true;
    Py_DECREF(entries);
}

/* ---- settings ---- */

/* What the log shows of messages. */
static uint32_t message_parts(struct attrs *a) ON_CONTROL
{
    PyObject *list = attrs_list(a, "messageLogging");
    uint32_t parts = 0, part;
    for (Py_ssize_t i = 0; list != NULL && i < PyList_GET_SIZE(list) && attrs_ok(a); i++) {
        PyObject *item = PyList_GET_ITEM(list, i);
        const char *name = PyUnicode_Check(item) ? PyUnicode_AsUTF8(item) : NULL;
        if (name != NULL && amqp_message_part_by_name(name, &part))
            parts |= part;
        else
            attrs_fail(a, "messageLogging", "names a part that messages do not have");
    }
    return parts;
}

static void common_to_both(struct connection_settings *s, struct attrs *a) ON_CONTROL
{
    const char *host = attrs_text(a, "host"), *port = attrs_text(a, "port");
    s->name = copy_or_null(attrs_text(a, "name"));
    s->at = attrs_ok(a) ? xasprintf("%s:%s", host, port) : NULL;
    s->role = role_attr(a);
    bool is_trunk = s->role == ROLE_INTER_ROUTER || s->role == ROLE_EDGE;
    s->strip_in = attrs_bool(a, "stripIn") && !is_trunk;
    s->strip_out = attrs_bool(a, "stripOut") && !is_trunk;
    s->message_parts = message_parts(a);
    s->cost = (int32_t)attrs_int(a, "cost", 1, INT32_MAX);
    s->link_capacity = (uint32_t)attrs_int(a, "linkCapacity", 1, INT32_MAX);
    s->max_frame_size = (uint32_t)attrs_int(a, "maxFrameSize", 512, INT32_MAX);
    s->max_sessions = (uint32_t)attrs_int(a, "maxSessions", 1, 32768);
    s->session_window = (uint32_t)attrs_int_or(a, "maxSessionFrames", 1, INT32_MAX, default_window(s->max_frame_size));
    s->idle_timeout_ms = milliseconds(attrs_int(a, "idleTimeoutSeconds", 0, INT32_MAX));
    s->sasl_mechanisms = copy_or_null(attrs_text_or_null(a, "saslMechanisms"));
    properties_add(s, a);
}

static struct connection_settings *settings_or_null(struct connection_settings *s, const struct attrs *a)
{
    if (attrs_ok(a))
        return s;
    connection_settings_unref(s);
    return NULL;
}

struct connection_settings *connection_conf_listener(struct attrs *a)
{
    struct connection_settings *s = connection_settings_new();
    common_to_both(s, a);
    s->require_auth = attrs_bool(a, "authenticatePeer");
    s->is_multi_tenant = attrs_bool(a, "multiTenant") && s->role != ROLE_INTER_ROUTER && s->role != ROLE_EDGE;
    s->policy_vhost = copy_or_null(attrs_text_or_null(a, "policyVhost"));
    s->handshake_timeout_ms = milliseconds(attrs_int(a, "initialHandshakeTimeoutSeconds", 0, INT32_MAX));
    failover_add(s, a);
    return settings_or_null(s, a);
}

struct connection_settings *connection_conf_connector(struct attrs *a)
{
    struct connection_settings *s = connection_settings_new();
    common_to_both(s, a);
    s->user = copy_or_null(attrs_text_or_null(a, "saslUsername"));
    s->password = copy_or_null(attrs_text_or_null(a, "saslPassword"));
    return settings_or_null(s, a);
}

struct connection *connection_conf_find(const char *identity)
{
    char *end;
    errno = 0;
    unsigned long long id = strtoull(identity, &end, 10);
    bool is_number = identity[0] >= '0' && identity[0] <= '9' && *end == '\0' && errno == 0;
    return is_number ? registry_connection(id) : NULL;
}
