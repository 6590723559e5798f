"""multiTenant listeners: what a client calls `q` is `<vhost>/q` in the network (wire-protocol.md 5.6)."""
import json
import re

import pytest

from support.mesh import Manager
from support.peers import ACCEPTED, RELEASED
from support.router import Config
from support.tool import output
from support.wire import CLOSE, Wire, described, error_of, message


def config(**listener):
    return Config().listener("tenants", multiTenant=True, **listener)


def tenant(peers, router, vhost):
    return peers.connect((router.host, router.ports["tenants"]), virtual_host=vhost)


def keys(router):
    """Addresses in the table that have receivers here, without the router's own."""
    manager = Manager(router)
    try:
        return {row["name"] for row in manager.query("router.address", "name", "subscriberCount") if row["subscriberCount"]}
    finally:
        manager.close()


def test_address_stands_below_the_vhost(start_router, peers):
    """For senders and receivers of the listener alike; who sees the whole network calls it by its whole name."""
    router = start_router(config())
    one, two, all_ = tenant(peers, router, "ten1"), tenant(peers, router, "ten2"), peers.connect(router)
    inbox1, inbox2 = one.receiver("closest/q"), two.receiver("closest/q")
    assert inbox1.remote_address == "closest/q"  # it never sees the prefix
    assert {"M0ten1/closest/q", "M0ten2/closest/q"} <= keys(router)
    for sender, address, inbox in ((one, "closest/q", inbox1), (two, "amqp:/closest/q", inbox2), (all_, "ten1/closest/q", inbox1)):
        outbox = sender.sender(address)
        assert outbox.outcome(outbox.send(address)).state == ACCEPTED
        assert inbox.next().body == address
    assert not inbox1.messages and not inbox2.messages


def test_tenants_do_not_reach_each_other(start_router, peers):
    router = start_router(config())
    tenant(peers, router, "ten2").receiver("q")
    one = tenant(peers, router, "ten1")
    for address in ("ten2/q", "/ten2/q", "amqp:/ten2/q", "../ten2/q"):
        anonymous = one.sender(None)
        assert anonymous.outcome(anonymous.send("x", to=address)).state == RELEASED
    outbox = one.sender("ten2/q")
    peers.run_for(0.2)
    assert outbox.credit == 0


def test_rules_are_matched_with_the_prefix(start_router, peers):
    router = start_router(config().add("address", prefix="ten1/all", distribution="multicast"))
    one, two = tenant(peers, router, "ten1"), tenant(peers, router, "ten2")
    copies = [one.receiver("all"), one.receiver("all")]
    single = [two.receiver("all"), two.receiver("all")]
    for client in (one, two):
        outbox = client.sender("all")
        assert outbox.outcome(outbox.send("x")).state == ACCEPTED
    for inbox in copies:
        inbox.wait_count(1)
    peers.run_for(0.2)
    assert sum(len(inbox.messages) for inbox in single) == 1


def test_places_and_replies_have_no_prefix(start_router, peers):
    """_local/, _topo/ and what a router has named: a request from a tenant is answered, and finds the management node."""
    router = start_router(config())
    one = tenant(peers, router, "ten1")
    reply = one.receiver(None, dynamic=True)
    assert reply.remote_address.startswith("amqp:/_topo/0/Test/temp.")
    server = one.receiver("service")
    outbox = one.sender(None)
    assert outbox.outcome(outbox.send("request", to="service", reply_to=reply.remote_address)).state == ACCEPTED
    request = server.next()
    assert outbox.outcome(outbox.send("reply", to=request.reply_to)).state == ACCEPTED
    assert reply.next().body == "reply"
    local = one.receiver("_local/here")
    assert "Lhere" in keys(router)
    assert outbox.outcome(outbox.send("l", to="_local/here")).state == ACCEPTED
    assert local.next().body == "l"


def test_management_is_one_of_the_tenants_names(start_router, peers):
    """The plain name is the tenant's own; by its place the node is reached (management.md 2.1)."""
    router = start_router(config())
    one = tenant(peers, router, "ten1")
    outbox = one.sender("$management")
    peers.run_for(0.2)
    assert outbox.credit == 0
    inbox = one.receiver("$management")
    outbox.wait_credit()
    assert outbox.outcome(outbox.send("mine")).state == ACCEPTED
    assert inbox.next().body == "mine"
    for place in ("_local/$management", "_topo/0/Test/$management"):
        assert one.sender(place).link.remote_target.address == place
    url = "%s:%d" % (router.host, router.ports["tenants"])
    listed = output("qdstat", "-b", url, "-r", "Test", "-c")
    assert re.search(r"\bten1\b", listed)
    rows = json.loads(output("qdmanage", "-b", router.address, "query", "--type=connection"))
    assert {row["container"]: row.get("tenant") for row in rows}[one.connection.container] == "ten1/"


