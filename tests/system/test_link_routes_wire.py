"""Link routes frame by frame: what a client says reaches the container as it was said, and the other way."""
import struct

import pytest
from proton import Array, Data, Described, UNDESCRIBED, symbol, ubyte, uint, ulong

from support.deadline import wait_until
from support.mesh import Manager
from support.router import Config
from support.wire import (ACCEPTED, ATTACH, BEGIN, DETACH, DISPOSITION, END, ERROR, FLOW, MODIFIED, RECEIVED, REJECTED,
                          RELEASED, SOURCE, TARGET, TRANSFER, UNLIMITED, Wire, described, encode, error_of, message)

COORDINATOR, DECLARE, DISCHARGE, DECLARED, TRANSACTIONAL = 0x30, 0x31, 0x32, 0x33, 0x34


def config(prefix="lr", threads=4, **attributes):
    config = Config(workerThreads=threads).listener("containers", role="route-container")
    for direction in ("in", "out"):
        config.add("linkRoute", prefix=prefix, direction=direction, containerId="container", **attributes)
    return config


class Container(Wire):
    """A container on a route-container listener. The router begins the sessions that its links come by."""

    def __init__(self, router, name="container", **fields):
        super().__init__((router.host, router.ports["containers"]))
        self.open(container_id=name, **fields)
        self.begun = set()  # channels

    def take_attach(self, limit=10.0, **fields):
        """Read the next attach, answer it with the same termini and fields besides; return it."""
        got = self.expect_attach(limit)
        answer = dict(name=got.fields["name"], handle=got.fields["handle"], role=not got.fields["role"],
                      snd_settle_mode=got.fields["snd_settle_mode"], rcv_settle_mode=got.fields["rcv_settle_mode"],
                      source=got.fields["source"], target=got.fields["target"])
        if got.fields["role"]:
            answer["initial_delivery_count"] = 0
        answer.update(fields)
        self.send(ATTACH, got.channel, **answer)
        return got

    def expect_attach(self, limit=10.0):
        while True:
            got = self.expect_any((BEGIN, ATTACH), limit=limit)
            if got.code == ATTACH:
                return got
            assert got.channel not in self.begun
            self.send(BEGIN, got.channel, remote_channel=got.channel, next_outgoing_id=0, incoming_window=UNLIMITED,
                      outgoing_window=UNLIMITED)
            self.begun.add(got.channel)


def wait_active(router, count=2):
    manager = Manager(router)
    wait_until(lambda: sum(row["operStatus"] == "active"
                           for row in manager.query("router.config.linkRoute", "operStatus")) == count)
    manager.close()


@pytest.fixture
def router(start_router):
    return start_router(config())


@pytest.fixture
def container(router):
    with Container(router) as container:
        wait_active(router)
        yield container


@pytest.fixture
def client(router):
    with Wire(router) as client:
        client.open_session(container_id="client")
        yield client


def fields_of(composite):
    return [None if value is None else value for value in composite.value]


def attach_sender(client, container, address="lr.q", handle=0, name="snd", **fields):
    client.attach(name, handle, True, address, wait=False, **fields)
    at_container = container.take_attach()
    return at_container, client.expect(ATTACH)


def attach_receiver(client, container, address="lr.q", handle=0, name="rcv", **fields):
    client.attach(name, handle, False, address, wait=False, **fields)
    at_container = container.take_attach()
    return at_container, client.expect(ATTACH)


def body_of(frame):
    return frame.payload


# -- attach


