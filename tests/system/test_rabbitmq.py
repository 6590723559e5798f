"""A RabbitMQ broker behind the router, by autoLinks: its queue is in the way of an address, and it may die under load."""
import re
import time
from collections import Counter

import pytest
from proton import Message

from support.brokers import ACTIVE, states, wait_states
from support.deadline import seconds, wait_until
from support.peers import ACCEPTED, Peers
from support.rabbitmq import RabbitMQ
from support.router import Config
from support.tool import output

MISSING = "no queue 'missing' in vhost '/'"  # its words
pytestmark = pytest.mark.heavy  # a start takes ten seconds


@pytest.fixture
def peers():
    with Peers() as peers:
        yield peers


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory):
    with RabbitMQ(tmp_path_factory.mktemp("rabbit"), queues=["orders", "load", "extra"]) as broker:
        yield broker


def rabbit_config(broker, queue):
    """The queue is in the way of the address of its name; RabbitMQ knows it as /amq/queue/NAME."""
    config = Config().add("address", prefix=queue, waypoint=True)
    config.add("connector", name="rabbit", host="127.0.0.1", port=broker.port, role="route-container",
               saslMechanisms="ANONYMOUS")
    for direction in ("in", "out"):
        config.add("autoLink", address=queue, direction=direction, connection="rabbit",
                   externalAddress="/amq/queue/" + queue)
    return config


def wait_active(router, queue, limit=30):
    wait_states(router, {(queue, "in"): ACTIVE, (queue, "out"): ACTIVE}, limit)


def test_rabbitmq_keeps_messages_for_later_consumers(start_router, peers, rabbit):
    router = start_router(rabbit_config(rabbit, "orders"))
    wait_active(router, "orders")
    producer = peers.connect(router).sender("orders")
    for number in range(20):
        assert producer.outcome(producer.send(number, durable=True)).state == ACCEPTED
    consumer = peers.connect(router).receiver("orders", credit=100)
    consumer.wait_count(20)
    assert [message.body for message in consumer.messages] == list(range(20))


def test_rabbitmq_has_not_one_of_the_queues_and_the_others_work(start_router, peers, rabbit):
    """It ends the session in which such an attach came, with every link in it: each gets a session of its own then."""
    config = rabbit_config(rabbit, "extra")
    config.add("autoLink", address="missing", direction="in", connection="rabbit", externalAddress="/amq/queue/missing")
    router = start_router(config)
    wait_until(lambda: MISSING in (states(router)["missing", "in"][1] or ""), 20, what=lambda: states(router))
    wait_active(router, "extra")
    router.wait_log(r"(Auto Link Activation Failed\. [^\n]*%s[^\n]*'autoLink/2'(.|\n)*?){3}" % re.escape(MISSING), limit=30)
    wait_active(router, "extra", limit=1)
    assert [router.log().count("Auto Link Activated 'autoLink/%d'" % number) for number in (0, 1)] in ([1, 1], [2, 2])
    producer = peers.connect(router).sender("extra")
    assert producer.outcome(producer.send("x")).state == ACCEPTED


class Load:
    """A producer that sends again what was not accepted, and a consumer that counts: what both know at the end decides."""

    def __init__(self, peers, router, address, total, window=50):
        self.peers, self.window = peers, window
        self.producer = peers.connect(router).sender(address)
        self.consumer = peers.connect(router).receiver(address, credit=window)
        self.pending, self.under_way, self.accepted = list(range(total)), {}, set()
        self.retried = Counter()

    def turn(self):
        while self.pending and self.producer.credit and len(self.under_way) < self.window:
            number = self.pending.pop(0)
            self.under_way[number] = self.producer.send(Message(number, durable=True), wait_credit=False)
        self.peers.container.process()
        for number, delivery in list(self.under_way.items()):
            if not delivery.settled:
                continue
            if delivery.remote_state == ACCEPTED:
                self.accepted.add(number)
            else:
                self.retried[str(delivery.remote_state)] += 1
                self.pending.append(number)
            delivery.settle()
            del self.under_way[number]

    def run_until(self, condition, limit, what):
        end = time.monotonic() + seconds(limit)
        while not condition():
            assert time.monotonic() < end, "waited in vain for %s: %d accepted, %d to send, %d under way, %d received" % (
                what, len(self.accepted), len(self.pending), len(self.under_way), len(self.consumer.messages))
            self.turn()

    def received(self):
        return Counter(message.body for message in self.consumer.messages)


def test_rabbitmq_killed_under_load_loses_nothing_and_leaves_no_stuck_link(start_router, peers, rabbit):
    total = 3000
    router = start_router(rabbit_config(rabbit, "load"))
    wait_active(router, "load")
    load = Load(peers, router, "load", total)
    load.run_until(lambda: len(load.accepted) >= 600, 30, "the first messages")
    rabbit.kill()
    router.wait_log("Auto Link Deactivated")
    for _ in range(20):  # what is sent meanwhile is released, not lost
        load.turn()
    rabbit.start()
    load.run_until(lambda: len(load.accepted) == total, 90, "all to be accepted")
    load.run_until(lambda: set(load.received()) == set(range(total)), 60, "all to be received")
    assert load.retried, "the kill was noticed"
    wait_active(router, "load")
    last = load.producer.send(Message("after", durable=True))
    assert load.producer.outcome(last).state == ACCEPTED
    peers.wait(lambda: load.consumer.messages[-1].body == "after", what="a message after all that")
    rows = output("qdstat", "-b", router.address, "--autolinks")
    assert rows.count("active") == 2, rows
