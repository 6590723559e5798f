/* incoming.h -- one link's message while it arrives: keep of it what is wanted, pass its content on, drop the rest.
 *
 * Thread: one at a time.
 */
#ifndef TRUNKLINE_TOOLS_CLIENT_INCOMING_H
#define TRUNKLINE_TOOLS_CLIENT_INCOMING_H

#include <proton/link.h>

#include "tools/client/print.h"
#include "tools/client/tool.h"

struct incoming_conf {
    bool want_head; /* decode header, annotations and properties */
    bool want_body; /* keep and decode the body */
    FILE *content;  /* write content here as it arrives; NULL for nowhere. Not with want_body */
    uint64_t limit; /* bytes that may be kept of one message */
};

struct incoming;

/* Ownership: conf is lent until incoming_free(). */
struct incoming *incoming_new(const struct incoming_conf *conf);
void incoming_free(struct incoming **in);

/* Write content of the message that comes next to another file. */
void incoming_set_content(struct incoming *in, FILE *content);

enum incoming_result { INCOMING_PARTIAL, INCOMING_WHOLE, INCOMING_ABORTED, INCOMING_BAD };

/* Take what has arrived of the link's current delivery.
 *   Units:  *bytes is raised by what was taken.
 *   Result: INCOMING_WHOLE, call incoming_message() if anything was wanted, then incoming_reset(). INCOMING_ABORTED:
 *           nothing to settle, the sender took it back; then incoming_reset(). INCOMING_BAD, *why says what is wrong
 *           with the message or with where its content goes; the rest of it is dropped until incoming_reset().
 */
enum incoming_result incoming_receive(struct incoming *in, pn_delivery_t *delivery, uint64_t *bytes, struct fault *why);

/* Decode what was kept.
 *   Ownership: both are borrowed, until incoming_reset().
 *   Result:    without want_body, the body is PRINT_BODY_NONE.
 *   Errors:    sections that do not decode.
 */
bool incoming_message(struct incoming *in, pn_message_t **head, struct print_body *body, struct fault *why);

/* Be ready for the next message. */
void incoming_reset(struct incoming *in);

/* Take bytes as incoming_receive() does, from memory: for it, and for tests. */
bool incoming_feed(struct incoming *in, const uint8_t *bytes, size_t size, struct fault *why);

#endif
