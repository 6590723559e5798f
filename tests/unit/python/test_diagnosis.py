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
    assert say(view("A", use([link("s")], dry[:2])))[1].endswith("nor has any of 1 other")
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
        IDLE, "phase 0: no receiver of its own: messages go to the fallback destination, which has 1 receiver")
    # One that nobody receives from is no trouble while there is a receiver, and no help where there is none.
    assert say(view("A", use([link("s")], [link("r")]), use(key=key)))[0] == IDLE
    assert say(view("A", use([link("s")]), use(key=key))) == (STUCK, "no receiver anywhere")


@pytest.mark.parametrize("ms, text", [(None, "0 s"), (999, "0 s"), (42000, "42 s"), (180000, "3 min"), (9000000, "2 h")])
def test_spans(ms, text):
    assert span(ms) == text