def test_attach_passes_on_every_field_and_the_answer_too(client, container):
    source = described(SOURCE, "lr.topic", uint(2), symbol("never"), uint(60), False, None, symbol("copy"),
                       {symbol("selector"): Described(symbol("apache.org:selector-filter:string"), "colour = 'red'")},
                       described(RELEASED), Array(UNDESCRIBED, Data.SYMBOL, symbol("amqp:accepted:list"), symbol("amqp:rejected:list")),
                       symbol("topic"))
    target = described(TARGET, "here", uint(1), symbol("session-end"), uint(0), False, None, symbol("x"))
    client.send(ATTACH, name="sub", handle=0, role=True, snd_settle_mode=0, rcv_settle_mode=1, source=source,
                target=target, max_message_size=123456,
                offered_capabilities=Array(UNDESCRIBED, Data.SYMBOL, symbol("shared"), symbol("global")),
                desired_capabilities=symbol("wanted"), properties={symbol("product"): "test", symbol("n"): 7})
    got = container.expect_attach()
    seen = got.fields
    assert (seen["name"], seen["role"]) == ("sub@client", True)
    assert (seen["snd_settle_mode"], seen["rcv_settle_mode"], seen["max_message_size"]) == (0, 1, 123456)
    assert encode(seen["source"]) == encode(source) and encode(seen["target"]) == encode(target)
    assert list(seen["offered_capabilities"].elements) == ["shared", "global"]
    assert seen["desired_capabilities"] == "wanted" and seen["properties"] == {"product": "test", "n": 7}
    answer = described(SOURCE, "lr.topic", uint(2), symbol("never"), uint(30), False, None, None, None, None, None, symbol("queue"))
    container.send(ATTACH, name="sub@client", handle=0, role=False, snd_settle_mode=0, rcv_settle_mode=1, source=answer,
                   target=target, initial_delivery_count=17, max_message_size=999, offered_capabilities=symbol("got"),
                   properties={symbol("reply"): 1})
    reply = client.expect(ATTACH).fields
    assert (reply["name"], reply["role"], reply["snd_settle_mode"], reply["rcv_settle_mode"]) == ("sub", False, 0, 1)
    assert encode(reply["source"]) == encode(answer) and encode(reply["target"]) == encode(target)
    assert (reply["max_message_size"], reply["offered_capabilities"]) == (999, "got")
    assert reply["properties"] == {"reply": 1}


@pytest.mark.parametrize("first, routed", [("x-opt-qd.address", True), ("lifetime-policy", False)])
def test_dynamic_node_is_made_by_the_container_of_the_route_that_it_names_first(client, container, first, routed):
    properties = {symbol(first): "lr.new", symbol("x-opt-qd.address"): "lr.new"}
    source = described(SOURCE, None, uint(0), symbol("session-end"), uint(0), True, properties)
    client.attach("rcv", 0, False, None, source=source, wait=False)
    if routed:
        got = container.expect_attach().fields
        assert encode(got["source"]) == encode(source)
        container.send(ATTACH, name=got["name"], handle=got["handle"], role=False, target=got["target"], initial_delivery_count=0,
                       source=described(SOURCE, "made-by-container", uint(0), symbol("session-end"), uint(0), True, properties))
    made = client.expect(ATTACH).fields["source"].value[0]
    assert (made == "made-by-container") == routed and made


def test_refusal_is_the_containers(client, container):
    client.attach("snd", 0, True, "lr.q", wait=False)
    container.take_attach(target=None)
    container.send(DETACH, handle=0, closed=True,
                   error=described(ERROR, symbol("amqp:unauthorized-access"), "no", {symbol("why"): "because"}))
    assert client.expect(ATTACH).fields["target"] is None
    detach = client.expect(DETACH)
    assert detach.fields["closed"] and fields_of(detach.fields["error"]) == ["amqp:unauthorized-access", "no", {"why": "because"}]
    client.send(DETACH, handle=0, closed=True)
    assert container.expect(DETACH).fields["closed"]


def test_no_container_is_no_route(router, client):
    client.attach("snd", 0, True, "lr.q", wait=False)
    assert client.expect(ATTACH).fields["target"] is None
    assert client.expect_error(DETACH) == "qd:no-route-to-dest"


def test_prefixes_are_changed_towards_the_container_and_back(start_router):
    router = start_router(config(addExternalPrefix="ext.", delExternalPrefix="lr."))
    with Container(router) as container, Wire(router) as client:
        wait_active(router)
        client.open_session(container_id="client")
        client.attach("snd", 0, True, "amqp:/lr.foo", wait=False)
        got = container.take_attach()
        assert got.fields["target"].value[0] == "ext.foo"
        assert client.expect(ATTACH).fields["target"].value[0] == "amqp:/lr.foo"


