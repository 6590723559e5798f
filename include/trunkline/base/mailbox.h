/* mailbox.h -- letters from any thread to the one that owns the mailbox.
 *
 * A letter is embedded in the object it is about; posting never allocates and cannot fail. Letters posted by one thread
 * are delivered in the order of posting. The owner is woken by an eventfd, and only when it has said that it goes to
 * sleep.
 */
#ifndef TRUNKLINE_BASE_MAILBOX_H
#define TRUNKLINE_BASE_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <trunkline/base/err.h>
#include <trunkline/base/lock.h>

struct letter;
/* Runs on the owner of the mailbox; from its start the letter is the receiver's to free or to post again. */
typedef void letter_fn(struct letter *l);

struct letter {
    struct letter *next;
    letter_fn *deliver;
    _Atomic bool pending; /* true while in a box: orders nothing, only makes a second post harmless */
};

#define LETTER_INIT(fn)                                                                                                \
    {                                                                                                                  \
        .deliver = (fn)                                                                                                \
    }

struct mailbox {
    /* fixed at creation */
    int wake_fd; /* eventfd, for the owner's poller, edge-triggered (EPOLLIN | EPOLLET): nobody reads it */
    /* any thread, under the lock */
    struct lock lock;
    struct letter *head, **tail;
    bool wake_wanted; /* the owner sleeps or is about to: the next post wakes it */
    /* owner only */
    uint64_t drained;
};

/* Errors: ERR_SYSTEM, no eventfd. */
enum err mailbox_init(struct mailbox *mb);
/* When no letter is on its way any more: posters are through with the box once their letter has been delivered. */
void mailbox_fini(struct mailbox *mb);

/* Queue l for the owner of mb. A pending letter stays where it is: one wake-up carries many changes.
 *   Thread:    any.
 *   Ownership: l is lent until its function starts; the object that holds it must live that long.
 */
void mailbox_post(struct mailbox *mb, struct letter *l);

/* Ask before blocking. Result: false, letters wait: drain them. After true the next post signals wake_fd.
 *   Thread: owner. */
bool mailbox_may_sleep(struct mailbox *mb);

/* Deliver all letters that are there now (not those posted meanwhile). Result: whether there were any. Thread: owner.
 */
bool mailbox_drain(struct mailbox *mb);

#endif
