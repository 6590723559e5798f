"""Many small AMQP clients in one thread, made to be killed at any moment.

A Swarm turns sockets that do not block; a Client is one of them, with one session. What it sends is encoded here, octet
by octet and cheaply, so that hundreds of clients can be busy at once; what it hears is decoded as far as clients act on
it. Nothing waits: a client pipelines its open, begin and attaches, and all that follows is a reaction.

    swarm = Swarm(router)
    client = Client(swarm, "name")
    client.add(SenderLink("q", ledger, ...))
    swarm.run(5.0)
"""
import selectors
import socket
import struct
import time

from support.wire import (ACCEPTED, AMQP_HEADER, ATTACH, BEGIN, CLOSE, DETACH, DISPOSITION, END, FLOW, MODIFIED, OPEN,
                          RECEIVED, REJECTED, RELEASED, SOURCE, TARGET, TRANSFER)

WINDOW = 0x7fffffff
OUTPUT_MAX = 256 * 1024  # a client with more than that to write makes no more
HEARTBEAT, HEARTBEAT_S = b"\0\0\0\x08\2\0\0\0", 2.0
OUTCOMES = {ACCEPTED: "accepted", REJECTED: "rejected", RELEASED: "released", MODIFIED: "modified"}

# ---- writing values (AMQP 1.0 part 1.6) ----

NULL, TRUE, FALSE = b"\x40", b"\x41", b"\x42"


def uint(value):
    if value == 0:
        return b"\x43"
    return b"\x52" + bytes((value,)) if value < 256 else b"\x70" + struct.pack(">I", value)


def boolean(value):
    return TRUE if value else FALSE


def string(text):
    data = text.encode()
    return b"\xa1" + bytes((len(data),)) + data if len(data) < 256 else b"\xb1" + struct.pack(">I", len(data)) + data


def binary(data):
    return b"\xa0" + bytes((len(data),)) + data if len(data) < 256 else b"\xb0" + struct.pack(">I", len(data)) + data


def composite(code, *fields):
    body = b"".join(fields)
    if len(body) < 255 and len(fields) < 256:
        return bytes((0, 0x53, code, 0xc0, len(body) + 1, len(fields))) + body
    return bytes((0, 0x53, code, 0xd0)) + struct.pack(">II", len(body) + 4, len(fields)) + body


def frame(performative, payload=b"", channel=0):
    return struct.pack(">IBBH", 8 + len(performative) + len(payload), 2, 0, channel) + performative + payload


# ---- reading values ----

FIXED = {0x40: (0, None), 0x41: (0, True), 0x42: (0, False), 0x43: (0, 0), 0x44: (0, 0), 0x50: (1, ">B"), 0x51: (1, ">b"),
         0x52: (1, ">B"), 0x53: (1, ">B"), 0x54: (1, ">b"), 0x55: (1, ">b"), 0x56: (1, ">?"), 0x60: (2, ">H"),
         0x61: (2, ">h"), 0x70: (4, ">I"), 0x71: (4, ">i"), 0x72: (4, ">f"), 0x80: (8, ">Q"), 0x81: (8, ">q"),
         0x82: (8, ">d"), 0x83: (8, ">q"), 0x98: (16, "16s")}


def value_at(data, at):
    """(value, where the next begins). Descriptors give (descriptor, value); maps and arrays are passed over."""
    code = data[at]
    at += 1
    if code in FIXED:
        width, form = FIXED[code]
        return (form if width == 0 else struct.unpack_from(form, data, at)[0]), at + width
    if code == 0x00:
        descriptor, at = value_at(data, at)
        value, at = value_at(data, at)
        return (descriptor, value), at
    if code == 0x45:
        return [], at
    if code in (0xa0, 0xa1, 0xa3):
        end = at + 1 + data[at]
        return bytes(data[at + 1:end]), end
    if code in (0xb0, 0xb1, 0xb3):
        end = at + 4 + struct.unpack_from(">I", data, at)[0]
        return bytes(data[at + 4:end]), end
    small = code in (0xc0, 0xc1, 0xe0)
    assert small or code in (0xd0, 0xd1, 0xf0), "type code 0x%02x" % code
    size, head = (data[at], 1) if small else (struct.unpack_from(">I", data, at)[0], 4)
    end = at + head + size
    if code not in (0xc0, 0xd0):
        return None, end
    count = data[at + 1] if small else struct.unpack_from(">I", data, at + 4)[0]
    at += 2 * head
    values = []
    for _ in range(count):
        value, at = value_at(data, at)
        values.append(value)
    return values, end


