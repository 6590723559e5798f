"""A RabbitMQ broker behind the router, by autoLinks and by link routes: its queues are in the way of addresses, clients' links go
to them as they are, and it may die, or be stopped, under load."""
import re
import time
from collections import Counter

import pytest
from proton import Endpoint, Message

from support.brokers import ACTIVE, states, wait_active as wait_routes, wait_remote, wait_states
from support.deadline import seconds, wait_until
from support.peers import ACCEPTED, MODIFIED, settle
from support.rabbitmq import RabbitMQ
from support.router import Config
from support.tool import output
from test_explain import HEALTHY, explain

MISSING = "no queue 'missing' in vhost '/'"  # its words
pytestmark = pytest.mark.heavy  # a start takes ten seconds


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory):
    with RabbitMQ(tmp_path_factory.mktemp("rabbit"), queues=["orders", "load", "extra", "again", "routed.a", "routed.b"]) as broker:
        yield broker


def with_rabbit(config, broker):
    return config.add("connector", name="rabbit", host="127.0.0.1", port=broker.port, role="route-container",
                      saslMechanisms="ANONYMOUS")


def with_queue(config, queue):
    """The queue is in the way of the address of its name; RabbitMQ knows it as /amq/queue/NAME."""
    config.add("address", prefix=queue, waypoint=True)
    for direction in ("in", "out"):
        config.add("autoLink", address=queue, direction=direction, connection="rabbit",
                   externalAddress="/amq/queue/" + queue)
    return config


def with_routes(config):
    """Links to /queue/NAME, which RabbitMQ makes when it is not there, and to /amq/queue/routed.X."""
    for direction in ("in", "out"):
        config.add("linkRoute", prefix="queue", direction=direction, connection="rabbit")
        config.add("linkRoute", pattern="amq/*/routed.*", direction=direction, connection="rabbit")
    return config


def rabbit_config(broker, queue):
    return with_queue(with_rabbit(Config(), broker), queue)


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


def test_rabbitmq_gives_again_what_a_consumer_has_not_settled(start_router, peers, rabbit):
    """It does not list `modified` among its outcomes, and ends the session of one who says that: released is said instead."""
    router = start_router(rabbit_config(rabbit, "again"))
    wait_active(router, "again")
    producer = peers.connect(router).sender("again")
    for number in range(10):
        assert producer.outcome(producer.send(number, durable=True)).state == ACCEPTED
    first = peers.connect(router)
    first.receiver("again", credit=5, accept=False).wait_count(5)
    first.vanish()
    second = peers.connect(router)
    refusing = second.receiver("again", credit=1, accept=False)
    settle(refusing.take()[1], MODIFIED, failed=True)
    refusing.close()
    consumer = second.receiver("again", credit=100)
    consumer.wait_count(10)
    assert sorted(message.body for message in consumer.messages) == list(range(10))
    assert router.log().count("Auto Link Activated") == 2, "its links were not interrupted"


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


# -- link routes


@pytest.mark.parametrize("address", ["/queue/by-prefix", "/amq/queue/routed.a"], ids=["prefix", "pattern"])
@pytest.mark.parametrize("routers", [1, 2])
def test_rabbitmq_takes_links_of_clients_as_they_are(start_mesh, peers, rabbit, address, routers):
    """In and out; what a client has not settled is another's once it has gone, whichever way, and other links stay. The broker
    ends the session of who says an outcome that it does not know."""
    def conf(config):
        with_routes(with_rabbit(config, rabbit))

    mesh = start_mesh("AB", conf={"A": conf})
    wait_routes(mesh["A"], 4)
    wait_remote(mesh["B"], ("Cqueue", "Dqueue", "Eamq/*/routed.*", "Famq/*/routed.*"))
    client = peers.connect(mesh["AB"[routers - 1]])
    producer = client.sender(address)
    sent = [producer.send(Message(number, durable=True)) for number in range(20)]
    assert {producer.outcome(delivery).state for delivery in sent} == {ACCEPTED}
    for leave in ("close", "vanish"):
        other = peers.connect(mesh["AB"[routers - 1]])
        keeper = other.receiver(address, credit=5, accept=False)
        keeper.wait_count(5)
        peers.run_for(0.1)
        assert len(keeper.messages) == 5, "the credit is the client's own"
        getattr(other, leave)()
    refusing = client.receiver(address, credit=1, accept=False)
    settle(refusing.take()[1], MODIFIED, failed=True)
    refusing.close()
    assert producer.link.state & Endpoint.REMOTE_ACTIVE
    consumer = client.receiver(address, credit=100)
    consumer.wait_count(20)
    assert sorted(message.body for message in consumer.messages) == list(range(20))


# -- under load


