/* Any octets as a message. What must hold: sections lie inside, behind each other; a prefix is never understood
 * otherwise than the whole; what is stripped has no router annotations, fits, and can be read; what is printed is one
 * line of ASCII within its memory, and more of a message does not change it once all of its head is there. */
#include <trunkline/amqp/message.h>

#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/message_print.h>
#include <trunkline/base/assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n);

static void assert_inside(const struct amqp_message_view *v, size_t n)
{
    const struct {
        uint32_t offset, length;
    } sections[] = {{v->header.offset, v->header.length},
                    {v->delivery_annotations.offset, v->delivery_annotations.length},
                    {v->message_annotations.offset, v->message_annotations.length},
                    {v->properties.offset, v->properties.length}};
    uint32_t end = 0;
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        if (!sections[i].length)
            continue;
        ASSERT(sections[i].offset == end);
        end += sections[i].length;
    }
    ASSERT(end == v->body && end <= n);
}

static void try_strip(const uint8_t *m, const struct amqp_message_view *v, bool cut)
{
    uint8_t *out = malloc(v->message_annotations.length + 1);
    ASSERT(out);
    out[v->message_annotations.length] = 0xa5;
    uint32_t n = amqp_message_strip_router_annotations(m, v, cut, out);
    ASSERT(n <= v->message_annotations.length && out[v->message_annotations.length] == 0xa5);
    struct amqp_message_view stripped;
    if (n) {
        enum err e = amqp_message_scan(out, n, AMQP_SECTION_MESSAGE_ANNOTATIONS, &stripped);
        ASSERT(e == OK && stripped.message_annotations.length == n);
        ASSERT(!amqp_message_has_router_annotations(out, &stripped));
    }
    free(out);
}

static void assert_prefix_agrees(const uint8_t *m, size_t n, enum amqp_section depth, enum err whole,
                                 const struct amqp_message_view *v)
{
    struct amqp_message_view part;
    enum err e = amqp_message_scan(m, n, depth, &part);
    ASSERT(e == ERR_TRUNCATED || e == whole);
    if (e == OK)
        ASSERT(memcmp(&part, v, sizeof part) == 0);
}

static void try_print(const uint8_t *m, size_t n, uint32_t parts, size_t size)
{
    char text[2048], again[2048];
    text[size] = '#';
    size_t len = amqp_message_print(m, n, parts, text, size);
    ASSERT(len < size && text[size] == '#' && strlen(text) == len);
    for (size_t i = 0; i < len; i++)
        ASSERT(text[i] >= 0x20 && text[i] < 0x7f);
    for (size_t part = n; part > n / 2; part -= 1 + part / 4) {
        bool whole;
        size_t head = amqp_message_head(m, part, &whole);
        ASSERT(head <= part);
        amqp_message_print(m, head, parts, again, size);
        ASSERT(!whole || strcmp(text, again) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n)
{
    try_print(octets, n, UINT32_MAX, 2047);
    try_print(octets, n, (uint32_t)n, 4 + n % 64);
    for (enum amqp_section depth = AMQP_SECTION_HEADER; depth <= AMQP_SECTION_FOOTER; depth++) {
        struct amqp_message_view v;
        enum err e = amqp_message_scan(octets, n, depth, &v);
        assert_inside(&v, n);
        for (size_t part = n / 2; part < n; part += 1 + (n - part) / 4)
            assert_prefix_agrees(octets, part, depth, e, &v);
        ASSERT(amqp_message_priority(octets, &v) == 4 || v.header.length);
        struct slice to = amqp_message_to(octets, &v);
        if (to.data)
            ASSERT(to.data >= octets + v.properties.offset && to.data + to.len <= octets + v.body);
        try_strip(octets, &v, false);
        try_strip(octets, &v, true);
    }
    return 0;
}