@pytest.mark.parametrize("policy, timeout, refused", [("never", 0, True), ("session-end", 30, True), ("session-end", 0, False)])
def test_resumable_links_are_refused_where_they_are_not_allowed(start_router, policy, timeout, refused):
    limited = config()
    limited.change("router", allowResumableLinkRoute=False)
    router = start_router(limited)
    with Container(router) as container, Wire(router) as client:
        wait_active(router)
        client.open_session(container_id="client")
        client.attach("sub", 0, False, None, wait=False,
                      source=described(SOURCE, "lr.t", uint(2), symbol(policy), uint(timeout)))
        if refused:
            assert client.expect_error(DETACH) == "qd:link-expiration"
        else:
            container.take_attach()
            assert client.expect(ATTACH).fields["source"].value[0] == "lr.t"


# -- credit and messages


def test_credit_is_the_containers_alone(client, container):
    attach_sender(client, container)
    container.credit(0, 7)
    assert client.wait_credit() == 7
    for number in range(3):
        client.transfer(0, number, message(number))
    for number in range(3):
        container.expect(TRANSFER)
    container.credit(0, 2)  # less than it was: after three of seven there were four
    flow = client.expect(FLOW, lambda f: f.fields.get("handle") == 0)
    assert (flow.fields["delivery_count"], flow.fields["link_credit"]) == (3, 2)
    container.credit(0, 100)
    flow = client.expect(FLOW, lambda f: f.fields.get("handle") == 0)
    assert (flow.fields["delivery_count"], flow.fields["link_credit"]) == (3, 100)


def test_drain_is_answered_by_who_sends(client, container):
    attach_sender(client, container)
    container.credit(0, 10)
    assert client.wait_credit() == 10
    client.transfer(0, 0, message("one"))
    container.expect(TRANSFER)
    container.credit(0, 9, drain=True)
    asked = client.expect(FLOW, lambda f: f.fields.get("drain"))
    assert asked.fields["link_credit"] == 9
    client.transfer(0, 1, message("two"))
    client.send(FLOW, next_incoming_id=0, incoming_window=UNLIMITED, next_outgoing_id=2, outgoing_window=UNLIMITED,
                handle=0, delivery_count=10, link_credit=0, drain=True)
    assert b"two" in container.expect(TRANSFER).payload
    answered = container.expect(FLOW, lambda f: f.fields.get("handle") == 0)
    assert (answered.fields["delivery_count"], answered.fields["link_credit"], answered.fields["drain"]) == (10, 0, True)


def test_receiver_drains_a_queue_that_is_empty(client, container):
    attach_receiver(client, container)
    client.credit(0, 5, drain=True)
    asked = container.expect(FLOW, lambda f: f.fields.get("drain"))
    assert asked.fields["link_credit"] == 5
    container.send(FLOW, next_incoming_id=0, incoming_window=UNLIMITED, next_outgoing_id=0, outgoing_window=UNLIMITED,
                   handle=0, delivery_count=5, link_credit=0, drain=True)
    answered = client.expect(FLOW, lambda f: f.fields.get("handle") == 0)
    assert (answered.fields["delivery_count"], answered.fields["link_credit"]) == (5, 0)


@pytest.mark.parametrize("tag", [b"", b"t", b"\x00\xff" * 16], ids=["empty", "short", "longest"])
def test_deliveries_keep_their_octets_and_tag(client, container, tag):
    attach_sender(client, container)
    container.credit(0, 10)
    client.wait_credit()
    payload = b"\x00\x53\x70\xc0\x03\x02\x41\x50\x07" + message("x" * 100) + b"anything at all"
    client.transfer(0, 5, payload, delivery_tag=tag, message_format=42)
    got = container.expect(TRANSFER)
    assert got.payload == payload and bytes(got.fields["delivery_tag"] or b"") == tag
    assert got.fields["message_format"] == 42 and not got.fields["settled"]


def test_a_long_message_flows_through_before_its_end(client, container):
    attach_sender(client, container)
    container.credit(0, 1)
    client.wait_credit()
    client.transfer(0, 0, b"a" * 1000, more=True)
    assert container.expect(TRANSFER).fields["more"]
    client.transfer(0, None, b"b" * 1000, more=True)
    assert container.expect(TRANSFER).payload == b"b" * 1000
    client.transfer(0, None, b"c")
    last = container.expect(TRANSFER)
    assert last.payload == b"c" and not last.fields["more"]


