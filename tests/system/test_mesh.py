"""Networks of real interior routers: every topology carries messages, and mends itself when a router is lost."""
import os
import re
import signal
import time
from collections import Counter

import pytest
from proton import Message, symbol

from support.deadline import SLOWNESS, seconds, wait_until
from support.mesh import Manager, full
from support.peers import ACCEPTED, MODIFIED, REJECTED, RELEASED, settle
from support.router import Config
from support.traffic import Traffic

# Many daemons on few cores: not for the sanitizer stages, where this file has not been tried yet.
pytestmark = pytest.mark.heavy

TOPOLOGIES = {"line3": "AB BC", "line4": "AB BC CD", "ring": "AB BC CD DE AE", "star": "AB AC AD AE", "full4": full("ABCD"),
              "diamond": "AB AC BD CD", "full6": full("ABCDEF")}


def far_ends(mesh):
    """Two routers that are far from each other."""
    return max(((a, b) for a in mesh.names for b in mesh.names if a < b), key=lambda pair: mesh.distances(pair[0])[pair[1]])


# -- topologies


@pytest.mark.parametrize("links", TOPOLOGIES.values(), ids=TOPOLOGIES)
def test_anycast_between_all_pairs_and_multicast_once_each(start_mesh, peers, links):
    """Every router's consumer is reached from every router; of multicast there is one copy for each, rings or not."""
    mesh = start_mesh(links)
    clients = {name: peers.connect(mesh[name]) for name in mesh.names}
    own = {name: clients[name].receiver("closest/at-%s" % name) for name in mesh.names}
    copies = {name: [clients[name].receiver("multicast/all", credit=100) for _ in range(2)] for name in mesh.names}
    for name in mesh.names:
        mesh.wait_subscribed("multicast/all", at=name, remote=len(mesh.names) - 1, local=2)
        for other in mesh.names:
            mesh.wait_subscribed("closest/at-%s" % other, at=name, remote=int(other != name), local=int(other == name))
    sent = []
    for name in mesh.names:
        anonymous, group = clients[name].sender(None), clients[name].sender("multicast/all")
        for other in mesh.names:
            sent.append((anonymous, anonymous.send("%s to %s" % (name, other), to="closest/at-%s" % other)))
        sent += [(group, group.send("%s %d" % (name, number))) for number in range(5)]
    for box, delivery in sent:
        assert box.outcome(delivery).state == ACCEPTED
    for name in mesh.names:
        assert sorted(message.body for message in own[name].messages) == ["%s to %s" % (x, name) for x in mesh.names]
        due = Counter("%s %d" % (x, number) for x in mesh.names for number in range(5))
        for inbox in copies[name]:
            inbox.wait_count(sum(due.values()))
    peers.run_for(0.2)  # a copy too many would be under way still
    for name in mesh.names:
        for inbox in copies[name]:
            assert Counter(message.body for message in inbox.messages) == due


# -- choice of consumers


def test_closest_goes_to_the_cheapest_and_to_the_next_when_it_is_gone(start_mesh, peers):
    mesh = start_mesh("AB:10 AC:2 CD:3")
    sender = peers.connect(mesh["A"]).sender(None)
    inboxes = {name: peers.connect(mesh[name]).receiver("closest/c") for name in "BDC"}
    for count, name in ((3, "C"), (2, "D"), (1, "B")):
        mesh.wait_subscribed("closest/c", at="A", remote=count)
        for number in range(5):
            assert sender.outcome(sender.send(number, to="closest/c")).state == ACCEPTED
        assert {x: len(inbox.messages) for x, inbox in inboxes.items()} == {x: 5 * (x == name) for x in inboxes}
        inboxes.pop(name).close()


def test_balanced_spreads_over_routers(start_mesh, peers):
    """What is unsettled weighs: consumers that hold on to all they get are filled evenly."""
    mesh = start_mesh("AB AC")
    inboxes = [peers.connect(mesh[name]).receiver("balanced/b", credit=100, accept=False) for name in "ABC"]
    mesh.wait_subscribed("balanced/b", at="A", remote=2, local=1)
    sender = peers.connect(mesh["A"]).sender("balanced/b")
    for number in range(60):
        sender.send(number)
    peers.wait(lambda: sum(len(inbox.messages) for inbox in inboxes) == 60, what="all messages")
    counts = [len(inbox.messages) for inbox in inboxes]
    assert min(counts) >= 15, counts


