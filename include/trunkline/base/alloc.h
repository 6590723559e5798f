/* alloc.h -- memory for our own bookkeeping. What a peer can size is bounded before it gets here, so running out is the
 * machine's end: these abort with a line on stderr. Thread: any. */
#ifndef TRUNKLINE_BASE_ALLOC_H
#define TRUNKLINE_BASE_ALLOC_H

#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n); /* at most n octets, always terminated */
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
