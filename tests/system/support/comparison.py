"""What a live router says beside what a recorded one said: the facts of two conversations, compared."""

EXPIRY = 2  # a terminus's field (AMQP 1.0 part 3.5.3, Source; part 3.5.4, Target)
SHOWN = 600  # characters of a value in a difference


class Comparison:
    """allowed, news and messages as in support.playing.Playing."""

    def __init__(self, allowed, news, messages):
        self.allowed, self.news, self.with_messages = set(allowed), news, messages

    def lines(self, recorded, live, kind=None, allowed=()):
        """How the facts differ: texts, one for each key; only of one kind of frames, if a kind is given.

        allowed     for this comparison alone
        """
        old, new = by_key(recorded), by_key(live)
        out = []
        for key in [key for key in dict.fromkeys(list(old) + list(new)) if kind in (None, key[0])]:
            before, now = self._comparable(key, allowed, *(list(found.get(key, [])) for found in (old, new)))
            if before != now:
                out.append("%s: recorded %s, live %s" % (key, shown(before), shown(now)))
        return out

    def _comparable(self, key, allowed, before, now):
        """The values of a key on both sides, as far as they must be the same."""
        before, now = ([self._known(key, value, allowed) for value in values] for values in (before, now))
        if key[0] == "flow":
            return granted(key, before), granted(key, now)
        if key[0] == "control":
            before, now = (without_first_calls(key, said) for said in (before, now))
            return self.news[key[1:3]](before, now, key[3]) if key[1:3] in self.news else (before, now)
        if key[0] == "transfer" and self.with_messages and before and now:
            return as_far_as_both(before, now)
        return before, now

    def _known(self, key, value, allowed):
        """The value without what may differ."""
        if key[0] == "transfer":
            return value if self.with_messages else value[0]
        if not isinstance(value, dict):
            return value
        value = {name: what for name, what in value.items() if (key[0], name) not in self.allowed.union(allowed)}
        if value.pop("answer", False):
            termini = {name: as_answered(value[name]) for name in ("source", "target") if name in value}
            value = {name: termini.get(name, what) for name, what in value.items() if termini.get(name, what)}
        return value


def whole(frames):
    """The transfer frames of a delivery as one: how a message is cut into frames is each router's choice."""
    first, last = frames[0], frames[-1]
    fields = {name: what for name, what in {**first[0], **last[0]}.items() if name != "more" or "more" in last[0]}
    return fields, "".join(octets for _, octets, _ in frames)


def by_key(facts):
    """{key: values}: the frames of a delivery as one, of control messages all news of a kind in their order."""
    found = {}
    for key, value in facts:
        found.setdefault(key if key[0] != "control" else key[:4], []).append(value)
    return {key: [whole(values)] if key[0] == "transfer" else values for key, values in found.items()}


def granted(key, flows):
    """What a link's flow frames come to. How often a router gives credit back, each time or in portions, is its choice."""
    flows = [(count, credit, bool(drain)) for count, credit, drain in flows]
    if key[3] == "from A":  # the answers to drain; who asks again may be answered again
        return [flow for at, flow in enumerate(flows) if at == 0 or flow != flows[at - 1]]
    out = []
    for _, credit, drain in flows:
        if drain or out:
            credit = "some" if credit else 0
        if not out or out[-1] != (credit, drain):
            out.append((credit, drain))
    return out


def as_answered(terminus):
    """docs/differences-from-qpid-dispatch.md: the old router answers with a terminus of its own, expiring with the session,
    ours with the one that came, be it null. Nobody heeds the difference."""
    fields = [None if at == EXPIRY else field for at, field in enumerate(terminus[2])] if terminus else []
    return (*terminus[:2], fields) if any(fields) else None


def without_first_calls(key, said):
    """HELLOs that name nobody come first, or not at all, and more than once: the ticks of two routers meet as they do."""
    while key[1] == "HELLO" and len(said) > 1 and said[0][1]["seen"] == []:
        said = said[1:]
    return said


def as_far_as_both(recorded, live):
    """Of a message that was given up half way, what both routers had passed on by then."""
    (old, new) = recorded[0], live[0]
    if "aborted" not in old[0] or "aborted" not in new[0]:
        return recorded, live
    end = min(len(old[1]), len(new[1]))
    return [(old[0], old[1][:end])], [(new[0], new[1][:end])]


def shown(values):
    """A list of values as a text that can be read: of a long one its beginning and how long it is."""
    text = str(values)
    return text if len(text) < SHOWN else "%s...(%d)" % (text[:SHOWN], len(text))
