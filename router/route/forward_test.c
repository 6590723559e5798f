#include <router/route/fake_engine.h>

#include <router/route/phase.h>
#include <router/route/rewrite.h>
#include <router/route/topology.h>
#include <trunkline/amqp/annotations.h>
#include <trunkline/amqp/codec.h>

/* A mesh of four others: routers 1 and 2 are neighbours, 3 is behind 1, 4 behind 2. */
enum { ROUTERS = 5 };
static struct topology *topology;
static struct link_load loads[2];

static struct link_token towards(uint32_t neighbour)
{
    return (struct link_token){.index = 100 + neighbour, .worker = 1};
}

static int setup_mesh(void **state)
{
    setup(state);
    memset(loads, 0, sizeof loads);
    topology = topology_new(ROUTERS, 2);
    static const char *const ids[ROUTERS] = {"A", "B", "C", "D", "E"};
    for (uint32_t i = 0; i < ROUTERS; i++)
        topology_set_id(topology, i, ids[i]);
    for (uint32_t i = 0; i < 2; i++) {
        struct trunk_view *v = &topology->trunks[i];
        v->neighbour = i + 1;
        v->capacity = 10;
        v->data[0] = towards(i + 1);
        v->load[0] = &loads[i];
    }
    for (uint32_t i = 1; i < ROUTERS; i++) {
        topology->paths[i] = (struct remote_path){.trunk = &topology->trunks[(i - 1) % 2], .cost = i < 3 ? 1 : 2};
        topology_set_forwards(topology, 0, i);
    }
    rcu_publish(&world.topology, topology);
    return 0;
}

static int teardown_mesh(void **state)
{
    rcu_publish(&world.topology, (struct topology *)NULL);
    topology_free(topology);
    return teardown(state);
}

static struct routes *routes_to(struct link **here_too, uint32_t here_count, const uint32_t *routers, uint32_t n)
{
    struct routes *r = routes_new(here_count, n);
    for (uint32_t i = 0; i < here_count; i++)
        r->to[i] = (struct destination){.link = here_too[i]->token, .load = &here_too[i]->load, .capacity = 10};
    for (uint32_t i = 0; i < n; i++)
        routes_remotes(r)[i] = routers[i];
    return r;
}

static void test_forward_closest_prefers_a_receiver_here(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *rx = new_link("rx", false, a);
    struct routes *r = routes_to(&rx, 1, (const uint32_t[]){1, 2}, 2);
    struct passage p = {0};
    uint32_t turn = 0;
    struct link_token to;
    assert_true(forward_choose(a, r, &p, &turn, &to));
    assert_true(link_token_equal(to, rx->token));
    free(r);
}

static void test_forward_closest_takes_the_least_cost_and_turns_among_equals(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct passage p = {0};
    uint32_t turn = 0, hits[3] = {0};
    struct link_token to;
    struct routes *r = routes_to(NULL, 0, (const uint32_t[]){1, 2, 3}, 3);
    for (int i = 0; i < 30; i++) {
        assert_true(forward_choose(a, r, &p, &turn, &to));
        hits[to.index - 100]++;
    }
    assert_true(hits[1] > 0 && hits[2] > 0);
    free(r);
    r = routes_to(NULL, 0, (const uint32_t[]){2, 3}, 2);
    for (int i = 0; i < 10; i++) {
        assert_true(forward_choose(a, r, &p, &turn, &to));
        assert_int_equal(to.index, 102);
    }
    free(r);
}

static void test_forward_unreachable_routers_are_nobody(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST), *b = new_address("M0b", DISTRIBUTION_BALANCED);
    topology->paths[3].trunk = NULL;
    struct routes *r = routes_to(NULL, 0, (const uint32_t[]){3}, 1);
    struct passage p = {0};
    uint32_t turn = 0;
    struct link_token to;
    assert_false(forward_choose(a, r, &p, &turn, &to));
    assert_false(forward_choose(b, r, &p, &turn, &to));
    assert_int_equal(forward_copies(a, r, &p, &to), 0);
    free(r);
}

static void test_forward_balanced_weighs_cost_and_what_is_under_way(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_BALANCED);
    struct link *rx = new_link("rx", false, a);
    struct routes *r = routes_to(&rx, 1, (const uint32_t[]){1}, 1);
    struct passage p = {0};
    uint32_t turn = 0;
    struct link_token to;
    /* Idle here: nothing beats that. With two in hand here the way to the other one, cost 1, is better. */
    assert_true(forward_choose(a, r, &p, &turn, &to));
    assert_true(link_token_equal(to, rx->token));
    assert_true(forward_choose(a, r, &p, &turn, &to));
    assert_true(forward_choose(a, r, &p, &turn, &to));
    assert_int_equal(to.index, 101);
    free(r);
}

static void test_forward_balanced_needs_a_valid_origin(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_BALANCED);
    struct routes *r = routes_to(NULL, 0, (const uint32_t[]){1}, 1);
    struct passage p = {.ingress = 2};
    uint32_t turn = 0;
    struct link_token to;
    assert_false(forward_choose(a, r, &p, &turn, &to));
    topology_set_forwards(topology, 2, 1);
    assert_true(forward_choose(a, r, &p, &turn, &to));
    p.ingress = FORWARD_NOWHERE;
    assert_false(forward_choose(a, r, &p, &turn, &to));
    free(r);
}

