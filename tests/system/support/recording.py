"""Recorded exchanges of clients with a 1.19 router, played to a live router: the client's octets are sent again, and
what the live router answers is compared with what the old one answered, field by field.

    assert Playing([Recording("16a-client-sasl-anonymous")], router.port).run() == []

A recording is a file of data/recorded, one JSON object a line: `t` seconds, `conn` number of the TCP connection, `from` A
(the router) or B (the client), `kind` header, sasl, amqp, tcp or note, and `hex`, the whole frame.

A recorded frame of the client is sent when all that the old router had said before it, on any connection, has come from
the live one, and, for a transfer, when there is credit. So the pace is the live router's. What differs from run to run
is followed and not compared: the router's handles, its delivery ids and tags, generated addresses. Frames of flow are
compared by what they grant: the first credit of a link, drain, and that there is credit when the recording had some.
"""
import json
import re
import select
import socket
import struct
import time
from pathlib import Path

from proton import Described

from support.deadline import seconds
from support.wire import (ATTACH, BEGIN, CLOSE, DETACH, DISPOSITION, END, FLOW, NAMES, OPEN, SOURCE, TARGET, TRANSFER,
                          UNLIMITED, parse, performative, frame as framed)

DATA = Path(__file__).resolve().parents[1] / "data" / "recorded"
LINK_FRAMES = (ATTACH, DETACH, FLOW, TRANSFER)
# Fields that say which, not what.
REFERENCES = {"handle", "delivery_id", "delivery_tag", "remote_channel", "first", "last", "next_incoming_id", "next_outgoing_id",
              "batchable"}
# A field left out means the same as its default (AMQP 1.0 part 2.7, Performatives; part 3.5, Sources and Targets).
DEFAULTS = {TRANSFER: {"settled": False, "more": False, "resume": False, "aborted": False}, DETACH: {"closed": False},
            DISPOSITION: {"settled": False}, ATTACH: {"snd_settle_mode": 2, "rcv_settle_mode": 0, "incomplete_unsettled": False},
            SOURCE: [None, 0, "session-end", 0, False], TARGET: [None, 0, "session-end", 0, False], 0x27: [False, False]}
CUT = "the connection is cut"  # the note that says so of its connection
PATIENCE = 5
# The old router offers links for large messages to everybody, ours to routers alone.
OFFERS = [("open", "offered_capabilities"), ("open", "desired_capabilities")]


class Recording:
    """One file: its lines, with the protocol frames as octets.

    until       leave out what comes from that second on
    name        of this playing of the file, when it is played by two clients at once
    """

    def __init__(self, file, until=None, name=None):
        lines = [json.loads(line) for line in (DATA / (file + ".jsonl")).read_text().splitlines()]
        self.name = name or file
        self.events = [line for line in lines[1:] if until is None or line["t"] < until]
        for event in self.events:
            event["recording"] = self
            if "hex" in event:
                event["octets"] = bytes.fromhex(event["hex"])


