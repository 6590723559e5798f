#include <router/route/fake_control.h>

#include <router/route/edge_lookup.h>
#include <router/route/edge_proxy.h>
#include <router/route/own_link.h>
#include <router/route/registry.h>
#include <router/route/uplink.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/rcu.h>
#include <trunkline/io/loop.h>

/* ---- in place of own links, proxies, look-ups, the loop ---- */

struct own_link {
    struct own_link_owner *owner;
    struct connection *conn;
};

static struct own_link *made[UPLINK_LINKS];
static int made_count;
static uint32_t outstanding;
static bool stopping;

struct own_link *own_link_open(const struct own_link_conf *conf, struct own_link_owner *owner)
{
    struct own_link *o = xcalloc(1, sizeof *o);
    o->owner = owner;
    o->conn = conf->conn;
    for (int i = 0; i < UPLINK_LINKS; i++)
        if (!made[i]) {
            made[i] = o;
            made_count++;
            break;
        }
    say("%s.%d %s%s->%s%s%s%s; ", conf->conn->container, conf->session, conf->no_source ? "null" : "",
        conf->dynamic  ? "dynamic"
        : conf->source ? conf->source
                       : "",
        conf->no_target ? "null" : "", conf->target ? conf->target : "", conf->capability ? " " : "",
        conf->capability ? conf->capability : "");
    return o;
}

void own_link_close(struct own_link **at)
{
    for (int i = 0; *at && i < UPLINK_LINKS; i++)
        if (made[i] == *at) {
            made[i] = NULL;
            made_count--;
        }
    free(*at);
    *at = NULL;
}

bool own_link_send(struct own_link *o, const uint8_t *message, size_t n, bool settled)
{
    (void)o;
    assert_true(settled && n == 5); /* 00 53 77 54 <count> */
    say("beat %d; ", message[4]);
    return true;
}

uint32_t own_link_outstanding(const struct own_link *o)
{
    (void)o;
    return outstanding;
}

void edge_proxy_start(struct loop *l, const struct route_world *w)
{
    (void)l;
    (void)w;
}

void edge_proxy_stop(void)
{
}

void edge_proxy_up(struct connection *c)
{
    say("proxies on %s; ", c->container);
}

void edge_proxy_down(void)
{
    say("no proxies; ");
}

void edge_proxy_told(struct slice key, bool has)
{
    say("told %.*s %d; ", (int)key.len, (const char *)key.data, has);
}

void edge_lookup_start(struct loop *l, const struct route_world *w)
{
    (void)l;
    (void)w;
}

void edge_lookup_stop(void)
{
}

void edge_lookup_down(void)
{
}

void edge_lookup_answered(const uint8_t *message, size_t n)
{
    (void)message;
    say("answer of %zu; ", n);
}

bool registry_is_stopping(void)
{
    return stopping;
}

void registry_add_own_address(const char *key, enum distribution d, bool served)
{
    assert_false(served);
    table_get(world.table, key, d, -1)->is_own = true;
}

void connection_tell(struct connection *c, uint32_t bits)
{
    assert_int_equal(bits, CONNECTION_DROP);
    say("drop %s; ", c->container);
}

/* ---- an edge router ---- */

static struct connection_settings settings = {.role = ROLE_EDGE};
static char name_a[] = "A", name_b[] = "B";
static struct connection a = {.id = 1, .container = name_a, .settings = &settings, .connector = (struct connector *)&a},
                         b = {.id = 2, .container = name_b, .settings = &settings, .connector = (struct connector *)&b};

#define ALL_OF(c)                                                                                                      \
    c ".0 ->; " c ".0 E-> qd.router-edge-downlink; " c ".1 _$qd.edge_addr_tracking->; " c ".1 null->$management; " c   \
      ".1 dynamic->null; " c ".1 null->_$qd.addr_lookup; " c ".1 dynamic->null; " c ".1 null->_$qd.edge_heartbeat; "

static int setup(void **state) NO_THREAD_SAFETY
{
    (void)state;
    control_setup();
    stopping = false;
    outstanding = 0;
    uplink_start(NULL, &world);
    said[0] = 0;
    return 0;
}

static int teardown(void **state) NO_THREAD_SAFETY
{
    (void)state;
    stopping = true;
    uplink_connection_gone(&a);
    uplink_connection_gone(&b);
    uplink_stop();
    assert_int_equal(made_count, 0);
    control_teardown();
    return 0;
}

static void attached(enum uplink_link which, const char *address)
{
    made[which]->owner->attached(made[which]->owner, &(struct own_link_answer){.address = address});
}

static void test_uplink_first_connection_is_active_and_others_wait(void **state) NO_THREAD_SAFETY
{
    (void)state;
    assert_non_null(world.uplink);
    uplink_connection_opened(&a);
    assert_said(ALL_OF("A") "proxies on A; ");
    uplink_connection_opened(&b);
    assert_said("");
    assert_false(uplink_is_reserve(&a));
    assert_true(uplink_is_reserve(&b));
}

