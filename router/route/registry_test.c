#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <router/route/own_link.h>
#include <router/route/phase.h>
#include <router/route/registry.h>
#include <router/route/trunk.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/rcu.h>
#include <trunkline/io/connector.h>
#include <trunkline/io/worker.h>

/* In place of loops, workers and connectors: letters are kept, and the test delivers them. */
static struct loop_hook *turn_end;
static struct letter *to_workers[2048];
static int to_workers_count;

void loop_hook_add(struct loop *l, struct loop_hook *h, enum loop_phase phase)
{
    (void)l;
    (void)phase;
    turn_end = h;
}

void loop_timer_at(struct loop *l, struct timer *t, mono_ms due)
{
    (void)l;
    (void)t;
    (void)due;
}

void loop_timer_after(struct loop *l, struct timer *t, mono_ms delay)
{
    (void)l;
    (void)t;
    (void)delay;
}

void loop_hook_remove(struct loop_hook *h)
{
    (void)h;
    turn_end = NULL;
}

void loop_post(struct loop *l, struct letter *letter)
{
    (void)l;
    letter->deliver(letter);
}

mono_ms loop_now(const struct loop *l)
{
    (void)l;
    return 0;
}

struct worker *worker_by_index(int index)
{
    (void)index;
    return NULL;
}

void worker_post(struct worker *w, struct letter *l)
{
    (void)w;
    to_workers[to_workers_count++] = l;
}

enum err connector_set_failover(struct connector *c, const struct connector_url *urls, size_t count)
{
    (void)c;
    (void)urls;
    (void)count;
    return OK;
}

static enum connector_state fake_state;

enum connector_state connector_state(const struct connector *c)
{
    (void)c;
    return fake_state;
}

static uint32_t told;

struct link *trunk_attach_stream(struct connection *c, struct amqp_session *s)
{
    (void)c;
    (void)s;
    return NULL;
}

/* What own links ask of connections: there is none that lives. */
struct link *connection_new_link(struct connection *c)
{
    (void)c;
    return NULL;
}

void connection_drop_link(struct link *l)
{
    (void)l;
}

void connection_register_link(struct link *l)
{
    (void)l;
}

void link_tell_control(struct link *l, uint32_t bit)
{
    (void)l, (void)bit;
}

void link_bury(struct link *l)
{
    (void)l;
}

void connection_tell(struct connection *c, uint32_t bits)
{
    (void)c;
    told |= bits;
}

static struct route_world world;
static struct route_here fake_here;
static struct connection_settings settings;
static struct link *made[512];
static int made_count;

static int setup(void **state) NO_THREAD_SAFETY
{
    (void)state;
    thread_become_control();
    rcu_reader_start();
    world.table = table_new();
    world.identity = (struct router_identity){.id = "A"};
    world.default_distribution = DISTRIBUTION_BALANCED;
    atomic_init(&world.rules, rules_new());
    fake_here =
        (struct route_here){.worker = WORKER_NONE, .outboxes = outboxes_new(1, &here_arrivals), .world = &world};
    here = &fake_here;
    registry_init(NULL, &world);
    registry_add_own_address("M0$management", DISTRIBUTION_CLOSEST, true);
    return 0;
}

static int teardown(void **state) NO_THREAD_SAFETY
{
    (void)state;
    registry_fini();
    rcu_reader_stop();
    rcu_barrier_all();
    outboxes_free(&fake_here.outboxes);
    table_free(&world.table);
    struct rules *r = rcu_read(&world.rules);
    rules_free(&r);
    return 0;
}

static void end_turn(void)
{
    while (turn_end->fn(turn_end))
        ;
}

static void on_worker_letter(struct letter *l)
{
    (void)l;
}

static char asked_phase;

static struct link *attach(const char *address, bool is_incoming, bool is_dynamic)
{
    struct connection *c = xcalloc(1, sizeof *c);
    list_init(&c->delete_node);
    list_init(&c->dialled_node);
    connection_settings_ref(&settings);
    atomic_init(&c->refs, 1);
    c->settings = &settings;
    struct link *l = xcalloc(1, sizeof *l);
    l->conn = c;
    l->wanted = address ? xstrdup(address) : NULL;
    l->is_incoming = is_incoming;
    l->is_dynamic = is_dynamic;
    l->phase = asked_phase;
    l->to_control = (struct letter)LETTER_INIT(registry_on_link);
    l->to_worker = (struct letter)LETTER_INIT(on_worker_letter);
    list_init(&l->node);
    list_init(&l->of_address);
    list_init(&l->answer_node);
    l->token.index = (uint32_t)made_count;
    made[made_count++] = l;
    atomic_fetch_or(&l->control_bits, LINK_ATTACH);
    registry_post(&l->to_control);
    return l;
}

