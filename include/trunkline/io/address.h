/* address.h -- ports and socket addresses as people write them. Thread: any. */
#ifndef TRUNKLINE_IO_ADDRESS_H
#define TRUNKLINE_IO_ADDRESS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <trunkline/base/err.h>

/* "host:port" of a socket address, IPv6 in brackets, cut to size; "local" for other families. */
void sockaddr_text(const struct sockaddr *sa, char *out, size_t size);

/* The port of a number (0 to 65535) or of a TCP service name. `amqp` (5672) and `amqps` (5671) are known even without a
 * services file.
 *   Errors: ERR_INVALID. */
enum err service_port(const char *service, uint16_t *port);

#endif