def test_cost_is_the_greater_of_both_ends(start_mesh):
    """A listener may say what its links cost, and so may the connector; all routers reckon with the same."""
    def dear(config):
        for kind, attributes in config.sections:
            if attributes.get("name") == "mesh":
                attributes["cost"] = 7
    mesh = start_mesh("AB:3 BC:9", converge=False, conf={"A": dear, "B": dear})
    mesh.links.update({("B", "A"): 7, ("C", "B"): 9})
    mesh.wait_converged()
    assert mesh.nodes("A")["C"] == ("B", 16)


def test_control_messages_have_credit_however_small_the_link_capacity(start_mesh):
    def small(config):
        for _, attributes in config.sections:
            if attributes.get("role") == "inter-router":
                attributes["linkCapacity"] = 5
    mesh = start_mesh("AB", conf={"A": small, "B": small})

    def heard(name):
        return [row["deliveryCount"] for row in mesh.query(name, "router.link", "linkType", "linkDir", "deliveryCount")
                if (row["linkType"], row["linkDir"]) == ("router-control", "in")]
    for name in "AB":
        wait_until(lambda name=name: max(heard(name), default=0) > 15, what="HELLOs to go on coming to %s" % name)


# -- what is said from end to end


def test_outcomes_keep_their_fields_over_three_hops(start_mesh, peers):
    mesh = start_mesh("AB BC CD")
    inbox = peers.connect(mesh["D"]).receiver("closest/o", accept=False)
    mesh.wait_subscribed("closest/o", at="A", remote=1)
    sender = peers.connect(mesh["A"]).sender("closest/o")
    told = []
    for how in (dict(state=ACCEPTED), dict(state=REJECTED, error=("test:no", "because", {symbol("key"): 5})),
                dict(state=RELEASED), dict(state=MODIFIED, failed=True, undeliverable=True, annotations={symbol("x-a"): "b"})):
        delivery = sender.send("x")
        settle(inbox.take()[1], **how)
        told.append(sender.outcome(delivery))
    accepted, rejected, released, modified = told
    assert [outcome.state for outcome in told] == [ACCEPTED, REJECTED, RELEASED, MODIFIED]
    assert (rejected.error.name, rejected.error.description, rejected.error.info) == ("test:no", "because", {"key": 5})
    assert (modified.failed, modified.undeliverable, modified.annotations) == (True, True, {"x-a": "b"})


def test_presettled_messages_all_arrive_in_order(start_mesh, peers):
    mesh = start_mesh("AB BC")
    inbox = peers.connect(mesh["C"]).receiver("closest/p", credit=1000, presettled=True)
    mesh.wait_subscribed("closest/p", at="A", remote=1)
    sender = peers.connect(mesh["A"]).sender("closest/p", presettled=True)
    for number in range(500):
        sender.send(number)
    inbox.wait_count(500)
    assert [message.body for message in inbox.messages] == list(range(500))
    assert all(delivery is None for delivery in inbox.deliveries)


def test_request_and_reply_by_dynamic_address_over_hops(start_mesh, peers):
    mesh = start_mesh("AB BC")
    client, server = peers.connect(mesh["A"]), peers.connect(mesh["C"])
    requests, answers = server.receiver("closest/service"), server.sender(None)
    replies = client.receiver(None, dynamic=True)
    mesh.wait_subscribed("closest/service", at="A", remote=1)
    asking = client.sender("closest/service")
    for number in range(20):
        asking.send(Message(number, reply_to=replies.remote_address))
        request = requests.next()
        reply = answers.send(request.body * 2, to=request.reply_to)
        assert replies.next().body == 2 * number
        assert answers.outcome(reply).state == ACCEPTED
    gone = replies.remote_address
    replies.close()
    assert answers.outcome(answers.send("late", to=gone)).state == RELEASED
    assert answers.outcome(answers.send("nowhere", to="_topo/0/X/temp.none")).state == RELEASED


