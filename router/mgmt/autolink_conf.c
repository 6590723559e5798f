#include "autolink_conf.h"

#include <router/mgmt/attrs.h>
#include <router/mgmt/failure.h>
#include <router/mgmt/query_priv.h>
#include <router/route/autolink.h>
#include <stdio.h>

PyObject *autolink_conf_create(const char *identity, struct attrs *a)
{
    assert_on_control();
    (void)identity;
    const char *connection = attrs_text_or_null(a, "connection"), *id = attrs_text_or_null(a, "containerId");
    struct autolink_conf conf = {
        .name = attrs_text_or_null(a, "name"),
        .address = attrs_text(a, "address"),
        .is_in = attrs_bool(a, "in"),
        .phase = (uint8_t)attrs_int(a, "phase", 0, 9),
        .is_fallback = attrs_bool(a, "fallback"),
        .external = attrs_text_or_null(a, "externalAddress"),
        .by = id ? CONTAINER_BY_ID : CONTAINER_BY_CONNECTION,
        .container = id ? id : connection,
    };
    if (!attrs_ok(a))
        return NULL;
    struct autolink *made;
    if (autolink_add(&conf, &made) != OK) {
        failure_raise(FAILURE_VALUE, "'%s' is no address that an autoLink can have", conf.address);
        return NULL;
    }
    return query_decimal(autolink_identity(made));
}

PyObject *autolink_conf_delete(const char *identity, struct attrs *a)
{
    assert_on_control();
    (void)a;
    uint64_t number;
    struct autolink *found = query_identity_number(identity, &number) ? autolink_find(number) : NULL;
    if (!found) {
        failure_raise(FAILURE_NOT_FOUND, "There is no autoLink with identity '%s'", identity);
        return NULL;
    }
    autolink_remove(found);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}
