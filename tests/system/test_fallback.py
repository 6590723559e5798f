"""Fallback destinations: what finds no consumer anywhere goes there, and only then (wire-protocol 5.5)."""
import pytest
from proton import Message
from proton.utils import BlockingConnection, SyncRequestResponse

from support.mesh import Manager
from support.peers import ACCEPTED, MODIFIED, RELEASED
from support.router import Config
from support.waypoint import Capability

FALLBACK = [Capability("qd.fallback")]


def rule(config, distribution="balanced"):
    return config.add("address", prefix="fb", distribution=distribution, enableFallback=True)


def bodies(inbox):
    return [message.body for message in inbox.messages]


@pytest.mark.parametrize("distribution", ("balanced", "closest", "multicast"))
def test_fallback_takes_over_when_the_last_consumer_has_gone_and_gives_back_at_once(start_router, peers, distribution):
    router = start_router(rule(Config(), distribution))
    producer, anonymous = peers.connect(router).sender("fb.q"), peers.connect(router).sender(None)
    peers.run_for(0.1)
    assert producer.credit == 0
    fallback = peers.connect(router).receiver("fb.q", credit=100, options=FALLBACK)
    primary = None
    for number in range(12):
        if number % 6 == 3:
            primary = peers.connect(router).receiver("fb.q", credit=100)
        elif number % 6 == 0 and primary:
            primary.close()
            primary = None
        before = len(fallback.messages)
        delivery = anonymous.send(number, to="fb.q") if number % 2 else producer.send(number)
        assert (anonymous if number % 2 else producer).outcome(delivery).state == ACCEPTED
        if primary:
            assert primary.next().body == number and len(fallback.messages) == before
        else:
            assert bodies(fallback)[-1] == number and len(fallback.messages) == before + 1
    fallback.close()
    primary.close()
    assert producer.outcome(producer.send("nobody", wait_credit=False)).state == RELEASED


def test_fallback_redirections_are_counted_and_shown(start_router, peers):
    router = start_router(rule(Config()))
    fallback = peers.connect(router).receiver("fb.q", credit=100, options=FALLBACK)
    producer = peers.connect(router).sender("fb.q")
    for number in range(3):
        assert producer.outcome(producer.send(number)).state == ACCEPTED
    manager = Manager(router)
    rows = {row["key"]: row for row in manager.query("router.address", "key", "deliveriesRedirectedToFallback",
                                                     "subscriberCount", "distribution")}
    (total,) = manager.query("router", "deliveriesRedirectedToFallback")
    manager.close()
    assert (rows["M0fb.q"]["deliveriesRedirectedToFallback"], rows["M0fb.q"]["subscriberCount"]) == (3, 0)
    assert (rows["MFfb.q"]["subscriberCount"], rows["MFfb.q"]["distribution"]) == (1, "balanced")
    assert total["deliveriesRedirectedToFallback"] == 3
    assert bodies(fallback) == [0, 1, 2]


def test_fallback_order_of_a_sender_is_kept_as_the_consumer_comes_and_goes(start_router, peers):
    router = start_router(rule(Config()))
    producer = peers.connect(router).sender("fb.q")
    fallback = peers.connect(router).receiver("fb.q", credit=1000, options=FALLBACK)
    primary = peers.connect(router).receiver("fb.q", credit=1000)
    for number in range(200):
        if number == 100:
            primary.wait_count(100)
            primary.close()
        producer.send(number)
    fallback.wait_count(100)
    assert bodies(primary) + bodies(fallback) == list(range(200))


def test_fallback_consumer_of_an_address_without_fallback_gets_nothing(start_router, peers):
    router = start_router()
    fallback = peers.connect(router).receiver("balanced/q", options=FALLBACK)
    producer = peers.connect(router).sender("balanced/q")
    peers.run_for(0.2)
    assert producer.credit == 0
    anonymous = peers.connect(router).sender(None)
    assert anonymous.outcome(anonymous.send("x", to="balanced/q")).state == RELEASED
    assert not fallback.messages


