#include <router/route/link.h>

#include <router/route/here.h>
#include <stdlib.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

void link_stats_settled(struct link_stats *s, mono_ms now, uint32_t n)
{
    int64_t second = now / 1000, last = atomic_load_explicit(&s->rate_second, memory_order_relaxed);
    if (second != last) {
        for (int64_t i = last + 1; i <= second && i <= last + LINK_RATE_SECONDS; i++)
            atomic_store_explicit(&s->settled_in[i % LINK_RATE_SECONDS], 0, memory_order_relaxed);
        atomic_store_explicit(&s->rate_second, second, memory_order_relaxed);
    }
    _Atomic uint32_t *slot = &s->settled_in[second % LINK_RATE_SECONDS];
    atomic_store_explicit(slot, atomic_load_explicit(slot, memory_order_relaxed) + n, memory_order_relaxed);
    atomic_store_explicit(&s->last_settled, now, memory_order_relaxed);
}

void link_stats_outcomes(struct link_stats *s, enum amqp_state_code code, uint64_t n)
{
    switch (code) {
    case AMQP_ACCEPTED:
        stat_add(&s->accepted, n);
        break;
    case AMQP_REJECTED:
        stat_add(&s->rejected, n);
        break;
    case AMQP_RELEASED:
        stat_add(&s->released, n);
        break;
    case AMQP_MODIFIED:
        stat_add(&s->modified, n);
        break;
    default:
        break;
    }
}

void link_stats_in_hand(struct link_stats *s, mono_ms now, uint32_t n)
{
    uint32_t before = atomic_load_explicit(&s->in_hand, memory_order_relaxed);
    atomic_store_explicit(&s->in_hand, n, memory_order_relaxed);
    if ((before == 0) != (n == 0))
        atomic_store_explicit(&s->busy_since, n ? now : 0, memory_order_relaxed);
}

mono_ms link_stats_waiting_since(const struct link_stats *s)
{
    int64_t busy = atomic_load_explicit(&s->busy_since, memory_order_relaxed);
    int64_t settled = atomic_load_explicit(&s->last_settled, memory_order_relaxed);
    return busy == 0 || busy > settled ? busy : settled;
}

uint32_t link_stats_stuck(const struct link_stats *s, mono_ms now, mono_ms age)
{
    mono_ms since = link_stats_waiting_since(s);
    if (since == 0 || now - since < age)
        return 0;
    return atomic_load_explicit(&s->in_hand, memory_order_relaxed);
}

uint32_t link_stats_settle_rate(const struct link_stats *s, mono_ms now)
{
    int64_t second = now / 1000, last = atomic_load_explicit(&s->rate_second, memory_order_relaxed);
    uint64_t sum = 0;
    for (int64_t i = last; i > second - LINK_RATE_SECONDS && i > last - LINK_RATE_SECONDS && i >= 0; i--)
        sum += atomic_load_explicit(&s->settled_in[i % LINK_RATE_SECONDS], memory_order_relaxed);
    return (uint32_t)(sum / LINK_RATE_SECONDS);
}

void link_note_credit(struct link *l)
{
    uint32_t credit = l->amqp.credit;
    atomic_store_explicit(&l->stats.credit, credit, memory_order_relaxed);
    int64_t since = atomic_load_explicit(&l->stats.zero_credit_since, memory_order_relaxed);
    if ((credit == 0) != (since != 0))
        atomic_store_explicit(&l->stats.zero_credit_since, credit ? 0 : here_now(), memory_order_relaxed);
}

void link_note_held(struct link *l, enum amqp_hindrance by)
{
    if (atomic_load_explicit(&l->stats.held_by, memory_order_relaxed) == by)
        return;
    atomic_store_explicit(&l->stats.held_by, by, memory_order_relaxed);
    atomic_store_explicit(&l->stats.held_since, by == AMQP_HINDRANCE_NONE ? 0 : here_now(), memory_order_relaxed);
}

struct slot {
    struct link *link; /* NULL: free */
    uint32_t generation;
    uint32_t next_free; /* index + 1; 0: none */
};

struct link_slots {
    struct slot *slots;
    uint32_t count, size, first_free;
    uint8_t worker;
};

struct link_slots *link_slots_new(int worker_index)
{
    ASSERT(worker_index >= 0 && worker_index < WORKER_NONE);
    struct link_slots *s = xcalloc(1, sizeof *s);
    s->worker = (uint8_t)worker_index;
    return s;
}

void link_slots_free(struct link_slots **s)
{
    if (*s)
        free((*s)->slots);
    free(*s);
    *s = NULL;
}

void link_slots_add(struct link_slots *s, struct link *l)
{
    uint32_t index;
    if (s->first_free) {
        index = s->first_free - 1;
        s->first_free = s->slots[index].next_free;
    } else {
        if (s->count == s->size) {
            s->size = s->size ? 2 * s->size : 16;
            s->slots = xrealloc(s->slots, s->size * sizeof *s->slots);
        }
        index = s->count++;
        s->slots[index].generation = 0;
    }
    struct slot *slot = &s->slots[index];
    slot->link = l;
    slot->next_free = 0;
    l->token = (struct link_token){.index = index, .generation = slot->generation, .worker = s->worker};
}

void link_slots_remove(struct link_slots *s, struct link *l)
{
    struct slot *slot = &s->slots[l->token.index];
    ASSERT(slot->link == l);
    slot->link = NULL;
    slot->generation = (slot->generation + 1) & 0xffffff;
    slot->next_free = s->first_free;
    s->first_free = l->token.index + 1;
}

struct link *link_slots_find(const struct link_slots *s, struct link_token t)
{
    if (t.index >= s->count || s->slots[t.index].generation != t.generation)
        return NULL;
    return s->slots[t.index].link;
}

struct link *link_slots_next(const struct link_slots *s, uint32_t *position)
{
    while (*position < s->count) {
        struct link *l = s->slots[(*position)++].link;
        if (l)
            return l;
    }
    return NULL;
}
