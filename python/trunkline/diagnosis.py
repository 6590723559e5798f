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
    between two looks; None: there was one look only. seconds: between them. before: the views of the first look.
    Receivers that are edge routers stand for receivers behind them; they count only where that edge router was not asked.
    """

    def __init__(self, key, views, silent, moved=None, seconds=1.0, before=None):
        self.key, self.silent, self.moved, self.seconds = key, silent, moved, seconds
        self.views = views
        self.uses = {router: use for router, view in views.items() for use in view["uses"] if use["key"] == key}
        self.senders = self._ends("senders")
        self.receivers = self._ends("receivers")
        self.in_process = [router for router, use in self.uses.items() if use["inProcess"]]
        self.trunks = [dict(trunk, at=router) for router, view in views.items() for trunk in view["trunks"]]
        self.auto_links = facts_of(views, "autoLinks")
        self.exchanges = self._exchanges(views)
        self.earlier_exchanges = {(e["at"], e["name"]): e for e in self._exchanges(before or {})}

    def _exchanges(self, views):
        return [e for e in facts_of(views, "exchanges") if self.key == "M%d%s" % (e["phase"], self.key[2:])]

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


def facts_of(views, name):
    """Facts of one kind of all routers, each with the router that it is of. Routers before us do not tell all kinds."""
    return [dict(facts, at=router) for router, view in views.items() for facts in view.get(name) or ()]


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


def container_of(facts):
    """Where a link route or autoLink leads."""
    if facts["containerId"]:
        return "container '%s'" % facts["containerId"]
    return "connection '%s'" % facts["connection"] if facts["connection"] else "no connection"


def _in_last(flow):
    return "in the last second" if flow.seconds < 1.5 else "in the last %.1f s" % flow.seconds


def _grown(flow, exchange, counter):
    earlier = flow.earlier_exchanges.get((exchange["at"], exchange["name"]))
    return exchange[counter] - earlier[counter] if earlier else 0


def exchange_drops(flow):
    """Nobody has had them: that is what the sender of a subject wants to know first."""
    for exchange in flow.exchanges:
        dropped = _grown(flow, exchange, "droppedCount")
        if dropped > 0:
            return ("exchange '%s' on router %s found nobody for %s %s: no binding matches their subject, or what matches "
                    "leads to no receiver" % (exchange["name"], exchange["at"], counted(dropped, "message"), _in_last(flow)))
    return None


def exchange_moves(flow):
    for exchange in flow.exchanges:
        passed = _grown(flow, exchange, "forwardedCount")
        if passed > 0:
            return "messages move: exchange '%s' on router %s has passed on %d %s" % (
                exchange["name"], exchange["at"], passed, _in_last(flow))
    return None


def exchange_without_bindings(flow):
    """It takes everything and passes on nothing."""
    if flow.receivers or not flow.exchanges:
        return None
    if any(exchange["bindingCount"] or exchange["alternateAddress"] for exchange in flow.exchanges):
        return None
    exchange = flow.exchanges[0]
    return "exchange '%s' on router %s has no binding and no alternateAddress: it releases every message" % (
        exchange["name"], exchange["at"])


NEXT_HOPS_SHOWN = 3


def by_exchange(flow):
    if flow.receivers or not flow.exchanges:
        return None
    exchange = flow.exchanges[0]
    hops = sorted({binding["nextHopAddress"] for binding in exchange["bindings"]} | set(
        filter(None, [exchange["alternateAddress"]])))
    others = len(hops) - NEXT_HOPS_SHOWN
    return "exchange '%s' on router %s passes messages on by %s; explain %s%s to see who receives" % (
        exchange["name"], exchange["at"], counted(exchange["bindingCount"], "binding"),
        listed(hops[:NEXT_HOPS_SHOWN]), " (and %d more)" % others if others > 0 else "")


def _autolink_trouble(link):
    if link["operStatus"] == "failed":
        sentence = "has failed: %s" % (link["lastError"] or "the container gave no reason")
        if link["retryMs"] is not None:
            sentence += "; next attempt in %s" % span(link["retryMs"] + 999)
        return sentence
    if link["operStatus"] == "attaching":
        return "waits for the container's answer"
    return "is inactive: %s is not open" % container_of(link)


def autolink_down(flow):
    """What a container should take, or give, is not attached, and nobody else does it."""
    keys = {"out": (flow.key, "M" + FALLBACK_PHASE + flow.key[2:]), "in": (flow.key,)}
    others = {"out": flow.receivers, "in": flow.senders}
    for link in flow.auto_links:
        if link["operStatus"] != "active" and link["key"] in keys[link["direction"]] and not others[link["direction"]]:
            return "autoLink '%s' (%s) on router %s to %s %s" % (
                link["name"] or link["identity"], link["direction"], link["at"], container_of(link), _autolink_trouble(link))
    return None


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
        the_others = are_or_is(others, "the other one", "any of %d others" % others)
        sentence += ", nor has %s" % the_others if len(dry) == len(flow.receivers) else ""
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
    holder = _holder(flow)
    target = "receiver " + where(holder) if holder else _next_router(flow, worst["at"])
    return "sender %s is blocked: its %d unsettled %s waited %s for %s" % (
        where(worst), worst["unsettled"], are_or_is(worst["unsettled"], "delivery has", "deliveries have"),
        span((holder or worst)["waitingMs"]), target)


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


# The first that says something is the sentence; all that do are told.
CAUSES = [
    (STUCK, unavailable),
    (STUCK, exchange_drops),
    (MOVES, moves),
    (MOVES, exchange_moves),
    (IDLE, served_by_router),
    (IDLE, to_fallback),
    (STUCK, autolink_down),
    (STUCK, exchange_without_bindings),
    (IDLE, by_exchange),
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
            if cause in _WHOLE or cause in _FOR_EXCHANGES and not flow.receivers:
                break
    return found


# These explain everything that is not said before them.
_WHOLE = (unavailable, served_by_router, to_fallback, autolink_down, exchange_without_bindings, by_exchange, no_receiver,
          not_asked)
_FOR_EXCHANGES = (exchange_drops, exchange_moves)


# ---- link routes ----

_WHO = {"in": "senders", "out": "receivers"}


def _leads_where(entry):
    """The routes of a router that have their container, in words."""
    routes = [route for route in entry["routes"] if route["connections"]]
    return ["%s at router %s" % (container_of(route), entry["at"]) for route in routes]


def _without_container(entries):
    route, at = next(((route, entry["at"]) for entry in entries for route in entry["routes"]), (None, None))
    if route is None:
        return "no router has a container for that"
    return "%s is not open at router %s for %s" % (container_of(route), at, span(route["sinceMs"]))


def routed(entries, silent):
    """(state, sentence) of one direction of a link-routed address. entries: those of all routers that have it."""
    who = _WHO[entries[0]["direction"]]
    pattern = entries[0]["key"][1:]
    homes = [where for entry in entries for where in _leads_where(entry)]
    links = sum(entry["links"] for entry in entries)
    if homes:
        return IDLE, "link-routed by '%s': %s attach straight to %s, %d %s now; credit and messages are the container's" % (
            pattern, who, listed(sorted(set(homes))), links, are_or_is(links, "is", "are"))
    for entry in entries:
        for other in filter(None, entry["routers"]):
            if other["id"] in silent:
                return STUCK, ("link-routed by '%s': router %s says that router %s has the container, which cannot be asked: %s"
                               % (pattern, entry["at"], other["id"], silent[other["id"]]))
    return STUCK, "link-routed by '%s', and no %s can attach: %s" % (pattern, who[:-1], _without_container(entries))


def routed_phases(views, silent):
    """As phases, one for each direction that is link-routed."""
    phases = []
    for direction in ("in", "out"):
        entries = [entry for entry in facts_of(views, "linkRoutes") if entry["direction"] == direction]
        # An edge router knows of its interior router's only when a client asks.
        entries = [entry for entry in entries if entry["routes"] or entry["routers"]] or entries
        if entries:
            state, sentence = routed(entries, silent)
            phases.append({"key": entries[0]["key"], "state": state, "sentence": sentence, "more": [], "moved": None})
    return phases


def _is_unused_fallback(use):
    """The second address of one with fallback, which nobody receives from: that is no trouble of the first."""
    return use["key"][:2] == "M" + FALLBACK_PHASE and not use["receivers"] and not use["routers"]


def _keys(views):
    """Of each phase that somebody uses, or is configured to use."""
    keys = {use["key"] for view in views.values() for use in view["uses"] if not _is_unused_fallback(use)}
    keys |= {link["key"] for link in facts_of(views, "autoLinks") if link["key"][1:2] != FALLBACK_PHASE}
    return sorted(keys)


def diagnose(before, after=None, silent=None, seconds=1.0):
    """What EXPLAIN gave of each router, at one time or at two, `seconds` apart: {"state", "sentence", "phases"}.

    silent: {router id: why it was not asked}. phases: of each key in use, its own state, sentence and other findings.
    """
    silent = silent or {}
    views = after or before
    text = next(iter(views.values()))["address"] if views else ""
    phases = routed_phases(views, silent)
    for key in _keys(views) or ([] if phases else ["M0" + text]):
        moved = max(0, egress(key, after) - egress(key, before)) if after else None
        found = findings(Flow(key, views, silent, moved, seconds, before if after else None))
        phases.append({"key": key, "state": found[0][0], "sentence": found[0][1],
                       "more": [sentence for _, sentence in found[1:]], "moved": moved})
    worst = next((phase for phase in phases if phase["state"] == STUCK), None) or next(
        (phase for phase in phases if phase["state"] == MOVES), phases[0])
    return {"state": worst["state"], "sentence": _which_phase(worst["key"], phases) + worst["sentence"], "phases": phases}


def _which_phase(key, phases):
    """What a sentence begins with where there are several legs of an address: which of them it is about."""
    numbers = {phase["key"][1] for phase in phases if phase["key"][:1] == "M"} - {FALLBACK_PHASE}
    if key[:2] == "M" + FALLBACK_PHASE:
        return "fallback destination: "
    return "phase %s: " % key[1] if key[:1] == "M" and len(numbers) > 1 else ""
