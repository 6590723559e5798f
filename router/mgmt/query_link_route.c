/* Link routes: those that are configured, and those that connections have made for themselves. */
#include "query_priv.h"

#include <router/route/connection.h>
#include <router/route/link_route.h>
#include <string.h>

static PyObject *direction_of(const struct link_route *r)
{
    return query_text(r->is_in ? "in" : "out");
}

#define ROUTE_COLUMNS(X)                                                                                               \
    X(name, query_text(o->name))                                                                                       \
    X(identity, query_text(o->identity))                                                                               \
    X(prefix, query_text(o->is_prefix ? o->text : NULL))                                                               \
    X(pattern, query_text(o->is_prefix ? NULL : o->text))                                                              \
    X(distribution, query_text("linkBalanced"))                                                                        \
    X(connection, query_text(o->connection))                                                                           \
    X(containerId, query_text(o->of_connection ? o->of_connection->container : o->container))                          \
    X(direction, direction_of(o))                                                                                      \
    X(operStatus, query_text(o->ways ? "active" : "inactive"))                                                         \
    X(ofConnection, o->of_connection ? query_decimal(o->of_connection->id) : query_none())                             \
    X(addExternalPrefix, query_text(o->added))                                                                         \
    X(delExternalPrefix, query_text(o->removed))

#define X(column, expression)                                                                                          \
    static PyObject *show_##column(const void *object, const struct asked *q)                                          \
    {                                                                                                                  \
        const struct link_route *o = object;                                                                           \
        (void)o, (void)q;                                                                                              \
        return expression;                                                                                             \
    }
ROUTE_COLUMNS(X)
#undef X

static const struct column columns[] = {
#define X(column, expression) {#column, show_##column},
    ROUTE_COLUMNS(X)
#undef X
};

static void begin(struct walk *w)
{
    assert_on_control();
    w->head = w->at = link_routes();
}

/* The next one that is configured, or (scoped) that belongs to a connection. */
static const struct link_route *next_of(struct walk *w, bool scoped)
{
    while ((w->at = w->at->next) != w->head) {
        const struct link_route *r = list_entry(w->at, struct link_route, node);
        if ((r->of_connection != NULL) == scoped)
            return r;
    }
    return NULL;
}

static const void *next_configured(struct walk *w)
{
    return next_of(w, false);
}

static const void *next_scoped(struct walk *w)
{
    return next_of(w, true);
}

static const void *find_configured(const char *identity)
{
    assert_on_control();
    const struct link_route *r = link_route_find(identity);
    return r && !r->of_connection ? r : NULL;
}

static const void *find_scoped(const char *identity)
{
    assert_on_control();
    const struct link_route *r = link_route_find(identity);
    return r && r->of_connection ? r : NULL;
}

const struct kind query_kind_link_route = {"router.config.linkRoute", COLUMNS(columns), .begin = begin,
                                           .next = next_configured, .find = find_configured};
const struct kind query_kind_connection_link_route = {"router.connection.linkRoute", COLUMNS(columns), .begin = begin,
                                                      .next = next_scoped, .find = find_scoped};
