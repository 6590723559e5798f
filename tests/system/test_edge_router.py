"""Our router as an edge router: its uplink, proxies for addresses, and what clients of an edge can reach."""
import pytest
from proton import Endpoint, Message

from support.peers import ACCEPTED, RELEASED, Peers
from support.deadline import wait_until
from support.recording import Hosting, Swapped
from support.router import Config

# docs/differences-from-qpid-dispatch.md: the version is our own; the window of a session is bounded, and so are its handles.
KNOWN = [("open", "properties"), ("begin", "incoming_window"), ("begin", "handle_max")]



@pytest.fixture
def peers():
    with Peers() as peers:
        yield peers


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


def hosting(*names, **how):
    return Hosting([Swapped(name) for name in names], heart=(1, "qdlink #7", "from A", 0), allowed=KNOWN, **how)


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


class Script:
    """What clients do at the notes of a recording, each step as soon as it can be done."""

    def __init__(self, peers):
        self.peers, self.waiting = peers, []

    def later(self, condition, action):
        self.waiting.append((condition, action))

    def meanwhile(self):
        self.peers.container.process()
        while self.waiting and self.waiting[0][0]():
            self.waiting.pop(0)[1]()


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
