/* performative.h -- the composite types of AMQP 1.0 as C structures: performatives, SASL frames, termini, delivery
 * states, message header and properties, read from and written to encoded lists (AMQP 1.0 part 1.4, Composite Type
 * Representation).
 *
 * For each type one table gives its fields in their order; structure, reader, writer and the names in traces are made
 * from it. So `transfer` has struct amqp_transfer_fields, amqp_read_transfer() and amqp_write_transfer().
 *
 *   enum err amqp_read_TYPE(struct amqp_reader *r, struct amqp_TYPE_fields *f);
 * Read the list that follows the descriptor (amqp_read_descriptor()).
 *   Result: `has` tells which fields were there; those that were absent or null hold their default. Slices are borrowed
 *           from the reader's range. Fields of kind ANY, MAP and SYMBOLS are encoded values, well-formed throughout
 *           (amqp_check()). A field beyond those of the table is checked and passed over.
 *   Errors: ERR_TRUNCATED, the list is not all there. ERR_INVALID, a field is malformed, of the wrong type, or required
 *           and missing. On an error *f is undefined and r stands where it stood.
 *
 *   void amqp_write_TYPE(struct amqp_writer *w, const struct amqp_TYPE_fields *f);
 * Write descriptor and list: fields whose `has` is set, null for the others, nothing after the last that is set. A
 * structure set to zero, then AMQP_SET() for each field, is the way to fill one.
 *
 * Thread: any; pure.
 */
#ifndef TRUNKLINE_AMQP_PERFORMATIVE_H
#define TRUNKLINE_AMQP_PERFORMATIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <trunkline/amqp/codec.h>
#include <trunkline/base/err.h>

/* X(kind, name, REQUIRED or OPTIONAL, default). Kinds are the primitive types; ANY: any value or a composite one;
 * SYMBOLS: a symbol or an array of them ("multiple" in the specification). The default of a field of variable width is
 * empty (an absent expiry-policy means session-end). */

#define AMQP_FIELDS_OPEN(X)                                                                                            \
    X(STRING, container_id, REQUIRED, 0)                                                                               \
    X(STRING, hostname, OPTIONAL, 0)                                                                                   \
    X(UINT, max_frame_size, OPTIONAL, 4294967295)                                                                      \
    X(USHORT, channel_max, OPTIONAL, 65535)                                                                            \
    X(UINT, idle_time_out, OPTIONAL, 0)                                                                                \
    X(SYMBOLS, outgoing_locales, OPTIONAL, 0)                                                                          \
    X(SYMBOLS, incoming_locales, OPTIONAL, 0)                                                                          \
    X(SYMBOLS, offered_capabilities, OPTIONAL, 0)                                                                      \
    X(SYMBOLS, desired_capabilities, OPTIONAL, 0)                                                                      \
    X(MAP, properties, OPTIONAL, 0)

#define AMQP_FIELDS_BEGIN(X)                                                                                           \
    X(USHORT, remote_channel, OPTIONAL, 0)                                                                             \
    X(UINT, next_outgoing_id, REQUIRED, 0)                                                                             \
    X(UINT, incoming_window, REQUIRED, 0)                                                                              \
    X(UINT, outgoing_window, REQUIRED, 0)                                                                              \
    X(UINT, handle_max, OPTIONAL, 4294967295)                                                                          \
    X(SYMBOLS, offered_capabilities, OPTIONAL, 0)                                                                      \
    X(SYMBOLS, desired_capabilities, OPTIONAL, 0)                                                                      \
    X(MAP, properties, OPTIONAL, 0)

