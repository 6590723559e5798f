/* Any octets as a message annotations section. What must hold: what is found lies inside; what is taken can be written,
 * and what is written is well-formed, in the smallest form, and read as the same again, with one hop more. */
#include <trunkline/amqp/annotations.h>

#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/amqp/message.h>
#include <trunkline/base/assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n);

static const struct slice own = {NULL, (const uint8_t *)"0/own", 5};

static void assert_inside(struct slice s, struct slice section)
{
    if (s.data)
        ASSERT(s.data >= section.data && s.len <= (size_t)(section.data + section.len - s.data));
}

static void assert_same(struct slice a, struct slice b)
{
    ASSERT(a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0));
}

static void assert_same_trace(const struct amqp_annotations *a, const struct amqp_annotations *b)
{
    struct amqp_reader from = amqp_slice_reader(a->trace.ids), to = amqp_slice_reader(b->trace.ids);
    struct slice x = {0}, y = {0};
    for (uint32_t i = 0; i < a->trace.count; i++) {
        enum err e = amqp_read_string(&from, &x), f = amqp_read_string(&to, &y);
        ASSERT(e == OK && f == OK);
        assert_same(x, y);
    }
    ASSERT(amqp_left(&from) == 0);
}

/* Memory of the size that is needed, so that nothing can be written behind it unseen. */
static struct slice write_exactly(const struct amqp_annotations *a, struct slice node_id)
{
    size_t n = amqp_annotations_write(NULL, 0, a, node_id);
    ASSERT(n <= amqp_annotations_size_max(a, node_id));
    uint8_t *out = malloc(n ? n : 1);
    ASSERT(out);
    size_t again = amqp_annotations_write(out, n, a, node_id);
    ASSERT(again == n);
    return (struct slice){NULL, out, n};
}

static void assert_well_formed(struct slice section)
{
    struct amqp_reader r = amqp_slice_reader(section);
    enum err e = amqp_check(&r);
    ASSERT(e == OK && amqp_left(&r) == 0);
    struct amqp_message_view v;
    e = amqp_message_scan(section.data, section.len, AMQP_SECTION_MESSAGE_ANNOTATIONS, &v);
    ASSERT(e == OK && v.message_annotations.length == section.len);
}

static void pass_on(const struct amqp_annotations *a)
{
    struct slice out = write_exactly(a, own);
    assert_well_formed(out);
    struct amqp_annotations b;
    const char *why;
    enum err e = amqp_annotations_read(out, false, &b, &why);
    ASSERT(e == OK);
    ASSERT(b.trace.count == a->trace.count + 1 && !b.trace.is_long_form && amqp_annotations_have_passed(&b, own));
    assert_same_trace(a, &b);
    ASSERT(b.user_count == a->user_count && b.phase == a->phase && b.stream == a->stream);
    assert_same(a->user, b.user);
    assert_same(a->exchanged, b.exchanged);
    assert_same(a->to, b.to);
    assert_same(a->ingress, b.ingress);
    struct slice again = write_exactly(&b, (struct slice){0});
    assert_same(out, again);
    free((void *)(uintptr_t)again.data);
    free((void *)(uintptr_t)out.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n)
{
    struct slice section = {NULL, octets, n};
    for (int only_user = 0; only_user < 2; only_user++) {
        struct amqp_annotations a;
        const char *why = NULL;
        enum err e = amqp_annotations_read(section, only_user, &a, &why);
        ASSERT(e == OK || (e == ERR_INVALID && why));
        if (e != OK)
            continue;
        assert_inside(a.user, section);
        assert_inside(a.exchanged, section);
        assert_inside(a.to, section);
        assert_inside(a.ingress, section);
        assert_inside(a.trace.ids, section);
        ASSERT(!only_user || (a.trace.count == 0 && !a.to.data && !a.ingress.data && !a.phase && !a.stream));
        ASSERT(!only_user || !a.exchanged.data);
        pass_on(&a);
    }
    return 0;
}
