#include <trunkline/base/buffer.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

/* Spare buffers of the calling thread, linked through their first octets. Under AddressSanitizer there are none, so
 * that it sees every use after the last unref. */
#if defined(__SANITIZE_ADDRESS__)
#define CACHE_MAX 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CACHE_MAX 0
#endif
#endif
#ifndef CACHE_MAX
#define CACHE_MAX 32
#endif

static _Thread_local struct cache {
    struct buffer *first;
    unsigned count;
} cache;

static pthread_once_t exit_hook_once = PTHREAD_ONCE_INIT;
static pthread_key_t exit_hook;

static struct buffer *cache_pop(void)
{
    struct buffer *b = cache.first;
    if (b == NULL)
        return NULL;
    memcpy(&cache.first, b->bytes, sizeof cache.first);
    cache.count--;
    return b;
}

void buffer_cache_trim(void)
{
    for (struct buffer *b; (b = cache_pop());)
        free(b);
}

static void on_thread_exit(void *unused)
{
    (void)unused;
    buffer_cache_trim();
}

static void make_exit_hook(void)
{
    int refused = pthread_key_create(&exit_hook, on_thread_exit);
    ASSERT(!refused);
}

/* Result: false, the cache is full. */
static bool cache_push(struct buffer *b)
{
    if (cache.count >= CACHE_MAX)
        return false;
    if (cache.first == NULL) {
        /* Any value but NULL makes the hook run when the thread ends. */
        pthread_once(&exit_hook_once, make_exit_hook);
        pthread_setspecific(exit_hook, &cache);
    }
    memcpy(b->bytes, &cache.first, sizeof cache.first);
    cache.first = b;
    cache.count++;
    return true;
}

struct buffer *buffer_new(size_t size)
{
    ASSERT(size <= UINT32_MAX);
    struct buffer *b = size == BUFFER_SIZE ? cache_pop() : NULL;
    if (b == NULL) {
        b = xmalloc(sizeof *b + size);
        b->size = (uint32_t)size;
    }
    atomic_init(&b->refs, 1);
    return b;
}

struct buffer *buffer_ref(struct buffer *b)
{
    /* Relaxed: the caller's own count keeps the buffer, and the bytes were ordered when that was handed over. */
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void buffer_unref(struct buffer *b)
{
    /* Release: our reads come before the reuse; acquire: the last one reuses after everybody's reads. */
    uint32_t before = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
    ASSERT(before != 0);
    if (before == 1 && !(b->size == BUFFER_SIZE && cache_push(b)))
        free(b);
}

int buffer_is_unshared(const struct buffer *b)
{
    /* Acquire: pairs with the release of those who gave their counts up. */
    return atomic_load_explicit(&b->refs, memory_order_acquire) == 1;
}
