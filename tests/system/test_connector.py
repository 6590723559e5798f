"""Connectors of role normal, seen by the container that they connect to (management.md section 11)."""
import json
import time

import pytest
from proton import UNDESCRIBED, Array, Data, symbol

from support.container import Container, sasl
from support.deadline import seconds, wait_until
from support.router import Config
from support.tool import output
from support.wire import CLOSE, SASL_HEADER, SASL_INIT, SASL_MECHANISMS, described


@pytest.fixture
def container():
    made = Container()
    yield made
    made.close()


def connecting(container, **attributes):
    return Config().add("connector", name="out", host=container.host, port=container.port,
                        **{"saslMechanisms": "ANONYMOUS", **attributes})


def shown(router):
    (connector,) = json.loads(output("qdmanage", "-b", router.address, "query", "--type=connector"))
    return connector


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_connector_opens_as_the_old_router_does(start_router, host):
    container = Container(host)
    config = connecting(container, idleTimeoutSeconds=10, maxFrameSize=4096, maxSessions=5)
    start_router(config)
    wire, opened, _ = container.accept_open()
    container.close()
    wire.drop()
    assert (opened["container_id"], opened["hostname"]) == ("Test", host)
    assert (opened["max_frame_size"], opened["channel_max"], opened["idle_time_out"]) == (4096, 4, 5000)
    # Not the old router's second one, qd.streaming-links: an old router that is offered it by a client or a container
    # releases large messages instead of sending them there.
    assert [str(c) for c in opened["offered_capabilities"]] == ["ANONYMOUS-RELAY"]
    assert {str(k): type(v).__name__ for k, v in opened["properties"].items()} == {
        "product": "str", "version": "str", "qd.conn-id": "int32"}


def test_connector_without_mechanisms_speaks_sasl_with_what_it_can(start_router, container):
    start_router(connecting(container, saslMechanisms=None))
    wire, _ = container.accept()
    assert str(sasl(wire, "ANONYMOUS")["mechanism"]) == "ANONYMOUS"
    wire.drop()


@pytest.mark.parametrize("password", ["secret", "pass:secret", "env:TRUNKLINE_TEST_SECRET"])
def test_connector_sends_user_and_password(start_router, container, password):
    start_router(connecting(container, saslMechanisms="PLAIN", saslUsername="alice", saslPassword=password),
                 environment={"TRUNKLINE_TEST_SECRET": "secret"})
    wire, _ = container.accept()
    init = sasl(wire, "PLAIN")
    assert (str(init["mechanism"]), init["initial_response"]) == ("PLAIN", b"\0alice\0secret")
    wire.drop()


def test_connector_keeps_its_password_from_a_peer_that_offers_something_else(start_router, container):
    router = start_router(connecting(container, saslMechanisms="PLAIN", saslUsername="alice", saslPassword="secret"))
    wire, _ = container.accept()
    assert wire.read_header() == SASL_HEADER
    wire.raw(SASL_HEADER)
    wire.send(SASL_MECHANISMS, mechanisms=Array(UNDESCRIBED, Data.SYMBOL, symbol("ANONYMOUS")))
    assert SASL_INIT not in [got.code for got in wire.expect_end()]
    router.wait_log(r"SERVER \(info\) \[C\d+\] Connection to 127.0.0.1:%d failed: amqp:unauthorized-access " % container.port)
    assert "secret" not in router.log()


def test_connector_tells_how_it_stands(start_router, container):
    router = start_router(connecting(container))
    wire, _, _ = container.accept_open()
    wait_until(lambda: "Opened" in shown(router)["connectionMsg"], what="the connection to be shown as open")
    up = shown(router)
    assert up["connectionStatus"] == "SUCCESS"
    assert up["connectionMsg"].endswith("] Connection Opened: dir=out host=127.0.0.1:%d vhost= encrypted=no auth=ANONYMOUS "
                                        "user=(null) container_id=container" % container.port)
    assert up["failoverUrls"] == "amqp://127.0.0.1:%d" % container.port
    container.close()
    wire.drop()
    wait_until(lambda: "refused" in shown(router)["connectionMsg"], what="the failure to be shown")
    assert shown(router)["connectionStatus"] in ("CONNECTING", "FAILED")


def test_connector_comes_back_two_seconds_after_an_opened_connection_was_lost(start_router, container):
    start_router(connecting(container))
    wire, _, _ = container.accept_open()
    lost = time.monotonic()
    wire.drop()
    wire, _, back = container.accept_open()
    wire.drop()
    assert 1.8 <= back - lost <= seconds(3.5)


def test_connector_tries_again_five_seconds_after_a_failed_attempt(start_router, container):
    """An attempt that ends before Open has failed, whatever it came to."""
    start_router(connecting(container))
    wire, _ = container.accept()
    failed = time.monotonic()
    wire.drop()
    wire, again = container.accept()
    wire.drop()
    assert 4.8 <= again - failed <= seconds(6.5)


def test_connector_closed_by_its_peer_comes_back(start_router, container):
    start_router(connecting(container))
    wire, _, _ = container.accept_open()
    wire.send(CLOSE, error=described(0x1d, symbol("amqp:connection:forced"), "go away"))
    wire.expect(CLOSE)
    wire.drop()
    wire, _, _ = container.accept_open()
    wire.drop()


def test_connector_turns_to_the_places_that_its_peer_has_named(start_router, container):
    """Every place is tried twice, a second apart."""
    other = Container()
    router = start_router(connecting(container))
    wire, _, _ = container.accept_open(properties={
        symbol("failover-server-list"): [{symbol("network-host"): "127.0.0.1", symbol("port"): str(other.port)}]})
    urls = "amqp://127.0.0.1:%d, amqp://127.0.0.1:%d" % (container.port, other.port)
    wait_until(lambda: shown(router)["failoverUrls"] == urls, what="both places to be shown")
    container.close()
    wire.drop()
    lost = time.monotonic()
    wire, opened, there = other.accept_open()
    assert opened["hostname"] == "127.0.0.1"
    assert there - lost <= seconds(4.5)
    assert shown(router)["failoverUrls"].startswith("amqp://127.0.0.1:%d, " % other.port)
    other.close()
    wire.drop()


def test_connector_has_a_silent_peer_given_up(start_router, container):
    """It is heard of by the idle time-out that it has announced itself."""
    router = start_router(connecting(container, idleTimeoutSeconds=1))
    wire, _, _ = container.accept_open()
    wire.expect_end()
    router.wait_log(r"Connection to 127.0.0.1:%d failed: amqp:resource-limit-exceeded local-idle-timeout expired"
                    % container.port)


def test_connector_s_peer_can_exchange_messages(start_router, container):
    """Links over a connection that the router has made are links like others."""
    start_router(connecting(container))
    wire, _, _ = container.accept_open()
    wire.begin()
    wire.attach("in", 0, False, "closest/a")
    wire.attach("out", 1, True, "closest/a")
    wire.credit(0, 5)
    assert wire.wait_credit(1) == 250
    wire.drop()
