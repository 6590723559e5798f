#include <trunkline/base/clock.h>

#include <time.h>

mono_ns clock_mono_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (mono_ns)t.tv_sec * 1000000000 + t.tv_nsec;
}

mono_ms clock_mono_ms(void)
{
    return clock_mono_ns() / 1000000;
}

wall_us clock_wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (wall_us)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}