def comparable(value):
    """A value that can be compared and keeps the AMQP types: composites without what equals the defaults."""
    if isinstance(value, Described):
        code = int(value.descriptor)
        fields = list(value.value) if isinstance(value.value, list) else value.value
        if isinstance(fields, list):
            fields = [comparable(item) for item in fields]
            for at, default in enumerate(DEFAULTS.get(code, [])):
                if at < len(fields) and fields[at] is not None and fields[at][1] == default:
                    fields[at] = None
            while fields and fields[-1] is None:
                fields.pop()
        else:
            fields = comparable(fields)
        return ("described", code, fields)
    if isinstance(value, dict):
        return ("map", {str(key): (type(key).__name__, comparable(item)) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, [comparable(item) for item in value])
    return None if value is None else (type(value).__name__, value)


class Link:
    """A link of a conversation; `key` is the same in the recording and in the live run."""

    def __init__(self, key):
        self.key = key
        self.deliveries = {"A": 0, "B": 0}  # begun, by sending side
        self.under_way = {"A": False, "B": False}
        self.limit = 0  # delivery-count plus credit that the router has granted last
        self.told = set()  # sides that have attached


class Conversation:
    """What a sequence of frames is about: the same code follows a recording and a live run."""

    def __init__(self):
        self.sessions = {"A": {}, "B": {}}  # side's channel -> channel of B
        self.handles, self.links, self.deliveries = {}, [], {}
        self.ids = {}  # (link key, index) of deliveries from A -> delivery id
        self.frames = {}  # (side, session) -> transfer frames sent
        self.names = {}  # generated name of a link -> which of them it is
        self.window_flows = 0  # of the router, about a session alone
        self.facts = []  # (key, value) of all that the router said

    def see(self, side, octets):
        """Follow a frame; if it is the router's, note what it says."""
        if octets[:4] == b"AMQP":
            facts = [(("header",), octets.hex())]
        else:
            got = parse(octets)
            facts = self._facts(side, got) if got.code is not None else []
        if side == "A":
            self.facts += facts
        return facts

    def _value(self, got):
        defaults = DEFAULTS.get(got.code, {})
        return {name: comparable(value) for name, value in got.fields.items()
                if value is not None and name not in REFERENCES and value != defaults.get(name, value is None)}

    def _facts(self, side, got):
        name = NAMES.get(got.code, "%#x" % got.code)
        if got.code in (OPEN, CLOSE) or got.type == 1:
            return [((name,), self._value(got))]
        if got.code == BEGIN:
            answered = got.fields.get("remote_channel")
            self.sessions[side][got.channel] = got.channel if side == "B" else int(answered)
            return [((name, self.sessions[side][got.channel]), self._value(got))]
        session = self.sessions[side][got.channel]
        if got.code == END:
            for key in [key for key in self.handles if key[0] == side and key[1] == session]:
                del self.handles[key]
            return [((name, session), self._value(got))]
        if got.code == DISPOSITION:
            return self._disposition(side, session, got)
        handle = got.fields.get("handle")
        if handle is None:
            self.window_flows += side == "A"
            return []
        if got.code == ATTACH:
            return self._attach(side, session, int(handle), got)
        link = self.handles[side, session, int(handle)]
        if got.code == DETACH:
            del self.handles[side, session, int(handle)]
            return [((name,) + link.key, self._value(got))]
        if got.code == FLOW:
            count, credit = int(got.fields.get("delivery_count") or 0), int(got.fields.get("link_credit") or 0)
            drain = bool(got.fields.get("drain"))
            if side == "A":
                link.limit = count + credit
            return [((name,) + link.key, (count, credit, drain))]
        return self._transfer(side, session, link, got)

    def _name(self, name):
        """Names that a router makes are told by their order."""
        return self.names.setdefault(name, "qdlink #%d" % len(self.names)) if name.startswith("qdlink.") else name

    def _attach(self, side, session, handle, got):
        direction = "from B" if (side == "B") != bool(got.fields["role"]) else "from A"
        name = self._name(got.fields["name"])
        same = [link for link in self.links if link.key[:3] == (session, name, direction)]
        link = next((link for link in same if side not in link.told), None)
        if link is None:
            link = Link((session, name, direction, len(same)))
            self.links.append(link)
        link.told.add(side)
        self.handles[side, session, handle] = link
        return [(("attach",) + link.key, {**self._value(got), "name": ("string", name)})]

    def _transfer(self, side, session, link, got):
        self.frames[side, session] = self.frames.get((side, session), 0) + 1
        begins = not link.under_way[side]
        if begins:
            index = link.deliveries[side]
            link.deliveries[side] += 1
            self.deliveries[side, session, int(got.fields["delivery_id"])] = (link, index)
            if side == "A":
                self.ids[link.key, index] = int(got.fields["delivery_id"])
        link.under_way[side] = bool(got.fields.get("more")) and not got.fields.get("aborted")
        return [(("transfer",) + link.key + (link.deliveries[side] - 1,), (self._value(got), got.payload.hex()))]

    def _disposition(self, side, session, got):
        sender = "B" if (side == "A") == bool(got.fields["role"]) else "A"
        first = int(got.fields["first"])
        last = got.fields.get("last")
        facts = []
        for number in range(first, (first if last is None else int(last)) + 1):
            link, index = self.deliveries[sender, session, number]
            facts.append((("disposition",) + link.key + (index,), self._value(got)))
        return facts


class Connection:
    """One recorded TCP connection and the live one that stands for it."""

    def __init__(self, name, connected, conversation=Conversation):
        self.name = name
        self.socket = connected
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.conversation = conversation
        self.recorded, self.live = conversation(), conversation()
        self.history = []  # (side, octets) as recorded, of what has been played so far
        self.router_ended = {"recorded": False, "live": False}
        self.is_cut = False

    def play(self, side, octets):
        self.history.append((side, octets))
        self.recorded.see(side, octets)

    def take(self):
        """Read what there is, without waiting."""
        while not self.is_over() and select.select([self.socket], [], [], 0)[0]:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            self.router_ended["live"] = not data
            self.buffer += data
        while len(self.buffer) >= 8:
            size = 8 if self.buffer[:4] == b"AMQP" else struct.unpack(">I", self.buffer[:4])[0]
            if len(self.buffer) < size:
                break
            octets = bytes(self.buffer[:size])
            del self.buffer[:size]
            self.live.see("A", octets)

    def is_over(self):
        return self.is_cut or self.router_ended["live"]

    def write(self, octets):
        """Send a frame. That the router has ended the connection is seen when it is read."""
        self.live.see("B", octets)
        try:
            self.socket.sendall(octets)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def ask_for_window(self):
        """Ask the router something that it answers when it has read all that was sent before. Result: it can be asked."""
        if self.is_over() or 0 not in self.live.sessions["A"].values():
            return False
        sent, received = (self.live.frames.get((side, 0), 0) for side in "BA")
        self.write(framed(performative(FLOW, next_incoming_id=received, incoming_window=UNLIMITED, next_outgoing_id=sent,
                                       outgoing_window=UNLIMITED, echo=True), 0))
        return True

    def cut(self):
        """End it as the crash of a client's machine would."""
        self.is_cut = True
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def missing(self):
        """What the recorded router had said by now and the live one has not; credit is looked at when it is needed."""
        balance = {}
        for key, _ in self.live.facts:
            balance[key] = balance.get(key, 0) + 1
        out = []
        for key, _ in self.recorded.facts:
            if key[0] != "flow":
                balance[key] = balance.get(key, 0) - 1
                if balance[key] < 0:
                    out.append(key)
        if self.router_ended["recorded"] and not self.router_ended["live"]:
            out.append("end of the connection")
        return out


class Playing:
    """Recordings that are played together, on the one clock of their scenario, to one router.

    port        of the router; `ports` has another for some recorded files, by name
    allowed     (name of frame, name of field): whose difference is known, and listed for the users
    on_note     called with the text of each note, once all that came before has been answered
    on_message  called with the name of the recording and the message's number before each message of a client is sent:
                what other connections have been told by then may take its time inside the router
    patience    seconds to wait for what the router has to say
    messages    False: what the router's messages say is left to the caller, see messages()
    meanwhile   called again and again while the router is waited for
    """

    def __init__(self, recordings, port, ports=None, allowed=(), on_note=None, messages=True, on_message=None,
                 meanwhile=None, patience=PATIENCE):
        self.events = sorted((event for recording in recordings for event in recording.events), key=lambda event: event["t"])
        self.port, self.ports, self.allowed, self.on_note = port, ports or {}, set(allowed), on_note
        self.on_message, self.sent, self.patience = on_message, {}, patience
        self.with_messages, self.meanwhile = messages, meanwhile or (lambda: None)
        self.connections = {}
        self.texts = {}  # generated by the old router -> by the live one

    def run(self):
        """Play them, and return how the live router differs: a list of texts."""
        try:
            for event in self.events:
                self._step(event, (event["recording"].name, event["conn"]))
            self._wait(self._all_there, "the end")
            try:  # credit may come later than the rest
                self._wait(lambda: not self.differences("flow"), "the same credit")
            except AssertionError:
                pass
            return self.differences()
        finally:
            for connection in self.connections.values():
                connection.socket.close()

    def _step(self, event, key):
        if event["kind"] == "tcp":
            self._step_tcp(event, key)
        elif event["kind"] == "note":
            self._step_note(event["text"], self.connections.get(key))
        elif event["from"] == "A":
            self.connections[key].play("A", event["octets"])
        else:
            self._wait(self._all_there, "what the router had said before line %d of %s" % (event["n"], key[0]))
            if event.get("performative") == "transfer":
                self._tell_of_message(key[0])
            self._send(self.connections[key], event["octets"])

    def _tell_of_message(self, name):
        number = self.sent[name] = self.sent.get(name, -1) + 1
        if self.on_message:
            self.on_message(name, number)

    def _step_tcp(self, event, key):
        if event["event"] == "connect":
            port = self.ports.get(key[0], self.port)
            connected = socket.create_connection(("127.0.0.1", port), timeout=seconds(PATIENCE))
            self.connections[key] = Connection("%s c%d" % key, connected)
        elif event["from"] == "A":
            self.connections[key].router_ended["recorded"] = not self.connections[key].is_cut
        elif not self.connections[key].router_ended["recorded"] and not self.connections[key].is_over():
            self._wait(self._all_there, "what comes before the client's end of %s" % (key,))
            self.connections[key].socket.shutdown(socket.SHUT_WR)

    def _step_note(self, text, connection):
        if text == CUT:
            self._wait(self._all_there, "what comes before the cut")
            self._wait_read()
            connection.cut()
        elif self.on_note:
            self._wait(self._all_there, "what comes before: " + text)
            self.on_note(text)

    def _wait_read(self):
        """Wait until the router has read all that was sent to it, which the recorded one had had time for."""
        asked = [(c, c.live.window_flows) for c in self.connections.values() if c.ask_for_window()]
        self._wait(lambda: all(c.is_over() or c.live.window_flows > before for c, before in asked), "the answer to an echo")

    # -- the client's side

    def _translated(self, octets):
        for old, new in self.texts.items():
            octets = octets.replace(old.encode(), new.encode())
        return octets

    def _send(self, connection, octets):
        connection.play("B", octets)
        octets = self._translated(octets)
        got = parse(octets) if octets[:4] != b"AMQP" else None
        if got and got.code == TRANSFER and got.type == 0:
            link = connection.live.handles["B", connection.live.sessions["B"][got.channel], int(got.fields["handle"])]
            if not link.under_way["B"]:
                self._wait(lambda: link.limit > link.deliveries["B"], "credit on %s" % (link.key,))
        if got and got.code == DISPOSITION and got.fields["role"]:
            for number in self._deliveries_meant(connection, got):
                connection.write(framed(performative(DISPOSITION, **{**got.fields, "first": number, "last": None}), got.channel))
        else:
            connection.write(octets)

    @staticmethod
    def _deliveries_meant(connection, got):
        session = connection.recorded.sessions["B"][got.channel]
        first, last = int(got.fields["first"]), got.fields.get("last")
        for number in range(first, (first if last is None else int(last)) + 1):
            link, index = connection.recorded.deliveries["A", session, number]
            yield connection.live.ids[link.key, index]

    # -- the router's side

    def _all_there(self):
        return not any(connection.missing() for connection in self.connections.values())

    def _wait(self, condition, what):
        end = time.monotonic() + seconds(self.patience)
        while True:
            for connection in self.connections.values():
                connection.take()
                self._learn(connection)
            self.meanwhile()
            if condition():
                return
            if time.monotonic() > end:
                raise AssertionError("waited in vain for %s; never came: %s; different so far: %s" % (
                    what, [(c.name, key) for c in self.connections.values() for key in c.missing()], self.differences()))
            select.select([c.socket for c in self.connections.values() if not c.is_over()], [], [], 0.05)

    def _learn(self, connection):
        """Which address the live router has generated where the old one had generated another."""
        live = {key: value for key, value in connection.live.facts if key[0] == "attach"}
        for key, value in connection.recorded.facts:
            if key[0] == "attach" and key in live:
                for end in ("source", "target"):
                    old, new = (generated_address(v.get(end)) for v in (value, live[key]))
                    if old and new:
                        assert len(old) == len(new), "the generated addresses %s and %s differ in length" % (old, new)
                        self.texts[old] = new

    def differences(self, kind=None):
        """Texts, one for each; only of one kind of frames, if a kind is given."""
        return [line for connection in self.connections.values() for line in self._differences(connection, kind)]

    def messages(self):
        """What the router sent in messages: (key of the delivery, octets recorded, octets live), in recorded order."""
        for connection in self.connections.values():
            old, new = self._facts(connection)
            for key in old:
                if key[0] == "transfer":
                    yield key, *(bytes.fromhex("".join(octets for _, octets in found[key])) for found in (old, new))

    def _facts(self, connection):
        recorded = connection.conversation()
        for side, octets in connection.history:
            recorded.see(side, self._translated(octets))
        return by_key(recorded.facts), by_key(connection.live.facts)

    def _differences(self, connection, kind):
        old, new = self._facts(connection)
        out = []
        for key in [key for key in dict.fromkeys(list(old) + list(new)) if kind in (None, key[0])]:
            before, now = ([self._known(key, value) for value in found.get(key, [])] for found in (old, new))
            if key[0] == "flow":
                before, now = granted(key, before), granted(key, now)
            if before != now:
                out.append("%s %s: recorded %s, live %s" % (connection.name, key, before, now))
        return out

    def _known(self, key, value):
        """The value without what may differ."""
        if key[0] == "transfer":
            return value if self.with_messages else value[0]
        if not isinstance(value, dict):
            return value
        return {name: what for name, what in value.items() if (key[0], name) not in self.allowed}


def generated_address(terminus):
    """The address of a dynamic terminus, as comparable() has it; None of another."""
    fields = terminus[2] if terminus else []
    return fields[0][1] if len(fields) > 4 and fields[4] == ("bool", True) and fields[0] else None


def by_key(facts):
    found = {}
    for key, value in facts:
        found.setdefault(key, []).append(value)
    return found


def granted(key, flows):
    """What a link's flow frames come to. How often a router gives credit back, each time or in portions, is its choice."""
    if key[3] == "from A":  # the answers to drain
        return flows
    out = []
    for _, credit, drain in flows:
        if drain or out:
            credit = "some" if credit else 0
        if not out or out[-1] != (credit, drain):
            out.append((credit, drain))
    return out


GENERATED = re.compile(rb"temp\.[a-zA-Z0-9+_]{15}|client-[0-9a-f]{24}")


class Swapped(Recording):
    """A recording in which it was the dialling side, B, that a live router takes the place of."""

    def __init__(self, file, **how):
        super().__init__(file, **how)
        for event in self.events:
            if event.get("from"):
                event["from"] = {"A": "B", "B": "A"}[event["from"]]


class SwappedConversation(Conversation):
    """The router dials: the channels are its own."""

    def _facts(self, side, got):
        if got.code == BEGIN:
            answered = got.fields.get("remote_channel")
            self.sessions[side][got.channel] = got.channel if answered is None else int(answered)
            return [(("begin", self.sessions[side][got.channel]), self._value(got))]
        return super()._facts(side, got)


class Hosting(Playing):
    """Swapped recordings, each played to the live router that dials to a port of ours.

        hosting = Hosting([Swapped("07a-edge-connect")]); hosting.ports -> {name of the recording: where to dial}

    What the router makes up, and tells in its messages, is learnt as it comes: names, temporary addresses, correlations.
    heart       key of the link whose messages come by the clock: what it says beyond the recording is no difference
    """

    def __init__(self, recordings, heart=None, **how):
        super().__init__(recordings, None, **how)
        self.listeners = {recording.name: socket.create_server(("127.0.0.1", 0)) for recording in recordings}
        self.ports = {name: listener.getsockname()[1] for name, listener in self.listeners.items()}
        self.heart = heart

    def run(self):
        try:
            return super().run()
        finally:
            for listener in self.listeners.values():
                listener.close()

    def _step_tcp(self, event, key):
        if event["event"] != "connect":
            return super()._step_tcp(event, key)
        self.listeners[key[0]].settimeout(seconds(PATIENCE))
        accepted, _ = self.listeners[key[0]].accept()
        self.connections[key] = Connection("%s c%d" % key, accepted, SwappedConversation)

    def _learn(self, connection):
        super()._learn(connection)
        told, names = dict(connection.live.facts), connection.live.names
        self.texts.update(zip(connection.recorded.names, names))
        for key, value in connection.recorded.facts:
            if key[0] == "transfer" and key in told:
                made = (GENERATED.findall(bytes.fromhex(octets)) for octets in (value[1], told[key][1]))
                self.texts.update((old.decode(), new.decode()) for old, new in zip(*made))

    def _differences(self, connection, kind):
        recorded = {key for key, _ in connection.recorded.facts}
        beats = [key for key, _ in connection.live.facts if key[:4] == ("transfer",) + (self.heart or ()) and key not in recorded]
        return [line for line in super()._differences(connection, kind) if not any(str(key) in line for key in beats)]
