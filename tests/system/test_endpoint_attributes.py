"""Attributes of listeners and connectors that no other file tests (management.md 4.2, 4.3 and 11; wire-protocol.md 1.2):
what our Open says, where we listen and connect, failover, and connectors and listeners made and deleted by management.

Elsewhere: limits in test_limits, time-outs in test_misbehaving, linkCapacity of listeners in test_credit, stripping between
listeners in test_annotations, messageLoggingComponents in test_message_logging, cost between routers in test_mesh, roles
where they matter."""
import json
import os
import socket
import time
from pathlib import Path

import pytest
from proton import int32, symbol

from support.container import Container, sasl
from support.deadline import seconds, wait_until
from support.peers import Peers
from support.router import Config
from support.tool import output
from support.wire import (ACCEPTED, AMQP_HEADER, CLOSE, DISPOSITION, OPEN, TRANSFER, Wire, described, encode, frame,
                          performative)
from test_annotations import USER, annotations
from test_connector import connecting, container, shown  # noqa: F401 -- container is a fixture

OWN = {"product", "version", "qd.conn-id"}
LIST = symbol("failover-server-list")


def open_at(router, name, **fields):
    with Wire(("127.0.0.1", router.ports[name])) as wire:
        return wire.open(**fields).fields


def properties(opened):
    return {str(key): value for key, value in opened["properties"].items()}


def entry(host, port, **more):
    return {symbol("network-host"): host, symbol("port"): port, **{symbol(k): v for k, v in more.items()}}


# -- openProperties, cost

MORE = '{"site": "roof", "floor": 3, "open": true, "deep": {"list": [1, "two"]}}'


def check_more(opened):
    told = properties(opened)
    assert all(isinstance(key, symbol) for key in opened["properties"])
    assert set(told) == OWN | {"site", "floor", "open", "deep"}
    assert (told["site"], told["floor"], told["open"], told["deep"]) == ("roof", 3, True, {"list": [1, "two"]})


def test_open_properties_of_a_listener_are_told_and_shown(start_router):
    router = start_router(Config().listener("more", openProperties=MORE))
    check_more(open_at(router, "more"))
    assert set(properties(open_at(router, "normal"))) == OWN
    shown = json.loads(output("qdmanage", "-b", router.address, "read", "--type=listener", "--name=more"))
    assert shown["openProperties"] == json.loads(MORE)


def test_open_properties_of_a_connector_are_told_and_shown(start_router, container):
    router = start_router(connecting(container, openProperties=MORE))
    wire, opened, _ = container.accept_open()
    check_more(opened)
    assert shown(router)["openProperties"] == json.loads(MORE)
    wire.drop()


def test_open_properties_of_the_peer_are_shown_with_its_connection(start_router):
    router = start_router()
    with Wire(router) as wire:
        wire.open(container_id="teller", properties={symbol("site"): "cellar"})
        rows = wait_until(lambda: [row for row in json.loads(output("qdmanage", "-b", router.address, "query",
                                                                    "--type=connection"))
                                   if row["container"] == "teller"], what="the connection to be shown")
        assert rows[0]["properties"] == {"site": "cellar"}


@pytest.mark.parametrize("role", ["normal", "route-container"])
@pytest.mark.parametrize("cost, told", [(1, None), (5, 5)])
def test_cost_above_one_is_told_in_any_role(start_router, container, role, cost, told):
    router = start_router(connecting(container, role=role, cost=cost).listener("priced", role=role, cost=cost))
    wire, opened, _ = container.accept_open()
    for fields in (opened, open_at(router, "priced")):
        found = properties(fields).get("qd.inter-router-cost")
        assert found == told and (told is None or isinstance(found, int32))
    wire.drop()


# -- limits of a connector

def test_link_capacity_of_a_connector_is_the_credit(start_router, container):
    start_router(connecting(container, linkCapacity=7))
    wire, _, _ = container.accept_open()
    wire.begin()
    wire.attach("in", 0, False, "closest/a")
    wire.attach("out", 1, True, "closest/a")
    wire.credit(0, 5)
    assert wire.wait_credit(1) == 7
    wire.drop()


def test_session_frames_of_a_connector_are_the_window(start_router, container):
    start_router(connecting(container, maxSessionFrames=9))
    wire, _, _ = container.accept_open()
    assert wire.begin().fields["incoming_window"] == 9
    wire.drop()


