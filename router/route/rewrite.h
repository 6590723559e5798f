/* rewrite.h -- the beginning of a message as it goes on: with what routers say to each other about it, or without.
 *
 * The octets up to the end of the message annotations are written anew; what follows is left where it is, however much
 * it is. What was read of a message when it came is used again when it is written for the next router.
 *
 * Thread: a routing thread (here.h).
 */
#ifndef TRUNKLINE_ROUTE_REWRITE_H
#define TRUNKLINE_ROUTE_REWRITE_H

#include <stdbool.h>
#include <stdint.h>
#include <trunkline/amqp/annotations.h>
#include <trunkline/amqp/message.h>
#include <trunkline/base/buffer.h>

struct tidings;

/* What has been read of a message that begins at m; slices are borrowed from it. */
struct reading {
    uint32_t at, len; /* of the section of message annotations; len 0: there is none, and at is where it belongs */
    struct amqp_annotations annotations;
};

/* The same reading of a copy of the message at `to`, whose original is at `from`. */
void reading_move(struct reading *r, const uint8_t *from, const uint8_t *to);
/* Read the annotations of the message that begins at m. Errors: ERR_INVALID, and *why, as amqp_annotations_read(). */
enum err reading_init(struct reading *r, const uint8_t *m, const struct amqp_message_view *v, const char **why);

/* `front` takes the place of the message's first `replaced` octets. */
struct rewritten {
    size_t replaced;
    struct slice front; /* in one of these two */
    uint8_t *large;
    uint8_t usual[512];
};
void rewritten_fini(struct rewritten *w);

/* What these do: fill in *w, which is given up by rewritten_fini() then; false, *w needs none: the message goes as it
 * is. Those that take a reading can do with NULL: the message is read. */

/* For the next router: the tidings, where it entered the mesh (here, if nothing says otherwise), and this router as the
 * last that it has passed, once. Result: false, it could not be read. */
bool rewrite_for_router(const struct slice *message, const struct reading *known, const struct tidings *tidings,
                        struct rewritten *w);
/* As an edge router passes it on to its interior router, which is where it enters the mesh: the tidings, and nothing of
 * where it has been. Result: false, there is nothing to change. */
bool rewrite_for_interior(const struct slice *message, const struct reading *known, const struct tidings *tidings,
                          struct rewritten *w);
/* Without the annotations of routers; cut: and without what follows the first of them. Result: false, it could not be
 * read. */
bool rewrite_bare(const struct slice *message, const struct reading *known, bool cut, struct rewritten *w);

/* The message that comes of it, in a new buffer (count 1) that the caller gives up. */
struct slice rewritten_whole(const struct slice *message, const struct rewritten *w);

#endif
