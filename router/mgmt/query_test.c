#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <router/mgmt/python_test.h>
#include <router/mgmt/query.h>
#include <router/route/connection.h>
#include <router/route/here.h>
#include <router/route/link.h>
#include <router/route/registry.h>
#include <router/route/router.h>
#include <stdio.h>
#include <string.h>
#include <trunkline/base/alloc.h>
#include <trunkline/base/clock.h>
#include <trunkline/base/log.h>
#include <trunkline/io/loop.h>

/* A router with links that nobody attached: they stand in control's lists as real ones do. */
enum { LINKS = 20000 };

static struct {
    struct loop *loop;
    struct connection *conn;
    struct link *links;
} fixture;

static struct address *an_address(void)
{
    return table_find(here->world->table, "M0$management", 13);
}

static void make_connection(void)
{
    assert_on_control();
    struct connection *c = xcalloc(1, sizeof *c);
    c->id = 7;
    c->settings = connection_settings_new();
    c->host = xstrdup("127.0.0.1:4711");
    c->container = xstrdup("client");
    c->opened = clock_mono_ms() - 5500;
    list_append(registry_connections(), &c->node);
    fixture.conn = c;
}

static void make_links(void)
{
    assert_on_control();
    fixture.links = xcalloc(LINKS, sizeof *fixture.links);
    for (uint32_t i = 0; i < LINKS; i++) {
        struct link *l = &fixture.links[i];
        l->conn = fixture.conn;
        l->identity = 1000 + i;
        l->name = xasprintf("link-%u", i);
        l->is_incoming = i % 2 == 0;
        l->capacity = 250;
        l->address = i % 2 == 0 ? NULL : an_address();
        list_init(&l->of_address);
        list_append(registry_links(), &l->node);
    }
    struct link *one = &fixture.links[1];
    one->stats.deliveries = UINT64_MAX;
    one->stats.queued = 3;
    one->stats.in_hand = 10;
    one->stats.accepted = 4;
    one->stats.zero_credit_since = clock_mono_ms() - 12500;
    one->stats.busy_since = clock_mono_ms() - 60000;
    one->stats.last_settled = clock_mono_ms() - 60000;
}

/* The first turn of the loop: what needs control's loop. */
static void on_first_turn(struct letter *l)
{
    (void)l;
    assert_on_control();
    struct router_conf conf = {.id = "A", .default_distribution = DISTRIBUTION_BALANCED, .worker_threads = 1};
    assert_int_equal(router_start(fixture.loop, &conf), OK);
    make_connection();
    make_links();
    loop_stop(fixture.loop);
}

static int start(void **state)
{
    log_init();
    if (python_test_start(state) != 0)
        return -1;
    assert_on_control();
    if (loop_new(true, &fixture.loop) != OK)
        return -1;
    static struct letter first = LETTER_INIT(on_first_turn);
    loop_post(fixture.loop, &first);
    loop_run(fixture.loop);
    query_configure(&(struct query_conf){.started = clock_mono_ms() - 3500, .stuck_age = 10000});
    python_test_run("import _trunkline, time\n"
                    "from _trunkline import *\n"
                    "class about(int): # seconds since something before the test: machines are slow now and then\n"
                    "    def __eq__(self, other): return int(self) <= other < int(self) + 60\n"
                    "    __hash__ = int.__hash__\n");
    return 0;
}

static int stop(void **state)
{
    assert_on_control();
    for (uint32_t i = 0; i < LINKS; i++) {
        list_remove(&fixture.links[i].node);
        free(fixture.links[i].name);
    }
    list_remove(&fixture.conn->node);
    connection_settings_unref(fixture.conn->settings);
    free(fixture.conn->host);
    free(fixture.conn->container);
    free(fixture.conn);
    free(fixture.links);
    router_stop();
    loop_free(&fixture.loop);
    python_test_stop(state);
    log_fini();
    return 0;
}

static void test_query_link_shows_what_it_has(void **state)
{
    (void)state;
    python_test_run(
        "columns = ('name', 'identity', 'linkDir', 'owningAddr', 'undeliveredCount', 'unsettledCount', "
        "'deliveryCount',\n"
        "           'acceptedCount', 'zeroCreditSeconds', 'deliveriesStuck', 'connectionId', 'peer')\n"
        "row = read('router.link', '1001', columns, 0)\n"
        "assert row == ('link-1', '1001', 'out', 'M0$management', 3, 7, 2**64 - 1, 4, about(12), 10, '7', None), row\n"
        "assert read('router.link', '1000', ('linkDir', 'owningAddr', 'ingressHistogram'), 0) == ('in', None, None)\n"
        "histogram, = read('router.link', '1001', ('ingressHistogram',), 0)\n"
        "assert len(histogram) == 128 and histogram[0] == 2**64 - 1 and sum(histogram[1:]) == 0\n"
        "for nobody in '999', '21000', '-1', '1001x', '', '99999999999999999999999':\n"
        "    assert read('router.link', nobody, columns, 0) is None\n");
}

