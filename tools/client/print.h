/* print.h -- write values and messages for people, for scripts (JSON lines) and for Python.
 *
 * JSON: strings, symbols and UUIDs are strings; binary is a string if it is UTF-8, else {"base64": "..."}; timestamps
 * are milliseconds; NaN and infinities are strings; a described value is {"descriptor": d, "value": v}; keys that are
 * not text are written as their JSON text. One message is one line. Python: literals that ast.literal_eval reads, as
 * `drain` printed; described values are Described(d, v).
 *
 * Whatever a peer sent is printable: control characters and bytes that are not UTF-8 are escaped, so it cannot steer
 * the terminal; values nested deeper than 64 are cut to "...".
 *
 * Thread: one at a time.
 */
#ifndef TRUNKLINE_TOOLS_CLIENT_PRINT_H
#define TRUNKLINE_TOOLS_CLIENT_PRINT_H

#include <proton/codec.h>
#include <proton/message.h>
#include <stdio.h>

#include "tools/client/tool.h"

enum print_style { PRINT_HUMAN, PRINT_JSON, PRINT_PYTHON };

/* The body of a message, whatever sections it came in. */
struct print_body {
    enum { PRINT_BODY_NONE, PRINT_BODY_DATA, PRINT_BODY_VALUE, PRINT_BODY_SEQUENCE } kind;
    pn_bytes_t bytes;  /* DATA: content of all its sections */
    pn_data_t *values; /* VALUE: one node; SEQUENCE: one list per section; borrowed */
};

/* Where a message came from, for the parts of the output that are not in it. */
struct print_origin {
    uint64_t number;     /* from 1 */
    const char *address; /* of the link; NULL to leave out */
};

/* Write the current node of data and what it holds. */
void print_value(FILE *out, pn_data_t *data, enum print_style style);

/* Write a message: head has all sections but the body. Ends with a newline. */
void print_one_message(FILE *out, pn_message_t *head, const struct print_body *body, const struct print_origin *origin,
                       enum print_style style);

/* Write text as a JSON string, quotes included; bytes that are not UTF-8 become U+FFFD. */
void print_json_text(FILE *out, const char *text);

#endif
