"""Thousands of autoLinks, and a thousand clients behind one connection to the broker."""
import time

import pytest
from proton import Endpoint

from support.broker import Broker
from support.deadline import seconds, wait_until
from support.peers import ACCEPTED, Peers
from support.router import Config
from support.tool import output
from test_autolink import queue_config, with_broker

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
            begun, known = time.monotonic(), len(broker.attaches)
            router = start_router(config)
            took = time.monotonic() - begun
            assert took < seconds(2), "%d autoLinks: %.2f s to start" % (count, took)
            wait_until(lambda: len(broker.attaches) == known + count, 60, lambda: "%d attaches" % len(broker.attaches))
            wait_until(lambda: output("qdstat", "-b", router.address, "--autolinks").count(" active ") == count, 30,
                       "all to be active")
            costs[count] = attach_cost(router)
    assert costs[MANY] <= 1.25 * costs[FEW] + 0.05, costs


def test_broker_has_one_connection_for_a_thousand_clients(start_router):
    clients = 1000
    with Broker(credit=1000) as broker, Peers() as peers:
        router = start_router(queue_config(broker))
        broker.wait_attached("wp.q", 2)
        connected = [peers.connect(router) for _ in range(clients)]
        consumers = [client.receiver("wp.q", credit=10, wait=False) for client in connected[:clients // 2]]
        producers = [client.sender("wp.q", wait=False) for client in connected[clients // 2:]]
        for box in consumers + producers:
            box.wait_attached()
        sent = [producer.send(number) for number, producer in enumerate(producers)]
        for producer, delivery in zip(producers, sent):
            assert producer.outcome(delivery).state == ACCEPTED
        peers.wait(lambda: sum(len(consumer.messages) for consumer in consumers) == len(sent), 30, "all messages")
        assert (len(broker.connections), len(broker.attaches)) == (1, 2)