def test_fallback_capability_of_a_producer_means_nothing(start_router, peers):
    router = start_router(rule(Config()))
    primary = peers.connect(router).receiver("fb.q")
    producer = peers.connect(router).sender("fb.q", options=FALLBACK)
    assert producer.outcome(producer.send("x")).state == ACCEPTED
    assert primary.next().body == "x"


def test_fallback_release_ends_the_message(start_router, peers):
    router = start_router(rule(Config()))
    fallback = peers.connect(router).receiver("fb.q", accept=False, options=FALLBACK)
    producer = peers.connect(router).sender("fb.q")
    delivery = producer.send("x")
    _, held = fallback.take()
    held.update(RELEASED)
    held.settle()
    assert producer.outcome(delivery).state == RELEASED


def test_fallback_gets_what_waited_for_the_last_consumer(start_router, peers):
    """Not sent yet: it goes on to the fallback. Sent and not settled: its sender must know."""
    router = start_router(rule(Config()))
    primary = peers.connect(router).receiver("fb.q", credit=2, accept=False)
    fallback = peers.connect(router).receiver("fb.q", credit=10, options=FALLBACK)
    producer = peers.connect(router).sender("fb.q")
    deliveries = [producer.send(number) for number in range(5)]
    primary.wait_count(2)
    primary.peer.vanish()
    assert [producer.outcome(delivery).state for delivery in deliveries] == [MODIFIED] * 2 + [ACCEPTED] * 3
    assert bodies(fallback) == [2, 3, 4]


def test_fallback_rule_made_while_running_holds_for_addresses_in_use(start_router, peers):
    router = start_router()
    producer = peers.connect(router).sender("late.q")
    connection = BlockingConnection(router.url, timeout=10, allowed_mechs="ANONYMOUS")
    answer = SyncRequestResponse(connection, "$management").call(Message(
        properties={"operation": "CREATE", "type": "org.apache.qpid.dispatch.router.config.address", "name": "late"},
        body={"prefix": "late", "enableFallback": True}))
    assert answer.properties["statusCode"] == 201 and answer.body["fallback"] is True
    connection.close()
    fallback = peers.connect(router).receiver("late.q", options=FALLBACK)
    assert producer.outcome(producer.send("x")).state == ACCEPTED
    assert fallback.next().body == "x"


# -- several routers


def test_fallback_elsewhere_is_used_only_while_no_router_has_a_consumer(start_mesh, peers):
    """Producers at A, the fallback at C behind B, consumers at any router in turn."""
    mesh = start_mesh("AB BC", conf={name: rule for name in "ABC"})
    fallback = peers.connect(mesh["C"]).receiver("fb.q", credit=100, options=FALLBACK)
    producer, anonymous = peers.connect(mesh["A"]).sender("fb.q"), peers.connect(mesh["A"]).sender(None)
    producer.wait_credit()
    expected = []
    for place in "ABC":
        for box in (producer, anonymous):
            body = "before " + place
            assert box.outcome(box.send(body, to="fb.q")).state == ACCEPTED
            expected.append(body)
        primary = peers.connect(mesh[place]).receiver("fb.q", credit=100)
        mesh.wait_subscribed("fb.q", at="A", remote=int(place != "A"), local=int(place == "A"))
        for box in (producer, anonymous):
            assert box.outcome(box.send("to " + place, to="fb.q")).state == ACCEPTED
            assert primary.next().body == "to " + place
        primary.close()
        mesh.wait_subscribed("fb.q", at="A")
    assert bodies(fallback) == expected


def test_fallback_at_the_next_router_catches_what_came_for_a_consumer_that_has_gone(start_mesh, peers):
    """A does not know yet that the consumer at B has gone: B redirects by itself."""
    mesh = start_mesh("AB", conf={name: rule for name in "AB"})
    fallback = peers.connect(mesh["B"]).receiver("fb.q", credit=100, options=FALLBACK)
    primary = peers.connect(mesh["B"]).receiver("fb.q", credit=100)
    mesh.wait_subscribed("fb.q", at="A", remote=1)
    producer = peers.connect(mesh["A"]).sender("fb.q")
    assert producer.outcome(producer.send("first")).state == ACCEPTED
    primary.close()
    assert producer.outcome(producer.send("second")).state == ACCEPTED
    assert (bodies(primary), bodies(fallback)) == (["first"], ["second"])
