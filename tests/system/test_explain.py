"""qdstat --explain: each sentence in the situation that it is about, made with real routers and clients."""
import json
import re
import time

import pytest

from support.deadline import seconds
from support.mesh import Manager
from support.relay import Relays
from support.router import Config, program
from support.tool import run, usage_error
from support.wire import Wire

HEALTHY, STUCK = 0, 3


def explain(router, address, patience=20):
    """(exit status, what --json gives). patience: seconds that each answer may take."""
    done = run("qdstat", "-b", router.address, "--explain", address, "--json", "--interval", "0.3", "--timeout",
               "%g" % seconds(patience), limit=60)
    assert done.stderr == "", done.stderr
    assert done.returncode in (HEALTHY, STUCK), done.stdout
    return done.returncode, json.loads(done.stdout)


def wait_sentence(router, address, pattern, status, peers=None, limit=20.0, patience=20):
    """Ask until the sentence matches; give the match. The exit status must be as it says, too."""
    end, found = time.monotonic() + seconds(limit), None
    while time.monotonic() < end:
        got, found = explain(router, address, patience)
        match = re.search(pattern, found["sentence"])
        if match and got == status:
            return match
        if peers:
            peers.run_for(0.02)
    raise AssertionError("waited in vain for %r; last: %s" % (pattern, json.dumps(found, indent=1)))


# -- who is there


def test_nobody_at_all(router):
    wait_sentence(router, "closest/none", r"^no receiver anywhere$", STUCK)


def test_sender_without_receiver(router, peers):
    peers.connect(router).sender("closest/lonely")
    wait_sentence(router, "closest/lonely", r"^no receiver anywhere; 1 sender is without credit for \d+ s$", STUCK, peers)


def test_receiver_without_sender(router, peers):
    peers.connect(router).receiver("closest/quiet", credit=5)
    wait_sentence(router, "closest/quiet", r"^no sender attached to it: 1 receiver, 1 with credit$", HEALTHY, peers)


def test_nothing_sent(router, peers):
    peers.connect(router).receiver("closest/idle")
    peers.connect(router).sender("closest/idle").wait_credit()
    wait_sentence(router, "closest/idle", r"^nothing is sent: 1 sender with credit, and no message waits$", HEALTHY, peers)


def test_messages_move(router, start_program):
    start_program(program("qdrecv"), router.address + "/closest/flow")
    start_program(program("qdsend"), router.address + "/closest/flow", "--count", "0", "--rate", "500")
    match = wait_sentence(router, "closest/flow", r"^messages move: (\d+) in the last second$", HEALTHY)
    assert int(match[1]) > 0


def test_unavailable_address(start_router):
    router = start_router(Config().add("address", prefix="closed", distribution="unavailable"))
    wait_sentence(router, "closed/x", r"^address is configured unavailable on router Test$", STUCK)


def test_router_serves_it_itself(router):
    wait_sentence(router, "$management", r"^(router Test itself receives the messages|messages move: \d+ in the last .*)$",
                  HEALTHY)


# -- receivers that take nothing


def test_receiver_gives_no_credit(router, peers):
    peers.connect(router).receiver("closest/mute", credit=0)
    peers.connect(router).sender("closest/mute").wait_credit()
    match = wait_sentence(router, "closest/mute", r"^receiver \S+ on router Test has given no credit for (\d+) s", STUCK, peers)
    assert int(match[1]) < seconds(20)


def test_receiver_with_used_up_credit_and_messages_waiting(router, peers):
    inbox = peers.connect(router).receiver("closest/full", credit=10, accept=False)
    outbox = peers.connect(router).sender("closest/full")
    outbox.wait_credit(250)
    for number in range(30):
        outbox.send(number)
    inbox.wait_count(10)
    wait_sentence(router, "closest/full",
                  r"^receiver \S+ on router Test has given no credit for \d+ s; 20 messages wait for it, and 10 deliveries it "
                  r"has not settled for \d+ s$", STUCK, peers)
    # It goes on: the router finds nothing wrong any more.
    inbox.link.flow(100)
    inbox.wait_count(30)
    for delivery in list(inbox.deliveries):
        delivery.update(delivery.ACCEPTED)
        delivery.settle()
    wait_sentence(router, "closest/full", r"^nothing is sent: 1 sender with credit", HEALTHY, peers)


