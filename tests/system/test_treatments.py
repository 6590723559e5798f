"""Closest, balanced, multicast and unavailable, by prefix and by pattern (wire-protocol.md section 6.3)."""
import pytest

from support.peers import ACCEPTED, MODIFIED, REJECTED, RELEASED, settle
from support.router import Config
from support.tool import output


def send_all(outbox, count):
    """Send messages with the bodies 0, 1, ...; return their deliveries."""
    return [outbox.send(number) for number in range(count)]


def bodies(inbox):
    return [message.body for message in inbox.messages]


@pytest.mark.parametrize("workers", [1, 4])
def test_closest_gives_each_local_consumer_its_turn(start_router, peers, workers):
    router = start_router(Config(workerThreads=workers))
    inboxes = [peers.connect(router).receiver("closest/turns", credit=100) for _ in range(3)]
    outbox = peers.connect(router).sender("closest/turns")
    for delivery in send_all(outbox, 30):
        assert outbox.outcome(delivery).state == ACCEPTED
    assert sorted(sum((bodies(inbox) for inbox in inboxes), [])) == list(range(30))
    assert [len(inbox.messages) for inbox in inboxes] == [10, 10, 10]
    for inbox in inboxes:
        assert bodies(inbox) == sorted(bodies(inbox)), "out of order"


def test_one_sender_to_one_consumer_keeps_the_order(router, peers):
    inbox = peers.connect(router).receiver("closest/order", credit=50)
    outbox = peers.connect(router).sender("closest/order")
    deliveries = send_all(outbox, 1000)
    inbox.wait_count(1000)
    assert bodies(inbox) == list(range(1000))
    assert all(outbox.outcome(delivery).state == ACCEPTED for delivery in deliveries)


def test_balanced_spares_a_consumer_that_does_not_settle(router, peers):
    slow = peers.connect(router).receiver("balanced/spare", credit=100, accept=False)
    quick = peers.connect(router).receiver("balanced/spare", credit=100)
    outbox = peers.connect(router).sender("balanced/spare")
    for number in range(20):
        delivery = outbox.send(number)
        peers.wait(lambda: len(slow.messages) + len(quick.messages) > number, what="message %d" % number)
        if number in bodies(quick):
            assert outbox.outcome(delivery).state == ACCEPTED  # so that quick has nothing outstanding
    assert len(slow.messages) == 1
    assert len(quick.messages) == 19


def test_balanced_shares_among_equally_quick_consumers(router, peers):
    inboxes = [peers.connect(router).receiver("balanced/share", credit=1000) for _ in range(4)]
    outbox = peers.connect(router).sender("balanced/share")
    for delivery in send_all(outbox, 200):
        outbox.outcome(delivery)
    counts = [len(inbox.messages) for inbox in inboxes]
    assert sum(counts) == 200
    assert min(counts) > 0, counts


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("presettled", [False, True], ids=["unsettled", "presettled"])
def test_multicast_gives_every_consumer_every_message(start_router, peers, workers, presettled):
    router = start_router(Config(workerThreads=workers))
    inboxes = [peers.connect(router).receiver("multicast/all", credit=500) for _ in range(5)]
    outbox = peers.connect(router).sender("multicast/all", presettled=presettled)
    deliveries = send_all(outbox, 100)
    for inbox in inboxes:
        inbox.wait_count(100)
        assert bodies(inbox) == list(range(100))
    if not presettled:
        assert all(outbox.outcome(delivery).state == ACCEPTED for delivery in deliveries)


def test_multicast_to_a_sender_on_the_same_connection_arrives_too(router, peers):
    both = peers.connect(router)
    inbox, outbox = both.receiver("multicast/own"), both.sender("multicast/own")
    outbox.send("echo")
    assert inbox.next().body == "echo"


@pytest.mark.parametrize("given, expected", [
    ((ACCEPTED, ACCEPTED), ACCEPTED), ((ACCEPTED, RELEASED), ACCEPTED), ((ACCEPTED, MODIFIED), ACCEPTED),
    ((ACCEPTED, REJECTED), REJECTED), ((MODIFIED, RELEASED), MODIFIED), ((RELEASED, RELEASED), RELEASED),
    ((REJECTED, RELEASED, ACCEPTED), REJECTED),
], ids=str)
def test_multicast_outcome_is_the_highest_ranking_of_all(router, peers, given, expected):
    """rejected, then accepted, then modified, then released; and only once every copy has its outcome."""
    inboxes = [peers.connect(router).receiver("multicast/rank", accept=False) for _ in given]
    outbox = peers.connect(router).sender("multicast/rank")
    sent = outbox.send("ranked")
    copies = [inbox.take()[1] for inbox in inboxes]
    for delivery, outcome in list(zip(copies, given))[:-1]:
        settle(delivery, outcome)
    peers.run_for(0.2)
    assert not sent.settled, "settled before the last copy was"
    settle(copies[-1], given[-1])
    assert outbox.outcome(sent).state == expected