static void test_forward_multicast_sends_one_copy_for_each_neighbour(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_MULTICAST);
    struct link *rx = new_link("rx", false, a);
    struct routes *r = routes_to(&rx, 1, (const uint32_t[]){1, 2, 3, 4}, 4);
    struct passage p = {0};
    struct link_token to[8];
    assert_int_equal(forward_copies_max(r), 3);
    assert_int_equal(forward_copies(a, r, &p, to), 3);
    assert_int_equal(atomic_load(&a->transit), 2);
    assert_true(link_token_equal(to[0], rx->token));
    assert_int_equal(to[1].index, 101);
    assert_int_equal(to[2].index, 102);
    free(r);
}

static void test_forward_multicast_follows_the_ingress_and_shuns_the_trace(void **state)
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_MULTICAST);
    struct routes *r = routes_to(NULL, 0, (const uint32_t[]){1, 2, 3, 4}, 4);
    struct link_token to[8];
    /* It came from B (1): only what lies behind C (2) is ours to serve. */
    topology_set_forwards(topology, 1, 2);
    topology_set_forwards(topology, 1, 4);
    struct passage p = {.ingress = 1};
    assert_int_equal(forward_copies(a, r, &p, to), 1);
    assert_int_equal(to[0].index, 102);
    /* It has been at C already. */
    static const uint8_t trace[] = {0xa1, 3, '0', '/', 'B', 0xa1, 3, '0', '/', 'C'};
    struct amqp_annotations annotations = {.trace = {.ids = {.data = trace, .len = sizeof trace}, .count = 2}};
    p.annotations = &annotations;
    assert_int_equal(forward_copies(a, r, &p, to), 0);
    p.ingress = FORWARD_NOWHERE;
    assert_int_equal(forward_copies(a, r, &p, to), 0);
    free(r);
}

/* As it goes to the next router. */
static struct slice written_for_router(const struct slice *message, const struct named_address *for_)
{
    struct rewritten w;
    const struct tidings tidings = {.for_ = *for_};
    assert_true(rewrite_for_router(message, NULL, &tidings, &w));
    struct slice whole = rewritten_whole(message, &w);
    rewritten_fini(&w);
    return whole;
}

/* A message waited for the link to router 1, on which "a" was written as its address; "a" is at router 2 as well. */
static void test_forward_again_takes_another_way_and_leaves_its_mark_once(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST);
    struct link *gone = new_link("gone", false, NULL);
    gone->kind = LINK_DATA;
    static const uint8_t m[] = {0x00, 0x53, 0x73, 0x45, 0x00, 0x53, 0x77, 0x40};
    struct slice message = {.data = m, .len = sizeof m};
    struct named_address name = {.text = {.data = (const uint8_t *)"a", .len = 1}}, none = {0};
    struct slice written = written_for_router(&message, &name);
    struct origin o = {.link = LINK_TOKEN_NONE};
    struct link_token to;
    assert_false(forward_choose_again(gone, &o, &written, &none, &to));
    address_publish(a, routes_to(NULL, 0, (const uint32_t[]){2}, 1));
    assert_true(forward_choose_again(gone, &o, &written, &none, &to));
    assert_true(link_token_equal(to, towards(2)));
    assert_true(forward_choose_again(gone, &o, &message, &name, &to));
    assert_false(forward_choose_again(gone, &o, &message, &none, &to));
    /* The only way is the one that has gone. */
    topology->trunks[1].data[0] = gone->token;
    assert_false(forward_choose_again(gone, &o, &written, &none, &to));
    struct slice again = written_for_router(&written, &none);
    assert_int_equal(again.len, written.len);
    assert_memory_equal(again.data, written.data, again.len);
    buffer_unref(again.buf);
    buffer_unref(written.buf);
}

static int add_rule(const char *prefix, uint8_t ingress, uint8_t egress)
{
    struct rules *last = rcu_read(&world.rules), *next;
    const struct rule_conf conf = {.identity = prefix,
                                   .text = prefix,
                                   .is_prefix = true,
                                   .priority = PRIORITY_UNSET,
                                   .ingress_phase = ingress,
                                   .egress_phase = egress};
    assert_int_equal(rules_with(last, &conf, &next), OK);
    rcu_publish(&world.rules, next);
    rules_free(&last);
    return 0;
}

static struct slice text(const char *s)
{
    return (struct slice){.data = (const uint8_t *)s, .len = strlen(s)};
}

