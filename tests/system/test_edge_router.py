"""Our router as an edge router: its uplink, proxies for addresses, and what clients of an edge can reach."""
import os
import re
import signal
import threading
import time
from collections import Counter

import pytest
from proton import Endpoint, Message

from support.peers import ACCEPTED, RELEASED, Peers
from support.broker import Broker
from support.deadline import seconds, wait_until
from support.mesh import Manager
from support.playing import Hosting
from support.recorded import KNOWN
from support.recording import Swapped
from support.router import Config
from support.script import Mixed, Script
from support.tool import output
from support.traffic import Traffic
from support.waypoint import Capability, Waypoint
from support.wire import ACCEPTED as ACCEPTED_CODE
from support.wire import CLOSE, DISPOSITION, TRANSFER, Wire, described, encode, frame, performative


def interior_config(name, **router):
    return Config(mode="interior", id=name, **router).listener("edge", role="edge")


def edge_config(name, *ports, **router):
    config = Config(mode="edge", id=name, **router)
    for number, port in enumerate(ports):
        config.add("connector", name="uplink-%d" % number, role="edge", host="127.0.0.1", port=port, saslMechanisms="ANONYMOUS")
    return config


def wait_uplink(edge, interior):
    edge.wait_log(r"the connection to interior router '%s' is this edge router's uplink" % interior)


def test_edge_producer_and_consumer_reach_the_interior(start_router, peers):
    interior = start_router(interior_config("A"))
    edge = start_router(edge_config("E", interior.ports["edge"]))
    wait_uplink(edge, "A")
    here, there = peers.connect(edge), peers.connect(interior)
    up, down = here.sender("balanced/up", wait=False), there.sender("balanced/down", wait=False)
    inbox = there.receiver("balanced/up")
    assert up.outcome(up.send("to the interior")).state == ACCEPTED
    assert inbox.next().body == "to the interior"
    inbox = here.receiver("balanced/down")
    assert down.outcome(down.send("to the edge")).state == ACCEPTED
    assert inbox.next().body == "to the edge"


def test_receiver_at_an_edge_that_accepts_and_leaves_at_once_has_accepted(start_router):
    """The edge router's own link for the address ends with its last receiver, and after what that has said."""
    interior = start_router(interior_config("A"))
    edge = start_router(edge_config("E", interior.ports["edge"]))
    wait_uplink(edge, "A")
    for number in range(8):
        address = "balanced/%d" % number
        with Wire(interior) as sender, Wire(edge) as receiver:
            for wire, sends in ((sender, True), (receiver, False)):
                wire.open_session()
                wire.attach("link", 0, sends, address)
            receiver.credit(0, 5)
            sender.wait_credit(0, 5)
            for delivery in range(5):
                sender.transfer(0, delivery, encode(described(0x77, "x")))
            for _ in range(5):
                last = receiver.expect(TRANSFER).fields["delivery_id"]
            receiver.raw(frame(performative(DISPOSITION, role=True, first=last - 4, last=last, settled=True,
                                            state=described(ACCEPTED_CODE))) + frame(performative(CLOSE)))
            said = 0
            while said < 5:
                fields = sender.expect(DISPOSITION).fields
                assert fields["settled"] and fields["state"].descriptor == ACCEPTED_CODE
                said += fields.get("last", fields["first"]) - fields["first"] + 1


HEARTBEATS = (48, 49, 73, 74, 111, 112)  # of 07e, every 2 s, and the credit for them


def hosting(*names, without=(), **how):
    return Hosting([Swapped(name, without=without) for name in names], heart=(1, "qdlink #7", "from A", 0), allowed=KNOWN, **how)


def recorded_edge(name, port):
    """The recorded edge router, dialling to us."""
    config = Config(bare=True).add("router", mode="edge", id=name, workerThreads=2)
    config.listener("normal").add("connector", name="uplink", role="edge", host="127.0.0.1", port=port, saslMechanisms="ANONYMOUS")
    for prefix in ("closest", "multicast"):
        config.add("address", prefix=prefix, distribution=prefix)
    return config


def test_recorded_interior_hears_what_the_old_edge_said(start_router):
    play = hosting("07a-edge-connect")
    start_router(recorded_edge("EDGE1", play.ports["07a-edge-connect"]))
    assert play.run() == []


