/* Keys of an exchange's bindings and a subject, from any text: the first octet says amqp or mqtt, the second how many
 * keys are taken out again, lines are keys, the last one is the subject. What must hold: the set gives what each key
 * gives that is looked at alone; a set that has lost what came to it is as before. */
#include <router/route/exchange_keys.h>
#include <router/route/key_model.h>

#include <stdlib.h>
#include <string.h>
#include <trunkline/base/assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n);

enum { KEYS_MAX = 32 };

struct binding {
    char *key;
    bool is_in;
};

struct text {
    const char *at, *end;
};

/* The next line, as a text of its own: NUL is the end of it, as in a configuration. NULL: there is none. */
static char *next_line(struct text *t)
{
    if (!t->at)
        return NULL;
    const char *stop = memchr(t->at, '\n', (size_t)(t->end - t->at));
    char *line = strndup(t->at, (size_t)((stop ? stop : t->end) - t->at));
    ASSERT(line);
    t->at = stop ? stop + 1 : NULL;
    return line;
}

static void replace(struct exchange_keys **k, struct exchange_keys *next)
{
    exchange_keys_free(k);
    *k = next;
}

static void assert_as_each_alone(const struct exchange_keys *k, const struct binding *all, size_t count,
                                 const char *subject, size_t len, bool is_mqtt)
{
    struct binding_list found;
    binding_list_init(&found);
    exchange_keys_match(k, subject, len, &found);
    uint32_t expected = 0;
    for (size_t i = 0; i < count; i++)
        expected += all[i].is_in && key_model_matches(all[i].key, subject, len, is_mqtt);
    ASSERT(found.count == expected);
    for (uint32_t i = 0; i < found.count; i++) {
        ASSERT(found.at[i]->is_in && key_model_matches(found.at[i]->key, subject, len, is_mqtt));
        for (uint32_t other = 0; other < i; other++)
            ASSERT(found.at[other] != found.at[i]);
    }
    binding_list_fini(&found);
}

static void assert_among_its_like(const struct exchange_keys *k, const struct binding *b)
{
    struct binding_list like;
    bool found = false;
    binding_list_init(&like);
    exchange_keys_like(k, b->key, &like);
    for (uint32_t i = 0; i < like.count; i++)
        found = found || like.at[i] == b;
    ASSERT(found == b->is_in);
    binding_list_fini(&like);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n)
{
    if (n < 2 || n > 4096)
        return 0;
    bool is_mqtt = octets[0] & 1;
    struct text rest = {(const char *)octets + 2, (const char *)octets + n};
    struct binding all[KEYS_MAX] = {{0}};
    struct exchange_keys *k = exchange_keys_new(is_mqtt);
    size_t count = 0;
    char *line = next_line(&rest);
    while (rest.at && count < KEYS_MAX) {
        struct binding *b = &all[count++];
        b->key = line;
        b->is_in = exchange_key_is_good(line, is_mqtt);
        if (b->is_in)
            replace(&k, exchange_keys_with(k, line, b));
        line = next_line(&rest);
    }
    assert_as_each_alone(k, all, count, line, strlen(line), is_mqtt);
    for (size_t i = 0; i < count; i++) {
        assert_among_its_like(k, &all[i]);
        if (!all[i].is_in || i % 8 >= octets[1] % 9u)
            continue;
        replace(&k, exchange_keys_without(k, all[i].key, &all[i]));
        all[i].is_in = false;
        assert_among_its_like(k, &all[i]);
    }
    assert_as_each_alone(k, all, count, line, strlen(line), is_mqtt);
    exchange_keys_free(&k);
    for (size_t i = 0; i < count; i++)
        free(all[i].key);
    free(line);
    return 0;
}
