"""AutoLinks: the router attaches links to a broker's queues by itself, and does so again whatever happens to them."""
from unittest.mock import ANY

import pytest
from proton import Message
from proton.utils import BlockingConnection, SyncRequestResponse

from support.broker import Broker
from support.brokers import ACTIVE, queue_config, states, wait_states, waypoint, with_broker
from support.deadline import seconds, wait_until
from support.mesh import Manager
from support.peers import ACCEPTED, MODIFIED, RELEASED
from support.router import Config
from support.tool import output

AUTOLINK = "org.apache.qpid.dispatch.router.config.autoLink"


@pytest.fixture
def broker():
    with Broker() as broker:
        yield broker


# -- the thin path


def test_messages_pass_the_brokers_queue_and_outlive_their_producer(start_router, peers, broker):
    router = start_router(queue_config(broker))
    broker.wait_attached("wp.q", 2)
    producer = peers.connect(router).sender("wp.q")
    for number in range(10):
        assert producer.outcome(producer.send(number)).state == ACCEPTED
    broker.wait_length("wp.q", 10)
    client = peers.connect(router)
    producer.peer.close()
    consumer = client.receiver("wp.q", credit=100)
    consumer.wait_count(10)
    assert [message.body for message in consumer.messages] == list(range(10))
    broker.wait_length("wp.q", 0)


def test_broker_sees_one_connection_whatever_the_clients(start_router, peers, broker):
    router = start_router(queue_config(broker))
    broker.wait_attached("wp.q", 2)
    clients = [peers.connect(router) for _ in range(40)]
    consumers = [client.receiver("wp.q", credit=5) for client in clients[:20]]
    producers = [client.sender("wp.q") for client in clients[20:]]
    for number, producer in enumerate(producers):
        assert producer.outcome(producer.send(number)).state == ACCEPTED
    peers.wait(lambda: sum(len(consumer.messages) for consumer in consumers) == len(producers), what="all messages")
    assert len(broker.connections) == 1 and len(broker.attaches) == 2


# -- what is told about them


def test_autolinks_are_shown_with_their_links_and_states(start_router, broker):
    config = queue_config(broker).add("autoLink", name="lost", address="x", direction="out", connection="nowhere")
    config.add("autoLink", address="ext", direction="in", externalAddress="remote/name", phase=0, containerId="broker")
    config.add("autoLink", address="fb", direction="in", fallback=True)
    router = start_router(config)
    wait_states(router, {("wp.q", "in"): ACTIVE, ("wp.q", "out"): ACTIVE, ("ext", "in"): ACTIVE, ("x", "out"): ("inactive", None)})
    manager = Manager(router)
    rows = manager.query("router.config.autoLink")
    links = {row["identity"]: row for row in manager.query("router.link", "identity", "owningAddr", "linkDir")}
    (figures,) = manager.query("router", "autoLinkCount")
    manager.close()
    assert [row["name"] for row in rows] == ["autoLink/0", "autoLink/1", "lost", "autoLink/3", "autoLink/4"]
    assert figures["autoLinkCount"] == 5
    assert [(links[row["linkRef"]]["owningAddr"], links[row["linkRef"]]["linkDir"]) for row in rows if row["linkRef"]] == [
        ("M0wp.q", "out"), ("M1wp.q", "in"), ("M0ext", "in")]
    assert {attach.address for attach in broker.attaches} == {"wp.q", "remote/name"}
    assert (rows[3]["phase"], rows[3]["externalAddress"], rows[3]["externalAddr"], rows[3]["containerId"]) == (
        0, "remote/name", "remote/name", "broker")
    assert (rows[4]["phase"], rows[4]["fallback"], rows[4]["operStatus"], rows[4]["linkRef"]) == (0, True, "inactive", None)
    shown = output("qdstat", "-b", router.address, "--autolinks")
    assert [line.split() for line in shown.splitlines() if line.split()[:1] == ["x"]] == [["x", "out", "0", "inactive"]]


def manage(router, operation, properties=None, body=None):
    connection = BlockingConnection(router.url, timeout=seconds(10), allowed_mechs="ANONYMOUS")
    answer = SyncRequestResponse(connection, "$management").call(
        Message(properties={"operation": operation, "type": AUTOLINK, **(properties or {})}, body=body or {}))
    connection.close()
    return answer.properties["statusCode"], answer.body


