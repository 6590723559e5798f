/* The replies to requests (qdsend_priv.h). */
#include <proton/connection.h>
#include <proton/delivery.h>
#include <proton/link.h>
#include <proton/session.h>
#include <stdlib.h>

#include "tools/qdsend_priv.h"

enum { REPLY_CREDIT = 500 };

static void print_reply(struct sender *s, pn_message_t *head, const struct print_body *body)
{
    if (!s->set->print)
        return;
    progress_end(&s->progress, stderr);
    print_one_message(stdout, head, body, &(struct print_origin){.number = s->replies}, s->set->print_style);
    if (fflush(stdout) != 0)
        conn_fail(&s->conn, "cannot write to stdout: %s", strerror(errno));
}

static void match_reply(struct sender *s, pn_message_t *head)
{
    pn_msgid_t id = pn_message_get_correlation_id(head);
    struct pending *p = NULL;
    if (id.type == PN_ULONG)
        HASH_FIND(hh, s->waiting_replies, &id.u.as_ulong, sizeof id.u.as_ulong, p);
    if (!p) {
        /* Also a second reply, to a request that was sent again after a loss. */
        s->strange_replies++;
        return;
    }
    s->replies++;
    s->last_moved = tool_mono_us();
    if (s->set->latency)
        histogram_add(&s->latency, pending_age(p));
    pending_forget_reply(s, p);
    pending_maybe_done(s, p);
}

static void take_reply(struct sender *s)
{
    pn_message_t *head;
    struct print_body body;
    struct fault why;
    if (!incoming_message(s->reply_in, &head, &body, &why)) {
        conn_fail(&s->conn, "bad reply: %s", why.text);
        return;
    }
    uint64_t before = s->replies;
    match_reply(s, head);
    if (s->replies > before)
        print_reply(s, head, &body);
}

void sender_on_reply(struct sender *s, pn_delivery_t *d)
{
    uint64_t bytes = 0;
    struct fault why;
    enum incoming_result result = incoming_receive(s->reply_in, d, &bytes, &why);
    if (result == INCOMING_PARTIAL)
        return;
    if (result == INCOMING_BAD)
        conn_fail(&s->conn, "bad reply: %s", why.text);
    else if (result == INCOMING_WHOLE)
        take_reply(s);
    incoming_reset(s->reply_in);
    pn_delivery_update(d, PN_ACCEPTED);
    pn_link_advance(s->reply_link);
    pn_delivery_settle(d);
    if (pn_link_credit(s->reply_link) < REPLY_CREDIT / 2)
        pn_link_flow(s->reply_link, REPLY_CREDIT - pn_link_credit(s->reply_link));
}

void sender_on_reply_address(struct sender *s)
{
    const char *address = pn_terminus_get_address(pn_link_remote_source(s->reply_link));
    if (!address || !*address)
        return; /* refused: the detach that follows says why */
    free(s->reply_address);
    s->reply_address = tool_dup(address);
    struct fault why;
    for (size_t i = 0; i < s->link_count; i++)
        if (!compose_set_reply_to(s->links[i].compose, s->reply_address, &why))
            conn_fail(&s->conn, "%s", why.text);
    if (s->set->common.conn.verbose)
        fprintf(stderr, "qdsend: replies come to '%s'\n", s->reply_address);
}

void sender_open_reply_link(struct sender *s)
{
    char name[200];
    snprintf(name, sizeof name, "%.180s.replies", pn_connection_get_container(s->conn.pn));
    s->reply_link = pn_receiver(s->session, name);
    pn_terminus_set_dynamic(pn_link_source(s->reply_link), true);
    pn_link_open(s->reply_link);
    pn_link_flow(s->reply_link, REPLY_CREDIT);
}