def test_an_abort_is_passed_on(client, container):
    attach_sender(client, container)
    container.credit(0, 5)
    client.wait_credit()
    client.transfer(0, 0, b"a" * 1000, more=True)
    container.expect(TRANSFER)
    client.transfer(0, None, b"", aborted=True)
    assert container.expect(TRANSFER).fields["aborted"]
    client.transfer(0, 1, message("next"))
    assert b"next" in container.expect(TRANSFER).payload


def test_a_client_that_does_not_read_stops_no_other_at_the_same_container(start_router):
    window = 8
    narrow = config()
    narrow.section("containers").update(maxSessionFrames=window)
    router = start_router(narrow)
    with Container(router) as container, Wire(router) as slow, Wire(router) as quick:
        wait_active(router)
        slow.open(container_id="slow")
        slow.begin(incoming_window=1)
        of_slow, _ = attach_receiver(slow, container)
        slow.credit(0, 1000, incoming_window=1)
        assert container.wait_credit(0) == 1000
        for number in range(window):
            container.transfer(0, number, message(number), channel=of_slow.channel, settled=True)
        slow.expect(TRANSFER)
        quick.open_session(container_id="quick")
        of_quick, _ = attach_receiver(quick, container)
        quick.credit(0, 1000)
        assert of_quick.channel != of_slow.channel
        container.expect(FLOW, lambda f: f.channel == of_quick.channel and f.fields.get("link_credit"))
        assert container.window_end(of_quick.channel) == window
        for number in range(window):
            container.transfer(0, number, message("for quick"), channel=of_quick.channel, settled=True)
            assert quick.expect(TRANSFER).payload == message("for quick")


def test_links_of_one_session_share_one_at_the_container_and_give_it_back(router, container):
    with Wire(router) as first, Wire(router) as second:
        first.open_session(container_id="first")
        second.open_session(container_id="second")
        channels = [attach_sender(first, container, name="a", handle=0)[0].channel,
                    attach_sender(first, container, name="b", handle=1)[0].channel,
                    attach_sender(second, container, name="c", handle=0)[0].channel]
        assert channels == [0, 0, 1]
        second.send(DETACH, handle=0, closed=True)
        container.expect(DETACH)
        container.send(DETACH, 1, handle=0, closed=True)
        second.expect(DETACH)
        assert attach_sender(second, container, name="d", handle=0)[0].channel == 1


def test_a_container_that_allows_one_session_has_all_links_in_it(router):
    with Container(router, channel_max=0) as container, Wire(router) as first, Wire(router) as second:
        wait_active(router)
        for number, client in enumerate((first, second)):
            client.open_session(container_id="client-%d" % number)
            at_container, _ = attach_sender(client, container)
            assert (at_container.channel, at_container.fields["handle"]) == (0, number)
            container.credit(number, 1)
            client.wait_credit()
            client.transfer(0, 0, message(number))
            assert container.expect(TRANSFER).payload == message(number)


def test_a_session_that_the_container_spoilt_is_not_used_again(router, container, client):
    """The router has ended it; the container has not answered that yet."""
    attach_sender(client, container)
    container.send(TRANSFER, 0, b"x", handle=17, delivery_id=0, delivery_tag=b"t")  # no link is attached to it
    assert container.expect_error(END) == "amqp:session:unattached-handle"
    client.expect(DETACH)
    with Wire(router) as other:
        other.open_session(container_id="other")
        assert attach_sender(other, container, name="again")[0].channel == 1


# -- outcomes

STATES = [
    described(ACCEPTED),
    described(RELEASED),
    described(REJECTED, described(ERROR, symbol("x:y"), "text", {symbol("k"): 1})),
    described(MODIFIED, False, True, {symbol("x-opt-a"): "b"}),
    described(TRANSACTIONAL, b"txn-1", described(ACCEPTED)),
    None,
]