static void leave(struct link *l)
{
    atomic_fetch_or(&l->control_bits, LINK_GONE);
    registry_post(&l->to_control);
    end_turn();
    /* Others' quiet points. */
    rcu_quiet();
    rcu_sleep();
    rcu_barrier_all();
    rcu_wake();
    atomic_fetch_or(&l->control_bits, LINK_RELEASED);
    registry_post(&l->to_control);
}

static uint32_t taken_bits(struct link *l)
{
    return atomic_exchange(&l->worker_bits, 0);
}

static struct address *find(const char *key)
{
    return table_find(world.table, key, strlen(key));
}

static void test_registry_receiver_is_answered_after_its_routes_are_published(void **state)
{
    (void)state;
    struct link *rx = attach("q", false, false);
    assert_int_equal(taken_bits(rx), 0);
    assert_int_equal(address_routes(find("M0q"))->count, 0);
    end_turn();
    assert_int_equal(taken_bits(rx), LINK_ANSWER);
    assert_int_equal(rx->refusal, ATTACH_OK);
    assert_int_equal(address_routes(find("M0q"))->count, 1);
    leave(rx);
    assert_null(find("M0q"));
}

static void test_registry_first_receiver_makes_senders_reachable_once(void **state)
{
    (void)state;
    struct link *tx = attach("q", true, false);
    end_turn();
    assert_int_equal(taken_bits(tx), LINK_ANSWER);
    struct link *r0 = attach("q", false, false), *r1;
    end_turn();
    assert_int_equal(taken_bits(tx), LINK_REACHABLE);
    r1 = attach("q", false, false);
    end_turn();
    assert_int_equal(taken_bits(tx), 0);
    leave(r0);
    end_turn();
    leave(r1);
    end_turn();
    assert_int_equal(address_routes(find("M0q"))->count, 0);
    struct link *r2 = attach("q", false, false);
    end_turn();
    assert_int_equal(taken_bits(tx), LINK_REACHABLE);
    leave(r2);
    leave(tx);
    end_turn();
    assert_null(find("M0q"));
}

static void is_dry(struct link *tx)
{
    atomic_fetch_or(&tx->control_bits, LINK_DRY);
    registry_post(&tx->to_control);
}

/* A sender that has run dry before the routes were new, while another receiver came: nothing else would tell it. */
static void test_registry_sender_dry_too_early_is_made_reachable_again(void **state)
{
    (void)state;
    struct link *tx = attach("q", true, false), *r0 = attach("q", false, false);
    end_turn();
    taken_bits(tx);
    struct link *r1 = attach("q", false, false);
    leave(r0);
    is_dry(tx);
    end_turn();
    assert_int_equal(taken_bits(tx), LINK_REACHABLE);
    leave(r1);
    is_dry(tx);
    end_turn();
    assert_int_equal(taken_bits(tx), 0);
    is_dry(tx);
    leave(tx);
    end_turn();
    assert_null(find("M0q"));
}

static void test_registry_many_receivers_in_one_turn_are_one_change(void **state)
{
    (void)state;
    struct link *rx[20];
    for (int i = 0; i < 20; i++)
        rx[i] = attach("q", false, false);
    end_turn();
    assert_int_equal(address_routes(find("M0q"))->count, 20);
    for (int i = 0; i < 20; i++)
        leave(rx[i]);
    end_turn();
}

static void test_registry_dynamic_source_gets_an_address_of_this_router(void **state)
{
    (void)state;
    struct link *rx = attach(NULL, false, true);
    end_turn();
    assert_int_equal(rx->refusal, ATTACH_OK);
    assert_memory_equal(rx->dynamic_address, "amqp:/_topo/0/A/temp.", 21);
    assert_int_equal(strlen(rx->dynamic_address), 36);
    assert_memory_equal(rx->address->key, "Ltemp.", 6);
    leave(rx);
    end_turn();
}

static void test_registry_dynamic_target_is_mobile(void **state)
{
    (void)state;
    struct link *tx = attach(NULL, true, true);
    end_turn();
    assert_memory_equal(tx->dynamic_address, "amqp:/_$temp.", 13);
    assert_memory_equal(tx->address->key, "M0_$temp.", 9);
    leave(tx);
    end_turn();
}

