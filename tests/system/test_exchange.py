"""Exchanges and bindings: messages are passed on by their subject (management.md 4.8, wire-protocol.md 5.8)."""
import json
import re

import pytest
from proton import Message

from support.broker import Broker
from support.deadline import wait_until
from support.peers import ACCEPTED, RELEASED
from support.router import Config
from support.tool import output, run
from support.wire import Wire, described, encode, message


def exchange(config=None, **more):
    return (config or Config()).add("exchange", **{"name": "ex", "address": "ex/in", **more})


def bind(config, key, hop, **more):
    return config.add("binding", exchangeName="ex", bindingKey=key, nextHopAddress=hop, **more)


def query(router, kind):
    return json.loads(output("qdmanage", "-b", router.address, "query", "--type=router.config." + kind))


def counters(router):
    row, = query(router, "exchange")
    return {name: row[name + "Count"] for name in ("received", "forwarded", "diverted", "dropped", "binding")}


def publish(outbox, subject, body="x"):
    return outbox.outcome(outbox.send(Message(body, subject=subject)))


def wait_no_receiver(router, key):
    def gone():
        rows = json.loads(output("qdmanage", "-b", router.address, "query", "--type=router.address", "name", "subscriberCount"))
        return not any(row["name"] == key and row.get("subscriberCount") for row in rows)
    wait_until(gone, what="%s to have no receiver" % key)


def receivers_of(router, key):
    rows = json.loads(output("qdmanage", "-b", router.address, "query", "--type=router.address", "name", "subscriberCount"))
    return next((row["subscriberCount"] for row in rows if row["name"] == key), 0)


def test_direct_and_fan_out(start_router, peers):
    """Each binding that matches has its copy; two that lead to one next hop have one together."""
    config = exchange()
    for key, hop in (("red", "q/red"), ("red", "q/all"), ("blue", "q/all"), ("re*", "q/red"), ("red", "news/r")):
        bind(config, key, hop)
    config.add("address", prefix="news", distribution="multicast")
    router = start_router(config)
    client = peers.connect(router)
    red, all_ = client.receiver("q/red"), client.receiver("q/all")
    news = [client.receiver("news/r"), client.receiver("news/r")]
    outbox = client.sender("ex/in")
    assert publish(outbox, "red").state == ACCEPTED
    assert publish(outbox, "blue").state == ACCEPTED
    assert publish(outbox, "green").state == RELEASED
    for inbox, count in ((red, 1), (all_, 2), (news[0], 1), (news[1], 1)):
        inbox.wait_count(count)
    peers.run_for(0.2)
    assert [len(inbox.messages) for inbox in (red, all_, *news)] == [1, 2, 1, 1]
    assert all(delivery is None for delivery in red.deliveries)  # presettled
    assert counters(router) == {"received": 3, "forwarded": 2, "diverted": 0, "dropped": 1, "binding": 5}
    matched = {(row["bindingKey"], row["nextHopAddress"]): row["matchedCount"] for row in query(router, "binding")}
    assert matched == {("red", "q/red"): 1, ("red", "q/all"): 1, ("blue", "q/all"): 1, ("re*", "q/red"): 0, ("red", "news/r"): 1}


@pytest.mark.parametrize("method, key, yes, no", [
    ("amqp", "a.*.c", ["a.b.c"], ["a.c", "a.b.b.c", "a.b", "x.b.c", "a/b/c"]),
    ("amqp", "a.#", ["a", "a.b", "a.b.c"], ["b", "ab"]),
    ("amqp", "#.z", ["z", "a.z", "a.z.z"], ["z.a", "az"]),
    ("amqp", "#", ["", "a", "a.b"], []),
    ("mqtt", "a/+/c", ["a/b/c", "a//c"], ["a/c", "a/b/c/d", "a.b.c"]),
    ("mqtt", "a/#", ["a", "a/b", "a/b/c"], ["b/a", "ab"]),
    ("mqtt", "+", ["a", "a.b"], ["a/b"]),
])
def test_patterns(start_router, peers, method, key, yes, no):
    router = start_router(bind(exchange(matchMethod=method), key, "q"))
    client = peers.connect(router)
    client.receiver("q", credit=100)
    outbox = client.sender("ex/in")
    for subject in yes:
        assert publish(outbox, subject).state == ACCEPTED, subject
    for subject in no:
        assert publish(outbox, subject).state == RELEASED, subject