#define AMQP_FIELDS_ATTACH(X)                                                                                          \
    X(STRING, name, REQUIRED, 0)                                                                                       \
    X(UINT, handle, REQUIRED, 0)                                                                                       \
    X(BOOL, role, REQUIRED, 0)                                                                                         \
    X(UBYTE, snd_settle_mode, OPTIONAL, 2)                                                                             \
    X(UBYTE, rcv_settle_mode, OPTIONAL, 0)                                                                             \
    X(ANY, source, OPTIONAL, 0)                                                                                        \
    X(ANY, target, OPTIONAL, 0)                                                                                        \
    X(MAP, unsettled, OPTIONAL, 0)                                                                                     \
    X(BOOL, incomplete_unsettled, OPTIONAL, false)                                                                     \
    X(UINT, initial_delivery_count, OPTIONAL, 0)                                                                       \
    X(ULONG, max_message_size, OPTIONAL, 0)                                                                            \
    X(SYMBOLS, offered_capabilities, OPTIONAL, 0)                                                                      \
    X(SYMBOLS, desired_capabilities, OPTIONAL, 0)                                                                      \
    X(MAP, properties, OPTIONAL, 0)

#define AMQP_FIELDS_FLOW(X)                                                                                            \
    X(UINT, next_incoming_id, OPTIONAL, 0)                                                                             \
    X(UINT, incoming_window, REQUIRED, 0)                                                                              \
    X(UINT, next_outgoing_id, REQUIRED, 0)                                                                             \
    X(UINT, outgoing_window, REQUIRED, 0)                                                                              \
    X(UINT, handle, OPTIONAL, 0)                                                                                       \
    X(UINT, delivery_count, OPTIONAL, 0)                                                                               \
    X(UINT, link_credit, OPTIONAL, 0)                                                                                  \
    X(UINT, available, OPTIONAL, 0)                                                                                    \
    X(BOOL, drain, OPTIONAL, false)                                                                                    \
    X(BOOL, echo, OPTIONAL, false)                                                                                     \
    X(MAP, properties, OPTIONAL, 0)

#define AMQP_FIELDS_TRANSFER(X)                                                                                        \
    X(UINT, handle, REQUIRED, 0)                                                                                       \
    X(UINT, delivery_id, OPTIONAL, 0)                                                                                  \
    X(BINARY, delivery_tag, OPTIONAL, 0)                                                                               \
    X(UINT, message_format, OPTIONAL, 0)                                                                               \
    X(BOOL, settled, OPTIONAL, 0)                                                                                      \
    X(BOOL, more, OPTIONAL, false)                                                                                     \
    X(UBYTE, rcv_settle_mode, OPTIONAL, 0)                                                                             \
    X(ANY, state, OPTIONAL, 0)                                                                                         \
    X(BOOL, resume, OPTIONAL, false)                                                                                   \
    X(BOOL, aborted, OPTIONAL, false)                                                                                  \
    X(BOOL, batchable, OPTIONAL, false)

#define AMQP_FIELDS_DISPOSITION(X)                                                                                     \
    X(BOOL, role, REQUIRED, 0)                                                                                         \
    X(UINT, first, REQUIRED, 0)                                                                                        \
    X(UINT, last, OPTIONAL, 0)                                                                                         \
    X(BOOL, settled, OPTIONAL, false)                                                                                  \
    X(ANY, state, OPTIONAL, 0)                                                                                         \
    X(BOOL, batchable, OPTIONAL, false)

#define AMQP_FIELDS_DETACH(X)                                                                                          \
    X(UINT, handle, REQUIRED, 0)                                                                                       \
    X(BOOL, closed, OPTIONAL, false)                                                                                   \
    X(ANY, error, OPTIONAL, 0)

#define AMQP_FIELDS_END(X) X(ANY, error, OPTIONAL, 0)

#define AMQP_FIELDS_CLOSE(X) X(ANY, error, OPTIONAL, 0)

#define AMQP_FIELDS_ERROR(X)                                                                                           \
    X(SYMBOL, condition, REQUIRED, 0)                                                                                  \
    X(STRING, description, OPTIONAL, 0)                                                                                \
    X(MAP, info, OPTIONAL, 0)

#define AMQP_FIELDS_HEADER(X)                                                                                          \
    X(BOOL, durable, OPTIONAL, 0)                                                                                      \
    X(UBYTE, priority, OPTIONAL, 4)                                                                                    \
    X(UINT, ttl, OPTIONAL, 0)                                                                                          \
    X(BOOL, first_acquirer, OPTIONAL, 0)                                                                               \
    X(UINT, delivery_count, OPTIONAL, 0)

