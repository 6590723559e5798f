"""Multicast in networks with circles: one copy for each receiver, also while ways come and go."""
import random
import time
from collections import Counter

import pytest

from support.deadline import seconds
from support.mesh import full
from support.peers import ACCEPTED, MODIFIED, RELEASED, Peers
from support.relay import Relays

pytestmark = pytest.mark.heavy


@pytest.fixture
def peers():
    with Peers() as peers:
        yield peers


@pytest.fixture
def relays():
    with Relays() as relays:
        yield relays


class Everybody:
    """At each router of a network one sender and one consumer of a multicast address, and an account of all messages."""

    def __init__(self, peers, mesh):
        self.peers, self.mesh = peers, mesh
        clients = {name: peers.connect(mesh[name]) for name in mesh.names}
        self.inboxes = {name: clients[name].receiver("multicast/all", credit=1000) for name in mesh.names}
        for name in mesh.names:
            mesh.wait_subscribed("multicast/all", at=name, remote=len(mesh.names) - 1, local=1)
        self.outboxes = {name: clients[name].sender("multicast/all") for name in mesh.names}
        self.sent, self.pending, self.outcomes = [], [], Counter()

    def send(self, name):
        self.sent.append("%s %d" % (name, len(self.sent)))
        self.pending.append(self.outboxes[name].send(self.sent[-1], wait_credit=False))

    def send_for(self, duration):
        """Everybody sends as fast as credit comes."""
        end = time.monotonic() + seconds(duration)
        while time.monotonic() < end:
            self.peers.container.process()
            for name, box in self.outboxes.items():
                if box.credit:
                    self.send(name)
            self.take_outcomes()

    def take_outcomes(self):
        for delivery in [x for x in self.pending if x.settled]:
            self.outcomes[delivery.remote_state] += 1
            delivery.settle()
            self.pending.remove(delivery)
        return not self.pending

    def wait_outcomes(self):
        self.peers.wait(self.take_outcomes, 20, lambda: "outcomes of %d messages" % len(self.pending))

    def counts(self):
        return {name: Counter(message.body for message in inbox.messages) for name, inbox in self.inboxes.items()}

    def send_round(self):
        """One message of each, and all outcomes: an outcome comes when all copies, wherever they went, are settled."""
        before = len(self.sent)
        for name, box in self.outboxes.items():
            box.wait_credit()
            self.send(name)
        self.wait_outcomes()
        counts = self.counts()
        return all(count[body] for body in self.sent[before:] for count in counts.values())


def lose_and_mend(relay, how):
    if how == "silent":
        relay.hold()
        return relay.resume
    relay.cut()
    return relay.mend


@pytest.mark.parametrize("how", ["silent", "cut"])
def test_multicast_comes_once_while_ways_change(start_mesh, peers, relays, how):
    """Links of a full mesh fall silent, or are cut, and come back, so that routers have different pictures of it again and
    again. What is sent meanwhile comes at most once to anybody; once nothing changes any more, once to all."""
    mesh = start_mesh(full("ABCDE"), relays=relays)
    everybody, chance = Everybody(peers, mesh), random.Random(7)
    for _ in range(8):
        mend = [lose_and_mend(mesh.relays[x], how) for x in chance.sample(sorted(mesh.relays), 3)]
        everybody.send_for(0.6)
        for relay_is_well_again in mend:
            relay_is_well_again()
        everybody.send_for(1.0)
    everybody.wait_outcomes()
    assert set(everybody.outcomes) <= {ACCEPTED, RELEASED, MODIFIED}
    mesh.wait_converged()
    peers.wait(everybody.send_round, 20, "a round of messages to reach everybody")
    settled = len(everybody.sent)
    for _ in range(20):
        assert everybody.send_round()
    for name, count in everybody.counts().items():
        doubled = [body for body in count if count[body] > 1]
        missing = [body for body in everybody.sent[:settled] if not count[body]]
        assert not doubled, "%s had %d messages several times: %s" % (name, len(doubled), doubled[:5])
        # Only what was under way on a link at the moment of its loss, or while the news of it was.
        assert len(missing) < settled / 50, "%s lacks %d of %d" % (name, len(missing), settled)

