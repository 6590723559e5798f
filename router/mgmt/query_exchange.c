/* Exchanges and their bindings, with what they have passed on. */
#include "query_priv.h"

#include <router/route/exchange.h>

static struct exchange_counts counts_of(const struct exchange *e) ON_CONTROL
{
    struct exchange_counts c;
    exchange_counts(e, &c);
    return c;
}

#define EXCHANGE_COLUMNS(X)                                                                                            \
    X(name, query_text(exchange_conf(o)->name))                                                                        \
    X(identity, query_decimal(exchange_identity(o)))                                                                   \
    X(address, query_text(exchange_conf(o)->address))                                                                  \
    X(phase, query_number(exchange_conf(o)->phase))                                                                    \
    X(alternateAddress, query_text(exchange_conf(o)->alternate))                                                       \
    X(alternatePhase, query_number(exchange_conf(o)->alternate_phase))                                                 \
    X(matchMethod, query_text(exchange_conf(o)->is_mqtt ? "mqtt" : "amqp"))                                            \
    X(bindingCount, query_number(counts_of(o).bindings))                                                               \
    X(receivedCount, query_number(counts_of(o).received))                                                              \
    X(droppedCount, query_number(counts_of(o).dropped))                                                                \
    X(forwardedCount, query_number(counts_of(o).forwarded))                                                            \
    X(divertedCount, query_number(counts_of(o).diverted))

#define BINDING_COLUMNS(X)                                                                                             \
    X(name, query_text(binding_conf(o)->name))                                                                         \
    X(identity, query_decimal(binding_identity(o)))                                                                    \
    X(exchangeName, query_text(binding_conf(o)->exchange))                                                             \
    X(bindingKey, query_text(binding_conf(o)->key))                                                                    \
    X(nextHopAddress, query_text(binding_conf(o)->next_hop))                                                           \
    X(nextHopPhase, query_number(binding_conf(o)->next_hop_phase))                                                     \
    X(matchedCount, query_number(binding_matched(o)))

#define FUNCTION(kind, column, expression)                                                                             \
    static PyObject *show_##kind##_##column(const void *object, const struct asked *q)                                 \
    {                                                                                                                  \
        const struct kind *o = object;                                                                                 \
        (void)q;                                                                                                       \
        assert_on_control();                                                                                           \
        return expression;                                                                                             \
    }
#define EXCHANGE_FUNCTION(column, expression) FUNCTION(exchange, column, expression)
#define BINDING_FUNCTION(column, expression) FUNCTION(binding, column, expression)
EXCHANGE_COLUMNS(EXCHANGE_FUNCTION)
BINDING_COLUMNS(BINDING_FUNCTION)

#define EXCHANGE_ENTRY(column, expression) {#column, show_exchange_##column},
#define BINDING_ENTRY(column, expression) {#column, show_binding_##column},
static const struct column exchange_columns[] = {EXCHANGE_COLUMNS(EXCHANGE_ENTRY)};
static const struct column binding_columns[] = {BINDING_COLUMNS(BINDING_ENTRY)};

static void begin_exchanges(struct walk *w)
{
    assert_on_control();
    w->head = w->at = exchanges();
}

static void begin_bindings(struct walk *w)
{
    assert_on_control();
    w->head = w->at = bindings();
}

static const void *next_exchange(struct walk *w)
{
    w->at = w->at->next;
    return w->at == w->head ? NULL : exchange_of_node((struct list *)w->at);
}

static const void *next_binding(struct walk *w)
{
    w->at = w->at->next;
    return w->at == w->head ? NULL : binding_of_node((struct list *)w->at);
}

static const void *find_exchange(const char *identity)
{
    assert_on_control();
    uint64_t number;
    return query_identity_number(identity, &number) ? exchange_find(number) : NULL;
}

static const void *find_binding(const char *identity)
{
    assert_on_control();
    uint64_t number;
    return query_identity_number(identity, &number) ? binding_find(number) : NULL;
}

const struct kind query_kind_exchange = {"router.config.exchange", COLUMNS(exchange_columns), .begin = begin_exchanges,
                                         .next = next_exchange, .find = find_exchange};
const struct kind query_kind_binding = {"router.config.binding", COLUMNS(binding_columns), .begin = begin_bindings,
                                        .next = next_binding, .find = find_binding};
