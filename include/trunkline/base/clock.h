/* clock.h -- time. Pure modules are passed a time; only loops read the clock. Thread: any. */
#ifndef TRUNKLINE_BASE_CLOCK_H
#define TRUNKLINE_BASE_CLOCK_H

#include <stdint.h>

typedef int64_t mono_ms; /* monotonic milliseconds */
typedef int64_t mono_ns; /* monotonic nanoseconds */
typedef int64_t wall_us; /* microseconds since 1970-01-01 UTC */

#define MONO_MS_NEVER INT64_MAX

mono_ms clock_mono_ms(void);
mono_ns clock_mono_ns(void);
wall_us clock_wall_us(void);

#endif
