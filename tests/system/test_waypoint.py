"""Addresses whose messages pass through containers on their way: each leg is a phase, and a capability says which leg."""
import pytest

from support.mesh import Manager
from support.peers import ACCEPTED, RELEASED, settle
from support.router import Config
from support.waypoint import Capability, Waypoint


def waypoint_config(**address):
    return Config().add("address", prefix="wp", **(address or {"waypoint": True}))


def test_message_passes_the_waypoint_before_it_reaches_its_consumer(start_router, peers):
    router = start_router(waypoint_config())
    consumer = peers.connect(router).receiver("wp.q")
    producer = peers.connect(router).sender("wp.q")
    peers.run_for(0.1)
    assert producer.credit == 0, "only the waypoint takes from producers"
    waypoint = Waypoint(peers.connect(router), "wp.q", "qd.waypoint")
    delivery = producer.send("hello")
    waypoint.inbox.wait_count(1)
    assert not consumer.messages
    assert waypoint.pass_on().body == "hello"
    assert consumer.next().body == "hello"
    assert producer.outcome(delivery).state == ACCEPTED


def test_waypoint_that_only_takes_holds_messages_for_later(start_router, peers):
    """Without a consumer the queue is filled, and its own sender has no credit; the first consumer brings it."""
    router = start_router(waypoint_config())
    waypoint = Waypoint(peers.connect(router), "wp.q", "qd.waypoint")
    producer = peers.connect(router).sender("wp.q")
    delivery = producer.send("hello")
    message, held = waypoint.inbox.take()
    settle(held, ACCEPTED)
    assert producer.outcome(delivery).state == ACCEPTED
    assert waypoint.outbox.credit == 0
    consumer = peers.connect(router).receiver("wp.q")
    assert waypoint.outbox.outcome(waypoint.outbox.send(message)).state == ACCEPTED
    assert consumer.next().body == "hello"


def test_anonymous_messages_enter_at_the_ingress_phase(start_router, peers):
    router = start_router(waypoint_config().add("address", prefix="later", ingressPhase=1, egressPhase=2))
    consumers = {name: peers.connect(router).receiver(name) for name in ("wp.q", "later.q")}
    waypoints = {"wp.q": Waypoint(peers.connect(router), "wp.q", "qd.waypoint"),
                 "later.q": Waypoint(peers.connect(router), "later.q", "qd.waypoint.2")}
    producer = peers.connect(router).sender(None)
    for name in consumers:
        delivery = producer.send("to " + name, to="amqp:/" + name)
        waypoints[name].inbox.wait_count(1)
        assert not consumers[name].messages
        assert waypoints[name].pass_on().body == "to " + name
        assert consumers[name].next().body == "to " + name
        assert producer.outcome(delivery).state == ACCEPTED


@pytest.mark.parametrize("array", (False, True), ids=("symbol", "array"))
def test_chain_of_three_waypoints_is_passed_in_order(start_router, peers, array):
    router = start_router(waypoint_config(ingressPhase=0, egressPhase=3))
    consumer = peers.connect(router).receiver("wp.q")
    chain = [Waypoint(peers.connect(router), "wp.q", "qd.waypoint.%d" % n, array=array) for n in (3, 1, 2)]
    producer = peers.connect(router).sender("wp.q")
    for number in range(3):
        delivery = producer.send(number)
        for waypoint in (chain[1], chain[2], chain[0]):
            waypoint.inbox.wait_count(1)
            assert not consumer.messages and sum(len(w.inbox.messages) for w in chain) == 1
            waypoint.pass_on()
        assert consumer.next().body == number
        assert producer.outcome(delivery).state == ACCEPTED


def test_phases_of_an_address_have_rows_of_their_own(start_router, peers):
    router = start_router(waypoint_config())
    Waypoint(peers.connect(router), "wp.q", "qd.waypoint")
    peers.connect(router).receiver("wp.q")
    manager = Manager(router)
    rows = {row["key"]: row for row in manager.query("router.address", "key", "subscriberCount", "distribution")}
    assert rows["M0wp.q"]["subscriberCount"] == 1 and rows["M1wp.q"]["subscriberCount"] == 1
    manager.close()


def test_waypoint_of_another_router_is_passed_on_the_way(start_mesh, peers):
    """Producer and consumer at A, the queue at C, two hops away: both legs cross the network."""
    rule = lambda config: config.add("address", prefix="wp", waypoint=True)
    mesh = start_mesh("AB BC", conf={name: rule for name in "AC"})
    waypoint = Waypoint(peers.connect(mesh["C"]), "wp.q", "qd.waypoint")
    client = peers.connect(mesh["A"])
    consumer = client.receiver("wp.q", credit=100)
    producers = client.sender("wp.q"), client.sender(None), client.sender("wp.q", presettled=True)
    waypoint.outbox.wait_credit()
    for number, producer in enumerate(producers):
        delivery = producer.send(number, to="wp.q")
        waypoint.inbox.wait_count(1)
        assert not consumer.messages
        message, held = waypoint.inbox.take()
        assert waypoint.outbox.outcome(waypoint.outbox.send(message)).state == ACCEPTED
        if held:
            settle(held, ACCEPTED)
            assert producer.outcome(delivery).state == ACCEPTED
        assert consumer.next().body == number


def test_waypoint_chain_over_three_routers(start_mesh, peers):
    rule = lambda config: config.add("address", prefix="wp", ingressPhase=1, egressPhase=3)
    mesh = start_mesh("AB BC", conf={name: rule for name in "ABC"})
    client = peers.connect(mesh["B"])
    consumer, targeted, anonymous = client.receiver("wp.q"), client.sender("wp.q"), client.sender(None)
    chain = [Waypoint(peers.connect(mesh["C"]), "wp.q", "qd.waypoint.2"),
             Waypoint(peers.connect(mesh["A"]), "wp.q", "qd.waypoint.3")]
    chain[0].outbox.wait_credit()
    chain[1].outbox.wait_credit()
    for producer in (targeted, anonymous):
        delivery = producer.send("x", to="wp.q")
        for waypoint in chain:
            waypoint.pass_on()
        assert consumer.next().body == "x"
        assert producer.outcome(delivery).state == ACCEPTED


def test_capability_that_is_no_waypoint_of_ours_changes_nothing(start_router, peers):
    router = start_router()
    inboxes = [peers.connect(router).receiver("balanced/q", options=[Capability(name)])
               for name in ("qd.waypoint.0", "qd.waypoint.10", "qd.waypointer", "queue")]
    producer = peers.connect(router).sender("balanced/q", options=[Capability("qd.waypoint.x")])
    for number in range(4 * len(inboxes)):
        assert producer.outcome(producer.send(number)).state == ACCEPTED
    assert sum(len(inbox.messages) for inbox in inboxes) == 4 * len(inboxes)


def test_waypoint_that_leaves_stops_producers_and_lets_them_go_on(start_router, peers):
    router = start_router(waypoint_config())
    waypoint = Waypoint(peers.connect(router), "wp.q", "qd.waypoint")
    producer = peers.connect(router).sender("wp.q")
    producer.wait_credit()
    waypoint.inbox.close()
    peers.wait(lambda: producer.outcome(producer.send("lost", wait_credit=False)).state == RELEASED, what="no destination")
    waypoint = Waypoint(peers.connect(router), "wp.q", "qd.waypoint")
    delivery = producer.send("found")
    settle(waypoint.inbox.take()[1], ACCEPTED)
    assert producer.outcome(delivery).state == ACCEPTED
