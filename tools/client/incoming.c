#include "tools/client/incoming.h"

#include <errno.h>
#include <inttypes.h>
#include <proton/delivery.h>
#include <proton/error.h>
#include <stdlib.h>
#include <string.h>

#include "tools/client/section.h"

struct bytes {
    uint8_t *start;
    size_t size, capacity;
};

struct incoming {
    const struct incoming_conf *conf;
    FILE *content;
    struct section_scan scan;
    struct bytes head, body; /* body: content of Data, or value sections as encoded */
    int body_kind;
    bool is_bad;
    pn_message_t *message;
    pn_data_t *values;
};

struct incoming *incoming_new(const struct incoming_conf *conf)
{
    struct incoming *in = tool_alloc(sizeof *in);
    in->conf = conf;
    in->content = conf->content;
    in->message = pn_message();
    in->values = pn_data(16);
    return in;
}

void incoming_free(struct incoming **in)
{
    if (!*in)
        return;
    free((*in)->head.start);
    free((*in)->body.start);
    pn_message_free((*in)->message);
    pn_data_free((*in)->values);
    free(*in);
    *in = NULL;
}

void incoming_set_content(struct incoming *in, FILE *content)
{
    in->content = content;
}

static bool keep(struct incoming *in, struct bytes *b, const struct section_piece *piece, struct fault *why)
{
    if (in->head.size + in->body.size + piece->size > in->conf->limit)
        return fault_set(why, "message larger than the %" PRIu64 " bytes that may be kept in memory", in->conf->limit);
    if (b->capacity - b->size < piece->size) {
        b->capacity = (b->size + piece->size) * 2;
        b->start = tool_grow(b->start, b->capacity);
    }
    memcpy(b->start + b->size, piece->bytes, piece->size);
    b->size += piece->size;
    return true;
}

static bool write_content(struct incoming *in, const struct section_piece *piece, struct fault *why)
{
    if (piece->is_preamble || fwrite(piece->bytes, 1, piece->size, in->content) == piece->size)
        return true;
    return fault_set(why, "cannot write content: %s", strerror(errno));
}

static bool take_body(struct incoming *in, const struct section_piece *piece, struct fault *why)
{
    bool is_data = piece->section == SECTION_DATA;
    bool is_raw = is_data || (piece->section == SECTION_VALUE && section_is_bytes(piece->constructor));
    in->body_kind = is_data                              ? PRINT_BODY_DATA
                    : piece->section == SECTION_SEQUENCE ? PRINT_BODY_SEQUENCE
                                                         : PRINT_BODY_VALUE;
    if (in->content && is_raw)
        return write_content(in, piece, why);
    if (!in->content && !in->conf->want_body)
        return true;
    /* Content that is not bytes, a map for example, is written as text when it is whole. */
    if (is_data && piece->is_preamble)
        return piece->constructor == 0xa0 || piece->constructor == 0xb0 ||
               fault_set(why, "a data section holds a value of type 0x%02x instead of binary", piece->constructor);
    struct section_piece value = *piece;
    value.bytes += piece->descriptor;
    value.size -= piece->descriptor;
    return keep(in, &in->body, &value, why);
}

bool incoming_feed(struct incoming *in, const uint8_t *bytes, size_t size, struct fault *why)
{
    struct section_piece piece;
    for (;;) {
        switch (section_next(&in->scan, &bytes, &size, &piece, why)) {
        case SECTION_NEED_MORE:
            return true;
        case SECTION_MALFORMED:
            return false;
        case SECTION_PIECE:
            break;
        }
        bool ok = true;
        if (piece.section < SECTION_DATA)
            ok = !in->conf->want_head || keep(in, &in->head, &piece, why);
        else if (piece.section <= SECTION_VALUE)
            ok = take_body(in, &piece, why);
        if (!ok)
            return false;
    }
}

static bool wants_nothing(const struct incoming *in)
{
    return !in->conf->want_head && !in->conf->want_body && !in->content;
}

enum incoming_result incoming_receive(struct incoming *in, pn_delivery_t *delivery, uint64_t *bytes, struct fault *why)
{
    static uint8_t buffer[64 << 10];
    pn_link_t *link = pn_delivery_link(delivery);
    bool was_bad = in->is_bad;
    if (pn_delivery_aborted(delivery))
        return INCOMING_ABORTED;
    ssize_t got;
    while ((got = pn_link_recv(link, (char *)buffer, sizeof buffer)) > 0) {
        *bytes += (uint64_t)got;
        if (!in->is_bad && !wants_nothing(in))
            in->is_bad = !incoming_feed(in, buffer, (size_t)got, why);
    }
    if (in->is_bad && !was_bad)
        return INCOMING_BAD;
    if (pn_delivery_partial(delivery) || in->is_bad)
        return INCOMING_PARTIAL;
    if (!wants_nothing(in) && !section_is_complete(&in->scan)) {
        in->is_bad = true;
        fault_set(why, "the message ends within a section");
        return INCOMING_BAD;
    }
    return INCOMING_WHOLE;
}

/* Decode the values of the body's sections, one after the other. */
static bool decode_values(struct incoming *in, struct fault *why)
{
    pn_data_clear(in->values);
    for (size_t at = 0; at < in->body.size;) {
        ssize_t used = pn_data_decode(in->values, (const char *)in->body.start + at, in->body.size - at);
        if (used <= 0)
            return fault_set(why, "the message's body does not decode: %s", pn_error_text(pn_data_error(in->values)));
        at += (size_t)used;
    }
    return true;
}

bool incoming_message(struct incoming *in, pn_message_t **head, struct print_body *body, struct fault *why)
{
    pn_message_clear(in->message);
    if (in->head.size && pn_message_decode(in->message, (const char *)in->head.start, in->head.size) != 0)
        return fault_set(why, "the message's header or properties do not decode: %s",
                         pn_error_text(pn_message_error(in->message)));
    *head = in->message;
    *body = (struct print_body){.kind = PRINT_BODY_NONE};
    if (in->body.size == 0 && in->body_kind != PRINT_BODY_DATA)
        return true;
    body->bytes = pn_bytes(in->body.size, (const char *)in->body.start);
    body->values = in->values;
    if (in->body_kind != PRINT_BODY_DATA && !decode_values(in, why))
        return false;
    body->kind = in->body_kind;
    return true;
}

void incoming_reset(struct incoming *in)
{
    in->scan = (struct section_scan){0};
    in->head.size = in->body.size = 0;
    in->body_kind = PRINT_BODY_NONE;
    in->is_bad = false;
    in->content = in->conf->content;
}
