"""Why the messages of an address move, or do not: one sentence made of what all routers know of it (docs/explain.md).

Pure: facts in, findings out. CAUSES is a table; whatever can stop messages has a row there, in the order in which the first
that holds is the sentence. A row is a state and a function of a Flow that gives a sentence or None.
"""

MOVES, IDLE, STUCK = "moves", "idle", "stuck"
# Deliveries that nobody settles for so long are not merely slow.
SLOW_MS = 10000
FALLBACK_PHASE = "F"


class Flow:
    """One address in one phase over all routers.

    views: {router id: what EXPLAIN gave}. silent: {router id: why it was not asked}. moved: messages that receivers got
    between two looks; None: there was one look only. seconds: between them.
    Receivers that are edge routers stand for receivers behind them; they count only where that edge router was not asked.
    """

    def __init__(self, key, views, silent, moved=None, seconds=1.0):
        self.key, self.silent, self.moved, self.seconds = key, silent, moved, seconds
        self.views = views
        self.uses = {router: use for router, view in views.items() for use in view["uses"] if use["key"] == key}
        self.senders = self._ends("senders")
        self.receivers = self._ends("receivers")
        self.in_process = [router for router, use in self.uses.items() if use["inProcess"]]
        self.trunks = [dict(trunk, at=router) for router, view in views.items() for trunk in view["trunks"]]

    def _ends(self, kind):
        return [
            dict(link, at=router)
            for router, use in self.uses.items()
            for link in use[kind]
            if not self._is_relay(link)
        ]

    def _is_relay(self, link):
        return link["role"] == "inter-router" or link["role"] == "edge" and link["container"] in self.views

    @property
    def phase(self):
        return self.key[1:2] if self.key.startswith("M") else ""

    def has_unlisted(self, kind):
        """Whether a router has more links than it lists."""
        return any(use[kind + "Count"] > len(use[kind + "s"]) for use in self.uses.values())


def egress(key, views):
    """Messages that receivers of an address have had, in all routers that were asked."""
    total = 0
    for view in views.values():
        for use in view["uses"]:
            if use["key"] == key:
                total += use["deliveriesEgress"]
                total -= sum(
                    link["deliveries"]
                    for link in use["receivers"]
                    if link["role"] == "edge" and link["container"] in views
                )
    return total


# ---- words ----


