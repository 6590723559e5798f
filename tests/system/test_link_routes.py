"""Link routes: a client's link goes to a container as it is, and the two talk to each other through the router."""
import pytest
from proton import Message

from support.broker import Broker
from support.deadline import seconds, wait_until
from support.mesh import Manager
from support.peers import ACCEPTED, MODIFIED, RELEASED, Peers
from support.router import Config
from support.tool import output

LINK_ROUTE = "org.apache.qpid.dispatch.router.config.linkRoute"


@pytest.fixture
def peers():
    with Peers() as peers:
        yield peers


@pytest.fixture
def broker():
    with Broker() as broker:
        yield broker


def connector(config, broker, name="broker", **attributes):
    return config.add("connector", name=name, host="127.0.0.1", port=broker.port, role="route-container",
                      saslMechanisms="ANONYMOUS", **attributes)


def both_ways(config, prefix="lr", **attributes):
    attributes = attributes or {"connection": "broker"}
    for direction in ("in", "out"):
        config.add("linkRoute", prefix=prefix, direction=direction, **attributes)
    return config


def wait_active(router, count, limit=10.0):
    """Until so many link routes have a container."""
    manager = Manager(router)
    rows = []

    def are_active():
        rows[:] = manager.query("router.config.linkRoute", "operStatus")
        return sum(1 for row in rows if row["operStatus"] == "active") == count
    wait_until(are_active, limit, lambda: "%d active link routes; there are %s" % (count, rows))
    manager.close()


# -- the thin path


def test_links_of_a_route_reach_the_container_under_the_clients_name(start_router, peers, broker):
    router = start_router(both_ways(connector(Config(), broker)))
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
