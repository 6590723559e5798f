#include "resolve_priv.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trunkline/base/alloc.h>
#include <trunkline/base/list.h>
#include <trunkline/base/lock.h>

/* A name server that does not answer holds a thread for half a minute; others go on meanwhile. */
#define THREADS_MAX 4

/* queued -> running -> posted; cancelled while queued: freed at once; while running: the thread frees it. */
enum state { QUEUED, RUNNING, ORPHANED, POSTED };

struct resolution {
    /* fixed */
    struct loop *home;
    resolve_fn *fn;
    void *owner;
    char *host;
    uint16_t port;
    /* under the lock */
    struct list node;
    enum state state;
    /* the thread's until posted, then home's */
    struct letter letter;
    struct addrinfo *found;
    char why[256];
};

static struct lock lock = LOCK_INIT;
static struct list queue = LIST_INIT(queue); /* under the lock */
static int threads;

static enum err lookup(const char *host, uint16_t port, int flags, struct addrinfo **out, int *code)
{
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    *code = getaddrinfo(host, service, &hints, out);
    return *code == 0 ? OK : ERR_NOT_FOUND;
}

enum err resolve_number(const char *host, uint16_t port, struct addrinfo **out)
{
    int code;
    return lookup(host, port, AI_NUMERICHOST, out, &code);
}

static void resolution_free(struct resolution *r)
{
    if (r->found)
        freeaddrinfo(r->found);
    free(r->host);
    free(r);
}

static void on_done(struct letter *l)
{
    struct resolution *r = container_of(l, struct resolution, letter);
    struct addrinfo *found = r->found;
    r->found = NULL;
    r->fn(r, found, r->why);
    resolution_free(r);
}

static void resolve_one(struct resolution *r)
{
    int code;
    if (lookup(r->host, r->port, AI_ADDRCONFIG, &r->found, &code) != OK)
        snprintf(r->why, sizeof r->why, "cannot resolve %.128s: %s", r->host,
                 code == EAI_SYSTEM ? strerror(errno) : gai_strerror(code));
}

/* The next one of the queue; NULL: none, and this thread counts as gone. */
static struct resolution *take_next(void)
{
    lock_take(&lock);
    struct list *n = list_take_first(&queue);
    struct resolution *r = n ? list_entry(n, struct resolution, node) : NULL;
    if (r)
        r->state = RUNNING;
    else
        threads--;
    lock_drop(&lock);
    return r;
}

static void hand_back(struct resolution *r)
{
    lock_take(&lock);
    bool is_orphaned = r->state == ORPHANED;
    r->state = POSTED; /* from here on whoever cancels waits for the letter, so home lives */
    lock_drop(&lock);
    if (is_orphaned)
        resolution_free(r);
    else
        loop_post(r->home, &r->letter);
}

static void *resolver_main(void *unused)
{
    for (struct resolution *r; (r = take_next());) {
        resolve_one(r);
        hand_back(r);
    }
    return unused;
}

/* One more thread if there may be one. Detached: nobody can wait for a name server at the end of the process. */
static int start_thread(void)
{
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int refused = pthread_create(&thread, NULL, resolver_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!refused)
        pthread_detach(thread);
    return refused;
}

struct resolution *resolve_start(const char *host, uint16_t port, struct loop *home, resolve_fn *fn, void *owner)
{
    struct resolution *r = xmalloc(sizeof *r);
    *r = (struct resolution){.home = home, .fn = fn, .owner = owner, .host = xstrdup(host), .port = port};
    r->letter = (struct letter)LETTER_INIT(on_done);
    lock_take(&lock);
    list_append(&queue, &r->node);
    bool wants_thread = threads < THREADS_MAX;
    threads += wants_thread;
    lock_drop(&lock);
    int refused = wants_thread ? start_thread() : 0;
    if (!refused)
        return r;
    lock_take(&lock);
    threads--;
    bool is_ours = r->state == QUEUED && threads == 0; /* else another thread will come to it */
    if (is_ours) {
        list_remove(&r->node);
        r->state = POSTED;
    }
    lock_drop(&lock);
    if (is_ours) {
        snprintf(r->why, sizeof r->why, "cannot start a thread to resolve %.128s: %s", host, strerror(refused));
        loop_post(home, &r->letter);
    }
    return r;
}

void *resolve_owner(const struct resolution *r)
{
    return r->owner;
}

bool resolve_cancel(struct resolution *r)
{
    lock_take(&lock);
    enum state was = r->state;
    if (was == QUEUED)
        list_remove(&r->node);
    else if (was == RUNNING)
        r->state = ORPHANED;
    lock_drop(&lock);
    if (was == QUEUED)
        resolution_free(r);
    return was != POSTED;
}
