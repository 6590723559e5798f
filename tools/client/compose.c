#include "tools/client/compose.h"

#include <endian.h>
#include <inttypes.h>
#include <proton/error.h>
#include <proton/message.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/client/section.h"

enum { SITE_LIMIT = 8 };

/* An eight-byte field, network order, in the encoded message. */
struct site {
    size_t offset;
    bool is_stamp;
};

struct compose {
    const struct compose_conf *conf;
    const char *to, *reply_to;
    pn_message_t *message;
    pn_rwbytes_t encoded;
    size_t size, head_size; /* of what is encoded now */
    bool is_encoded;        /* encoded is valid for every number but for the sites */
    struct site sites[SITE_LIMIT];
    int site_count;
    char *text; /* scratch of numbered() */
};

static bool names_number(const char *text)
{
    return text && strstr(text, "{n}");
}

static bool list_names_number(const struct value_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (names_number(list->items[i].text))
            return true;
    return false;
}

static bool depends_on_number(const struct compose_conf *c)
{
    const char *const texts[] = {c->id,           c->correlation_id,   c->user_id,  c->subject, c->reply_to,
                                 c->content_type, c->content_encoding, c->group_id, c->to};
    if (c->literal)
        return false;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (names_number(texts[i]))
            return true;
    return list_names_number(&c->properties) || list_names_number(&c->annotations) || list_names_number(&c->items) ||
           (c->content.start && memmem(c->content.start, c->content.size, "{n}", 3));
}

/* text with each {n} replaced by the number. Valid until the next call; NULL stays NULL. */
static const char *numbered_bytes(struct compose *c, const char *text, size_t size, uint64_t n, size_t *out_size)
{
    *out_size = size;
    if (!text || c->conf->literal || !memmem(text, size, "{n}", 3))
        return text;
    char digits[24];
    size_t digit_count = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, n);
    /* Each three bytes grow to at most digit_count. */
    c->text = tool_grow(c->text, size / 3 * (digit_count > 3 ? digit_count : 3) + 3);
    char *to = c->text;
    const char *hit;
    while ((hit = memmem(text, size, "{n}", 3)) != NULL) {
        to = mempcpy(mempcpy(to, text, (size_t)(hit - text)), digits, digit_count);
        size -= (size_t)(hit - text) + 3;
        text = hit + 3;
    }
    to = mempcpy(to, text, size);
    *to = '\0';
    *out_size = (size_t)(to - c->text);
    return c->text;
}

static const char *numbered(struct compose *c, const char *text, uint64_t n)
{
    size_t size;
    return text ? numbered_bytes(c, text, strlen(text), n, &size) : NULL;
}

static bool put_items(struct compose *c, pn_data_t *data, const struct value_list *list, bool symbol_keys, uint64_t n,
                      struct fault *why)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct value *v = &list->items[i];
        if (v->name && symbol_keys)
            pn_data_put_symbol(data, pn_bytes(strlen(v->name), v->name));
        else if (v->name)
            pn_data_put_string(data, pn_bytes(strlen(v->name), v->name));
        if (!value_put(data, v->type, numbered(c, v->text, n), why))
            return false;
    }
    return true;
}

static bool put_id(struct compose *c, pn_data_t *data, const char *text, uint64_t n, struct fault *why)
{
    pn_data_clear(data);
    if (text)
        return value_put(data, c->conf->id_type, numbered(c, text, n), why);
    if (c->conf->request)
        pn_data_put_ulong(data, n);
    return true;
}

static bool put_annotations(struct compose *c, uint64_t n, struct fault *why)
{
    if (c->conf->annotations.count == 0)
        return true;
    pn_data_t *data = pn_message_annotations(c->message);
    pn_data_put_map(data);
    pn_data_enter(data);
    bool ok = put_items(c, data, &c->conf->annotations, true, n, why);
    pn_data_exit(data);
    return ok;
}

static void put_name(pn_data_t *data, const char *name)
{
    pn_data_put_string(data, pn_bytes(strlen(name), name));
}

