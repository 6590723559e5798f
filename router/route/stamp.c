#include <router/route/stamp.h>

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/clock.h>
#include <trunkline/base/list.h>
#include <trunkline/base/lock.h>
#include <uthash.h>

struct source {
    UT_hash_handle hh;  /* in stamps.sources, by id */
    struct list by_age; /* in stamps.by_age, the one that was silent for longest first */
    uint64_t id, newest;
    uint64_t passed[STAMP_WINDOW / 64]; /* one bit for each of the newest numbers, modulo the window */
};

struct stamps {
    struct lock lock;
    /* any thread, under the lock */
    struct source *sources;
    struct list by_age;
};

void stamp_start(struct stamp *last)
{
    /* Without entropy, which a system that has booted never lacks, the clock has to do. */
    if (getrandom(&last->source, sizeof last->source, 0) != sizeof last->source)
        last->source = (uint64_t)clock_wall_us() ^ (uint64_t)(uintptr_t)last << 32;
    last->number = 0;
}

void stamp_to_tag(const struct stamp *s, uint8_t tag[STAMP_TAG_LEN])
{
    uint64_t source = htole64(s->source), number = htole64(s->number);
    tag[0] = 'm';
    memcpy(tag + 1, &source, sizeof source);
    memcpy(tag + 9, &number, sizeof number);
}

struct stamp stamp_from_tag(struct slice tag)
{
    struct stamp s = {0};
    if (tag.len != STAMP_TAG_LEN || tag.data[0] != 'm')
        return s;
    memcpy(&s.source, tag.data + 1, sizeof s.source);
    memcpy(&s.number, tag.data + 9, sizeof s.number);
    return (struct stamp){.source = le64toh(s.source), .number = le64toh(s.number)};
}

struct stamps *stamps_new(void)
{
    struct stamps *all = xcalloc(1, sizeof *all);
    lock_init(&all->lock);
    list_init(&all->by_age);
    return all;
}

static void source_free(struct stamps *all, struct source *s)
{
    HASH_DEL(all->sources, s);
    list_remove(&s->by_age);
    free(s);
}

void stamps_free(struct stamps **p)
{
    struct stamps *all = *p;
    if (!all)
        return;
    struct source *s, *next;
    HASH_ITER(hh, all->sources, s, next)
    source_free(all, s);
    lock_fini(&all->lock);
    free(all);
    *p = NULL;
}

static struct source *source_of(struct stamps *all, uint64_t id) REQUIRES(all->lock)
{
    struct source *s;
    HASH_FIND(hh, all->sources, &id, sizeof id, s);
    if (s) {
        list_remove(&s->by_age);
        list_append(&all->by_age, &s->by_age);
        return s;
    }
    if (HASH_COUNT(all->sources) == STAMP_SOURCES_MAX)
        source_free(all, list_first(&all->by_age, struct source, by_age));
    s = xcalloc(1, sizeof *s);
    s->id = id;
    list_append(&all->by_age, &s->by_age);
    HASH_ADD(hh, all->sources, id, sizeof s->id, s);
    return s;
}

static void set_bit(struct source *s, uint64_t number, bool on)
{
    uint64_t bit = UINT64_C(1) << number % 64, *word = &s->passed[number % STAMP_WINDOW / 64];
    *word = on ? *word | bit : *word & ~bit;
}

/* The window ends with `number` from now on: what it takes in has not passed. */
static void move_to(struct source *s, uint64_t number)
{
    if (number - s->newest >= STAMP_WINDOW)
        memset(s->passed, 0, sizeof s->passed);
    else
        for (uint64_t n = s->newest + 1; n != number + 1; n++)
            set_bit(s, n, false);
    s->newest = number;
}

static bool source_pass(struct source *s, uint64_t number)
{
    if (number > s->newest)
        move_to(s, number);
    else if (s->newest - number >= STAMP_WINDOW)
        return true;
    bool has_passed = s->passed[number % STAMP_WINDOW / 64] >> number % 64 & 1;
    set_bit(s, number, true);
    return !has_passed;
}

bool stamps_pass(struct stamps *all, const struct stamp *s)
{
    lock_take(&all->lock);
    bool may = source_pass(source_of(all, s->source), s->number);
    lock_drop(&all->lock);
    return may;
}