#define AMQP_FIELDS_PROPERTIES(X)                                                                                      \
    X(ANY, message_id, OPTIONAL, 0)                                                                                    \
    X(BINARY, user_id, OPTIONAL, 0)                                                                                    \
    X(ANY, to, OPTIONAL, 0)                                                                                            \
    X(STRING, subject, OPTIONAL, 0)                                                                                    \
    X(ANY, reply_to, OPTIONAL, 0)                                                                                      \
    X(ANY, correlation_id, OPTIONAL, 0)                                                                                \
    X(SYMBOL, content_type, OPTIONAL, 0)                                                                               \
    X(SYMBOL, content_encoding, OPTIONAL, 0)                                                                           \
    X(TIMESTAMP, absolute_expiry_time, OPTIONAL, 0)                                                                    \
    X(TIMESTAMP, creation_time, OPTIONAL, 0)                                                                           \
    X(STRING, group_id, OPTIONAL, 0)                                                                                   \
    X(UINT, group_sequence, OPTIONAL, 0)                                                                               \
    X(STRING, reply_to_group_id, OPTIONAL, 0)

#define AMQP_FIELDS_RECEIVED(X)                                                                                        \
    X(UINT, section_number, REQUIRED, 0)                                                                               \
    X(ULONG, section_offset, REQUIRED, 0)

#define AMQP_FIELDS_REJECTED(X) X(ANY, error, OPTIONAL, 0)

#define AMQP_FIELDS_MODIFIED(X)                                                                                        \
    X(BOOL, delivery_failed, OPTIONAL, 0)                                                                              \
    X(BOOL, undeliverable_here, OPTIONAL, 0)                                                                           \
    X(MAP, message_annotations, OPTIONAL, 0)

#define AMQP_FIELDS_SOURCE(X)                                                                                          \
    X(ANY, address, OPTIONAL, 0)                                                                                       \
    X(UINT, durable, OPTIONAL, 0)                                                                                      \
    X(SYMBOL, expiry_policy, OPTIONAL, 0)                                                                              \
    X(UINT, timeout, OPTIONAL, 0)                                                                                      \
    X(BOOL, dynamic, OPTIONAL, false)                                                                                  \
    X(MAP, dynamic_node_properties, OPTIONAL, 0)                                                                       \
    X(SYMBOL, distribution_mode, OPTIONAL, 0)                                                                          \
    X(MAP, filter, OPTIONAL, 0)                                                                                        \
    X(ANY, default_outcome, OPTIONAL, 0)                                                                               \
    X(SYMBOLS, outcomes, OPTIONAL, 0)                                                                                  \
    X(SYMBOLS, capabilities, OPTIONAL, 0)

#define AMQP_FIELDS_TARGET(X)                                                                                          \
    X(ANY, address, OPTIONAL, 0)                                                                                       \
    X(UINT, durable, OPTIONAL, 0)                                                                                      \
    X(SYMBOL, expiry_policy, OPTIONAL, 0)                                                                              \
    X(UINT, timeout, OPTIONAL, 0)                                                                                      \
    X(BOOL, dynamic, OPTIONAL, false)                                                                                  \
    X(MAP, dynamic_node_properties, OPTIONAL, 0)                                                                       \
    X(SYMBOLS, capabilities, OPTIONAL, 0)

#define AMQP_FIELDS_COORDINATOR(X) X(SYMBOLS, capabilities, OPTIONAL, 0)

#define AMQP_FIELDS_DECLARE(X) X(ANY, global_id, OPTIONAL, 0)

#define AMQP_FIELDS_DISCHARGE(X)                                                                                       \
    X(ANY, txn_id, REQUIRED, 0)                                                                                        \
    X(BOOL, fail, OPTIONAL, 0)

#define AMQP_FIELDS_DECLARED(X) X(ANY, txn_id, REQUIRED, 0)

