"""Links between routers that are cut under load, with clients that count: every message has its outcome, and only one."""
import time
from collections import Counter

import pytest
from proton import Message

from support.deadline import seconds
from support.peers import ACCEPTED, MODIFIED, RELEASED

pytestmark = pytest.mark.heavy


class Counting:
    """Senders at A and a consumer at D: what was sent, what became of it, and what came."""

    def __init__(self, peers, mesh, senders=3, size=20_000):
        self.peers, self.filling = peers, b"x" * size
        self.inbox = peers.connect(mesh["D"]).receiver("closest/count", credit=500)
        mesh.wait_subscribed("closest/count", at="A", remote=1)
        self.boxes = [peers.connect(mesh["A"]).sender("closest/count") for _ in range(senders)]
        self.sent, self.pending, self.outcomes = 0, {}, {}

    def send_for(self, duration):
        end = time.monotonic() + duration
        while time.monotonic() < end:
            for box in self.boxes:
                if box.credit:
                    self.pending[self.sent] = box.send(Message(self.filling, id=self.sent), wait_credit=False)
                    self.sent += 1
            self.peers.container.process()
            self.take_outcomes()

    def take_outcomes(self):
        for number, delivery in [item for item in self.pending.items() if item[1].settled]:
            self.outcomes[number] = delivery.remote_state
            delivery.settle()
            del self.pending[number]
        return not self.pending

    def check(self):
        self.peers.wait(self.take_outcomes, 40, lambda: "outcomes of %d messages" % len(self.pending))
        assert sorted(self.outcomes) == list(range(self.sent))
        counts = Counter(self.outcomes.values())
        assert set(counts) <= {ACCEPTED, RELEASED, MODIFIED}
        assert counts[ACCEPTED] + counts[RELEASED] + counts[MODIFIED] == self.sent
        got = Counter(message.id for message in self.inbox.messages)
        assert max(got.values()) == 1, "came twice: %s" % [number for number in got if got[number] > 1][:5]
        for number, outcome in self.outcomes.items():
            assert outcome != ACCEPTED or got[number], "%d was accepted and did not come" % number
            assert outcome != RELEASED or not got[number], "%d was released and came" % number
        return counts


def test_link_cut_under_load_gives_every_message_one_outcome(start_mesh, peers, relays):
    """Diamond with a cheaper side, its links slow enough that messages wait for them. The cheaper one is cut time and again:
    what waited takes the other way, what was on its way comes back modified."""
    mesh = start_mesh("AB AC:5 BD CD:5", relays=relays, rate=4_000_000)
    counting = Counting(peers, mesh)
    for _ in range(3):
        counting.send_for(seconds(0.8))
        assert len(counting.pending) > 100, "nothing waits"
        mesh.relays["AB"].cut()
        counting.send_for(seconds(0.8))
        mesh.relays["AB"].mend()
        peers.wait(lambda: counting.take_outcomes() or mesh.nodes("A").get("D") == ("B", 2), 20, "the cheaper way to be back")
    counts = counting.check()
    assert counts[ACCEPTED] > counting.sent / 2
    assert counts[RELEASED] < counting.sent / 100, counts
