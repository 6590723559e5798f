/* message.h -- where the sections of a message lie (AMQP 1.0 part 3.2, Message Format): found without copying or
 * decoding bodies. A router reads header, message annotations and properties; the rest passes by untouched. Thread:
 * any; pure. */
#ifndef TRUNKLINE_AMQP_MESSAGE_H
#define TRUNKLINE_AMQP_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <trunkline/base/buffer.h>
#include <trunkline/base/err.h>

enum amqp_section {
    AMQP_SECTION_HEADER = 0x70,
    AMQP_SECTION_DELIVERY_ANNOTATIONS = 0x71,
    AMQP_SECTION_MESSAGE_ANNOTATIONS = 0x72,
    AMQP_SECTION_PROPERTIES = 0x73,
    AMQP_SECTION_APPLICATION_PROPERTIES = 0x74,
    AMQP_SECTION_DATA = 0x75,
    AMQP_SECTION_SEQUENCE = 0x76,
    AMQP_SECTION_VALUE = 0x77,
    AMQP_SECTION_FOOTER = 0x78
};

/* Offsets from the start of the message; length 0: the section is absent. Each starts at its descriptor. */
struct amqp_message_view {
    struct {
        uint32_t offset, length;
    } header, delivery_annotations, message_annotations, properties;
    uint32_t body; /* where the first section after the properties starts (or the end) */
};

/* Find the sections up to and including `depth` in the first n octets of a message.
 *   Result: v holds what was found, also on ERR_TRUNCATED: the sections that are whole.
 *   Errors: ERR_TRUNCATED, these octets end before depth is passed (feed more, or reject when the message is complete
 *           or too much was read); ERR_INVALID, not sections in standard order: reject amqp:decode-error.
 * A complete message may lack a body: with depth up to the properties, ERR_TRUNCATED and v->body == n say that the
 * octets end just where a section does.
 */
enum err amqp_message_scan(const uint8_t *m, size_t n, enum amqp_section depth, struct amqp_message_view *v);

/* Header's priority (default 4). Properties' `to`, subject...: a field of the properties list as text.
 * Result of amqp_message_to: the address inside m, data NULL when absent or no string. */
uint8_t amqp_message_priority(const uint8_t *m, const struct amqp_message_view *v);
struct slice amqp_message_to(const uint8_t *m, const struct amqp_message_view *v);
/* The same of its subject. */
struct slice amqp_message_subject(const uint8_t *m, const struct amqp_message_view *v);

/* Whether the message annotations hold an entry that a router has written (annotations.h). */
bool amqp_message_has_router_annotations(const uint8_t *m, const struct amqp_message_view *v);
/* Write the message annotations section without the routers' entries and, when `cut` is set, without anything that
 * follows the first of them, into out (at least the section's length). Result: octets written, 0 when
 * nothing is left of it. */
uint32_t amqp_message_strip_router_annotations(const uint8_t *m, const struct amqp_message_view *v, bool cut,
                                               uint8_t *out);

#endif
