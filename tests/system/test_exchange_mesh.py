"""Exchanges of several routers: none sends in a circle, each receiver has one copy; those of edge routers serve the network."""
import itertools
import json
import re

import pytest
from proton import Described, Message, symbol, ulong

from support.deadline import wait_until
from support.mesh import Manager, full
from support.old_router import OldRouter
from support.old_words import ANNOTATIONS
from support.peers import ACCEPTED, RELEASED
from support.router import Config
from support.tool import output
from support.wire import encode

MESSAGES = 10


def exchange(config, name, *hops, **more):
    """An exchange at address x/NAME that sends everything to each of the hops."""
    config.add("exchange", name=name, address="x/" + name, **more)
    for hop in hops:
        config.add("binding", exchangeName=name, bindingKey="#", nextHopAddress=hop)
    return config


def counts(router):
    """{name of an exchange: (received, forwarded, dropped)}"""
    rows = json.loads(output("qdmanage", "-b", router.address, "query", "--type=router.config.exchange"))
    return {row["name"]: (row["receivedCount"], row["forwardedCount"], row["droppedCount"]) for row in rows}


def publish(peers, router, address, count=MESSAGES, expect=ACCEPTED):
    outbox = peers.connect(router).sender(address)
    for number in range(count):
        assert outbox.outcome(outbox.send(Message(str(number), subject="s"))).state == expect


def assert_one_copy_each(peers, inboxes, count=MESSAGES):
    for inbox in inboxes:
        inbox.wait_count(count)
    peers.run_for(0.3)  # for what there must not be
    for inbox in inboxes:
        assert sorted(int(message.body) for message in inbox.messages) == list(range(count))


@pytest.mark.parametrize("distribution", ["balanced", "multicast"])
def test_exchanges_bound_to_each_other_pass_each_message_on_once(start_mesh, peers, distribution):
    """A message has been everywhere when it comes back to where it was: it ends there, and is counted once at each."""
    def rule(config):
        return config.add("address", prefix="x", distribution=distribution)
    mesh = start_mesh("AB", conf={"A": lambda config: exchange(rule(config), "a", "x/b", "q/a"),
                                  "B": lambda config: exchange(rule(config), "b", "x/a", "q/b")})
    inboxes = [peers.connect(mesh["B"]).receiver("q/a", credit=500), peers.connect(mesh["A"]).receiver("q/b", credit=500)]
    mesh.wait_subscribed("x/b", at="A", remote=1)
    mesh.wait_subscribed("x/a", at="B", remote=1)
    mesh.wait_subscribed("q/a", at="A", remote=1)
    mesh.wait_subscribed("q/b", at="B", remote=1)
    publish(peers, mesh["A"], "x/a")
    assert_one_copy_each(peers, inboxes)
    assert counts(mesh["A"]) == {"a": (MESSAGES, MESSAGES, 0)}
    assert counts(mesh["B"]) == {"b": (MESSAGES, MESSAGES, 0)}
    mesh["A"].wait_log(r"ROUTER_CORE \(info\) Exchange 'a' is in a circle of exchanges")
    assert len(re.findall("in a circle", mesh["A"].log())) == 1


def test_exchanges_all_bound_to_each_other_give_each_site_one_copy(start_mesh, peers):
    """Three sites, each with an exchange that leads to the others and to its own receivers, in both directions of the ring."""
    def site(name):
        others = ["x/" + other for other in "abc" if other != name]
        return lambda config: exchange(config, name, *others, "q/" + name)
    mesh = start_mesh(full("ABC"), conf={name.upper(): site(name) for name in "abc"})
    inboxes = [peers.connect(mesh[name.upper()]).receiver("q/" + name, credit=500) for name in "abc"]
    for at, name in itertools.permutations("ABC", 2):
        mesh.wait_subscribed("x/" + name.lower(), at=at, remote=1)
    publish(peers, mesh["B"], "x/b")
    assert_one_copy_each(peers, inboxes)
    assert [counts(mesh[name])[name.lower()][0] for name in "ABC"] == [MESSAGES] * 3