static void test_forward_finds_the_phase_that_is_said_or_where_producers_enter(void **state)
{
    (void)state;
    struct address *a0 = new_address("M0a", DISTRIBUTION_CLOSEST), *a1 = new_address("M1a", DISTRIBUTION_CLOSEST),
                   *af = new_address("MFa", DISTRIBUTION_CLOSEST);
    enum refusal why;
    assert_ptr_equal(forward_find(&(struct named_address){text("amqp:/a"), 0}, &why), a0);
    assert_ptr_equal(forward_find(&(struct named_address){text("a"), 1}, &why), a1);
    assert_ptr_equal(forward_find(&(struct named_address){text("a"), PHASE_FALLBACK_NUMBER}, &why), af);
    assert_null(forward_find(&(struct named_address){text("a"), 10}, &why));
    assert_int_equal(why, REFUSAL_RELEASED);
    assert_ptr_equal(forward_find_named(text("a"), &why), a0);
    add_rule("b", 1, 2);
    assert_ptr_equal(forward_find_named(text("a"), &why), a0);
    add_rule("a", 1, 2);
    assert_ptr_equal(forward_find_named(text("/a"), &why), a1);
    assert_ptr_equal(forward_find(&(struct named_address){text("a"), 0}, &why), a0);
}

static void test_forward_names_an_address_where_its_text_does_not_lead_to_it(void **state)
{
    (void)state;
    struct named_address n = forward_name_of(new_address("M0a", DISTRIBUTION_CLOSEST));
    assert_int_equal(n.text.len, 0);
    n = forward_name_of(new_address("M2a.b", DISTRIBUTION_CLOSEST));
    assert_true(amqp_slice_is(n.text, "a.b"));
    assert_int_equal(n.phase, 2);
    n = forward_name_of(new_address("MFa", DISTRIBUTION_CLOSEST));
    assert_int_equal(n.phase, 22);
    n = forward_name_of(new_address("L2a", DISTRIBUTION_CLOSEST));
    assert_int_equal(n.text.len, 0);
}

/* The way to the only receiver has gone; a fallback receiver is at another router. */
static void test_forward_again_goes_to_the_fallback_and_says_so(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST), *f = new_address("MFa", DISTRIBUTION_BALANCED);
    struct link *gone = new_link("gone", false, NULL);
    gone->kind = LINK_DATA;
    static const uint8_t m[] = {0x00, 0x53, 0x73, 0x45, 0x00, 0x53, 0x77, 0x40};
    struct slice message = {.data = m, .len = sizeof m};
    struct named_address name = {.text = text("a")};
    struct origin o = {.link = LINK_TOKEN_NONE};
    struct link_token to;
    address_set_fallback(a, f);
    assert_false(forward_choose_again(gone, &o, &message, &name, &to));
    address_publish(f, routes_to(NULL, 0, (const uint32_t[]){2}, 1));
    assert_true(forward_choose_again(gone, &o, &message, &name, &to));
    assert_true(link_token_equal(to, towards(2)));
    assert_int_equal(name.phase, PHASE_FALLBACK_NUMBER);
    assert_true(amqp_slice_is(name.text, "a"));
    assert_int_equal(atomic_load(&a->redirected), 1);
}

/* What waits at a receiver that leaves: another one of the address first, then one of the fallback, but not while
 * another router has receivers. */
static void test_forward_other_is_one_of_the_fallback_only_without_any_of_the_address(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct address *a = new_address("M0a", DISTRIBUTION_CLOSEST), *f = new_address("MFa", DISTRIBUTION_BALANCED);
    struct link *gone = new_link("gone", false, a), *other = new_link("other", false, a),
                *last = new_link("last", false, f);
    address_set_fallback(a, f);
    route_to(f, &last, 1);
    route_to(a, (struct link *[]){gone, other}, 2);
    struct origin o = {.link = LINK_TOKEN_NONE};
    struct link_token to;
    assert_true(forward_choose_other(gone, &o, &to));
    assert_true(link_token_equal(to, other->token));
    route_to(a, &gone, 1);
    assert_true(forward_choose_other(gone, &o, &to));
    assert_true(link_token_equal(to, last->token));
    assert_int_equal(atomic_load(&a->redirected), 1);
    address_publish(a, routes_to(&gone, 1, (const uint32_t[]){2}, 1));
    assert_false(forward_choose_other(gone, &o, &to));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_mesh, teardown_mesh)
    const struct CMUnitTest tests[] = {
        TEST(test_forward_closest_prefers_a_receiver_here),
        TEST(test_forward_closest_takes_the_least_cost_and_turns_among_equals),
        TEST(test_forward_unreachable_routers_are_nobody),
        TEST(test_forward_balanced_weighs_cost_and_what_is_under_way),
        TEST(test_forward_balanced_needs_a_valid_origin),
        TEST(test_forward_multicast_sends_one_copy_for_each_neighbour),
        TEST(test_forward_multicast_follows_the_ingress_and_shuns_the_trace),
        TEST(test_forward_again_takes_another_way_and_leaves_its_mark_once),
        TEST(test_forward_finds_the_phase_that_is_said_or_where_producers_enter),
        TEST(test_forward_names_an_address_where_its_text_does_not_lead_to_it),
        TEST(test_forward_again_goes_to_the_fallback_and_says_so),
        TEST(test_forward_other_is_one_of_the_fallback_only_without_any_of_the_address),
    };
    return cmocka_run_group_tests(tests, play_control, NULL);
}
