"""Clients that misbehave: each is told so by the AMQP error on the smallest scope that carries it, nobody else notices,
and the router neither dies nor grows.

One router serves the whole file, with a well-behaved pair of clients connected all the time: what one misbehaving
client does to the router, the next test would see.
"""
import json
import re
import select
import socket
import struct
import time

import pytest
from proton import UNDESCRIBED, Array, Data, symbol

from support.deadline import kilobytes, seconds, wait_until
from support.peers import ACCEPTED, Peers
from support.router import Config, Router
from support.tool import output
from support.wire import (AMQP_HEADER, ATTACH, BEGIN, CLOSE, DETACH, DISPOSITION, END, FLOW, OPEN, REJECTED, RELEASED,
                          SASL_HEADER,
                          SASL_INIT, SASL_MECHANISMS, SASL_OUTCOME, SOURCE, TARGET, TRANSFER, UNLIMITED, Ended, Wire,
                          described, encode, error_of, frame, message, performative)

FRAMING = "amqp:connection:framing-error"
# AMQP 1.0 part 2.8.15 and 2.8.16: conditions that say that the stream itself is broken. Which of them fits bytes that
# are no performative is not laid down.
BROKEN_STREAM = {FRAMING, "amqp:decode-error", "amqp:invalid-field", "amqp:not-allowed", "amqp:not-implemented",
                 "amqp:illegal-state", "amqp:frame-size-too-small"}
IDLE_S = 2


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    config = Config(id="Shared", workerThreads=2)
    config.listener("impatient", idleTimeoutSeconds=IDLE_S)
    config.listener("narrow", maxFrameSize=1024, maxSessions=4, maxSessionFrames=10)
    config.listener("strict", authenticatePeer=True, saslMechanisms="ANONYMOUS")
    config.listener("hurried", initialHandshakeTimeoutSeconds=IDLE_S)
    with Router(config, tmp_path_factory.mktemp("shared")) as router:
        yield router


@pytest.fixture(scope="module")
def pair(shared):
    """A well-behaved sender and receiver that stay connected from the first test to the last."""
    with Peers() as peers:
        outbox = peers.connect(shared).sender("closest/well-behaved")
        inbox = peers.connect(shared).receiver("closest/well-behaved")
        yield peers, outbox, inbox


@pytest.fixture(autouse=True)
def nobody_else_notices(shared, pair):
    """Before and after each test the well-behaved pair exchanges messages, over the connections it always had."""
    exchange(pair)
    yield
    shared.assert_running()
    exchange(pair)


def exchange(pair, count=20):
    _, outbox, inbox = pair
    for number in range(count):
        delivery = outbox.send("message %d" % number)
        assert inbox.next().body == "message %d" % number
        assert outbox.outcome(delivery).state == ACCEPTED


def first_error(wire, limit=10.0):
    """Read until the peer detaches, ends or closes; its error condition. None if the stream ends without, or nothing
    comes."""
    try:
        got = wire.expect_any((DETACH, END, CLOSE), limit)
    except AssertionError:
        return None
    return error_of(got)


@pytest.fixture
def wire(shared):
    with Wire(shared) as wire:
        yield wire


def connection_count(router):
    """How many there are, that of the tool that asks among them."""
    return json.loads(output("qdmanage", "-b", router.address, "query", "--type=router", "connectionCount"))[0]["connectionCount"]


def listener(router, name):
    return (router.host, router.ports[name])


def assert_connection_ends(wire, conditions=BROKEN_STREAM):
    """The peer closes the connection with one of these errors, and the stream with it."""
    error = wire.expect_error(CLOSE)
    assert error in conditions, wire.story()
    wire.expect_end()


# -- the stream before the first frame

@pytest.mark.parametrize("garbage", [
    b"GET / HTTP/1.1\r\nHost: router\r\n\r\n",
    b"AMQP\0\0\x09\1",             # AMQP 0-9-1
    b"AMQP\1\1\0\0",               # protocol id 1 was never given
    b"AMQP\0\2\0\0",               # AMQP 2.0
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),  # TLS where there is none
    bytes(8),
    b"\xff" * 4096,
], ids=["http", "amqp-0-9-1", "protocol-1", "amqp-2", "tls", "zeros", "ones"])
def test_garbage_for_a_protocol_header_ends_with_a_header_we_speak(wire, garbage):
    """AMQP 1.0 part 2.2, Version Negotiation: answer with a header that is supported, then close."""
    wire.raw(garbage)
    header = wire.read_header()
    assert header in (AMQP_HEADER, SASL_HEADER, b""), header
    wire.expect_end()


def test_silence_instead_of_a_header_ends_after_the_handshake_time(shared):
    with Wire(listener(shared, "hurried")) as wire:
        start = time.monotonic()
        wire.expect_end(limit=IDLE_S + 5)
        assert time.monotonic() - start >= IDLE_S - 0.5


def test_header_alone_ends_after_the_handshake_time(shared):
    with Wire(listener(shared, "hurried")) as wire:
        wire.raw(AMQP_HEADER)
        wire.expect_end(limit=IDLE_S + 5)


def test_opened_in_time_stays(shared):
    with Wire(listener(shared, "hurried")) as wire:
        wire.open_session()
        with pytest.raises(AssertionError, match="nothing came in time"):
            wire.expect(CLOSE, limit=(IDLE_S + 1) / seconds(1))


# -- frames that are none

@pytest.mark.parametrize("size", [0, 1, 7])
def test_frame_smaller_than_its_header_is_a_framing_error(wire, size):
    wire.open()
    wire.raw(struct.pack(">IBBH", size, 2, 0, 0) + bytes(16))
    assert_connection_ends(wire, {FRAMING})


