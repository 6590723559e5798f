"""What an interior router does for edge routers (wire-protocol.md 2.4 to 2.6), as recorded edges of version 1.19 and
clients that play an edge see it."""
import os
import re
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest
from proton import Message, symbol
from proton.reactor import LinkOption

from support.broker import Broker
from support.brokers import both_ways, wait_active
from support.conversation import comparable
from support.deadline import seconds
from support.mesh import Manager
from support.peers import ACCEPTED, RELEASED
from support.playing import Playing
from support.recorded import KNOWN
from support.recording import Recording
from support.router import Config
from support.script import Mixed, Script
from support.wire import Wire

Place = namedtuple("Place", "host port")  # of one of a router's listeners


def interior_config(name):
    config = Config(bare=True).add("router", mode="interior", id=name, workerThreads=2)
    config.listener("normal").listener("edge", role="edge", authenticatePeer=None)
    for prefix in ("closest", "multicast"):
        config.add("address", prefix=prefix, distribution=prefix)
    return config


@pytest.fixture
def interior(start_router):
    """The recorded interior router: A, with one listener for clients and one for edges."""
    return start_router(interior_config("A"))


@pytest.fixture
def two_interiors(start_router):
    """A, and B that is connected to it, once each knows the other."""
    first = start_router(interior_config("A").listener("mesh", role="inter-router", authenticatePeer=None))
    second = start_router(interior_config("B").add("connector", role="inter-router", host="127.0.0.1", port=first.ports["mesh"],
                                                   saslMechanisms="ANONYMOUS"))
    return first, second


def playing(router, *names, on_note=None):
    return Playing([Recording(name) for name in names], router.ports["edge"], allowed=KNOWN, on_note=on_note)


# -- recorded edges of version 1.19


def test_recorded_edge_connects_to_the_same_answers(interior):
    """Eight links, their credit, generated reply addresses, heartbeats."""
    assert playing(interior, "07a-edge-connect").run() == []


def test_recorded_edge_with_consumers_gets_the_same_messages(interior, peers):
    """Targeted, anonymous and multicast: the annotations of the interior router are on all of them."""
    client, differences = peers.connect(interior), []
    edge = threading.Thread(target=lambda: differences.append(playing(interior, "07b-edge-consumer").run()))
    edge.start()
    targeted, presettled = client.sender("closest/e"), client.sender("closest/e", presettled=True)
    assert targeted.outcome(targeted.send("one", id=1)).state == ACCEPTED
    presettled.send("two", id=2)
    anonymous = client.sender(None)
    assert anonymous.outcome(anonymous.send("three", to="closest/e", id=3)).state == ACCEPTED
    interior.wait_receivers("multicast/e")
    assert anonymous.outcome(anonymous.send("four", to="multicast/e", id=4)).state == ACCEPTED
    edge.join()
    assert differences == [[]]
    assert targeted.outcome(targeted.send("five", id=5)).state == RELEASED, "its consumers have gone"


def test_recorded_edge_with_a_producer_hears_the_same(interior, peers):
    """Credit and `true` with the first consumer elsewhere, outcomes, `false` when it has gone, nothing of its own one."""
    client, differences = peers.connect(interior), []
    arrives, leaves = threading.Event(), threading.Event()

    def on_note(text):
        if text == "consumer for closest/i attaches on the interior":
            arrives.set()
        elif text == "consumer on the interior detaches":
            leaves.set()

    edge = threading.Thread(target=lambda: differences.append(playing(interior, "07c-edge-producer", on_note=on_note).run()))
    edge.start()
    peers.wait(arrives.is_set)
    inbox = client.receiver("closest/i")
    peers.wait(leaves.is_set)
    assert [message.body for message in inbox.messages] == ["one", "two", "three"]
    inbox.close()
    edge.join()
    assert differences == [[]]


def test_recorded_request_between_two_edges_is_the_same(interior):
    """A service on one, a requester with a dynamic address on the other, and an answer that comes too late."""
    assert playing(interior, "07d-edge-to-edge", "07d-edge-to-edge.edge2").run() == []


IDENTITY = re.compile(rb"(?<=identity\xa1)\x02\d\d")


class WithIdentities(Playing):
    """The edge names what it has made as the live router has called it."""

    def _learn(self, connection):
        super()._learn(connection)
        told = dict(connection.live.facts)
        for key, value in connection.recorded.facts:
            if key[0] == "transfer" and key in told:
                made = (IDENTITY.findall(bytes.fromhex(octets)) for octets in (value[1], told[key][1]))
                self.texts.update((old.decode(), new.decode()) for old, new in zip(*made))