def test_alternate_address_has_what_nobody_else_has(start_router, peers):
    config = bind(bind(exchange(alternateAddress="lost", alternatePhase=0), "a", "q/a"), None, "q/all")
    router = start_router(config)
    client = peers.connect(router)
    lost, everything = client.receiver("lost"), client.receiver("q/all", credit=0)
    outbox = client.sender("ex/in")
    assert publish(outbox, None).state == ACCEPTED  # no subject: not even the default key `#`
    assert lost.next().subject is None
    everything.link.flow(10)
    assert publish(outbox, "a").state == ACCEPTED  # matches both; q/a has no receiver
    assert everything.next().subject == "a"
    everything.close()
    wait_no_receiver(router, "M0q/all")
    assert publish(outbox, "a").state == ACCEPTED  # matches, and there is nobody
    assert lost.next().subject == "a"
    lost.close()
    wait_no_receiver(router, "M0lost")
    assert publish(outbox, "a").state == RELEASED
    assert counters(router) == {"received": 4, "forwarded": 3, "diverted": 2, "dropped": 1, "binding": 2}


def test_receivers_of_the_address_itself_have_a_copy(start_router, peers):
    router = start_router(bind(exchange(), "k", "q"))
    client = peers.connect(router)
    own, bound = client.receiver("ex/in"), client.receiver("q")
    outbox = client.sender("ex/in")
    assert publish(outbox, "k").state == ACCEPTED
    assert publish(outbox, "other").state == ACCEPTED
    assert [own.next().subject, own.next().subject] == ["k", "other"]
    assert bound.next().subject == "k"


def test_sender_has_credit_without_receivers_and_is_slowed_by_them(start_router, peers):
    router = start_router(bind(exchange(), "k", "q"))
    client, other = peers.connect(router), peers.connect(router)
    outbox = client.sender("ex/in")
    outbox.wait_credit(250)
    slow = other.receiver("q", credit=0)
    wait_until(lambda: '"M0q"' in output("qdmanage", "-b", router.address, "query", "--type=router.address", "name"))
    for number in range(250):
        outbox.send(Message(str(number), subject="k"))
    peers.run_for(0.3)
    assert outbox.credit == 0  # what waits for the slow one is bounded
    slow.link.flow(250)
    slow.wait_count(250)
    outbox.wait_credit(200)
    assert [message.body for message in slow.messages] == [str(number) for number in range(250)]


def test_large_messages_and_presettled_ones(start_router, peers):
    router = start_router(bind(bind(exchange(), "k", "q/1"), "k", "q/2"))
    client, other = peers.connect(router), peers.connect(router)
    inboxes = [other.receiver("q/1"), peers.connect(router).receiver("q/2")]
    body = "x" * 3_000_000
    outbox = client.sender("ex/in")
    assert publish(outbox, "k", body).state == ACCEPTED
    settled = client.sender("ex/in", presettled=True)
    settled.send(Message("s", subject="k"))
    anonymous = client.sender(None)
    assert anonymous.outcome(anonymous.send(Message("to", subject="k"), to="ex/in")).state == ACCEPTED
    for inbox in inboxes:
        inbox.wait_count(3, limit=20)
        assert sorted(len(message.body) for message in inbox.messages) == [1, 2, len(body)]


def test_a_delivery_id_that_is_in_use_already_burdens_no_receiver(start_router, peers):
    """A message that goes nowhere is not counted as under way to anybody: he has his share of what comes later."""
    router = start_router(bind(exchange(), "k", "balanced/q"))
    first = peers.connect(router).receiver("balanced/q", credit=100)
    slow = peers.connect(router).receiver("slow", credit=0)
    with Wire(router) as client:
        client.open_session()
        client.attach("slow", 0, True, "slow")
        client.attach("in", 1, True, "ex/in")
        client.wait_credit(0)
        client.wait_credit(1)
        client.transfer(0, 0, message())
        subject = encode(described(0x73, None, None, None, "k"))
        for _ in range(50):
            client.transfer(1, 0, subject + message("no"), settled=True)
        client.transfer(1, 1, subject + message("yes"), settled=True)
        assert first.next().body == "yes"
    second = peers.connect(router).receiver("balanced/q", credit=100)
    wait_until(lambda: receivers_of(router, "M0balanced/q") == 2)
    outbox = peers.connect(router).sender("balanced/q")
    for number in range(20):
        assert outbox.outcome(outbox.send(Message(str(number)))).state == ACCEPTED
    assert len(first.messages) > 1 and second.messages
    slow.close()


