#include "link_route_conf.h"

#include <router/mgmt/attrs.h>
#include <router/mgmt/connection_conf.h>
#include <router/mgmt/failure.h>
#include <router/route/link_route.h>
#include <router/route/registry.h>
#include <router/route/rules.h>
#include <stdio.h>
#include <string.h>

/* Add it under the next identity. Result: that, as a new reference. */
static PyObject *add(struct link_route_conf *conf) ON_CONTROL
{
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)registry_next_identity());
    conf->identity = number;
    enum err e = link_route_add(conf);
    if (e == OK)
        return PyUnicode_FromString(number);
    if (e == ERR_EXISTS)
        failure_raise(FAILURE_EXISTS, "'%s' is another spelling of the pattern of a link route that is there",
                      conf->text);
    else if (e == ERR_LIMIT)
        failure_raise(FAILURE_VALUE, "'%s' has more than %d tokens", conf->text, RULE_TOKENS_MAX - 1);
    else
        failure_raise(FAILURE_VALUE, "'%s' has no token", conf->text);
    return NULL;
}

PyObject *link_route_conf_create(const char *identity, struct attrs *a)
{
    assert_on_control();
    (void)identity;
    const char *prefix = attrs_text_or_null(a, "prefix"), *pattern = attrs_text_or_null(a, "pattern");
    if (attrs_ok(a) && (prefix == NULL) == (pattern == NULL))
        attrs_fail(a, "pattern", "and prefix: one of them must be set");
    struct link_route_conf conf = {
        .name = attrs_text_or_null(a, "name"),
        .text = prefix != NULL ? prefix : pattern,
        .is_prefix = prefix != NULL,
        .is_in = attrs_bool(a, "in"),
        .connection = attrs_text_or_null(a, "connection"),
        .container = attrs_text_or_null(a, "containerId"),
        .added = attrs_text_or_null(a, "addExternalPrefix"),
        .removed = attrs_text_or_null(a, "delExternalPrefix"),
    };
    return attrs_ok(a) ? add(&conf) : NULL;
}

static PyObject *remove_route(const char *identity, const struct connection *of) ON_CONTROL
{
    const struct link_route *r = link_route_find(identity);
    if (r == NULL || r->of_connection != of || link_route_remove(identity) != OK)
        failure_raise(FAILURE_NOT_FOUND, "There is no link route with identity '%s'", identity);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

PyObject *link_route_conf_delete(const char *identity, struct attrs *a)
{
    assert_on_control();
    (void)a;
    return remove_route(identity, NULL);
}

/* The connection that asks; NULL: raised. */
static struct connection *asking(struct attrs *a) ON_CONTROL
{
    const char *number = attrs_text(a, "ofConnection");
    struct connection *c = number ? connection_conf_find(number) : NULL;
    if (attrs_ok(a) && c == NULL)
        failure_raise(FAILURE_NOT_FOUND, "The connection of the request is gone");
    return c;
}

PyObject *link_route_conf_create_scoped(const char *identity, struct attrs *a)
{
    assert_on_control();
    (void)identity;
    struct link_route_conf conf = {
        .name = attrs_text_or_null(a, "name"),
        .text = attrs_text(a, "pattern"),
        .is_in = attrs_bool(a, "in"),
        .of_connection = asking(a),
    };
    return attrs_ok(a) && conf.of_connection ? add(&conf) : NULL;
}

PyObject *link_route_conf_delete_scoped(const char *identity, struct attrs *a)
{
    assert_on_control();
    const struct connection *c = asking(a);
    return c ? remove_route(identity, c) : NULL;
}
