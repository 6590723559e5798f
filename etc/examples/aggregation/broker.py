#!/usr/bin/python3
"""A broker to try the examples with: named queues in memory, on python3-qpid-proton. usage: broker.py PORT

A link to an address is a producer or a consumer of the queue of that name. Messages are accepted when they are in the
queue, and leave it when a consumer has accepted them. Nothing is on disk: it is no broker to rely on.
"""
import sys
from collections import defaultdict, deque

from proton import Delivery
from proton.handlers import MessagingHandler
from proton.reactor import Container


class Broker(MessagingHandler):
    def __init__(self, port):
        super().__init__(prefetch=100, auto_accept=True)
        self.port, self.queues, self.consumers, self.sent = port, defaultdict(deque), defaultdict(list), {}

    def on_start(self, event):
        event.container.listen("127.0.0.1:%s" % self.port)

    def on_link_opening(self, event):
        link = event.link
        link.source.copy(link.remote_source)
        link.target.copy(link.remote_target)
        if link.is_sender:
            self.consumers[link.source.address].append(link)

    def on_link_closing(self, event):
        self.forget(event.link)

    def on_disconnected(self, event):
        for link in [link for links in self.consumers.values() for link in links]:
            if link.connection == event.connection:
                self.forget(link)

    def forget(self, link):
        """What a consumer had and did not accept is there again."""
        if link.is_sender and link in self.consumers[link.source.address]:
            self.consumers[link.source.address].remove(link)
        for tag in [tag for tag, (of, _) in self.sent.items() if of == link]:
            self.queues[link.source.address].appendleft(self.sent.pop(tag)[1])

    def on_message(self, event):
        name = event.link.target.address
        self.queues[name].append(event.message)
        self.dispatch(name)

    def on_sendable(self, event):
        self.dispatch(event.link.source.address)

    def dispatch(self, name):
        for link in self.consumers[name]:
            while self.queues[name] and link.credit > 0:
                message = self.queues[name].popleft()
                self.sent[(id(link), link.send(message).tag)] = link, message

    def on_settled(self, event):
        link, message = self.sent.pop((id(event.link), event.delivery.tag), (None, None))
        if link and event.delivery.remote_state != Delivery.ACCEPTED:
            self.queues[link.source.address].appendleft(message)
            self.dispatch(link.source.address)


try:
    Container(Broker(sys.argv[1])).run()
except KeyboardInterrupt:
    pass