ANSWERS = "qdlink #4"  # to what the edge asks of management


def contents(octets):
    """What a message says: in which order and how long the entries of its maps are encoded is each router's choice."""
    message = Message()
    message.decode(octets)
    return [comparable(getattr(message, name)) for name in ("address", "correlation_id", "annotations", "properties", "body",
                                                            "durable", "reply_to", "subject")]


def test_recorded_edge_with_link_routes_hears_the_same(start_router, peers):
    """Routes that the edge makes known, used by a client of ours; ours, that it asks for, used by a client of the edge; and
    how both end."""
    name, boxes, bodies = "07e-edge-link-routes", {}, []
    script = Script(peers)

    def send():
        boxes["sender"] = box = client.sender("elr.q", name="snd-elr", options=[Mixed()], wait=False)
        script.later(lambda: box.link.credit, lambda: boxes.update(sent=box.send("through the edge", id=1)))

    notes = {"client on the interior attaches a sender to elr.q (route of the edge)": send,
             "and closes it": lambda: script.later(lambda: boxes["sent"].settled, boxes["sender"].link.close),
             "client on the edge attaches a receiver to ilr.q":
                 lambda: broker.do(lambda: bodies.append(broker.queue("ilr.q").popleft()[1].body)),
             "the interior's container goes away": lambda: broker.stop()}
    with Broker(credit=10) as broker:
        config = interior_config("A").add("connector", name="broker", role="route-container", host="127.0.0.1",
                                          port=broker.port, saslMechanisms="ANONYMOUS")
        live = start_router(both_ways(config, "ilr"))
        wait_active(live, 2)
        peers.container.container_id = "client-I"
        client = peers.connect(live)
        play = WithIdentities([Recording(name)], live.ports["edge"], allowed=KNOWN, meanwhile=script.meanwhile,
                              messages=False, on_note=lambda text: notes.get(text, lambda: None)())
        assert play.run() == []
    for key, recorded, told in play.messages():
        if key[2] == ANSWERS:
            assert contents(told) == contents(recorded)
        else:
            assert told == recorded, key
    assert bodies == ["through the interior"]
    assert boxes["sent"].remote_state == ACCEPTED


# -- clients that play an edge


class Downlink(LinkOption):
    """A receiver by which an edge router is reached."""

    def apply(self, link):
        for terminus in (link.source, link.target):
            terminus.capabilities.put_symbol("qd.router-edge-downlink")


@pytest.fixture
def edge(peers, interior):
    return peers.connect(Place("127.0.0.1", interior.ports["edge"]))


def test_edge_is_told_once_for_each_change_and_not_of_its_own_consumer(interior, peers, edge):
    tracking, client = edge.receiver("_$qd.edge_addr_tracking", credit=32), peers.connect(interior)
    outlink = edge.sender("closest/t")
    own = edge.receiver("closest/t")
    first, second = client.receiver("closest/t"), client.receiver("closest/t")
    assert list(tracking.next().body) == ["M0closest/t", True]
    own.close()
    second.close()
    first.close()
    assert list(tracking.next().body) == ["M0closest/t", False]
    assert not tracking.messages
    outlink.close()


def test_edge_that_attaches_where_there_are_consumers_is_told_at_once(interior, peers, edge):
    inbox = peers.connect(interior).receiver("closest/there")
    outlink = edge.sender("closest/there")  # before the link by which it can be told
    tracking = edge.receiver("_$qd.edge_addr_tracking", credit=32)
    assert list(tracking.next().body) == ["M0closest/there", True]
    assert outlink.outcome(outlink.send("hello")).state == ACCEPTED
    assert inbox.next().body == "hello"
    tracking.close()
    tracking = edge.receiver("_$qd.edge_addr_tracking", credit=32)
    assert list(tracking.next().body) == ["M0closest/there", True], "by a new link it is told again"


@pytest.mark.parametrize("treatment", ["closest", "balanced", "multicast"])
def test_message_of_an_edge_does_not_come_back_to_it(interior, peers, edge, treatment):
    address = treatment + "/echo"
    inlink, uplink = edge.receiver(address), edge.sender(None)
    assert uplink.outcome(uplink.send("alone", to=address)).state == RELEASED
    inbox = peers.connect(interior).receiver(address)
    for number in range(20):
        assert uplink.outcome(uplink.send(number, to=address)).state == ACCEPTED
    assert [message.body for message in inbox.messages] == list(range(20))
    assert not inlink.messages


