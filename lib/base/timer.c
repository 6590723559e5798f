#include <trunkline/base/timer.h>

#include <stdint.h>
#include <stdlib.h>

#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

/* Level l has 64 slots of 64^l milliseconds. A timer stands on the level of the highest digit (base 64) in which its
 * due time differs from the wheel's time, in the slot of that digit. So the slots of one level that hold timers all lie
 * ahead of the wheel's time and within its current slot of the next level, and the first timer is always in the first
 * used slot of the lowest used level. When time reaches a slot above level 0 its timers move down.
 *
 * 7 levels last for 139 years after boot. A bit of `used` may be set for a slot that has been emptied by cancelling,
 * since timer_cancel() does not know the wheel; it is cleared when time reaches it.
 */
#define DIGIT_BITS 6
#define SLOTS (1 << DIGIT_BITS)
#define LEVELS 7
#define LAST_MS (((mono_ms)1 << (DIGIT_BITS * LEVELS)) - 1)

struct timer_wheel {
    mono_ms now; /* everything due by then has been fired, or is in overdue */
    uint64_t used[LEVELS];
    struct list overdue; /* armed for a time that had passed */
    struct list firing;  /* being fired: a timer may still be cancelled by an earlier one */
    struct list slots[LEVELS][SLOTS];
};

struct timer_wheel *timer_wheel_new(mono_ms now)
{
    ASSERT(now >= 0 && now < LAST_MS);
    struct timer_wheel *w = xcalloc(1, sizeof *w);
    w->now = now;
    list_init(&w->overdue);
    list_init(&w->firing);
    for (int level = 0; level < LEVELS; level++)
        for (int i = 0; i < SLOTS; i++)
            list_init(&w->slots[level][i]);
    return w;
}

static void forget_all(struct list *l)
{
    while (list_take_first(l))
        ;
}

void timer_wheel_free(struct timer_wheel **w)
{
    if (*w == NULL)
        return;
    forget_all(&(*w)->overdue);
    forget_all(&(*w)->firing);
    for (int level = 0; level < LEVELS; level++)
        for (int i = 0; i < SLOTS; i++)
            forget_all(&(*w)->slots[level][i]);
    free(*w);
    *w = NULL;
}

/* Put an unlinked timer where it belongs: into `past` when due by the wheel's time, else into its slot. */
static void place(struct timer_wheel *w, struct timer *t, struct list *past)
{
    if (t->due <= w->now) {
        list_append(past, &t->node);
        return;
    }
    mono_ms due = t->due < LAST_MS ? t->due : LAST_MS;
    int level = (63 - __builtin_clzll((uint64_t)(due ^ w->now))) / DIGIT_BITS;
    int slot = (due >> (level * DIGIT_BITS)) & (SLOTS - 1);
    list_append(&w->slots[level][slot], &t->node);
    w->used[level] |= (uint64_t)1 << slot;
}

void timer_arm(struct timer_wheel *w, struct timer *t, mono_ms due)
{
    list_remove(&t->node);
    t->due = due;
    if (due != MONO_MS_NEVER)
        place(w, t, &w->overdue);
}

void timer_cancel(struct timer *t)
{
    list_remove(&t->node);
    t->due = MONO_MS_NEVER;
}

/* When the given slot begins. */
static mono_ms slot_start(const struct timer_wheel *w, int level, int slot)
{
    int shift = level * DIGIT_BITS;
    mono_ms above = w->now >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
    return above | (mono_ms)slot << shift;
}

/* The first slot marked used. Result: false when there is none. */
static bool first_used(const struct timer_wheel *w, int *level, int *slot)
{
    for (int l = 0; l < LEVELS; l++)
        if (w->used[l]) {
            *level = l;
            *slot = __builtin_ctzll(w->used[l]);
            return true;
        }
    return false;
}

static void fire_all(struct timer_wheel *w)
{
    for (struct list *n; (n = list_take_first(&w->firing));) {
        struct timer *t = list_entry(n, struct timer, node);
        t->due = MONO_MS_NEVER;
        t->fire(t);
    }
}

void timer_wheel_run(struct timer_wheel *w, mono_ms now)
{
    ASSERT(now < LAST_MS);
    list_splice(&w->firing, &w->overdue);
    fire_all(w);
    int level, slot;
    while (first_used(w, &level, &slot)) {
        mono_ms start = slot_start(w, level, slot);
        if (start > now)
            break;
        w->now = start;
        w->used[level] &= ~((uint64_t)1 << slot);
        struct list moving;
        list_init(&moving);
        list_splice(&moving, &w->slots[level][slot]);
        for (struct list *n; (n = list_take_first(&moving));)
            place(w, list_entry(n, struct timer, node), &w->firing);
        fire_all(w);
    }
    if (now > w->now)
        w->now = now;
}

/* When the first timer of a slot is due, if there are few; else when the slot begins, and its timers move down. */
static mono_ms first_of_slot(const struct timer_wheel *w, int level, int slot)
{
    enum { FEW = 16 };
    mono_ms first = MONO_MS_NEVER;
    int n = 0;
    list_for_each(at, (struct list *)&w->slots[level][slot])
    {
        if (++n > FEW)
            return slot_start(w, level, slot);
        mono_ms due = list_entry(at, struct timer, node)->due;
        first = due < first ? due : first;
    }
    return first;
}

mono_ms timer_wheel_next(const struct timer_wheel *w)
{
    if (!list_is_empty(&w->overdue))
        return w->now;
    for (int level = 0; level < LEVELS; level++)
        for (uint64_t left = w->used[level]; left; left &= left - 1) {
            int slot = __builtin_ctzll(left);
            if (!list_is_empty(&w->slots[level][slot]))
                return first_of_slot(w, level, slot);
        }
    return MONO_MS_NEVER;
}
