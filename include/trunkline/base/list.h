/* list.h -- intrusive doubly linked lists: the node is embedded, list_entry() recovers what it is embedded in.
 * A detached node points to itself, so list_remove() is harmless twice. Thread: the owner of the list. */
#ifndef TRUNKLINE_BASE_LIST_H
#define TRUNKLINE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

struct list {
    struct list *prev, *next;
};

#define LIST_INIT(l)                                                                                                   \
    {                                                                                                                  \
        &(l), &(l)                                                                                                     \
    }

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_is_empty(const struct list *l)
{
    return l->next == l;
}

/* Whether node n is in a list. */
static inline bool list_is_linked(const struct list *n)
{
    return n->next != n;
}

static inline void list_insert_before(struct list *at, struct list *n)
{
    n->prev = at->prev;
    n->next = at;
    at->prev->next = n;
    at->prev = n;
}

static inline void list_append(struct list *l, struct list *n)
{
    list_insert_before(l, n);
}

static inline void list_prepend(struct list *l, struct list *n)
{
    list_insert_before(l->next, n);
}

static inline void list_remove(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}

/* Take the first node out; NULL when empty. */
static inline struct list *list_take_first(struct list *l)
{
    if (list_is_empty(l))
        return NULL;
    struct list *n = l->next;
    list_remove(n);
    return n;
}

/* Move all nodes of `from` to the end of `to`. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_is_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define list_entry(node, type, member) container_of(node, type, member)
#define list_first(l, type, member) list_entry((l)->next, type, member)
#define list_for_each(node, l) for (struct list *node = (l)->next; node != (l); node = node->next)
/* The current node may be removed. */
#define list_for_each_safe(node, l)                                                                                    \
    for (struct list *node = (l)->next, *node##_next = node->next; node != (l);                                        \
         node = node##_next, node##_next = node->next)

#endif