#define AMQP_FIELDS_TRANSACTIONAL_STATE(X)                                                                             \
    X(ANY, txn_id, REQUIRED, 0)                                                                                        \
    X(ANY, outcome, OPTIONAL, 0)

#define AMQP_FIELDS_SASL_MECHANISMS(X) X(SYMBOLS, sasl_server_mechanisms, REQUIRED, 0)

#define AMQP_FIELDS_SASL_INIT(X)                                                                                       \
    X(SYMBOL, mechanism, REQUIRED, 0)                                                                                  \
    X(BINARY, initial_response, OPTIONAL, 0)                                                                           \
    X(STRING, hostname, OPTIONAL, 0)

#define AMQP_FIELDS_SASL_CHALLENGE(X) X(BINARY, challenge, REQUIRED, 0)

#define AMQP_FIELDS_SASL_RESPONSE(X) X(BINARY, response, REQUIRED, 0)

#define AMQP_FIELDS_SASL_OUTCOME(X)                                                                                    \
    X(UBYTE, code, REQUIRED, 0)                                                                                        \
    X(BINARY, additional_data, OPTIONAL, 0)

/* X(NAME, name): the types above. */
#define AMQP_COMPOSITES(X)                                                                                             \
    X(OPEN, open)                                                                                                      \
    X(BEGIN, begin)                                                                                                    \
    X(ATTACH, attach)                                                                                                  \
    X(FLOW, flow)                                                                                                      \
    X(TRANSFER, transfer)                                                                                              \
    X(DISPOSITION, disposition)                                                                                        \
    X(DETACH, detach)                                                                                                  \
    X(END, end)                                                                                                        \
    X(CLOSE, close)                                                                                                    \
    X(ERROR, error)                                                                                                    \
    X(HEADER, header)                                                                                                  \
    X(PROPERTIES, properties)                                                                                          \
    X(RECEIVED, received)                                                                                              \
    X(REJECTED, rejected)                                                                                              \
    X(MODIFIED, modified)                                                                                              \
    X(SOURCE, source)                                                                                                  \
    X(TARGET, target)                                                                                                  \
    X(COORDINATOR, coordinator)                                                                                        \
    X(DECLARE, declare)                                                                                                \
    X(DISCHARGE, discharge)                                                                                            \
    X(DECLARED, declared)                                                                                              \
    X(TRANSACTIONAL_STATE, transactional_state)                                                                        \
    X(SASL_MECHANISMS, sasl_mechanisms)                                                                                \
    X(SASL_INIT, sasl_init)                                                                                            \
    X(SASL_CHALLENGE, sasl_challenge)                                                                                  \
    X(SASL_RESPONSE, sasl_response)                                                                                    \
    X(SASL_OUTCOME, sasl_outcome)

/* ---- the structures ---- */

#define AMQP_CTYPE_BOOL bool
#define AMQP_CTYPE_UBYTE uint8_t
#define AMQP_CTYPE_USHORT uint16_t
#define AMQP_CTYPE_UINT uint32_t
#define AMQP_CTYPE_ULONG uint64_t
#define AMQP_CTYPE_TIMESTAMP int64_t
#define AMQP_CTYPE_BINARY struct slice
#define AMQP_CTYPE_STRING struct slice
#define AMQP_CTYPE_SYMBOL struct slice
#define AMQP_CTYPE_SYMBOLS struct slice
#define AMQP_CTYPE_MAP struct slice
#define AMQP_CTYPE_ANY struct slice

#define AMQP_FIELD_MEMBER(kind, name, need, initial) AMQP_CTYPE_##kind name;
#define AMQP_FIELD_BIT(kind, name, need, initial) bool name : 1;
#define AMQP_COMPOSITE_STRUCT(NAME, name)                                                                              \
    struct amqp_##name##_fields {                                                                                      \
        AMQP_FIELDS_##NAME(AMQP_FIELD_MEMBER) struct {                                                                 \
            AMQP_FIELDS_##NAME(AMQP_FIELD_BIT)                                                                         \
        } has;                                                                                                         \
    };
