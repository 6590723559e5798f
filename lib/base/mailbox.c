#include <trunkline/base/mailbox.h>

#include <errno.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <trunkline/base/assert.h>

enum err mailbox_init(struct mailbox *mb)
{
    mb->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (mb->wake_fd < 0)
        return ERR_SYSTEM;
    lock_init(&mb->lock);
    mb->head = NULL;
    mb->tail = &mb->head;
    mb->wake_wanted = true;
    mb->drained = 0;
    return OK;
}

void mailbox_fini(struct mailbox *mb)
{
    close(mb->wake_fd);
    mb->wake_fd = -1;
    lock_fini(&mb->lock);
}

static void wake(int fd)
{
    uint64_t one = 1;
    ssize_t n;
    do
        n = write(fd, &one, sizeof one);
    while (n < 0 && errno == EINTR);
    /* EAGAIN: the count is at its top, so the owner is being woken already. */
    ASSERT(n == sizeof one || errno == EAGAIN);
}

void mailbox_post(struct mailbox *mb, struct letter *l)
{
    if (atomic_exchange(&l->pending, true))
        return;
    l->next = NULL;
    lock_take(&mb->lock);
    *mb->tail = l;
    mb->tail = &l->next;
    /* Within the lock: once it is dropped the owner may deliver the letter and, if that was the last it waited for,
     * close the descriptor, so the poster must be through with it. */
    if (mb->wake_wanted)
        wake(mb->wake_fd);
    mb->wake_wanted = false;
    lock_drop(&mb->lock);
}

bool mailbox_may_sleep(struct mailbox *mb)
{
    lock_take(&mb->lock);
    bool is_empty = mb->head == NULL;
    mb->wake_wanted = is_empty;
    lock_drop(&mb->lock);
    return is_empty;
}

bool mailbox_drain(struct mailbox *mb)
{
    lock_take(&mb->lock);
    struct letter *l = mb->head;
    mb->head = NULL;
    mb->tail = &mb->head;
    lock_drop(&mb->lock);
    if (l == NULL)
        return false;
    while (l) {
        struct letter *next = l->next;
        mb->drained++;
        /* An exchange and not a store: it reads what the last vain poster wrote, so that whatever that thread changed
         * before its post is seen by the function. */
        atomic_exchange(&l->pending, false);
        l->deliver(l);
        l = next;
    }
    return true;
}