@pytest.mark.parametrize("doff", [0, 1])
def test_doff_inside_the_frame_header_is_a_framing_error(wire, doff):
    """AMQP 1.0 part 2.3.1, Frame Layout: a frame is malformed if its doff is less than 2."""
    wire.open()
    wire.raw(frame(performative(BEGIN, next_outgoing_id=0, incoming_window=1, outgoing_window=1), doff=doff))
    assert_connection_ends(wire, {FRAMING})


def test_doff_beyond_the_frame_is_a_framing_error(wire):
    wire.open()
    wire.raw(frame(b"\0" * 8, doff=255))
    assert_connection_ends(wire, {FRAMING})


def test_extended_header_is_skipped(wire):
    """AMQP 1.0 part 2.3.1, Frame Layout: doff may leave room for an extended header, which is to be ignored."""
    wire.open()
    body = performative(BEGIN, next_outgoing_id=0, incoming_window=1, outgoing_window=1)
    wire.raw(frame(b"\xff" * 8 + body, doff=4))
    wire.expect(BEGIN)


def test_frame_of_unknown_type_is_an_error(wire):
    wire.open()
    wire.raw(frame(performative(BEGIN, next_outgoing_id=0, incoming_window=1, outgoing_window=1), kind=9))
    assert_connection_ends(wire)


def test_sasl_frame_after_open_is_an_error(wire):
    wire.open()
    wire.send(SASL_INIT, mechanism="ANONYMOUS")
    assert_connection_ends(wire)


def test_frame_larger_than_max_frame_size_is_a_framing_error(shared):
    with Wire(listener(shared, "narrow")) as wire:
        limit = wire.open().fields["max_frame_size"]
        assert limit == 1024
        wire.raw(struct.pack(">IBBH", limit + 1, 2, 0, 0))
        assert_connection_ends(wire, {FRAMING})


def test_frame_that_claims_four_gigabytes_takes_no_memory(shared, wire):
    wire.open()
    before = shared.rss_kb()
    wire.raw(struct.pack(">IBBH", 0xffffffff, 2, 0, 0) + bytes(100))
    assert_connection_ends(wire, {FRAMING})
    assert shared.rss_kb() < before + kilobytes(4096)


@pytest.mark.parametrize("body", [
    b"\0\x53\x99\x45",                                    # no such performative
    b"\0\x53\x10",                                        # a descriptor and nothing it describes
    b"\0\x53\x11\xa1\x05hello",                           # begin as a string
    b"\x45",                                              # a list without descriptor
    b"\0\x53\x11\xd0\0\0\0\4\xff\xff\xff\xff",            # 4 G fields in no bytes
    b"\0\x53\x11\xd0\xff\xff\xff\xff\0\0\0\1\x40",        # a list longer than the frame
    b"\0\x53\x11\xc0\x05\x04\x40\x52",                    # a list cut short
    b"\0\x53\x11\xc0\x03\x01\x70\x00",                    # a uint cut short
    b"\0\x53\x11\xc0\x06\x04\x40\xa1\xff\x41\x41",        # a string longer than its list
    b"\0\x53\x11\xc0\x03\x02\x40\x3f",                    # a type code that does not exist
    b"\0\xa3\x0camqp:begin:no\x45",                       # a symbolic descriptor of nothing
    b"\0" * 64,                                           # descriptors without end
    b"\0\x53\x11\xf0\0\0\0\x0a\xff\xff\xff\xff\x40\0\0\0\0\0",  # an array of 4 G nulls
], ids=["unknown", "bare-descriptor", "string", "no-descriptor", "count", "list-size", "cut-list", "cut-uint",
        "string-size", "type-code", "symbol", "descriptors", "array"])
def test_frame_body_that_is_no_performative_ends_the_connection(wire, body):
    wire.open()
    wire.raw(frame(body))
    assert_connection_ends(wire)


@pytest.mark.parametrize("field, value", [
    ("next_outgoing_id", b"\xa1\1x"), ("incoming_window", b"\x40"), ("outgoing_window", b"\x45"), ("remote_channel", b"\x41")])
def test_begin_with_a_field_of_the_wrong_type_is_an_error(wire, field, value):
    wire.open()
    fields = {"remote_channel": b"\x40", "next_outgoing_id": b"\x43", "incoming_window": b"\x52\x10",
              "outgoing_window": b"\x52\x10", field: value}
    body = b"".join(fields.values())
    wire.raw(frame(b"\0\x53\x11\xc0" + bytes([len(body) + 1, 4]) + body))
    assert error_of(wire.expect_any((BEGIN, END, CLOSE))) in BROKEN_STREAM, wire.story()


def test_lists_nested_without_end_are_refused(shared, wire):
    """A decoder that recurses into them runs out of stack."""
    wire.open()
    value = b"\x45"
    for _ in range(4000):
        value = b"\xd0" + struct.pack(">II", len(value) + 4, 1) + value
    wire.raw(frame(b"\0\x53\x18" + value[:16000], size=8 + 3 + min(len(value), 16000)))
    wire.expect_end()


def test_map_of_many_entries_in_attach_properties_is_taken_or_refused(shared, wire):
    wire.open_session()
    before = shared.rss_kb()
    properties = {symbol("key%d" % n): "value" for n in range(500)}
    wire.attach("a", 0, True, "closest/props", wait=False, properties=properties)
    got = wire.read()
    assert got.code in (ATTACH, CLOSE), wire.story()
    assert shared.rss_kb() < before + kilobytes(8192)


def test_huge_array_of_capabilities_is_taken_or_refused(wire):
    wire.raw(AMQP_HEADER)
    capabilities = Array(UNDESCRIBED, Data.SYMBOL, *[symbol("cap%d" % n) for n in range(1500)])
    wire.send(OPEN, container_id="wire", desired_capabilities=capabilities)
    assert wire.read().code == OPEN


