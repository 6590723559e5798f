/* resolve_priv.h -- addresses of a host name without blocking: getaddrinfo(3) on helper threads. Few at a time; they
 * start with the first name to be looked up and end when there is none left.
 *
 * Thread: the loop that started the lookup.
 */
#ifndef TRUNKLINE_IO_RESOLVE_PRIV_H
#define TRUNKLINE_IO_RESOLVE_PRIV_H

#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <trunkline/base/err.h>
#include <trunkline/io/loop.h>

/* Addresses of host that fit a TCP socket with this port; an address in numbers only, no lookup. Thread: any.
 *   Ownership: freeaddrinfo(*out).
 *   Errors:    ERR_NOT_FOUND, host is a name. */
enum err resolve_number(const char *host, uint16_t port, struct addrinfo **out);

struct resolution;
/* Exactly once, unless cancelled with true. found: the callee's to free, NULL: why says what is wrong. */
typedef void resolve_fn(struct resolution *r, struct addrinfo *found, const char *why);

/* Look host up; fn runs on the calling loop. Result: good until fn returns, or until cancelled with true. */
struct resolution *resolve_start(const char *host, uint16_t port, struct loop *home, resolve_fn *fn, void *owner);
void *resolve_owner(const struct resolution *r);
/* Result: true, fn will not run and r is gone. false: it is on its way already and fn will run. */
bool resolve_cancel(struct resolution *r);

#endif
