"""Limits of the configuration take effect (management.md 4.2, 10.1). Others are tested beside what they limit: credit in
test_credit, frames, handles, time-outs in test_misbehaving."""
import json

import pytest

from support.deadline import wait_until
from support.router import Config
from support.tool import output
from support.wire import AMQP_HEADER, FLOW, Wire, described, encode


def open_of(router, listener):
    with Wire(("127.0.0.1", router.ports[listener])) as wire:
        return wire.open()


def test_limit_of_connections_holds_and_is_counted(start_router):
    """Beyond policy.maxConnections the socket is closed without a word; who leaves makes room."""
    router = start_router(Config().add("policy", maxConnections=3))
    wires = [Wire(router) for _ in range(3)]
    for wire in wires:
        wire.open()
    with Wire(router) as refused:
        refused.raw(AMQP_HEADER)
        assert refused.read_header() == b""
    router.wait_log(r"POLICY \(info\) DENY Connection '127\.0\.0\.1:\d+' based on global connection count\. nConnections= 3$")
    wires.pop().drop()
    router.wait_log(r"Connection Closed$")
    (policy,) = json.loads(output("qdmanage", "-b", router.address, "query", "--type=policy"))
    assert (policy["maxConnections"], policy["connectionsCurrent"], policy["connectionsDenied"]) == (3, 3, 1)
    assert (policy["connectionsProcessed"], policy["totalDenials"]) == (5, 1)
    for wire in wires:
        wire.drop()


def let_in(router):
    """A connection, or None when it is refused."""
    wire = Wire(router)
    wire.raw(AMQP_HEADER)
    if wire.read_header() == AMQP_HEADER:
        return wire
    wire.drop()
    return None


def test_limit_of_connections_lets_in_again_whoever_comes_later(start_router):
    router = start_router(Config().add("policy", maxConnections=1))
    for _ in range(20):
        with wait_until(lambda: let_in(router), what="room for a connection"):
            assert let_in(router) is None


def test_limit_of_connections_is_for_those_that_come_in(start_router):
    """What a connector has connected takes nobody's place."""
    other = start_router()
    router = start_router(Config().add("policy", maxConnections=1).add(
        "connector", name="out", host=other.host, port=other.port, saslMechanisms="ANONYMOUS"))
    router.wait_log(r"Connection Opened: dir=out")
    with wait_until(lambda: let_in(router), what="room for a connection"):
        assert let_in(router) is None


def test_limit_of_connections_holds_in_a_storm(start_router):
    """On several workers at once, never one more."""
    router = start_router(Config(workerThreads=4).add("policy", maxConnections=10))
    wires = [Wire(router) for _ in range(60)]
    for wire in wires:
        wire.raw(AMQP_HEADER)
    answers = [wire.read_header() for wire in wires]
    for wire in wires:
        wire.drop()
    assert (answers.count(AMQP_HEADER), answers.count(b"")) == (10, 50)


@pytest.mark.parametrize("configured, told", [({"maxSessions": 2}, 1), ({"maxSessions": 0}, 32767), ({"maxSessions": 40000}, 32767),
                                              ({}, 32767)])
def test_limit_of_sessions_is_told(start_router, configured, told):
    assert open_of(start_router(Config().listener("limited", **configured)), "limited").fields["channel_max"] == told


@pytest.mark.parametrize("configured, told", [({"maxFrameSize": 5}, 512), ({"maxFrameSize": 70000}, 70000), ({}, 16384)])
def test_limit_of_frames_is_told(start_router, configured, told):
    assert open_of(start_router(Config().listener("limited", **configured)), "limited").fields["max_frame_size"] == told


@pytest.mark.parametrize("configured, told", [({"idleTimeoutSeconds": 0}, None), ({"idleTimeoutSeconds": 7}, 3500), ({}, 8000)])
def test_limit_of_silence_is_told(start_router, configured, told):
    """Half of what the router itself waits, as 1.19 tells it."""
    found = open_of(start_router(Config().listener("limited", **configured)), "limited").fields.get("idle_time_out")
    assert found == told


def test_limit_of_session_frames_holds_back_a_large_message(start_router):
    """So many transfer frames of a session may be on their way to a consumer that takes none."""
    router = start_router(Config().listener("limited", maxSessionFrames=4))
    with Wire(router) as consumer, Wire(("127.0.0.1", router.ports["limited"])) as sender:
        consumer.open()
        consumer.begin(incoming_window=0)
        consumer.attach("in", 0, False, "closest/a")
        consumer.credit(0, 10, incoming_window=0)
        sender.open()
        assert sender.begin().fields["incoming_window"] == 4
        sender.attach("out", 0, True, "closest/a")
        sender.wait_credit(0)
        payload = encode(described(0x75, bytes(1000)))
        sent = 0
        while sender.window_end() > sent:
            sender.transfer(0, 0 if sent == 0 else None, payload, more=True)
            sent += 1
            sender.send(FLOW, next_incoming_id=0, incoming_window=100, next_outgoing_id=sent, outgoing_window=100, echo=True)
            sender.expect(FLOW)
            assert sent < 1000, "the window never closed"
        assert sent >= 4
        told = sender.window_end()
        consumer.send(FLOW, next_incoming_id=0, incoming_window=100, next_outgoing_id=0, outgoing_window=100)
        assert sender.wait_window(told) > 0
