/* print.h -- encoded values and frames as text for logs. The notation is that of Proton, which people's scripts read:
 *   {:product="x", :"qd.conn-id"=1}   [1, null, true]   @PN_SYMBOL[:a, :b]   b"\x00ab"   @accepted(36) []
 *
 * All output is bounded by the caller's memory, always terminated, of printable ASCII only, and ends in "..." where it
 * was cut. What is printed need not be well-formed: what makes no sense shows as "<malformed>". Time and stack are
 * bounded by the output.
 *
 * Thread: any; pure.
 */
#ifndef TRUNKLINE_AMQP_PRINT_H
#define TRUNKLINE_AMQP_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trunkline/base/buffer.h>

/* Print the encoded value (empty: nothing).
 *   Units:  size, octets at out, at least 4.
 *   Result: length of the text. */
size_t amqp_value_print(struct slice value, char *out, size_t size);

/* Print a frame or protocol header as one line: `[C1]:0 <- @transfer(20) [handle=0, delivery-id=0] (163) "\x00Sp..."`.
 * Frames need not be whole: a payload that lies elsewhere is told by its size. Responses of SASL, which hold passwords,
 * are told by their length.
 *   Units:  conn, the number in [C]; n, octets at frame; size, octets at out, at least 4.
 *   Result: length of the text. */
size_t amqp_frame_print(uint64_t conn, bool incoming, const uint8_t *frame, size_t n, char *out, size_t size);

#endif