@pytest.mark.parametrize("seconds_configured, told", [(0, None), (7, 3500)])
def test_idle_timeout_of_a_connector_is_told(start_router, container, seconds_configured, told):
    start_router(connecting(container, idleTimeoutSeconds=seconds_configured))
    wire, opened, _ = container.accept_open()
    assert opened.get("idle_time_out") == told
    wire.drop()


@pytest.mark.parametrize("strip, into, out_of", [("both", False, False), ("no", True, True), ("in", False, True),
                                                 ("out", True, False)])
def test_annotations_are_stripped_as_the_connector_says(start_router, container, strip, into, out_of):
    """into: what its peer writes under the routers' keys is seen; out_of: its peer sees what routers write."""
    body = encode(described(0x77, "x"))
    config = connecting(container, stripAnnotations=strip).listener("open", stripAnnotations="no")
    router = start_router(config)
    far, _, _ = container.accept_open()
    with Wire(("127.0.0.1", router.ports["open"])) as near:
        near.open_session()
        far.begin()
        for wire, name in ((near, "near"), (far, "far")):
            wire.attach("from", 0, False, "closest/to-" + name)
            wire.credit(0, 1)
        for wire, name in ((near, "far"), (far, "near")):
            wire.attach("to", 1, True, "closest/to-" + name)
            wire.wait_credit(1)
        for sender, receiver, kept in ((far, near, into), (near, far, out_of)):
            sender.transfer(1, 0, annotations(USER, ("x-opt-qd.trace", ["0/Elsewhere"])) + body)
            got = receiver.expect(TRANSFER)
            assert got.payload.endswith(body) and b"user" in got.payload
            assert (b"Elsewhere" in got.payload) == kept
            receiver.send(DISPOSITION, role=True, first=got.fields["delivery_id"], settled=True,
                          state=described(ACCEPTED))
            sender.expect(DISPOSITION)
    far.drop()


# -- where we listen, and where we connect

def is_open(host, port):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return probe.connect_ex((host, port)) == 0


def listens(router, table, port):
    """Whether one of the router's own sockets listens there: at another address, another program may have the same port."""
    inodes = {os.readlink(path).removeprefix("socket:[").removesuffix("]") for path in Path("/proc/%d/fd" % router.pid).iterdir()}
    rows = [line.split() for line in Path("/proc/%d/net/%s" % (router.pid, table)).read_text().splitlines()[1:]]
    return any(row[3] == "0A" and row[1].endswith(":%04X" % port) and row[9] in inodes for row in rows)


@pytest.mark.parametrize("family", [None, "IPv4", "IPv6"])
@pytest.mark.parametrize("host, four, six", [("127.0.0.1", True, False), ("::1", False, True), ("", True, True)])
def test_host_decides_where_a_listener_listens_whatever_the_family_says(start_router, host, four, six, family):
    """socketAddressFamily is without effect, as in 1.19."""
    router = start_router(Config().listener("there", host=host or None, socketAddressFamily=family))
    port = router.ports["there"]
    assert (listens(router, "tcp", port), listens(router, "tcp6", port)) == (four, six)


@pytest.mark.parametrize("attributes", [{"allowRedirect": "no"}, {"allowRedirect": "yes"}, {"protocolFamily": "IPv6"}])
def test_connector_goes_to_its_host_whatever_is_said_of_redirection_and_family(start_router, container, attributes):
    """A Close that says where to go instead (AMQP 1.0 part 2.8.16) leads nowhere else: the connector comes back."""
    start_router(connecting(container, **attributes))
    wire, _, _ = container.accept_open()
    elsewhere = Container()
    where = {symbol("network-host"): "127.0.0.1", symbol("port"): elsewhere.port, symbol("hostname"): "x"}
    wire.send(CLOSE, error=described(0x1d, symbol("amqp:connection:redirect"), "there", where))
    wire.expect(CLOSE)
    wire.drop()
    wire, _, _ = container.accept_open()
    elsewhere.socket.settimeout(0)
    with pytest.raises(BlockingIOError):
        elsewhere.socket.accept()
    elsewhere.close()
    wire.drop()


# -- failover

