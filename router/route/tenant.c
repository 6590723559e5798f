#include <router/route/tenant.h>

#include <router/route/address_name.h>
#include <string.h>
#include <trunkline/base/alloc.h>

static const char *const places[] = {"_local/", "_topo/", "_edge/"};

static bool is_place(const char *text, size_t len)
{
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (len >= strlen(places[i]) && memcmp(text, places[i], strlen(places[i])) == 0)
            return true;
    return false;
}

bool tenant_vhost_is_good(const char *vhost)
{
    size_t len = strlen(vhost);
    if (len == 0)
        return true;
    if (strchr(vhost, '/') || vhost[len - 1] == ':')
        return false;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (len == strlen(places[i]) - 1 && memcmp(vhost, places[i], len) == 0)
            return false;
    return true;
}

char *tenant_prefix(const char *vhost)
{
    return vhost[0] ? xasprintf("%s/", vhost) : NULL;
}

/* What follows scheme and host. The separator at its end stays: it is taken off once, with the prefix before it. */
static const char *bare(const char *text, size_t *len)
{
    const char *end = text + *len;
    address_name_strip(&text, len);
    *len = (size_t)(end - text);
    return text;
}

bool tenant_owns(const char *text, size_t len)
{
    text = bare(text, &len);
    return len > 0 && !is_place(text, len);
}

size_t tenant_write(const char *prefix, const char *text, size_t len, char *out)
{
    text = bare(text, &len);
    size_t n = strlen(prefix);
    memcpy(out, prefix, n);
    memcpy(out + n, text, len);
    out[n + len] = '\0';
    return n + len;
}