static void test_registry_anonymous_sender_has_no_address(void **state)
{
    (void)state;
    struct link *tx = attach(NULL, true, false);
    end_turn();
    assert_int_equal(tx->refusal, ATTACH_OK);
    assert_null(tx->address);
    leave(tx);
    end_turn();
}

static void test_registry_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        bool is_incoming;
        enum attach_refusal refusal;
    } cases[] = {
        {NULL, false, ATTACH_NO_ROUTE},
        {"_topo/0/B/x", false, ATTACH_NO_ROUTE},
        {"_topo/0/B/x", true, ATTACH_OK},
        {"_topo/0/A/x", false, ATTACH_OK},
        {"_local/x", false, ATTACH_OK},
        {"_$qd.edge_addr_tracking", false, ATTACH_SILENT},
        {"_$qd.addr_lookup", true, ATTACH_SILENT},
        {"off/x", true, ATTACH_NOT_FOUND},
        {"off/x", false, ATTACH_NOT_FOUND},
        {"offx", false, ATTACH_OK},
    };
    struct rule_conf conf = {
        .identity = "1", .text = "off", .is_prefix = true, .distribution = DISTRIBUTION_UNAVAILABLE, .priority = -1};
    struct rules *next, *last = rcu_read(&world.rules);
    assert_int_equal(rules_with(last, &conf, &next), OK);
    rcu_publish(&world.rules, next);
    rules_free(&last);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct link *l = attach(cases[i].address, cases[i].is_incoming, false);
        end_turn();
        assert_int_equal(l->refusal, cases[i].refusal);
        assert_int_equal(taken_bits(l), LINK_ANSWER);
        leave(l);
        end_turn();
    }
}

static void add_rule(const struct rule_conf *conf)
{
    struct rules *next, *last = rcu_read(&world.rules);
    assert_int_equal(rules_with(last, conf, &next), OK);
    rcu_publish(&world.rules, next);
    rules_free(&last);
}

static struct link *attach_at_phase(const char *address, bool is_incoming, char phase)
{
    asked_phase = phase;
    struct link *l = attach(address, is_incoming, false);
    asked_phase = PHASE_BY_RULES;
    return l;
}