def test_chain_of_exchanges_there_and_back_ends_at_its_receiver(start_mesh, peers):
    """A message that comes to its first router again, but to another exchange of it, is in no circle."""
    def at_a(config):
        exchange(config, "first", "x/second")
        exchange(config, "third", "q/end")
    mesh = start_mesh("AB BC", conf={"A": at_a, "C": lambda config: exchange(config, "second", "x/third")})
    inbox = peers.connect(mesh["B"]).receiver("q/end", credit=500)
    mesh.wait_subscribed("x/second", at="A", remote=1)
    mesh.wait_subscribed("x/third", at="C", remote=1)
    mesh.wait_subscribed("q/end", at="A", remote=1)
    publish(peers, mesh["B"], "x/first")
    assert_one_copy_each(peers, [inbox])
    annotations = [message.annotations for message in inbox.messages]
    assert not any(annotations), "what routers tell each other is theirs"


@pytest.mark.parametrize("strip", ["both", "out"])
def test_client_cannot_say_that_a_message_has_been_at_an_exchange(start_mesh, peers, strip):
    """Unless its listener believes what clients say of routers' affairs: then the message counts as one that came again."""
    def at_a(config):
        exchange(config, "a", "q/a").listener("client", stripAnnotations=strip)
    mesh = start_mesh("AB", conf={"A": at_a})
    inbox = peers.connect(mesh["B"]).receiver("q/a", credit=500)
    mesh.wait_subscribed("q/a", at="A", remote=1)
    outbox = peers.connect(("127.0.0.1", mesh["A"].ports["client"])).sender("x/a")
    forged = Message("forged", subject="s", annotations={symbol("x-opt-trunkline.exchanged"): b"\1\x10" + b"\1" * 16})
    assert outbox.outcome(outbox.send(forged)).state == (ACCEPTED if strip == "both" else RELEASED)
    assert outbox.outcome(outbox.send(Message("own", subject="s"))).state == ACCEPTED
    inbox.wait_count(2 if strip == "both" else 1)
    assert inbox.messages[-1].body == "own"
    assert not any(message.annotations for message in inbox.messages)


def test_chain_and_circle_in_one_router(start_router, peers):
    """A next hop that is an exchange passes on, and none does so twice."""
    config = exchange(exchange(Config(), "a", "x/b", "q/a", "x/a"), "b", "x/c", "q/b")
    exchange(config, "c", "x/a", "q/c", alternateAddress="q/none")
    router = start_router(config)
    client = peers.connect(router)
    inboxes = [client.receiver(address, credit=500) for address in ("q/a", "q/b", "q/c", "x/c")]
    publish(peers, router, "x/a")
    assert_one_copy_each(peers, inboxes)
    assert counts(router) == {name: (MESSAGES, MESSAGES, 0) for name in "abc"}
    for inbox in inboxes[:3]:
        inbox.close()
    other = client.receiver("q/none", credit=500)
    inboxes[3].close()
    wait_until(lambda: '"q/c"' not in output("qdstat", "-b", router.address, "-a"), what="receivers to go")
    publish(peers, router, "x/b", count=1)
    assert other.next().body == "0"  # c had nobody: x/a leads to b, where the message has been
    assert counts(router)["c"] == (MESSAGES + 1, MESSAGES + 1, 0)


def test_circle_in_which_nobody_receives_releases_its_messages(start_mesh, peers):
    mesh = start_mesh("AB", conf={"A": lambda config: exchange(config, "a", "x/a"), "B": lambda config: None})
    publish(peers, mesh["A"], "x/a", count=3, expect=RELEASED)
    assert counts(mesh["A"]) == {"a": (3, 0, 3)}


def test_multicast_copies_of_an_exchange_carry_a_stamp(start_mesh, peers, relays):
    """By which routers know a second copy (decision 0008): each message has one of its own, the same on all ways."""
    mesh = start_mesh(full("ABC"), conf={"A": lambda config: exchange(config, "a", "multicast/n", "multicast/m")}, relays=relays)
    inboxes = [peers.connect(mesh[name]).receiver("multicast/" + of, credit=500) for name in "ABC" for of in "nm"]
    for of in "nm":
        mesh.wait_subscribed("multicast/" + of, at="A", local=1, remote=2)
    taps = [mesh.relays[link].tap() for link in ("AB", "AC")]
    publish(peers, mesh["A"], "x/a")
    assert_one_copy_each(peers, inboxes)
    stamps = [set(re.findall(rb"\xa0\x11m.{16}", bytes(tap), re.DOTALL)) for tap in taps]
    assert len(stamps[0]) == 2 * MESSAGES and stamps[0] == stamps[1]


