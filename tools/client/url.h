/* url.h -- where to connect and which address to use, from what a person writes.
 *
 * Forms:  amqp[s]://[user[:password]@]host[:port][/address]    a URL
 *         host[:port]                                          a bus (option -b)
 *         host:port/address                                    an operand that names its host
 *         address                                              any other operand: an address alone
 * User and password may be percent-encoded; the address is taken as it stands, as brokers differ in what they decode.
 * An IPv6 host stands in brackets.
 *
 * Thread: any, no state.
 */
#ifndef TRUNKLINE_TOOLS_CLIENT_URL_H
#define TRUNKLINE_TOOLS_CLIENT_URL_H

#include "tools/client/tool.h"

/* Texts are owned by the struct, NULL where absent. port is NULL where the scheme's own is meant. */
struct url {
    bool tls;
    char *user, *password, *host, *port, *address;
};

/* Parse the value of -b: a URL or host[:port][/address].
 *   Ownership: *out is filled on success, url_fini() frees it.
 *   Errors:    names the text and what is wrong with it.
 */
bool url_parse_bus(const char *text, struct url *out, struct fault *why);

/* Parse an operand: a URL, host:port/address, or an address alone, which leaves host NULL.
 *   Ownership, Errors: as url_parse_bus; also a URL without an address.
 */
bool url_parse_operand(const char *text, struct url *out, struct fault *why);

/* The port to connect to: as given, or 5672, with TLS 5671 (AMQP 1.0 part 2.8.18, Constant Definitions). */
const char *url_port(const struct url *url);

/* Whether both lead to the same host, port, TLS and user. */
bool url_same_place(const struct url *a, const struct url *b);

void url_fini(struct url *url);

#endif
