"""A store-and-forward container on python3-qpid-proton: named queues that outlive connections, and a broker's bad days.

    with Broker() as broker:                     # listens; Broker(connect_to=(host, port)) dials a router instead
        broker.put("q", "a", "b")
        broker.wait_length("q", 2)
        broker.refuse("q", times=2)              # its next attaches fail: amqp:not-found, no queue q
        broker.detach("q", "amqp:resource-deleted", "queue deleted")
        broker.vanish()                          # all connections drop without a word; queues stay
        broker.stop(); broker.start()            # the port is closed meanwhile

A message is in its queue until a consumer has accepted it; when a consumer is lost, or releases or modifies it, it is in
its place again. A producer's message is accepted when it is in the queue. Everything happens in the broker's own thread.
"""
import os
import socket
import threading
from collections import Counter, deque

from proton import Condition, Delivery, Endpoint, Message, Terminus
from proton.handlers import MessagingHandler
from proton.reactor import ApplicationEvent, Container

from support.deadline import seconds, wait_until
from support.errands import Errands


class Attach:
    """What a peer asked for: seen from it, a sender puts messages into the queue."""

    def __init__(self, link):
        self.link, self.name, self.is_sender = link, link.name, link.is_receiver
        self.address = (link.remote_target if link.is_receiver else link.remote_source).address


class _Handler(MessagingHandler):
    def __init__(self, broker):
        super().__init__(prefetch=0, auto_accept=False, auto_settle=False)
        self.broker = broker

    def on_start(self, event):
        event.container.selectable(self.broker.errands)
        if self.broker.connect_to:
            url = "amqp://%s:%d" % self.broker.connect_to
            event.container.connect(url, allowed_mechs="ANONYMOUS", heartbeat=None)
        else:
            self.broker.listen(event.container)

    def on_command(self, event):
        function, done = event.subject
        try:
            function()
        finally:
            done.set()

    # -- connections and links

    def on_connection_opening(self, event):
        event.connection.container = self.broker.container_id

    def on_connection_opened(self, event):
        self.broker.connections.append(event.connection)

    def on_link_opening(self, event):
        link, broker = event.link, self.broker
        attach = Attach(link)
        broker.attaches.append(attach)
        name = attach.address
        if broker.refusals[name] > 0:
            broker.refusals[name] -= 1
            (link.source if link.is_sender else link.target).type = Terminus.UNSPECIFIED  # which goes out as null
            link.open()
            broker.refused.append(link)
            return
        if name in broker.missing:  # as RabbitMQ says so
            link.session.condition = Condition("amqp:not-found", "there is no %s" % name)
            link.session.close()
            return
        link.source.copy(link.remote_source)
        link.target.copy(link.remote_target)
        link.open()
        broker.links.append(link)
        if link.is_receiver:
            link.flow(broker.credit)

    def on_link_local_open(self, event):
        link = event.link
        if link in self.broker.refused:
            self.broker.refused.remove(link)
            address = (link.remote_source if link.is_sender else link.remote_target).address
            link.condition = Condition("amqp:not-found", "no queue %s" % address)
            link.close()

    def on_link_closing(self, event):
        self.forget(event.link)

    def on_transport_closed(self, event):
        if event.connection in self.broker.connections:
            self.broker.connections.remove(event.connection)
        for link in [link for link in self.broker.links if link.connection == event.connection]:
            self.forget(link)

    def forget(self, link):
        broker = self.broker
        if link in broker.links:
            broker.links.remove(link)
        mine = [(delivery, item) for delivery, item in broker.sent if delivery.link == link]
        broker.sent = [pair for pair in broker.sent if pair[0].link != link]
        for _, (name, number, message) in reversed(mine):
            broker.give_back(name, number, message)

    # -- messages

    def on_message(self, event):
        broker, link = self.broker, event.link
        broker.store(link.target.address, event.message)
        if not event.delivery.settled:
            event.delivery.update(Delivery.ACCEPTED)
        event.delivery.settle()
        if link.credit < broker.credit // 2:
            link.flow(broker.credit - link.credit)

    def on_link_flow(self, event):
        link = event.link
        if link.is_sender:
            self.broker.dispatch(link.source.address)
            if link.drain_mode and link.credit:
                link.drained()

    def on_settled(self, event):
        delivery = event.delivery
        for pair in self.broker.sent:
            if pair[0] == delivery:
                self.broker.sent.remove(pair)
                name, number, message = pair[1]
                self.broker.outcomes[str(delivery.remote_state)] += 1
                if delivery.remote_state in (Delivery.RELEASED, Delivery.MODIFIED):
                    self.broker.give_back(name, number, message)
                break

    def on_transport_error(self, event):
        pass

    def on_connection_error(self, event):
        pass

    def on_link_error(self, event):
        pass


