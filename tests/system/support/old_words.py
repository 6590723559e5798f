"""What a 1.19 router makes of words: messages, their annotations, addresses, and paths through link states.

Written from the wire-protocol reference alone, for support.old_router.
"""
import heapq
import struct

from proton import Data, Described, symbol, ulong

from support.wire import encode

HEADER, ANNOTATIONS, PROPERTIES, APPLICATION, BODY = 0x70, 0x72, 0x73, 0x74, 0x77
PREFIX = "x-opt-qd."
KNOWN_KEYS = [PREFIX + name for name in ("ingress", "trace", "to", "phase", "stream", "class")] + [PREFIX]
# The fields of each control message in their order (wire-protocol reference 3.3 to 3.8).
BODIES = {"HELLO": ["id", "pv", "area", "instance", "seen"], "RA": ["id", "pv", "area", "instance", "ls_seq", "mobile_seq"],
          "LSU": ["id", "pv", "area", "instance", "ls_seq", "ls"], "LSR": ["id", "pv", "area"],
          "MAR": ["id", "pv", "area", "have_seq"], "MAU+": ["id", "pv", "area", "mobile_seq", "hints", "add", "del"],
          "MAU=": ["id", "pv", "area", "mobile_seq", "exist", "hints"]}


def sections_of(payload, whole=False):
    """{descriptor: value} of a message; of a large body that need not be `whole` only the size matters, and its end may
    be missing."""
    found, at = {}, 0
    while at < len(payload):
        if payload[at + 2] >= 0x75 and len(payload) - at > 65536 and not whole:
            break
        data = Data()
        used = data.decode(bytes(payload[at:] if whole else payload[at:at + 70000]))
        data.rewind()
        data.next()
        value = data.get_object()
        at += used
        found[int(value.descriptor)] = value.value
        if int(value.descriptor) >= 0x75:
            break
    return found


def annotations_of(entries):
    """What 1.19 reads of message annotations: (user entries, router entries). Behind the first router key each unknown
    one costs it the last entry of the map (wire-protocol reference 4.1)."""
    pairs = list(entries.items())
    first = next((at for at, (key, _) in enumerate(pairs) if str(key) in KNOWN_KEYS), len(pairs))
    late = [key for key, _ in pairs[first:] if str(key) not in KNOWN_KEYS]
    read = dict((str(key), value) for key, value in pairs[first:len(pairs) - len(late)] if str(key) in KNOWN_KEYS)
    return dict(pairs[:first]), read


def key_of(text, me, phase=0):
    """Hash key of an address (wire-protocol reference 5.1)."""
    if "://" in text:
        text = text.split("://", 1)[1].partition("/")[2]
    elif ":/" in text:
        text = text.split(":/", 1)[1]
    text = text.lstrip("/") if text.startswith("/") else text
    if text.startswith("_local/"):
        return "L" + text[7:]
    if text.startswith("_topo/0/all/") or text.startswith("_topo/all/all/"):
        return "T" + text.split("/", 3)[3]
    if text.startswith("_topo/0/"):
        router, _, rest = text[8:].partition("/")
        return "L" + rest if router == me else "R" + router
    if text.startswith("_edge/"):
        return "H" + text[6:].partition("/")[0]
    return "M%s%s" % ("F" if phase == 22 else phase, text)


class Paths:
    """Cheapest paths from one router; ties as 1.19 breaks them (3.10)."""

    def __init__(self, root, peers):
        self.cost, self.parent, self.hops = {root: 0}, {root: None}, {root: 0}
        work, settled = [(0, root)], set()
        while work:
            cost, at = heapq.heappop(work)
            if at in settled or cost != self.cost[at]:
                continue
            settled.add(at)
            for to, price in peers.get(at, {}).items():
                if to not in self.cost or cost + price < self.cost[to]:
                    self.cost[to], self.parent[to], self.hops[to] = cost + price, at, self.hops[at] + 1
                    heapq.heappush(work, (cost + price, to))
        self.root = root

    def way(self, to):
        out = [to]
        while self.parent[out[-1]] is not None:
            out.append(self.parent[out[-1]])
        return out[::-1]

    def next_hop(self, to):
        return self.way(to)[1] if to in self.cost and to != self.root else None


def with_annotations(payload, user, notes, head_only=False):
    """The message with other annotations: (octets, how many octets of `payload` they stand for)."""
    before, at, skip = b"", 0, None
    while at < len(payload):
        descriptor = payload[at + 2] if payload[at + 1] == 0x53 else struct.unpack(">Q", payload[at + 2:at + 10])[0]
        if descriptor > ANNOTATIONS:
            break
        used = Data().decode(bytes(payload[at:at + 70000]))
        if descriptor != ANNOTATIONS:
            before += bytes(payload[at:at + used])
        at += used
    skip = at
    entries = {**user, **{symbol(key): value for key, value in notes.items()}}
    out = before + encode(Described(ulong(ANNOTATIONS), entries))
    return (out, skip) if head_only else (out + bytes(payload[skip:]), len(payload))
