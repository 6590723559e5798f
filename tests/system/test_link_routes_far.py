"""Link routes whose client is at another router than the container, frame by frame: what the two say to each other passes
every router on the way as it was said."""
import pytest
from proton import Described, symbol, uint

from support.mesh import Mesh
from support.router import Config
from support.wire import (ACCEPTED, ATTACH, DETACH, DISPOSITION, ERROR, MODIFIED, SOURCE, TRANSFER, Wire, described, encode,
                          error_of, message)
from test_edge_router import edge_config, wait_uplink
from test_link_routes_wire import (COORDINATOR, DECLARE, DECLARED, DISCHARGE, TRANSACTIONAL, Container, attach_receiver,
                                   attach_sender, wait_active)

ROUTES = 3  # of with_routes()
DECLARE_MESSAGE = encode(described(0x77, described(DECLARE)))


def with_routes(config):
    config.listener("containers", role="route-container")
    for direction in ("in", "out"):
        config.add("linkRoute", prefix="lr", direction=direction, containerId="container")
    return config.add("linkRoute", prefix="$coordinator", direction="in", containerId="container")


class Way:
    """A client's Wire and a Container with at least one router more between them, which the client is at."""

    def __init__(self, near, far, suffix):
        self.near, self.suffix = near, suffix
        self.container = Container(far)
        wait_active(far, ROUTES)

    def client(self, container_id="client"):
        client = Wire(self.near)
        client.open_session(container_id=container_id)
        return client


def by_two_routers(start_router):
    mesh = Mesh(start_router, "AB", conf={"A": with_routes})
    way = Way(mesh["B"], mesh["A"], "@client")
    for key in ("Clr", "Dlr", "C$coordinator"):
        mesh.wait_routed(key, at="B")
    mesh.close()
    return way


def by_an_edge(start_router):
    interior = start_router(with_routes(Config(mode="interior", id="A").listener("edge", role="edge")), name="A")
    edge = start_router(edge_config("E", interior.ports["edge"]), name="E")
    wait_uplink(edge, "A")
    return Way(edge, interior, "@E")


@pytest.fixture(params=[by_two_routers, by_an_edge], ids=["two-routers", "edge"])
def way(request, start_router):
    way = request.param(start_router)
    with way.container:
        yield way


def state(code, *fields):
    return encode(described(code, *fields))


def settle_at(container, delivery, *outcome, settled=True):
    container.send(DISPOSITION, role=True, first=delivery.fields["delivery_id"], settled=settled, state=described(*outcome))


def ask_coordinator(client, container, delivery_id, request, *outcome):
    """A request of the client's to the coordinator, at handle 0 of both, and its outcome."""
    client.transfer(0, delivery_id, encode(described(0x77, request)))
    got = container.expect(TRANSFER, lambda frame: frame.fields["handle"] == 0)
    assert got.payload == encode(described(0x77, request))
    settle_at(container, got, *outcome)
    said = client.expect(DISPOSITION, lambda frame: frame.fields["first"] == delivery_id)
    assert said.fields["settled"] and encode(said.fields["state"]) == state(*outcome)


def test_transactions_pass_every_router(way):
    """Declare, a transactional transfer each way with its provisional outcome, discharge."""
    container = way.container
    with way.client() as client:
        coordinator = described(COORDINATOR, symbol("amqp:local-transactions"))
        client.attach("txn", 0, True, None, wait=False, target=coordinator)
        got = container.take_attach()
        assert got.fields["name"] == "txn" + way.suffix and encode(got.fields["target"]) == encode(coordinator)
        assert encode(client.expect(ATTACH).fields["target"]) == encode(coordinator)
        attach_sender(client, container, handle=1)
        attach_receiver(client, container, handle=2)
        for handle in (0, 1):
            container.credit(handle, 10)
            client.wait_credit(handle)
        client.credit(2, 1)
        container.wait_credit(2)

        ask_coordinator(client, container, 0, described(DECLARE), DECLARED, b"txn-7")
        provisional = TRANSACTIONAL, b"txn-7", described(ACCEPTED)
        client.transfer(1, 1, message("in it"), state=described(TRANSACTIONAL, b"txn-7"))
        got = container.expect(TRANSFER, lambda frame: frame.fields["handle"] == 1)
        assert got.payload == message("in it") and encode(got.fields["state"]) == state(TRANSACTIONAL, b"txn-7")
        settle_at(container, got, *provisional)
        said = client.expect(DISPOSITION)
        assert said.fields["settled"] and encode(said.fields["state"]) == state(*provisional)

        container.transfer(2, 0, message("to be consumed in it"))
        got = client.expect(TRANSFER)
        assert got.payload == message("to be consumed in it")
        client.send(DISPOSITION, role=True, first=got.fields["delivery_id"], settled=False, state=described(*provisional))
        said = container.expect(DISPOSITION)
        assert (said.fields["first"], said.fields["settled"]) == (0, False) and encode(said.fields["state"]) == state(*provisional)
        container.send(DISPOSITION, role=False, first=0, settled=True, state=described(*provisional))
        assert client.expect(DISPOSITION, lambda frame: not frame.fields["role"]).fields["settled"]

        for number, fail in enumerate((False, True), start=2):
            ask_coordinator(client, container, number, described(DISCHARGE, b"txn-7", fail), ACCEPTED)