class Broker:
    """credit        what a producer gets
    connect_to       (host, port) of a listener of role route-container, instead of listening
    container_id     its name in its Open
    """

    def __init__(self, credit=100, connect_to=None, container_id="broker"):
        self.credit, self.connect_to, self.container_id = credit, connect_to, container_id
        self.port = None
        self.queues = {}  # name: deque of (number, message)
        self.attaches, self.links, self.refused, self.connections, self.sent = [], [], [], [], []
        self.refusals, self.outcomes = Counter(), Counter()
        self.missing = set()  # queues whose attach ends the session
        self.numbers = 0
        self.error = self.thread = None

    # -- in its thread

    def run(self):
        try:
            self.container.run()
        except Exception as e:  # told to the test by stop()
            self.error = e

    def listen(self, container):
        self.acceptor = container.acceptor("127.0.0.1", self.port or 0)
        with socket.socket(fileno=os.dup(self.acceptor._selectable.fileno())) as listening:
            self.port = listening.getsockname()[1]

    def queue(self, name):
        return self.queues.setdefault(name, deque())

    def store(self, name, message):
        self.numbers += 1
        self.queue(name).append((self.numbers, message))
        self.dispatch(name)

    def give_back(self, name, number, message):
        queue = self.queue(name)
        at = sum(1 for other, _ in queue if other < number)
        queue.insert(at, (number, message))
        self.dispatch(name)

    def dispatch(self, name):
        queue = self.queue(name)
        for link in [link for link in self.links if link.is_sender and link.source.address == name]:
            while queue and link.credit > 0 and link.state & Endpoint.REMOTE_ACTIVE:
                number, message = queue.popleft()
                self.sent.append((link.send(message), (name, number, message)))

    # -- what the test asks for

    def do(self, function):
        """Run it in the broker's thread, and wait until it is done."""
        done = threading.Event()
        self.errands.trigger(ApplicationEvent("command", subject=(function, done)))
        assert done.wait(seconds(10)), "the broker does not answer"

    def put(self, name, *bodies):
        self.do(lambda: [self.store(name, Message(body)) for body in bodies])

    def bodies(self, name):
        found = []
        self.do(lambda: found.extend(message.body for _, message in self.queue(name)))
        return found

    def wait_length(self, name, count, limit=10.0):
        wait_until(lambda: len(self.queue(name)) == count, limit,
                   lambda: "%d messages in %s; there are %d" % (count, name, len(self.queue(name))))

    def attached(self, name, is_sender=None):
        """How many links of peers are attached to a queue now: all, those that send, those that receive."""
        return sum(1 for link in list(self.links)
                   if (link.target if link.is_receiver else link.source).address == name
                   and is_sender in (None, link.is_receiver))

    def wait_attached(self, name, count=1, is_sender=None, limit=10.0):
        wait_until(lambda: self.attached(name, is_sender) == count, limit,
                   lambda: "%d links to %s; there are %d" % (count, name, self.attached(name, is_sender)))

    def refuse(self, name, times):
        self.do(lambda: self.refusals.update({name: times}))

    def detach(self, name, condition=None, description=None):
        """Detach all links to a queue, and forget them."""
        def detach():
            for link in list(self.links):
                if (link.target if link.is_receiver else link.source).address == name:
                    if condition:
                        link.condition = Condition(condition, description)
                    self.links.remove(link)
                    link.close()
        self.do(detach)

    def vanish(self):
        self.do(self._drop)

    def _drop(self):
        for connection in list(self.connections):
            if connection.transport:
                connection.transport.close_head()
                connection.transport.close_tail()

    # -- life

    def start(self):
        self.errands = Errands()
        self.container = Container(_Handler(self))
        self.container.container_id = self.container_id
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        wait_until(lambda: self.connect_to or self.port or self.error, 10, "the broker to listen")
        assert not self.error, self.error

    def stop(self):
        """It is gone, with its port; queues and what was not accepted are kept."""
        def stop():
            if not self.connect_to:
                self.acceptor.close()
            self._drop()
            self.container.stop()
        self.do(stop)
        self.thread.join(seconds(10))
        assert not self.thread.is_alive(), "the broker did not stop"
        self.errands.release()
        self.thread = None
        for _, (name, number, message) in reversed(self.sent):
            self.queue(name).appendleft((number, message))
        for name, queue in self.queues.items():
            self.queues[name] = deque(sorted(queue, key=lambda pair: pair[0]))
        self.sent, self.links, self.connections = [], [], []
        if self.error:
            raise self.error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        if self.thread:
            self.stop()