# -- frames in an order that is none

@pytest.mark.parametrize("code, fields", [
    (BEGIN, {"next_outgoing_id": 0, "incoming_window": 1, "outgoing_window": 1}),
    (FLOW, {"incoming_window": 1, "next_outgoing_id": 0, "outgoing_window": 1}),
    (TRANSFER, {"handle": 0, "delivery_id": 0, "delivery_tag": b"x"}),
    (DISPOSITION, {"role": True, "first": 0}),
    (DETACH, {"handle": 0, "closed": True}),
    (END, {}),
], ids=["begin", "flow", "transfer", "disposition", "detach", "end"])
def test_frame_before_open_ends_the_connection(wire, code, fields):
    """With an error, or at least with nothing begun: what follows is a close, so that it ends in either case."""
    wire.raw(AMQP_HEADER)
    wire.send(code, **fields)
    wire.send(CLOSE)
    wire.expect_end()
    assert {got.code for got in wire.seen} <= {OPEN, CLOSE}, wire.story()
    assert error_of(wire.seen[-1]) in BROKEN_STREAM | {None}, wire.story()


def test_second_open_is_an_error(wire):
    wire.open()
    wire.send(OPEN, container_id="again")
    assert_connection_ends(wire)


def test_open_without_container_id_is_an_error_or_taken_as_empty(wire):
    """container-id is mandatory (AMQP 1.0 part 2.7.1, Open); the old router did not mind."""
    wire.raw(AMQP_HEADER + frame(b"\0\x53\x10\xc0\x02\x01\x40"))
    wire.send(BEGIN, next_outgoing_id=0, incoming_window=1, outgoing_window=1)
    got = wire.expect_any((BEGIN, CLOSE))
    assert got.code == BEGIN or error_of(got) in BROKEN_STREAM, wire.story()


def test_max_frame_size_below_the_least_is_an_error_or_taken_as_the_least(wire):
    """A peer must not announce less than 512 (AMQP 1.0 part 2.4.1)."""
    wire.open(max_frame_size=100)
    try:
        wire.begin()
        wire.attach("a", 0, True, "closest/" + "x" * 200)
    except Ended:
        assert error_of(wire.seen[-1]) in BROKEN_STREAM


@pytest.mark.parametrize("code, fields", [
    (TRANSFER, {"handle": 0, "delivery_id": 0, "delivery_tag": b"x"}),
    (ATTACH, {"name": "a", "handle": 0, "role": False, "initial_delivery_count": 0}),
    (FLOW, {"incoming_window": 1, "next_outgoing_id": 0, "outgoing_window": 1}),
    (END, {}),
], ids=["transfer", "attach", "flow", "end"])
def test_frame_on_a_channel_without_session_ends_the_connection(wire, code, fields):
    wire.open_session()
    wire.send(code, channel=5, **fields)
    assert_connection_ends(wire)


def test_begin_on_a_channel_in_use_ends_the_connection(wire):
    wire.open_session()
    wire.send(BEGIN, next_outgoing_id=0, incoming_window=1, outgoing_window=1)
    assert_connection_ends(wire)


def test_begin_in_answer_to_no_begin_is_an_error(wire):
    wire.open()
    wire.send(BEGIN, remote_channel=7, next_outgoing_id=0, incoming_window=1, outgoing_window=1)
    assert_connection_ends(wire)


def test_channel_above_channel_max_is_a_framing_error(shared):
    """AMQP 1.0 part 2.7.1, Open: a channel outside of the supported range closes the connection with framing-error."""
    with Wire(listener(shared, "narrow")) as wire:
        channel_max = wire.open().fields["channel_max"]
        assert channel_max == 3
        for channel in range(channel_max + 1):
            wire.begin(channel)
        wire.send(BEGIN, channel_max + 1, next_outgoing_id=0, incoming_window=1, outgoing_window=1)
        assert_connection_ends(wire, {FRAMING})


def test_handle_above_handle_max_is_a_framing_error(wire):
    """AMQP 1.0 part 2.7.2, Begin: a handle outside of the supported range closes the connection with framing-error."""
    wire.open()
    handle_max = wire.begin().fields.get("handle_max")
    handle_max = 0xffffffff if handle_max is None else int(handle_max)
    if handle_max == 0xffffffff:  # nothing is above it: then the highest is as good as any other, and costs no more
        wire.attach("a", handle_max, True, "closest/handle")
        return
    wire.attach("a", handle_max + 1, True, "closest/handle", wait=False)
    assert_connection_ends(wire, {FRAMING})


# -- links

def test_handle_in_use_ends_the_session_alone(wire):
    """AMQP 1.0 part 2.6.2, Establishing Or Resuming A Link; the other session lives on."""
    wire.open_session()
    wire.begin(channel=1)
    wire.attach("other", 0, True, "closest/other", channel=1)
    wire.attach("a", 0, True, "closest/a")
    wire.attach("b", 0, True, "closest/b", wait=False)
    assert wire.expect_error(END) == "amqp:session:handle-in-use"
    wire.send(END)
    wire.attach("more", 1, True, "closest/more", channel=1)


def test_link_name_in_use_in_the_same_session_closes_the_connection(wire):
    """Part 2.6.1, Naming A Link; what the old router did: wire-protocol.md section 13."""
    wire.open_session()
    wire.attach("same", 0, True, "closest/a")
    wire.attach("same", 1, True, "closest/a", wait=False)
    assert_connection_ends(wire, {"amqp:invalid-field"})


def test_link_name_in_use_in_another_session_is_fine(wire):
    wire.open_session()
    wire.begin(channel=1)
    wire.attach("same", 0, True, "closest/a")
    wire.attach("same", 0, True, "closest/a", channel=1)


