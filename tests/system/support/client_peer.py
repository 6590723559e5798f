"""A small broker in memory, on python3-qpid-proton, that does on request what clients must cope with.

    with ClientPeer() as peer:
        run("qdsend", "-b", peer.bus, "q", "-m", "hello")
        assert peer.queue("q").messages[0].body == "hello"

An address is a queue of its name. A prefix up to a dot asks for something else:

    reject.     every message is rejected (x:refused: because)
    release.    every message is released           release-once.  the first time only, by message body
    modify.     every message is modified, delivery failed
    silent.     messages are taken and no outcome is told
    nocredit.   a sender gets no credit             detach.        the link is detached with an error after the first message
    refuse.     the attach is refused               close.         the connection is closed with amqp:connection:forced
    drop-N.     the connection is dropped without a word after the N-th message; once for the peer, then it is a queue
"""
import os
import socket
import threading
from collections import deque

from proton import Condition, Delivery, Endpoint, Message, Terminus, symbol
from proton.handlers import MessagingHandler
from proton.reactor import ApplicationEvent, Container

from support.deadline import seconds, wait_until
from support.errands import Errands


class Queue:
    def __init__(self):
        self.messages = deque()
        self.consumers = []


class Attach:
    """What a client asked for in an attach."""

    def __init__(self, link):
        self.name, self.is_sender = link.name, link.is_receiver  # the client's role
        terminus = link.remote_target if link.is_receiver else link.remote_source
        self.address, self.dynamic = terminus.address, terminus.dynamic
        self.copy = link.remote_source.distribution_mode == Terminus.DIST_MODE_COPY
        self.capabilities = read_all(terminus.capabilities)
        self.filter = read_all(link.remote_source.filter)
        self.snd_settle_mode = link.remote_snd_settle_mode


def read_all(data):
    data.rewind()
    return data.get_object() if data.next() else None


class _Handler(MessagingHandler):
    def __init__(self, peer):
        super().__init__(prefetch=0, auto_accept=False, auto_settle=False)
        self.peer = peer

    def on_start(self, event):
        event.container.selectable(self.peer.errands)
        self.peer.listen(event.container)

    def on_stop_peer(self, event):
        self.peer.acceptor.close()
        for connection in self.peer.connections:
            if connection.transport:
                connection.transport.close_head()
                connection.transport.close_tail()
        self.peer.container.stop()

    def on_connection_opening(self, event):
        event.connection.container = "client-peer"
        if self.peer.relay:
            event.connection.offered_capabilities = symbol("ANONYMOUS-RELAY")
        self.peer.connections.append(event.connection)

    def on_link_opening(self, event):
        link = event.link
        self.peer.attaches.append(Attach(link))
        if link.is_sender:
            self.open_consumer(link)
        else:
            self.open_producer(link)

    def on_link_local_open(self, event):
        link = event.link
        terminus = link.source if link.is_sender else link.target
        if (terminus.address or "").startswith("refuse."):
            link.condition = Condition("amqp:not-found", "no such node here")
            link.close()

    def open_consumer(self, link):
        if link.remote_source.dynamic:
            link.source.address = "dynamic-%d" % len(self.peer.attaches)
        else:
            link.source.copy(link.remote_source)
        link.target.copy(link.remote_target)
        link.open()
        link.browsed = 0
        self.peer.queue(link.source.address).consumers.append(link)

    def open_producer(self, link):
        link.target.copy(link.remote_target)
        address = link.target.address or ""
        link.open()
        if not address.startswith(("nocredit.", "refuse.")):
            link.flow(self.peer.credit)

    def on_link_closing(self, event):
        self.forget(event.link)

    def on_transport_closed(self, event):
        link = event.connection.link_head(0)
        while link:
            self.forget(link)
            link = link.next(0)

    def forget(self, link):
        for queue in self.peer.queues.values():
            if link in queue.consumers:
                queue.consumers.remove(link)
                # What the consumer had not settled is there again.
                for message in reversed([m for d, m in self.peer.sent if d.link == link]):
                    queue.messages.appendleft(message)
                self.peer.sent = [(d, m) for d, m in self.peer.sent if d.link != link]

    def on_sendable(self, event):
        self.dispatch(event.link.source.address)

    def on_link_flow(self, event):
        link = event.link
        if link.is_sender and link.state & Endpoint.LOCAL_ACTIVE:
            self.dispatch(link.source.address)
            if link.drain_mode and link.credit:
                link.drained()

    def dispatch(self, address):
        queue = self.peer.queue(address)
        for link in list(queue.consumers):
            if link.source.distribution_mode == Terminus.DIST_MODE_COPY:
                while link.credit and link.browsed < len(queue.messages):
                    link.send(queue.messages[link.browsed])
                    link.browsed += 1
                continue
            while link.credit and queue.messages:
                message = queue.messages.popleft()
                delivery = link.send(message)
                if link.snd_settle_mode == link.SND_SETTLED or self.peer.settled:
                    delivery.settle()
                else:
                    self.peer.sent.append((delivery, message))

    def on_message(self, event):
        link, delivery, message = event.link, event.delivery, event.message
        if link.credit < self.peer.credit // 2:
            link.flow(self.peer.credit - link.credit)
        self.peer.received.append(message)
        self.peer.settled_received += delivery.settled
        address = link.target.address or message.address
        self.peer.tags.append(delivery.tag)
        kind = address.split(".")[0] if "." in address else ""
        getattr(self, "take_" + kind.split("-")[0], self.take)(event, address, message)

    def settle(self, delivery, state):
        delivery.update(state)
        delivery.settle()

    def take(self, event, address, message):
        self.peer.queue(address).messages.append(message)
        self.settle(event.delivery, Delivery.ACCEPTED)
        self.dispatch(address)

    def take_reject(self, event, address, message):
        event.delivery.local.condition = Condition("x:refused", "because")
        self.settle(event.delivery, Delivery.REJECTED)

    def take_release(self, event, address, message):
        if address.startswith("release-once.") and message.body in self.peer.released:
            self.take(event, address, message)
            return
        self.peer.released.append(message.body)
        self.settle(event.delivery, Delivery.RELEASED)

    def take_modify(self, event, address, message):
        event.delivery.local.failed = True
        self.settle(event.delivery, Delivery.MODIFIED)

    def take_silent(self, event, address, message):
        pass

    def take_detach(self, event, address, message):
        event.link.condition = Condition("amqp:resource-deleted", "the node went away")
        event.link.close()

    def take_close(self, event, address, message):
        event.connection.condition = Condition("amqp:connection:forced", "going down")
        event.connection.close()

    def take_drop(self, event, address, message):
        after = int(address.split(".")[0].split("-")[1])
        if len(self.peer.received) == after and not self.peer.dropped:
            self.peer.dropped = True
            event.transport.close_head()
            event.transport.close_tail()
            return
        self.take(event, address, message)

    def on_settled(self, event):
        for delivery, message in list(self.peer.sent):
            if delivery == event.delivery:
                self.peer.sent.remove((delivery, message))
                remote = delivery.remote
                self.peer.outcomes.append((delivery.remote_state, remote.failed, remote.undeliverable, remote.condition))
                if delivery.remote_state == Delivery.RELEASED:
                    self.peer.queue(delivery.link.source.address).messages.appendleft(message)

    def on_transport_error(self, event):
        pass

    def on_connection_error(self, event):
        pass

    def on_link_error(self, event):
        pass