static void test_registry_rule_and_capability_decide_the_phase(void **state) NO_THREAD_SAFETY
{
    (void)state;
    add_rule(&(struct rule_conf){.identity = "wp",
                                 .text = "wp",
                                 .is_prefix = true,
                                 .distribution = DISTRIBUTION_CLOSEST,
                                 .priority = 7,
                                 .ingress_phase = 1,
                                 .egress_phase = 3});
    static const struct {
        bool is_incoming;
        char phase;
        const char *key;
    } cases[] = {{true, PHASE_BY_RULES, "M1wp.q"},
                 {false, PHASE_BY_RULES, "M3wp.q"},
                 {true, '2', "M2wp.q"},
                 {false, '0', "M0wp.q"},
                 {false, 'F', "MFwp.q"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct link *l = attach_at_phase("wp.q", cases[i].is_incoming, cases[i].phase);
        end_turn();
        assert_string_equal(l->address->key, cases[i].key);
        assert_int_equal(l->address->distribution,
                         cases[i].phase == 'F' ? DISTRIBUTION_BALANCED : DISTRIBUTION_CLOSEST);
        assert_int_equal(l->address->priority, 7);
        leave(l);
        end_turn();
        assert_null(find(cases[i].key));
    }
}

static void test_registry_fallback_receiver_makes_senders_of_the_address_reachable(void **state) NO_THREAD_SAFETY
{
    (void)state;
    add_rule(&(struct rule_conf){
        .identity = "fb", .text = "fb", .is_prefix = true, .distribution = DISTRIBUTION_MULTICAST, .fallback = true});
    struct link *tx = attach("fb.q", true, false);
    end_turn();
    assert_int_equal(taken_bits(tx), LINK_ANSWER);
    assert_ptr_equal(address_fallback(find("M0fb.q")), find("MFfb.q"));
    assert_int_equal(find("MFfb.q")->distribution, DISTRIBUTION_BALANCED);
    struct link *frx = attach_at_phase("fb.q", false, PHASE_FALLBACK);
    end_turn();
    assert_int_equal(taken_bits(tx), LINK_REACHABLE);
    struct link *rx = attach("fb.q", false, false);
    end_turn();
    assert_int_equal(taken_bits(tx), LINK_REACHABLE); /* again: it has its credit */
    leave(frx);
    leave(rx);
    end_turn();
    /* What comes from the fallback destination waits for a receiver of the address. */
    struct link *from = attach("fb.q", true, false);
    from->is_from_fallback = true;
    end_turn();
    taken_bits(from);
    frx = attach_at_phase("fb.q", false, PHASE_FALLBACK);
    end_turn();
    assert_int_equal(taken_bits(tx), LINK_REACHABLE);
    assert_int_equal(taken_bits(from), 0);
    rx = attach("fb.q", false, false);
    end_turn();
    assert_int_equal(taken_bits(from), LINK_REACHABLE);
    taken_bits(tx);
    leave(from);
    leave(frx);
    leave(rx);
    end_turn();
    /* Another router has a fallback receiver now. */
    registry_map("MFfb.q", 3, -1);
    end_turn();
    assert_int_equal(taken_bits(tx), LINK_REACHABLE);
    leave(tx);
    assert_non_null(find("M0fb.q"));
    registry_unmap("MFfb.q", 3);
    end_turn();
    assert_null(find("M0fb.q"));
    assert_null(find("MFfb.q"));
}

/* An anonymous sender finds it by the address, which nobody else uses. */
static void test_registry_fallback_receiver_alone_makes_the_address_too(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct link *frx = attach_at_phase("fb.r", false, PHASE_FALLBACK);
    end_turn();
    assert_non_null(find("M0fb.r"));
    assert_int_equal(find("M0fb.r")->distribution, DISTRIBUTION_MULTICAST);
    assert_ptr_equal(address_fallback(find("M0fb.r")), find("MFfb.r"));
    struct registry_totals before, after;
    registry_totals(&before);
    address_count_redirected(find("M0fb.r"));
    leave(frx);
    end_turn();
    assert_null(find("M0fb.r"));
    assert_null(find("MFfb.r"));
    registry_totals(&after);
    assert_int_equal(after.redirected, before.redirected + 1);
    /* Without a rule for it there is no way to a fallback destination. */
    frx = attach_at_phase("nofb", false, PHASE_FALLBACK);
    end_turn();
    assert_non_null(find("MFnofb"));
    assert_null(find("M0nofb"));
    leave(frx);
    end_turn();
}

static void test_registry_link_gone_before_its_answer_is_not_answered(void **state)
{
    (void)state;
    struct link *rx = attach("q", false, false);
    int before = to_workers_count;
    atomic_fetch_or(&rx->control_bits, LINK_GONE);
    registry_post(&rx->to_control);
    end_turn();
    for (int i = before; i < to_workers_count; i++)
        assert_ptr_not_equal(to_workers[i], NULL);
    assert_int_equal(taken_bits(rx) & LINK_ANSWER, 0);
    rcu_quiet();
    rcu_sleep();
    rcu_barrier_all();
    rcu_wake();
    atomic_fetch_or(&rx->control_bits, LINK_RELEASED);
    registry_post(&rx->to_control);
}

static void test_registry_totals_do_not_shrink_when_links_leave(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct registry_totals before, with, after;
    registry_totals(&before);
    struct link *tx = attach("q", true, false);
    end_turn();
    stat_add(&tx->stats.deliveries, 7);
    stat_add(&tx->stats.accepted, 5);
    registry_totals(&with);
    leave(tx);
    end_turn();
    registry_totals(&after);
    assert_int_equal(with.ingress - before.ingress, 7);
    assert_int_equal(after.ingress, with.ingress);
    assert_int_equal(after.accepted, with.accepted);
}

static void test_registry_own_address_stays_without_users(void **state)
{
    (void)state;
    struct link *tx = attach("$management", true, false);
    end_turn();
    leave(tx);
    end_turn();
    assert_non_null(find("M0$management"));
}

static void pass_quiet_point(void)
{
    rcu_quiet();
    rcu_sleep();
    rcu_barrier_all();
    rcu_wake();
}

static void test_registry_receivers_that_leave_together_are_buried_after_one_change(void **state)
{
    (void)state;
    enum { MANY = 20 };
    struct link *rx[MANY];
    for (int i = 0; i < MANY; i++)
        rx[i] = attach("q", false, false);
    end_turn();
    const struct address *a = find("M0q");
    const struct routes *full = address_routes(a);
    assert_int_equal(full->count, MANY);
    for (int i = 0; i < MANY; i++) {
        atomic_fetch_or(&rx[i]->control_bits, LINK_GONE);
        registry_post(&rx[i]->to_control);
    }
    pass_quiet_point();
    /* Messages may find them until the turn ends, so none may be buried. */
    assert_ptr_equal(address_routes(a), full);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(taken_bits(rx[i]), LINK_ANSWER);
    end_turn();
    assert_int_equal(address_routes(a)->count, 0);
    pass_quiet_point();
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(taken_bits(rx[i]), LINK_BURIED);
        atomic_fetch_or(&rx[i]->control_bits, LINK_RELEASED);
        registry_post(&rx[i]->to_control);
    }
    assert_null(find("M0q"));
}