def test_one_name_for_both_directions_is_two_links(wire):
    wire.open_session()
    wire.attach("both", 0, True, "closest/both")
    wire.attach("both", 1, False, "closest/both")
    wire.credit(1, 1)
    wire.wait_credit(0)
    wire.transfer(0, 0, message())
    wire.expect(TRANSFER)


@pytest.mark.parametrize("code, fields", [
    (TRANSFER, {"handle": 9, "delivery_id": 0, "delivery_tag": b"x", "message_format": 0}),
    (FLOW, {"next_incoming_id": 0, "incoming_window": 1, "next_outgoing_id": 0, "outgoing_window": 1, "handle": 9,
            "delivery_count": 0, "link_credit": 1}),
    (DETACH, {"handle": 9, "closed": True}),
], ids=["transfer", "flow", "detach"])
def test_unattached_handle_ends_the_session_alone(wire, code, fields):
    wire.open_session()
    wire.begin(channel=1)
    wire.send(code, payload=message() if code == TRANSFER else b"", **fields)
    assert wire.expect_error(END) == "amqp:session:unattached-handle"
    wire.attach("more", 0, True, "closest/more", channel=1)


def test_transfer_on_a_link_that_we_receive_on_is_an_error(wire):
    wire.open_session()
    wire.begin(channel=1)
    wire.attach("in", 0, False, "closest/in")
    wire.transfer(0, 0, message())
    assert error_of(wire.expect_any((DETACH, END, CLOSE))), wire.story()


def test_transfer_beyond_the_credit_is_tolerated(shared, wire):
    """Some libraries send before they have credit: they are answered as others are, and told of in the log."""
    with Wire(shared) as consumer:
        wire.open_session()
        wire.attach("impatient", 0, True, "closest/overdrawn")  # nobody consumes: no credit is granted
        for number in range(5):
            wire.transfer(0, number, message())
        released = set()
        while len(released) < 5:
            fields = wire.expect(DISPOSITION).fields
            assert int(fields["state"].descriptor) == RELEASED
            last = fields.get("last")
            released |= set(range(fields["first"], (fields["first"] if last is None else last) + 1))
        assert released == set(range(5))
        shared.wait_log(r"ROUTER_CORE \(warning\) \[C\d+\]\[L\d+\] Link overdrawn: container_id=wire link=impatient:")
        consumer.open_session()
        consumer.attach("in", 0, False, "closest/overdrawn")
        consumer.credit(0, 300)
        told = wire.expect(FLOW, lambda got: got.fields.get("link_credit")).fields
        assert (told["delivery_count"], told["link_credit"]) == (5, 250)  # linkCapacity, from what has been sent on
        for number in range(5, 10):
            wire.transfer(0, number, message())
            assert b"hello" in consumer.expect(TRANSFER).payload
    assert len(re.findall(r"Link overdrawn: .*link=impatient:", shared.log())) == 1


def test_transfer_far_beyond_the_credit_detaches_the_link_alone(wire):
    """AMQP 1.0 part 2.8.18, Link Error: transfer-limit-exceeded; linkCapacity deliveries are tolerated."""
    wire.open_session()
    wire.attach("with", 0, True, "closest/none-here")  # nobody consumes: no credit is granted
    wire.attach("beside", 1, True, None)
    for number in range(251):
        wire.transfer(0, number, message(), settled=True)
    assert wire.expect_error(DETACH) == "amqp:link:transfer-limit-exceeded"
    wire.wait_credit(1)
    wire.transfer(1, 251, message(to="closest/none-here"))
    assert wire.expect(DISPOSITION).fields["first"] == 251


def test_transfers_far_beyond_the_credit_take_no_memory(shared, wire):
    wire.open_session()
    wire.attach("a", 0, True, "closest/none-here")
    before = shared.rss_kb()
    flood(wire, b"".join(frame(performative(TRANSFER, handle=0, delivery_id=n, delivery_tag=struct.pack(">I", n),
                                            message_format=0) + bytes(1000)) for n in range(1000)), limit=50 << 20)
    wire.expect_error(DETACH)
    assert shared.rss_kb() < before + kilobytes(16384)


def test_delivery_without_id_is_an_error(wire):
    """delivery-id must be on the first transfer of a delivery (AMQP 1.0 part 2.7.5, Transfer)."""
    wire.open_session()
    wire.attach("a", 0, True, None)
    wire.wait_credit()
    wire.send(TRANSFER, payload=message(to="closest/x"), handle=0, delivery_tag=b"x", message_format=0)
    assert error_of(wire.expect_any((DETACH, END, CLOSE))), wire.story()


def test_delivery_id_of_another_delivery_in_its_midst_is_an_error(wire):
    """A continuation's delivery-id, if there is one, must be that of the delivery (AMQP 1.0 part 2.7.5, Transfer)."""
    wire.open_session()
    wire.attach("a", 0, True, None)
    wire.wait_credit()
    whole = message("x" * 100, to="closest/x")
    wire.transfer(0, 0, whole[:50], more=True)
    wire.send(TRANSFER, payload=whole[50:], handle=0, delivery_id=77)
    assert error_of(wire.expect_any((DETACH, END, CLOSE))), wire.story()


def test_delivery_tag_above_32_octets_is_refused(wire):
    """delivery-tag is at most 32 octets (AMQP 1.0 part 2.8.7); wire-protocol.md section 6.4."""
    wire.open_session()
    wire.attach("a", 0, True, None)
    wire.wait_credit()
    wire.send(TRANSFER, payload=message(to="closest/x"), handle=0, delivery_id=0, delivery_tag=b"x" * 33,
              message_format=0)
    got = wire.expect_any((DETACH, END, CLOSE, DISPOSITION))
    assert error_of(got) == "amqp:invalid-field", wire.story()


