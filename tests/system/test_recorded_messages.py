"""Messages between two 1.19 routers, recorded octet by octet, with ours in the place of the one and then of the other."""
import re

import pytest
from proton import Message, symbol

from support.peers import ACCEPTED, MODIFIED, REJECTED, RELEASED, settle
from support.playing import Hosting
from support.recorded import KNOWN, OFFERS, in_the_end, interior, play_as_a, play_as_b, play_between
from support.recording import Recording, Swapped
from support.waypoint import Capability


@pytest.mark.parametrize("name", ["02-closest-unicast", "02b-unicast-outcomes", "05-streaming"])
def test_recorded_messages_leave_for_a_router_as_they_did(start_router, name):
    assert play_as_a(start_router, name, name + ".sender") == []


@pytest.mark.parametrize("name", ["02-closest-unicast", "02b-unicast-outcomes", "05-streaming"])
def test_recorded_messages_come_from_a_router_as_they_did(start_router, name):
    assert play_as_b(start_router, name, name + ".consumer") == []


def test_recorded_stream_whose_sender_is_lost_is_aborted_towards_a_router(start_router):
    name = "05b-stream-sender-lost"
    assert play_as_a(start_router, name, name + ".sender") == []


def test_recorded_stream_whose_sender_is_lost_is_aborted_from_a_router(start_router):
    assert play_as_b(start_router, "05b-stream-sender-lost", arrives=lambda actors: actors.receive("closest/big")) == []


ANNOTATED = {
    "unsettled, no annotations": lambda a: a.send("closest/far", Message("one", id=1)),
    "two user annotations": lambda a: a.send("closest/far", Message(
        "two", id=2, annotations={symbol("x-opt-user"): "u", symbol("a"): 7})),
    "durable, priority 7, ttl": lambda a: a.send("closest/far", Message("three", id=3, durable=True, priority=7, ttl=60)),
    "presettled": lambda a: a.send("closest/far", Message("four", id=4), presettled=True),
    "anonymous sender, destination": lambda a: a.send(None, Message("five", id=5, address="closest/far")),
    "anonymous sender, to = ": lambda a: a.send(None, Message("six", id=6, address="amqp:/closest/far")),
    "the client itself sends": lambda a: a.send(None, Message(
        "seven", id=7, address="closest/far", annotations={symbol("x-opt-qd.to"): "closest/elsewhere"})),
}


def test_recorded_line_begins_with_ours(start_router):
    assert play_as_a(start_router, "04-line-annotations", acts=ANNOTATED) == []


def test_recorded_line_ends_with_ours(start_router):
    assert play_as_b(start_router, "04-line-annotations.BC", config=lambda ports: interior("C", dials=ports.values()),
                     acts={"a consumer for closest/far attaches": lambda a: a.receive("closest/far")}) == []


def test_recorded_line_goes_through_ours(start_router):
    """Both neighbours are recorded: what the one says to or about the other is passed on, its trace one longer."""
    news = {(op, "B"): in_the_end for op in ("HELLO", "LSU")}
    assert play_between(start_router, "04-line-annotations", "04-line-annotations.BC", news=news,
                        late=[("HELLO", "B")]) == []


PRIORITIES = {
    "header without": lambda a: a.send("closest/p", Message("no-priority", id=20)),
    "priority 15": lambda a: a.send("closest/p", Message("priority-15", id=21, priority=15)),
    "address priority 8, message": lambda a: a.send("prio8/p", Message("address-8", id=22, priority=1)),
    "address priority 8, no": lambda a: a.send("prio8/p", Message("address-8", id=23)),
    "priority 9, presettled": lambda a: a.send("closest/p", Message("pre-9", id=24, priority=9), presettled=True),
}


def with_priority(config):
    return config.add("address", prefix="prio8", distribution="closest", priority=8)


def test_recorded_priorities_take_the_same_links(start_router):
    def send_all(actors):
        for priority in range(10):
            actors.send("closest/p", Message("priority-%d" % priority, id=priority, priority=priority))

    config = with_priority(interior("A"))
    assert play_as_a(start_router, "06-priority", config=config, before=send_all, acts=PRIORITIES) == []


def test_recorded_priorities_come_by_the_same_links(start_router):
    assert play_as_b(start_router, "06-priority", config=lambda ports: with_priority(interior("B", dials=ports.values())),
                     arrives=lambda actors: actors.receive("closest/p", "prio8/p", credit=50)) == []


def test_recorded_senders_get_credit_by_what_a_router_tells(start_router):
    name = "18-no-consumer"
    config = interior("A").add("address", prefix="unavailable", distribution="unavailable")
    assert play_as_a(start_router, name, name + ".sender", config=config) == []


def test_recorded_requests_go_to_a_router_as_they_did(start_router):
    name = "12-request-reply"
    assert play_as_a(start_router, name, name + ".requester") == []


def test_recorded_requests_come_from_a_router_as_they_did(start_router):
    name = "12-request-reply"
    assert play_as_b(start_router, name, name + ".service") == []


