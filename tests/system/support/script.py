"""Clients that do at the notes of a recording what the recorded ones did."""
from proton import Link
from proton.reactor import LinkOption


class Script:
    """What clients do at the notes of a recording, each step as soon as it can be done."""

    def __init__(self, peers):
        self.peers, self.waiting = peers, []

    def later(self, condition, action):
        self.waiting.append((condition, action))

    def meanwhile(self):
        self.peers.container.process()
        while self.waiting and self.waiting[0][0]():
            self.waiting.pop(0)[1]()


class Mixed(LinkOption):
    """The settle modes of the recorded client: ours passes on what a client says, the old router always these."""

    def apply(self, link):
        link.snd_settle_mode = Link.SND_MIXED
