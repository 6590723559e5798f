/* autoLinks, with what has become of them. */
#include "query_priv.h"

#include <router/route/autolink.h>
#include <router/route/link.h>

static const struct autolink_conf *conf_of(const void *object)
{
    assert_on_control();
    return autolink_conf(object);
}

static PyObject *name_of_container(const void *object, enum container_naming by)
{
    const struct autolink_conf *conf = conf_of(object);
    return query_text(conf->by == by ? conf->container : NULL);
}

static PyObject *link_of(const void *object)
{
    assert_on_control();
    const struct link *l = autolink_link(object);
    return l ? query_decimal(l->identity) : query_none();
}

static PyObject *phase_of(const void *object)
{
    const struct autolink_conf *conf = conf_of(object);
    return query_number(conf->is_fallback && !conf->is_in ? 0 : conf->phase);
}

#define AUTOLINK_COLUMNS(X)                                                                                            \
    X(name, query_text(conf_of(o)->name))                                                                              \
    X(identity, query_decimal(autolink_identity(o)))                                                                   \
    X(address, query_text(conf_of(o)->address))                                                                        \
    X(direction, query_text(conf_of(o)->is_in ? "in" : "out"))                                                         \
    X(phase, phase_of(o))                                                                                              \
    X(connection, name_of_container(o, CONTAINER_BY_CONNECTION))                                                       \
    X(containerId, name_of_container(o, CONTAINER_BY_ID))                                                              \
    X(externalAddress, query_text(conf_of(o)->external))                                                               \
    X(linkRef, link_of(o))                                                                                             \
    X(operStatus, query_text(autolink_state_text(autolink_state(o))))                                                  \
    X(lastError, query_text(autolink_last_error(o)))                                                                   \
    X(fallback, PyBool_FromLong(conf_of(o)->is_fallback))

#define X(column, expression)                                                                                          \
    static PyObject *show_##column(const void *o, const struct asked *q)                                               \
    {                                                                                                                  \
        (void)q;                                                                                                       \
        assert_on_control();                                                                                           \
        return expression;                                                                                             \
    }
AUTOLINK_COLUMNS(X)
#undef X

static const struct column columns[] = {
#define X(column, expression) {#column, show_##column},
    AUTOLINK_COLUMNS(X)
#undef X
};

static void begin(struct walk *w)
{
    assert_on_control();
    w->head = w->at = autolinks();
}

static const void *next(struct walk *w)
{
    assert_on_control();
    w->at = w->at->next;
    return w->at == w->head ? NULL : autolink_of_node(w->at);
}

static const void *find(const char *identity)
{
    assert_on_control();
    uint64_t number;
    return query_identity_number(identity, &number) ? autolink_find(number) : NULL;
}

const struct kind query_kind_autolink = {"router.config.autoLink", COLUMNS(columns), .begin = begin, .next = next,
                                         .find = find};
