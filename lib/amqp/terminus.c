#include <trunkline/amqp/terminus.h>

#include <stdio.h>
#include <string.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/print.h>

bool amqp_terminus_has_capability(const struct amqp_terminus_view *t, const char *symbol)
{
    return amqp_has_capability(t->capabilities, symbol);
}

bool amqp_has_capability(struct slice capabilities, const char *symbol)
{
    struct amqp_reader r = amqp_slice_reader(capabilities);
    struct slice one;
    if (amqp_read_symbol(&r, &one) == OK)
        return amqp_slice_is(one, symbol);
    struct amqp_array array;
    if (amqp_enter_array(&r, &array) != OK || amqp_type_of(array.code) != AMQP_TYPE_SYMBOL)
        return false;
    while (amqp_array_next(&array, &one) == OK)
        if (amqp_slice_is(one, symbol))
            return true;
    return false;
}

struct line {
    char *out;
    size_t size, len;
};

static void add(struct line *l, const char *text)
{
    /* The closing brace always has its place. */
    size_t n = strlen(text), room = l->size - l->len - 2;
    n = n < room ? n : room;
    memcpy(l->out + l->len, text, n);
    l->len += n;
}

/* Addresses come from peers and go to a log of lines. */
static void add_address(struct line *l, const char *address)
{
    for (; *address; address++) {
        char piece[5] = {*address};
        if ((unsigned char)*address < 0x20 || *address == 0x7f)
            snprintf(piece, sizeof piece, "\\x%02x", (unsigned char)*address);
        add(l, piece);
    }
}

static void add_encoded(struct line *l, const char *name, struct slice value)
{
    if (!value.len)
        return;
    char text[512];
    amqp_value_print(value, text, sizeof text);
    add(l, name);
    add(l, text);
}

static void add_expiry(struct line *l, enum amqp_expiry e)
{
    switch (e) {
    case AMQP_EXPIRE_LINK_DETACH:
        add(l, " expire:link");
        break;
    case AMQP_EXPIRE_SESSION_END:
        add(l, " expire:sess");
        break;
    case AMQP_EXPIRE_CONNECTION_CLOSE:
        add(l, " expire:conn");
        break;
    case AMQP_EXPIRE_NEVER:
        break;
    }
}

static void add_node(struct line *l, const struct amqp_terminus_view *t)
{
    if (t->dynamic)
        add(l, "(dyn)");
    if (t->address)
        add_address(l, t->address);
    else
        add(l, "<none>");
    if (t->durability == AMQP_DURABILITY_CONFIGURATION)
        add(l, " dur:config");
    if (t->durability == AMQP_DURABILITY_UNSETTLED)
        add(l, " dur:deliveries");
    add_expiry(l, t->expiry);
    if (t->copies)
        add(l, " dist:copy");
    if (t->timeout) {
        char text[32];
        snprintf(text, sizeof text, " timeout:%u", (unsigned)t->timeout);
        add(l, text);
    }
    add_encoded(l, " caps:", t->capabilities);
    add_encoded(l, " flt:", t->filter);
    add_encoded(l, " outcomes:", t->outcomes);
}

size_t amqp_terminus_print(const struct amqp_terminus_view *t, char *out, size_t size)
{
    if (size < 3) {
        if (size)
            *out = 0;
        return 0;
    }
    struct line l = {out, size, 0};
    add(&l, "{");
    switch (t->kind) {
    case AMQP_TERMINUS_NULL:
        add(&l, "<none>");
        break;
    case AMQP_TERMINUS_COORDINATOR:
        add(&l, "<coordinator>");
        add_encoded(&l, " caps:", t->capabilities);
        break;
    case AMQP_TERMINUS_NODE:
        add_node(&l, t);
        break;
    }
    out[l.len++] = '}';
    out[l.len] = 0;
    return l.len;
}
