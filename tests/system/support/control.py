"""What routers say among themselves: the messages on the control links of an inter-router connection.

Each message is held against the tables here, which are those of wire.h and of the old router: sections, types, the names
of the fields and their order. What differs from run to run is taken out: which second a router was started in, and how
it numbers the records of its neighbours. That HELLO and RA are said again and again, and that a question is asked twice,
is no news; the rest are facts that a recorded and a live router have in common.
"""
import time
from collections import namedtuple

from proton import Data, int32, symbol

HEADER, MESSAGE_ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES, VALUE = 0x70, 0x72, 0x73, 0x74, 0x77
INT, LONG = int32, int  # as proton tells them apart

# Type of the keys, of the integers; then the fields of the body in their order.
ENVELOPES = {"HELLO": str, "RA": str, "LSU": str, "LSR": str, "MAU": symbol, "MAR": symbol}
COMMON = [("id", str), ("pv", None), ("area", str)]
FIELDS = {"HELLO": [COMMON + [("instance", INT), ("seen", list)]],
          "RA": [COMMON + [("instance", INT), ("ls_seq", INT), ("mobile_seq", INT)]],
          "LSU": [COMMON + [("instance", INT), ("ls_seq", INT), ("ls", dict)]],
          "LSR": [COMMON],
          "MAU": [COMMON + [("mobile_seq", LONG), ("hints", list), ("add", list), ("del", list)],
                  COMMON + [("mobile_seq", LONG), ("exist", list), ("hints", list)]],
          "MAR": [COMMON + [("have_seq", LONG)]]}
RECORD = [("id", str), ("area", str), ("ls_seq", INT), ("peers", dict)]
ADDRESSES = {"HELLO": ["amqp:/_local/qdhello"], "RA": ["amqp:/_topo/0/all/qdrouter"], "LSU": ["amqp:/_topo/0/%s/qdrouter"],
             "LSR": ["amqp:/_topo/0/%s/qdrouter"], "MAU": ["_topo/0/all/qdrouter.ma", "amqp:/_topo/0/%s/qdrouter.ma"],
             "MAR": ["amqp:/_topo/0/%s/qdrouter.ma"]}

FIRST_CALL = -1  # number of a HELLO that names nobody, before the first that does: whether there is one is chance

# op, id of the router that said it first, address that it goes to, body; `at`: when it came, monotonic seconds.
Said = namedtuple("Said", "at op origin to body trace")


def sections(octets):
    """The sections of a message: [(descriptor's code, value)], lists as long as they were sent."""
    found = []
    while octets:
        data = Data()
        octets = octets[data.decode(octets):]
        data.rewind()
        data.next()
        section = data.get_object()
        found.append((int(section.descriptor), section.value))
    return found


def fields_of(value, expected, integers):
    """What is wrong with the names, order and types of a map's fields: texts."""
    wrong = []
    if list(value) != [name for name, _ in expected]:
        wrong.append("fields %s, should be %s" % (list(value), [name for name, _ in expected]))
    for name, kind in expected:
        kind = kind or integers
        if name in value and type(value[name]) is not kind:
            wrong.append("%s is a %s, should be %s" % (name, type(value[name]).__name__, kind.__name__))
    return wrong


def faults(octets):
    """How a control message departs from the tables: a list of texts."""
    parts = dict(sections(octets))
    wrong = []
    if list(parts) != [HEADER, MESSAGE_ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES, VALUE]:
        return ["sections %s" % ["%#x" % code for code in parts]]
    (key, op), = parts[APPLICATION_PROPERTIES].items()
    keys = ENVELOPES[op]
    if parts[HEADER] != [False]:
        wrong.append("header %s" % parts[HEADER])
    if type(key) is not keys or key != "opcode":
        wrong.append("key of the opcode %r" % key)
    annotations = parts[MESSAGE_ANNOTATIONS]
    if [(type(name), str(name)) for name in annotations] != [(symbol, "x-opt-qd.ingress"), (symbol, "x-opt-qd.trace")]:
        wrong.append("annotations %s" % annotations)
    properties, to = parts[PROPERTIES], parts[PROPERTIES][2]
    if properties != [None, None, to] + ([None] * 3 if keys is str else []):
        wrong.append("properties %s" % properties)
    body = parts[VALUE]
    forms = zip(ADDRESSES[op], FIELDS[op]) if len(FIELDS[op]) > 1 else [(ADDRESSES[op][0], FIELDS[op][0])]
    expected = next((form for address, form in forms if matches(address, to)), None)
    if expected is None or type(to) is not str:
        return wrong + ["to %r" % to]
    if {type(name) for name in body} != {keys}:
        wrong.append("keys of the body %s" % body)
    wrong += fields_of(body, expected, INT if keys is str else LONG)
    if op == "LSU" and not wrong:
        wrong += fields_of(body["ls"], RECORD, INT)
        wrong += ["cost of %s is %r" % peer for peer in body["ls"]["peers"].items() if type(peer[1]) is not INT]
    for name in ("seen", "add", "del", "exist"):
        wrong += ["%r in %s" % (item, name) for item in body.get(name, []) if type(item) is not str]
    wrong += ["hint %r" % hint for hint in body.get("hints", []) if type(hint) is not INT]
    if "hints" in body and len(body["hints"]) != len(body.get("add", body.get("exist"))):
        wrong.append("as many hints as addresses: %s" % body)
    if body["pv"] != 1 or body["area"] != "0":
        wrong.append("version or area: %s" % body)
    return ["%s: %s" % (op, text) for text in wrong]


