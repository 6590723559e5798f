/* trace.h -- frames as lines of the log, PROTOCOL at trace, for connections whose owner asked for it. */
#ifndef TRUNKLINE_AMQP_TRACE_H
#define TRUNKLINE_AMQP_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trunkline/amqp/conn.h>
#include <trunkline/base/log.h>

/* One frame, or of a transfer whose payload lies elsewhere its head. */
/* Asked for this connection, or for all by the log's settings. */
static inline bool amqp_is_traced(const struct amqp_conn *c)
{
    return c->trace || log_enabled(LOG_PROTOCOL, LOG_LEVEL_TRACE);
}

void amqp_trace_frame(const struct amqp_conn *c, bool outgoing, const uint8_t *frame, size_t n);
static inline void amqp_trace(const struct amqp_conn *c, bool outgoing, const uint8_t *frame, size_t n)
{
    if (__builtin_expect(amqp_is_traced(c), 0))
        amqp_trace_frame(c, outgoing, frame, n);
}
/* Octets that hold protocol headers and frames one after another. */
void amqp_trace_stream(const struct amqp_conn *c, bool outgoing, const uint8_t *octets, size_t n);

#endif
