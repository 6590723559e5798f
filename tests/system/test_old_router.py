"""Ours beside 1.19 routers, played by support.old_router, which also judges: a test fails when ours sends an old router
what that would not understand, or would die of."""
from contextlib import ExitStack

import pytest
from proton import Described, Message, symbol, ulong

from support.deadline import wait_until
from support.mesh import Manager
from support.old_router import OldRouter
from support.old_words import ANNOTATIONS, APPLICATION, BODY, PREFIX, PROPERTIES
from support.peers import ACCEPTED, RELEASED
from support.router import Config, Router
from support.wire import ACCEPTED as TAKEN
from support.wire import DETACH, RELEASED as GIVEN_BACK
from support.wire import SOURCE, TARGET, Wire, described, encode, error_of

CONTROL = symbol("qd.router")


def interior(start_router, name, dial=(), **attributes):
    config = Config(mode="interior", id=name, **attributes).listener("mesh", role="inter-router")
    for at, port in enumerate(dial):
        config.add("connector", name="to-%d" % at, role="inter-router", host="127.0.0.1", port=port, saslMechanisms="ANONYMOUS")
    return start_router(config)


@pytest.fixture
def ours(start_router):
    return interior(start_router, "A")


@pytest.fixture
def line(start_router):
    """O - A - P: ours between two old ones, dialling the first, dialled by the second."""
    with OldRouter("O", listen=True) as first:
        middle = interior(start_router, "A", [first.port])
        with OldRouter("P", dial=[middle.ports["mesh"]]) as last:
            first.wait_converged("A", "P")
            last.wait_converged("O", "A")
            yield first, middle, last


def outcome(peers, incoming):
    """What becomes of an old router's message while our clients, too, do their part."""
    peers.wait(incoming.done.is_set, what="an outcome at an old router")
    return incoming.outcome


def remotes(router, prefix):
    """{key: number of other routers that have it} at one of ours, of keys that begin so."""
    manager = Manager(router)
    rows = manager.query("router.address", "key", "remoteCount")
    manager.close()
    return {row["key"]: row["remoteCount"] for row in rows if row["key"].startswith(prefix) and row["remoteCount"]}


@pytest.mark.parametrize("is_sender", [True, False])
def test_client_that_is_no_router_is_refused_where_routers_connect(ours, is_sender):
    with Wire((ours.host, ours.ports["mesh"])) as wire:
        wire.open_session()
        answer = wire.attach("link", 0, is_sender, "closest/x")
        assert answer.fields["target" if is_sender else "source"] is None
        detach = wire.expect(DETACH)
        assert error_of(detach) == "qd:connection-role"
        assert str(detach.fields["error"].value[1]) == "Link attach forbidden on inter-router connection"
        # With a control link to it, it is a router, and its link routes come so.
        for handle, sends in ((1, False), (2, True)):
            wire.attach("control %d" % handle, handle, sends, None, source=described(SOURCE, *[None] * 10, CONTROL),
                        target=described(TARGET, *[None] * 6, CONTROL))
        answer = wire.attach("link again", 3, is_sender, "closest/x")
        assert answer.fields["target" if is_sender else "source"] is not None


def test_router_that_dials_opens_eleven_sessions_and_their_links_in_order_and_gives_credit(line):
    first, _, last = line
    (accepted,), (dialled,) = first.conns, last.conns
    pairs = [(kind, side) for kind in ["qd.router"] + ["qd.router-data"] * 10 for side in ("receiver", "sender")]
    assert accepted.order == ["begin"] * 11 + pairs
    for conn in (accepted, dialled):
        wait_until(lambda: [link.credit for link in conn.data_out] == [250] * 10, what="credit on each link for messages")


def test_messages_of_old_routers_pass_ours_and_reach_its_clients(line, peers):
    first, middle, last = line
    client = peers.connect(middle)
    near = client.receiver("closest/near")
    far, both = last.consumer("balanced/far"), [first.consumer("multicast/m"), last.consumer("multicast/m")]
    mine = client.receiver("multicast/m")
    first.wait_remote("closest/near", "A")
    first.wait_remote("balanced/far", "P")
    first.wait_remote("multicast/m", "A", "P")
    for priority in (None, 0, 9):
        assert outcome(peers, first.send("closest/near", "n", priority=priority)) == TAKEN
        assert first.send("balanced/far", "f", priority=priority).wait() == TAKEN
    assert outcome(peers, first.send("multicast/m", "m")) == TAKEN
    assert [len(near.messages), far.bodies, mine.next().body] == [3, ["f"] * 3, "m"]
    assert [one.bodies for one in both] == [["m"], ["m"]]
    notes = {str(key): value for key, value in far.messages[0][ANNOTATIONS].items()}
    assert notes == {PREFIX + "to": "balanced/far", PREFIX + "ingress": "0/O", PREFIX + "trace": ["0/O", "0/A"]}
    sender = client.sender("balanced/far")
    assert sender.outcome(sender.send("a")).state == ACCEPTED
    last.leave(far)
    wait_until(lambda: not remotes(middle, "M0balanced"), what="the address to be forgotten")
    assert first.send("balanced/far", "late").wait() == GIVEN_BACK
    assert sender.outcome(sender.send("late", wait_credit=False)).state == RELEASED