@pytest.mark.parametrize("state", STATES, ids=["accepted", "released", "rejected", "modified", "transactional", "none"])
def test_outcomes_are_passed_on_as_they_are(client, container, state):
    attach_sender(client, container)
    container.credit(0, 5)
    client.wait_credit()
    client.transfer(0, 0, message("x"))
    got = container.expect(TRANSFER)
    container.send(DISPOSITION, role=True, first=got.fields["delivery_id"], last=got.fields["delivery_id"], settled=True,
                   state=state)
    said = client.expect(DISPOSITION)
    assert said.fields["settled"] and said.fields["first"] == 0
    assert (said.fields.get("state") is None) if state is None else encode(said.fields["state"]) == encode(state)


def test_an_outcome_that_is_not_settled_waits_for_the_sender(client, container):
    """rcv-settle-mode second: state, then the sender settles, then the receiver may forget it."""
    attach_sender(client, container, rcv_settle_mode=1)
    container.credit(0, 5)
    client.wait_credit()
    for number in range(3):
        client.transfer(0, number, message(number))
    ids = [container.expect(TRANSFER).fields["delivery_id"] for _ in range(3)]
    for number in (1, 0, 2):
        container.send(DISPOSITION, role=True, first=ids[number], last=ids[number], settled=False, state=described(ACCEPTED))
        said = client.expect(DISPOSITION)
        assert (said.fields["first"], said.fields["settled"]) == (number, False)
        client.send(DISPOSITION, role=False, first=number, last=number, settled=True, state=described(ACCEPTED))
        settled = container.expect(DISPOSITION)
        assert (settled.fields["role"], settled.fields["first"], settled.fields["settled"]) == (False, ids[number], True)


def test_receiver_gets_deliveries_and_its_outcomes_reach_the_container(client, container):
    attach_receiver(client, container)
    client.credit(0, 3)
    assert container.wait_credit() == 3
    for number in range(3):
        container.transfer(0, number, message(number), delivery_tag=b"tag%d" % number)
    for number, state in enumerate((ACCEPTED, RELEASED, REJECTED)):
        got = client.expect(TRANSFER)
        assert bytes(got.fields["delivery_tag"]) == b"tag%d" % number
        client.send(DISPOSITION, role=True, first=got.fields["delivery_id"], settled=True, state=described(state))
        said = container.expect(DISPOSITION)
        assert (said.fields["first"], int(said.fields["state"].descriptor)) == (number, state)


def test_transactions_are_between_client_and_container(start_router):
    router = start_router(config().add("linkRoute", prefix="$coordinator", direction="in", containerId="container"))
    with Container(router) as container, Wire(router) as client:
        wait_active(router, 3)
        client.open_session(container_id="client")
        coordinator = described(COORDINATOR, symbol("amqp:local-transactions"))
        client.attach("txn", 0, True, None, wait=False, target=coordinator)
        got = container.take_attach()
        assert got.fields["name"] == "txn@client" and encode(got.fields["target"]) == encode(coordinator)
        client.expect(ATTACH)
        attach_sender(client, container, handle=1)
        for handle in (0, 1):
            container.credit(handle, 10)
        client.wait_credit(0), client.wait_credit(1)
        declare = encode(described(0x77, described(DECLARE)))
        client.transfer(0, 0, declare)
        got = container.expect(TRANSFER)
        assert got.payload == declare
        container.send(DISPOSITION, role=True, first=got.fields["delivery_id"], settled=True, state=described(DECLARED, b"txn-7"))
        said = client.expect(DISPOSITION)
        assert encode(said.fields["state"]) == encode(described(DECLARED, b"txn-7"))
        client.transfer(1, 1, message("in it"), state=described(TRANSACTIONAL, b"txn-7"))
        got = container.expect(TRANSFER)
        assert encode(got.fields["state"]) == encode(described(TRANSACTIONAL, b"txn-7"))
        container.send(DISPOSITION, role=True, first=got.fields["delivery_id"], settled=False,
                       state=described(TRANSACTIONAL, b"txn-7", described(ACCEPTED)))
        said = client.expect(DISPOSITION)
        assert not said.fields["settled"]
        assert encode(said.fields["state"]) == encode(described(TRANSACTIONAL, b"txn-7", described(ACCEPTED)))
        discharge = encode(described(0x77, described(DISCHARGE, b"txn-7", False)))
        client.transfer(0, 2, discharge)
        got = container.expect(TRANSFER, lambda f: f.fields["handle"] == 0)
        assert got.payload == discharge
        container.send(DISPOSITION, role=True, first=got.fields["delivery_id"], settled=True, state=described(ACCEPTED))
        assert client.expect(DISPOSITION).fields["first"] == 2