def is_attached(box):
    return lambda: box.link.state & Endpoint.REMOTE_ACTIVE


def test_recorded_edge_with_consumers_is_ours(start_router, peers):
    """A look-up for each attach, an inlink for each address; the last consumer of an address takes its inlink along."""
    name, script, boxes = "07b-edge-consumer", Script(peers), []

    def attach(*addresses):
        for address in addresses:
            boxes.append(client.receiver(address, wait=False))
            script.later(is_attached(boxes[-1]), lambda: None)

    notes = {"consumer for closest/e attaches on the edge": lambda: attach("closest/e"),
             "a second consumer for the same address attaches on the edge, then one for multicast/e":
                 lambda: (attach("closest/e"), script.later(is_attached(boxes[-1]), lambda: attach("multicast/e"))),
             "both consumers of closest/e detach": lambda: [box.link.close() for box in boxes[:2]]}
    play = hosting(name, on_note=lambda text: notes.get(text, lambda: None)(), meanwhile=script.meanwhile)
    edge = start_router(recorded_edge("EDGE1", play.ports[name]))
    client = peers.connect(edge)
    assert play.run() == []
    assert sorted(message.body for box in boxes for message in box.messages) == ["four", "one", "three", "two"]


def test_recorded_edge_with_a_producer_is_ours(start_router, peers):
    """Credit with the tracking message; targeted and anonymous by the outlink, what nobody has by the uplink."""
    name, script, boxes, deliveries = "07c-edge-producer", Script(peers), {}, []

    def attach(key, make):
        boxes[key] = make()

    def send(key, body, settled=False, to=None, **properties):
        delivery = boxes[key].link.send(Message(body, address=to, **properties))
        if settled:
            delivery.settle()
        else:
            deliveries.append(delivery)

    def has_credit(key):
        return lambda: boxes[key].link.credit > 0

    def first_two():
        send("targeted", "one", id=1)
        script.later(lambda: deliveries[0].settled, lambda: send("targeted", "two", settled=True, id=2))

    notes = {"sender for closest/i attaches on the edge; nobody consumes":
                 lambda: attach("targeted", lambda: client.sender("closest/i", wait=False)),
             "consumer for closest/i attaches on the interior": lambda: script.later(has_credit("targeted"), first_two),
             "anonymous sender on the edge": lambda: (
                 attach("anonymous", lambda: client.sender(None, wait=False)),
                 script.later(has_credit("anonymous"), lambda: send("anonymous", "three", to="closest/i", id=3))),
             "anonymous, to an address that nobody has": lambda: send("anonymous", "four", to="closest/nobody", id=4),
             "sender on the edge sends with the credit it still has": lambda: send("targeted", "nobody", id=5),
             "consumer on the edge itself": lambda: (
                 script.later(lambda: deliveries[-1].settled,
                              lambda: attach("own", lambda: client.receiver("closest/i", wait=False)))),
             "sender on the edge detaches": lambda: (boxes["targeted"].link.close(), script.later(
                 lambda: boxes["targeted"].link.state & Endpoint.REMOTE_CLOSED, boxes["own"].link.close))}
    play = hosting(name, on_note=lambda text: notes.get(text, lambda: None)(), meanwhile=script.meanwhile)
    edge = start_router(recorded_edge("EDGE1", play.ports[name]))
    client = peers.connect(edge)
    assert play.run() == []
    assert [delivery.remote_state for delivery in deliveries] == [ACCEPTED, ACCEPTED, RELEASED, RELEASED]


