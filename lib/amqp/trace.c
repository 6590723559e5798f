#include "trace.h"

#include <string.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/print.h>
#include <trunkline/base/log.h>

void amqp_trace_frame(const struct amqp_conn *c, bool outgoing, const uint8_t *frame, size_t n)
{
    char line[1024];
    amqp_frame_print(c->id, !outgoing, frame, n, line, sizeof line);
    log_write_anyway(LOG_PROTOCOL, LOG_LEVEL_TRACE, __FILE__, __LINE__, "%s", line);
}

void amqp_trace_stream(const struct amqp_conn *c, bool outgoing, const uint8_t *octets, size_t n)
{
    if (!amqp_is_traced(c))
        return;
    while (n) {
        size_t size = n < 8 || memcmp(octets, "AMQP", 4) == 0 ? 8 : amqp_get32(octets);
        if (size > n || size < 8)
            size = n;
        amqp_trace_frame(c, outgoing, octets, size);
        octets += size;
        n -= size;
    }
}