class Load:
    """A producer that sends again what was not accepted, and a consumer that counts: what both know at the end decides. Links
    that are lost are attached again, a few times each second."""

    def __init__(self, peers, router, address, total, window=50):
        self.peers, self.address, self.window = peers, address, window
        self.client = peers.connect(router)
        self.producer, self.consumer = self.client.sender(address), self.client.receiver(address, credit=window)
        self.pending, self.under_way, self.accepted = list(range(total)), {}, set()
        self.retried, self.counts, self.lost = Counter(), Counter(), Counter()
        self.tried = 0

    def attach_again(self):
        if time.monotonic() < self.tried + 0.2:
            return
        self.tried = time.monotonic()
        for name, make in (("producer", lambda: self.client.sender(self.address, wait=False)),
                           ("consumer", lambda: self.client.receiver(self.address, credit=self.window, wait=False))):
            link = getattr(self, name).link
            if link.state & Endpoint.REMOTE_CLOSED:
                self.lost[link.remote_condition.name] += 1
                if name == "producer":
                    self.settle_all()
                link.close()
                setattr(self, name, make())

    def settle_all(self):
        for number, delivery in list(self.under_way.items()):
            if not delivery.settled and self.producer.link.state & Endpoint.REMOTE_ACTIVE:
                continue
            if delivery.remote_state == ACCEPTED:
                self.accepted.add(number)
            else:
                self.retried[str(delivery.remote_state)] += 1
                self.pending.append(number)
            delivery.settle()
            del self.under_way[number]

    def turn(self):
        self.attach_again()
        while self.pending and self.producer.credit and len(self.under_way) < self.window:
            number = self.pending.pop(0)
            self.under_way[number] = self.producer.send(Message(number, durable=True), wait_credit=False)
        self.peers.container.process()
        self.settle_all()
        while self.consumer.messages:
            self.counts[self.consumer.messages.popleft().body] += 1

    @property
    def done(self):
        return not self.pending and not self.under_way


def run_until(loads, condition, limit, what):
    end = time.monotonic() + seconds(limit)
    while not condition():
        assert time.monotonic() < end, "waited in vain for %s: %s" % (what, [
            "%s: %d accepted, %d to send, %d under way, %d received" % (
                load.address, len(load.accepted), len(load.pending), len(load.under_way), len(load.counts)) for load in loads])
        for load in loads:
            load.turn()


def assert_healthy(router, peers, address):
    """Until --explain says so: it may look at a moment at which credit is under way."""
    def is_healthy():
        peers.run_for(0.01)
        found.append(explain(router, address))
        return found[-1][0] == HEALTHY and found[-1][1]["state"] in ("idle", "moves")

    found = []
    wait_until(is_healthy, 20, lambda: "%s to be healthy; last: %s" % (address, found[-1][1]["sentence"]))


@pytest.mark.parametrize("end", [RabbitMQ.kill, RabbitMQ.stop], ids=["kill", "stop"])
def test_rabbitmq_ends_under_load_and_nothing_is_lost_nor_stuck(start_mesh, peers, rabbit, end):
    """By an autoLink and by a link route at once, clients at the broker's router and at another."""
    total, queue = 1500, "/amq/queue/routed.b"

    def conf(config):
        with_routes(with_queue(with_rabbit(config, rabbit), "load"))

    mesh = start_mesh("AB", conf={"A": conf, "B": lambda config: config.add("address", prefix="load", waypoint=True)})
    router = mesh["A"]
    wait_active(router, "load")
    wait_routes(router, 4)
    wait_remote(mesh["B"], ("Eamq/*/routed.*", "Famq/*/routed.*"))
    loads = [Load(peers, mesh[name], address, total) for address in ("load", queue) for name in "AB"]
    run_until(loads, lambda: all(len(load.accepted) >= 200 for load in loads), 60, "the first messages")
    end(rabbit)
    router.wait_log("Auto Link Deactivated")
    rabbit.launch()  # what is sent meanwhile is released, not lost, and links are refused
    run_until(loads, rabbit.is_ready, 90, "the broker")
    run_until(loads, lambda: all(load.done for load in loads), 120, "all to be accepted")
    for address in ("load", queue):
        mine = [load for load in loads if load.address == address]
        received = lambda: sum((load.counts for load in mine), Counter())
        run_until(loads, lambda: all(received()[number] >= 2 for number in range(total)), 60, "all to be received")
    assert all(load.retried for load in loads[:2]), "the end was noticed"
    assert all(set(load.lost) <= {"qd:routed-link-lost", "qd:no-route-to-dest", "amqp:not-found"} and load.lost for load in loads[2:])
    wait_active(router, "load")
    wait_routes(router, 4)
    for load in loads:
        assert load.producer.outcome(load.producer.send(Message("after", durable=True))).state == ACCEPTED
    run_until(loads, lambda: sum(load.counts["after"] for load in loads) == len(loads), 30, "messages after all that")
    for address in ("load", queue):
        assert_healthy(router, peers, address)
    rows = output("qdstat", "-b", router.address, "--autolinks")
    assert rows.count("active") == 2, rows
