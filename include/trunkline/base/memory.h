/* memory.h -- giving memory back to the system. The C library keeps what is freed for the next time, in arenas of each
 * thread, and after a burst of clients that is most of the process.
 *
 * Source: mallinfo2(3), malloc_trim(3): glibc. */
#ifndef TRUNKLINE_BASE_MEMORY_H
#define TRUNKLINE_BASE_MEMORY_H

#include <stdbool.h>

/* Give back what is free, if that is much: more than 8 MiB, and more than is in use. It looks at every free chunk and
 * holds each arena meanwhile: up to 60 ms for 100 MB that are free in small pieces, so not often.
 *   Result: whether there was something.
 *   Thread: any. */
bool memory_trim(void);

#endif
