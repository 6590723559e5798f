#include "paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <trunkline/base/clock.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#define MANY 40

/* A graph beside the one under test, with the algorithm written as the reference says it: a list sorted by (cost, id),
 * relaxed only by what is strictly cheaper. */
static struct {
    unsigned seed;
    uint32_t n;
    char ids[MANY][8];
    int32_t cost[MANY][MANY]; /* 0: no edge */
    struct paths *paths;
} g;

static uint32_t random_below(uint32_t n)
{
    return (uint32_t)rand_r(&g.seed) % n;
}

static void publish(uint32_t from)
{
    struct path_edge edges[MANY];
    uint32_t n = 0;
    for (uint32_t to = 0; to < g.n; to++)
        if (g.cost[from][to])
            edges[n++] = (struct path_edge){to, g.cost[from][to]};
    paths_set_edges(g.paths, from, edges, n);
}

static void start(unsigned seed, uint32_t n)
{
    memset(&g, 0, sizeof g);
    g.seed = seed;
    g.n = n;
    g.paths = paths_new(MANY);
    for (uint32_t i = 0; i < n; i++) {
        /* Ids in no order, of different lengths. */
        snprintf(g.ids[i], sizeof g.ids[i], "%c%u", 'a' + (int)random_below(26), i * 7 % 11 * 100 + i);
        paths_add(g.paths, i, g.ids[i]);
    }
}

struct naive {
    int64_t cost[MANY];
    uint32_t parent[MANY], hops[MANY];
};

static void naive_tree(uint32_t root, struct naive *t)
{
    bool done[MANY] = {false};
    for (uint32_t i = 0; i < MANY; i++) {
        t->cost[i] = -1;
        t->parent[i] = PATH_NONE;
        t->hops[i] = 0;
    }
    t->cost[root] = 0;
    for (;;) {
        uint32_t u = PATH_NONE;
        for (uint32_t i = 0; i < g.n; i++)
            if (!done[i] && t->cost[i] >= 0 &&
                (u == PATH_NONE || t->cost[i] < t->cost[u] ||
                 (t->cost[i] == t->cost[u] && strcmp(g.ids[i], g.ids[u]) < 0)))
                u = i;
        if (u == PATH_NONE)
            return;
        done[u] = true;
        if (u != root)
            t->hops[u] = t->hops[t->parent[u]] + 1;
        for (uint32_t v = 0; v < g.n; v++)
            if (g.cost[u][v] && (t->cost[v] < 0 || t->cost[u] + g.cost[u][v] < t->cost[v])) {
                t->cost[v] = t->cost[u] + g.cost[u][v];
                t->parent[v] = u;
            }
    }
}

static void assert_tree(uint32_t root)
{
    struct naive naive;
    naive_tree(root, &naive);
    const struct path_tree *t = paths_tree(g.paths, root);
    for (uint32_t i = 0; i < g.n; i++) {
        const struct path_node *n = path_tree_node(t, i);
        assert_int_equal(n->cost, naive.cost[i]);
        assert_int_equal(n->parent, naive.parent[i]);
        assert_int_equal(n->hops, naive.hops[i]);
        uint32_t first = PATH_NONE;
        for (uint32_t at = i; at != root && naive.parent[at] != PATH_NONE; at = naive.parent[at])
            first = at;
        assert_int_equal(n->first, first);
    }
}

/* A first hop is good if the rest of the way from it costs just what remains. */
static void assert_first_hops(uint32_t root)
{
    struct naive from_root, from_first;
    naive_tree(root, &from_root);
    uint32_t stride, count, edge_count;
    const uint64_t *words = paths_first_hops(g.paths, root, &stride, &count);
    const struct path_edge *edges = paths_edges(g.paths, root, &edge_count);
    for (uint32_t e = 0; e < edge_count; e++) {
        naive_tree(edges[e].to, &from_first);
        for (uint32_t i = 0; i < g.n; i++) {
            if (i == root)
                continue;
            bool expected = from_root.cost[i] >= 0 && from_first.cost[i] >= 0 &&
                            from_first.cost[i] + edges[e].cost == from_root.cost[i];
            bool is_set = i < count && words[i * stride + e / 64] >> e % 64 & 1;
            assert_int_equal(is_set, expected);
        }
    }
}