def test_any_router_is_managed_from_any_other(start_mesh):
    mesh = start_mesh("AB BC")
    for at in mesh.names:
        nodes = mesh.manager(at).management_nodes()
        assert nodes[0] == "amqp:/_topo/0/%s/$management" % at
        assert sorted(nodes) == ["amqp:/_topo/0/%s/$management" % name for name in mesh.names]
        for about in mesh.names:
            manager = Manager(mesh[at], "_topo/0/%s/$management" % about)
            assert [row["id"] for row in manager.query("router", "id")] == [about]
            manager.close()


def test_management_tells_where_consumers_are_and_what_passes_through(start_mesh, peers):
    """remoteHostRouters, deliveriesTransit of address and router; what passes between routers is neither ingress nor egress."""
    mesh = start_mesh("AB BC BD")
    inboxes = [peers.connect(mesh[name]).receiver("multicast/m", credit=100) for name in "CD"]
    for at in "AB":
        mesh.wait_subscribed("multicast/m", at=at, remote=2)

    def of_address(at, *attributes):
        return next([row[name] for name in attributes] for row in mesh.query(at, "router.address", "key", *attributes)
                    if row["key"] == "M0multicast/m")

    def of_router(at):
        row = mesh.query(at, "router", "deliveriesTransit", "deliveriesIngress", "deliveriesEgress")[0]
        return [row[name] for name in ("deliveriesTransit", "deliveriesIngress", "deliveriesEgress")]

    assert sorted(of_address("A", "remoteHostRouters")[0]) == ["C", "D"]
    assert of_address("C", "remoteHostRouters") == [["D"]]
    sender, before = peers.connect(mesh["A"]).sender("multicast/m"), {at: of_router(at) for at in "AB"}
    for number in range(20):
        assert sender.outcome(sender.send(number)).state == ACCEPTED
    for inbox in inboxes:
        inbox.wait_count(20)
    assert of_address("A", "deliveriesTransit", "deliveriesEgress") == [20, 0]
    assert of_address("B", "deliveriesTransit", "deliveriesIngress") == [40, 0]
    assert of_address("C", "deliveriesTransit", "deliveriesEgress") == [0, 20]
    transit, ingress, egress = [now - then for now, then in zip(of_router("B"), before["B"])]
    assert transit == 40 and ingress < 20 and egress < 20  # our own questions are both
    transit, ingress, _ = [now - then for now, then in zip(of_router("A"), before["A"])]
    assert transit == 20 and ingress >= 20


# -- addresses that come and go


def give_credit_back(peers, mesh, sender, at="A"):
    """Wait until the router asks for the rest of the credit, use it up, and wait until the router has heard of it."""
    peers.wait(lambda: sender.link.drain_mode, what="the rest of the credit to be drained")
    sender.link.drained()

    def is_known():
        rows = mesh.query(at, "router.link", "owningAddr", "linkDir", "creditAvailable")
        return [row["creditAvailable"] for row in rows if row["linkDir"] == "in"
                and row["owningAddr"] == "M0" + sender.link.remote_target.address] == [0]

    peers.wait(is_known, what="the router to know that there is no credit left")
    assert sender.credit == 0


def test_credit_comes_with_a_far_consumer_and_goes_with_it(start_mesh, peers):
    mesh = start_mesh("AB BC")
    far = peers.connect(mesh["C"])
    sender = peers.connect(mesh["A"]).sender("closest/go")
    assert sender.credit == 0
    for _ in range(2):
        inbox = far.receiver("closest/go")
        sender.wait_credit(250)
        assert sender.outcome(sender.send("x")).state == ACCEPTED
        inbox.close()
        mesh.wait_subscribed("closest/go", at="A")
        # The old router does not take credit back before there is something that it cannot deliver.
        assert sender.outcome(sender.send("y")).state == RELEASED
        give_credit_back(peers, mesh, sender)


# -- routers that are lost


def traffic_between(peers, mesh, at, to, **how):
    """A sender at one router and a consumer at another that it knows of."""
    traffic = Traffic(peers, mesh[at], mesh[to], **how)
    mesh.wait_subscribed(traffic.address, at=at, remote=1)
    return traffic


