"""Clients on python3-qpid-proton, several connections in one thread, used step by step.

    with Peers() as peers:
        here, there = peers.connect(router), peers.connect(router)
        inbox, outbox = there.receiver("closest/a"), here.sender("closest/a")
        delivery = outbox.send("hello")
        assert inbox.next().body == "hello"          # received, and accepted unless accept=False
        assert outbox.outcome(delivery).state == ACCEPTED

Every wait drives all connections, so that one side can act while the test waits for the other.
"""
import itertools
import time
from collections import deque, namedtuple

from proton import Condition, Delivery, Endpoint, Message
from proton.handlers import MessagingHandler
from proton.reactor import AtLeastOnce, AtMostOnce, Container, LinkOption

from support.deadline import seconds

ACCEPTED, REJECTED, RELEASED, MODIFIED = Delivery.ACCEPTED, Delivery.REJECTED, Delivery.RELEASED, Delivery.MODIFIED

# What a sender learns of a delivery. error is a proton Condition (rejected), annotations a dict (modified).
Outcome = namedtuple("Outcome", "state failed undeliverable annotations error")


def outcome_of(delivery):
    remote = delivery.remote
    return Outcome(delivery.remote_state, remote.failed, remote.undeliverable, remote.annotations, remote.condition)


class NoAddress(LinkOption):
    """An anonymous sender: a target without an address."""

    def apply(self, link):
        link.target.address = None


class Peers:
    """A reactor, and everything connected by it."""

    def __init__(self):
        self.container = Container()
        self.container.timeout = 0.05
        self.container.start()
        self.connections = []
        self.names = itertools.count()

    def connect(self, router, **options):
        """Connect to a Router (or to (host, port)) and wait until it has opened."""
        host, port = (router.host, router.port) if hasattr(router, "port") else router
        options.setdefault("allowed_mechs", "ANONYMOUS")
        peer = Peer(self, "amqp://%s:%d" % (host, port), options)
        self.connections.append(peer)
        peer.wait_open()
        return peer

    def wait(self, condition, limit=10.0, what="the condition"):
        """Drive all connections until condition() is true; return its value."""
        end = time.monotonic() + seconds(limit)
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError("waited %g s in vain for %s" % (seconds(limit), what() if callable(what) else what))
            self.container.process()

    def run_for(self, duration):
        """Drive all connections for a while: only to show that something does not happen."""
        end = time.monotonic() + duration
        while time.monotonic() < end:
            self.container.process()

    def close(self):
        for peer in self.connections:
            peer.handler.closing = True
            # Also one that the peer has closed: proton does not answer amqp:connection:forced by itself, and then
            # neither reads any more nor ends its transport.
            if not peer.handler.disconnected and peer.connection.state & Endpoint.LOCAL_ACTIVE:
                peer.connection.close()
        self.wait(lambda: not any(peer.is_open() for peer in self.connections), 10, "all connections to close")
        for peer in self.connections:
            if peer.connection.transport:
                peer.connection.transport.close_tail()
        # What is left runs out: transports that go down.
        end = time.monotonic() + seconds(5)
        while self.container.process() and time.monotonic() < end:
            pass
        self.container.stop()
        self.container.process()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class _ConnectionHandler(MessagingHandler):
    def __init__(self):
        super().__init__(prefetch=0, auto_accept=False, auto_settle=False)
        self.disconnected, self.closing = False, False

    def on_transport_closed(self, event):
        self.disconnected = True

    def on_transport_error(self, event):
        pass  # seen as disconnected

    def on_connection_error(self, event):
        pass  # Peer.error tells

    def on_link_error(self, event):
        pass

    def on_session_error(self, event):
        pass


class Peer:
    """One connection."""

    def __init__(self, peers, url, options):
        self.peers = peers
        self.handler = _ConnectionHandler()
        options.setdefault("heartbeat", None)
        self.connection = peers.container.connect(url, handler=self.handler, reconnect=False, **options)

    def wait_open(self):
        self.peers.wait(lambda: self.handler.disconnected or self.connection.state & Endpoint.REMOTE_ACTIVE, 10, "an open")
        assert not self.handler.disconnected, "refused: %s" % self.error

    def is_open(self):
        return not self.handler.disconnected and bool(self.connection.state & Endpoint.REMOTE_ACTIVE)

    @property
    def error(self):
        return self.connection.remote_condition or (self.connection.transport and self.connection.transport.condition)

    def wait_closed(self, limit=10.0):
        self.peers.wait(lambda: not self.is_open(), limit, "the connection to end")

    def close(self):
        self.handler.closing = True
        self.connection.close()
        self.wait_closed()

    def vanish(self):
        """Drop the connection without a word, as a client that dies does."""
        self.handler.closing = True
        self.connection.transport.close_head()
        self.connection.transport.close_tail()
        self.peers.wait(lambda: self.handler.disconnected, 10, "the socket to close")

    def sender(self, address, presettled=False, options=(), name=None, wait=True):
        """Attach a sender; address None makes it an anonymous one."""
        options = [AtMostOnce() if presettled else AtLeastOnce(), *options]
        if address is None:
            options.append(NoAddress())
        box = Outbox(self)
        box.attach(self.peers.container.create_sender(self.connection, address, handler=box,
                                                      name=name or "s%d" % next(self.peers.names), options=options), wait)
        return box

    def receiver(self, address, credit=10, accept=True, presettled=False, dynamic=False, options=(), name=None, wait=True):
        """Attach a receiver that takes `credit` deliveries, then as many again as were settled (0: none by itself)."""
        box = Inbox(self, accept)
        options = [AtMostOnce() if presettled else AtLeastOnce(), *options]
        link = self.peers.container.create_receiver(self.connection, address, dynamic=dynamic, handler=box,
                                                    name=name or "r%d" % next(self.peers.names), options=options)
        box.attach(link, wait)
        if credit:
            link.flow(credit)
        return box


