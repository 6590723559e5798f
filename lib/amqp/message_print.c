#include <trunkline/amqp/message_print.h>

#include "print_priv.h"
#include <string.h>
#include <trunkline/amqp/message.h>
#include <trunkline/amqp/performative.h>

/* Parts are numbered as the fields of properties; this one comes after them. */
#define COUNT_FIELD(kind, name, required, otherwise) +1
enum { FIELD_COUNT = 0 AMQP_FIELDS_PROPERTIES(COUNT_FIELD) };
static const char APP_PROPERTIES[] = "app-properties";

static bool is_in(uint32_t parts, uint32_t part)
{
    return (parts >> part) & 1;
}

/* Fields are listed with '_' for '-'. */
static bool is_field_name(const char *field, const char *name)
{
    while (*field && (*field == '_' ? '-' : *field) == *name) {
        field++;
        name++;
    }
    return *field == '\0' && *name == '\0';
}

bool amqp_message_part_by_name(const char *name, uint32_t *part)
{
    const char *const *fields = amqp_composite_of(AMQP_SECTION_PROPERTIES)->fields;
    uint32_t i = 0;
    while (i < FIELD_COUNT && !is_field_name(fields[i], name))
        i++;
    if (i == FIELD_COUNT && strcmp(name, APP_PROPERTIES) != 0)
        return false;
    *part = UINT32_C(1) << i;
    return true;
}

/* What the sections before the body are. */
struct head {
    enum err end; /* OK: the body or the end follows. ERR_TRUNCATED: there may be more of them. ERR_INVALID: nonsense
                     follows */
    struct amqp_reader properties, app_properties; /* on their values; empty: absent */
    size_t len;                                    /* octets of the sections that are whole */
};

/* The application properties, which begin at h->len if they are there. */
static enum err find_app_properties(struct head *h, const uint8_t *m, size_t n)
{
    struct amqp_reader r = amqp_reader(m + h->len, n - h->len);
    uint64_t section;
    enum err e = amqp_read_descriptor(&r, &section);
    if (e != OK || section != AMQP_SECTION_APPLICATION_PROPERTIES)
        return e;
    const uint8_t *from = r.at;
    e = amqp_skip(&r);
    if (e != OK)
        return e;
    h->app_properties = amqp_reader(from, (size_t)(r.at - from));
    h->len = (size_t)(r.at - m);
    return OK;
}

static struct head find_head(const uint8_t *m, size_t n)
{
    struct amqp_message_view v;
    struct head h = {.end = amqp_message_scan(m, n, AMQP_SECTION_PROPERTIES, &v)};
    uint64_t descriptor;
    h.len = v.body;
    if (v.properties.length) {
        h.properties = amqp_reader(m + v.properties.offset, v.properties.length);
        if (amqp_read_descriptor(&h.properties, &descriptor) != OK)
            h.end = ERR_INVALID;
    }
    if (h.end == OK)
        h.end = find_app_properties(&h, m, n);
    return h;
}

size_t amqp_message_head(const uint8_t *m, size_t n, bool *whole)
{
    struct head h = find_head(m, n);
    *whole = h.end != ERR_TRUNCATED;
    return h.end == OK ? h.len : n;
}

static void separate(struct text *t, bool *first)
{
    if (!*first)
        text_add(t, ", ");
    *first = false;
}

/* Result: whether they made sense. */
static bool add_properties(struct text *t, struct amqp_reader r, uint32_t parts, bool *first)
{
    const char *const *fields = amqp_composite_of(AMQP_SECTION_PROPERTIES)->fields;
    struct amqp_compound list;
    if (amqp_enter_list(&r, &list) != OK)
        return false;
    for (uint32_t i = 0; i < list.count && i < FIELD_COUNT; i++) {
        if (amqp_read_null(&list.in))
            continue;
        if (!is_in(parts, i)) {
            if (amqp_skip(&list.in) != OK)
                return false;
            continue;
        }
        separate(t, first);
        text_add_field_name(t, fields[i]);
        if (!text_add_value(t, &list.in, 0))
            return false;
    }
    return true;
}

static bool add_app_properties(struct text *t, struct amqp_reader r, bool *first)
{
    struct amqp_compound map;
    struct amqp_reader copy = r;
    if (amqp_enter_map(&copy, &map) != OK)
        return false;
    separate(t, first);
    text_add(t, APP_PROPERTIES);
    text_add(t, "=");
    return text_add_value(t, &r, 0);
}

static bool add_parts(struct text *t, const struct head *h, uint32_t parts, bool *first)
{
    if (amqp_left(&h->properties) && !add_properties(t, h->properties, parts, first))
        return false;
    bool shown = is_in(parts, FIELD_COUNT) && amqp_left(&h->app_properties);
    return !shown || add_app_properties(t, h->app_properties, first);
}

size_t amqp_message_print(const uint8_t *m, size_t n, uint32_t parts, char *out, size_t size)
{
    struct text t = text_begin(out, size, PRINT_MESSAGE);
    struct head h = find_head(m, n);
    bool first = true;
    text_add(&t, "Message{");
    bool sensible = add_parts(&t, &h, parts, &first);
    if (!sensible) {
        text_add(&t, "<malformed>");
    } else if (h.end == ERR_INVALID) {
        separate(&t, &first);
        text_add(&t, "<malformed>");
    } else if (h.end == ERR_TRUNCATED && h.len < n) { /* a message may end after any section */
        separate(&t, &first);
        text_add(&t, "...");
    }
    text_add(&t, "}");
    return text_finish(&t, out);
}

size_t amqp_name_print(const char *name, char *out, size_t size)
{
    struct text t = text_begin(out, size, PRINT_MESSAGE);
    text_add_escaped(&t, (struct slice){NULL, (const uint8_t *)name, strlen(name)});
    return text_finish(&t, out);
}
