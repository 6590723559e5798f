/* endpoint.h -- the opening of a connection by Proton: protocol headers, the SASL layer, and both Opens.
 *
 * This is the only module that knows Proton. Nothing of sessions, links or the flow of messages gets here: after both
 * Opens the connection takes the peer's description over and frees the endpoint, so an idle connection does not carry
 * Proton's 20 kB, and an attach does not pay Proton's walks over all links of a session
 * (docs/decisions/0001-where-proton-ends.md has the measurements).
 *
 *   start --peer's Open--> opened --endpoint_open()--> done;  any --error, refused SASL, end of stream--> failed
 *
 * SASL mechanisms ANONYMOUS, PLAIN and EXTERNAL are implemented here behind Proton's sasl_plugin.h, since Debian builds
 * Proton without Cyrus; a Cyrus implementation is another table of the same functions. Thread: the connection's owner.
 */
#ifndef TRUNKLINE_AMQP_ENDPOINT_H
#define TRUNKLINE_AMQP_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trunkline/amqp/conn.h>

enum endpoint_state {
    ENDPOINT_START,
    ENDPOINT_OPENED, /* the peer's Open is in */
    ENDPOINT_CLOSED, /* the peer has closed, after its Open or without it */
    ENDPOINT_FAILED, /* endpoint_error() says why; output may remain */
};

/* A client queues its Open at once. */
struct amqp_endpoint *endpoint_new(const struct amqp_conn_conf *conf);
void endpoint_free(struct amqp_endpoint **ep);

/* Whether the next octets should be a protocol header rather than a frame. */
bool endpoint_expects_header(const struct amqp_endpoint *ep);
/* One protocol header or frame, or whatever came in the place of one. Afterwards look at endpoint_state() and
 * _output(). */
void endpoint_input(struct amqp_endpoint *ep, const uint8_t *octets, size_t n);
/* The peer's stream has ended; why may be NULL. */
void endpoint_eof(struct amqp_endpoint *ep, const char *why);
/* Break off: Open (if that was not sent) and Close with the error. Not while SASL is under way: then nothing is said.
 */
void endpoint_fail(struct amqp_endpoint *ep, const char *condition, const char *description);
/* Send our Open. */
void endpoint_open(struct amqp_endpoint *ep);
/* Open, if that was not sent, and close; goes out when the protocol allows it. */
void endpoint_close(struct amqp_endpoint *ep, const struct amqp_error *error);

enum endpoint_state endpoint_state(const struct amqp_endpoint *ep);
/* The peer's Close or what went wrong; condition NULL: none. Borrowed until the next call. */
void endpoint_error(const struct amqp_endpoint *ep, struct amqp_error *out);
/* Octets to be written before anything else; len 0: none. Borrowed until endpoint_written(). */
struct slice endpoint_output(struct amqp_endpoint *ep);
void endpoint_written(struct amqp_endpoint *ep, size_t n);

/* What the peer's Open says. Ownership: one block of memory behind all pointers, *block, to be freed by the caller with
 * free(). */
void endpoint_peer(const struct amqp_endpoint *ep, struct amqp_conn_peer *out, void **block);

#endif