static void test_registry_connection_of_a_removed_connector_is_closed_before_it_opens(void **state)
{
    (void)state;
    assert_on_control();
    for (int removed = 0; removed <= 1; removed++) {
        struct connection *c = xcalloc(1, sizeof *c);
        list_init(&c->delete_node);
        list_init(&c->dialled_node);
        connection_settings_ref(&settings);
        atomic_init(&c->refs, 1);
        c->settings = &settings;
        c->connector = (struct connector *)c; /* only asked for its state */
        c->opened_text = xstrdup("opened");
        c->to_control = (struct letter)LETTER_INIT(registry_on_connection);
        told = 0;
        fake_state = removed ? CONNECTOR_CLOSING : CONNECTOR_SUCCESS;
        atomic_fetch_or(&c->control_bits, CONNECTION_MADE);
        registry_post(&c->to_control);
        assert_int_equal(told, removed ? CONNECTION_CLOSE : 0);
        told = 0;
        registry_close_connections_of((struct connector *)&told); /* another one's */
        assert_int_equal(told, 0);
        registry_close_connections_of(c->connector);
        assert_int_equal(told, CONNECTION_CLOSE);
        told = 0;
        atomic_fetch_or(&c->control_bits, CONNECTION_OPENED);
        registry_post(&c->to_control);
        assert_int_equal(told, 0);
        atomic_fetch_or(&c->control_bits, CONNECTION_GONE);
        registry_post(&c->to_control);
    }
}

/* ---- links that control asked for ---- */

struct wish {
    struct own_link_owner owner;
    struct own_link *link;
    int attached, ended;
    char address[64], condition[64];
};

static void wish_attached(struct own_link_owner *o, const struct own_link_answer *a)
{
    struct wish *w = container_of(o, struct wish, owner);
    w->attached++;
    snprintf(w->address, sizeof w->address, "%s", a->address ? a->address : "");
}

static void wish_ended(struct own_link_owner *o, const struct own_link_end *e)
{
    struct wish *w = container_of(o, struct wish, owner);
    w->ended++;
    snprintf(w->condition, sizeof w->condition, "%s", e->condition ? e->condition : "");
}

static struct connection *new_connection(void)
{
    struct connection *c = xcalloc(1, sizeof *c);
    list_init(&c->delete_node);
    list_init(&c->dialled_node);
    connection_settings_ref(&settings);
    atomic_init(&c->refs, 1);
    c->settings = &settings;
    return c;
}

/* Ask for a link of that key; it is as if the peer has answered. */
static struct link *wish(struct wish *w, const char *key, bool is_sender, bool is_unbound) NO_THREAD_SAFETY
{
    *w = (struct wish){.owner = {.attached = wish_attached, .ended = wish_ended}};
    struct connection *c = new_connection();
    struct own_link_conf conf = {.conn = c, .is_sender = is_sender, .key = key, .is_unbound = is_unbound};
    w->link = own_link_open(&conf, &w->owner);
    connection_unref(c);
    struct letter *ask = to_workers[to_workers_count - 1];
    struct link *l = xcalloc(1, sizeof *l);
    l->conn = new_connection();
    l->is_incoming = !is_sender;
    l->own = w->link;
    l->is_ours = true;
    l->to_control = (struct letter)LETTER_INIT(registry_on_link);
    l->to_worker = (struct letter)LETTER_INIT(on_worker_letter);
    list_init(&l->node);
    list_init(&l->of_address);
    list_init(&l->answer_node);
    (void)ask; /* its count is the link's from here on */
    return l;
}

static void answered(struct link *l)
{
    atomic_fetch_or(&l->control_bits, LINK_ATTACH);
    registry_post(&l->to_control);
    end_turn();
}

