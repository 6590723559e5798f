"""trunkline.diagnosis: sentences from facts, for what real routers show only for a moment, and for the choice among several."""
import pytest

from trunkline import diagnosis
from trunkline.diagnosis import IDLE, MOVES, STUCK, diagnose, span

KEY = "M0q"


def link(container, **facts):
    return {"identity": "1", "linkName": "l", "connection": "1", "container": container, "host": "h:1", "role": "normal",
            "capacity": 250, "credit": 10, "noCreditMs": None, "queued": 0, "unsettled": 0, "waitingMs": None, "deliveries": 0,
            "settleRate": 0, "heldBy": None, "heldMs": None, **facts}


def use(senders=(), receivers=(), routers=(), key=KEY, **facts):
    return {"key": key, "distribution": "balanced", "priority": -1, "inProcess": False, "deliveriesIngress": 0,
            "deliveriesEgress": 0, "senderCount": len(senders), "receiverCount": len(receivers), "senders": list(senders),
            "receivers": list(receivers), "routers": list(routers), **facts}


def view(router, *uses, **facts):
    return {"router": router, "mode": "interior", "defaultDistribution": "balanced", "address": "q", "rule": None,
            "uses": list(uses), "trunks": [], "edges": [], **facts}


def way(router, **facts):
    return {"id": router, "reachable": True, "nextHop": router, "cost": 1, **facts}


def say(*views, **arguments):
    found = diagnose({v["router"]: v for v in views}, **arguments)
    return found["state"], found["sentence"]


def test_no_way_to_where_the_receivers_are():
    assert say(view("A", use([link("s")], routers=[way("B", reachable=False, nextHop=None)])), view("B", use((), [link("r")]))) == (
        STUCK, "router A, where sender s is, knows no way to router B, where the receivers are")


def test_messages_wait_for_a_neighbour():
    trunk = {"router": "B", "connection": "1", "queued": 7, "unsettled": 0, "waitingMs": 9000, "heldBy": "output", "heldMs": 9000}
    here = use([link("s", credit=0, unsettled=7)], routers=[way("C", nextHop="B")])
    assert say(view("A", here, trunks=[trunk]), view("C", use((), [link("r")]))) == (
        STUCK, "7 messages wait on router A for router B, which does not read from the connection for 9 s")
    # What waits for another neighbour does not concern this address.
    assert say(view("A", here, trunks=[dict(trunk, router="X")]), view("C", use((), [link("r")])))[1].startswith("sender s")


def test_sender_without_credit_though_there_are_receivers():
    assert say(view("A", use([link("s", credit=0, noCreditMs=7000)], [link("r")]))) == (
        STUCK, "sender s on router A has no credit for 7 s, though there are receivers")


def test_router_that_is_not_asked_has_the_receiver():
    assert say(view("A", use([link("s")], routers=[way("B")])), silent={"B": "Timeout: 5 s"}) == (
        STUCK, "router A says that router B has a receiver, which cannot be asked: Timeout: 5 s")


def test_several_receivers_without_credit():
    dry = [link("r%d" % n, credit=0, noCreditMs=1000 * n) for n in (1, 5, 2)]
    assert say(view("A", use([link("s")], dry))) == (
        STUCK, "receiver r5 on router A has given no credit for 5 s, nor has any of 2 others")
    assert say(view("A", use([link("s")], dry[:2])))[1].endswith("nor has the other one")
    assert say(view("A", use([link("s")], [*dry, link("r")])))[0] == IDLE


def test_movement_comes_first_and_the_rest_is_told():
    slow = link("slow", credit=0, noCreditMs=5000, queued=3, heldBy="credit")
    before = {"A": view("A", use([link("s")], [link("r"), slow], deliveriesEgress=10))}
    after = {"A": view("A", use([link("s")], [link("r"), slow], deliveriesEgress=25))}
    found = diagnose(before, after)
    assert (found["state"], found["sentence"]) == (MOVES, "messages move: 15 in the last second")
    assert found["phases"][0]["more"] == ["receiver slow on router A has given no credit for 5 s; 3 messages wait for it"]
    assert diagnose(before, after, seconds=2.25)["sentence"] == "messages move: 15 in the last 2.2 s"


def test_worst_phase_is_the_answer():
    assert say(view("A", use([link("s")], [link("r")]), use([link("w")], key="M1q"))) == (STUCK, "phase 1: no receiver anywhere")


def test_edge_router_that_was_asked_is_no_receiver_itself():
    """Its own receivers count, and what goes to them counts once."""
    inlink = link("E", role="edge", deliveries=4)
    interior = view("A", use([link("s")], [inlink], deliveriesEgress=4), edges=["E"])
    edge = view("E", use((), [link("r", credit=0, noCreditMs=3000)], deliveriesEgress=4), mode="edge")
    assert say(interior, edge) == (STUCK, "receiver r on router E has given no credit for 3 s")
    assert diagnosis.egress(KEY, {"A": interior, "E": edge}) == 4
    assert say(interior)[0] == IDLE and diagnosis.egress(KEY, {"A": interior}) == 4


