"""What routers say to each other is not late, whatever messages are under way between them."""
import time

import pytest
from proton import Message

from support.deadline import seconds

pytestmark = pytest.mark.heavy


def lost_neighbours(mesh):
    return [line for name in mesh.names for line in mesh[name].log().splitlines() if "neighbour-lost" in line]


def assert_none_lost(mesh, relays):
    """Unless the relay itself did not run for so long, on a machine that has other things to do, that nothing came at all."""
    assert lost_neighbours(mesh) == [] or relays.longest_pause > 0.15


def test_flood_on_a_slow_link_loses_no_neighbour(start_mesh, peers, relays):
    """Messages queue up behind 4 MB/s for seconds. HELLOs, without which a neighbour is lost after 260 ms, go
    before them, and so do addresses."""
    mesh = start_mesh("AB", relays=relays, rate=4_000_000)
    there = peers.connect(mesh["B"])
    inbox = there.receiver("closest/flood", credit=2000)
    mesh.wait_subscribed("closest/flood", at="A", remote=1)
    outboxes = [peers.connect(mesh["A"]).sender("closest/flood") for _ in range(4)]
    body, sent, end = bytes(20_000), 0, time.monotonic() + seconds(4)
    while time.monotonic() < end:
        for box in outboxes:
            while box.credit and time.monotonic() < end:
                box.send(Message(body), wait_credit=False)
                sent += 1
        peers.container.process()
    assert sent - len(inbox.messages) > 200, "nothing is waiting: the link is not slow"
    began = time.monotonic()
    there.receiver("closest/new")
    mesh.wait_subscribed("closest/new", at="A", remote=1, limit=3)
    assert time.monotonic() < began + seconds(1.5)
    assert_none_lost(mesh, relays)
    peers.wait(lambda: len(inbox.messages) == sent, 60, lambda: "%d messages; %d have come" % (sent, len(inbox.messages)))
    assert_none_lost(mesh, relays)


def test_flood_on_a_very_slow_link_loses_no_neighbour(start_mesh, peers, relays):
    """At 300 kB/s what the system has taken to send takes longer than 260 ms, and a HELLO comes behind it: what comes
    meanwhile says that the neighbour lives."""
    mesh = start_mesh("AB", relays=relays, rate=300_000)
    inbox = peers.connect(mesh["B"]).receiver("closest/flood", credit=200)
    mesh.wait_subscribed("closest/flood", at="A", remote=1)
    outbox, count = peers.connect(mesh["A"]).sender("closest/flood"), 100
    for _ in range(count):
        outbox.send(Message(bytes(6_000)))
    inbox.wait_count(count, 30)
    assert_none_lost(mesh, relays)
