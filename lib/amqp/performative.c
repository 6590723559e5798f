#include <trunkline/amqp/performative.h>

enum err amqp_field_read_map(struct amqp_reader *r, struct slice *v)
{
    int code = amqp_peek(r);
    if (code >= 0 && amqp_type_of((uint8_t)code) != AMQP_TYPE_MAP)
        return ERR_INVALID;
    return amqp_read_raw(r, v);
}

enum err amqp_field_read_symbols(struct amqp_reader *r, struct slice *v)
{
    struct amqp_reader copy = *r, whole = *r;
    struct amqp_array array;
    struct slice one;
    if (amqp_enter_array(&copy, &array) == OK) {
        /* An empty array's elements are of no consequence: some write null as their type. */
        if (array.descriptor.len || (array.count && amqp_type_of(array.code) != AMQP_TYPE_SYMBOL))
            return ERR_INVALID;
    } else if (amqp_read_symbol(&copy, &one) != OK) {
        return ERR_INVALID;
    }
    enum err e = amqp_read_raw(&whole, v);
    if (e == OK)
        *r = whole;
    return e;
}

enum err amqp_fields_finish(struct amqp_compound *list)
{
    for (; list->count; list->count--)
        if (amqp_check(&list->in) != OK)
            return ERR_INVALID;
    return list->in.at == list->in.end ? OK : ERR_INVALID;
}

#define DEFINE(NAME, name) AMQP_COMPOSITE_DEFINE(, NAME, name)
AMQP_COMPOSITES_OUT_OF_LINE(DEFINE)
#undef DEFINE

/* ---- names ---- */

#define FIELD_NAME(kind, name, need, initial) #name,
#define FIELD_NAMES(NAME, name) static const char *const name##_field_names[] = {AMQP_FIELDS_##NAME(FIELD_NAME)};
AMQP_COMPOSITES(FIELD_NAMES)
#undef FIELD_NAMES
#undef FIELD_NAME

const struct amqp_composite *amqp_composite_of(uint64_t descriptor)
{
    /* Descriptors are below 0x80; those without fields have a name and no more. */
    static const struct amqp_composite table[0x80] = {
#define X(name, code, text) [code].descriptor = code, [code].symbol = text,
        AMQP_DESCRIPTORS(X)
#undef X
#define X(NAME, name)                                                                                                  \
    [AMQP_DESC_##NAME].fields = name##_field_names,                                                                    \
    [AMQP_DESC_##NAME].field_count = sizeof name##_field_names / sizeof *name##_field_names,
            AMQP_COMPOSITES(X)
#undef X
    };
    if (descriptor >= sizeof table / sizeof *table || !table[descriptor].symbol)
        return NULL;
    return &table[descriptor];
}
