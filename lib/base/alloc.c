#include <trunkline/base/alloc.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *or_abort(void *p, size_t size)
{
    if (p == NULL && size != 0) {
        fprintf(stderr, "out of memory: %zu octets wanted\n", size);
        abort();
    }
    return p;
}

void *xmalloc(size_t size)
{
    return or_abort(malloc(size), size);
}

void *xcalloc(size_t count, size_t size)
{
    return or_abort(calloc(count, size), count != 0 ? size : 0);
}

void *xrealloc(void *p, size_t size)
{
    return or_abort(realloc(p, size), size);
}

char *xstrdup(const char *s)
{
    return or_abort(strdup(s), strlen(s) + 1);
}

char *xstrndup(const char *s, size_t n)
{
    /* Not strndup(): AddressSanitizer's strict checks hold it to a terminated source, and octets of a frame are not. */
    size_t len = strnlen(s, n);
    char *copy = xmalloc(len + 1);
    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *xasprintf(const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    return or_abort(n < 0 ? NULL : text, 1);
}
