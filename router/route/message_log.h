/* message_log.h -- a line in the log for each message that comes and goes on connections whose listener or connector
 * has messageLoggingComponents, while log module MESSAGE is at trace (management reference 8.5, Message logging):
 *
 *   [C7]: Received Message{message-id="m1", to="foo"} on link 'l' (<none> -> foo)
 *
 * The line is written when the last frame is here, or out. Of a message in several frames its head is kept until then:
 * the sections before the body, at most MESSAGE_LOG_HEAD_MAX octets of them, once for each link. The body never is.
 * A message that is under way when the level changes is logged only if its first frame was seen.
 *
 * On other connections it costs one test for each frame: callers ask message_log_is_on() first.
 * Thread: the link's worker.
 */
#ifndef TRUNKLINE_ROUTE_MESSAGE_LOG_H
#define TRUNKLINE_ROUTE_MESSAGE_LOG_H

#include <router/route/connection.h>
#include <router/route/link.h>

#define MESSAGE_LOG_HEAD_MAX (64 * 1024)

static inline bool message_log_is_on(const struct link *l)
{
    return __builtin_expect(l->conn->message_parts != 0, 0);
}

/* A piece of a message has come, or is out. first, last: of the message's pieces. */
void message_log_piece(struct link *l, bool first, bool last, const uint8_t *octets, size_t n);
/* The message in progress is larger than may be: its line will say so instead of what it is. */
void message_log_oversize(struct link *l);
/* The message in progress was given up by its sender, so there is no last piece. */
void message_log_aborted(struct link *l);
/* Forget what is kept of the message in progress, if any. */
void message_log_forget(struct link *l);

#endif
