"""What a sequence of frames between two peers is about, so that a recorded one and a live one can be compared.

What differs from run to run is followed and left out: handles, delivery ids and tags, generated names. What remains are
facts, (key, value): the key says of what, the same in every run, the value what was said.
"""
from proton import Described, symbol

from support.control import FIRST_CALL, Control
from support.wire import (ATTACH, BEGIN, CLOSE, DETACH, DISPOSITION, END, FLOW, NAMES, OPEN, SOURCE, TARGET, TRANSFER, parse)

# Fields that say which, not what.
REFERENCES = {"handle", "delivery_id", "delivery_tag", "remote_channel", "first", "last", "next_incoming_id",
              "next_outgoing_id", "batchable"}
# A field left out means the same as its default (AMQP 1.0 part 2.7, Performatives; part 3.5, Sources and Targets).
DEFAULTS = {TRANSFER: {"settled": False, "more": False, "resume": False, "aborted": False}, DETACH: {"closed": False},
            DISPOSITION: {"settled": False},
            ATTACH: {"snd_settle_mode": 2, "rcv_settle_mode": 0, "incomplete_unsettled": False},
            SOURCE: [None, 0, "session-end", 0, False], TARGET: [None, 0, "session-end", 0, False], 0x27: [False, False]}
OUR_OWN = ("version", "qd.conn-id")  # properties of Open that are each router's own; those of others do not hear


def comparable(value):
    """A value that can be compared and keeps the AMQP types: composites without what equals the defaults."""
    if isinstance(value, Described):
        code = str(value.descriptor) if isinstance(value.descriptor, symbol) else int(value.descriptor)
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

    def __init__(self, key, control):
        self.key = key
        self.deliveries = {"A": 0, "B": 0}  # begun, by sending side
        self.under_way = {"A": False, "B": False}
        self.limit = 0  # delivery-count plus credit that the router has granted last
        self.grants = 0  # flows of the other side
        self.drain = {"A": False, "B": False}  # as the last flow of the side said
        self.told = set()  # sides that have attached
        self.control = Control() if control else None


