/* mobile.h -- mobile addresses: which ones we tell the mesh of, and which routers have told us of which.
 *
 * An address is known by its key: class letter (M with a phase, C D E F link routes, H an edge router), then text. Ours
 * are announced in updates (MAU) numbered 1, 2, 3 ...: what was added and deleted since the last. A receiver that has
 * missed one sees it by the number and asks (MAR) for all there is. So at each end of it:
 *
 *   ours:    absent --add--> NEW --update--> ANNOUNCED --remove--> GONE --update--> absent
 *            removed while NEW, or added again while GONE: nothing is said
 *   theirs:  update n = known + 1: applied.  n <= known: seen before.  n > known + 1: a gap.  All there is: replaces.
 *            After a restart the first update counts as a gap too.
 *
 * A router's addresses are mapped while the router can be reached, and unmapped at once when it cannot: nothing is sent
 * towards what is not there (the old router keeps them for up to a minute). They are kept all the same, and mapped
 * again when it is back in the same life.
 *
 * Invariants
 *   A1  mapped() and unmapped() come by turns for a (key, router); after the last one it is mapped exactly if the
 *       router is reachable and its latest known state has the key.
 *   A2  No router has more than max_addresses here; what is beyond is left out, and that is logged.
 *
 * Source: Qpid Dispatch 1.19 as observed (MAU, MAR, mobile-address synchronisation). Thread: control; pure.
 */
#ifndef TRUNKLINE_MESH_MOBILE_H
#define TRUNKLINE_MESH_MOBILE_H

#include <stdbool.h>
#include <stdint.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/base/err.h>

struct mobile;

enum { MOBILE_HINT_NONE = -1, MOBILE_HINT_LAST = 5 };

/* Who uses it embeds this. Neither may call back into the module. */
struct mobile_owner {
    /* key: borrowed for the call. hint: MOBILE_HINT_NONE to MOBILE_HINT_LAST. */
    void (*mapped)(struct mobile_owner *o, const char *key, uint32_t router, int hint);
    void (*unmapped)(struct mobile_owner *o, const char *key, uint32_t router);
};

struct mobile *mobile_new(uint32_t max_addresses, struct mobile_owner *owner);
void mobile_free(struct mobile **m);

/* ---- ours ---- */

/* Errors: ERR_EXISTS, it is there already (the hint is taken over); ERR_INVALID, not a key that is announced. */
enum err mobile_add(struct mobile *m, const char *key, int hint);
/* Errors: ERR_NOT_FOUND. */
enum err mobile_remove(struct mobile *m, const char *key);
bool mobile_is_pending(const struct mobile *m);
int64_t mobile_seq(const struct mobile *m);
/* Number the next update from here on: another router says that we were further, in an earlier life. */
void mobile_skip_to(struct mobile *m, int64_t seq);

/* Keys, borrowed until the module is used again. */
struct mobile_list {
    const char *const *add;
    const int32_t *hints;
    uint32_t add_count;
    const char *const *del;
    uint32_t del_count;
};
/* Make the next update from what is pending. Result: false, nothing is. */
bool mobile_update(struct mobile *m, struct mobile_list *out);
/* All that has been announced, as of mobile_seq(). */
void mobile_all(struct mobile *m, struct mobile_list *out);

/* ---- theirs ---- */

/* Apply an update.
 *   Errors: ERR_EXISTS, seen before; ERR_AGAIN, there is a gap: ask for all there is. Nothing is changed. */
enum err mobile_receive_update(struct mobile *m, uint32_t router, int64_t seq, struct amqp_compound add,
                               struct amqp_compound hints, struct amqp_compound del);
/* Apply all there is. ERR_EXISTS: older than what is known. */
enum err mobile_receive_all(struct mobile *m, uint32_t router, int64_t seq, struct amqp_compound exist,
                            struct amqp_compound hints);
/* The last update applied; 0: none. */
int64_t mobile_known(const struct mobile *m, uint32_t router);
uint32_t mobile_count(const struct mobile *m, uint32_t router);
void mobile_set_reachable(struct mobile *m, uint32_t router, bool reachable);
/* The router has been restarted: none of its addresses holds any more. Updates carry nothing that tells its lives
 * apart, and one of the last may still be under way, so the first thing believed is a list of all there is. */
void mobile_restarted(struct mobile *m, uint32_t router);
/* The router is no longer known, its number will be another's. */
void mobile_forget(struct mobile *m, uint32_t router);

#endif
