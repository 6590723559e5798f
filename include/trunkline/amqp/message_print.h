/* message_print.h -- parts of a message as text for the log (management reference 8.5, Message logging):
 *
 *   Message{message-id="m1", user-id=b"me", creation-time="2026-11-20 09:36:16.347000 +0000", app-properties={"a"=1}}
 *
 * The parts that can be shown are the fields of the properties section, in its order, then the application properties;
 * what is absent or null is left out. Strings and symbols are quoted, other octets than printable ASCII, and quotes and
 * backslashes, are `\hh`: no message can break a line or pretend to have another field. Times are in UTC.
 *
 * Output is bounded as in print.h. Messages need not be well-formed: what makes no sense shows as "<malformed>", and
 * "..." stands where the octets end too early. Thread: any; pure.
 */
#ifndef TRUNKLINE_AMQP_MESSAGE_PRINT_H
#define TRUNKLINE_AMQP_MESSAGE_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The set's member for "message-id" ... "reply-to-group-id", "app-properties". Result: false: there is no such part. */
bool amqp_message_part_by_name(const char *name, uint32_t *part);

/* How many of these first n octets of a message amqp_message_print() looks at: those before the body.
 *   Result: *whole: these are all of them; more of the message would not change the text. */
size_t amqp_message_head(const uint8_t *m, size_t n, bool *whole);

/* Print these parts of a message of which n octets are here.
 *   Units:  parts, a set; size, octets at out, at least 4.
 *   Result: length of the text. */
size_t amqp_message_print(const uint8_t *m, size_t n, uint32_t parts, char *out, size_t size);

/* Print a peer's name for something, escaped as above, without quotes. Units, Result: as above. */
size_t amqp_name_print(const char *name, char *out, size_t size);

#endif