class Conversation:
    """The same code follows a recording and a live run.

    dialler     side that has opened the connection. Sessions that it begins are told by its channel, those of the other
                side by "s" and that one's channel.
    """

    def __init__(self, dialler="B"):
        self.dialler = dialler
        self.sessions = {"A": {}, "B": {}}  # side's channel -> session
        self.handles, self.links, self.deliveries = {}, [], {}
        self.ids = {}  # (link key, index) of deliveries from A -> delivery id
        self.frames = {}  # (side, session) -> transfer frames sent
        self.names = {}  # generated name of a link -> which of them it is
        self.window_flows = 0  # of the router, about a session alone
        self.facts = []  # (key, value) of all that the router said
        self.milestones = []  # keys of facts, as something of each can be waited for

    def see(self, side, octets):
        """Follow a frame; if it is the router's, note what it says."""
        if octets[:4] == b"AMQP":
            facts = [(("header",), octets.hex())]
        else:
            got = parse(octets)
            facts = self._facts(side, got) if got.code is not None else []
        if side == "A":
            self.facts += facts
            for key, value in facts:
                self.milestones += self._milestones(key, value)

    @staticmethod
    def _milestones(key, value):
        if key[0] == "flow":  # credit is looked at when it is needed
            return [("drain",) + key[1:]] if value[2] == "begins" else []
        if key[0] == "control" and key[4] == FIRST_CALL:
            return []
        if key[0] != "transfer":
            return [key]
        fields = value[0]
        return ([key + ("begins",)] if value[2] else []) + ([] if "more" in fields else [key + ("ends",)])

    def _value(self, got):
        defaults = DEFAULTS.get(got.code, {})
        return {name: comparable(value) for name, value in got.fields.items()
                if value is not None and name not in REFERENCES and value != defaults.get(name, value is None)}

    def _facts(self, side, got):
        name = NAMES.get(got.code, "%#x" % got.code)
        if got.code == OPEN:
            return [((name,), self._open(got))]
        if got.code == CLOSE or got.type == 1:
            return [((name,), self._value(got))]
        if got.code == BEGIN:
            return [((name, self._begin(side, got)), self._value(got))]
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
            return self._flow(side, link, got)
        return self._transfer(side, session, link, got)

    def _open(self, got):
        """Numbers and versions are each router's own, and so are properties that other routers do not know."""
        value = self._value(got)
        if "properties" in value:
            value["properties"] = {name: what if name not in OUR_OWN else (what[0], what[1][0])
                                   for name, what in value["properties"][1].items() if not name.startswith("x-trunkline-")}
        return value

    def _begin(self, side, got):
        answered = got.fields.get("remote_channel")
        if answered is None:
            session = got.channel if side == self.dialler else "s%d" % got.channel
        else:
            session = self.sessions["AB"[side == "A"]][int(answered)]
        self.sessions[side][got.channel] = session
        return session

    def _flow(self, side, link, got):
        count, credit = int(got.fields.get("delivery_count") or 0), int(got.fields.get("link_credit") or 0)
        if side == "A":
            link.limit = count + credit
        else:
            link.grants += 1
        drain, was_drain = bool(got.fields.get("drain")), link.drain[side]
        link.drain[side] = drain
        return [(("flow",) + link.key, (count, credit, "begins" if drain and not was_drain else drain))]

    def _name(self, name):
        """Names that a router makes are told by their order."""
        return self.names.setdefault(name, "qdlink #%d" % len(self.names)) if name.startswith("qdlink.") else name

    def _attach(self, side, session, handle, got):
        direction = "from B" if (side == "B") != bool(got.fields["role"]) else "from A"
        name = self._name(got.fields["name"])
        same = [link for link in self.links if link.key[:3] == (session, name, direction)]
        link = next((link for link in same if side not in link.told), None)
        is_answer = link is not None
        if link is None:
            link = Link((session, name, direction, len(same)), capability(got) == "qd.router")
            self.links.append(link)
        link.told.add(side)
        self.handles[side, session, handle] = link
        value = {**self._value(got), "name": ("string", name)}
        if is_answer:
            value["answer"] = True
        return [(("attach",) + link.key, value)]

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
        if link.control:
            return link.control.hear(got) if side == "A" else []
        return [(("transfer",) + link.key + (link.deliveries[side] - 1,), (self._value(got), got.payload.hex(), begins))]

    def _disposition(self, side, session, got):
        sender = "B" if (side == "A") == bool(got.fields["role"]) else "A"
        first = int(got.fields["first"])
        last = got.fields.get("last")
        facts = []
        for number in range(first, (first if last is None else int(last)) + 1):
            link, index = self.deliveries[sender, session, number]
            facts.append((("disposition",) + link.key + (index,), self._value(got)))
        return facts

    def controls(self):
        """What was said on the control links (support.control)."""
        return [link.control for link in self.links if link.control]

    def said(self, op, origin=None):
        """The control messages of one kind, in their order."""
        return [one for control in self.controls() for one in control.said if one.op == op and origin in (None, one.origin)]


def capability(got):
    """The one capability, a bare symbol, of an attach's termini, or None."""
    for terminus in (got.fields.get("source"), got.fields.get("target")):
        fields = terminus.value if terminus is not None else []
        at = 10 if terminus is not None and int(terminus.descriptor) == SOURCE else 6  # part 3.5.3, Source; 3.5.4, Target
        if len(fields) > at and fields[at] is not None:
            return str(fields[at])
    return None


def generated_address(terminus):
    """The address of a dynamic terminus, as comparable() has it; None of another."""
    fields = terminus[2] if terminus else []
    return fields[0][1] if len(fields) > 4 and fields[4] == ("bool", True) and fields[0] else None
