#include "exchange_conf.h"

#include <router/mgmt/attrs.h>
#include <router/mgmt/failure.h>
#include <router/mgmt/query_priv.h>
#include <router/route/exchange.h>

static PyObject *refused(enum exchange_error e) ON_CONTROL
{
    failure_raise(FAILURE_VALUE, "%s", exchange_error_text(e));
    return NULL;
}

PyObject *exchange_conf_create(const char *identity, struct attrs *a)
{
    assert_on_control();
    (void)identity;
    struct exchange_conf conf = {
        .name = attrs_text(a, "name"),
        .address = attrs_text(a, "address"),
        .phase = (uint8_t)attrs_int(a, "phase", 0, 9),
        .alternate = attrs_text_or_null(a, "alternateAddress"),
        .alternate_phase = (uint8_t)attrs_int(a, "alternatePhase", 0, 9),
        .is_mqtt = attrs_bool(a, "mqtt"),
    };
    if (!attrs_ok(a))
        return NULL;
    struct exchange *made;
    enum exchange_error e = exchange_add(&conf, &made);
    return e == EXCHANGE_OK ? query_decimal(exchange_identity(made)) : refused(e);
}

PyObject *exchange_conf_delete(const char *identity, struct attrs *a)
{
    assert_on_control();
    (void)a;
    uint64_t number;
    struct exchange *found = query_identity_number(identity, &number) ? exchange_find(number) : NULL;
    if (!found) {
        failure_raise(FAILURE_NOT_FOUND, "There is no exchange with identity '%s'", identity);
        return NULL;
    }
    exchange_remove(found);
    return query_none();
}

PyObject *binding_conf_create(const char *identity, struct attrs *a)
{
    assert_on_control();
    (void)identity;
    struct binding_conf conf = {
        .name = attrs_text_or_null(a, "name"),
        .exchange = attrs_text(a, "exchangeName"),
        .key = attrs_text_or_null(a, "bindingKey"),
        .next_hop = attrs_text(a, "nextHopAddress"),
        .next_hop_phase = (uint8_t)attrs_int(a, "nextHopPhase", 0, 9),
    };
    if (!attrs_ok(a))
        return NULL;
    struct binding *made;
    enum exchange_error e = binding_add(&conf, &made);
    return e == EXCHANGE_OK ? query_decimal(binding_identity(made)) : refused(e);
}

PyObject *binding_conf_delete(const char *identity, struct attrs *a)
{
    assert_on_control();
    (void)a;
    uint64_t number;
    struct binding *found = query_identity_number(identity, &number) ? binding_find(number) : NULL;
    if (!found) {
        failure_raise(FAILURE_NOT_FOUND, "There is no binding with identity '%s'", identity);
        return NULL;
    }
    binding_remove(found);
    return query_none();
}