# ---- the swarm ----

class Swarm:
    """The loop that all clients share. Its clients end by themselves or are killed; run() returns when it is time."""

    def __init__(self, router):
        self.router = router
        self.selector = selectors.DefaultSelector()
        self.clients = set()
        self.made = 0

    def run(self, limit, until=lambda: False, each=lambda: None):
        """Turn for `limit` seconds, or until a condition holds; call `each` once a turn. Gives whether it held."""
        end = time.monotonic() + limit
        while not until():
            if time.monotonic() > end:
                return False
            for key, events in self.selector.select(0.005):
                key.data.ready(events)
            now = time.monotonic()
            for client in list(self.clients):
                client.turn(now)
            each()
        return True

    def kill_all(self):
        for client in list(self.clients):
            client.kill(reset=False)

    def close(self):
        self.kill_all()
        self.selector.close()


class Client:
    """One connection with one session; its links, added before the first turn, are told what concerns them.

    stage   where it dies by itself while opening: "connect", "header", "open", "begin", "half" (a frame cut short);
            None: it lives until it is ended
    """

    def __init__(self, swarm, name, stage=None, port=None):
        self.swarm, self.name, self.stage = swarm, name, stage
        self.links, self.by_remote = [], {}
        self.input, self.output = bytearray(), bytearray()
        self.ended = self.closing = self.begun = self.stalled = False
        self.window = 0           # frames that we may send
        self.sent_frames = 0      # next outgoing-id
        self.next_incoming = None
        self.next_delivery = 0
        self.by_delivery = {}     # of senders: delivery-id to link
        self.error = None
        self.heartbeat = 0.0      # when it is time to say that we live
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex((swarm.router.host, port or swarm.router.port))
        self.interest = 0
        self.watch(selectors.EVENT_READ | selectors.EVENT_WRITE)
        swarm.clients.add(self)
        swarm.made += 1
        self.greet()

    def greet(self):
        """What is said without waiting for an answer."""
        steps = [("header", AMQP_HEADER),
                 ("open", frame(composite(OPEN, string(self.name), NULL, uint(65536)))),
                 ("begin", frame(composite(BEGIN, NULL, uint(0), uint(WINDOW), uint(WINDOW))))]
        for stage, octets in steps:
            if self.stage == "connect":
                return
            self.output += octets
            if self.stage == stage:
                return
        if self.stage == "half":
            self.output += b"\x00\x00\x01\x00\x02\x00"

    def add(self, link):
        link.client, link.handle = self, len(self.links)
        self.links.append(link)
        self.output += frame(link.attach())
        return link

    # -- the end

    def kill(self, reset=True):
        """Gone without a word: what a process that is killed leaves behind."""
        if self.ended:
            return
        self.ended = True
        self.watch(0)
        self.swarm.clients.discard(self)
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
        for link in self.links:
            link.lost()

    def close(self):
        """In order: a close, and then until the peer has answered."""
        if not self.closing:
            self.closing = True
            self.output += frame(composite(CLOSE))

    def end_session(self):
        self.closing = True  # nothing more is said on it
        self.output += frame(composite(END))

    # -- the socket

    def ready(self, events):
        if events & selectors.EVENT_READ and not self.stalled:
            try:
                data = self.socket.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.kill(reset=False)
                return
            self.input += data
            self.take_frames()

    def turn(self, now):
        if self.ended:
            return
        if self.begun and not self.closing and not self.stalled:
            for link in self.links:
                link.pump()
            if now >= self.heartbeat and not self.output:
                self.output += HEARTBEAT
        if self.output:
            try:
                sent = self.socket.send(self.output)
                del self.output[:sent]
                self.heartbeat = now + HEARTBEAT_S
            except BlockingIOError:
                pass
            except OSError:
                self.kill(reset=False)
                return
        if not self.output and self.stage is not None:
            self.kill()
            return
        wanted = (0 if self.stalled else selectors.EVENT_READ) | (selectors.EVENT_WRITE if self.output else 0)
        self.watch(wanted)

    def watch(self, wanted):
        """Be told of these events; 0: of none."""
        if wanted == self.interest:
            return
        if self.interest == 0:
            self.swarm.selector.register(self.socket, wanted, self)
        elif wanted == 0:
            self.swarm.selector.unregister(self.socket)
        else:
            self.swarm.selector.modify(self.socket, wanted, self)
        self.interest = wanted

    def may_write(self):
        return self.window > 0 and len(self.output) < OUTPUT_MAX

    # -- frames

    def take_frames(self):
        data, at = self.input, 0
        while len(data) - at >= 8:
            if data[at:at + 4] == b"AMQP":
                at += 8
                continue
            size = struct.unpack_from(">I", data, at)[0]
            if len(data) - at < size:
                break
            if size > 8:
                self.take(memoryview(bytes(data[at + 8:at + size])))
                if self.ended:
                    return
            at += size
        del data[:at]

    def take(self, body):
        (code, fields), used = value_at(body, 0)
        fields += [None] * (14 - len(fields))
        if code == TRANSFER:
            self.next_incoming = (self.next_incoming + 1) & 0xffffffff
            link = self.by_remote.get(fields[0])
            if link:
                link.transfer(fields, body[used:])
        elif code == DISPOSITION:
            self.disposition(fields)
        elif code == FLOW:
            self.flow(fields)
        elif code == BEGIN:
            self.begun = True
            self.next_incoming, self.window = fields[1], fields[2]
        elif code == ATTACH:
            link = next(link for link in self.links if link.name == fields[0])
            self.by_remote[fields[1]] = link
            link.attached(fields)
        elif code == DETACH:
            link = self.by_remote.pop(fields[0], None)
            if link:
                link.detached(fields[2])
        elif code == END:
            self.kill(reset=False)
        elif code == CLOSE:
            self.error = fields[0] and fields[0][1][0].decode()
            self.kill(reset=False)

    def disposition(self, fields):
        if not fields[0]:
            return  # a sender's: we settle at once what we receive
        state = fields[4][0] if fields[4] else None
        for number in range(fields[1], (fields[1] if fields[2] is None else fields[2]) + 1):
            link = self.by_delivery.get(number)
            if link:
                link.outcome(number, state, bool(fields[3]))

    def flow(self, fields):
        known = fields[0] or 0
        self.window = fields[1] - (self.sent_frames - known)
        if fields[4] is not None:
            link = self.by_remote.get(fields[4])
            if link:
                link.flow(fields)

    def say(self, performative, payload=b""):
        self.output += frame(performative, payload)

    def say_transfer(self, performative, payload):
        self.say(performative, payload)
        self.window -= 1
        self.sent_frames += 1

    def say_flow(self, handle, delivery_count, credit, drain=False):
        self.say(composite(FLOW, uint(self.next_incoming), uint(WINDOW), uint(self.sent_frames), uint(WINDOW), uint(handle),
                           uint(delivery_count), uint(credit), NULL, boolean(drain)))


