/* identity.h -- who this router is. Fixed at start, read by any thread. */
#ifndef TRUNKLINE_ROUTE_IDENTITY_H
#define TRUNKLINE_ROUTE_IDENTITY_H

enum router_mode {
    ROUTER_STANDALONE,
    ROUTER_INTERIOR,
    ROUTER_EDGE,
};

enum { ROUTER_ID_MAX = 127 }; /* octets */

struct router_identity {
    const char *id; /* 1 to ROUTER_ID_MAX octets; the text of its node id is "0/<id>": there is one area, 0 */
    enum router_mode mode;
};

#endif
