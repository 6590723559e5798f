"""A client that writes frames by hand, right or wrong, and reads what comes back.

Values are encoded and decoded by proton's codec; frames, and everything a real client would refuse to send, are ours.

    with Wire(router) as wire:
        wire.open_session()
        wire.send(BEGIN, remote_channel=None, ...)       # fields by name, in the order of AMQP 1.0 part 2.7
        wire.raw(b"\\0\\0\\0\\7")
        assert wire.expect_error(CLOSE) == "amqp:connection:framing-error"
"""
import socket
import struct
import time
from collections import namedtuple

from proton import Data, Described, symbol, ubyte, uint, ulong, ushort

from support.deadline import seconds

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
SASL_MECHANISMS, SASL_INIT, SASL_CHALLENGE, SASL_RESPONSE, SASL_OUTCOME = range(0x40, 0x45)
RECEIVED, ACCEPTED, REJECTED, RELEASED, MODIFIED = range(0x23, 0x28)
ERROR, SOURCE, TARGET = 0x1d, 0x28, 0x29
AMQP_HEADER, SASL_HEADER = b"AMQP\0\1\0\0", b"AMQP\3\1\0\0"

# Fields in the order of the specification (AMQP 1.0 part 2.7, Performatives), each with its type.
FIELDS = {
    OPEN: [("container_id", str), ("hostname", str), ("max_frame_size", uint), ("channel_max", ushort),
           ("idle_time_out", uint), ("outgoing_locales", None), ("incoming_locales", None),
           ("offered_capabilities", None), ("desired_capabilities", None), ("properties", None)],
    BEGIN: [("remote_channel", ushort), ("next_outgoing_id", uint), ("incoming_window", uint),
            ("outgoing_window", uint), ("handle_max", uint), ("offered_capabilities", None),
            ("desired_capabilities", None), ("properties", None)],
    ATTACH: [("name", str), ("handle", uint), ("role", bool), ("snd_settle_mode", ubyte), ("rcv_settle_mode", ubyte),
             ("source", None), ("target", None), ("unsettled", None), ("incomplete_unsettled", bool),
             ("initial_delivery_count", uint), ("max_message_size", ulong), ("offered_capabilities", None),
             ("desired_capabilities", None), ("properties", None)],
    FLOW: [("next_incoming_id", uint), ("incoming_window", uint), ("next_outgoing_id", uint),
           ("outgoing_window", uint), ("handle", uint), ("delivery_count", uint), ("link_credit", uint),
           ("available", uint), ("drain", bool), ("echo", bool), ("properties", None)],
    TRANSFER: [("handle", uint), ("delivery_id", uint), ("delivery_tag", bytes), ("message_format", uint),
               ("settled", bool), ("more", bool), ("rcv_settle_mode", ubyte), ("state", None), ("resume", bool),
               ("aborted", bool), ("batchable", bool)],
    DISPOSITION: [("role", bool), ("first", uint), ("last", uint), ("settled", bool), ("state", None),
                  ("batchable", bool)],
    DETACH: [("handle", uint), ("closed", bool), ("error", None)],
    END: [("error", None)],
    CLOSE: [("error", None)],
    SASL_MECHANISMS: [("mechanisms", None)],
    SASL_INIT: [("mechanism", symbol), ("initial_response", bytes), ("hostname", str)],
    SASL_RESPONSE: [("response", bytes)],
    SASL_OUTCOME: [("code", ubyte), ("additional_data", bytes)],
}
NAMES = {OPEN: "open", BEGIN: "begin", ATTACH: "attach", FLOW: "flow", TRANSFER: "transfer",
         DISPOSITION: "disposition", DETACH: "detach", END: "end", CLOSE: "close", SASL_MECHANISMS: "sasl-mechanisms",
         SASL_OUTCOME: "sasl-outcome"}
UNLIMITED = 0x7fffffff

# code: None for an empty frame. fields: a dict by name. payload: what follows the performative.
Frame = namedtuple("Frame", "channel type code fields payload")


def encode(value):
    """One AMQP value."""
    data = Data()
    data.put_object(value)
    return data.encode()


def described(code, *fields):
    """A composite as a value, for instance described(SOURCE, "address")."""
    return Described(ulong(code), list(fields))


def performative(code, **fields):
    """The bytes of a performative; a field left out is null, and so are all after the last given."""
    names = [name for name, _ in FIELDS[code]]
    unknown = set(fields) - set(names)
    assert not unknown, "no field %s in %s" % (unknown, NAMES[code])
    count = max((names.index(name) + 1 for name in fields), default=0)
    values = []
    for name, kind in FIELDS[code][:count]:
        value = fields.get(name)
        values.append(value if value is None or kind is None else kind(value))
    return encode(Described(ulong(code), values))