def test_failover_urls_of_a_listener_are_told(start_router):
    router = start_router(Config().listener("busy", failoverUrls="amqps://one.example:7 , two.example, amqp://[::1]:9"))
    (told,) = [value for key, value in open_at(router, "busy")["properties"].items() if key == LIST]
    assert told == [entry("one.example", "7", scheme="amqps"), entry("two.example", "5672"),
                    entry("::1", "9", scheme="amqp")]
    assert all(isinstance(key, symbol) for item in told for key in item)
    assert all(not isinstance(value, symbol) for item in told for value in item.values())
    assert "failover-server-list" not in properties(open_at(router, "normal"))


def test_failover_list_is_never_told_by_the_side_that_connects(start_router, container):
    """It would end a 1.19 that listens. In the file the attribute of a connector is read-only, and without effect."""
    start_router(connecting(container, failoverUrls="amqp://elsewhere.example:1"))
    wire, opened, _ = container.accept_open()
    assert set(properties(opened)) == OWN
    wire.drop()


@pytest.mark.parametrize("told", [
    [entry("127.0.0.1", "1")], [], [{}], [{symbol("port"): "1"}], "no list", [entry("h%d" % n, "1") for n in range(500)],
    [entry("x" * 70000, "1")], [1, "two", None]], ids=["one", "none", "empty", "hostless", "text", "many", "long", "mixed"])
def test_failover_list_from_a_client_does_no_harm(start_router, told):
    router = start_router(Config().listener("wide", maxFrameSize=200000))
    with Wire(("127.0.0.1", router.ports["wide"])) as wire:
        wire.open(properties={LIST: told})
        wire.begin()
        wire.attach("in", 0, False, "closest/a")
    with Peers() as peers:
        peers.connect(router).receiver("closest/b")


@pytest.mark.parametrize("told", [[{}], [{symbol("port"): "1"}], "no list", [1, "two", None], [entry("", "1")]],
                         ids=["empty", "hostless", "text", "mixed", "nameless"])
def test_failover_list_that_names_nothing_leaves_the_configured_place(start_router, container, told):
    router = start_router(connecting(container))
    wire, _, _ = container.accept_open(properties={LIST: told})
    wait_until(lambda: "Opened" in shown(router)["connectionMsg"], what="the connection to be open")
    assert shown(router)["failoverUrls"] == "amqp://127.0.0.1:%d" % container.port
    wire.drop()
    wire, _, _ = container.accept_open()
    wire.drop()


def test_failover_list_replaces_an_older_one_and_an_empty_one_forgets_it(start_router, container):
    router = start_router(connecting(container))
    here = "amqp://127.0.0.1:%d" % container.port
    for told, urls in (([entry("one.example", 7, scheme="amqps"), entry("127.0.0.1", container.port)],
                        here + ", amqps://one.example:7"),
                       (None, here + ", amqps://one.example:7"),
                       ([{symbol("network-host"): "two.example"}], here + ", amqp://two.example:5672"),
                       ([], here)):
        wire, _, _ = container.accept_open(properties={symbol("n"): 1} if told is None else {LIST: told})
        wait_until(lambda: shown(router)["failoverUrls"] == urls, what=lambda: "%s, not %s" % (urls, shown(router)))
        wire.drop()


def test_failover_list_of_a_peer_that_goes_at_once_is_not_lost(start_router, container):
    """Open and the end of the stream come in one piece."""
    router = start_router(connecting(container))
    wire, _ = container.accept()
    sasl(wire, "ANONYMOUS")
    wire.raw(AMQP_HEADER + frame(performative(OPEN, container_id="hasty",
                                              properties={LIST: [entry("127.0.0.1", "1")]})))
    wire.socket.shutdown(socket.SHUT_WR)
    urls = "amqp://127.0.0.1:%d, amqp://127.0.0.1:1" % container.port
    wait_until(lambda: shown(router)["failoverUrls"] == urls, what=lambda: "%s, not %s" % (urls, shown(router)))
    wire.drop()


def test_failover_tries_each_place_twice_and_comes_round(start_router, container):
    """A second apart: two places that end each connection before Open are visited in turn, two times each."""
    other = Container()
    start_router(connecting(container))
    wire, _, _ = container.accept_open(properties={LIST: [entry("127.0.0.1", str(other.port))]})
    wire.drop()
    places, times = [], []
    while len(places) < 6:
        for place in (container, other):
            place.socket.settimeout(0.02)
            try:
                accepted, _ = place.socket.accept()
            except socket.timeout:
                continue
            accepted.close()
            places.append("configured" if place is container else "other")
            times.append(time.monotonic())
    other.close()
    assert places == ["configured"] * 2 + ["other"] * 2 + ["configured"] * 2
    assert all(0.8 <= later - before <= seconds(2.5) for before, later in zip(times, times[1:])), times