AMQP_COMPOSITES(AMQP_COMPOSITE_STRUCT)
#undef AMQP_COMPOSITE_STRUCT

/* Set a field of a structure to be written. */
#define AMQP_SET(f, field, value) ((f)->field = (value), (f)->has.field = true)

/* ---- fields of each kind ---- */

enum err amqp_field_read_map(struct amqp_reader *r, struct slice *v);
enum err amqp_field_read_symbols(struct amqp_reader *r, struct slice *v);

#define AMQP_FIELD_READ_BOOL amqp_read_bool
#define AMQP_FIELD_READ_UBYTE amqp_read_ubyte
#define AMQP_FIELD_READ_USHORT amqp_read_ushort
#define AMQP_FIELD_READ_UINT amqp_read_uint
#define AMQP_FIELD_READ_ULONG amqp_read_ulong
#define AMQP_FIELD_READ_TIMESTAMP amqp_read_timestamp
#define AMQP_FIELD_READ_BINARY amqp_read_binary
#define AMQP_FIELD_READ_STRING amqp_read_string
#define AMQP_FIELD_READ_SYMBOL amqp_read_symbol
#define AMQP_FIELD_READ_SYMBOLS amqp_field_read_symbols
#define AMQP_FIELD_READ_MAP amqp_field_read_map
#define AMQP_FIELD_READ_ANY amqp_read_raw

#define AMQP_FIELD_WRITE_BOOL amqp_write_bool
#define AMQP_FIELD_WRITE_UBYTE amqp_write_ubyte
#define AMQP_FIELD_WRITE_USHORT amqp_write_ushort
#define AMQP_FIELD_WRITE_UINT amqp_write_uint
#define AMQP_FIELD_WRITE_ULONG amqp_write_ulong
#define AMQP_FIELD_WRITE_TIMESTAMP amqp_write_timestamp
#define AMQP_FIELD_WRITE_BINARY(w, v) amqp_write_binary((w), (v).data, (v).len)
#define AMQP_FIELD_WRITE_STRING(w, v) amqp_write_string((w), (v).data, (v).len)
#define AMQP_FIELD_WRITE_SYMBOL(w, v) amqp_write_symbol((w), (v).data, (v).len)
#define AMQP_FIELD_WRITE_SYMBOLS(w, v) amqp_write_raw((w), (v).data, (v).len)
#define AMQP_FIELD_WRITE_MAP(w, v) amqp_write_raw((w), (v).data, (v).len)
#define AMQP_FIELD_WRITE_ANY(w, v) amqp_write_raw((w), (v).data, (v).len)

#define AMQP_FIELD_IS_REQUIRED true
#define AMQP_FIELD_IS_OPTIONAL false

/* What a list holds beyond the fields we know must at least be values, and nothing may be left over. */
enum err amqp_fields_finish(struct amqp_compound *list);

