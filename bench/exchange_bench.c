/* exchange_bench.c -- what it costs to find the bindings that match a subject, among many: with the tree that exchanges
 * use (exchange_keys.h), and by looking at each key in turn.
 *
 *   exchange_bench [bindings] [subjects]   CPU time per subject, for several kinds of keys; 5000 and 200000 by default
 */
#include <router/route/exchange_keys.h>
#include <router/route/key_model.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/assert.h>

struct binding {
    char key[64];
};

struct kind {
    const char *name;
    bool is_mqtt;
    const char *key, *subject; /* formats of a number */
};

static const struct kind kinds[] = {
    {"direct", false, "key-%u", "key-%u"},
    {"direct, 4 words", false, "eu.site-%u.orders.new", "eu.site-%u.orders.new"},
    {"topic a.N.*.#", false, "eu.site-%u.*.#", "eu.site-%u.orders.new"},
    {"topic *.N.#", false, "*.site-%u.#", "eu.site-%u.orders.new"},
    {"topic #.N", false, "#.site-%u", "eu.orders.new.site-%u"},
    {"mqtt a/N/+", true, "eu/site-%u/+", "eu/site-%u/temperature"},
    {"mqtt +/N/#", true, "+/site-%u/#", "eu/site-%u/room/temperature"},
};

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void write_number(char *out, size_t size, const char *format, unsigned number)
{
    const char *at = strstr(format, "%u");
    snprintf(out, size, "%.*s%u%s", (int)(at - format), format, number, at + 2);
}

static unsigned number_of(unsigned turn, unsigned bindings)
{
    return turn * 2654435761u % bindings;
}

static double with_tree(const struct kind *k, const struct exchange_keys *keys, unsigned bindings, unsigned subjects)
{
    uint64_t found = 0;
    double start = cpu_seconds();
    for (unsigned i = 0; i < subjects; i++) {
        char subject[64];
        struct binding_list list;
        write_number(subject, sizeof subject, k->subject, number_of(i, bindings));
        binding_list_init(&list);
        exchange_keys_match(keys, subject, strlen(subject), &list);
        found += list.count;
        binding_list_fini(&list);
    }
    ASSERT(found == subjects);
    return (cpu_seconds() - start) / subjects;
}

static double in_turn(const struct kind *k, const struct binding *all, unsigned bindings, unsigned subjects)
{
    uint64_t found = 0;
    double start = cpu_seconds();
    for (unsigned i = 0; i < subjects; i++) {
        char subject[64];
        write_number(subject, sizeof subject, k->subject, number_of(i, bindings));
        for (unsigned n = 0; n < bindings; n++)
            found += key_model_matches(all[n].key, subject, strlen(subject), k->is_mqtt);
    }
    ASSERT(found == subjects);
    return (cpu_seconds() - start) / subjects;
}

static void measure(const struct kind *k, unsigned bindings, unsigned subjects)
{
    struct binding *all = xcalloc(bindings, sizeof *all);
    struct exchange_keys *keys = exchange_keys_new(k->is_mqtt);
    double start = cpu_seconds();
    for (unsigned i = 0; i < bindings; i++) {
        write_number(all[i].key, sizeof all[i].key, k->key, i);
        struct exchange_keys *next = exchange_keys_with(keys, all[i].key, &all[i]);
        exchange_keys_free(&keys);
        keys = next;
    }
    double made = cpu_seconds() - start;
    double tree = with_tree(k, keys, bindings, subjects), turn = in_turn(k, all, bindings, subjects / 1000 + 1);
    printf("%-18s %10.2f us %14.2f us %14.2f us\n", k->name, tree * 1e6, turn * 1e6, made / bindings * 1e6);
    exchange_keys_free(&keys);
    free(all);
}

int main(int argc, char **argv)
{
    unsigned bindings = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 5000;
    unsigned subjects = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 200000;
    printf("%u bindings\n%-18s %13s %17s %17s\n", bindings, "", "tree", "each in turn", "adding one");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        measure(&kinds[i], bindings, subjects);
    return 0;
}