@pytest.mark.parametrize("payload", [b"", b"\xff\xff\xff\xff", b"\0\x53\x73\xd0\xff\xff\xff\xff\0\0\0\1",
                                     b"\0\x53\x73\xa1\3foo", b"\0\x53\x72\xc1\3\3\x40\x40"],
                         ids=["empty", "ones", "long-list", "string", "odd-map"])
def test_message_that_is_none_is_rejected_and_the_link_lives(wire, payload):
    """Rejected with amqp:decode-error (wire-protocol.md section 4.6)."""
    wire.open_session()
    wire.attach("a", 0, True, None)
    wire.wait_credit()
    wire.transfer(0, 0, payload)
    got = wire.expect(DISPOSITION)
    # An empty message is well formed, and has no address: amqp:precondition-failed (wire-protocol.md section 6.4).
    assert int(got.fields["state"].descriptor) == REJECTED, got
    assert error_of(got) in {"amqp:decode-error", "amqp:precondition-failed"}
    wire.transfer(0, 1, message(to="closest/none-here"))
    assert wire.expect(DISPOSITION).fields["first"] == 1


def test_disposition_of_unknown_deliveries_is_ignored(wire):
    wire.open_session()
    wire.attach("in", 0, False, "closest/dispose")
    wire.credit(0, 10)
    accepted = described(0x24)
    wire.send(DISPOSITION, role=True, first=0, last=0x7fffffff, settled=True, state=accepted)
    wire.send(DISPOSITION, role=True, first=0xfffffff0, last=5, settled=True, state=accepted)  # across the wrap
    wire.send(DISPOSITION, role=False, first=12345, settled=True, state=accepted)
    wire.attach("out", 1, True, "closest/dispose")
    wire.wait_credit(1)
    wire.transfer(1, 0, message())
    wire.expect(TRANSFER)


def test_disposition_that_ends_before_it_begins_is_ignored_or_ends_the_session(wire):
    wire.open_session()
    wire.begin(channel=1)
    wire.send(DISPOSITION, role=True, first=9, last=3, settled=True, state=described(0x24))
    wire.attach("on", 0, False, "closest/dispose", channel=1)
    ends = [got for got in wire.seen if got.code == END]
    assert not ends or error_of(ends[0]) == "amqp:invalid-field", wire.story()


def test_dispositions_of_wide_ranges_cost_little(shared, wire):
    """A range is two numbers: the work must follow the deliveries there are, and not the width of the range."""
    wire.open_session()
    wire.attach("in", 0, False, "closest/dispose")
    wire.credit(0, 10)
    cpu = shared.cpu_seconds()
    wide = frame(performative(DISPOSITION, role=True, first=0, last=0x7ffffffe, settled=True, state=described(0x24)))
    wire.raw(wide * 1000)
    wire.begin(channel=1)  # answered after all of them
    assert shared.cpu_seconds() - cpu < seconds(1)


def flood(wire, data, limit=200 << 20, patience=0.5, duration=5):
    """Write data again and again until the peer holds us back, throws us out, or `limit` octets are written."""
    sent, end = 0, time.monotonic() + duration
    wire.socket.settimeout(patience)
    try:
        while sent < limit and time.monotonic() < end:
            wire.socket.sendall(data)
            sent += len(data)
    except (socket.timeout, ConnectionError):
        pass
    return sent


def test_session_window_overrun_is_a_window_violation_or_held_back(shared, pair):
    """Frames beyond the session window that was announced, towards a consumer that takes nothing."""
    consumer, sender = Wire(shared, receive_buffer=4096), Wire(listener(shared, "narrow"))
    with consumer, sender:
        consumer.open_session()
        consumer.attach("in", 0, False, "closest/overrun")
        consumer.credit(0, 1)
        sender.open()
        assert sender.begin().fields["incoming_window"] == 10
        sender.attach("out", 0, True, "closest/overrun")
        sender.wait_credit()
        before = shared.rss_kb()
        sender.transfer(0, 0, b"\0\x53\x75\xb0" + struct.pack(">I", 1 << 30), more=True)  # data, 1 GB to come
        sent = flood(sender, frame(performative(TRANSFER, handle=0, more=True) + bytes(900)) * 10)
        told = first_error(sender)
        assert told in (None, "amqp:session:window-violation"), sender.story()
        assert sent < 200 << 20 or told, "took all of it"
        assert shared.rss_kb() < before + kilobytes(32768), "%d octets sent" % sent
        exchange(pair)


# -- those that do not read

def test_receiver_that_never_reads_stops_its_sender_and_takes_no_memory(shared, pair):
    """A slow consumer stops its senders; nothing queues without bound (presettled just as well)."""
    consumer = Wire(shared, receive_buffer=4096)
    sender = Wire(shared)
    with consumer, sender:
        consumer.open_session()
        consumer.attach("in", 0, False, "closest/never-reads")
        consumer.credit(0, 1000000)
        sender.open_session()
        sender.attach("out", 0, True, "closest/never-reads")
        limit = sender.wait_credit()
        before, sent, payload = shared.rss_kb(), 0, message("x" * 10000)
        end = time.monotonic() + seconds(3)
        while time.monotonic() < end and sent < 100000:
            while sent < limit:
                sender.transfer(0, sent, payload, settled=True)
                sent += 1
            try:
                flow = sender.expect(FLOW, lambda f: f.fields.get("handle") == 0, limit=0.5)
            except AssertionError:
                break  # no credit any more: stopped
            limit = int(flow.fields["delivery_count"]) + int(flow.fields["link_credit"])
        assert sent < 100000, "never stopped"
        assert shared.rss_kb() < before + kilobytes(32768), "%d messages sent" % sent
        exchange(pair)


