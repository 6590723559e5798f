/* termini.h -- encoded sources and targets: read, given another address, made (AMQP 1.0 part 3.5, Sources and Targets).
 * Pure: any thread. */
#ifndef TRUNKLINE_AMQP_TERMINI_H
#define TRUNKLINE_AMQP_TERMINI_H

#include <stdbool.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/terminus.h>

/* What an encoded terminus (empty: null) says; its address, which is not terminated, apart, and empty when it is no
 * text. Errors: ERR_INVALID, ERR_TRUNCATED: it is no source (as a target: no target or coordinator), or has a field
 * that may not be. */
enum err amqp_terminus_view_of(struct slice encoded, bool is_source, struct amqp_terminus_view *out,
                               struct slice *address);

/* Write one as a router makes it: not durable, expiring with its link. */
void amqp_terminus_write(struct amqp_writer *w, bool is_source, const char *address, bool dynamic,
                         const char *capability);

#endif