def test_killed_router_is_passed_by_and_comes_back(start_mesh, peers):
    """Diamond with a cheaper side. The way changes at once; after a start under the same id it is used again."""
    mesh = start_mesh("AB AC:5 BD CD:5")
    assert mesh.nodes("A")["D"] == ("B", 2)
    traffic = traffic_between(peers, mesh, "A", "D")
    traffic.until_accepted()
    for _ in range(2):
        for _ in range(5):
            traffic.step()
        mesh.forget_manager("B")
        mesh["B"].kill()
        assert traffic.until_accepted() < seconds(2)
        mesh.wait_converged(without="B")
        assert mesh.nodes("A") == {"C": (None, 5), "D": ("C", 10)}
        traffic.until_accepted()
        mesh["B"].restart()
        mesh.wait_converged()
        assert mesh.nodes("A")["D"] == ("B", 2)
        traffic.until_accepted()
    counts = traffic.check()
    assert counts[ACCEPTED] >= 500, counts


def test_router_killed_on_the_only_way_gives_back_what_was_under_way(start_mesh, peers):
    """Nothing is accepted that nobody took; when the way is back more messages pass than there was credit."""
    mesh = start_mesh("AB BC")
    inbox = peers.connect(mesh["C"]).receiver("closest/k", credit=20, accept=False)
    mesh.wait_subscribed("closest/k", at="A", remote=1)
    sender = peers.connect(mesh["A"]).sender("closest/k")
    pending = [sender.send(number) for number in range(10)]
    inbox.wait_count(10)
    mesh.forget_manager("B")
    mesh["B"].kill()
    assert {sender.outcome(delivery).state for delivery in pending} <= {RELEASED, MODIFIED}
    mesh.wait_converged(without="BC", among="A")
    mesh.wait_subscribed("closest/k", at="A")
    assert sender.outcome(sender.send("to nobody")).state == RELEASED
    mesh["B"].restart()
    mesh.wait_converged()
    mesh.wait_subscribed("closest/k", at="A", remote=1)
    inbox.accept_all = True
    for number in range(300):
        assert sender.outcome(sender.send(number)).state == ACCEPTED


def test_silent_router_is_noticed_and_passed_by(start_mesh, peers):
    """SIGSTOP, as when a host dies: its sockets stay open. Between our routers it is noticed in well under a second."""
    mesh = start_mesh("AB AC:5 BD CD:5")
    traffic = traffic_between(peers, mesh, "A", "D")
    traffic.until_accepted()
    mesh.forget_manager("B")
    os.kill(mesh["B"].pid, signal.SIGSTOP)
    try:
        took = traffic.until_accepted()
        mesh.wait_converged(without="B")
    finally:
        os.kill(mesh["B"].pid, signal.SIGCONT)
    assert took < 3 * SLOWNESS, "%.2f s" % took  # 0.5 where nothing else runs; the old router takes 3 and more
    mesh.wait_converged()
    assert mesh.nodes("A")["D"] == ("B", 2)
    traffic.until_accepted()
    traffic.check()


def test_router_with_an_id_that_is_taken_is_refused_and_logged(start_mesh, start_router, peers):
    """The network goes on as it was. A router's instance is the second of its start, by which the two differ."""
    mesh = start_mesh("AB BC")
    started = time.time()
    wait_until(lambda: int(time.time()) > started, 3, "the next second")
    inbox = peers.connect(mesh["C"]).receiver("closest/d")
    mesh.wait_subscribed("closest/d", at="A", remote=1)
    config = Config(mode="interior", id="C").add("connector", name="to-A", host="127.0.0.1", role="inter-router",
                                                 port=mesh["A"].ports["mesh"], saslMechanisms="ANONYMOUS")
    other = start_router(config, name="other-C")
    sender = peers.connect(mesh["A"]).sender("closest/d")

    def logged():
        return any(re.search("duplicate", router.log(), re.I) for router in [other, *mesh.routers.values()])

    def flows():
        assert sender.outcome(sender.send("x")).state == ACCEPTED
        return logged()

    wait_until(flows, 15, lambda: "the duplicate id to be logged; A's log:\n%s" % mesh["A"].tail())
    for _ in range(20):
        assert sender.outcome(sender.send("x")).state == ACCEPTED
    assert inbox.messages
