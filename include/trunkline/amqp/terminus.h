/* terminus.h -- what a source or target of an attach says (AMQP 1.0 part 3.5, Sources and Targets). */
#ifndef TRUNKLINE_AMQP_TERMINUS_H
#define TRUNKLINE_AMQP_TERMINUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trunkline/base/buffer.h>

enum amqp_terminus_kind { AMQP_TERMINUS_NULL, AMQP_TERMINUS_NODE, AMQP_TERMINUS_COORDINATOR };
enum amqp_durability { AMQP_DURABILITY_NONE, AMQP_DURABILITY_CONFIGURATION, AMQP_DURABILITY_UNSETTLED };
enum amqp_expiry { AMQP_EXPIRE_LINK_DETACH, AMQP_EXPIRE_SESSION_END, AMQP_EXPIRE_CONNECTION_CLOSE, AMQP_EXPIRE_NEVER };

struct amqp_terminus_view {
    enum amqp_terminus_kind kind;
    const char *address; /* NULL: absent */
    bool dynamic;
    bool copies; /* source: distribution-mode copy */
    enum amqp_durability durability;
    enum amqp_expiry expiry;
    uint32_t timeout; /* seconds */
    /* Encoded values as they came, empty when absent; borrowed until the link is gone. */
    struct slice dynamic_properties, capabilities, filter, outcomes;
};

/* Whether capabilities, encoded as they came (empty: none), hold this symbol, alone or in an array. Thread: any. */
bool amqp_has_capability(struct slice capabilities, const char *symbol);
bool amqp_terminus_has_capability(const struct amqp_terminus_view *t, const char *symbol);

/* A terminus with another address, all else as it was (empty: a bare one).
 *   Ownership: the result is memory that the caller frees; *out lies inside. A coordinator has no address: the result
 *              is NULL, and *out what came. `encoded` is one that the engine has read from an attach. */
void *amqp_terminus_readdress(struct slice encoded, bool is_source, const char *address, struct slice *out);

/* The text that logs show (management reference section 8.4): "{name expire:sess caps:..}"; always terminated. Result:
 * its length. */
size_t amqp_terminus_print(const struct amqp_terminus_view *t, char *out, size_t size);

#endif