def test_recorded_request_between_two_edges_is_ours(start_router, peers):
    """A service on one edge, a requester with a dynamic address on the other, both of them ours."""
    names, script, boxes, done = ("07d-edge-to-edge", "07d-edge-to-edge.edge2"), Script(peers), {}, set()

    def service_attaches():
        boxes["service"] = first.receiver("closest/service", wait=False)
        boxes["replies"] = first.sender(None, wait=False)

    def answer():
        """Whatever has come."""
        while boxes["service"].messages:
            message = boxes["service"].next()
            boxes["late"] = message.reply_to
            boxes["replies"].send("reply to " + message.body, to=message.reply_to, correlation_id=message.id)

    def request(body, message_id):
        boxes["requests"].send(body, wait_credit=False, id=message_id, reply_to=boxes["inbox"].remote_address)

    def requester_attaches():
        boxes["inbox"] = second.receiver(None, dynamic=True, wait=False)
        boxes["requests"] = second.sender("closest/service", wait=False)
        script.later(lambda: boxes["requests"].link.credit and boxes["inbox"].remote_address, lambda: request("one", "r1"))
        script.later(lambda: len(boxes["inbox"].messages) == 1, lambda: request("two", "r2"))

    notes = {"service attaches on EDGE1: receiver for closest/service and an anonymous sender": service_attaches,
             "requester on EDGE2: dynamic receiver, sender for closest/service": requester_attaches,
             "requester goes": lambda: script.later(lambda: len(boxes["inbox"].messages) == 2, second.connection.close),
             "the service answers to the address that is gone":
                 lambda: script.later(lambda: not second.is_open(), lambda: boxes["replies"].send("late", to=boxes["late"]))}

    def on_note(text):  # it is in both files
        if text not in done:
            done.add(text)
            notes[text]()

    def meanwhile():
        script.meanwhile()
        if "service" in boxes:
            answer()

    play = hosting(*names, on_note=on_note, meanwhile=meanwhile)
    first, second = (peers.connect(start_router(recorded_edge(name, play.ports[file])))
                     for name, file in zip(("EDGE1", "EDGE2"), names))
    assert play.run() == []
    assert [message.body for message in boxes["inbox"].messages] == ["reply to one", "reply to two"]


# -- networks of real interior and edge routers


def with_edges(config):
    return config.listener("edge", role="edge")


@pytest.fixture
def tree(start_mesh, start_router):
    """Two interior routers, and three edges: E and F at A, G at B."""
    mesh = start_mesh("AB", conf={"A": with_edges, "B": with_edges})
    edges = {name: start_router(edge_config(name, mesh[at].ports["edge"]), name=name) for name, at in zip("EFG", "AAB")}
    for name, at in zip("EFG", "AAB"):
        wait_uplink(edges[name], at)
    mesh.edges = edges
    return mesh


def test_multicast_from_and_to_edges_is_one_copy_for_each(tree, peers):
    """From each router of the tree, by targeted and anonymous senders; every receiver has each message once."""
    clients = {name: peers.connect(router) for name, router in {**tree.routers, **tree.edges}.items()}
    inboxes = [client.receiver("multicast/all", credit=100) for client in clients.values() for _ in range(2)]
    for name in "AB":
        tree.wait_subscribed("multicast/all", at=name, remote=1, local=4 if name == "A" else 3)
    sent = []
    for name, client in clients.items():
        targeted, anonymous = client.sender("multicast/all"), client.sender(None)
        targeted.wait_credit()
        sent += [(targeted, targeted.send("targeted " + name)), (anonymous, anonymous.send("anonymous " + name, to="multicast/all"))]
    for box, delivery in sent:
        assert box.outcome(delivery).state == ACCEPTED
    due = Counter(kind + name for kind in ("targeted ", "anonymous ") for name in clients)
    for inbox in inboxes:
        inbox.wait_count(len(due))
    peers.run_for(0.3)  # a second copy would be under way now
    for inbox in inboxes:
        assert Counter(message.body for message in inbox.messages) == due


@pytest.mark.parametrize("treatment", ["closest", "balanced"])
def test_anycast_between_all_pairs_of_a_tree(tree, peers, treatment):
    clients = {name: peers.connect(router) for name, router in {**tree.routers, **tree.edges}.items()}
    inboxes = {name: client.receiver("%s/at-%s" % (treatment, name), credit=100) for name, client in clients.items()}
    for name in "AB":
        for other in clients:
            here = other == name or other in {"A": "EF", "B": "G"}[name]
            tree.wait_subscribed("%s/at-%s" % (treatment, other), at=name, remote=int(not here), local=int(here))
    for name, client in clients.items():
        anonymous = client.sender(None)
        for other in clients:
            address = "%s/at-%s" % (treatment, other)
            targeted = client.sender(address)
            assert targeted.outcome(targeted.send("%s targeted" % name)).state == ACCEPTED
            assert anonymous.outcome(anonymous.send("%s anonymous" % name, to=address)).state == ACCEPTED
            targeted.close()
    for inbox in inboxes.values():
        assert sorted(message.body for message in inbox.messages) == sorted(
            "%s %s" % (name, kind) for name in clients for kind in ("targeted", "anonymous"))


