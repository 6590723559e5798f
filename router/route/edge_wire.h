/* edge_wire.h -- the messages between an edge router and the interior router that it is connected to, octet for octet.
 * Pure: no allocation, no state. Thread: any.
 *
 *   tracking, interior -> edge, presettled: does an address that the edge sends to have receivers elsewhere?
 *     header            durable false
 *     value             list of: string, key of the address ("M0queue"); boolean
 *   look-up, edge -> interior, presettled: is an address that a client attaches to that of a link route?
 *     properties        reply-to, correlation-id
 *     application-properties   version 1, opcode 1
 *     value             list of: string, address; boolean, true for a client that sends
 *   its answer, interior -> edge, presettled
 *     properties        to, correlation-id
 *     application-properties   version 1, opcode 1, status
 *     value             list of: boolean, it is a link route; boolean, it has destinations
 *   heartbeat, edge -> interior, presettled
 *     value             int, counted from 0
 *   link route, edge -> interior, a request to its management
 *     header            durable false
 *     properties        reply-to, correlation-id
 *     application-properties   operation CREATE or DELETE, type, identity (DELETE), name
 *     value             map of: type, pattern, direction, name; of a DELETE empty
 *
 * Router annotations are not written here: they come to each message as it leaves (forward.h).
 * Source: wire-protocol reference 2.5.1, Address tracking; 2.5.2, Address lookup; 2.5.3, Link-route
 * proxies; 2.5.4, Heartbeat.
 */
#ifndef TRUNKLINE_ROUTE_EDGE_WIRE_H
#define TRUNKLINE_ROUTE_EDGE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trunkline/base/buffer.h>
#include <trunkline/base/err.h>

/* Capability of the link by which an edge router itself is reached, on both termini. */
extern const char edge_wire_downlink[];

/* Result: the octets needed; nothing counts when they are more than size. */
size_t edge_wire_write_tracking(uint8_t *out, size_t size, const char *key, bool has_destinations);

/* Read one. Result: its key, borrowed from the message. Errors: ERR_INVALID, it is not of that form. */
enum err edge_wire_read_tracking(const uint8_t *message, size_t n, struct slice *key, bool *has_destinations);

enum edge_lookup_status { EDGE_LOOKUP_FOUND = 0, EDGE_LOOKUP_NOT_FOUND = 3 };

/* Slices are borrowed from the message. */
struct edge_lookup {
    struct slice reply_to, address;
    struct slice correlation; /* the encoded value; empty: there was none */
    bool is_sender;
};

/* Read a whole message. Errors: ERR_INVALID, it is not a request of version 1 that can be answered. */
enum err edge_wire_read_lookup(const uint8_t *message, size_t n, struct edge_lookup *out);

struct edge_lookup_answer {
    uint32_t status; /* enum edge_lookup_status, or another that an interior router says */
    bool is_link_route, has_destinations;
};

/* Result: as of edge_wire_write_tracking(). All members of l are written; correlation must be there. */
size_t edge_wire_write_lookup(uint8_t *out, size_t size, const struct edge_lookup *l);
/* Read an answer; *correlation is its text, borrowed from the message. Errors: ERR_INVALID, it is not one, of version
 * 1, that can be told from others. */
enum err edge_wire_read_answer(const uint8_t *message, size_t n, struct slice *correlation,
                               struct edge_lookup_answer *a);
size_t edge_wire_write_heartbeat(uint8_t *out, size_t size, int32_t count);

/* Result: as of edge_wire_write_tracking(). */
size_t edge_wire_write_answer(uint8_t *out, size_t size, const struct edge_lookup *to,
                              const struct edge_lookup_answer *a);

/* A link route to be made at the interior router, or, with an identity, deleted. Texts are borrowed. */
struct edge_route_request {
    const char *reply_to, *correlation, *name;
    const char *key;      /* address_name.h, class C to F; of a prefix without its wildcard */
    const char *identity; /* NULL: make it */
};
/* Result: as of edge_wire_write_tracking(). */
size_t edge_wire_write_route(uint8_t *out, size_t size, const struct edge_route_request *r);

/* What management answers. Slices are borrowed from the message; empty: absent. */
struct edge_route_answer {
    struct slice correlation, description, identity;
    int32_t status;
};
/* Errors: ERR_INVALID, it is no answer with a status. */
enum err edge_wire_read_route_answer(const uint8_t *message, size_t n, struct edge_route_answer *a);

#endif
