"""multiTenant listeners in front of containers: link routes and autoLinks are matched by names in the network, wherever the
tenant's client is: `q` of vhost ten1 is ten1/q (wire-protocol.md 5.6)."""
import pytest

from support.broker import Broker
from support.brokers import ACTIVE, wait_active, wait_remote, wait_states, with_broker
from support.deadline import wait_until
from support.mesh import Manager, Mesh
from support.peers import ACCEPTED, RELEASED
from support.router import Config
from support.wire import ATTACH, DETACH, Wire, error_of
from test_edge_router import edge_config, wait_uplink
from test_link_routes_wire import Container
from test_tenants import tenant


@pytest.fixture
def broker():
    with Broker() as broker:
        yield broker


def with_tenants(config):
    return config.listener("tenants", multiTenant=True)


def both_ways(config, prefix, **attributes):
    for direction in ("in", "out"):
        config.add("linkRoute", prefix=prefix, direction=direction, **attributes)
    return config


# -- link routes


@pytest.mark.parametrize("added, removed, there", [
    (None, None, "ten1/lr.q"), (None, "ten1/", "lr.q"), ("ext.", "ten1/", "ext.lr.q"), ("vhost/", None, "vhost/ten1/lr.q")])
def test_container_sees_the_name_in_the_network_changed_by_the_routes_prefixes(start_router, added, removed, there):
    """And the client its own name, also where the container answers with another one of the same kind."""
    config = both_ways(with_tenants(Config()).listener("containers", role="route-container"), "ten1/lr", containerId="container",
                       addExternalPrefix=added, delExternalPrefix=removed)
    router = start_router(config)
    with Container(router) as container, Wire((router.host, router.ports["tenants"])) as client:
        wait_active(router, 2)
        client.open_session(container_id="client", hostname="ten1")
        for handle, answer in enumerate((there, there + "-1")):
            for sender, terminus in ((True, "target"), (False, "source")):
                number = 2 * handle + sender
                client.attach("link%d" % number, number, sender, "lr.q", wait=False)
                got = container.expect_attach()
                assert got.fields[terminus].value[0] == there
                changed = got.fields[terminus]
                changed.value[0] = answer
                container.send(ATTACH, name=got.fields["name"], handle=got.fields["handle"], role=sender,
                               initial_delivery_count=0, **{"source": got.fields["source"], "target": got.fields["target"],
                                                            terminus: changed})
                assert client.expect(ATTACH).fields[terminus].value[0] == "lr.q" + answer[len(there):]


def test_tenants_link_routes_are_their_own(start_router):
    """Each tenant's links go to its own container; the routes of one are nothing to another, and to nobody without a vhost."""
    config = with_tenants(Config()).listener("containers", role="route-container")
    for number in (1, 2):
        config.add("linkRoute", pattern="ten%d/*.q" % number, direction="in", containerId="c%d" % number)
    router = start_router(config)
    tenants = router.host, router.ports["tenants"]
    with Container(router, "c1") as one, Container(router, "c2") as two:
        wait_active(router, 2)
        for container, vhost in ((one, "ten1"), (two, "ten2")):
            with Wire(tenants) as client:
                client.open_session(container_id="client-" + vhost, hostname=vhost)
                client.attach("snd", 0, True, "a.q", wait=False)
                assert container.take_attach().fields["name"] == "snd@client-" + vhost
                client.expect(ATTACH)
        for where, vhost in ((tenants, "ten3"), (router, "ten1")):
            with Wire(where) as client:
                client.open_session(container_id="other", hostname=vhost)
                client.attach("snd", 0, True, "a.q")  # a message-routed address of nobody
                client.attach("in", 1, False, "a.q")
                client.wait_credit(0)
        two.drop()
        with Wire(tenants) as client:
            wait_active(router, 1)
            client.open_session(hostname="ten2")
            client.attach("snd", 0, True, "a.q", wait=False)
            assert error_of(client.expect(DETACH)) == "qd:no-route-to-dest"


def exchange(peers, router, vhost, broker, address, queue):
    """A message of a tenant's client into the broker's queue, and out of it again."""
    client = tenant(peers, router, vhost)
    producer = client.sender(address)
    assert producer.link.remote_target.address == address
    assert producer.outcome(producer.send("there")).state == ACCEPTED
    broker.wait_length(queue, 1)
    consumer = client.receiver(address, credit=1)
    assert consumer.remote_address == address
    assert consumer.next().body == "there"
    broker.wait_length(queue, 0)
    return client


def wait_containers(router, keys):
    """Until a router has containers, or an edge router with one, for all of these link routes."""
    manager = Manager(router)
    wait_until(lambda: keys <= {row["key"] for row in manager.query("router.address", "key", "containerCount")
                                if row["containerCount"]}, what="containers for %s" % keys)
    manager.close()


def to_the_broker(broker):
    return lambda config: both_ways(with_broker(with_tenants(config), broker), "ten1/lr", connection="broker",
                                    delExternalPrefix="ten1/", addExternalPrefix="ext.")