def test_autolinks_come_and_go_while_the_router_runs(start_router, peers, broker):
    router = start_router(with_broker(Config(), broker))
    wait_until(lambda: broker.connections, what="the router's connection")
    status, made = manage(router, "CREATE", {"name": "q-out"}, {"address": "balanced/q", "direction": "out",
                                                                "connection": "broker"})
    assert status == 201 and (made["name"], made["phase"], made["operStatus"]) == ("q-out", 0, "attaching")
    broker.wait_attached("balanced/q")
    producer = peers.connect(router).sender("balanced/q")
    assert producer.outcome(producer.send("x")).state == ACCEPTED
    assert broker.bodies("balanced/q") == ["x"]
    assert manage(router, "DELETE", {"name": "q-out"})[0] == 204
    broker.wait_attached("balanced/q", 0)
    assert producer.outcome(producer.send("y")).state == RELEASED
    assert manage(router, "DELETE", {"name": "q-out"})[0] == 404
    assert states(router) == {}


def test_public_articles_configuration_with_old_names(start_router, peers, broker):
    """Clients know the router's port alone; the broker has one connection, whose redirects are not followed."""
    config = Config(bare=True).add("router", mode="standalone", id="Router.A", workerThreads=4)
    config.listener("normal")
    for name, distribution in (("closest", "closest"), ("multicast", "multicast"), ("unicast", "closest"),
                               ("exclusive", "closest"), ("broadcast", "multicast")):
        config.add("address", prefix=name, distribution=distribution)
    config.add("connector", name="brokerConnector", host="127.0.0.1", port=broker.port, role="route-container",
               saslMechanisms="ANONYMOUS", allowRedirect="no")
    config.add("address", prefix="exampleAddress", waypoint=True)
    for direction in ("in", "out"):
        config.add("autoLink", addr="exampleAddress", dir=direction, connection="brokerConnector")
    router = start_router(config)
    broker.wait_attached("exampleAddress", 2)
    producer = peers.connect(router).sender("exampleAddress")
    for number in range(5):
        assert producer.outcome(producer.send(number)).state == ACCEPTED
    broker.wait_length("exampleAddress", 5)
    consumer = peers.connect(router).receiver("exampleAddress", credit=10)
    consumer.wait_count(5)
    assert len(broker.connections) == 1


# -- a broker's bad days


def test_refused_autolink_is_tried_again_after_three_and_six_seconds(start_router, broker):
    broker.refuse("wp.q", 3)
    router = start_router(queue_config(broker))
    wait_states(router, {("wp.q", "out"): ("failed", "no queue wp.q"), ("wp.q", "in"): ("failed", "no queue wp.q")})
    router.wait_log(r"Auto Link Activation Failed\. no queue wp\.q 'autoLink/0' on connection broker")
    broker.wait_attached("wp.q", 1, limit=5)
    wait_states(router, {("wp.q", "out"): ACTIVE, ("wp.q", "in"): ACTIVE}, limit=8)
    assert len(broker.attaches) == 5
    router.wait_log(r"Auto Link Activated 'autoLink/1' on connection broker")


def test_autolink_that_the_broker_detaches_comes_back_with_credit(start_router, peers, broker):
    router = start_router(queue_config(broker))
    consumer = peers.connect(router).receiver("wp.q", credit=100)
    broker.wait_attached("wp.q", 2)
    broker.put("wp.q", "before")
    assert consumer.next().body == "before"
    broker.detach("wp.q", "amqp:resource-deleted", "queue deleted")
    wait_states(router, {("wp.q", "in"): ("failed", "queue deleted"), ("wp.q", "out"): ("failed", "queue deleted")})
    broker.wait_attached("wp.q", 2)
    broker.put("wp.q", "after")
    assert consumer.next().body == "after"
    producer = peers.connect(router).sender("wp.q")
    assert producer.outcome(producer.send("again")).state == ACCEPTED
    assert consumer.next().body == "again"
    wait_states(router, {("wp.q", "in"): ACTIVE, ("wp.q", "out"): ACTIVE})


def test_broker_that_ends_sessions_takes_the_other_autolinks_along_but_once(start_router, peers, broker):
    broker.missing.add("missing")
    config = queue_config(broker).add("autoLink", address="missing", direction="out", connection="broker")
    router = start_router(config)
    wait_states(router, {("missing", "out"): ("failed", "there is no missing")})
    broker.wait_attached("wp.q", 2)
    wait_until(lambda: sum(attach.address == "missing" for attach in broker.attaches) >= 3, 15, "a third attempt")
    wait_states(router, {("wp.q", "in"): ACTIVE, ("wp.q", "out"): ACTIVE})
    assert sum(attach.address == "wp.q" for attach in broker.attaches) <= 4
    producer = peers.connect(router).sender("wp.q")
    assert producer.outcome(producer.send("x")).state == ACCEPTED


