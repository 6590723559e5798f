#include <router/route/fake_control.h>

#include <router/route/edge_proxy.h>
#include <router/route/link.h>
#include <router/route/own_link.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/rcu.h>
#include <trunkline/io/loop.h>

/* ---- in place of own links: they are attached when the test says so ---- */

struct own_link {
    struct own_link_owner *owner;
    char name[32];
    bool is_sender, is_bound, is_attached;
    struct address *address;
};

static struct own_link *made[8];
static int made_count;

struct own_link *own_link_open(const struct own_link_conf *conf, struct own_link_owner *owner)
{
    struct own_link *o = xcalloc(1, sizeof *o);
    snprintf(o->name, sizeof o->name, "%s %s", conf->is_sender ? "out" : "in",
             conf->is_sender ? conf->target : conf->source);
    o->owner = owner;
    o->is_sender = conf->is_sender;
    o->address = table_find(world.table, conf->key, strlen(conf->key));
    assert_true(!conf->is_sender || conf->is_unbound);
    made[made_count++] = o;
    say("%s opens%s; ", o->name, conf->capability ? " with capability" : "");
    return o;
}

/* The link counts among those of its address no more. */
static void part(struct own_link *o)
{
    if (o->is_attached && !o->is_sender)
        o->address->sender_count--;
    if (o->is_attached && o->is_bound)
        o->address->receiver_count--;
    o->is_attached = o->is_bound = false;
}

void own_link_close(struct own_link **at)
{
    if (!*at)
        return;
    say("%s closes; ", (*at)->name);
    part(*at);
    for (int i = 0; i < made_count; i++)
        if (made[i] == *at)
            made[i] = made[--made_count];
    free(*at);
    *at = NULL;
}

void own_link_bind(struct own_link *o, bool receives)
{
    if (o->is_bound == receives)
        return;
    o->is_bound = receives;
    if (o->is_attached)
        o->address->receiver_count += receives ? 1 : -1;
    say("%s %s; ", o->name, receives ? "binds" : "unbinds");
}

bool own_link_is_bound(const struct own_link *o)
{
    return o->is_bound;
}

struct link *own_link_link(const struct own_link *o)
{
    return o->is_attached ? (struct link *)o : NULL; /* only asked whether there is one */
}

static void attach_all(void)
{
    for (int i = 0; i < made_count; i++) {
        struct own_link *o = made[i];
        if (o->is_attached)
            continue;
        o->is_attached = true;
        if (!o->is_sender)
            o->address->sender_count++;
        else if (o->is_bound)
            o->address->receiver_count++;
        o->owner->attached(o->owner, &(struct own_link_answer){0});
    }
}

/* ---- the edge router ---- */

static int some_connection;

static int setup(void **state) NO_THREAD_SAFETY
{
    (void)state;
    control_setup();
    atomic_init(&world.rules, rules_new());
    edge_proxy_start(NULL, &world);
    edge_proxy_up((struct connection *)&some_connection);
    said[0] = 0;
    return 0;
}

static int teardown(void **state) NO_THREAD_SAFETY
{
    (void)state;
    edge_proxy_down();
    assert_int_equal(made_count, 0);
    edge_proxy_stop();
    struct rules *r = rcu_read(&world.rules);
    control_teardown();
    rules_free(&r);
    return 0;
}

static struct address *address(const char *key) NO_THREAD_SAFETY
{
    return table_get(world.table, key, DISTRIBUTION_BALANCED, -1);
}

static void count(struct address *a, int receivers, int senders) NO_THREAD_SAFETY
{
    a->receiver_count += (uint32_t)receivers;
    a->sender_count += (uint32_t)senders;
    edge_proxy_address_changed(a);
}

static void told(const char *key, bool has) NO_THREAD_SAFETY
{
    edge_proxy_told((struct slice){.data = (const uint8_t *)key, .len = strlen(key)}, has);
}

static void test_edge_proxy_first_receiver_opens_and_last_one_closes(void **state)
{
    (void)state;
    struct address *a = address("M0q");
    count(a, 1, 0);
    assert_said("in q opens; ");
    attach_all();
    count(a, 1, 0);
    count(a, -1, 0);
    assert_said("");
    count(a, -1, 0);
    assert_said("in q closes; ");
    assert_null(a->proxy);
    assert_int_equal(a->sender_count, 0);
}

static void test_edge_proxy_outlink_receives_only_while_told(void **state)
{
    (void)state;
    struct address *a = address("M0q");
    count(a, 0, 1);
    assert_said("out q opens; ");
    told("M0q", true); /* may come before the answer */
    attach_all();
    assert_said("out q binds; ");
    assert_int_equal(a->receiver_count, 1);
    told("M0q", true);
    told("M0other", true);
    assert_said("");
    told("M0q", false);
    assert_said("out q unbinds; ");
    count(a, 0, -1);
    assert_said("out q closes; ");
}

