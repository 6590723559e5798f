"""A steady stream of messages between two routers while something happens to the network, and its account."""
import time
from collections import Counter

from support.deadline import seconds
from support.peers import ACCEPTED, MODIFIED, RELEASED


class Traffic:
    """A sender at one router and consumers at another, with an account of every message."""

    def __init__(self, peers, sender, receiver, address="closest/traffic", consumers=1):
        self.peers, self.address = peers, address
        self.inboxes = [peers.connect(receiver).receiver(address, credit=200) for _ in range(consumers)]
        self.outbox = peers.connect(sender).sender(address)
        self.outbox.wait_credit()
        self.sent, self.pending, self.outcomes = 0, {}, {}

    def step(self, window=50):
        """Send while there is credit and room in the window; take in the outcomes. True if one was accepted."""
        while self.outbox.credit > 0 and len(self.pending) < window:
            self.pending[self.sent] = self.outbox.send(self.sent)
            self.sent += 1
        return self.take_outcomes()

    def take_outcomes(self):
        self.peers.container.process()
        accepted = False
        for number, delivery in [item for item in self.pending.items() if item[1].settled]:
            self.outcomes[number] = delivery.remote_state
            accepted |= delivery.remote_state == ACCEPTED
            delivery.settle()
            del self.pending[number]
        return accepted

    def until_accepted(self, count=100, limit=20.0):
        """Go on until so many that are sent from now on have been accepted; return the seconds until the first one."""
        first, began, since, took = self.sent, time.monotonic(), 0, None
        while since < count:
            self.step()
            since = sum(1 for number in range(first, self.sent) if self.outcomes.get(number) == ACCEPTED)
            if since and took is None:
                took = time.monotonic() - began
            assert time.monotonic() < began + seconds(limit), "%d of %d accepted; credit %d, %d pending, %s" % (
                since, count, self.outbox.credit, len(self.pending), Counter(self.outcomes.values()))
        return took

    def check(self):
        """All have an outcome, what was accepted has come, nothing came twice that was not given back between."""
        self.peers.wait(lambda: self.take_outcomes() or not self.pending, 20,
                        lambda: "outcomes of %s" % sorted(self.pending)[:10])
        self.peers.wait(lambda: not self.pending or self.take_outcomes(), 20)
        assert len(self.outcomes) == self.sent and not self.pending
        counts = Counter(self.outcomes.values())
        assert set(counts) <= {ACCEPTED, RELEASED, MODIFIED}, counts
        got = Counter(message.body for inbox in self.inboxes for message in inbox.messages)
        lost = [number for number, outcome in self.outcomes.items() if outcome == ACCEPTED and not got[number]]
        assert not lost and max(got.values()) == 1, (lost, got.most_common(3))
        released = [number for number, outcome in self.outcomes.items() if outcome == RELEASED and got[number]]
        assert not released, "came although released: %s" % released
        return counts