def test_requests_between_edges_with_dynamic_replies(tree, peers):
    """From each edge, to a service at the one farthest away; the reply address is the edge's own."""
    service = peers.connect(tree.edges["G"])
    inbox, replies = service.receiver("closest/service", credit=50), service.sender(None)
    tree.wait_subscribed("closest/service", at="A", remote=1)
    for name in "EF":
        client = peers.connect(tree.edges[name])
        box = client.receiver(None, dynamic=True)
        assert box.remote_address.startswith("amqp:/_edge/%s/temp." % name)
        requests = client.sender("closest/service")
        for number in range(20):
            request = requests.send(number, reply_to=box.remote_address, correlation_id=number)
            message = inbox.next()
            replies.send("answer to %d" % message.body, to=message.reply_to, correlation_id=message.correlation_id)
            assert requests.outcome(request).state == ACCEPTED
            answer = box.next()
            assert (answer.body, answer.correlation_id) == ("answer to %d" % number, number)


def test_slow_consumer_of_settled_messages_behind_an_edge_stops_its_sender(tree, peers):
    """Nothing is dropped and nothing heaps up: who sends on another edge waits for who receives on this one."""
    sink = peers.connect(tree.edges["E"]).receiver("closest/slow", credit=1, presettled=True)
    sink.on_message = lambda event: sink.messages.append(event.message)  # no credit back by itself
    tree.wait_subscribed("closest/slow", at="B", remote=1)
    outbox = peers.connect(tree.edges["G"]).sender("closest/slow", presettled=True)
    outbox.wait_credit()
    sent = 0

    def send_what_may():
        nonlocal sent
        while outbox.link.credit > 0 and sent < 3000:
            outbox.send("%d" % sent, wait_credit=False)
            sent += 1

    stalled = time.monotonic()
    before = -1
    while time.monotonic() < stalled + 1.5:
        send_what_may()
        peers.container.process()
        if sent != before:
            stalled, before = time.monotonic(), sent
    assert sent < 1000, "its sender was not stopped: %d are out" % sent
    sink.link.flow(5000)
    peers.wait(lambda: (send_what_may(), len(sink.messages) == 3000)[1], 20, lambda: "%d of 3000" % len(sink.messages))
    assert [message.body for message in sink.messages] == ["%d" % number for number in range(3000)]


def test_large_message_that_stalls_does_not_stop_others_on_the_uplink(tree, peers):
    """Its sender is in the middle of it, on the way up or down; what others send by the same links goes by."""
    for sender, receiver in ((tree.edges["E"], tree["A"]), (tree["A"], tree.edges["E"])):
        there = peers.connect(receiver)
        inbox, others = there.receiver("closest/large"), there.receiver("closest/small", credit=50)
        reply, replies = there.receiver(None, dynamic=True), there.receiver(None, dynamic=True, credit=50)
        for large, small, large_inbox, small_inbox in (("closest/large", "closest/small", inbox, others),
                                                       (reply.remote_address, replies.remote_address, reply, replies)):
            with Wire(sender) as wire:
                wire.open_session()
                wire.attach("large", 0, True, None)
                wire.wait_credit()
                body = b"x" * 300000
                properties = b"\0\x53\x73" + encode([None, None, large])
                whole = properties + b"\0\x53\x75\xb0" + len(body).to_bytes(4, "big") + body
                for at in range(0, 200000, 10000):
                    wire.transfer(0, 0, whole[at:at + 10000], more=True)
                box = peers.connect(sender).sender(None)
                for number in range(20):
                    assert box.outcome(box.send(number, to=small)).state == ACCEPTED
                assert [message.body for message in small_inbox.messages] == list(range(20))
                for at in range(200000, len(whole), 10000):
                    wire.transfer(0, 0, whole[at:at + 10000], more=at + 10000 < len(whole))
                assert len(large_inbox.next().body) == len(body)
        there.close()