static void test_registry_own_sender_receives_from_its_address_when_bound(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct wish w;
    struct link *out = wish(&w, "M0q", true, true);
    struct link *tx = attach("q", true, false);
    end_turn();
    taken_bits(tx);
    answered(out);
    assert_int_equal(w.attached, 1);
    assert_int_equal(taken_bits(out), LINK_ANSWER);
    assert_int_equal(address_routes(find("M0q"))->count, 0);
    own_link_bind(w.link, true);
    end_turn();
    assert_int_equal(address_routes(find("M0q"))->count, 1);
    assert_int_equal(taken_bits(tx), LINK_REACHABLE);
    own_link_bind(w.link, true);
    own_link_bind(w.link, false);
    end_turn();
    assert_int_equal(address_routes(find("M0q"))->count, 0);
    leave(tx);
    assert_non_null(find("M0q"));
    own_link_bind(w.link, true);
    end_turn();
    leave(out);
    assert_int_equal(w.ended, 1);
    assert_null(find("M0q"));
    own_link_close(&w.link);
}

static void test_registry_own_receiver_is_a_sender_to_its_address(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct wish w;
    struct link *in = wish(&w, "M0q", false, false);
    answered(in);
    assert_int_equal(find("M0q")->sender_count, 1);
    assert_ptr_equal(own_link_link(w.link), in);
    own_link_close(&w.link);
    assert_null(w.link);
    leave(in);
    assert_int_equal(w.ended, 0);
    assert_null(find("M0q"));
}

static void test_registry_own_link_closed_before_its_answer_is_not_bound(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct wish w;
    struct link *out = wish(&w, "M0q", true, false);
    own_link_close(&w.link);
    answered(out);
    assert_int_equal(w.attached, 0);
    assert_int_equal(out->refusal, ATTACH_SILENT);
    assert_int_equal(taken_bits(out), LINK_ANSWER);
    assert_null(find("M0q"));
    leave(out);
    assert_int_equal(w.ended, 0);
}

static void test_registry_own_link_of_an_unavailable_address_ends(void **state) NO_THREAD_SAFETY
{
    (void)state;
    struct rule_conf conf = {
        .identity = "2", .text = "out", .is_prefix = true, .distribution = DISTRIBUTION_UNAVAILABLE, .priority = -1};
    struct rules *next, *last = rcu_read(&world.rules);
    assert_int_equal(rules_with(last, &conf, &next), OK);
    rcu_publish(&world.rules, next);
    rules_free(&last);
    struct wish w;
    struct link *l = wish(&w, "M0out/x", true, false);
    answered(l);
    assert_int_equal(l->refusal, ATTACH_NOT_FOUND);
    assert_int_equal(w.attached, 0);
    leave(l);
    assert_int_equal(w.ended, 1);
    own_link_close(&w.link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registry_own_sender_receives_from_its_address_when_bound),
        cmocka_unit_test(test_registry_own_receiver_is_a_sender_to_its_address),
        cmocka_unit_test(test_registry_own_link_closed_before_its_answer_is_not_bound),
        cmocka_unit_test(test_registry_own_link_of_an_unavailable_address_ends),
        cmocka_unit_test(test_registry_receiver_is_answered_after_its_routes_are_published),
        cmocka_unit_test(test_registry_first_receiver_makes_senders_reachable_once),
        cmocka_unit_test(test_registry_sender_dry_too_early_is_made_reachable_again),
        cmocka_unit_test(test_registry_many_receivers_in_one_turn_are_one_change),
        cmocka_unit_test(test_registry_dynamic_source_gets_an_address_of_this_router),
        cmocka_unit_test(test_registry_dynamic_target_is_mobile),
        cmocka_unit_test(test_registry_anonymous_sender_has_no_address),
        cmocka_unit_test(test_registry_refusals),
        cmocka_unit_test(test_registry_rule_and_capability_decide_the_phase),
        cmocka_unit_test(test_registry_fallback_receiver_makes_senders_of_the_address_reachable),
        cmocka_unit_test(test_registry_fallback_receiver_alone_makes_the_address_too),
        cmocka_unit_test(test_registry_link_gone_before_its_answer_is_not_answered),
        cmocka_unit_test(test_registry_totals_do_not_shrink_when_links_leave),
        cmocka_unit_test(test_registry_own_address_stays_without_users),
        cmocka_unit_test(test_registry_receivers_that_leave_together_are_buried_after_one_change),
        cmocka_unit_test(test_registry_connection_of_a_removed_connector_is_closed_before_it_opens),
    };
    settings.refs = 1;
    return cmocka_run_group_tests(tests, setup, teardown);
}