def test_a_dynamic_node_that_names_a_link_route_is_made_by_the_container(way):
    """x-opt-qd.address, the first of the node's properties, leads there over every router; the container's name comes back."""
    properties = {symbol("x-opt-qd.address"): "lr.new"}

    def node(address):
        return described(SOURCE, address, uint(0), symbol("session-end"), uint(0), True, properties)
    with way.client() as client:
        client.attach("rcv", 0, False, None, source=node(None), wait=False)
        got = way.container.expect_attach().fields
        assert got["name"] == "rcv" + way.suffix and encode(got["source"]) == encode(node(None))
        way.container.send(ATTACH, name=got["name"], handle=got["handle"], role=False, target=got["target"],
                           initial_delivery_count=0, source=node("made-by-container"))
        assert encode(client.expect(ATTACH).fields["source"]) == encode(node("made-by-container"))


def test_a_durable_subscription_with_a_selector_is_resumed_through_every_router(way):
    """Detached without close, and when the client vanishes; each time the container sees the same attach again."""
    container = way.container
    source = described(SOURCE, "lr.topic", uint(2), symbol("never"), uint(60), False, None, symbol("copy"),
                       {symbol("selector"): Described(symbol("apache.org:selector-filter:string"), "colour = 'red'")},
                       None, None, symbol("topic"))
    for how in ("detach", "vanish", "close"):
        with way.client() as client:
            client.attach("sub", 0, False, None, wait=False, source=source)
            got = container.take_attach()
            assert got.fields["name"] == "sub" + way.suffix and encode(got.fields["source"]) == encode(source)
            assert encode(client.expect(ATTACH).fields["source"]) == encode(source)
            client.credit(0, 1)
            container.wait_credit(int(got.fields["handle"]))
            if how == "vanish":
                client.drop()
            else:
                client.send(DETACH, handle=0, closed=how == "close")
            detach = container.expect(DETACH)
            assert bool(detach.fields["closed"]) == (how == "close")
            assert error_of(detach) == ("qd:routed-link-lost" if how == "vanish" else None)
            container.send(DETACH, handle=got.fields["handle"], closed=how == "close")
            if how != "vanish":
                assert bool(client.expect(DETACH).fields["closed"]) == (how == "close")


def test_a_container_that_detaches_or_dies_is_known_at_every_router(way):
    container = way.container
    with way.client() as client:
        attach_sender(client, container, handle=0)
        container.send(DETACH, handle=0, closed=True, error=described(ERROR, symbol("amqp:resource-deleted"), "gone", {"k": 1}))
        got = client.expect(DETACH)
        assert got.fields["closed"] and got.fields["error"].value == [symbol("amqp:resource-deleted"), "gone", {"k": 1}]
        client.send(DETACH, handle=0, closed=True)
        assert container.expect(DETACH).fields["closed"]

        attach_sender(client, container, handle=0, name="again")
        container.credit(0, 5)
        client.wait_credit()
        client.transfer(0, 0, message("x"))
        container.expect(TRANSFER)
        container.drop()
        said = client.expect(DISPOSITION)
        assert int(said.fields["state"].descriptor) == MODIFIED and said.fields["state"].value[0] and said.fields["settled"]
        assert client.expect_error(DETACH) == "qd:routed-link-lost"
