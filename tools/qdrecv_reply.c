/* Answers to requests (qdrecv_priv.h). */
#include <inttypes.h>
#include <proton/connection.h>
#include <proton/delivery.h>
#include <proton/link.h>
#include <proton/session.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "tools/qdrecv_priv.h"

enum { REPLY_LINK_LIMIT = 1000 };

/* A reply that waits for credit; its request is settled when it is sent. */
struct reply {
    struct reply *prev, *next;
    pn_delivery_t *request;
    char *address;
    pn_rwbytes_t encoded;
    size_t size;
};

/* Where replies go: one anonymous link if the peer relays, else one to each address. */
struct reply_link {
    char *address; /* key; "" for the anonymous one */
    pn_link_t *pn;
    struct reply *waiting;
    UT_hash_handle hh;
};

static struct reply_link *reply_link_to(struct receiver *r, const char *address)
{
    const char *key = r->is_anonymous_relay ? "" : address;
    struct reply_link *l;
    HASH_FIND_STR(r->reply_links, key, l);
    if (l)
        return l;
    if (HASH_COUNT(r->reply_links) >= REPLY_LINK_LIMIT) {
        conn_fail(&r->conn, "requests name more than %d reply addresses, and the peer has no anonymous relay",
                  REPLY_LINK_LIMIT);
        return NULL;
    }
    char name[300];
    l = tool_alloc(sizeof *l);
    l->address = tool_dup(key);
    snprintf(name, sizeof name, "%.200s.reply.%u", pn_connection_get_container(r->conn.pn), HASH_COUNT(r->reply_links));
    l->pn = pn_sender(r->session, name);
    pn_terminus_set_address(pn_link_target(l->pn), *key ? key : NULL);
    pn_link_open(l->pn);
    HASH_ADD_KEYPTR(hh, r->reply_links, l->address, strlen(l->address), l);
    return l;
}

static void reply_free(struct reply *reply)
{
    free(reply->address);
    free(reply->encoded.start);
    free(reply);
}

static void send_replies(struct receiver *r, struct reply_link *l)
{
    while (l->waiting && pn_link_credit(l->pn) > 0) {
        struct reply *reply = l->waiting;
        DL_DELETE(l->waiting, reply);
        uint64_t tag = ++r->reply_number;
        pn_delivery_t *d = pn_delivery(l->pn, pn_dtag((const char *)&tag, sizeof tag));
        pn_link_send(l->pn, reply->encoded.start, reply->size);
        pn_link_advance(l->pn);
        /* The requester knows itself if its answer does not come; the request is answered as far as we can tell. */
        if (r->set->presettled)
            pn_delivery_settle(d);
        r->replies++;
        receiver_settle(r, reply->request);
        reply_free(reply);
    }
}

void receiver_on_reply_outcome(struct receiver *r, pn_delivery_t *d)
{
    if (!pn_delivery_remote_state(d) && !pn_delivery_settled(d))
        return;
    uint64_t state = pn_delivery_remote_state(d);
    r->replies_refused += state == PN_REJECTED || state == PN_RELEASED || state == PN_MODIFIED;
    pn_delivery_settle(d);
}

static void put_reply_body(struct receiver *r, const struct print_body *body)
{
    pn_data_t *data = pn_message_body(r->reply_message);
    const char *text = r->set->reply_content;
    if (text) {
        pn_data_put_string(data, pn_bytes(strlen(text), text));
    } else if (body->kind == PRINT_BODY_DATA) {
        pn_message_set_inferred(r->reply_message, true);
        pn_data_put_binary(data, body->bytes);
    } else if (body->kind != PRINT_BODY_NONE) {
        pn_message_set_inferred(r->reply_message, body->kind == PRINT_BODY_SEQUENCE);
        pn_data_rewind(body->values);
        pn_data_appendn(data, body->values, 1);
    } else {
        pn_data_put_string(data, pn_bytes(0, ""));
    }
}

/* Answer to the request's reply-to, with its correlation-id or, if it has none, its message-id. */
static bool make_reply(struct receiver *r, pn_message_t *request, const struct print_body *body, struct reply *reply)
{
    pn_message_t *m = r->reply_message;
    pn_message_clear(m);
    pn_message_set_address(m, reply->address);
    pn_msgid_t id = pn_message_get_correlation_id(request);
    pn_message_set_correlation_id(m, id.type == PN_NULL ? pn_message_get_id(request) : id);
    pn_message_set_subject(m, pn_message_get_subject(request));
    pn_data_copy(pn_message_properties(m), pn_message_properties(request));
    put_reply_body(r, body);
    ssize_t size = pn_message_encode2(m, &reply->encoded);
    reply->size = size > 0 ? (size_t)size : 0;
    return size > 0;
}

bool receiver_answer(struct receiver *r, pn_delivery_t *request, pn_message_t *head, const struct print_body *body)
{
    const char *address = pn_message_get_reply_to(head);
    if (!address || !*address) {
        r->requests_without_address++;
        return false;
    }
    struct reply_link *l = reply_link_to(r, address);
    if (!l)
        return false;
    struct reply *reply = tool_alloc(sizeof *reply);
    reply->address = tool_dup(address);
    reply->request = request;
    if (!make_reply(r, head, body, reply)) {
        conn_fail(&r->conn, "cannot encode the reply to message %" PRIu64, r->received);
        reply_free(reply);
        return false;
    }
    DL_APPEND(l->waiting, reply);
    send_replies(r, l);
    return true;
}

void receiver_on_reply_credit(struct receiver *r, pn_link_t *link)
{
    struct reply_link *l, *next;
    HASH_ITER(hh, r->reply_links, l, next)
    if (l->pn == link)
        send_replies(r, l);
}

bool receiver_has_waiting_replies(const struct receiver *r)
{
    const struct reply_link *l;
    for (l = r->reply_links; l; l = l->hh.next)
        if (l->waiting)
            return true;
    return false;
}

void receiver_free_replies(struct receiver *r)
{
    struct reply_link *l, *next_link;
    struct reply *reply, *next;
    HASH_ITER(hh, r->reply_links, l, next_link)
    {
        HASH_DELETE(hh, r->reply_links, l);
        DL_FOREACH_SAFE(l->waiting, reply, next)
        reply_free(reply);
        free(l->address);
        free(l);
    }
}