static void change_randomly(void)
{
    uint32_t from = random_below(g.n);
    for (uint32_t i = 0; i < 1 + random_below(3); i++) {
        uint32_t to = random_below(g.n);
        if (to != from)
            g.cost[from][to] = random_below(2) ? 0 : (int32_t)(1 + random_below(4));
    }
    publish(from);
}

static void test_paths_random_changes_same_as_the_reference(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 60; seed++) {
        start(seed, 3 + seed % (MANY - 3));
        for (int step = 0; step < 150; step++) {
            change_randomly();
            uint32_t root = random_below(g.n);
            assert_tree(root);
            if (step % 5 == 0)
                assert_first_hops(root);
            assert_tree(0);
        }
        paths_free(&g.paths);
    }
}

static void join(uint32_t a, uint32_t b, int32_t cost)
{
    g.cost[a][b] = g.cost[b][a] = cost;
    publish(a);
    publish(b);
}

static void test_paths_square_all_permutations_smallest_id_wins(void **state)
{
    (void)state;
    /* a corner, its two neighbours, the opposite corner: the neighbour with the smaller id is on the way */
    static const char *const ids[4] = {"A", "B", "C", "D"};
    for (int p = 0; p < 24; p++) {
        start(1, 4);
        int left[4] = {0, 1, 2, 3}, code = p;
        for (int i = 0; i < 4; i++) {
            int pick = code % (4 - i);
            code /= 4 - i;
            snprintf(g.ids[i], sizeof g.ids[i], "%s", ids[left[pick]]);
            memmove(left + pick, left + pick + 1, (size_t)(3 - pick) * sizeof *left);
        }
        for (uint32_t i = 0; i < 4; i++)
            join(i, (i + 1) % 4, 1);
        uint32_t between = strcmp(g.ids[1], g.ids[3]) < 0 ? 1 : 3;
        assert_int_equal(path_tree_node(paths_tree(g.paths, 0), 2)->first, between);
        assert_true(paths_is_on_way(g.paths, 0, between, 2));
        assert_false(paths_is_on_way(g.paths, 0, 4 - between, 2));
        uint32_t stride, count;
        assert_int_equal(paths_first_hops(g.paths, 0, &stride, &count)[2 * stride], 3); /* both, for those who share */
        paths_free(&g.paths);
    }
}

/* Each router forwards to the next hops towards all receivers for which it is on the way from the origin. */
static void flow(uint32_t origin, uint32_t at, const bool *receives, uint32_t *copies, uint32_t depth)
{
    assert_true(depth <= g.n);
    copies[at]++;
    bool sent[MANY] = {false};
    for (uint32_t d = 0; d < g.n; d++) {
        if (!receives[d] || d == at || !paths_is_on_way(g.paths, origin, at, d))
            continue;
        uint32_t next = path_tree_node(paths_tree(g.paths, at), d)->first;
        if (!sent[next])
            flow(origin, next, receives, copies, depth + 1);
        sent[next] = true;
    }
}

static void test_paths_multicast_by_valid_origins_one_copy_each(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 200; seed++) {
        start(seed, 2 + seed % 20);
        for (uint32_t i = 1; i < g.n; i++)
            join(i, random_below(i), (int32_t)(1 + random_below(2)));
        for (uint32_t i = 0; i < g.n; i++)
            if (random_below(g.n) != i)
                join(i, (i + 1 + random_below(g.n - 1)) % g.n, (int32_t)(1 + random_below(2)));
        bool receives[MANY];
        uint32_t copies[MANY] = {0}, origin = random_below(g.n);
        for (uint32_t i = 0; i < g.n; i++)
            receives[i] = random_below(2);
        flow(origin, origin, receives, copies, 0);
        for (uint32_t i = 0; i < g.n; i++)
            assert_true(receives[i] && i != origin ? copies[i] == 1 : copies[i] <= 1);
        paths_free(&g.paths);
    }
}