def test_client_that_asks_and_never_reads_takes_no_memory(shared, pair):
    """Echoes asked for are owed; a client that does not read them must not make the router keep them."""
    with Wire(shared, receive_buffer=4096) as wire:
        wire.open_session()
        before = shared.rss_kb()
        sent = flood(wire, frame(performative(FLOW, next_incoming_id=0, incoming_window=UNLIMITED, next_outgoing_id=0,
                                              outgoing_window=UNLIMITED, echo=True)) * 1000)
        assert shared.rss_kb() < before + kilobytes(32768), "%d octets of echo requests taken" % sent
        exchange(pair)


def test_client_that_asks_and_never_reads_is_gone_in_time(shared, pair):
    """It is closed for it, and its socket does not wait for the client to look."""
    files, connections = shared.open_files(), connection_count(shared)
    with Wire(shared, receive_buffer=4096) as wire:
        wire.open(container_id="deaf")
        wire.begin()
        wire.attach("in", 0, False, "closest/deaf")
        asks = frame(performative(FLOW, next_incoming_id=0, incoming_window=UNLIMITED, next_outgoing_id=0, handle=0,
                                  outgoing_window=UNLIMITED, delivery_count=0, link_credit=1, echo=True)) * 1000
        refused = re.compile(r"failed: amqp:resource-limit-exceeded too many answers wait to be read")
        seen = len(refused.findall(shared.log()))

        def thrown_out():
            flood(wire, asks, limit=1 << 20, duration=1)
            return len(refused.findall(shared.log())) > seen
        wait_until(thrown_out, 30, "the router to have enough of it")
        start, cpu = time.monotonic(), shared.cpu_seconds()
        wait_until(lambda: shared.open_files() <= files, 7, "the socket to close")
        wait_until(lambda: connection_count(shared) <= connections, 3, "the connection to go")
        assert time.monotonic() - start > 1  # it was given time to read
        assert shared.cpu_seconds() - cpu < seconds(2)
        exchange(pair)


def test_attach_and_detach_without_reading_takes_no_memory(shared, pair):
    with Wire(shared, receive_buffer=4096) as wire:
        wire.open_session()
        before = shared.rss_kb()
        sent = flood(wire, (frame(performative(ATTACH, name="flap", handle=0, role=False, initial_delivery_count=0,
                                               source=described(SOURCE), target=described(TARGET, "closest/flap")))
                            + frame(performative(DETACH, handle=0, closed=True))) * 100, duration=3)
        assert shared.rss_kb() < before + kilobytes(65536), "%d octets of attaches taken" % sent
        exchange(pair)


# -- those that die

def story_of_a_client():
    """Everything a simple client sends, SASL and all, as one stream; and where its frames begin."""
    parts = [SASL_HEADER, frame(performative(SASL_INIT, mechanism="ANONYMOUS", initial_response=b"anonymous"), kind=1),
             AMQP_HEADER, frame(performative(OPEN, container_id="mortal", max_frame_size=65536)),
             frame(performative(BEGIN, next_outgoing_id=0, incoming_window=UNLIMITED, outgoing_window=UNLIMITED)),
             frame(performative(ATTACH, name="in", handle=0, role=True, source=described(SOURCE, "closest/mortal"),
                                target=described(TARGET))),
             frame(performative(FLOW, next_incoming_id=0, incoming_window=UNLIMITED, next_outgoing_id=0,
                                outgoing_window=UNLIMITED, handle=0, delivery_count=0, link_credit=100)),
             frame(performative(ATTACH, name="out", handle=1, role=False, source=described(SOURCE),
                                target=described(TARGET), initial_delivery_count=0)),
             frame(performative(TRANSFER, handle=1, delivery_id=0, delivery_tag=b"0", message_format=0)
                   + message("last words", to="closest/mortal")),
             frame(performative(DISPOSITION, role=True, first=0, settled=True, state=described(0x24))),
             frame(performative(DETACH, handle=1, closed=True)), frame(performative(END)), frame(performative(CLOSE))]
    return b"".join(parts)


@pytest.mark.parametrize("reset", [False, True], ids=["end-of-stream", "reset"])
def test_client_that_dies_after_any_byte_leaves_nothing_behind(shared, pair, reset):
    story = story_of_a_client()
    files = shared.open_files()
    for length in range(0, len(story) + 1, 1 if not reset else 3):
        with Wire(shared) as wire:
            wire.raw(story[:length])
            wire.drop(reset)
    wait_until(lambda: shared.open_files() <= files, 10, lambda: "sockets to close; %d are open" % shared.open_files())
    exchange(pair)


def test_client_that_dies_at_any_stage_of_a_conversation_leaves_nothing_behind(shared):
    """The same, but the router has had the time to answer each frame."""
    story = story_of_a_client()
    files = shared.open_files()
    stages = [8]
    while stages[-1] < len(story):
        at = stages[-1]
        stages.append(at + (8 if story[at:at + 4] == b"AMQP" else struct.unpack(">I", story[at:at + 4])[0]))
    for last in stages:
        with Wire(shared) as wire:
            begin = 0
            for end in [stage for stage in stages if stage <= last]:
                wire.raw(story[begin:end])
                begin = end
                select.select([wire.socket], [], [], 0.02)
    wait_until(lambda: shared.open_files() <= files, 10, lambda: "sockets to close; %d are open" % shared.open_files())