# -- uplinks that are lost


@pytest.fixture
def two_ways(start_mesh, start_router):
    """Edge E with an uplink to A and one in reserve to B; both lead to C, where the other clients are."""
    mesh = start_mesh("AC BC", conf={"A": with_edges, "B": with_edges})
    mesh.edge = start_router(edge_config("E", mesh["A"].ports["edge"]), name="E")
    wait_uplink(mesh.edge, "A")
    mesh.edge.manage = Manager(mesh.edge)
    mesh.edge.manage.create("connector", "uplink-1", role="edge", host="127.0.0.1", port=str(mesh["B"].ports["edge"]),
                            saslMechanisms="ANONYMOUS")
    mesh.edge.wait_log(r"the connection to interior router 'B' is in reserve")
    yield mesh
    mesh.edge.manage.close()


def test_uplink_killed_under_load_is_replaced_at_once(two_ways, peers):
    """Messages go on both ways; every one has an outcome, what was accepted has come, and none twice."""
    edge = two_ways.edge
    flows = [Traffic(peers, edge, two_ways["C"], "closest/up"), Traffic(peers, two_ways["C"], edge, "closest/down")]
    for _ in range(2):
        for active, reserve in (("A", "B"), ("B", "A")):
            for flow in flows:
                flow.until_accepted()
            rows = edge.manage.query("connection", "role", "container", "active")
            assert {row["container"]: row["active"] for row in rows if row["role"] == "edge"} == {active: True, reserve: False}
            for flow in flows:
                flow.step()
            two_ways.forget_manager(active)
            two_ways[active].kill()
            for flow in flows:
                assert flow.until_accepted() < seconds(5)
            seen = len(edge.log())
            two_ways[active].restart()
            wait_until(lambda: "the connection to interior router '%s' is in reserve" % active in edge.log()[seen:], 20,
                       lambda: "%s in reserve" % active)
            two_ways.wait_converged()
    for flow in flows:
        counts = flow.check()
        assert counts[ACCEPTED] >= 800, counts


def test_uplink_that_falls_silent_is_replaced(two_ways, peers):
    """SIGSTOP, as when a host dies: its socket stays open, and the idle time-out is 16 s."""
    edge = two_ways.edge
    flow = Traffic(peers, edge, two_ways["C"], "closest/up")
    flow.until_accepted()
    two_ways.forget_manager("A")
    os.kill(two_ways["A"].pid, signal.SIGSTOP)
    try:
        took = flow.until_accepted(limit=30)
        edge.wait_log(r"the interior router 'A' takes no heartbeats: the connection is dropped")
    finally:
        os.kill(two_ways["A"].pid, signal.SIGCONT)
    assert took < seconds(14), "%.1f s" % took
    flow.until_accepted()
    flow.check()


class Requester(threading.Thread):
    """Asks the service again and again, each question until it has its answer."""

    def __init__(self, router, service):
        super().__init__()
        self.router, self.service, self.answered, self.longest, self.ended, self.failure = router, service, 0, 0, False, None

    def run(self):
        try:
            with Peers() as peers:
                self.work(peers)
        except BaseException as failure:  # told by check()
            self.failure = failure

    def work(self, peers):
        client = peers.connect(self.router)
        inbox, outbox = client.receiver(None, dynamic=True, credit=50), client.sender(self.service)
        while not self.ended:
            began = time.monotonic()
            while not self.ask(peers, inbox, outbox, self.answered):
                assert time.monotonic() < began + seconds(20), "no answer to %d" % self.answered
            self.longest = max(self.longest, time.monotonic() - began)
            self.answered += 1

    @staticmethod
    def ask(peers, inbox, outbox, number):
        outbox.wait_credit(limit=20)
        outbox.send(number, reply_to=inbox.remote_address, correlation_id=number)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            peers.container.process()
            while inbox.messages:
                if inbox.next().correlation_id == number:
                    return True
        return False

    def check(self):
        self.join()
        if self.failure:
            raise self.failure