def test_multicast_consumer_that_vanishes_holds_nothing_up(router, peers):
    stays, leaves = (peers.connect(router).receiver("multicast/leave", accept=False) for _ in range(2))
    outbox = peers.connect(router).sender("multicast/leave")
    sent = outbox.send("x")
    settle(stays.take()[1], ACCEPTED)
    leaves.take()
    leaves.peer.vanish()
    assert outbox.outcome(sent).state == ACCEPTED


def copies_of_one(peers, router, address):
    """How many of two consumers get a message to that address."""
    inboxes = [peers.connect(router).receiver(address) for _ in range(2)]
    outbox = peers.connect(router).sender(address)
    outbox.outcome(outbox.send("x"))
    return sum(len(inbox.messages) for inbox in inboxes)


@pytest.mark.parametrize("address, copies", [
    ("multicast", 2), ("multicast/a", 2), ("multicast.a", 2), ("multicast/a/b.c", 2), ("multicasts", 1), ("a/multicast", 1)])
def test_prefix_matches_whole_tokens_from_the_start(router, peers, address, copies):
    assert copies_of_one(peers, router, address) == copies


@pytest.mark.parametrize("address, copies", [
    ("a/b/c", 2), ("a.b.c", 2), ("a/c", 1), ("a/b/b/c", 1), ("deep/x/end", 2), ("deep/end", 2), ("deep/1/2/3/end", 2),
    ("deep/end/1", 1), ("a/exact/c", 1)])
def test_pattern_matches_tokens(start_router, peers, address, copies):
    """`*` is one token, `#` none or more; a literal goes before `*`, that before `#`."""
    config = Config()
    config.add("address", pattern="a/*/c", distribution="multicast")
    config.add("address", pattern="a/exact/c", distribution="closest")
    config.add("address", pattern="a/#", distribution="closest")
    config.add("address", pattern="deep/#/end", distribution="multicast")
    assert copies_of_one(peers, start_router(config), address) == copies


def test_default_distribution_is_that_of_the_router(start_router, peers):
    assert copies_of_one(peers, start_router(Config(defaultDistribution="multicast")), "unknown/address") == 2


def test_address_of_an_unavailable_default_is_refused(start_router, peers):
    router = start_router(Config(defaultDistribution="unavailable"))
    peer = peers.connect(router)
    for link in (peer.sender("nowhere", wait=False), peer.receiver("nowhere", wait=False)):
        assert link.wait_detached() == ("amqp:not-found", "Node not found")
    assert copies_of_one(peers, router, "multicast/known") == 2


def test_unavailable_address_is_refused_beside_others(start_router, peers):
    config = Config().add("address", prefix="closed", distribution="unavailable")
    peer = peers.connect(start_router(config))
    assert peer.sender("closed/a", wait=False).wait_detached() == ("amqp:not-found", "Node not found")
    assert peer.receiver("closed/a", wait=False).wait_detached() == ("amqp:not-found", "Node not found")
    assert peer.receiver("open/a")


def test_anonymous_message_to_an_unavailable_address_is_rejected(start_router, peers):
    config = Config().add("address", prefix="closed", distribution="unavailable")
    outbox = peers.connect(start_router(config)).sender(None)
    outcome = outbox.outcome(outbox.send("x", to="closed/a"))
    assert outcome.state == REJECTED
    assert outcome.error.name == "amqp:not-found"
    assert outcome.error.description == "Deliveries cannot be sent to an unavailable address"


def test_the_public_article_s_configuration_works(start_router, peers):
    """Standalone, four workers, five prefixes: as in the article that introduced the router, but for the port."""
    config = Config(bare=True)
    config.add("router", mode="standalone", id="Router.A.0", workerThreads=4)
    config.sections.append(("listener", {"name": "normal", "host": "0.0.0.0", "port": 0, "authenticatePeer": "no",
                                         "saslMechanisms": "ANONYMOUS"}))
    config.listeners.append("normal")
    for prefix, distribution in (("closest", "closest"), ("multicast", "multicast"), ("unicast", "closest"),
                                 ("exclusive", "closest"), ("broadcast", "multicast")):
        config.add("address", prefix=prefix, distribution=distribution)
    router = start_router(config)
    for prefix, copies in (("closest", 1), ("multicast", 2), ("unicast", 1), ("exclusive", 1), ("broadcast", 2)):
        assert copies_of_one(peers, router, prefix + "/a") == copies
    connections = output("qdstat", "-b", "0.0.0.0:%d" % router.port, "-c").splitlines()
    assert connections[1:3] == ["Router.A.0", ""] and connections[3] == "Connections"
    assert any(" in   no-security  anonymous-user " in line for line in connections)