static bool put_properties(struct compose *c, uint64_t n, int64_t stamp, struct fault *why)
{
    if (c->conf->properties.count == 0 && !c->conf->number && !c->conf->stamp)
        return true;
    pn_data_t *data = pn_message_properties(c->message);
    pn_data_put_map(data);
    pn_data_enter(data);
    bool ok = put_items(c, data, &c->conf->properties, false, n, why);
    if (c->conf->number) {
        put_name(data, "sn");
        pn_data_put_ulong(data, n);
    }
    if (c->conf->stamp) {
        put_name(data, "ts");
        pn_data_put_long(data, stamp);
    }
    pn_data_exit(data);
    return ok;
}

static bool put_body(struct compose *c, uint64_t n, const pn_bytes_t *content, struct fault *why)
{
    pn_data_t *data = pn_message_body(c->message);
    size_t size = 0;
    const char *start = NULL;
    bool ok = true;
    if (content) {
        start = content->start;
        size = content->size;
    } else if (c->conf->content.start) {
        start = numbered_bytes(c, c->conf->content.start, c->conf->content.size, n, &size);
    }
    switch (c->conf->body) {
    case COMPOSE_NOTHING:
        break;
    case COMPOSE_STRING:
        pn_data_put_string(data, pn_bytes(size, start));
        break;
    case COMPOSE_DATA:
        pn_message_set_inferred(c->message, true);
        pn_data_put_binary(data, pn_bytes(size, start));
        break;
    case COMPOSE_MAP:
        pn_data_put_map(data);
        pn_data_enter(data);
        ok = put_items(c, data, &c->conf->items, false, n, why);
        pn_data_exit(data);
        break;
    case COMPOSE_LIST:
        pn_data_put_list(data);
        pn_data_enter(data);
        ok = put_items(c, data, &c->conf->items, false, n, why);
        pn_data_exit(data);
        break;
    }
    return ok;
}

static void put_texts(struct compose *c, uint64_t n)
{
    const struct compose_conf *conf = c->conf;
    pn_message_t *m = c->message;
    pn_message_set_durable(m, conf->durable);
    if (conf->priority >= 0)
        pn_message_set_priority(m, (uint8_t)conf->priority);
    pn_message_set_ttl(m, conf->ttl_ms);
    const char *user_id = numbered(c, conf->user_id, n);
    if (user_id)
        pn_message_set_user_id(m, pn_bytes(strlen(user_id), user_id));
    pn_message_set_address(m, c->to ? c->to : numbered(c, conf->to, n));
    pn_message_set_subject(m, numbered(c, conf->subject, n));
    pn_message_set_reply_to(m, c->reply_to ? c->reply_to : numbered(c, conf->reply_to, n));
    pn_message_set_content_type(m, numbered(c, conf->content_type, n));
    pn_message_set_content_encoding(m, numbered(c, conf->content_encoding, n));
    pn_message_set_group_id(m, numbered(c, conf->group_id, n));
}

/* Where the body begins: Proton writes an empty one for a message that has none. */
static size_t head_size(pn_bytes_t message)
{
    struct section_scan scan = {0};
    const uint8_t *start = (const uint8_t *)message.start, *p = start;
    size_t size = message.size;
    struct section_piece piece;
    struct fault why;
    const uint8_t *section_start = p;
    while (section_next(&scan, &p, &size, &piece, &why) == SECTION_PIECE) {
        if (piece.section >= SECTION_DATA)
            return (size_t)(section_start - start);
        if (section_is_complete(&scan))
            section_start = p;
    }
    return message.size;
}

static bool encode(struct compose *c, uint64_t n, int64_t stamp, const pn_bytes_t *content, struct fault *why)
{
    pn_message_clear(c->message);
    put_texts(c, n);
    if (!put_id(c, pn_message_id(c->message), c->conf->id, n, why) ||
        !put_id(c, pn_message_correlation_id(c->message), c->conf->correlation_id, n, why) ||
        !put_annotations(c, n, why) || !put_properties(c, n, stamp, why) || !put_body(c, n, content, why))
        return false;
    ssize_t size = pn_message_encode2(c->message, &c->encoded);
    if (size < 0)
        return fault_set(why, "cannot encode the message: %s", pn_error_text(pn_message_error(c->message)));
    c->size = (size_t)size;
    c->head_size = head_size(pn_bytes(c->size, c->encoded.start));
    return true;
}