#define AMQP_FIELD_READ(kind, name, need, initial)                                                                     \
    f->has.name = list.count && (list.count--, !amqp_read_null(&list.in));                                             \
    if (!f->has.name) {                                                                                                \
        if (AMQP_FIELD_IS_##need)                                                                                      \
            return ERR_INVALID;                                                                                        \
        f->name = (AMQP_CTYPE_##kind){initial};                                                                        \
    } else if (AMQP_FIELD_READ_##kind(&list.in, &f->name) != OK) {                                                     \
        return ERR_INVALID;                                                                                            \
    }
#define AMQP_FIELD_COUNT(kind, name, need, initial)                                                                    \
    position++;                                                                                                        \
    if (f->has.name)                                                                                                   \
        count = position;
#define AMQP_FIELD_WRITE(kind, name, need, initial)                                                                    \
    if (position++ < count) {                                                                                          \
        if (f->has.name)                                                                                               \
            AMQP_FIELD_WRITE_##kind(w, f->name);                                                                       \
        else                                                                                                           \
            amqp_write_null(w);                                                                                        \
    }

#define AMQP_COMPOSITE_DEFINE(linkage, NAME, name)                                                                     \
    linkage enum err amqp_read_##name(struct amqp_reader *r, struct amqp_##name##_fields *f)                           \
    {                                                                                                                  \
        struct amqp_reader after = *r;                                                                                 \
        struct amqp_compound list;                                                                                     \
        enum err e = amqp_enter_list(&after, &list);                                                                   \
        if (e != OK)                                                                                                   \
            return e;                                                                                                  \
        AMQP_FIELDS_##NAME(AMQP_FIELD_READ);                                                                           \
        if (__builtin_expect(list.count || list.in.at != list.in.end, 0) && amqp_fields_finish(&list) != OK)           \
            return ERR_INVALID;                                                                                        \
        *r = after;                                                                                                    \
        return OK;                                                                                                     \
    }                                                                                                                  \
    linkage void amqp_write_##name(struct amqp_writer *w, const struct amqp_##name##_fields *f)                        \
    {                                                                                                                  \
        uint32_t count = 0, position = 0;                                                                              \
        AMQP_FIELDS_##NAME(AMQP_FIELD_COUNT);                                                                          \
        amqp_write_descriptor(w, AMQP_DESC_##NAME);                                                                    \
        size_t mark = amqp_write_list_begin(w);                                                                        \
        position = 0;                                                                                                  \
        AMQP_FIELDS_##NAME(AMQP_FIELD_WRITE);                                                                          \
        amqp_write_list_end(w, mark, count);                                                                           \
    }

/* Flow frames are most of what there is: in line. */
AMQP_COMPOSITE_DEFINE(static inline, FLOW, flow)
AMQP_COMPOSITE_DEFINE(static inline, TRANSFER, transfer)
AMQP_COMPOSITE_DEFINE(static inline, DISPOSITION, disposition)

#define AMQP_COMPOSITES_OUT_OF_LINE(X)                                                                                 \
    X(OPEN, open)                                                                                                      \
    X(BEGIN, begin)                                                                                                    \
    X(ATTACH, attach)                                                                                                  \
    X(DETACH, detach)                                                                                                  \
    X(END, end)                                                                                                        \
    X(CLOSE, close)                                                                                                    \
    X(ERROR, error)                                                                                                    \
    X(HEADER, header)                                                                                                  \
    X(PROPERTIES, properties)                                                                                          \
    X(RECEIVED, received)                                                                                              \
    X(REJECTED, rejected)                                                                                              \
    X(MODIFIED, modified)                                                                                              \
    X(SOURCE, source)                                                                                                  \
    X(TARGET, target)                                                                                                  \
    X(COORDINATOR, coordinator)                                                                                        \
    X(DECLARE, declare)                                                                                                \
    X(DISCHARGE, discharge)                                                                                            \
    X(DECLARED, declared)                                                                                              \
    X(TRANSACTIONAL_STATE, transactional_state)                                                                        \
    X(SASL_MECHANISMS, sasl_mechanisms)                                                                                \
    X(SASL_INIT, sasl_init)                                                                                            \
    X(SASL_CHALLENGE, sasl_challenge)                                                                                  \
    X(SASL_RESPONSE, sasl_response)                                                                                    \
    X(SASL_OUTCOME, sasl_outcome)
#define AMQP_COMPOSITE_DECLARE(NAME, name)                                                                             \
    enum err amqp_read_##name(struct amqp_reader *r, struct amqp_##name##_fields *f);                                  \
    void amqp_write_##name(struct amqp_writer *w, const struct amqp_##name##_fields *f);
AMQP_COMPOSITES_OUT_OF_LINE(AMQP_COMPOSITE_DECLARE)
#undef AMQP_COMPOSITE_DECLARE

/* ---- names, for traces ---- */

struct amqp_composite {
    uint64_t descriptor;
    const char *symbol;        /* the whole descriptor, "amqp:transfer:list" */
    const char *const *fields; /* with '_' for '-' */
    uint32_t field_count;
};
/* The composite type or message section with this descriptor; NULL: not of the specification. */
const struct amqp_composite *amqp_composite_of(uint64_t descriptor);

#endif
