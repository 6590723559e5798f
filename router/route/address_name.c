#include "address_name.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

struct text {
    const char *at, *end;
};

static bool take(struct text *t, const char *word, size_t len)
{
    if ((size_t)(t->end - t->at) < len || memcmp(t->at, word, len) != 0)
        return false;
    t->at += len;
    return true;
}

#define TAKE(t, literal) take((t), literal, sizeof(literal) - 1)

/* Take "<word>/". */
static bool take_segment(struct text *t, const char *word)
{
    struct text rest = *t;
    if (!take(&rest, word, strlen(word)) || !TAKE(&rest, "/"))
        return false;
    *t = rest;
    return true;
}

static const char *find(const char *at, const char *end, char c)
{
    return at < end ? memchr(at, c, (size_t)(end - at)) : NULL;
}

/* Where "/x", "//host/x" that starts at `slash` has its x; NULL: it is only a host. */
static const char *after_host(const char *slash, const char *end)
{
    if (slash + 1 == end || slash[1] != '/')
        return slash + 1;
    const char *next = find(slash + 2, end, '/');
    return next == NULL ? NULL : next + 1;
}

/* A scheme is followed by ":/" and holds no slash itself: `mailto:a/b` and `amqp:a/b` are names as they stand. */
static const char *after_scheme_and_host(const char *at, const char *end)
{
    const char *slash = find(at, end, '/');
    if (slash == NULL)
        return at;
    bool is_scheme = slash - at >= 2 && slash[-1] == ':';
    if (slash != at && !is_scheme)
        return at;
    const char *name = after_host(slash, end);
    return name == NULL ? at : name;
}

void address_name_strip(const char **text, size_t *len)
{
    const char *end = *text + *len;
    const char *at = after_scheme_and_host(*text, end);
    if (end > at && (end[-1] == '/' || end[-1] == '.'))
        end--;
    *text = at;
    *len = (size_t)(end - at);
}

static size_t put(char *out, size_t size, char class, const char *at, const char *end)
{
    size_t len = (size_t)(end - at);
    if (len == 0 || len >= size)
        return 0;
    out[0] = class;
    memcpy(out + 1, at, len);
    return len + 1;
}

static size_t put_segment(char *out, size_t size, char class, struct text t)
{
    const char *slash = find(t.at, t.end, '/');
    return put(out, size, class, t.at, slash == NULL ? t.end : slash);
}

/* Somewhere else in the network: an edge router knows only its uplink. */
static size_t put_elsewhere(const struct router_identity *me, char *out, size_t size, char class, struct text t)
{
    static const char uplink[] = "_edge";
    if (me->mode == ROUTER_EDGE)
        return put(out, size, ADDRESS_LOCAL, uplink, uplink + sizeof uplink - 1);
    return put_segment(out, size, class, t);
}

static size_t topological_key(const struct router_identity *me, struct text t, char *out, size_t size)
{
    struct text area = t;
    if (!TAKE(&t, "0/") && !TAKE(&t, "all/"))
        return put_elsewhere(me, out, size, ADDRESS_AREA, area);
    struct text router = t;
    if (take_segment(&t, me->id))
        return put(out, size, ADDRESS_LOCAL, t.at, t.end);
    if (TAKE(&t, "all/"))
        return put(out, size, ADDRESS_FLOOD, t.at, t.end);
    return put_elsewhere(me, out, size, ADDRESS_ROUTER, router);
}

static size_t edge_key(const struct router_identity *me, struct text t, char *out, size_t size)
{
    struct text router = t;
    if (take_segment(&t, me->id))
        return put(out, size, ADDRESS_LOCAL, t.at, t.end);
    return put_elsewhere(me, out, size, ADDRESS_EDGE, router);
}

static size_t mobile_key(struct text t, char phase, char *out, size_t size)
{
    size_t len = (size_t)(t.end - t.at);
    if (len == 0 || size < 2 || len > size - 2)
        return 0;
    out[0] = ADDRESS_MOBILE;
    out[1] = phase;
    memcpy(out + 2, t.at, len);
    return len + 2;
}

size_t address_name_key(const struct router_identity *me, const char *text, size_t len, char phase, char *out,
                        size_t size)
{
    address_name_strip(&text, &len);
    struct text t = {text, text + len};
    if (len == 0 || text[0] != '_')
        return mobile_key(t, phase, out, size);
    if (TAKE(&t, "_topo/"))
        return topological_key(me, t, out, size);
    if (TAKE(&t, "_local/"))
        return put(out, size, ADDRESS_LOCAL, t.at, t.end);
    if (TAKE(&t, "_edge/"))
        return edge_key(me, t, out, size);
    return mobile_key(t, phase, out, size);
}

size_t address_name_node_key(const char *text, size_t len, char *out, size_t size)
{
    const char *end = text + len;
    const char *slash = find(text, end, '/');
    return slash == NULL ? 0 : put(out, size, ADDRESS_ROUTER, slash + 1, end);
}

const char *address_name_of_key(const char *key, size_t len, size_t *text_len)
{
    size_t before = address_name_class(key) == ADDRESS_MOBILE && len >= 2 ? 2 : 1;
    *text_len = len - before;
    return key + before;
}

/* `before`, 15 unguessable characters and a terminating zero. */
static enum err generate(const char *before, char *out)
{
    /* 64 characters: six random bits make one, without bias. */
    static const char alphabet[64] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+_";
    enum { RANDOM = 15 };
    uint8_t bits[RANDOM];
    if (getrandom(bits, sizeof bits, 0) != (ssize_t)sizeof bits)
        return ERR_SYSTEM;
    size_t n = strlen(before);
    memcpy(out, before, n);
    for (int i = 0; i < RANDOM; i++)
        out[n++] = alphabet[bits[i] & 63];
    out[n] = '\0';
    return OK;
}

enum err address_name_generate_temp(char out[ADDRESS_TEMP_LEN + 1])
{
    return generate("temp.", out);
}

enum err address_name_generate_link(char out[LINK_NAME_LEN + 1])
{
    return generate("qdlink.", out);
}

size_t address_name_of_temp(const struct router_identity *me, const char *temp, char *out, size_t size)
{
    const char *where = me->mode == ROUTER_EDGE ? "_edge" : "_topo/0";
    int len = snprintf(out, size, "amqp:/%s/%s/%s", where, me->id, temp);
    return len < 0 || (size_t)len >= size ? 0 : (size_t)len;
}