def test_edge_gets_credit_back_at_once(interior, peers, edge):
    """It has granted its own senders what it has room for: more than a link's capacity may be unsettled."""
    inbox = peers.connect(interior).receiver("closest/many", credit=400, accept=False)
    outlink = edge.sender("closest/many")
    for number in range(400):
        outlink.send(number)
    inbox.wait_count(400)
    assert [message.body for message in inbox.messages] == list(range(400))


def test_address_tracking_and_lookup_are_for_edges_only(interior, peers):
    client = peers.connect(interior)
    for attach in (lambda: client.receiver("_$qd.edge_addr_tracking", wait=False),
                   lambda: client.sender("_$qd.addr_lookup", wait=False)):
        assert attach().wait_detached() is None


def test_downlink_is_for_edges_only(interior, peers):
    box = peers.connect(interior).receiver("X", options=[Downlink()], wait=False)
    assert box.wait_detached()[0] == "qd:forbidden"


def test_edge_that_stops_its_heartbeat_is_dropped(interior, peers):
    """After 8 s, looked at every 2 s; one that goes on stays, and so does one that never began."""
    place = Place("127.0.0.1", interior.ports["edge"])
    alive, never = peers.connect(place), peers.connect(place)
    heart = alive.sender("_$qd.edge_heartbeat", presettled=True)
    with Wire(place) as silent:
        silent.open_session()
        silent.attach("heartbeat", 0, True, "_$qd.edge_heartbeat")
        assert silent.wait_credit() == 2
        began, ended = time.monotonic(), []

        def wait_for_the_end():
            silent.expect_end(limit=15)
            ended.append(time.monotonic())

        waiting = threading.Thread(target=wait_for_the_end)
        waiting.start()
        count = 0
        while waiting.is_alive():
            heart.send(count)
            count += 1
            peers.run_for(0.5)
        waiting.join()
    assert ended and 7.5 < ended[0] - began < 14
    assert alive.is_open() and never.is_open()
    interior.wait_log(r"no heartbeat from \S+ for \d+ ms: the connection is dropped")


def test_edge_is_reached_by_its_name_from_another_interior(two_interiors, peers):
    """H<edge id> goes through the mesh; the edge's consumers and what it is told of do, too."""
    first, second = two_interiors
    edge = peers.connect(Place("127.0.0.1", second.ports["edge"]))
    name = edge.connection.container
    downlink = edge.receiver(name, options=[Downlink()])
    tracking, outlink = edge.receiver("_$qd.edge_addr_tracking", credit=32), edge.sender("closest/far")
    client = peers.connect(first)
    anonymous, inbox = client.sender(None), client.receiver("closest/far")
    assert list(tracking.next(limit=20).body) == ["M0closest/far", True]
    assert outlink.outcome(outlink.send("from the edge")).state == ACCEPTED
    assert inbox.next().body == "from the edge"
    to = "amqp:/_edge/%s/temp.reply" % name
    assert anonymous.outcome(anonymous.send("to the edge", to=to)).state == ACCEPTED
    message = downlink.next()
    assert (message.body, message.address) == ("to the edge", to)
    assert list(message.annotations[symbol("x-opt-qd.trace")]) == ["0/A", "0/B"]
    edge.receiver("closest/near")
    sender = client.sender("closest/near")
    assert sender.outcome(sender.send("to its consumer")).state == ACCEPTED
    inbox.close()
    assert list(tracking.next().body) == ["M0closest/far", False]
    edge.vanish()
    deadline = time.monotonic() + 10
    while anonymous.outcome(anonymous.send("nobody", to=to)).state != RELEASED:
        assert time.monotonic() < deadline, "the edge that went is still announced"


# -- settled messages of an edge, whose credit knows nothing of the consumer