def test_large_messages_of_old_routers_pass_ours_whole_or_aborted(line, peers):
    first, middle, last = line
    far = last.consumer("closest/far")
    first.wait_remote("closest/far", "P")
    octets = encode(Described(ulong(0x75), b"z" * 400000))
    for cut in (100000, 140000):  # below and above what is gathered
        large = first.begin_large("closest/far")
        first.more(large, octets[:cut])
        first.more(large, octets[cut:], complete=True)
        assert large.wait() == TAKEN
    large = first.begin_large("closest/far")
    first.more(large, octets[:200000])
    wait_until(lambda: any(link.incoming for conn in last.conns for session in list(conn.sessions.values())
                           for link in list(session.links)), what="its beginning")
    first.more(large, b"", aborted=True)
    wait_until(lambda: far.aborted == 1, what="its abort")
    sender = peers.connect(middle).sender("closest/far")
    assert sender.outcome(sender.send(Message(b"y" * 700000))).state == ACCEPTED
    wait_until(lambda: len(far.bodies) == 3, what="it and the two before")
    assert far.bodies[0] == far.bodies[1] > len(octets)


def asked(router, to, reply_to, operation, **properties):
    """A client of an old router asks a management node."""
    sections = ((PROPERTIES, [None, None, to, None, reply_to, "one"]), (APPLICATION, {"operation": operation, **properties}),
                (BODY, {"attributeNames": []}))
    return router.send_octets(b"".join(encode(Described(ulong(code), value)) for code, value in sections))


def test_management_is_asked_through_ours_and_of_ours(line, peers):
    first, middle, last = line
    served, answers = last.consumer("_local/$management"), last.consumer("_local/temp.1")
    asked(first, "amqp:/_topo/0/P/$management", "amqp:/_topo/0/O/temp.2", "QUERY").wait()
    assert served.messages[0][PROPERTIES][4] == "amqp:/_topo/0/O/temp.2"
    assert asked(last, "amqp:/_topo/0/A/$management", "amqp:/_topo/0/P/temp.1", "GET-MGMT-NODES").wait() == TAKEN
    wait_until(lambda: answers.messages, what="the answer")
    told = answers.messages[0]
    assert told[PROPERTIES][2] == "amqp:/_topo/0/P/temp.1" and told[PROPERTIES][5] == "one"
    assert (type(told[APPLICATION]["statusCode"]).__name__, told[APPLICATION]["statusCode"]) == ("int32", 200)
    assert sorted(told[BODY]) == ["amqp:/_topo/0/%s/$management" % name for name in "AOP"]
    # What belongs to control links is nobody's elsewhere.
    for to in ("amqp:/_topo/0/A/qdrouter", "amqp:/_topo/0/A/qdrouter.ma", "amqp:/_topo/0/Z/$management"):
        assert first.send(to, "x").wait() == GIVEN_BACK


@pytest.mark.parametrize("kinds, ids", [("OON", "ABC"), ("OON", "CBA"), ("NNO", "BAC")])
def test_multicast_in_a_triangle_reaches_all_and_ours_adds_no_copy(start_router, peers, kinds, ids):
    with ExitStack() as stack:
        routers, ports = {}, []
        for name, kind in zip(ids, kinds):
            if kind == "O":
                routers[name] = stack.enter_context(OldRouter(name, dial=ports, listen=True))
            else:
                routers[name] = interior(start_router, name, ports)
            ports = ports + [routers[name].port if kind == "O" else routers[name].ports["mesh"]]
        old = {name: router for name, router in routers.items() if not isinstance(router, Router)}
        clients = {name: peers.connect(router) for name, router in routers.items() if name not in old}
        boxes = {name: old[name].consumer("multicast/m") if name in old else clients[name].receiver("multicast/m", credit=100)
                 for name in ids}
        for name in old:
            old[name].wait_remote("multicast/m", *set(ids) - {name})
        for name in clients:
            wait_until(lambda: remotes(routers[name], "M0multicast") == {"M0multicast/m": 2}, what="both to be known")
        for name in old:
            assert outcome(peers, old[name].send("multicast/m", name)) == TAKEN
        for name in clients:
            sender = clients[name].sender("multicast/m")
            assert sender.outcome(sender.send(name)).state == ACCEPTED

        def copies(at, of):
            bodies = boxes[at].bodies if at in old else [message.body for message in boxes[at].messages]
            return bodies.count(of)
        assert all(copies(at, of) for at in ids for of in ids)
        # A second copy comes only by an old router in between.
        for at in ids:
            for of in ids:
                between = next(iter(set(ids) - {at, of})) if at != of else None
                if between not in old:
                    assert copies(at, of) == 1, (at, of)