def test_coordinator_without_a_route_is_refused(router, container, client):
    client.attach("txn", 0, True, None, wait=False, target=described(COORDINATOR, symbol("amqp:local-transactions")))
    assert client.expect(ATTACH).fields["target"] is None
    assert client.expect_error(DETACH) == "amqp:precondition-failed"


# -- the end


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "detached"])
@pytest.mark.parametrize("error", [None, described(ERROR, symbol("a:b"), "why", {symbol("k"): "v"})], ids=["plain", "error"])
def test_a_clients_detach_is_passed_on_and_answered_by_the_container(client, container, closed, error):
    attach_receiver(client, container)
    client.send(DETACH, handle=0, closed=closed, error=error)
    got = container.expect(DETACH)
    assert bool(got.fields["closed"]) == closed
    assert (got.fields.get("error") is None) if error is None else encode(got.fields["error"]) == encode(error)
    container.send(DETACH, handle=0, closed=closed, error=described(ERROR, symbol("c:d"), "so be it"))
    answer = client.expect(DETACH)
    assert bool(answer.fields["closed"]) == closed and error_of(answer) == "c:d"


@pytest.mark.parametrize("first", ["client", "container"])
@pytest.mark.parametrize("attach", [attach_sender, attach_receiver])
def test_a_close_is_answered_as_one_whatever_the_other_end_says(client, container, first, attach):
    """RabbitMQ answers a Detach that closes with one that does not."""
    attach(client, container)
    one, other = (client, container) if first == "client" else (container, client)
    one.send(DETACH, handle=0, closed=True)
    assert other.expect(DETACH).fields["closed"]
    other.send(DETACH, handle=0)
    assert one.expect(DETACH).fields["closed"]


RABBITMQ_OUTCOMES = Array(UNDESCRIBED, Data.SYMBOL, *(symbol("amqp:%s:list" % name) for name in ("accepted", "rejected", "released")))


@pytest.mark.parametrize("how", ["vanishes", "says so"])
def test_container_that_does_not_list_modified_hears_released(router, container, how):
    """RabbitMQ would end the session, and with it the links of all other clients."""
    with Wire(router) as client:
        client.open_session(container_id="client")
        client.attach("rcv", 0, False, "lr.q", wait=False)
        container.take_attach(source=described(SOURCE, "lr.q", None, None, None, None, None, None, None, described(RELEASED),
                                               RABBITMQ_OUTCOMES))
        client.expect(ATTACH)
        client.credit(0, 5)
        container.wait_credit()
        container.transfer(0, 0, message("x"))
        got = client.expect(TRANSFER)
        if how == "says so":
            client.send(DISPOSITION, role=True, first=got.fields["delivery_id"], settled=True, state=described(MODIFIED, True))
            container.expect(DISPOSITION)
    said = next((frame for frame in container.seen if frame.code == DISPOSITION), None) or container.expect(DISPOSITION)
    assert int(said.fields["state"].descriptor) == RELEASED and said.fields["settled"]


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "detached"])
def test_a_containers_detach_is_passed_on(client, container, closed):
    attach_sender(client, container)
    container.send(DETACH, handle=0, closed=closed, error=described(ERROR, symbol("amqp:resource-deleted"), "gone"))
    got = client.expect(DETACH)
    assert bool(got.fields["closed"]) == closed and error_of(got) == "amqp:resource-deleted"
    client.send(DETACH, handle=0, closed=closed)
    assert bool(container.expect(DETACH).fields["closed"]) == closed


def test_a_durable_subscription_is_resumed_under_its_name(client, container):
    source = described(SOURCE, "lr.topic", uint(2), symbol("never"))
    for handle in (0, 1):
        client.attach("sub", handle, False, None, wait=False, source=source)
        got = container.take_attach()
        assert got.fields["name"] == "sub@client" and encode(got.fields["source"]) == encode(source)
        client.expect(ATTACH)
        client.send(DETACH, handle=handle, closed=False)
        assert not container.expect(DETACH).fields["closed"]
        container.send(DETACH, handle=got.fields["handle"], closed=False)
        assert not client.expect(DETACH).fields["closed"]