def test_exchange_is_a_destination_for_other_routers(start_mesh, peers):
    """It is announced; what comes by way of others goes on from here; next hops may be anywhere."""
    def add(config):
        bind(bind(exchange(config), "a.#", "closest/far"), "a.#", "multicast/all")
    mesh = start_mesh("AB BC", conf={"B": add})
    mesh.wait_subscribed("ex/in", at="A", remote=1)
    far = peers.connect(mesh["C"]).receiver("closest/far")
    copies = [peers.connect(mesh[name]).receiver("multicast/all") for name in "ABC"]
    mesh.wait_subscribed("closest/far", at="B", remote=1)
    mesh.wait_subscribed("multicast/all", at="B", remote=2, local=1)
    client = peers.connect(mesh["A"])
    outbox = client.sender("ex/in")
    for number in range(20):
        assert publish(outbox, "a.%d" % number, str(number)).state == ACCEPTED
    far.wait_count(20)
    for inbox in copies:
        inbox.wait_count(20)
    peers.run_for(0.2)
    assert [message.body for message in far.messages] == [str(number) for number in range(20)]
    assert [len(inbox.messages) for inbox in copies] == [20, 20, 20]


def test_phases_of_exchange_and_next_hop(start_router, peers):
    """The exchange stands where messages have left a container; the next hop is another address's second leg."""
    config = Config().add("address", prefix="wp", waypoint=True)
    config.add("exchange", name="ex", address="wp/in", phase=1)
    bind(config, "k", "wp/out", nextHopPhase=1)
    router = start_router(config)
    from proton import symbol
    from proton.reactor import LinkOption

    class Waypoint(LinkOption):
        def apply(self, link):
            (link.target if link.is_sender else link.source).capabilities.put_object(symbol("qd.waypoint"))

    client = peers.connect(router)
    final = client.receiver("wp/out")
    first = client.receiver("wp/in", options=[Waypoint()])
    outbox, out_of_container = client.sender("wp/in"), client.sender("wp/in", options=[Waypoint()])
    assert publish(outbox, "k", "to the container").state == ACCEPTED
    assert first.next().body == "to the container"
    assert publish(out_of_container, "k", "out of it").state == ACCEPTED
    assert final.next().body == "out of it"


def test_next_hop_through_a_broker(start_router, peers):
    """What matches is put into the broker's queue, and comes out of it for the receivers of that address."""
    with Broker() as broker:
        config = bind(exchange(), "orders.#", "queue/orders")
        config.add("connector", name="broker", host="127.0.0.1", port=broker.port, role="route-container",
                   saslMechanisms="ANONYMOUS")
        config.add("address", prefix="queue", waypoint=True)
        for direction in ("in", "out"):
            config.add("autoLink", address="queue/orders", direction=direction, connection="broker")
        router = start_router(config)
        wait_until(lambda: {row["operStatus"] for row in query(router, "autoLink")} == {"active"}, what="the autoLinks")
        client = peers.connect(router)
        outbox = client.sender("ex/in")
        for number in range(5):
            assert publish(outbox, "orders.eu", str(number)).state == ACCEPTED
        assert publish(outbox, "other").state == RELEASED
        broker.wait_length("queue/orders", 5)
        inbox = client.receiver("queue/orders")
        inbox.wait_count(5)
        assert [message.body for message in inbox.messages] == [str(number) for number in range(5)]