def test_requests_by_an_edge_go_on_when_its_uplink_is_killed(two_ways, peers):
    """The reply address is the edge's own, so it is good at the next uplink, too."""
    service = peers.connect(two_ways["C"])
    inbox, replies = service.receiver("closest/service", credit=50), service.sender(None)
    requester = Requester(two_ways.edge, "closest/service")
    requester.start()

    def serve_until(condition, limit):
        def step():
            while inbox.messages:
                request = inbox.next()
                replies.send(request.body, to=request.reply_to, correlation_id=request.correlation_id)
            return condition() or requester.failure
        peers.wait(step, limit, "answers")

    try:
        serve_until(lambda: requester.answered >= 50, 20)
        two_ways.forget_manager("A")
        two_ways["A"].kill()
        before = requester.answered
        serve_until(lambda: requester.answered >= before + 50, 30)
    finally:
        requester.ended = True
        serve_until(lambda: not requester.is_alive(), 30)
    requester.check()
    assert requester.longest < seconds(8), "%.1f s" % requester.longest


def test_edge_without_an_uplink_serves_its_own_clients(two_ways, peers):
    """What can be delivered here is; what cannot is released. It comes back with the interior router."""
    client = peers.connect(two_ways.edge)
    inbox, own = client.receiver("closest/own"), client.sender("closest/own")
    anonymous, far = client.sender(None), client.sender("_topo/0/C/closest/x")
    for name in "AB":
        two_ways.forget_manager(name)
        two_ways[name].kill()
    two_ways.edge.wait_log("this edge router has no uplink")
    assert own.outcome(own.send("here")).state == ACCEPTED
    assert anonymous.outcome(anonymous.send("here, too", to="closest/own")).state == ACCEPTED
    assert anonymous.outcome(anonymous.send("far", to="closest/far")).state == RELEASED
    assert far.outcome(far.send("far")).state == RELEASED
    assert [message.body for message in inbox.messages] == ["here", "here, too"]
    started = time.monotonic()
    late = client.receiver("closest/late")  # nobody is asked about its address
    assert time.monotonic() - started < seconds(2)
    two_ways["B"].restart()
    two_ways.wait_converged(without="A")
    sender = peers.connect(two_ways["C"]).sender("closest/late")
    assert sender.outcome(sender.send("again")).state == ACCEPTED
    assert late.next().body == "again"


# -- management


def test_any_router_is_managed_from_any_other_edges_included(tree):
    routers = {**tree.routers, **tree.edges}
    for at, router in routers.items():
        for about in routers:
            node = ("_edge/%s/$management" if about in tree.edges else "_topo/0/%s/$management") % about
            manager = Manager(router, node)
            assert [(row["id"], row["mode"]) for row in manager.query("router", "id", "mode")] == [
                (about, "edge" if about in tree.edges else "interior")], "%s asked at %s" % (about, at)
            manager.close()
    manager = Manager(tree.edges["E"])
    assert manager.management_nodes() == []
    assert manager.query("router.node", "id") == []
    manager.close()


def test_tools_show_edges_and_their_uplinks(tree):
    at_a, at_e = tree["A"].address, tree.edges["E"].address
    assert "No Router List" in output("qdstat", "-b", at_e, "-n")
    general = output("qdstat", "-b", at_a, "-d", "E", "-g")
    assert re.search(r"Mode\s+edge\b", general) and re.search(r"Router Id\s+E\b", general), general
    edges = output("qdstat", "-b", at_a, "-e")
    assert [line.split()[2] for line in edges.splitlines() if re.search(r"\bedge\b.*\bin\b", line)] == ["E", "F"], edges
    uplinks = output("qdstat", "-b", at_e, "-e")
    assert re.search(r"\bA\b.*\bedge\b.*\bout\b.*\byes\b", uplinks), uplinks
    addresses = output("qdstat", "-b", tree["B"].address, "-a")
    assert re.search(r"edge\s+E\s", addresses) and re.search(r"edge\s+G\s", addresses), addresses
    links = output("qdstat", "-b", at_e, "-l")
    assert "edge-downlink" in links and re.search(r"_edge\b", links), links


# -- edges that are lost, and what passes through them


