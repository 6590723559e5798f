"""Containers on the way of messages, played by clients with capabilities."""
from proton import Data, symbol
from proton.reactor import LinkOption

from support.peers import ACCEPTED, settle


class Capability(LinkOption):
    """A capability of the terminus at the router: one symbol, or several in an array."""

    def __init__(self, *symbols, array=False):
        self.symbols, self.array = symbols, array

    def apply(self, link):
        capabilities = (link.target if link.is_sender else link.source).capabilities
        if self.array:
            capabilities.put_array(False, Data.SYMBOL)
            capabilities.enter()
        for one in self.symbols:
            capabilities.put_symbol(symbol(one))
        if self.array:
            capabilities.exit()


class Waypoint:
    """A container on the way: takes what comes, and sends it on when the test says so."""

    def __init__(self, peer, address, capability, array=False):
        option = Capability("other", capability, array=True) if array else Capability(capability)
        self.inbox = peer.receiver(address, credit=100, accept=False, options=[option])
        self.outbox = peer.sender(address, options=[option])

    def pass_on(self):
        """Take one message as a queue does: accept it, and send it on."""
        message, delivery = self.inbox.take()
        settle(delivery, ACCEPTED)
        self.outbox.send(message)
        return message
