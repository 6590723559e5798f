/* compose.h -- make the messages that qdsend sends from what was said on the command line.
 *
 * Where messages differ only by their number and time stamp, the message is encoded once, and those eight-byte fields
 * are written over in place: a message costs a copy. If a text holds {n}, the message's number, each is encoded anew.
 *
 * Properties that this adds when asked: sn, ulong, the number; ts, long, nanoseconds since 1970, as qpid-send named
 * them.
 *
 * Thread: one at a time.
 */
#ifndef TRUNKLINE_TOOLS_CLIENT_COMPOSE_H
#define TRUNKLINE_TOOLS_CLIENT_COMPOSE_H

#include <proton/types.h>

#include "tools/client/tool.h"
#include "tools/client/value.h"

enum compose_body { COMPOSE_NOTHING, COMPOSE_STRING, COMPOSE_DATA, COMPOSE_MAP, COMPOSE_LIST };

/* Texts are borrowed, NULL where not given. */
struct compose_conf {
    const char *id, *correlation_id;
    enum value_type id_type; /* of both: string, ulong, uuid or binary */
    const char *user_id, *subject, *reply_to, *content_type, *content_encoding, *group_id;
    const char *to; /* of all messages; a message's own `to` goes before */
    int priority;   /* -1: not given */
    uint32_t ttl_ms;
    bool durable;
    struct value_list properties, annotations;
    enum compose_body body;
    pn_bytes_t content;      /* STRING, DATA */
    struct value_list items; /* MAP, LIST */
    bool literal;            /* {n} stays as it is */
    bool number;             /* add property sn */
    bool stamp;              /* add property ts */
    bool request;            /* number as message-id and correlation-id, where these are not given */
};

struct compose;

/* Prepare to make messages to one address.
 *   Ownership: conf and to are lent until compose_free(); to may be NULL.
 *   Errors:    a value that cannot be encoded.
 */
bool compose_new(const struct compose_conf *conf, const char *to, struct compose **out, struct fault *why);

void compose_free(struct compose **c);

/* Reply to this address from now on, instead of the configured one.
 *   Ownership: lent until the next call.
 *   Errors:    as compose_new.
 */
bool compose_set_reply_to(struct compose *c, const char *reply_to, struct fault *why);

/* Make message number n.
 *   Ownership: *out is borrowed, until the next call.
 *   Units:     content: NULL for the configured one.
 *   Errors:    a text with {n} whose value does not fit its type, as ubyte for 256.
 */
bool compose_message(struct compose *c, uint64_t n, const pn_bytes_t *content, pn_bytes_t *out, struct fault *why);

/* Make message number n without its body, for a body that is streamed.
 *   Ownership, Errors: as compose_message.
 */
bool compose_head(struct compose *c, uint64_t n, pn_bytes_t *out, struct fault *why);

#endif