def test_failover_from_one_router_to_another_by_its_listener_s_list(start_router):
    """Both ends are ours: the listener says where else to go, and the connector goes there when it is killed."""
    second = start_router(Config(id="Second"))
    first = start_router(Config(id="First").listener("busy", failoverUrls="127.0.0.1:%d" % second.port))
    router = start_router(Config(id="Client").add("connector", name="out", host="127.0.0.1", port=first.ports["busy"],
                                                  role="route-container", saslMechanisms="ANONYMOUS"))
    wait_until(lambda: "container_id=First" in shown(router)["connectionMsg"], what="the first to be connected")
    first.kill()
    wait_until(lambda: "container_id=Second" in shown(router)["connectionMsg"], 15, lambda: str(shown(router)))
    up = shown(router)
    assert up["connectionStatus"] == "SUCCESS"
    assert up["failoverUrls"] == "amqp://127.0.0.1:%d, amqp://127.0.0.1:%d" % (second.port, first.ports["busy"])


# -- how it stands

def test_connection_message_says_what_ended_the_connection(start_router, container):
    router = start_router(connecting(container))
    wire, _, _ = container.accept_open()
    container.close()
    wire.send(CLOSE, error=described(0x1d, symbol("amqp:connection:forced"), "go away" + "!" * 400))
    wire.expect(CLOSE)
    seen = []

    def is_told():
        seen.append(shown(router)["connectionMsg"])
        return "go away" in seen[-1]
    wait_until(is_told, what=lambda: "the end of the connection in %s" % seen[-3:])
    assert seen[-1].startswith("[C1] Connection to 127.0.0.1:%d failed: amqp:connection:forced go away!" % container.port)
    assert len(seen[-1]) == 299
    wire.drop()


# -- made and deleted while running

def manage(router, *arguments):
    return output("qdmanage", "-b", router.address, *arguments)


def test_listener_deleted_listens_no_more_and_its_connections_stay(start_router):
    router = start_router()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for _ in range(2):
        manage(router, "create", "--type=listener", "--name=later", "host=127.0.0.1", "port=%d" % port,
               "authenticatePeer=no", "saslMechanisms=ANONYMOUS", "linkCapacity=3")
        with Wire(("127.0.0.1", port)) as wire:
            wire.open_session()
            wire.attach("in", 0, False, "closest/a")
            wire.credit(0, 5)
            manage(router, "delete", "--type=listener", "--name=later")
            wait_until(lambda: not is_open("127.0.0.1", port), what="the port to be closed")
            wire.attach("out", 1, True, "closest/a")
            assert wire.wait_credit(1) == 3


def test_connector_deleted_while_its_peer_is_silent_lets_go_at_once(start_router, container):
    """Whatever the peer has not said yet: SASL, Open, or anything."""
    router = start_router()
    for _ in range(3):
        manage(router, "create", "--type=connector", "--name=later", "host=127.0.0.1", "port=%d" % container.port,
               "saslMechanisms=ANONYMOUS", "idleTimeoutSeconds=0")
        wire, _ = container.accept()
        manage(router, "delete", "--type=connector", "--name=later")
        wire.expect_end()
        wire.drop()
    assert json.loads(manage(router, "query", "--type=connector")) == []


def test_connector_deleted_closes_its_connection_and_comes_back_no_more(start_router, container):
    router = start_router()
    manage(router, "create", "--type=connector", "--name=later", "host=127.0.0.1", "port=%d" % container.port,
           "saslMechanisms=ANONYMOUS")
    wire, _, _ = container.accept_open()
    wait_until(lambda: "Opened" in shown(router)["connectionMsg"], what="the connection to be open")
    manage(router, "delete", "--type=connector", "--name=later")
    wire.expect(CLOSE)
    wire.send(CLOSE)
    wire.expect_end()
    wire.drop()
    with pytest.raises(AssertionError, match="no connection came"):
        container.accept(limit=3.0)
