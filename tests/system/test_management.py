"""What management changes in a running router, seen from outside: connections, logs, addresses, listeners, connectors."""
import json
import re
import socket
import time

import pytest

from support.deadline import seconds, wait_until
from support.peers import Peers
from support.router import Config
from support.tool import failure, output
from support.wire import ATTACH, CLOSE, Wire


@pytest.fixture
def peers():
    with Peers() as peers:
        yield peers


def manage(router, *arguments):
    """What qdmanage prints, decoded."""
    text = output("qdmanage", "-b", router.address, *arguments)
    return json.loads(text) if text.strip() else None


def listening(host, port):
    try:
        socket.create_connection((host, port)).close()
    except ConnectionRefusedError:
        return False
    return True


def connection_of(router, container):
    found = [c for c in manage(router, "query", "--type=connection") if c["container"] == container]
    assert len(found) == 1, found
    return found[0]


# -- connections


def test_management_deleted_connection_is_closed(router, peers):
    peer = peers.connect(router)
    shown = connection_of(router, peers.container.container_id)
    assert (shown["host"].split(":")[0], shown["dir"], shown["sasl"], shown["user"]) == ("127.0.0.1", "in", "ANONYMOUS", "anonymous")
    answer = manage(router, "update", "--type=connection", "--identity=" + shown["identity"], "adminStatus=deleted")
    assert (answer["adminStatus"], answer["operStatus"]) == ("deleted", "closing")
    peer.wait_closed()
    assert peer.error.name == "amqp:connection:forced"


@pytest.mark.parametrize("answers, limit", [(True, 1), (False, 3)], ids=["answered", "not-answered"])
def test_management_deleted_connection_is_gone_soon(router, answers, limit):
    files = router.open_files()
    with Wire(router) as wire:
        wire.open()
        identity = connection_of(router, "wire")["identity"]
        manage(router, "update", "--type=connection", "--identity=" + identity, "adminStatus=deleted")
        assert wire.expect_error(CLOSE) == "amqp:connection:forced"
        start = time.monotonic()
        if answers:
            wire.send(CLOSE)
        wire.expect_end()
        if answers:
            wire.drop()
        wait_until(lambda: router.open_files() <= files, 10, "the socket to close")
        assert time.monotonic() - start < seconds(limit)
    assert not [c for c in manage(router, "query", "--type=connection") if c["identity"] == identity]


def test_management_traces_one_connection_or_all(router, peers):
    one, other = peers.connect(router), Peers()
    identity = connection_of(router, peers.container.container_id)["identity"]
    traced = "--type=connection", "--identity=" + identity
    with other:
        rest = other.connect(router)
        manage(router, "update", *traced, "enableProtocolTrace=true")
        rest.sender("closest/before")
        one.sender("closest/one")
        router.wait_log(r"PROTOCOL \(trace\) \[C%s\].*@attach.*closest/one" % identity)
        manage(router, "update", *traced, "enableProtocolTrace=false")
        one.sender("closest/after")
        manage(router, "update", "--type=log", "--name=log/PROTOCOL", "enable=trace+")
        rest.sender("closest/rest")
        router.wait_log(r"PROTOCOL \(trace\).*@attach.*closest/rest")
    assert not re.search(r"PROTOCOL \(trace\).*closest/(before|after)", router.log())


def test_management_log_level_changes_at_run_time(router):
    def visit():
        with Peers() as peers:
            peers.connect(router)
            return peers.container.container_id

    shown_first = visit()
    router.wait_log(r"Connection Opened.*container_id=%s" % shown_first)
    manage(router, "update", "--type=log", "--name=log/ROUTER_CORE", "enable=warning+")
    hidden = visit()
    manage(router, "update", "--type=log", "--name=log/ROUTER_CORE", "enable=info+")
    shown = visit()
    router.wait_log(r"Connection Opened.*container_id=%s" % shown)
    assert hidden not in router.log()


# -- addresses


def test_management_address_rule_holds_from_the_next_attach_on(router, peers):
    made = manage(router, "create", "--type=address", "--name=news", "pattern=news/*", "distribution=multicast")
    consumers = [peers.connect(router).receiver("news/today") for _ in range(2)]
    peers.connect(router).sender("news/today").send("to all")
    for consumer in consumers:
        assert consumer.next().body == "to all"
    assert failure("qdmanage", "-b", router.address, "create", "--type=address", "--name=again", "pattern=/news.*/",
                   "distribution=closest")
    manage(router, "delete", "--type=address", "--identity=" + made["identity"])
    row = [a for a in manage(router, "query", "--type=router.address") if a["key"] == "M0news/today"]
    assert row[0]["distribution"] == "multicast", "one that is in use stays as it is"
    peers.connect(router).receiver("news/tomorrow")
    row = [a for a in manage(router, "query", "--type=router.address") if a["key"] == "M0news/tomorrow"]
    assert row[0]["distribution"] == "balanced"