def test_create_and_delete_while_running(router, peers):
    def create(kind, expect=0, **attributes):
        done = run("qdmanage", "-b", router.address, "create", "--type=router.config." + kind,
                   *("%s=%s" % item for item in attributes.items()))
        assert done.returncode == expect, done.stdout
        return done.stdout

    create("exchange", name="ex", address="ex/in")
    create("binding", name="b1", exchangeName="ex", bindingKey="k", nextHopAddress="q")
    for text, kind, attributes in (
            ("conflicts", "exchange", dict(name="ex", address="other")),
            ("duplicate exchange address", "exchange", dict(name="ex2", address="/ex/in")),
            ("exchange address is mandatory", "exchange", dict(name="ex2")),
            ("matchMethod must be either", "exchange", dict(name="ex2", address="a", matchMethod="x")),
            ("phase must be in the range 0-9", "exchange", dict(name="ex2", address="a", phase=10)),
            ("Named exchange does not exist", "binding", dict(name="b2", exchangeName="no", nextHopAddress="q")),
            ("No next hop specified", "binding", dict(name="b2", exchangeName="ex")),
            ("Next hop for key already exists", "binding", dict(name="b2", exchangeName="ex", bindingKey="k", nextHopAddress="q")),
    ):
        assert text in create(kind, expect=1, **attributes)
    client = peers.connect(router)
    inbox, outbox = client.receiver("q"), client.sender("ex/in")
    assert publish(outbox, "k").state == ACCEPTED
    assert inbox.next().subject == "k"
    output("qdmanage", "-b", router.address, "delete", "--type=router.config.binding", "--name=b1")
    assert publish(outbox, "k").state == RELEASED
    create("binding", name="b1", exchangeName="ex", nextHopAddress="q")
    assert publish(outbox, "k").state == ACCEPTED
    output("qdmanage", "-b", router.address, "delete", "--type=router.config.exchange", "--name=ex")
    assert query(router, "exchange") == [] and query(router, "binding") == []
    own = client.receiver("ex/in")  # an address as any other again
    outbox.wait_credit()
    assert publish(outbox, "k").state == ACCEPTED
    assert own.next().subject == "k"


def test_wrong_sections_are_skipped_and_told(start_router):
    config = exchange().add("exchange", name="ex2", address="ex/in").add("exchange", address="third")
    bind(config, "k", "q")
    config.add("binding", exchangeName="none", nextHopAddress="q")
    config.add("exchange", name="m", address="mq", matchMethod="mqtt")
    config.add("binding", exchangeName="m", bindingKey="a/#/b", nextHopAddress="q")
    router = start_router(config)
    assert {row["name"] for row in query(router, "exchange")} == {"ex", "exchange/2", "m"}
    assert len(query(router, "binding")) == 1
    for text in ("duplicate exchange address", "Named exchange does not exist", "The binding key pattern is invalid"):
        assert re.search(r"ROUTER_CORE \(error\) Error configuring (exchange|binding): %s" % text, router.log())


@pytest.mark.parametrize("distribution", ["balanced", "closest", "multicast"])
def test_exchanges_of_one_address_at_two_routers_do_not_send_in_a_circle(start_mesh, peers, distribution):
    def add(config):
        config.add("address", prefix="ex", distribution=distribution)
        bind(exchange(config), "#", "q/all")
    mesh = start_mesh("AB", conf={"A": add, "B": add})
    for name in "AB":
        mesh.wait_subscribed("ex/in", at=name, remote=1)
    inbox = peers.connect(mesh["A"]).receiver("q/all", credit=1000)
    mesh.wait_subscribed("q/all", at="B", remote=1)
    outbox = peers.connect(mesh["A"]).sender("ex/in")
    assert publish(outbox, "x").state == ACCEPTED
    peers.run_for(1)
    assert len(inbox.messages) <= 2


def test_one_exchange_of_a_multicast_address_gives_each_receiver_one_copy(start_mesh, peers):
    def rule(config):
        config.add("address", prefix="ex", distribution="multicast")
    def add(config):
        rule(config)
        bind(exchange(config), "#", "q/all")
    mesh = start_mesh("AB BC", conf={"A": rule, "B": add, "C": rule})
    inboxes = [peers.connect(mesh[name]).receiver("ex/in", credit=100) for name in "ABC"]
    mesh.wait_subscribed("ex/in", at="A", remote=2, local=1)
    mesh.wait_subscribed("ex/in", at="B", remote=2, local=1)
    outbox = peers.connect(mesh["A"]).sender("ex/in")
    assert publish(outbox, "x").state == ACCEPTED
    peers.run_for(0.5)
    assert [len(inbox.messages) for inbox in inboxes] == [1, 1, 1]