# ---- links ----

class Link:
    """What both kinds share. attach_error: why the router has detached it; alive: attached and not yet detached."""

    def __init__(self, name, address):
        self.name_text, self.name, self.address = name, name.encode(), address
        self.client = self.handle = self.error = None
        self.alive = False

    def attach(self):
        raise NotImplementedError

    def attached(self, fields):
        self.alive = True

    def detached(self, error):
        self.alive = False
        self.error = error and error[1][0].decode()
        if not self.client.closing:
            self.client.say(composite(DETACH, uint(self.handle), TRUE))

    def detach(self):
        if self.alive:
            self.alive = False
            self.client.say(composite(DETACH, uint(self.handle), TRUE))

    def pump(self):
        """Say what there is to say, once a turn."""

    def lost(self):
        """The connection is gone."""
        self.alive = False


class SenderLink(Link):
    """Sends what a source gives: source.next(link) is (id, list of payloads, aborted) or None; source.sent(id) when it is out,
    source.aborted(id) when it is given up, source.outcome(id, "accepted"...) when an outcome comes, source.unknown(id)
    when none will.

    A message of one payload is one frame; of more, that many; an aborted one is given up with its last frame.
    """

    def __init__(self, name, address, source, settled):
        super().__init__(name, address)
        self.source, self.settled = source, settled
        self.credit = self.delivery_count = 0
        self.pending = {}    # delivery-id to message id
        self.progress = None  # [delivery-id, message id, payloads, aborted] of a message partly sent
        self.full_credit = 0  # the most that was ever granted

    def attach(self):
        return composite(ATTACH, string(self.name_text), uint(self.handle), FALSE, b"\x50" + bytes((1 if self.settled else 0,)),
                         b"\x50\x00", composite(SOURCE), composite(TARGET, string(self.address)), NULL, NULL, uint(0))

    def flow(self, fields):
        if fields[6] is None:
            return
        self.credit = fields[6] - (self.delivery_count - (fields[5] or 0))
        self.full_credit = max(self.full_credit, self.credit)
        if fields[8] and self.progress is None:
            self.delivery_count += self.credit
            self.credit = 0
            self.client.say_flow(self.handle, self.delivery_count, 0, drain=True)

    def pump(self):
        for _ in range(16):
            if not self.alive or not self.client.may_write():
                return
            if self.progress is None and not self.begin():
                return
            self.send_part()

    def begin(self):
        if self.credit <= 0:
            return False
        message = self.source.next(self)
        if message is None:
            return False
        number = self.client.next_delivery
        self.client.next_delivery += 1
        self.credit -= 1
        self.delivery_count += 1
        self.progress = [number, *message]
        if not self.settled:
            self.pending[number] = message[0]
            self.client.by_delivery[number] = self
        return True

    def send_part(self):
        number, message, payloads, aborted = self.progress
        payload = payloads.pop(0)
        more = bool(payloads)
        fields = [uint(self.handle), uint(number), binary(struct.pack(">I", number)), uint(0), boolean(self.settled),
                  boolean(more)]
        if aborted and not more:
            fields += [NULL, NULL, NULL, TRUE]
            payload = b""
        self.client.say_transfer(composite(TRANSFER, *fields), payload)
        if more:
            return
        self.progress = None
        if aborted:
            self.forget(number)
            self.source.aborted(message)
        else:
            self.source.sent(message)

    def forget(self, number):
        self.client.by_delivery.pop(number, None)
        return self.pending.pop(number, None)

    def outcome(self, number, state, settled):
        if not settled:
            return
        message = self.forget(number)
        if message is not None:
            self.source.outcome(message, OUTCOMES[state])

    def detached(self, error):
        super().detached(error)
        self.give_up()

    def lost(self):
        super().lost()
        self.give_up()

    def give_up(self):
        for number, message in list(self.pending.items()):
            self.forget(number)
            self.source.unknown(message)
        self.progress = None


