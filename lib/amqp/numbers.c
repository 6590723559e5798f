#include <stdlib.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

#include "conn_priv.h"

void amqp_numbers_init(struct numbers *n)
{
    *n = (struct numbers){.free = UINT32_MAX};
}

void amqp_numbers_fini(struct numbers *n)
{
    free(n->at);
    amqp_numbers_init(n);
}

uint32_t amqp_numbers_take(struct numbers *n, void *thing)
{
    ASSERT(thing && !((uintptr_t)thing & 1));
    uint32_t number = n->free;
    if (number != UINT32_MAX) {
        n->free = (uint32_t)((uintptr_t)n->at[number] >> 1);
    } else {
        if (n->used == n->capacity) {
            n->capacity = n->capacity ? n->capacity * 2 : 2;
            n->at = xrealloc(n->at, n->capacity * sizeof *n->at);
        }
        number = n->used++;
    }
    n->at[number] = thing;
    n->count++;
    return number;
}

void amqp_numbers_give(struct numbers *n, uint32_t number)
{
    ASSERT(amqp_numbers_get(n, number));
    if (--n->count == 0) {
        amqp_numbers_fini(n);
        return;
    }
    n->at[number] = (void *)((uintptr_t)n->free << 1 | 1);
    n->free = number;
}