def span(ms):
    """A time for people: 42 s, 3 min, 5 h."""
    seconds = (ms or 0) // 1000
    if seconds < 120:
        return "%d s" % seconds
    return "%d min" % (seconds // 60) if seconds < 7200 else "%d h" % (seconds // 3600)


def counted(number, thing):
    return "%d %s%s" % (number, thing, "" if number == 1 else "s")


def are_or_is(number, one, many):
    return one if number == 1 else many


def where(link):
    return "%s on router %s" % (link["container"] or link["host"], link["at"])


def listed(names):
    names = list(names)
    return names[0] if len(names) == 1 else "%s and %s" % (", ".join(names[:-1]), names[-1])


def _longest(links, name):
    return max(links, key=lambda link: link[name] or 0)


# ---- what may stop messages ----


def unavailable(flow):
    """Somebody has configured that nobody is to use it."""
    routers = [
        router
        for router, view in flow.views.items()
        if (view["rule"]["distribution"] if view["rule"] else view["defaultDistribution"]) == "unavailable"
        and flow.key[:1] == "M"
    ]
    if not routers or flow.receivers and flow.senders:
        return None
    return "address is configured unavailable on router %s" % listed(routers)


def moves(flow):
    if not flow.moved:
        return None
    time = "second" if flow.seconds < 1.5 else "%.1f s" % flow.seconds
    return "messages move: %d in the last %s" % (flow.moved, time)


def served_by_router(flow):
    if not flow.in_process:
        return None
    return "router %s itself receives the messages" % listed(flow.in_process)


def to_fallback(flow):
    """Nobody takes them at first hand, but the address has a fallback destination that somebody receives from."""
    if flow.receivers or flow.phase == FALLBACK_PHASE:
        return None
    others = Flow("M" + FALLBACK_PHASE + flow.key[2:], flow.views, flow.silent).receivers
    if not others:
        return None
    return "no receiver of its own: messages go to the fallback destination, which has %s" % counted(len(others), "receiver")


def not_asked(flow):
    """A router that has receivers, as others say, could not be asked."""
    if flow.receivers:
        return None
    for router, use in flow.uses.items():
        for other in use["routers"]:
            if other and other["id"] in flow.silent:
                return "router %s says that router %s has a receiver, which cannot be asked: %s" % (
                    router, other["id"], flow.silent[other["id"]])
    return None


def no_receiver(flow):
    if flow.receivers:
        return None
    waiting = [sender for sender in flow.senders if sender["credit"] == 0]
    sentence = "no receiver anywhere"
    if flow.silent:
        sentence += " that could be asked; router %s did not answer" % listed(flow.silent)
    if waiting:
        sentence += "; %s %s without credit for %s" % (
            counted(len(waiting), "sender"), are_or_is(len(waiting), "is", "are"),
            span(_longest(waiting, "noCreditMs")["noCreditMs"]))
    return sentence


def out_of_reach(flow):
    """Senders are where no way leads to the receivers."""
    homes = {receiver["at"] for receiver in flow.receivers}
    for sender in flow.senders:
        use = flow.uses[sender["at"]]
        if use["receiverCount"] or flow.views[sender["at"]]["mode"] == "edge":
            continue
        if not any(other and other["reachable"] for other in use["routers"]):
            return "router %s, where sender %s is, knows no way to router %s, where the receivers are" % (
                sender["at"], sender["container"] or sender["host"], listed(sorted(homes)))
    return None


def window_full(flow):
    held = [receiver for receiver in flow.receivers if receiver["heldBy"] == "window"]
    if not held:
        return None
    worst = _longest(held, "heldMs")
    return "session window full: receiver %s has not taken the frames that were sent to it for %s; %s waiting" % (
        where(worst), span(worst["heldMs"]),
        counted(worst["queued"], "message") + are_or_is(worst["queued"], " is", " are"))


def not_reading(flow):
    held = [receiver for receiver in flow.receivers if receiver["heldBy"] == "output"]
    if not held:
        return None
    worst = _longest(held, "heldMs")
    return "receiver %s does not read from its connection for %s; %s waiting" % (
        where(worst), span(worst["heldMs"]),
        counted(worst["queued"], "message") + are_or_is(worst["queued"], " is", " are"))


_TRUNK_REASONS = {
    "credit": "which has given no credit",
    "window": "whose session window is full",
    "output": "which does not read from the connection",
}


def between_routers(flow):
    """Messages of any address wait for a neighbour by which receivers of this one are reached."""
    ways = {
        (router, other["nextHop"])
        for router, use in flow.uses.items()
        for other in use["routers"]
        if other and other["reachable"]
    }
    held = [t for t in flow.trunks if t["heldBy"] in _TRUNK_REASONS and t["queued"] and (t["at"], t["router"]) in ways]
    if not held:
        return None
    worst = _longest(held, "heldMs")
    return "%s on router %s for router %s, %s for %s" % (
        counted(worst["queued"], "message") + are_or_is(worst["queued"], " waits", " wait"), worst["at"], worst["router"],
        _TRUNK_REASONS[worst["heldBy"]], span(worst["heldMs"]))


def no_credit(flow):
    """Receivers that do not ask for messages: all of them, or those for whom some wait."""
    held = [receiver for receiver in flow.receivers if receiver["credit"] == 0 and receiver["queued"]]
    dry = [receiver for receiver in flow.receivers if receiver["credit"] == 0]
    if not held and (len(dry) < len(flow.receivers) or flow.has_unlisted("receiver")):
        return None
    worst = _longest(held or dry, "noCreditMs")
    sentence = "receiver %s has given no credit for %s" % (where(worst), span(worst["noCreditMs"]))
    others = len(dry) - 1
    if others:
        sentence += ", nor has any of %s" % counted(others, "other") if len(dry) == len(flow.receivers) else ""
    if worst["queued"]:
        sentence += "; %s for it" % (counted(worst["queued"], "message") + are_or_is(worst["queued"], " waits", " wait"))
    if worst["unsettled"]:
        sentence += ", and %s it has not settled for %s" % (counted(worst["unsettled"], "delivery").replace(
            "deliverys", "deliveries"), span(worst["waitingMs"]))
    return sentence


def _holder(flow):
    """The receiver that has kept what it has for longest."""
    holders = [receiver for receiver in flow.receivers if receiver["unsettled"] or receiver["queued"]]
    return _longest(holders, "waitingMs") if holders else None


def blocked_sender(flow):
    blocked = [sender for sender in flow.senders if sender["credit"] == 0 and sender["unsettled"]]
    if not blocked:
        return None
    worst = _longest(blocked, "waitingMs")
    sentence = "sender %s is blocked: its %s" % (where(worst), "%d unsettled %s" % (
        worst["unsettled"], are_or_is(worst["unsettled"], "delivery waits", "deliveries wait")))
    holder = _holder(flow)
    target = "receiver " + where(holder) if holder else _next_router(flow, worst["at"])
    return "%s for %s since %s" % (sentence, target, span((holder or worst)["waitingMs"]))


def _next_router(flow, router):
    names = [trunk["router"] for trunk in flow.trunks if trunk["at"] == router and (trunk["unsettled"] or trunk["queued"])]
    return "router " + listed(names) if names else "their outcomes"


def no_credit_for_sender(flow):
    """It has nothing under way and may send nothing: its credit has been asked back, or is on its way."""
    dry = [sender for sender in flow.senders if sender["credit"] == 0 and not sender["unsettled"]]
    if not dry or len(dry) < len(flow.senders):
        return None
    worst = _longest(dry, "noCreditMs")
    return "sender %s has no credit for %s, though there are receivers" % (where(worst), span(worst["noCreditMs"]))


def unsettled(flow):
    holder = _holder(flow)
    if not holder or (holder["waitingMs"] or 0) < SLOW_MS:
        return None
    number = holder["unsettled"] + holder["queued"]
    return "%s for receiver %s, which has settled nothing for %s" % (
        "%d %s" % (number, are_or_is(number, "delivery waits", "deliveries wait")), where(holder), span(holder["waitingMs"]))


def no_sender(flow):
    if flow.senders:
        return None
    with_credit = sum(1 for receiver in flow.receivers if receiver["credit"])
    return "no sender attached to it: %s, %d with credit" % (counted(len(flow.receivers), "receiver"), with_credit)


def nothing_sent(flow):
    return "nothing is sent: %s with credit, and no message waits" % counted(
        sum(1 for sender in flow.senders if sender["credit"]), "sender")


# The first that says something is the sentence; all that do are told. Link routes, autoLinks and fallback add theirs.
CAUSES = [
    (STUCK, unavailable),
    (MOVES, moves),
    (IDLE, served_by_router),
    (IDLE, to_fallback),
    (STUCK, not_asked),
    (STUCK, no_receiver),
    (STUCK, out_of_reach),
    (STUCK, window_full),
    (STUCK, not_reading),
    (STUCK, between_routers),
    (STUCK, no_credit),
    (STUCK, blocked_sender),
    (STUCK, no_credit_for_sender),
    (STUCK, unsettled),
    (IDLE, no_sender),
    (IDLE, nothing_sent),
]


def findings(flow):
    """[(state, sentence)], the decisive one first. After one that explains everything only other kinds of trouble follow."""
    found = []
    for state, cause in CAUSES:
        if state == IDLE and found:
            continue
        sentence = cause(flow)
        if sentence:
            found.append((state, sentence))
            if cause in (unavailable, served_by_router, to_fallback, no_receiver, not_asked):
                break
    return found


def _is_unused_fallback(use):
    """The second address of one with fallback, which nobody receives from: that is no trouble of the first."""
    return use["key"][:2] == "M" + FALLBACK_PHASE and not use["receivers"] and not use["routers"]


def diagnose(before, after=None, silent=None, seconds=1.0):
    """What EXPLAIN gave of each router, at one time or at two, `seconds` apart: {"state", "sentence", "phases"}.

    silent: {router id: why it was not asked}. phases: of each key in use, its own state, sentence and other findings.
    """
    silent = silent or {}
    views = after or before
    keys = sorted({use["key"] for view in views.values() for use in view["uses"] if not _is_unused_fallback(use)})
    text = next(iter(views.values()))["address"] if views else ""
    phases = []
    for key in keys or ["M0" + text]:
        moved = max(0, egress(key, after) - egress(key, before)) if after else None
        found = findings(Flow(key, views, silent, moved, seconds))
        phases.append({"key": key, "state": found[0][0], "sentence": found[0][1],
                       "more": [sentence for _, sentence in found[1:]], "moved": moved})
    worst = next((phase for phase in phases if phase["state"] == STUCK), None) or next(
        (phase for phase in phases if phase["state"] == MOVES), phases[0])
    sentence = worst["sentence"]
    if len(phases) > 1 and worst["key"].startswith("M"):
        sentence = "phase %s: %s" % (worst["key"][1], sentence)
    return {"state": worst["state"], "sentence": sentence, "phases": phases}
