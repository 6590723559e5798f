"""Large messages and slow consumers between routers: nobody waits for somebody else's message, nothing is lost."""
import os
import struct
import threading

import pytest
from proton import Message

from support.deadline import kilobytes, wait_until
from support.peers import ACCEPTED, MODIFIED
from support.router import Config
from support.wire import TRANSFER, Wire


@pytest.fixture
def line(start_router):
    """Three routers in a line, A to C; the first's clients reach the last's over two hops."""
    routers = []
    for name in "ABC":
        config = Config(mode="interior", id=name)
        config.listener("mesh", role="inter-router")
        if routers:
            config.add("connector", name="to-%s" % routers[-1].name, host="127.0.0.1", port=routers[-1].ports["mesh"],
                       role="inter-router", saslMechanisms="ANONYMOUS")
        routers.append(start_router(config, name=name))
    return routers


def rss(router):
    """Resident memory in kB."""
    with open("/proc/%d/status" % router.pid) as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


@pytest.mark.parametrize("size", [100_000, 127 << 10, 129 << 10, 300_000, 10_000_000])
def test_message_of_any_size_arrives_whole_two_hops_away(line, peers, size):
    inbox = peers.connect(line[2]).receiver("closest/size")
    outbox = peers.connect(line[0]).sender("closest/size")
    bodies = [os.urandom(size) for _ in range(3)]
    for body in bodies:
        sent = outbox.send(Message(body))
        assert bytes(inbox.next(30).body) == body
        assert outbox.outcome(sent).state == ACCEPTED


def test_multicast_of_a_large_message_arrives_whole_at_every_router(line, peers):
    inboxes = [peers.connect(router).receiver("multicast/large") for router in line for _ in range(2)]
    outbox = peers.connect(line[0]).sender("multicast/large")
    body = os.urandom(2_000_000)
    # Until the addresses of all routers are known here, a copy may not go to all.
    wait_until(lambda: reaches_all(peers, outbox, inboxes), 15, "the mesh to know all receivers")
    sent = outbox.send(Message(body))
    for inbox in inboxes:
        assert bytes(inbox.next(30).body) == body
    assert outbox.outcome(sent).state == ACCEPTED


def reaches_all(peers, outbox, inboxes):
    outbox.outcome(outbox.send(Message("probe")))
    arrived = [len(inbox.messages) for inbox in inboxes]
    for inbox in inboxes:
        inbox.messages.clear()
        inbox.deliveries.clear()
    return all(arrived)


