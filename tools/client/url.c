#include "tools/client/url.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode %XX (RFC 3986 section 2.1, Percent-Encoding); NULL if malformed, or for %00, which no string here can hold. */
static char *percent_decode(const char *text, size_t length)
{
    char *out = tool_alloc(length + 1), *to = out;
    for (size_t i = 0; i < length; i++) {
        if (text[i] != '%') {
            *to++ = text[i];
            continue;
        }
        int high = i + 2 < length ? hex_digit(text[i + 1]) : -1;
        int low = i + 2 < length ? hex_digit(text[i + 2]) : -1;
        if (high < 0 || low < 0 || high + low == 0) {
            free(out);
            return NULL;
        }
        *to++ = (char)(high << 4 | low);
        i += 2;
    }
    return out;
}

static bool is_port(const char *text, size_t length)
{
    if (length == 0 || length > 32)
        return false;
    /* Service names (RFC 6335 section 5.1, Service Name Syntax) are letters, digits and hyphens. */
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '-')
            return false;
    bool digits = strspn(text, "0123456789") >= length;
    return !digits || (length <= 5 && atol(text) >= 1 && atol(text) <= 65535);
}

static bool parse_credentials(const char *whole, const char *text, size_t length, struct url *out, struct fault *why)
{
    const char *colon = memchr(text, ':', length);
    size_t user_length = colon ? (size_t)(colon - text) : length;
    out->user = percent_decode(text, user_length);
    if (colon)
        out->password = percent_decode(colon + 1, length - user_length - 1);
    if (!out->user || (colon && !out->password))
        return fault_set(why, "bad percent-encoding before the '@' in '%s': write %%25 for a percent sign", whole);
    if (out->user[0] == '\0')
        return fault_set(why, "empty user name before the '@' in '%s'", whole);
    return true;
}

static bool parse_host_port(const char *whole, const char *text, size_t length, struct url *out, struct fault *why)
{
    const char *host = text, *after;
    size_t host_length;
    if (length > 0 && *text == '[') {
        const char *bracket = memchr(text, ']', length);
        if (!bracket)
            return fault_set(why, "'[' without ']' in '%s'", whole);
        host = text + 1;
        host_length = (size_t)(bracket - host);
        after = bracket + 1;
    } else {
        const char *colon = memchr(text, ':', length);
        host_length = colon ? (size_t)(colon - text) : length;
        after = text + host_length;
    }
    size_t rest = length - (size_t)(after - text);
    if (host_length == 0)
        return fault_set(why, "no host in '%s'", whole);
    out->host = tool_dup_n(host, host_length);
    if (rest == 0)
        return true;
    if (*after == ':' && memchr(after + 1, ':', rest - 1))
        return fault_set(why, "more than one ':' in the host of '%s': write an IPv6 address in brackets", whole);
    if (*after != ':' || !is_port(after + 1, rest - 1))
        return fault_set(why, "bad port in '%s': allowed are 1 to 65535 and service names", whole);
    out->port = tool_dup_n(after + 1, rest - 1);
    return true;
}

/* Parse [user[:password]@]host[:port][/address]. */
static bool parse_authority(const char *whole, const char *text, struct url *out, struct fault *why)
{
    size_t length = strcspn(text, "/");
    /* The last '@' ends the credentials: a password may hold one. */
    const char *at = memrchr(text, '@', length);
    if (at && !parse_credentials(whole, text, (size_t)(at - text), out, why))
        return false;
    const char *host = at ? at + 1 : text;
    if (!parse_host_port(whole, host, length - (size_t)(host - text), out, why))
        return false;
    if (text[length] == '/' && text[length + 1] != '\0')
        out->address = tool_dup(text + length + 1);
    return true;
}

/* Skip "amqp://" or "amqps://". *tls tells which; NULL if the text has no scheme of ours. */
static const char *skip_scheme(const char *text, bool *tls)
{
    static const char plain[] = "amqp://", secure[] = "amqps://";
    *tls = strncmp(text, secure, sizeof secure - 1) == 0;
    if (*tls)
        return text + sizeof secure - 1;
    return strncmp(text, plain, sizeof plain - 1) == 0 ? text + sizeof plain - 1 : NULL;
}

static bool parse_or_undo(const char *text, const char *authority, bool tls, struct url *out, struct fault *why)
{
    struct url url = {.tls = tls};
    if (!parse_authority(text, authority, &url, why)) {
        url_fini(&url);
        return false;
    }
    *out = url;
    return true;
}

bool url_parse_bus(const char *text, struct url *out, struct fault *why)
{
    bool tls;
    const char *authority = skip_scheme(text, &tls);
    if (!authority && strstr(text, "://"))
        return fault_set(why, "unknown scheme in '%s': allowed are amqp:// and amqps://", text);
    return parse_or_undo(text, authority ? authority : text, tls, out, why);
}

/* host:port/address: a colon with digits up to the first slash. Anything else with a slash is an address. */
static bool names_host_and_port(const char *text)
{
    size_t length = strcspn(text, "/");
    const char *colon = memrchr(text, ':', length);
    if (!colon || colon == text || text[length] != '/')
        return false;
    size_t digits = strspn(colon + 1, "0123456789");
    return digits > 0 && colon + 1 + digits == text + length;
}

bool url_parse_operand(const char *text, struct url *out, struct fault *why)
{
    bool tls;
    const char *authority = skip_scheme(text, &tls);
    if (!authority && !names_host_and_port(text)) {
        if (text[0] == '\0')
            return fault_set(why, "empty address");
        *out = (struct url){.address = tool_dup(text)};
        return true;
    }
    if (!parse_or_undo(text, authority ? authority : text, tls, out, why))
        return false;
    if (!out->address) {
        url_fini(out);
        return fault_set(why, "no address in '%s': write it after the host, as in amqp://host:5672/address", text);
    }
    return true;
}

const char *url_port(const struct url *url)
{
    if (url->port)
        return url->port;
    return url->tls ? "5671" : "5672";
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool url_same_place(const struct url *a, const struct url *b)
{
    return a->tls == b->tls && same_text(a->host, b->host) && same_text(url_port(a), url_port(b)) &&
           same_text(a->user, b->user) && same_text(a->password, b->password);
}

void url_fini(struct url *url)
{
    free(url->user);
    free(url->password);
    free(url->host);
    free(url->port);
    free(url->address);
    *url = (struct url){0};
}
