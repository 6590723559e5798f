#include <router/route/patience.h>

#include <router/route/here.h>
#include <router/route/outgoing.h>

static void on_timer(struct timer *t)
{
    struct link *l = container_of(t, struct link, out.patience);
    if (l->out.unbound == 0)
        return;
    mono_ms now = here_now(), due = l->out.moved + PATIENCE_MS;
    loop_timer_at(here->loop, t, now < due ? due : now + PATIENCE_MS);
    if (now < due)
        return;
    l->out.has_stopped = true;
    outgoing_shed(l);
}

void patience_init(struct link *l)
{
    timer_init(&l->out.patience, on_timer);
}

static void arm(struct link *l)
{
    if (l->out.unbound && !timer_is_armed(&l->out.patience))
        loop_timer_after(here->loop, &l->out.patience, PATIENCE_MS);
}

bool patience_waits(struct link *l)
{
    l->out.unbound++;
    if (l->out.queued == 1)
        l->out.moved = here_now();
    arm(l);
    return !l->out.has_stopped;
}

void patience_ends(struct link *l)
{
    l->out.unbound--;
    if (l->out.unbound == 0)
        timer_cancel(&l->out.patience);
}

void patience_moved(struct link *l)
{
    l->out.moved = here_now();
    l->out.has_stopped = false;
    arm(l);
}

void patience_gone(struct link *l)
{
    timer_cancel(&l->out.patience);
}