def matches(address, to):
    start, _, end = address.partition("%s")
    if "%s" not in address:
        return to == address
    return to.startswith(start) and to.endswith(end) and to != address % "all"


class Control:
    """The control messages that one router sends over one connection, in their order.

    said        all of them
    wrong       what contradicts the tables, or what was said before: texts
    """

    def __init__(self):
        self.said, self.wrong = [], []
        self._begun, self._settled = b"", set()
        self._news = {}  # (op, origin, to) -> [what was new in it]
        self._instances = {}  # origin -> [instances in the order in which they were told]

    def hear(self, got):
        """Take a transfer frame; result: facts, [(key, value)], if it ends a message that has news."""
        self._begun += got.payload
        self._settled.add(bool(got.fields.get("settled")))
        if got.fields.get("more"):
            return []
        octets, self._begun = self._begun, b""
        if self._settled != {True}:
            self.wrong.append("a control message that is not settled")
        self._settled = set()
        self.wrong += faults(octets)
        parts = dict(sections(octets))
        annotations = {str(key): value for key, value in parts[MESSAGE_ANNOTATIONS].items()}
        body = {str(key): value for key, value in parts[VALUE].items()}
        said = Said(time.monotonic(), parts[APPLICATION_PROPERTIES].popitem()[1], body["id"], parts[PROPERTIES][2], body,
                    annotations["x-opt-qd.trace"])
        if len(said.trace) == 1:
            self.wrong += self._contradictions(said)
        self.said.append(said)
        return self._what_is_new(said, annotations)

    def _what_is_new(self, said, annotations):
        told = dict(said.body)
        if "instance" in told:
            lives = self._instances.setdefault(said.origin, [])
            if told["instance"] not in lives:
                lives.append(told["instance"])
            told["instance"] = "life #%d" % lives.index(told["instance"])
        told.pop("ls_seq", None)
        if "ls" in told:
            told["ls"] = {**told["ls"], "ls_seq": None}
        value = (annotations, told)
        news = self._news.setdefault((said.op, said.origin, said.to), [])
        if news and news[-1] == value:
            return []
        if told.get("seen") == [] and not news:
            return [(("control", said.op, said.origin, said.to, FIRST_CALL), value)]
        news.append(value)
        return [(("control", said.op, said.origin, said.to, len(news) - 1), value)]

    def _before(self, said, op):
        return next((one for one in reversed(self.said) if one.op == op and one.origin == said.origin
                     and one.body.get("instance") == said.body.get("instance") and len(one.trace) == 1), None)

    def _contradictions(self, said):
        """What a router may not say of itself after what it has said before."""
        wrong = []
        if said.trace != ["0/%s" % said.origin]:
            wrong.append("trace %s of %s" % (said.trace, said.origin))
        before = self._before(said, said.op)
        if said.op == "LSU":
            if said.body["ls_seq"] != said.body["ls"]["ls_seq"] or said.body["ls"]["id"] != said.origin:
                wrong.append("LSU of two minds: %s" % said.body)
            is_other = before and said.body["ls"]["peers"] != before.body["ls"]["peers"]
            if is_other and said.body["ls_seq"] <= before.body["ls_seq"]:
                wrong.append("another record under an old number: %s after %s" % (said.body, before.body))
        for name in ("ls_seq", "mobile_seq"):
            if before and said.body.get(name, 0) < before.body.get(name, 0):
                wrong.append("%s of %s goes back: %s after %s" % (name, said.op, said.body, before.body))
        if "add" in said.body:
            announced = [one for one in self.said if one.op == "RA" and one.origin == said.origin]
            if announced and announced[-1].body["mobile_seq"] >= said.body["mobile_seq"]:
                wrong.append("MAU %d after the RA that tells of it" % said.body["mobile_seq"])
        return wrong