/* Find where two encodings of the same size differ: runs of eight bytes, as every byte of the probes differs. */
static bool add_sites(struct compose *c, const char *other, bool is_stamp)
{
    for (size_t i = 0; i < c->size; i++) {
        if (c->encoded.start[i] == other[i])
            continue;
        if (c->site_count == SITE_LIMIT || i + 8 > c->size)
            return false;
        c->sites[c->site_count++] = (struct site){.offset = i, .is_stamp = is_stamp};
        i += 7;
    }
    return true;
}

/* Encode once and learn where number and stamp stand, by encoding with others and comparing. */
static bool learn_sites(struct compose *c, struct fault *why)
{
    const uint64_t probe = 0x1111111111111111, other = 0x2222222222222222;
    c->site_count = 0;
    bool same_size = true;
    for (int is_stamp = 0; is_stamp <= 1; is_stamp++) {
        if (!encode(c, is_stamp ? probe : other, (int64_t)(is_stamp ? other : probe), NULL, why))
            return false;
        char *copy = tool_grow(NULL, c->size);
        size_t copy_size = c->size;
        memcpy(copy, c->encoded.start, c->size);
        bool ok = encode(c, probe, (int64_t)probe, NULL, why);
        same_size = same_size && ok && copy_size == c->size && add_sites(c, copy, is_stamp);
        free(copy);
        if (!ok)
            return false;
    }
    c->is_encoded = same_size;
    return true;
}

static bool prepare(struct compose *c, struct fault *why)
{
    c->is_encoded = false;
    return depends_on_number(c->conf) ? encode(c, 1, 1, NULL, why) : learn_sites(c, why);
}

bool compose_new(const struct compose_conf *conf, const char *to, struct compose **out, struct fault *why)
{
    struct compose *c = tool_alloc(sizeof *c);
    c->conf = conf;
    c->to = to;
    c->message = pn_message();
    if (!prepare(c, why)) {
        compose_free(&c);
        return false;
    }
    *out = c;
    return true;
}

void compose_free(struct compose **c)
{
    if (!*c)
        return;
    pn_message_free((*c)->message);
    free((*c)->encoded.start);
    free((*c)->text);
    free(*c);
    *c = NULL;
}

bool compose_set_reply_to(struct compose *c, const char *reply_to, struct fault *why)
{
    c->reply_to = reply_to;
    return prepare(c, why);
}

static void write_sites(struct compose *c, uint64_t n, int64_t stamp)
{
    for (int i = 0; i < c->site_count; i++) {
        uint64_t value = htobe64(c->sites[i].is_stamp ? (uint64_t)stamp : n);
        memcpy(c->encoded.start + c->sites[i].offset, &value, sizeof value);
    }
}

static bool make(struct compose *c, uint64_t n, const pn_bytes_t *content, struct fault *why)
{
    int64_t stamp = c->conf->stamp ? tool_epoch_ns() : 0;
    if (c->is_encoded && !content) {
        write_sites(c, n, stamp);
        return true;
    }
    /* What is encoded now has another content: it can no longer stand for the configured one. */
    c->is_encoded = false;
    return encode(c, n, stamp, content, why);
}

bool compose_message(struct compose *c, uint64_t n, const pn_bytes_t *content, pn_bytes_t *out, struct fault *why)
{
    if (!make(c, n, content, why))
        return false;
    *out = pn_bytes(c->size, c->encoded.start);
    return true;
}

bool compose_head(struct compose *c, uint64_t n, pn_bytes_t *out, struct fault *why)
{
    if (!make(c, n, NULL, why))
        return false;
    *out = pn_bytes(c->head_size, c->encoded.start);
    return true;
}
