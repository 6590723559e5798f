"""Messages of many frames: cut through, bounded in memory, whole at the other end."""
import hashlib
import os
import struct
import threading

import pytest
from proton import Message

from support.deadline import kilobytes, seconds
from support.peers import ACCEPTED
from support.router import Config
from support.wire import ACCEPTED as ACCEPTED_CODE, DETACH, DISPOSITION, FLOW, TRANSFER, UNLIMITED, Wire, described, frame, parse, performative


@pytest.mark.parametrize("size", [0, 1, 16000, 16384, 65535, 65536, 127 << 10, 129 << 10, 1 << 20, 7_654_321])
def test_body_of_any_size_arrives_whole(router, peers, size):
    inbox = peers.connect(router).receiver("closest/size")
    outbox = peers.connect(router).sender("closest/size")
    body = os.urandom(size)
    sent = outbox.send(Message(body, subject="of size"))
    received = inbox.next(30)
    assert bytes(received.body) == body
    assert outbox.outcome(sent).state == ACCEPTED


@pytest.mark.parametrize("frame_in, frame_out", [(512, 65536), (65536, 512), (512, 512), (4096, 16384)])
def test_frame_sizes_of_both_sides_may_differ(start_router, frame_in, frame_out):
    """No frame exceeds what its receiver announced, either way."""
    router = start_router(Config().change("listener", maxFrameSize=frame_in))
    with Wire(router) as consumer, Wire(router) as sender:
        assert consumer.open(max_frame_size=frame_out).fields["max_frame_size"] == frame_in
        consumer.begin()
        consumer.attach("in", 0, False, "closest/frames")
        consumer.credit(0, 10)
        sender.open_session()
        sender.attach("out", 0, True, "closest/frames")
        sender.wait_credit()
        body = os.urandom(50000)
        whole = b"\0\x53\x75\xb0" + struct.pack(">I", len(body)) + body
        step = frame_in - 64
        for at in range(0, len(whole), step):
            more = at + step < len(whole)
            if at == 0:
                sender.transfer(0, 0, whole[:step], more=more)
            else:
                sender.send(TRANSFER, payload=whole[at:at + step], handle=0, more=more)
        received = b""
        while True:
            got = consumer.expect(TRANSFER)
            assert len(got.payload) <= frame_out - 8
            received += got.payload
            if not got.fields.get("more"):
                break
        assert received == whole


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("settled", [True, False], ids=["settled", "unsettled"])
@pytest.mark.parametrize("leaves", ["detach", "vanish"])
def test_message_half_here_goes_to_another_consumer_when_the_first_leaves_before_it_was_sent_any(start_router, workers, settled, leaves):
    router = start_router(Config().change("router", workerThreads=workers))
    with Wire(router) as first, Wire(router) as other, Wire(router) as sender:
        for wire in (first, other, sender):
            wire.open_session()
        first.attach("first", 0, False, "closest/half")
        sender.attach("out", 0, True, "closest/half")
        sender.wait_credit()
        body = os.urandom(60000)
        whole = b"\0\x53\x75\xb0" + struct.pack(">I", len(body)) + body
        sender.transfer(0, 0, whole[:10000], more=True, settled=settled)
        sender.send(FLOW, next_incoming_id=0, incoming_window=UNLIMITED, next_outgoing_id=1, outgoing_window=UNLIMITED, echo=True)
        sender.expect(FLOW)  # it has been taken, and waits for the first consumer's credit
        other.attach("other", 0, False, "closest/half")
        other.credit(0, 10)
        if leaves == "detach":
            first.send(DETACH, handle=0, closed=True)
            first.expect(DETACH)
        else:
            first.drop(reset=True)
        received = other.expect(TRANSFER).payload
        for at in range(10000, len(whole), 10000):
            sender.send(TRANSFER, payload=whole[at:at + 10000], handle=0, more=at + 10000 < len(whole), settled=settled)
        while True:
            got = other.expect(TRANSFER)
            received += got.payload
            if not got.fields.get("more"):
                break
        assert received == whole
        if not settled:
            other.send(DISPOSITION, role=True, first=0, last=0, settled=True, state=described(ACCEPTED_CODE))
            assert int(sender.expect(DISPOSITION).fields["state"].descriptor) == ACCEPTED_CODE


