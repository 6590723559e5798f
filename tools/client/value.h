/* value.h -- typed values as a person writes them on the command line: NAME=TEXT, or NAME:TYPE=TEXT.
 *
 * TYPE is a primitive type's name of AMQP 1.0 part 1.6, Primitive Type Definitions; without it the value is a string,
 * and nothing is guessed from its look: zip=01234 stays text. A name that holds a colon needs its type written.
 *
 * Thread: one at a time.
 */
#ifndef TRUNKLINE_TOOLS_CLIENT_VALUE_H
#define TRUNKLINE_TOOLS_CLIENT_VALUE_H

#include <proton/codec.h>

#include "tools/client/tool.h"

/* name on the command line, enumerator, what the text is. One table: parser, help and errors are made from it. */
#define VALUE_TYPES(X)                                                                                                 \
    X("string", VALUE_STRING)                                                                                          \
    X("null", VALUE_NULL)                                                                                              \
    X("bool", VALUE_BOOL)                                                                                              \
    X("ubyte", VALUE_UBYTE)                                                                                            \
    X("ushort", VALUE_USHORT)                                                                                          \
    X("uint", VALUE_UINT)                                                                                              \
    X("ulong", VALUE_ULONG)                                                                                            \
    X("byte", VALUE_BYTE)                                                                                              \
    X("short", VALUE_SHORT)                                                                                            \
    X("int", VALUE_INT)                                                                                                \
    X("long", VALUE_LONG)                                                                                              \
    X("float", VALUE_FLOAT)                                                                                            \
    X("double", VALUE_DOUBLE)                                                                                          \
    X("char", VALUE_CHAR)                                                                                              \
    X("timestamp", VALUE_TIMESTAMP)                                                                                    \
    X("uuid", VALUE_UUID)                                                                                              \
    X("symbol", VALUE_SYMBOL)                                                                                          \
    X("binary", VALUE_BINARY)

enum value_type {
#define X(name, type) type,
    VALUE_TYPES(X)
#undef X
        VALUE_TYPE_COUNT
};

/* Names of all types, "string, null, ...", for help and errors. */
extern const char value_type_names[];

/* One value and, in maps, its name. */
struct value {
    char *name; /* NULL in lists */
    enum value_type type;
    char *text;
};

struct value_list {
    struct value *items;
    size_t count;
};

/* Parse NAME[:TYPE]=TEXT and append it.
 *   Ownership: the list owns the copies, value_list_fini() frees them.
 *   Errors:    no '=', empty name, unknown type, name already in the list, or a text that is no such value.
 */
bool value_list_add_named(struct value_list *list, const char *text, struct fault *why);

/* Parse [TYPE:]TEXT and append it. A prefix that is no type's name belongs to the text.
 *   Ownership, Errors: as value_list_add_named.
 */
bool value_list_add_plain(struct value_list *list, const char *text, struct fault *why);

void value_list_fini(struct value_list *list);

bool value_type_parse(const char *name, enum value_type *out, struct fault *why);

/* Append a value of the type to data.
 *   Errors: the text is no such value; data is unchanged.
 */
bool value_put(pn_data_t *data, enum value_type type, const char *text, struct fault *why);

#endif