static void test_query_links_are_paged_in_order_of_identity(void **state)
{
    (void)state;
    python_test_run("seen = []\n"
                    "for offset in range(0, 20500, 500):\n"
                    "    page = query('router.link', ('identity',), offset, 500, 0)\n"
                    "    assert len(page) == (500 if offset < 20000 else 0)\n"
                    "    seen += page\n"
                    "assert seen == [(str(1000 + i),) for i in range(20000)]\n"
                    "assert seen == query('router.link', ('identity',), 0, 0, 0)\n");
}

static void test_query_of_many_links_is_cheap(void **state)
{
    (void)state;
    /* What qdstat -l asks for. The bound is far above what it takes (about 10 ms), for busy machines and sanitizers. */
    python_test_run(
        "columns = ('linkType', 'linkDir', 'connectionId', 'identity', 'peer', 'owningAddr', 'capacity', "
        "'undeliveredCount',\n"
        "           'unsettledCount', 'deliveryCount', 'presettledCount', 'droppedPresettledCount', 'acceptedCount', "
        "'rejectedCount',\n"
        "           'releasedCount', 'modifiedCount', 'deliveriesDelayed1Sec', 'deliveriesDelayed10Sec', 'settleRate', "
        "'deliveriesStuck',\n"
        "           'creditAvailable', 'zeroCreditSeconds', 'priority', 'linkName', 'operStatus', 'adminStatus')\n"
        "start = time.monotonic()\n"
        "rows = query('router.link', columns, 0, 0, 0)\n"
        "took = time.monotonic() - start\n"
        "print('%d rows of %d columns: %.1f ms' % (len(rows), len(columns), took * 1000))\n"
        "assert len(rows) == 20000 and took < 10\n");
}

static void test_query_connection_shows_its_peer(void **state)
{
    (void)state;
    python_test_run("columns = ('identity', 'host', 'container', 'dir', 'role', 'isAuthenticated', 'sasl', 'user', "
                    "'properties', 'uptimeSeconds',\n"
                    "           'lastDlvSeconds', 'operStatus', 'adminStatus', 'enableProtocolTrace')\n"
                    "rows = query('connection', columns, 0, 0, 7)\n"
                    "shown = ('7', '127.0.0.1:4711', 'client', 'in', 'normal', False, None, None, {}, about(5), None, "
                    "'up', 'enabled', False)\n"
                    "assert rows == [shown], rows\n"
                    "assert read('connection', '7', columns, 0) == shown\n"
                    "assert read('connection', '8', columns, 0) is None\n");
}

static void test_query_address_is_found_by_its_key(void **state)
{
    (void)state;
    python_test_run("columns = ('key', 'distribution', 'inProcess', 'subscriberCount', 'remoteHostRouters', "
                    "'priority', 'trackedDeliveries')\n"
                    "own = read('router.address', 'M0$management', columns, 0)\n"
                    "assert own == ('M0$management', 'closest', 1, 0, [], -1, None), own\n"
                    "assert own in query('router.address', columns, 0, 0, 0)\n"
                    "assert read('router.address', 'M0nobody', columns, 0) is None\n");
}

static void test_query_router_counts_stuck_and_blocked(void **state)
{
    (void)state;
    python_test_run(
        "columns = ('addrCount', 'nodeCount', 'deliveriesStuck', 'linksBlocked', 'uptimeSeconds', 'memoryUsage')\n"
        "row = read('router', '1', columns, 0)\n"
        "assert row[0] == len(query('router.address', ('key',), 0, 0, 0)), row\n"
        "assert row[1:5] == (0, 10, 1, about(3)), row\n"
        "assert row[5] > 2**20\n"
        "assert len(query('router', columns, 0, 0, 0)) == 1\n"
        "assert read('router', '2', columns, 0) is None\n");
}

static void test_query_policy_and_connector_are_read_by_identity(void **state)
{
    (void)state;
    python_test_run("row = read('policy', 'policy/None', ('connectionsCurrent', 'totalDenials', 'linksDenied'), 0)\n"
                    "assert row == (0, 0, 0), row\n"
                    "assert read('policy', 'policy/x', ('totalDenials',), 0) is None\n"
                    "assert read('connector', 'connector/x', ('connectionStatus',), 0) is None\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query_link_shows_what_it_has),
        cmocka_unit_test(test_query_links_are_paged_in_order_of_identity),
        cmocka_unit_test(test_query_of_many_links_is_cheap),
        cmocka_unit_test(test_query_connection_shows_its_peer),
        cmocka_unit_test(test_query_address_is_found_by_its_key),
        cmocka_unit_test(test_query_router_counts_stuck_and_blocked),
        cmocka_unit_test(test_query_policy_and_connector_are_read_by_identity),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
