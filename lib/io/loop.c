#include <trunkline/io/loop.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>
#include <trunkline/base/buffer.h>
#include <trunkline/base/rcu.h>

#define EVENTS_MAX 256
#define IDLE_MS 2000
/* How often hooks run again in one turn because one of them did something. What is left goes to the next turn, so that
 * descriptors are looked at in between. */
#define HOOK_ROUNDS 8

struct loop {
    int epoll_fd;
    bool is_rcu_reader, is_running, stop_wanted;
    bool again; /* no sleep before the next turn */
    mono_ms now;
    mono_ms busy; /* time of the last turn with an event or letter */
    bool idled;   /* the idle hooks have run since then */
    struct mailbox mailbox;
    struct timer_wheel *wheel;
    struct list hooks[LOOP_PHASE_COUNT];
    struct list *next_hook; /* the one to run after the current; removal moves it on */
    struct letter stop;
    /* Events of this turn from next_event on have not been told yet. */
    int event_count, next_event;
    struct epoll_event events[EVENTS_MAX];
};

static _Thread_local struct loop *current;

static void on_stop(struct letter *letter)
{
    container_of(letter, struct loop, stop)->stop_wanted = true;
}

enum err loop_new(bool is_rcu_reader, struct loop **out)
{
    ASSERT(current == NULL);
    struct loop *l = xcalloc(1, sizeof *l);
    l->is_rcu_reader = is_rcu_reader;
    l->stop.deliver = on_stop;
    l->now = l->busy = clock_mono_ms();
    for (int i = 0; i < LOOP_PHASE_COUNT; i++)
        list_init(&l->hooks[i]);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0)
        goto undo_alloc;
    if (mailbox_init(&l->mailbox) != OK)
        goto undo_epoll;
    struct epoll_event wake = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->mailbox.wake_fd, &wake) != 0)
        goto undo_mailbox;
    l->wheel = timer_wheel_new(l->now);
    current = *out = l;
    return OK;
undo_mailbox:
    mailbox_fini(&l->mailbox);
undo_epoll:
    close(l->epoll_fd);
undo_alloc:
    free(l);
    return ERR_SYSTEM;
}

void loop_free(struct loop **l)
{
    if (*l == NULL)
        return;
    ASSERT(!(*l)->is_running);
    if (current == *l)
        current = NULL;
    for (int i = 0; i < LOOP_PHASE_COUNT; i++)
        while (list_take_first(&(*l)->hooks[i]))
            ;
    timer_wheel_free(&(*l)->wheel);
    mailbox_fini(&(*l)->mailbox);
    close((*l)->epoll_fd);
    free(*l);
    *l = NULL;
}

struct loop *loop_current(void)
{
    return current;
}

mono_ms loop_now(const struct loop *l)
{
    return l->now;
}

void loop_post(struct loop *l, struct letter *letter)
{
    mailbox_post(&l->mailbox, letter);
}

void loop_stop(struct loop *l)
{
    mailbox_post(&l->mailbox, &l->stop);
}

void loop_again(struct loop *l)
{
    l->again = true;
}

void loop_timer_after(struct loop *l, struct timer *t, mono_ms delay)
{
    if (!l->is_running) /* no turn has read the clock for this */
        l->now = clock_mono_ms();
    timer_arm(l->wheel, t, l->now + delay);
}

void loop_timer_at(struct loop *l, struct timer *t, mono_ms due)
{
    timer_arm(l->wheel, t, due);
}

/* ---- descriptors ---- */

enum err loop_watch_add(struct loop *l, struct loop_watch *w, int fd, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = w};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
        return ERR_SYSTEM;
    w->fd = fd;
    w->events = events;
    return OK;
}

void loop_watch_change(struct loop *l, struct loop_watch *w, uint32_t events)
{
    if (w->events == events)
        return;
    struct epoll_event ev = {.events = events, .data.ptr = w};
    int refused = epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev);
    ASSERT(!refused);
    w->events = events;
}