static void test_paths_change_elsewhere_tree_stays(void **state)
{
    (void)state;
    start(1, 6);
    for (uint32_t i = 1; i < 6; i++)
        join(i, i - 1, 1);
    (void)paths_tree(g.paths, 0);
    uint64_t computed = paths_computed(g.paths);
    join(2, 5, 9); /* leads nowhere cheaper */
    (void)paths_tree(g.paths, 0);
    assert_int_equal(paths_computed(g.paths), computed);
    join(2, 5, 1);
    assert_int_equal(path_tree_node(paths_tree(g.paths, 0), 5)->cost, 3);
    assert_int_equal(paths_computed(g.paths), computed + 1);
    paths_free(&g.paths);
}

static void test_paths_nodes_come_and_go_indices_used_again(void **state)
{
    (void)state;
    start(1, 3);
    join(0, 1, 1);
    join(1, 2, 1);
    uint64_t before = paths_fingerprint(g.paths);
    assert_int_equal(path_tree_node(paths_tree(g.paths, 0), 2)->cost, 2);
    join(1, 2, 0);
    assert_int_equal(path_tree_node(paths_tree(g.paths, 0), 2)->cost, -1);
    paths_remove(g.paths, 2);
    paths_add(g.paths, 2, "new");
    assert_int_equal(path_tree_node(paths_tree(g.paths, 0), 2)->cost, -1);
    paths_remove(g.paths, 2);
    paths_add(g.paths, 2, g.ids[2]);
    join(1, 2, 1);
    assert_int_equal(path_tree_node(paths_tree(g.paths, 0), 2)->cost, 2);
    assert_true(paths_fingerprint(g.paths) == before);
    paths_add(g.paths, 500, "far"); /* beyond what the kept tree knows */
    assert_int_equal(path_tree_node(paths_tree(g.paths, 0), 500)->cost, -1);
    struct path_edge edge = {500, 1};
    paths_set_edges(g.paths, 2, &edge, 1);
    assert_int_equal(path_tree_node(paths_tree(g.paths, 0), 500)->cost, 3);
    paths_free(&g.paths);
}

static void test_paths_thousand_routers_a_tree_within_milliseconds(void **state)
{
    (void)state;
    enum { N = 1000 };
    static char ids[N][8];
    struct paths *p = paths_new(N);
    unsigned seed = 1;
    for (uint32_t i = 0; i < N; i++) {
        snprintf(ids[i], sizeof ids[i], "r%u", i);
        paths_add(p, i, ids[i]);
    }
    for (uint32_t i = 0; i < N; i++) {
        struct path_edge edges[6] = {{(i + 1) % N, 1}, {(i + N - 1) % N, 1}};
        for (int e = 2; e < 6; e++)
            edges[e] = (struct path_edge){(uint32_t)rand_r(&seed) % N, 1 + rand_r(&seed) % 3};
        paths_set_edges(p, i, edges, 6);
    }
    mono_ns begin = clock_mono_ns();
    for (uint32_t root = 0; root < N; root++) {
        uint32_t reached;
        path_tree_order(paths_tree(p, root), &reached);
        assert_int_equal(reached, N);
    }
    print_message("%.0f us a tree of %d routers\n", (double)(clock_mono_ns() - begin) / N / 1000, N);
    /* One edge goes: only trees that have it are computed again. */
    uint64_t computed = paths_computed(p);
    uint32_t n;
    const struct path_edge *of_7 = paths_edges(p, 7, &n);
    struct path_edge fewer[6];
    memcpy(fewer, of_7, (n - 1) * sizeof *fewer);
    paths_set_edges(p, 7, fewer, n - 1);
    for (uint32_t root = 0; root < N; root++)
        (void)paths_tree(p, root);
    print_message("%lu of %d trees computed again after a cut\n", paths_computed(p) - computed, N);
    assert_true(paths_computed(p) - computed < N);
    paths_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_random_changes_same_as_the_reference),
        cmocka_unit_test(test_paths_square_all_permutations_smallest_id_wins),
        cmocka_unit_test(test_paths_multicast_by_valid_origins_one_copy_each),
        cmocka_unit_test(test_paths_change_elsewhere_tree_stays),
        cmocka_unit_test(test_paths_nodes_come_and_go_indices_used_again),
        cmocka_unit_test(test_paths_thousand_routers_a_tree_within_milliseconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
