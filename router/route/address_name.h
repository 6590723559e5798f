/* address_name.h -- from the text of an address to its key in the route table, and names that the router makes up.
 *
 *   text after the scheme and host   key            class
 *   _local/x                         Lx             ADDRESS_LOCAL
 *   _topo/0/<me>/x  _edge/<me>/x     Lx             ADDRESS_LOCAL
 *   _topo/0/all/x  _topo/all/all/x   Tx             ADDRESS_FLOOD
 *   _topo/0/<other>/...              R<other>       ADDRESS_ROUTER    }
 *   _topo/<area>/...                 A<area>        ADDRESS_AREA      } from an edge router: L_edge, its uplink
 *   _edge/<other>/...                H<other>       ADDRESS_EDGE      }
 *   anything else, x                 M<phase>x      ADDRESS_MOBILE
 *
 * Before that a leading `scheme:/`, `scheme://host/`, `//host/` or `/` is taken off, and one trailing `/` or `.`. What
 * is left is compared octet by octet. A standalone router reads addresses as an interior one does.
 *
 * Source: Qpid Dispatch 1.19, as in the table of its address forms; AMQP 1.0 part 3.2.4, Properties leaves the syntax
 * of addresses open. Thread: any; nothing here allocates or keeps state. One key is made for each message of an
 * anonymous sender.
 */
#ifndef TRUNKLINE_ROUTE_ADDRESS_NAME_H
#define TRUNKLINE_ROUTE_ADDRESS_NAME_H

#include <router/route/identity.h>
#include <stddef.h>
#include <trunkline/base/err.h>

/* The first letter of a key. */
enum address_class {
    ADDRESS_AREA = 'A',
    ADDRESS_LINK_ROUTE_PREFIX_IN = 'C', /* link routes: names of configuration, never made from an address */
    ADDRESS_LINK_ROUTE_PREFIX_OUT = 'D',
    ADDRESS_LINK_ROUTE_PATTERN_IN = 'E',
    ADDRESS_LINK_ROUTE_PATTERN_OUT = 'F',
    ADDRESS_EDGE = 'H',
    ADDRESS_LOCAL = 'L',
    ADDRESS_MOBILE = 'M',
    ADDRESS_ROUTER = 'R',
    ADDRESS_FLOOD = 'T',
};

enum {
    PHASE_DEFAULT = '0',
    PHASE_FALLBACK = 'F',
    ADDRESS_KEY_EXTRA = 2, /* a key is at most this much longer than its text */
    ADDRESS_TEMP_LEN = 20, /* "temp." and 15 characters */
    LINK_NAME_LEN = 22,    /* "qdlink." and 15 characters */
};

/* Write the key of the address `text` to out, without a terminating zero.
 *   Units:  phase, a character, used by mobile addresses only: '0' to '9', or PHASE_FALLBACK.
 *   Result: length of the key; 0: nothing is left of the text without scheme and separators, or it is longer than size.
 */
size_t address_name_key(const struct router_identity *me, const char *text, size_t len, char phase, char *out,
                        size_t size);

/* Write the key that a node id, "0/<id>" or "<area>/<id>", has as ingress or in a trace: R<id>, own id included.
 *   Result: length of the key; 0: not of that form, or longer than size.
 */
size_t address_name_node_key(const char *text, size_t len, char *out, size_t size);

/* The part of an address that names it: *text and *len lose scheme, host and one trailing separator. Configured rules
 * match this part. */
void address_name_strip(const char **text, size_t *len);

/* The class of a key (not of a text). A key has at least one character. */
static inline enum address_class address_name_class(const char *key)
{
    return (enum address_class)key[0];
}

/* The address text of a mobile key, for people and for rules: what follows class and phase; of others what follows the
 * class. */
const char *address_name_of_key(const char *key, size_t len, size_t *text_len);

/* Write an unguessable "temp.<15 of a-zA-Z0-9+_>" and a terminating zero.
 *   Errors: ERR_SYSTEM, no random numbers from the system.
 */
enum err address_name_generate_temp(char out[ADDRESS_TEMP_LEN + 1]);

/* The same for the name of a link that this router attaches: "qdlink.<15 ...>", as people know such links. */
enum err address_name_generate_link(char out[LINK_NAME_LEN + 1]);

/* Write the address that a receiver's dynamic source gets here, and a terminating zero: `amqp:/_topo/0/<me>/<temp>`, of
 * an edge router `amqp:/_edge/<me>/<temp>`. Result: its length; 0: it is longer than size - 1. */
size_t address_name_of_temp(const struct router_identity *me, const char *temp, char *out, size_t size);

#endif