def test_tenants_links_reach_a_container_by_other_routers(start_router, peers, broker):
    mesh = Mesh(start_router, "AB BC", conf={"A": to_the_broker(broker), "C": with_tenants})
    wait_remote(mesh["C"], ("Cten1/lr", "Dten1/lr"))
    mesh.close()
    client = exchange(peers, mesh["C"], "ten1", broker, "lr.q", "ext.lr.q")
    assert {attach.name.partition("@")[2] for attach in broker.attaches} == {client.connection.container}
    other = tenant(peers, mesh["C"], "ten2").sender("lr.q")
    peers.run_for(0.2)
    assert other.credit == 0 and len(broker.attaches) == 2


def test_tenants_of_an_edge_reach_a_container_of_the_interior(start_router, peers, broker):
    interior = start_router(to_the_broker(broker)(Config(mode="interior", id="A").listener("edge", role="edge")), name="A")
    edge = start_router(with_tenants(edge_config("E", interior.ports["edge"])), name="E")
    wait_uplink(edge, "A")
    wait_active(interior, 2)
    exchange(peers, edge, "ten1", broker, "lr.q", "ext.lr.q")
    assert {attach.name.partition("@")[2] for attach in broker.attaches} == {"E"}


def test_tenants_of_the_interior_reach_a_container_of_an_edge(start_router, peers, broker):
    interior = start_router(with_tenants(Config(mode="interior", id="A").listener("edge", role="edge")), name="A")
    edge = start_router(to_the_broker(broker)(edge_config("E", interior.ports["edge"])), name="E")
    wait_uplink(edge, "A")
    wait_containers(interior, {"Cten1/lr", "Dten1/lr"})
    exchange(peers, interior, "ten1", broker, "lr.q", "ext.lr.q")


# -- autoLinks


def queue_of_tenant(config, broker):
    """The broker's queue q is in the way of ten1/wp.q."""
    with_broker(with_tenants(config).add("address", prefix="ten1/wp", waypoint=True), broker)
    for direction in ("in", "out"):
        config.add("autoLink", address="ten1/wp.q", direction=direction, connection="broker", externalAddress="q")
    return config


def pass_queue(peers, router, broker):
    """Of a tenant's targeted and anonymous producers; another tenant's consumer of that name gets nothing."""
    client = tenant(peers, router, "ten1")
    producer, anonymous = client.sender("wp.q"), client.sender(None)
    assert producer.outcome(producer.send("targeted")).state == ACCEPTED
    assert anonymous.outcome(anonymous.send("anonymous", to="wp.q")).state == ACCEPTED
    broker.wait_length("q", 2)
    stranger = tenant(peers, router, "ten2").receiver("wp.q")
    consumer = client.receiver("wp.q")
    assert sorted(consumer.next().body for _ in range(2)) == ["anonymous", "targeted"]
    assert anonymous.outcome(anonymous.send("x", to="ten1/wp.q")).state == RELEASED
    assert not stranger.messages


def test_tenants_queue_is_in_the_way_of_its_address(start_router, peers, broker):
    router = start_router(queue_of_tenant(Config(), broker))
    wait_states(router, {("ten1/wp.q", "in"): ACTIVE, ("ten1/wp.q", "out"): ACTIVE})
    pass_queue(peers, router, broker)
    assert {attach.address for attach in broker.attaches} == {"q"}


def test_tenants_queue_is_in_the_way_of_clients_of_an_edge(start_router, peers, broker):
    interior = start_router(queue_of_tenant(Config(mode="interior", id="A").listener("edge", role="edge"), broker), name="A")
    edge = start_router(with_tenants(edge_config("E", interior.ports["edge"])).add("address", prefix="ten1/wp", waypoint=True),
                        name="E")
    wait_uplink(edge, "A")
    wait_states(interior, {("ten1/wp.q", "in"): ACTIVE, ("ten1/wp.q", "out"): ACTIVE})
    pass_queue(peers, edge, broker)


def test_autolinks_to_a_container_of_a_multitenant_listener_keep_their_names(start_router, peers):
    """What the container attaches itself is its vhost's; autoLinks are the router's, by the names that it was given."""
    config = Config().listener("tenants", multiTenant=True, role="route-container")
    for direction in ("in", "out"):
        config.add("autoLink", address="wp.q", direction=direction, connection="tenants")
    router = start_router(config.add("address", prefix="wp", waypoint=True))
    with Broker(connect_to=(router.host, router.ports["tenants"])) as broker:
        broker.wait_attached("wp.q", 2)
        client = peers.connect(router)
        producer = client.sender("wp.q")
        assert producer.outcome(producer.send("x")).state == ACCEPTED
        assert client.receiver("wp.q").next().body == "x"
    inbox = tenant(peers, router, "ten1").receiver("mine")
    sender = client.sender("ten1/mine")
    assert sender.outcome(sender.send("y")).state == ACCEPTED and inbox.next().body == "y"