class Stalled:
    """A sender that has sent the first `size` octets of a message to `address`, and a consumer that took some of it."""

    def __init__(self, line, address, size):
        self.consumer, self.sender = Wire(line[2]), Wire(line[0])
        self.consumer.open_session()
        self.consumer.attach("in", 0, False, address)
        self.consumer.credit(0, 10)
        self.sender.open_session()
        self.sender.attach("out", 0, True, address)
        self.sender.wait_credit()
        self.sender.transfer(0, 0, b"\0\x53\x75\xb0" + struct.pack(">I", 0x7fffffff) + bytes(15000), more=True)
        for _ in range(size // 15000 - 1):
            self.more()

    def more(self, **fields):
        self.sender.send(TRANSFER, payload=bytes(15000), handle=0, **{"more": True, **fields})

    def receive(self, size):
        received = 0
        while received < size:
            received += len(self.consumer.expect(TRANSFER).payload)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.sender.drop()
        self.consumer.drop()


def test_small_messages_pass_a_message_that_stalls(line, peers):
    """Its end never comes, and yet others flow on the same way, to the same address and to another."""
    inbox = peers.connect(line[2]).receiver("closest/small")
    outbox = peers.connect(line[0]).sender("closest/small")
    with Stalled(line, "closest/stalled", 450_000) as stalled:
        stalled.receive(450_000)
        for number in range(100):
            sent = outbox.send(Message("small %d" % number))
            assert inbox.next().body == "small %d" % number
            assert outbox.outcome(sent).state == ACCEPTED


def test_message_that_stalls_below_the_bound_blocks_nobody(line, peers):
    """Up to 128 KiB are gathered; that takes no turn on the links that all share."""
    inbox = peers.connect(line[2]).receiver("closest/small")
    outbox = peers.connect(line[0]).sender("closest/small")
    with Stalled(line, "closest/stalled", 60_000) as stalled:
        for number in range(20):
            sent = outbox.send(Message(number))
            assert inbox.next().body == number
            assert outbox.outcome(sent).state == ACCEPTED
        stalled.more(more=False)
        stalled.receive(75_000)


def test_streams_of_many_senders_are_under_way_at_once(line):
    """More than one message is under way between the same routers, each with a link of its own."""
    several = [Stalled(line, "closest/several%d" % number, 300_000) for number in range(5)]
    try:
        for one in several:
            one.receive(300_000)
        for one in several:
            one.more(more=False)
            one.receive(15_000)
    finally:
        for one in several:
            one.__exit__()


@pytest.mark.parametrize("size", [30_000, 450_000])
def test_abort_half_way_reaches_the_consumer_and_the_link_lives_on(line, size):
    with Stalled(line, "closest/abort", size) as stalled:
        if size > 200_000:
            stalled.receive(size)
        stalled.sender.send(TRANSFER, handle=0, aborted=True, more=False)
        if size > 200_000:
            assert stalled.consumer.expect(TRANSFER, lambda f: not f.fields.get("more")).fields["aborted"]
        stalled.sender.transfer(0, 1, b"\0\x53\x75\xa0\x05after")
        got = stalled.consumer.expect(TRANSFER, lambda f: not f.fields.get("aborted"))
        assert got.payload.endswith(b"after")


def test_sender_that_dies_half_way_aborts_what_is_under_way(line):
    with Stalled(line, "closest/dies", 450_000) as stalled:
        stalled.receive(450_000)
        stalled.sender.drop()
        assert stalled.consumer.expect(TRANSFER, lambda f: not f.fields.get("more")).fields["aborted"]


def test_router_that_dies_half_way_aborts_what_is_under_way(line):
    with Stalled(line, "closest/dies", 450_000) as stalled:
        stalled.receive(450_000)
        line[1].kill()
        assert stalled.consumer.expect(TRANSFER, lambda f: not f.fields.get("more")).fields["aborted"]


def test_consumer_that_dies_half_way_lets_the_sender_finish(line, peers):
    inbox = peers.connect(line[2]).receiver("closest/other")
    outbox = peers.connect(line[0]).sender("closest/other")
    with Stalled(line, "closest/dies", 450_000) as stalled:
        stalled.receive(450_000)
        stalled.consumer.drop()
        for _ in range(100):
            stalled.more()
        stalled.more(more=False)
        sent = outbox.send(Message("still"))
        assert inbox.next().body == "still"
        assert outbox.outcome(sent).state == ACCEPTED


def test_presettled_flood_stops_at_a_consumer_that_stops_two_hops_away(line, peers):
    """Its sender is stopped, no router grows, other addresses flow, and all that was sent comes when it goes on."""
    slow = peers.connect(line[2]).receiver("closest/slow", credit=0)
    fast = peers.connect(line[2]).receiver("closest/fast", credit=100)
    flood = peers.connect(line[0]).sender("closest/slow", presettled=True)
    other = peers.connect(line[0]).sender("closest/fast")
    before = [rss(router) for router in line]
    body, sent = os.urandom(10_000), 0
    flood.wait_credit()
    end = 5000  # twenty times what a link may have in hand
    while flood.credit and sent < end:
        flood.send(Message(body), wait_credit=False)
        sent += 1
    # All credit is used; what comes now is only what has left.
    for number in range(50):
        delivery = other.send(Message(number))
        assert fast.next().body == number
        assert other.outcome(delivery).state == ACCEPTED
        while flood.credit and sent < end:
            flood.send(Message(body), wait_credit=False)
            sent += 1
    assert sent <= 250, "a link of capacity 250 took %d messages that nobody has" % sent
    for router, was in zip(line, before):
        assert rss(router) - was < kilobytes(20_000), router.name
    slow.link.flow(1000)
    slow.wait_count(sent)
    flood.wait_credit(250)
    assert all(delivery is None for delivery in slow.deliveries), "they came settled"


def test_presettled_messages_reach_the_consumer_in_order_two_hops_away(line, peers):
    inbox = peers.connect(line[2]).receiver("closest/order", credit=100)
    outbox = peers.connect(line[0]).sender("closest/order", presettled=True)
    for number in range(2000):
        outbox.send(Message(number))
    inbox.wait_count(2000, 30)
    assert [message.body for message in inbox.messages] == list(range(2000))


def test_presettled_large_message_arrives_whole_two_hops_away(line, peers):
    inbox = peers.connect(line[2]).receiver("closest/large", credit=100)
    outbox = peers.connect(line[0]).sender("closest/large", presettled=True)
    bodies = [os.urandom(1_000_000) for _ in range(3)]
    for body in bodies:
        outbox.send(Message(body))
    assert {bytes(inbox.next(30).body) for _ in bodies} == set(bodies)


def test_router_that_dies_with_unsettled_messages_has_them_answered_modified(line, peers):
    inbox = peers.connect(line[2]).receiver("closest/held", credit=100, accept=False)
    outbox = peers.connect(line[0]).sender("closest/held")
    deliveries = [outbox.send(Message(number)) for number in range(10)]
    inbox.wait_count(10)
    line[1].kill()
    for delivery in deliveries:
        outcome = outbox.outcome(delivery)
        assert outcome.state == MODIFIED and outcome.failed