def test_policy_vhost_of_the_listener_counts_before_the_hostname(start_router, peers):
    router = start_router(config(policyVhost="fixed"))
    tenant(peers, router, "ten1").receiver("q")
    assert "M0fixed/q" in keys(router) and "M0ten1/q" not in keys(router)


def test_client_without_hostname_has_the_names_of_the_network(start_router, peers):
    """The crash of old (DISPATCH-1732): neither Open without hostname nor with an empty one does harm."""
    router = start_router(config())
    for fields in ({}, {"hostname": ""}):
        with Wire((router.host, router.ports["tenants"])) as wire:
            wire.open_session(**fields)
            wire.attach("in", 0, False, "plain/q")
            wire.credit(0, 1)
            wire.attach("out", 1, True, None, target=described(0x29))
            assert "M0plain/q" in keys(router)
            wire.wait_credit(1)
            wire.transfer(1, 0, message("x", to="plain/q"))
            wire.expect(0x14)


@pytest.mark.parametrize("hostname", ["_local", "_topo", "_edge", "a/b", "/", "_topo/0/Test", "amqp:"])
def test_hostname_that_would_leave_the_name_space_is_refused(start_router, hostname):
    router = start_router(config())
    with Wire((router.host, router.ports["tenants"])) as wire:
        wire.open(hostname=hostname)
        assert error_of(wire.expect(CLOSE)) == "amqp:invalid-field"
        wire.expect_end()
    router.stop()
    told = re.findall(r"\[C1\] Connection from .* failed: amqp:invalid-field (.*)", router.log())
    assert len(told) == 1 and told[0].startswith("'%s' cannot be a tenant's name" % hostname)


def test_prefix_goes_across_the_network(start_mesh, peers):
    """Targeted and anonymous senders: the next router is told the whole name, and properties.to is as it was sent."""
    def add(conf):
        conf.listener("tenants", multiTenant=True)
    mesh = start_mesh("AB BC", conf={"A": add, "C": add})
    one, other = tenant(peers, mesh["C"], "ten1"), tenant(peers, mesh["C"], "ten2")
    inbox, quiet = one.receiver("closest/q"), other.receiver("closest/q")
    plain = peers.connect(mesh["B"]).receiver("ten1/closest/plain")
    mesh.wait_subscribed("ten1/closest/q", at="A", remote=1)
    mesh.wait_subscribed("ten1/closest/plain", at="A", remote=1)
    here = tenant(peers, mesh["A"], "ten1")
    targeted, anonymous = here.sender("closest/q"), here.sender(None)
    assert targeted.outcome(targeted.send("targeted")).state == ACCEPTED
    assert inbox.next().body == "targeted"
    for text in ("closest/q", "amqp:/closest/q"):
        assert anonymous.outcome(anonymous.send("anonymous", to=text)).state == ACCEPTED
        got = inbox.next()
        assert (got.body, got.address) == ("anonymous", text)
    assert anonymous.outcome(anonymous.send("p", to="closest/plain")).state == ACCEPTED
    assert plain.next().address == "closest/plain"
    assert not quiet.messages


def test_inter_router_listeners_know_no_tenants(start_router, peers):
    """Routers speak of addresses by their names in the network, whatever the listener says."""
    config_a = Config(mode="interior", id="A").listener("mesh", role="inter-router", multiTenant=True)
    a = start_router(config_a, name="A")
    config_b = Config(mode="interior", id="B").add("connector", name="to-A", host="127.0.0.1", role="inter-router",
                                                   port=a.ports["mesh"], saslMechanisms="ANONYMOUS")
    b = start_router(config_b, name="B")
    inbox = peers.connect(b).receiver("closest/q")
    outbox = peers.connect(a).sender("closest/q")
    outbox.wait_credit()
    assert outbox.outcome(outbox.send("x")).state == ACCEPTED
    assert inbox.next().body == "x"