class _Box(MessagingHandler):
    """A link, with its events kept for the test to look at."""

    def __init__(self, peer):
        super().__init__(prefetch=0, auto_accept=False, auto_settle=False)
        self.peer, self.peers, self.link = peer, peer.peers, None

    def attach(self, link, wait):
        self.link = link
        if wait:
            self.wait_attached()

    def wait_attached(self):
        """Wait for the peer's attach; one that refuses it fails the test."""
        self.peers.wait(lambda: self.link.state & (Endpoint.REMOTE_ACTIVE | Endpoint.REMOTE_CLOSED)
                        or not self.peer.is_open(), 10, "an attach")
        assert self.link.state & Endpoint.REMOTE_ACTIVE, "refused: %s" % (self.link.remote_condition or self.peer.error)

    def wait_detached(self, limit=10.0):
        """Wait for the peer's detach; return its error as (name, description), or None without one."""
        self.peers.wait(lambda: self.link.state & Endpoint.REMOTE_CLOSED, limit, "a detach")
        condition = self.link.remote_condition
        return (condition.name, condition.description) if condition else None

    @property
    def remote_address(self):
        return (self.link.remote_target if self.link.is_sender else self.link.remote_source).address

    def close(self):
        self.link.close()
        self.peers.wait(lambda: not self.link.state & Endpoint.REMOTE_ACTIVE, 10, "a detach in answer")

    def on_link_error(self, event):
        pass  # wait_detached() tells

    def on_link_closing(self, event):
        pass


class Outbox(_Box):
    def __init__(self, peer):
        super().__init__(peer)
        self.tags = itertools.count(1)

    @property
    def credit(self):
        return self.link.credit

    def wait_credit(self, at_least=1, limit=10.0):
        self.peers.wait(lambda: self.link.credit >= at_least, limit,
                        lambda: "%d credit; there is %d" % (at_least, self.link.credit))

    def send(self, body, to=None, wait_credit=True, **properties):
        """Send a Message, or a body; return the delivery. Waits for credit first."""
        message = body if isinstance(body, Message) else Message(body, **properties)
        if to is not None:
            message.address = to
        if wait_credit:
            self.wait_credit()
        delivery = self.link.send(message)
        self.peers.container.process()
        return delivery

    def outcome(self, delivery, limit=10.0):
        """Wait until the peer has settled; settle too, and return the Outcome."""
        self.peers.wait(lambda: delivery.settled, limit,
                        lambda: "settlement; the delivery is in state %s" % delivery.remote_state)
        result = outcome_of(delivery)
        delivery.settle()
        return result


class Inbox(_Box):
    def __init__(self, peer, accept):
        super().__init__(peer)
        self.accept_all = accept
        self.messages = deque()
        self.deliveries = deque()
        self.aborted = 0

    def on_message(self, event):
        # Kept before settling: a settled delivery of proton is not to be looked at any more.
        self.messages.append(event.message)
        if event.delivery.settled:  # by the sender
            event.delivery.settle()
            self.deliveries.append(None)
            event.receiver.flow(1)
        elif self.accept_all:
            event.delivery.update(ACCEPTED)
            event.delivery.settle()
            self.deliveries.append(None)
            event.receiver.flow(1)
        else:
            self.deliveries.append(event.delivery)

    def on_aborted(self, event):
        self.aborted += 1

    def wait_count(self, count, limit=10.0):
        self.peers.wait(lambda: len(self.messages) >= count, limit,
                        lambda: "%d messages; there are %d" % (count, len(self.messages)))

    def next(self, limit=10.0):
        """Wait for the next message and return it."""
        self.wait_count(1, limit)
        self.deliveries.popleft()
        return self.messages.popleft()

    def take(self, limit=10.0):
        """Wait for the next message of a receiver with accept=False; return it and its delivery (None: presettled)."""
        self.wait_count(1, limit)
        return self.messages.popleft(), self.deliveries.popleft()

    def drain(self, limit=10.0):
        """Ask the peer to use up the credit or give it up; wait until it has."""
        self.link.drain(0)
        self.peers.wait(lambda: not self.link.draining(), limit, lambda: "a drain; credit is %d" % self.link.credit)


def settle(delivery, state, failed=None, undeliverable=None, annotations=None, error=None):
    """Settle a received delivery with an outcome and its fields. error: (name, description, info map)."""
    if failed is not None:
        delivery.local.failed = failed
    if undeliverable is not None:
        delivery.local.undeliverable = undeliverable
    if annotations is not None:
        delivery.local.annotations = annotations
    if error is not None:
        delivery.local.condition = Condition(*error)
    delivery.update(state)
    delivery.settle()
