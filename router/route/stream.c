#include <router/route/stream.h>

#include <router/route/connection.h>
#include <router/route/topology.h>
#include <router/route/trunk.h>
#include <trunkline/base/alloc.h>

struct streams {
    struct list busy, idle; /* struct outgoing.stream */
    uint32_t idle_count;
    struct amqp_session *first; /* the first streaming session, for links without one of their own; NULL: none */
};

static struct link *link_of(struct list *n)
{
    return list_entry(n, struct link, out.stream);
}

static struct streams *streams_of(struct connection *c)
{
    if (!c->streams) {
        c->streams = xcalloc(1, sizeof *c->streams);
        list_init(&c->streams->busy);
        list_init(&c->streams->idle);
    }
    return c->streams;
}

static struct link *open_link(struct connection *c, struct streams *all)
{
    struct amqp_session *s;
    enum err e = amqp_session_begin(&c->amqp, &s);
    bool is_new = e == OK;
    if (e == ERR_LIMIT && all->first)
        s = all->first;
    else if (!is_new)
        return NULL;
    struct link *l = trunk_attach_stream(c, s);
    if (!l && is_new)
        amqp_session_end(s, NULL);
    else if (!all->first)
        all->first = s;
    return l;
}

struct link *stream_take(struct connection *c)
{
    struct streams *all = streams_of(c);
    struct list *n = list_take_first(&all->idle);
    struct link *l;
    if (n) {
        all->idle_count--;
        l = link_of(n);
        l->out.is_idle = false;
    } else {
        l = open_link(c, all);
    }
    if (l)
        list_append(&all->busy, &l->out.stream);
    return l;
}

void stream_idle(struct link *l)
{
    struct streams *all = l->conn->streams;
    if (!all || !list_is_linked(&l->out.stream) || l->out.is_idle)
        return;
    list_remove(&l->out.stream);
    if (all->idle_count == STREAMS_IDLE_MAX) {
        amqp_link_detach(&l->amqp, true, NULL);
        return;
    }
    list_append(&all->idle, &l->out.stream);
    all->idle_count++;
    l->out.is_idle = true;
}

void stream_gone(struct link *l)
{
    struct streams *all = l->conn->streams;
    if (l->priority != TRUNK_STREAMING || !l->is_ours || !all)
        return;
    list_remove(&l->out.stream);
    if (l->out.is_idle)
        all->idle_count--;
    l->out.is_idle = false;
    if (l->amqp.session != all->first)
        amqp_session_end(l->amqp.session, NULL);
}

void stream_session_gone(struct connection *c, const struct amqp_session *s)
{
    if (c->streams && c->streams->first == s)
        c->streams->first = NULL;
}

struct link *stream_next_busy(const struct connection *c, const struct link *last)
{
    if (!c->streams)
        return NULL;
    struct list *n = last ? last->out.stream.next : c->streams->busy.next;
    return n == &c->streams->busy ? NULL : link_of(n);
}

static struct amqp_delivery *find_in(const struct list *links, const uint64_t token[2])
{
    struct amqp_delivery *d = NULL;
    list_for_each(n, links)
    {
        if (!d)
            d = amqp_link_find(&link_of(n)->amqp, token);
    }
    return d;
}

struct amqp_delivery *stream_find(const struct connection *c, const uint64_t token[2])
{
    if (!c->streams)
        return NULL;
    struct amqp_delivery *d = find_in(&c->streams->busy, token);
    return d ? d : find_in(&c->streams->idle, token);
}