def test_a_client_that_vanishes_does_not_close_its_durable_subscription(router, container):
    with Wire(router) as client:
        client.open_session(container_id="client")
        client.attach("sub", 0, False, None, wait=False, source=described(SOURCE, "lr.topic", uint(2), symbol("never")))
        container.take_attach()
        client.expect(ATTACH)
        attach_receiver(client, container, handle=1, name="plain")
    detaches = {container.expect(DETACH).fields["handle"]: container.seen[-1] for _ in range(2)}
    assert not detaches[0].fields["closed"] and detaches[1].fields["closed"]
    assert {error_of(frame) for frame in detaches.values()} == {"qd:routed-link-lost"}


def test_deliveries_of_a_client_that_vanishes_are_modified(router, container):
    with Wire(router) as client:
        client.open_session(container_id="client")
        attach_receiver(client, container)
        client.credit(0, 5)
        container.wait_credit()
        container.transfer(0, 0, message("x"))
        client.expect(TRANSFER)
    said = container.expect(DISPOSITION)
    assert int(said.fields["state"].descriptor) == MODIFIED and said.fields["state"].value[0] and said.fields["settled"]
    assert error_of(container.expect(DETACH)) == "qd:routed-link-lost"


@pytest.mark.parametrize("how", ["drop", "end"])
def test_links_of_a_lost_container_end_and_unsettled_deliveries_are_modified(router, container, client, how):
    attach_sender(client, container, name="snd", handle=0)
    attach_receiver(client, container, name="rcv", handle=1)
    container.credit(0, 5)
    client.wait_credit()
    client.transfer(0, 0, message("x"))
    container.expect(TRANSFER)
    if how == "drop":
        container.drop()
    else:
        container.send(END)
    said = client.expect_any((DISPOSITION, DETACH))
    if said.code == DETACH:  # of the receiver, which may be first
        said = client.expect(DISPOSITION)
    assert int(said.fields["state"].descriptor) == MODIFIED and said.fields["state"].value[0] and said.fields["settled"]
    detaches = [got for got in client.seen if got.code == DETACH]
    while len(detaches) < 2:
        detaches.append(client.expect(DETACH))
    assert {error_of(got) for got in detaches} == {"qd:routed-link-lost"} and all(got.fields["closed"] for got in detaches)
    for handle in (0, 1):
        client.send(DETACH, handle=handle, closed=True)
    container.drop()
    wait_active(router, 0)
    with Container(router) as again:
        wait_active(router)
        attach_sender(client, again, name="snd", handle=0)


def test_a_client_that_leaves_before_the_answer_leaves_no_link(router, container):
    with Wire(router) as client:
        client.open_session(container_id="client")
        client.attach("snd", 0, True, "lr.q", wait=False)
        container.expect_attach()
    assert error_of(container.expect(DETACH)) == "qd:routed-link-lost"


def test_a_name_that_is_attached_is_refused(router, container):
    with Wire(router) as first, Wire(router) as second:
        for client in (first, second):
            client.open_session(container_id="same")
        attach_sender(first, container)
        second.attach("snd", 0, True, "lr.q", wait=False)
        assert second.expect_error(DETACH) == "amqp:resource-locked"


def test_links_show_each_other_in_management(router, client, container):
    attach_sender(client, container)
    manager = Manager(router)
    rows = {row["linkName"]: row for row in manager.query("router.link")}
    addresses = {row["key"]: row for row in manager.query("router.address")}
    (figures,) = manager.query("router", "linkRouteCount")
    manager.close()
    near, far = rows["snd"], rows["snd@client"]
    assert (near["peer"], far["peer"]) == (far["identity"], near["identity"])
    assert (near["owningAddr"], near["linkDir"], near["linkType"]) == ("Clr", "in", "endpoint")
    assert (far["owningAddr"], far["linkDir"]) == ("Clr", "out")
    assert (addresses["Clr"]["containerCount"], addresses["Clr"]["distribution"]) == (1, "linkBalanced")
    assert figures["linkRouteCount"] == 2
