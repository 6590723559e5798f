/* annotations.h -- what routers tell each other about a message, in its message annotations (AMQP 1.0 part 3.2.3,
 * Message Annotations): where it goes, where it came into the mesh, and which routers it has passed.
 *
 *   00 53 72           descriptor: message-annotations
 *   c1 SS CC           map8, or d1 with four octets each: size, count of keys and values
 *   ...                the user's entries, as they came
 *   x-opt-trunkline.exchanged  a0 LL ...  binary: the exchanges it has passed (router/route/lineage.h). Routers before
 *                      us take it for an entry of the user, and carry it on at its place
 *   x-opt-qd.phase     54 PP          int: phase of the destination; absent: 0
 *   x-opt-qd.stream    54 01          int: its presence says: forward as it comes
 *   x-opt-qd.to        a1 LL ...      string: where the message goes; absent: where its properties say
 *   x-opt-qd.ingress   a1 LL ...      string: node id of the first router, "0/<router id>"
 *   x-opt-qd.trace     c0 SS CC ...   list of strings: node ids passed, oldest first; each router appends its own
 *
 * Keys are symbols. Routers before 1.19 send to, trace, ingress, phase, stream, filled up to five entries by ones whose
 * key is the bare prefix, and find only the last five; both forms are read, and what is written here suits both.
 *
 * What a reader makes of the order of entries is as in Qpid Dispatch 1.19, so that a message fares alike whichever
 * router it meets:
 *   - Keys without a meaning here, "x-opt-qd.other" too, are the user's, as long as they stand before the first router
 *     entry: such a run is carried on unchanged.
 *   - Behind the first router entry they are dropped; and each of them costs the map's last entry (a trace, usually).
 *     No router writes such an order.
 *
 * Nothing is allocated. Slices that come out are borrowed from the section. Thread: any; pure. */
#ifndef TRUNKLINE_AMQP_ANNOTATIONS_H
#define TRUNKLINE_AMQP_ANNOTATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <trunkline/base/buffer.h>
#include <trunkline/base/err.h>

/* What a key of the map means. */
enum amqp_annotation {
    AMQP_ANNOTATION_OTHER,    /* does not begin "x-opt-qd." */
    AMQP_ANNOTATION_UNKNOWN,  /* does, but is none of those below */
    AMQP_ANNOTATION_OBSOLETE, /* "x-opt-qd.class" and the bare prefix: router entries that say nothing */
    AMQP_ANNOTATION_EXCHANGED,
    AMQP_ANNOTATION_PHASE,
    AMQP_ANNOTATION_STREAM,
    AMQP_ANNOTATION_TO,
    AMQP_ANNOTATION_INGRESS,
    AMQP_ANNOTATION_TRACE
};
enum amqp_annotation amqp_annotation_of(struct slice key);

/* Whether a router wrote the entry; all others are the user's. */
static inline bool amqp_annotation_is_of_router(enum amqp_annotation what)
{
    return what >= AMQP_ANNOTATION_OBSOLETE;
}

/* What phases there may be: one octet of an int that is no sign. */
#define AMQP_PHASE_MAX 127

struct amqp_annotations {
    struct slice user;   /* the user's keys and values, encoded, well-formed throughout */
    uint32_t user_count; /* how many values that is: two for each entry */
    bool by_router;      /* there are entries of routers */
    bool is_mixed;       /* and others behind them, which are not among the user's here */
    uint8_t phase;
    bool stream;
    struct slice exchanged, to, ingress; /* data NULL: absent */
    struct {
        struct slice ids;  /* encoded strings: walk over them with amqp_read_string() */
        uint32_t count;    /* 0: no trace, or an empty one */
        bool is_long_form; /* one of them is a string32 that could be a string8 */
    } trace;
};

/* Read a section, from its descriptor to its end (amqp_message_scan() finds it); of length 0: there is none, and
 * nothing is found.
 *   only_user: take the user's entries and nothing from the first router entry on, whatever it is: what a client says
 *              there has no weight (stripAnnotations in).
 *   Errors:    ERR_INVALID, and *why is a static text: reject the delivery, amqp:invalid-field with this description.
 */
enum err amqp_annotations_read(struct slice section, bool only_user, struct amqp_annotations *a, const char **why);

/* Whether the trace names this node id: the message has been there. */
bool amqp_annotations_have_passed(const struct amqp_annotations *a, struct slice node_id);

/* Write the section: the user's entries, then what of exchanged, phase (not 0), stream, to, ingress and trace there is,
 * in the smallest encodings, with node_id (of length 0: none) as the trace's last.
 *   Result: the octets needed; 0: the section is empty and left out. Nothing is stored when they are more than
 *           capacity. */
size_t amqp_annotations_write(void *out, size_t capacity, const struct amqp_annotations *a, struct slice node_id);

/* No section written from a is longer, found without looking at it closely. */
static inline size_t amqp_annotations_size_max(const struct amqp_annotations *a, struct slice node_id)
{
    /* Heads at their longest: of the section 3 + 9, of keys, integers, strings and the list. */
    enum { EXCHANGED = 2 + 25 + 5, PHASE = 2 + 14 + 2, STREAM = 2 + 15 + 2, TO = 2 + 11 + 5, INGRESS = 2 + 16 + 5 };
    enum { TRACE = 2 + 14 + 9 + 5 };
    return 3 + 9 + EXCHANGED + PHASE + STREAM + TO + INGRESS + TRACE + a->user.len + a->exchanged.len + a->to.len +
           a->ingress.len + a->trace.ids.len + node_id.len;
}

#endif