def test_multicast_of_a_large_message_arrives_whole_everywhere(router, peers):
    inboxes = [peers.connect(router).receiver("multicast/large") for _ in range(4)]
    outbox = peers.connect(router).sender("multicast/large")
    body = os.urandom(3 << 20)
    sent = outbox.send(Message(body))
    digest = hashlib.sha256(body).digest()
    for inbox in inboxes:
        assert hashlib.sha256(inbox.next(30).body).digest() == digest
    assert outbox.outcome(sent).state == ACCEPTED


def test_large_messages_from_many_senders_do_not_mix(router, peers):
    """Parts of several deliveries on links of one session towards one consumer."""
    inbox = peers.connect(router).receiver("closest/mix", credit=100)
    outboxes = [peers.connect(router).sender("closest/mix") for _ in range(4)]
    bodies = {bytes([65 + number]) * 400_000 for number in range(4)}
    deliveries = [(outbox, outbox.send(Message(body))) for outbox, body in zip(outboxes, bodies)]
    assert {bytes(inbox.next(30).body) for _ in bodies} == bodies
    assert all(outbox.outcome(delivery).state == ACCEPTED for outbox, delivery in deliveries)


def test_large_message_flows_on_before_its_end_is_there(router):
    """Cut-through: the consumer gets the beginning while the sender still holds the rest."""
    with Wire(router) as consumer, Wire(router) as sender:
        consumer.open_session()
        consumer.attach("in", 0, False, "closest/cut")
        consumer.credit(0, 1)
        sender.open_session()
        sender.attach("out", 0, True, "closest/cut")
        sender.wait_credit()
        sender.transfer(0, 0, b"\0\x53\x75\xb0" + struct.pack(">I", 200000) + bytes(15000), more=True)
        for _ in range(9):
            sender.send(TRANSFER, payload=bytes(15000), handle=0, more=True)
        received = 0
        while received < 10 * 15000:
            received += len(consumer.expect(TRANSFER).payload)


class Stream(threading.Thread):
    """Sends one message of `size` octets of data in frames of 64 kB, as fast as the session window lets it."""

    CHUNK = 60000

    def __init__(self, wire, size):
        super().__init__(daemon=True)
        self.wire, self.size, self.failure = wire, size, None

    def run(self):
        try:
            part = frame(performative(TRANSFER, handle=0, more=True) + bytes(self.CHUNK))
            self.wire.transfer(0, 0, b"\0\x53\x75\xb0" + struct.pack(">I", 0xffffffff), more=True)
            left, sent = self.size, 1
            while left > 0:
                n = min(50, self.wire.wait_window(sent, 60))
                self.wire.socket.settimeout(seconds(60))
                self.wire.socket.sendall(part * n)
                sent += n
                left -= self.CHUNK * n
                del self.wire.seen[2:-1]
            self.wire.wait_window(sent, 60)
            self.wire.send(TRANSFER, handle=0, more=False)
        except Exception as e:  # handed to the test, which joins
            self.failure = e