/* An inlink is a sender to its address and a bound outlink a receiver of it: neither is a reason for the other. */
static void test_edge_proxy_links_do_not_count_each_other(void **state)
{
    (void)state;
    struct address *a = address("M0q");
    count(a, 1, 1);
    attach_all();
    told("M0q", true);
    said[0] = 0;
    assert_int_equal(a->receiver_count, 2);
    assert_int_equal(a->sender_count, 2);
    count(a, -1, 0);
    assert_said("in q closes; ");
    count(a, 1, 0);
    attach_all();
    said[0] = 0;
    count(a, 0, -1);
    assert_said("out q closes; ");
    count(a, -1, 0);
    assert_said("in q closes; ");
}

static void test_edge_proxy_is_of_mobile_addresses_of_clients_only(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct address *own = address("M0$management");
    own->is_own = true;
    count(own, 0, 1);
    count(address("Ltemp.1"), 1, 0);
    count(address("L_edge"), 1, 1);
    assert_said("");
}

static void test_edge_proxy_who_sends_to_an_address_may_reach_its_fallback(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct address *a = address("M0q"), *f = address("MFq");
    address_set_fallback(a, f);
    count(a, 0, 1);
    assert_said("out q opens; out q opens with capability; ");
    attach_all();
    count(f, 1, 0);
    assert_said("in q opens with capability; ");
    count(a, 0, -1);
    assert_said("out q closes; out q closes; ");
    count(f, -1, 0);
    assert_said("in q closes; ");
}

static void test_edge_proxy_another_uplink_gets_all_of_them(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct address *a = address("M0a"), *b = address("M0b");
    count(a, 1, 0);
    count(b, 0, 1);
    attach_all();
    told("M0b", true);
    said[0] = 0;
    edge_proxy_down();
    assert_said("in a closes; out b closes; ");
    count(address("M0c"), 1, 0);
    assert_said("");
    edge_proxy_up((struct connection *)&some_connection);
    assert_said("in a opens; out b opens; in c opens; ");
    attach_all();
    assert_int_equal(b->receiver_count, 0); /* until it is told there, too */
}

static void test_edge_proxy_that_is_refused_is_tried_again(void **state)
{
    (void)state;
    struct address *a = address("M0q");
    count(a, 1, 0);
    made[0]->owner->ended(made[0]->owner, &(struct own_link_end){.condition = "amqp:not-found"});
    assert_said("in q opens; in q closes; ");
    count(a, 0, 0); /* its own link has left, and others come: that is no reason to ask again at once */
    count(a, 1, 0);
    assert_said("");
    pass(5000);
    assert_said("in q opens; ");
}

static void test_edge_proxy_capabilities_tell_the_phase(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int ingress, egress;
        bool is_inlink;
        const char *capability;
    } cases[] = {
        {"M0q", 0, 0, true, NULL},
        {"M0q", 0, 0, false, NULL},
        {"MFq", 0, 0, true, "qd.fallback"},
        {"MFq", 0, 1, false, "qd.fallback"},
        {"M0w", 0, 1, true, "qd.waypoint.1"},
        {"M1w", 0, 1, true, NULL},
        {"M0w", 0, 1, false, NULL},
        {"M1w", 0, 1, false, "qd.waypoint.1"},
        {"M1w", 0, 3, true, "qd.waypoint.2"},
        {"M2w", 0, 3, false, "qd.waypoint.2"},
        {"M9w", 0, 8, true, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = edge_proxy_capability(cases[i].key, cases[i].ingress, cases[i].egress, cases[i].is_inlink);
        if (cases[i].capability)
            assert_string_equal(got, cases[i].capability);
        else
            assert_null(got);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_edge_proxy_first_receiver_opens_and_last_one_closes),
        TEST(test_edge_proxy_outlink_receives_only_while_told),
        TEST(test_edge_proxy_links_do_not_count_each_other),
        TEST(test_edge_proxy_is_of_mobile_addresses_of_clients_only),
        TEST(test_edge_proxy_who_sends_to_an_address_may_reach_its_fallback),
        TEST(test_edge_proxy_another_uplink_gets_all_of_them),
        TEST(test_edge_proxy_that_is_refused_is_tried_again),
        TEST(test_edge_proxy_capabilities_tell_the_phase),
    };
    return cmocka_run_group_tests(tests, play_control, NULL);
}