def test_lost_update_of_addresses_is_asked_for_again_by_either(ours, peers):
    with OldRouter("O", dial=[ours.ports["mesh"]]) as old:
        old.wait_converged("A")
        old.consumer("closest/1")
        wait_until(lambda: remotes(ours, "M0closest") == {"M0closest/1": 1}, what="the first")
        old.consumer("closest/2", is_told=False)
        old.consumer("closest/3")
        wait_until(lambda: set(remotes(ours, "M0closest")) == {"M0closest/%d" % n for n in (1, 2, 3)}, what="all")
        client = peers.connect(ours)
        client.receiver("closest/x")
        old.wait_remote("closest/x", "A")
        old.forget("A", "M0closest/x")
        client.receiver("closest/y")
        old.wait_remote("closest/x", "A")
        old.wait_remote("closest/y", "A")


@pytest.mark.parametrize("octets", [250, 7000])
def test_any_number_of_addresses_comes_in_one_control_message(start_router, octets):
    """Larger than what makes a message a stream, and than what a client may ask the router at once."""
    with OldRouter("O", listen=True) as old:
        for number in range(700):
            old.consumer("many/%s/%d" % ("x" * octets, number))
        manager = Manager(interior(start_router, "A", [old.port]))
        wait_until(lambda: manager.query("router", "addrCount")[0]["addrCount"] > 700, what="the addresses")
        manager.close()


@pytest.mark.parametrize("count", [0, 20, 300])
def test_annotations_of_users_come_before_routers_and_stay(ours, peers, count):
    with OldRouter("O", dial=[ours.ports["mesh"]]) as old:
        client, far = peers.connect(ours), old.consumer("closest/far")
        near = client.receiver("closest/near")
        old.wait_remote("closest/near", "A")
        notes = {symbol("user-%d" % n): "value %d" % n for n in range(count)}
        sender = client.sender("closest/far")
        message = Message("a")
        message.annotations = notes
        assert sender.outcome(sender.send(message)).state == ACCEPTED
        keys = [str(key) for key in far.messages[0][ANNOTATIONS]]
        assert keys == [str(key) for key in notes] + [PREFIX + name for name in ("to", "ingress", "trace")]
        assert outcome(peers, old.send("closest/near", "b", notes=notes)) == TAKEN
        assert dict(near.next().annotations or {}) == notes


@pytest.mark.parametrize("links", [10, 3])
def test_messages_go_by_the_link_of_their_priority_or_the_next_lower(ours, peers, links):
    with OldRouter("O", dial=[ours.ports["mesh"]], priorities=links) as old:
        far, sender = old.consumer("closest/far"), peers.connect(ours).sender("closest/far")
        for priority in (None, *range(10), 15):
            message = Message(priority) if priority is None else Message(priority, priority=priority)
            assert sender.outcome(sender.send(message)).state == ACCEPTED
        assert far.bodies == [None, *range(10), 15]
        assert far.links == [min(priority, links - 1) for priority in (4, *range(10), 9)]
        assert sender.outcome(sender.send(Message(b"x" * 400000))).state == ACCEPTED


def test_old_router_that_stops_for_some_seconds_is_passed_by_and_taken_back(ours, peers):
    """By the same connection."""
    with OldRouter("O", dial=[ours.ports["mesh"]]) as old:
        old.consumer("closest/x")
        sender = peers.connect(ours).sender("closest/x")
        sender.wait_credit()
        old.frozen = True
        ours.wait_log("neighbour-lost router=O ")
        assert sender.outcome(sender.send("nobody")).state == RELEASED
        old.frozen = False
        old.wait_converged("A")
        peers.wait(lambda: sender.outcome(sender.send("x")).state == ACCEPTED, what="the way to be back")
        assert len(old.conns) == 1
