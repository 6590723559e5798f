"""Link routes: a client's link goes to a container as it is, and the two talk to each other through the router."""
import pytest
from proton import Message

from support.broker import Broker
from support.brokers import both_ways, wait_active, wait_remote, with_broker
from support.deadline import seconds, wait_until
from support.mesh import Manager, Mesh
from support.peers import ACCEPTED, Peers
from support.router import Config
from support.tool import output

LINK_ROUTE = "org.apache.qpid.dispatch.router.config.linkRoute"


@pytest.fixture
def broker():
    with Broker() as broker:
        yield broker


# -- the thin path


def test_links_of_a_route_reach_the_container_under_the_clients_name(start_router, peers, broker):
    router = start_router(both_ways(with_broker(Config(), broker)))
    wait_active(router, 2)
    client = peers.connect(router)
    producer = client.sender("lr.q")
    for number in range(10):
        assert producer.outcome(producer.send(number)).state == ACCEPTED
    broker.wait_length("lr.q", 10)
    consumer = client.receiver("lr.q", credit=100)
    consumer.wait_count(10)
    assert [message.body for message in consumer.messages] == list(range(10))
    broker.wait_length("lr.q", 0)
    assert {(attach.address, attach.is_sender) for attach in broker.attaches} == {("lr.q", True), ("lr.q", False)}
    assert all(attach.name.endswith("@" + client.connection.container) for attach in broker.attaches)


# -- more of what decides where links go


def test_tenants_links_are_routed_by_their_names_in_the_network(start_router, peers, broker):
    config = with_broker(Config(), broker).listener("tenants", multiTenant=True)
    both_ways(config, prefix="ten1/lr", connection="broker", delExternalPrefix="ten1/")
    router = start_router(config)
    wait_active(router, 2)
    address = router.host, router.ports["tenants"]
    producer = peers.connect(address, virtual_host="ten1").sender("lr/q")
    assert producer.link.remote_target.address == "lr/q"
    assert producer.outcome(producer.send("x")).state == ACCEPTED
    broker.wait_length("lr/q", 1)
    other = peers.connect(address, virtual_host="ten2").sender("lr/q")
    peers.run_for(0.2)
    assert other.credit == 0 and len(broker.attaches) == 1


def test_containers_of_one_route_take_turns(start_router, peers):
    config = both_ways(Config().listener("brokers", role="route-container"), connection="brokers")
    router = start_router(config)
    address = router.host, router.ports["brokers"]
    with Broker(connect_to=address, container_id="one") as one, Broker(connect_to=address, container_id="two") as two:
        wait_until(lambda: one.connections and two.connections)
        wait_active(router, 2)
        client = peers.connect(router)
        for number in range(6):
            assert client.sender("lr.q").credit is not None
        peers.wait(lambda: len(one.attaches) + len(two.attaches) == 6, what="six attaches")
        assert (len(one.attaches), len(two.attaches)) == (3, 3)


def test_the_best_pattern_decides(start_router, peers):
    with Broker(container_id="prefix") as prefix, Broker(container_id="pattern") as pattern:
        config = with_broker(with_broker(Config(), prefix, name="prefix"), pattern, name="pattern")
        config.add("linkRoute", prefix="a", direction="in", connection="prefix")
        config.add("linkRoute", pattern="a.*.c", direction="in", connection="pattern")
        router = start_router(config)
        wait_active(router, 2)
        client = peers.connect(router)
        for address in ("a", "a.b", "a/b/c/d", "a.b.c", "a/x/c"):
            client.sender(address)
        assert [attach.address for attach in prefix.attaches] == ["a", "a.b", "a/b/c/d"]
        assert [attach.address for attach in pattern.attaches] == ["a.b.c", "a/x/c"]


def test_a_route_made_and_deleted_by_management_is_in_force_at_once(start_router, peers, broker):
    router = start_router(with_broker(Config(), broker))
    manager = Manager(router)
    wait_until(lambda: broker.connections)
    manager.create("router.config.linkRoute", "mine", prefix="lr", direction="in", connection="broker")
    wait_active(router, 1)
    client = peers.connect(router)
    client.sender("lr.q")
    assert [attach.address for attach in broker.attaches] == ["lr.q"]
    gone = manager.requests.call(Message(properties={"operation": "DELETE", "type": LINK_ROUTE, "name": "mine"}))
    assert gone.properties["statusCode"] == 204
    assert manager.query("router.config.linkRoute") == []
    client.sender("lr.r")
    assert [attach.address for attach in broker.attaches] == ["lr.q"]
    manager.close()


# -- loss


def test_links_end_when_the_container_vanishes_and_attach_again_when_it_is_back(start_router, peers, broker):
    router = start_router(both_ways(with_broker(Config(), broker)))
    wait_active(router, 2)
    client = peers.connect(router)
    producer = client.sender("lr.q")
    assert producer.outcome(producer.send("before")).state == ACCEPTED
    broker.vanish()
    peers.wait(lambda: producer.link.remote_condition, what="the end of the link")
    assert producer.link.remote_condition.name == "qd:routed-link-lost"
    assert producer.link.remote_condition.description == "Connectivity to the peer container was lost"
    wait_active(router, 2)  # the connector has connected again
    again = peers.connect(router)
    producer = again.sender("lr.q")
    assert producer.outcome(producer.send("after")).state == ACCEPTED
    consumer = again.receiver("lr.q", credit=10)
    consumer.wait_count(2)
    assert [message.body for message in consumer.messages] == ["before", "after"]