def test_stream_cut_into_single_bytes_is_understood(wire):
    story = story_of_a_client()
    at = story.index(b"\0\x53\x14") - 8  # the transfer waits for credit, or it would be the client's mistake
    for byte in story[:at]:
        wire.raw(bytes([byte]))
    wire.wait_credit(1)
    for byte in story[at:]:
        wire.raw(bytes([byte]))
    wire.expect_end()
    codes = [got.code for got in wire.seen if got.code is not None]
    assert codes[:3] == [SASL_MECHANISMS, SASL_OUTCOME, OPEN] and codes[-1] == CLOSE, codes
    assert TRANSFER in codes
    assert not any(error_of(got) for got in wire.seen), wire.story()


def test_hundreds_of_half_open_connections_disturb_nobody(shared, pair):
    """Each sends half a frame and waits."""
    story, wires = story_of_a_client(), []
    files, before = shared.open_files(), shared.rss_kb()
    try:
        for number in range(300):
            wire = Wire(shared)
            wires.append(wire)
            wire.raw(story[:number % 200])
        exchange(pair)
        assert shared.rss_kb() < before + kilobytes(300 * 64)
    finally:
        for wire in wires:
            wire.drop()
    wait_until(lambda: shared.open_files() <= files, 10, "sockets to close")


def test_sender_that_dies_amid_a_message_aborts_it_for_the_consumer(shared, pair):
    """wire-protocol.md section 4.5: transfer with aborted=true; the consumer's link stays usable."""
    with Wire(shared) as consumer:
        consumer.open_session()
        consumer.attach("in", 0, False, "closest/amid")
        consumer.credit(0, 10)
        with Wire(shared) as sender:
            sender.open_session()
            sender.attach("out", 0, True, "closest/amid")
            sender.wait_credit()
            whole = message("x" * 300000)
            sender.transfer(0, 0, whole[:15000], more=True)
            sender.send(TRANSFER, payload=whole[15000:30000], handle=0, more=True)
            consumer.expect(TRANSFER)  # it has begun to flow
        last = consumer.expect(TRANSFER, lambda f: not f.fields.get("more"))
        assert last.fields.get("aborted") is True, last.fields
        with Wire(shared) as sender:
            sender.open_session()
            sender.attach("out", 0, True, "closest/amid")
            sender.wait_credit()
            sender.transfer(0, 0, message("whole"))
            assert b"whole" in consumer.expect(TRANSFER).payload


def test_aborted_delivery_is_aborted_for_the_consumer(shared):
    with Wire(shared) as consumer, Wire(shared) as sender:
        consumer.open_session()
        consumer.attach("in", 0, False, "closest/aborted")
        consumer.credit(0, 10)
        sender.open_session()
        sender.attach("out", 0, True, "closest/aborted")
        sender.wait_credit()
        sender.transfer(0, 0, message("x" * 100000)[:15000], more=True)
        consumer.expect(TRANSFER)
        sender.send(TRANSFER, handle=0, more=False, aborted=True)
        last = consumer.expect(TRANSFER, lambda f: not f.fields.get("more"))
        assert last.fields.get("aborted") is True
        sender.transfer(0, 1, message("after"))
        assert b"after" in consumer.expect(TRANSFER).payload


# -- SASL

def test_unknown_sasl_mechanism_gets_outcome_auth(shared):
    """AMQP 1.0 part 5.3.3.6, SASL Code: 1, auth."""
    with Wire(listener(shared, "strict")) as wire:
        wire.raw(SASL_HEADER)
        wire.expect(SASL_MECHANISMS)
        wire.send(SASL_INIT, mechanism="X-NO-SUCH")
        assert wire.expect(SASL_OUTCOME).fields["code"] == 1
        wire.expect_end()


def test_no_sasl_where_it_is_required_is_refused(shared):
    with Wire(listener(shared, "strict")) as wire:
        wire.raw(AMQP_HEADER)
        wire.send(OPEN, container_id="bold")
        frames = wire.expect_end()
        assert all(got.code in (OPEN, CLOSE) for got in frames), wire.story()
        assert not [got for got in frames if got.code == BEGIN]


def test_no_sasl_where_it_is_not_required_is_fine(wire):
    wire.open_session()


@pytest.mark.parametrize("body", [b"\0\x53\x41\xd0\xff\xff\xff\xff\0\0\0\1", b"\0\x53\x41\x45", b"\0\x53\x49\x45", b"",
                                  performative(SASL_INIT, mechanism="X" * 60000)[:60000]],
                         ids=["long-list", "no-mechanism", "unknown", "empty", "long-name"])
def test_sasl_frame_that_is_none_ends_the_connection(shared, body):
    with Wire(listener(shared, "strict")) as wire:
        wire.raw(SASL_HEADER + frame(body, kind=1))
        if body == b"":
            wire.raw(frame(performative(SASL_INIT, mechanism="X-NO-SUCH"), kind=1))
        wire.expect_end()


def test_sasl_frame_above_512_octets_is_refused(shared):
    """AMQP 1.0 part 5.3.1, SASL Frames: at most 512 octets, nothing is negotiated yet."""
    with Wire(listener(shared, "strict")) as wire:
        wire.raw(SASL_HEADER + struct.pack(">IBBH", 1 << 30, 2, 1, 0) + bytes(2000))
        wire.expect_end()


# -- idle time-outs, both ways

def test_silent_client_is_thrown_out_after_the_idle_time(shared):
    """wire-protocol.md section 1.2: half of the time is announced, the whole is kept."""
    with Wire(listener(shared, "impatient")) as wire:
        announced = wire.open().fields["idle_time_out"]
        assert announced == IDLE_S * 1000 / 2
        start = time.monotonic()
        assert wire.expect_error(CLOSE, limit=IDLE_S + 8) == "amqp:resource-limit-exceeded"
        assert time.monotonic() - start > IDLE_S - 0.5
        wire.expect_end()