def test_autolinks_wait_for_the_broker_and_survive_its_restart(start_router, peers, broker):
    router = start_router(queue_config(broker))
    broker.wait_attached("wp.q", 2)
    producer = peers.connect(router).sender("wp.q")
    assert producer.outcome(producer.send(0)).state == ACCEPTED
    broker.stop()
    wait_states(router, {("wp.q", "in"): ("inactive", None), ("wp.q", "out"): ("inactive", None)})
    assert producer.outcome(producer.send(1, wait_credit=False)).state == RELEASED
    broker.start()
    broker.wait_attached("wp.q", 2, limit=20)
    assert producer.outcome(producer.send(2)).state == ACCEPTED
    assert broker.bodies("wp.q") == [0, 2]


def test_nothing_is_lost_when_the_broker_vanishes_again_and_again_under_load(start_router, peers, broker):
    """What the producer was told is accepted arrives; what it was not, it sends again."""
    router = start_router(queue_config(broker))
    broker.wait_attached("wp.q", 2)
    producer = peers.connect(router).sender("wp.q")
    consumer = peers.connect(router).receiver("wp.q", credit=50)
    pending, total = list(range(600)), 600
    under_way = {}
    rounds = 0
    while pending or under_way:
        while pending and producer.credit and len(under_way) < 100:
            number = pending.pop(0)
            under_way[number] = producer.send(number, wait_credit=False)
        peers.container.process()
        for number, delivery in list(under_way.items()):
            if delivery.settled:
                if delivery.remote_state != ACCEPTED:
                    pending.append(number)
                delivery.settle()
                del under_way[number]
        if rounds < 3 and len(pending) < total - (rounds + 1) * 150:
            rounds += 1
            broker.vanish()
            wait_until(lambda: not broker.links, what="the links to go")
    peers.wait(lambda: {message.body for message in consumer.messages} == set(range(total)), 30,
               what=lambda: "all messages; missing %s" % sorted(set(range(total)) - {m.body for m in consumer.messages}))
    assert rounds == 3
    broker.wait_length("wp.q", 0)
    assert producer.outcome(producer.send("last")).state == ACCEPTED
    peers.wait(lambda: consumer.messages[-1].body == "last", what="the last one")
    wait_states(router, {("wp.q", "in"): ACTIVE, ("wp.q", "out"): ACTIVE})


def test_unsettled_messages_of_a_broker_that_goes_are_modified(start_router, peers, broker):
    broker.credit = 1000
    router = start_router(queue_config(broker))
    broker.wait_attached("wp.q", 2)
    producer = peers.connect(router).sender("wp.q")
    producer.wait_credit()
    broker.do(lambda: setattr(broker, "store", lambda name, message: broker._drop()))
    delivery = producer.send("never stored")
    outcome = producer.outcome(delivery)
    assert outcome.state in (MODIFIED, RELEASED, ACCEPTED)
    if outcome.state == MODIFIED:
        assert outcome.failed


# -- who connects, and by which name


def test_broker_that_dials_the_router_is_found_by_container_id(start_router, peers):
    config = Config().listener("brokers", role="route-container")
    for direction in ("out", "in"):
        config.add("autoLink", address="wp.q", direction=direction, containerId="inventory")
    router = start_router(config.add("address", prefix="wp", waypoint=True))
    with Broker(connect_to=(router.host, router.ports["brokers"]), container_id="someone-else") as other, \
            Broker(connect_to=(router.host, router.ports["brokers"]), container_id="inventory") as inventory:
        inventory.wait_attached("wp.q", 2)
        producer = peers.connect(router).sender("wp.q")
        assert producer.outcome(producer.send("x")).state == ACCEPTED
        assert inventory.bodies("wp.q") == ["x"]
        assert not other.attaches


def test_connection_that_is_no_route_container_gets_no_autolinks(start_router, peers, broker):
    config = Config().add("connector", name="broker", host="127.0.0.1", port=broker.port, role="normal",
                          saslMechanisms="ANONYMOUS")
    router = start_router(waypoint(config))
    wait_until(lambda: broker.connections, what="the connection")
    router.wait_log(r"Connection Opened: dir=out")
    peers.run_for(0.2)
    assert not broker.attaches
    assert set(states(router).values()) == {("inactive", None)}