def test_sender_is_blocked_by_what_its_receiver_keeps(router, peers):
    inbox = peers.connect(router).receiver("closest/kept", credit=1000, accept=False)
    outbox = peers.connect(router).sender("closest/kept")
    outbox.wait_credit(250)
    for number in range(250):
        outbox.send(number)
    inbox.wait_count(250)
    wait_sentence(router, "closest/kept",
                  r"^sender \S+ on router Test is blocked: its 250 unsettled deliveries have waited \d+ s for receiver \S+ on "
                  r"router Test$", STUCK, peers)


@pytest.mark.heavy  # it takes ten seconds
def test_unsettled_deliveries_of_old(patient, peers):
    """Not blocked yet, but what its receiver has is not settled for ten seconds."""
    inbox = peers.connect(patient).receiver("closest/old", credit=1000, accept=False)
    outbox = peers.connect(patient).sender("closest/old")
    for number in range(3):
        outbox.send(number)
    inbox.wait_count(3)
    wait_sentence(patient, "closest/old",
                  r"^3 deliveries wait for receiver \S+ on router Test, which has settled nothing for 1\d s$", STUCK, peers,
                  limit=30)


def test_session_window_full(patient, peers):
    """The receiver gives credit, but its session takes two frames and no more."""
    with Wire(patient) as wire:
        wire.open(container_id="narrow")
        wire.begin(incoming_window=2)
        wire.attach("in", 0, False, "closest/narrow")
        wire.credit(0, 100, incoming_window=2)
        outbox = peers.connect(patient).sender("closest/narrow")
        outbox.wait_credit()
        for number in range(7):
            outbox.send(number)
        wait_sentence(patient, "closest/narrow",
                      r"^session window full: receiver narrow on router Test has not taken the frames that were sent to it for "
                      r"\d+ s; 5 messages are waiting$", STUCK, peers)


def test_receiver_does_not_read(patient, peers):
    """Credit and window are there, but the socket is not read: the router's output stands."""
    with Wire(patient, receive_buffer=4096) as wire:
        wire.open(container_id="deaf")
        wire.begin()
        wire.attach("in", 0, False, "closest/deaf")
        wire.credit(0, 1000)
        outbox = peers.connect(patient).sender("closest/deaf", presettled=True)
        outbox.wait_credit()
        end = time.monotonic() + seconds(15)
        while outbox.credit and time.monotonic() < end:
            outbox.send("x" * 60000)
        wait_sentence(patient, "closest/deaf", r"^receiver deaf on router Test does not read from its connection for \d+ s; "
                      r"\d+ messages? (is|are) waiting$", STUCK, peers)


# -- several routers


def test_receiver_at_another_router_without_credit(start_mesh, peers):
    """Asked at one router, told of the other: what waits is found where it waits."""
    mesh = start_mesh("AB")
    peers.connect(mesh["B"]).receiver("closest/far", credit=0)
    mesh.wait_subscribed("closest/far", at="A", remote=1)
    outbox = peers.connect(mesh["A"]).sender("closest/far")
    outbox.wait_credit()
    for number in range(5):
        outbox.send(number)
    wait_sentence(mesh["A"], "closest/far", r"^receiver \S+ on router B has given no credit for \d+ s; 5 messages wait for it$",
                  STUCK, peers)
    status, found = explain(mesh["A"], "closest/far")
    here = next(use for use in found["routers"]["A"]["uses"] if use["key"] == "M0closest/far")
    assert here["routers"] == [{"id": "B", "reachable": True, "nextHop": "B", "cost": 1}]
    assert here["senders"][0]["unsettled"] == 5 and here["senders"][0]["credit"] == 245
    there = next(use for use in found["routers"]["B"]["uses"] if use["key"] == "M0closest/far")
    assert there["receivers"][0]["queued"] == 5 and there["receivers"][0]["heldBy"] == "credit"