class ReceiverLink(Link):
    """Takes messages: sink.received(link, payload, said) gives the outcome's code to settle with, or None not to settle.

    address     None: a dynamic one, which is in `address` when the link is attached
    early       accept a message of several frames when its first is here; sink.early(link, payload of that) is told,
                and `said` is that outcome when the rest has come
    """

    def __init__(self, name, address, sink, credit=100, early=False):
        super().__init__(name, address)
        self.sink, self.wanted, self.early = sink, credit, early
        self.credit = self.delivery_count = 0
        self.number = None      # delivery-id of the message in progress
        self.parts = []
        self.is_settled = False
        self.said = None        # the outcome that was said early

    def attach(self):
        source = composite(SOURCE, string(self.address)) if self.address else composite(
            SOURCE, NULL, uint(0), NULL, uint(0), TRUE)
        return composite(ATTACH, string(self.name_text), uint(self.handle), TRUE, b"\x50\x02", b"\x50\x00", source,
                         composite(TARGET))

    def attached(self, fields):
        super().attached(fields)
        self.delivery_count = fields[9] or 0
        if self.address is None and fields[5]:
            self.address = fields[5][1][0].decode()

    def flow(self, fields):
        pass  # we never drain, and the sender's count is ours

    def pump(self):
        if self.alive and self.credit <= self.wanted // 2:
            self.credit = self.wanted
            self.client.say_flow(self.handle, self.delivery_count, self.credit)

    def transfer(self, fields, payload):
        if self.number is None:
            self.number, self.is_settled, self.said = fields[1], False, None
            self.credit -= 1
            self.delivery_count = (self.delivery_count + 1) & 0xffffffff
        self.is_settled = self.is_settled or bool(fields[4])
        if fields[9]:  # aborted
            self.number, self.parts = None, []
            return
        self.parts.append(bytes(payload))
        more = bool(fields[5])
        if more and self.early and self.said is None and not self.is_settled:
            self.said = ACCEPTED
            self.sink.early(self, self.parts[0])
            self.settle(self.number, ACCEPTED)
        if more:
            return
        number, whole, self.number, self.parts = self.number, b"".join(self.parts), None, []
        outcome = self.sink.received(self, whole, self.said)
        if outcome is not None and not self.is_settled and self.said is None:
            self.settle(number, outcome)

    def settle(self, number, outcome):
        if self.alive:
            state = composite(outcome)
            self.client.say(composite(DISPOSITION, TRUE, uint(number), uint(number), TRUE, state))
