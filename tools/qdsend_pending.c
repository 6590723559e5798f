/* Messages that may be needed again, and their outcomes (qdsend_priv.h). */
#include <proton/delivery.h>
#include <proton/disposition.h>
#include <stdlib.h>
#include <utlist.h>

#include "tools/qdsend_priv.h"

struct pending *pending_new(uint64_t number)
{
    struct pending *p = tool_alloc(sizeof *p);
    p->number = number;
    return p;
}

void pending_free(struct pending *p)
{
    free(p->line);
    free(p);
}

void pending_free_all(struct sender *s)
{
    struct pending *p, *next;
    HASH_CLEAR(hh, s->waiting_replies);
    DL_FOREACH_SAFE(s->unsettled, p, next)
    pending_free(p);
    DL_FOREACH_SAFE(s->again, p, next)
    pending_free(p);
}

void pending_expect_reply(struct sender *s, struct pending *p)
{
    p->awaits_reply = true;
    HASH_ADD(hh, s->waiting_replies, number, sizeof p->number, p);
}

void pending_forget_reply(struct sender *s, struct pending *p)
{
    if (!p->awaits_reply)
        return;
    p->awaits_reply = false;
    HASH_DELETE(hh, s->waiting_replies, p);
}

void pending_add(struct sender *s, struct pending *p)
{
    DL_APPEND(s->unsettled, p);
    s->outstanding++;
}

static void remove_unsettled(struct sender *s, struct pending *p)
{
    DL_DELETE(s->unsettled, p);
    s->outstanding--;
}

void pending_maybe_done(struct sender *s, struct pending *p)
{
    if (p->awaits_outcome || p->awaits_reply)
        return;
    remove_unsettled(s, p);
    pending_free(p);
}

void pending_all_again(struct sender *s)
{
    struct pending *p, *next, *first = NULL;
    DL_FOREACH_SAFE(s->unsettled, p, next)
    {
        pending_forget_reply(s, p);
        remove_unsettled(s, p);
        p->due = 0;
        s->resent++;
        DL_APPEND(first, p);
    }
    DL_CONCAT(first, s->again);
    s->again = first;
}

uint64_t pending_age(const struct pending *p)
{
    return (uint64_t)(tool_mono_us() - p->sent_us) * 1000;
}

uint64_t pending_count(const struct sender *s)
{
    uint64_t n = s->outstanding;
    struct pending *p;
    DL_FOREACH(s->again, p)
    n++;
    return n;
}

/* ---- outcomes ---- */

static void remember_refusal(struct sender *s, const char *outcome, pn_disposition_t *remote)
{
    char text[250];
    snprintf(s->last_refusal, sizeof s->last_refusal, "%s (%s)", outcome,
             conn_condition_text(pn_disposition_condition(remote), "no reason given", text, sizeof text));
}

static bool may_resend(const struct sender *s, const struct pending *p)
{
    return s->set->resend && (s->set->resend_limit == 0 || p->attempts <= s->set->resend_limit);
}

static void send_again(struct sender *s, struct pending *p, int64_t due)
{
    pending_forget_reply(s, p);
    remove_unsettled(s, p);
    p->due = due;
    DL_APPEND(s->again, p);
}

/* It was not taken: send it again if that was asked, else it stays untaken and is counted so. */
static void not_taken(struct sender *s, struct pending *p, uint64_t *counter)
{
    if (may_resend(s, p)) {
        s->resent++;
        send_again(s, p, tool_mono_us() + s->set->resend_delay);
        return;
    }
    (*counter)++;
    pending_forget_reply(s, p); /* nobody got the request, nobody will answer */
    pending_maybe_done(s, p);
}

void pending_on_outcome(struct sender *s, pn_delivery_t *d)
{
    struct pending *p = pn_delivery_get_context(d);
    uint64_t state = pn_delivery_remote_state(d);
    pn_disposition_t *remote = pn_delivery_remote(d);
    bool is_terminal = state == PN_ACCEPTED || state == PN_REJECTED || state == PN_RELEASED || state == PN_MODIFIED;
    if (!p || !(is_terminal || pn_delivery_settled(d)))
        return;
    bool is_early = d == s->stream_delivery;
    if (is_early) {
        s->sent += p->attempts == 1;
        s->stream_delivery = NULL;
        s->streamed = NULL;
    }
    p->awaits_outcome = false;
    s->last_moved = tool_mono_us();
    if (s->set->latency && !s->set->request)
        histogram_add(&s->latency, pending_age(p));
    switch (state) {
    case PN_ACCEPTED:
        s->accepted++;
        pending_maybe_done(s, p);
        break;
    case PN_REJECTED:
        s->rejected++;
        remember_refusal(s, "rejected", remote);
        pending_forget_reply(s, p);
        pending_maybe_done(s, p);
        break;
    case PN_MODIFIED:
        remember_refusal(s, pn_disposition_is_undeliverable(remote) ? "modified, undeliverable here" : "modified",
                         remote);
        not_taken(s, p, &s->modified);
        break;
    case PN_RELEASED:
        remember_refusal(s, "released", remote);
        not_taken(s, p, &s->released);
        break;
    default:
        /* Settled without an outcome: the link's default outcome, which senders here leave at accepted. */
        s->accepted++;
        pending_maybe_done(s, p);
    }
    /* Decided while its body is still being sent: the rest goes nowhere. */
    if (is_early)
        pn_delivery_abort(d);
    else
        pn_delivery_settle(d);
}