def test_sender_blocked_by_a_receiver_two_routers_away(start_mesh, peers):
    mesh = start_mesh("AB BC")
    inbox = peers.connect(mesh["C"]).receiver("closest/deep", credit=1000, accept=False)
    mesh.wait_subscribed("closest/deep", at="A", remote=1)
    outbox = peers.connect(mesh["A"]).sender("closest/deep")
    outbox.wait_credit(250)
    for number in range(250):
        outbox.send(number)
    inbox.wait_count(250)
    for asked in "ABC":
        wait_sentence(mesh[asked], "closest/deep",
                      r"^sender \S+ on router A is blocked: its 250 unsettled deliveries have waited \d+ s for receiver \S+ on "
                      r"router C$", STUCK, peers)


def test_router_that_is_lost(start_mesh, peers):
    """The router that had the receiver is gone: the others say so, and who could not be asked."""
    mesh = start_mesh("AB")
    peers.connect(mesh["B"]).receiver("closest/gone")
    mesh.wait_subscribed("closest/gone", at="A", remote=1)
    peers.connect(mesh["A"]).sender("closest/gone")
    wait_sentence(mesh["A"], "closest/gone", r"^nothing is sent", HEALTHY, peers)
    mesh.forget_manager("B")
    mesh["B"].kill()
    wait_sentence(mesh["A"], "closest/gone", r"^no receiver anywhere", STUCK, peers, patience=2)
    _, found = explain(mesh["A"], "closest/gone")
    assert found["silent"] == {"B": "there is no way to it now"}  # known at once; nobody waited for an answer


def test_neighbour_that_falls_silent(start_mesh, peers):
    """Its connection stands and nothing comes: there is no receiver that could be reached."""
    with Relays() as relays:
        mesh = start_mesh("AB", relays=relays)
        peers.connect(mesh["B"]).receiver("closest/way", credit=1000)
        mesh.wait_subscribed("closest/way", at="A", remote=1)
        peers.connect(mesh["A"]).sender("closest/way").wait_credit()
        mesh.relays["AB"].hold()
        wait_sentence(mesh["A"], "closest/way", r"^no receiver anywhere", STUCK, peers, patience=2)
        mesh.relays["AB"].resume()


# -- the tool, and the operation behind it


def test_tables_and_json_say_the_same(router, peers):
    peers.connect(router).receiver("closest/both", credit=3)
    wait_sentence(router, "closest/both", r"^no sender attached to it", HEALTHY, peers)
    done = run("qdstat", "-b", router.address, "--explain", "closest/both", "--interval", "0")
    first, *rest = done.stdout.splitlines()
    assert (done.returncode, first) == (HEALTHY, "closest/both: no sender attached to it: 1 receiver, 1 with credit")
    assert [line for line in rest if line and not line.startswith(" ")] == [
        "Receivers", "Senders", "Ways to other routers that have receivers", "How it is configured"]
    _, found = explain(router, "closest/both")
    assert found["state"] == "idle" and found["sentence"] == first.split(": ", 1)[1]
    assert found["routers"]["Test"]["rule"]["distribution"] == "closest"


def test_operation_refuses_what_is_no_address(router):
    from proton import Message
    manager = Manager(router)
    try:
        for properties in ({}, {"address": ""}, {"address": "a\0b"}, {"address": 7}, {"address": "/"}):
            answer = manager.requests.call(Message(properties={"operation": "EXPLAIN", "type": "org.amqp.management",
                                                               "name": "self", **properties}, body={}))
            assert answer.properties["statusCode"] == 400, (properties, answer.properties, answer.body)
    finally:
        manager.close()


def test_usage(router):
    assert "--json goes with --explain" in usage_error("qdstat", "--json")
    assert "the address is empty" in usage_error("qdstat", "--explain", "")
