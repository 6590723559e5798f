/* print_priv.h -- text that is put together piece by piece, within the caller's memory: what print.c and
 * message_print.c share. Thread: any; pure. */
#ifndef TRUNKLINE_AMQP_PRINT_PRIV_H
#define TRUNKLINE_AMQP_PRINT_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/base/buffer.h>

enum print_notation {
    PRINT_PROTON,  /* :word   :"two words"   "\x0a"   a time as a number */
    PRINT_MESSAGE, /* :"word" "\0a"   a time as a quoted date (management reference 8.5, Message logging) */
};

struct text {
    char *at, *end; /* one octet is left for the terminator */
    bool cut;       /* there was more: nothing else is added */
    enum print_notation notation;
};

/* Units: size, octets at out, at least 4. */
struct text text_begin(char *out, size_t size, enum print_notation notation);
/* Terminate the text, with "..." at the end if it was cut. Result: its length. */
size_t text_finish(struct text *t, const char *out);

void text_add(struct text *t, const char *s);
/* Octets that are no printable ASCII, and quotes and backslashes, escaped. */
void text_add_escaped(struct text *t, struct slice s);
/* The name of a composite type's field, and "=". */
void text_add_field_name(struct text *t, const char *name);
/* One value, stepping over it. depth: how deep it lies in others. Result: whether it made sense. */
bool text_add_value(struct text *t, struct amqp_reader *r, unsigned depth);

#endif