def test_killed_edge_gives_back_what_was_under_way(tree, peers):
    """Consumers at two edges share an address; one edge is killed under load, and the other has the rest."""
    flow = Traffic(peers, tree["B"], tree.edges["F"], "balanced/shared")
    flow.inboxes.append(peers.connect(tree.edges["E"]).receiver("balanced/shared", credit=200))
    tree.wait_subscribed("balanced/shared", at="A", local=2)
    flow.until_accepted()
    assert all(inbox.messages for inbox in flow.inboxes)
    for _ in range(5):
        flow.step()
    tree.edges["F"].kill()
    assert flow.until_accepted() < seconds(5)
    counts = flow.check()
    assert counts[ACCEPTED] >= 200, counts


@pytest.fixture
def phased(start_mesh, start_router):
    """Interior A, and edges E and F at it, with waypoints and fallback destinations configured in all."""
    def phases(config):
        config.add("address", prefix="wp", waypoint=True).add("address", prefix="fb", enableFallback=True)
        return config

    mesh = start_mesh("AB", conf={"A": lambda config: with_edges(phases(config)), "B": phases})
    mesh.edges = {name: start_router(phases(edge_config(name, mesh["A"].ports["edge"])), name=name) for name in "EF"}
    for edge in mesh.edges.values():
        wait_uplink(edge, "A")
    return mesh


@pytest.mark.parametrize("at", ["A", "B", "E", "F"])
def test_waypoint_anywhere_is_passed_by_messages_between_edges(phased, peers, at):
    """Producer at one edge, consumer at the other; the container inside, or at one of the two edges."""
    consumer = peers.connect(phased.edges["F"]).receiver("wp.q")
    waypoint = Waypoint(peers.connect(phased.edges.get(at) or phased[at]), "wp.q", "qd.waypoint")
    client = peers.connect(phased.edges["E"])
    producer, anonymous = client.sender("wp.q"), client.sender(None)
    waypoint.outbox.wait_credit()
    for box, to in ((producer, None), (anonymous, "wp.q")):
        delivery = box.send("hello", to=to)
        waypoint.inbox.wait_count(1)
        assert not consumer.messages, "it has gone past the waypoint"
        waypoint.pass_on()
        assert consumer.next().body == "hello"
        assert box.outcome(delivery).state == ACCEPTED


@pytest.mark.parametrize("at", ["A", "B", "E", "F"])
def test_fallback_anywhere_has_what_nobody_else_takes_of_an_edge(phased, peers, at):
    """The primary consumer is at another edge and goes; the fallback one is inside, or at one of the two edges."""
    first, client = peers.connect(phased.edges["F"]), peers.connect(phased.edges["E"])
    primary = first.receiver("fb.q")
    fallback = peers.connect(phased.edges.get(at) or phased[at]).receiver("fb.q", options=[Capability("qd.fallback")])
    producer = client.sender("fb.q")
    manager = Manager(phased.edges["E"])
    # The edge has been told of the primary one, and its outlink is a receiver.
    peers.wait(lambda: {row["key"]: row["subscriberCount"] for row in manager.query("router.address", "key", "subscriberCount")}
               .get("M0fb.q") == 1, 10, "the edge to hear of the consumer")
    manager.close()
    assert producer.outcome(producer.send("to the primary")).state == ACCEPTED
    assert primary.next().body == "to the primary"
    primary.close()
    phased.wait_subscribed("0fb.q", at="B", remote=0)
    peers.wait(lambda: producer.outcome(producer.send("to the fallback")).state == ACCEPTED, 10, "it to be redirected")
    assert fallback.next().body == "to the fallback"


def test_answer_to_an_address_that_the_edge_does_not_know_goes_up(tree, peers):
    """A client of the interior asks for an answer at an address of its own; at the edge nobody has heard of it."""
    inbox = peers.connect(tree["A"]).receiver("closest/answers", credit=5)
    outbox = peers.connect(tree.edges["E"]).sender("$management")
    outbox.send({}, reply_to="closest/answers", correlation_id=1, properties={"operation": "GET-MGMT-NODES"})
    message = inbox.next()
    assert (message.correlation_id, message.properties["statusCode"]) == (1, 200)


# -- link routes of an edge