# -- listeners and connectors


def test_management_listener_is_made_and_deleted(router, peers):
    made = manage(router, "create", "--type=listener", "--name=late", "host=127.0.0.1", "port=0", "authenticatePeer=no")
    port = int(router.wait_log(r"Listening on 127\.0\.0\.1:(\d+) \(late\)$")[1])
    stays = peers.connect(("127.0.0.1", port))
    manage(router, "delete", "--type=listener", "--identity=" + made["identity"])
    wait_until(lambda: not listening("127.0.0.1", port), 10, "the listener to go")
    assert stays.is_open()


def test_management_listener_on_a_taken_port_leaves_nothing_behind(router):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = failure("qdmanage", "-b", router.address, "create", "--type=listener", "--name=late", "host=127.0.0.1",
                       "port=%d" % port)
        assert "Listener error on 127.0.0.1:%d" % port in said
    names = [listener["name"] for listener in manage(router, "query", "--type=listener")]
    assert names == ["normal"]
    manage(router, "create", "--type=listener", "--name=late", "host=127.0.0.1", "port=%d" % port)
    assert listening("127.0.0.1", port)


def test_management_connector_connects_and_its_deletion_closes(start_router, tmp_path):
    here, there = start_router(Config(id="Here")), start_router(Config(id="There"))

    def from_here():
        return [c for c in manage(there, "query", "--type=connection") if c["container"] == "Here"]

    made = manage(here, "create", "--type=connector", "--name=out", "host=127.0.0.1", "port=%d" % there.port)
    wait_until(from_here, 10, "the connection")

    def status():
        return manage(here, "read", "--type=connector", "--name=out")["connectionStatus"]

    wait_until(lambda: status() == "SUCCESS", 10, "the connector to say so")
    assert [c["dir"] for c in manage(here, "query", "--type=connection") if c["container"] == "There"] == ["out"]
    manage(here, "delete", "--type=connector", "--identity=" + made["identity"])
    wait_until(lambda: not from_here(), 10, "the connection to end")


# -- views


def test_management_links_are_paged_without_gap_or_double(router, peers):
    peer = peers.connect(router)
    outboxes = [peer.sender("closest/%d" % i, wait=False) for i in range(300)]
    for outbox in outboxes:
        outbox.wait_attached()
    links = manage(router, "query", "--type=router.link", "identity", "owningAddr", "linkName")
    mine = [link for link in links if (link["owningAddr"] or "").startswith("M0closest/")]
    assert [link["owningAddr"] for link in mine] == ["M0closest/%d" % i for i in range(300)]
    assert len({link["identity"] for link in links}) == len(links)
    assert mine[0]["linkName"] == outboxes[0].link.name


def test_management_links_with_all_attributes_are_all_there(router):
    """A row has a list of 128 numbers; 500 rows are more values than proton keeps of one message."""
    with Wire(router) as wire:
        wire.open_session()
        for handle in range(700):
            wire.attach("l%d" % handle, handle, False, "closest/%d" % handle, wait=False)
        for _ in range(700):
            wire.expect(ATTACH)
        links = manage(router, "query", "--type=router.link")
    assert {link["linkName"] for link in links} >= {"l%d" % handle for handle in range(700)}
    assert all(len(link["ingressHistogram"]) == 128 for link in links if link["linkDir"] == "out")


def test_management_router_counts_go_on_after_links_have_gone(router, peers):
    peer = peers.connect(router)
    inbox, outbox = peer.receiver("closest/counted"), peer.sender("closest/counted")
    before = manage(router, "query", "--type=router")[0]
    for i in range(10):
        outbox.send(i)
    for i in range(10):
        inbox.next()
    peers.wait(lambda: manage(router, "query", "--type=router.address") and
               manage(router, "query", "--type=router")[0]["acceptedDeliveries"] >= before["acceptedDeliveries"] + 10, 10, "outcomes")
    inbox.close()
    outbox.close()
    after = manage(router, "query", "--type=router")[0]
    assert after["deliveriesIngress"] >= before["deliveriesIngress"] + 10
    assert after["deliveriesEgress"] >= before["deliveriesEgress"] + 10
