/* section.h -- cut an encoded message into its sections while it arrives, whatever the borders of what arrives.
 *
 *     descriptor (0x00, ulong or symbol)   constructor   size       content
 *     |---------------- preamble ------------------------------|  |--------|     per section, repeated
 *
 * A message's body may be larger than memory; so only what is asked for is kept, and by the caller. Every byte of the
 * message is handed out exactly once.
 *
 * Source: AMQP 1.0 part 3.2, Messaging / Message Format; part 1.2, Type Encodings.
 * Thread: one at a time.
 */
#ifndef TRUNKLINE_TOOLS_CLIENT_SECTION_H
#define TRUNKLINE_TOOLS_CLIENT_SECTION_H

#include "tools/client/tool.h"

/* Descriptor codes of the sections. */
enum section {
    SECTION_HEADER = 0x70,
    SECTION_DELIVERY_ANNOTATIONS = 0x71,
    SECTION_MESSAGE_ANNOTATIONS = 0x72,
    SECTION_PROPERTIES = 0x73,
    SECTION_APPLICATION_PROPERTIES = 0x74,
    SECTION_DATA = 0x75,
    SECTION_SEQUENCE = 0x76,
    SECTION_VALUE = 0x77,
    SECTION_FOOTER = 0x78,
};

/* A run of bytes of one section. */
struct section_piece {
    enum section section;
    bool is_preamble;     /* descriptor, constructor and size; else content */
    uint8_t descriptor;   /* length of the descriptor with its 0x00, in a preamble */
    uint8_t constructor;  /* of the section's value; 0 where that value is itself described */
    const uint8_t *bytes; /* borrowed, until the next call */
    size_t size;
};

/* All zero bytes is a scan at the start of a message. */
struct section_scan {
    int step;
    enum section section;
    uint8_t constructor;
    unsigned values_left; /* values still to come before the section ends; more than one for described values */
    unsigned size_left;   /* bytes still to come of a size field or a symbol's length */
    uint64_t value_size;  /* size read so far; then content bytes still to come */
    bool in_content;      /* preamble handed out */
    uint8_t held[64];     /* the preamble, which may arrive in bits */
    uint8_t held_size, descriptor_size;
};

enum section_result { SECTION_PIECE, SECTION_NEED_MORE, SECTION_MALFORMED };

/* Take the next piece from *bytes, which moves on.
 *   Result: SECTION_PIECE, *out is filled; call again. SECTION_NEED_MORE, all of *bytes is used up.
 *           SECTION_MALFORMED, not an AMQP message; *why says where it departs, the scan is over.
 */
enum section_result section_next(struct section_scan *s, const uint8_t **bytes, size_t *size, struct section_piece *out,
                                 struct fault *why);

/* Whether the bytes so far end at a section's border, as a whole message does. */
bool section_is_complete(const struct section_scan *s);

/* Whether content of the constructor is a run of bytes or text as it stands: binary, string, symbol. */
bool section_is_bytes(uint8_t constructor);

#endif