def test_client_that_sends_heartbeats_stays(shared):
    with Wire(listener(shared, "impatient")) as wire:
        wire.open()
        end = time.monotonic() + 2 * IDLE_S
        while time.monotonic() < end:
            wire.raw(frame())
            readable, _, _ = select.select([wire.socket], [], [], IDLE_S / 4)
            if readable:
                got = wire.read()
                assert got is not None and got.code is None, wire.story()
        wire.begin()


def test_router_sends_heartbeats_often_enough(wire):
    """idle-time-out of the peer: something must come well within it (AMQP 1.0 part 2.4.5, Idle Timeout)."""
    wire.open(idle_time_out=1000)
    last = time.monotonic()
    for _ in range(6):
        got = wire.read(limit=3)
        now = time.monotonic()
        assert got is not None and got.code is None, wire.story()
        assert now - last < seconds(1.0), "silent for %.2f s" % (now - last)
        last = now


def test_absurdly_short_idle_time_out_does_not_spin_the_router(shared, wire):
    wire.raw(AMQP_HEADER)
    wire.send(OPEN, container_id="hasty", idle_time_out=1)
    cpu, end = shared.cpu_seconds(), time.monotonic() + 1
    while time.monotonic() < end:
        try:
            if wire.read(limit=0.2) is None:
                break  # refused: just as well
        except AssertionError:
            pass
    assert shared.cpu_seconds() - cpu < 0.6


def test_close_is_answered_and_nothing_after_it_matters(wire):
    wire.open_session()
    wire.send(CLOSE)
    wire.raw(b"\xff" * 1000)
    frames = wire.expect_end()
    assert frames[-1].code == CLOSE and error_of(frames[-1]) is None, wire.story()


def test_end_with_links_attached_is_answered(wire):
    wire.open_session()
    for handle in range(20):
        wire.attach("l%d" % handle, handle, handle % 2 == 0, "closest/ends")
    wire.send(END)
    assert error_of(wire.expect(END)) is None
    wire.begin()


def test_session_ids_may_start_anywhere(wire):
    """next-outgoing-id close to the wrap: serial numbers (AMQP 1.0 part 2.8.10, Sequence No)."""
    wire.open()
    wire.begin(next_outgoing_id=0xfffffffe)
    wire.attach("out", 0, True, "closest/wrap", initial_delivery_count=0xfffffffd)
    wire.attach("in", 1, False, "closest/wrap")
    wire.credit(1, 100)
    wire.wait_credit(0)
    first = 0xfffffffe
    for number in range(6):
        wire.transfer(0, (first + number) & 0xffffffff, message("m%d" % number))
    for number in range(6):
        got = wire.expect(TRANSFER)
        assert b"m%d" % number in got.payload
        wire.send(DISPOSITION, role=True, first=got.fields["delivery_id"], settled=True, state=described(0x24))
    wanted = {(first + n) & 0xffffffff for n in range(6)}
    while settled_by_peer(wire) != wanted:
        assert wire.read() is not None, wire.story()


def settled_by_peer(wire):
    """Ids of our deliveries that the peer has settled in all it has said so far."""
    settled = set()
    for got in wire.seen:
        if got.code == DISPOSITION and got.fields["role"] is True and got.fields.get("settled"):
            begin = int(got.fields["first"])
            last = begin if got.fields.get("last") is None else int(got.fields["last"])
            settled.update((begin + n) & 0xffffffff for n in range(((last - begin) & 0xffffffff) + 1))
    return settled


def test_value_of_every_type_in_open_properties_is_taken(wire):
    """DISPATCH-883: properties of an unexpected type brought the old router down."""
    raw = (b"\xd1" + b"%s")
    entries = b""
    values = [b"\x40", b"\x41", b"\x50\1", b"\x60\0\1", b"\x70\0\0\0\1", b"\x80" + bytes(8), b"\x51\1", b"\x61\0\1",
              b"\x71\0\0\0\1", b"\x81" + bytes(8), b"\x72" + bytes(4), b"\x82" + bytes(8), b"\x73" + bytes(4),
              b"\x83" + bytes(8), b"\x98" + bytes(16), b"\xa0\1x", b"\xa1\1x", b"\xa3\1x", b"\x45", b"\xc1\1\0",
              b"\xe0\2\0\x40", b"\x74" + bytes(4), b"\x84" + bytes(8), b"\x94" + bytes(16)]
    names = [b"product", b"version", b"qd.conn-id", b"failover-server-list", b"qd.annotations-version"]
    for number, value in enumerate(values):
        name = names[number] if number < len(names) else b"k%d" % number
        entries += b"\xa3" + bytes([len(name)]) + name + value
    properties = raw % (struct.pack(">II", len(entries) + 4, 2 * len(values)) + entries)
    body = encode("typed") + b"\x40" * 8 + properties
    wire.raw(AMQP_HEADER + frame(b"\0\x53\x10\xd0" + struct.pack(">II", len(body) + 4, 10) + body))
    assert wire.read().code == OPEN
    wire.begin()


def test_attach_with_nothing_but_the_mandatory_fields_is_answered(wire):
    wire.open_session()
    wire.send(ATTACH, name="bare", handle=0, role=True)
    got = wire.expect(ATTACH)
    assert got.fields["name"] == "bare"


def test_uint_maximum_in_every_number_of_flow_is_taken(wire):
    wire.open_session()
    wire.attach("in", 0, False, "closest/max")
    top = 0xffffffff
    wire.send(FLOW, next_incoming_id=top, incoming_window=top, next_outgoing_id=top, outgoing_window=top, handle=0,
              delivery_count=top, link_credit=top, available=top, echo=True)
    wire.attach("out", 1, True, "closest/max")
    wire.wait_credit(1)


def test_address_of_great_length_is_taken(wire):
    wire.open_session()
    wire.attach("long", 0, False, "closest/" + "x" * 7000)