# -- figures


def test_link_routes_are_shown_by_qdstat(start_router, broker):
    config = both_ways(with_broker(Config(), broker))
    config.add("linkRoute", name="idle", pattern="x.*.y", direction="out", containerId="nobody")
    router = start_router(config)
    wait_active(router, 2)
    rows = [line.split() for line in output("qdstat", "-b", router.address, "--linkroutes").splitlines()]
    assert ["lr", "in", "linkBalanced", "active"] in rows
    assert ["x.*.y", "out", "linkBalanced", "inactive"] in rows


def test_thousands_of_link_routes_start_quickly(start_router, broker):
    """5,000 of them: start-up under two seconds, an attach as quick as with ten."""
    import time

    def attach_time(count):
        config = with_broker(Config(), broker)
        for number in range(count):
            config.add("linkRoute", prefix="route%d.q" % number, direction="in", connection="broker")
        router = start_router(config, name="router%d" % count)
        started = router.cpu_seconds()  # of its own time: the machine may be busy with others
        wait_active(router, count, limit=30)
        took = []
        with Peers() as peers:  # gone before the next router starts, which may take longer than a client may be silent
            client = peers.connect(router)
            for number in range(20):
                begin = time.monotonic()
                client.sender("route%d.q.x" % (number % count))
                took.append(time.monotonic() - begin)
        router.stop()
        return started, sorted(took)[len(took) // 2]
    _, few = attach_time(10)
    started, many = attach_time(5000)
    assert started < seconds(2), started
    assert many < 2 * few + 0.02, (few, many)


# -- over several routers


def exchange(peers, router, broker, address="lr.q", name=None):
    """A message into the broker's queue, and out of it again; returns the client."""
    client = peers.connect(router)
    producer = client.sender(address)
    assert producer.outcome(producer.send("there")).state == ACCEPTED
    broker.wait_length(address, 1)
    consumer = client.receiver(address, credit=1)
    assert consumer.next().body == "there"
    broker.wait_length(address, 0)
    return client


def test_links_go_by_other_routers_to_the_container(start_router, peers, broker):
    """A line of three, the broker at one end, the client at the other: one name all the way, and the end told back."""
    mesh = Mesh(start_router, "AB BC", conf={"A": lambda config: both_ways(with_broker(config, broker))})
    try:
        wait_remote(mesh["C"])
        client = exchange(peers, mesh["C"], broker)
        assert all(attach.name.endswith("@" + client.connection.container) for attach in broker.attaches)
        producer = client.sender("lr.r")
        broker.vanish()
        peers.wait(lambda: producer.link.remote_condition, what="the end of the link")
        assert producer.link.remote_condition.name == "qd:routed-link-lost"
        wait_active(mesh["A"], 2)
        wait_remote(mesh["C"])
        exchange(peers, mesh["C"], broker)
    finally:
        mesh.close()


def test_a_router_that_is_lost_ends_the_links_that_went_by_it(start_router, peers, broker):
    mesh = Mesh(start_router, "AB", conf={"A": lambda config: both_ways(with_broker(config, broker))})
    try:
        wait_remote(mesh["B"])
        producer = peers.connect(mesh["B"]).sender("lr.q")
        mesh["A"].kill()
        peers.wait(lambda: producer.link.remote_condition, what="the end of the link")
        assert producer.link.remote_condition.name == "qd:routed-link-lost"
        wait_until(lambda: "Clr" not in {row["key"] for row in mesh.query("B", "router.address", "key")}, 20)
    finally:
        mesh.close()


def test_clients_of_an_edge_reach_the_container_of_the_interior(start_router, peers, broker):
    interior = start_router(both_ways(with_broker(Config(mode="interior", id="A").listener("edge", role="edge"), broker)))
    edge = start_router(Config(mode="edge", id="E").add("connector", name="uplink", role="edge", host="127.0.0.1",
                                                        port=interior.ports["edge"], saslMechanisms="ANONYMOUS"))
    edge.wait_log("the connection to interior router 'A' is this edge router's uplink")
    wait_active(interior, 2)
    exchange(peers, edge, broker)
    assert all(attach.name.endswith("@E") for attach in broker.attaches)
    other = peers.connect(edge)  # what is no link route's is not affected
    inbox, outbox = other.receiver("plain"), other.sender("plain")
    assert outbox.outcome(outbox.send("x")).state == ACCEPTED and inbox.next().body == "x"
    broker.stop()
    wait_active(interior, 0)
    refused = peers.connect(edge).sender("lr.q", wait=False)
    peers.wait(lambda: refused.link.remote_condition, what="the refusal")
    assert refused.link.remote_condition.name == "qd:no-route-to-dest"
    edge.wait_log(r"Link refused: dir=in source=\{.*\} target=\{lr\.q.*\}: qd:no-route-to-dest ")