def test_recorded_consumers_of_a_router_vanish(start_router):
    name = "17-consumer-vanishes"
    assert play_as_a(start_router, name, name + ".sender") == []


@pytest.mark.heavy
def test_recorded_consumers_vanish_as_they_did(start_router):
    name = "17-consumer-vanishes"
    assert play_as_b(start_router, name, name + ".consumer") == []


ANSWERS = {"ACCEPTED": ACCEPTED, "RELEASED": RELEASED, "MODIFIED": MODIFIED, "REJECTED": REJECTED}


class Answering:
    """The consumer at A, of which only the notes tell what it answered."""

    def __init__(self):
        self.due, self.actors = [], None

    def begin(self, actors):
        self.actors = actors
        actors.receive("multicast/m", accept=False)

    def answer(self, actors):
        told = re.search(r"consumer on A answers (\w+)", actors.text)
        self.due.append(ANSWERS[told[1]] if told else None if "without naming" in actors.text else ACCEPTED)

    def meanwhile(self):
        box = self.actors and self.actors.boxes["multicast/m"]
        while box and box.deliveries and self.due:
            delivery = box.deliveries.popleft()
            if delivery is None:  # settled by its sender
                continue
            state = self.due.pop(0)
            if state is None:
                delivery.settle()
            else:
                settle(delivery, state)


def test_recorded_multicast_goes_to_a_router_as_it_did(start_router):
    name, consumer = "03-multicast", Answering()
    acts = {beginning: consumer.answer for beginning in ("message ", "the sender on A", "both consumers")}
    assert play_as_a(start_router, name, name + ".sender", arrives=consumer.begin, acts=acts,
                     meanwhile=consumer.meanwhile) == []


def test_recorded_multicast_comes_from_a_router_as_it_did(start_router):
    name = "03-multicast"
    assert play_as_b(start_router, name, name + ".consumer-b") == []


def test_recorded_link_routes_lead_to_a_router(start_router):
    name = "08b-link-route-two-routers"
    assert play_as_a(start_router, name, name + ".client") == []


def test_recorded_link_routes_lead_from_a_router(start_router):
    """As recorded, the container is there before the routers meet."""
    name, container = "08b-link-route-two-routers", Recording("08b-link-route-two-routers.container", allowed=OFFERS)
    container.play_first(1.0, "the container has opened")
    hosting = Hosting([Swapped(name), container], allowed=KNOWN)
    config = interior("B", dials=[hosting.ports[name]])
    config.add("connector", name="broker", role="route-container", host="127.0.0.1", port=hosting.ports[container.name],
               saslMechanisms="ANONYMOUS")
    for direction in ("in", "out"):
        config.add("linkRoute", prefix="lr", direction=direction, connection="broker")
    live = start_router(config)

    def on_note(text):
        if text == "the container has opened":
            live.wait_log("addresses-told seq=1 add=2 ")

    hosting.on_note = on_note
    assert hosting.run() == []


def test_recorded_qdstat_reaches_another_router_by_ours(start_router):
    """Questions and answers are passed on as they came. What ours answers itself is looked at in test_recorded.py."""
    name = "13a-qdstat"

    def compare(actors):
        asked = [pair for key, *pair in actors.playing.messages() if key[1] == 5]
        answers = [pair for key, *pair in actors.playing.messages() if key[1] == 0]
        assert len(asked) == 6 and len(answers) == 18
        for recorded, live in asked + answers[-6:]:
            assert actors.playing.translated(recorded) == live

    assert play_as_a(start_router, name, name + ".client", before=lambda actors: actors.announce("closest/x"),
                     after=compare, messages=False) == []


def test_recorded_fallback_consumers_of_a_router_get_the_same(start_router):
    """The producer is at ours. Consumers at the recorded router come and go: phase 22 while there is no primary one, none as
    soon as there is, and what is on its way then is redirected there."""
    name = "11-fallback"
    config = interior("A").add("address", prefix="fb", distribution="balanced", enableFallback=True)
    assert play_as_a(start_router, name, name + ".sender", config=config) == []


def test_recorded_queue_of_a_router_is_reached_the_same_way(start_router):
    """Producer and consumer are at ours: phase 0 on the way to the recorded router's queue, phase 1 on the way back, and
    both are announced."""
    def come(actors):
        actors.receive("wp.q")
        for presettled in (False, True):
            actors.boxes["wp.q", presettled] = actors.client.sender("wp.q", presettled=presettled, wait=False)

    def send_three(actors):
        for number in range(3):
            actors.send("wp.q", Message("w-%d" % number, id=number), presettled=number == 2)

    acts = {"final consumer": come, "three messages": send_three,
            "an anonymous": lambda actors: actors.send(None, Message("w-3", id=3, address="wp.q")),
            "a client at A": lambda actors: actors.client.receiver("wp.q", options=[Capability("qd.waypoint")], wait=False)}
    assert play_as_a(start_router, "10-waypoint", config=interior("A").add("address", prefix="wp", waypoint=True), acts=acts,
                     after=lambda actors: actors.boxes["wp.q"].wait_count(3)) == []