def test_stopped_consumer_bounds_what_an_edge_sends_settled_and_stops_nobody_else(interior, peers):
    """The uplink carries all addresses. Of the consumer that takes nothing the oldest messages wait, as many as a link's
    capacity; what is beyond is dropped and counted, and others flow."""
    client = peers.connect(interior)
    stopped, flowing = client.receiver("closest/stopped", credit=0), client.receiver("closest/flows", credit=1000)
    uplink = peers.connect(Place(interior.host, interior.ports["edge"])).sender(None, presettled=True)
    for number in range(1500):
        uplink.send(number, to="closest/stopped")
        if number % 10 == 0:
            uplink.send(number, to="closest/flows")
    flowing.wait_count(150, 20)
    assert [message.body for message in flowing.messages] == list(range(0, 1500, 10))
    manager = Manager(interior)

    def waiting_and_dropped():
        rows = manager.query("router.link", "owningAddr", "linkDir", "undeliveredCount", "droppedPresettledCount")
        return next((row["undeliveredCount"], row["droppedPresettledCount"]) for row in rows
                    if row["linkDir"] == "out" and row["owningAddr"] == "M0closest/stopped")

    peers.wait(lambda: waiting_and_dropped() == (250, 1250), 10, lambda: "the rest to be dropped: %s" % (waiting_and_dropped(),))
    manager.close()
    stopped.link.flow(1000)
    stopped.wait_count(250)
    for number in range(1500, 1600):
        uplink.send(number, to="closest/stopped")
    stopped.wait_count(350)
    assert [message.body for message in stopped.messages] == [*range(250), *range(1500, 1600)]


def test_slow_consumer_slows_what_an_edge_sends_settled_and_loses_nothing(interior, peers):
    client = peers.connect(interior)
    slow = client.receiver("closest/slow", credit=0)
    uplink = peers.connect(Place(interior.host, interior.ports["edge"])).sender(None, presettled=True)
    sent = 0
    while sent < 2000:
        for _ in range(uplink.credit):
            uplink.send(sent, to="closest/slow", wait_credit=False)
            sent += 1
            assert sent <= len(slow.messages) + 250 + 2  # those that have left the router and are not here yet
        if slow.link.credit == 0:
            slow.link.flow(1)  # from here on each that comes asks for the next one
        peers.container.process()
    slow.wait_count(sent)
    assert [message.body for message in slow.messages] == list(range(sent))


def resident(router):
    """Octets of memory that a router uses now."""
    pages = int(Path("/proc/%d/statm" % router.pid).read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def test_hundreds_of_edges_are_served_in_little_time_and_memory(interior, peers):
    """Each is reached by its name and gets its copy of multicast; when they have gone nothing is left of them."""
    count, place, client = 200, Place("127.0.0.1", interior.ports["edge"]), peers.connect(interior)
    manager, anonymous = Manager(interior), client.sender(None)
    before, addresses, began = resident(interior), len(manager.query("router.address", "key")), time.monotonic()
    edges = []
    for number in range(count):
        name = peers.container.container_id = "X%d" % number
        edge = peers.connect(place)
        edge.boxes = {"downlink": edge.receiver(name, options=[Downlink()], wait=False),
                      "tracking": edge.receiver("_$qd.edge_addr_tracking", credit=32, wait=False),
                      "copies": edge.receiver("multicast/all", wait=False),
                      "own": edge.receiver("closest/of-%d" % number, wait=False),
                      "uplink": edge.sender(None, wait=False),
                      "outlink": edge.sender("closest/far", wait=False),
                      "heartbeat": edge.sender("_$qd.edge_heartbeat", presettled=True, wait=False)}
        edges.append(edge)
    for edge in edges:
        for box in edge.boxes.values():
            box.wait_attached()
    interior.wait_receivers("multicast/all", count)
    sent = [anonymous.send(number, to="_edge/X%d/a" % number) for number in range(count)]
    sent += [anonymous.send(number, to="closest/of-%d" % number) for number in range(count)]
    sent += [anonymous.send("to all", to="multicast/all")]
    inbox = client.receiver("closest/far", credit=300)
    assert {anonymous.outcome(delivery).state for delivery in sent} == {ACCEPTED}
    for number, edge in enumerate(edges):
        assert [message.body for message in edge.boxes["downlink"].messages] == [number]
        assert [message.body for message in edge.boxes["own"].messages] == [number]
        assert [message.body for message in edge.boxes["copies"].messages] == ["to all"]
        assert list(edge.boxes["tracking"].next().body) == ["M0closest/far", True]
        edge.boxes["outlink"].send(number)
        edge.boxes["heartbeat"].send(0)
    inbox.wait_count(count)
    assert sorted(message.body for message in inbox.messages) == list(range(count))
    assert time.monotonic() - began < seconds(30)
    assert resident(interior) - before < 100e6, "%d for %d edges" % (resident(interior) - before, count)
    inbox.close()
    for edge in edges:
        edge.connection.close()
    peers.wait(lambda: len(manager.query("router.address", "key")) <= addresses, 20, "their addresses to go")
    assert anonymous.outcome(anonymous.send("gone", to="_edge/X7/a")).state == RELEASED
    manager.close()