@pytest.mark.heavy
def test_message_of_ten_gigabytes_passes_through_a_hundred_megabytes(start_router):
    """Data sections are at most 4 GB each; to the router the message is octets, and so it is made here."""
    size = 10 * 1000 ** 3
    router = start_router(Config().change("listener", maxFrameSize=65536, idleTimeoutSeconds=0))
    with Wire(router) as consumer, Wire(router) as sender:
        consumer.open(max_frame_size=65536)
        consumer.begin()
        consumer.attach("in", 0, False, "closest/endless")
        consumer.credit(0, 1)
        sender.open_session()
        sender.attach("out", 0, True, "closest/endless")
        sender.wait_credit()
        stream = Stream(sender, size)
        stream.start()
        received, peak, last, view = 0, 0, False, memoryview(bytearray(4 << 20))
        consumer.socket.settimeout(seconds(30))
        have = len(consumer.buffer)
        view[:have] = consumer.buffer
        while not last:
            used, end = 0, have
            while end - used >= 8:
                length = struct.unpack_from(">I", view, used)[0]
                if end - used < length:
                    break
                # Only the small last frame and the first need a decoder: full frames are all alike.
                if length < 1000:
                    got = parse(bytes(view[used:used + length]))
                    if got.code == TRANSFER:
                        received += len(got.payload)
                        last = not got.fields.get("more")
                else:
                    received += length - 40
                used += length
            view[:end - used] = view[used:end]
            have = end - used
            peak = max(peak, router.rss_kb())
            if not last:
                count = consumer.socket.recv_into(view[have:])
                assert count, "the router ended the connection after %d octets" % received
                have += count
        stream.join(seconds(60))
        assert stream.failure is None and not stream.is_alive(), stream.failure
        assert received > size * 0.99
        assert peak < 100 * 1024, "%d MB" % (peak // 1024)
        consumer.send(DISPOSITION, role=True, first=0, settled=True, state=described(0x24))
        sender.seen.clear()
        assert int(sender.expect(DISPOSITION).fields["state"].descriptor) == 0x24


def test_stream_to_a_consumer_that_stops_reading_is_held_back(router):
    """Bytes in flight are bounded, whatever the sender would like."""
    with Wire(router, receive_buffer=4096) as consumer, Wire(router) as sender:
        consumer.open_session()
        consumer.attach("in", 0, False, "closest/stops")
        consumer.credit(0, 1)
        sender.open_session()
        sender.attach("out", 0, True, "closest/stops")
        sender.wait_credit()
        before = router.rss_kb()
        sender.transfer(0, 0, b"\0\x53\x75\xb0" + struct.pack(">I", 0xffffffff), more=True)
        part, sent = frame(performative(TRANSFER, handle=0, more=True) + bytes(16000)), 1
        with pytest.raises(AssertionError, match="nothing came in time"):
            while sent * len(part) < 300 << 20:
                n = min(50, sender.wait_window(sent, 1))
                sender.socket.sendall(part * n)
                sent += n
        assert router.rss_kb() < before + kilobytes(65536), "%d frames taken" % sent
        other_in, other_out = Wire(router), Wire(router)
        with other_in, other_out:
            for wire in (other_in, other_out):
                wire.open_session()
            other_in.attach("in", 0, False, "closest/flows")
            other_in.credit(0, 1)
            other_out.attach("out", 0, True, "closest/flows")
            other_out.wait_credit()
            other_out.transfer(0, 0, b"\0\x53\x77\x40")
            other_in.expect(TRANSFER)
            other_in.send(FLOW, next_incoming_id=1, incoming_window=UNLIMITED, next_outgoing_id=0, outgoing_window=1,
                          echo=True)
            other_in.expect(FLOW)


def test_empty_transfer_then_abort_is_harmless(router):
    """DISPATCH-1988."""
    with Wire(router) as consumer, Wire(router) as sender:
        consumer.open_session()
        consumer.attach("in", 0, False, "closest/empty")
        consumer.credit(0, 10)
        sender.open_session()
        sender.attach("out", 0, True, "closest/empty")
        sender.wait_credit()
        sender.transfer(0, 0, b"", more=True)
        sender.send(TRANSFER, handle=0, aborted=True)
        sender.transfer(0, 1, b"\0\x53\x77\xa1\x05after")
        while True:
            got = consumer.expect(TRANSFER)
            if b"after" in got.payload:
                break
            assert got.payload == b"", "something came of nothing"