def start_edge(start_router, interior, name, *additions):
    config = Config(mode="edge", id=name)
    config.add("connector", name="uplink", role="edge", host="127.0.0.1", port=interior.ports["edge"], saslMechanisms="ANONYMOUS")
    for add in additions:
        add(config)
    edge = start_router(config, name=name)
    edge.wait_log(r"is this edge router's uplink")
    return edge


def with_edges(config):
    config.listener("edge", role="edge")


def test_exchange_of_an_edge_router_serves_the_network(start_mesh, start_router, peers):
    """Its address is announced like that of a receiver, and withdrawn with it; next hops may be anywhere."""
    mesh = start_mesh("AB", conf={"A": with_edges, "B": with_edges})
    edge = start_edge(start_router, mesh["A"], "E1", lambda config: exchange(config, "e", "q/far", "multicast/n"))
    other = start_edge(start_router, mesh["B"], "E2")
    mesh.wait_subscribed("x/e", at="A", local=1)
    mesh.wait_subscribed("x/e", at="B", remote=1)
    inboxes = [peers.connect(mesh["B"]).receiver("q/far", credit=500)]
    inboxes += [peers.connect(at).receiver("multicast/n", credit=500) for at in (mesh["A"], mesh["B"], edge, other)]
    mesh.wait_subscribed("q/far", at="A", remote=1)
    mesh.wait_subscribed("multicast/n", at="A", local=2, remote=1)
    mesh.wait_subscribed("multicast/n", at="B", local=2, remote=1)
    publish(peers, other, "x/e")  # over its own interior router, and the edge's
    assert_one_copy_each(peers, inboxes)
    output("qdmanage", "-b", edge.address, "delete", "--type=router.config.exchange", "--name=e")
    mesh.wait_subscribed("x/e", at="B", remote=0)


def test_exchanges_of_an_edge_router_and_its_interior_one_in_a_circle(start_mesh, start_router, peers):
    def at_a(config):
        with_edges(config)
        exchange(config, "a", "x/e", "q/a")
    mesh = start_mesh("AB", conf={"A": at_a})
    edge = start_edge(start_router, mesh["A"], "E1", lambda config: exchange(config, "e", "x/a", "q/e"))
    inboxes = [peers.connect(edge).receiver("q/a", credit=500), peers.connect(mesh["B"]).receiver("q/e", credit=500)]
    mesh.wait_subscribed("x/e", at="A", local=1)
    mesh.wait_subscribed("q/a", at="A", local=1)
    mesh.wait_subscribed("q/e", at="A", remote=1)
    publish(peers, mesh["B"], "x/a")
    assert_one_copy_each(peers, inboxes)
    publish(peers, edge, "x/e", count=MESSAGES)
    for inbox in inboxes:
        inbox.wait_count(2 * MESSAGES)
    peers.run_for(0.3)
    assert [len(inbox.messages) for inbox in inboxes] == [2 * MESSAGES] * 2


def copy_of(sections):
    """What an exchange of 1.19 makes of a message: all of it, but for what routers have written."""
    notes = {key: value for key, value in sections[ANNOTATIONS].items() if not key.startswith("x-opt-qd.")}
    return b"".join(encode(Described(ulong(code), notes if code == ANNOTATIONS else value)) for code, value in sections.items())


def test_circle_through_the_exchange_of_an_old_router_ends(start_router, peers):
    """Its exchange keeps the annotations of the message in its copies, and begins the trace anew: so ours knows it again."""
    config = exchange(Config(mode="interior", id="A").listener("mesh", role="inter-router"), "a", "x/old", "q/a")
    router = start_router(config)
    with OldRouter("O", dial=[router.ports["mesh"]]) as old:
        at_old = old.consumer("x/old")
        old.wait_converged("A")
        old.wait_remote("x/a", "A")
        inbox = peers.connect(router).receiver("q/a", credit=500)
        manager = Manager(router)
        wait_until(lambda: any(row["key"] == "M0x/old" and row["remoteCount"] for row in
                               manager.query("router.address", "key", "remoteCount")), what="the old router's address")
        manager.close()
        publish(peers, router, "x/a")
        peers.wait(lambda: len(at_old.messages) == MESSAGES, what="copies at the old router")
        returned = [old.send_octets(copy_of(sections), "x/a") for sections in list(at_old.messages)]
        for incoming in returned:
            peers.wait(incoming.done.is_set, what="an outcome at the old router")
        assert_one_copy_each(peers, [inbox])
        assert len(at_old.messages) == MESSAGES and counts(router) == {"a": (MESSAGES, MESSAGES, 0)}