def test_fallback_destination_takes_what_has_no_receiver():
    key = "MFq"
    assert say(view("A", use([link("s")]), use((), [link("f")], key=key))) == (
        IDLE, "no receiver of its own: messages go to the fallback destination, which has 1 receiver")
    # One that nobody receives from is no trouble while there is a receiver, and no help where there is none.
    assert say(view("A", use([link("s")], [link("r")]), use(key=key)))[0] == IDLE
    assert say(view("A", use([link("s")]), use(key=key))) == (STUCK, "no receiver anywhere")


@pytest.mark.parametrize("ms, text", [(None, "0 s"), (999, "0 s"), (42000, "42 s"), (180000, "3 min"), (9000000, "2 h")])
def test_spans(ms, text):
    assert span(ms) == text


# -- what an address leads to beside its own receivers


def route(connections=0, **facts):
    return {"name": "lr", "identity": "1", "connection": "broker", "containerId": None, "connections": connections,
            "sinceMs": 42000, **facts}


def link_routed(direction="in", routes=(), routers=(), links=0):
    return {"direction": direction, "key": ("C" if direction == "in" else "D") + "lr", "routes": list(routes), "links": links,
            "routers": list(routers)}


def auto_link(direction="out", **facts):
    return {"name": "al", "identity": "1", "key": KEY, "direction": direction, "externalAddress": None, "connection": None,
            "containerId": "mq", "connections": 1, "operStatus": "inactive", "lastError": None, "retryMs": None, **facts}


def exchange(hops=(), **facts):
    return {"name": "ex", "phase": 0, "alternateAddress": None, "receivedCount": 0, "forwardedCount": 0, "divertedCount": 0,
            "droppedCount": 0, "bindingCount": len(hops), **facts,
            "bindings": [{"bindingKey": "#", "nextHopAddress": hop, "nextHopPhase": 0, "matchedCount": 0} for hop in hops]}


def test_link_route_whose_container_is_elsewhere():
    here = view("A", linkRoutes=[link_routed(routers=[way("B")], links=2)])
    there = view("B", linkRoutes=[link_routed(routes=[route(connections=1)], links=2)])
    assert say(here, there) == (
        IDLE, "link-routed by 'lr': senders attach straight to connection 'broker' at router B, 4 are now; credit and messages are "
        "the container's")
    assert say(here, silent={"B": "Timeout"}) == (
        STUCK, "link-routed by 'lr': router A says that router B has the container, which cannot be asked: Timeout")
    assert say(view("A", linkRoutes=[link_routed("out", [route(containerId="mq")])])) == (
        STUCK, "link-routed by 'lr', and no receiver can attach: container 'mq' is not open at router A for 42 s")
    assert say(view("A", linkRoutes=[link_routed()]))[1].endswith("no router has a container for that")


def test_autolink_that_is_not_attached():
    def of(*links, uses=()):
        return say(view("A", *uses, autoLinks=links))
    begin = "autoLink 'al' (out) on router A to container 'mq' "
    assert of(auto_link()) == (STUCK, begin + "is inactive: container 'mq' is not open")
    assert of(auto_link(operStatus="attaching")) == (STUCK, begin + "waits for the container's answer")
    assert of(auto_link(operStatus="failed", lastError="no queue", retryMs=3001)) == (
        STUCK, begin + "has failed: no queue; next attempt in 4 s")
    assert of(auto_link(operStatus="failed")) == (STUCK, begin + "has failed: the container gave no reason")
    # Somebody else does what it should: then messages are no worse off.
    assert of(auto_link(), uses=[use([link("s")], [link("r")])])[0] == IDLE
    assert of(auto_link("in"), uses=[use((), [link("r")])])[1].startswith("autoLink 'al' (in)")
    assert of(auto_link(key="MFq"), uses=[use([link("s", credit=0)])])[1].startswith("autoLink 'al' (out)")


def test_exchange_takes_what_has_no_receiver_of_its_own():
    def of(now, before=None):
        views = [{"A": view("A", use([link("s")]), exchanges=[e])} for e in (before or now, now)]
        found = diagnose(*views)
        return found["state"], found["sentence"]
    assert of(exchange()) == (
        STUCK, "exchange 'ex' on router A has no binding and no alternateAddress: it releases every message")
    assert of(exchange("edcba")) == (
        IDLE, "exchange 'ex' on router A passes messages on by 5 bindings; explain a, b and c (and 2 more) to see who receives")
    assert of(exchange("a", forwardedCount=7), exchange("a")) == (
        MOVES, "messages move: exchange 'ex' on router A has passed on 7 in the last second")
    assert of(exchange("a", forwardedCount=7, droppedCount=1), exchange("a")) == (
        STUCK, "exchange 'ex' on router A found nobody for 1 message in the last second: no binding matches their subject, or what "
        "matches leads to no receiver")
    assert of(exchange("a", phase=1)) == (STUCK, "no receiver anywhere")
