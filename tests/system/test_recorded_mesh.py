"""How two 1.19 routers met, lost each other and told what they have, with ours in the place of the one and of the other."""
import socket
import time

import pytest

from support.control import FIELDS
from support.conversation import Conversation
from support.deadline import seconds, wait_until
from support.mesh import Mesh
from support.playing import Hosting, Playing
from support.recorded import KNOWN, Actors, in_the_end, interior, play_as_a, play_as_b, recordings_of
from support.recording import DATA, Recording, Swapped

FIRST_HELLO = [("HELLO", "A")]  # docs/mesh.md: ours names nobody in its first HELLO to somebody whom it has not heard


def test_recorded_router_meets_ours_and_hears_the_same(start_router):
    """Open, eleven sessions, the links of both sides with their capabilities and credit, the first control messages."""
    assert play_as_a(start_router, "01-interior-pair") == []


def test_recorded_router_is_met_by_ours_in_the_same_way(start_router):
    assert play_as_b(start_router, "01-interior-pair") == []


def test_recorded_router_asks_for_addresses_and_the_larger_cost_counts(start_router):
    assert play_as_a(start_router, "01b-interior-pair-address-present", config=interior("A", cost=2),
                     before=lambda actors: actors.announce("closest/early")) == []


def test_recorded_router_is_asked_for_addresses(start_router):
    assert play_as_b(start_router, "01b-interior-pair-address-present",
                     config=lambda ports: interior("B", cost=5, dials=ports.values()),
                     acts={"a consumer for multicast/late": lambda actors: actors.receive("multicast/late")}) == []


@pytest.mark.parametrize("side", [Recording, Swapped], ids=["A", "B"])
def test_control_messages_of_the_old_router_are_as_the_tables_say(side):
    """Those tables that each of ours is held against while it plays."""
    said = set()
    for file in sorted(DATA.glob("*.jsonl")):
        for conversation in conversations(side(file.stem)):
            for control in conversation.controls():
                assert control.wrong == [], file.name
                said |= {one.op for one in control.said}
    assert said == set(FIELDS)


def conversations(recording):
    """What was said on each connection of a file, followed without a live router."""
    found = {}
    for event in recording.events:
        if event.get("event") == "connect":
            found[event["conn"]] = Conversation(event["from"])
        elif "octets" in event:
            found[event["conn"]].see(event["from"], event["octets"])
    return found.values()


# -- restarts, silence


def test_recorded_router_that_restarts_is_known_again(start_router):
    """Its connection ends, it comes back in another life: asked for its record and its addresses, told ours."""
    assert play_as_a(start_router, "14a-restart-connector-side", late=FIRST_HELLO, news={("LSU", "A"): in_the_end},
                     arrives=lambda actors: actors.receive("closest/a")) == []


def test_recorded_router_is_found_again_by_ours_restarted(start_router):
    """Ours has dialled, is killed and started again: it tells of another life, and is asked for all of that."""
    def restart(actors):
        actors.router.restart()
        actors.start(actors.router)
        actors.arrivals.append(lambda actors: actors.receive("closest/b2"))

    acts = {"B is killed": lambda actors: actors.router.kill(), "B is started again": restart}
    assert play_as_b(start_router, "14a-restart-connector-side", acts=acts, late=[("HELLO", "B")],
                     arrives=lambda actors: actors.receive("closest/b")) == []


class Redialled(Hosting):
    """The recorded router is dialled by ours, is killed, refuses, and is there again."""

    def __init__(self, name, refuse, **how):
        super().__init__([Recording(name)], on_note=self._act, **how)
        self.name, self.refuse = name, refuse

    def _act(self, text):
        if text == "B is killed":
            self.listeners[self.name].close()
        elif text == "B is started again":
            self.refuse()
            self.listeners[self.name] = socket.create_server(("127.0.0.1", self.ports[self.name]))


@pytest.mark.heavy
def test_recorded_router_that_restarts_is_dialled_again(start_router):
    """Ours has dialled, and is refused once in between."""
    name = "14b-restart-listener-side"
    with Actors() as actors:
        hosting = Redialled(name, lambda: actors.router.wait_log("Connection refused"), allowed=KNOWN, patience=8,
                            meanwhile=actors.meanwhile, late=FIRST_HELLO)
        actors.start(start_router(interior("A", dials=[hosting.ports[name]])))
        actors.announce("closest/a")
        assert hosting.run() == []


def test_recorded_router_finds_ours_restarted(start_router):
    """Ours listens, is killed and started again: another life, and all is asked for anew."""
    live = start_router(interior("B"))
    Mesh.keep_ports(live)

    def act(text):
        if text == "B is killed":
            live.kill()
        elif text == "B is started again":
            live.restart()

    playing = Playing([Swapped("14b-restart-listener-side")], live.ports["mesh"], allowed=KNOWN, on_note=act,
                      late=[("HELLO", "B")])
    assert playing.run() == []


@pytest.mark.heavy
def test_recorded_router_that_freezes_is_lost_after_3_seconds_and_found_again(start_router):
    """On the same connection: it is not closed, links and sessions stay."""
    def compare(actors):
        (connection,) = actors.playing.connections.values()
        hellos = connection.live.said("HELLO")
        lost = next(one for one in hellos if one.body["seen"] == [] and one.at > actors.frozen)
        assert 2.0 < lost.at - actors.frozen < seconds(4.5), "the last HELLO came up to a second before"

    def freeze(actors):
        actors.frozen = time.monotonic()
        actors.playing.fall_silent()

    assert play_as_a(start_router, "14c-freeze", acts={"B is frozen": freeze}, patience=9, after=compare) == []