def test_fallback_autolink_takes_what_nobody_wants(start_router, peers, broker):
    config = with_broker(Config().add("address", prefix="fb", enableFallback=True), broker)
    config.add("autoLink", address="fb.q", direction="out", connection="broker", fallback=True)
    config.add("autoLink", address="fb.q", direction="in", connection="broker", fallback=True)
    router = start_router(config)
    broker.wait_attached("fb.q", 1, is_sender=True)
    producer = peers.connect(router).sender("fb.q")
    assert producer.outcome(producer.send("kept")).state == ACCEPTED
    wait_until(lambda: broker.attached("fb.q") == 2, what="both links")
    assert broker.bodies("fb.q") == ["kept"], "and stays there, it does not go round"
    consumer = peers.connect(router).receiver("fb.q")
    assert consumer.next().body == "kept", "what was kept comes to the consumer once there is one"
    assert producer.outcome(producer.send("direct")).state == ACCEPTED
    assert consumer.next().body == "direct"
    broker.wait_length("fb.q", 0)


# -- a queue that is spread over several brokers


def sharded(config, brokers, queue="wp.q"):
    for number, broker in enumerate(brokers):
        with_broker(config, broker, name="broker%d" % number)
        waypoint(config, queue, name="broker%d" % number)
    return config


def test_sharded_queue_balances_producers_and_is_drained_by_every_consumer(start_router, peers):
    with Broker() as a, Broker() as b, Broker() as c:
        router = start_router(sharded(Config().add("address", prefix="wp", waypoint=True), (a, b, c)))
        for broker in (a, b, c):
            broker.wait_attached("wp.q", 2)
        producer = peers.connect(router).sender("wp.q")
        for delivery in [producer.send(number) for number in range(90)]:
            assert producer.outcome(delivery).state == ACCEPTED
        lengths = [len(broker.queue("wp.q")) for broker in (a, b, c)]
        assert sum(lengths) == 90 and min(lengths) >= 15, lengths
        consumer = peers.connect(router).receiver("wp.q", credit=100)
        consumer.wait_count(90)
        assert sorted(message.body for message in consumer.messages) == list(range(90))


def test_sharded_queue_goes_on_without_one_of_its_brokers(start_router, peers):
    with Broker() as a, Broker() as b:
        router = start_router(sharded(Config().add("address", prefix="wp", waypoint=True), (a, b)))
        for broker in (a, b):
            broker.wait_attached("wp.q", 2)
        producer = peers.connect(router).sender("wp.q")
        a.stop()
        router.wait_log("Auto Link Deactivated 'autoLink/1'")
        for number in range(20):
            assert producer.outcome(producer.send(number)).state == ACCEPTED
        assert b.bodies("wp.q") == list(range(20))


def test_several_brokers_that_dial_one_listener_share_an_autolink(start_router, peers):
    config = Config().listener("brokers", role="route-container")
    router = start_router(waypoint(config.add("address", prefix="wp", waypoint=True), name="brokers"))
    address = router.host, router.ports["brokers"]
    with Broker(connect_to=address, container_id="a") as a, Broker(connect_to=address, container_id="b") as b:
        for broker in (a, b):
            broker.wait_attached("wp.q", 2)
        producer = peers.connect(router).sender("wp.q")
        for delivery in [producer.send(number) for number in range(60)]:
            assert producer.outcome(delivery).state == ACCEPTED
        assert min(len(broker.queue("wp.q")) for broker in (a, b)) > 0
        a.vanish()
        consumer = peers.connect(router).receiver("wp.q", credit=100)
        consumer.wait_count(len(b.queue("wp.q")))
        # The last error may be that of the broker that has gone: its Proton may have detached before it fell silent.
        wait_states(router, {("wp.q", "in"): ("active", ANY), ("wp.q", "out"): ("active", ANY)})


def test_sharded_queue_over_two_routers_is_drained_from_either(start_mesh, peers):
    with Broker() as a, Broker() as b:
        def conf(broker):
            return lambda config: waypoint(with_broker(config.add("address", prefix="wp", waypoint=True), broker))
        mesh = start_mesh("AB", conf={"A": conf(a), "B": conf(b)})
        for broker in (a, b):
            broker.wait_attached("wp.q", 2)
        for name in "AB":
            mesh.wait_subscribed("wp.q", at=name, remote=1, local=1)
        producer = peers.connect(mesh["A"]).sender("wp.q")
        sent = [producer.send(number) for number in range(80)]
        assert {producer.outcome(delivery).state for delivery in sent} == {ACCEPTED}
        assert len(a.queue("wp.q")) + len(b.queue("wp.q")) == 80 and len(b.queue("wp.q")) > 0
        consumer = peers.connect(mesh["A"]).receiver("wp.q", credit=100)
        consumer.wait_count(80, limit=20)
        assert sorted(message.body for message in consumer.messages) == list(range(80))