def with_routes(config, broker):
    config.add("connector", name="broker", host="127.0.0.1", port=broker.port, role="route-container", saslMechanisms="ANONYMOUS")
    for direction in ("in", "out"):
        config.add("linkRoute", prefix="elr", direction=direction, connection="broker")
    return config.add("linkRoute", pattern="pat.*.b", direction="in", connection="broker")


def test_recorded_edge_with_link_routes_is_ours(start_router, peers):
    """Routes of the edge, that it makes known, used by a client of the interior; those of the interior, that it asks for,
    used by a client of the edge; and how both end."""
    name, script, boxes, deliveries = "07e-edge-link-routes", Script(peers), {}, []

    def attach_sender():
        boxes["sender"] = box = client.sender("ilr.q", name="snd-ilr", options=[Mixed()], wait=False)
        script.later(lambda: box.link.credit, lambda: deliveries.append(box.send("through the interior", id=2)))
        script.later(lambda: deliveries[0].settled, lambda: None)

    def attach(key, make, *where, **how):
        boxes[key] = make(*where, wait=False, **how)

    notes = {"client on the edge attaches a sender to ilr.q (route of the interior)": attach_sender,
             "client on the edge attaches a receiver to ilr.q":
                 lambda: attach("receiver", client.receiver, "ilr.q", name="rcv-ilr", options=[Mixed()], credit=3),
             "client on the edge attaches a sender to plain.q, no link route":
                 lambda: attach("plain", client.sender, "plain.q"),
             "client on the edge attaches a sender to ilr.q, no container":
                 lambda: attach("refused", client.sender, "ilr.q"),
             "the edge's container goes away": lambda: broker.stop()}
    with Broker(credit=10) as broker:
        play = hosting(name, without=HEARTBEATS, on_note=lambda text: notes.get(text, lambda: None)(),
                       meanwhile=script.meanwhile)
        client = peers.connect(start_router(with_routes(recorded_edge("EDGE1", play.ports[name]), broker)))
        assert play.run() == []
    assert [message.body for _, message in broker.queue("elr.q")] == ["through the edge"]
    assert deliveries[0].remote_state == ACCEPTED
    told = {key: boxes[key].wait_detached()[0] for key in ("sender", "receiver", "refused")}
    assert told == {"sender": "qd:routed-link-lost", "receiver": "qd:routed-link-lost", "refused": "qd:no-route-to-dest"}


def proxies(mesh, name):
    """Link routes that a router has a container for."""
    return sorted(row["key"] for row in mesh.query(name, "router.address", "key", "containerCount") if row["containerCount"])


def test_link_routes_of_an_edge_lead_there_from_anywhere(start_mesh, start_router, peers):
    """They come with the edge's container and go with it; at another uplink they are made again."""
    mesh = start_mesh("AC BC", conf={"A": with_edges, "B": with_edges})
    due = ["Celr", "Delr", "Epat.*.b"]
    with Broker() as broker:
        edge = start_router(with_routes(edge_config("E", mesh["A"].ports["edge"]), broker), name="E")
        wait_until(lambda: proxies(mesh, "A") == due, 10, lambda: "link routes of the edge at A: %s" % proxies(mesh, "A"))
        manager = Manager(edge)
        manager.create("connector", "uplink-1", role="edge", host="127.0.0.1", port=str(mesh["B"].ports["edge"]),
                       saslMechanisms="ANONYMOUS")
        edge.wait_log(r"the connection to interior router 'B' is in reserve")
        client = peers.connect(mesh["C"])
        for active in "AB":
            mesh.wait_routed("Celr", at="C")
            producer = client.sender("elr.q." + active)
            for number in range(5):
                assert producer.outcome(producer.send(number)).state == ACCEPTED
            producer.close()
            broker.wait_length("elr.q." + active, 5)
            consumer = client.receiver("elr.q." + active)
            consumer.wait_count(5)
            consumer.close()
            if active == "A":
                mesh.forget_manager("A")
                mesh["A"].kill()
                wait_until(lambda: proxies(mesh, "B") == due, 10, lambda: "link routes at B: %s" % proxies(mesh, "B"))
        manager.close()
    wait_until(lambda: proxies(mesh, "B") == [], 10, lambda: "link routes at B: %s" % proxies(mesh, "B"))
