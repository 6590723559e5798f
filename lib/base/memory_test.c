#include <trunkline/base/memory.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <unistd.h>

/* Blocks of a size that the library does not map one by one; some of them stay, so that its heap can not just shrink.
 */
enum { BLOCKS = 40000, SIZE = 1000, STAYS = 500 };

static size_t resident(void)
{
    size_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*u %zu", &pages), 1);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void test_memory_trim_gives_back_what_was_freed_between_what_stays(void **state)
{
    (void)state;
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    skip(); /* they have an allocator of their own */
#endif
#endif
    static void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = xmalloc(SIZE);
        memset(blocks[i], 1, SIZE);
    }
    size_t full = resident();
    assert_false(memory_trim());
    for (int i = 0; i < BLOCKS; i++)
        if (i % STAYS)
            free(blocks[i]);
    assert_true(memory_trim());
    assert_true(resident() + BLOCKS / 2 * SIZE < full);
    for (int i = 0; i < BLOCKS; i += STAYS)
        free(blocks[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_trim_gives_back_what_was_freed_between_what_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