# -- beyond the neighbour


def test_recorded_router_beyond_the_neighbour_comes_and_goes(start_router):
    assert play_as_a(start_router, "15c-line-router-joins-and-leaves") == []


def test_recorded_router_beyond_the_neighbour_is_lost(start_router):
    """A message that comes before the neighbour has said so is released by that one. Afterwards ours sends nothing there,
    where the old router went on (docs/differences-from-qpid-dispatch.md): it releases itself, and takes the credit back."""
    name, sender = "15b-line-router-lost", "15b-line-router-lost.sender"
    with Actors() as actors:
        actors.start(start_router(interior("A")))
        knows = lambda: [row["id"] for row in actors.manager.query("router.node", "id", "cost") if row["cost"] is not None]

        def on_message(file, number):
            if file == sender and number == 2:
                wait_until(lambda: "C" not in knows(), what="the loss of C to be known")

        playing = Playing([Recording(name, until=7.0), *recordings_of([sender])], actors.router.ports["mesh"],
                          ports={sender: actors.router.port}, allowed=KNOWN, on_message=on_message, settle=actors.settle,
                          meanwhile=actors.meanwhile, news={("LSU", "A"): answered_at_once},
                          known=[sender + r" c1 \('flow', 0, 'tx', .*live \[.*\('some', True\)\]"])
        assert playing.run() == []


def answered_at_once(recorded, live, to):
    """The old router could not reach C yet when C first asked for its record, so that C had to ask again."""
    return (recorded, live) if not to.endswith("/C/qdrouter") else (live[-1:], live[:1])


def test_recorded_triangle_with_a_third_router_of_ours(start_router):
    """What C says reaches the recorded B by ours, and its answers C; B loses its own link to C and goes by ours."""
    live = start_router(interior("A"))
    start_router(interior("C", dials=[live.ports["mesh"]]), name="C")
    live.wait_log("neighbour-found router=C ")
    news = {("HELLO", "A"): in_the_end, ("LSU", "A"): in_the_end, ("LSR", "C"): whatever}
    playing = Playing([Recording("15a-triangle-link-cost", until=10.6)], live.ports["mesh"], allowed=KNOWN, news=news)
    assert playing.run() == []


# -- two routers of one id


def test_recorded_router_of_our_id_is_answered_by_hellos_alone(start_router):
    assert play_as_a(start_router, "19a-duplicate-id-direct") == []


def test_recorded_second_router_of_an_id_leaves_the_first_alone(start_router):
    """docs/differences-from-qpid-dispatch.md: the old router took each for the other restarted, and asked it for its record
    each second. Ours does not name the second in its HELLOs, nor answer what it asks."""
    first, second = "19b-duplicate-id-in-mesh.first", "19b-duplicate-id-in-mesh.second"
    live = start_router(interior("B"))
    playing = Playing([Swapped(first), Swapped(second, until=4.9525)], live.ports["mesh"], allowed=KNOWN,
                      late=[("HELLO", "B")],
                      known=[second + r" c1 \('control', 'HELLO', .*live \[.*'seen': \[\]\}\)\]$"])
    assert playing.run() == []


# -- many addresses


def together(recorded, live, to):
    """Several updates as one: which consumers attach within one tick is chance."""
    return joined(recorded), joined(live)


def joined(updates):
    out = {}
    for _, told in updates:
        for name in ("hints", "add", "del", "exist"):
            out.setdefault(name, []).extend(told.get(name, []))
    return out


def whatever(recorded, live, to):
    """What is said depends on how the rest came out, and is checked by itself (support.control)."""
    return [], []


MANY = [prefix + "%03d" % number for prefix, count in (("q.", 120), ("closest/", 40), ("multicast/", 30), ("wp.", 10))
        for number in range(count)]


UPDATES = {("MAU", "A"): together, ("RA", "A"): whatever, ("LSU", "A"): in_the_end}
LATE_UPDATES = [("MAU", "A"), *FIRST_HELLO]


def wait_announced(actors, name, count):
    """Until the router has told the recorded one of so many addresses, added or deleted."""
    (connection, *_) = actors.playing.connections.values()
    actors.playing.wait(lambda: sum(len(one.body.get(name, [])) for one in connection.live.said("MAU")) == count,
                        "%d addresses in %s" % (count, name))


def test_recorded_router_is_told_of_many_addresses(start_router):
    def come(actors):
        actors.receive(*MANY)
        wait_announced(actors, "add", len(MANY))

    def leave(actors):
        for address in MANY[::2]:
            actors.boxes[address].link.close()
        wait_announced(actors, "del", len(MANY) // 2)

    def come_and_go(actors):
        actors.receive("q.shortly", wait=True)
        actors.boxes["q.shortly"].close()

    acts = {"200 consumers": come, "every second": leave, "one attaches and detaches": come_and_go}
    config = interior("A").add("address", prefix="wp", waypoint=True)
    assert play_as_a(start_router, "20-many-addresses", config=config, acts=acts, news=UPDATES, late=LATE_UPDATES) == []


@pytest.mark.heavy
def test_recorded_router_is_told_of_very_many_addresses(start_router):
    """An update takes two frames."""
    def come(actors):
        actors.receive(*["q.%04d" % number for number in range(2000)])
        wait_announced(actors, "add", 2000)

    assert play_as_a(start_router, "20b-very-many-addresses", acts={"2000 consumers": come}, news=UPDATES, late=LATE_UPDATES,
                     patience=20) == []