def frame(body=b"", channel=0, kind=0, doff=2, size=None):
    """A frame; doff and size may lie."""
    size = 8 + len(body) if size is None else size
    return struct.pack(">IBBH", size, doff, kind, channel) + body


def message(body="hello", to=None):
    """The bytes of a message: properties if it has a `to`, and an amqp-value."""
    properties = encode(Described(ulong(0x73), [None, None, to])) if to else b""
    return properties + encode(Described(ulong(0x77), body))


def parse(data):
    """The frame that data (one whole frame) holds."""
    size, doff, kind, channel = struct.unpack(">IBBH", data[:8])
    body = data[doff * 4:]
    if not body:
        return Frame(channel, kind, None, {}, b"")
    value = Data()
    used = value.decode(body)
    value.rewind()
    value.next()
    composite = value.get_object()
    code = int(composite.descriptor)
    names = [name for name, _ in FIELDS[code]]
    return Frame(channel, kind, code, dict(zip(names, composite.value)), body[used:])


class Ended(AssertionError):
    """The peer ended the connection where a frame was expected."""


class Wire:
    """One socket. Waits have deadlines; a frame that never comes fails the test.

    It counts on the peer using our channel and handle numbers for its own, as long as the test opens them in order.
    """

    def __init__(self, router, receive_buffer=None):
        """router: a Router, (host, port), or a connected socket."""
        if isinstance(router, socket.socket):
            self.socket = router
        else:
            self.socket = self._connected(router, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.seen = []  # every frame read, oldest first
        self.next_incoming = {}   # by channel: id of the transfer frame we expect next
        self.delivery_counts = {}  # by (channel, handle of the peer): deliveries it has sent, as it counts them

    @staticmethod
    def _connected(router, receive_buffer):
        host, port = (router.host, router.port) if hasattr(router, "port") else router
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        made.settimeout(seconds(10))
        made.connect((host, port))
        return made

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.drop()

    def drop(self, reset=False):
        """Close the socket; with reset, so that the peer gets an error instead of an end of stream."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # -- writing

    def raw(self, data):
        """Write bytes. That the peer has closed already is no failure here: what it said before is to be read."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def send(self, code, channel=0, payload=b"", **fields):
        """Write one frame."""
        kind = 1 if code >= SASL_MECHANISMS else 0
        self.raw(frame(performative(code, **fields) + payload, channel, kind))

    def open(self, **fields):
        """Protocol header and open, both ways; return the peer's open."""
        self.raw(AMQP_HEADER)
        self.send(OPEN, **{"container_id": "wire", "max_frame_size": 65536, **fields})
        return self.expect(OPEN)

    def begin(self, channel=0, **fields):
        """Begin a session; return the peer's begin."""
        self.send(BEGIN, channel, **{"next_outgoing_id": 0, "incoming_window": UNLIMITED, "outgoing_window": UNLIMITED,
                                     **fields})
        return self.expect(BEGIN)

    def attach(self, name, handle, sender, address, wait=True, channel=0, **fields):
        """Attach a link to an address, as its sender or receiver; return the peer's attach."""
        terms = {"name": name, "handle": handle, "role": not sender, "source": described(SOURCE, address),
                 "target": described(TARGET, address)}
        if sender:
            terms["initial_delivery_count"] = 0
        self.send(ATTACH, channel, **{**terms, **fields})
        return self.expect(ATTACH) if wait else None

    def credit(self, handle, credit, channel=0, **fields):
        """Grant credit on a link that we receive on: `credit` deliveries more than have come."""
        self.send(FLOW, channel, **{"next_incoming_id": self.next_incoming.get(channel, 0), "incoming_window": UNLIMITED,
                                    "next_outgoing_id": 0, "outgoing_window": UNLIMITED, "handle": handle,
                                    "delivery_count": self.delivery_counts.get((channel, handle), 0),
                                    "link_credit": credit, **fields})

    def transfer(self, handle, delivery_id, payload, channel=0, **fields):
        """Send a delivery, or a part of one; its tag is its id unless fields say else."""
        tag = struct.pack(">I", delivery_id) if delivery_id is not None else None
        self.send(TRANSFER, channel, payload, **{"handle": handle, "delivery_id": delivery_id, "delivery_tag": tag,
                                                 "message_format": 0, **fields})

    def open_session(self, **fields):
        """open and begin, both ways."""
        self.open(**fields)
        self.begin()

    def wait_credit(self, handle=0, at_least=1):
        """Wait until the peer has granted credit on a handle of its own, also if it was read before; return how much."""
        def grants(got):
            return got.code == FLOW and got.fields.get("handle") == handle and (got.fields.get("link_credit") or 0) >= at_least
        granted = next((got for got in reversed(self.seen) if grants(got)), None)
        return (granted or self.expect(FLOW, grants)).fields["link_credit"]

    def window_end(self, channel=0):
        """The transfer-id up to which the peer takes frames, by what was read of it so far; ours begin with 0."""
        told = next(got for got in reversed(self.seen) if got.channel == channel and got.code in (BEGIN, FLOW))
        first = told.fields.get("next_incoming_id") if told.code == FLOW else 0
        return int(first or 0) + int(told.fields["incoming_window"])

    def wait_window(self, sent, limit=10.0):
        """Wait until the session window lets at least one frame follow the `sent` first ones; return how many."""
        end = time.monotonic() + seconds(limit)
        while self.window_end() <= sent:
            if self._read_until(end) is None:
                raise Ended("the peer ended the connection; frames seen: %s" % self.story())
        return self.window_end() - sent

    # -- reading

    def _fill(self, end):
        """Read what comes until `end`; false at the end of the stream."""
        left = end - time.monotonic()
        if left <= 0:
            raise AssertionError("nothing came in time; frames seen: %s" % self.story())
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(65536)
        except socket.timeout:
            raise AssertionError("nothing came in time; frames seen: %s" % self.story()) from None
        except ConnectionResetError:
            data = b""
        self.buffer += data
        return bool(data)

    def _count(self, got):
        """Keep the counters that our flow frames must tell."""
        if got.code == BEGIN:
            self.next_incoming[got.channel] = int(got.fields["next_outgoing_id"])
        elif got.code == TRANSFER:
            self.next_incoming[got.channel] = (self.next_incoming[got.channel] + 1) & 0xffffffff
            if not got.fields.get("more"):
                link = (got.channel, int(got.fields["handle"]))
                self.delivery_counts[link] = (self.delivery_counts.get(link, 0) + 1) & 0xffffffff
        elif got.code == ATTACH and got.fields["role"] is False:
            link = (got.channel, int(got.fields["handle"]))
            self.delivery_counts[link] = int(got.fields.get("initial_delivery_count") or 0)

    def read_header(self, limit=10.0):
        """Read a protocol header; b"" when the peer ended the stream instead."""
        end = time.monotonic() + seconds(limit)
        while len(self.buffer) < 8:
            if not self._fill(end):
                return b""
        header = bytes(self.buffer[:8])
        del self.buffer[:8]
        return header

    def read(self, limit=10.0):
        """Read a frame, skipping protocol headers; None at the end of the stream."""
        return self._read_until(time.monotonic() + seconds(limit))

    def _read_until(self, end):
        while True:
            if self.buffer[:4] == b"AMQP" and len(self.buffer) >= 8:
                del self.buffer[:8]
            if len(self.buffer) >= 8 and self.buffer[:4] != b"AMQP":
                size = struct.unpack(">I", self.buffer[:4])[0]
                if len(self.buffer) >= size:
                    got = parse(bytes(self.buffer[:size]))
                    del self.buffer[:size]
                    self._count(got)
                    self.seen.append(got)
                    return got
            if not self._fill(end):
                return None

    def expect(self, code, condition=lambda f: True, limit=10.0):
        """Read until a frame of that kind comes for which condition holds, passing over others."""
        end = time.monotonic() + seconds(limit)
        while True:
            got = self._read_until(end)
            if got is None:
                raise Ended("the peer ended the connection before its %s; frames seen: %s" % (NAMES[code], self.story()))
            if got.code == code and condition(got):
                return got

    def expect_any(self, codes, limit=10.0):
        """Read until a frame of one of these kinds comes, passing over others."""
        end = time.monotonic() + seconds(limit)
        while True:
            got = self._read_until(end)
            if got is None:
                raise Ended("the peer ended the connection without a word; frames seen: %s" % self.story())
            if got.code in codes:
                return got

    def expect_error(self, code, limit=10.0):
        """Read until a detach, end or close comes; return the condition of its error (None without one)."""
        return error_of(self.expect(code, limit=limit))

    def expect_end(self, limit=10.0):
        """Read until the peer ends the stream; return the frames that came before."""
        end = time.monotonic() + seconds(limit)
        frames = []
        while True:
            got = self._read_until(end)
            if got is None:
                return frames
            frames.append(got)

    def story(self):
        return ", ".join(NAMES.get(f.code, str(f.code)) + (" %s" % error_of(f) if error_of(f) else "")
                         for f in self.seen[-12:])


def error_of(got):
    """The error condition that a detach, end, close or rejected disposition carries, as text, or None."""
    error = got.fields.get("error") if got.code in (DETACH, END, CLOSE) else None
    if error is None and got.code == DISPOSITION:
        state = got.fields.get("state")
        if state is not None and int(state.descriptor) == REJECTED and state.value:
            error = state.value[0]
    return str(error.value[0]) if error is not None else None
