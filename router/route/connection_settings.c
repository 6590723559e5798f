/* What outlives a connection's stream: its settings and its counts. */
#include <router/route/connection.h>

#include <stdlib.h>
#include <trunkline/base/alloc.h>

const char *connection_role_name(enum connection_role r)
{
    static const char *const names[] = {"normal", "inter-router", "route-container", "edge"};
    return names[r];
}

struct connection_settings *connection_settings_new(void)
{
    struct connection_settings *s = xcalloc(1, sizeof *s);
    atomic_init(&s->refs, 1);
    return s;
}

void connection_settings_ref(struct connection_settings *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
}

void connection_settings_unref(struct connection_settings *s)
{
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(s->name);
    free(s->at);
    free(s->sasl_mechanisms);
    free(s->user);
    free(s->password);
    free(s->policy_vhost);
    for (size_t i = 0; i < s->open_property_count; i++) {
        free((char *)s->open_properties[i].key);
        free((char *)s->open_properties[i].text);
        free((uint8_t *)s->open_properties[i].raw.data);
    }
    free(s->open_properties);
    free(s);
}

void connection_ref(struct connection *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

void connection_unref(struct connection *c)
{
    if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    connection_settings_unref(c->settings);
    free(c->host);
    free(c->container);
    free(c->user);
    free(c->mechanism);
    free(c->tenant);
    free((uint8_t *)c->properties.data);
    free(c->opened_text);
    free(c->failure);
    hello_watch_fini(&c->hello);
    free(c->streams);
    free(c);
}
