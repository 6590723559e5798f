#include <router/route/failover.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <trunkline/amqp/codec.h>

/* Where texts go, one behind the other, each terminated. */
struct texts {
    char *at, *end;
};

/* A copy of s as text; NULL: no room. */
static const char *keep(struct texts *t, const void *s, size_t n)
{
    if ((size_t)(t->end - t->at) <= n)
        return NULL;
    char *text = t->at;
    memcpy(text, s, n);
    text[n] = '\0';
    t->at += n + 1;
    return text;
}

/* A value that is text or, as a port may be, a number. */
static const char *scalar(struct amqp_reader *r, struct texts *t)
{
    struct slice s;
    int64_t number;
    if (amqp_read_text(r, &s) == OK)
        return keep(t, s.data, s.len);
    if (amqp_read_integer(r, &number) == OK) {
        char digits[24];
        int n = snprintf(digits, sizeof digits, "%lld", (long long)number);
        return keep(t, digits, (size_t)n);
    }
    amqp_skip(r);
    return NULL;
}

/* One entry. Result: false, it names no host. */
static bool read_entry(struct amqp_compound *map, struct texts *t, struct connector_url *url)
{
    *url = (struct connector_url){.scheme = "amqp", .service = "5672"};
    for (uint32_t i = 0; i + 1 < map->count; i += 2) {
        struct slice key;
        if (amqp_read_text(&map->in, &key) != OK)
            return false;
        const char *value = scalar(&map->in, t);
        if (!value)
            continue;
        if (amqp_slice_is(key, "network-host"))
            url->host = value;
        else if (amqp_slice_is(key, "port"))
            url->service = value;
        else if (amqp_slice_is(key, "scheme"))
            url->scheme = value;
        else if (amqp_slice_is(key, "hostname"))
            url->hostname = value;
    }
    return url->host && url->host[0];
}

static int read_list(struct amqp_reader *r, struct connector_url *urls, char *memory)
{
    struct amqp_compound list, map;
    struct texts t = {.at = memory, .end = memory + FAILOVER_TEXT_MAX};
    int n = 0;
    if (amqp_enter_list(r, &list) != OK)
        return -1;
    for (uint32_t i = 0; i < list.count && n < FAILOVER_MAX; i++) {
        if (amqp_enter_map(&list.in, &map) != OK)
            return n;
        if (read_entry(&map, &t, &urls[n]))
            n++;
    }
    return n;
}

int failover_read(struct slice properties, struct connector_url *urls, char *memory)
{
    struct amqp_reader r = amqp_slice_reader(properties);
    struct amqp_compound map;
    if (!properties.len || amqp_enter_map(&r, &map) != OK)
        return -1;
    for (uint32_t i = 0; i + 1 < map.count; i += 2) {
        struct slice key;
        if (amqp_read_text(&map.in, &key) != OK)
            return -1;
        if (amqp_slice_is(key, "failover-server-list"))
            return read_list(&map.in, urls, memory);
        if (amqp_skip(&map.in) != OK)
            return -1;
    }
    return -1;
}

void failover_learn(struct connector *c, struct slice properties)
{
    struct connector_url urls[FAILOVER_MAX];
    char memory[FAILOVER_TEXT_MAX];
    int n = failover_read(properties, urls, memory);
    if (n >= 0)
        connector_set_failover(c, urls, (size_t)n);
}
