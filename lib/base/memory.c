#include <trunkline/base/memory.h>

#include <malloc.h>

enum { MUCH = 8 << 20 };

bool memory_trim(void)
{
    struct mallinfo2 m = mallinfo2();
    if (m.fordblks < MUCH || m.fordblks < m.uordblks)
        return false;
    return malloc_trim(0) == 1;
}