class ClientPeer:
    """The broker, in a thread of the test.

    relay    offer ANONYMOUS-RELAY
    settled  send to consumers settled
    credit   how much a producer gets
    domain   an SSLDomain to serve TLS
    port     to listen on; 0 for a free one
    """

    def __init__(self, relay=True, settled=False, credit=100, domain=None, port=0):
        self.relay, self.settled, self.credit, self.domain, self.wanted_port = relay, settled, credit, domain, port
        self.port = None
        self.queues, self.attaches, self.connections, self.sent = {}, [], [], []
        self.received, self.tags, self.outcomes, self.released = [], [], [], []
        self.settled_received = 0
        self.dropped, self.error = False, None
        self.errands = Errands()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        try:
            self.container = Container(_Handler(self))
            self.container.run()
        except Exception as e:  # told to the test by __exit__
            self.error = e

    def listen(self, container):
        self.acceptor = container.acceptor("127.0.0.1", self.wanted_port)
        if self.domain:
            self.acceptor.set_ssl_domain(self.domain)
        with socket.socket(fileno=os.dup(self.acceptor._selectable.fileno())) as listening:
            self.port = listening.getsockname()[1]

    def queue(self, address):
        return self.queues.setdefault(address, Queue())

    def put(self, address, *bodies, **fields):
        """Fill a queue before anybody is connected."""
        self.queue(address).messages.extend(Message(body=body, **fields) for body in bodies)

    @property
    def bus(self):
        return "127.0.0.1:%d" % self.port

    def __enter__(self):
        self.thread.start()
        wait_until(lambda: self.port, 10, "the peer to listen")
        return self

    def __exit__(self, *exception):
        self.errands.trigger(ApplicationEvent("stop_peer"))
        self.thread.join(seconds(10))
        assert not self.thread.is_alive(), "the peer did not stop"
        self.errands.release()
        if self.error:
            raise self.error
