/* How much credit the peer gets, and drains (qdrecv_priv.h). */
#include <proton/link.h>

#include "tools/qdrecv_priv.h"

static uint64_t still_wanted(const struct receiver *r)
{
    return r->set->count ? r->set->count - r->received : UINT64_MAX;
}

/* Credit that --rate allows by now, in all. */
static uint64_t allowed_by_rate(struct receiver *r, int64_t now)
{
    if (r->set->rate == 0)
        return UINT64_MAX;
    if (r->started == 0)
        r->started = now;
    return 1 + (uint64_t)((double)(now - r->started) / 1e6 * r->set->rate);
}

/* How much credit the link may get now. */
static uint64_t affordable(struct receiver *r, struct in_link *l, int64_t now)
{
    uint64_t credit = (uint64_t)pn_link_credit(l->pn), target = r->set->credit;
    uint64_t wanted = still_wanted(r), allowed = allowed_by_rate(r, now);
    if (wanted < target)
        target = wanted;
    if (target <= credit)
        return 0;
    uint64_t more = target - credit;
    if (r->set->rate == 0)
        return more;
    uint64_t granted = 0;
    for (size_t i = 0; i < r->link_count; i++)
        granted += r->links[i].granted;
    if (granted >= allowed) {
        r->conn.wake_at =
            tool_earlier(r->conn.wake_at, r->started + (int64_t)((double)granted * 1e6 / r->set->rate) + 1);
        return 0;
    }
    return more < allowed - granted ? more : allowed - granted;
}

void receiver_give_credit(struct receiver *r, struct in_link *l, int64_t now)
{
    uint64_t credit = (uint64_t)pn_link_credit(l->pn);
    bool is_low = credit <= r->set->credit / 2 || r->set->rate > 0;
    uint64_t more = is_low ? affordable(r, l, now) : 0;
    if (more == 0)
        return;
    l->granted += more;
    if (l->is_draining)
        pn_link_drain(l->pn, (int)more);
    else
        pn_link_flow(l->pn, (int)more);
}

void receiver_begin_drain(struct receiver *r, struct in_link *l)
{
    l->is_draining = true;
    uint64_t credit = (uint64_t)pn_link_credit(l->pn), target = r->set->credit;
    if (still_wanted(r) < target)
        target = still_wanted(r);
    uint64_t more = target > credit ? target - credit : 0;
    l->granted += more;
    pn_link_drain(l->pn, (int)more);
}

void receiver_check_drained(struct receiver *r, struct in_link *l)
{
    if (!l->is_draining || l->is_drained || pn_link_credit(l->pn) > 0)
        return;
    if (pn_link_drained(l->pn) > 0 || receiver_has_all(r))
        l->is_drained = true;
    else
        receiver_begin_drain(r, l);
}

bool receiver_is_drained(const struct receiver *r)
{
    for (size_t i = 0; i < r->link_count; i++)
        if (!r->links[i].is_drained)
            return false;
    return true;
}