void loop_watch_remove(struct loop *l, struct loop_watch *w)
{
    if (w->fd < 0)
        return;
    int refused = epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    ASSERT(!refused);
    w->fd = -1;
    /* Its event of this turn may have been read already. */
    for (int i = l->next_event; i < l->event_count; i++)
        if (l->events[i].data.ptr == w)
            l->events[i].data.ptr = NULL;
}

static void tell_events(struct loop *l)
{
    for (l->next_event = 0; l->next_event < l->event_count;) {
        const struct epoll_event *ev = &l->events[l->next_event++];
        struct loop_watch *w = ev->data.ptr;
        if (w) /* NULL: the mailbox, or removed */
            w->fn(w, ev->events);
    }
    l->next_event = l->event_count = 0;
}

/* ---- hooks ---- */

void loop_hook_add(struct loop *l, struct loop_hook *h, enum loop_phase phase)
{
    h->loop = l;
    list_append(&l->hooks[phase], &h->node);
}

void loop_hook_remove(struct loop_hook *h)
{
    if (h->loop == NULL)
        return;
    if (h->loop->next_hook == &h->node)
        h->loop->next_hook = h->node.next;
    list_remove(&h->node);
    h->loop = NULL;
}

static bool run_phase(struct loop *l, enum loop_phase phase)
{
    bool did_something = false;
    struct list *hooks = &l->hooks[phase];
    for (struct list *n = hooks->next; n != hooks; n = l->next_hook) {
        l->next_hook = n->next;
        struct loop_hook *h = list_entry(n, struct loop_hook, node);
        did_something |= h->fn(h);
    }
    l->next_hook = NULL;
    return did_something;
}

static void run_hooks(struct loop *l)
{
    for (int round = 0; round < HOOK_ROUNDS; round++) {
        bool did_something = run_phase(l, LOOP_GATHER);
        did_something |= run_phase(l, LOOP_FLUSH);
        if (!did_something)
            return;
    }
    /* Enough for this turn, but what was gathered for others goes before the quiet point: it may name what we have
     * read under RCU. */
    run_phase(l, LOOP_GATHER);
    l->again = true;
}

/* ---- the turn ---- */

/* Milliseconds to sleep; -1: until something happens. */
static int sleep_ms(const struct loop *l)
{
    mono_ms due = timer_wheel_next(l->wheel);
    if (!l->idled && l->busy + IDLE_MS < due)
        due = l->busy + IDLE_MS;
    if (due == MONO_MS_NEVER)
        return -1;
    /* The turn has taken time: with its own clock a timer would come late by that. */
    mono_ms left = due - clock_mono_ms();
    return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

static void wait_for_events(struct loop *l)
{
    bool may_sleep = !l->again && mailbox_may_sleep(&l->mailbox);
    int timeout = may_sleep ? sleep_ms(l) : 0;
    l->again = false;
    if (l->is_rcu_reader && timeout == 0)
        rcu_quiet();
    else if (l->is_rcu_reader)
        rcu_sleep();
    int n = epoll_wait(l->epoll_fd, l->events, EVENTS_MAX, timeout);
    ASSERT(n >= 0 || errno == EINTR);
    if (l->is_rcu_reader && timeout != 0)
        rcu_wake();
    l->event_count = n > 0 ? n : 0;
}

static void look_if_idle(struct loop *l, bool was_busy)
{
    if (was_busy) {
        l->busy = l->now;
        l->idled = false;
    } else if (!l->idled && l->now - l->busy >= IDLE_MS) {
        l->idled = true;
        run_phase(l, LOOP_IDLE);
        buffer_cache_trim();
    }
}

static void turn(struct loop *l)
{
    wait_for_events(l);
    l->now = clock_mono_ms();
    bool was_busy = l->event_count > 0;
    tell_events(l);
    was_busy |= mailbox_drain(&l->mailbox);
    timer_wheel_run(l->wheel, l->now);
    run_hooks(l);
    look_if_idle(l, was_busy);
}

void loop_run(struct loop *l)
{
    ASSERT(current == l && !l->is_running);
    l->is_running = true;
    l->stop_wanted = false;
    if (l->is_rcu_reader)
        rcu_reader_start();
    while (!l->stop_wanted)
        turn(l);
    if (l->is_rcu_reader)
        rcu_reader_stop();
    l->is_running = false;
}
