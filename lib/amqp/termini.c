#include "termini.h"

#include <string.h>
#include <trunkline/amqp/performative.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

static enum amqp_expiry expiry_of(struct slice policy)
{
    static const struct {
        const char *text;
        enum amqp_expiry expiry;
    } all[] = {{"link-detach", AMQP_EXPIRE_LINK_DETACH},
               {"connection-close", AMQP_EXPIRE_CONNECTION_CLOSE},
               {"never", AMQP_EXPIRE_NEVER}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (amqp_slice_is(policy, all[i].text))
            return all[i].expiry;
    return AMQP_EXPIRE_SESSION_END;
}

/* An address as text; empty when it is absent or of a type that no text can stand for. */
static struct slice text_of(struct slice address)
{
    struct amqp_reader r = amqp_slice_reader(address);
    struct slice text;
    return address.len && amqp_read_text(&r, &text) == OK ? text : (struct slice){0};
}

static enum err view_source(struct amqp_reader *r, struct amqp_terminus_view *out, struct slice *address)
{
    struct amqp_source_fields f;
    enum err e = amqp_read_source(r, &f);
    if (e != OK)
        return e;
    *address = text_of(f.address);
    *out = (struct amqp_terminus_view){
        .kind = AMQP_TERMINUS_NODE,
        .dynamic = f.dynamic,
        .copies = amqp_slice_is(f.distribution_mode, "copy"),
        .durability = f.durable,
        .expiry = expiry_of(f.expiry_policy),
        .timeout = f.timeout,
        .dynamic_properties = f.dynamic_node_properties,
        .capabilities = f.capabilities,
        .filter = f.filter,
        .outcomes = f.outcomes,
    };
    return f.durable <= AMQP_DURABILITY_UNSETTLED ? OK : ERR_INVALID;
}

static enum err view_target(struct amqp_reader *r, struct amqp_terminus_view *out, struct slice *address)
{
    struct amqp_target_fields f;
    enum err e = amqp_read_target(r, &f);
    if (e != OK)
        return e;
    *address = text_of(f.address);
    *out = (struct amqp_terminus_view){
        .kind = AMQP_TERMINUS_NODE,
        .dynamic = f.dynamic,
        .durability = f.durable,
        .expiry = expiry_of(f.expiry_policy),
        .timeout = f.timeout,
        .dynamic_properties = f.dynamic_node_properties,
        .capabilities = f.capabilities,
    };
    return f.durable <= AMQP_DURABILITY_UNSETTLED ? OK : ERR_INVALID;
}

static enum err view_coordinator(struct amqp_reader *r, struct amqp_terminus_view *out)
{
    struct amqp_coordinator_fields f;
    enum err e = amqp_read_coordinator(r, &f);
    if (e == OK)
        *out = (struct amqp_terminus_view){
            .kind = AMQP_TERMINUS_COORDINATOR, .expiry = AMQP_EXPIRE_SESSION_END, .capabilities = f.capabilities};
    return e;
}

enum err amqp_terminus_view_of(struct slice encoded, bool is_source, struct amqp_terminus_view *out,
                               struct slice *address)
{
    *out = (struct amqp_terminus_view){.expiry = AMQP_EXPIRE_SESSION_END};
    *address = (struct slice){0};
    if (encoded.len == 0)
        return OK;
    struct amqp_reader r = amqp_slice_reader(encoded);
    uint64_t descriptor;
    enum err e = amqp_read_descriptor(&r, &descriptor);
    if (e != OK)
        return e;
    if (is_source)
        return descriptor == AMQP_DESC_SOURCE ? view_source(&r, out, address) : ERR_INVALID;
    if (descriptor == AMQP_DESC_COORDINATOR)
        return view_coordinator(&r, out);
    return descriptor == AMQP_DESC_TARGET ? view_target(&r, out, address) : ERR_INVALID;
}

static bool is_coordinator(struct slice encoded)
{
    struct amqp_reader r = amqp_slice_reader(encoded);
    uint64_t descriptor;
    return encoded.len && amqp_read_descriptor(&r, &descriptor) == OK && descriptor == AMQP_DESC_COORDINATOR;
}

void *amqp_terminus_readdress(struct slice encoded, bool is_source, const char *address, struct slice *out)
{
    if (is_coordinator(encoded)) {
        *out = encoded;
        return NULL;
    }
    size_t n = strlen(address), room = encoded.len + 2 * n + 64;
    uint8_t *memory = xmalloc(room);
    struct amqp_writer value = amqp_writer(memory, n + 5);
    amqp_write_string(&value, address, n);
    struct slice text = {NULL, memory, value.len};
    struct amqp_writer w = amqp_writer(memory + value.len, room - value.len);
    struct amqp_reader r = amqp_slice_reader(encoded);
    uint64_t descriptor;
    enum err e = encoded.len ? amqp_read_descriptor(&r, &descriptor) : OK;
    if (is_source) {
        struct amqp_source_fields f = {0};
        if (encoded.len && e == OK)
            e = amqp_read_source(&r, &f);
        AMQP_SET(&f, address, text);
        amqp_write_source(&w, &f);
    } else {
        struct amqp_target_fields f = {0};
        if (encoded.len && e == OK)
            e = amqp_read_target(&r, &f);
        AMQP_SET(&f, address, text);
        amqp_write_target(&w, &f);
    }
    ASSERT(e == OK && amqp_writer_fits(&w));
    *out = (struct slice){NULL, w.base, w.len};
    return memory;
}

void amqp_terminus_write(struct amqp_writer *w, bool is_source, const char *address, bool dynamic,
                         const char *capability)
{
    amqp_write_descriptor(w, is_source ? AMQP_DESC_SOURCE : AMQP_DESC_TARGET);
    size_t l = amqp_write_list_begin(w);
    amqp_write_string_of(w, address);
    amqp_write_uint(w, AMQP_DURABILITY_NONE);
    amqp_write_symbol_of(w, "link-detach");
    amqp_write_uint(w, 0);
    amqp_write_bool(w, dynamic);
    uint32_t count = 5, capabilities_at = is_source ? 10 : 6;
    if (capability) {
        for (; count < capabilities_at; count++)
            amqp_write_null(w);
        amqp_write_symbol_of(w, capability);
        count++;
    }
    amqp_write_list_end(w, l, count);
}
