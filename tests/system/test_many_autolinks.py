"""Thousands of autoLinks, and a thousand clients behind one connection to the broker."""
import pytest
from proton import Endpoint, Message

from support.broker import Broker
from support.brokers import queue_config, with_broker
from support.deadline import seconds, wait_until
from support.peers import Peers
from support.router import Config
from support.swarm import Client, ReceiverLink, SenderLink, Swarm
from support.tool import output
from support.wire import ACCEPTED, message

pytestmark = pytest.mark.heavy

MANY, FEW, ATTACHES = 5000, 10, 1000


def attach_cost(router):
    """Processor time of the router for some attaches and detaches of clients, in seconds: the least of three rounds."""
    rounds = []
    with Peers() as peers:
        client = peers.connect(router)
        for _ in range(3):
            before = router.cpu_seconds()
            boxes = [client.receiver("client.%d" % number, credit=0, wait=False) for number in range(ATTACHES)]
            for box in boxes:
                box.wait_attached()
            for box in boxes:
                box.link.close()
            peers.wait(lambda: not any(box.link.state & Endpoint.REMOTE_ACTIVE for box in boxes), 30, "all to be detached")
            rounds.append(router.cpu_seconds() - before)
    return min(rounds)


def test_five_thousand_autolinks_start_fast_and_cost_clients_nothing(start_router):
    costs = {}
    with Broker() as broker:
        for count in (FEW, MANY):
            config = with_broker(Config(), broker)
            for number in range(count):
                config.add("autoLink", address="q.%d" % number, direction="in" if number % 2 else "out", connection="broker")
            known = len(broker.attaches)
            router = start_router(config)
            took = router.cpu_seconds()
            assert took < seconds(2), "%d autoLinks: %.2f s of a processor to start" % (count, took)
            wait_until(lambda: len(broker.attaches) == known + count, 60, lambda: "%d attaches" % len(broker.attaches))
            wait_until(lambda: output("qdstat", "-b", router.address, "--autolinks").count(" active ") == count, 30,
                       "all to be active")
            costs[count] = attach_cost(router)
    assert costs[MANY] <= 1.25 * costs[FEW] + 0.05, costs


class Producer:
    """One message for one link; what became of it."""

    def __init__(self, number):
        self.number, self.state = number, None
        self.waiting = [(number, [message(number)], False)]

    def next(self, link):
        return self.waiting.pop() if self.waiting else None

    def sent(self, number):
        pass

    def outcome(self, number, state):
        self.state = state

    def unknown(self, number):
        self.state = "unknown"


class Consumers:
    """What all of them got together."""

    def __init__(self):
        self.got = []

    def received(self, link, payload, said):
        whole = Message()
        whole.decode(payload)
        self.got.append(whole.body)
        return ACCEPTED


def test_broker_has_one_connection_for_a_thousand_clients(start_router):
    producers, consumers = [Producer(number) for number in range(500)], Consumers()
    with Broker(credit=1000) as broker:
        router = start_router(queue_config(broker))
        broker.wait_attached("wp.q", 2)
        swarm = Swarm(router)
        try:
            receivers = [Client(swarm, "consumer%d" % number).add(ReceiverLink("in", "wp.q", consumers, credit=10))
                         for number in range(500)]
            assert swarm.run(seconds(30), lambda: all(link.alive for link in receivers)), "consumers to be attached"
            for producer in producers:
                Client(swarm, "producer%d" % producer.number).add(SenderLink("out", "wp.q", producer, settled=False))
            assert swarm.run(seconds(30), lambda: all(producer.state for producer in producers)), "all outcomes"
            assert {producer.state for producer in producers} == {"accepted"}
            assert swarm.run(seconds(30), lambda: len(consumers.got) >= len(producers)), "all messages"
            assert sorted(consumers.got) == [producer.number for producer in producers]
            assert len(swarm.clients) == 1000
            assert (len(broker.connections), len(broker.attaches)) == (1, 2)
        finally:
            swarm.close()