static void test_uplink_lost_is_taken_over_by_the_next_at_once(void **state) NO_THREAD_SAFETY
{
    (void)state;
    uplink_connection_opened(&a);
    uplink_connection_opened(&b);
    attached(UPLINK_LOOKUP_REPLIES, "amqp:/_topo/0/A/temp.1");
    assert_string_equal(uplink_reply_address(UPLINK_LOOKUP_REPLIES), "amqp:/_topo/0/A/temp.1");
    said[0] = 0;
    uplink_connection_gone(&a);
    assert_said("no proxies; " ALL_OF("B") "proxies on B; ");
    assert_null(uplink_reply_address(UPLINK_LOOKUP_REPLIES));
    uplink_connection_opened(&a);
    assert_said("");
    assert_true(uplink_is_reserve(&a));
}

static void test_uplink_reserve_that_goes_changes_nothing(void **state) NO_THREAD_SAFETY
{
    (void)state;
    uplink_connection_opened(&a);
    uplink_connection_opened(&b);
    said[0] = 0;
    uplink_connection_gone(&b);
    assert_said("");
    uplink_connection_gone(&a);
    assert_said("no proxies; ");
    uplink_connection_opened(&b);
    assert_said(ALL_OF("B") "proxies on B; ");
}

static void test_uplink_other_connections_are_none(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct connection_settings normal = {.role = ROLE_NORMAL};
    struct connection c = {.container = name_a, .settings = &normal, .connector = (struct connector *)&c},
                      accepted = {.container = name_b, .settings = &settings};
    uplink_connection_opened(&c);
    uplink_connection_opened(&accepted);
    assert_said("");
    assert_false(uplink_is_reserve(&c));
}

static void test_uplink_heartbeats_are_counted_and_not_piled_up(void **state) NO_THREAD_SAFETY
{
    (void)state;
    uplink_connection_opened(&a);
    attached(UPLINK_HEARTBEAT, "_$qd.edge_heartbeat");
    said[0] = 0;
    pass(4000);
    outstanding = 2;
    pass(2000);
    outstanding = 0;
    pass(2000);
    assert_said("beat 0; beat 1; beat 2; ");
}

static void test_uplink_that_takes_no_heartbeats_is_dropped(void **state) NO_THREAD_SAFETY
{
    (void)state;
    uplink_connection_opened(&a);
    attached(UPLINK_HEARTBEAT, "_$qd.edge_heartbeat");
    outstanding = 2;
    said[0] = 0;
    pass(2000);
    assert_said("");
    pass(2000);
    assert_said("drop A; ");
    pass(2000);
    assert_said("");
}

static void test_uplink_link_that_ends_is_attached_again_later(void **state) NO_THREAD_SAFETY
{
    (void)state;
    uplink_connection_opened(&a);
    said[0] = 0;
    made[UPLINK_LOOKUP]->owner->ended(made[UPLINK_LOOKUP]->owner, &(struct own_link_end){.condition = "x:y"});
    assert_false(uplink_send(UPLINK_LOOKUP, NULL, 0, true));
    pass(4999);
    assert_said("");
    pass(1);
    assert_said("A.1 null->_$qd.addr_lookup; ");
}

static void end(enum uplink_link which)
{
    made[which]->owner->ended(made[which]->owner, &(struct own_link_end){.condition = "x:y"});
}

static void test_uplink_link_that_ends_does_not_wait_longer_for_others_that_do(void **state) NO_THREAD_SAFETY
{
    (void)state;
    uplink_connection_opened(&a);
    said[0] = 0;
    end(UPLINK_LOOKUP);
    pass(3000);
    end(UPLINK_TRACKING);
    assert_said("");
    pass(2000);
    assert_said("A.1 _$qd.edge_addr_tracking->; A.1 null->_$qd.addr_lookup; ");
    end(UPLINK_LOOKUP);
    pass(5000);
    assert_said("A.1 null->_$qd.addr_lookup; ");
    pass(60000);
    assert_said("");
}

static void test_uplink_hands_on_what_it_is_told(void **state) NO_THREAD_SAFETY
{
    (void)state;
    static const uint8_t tracking[] = {0x00, 0x53, 0x77, 0xc0, 0x06, 0x02, 0xa1, 0x02, 'M', '0', 0x41};
    uplink_connection_opened(&a);
    said[0] = 0;
    struct own_link_owner *o = made[UPLINK_TRACKING]->owner;
    o->received(o, tracking, sizeof tracking);
    o->received(o, tracking, sizeof tracking - 1);
    o = made[UPLINK_LOOKUP_REPLIES]->owner;
    o->received(o, tracking, 3);
    assert_said("told M0 1; answer of 3; ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_uplink_first_connection_is_active_and_others_wait),
        TEST(test_uplink_lost_is_taken_over_by_the_next_at_once),
        TEST(test_uplink_reserve_that_goes_changes_nothing),
        TEST(test_uplink_other_connections_are_none),
        TEST(test_uplink_heartbeats_are_counted_and_not_piled_up),
        TEST(test_uplink_that_takes_no_heartbeats_is_dropped),
        TEST(test_uplink_link_that_ends_is_attached_again_later),
        TEST(test_uplink_link_that_ends_does_not_wait_longer_for_others_that_do),
        TEST(test_uplink_hands_on_what_it_is_told),
    };
    return cmocka_run_group_tests(tests, play_control, NULL);
}
