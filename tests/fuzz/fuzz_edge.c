/* Any octets as a message between an edge router and an interior one. What must hold: what is found lies inside; a
 * question that is understood can be answered, and its answer is understood; what is written is read as the same. */
#include <router/route/edge_wire.h>

#include <stdlib.h>
#include <string.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/base/assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n);

static void assert_inside(struct slice s, const uint8_t *octets, size_t n)
{
    ASSERT(!s.len || (s.data >= octets && s.len <= (size_t)(octets + n - s.data)));
}

static void assert_same(struct slice a, struct slice b)
{
    ASSERT(a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0));
}

/* Memory of the size that is needed, so that nothing can be written behind it unseen. */
static uint8_t *memory(size_t n)
{
    uint8_t *out = malloc(n);
    ASSERT(out);
    return out;
}

static void answer(const struct edge_lookup *l)
{
    const struct edge_lookup_answer said = {.status = EDGE_LOOKUP_FOUND, .is_link_route = true};
    size_t size = edge_wire_write_answer(NULL, 0, l, &said), again;
    uint8_t *out = memory(size);
    again = edge_wire_write_answer(out, size, l, &said);
    ASSERT(again == size);
    struct slice correlation, text;
    struct edge_lookup_answer heard;
    struct amqp_reader r = amqp_slice_reader(l->correlation);
    if (l->correlation.len && amqp_read_string(&r, &text) == OK) {
        enum err e = edge_wire_read_answer(out, size, &correlation, &heard);
        ASSERT(e == OK && heard.is_link_route && !heard.has_destinations && heard.status == EDGE_LOOKUP_FOUND);
        assert_same(correlation, text);
    }
    free(out);
}

static void ask_again(const struct edge_lookup *l)
{
    size_t size = edge_wire_write_lookup(NULL, 0, l), again;
    uint8_t *out = memory(size);
    again = edge_wire_write_lookup(out, size, l);
    ASSERT(again == size);
    struct edge_lookup heard;
    enum err e = edge_wire_read_lookup(out, size, &heard);
    ASSERT(e == OK && heard.is_sender == l->is_sender);
    assert_same(heard.address, l->address);
    assert_same(heard.reply_to, l->reply_to);
    assert_same(heard.correlation, l->correlation);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n)
{
    struct edge_lookup l;
    struct edge_lookup_answer a;
    struct slice text;
    bool has;
    if (edge_wire_read_lookup(octets, n, &l) == OK) {
        assert_inside(l.reply_to, octets, n);
        assert_inside(l.address, octets, n);
        assert_inside(l.correlation, octets, n);
        answer(&l);
        ask_again(&l);
    }
    if (edge_wire_read_answer(octets, n, &text, &a) == OK)
        assert_inside(text, octets, n);
    struct edge_route_answer r;
    if (edge_wire_read_route_answer(octets, n, &r) == OK) {
        assert_inside(r.correlation, octets, n);
        assert_inside(r.description, octets, n);
        assert_inside(r.identity, octets, n);
    }
    if (edge_wire_read_tracking(octets, n, &text, &has) == OK)
        assert_inside(text, octets, n);
    return 0;
}
