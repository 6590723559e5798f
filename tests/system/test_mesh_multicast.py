"""Multicast in networks with circles: one copy for each receiver, also while ways come and go."""
import random
import time
from collections import Counter

import pytest

from support.deadline import seconds, wait_until
from support.mesh import full
from support.peers import ACCEPTED, MODIFIED, RELEASED

pytestmark = pytest.mark.heavy


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
        """One message of each, and all outcomes: an outcome comes when all copies, wherever they went, are settled.
        Result: whether everybody has all of them."""
        before = len(self.sent)
        for name, box in self.outboxes.items():
            box.wait_credit()
            self.send(name)
        self.wait_outcomes()
        counts = self.counts()
        return all(count[body] for body in self.sent[before:] for count in counts.values())

    def changes(self):
        """How often a router has lost or found a neighbour, each time with a line in its log."""
        return sum(self.mesh[name].log().count(" neighbour-") for name in self.mesh.names)

    def check_rounds(self, rounds=5):
        """What is sent while nothing changes, and all know what is, comes to all. A router that was held up by the machine
        may believe a neighbour lost at any time: then it is tried again."""
        def tried():
            known = self.changes()
            self.mesh.wait_converged()
            complete = [self.send_round() for _ in range(rounds)]
            if self.changes() != known:
                return False
            assert all(complete), "a message did not reach all, though nothing had changed"
            return True
        wait_until(tried, 30, "%d rounds of messages while nothing changes" % rounds)


def lose_and_mend(relay, how):
    if how == "silent":
        relay.hold()
        return relay.resume
    relay.cut()
    return relay.mend


@pytest.mark.parametrize("how", ["silent", "cut"])
def test_multicast_comes_once_while_ways_change(start_mesh, peers, relays, how):
    """Links of a full mesh fall silent, or are cut, and come back, so that routers have different pictures of it again and
    again. What is sent meanwhile comes at most once to anybody; once nothing changes any more, with or without these
    links, once to all."""
    mesh = start_mesh(full("ABCDE"), relays=relays)
    everybody, chance = Everybody(peers, mesh), random.Random(7)
    for _ in range(4):
        mend = [lose_and_mend(mesh.relays[x], how) for x in chance.sample(sorted(mesh.relays), 3)]
        everybody.send_for(0.5)
        everybody.check_rounds()
        for relay_is_well_again in mend:
            relay_is_well_again()
        everybody.send_for(0.5)
    everybody.wait_outcomes()
    assert set(everybody.outcomes) <= {ACCEPTED, RELEASED, MODIFIED}
    everybody.check_rounds(20)
    for name, count in everybody.counts().items():
        doubled = [body for body in count if count[body] > 1]
        assert not doubled, "%s had %d messages several times: %s" % (name, len(doubled), doubled[:5])
