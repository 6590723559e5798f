"""What management changes in a running router, seen from outside: connections, logs, addresses, listeners, connectors."""
import json
import re
import socket

from proton import Message
from proton.handlers import MessagingHandler
from proton.reactor import Container

from support.deadline import wait_until
from support.peers import ACCEPTED, MODIFIED, RELEASED, Peers
from support.router import Config
from support.tool import failure, output
from support.wire import ATTACH, SOURCE, TRANSFER, Wire, described


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


def pump(container, condition):
    """Drive a proton container until the condition holds."""
    def held():
        container.process()
        return condition()
    wait_until(held, 10, "the client")


# -- connections


def test_management_deleted_connection_is_dropped_without_a_close(router):
    files = router.open_files()
    with Wire(router) as wire:
        wire.open()
        shown = connection_of(router, "wire")
        assert (shown["host"].split(":")[0], shown["dir"], shown["user"]) == ("127.0.0.1", "in", "anonymous")
        identity = "--identity=" + shown["identity"]
        answer = manage(router, "update", "--type=connection", identity, "adminStatus=deleted")
        assert (answer["adminStatus"], answer["operStatus"]) == ("deleted", "closing")
        assert [got.code for got in wire.expect_end()] == []
        wait_until(lambda: router.open_files() <= files, 10, "the socket to close")
    assert not [c for c in manage(router, "query", "--type=connection") if c["container"] == "wire"]
    router.wait_log(r"Connection from 127\.0\.0\.1:\d+ \(to .*\) failed: amqp:connection:forced ")


def test_management_deleted_connection_that_reads_nothing_is_gone_at_once(router, peers):
    """What it was sent and has not settled goes back; a consumer that hangs is why people delete connections."""
    with Wire(router, receive_buffer=4096) as wire:
        wire.open_session()
        wire.attach("stuck", 0, False, "closest/stuck")
        wire.credit(0, 250)
        outbox = peers.connect(router).sender("closest/stuck")
        deliveries = [outbox.send("x" * 30000, wait_credit=False) for _ in range(200)]
        identity = connection_of(router, "wire")["identity"]
        manage(router, "update", "--type=connection", "--identity=" + identity, "adminStatus=deleted")
        for delivery in deliveries:
            assert outbox.outcome(delivery).state in (RELEASED, MODIFIED)


def test_management_client_that_deletes_its_own_connection_is_answered(router):
    with Wire(router) as wire:
        wire.open_session()
        reply_to = wire.attach("a", 0, False, None, source=described(SOURCE, None, None, None, None, True)).fields["source"].value[0]
        wire.credit(0, 10)
        wire.attach("r", 1, True, "$management")
        wire.wait_credit(1)
        request = Message(address="$management", reply_to=reply_to, body={"adminStatus": "deleted"},
                          properties={"operation": "UPDATE", "type": "org.apache.qpid.dispatch.connection",
                                      "identity": connection_of(router, "wire")["identity"]})
        wire.transfer(1, 0, request.encode(), settled=True)
        answer = Message()
        answer.decode(wire.expect(TRANSFER).payload)
        assert answer.properties["statusCode"] == 200 and answer.body["operStatus"] == "closing"
        wire.expect_end()


def test_management_deleted_client_without_heartbeat_connects_again(router):
    """python3-qpid-proton's BlockingConnection and containers with reconnect, as applications use them."""
    class Client(MessagingHandler):
        def on_start(self, event):
            self.opened = 0
            event.container.connect(router.url, heartbeat=0, reconnect=[0.05], allowed_mechs="ANONYMOUS")

        def on_connection_opened(self, event):
            self.opened += 1

    client = Client()
    container = Container(client)
    container.timeout = 0.05
    container.container_id = "comes-back"
    container.start()
    pump(container, lambda: client.opened == 1)
    identity = connection_of(router, "comes-back")["identity"]
    manage(router, "update", "--type=connection", "--identity=" + identity, "adminStatus=deleted")
    pump(container, lambda: client.opened == 2)
    assert connection_of(router, "comes-back")["identity"] != identity
    container.stop()
    container.process()


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


def test_management_address_counts_of_containers_go_on_after_their_links_have_gone(start_router, peers):
    router = start_router(Config().listener("containers", role="route-container"))
    container = peers.connect(("127.0.0.1", router.ports["containers"]))

    def counted():
        row = next(a for a in manage(router, "query", "--type=router.address") if a["key"] == "M0closest/kept")
        return [row["deliveries" + name] for name in ("Ingress", "Egress", "IngressRouteContainer", "EgressRouteContainer")]

    stays = peers.connect(router).receiver("closest/kept", credit=0)
    inbox, outbox = container.receiver("closest/kept"), container.sender("closest/kept")
    deliveries = [outbox.send(i) for i in range(5)]
    stays.link.flow(10)
    assert all(outbox.outcome(delivery).state == ACCEPTED for delivery in deliveries)
    live = counted()
    assert live[0] == live[2] == 5 and live[1] == 5 and 0 < live[3] <= 5
    inbox.close()
    outbox.close()
    wait_until(lambda: not [link for link in manage(router, "query", "--type=router.link")
                            if link["owningAddr"] == "M0closest/kept" and link["linkDir"] == "in"], 10, "the link to go")
    assert counted() == live


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
